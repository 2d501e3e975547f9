"""All scores of a task together: what is counted for each, and that it is what the metrics themselves say."""

from __future__ import annotations

import random
from typing import Any

import pytest

from mellm_plugin import meu
from mellm_plugin.errors import InputError
from mellm_plugin.language.claims import claims
from mellm_plugin.motion.regions import RegionMotion
from mellm_plugin.scoring.facts import compared
from mellm_plugin.scoring.summary import SCORES, comparison, in_words, interval, parsed

LABELS = ("anger", "fear", "happiness")


def labelled(seed: int, skill: float, dataset: str = "toy", subjects: int = 8) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    items = []
    for number in range(60):
        gold = LABELS[number % 3]
        read = gold if rng.random() < skill else rng.choice((*LABELS, None))
        subject = f"s{number % subjects}"
        items.append({"id": f"{dataset}/{subject}/{number}", "subject": subject, "gold": gold, "read": read})
    return items


def of_units(seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {
            "id": f"toy/s{n % 6}/{n}",
            "subject": f"s{n % 6}",
            "gold": None if n % 9 == 0 else ["R6/12", "4"] if n % 2 else ["12", "L1"],
            "read": None if rng.random() < 0.1 else [unit for unit in (1, 4, 6, 12) if rng.random() < 0.6],
            "sides": {unit: side for unit in ("1", "12") if (side := rng.choice(["L", "R", None]))},
            "scored_aus": [1, 4, 12, 17],
        }
        for n in range(40)
    ]


def test_the_value_of_an_interval_is_the_metric() -> None:
    label_items, unit_items = labelled(1, 0.5), of_units(2)
    metrics = {"uf1": meu.emotion_uf1, "uar": meu.emotion_uar, "acc": meu.emotion_acc}
    for name, metric in metrics.items():
        assert interval(name, label_items).value == pytest.approx(metric(label_items))
    metrics = {name: getattr(meu, name) for name in SCORES if name.startswith("au_")}
    for name, metric in metrics.items():
        found = interval(name, unit_items)
        assert found.value == pytest.approx(metric(unit_items))
        assert found.low is not None and found.value is not None and found.high is not None
        assert found.low < found.value < found.high
    whole = [{"id": "a/s/1", "subject": s, "doubts": ["a cut"] * (s == "t")} for s in "stuv"]
    assert interval("motion_plausible_rate", whole).value == meu.motion_plausible_rate(whole) == 0.75


def of_facts(seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    gold = [["12"], ["1", "4"], ["25"], ["12"], None, []]
    said = ["The lip corners rise.", "The brows are lowered, the lips part.", "", "The lips are pressed together."]
    items = []
    for n in range(36):
        clip = {"id": f"toy/s{n % 6}/{n}", "subject": f"s{n % 6}"}
        lips = [RegionMotion(lip, None, 0, dy, 0.01, True) for lip, dy in (("upper lip", -0.5), ("lower lip", 0.5))]
        items.append({**clip, **compared(claims(rng.choice(said)), gold[n % 6], lips if n % 2 else [])})
    return items


def test_facts_of_descriptions() -> None:
    items = of_facts(1)
    names = ("facts_f1", "facts_precision", "facts_recall", "contradiction_rate", "rate")
    for name in names:
        found = interval(f"description_{name}", items)
        assert found.value == pytest.approx(getattr(meu, f"description_{name}")(items))
        assert found.low is not None and found.value is not None and found.high is not None
        assert found.low < found.value < found.high, name
    lines = {line.split()[0]: line for line in table(items, "description_facts_f1").splitlines()}
    assert lines["description_facts_f1"].endswith("(describing 12)")
    constant = meu.description_facts_f1_majority(items)
    assert f"{constant:.3f}".lstrip("0") in lines["description_facts_f1"]
    assert comparison("description_facts_f1", items, of_facts(2)).p is not None


@pytest.mark.parametrize(
    ("asks", "gold", "label", "aus", "could"),
    [
        ("all", "fear", "fear", None, True),
        ("all", "fear", None, [4], False),
        ("all", None, "fear", [4], None),
        ("aus", None, None, [], True),
        ("aus", None, "fear", None, False),
    ],
)
def test_what_could_be_read(asks: str, gold: str | None, label: str | None, aus: list[int] | None, could: Any) -> None:
    item = {"asks": asks, "gold": {"label": gold}, "read": {"label": label, "aus": aus}}
    assert parsed(item) is could


def test_subjects_of_two_datasets_are_not_one_person() -> None:
    two = [*labelled(1, 0.5, "casme2", 2), *labelled(2, 0.9, "smic", 2)]
    apart, together = (interval("acc", items) for items in (two, [{**one, "id": f"a/{one['id']}"} for one in two]))
    assert apart.value == together.value and (apart.low, apart.high) != (together.low, together.high)


def test_two_runs() -> None:
    worse, better = labelled(1, 0.3), labelled(2, 0.8)
    found = comparison("uf1", worse, list(reversed(better)))
    assert found.difference == pytest.approx((meu.emotion_uf1(better) or 0) - (meu.emotion_uf1(worse) or 0))
    assert found.low is not None and found.low > 0 and found.p is not None and found.p < 0.05
    odd = [{**item, "read": "disgust"} if item["read"] is None else item for item in better]
    assert comparison("acc", worse, odd).difference is not None, "a label that one run alone has"
    assert comparison("au_f1", of_units(1), of_units(1)).p == 1.0
    with pytest.raises(InputError, match="30 clips are in the first run alone"):
        comparison("uf1", worse, better[30:])


def table(items: list[dict[str, Any]], *scores: str) -> str:
    records = [{**item, "dataset": "toy"} for item in items]
    return in_words([(f"emotion_{score}" if score == "uf1" else score, score, items) for score in scores], records)
