"""Scores of action units: hand-computed cases, agreement with scikit-learn, alternatives, baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from mellm_plugin.errors import InputError
from mellm_plugin.scoring.units import constant, in_words, one_sided, score, score_sides

UNITS = (1, 2, 4, 6, 7, 12)


def test_by_hand() -> None:
    gold = [[(1,), (2,)], [(1,)], [(4,)], [], None]
    read = [{1, 2}, {2}, None, {4, 12}, {1}]
    scores = score(gold, read, UNITS)
    # 1: hit, miss; 2: hit, false alarm; 4: false alarm, miss (not readable)
    assert scores.counts == {1: (1, 0, 1), 2: (1, 1, 0), 4: (0, 1, 1)}
    assert scores.f1 == {1: 2 / 3, 2: 2 / 3, 4: 0.0}
    assert scores.mean == pytest.approx(4 / 9)
    assert scores.micro == pytest.approx(4 / 8)
    assert scores.left_out == (6, 7, 12)
    assert (scores.clips, scores.without_gold, scores.unparsed) == (4, 1, 1)


def test_the_table_shows_each_unit_beside_always_naming_it() -> None:
    gold: list[list[tuple[int, ...]] | None] = [[(1,), (12,)], [(1,)], [], None]
    shown = in_words(score(gold, [{1}, {4}, {1}, None], (1, 4, 12)), constant(gold, (1, 4, 12), present=True))
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["1", "2", ".50", ".50", ".50", ".80"],
        ["12", "1", "–", ".00", ".00", ".50"],
    ]


GOLDEN = Path(__file__).parents[1] / "golden" / "unit_events.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_events_with_alternatives_and_sides(case: dict[str, Any]) -> None:
    if case["kind"] == "sides":
        assert one_sided(case["codes"]) == {tuple(event): side for event, side in case["sides"]}
        return
    events = [tuple(event) for event in case["events"]]
    read = None if case["read"] is None else {*case["read"]}
    if case["kind"] == "exact":
        assert score([events, None], [read, {1}], (1, 2, 6, 12, 17)).exact == float(case["exact"])
    else:  # beside a clip with both units, so that both are scored
        counts = score([[(6,), (12,)], events], [{6, 12}, read], (6, 12)).counts
        assert counts == {int(unit): tuple(of) for unit, of in case["counts"].items()}


def test_an_alternative_that_the_clip_has_anyway_asks_for_nothing_more() -> None:
    gold: list[list[tuple[int, ...]]] = [[(6, 12), (12,)], [(6,)]]
    hits = {12: {6: (1, 0, 0), 12: (1, 0, 0)}, 6: {6: (2, 0, 0), 12: (0, 0, 1)}, 0: {6: (1, 0, 0), 12: (0, 0, 1)}}
    for named, counts in hits.items():
        assert score(gold, [{named} - {0}, {6}], (6, 12)).counts == counts
    alone = [score([[(6, 12)]], [read], (6, 12)).left_out for read in ({6}, {12}, {6, 12}, None)]
    assert alone == [(6, 12)] * 4, "answers do not decide which units are scored"


def test_no_units_known_is_no_number() -> None:
    scores = score([None, None], [{1}, None], UNITS)
    assert scores.mean is scores.micro is scores.exact is None
    assert scores.clips == 0 and scores.without_gold == 2 and scores.left_out == UNITS
    with pytest.raises(InputError, match="as many answers"):
        score([None], [], UNITS)


def test_baselines() -> None:
    gold = [[(1,), (2,)], [(1,)], [(12,)], [], None]
    present = constant(gold, (1, 2, 12, 17), present=True)
    assert present.f1 == {1: 2 * 2 / (4 + 2), 2: 2 * 1 / (4 + 1), 12: 2 * 1 / (4 + 1)}
    assert present.left_out == (17,)
    absent = constant(gold, (1, 2, 12, 17), present=False)
    assert absent.mean == absent.micro == 0.0


def test_sides_by_hand() -> None:
    gold = [["L12", "R14C"], ["L6/L12"], ["L1", "L45"], None, ["L12"], ["4"]]
    read = [{12: "L", 14: None}, {6: "R", 12: "L"}, {45: "L"}, {12: "L"}, None, {4: "L"}]
    scores = score_sides(gold, read, (1, 4, 6, 12, 14))
    assert scores.coded == (2, 1, 1, 0, 1, 0), "45 is not in the set"
    assert scores.named == (2, 1, 0, 0, 0, 0) and scores.right == (1, 1, 0, 0, 0, 0)
    assert scores.accuracy == pytest.approx(2 / 3) and scores.unsaid == 1
    assert scores.always == (pytest.approx(2 / 3), "left")
    both = score_sides([["L12"]], [{12: "B"}], (12,))
    assert both.accuracy == 0.0 and both.unsaid == 0, "both sides are not the left one"
    nothing = score_sides([["12"], None], [{12: "L"}, None], (12,))
    assert nothing.accuracy is None and nothing.always is None and not any(nothing.coded)
    with pytest.raises(InputError, match="as many answers"):
        score_sides([None], [], (12,))


CLIPS = st.lists(
    st.tuples(
        st.frozensets(st.sampled_from(UNITS)), st.one_of(st.none(), st.frozensets(st.sampled_from((*UNITS, 17, 45))))
    ),
    min_size=1,
)


@settings(max_examples=25)
@given(CLIPS)
def test_agrees_with_scikit_learn(clips: list[tuple[frozenset[int], frozenset[int] | None]]) -> None:
    scores = score([[(u,) for u in gold] for gold, _ in clips], [read for _, read in clips], UNITS)
    gold = np.array([[u in g for u in UNITS] for g, _ in clips], int)
    read = np.array([[u in (r or ()) for u in UNITS] for _, r in clips], int)
    kept = [i for i, u in enumerate(UNITS) if gold[:, i].any()]
    assert list(scores.f1) == [UNITS[i] for i in kept]
    if not kept:
        assert scores.mean is None
        return
    expected = f1_score(gold, read, average=None, zero_division=0)[kept]
    assert list(scores.f1.values()) == pytest.approx(list(expected))
    assert scores.mean == pytest.approx(np.mean(expected))
    assert scores.micro == pytest.approx(f1_score(gold[:, kept].ravel(), read[:, kept].ravel(), zero_division=0))
