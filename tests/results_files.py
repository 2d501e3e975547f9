"""Results and samples files as lmms-eval writes them, of made-up answers to made-up clips.

    write_run(folder, Asked(clips=300, subjects=30), Model("mellm", skill=.8), date="20261122_225316")

The clips are the same for every run of one `Asked`. Answers are read by the package's own reader, and the scores of the
results file are computed by the task's own functions, as lmms-eval does it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mellm_plugin import meu
from mellm_plugin.facs.labels import LABELS, coarse
from mellm_plugin.language.answers import read
from mellm_plugin.report import leaderboard, results
from mellm_plugin.scoring import facts, sensitivity

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 24, 25, 26)
_OF_LABEL = {
    "anger": (4, 5, 7, 24),
    "contempt": (14,),
    "disgust": (9, 10, 15),
    "fear": (1, 2, 4, 5, 20, 25),
    "happiness": (6, 12),
    "sadness": (1, 4, 15, 17),
    "surprise": (1, 2, 5, 26),
    "neutral": (),
}
METRICS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "emotion_uf1": meu.emotion_uf1,
    "emotion_uar": meu.emotion_uar,
    "emotion_acc": meu.emotion_acc,
    "emotion_uf1_majority": meu.majority_uf1,
    "coarse_uf1": meu.emotion_uf1,
    "coarse_uar": meu.emotion_uar,
    "coarse_acc": meu.emotion_acc,
    "au_f1": meu.au_f1,
    "au_f1_micro": meu.au_f1_micro,
    "au_exact": meu.au_exact,
    "au_f1_all_present": meu.au_f1_all_present,
    "au_side_acc": meu.au_side_acc,
    "au_parse_rate": meu.au_parse_rate,
    "parse_rate": meu.parse_rate,
    "description_facts_f1": meu.description_facts_f1,
    "motion_plausible_rate": meu.motion_plausible_rate,
}


@dataclass(frozen=True)
class Asked:
    """A task: its clips, and what its results file says of it."""

    clips: int = 60
    subjects: int = 10
    task: str = "synthme_meu"
    dataset: str = "synthme"
    seed: int = 0
    version: float = 1.0
    prompts: str = "1"
    data: str = "6f0c8feb4573d35d"

    def docs(self) -> list[dict[str, Any]]:
        """The clips: id, subject, units and label."""
        rng = np.random.default_rng([self.seed, 0])
        found = []
        for number in range(self.clips):
            label = str(rng.choice(LABELS["synthme"]))
            units = [unit for unit in _OF_LABEL[label] if rng.random() < 0.8]
            codes = [f"{rng.choice(['', '', 'L', 'R'])}{unit}" for unit in units]
            subject = f"s{number % self.subjects:02}"
            found.append(
                {
                    "id": f"{self.dataset}/{subject}/{number:04}",
                    "subject": subject,
                    "aus": codes,
                    "units": units,
                    "label": label,
                    "motion_px": round(float(rng.gamma(2, 0.3)), 3),
                }
            )
        return found


@dataclass(frozen=True)
class Model:
    """A model: how often it is right, and what its results file says of it."""

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
            right = rng.random() < self.skill
            label = doc["label"] if right else str(rng.choice(LABELS["synthme"]))
            units = [unit for unit in doc["units"] if rng.random() < self.skill]
            units += [int(rng.choice(UNITS))] if rng.random() > self.skill else []
            named = "+".join(f"AU{unit}" for unit in sorted({*units})) or "none"
            moves = rng.choice(["brows move down and inwards", "lip corners move up and outwards", "chin moves up"])
            strength = rng.choice(["faintly", "clearly", "strongly"])
            end = f"action units {named}; expression: {label}" if rng.random() < 0.97 else "it cannot be told"
            found.append(
                f"Inspection: the {moves} (left yellow to orange, right turquoise to green), {strength}; the upper "
                f"lids move up (purple), {rng.choice(['faintly', 'clearly'])}; nothing else moves.\nReasoning: the "
                f"movements of {doc['subject']} speak for what follows, with {rng.integers(50, 99)} per cent of "
                f"confidence.\nConclusion: {end}."
            )
        return found


def sample(doc: Mapping[str, Any], asked: Asked, model: Model, place: int, text: str) -> dict[str, Any]:
    """One line of a samples file, as `meu.process_results` fills it."""
    labels = list(LABELS["synthme"])
    answer = read(text, labels)
    clip = {"id": doc["id"], "subject": doc["subject"]}
    reading = {
        "aus": None if answer.aus is None else list(answer.aus),
        "label": answer.label,
        "coarse": answer.coarse,
        "unparsed": answer.unparsed,
        "sides": {str(unit): side for unit, side in answer.sides},
    }
    gold = {"aus": doc["aus"], "label": doc["label"], "emotion": doc["label"], "coarse": coarse(doc["label"])}
    common = {"dataset": asked.dataset, "asks": "all", "labels": labels, "scored_aus": list(UNITS)}
    items: dict[str, Any] = {"parse_rate": {**clip, **common, "gold": gold, "read": reading}}
    of_label = {**clip, "gold": doc["label"], "read": answer.label}
    items |= dict.fromkeys(("emotion_uf1", "emotion_uar", "emotion_acc", "emotion_uf1_majority"), of_label)
    if gold["coarse"] is not None:
        item = {**clip, "gold": gold["coarse"], "read": answer.coarse}
        items |= dict.fromkeys(("coarse_uf1", "coarse_uar", "coarse_acc"), item)
    of_units = {**clip, "gold": doc["aus"], "read": reading["aus"], "sides": reading["sides"], "scored_aus": [*UNITS]}
    of_units_too = ("au_f1", "au_f1_micro", "au_exact", "au_f1_all_present", "au_side_acc", "au_parse_rate")
    items |= dict.fromkeys(of_units_too, of_units)
    items["description_facts_f1"] = {**clip, **facts.compared((), doc["aus"], ())}
    items["motion_plausible_rate"] = {**clip, "doubts": [], "motion_px": doc["motion_px"]}
    if model.judge is not None:
        verdict = {"points": float(place % 5) * 25, "scores": {"units": 3}, "reasons": {"units": "near"}}
        items["description_score"] = {**clip, **verdict, "unscored": None, "judge": model.judge, "rubric": "1"}
        items["judge_rate"] = {**clip, "points": verdict["points"], "unscored": None}
    errors = {f"{metric}_stderr": item for metric, item in items.items()}
    return {
        "doc_id": place,
        "target": f"expression: {doc['label']}",
        "filtered_resps": text,
        "token_counts": [{"input_tokens": 124, "output_tokens": 57}],
        "doc_hash": "74234e98",
        **items,
        **errors,
        "ci95_stderr": {name: items[name] for name in ("parse_rate", "emotion_uf1", "au_f1")},
        "input": "The image is a motion map of a facial micro-expression.",
    }


def write_run(
    folder: Path,
    asked: Asked,
    model: Model,
    date: str = "20261122_225316",
    limit: int | None = None,
    answers: Sequence[str] | None = None,
) -> tuple[Path, Path]:
    """Write one run; returns its results and its samples file."""
    folder.mkdir(parents=True, exist_ok=True)
    docs = asked.docs()[:limit]
    texts = model.answers(docs) if answers is None else answers
    lines = [sample(doc, asked, model, place, text) for place, (doc, text) in enumerate(zip(docs, texts, strict=True))]
    scores: dict[str, Any] = {"alias": asked.task}
    for metric, aggregate in METRICS.items():
        if items := [line[metric] for line in lines if metric in line]:
            scores |= {f"{metric},none": aggregate(items), f"{metric}_stderr,none": "N/A"}
    if model.judge is not None:
        scores["description_score,none"] = meu.description_score([line_of(line) for line in lines])
        scores["judge_rate,none"] = 1.0
    metadata = {
        "version": asked.version,
        "package": "0.1.0",
        "prompt_version": asked.prompts,
        "data": {"test": {"clips": asked.clips, "sha256": asked.data}},
    }
    backend = "lmms_eval.models.chat.other.Other (chat)"
    if model.backend is not None:
        backend = f"mellm_plugin.models.mellm.Mellm {json.dumps(model.backend)} (chat)"
    document = {
        "results": {asked.task: scores},
        "group_subtasks": {asked.task: []},
        "configs": {asked.task: {"task": asked.task, "metadata": metadata}},
        "higher_is_better": {asked.task: dict.fromkeys(METRICS, True)},
        "n-samples": {asked.task: {"original": asked.clips, "effective": len(docs)}},
        "config": {
            "model": model.name,
            "model_args": model.args,
            "model_backend": backend,
            "limit": limit,
            "offset": 0,
        },
        "lmms_eval_version": "main@0123abcd",  # of the repository around the environment
        "packages": {"lmms_eval": "0.7.3", "mellm_plugin": "0.1.0"},
        "date": date,
        "throughput": {"total_elapsed_time": 38.5},
        "efficiency": {"by_task": {asked.task: {"total_input_tokens": 1200.0, "total_output_tokens": 300.0}}},
    }
    results_file = folder / f"{date}_results.json"
    results_file.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")
    samples_file = folder / f"{date}_samples_{asked.task}.jsonl"
    with samples_file.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return results_file, samples_file


def as_ladder(file: Path, samples: Path, rungs: Sequence[Mapping[str, Any]]) -> None:
    """Make a run one of the amplitude ladder, as `meu.process_sensitivity` fills its samples.

    Args:
        file, samples: of `write_run`.
        rungs: of each line, what `scoring.sensitivity` takes, without the clip's id and subject.
    """
    lines = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    seen = []
    with samples.open("w", encoding="utf-8") as written:
        for line, rung in zip(lines, rungs, strict=True):
            clip = {"id": line["parse_rate"]["id"], "subject": line["parse_rate"]["subject"]}
            seen.append({**clip, **rung})
            kept = {key: line[key] for key in ("doc_id", "filtered_resps", "parse_rate", "au_parse_rate")}
            written.write(json.dumps({**kept, **dict.fromkeys(sensitivity.SCORES, seen[-1])}) + "\n")

    def change(document: dict[str, Any]) -> None:
        ((task, scores),) = document["results"].items()
        kept = {key: scores[key] for key in ("parse_rate,none", "au_parse_rate,none")}
        found = {f"{name},none": getattr(meu, name)(seen) for name in sensitivity.SCORES}
        document["results"][task] = {**kept, **found}
        document["higher_is_better"] = {}

    changed(file, change)


def line_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """What a judge's summary counts, of a line."""
    return {**line["description_score"], "cached": False, "requests": 1, "tokens": None, "failed": []}


def changed(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a results file."""
    document = json.loads(file.read_text(encoding="utf-8"))
    change(document)
    file.write_text(json.dumps(document), encoding="utf-8")


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
    found: dict[str, Any] = board
    return found


def row_of(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The row of an entry of the only board."""
    keys = {entry["key"] for entry in data["entries"] if entry["name"] == name}
    (row,) = (row for row in board_of(data)["rows"] if row["entry"] in keys)
    found: dict[str, Any] = row
    return found
