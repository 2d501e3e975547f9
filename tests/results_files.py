"""Results and samples files as lmms-eval writes them, of made-up answers to made-up clips.

    write_run(folder, Asked(clips=300, subjects=30), Model("mellm", skill=.8), date="20261122_225316")

The clips are the same for every run of one `Asked`. Records and scores are those of the task's own functions.
Lines of version 0.1, without a record, are in `report/both_forms.jsonl`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mellm_plugin import meu
from mellm_plugin.facs.labels import LABELS, coarse
from mellm_plugin.report import leaderboard, results
from mellm_plugin.scoring import facts, metrics

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 24, 25, 26)
_OF_LABEL: dict[str, tuple[int, ...]] = {
    **{"anger": (4, 5, 7, 24), "contempt": (14,), "disgust": (9, 10, 15), "fear": (1, 2, 4, 5, 20, 25)},
    **{"happiness": (6, 12), "sadness": (1, 4, 15, 17), "surprise": (1, 2, 5, 26), "neutral": ()},
}


@dataclass(frozen=True)
class Asked:
    """A task: its clips, and what its results file says about it."""

    clips: int = 60
    subjects: int = 10
    task: str = "synthme_meu"
    dataset: str = "synthme"
    seed: int = 0
    version: float = 1.0
    prompts: str = "1"
    data: str = "6f0c8feb4573d35d"

    def docs(self) -> list[dict[str, Any]]:
        """The clips, as the task's functions take them."""
        rng = np.random.default_rng([self.seed, 0])
        found = []
        for number in range(self.clips):
            label = str(rng.choice(LABELS["synthme"]))
            aus = [f"{rng.choice(['', '', 'L', 'R'])}{unit}" for unit in _OF_LABEL[label] if rng.random() < 0.8]
            subject = f"s{number % self.subjects:02}"
            about = {"id": f"{self.dataset}/{subject}/{number:04}", "subject": subject, "dataset": self.dataset}
            gold = {"aus": aus, "emotion": label, "coarse": coarse(label), "motion_px": round(rng.gamma(2, 0.3), 3)}
            asks = {"asks": "all", "labels": LABELS["synthme"], "scored_aus": UNITS, "clip": "au12_0px"}
            found.append({**about, **gold, **asks})
        return found


@dataclass(frozen=True)
class Model:
    """A model: how often it is right, and what its results file says about it."""

    name: str = "mellm"
    skill: float = 0.7
    args: str = ""
    seed: int = 1
    backend: Mapping[str, Any] | None = field(default_factory=lambda: {"bundled": True, "motion": "off"})
    judge: str | None = None

    def answers(self, docs: Sequence[Mapping[str, Any]]) -> list[str]:
        """Descriptions of some three hundred characters."""
        rng = np.random.default_rng([self.seed, 7])
        found = []
        for doc in docs:
            label = doc["emotion"] if rng.random() < self.skill else str(rng.choice(LABELS["synthme"]))
            units = [int(code.lstrip("LR")) for code in doc["aus"] if rng.random() < self.skill]
            units += [int(rng.choice(UNITS))] if rng.random() > self.skill else []
            named = "+".join(f"AU{unit}" for unit in sorted({*units})) or "none"
            moves = rng.choice(["brows move down and inwards", "lip corners move up and outwards", "chin moves up"])
            end = f"action units {named}; expression: {label}" if rng.random() < 0.97 else "it cannot be told"
            found.append(
                f"Inspection: the {moves} (left yellow to orange, right turquoise to green); the upper lids move up "
                f"(purple), {rng.choice(['faintly', 'clearly'])}; nothing else moves.\nReasoning: the movements of "
                f"{doc['subject']} speak for what follows, with {rng.integers(50, 99)} per cent of confidence.\n"
                f"Conclusion: {end}."
            )
        return found


