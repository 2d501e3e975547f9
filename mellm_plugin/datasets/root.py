"""The folder of all prepared datasets, and their names; imports nothing heavy. `store.py` reads and writes them.

>>> list_prepared(Path("/data/mellm"))
['casme2', 'samm', 'synthme-v1']
"""

from __future__ import annotations

import os
import re
from pathlib import Path

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
"""Valid names of datasets."""


def data_root() -> Path:
    """The folder of all prepared datasets: `$MELLM_DATA`, else the user's data folder. It may not exist."""
    chosen = os.environ.get("MELLM_DATA", "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("mellm", False))


def list_prepared(root: Path | None = None) -> list[str]:
    """Names of all prepared datasets, sorted."""
    found = (root or data_root()).glob("*/info.json")
    return sorted(path.parent.name for path in found if NAME.fullmatch(path.parent.name))
