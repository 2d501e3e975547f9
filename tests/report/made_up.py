"""A report's plain data, made up: models of different skill, their answers, and everything a page shows of them.

    report(models=20, clips=2000)["boards"][0]["answers"]["e0"][0]
    {"text": "The brows are drawn down .. Expression: anger", "aus": [4, 7], "label": "anger", "label_right": True, ..}

Nothing here was measured. `results_files.made` makes a report from files, which takes far longer.
"""

from __future__ import annotations

import math
import random
from itertools import combinations, pairwise
from typing import Any

Data = dict[str, Any]
UNITS_OF: dict[str, list[int]] = {
    **{"anger": [4, 7], "contempt": [14], "disgust": [9, 10], "fear": [1, 2, 4, 5]},
    **{"happiness": [6, 12], "sadness": [1, 15, 17], "surprise": [1, 2, 5]},
}
LABELS = [*UNITS_OF]
COARSE = {label: "negative" for label in LABELS} | {"happiness": "positive", "surprise": "surprise"}
UNITS = sorted({unit for units in UNITS_OF.values() for unit in units})
NAMES = ["mellm bundled", "mellm bundled, motion=off", "qwen2_5_vl 7B", "internvl3 8B", "llava-onevision 7B", "gpt-4o"]
_PROSE = "the inner brows rise slightly while lids tighten and a faint pull at mouth corners is seen on cheeks"
WORDS = _PROSE.split()
LADDER = [0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.0, 3.0]
_MAIN = ("emotion_uf1", "coarse_uf1", "au_f1", "description_score")
METRICS: list[Data] = [
    {"name": name, "higher_is_better": True, "kind": "share" if name[0] != "d" else "number", "main": name in _MAIN}
    for name in (*_MAIN, "emotion_acc", "au_exact", "parse_rate")
]
_ABOUT: Data = {"version": "1.0", "prompts": "5", "data": "6f0c8feb", "asks": "all"}
_DETAILS = ("confusion", "reliability", "units", "by_strength", "sensitivity", "rates", "cost")


def report(models: int = 6, clips: int = 120, subjects: int = 12, boards: int = 2) -> Data:
    """The data of a report over `models` models and `boards` boards of `clips` clips; the last board is a ladder."""
    entries = [_entry(number) for number in range(models)]
    ranked = [_board(number, entries, clips, subjects, random.Random(number)) for number in range(max(1, boards - 1))]
    ladder = [_ladder(entries, random.Random(boards))] if boards > 1 else []
    tasks, metrics = [board["task"] for board in ranked], ["emotion_uf1", "au_f1"]
    data = empty() | {"entries": entries, "boards": [*ranked, *ladder]}
    data["reading"] = {
        **{"files": 4 * models, "runs": models * boards, "other_tasks": {"mme": 2}},
        "faults": [{"file": "results/b/20261120_results.json", "fault": "line 3: not JSON; run it again"}],
        "notes": ["2 duplicates of mellm bundled at synthme_meu left out: the newest is shown"],
    }
    rows = [_over(entry["key"], ranked, metrics) for entry in entries]
    data["overall"] = {"tasks": tasks, "metrics": metrics, "averaged": dict.fromkeys(metrics, tasks), "rows": rows}
    return data


def empty() -> Data:
    """A report that found nothing."""
    reading = {"files": 0, "runs": 0, "other_tasks": {}, "faults": [], "notes": []}
    made = {"version": 1, "made": "2026-11-22T10:00:00Z", "mellm_plugin": "0.1.0", "reading": reading}
    return {**made, "entries": [], "boards": [], "overall": {"tasks": [], "metrics": [], "rows": []}}


def bare() -> Data:
    """One model and one board about which nothing else is known: null everywhere."""
    entry = {"key": "e0", "name": "unknown", "model": "unknown", "versions": {}, "files": []}
    row = _model("e0", None, dict.fromkeys(_DETAILS)) | {"ranked": False, "scores": {"au_f1": None}}
    board = dict.fromkeys(("version", "clips", "subjects", "labels", "units"))
    board |= {"task": "bare_meu", "datasets": [], "licensed": True, "metrics": [METRICS[2]], "rows": [row]}
    board |= {"comparisons": [], "published": [], "clip_list": [], "answers": {}}
    return empty() | {"entries": [dict.fromkeys(_entry(0)) | entry], "boards": [board]}


def _entry(number: int) -> Data:
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


def _skill(place: int) -> float:
    return max(0.08, 0.92 - 0.09 * place)


