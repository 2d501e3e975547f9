"""Action units: binary F1 of each unit of a fixed set, pooled over all clips.

    score([[(1,), (2,)], [(6, 12)]], [{1}, {12}], [1, 2, 12])  ->  f1 {1: 1.0, 2: 0.0}, mean .5, left_out (12,)

The F1 is that of "present", 2 TP / (2 TP + FP + FN). (The mean of the F1s of "present" and "absent" is some 28 points
higher for the same answers, and is not reported.) The rules:

-   Scores leave out a clip whose units are not known (None); `without_gold` counts these clips.
-   An answer without a readable statement on units (None) names none: it misses every unit. `unparsed` counts these.
-   A unit is scored if at least one clip has it for certain. The mean and the micro F1 leave out the others of the set;
    `left_out` lists them. So the answers do not decide which units are scored.
-   An annotation with alternatives, "6 or 12", is right if the answer names any of them. Each named alternative is a
    hit (naming both costs nothing), and the others do not count. If the answer names none, it is one miss of the first
    alternative that is scored, unless the clip has one of them for certain anyway.
-   Named units that are not scored do not count.
-   `exact`: the answer names the units of the set that the clip has, and no other unit of the set. Units outside of the
    set do not matter, any alternative will do, and an answer that could not be read is not exact, even where the clip
    has no unit.
-   Sides are scored separately (`score_sides`): among the units of the set that a clip has on one side only (`L12`,
    `R14C`) and that the answer names, the share with the right side. An answer that gives no side is not right.

Naming no unit has no hit, so its F1 is 0 by definition and is nowhere shown as a baseline; see `constant`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mellm_plugin.errors import InputError
from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.scoring.emotion import share

Events = Sequence[tuple[int, ...]]
"""The annotated units of a clip, one tuple of alternatives each, as `facs.codes.numbers` gives them."""


@dataclass(frozen=True)
class Tally:
    """Hits and errors of N clips whose units are known, for each of U scored units.

    Attributes:
        units: the scored units, in the order of the units given.
        clips: positions of these clips among all clips given, ascending.
        hits, alarms, misses: (N, U) bool; at most one of them is true.
        certain: (N, U) bool; the clip has the unit for certain.
        exact, parsed: (N,) bool; parsed is whether a statement on units could be read.
    """

    units: tuple[int, ...]
    clips: tuple[int, ...]
    hits: NDArray[np.bool_]
    alarms: NDArray[np.bool_]
    misses: NDArray[np.bool_]
    certain: NDArray[np.bool_]
    exact: NDArray[np.bool_]
    parsed: NDArray[np.bool_]


@dataclass(frozen=True)
class UnitScores:
    """Scores of one set of clips, in 0..1.

    Attributes:
        mean, micro: mean of the F1s, and F1 of all scored units together; None where no unit is scored.
        exact: share of the clips whose answer names exactly their units; None where no clip is scored.
        f1, counts: by scored unit, in the order of the units given; counts are (hits, false alarms, misses).
        left_out: units of the set that no clip has for certain.
        clips, without_gold: number of clips scored, and of those left out because their units are not known.
        unparsed: number of scored clips whose answer has no readable statement on units.
    """

    mean: float | None
    micro: float | None
    exact: float | None
    f1: dict[int, float]
    counts: dict[int, tuple[int, int, int]]
    left_out: tuple[int, ...]
    clips: int
    without_gold: int
    unparsed: int


def score(gold: Sequence[Events | None], read: Sequence[Collection[int] | None], units: Sequence[int]) -> UnitScores:
    """Score what was read against the annotation.

    Args:
        gold: the annotated units of each clip; None where they are not known.
        read: the numbers of the units that the answer to each clip names; None where nothing could be read.
        units: the units of the task.

    Raises:
        InputError: the lengths differ.
    """
    counted = tally(gold, read, units)
    sums = zip(*(cells.sum(0).tolist() for cells in (counted.hits, counted.alarms, counted.misses)), strict=True)
    counts: dict[int, tuple[int, int, int]] = dict(zip(counted.units, sums, strict=True))
    f1 = {unit: _f1(*counts[unit]) for unit in counts}
    hits, alarms, misses = (sum(of[i] for of in counts.values()) for i in range(3))
    clips, parsed = len(counted.clips), int(counted.parsed.sum())
    mean, micro = (sum(f1.values()) / len(f1), _f1(hits, alarms, misses)) if f1 else (None, None)
    exact = int(counted.exact.sum()) / clips if clips else None
    left_out = tuple(unit for unit in units if unit not in counts)
    return UnitScores(mean, micro, exact, f1, counts, left_out, clips, len(gold) - clips, clips - parsed)


def tally(gold: Sequence[Events | None], read: Sequence[Collection[int] | None], units: Sequence[int]) -> Tally:
    """Compare each answer with the annotation of its clip; arguments and errors as those of `score`."""
    if len(gold) != len(read):
        raise InputError(f"scoring of units: expected as many answers as clips ({len(gold)}), found {len(read)}")
    clips = [at for at, events in enumerate(gold) if events is not None]
    known = [(events, set(read[at] or ())) for at in clips if (events := gold[at]) is not None]
    certain = [{event[0] for event in events if len(event) == 1} for events, _ in known]
    scored = [unit for unit in units if any(unit in of for of in certain)]

    def cells(of: Iterable[Collection[int]]) -> NDArray[np.bool_]:
        return np.array([[unit in one for unit in scored] for one in of], bool).reshape(len(clips), len(scored))

    has, names = cells(_present(events, given, scored) for events, given in known), cells(given for _, given in known)
    parsed = np.array([read[at] is not None for at in clips], bool)
    exact = parsed & np.array([_exact(events, given, units) for events, given in known], bool)
    return Tally(tuple(scored), tuple(clips), has & names, names & ~has, has & ~names, cells(certain), exact, parsed)


@dataclass(frozen=True)
class SideScores:
    """How often answers give the right side of a unit.

    Attributes:
        coded: by clip, the number of units that are coded on one side only.
        named: by clip, how many of these the answer names.
        right: by clip, how many of those get the right side.
        unsaid: number of named units for which the answer gives no side.
        left: number of named units that are coded on the left.
    """

    coded: tuple[int, ...]
    named: tuple[int, ...]
    right: tuple[int, ...]
    unsaid: int
    left: int

    @property
    def accuracy(self) -> float | None:
        """Share of the named units with the right side, in 0..1; None where none is named."""
        return sum(self.right) / sum(self.named) if any(self.named) else None

    @property
    def always(self) -> tuple[float, str] | None:
        """The accuracy of always giving the more frequent side (left of equals), and that side."""
        if not any(self.named):
            return None
        left = self.left / sum(self.named)
        return (left, "left") if left >= 0.5 else (1 - left, "right")


def one_sided(codes: Iterable[str]) -> dict[tuple[int, ...], str]:
    """The events of a clip that are on one side only, each a tuple of alternatives, with that side: `L` or `R`.

    Without events on both sides (`L12+R12`), on a side that the alternatives do not share (`R6/12`), or beside the same
    unit without a side (`L12+12`). The codes are canonical, as `Sample.aus`.

    Raises:
        CodeError: a code that cannot be read.
    """
    said: dict[tuple[int, ...], set[str]] = {}
    for event in map(parse_canonical, codes):
        said.setdefault(event.alternatives, set()).add(event.side or "")
    times = Counter(unit for alternatives in said for unit in alternatives)
    return {
        alternatives: min(found)
        for alternatives, found in said.items()
        if found in ({"L"}, {"R"}) and all(times[unit] == 1 for unit in alternatives)
    }


def score_sides(
    gold: Sequence[Iterable[str] | None], read: Sequence[Mapping[int, str | None] | None], units: Sequence[int]
) -> SideScores:
    """Score the sides that were read; any alternative with the right side is right.

    Args:
        gold: the canonical codes of each clip; None where its units are not known.
        read: the units that each answer names, with their side or None for no side; None where nothing could be read.
        units: the units of the task.

    Raises:
        InputError: the lengths differ.
        CodeError: a code that cannot be read.
    """
    if len(gold) != len(read):
        raise InputError(f"scoring of sides: expected as many answers as clips ({len(gold)}), found {len(read)}")
    coded, counted, right = [0] * len(gold), [0] * len(gold), [0] * len(gold)
    unsaid = left = 0
    for at, (codes, named) in enumerate(zip(gold, read, strict=True)):
        for alternatives, side in one_sided(codes or ()).items():
            if set(units).isdisjoint(alternatives):
                continue
            coded[at] += 1
            sides = {named[unit] for unit in alternatives if unit in named} if named else set()
            if sides:
                counted[at] += 1
                right[at] += side in sides
                unsaid += sides == {None}
                left += side == "L"
    return SideScores(tuple(coded), tuple(counted), tuple(right), unsaid, left)


def constant(gold: Sequence[Events | None], units: Sequence[int], present: bool) -> UnitScores:
    """The scores when every answer names all units of the task, or none (whose F1 is 0 by definition)."""
    return score(gold, [tuple(units) if present else ()] * len(gold), units)


def _present(events: Events, given: set[int], scored: Sequence[int]) -> set[int]:
    """The units of the clip, with alternatives decided in favour of the answer."""
    present = {event[0] for event in events if len(event) == 1}
    for event in events:
        if named := given.intersection(event):
            present |= named
        elif present.isdisjoint(event):
            present |= set([unit for unit in event if unit in scored][:1])
    return present


def _exact(events: Events, given: set[int], units: Sequence[int]) -> bool:
    possible = {unit for event in events for unit in event}
    asked = [event for event in events if not set(units).isdisjoint(event)]
    return given.intersection(units) <= possible and all(not given.isdisjoint(event) for event in asked)


def _f1(hits: int, alarms: int, misses: int) -> float:
    # never 0 / 0: a scored unit is in a clip for certain, which makes a hit or a miss
    return 2 * hits / (2 * hits + alarms + misses)


def in_words(scores: UnitScores, all_present: UnitScores) -> str:
    """A table: a line for each scored unit, with its F1 and the F1 of always naming it (`all_present`)."""
    lines = [" AU  clips  precision  recall    F1   F1 if always named"]
    for unit, (hits, alarms, misses) in scores.counts.items():
        precision = share(hits / (hits + alarms) if hits + alarms else None)
        recall = share(hits / (hits + misses))
        f1, constantly = share(scores.f1[unit]), share(all_present.f1[unit])
        lines.append(f"{unit:3}  {hits + misses:5}  {precision:>9}  {recall:>6}  {f1:>4}   {constantly:>4}")
    return "\n".join(lines)
