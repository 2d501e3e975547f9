"""Facts of a description, without any judge: its claims against the annotated units, and against the measured flow.

    facts(["1", "L12"])  ->  (Fact(ways=(Way("inner brows", None, "up"),)),
                              Fact(ways=(Way("mouth corners", "right", "up and outwards"),)))
    check(claims("The brows are raised, the left mouth corner drops."), facts(["1", "L12"]))
      ->  Checked(right=(True, False), found=(True, False))

Against the annotation:

-   A unit implies that its region moves as the table in `facs.units` says, on the side that is coded. Units without a
    direction (blink, neck tightener, head and eyes) imply nothing. Of alternatives ("6/12") any one will do.
-   A claim is right if it agrees with a unit: the same region or a part of it ("brows" are inner and outer brows), a
    side that the unit has (a claim without side agrees with any), and a direction within 45 degrees, so that "up"
    agrees with "up and outwards". A fact is found if a claim agrees with it.
-   A movement that is said in many ways counts once, as its most exact claim; a fact may be found by any of them. Where
    a clip has an event that implies nothing, what is claimed of its region is neither right nor wrong, and not counted.
-   A bare "left" or "right" may be the image's or the person's: it agrees with a unit of either side, and is decided
    against the flow where both sides agree.
-   Precision is the share of the claims that are right, recall the share of the facts that are found, both over all
    clips together; F1 is their harmonic mean. Clips whose units are not known are left out.

Against the flow:

-   A claim contradicts the flow where its region is seen to move, and no visible place of it moves within 90 degrees
    of the direction that is claimed. Lips contradict "apart" if they are seen to approach each other.
-   Up to 90 degrees, and where one place of a region agrees and another does not, it does not contradict: regions are
    placed by the frame, and what moves beside them moves them, too. So what contradicts is invented.
-   Undecidable is a claim of a region that is not visible (the movement may be smaller than what two frames show), one
    without a single direction there (a chin "inwards"), and every claim where the flow cannot be trusted.
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
"""Degrees within which a claim agrees with a unit, and beyond which it contradicts the flow."""

APPROACH_PX = 0.1
"""How far two lips must part or approach for their claim to be decided, px of a frame of 224 px."""

_SIDES = {"L": "right", "R": "left"}  # the subject's left is on the image's right
_HALF = {"left": -1, "right": 1}
_STEPS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
_ACROSS = {"outwards": 1, "inwards": -1}
_OF_LIPS = {"towards each other": "together", "apart": "apart", "together": "together"}

_PARTS: dict[str, frozenset[str]] = {
    "brows": frozenset({"inner brows", "outer brows"}),
    "chin and lower lip": frozenset({"chin", "lower lip"}),
}
"""Regions of the table that others are parts of."""

_LIPS_MOVE: dict[str, tuple[tuple[str, str], ...]] = {
    "apart": (("upper lip", "up"), ("lower lip", "down")),
    "together": (("upper lip", "down"), ("lower lip", "up")),
}

_PLACES: dict[str, tuple[str, ...]] = {
    "brows": ("brows", "inner brows", "outer brows"),
    "chin and lower lip": ("chin and lower lip", "chin", "lower lip"),
}
"""Where a region is looked for in the flow; the others at their own place."""


@dataclass(frozen=True)
class Way:
    """A movement of a region, its side in the image (None: both), and the motion in the words of a claim."""

    region: str
    side: str | None
    motion: str


@dataclass(frozen=True)
class Fact:
    """What one annotated event implies: any one of `ways`, which are the readings of its code."""

    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Checked:
    """The claims of one answer against the annotation: which claims are right, and which facts are found.

    A claim of what a unit without a direction does (the lids of a blink) is neither right nor wrong: None.
    """

    right: tuple[bool | None, ...]
    found: tuple[bool, ...]


def facts(codes: Iterable[str]) -> tuple[Fact, ...]:
    """What annotated units imply of the movement of regions; events without a direction imply nothing.

    Args:
        codes: canonical codes of one clip; sides are the subject's own.

    Raises:
        CodeError: codes that cannot be read, all of them at once.
    """
    return tuple(Fact(ways) for ways in _events(codes) if all(way.motion for way in ways))


def undecided(codes: Iterable[str]) -> tuple[Way, ...]:
    """What the events may show that imply nothing: any movement (`""`) of a region, or that of an alternative.

    A blink (45) moves the upper lids, but which way two frames show it is open; of 45/12 it may be the mouth corners.

    Raises:
        CodeError: as `facts`.
    """
    return tuple(way for ways in _events(codes) if not all(one.motion for one in ways) for way in ways)


def _events(codes: Iterable[str]) -> list[tuple[Way, ...]]:
    """The ways of each event that is in the table of units, one of each reading; `""` is no single direction."""
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
    """The claims without those that another claim says as well: of a movement said in many ways, the most exact one.

    A claim says another one as well where it is of the same region, has its directions and maybe one more, and its
    side or, where that has none, any: "the left mouth corner moves up and outwards" says "the mouth corners move up".
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
    """The directions of a motion; those across as seen in the image where the side is known."""
    halves = {"left": {"outwards": "left", "inwards": "right"}, "right": {"outwards": "right", "inwards": "left"}}
    return {halves.get(side or "", {}).get(word, word) for word in motion.split(" and ")}


