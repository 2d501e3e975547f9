"""Logistic regression of labels and units: what a clip teaches, and agreement with scikit-learn's own validation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from mellm_plugin.facs.labels import COARSE, LABELS, coarse
from mellm_plugin.models.linear import STRENGTHS, Annotated, Linear, Vectors, presence, scaler, target


def clip(label: str | None = None, aus: tuple[str, ...] | None = None, who: str = "a", whole: bool = True) -> Annotated:
    return Annotated(who, aus, whole, label, coarse(label) if label else None)


@pytest.mark.parametrize(
    ("label", "labels", "expected"),
    [
        ("fear", LABELS["samm"], "fear"),
        ("fear", COARSE, "negative"),
        ("contempt", LABELS["casme2"], None),  # several labels are negative
        ("contempt", ("anger", "happiness", "surprise"), None),  # the one negative label is another one
        ("positive", LABELS["casme2"], "happiness"),  # the only one of its class
        ("negative", LABELS["casme2"], None),
        ("neutral", COARSE, None),
        ("others", LABELS["casme2"], "others"),
        (None, COARSE, None),
    ],
)
def test_what_a_clip_teaches(label: str | None, labels: tuple[str, ...], expected: str | None) -> None:
    assert target(clip(label), labels) == expected


def test_a_unit_is_there_or_not_or_unknown() -> None:
    coded = clip(aus=("R12", "6/7"))
    assert [presence(coded, unit) for unit in (12, 6, 4)] == [True, None, False]
    assert presence(clip(aus=("12",), whole=False), 4) is None, "the rest of the code could not be read"
    assert presence(clip(), 4) is None and presence(clip(aus=()), 4) is False


def people(count: int, clips: int, length: int, seed: int = 0) -> tuple[Vectors, list[Annotated]]:
    """Vectors of three classes that overlap, by people who differ."""
    rng = np.random.default_rng(seed)
    centres, faces = rng.normal(size=(3, length)), rng.normal(size=(count, length))
    known = [(who, int(rng.integers(3))) for who in range(count) for _ in range(clips)]
    vectors = np.array([centres[kind] + faces[who] + 2 * rng.normal(size=length) for who, kind in known], np.float32)
    units: list[tuple[str, ...]] = [("4",), ("12",), ("1", "2")]
    return vectors, [clip(("fear", "happiness", "surprise")[kind], units[kind], f"p{who}") for who, kind in known]


@pytest.mark.parametrize("length", [12, 500], ids=["short", "long"])
def test_agrees_with_scikit_learn(length: int) -> None:
    vectors, clips = people(7, 12, length)
    vectors = vectors.astype(np.float64)
    gold = np.array([target(one, COARSE) for one in clips])
    groups = np.array([one.person for one in clips])
    same = {"class_weight": "balanced", "max_iter": 1000}
    pipes = {C: make_pipeline(scaler(), LogisticRegression(C=C, **same)) for C in STRENGTHS}
    read = {C: cross_val_predict(one, vectors, gold, groups=groups, cv=GroupKFold(5)) for C, one in pipes.items()}
    best = max(STRENGTHS, key=lambda C: f1_score(gold, read[C], average="macro"))
    new, _ = people(5, 20, length, seed=9)
    agree = np.array(Linear(vectors, clips).label(new, COARSE)) == pipes[best].fit(vectors, gold).predict(new)
    # long vectors are rotated first, and the solver stops elsewhere within its tolerance
    assert agree.all() if length == 12 else agree.mean() >= 0.98


def test_units_are_read_apart_and_what_is_unknown_teaches_nothing() -> None:
    vectors, clips = people(6, 15, 12)
    reader = Linear(vectors, clips)
    assert reader.known_units((1, 2, 4, 9)) == [1, 2, 4], "no clip shows 9"
    found = reader.units(vectors, (1, 2, 4, 9))
    assert found is not None and all((1 in units) == (2 in units) for units in found), "they move together"
    right = [(4 in units) == (one.aus == ("4",)) for units, one in zip(found, clips, strict=True)]
    assert np.mean(right) > 0.7
    blind = [Annotated(one.person, None, True, one.emotion, one.coarse) for one in clips]
    half = Linear(np.concatenate([vectors, -vectors]), [*clips, *blind])
    assert half.units(vectors, (4,)) == reader.units(vectors, (4,))
    assert Linear(vectors, blind).units(vectors, (4,)) is None


def test_too_little_to_choose_from_still_answers() -> None:
    vectors, clips = people(1, 9, 5)
    assert set(Linear(vectors, clips).label(vectors, COARSE)) <= {*COARSE}
    one = [clip("fear", ("4",))] * 3
    assert Linear(vectors[:3], one).label(vectors, COARSE) == ["negative"] * 9
    assert Linear(vectors[:3], one).label(vectors, ("others",)) == [None] * 9
