"""Text for a terminal."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """The text without characters that control a terminal, except line breaks: a foreign file may contain them."""
    return "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else "�" for c in text)
