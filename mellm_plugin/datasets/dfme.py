"""DFME: 1856 clips to train on, 474 (A) and 299 (B) to test on, at 200 to 500 fps. A row of its sheets, and frames:

    Subject  Filename    OnsetFrame  ApexFrame  OffsetFrame  Emotion    EmotionId  Fps  AU
    sub0003  sub0003_01  0           14         31           happiness  4          300  R6+R12
    .../sub0003_01/0.jpg

One sheet for each split; no subject is in two of them. Frame numbers start at 0.

Source: Zhao et al., DFME: A new benchmark for dynamic facial micro-expression recognition (2023).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

from mellm_plugin.datasets.cells import label, matched
from mellm_plugin.datasets.conversion import Dataset, Entry, Published
from mellm_plugin.datasets.sheets import Column, Row, Sheet
from mellm_plugin.facs.labels import LABELS

_COLUMNS = {
    "subject": Column("Subject", merged=True),
    "clip": Column("Filename"),
    "onset": Column("OnsetFrame"),
    "apex": Column("ApexFrame"),
    "offset": Column("OffsetFrame"),
    "emotion": Column("Emotion"),
    "emotion_id": Column("EmotionId", required=False),
    "fps": Column("Fps", required=False),
    "aus": Column("AU", "AUs", "Action Units"),
}
_CLIP = r"(sub[0-9]{3,5})_[0-9]{1,4}"
SPLITS = {"train": 1856, "test_a": 474, "test_b": 299}
"""Clips of each split, as published."""


def _entry(row: Row) -> Entry | None:
    subject = matched(row, "subject", "sub[0-9]{3,5}", "sub0003")
    clip = matched(row, "clip", _CLIP, "sub0003_01")
    if subject is None or clip is None:
        return None
    if clip[1].lower() != subject[0].lower():
        row.faults.append(f"expected a clip of subject {subject[0]}, found {clip[0]}; correct the row")
    emotion, number = label(row, "emotion", "dfme"), row.whole("emotion_id")
    # the numbers count the labels in their order
    if number is not None and emotion is not None and LABELS["dfme"][number : number + 1] != (emotion,):
        row.faults.append(f"expected Emotion and EmotionId to agree, found {emotion} and {number}; correct the row")
    return Entry(
        id=f"dfme/{subject[0].lower()}/{clip[0].lower()}",
        subject=subject[0].lower(),
        clip=clip[0].lower(),
        where="",
        keys=(clip[0].lower(),),
        onset=row.whole("onset", required=True),
        apex=row.whole("apex"),
        offset=row.whole("offset"),
        emotion=emotion,
        au_code=row.raw("aus"),
        fps=row.number_above_zero("fps"),
    )


def _key(parts: tuple[str, ...]) -> Hashable | None:
    return parts[-1].lower() if parts and re.fullmatch(_CLIP, parts[-1], re.IGNORECASE) else None


def _published(sheets: Sequence[Sheet]) -> Published:
    return Published("DFME", SPLITS)


DATASETS = {"dfme": Dataset("dfme", "DFME", _COLUMNS, _entry, _key, _published)}
