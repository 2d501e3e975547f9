"""The composite of MEGC 2019: the list has the published counts, and its clips are found however they are written."""

from __future__ import annotations

from collections import Counter

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


def test_which_clips_belong() -> None:
    def label(*clip: str) -> str | None:
        return clips().get(clip_of(*clip), (None,))[0]

    assert label("casme2", "1", "ep02_01F") == "positive"
    assert label("samm", "6", "006_1_2") == label("smic", "s1", "s01_ne_01") == "negative"
    left_out = [("sub04", "EP12_01f"), ("sub05", "EP09_05f"), ("sub24", "EP07_01")]  # disgust; surprise only in 2019
    assert [label("casme2", *clip) for clip in left_out] == [None] * 3 and label("mmew", "s01", "EP02_01f") is None


def test_what_is_missing_is_told_clip_by_clip() -> None:
    assert missing(clips()) == []
    without = [clip for clip in clips() if clip[0] == "smic" or clip[1] != ("7",)]
    casme2, samm = missing(without)
    assert casme2.startswith("casme2: ") and casme2.count("casme2/sub07/") == casme2.count(",") + 1
    assert samm.startswith("samm: ") and "samm/7/007_" in samm
