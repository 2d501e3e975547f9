"""Which layers are trained: the parts of a model by name, its LoRA targets, and how each is trained.

This is the place for another backbone whose modules have other names.

    model.visual.blocks.0.attn.qkv                   vision
    model.visual.merger.mlp.0                        projector
    model.language_model.layers.0.mlp.gate_proj      language
    model.language_model.embed_tokens, lm_head       embeddings

A target such as `gate_proj` matches linear layers of its own part only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from torch.nn import functional

from mellm_plugin.errors import TrainingError
from mellm_plugin.models import BUNDLED
from mellm_plugin.training.config import PARTS, Config, Stage

_PROJECTOR = re.compile(
    r"(^|\.)(merger|deepstack_merger_list|multi_modal_projector|multimodal_projector|mm_projector|modality_projection"
    r"|connector|aligner|embed_vision)(\.|$)"
)
_EMBEDDINGS = re.compile(r"(^|\.)(embed_tokens|lm_head)(\.|$)")
_VISION = re.compile(r"(^|\.)(visual|vision_tower|vision_model|vision_encoder|image_encoder|vision)(\.|$)")


def part_of(name: str) -> str:
    """The part, one of `config.PARTS`, that a module or a parameter belongs to."""
    if _PROJECTOR.search(name):
        return "projector"
    if _VISION.search(name):
        return "vision"
    return "embeddings" if _EMBEDDINGS.search(name) else "language"


def linear_layers(model: nn.Module, part: str, target: str) -> list[str]:
    """Names of the linear layers of a part that match the expression."""
    wanted = re.compile(target)
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and part_of(name) == part and wanted.search(name)
    ]


def projectors(model: nn.Module) -> list[str]:
    """Names of the outermost modules that make up the projector."""
    found: list[str] = []
    for name, module in model.named_modules():
        if part_of(name) == "projector" and not isinstance(module, nn.ModuleList):
            found += [] if name.startswith(tuple(f"{outer}." for outer in found)) else [name]
    return found


def word_tables(model: Any) -> list[str]:
    """Names of the modules with word vectors; a single one if input and output share it."""
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    found: dict[int, str] = {}
    for name, module in model.named_modules():
        if any(module is table for table in tables):
            found.setdefault(id(module.weight), name)
    return list(found.values())


def add_adapter_for(model: Any, config: Config, revision: str | None) -> PeftModel:
    """Add the one adapter of all stages to the model: low-rank matrices, zero at first, and a copy of the projector.

    The model changes in place. The adapter records `revision`, the commit of the loaded base.

    Raises:
        TrainingError: the model lacks parts or layers; lists all of them.
    """
    faults: list[str] = []
    loras = {part: lora for part in PARTS if (lora := config.lora(part)) is not None}
    targets = {part: linear_layers(model, part, lora.target(part)) for part, lora in loras.items()}
    for part, lora in loras.items():
        if not targets[part]:
            shown = ", ".join(linear_layers(model, part, "")[:3]) or "none"
            faults.append(
                f"lora.targets.{part}: expected a match among its linear layers ({shown}, ..), found none "
                f"for {lora.target(part)!r}"
            )
    full = [part for part, way in config.ways().items() if way == "full"]
    saved: list[str] = []
    for part in full:
        saved += (names := word_tables(model) if part == "embeddings" else projectors(model))
        if not names:
            faults.append(f"train.{part}: expected a module that is known as {part}, found none in this model")
    if faults:
        raise TrainingError(f"{config.base}:" + "".join(f"\n  - {fault}" for fault in faults))
    first = next(iter(loras.values()))
    own = [(re.escape(name), lora) for part, lora in loras.items() for name in targets[part]]
    made = LoraConfig(
        r=first.rank,
        lora_alpha=first.alpha,
        lora_dropout=max(lora.dropout for lora in loras.values()),
        target_modules=[name for names in targets.values() for name in names],
        rank_pattern={name: lora.rank for name, lora in own if lora.rank != first.rank},
        alpha_pattern={name: lora.alpha for name, lora in own if lora.alpha != first.alpha},
        modules_to_save=saved or None,
        ensure_weight_tying="embeddings" in full,  # word vectors stay shared if the base shares them
        revision=revision,
    )
    wrapped = get_peft_model(model, made)
    base = config.base
    if base != BUNDLED and os.path.isdir(os.path.expanduser(base)):
        base = os.path.abspath(os.path.expanduser(base))  # a relative path would start at the adapter's folder
    wrapped.peft_config["default"].base_model_name_or_path = base
    return wrapped


def train_only(model: nn.Module, stage: Stage, *, keep_dtype: bool = False) -> None:
    """Set the parameters that a stage trains, in a whole model or one with the adapter of `add_adapter_for`.

    Trained weights become float32, which keeps small steps, unless `keep_dtype`.
    """
    adapted = isinstance(model, PeftModel)
    for name, parameter in model.named_parameters():
        way = getattr(stage.train, part_of(name))
        own = ("lora_" in name and way == "lora") or (".modules_to_save." in name and way == "full")
        parameter.requires_grad = own if adapted else way == "full"
        if parameter.requires_grad and not keep_dtype:
            parameter.data = parameter.data.float()
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout) and ".lora_dropout." in name:
            lora = stage.lora if part_of(name) in stage.train.parts("lora") else None
            module.p = lora.dropout if lora is not None else 0.0  # no dropout in a LoRA that this stage does not train


def patches_as_product(model: nn.Module) -> None:
    """Run patch embeddings (convolutions without overlap) as matrix products: equal results, faster on a CPU."""
    for module in model.modules():
        convolution = getattr(module, "proj", None)
        if isinstance(convolution, nn.Conv3d) and convolution.kernel_size == convolution.stride:
            module.forward = partial(_patches, convolution)


def _patches(convolution: nn.Conv3d, patches: torch.Tensor) -> torch.Tensor:
    weight = convolution.weight.flatten(1)
    return functional.linear(patches.view(-1, weight.shape[1]).to(weight.dtype), weight, convolution.bias)


def counts(model: nn.Module) -> dict[str, dict[str, int]]:
    """Parameters and trained parameters of each part."""
    found = {part: {"parameters": 0, "trained": 0} for part in PARTS}
    for name, parameter in model.named_parameters():
        of = found[part_of(name)]
        of["trained"] += parameter.numel() * parameter.requires_grad
        if "lora_" not in name and ".modules_to_save." not in name:
            of["parameters"] += parameter.numel()
    return found


def groups(model: nn.Module, rates: Mapping[str, float], weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for the optimiser: trained parameters by part, with its rate; only matrices decay."""
    found: dict[tuple[str, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_matrix = parameter.ndim > 1 or weight_decay == 0
            found.setdefault((part_of(name), is_matrix), []).append(parameter)
    return [
        {"params": parameters, "lr": rates[part], "weight_decay": weight_decay if decays else 0.0}
        for (part, decays), parameters in found.items()
    ]
