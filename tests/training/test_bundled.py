"""How the bundled model is made: its words, its pictures, and that training goes on where it was cut off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from mellm_plugin.datasets.synthme import Face, draw_clip
from mellm_plugin.errors import ModelError
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.language.descriptions import describe
from mellm_plugin.language.prompts import map_prompt
from mellm_plugin.models import bundled_folder
from mellm_plugin.motion.render import motion_map
from mellm_plugin.motion.settings import DEFAULT, MotionSettings
from mellm_plugin.training import bundled
from mellm_plugin.training.bundled import Batches, answer_loss, build_model
from mellm_plugin.training.clips import DrawnClips


@pytest.fixture(scope="module")
def processor() -> Any:
    return bundled.build_processor()


def test_the_tokenizer_keeps_any_text(processor: Any) -> None:
    texts = [
        describe([("12", 1.0), ("L10", 0.4)], "happiness"),
        map_prompt(LABELS["casme2"]),
        "Ein Lächeln, 微表情 – AU12?\n\n\t x",
    ]
    for text in texts:
        assert processor.tokenizer.decode(processor.tokenizer(text).input_ids) == text


def _inputs(processor: Any, image: np.ndarray) -> Any:
    """The inputs of evaluation for one map."""
    content = [{"type": "image"}, {"type": "text", "text": map_prompt(LABELS["synthme"])}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return processor(text=[text], images=[[image]], return_tensors="pt")


def test_prompt_ids_are_those_of_the_processor(processor: Any) -> None:
    image = np.zeros((224, 224, 3), np.uint8)
    prompt = map_prompt(LABELS["synthme"])
    given = _inputs(processor, image)
    visual = int(given.image_grid_thw[0].prod()) // 4
    assert visual == 36 and given.input_ids[0].tolist() == bundled.prompt_ids(processor, prompt, visual)


def test_the_loss_of_the_answers_is_that_of_the_model(processor: Any, tmp_path: Path) -> None:
    drawn = DrawnClips(1, folder=tmp_path)
    batch = next(iter(Batches(drawn, processor, 2, seed=0, start=0, steps=9)))
    model = build_model(processor.tokenizer)
    with torch.inference_mode():
        plain = float(model(**batch, use_cache=False).loss)
        assert float(answer_loss(model, batch)) == pytest.approx(plain, rel=1e-4)


@pytest.mark.slow
def test_training_goes_on_where_it_was_and_its_model_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    recipe = bundled.Recipe(clips=16, steps=4, looking=1, batch=4)
    work = tmp_path / "work"
    bundled.train(work, whole, recipe, checkpoint_every=2)
    assert len(list(work.glob("*/*.clips"))) == 1
    (work / "checkpoint.pt").unlink()

    # A run that is cut off in its fourth step, after the checkpoint of the second...
    real, calls = bundled.answer_loss, 0

    def dying(*given: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(bundled, "answer_loss", dying)
    with pytest.raises(KeyboardInterrupt):
        bundled.train(work, cut, recipe, checkpoint_every=2)
    assert not cut.exists()
    monkeypatch.setattr(bundled, "answer_loss", real)
    with pytest.raises(ModelError, match="another --work"):
        bundled.train(work, cut, replace(recipe, rate=1e-4))
    # ...ends as the run that was not.
    bundled.train(work, cut, recipe, checkpoint_every=2)
    models = [AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32) for folder in (whole, cut)]
    for (name, a), b in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b), name
    assert AutoProcessor.from_pretrained(whole).tokenizer("AU12").input_ids
    assert MotionSettings.load(whole) == DEFAULT


def test_the_bundled_model_is_the_one_described() -> None:
    folder = bundled_folder()
    weights = folder / "model.safetensors"
    assert weights.stat().st_size < 12 * 2**20
    assert not list(folder.glob("*.bin"))
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    assert 1.5e6 < sum(p.numel() for p in model.parameters()) < 5e6
    assert MotionSettings.load(folder) == DEFAULT
    processor = AutoProcessor.from_pretrained(folder)
    clip = draw_clip(Face(77), np.random.default_rng(77), ("1", "2"), 2.0)
    given = _inputs(processor, motion_map(clip.onset, clip.apex).image)
    out = model.generate(**given, max_new_tokens=200, do_sample=False)
    answer = read(processor.decode(out[0, given.input_ids.shape[1] :], skip_special_tokens=True), LABELS["synthme"])
    assert answer.label == "surprise" and answer.aus == (1, 2)
