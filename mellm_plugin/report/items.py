"""The clips of a run -> the items that each metric is scored from.

    scored(["emotion_uf1"], run)
      ->  {"emotion_uf1": ("uf1", [{"id": .., "subject": .., "gold": "fear", "read": None}, ..])}
    summary.interval("uf1", items)

`scoring.metrics` and `scoring.vqa_metrics` declare what a metric takes of the record of a clip, which `record` makes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from mellm_plugin.report.runs import FACTS, Clip, Run
from mellm_plugin.scoring import facts, metrics, sensitivity, vqa_metrics

Items = list[dict[str, Any]]

MAIN: tuple[str, ...] = (
    "emotion_uf1",
    "coarse_uf1",
    "au_f1",
    "description_facts_f1",
    "description_score",
    "threshold_px",
    "vqa_coarse_uf1",
    "vqa_fine_uf1",
    "vqa_au_list_f1",
    "vqa_rouge1_f1",
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


def kind(metric: str) -> str:
    """`px`, `number` (0 to 100 points) or `share` (0 to 1)."""
    return "px" if metric.endswith("_px") else "number" if metric == "description_score" else "share"


def declared(run: Run) -> Mapping[str, metrics.Metric]:
    """By name the metrics that can be scored from the clips of a run."""
    if any(clip.kind is not None for clip in run.clips):
        return _QUESTIONS
    if any(clip.rung is not None for clip in run.clips):
        return _SENSITIVITY
    return _of_datasets(tuple(sorted({clip.dataset for clip in run.clips})))


def _by_name(some: Iterable[metrics.Metric]) -> dict[str, metrics.Metric]:
    return {metric.name: metric for metric in some if metric.score is not None}


_QUESTIONS, _SENSITIVITY = _by_name(vqa_metrics.QUESTIONS), _by_name(metrics.SENSITIVITY)


@lru_cache(maxsize=64)
def _of_datasets(datasets: tuple[str, ...]) -> dict[str, metrics.Metric]:
    return _by_name((*metrics.METRICS, *metrics.by_part(datasets)))


class _Said(dict[str, Any]):
    """What was read in the answer to a question; a part that is missing was not read."""

    def __missing__(self, key: str) -> None:
        return None


def record(clip: Clip, run: Run) -> dict[str, Any]:
    """The record of a clip, as the tasks write it into samples files."""
    about = {"id": clip.id, "subject": clip.subject, "dataset": clip.dataset, "unanswered": clip.unanswered}
    if clip.kind is not None:
        expected, submitted = clip.texts or (None, None)
        gold = None if clip.expected is None else _Said(clip.expected)
        said = {"gold": gold, "read": _Said(clip.said or {}), "expected": expected, "submitted": submitted}
        return {**about, "kind": clip.kind, **said}
    read = {"aus": clip.read_units, "label": clip.read_label, "coarse": clip.read_coarse, "sides": clip.sides}
    return {
        **about,
        "asks": run.asks or "emotion",
        "labels": run.labels,
        "scored_aus": run.units,
        "gold": {"aus": clip.codes, "label": clip.label, "coarse": clip.coarse},
        "read": read,
        "doubts": clip.doubts,
        "facts": None if clip.facts is None else {**dict(zip(FACTS, clip.facts, strict=True)), "gold": clip.codes},
        "judge": clip.verdict,
        "rung": clip.rung,
    }


def of_metric(name: str, run: Run, clips: Sequence[Clip] | None = None) -> Items:
    """The items of one metric.

    Args:
        name: of the metric.
        run: gives what is asked and scored.
        clips: by default those of the run.
    """
    metric = declared(run).get(name)
    return (
        []
        if metric is None
        else _selected(metric, [record(clip, run) for clip in (run.clips if clips is None else clips)])
    )


def _selected(metric: metrics.Metric, records: Sequence[Mapping[str, Any]]) -> Items:
    chosen = ((one, metric.select(one)) for one in records)
    return [{"id": one["id"], "subject": one["subject"], **taken} for one, taken in chosen if taken is not None]


def scored(names: Iterable[str], run: Run) -> dict[str, tuple[str, Items] | None]:
    """By metric its score in `scoring.summary`, and its items; None if the clips do not hold them.

    Metrics with the same items share them. A clip without an answer counts in two metrics alone.
    """
    known = declared(run)
    every = [record(clip, run) for clip in run.clips]
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
    return tuple(metric for metric, found in scored(declared(run), run).items() if found is not None)


# ---- constant answers -----------------------------------------------------------------------------------------------


def constants(run: Run) -> dict[str, dict[str, tuple[str, Items]]]:
    """Score and items of constant answers, by their name and metric.

    Args:
        run: its clips are annotated; its answers are not used.
    """
    known = declared(run)
    found: dict[str, dict[str, tuple[str, Items]]] = {}

    def add(answer: str, names: Iterable[str], items: Items) -> None:
        of_answer = {name: (metric.score or name, items) for name in names if (metric := known.get(name)) is not None}
        found.setdefault(answer, {}).update(of_answer)

    for of in ("emotion", "coarse"):
        if items := of_metric(f"{of}_uf1", run):
            add("most frequent label", [f"{of}_{score}" for score in ("uf1", "uar", "acc")], _always(items))
    rungs = of_metric("threshold_px", run)
    if rungs:
        named = [{**rung, "named": True, "others": rung["other_units"]} for rung in rungs]
        add("all units named", sensitivity.SCORES, named)
    events = of_metric("au_f1", run)
    if any(item["gold"] is not None for item in events):
        every = [{**item, "read": run.units, "sides": {}} for item in events]
        add("all units named", ("au_f1", "au_f1_micro", "au_exact"), every)
        add("no unit named", ("au_exact",), [{**item, "read": (), "sides": {}} for item in events])
    if described := _most_described(of_metric("description_facts_f1", run)):
        add(
            "most frequent description",
            ("description_facts_f1", "description_facts_precision", "description_facts_recall"),
            described,
        )
    for metric in ("vqa_coarse_uf1", "vqa_fine_uf1", "vqa_au_shown_acc", "vqa_au_side_acc"):
        if items := of_metric(metric, run):
            add("most frequent answer", dict.fromkeys((metric, metric.replace("_uf1", "_uar"))), _always(items))
    return found


def _always(items: Items) -> Items:
    """The items if every answer was the most frequent gold value; of equally frequent ones the first in their order."""
    counts = Counter(item["gold"] for item in items)
    said = min(counts, key=lambda value: (-counts[value], str(value)))
    return [{**item, "read": said} for item in items]


def _most_described(items: Items) -> Items:
    """The items if every answer described the most frequent combination of units."""
    known = [item for item in items if item["gold"] is not None]
    said = facts.constant_claims([item["gold"] for item in known])
    if not said:
        return []
    by_codes = {codes: facts.compared(said, codes, ()) for codes in {item["gold"] for item in known}}
    return [{"id": item["id"], "subject": item["subject"], **by_codes[item["gold"]]} for item in known]


def same_clips(first: Items, second: Items) -> tuple[Items, Items]:
    """The items of the clips that both have."""
    ours, theirs = Counter(item["id"] for item in first), Counter(item["id"] for item in second)
    common = {id for id in ours if ours[id] == theirs[id]}
    return [i for i in first if i["id"] in common], [i for i in second if i["id"] in common]


def comparable(score: str, items: Items) -> Items:
    """The items that two runs are compared by: of a judge's those with points."""
    return [item for item in items if item["points"] is not None] if score == "description_score" else items
