"""SAMM: 159 clips at 200 fps, grey. A row of its sheet, and the frames of that clip:

    Subject  Filename  Onset Frame  Apex Frame  Offset Frame  Action Units   Estimated Emotion  Objective Classes
    006      006_1_2   5562         5588        5632          (R6 or R12)+1  Happiness          1
    SAMM/006/006_1_2/006_05562.jpg

The sheet `MICRO_ONLY` has a preamble of 13 rows. Frame numbers in file names have 4 or 5 digits.

Source: Davison et al., SAMM: A spontaneous micro-facial movement dataset (2018).
"""

from __future__ import annotations

from mellm_plugin.datasets.cells import check_subject, columns, named, sheet_entry
from mellm_plugin.datasets.entry import Dataset, Entry, Published
from mellm_plugin.datasets.sheets import Row

_COLUMNS = columns(
    *("Subject", "Filename", "Onset Frame", "Apex Frame", "Offset Frame", "Action Units", "Estimated Emotion"),
    objective="Objective Classes, Objective Class",
)
_PUBLISHED = Published(
    "SAMM",
    {"test": 159},
    {"anger": 57, "happiness": 26, "others": 26, "surprise": 15, "contempt": 12, "disgust": 9, "fear": 8, "sadness": 6},
)


def _entry(row: Row) -> Entry | None:
    subject, clip = named(row, "subject", "{:03d}"), named(row, "clip")
    if subject is None or clip is None:
        return None
    check_subject(row, subject, clip)
    return sheet_entry(row, "samm", subject, clip, ((clip,), (subject, clip)), fps=200.0)


DATASETS = {"samm": Dataset("samm", "SAMM", _COLUMNS, _entry, lambda sheets: _PUBLISHED, worksheets=("MICRO_ONLY",))}
