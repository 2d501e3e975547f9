"""Sums by subject from which scores are computed: of one set of clips, or of any resample of its subjects.

    label_counts(clips, gold, read, labels)  ->  Counts
    counts.scores(counts.cells.sum(0, keepdims=True))  ->  {"uf1": [.61], "uar": [.60], ..}

A resample is a row with the number of times each subject was drawn. All sums behind a score are that row times the
cells of the subjects, so resampling never looks at a clip again. A class or unit without a clip in the resample is left
out of a mean, as in the score itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mellm_plugin.errors import InputError
from mellm_plugin.scoring import calibration
from mellm_plugin.scoring import units as action_units

Floats = NDArray[np.float64]
Clip = tuple[str, str]
"""Id of a clip, and its subject: a name that identifies one person."""


@dataclass(frozen=True)
class Counts:
    """Counts of a set of clips by subject, and the scores computed from their sums.

    Attributes:
        subjects, clips: S names and the ids of the clips, ascending.
        cells: (S, K) float64.
        needed: columns whose sums are all above 0 if every class or unit occurs.
        scores: (N, K) sums -> for each score its name and (N,) float64, NaN for an undefined score.
        weights: for a score, the columns that are 0 for subjects that contribute nothing to it (default: none).
        pulls: for fitted scores: the sums (K,) of two runs together -> the derivative of the score by each column (K,),
            the same for both runs.
    """

    subjects: tuple[str, ...]
    clips: tuple[str, ...]
    cells: Floats
    needed: tuple[int, ...]
    scores: Callable[[Floats], dict[str, Floats]] = field(repr=False)
    weights: Mapping[str, tuple[int, ...]]
    pulls: Mapping[str, Callable[[Floats], Floats]] = field(repr=False)

    def contributing(self, score: str) -> int:
        """The number of subjects that contribute to a score."""
        columns = self.weights.get(score)
        return len(self.subjects) if columns is None else int(self.cells[:, list(columns)].any(1).sum())


def label_counts(
    clips: Sequence[Clip], gold: Sequence[str], read: Sequence[str | None], labels: Sequence[str]
) -> Counts:
    """Counts for `uf1`, `uar` and `acc` as in `emotion.score`, and for `parse_rate`.

    Two runs that will be compared need equal `labels`.

    Raises:
        InputError: lengths differ, or labels outside `labels`; all faults at once.
    """
    strange = sorted({*gold, *read} - {None, *labels}, key=str)
    faults = [f"{', '.join(map(str, strange))}: not among the labels {', '.join(labels)}"] if strange else []
    _check("labels", clips, faults, annotations=gold, answers=read)
    number = len(labels)
    place = {label: at for at, label in enumerate(labels)}
    cells = np.zeros((len(gold), 3 * number + 1))
    for row, (annotated, given) in enumerate(zip(gold, read, strict=True)):
        cells[row, number + place[annotated]] = 1
        if given is not None:
            cells[row, [2 * number + place[given], -1]] = 1
            cells[row, place[given]] = annotated == given

    def scores(sums: Floats) -> dict[str, Floats]:
        right, annotated, given = (sums[:, at * number : (at + 1) * number] for at in range(3))
        total = annotated.sum(1)
        return {
            "uf1": _mean(2 * right, annotated + given, annotated > 0),
            "uar": _mean(right, annotated, annotated > 0),
            "acc": _ratio(right.sum(1), total),
            "parse_rate": _ratio(sums[:, -1], total),
        }

    needed = [number + place[label] for label in labels if label in set(gold)]
    return subject_counts(clips, cells, needed, scores)


def unit_counts(
    clips: Sequence[Clip],
    gold: Sequence[action_units.Events | None],
    read: Sequence[Collection[int] | None],
    units: Sequence[int],
) -> Counts:
    """Counts for `f1`, `f1_micro` and `exact` as in `units.score`, and for `parse_rate`.

    All clips together decide which alternative of "6 or 12" a miss counts for, not each resample.
    Clips whose units are not known are left out.

    Raises:
        InputError: lengths differ.
    """
    _check("units", clips, annotations=gold, answers=read)
    counted = action_units.tally(gold, read, units)
    number = len(counted.units)
    columns = (counted.hits, counted.alarms, counted.misses, counted.certain, counted.exact, counted.parsed)
    cells = np.column_stack([*columns, np.ones(len(counted.clips))])

    def scores(sums: Floats) -> dict[str, Floats]:
        hits, alarms, misses, certain = (sums[:, at * number : (at + 1) * number] for at in range(4))
        occurs = certain > 0
        tops, bottoms = 2 * hits, 2 * hits + alarms + misses
        return {
            "f1": _mean(tops, bottoms, occurs),
            "f1_micro": _ratio((tops * occurs).sum(1), (bottoms * occurs).sum(1)),
            "exact": _ratio(sums[:, -3], sums[:, -1]),
            "parse_rate": _ratio(sums[:, -2], sums[:, -1]),
        }

    return subject_counts([clips[at] for at in counted.clips], cells, range(3 * number, 4 * number), scores)


def rate_counts(clips: Sequence[Clip], values: Sequence[float], of: Sequence[float] | None = None) -> Counts:
    """Counts for `rate`: a share of clips, the mean of a value, or a ratio of two sums.

    Args:
        clips: one for each value.
        values: True or False for a share; or values of any range, which is then that of the interval.
        of: what each clip adds to the denominator; default 1.

    Raises:
        InputError: lengths differ.
    """
    weights = [1.0] * len(values) if of is None else of
    _check("a rate", clips, answers=values, weights=weights)
    cells = np.column_stack([values, weights]).astype(np.float64).reshape(len(values), 2)
    return subject_counts(clips, cells, (), lambda sums: {"rate": _ratio(sums[:, 0], sums[:, 1])}, {"rate": (1,)})


def sum_counts(
    clips: Sequence[Clip], cells: Sequence[Sequence[float]], name: str, score: Callable[[Floats], float]
) -> Counts:
    """Counts for a score with its own formula over sums, computed for one resample at a time.

    Args:
        clips: one for each row of cells.
        cells: (N, K), what each clip adds to the K sums.
        name: name of the score.
        score: (K,) sums -> the score; NaN if it is undefined.

    Raises:
        InputError: lengths differ.
    """
    _check(name, clips, answers=cells)
    rows = np.array(cells, np.float64).reshape(len(clips), -1)
    return subject_counts(clips, rows, (), lambda sums: {name: np.array([score(row) for row in sums])})


def calibration_counts(clips: Sequence[Clip], confidence: Sequence[float], right: Sequence[bool]) -> Counts:
    """Counts for `ece` as in `calibration.score`.

    Raises:
        InputError: lengths differ.
    """
    _check("calibration", clips, confidences=confidence, answers=right)
    cells = np.zeros((len(clips), calibration.BINS + 1))
    places = calibration.bins_of(confidence)
    rows = np.arange(len(clips))
    cells[rows, places] = np.asarray(right, np.float64) - np.asarray(confidence, np.float64)
    cells[:, -1] = 1
    return subject_counts(clips, cells, (), lambda sums: {"ece": _ratio(np.abs(sums[:, :-1]).sum(1), sums[:, -1])})


def fact_counts(
    clips: Sequence[Clip], right: Sequence[int], claimed: Sequence[int], found: Sequence[int], implied: Sequence[int]
) -> Counts:
    """Counts for `f1`, `precision` and `recall` as in `facts.score`, from the numbers of each clip with known units.

    Raises:
        InputError: lengths differ.
    """
    _check("facts", clips, rights=right, claims=claimed, finds=found, facts=implied)
    cells = np.array([right, claimed, found, implied], np.float64).T.reshape(len(clips), 4)

    def scores(sums: Floats) -> dict[str, Floats]:
        precision, recall = _ratio(sums[:, 0], sums[:, 1]), _ratio(sums[:, 2], sums[:, 3])
        correct = np.nan_to_num(precision)  # without claims nothing is correct
        f1 = np.where(correct + recall == 0, 0.0, _ratio(2 * correct * recall, correct + recall))
        return {"precision": precision, "recall": recall, "f1": np.where(np.isnan(recall), np.nan, f1)}

    return subject_counts(clips, cells, (3,), scores, {"precision": (1,), "recall": (3,), "f1": (3,)})


def subject_counts(
    clips: Sequence[Clip],
    cells: Floats,
    needed: Sequence[int],
    scores: Callable[[Floats], dict[str, Floats]],
    weights: Mapping[str, tuple[int, ...]] | None = None,
    pulls: Mapping[str, Callable[[Floats], Floats]] | None = None,
) -> Counts:
    """Counts from rows of single clips: `cells`, (N, K) float64, is what each adds; the rest as in `Counts`."""
    subjects = tuple(sorted({subject for _, subject in clips}))
    row = {subject: at for at, subject in enumerate(subjects)}
    sums = np.zeros((len(subjects), cells.shape[1]))
    # In a fixed order: the last bits of sums of fractions depend on it.
    order = sorted(range(len(clips)), key=lambda at: (clips[at], cells[at].tolist()))
    np.add.at(sums, [row[clips[at][1]] for at in order], cells[order])
    ids = tuple(sorted(id for id, _ in clips))
    return Counts(subjects, ids, sums, tuple(needed), scores, weights or {}, pulls or {})


def _check(what: str, clips: Sequence[Clip], others: Sequence[str] = (), **given: Sequence[object]) -> None:
    """Raise the other faults too, after those of lengths."""
    lengths = {name: len(values) for name, values in given.items() if len(values) != len(clips)}
    faults = [f"expected as many {name} as clips ({len(clips)}), found {n}" for name, n in lengths.items()]
    if faults or others:
        raise InputError([*faults, *others], where=f"intervals of {what}")


def _ratio(tops: Floats, bottoms: Floats) -> Floats:
    found: Floats = np.divide(tops, bottoms, out=np.full(tops.shape, np.nan), where=bottoms > 0)
    return found


def _mean(tops: Floats, bottoms: Floats, occurs: NDArray[np.bool_]) -> Floats:
    """Mean of the ratios in each row over the columns that occur; NaN if none does."""
    ratios = np.divide(tops, bottoms, out=np.zeros(tops.shape), where=occurs)
    return _ratio(ratios.sum(1), occurs.sum(1).astype(np.float64))
