"""Facts of a description: what units imply, which claims are right, and which the flow contradicts."""

from __future__ import annotations

import json
from pathlib import Path
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
    assert fact == (Way("mouth corners", "right", "up and outwards"),), "the subject's left is the image's right"
    assert [fact[0].motion for fact in facts(["24", "25", "27"])] == ["together", "apart", "down"]
    (either,) = facts(["R6/12"])
    assert {(way.region, way.side) for way in either} == {("cheeks", "left"), ("mouth corners", None)}
    for code in ("45", "21", "31", "M57", "63", "6/45", "99"):
        assert facts([code]) == [], "without a direction nothing is implied"
    with pytest.raises(CodeError) as error:
        facts(["12", "x", "?"])
    assert len(error.value.faults) == 2


GOLDEN = Path(__file__).parents[1] / "golden" / "facts.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


def cases(kind: str) -> Any:
    """The cases of a kind, each under its text or claim."""
    kept = [case for case in CASES if case["kind"] == kind]
    return pytest.mark.parametrize("case", kept, ids=[str(case.get("text") or case["claim"]) for case in kept])


@cases("units")
def test_claims_against_units(case: dict[str, Any]) -> None:
    codes = case["codes"]
    assert check(claims(case["text"]), facts(codes), undecided(codes))[0] == [case["right"]]


@cases("movements")
def test_movements_are_counted_not_mentions(case: dict[str, Any]) -> None:
    said = claims(case["text"])
    assert len(movements(said)) == len(movements(said[::-1])) == case["kept"]
    assert compared(said, ["12"], ())["claims"] == case["kept"]


@cases("flow")
def test_claims_against_the_flow(case: dict[str, Any]) -> None:
    motions = [RegionMotion(*place, 0.01, visible) for *place, visible in case["motions"]]
    assert contradicts(Claim(*case["claim"], text=""), motions) is case["contradicts"]


SHOWN = [f"{side}{number}" for number, unit in UNITS.items() if unit.motion for side in ("", "L", "R")]


@given(st.lists(st.sampled_from(SHOWN), unique_by=lambda code: int(code.lstrip("LR")), max_size=6))
def test_the_description_of_the_units_has_all_facts_and_no_other(codes: list[str]) -> None:
    right, found = check(claims(describe([(code, None) for code in codes], "fear")), facts(codes))
    assert all(right) and all(found)


def seen(*moves: tuple[str, str | None, float, float], visible: bool = True) -> list[RegionMotion]:
    return [RegionMotion(region, side, dx, dy, 0.01, visible) for region, side, dx, dy in moves]


CORNERS_UP = seen(("mouth corners", "left", -0.7, -0.7), ("mouth corners", "right", 0.7, -0.7))


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


def test_what_is_neither_right_nor_wrong_is_not_counted() -> None:
    item = compared(claims("The upper eyelids close (blink). The lip corners rise."), ["45", "12"], ())
    assert (item["claims"], item["right"], item["facts"], item["found"]) == (1, 1, 1, 1)
    assert [one["right"] for one in item["said"]] == [None, True]
    less = compared(claims("The lip corners move up and inwards. The lip corners rise."), ["12"], ())
    assert (less["claims"], less["right"], less["found"]) == (1, 0, 1), (
        "a fact may be found by what is said less exactly"
    )


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