@lru_cache(maxsize=64)
def _samples(
    asked: Asked, texts: tuple[str, ...], judge: str | None, rungs: str | None
) -> tuple[str, dict[str, dict[str, Any]]]:
    """The lines of a samples file, and every score; `rungs` is JSON."""
    ladder = json.loads(rungs) if rungs else [None] * asked.clips
    records, lines = [], []
    for place, (doc, text, rung) in enumerate(zip(asked.docs(), texts, ladder, strict=False)):
        record = {**meu.process_sensitivity(doc, [text])["record"], "rung": rung}
        if rung is None:
            del record["rung"]
            record["gold"]["label"] = doc["emotion"]
            record |= {"motion_px": doc["motion_px"], "facts": facts.compared((), doc["aus"], ())}
        if judge is not None:
            verdict = {"points": float(place % 5) * 25, "scores": {"units": 3}, "reasons": {"units": "near"}}
            counted: dict[str, Any] = {"cached": False, "requests": 1, "tokens": None, "failed": []}
            record["judge"] = {**verdict, "unscored": None, "judge": judge, "rubric": "1", **counted}
        records.append(record)
        line = {"doc_id": place, "target": f"expression: {doc['emotion']}", "filtered_resps": text}
        line["token_counts"] = [{"input_tokens": 124, "output_tokens": 57}]
        lines.append(json.dumps({**line, "record": record, "scores_stderr": doc["id"]}, ensure_ascii=False))
    scores = {}
    for metric in metrics.METRICS if rungs is None else metrics.SENSITIVITY:
        if metric.score and (items := [item for one in records if (item := metric.item(one)) is not None]):
            scores[metric.name] = {"value": metric.value(items), "stderr": None, "ci95": None}
    return "\n".join(lines) + "\n", scores


def write_run(
    folder: Path,
    asked: Asked,
    model: Model,
    date: str = "20261122_225316",
    limit: int | None = None,
    answers: Sequence[str] | None = None,
    rungs: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[Path, Path]:
    """Write one run; returns its results and its samples file.

    Args:
        rungs: makes it a run of the amplitude ladder: of each clip, what `scoring.sensitivity` takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = tuple(model.answers(asked.docs()) if answers is None else answers)[:limit]
    lines, scores = _samples(asked, texts, model.judge, None if rungs is None else json.dumps(rungs))
    shown = {f"{name},none": one["value"] for name, one in scores.items() if name in metrics.SHOWN["all"]}
    about = {"package": "0.1.0", "prompt_version": asked.prompts}
    metadata = {"version": asked.version, **about, "data": {"test": {"clips": asked.clips, "sha256": asked.data}}}
    backend = "lmms_eval.models.chat.other.Other (chat)"
    if model.backend is not None:
        backend = f"mellm_plugin.models.mellm.Mellm {json.dumps(model.backend)} (chat)"
    config = {"model": model.name, "model_args": model.args, "model_backend": backend, "limit": limit, "offset": 0}
    every = {"alias": asked.task, "record,none": [], "scores_stderr,none": copy.deepcopy(scores), **shown}
    document = {
        "results": {asked.task: every},
        "group_subtasks": {asked.task: []},
        "configs": {asked.task: {"task": asked.task, "metadata": metadata}},
        "higher_is_better": {asked.task: dict.fromkeys(metrics.SHOWN["all"], True)},
        "n-samples": {asked.task: {"original": asked.clips, "effective": len(texts)}},
        "config": config,
        "lmms_eval_version": "main@0123abcd",  # of the repository around the environment
        "packages": {"lmms_eval": "0.7.3", "mellm_plugin": "0.1.0"},
        "date": date,
        "throughput": {"total_elapsed_time": 38.5},
        "efficiency": {"by_task": {asked.task: {"total_input_tokens": 1200.0, "total_output_tokens": 300.0}}},
    }
    results_file, samples_file = folder / f"{date}_results.json", folder / f"{date}_samples_{asked.task}.jsonl"
    results_file.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")
    samples_file.write_text(lines, encoding="utf-8")
    return results_file, samples_file


def changed(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a results file."""
    document = json.loads(file.read_text(encoding="utf-8"))
    change(document)
    file.write_text(json.dumps(document), encoding="utf-8")


def rescored(file: Path, metric: str, value: object) -> None:
    """Change a score in a results file."""
    changed(file, lambda d: next(iter(d["results"].values()))["scores_stderr,none"][metric].update(value=value))


def changed_line(file: Path, number: int, change: Callable[[dict[str, Any]], object]) -> None:
    """Change one line of a samples file; the first is 1."""
    lines = file.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[number - 1])
    change(row)
    lines[number - 1] = json.dumps(row)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def made(*folders: Path) -> dict[str, Any]:
    """The report of folders, as plain data."""
    return leaderboard.make(results.read(folders)).to_dict()


def board_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """The only board."""
    (board,) = data["boards"]
    return dict(board)


def row_of(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The row of an entry of the only board."""
    keys = {entry["key"] for entry in data["entries"] if entry["name"] == name}
    (row,) = (row for row in board_of(data)["rows"] if row["entry"] in keys)
    return dict(row)
