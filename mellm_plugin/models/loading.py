"""From names and folders to a model that can generate.

Nothing is loaded half, and no weights but safetensors are read. Training loads through the same functions.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from loguru import logger
from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor

from mellm_plugin.errors import ModelError, SettingsError
from mellm_plugin.models import BUNDLED, bundled_folder, near_folder, taken_for_hub_id
from mellm_plugin.models.adapter_files import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    fit,
    is_number,
    lora_config,
    plain_config,
    renamings,
    some,
    tensor_names,
)
from mellm_plugin.models.arguments import OFF
from mellm_plugin.models.merging import merge as merged
from mellm_plugin.models.record import FILE as RECORD
from mellm_plugin.models.record import ends_sum, read_record
from mellm_plugin.motion.settings import FILE_NAME, MotionSettings

_GIVE_BASE = "give yours as pretrained= (mellm export: --base)"
_OTHER_BASE = "Is this the base that it was trained on?"
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def load_model(
    pretrained: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str | torch.device = "cpu",
    device_map: str | dict[str, Any] | None = None,
    attn_implementation: str = "sdpa",
    trust_remote_code: bool = False,
) -> Any:
    """The image-text-to-text model of a folder or hub id, every weight from its files, in eval mode.

    Args:
        pretrained: folder or hub id.
        revision: branch, tag or commit on the hub.
        dtype: of the weights: float32, bfloat16, float16, or auto: float32 on a CPU, bfloat16 elsewhere.
        device: where it goes when there is no `device_map`.
        device_map: as transformers takes it, to split a model over devices.
        attn_implementation: as transformers takes it.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ModelError: it is not there, is no such model, has no safetensors, or files and model do not match.
    """
    source = local_or_hub(pretrained)
    if Path(source).is_dir() and not Path(source, "config.json").is_file():
        if Path(source, ADAPTER_CONFIG).is_file():
            raise ModelError(f"{pretrained}: expected a whole model, found an adapter; give it as adapter=")
        if inside := _inside(Path(source), "config.json"):
            raise ModelError(f"{pretrained}: expected a model, found {_which(pretrained, inside)}")
        if inside := _inside(Path(source), ADAPTER_CONFIG):
            raise ModelError(
                f"{pretrained}: expected a model, found adapters in it; give one, such as "
                f"adapter={Path(pretrained, inside[-1])}"
            )
    on_cpu = torch.device(device).type == "cpu"
    if device_map is not None:
        on_cpu = not torch.cuda.is_available()
    elif not on_cpu:
        device_map = {"": torch.device(device)}  # straight from the files, not by way of the host's memory
    if dtype == "auto":
        dtype = "float32" if on_cpu else "bfloat16"
    try:
        model, report = AutoModelForImageTextToText.from_pretrained(
            source,
            revision=revision,
            dtype=getattr(torch, dtype),
            device_map=device_map,
            attn_implementation=attn_implementation,
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # of whatever kind: it cannot be loaded
        raise ModelError(_advice(pretrained, error)) from error
    if report["missing_keys"]:
        raise ModelError(
            f"{pretrained}: {some(report['missing_keys'])} are in none of its files and would be random; "
            "download or save it again"
        )
    return model.eval()


def check_numbers(model: Any, name: str) -> None:
    """Refuse a model whose weights hold NaN or infinity; training finds that out by its loss.

    Raises:
        ModelError: with the tensors.
    """
    if broken := [one for one, weight in model.named_parameters() if not is_number(weight)]:
        raise ModelError(f"{name}: {some(broken)} hold NaN or infinity; download or save it again")


def load_processor(source: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The processor of a folder or hub id, padding on the left, as generating in batches needs it.

    Raises:
        ModelError: it is not there, or has no image processor or chat template.
    """
    try:
        processor = AutoProcessor.from_pretrained(
            local_or_hub(source), revision=revision, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # of whatever kind: it cannot be loaded
        raise ModelError(_advice(source, error)) from error
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        found = type(processor).__name__
        raise ModelError(f"{source}: expected a processor for text and images, found {found}")
    if not processor.chat_template:
        raise ModelError(f"{source}: expected a chat template (chat_template.jinja), found none")
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor


def limit_pixels(processor: Any, smallest: int | None, largest: int | None) -> None:
    """Set how many pixels an image has when the model sees it; None leaves a limit as it is.

    Raises:
        SettingsError: the model sees all images at one size, or the limits cross.
    """
    if smallest is None and largest is None:
        return
    images = processor.image_processor
    size = dict(images.size)
    # Where no patches are merged these are lengths of sides (Idefics), not numbers of pixels (Qwen, GLM).
    if not {"shortest_edge", "longest_edge"} <= size.keys() or not hasattr(images, "merge_size"):
        found = f"{type(images).__name__} with the size {size}"
        raise SettingsError(f"min_pixels, max_pixels: expected a model with limits of pixels, found {found}")
    low, high = smallest or size["shortest_edge"], largest or size["longest_edge"]
    if low > high:
        raise SettingsError(f"min_pixels, max_pixels: expected the first below the second, found {low}, {high}")
    images.size = type(images.size)(shortest_edge=low, longest_edge=high)


def fetch_adapter(adapter: str, revision: str | None = None) -> Path:
    """The folder of an adapter: the one given, or the hub's in the cache.

    Raises:
        ModelError: it is not there, or is no adapter with its weights in safetensors.
    """
    source = local_or_hub(adapter, ADAPTER_CONFIG)
    if not os.path.isdir(source):
        wanted = [ADAPTER_WEIGHTS, "*.json", "*.jinja", "*.txt", "*.model"]
        try:
            source = snapshot_download(source, revision=revision, allow_patterns=wanted)
        except Exception as error:  # of whatever kind: it cannot be loaded
            raise ModelError(_advice(adapter, error)) from error
    folder = Path(source)
    if not (folder / ADAPTER_CONFIG).is_file():
        if (folder / "config.json").is_file():
            raise ModelError(f"{adapter}: expected a PEFT adapter, found a whole model, give it as pretrained=")
        if inside := _inside(folder, ADAPTER_CONFIG):
            raise ModelError(f"{adapter}: expected a PEFT adapter, found {_which(adapter, inside)}")
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
        raise ModelError(f"{adapter}: expected a PEFT adapter with {ADAPTER_CONFIG}, found a folder that holds {held}")
    if not (folder / ADAPTER_WEIGHTS).is_file():
        others = ", ".join(sorted(p.name for p in folder.glob("adapter_model.*"))) or "none"
        raise ModelError(
            f"{adapter}: expected its weights in {ADAPTER_WEIGHTS}, found {others}; save it again with PEFT"
        )
    return folder


def adapter_base(folder: Path) -> tuple[str, str | None]:
    """Name and revision of the model that an adapter was trained on; a relative folder starts at its own.

    Raises:
        ModelError: the adapter does not say, or names a folder that is not here.
    """
    config = plain_config(folder)
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(base, str) or not base:
        raise ModelError(
            f"{folder}: the adapter does not name its base; give that as pretrained= (mellm export: --base)"
        )
    if (beside := folder / base).is_dir():
        return str(beside.resolve()), revision
    try:
        local_or_hub(base)
    except ModelError as error:
        hub = f", say {hub} of the hub" if (hub := _hub_id_in(base)) else ""
        raise ModelError(
            f"{folder}: its base is {base} by {ADAPTER_CONFIG}, and no such folder is here (it may be one of the "
            f"machine it was trained on); {_GIVE_BASE}{hub}"
        ) from error
    return base, revision


def base_of(folder: Path, error: ModelError) -> ModelError:
    """The error of a base that the adapter in this folder named, with what to do."""
    return ModelError(f"{error}\nIt is the base that {folder / ADAPTER_CONFIG} names; of another one, {_GIVE_BASE}")


def _hub_id_in(path: str) -> str | None:
    """The hub's name of a model in whose copy or cache a path of another machine ends."""
    if cached := re.search(r"models--([\w.-]+?)--([\w.-]+)", path):
        return f"{cached[1]}/{cached[2]}"
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1].replace("___", ".")
    return f"Qwen/{name}" if re.fullmatch(r"Qwen[\d.]*-VL-[\w.-]+", name) else None


