"""`mellm finetune` as a user calls it, and the scores of its adapter in real lmms-eval."""

from __future__ import annotations

from pathlib import Path

import pytest
from user_commands import evaluate, run, scores

pytestmark = pytest.mark.slow


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
