from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from mellm_plugin.errors import ModelError, SettingsError
from mellm_plugin.models import merging
from mellm_plugin.models.loading import (
    adapter_base,
    add_adapter,
    carried_motion,
    check_numbers,
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


def test_auto_is_float32_on_a_cpu(base: Path) -> None:
    assert load_model(str(base)).dtype == torch.float32
    assert load_model(str(base), dtype="bfloat16").dtype == torch.bfloat16


def test_merged_and_apart_are_the_same_model_and_not_the_base(base: Path, adapter: Path) -> None:
    merged = add_adapter(load_model(str(base)), adapter)
    apart = add_adapter(load_model(str(base)), adapter, merge=False)
    assert not any("lora_" in name for name, _ in merged.named_parameters())
    assert sum("lora_" in name for name, _ in apart.named_parameters()) == 12
    with_merged, with_apart = logits(merged, base), logits(apart, base)
    torch.testing.assert_close(with_merged, with_apart, rtol=1e-4, atol=1e-4)
    assert (with_merged - logits(load_model(str(base)), base)).abs().max() > 0.1


def test_an_adapter_names_its_base(base: Path, adapter: Path, tmp_path: Path) -> None:
    assert adapter_base(adapter) == (str(base), None)
    shutil.copytree(base, tmp_path / "base")
    beside = tiny.rewrite_adapter(adapter, tmp_path / "adapter", str, base_model_name_or_path="../base", revision="v1")
    assert adapter_base(beside) == (str(tmp_path / "base"), "v1")
    nameless = tiny.rewrite_adapter(adapter, tmp_path / "nameless", str, base_model_name_or_path=None)
    with pytest.raises(ModelError, match="set pretrained= to the base"):
        adapter_base(nameless)


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("tied"), tie=True)


@pytest.mark.parametrize(
    ("trained", "still_tied"),
    [
        ({"target_modules": ["v_proj", "lm_head"]}, False),
        ({"target_modules": ["v_proj", "embed_tokens"]}, False),
        ({"target_modules": ["v_proj", "embed_tokens", "lm_head"], "use_dora": True}, False),
        ({"target_modules": ["v_proj", "embed_tokens"], "ensure_weight_tying": True}, True),
        ({"target_modules": ["v_proj"], "modules_to_save": ["lm_head"]}, False),
        ({"target_modules": ["v_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}, True),
        ({"target_modules": ["v_proj"], "trainable_token_indices": [3, 4]}, True),
        ({"target_modules": ["v_proj"], "trainable_token_indices": {"embed_tokens": [3], "lm_head": [5]}}, False),
    ],
)
def test_merging_changes_no_answer_where_words_share_a_matrix(
    tied: Path, tmp_path: Path, trained: dict[str, Any], still_tied: bool
) -> None:
    own = tiny.save_adapter(tmp_path / "own", tied, **trained)
    merged = add_adapter(load_model(str(tied)), own, processor=load_processor(str(tied)))
    apart = logits(add_adapter(load_model(str(tied)), own, merge=False), tied)
    torch.testing.assert_close(logits(merged, tied), apart, rtol=1e-4, atol=1e-3)
    assert merged.config.tie_word_embeddings is merged.config.text_config.tie_word_embeddings is still_tied
    merged.save_pretrained(tmp_path / "whole")
    by_transformers = AutoModelForImageTextToText.from_pretrained(tmp_path / "whole")
    assert torch.equal(logits(by_transformers, tied), logits(merged, tied))


def test_a_merge_that_changes_answers_is_refused(tied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tiny.save_adapter(tmp_path / "own", tied, target_modules=["q_proj", "lm_head"])
    monkeypatch.setattr(merging, "_separate", lambda wrapped: [])
    for dtype in ("float32", "bfloat16", "float16"):
        with pytest.raises(ModelError, match=rf"changes answers, from model\.language_model\.embed_tokens on.*{dtype}"):
            add_adapter(load_model(str(tied), dtype=dtype), own)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rounding_is_not_refused(base: Path, adapter: Path, dtype: str) -> None:
    add_adapter(load_model(str(base), dtype=dtype), adapter, processor=load_processor(str(base)))


def test_an_adapter_that_cannot_be_merged_can_stay_apart(base: Path, tmp_path: Path) -> None:
    own = tiny.save_adapter(tmp_path / "own", base, target_modules=["o_proj"], lora_bias=True)
    with pytest.raises(ModelError, match=r"cannot be merged: .*no bias\. merge_adapter=False keeps it apart"):
        add_adapter(load_model(str(base)), own)
    add_adapter(load_model(str(base)), own, merge=False)


@pytest.mark.parametrize(("merge", "number"), [(True, "nan"), (False, "-inf")])
def test_weights_that_are_no_numbers_are_refused(
    base: Path, adapter: Path, tmp_path: Path, merge: bool, number: str
) -> None:
    def broken(folder: Path, file: str) -> str:
        copy = shutil.copytree(folder, tmp_path / file)
        tensors = load_file(copy / file)
        tensors[min(tensors)].view(-1)[-1] = float(number)
        save_file(tensors, copy / file, metadata={"format": "pt"})
        return str(copy)

    with pytest.raises(ModelError, match=r"adapter_model.*1 tensors \(.*lora_A\.weight\) contain NaN or infinity"):
        own = broken(adapter, "adapter_model.safetensors")
        add_adapter(load_model(str(base)), Path(own), merge=merge)
    with pytest.raises(ModelError, match=r"1 tensors \(.*weight\) contain NaN or infinity"):
        check_numbers(load_model(broken(base, "model.safetensors")), "base")


# How ms-swift, LLaMA-Factory, Unsloth, TRL and PEFT itself name the trained layers.
SWIFT = r"^(model)(?!.*(lm_head|output|emb|wte|shared)).*"
SWIFT_NEW = r"^(model\.language_model(?=\.).*\.(q_proj|v_proj|gate_proj))$"
FACTORY = r"^(?!.*visual).*(?:q_proj|v_proj|gate_proj).*"
UNSLOTH = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?(?:q_proj|v_proj|gate_proj).*?)"
    r"|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)\.(?:(?:q_proj|v_proj|gate_proj)))"
)


LAYERS = [
    f"model.layers.{n}.{layer}" for n in (0, 1) for layer in ("self_attn.q_proj", "self_attn.v_proj", "mlp.gate_proj")
]


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
        (LAYERS, True),
    ],
)
def test_adapters_of_other_tools_are_the_same_adapter(
    base: Path, adapter: Path, tmp_path: Path, targets: Any, old: bool
) -> None:
    fields = {"target_modules": targets, "exclude_modules": "visual.*" if isinstance(targets, list) else None}
    theirs = tiny.rewrite_adapter(adapter, tmp_path / "theirs", before_4_52 if old else str, **fields)
    ours, others = (logits(add_adapter(load_model(str(base)), one, merge=False), base) for one in (adapter, theirs))
    assert torch.equal(others, ours)


