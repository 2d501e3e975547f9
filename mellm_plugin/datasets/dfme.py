"""DFME: 1856 clips to train on, 474 (A) and 299 (B) to test on, at 200 to 500 fps. A row of its sheets, and frames:

    Subject  Filename    OnsetFrame  ApexFrame  OffsetFrame  Emotion    EmotionId  Fps  AU
    sub0003  sub0003_01  0           14         31           happiness  4          300  R6+R12
    .../sub0003_01/0.jpg

One sheet per split; no subject is in two of them. Frame numbers start at 0.

Source: Zhao et al., DFME: A new benchmark for dynamic facial micro-expression recognition (2023).
"""

from __future__ import annotations

from mellm_plugin.datasets.cells import check_subject, columns, named, sheet_entry
from mellm_plugin.datasets.entry import Dataset, Entry, Published
from mellm_plugin.datasets.sheets import Row
from mellm_plugin.facs.labels import LABELS

_COLUMNS = columns(
    *("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "AU, AUs, Action Units", "Emotion"),
    emotion_id="EmotionId",
    fps="Fps",
)
SPLITS = {"train": 1856, "test_a": 474, "test_b": 299}
"""Clips of each split, as published."""


def _entry(row: Row) -> Entry | None:
    subject, clip = named(row, "subject", "sub{:04d}"), named(row, "clip")
    if subject is None or clip is None:
        return None
    clip = clip.lower()
    check_subject(row, subject, clip)
    fps = row.number_above_zero("fps")
    entry = sheet_entry(row, "dfme", subject, clip, ((clip,), (subject, clip)), fps=fps)
    emotion, number = entry.emotion, row.whole("emotion_id")
    # the numbers count the labels in their order
    if number is not None and emotion is not None and LABELS["dfme"][number : number + 1] != (emotion,):
        row.faults.append(f"expected Emotion and EmotionId to agree, found {emotion} and {number}; correct the row")
    return entry


DATASETS = {"dfme": Dataset("dfme", "DFME", _COLUMNS, _entry, lambda sheets: Published("DFME", SPLITS))}
