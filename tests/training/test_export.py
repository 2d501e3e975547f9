"""An adapter and its base as one model: tiny, of random weights, in real files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from full_disk import small_disk
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors import safe_open
from transformers import AutoModelForImageTextToText, AutoProcessor

from mellm_plugin import cli
from mellm_plugin.errors import DataError, InputError
from mellm_plugin.models.inputs import encoded, rendered
from mellm_plugin.models.loading import carried_motion, carried_record
from mellm_plugin.models.mellm import Mellm
from mellm_plugin.models.record import write_record
from mellm_plugin.motion.settings import PRESETS
from mellm_plugin.training.export import export

RECORD: dict[str, Any] = {
    "versions": {},
    "base": {"name": "tiny", "revision": None, "sha256": {}},
    "prompts": "1",
    "motion": PRESETS["published"].to_dict(),
    "seen": {"casme2": {"sha256": {"test": "0f3"}, "subjects": ["sub01"]}},
    "validation": {"casme2": ["sub04"]},
    "config": {},
    "stages": [],
}


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LoRA on language and vision and a projector of its own, with all that a training leaves beside it."""
    folder = tmp_path_factory.mktemp("trained")
    model = AutoModelForImageTextToText.from_pretrained(base)
    layers = r".*(language_model.*\.(q_proj|v_proj|gate_proj)|visual\.blocks.*\.(qkv|gate_proj))"
    config = LoraConfig(r=4, lora_alpha=8, target_modules=layers, modules_to_save=["model.visual.merger"])
    wrapped = get_peft_model(model, config)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name or ".modules_to_save." in name:
                torch.nn.init.normal_(parameter, std=0.3)
    wrapped.save_pretrained(folder)
    processor = tiny.processor()
    processor.image_processor.size = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    processor.save_pretrained(folder)
    PRESETS["published"].save(folder)
    write_record(folder, RECORD)
    (folder / "README.md").write_text("# A PEFT adapter for micro-expressions\n\nadapter=FOLDER\n")
    return folder


