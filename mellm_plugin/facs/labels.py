"""Emotion labels of each dataset, their spelling variants, and the coarse classes of MEGC 2019."""

from __future__ import annotations

from collections.abc import Collection

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
    "negatively surprised": "negative surprise",
    "negativesurprise": "negative surprise",
    "surprise negative": "negative surprise",
    "positively surprised": "positive surprise",
    "positivesurprise": "positive surprise",
    "surprise positive": "positive surprise",
    "helpless": "helpless",  # in the challenges' files
    "helplessness": "helpless",
    **dict.fromkeys(("愤怒", "生气", "憤怒"), "anger"),
    **dict.fromkeys(("轻蔑", "蔑视", "鄙视", "輕蔑"), "contempt"),
    **dict.fromkeys(("厌恶", "厭惡"), "disgust"),
    **dict.fromkeys(("恐惧", "害怕", "恐懼"), "fear"),
    **dict.fromkeys(("高兴", "快乐", "开心", "高興"), "happiness"),
    **dict.fromkeys(("其他", "其它"), "others"),
    **dict.fromkeys(("压抑", "壓抑"), "repression"),
    **dict.fromkeys(("悲伤", "伤心", "难过", "悲傷"), "sadness"),
    **dict.fromkeys(("惊讶", "吃惊", "惊奇", "驚訝"), "surprise"),
    **dict.fromkeys(("中性", "无表情"), "neutral"),
    **dict.fromkeys(("消极", "负面", "负性", "消極"), "negative"),
    **dict.fromkeys(("积极", "正面", "正性", "積極"), "positive"),
}

_CANONICAL: dict[str, str] = {
    **{label: label for of in (LABELS, COMPOUND_LABELS) for labels in of.values() for label in labels},
    **_VARIANTS,
}


def labels_of(dataset: str) -> tuple[str, ...]:
    """Every label of a dataset in canonical spelling, compound ones last; empty for an unknown dataset."""
    return LABELS.get(dataset, ()) + COMPOUND_LABELS.get(dataset, ())


def labels_named(spec: str, found: Collection[str] = ()) -> tuple[str, ...]:
    """The labels that a text names: all labels of a dataset, or labels joined by `+`.

    Args:
        spec: such as `casme2` or `disgust+fear`.
        found: further known labels, from a user's own data.

    Raises:
        InputError: lists all unknown names, each with similar ones.
    """
    if spec in LABELS:
        return labels_of(spec)
    known = {label for name in LABELS for label in labels_of(name)} | {*found}
    asked = tuple(spec.split("+"))
    faults = [
        f"{label!r} is neither a label nor a dataset.{near(label, {*known, *LABELS})}"
        for label in asked
        if label not in known
    ]
    if faults:
        raise InputError(faults)
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