def add_adapter(model: Any, folder: Path, *, merge: bool = True, processor: Any = None) -> Any:
    """The model with a LoRA adapter on it, every tensor of the adapter in its place, in eval mode.

    Args:
        model: the base; changed in place.
        folder: as `fetch_adapter` returns it.
        merge: add it to the weights, and see that this changes no answer; else its layers stay apart.
        processor: to ask about an image for that; None: words alone.

    Raises:
        ModelError: it is no LoRA adapter, or not one of this model; or merged it gives other answers.
    """
    config = lora_config(folder)
    names = tensor_names(folder)
    base = getattr(model.config, "_name_or_path", "") or type(model).__name__
    changes = renamings(model, names)
    try:
        fit(config, model, names, changes)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error
    options = {
        "torch_device": str(model.device),  # PEFT takes the first GPU unless told
        "autocast_adapter_dtype": False,  # for training only
        "key_mapping": {f"^{re.escape(old)}": new for old, new in changes.items()},
    }
    try:
        wrapped = PeftModel.from_pretrained(model, str(folder), config=config, **options)
        # Once more for its report: from_pretrained only warns, and not at all of tensors without a place.
        report = wrapped.load_adapter(str(folder), "default", **options)
    except Exception as error:  # of whatever kind: it cannot be loaded
        first = " ".join(str(error).split("\n\t")[:2])  # torch adds a line for every tensor
        raise ModelError(f"{folder}: the adapter does not fit {base}: {first} {_OTHER_BASE}") from error
    if report.unexpected_keys:
        lost = some(report.unexpected_keys)
        raise ModelError(f"{folder}: {lost} of the adapter have no place in {base}. {_OTHER_BASE}")
    if report.missing_keys:
        raise ModelError(f"{folder}: {some(report.missing_keys)} are not in {ADAPTER_WEIGHTS}; save it again")
    if not merge:
        return wrapped.get_base_model().eval()
    try:
        return merged(wrapped.eval(), processor).eval()
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error


