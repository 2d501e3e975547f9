"""A report's plain data, made up: models of different skill, their answers, and everything a page shows of them.

    report(models=20, clips=2000)["boards"][0]["answers"]["e0"][0]
    {"text": "The brows are drawn down .. Expression: anger", "aus": [4, 7], "label": "anger", "label_right": True, ..}

Answers and scores follow the skill of a model, independently of each other. Nothing here was measured.
"""

from __future__ import annotations

import math
import random
from functools import partial
from itertools import pairwise
from typing import Any

LABELS = ["anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"]
COARSE = {label: "negative" for label in LABELS} | {"happiness": "positive", "surprise": "surprise"}
UNITS = [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17]
UNITS_OF = {
    "anger": [4, 7],
    "contempt": [14],
    "disgust": [9, 10],
    "fear": [1, 2, 4, 5],
    "happiness": [6, 12],
    "sadness": [1, 15, 17],
    "surprise": [1, 2, 5],
}
NAMES = ["mellm bundled", "mellm bundled, motion=off", "qwen2_5_vl 7B", "internvl3 8B", "llava-onevision 7B", "gpt-4o"]
_PROSE = """the inner brows rise slightly while the lids tighten and a faint pull at the mouth corners is seen on the
left side cheeks lift chin wrinkles nose upper lip subtle brief between onset apex frame intensity low region"""
WORDS = _PROSE.split()
LADDER = [0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.0, 3.0]

METRICS: list[dict[str, Any]] = [
    {"name": name, "higher_is_better": True, "kind": "number" if name == "description_score" else "share", "main": main}
    for main, names in (
        (True, ("emotion_uf1", "coarse_uf1", "au_f1", "description_score")),
        (False, ("emotion_acc", "au_exact", "parse_rate")),
    )
    for name in names
]


def report(models: int = 6, clips: int = 120, subjects: int = 12, boards: int = 2, seed: int = 0) -> dict[str, Any]:
    """The data of a report over `models` models and `boards` boards of `clips` clips; the last board is a ladder."""
    entries = [_entry(number) for number in range(models)]
    made = [_board(number, entries, clips, subjects, random.Random(seed + number)) for number in range(boards)]
    if boards > 1:
        made[-1] = _ladder(entries, random.Random(seed + boards))
    ranked = [board for board in made if board["clip_list"]]
    tasks = [board["task"] for board in ranked]
    return {
        "version": 1,
        "made": "2026-11-22T10:00:00Z",
        "mellm_plugin": "0.1.0",
        "reading": {
            "files": 4 * models,
            "runs": models * boards,
            "other_tasks": {"mme": 2},
            "faults": [{"file": "results/b/20261120_results.json", "fault": "line 3: not JSON; run it again"}],
            "notes": ["2 duplicates of mellm bundled at synthme_meu left out: the newest is shown"],
        },
        "entries": entries,
        "boards": made,
        "overall": {
            "tasks": tasks,
            "metrics": ["emotion_uf1", "au_f1"],
            "averaged": {name: tasks for name in ("emotion_uf1", "au_f1")},
            "rows": [_over(entry["key"], ranked) for entry in entries],
        },
    }


def empty() -> dict[str, Any]:
    """A report that found nothing."""
    return {
        "version": 1,
        "made": "2026-11-22T10:00:00Z",
        "mellm_plugin": "0.1.0",
        "reading": {"files": 0, "runs": 0, "other_tasks": {}, "faults": [], "notes": []},
        "entries": [],
        "boards": [],
        "overall": {"tasks": [], "metrics": [], "rows": []},
    }


def bare() -> dict[str, Any]:
    """One model and one board about which nothing else is known: null everywhere."""
    data = empty()
    data["reading"].update(files=1, runs=1)
    data["entries"] = [
        dict.fromkeys(_entry(0)) | {"key": "e0", "name": "unknown", "model": "unknown", "versions": {}, "files": []}
    ]
    nulls = ("confusion", "units", "by_strength", "sensitivity", "cost")
    row = dict.fromkeys(nulls) | {"entry": "e0", "kind": "model", "name": None, "clips": None, "runs": 1}
    row |= {"ranked": False, "marks": [], "scores": {"au_f1": None}, "rates": None}
    board: dict[str, Any] = {
        "task": "bare_meu",
        "version": None,
        "datasets": [],
        "clips": None,
        "subjects": None,
        "licensed": True,
    }
    board |= {"labels": None, "units": None, "metrics": [METRICS[2]], "rows": [row], "comparisons": []}
    data["boards"] = [board | {"published": [], "clip_list": [], "answers": {}}]
    return data


