"""How small a movement a model sees: the psychometric curve of naming an action unit, and its half-way point.

    items of the clips of the amplitude ladder  ->  curve(items)
      {"levels_px": [.1, .15, ..], "hits": [3, 5, ..], "clips": [64, 64, ..], "false_alarms": .02, "ceiling": .95,
       "threshold_px": .31, "low": .28, "high": .34, "curve": [[.1, .04], ..], "note": None, ..}

An item is what one answer says about the one unit that its clip moves by a known length, `level_px`; at level 0 nothing
moves:

    {"id": "synthme_ladder/l07/au12_0.45px", "subject": "l07", "unit": 12, "level_px": .45,
     "named": True, "others": 1, "other_units": 15}

`named`: whether the answer names the unit; None where no statement on units could be read, which counts as not named.
`others`: the number of other units of the task that it names, out of `other_units`.

    p(px) = chance + (ceiling - chance) F(ln px)

-   Chance is the false alarm rate of level 0. It is measured, not fitted: with sixteen units in each of these clips the
    measurement is precise.
-   F is the cumulative normal, its mean and width in ln px. As in Wichmann and Hill 2001 ("The psychometric function:
    I. Fitting, sampling, and goodness of fit", Perception & Psychophysics 63), a sigmoid is fitted between chance and a
    ceiling that need not be 1 by maximum likelihood. With the normal the threshold is the mean, whatever the width.
-   A mean above the last level is not fitted, because a lower ceiling would explain the data as well: the threshold is
    then the last level, "at least". Below the first level it is that level, "at most".
-   Whether a model sees is Mantel's test of a trend over the levels ("Chi-square tests with one degree of freedom",
    1963), within each unit. The levels were assigned to clips independently of any answer, so the test is valid however
    similar the clips of one face are, and a constant answer has no trend.

docs/metrics.md explains the scores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mellm_plugin.scoring.counts import Clip, Counts, subject_counts
from mellm_plugin.scoring.emotion import share
from mellm_plugin.scoring.intervals import bootstrap

Items = Sequence[Mapping[str, Any]]
Floats = NDArray[np.float64]

SCORES: tuple[str, ...] = ("threshold_px", "sensitivity_ceiling", "false_alarm_rate")
"""The scores, each with an interval."""

SIGNIFICANCE = 0.01
"""The share of blind models that pass for seeing."""

_LEAST_LEVELS = 3  # a curve has a place, a width and a ceiling
_BELOW = 3.0  # the mean is fitted down to the first level divided by this
_WIDTHS = (0.1, 1.5)  # range of F's width, ln px: from a step to a slope over the whole ladder
_NEAR = 0.01  # ln px; a mean this near to the end of its range is set to the end
_LEAST = 1e-9  # least probability, for its logarithm
_STEPS = 60


@dataclass(frozen=True)
class Fit:
    """Fitted curves of N sets of clips.

    Attributes:
        chance, ceiling: (N,) float64, in 0..1; the ceiling is at least chance.
        px: (N,) float64, the half-way point, px.
        width: (N,) float64, standard deviation of F, ln px.
    """

    chance: Floats
    ceiling: Floats
    px: Floats
    width: Floats

    def share(self, px: Floats) -> Floats:
        """The share of units that are named, (N, M), at M lengths of movement, px, above 0."""
        rise = ndtr((np.log(px) - np.log(self.px)[:, None]) / self.width[:, None])
        named: Floats = self.chance[:, None] + (self.ceiling - self.chance)[:, None] * rise
        return named


def fit(levels: Sequence[float], hits: Floats, clips: Floats, chance: Floats) -> Fit:
    """Fit curves by maximum likelihood with a given chance, for many sets of clips at once.

    Args:
        levels: M lengths of movement, px, ascending, above 0; at least three.
        hits, clips: (N, M) float64; at each level the number of clips whose unit is named, and of all clips.
        chance: (N,) float64, in 0..1.
    """
    x = np.log(np.asarray(levels, np.float64))
    lowest, highest = x[0] - np.log(_BELOW), x[-1]
    spread = highest - lowest
    at_least = chance[:, None]

    # Start from the best point of a grid of means and widths, each with the ceiling that gives the observed hits.
    best = np.full(len(hits), -np.inf)
    start = np.zeros((len(hits), 3))
    for mean in np.linspace(lowest + 0.05 * spread, highest - 0.02 * spread, 12):
        for width in (0.15, 0.35, 0.8):
            rise = ndtr((x - mean) / width)
            above = (hits - clips * at_least).sum(1) / np.maximum((clips * rise).sum(1), 1e-9)
            high = (above / np.maximum(1 - chance, 1e-9)).clip(0.01, 0.99)
            p = at_least + ((1 - chance) * high)[:, None] * rise
            found = _likelihood(p.clip(_LEAST, 1 - _LEAST), hits, clips)
            better = found > best
            best[better] = found[better]
            start[better, 0] = _logit((mean - lowest) / spread)
            start[better, 1] = _logit((width - _WIDTHS[0]) / (_WIDTHS[1] - _WIDTHS[0]))
            start[better, 2] = _logit(high[better])

    # Fisher scoring with Levenberg damping, for each set until it gains nothing more.
    at, damping = start, np.full(len(hits), 1e-2)
    active = np.arange(len(hits))
    for _ in range(_STEPS):
        if not active.size:
            break
        h, n, g, now = (of[active] for of in (hits, clips, at_least, at))
        p, slopes = _curve(now, x, g, lowest, spread)
        weight = n / (p * (1 - p))
        gradient = (slopes * ((h / np.maximum(n, 1) - p) * weight)[:, :, None]).sum(1)
        information = np.einsum("nmi,nm,nmj->nij", slopes, weight, slopes)
        diagonal = information[:, range(3), range(3)]
        information[:, range(3), range(3)] += damping[active, None] * diagonal + 1e-6
        step = np.linalg.solve(information, gradient[:, :, None])[:, :, 0].clip(-4, 4)
        tried = (now + step).clip(-12, 12)
        gain = _likelihood(_curve(tried, x, g, lowest, spread)[0], h, n) - best[active]
        better = gain > 0
        at[active[better]] = tried[better]
        best[active[better]] += gain[better]
        damping[active] *= np.where(better, 0.2, 10.0)
        done = (better & (gain < 1e-7)) | (damping[active] > 1e6)
        active = active[~done]

    mean = lowest + spread * _sigmoid(at[:, 0])
    mean = np.where(highest - mean < _NEAR, highest, mean)
    return Fit(
        chance=chance,
        ceiling=chance + (1 - chance) * _sigmoid(at[:, 2]),
        px=np.exp(mean),
        width=_WIDTHS[0] + (_WIDTHS[1] - _WIDTHS[0]) * _sigmoid(at[:, 1]),
    )


def _curve(at: Floats, x: Floats, chance: Floats, lowest: float, spread: float) -> tuple[Floats, Floats]:
    """Shares (N, M), and their derivatives (N, M, 3) by the logits (N, 3) of the places of mean, width and ceiling in
    their ranges."""
    place, wide, high = (_sigmoid(at[:, i])[:, None] for i in range(3))
    range_of_width = _WIDTHS[1] - _WIDTHS[0]
    width = _WIDTHS[0] + range_of_width * wide
    z = (x - (lowest + spread * place)) / width
    rise, density = ndtr(z), np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    above = (1 - chance) * high
    slopes = np.stack(
        [
            -above * density / width * spread * place * (1 - place),
            -above * density * z / width * range_of_width * wide * (1 - wide),
            (1 - chance) * rise * high * (1 - high),
        ],
        axis=2,
    )
    p: Floats = (chance + above * rise).clip(_LEAST, 1 - _LEAST)
    return p, slopes


def _likelihood(p: Floats, hits: Floats, clips: Floats) -> Floats:
    found: Floats = (hits * np.log(p) + (clips - hits) * np.log1p(-p)).sum(1)
    return found


def _sigmoid(t: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-t))
    return found


def _logit(p: Any) -> Any:
    return np.log(p / (1 - p))


def trend(units: Sequence[int], levels: Sequence[float], named: Sequence[bool]) -> float:
    """The one-sided p-value of Mantel's test: whether units are named more often the further they move.

    Levels count by their rank, including level 0; each unit is compared with itself only. 1 where no trend could show.
    """
    ranks = {level: rank for rank, level in enumerate(sorted(set(levels)))}
    strata: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for unit, level, hit in zip(units, levels, named, strict=True):
        strata[unit].append((ranks[level], hit))
    above = variance = 0.0
    for clips in strata.values():
        if len(clips) > 1:
            columns = np.array(clips, np.float64)
            score, named_or_not = (columns - columns.mean(0)).T
            above += float(score @ named_or_not)
            variance += float((score @ score) * (named_or_not @ named_or_not)) / (len(clips) - 1)
    return float(ndtr(-above / np.sqrt(variance))) if variance > 0 else 1.0


# ---- scores ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """Clips of the ladder and what was read for each, as hashable columns: id and subject, and the parts of an item."""

    clips: tuple[Clip, ...]
    units: tuple[int, ...]
    levels: tuple[float, ...]
    named: tuple[bool | None, ...]
    others: tuple[int | None, ...]
    other_units: tuple[int, ...]

    @property
    def moved(self) -> tuple[float, ...]:
        """The levels above 0 that occur, ascending."""
        return tuple(sorted({level for level in self.levels if level > 0}))

    @property
    def blind(self) -> str | None:
        """Why there is no threshold; None where there is one."""
        if 0 not in self.levels:
            return "no clip of level 0: how often still units are named is not known"
        if len(self.moved) < _LEAST_LEVELS:
            return f"clips of {len(self.moved)} levels; a curve needs at least {_LEAST_LEVELS}"
        p = trend(self.units, self.levels, [bool(named) for named in self.named])
        return None if p < SIGNIFICANCE else f"units are not named more often the further they move (p = {p:.2g})"


def seen(items: Items) -> Seen:
    """The columns of items, in the order of their ids."""
    ordered = sorted(items, key=lambda item: (item["id"], item["subject"]))
    return Seen(
        # datasets number their subjects alike, and an id begins with its dataset
        clips=tuple((item["id"], f"{item['id'].partition('/')[0]}/{item['subject']}") for item in ordered),
        units=tuple(item["unit"] for item in ordered),
        levels=tuple(float(item["level_px"]) for item in ordered),
        named=tuple(item["named"] for item in ordered),
        others=tuple(item["others"] for item in ordered),
        other_units=tuple(item["other_units"] for item in ordered),
    )


@lru_cache(maxsize=32)
def counts(of: Seen) -> Counts:
    """Counts for `SCORES`, for `intervals.bootstrap` and `intervals.compare`."""
    levels = of.moved
    place = {level: at for at, level in enumerate(levels)}
    number, blind = len(levels), of.blind is not None
    cells = np.zeros((len(of.clips), 2 * number + 2))
    for row, level in enumerate(of.levels):
        if level > 0:
            cells[row, [place[level], number + place[level]]] = bool(of.named[row]), 1
        else:
            cells[row, -2:] = bool(of.named[row]) + (of.others[row] or 0), 1 + of.other_units[row]

    latest: list[tuple[Floats, dict[str, Floats]]] = []  # the bootstrap and every comparison use the same resamples

    def scores(sums: Floats) -> dict[str, Floats]:
        if latest and np.array_equal(latest[0][0], sums):
            return latest[0][1]
        hits, clips, alarms, still = sums[:, :number], sums[:, number : 2 * number], sums[:, -2], sums[:, -1]
        chance = np.divide(alarms, still, out=np.full(len(sums), np.nan), where=still > 0)
        every = clips.sum(1)
        ceiling = np.divide(hits.sum(1), every, out=np.full(len(sums), np.nan), where=every > 0)
        px = np.full(len(sums), np.nan)
        able = ~np.isnan(chance) & (every > 0)
        if not blind and able.any():
            found = _fitted(levels, sums[able])
            px[able], ceiling[able] = found.px.clip(levels[0], levels[-1]), found.ceiling
        named = dict(zip(SCORES, (px, ceiling, chance), strict=True))
        if len(sums) > 1:
            latest[:] = [(sums, named)]
        return named

    still, moved = (2 * number + 1,), tuple(range(number, 2 * number))
    weights = {"threshold_px": moved, "sensitivity_ceiling": moved, "false_alarm_rate": still}
    pulls = {} if blind else {"threshold_px": partial(_pull, levels)}
    return subject_counts(of.clips, cells, (*moved, *still) if number else still, scores, weights, pulls)


def _fitted(levels: Sequence[float], sums: Floats) -> Fit:
    """The curves for sums of cells."""
    number = len(levels)
    # half an alarm more than observed: a curve without any could not explain a lucky hit at its foot
    chance = (sums[:, -2] + 0.5) / (sums[:, -1] + 1)
    return fit(levels, sums[:, :number], sums[:, number : 2 * number], chance)


def _pull(levels: Sequence[float], sums: Floats) -> Floats:
    """How much the threshold, ln px, rises with each cell of sums (K,), to first order around their fit: (K,).

    From the Fisher information on mean, width and ceiling; a further alarm lifts the foot of the curve. Cells that are
    equal in two runs on the same clips have no effect.
    """
    number, still = len(levels), sums[-1]
    one, clips = _fitted(levels, sums[None]), sums[number : 2 * number]
    above, z = one.ceiling - one.chance, (np.log(levels) - np.log(one.px)) / one.width
    rise, density = ndtr(z), np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    slopes = np.stack([-above * density / one.width, -above * density * z / one.width, rise])
    p = (one.chance + above * rise).clip(_LEAST, 1 - _LEAST)
    weighted = slopes / (p * (1 - p))
    hit = np.linalg.pinv((slopes * clips) @ weighted.T, hermitian=True)[0] @ weighted
    pull = np.zeros(len(sums))
    pull[:number], pull[-2] = hit, -(hit @ (clips * (1 - rise))) / (still + 1)
    return pull


def curve(items: Items) -> dict[str, Any]:
    """Everything a report shows about a model's sensitivity.

    Args:
        items: at least one, as in the example above.

    Returns:
        `levels_px` (above 0), and for each `hits`, `clips` and `others` (the share of still units that are named);
        `false_alarms` with `still_clips`; `unread`, a number of answers; `ceiling`; `threshold_px` with `low` and
        `high`; `curve`, pairs of px and share, None where there is no threshold; `note`, why there is no threshold, or
        that it lies beyond the ladder. None is what is not known.
    """
    of = seen(items)
    threshold = bootstrap(counts(of)).intervals["threshold_px"]
    return {**_without_interval(of), "low": threshold.low, "high": threshold.high}


def _without_interval(of: Seen) -> dict[str, Any]:
    levels = of.moved
    at: dict[float, list[int]] = {level: [] for level in (0.0, *levels)}
    for row, level in enumerate(of.levels):
        at[level].append(row)
    sums = counts(of).cells.sum(0, keepdims=True)
    scores = {name: None if np.isnan(found[0]) else float(found[0]) for name, found in counts(of).scores(sums).items()}
    threshold, drawn, note = scores["threshold_px"], None, of.blind
    if threshold is not None:
        px = np.geomspace(levels[0], levels[-1], 41)
        drawn = np.column_stack([px, _fitted(levels, sums).share(px)[0]]).tolist()
        if threshold <= levels[0]:
            note = f"at most {levels[0]:g} px: half-way is below the first level"
        elif threshold >= levels[-1]:
            note = f"at least {levels[-1]:g} px: half-way is not below the last level"
    others = [
        (sum(of.others[n] or 0 for n in at[level]), sum(of.other_units[n] for n in at[level])) for level in levels
    ]
    return {
        "levels_px": list(levels),
        "hits": [sum(bool(of.named[row]) for row in at[level]) for level in levels],
        "clips": [len(at[level]) for level in levels],
        "others": [named / every if every else None for named, every in others],
        "false_alarms": scores["false_alarm_rate"],
        "still_clips": len(at[0.0]),
        "unread": sum(named is None for named in of.named),
        "ceiling": scores["sensitivity_ceiling"],
        "threshold_px": threshold,
        "curve": drawn,
        "note": note,
    }


def in_words(items: Items) -> str:
    """A table: for each level the share of named units among those that move and those that do not; then the note."""
    found = _without_interval(seen(items))
    lines = ["   px  clips  named  other units"]
    lines.append(f"    0  {found['still_clips']:5}  {share(found['false_alarms'], 3):>5}  (chance)")
    for px, clips, hits, others in zip(*(found[of] for of in ("levels_px", "clips", "hits", "others")), strict=True):
        lines.append(f"{px:5g}  {clips:5}  {share(hits / clips, 3):>5}  {share(others, 3):>5}")
    if found["note"]:
        lines.append(f"threshold_px: {found['note']}")
    return "\n".join(lines)
