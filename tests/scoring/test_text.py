"""BLEU and ROUGE-1: values of other implementations, hand-computed cases, missing answers.

`golden/text_scores.jsonl` was computed with rouge-score 0.1.2 (unstemmed) and, for BLEU, with nltk 3.10's
`corpus_bleu` on the lower-cased words of sacreBLEU's tokenizer 13a. Where answers of fewer than four words stand beside
longer ones it holds no BLEU: nltk counts one 4-gram for each of them that they do not have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU

from mellm_plugin.errors import InputError
from mellm_plugin.scoring.text import score, words

GOLDEN = Path(__file__).parents[1] / "golden" / "text_scores.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"])
def test_agrees_with_other_implementations(case: dict[str, Any]) -> None:
    scores = score(case["answers"], case["references"])
    names = [name for name in case if name not in ("note", "answers", "references")]
    assert {"rouge1_precision", "rouge1_recall", "rouge1_f1"} <= set(names)
    for name in names:
        assert getattr(scores, name) == pytest.approx(case[name], abs=1e-9), name


TEXTS = st.lists(st.sampled_from(["the", "brow", "lowerer", "is", "shown,", "and", "not.", "AU4"]), max_size=9).map(
    " ".join
)


@settings(max_examples=25)
@given(st.lists(st.tuples(TEXTS, TEXTS.filter(words)), min_size=1, max_size=6))
def test_corpus_bleu_is_that_of_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    answers, references = [answer for answer, _ in pairs], [reference for _, reference in pairs]
    whole = BLEU(lowercase=True).corpus_score(answers, [references]).score / 100
    scores = score(answers, references)
    assert scores.bleu4_corpus == pytest.approx(min(whole, 1.0), abs=1e-12)
    assert all(0 <= one <= 1 for one in (scores.bleu4_sentence_mean, scores.rouge1_precision, scores.rouge1_f1) if one)
    same = score(references, references)
    assert same.rouge1_f1 == pytest.approx(1) and same.bleu4_sentence_mean == pytest.approx(1)


def test_missing_and_empty_answers_score_nothing_and_are_counted() -> None:
    right = "cheek raiser and lip corner puller"
    scores = score([right, None, " ", "。"], [right] * 4)
    assert (scores.answers, scores.empty) == (4, 3)
    assert scores.rouge1_f1 == scores.rouge1_recall == scores.bleu4_sentence_mean == pytest.approx(0.25)
    assert scores.bleu4_corpus is not None and scores.bleu4_corpus < 0.25, "the brevity penalty counts what is missing"
    assert scores.signature.startswith("nrefs:1|case:lc|eff:no|tok:13a|smooth:exp|version:")
    short = score(["yes", "No"], ["yes", "no"])
    assert short.bleu4_corpus == 0.0 and short.bleu4_sentence_mean == 1.0, "no answer has a 4-gram"
    nothing = score([], [])
    assert (nothing.bleu4_corpus, nothing.rouge1_f1, nothing.answers) == (None, None, 0)


def test_all_faults_at_once() -> None:
    with pytest.raises(InputError, match="expected as many answers as references") as error:
        score(["a"], ["?", "b", ""])
    assert len(error.value.faults) == 3 and "reference 2" in str(error.value)
