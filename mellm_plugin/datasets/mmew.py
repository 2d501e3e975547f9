"""MMEW: 300 micro-expression clips at 90 fps. A row of its sheet, and the frames of that clip:

    Subject  Filename    OnsetFrame  ApexFrame  OffsetFrame  Estimated Emotion  Action Units  remarks
    1        S01-02-001  1           9          20           surprise           1+2
    Micro_Expression/surprise/S01-02-001/1.jpg

What the sheet calls `others` is repression.

Source: Ben et al., Video-based facial micro-expression analysis: a survey of datasets, features and algorithms (2022).
"""

from __future__ import annotations

from collections.abc import Sequence

from mellm_plugin.datasets.cells import label, named
from mellm_plugin.datasets.entry import Dataset, Entry, Published
from mellm_plugin.datasets.sheets import Column, Row, Sheet

_COLUMNS = {
    "subject": Column("Subject", merged=True),
    "clip": Column("Filename"),
    "onset": Column("OnsetFrame"),
    "apex": Column("ApexFrame"),
    "offset": Column("OffsetFrame"),
    "emotion": Column("Estimated Emotion"),
    "aus": Column("Action Units"),
}


def _entry(row: Row) -> Entry | None:
    subject, clip = named(row, "subject", "s{:02d}"), named(row, "clip")
    if subject is None or clip is None:
        return None
    return Entry(
        id=f"mmew/{subject}/{clip}",
        subject=subject,
        clip=clip,
        where="",
        names=((clip,), (subject, clip)),
        onset=row.whole("onset", required=True),
        apex=row.whole("apex"),
        offset=row.whole("offset"),
        emotion=label(row, "emotion", "mmew", {"others": "repression", "other": "repression"}),
        au_code=row.raw("aus"),
        fps=90.0,
    )


def _aside(parts: tuple[str, ...]) -> bool:
    # no part further above: the user's own folders may be called anything
    return any("macro" in part.lower() for part in parts[-3:-1])


def _published(sheets: Sequence[Sheet]) -> Published:
    return Published("MMEW", {"test": 300})


DATASETS = {"mmew": Dataset("mmew", "MMEW", _COLUMNS, _entry, _published, aside=_aside)}
