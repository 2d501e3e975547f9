"""Facts of a description, without a judge: its claims against the annotated units and against the measured flow.

    facts(["1", "L12"])  ->  [(Way("inner brows", None, "up"),), (Way("mouth corners", "right", "up and outwards"),)]
    check(claims("The brows are raised, the left mouth corner drops."), facts(["1", "L12"]))
      ->  right [True, False], found [True, False]

Against the annotation:

-   A unit implies that its region moves as the table in `facs.units` says, on the coded side. Units without a direction
    (blink, neck tightener, head and eyes) imply nothing. Any one of the alternatives in "6/12" is enough.
-   A claim is right if it agrees with a unit: the same region or a part of it ("brows" are inner and outer brows), a
    side that the unit has (a claim without a side agrees with any), and a direction within 45 degrees, so "up" agrees
    with "up and outwards". A fact is found if a claim agrees with it.
-   A movement that an answer repeats counts once, as its most exact claim; any of the claims may find a fact. Where an
    event of the clip implies nothing, claims about its region are neither right nor wrong, and are not counted.
-   A bare "left" or "right" may be the image's or the person's. It agrees with a unit on either side, and is decided
    against the flow where both readings give the same result.
-   Precision is the share of the claims that are right, recall the share of the facts that are found, both over all
    clips together; F1 is their harmonic mean. Clips whose units are not known are left out.

Against the flow:

-   A claim contradicts the flow if its region visibly moves, and no visible place of it moves within 90 degrees of the
    claimed direction. "The lips part" contradicts the flow if they visibly approach each other.
-   Up to 90 degrees, or where one place of a region agrees and another does not, a claim does not contradict: regions
    are placed relative to the frame, and neighbouring movement carries over. So a contradicting claim is invented.
-   A claim cannot be decided if its region does not visibly move (the movement may be smaller than two frames can
    show), if it has no single direction there (a chin "inwards"), or if the flow cannot be trusted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.facs.units import UNITS
from mellm_plugin.language.claims import Claim, claims
from mellm_plugin.language.descriptions import describe
from mellm_plugin.motion.regions import RegionMotion

AGREES, CONTRADICTS = 45.0, 90.0
"""Degrees: within the first a claim agrees with a unit, beyond the second it contradicts the flow."""

APPROACH_PX = 0.1
"""How far two lips must part or approach to decide a claim, px in a frame of 224 px."""

_SIDES = {"L": "right", "R": "left"}  # the subject's left is on the image's right
_HALF = {"left": -1, "right": 1}
_STEPS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
_ACROSS = {"outwards": 1, "inwards": -1}

_PARTS: dict[str, tuple[str, ...]] = {
    "brows": ("inner brows", "outer brows"),
    "chin and lower lip": ("chin", "lower lip"),
}
"""Regions of the table, with the regions that are parts of them."""

_LIPS_MOVE: dict[str, tuple[tuple[str, str], ...]] = {
    "apart": (("upper lip", "up"), ("lower lip", "down")),
    "together": (("upper lip", "down"), ("lower lip", "up")),
}


@dataclass(frozen=True)
class Way:
    """A movement: a region, its side in the image (None: both), and the motion in the words of a claim."""

    region: str
    side: str | None
    motion: str


Fact = tuple[Way, ...]
"""What one annotated event implies: any one of these ways, one for each reading of its code."""


def facts(codes: Iterable[str]) -> list[Fact]:
    """What annotated units imply about the movement of regions; events without a direction imply nothing.

    Args:
        codes: canonical codes of one clip, with the subject's own sides.

    Raises:
        CodeError: codes that cannot be read, all of them at once.
    """
    return [ways for ways in _events(codes) if all(way.motion for way in ways)]


def undecided(codes: Iterable[str]) -> list[Way]:
    """What events that imply nothing may show: any movement (`""`) of a region, or that of an alternative.

    A blink (45) moves the upper lids, but two frames may show it either way; 45/12 may be the mouth corners. Codes and
    errors are as in `facts`.
    """
    return [way for ways in _events(codes) if not all(one.motion for one in ways) for way in ways]


def _events(codes: Iterable[str]) -> list[tuple[Way, ...]]:
    """The ways of each event, one for each reading; the motion `""` is no single direction."""
    events: list[tuple[Way, ...]] = []
    faults: list[str] = []
    for code in codes:
        try:
            readings = parse_canonical(code).readings
        except CodeError as error:
            faults += error.faults
            continue
        ways: list[Way] = []
        for reading in readings:
            unit = UNITS.get(reading.number)
            motion = unit.motion.removeprefix("far ").replace("towards each other", "together") if unit else ""
            motion = "" if "then" in motion else motion
            ways.append(Way(unit.region if unit else "", _SIDES.get(reading.side or ""), motion))
        events.append(tuple(dict.fromkeys(ways)))
    if faults:
        raise CodeError(faults)
    return events


def movements(claimed: Sequence[Claim]) -> tuple[Claim, ...]:
    """The claims without those that a more exact claim includes.

    A claim includes another one of the same region if it has its directions and maybe one more, and its side or, where
    that has none, any: "the left mouth corner moves up and outwards" includes "the mouth corners move up".
    """
    kept: list[Claim] = []
    for claim in claimed:
        if not any(_says(other, claim) for other in kept):
            kept = [*(other for other in kept if not _says(claim, other)), claim]
    return tuple(kept)


def _says(exact: Claim, other: Claim) -> bool:
    if exact.region != other.region or (other.side and other.side != exact.side):
        return False
    return _words(other.motion, exact.side) <= _words(exact.motion, exact.side)


def _words(motion: str, side: str | None) -> set[str]:
    """The directions of a motion; outwards and inwards as left and right in the image where the side is known."""
    halves = {"left": {"outwards": "left", "inwards": "right"}, "right": {"outwards": "right", "inwards": "left"}}
    return {halves.get(side or "", {}).get(word, word) for word in motion.split(" and ")}


def check(
    claimed: Sequence[Claim], implied: Sequence[Fact], open_: Sequence[Way] = ()
) -> tuple[list[bool | None], list[bool]]:
    """Which claims of an answer are right, and which facts (`implied`) are found.

    A claim that agrees with no fact, but may show what is `undecided` (`open_`), is neither right nor wrong: None.
    """
    table = [[any(agree(claim, way) for way in ways) for ways in implied] for claim in claimed]
    right: list[bool | None] = [
        any(row) or (None if any(agree(claim, way) for way in open_) else False)
        for claim, row in zip(claimed, table, strict=True)
    ]
    return right, [any(row[at] for row in table) for at in range(len(implied))]


def agree(claim: Claim, way: Way) -> bool:
    """Whether a claim agrees with a movement: its region or a part, one of its sides, and within 45 degrees.

    A side that may be the image's or the person's agrees with either. The motion `""` is any direction.
    """
    if claim.side and way.side and claim.side != way.side:
        if claim.certain:
            return False
        claim = _mirrored(claim)
    if way.region == "lips" and (claim.region, claim.motion) in _LIPS_MOVE.get(way.motion, ()):
        return True
    if way.region not in _places(claim.region) and claim.region not in _places(way.region):
        return False
    if not way.motion:
        return True
    if "apart" in (claim.motion, way.motion) or "together" in (claim.motion, way.motion):
        return claim.motion == way.motion
    sides = [claim.side or way.side] if claim.side or way.side else ["left", "right"]
    angles = [_angle(_vector(claim.motion, side), _vector(way.motion, side)) for side in sides]
    return all(angle is not None and angle <= AGREES + 1e-6 for angle in angles)


def _places(region: str) -> tuple[str, ...]:
    """A region and its parts."""
    return (region, *_PARTS.get(region, ()))


def _mirrored(claim: Claim) -> Claim:
    """The claim with left and right exchanged, as the person would mean them."""
    other = {"left": "right", "right": "left"}
    motion = " and ".join(other.get(word, word) for word in claim.motion.split(" and "))
    return replace(claim, side=other.get(claim.side or "", claim.side), motion=motion, certain=True)


def _vector(motion: str, side: str | None) -> tuple[float, float] | None:
    """The direction of a motion on one half of the image, x to the right, y down; None where it has none there."""
    x = y = 0
    for word in motion.split(" and "):
        if word in _STEPS:
            x, y = x + _STEPS[word][0], y + _STEPS[word][1]
        elif word in _ACROSS and side is not None:
            x += _ACROSS[word] * _HALF[side]
        else:
            return None
    return (x, y) if x or y else None


def _angle(one: tuple[float, float] | None, other: tuple[float, float] | None) -> float | None:
    """Degrees between two vectors; None where one is missing."""
    if one is None or other is None:
        return None
    aligned = (one[0] * other[0] + one[1] * other[1]) / (math.hypot(*one) * math.hypot(*other))
    return math.degrees(math.acos(max(-1.0, min(1.0, aligned))))


def contradicts(claim: Claim, motions: Sequence[RegionMotion]) -> bool | None:
    """Whether a claim contradicts the measured flow; None where the flow does not decide it.

    A side that may be the image's or the person's is decided where both readings give the same result.

    Args:
        claim: of an answer to this clip.
        motions: `motion.regions.region_motions` of every region; empty where the flow cannot be trusted.
    """
    if claim.side and not claim.certain:
        both = {contradicts(one, motions) for one in (replace(claim, certain=True), _mirrored(claim))}
        return both.pop() if len(both) == 1 else None
    if claim.motion in _LIPS_MOVE:
        lips = {one.region: one for one in motions if one.side is None and one.region in ("upper lip", "lower lip")}
        if len(lips) < 2 or not any(one.visible for one in lips.values()):
            return None
        parted = lips["lower lip"].dy - lips["upper lip"].dy
        return None if abs(parted) < APPROACH_PX else (parted < 0) == (claim.motion == "apart")
    angles = [
        _angle(_vector(claim.motion, one.side or claim.side), (one.dx, one.dy))
        for one in motions
        if one.visible and one.region in _places(claim.region) and claim.side in (None, one.side or claim.side)
    ]
    known = [angle for angle in angles if angle is not None]
    return min(known) > CONTRADICTS if known else None


def compared(said: Sequence[Claim], codes: Sequence[str] | None, motions: Sequence[RegionMotion]) -> dict[str, Any]:
    """Compare the claims of an answer with the units and the flow of its clip, and count for the scores.

    Args:
        said: the claims.
        codes: the clip's canonical codes; None where they are not known.
        motions: as for `contradicts`.

    Returns:
        JSON values, with each movement once (`movements`): the counts `claims` (without those that the units leave
        undecided), `right`, `facts`, `found`, `contradicting` and `decided`; `gold`, the codes; `said`, each claim with
        `right` and `contradicts`; `implied`, the ways of each fact and whether it is `found`. None is what is not
        known.

    Raises:
        CodeError: codes that cannot be read.
    """
    once = movements(said)
    against = [contradicts(claim, motions) for claim in once]
    right: list[bool | None] = [None] * len(once)
    counts: dict[str, Any] = {"claims": len(once), "right": None, "facts": None, "found": None}
    implied = None
    if codes is not None:
        events = facts(codes)
        right, _ = check(once, events, undecided(codes))
        _, found = check(said, events)  # less exact claims find facts too
        claimed = len(once) - right.count(None)
        counts = {"claims": claimed, "right": right.count(True), "facts": len(found), "found": sum(found)}
        implied = [
            {"ways": [asdict(way) for way in ways], "found": one} for ways, one in zip(events, found, strict=True)
        ]
    return {
        **counts,
        "contradicting": against.count(True),
        "decided": len(against) - against.count(None),
        "gold": None if codes is None else list(codes),
        "said": [
            {**asdict(claim), "right": is_right, "contradicts": does}
            for claim, is_right, does in zip(once, right, against, strict=True)
        ],
        "implied": implied,
    }


@dataclass(frozen=True)
class FactScores:
    """Scores of a set of clips, in 0..1; None where there is nothing to divide by.

    `precision` is the share of the claims that are right, `recall` the share of the facts that are found, `f1` their
    harmonic mean; 0 where there are facts and no claim is right.
    """

    precision: float | None
    recall: float | None
    f1: float | None


def score(right: int, claimed: int, found: int, implied: int) -> FactScores:
    """The scores of sums over clips: right claims of all claims, found facts of all facts."""
    precision = right / claimed if claimed else None
    recall = found / implied if implied else None
    f1 = None
    if recall is not None:
        total = (precision or 0.0) + recall
        f1 = 2 * (precision or 0.0) * recall / total if total else 0.0
    return FactScores(precision, recall, f1)


def most_frequent(gold: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The most frequent combination of codes among the clips whose codes imply a fact; the first by name of equals.

    Takes the first of alternatives, and leaves out events that cannot be described. `()` where there is none.
    """
    combinations: Counter[tuple[str, ...]] = Counter()
    for codes in gold:
        if facts(codes):
            first = [parse_canonical(code).readings[0] for code in codes]
            first.sort(key=lambda reading: (reading.number, str(reading)))
            combinations[tuple(str(reading) for reading in first if reading.number in UNITS)] += 1
    return min(combinations, key=lambda one: (-combinations[one], one), default=())


def constant_claims(gold: Iterable[Sequence[str]]) -> tuple[Claim, ...]:
    """The claims of the description of the most frequent combination of units; `()` where there is none."""
    return tuple(claims(describe([(code, None) for code in most_frequent(gold)], "")))


def constant(gold: Sequence[Sequence[str]]) -> FactScores:
    """The scores when every answer describes the most frequent combination of units of these clips."""
    said = constant_claims(gold)
    items = [compared(said, codes, ()) for codes in gold]
    return score(*(sum(item[name] for item in items) for name in ("right", "claims", "found", "facts")))