def _entry(number: int) -> dict[str, Any]:
    name = NAMES[number] if number < len(NAMES) else f"model {number:02d}"
    return {
        "key": f"e{number}",
        "name": name,
        "model": name.split()[0],
        "model_args": f"pretrained=org/{name.split()[0]},motion={'off' if number % 2 else 'robust'}",
        "adapter_sha256": None if number else "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "motion": "off" if number % 2 else {"estimator": "farneback", "floor_px": 0.1},
        "motion_name": None if number % 2 else "robust",
        "judge": "openai/gpt-4o" if number < 3 else None,
        "versions": {"lmms_eval": "0.7.3", "mellm_plugin": "0.1.0", "prompts": 5},
        "date": f"2026-11-{1 + number:02d}",
        "system_instruction_sha": None,
        "files": [f"results/{number}/20261122_results.json"],
    }


def _skill(number: int) -> float:
    return max(0.08, 0.92 - 0.09 * number)


def _board(number: int, entries: list[dict[str, Any]], clips: int, subjects: int, rng: random.Random) -> dict[str, Any]:
    dataset = ["synthme", "casme2", "samm"][number % 3]
    listed = []
    for clip in range(clips):
        subject = f"s{clip * subjects // clips:02d}"
        label = rng.choice(LABELS)
        listed.append(
            {
                "id": f"{dataset}/{subject}/{clip:03d}",
                "clip": f"{dataset}/{subject}/{clip:03d}",
                "subject": subject,
                "dataset": dataset,
                "aus": [str(unit) for unit in UNITS_OF[label]],
                "label": label,
                "coarse": COARSE[label],
                "motion_px": round(math.exp(rng.gauss(-0.2, 0.6)), 3),
                "doubts": ["the head turns by 9 degrees"] if clip % 40 == 7 else [],
            }
        )
    answers = {
        entry["key"]: [_answer(clip, _skill(place), rng, place < 3) for clip in listed]
        for place, entry in enumerate(entries)
    }
    rows = [_row(place, entry, clips, place < 3) for place, entry in enumerate(entries)]
    nulls = dict.fromkeys(("entry", "confusion", "units", "by_strength", "sensitivity", "rates", "cost"))
    for name, metrics in (("majority label", ("emotion_acc", "emotion_uf1")), ("no unit", ("au_exact",))):
        scores = {metric: _score(0.05, clips) for metric in metrics}
        about = {"kind": "constant", "name": name, "clips": clips, "runs": 1, "ranked": False, "marks": []}
        rows.append(nulls | about | {"scores": scores})
    if len(rows) > 4:
        rows[2]["marks"] = [{"kind": "limit", "text": f"{clips // 2} of {clips} clips"}]
        rows[2]["ranked"] = False
        rows[1]["marks"] = [{"kind": "runs", "text": "3 runs, au_f1 .61 to .64"}]
    for metric in METRICS:
        _rank(rows, metric["name"])
    return {
        "task": f"{dataset}_meu",
        "title": f"{dataset}_meu",
        "version": "1.0",
        "prompts": "5",
        "data": "6f0c8feb",
        "asks": "all",
        "datasets": [dataset],
        "clips": clips,
        "subjects": subjects,
        "licensed": dataset != "synthme",
        "labels": LABELS,
        "units": UNITS,
        "metrics": METRICS,
        "rows": rows,
        "comparisons": _comparisons(rows, clips),
        "published": [
            {"name": name, "source": "FG 2019", "protocol": "3 classes", "scores": {"coarse_uf1": value}}
            for name, value in (("STSTNet", 0.735), ("LBP-TOP", 0.588))
        ],
        "clip_list": listed,
        "answers": answers,
    }


