"""How the bundled model is made: its words, its eyes, and the command as a whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from mellm_plugin.datasets.synthme import AUS, Face, draw_clip
from mellm_plugin.errors import TrainingError
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.language.descriptions import describe
from mellm_plugin.language.prompts import map_prompt
from mellm_plugin.models import bundled_folder
from mellm_plugin.models.record import read_record
from mellm_plugin.motion.render import motion_map
from mellm_plugin.motion.settings import DEFAULT, MotionSettings
from mellm_plugin.training import bundled
from mellm_plugin.training.clips import DrawnClips, Record


@pytest.fixture(scope="module")
def processor() -> Any:
    return bundled.build_processor(
        [map_prompt(LABELS["synthme"]), "Conclusion: action units AU12; expression: fear."] * 9
    )


def test_the_tokenizer_keeps_any_text(processor: Any) -> None:
    texts = [
        describe([("12", 1.0), ("L10", 0.4)], "happiness"),
        map_prompt(LABELS["casme2"]),
        "Ein Lächeln, 微表情 – AU12?\n\n\t x",
    ]
    for text in texts:
        assert processor.tokenizer.decode(processor.tokenizer(text).input_ids) == text


def test_the_units_that_the_eyes_learn_are_those_of_their_sides() -> None:
    seen = bundled.unit_sides(Record("id", "synthme", "synthme/s", ("L12", "4", "R14"), True, None, None))
    found = {
        (side, unit) for value, (side, unit) in zip(seen, [(s, n) for s in "LR" for n in AUS], strict=True) if value
    }
    assert found == {("L", 12), ("L", 4), ("R", 4), ("R", 14)} and len(seen) == 2 * len(AUS)


def test_the_eyes_learn_to_tell_two_units_apart(processor: Any, tmp_path: Path) -> None:
    model = bundled.build_model(processor.tokenizer)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = DrawnClips(32, folder=tmp_path)
    pictures = iter(bundled.Pictures(drawn, processor, 8, seed=0))
    kept = [next(pictures) for _ in range(2)]
    first = bundled.look(model, iter(kept), 2, 1.5e-3)
    last = bundled.look(model, iter(kept * 15), 30, 1.5e-3)
    assert last < 0.7 * first
    changed = {name.split(".")[1] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"visual"}


@pytest.mark.slow
def test_the_command_makes_a_model_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLM_CACHE", str(tmp_path / "cache"))
    work, out = tmp_path / "work", tmp_path / "out"
    small = [f"stages[{n}].{change}" for n in (0, 1) for change in ("steps=2", "data[0].clips=24")]
    bundled.train(work, out, [*small, "trainer.batch_size=4"], looking=2, read=20)
    losses = (work / "trained" / "curve.jsonl").read_text()
    assert [json.loads(line)["stage"] for line in losses.splitlines()] == ["perception"] * 2 + ["understanding"] * 2
    made = read_record(out)
    assert made["config"]["base"] == "base" and str(tmp_path) not in json.dumps(made)
    assert set(made["seen"]) == {"synthme-train"} and MotionSettings.load(out) == DEFAULT
    assert AutoProcessor.from_pretrained(out).tokenizer("AU12").input_ids
    weights = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32).state_dict()

    # Given again it makes nothing anew; with other stages it says so.
    bundled.train(work, out, [*small, "trainer.batch_size=4"], looking=2, read=20)
    assert (work / "trained" / "curve.jsonl").read_text() == losses
    again = AutoModelForImageTextToText.from_pretrained(out, dtype=torch.float32).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    with pytest.raises(TrainingError, match="--restart"):
        bundled.train(work, out, [*small, "trainer.batch_size=8"], looking=2, read=20)


def test_the_bundled_model_is_the_one_described() -> None:
    folder = bundled_folder()
    weights = folder / "model.safetensors"
    assert weights.stat().st_size < 12 * 2**20
    assert not list(folder.glob("*.bin")) and (folder / "README.md").exists()
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    assert 1.5e6 < sum(p.numel() for p in model.parameters()) < 5e6
    assert MotionSettings.load(folder) == DEFAULT
    processor = AutoProcessor.from_pretrained(folder)
    clip = draw_clip(Face(77), np.random.default_rng(77), ("1", "2"), 2.0)
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": map_prompt(LABELS["synthme"])}]}
    ]
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    given = processor(text=[text], images=[[motion_map(clip.onset, clip.apex).image]], return_tensors="pt")
    out = model.generate(**given, max_new_tokens=200, do_sample=False)
    answer = read(processor.decode(out[0, given.input_ids.shape[1] :], skip_special_tokens=True), LABELS["synthme"])
    assert answer.label == "surprise" and answer.aus == (1, 2)
