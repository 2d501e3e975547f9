"""The example of a dataset of one's own is what its commands make; tests/test_lmms_eval.py evaluates it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from user_commands import SOURCE, run

EXAMPLES = SOURCE / "examples"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that holds the examples; commands run in it."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_task_file_is_what_new_task_writes(place: Path, machine: dict[str, str]) -> None:
    file = place / "examples/mydata/mydata_meu.yaml"
    shipped = file.read_text()
    file.unlink()
    run(["mellm", "new-task", "mydata", "--csv", "examples/mydata/clips.csv", "-o", "examples/mydata"], machine, place)
    assert file.read_text() == shipped
    assert str(place) not in shipped and sum(f.stat().st_size for f in EXAMPLES.rglob("*") if f.is_file()) < 1_000_000


def test_the_script_draws_the_frames_that_are_there(place: Path, machine: dict[str, str]) -> None:
    folder = place / "examples/mydata"
    before = {path.relative_to(folder): cv2.imread(str(path)) for path in folder.rglob("*.jpg")}
    table = (folder / "clips.csv").read_bytes()
    shutil.rmtree(folder / "frames")
    run([sys.executable, "examples/mydata/make.py"], machine, place)
    assert (folder / "clips.csv").read_bytes() == table
    assert {path.relative_to(folder) for path in folder.rglob("*.jpg")} == before.keys()
    for path, picture in before.items():  # another JPEG library, or another processor, may round otherwise
        assert np.abs(cv2.imread(str(folder / path)).astype(int) - picture).mean() < 1, path
