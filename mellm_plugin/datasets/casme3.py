"""CAS(ME)^3, part A: 860 clips at 30 fps. A row of its sheet, and the frames of that clip:

    Subject  Filename  Onset  Apex  Offset  AU   Objective class  emotion
    spNO.1   b         166    171   176     4+7  III              disgust
    Part_A_ME_clip/frame/spNO.1_b_166/166.jpg    or    spNO.1/b/color/166.jpg

A recording (subject and filename) holds several clips, so a clip is named with its onset, `b_166`.

Source: Li et al., CAS(ME)3: A third generation facial spontaneous micro-expression database (2023).
"""

from __future__ import annotations

from mellm_plugin.datasets.cells import columns, named, sheet_entry
from mellm_plugin.datasets.entry import Dataset, Entry, Published
from mellm_plugin.datasets.sheets import Row

_COLUMNS = columns(
    *("Subject", "Filename", "Onset, OnsetFrame", "Apex, ApexFrame", "Offset, OffsetFrame", "AU, AUs, Action Units"),
    *("emotion, Estimated Emotion",),
    objective="Objective class, Objective classes",
    merged=("subject", "clip"),
)
_PUBLISHED = Published(
    "CAS(ME)^3 part A",
    {"test": 860},
    {"disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sadness": 57, "happiness": 55},
)


def _entry(row: Row) -> Entry | None:
    subject, recording = named(row, "subject", "spNO.{}"), named(row, "clip")
    onset = row.whole("onset", required=True)
    if subject is None or recording is None or onset is None:
        return None
    clip = f"{recording.lower()}_{onset}"
    names = ((f"{subject}_{clip}",), (subject, clip), (subject, recording), (f"{subject}_{recording}_color",))
    return sheet_entry(row, "casme3", subject, clip, names, fps=30.0)


def _aside(parts: tuple[str, ...]) -> bool:
    return parts[-1].lower().endswith("depth")


DATASETS = {"casme3": Dataset("casme3", "CAS(ME)^3, part A", _COLUMNS, _entry, lambda sheets: _PUBLISHED, _aside)}
