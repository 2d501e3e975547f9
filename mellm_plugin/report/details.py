"""What a report shows of one run beside its scores: confusions, units, motion strength, and each clip and answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from mellm_plugin.facs.codes import numbers
from mellm_plugin.redaction import redacted
from mellm_plugin.report.items import Items, of_metric
from mellm_plugin.report.runs import Clip, Run
from mellm_plugin.report.spans import read_spans
from mellm_plugin.scoring import units

_BINS, _LEAST = 5, 10  # of motion strength, and clips in each


def confusions(run: Run) -> dict[str, Any] | None:
    """What labels and coarse classes were read as; None where none were asked for."""
    found: dict[str, Any] = {}
    for name, of in (
        ("emotion", of_metric("emotion_uf1", run)),
        ("coarse", of_metric("coarse_uf1", run)),
        ("coarse", of_metric("vqa_coarse_uf1", run)),
        ("emotion", of_metric("vqa_fine_uf1", run)),
    ):
        if of:
            found[name] = _confusion(of, run.labels or ())
    return found or None


def _confusion(of: Items, known: Sequence[str]) -> dict[str, Any]:
    """What clips of each label were read as; the last column is that of answers that could not be read."""
    present = {item["gold"] for item in of} | {item["read"] for item in of} - {None}
    names = [*(label for label in known if label in present), *sorted(present - {*known})]
    counts = Counter((item["gold"], item["read"]) for item in of)
    gold = [name for name in names if any(item == name for item, _ in counts)]
    table = [[counts[label, name] for name in (*names, None)] for label in gold]
    return {"labels": gold, "read": [*names, "unread"], "counts": table}


def by_unit(run: Run) -> dict[str, Any] | None:
    """F1, precision, recall and counts of each scored unit; None where none is."""
    of = of_metric("au_parse_rate", run)
    if not of or run.units is None:
        return None
    scores = units.score([_events(item["gold"]) for item in of], [item["read"] for item in of], run.units)
    return {
        str(unit): {
            "f1": scores.f1[unit],
            "precision": hits / (hits + alarms) if hits + alarms else None,
            "recall": hits / (hits + misses) if hits + misses else None,
            "present": hits + misses,
            "named": hits + alarms,
        }
        for unit, (hits, alarms, misses) in scores.counts.items()
    } or None


@lru_cache(maxsize=4096)
def _events(codes: tuple[str, ...] | None) -> tuple[tuple[int, ...], ...] | None:
    return None if codes is None else tuple(numbers(codes))


def exact_answers(run: Run) -> dict[int, bool]:
    """By place whether an answer names exactly the clip's units, of those of the task."""
    of = of_metric("au_parse_rate", run)
    if not of or run.units is None:
        return {}
    counted = units.tally([_events(item["gold"]) for item in of], [item["read"] for item in of], run.units)
    return {run.clips[at].place: bool(right) for at, right in zip(counted.clips, counted.exact, strict=True)}


