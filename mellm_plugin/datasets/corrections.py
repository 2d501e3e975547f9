"""Known errors of coding sheets, by clip id and with a reason: `corrections/<dataset>.csv`.

    id,field,old,new,reason
    casme3/spNO.216/d_3647,onset,3647,2647,the onset lies behind the apex 2668
    casme2/*,offset,outside,last,the sheet names an offset behind the last frame of its folder

`id` is the id that results from the sheet. `old` is the sheet's value (other values are not corrected), `*` for any, or
`outside` for an offset that is not among the clip's frames. `new` is the right value; empty means unknown, `spotted` an
apex to look for in the frames, `last` the last frame of the clip. An apex that is not after its onset, or is after its
offset, needs no correction: it is always spotted.
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
    """A row of the CSV."""

    id: str
    field: str
    old: str
    new: str
    reason: str

    def applied_to(self, clip: str, found: object) -> dict[str, str]:
        """Its record in `info.json`, with the sheet's value as `old`."""
        return {**asdict(self), "id": clip, "old": "" if found is None else str(found)}


class Corrections:
    """The corrections of one dataset."""

    def __init__(self, corrections: Iterable[Correction] = ()) -> None:
        self._all = tuple(corrections)

    def find(self, clip: str, field: str, value: object) -> Correction | None:
        """The correction of a field, one of `FIELDS`, of a clip, if the sheet has this value (or `"outside"`)."""
        text = "" if value is None else str(value)
        return next(
            (c for c in self._all if c.field == field and c.old in (text, "*") and fnmatchcase(clip, c.id)), None
        )


def shipped(dataset: str) -> Corrections:
    """The corrections in this package; empty for most datasets."""
    file = Path(__file__).parent / "corrections" / f"{dataset}.csv"
    if not file.is_file():
        return Corrections()
    with file.open(encoding="utf-8", newline="") as lines:
        return Corrections(Correction(**row) for row in csv.DictReader(lines))
