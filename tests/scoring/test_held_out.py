"""A task that asks about some people only, read by lmms-eval's own loader."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest
from lmms_eval import utils

from mellm_plugin import plugin
from mellm_plugin.errors import InputError
from mellm_plugin.scoring.held_out import Asked, Task, write_task

PEOPLE = [("casme2", "sub01"), ("casme2", "sub02"), ("samm", "sub01")]
ROWS = [(d, s, n, ["12"] if d == "samm" else ["4"]) for d, s in PEOPLE for n in range(2)]


@pytest.fixture(scope="module", autouse=True)
def names_with_arguments() -> None:
    """lmms-eval's loader as the plugin extends it; all of lmms-eval's tasks would take half a minute to import."""
    plugin._extend_yaml(SimpleNamespace(utils=utils))


@pytest.fixture
def task(tmp_path: Path) -> Task:
    """A task of ours with units, in a folder whose name is not plain."""
    folder = tmp_path / "a folder: (1)"
    folder.mkdir()
    file = folder / "mine.yaml"
    file.write_text(
        "task: mine\ntest_split: test\nmetadata: {version: 2}\n"
        "process_docs: !function mellm_plugin.meu.protocol(aus=least2, asks=aus)\n"
    )
    return Task("mine", file, tuple(Asked(f"{d}/{s}/{n}", d, s) for d, s, n, _ in ROWS), {})


@pytest.fixture
def clips() -> datasets.Dataset:
    columns = {"dataset": 0, "subject": 1, "aus": 3}
    found = {name: [row[place] for row in ROWS] for name, place in columns.items()}
    found |= {"emotion": [None] * len(ROWS), "coarse": [None] * len(ROWS)}
    found["id"] = [f"{d}/{s}/{n}" for d, s, n, _ in ROWS]
    return datasets.Dataset.from_dict(found)


def written(folder: Path, task: Task, people: dict[str, list[str]]) -> dict[str, Any]:
    """The written task, as lmms-eval loads it."""
    assert write_task(folder, task, people) == "mine_held_out"
    (file,) = folder.glob("*.yaml")
    return dict(utils.load_yaml_config(yaml_path=str(file)))


@pytest.mark.parametrize("name", ["plain", "a folder: (2), 'quoted'", "ordner-ä"])
def test_it_asks_about_these_people_only(task: Task, clips: datasets.Dataset, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    config = written(folder, task, {"casme2": ["sub02"], "samm": ["sub01"]})
    assert config["task"] == "mine_held_out" and config["metadata"] == {"version": 2}
    process: Callable[[Any], Any] = config["process_docs"]
    kept = process(clips)
    assert list(kept["id"]) == ["casme2/sub02/0", "casme2/sub02/1", "samm/sub01/0", "samm/sub01/1"]
    assert [task.asked[n].id for n in task.of({"casme2": ["sub02"], "samm": ["sub01"]})] == list(kept["id"])


def test_what_is_scored_is_still_decided_by_everybody(task: Task, clips: datasets.Dataset, tmp_path: Path) -> None:
    kept = written(tmp_path, task, {"samm": ["sub01"]})["process_docs"](clips)
    assert kept["scored_aus"][0] == [4, 12], "by the clips of SAMM alone it would be 12"


def test_a_task_without_a_function_of_its_own(task: Task, clips: datasets.Dataset, tmp_path: Path) -> None:
    task.file.write_text("task: mine\ntest_split: test\n")
    assert len(written(tmp_path, task, {"samm": ["sub01"]})["process_docs"](clips)) == 2


def test_faults_are_reported(task: Task, clips: datasets.Dataset, tmp_path: Path) -> None:
    process = written(tmp_path, task, {"samm": ["007"]})["process_docs"]
    with pytest.raises(InputError, match="no clip shows samm/007"):
        process(clips)
    (tmp_path / "held_out.json").write_text(json.dumps({"file": str(task.file)}))
    with pytest.raises(InputError, match="write the task again"):
        process(clips)


def test_scores_are_of_all_samples_at_once() -> None:
    task = Task("mine", Path("mine.yaml"), (), {"hits": lambda items: sum(items) / len(items), "absent": len})
    assert task.scores([{"hits": 1}, {"hits": 0}, {"other": 3}]) == {"hits,none": 0.5}