def _answer(clip: dict[str, Any], skill: float, rng: random.Random, judged: bool) -> dict[str, Any] | None:
    if rng.random() < 0.004:
        return None
    gold = [int(code) for code in clip["aus"]]
    words = [rng.choice(WORDS) for _ in range(34)]
    prose = " ".join(words).capitalize() + "."
    blank = {"aus": None, "label": None, "coarse": None, "label_right": None, "aus_right": None, "judge": None}
    if rng.random() < 0.03:
        why = "no expression was named"
        return blank | {"text": prose, "label_right": False, "aus_right": False, "unparsed": why, "read": []}
    seen = skill * min(1.0, clip["motion_px"])
    label = clip["label"] if rng.random() < 0.2 + 0.8 * seen else rng.choice(LABELS)
    units = gold if rng.random() < seen else sorted({*UNITS_OF[label], *rng.sample(UNITS, 1)})
    text, read = prose + " Action units: ", []
    for place, unit in enumerate(units):
        text += ", " if place else ""
        read.append([len(text), len(text) + len(f"AU{unit}"), "unit"])
        text += f"AU{unit}"
    text += ".\nExpression: "
    read.append([len(text), len(text) + len(label), "label"])
    points = round(100 * (0.5 * (label == clip["label"]) + 0.5 * (units == gold)))
    judge = {"score": points, "reason": "The brows are described, the lids are not."} if judged else None
    return {
        "text": text + label,
        "aus": units,
        "label": label,
        "coarse": COARSE[label],
        "label_right": label == clip["label"],
        "aus_right": units == gold,
        "unparsed": None,
        "judge": judge,
        "read": read,
    }


def _score(value: float, clips: int) -> dict[str, Any]:
    half = 2.2 * math.sqrt(max(value * (1 - value), 0.002) / max(clips, 1))
    low, high = max(0.0, value - half), min(1.0, value + half)
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4), "rank": None, "rank_low": None}


