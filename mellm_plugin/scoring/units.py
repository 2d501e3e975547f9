"""Action units: binary F1 of each unit over a fixed set of units, pooled over all clips given.

    score([[(1,), (2,)], [(6, 12)]], [{1}, {12}], [1, 2, 12])  ->  f1 {1: 1.0, 2: 0.0}, mean .5, left_out (12,)

The F1 is that of "present" alone, 2 TP / (2 TP + FP + FN). (The mean of the F1s of "present" and "absent" is some 28
points higher for the same answers, and is not reported.) The rules:

-   A clip whose units are not known (None) is left out, and counted in `without_gold`.
-   An answer in which no statement on units could be read (None) names none: a miss of every unit. It is counted in
    `unparsed`.
-   A unit is scored if at least one clip has it for certain; the others of the set are left out of the mean and of the
    micro F1, and named in `left_out`. So which units are scored does not depend on the answers.
-   An annotation with alternatives, "6 or 12", is right if any of them is named. Each alternative that is named counts
    as a hit (no answer is worse off for naming both) and the others do not count. If none is named it is one miss, of
    the first alternative that is scored, unless the clip has one of them for certain anyway.
-   Units named that are not scored count neither way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mellm_plugin.errors import InputError

Events = Sequence[tuple[int, ...]]
"""The annotated units of a clip, one tuple of alternatives each, as `facs.codes.numbers` gives them."""


@dataclass(frozen=True)
class UnitScores:
    """Scores of one set of clips, in 0..1.

    Attributes:
        mean: mean of the F1s; None where no unit is scored.
        micro: F1 of all scored units together; None where no unit is scored.
        f1: per scored unit, in the order of the units given.
        counts: (hits, false alarms, misses) per scored unit.
        left_out: units of the set that no clip has for certain.
        clips: number of clips scored.
        without_gold: number of clips left out because their units are not known.
        unparsed: number of clips scored whose answer has no statement on units that could be read.
    """

    mean: float | None
    micro: float | None
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
        read: the numbers of the units named in the answer to each clip; None where nothing could be read.
        units: the units of the task.

    Raises:
        InputError: the lengths differ.
    """
    if len(gold) != len(read):
        raise InputError(f"scoring of units: expected as many answers as clips ({len(gold)}), found {len(read)}")
    pairs = [(events, named) for events, named in zip(gold, read, strict=True) if events is not None]
    certain = {event[0] for events, _ in pairs for event in events if len(event) == 1}
    scored = [unit for unit in units if unit in certain]
    tally = {unit: [0, 0, 0] for unit in scored}
    for events, named in pairs:
        given = set(named or ())
        present = _present(events, given, scored)
        for unit in scored:
            if unit in present:
                tally[unit][0 if unit in given else 2] += 1
            elif unit in given:
                tally[unit][1] += 1
    f1 = {unit: _f1(*tally[unit]) for unit in scored}
    hits, alarms, misses = (sum(counts[i] for counts in tally.values()) for i in range(3))
    return UnitScores(
        mean=sum(f1.values()) / len(f1) if f1 else None,
        micro=_f1(hits, alarms, misses) if f1 else None,
        f1=f1,
        counts={unit: (counts[0], counts[1], counts[2]) for unit, counts in tally.items()},
        left_out=tuple(unit for unit in units if unit not in certain),
        clips=len(pairs),
        without_gold=len(gold) - len(pairs),
        unparsed=sum(named is None for _, named in pairs),
    )


def constant(gold: Sequence[Events | None], units: Sequence[int], present: bool) -> UnitScores:
    """The scores of naming all units of the task for every clip, or none (which is 0 by definition)."""
    return score(gold, [tuple(units) if present else ()] * len(gold), units)


def _present(events: Events, given: set[int], scored: Sequence[int]) -> set[int]:
    """The units that the clip has, its alternatives decided in favour of the answer."""
    present = {event[0] for event in events if len(event) == 1}
    for event in events:
        if named := given.intersection(event):
            present |= named
        elif present.isdisjoint(event):
            present |= set([unit for unit in event if unit in scored][:1])
    return present


def _f1(hits: int, alarms: int, misses: int) -> float:
    # never 0 / 0: a unit is scored only if a clip has it for certain, which is a hit or a miss
    return 2 * hits / (2 * hits + alarms + misses)
