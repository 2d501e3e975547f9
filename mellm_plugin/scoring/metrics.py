"""Every score of the `meu` tasks, declared once: its name, what it needs of a clip's record, and how it is computed.

    record = {"id": "casme2/sub01/EP02_01f", "subject": "sub01", "gold": {"label": "fear", ..}, "read": {..}, ..}
    items(record, METRICS)            ->  {"record": record, "emotion_uf1": Item(gold="fear", read=None, ..), ..}
    metric_list("emotion")            ->  what a task file gives as its `metric_list`
    Scores(METRICS)([record, ..])     ->  {"emotion_uf1": {"value": .41, "stderr": .04, "ci95": [.35, .47]}, ..}

lmms-eval writes the record of a clip once into its samples file. An item prints as the id of its clip, so the samples
file has a reference in its place. lmms-eval's final table shows the metrics of `SHOWN`; every other score, standard
error, interval and constant is in the one entry `scores_stderr` of the results file. lmms-eval shows no row of a
metric whose name ends in `_stderr`, and fills the column of the standard error with `<metric>_stderr`.

A new metric is one line of `METRICS`; with an interval, `summary` says how its items are resampled.
"""

from __future__ import annotations

import sys
from collections import UserDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from types import FrameType
from typing import Any

from loguru import logger

from mellm_plugin.language.unanswered import reasons_in_words
from mellm_plugin.scoring import facts, judge, sensitivity, summary
from mellm_plugin.scoring.summary import constant_unit_scores, label_scores, majority_scores, side_scores, unit_scores

Record = Mapping[str, Any]
Items = Sequence[Mapping[str, Any]]

SCORES = "scores_stderr"
"""The metric that holds every score; its ending hides it from lmms-eval's table."""


class Item(UserDict[str, Any]):
    """What one metric needs of a record. It prints as the id of the clip, which is what a samples file holds of it."""

    def __str__(self) -> str:
        return str(self["id"])


@dataclass(frozen=True)
class Metric:
    """One score of a task.

    Attributes:
        name: in the results file.
        select: what the score needs of a record, beside id and subject; None leaves the clip out.
        value: the score of at least one item; None where it is not defined.
        score: of `summary.SCORES`, whose interval it gets; None for a constant or a count.
        higher_is_better: as lmms-eval marks it.
        every: whether clips that were never answered count too: no answer is not a wrong one.
        note: logs what a user should know about these items.
    """

    name: str
    select: Callable[[Record], Mapping[str, Any] | None]
    value: Callable[[Items], Any]
    score: str | None = None
    higher_is_better: bool = True
    every: bool = False
    note: Callable[[Items], None] | None = None

    def item(self, record: Record) -> Item | None:
        """What the score needs of one record; None where the clip does not count."""
        if record["unanswered"] is not None and not self.every:
            return None
        selected = self.select(record)
        return None if selected is None else Item({"id": record["id"], "subject": record["subject"], **selected})

    def noted(self, items: Items) -> Any:
        """The value, after the note: the aggregation in task files that name single metrics."""
        if self.note is not None:
            self.note(items)
        return self.value(items)

    def stderr(self, items: Items) -> float | None:
        """The standard error, by the bootstrap over subjects."""
        assert self.score is not None
        return summary.interval(self.score, items).stderr


# ---- what a score needs of a record ---------------------------------------------------------------------------------


def _label(record: Record) -> dict[str, Any] | None:
    gold = record["gold"]["label"]
    return None if gold is None else {"gold": gold, "read": record["read"]["label"]}


def _confidence(record: Record) -> dict[str, Any] | None:
    gold, probabilities = record["gold"]["label"], record.get("probabilities")
    if gold is None or probabilities is None:
        return None
    label = max(probabilities, key=probabilities.__getitem__)
    return {"confidence": probabilities[label], "right": label == gold}


def _coarse(record: Record) -> dict[str, Any] | None:
    gold = record["gold"]["coarse"]
    return None if gold is None or record["asks"] == "aus" else {"gold": gold, "read": record["read"]["coarse"]}


def _coarse_of(dataset: str) -> Callable[[Record], dict[str, Any] | None]:
    return lambda record: _coarse(record) if record["dataset"] == dataset else None


def _units(record: Record) -> dict[str, Any] | None:
    if record["asks"] == "emotion":
        return None
    gold, read = record["gold"]["aus"], record["read"]
    return {"gold": gold, "read": read["aus"], "sides": read["sides"], "scored_aus": record["scored_aus"]}


