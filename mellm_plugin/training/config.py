"""A fine-tuning config: one YAML file -> one frozen dataclass, every fault of it at once, before anything is loaded.

    # mellm finetune my.yaml
    base: bundled                          a folder, a hub id, or the model that comes with the package
    output: runs/labels
    stages:
      - name: labels
        data: [{dataset: synthme, clips: 2000, forms: {label: 1, aus: 1}}]
        steps: 200
        train: {language: lora}
        lora: {rank: 16, alpha: 32}
        learning_rate: 1.0e-3

What is not given has the default of its field below. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from mellm_plugin.datasets import store
from mellm_plugin.errors import DataError, InputError, SettingsError, near
from mellm_plugin.models import BUNDLED, near_folder
from mellm_plugin.motion.settings import MotionSettings, resolve
from mellm_plugin.small_files import DEEPEST, TOO_DEEP, read_text
from mellm_plugin.training.clips import DRAWN
from mellm_plugin.training.data import Source

PARTS: tuple[str, ...] = ("language", "vision", "projector", "embeddings")
"""A model has: what thinks in words, what sees, what is between them, and the table of words with the head that
chooses one."""

WAYS: tuple[str, ...] = ("none", "lora", "full")
"""How a part is trained: not at all, by low-rank matrices beside its weights, or its weights themselves."""

SCHEDULES: tuple[str, ...] = ("cosine", "linear", "constant")
LOGGERS: tuple[str, ...] = ("tensorboard", "wandb", "none")
DTYPES: tuple[str, ...] = ("auto", "bfloat16", "float32")
OFF = "off"
_ADAPTER = "adapter_config.json"  # PEFT's name

LINEAR = r"(q|k|v|o|gate|up|down)_proj"
"""Default of `lora.targets.language`: the matrices of attention and of the feed-forward layers."""

SEEING = r"attn\.(qkv|proj)|mlp\.(gate_proj|up_proj|down_proj|fc1|fc2|linear_fc1|linear_fc2)"
"""Default of `lora.targets.vision`: the same in the vision towers of the Qwen family."""


# Each reader returns the value in its proper type, or raises ValueError with what was expected, or InputError.


def _as_it_is(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text")
    return value


def _base(value: Any) -> str:
    text = _text(value)
    # A hub id of an image-text-to-text model has an owner; asking the hub for a misspelt folder takes half a minute.
    if "/" not in text and text != BUNDLED and not Path(text).is_dir() and (hint := near_folder(text)):
        raise ValueError("a folder, a hub id, or bundled", hint)
    return text


def _name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][\w-]*", value):
        raise ValueError("a name of letters, digits, _ and -")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _number(low: float, high: float = math.inf, *, open_low: bool = False) -> Callable[[Any], float]:
    told = f"a number {'above' if open_low else 'of at least'} {low:g}"
    told += f" and at most {high:g}" if high < math.inf else ""

    def read(value: Any) -> float:
        try:
            finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        except OverflowError:  # a whole number of hundreds of digits
            finite = False
        if not finite:
            raise ValueError(told)
        if not low <= value <= high or (open_low and value == low):
            raise ValueError(told)
        return float(value)

    return read


def _count(least: int, most: float = math.inf) -> Callable[[Any], int]:
    told = f"a whole number of at least {least}" + (f" and at most {most:.0f}" if most < math.inf else "")

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(told)
        return value

    return read


def _one_of(known: Sequence[str]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        value = OFF if value is False and OFF in known else value  # YAML 1.1 reads off as false
        if value not in known:
            raise ValueError(f"one of {', '.join(known)}", near(str(value), known))
        return str(value)

    return read


def _motion(value: Any) -> MotionSettings | None:
    if value is False or value == OFF:
        return None
    if not isinstance(value, str | Mapping):
        raise ValueError("a preset, a settings file, a mapping of settings, or off")
    return resolve(value)


def _regex(value: Any) -> str:
    text = _text(value)
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    return text


def _mapping(keys: Sequence[str] | None, read: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """A mapping whose values one reader reads; with `keys`, of these alone."""

    def read_all(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not value:
            told = f" of {', '.join(keys)}" if keys else ""
            raise ValueError(f"a mapping{told}")
        faults: list[str] = []
        found: dict[str, Any] = {}
        for key, one in value.items():
            if keys is not None and key not in keys:
                faults.append(f"{key}: no such key; known: {', '.join(keys)}.{near(str(key), keys)}")
                continue
            try:
                found[str(key)] = read(one)
            except ValueError as error:
                faults.append(f"{key}: {_told(error, one)}")
        if faults:
            raise InputError(faults)
        return found

    return read_all


def _rates(value: Any) -> dict[str, float]:
    read = _number(0, 1, open_low=True)
    if isinstance(value, Mapping):
        return _mapping(PARTS, read)(value)
    try:
        return {part: read(value) for part in PARTS}
    except ValueError:
        raise ValueError(
            f"a number above 0, for all parts that are trained, or a mapping of {', '.join(PARTS)}"
        ) from None


def _subjects(value: Any) -> dict[str, tuple[str, ...]]:
    def read(names: Any) -> tuple[str, ...]:
        if not isinstance(names, list) or not names or not all(type(n) in (str, int) for n in names):
            raise ValueError("a list of subjects")
        return tuple(str(name) for name in names)

    return _mapping(None, read)(value)


def _as(read: Callable[[Any], Any], text: str) -> dict[str, Any]:
    return {"read": read, "help": text}


@dataclass(frozen=True)
class Lora:
    """Low-rank matrices beside the weights of the parts that are trained by `lora`."""

    rank: int = field(metadata=_as(_count(1), "rank of the matrices"))
    alpha: float = field(metadata=_as(_number(0, open_low=True), "their sum is scaled by alpha / rank"))
    dropout: float = field(default=0.0, metadata=_as(_number(0, 0.9), "share of their inputs left out in training"))
    targets: Mapping[str, str] = field(
        default_factory=dict,
        metadata=_as(
            _mapping(PARTS, _regex),
            "of each part, a regular expression that is searched for in the names of its linear layers",
        ),
    )

    def target(self, part: str) -> str:
        """The expression for the linear layers of a part."""
        return self.targets.get(part, {"language": LINEAR, "vision": SEEING}.get(part, r"."))


@dataclass(frozen=True)
class Train:
    """What a stage trains, and how: `WAYS`."""

    language: str = field(default="none", metadata=_as(_one_of(WAYS), "the layers of the language model"))
    vision: str = field(default="none", metadata=_as(_one_of(WAYS), "the vision tower"))
    projector: str = field(default="none", metadata=_as(_one_of(WAYS), "what brings visual tokens to words' width"))
    embeddings: str = field(
        default="none", metadata=_as(_one_of(("none", "full")), "words' vectors, for words that the base never writes")
    )

    def parts(self, way: str | None = None) -> tuple[str, ...]:
        """The parts that are trained, or those trained in one way."""
        ways = {part: getattr(self, part) for part in PARTS}
        return tuple(part for part, of in ways.items() if (of == way if way else of != "none"))


@dataclass(frozen=True)
class Stage:
    """One stage: what is shown, what is trained, for how long. Exactly one of `epochs`, `steps`, `examples`."""

    name: str = field(metadata=_as(_name, "of its folder and in the curve"))
    data: tuple[Source, ...] = field(metadata={"list": Source, "help": "the mix of what is shown"})
    train: Train = field(metadata={"nested": Train, "help": "what is trained"})
    learning_rate: Mapping[str, float] = field(metadata=_as(_rates, "peak, one for all parts or one for each"))
    epochs: float | None = field(
        default=None, metadata=_as(_number(0, open_low=True), "rounds over all clips of the mix")
    )
    steps: int | None = field(default=None, metadata=_as(_count(1), "optimiser steps"))
    examples: int | None = field(default=None, metadata=_as(_count(1), "examples shown"))
    lora: Lora | None = field(default=None, metadata={"nested": Lora, "help": "for parts trained by lora"})
    schedule: str = field(
        default="cosine", metadata=_as(_one_of(SCHEDULES), "how the rate falls to 0 after the warm-up")
    )


@dataclass(frozen=True)
class Validation:
    """Subjects that are never trained on; the loss on their clips decides when a stage ends and which state is kept."""

    share: float = field(default=0.1, metadata=_as(_number(0, 0.5), "share of each dataset's subjects; 0: none"))
    subjects: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict, metadata=_as(_subjects, "by dataset, in place of the share")
    )
    examples: int = field(default=200, metadata=_as(_count(1), "most examples of one validation"))


@dataclass(frozen=True)
class Running:
    """How the trainer runs: the section `trainer`."""

    batch_size: int = field(default=1, metadata=_as(_count(1), "examples at once on each device"))
    accumulation: int = field(default=1, metadata=_as(_count(1), "batches of one optimiser step"))
    gradient_checkpointing: bool = field(
        default=False, metadata=_as(_flag, "compute activations twice and keep few: less memory, a third more time")
    )
    workers: int = field(default=0, metadata=_as(_count(0), "processes that draw the maps; 0: the training one"))
    save_every: int = field(default=100, metadata=_as(_count(1), "steps between checkpoints"))
    evaluate_every: int = field(default=100, metadata=_as(_count(1), "steps between validations"))
    patience: int | None = field(
        default=None, metadata=_as(_count(1), "validations without a new best one until a stage ends; null: never")
    )
    max_grad_norm: float = field(default=1.0, metadata=_as(_number(0), "gradients are scaled down to it; 0: never"))
    weight_decay: float = field(default=0.0, metadata=_as(_number(0), "of AdamW, on matrices"))
    warmup: float = field(
        default=0.03, metadata=_as(_number(0), "steps until the peak rate; below 1, their share of all steps")
    )


@dataclass(frozen=True)
class Config:
    """A whole config; `metadata["help"]` of a field says what it is for."""

    base: str = field(metadata=_as(_base, "model to be tuned: a folder, a hub id, or bundled"))
    output: str = field(metadata=_as(_text, "folder of the adapter, its checkpoints and curves"))
    stages: tuple[Stage, ...] = field(metadata={"list": Stage, "help": "in the order they are run"})
    revision: str | None = field(
        default=None,
        metadata=_as(lambda v: str(v) if isinstance(v, int) else _text(v), "branch, tag or commit of base"),
    )
    adapter: str | None = field(
        default=None, metadata=_as(_text, "adapter folder to start from; it must have the same parts and ranks")
    )
    seed: int = field(default=0, metadata=_as(_count(0, 2**32 - 1), "of everything drawn: data, new weights, dropout"))
    dtype: str = field(
        default="auto",
        metadata=_as(
            _one_of(DTYPES), "auto: on a GPU frozen weights in bfloat16 and trained ones in float32; on a CPU float32"
        ),
    )
    motion: MotionSettings | None = field(
        default=MotionSettings(),
        metadata=_as(_motion, "how maps are drawn: a preset, a file or its values; off (here None): raw frames"),
    )
    max_pixels: int | None = field(
        default=None, metadata=_as(_count(28 * 28), "an image of more pixels is reduced; none: the base's limit")
    )
    validation: Validation = field(
        default=Validation(), metadata={"nested": Validation, "help": "subjects kept for validation"}
    )
    leave_out: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict, metadata=_as(_subjects, "by dataset, subjects that are not shown at all")
    )
    logging: str = field(default="tensorboard", metadata=_as(_one_of(LOGGERS), "beside curve.jsonl"))
    trust_remote_code: bool = field(default=False, metadata=_as(_flag, "run Python code that comes with the base"))
    trainer: Running = field(default=Running(), metadata={"nested": Running, "help": "how the trainer runs"})

    @property
    def full(self) -> bool:
        """Whether a whole model comes out: where nothing is trained by lora. Else it is an adapter."""
        return not any(stage.train.parts("lora") for stage in self.stages)

    def ways(self) -> dict[str, str]:
        """How each part is trained in any of the stages."""
        found = dict.fromkeys(PARTS, "none")
        for stage in self.stages:
            found |= {part: getattr(stage.train, part) for part in stage.train.parts()}
        return found

    def lora(self, part: str) -> Lora | None:
        """The low-rank matrices of a part; None where no stage trains it so."""
        return next((s.lora for s in self.stages if part in s.train.parts("lora")), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values as `read` takes them."""
        plain = dataclasses.asdict(self)
        plain["motion"] = self.motion.to_dict() if self.motion else OFF
        if self.validation.subjects:  # a share beside them would be refused
            del plain["validation"]["share"]
        found: dict[str, Any] = _without_unset(json.loads(json.dumps(plain)))
        return found