def strength_edges(strengths: Sequence[float | None]) -> list[float]:
    """The ends of bins of motion strength with about as many clips each; none where too few are known."""
    known = [strength for strength in strengths if strength is not None]
    bins = min(_BINS, len(known) // _LEAST)
    if bins < 2:
        return []
    ends = np.quantile(known, np.linspace(0, 1, bins + 1))
    return [float(end) for end in np.unique(ends)]


def by_strength(run: Run, clips: Sequence[Clip], edges: Sequence[float]) -> list[dict[str, Any]] | None:
    """Recall of units and share of right labels, by the strength of the clips' motion."""
    strengths = {(clip.place, clip.id): clip.motion_px for clip in clips}
    found: list[dict[str, Any]] = []
    for low, high in pairwise(edges):
        last = high == edges[-1]
        within = [
            clip
            for clip in run.clips
            if (px := strengths.get((clip.place, clip.id))) is not None
            and low <= px
            and (px <= high if last else px < high)
        ]
        if not within:
            continue
        of = of_metric("au_parse_rate", run, within)
        recall = None
        if of and run.units is not None:
            counts = units.score([_events(i["gold"]) for i in of], [i["read"] for i in of], run.units).counts.values()
            hits, misses = sum(one[0] for one in counts), sum(one[2] for one in counts)
            recall = hits / (hits + misses) if hits + misses else None
        labelled = of_metric("emotion_uf1", run, within)
        right = [item["gold"] == item["read"] for item in labelled]
        found.append(
            {
                "low_px": low,
                "high_px": high,
                "clips": len(within),
                "unit_recall": recall,
                "label_acc": sum(right) / len(right) if right else None,
            }
        )
    return found or None


def clip_row(clip: Clip) -> dict[str, Any]:
    """A clip and its annotation; of a question its expected answer."""
    expected = clip.expected or {}
    asked = "" if clip.kind is None else f" · question {clip.place + 1}, {clip.kind}"
    units_known = list(clip.codes) if clip.codes is not None else None
    if clip.kind is not None and expected.get("units") is not None:
        units_known = [str(unit) for unit in expected["units"]]
    return {
        "id": f"{clip.id}{asked}",
        "clip": clip.id,
        "subject": clip.subject,
        "dataset": clip.dataset,
        "aus": units_known,
        "label": _said(expected) if clip.kind is not None else clip.label,
        "coarse": expected.get("coarse") if clip.kind is not None else clip.coarse,
        "motion_px": clip.motion_px if clip.rung is None else clip.rung["level_px"],
        "doubts": list(clip.doubts) if clip.doubts is not None else [],
    }


def _said(reading: Mapping[str, Any]) -> str | None:
    """What a question's answer says beside units, as one text."""
    for thing in ("fine", "coarse", "side"):
        if isinstance(reading.get(thing), str):
            return str(reading[thing])
    shown = reading.get("shown")
    return None if shown is None else "yes" if shown else "no"


def answer_row(clip: Clip, exact: bool | None, units_alone: bool) -> dict[str, Any]:
    """An answer, what was read in it and where, whether it is right, and the judge's verdict.

    Args:
        clip: with its answer.
        exact: whether exactly the clip's units are named; of a question it is found out here.
        units_alone: bare numbers are units.
    """
    verdict = clip.verdict
    judge = None
    if verdict is not None:
        judge = {
            "score": verdict["points"],
            "judge": verdict["judge"],
            "scores": verdict["scores"],
            "reasons": {name: _without_keys(why) for name, why in verdict["reasons"].items()},
            "unscored": verdict["unscored"] and {name: redacted(told) for name, told in verdict["unscored"].items()},
        }
    read_units: Sequence[int] | None
    label: str | None
    unparsed: str | None
    if clip.unanswered is not None:
        read_units = label = coarse = label_right = exact = None
        unparsed = f"never given: {clip.unanswered}"
    elif clip.kind is not None:
        said, expected = clip.said or {}, clip.expected or {}
        read_units, label, coarse = said.get("units"), _said(said), said.get("coarse")
        unparsed = "not all that was asked can be read" if None in said.values() else None
        gold_label, gold_units = _said(expected), expected.get("units")
        label_right = None if gold_label is None else label == gold_label
        exact = None if gold_units is None else read_units is not None and {*read_units} == {*gold_units}
    else:
        read_units, label, coarse, unparsed = clip.read_units, clip.read_label, clip.read_coarse, clip.unparsed
        label_right = None if clip.label is None else label == clip.label
    marked = label if clip.kind is None or label not in ("yes", "no", "left", "right") else None
    text = _without_keys(clip.text) if clip.unanswered is None else redacted(clip.text)
    return {
        "text": text,
        "aus": list(read_units) if read_units is not None else None,
        "label": label,
        "coarse": coarse,
        "label_right": label_right,
        "aus_right": exact,
        # of a clip without a label nothing but its units is asked
        "unparsed": None if clip.kind is None and clip.label is None and read_units is not None else unparsed,
        "judge": judge,
        "read": [list(span) for span in _spans(text, tuple(read_units or ()), marked, units_alone)],
    }


# What any key has, looked for first: taking keys out takes thirty times as long. Of servers' own words all are.
_RUN = re.compile(r"[A-Za-z0-9_-]{18}")
_OF_KEYS = ("bearer", "basic", "key", "token", "secret", "passw", "cookie", "authoriz", "://", "sk-", "sk_")


@lru_cache(maxsize=100_000)
def _without_keys(text: str) -> str:
    """The text without keys, which files of earlier versions may hold."""
    lowered = text.lower()
    return redacted(text) if _RUN.search(text) or any(word in lowered for word in _OF_KEYS) else text


@lru_cache(maxsize=100_000)
def _spans(text: str, read_units: tuple[int, ...], label: str | None, alone: bool) -> tuple[tuple[int, int, str], ...]:
    return tuple(read_spans(text, read_units, label, alone))
