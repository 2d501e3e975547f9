"""Load models, processors and adapters from folders and the hub, and choose the device of this process.

A model loads completely or not at all, and only from safetensors. Training uses the same functions.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from huggingface_hub import constants, errors, hf_hub_download, snapshot_download
from loguru import logger
from peft import PeftModel
from transformers import AutoModelForImageTextToText, AutoProcessor

from mellm_plugin.errors import ModelError, SettingsError
from mellm_plugin.models import BUNDLED, adapter_files, bundled_folder, near_folder, taken_for_hub_id
from mellm_plugin.models.adapter_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, some
from mellm_plugin.models.arguments import OFF
from mellm_plugin.models.heads import FILES as HEAD_FILES
from mellm_plugin.models.heads import Heads, has_heads
from mellm_plugin.models.merging import merge as merged
from mellm_plugin.models.record import FILE as RECORD
from mellm_plugin.models.record import ends_sum, read_record
from mellm_plugin.motion.settings import FILE_NAME, MotionSettings

_GIVE_BASE = "set pretrained= to your copy (mellm export: --base)"
_OTHER_BASE = "Is this the base that it was trained on?"


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
    """Load an image-text-to-text model in eval mode, with every weight from its files.

    Args:
        pretrained: folder or hub id.
        revision: branch, tag or commit on the hub.
        dtype: float32, bfloat16, float16, or auto: float32 on a CPU, bfloat16 elsewhere.
        device: of the model, without `device_map`.
        device_map, attn_implementation, trust_remote_code: of transformers.

    Raises:
        ModelError: no such folder or hub id, another kind of model, no safetensors, or missing weights.
    """
    source = local_or_hub(pretrained)
    if Path(source).is_dir() and not Path(source, "config.json").is_file():
        if Path(source, ADAPTER_CONFIG).is_file():
            raise ModelError(f"{pretrained}: expected a whole model, found an adapter; give it as adapter=")
        if inside := _inside(Path(source), "config.json"):
            raise ModelError(f"{pretrained}: expected a model, found {_which(pretrained, inside)}")
        if inside := _inside(Path(source), ADAPTER_CONFIG):
            one = Path(pretrained, inside[-1])
            raise ModelError(f"{pretrained}: expected a model, found adapters in it; give one, such as adapter={one}")
    on_cpu = torch.device(device).type == "cpu"
    if device_map is not None:
        on_cpu = not torch.cuda.is_available()
    elif not on_cpu:
        device_map = {"": torch.device(device)}  # directly from the files, without a copy in the host's memory
    if dtype == "auto":
        dtype = "float32" if on_cpu else "bfloat16"
    with _advice(pretrained):
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
    if report["missing_keys"]:
        lost = some(report["missing_keys"])
        raise ModelError(
            f"{pretrained}: {lost} are missing from its files and would be random; download or save it again"
        )
    return model.eval()


def check_numbers(model: Any, name: str) -> None:
    """Raise a ModelError for NaN or infinity in the weights; training notices them by its loss."""
    if broken := [one for one, weight in model.named_parameters() if not adapter_files.is_number(weight)]:
        raise ModelError(f"{name}: {some(broken)} contain NaN or infinity; download or save it again")


def load_processor(source: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """Load a processor that pads on the left, as batched generation needs.

    Raises ModelError if there is none, or it lacks an image processor or chat template.
    """
    with _advice(source):
        processor = AutoProcessor.from_pretrained(
            local_or_hub(source), revision=revision, trust_remote_code=trust_remote_code
        )
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        raise ModelError(f"{source}: expected a processor for text and images, found {type(processor).__name__}")
    if not processor.chat_template:
        raise ModelError(f"{source}: expected a chat template (chat_template.jinja), found none")
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor


def limit_pixels(processor: Any, smallest: int | None, largest: int | None) -> None:
    """Set the minimum and maximum pixels of an image for the model; None keeps a limit.

    Raises SettingsError if the model uses one image size, or the minimum exceeds the maximum.
    """
    if smallest is None and largest is None:
        return
    images = processor.image_processor
    size = dict(images.size)
    # With merged patches (Qwen, GLM) these are numbers of pixels, otherwise lengths of sides (Idefics).
    if not {"shortest_edge", "longest_edge"} <= size.keys() or not hasattr(images, "merge_size"):
        found = f"{type(images).__name__} with the size {size}"
        raise SettingsError(f"min_pixels, max_pixels: expected a model with limits of pixels, found {found}")
    low, high = smallest or size["shortest_edge"], largest or size["longest_edge"]
    if low > high:
        raise SettingsError(f"min_pixels, max_pixels: expected the first below the second, found {low}, {high}")
    images.size = type(images.size)(shortest_edge=low, longest_edge=high)


def fetch_adapter(adapter: str, revision: str | None = None) -> Path:
    """The folder of an adapter; downloads it from the hub if necessary.

    Raises ModelError if there is no such folder or hub id, or no adapter with safetensors weights.
    """
    source = local_or_hub(adapter, ADAPTER_CONFIG)
    if not os.path.isdir(source):
        wanted = [ADAPTER_WEIGHTS, *HEAD_FILES, "*.json", "*.jinja", "*.txt", "*.model"]
        with _advice(adapter):
            source = snapshot_download(source, revision=revision, allow_patterns=wanted)
    folder = Path(source)
    if not (folder / ADAPTER_CONFIG).is_file():
        if (folder / "config.json").is_file():
            raise ModelError(f"{adapter}: expected a PEFT adapter, found a whole model; give it as pretrained=")
        if inside := _inside(folder, ADAPTER_CONFIG):
            raise ModelError(f"{adapter}: expected a PEFT adapter, found {_which(adapter, inside)}")
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
        raise ModelError(f"{adapter}: expected a PEFT adapter with {ADAPTER_CONFIG}, found a folder with {held}")
    if not (folder / ADAPTER_WEIGHTS).is_file():
        held = ", ".join(sorted(p.name for p in folder.glob("adapter_model.*"))) or "none"
        raise ModelError(f"{adapter}: expected its weights in {ADAPTER_WEIGHTS}, found {held}; save it again with PEFT")
    return folder


def adapter_base(folder: Path) -> tuple[str, str | None]:
    """Name and revision of the model that an adapter was trained on; a relative path starts at the adapter's folder.

    Raises ModelError if the adapter names no base, or a folder that does not exist here.
    """
    config = adapter_files.plain_config(folder)
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(base, str) or not base:
        hint = "set pretrained= to the base (mellm export: --base)"
        raise ModelError(f"{folder}: the adapter does not name its base; {hint}")
    if (beside := folder / base).is_dir():
        return str(beside.resolve()), revision
    try:
        local_or_hub(base)
    except ModelError as error:
        hub = f", such as {hub} of the hub" if (hub := _hub_id_in(base)) else ""
        found = f"{ADAPTER_CONFIG} names the base {base}, but no such folder exists here"
        why = "(it may belong to the machine of the training)"
        raise ModelError(f"{folder}: {found} {why}; {_GIVE_BASE}{hub}") from error
    return base, revision


def base_of(folder: Path, error: ModelError) -> ModelError:
    """The error of a base that the adapter in this folder names, with advice."""
    return ModelError(f"{error}\n{folder / ADAPTER_CONFIG} names this base; {_GIVE_BASE}")


def _hub_id_in(path: str) -> str | None:
    """The hub id in a path of another machine that ends in a copy or cache of a hub model."""
    if cached := re.search(r"models--([\w.-]+?)--([\w.-]+)", path):
        return f"{cached[1]}/{cached[2]}"
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1].replace("___", ".")
    return f"Qwen/{name}" if re.fullmatch(r"Qwen[\d.]*-VL-[\w.-]+", name) else None


def add_adapter(model: Any, folder: Path, *, merge: bool = True, processor: Any = None) -> Any:
    """Add a LoRA adapter with all its tensors to a model; in eval mode.

    Args:
        model: the base; changed in place.
        folder: from `fetch_adapter`.
        merge: add the adapter to the weights and check that answers stay equal; if not, keep its layers apart.
        processor: for a check with an image; None: the check uses text only.

    Raises:
        ModelError: no LoRA adapter, an adapter of another model, or different answers after merging.
    """
    config, names = adapter_files.lora_config(folder), adapter_files.tensor_names(folder)
    base = getattr(model.config, "_name_or_path", "") or type(model).__name__
    changes = adapter_files.renamings(model, names)
    with _of_folder(folder):
        adapter_files.fit(config, model, names, changes)
    options = {
        "torch_device": str(model.device),  # PEFT's default is the first GPU
        "autocast_adapter_dtype": False,  # for training only
        "key_mapping": {f"^{re.escape(old)}": new for old, new in changes.items()},
    }
    try:
        wrapped = PeftModel.from_pretrained(model, str(folder), config=config, **options)
        # Load again for the report: from_pretrained only warns, and does not mention unexpected tensors.
        report = wrapped.load_adapter(str(folder), "default", **options)
    except Exception as error:  # transformers, PEFT and the hub raise many kinds
        first = " ".join(str(error).split("\n\t")[:2])  # torch adds a line per tensor
        raise ModelError(f"{folder}: the adapter does not fit {base}: {first} {_OTHER_BASE}") from error
    if lost := report.unexpected_keys:
        raise ModelError(f"{folder}: {some(lost)} of the adapter have no place in {base}. {_OTHER_BASE}")
    if report.missing_keys:
        raise ModelError(f"{folder}: {some(report.missing_keys)} are missing from {ADAPTER_WEIGHTS}; save it again")
    if not merge:
        return wrapped.get_base_model().eval()
    with _of_folder(folder):
        return merged(wrapped.eval(), processor).eval()


@contextmanager
def _of_folder(folder: Path) -> Iterator[None]:
    """Puts the folder in front of an error of the model."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error


