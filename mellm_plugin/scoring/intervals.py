"""Uncertainty of a score: the bootstrap over subjects, and the comparison of two runs on the same clips.

    label_counts(clips, annotated, read)  ->  counts by subject  ->  bootstrap(..).intervals["uf1"]
                                              Interval(value=.61, stderr=.04, low=.53, high=.68)

Clips of one face are not independent: a model reads a face well or badly as a whole. So subjects are drawn, with
replacement, as many as there are, each with all its clips (`counts.py` has the sums).

-   Intervals are percentile intervals: they stay within the range of the score and need no symmetry. With n subjects
    plain percentiles are too narrow, by sqrt((n - 1) / n) and by the normal in place of the t distribution. So the
    quantiles are those at `Phi(+-sqrt(n / (n - 1)) t)`, with t of n - 1 degrees of freedom (the expanded percentiles of
    Hesterberg 2015, "What Teachers Should Know About the Bootstrap"), and the standard error is that of the resamples
    times sqrt(n / (n - 1)). Fewer than two subjects give no interval (None).
-   A class or unit that no clip of a resample has is left out of its mean, as in the score. Counted as 0, it would pull
    intervals down by its weight. Left out, the mean is over easier classes and usually higher, so with few subjects in
    a class the interval leans upward. `Bootstrap.incomplete` is the share of such resamples; above some per cent, take
    more subjects instead of trusting the interval.
-   A subject that adds nothing to the denominator of a score (it claims nothing, none of its units has a side) does not
    count as a subject of that score: with a single one that does, there is no interval.
-   Two runs are compared on the same resamples, which removes the difficulty that clips have for both. The p-value is
    that of approximate randomization (Noreen 1989): if the runs were alike, the answers of any subject could be
    exchanged between them; p is the share of exchanges with a difference as large. It is exact for any number of
    subjects, and never 0. For a fitted score the exchanges are compared by its first-order change (`Counts.pulls`):
    equally exact, without ten thousand fits of each run for every pair of runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mellm_plugin.errors import InputError
from mellm_plugin.scoring.counts import Counts, Floats

RESAMPLES = 10_000
LEVEL = 0.95

_BLOCK = 1 << 20  # numbers drawn at once


@dataclass(frozen=True)
class Interval:
    """A score, its standard error, and the ends of its interval, in the range of the score: usually 0..1.

    All are None for an undefined score; all but the value with fewer than two contributing subjects.
    """

    value: float | None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Bootstrap:
    """The intervals of one set of clips by score, and the share of the resamples that lack a class or unit (None with
    fewer than two subjects)."""

    intervals: dict[str, Interval]
    subjects: int
    incomplete: float | None


@dataclass(frozen=True)
class Comparison:
    """One score of two runs: second minus first, its interval, and the p-value of no difference (two-sided).

    All are None if the score of a run is undefined; interval and p-value are None with fewer than two contributing
    subjects in a run.
    """

    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def bootstrap(counts: Counts, *, resamples: int = RESAMPLES, seed: int = 0) -> Bootstrap:
    """The interval of every score, from resamples of the subjects; the order of the clips does not matter.

    Equal seeds give equal intervals.

    Raises:
        InputError: fewer than one resample.
    """
    _check(resamples)
    intervals = {name: Interval(value) for name, value in _values(counts).items()}
    number = len(counts.subjects)
    if number < 2:
        return Bootstrap(intervals, number, None)
    sums = np.concatenate([drawn @ counts.cells for drawn in _draws(number, resamples, seed)])
    for name, found in counts.scores(sums).items():
        if (subjects := counts.contributing(name)) >= 2:
            intervals[name] = Interval(intervals[name].value, *_spread(found, subjects))
    return Bootstrap(intervals, number, float((sums[:, list(counts.needed)] == 0).any(1).mean()))


def _check(resamples: int) -> None:
    if resamples < 1:
        raise InputError(f"expected at least one resample, found {resamples}", where="intervals")


def _values(counts: Counts) -> dict[str, float | None]:
    """The scores of all clips."""
    found = counts.scores(counts.cells.sum(0, keepdims=True))
    return {name: None if np.isnan(values[0]) else float(values[0]) for name, values in found.items()}


def _draws(subjects: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each subject is in each resample: blocks of (n, S) float64, of bounded size."""
    rng = np.random.default_rng(seed)
    for n in _blocks(subjects, resamples):
        places = rng.integers(0, subjects, (n, subjects)) + subjects * np.arange(n)[:, None]
        yield np.bincount(places.ravel(), minlength=n * subjects).reshape(n, subjects).astype(np.float64)


