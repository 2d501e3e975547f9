"""Answers to the questions of the challenge: yes or no, left or right, and lists of units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.facs.units import OTHER_NAMES, UNITS
from mellm_plugin.language.vqa_answers import read_shown, read_side, read_units, vqa_reading


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        *(
            ("Yes", True),
            ("no.", False),
            ("**Yes**, it is.", True),
            ("Answer: no", False),
            ("Final answer - yes", True),
        ),
        *(("The brow lowerer is shown on the face.", True), ("Only the cheek raiser moves.", False)),
        *(("Conclusion: action units AU4+AU7; expression: disgust.", True), ("action units AU1+AU2", False)),
        *(("The brow lowerer is not visible.", False), ("It is absent.", False), ("action units none", False)),
        ("<think>no, wait</think>Yes", True),
        *(("是", True), ("否。", False), ("不是这样", False)),
        *(("", None), ("Perhaps.", None), ("I would say yes", True), ("either yes, or no", None)),
    ],
)
def test_yes_and_no(answer: str, shown: bool | None) -> None:
    assert read_shown(answer, 4) is shown


@pytest.mark.parametrize(
    ("answer", "side"),
    [
        *(
            ("left", "left"),
            ("The right side of the face.", "right"),
            ("Answer: Left.", "left"),
            ("both sides", "both"),
        ),
        *(("On the left, not on the right.", "left"), ("bilateral", "both"), ("left or right", None), ("", None)),
        ("<think>right?</think>left", "left"),
    ],
)
def test_sides(answer: str, side: str | None) -> None:
    assert read_side(answer) == side


@pytest.mark.parametrize(
    ("answer", "units"),
    [
        *(("brow lowerer, upper lip raiser", [4, 10]), ("AU4+AU7", [4, 7]), ("4, 7", [4, 7]), ("12", [12])),
        *(("eye closure, nostril dilater, nostril compress", [38, 39, 43]), ("tilt right, eyes left", [56, 61])),
        *(("neck tightener, jaw clencher", [21, 31]), ("none of that", None), ("", None)),
        ("Conclusion: action units none; expression: others.", []),
    ],
)
def test_lists_of_units(answer: str, units: list[int] | None) -> None:
    assert read_units(answer) == units


NAMES = {unit.name: unit.number for unit in UNITS.values()} | OTHER_NAMES


@given(st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=5), st.sampled_from([str.lower, str.capitalize]))
def test_every_name_of_a_unit_is_read_in_a_list(names: list[str], case: object) -> None:
    assert callable(case)
    assert read_units(", ".join(map(case, names))) == sorted({NAMES[name] for name in names})


def test_what_is_read_depends_on_the_kind_of_question() -> None:
    labels = ("negative", "positive"), ("disgust", "happiness")
    answer = "Yes: negative, disgust, brow lowerer, on the left"
    assert vqa_reading(answer, "coarse", *labels) == {"coarse": "negative"}
    assert vqa_reading(answer, "unit", *labels, unit=4) == {"shown": True}
    assert vqa_reading(answer, "side", *labels) == {"side": "left"}
    assert vqa_reading(answer, "other", *labels) == {}
    assert vqa_reading("", "combined", *labels) == {"coarse": None, "fine": None, "units": None}
