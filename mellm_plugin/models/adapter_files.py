"""The files of a LoRA adapter as public tools write them, and what they mean for the model at hand.

    adapter_config.json          PEFT's config: ranks, scales, and which layers were trained
    adapter_model.safetensors    base_model.model.LAYER.lora_A.weight, ..

Versions of PEFT, and trainers such as ms-swift and Unsloth, write these with other fields, other ways to say which
layers, and (before transformers 4.52) other names of them. The tensors themselves tell which layers were trained.
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

_PREFIX = "base_model.model."
_PROMPTS = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "CPT")
# Weights that trainers save beside PEFT's, and PEFT does not load: LLaVA's, Qwen2-VL-Finetune's, ms-swift's.
_FURTHER = ("non_lora_trainables.bin", "non_lora_state_dict.bin", "vit.safetensors", "mm_projector.bin")
# Starts that change the base and cannot be computed anew from the adapter's files.
_CHANGED_BASE = re.compile(r"pissa_niter_\d+|corda|lora_ga")
# Old names of layers, and what they are now: the first that the model has is meant.
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
    """What `adapter_config.json` holds.

    Raises:
        ModelError: it cannot be read, or is no JSON object.
    """
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
    """The config as PEFT's `LoraConfig`.

    Fields that this PEFT does not know are left out; a warning names those that are set.

    Raises:
        ModelError: it is of no LoRA adapter, or of one whose answers cannot be had from its files.
    """
    given = plain_config(folder)
    kind = given.pop("peft_type", None)
    if kind != "LORA":
        raise ModelError(f"{folder}: expected a LoRA adapter, found {_other_kind(kind)}")
    known = {f.name for f in dataclasses.fields(LoraConfig)} - {"runtime_config"}
    unknown = {name: given.pop(name) for name in sorted(given.keys() - known)}
    if told := ", ".join(f"{name}: {json.dumps(value)}" for name, value in unknown.items() if value):
        logger.warning(
            f"mellm: {folder / ADAPTER_CONFIG}: PEFT {peft.__version__} does not know {told} and goes on without "
            f"(it was saved by PEFT {given.get('peft_version') or 'of unknown version'}); a newer PEFT may read it"
        )
    given["task_type"] = None  # which head PEFT adds; nothing here has one
    given["inference_mode"] = True
    start = str(given.get("init_lora_weights"))
    if _CHANGED_BASE.fullmatch(start):
        raise ModelError(
            f"{folder}: init_lora_weights is {start}, which changes the base in training; from these files that base "
            "cannot be had. Where it was trained, save it once more with PEFT's "
            "save_pretrained(.., path_initial_model_for_weight_conversion=..)"
        )
    if given.get("alora_invocation_tokens"):
        raise ModelError(f"{folder}: expected LoRA, found activated LoRA (alora_invocation_tokens), which is not read")
    try:
        return LoraConfig(**given)
    except Exception as error:  # of whatever kind: PEFT cannot use it
        raise ModelError(f"{folder}: cannot use {ADAPTER_CONFIG}: {error}") from error


def _other_kind(kind: Any) -> str:
    if kind is None:
        return "no peft_type"
    if kind in _PROMPTS:
        return f"{kind}, which adds to the prompt and is no part of the weights; it cannot be used here"
    return (
        f"{kind}; merge it where it was trained, with PEFT's merge_and_unload and save_pretrained, and give the "
        "outcome as pretrained="
    )


def tensor_names(folder: Path) -> list[str]:
    """Names of an adapter's tensors, after a look at every number.

    Raises:
        ModelError: the file cannot be read, or holds NaN or infinity; or other weights lie beside it that PEFT would
            leave out.
    """
    file = folder / ADAPTER_WEIGHTS
    broken: list[str] = []
    try:
        with safe_open(file, framework="pt") as opened:
            names = list(opened.keys())
            for name in names:
                if not is_number(opened.get_tensor(name)):
                    broken.append(name)
    except Exception as error:  # safetensors has its own, for a file that is cut off
        raise ModelError(_pointer(file) or f"{file} cannot be read: {error}; copy or save it again") from error
    if broken:
        raise ModelError(
            f"{file}: {some(broken)} hold NaN or infinity: the training failed there; take an earlier checkpoint"
        )
    for other in (folder / name for name in _FURTHER):
        if other.is_file() and not _is_empty(other):
            raise ModelError(
                f"{folder}: {other.name} holds further trained weights, which PEFT does not load, and the answers "
                "would be of another model. Merge all of it with the tool that trained it, and give the outcome as "
                "pretrained="
            )
    return names


def is_number(weight: torch.Tensor) -> bool:
    """Whether there is no NaN and no infinity in a tensor; True of one that is not in memory."""
    if weight.is_meta or not weight.is_floating_point():
        return True
    if weight.element_size() == 1:  # of 8 bits, which cannot be added up
        weight = weight.float()
    # A sum takes no memory, and is no number where a term is none; nor where it is too large for float16.
    return bool(weight.sum().isfinite()) or bool(weight.isfinite().all())


def _is_empty(file: Path) -> bool:
    """Whether a file that torch saved holds no tensor; told by its list of parts, without reading pickled data."""
    try:
        with zipfile.ZipFile(file) as parts:
            return not any(re.search(r"/data/\d+$", name) for name in parts.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _pointer(file: Path) -> str:
    """What to say of a file that Git LFS has not fetched."""
    try:
        with open(file, "rb") as opened:
            begin = opened.read(40)
    except OSError:
        return ""
    if not begin.startswith(b"version https://git-lfs"):
        return ""
    return f"{file} is a pointer of Git LFS, not the file itself; fetch it (git lfs pull)"


def renamings(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """What the adapter calls layers otherwise than the model does.

    Args:
        model: the base.
        names: of the adapter's tensors.

    Returns:
        beginnings of names, old -> new, without `base_model.model.`; longest first. A tensor that has no place under
        any name is not among them.
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
    """The layer that a tensor belongs to."""
    name = name.removeprefix(_PREFIX).split(".lora_")[0]
    parts = name.split(".")
    while parts[-1] in ("weight", "bias", "base_layer", "token_adapter", "trainable_tokens_delta", "modules_to_save"):
        parts.pop()
    return ".".join(parts)


