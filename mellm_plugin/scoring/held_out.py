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
    """A task as lmms-eval loads it.

    Attributes:
        name: of the task.
        file: its YAML.
        asked: what it asks about, in the order of its data.
        aggregations: by metric, how its items become its value.
    """

    name: str
    file: Path
    asked: tuple[Asked, ...]
    aggregations: Mapping[str, Callable[[Sequence[Any]], Any]] = field(repr=False)

    def of(self, people: Mapping[str, Sequence[str]]) -> tuple[int, ...]:
        """The places in `asked` of what concerns these people, given by dataset."""
        return tuple(n for n, one in enumerate(self.asked) if one.subject in people.get(one.dataset, ()))

    def scores(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Every metric over all samples at once, under the names that lmms-eval gives in its results.

        Args:
            samples: lines of lmms-eval's samples files.
        """
        found: dict[str, Any] = {}
        for metric, aggregate in self.aggregations.items():
            if items := [sample[metric] for sample in samples if metric in sample]:
                found[f"{metric},none"] = aggregate(items)
        return found


def open_task(name: str, include_path: str | None = None) -> Task:
    """Load a task as lmms-eval does for the model `mellm`.

    Args:
        name: of a task, not of a group.
        include_path: a folder of further task files.

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
    if entry["type"] != "task":
        raise InputError(
            f"expected one task, found the {entry['type']} {name!r}; give one of its tasks", where="--task"
        )
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
    return Task(name, Path(entry["yaml_path"]), asked, task.aggregation())


def write_task(folder: Path, task: Task, people: Mapping[str, Sequence[str]]) -> str:
    """Write the task file that asks about these people only, for `--include_path`.

    Args:
        folder: where to write; it must exist.
        task: the task about all people.
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
        f"# {task.name}, about some people only: see {asked.name}.\n"
        f"include: {json.dumps(known['file'], ensure_ascii=False)}\n"
        f"task: {name}\n"
        f"process_docs: !function {function}\n"
    )
    (folder / f"{_FILE}.yaml").write_text(text, encoding="utf-8")
    return name


def docs(file: str, clips: Any) -> Any:
    """The clips of some people, after what the task does with all clips.

    Args:
        file: as `write_task` writes it.
        clips: a `datasets.Dataset`.

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
