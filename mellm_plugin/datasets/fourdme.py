"""4DME: 267 micro-expression clips, here of its grey video. A row of its sheet, and the frames of that clip:

    sub_ID  fold_name  Onset  Apex  Offset  Emotion   AUs      AU1 AU2 ... (a column per unit, which repeats `AUs`)
    1       p1_2       12     20    31      Negative  4+7(k)
    gray_micro/1/p1_2/12.jpg

A unit with `(k)` is kept from before and no event.

Source: Li et al., 4DME: A spontaneous 4D micro-expression dataset with multimodalities (2022).
"""

from __future__ import annotations

from collections.abc import Sequence

from mellm_plugin.datasets.cells import label, named
from mellm_plugin.datasets.entry import Dataset, Entry, Published
from mellm_plugin.datasets.sheets import Column, Row, Sheet

_COLUMNS = {
    "subject": Column("sub_ID", "Subject", merged=True),
    "clip": Column("fold_name", "Filename"),
    "onset": Column("Onset", "OnsetFrame"),
    "apex": Column("Apex", "ApexFrame"),
    "offset": Column("Offset", "OffsetFrame"),
    "emotion": Column("Emotion"),
    "aus": Column("AUs", "Action Units"),
}


def _entry(row: Row) -> Entry | None:
    subject, clip = named(row, "subject"), named(row, "clip")
    if subject is None or clip is None:
        return None
    return Entry(
        id=f"fourdme/{subject}/{clip}",
        subject=subject,
        clip=clip,
        where="",
        names=((subject, clip),),
        onset=row.whole("onset", required=True),
        apex=row.whole("apex"),
        offset=row.whole("offset"),
        emotion=label(row, "emotion", "fourdme"),
        au_code=row.raw("aus"),
    )


def _aside(parts: tuple[str, ...]) -> bool:
    others = ("rgb", "depth", "3d", "4d_")  # videos of other kinds, in folders beside `gray_micro`
    return any(part.lower().startswith(others) or "macro" in part.lower() for part in parts[-3:-2])


def _published(sheets: Sequence[Sheet]) -> Published:
    return Published("4DME", {"test": 267})


DATASETS = {"fourdme": Dataset("fourdme", "4DME", _COLUMNS, _entry, _published, aside=_aside)}
