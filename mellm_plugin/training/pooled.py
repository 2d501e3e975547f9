"""The scores of a leave-one-subject-out run: the answers of all folds, scored once over all people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mellm_plugin.errors import TrainingError
from mellm_plugin.scoring import held_out
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
) -> dict[str, Any]:
    """Score the answers of all folds together; write the answers, the scores and the table.

    Args:
        model_args: those of the evaluations that differ from the defaults, for the results.

    Returns:
        the content of `results.json`: lmms-eval's layout, with the folds under `loso`.

    Raises:
        TrainingError: folds failed and incomplete scores are not allowed, or no fold finished.
    """
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
    scores = task.scores(samples)
    found = {
        "results": {task.name: {"alias": task.name, **scores}},
        "n-samples": {task.name: {"original": len(task.asked), "effective": len(samples)}},
        "config": {"model": "mellm", "model_args": model_args, "finetune": config.to_dict()},
        "loso": {
            "complete": not failed,
            "failed": dict(failed),
            "folds": [
                {"name": fold.name, "people": {n: list(of) for n, of in fold.people.items()}, **known}
                for fold, known in done
            ],
        },
        "versions": versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_text(out / _PREDICTIONS, json_lines(samples))
    write_text(out / TABLE, table_of(task, samples, scores, len(folds), failed) + "\n")
    write_text(out / RESULTS, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return found


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
