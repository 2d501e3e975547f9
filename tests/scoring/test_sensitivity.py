"""The psychometric curve: observers with known curves are recovered, those that do not see have no threshold."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import ndtr

from mellm_plugin.errors import InputError
from mellm_plugin.scoring.intervals import bootstrap, compare
from mellm_plugin.scoring.sensitivity import counts, curve, fit, in_words, seen, trend
from mellm_plugin.scoring.summary import comparison, interval

LEVELS = (0.0, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.0, 3.0)
UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 24, 25, 26)
Items = list[dict[str, Any]]


def clips(answer: Callable[[int, int, float], tuple[bool | None, int | None]], faces: int = 44) -> Items:
    """Items of the ladder; `answer` of face, unit and level says whether the unit is named, and how many others."""
    items = []
    for n in range(16 * faces):
        who, unit, level = n // 16, UNITS[n % 16], LEVELS[n % 11]
        named, others = answer(who, unit, level)
        clip = {"id": f"ladder/l{who:02d}/au{unit}_{level:g}px", "subject": f"l{who:02d}"}
        seen_of = {"unit": unit, "level_px": level, "named": named, "others": others, "other_units": 15}
        items.append({**clip, **seen_of})
    return items


def observer(
    seed: int,
    px: float,
    chance: float = 0.05,
    lapses: float = 0.1,
    width: float = 0.5,
    faces: int = 44,
    apart: float = 0.0,
) -> Items:
    """Names a unit as the curve says; `apart` is by how much the faces' thresholds differ, in ln px."""
    rng = np.random.default_rng(seed)
    of_face = rng.normal(0, apart, faces)

    def answer(who: int, unit: int, level: float) -> tuple[bool, int]:
        rise = ndtr((math.log(level / px) - of_face[who]) / width) if level else 0.0
        return bool(rng.random() < chance + (1 - lapses - chance) * rise), int(rng.binomial(15, chance))

    return clips(answer, faces)


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """A tenth of the resamples, each of which is fitted."""
    with pytest.MonkeyPatch.context() as patch:
        for function in (bootstrap, compare):
            patch.setitem(function.__kwdefaults__, "resamples", 1000)
        yield


# ---- known curves ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("px", "chance"), [(0.2, 0.05), (0.5, 0.0), (0.5, 0.2), (1.0, 0.05)])
def test_a_known_threshold_is_found(px: float, chance: float) -> None:
    many = [bootstrap(counts(seen(observer(seed, px, chance))), resamples=1).intervals for seed in range(1, 6)]
    assert np.mean([one["threshold_px"].value for one in many]) == pytest.approx(px, rel=0.12)
    assert np.mean([one["sensitivity_ceiling"].value for one in many]) == pytest.approx(0.9, abs=0.04)
    one = curve(observer(0, px, chance))
    assert one["false_alarms"] == pytest.approx(chance, abs=0.03)
    assert one["low"] < one["threshold_px"] < one["high"] and one["note"] is None
    drawn = np.array(one["curve"])
    half = (one["false_alarms"] + one["ceiling"]) / 2
    assert np.interp(half, drawn[:, 1], drawn[:, 0]) == pytest.approx(one["threshold_px"], rel=0.05)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    # Faces that differ by .3 in ln px: the curve over all of them is wider, with the same middle.
    held = 0
    for seed in range(60):
        of = seen(observer(seed, 0.4, apart=0.3))
        found = bootstrap(counts(of), resamples=300).intervals["threshold_px"]
        assert found.low is not None and found.high is not None
        held += found.low <= 0.4 <= found.high
    assert 52 <= held < 60