def _row(place: int, entry: dict[str, Any], clips: int, judged: bool) -> dict[str, Any]:
    skill = _skill(place)

    def confusion(labels: list[str]) -> dict[str, Any]:
        right = round(skill * clips / len(labels))
        counts = [[right if read == gold else 1 for read in (*labels, "unread")] for gold in labels]
        return {"labels": labels, "read": [*labels, "unread"], "counts": counts}

    shares = {"f1": skill, "precision": skill, "recall": skill, "present": clips // 3, "named": clips // 3}
    ends = (0.1, 0.4, 0.7, 1.2, 2.0, 6.0)
    bins = [
        {"low_px": low, "high_px": high, "clips": clips // 5, "unit_recall": skill * high / 6, "label_acc": skill}
        for low, high in pairwise(ends)
    ]
    scores = {metric["name"]: _score(skill - 0.01 * number, clips) for number, metric in enumerate(METRICS)}
    points = 100 * skill
    grade = {"value": points, "low": points - 3, "high": points + 3, "rank": None, "rank_low": None}
    return {
        "entry": entry["key"],
        "kind": "model",
        "name": None,
        "clips": clips,
        "runs": 1,
        "ranked": True,
        "marks": [],
        "scores": scores | {"description_score": grade if judged else None},
        "confusion": {"emotion": confusion(LABELS), "coarse": confusion(["negative", "positive", "surprise"])},
        "units": {str(unit): shares for unit in UNITS},
        "by_strength": bins,
        "sensitivity": None,
        "rates": {"parse_rate": 0.97, "au_parse_rate": 0.98, "judge_rate": 0.98 if judged else None},
        "cost": {
            "input_tokens": 700 * clips,
            "output_tokens": (80 + 9 * place) * clips,
            "seconds": (0.1 + 0.2 * place) * clips,
        },
    }


def _rank(rows: list[dict[str, Any]], metric: str) -> None:
    scored = [row["scores"].get(metric) for row in rows if row["ranked"]]
    known = [score for score in scored if score]
    for score in known:
        score["rank"] = 1 + sum(other["low"] > score["high"] for other in known)
        score["rank_low"] = sum(other["high"] >= score["low"] for other in known)


def _comparisons(rows: list[dict[str, Any]], clips: int) -> list[dict[str, Any]]:
    made = []
    ranked = [row for row in rows if row["ranked"]]
    for metric in ("emotion_uf1", "au_f1"):
        for place, first in enumerate(ranked):
            for second in ranked[place + 1 :]:
                apart = first["scores"][metric]["value"] - second["scores"][metric]["value"]
                p = min(1.0, 2 * math.exp(-8 * abs(apart) * math.sqrt(clips / 100)))
                made.append(
                    {"metric": metric, "first": first["entry"], "second": second["entry"], "difference": apart}
                    | {"low": apart - 0.06, "high": apart + 0.06, "p": p, "p_holm": min(1.0, 3 * p)}
                )
    return made


def _seen(threshold: float, ceiling: float, chance: float, px: float) -> float:
    """A Weibull function, half-way between chance and ceiling at the threshold."""
    return chance + (ceiling - chance) * (1 - 0.5 ** ((px / threshold) ** 2.4))


def _ladder(entries: list[dict[str, Any]], rng: random.Random) -> dict[str, Any]:
    rows = []
    for place, entry in enumerate(entries):
        threshold, ceiling, chance = min(0.25 * 1.45**place, LADDER[-1]), 0.97 - 0.03 * place, 0.02
        sees = place < 8

        seen = partial(_seen, threshold, ceiling if sees else chance, chance)
        clips = [80] * len(LADDER)
        hits = [sum(rng.random() < seen(px) for _ in range(80)) for px in LADDER]
        curve = [[round(0.08 * 1.08**step, 4), seen(0.08 * 1.08**step)] for step in range(48)] if sees else None
        score = {
            "value": threshold,
            "low": threshold * 0.85,
            "high": threshold * 1.2,
            "rank": 1 + place,
            "rank_low": 1 + place,
            "bound": "at least" if threshold == LADDER[-1] else None,
        }
        block = {"levels_px": LADDER, "hits": hits, "clips": clips, "false_alarms": chance, "curve": curve}
        block["others"] = [round(0.02 + 0.01 * (place + step), 3) for step in range(len(LADDER))]
        note = "at least 3 px: half-way is not below the last level" if score["bound"] else None
        note = note if sees else "units are not named more often the further they move (p = 1)"
        block |= {"threshold_px": threshold if sees else None, "still_clips": 80, "ceiling": ceiling, "note": note}
        block |= {"low": threshold * 0.85 if sees else None, "high": threshold * 1.2 if sees else None}
        nulls = dict.fromkeys(("confusion", "units", "by_strength", "cost"))
        rows.append(
            nulls
            | {"entry": entry["key"], "kind": "model", "name": None, "clips": 880, "runs": 1, "ranked": True}
            | {"marks": [], "scores": {"threshold_px": score if sees else dict.fromkeys(score)}, "sensitivity": block}
            | {"rates": {"parse_rate": None, "au_parse_rate": 0.99, "judge_rate": None}}
        )
    return {
        "task": "synthme_sensitivity",
        "title": "synthme_sensitivity",
        "version": "1.0",
        "prompts": "5",
        "data": "d77cd0f5",
        "asks": "all",
        "datasets": ["synthme_ladder"],
        "clips": 880,
        "subjects": 10,
        "licensed": False,
        "labels": None,
        "units": None,
        "metrics": [{"name": "threshold_px", "higher_is_better": False, "kind": "px", "main": True}],
        "rows": rows,
        "comparisons": [],
        "published": [],
        "clip_list": [],
        "answers": {},
    }


def _over(entry: str, boards: list[dict[str, Any]]) -> dict[str, Any]:
    scores: dict[str, dict[str, Any]] = {}
    marks = {}
    for board in boards:
        row = next(row for row in board["rows"] if row["entry"] == entry)
        given = {name: row["scores"][name] for name in ("emotion_uf1", "au_f1")}
        scores[board["task"]] = {name: score and score | {"ranked": row["ranked"]} for name, score in given.items()}
        marks[board["task"]] = row["marks"]
    mean = {}
    for name in ("emotion_uf1", "au_f1"):
        known = [found[name]["value"] for found in scores.values() if found[name] and found[name]["ranked"]]
        mean[name] = {"value": sum(known) / len(known) if known else None, "tasks": len(known)}
    return {"entry": entry, "scores": scores, "marks": marks, "mean": mean}