def carried_heads(folder: str) -> Heads:
    """The heads of a model or adapter; raises ModelError if it has none."""
    if not has_heads(Path(folder)):
        kept = "train it with heads: {.., keep: true} in the last stage, or use answer=words"
        raise ModelError(f"{folder}: expected heads ({', '.join(HEAD_FILES)}), found none; {kept}")
    return Heads.load(Path(folder))


def carries_processor(folder: Path) -> bool:
    """Whether the folder of an adapter contains its own processor."""
    return any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json"))


def carried_motion(source: str, revision: str | None = None) -> MotionSettings | str | None:
    """The map settings that a model or adapter was trained with; `off` for training on frames, None if unknown.

    Raises SettingsError or ModelError if its `motion.json` or its record cannot be read.
    """
    source = local_or_hub(source)
    try:
        if (file := _carried(source, FILE_NAME, revision)) is not None:
            return MotionSettings.load(file)
        if (file := _carried(source, RECORD, revision)) is not None:
            return OFF if read_record(file.parent)["motion"] == OFF else None
    except errors.LocalEntryNotFoundError:
        logger.warning(f"mellm: cannot check on the hub whether {source} has a {FILE_NAME}; set motion= to be sure")
    return None


def weights_sum(folder: Path) -> str:
    """A checksum of weights: for an adapter, the sha256 of `adapter_model.safetensors` as `sha256sum` prints it; for a
    whole model, a sum over the ends of its files (`record.ends_sum`)."""
    if (file := folder / ADAPTER_WEIGHTS).is_file():
        return hashlib.sha256(file.read_bytes()).hexdigest()
    sums = (ends_sum(path) for path in sorted(folder.glob("*.safetensors")))
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def carried_record(source: str, revision: str | None = None) -> dict[str, Any] | None:
    """The training record of a model or adapter; None if it has none or the hub is unreachable."""
    try:
        file = _carried(local_or_hub(source), RECORD, revision)
    except errors.LocalEntryNotFoundError:
        return None
    return None if file is None else read_record(file.parent)