def _board(number: int, entries: list[Data], clips: int, subjects: int, rng: random.Random) -> Data:
    dataset = ["synthme", "casme2", "samm"][number % 3]
    listed = []
    for clip in range(clips):
        subject, label = f"s{clip * subjects // clips:02d}", rng.choice(LABELS)
        name = f"{dataset}/{subject}/{clip:03d}"
        gold = {"aus": [str(unit) for unit in UNITS_OF[label]], "label": label, "coarse": COARSE[label]}
        motion = {
            "motion_px": round(math.exp(rng.gauss(-0.2, 0.6)), 3),
            "doubts": ["the head turns"] * (clip % 40 == 7),
        }
        listed.append({"id": name, "clip": name, "subject": subject, "dataset": dataset} | gold | motion)
    rows = [_row(place, entry, clips) for place, entry in enumerate(entries)]
    for name, metrics in (("majority label", ("emotion_acc", "emotion_uf1")), ("no unit", ("au_exact",))):
        about = {"entry": None, "kind": "constant", "name": name, "ranked": False}
        rows.append(_model("", clips, dict.fromkeys(_DETAILS)) | about | {"scores": {m: _score(0.05) for m in metrics}})
    if len(rows) > 4:
        rows[2].update(marks=[{"kind": "limit", "text": f"{clips // 2} of {clips} clips"}], ranked=False)
        rows[1]["marks"] = [{"kind": "runs", "text": "3 runs, au_f1 .61 to .64"}]
    ranked = [row for row in rows if row["ranked"]]
    for metric in METRICS:
        known = [score for row in ranked if (score := row["scores"].get(metric["name"]))]
        for score in known:
            score["rank"] = 1 + sum(other["low"] > score["high"] for other in known)
            score["rank_low"] = sum(other["high"] >= score["low"] for other in known)
    apart = {"difference": 0.1, "low": 0.04, "high": 0.16, "p": 0.01, "p_holm": 0.03}
    pairs = [{"first": first["entry"], "second": second["entry"]} for first, second in combinations(ranked, 2)]
    return _ABOUT | {
        **{
            "task": f"{dataset}_meu",
            "title": f"{dataset}_meu",
            "datasets": [dataset],
            "licensed": dataset != "synthme",
        },
        **{"clips": clips, "subjects": subjects, "labels": LABELS, "units": UNITS, "metrics": METRICS, "rows": rows},
        "comparisons": [{"metric": metric, **pair, **apart} for metric in ("emotion_uf1", "au_f1") for pair in pairs],
        "published": [
            {"name": name, "source": "FG 2019", "protocol": "3 classes", "scores": {"coarse_uf1": value}}
            for name, value in (("STSTNet", 0.735), ("LBP-TOP", 0.588))
        ],
        "clip_list": listed,
        "answers": {
            entry["key"]: [_answer(clip, _skill(place), rng, place < 3) for clip in listed]
            for place, entry in enumerate(entries)
        },
    }


def _answer(clip: Data, skill: float, rng: random.Random, judged: bool) -> Data | None:
    if rng.random() < 0.004:
        return None
    gold, prose = [int(code) for code in clip["aus"]], " ".join(rng.choices(WORDS, k=34)).capitalize() + "."
    if rng.random() < 0.03:
        unread = dict.fromkeys(("aus", "label", "coarse", "judge")) | {"label_right": False, "aus_right": False}
        return unread | {"text": prose, "unparsed": "no expression was named", "read": []}
    seen = skill * min(1.0, clip["motion_px"])
    label = clip["label"] if rng.random() < 0.2 + 0.8 * seen else rng.choice(LABELS)
    units = gold if rng.random() < seen else sorted({*UNITS_OF[label], rng.choice(UNITS)})
    text, read = prose + " Action units: ", []
    for said, kind in (*((f"AU{unit}", "unit") for unit in units), (label, "label")):
        text += "Expression: " if kind == "label" else ""
        read.append([len(text), len(text) + len(said), kind])
        text += f"{said}, "
    right = {"label_right": label == clip["label"], "aus_right": units == gold}
    judge = {"score": 50 * sum(right.values()), "reason": "The brows are described, the lids are not."}
    said = {"text": text, "aus": units, "label": label, "coarse": COARSE[label], "unparsed": None, "read": read}
    return said | right | {"judge": judge if judged else None}


def _score(value: float, half: float = 0.05) -> Data:
    low, high = max(0.0, value - half), value + half
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4), "rank": None, "rank_low": None}


def _model(key: str, clips: int | None, details: Data) -> Data:
    return {
        "entry": key,
        "kind": "model",
        "name": None,
        "clips": clips,
        "runs": 1,
        "ranked": True,
        "marks": [],
    } | details


