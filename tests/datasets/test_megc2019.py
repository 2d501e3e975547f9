"""The composite of MEGC 2019: the published counts come out of clips that are counted as in the three datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from mellm_plugin.datasets.megc2019 import OMITTED, PARTS, PUBLISHED, belongs, differences
from mellm_plugin.facs.labels import coarse

# Clips of each label as the coding sheets have them: CASME II (2014), SAMM, and the folders of SMIC (HS).
COUNTS = {
    "casme2": {
        "others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2,
    },
    "samm": {
        "anger": 57, "happiness": 26, "others": 26, "surprise": 15, "contempt": 12, "disgust": 9, "fear": 8,
        "sadness": 6,
    },
    "smic": {"negative": 70, "positive": 51, "surprise": 43},
}  # fmt: skip
Clip = tuple[str, str, str, str]


def clips(counts: dict[str, dict[str, int]]) -> Iterator[Clip]:
    """Id, dataset, subject and label, with as many subjects as were published; two clips of disgust are the omitted."""
    for dataset, labels in counts.items():
        omitted = sorted(OMITTED) if dataset == "casme2" else []
        n = 0
        for label, number in labels.items():
            for _ in range(number):
                subject = f"s{n % PUBLISHED[dataset]['subjects']}"
                id = omitted.pop() if label == "disgust" and omitted else f"{dataset}/{subject}/{n}"
                yield id, dataset, subject, label
                n += 1


def kept(counts: dict[str, dict[str, int]]) -> list[tuple[str, str, str]]:
    return [(d, subject, coarse(e) or "") for id, d, subject, e in clips(counts) if belongs(id, d, e, coarse(e))]


def test_the_published_composite() -> None:
    found = kept(COUNTS)
    assert len(found) == 442 and Counter(c for _, _, c in found) == {"negative": 250, "positive": 109, "surprise": 83}
    assert Counter(d for d, _, _ in found) == {"casme2": 145, "samm": 133, "smic": 164}
    assert differences(found) == []
    assert sum(PUBLISHED[part]["subjects"] for part in PARTS) == 68


def test_other_sheets_are_told_by_part() -> None:
    newer = {**COUNTS, "casme2": {**COUNTS["casme2"], "surprise": 28, "sadness": 4}}
    assert differences(kept(newer)) == [
        "casme2: expected 145 clips (88 negative, 32 positive, 25 surprise) of 24 subjects, "
        "found 148 clips (88 negative, 32 positive, 28 surprise) of 24 subjects"
    ]
    without = {name: labels for name, labels in COUNTS.items() if name != "smic"}
    (difference,) = differences(kept(without))
    assert difference.endswith("found 0 clips (0 negative, 0 positive, 0 surprise) of 0 subjects")


@pytest.mark.parametrize(
    ("clip", "is_in"),
    [
        (("casme2/sub01/EP02_01f", "casme2", "happiness"), True),
        (("casme2/sub04/EP12_01f", "casme2", "disgust"), False),
        (("casme2/sub05/EP09_05f", "casme2", "disgust"), False),
        (("casme2/sub05/EP09_06f", "casme2", "fear"), False),
        (("samm/006/006_1_2", "samm", "fear"), True),
        (("samm/006/006_1_3", "samm", "others"), False),
        (("smic/s1/s1_ne_01", "smic", "negative"), True),
        (("mmew/s1/a", "mmew", "fear"), False),
    ],
)
def test_which_clips_belong(clip: tuple[str, str, str], is_in: bool) -> None:
    id, dataset, emotion = clip
    assert belongs(id, dataset, emotion, coarse(emotion)) is is_in


def test_a_clip_without_label_belongs_only_with_a_class() -> None:
    assert belongs("smic/s1/a", "smic", None, "positive") and not belongs("smic/s1/a", "smic", None, None)