def test_scales_by_an_old_layer_name_apply_to_the_new_one(base: Path, tmp_path: Path) -> None:
    name = "model.language_model.layers.1.self_attn.v_proj"
    own = tiny.save_adapter(tmp_path / "own", base, rank_pattern={name: 2}, alpha_pattern={name: 64})
    before = before_4_52(f".{name}")[1:]
    named: dict[str, Any] = {"rank_pattern": {before: 2}, "alpha_pattern": {before: 64}}
    old = tiny.rewrite_adapter(own, tmp_path / "old", before_4_52, target_modules=SWIFT, **named)
    ours, theirs = (logits(add_adapter(load_model(str(base)), one), base) for one in (own, old))
    assert torch.equal(ours, theirs)


def test_fields_of_a_newer_peft(base: Path, adapter: Path, tmp_path: Path, log: list[str]) -> None:
    quiet: dict[str, Any] = {"future_config": None, "use_future": False, "task_type": "VLA", "runtime_config": {}}
    shy = tiny.rewrite_adapter(adapter, tmp_path / "shy", str, **quiet)
    loud = tiny.rewrite_adapter(adapter, tmp_path / "loud", str, future_config={"rho": 2}, peft_version="9.1")
    ours = logits(add_adapter(load_model(str(base)), adapter), base)
    assert torch.equal(logits(add_adapter(load_model(str(base)), shy), base), ours) and not log
    assert torch.equal(logits(add_adapter(load_model(str(base)), loud), base), ours)
    assert 'future_config: {"rho": 2}' in log[0] and "saved by PEFT 9.1" in log[0]


def test_weights_beside_those_of_peft_are_not_left_out(base: Path, adapter: Path, tmp_path: Path) -> None:
    own = shutil.copytree(adapter, tmp_path / "own")
    torch.save({}, own / "non_lora_state_dict.bin")
    add_adapter(load_model(str(base)), own)
    torch.save({"model.visual.merger.mlp.0.weight": torch.ones(2)}, own / "non_lora_state_dict.bin")
    with pytest.raises(ModelError, match=r"non_lora_state_dict\.bin contains further trained weights"):
        add_adapter(load_model(str(base)), own)