def _reliability(skill: float, clips: int) -> Data:
    """Confidence above what is right, by a tenth."""
    bins = [
        {
            "low": at / 15,
            "high": (at + 1) / 15,
            "clips": clips // 5,
            "confidence": (at + 0.5) / 15,
            "right": at / 15 - 0.1,
        }
        for at in (6, 8, 10, 12, 14)
    ]
    return {"ece": 0.1 * skill, "clips": clips, "bins": bins}


def _row(place: int, entry: Data, clips: int) -> Data:
    skill, judged = _skill(place), place < 3

    def confusion(labels: list[str]) -> Data:
        counts = [[round(skill * clips) if read == gold else 1 for read in (*labels, "unread")] for gold in labels]
        return {"labels": labels, "read": [*labels, "unread"], "counts": counts}

    shares = {"f1": skill, "precision": skill, "recall": skill, "present": clips // 3, "named": clips // 3}
    scores = {metric["name"]: _score(skill - 0.01 * number) for number, metric in enumerate(METRICS)}
    details = {
        "scores": scores | {"description_score": _score(100 * skill, 3) if judged else None},
        "confusion": {"emotion": confusion(LABELS), "coarse": confusion(["negative", "positive", "surprise"])},
        "reliability": _reliability(skill, clips) if place < 2 else None,
        "units": {str(unit): shares for unit in UNITS},
        "by_strength": [
            {"low_px": low, "high_px": high, "clips": clips // 5, "unit_recall": skill * high / 6, "label_acc": skill}
            for low, high in pairwise((0.1, 0.4, 0.7, 1.2, 2.0, 6.0))
        ],
        "sensitivity": None,
        "rates": {"parse_rate": 0.97, "au_parse_rate": 0.98, "judge_rate": 0.98 if judged else None},
        "cost": {"input_tokens": 700 * clips, "output_tokens": 80 * clips, "seconds": (0.1 + 0.2 * place) * clips},
    }
    return _model(entry["key"], clips, details)


def _ladder(entries: list[Data], rng: random.Random) -> Data:
    rows = []
    for place, entry in enumerate(entries):
        threshold, ceiling, chance, sees = min(0.25 * 1.45**place, LADDER[-1]), 0.97 - 0.03 * place, 0.02, place < 8

        def seen(px: float, at: float = threshold, rise: float = (ceiling - chance) * sees) -> float:
            return 0.02 + rise * (1 - 0.5 ** ((px / at) ** 2.4))  # Weibull; half-way at the threshold

        bound = "at least" if threshold == LADDER[-1] else None
        known = {"value": threshold, "low": threshold * 0.85, "high": threshold * 1.2}
        score = {**known, "rank": 1 + place, "rank_low": 1 + place, "bound": bound}
        note = "at least 3 px: half-way is not below the last level" if bound else None
        block = {
            **{"levels_px": LADDER, "clips": [80] * len(LADDER), "still_clips": 80},
            "hits": [sum(rng.random() < seen(px) for _ in range(80)) for px in LADDER],
            "others": [round(0.02 + 0.01 * (place + step), 3) for step in range(len(LADDER))],
            "curve": [[round(px := 0.08 * 1.08**step, 4), seen(px)] for step in range(48)] if sees else None,
            "note": note if sees else "units are not named more often the further they move (p = 1)",
            **{"false_alarms": chance, "ceiling": ceiling, "threshold_px": threshold if sees else None},
            **{end: known[end] if sees else None for end in ("low", "high")},
        }
        details = dict.fromkeys(_DETAILS) | {"sensitivity": block}
        details["rates"] = {"parse_rate": None, "au_parse_rate": 0.99, "judge_rate": None}
        details["scores"] = {"threshold_px": score if sees else dict.fromkeys(score)}
        rows.append(_model(entry["key"], 880, details))
    return _ABOUT | {
        **{"task": "synthme_sensitivity", "title": "synthme_sensitivity", "datasets": ["synthme_ladder"]},
        **{"clips": 880, "subjects": 10, "licensed": False, "labels": None, "units": None, "rows": rows},
        "metrics": [{"name": "threshold_px", "higher_is_better": False, "kind": "px", "main": True}],
        **{"comparisons": [], "published": [], "clip_list": [], "answers": {}},
    }


def _over(entry: str, boards: list[Data], metrics: list[str]) -> Data:
    rows = {board["task"]: next(row for row in board["rows"] if row["entry"] == entry) for board in boards}
    scores = {t: {m: row["scores"][m] | {"ranked": row["ranked"]} for m in metrics} for t, row in rows.items()}
    mean = {}
    for name in metrics:
        known = [found[name]["value"] for found in scores.values() if found[name]["ranked"]]
        mean[name] = {"value": sum(known) / len(known) if known else None, "tasks": len(known)}
    return {"entry": entry, "scores": scores, "marks": {t: row["marks"] for t, row in rows.items()}, "mean": mean}