def _of_heads(select: Callable[[Record], Any]) -> Callable[[Record], Any]:
    """The same of the answer that heads on the visual tokens give, where there is one."""

    def selected(record: Record) -> Any:
        heads = record.get("heads")
        return None if heads is None else select({**record, "read": heads, "probabilities": heads["probabilities"]})

    return selected


_heads_label, _heads_confidence, _heads_units = map(_of_heads, (_label, _confidence, _units))


def whole(record: Record) -> Record:
    return record


_facts, _grade, _rung = itemgetter("facts"), itemgetter("judge"), itemgetter("rung")


# ---- how items become scores ----------------------------------------------------------------------------------------


def _fact_scores(items: Items) -> facts.FactScores:
    known = [item for item in items if item["facts"] is not None]
    return facts.score(*(sum(item[name] for item in known) for name in ("right", "claims", "found", "facts")))


def _contradictions(items: Items) -> float | None:
    decided = sum(item["decided"] for item in items)
    return sum(item["contradicting"] for item in items) / decided if decided else None


def _parse_rate(items: Items) -> float | None:
    could = [read for item in items if (read := summary.parsed(item)) is not None]
    return sum(could) / len(could) if could else None


def _au_parse_rate(items: Items) -> float | None:
    could = [item["read"] is not None for item in items if item["gold"] is not None]
    return sum(could) / len(could) if could else None


def _answer_rate(items: Items) -> float:
    return 1 - sum(item["unanswered"] is not None for item in items) / len(items)


def _plausible_rate(items: Items) -> float:
    return sum(not item["doubts"] for item in items) / len(items)


def _constant_facts_f1(items: Items) -> float | None:
    return facts.constant([item["gold"] for item in items if item["gold"] is not None]).f1


# ---- what the log says beside ---------------------------------------------------------------------------------------


def _note_units(items: Items) -> None:
    scores = unit_scores(items)
    if scores.without_gold:
        logger.info("au_f1: {} clips scored; {} left out, their units are not known", scores.clips, scores.without_gold)
    if scores.left_out:
        logger.info("au_f1: no clip has AU {}: left out of the mean", ", ".join(map(str, scores.left_out)))


def _note_labels(items: Items) -> None:
    labelled = {item["gold"]["label"] for item in items} - {None}
    absent = [label for label in items[0]["labels"] if label not in labelled]
    if labelled and absent and items[0]["asks"] != "aus":
        logger.info("labels: no clip has {}: left out of the means", ", ".join(absent))


def _note_unanswered(items: Items) -> None:
    if lacking := [item for item in items if item["unanswered"] is not None]:
        logger.warning(
            "{}",
            f"answer_rate: {len(lacking)} of {len(items)} answers were never given "
            f"({reasons_in_words(item['unanswered'] for item in lacking)}). The scores are over the others, and "
            "`mellm report` gives this run no rank. Remove the cause, then run the same command again: with "
            f"--use_cache only these clips are asked again. The first: {', '.join(item['id'] for item in lacking[:3])}",
        )


def _note_motion(items: Items) -> None:
    for item in items:
        if item["doubts"]:
            logger.warning("{}: implausible motion: {}", item["id"], "; ".join(item["doubts"]))


def _note_facts(items: Items) -> None:
    if without := sum(item["facts"] is None for item in items):
        logger.info("description_facts: {} of {} clips left out: their units are not known", without, len(items))


def _note_judge(items: Items) -> None:
    logger.info("description_score: {}", judge.summary(items))


# ---- the metrics ----------------------------------------------------------------------------------------------------


def of_labels(name: str, select: Callable[[Record], Any], ending: str = "") -> list[Metric]:
    """UF1, UAR and accuracy of labels."""
    return [
        Metric(f"{name}_uf1{ending}", select, lambda items: label_scores(items).uf1, "uf1"),
        Metric(f"{name}_uar{ending}", select, lambda items: label_scores(items).uar, "uar"),
        Metric(f"{name}_acc{ending}", select, lambda items: label_scores(items).accuracy, "acc"),
    ]


def of_majority(name: str, select: Callable[[Record], Any]) -> list[Metric]:
    """What answering every clip with the most frequent label of these clips would score."""
    return [
        Metric(f"{name}_uf1_majority", select, lambda items: majority_scores(items).uf1),
        Metric(f"{name}_acc_majority", select, lambda items: majority_scores(items).accuracy),
    ]