def test_a_git_lfs_pointer_is_reported_as_one(base: Path, adapter: Path, tmp_path: Path) -> None:
    own = shutil.copytree(adapter, tmp_path / "own")
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        (own / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
        with pytest.raises(ModelError, match=r"Git LFS pointer.*git lfs pull"):
            add_adapter(load_model(str(base)), own)


@pytest.mark.parametrize(
    ("path", "hub"),
    [
        ("/root/autodl-tmp/models/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("/root/.cache/modelscope/hub/models/Qwen/Qwen2___5-VL-3B-Instruct/", "Qwen/Qwen2.5-VL-3B-Instruct"),
        ("/data/hub/models--llava-hf--llava-1.5-7b-hf/snapshots/8a1b", "llava-hf/llava-1.5-7b-hf"),
        (r"D:\models\Qwen3-VL-4B-Instruct", "Qwen/Qwen3-VL-4B-Instruct"),
        ("../../my_base", None),
    ],
)
def test_a_base_on_another_machine(adapter: Path, tmp_path: Path, path: str, hub: str | None) -> None:
    own = tiny.rewrite_adapter(adapter, tmp_path / "own", str, base_model_name_or_path=path)
    with pytest.raises(ModelError) as error:
        adapter_base(own)
    said = str(error.value)
    assert f"adapter_config.json names the base {path}" in said
    assert "pretrained= to your copy (mellm export: --base)" in said
    assert (f"such as {hub} of the hub" if hub else "--base)") in said


def test_folders_of_a_training_name_their_checkpoints(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("checkpoint-90", "checkpoint-100"):
        shutil.copytree(adapter, tmp_path / "run" / name)
        shutil.copytree(base, tmp_path / "full" / name)
    with pytest.raises(ModelError, match=r"checkpoint-90, checkpoint-100; give one, such as run/checkpoint-100"):
        fetch_adapter("run")
    with pytest.raises(ModelError, match=r"checkpoint-90, checkpoint-100; give one, such as full/checkpoint-100"):
        load_model("full")
    with pytest.raises(ModelError, match="adapter=run/checkpoint-100"):
        load_model("run")
    with pytest.raises(
        ModelError, match=r"nope: no such folder, and not a hub id.*There are run/checkpoint-90, run/check"
    ):
        fetch_adapter("nope")


@pytest.mark.parametrize(
    ("rename", "settings", "fault"),
    [
        (
            lambda name: None if "1.mlp" in name else before_4_52(name),
            {"target_modules": ["q_proj", "v_proj", "gate_proj"]},
            r"1 layers \(.*layers\.1\.mlp\.gate_proj\) are missing from adapter_model",
        ),
        (str, {"target_modules": r".*language_model.*\.(q_proj|v_proj)"}, r"4 tensors \(.*gate_proj.* have no place"),
        (lambda name: None if "1.mlp" in name else name, {}, r"2 tensors \(.*1\.mlp.* are missing from adapter_model"),
        (str, {"r": 8}, r"not fit .* size mismatch .* Is this the base that"),
        (str, {"peft_type": "IA3"}, "found IA3; merge it on the machine of the training"),
        (str, {"peft_type": "PROMPT_TUNING"}, "instead of the weights"),
        (str, {"peft_type": None}, "found no peft_type"),
        (str, {"init_lora_weights": "pissa_niter_16"}, "changes the base in training"),
        (str, {"alora_invocation_tokens": [1, 2]}, "activated LoRA"),
        (str, {"target_modules": ["q_proj"], "layers_pattern": "layers"}, "cannot use adapter_config.json"),
    ],
)
def test_adapters_that_would_answer_as_another_model_are_refused(
    base: Path, adapter: Path, tmp_path: Path, rename: Any, settings: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ModelError, match=fault) as caught:
        add_adapter(load_model(str(base)), tiny.rewrite_adapter(adapter, tmp_path / "own", rename, **settings))
    assert len(str(caught.value)) < 800


def test_folders_that_are_no_adapters_or_models_are_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="whole model; give it as pretrained="):
        fetch_adapter(str(base))
    with pytest.raises(ModelError, match="no such folder"):
        fetch_adapter(str(tmp_path / "none"))
    with pytest.raises(ModelError, match=rf"found a file; give the folder: {re.escape(str(adapter))}$"):
        fetch_adapter(str(adapter / "adapter_model.safetensors"))
    with pytest.raises(ModelError, match=r"found an address; the id is Qwen/Qwen2\.5-VL-7B-Instruct$"):
        load_model("https://huggingface.co/Qwen/Qwen2.5-VL-7B-Instruct/tree/main")
    with pytest.raises(ModelError, match="give it as adapter="):
        load_model(str(adapter))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(str(tmp_path))
    pickled = shutil.copytree(adapter, tmp_path / "pickled")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors, found adapter_model\.bin"):
        fetch_adapter(str(pickled))


def test_incomplete_and_pickled_models_are_refused(base: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(base, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    head = tensors.pop("lm_head.weight")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensors \(lm_head\.weight\).*random"):
        load_model(str(broken))
    (broken / "model.safetensors").unlink()
    torch.save({**tensors, "lm_head.weight": head}, broken / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        load_model(str(broken))
    (broken / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="chat template"):
        load_processor(str(broken))


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


def test_motion_settings_travel_with_a_model(tmp_path: Path) -> None:
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
        with pytest.raises(ModelError, match="There is no folder 'runs/labls'.* Did you mean 'runs/labels'"):
            load("runs/labls")
    with pytest.raises(ModelError, match="no such folder. Did you mean 'runs/labels'"):
        load_model("./runs/labls")
    with pytest.raises(ModelError, match="Did you mean 'bundled'"):
        load_model("bundeld")