def check(claimed: Sequence[Claim], implied: Sequence[Fact], open_: Sequence[Way] = ()) -> Checked:
    """Compare the claims of an answer with what the clip's units imply.

    Args:
        claimed: the claims.
        implied: of the clip's codes (`facts`).
        open_: what its other events may show (`undecided`): a claim of it that agrees with no fact is not decided.
    """
    table = [[any(agree(claim, way) for way in fact.ways) for fact in implied] for claim in claimed]
    found = tuple(any(row[at] for row in table) for at in range(len(implied)))
    right = (
        any(row) or (None if any(agree(claim, way) for way in open_) else False)
        for claim, row in zip(claimed, table, strict=True)
    )
    return Checked(tuple(right), found)


def agree(claim: Claim, way: Way) -> bool:
    """Whether a claim is of a movement: its region or a part, a side it has, and a direction within 45 degrees.

    A side of which the text does not say whose it is agrees with either. A way `""` is any direction.
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
    """The claim as the person would mean it: the other side, and what moves left moves right."""
    other = {"left": "right", "right": "left"}
    motion = " and ".join(other.get(word, word) for word in claim.motion.split(" and "))
    return replace(claim, side=other.get(claim.side or "", claim.side), motion=motion, certain=True)


def _vector(motion: str, side: str | None) -> tuple[float, float] | None:
    """The direction of a motion on one half of the image, x right, y down; None where it has none there."""
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
    """Degrees between two vectors; None where one of them is none."""
    if one is None or other is None:
        return None
    aligned = (one[0] * other[0] + one[1] * other[1]) / (math.hypot(*one) * math.hypot(*other))
    return math.degrees(math.acos(max(-1.0, min(1.0, aligned))))


# ---- against the flow -----------------------------------------------------------------------------------------------


def contradicts(claim: Claim, motions: Sequence[RegionMotion]) -> bool | None:
    """Whether a claim contradicts the measured flow; None where the flow does not decide it.

    A claim of which the text does not say whose left or right it is, is decided where both sides agree.

    Args:
        claim: of an answer to this clip.
        motions: of every region (`motion.regions.region_motions`); none where the flow cannot be trusted.
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
    """The claims of an answer against the units and the flow of its clip, with the counts that scores are made of.

    Args:
        said: the claims.
        codes: the clip's canonical codes; None where they are not known.
        motions: as for `contradicts`.

    Returns:
        JSON values, of each movement once (`movements`): the counts `claims` (those that the units do not leave
        undecided), `right`, `facts`, `found`, `contradicting` and `decided`; `gold`, the codes;
        `said`, each claim with `right` and `contradicts`; `implied`, the ways of each fact, and whether it is `found`.
        What is not known is None.

    Raises:
        CodeError: codes that cannot be read.
    """
    once = movements(said)
    against = [contradicts(claim, motions) for claim in once]
    implied = None if codes is None else facts(codes)
    open_ = () if codes is None else undecided(codes)
    checked = None if implied is None else check(once, implied, open_)
    right: Sequence[bool | None] = checked.right if checked else [None] * len(once)
    found = () if implied is None else check(said, implied).found  # also by what is said less exactly
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
    """Scores of the facts of a set of clips, 0..1; None where there is nothing to divide by.

    Attributes:
        precision: share of the claims that are right.
        recall: share of the facts that are found.
        f1: their harmonic mean; 0 where facts are to be found and nothing right is claimed.
    """

    precision: float | None
    recall: float | None
    f1: float | None


def score(right: int, claimed: int, found: int, implied: int) -> FactScores:
    """The scores of sums over clips: right claims of all, and found facts of all."""
    precision = right / claimed if claimed else None
    recall = found / implied if implied else None
    f1 = None
    if recall is not None:
        total = (precision or 0.0) + recall
        f1 = 2 * (precision or 0.0) * recall / total if total else 0.0
    return FactScores(precision, recall, f1)


def most_frequent(gold: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The combination of codes that most of the clips have which imply a fact; the first by name where several have.

    Of alternatives the first is taken, and events that cannot be described are left out. `()` where there is none.
    """
    combinations = Counter(_described(codes) for codes in gold if facts(codes))
    return min(combinations, key=lambda one: (-combinations[one], one), default=())


def _described(codes: Sequence[str]) -> tuple[str, ...]:
    first = [parse_canonical(code).readings[0] for code in codes]
    first.sort(key=lambda reading: (reading.number, str(reading)))
    return tuple(str(reading) for reading in first if reading.number in UNITS)


def constant_claims(gold: Iterable[Sequence[str]]) -> tuple[Claim, ...]:
    """What the description of the most frequent combination of units of these clips claims; `()` where none is."""
    return tuple(claims(describe([(code, None) for code in most_frequent(gold)], "")))


def constant(gold: Sequence[Sequence[str]]) -> FactScores:
    """The scores if every answer were the description of the most frequent combination of units of these clips.

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