def _exchanges(subjects: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Whose answers each exchange swaps: blocks of (n, S) float64, 0 or 1."""
    rng = np.random.default_rng([seed, 1])
    for n in _blocks(subjects, resamples):
        yield rng.integers(0, 2, (n, subjects)).astype(np.float64)


def _blocks(subjects: int, resamples: int) -> Iterator[int]:
    rows = max(1, _BLOCK // subjects)
    for start in range(0, resamples, rows):
        yield min(rows, resamples - start)


def _spread(found: Floats, subjects: int) -> tuple[float | None, float | None, float | None]:
    """Standard error, and both ends of the interval, of resampled scores."""
    from scipy.special import ndtr, stdtrit

    found = found[~np.isnan(found)]
    if not found.size:
        return None, None, None
    wider = np.sqrt(subjects / (subjects - 1))
    tail = float(ndtr(wider * stdtrit(subjects - 1, (1 - LEVEL) / 2)))
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(found.std() * wider), float(low), float(high)


def compare(first: Counts, second: Counts, score: str, *, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """The difference of one score between two runs on the same clips: `compare_all` of the two."""
    return compare_all([first, second], score, resamples=resamples, seed=seed)[0, 1]


def compare_all(
    runs: Sequence[Counts], score: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[tuple[int, int], Comparison]:
    """The difference of one score between every two of many runs on the same clips, resampled once a run.

    Args:
        runs: counts from one function, over the same labels or units.
        score: its name.
        resamples: of the interval, and exchanges for the p-value, which is at least 1 / (resamples + 1).
        seed: as for `bootstrap`.

    Returns:
        by the places of two runs, the lower first: second minus first.

    Raises:
        InputError: two runs have other clips or annotations (reported for the first such pair); fewer than one
            resample.
    """
    _check(resamples)
    for other in runs[1:]:
        _check_pair(runs[0], other)
    resampled: list[Floats] = []
    swapped: list[Floats] = []
    if runs and (number := len(runs[0].subjects)):
        draws, exchanges = list(_draws(number, resamples, seed)), list(_exchanges(number, resamples, seed))
        for run in runs:
            resampled.append(np.concatenate([run.scores(block @ run.cells)[score] for block in draws]))
            swapped.append(np.concatenate([block @ run.cells for block in exchanges]))
    values = [_values(run)[score] for run in runs]
    found: dict[tuple[int, int], Comparison] = {}
    for first, second in itertools.combinations(range(len(runs)), 2):
        value, other_value = values[first], values[second]
        subjects = min(runs[first].contributing(score), runs[second].contributing(score))
        if value is None or other_value is None:
            found[first, second] = Comparison()
        elif subjects < 2:
            found[first, second] = Comparison(other_value - value)
        else:
            _, low, high = _spread(resampled[second] - resampled[first], subjects)
            change = swapped[second] - swapped[first]
            p = _p_value(runs[first], runs[second], score, change, value, other_value)
            found[first, second] = Comparison(other_value - value, low, high, p)
    return found


def _p_value(first: Counts, second: Counts, score: str, change: Floats, value: float, other: float) -> float:
    """The share of exchanges with a difference at least as large; each moves `change`, (n, K), from second to first."""
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
    # The last bits of sums depend on their order.
    as_large = np.abs(exchanged) >= abs(difference) - 1e-12 * max(1.0, abs(value), abs(other))
    return float((as_large.sum() + 1) / (len(exchanged) + 1))


def _check_pair(first: Counts, second: Counts) -> None:
    faults = []
    if first.clips != second.clips:
        ours, theirs = set(first.clips), set(second.clips)
        for name, only in (("first", ours - theirs), ("second", theirs - ours)):
            if only:
                some = ", ".join(sorted(only)[:5])
                faults.append(f"{len(only)} clips are in the {name} run alone: {some}; compare the common clips")
        if ours == theirs:
            faults.append("some clips occur more often in one run than in the other")
    elif first.subjects != second.subjects:
        faults.append("the runs assign clips to different subjects: they used different versions of the data")
    elif first.cells.shape != second.cells.shape or first.needed != second.needed:
        faults.append("the runs were scored over different labels or units, or have different annotations")
    elif not np.array_equal(first.cells[:, list(first.needed)], second.cells[:, list(second.needed)]):
        faults.append("the runs have different annotations: they used different versions of the data")
    if faults:
        raise InputError(faults, where="comparison of two runs")


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for multiple comparisons (Holm 1979): with no true difference, any is below .05 at most one
    time in twenty.

    Args:
        p_values: one family of comparisons, each in 0..1; None is no comparison, stays None and is not counted.

    Raises:
        InputError: values outside 0..1; all at once.
    """
    if faults := [f"expected 0 to 1 or None, found {p}" for p in p_values if p is not None and not 0 <= p <= 1]:
        raise InputError(faults, where="p-values")
    corrected: list[float | None] = [None] * len(p_values)
    given = sorted((p, at) for at, p in enumerate(p_values) if p is not None)
    largest = 0.0
    for rank, (p, at) in enumerate(given):
        largest = max(largest, min(1.0, (len(given) - rank) * p))
        corrected[at] = largest
    return corrected