def _without_unset(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_unset(one) for key, one in value.items() if one is not None and one != {}}
    return [_without_unset(one) for one in value] if isinstance(value, list) else value


def load(path: Path, changes: Iterable[str] = ()) -> Config:
    """The config of a file.

    Args:
        path: YAML.
        changes: `key=value` each, where key is a path such as `trainer.batch_size` or `stages[0].lora.rank` and value
            is YAML; they replace what the file says.

    Raises:
        InputError: all that is wrong with it at once: unknown keys, wrong types, what contradicts, data that is not
            prepared.
    """
    try:
        text = read_text(path, _LARGEST)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    try:
        given = _yaml(text)
    except (yaml.YAMLError, ValueError) as error:  # a date or a number that cannot be is a ValueError
        raise InputError(f"expected YAML: {error}", where=str(path)) from error
    if not isinstance(given, dict):
        raise InputError(f"expected a mapping, found {type(given).__name__}", where=str(path))
    faults: list[str] = []
    for change in changes:
        try:
            _change(given, change)
        except ValueError as error:
            faults.append(f"--set {change}: expected {error}")
    try:
        found = read(given)
    except InputError as error:
        raise InputError([*faults, *error.faults], where=str(path)) from None
    if faults:
        raise InputError(faults, where=str(path))
    return found


