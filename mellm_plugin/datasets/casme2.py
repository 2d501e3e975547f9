"""CASME II: 255 clips of 26 subjects at 200 fps. A row of its sheet, and the frames of that clip:

    Subject  Filename  OnsetFrame  ApexFrame  OffsetFrame  Action Units  Estimated Emotion  [Objective Classes]
    01       EP02_01f  46          59         86           12            happiness          1
    CASME2_RAW_selected/sub01/EP02_01f/img46.jpg    or    Cropped/sub01/EP02_01f/reg_img46.jpg

The 2019 sheet adds objective classes, and some of its units and labels differ from those of 2014. `/` is an unknown
apex. Clips are also named `EP03_02`, `EP01_2`, `EP06_02_01` and `EP09f`.

Source: Yan et al., CASME II: An improved spontaneous micro-expression database and the baseline evaluation (2014).
"""

from __future__ import annotations

from collections.abc import Sequence

from mellm_plugin.datasets.cells import columns, named, sheet_entry
from mellm_plugin.datasets.entry import Dataset, Entry, Published
from mellm_plugin.datasets.sheets import Row, Sheet

_COLUMNS = columns(
    *("Subject", "Filename", "OnsetFrame", "ApexFrame, ApexFrame1", "OffsetFrame", "Action Units", "Estimated Emotion"),
    objective="Objective Classes, Objective Class",
)
_OF_2014 = {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2}


def _entry(row: Row) -> Entry | None:
    subject, clip = named(row, "subject", "sub{:02d}"), named(row, "clip")
    if subject is None or clip is None:
        return None
    clip = clip.lower().replace("ep", "EP", 1) if clip.lower().startswith("ep") else clip
    return sheet_entry(row, "casme2", subject, clip, ((subject, clip),), fps=200.0)


def _published(sheets: Sequence[Sheet]) -> Published:
    newer = any("objective" in sheet.columns for sheet in sheets)
    emotions = {**_OF_2014, "surprise": 28, "sadness": 4} if newer else _OF_2014
    return Published(f"CASME II {2019 if newer else 2014} sheet", {"test": 255}, emotions, subjects=26)


DATASETS = {"casme2": Dataset("casme2", "CASME II", _COLUMNS, _entry, _published)}
