"""The files of LoRA adapters from public tools, and how their layers map to a model.

    adapter_config.json          PEFT's config: ranks, scales, and which layers were trained
    adapter_model.safetensors    base_model.model.LAYER.lora_A.weight, ..

Versions of PEFT, and trainers such as ms-swift and Unsloth, write other fields and describe layers differently; the
tensors show which layers were trained.
"""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import peft
import torch
from loguru import logger
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors import safe_open
from torch import nn

from mellm_plugin.errors import ModelError
from mellm_plugin.small_files import read_json

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_PROMPTS = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "CPT")
# Weights of LLaVA, Qwen2-VL-Finetune and ms-swift beside PEFT's, which PEFT does not load.
_FURTHER = ("non_lora_trainables.bin", "non_lora_state_dict.bin", "vit.safetensors", "mm_projector.bin")
# Initialisations that change the base and cannot be recomputed from the adapter's files.
_CHANGED_BASE = re.compile(r"pissa_niter_\d+|corda|lora_ga")
# Old and current names of layers; the first one that the model has applies.
_RENAMED = (
    ("model.", "model.language_model."),  # Qwen-VL before transformers 4.52
    ("language_model.model.", "model.language_model."),  # LLaVA, InternVL, Gemma 3, .. before 4.52
    ("language_model.", ""),  # their head
    ("", "model."),  # vision tower and projector of both
    ("vision_tower.vision_model.", "model.vision_tower."),  # CLIP and SigLIP before transformers 5
    ("model.vision_tower.vision_model.", "model.vision_tower."),
    ("model.", ""),  # trained inside another module
)


def plain_config(folder: Path) -> dict[str, Any]:
    """The content of `adapter_config.json`; raises ModelError if it cannot be read or is not a JSON object."""
    file = folder / ADAPTER_CONFIG
    try:
        found = read_json(file)
    except (OSError, ValueError) as error:
        if pointer := _pointer(file):
            raise ModelError(pointer) from None
        raise ModelError(f"{folder}: cannot read {ADAPTER_CONFIG}: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{file}: expected a JSON object, found {type(found).__name__}")
    return found


def lora_config(folder: Path) -> Any:
    """The config as PEFT's `LoraConfig`, without fields that this PEFT does not know; warns of those that are set.

    Raises ModelError if this is not a LoRA adapter, or one that its files do not fully describe.
    """
    given = plain_config(folder)
    if (kind := given.pop("peft_type", None)) != "LORA":
        if kind in _PROMPTS:
            kind = f"{kind}, which extends the prompt instead of the weights and is not supported"
        elif kind is not None:
            kind = (
                f"{kind}; merge it on the machine of the training with PEFT's merge_and_unload and save_pretrained, "
                "and set pretrained= to the outcome"
            )
        raise ModelError(f"{folder}: expected a LoRA adapter, found {kind or 'no peft_type'}")
    known = {f.name for f in dataclasses.fields(LoraConfig)} - {"runtime_config"}
    unknown = {name: given.pop(name) for name in sorted(given.keys() - known)}
    if dropped := ", ".join(f"{name}: {json.dumps(value)}" for name, value in unknown.items() if value):
        logger.warning(
            f"mellm: {folder / ADAPTER_CONFIG}: PEFT {peft.__version__} does not know {dropped} and ignores "
            f"it (saved by PEFT {given.get('peft_version') or 'of unknown version'}); a newer PEFT may read it"
        )
    given |= {"task_type": None, "inference_mode": True}  # PEFT would add a head for a task
    start = str(given.get("init_lora_weights"))
    if _CHANGED_BASE.fullmatch(start):
        raise ModelError(
            f"{folder}: init_lora_weights is {start}, which changes the base in training; these files do not contain "
            "that base. On the machine of the training, save it again with PEFT's "
            "save_pretrained(.., path_initial_model_for_weight_conversion=..)"
        )
    if given.get("alora_invocation_tokens"):
        raise ModelError(f"{folder}: expected LoRA, found activated LoRA (alora_invocation_tokens); not supported")
    try:
        return LoraConfig(**given)
    except Exception as error:  # PEFT raises many kinds
        raise ModelError(f"{folder}: cannot use {ADAPTER_CONFIG}: {error}") from error


def tensor_names(folder: Path) -> list[str]:
    """Names of an adapter's tensors, after checking every number.

    Raises ModelError if the file cannot be read, has NaN or infinity, or lies beside weights that PEFT does not load.
    """
    file = folder / ADAPTER_WEIGHTS
    try:
        with safe_open(file, framework="pt") as opened:
            names = list(opened.keys())
            broken = [name for name in names if not is_number(opened.get_tensor(name))]
    except Exception as error:  # safetensors has its own error for truncated files
        raise ModelError(_pointer(file) or f"{file} cannot be read: {error}; copy or save it again") from error
    if broken:
        found = f"{some(broken)} contain NaN or infinity"
        raise ModelError(f"{file}: {found}: the training diverged; use an earlier checkpoint")
    for other in (folder / name for name in _FURTHER):
        if other.is_file() and not _is_empty(other):
            raise ModelError(
                f"{folder}: {other.name} contains further trained weights, which PEFT does not load, so the answers "
                "would differ. Merge everything with the tool of the training, and set pretrained= to the outcome"
            )
    return names


