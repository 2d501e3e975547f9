"""The composite of MEGC 2019: the list has the published counts, and its clips are found however they are written."""

from __future__ import annotations

from collections import Counter

import pytest

from mellm_plugin.datasets.megc2019 import PARTS, clip_of, clips, missing

PUBLISHED = {
    "casme2": ({"negative": 88, "positive": 32, "surprise": 25}, 24),
    "samm": ({"negative": 92, "positive": 26, "surprise": 15}, 28),
    "smic": ({"negative": 70, "positive": 51, "surprise": 43}, 16),
}


def test_the_published_composite() -> None:
    assert len(clips()) == 442 and tuple(PUBLISHED) == PARTS
    for part, (classes, subjects) in PUBLISHED.items():
        assert Counter(label for clip, (label, _) in clips().items() if clip[0] == part) == classes
        assert len({clip[1] for clip in clips() if clip[0] == part}) == subjects


@pytest.mark.parametrize(
    ("clip", "label"),
    [
        (("casme2", "sub01", "EP02_01f"), "positive"),
        (("casme2", "1", "ep02_01F"), "positive"),
        (("casme2", "sub04", "EP12_01f"), None),  # disgust, and left out
        (("casme2", "sub05", "EP09_05f"), None),
        (("casme2", "sub24", "EP07_01"), None),  # surprise in the sheet of 2019
        (("samm", "006", "006_1_2"), "negative"),
        (("samm", "6", "006_1_2"), "negative"),
        (("smic", "s01", "s1_ne_01"), "negative"),
        (("smic", "s1", "s01_ne_01"), "negative"),
        (("mmew", "s01", "EP02_01f"), None),
    ],
)
def test_which_clips_belong(clip: tuple[str, str, str], label: str | None) -> None:
    assert clips().get(clip_of(*clip), (None,))[0] == label


def test_what_is_missing_is_told_clip_by_clip() -> None:
    assert missing(clips()) == []
    without = [clip for clip in clips() if clip[0] == "smic" or clip[1] != ("7",)]
    casme2, samm = missing(without)
    assert casme2.startswith("casme2: ") and casme2.count("casme2/sub07/") == casme2.count(",") + 1
    assert samm.startswith("samm: ") and "samm/7/007_" in samm
