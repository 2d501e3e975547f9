"""MMEW: 300 micro-expression clips at 90 fps. A row of its sheet, and the frames of that clip:

    Subject  Filename    OnsetFrame  ApexFrame  OffsetFrame  Estimated Emotion  Action Units  remarks
    1        S01-02-001  1           9          20           surprise           1+2
    Micro_Expression/surprise/S01-02-001/1.jpg

The sheet calls repression `others`.

Source: Ben et al., Video-based facial micro-expression analysis: a survey of datasets, features and algorithms (2022).
"""

from __future__ import annotations

from mellm_plugin.datasets.cells import columns, named, sheet_entry
from mellm_plugin.datasets.entry import Dataset, Entry, Published
from mellm_plugin.datasets.sheets import Row

_COLUMNS = columns(
    *("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion")
)


def _entry(row: Row) -> Entry | None:
    subject, clip = named(row, "subject", "s{:02d}"), named(row, "clip")
    if subject is None or clip is None:
        return None
    variants = {"others": "repression", "other": "repression"}
    return sheet_entry(row, "mmew", subject, clip, ((clip,), (subject, clip)), fps=90.0, variants=variants)


def _aside(parts: tuple[str, ...]) -> bool:
    # no folder further up: the user's own folders may have any name
    return any("macro" in part.lower() for part in parts[-3:-1])


DATASETS = {"mmew": Dataset("mmew", "MMEW", _COLUMNS, _entry, lambda sheets: Published("MMEW", {"test": 300}), _aside)}
