"""A preview of a training without loading weights: data, examples, parameters, memory.

    <output>/dry-run/1-label.png, 1-label.txt      picture, prompt and expected answer

Memory is an estimate: weights, gradients and the optimiser's two moments are exact, activations follow the usual count
of tensors of a layer. Kernels and fragmentation are not included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import init_empty_weights
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText

from mellm_plugin.errors import ModelError, TrainingError
from mellm_plugin.models import taken_for_hub_id
from mellm_plugin.models.loading import local_or_hub
from mellm_plugin.motion.images import write_atomically
from mellm_plugin.small_files import write_text
from mellm_plugin.training import adapter, stages
from mellm_plugin.training.clips import DRAWN
from mellm_plugin.training.collator import IGNORED, Collator
from mellm_plugin.training.config import Config
from mellm_plugin.training.data import Example
from mellm_plugin.training.finetune import processes
from mellm_plugin.training.parts import add_adapter_for, counts, train_only
from mellm_plugin.training.stage_model import prepare_processor

FOLDER = "dry-run"
_SHOWN = 3
_TRIED = 64  # number of examples in which to look for different forms


def dry_run(config: Config) -> dict[str, Any]:
    """Preview a config; writes only a few examples.

    Returns:
        `stages` (for each: counts, steps, tokens, parameters by part, memory in GiB), `subjects`, `examples` (files).

    Raises:
        InputError: data or subjects cannot be used; lists every fault.
        ModelError: the base cannot be read.
        TrainingError: the base lacks a part that the config trains, or the output cannot be written.
    """
    base = local_or_hub(config.base)
    fingerprint = adapter.base_fingerprint(config.base, base, config.revision)
    sides = stages.split(config)
    stages.check(config, sides)
    processor = prepare_processor(config, base)
    collator = Collator(processor)
    own = config.trainer
    devices = processes().num_processes
    found: list[dict[str, Any]] = []
    written: list[str] = []
    skeleton = _skeleton(config, base)
    for number, stage in enumerate(config.stages):
        examples = stages.shown(config, number, sides, own.batch_size * own.accumulation * devices)
        held = stages.validated(config, number, sides)
        train_only(skeleton, stage, keep_dtype=True)
        some = _some(config, number, sides)
        wanted = _SHOWN - len(written) if stage is config.stages[-1] else 1
        written += _write(config, number, some[: max(1, wanted)], collator)
        batch = collator(some)
        lengths = {"longest": batch["attention_mask"], "answers": batch["labels"] != IGNORED}
        tokens = {name: int(of.sum(dim=1).max()) for name, of in lengths.items()}
        found.append(
            {
                "name": stage.name,
                "steps": math.ceil(math.ceil(len(examples) / (own.batch_size * devices)) / own.accumulation),
                "train": examples.counts(),
                "validation": held.counts() if held else None,
                "tokens": tokens,
                "parameters": counts(skeleton),
                "memory_gib": _memory(config, skeleton, tokens),
            }
        )
    return {
        "base": fingerprint,
        "devices": devices,
        "subjects": {"seen": sides.seen, "validation": sides.validation, "left_out": sides.left_out},
        "stages": found,
        "examples": written,
    }


def _skeleton(config: Config, base: str) -> Any:
    """The model with its adapter, without weights."""
    try:
        settings = AutoConfig.from_pretrained(
            base, revision=config.revision, trust_remote_code=config.trust_remote_code
        )
        with init_empty_weights():
            model = AutoModelForImageTextToText.from_config(settings, trust_remote_code=config.trust_remote_code)
            model.tie_weights()
            return model if config.full else add_adapter_for(model, config, None)
    except (OSError, ValueError) as error:
        reason = f"{error}{taken_for_hub_id(config.base)}"
        raise ModelError(f"{config.base}: expected an image-text-to-text model: {reason}") from error


def _some(config: Config, number: int, sides: stages.Split) -> list[Example]:
    """A few examples of a stage, of all forms if possible; draws few clips."""
    sources = [
        replace(source, clips=min(source.clips or 24, 24)) if source.dataset == DRAWN else source
        for source in config.stages[number].data
    ]
    without = {name: people for name, people in sides.without().items() if name != DRAWN}
    examples = stages.opened(config, number, sources=sources, without=without, count=_TRIED)
    found: dict[str, Example] = {}
    rest = [example for example in examples if found.setdefault(example.form, example) is not example]
    return [*found.values(), *rest][: max(_SHOWN, len(found))]


def _write(config: Config, number: int, some: list[Example], collator: Collator) -> list[str]:
    """Write examples of a stage as pictures and text; returns the text files."""
    folder = Path(config.output).expanduser() / FOLDER
    names: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place, example in enumerate(some, start=1):
            name = f"{number + 1}-{config.stages[number].name}-{place}-{example.form}"
            for which, picture in enumerate(example.images, start=1):
                more = f"-{which}" if len(example.images) > 1 else ""
                write_atomically(folder / f"{name}{more}.png", [Image.fromarray(picture)], "example")
            names.append(str(folder / f"{name}.txt"))
            text = (
                f"clip: {example.clip}\nform: {example.form}\ntokens learnt: {len(collator.answer_ids(example))}\n\n"
                f"--- asked ---\n{example.prompt}\n\n--- answered ---\n{example.answer}\n"
            )
            write_text(Path(names[-1]), text)
    except OSError as error:
        raise TrainingError(f"{folder} cannot be written: {error}; choose another folder with output=") from error
    return names


def _memory(config: Config, model: Any, tokens: Mapping[str, int]) -> dict[str, float]:
    """GiB on one device, by dtype of the weights: bfloat16 (on a GPU) and float32."""
    sizes = {"bfloat16": 2, "float32": 4}
    if config.dtype != "auto":
        sizes = {config.dtype: sizes[config.dtype]}
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    trained_size = 2 if config.dtype == "bfloat16" else 4
    found = {}
    for dtype, size in sizes.items():
        kept = frozen * size + trained * 4 * trained_size  # weight, gradient and two moments
        found[dtype] = round((kept + _activations(config, model, tokens, size)) / 2**30, 2)
    return found


def _activations(config: Config, model: Any, tokens: Mapping[str, int], size: int) -> float:
    own = config.trainer
    text, seen = model.config.get_text_config(), getattr(model.config, "vision_config", None)
    length = own.batch_size * tokens["longest"]
    total = own.batch_size * tokens["answers"] * text.vocab_size * 12  # logits, their float32, their gradient
    # Four patches become one token; most tokens belong to the picture.
    for settings, rows in ((text, length), (seen, 4 * length)) if seen is not None else ((text, length),):
        width = settings.hidden_size
        inner = getattr(settings, "intermediate_size", 4 * width)
        layers = int(getattr(settings, "num_hidden_layers", 0) or getattr(settings, "depth", 1))
        of_layer = rows * (10 * width + 4 * inner) * size
        total += layers * rows * width * size + of_layer if own.gradient_checkpointing else layers * of_layer
    return float(total)
