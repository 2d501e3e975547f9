"""Parts of a model by name; what an adapter has for them, and what a stage trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from mellm_plugin.models import bundled_folder
from mellm_plugin.models.loading import load_model
from mellm_plugin.training.config import read
from mellm_plugin.training.parts import (
    add_adapter_for,
    counts,
    groups,
    linear_layers,
    part_of,
    patches_as_product,
    train_only,
)

Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.visual.blocks.0.mlp.gate_proj.weight", "vision"),
        ("base_model.model.model.visual.merger.modules_to_save.default.ln_q.weight", "projector"),
        ("model.visual.deepstack_merger_list.0.linear_fc1", "projector"),
        ("model.multi_modal_projector.linear_1", "projector"),
        ("model.vision_tower.encoder.layers.0.self_attn.q_proj", "vision"),
        ("model.language_model.layers.1.mlp.gate_proj.lora_A.default.weight", "language"),
        ("model.language_model.norm.weight", "language"),
        ("model.language_model.embed_tokens.weight", "embeddings"),
        ("lm_head", "embeddings"),
    ],
)
def test_parts_by_name(name: str, part: str) -> None:
    assert part_of(name) == part


def test_a_target_matches_layers_of_its_part_only(base: Path) -> None:
    model = load_model(str(base))
    assert all("language_model" in name for name in linear_layers(model, "language", "gate_proj"))
    assert len(linear_layers(model, "language", "gate_proj")) == len(linear_layers(model, "vision", "gate_proj")) == 2


def _trained(model: nn.Module) -> set[str]:
    return {part_of(name) for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("train", "rate"),
    [
        ({"language": "lora"}, {"language": 1e-3}),
        ({"vision": "lora", "projector": "full"}, {"vision": 1e-3, "projector": 1e-4}),
        ({"language": "lora", "embeddings": "full"}, {"language": 1e-3, "embeddings": 1e-4}),
        ({"language": "full", "vision": "full", "projector": "full", "embeddings": "full"}, 1e-4),
    ],
)
def test_a_stage_trains_its_parts_each_with_its_rate(base: Path, given: Make, train: dict[str, str], rate: Any) -> None:
    lora = {"lora": {"rank": 4, "alpha": 8}} if "lora" in train.values() else {"lora": None}
    config = read(given(train=train, learning_rate=rate, **lora))
    (stage,) = config.stages
    model = load_model(str(base))
    model = model if config.full else add_adapter_for(model, config, None)
    train_only(model, stage)
    assert _trained(model) == set(train)
    found = counts(model)
    assert {part for part, of in found.items() if of["trained"]} == set(train)
    assert sum(of["parameters"] for of in found.values()) == sum(p.numel() for p in load_model(str(base)).parameters())
    rates: dict[str, set[float]] = {}
    names = {id(parameter): part_of(name) for name, parameter in model.named_parameters()}
    for group in groups(model, stage.learning_rate, 0.1):
        for parameter in group["params"]:
            rates.setdefault(names[id(parameter)], set()).add(group["lr"])
            assert (group["weight_decay"] > 0) == (parameter.ndim > 1)
    assert rates == {part: {stage.learning_rate[part]} for part in train}


def test_parts_may_have_ranks_of_their_own(base: Path, given: Make) -> None:
    plain = given()
    eyes = {"name": "eyes", "train": {"vision": "lora"}, "lora": {"rank": 2, "alpha": 16, "dropout": 0.0}}
    eyes = {**plain["stages"][0], **eyes}
    config = read({**plain, "stages": [*plain["stages"], eyes]})
    model = add_adapter_for(load_model(str(base)), config, None)
    ranks = {part_of(n): m.r["default"] for n, m in model.named_modules() if isinstance(m, LoraLayer)}
    scales = {part_of(n): m.scaling["default"] for n, m in model.named_modules() if isinstance(m, LoraLayer)}
    assert ranks == {"language": 4, "vision": 2} and scales == {"language": 2.0, "vision": 8.0}
    dropouts = {m.p for n, m in model.named_modules() if isinstance(m, nn.Dropout) and "lora_dropout" in n}
    assert dropouts == {0.1}
    train_only(model, config.stages[1])
    assert _trained(model) == {"vision"}
    train_only(model, config.stages[0])
    dropouts = {part_of(n): m.p for n, m in model.named_modules() if isinstance(m, nn.Dropout) and "lora_dropout" in n}
    assert dropouts == {"language": 0.1, "vision": 0.0}, "what is not trained is applied as a whole"


def test_a_shared_word_table_is_trained_once(given: Make) -> None:
    config = read(given(train={"language": "lora", "embeddings": "full"}, learning_rate=1e-3) | {"base": "bundled"})
    model = add_adapter_for(load_model(str(bundled_folder())), config, None)
    train_only(model, config.stages[0])
    assert counts(model)["embeddings"]["trained"] == model.get_input_embeddings().weight.numel()


def test_patches_as_a_product_give_the_same_output_and_gradient() -> None:
    tower = load_model(str(bundled_folder()), dtype="float32").model.visual
    embed, patches = tower.patch_embed, torch.rand(48, 1176, generator=torch.Generator().manual_seed(0))
    plain = embed(patches)
    plain.square().sum().backward()
    gradient = embed.proj.weight.grad.clone()
    embed.proj.weight.grad = None
    patches_as_product(tower)
    product = embed(patches)
    product.square().sum().backward()
    torch.testing.assert_close(product, plain)
    torch.testing.assert_close(embed.proj.weight.grad, gradient, rtol=1e-3, atol=1e-3)