def test_the_fits_are_those_of_a_general_optimiser() -> None:
    rng, levels = np.random.default_rng(5), np.array(LEVELS[1:])
    known = [(0.2, 0.3, 0.95), (0.6, 0.8, 0.8), (1.2, 0.5, 1.0)]
    shares = [0.04 + (ceiling - 0.04) * ndtr(np.log(levels / px) / width) for px, width, ceiling in known]
    many = np.array([rng.binomial(64, p) for p in shares], float)
    ours = zip(*vars(fit(levels, many, np.full((3, 10), 64.0), np.full(3, 0.04))).values(), strict=True)
    for hits, (_, high, at, wide) in zip(many, ours, strict=True):

        def loss(at: np.ndarray, hits: np.ndarray = hits) -> float:
            named = (0.04 + (at[2] - 0.04) * ndtr((np.log(levels) - at[0]) / at[1])).clip(1e-12, 1 - 1e-12)
            return -float((hits * np.log(named) + (64 - hits) * np.log1p(-named)).sum())

        bounds = [(math.log(0.1 / 3), math.log(3)), (0.1, 1.5), (0.04, 1.0)]
        starts = [(math.log(m), w, 0.9) for m in (0.15, 0.4, 1.0) for w in (0.2, 0.6)]
        tried = [minimize(loss, start, bounds=bounds, method="L-BFGS-B") for start in starts]
        best = min(tried, key=lambda one: one.fun)
        assert loss(np.array([math.log(at), wide, high])) <= best.fun + 1e-2
        assert at == pytest.approx(math.exp(best.x[0]), rel=0.01)


# ---- no threshold ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "rate"),
    [
        (lambda who, unit, level: (True, 15), 1.0),
        (lambda who, unit, level: (False, 0), 0.0),
        (lambda who, unit, level: (unit in (4, 12), 2 - (unit in (4, 12))), 0.125),
        (lambda who, unit, level: (unit in (4, 12) if who % 2 else False, 1), None),
        (lambda who, unit, level: (None, None), 0.0),
    ],
    ids=["all present", "all absent", "constant", "by face", "unread"],
)
def test_who_does_not_look_has_no_threshold(answer: Any, rate: float | None) -> None:
    found = curve(clips(answer))
    assert found["threshold_px"] is found["low"] is found["high"] is found["curve"] is None
    assert "not named more often" in found["note"]
    if rate is not None:
        assert found["ceiling"] == pytest.approx(rate) and found["false_alarms"] == pytest.approx(rate)


def test_random_answers_seldom_have_a_threshold() -> None:
    blind = [seen(observer(seed, 1.0, chance=0.2, lapses=0.8)).blind for seed in range(300)]
    assert sum(why is None for why in blind) <= 9, "about one in a hundred"


def test_the_trend_is_of_each_unit_alone() -> None:
    # Units named by nature more often stand at higher levels: without strata that would be a trend.
    units, levels = [4] * 20 + [9] * 20, [0.1, 0.2] * 10 + [1.0, 2.0] * 10
    named = [n % 4 < 1 for n in range(20)] + [n % 4 < 3 for n in range(20)]
    assert trend(units, levels, named) > 0.1 > trend([4] * 40, levels, named)
    assert trend([4], [0.1], [True]) == trend([], [], []) == 1.0


def test_a_threshold_beyond_the_ladder_is_bounded_and_said_so() -> None:
    first = curve(clips(lambda who, unit, level: (level > 0, 0)))
    assert first["threshold_px"] == first["low"] == 0.1 and first["note"].startswith("at most 0.1 px")
    assert first["ceiling"] == pytest.approx(1, abs=0.01) and first["false_alarms"] == 0
    rng = random.Random(1)
    last = curve(clips(lambda who, unit, level: (level == 3 and rng.random() < 0.3, 0)))
    assert last["threshold_px"] == last["high"] == 3 and last["note"].startswith("at least 3 px")
    # sees that something moves, and names everything
    found = curve(clips(lambda who, unit, level: (level > 0.3, 15 if level > 0.3 else 0)))
    assert found["threshold_px"] == pytest.approx(0.37, abs=0.08)
    assert found["others"] == [0.0] * 4 + [1.0] * 6


