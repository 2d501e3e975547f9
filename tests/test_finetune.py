"""`mellm finetune` as a user calls it: killed and called again, and what its adapter is worth in real lmms-eval."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from user_commands import evaluate, kill_when, run, scores

pytestmark = pytest.mark.slow


def _losses(output: Path) -> list[dict[str, Any]]:
    file = output / "curve.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def test_a_killed_training_goes_on_as_if_it_had_not_been(machine: dict[str, str], tmp_path: Path) -> None:
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
    made = json.loads(run(command, machine, tmp_path).stdout.splitlines()[-1])
    assert made["stages"][0]["steps"] == 30

    cut = [*command, "--set", "output=cut"]
    kill_when(lambda: len(_losses(tmp_path / "cut")) >= 12, cut, machine, tmp_path)
    assert not (tmp_path / "cut" / "training.json").exists()
    assert list((tmp_path / "cut").rglob("checkpoint-*/trainer_state.json"))
    run(cut, machine, tmp_path)
    whole, again = _losses(tmp_path / "whole"), _losses(tmp_path / "cut")
    assert [line["step"] for line in whole] == [line["step"] for line in again]
    for one, other in zip(whole, again, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_an_adapter_of_minutes_beats_its_base_by_far(machine: dict[str, str], tmp_path: Path) -> None:
    fewer = ["--set", "stages[0].steps=90", "--set", "stages[0].data[0].clips=400"]
    printed = run(["mellm", "finetune", "bundled_lora", *fewer], machine, tmp_path).stdout
    assert "adapter=runs/bundled_lora" in printed
    shared = {"tasks": "synthme_emotion", "limit": 80}
    arguments = {"base": "batch_size=16", "tuned": "adapter=runs/bundled_lora,batch_size=16"}
    evaluate({name: {**shared, "model_args": args} for name, args in arguments.items()}, machine, tmp_path)
    base, tuned = (scores(tmp_path / name, "synthme_emotion") for name in arguments)
    assert tuned["parse_rate"]["value"] > 0.9 > base["parse_rate"]["value"] + 0.4
    assert tuned["emotion_uf1"]["value"] > base["emotion_uf1"]["value"] + 0.15
    # Of 80 clips of 8 faces; docs/log.md has all 300, after more steps.
    assert tuned["emotion_acc"]["ci95"][0] > base["emotion_acc"]["ci95"][1]
