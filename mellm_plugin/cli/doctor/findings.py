"""What a check of `mellm doctor` finds.

fault("opencv", "opencv-python and opencv-python-headless overwrite each other", "pip uninstall -y opencv-python")
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: as it should be; worth to know; or to be mended.
        check: what was looked at, in a word.
        text: what was found, one line.
        do: a command, or where there is none a sentence; never None of a fault.
    """

    state: State
    check: str
    text: str
    do: str | None = None

    def to_dict(self) -> dict[str, str | None]:
        """As JSON."""
        return {"state": self.state, "check": self.check, "text": self.text, "do": self.do}


def ok(check: str, text: str) -> Finding:
    """As it should be."""
    return Finding("ok", check, _line(text))


def note(check: str, text: str, do: str | None = None) -> Finding:
    """No fault, and worth to know."""
    return Finding("note", check, _line(text), do)


def fault(check: str, text: str, do: str) -> Finding:
    """Something will fail, and what to do about it."""
    return Finding("fault", check, _line(text), do)


def _line(text: str) -> str:
    return " ".join(text.split())


def pip(*arguments: str) -> str:
    """A command of the pip that belongs to the Python that runs."""
    return shlex.join([sys.executable, "-m", "pip", *arguments])


def gigabytes(size: float) -> str:
    """Bytes in words: `3.4 GB`."""
    return f"{size / 1e9:.1f} GB" if size < 1e11 else f"{size / 1e9:.0f} GB"
