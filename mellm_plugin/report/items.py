"""The clips of a run -> the items that each metric is scored from, as `process_results` of the tasks makes them.

    scored(["emotion_uf1"], run)
      ->  {"emotion_uf1": ("uf1", [{"id": .., "subject": .., "gold": "fear", "read": None}, ..])}
    summary.interval("uf1", items)

Samples files hold these items once for every metric; here they are made again of what was kept of each clip.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from mellm_plugin.report.results import Clip, Run
from mellm_plugin.scoring import facts, sensitivity, vqa_metrics

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
"""The metrics that models are compared and ranked by; they stand first in every table."""

LOWER: frozenset[str] = frozenset({"description_contradiction_rate", "threshold_px", "false_alarm_rate"})
"""Metrics of which less is better, where the results file does not say."""

_LABELS = re.compile(r"(emotion|coarse)_(uf1|uar|acc)(?:_([a-z0-9_]+))?")
_OF_UNITS = ("au_f1", "au_f1_micro", "au_exact", "au_side_acc", "au_parse_rate")
_OF_FACTS = (
    "description_facts_f1",
    "description_facts_precision",
    "description_facts_recall",
    "description_contradiction_rate",
    "description_rate",
)
_CONSTANT = ("_majority", "_all_present", "_count")


def shown(metric: str) -> bool:
    """Whether a metric is one of the answers: not what constant answers score, and no mere number of units."""
    return not metric.endswith(_CONSTANT) and metric != "vqa_submission_complete"


def kind(metric: str) -> str:
    """`px`, `number` (of 0 to 100 points) or `share` (of 0 to 1)."""
    return "px" if metric.endswith("_px") else "number" if metric == "description_score" else "share"


def score_of(metric: str) -> str:
    """The score of `scoring.summary` that a metric of `constants` is."""
    if match := _LABELS.fullmatch(metric):
        return match[2]
    return vqa_metrics.INTERVALS.get(metric, metric)


def scored(metrics: Iterable[str], run: Run) -> dict[str, tuple[str, Items] | None]:
    """By metric the score of `scoring.summary` that it is, and its items; None where the clips do not hold them.

    Metrics with the same items share them. An answer that was never given is in none of the scores.
    """
    every, run = run, run.answered
    made: dict[Any, Items] = {}

    def once(key: Any, make: Callable[[], Items]) -> Items:
        if key not in made:
            made[key] = make()
        return made[key]

    found: dict[str, tuple[str, Items] | None] = {}
    for metric in metrics:
        score, items = metric, None
        if match := _LABELS.fullmatch(metric):
            of, score, dataset = match.groups()
            items = once((of, dataset), partial(_of_labels, run, of, dataset))
        elif metric in _OF_UNITS:
            items = once("units", partial(units, run.clips, run))
            if metric == "au_side_acc" and any(item["sides"] is None and item["read"] is not None for item in items):
                items = None  # of a version that read no sides
        elif metric in _OF_FACTS:
            items = once("facts", partial(described, run.clips))
        elif metric in _WHOLE:
            items = once(_WHOLE[metric], partial(_WHOLE[metric], every if metric in _OF_EVERY_CLIP else run))
        elif metric in vqa_metrics.INTERVALS:
            score, items = vqa_metrics.INTERVALS[metric], questions(metric, run.clips)
        found[metric] = (score, items) if items else None
    return found


def _of_labels(run: Run, of: str, dataset: str | None) -> Items:
    clips = [clip for clip in run.clips if dataset is None or clip.dataset == dataset]
    return labels(clips, run) if of == "emotion" else coarse(clips, run)


def _of(clip: Clip) -> dict[str, Any]:
    return {"id": clip.id, "subject": clip.subject}


def labels(clips: Sequence[Clip], run: Run) -> Items:
    """Of the clips that have a label."""
    asked = [clip for clip in clips if clip.label is not None and run.asks != "aus"]
    return [{**_of(clip), "gold": clip.label, "read": clip.read_label} for clip in asked]


def coarse(clips: Sequence[Clip], run: Run) -> Items:
    """Of the clips that have a coarse class."""
    asked = [clip for clip in clips if clip.coarse is not None and run.asks != "aus"]
    return [{**_of(clip), "gold": clip.coarse, "read": clip.read_coarse} for clip in asked]


def units(clips: Sequence[Clip], run: Run) -> Items:
    """Of all clips, where units are asked for."""
    if run.asks in (None, "emotion"):
        return []
    return [
        {
            **_of(clip),
            "gold": clip.codes,
            "read": clip.read_units,
            "sides": clip.sides,
            "scored_aus": run.units,
        }
        for clip in clips
    ]


def _parsed(run: Run) -> Items:
    return [
        {
            **_of(clip),
            "asks": run.asks,
            "gold": {"label": clip.label},
            "read": {"aus": clip.read_units, "label": clip.read_label},
        }
        for clip in run.clips
        if run.asks is not None
    ]


def described(clips: Sequence[Clip]) -> Items:
    """Of the clips that a description was asked of."""
    names = ("right", "claims", "found", "facts", "contradicting", "decided")
    return [
        {**_of(clip), **dict(zip(names, clip.facts, strict=True)), "gold": clip.codes}
        for clip in clips
        if clip.facts is not None
    ]


def _plausible(run: Run) -> Items:
    return [{**_of(clip), "doubts": clip.doubts} for clip in run.clips if clip.doubts is not None]


def _given(run: Run) -> Items:
    return [{**_of(clip), "unanswered": clip.unanswered} for clip in run.clips]


def judged(run: Run) -> Items:
    """Of the clips whose descriptions a judge was asked about."""
    return [
        {**_of(clip), "points": clip.verdict["points"], "unscored": clip.verdict["unscored"]}
        for clip in run.clips
        if clip.verdict is not None
    ]


def laddered(run: Run) -> Items:
    """Of the clips of the amplitude ladder."""
    return [dict(clip.ladder) for clip in run.clips if clip.ladder is not None]


_WHOLE: Mapping[str, Callable[[Run], Items]] = {
    "parse_rate": _parsed,
    "answer_rate": _given,
    "motion_plausible_rate": _plausible,
    "description_score": judged,
    "judge_rate": judged,
    **dict.fromkeys(sensitivity.SCORES, laddered),
}

_OF_EVERY_CLIP = ("answer_rate", "motion_plausible_rate")

_ASKED = {metric: (of.kind, of.part) for metric, of in vqa_metrics.PARTS.items()}


def questions(metric: str, clips: Sequence[Clip]) -> Items:
    """Of the questions that a metric of the ME-VQA challenge is of."""
    if metric in vqa_metrics.TEXT:
        return [{**_of(clip), "gold": clip.texts[0], "read": clip.texts[1]} for clip in clips if clip.texts is not None]
    if metric == "vqa_parse_rate":
        return [{**_of(clip), "kind": clip.kind, "read": clip.said} for clip in clips if clip.said is not None]
    if metric not in _ASKED:
        return []
    asked, thing = _ASKED[metric]
    found: Items = []
    for clip in clips:
        expected = (clip.expected or {}).get(thing)
        if clip.kind == asked and expected is not None:
            found.append({**_of(clip), "gold": expected, "read": (clip.said or {}).get(thing)})
    return found


# ---- constant answers -----------------------------------------------------------------------------------------------


def constants(run: Run) -> dict[str, dict[str, Items]]:
    """What constant answers score, by their name and metric: computed from the annotation of the clips alone.

    Args:
        run: on all clips of the task; its answers are not looked at.
    """
    found: dict[str, dict[str, Items]] = {}
    for of, items in (("emotion", labels(run.clips, run)), ("coarse", coarse(run.clips, run))):
        if items:
            said = most_frequent(item["gold"] for item in items)
            same = [{**item, "read": said} for item in items]
            found.setdefault("most frequent label", {}).update({f"{of}_{s}": same for s in ("uf1", "uar", "acc")})
    rungs = laddered(run)
    if rungs:
        always = [{**rung, "named": True, "others": rung["other_units"]} for rung in rungs]
        found["all units named"] = dict.fromkeys(sensitivity.SCORES, always)
    events = [] if rungs else units(run.clips, run)
    if any(item["gold"] is not None for item in events):
        every = [{**item, "read": run.units, "sides": {}} for item in events]
        none = [{**item, "read": (), "sides": {}} for item in events]
        found["all units named"] = dict.fromkeys(("au_f1", "au_f1_micro", "au_exact"), every)
        found["no unit named"] = {"au_exact": none}
    if (described_so := _most_described(run.clips)) is not None:
        found["most frequent description"] = dict.fromkeys(_OF_FACTS[:3], described_so)
    for metric in ("vqa_coarse_uf1", "vqa_fine_uf1", "vqa_au_shown_acc", "vqa_au_side_acc"):
        if items := questions(metric, run.clips):
            said = most_frequent(item["gold"] for item in items)
            same = [{**item, "read": said} for item in items]
            of_same = {metric: same}
            if metric.endswith("_uf1"):
                of_same[metric.replace("_uf1", "_uar")] = same
            found.setdefault("most frequent answer", {}).update(of_same)
    return found


def most_frequent(values: Any) -> Any:
    """The most frequent of some values, the first in their order of equals."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], str(value)))


def _most_described(clips: Sequence[Clip]) -> Items | None:
    """Items of describing the most frequent combination of units at every clip."""
    known = [clip for clip in clips if clip.facts is not None and clip.codes is not None]
    said = facts.constant_claims([clip.codes for clip in known if clip.codes is not None])
    if not said:
        return None
    by_codes = {codes: facts.compared(said, codes, ()) for codes in {clip.codes for clip in known}}
    return [{**_of(clip), **by_codes[clip.codes]} for clip in known]


def same_clips(first: Items, second: Items) -> tuple[Items, Items]:
    """The items of both that are of clips that both have."""
    ours, theirs = Counter(item["id"] for item in first), Counter(item["id"] for item in second)
    common = {id for id in ours if ours[id] == theirs[id]}
    return [i for i in first if i["id"] in common], [i for i in second if i["id"] in common]


def comparable(score: str, items: Items) -> Items:
    """Those of a judge's items that have points; of other scores all."""
    return [item for item in items if item["points"] is not None] if score == "description_score" else items
