"""DFME: 1856 clips to train on, 474 (A) and 299 (B) to test on, at 200 to 500 fps. A row of its sheets, and frames:

    Subject  Filename    OnsetFrame  ApexFrame  OffsetFrame  Emotion    EmotionId  Fps  AU
    sub0003  sub0003_01  0           14         31           happiness  4          300  R6+R12
    .../sub0003_01/0.jpg

One sheet for each split; no subject is in two of them. Frame numbers start at 0.

Source: Zhao et al., DFME: A new benchmark for dynamic facial micro-expression recognition (2023).
"""

from __future__ import annotations

from collections.abc import Sequence

from mellm_plugin.datasets.cells import label, named
from mellm_plugin.datasets.entry import Dataset, Entry, Published
from mellm_plugin.datasets.names import person
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
SPLITS = {"train": 1856, "test_a": 474, "test_b": 299}
"""Clips of each split, as published."""


def _entry(row: Row) -> Entry | None:
    subject, clip = named(row, "subject", "sub{:04d}"), named(row, "clip")
    if subject is None or clip is None:
        return None
    clip = clip.lower()
    first, mark, _ = clip.rpartition("_")  # a clip's name begins with its subject's
    if mark and person(first) not in (None, person(subject)):
        row.faults.append(f"expected a clip of subject {subject}, found {clip}; correct the row")
    emotion, number = label(row, "emotion", "dfme"), row.whole("emotion_id")
    # the numbers count the labels in their order
    if number is not None and emotion is not None and LABELS["dfme"][number : number + 1] != (emotion,):
        row.faults.append(f"expected Emotion and EmotionId to agree, found {emotion} and {number}; correct the row")
    return Entry(
        id=f"dfme/{subject}/{clip}",
        subject=subject,
        clip=clip,
        where="",
        names=((clip,), (subject, clip)),
        onset=row.whole("onset", required=True),
        apex=row.whole("apex"),
        offset=row.whole("offset"),
        emotion=emotion,
        au_code=row.raw("aus"),
        fps=row.number_above_zero("fps"),
    )


def _published(sheets: Sequence[Sheet]) -> Published:
    return Published("DFME", SPLITS)


DATASETS = {"dfme": Dataset("dfme", "DFME", _COLUMNS, _entry, _published)}
