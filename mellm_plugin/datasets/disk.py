"""Space on disk, sizes in words, and digests of files."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from mellm_plugin.datasets.root import data_root
from mellm_plugin.errors import DataError


def check_room(name: str, needed: int, root: Path | None = None, *, least: int) -> None:
    """Print the bytes that a dataset needs while it is made, and those that are free, to standard error.

    Raises:
        DataError: less than `least`, which it certainly needs, is free.
    """
    folder = root or data_root()
    place = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(place).free
    room = f"about {in_words(needed)} are needed in {folder}, {in_words(free)} are free"
    if free < least:
        advice = "Free this place, or choose another: --out, or the environment variable MELLM_DATA"
        raise DataError(f"the dataset {name!r} does not fit: {room}. {advice}")
    print(f"{name}: {room}", file=sys.stderr)


def in_words(size: float) -> str:
    """Bytes for people: `850 MB`, `1.2 GB`."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.1f} {units[0]}" if size < 10 and units[0] != "bytes" else f"{size:.0f} {units[0]}"


def sha256(path: Path) -> str:
    """The digest of a file, in hexadecimal; read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