def _carried(source: str, name: str, revision: str | None) -> Path | None:
    """A file of a folder or of the hub; None if it does not exist."""
    if os.path.isdir(source):
        return file if (file := Path(source, name)).is_file() else None
    try:
        return Path(hf_hub_download(source, name, revision=revision))
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):  # the hub was not reached
            raise
        return None


def local_or_hub(name: str, wanted: str = "config.json") -> str:
    """Resolve a model name: a folder with `~` expanded, the folder of the bundled model, or a hub id.

    Raises ModelError if it is none, and suggests folders that contain the file `wanted`.
    """
    path = str(bundled_folder()) if name == BUNDLED else os.path.expanduser(name)
    if os.path.isdir(path):
        return path
    if os.path.exists(path):
        raise ModelError(f"{name}: expected a folder, found a file; give the folder: {Path(name).parent}")
    if page := re.match(r"https?://[^/]+/([\w.-]+/[\w.-]+)", path):
        raise ModelError(f"{name}: expected a folder or a hub id, found an address; the id is {page[1]}")
    if path.startswith((".", os.sep)) or path.count("/") != 1 or "\\" in path:
        hint, beside = near_folder(name), Path(path).parent
        if not hint and (there := _inside(beside, wanted)):
            hint = f" There are {', '.join(str(beside / one) for one in there[-5:])}"
        hub = "" if "/" in path or "\\" in path else ", and not a hub id (OWNER/NAME)"
        raise ModelError(f"{name}: no such folder{hub}.{hint}".rstrip("."))
    return name


