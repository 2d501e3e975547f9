"""The model and the processor that a stage of a fine-tuning starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, load_peft_weights, set_peft_model_state_dict

from mellm_plugin.errors import ModelError
from mellm_plugin.models.loading import limit_pixels, load_model, load_processor
from mellm_plugin.training.config import Config
from mellm_plugin.training.parts import add_adapter_for


def build_model(config: Config, base: str, start: Path | None, device: torch.device) -> Any:
    """The model in the state that a stage starts from.

    `base` is a folder or hub id; `start` is a checkpoint or the outcome of the previous stage (None: the base, or the
    adapter of the config).

    Raises:
        ModelError: the base or the state cannot be loaded, or they do not match.
        TrainingError: the base lacks a part that the config trains.
    """
    revision, trusted = config.revision, config.trust_remote_code
    if config.full:
        # States are saved in float32; a detour over bfloat16 would round their trained weights.
        dtype, source = "float32" if config.dtype == "auto" else config.dtype, str(start or base)
        revision = None if start else revision
        return load_model(source, revision=revision, dtype=dtype, device="cpu", trust_remote_code=trusted).to(device)
    model = load_model(base, revision=revision, dtype=config.dtype, device=device, trust_remote_code=trusted)
    wrapped = add_adapter_for(model, config, revision)
    if begin := start or config.adapter:
        _load_adapter(wrapped, Path(begin).expanduser())
    return wrapped


def _load_adapter(model: PeftModel, folder: Path) -> None:
    try:
        report = set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
    except Exception as error:  # PEFT and torch raise many kinds
        first = " ".join(str(error).split("\n\t")[:2])
        raise ModelError(f"{folder}: expected an adapter with the parts and ranks of the config: {first}") from error
    missing = [key for key in report.missing_keys if "lora_" in key or ".modules_to_save." in key]
    if missing or report.unexpected_keys:
        raise ModelError(
            f"{folder}: expected an adapter with the parts and ranks of the config; {len(missing)} of its tensors are "
            f"missing ({', '.join(missing[:2])}), {len(report.unexpected_keys)} are unexpected "
            f"({', '.join(report.unexpected_keys[:2])})"
        )


def prepare_processor(config: Config, base: str) -> Any:
    """The processor of the base, with the config's limit of pixels.

    Raises:
        ModelError: the processor cannot be loaded.
        SettingsError: the config limits the pixels of a processor with one image size.
    """
    processor = load_processor(base, revision=config.revision, trust_remote_code=config.trust_remote_code)
    smallest = None
    if config.max_pixels is not None:
        smallest = min(config.max_pixels, dict(processor.image_processor.size).get("shortest_edge", config.max_pixels))
    limit_pixels(processor, smallest, config.max_pixels)
    return processor


def end_tokens(model: Any) -> list[int]:
    """Ids of the tokens at which the model ends an answer."""
    ends = model.generation_config.eos_token_id
    return [*ends] if isinstance(ends, list) else [] if ends is None else [ends]