def is_number(weight: torch.Tensor) -> bool:
    """Whether a tensor is free of NaN and infinity; True for a tensor that is not in memory."""
    if weight.is_meta or not weight.is_floating_point():
        return True
    if weight.element_size() == 1:  # 8-bit floats have no sum
        weight = weight.float()
    # A sum needs no memory and is not finite if a term is not; it may also overflow in float16.
    return bool(weight.sum().isfinite()) or bool(weight.isfinite().all())


def _is_empty(file: Path) -> bool:
    """Whether a file of torch contains no tensor, judged by its list of parts without reading pickled data."""
    try:
        with zipfile.ZipFile(file) as parts:
            return not any(re.search(r"/data/\d+$", name) for name in parts.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _pointer(file: Path) -> str:
    """The message for a file that Git LFS has not fetched, else empty."""
    try:
        with open(file, "rb") as opened:
            is_pointer = opened.read(40).startswith(b"version https://git-lfs")
    except OSError:
        return ""
    return f"{file} is a Git LFS pointer, not the file itself; fetch it (git lfs pull)" if is_pointer else ""


def renamings(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """The layer names in which adapter and model differ, as prefixes, old -> new, without `base_model.model.`.

    The longest come first. Tensors without a matching layer are not included.
    """
    there = {name for name, _ in model.named_modules()}
    found: dict[str, str] = {}
    for name in names:
        owner = _owner(name)
        if owner in there or any(owner.startswith(old) for old in found):
            continue
        for old, new in _RENAMED:
            if owner.startswith(old) and new + owner.removeprefix(old) in there:
                part = owner.removeprefix(old).split(".")[0]
                found[f"{old}{part}."] = f"{new}{part}."
                break
    return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _owner(name: str) -> str:
    """The layer of a tensor."""
    parts = name.removeprefix("base_model.model.").split(".lora_")[0].split(".")
    while parts[-1] in ("weight", "bias", "base_layer", "token_adapter", "trainable_tokens_delta", "modules_to_save"):
        parts.pop()
    return ".".join(parts)


def renamed(name: str, changes: Mapping[str, str]) -> str:
    """A layer's name in the model."""
    for old, new in changes.items():
        if f"{name}.".startswith(old):
            return (new + f"{name}.".removeprefix(old))[:-1]
    return name


def fit(config: Any, model: nn.Module, names: Iterable[str], changes: Mapping[str, str]) -> None:
    """Set target layers in the config (in place) from the tensors if it does not use the model's layer names.

    Raises ModelError if tensors of layers in the config are missing.
    """
    there = dict(model.named_modules())
    trained = {renamed(_owner(name), changes) for name in names if ".lora_" in name} & there.keys()
    for field in ("rank_pattern", "alpha_pattern", "trainable_token_indices"):
        given = getattr(config, field) or ({} if field.endswith("pattern") else None)
        if isinstance(given, dict):
            given = {renamed(name, changes): value for name, value in given.items()}
        setattr(config, field, given)
    if config.modules_to_save:
        config.modules_to_save = [renamed(name, changes) for name in config.modules_to_save]
    if not trained or config.target_parameters or config.layer_replication or (config.target_modules and not changes):
        return  # PEFT finds the layers and reports mismatches
    if missing := _asked_for(config, there, changes) - trained:
        kinds = {re.sub(r"\d+", "#", name) for name in trained}
        if torn := [name for name in missing if re.sub(r"\d+", "#", name) in kinds]:
            lost = f"tensors of {some(torn, 'layers')} are missing from {ADAPTER_WEIGHTS}"
            raise ModelError(f"{lost}: save it again, or set pretrained= to the base of its training")
    config.target_modules = trained
    config.exclude_modules = config.layers_to_transform = config.layers_pattern = None


def _asked_for(config: Any, there: Mapping[str, nn.Module], changes: Mapping[str, str]) -> set[str]:
    """Layers of the model that the config requests by their old names."""
    if not config.target_modules or config.target_modules == "all-linear":
        return set()
    # Old names: from the changes, and for layers without tensors of the adapter from the usual renamings.
    back = {new: old for old, new in changes.items()} | {"model.language_model.": "model.", "model.": ""}

    def old(name: str) -> str:
        return next((o + name.removeprefix(n) for n, o in back.items() if name.startswith(n)), name)

    linear = [name for name, module in there.items() if isinstance(module, nn.Linear)]
    try:
        return {name for name in linear if check_target_module_exists(config, old(name))}
    except re.error:
        return set()


def some(keys: Iterable[str], what: str = "tensors") -> str:
    """The number of keys, and the first two."""
    names = sorted(keys)
    return f"{len(names)} {what} ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"
