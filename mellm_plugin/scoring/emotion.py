"""Expression labels: UF1, UAR and accuracy over a fixed list of labels, pooled over all clips.

    score(["anger", "fear"], ["anger", None], ["anger", "fear", "others"])
      -> f1 {"anger": 1.0, "fear": 0.0}, uf1 .5, uar .5, accuracy .5, absent ("others",), unparsed 1

    in_words(..)
      ->  label  clips  precision  recall    F1   read as: anger  fear  unparsed
          anger      1       1.00    1.00  1.00                1     0         0
          fear       1          –     .00   .00                0     0         1

UF1 is the mean over the labels of their F1, with true and false positives summed over all clips; UAR is the mean of
TP / n. An answer that could not be read (None) is wrong for the true label and gives no other label. Both means leave
out a label without any clip and list it in `absent`; an answer that gives this label is still wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mellm_plugin.errors import InputError


@dataclass(frozen=True)
class EmotionScores:
    """Scores of one set of clips, in 0..1.

    Attributes:
        uf1, uar, accuracy: None where there is no clip.
        f1, recall, precision, support: by label that has clips, in the order of the labels given; support is its number
            of clips, and precision is None where no answer gives the label.
        confusion: (true label, label read or None) -> number of clips.
        labels, absent: those of the task, and those without a clip, which the means leave out.
        clips, unparsed: number of clips scored, and of those whose answer could not be read.
    """

    uf1: float | None
    uar: float | None
    accuracy: float | None
    f1: dict[str, float]
    recall: dict[str, float]
    precision: dict[str, float | None]
    support: dict[str, int]
    confusion: dict[tuple[str, str | None], int]
    labels: tuple[str, ...]
    absent: tuple[str, ...]
    clips: int
    unparsed: int


def score(gold: Sequence[str], read: Sequence[str | None], labels: Sequence[str]) -> EmotionScores:
    """Score what was read in each answer (None where nothing could be) against the annotation of its clip.

    Raises:
        InputError: the lengths differ, or there are labels that are not in `labels`; all faults at once.
    """
    faults = []
    if len(gold) != len(read):
        faults.append(f"expected as many labels read as annotated ({len(gold)}), found {len(read)}")
    for name, found in (("annotated", gold), ("read", read)):
        if strange := sorted({label for label in found if label is not None} - set(labels)):
            faults.append(f"{name}: {', '.join(strange)}: not among the labels {', '.join(labels)}")
    if faults:
        raise InputError(faults, where="scoring of expressions")
    confusion, clips, given = Counter(zip(gold, read, strict=True)), Counter(gold), Counter(read)
    present = [label for label in labels if clips[label]]
    right = {label: confusion[label, label] for label in present}
    # F1 = 2 TP / (2 TP + FP + FN); the divisor is the clips with the label plus the answers that give it
    f1 = {label: 2 * right[label] / (clips[label] + given[label]) for label in present}
    recall = {label: right[label] / clips[label] for label in present}
    return EmotionScores(
        uf1=sum(f1.values()) / len(f1) if f1 else None,
        uar=sum(recall.values()) / len(recall) if recall else None,
        accuracy=sum(right.values()) / len(gold) if gold else None,
        f1=f1,
        recall=recall,
        precision={label: right[label] / given[label] if given[label] else None for label in present},
        support={label: clips[label] for label in present},
        confusion=dict(confusion),
        labels=tuple(labels),
        absent=tuple(label for label in labels if not clips[label]),
        clips=len(gold),
        unparsed=given[None],
    )


def majority(gold: Sequence[str], labels: Sequence[str]) -> EmotionScores:
    """The scores when every answer is the most frequent label of these clips (the first of equals)."""
    return score(gold, [max(labels, key=Counter(gold).__getitem__, default=None)] * len(gold), labels)


def in_words(scores: EmotionScores) -> str:
    """A table: a line for each label that has clips, with the confusion matrix."""
    given = [label for label in scores.labels if label in scores.f1 or any(r == label for _, r in scores.confusion)]
    width = max(map(len, (*scores.f1, "label")))
    columns = [*given, "unparsed"]
    lines = [f"{'label':{width}}  clips  precision  recall    F1   read as: {'  '.join(columns)}"]
    for label, f1 in scores.f1.items():
        read_as = [scores.confusion.get((label, name), 0) for name in (*given, None)]
        cells = "  ".join(f"{count:{len(name)}}" for name, count in zip(columns, read_as, strict=True))
        numbers = f"{share(scores.precision[label]):>9}  {share(scores.recall[label]):>6}  {share(f1):>4}"
        lines.append(f"{label:{width}}  {scores.support[label]:5}  {numbers}            {cells}")
    return "\n".join(lines)


def share(value: float | None, decimals: int = 2) -> str:
    """A share of 1 without its leading zero (`.47`); a dash for None."""
    return "–" if value is None else f"{value:.{decimals}f}".removeprefix("0")
