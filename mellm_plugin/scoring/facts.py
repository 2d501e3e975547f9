"""Facts of a description, without a judge: its claims against the annotated units and against the measured flow.

    facts(["1", "L12"])  ->  (Fact(ways=(Way("inner brows", None, "up"),)),
                              Fact(ways=(Way("mouth corners", "right", "up and outwards"),)))
    check(claims("The brows are raised, the left mouth corner drops."), facts(["1", "L12"]))
      ->  Checked(right=(True, False), found=(True, False))

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
_OF_LIPS = {"towards each other": "together", "apart": "apart", "together": "together"}

_PARTS: dict[str, frozenset[str]] = {
    "brows": frozenset({"inner brows", "outer brows"}),
    "chin and lower lip": frozenset({"chin", "lower lip"}),
}
"""Regions of the table, with the regions that are parts of them."""

_LIPS_MOVE: dict[str, tuple[tuple[str, str], ...]] = {
    "apart": (("upper lip", "up"), ("lower lip", "down")),
    "together": (("upper lip", "down"), ("lower lip", "up")),
}

_PLACES: dict[str, tuple[str, ...]] = {
    "brows": ("brows", "inner brows", "outer brows"),
    "chin and lower lip": ("chin and lower lip", "chin", "lower lip"),
}
"""The places in the flow that are checked for a region; other regions have one place, their own."""


@dataclass(frozen=True)
class Way:
    """A movement: a region, its side in the image (None: both), and the motion in the words of a claim."""

    region: str
    side: str | None
    motion: str


@dataclass(frozen=True)
class Fact:
    """What one annotated event implies: any one of `ways`, one for each reading of its code."""

    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Checked:
    """Which claims of an answer are right, and which facts are found.

    A claim about a unit without a direction (the lids of a blink) is neither right nor wrong: None.
    """

    right: tuple[bool | None, ...]
    found: tuple[bool, ...]


def facts(codes: Iterable[str]) -> tuple[Fact, ...]:
    """What annotated units imply about the movement of regions; events without a direction imply nothing.

    Args:
        codes: canonical codes of one clip, with the subject's own sides.

    Raises:
        CodeError: codes that cannot be read, all of them at once.
    """
    return tuple(Fact(ways) for ways in _events(codes) if all(way.motion for way in ways))


def undecided(codes: Iterable[str]) -> tuple[Way, ...]:
    """What events that imply nothing may show: any movement (`""`) of a region, or that of an alternative.

    A blink (45) moves the upper lids, but two frames may show it either way; 45/12 may be the mouth corners.

    Raises:
        CodeError: as `facts`.
    """
    return tuple(way for ways in _events(codes) if not all(one.motion for one in ways) for way in ways)


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
            motion = unit.motion.removeprefix("far ") if unit else ""
            motion = "" if "then" in motion else _OF_LIPS.get(motion, motion)
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


def check(claimed: Sequence[Claim], implied: Sequence[Fact], open_: Sequence[Way] = ()) -> Checked:
    """Compare the claims of an answer with what the clip's units imply.

    Args:
        claimed: the claims.
        implied: `facts` of the clip's codes.
        open_: `undecided` of the clip's codes; a claim about these that agrees with no fact is not decided.
    """
    table = [[any(agree(claim, way) for way in fact.ways) for fact in implied] for claim in claimed]
    found = tuple(any(row[at] for row in table) for at in range(len(implied)))
    right = (
        any(row) or (None if any(agree(claim, way) for way in open_) else False)
        for claim, row in zip(claimed, table, strict=True)
    )
    return Checked(tuple(right), found)


def agree(claim: Claim, way: Way) -> bool:
    """Whether a claim agrees with a movement: its region or a part, one of its sides, and within 45 degrees.

    A side that may be the image's or the person's agrees with either. The motion `""` is any direction.
    """
    if claim.side and way.side and claim.side != way.side and not claim.certain:
        claim = _mirrored(claim)
    if claim.side and way.side and claim.side != way.side:
        return False
    if way.region == "lips" and (claim.region, claim.motion) in _LIPS_MOVE.get(way.motion, ()):
        return True
    related = (
        claim.region == way.region
        or claim.region in _PARTS.get(way.region, ())
        or way.region in _PARTS.get(claim.region, ())
    )
    if not related:
        return False
    if not way.motion:
        return True
    if "apart" in (claim.motion, way.motion) or "together" in (claim.motion, way.motion):
        return claim.motion == way.motion
    sides = [claim.side or way.side] if claim.side or way.side else ["left", "right"]
    angles = [_angle(_vector(claim.motion, side), _vector(way.motion, side)) for side in sides]
    return all(angle is not None and angle <= AGREES + 1e-6 for angle in angles)


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


# ---- against the flow -----------------------------------------------------------------------------------------------


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
    places = {(one.region, one.side): one for one in motions if one.visible}
    if claim.motion in _LIPS_MOVE:
        return _lips_contradict(claim.motion, motions)
    angles: list[float] = []
    for region in _PLACES.get(claim.region, (claim.region,)):
        for side in ("left", "right", None):
            one = places.get((region, side))
            if one is None or (claim.side and side and side != claim.side):
                continue
            angle = _angle(_vector(claim.motion, side or claim.side), (one.dx, one.dy))
            if angle is not None:
                angles.append(angle)
    return min(angles) > CONTRADICTS if angles else None


def _lips_contradict(motion: str, motions: Sequence[RegionMotion]) -> bool | None:
    lips = {one.region: one for one in motions if one.side is None and one.region in ("upper lip", "lower lip")}
    if len(lips) < 2 or not any(one.visible for one in lips.values()):
        return None
    parted = lips["lower lip"].dy - lips["upper lip"].dy
    if abs(parted) < APPROACH_PX:
        return None
    return (parted < 0) == (motion == "apart")


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
    implied = None if codes is None else facts(codes)
    open_ = () if codes is None else undecided(codes)
    checked = None if implied is None else check(once, implied, open_)
    right: Sequence[bool | None] = checked.right if checked else [None] * len(once)
    found = () if implied is None else check(said, implied).found  # less exact claims find facts too
    return {
        "claims": len(once) - (right.count(None) if checked else 0),
        "right": right.count(True) if checked else None,
        "facts": len(found) if checked else None,
        "found": sum(found) if checked else None,
        "contradicting": against.count(True),
        "decided": len(against) - against.count(None),
        "gold": None if codes is None else list(codes),
        "said": [
            {**asdict(claim), "right": is_right, "contradicts": does}
            for claim, is_right, does in zip(once, right, against, strict=True)
        ],
        "implied": None
        if implied is None
        else [
            {"ways": [asdict(way) for way in fact.ways], "found": one} for fact, one in zip(implied, found, strict=True)
        ],
    }


# ---- the scores of many clips ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FactScores:
    """Scores of a set of clips, in 0..1; None where there is nothing to divide by.

    Attributes:
        precision: share of the claims that are right.
        recall: share of the facts that are found.
        f1: their harmonic mean; 0 where there are facts and no claim is right.
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
    combinations = Counter(_described(codes) for codes in gold if facts(codes))
    return min(combinations, key=lambda one: (-combinations[one], one), default=())


def _described(codes: Sequence[str]) -> tuple[str, ...]:
    first = [parse_canonical(code).readings[0] for code in codes]
    first.sort(key=lambda reading: (reading.number, str(reading)))
    return tuple(str(reading) for reading in first if reading.number in UNITS)


def constant_claims(gold: Iterable[Sequence[str]]) -> tuple[Claim, ...]:
    """The claims of the description of the most frequent combination of units; `()` where there is none."""
    return tuple(claims(describe([(code, None) for code in most_frequent(gold)], "")))


def constant(gold: Sequence[Sequence[str]]) -> FactScores:
    """The scores when every answer describes the most frequent combination of units of these clips.

    Args:
        gold: the canonical codes of each clip.
    """
    said = constant_claims(gold)
    sums = [0, 0, 0, 0]
    for codes in gold:
        item = compared(said, codes, ())
        for at, name in enumerate(("right", "claims", "found", "facts")):
            sums[at] += item[name]
    return score(*sums)
