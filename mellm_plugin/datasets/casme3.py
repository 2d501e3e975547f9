"""CAS(ME)^3, part A: 860 clips at 30 fps. A row of its sheet, and the frames of that clip:

    Subject  Filename  Onset  Apex  Offset  AU   Objective class  emotion
    spNO.1   b         166    171   176     4+7  III              disgust
    Part_A_ME_clip/frame/spNO.1_b_166/166.jpg    or    spNO.1/b/color/166.jpg

A recording (subject and filename) holds several clips, so that a clip is named with its onset, `b_166`. The apex of 54
rows is at or before the onset: it is spotted.

Source: Li et al., CAS(ME)3: A third generation facial spontaneous micro-expression database (2023).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

from mellm_plugin.datasets.cells import label, matched, objective_class
from mellm_plugin.datasets.conversion import Dataset, Entry, Published
from mellm_plugin.datasets.sheets import Column, Row, Sheet

_COLUMNS = {
    "subject": Column("Subject", merged=True),
    "clip": Column("Filename", merged=True),
    "onset": Column("Onset", "OnsetFrame"),
    "apex": Column("Apex", "ApexFrame"),
    "offset": Column("Offset", "OffsetFrame"),
    "aus": Column("AU", "AUs", "Action Units"),
    "objective": Column("Objective class", "Objective classes", required=False),
    "emotion": Column("emotion", "Estimated Emotion"),
}
_SUBJECT = r"spNO\.?\s?0*([1-9][0-9]*)"
_PUBLISHED = Published(
    "CAS(ME)^3 part A",
    {"test": 860},
    {
        **{"disgust": 250, "surprise": 187, "others": 161, "fear": 86},
        **{"anger": 64, "sadness": 57, "happiness": 55},
    },
)


def _entry(row: Row) -> Entry | None:
    subject = matched(row, "subject", _SUBJECT, "spNO.1")
    recording = matched(row, "clip", "[a-z]", "b")
    onset = row.whole("onset", required=True)
    if subject is None or recording is None or onset is None:
        return None
    number, letter = int(subject[1]), recording[0].lower()
    return Entry(
        id=f"casme3/spNO.{number}/{letter}_{onset}",
        subject=f"spNO.{number}",
        clip=f"{letter}_{onset}",
        where="",
        keys=((number, letter, onset), (number, letter)),
        onset=onset,
        apex=row.whole("apex"),
        offset=row.whole("offset"),
        emotion=label(row, "emotion", "casme3"),
        au_code=row.raw("aus"),
        objective_class=objective_class(row, "objective"),
        fps=30.0,
    )


def _key(parts: tuple[str, ...]) -> Hashable | None:
    if not parts:
        return None
    if clip := re.fullmatch(_SUBJECT + "_([a-z])_([0-9]+)", parts[-1], re.IGNORECASE):
        return int(clip[1]), clip[2].lower(), int(clip[3])
    where = parts[:-1] if parts[-1].lower() == "color" else parts
    subject = re.fullmatch(_SUBJECT, where[-2], re.IGNORECASE) if len(where) > 1 else None
    return (int(subject[1]), where[-1].lower()) if subject and re.fullmatch("[A-Za-z]", where[-1]) else None


def _published(sheets: Sequence[Sheet]) -> Published:
    return _PUBLISHED


DATASETS = {"casme3": Dataset("casme3", "CAS(ME)^3, part A", _COLUMNS, _entry, _key, _published)}
