"""How sure a score is: the bootstrap over subjects, and the comparison of two runs on the same clips.

    clips (id, subject), annotated, read  ->  counts by subject  ->  bootstrap(..)["uf1"]
                                                Interval(value=.61, stderr=.04, low=.53, high=.68)

Clips of one face are not independent: a face is read well or badly as a whole. So it is subjects that are drawn, with
replacement, as many as there are, each with all its clips. A resample is a row of how often each subject was drawn; all
sums that a score is made of are that row times the counts of the subjects, so no clip is looked at again.

-   Intervals are percentile intervals, for they stay within the range of the score and need no symmetry. With n
    subjects plain percentiles are too narrow: by sqrt((n - 1) / n), and by the normal for the t distribution. So the
    quantiles taken are those at `Phi(+-sqrt(n / (n - 1)) t)`, with t of n - 1 degrees of freedom (the expanded
    percentiles of Hesterberg 2015, "What Teachers Should Know About the Bootstrap"), and the standard error is that of
    the resamples times sqrt(n / (n - 1)). With fewer than two subjects there is none (None).
-   A class or unit that no clip of a resample has is left out of the mean of that resample, as it is in the score. What
    this does: counted as 0 instead, it would pull intervals down by as much as the class weighs; left out, a resample
    without a rare class has a mean over easier classes, most often a higher one, so that where a class has few subjects
    the interval leans upward and answers for a mean over somewhat fewer classes. `Bootstrap.incomplete` says in which
    share of the resamples that was so; above some percent, take more subjects and not the interval.
-   Which alternative of "6 or 12" a miss counts for is decided once, by all clips together, and not by each resample.
-   A subject that adds nothing to what a score is a share of (it claims nothing, none of its units has a side) is no
    subject of that score: from one that does there is no interval, however many stand beside it.
-   Two runs are compared on the same resamples, which takes out what makes clips hard for both. The p-value is that of
    approximate randomization (Noreen 1989): were the runs alike, each subject's answers might as well have been
    exchanged between them; p is how often that gives a difference as large. It is exact for any number of subjects, and
    never 0. Of a score that is fitted the exchanges are compared by what it changes by to first order (`Counts.pulls`):
    as exact, and without ten thousand fits of each run for every two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mellm_plugin.errors import InputError
from mellm_plugin.scoring import units as action_units

RESAMPLES = 10_000
LEVEL = 0.95
Floats = NDArray[np.float64]
Clip = tuple[str, str]
"""The id of a clip, and its subject: a name that no two people share."""


@dataclass(frozen=True)
class Counts:
    """What was counted of a set of clips, by subject, and how scores are made from sums of it.

    Attributes:
        subjects: S names, ascending.
        clips: the ids, ascending.
        cells: (S, K) float64.
        needed: the columns of which each sum is above 0 where every class or unit occurs.
        scores: (N, K) sums -> the name of each score, and (N,) float64, NaN where there is none.
        weights: by score, the columns that are 0 for a subject that says nothing about it; of a score that is not
            named, all subjects say something.
        pulls: of scores that are fitted: the sums (K,) of two runs together -> how much the score changes with each
            column there, (K,). It must be the same whichever run an answer is of.
    """

    subjects: tuple[str, ...]
    clips: tuple[str, ...]
    cells: Floats
    needed: tuple[int, ...]
    scores: Callable[[Floats], dict[str, Floats]] = field(repr=False)
    weights: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    pulls: Mapping[str, Callable[[Floats], Floats]] = field(default_factory=dict, repr=False)

    def speaking(self, score: str) -> NDArray[np.bool_]:
        """Of each subject, whether it says anything about a score: `(S,)`."""
        columns = self.weights.get(score)
        if columns is None:
            return np.ones(len(self.subjects), np.bool_)
        return np.asarray(self.cells[:, list(columns)].any(1), np.bool_)


@dataclass(frozen=True)
class Interval:
    """A score, its standard error, and the ends of its interval, in the range of the score: most are in 0..1.

    None where there is no score; all but the value also with fewer than two subjects that say anything about it.
    """

    value: float | None
    stderr: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Bootstrap:
    """The intervals of the scores of one set of clips.

    Attributes:
        intervals: by the name of the score.
        subjects: number of subjects.
        incomplete: share of the resamples that lack a class or unit; None with fewer than two subjects.
    """

    intervals: dict[str, Interval]
    subjects: int
    incomplete: float | None


@dataclass(frozen=True)
class Comparison:
    """One score of two runs: second minus first, its interval, and the p-value of no difference (two-sided).

    None where a run has no score; interval and p-value are None with fewer than two subjects that say anything about it
    in each run.
    """

    difference: float | None
    low: float | None
    high: float | None
    p: float | None


# ---- what is counted ------------------------------------------------------------------------------------------------


def label_counts(
    clips: Sequence[Clip], gold: Sequence[str], read: Sequence[str | None], labels: Sequence[str]
) -> Counts:
    """Counts for `uf1`, `uar` and `acc` as `emotion.score` defines them, and for `parse_rate`.

    Args:
        clips, gold, read: of each clip.
        labels: those of the task; the same for two runs that are to be compared.

    Raises:
        InputError: lengths differ, or labels that are not in `labels`; all of them at once.
    """
    faults = _lengths(clips, annotations=gold, answers=read)
    if strange := sorted({*gold, *read} - {None, *labels}, key=str):
        faults.append(f"{', '.join(map(str, strange))}: not among the labels {', '.join(labels)}")
    if faults:
        raise InputError(faults, where="intervals of labels")
    number = len(labels)
    place: dict[str | None, int] = {label: at for at, label in enumerate(labels)}
    cells = np.zeros((len(gold), 3 * number + 1))
    for row, (annotated, given) in enumerate(zip(gold, read, strict=True)):
        cells[row, number + place[annotated]] = 1
        if given is not None:
            cells[row, 2 * number + place[given]] = 1
            cells[row, place[given]] = annotated == given
            cells[row, -1] = 1

    def scores(sums: Floats) -> dict[str, Floats]:
        right, annotated, given = (sums[:, at * number : (at + 1) * number] for at in range(3))
        every = annotated.sum(1)
        return {
            "uf1": _mean(2 * right, annotated + given, annotated > 0),
            "uar": _mean(right, annotated, annotated > 0),
            "acc": _ratio(right.sum(1), every),
            "parse_rate": _ratio(sums[:, -1], every),
        }

    needed = [number + place[label] for label in labels if label in set(gold)]
    return subject_counts(clips, cells, needed, scores)


def unit_counts(
    clips: Sequence[Clip],
    gold: Sequence[action_units.Events | None],
    read: Sequence[Collection[int] | None],
    units: Sequence[int],
) -> Counts:
    """Counts for `f1`, `f1_micro` and `exact` as `units.score` defines them, and for `parse_rate`.

    Args:
        clips: of each answer; those whose units are not known are left out.
        gold, read, units: as for `units.score`.

    Raises:
        InputError: lengths differ.
    """
    if faults := _lengths(clips, annotations=gold, answers=read):
        raise InputError(faults, where="intervals of units")
    counted = action_units.tally(gold, read, units)
    number = len(counted.units)
    of = (counted.hits, counted.alarms, counted.misses, counted.certain)
    ones = np.ones(len(counted.clips), bool)
    cells = np.column_stack([*of, counted.exact, counted.parsed, ones]).astype(np.float64)

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

    needed = range(3 * number, 4 * number)
    return subject_counts([clips[at] for at in counted.clips], cells, needed, scores)


def rate_counts(clips: Sequence[Clip], values: Sequence[float], of: Sequence[float] | None = None) -> Counts:
    """Counts for `rate`: the share of clips for which something is so, or the mean of a value, or a ratio of two sums.

    Args:
        clips: of each value.
        values: True where it is so; or the values, of any range, which is then that of the interval.
        of: what each clip adds to the number that the sum of the values is divided by; 1 where not given.

    Raises:
        InputError: lengths differ.
    """
    weights = [1.0] * len(values) if of is None else of
    if faults := _lengths(clips, answers=values, weights=weights):
        raise InputError(faults, where="intervals of a rate")
    cells = np.column_stack([values, weights]).astype(np.float64).reshape(len(values), 2)
    return subject_counts(clips, cells, (), lambda sums: {"rate": _ratio(sums[:, 0], sums[:, 1])}, {"rate": (1,)})


def sum_counts(
    clips: Sequence[Clip], cells: Sequence[Sequence[float]], name: str, score: Callable[[Floats], float]
) -> Counts:
    """Counts for a score that is computed from sums over clips in some other way, one resample at a time.

    Args:
        clips: of each row of cells.
        cells: (N, K) what each clip adds to the K sums.
        name: of the score.
        score: (K,) sums -> the score; NaN where there is none.

    Raises:
        InputError: lengths differ.
    """
    if faults := _lengths(clips, answers=cells):
        raise InputError(faults, where=f"intervals of {name}")
    rows = np.array(cells, np.float64).reshape(len(clips), -1)

    def scores(sums: Floats) -> dict[str, Floats]:
        return {name: np.array([score(row) for row in sums])}

    return subject_counts(clips, rows, (), scores)


def fact_counts(
    clips: Sequence[Clip], right: Sequence[int], claimed: Sequence[int], found: Sequence[int], implied: Sequence[int]
) -> Counts:
    """Counts for `f1`, `precision` and `recall` as `facts.score` defines them.

    Args:
        clips: whose units are known.
        right, claimed: of each clip, how many claims are right, of how many.
        found, implied: of each clip, how many facts are found, of how many.

    Raises:
        InputError: lengths differ.
    """
    if faults := _lengths(clips, rights=right, claims=claimed, finds=found, facts=implied):
        raise InputError(faults, where="intervals of facts")
    cells = np.array([right, claimed, found, implied], np.float64).T.reshape(len(clips), 4)

    def scores(sums: Floats) -> dict[str, Floats]:
        precision, recall = _ratio(sums[:, 0], sums[:, 1]), _ratio(sums[:, 2], sums[:, 3])
        correct = np.nan_to_num(precision)  # nothing claimed, nothing right
        f1 = np.where(correct + recall == 0, 0.0, _ratio(2 * correct * recall, correct + recall))
        return {"precision": precision, "recall": recall, "f1": np.where(np.isnan(recall), np.nan, f1)}

    return subject_counts(clips, cells, (3,), scores, {"precision": (1,), "recall": (3,), "f1": (3,)})


def _lengths(clips: Sequence[Clip], **given: Sequence[object]) -> list[str]:
    return [
        f"expected as many {name} as clips ({len(clips)}), found {len(values)}"
        for name, values in given.items()
        if len(values) != len(clips)
    ]


def subject_counts(
    clips: Sequence[Clip],
    cells: Floats,
    needed: Sequence[int],
    scores: Callable[[Floats], dict[str, Floats]],
    weights: Mapping[str, tuple[int, ...]] | None = None,
    pulls: Mapping[str, Callable[[Floats], Floats]] | None = None,
) -> Counts:
    """Counts for scores that are computed from sums over clips, all resamples at once.

    Args:
        clips: of each row of cells.
        cells: (N, K) float64, what each clip adds to the K sums.
        needed, scores, weights, pulls: as of `Counts`.
    """
    subjects = tuple(sorted({subject for _, subject in clips}))
    row = {subject: at for at, subject in enumerate(subjects)}
    sums = np.zeros((len(subjects), cells.shape[1]))
    # in an order of their own: sums of fractions depend on it in their last bits
    order = sorted(range(len(clips)), key=lambda at: (clips[at], cells[at].tolist()))
    np.add.at(sums, [row[clips[at][1]] for at in order], cells[order])
    ids = tuple(sorted(id for id, _ in clips))
    return Counts(subjects, ids, sums, tuple(needed), scores, weights or {}, pulls or {})


def _ratio(tops: Floats, bottoms: Floats) -> Floats:
    found: Floats = np.divide(tops, bottoms, out=np.full(tops.shape, np.nan), where=bottoms > 0)
    return found


def _mean(tops: Floats, bottoms: Floats, occurs: NDArray[np.bool_]) -> Floats:
    """Mean of the ratios in each row over the columns that occur; NaN where none does."""
    ratios = np.divide(tops, bottoms, out=np.zeros(tops.shape), where=occurs)
    return _ratio(ratios.sum(1), occurs.sum(1).astype(np.float64))


# ---- one run --------------------------------------------------------------------------------------------------------


def bootstrap(counts: Counts, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0) -> Bootstrap:
    """The interval of every score, from resamples of the subjects.

    Memory does not grow with `resamples` times subjects. The order of the clips does not matter.

    Args:
        level: the share of such intervals that hold the true score, in 0..1 without the ends.
        seed: the same gives the same intervals.

    Raises:
        InputError: a level or a number of resamples out of range.
    """
    _check(resamples, level)
    values = _values(counts)
    number = len(counts.subjects)
    if number < 2:
        return Bootstrap({name: Interval(v, None, None, None) for name, v in values.items()}, number, None)
    sums = np.concatenate([drawn @ counts.cells for drawn in _drawn(number, resamples, seed)])
    found = counts.scores(sums)
    intervals: dict[str, Interval] = {}
    for name, value in values.items():
        speaking = int(counts.speaking(name).sum())
        if speaking < 2:
            intervals[name] = Interval(value, None, None, None)
            continue
        low, high = _ends(found[name], speaking, level)
        intervals[name] = Interval(value, _stderr(found[name], speaking), low, high)
    return Bootstrap(intervals, number, float((sums[:, list(counts.needed)] == 0).any(1).mean()))


def _check(resamples: int, level: float) -> None:
    faults = []
    if resamples < 1:
        faults.append(f"expected at least one resample, found {resamples}")
    if not 0 < level < 1:
        faults.append(f"expected a level between 0 and 1, such as .95, found {level}")
    if faults:
        raise InputError(faults, where="intervals")


def _values(counts: Counts) -> dict[str, float | None]:
    """The scores of all clips."""
    found = counts.scores(counts.cells.sum(0, keepdims=True))
    return {name: None if np.isnan(values[0]) else float(values[0]) for name, values in found.items()}


_BLOCK = 1 << 20


def _drawn(subjects: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each subject is in each resample: blocks of (n, S) float64."""
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // subjects)
    for start in range(0, resamples, rows):
        n = min(rows, resamples - start)
        places = rng.integers(0, subjects, (n, subjects)) + subjects * np.arange(n)[:, None]
        yield np.bincount(places.ravel(), minlength=n * subjects).reshape(n, subjects).astype(np.float64)