def read(given: Mapping[str, Any]) -> Config:
    """The config of plain values.

    Raises:
        InputError: all that is wrong with it at once.
    """
    faults: list[str] = []
    found = _read(Config, given, "", faults)
    # What belongs together is checked on what could be read, so that one round shows all there is to mend.
    if isinstance(stages := given.get("stages"), list):
        read_stages = [_read(Stage, s, "", []) if isinstance(s, Mapping) else None for s in stages]
        for number, stage in enumerate(read_stages):
            if stage is not None:
                faults += [f"stages[{number}]{fault}" for fault in _stage_faults(stage)]
        faults += _faults_between([stage for stage in read_stages if stage is not None])
        faults += _data_faults(stages)
    faults += _start_faults(given)
    if isinstance(found, Config):
        if found.adapter is not None and found.full:
            faults.append("adapter: found, but no stage trains by lora; export it with its base, and give that as base")
        if found.validation.subjects and "share" in (given.get("validation") or {}):
            faults.append("validation: expected share or subjects, found both")
    if faults or not isinstance(found, Config):
        raise InputError(faults)
    return found


def _start_faults(given: Mapping[str, Any]) -> list[str]:
    """Folders to start from that are not what they are given as."""
    faults: list[str] = []
    base, adapter = given.get("base"), given.get("adapter")
    folder = Path(base).expanduser() if isinstance(base, str) else Path()
    if isinstance(base, str) and (folder / _ADAPTER).is_file() and not (folder / "config.json").is_file():
        faults.append(f"base: expected a model, found the adapter {base}; give its base, and it as adapter: {base}")
    if isinstance(adapter, str) and not (Path(adapter).expanduser() / _ADAPTER).is_file():
        faults.append(f"adapter: expected a folder with {_ADAPTER}, found none in {adapter}")
    return faults