def _metric(name: str, select: Callable[[Record], Any], value: Callable[[Items], Any], **more: Any) -> Metric:
    """A metric that has an interval under its own name."""
    return Metric(name, select, value, name, **more)


def _of_ladder(name: str, higher_is_better: bool) -> Metric:
    return Metric(name, _rung, lambda items: summary.interval(name, items).value, name, higher_is_better)


GIVEN = _metric("answer_rate", whole, _answer_rate, every=True, note=_note_unanswered)
_PARSED = _metric("parse_rate", whole, _parse_rate, every=True, note=_note_labels)
_UNITS_PARSED = _metric("au_parse_rate", _units, _au_parse_rate)

METRICS: tuple[Metric, ...] = (
    *of_labels("emotion", _label),
    *of_labels("coarse", _coarse),
    Metric(
        "emotion_ece", _confidence, lambda items: summary.interval("ece", items).value, "ece", higher_is_better=False
    ),
    _metric("au_f1", _units, lambda items: unit_scores(items).mean, note=_note_units),
    _metric("au_f1_micro", _units, lambda items: unit_scores(items).micro),
    _metric("au_exact", _units, lambda items: unit_scores(items).exact),
    _metric("au_side_acc", _units, lambda items: side_scores(items).accuracy),
    _metric("description_facts_f1", _facts, lambda items: _fact_scores(items).f1, note=_note_facts),
    _metric("description_facts_precision", _facts, lambda items: _fact_scores(items).precision),
    _metric("description_facts_recall", _facts, lambda items: _fact_scores(items).recall),
    _metric("description_contradiction_rate", _facts, _contradictions, higher_is_better=False),
    _metric("description_rate", _facts, lambda items: sum(1 for item in items if item["claims"]) / len(items)),
    _metric("description_score", _grade, judge.description_score, note=_note_judge),
    _metric("judge_rate", _grade, judge.judge_rate),
    *of_labels("heads_emotion", _heads_label),
    Metric("heads_emotion_ece", _heads_confidence, lambda items: summary.interval("ece", items).value, "ece", False),
    Metric("heads_au_f1", _heads_units, lambda items: unit_scores(items).mean, "au_f1"),
    _PARSED,
    GIVEN,
    _UNITS_PARSED,
    _metric("motion_plausible_rate", whole, _plausible_rate, every=True, note=_note_motion),
    # constant answers, and a number of units
    *of_majority("emotion", _label),
    *of_majority("coarse", _coarse),
    Metric("au_f1_all_present", _units, lambda items: constant_unit_scores(items, present=True).mean),
    Metric("au_side_count", _units, lambda items: sum(side_scores(items).named)),
    Metric("description_facts_f1_majority", _facts, _constant_facts_f1),
)
"""Every metric of the tasks that ask for units, an expression or both; headlines first."""

SENSITIVITY: tuple[Metric, ...] = (
    _of_ladder("threshold_px", higher_is_better=False),
    _of_ladder("sensitivity_ceiling", higher_is_better=True),
    _of_ladder("false_alarm_rate", higher_is_better=False),
    _UNITS_PARSED,
    GIVEN,
    _PARSED,  # None, because no clip of the ladder has a label
)
"""Every metric of the amplitude ladder (`scoring.sensitivity`)."""

SHOWN: dict[str, tuple[str, ...]] = {
    "all": (
        *("emotion_uf1", "emotion_uar", "coarse_uf1", "au_f1", "description_facts_f1", "description_score"),
        *("parse_rate", "answer_rate"),
    ),
    "emotion": ("emotion_uf1", "emotion_uar", "emotion_acc", "coarse_uf1", "parse_rate", "answer_rate"),
    "aus": ("au_f1", "au_f1_micro", "au_exact", "au_side_acc", "parse_rate", "answer_rate"),
    "sensitivity": (*sensitivity.SCORES, "au_parse_rate", "answer_rate"),
}
"""The rows of lmms-eval's table by kind of task, in their order; of a judge where one is set (`MELLM_JUDGE`)."""


