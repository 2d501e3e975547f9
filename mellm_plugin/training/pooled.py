"""The scores of a leave-one-subject-out run: the answers of all folds, scored once over all people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mellm_plugin.errors import TrainingError
from mellm_plugin.scoring import held_out, summary
from mellm_plugin.scoring.intervals import holm
from mellm_plugin.small_files import write_text
from mellm_plugin.training.adapter import versions
from mellm_plugin.training.config import Config
from mellm_plugin.training.folds import RESULTS, SAMPLES, TABLE, Fold, done_fold, fold_folder

_PREDICTIONS = "predictions.jsonl"


def pool(
    config: Config,
    task: held_out.Task,
    out: Path,
    folds: Sequence[Fold],
    failed: Mapping[str, str],
    *,
    allow_incomplete: bool = False,
    model_args: str = "",
    beside: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> dict[str, Any]:
    """Score the answers of all folds together; write the answers, the scores and the table.

    Args:
        model_args: those of the evaluations that differ from the defaults, for the results.
        beside: the samples of baselines under the same folds, by name.

    Returns:
        the content of `results.json`: lmms-eval's layout, with the folds under `loso`.

    Raises:
        TrainingError: folds failed and incomplete scores are not allowed, or no fold finished.
    """
    beside = beside or {}
    done = [(fold, known) for fold in folds if (known := done_fold(out, fold)) is not None]
    answers = [(fold_folder(out, fold) / SAMPLES).read_text(encoding="utf-8") for fold, _ in done]
    samples = [json.loads(line) for text in answers for line in text.splitlines()]
    samples.sort(key=lambda sample: int(sample["doc_id"]))
    for old in (_PREDICTIONS, RESULTS, TABLE):
        (out / old).unlink(missing_ok=True)
    if failed and not (allow_incomplete and samples):
        reasons = "".join(f"\n  - {name}: {reason}" for name, reason in failed.items())
        raise TrainingError(
            f"{len(failed)} of {len(folds)} folds failed, so there are no scores:{reasons}\nFix the reasons and run "
            "the same command again: finished folds are kept. Or use --allow-incomplete for scores without these people"
        )
    known = {"model": "mellm", "model_args": model_args, "finetune": config.to_dict()}
    of_folds = [
        {"name": fold.name, "people": {n: list(of) for n, of in fold.people.items()}, **known_fold}
        for fold, known_fold in done
    ]
    loso = {"complete": not failed, "failed": dict(failed), "folds": of_folds}
    compared = baselines_beside(task, samples, beside)
    return _written(out, task, samples, loso, known, len(folds), {"beside": compared} if beside else {})


def write_scores(
    out: Path,
    task: held_out.Task,
    samples: Sequence[Mapping[str, Any]],
    folds: Sequence[Fold],
    known: Mapping[str, Any],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the answers of a baseline, their scores and table, into a folder of its own.

    `known` is what `results.json` says of the model, `more` what it says of the folds; returns its content.
    """
    of_folds = [{"name": fold.name, "people": {n: list(of) for n, of in fold.people.items()}} for fold in folds]
    loso = {"complete": True, "failed": {}, "folds": of_folds, **more}
    out.mkdir(parents=True, exist_ok=True)
    return _written(out, task, samples, loso, known, len(folds), {"configs": {task.name: dict(task.config)}})