def _stderr(found: Floats, subjects: int) -> float | None:
    found = found[~np.isnan(found)]
    return float(found.std() * np.sqrt(subjects / (subjects - 1))) if found.size else None


def _ends(found: Floats, subjects: int, level: float) -> tuple[float | None, float | None]:
    from scipy.special import ndtr, stdtrit

    found = found[~np.isnan(found)]
    if not found.size:
        return None, None
    tail = float(ndtr(np.sqrt(subjects / (subjects - 1)) * stdtrit(subjects - 1, (1 - level) / 2)))
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


# ---- two runs -------------------------------------------------------------------------------------------------------


def compare(
    first: Counts, second: Counts, score: str, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Comparison:
    """The difference of one score of two runs on the same clips.

    Args:
        first, second: made by the same function, over the same labels or units.
        score: its name.
        resamples: of the interval, and exchanges for the p-value, which is at least 1 / (resamples + 1).
        level, seed: as for `bootstrap`.

    Raises:
        InputError: the runs are not on the same clips, or their counts not of the same annotations; or a level or a
            number of resamples out of range.
    """
    return compare_all([first, second], score, resamples=resamples, level=level, seed=seed)[0, 1]


def compare_all(
    runs: Sequence[Counts], score: str, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> dict[tuple[int, int], Comparison]:
    """One score of every two of many runs on the same clips, as `compare` does: resampled once a run, and not a pair.

    Memory grows with the runs times `resamples`.

    Args:
        runs, score, resamples, level, seed: as for `compare`.

    Returns:
        by the places of two runs, the lower first: second minus first.

    Raises:
        InputError: as `compare`, of the first two runs that cannot be compared.
    """
    _check(resamples, level)
    for other in runs[1:]:
        _check_pair(runs[0], other)
    if not runs:
        return {}
    number = len(runs[0].subjects)
    values = [_values(run)[score] for run in runs]
    speaking = [int(run.speaking(score).sum()) for run in runs]
    of: list[Floats] = []
    exchanged: list[Floats] = []
    if number:
        drawn = list(_drawn(number, resamples, seed))
        moved = list(_moved(number, resamples, seed))
        for run in runs:
            of.append(np.concatenate([run.scores(block @ run.cells)[score] for block in drawn]))
            exchanged.append(np.concatenate([block @ run.cells for block in moved]))
    found: dict[tuple[int, int], Comparison] = {}
    for first in range(len(runs)):
        for second in range(first + 1, len(runs)):
            value, other_value = values[first], values[second]
            if value is None or other_value is None:
                found[first, second] = Comparison(None, None, None, None)
                continue
            difference = other_value - value
            least = min(speaking[first], speaking[second])
            if least < 2:
                found[first, second] = Comparison(difference, None, None, None)
                continue
            low, high = _ends(of[second] - of[first], least, level)
            change = exchanged[second] - exchanged[first]
            p = _p_value(runs[first], runs[second], score, change, value, other_value)
            found[first, second] = Comparison(difference, low, high, p)
    return found


def _p_value(first: Counts, second: Counts, score: str, change: Floats, value: float, other: float) -> float:
    """How often an exchange gives a difference as large.

    Args:
        change: (n, K), what each exchange takes from the cells of the second run and gives to the first.
        value, other: the score of each run.
    """
    before, after = first.cells.sum(0), second.cells.sum(0)
    difference = other - value
    if (pulled := first.pulls.get(score)) is not None:
        pull = pulled(before + after)
        linear = float(pull @ (after - before))
        if linear * difference <= 0:
            return 1.0
        difference, swapped = linear, linear - 2 * (change @ pull)
        value = other = float(np.abs(pull) @ (before + after))
    else:
        swapped = second.scores(after - change)[score] - first.scores(before + change)[score]
    exchanged = swapped[~np.isnan(swapped)]
    # sums in another order differ in their last bits
    as_large = np.abs(exchanged) >= abs(difference) - 1e-12 * max(1.0, abs(value), abs(other))
    return float((as_large.sum() + 1) / (len(exchanged) + 1))


def _moved(subjects: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Which subjects' answers are exchanged, each time: blocks of (n, S) float64, 0 or 1."""
    rng = np.random.default_rng([seed, 1])
    rows = max(1, _BLOCK // max(1, subjects))
    for start in range(0, resamples, rows):
        yield rng.integers(0, 2, (min(rows, resamples - start), subjects)).astype(np.float64)


def _check_pair(first: Counts, second: Counts) -> None:
    faults = []
    if first.clips != second.clips:
        ours, theirs = set(first.clips), set(second.clips)
        for name, only in (("first", ours - theirs), ("second", theirs - ours)):
            if only:
                some = ", ".join(sorted(only)[:5])
                faults.append(f"{len(only)} clips are in the {name} run alone: {some}; compare what both have")
        if ours == theirs:
            faults.append("some clips are more often in one run than in the other")
    elif first.subjects != second.subjects:
        faults.append("the runs give clips to other subjects: they are not of the same version of the data")
    elif first.cells.shape != second.cells.shape or first.needed != second.needed:
        faults.append("the runs are scored over other labels or units, or have other annotations")
    elif not np.array_equal(first.cells[:, list(first.needed)], second.cells[:, list(second.needed)]):
        faults.append("the runs have other annotations: they are not of the same version of the data")
    if faults:
        raise InputError(faults, where="comparison of two runs")


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values corrected for being many (Holm 1979): below .05 in all, at most one time in twenty, if none differs.

    Args:
        p_values: of one family of comparisons, each in 0..1; None is no comparison, stays None and is not counted.

    Raises:
        InputError: values outside 0..1; all of them at once.
    """
    faults = [f"expected 0 to 1 or None, found {p}" for p in p_values if p is not None and not 0 <= p <= 1]
    if faults:
        raise InputError(faults, where="p-values")
    corrected: list[float | None] = [None] * len(p_values)
    given = sorted((p, at) for at, p in enumerate(p_values) if p is not None)
    largest = 0.0
    for rank, (p, at) in enumerate(given):
        largest = max(largest, min(1.0, (len(given) - rank) * p))
        corrected[at] = largest
    return corrected
