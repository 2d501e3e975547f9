"""Facts of a description: what units imply, which claims are right, and which the flow contradicts."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.datasets import synthme
from mellm_plugin.errors import CodeError
from mellm_plugin.facs.units import UNITS
from mellm_plugin.language.claims import Claim, claims
from mellm_plugin.language.descriptions import describe
from mellm_plugin.motion.facial import facial_flow
from mellm_plugin.motion.regions import RegionMotion, region_motions
from mellm_plugin.scoring.facts import (
    Way,
    check,
    compared,
    constant,
    contradicts,
    facts,
    most_frequent,
    movements,
    score,
    undecided,
)


def test_what_units_imply() -> None:
    (fact,) = facts(["L12C"])
    assert fact.ways == (Way("mouth corners", "right", "up and outwards"),), "the subject's left is the image's right"
    assert [fact.ways[0].motion for fact in facts(["24", "25", "27"])] == ["together", "apart", "down"]
    (either,) = facts(["R6/12"])
    assert {(way.region, way.side) for way in either.ways} == {("cheeks", "left"), ("mouth corners", None)}
    for code in ("45", "21", "31", "M57", "63", "6/45", "99"):
        assert facts([code]) == (), "without a direction nothing is implied"
    with pytest.raises(CodeError) as error:
        facts(["12", "x", "?"])
    assert len(error.value.faults) == 2


CLAIMS = {
    "1": {"the brows move up": True, "the cheeks rise": False},
    "2": {"the brows move up": True, "the inner brows move up": False},
    "4": {"the brows move up": False, "the brows are lowered": True, "the inner brows move inwards": True},
    "12": {
        "the mouth corners move outwards": True,
        "the mouth corners move down": False,
        "the left mouth corner rises": True,
        "the left mouth corner moves up-left": True,
    },
    "14": {"the left mouth corner moves right": True, "the left mouth corner moves left": False},
    "20": {"the mouth corners move up": False, "the mouth corners move left": False},
    "L12": {
        "the mouth corners rise": True,
        "the left mouth corner rises": True,  # whose left it is, it does not say
        "the mouth corner on the image's left rises": False,
        "his left mouth corner rises": True,
    },
    "R12": {
        "the left mouth corner rises": True,
        "the mouth corner on the image's left rises": True,
        "his left mouth corner rises": False,
    },
    "L20": {"the left mouth corner moves left": True, "the left mouth corner moves right": False},
    "R20": {"the mouth corners move left": True},
    "25": {"the lips part": True, "the lips are pressed together": False, "the lower lip moves down": True},
    "26": {"the jaw drops": True},
    "27": {"the chin drops": True},
    "6/12": {"the cheeks are raised": True, "the mouth corners rise": True},
    "45": {"the upper lids close": None},
    "45 5": {"the upper lids close": None, "the upper lids rise": True},
    "5": {"the upper lids close": False},
    "45/12": {"the lip corners rise up and outward": None, "the lip corners drop": False, "the brows rise": False},
    "L45": {"the upper lid on the image's left closes": False},
    "R45": {"the upper lid on the image's left closes": None},
    "": {"the cheeks rise": False},
}


@pytest.mark.parametrize("codes", CLAIMS)
def test_claims_against_units(codes: str) -> None:
    for text, expected in CLAIMS[codes].items():
        assert check(claims(text), facts(codes.split()), undecided(codes.split())).right == (expected,), text


SHOWN = [f"{side}{number}" for number, unit in UNITS.items() if unit.motion for side in ("", "L", "R")]


@given(st.lists(st.sampled_from(SHOWN), unique_by=lambda code: int(code.lstrip("LR")), max_size=6))
def test_the_description_of_the_units_has_all_facts_and_no_other(codes: list[str]) -> None:
    checked = check(claims(describe([(code, None) for code in codes], "fear")), facts(codes))
    assert all(checked.right) and all(checked.found)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("The lip corners rise. The mouth corners move outwards. The lip corners are pulled up and outwards.", 1),
        ("The lip corners move up and outwards; the mouth corners rise.", 1),
        ("The lip corners rise. The left lip corner rises. The left lip corner moves up and to the left.", 1),
        ("The mouth corner on the image's left moves up-left; the lip corners move up and outwards.", 1),
        ("The mouth corner on the image's left moves up-right; the lip corners move up and outwards.", 2),
        ("The left lip corner rises, the right lip corner rises.", 2),
        ("The lip corners rise. The lip corners are pulled down.", 2),
        ("The inner brows rise. The outer brows rise.", 2),
        ("The cheeks drop. The lip corners rise. The mouth corners move outwards. They go up and outwards.", 2),
    ],
)
def test_movements_are_counted_not_mentions(text: str, kept: int) -> None:
    said = claims(text)
    assert len(movements(said)) == kept
    assert len(movements(said[::-1])) == kept
    assert compared(said, ["12"], ())["claims"] == kept


def test_a_fact_may_be_found_by_what_is_said_less_exactly() -> None:
    item = compared(claims("The lip corners move up and inwards. The lip corners rise."), ["12"], ())
    assert (item["claims"], item["right"], item["found"]) == (1, 0, 1)
    item = compared(claims("The upper eyelids close (blink). The lip corners rise."), ["45", "12"], ())
    assert (item["claims"], item["right"], item["facts"], item["found"]) == (1, 1, 1, 1), "a blink is not counted"
    assert [one["right"] for one in item["said"]] == [None, True]


def seen(*moves: tuple[str, str | None, float, float], visible: bool = True) -> list[RegionMotion]:
    return [RegionMotion(region, side, dx, dy, 0.01, visible) for region, side, dx, dy in moves]


CORNERS_UP = seen(("mouth corners", "left", -0.7, -0.7), ("mouth corners", "right", 0.7, -0.7))


@pytest.mark.parametrize(
    ("claim", "motions", "expected"),
    [
        (("mouth corners", None, "up"), CORNERS_UP, False),
        (("mouth corners", None, "outwards"), CORNERS_UP, False),
        (("mouth corners", None, "down"), CORNERS_UP, True),
        (("mouth corners", None, "inwards"), CORNERS_UP, True),
        (("mouth corners", None, "left"), CORNERS_UP, False),  # the left one does
        (("mouth corners", "right", "left"), CORNERS_UP, True),
        (("mouth corners", None, "down"), [], None),
        (("mouth corners", None, "down"), seen(("mouth corners", "left", 0, -1), visible=False), None),
        (("cheeks", None, "down"), CORNERS_UP, None),
        (("chin", None, "inwards"), seen(("chin", None, 0, -1)), None),
        (("chin", None, "down"), seen(("chin", None, 0, -1)), True),
        (("chin", "left", "up"), seen(("chin", None, 0, -1)), False),
        (("brows", None, "up"), seen(("brows", "left", 0, 1), ("outer brows", "left", 0, -1)), False),
        (("inner brows", None, "up"), seen(("inner brows", "left", 0, 1), ("outer brows", "left", 0, -1)), True),
        (("lips", None, "apart"), seen(("upper lip", None, 0, -0.2), ("lower lip", None, 0, 0.4)), False),
        (("lips", None, "together"), seen(("upper lip", None, 0, -0.2), ("lower lip", None, 0, 0.4)), True),
        (("lips", None, "apart"), seen(("upper lip", None, 0, 0.8), ("lower lip", None, 0, 0.4)), True),
        (("lips", None, "apart"), seen(("upper lip", None, 0, 0.8), ("lower lip", None, 0, 0.85)), None),
        (("lips", None, "apart"), seen(("upper lip", None, 0, 0.8)), None),
    ],
)
def test_claims_against_the_flow(claim: tuple[str, str | None, str], motions: Any, expected: bool | None) -> None:
    assert contradicts(Claim(*claim, text=""), motions) is expected


def test_a_bare_side_is_decided_by_the_flow_where_both_sides_agree() -> None:
    one_up = seen(("mouth corners", "left", -0.7, -0.7), ("mouth corners", "right", 0.7, 0.7))
    for text, expected in {
        "The left mouth corner rises.": None,
        "The mouth corner on the image's left rises.": False,
        "His left mouth corner rises.": True,
    }.items():
        assert contradicts(claims(text)[0], one_up) is expected, text
    assert contradicts(claims("The left mouth corner rises.")[0], CORNERS_UP) is False
    assert contradicts(claims("The left mouth corner drops.")[0], CORNERS_UP) is True
    assert contradicts(claims("The left mouth corner moves left.")[0], CORNERS_UP) is False


def test_measured_clips_contradict_what_is_turned_round() -> None:
    said = {"12": ("The mouth corners rise.", "The mouth corners drop."), "25": ("The lips part.", "The lips press.")}
    said |= {"4": ("The brows are lowered.", "The brows are raised."), "17": ("The chin rises.", "The chin drops.")}
    for code, (true, false) in said.items():
        clip = synthme.draw_clip(synthme.Face(3), np.random.default_rng(1), (code,), 1.2)
        onset, apex = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (clip.onset, clip.apex))
        motions = region_motions(facial_flow(onset, apex), clip.nose)
        assert [contradicts(one, motions) for text in (true, false) for one in claims(text)] == [False, True], code


def test_scores_of_sums() -> None:
    found = score(right=3, claimed=4, found=2, implied=4)
    assert (found.precision, found.recall, found.f1) == (0.75, 0.5, pytest.approx(0.6))
    assert score(0, 0, 0, 4).f1 == 0 and score(0, 0, 0, 4).precision is None
    assert score(0, 3, 0, 0).f1 is None and score(0, 3, 0, 0).recall is None
    assert score(0, 3, 0, 4).f1 == 0


def test_the_constant_answer_describes_the_most_frequent_combination() -> None:
    gold = [["12", "6"], ["6", "12"], ["4"], [], [], [], ["45"]]
    assert most_frequent(gold) == ("6", "12")
    found = constant(gold)
    # two claims for each of seven clips, of which four are right; five facts, of which four are found
    assert (found.precision, found.recall) == (pytest.approx(4 / 14), pytest.approx(4 / 5))
    assert most_frequent([[], ["45"]]) == () and constant([[], ["45"]]).f1 is None
    assert most_frequent([["6/12"]]) == ("6",) and constant([["6/12"]]).f1 == 1


def test_what_is_not_known_is_none() -> None:
    said = claims("The brows rise and the lips part.")
    found = compared(said, None, ())
    assert (found["claims"], found["right"], found["facts"], found["implied"]) == (2, None, None, None)
    assert found["decided"] == found["contradicting"] == 0
    assert [(one["right"], one["contradicts"]) for one in found["said"]] == [(None, None)] * 2
    known = compared(said, ["1", "26"], seen(("upper lip", None, 0, -1), ("lower lip", None, 0, 1)))
    assert (known["claims"], known["right"], known["facts"], known["found"], known["decided"]) == (2, 1, 2, 1, 1)
    assert known["implied"][0] == {"ways": [{"region": "inner brows", "side": None, "motion": "up"}], "found": True}
