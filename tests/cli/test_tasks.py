from __future__ import annotations

import json
from pathlib import Path

import pytest

from mellm_plugin.cli import main
from mellm_plugin.cli.tasks import list_tasks
from mellm_plugin.plugin import task_folder


def test_names_folder_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    listed = capsys.readouterr().out
    assert "synthme_meu " in listed and "synthme_meu_map" in listed
    assert main(["tasks", "--path"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert folder == task_folder() and list(folder.rglob("*.yaml"))
    assert main(["tasks", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["task"] for row in rows} == set(list_tasks(folder))
    assert all(row["description"] for row in rows)
