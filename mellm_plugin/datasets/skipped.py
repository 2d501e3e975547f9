"""Skipped rows in words: one line each, or one line per cause.

sheet.xlsx, row 4, casme2/sub01/EP02_01f: expected a folder of its frames below ..
sheet.xlsx, rows 4, 7-9 (here row 4): Estimated Emotion: expected one of .., found 'hapy' (likewise 'sadd')
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_QUOTED = r"'(?:[^'\\]|\\.)*'|\"[^\"]*\""
_VALUES_SHOWN = 6


def one_line(skipped: Mapping[str, Any]) -> str:
    """A skipped clip of `info.json`: place, id and reasons."""
    return f"{_place(skipped)}: {'; '.join(skipped['reasons'])}"


def by_cause(skipped: Iterable[Mapping[str, Any]]) -> list[str]:
    """Skipped rows (`where`, `id` and `reasons` of each), a line for each cause.

    Reasons share a cause if they differ only in quoted values, paths and numbers. The line gives the reason of the
    first row, and the values of the others.
    """
    causes: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for one in skipped:
        for reason in one["reasons"]:
            kind = re.sub(rf"{_QUOTED}|\S*[/\\]\S*|\d+", "#", reason)
            kind = re.sub(r"(there is no file|is a folder) .*?(?=;|$)", r"\1", kind)  # a path may hold spaces
            causes.setdefault(kind, []).append((reason, one))
    return [f"{_places([row for _, row in same])}: {_reason([text for text, _ in same])}" for same in causes.values()]


def _reason(reasons: Sequence[str]) -> str:
    values = [re.findall(_QUOTED, reason) for reason in reasons]
    others = dict.fromkeys(value for row in values for value in row if value not in values[0])
    if not others:
        return reasons[0]
    more = f" and {len(others) - _VALUES_SHOWN} more" if len(others) > _VALUES_SHOWN else ""
    return f"{reasons[0]} (likewise {', '.join(list(others)[:_VALUES_SHOWN])}{more})"


def _place(row: Mapping[str, Any]) -> str:
    return ", ".join(str(part) for part in (row["where"], row["id"]) if part)


def _places(rows: Sequence[Mapping[str, Any]]) -> str:
    if len(rows) == 1:
        return _place(rows[0])
    files = [str(row["where"]).rpartition(", row ") for row in rows]
    if not all(mark and number.isdigit() and name == files[0][0] for name, mark, number in files):
        return f"{rows[0]['where']} and {len(rows) - 1} more"
    numbers = [int(number) for *_, number in files]
    return f"{files[0][0]}, rows {row_ranges(numbers)} (here row {numbers[0]})"


def row_ranges(numbers: Iterable[int], most: int = 8) -> str:
    """Row numbers as ranges, `2, 5-9, 12`; beyond `most` ranges, how many rows follow."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a}-{b}" for a, b in runs[:most]]
    rest = sum(b - a + 1 for a, b in runs[most:])
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
