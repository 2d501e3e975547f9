"""What a report shows of a run besides its scores: confusions, units, motion strength, and each clip and answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from mellm_plugin.facs.codes import numbers
from mellm_plugin.redaction import redacted
from mellm_plugin.report.items import of_metric
from mellm_plugin.report.runs import Clip, Run
from mellm_plugin.report.spans import read_spans
from mellm_plugin.scoring import calibration, units

T = TypeVar("T")

_BINS, _LEAST = 5, 10  # bins of motion strength, and the least number of clips in each


_CONFUSED = (
    *(("emotion", "emotion_uf1"), ("coarse", "coarse_uf1")),
    *(("coarse", "vqa_coarse_uf1"), ("emotion", "vqa_fine_uf1")),
)


def confusions(run: Run) -> dict[str, Any] | None:
    """Confusion matrices of labels and coarse classes; None if the task asks for neither.

    Rows count gold labels, columns the labels read; the last column counts unread answers.
    """
    found: dict[str, Any] = {}
    for name, metric in _CONFUSED:
        if of := of_metric(metric, run):
            counts = Counter((item["gold"], item["read"]) for item in of)
            present = {label for pair in counts for label in pair} - {None}
            names = [label for label in run.labels or () if label in present]
            names += sorted(present - {*names})
            gold = [label for label in names if any(label == given for given, _ in counts)]
            table = [[counts[label, read] for read in (*names, None)] for label in gold]
            found[name] = {"labels": gold, "read": [*names, "unread"], "counts": table}
    return found or None


def reliability(run: Run) -> dict[str, Any] | None:
    """The bins of the expected calibration error that have clips; None without probabilities."""
    if not (of := of_metric("emotion_ece", run)):
        return None
    found = calibration.score([item["confidence"] for item in of], [item["right"] for item in of])
    return {"ece": found.ece, "clips": len(of), "bins": [one._asdict() for one in found.bins]}


def _counted(run: Run, count: Callable[..., T], clips: Sequence[Clip] | None = None) -> T | None:
    """What a function of `scoring.units` counts of a run or some of its clips; None if no unit is scored."""
    of = of_metric("au_parse_rate", run, clips)
    if not of or run.units is None:
        return None
    return count([_events(item["gold"]) for item in of], [item["read"] for item in of], run.units)


def by_unit(run: Run) -> dict[str, Any] | None:
    """F1, precision, recall and counts of each scored unit; None if no unit is scored."""
    found: dict[str, Any] = {}
    if (scores := _counted(run, units.score)) is not None:
        for unit, (hits, alarms, misses) in scores.counts.items():
            named, present = hits + alarms, hits + misses
            shares = {"precision": hits / named if named else None, "recall": hits / present if present else None}
            found[str(unit)] = {"f1": scores.f1[unit], **shares, "present": present, "named": named}
    return found or None


@lru_cache(maxsize=4096)
def _events(codes: tuple[str, ...] | None) -> tuple[tuple[int, ...], ...] | None:
    return None if codes is None else tuple(numbers(codes))


def exact_answers(run: Run) -> dict[int, bool]:
    """By place whether an answer names exactly the clip's units, among the units of the task."""
    if (found := _counted(run, units.tally)) is None:
        return {}
    return {run.clips[at].place: bool(right) for at, right in zip(found.clips, found.exact, strict=True)}


