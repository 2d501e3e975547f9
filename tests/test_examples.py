"""The example of a dataset of one's own, run as its documentation says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
EXAMPLES = Path(os.environ.get("MELLM_SOURCE", Path(__file__).parents[1])) / "examples"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the examples in it, from which commands are run; nothing is prepared or cached."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(command: Sequence[str], place: Path) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LMMS_", "HF_", "MELLM_DATA", "CUDA_"))}
    places = {"MELLM_DATA": str(place / "data"), "HF_HOME": str(place / "hf"), "HF_HUB_OFFLINE": "1"}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    environment = {**kept, **places, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PATH": path}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_the_task_file_is_what_new_task_writes(place: Path) -> None:
    file = place / "examples/mydata/mydata_meu.yaml"
    shipped = file.read_text()
    file.unlink()
    run(["mellm", "new-task", "mydata", "--csv", "examples/mydata/clips.csv", "-o", "examples/mydata"], place)
    assert file.read_text() == shipped
    assert str(place) not in shipped and sum(f.stat().st_size for f in EXAMPLES.rglob("*") if f.is_file()) < 1_000_000


def test_the_script_draws_the_frames_that_are_there(place: Path) -> None:
    import cv2
    import numpy as np

    folder = place / "examples/mydata"
    before = {path.relative_to(folder): cv2.imread(str(path)) for path in folder.rglob("*.jpg")}
    table = (folder / "clips.csv").read_bytes()
    shutil.rmtree(folder / "frames")
    run([sys.executable, "examples/mydata/make.py"], place)
    assert (folder / "clips.csv").read_bytes() == table
    assert {path.relative_to(folder) for path in folder.rglob("*.jpg")} == before.keys()
    for path, picture in before.items():  # another JPEG library, or another processor, may round otherwise
        assert np.abs(cv2.imread(str(folder / path)).astype(int) - picture).mean() < 1, path


@pytest.mark.slow
def test_the_example_runs_without_preparation(place: Path) -> None:
    command = ["lmms-eval", "--model", "mellm", "--include_path", "examples/mydata", "--tasks", "mydata_meu"]
    run([*command, "--output_path", "results", "--log_samples"], place)
    (file,) = (place / "results").rglob("*_results.json")
    results = json.loads(file.read_text())
    scores = {name.split(",")[0]: value for name, value in results["results"]["mydata_meu"].items()}
    assert scores["au_f1_micro"] > 0.8 > scores["au_f1_all_present"] + 0.3
    assert scores["emotion_acc"] >= 0.7 > scores["emotion_acc_majority"]
    assert scores["parse_rate"] >= 0.8 and scores["au_parse_rate"] == scores["motion_plausible_rate"] == 1
    version = results["configs"]["mydata_meu"]["metadata"]["data"]
    assert version["test"]["clips"] == 10 and version["skipped"] == 0
    (file,) = (place / "results").rglob("*_samples_mydata_meu.jsonl")
    ids = [json.loads(line)["parse_rate"]["id"] for line in file.read_text().splitlines()]
    assert sorted(ids)[0] == "clips/p1/c01" and len(ids) == 10
