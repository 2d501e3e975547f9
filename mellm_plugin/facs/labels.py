"""Emotion labels: those of each dataset, their spelling variants, and the coarse classes of MEGC 2019."""

from __future__ import annotations

COARSE: tuple[str, ...] = ("negative", "positive", "surprise")
"""The three classes of the MEGC 2019 composite."""

LABELS: dict[str, tuple[str, ...]] = {
    "casme2": ("disgust", "fear", "happiness", "others", "repression", "sadness", "surprise"),
    "samm": ("anger", "contempt", "disgust", "fear", "happiness", "others", "sadness", "surprise"),
    "smic": COARSE,
    "casme3": ("anger", "disgust", "fear", "happiness", "others", "sadness", "surprise"),
    "dfme": ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"),
    "synthme": ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
}
"""The fine labels of each dataset, in canonical spelling."""

_COARSE_OF: dict[str, str] = {
    **dict.fromkeys(("anger", "contempt", "disgust", "fear", "repression", "sadness", "negative"), "negative"),
    **dict.fromkeys(("happiness", "positive"), "positive"),
    "surprise": "surprise",
}

_VARIANTS: dict[str, str] = {
    "angry": "anger",
    "contemptuous": "contempt",
    "contemptuousness": "contempt",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "happy": "happiness",
    "joy": "happiness",
    "other": "others",
    "repressed": "repression",
    "sad": "sadness",
    "surprised": "surprise",
    "no expression": "neutral",
    "no emotion": "neutral",
}

_CANONICAL: dict[str, str] = {
    **{label: label for labels in LABELS.values() for label in labels},
    **_VARIANTS,
}


def canonical_label(text: str) -> str | None:
    """The canonical spelling of a label (`"Happy"` -> `"happiness"`), or None when it is no label of any dataset."""
    return _CANONICAL.get(" ".join(text.lower().split()))


def spellings(label: str) -> tuple[str, ...]:
    """Every known spelling of a canonical label, the canonical one first."""
    return (label, *(variant for variant, canonical in _VARIANTS.items() if canonical == label))


def coarse(label: str) -> str | None:
    """The coarse class of a canonical label; None for labels outside the three classes (`others`, `neutral`)."""
    return _COARSE_OF.get(label)
