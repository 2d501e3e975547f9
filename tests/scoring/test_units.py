"""Scores of action units: hand-computed cases, agreement with scikit-learn, alternatives, baselines."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("event", "read", "counts"),
    [
        ((6, 12), {6}, {6: (2, 0, 0), 12: (1, 0, 0)}),  # named one alternative: right, the other does not count
        ((6, 12), {12}, {6: (1, 0, 0), 12: (2, 0, 0)}),
        ((6, 12), {6, 12}, {6: (2, 0, 0), 12: (2, 0, 0)}),  # named both: not worse off
        ((6, 12), set(), {6: (1, 0, 1), 12: (1, 0, 0)}),  # named none: one miss
        ((14, 12), set(), {6: (1, 0, 0), 12: (1, 0, 1)}),  # 14 is not scored, so the miss is of 12
        ((14, 12), {14}, {6: (1, 0, 0), 12: (1, 0, 0)}),  # right by an alternative that is not scored
        ((14, 15), set(), {6: (1, 0, 0), 12: (1, 0, 0)}),
    ],
)
def test_alternatives(event: tuple[int, ...], read: set[int], counts: dict[int, tuple[int, int, int]]) -> None:
    certain: list[tuple[int, ...]] = [(6,), (12,)]
    scores = score([certain, [event]], [{6, 12}, read], (6, 12))
    assert scores.counts == counts and scores.left_out == ()


@pytest.mark.parametrize(
    ("events", "read", "exact"),
    [
        ([(1,), (2,)], {1, 2}, True),
        ([(1,), (2,)], {1}, False),
        ([(1,)], {1, 2}, False),
        ([(1,)], {1, 45}, True),  # 45 is not in the set
        ([(1,), (45,)], {1}, True),
        ([(6, 12)], {12}, True),
        ([(6, 12)], {6, 12}, True),
        ([(6, 12)], set(), False),
        ([(12, 45)], set(), False),
        ([(12, 45)], {45}, True),
        ([(6, 12), (12,)], {12}, True),
        ([(6, 12), (12,)], {6}, False),
        ([], set(), True),
        ([], {17}, False),  # 17 is in the set, though no clip has it
        ([], None, False),  # right by chance alone: it could not be read
    ],
)
def test_exact(events: list[tuple[int, ...]], read: set[int] | None, exact: bool) -> None:
    scores = score([events, None], [read, {1}], (1, 2, 6, 12, 17))
    assert scores.exact == float(exact)


def test_the_table_shows_each_unit_beside_always_naming_it() -> None:
    gold: list[list[tuple[int, ...]] | None] = [[(1,), (12,)], [(1,)], [], None]
    shown = in_words(score(gold, [{1}, {4}, {1}, None], (1, 4, 12)), constant(gold, (1, 4, 12), present=True))
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["1", "2", ".50", ".50", ".50", ".80"],
        ["12", "1", "–", ".00", ".00", ".50"],
    ]


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


@pytest.mark.parametrize(
    ("codes", "sides"),
    [
        (["L12", "R14C", "4"], {(12,): "L", (14,): "R"}),
        (["L12", "R12"], {}),  # on both sides
        (["L12", "12"], {}),
        (["L12", "L12C"], {(12,): "L"}),
        (["R6/12"], {}),  # of 12 no side is said
        (["L6/L12"], {(6, 12): "L"}),
        (["L6/L12", "L12"], {}),
        (["L12/R12"], {}),
        (["A12", "B4", "T25", "A-L14"], {}),
        ([], {}),
    ],
)
def test_events_on_one_side_alone(codes: list[str], sides: dict[tuple[int, ...], str]) -> None:
    assert one_sided(codes) == sides


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


@settings(max_examples=40)
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
