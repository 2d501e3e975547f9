"""The arguments of the model `mellm`, from `--model_args name=value,...`, and a task's arguments of generation."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

from mellm_plugin.errors import SettingsError, imports_of_lmms_eval
from mellm_plugin.motion.settings import MotionSettings, resolve
from mellm_plugin.settings import Settings, attempt, one_of, reader, text

OFF = "off"  # the value of `motion` for frames without maps
DTYPES = ("auto", "bfloat16", "float16", "float32")
TEXTS = {"pretrained", "revision", "adapter", "adapter_revision"}  # names even if they look like numbers
DECIDES = ("generate", "likelihood")
ANSWERS = ("words", "head", "both")
ATTENTIONS = ("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention")


def _text(value: Any) -> str:
    return text(os.fspath(value) if isinstance(value, os.PathLike) else value)


def _name(value: Any) -> str:
    # lmms-eval converts what looks like a number; a float loses its digits.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _system_prompt(value: Any) -> str:
    if re.fullmatch(r"\S+\.(txt|md|jinja)", prompt := _text(value)) and not os.path.isfile(prompt):
        raise ValueError("a prompt, or a file that exists")
    return prompt


def _flag(value: Any) -> bool:
    known = {"true": True, "false": False}
    if not isinstance(value, bool | str) or str(value).lower() not in known:
        raise ValueError("True or False")
    return known[str(value).lower()]


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
    """Parse a JSON object of the command line."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"JSON ({error})") from None


def _device_map(value: Any) -> str | dict[str, Any]:
    if not isinstance(found := _from_json(value), str | dict) or not found:
        raise ValueError("auto, balanced, sequential, or a JSON object of modules and devices")
    return found


def _motion(value: Any) -> MotionSettings | str:
    if value is False or (isinstance(value, str) and value.lower() == OFF):  # YAML reads off as False
        return OFF
    return resolve(_from_json(os.fspath(value) if isinstance(value, os.PathLike) else value))


Motion = Annotated[MotionSettings | str, reader(_motion)]
MAP_WORKERS = min(4, os.cpu_count() or 1)
Name = Annotated[str, reader(_name)]
Count = Annotated[int, reader(_count)]
Switch = Annotated[bool, reader(_flag)]
Dtype = Annotated[str, one_of(DTYPES), BeforeValidator(lambda value: str(value).removeprefix("torch."))]


@dataclass(frozen=True)
class ModelArguments(Settings):
    """Arguments of the model."""

    unset: ClassVar[tuple[Any, ...]] = (None,)  # motion={} is a mapping of settings

    # image-text-to-text model, a folder or hub id; none: the base of adapter, else the bundled model
    pretrained: Name | None = None
    revision: Name | None = None  # branch, tag or commit of `pretrained` on the hub
    adapter: Name | None = None  # PEFT LoRA adapter on it, a folder or hub id
    adapter_revision: Name | None = None
    merge_adapter: Switch = True  # add the adapter to the weights; False keeps it apart
    # how maps are drawn: a preset, a settings file, or off; none: as in training, else robust
    motion: Motion | None = None
    map_workers: Count = MAP_WORKERS  # threads that draw the maps of the next batch
    dtype: Dtype = "auto"  # of the weights; auto: float32 on a CPU, bfloat16 elsewhere
    device: Annotated[str, reader(_device)] | None = None  # none: the one that accelerate gives the process
    # auto: one model over all GPUs, in a single process
    device_map: Annotated[str | dict[str, Any], reader(_device_map)] | None = None
    attn_implementation: Annotated[str, one_of(ATTENTIONS)] = "sdpa"
    min_pixels: Count | None = None  # an image of fewer pixels is enlarged; none: the model's own limit
    max_pixels: Count | None = None  # an image of more pixels is reduced; none: the model's own limit
    # requests at once; auto (None): starts at max_batch_size and halves when GPU memory runs out
    batch_size: Annotated[int | None, reader(_batch_size)] = 1
    max_batch_size: Count = 16
    # a text, or a file with it; none: left to the model's chat template
    system_prompt: Annotated[str, reader(_system_prompt)] | None = None
    # how a closed question (`*_emotion`) is answered: by text, or by the likelihood of each label
    decide: Annotated[str, one_of(DECIDES)] = "generate"
    orders: Count = 3  # with decide=likelihood: orders of the labels that each clip is asked in; their mean counts
    # who answers: the language model, the heads on its visual tokens that training kept, or both, scored apart
    answer: Annotated[str, one_of(ANSWERS)] = "words"
    trust_remote_code: Switch = False  # run Python code that comes with the model

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> ModelArguments:
        """Arguments from the strings of a command line, or from Python objects; None and "None": not given.

        Raises SettingsError with all names that do not exist and all values that cannot be used.
        """
        known = {f.name for f in fields(cls)}
        given = {name: value for name, value in given.items() if name not in known or value not in (None, "None")}
        faults: list[str] = []
        found = attempt(cls, given, faults)
        wrong = {fault.partition(":")[0] for fault in faults}
        faults += contradictions({name: value for name, value in given.items() if name not in wrong})
        if faults or found is None:
            raise SettingsError(faults, where="model arguments")
        return found


