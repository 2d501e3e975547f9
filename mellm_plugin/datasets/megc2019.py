"""The composite of the MEGC 2019 challenge: which clips of three prepared datasets it is made of, and how many.

               negative  positive  surprise   clips  subjects
    casme2           88        32        25     145        24
    samm             92        26        15     133        28
    smic             70        51        43     164        16
    together        250       109        83     442        68

It is no dataset of its own: its clips are those of the three, and a task loads their files together. Left out are
`others`, which has none of the three classes; CASME II's fear and sadness; and two of its clips of disgust.

Source: J. See, M. H. Yap, J. Li, X. Hong, S.-J. Wang: MEGC 2019 - the second Facial Micro-Expressions Grand Challenge,
FG 2019.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from mellm_plugin.facs.labels import COARSE

PARTS: tuple[str, ...] = ("casme2", "samm", "smic")
"""The datasets that it is made of."""

PUBLISHED: dict[str, dict[str, int]] = {
    "casme2": {"negative": 88, "positive": 32, "surprise": 25, "subjects": 24},
    "samm": {"negative": 92, "positive": 26, "surprise": 15, "subjects": 28},
    "smic": {"negative": 70, "positive": 51, "surprise": 43, "subjects": 16},
}
"""Clips of each class and subjects of each part, as published."""

OMITTED: frozenset[str] = frozenset({"casme2/sub04/EP12_01f", "casme2/sub05/EP09_05f"})
"""Ids of clips that have one of the classes and are no part of the composite."""

_LABELS_LEFT_OUT = {"casme2": ("fear", "sadness")}


def belongs(id: str, dataset: str, emotion: str | None, coarse: str | None) -> bool:
    """Whether a clip is part of the composite.

    Args:
        id, dataset, emotion, coarse: of the clip, see `Sample`.
    """
    return (
        dataset in PARTS and coarse in COARSE and emotion not in _LABELS_LEFT_OUT.get(dataset, ()) and id not in OMITTED
    )


def differences(clips: Iterable[tuple[str, str, str]]) -> list[str]:
    """What differs from the published counts, a sentence a part; none where all are as published.

    Args:
        clips: dataset, subject and coarse class of every clip that belongs.
    """
    classes: Counter[tuple[str, str]] = Counter()
    subjects: dict[str, set[str]] = {part: set() for part in PARTS}
    for dataset, subject, coarse in clips:
        classes[dataset, coarse] += 1
        subjects.setdefault(dataset, set()).add(subject)
    found = {part: {c: classes[part, c] for c in COARSE} | {"subjects": len(subjects[part])} for part in PARTS}
    return [
        f"{part}: expected {_words(PUBLISHED[part])}, found {_words(found[part])}"
        for part in PARTS
        if found[part] != PUBLISHED[part]
    ]


def _words(counts: Mapping[str, int]) -> str:
    clips = sum(counts[c] for c in COARSE)
    return f"{clips} clips ({', '.join(f'{counts[c]} {c}' for c in COARSE)}) of {counts['subjects']} subjects"