def _written(
    out: Path,
    task: held_out.Task,
    samples: Sequence[Mapping[str, Any]],
    loso: Mapping[str, Any],
    known: Mapping[str, Any],
    folds: int,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Score answers, and write them, the table and, last, `results.json`, whose content is returned."""
    scores = task.scores(samples)
    found = {
        "results": {task.name: {"alias": task.name, **scores}},
        "n-samples": {task.name: {"original": len(task.asked), "effective": len(samples)}},
        "config": dict(known),
        "loso": dict(loso),
        "versions": versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **more,
    }
    table = table_of(task, samples, scores, folds, loso["failed"])
    if "beside" in more:
        table += "\n\n" + in_words(more["beside"])
    write_text(out / _PREDICTIONS, json_lines(samples))
    write_text(out / TABLE, table + "\n")
    write_text(out / RESULTS, json.dumps(found, indent=1, ensure_ascii=False, default=str) + "\n")
    return found


def read_samples(out: Path) -> list[dict[str, Any]]:
    """The samples of a finished run or baseline, in the order of the task."""
    return [json.loads(line) for line in (out / _PREDICTIONS).read_text(encoding="utf-8").splitlines()]


_COMPARED = ("emotion_uf1", "coarse_uf1", "au_f1", "vqa_coarse_uf1", "vqa_fine_uf1", "vqa_au_list_f1")
"""The scores by which a trained model is held against the baselines."""


def baselines_beside(
    task: held_out.Task,
    samples: Sequence[Mapping[str, Any]],
    baselines: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, dict[str, Any]]:
    """The scores of a run and of its baselines on the same clips, with intervals over people.

    Returns:
        by metric, `scores` (value, low and high by name: `trained`, the baselines, `most frequent label`) and
        `differences` (trained minus baseline by its name: difference, low, high, p, and p corrected for the baselines).
    """
    asked = {sample["doc_id"] for sample in samples}
    runs = {"trained": samples} if samples else {}
    runs |= {name: [one for one in of if not asked or one["doc_id"] in asked] for name, of in baselines.items()}
    records = {name: [one["record"] for one in of if "record" in one] for name, of in runs.items()}
    found: dict[str, dict[str, Any]] = {}
    first = next((of[0] for of in records.values() if of), None)
    for metric in held_out.metrics_of(first) if first is not None else ():
        if metric.name not in _COMPARED or metric.score is None:
            continue
        every = {name: [i for one in of if (i := metric.item(one)) is not None] for name, of in records.items()}
        # a clip that one of them never answered is none of the others' faults
        common = set.intersection(*({item["id"] for item in items} for items in every.values()))
        items = {name: [item for item in of if item["id"] in common] for name, of in every.items()}
        if common:
            found[metric.name] = _compared(metric.score, items)
    return found


def _compared(score: str, items: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    scores: dict[str, Any] = {name: summary.interval(score, of) for name, of in items.items()}
    gold = next(iter(items.values()))
    if score == "uf1":
        counts = Counter(item["gold"] for item in gold)
        most = min(counts, key=lambda label: (-counts[label], label))
        scores["most frequent label"] = summary.interval(score, [{**item, "read": most} for item in gold])
    differences: dict[str, Any] = {}
    others = [name for name in items if name != "trained"]
    if "trained" in items:
        differences = {name: asdict(summary.comparison(score, items[name], items["trained"])) for name in others}
        corrected = holm([one["p"] for one in differences.values()])
        for one, p in zip(differences.values(), corrected, strict=True):
            one["p_holm"] = p
    kept = {name: {"value": one.value, "low": one.low, "high": one.high} for name, one in scores.items()}
    return {"scores": kept, "differences": differences}


def in_words(compared: Mapping[str, Mapping[str, Any]]) -> str:
    """The outcome of `baselines_beside` as a table: a row for each of them, then one for each difference."""
    rows = [["under the same folds", *compared]]
    for kind, sign in (("scores", ""), ("differences", "+")):
        for name in dict.fromkeys(name for of in compared.values() for name in of[kind]):
            row = [f"trained - {name}" if sign else name]
            for of in compared.values():
                one = of[kind].get(name)
                row.append("–" if one is None else _number(one, sign))
            rows.append(row)
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "intervals over people; p of a paired exchange of people, corrected for the baselines"])


def _number(one: Mapping[str, Any], sign: str) -> str:
    value, low, high = (one.get(name, one.get("difference")) for name in ("value", "low", "high"))
    if value is None:
        return "–"
    text = f"{value:{sign}.3f}" + ("" if low is None else f" [{low:{sign}.3f}, {high:{sign}.3f}]")
    return text + (f" p={one['p_holm']:.3f}" if one.get("p_holm") is not None else "")


def json_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line of JSON for each row."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table_of(
    task: held_out.Task,
    samples: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any],
    folds: int,
    failed: Mapping[str, str],
) -> str:
    """The scores in words, with intervals over people if the task has them."""
    lines = [f"{task.name}, leave-one-subject-out, {folds} folds, all answers scored together"]
    if failed:
        lines.append(f"INCOMPLETE: without the people of {len(failed)} failed folds ({', '.join(failed)})")
    if (table := task.in_words(samples)) is not None:
        lines.append(table)
    else:
        numbers = [(name.removesuffix(",none"), n) for name, n in scores.items() if isinstance(n, int | float)]
        lines += [f"{name}  {n:.3f}" for name, n in numbers]
    return "\n".join(lines)
