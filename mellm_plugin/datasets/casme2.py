"""CASME II: 255 clips of 26 subjects at 200 fps. A row of its sheet, and the frames of that clip:

    Subject  Filename  OnsetFrame  ApexFrame  OffsetFrame  Action Units  Estimated Emotion  [Objective Classes]
    01       EP02_01f  46          59         86           12            happiness          1
    CASME2_RAW_selected/sub01/EP02_01f/img46.jpg    or    Cropped/sub01/EP02_01f/reg_img46.jpg

The sheet of 2019 has the objective classes and other units and labels than that of 2014. `/` is an unknown apex.

Source: Yan et al., CASME II: An improved spontaneous micro-expression database and the baseline evaluation (2014).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

from mellm_plugin.datasets.cells import label, matched, objective_class
from mellm_plugin.datasets.conversion import Dataset, Entry, Published
from mellm_plugin.datasets.sheets import Column, Row, Sheet

_COLUMNS = {
    "subject": Column("Subject", merged=True),
    "clip": Column("Filename"),
    "onset": Column("OnsetFrame"),
    "apex": Column("ApexFrame", "ApexFrame1"),
    "offset": Column("OffsetFrame"),
    "aus": Column("Action Units"),
    "emotion": Column("Estimated Emotion"),
    "objective": Column("Objective Classes", "Objective Class", required=False),
}
_CLIP = r"EP[0-9]{2}_[0-9]{1,2}[a-z]?"
_OF_2014 = {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2}


def _entry(row: Row) -> Entry | None:
    subject = matched(row, "subject", "(?:sub)?0*([1-9][0-9]?)", "01")
    clip = matched(row, "clip", _CLIP, "EP02_01f")
    if subject is None or clip is None:
        return None
    name, spelt = f"sub{int(subject[1]):02d}", f"EP{clip[0][2:].lower()}"
    return Entry(
        id=f"casme2/{name}/{spelt}",
        subject=name,
        clip=spelt,
        where="",
        keys=((int(subject[1]), spelt.lower()),),
        onset=row.whole("onset", required=True),
        apex=row.whole("apex"),
        offset=row.whole("offset"),
        emotion=label(row, "emotion", "casme2"),
        au_code=row.raw("aus"),
        objective_class=objective_class(row, "objective"),
        fps=200.0,
    )


def _key(parts: tuple[str, ...]) -> Hashable | None:
    if len(parts) < 2 or not re.fullmatch(_CLIP, parts[-1], re.IGNORECASE):
        return None
    subject = re.fullmatch(r"(?:sub|s)?0*([1-9][0-9]?)", parts[-2], re.IGNORECASE)
    return (int(subject[1]), parts[-1].lower()) if subject else None


def _published(sheets: Sequence[Sheet]) -> Published:
    newer = any("objective" in sheet.columns for sheet in sheets)
    emotions = {**_OF_2014, "surprise": 28, "sadness": 4} if newer else _OF_2014
    return Published(f"CASME II {2019 if newer else 2014} sheet", {"test": 255}, emotions, subjects=26)


DATASETS = {"casme2": Dataset("casme2", "CASME II", _COLUMNS, _entry, _key, _published)}
