"""A task of lmms-eval that asks about some people only, and the scores of several such runs together.

    task = open_task("casme2_meu")
    write_task(folder, task, {"casme2": ["sub01"]})     # held_out.yaml, held_out.json
    lmms-eval --tasks casme2_meu_held_out --include_path FOLDER ..
    task.scores(samples of all people)                  # {"emotion_uf1,none": .41, ..}

The written task includes the given one and differs in its clips only. Labels and units are still those of all clips
(`aus=least5` counts over all people), because the other people are left out afterwards. Scores are computed once, by
the task's own aggregations over all clips: the mean of the F1s of single people is another number, and misleading for
people with few clips.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mellm_plugin.errors import InputError, imports_of_lmms_eval, near
from mellm_plugin.scoring import metrics, vqa_metrics

ENDING = "_held_out"
"""Ending of the names of tasks that ask about some people only."""

_FILE = "held_out"
_NEEDED = ("dataset", "subject")


@dataclass(frozen=True)
class Asked:
    """A clip that a task asks about, or a question about it."""

    id: str
    dataset: str
    subject: str


@dataclass(frozen=True)
class Task:
    """A task as lmms-eval loads it: its YAML, what it asks about, in the order of its data, and its metrics.

    `docs` are the rows of its data, `process` makes the lines of a samples file from a row and the answers to it, and
    `config` is what a results file says of the task.
    """

    name: str
    file: Path
    asked: tuple[Asked, ...]
    aggregations: Mapping[str, Callable[[Sequence[Any]], Any]] = field(repr=False)
    docs: Any = field(default=(), repr=False)
    process: Callable[[Any, Sequence[str]], Mapping[str, Any]] | None = field(default=None, repr=False)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def of(self, people: Mapping[str, Sequence[str]]) -> tuple[int, ...]:
        """The places in `asked` of what concerns these people, given by dataset."""
        return tuple(n for n, one in enumerate(self.asked) if one.subject in people.get(one.dataset, ()))

    def scores(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Every metric over all samples (lines of samples files) at once, under the names of lmms-eval's results."""
        lines: list[Mapping[str, Any]] = []
        for sample in samples:
            if isinstance(record := sample.get("record"), Mapping):  # references to it become items again
                sample = {**sample, **metrics.items(record, metrics_of(record))}
            lines.append(sample)
        found: dict[str, Any] = {}
        for metric, aggregate in self.aggregations.items():
            items = [line[metric] for line in lines if metric in line]
            # lines of version 0.1 have no record, and some of all would give other scores
            if items and (metric != metrics.SCORES or len(items) == len(lines)):
                found[f"{metric},none"] = aggregate(items)
        return found

    def in_words(self, samples: Sequence[Mapping[str, Any]]) -> str | None:
        """The table of all scores with their intervals; None for tasks of others."""
        records = [record for sample in samples if isinstance(record := sample.get("record"), Mapping)]
        if not records or len(records) < len(samples):
            return None
        scores = self.aggregations.get(metrics.SCORES)
        if not isinstance(scores, metrics.Scores):  # a list of single metrics
            scores = metrics.Scores(metrics_of(records[0]))
        return scores.in_words(records)


def metrics_of(record: Mapping[str, Any]) -> tuple[metrics.Metric, ...]:
    """The metrics that a record is scored by."""
    return vqa_metrics.QUESTIONS if "kind" in record else metrics.of_record(record)


def open_task(name: str, include_path: str | None = None) -> Task:
    """Load a task, not a group, as lmms-eval does for the model `mellm`; `include_path` is a folder of further tasks.

    Raises:
        InputError: there is no such task, or its data do not give the dataset and subject of a clip.
        DataError: its data are not prepared.
    """
    with imports_of_lmms_eval():
        import lmms_eval.models  # noqa: F401 - its entry points put the tasks of this package beside lmms-eval's own
        from lmms_eval.tasks import TaskManager, get_task_dict

    manager = TaskManager(include_path=include_path, model_name="mellm")
    entry = manager.task_index.get(name)
    if entry is None:
        raise InputError(f"expected a task, found {name!r}.{near(name, manager.task_index)}", where="--task")
    if (kind := entry["type"]) != "task":
        raise InputError(f"expected one task, found the {kind} {name!r}; give one of its tasks", where="--task")
    task = get_task_dict([name], manager, "chat")[name]
    docs = task.eval_docs
    names = getattr(docs, "column_names", None) or ()
    if lacking := [column for column in _NEEDED if column not in names]:
        raise InputError(
            f"{name}: expected clips with columns for dataset and subject; found no column "
            f"{' and no '.join(lacking)}, only {', '.join(names)}",
            where="--task",
        )
    ids = docs["id"] if "id" in names else [str(number) for number in range(len(docs))]
    asked = tuple(Asked(*one) for one in zip(ids, docs["dataset"], docs["subject"], strict=True))
    config = {key: task.dump_config().get(key) for key in ("metadata", "lmms_eval_specific_kwargs")}
    about = docs, task.process_results, {key: value for key, value in config.items() if value is not None}
    return Task(name, Path(entry["yaml_path"]), asked, task.aggregation(), *about)


def write_task(folder: Path, task: Task, people: Mapping[str, Sequence[str]]) -> str:
    """Write the task file that asks about these people (by dataset) only, for `--include_path`; returns its name."""
    name = f"{task.name}{ENDING}"
    known = {"file": str(task.file.absolute()), "people": {dataset: list(of) for dataset, of in people.items()}}
    asked = (folder / f"{_FILE}.json").absolute()
    asked.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    function = json.dumps(f"{__name__}.docs({asked})", ensure_ascii=False)  # JSON's texts are YAML's
    text = (
        f"# {task.name}, about some people only: see {asked.name}.\n"
        f"include: {json.dumps(known['file'], ensure_ascii=False)}\n"
        f"task: {name}\n"
        f"process_docs: !function {function}\n"
    )
    (folder / f"{_FILE}.yaml").write_text(text, encoding="utf-8")
    return name


def docs(file: str, clips: Any) -> Any:
    """The clips (`datasets.Dataset`) of the people in `write_task`'s file, after what the task does with all clips.

    Raises:
        InputError: the file cannot be read, or no clip shows one of these people.
    """
    with imports_of_lmms_eval():
        from lmms_eval import utils

    try:
        known = json.loads(Path(file).read_text(encoding="utf-8"))
        people = {(dataset, subject) for dataset, of in known["people"].items() for subject in of}
        process = utils.load_yaml_config(yaml_path=known["file"]).get("process_docs")
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise InputError(f"cannot be read: {error!r}; write the task again", where=file) from error
    clips = process(clips) if process is not None else clips
    rows = zip(clips["dataset"], clips["subject"], strict=True)
    kept = [place for place, row in enumerate(rows) if row in people]
    if not kept:
        names = ", ".join(f"{dataset}/{subject}" for dataset, subject in sorted(people))
        raise InputError(f"no clip shows {names}", where=file)
    return clips.select(kept)


def __getattr__(name: str) -> Any:
    # `!function` in YAML names an attribute of this module.
    if call := re.fullmatch(r"docs\((.+)\)", name):
        return partial(docs, call[1])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