@pytest.fixture(scope="module")
def whole(adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(str(adapter), tmp_path_factory.mktemp("out") / "deeper" / "merged", dtype="float32")


def answers(model: Any, processor: Any, dtype: torch.dtype = torch.float32) -> list[list[int]]:
    """Tokens of some pictures' answers."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2):
        image = Image.fromarray(rng.integers(0, 255, (80, 80, 3), dtype=np.uint8))
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What moves?"}]}]
        inputs = encoded(processor, [rendered(processor, messages)], [[image]])
        inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=16, do_sample=False)
        found.append(output[0, inputs["input_ids"].shape[1] :].tolist())
    return found


def tensors(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    found = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                tensor = weights.get_tensor(name)
                found[name] = tensor.shape, tensor.dtype
    return found


def test_the_exported_model_answers_as_the_adapter(base: Path, adapter: Path, whole: Path) -> None:
    by_adapter = Mellm(adapter=adapter, device="cpu")
    merged = Mellm(pretrained=whole, device="cpu")
    expected = answers(by_adapter.model, by_adapter.processor)
    assert answers(merged.model, merged.processor) == expected
    assert merged.motion == by_adapter.motion == PRESETS["published"]
    plain = Mellm(pretrained=base, device="cpu")
    assert answers(plain.model, plain.processor) != expected
    # Transformers alone load it.
    processor = AutoProcessor.from_pretrained(whole)
    assert answers(AutoModelForImageTextToText.from_pretrained(whole), processor) == expected
    assert processor.image_processor.size["longest_edge"] == 56 * 56


def test_the_export_has_the_files_of_a_whole_model_and_its_record(base: Path, whole: Path) -> None:
    assert tensors(whole) == tensors(base)
    there = {path.name for path in whole.iterdir()}
    assert {"config.json", "generation_config.json", "motion.json", "training.json", "README.md"} <= there
    assert {"chat_template.jinja", "tokenizer.json", "processor_config.json"} <= there
    assert not [name for name in there if name.startswith("adapter")]
    assert "pretrained=FOLDER" in (whole / "README.md").read_text()
    record = carried_record(str(whole))
    assert record is not None and record["seen"] == RECORD["seen"] and record["merged"]["dtype"] == "float32"
    assert len(record["merged"]["adapter_sha256"]) == 64


def test_the_record_keeps_the_people_of_a_trained_base(base: Path, adapter: Path, tmp_path: Path) -> None:
    trained = tmp_path / "base"
    shutil.copytree(base, trained)
    earlier = {"casme2": {"sha256": {}, "subjects": ["sub09"]}, "samm": {"sha256": {}, "subjects": ["006"]}}
    write_record(trained, {**RECORD, "seen": earlier, "validation": {"samm": ["007"]}})
    on_it = tiny.rewrite_adapter(adapter, tmp_path / "adapter", lambda name: name, base_model_name_or_path=str(trained))
    record = carried_record(str(export(str(on_it), tmp_path / "out")))
    assert record is not None
    assert record["seen"]["casme2"]["subjects"] == ["sub01", "sub09"] and record["seen"]["samm"]["subjects"] == ["006"]
    assert record["validation"] == {"casme2": ["sub04"], "samm": ["007"]}


def test_precision(base: Path, adapter: Path, tmp_path: Path) -> None:
    folder = export(str(adapter), tmp_path / "half", dtype="bfloat16")
    assert {dtype for _, dtype in tensors(folder).values()} == {torch.bfloat16}
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    by_adapter = Mellm(adapter=adapter, device="cpu", dtype="bfloat16")
    merged = Mellm(pretrained=folder, device="cpu", dtype="bfloat16")
    expected = answers(by_adapter.model, by_adapter.processor, torch.bfloat16)
    assert answers(merged.model, merged.processor, torch.bfloat16) == expected
    assert {dtype for _, dtype in tensors(export(str(adapter), tmp_path / "auto")).values()} == {torch.float32}


def test_an_adapter_of_frames_stays_one(adapter: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    shutil.copytree(adapter, folder, ignore=shutil.ignore_patterns("motion.json"))
    write_record(folder, {**RECORD, "motion": "off"})
    assert carried_motion(str(export(str(folder), tmp_path / "out"))) == "off"


def test_all_faults_at_once(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(base), "-o", str(tmp_path), "--dtype", "int8"]) == 1
    said = capsys.readouterr().err
    assert "3 faults" in said and "'int8'" in said
    assert "give it as pretrained=" in said and f"{tmp_path}: expected a new folder, found an existing one" in said


def test_a_full_disk_leaves_nothing(adapter: Path, tmp_path: Path) -> None:
    with small_disk(), pytest.raises(DataError, match="cannot be written.*nothing is left behind"):
        export(str(adapter), tmp_path / "out", dtype="float32")
    assert not list(tmp_path.iterdir())
    assert export(str(adapter), tmp_path / "out", dtype="float32").is_dir()


def test_the_base_may_be_given_where_it_has_moved(base: Path, adapter: Path, whole: Path, tmp_path: Path) -> None:
    moved = tiny.rewrite_adapter(adapter, tmp_path / "adapter", lambda name: name, base_model_name_or_path="/nowhere/x")
    with pytest.raises(InputError, match=r"names the base /nowhere/x,.*mellm export: --base"):
        export(str(moved), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert cli.main(["export", str(moved), "-o", str(tmp_path / "out"), "--base", str(base)]) == 0
    assert tensors(tmp_path / "out").keys() == tensors(whole).keys()


def test_the_config_says_that_words_no_longer_share_a_matrix(tmp_path: Path) -> None:
    tied = tiny.save_model(tmp_path / "tied", tie=True)
    own = tiny.save_adapter(tmp_path / "own", tied, target_modules=["v_proj", "lm_head"])
    out = export(str(own), tmp_path / "whole")
    config = json.loads((out / "config.json").read_text())
    assert config["tie_word_embeddings"] is config["text_config"]["tie_word_embeddings"] is False
    assert "lm_head.weight" in tensors(out)
    apart, merged = Mellm(adapter=own, device="cpu", merge_adapter=False), Mellm(pretrained=out, device="cpu")
    assert answers(merged.model, merged.processor) == answers(apart.model, apart.processor)
