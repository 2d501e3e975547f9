"""4DME: 267 micro-expression clips, here of its grey video. A row of its sheet, and the frames of that clip:

    sub_ID  fold_name  Onset  Apex  Offset  Emotion   AUs      AU1 AU2 ... (a column per unit, which repeats `AUs`)
    1       p1_2       12     20    31      Negative  4+7(k)
    gray_micro/1/p1_2/12.jpg

A unit with `(k)` persists from before the clip and is no event.

Source: Li et al., 4DME: A spontaneous 4D micro-expression dataset with multimodalities (2022).
"""

from __future__ import annotations

from mellm_plugin.datasets.cells import columns, named, sheet_entry
from mellm_plugin.datasets.entry import Dataset, Entry, Published
from mellm_plugin.datasets.sheets import Row

_COLUMNS = columns(
    *("sub_ID, Subject", "fold_name, Filename", "Onset, OnsetFrame", "Apex, ApexFrame", "Offset, OffsetFrame"),
    *("AUs, Action Units", "Emotion"),
)


def _entry(row: Row) -> Entry | None:
    subject, clip = named(row, "subject"), named(row, "clip")
    if subject is None or clip is None:
        return None
    return sheet_entry(row, "fourdme", subject, clip, ((subject, clip),))


def _aside(parts: tuple[str, ...]) -> bool:
    others = ("rgb", "depth", "3d", "4d_")  # other kinds of videos, in folders beside `gray_micro`
    return any(part.lower().startswith(others) or "macro" in part.lower() for part in parts[-3:-2])


DATASETS = {
    "fourdme": Dataset("fourdme", "4DME", _COLUMNS, _entry, lambda sheets: Published("4DME", {"test": 267}), _aside)
}