def by_part(datasets: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics of a task over several datasets in coarse classes: `coarse_*`, and `coarse_*_<dataset>` of each."""
    parts = [one for name in datasets for one in of_labels("coarse", _coarse_of(name), f"_{name}")]
    together = [metric for metric in METRICS if not metric.name.startswith("emotion_")]
    return (*together[:3], *parts, *together[3:])


def of_record(record: Record) -> tuple[Metric, ...]:
    """Every metric that a record of a `meu` task can count for."""
    return SENSITIVITY if "rung" in record else (*METRICS, *of_labels("coarse", _coarse, f"_{record['dataset']}"))


# ---- what lmms-eval takes -------------------------------------------------------------------------------------------


def listed(kind: str) -> list[dict[str, Any]]:
    """The `metric_list` of one kind of task, a key of `SHOWN`."""
    return metric_list(SHOWN[kind], SENSITIVITY if kind == "sensitivity" else METRICS)


def listed_by_part(datasets: Sequence[str]) -> list[dict[str, Any]]:
    """The `metric_list` of a task over several datasets in coarse classes."""
    parts = [f"coarse_uf1_{name}" for name in datasets]
    return metric_list(["coarse_uf1", "coarse_uar", *parts, "au_f1", "parse_rate", "answer_rate"], by_part(datasets))


def metric_list(shown: Iterable[str], metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """A task's `metric_list`: the shown metrics with their standard errors, and `scores_stderr` with every metric."""
    named = {metric.name: metric for metric in metrics}
    rows = [named[name] for name in shown]
    listed = [(row.name, row.value, row.higher_is_better) for row in rows]
    listed += [(f"{row.name}_stderr", row.stderr, False) for row in rows if row.score is not None]
    listed.append((SCORES, Scores(tuple(metrics)), False))
    return [{"metric": name, "aggregation": of, "higher_is_better": higher} for name, of, higher in listed]


def items(record: Record, metrics: Sequence[Metric]) -> dict[str, Any]:
    """What `process_results` returns: the record once, and the item of each metric that counts the clip.

    `<metric>_stderr` has the item of its metric; `scores_stderr` has the whole record, and so has `ci95_stderr`, its
    name in task files of version 0.1. While lmms-eval evaluates a task, the metrics that it does not list are left out.
    """
    selected = [(metric, item) for metric in metrics if (item := metric.item(record)) is not None]
    every = {metric.name: item for metric, item in selected}
    every |= {f"{metric.name}_stderr": item for metric, item in selected if metric.score is not None}
    every |= dict.fromkeys((SCORES, "ci95_stderr"), Item(record))
    listed = _listed_metrics()
    return {"record": record, **{name: item for name, item in every.items() if listed is None or name in listed}}


def _listed_metrics() -> Collection[str] | None:
    """The metrics that the task lists whose answer lmms-eval processes now.

    None in a call from Python, and where the task's own function calls ours and may need any item.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        task: Any = frame.f_locals.get("self")
        if frame.f_code.co_name == "process_results" and hasattr(task, "aggregation"):
            ours = str(getattr(task.config.process_results, "__module__", "")).startswith("mellm_plugin.")
            return set(task.aggregation()) if ours else None
        frame = frame.f_back
    return None


@dataclass(frozen=True)
class Scores:
    """The aggregation of `scores_stderr`: every score of a task, with its standard error and 95 % interval."""

    metrics: tuple[Metric, ...]

    def __call__(self, records: Sequence[Record]) -> dict[str, dict[str, Any]]:
        """By metric its `value`, and where it has an interval `stderr` and `ci95`, both ends; the log gets a table."""
        found: dict[str, dict[str, Any]] = {}
        for metric, counted in self._counted(records):
            found[metric.name] = {"value": metric.noted(counted)}
            if metric.score is not None:
                one = summary.interval(metric.score, counted)
                found[metric.name] |= {"stderr": one.stderr, "ci95": summary.ends(one)}
        logger.info("scores\n{}", self.in_words(records))
        return found

    def in_words(self, records: Sequence[Record]) -> str:
        """The table of the scores, and those of labels and units."""
        counted = self._counted(records)
        return summary.in_words([(one.name, one.score, items) for one, items in counted if one.score], records)

    def _counted(self, records: Sequence[Record]) -> list[tuple[Metric, Items]]:
        """The metrics that count any of the records, with the items of those records."""
        found: dict[Any, list[Item]] = {}  # metrics with the same selection share their items
        for metric in self.metrics:
            if (key := (metric.select, metric.every)) not in found:
                found[key] = [item for record in records if (item := metric.item(record)) is not None]
        return [(metric, counted) for metric in self.metrics if (counted := found[metric.select, metric.every])]