def contradictions(given: Mapping[str, Any]) -> Iterator[str]:
    """Faults between arguments."""
    low, high = (attempt(Count, given.get(name)) for name in ("min_pixels", "max_pixels"))
    if low is not None and high is not None and low > high:
        yield f"min_pixels: expected at most max_pixels = {high}, found {low}"
    if "device" in given and "device_map" in given:
        yield "device, device_map: expected one of the two, found both"
    if "adapter_revision" in given and "adapter" not in given:
        yield "adapter_revision: expected together with adapter"
    if "orders" in given and given.get("decide") != "likelihood":
        yield "orders: expected together with decide=likelihood"
    if given.get("answer") == "head" and given.get("decide") == "likelihood":
        yield "answer, decide: found head and likelihood, which heads do not use; use answer=both, or one of them"
    if "revision" in given and "pretrained" not in given:
        yield "revision: expected together with pretrained; for adapter it is adapter_revision"


def split(text: str) -> dict[str, Any]:
    """Split `name=value,name=value` like lmms-eval, but keep names of folders and versions as text.

    Raises SettingsError if a value contains a comma, or an item is not an argument.
    """
    with imports_of_lmms_eval():
        from lmms_eval.utils import simple_parse_args_string

    quote = "lmms-eval splits at commas; quote a value that contains one: --model_args 'adapter=\"runs/a,b\",..'"
    try:
        found: dict[str, Any] = simple_parse_args_string(text)
    except ValueError:
        pieces = [piece.strip() for piece in text.split(",")]
        odd = next((piece for piece in pieces if piece and "=" not in piece), text)
        raise SettingsError(f"expected name=value,name=value, found {odd!r} in {text!r}. {quote}") from None
    known = {one.name for one in fields(ModelArguments)}
    names = re.findall(rf"(?:^|,)\s*({'|'.join(known)})\s*=", re.sub(r"\"[^\"]*\"|'[^']*'", "", text))
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"found {', '.join(twice)} twice in {text!r}; give one")
    for name in found:
        whole = re.search(rf"=([^=,]*(?:=[^,]*)?,\s*{re.escape(name)}=[^,]*)", text)
        if name not in known and whole and os.path.exists(os.path.expanduser(whole[1])):
            raise SettingsError(f"found {whole[1]!r}, a path with a comma. {quote}")
    for name in TEXTS & found.keys():
        # Folders and versions may be called 2025, 007 or 1e5, which lmms-eval converts to numbers.
        if not isinstance(value := found[name], str):
            written = re.search(rf"(?:^|,)\s*{name}\s*=([^,]*)", text)
            found[name] = written[1].strip() if written else str(value)
        elif len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            found[name] = value[1:-1]
    return found


def with_options(arg_string: str | Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `--model_args` and of lmms-eval's own options (None: not given).

    Raises SettingsError as `split`, and if both give different values for an argument.
    """
    own = split(arg_string) if isinstance(arg_string, str) else dict(arg_string)
    given = {name: value for name, value in options.items() if value is not None}
    if str(given.get("batch_size")) == "1" and "batch_size" in own:
        del given["batch_size"]  # lmms-eval's default, not a choice
    if twice := [name for name in own if name in given and str(own[name]) != str(given[name])]:
        raise SettingsError(
            f"{name}: found {own[name]!r} in model_args and {given[name]!r} in --{name}; give one" for name in twice
        )
    return {**given, **own}


MAX_NEW_TOKENS = 1024  # of an answer, by default
_SAMPLING = ("temperature", "top_p", "top_k", "min_p")
_GENERATION = {
    *(*_SAMPLING, "do_sample", "num_beams", "max_new_tokens", "min_new_tokens", "repetition_penalty"),
    *("length_penalty", "no_repeat_ngram_size", "early_stopping"),
}


def generation_arguments(gen_kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Translate a task's generation arguments to those of transformers.

    Greedy, unless a temperature above 0 or `do_sample` asks for sampling.

    Returns:
        arguments of `generate`; the texts that end an answer; unknown names.
    """
    given = {name: value for name, value in gen_kwargs.items() if value is not None}
    until = given.pop("until", [])
    until = [until] if isinstance(until, str) else [str(stop) for stop in until if stop]
    if until == [
        "\n\n"
    ]:  # lmms-eval's default, which would cut answers after the first paragraph; its own models ignore it
        until = []
    arguments = {"max_new_tokens": MAX_NEW_TOKENS} | {k: v for k, v in given.items() if k in _GENERATION}
    temperature = arguments.get("temperature")
    arguments["do_sample"] = bool(arguments.get("do_sample", temperature)) and temperature != 0
    if not arguments["do_sample"]:
        arguments |= dict.fromkeys(_SAMPLING)  # None also overrides the model's generation config
    return arguments, until, sorted(given.keys() - _GENERATION)


def cut_at(text: str, until: list[str]) -> str:
    """The text up to the first end."""
    return text[: min((text.find(stop) for stop in until if stop in text), default=len(text))]
