"""Emotion labels of each dataset, their spelling variants, and the coarse classes of MEGC 2019."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mellm_plugin.errors import InputError, near

COARSE: tuple[str, ...] = ("negative", "positive", "surprise")
"""The three classes of the MEGC 2019 composite."""

LABELS: dict[str, tuple[str, ...]] = {
    "casme2": ("disgust", "fear", "happiness", "others", "repression", "sadness", "surprise"),
    "samm": ("anger", "contempt", "disgust", "fear", "happiness", "others", "sadness", "surprise"),
    "smic": COARSE,
    "casme3": ("anger", "disgust", "fear", "happiness", "others", "sadness", "surprise"),
    "dfme": ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"),
    "mmew": ("anger", "disgust", "fear", "happiness", "repression", "sadness", "surprise"),
    "fourdme": ("negative", "others", "positive", "repression", "surprise"),
    "synthme": ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"),
}
"""The fine labels of each dataset in canonical spelling; `COMPOUND_LABELS` holds those that join two others."""

COMPOUND_LABELS: dict[str, tuple[str, ...]] = {"fourdme": ("negative surprise", "positive surprise")}
"""Labels of one dataset that join two labels. They are not in `LABELS`, whose words are read in the answers to every
task: in other tasks "negative surprise" means surprise."""

_COARSE_OF: dict[str, str] = {
    **dict.fromkeys(("anger", "contempt", "disgust", "fear", "repression", "sadness", "negative"), "negative"),
    **{"happiness": "positive", "positive": "positive", "surprise": "surprise"},
}

_SPELLINGS: dict[str, str] = {
    "anger": "angry, 愤怒, 生气, 憤怒",
    "contempt": "contemptuous, contemptuousness, 轻蔑, 蔑视, 鄙视, 輕蔑",
    "disgust": "disgusted, 厌恶, 厭惡",
    "fear": "fearful, afraid, 恐惧, 害怕, 恐懼",
    "happiness": "happy, joy, 高兴, 快乐, 开心, 高興",
    "others": "other, 其他, 其它",
    "repression": "repressed, 压抑, 壓抑",
    "sadness": "sad, 悲伤, 伤心, 难过, 悲傷",
    "surprise": "surprised, 惊讶, 吃惊, 惊奇, 驚訝",
    "neutral": "no expression, no emotion, 中性, 无表情",
    "negative surprise": "negatively surprised, negativesurprise, surprise negative",
    "positive surprise": "positively surprised, positivesurprise, surprise positive",
    "helpless": "helpless, helplessness",
    "negative": "消极, 负面, 负性, 消極",
    "positive": "积极, 正面, 正性, 積極",
}
"""Other spellings of each label; `helpless` is a label in the challenges' files."""

_VARIANTS: dict[str, str] = {
    spelling: label for label, spellings in _SPELLINGS.items() for spelling in spellings.split(", ")
}

_CANONICAL: dict[str, str] = {
    **{label: label for of in (LABELS, COMPOUND_LABELS) for labels in of.values() for label in labels},
    **_VARIANTS,
}


def labels_of(dataset: str) -> tuple[str, ...]:
    """Every label of a dataset in canonical spelling, compound ones last; empty for an unknown dataset."""
    return LABELS.get(dataset, ()) + COMPOUND_LABELS.get(dataset, ())


def labels_named(spec: str, found: Collection[str] = ()) -> tuple[str, ...]:
    """The labels that a text names: all labels of a dataset (`casme2`), or labels joined by `+` (`disgust+fear`).

    Args:
        found: further known labels, from a user's own data.

    Raises:
        InputError: lists all unknown names, each with similar ones.
    """
    if spec in LABELS:
        return labels_of(spec)
    known = {label for name in LABELS for label in labels_of(name)} | {*found}
    asked = tuple(spec.split("+"))
    if unknown := [label for label in asked if label not in known]:
        names = {*known, *LABELS}
        raise InputError([f"{label!r} is neither a label nor a dataset.{near(label, names)}" for label in unknown])
    return asked


def canonical_label(text: str) -> str | None:
    """The canonical spelling of a label (`"Happy"` -> `"happiness"`), or None if no dataset has it."""
    return _CANONICAL.get(" ".join(text.lower().split()))


def spellings(label: str) -> tuple[str, ...]:
    """Every known spelling of a canonical label, the canonical one first."""
    return (label, *(variant for variant, canonical in _VARIANTS.items() if canonical == label))


def coarse(label: str) -> str | None:
    """The coarse class of a canonical label; None outside the three classes (`others`, `neutral`) and between two of
    them (`negative surprise`)."""
    return _COARSE_OF.get(label)


def gold_label(label: str | None, coarse: str | None, asked: Sequence[str]) -> str | None:
    """The expected label: the clip's own where the task asks for it, else its coarse class; None for neither."""
    return label if label in asked else coarse if coarse in asked else None