def renamed(name: str, changes: Mapping[str, str]) -> str:
    """A layer's name as the model has it."""
    for old, new in changes.items():
        if f"{name}.".startswith(old):
            return (new + f"{name}.".removeprefix(old))[:-1]
    return name


def fit(config: Any, model: nn.Module, names: Iterable[str], changes: Mapping[str, str]) -> None:
    """Say in the config which layers the tensors are of, where it does not say so in the model's own names.

    Args:
        config: `LoraConfig`; changed in place.
        model: the base.
        names: of the adapter's tensors.
        changes: as `renamings` returns them.

    Raises:
        ModelError: the config asks for layers whose tensors are missing, or scales none that there is.
    """
    there = dict(model.named_modules())
    names = list(names)
    trained = {renamed(_owner(name), changes) for name in names if ".lora_" in name} & there.keys()
    for field in ("rank_pattern", "alpha_pattern"):
        pattern = {renamed(name, changes): value for name, value in (getattr(config, field) or {}).items()}
        setattr(config, field, pattern)
    if config.modules_to_save:
        config.modules_to_save = [renamed(name, changes) for name in config.modules_to_save]
    if isinstance(config.trainable_token_indices, dict):
        tokens = config.trainable_token_indices
        config.trainable_token_indices = {renamed(name, changes): value for name, value in tokens.items()}
    if not trained or config.target_parameters or config.layer_replication:
        return
    if not changes and config.target_modules:
        return  # PEFT finds the layers by itself, and reports what does not fit
    if missing := _asked_for(config, there, changes) - trained:
        kinds = {re.sub(r"\d+", "#", name) for name in trained}
        if torn := [name for name in missing if re.sub(r"\d+", "#", name) in kinds]:
            raise ModelError(
                f"tensors of {some(torn, 'layers')} are not in {ADAPTER_WEIGHTS}: save it again, or give the base that "
                "it was trained on as pretrained="
            )
    config.target_modules = trained
    config.exclude_modules = config.layers_to_transform = config.layers_pattern = None


def _asked_for(config: Any, there: Mapping[str, nn.Module], changes: Mapping[str, str]) -> set[str]:
    """Layers of the model that the config asks for by their old names."""
    if not config.target_modules or config.target_modules == "all-linear":
        return set()
    # Old names: by the very changes, and of what has none of the adapter's tensors by those that came with them.
    back = {new: old for old, new in changes.items()} | {"model.language_model.": "model.", "model.": ""}
    found: set[str] = set()
    for name, module in there.items():
        if not isinstance(module, nn.Linear):
            continue
        old = next((o + name.removeprefix(n) for n, o in back.items() if name.startswith(n)), name)
        try:
            if check_target_module_exists(config, old):
                found.add(name)
        except re.error:
            return set()
    return found


def some(keys: Iterable[str], what: str = "tensors") -> str:
    """How many there are, and the first two."""
    names = sorted(keys)
    return f"{len(names)} {what} ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"