def _inside(folder: Path, file: str) -> list[str]:
    """Folders up to two levels below `folder` that contain a file, in natural order."""
    try:
        found = [one.parent.relative_to(folder) for way in ("*", "*/*") for one in folder.glob(f"{way}/{file}")]
    except OSError:
        return []
    return sorted(map(str, found), key=lambda name: [int(n) if n.isdigit() else n for n in re.split(r"(\d+)", name)])


def _which(name: str, inside: list[str]) -> str:
    """The advice to use a folder inside the given one."""
    return f"such folders inside: {', '.join(inside[-5:])}; give one, such as {Path(name, inside[-1])}"


@contextmanager
def _advice(name: str) -> Iterator[None]:
    """Turns any error in loading into one that says what to do; transformers, PEFT and the hub raise many kinds."""
    try:
        yield
    except Exception as error:
        first = re.sub(r"\nModel type should be one of .*", "", str(error))  # a list of a hundred names
        text = f"{name}: cannot be loaded: {first}"
        if not os.path.isdir(os.path.expanduser(name)) and name != BUNDLED and (reason := _of_the_hub(error)):
            text = f"{name}: no such folder, and {reason}"
        text += taken_for_hub_id(name)
        if "trust_remote_code" in str(error):
            text += "\nIf you trust its authors, give trust_remote_code=True."
        elif "scaled_dot_product_attention" in str(error) or "attn_implementation" in str(error):
            text += "\nTry attn_implementation=eager."
        raise ModelError(text) from error


def _of_the_hub(error: BaseException | None) -> str:
    """Why the hub did not provide a model or adapter; "" for other errors."""
    why = "HF_HUB_OFFLINE is set, so the hub was not asked" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
    absent = f"the local hub cache does not contain it; {why}"
    reasons = {
        errors.GatedRepoError: "access on the hub is restricted (request it there, then: hf auth login)",
        errors.RepositoryNotFoundError: "the hub has no such model, or it is private (hf auth login)",
        errors.RevisionNotFoundError: "the hub does not have this revision",
        errors.LocalEntryNotFoundError: absent,
        errors.OfflineModeIsEnabled: absent,
    }
    while error is not None:
        if reason := next((reason for kind, reason in reasons.items() if isinstance(error, kind)), ""):
            return reason
        error = error.__cause__ or error.__context__
    return ""


def process_device(
    wanted: str | None, device_map: Any, accelerator: Accelerator, log: Callable[[str, str], None]
) -> torch.device:
    """The device for the model of this process: the `wanted` one (`cuda:1`), or accelerate's choice.

    `log` is called with a level and a message. Raises SettingsError for a device that does not exist, or that several
    processes cannot use.
    """
    own, several, kind = accelerator.device, accelerator.num_processes > 1, accelerator.distributed_type
    if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        hint = "to split it over GPUs start one process with device_map=auto"
        raise SettingsError(f"expected processes that each hold the whole model, found {kind.value}; {hint}")
    if several and device_map is not None:
        raise SettingsError("device_map: expected one process, found several, each with the whole model")
    if wanted is None:
        return torch.device(own)
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device: expected one of this machine, found {wanted!r}: {error}") from None
    if not several:
        return device
    # The processes communicate over the devices that accelerate assigned to them.
    if device.type != own.type:
        hint = "; set ACCELERATE_USE_CPU=true" if device.type == "cpu" else ""
        raise SettingsError(f"device: for several processes expected {own.type}, found {wanted!r}{hint}")
    if device.index is not None:
        log("WARNING", f"device={wanted} is ignored: {accelerator.num_processes} processes use one device each")
    return torch.device(own)