_LARGEST = 1 << 20  # bytes of a config
_MOST_VALUES = 100_000


class _OnceOnly(yaml.SafeLoader):  # type: ignore[misc]
    """YAML in which a key may stand once: the second would silently win."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"expected a text as key, found {key!r}", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return dict(super().construct_mapping(node, deep))


# YAML 1.1 takes 1e-4, without a dot, for a text.
_OnceOnly.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+$"), [*"+-0123456789"]
)


def _yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        yaml.YAMLError: it is none, is nested more than 50 levels deep, or holds more than 100 000 values, those behind
            an alias counted each time: a few lines of aliases of aliases stand for more than any memory holds.
    """
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []  # anchor of each level, and the values before it
    count = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            count += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_.append((event.anchor, count))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                sizes[anchor] = count - before + 1
        if len(open_) > DEEPEST:
            raise yaml.MarkedYAMLError(None, None, TOO_DEEP, event.start_mark)
        if count > _MOST_VALUES:
            raise yaml.MarkedYAMLError(None, None, f"expected at most {_MOST_VALUES} values", event.start_mark)
    return yaml.load(text, _OnceOnly)


def _change(given: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    steps = re.findall(r"[^.\[\]]+", key)
    if not equals or not steps or not re.fullmatch(r"\w+(\.\w+|\[\d+\])*", key):
        raise ValueError("key=value, as in trainer.batch_size=4 or stages[0].steps=100")
    try:
        value = _yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"a value in YAML ({error})") from None
    at: Any = given
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if isinstance(at, list):
            if not step.isdecimal() or int(step) >= len(at):
                raise ValueError(f"a number below {len(at)} in the place of {step!r}")
            place: Any = int(step)
        elif isinstance(at, dict):
            place = step
        else:
            raise ValueError(f"a mapping or list above {step!r}, found {at!r}")
        if following is None:
            at[place] = value
        else:
            if isinstance(at, dict) and at.get(place) is None:
                at[place] = {}
            at = at[place]