def test_too_few_clips_are_told() -> None:
    items = observer(1, 0.3)
    assert "no clip of level 0" in curve([item for item in items if item["level_px"]])["note"]
    assert "clips of 2 levels" in curve([item for item in items if item["level_px"] in (0, 0.1, 3)])["note"]
    one = curve(items[:1])
    assert one["threshold_px"] is one["ceiling"] is None and one["levels_px"] == []
    one_face = curve([{**item, "subject": "l00"} for item in items])
    assert one_face["threshold_px"] is not None and one_face["low"] is None


def test_unread_answers_name_nothing_and_are_counted() -> None:
    items = observer(1, 0.3)
    assert curve(random.Random(0).sample(items, len(items))) == curve(items), "in any order"
    assert len(in_words(items).splitlines()) == 1 + len(LEVELS)
    unread = [{**item, "named": None, "others": None} if n % 2 else item for n, item in enumerate(items)]
    found = curve(unread)
    assert found["unread"] == len(items) // 2
    assert found["ceiling"] == pytest.approx(curve(items)["ceiling"] / 2, abs=0.08)
    assert found["threshold_px"] is not None


# ---- order, comparison, range ---------------------------------------------------------------------------------------


def test_two_runs_are_compared_on_the_same_faces() -> None:
    near, far, blind = observer(1, 0.3), observer(2, 0.8), clips(lambda who, unit, level: (False, 0))
    found = compare(counts(seen(near)), counts(seen(far)), "threshold_px", resamples=500)
    assert found.difference == pytest.approx(curve(far)["threshold_px"] - curve(near)["threshold_px"])
    assert found.low is not None and found.low > 0 and found.p is not None and found.p < 0.01
    same = compare(counts(seen(near)), counts(seen(observer(3, 0.3))), "threshold_px", resamples=500)
    assert same.p is not None and same.p > 0.01
    assert comparison("threshold_px", near, blind).difference is None
    assert interval("sensitivity_ceiling", near).value == pytest.approx(curve(near)["ceiling"])
    with pytest.raises(InputError, match="are in the first run alone"):
        comparison("threshold_px", near, far[16:])


@pytest.mark.parametrize(
    ("other", "px"), [({}, 0.34), ({}, 0.3), ({"lapses": 0.5}, 0.3), ({"chance": 0.2}, 0.3), ({"lapses": 0.3}, 0.6)]
)
def test_the_first_order_tells_what_fitting_every_exchange_anew_tells(other: dict[str, float], px: float) -> None:
    first, second = counts(seen(observer(1, 0.3))), counts(seen(observer(2, px, **other)))
    moved = np.random.default_rng(0).integers(0, 2, (400, len(first.subjects))) @ (second.cells - first.cells)
    ours, theirs = first.scores(first.cells.sum(0) + moved), second.scores(second.cells.sum(0) - moved)
    found = compare(first, second, "threshold_px", resamples=400)
    assert found.difference is not None and found.p is not None
    exchanged = np.abs(theirs["threshold_px"] - ours["threshold_px"])
    assert found.p == pytest.approx((exchanged >= abs(found.difference)).mean(), abs=0.15)


answers = st.tuples(st.none() | st.booleans(), st.none() | st.integers(0, 15))


@settings(max_examples=25)
@given(st.lists(st.tuples(answers, st.sampled_from(LEVELS), st.integers(0, 5), st.sampled_from(UNITS)), min_size=1))
def test_everything_stays_in_range(rows: list[Any]) -> None:
    items = [
        {"id": f"ladder/l{who}/{n}", "subject": f"l{who}", "unit": unit, "level_px": level}
        | {"named": named, "others": others, "other_units": 15}
        for n, ((named, others), level, who, unit) in enumerate(rows)
    ]
    of = seen(items)
    found = bootstrap(counts(of), resamples=50).intervals
    for name, least, most in (("threshold_px", 0.1, 3.0), ("sensitivity_ceiling", 0, 1), ("false_alarm_rate", 0, 1)):
        for value in (found[name].value, found[name].low, found[name].high):
            assert value is None or least - 1e-9 <= value <= most + 1e-9, name
    assert (found["threshold_px"].value is None) == (of.blind is not None)
