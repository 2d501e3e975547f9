from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mellm_plugin.errors import ModelError, SettingsError
from mellm_plugin.models.loading import (
    adapter_base,
    add_adapter,
    carried_motion,
    fetch_adapter,
    limit_pixels,
    load_model,
    load_processor,
)
from mellm_plugin.motion.settings import MotionSettings


def logits(model: Any, folder: Path) -> torch.Tensor:
    processor = load_processor(str(folder))
    content = [{"type": "image"}, {"type": "text", "text": "What moves?"}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    inputs = processor(text=[prompt], images=[[Image.new("RGB", (56, 56), "teal")]], return_tensors="pt")
    with torch.inference_mode():
        result: torch.Tensor = model(**inputs).logits
    return result


@pytest.fixture(scope="module")
def plain(base: Path) -> torch.Tensor:
    return logits(load_model(str(base)), base)


def test_auto_is_float32_on_a_cpu(base: Path) -> None:
    assert load_model(str(base)).dtype == torch.float32
    assert load_model(str(base), dtype="bfloat16").dtype == torch.bfloat16


def test_merged_and_apart_are_the_same_model_and_not_the_base(base: Path, adapter: Path, plain: torch.Tensor) -> None:
    merged = add_adapter(load_model(str(base)), adapter)
    apart = add_adapter(load_model(str(base)), adapter, merge=False)
    assert not any("lora_" in name for name, _ in merged.named_parameters())
    assert sum("lora_" in name for name, _ in apart.named_parameters()) == 12
    with_merged, with_apart = logits(merged, base), logits(apart, base)
    torch.testing.assert_close(with_merged, with_apart, rtol=1e-4, atol=1e-4)
    assert (with_merged - plain).abs().max() > 0.1


def test_the_base_of_an_adapter_is_what_it_says(base: Path, adapter: Path, tmp_path: Path) -> None:
    assert adapter_base(adapter) == (str(base), None)
    shutil.copytree(base, tmp_path / "base")
    beside = tiny.rewrite_adapter(adapter, tmp_path / "adapter", str, base_model_name_or_path="../base", revision="v1")
    assert adapter_base(beside) == (str(tmp_path / "base"), "v1")
    nameless = tiny.rewrite_adapter(adapter, tmp_path / "nameless", str, base_model_name_or_path=None)
    with pytest.raises(ModelError, match="give that as pretrained="):
        adapter_base(nameless)


# As ms-swift, LLaMA-Factory, Unsloth, TRL and PEFT itself say which layers were trained.
SWIFT = r"^(model)(?!.*(lm_head|output|emb|wte|shared)).*"
SWIFT_NEW = r"^(model\.language_model(?=\.).*\.(q_proj|v_proj|gate_proj))$"
FACTORY = r"^(?!.*visual).*(?:q_proj|v_proj|gate_proj).*"
UNSLOTH = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?(?:q_proj|v_proj|gate_proj).*?)"
    r"|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)\.(?:(?:q_proj|v_proj|gate_proj)))"
)


def before_4_52(name: str) -> str:
    return name.replace(".model.language_model.", ".model.")


@pytest.mark.parametrize(
    ("targets", "old"),
    [
        (["q_proj", "v_proj", "gate_proj"], True),
        (SWIFT, True),
        (SWIFT_NEW, False),
        (FACTORY, True),
        (FACTORY, False),
        (UNSLOTH, True),
        (UNSLOTH, False),
        (None, False),
        ([f"model.layers.{n}.{of}" for n in (0, 1) for of in ("self_attn.q_proj", "self_attn.v_proj", "mlp.gate_proj")], True),
    ],
)
def test_adapters_of_other_tools_are_the_same_adapter(
    base: Path, adapter: Path, tmp_path: Path, targets: Any, old: bool
) -> None:
    fields = {"target_modules": targets, "exclude_modules": "visual.*" if isinstance(targets, list) else None}
    theirs = tiny.rewrite_adapter(adapter, tmp_path / "theirs", before_4_52 if old else str, **fields)
    for merge in (True, False):
        ours = logits(add_adapter(load_model(str(base)), adapter, merge=merge), base)
        assert torch.equal(logits(add_adapter(load_model(str(base)), theirs, merge=merge), base), ours)


def test_scales_by_an_old_name_hold_for_the_new_one(base: Path, tmp_path: Path) -> None:
    name = "model.language_model.layers.1.self_attn.v_proj"
    own = tiny.save_adapter(tmp_path / "own", base, rank_pattern={name: 2}, alpha_pattern={name: 64})
    before = before_4_52(f".{name}")[1:]
    named: dict[str, Any] = {"rank_pattern": {before: 2}, "alpha_pattern": {before: 64}}
    old = tiny.rewrite_adapter(own, tmp_path / "old", before_4_52, target_modules=SWIFT, **named)
    ours, theirs = (logits(add_adapter(load_model(str(base)), one), base) for one in (own, old))
    assert torch.equal(ours, theirs)


