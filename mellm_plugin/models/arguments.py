"""The arguments of the model `mellm`: what `--model_args name=value,...` may hold, checked all at once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mellm_plugin.errors import SettingsError, near
from mellm_plugin.motion.settings import MotionSettings, resolve

OFF = "off"
"""The value of `motion` that lets the frames through."""
DTYPES = ("auto", "bfloat16", "float16", "float32")
TEXTS = {"pretrained", "revision", "adapter", "adapter_revision"}
"""Arguments that are names, though they may look like numbers."""
ATTENTIONS = ("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention")


# Each reader returns the value in its proper type, or raises ValueError with what was expected.


def _text(value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text")
    return value


def _name(value: Any) -> str:
    # lmms-eval turns what looks like a number into one; of a float the digits are lost.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _system_prompt(value: Any) -> str:
    text = _text(value)
    if re.fullmatch(r"\S+\.(txt|md|jinja)", text) and not os.path.isfile(text):
        raise ValueError("a prompt, or a file that exists")
    return text


def _flag(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _count(value: Any) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    whole = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
    if not whole or value < 1:
        raise ValueError("a whole number of at least 1")
    return int(value)


def _batch_size(value: Any) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"auto(:\d+)?", value):
        return None
    try:
        return _count(value)
    except ValueError:
        raise ValueError("a whole number of at least 1, or auto") from None


def _device(value: Any) -> str:
    if not re.fullmatch(r"[a-z]+(:\d+)?", str(value)):
        raise ValueError("a device such as cpu, cuda or cuda:1")
    return str(value)


def _from_json(value: Any) -> Any:
    """A dict given on a command line."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"JSON ({error})") from None


def _device_map(value: Any) -> str | dict[str, Any]:
    value = _from_json(value)
    if not isinstance(value, str | dict) or not value:
        raise ValueError("auto, balanced, sequential, or a JSON object of modules and devices")
    return value


def _motion(value: Any) -> MotionSettings | str:
    if value is False or (isinstance(value, str) and value.lower() == OFF):  # YAML reads off as False
        return OFF
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return resolve(_from_json(value))


def _one_of(known: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        name = str(value).removeprefix("torch.")
        if name not in known:
            raise SettingsError(f"expected one of {', '.join(known)}, found {value!r}.{near(name, known)}")
        return name

    return read


def _as(read: Callable[[Any], Any], text: str) -> dict[str, Any]:
    return {"read": read, "help": text}


@dataclass(frozen=True)
class ModelArguments:
    """Arguments of the model; `metadata["help"]` of a field says what it is for."""

    pretrained: str | None = field(
        default=None,
        metadata=_as(
            _name,
            "image-text-to-text model, a folder or hub id; none: the base of adapter, else the bundled",
        ),
    )
    revision: str | None = field(default=None, metadata=_as(_name, "branch, tag or commit of `pretrained` on the hub"))
    adapter: str | None = field(default=None, metadata=_as(_name, "PEFT LoRA adapter on it, a folder or hub id"))
    adapter_revision: str | None = field(
        default=None, metadata=_as(_name, "branch, tag or commit of `adapter` on the hub")
    )
    merge_adapter: bool = field(
        default=True, metadata=_as(_flag, "add the adapter to the weights; False keeps it apart")
    )
    motion: MotionSettings | str | None = field(
        default=None,
        metadata=_as(_motion, "how maps are drawn: a preset, a settings file, or off; none: as trained, else robust"),
    )
    map_workers: int = field(
        default=min(4, os.cpu_count() or 1),
        metadata=_as(_count, "threads that draw the maps of the next batch"),
    )
    dtype: str = field(
        default="auto",
        metadata=_as(_one_of(DTYPES), "of the weights; auto: float32 on a CPU, bfloat16 elsewhere"),
    )
    device: str | None = field(default=None, metadata=_as(_device, "none: the one that accelerate gives the process"))
    device_map: str | dict[str, Any] | None = field(
        default=None, metadata=_as(_device_map, "auto: one model over all GPUs, in a single process")
    )
    attn_implementation: str = field(default="sdpa", metadata=_as(_one_of(ATTENTIONS), "attention kernel"))
    min_pixels: int | None = field(
        default=None,
        metadata=_as(_count, "an image of fewer pixels is enlarged; none: the model's own limit"),
    )
    max_pixels: int | None = field(
        default=None, metadata=_as(_count, "an image of more pixels is reduced; none: the model's own limit")
    )
    batch_size: int | None = field(
        default=1,
        metadata=_as(_batch_size, "requests at once; auto: max_batch_size, halved when the GPU's memory ends"),
    )
    max_batch_size: int = field(default=16, metadata=_as(_count, "where batch_size=auto starts"))
    system_prompt: str | None = field(
        default=None,
        metadata=_as(_system_prompt, "a text, or a file with it; none: left to the model's chat template"),
    )
    trust_remote_code: bool = field(default=False, metadata=_as(_flag, "run Python code that comes with the model"))

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> ModelArguments:
        """Arguments from the strings of a command line, or from Python objects; None and "None": not given.

        Raises:
            SettingsError: names that do not exist, values that cannot be used; all of them at once.
        """
        readers = {f.name: f.metadata["read"] for f in fields(cls)}
        faults: list[str] = []
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in readers:
                faults.append(f"{name}: no such argument; known: {', '.join(readers)}.{near(name, readers)}")
            elif value is not None and value != "None":
                try:
                    values[name] = readers[name](value)
                except SettingsError as error:
                    faults.extend(f"{name}: {fault}" for fault in error.faults)
                except ValueError as error:
                    faults.append(f"{name}: expected {error}, found {value!r}")
        low, high = values.get("min_pixels"), values.get("max_pixels")
        if low is not None and high is not None and low > high:
            faults.append(f"min_pixels: expected at most max_pixels = {high}, found {low}")
        if "device" in values and "device_map" in values:
            faults.append("device, device_map: expected one of the two, found both")
        if "adapter_revision" in values and "adapter" not in values:
            faults.append("adapter_revision: expected together with adapter")
        if "revision" in values and "pretrained" not in values:
            faults.append("revision: expected together with pretrained; for adapter it is adapter_revision")
        if faults:
            raise SettingsError(faults, where="model arguments")
        return cls(**values)
