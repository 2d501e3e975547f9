"""What the checks of `mellm doctor` find."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from typing import NamedTuple


class Finding(NamedTuple):
    """What a check found."""

    state: str  # ok; note: good to know; fault: something will fail
    text: str  # one line
    do: str | None  # a command, or a sentence where no command helps; every fault has one


def _finding(state: str, text: str, do: str | None = None) -> Finding:
    return Finding(state, " ".join(text.split()), do)


ok, note, fault = (partial(_finding, state) for state in ("ok", "note", "fault"))


def pip(*arguments: str) -> str:
    return shlex.join([sys.executable, "-m", "pip", *arguments])


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size < 1e11 else f"{size / 1e9:.0f} GB"
