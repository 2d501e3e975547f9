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


@dataclass(frozen=True)
class TextScores:
    """Scores of one set of answers, in 0..1 (None without answers); how many there are, and how many have no word; and
    sacreBLEU's signature of `bleu4_corpus`, with its version ("" without answers)."""

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
    return re.findall("[a-z0-9]+", text.lower())


def score(answers: Sequence[str | None], references: Sequence[str]) -> TextScores:
    """Score answers (None for a missing one) against one reference each, in the same order.

    Raises:
        InputError: the lengths differ, or references have no word; all faults at once.
    """
    from sacrebleu.metrics.bleu import BLEU

    faults = []
    if len(answers) != len(references):
        faults.append(f"expected as many answers as references ({len(references)}), found {len(answers)}")
    for number, reference in enumerate(references):
        if not words(reference):
            faults.append(f"reference {number}: expected at least one word, found {reference!r}")
    if faults:
        raise InputError(faults, where="scoring of texts")
    if not answers:
        return TextScores(None, None, None, None, None, 0, 0, "")
    each = [each_text(*pair) for pair in zip(answers, references, strict=True)]
    precision, recall, f1, sentence = (
        math.fsum(values) / len(each)
        for values in zip(*((*one.rouge1, one.bleu4_sentence) for one in each), strict=True)
    )
    corpus = bleu4_of_counts([sum(column) for column in zip(*(one.bleu4_counts for one in each), strict=True)])
    signed = BLEU(lowercase=True)
    signed.corpus_score([""], [[""]])  # the signature is available only after a score was computed
    empty = sum(not words(answer or "") for answer in answers)
    return TextScores(corpus, sentence, precision, recall, f1, len(each), empty, str(signed.get_signature()))


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
    """The contribution of one answer to the scores; 0 for an answer or a reference without words."""
    from sacrebleu.metrics.bleu import BLEU

    given, expected = Counter(words(answer or "")), Counter(words(reference))
    precision = recall = f1 = 0.0
    if shared := (given & expected).total():
        precision, recall = shared / given.total(), shared / expected.total()
        f1 = 2 * precision * recall / (precision + recall)
    found = BLEU(lowercase=True, effective_order=True).sentence_score(answer or "", [reference])
    # sacreBLEU's sums of logarithms give 100.00000000000004 for equal texts.
    bleu4, counts = min(found.score / 100, 1.0), (*found.counts, *found.totals, found.sys_len, found.ref_len)
    return OneText(bleu4, (precision, recall, f1), counts)


def bleu4_of_counts(sums: Iterable[float]) -> float:
    """Corpus BLEU, in 0..1, from sums of `OneText.bleu4_counts`."""
    from sacrebleu.metrics.bleu import BLEU

    whole = [round(value) for value in sums]
    found = BLEU.compute_bleu(whole[:4], whole[4:8], whole[8], whole[9], smooth_method="exp")
    return min(found.score / 100, 1.0)
