"""Settings, configs, records and sheets: read up to a limit of size and nesting, written completely or not at all.

Cells of CSV files are guarded: a spreadsheet runs none of them as a formula.
"""

from __future__ import annotations

import json
import os
import re
import stat
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import Any

LARGEST = 16 << 20
"""Bytes of such a file; real ones have a few thousand."""
DEEPEST = 50
"""Levels of nesting; real files have about five, and Python's own limit lies beyond 900."""
TOO_DEEP = f"expected at most {DEEPEST} levels of nesting, found more; the file is damaged"


def read_text(path: str | os.PathLike[str], most: int = LARGEST) -> str:
    """The text of a file, UTF-8 with or without a byte-order mark; raises as `read_bytes`, or if it is not UTF-8."""
    return read_bytes(path, most).decode("utf-8-sig")


def read_bytes(path: str | os.PathLike[str], most: int = LARGEST) -> bytes:
    """The content of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no file, or larger than `most` bytes.
    """
    file = Path(path)
    kind = file.stat().st_mode
    # opening a folder fails with a clear error; opening a pipe may block
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise ValueError("expected a file, found a device or a pipe; save it in a file first")
    with file.open("rb") as opened:
        data = opened.read(most + 1)
    if len(data) > most:
        raise ValueError(f"expected a file of at most {most / 2**20:g} MiB, found more")
    return data


def read_json(path: str | os.PathLike[str], most: int = LARGEST) -> Any:
    """The value of a JSON file; raises as `read_text`, or if it is no JSON or has more than `DEEPEST` levels."""
    try:
        found = json.loads(read_text(path, most))
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    level = [found]
    for _ in range(DEEPEST + 1):
        holders = [one for one in level if isinstance(one, dict | list)]
        level = [child for one in holders for child in (one.values() if isinstance(one, dict) else one)]
    if level:
        raise ValueError(TOO_DEEP)
    return found


def write_text(path: Path, text: str) -> None:
    """Write a file, UTF-8 with unchanged line ends, in one step: a reader sees the old content or the new.

    Raises:
        OSError: it cannot be written; the error names the file.
    """
    part = path.with_name(f".{path.name[:80]}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        part.replace(path)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):  # a read-only folder has no such part
            part.unlink(missing_ok=True)


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
"""Control characters, and characters that change the direction of text."""


def guarded(value: object) -> object:
    """A cell for a CSV file; text that a spreadsheet would run as a formula gets an apostrophe in front.

    Wide signs (`＝`) count, and invisible characters do not hide a sign. Numbers and None are returned unchanged.
    """
    if not isinstance(value, str):
        return value
    plain = CONTROL.sub(" ", value)
    seen = (c for c in plain if not c.isspace() and unicodedata.category(c) not in ("Cf", "Cc"))
    first = unicodedata.normalize("NFKC", next(seen, ""))
    return f"'{plain}" if first[:1] in ("=", "+", "-", "@") else plain