def strength_edges(strengths: Sequence[float | None]) -> list[float]:
    """Edges of bins of motion strength with about equally many clips; empty if too few strengths are known."""
    known = [strength for strength in strengths if strength is not None]
    bins = min(_BINS, len(known) // _LEAST)
    return np.unique(np.quantile(known, np.linspace(0, 1, bins + 1))).tolist() if bins > 1 else []


def by_strength(run: Run, clips: Sequence[Clip], edges: Sequence[float]) -> list[dict[str, Any]] | None:
    """Recall of units and share of right labels in each bin of motion strength."""
    strengths = {(clip.place, clip.id): clip.motion_px for clip in clips}
    found: list[dict[str, Any]] = []
    for low, high in pairwise(edges):
        within = [
            clip
            for clip in run.clips
            if (px := strengths.get((clip.place, clip.id))) is not None
            and (low <= px < high or px == high == edges[-1])
        ]
        if not within:
            continue
        recall = None
        if (scores := _counted(run, units.score, within)) is not None:
            hits, misses = (sum(one[kind] for one in scores.counts.values()) for kind in (0, 2))
            recall = hits / (hits + misses) if hits + misses else None
        right = [item["gold"] == item["read"] for item in of_metric("emotion_uf1", run, within)]
        bin_of = {"low_px": low, "high_px": high, "clips": len(within), "unit_recall": recall}
        found.append({**bin_of, "label_acc": sum(right) / len(right) if right else None})
    return found or None


def clip_row(clip: Clip) -> dict[str, Any]:
    """A clip and its annotation; for a question, the expected answer."""
    record, gold = clip.record, clip.record["gold"] or {}
    if clip.kind is None:
        asked, codes, label = "", gold["aus"], gold["label"]
    else:
        asked, label = f" · question {clip.place + 1}, {clip.kind}", _said(gold)
        codes = None if gold.get("units") is None else map(str, gold["units"])
    row = {"id": f"{clip.id}{asked}", "clip": clip.id, "subject": record["subject"], "dataset": clip.dataset}
    row |= {"aus": None if codes is None else list(codes), "label": label, "coarse": gold.get("coarse")}
    row["motion_px"] = clip.motion_px if clip.rung is None else clip.rung["level_px"]
    return row | {"doubts": list(record.get("doubts") or ())}


def _said(reading: Mapping[str, Any]) -> str | None:
    """What the answer to a question says, except units, as one text."""
    shown = {None: None, True: "yes", False: "no"}[reading.get("shown")]
    return next((said for part in ("fine", "coarse", "side") if (said := reading.get(part)) is not None), shown)


def answer_row(clip: Clip, exact: bool | None, units_alone: bool) -> dict[str, Any]:
    """An answer, what was read in it and where, whether it is right, and the judge's verdict.

    Args:
        exact: whether the answer names exactly the clip's units; for a question it is computed here.
        units_alone: plain numbers are units.
    """
    verdict = clip.judge
    read, gold = clip.record["read"], clip.record["gold"] or {}
    judge = None
    if verdict is not None:
        judge = {"score": verdict["points"], "judge": verdict["judge"], "scores": verdict["scores"]}
        judge["reasons"] = {name: _without_keys(why) for name, why in verdict["reasons"].items()}
        why = verdict["unscored"]
        judge["unscored"] = why and {name: redacted(text) for name, text in why.items()}
    label: str | None
    unparsed: str | None
    if clip.unanswered is not None:
        read_units = label = coarse = label_right = exact = None
        unparsed = f"never given: {clip.unanswered}"
    elif clip.kind is not None:
        read_units, label, coarse = read.get("units"), _said(read), read.get("coarse")
        unparsed = "part of the answer cannot be read" if None in read.values() else None
        gold_label, gold_units = _said(gold), gold.get("units")
        label_right = None if gold_label is None else label == gold_label
        exact = None if gold_units is None else read_units is not None and {*read_units} == {*gold_units}
    else:
        read_units, label, coarse, unparsed = (read[name] for name in ("aus", "label", "coarse", "unparsed"))
        label_right = None if gold["label"] is None else label == gold["label"]
    marked = label if clip.kind is None or label not in ("yes", "no", "left", "right") else None
    text = _without_keys(clip.text) if clip.unanswered is None else redacted(clip.text)
    if clip.kind is None and gold["label"] is None and read_units is not None:
        unparsed = None  # a clip without a label is only asked for its units
    aus = None if read_units is None else list(read_units)
    row = {"text": text, "aus": aus, "label": label, "coarse": coarse, "label_right": label_right, "aus_right": exact}
    spans = _spans(text, tuple(aus or ()), marked, units_alone)
    return {**row, "unparsed": unparsed, "judge": judge, "read": [list(span) for span in spans]}


_spans = lru_cache(maxsize=100_000)(read_spans)

# Cheap signs of a key, checked first, because redaction takes thirty times as long.
_RUN = re.compile(r"[A-Za-z0-9_-]{18}")
_OF_KEYS = ("bearer", "basic", "key", "token", "secret", "passw", "cookie", "authoriz", "://", "sk-", "sk_")


@lru_cache(maxsize=100_000)
def _without_keys(text: str) -> str:
    """The text without keys, which files of earlier versions may contain."""
    lowered = text.lower()
    return redacted(text) if _RUN.search(text) or any(word in lowered for word in _OF_KEYS) else text
