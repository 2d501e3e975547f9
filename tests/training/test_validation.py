"""Scores of a validation, against scikit-learn's, and what is said about trainings that learnt nothing."""

from __future__ import annotations

import re

import pytest
from sklearn.metrics import f1_score

from mellm_plugin.training.validation import Decided, faults

LABELS = ("anger", "happiness", "surprise")
GOLD = ["anger"] * 5 + ["happiness"] * 3 + ["surprise"] * 2
SAID = ["anger"] * 4 + ["surprise"] + ["happiness"] * 2 + ["anger"] + ["surprise"] * 2


def test_scores_are_those_of_scikit_learn() -> None:
    done = Decided(
        labels=[(gold, said, LABELS) for gold, said in zip(GOLD, SAID, strict=True)],
        units=[([(4,)], (4,)), ([(4,), (12,)], (12,)), ([(12,)], (4, 12)), ([(4,)], None)],
        unit=[(True, True), (True, False), (False, True), (False, False)],
    )
    found = done.scores()
    assert found["label_uf1"] == pytest.approx(f1_score(GOLD, SAID, average="macro"))
    assert found["majority"] == pytest.approx(f1_score(GOLD, ["anger"] * 10, average="macro", zero_division=0))
    there, said = [[1, 0], [1, 1], [0, 1], [1, 0]], [[1, 0], [0, 1], [1, 1], [0, 0]]
    assert found["au_f1"] == pytest.approx(f1_score(there, said, average="macro"))
    assert found["unit_f1"] == pytest.approx(f1_score([1, 1, 0, 0], [1, 0, 1, 0]))
    assert found["score"] == pytest.approx((found["label_uf1"] + found["au_f1"] + found["unit_f1"]) / 3)
    assert not faults(found) and not Decided().scores()


def test_units_that_no_clip_shows_have_no_score() -> None:
    still = Decided(
        labels=[(gold, gold, LABELS) for gold in GOLD],
        units=[([], ()), ([], None), ([(6, 12)], (4,))],  # alternatives are not certain
        unit=[(False, False), (False, True)],
    )
    found = still.scores()
    assert "au_f1" not in found and "unit_f1" not in found and found["score"] == found["label_uf1"] == 1
    assert found["no_units"] == 0  # of the clip with units
    assert "no_units" not in Decided(units=[([], ()), ([], None)]).scores()


@pytest.mark.parametrize(
    ("said", "written", "units", "fault"),
    [
        (["anger"] * 10, [], [], "100% of the validation clips get the same label"),
        (["happiness"] * 4 + ["surprise"] * 6, [], [], r"UF1 on the validation people is \.?0?.*most frequent label"),
        (SAID, [True, False], [], "50% of the written labels are not in the set"),
        (SAID, [], [([(4,)], ())], "100% of the answers name no unit"),
    ],
)
def test_degenerate_trainings_are_said(said: list[str], written: list[bool], units: list[object], fault: str) -> None:
    labels = [(gold, one, LABELS) for gold, one in zip(GOLD, said, strict=True)]
    (found,) = faults(Decided(labels, units, [], written).scores())  # type: ignore[arg-type]
    assert re.search(fault, found)
