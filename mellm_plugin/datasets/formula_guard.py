"""Cells of CSV files that this package writes: no text may run as a formula in a spreadsheet."""

from __future__ import annotations

import re
import unicodedata

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