def _told(error: ValueError, value: Any) -> str:
    expected, hint = (*error.args, "")[:2]
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return f"expected {expected}, found {shown}{'.' if hint else ''}{hint}"


def _read(kind: type[Any], given: Any, path: str, faults: list[str]) -> Any:
    """A dataclass of plain values; None where something in it is wrong, which is then among the faults."""
    inside = f"{path}." if path else ""
    specs = {f.name: f for f in fields(kind)}
    if not isinstance(given, Mapping):
        faults.append(f"{path}: expected a mapping of {', '.join(specs)}, found {given!r}")
        return None
    before = len(faults)
    for key in given:
        if key not in specs:
            faults.append(f"{inside}{key}: no such key; known: {', '.join(specs)}.{near(str(key), specs)}")
    values: dict[str, Any] = {}
    for name, spec in specs.items():
        required = spec.default is MISSING and spec.default_factory is MISSING
        value = given.get(name)
        if name not in given or (value in (None, {}) and not required):
            if required:
                told = spec.metadata.get("help", "")
                faults.append(f"{inside}{name}: expected{f' ({told})' if told else ' a value'}, found nothing")
            continue
        if "nested" in spec.metadata:
            values[name] = _read(spec.metadata["nested"], value, inside + name, faults)
        elif "list" in spec.metadata:
            values[name] = _read_list(spec.metadata["list"], value, inside + name, faults)
        else:
            _read_value(spec.metadata.get("read", _as_it_is), value, inside + name, values, faults)
    if len(faults) > before:
        return None
    made = kind(**values)
    if isinstance(made, Source):
        faults += [f"{inside}{fault}" for fault in made.faults()]
    return None if len(faults) > before else made


def _read_list(kind: type[Any], given: Any, path: str, faults: list[str]) -> tuple[Any, ...]:
    if not isinstance(given, list) or not given:
        faults.append(f"{path}: expected a list of at least one, found {given!r}")
        return ()
    return tuple(_read(kind, one, f"{path}[{number}]", faults) for number, one in enumerate(given))


def _read_value(
    read_one: Callable[[Any], Any], value: Any, path: str, values: dict[str, Any], faults: list[str]
) -> None:
    try:
        values[path.rpartition(".")[2]] = read_one(value)
    except (InputError, SettingsError) as error:
        faults += [
            f"{path}.{fault}" if not isinstance(error, SettingsError) else f"{path}: {fault}" for fault in error.faults
        ]
    except ValueError as error:
        faults.append(f"{path}: {_told(error, value)}")


