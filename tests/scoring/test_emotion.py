"""Scores of labels: hand-computed cases, agreement with scikit-learn, and what must hold for any answers."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from mellm_plugin.errors import InputError
from mellm_plugin.facs.labels import COARSE, LABELS
from mellm_plugin.scoring.emotion import in_words, majority, score, share

COMPOSITE = ["negative"] * 250 + ["positive"] * 109 + ["surprise"] * 83


def test_all_negative_on_the_composite() -> None:
    scores = majority(COMPOSITE, COARSE)
    assert round(scores.uf1 or 0, 3) == 0.241
    assert round(scores.uar or 0, 3) == 0.333
    assert round(scores.accuracy or 0, 3) == 0.566
    assert scores.recall == {"negative": 1.0, "positive": 0.0, "surprise": 0.0}


def test_by_hand() -> None:
    gold = ["anger", "anger", "anger", "fear", "fear", "happiness"]
    read = ["anger", "fear", None, "fear", "happiness", "happiness"]
    scores = score(gold, read, LABELS["samm"])
    # anger: TP 1, FP 0, FN 2; fear: TP 1, FP 1, FN 1; happiness: TP 1, FP 1, FN 0
    assert scores.f1 == {"anger": 2 / 4, "fear": 2 / 4, "happiness": 2 / 3}
    assert scores.recall == {"anger": 1 / 3, "fear": 1 / 2, "happiness": 1.0}
    assert scores.precision == {"anger": 1.0, "fear": 1 / 2, "happiness": 1 / 2}
    assert scores.support == {"anger": 3, "fear": 2, "happiness": 1}
    assert scores.uf1 == pytest.approx((1 / 2 + 1 / 2 + 2 / 3) / 3)
    assert scores.uar == pytest.approx((1 / 3 + 1 / 2 + 1) / 3)
    assert scores.accuracy == 3 / 6
    assert scores.absent == ("contempt", "disgust", "others", "sadness", "surprise")
    assert scores.unparsed == 1 and scores.clips == 6
    assert scores.confusion[("anger", None)] == 1 and scores.confusion[("fear", "happiness")] == 1


def test_pooled_is_not_the_average_of_folds() -> None:
    folds = [(["anger", "anger"], ["anger", "fear"]), (["fear", "fear", "anger"], ["fear", "anger", "anger"])]
    pooled = score([g for gold, _ in folds for g in gold], [r for _, read in folds for r in read], ("anger", "fear"))
    averaged = sum(score(gold, read, ("anger", "fear")).uf1 or 0 for gold, read in folds) / 2
    assert pooled.uf1 == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert averaged == pytest.approx((2 / 3 + (2 / 3 + 2 / 3) / 2) / 2)
    assert averaged != pytest.approx(pooled.uf1)


def test_the_table_shows_each_label_and_what_it_was_read_as() -> None:
    shown = in_words(
        score(["anger", "anger", "fear"], ["anger", None, "others"], ("anger", "fear", "others", "sadness"))
    )
    assert [line.split() for line in shown.splitlines()] == [
        ["label", "clips", "precision", "recall", "F1", "read", "as:", "anger", "fear", "others", "unparsed"],
        ["anger", "2", "1.00", ".50", ".67", "1", "0", "0", "1"],
        ["fear", "1", "–", ".00", ".00", "0", "0", "1", "0"],
    ]
    assert len(set(map(len, shown.splitlines()))) == 1, "the columns are aligned"
    assert (share(0.4555), share(1.0, 3), share(None)) == (".46", "1.000", "–")


def test_a_label_that_no_clip_has_is_in_no_mean_but_costs_the_clip() -> None:
    scores = score(["anger", "fear"], ["anger", "disgust"], LABELS["samm"])
    assert scores.uf1 == 0.5 and scores.uar == 0.5
    assert "disgust" in scores.absent


def test_nothing_to_score_is_no_number() -> None:
    scores = score([], [], COARSE)
    assert (scores.uf1, scores.uar, scores.accuracy) == (None, None, None)
    assert scores.absent == COARSE
    assert majority([], COARSE).uf1 is None


def test_faults_at_once() -> None:
    with pytest.raises(InputError) as error:
        score(["joy"], ["anger", "rage"], ("anger",))
    assert len(error.value.faults) == 3


ANSWERS = st.lists(st.tuples(st.sampled_from(LABELS["casme2"]), st.sampled_from((*LABELS["casme2"], None))), min_size=1)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@given(ANSWERS)
def test_agrees_with_scikit_learn(pairs: list[tuple[str, str | None]]) -> None:
    gold = [g for g, _ in pairs]
    read = [r for _, r in pairs]
    scores = score(gold, read, LABELS["casme2"])
    present = sorted(set(gold))
    words = ["unparsed" if r is None else r for r in read]
    assert scores.uf1 == pytest.approx(f1_score(gold, words, labels=present, average="macro", zero_division=0))
    assert scores.uar == pytest.approx(recall_score(gold, words, labels=present, average="macro", zero_division=0))
    assert scores.uar == pytest.approx(balanced_accuracy_score(gold, words))
    assert scores.accuracy == pytest.approx(accuracy_score(gold, words))
    by_label = f1_score(gold, words, labels=present, average=None, zero_division=0)
    assert [scores.f1[label] for label in present] == pytest.approx(list(by_label))
    precise = precision_score(gold, words, labels=present, average=None, zero_division=np.nan)
    assert [scores.precision[label] for label in present] == [
        None if np.isnan(value) else pytest.approx(value) for value in precise
    ]
    names = [*LABELS["casme2"], "unparsed"]
    matrix = confusion_matrix(gold, words, labels=names)
    for row, label in enumerate(names):
        for column, name in enumerate([*LABELS["casme2"], None]):
            assert scores.confusion.get((label, name), 0) == matrix[row, column]


@given(ANSWERS, st.randoms(use_true_random=False))
def test_in_range_and_whatever_the_order(pairs: list[tuple[str, str | None]], rng: random.Random) -> None:
    scores = score([g for g, _ in pairs], [r for _, r in pairs], LABELS["casme2"])
    rng.shuffle(pairs)
    again = score([g for g, _ in pairs], [r for _, r in pairs], LABELS["casme2"])
    assert again == scores
    assert all(0 <= value <= 1 for value in (scores.uf1 or 0, scores.uar or 0, scores.accuracy or 0))
    assert sum(scores.confusion.values()) == scores.clips
