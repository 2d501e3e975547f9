"""`mellm finetune` as a user calls it: killed and called again; what its adapter is worth, by the real lmms-eval."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
LIMIT = "80"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A machine that has nothing prepared or cached, and no network."""
    home = tmp_path_factory.mktemp("home")
    cleared = {k: v for k, v in os.environ.items() if not k.startswith(("LMMS_", "HF_", "MELLM_", "CUDA_"))}
    places = {name: str(home / name) for name in ("MELLM_DATA", "MELLM_CACHE", "HF_HOME")}
    fixed = {"HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**cleared, **places, **fixed, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def _run(command: Sequence[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout


def _losses(output: Path) -> list[dict[str, Any]]:
    file = output / "curve.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_a_killed_training_goes_on_as_if_it_had_not_been(environment: dict[str, str], tmp_path: Path) -> None:
    config = {
        "base": str(tiny.save_model(tmp_path / "base")),
        "output": "whole",
        "logging": "none",
        "max_pixels": 56 * 56,
        "trainer": {"batch_size": 4, "save_every": 5, "evaluate_every": 10},
        "stages": [
            {
                "name": "labels",
                "data": [{"dataset": "synthme", "clips": 30, "forms": {"label": 1, "aus": 1}}],
                "steps": 30,
                "train": {"language": "lora", "projector": "full"},
                "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
                "learning_rate": 0.01,
            }
        ],
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    command = ["mellm", "finetune", "c.yaml", "--json"]
    made = json.loads(_run(command, environment, tmp_path).splitlines()[-1])
    assert made["stages"][0]["steps"] == 30

    cut = [*command, "--set", "output=cut"]
    process = subprocess.Popen(cut, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 400
    while len(_losses(tmp_path / "cut")) < 12 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "cut" / "training.json").exists()
    assert list((tmp_path / "cut").rglob("checkpoint-*/trainer_state.json"))
    _run(cut, environment, tmp_path)
    whole, again = _losses(tmp_path / "whole"), _losses(tmp_path / "cut")
    assert [line["step"] for line in whole] == [line["step"] for line in again]
    for one, other in zip(whole, again, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def _evaluate(arguments: str, environment: dict[str, str], folder: Path) -> dict[str, Any]:
    task = ["--tasks", "synthme_emotion", "--limit", LIMIT, "--output_path", "results", "--log_samples"]
    folder.mkdir()
    _run(["lmms-eval", "--model", "mellm", "--model_args", arguments, *task], environment, folder)
    (file,) = (folder / "results").rglob("*_results.json")
    return dict(json.loads(file.read_text())["results"]["synthme_emotion"])


def test_an_adapter_of_minutes_beats_its_base_by_far(environment: dict[str, str], tmp_path: Path) -> None:
    fewer = ["--set", "stages[0].steps=90", "--set", "stages[0].data[0].clips=400"]
    told = _run(["mellm", "finetune", "bundled_lora", *fewer], environment, tmp_path)
    assert "adapter=runs/bundled_lora" in told
    base = _evaluate("batch_size=16", environment, tmp_path / "base")
    tuned = _evaluate(f"adapter={tmp_path}/runs/bundled_lora,batch_size=16", environment, tmp_path / "tuned")
    assert tuned["parse_rate,none"] > 0.9 > base["parse_rate,none"] + 0.4
    assert tuned["emotion_uf1,none"] > base["emotion_uf1,none"] + 0.15
    # Of 80 clips of 8 faces; docs/log.md has all 300, after more steps.
    assert tuned["ci95_stderr,none"]["emotion_acc"][0] > base["ci95_stderr,none"]["emotion_acc"][1]
