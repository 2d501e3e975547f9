"""Canonical action-unit codes, as prepared datasets hold them: `12`, `L12`, `R14C`, and `6/12` for either of two.

    parse_canonical("R14C")  ->  ActionUnit(alternatives=(14,), side="R", intensity="C")

A side is the subject's own (`L`, `R`), or `A` asymmetric, `B` bilateral (`T` and `B` before 18, 23 and 28: the top and
the bottom lip); an intensity is FACS's `A` (trace) to `E` (maximum).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mellm_plugin.errors import CodeError

_CODE = re.compile(r"([LRABT])?(\d{1,2}(?:/\d{1,2})*)([A-E])?")


@dataclass(frozen=True)
class ActionUnit:
    """One coded event: any one of `alternatives` (FACS numbers), with its side and intensity where they are coded."""

    alternatives: tuple[int, ...]
    side: str | None = None
    intensity: str | None = None

    def __str__(self) -> str:
        return f"{self.side or ''}{'/'.join(map(str, self.alternatives))}{self.intensity or ''}"


def parse_canonical(code: str) -> ActionUnit:
    """Read one canonical code.

    Raises:
        CodeError: the code has another form.
    """
    match = _CODE.fullmatch(code)
    if match is None:
        raise CodeError(f"expected a canonical code such as '12', 'L12', 'R14C' or '6/12', found {code!r}")
    side, units, intensity = match.groups()
    return ActionUnit(tuple(int(n) for n in units.split("/")), side, intensity)


def numbers(codes: Iterable[str]) -> list[tuple[int, ...]]:
    """The FACS numbers of canonical codes, one tuple of alternatives per event, in the order given.

    Raises:
        CodeError: codes that cannot be read, all of them at once.
    """
    found: list[tuple[int, ...]] = []
    faults: list[str] = []
    for code in codes:
        try:
            found.append(parse_canonical(code).alternatives)
        except CodeError as error:
            faults.extend(error.faults)
    if faults:
        raise CodeError(faults)
    return found
