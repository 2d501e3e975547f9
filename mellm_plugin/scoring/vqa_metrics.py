"""Every score of the ME-VQA challenge's questions, declared once as in `scoring.metrics`.

The expected answer and the model's are read by the same reader. A score counts the questions of its kind whose expected
answer could be read; an answer that could not be read is wrong there, and lowers `vqa_parse_rate`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from loguru import logger

from mellm_plugin.scoring import text, units
from mellm_plugin.scoring.metrics import GIVEN, Items, Metric, Record, of_labels, of_majority, whole


@dataclass(frozen=True)
class Part:
    """What a score needs of questions of one kind: one part of what is read in their answers."""

    kind: str
    part: str

    def __call__(self, record: Record) -> dict[str, Any] | None:
        expected = record["gold"] if record["kind"] == self.kind else None
        if expected is None or expected[self.part] is None:
            return None
        return {"gold": expected[self.part], "read": record["read"][self.part]}


def _texts(record: Record) -> dict[str, Any] | None:
    if record["expected"] is None or record["kind"] in ("coarse", "fine"):
        return None
    return {"gold": record["expected"], "read": record["submitted"]}


def _unit_scores(items: Items) -> units.UnitScores:
    scored = sorted({unit for item in items for unit in item["gold"]})
    return units.score([[(unit,) for unit in item["gold"]] for item in items], [i["read"] for i in items], scored)


def _accuracy(items: Items) -> float:
    return sum(bool(item["gold"] == item["read"]) for item in items) / len(items)


def _majority_accuracy(items: Items) -> float:
    return max(Counter(item["gold"] for item in items).values()) / len(items)


def _text_scores(items: Items) -> text.TextScores:
    return text.score([item["read"] for item in items], [item["gold"] for item in items])


def _read_in_full(items: Items) -> list[tuple[str, bool]]:
    """For each answer that was given, the kind of its question and whether everything asked for could be read."""
    given = (item for item in items if item["kind"] != "other" and item.get("unanswered") is None)
    return [(item["kind"], None not in item["read"].values()) for item in given]


def _parse_rate(items: Items) -> float | None:
    found = _read_in_full(items)
    return sum(could for _, could in found) / len(found) if found else None


def _note_unread(items: Items) -> None:
    found = Counter(_read_in_full(items))
    for kind in dict.fromkeys(kind for kind, _ in found):
        if unread := found[kind, False]:
            read = found[kind, True]
            logger.info("vqa_parse_rate: {} of {} answers of kind {} could be read", read, read + unread, kind)


def _note_texts(items: Items) -> None:
    scores = _text_scores(items)
    logger.info("vqa_bleu4_corpus: {} answers, {} of them empty; {}", scores.answers, scores.empty, scores.signature)


def _of_texts(name: str, **more: Any) -> Metric:
    return Metric(f"vqa_{name}", _texts, lambda items: getattr(_text_scores(items), name), name, **more)


_COARSE, _FINE = Part("coarse", "coarse"), Part("fine", "fine")
_COMBINED, _LIST = Part("combined", "units"), Part("units", "units")
_SHOWN, _SIDE = Part("unit", "shown"), Part("side", "side")

QUESTIONS: tuple[Metric, ...] = (
    *of_labels("vqa_coarse", _COARSE)[:2],
    *of_labels("vqa_fine", _FINE)[:2],
    *of_labels("vqa_combined_coarse", Part("combined", "coarse"))[:2],
    *of_labels("vqa_combined_fine", Part("combined", "fine"))[:2],
    Metric("vqa_combined_au_f1_micro", _COMBINED, lambda items: _unit_scores(items).micro, "list_f1_micro"),
    Metric("vqa_au_list_f1", _LIST, lambda items: _unit_scores(items).mean, "list_f1"),
    Metric("vqa_au_list_f1_micro", _LIST, lambda items: _unit_scores(items).micro, "list_f1_micro"),
    Metric("vqa_au_list_exact", _LIST, _accuracy, "match"),
    Metric("vqa_au_shown_acc", _SHOWN, _accuracy, "match"),
    Metric("vqa_au_side_acc", _SIDE, _accuracy, "match"),
    _of_texts("bleu4_corpus", note=_note_texts),
    *map(_of_texts, ("bleu4_sentence_mean", "rouge1_f1", "rouge1_recall")),
    Metric("vqa_parse_rate", whole, _parse_rate, "read_in_full", every=True, note=_note_unread),
    GIVEN,
    # constant answers
    *of_majority("vqa_coarse", _COARSE)[:1],
    *of_majority("vqa_fine", _FINE)[:1],
    Metric("vqa_au_shown_acc_majority", _SHOWN, _majority_accuracy),
    Metric("vqa_au_side_acc_majority", _SIDE, _majority_accuracy),
)
"""Every metric of the labelled questions; headlines first."""

TEST: tuple[Metric, ...] = tuple(
    replace(metric, score=None) for metric in QUESTIONS if metric.name in ("vqa_parse_rate", "answer_rate")
)
"""Of test questions: without intervals, because nothing tells the faces of the test videos apart."""

SHOWN = (
    *("vqa_coarse_uf1", "vqa_coarse_uar", "vqa_fine_uf1", "vqa_fine_uar", "vqa_bleu4_corpus", "vqa_rouge1_f1"),
    *("vqa_parse_rate", "answer_rate"),
)
"""The rows of lmms-eval's table, in their order."""

TEXT = ("vqa_bleu4_corpus", "vqa_bleu4_sentence_mean", "vqa_rouge1_f1", "vqa_rouge1_recall")

PARTS: dict[str, Part] = {metric.name: metric.select for metric in QUESTIONS if isinstance(metric.select, Part)}
"""The metrics of what is read in the answers to one kind of question."""
