"""The folder of a trained adapter or whole model: its record, its card, and checks of its base.

    adapter_config.json, adapter_model.safetensors     PEFT's; or config.json, model.safetensors of a whole model
    processor_config.json, tokenizer.json, ..          processor and tokenizer
    motion.json                                        settings of its maps; absent after training on frames
    training.json                                      its training data and subjects (models/record.py)
    curve.jsonl, README.md                             losses; model card

Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from mellm_plugin import __version__
from mellm_plugin.errors import ModelError
from mellm_plugin.language.prompts import PROMPT_VERSION
from mellm_plugin.models import taken_for_hub_id
from mellm_plugin.models.record import FILE as RECORD
from mellm_plugin.models.record import ends_sum, read_record
from mellm_plugin.small_files import read_json
from mellm_plugin.training.clips import DRAWN
from mellm_plugin.training.config import OFF, PARTS, Config

_PACKAGES = ("torch", "transformers", "peft")


def base_fingerprint(name: str, folder: str, revision: str | None) -> dict[str, Any]:
    """Identify a base model: its name, its commit on the hub, and checksums of its config and weights.

    Checksums of local weights cover only sizes and ends of the files, because reading a large model takes minutes; they
    differ after training. For models of the hub (`folder` is its id), the commit identifies the weights.

    Raises:
        ModelError: the model has no config.json.
    """
    config = Path(folder, "config.json")
    if config.parent.is_dir():
        if not config.is_file():
            raise ModelError(f"{name}: expected a model, found no config.json in {folder}")
        sums = {config.name: hashlib.sha256(config.read_bytes()).hexdigest()}
        sums |= {path.name: ends_sum(path) for path in sorted(config.parent.glob("*.safetensors"))}
        return {"name": name, "revision": revision, "sha256": sums}
    sums = {}
    for file in ("config.json", "model.safetensors.index.json"):
        try:
            path = Path(hf_hub_download(folder, file, revision=revision))
        except Exception as error:  # the hub raises many kinds
            missing = isinstance(error, EntryNotFoundError)
            if missing and file != "config.json":
                continue
            reason = "cannot read its config.json" if missing else "cannot be fetched from the hub"
            raise ModelError(f"{name}: {reason}: {error}{taken_for_hub_id(name)}") from error
        sums[file] = hashlib.sha256(path.read_bytes()).hexdigest()
        revision = path.parent.name  # the commit of the snapshot in the cache
    return {"name": name, "revision": revision, "sha256": sums}


def check_start(folder: Path, config: Config, base: Mapping[str, Any]) -> None:
    """Refuse a start adapter that would act differently on this base or with this config.

    Raises:
        ModelError: the adapter was trained on another base or has other scales; lists every fault.
    """
    faults: list[str] = []
    try:
        own = read_json(folder / "adapter_config.json")
        trained_on = read_record(folder)["base"]["sha256"] if (folder / RECORD).is_file() else None
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: cannot be read: {error}") from error
    if trained_on is not None and trained_on != base["sha256"]:
        faults.append(f"expected an adapter of {config.base}, found one that was trained on other weights")
    wanted = {(lora.rank, lora.alpha) for part in PARTS if (lora := config.lora(part)) is not None}
    ranks, alphas = own.get("rank_pattern") or {}, own.get("alpha_pattern") or {}
    first = (own.get("r"), own.get("lora_alpha"))
    found = {first} | {(ranks.get(name, first[0]), alphas.get(name, first[1])) for name in {*ranks, *alphas}}
    if not found <= wanted:
        want, have = (", ".join(f"{rank} and {alpha:g}" for rank, alpha in sorted(some)) for some in (wanted, found))
        why = "another scale changes the adapter's effect"
        faults.append(f"expected rank and alpha as in the config, {want}, found {have}: {why}")
    if faults:
        raise ModelError(f"adapter {folder}:" + "".join(f"\n  - {fault}" for fault in faults))


def versions() -> dict[str, str]:
    """Versions of the packages that training depends on."""
    return {"mellm-plugin": __version__, **{name: importlib.metadata.version(name) for name in _PACKAGES}}


def record(
    config: Config,
    base: Mapping[str, Any],
    data: Mapping[str, Mapping[str, Any]],
    seen: Mapping[str, tuple[str, ...]],
    validation: Mapping[str, tuple[str, ...]],
    stages: list[dict[str, Any]],
) -> dict[str, Any]:
    """The record of a training; `models/record.py` shows one."""
    return {
        "versions": versions(),
        "base": dict(base),
        "prompts": PROMPT_VERSION,
        "motion": config.motion.to_dict() if config.motion else OFF,
        "seen": {_recorded(name): {"sha256": data[name], "subjects": list(people)} for name, people in seen.items()},
        "validation": {_recorded(name): list(people) for name, people in validation.items()},
        "config": config.to_dict(),
        "stages": stages,
    }


def _recorded(dataset: str) -> str:
    """The name of a dataset in the record: drawn faces for training differ from those of the test set."""
    return f"{DRAWN}-train" if dataset == DRAWN else dataset


def card(config: Config, made: Mapping[str, Any]) -> str:
    """The model card of a record."""
    argument = "pretrained" if config.full else "adapter"
    kind = "A fine-tuned model" if config.full else "A PEFT adapter"
    maps = "motion maps (`motion.json`)" if config.motion else "raw onset and apex frames, without motion maps"
    library = "transformers" if config.full else "peft"
    rows = ""
    for s in made["stages"]:
        validation = "-" if s["validation_loss"] is None else f"{s['validation_loss']:.4f}"
        score = f"{s['validation']['score']:.3f}" if "score" in s["validation"] else "-"
        rows += f"| {s['name']} | {s['steps']} | {s['loss']:.4f} | {validation} | {score} | {s['seconds']:.0f} |\n"
    doubts = "".join(f"- Warning, stage {s['name']}: {fault}.\n" for s in made["stages"] for fault in s["faults"])
    last = config.stages[-1].heads
    kept = f"Kept heads ({', '.join(last.weights())}) answer, too: add `answer=head`.\n\n" if last and last.keep else ""
    people = "\n".join(
        f"- {name}: trained on {len(of['subjects'])} subjects, validated on {len(made['validation'].get(name, ()))}"
        for name, of in made["seen"].items()
    )
    return (
        f"---\nbase_model: {config.base}\nlibrary_name: {library}\n---\n\n"
        f"# {kind} for micro-expressions\n\n"
        f"Made with mellm-plugin {made['versions']['mellm-plugin']} from `{config.base}`, shown {maps}. Evaluate:\n\n"
        f"    lmms-eval --model mellm --model_args {argument}=FOLDER --tasks synthme_meu --output_path results "
        f"--log_samples\n\n{kept}"
        "`training.json` holds the config, the versions, the data and the subjects it has seen; scores on those are no "
        f"scores on new people.\n\n{people}\n\n"
        "| stage | steps | loss | validation loss | validation score | s |\n|---|---:|---:|---:|---:|---:|\n"
        f"{rows}\n{doubts}"
        "What it says about a face is a guess from movement. It does not tell what a person feels, thinks or intends.\n"
    )
