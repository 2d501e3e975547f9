"""What a check of `mellm doctor` finds.

fault("opencv-python and opencv-python-headless overwrite each other", "pip uninstall -y opencv-python")
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        state: ok; note: good to know; fault: something will fail.
        text: what was found, one line.
        do: a command, or a sentence where no command helps; every fault has one.
    """

    state: Literal["ok", "note", "fault"]
    text: str
    do: str | None = None


def ok(text: str) -> Finding:
    """Nothing is wrong."""
    return Finding("ok", _line(text))


def note(text: str, do: str | None = None) -> Finding:
    """No fault, but good to know."""
    return Finding("note", _line(text), do)


def fault(text: str, do: str) -> Finding:
    """Something will fail, and how to fix it."""
    return Finding("fault", _line(text), do)


def _line(text: str) -> str:
    return " ".join(text.split())


def pip(*arguments: str) -> str:
    """A command line for the pip of the running Python."""
    return shlex.join([sys.executable, "-m", "pip", *arguments])


def gigabytes(size: float) -> str:
    """Bytes in words: `3.4 GB`."""
    return f"{size / 1e9:.1f} GB" if size < 1e11 else f"{size / 1e9:.0f} GB"
