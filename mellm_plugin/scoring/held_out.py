"""A task of lmms-eval asked about some people alone, and the scores of several such runs together.

    task = open_task("casme2_meu")
    write_task(folder, task, {"casme2": ["sub01"]})     # held_out.yaml, held_out.json
    lmms-eval --tasks casme2_meu_held_out --include_path FOLDER ..
    task.scores(samples of all people)                  # {"emotion_uf1,none": .41, ..}

The written task includes the given one, so it is it in everything but its clips: labels and units are still those that
all of its clips make (`aus=least5` counts over all people), and people are left out behind that. Scores are computed
once, by the task's own aggregations over all clips: the mean over people of an F1 is another number than the F1, and on
people with few clips a misleading one.
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
"""Of the names of tasks that are asked about some people alone."""

_FILE = "held_out"
_NEEDED = ("dataset", "subject")


@dataclass(frozen=True)
class Asked:
    """One clip that a task asks about, or one question on it."""

    id: str
    dataset: str
    subject: str


@dataclass(frozen=True)
class Task:
    """A task as lmms-eval has loaded it.

    Attributes:
        name: of the task.
        file: its YAML.
        asked: what it asks about, in the order of its data.
        aggregations: how the items of each metric become its value.
    """

    name: str
    file: Path
    asked: tuple[Asked, ...]
    aggregations: Mapping[str, Callable[[Sequence[Any]], Any]] = field(repr=False)

    def of(self, people: Mapping[str, Sequence[str]]) -> tuple[int, ...]:
        """The places of what is asked about these people, by dataset."""
        return tuple(n for n, one in enumerate(self.asked) if one.subject in people.get(one.dataset, ()))

    def scores(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Every metric over all samples at once, under the names of lmms-eval's results.

        Args:
            samples: lines of lmms-eval's samples files.
        """
        lines = [_with_items(sample) for sample in samples]
        found: dict[str, Any] = {}
        for metric, aggregate in self.aggregations.items():
            items = [line[metric] for line in lines if metric in line]
            # lines of version 0.1 have no record, and some of all would give other scores
            if items and (metric != metrics.SCORES or len(items) == len(lines)):
                found[f"{metric},none"] = aggregate(items)
        return found

    def in_words(self, samples: Sequence[Mapping[str, Any]]) -> str | None:
        """The table of all scores with their intervals; None for tasks of others."""
        scores = self.aggregations.get(metrics.SCORES)
        if not isinstance(scores, metrics.Scores) or not all("record" in sample for sample in samples):
            return None
        return scores.in_words([sample["record"] for sample in samples])


def _with_items(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """A line of a samples file; one of our tasks holds references to its record, which become items again."""
    if not isinstance(record := sample.get("record"), Mapping):
        return sample
    every = vqa_metrics.QUESTIONS if "kind" in record else metrics.of_record(record)
    return {**sample, **metrics.items(record, every)}


def open_task(name: str, include_path: str | None = None) -> Task:
    """Load a task, as lmms-eval does for the model `mellm`.

    Args:
        name: of one task, not of a group of them.
        include_path: a folder of further task files.

    Raises:
        InputError: there is no such task, or its data do not say of which dataset and subject a clip is.
        DataError: its data are not prepared.
    """
    with imports_of_lmms_eval():
        import lmms_eval.models  # noqa: F401 - its entry points put the tasks of this package beside lmms-eval's own
        from lmms_eval.tasks import TaskManager, get_task_dict

    manager = TaskManager(include_path=include_path, model_name="mellm")
    entry = manager.task_index.get(name)
    if entry is None:
        raise InputError(f"expected a task, found {name!r}.{near(name, manager.task_index)}", where="--task")
    if entry["type"] != "task":
        raise InputError(
            f"expected one task, found the {entry['type']} {name!r}; give one of its tasks", where="--task"
        )
    task = get_task_dict([name], manager, "chat")[name]
    docs = task.eval_docs
    names = getattr(docs, "column_names", None) or ()
    if lacking := [column for column in _NEEDED if column not in names]:
        raise InputError(
            f"{name}: expected clips that say of which dataset and subject they are; found no column "
            f"{' and no '.join(lacking)}, only {', '.join(names)}",
            where="--task",
        )
    ids = docs["id"] if "id" in names else [str(number) for number in range(len(docs))]
    asked = tuple(Asked(*one) for one in zip(ids, docs["dataset"], docs["subject"], strict=True))
    return Task(name, Path(entry["yaml_path"]), asked, task.aggregation())


def write_task(folder: Path, task: Task, people: Mapping[str, Sequence[str]]) -> str:
    """Write the task file that asks about these people alone, for `--include_path`.

    Args:
        folder: that of the file; it must be there.
        task: the one that asks about all.
        people: subjects by dataset.

    Returns:
        the name of the task.
    """
    name = f"{task.name}{ENDING}"
    known = {"file": str(task.file.absolute()), "people": {dataset: list(of) for dataset, of in people.items()}}
    asked = (folder / f"{_FILE}.json").absolute()
    asked.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    function = json.dumps(f"{__name__}.docs({asked})", ensure_ascii=False)  # JSON's texts are YAML's
    text = (
        f"# {task.name}, asked about some people alone: see {asked.name}.\n"
        f"include: {json.dumps(known['file'], ensure_ascii=False)}\n"
        f"task: {name}\n"
        f"process_docs: !function {function}\n"
    )
    (folder / f"{_FILE}.yaml").write_text(text, encoding="utf-8")
    return name


def docs(file: str, clips: Any) -> Any:
    """The clips of some people, behind whatever the task does with all of them.

    Args:
        file: as `write_task` writes it.
        clips: a `datasets.Dataset`.

    Raises:
        InputError: the file cannot be read, or none of the clips is of these people.
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
        told = ", ".join(f"{dataset}/{subject}" for dataset, subject in sorted(people))
        raise InputError(f"no clip is of {told}", where=file)
    return clips.select(kept)


def __getattr__(name: str) -> Any:
    # `!function` in YAML is getattr on this module.
    if call := re.fullmatch(r"docs\((.+)\)", name):
        return partial(docs, call[1])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
