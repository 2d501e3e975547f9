"""MELLM as a model of lmms-eval: a vision-language model that reads motion maps."""

from __future__ import annotations

from pathlib import Path

from mellm_plugin.errors import near

BUNDLED = "bundled"
"""Name of the small model that comes with this package, wherever a model is named."""


def bundled_folder() -> Path:
    """The folder of the small model that comes with this package, the default where no other is named."""
    return Path(__file__).parent / "bundled"


def near_folder(name: str) -> str:
    """A hint for a model's name that is no folder: the bundled model, or a folder beside where that one would be."""
    given = Path(name).expanduser()
    try:
        beside = [str(given.parent / one.name) for one in given.parent.iterdir() if one.is_dir()]
    except OSError:
        beside = []
    return near(str(given), [BUNDLED, *beside])


def taken_for_hub_id(name: str) -> str:
    """What to add where a model's name was taken for a hub id and is nearly that of a folder; else nothing."""
    hint = "" if name == BUNDLED or Path(name).expanduser().is_dir() else near_folder(name)
    return f"\nThere is no folder {name!r}, so it was taken for a hub id.{hint}" if hint else ""
