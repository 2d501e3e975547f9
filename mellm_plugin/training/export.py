"""Merge an adapter into its base: one model that lmms-eval, vLLM and plain transformers load.

    OUT/config.json, generation_config.json     those of the base
    OUT/model.safetensors, ..                   the base's weights plus the adapter's, under the base's names
    OUT/processor_config.json, tokenizer.json, chat_template.jinja, ..
    OUT/motion.json, OUT/training.json          settings of its maps; its training and its adapter
    OUT/heads.json, heads.safetensors           heads on its visual tokens, if the adapter has them
    OUT/README.md                               its model card

`adapter=` computes with the same weights at the same precision, so the answers are equal.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from mellm_plugin.errors import DataError, InputError, ModelError
from mellm_plugin.models import taken_for_hub_id
from mellm_plugin.models.arguments import DTYPES
from mellm_plugin.models.heads import FILES as HEAD_FILES
from mellm_plugin.models.heads import has_heads
from mellm_plugin.models.loading import (
    adapter_base,
    add_adapter,
    base_of,
    carried_motion,
    carried_record,
    carries_processor,
    check_numbers,
    fetch_adapter,
    load_model,
    load_processor,
    local_or_hub,
    weights_sum,
)
from mellm_plugin.models.record import together, write_record
from mellm_plugin.motion.settings import MotionSettings


def export(
    adapter: str, out: Path, *, base: str | None = None, dtype: str = "auto", trust_remote_code: bool = False
) -> Path:
    """Merge an adapter into its base and write the whole model; returns its folder.

    Args:
        adapter: folder or hub id.
        out: folder to create; it must not exist.
        base: folder or hub id of the model that it was trained on; none: the one that the adapter names.
        dtype: of the weights: float32, bfloat16, float16, or auto: the dtype of the base's files.
        trust_remote_code: run Python code that comes with the base.

    Raises:
        InputError: arguments cannot be used; lists every fault.
        ModelError: adapter or base cannot be loaded.
        DataError: the disk is full or not writable; nothing is left behind.
    """
    out = out.expanduser()
    faults: list[str] = []
    if dtype not in DTYPES:
        faults.append(f"--dtype: expected one of {', '.join(DTYPES)}, found {dtype!r}")
    if out.exists() or out.is_symlink():
        faults.append(f"{out}: expected a new folder, found an existing one; choose another or delete it")
    folder = source = revision = None
    try:
        folder = fetch_adapter(adapter)
        source, revision = (base, None) if base is not None else adapter_base(folder)
        source = local_or_hub(source)
    except ModelError as error:
        faults.append(str(error))
    if faults or folder is None or source is None:
        raise InputError(faults, where="export")
    try:
        if dtype == "auto":
            dtype = _stored(source, revision, trust_remote_code)
        model = load_model(source, revision=revision, dtype=dtype, device="cpu", trust_remote_code=trust_remote_code)
        check_numbers(model, source)
    except ModelError as error:
        if base is not None:
            raise
        raise base_of(folder, error) from error
    where, which = (str(folder), None) if carries_processor(folder) else (source, revision)
    processor = load_processor(where, revision=which, trust_remote_code=trust_remote_code)
    model = add_adapter(model, folder, merge=True, processor=processor)
    motion = carried_motion(str(folder)) or carried_motion(source, revision)
    record = together(carried_record(source, revision), carried_record(str(folder)))
    _check_room(model, out)

    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        model.save_pretrained(part)
        processor.save_pretrained(part)
        if isinstance(motion, MotionSettings):
            motion.save(part)
        if has_heads(folder):  # those of the base read other tokens than the adapter's
            for name in HEAD_FILES:
                shutil.copy2(folder / name, part / name)
        if record is not None:
            write_record(part, {**record, "merged": {"adapter_sha256": weights_sum(folder), "dtype": dtype}})
        (part / "README.md").write_text(_card(folder, source), encoding="utf-8")
        part.rename(out)
    except Exception as error:  # torch, safetensors and Python raise different errors for a full disk
        raise DataError(
            f"{out} cannot be written: {error}. Free disk space or choose another folder; nothing is left behind"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def _stored(base: str, revision: str | None, trust_remote_code: bool) -> str:
    try:
        config = AutoConfig.from_pretrained(base, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:  # transformers raises many kinds
        raise ModelError(f"{base}: its config cannot be loaded: {error}{taken_for_hub_id(base)}") from error
    found = str(getattr(config, "dtype", None)).removeprefix("torch.")
    return found if found in DTYPES else "float32"


def _check_room(model: Any, out: Path) -> None:
    needed = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    there = next(folder for folder in out.absolute().parents if folder.is_dir())
    if (free := shutil.disk_usage(there).free) < needed:
        raise DataError(
            f"{there}: expected {needed / 2**30:.1f} GiB of free disk space, found {free / 2**30:.1f}; free some or "
            "choose another folder"
        )


def _card(folder: Path, base: str) -> str:
    """The adapter's card, reworded for a whole model; a short card if the adapter has none."""
    file = folder / "README.md"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if "micro-expressions" not in text:
        start = "    lmms-eval --model mellm --model_args pretrained=FOLDER\n"
        return f"# {base} with an adapter merged into it\n\n{start}"
    text = text.replace("A PEFT adapter for", "A fine-tuned model (adapter and base merged) for")
    text = text.replace("adapter=FOLDER", "pretrained=FOLDER")
    return text.replace("library_name: peft", "library_name: transformers")
