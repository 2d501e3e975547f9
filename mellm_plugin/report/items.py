"""The clips of a run -> the items that each metric is scored from.

    scored(["emotion_uf1"], run)
      ->  {"emotion_uf1": ("uf1", [{"id": .., "subject": .., "gold": "fear", "read": None}, ..])}
    summary.interval("uf1", items)

`scoring.metrics` and `scoring.vqa_metrics` declare what a metric takes from the record of a clip.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mellm_plugin.report.runs import Clip, Run
from mellm_plugin.scoring import facts, metrics, sensitivity, vqa_metrics

Items = list[dict[str, Any]]

MAIN: tuple[str, ...] = (
    *("emotion_uf1", "coarse_uf1", "au_f1", "description_facts_f1", "description_score", "threshold_px"),
    *("vqa_coarse_uf1", "vqa_fine_uf1", "vqa_au_list_f1", "vqa_rouge1_f1"),
)
"""The metrics that rank the models; they come first in every table."""

LOWER: frozenset[str] = frozenset(
    metric.name for metric in (*metrics.METRICS, *metrics.SENSITIVITY) if not metric.higher_is_better
)
"""Metrics of which less is better, whatever a results file says."""

_CONSTANT = ("_majority", "_all_present", "_count")


def shown(metric: str) -> bool:
    """Whether a metric scores the answers; others score constant answers, or count units."""
    return not metric.endswith(_CONSTANT) and metric != "vqa_submission_complete"


def scale(metric: str) -> str:
    """`px`, `number` (0 to 100 points) or `share` (0 to 1)."""
    return "px" if metric.endswith("_px") else "number" if metric == "description_score" else "share"


def _by_name(some: Iterable[metrics.Metric]) -> dict[str, metrics.Metric]:
    return {metric.name: metric for metric in some if metric.score is not None}


_QUESTIONS, _SENSITIVITY = _by_name(vqa_metrics.QUESTIONS), _by_name(metrics.SENSITIVITY)
_METRICS = _by_name(metrics.METRICS)


def _declared(run: Run) -> Mapping[str, metrics.Metric]:
    """By name the metrics that can be scored from the clips of a run."""
    if any(clip.kind is not None for clip in run.clips):
        return _QUESTIONS
    if any(clip.rung is not None for clip in run.clips):
        return _SENSITIVITY
    return _METRICS | _by_name(metrics.by_part(sorted({clip.dataset for clip in run.clips})))


def of_metric(name: str, run: Run, clips: Sequence[Clip] | None = None) -> Items:
    """The items of one metric, from all clips of a run or some of them."""
    known = _declared(run)
    metric = known.get(name)
    if metric is None and known is _SENSITIVITY:  # labels and units of ladder clips are shown, though not scored
        metric = _METRICS.get(name)
    return [] if metric is None else _selected(metric, [one.record for one in (run.clips if clips is None else clips)])


def _selected(metric: metrics.Metric, records: Sequence[Mapping[str, Any]]) -> Items:
    chosen = ((one, metric.select(one)) for one in records)
    return [{"id": one["id"], "subject": one["subject"], **taken} for one, taken in chosen if taken is not None]


def scored(names: Iterable[str], run: Run) -> dict[str, tuple[str, Items] | None]:
    """By metric its score in `scoring.summary`, and its items; None if the clips do not hold them.

    Metrics with the same items share them. A clip without an answer counts in two metrics alone.
    """
    known = _declared(run)
    every = [clip.record for clip in run.clips]
    answered = [one for one in every if one["unanswered"] is None]
    made: dict[Any, Items] = {}
    found: dict[str, tuple[str, Items] | None] = {}
    for name in names:
        found[name] = None
        if (metric := known.get(name)) is None or metric.score is None:
            continue
        records = every if name in ("answer_rate", "motion_plausible_rate") else answered
        key = metric.select, records is every
        items = made[key] = made[key] if key in made else _selected(metric, records)
        if name == "motion_plausible_rate":
            items = [item for item in items if item["doubts"] is not None]
        if name == "au_side_acc" and any(item["sides"] is None and item["read"] is not None for item in items):
            continue  # written by a version that read no sides
        found[name] = (metric.score, items) if items else None
    return found


def scorable(run: Run) -> tuple[str, ...]:
    """The metrics that the clips of a run can be scored by, for a run without a results file."""
    return tuple(metric for metric, found in scored(_declared(run), run).items() if found is not None)


def constants(run: Run) -> dict[str, dict[str, tuple[str, Items]]]:
    """Score and items of constant answers, by their name and metric, from the annotation of a run's clips."""
    known = _declared(run)
    found: dict[str, dict[str, tuple[str, Items]]] = {}

    def add(answer: str, names: Iterable[str], items: Items) -> None:
        of_answer = {name: (metric.score or name, items) for name in names if (metric := known.get(name)) is not None}
        found.setdefault(answer, {}).update(of_answer)

    for of in ("emotion", "coarse"):
        if items := of_metric(f"{of}_uf1", run):
            add("most frequent label", [f"{of}_{score}" for score in ("uf1", "uar", "acc")], _always(items))
    if rungs := of_metric("threshold_px", run):
        named = [{**rung, "named": True, "others": rung["other_units"]} for rung in rungs]
        add("all units named", sensitivity.SCORES, named)
    events = [] if rungs else of_metric("au_f1", run)
    if any(item["gold"] is not None for item in events):
        every = [{**item, "read": run.units, "sides": {}} for item in events]
        add("all units named", ("au_f1", "au_f1_micro", "au_exact"), every)
        add("no unit named", ("au_exact",), [{**item, "read": (), "sides": {}} for item in events])
    described = [item for item in of_metric("description_facts_f1", run) if item["gold"] is not None]
    if said := facts.constant_claims([item["gold"] for item in described]):
        by_codes = {codes: facts.compared(said, codes, ()) for codes in {item["gold"] for item in described}}
        items = [{"id": item["id"], "subject": item["subject"], **by_codes[item["gold"]]} for item in described]
        scores = ("description_facts_f1", "description_facts_precision", "description_facts_recall")
        add("most frequent description", scores, items)
    for metric in ("vqa_coarse_uf1", "vqa_fine_uf1", "vqa_au_shown_acc", "vqa_au_side_acc"):
        if items := of_metric(metric, run):
            add("most frequent answer", dict.fromkeys((metric, metric.replace("_uf1", "_uar"))), _always(items))
    return found


def _always(items: Items) -> Items:
    """The items if every answer was the most frequent gold value; of equally frequent ones the first in their order."""
    counts = Counter(item["gold"] for item in items)
    said = min(counts, key=lambda value: (-counts[value], str(value)))
    return [{**item, "read": said} for item in items]