def test_a_tensor_without_a_place_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    narrow = tiny.rewrite_adapter(
        adapter, tmp_path / "narrow", str, target_modules=r".*language_model.*\.(q_proj|v_proj)"
    )
    with pytest.raises(ModelError, match=r"4 tensors \(.*gate_proj.* have no place"):
        add_adapter(load_model(str(base)), narrow)


def test_a_missing_tensor_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    torn = tiny.rewrite_adapter(adapter, tmp_path / "torn", lambda name: None if "1.mlp" in name else name)
    with pytest.raises(ModelError, match=r"2 tensors \(.*1\.mlp.* are not in adapter_model"):
        add_adapter(load_model(str(base)), torn)


def test_an_adapter_of_another_base_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    other = tiny.rewrite_adapter(adapter, tmp_path / "other", str, r=8)
    with pytest.raises(ModelError, match=r"not fit .* size mismatch .* Is this the base that") as caught:
        add_adapter(load_model(str(base)), other)
    assert len(str(caught.value)) < 800


def test_folders_that_are_no_adapters_are_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="whole model, give it as pretrained="):
        fetch_adapter(str(base))
    with pytest.raises(ModelError, match="no such folder"):
        fetch_adapter(str(tmp_path / "none"))
    pickled = tmp_path / "pickled"
    shutil.copytree(adapter, pickled)
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors, found adapter_model\.bin"):
        fetch_adapter(str(pickled))
    prefix = tiny.rewrite_adapter(adapter, tmp_path / "ia3", str, peft_type="IA3")
    with pytest.raises(ModelError, match="LoRA"):
        add_adapter(load_model(str(base)), prefix)


def test_a_model_with_a_missing_weight_is_refused(base: Path, tmp_path: Path) -> None:
    torn = shutil.copytree(base, tmp_path / "torn")
    tensors = load_file(torn / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, torn / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensors \(lm_head\.weight\).*random"):
        load_model(str(torn))


def test_pickled_weights_are_refused(base: Path, tmp_path: Path) -> None:
    pickled = shutil.copytree(base, tmp_path / "pickled")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        load_model(str(pickled))


def test_folders_that_are_no_models_are_refused(adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="give it as adapter="):
        load_model(str(adapter))
    with pytest.raises(ModelError, match="no such folder"):
        load_model(str(tmp_path / "none"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(str(tmp_path))


def test_a_model_without_chat_template_is_refused(base: Path, tmp_path: Path) -> None:
    mute = shutil.copytree(base, tmp_path / "mute")
    (mute / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="chat template"):
        load_processor(str(mute))


def test_pixel_limits(base: Path) -> None:
    processor = load_processor(str(base))

    def visual_tokens() -> int:
        image = processor.image_processor(images=[Image.new("RGB", (84, 84))], return_tensors="pt")
        return int(image["image_grid_thw"].prod()) // 4

    assert visual_tokens() == 9
    limit_pixels(processor, None, 28 * 28)
    assert visual_tokens() == 1
    assert processor.image_processor.size["shortest_edge"] == 28 * 28
    limit_pixels(processor, 112 * 112, 112 * 112)
    assert visual_tokens() == 16
    with pytest.raises(SettingsError, match="12544, 100"):
        limit_pixels(processor, None, 100)


def test_settings_of_maps_travel_with_a_model(tmp_path: Path) -> None:
    assert carried_motion(str(tmp_path)) is None
    MotionSettings(floor_px=0.3).save(tmp_path)
    assert carried_motion(str(tmp_path)) == MotionSettings(floor_px=0.3)
    (tmp_path / "motion.json").write_text(json.dumps({"floor": 1}))
    with pytest.raises(SettingsError, match="floor"):
        carried_motion(str(tmp_path))


def test_a_name_that_is_nearly_that_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "runs" / "labels").mkdir(parents=True)
    for load in (load_processor, fetch_adapter, load_model):
        with pytest.raises(ModelError) as error:
            load("runs/labls")
        assert "There is no folder 'runs/labls', so it was taken for a hub id. Did you mean 'runs/labels'?" in str(
            error.value
        )
    with pytest.raises(ModelError, match="no such folder. Did you mean 'runs/labels'"):
        load_model("./runs/labls")
    with pytest.raises(ModelError) as error:
        load_model("bundeld")
    assert "Did you mean 'bundled'?" in str(error.value)
