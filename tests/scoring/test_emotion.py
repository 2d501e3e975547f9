"""Scores of labels: a constant answer, and agreement with scikit-learn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

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
@settings(max_examples=25)
@given(ANSWERS)
def test_agrees_with_scikit_learn(pairs: list[tuple[str, str | None]]) -> None:
    gold = [g for g, _ in pairs]
    read = [r for _, r in pairs]
    scores = score(gold, read, LABELS["casme2"])
    present = sorted(set(gold))
    words = ["unparsed" if r is None else r for r in read]
    precise, recall, f1, _ = precision_recall_fscore_support(gold, words, labels=present, zero_division=np.nan)
    assert [scores.f1[label] for label in present] == pytest.approx(list(f1))
    assert [scores.recall[label] for label in present] == pytest.approx(list(recall))
    known = [None if np.isnan(value) else pytest.approx(value) for value in precise]
    assert [scores.precision[label] for label in present] == known
    assert scores.uf1 == pytest.approx(np.mean(f1)) and scores.uar == pytest.approx(np.mean(recall))
    assert scores.accuracy == pytest.approx(accuracy_score(gold, words))
    assert (scores.clips, scores.unparsed, scores.support) == (len(gold), read.count(None), Counter(gold))
    assert scores.absent == tuple(label for label in LABELS["casme2"] if label not in gold)
    names = [*LABELS["casme2"], "unparsed"]
    matrix = confusion_matrix(gold, words, labels=names)
    for row, label in enumerate(names):
        for column, name in enumerate([*LABELS["casme2"], None]):
            assert scores.confusion.get((label, name), 0) == matrix[row, column]