def carries_processor(folder: Path) -> bool:
    """Whether the folder of an adapter holds the processor that it was trained with."""
    return any((folder / name).is_file() for name in _PROCESSOR_FILES)


def carried_motion(source: str, revision: str | None = None) -> MotionSettings | str | None:
    """How the maps were drawn that a model or adapter was trained on.

    Args:
        source: folder or hub id.
        revision: branch, tag or commit on the hub.

    Returns:
        `off` where it was trained on frames; None where it does not say.

    Raises:
        SettingsError: its `motion.json` cannot be read.
        ModelError: its record of training cannot be read.
    """
    source = local_or_hub(source)
    try:
        if (file := _carried(source, FILE_NAME, revision)) is not None:
            return MotionSettings.load(file)
        if (file := _carried(source, RECORD, revision)) is not None:
            return OFF if read_record(file.parent)["motion"] == OFF else None
    except LocalEntryNotFoundError:
        logger.warning(f"mellm: the hub cannot be asked whether {source} has a {FILE_NAME}; give motion= to be sure")
    return None


def weights_sum(folder: Path) -> str:
    """What tells trained weights from others: of an adapter, the sha256 of `adapter_model.safetensors` as `sha256sum`
    prints it; of a whole model, one over the ends of its files (`record.ends_sum`)."""
    file = folder / ADAPTER_WEIGHTS
    if file.is_file():
        return hashlib.sha256(file.read_bytes()).hexdigest()
    sums = [ends_sum(path) for path in sorted(folder.glob("*.safetensors"))]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def carried_record(source: str, revision: str | None = None) -> dict[str, Any] | None:
    """What a model or adapter says of its training; None where it says nothing, or the hub cannot be asked.

    Raises:
        ModelError: its record cannot be read.
    """
    try:
        file = _carried(local_or_hub(source), RECORD, revision)
    except LocalEntryNotFoundError:
        return None
    return None if file is None else read_record(file.parent)