def _stage_faults(stage: Stage) -> list[str]:
    """What contradicts within a stage, each with its key in front."""
    faults: list[str] = []
    lengths = [name for name in ("epochs", "steps", "examples") if getattr(stage, name) is not None]
    if len(lengths) != 1:
        faults.append(f": expected one of epochs, steps, examples, found {' and '.join(lengths) or 'none'}")
    trained = stage.train.parts()
    if not trained:
        faults.append(
            f".train: expected at least one of {', '.join(PARTS)} as lora or full, found a stage that trains nothing"
        )
    lacking = [part for part in trained if part not in stage.learning_rate]
    faults += [
        f".learning_rate.{part}: expected a rate, for train.{part} is {getattr(stage.train, part)}" for part in lacking
    ]
    if len(set(stage.learning_rate)) < len(PARTS):  # one number stands for all
        idle = [part for part in stage.learning_rate if part not in trained]
        faults += [f".learning_rate.{part}: found a rate, but this stage does not train it" for part in idle]
    by_lora = stage.train.parts("lora")
    if by_lora and stage.lora is None:
        faults.append(f".lora: expected rank and alpha, for train.{by_lora[0]} is lora, found nothing")
    if stage.lora is not None and not by_lora:
        faults.append(".lora: found, but this stage trains no part by lora")
    if stage.lora is not None:
        idle = [part for part in stage.lora.targets if part not in by_lora]
        faults += [f".lora.targets.{part}: found, but train.{part} is not lora" for part in idle if by_lora]
    return faults


def _faults_between(stages: Sequence[Stage]) -> list[str]:
    """What contradicts between stages: one adapter, or one model, comes out of all of them."""
    faults: list[str] = []
    names = [stage.name for stage in stages]
    faults += [f"stages: the name {name!r} stands twice" for name in sorted({n for n in names if names.count(n) > 1})]
    first: dict[str, tuple[str, str, Lora | None]] = {}
    for stage in stages:
        for part in stage.train.parts():
            way = getattr(stage.train, part)
            lora = stage.lora if way == "lora" else None
            name, before, other = first.setdefault(part, (stage.name, way, lora))
            if way != before:
                faults.append(
                    f"stages: {part} is {before} in {name!r} and {way} in {stage.name!r}; expected one of the two"
                )
            elif lora is not None and other is not None:
                shapes = [(one.rank, one.alpha, one.target(part)) for one in (other, lora)]
                if shapes[0] != shapes[1]:
                    faults.append(
                        f"stages: the lora of {part} has rank, alpha, targets {shapes[0]} in {name!r} and {shapes[1]} "
                        f"in {stage.name!r}; expected the same, for one adapter comes out"
                    )
    whole = [part for part in ("language", "vision") if first.get(part, ("", "", None))[1] == "full"]
    by_lora = [part for part, (_, way, _) in first.items() if way == "lora"]
    if whole and by_lora:
        faults.append(
            f"stages: {whole[0]} is full and {by_lora[0]} is lora; expected either an adapter (lora; projector and "
            "embeddings may be full) or a whole model (full)"
        )
    return faults


def _data_faults(stages: Sequence[Any]) -> list[str]:
    """Datasets that are not there, as far as the stages can be read at all."""
    faults: list[str] = []
    for number, stage in enumerate(stages):
        sources = stage.get("data") if isinstance(stage, Mapping) else None
        for place, source in enumerate(sources if isinstance(sources, list) else ()):
            path = f"stages[{number}].data[{place}]"
            name = source.get("dataset") if isinstance(source, Mapping) else None
            if not isinstance(name, str):
                continue
            if name == DRAWN or any(Source(name).faults()):
                continue
            try:
                splits = store.read_info(name)["splits"]
            except (DataError, InputError) as error:
                faults.append(f"{path}.dataset: {error}")
                continue
            if isinstance(split := source.get("split"), str) and split not in splits:
                faults.append(
                    f"{path}.split: {name} has {', '.join(splits)}, found {split!r}.{near(str(split), splits)}"
                )
    return faults
