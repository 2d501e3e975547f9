"""Merge an adapter into the weights of its base, and check that answers stay equal.

Input and output embeddings often share a matrix, so merging an adapter of one would change both. Shared layers
therefore get separate matrices first, and share again afterwards if both are equal.
"""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

import numpy as np
import torch
from loguru import logger
from peft.tuners.tuners_utils import BaseTunerLayer
from PIL import Image
from torch import nn

from mellm_plugin.errors import ModelError
from mellm_plugin.models.inputs import encoded, rendered

TIMES_ROUNDING = 4.0
"""Largest accepted change of logits, as a multiple of their change when merged layers' outputs are rounded again."""
SURELY_ROUNDING = 1e-4
"""A change that is always accepted, as a share of the logits' standard deviation over the vocabulary."""


def merge(wrapped: Any, processor: Any = None) -> Any:
    """Merge the adapter into the base of PEFT's model; without a processor, the check uses text only.

    Raises ModelError if the adapter cannot be merged, or merging changes answers.
    """
    names = {_plain(name) for name, module in wrapped.named_modules() if isinstance(module, BaseTunerLayer)}
    try:
        inputs = _question(wrapped, processor)
        before, apart = _asked(wrapped, inputs)
    except Exception as error:  # remote code of a model may take other inputs
        logger.warning(f"mellm: cannot check whether merging changes answers, because the model does not run: {error}")
        before, apart = None, {}
    if before is not None and not torch.isfinite(before).all():
        raise ModelError("with this adapter the model computes NaN or infinity; try dtype=float32 or bfloat16")
    shared = _separate(wrapped)
    try:
        model = wrapped.merge_and_unload(safe_merge=True)
    except Exception as error:  # PEFT raises many kinds
        why = str(error).rstrip(".")
        raise ModelError(f"the adapter cannot be merged: {why}. merge_adapter=False keeps it apart") from error
    _share_again(model, shared)
    if before is None:
        return model
    after, merged = _asked(model, inputs)
    # Rounding moves logits more in deep or low-precision models, so each model is measured against itself.
    rounded, _ = _asked(model, inputs, rounding=names)
    moved, limit = _moved(before, after), max(SURELY_ROUNDING, TIMES_ROUNDING * _moved(after, rounded))
    if not moved <= limit:
        other = (name for name in apart if name in merged and _moved(apart[name], merged[name]) > limit)
        precision = str(model.dtype).removeprefix("torch.")
        raise ModelError(
            f"merging the adapter into its base changes answers, from {next(other, 'no single layer')} on: the logits "
            f"move by {moved:.2g} of their spread, but rounding to {precision} explains only {limit:.2g}. "
            "merge_adapter=False keeps it apart"
        )
    return model


def _plain(name: str) -> str:
    return name.removeprefix("base_model.model.").removesuffix(".token_adapter")


def _moved(one: torch.Tensor, other: torch.Tensor) -> float:
    """Root mean square of a difference, as a share of the spread of the first."""
    if one.shape != other.shape:
        return math.inf
    return float((other - one).square().mean().sqrt() / one.std(dim=-1).mean().clamp(min=1e-12))


def _question(model: Any, processor: Any) -> dict[str, torch.Tensor]:
    """A short text, with an image if there is a processor."""
    if processor is None:
        ids = torch.arange(1, 33).remainder(model.get_input_embeddings().weight.shape[0])[None]
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    else:
        pixels = np.random.default_rng(0).integers(0, 256, (56, 56, 3), dtype=np.uint8)
        content = [{"type": "image"}, {"type": "text", "text": "Which muscles of the face move here?"}]
        text = rendered(processor, [{"role": "user", "content": content}])
        inputs = dict(encoded(processor, [text], [[Image.fromarray(pixels)]]))
    device = model.get_input_embeddings().weight.device
    device = model.device if device.type == "meta" else device
    for name, tensor in inputs.items():
        if isinstance(tensor, torch.Tensor):
            inputs[name] = tensor.to(device, model.dtype if tensor.is_floating_point() else None)
    if getattr(model.config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = inputs["input_ids"][:, :1]
    return inputs


def _asked(
    model: Any, inputs: dict[str, torch.Tensor], rounding: AbstractSet[str] = frozenset()
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The logits, and the last output row of each layer with a weight, in order of execution.

    The results of the layers in `rounding` change by about as much as rounding their weights changes them.
    """
    rows: dict[str, torch.Tensor] = {}
    random = torch.Generator().manual_seed(0)

    def keep(name: str, module: nn.Module, given: Any, result: Any) -> Any:
        if not isinstance(result, torch.Tensor) or result.ndim < 2:
            return None
        rows[name] = result.detach().flatten(0, -2)[-1].float().cpu()
        if name not in rounding:
            return None
        size = torch.finfo(result.dtype).eps / 2 * result.float().square().mean(dim=-1, keepdim=True).sqrt()
        noise = torch.randn(result.shape, generator=random).to(result.device)
        return (result.float() + size * noise).to(result.dtype)

    inside = (".base_layer", "lora_", ".original_module", ".modules_to_save", "token_adapter")
    hooks = [
        module.register_forward_hook(partial(keep, _plain(name)))
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), torch.Tensor) and not any(part in name for part in inside)
    ]
    try:
        with torch.inference_mode():
            logits = model(**inputs).logits
    finally:
        for one in hooks:
            one.remove()
    return logits.float().cpu(), rows


def _separate(wrapped: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """Separate weights that layers share if the adapter touches one of them; returns the groups."""
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    touched: set[int] = set()
    for name, module in wrapped.named_modules():
        parts = set(name.split("."))
        if "modules_to_save" in parts or any(part.startswith("lora_") for part in parts):
            continue
        for own, weight in module.named_parameters(recurse=False):
            if not weight.is_meta and not own.startswith(("lora_", "trainable_tokens")):
                places.setdefault(id(weight), []).append((module, own))
                if parts & {"base_layer", "original_module", "token_adapter"}:
                    touched.add(id(weight))
    shared = [group for key, group in places.items() if len(group) > 1 and key in touched]
    for group in shared:
        for module, own in group[1:]:
            setattr(module, own, nn.Parameter(getattr(module, own).detach().clone(), requires_grad=False))
    return shared


def _share_again(model: Any, shared: list[list[tuple[nn.Module, str]]]) -> None:
    """Share equal weights again, and update the config."""
    for group in shared:
        first = getattr(*group[0])
        for module, own in group[1:]:
            weight = getattr(module, own)
            if weight.shape == first.shape and weight.device == first.device and torch.equal(weight, first):
                setattr(module, own, first)
    reads, chooses = model.get_input_embeddings(), model.get_output_embeddings()
    if reads is None or chooses is None or not hasattr(chooses, "weight"):
        return
    tied = reads.weight is chooses.weight
    if shared and not tied:
        logger.info("mellm: the adapter trained the word vectors: input and output embeddings are no longer shared")
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = tied