def _carried(source: str, name: str, revision: str | None) -> Path | None:
    """A file of a folder or of the hub; None where there is none."""
    if os.path.isdir(source):
        file = Path(source, name)
        return file if file.is_file() else None
    try:
        return Path(hf_hub_download(source, name, revision=revision))
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:  # the hub says that there is none
        return None


def local_or_hub(name: str, wanted: str = "config.json") -> str:
    """A folder with `~` resolved, that of the bundled model by its name, or a hub id.

    Args:
        name: as a user gave it.
        wanted: a file of the folder that is meant, to find others like it.

    Raises:
        ModelError: it is no hub id, and there is no such folder.
    """
    path = str(bundled_folder()) if name == BUNDLED else os.path.expanduser(name)
    if os.path.isdir(path):
        return path
    if os.path.exists(path):
        raise ModelError(f"{name}: expected a folder, found a file; give the folder: {Path(name).parent}")
    if page := re.match(r"https?://[^/]+/([\w.-]+/[\w.-]+)", path):
        raise ModelError(f"{name}: expected a folder or a hub id, found an address; the id is {page[1]}")
    if path.startswith((".", os.sep)) or path.count("/") != 1 or "\\" in path:
        hint = near_folder(name)
        if not hint and (there := _inside(Path(path).parent, wanted)):
            beside = Path(path).parent
            hint = f" There are {', '.join(str(beside / one) for one in there[-5:])}"
        hub = "" if "/" in path or "\\" in path else ", and no hub id, which would be OWNER/NAME"
        raise ModelError(f"{name}: no such folder{hub}.{hint}".rstrip("."))
    return name


def _inside(folder: Path, file: str) -> list[str]:
    """Folders up to two levels within one that hold a file, in the order of their numbers."""
    try:
        found = [one.parent.relative_to(folder) for way in ("*", "*/*") for one in folder.glob(f"{way}/{file}")]
    except OSError:
        return []
    return sorted(map(str, found), key=lambda name: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", name)])


def _which(name: str, inside: list[str]) -> str:
    """Which of the folders in one to give."""
    return f"folders in it that are one: {', '.join(inside[-5:])}; give one, such as {Path(name, inside[-1])}"


def _advice(name: str, error: Exception) -> str:
    first = re.sub(r"\nModel type should be one of .*", "", str(error))  # a hundred names
    text = f"{name}: cannot be loaded: {first}"
    if not os.path.isdir(os.path.expanduser(name)) and name != BUNDLED and (reason := _of_the_hub(error)):
        text = f"{name}: there is no such folder here, and {reason}"
    text += taken_for_hub_id(name)
    if "trust_remote_code" in str(error):
        return f"{text}\nIf you trust its authors, give trust_remote_code=True."
    if "scaled_dot_product_attention" in str(error) or "attn_implementation" in str(error):
        return f"{text}\nTry attn_implementation=eager."
    return text


def _of_the_hub(error: BaseException | None) -> str:
    """Why the hub did not give a model or an adapter, in short; "" where it did."""
    while error is not None:
        if isinstance(error, GatedRepoError):
            return "the hub gives it only to those whom its authors let in (ask there, then: hf auth login)"
        if isinstance(error, RepositoryNotFoundError):
            return "the hub has none, or it is private (hf auth login)"
        if isinstance(error, RevisionNotFoundError):
            return "the hub does not have this revision of it"
        if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
            offline = constants.HF_HUB_OFFLINE
            return "the hub's cache has none; " + (
                "the hub is not asked, as HF_HUB_OFFLINE is set" if offline else "the hub cannot be reached"
            )
        error = error.__cause__ or error.__context__
    return ""
