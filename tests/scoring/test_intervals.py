"""Intervals: agreement with plain recomputation and with scikit-learn, coverage, comparisons, and what is no number."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy.stats import norm, t
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from mellm_plugin.errors import InputError
from mellm_plugin.scoring import emotion, facts, units
from mellm_plugin.scoring.counts import Counts, fact_counts, label_counts, rate_counts, sum_counts, unit_counts
from mellm_plugin.scoring.intervals import Comparison, Interval, bootstrap, compare, compare_all, holm

LABELS = ("negative", "positive", "surprise")
UNITS = (1, 4, 12, 17)


def clips_of(sizes: list[int]) -> list[tuple[str, str]]:
    """Clips of subjects that have so many each."""
    return [(f"s{subject}/{n}", f"s{subject:03}") for subject, size in enumerate(sizes) for n in range(size)]


def answers(
    seed: int, sizes: list[int], spread: float = 1.0
) -> tuple[list[tuple[str, str]], list[str], list[str | None]]:
    """Clips of subjects that differ in how well they are read: by `spread` in the log odds."""
    rng = np.random.default_rng(seed)
    clips, total = clips_of(sizes), sum(sizes)
    skill = np.repeat(1 / (1 + np.exp(-0.5 - spread * rng.normal(size=len(sizes)))), sizes)
    gold, other = rng.choice(LABELS, total, p=(0.6, 0.25, 0.15)).tolist(), rng.choice(LABELS, total).tolist()
    right, unread = rng.random(total) < skill, rng.random(total) < 0.1
    read = [g if ok else None if none else o for g, o, ok, none in zip(gold, other, right, unread, strict=True)]
    return clips, gold, read


def draws(subjects: int, resamples: int, seed: int) -> list[list[int]]:
    """The subjects of each resample, drawn as the module says: with replacement, as many as there are."""
    rng = np.random.default_rng(seed)
    return [list(row) for row in rng.integers(0, subjects, (resamples, subjects))]


def check_against_scoring_anew(
    counts: Counts,
    clips: list[tuple[str, str]],
    score: Callable[[list[int]], dict[str, float | None]],
    contributing: dict[str, int] | None = None,
) -> float | None:
    """Assert that every interval is that of scoring each resample anew; returns `incomplete`.

    Args:
        score: places of clips, with repetitions -> values by the name of the score.
        contributing: the number of subjects that contribute to a score, if not all do.
    """
    people = sorted({subject for _, subject in clips})
    rows = [[at for at, (_, subject) in enumerate(clips) if subject == one] for one in people]
    found = bootstrap(counts, resamples=60, seed=5)
    anew = [score([at for one in drawn for at in rows[one]]) for drawn in draws(len(people), 60, 5)]
    assert found.subjects == len(people)
    for name, value in score(list(range(len(clips)))).items():
        n = (contributing or {}).get(name, len(people))
        values = [one[name] for one in anew if one[name] is not None]
        tail = norm.cdf(math.sqrt(n / (n - 1)) * t.ppf(0.025, n - 1))
        low, high = np.quantile(values, [tail, 1 - tail])
        one = found.intervals[name]
        wanted = (value, float(np.std(values)) * math.sqrt(n / (n - 1)), low, high)
        assert (one.value, one.stderr, one.low, one.high) == pytest.approx(wanted, abs=1e-12), name
    return found.incomplete


# ---- against what is plain and slow ---------------------------------------------------------------------------------


def test_labels_agree_with_scikit_learn_on_the_very_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    clips, gold, read = answers(3, [4, 9, 1, 7, 12, 3, 5])
    words = ["unparsed" if label is None else label for label in read]

    def score(rows: list[int]) -> dict[str, float | None]:
        g, r = [gold[at] for at in rows], [words[at] for at in rows]
        means = precision_recall_fscore_support(g, r, labels=sorted(set(g)), average="macro", zero_division=0)
        parsed = sum(label != "unparsed" for label in r) / len(r)
        return {"uf1": means[2], "uar": means[1], "acc": accuracy_score(g, r), "parse_rate": parsed}

    counts = label_counts(clips, gold, read, LABELS)
    check_against_scoring_anew(counts, clips, score)
    whole, mixed = bootstrap(counts, resamples=60), random.Random(0).sample([*zip(clips, gold, read, strict=True)], 41)
    assert bootstrap(label_counts(*zip(*mixed, strict=True), LABELS), resamples=60) == whole, "in any order"
    monkeypatch.setattr("mellm_plugin.scoring.intervals._BLOCK", 41 * 7)
    assert bootstrap(counts, resamples=60) == whole, "drawn in blocks of bounded memory"


def test_units_agree_with_scoring_each_resample_anew() -> None:
    rng = random.Random(8)
    clips = clips_of([5, 3, 8, 2, 6])
    gold = [None if rng.random() < 0.1 else [(u,) for u in UNITS if rng.random() < 0.4] for _ in clips]
    read = [None if rng.random() < 0.1 else {u for u in UNITS if rng.random() < 0.5} for _ in clips]
    lacking = []

    def score(rows: list[int]) -> dict[str, float | None]:
        one = units.score([gold[at] for at in rows], [read[at] for at in rows], UNITS)
        lacking.append(bool(one.left_out))
        rate = 1 - one.unparsed / one.clips
        return {"f1": one.mean, "f1_micro": one.micro, "exact": one.exact, "parse_rate": rate}

    incomplete = check_against_scoring_anew(unit_counts(clips, gold, read, UNITS), clips, score)
    assert incomplete == sum(lacking) / 60


def test_facts_agree_with_scoring_each_resample_anew() -> None:
    clips = clips_of([3, 1, 4, 2, 5])
    rng = np.random.default_rng(3)
    claimed, implied = rng.integers(0, 4, len(clips)), rng.integers(0, 4, len(clips))
    right, found = rng.integers(0, claimed + 1), rng.integers(0, implied + 1)
    columns = [list(map(int, column)) for column in (right, claimed, found, implied)]
    subjects = [{clips[at][1] for at, value in enumerate(column) if value} for column in columns]

    def score(rows: list[int]) -> dict[str, float | None]:
        one = facts.score(*(sum(column[at] for at in rows) for column in columns))
        return {"precision": one.precision, "recall": one.recall, "f1": one.f1}

    contributing = {"precision": len(subjects[1]), "recall": len(subjects[3]), "f1": len(subjects[3])}
    check_against_scoring_anew(fact_counts(clips, *columns), clips, score, contributing)


def test_means_ratios_and_scores_of_sums_agree_with_computing_each_resample_anew() -> None:
    rng = random.Random(4)
    clips = clips_of([2, 5, 3, 4])
    right = [rng.random() < 0.5 for _ in clips]
    points = [rng.choice([0.0, 35.0, 80.0, 100.0]) for _ in clips]
    weights = [float(rng.randrange(3)) for _ in clips]
    tops = [float(rng.randint(0, int(weight))) for weight in weights]
    lengths = [(float(rng.randint(1, 9)), float(rng.randint(1, 9))) for _ in clips]

    def penalty(sums: Sequence[float]) -> float:
        return math.exp(-sums[0] / sums[1])

    def mean(rows: list[int], values: Sequence[float]) -> dict[str, float | None]:
        return {"rate": sum(values[at] for at in rows) / len(rows)}

    def ratio(rows: list[int]) -> dict[str, float | None]:
        return {"rate": sum(tops[at] for at in rows) / sum(weights[at] for at in rows)}

    check_against_scoring_anew(rate_counts(clips, right), clips, lambda rows: mean(rows, right))
    check_against_scoring_anew(rate_counts(clips, points), clips, lambda rows: mean(rows, points))
    check_against_scoring_anew(rate_counts(clips, tops, weights), clips, ratio)
    check_against_scoring_anew(
        sum_counts(clips, lengths, "penalty", penalty),
        clips,
        lambda rows: {"penalty": penalty([sum(lengths[at][column] for at in rows) for column in (0, 1)])},
    )
    assert bootstrap(rate_counts(clips, tops, [0] * len(clips))).intervals["rate"].value is None
    with pytest.raises(InputError) as error:
        rate_counts(clips, points[1:], weights[2:])
    assert len(error.value.faults) == 2
    with pytest.raises(InputError, match="as many answers as clips"):
        sum_counts(clips, lengths[1:], "penalty", penalty)


# ---- what intervals are for -----------------------------------------------------------------------------------------


def test_intervals_over_subjects_hold_the_truth_and_those_over_clips_do_not() -> None:
    """benchmarks/intervals.py does this at length; its figures are in docs/log.md."""
    truth = emotion.score(*answers(1000, [10] * 4000, spread=2.0)[1:], LABELS).uf1
    assert truth is not None
    held = Counter[str]()
    rounds = 120
    for seed in range(rounds):
        clips, gold, read = answers(seed, [10] * 20, spread=2.0)
        alone = [(id, id) for id, _ in clips]
        for name, of in (("subjects", clips), ("clips", alone)):
            found = bootstrap(label_counts(of, gold, read, LABELS), resamples=400).intervals["uf1"]
            assert found.low is not None and found.high is not None
            held[name] += found.low <= truth <= found.high
    assert held["subjects"] >= 0.9 * rounds > 0.85 * rounds > held["clips"]


def test_a_rare_class_missing_in_resamples_is_reported() -> None:
    clips = clips_of([3] * 6)
    gold = ["negative"] * 17 + ["surprise"]
    found = bootstrap(label_counts(clips, gold, ["negative"] * 18, LABELS))
    assert found.incomplete == pytest.approx((5 / 6) ** 6, abs=0.02)  # of the one subject who has it
    assert found.intervals["acc"].value == pytest.approx(17 / 18)


def test_fewer_than_two_subjects_have_no_interval() -> None:
    clips, gold, read = answers(0, [8])
    found = bootstrap(label_counts(clips, gold, read, LABELS))
    one = found.intervals["acc"]
    assert one.value is not None and (one.stderr, one.low, one.high) == (None, None, None)
    assert found.subjects == 1 and found.incomplete is None
    nothing = bootstrap(unit_counts(clips, [None] * 8, [set()] * 8, UNITS))
    assert nothing.subjects == 0 and set(nothing.intervals.values()) == {Interval(None, None, None, None)}
    assert bootstrap(rate_counts([], [])).intervals["rate"].value is None
    same = compare(label_counts(clips, gold, read, LABELS), label_counts(clips, gold, gold, LABELS), "acc")
    assert same.difference is not None and same.p is None and same.low is None


# ---- two runs -------------------------------------------------------------------------------------------------------


def test_a_comparison_by_hand() -> None:
    clips = clips_of([1, 1, 1])
    first, second = (rate_counts(clips, right) for right in ([False] * 3, [True] * 3))
    found = compare(first, second, "rate")
    assert (found.difference, found.low, found.high) == (1.0, 1.0, 1.0)
    # of the eight ways to exchange three subjects only none and all give a difference of 1
    assert found.p == pytest.approx(2 / 8, abs=0.02)
    assert compare(first, first, "rate") == Comparison(0.0, 0.0, 0.0, 1.0), "a run beside itself does not differ"
    back = compare(second, first, "rate")
    assert back.difference == -1.0 and back.p == found.p


def test_pairing_takes_out_what_makes_clips_hard_for_both() -> None:
    clips, gold, read = answers(6, [10] * 30, spread=2.0)
    rng = random.Random(2)
    better = [g if rng.random() < 0.3 else r for g, r in zip(gold, read, strict=True)]
    first, second = (label_counts(clips, gold, of, LABELS) for of in (read, better))
    found = compare(first, second, "uf1")
    alone = [bootstrap(of).intervals["uf1"] for of in (first, second)]
    assert found.p is not None and found.p < 0.01 and found.low is not None and found.low > 0
    assert alone[0].high is not None and alone[1].low is not None and alone[0].high > alone[1].low, "they overlap"


def test_equal_runs_differ_one_time_in_twenty() -> None:
    rng = np.random.default_rng(9)
    below = 0
    rounds = 200
    for seed in range(rounds):
        clips = clips_of([6] * 8)
        skill = np.repeat(rng.random(8), 6)
        first, second = (rate_counts(clips, list(rng.random(48) < skill)) for _ in range(2))
        p = compare(first, second, "rate", resamples=300, seed=seed).p
        assert p is not None
        below += p <= 0.05
    assert below / rounds <= 0.09  # 0.05 and three standard errors


def test_many_runs_are_compared_as_two_are() -> None:
    clips, gold, _ = answers(1, [3, 5, 2, 8, 4, 6])
    runs = [label_counts(clips, gold, answers(seed, [3, 5, 2, 8, 4, 6])[2], LABELS) for seed in range(1, 5)]
    found = compare_all(runs, "uf1", resamples=300)
    assert [*found] == [(i, j) for i in range(4) for j in range(i + 1, 4)]
    for (first, second), one in found.items():
        assert one == compare(runs[first], runs[second], "uf1", resamples=300)
    assert compare_all(runs[:1], "uf1") == compare_all([], "uf1") == {}
    with pytest.raises(InputError, match="alone"):
        compare_all([runs[0], label_counts(clips[1:], gold[1:], gold[1:], LABELS)], "uf1")


def test_runs_that_cannot_be_compared() -> None:
    clips, gold, read = answers(4, [5] * 4)
    first = label_counts(clips, gold, read, LABELS)
    with pytest.raises(InputError, match="5 clips are in the first run alone: s0/0, s0/1"):
        compare(first, label_counts(clips[5:], gold[5:], read[5:], LABELS), "uf1")
    with pytest.raises(InputError) as error:
        compare(
            label_counts(clips[1:], gold[1:], read[1:], LABELS),
            label_counts(clips[:9], gold[:9], read[:9], LABELS),
            "uf1",
        )
    assert len(error.value.faults) == 2
    with pytest.raises(InputError, match="more often"):
        compare(first, label_counts([*clips, clips[0]], [*gold, gold[0]], [*read, None], LABELS), "uf1")
    with pytest.raises(InputError, match="different subjects"):
        compare(first, label_counts([(id, "x") for id, _ in clips], gold, read, LABELS), "uf1")
    with pytest.raises(InputError, match="different annotations"):
        compare(first, label_counts(clips, ["negative"] * 20, read, LABELS), "uf1")
    swapped = [{"negative": "positive", "positive": "negative"}.get(label, label) for label in gold]
    with pytest.raises(InputError, match="different annotations"):
        compare(first, label_counts(clips, swapped, read, LABELS), "uf1")
    with pytest.raises(InputError, match="different labels or units"):
        compare(first, label_counts(clips, gold, read, (*LABELS, "others")), "uf1")


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, None, 0.8]) == [1.0, None, 1.0]
    assert holm([]) == []
    with pytest.raises(InputError) as error:
        holm([1.2, -0.1, 0.5, float("nan")])
    assert len(error.value.faults) == 3


# ---- faults, and subjects that contribute nothing -------------------------------------------------------------------


def test_faults_at_once() -> None:
    with pytest.raises(InputError) as error:
        label_counts([("a", "s")], ["negative", "joy"], [None, None, "rage"], LABELS)
    assert len(error.value.faults) == 3
    with pytest.raises(InputError, match="as many answers as clips"):
        unit_counts([("a", "s")], [None], [], UNITS)
    with pytest.raises(InputError, match="as many answers as clips"):
        rate_counts([], [True])
    with pytest.raises(InputError, match="at least one resample, found 0"):
        bootstrap(rate_counts([], []), resamples=0)


def test_subjects_that_contribute_nothing_give_no_interval() -> None:
    clips = clips_of([1] * 20)
    alone = bootstrap(rate_counts(clips, [1] + [0] * 19, [1] + [0] * 19)).intervals["rate"]
    assert alone == Interval(1.0, None, None, None)
    facts_alone = bootstrap(fact_counts(clips, [1] + [0] * 19, [1] + [0] * 19, [1] * 20, [1] * 20)).intervals
    assert facts_alone["precision"] == Interval(1.0, None, None, None)
    assert facts_alone["recall"].low is not None
    three = [1, 1, 2] + [0] * 17
    among = bootstrap(rate_counts(clips, [1, 0, 1] + [0] * 17, three)).intervals["rate"]
    bare = bootstrap(rate_counts(clips[:3], [1, 0, 1], three[:3])).intervals["rate"]
    assert among.stderr is not None and bare.stderr is not None and among.stderr > 0.8 * bare.stderr


def test_runs_with_contributions_of_different_subjects_do_not_differ() -> None:
    clips = clips_of([1] * 12)
    first = rate_counts(clips, [1] + [0] * 11, [1] + [0] * 11)
    second = rate_counts(clips, [0] * 12, [0, 1] + [0] * 10)
    assert compare(first, second, "rate") == Comparison(-1.0, None, None, None)
    # exchanges that leave a run undefined are not counted: two subjects each
    first = rate_counts(clips, [1, 1] + [0] * 10, [1, 1] + [0] * 10)
    second = rate_counts(clips, [0] * 12, [0, 0, 1, 1] + [0] * 8)
    found = compare(first, second, "rate", resamples=2000)
    assert found.p is not None and found.p > 0.1
