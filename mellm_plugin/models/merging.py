"""An adapter added to the weights of its base, and the proof that this changed no answer.

Added to a matrix that two layers share, as the words' vectors often are by the one that reads and the one that chooses
words, an adapter of one of them would change both. They get a matrix each before; afterwards one again where both came
out alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from loguru import logger
from PIL import Image
from torch import nn

from mellm_plugin.errors import ModelError
from mellm_plugin.models.inputs import encoded, rendered

TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.03, torch.bfloat16: 0.2}
"""How far the logits may move, by the precision of the weights: root mean square, as a share of their own spread (the
standard deviation over the words). Measured at 28 layers of random weights: 1e-6, .004 and .03 (docs/log.md)."""


def merge(wrapped: Any, processor: Any = None) -> Any:
    """The base with the adapter in its weights.

    Args:
        wrapped: PEFT's model with the adapter.
        processor: to ask the model about an image; None: about words alone.

    Raises:
        ModelError: it cannot be merged, or the merged model answers otherwise.
    """
    inputs = _question(wrapped, processor)
    before, apart = _asked(wrapped, inputs)
    if not torch.isfinite(before).all():
        raise ModelError("with this adapter the model computes NaN or infinity; try dtype=float32 or bfloat16")
    shared = _separate(wrapped)
    try:
        model = wrapped.merge_and_unload(safe_merge=True)
    except Exception as error:  # of whatever kind: PEFT cannot merge it
        raise ModelError(
            f"the adapter cannot be merged: {str(error).rstrip('.')}. merge_adapter=False keeps it apart"
        ) from error
    _share_again(model, shared)
    after, merged = _asked(model, inputs)
    moved = float((after - before).square().mean().sqrt() / before.std(dim=-1).mean())
    limit = TOLERANCE.get(model.dtype, max(TOLERANCE.values()))
    if not moved <= limit:
        names = [name for name in apart if name in merged and not _close(apart[name], merged[name], limit)]
        where = f"it begins in {names[0]}" if names else "in no layer of its own"
        raise ModelError(
            f"merged into its base the adapter gives other answers: the logits move by {moved:.2g} of their spread "
            f"({float((after - before).abs().max()):.2g} at most), where rounding to {_named(model.dtype)} explains "
            f"{limit:g}; {where}. merge_adapter=False keeps it apart"
        )
    return model


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _question(model: Any, processor: Any) -> dict[str, torch.Tensor]:
    """A short text, with an image where there is a processor."""
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


def _asked(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The logits, and the last row that each layer with a matrix gave, in order of execution."""
    rows: dict[str, torch.Tensor] = {}
    with torch.inference_mode(), _watched(model, rows):
        logits = model(**inputs).logits
    return logits.float().cpu(), rows


@contextmanager
def _watched(model: nn.Module, rows: dict[str, torch.Tensor]) -> Iterator[None]:
    def keeper(name: str) -> Callable[..., None]:
        def keep(module: nn.Module, given: Any, result: Any) -> None:
            if isinstance(result, torch.Tensor) and result.ndim > 1:
                rows[name] = result.detach().flatten(0, -2)[-1].float().cpu()

        return keep

    hooks = [
        module.register_forward_hook(keeper(name.removeprefix("base_model.model.")))
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), torch.Tensor)
        and not any(
            own in name for own in (".base_layer", "lora_", ".original_module", ".modules_to_save", "token_adapter")
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _close(one: torch.Tensor, other: torch.Tensor, limit: float) -> bool:
    return one.shape == other.shape and float((one - other).norm()) <= limit * float(one.norm()) + 1e-9


_Shared = list[list[tuple[nn.Module, str]]]


def _separate(wrapped: nn.Module) -> _Shared:
    """Give layers that share a weight one each, where the adapter is on any of them; who shared them."""
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


def _share_again(model: Any, shared: _Shared) -> None:
    """Let layers share their weight as before where it came out alike, and have the config say what is."""
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
        logger.info("mellm: the adapter trained the words' vectors: reading and choosing words no longer share them")
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = tied
