"""Known errors of coding sheets, as CSV files by clip id with a reason: `corrections/<dataset>.csv`.

    id,field,old,new,reason
    casme3/spNO.216/d_3647,onset,3647,2647,the onset lies behind the apex 2668
    casme2/*,offset,outside,last,the sheet names an offset behind the last frame of its folder

The id is that which the sheet gives. `old` is the sheet's value (a correction of a sheet that says otherwise is not
applied), `*` for any, or `outside`: an offset that is not among the clip's frames. `new` is the value, empty for
unknown, `spotted` for an apex that is looked for in the frames, or `last` for the last frame of the clip. An apex that
is not after its onset, or is after its offset, needs no correction: it is spotted in every dataset.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

FIELDS: tuple[str, ...] = ("onset", "apex", "offset", "emotion", "au_code", "objective_class")
"""What can be corrected."""


@dataclass(frozen=True)
class Correction:
    """One correction; see the module."""

    id: str
    field: str
    old: str
    new: str
    reason: str

    def applied_to(self, clip: str, found: object) -> dict[str, str]:
        """Its record in `info.json`, with what the sheet said."""
        return {**asdict(self), "id": clip, "old": "" if found is None else str(found)}


class Corrections:
    """The corrections of one dataset."""

    def __init__(self, corrections: Iterable[Correction] = ()) -> None:
        self._all = tuple(corrections)

    def find(self, clip: str, field: str, value: object) -> Correction | None:
        """The correction of a field that has this value, or is `outside`.

        Args:
            clip: its id.
            field: one of `FIELDS`.
            value: what the sheet says, or `"outside"`.
        """
        text = "" if value is None else str(value)
        return next(
            (c for c in self._all if c.field == field and c.old in (text, "*") and fnmatchcase(clip, c.id)), None
        )


def shipped(dataset: str) -> Corrections:
    """The corrections that come with this package; none for most datasets."""
    file = Path(__file__).parent / "corrections" / f"{dataset}.csv"
    if not file.is_file():
        return Corrections()
    with file.open(encoding="utf-8", newline="") as lines:
        return Corrections(Correction(**row) for row in csv.DictReader(lines))
