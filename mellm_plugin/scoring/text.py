"""Free text: BLEU and ROUGE-1 of answers against one reference each, every variant by its full name.

    score(["Brow lowerer."], ["brow lowerer, dimpler"])  ->  rouge1_recall .667, rouge1_f1 .8, bleu4_corpus 0.0

"BLEU" and "ROUGE-1" have several variants, so each name tells which one it is:

-   `bleu4_corpus`: sacreBLEU's corpus BLEU / 100. The n-grams (1 to 4) of all answers are counted together, with one
    brevity penalty; tokenizer 13a, lower case, exponential smoothing. An answer of fewer than four words has no 4-gram:
    if that holds for all answers, the score is 0, even for "yes" to every "yes".
-   `bleu4_sentence_mean`: sacreBLEU's sentence BLEU / 100 of each answer, then the mean. An answer of fewer than four
    words is scored by its own n-grams (effective order), so "yes" for "yes" is 1.
-   `rouge1_recall`, `rouge1_precision`, `rouge1_f1`: number of common words (with repetitions) divided by the words of
    the reference, by those of the answer, and the harmonic mean of both; for each answer, then the mean. Words are
    unstemmed runs of a-z and 0-9 in lower case. Results agree with the package rouge-score 0.1.2, which lmms-eval does
    not install; its ROUGE-1 is a dozen lines.

A missing or empty answer scores 0 and is counted. All scores are in 0..1.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mellm_plugin.errors import InputError

_WORD = re.compile("[a-z0-9]+")


@dataclass(frozen=True)
class TextScores:
    """Scores of one set of answers, in 0..1; None without answers.

    Attributes:
        bleu4_corpus, bleu4_sentence_mean, rouge1_precision, rouge1_recall, rouge1_f1: see the module.
        answers: number of answers.
        empty: number of answers that are missing or have no word.
        signature: sacreBLEU's signature of `bleu4_corpus`, with its version; "" without answers.
    """

    bleu4_corpus: float | None
    bleu4_sentence_mean: float | None
    rouge1_precision: float | None
    rouge1_recall: float | None
    rouge1_f1: float | None
    answers: int
    empty: int
    signature: str


def words(text: str) -> list[str]:
    """The words for ROUGE: runs of a-z and 0-9, in lower case."""
    return _WORD.findall(text.lower())


def rouge1(answer: str | None, reference: str) -> tuple[float, float, float]:
    """ROUGE-1 of one answer: precision, recall and F1, each in 0..1.

    Args:
        answer: None or a text without words scores 0.
        reference: a text; without words it scores 0.
    """
    given, expected = Counter(words(answer or "")), Counter(words(reference))
    shared = (given & expected).total()
    if not shared:
        return 0.0, 0.0, 0.0
    precision, recall = shared / given.total(), shared / expected.total()
    return precision, recall, 2 * precision * recall / (precision + recall)


def score(answers: Sequence[str | None], references: Sequence[str]) -> TextScores:
    """Score answers against one reference each.

    Args:
        answers: the model's answers; None for a missing one.
        references: the expected answers, in the same order.

    Raises:
        InputError: the lengths differ, or references have no word; all faults at once.
    """
    faults = []
    if len(answers) != len(references):
        faults.append(f"expected as many answers as references ({len(references)}), found {len(answers)}")
    faults += [
        f"reference {number}: expected at least one word, found {reference!r}"
        for number, reference in enumerate(references)
        if not words(reference)
    ]
    if faults:
        raise InputError(faults, where="scoring of texts")
    if not answers:
        return TextScores(None, None, None, None, None, 0, 0, "")
    given = [answer or "" for answer in answers]
    each = [each_text(*pair) for pair in zip(given, references, strict=True)]
    count = len(given)
    precision, recall, f1, sentence = (
        math.fsum(values) / count for values in zip(*((*one.rouge1, one.bleu4_sentence) for one in each), strict=True)
    )
    return TextScores(
        bleu4_corpus=bleu4_of_counts([sum(column) for column in zip(*(one.bleu4_counts for one in each), strict=True)]),
        bleu4_sentence_mean=sentence,
        rouge1_precision=precision,
        rouge1_recall=recall,
        rouge1_f1=f1,
        answers=count,
        empty=sum(not words(answer) for answer in given),
        signature=_signature(),
    )


@dataclass(frozen=True)
class OneText:
    """The contribution of one answer to the scores.

    Attributes:
        bleu4_sentence: sentence BLEU, in 0..1.
        rouge1: precision, recall and F1, in 0..1.
        bleu4_counts: ten integers whose sums give corpus BLEU: n-grams shared with the reference, n from 1 to 4;
            n-grams of the answer, n from 1 to 4; words of the answer; words of the reference.
    """

    bleu4_sentence: float
    rouge1: tuple[float, float, float]
    bleu4_counts: tuple[int, ...]


def each_text(answer: str | None, reference: str) -> OneText:
    """The contribution of one answer to the scores; arguments as for `rouge1`."""
    from sacrebleu.metrics.bleu import BLEU

    found = BLEU(lowercase=True, effective_order=True).sentence_score(answer or "", [reference])
    return OneText(
        # sacreBLEU's sums of logarithms give 100.00000000000004 for equal texts.
        bleu4_sentence=min(found.score / 100, 1.0),
        rouge1=rouge1(answer, reference),
        bleu4_counts=(*found.counts, *found.totals, found.sys_len, found.ref_len),
    )


def bleu4_of_counts(sums: Iterable[float]) -> float:
    """Corpus BLEU, in 0..1, from sums of `OneText.bleu4_counts`."""
    from sacrebleu.metrics.bleu import BLEU

    whole = [round(value) for value in sums]
    found = BLEU.compute_bleu(whole[:4], whole[4:8], whole[8], whole[9], smooth_method="exp")
    return min(found.score / 100, 1.0)


def _signature() -> str:
    """sacreBLEU's signature of corpus BLEU, available only after a score was computed."""
    from sacrebleu.metrics.bleu import BLEU

    corpus = BLEU(lowercase=True)
    corpus.corpus_score([""], [[""]])
    return str(corpus.get_signature())
