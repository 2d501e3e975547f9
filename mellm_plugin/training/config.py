"""A fine-tuning config: a YAML file becomes a frozen dataclass; one error lists every fault before anything is loaded.

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

Missing keys take the defaults of the fields below. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator

from mellm_plugin.datasets import store
from mellm_plugin.errors import DataError, InputError, near
from mellm_plugin.models import BUNDLED, near_folder
from mellm_plugin.motion.settings import DEFAULT, MotionSettings, resolve
from mellm_plugin.settings import Flag, Settings, Text, attempt, count, number, one_of, reader, text
from mellm_plugin.small_files import DEEPEST, TOO_DEEP, read_text
from mellm_plugin.training.clips import DRAWN
from mellm_plugin.training.data import Source
from mellm_plugin.training.head_settings import HeadSettings

PARTS: tuple[str, ...] = ("language", "vision", "projector", "embeddings")
"""The parts of a model: language layers, vision tower, the layers between them, and word vectors with output head."""

WAYS: tuple[str, ...] = ("none", "lora", "full")
"""How a part is trained: not at all, by low-rank matrices, or all its weights."""

SCHEDULES: tuple[str, ...] = ("cosine", "linear", "constant")
LOGGERS: tuple[str, ...] = ("tensorboard", "wandb", "none")
DTYPES: tuple[str, ...] = ("auto", "bfloat16", "float32")
OFF = "off"
_ADAPTER = "adapter_config.json"  # PEFT's name

LINEAR = r"(q|k|v|o|gate|up|down)_proj"
"""Default of `lora.targets.language`: the matrices of attention and of the feed-forward layers."""

SEEING = r"attn\.(qkv|proj)|mlp\.(gate_proj|up_proj|down_proj|fc1|fc2|linear_fc1|linear_fc2)"
"""Default of `lora.targets.vision`: the same layers in vision towers of the Qwen family."""


def _base(value: Any) -> str:
    name = text(value)
    # A hub id of an image-text-to-text model has an owner; asking the hub for a misspelt folder takes half a minute.
    if "/" not in name and name != BUNDLED and not Path(name).is_dir() and (hint := near_folder(name)):
        raise ValueError("a folder, a hub id, or bundled", hint)
    return name


def _name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][\w-]*", value):
        raise ValueError("a name of letters, digits, _ and -")
    return value


def _motion(value: Any) -> MotionSettings | None:
    if value is False or value == OFF:  # YAML 1.1 reads off as false
        return None
    if isinstance(value, MotionSettings):
        return value
    if not isinstance(value, str | Mapping):
        raise ValueError("a preset, a settings file, a mapping of settings, or off")
    return resolve(value)


def _regex(value: Any) -> str:
    expression = text(value)
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    return expression


def _some(kinds: Any, expected: str) -> BeforeValidator:
    """A value of these kinds that is not empty."""

    def check(value: Any) -> Any:
        if not isinstance(value, kinds) or not value:
            raise ValueError(expected)
        return value

    return BeforeValidator(check)


def _rates(value: Any) -> Any:
    if isinstance(value, Mapping) and value:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(f"a number above 0, for all trained parts, or a mapping of {', '.join(PARTS)}")
    return dict.fromkeys(PARTS, value)


def _subject_list(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not all(type(name) in (str, int) for name in value):
        raise ValueError("a list of subjects")
    return tuple(str(name) for name in value)


Revision = Annotated[str, reader(lambda value: str(value) if isinstance(value, int) else text(value))]
Part = Annotated[str, one_of(PARTS)]
Way = Annotated[str, one_of(WAYS)]
Count = Annotated[int, count(1)]
SomeOf = _some(list | tuple, "a list of at least one")
Subjects = Mapping[str, Annotated[tuple[str, ...], reader(_subject_list)]]


@dataclass(frozen=True)
class Lora(Settings):
    """Low-rank matrices beside the weights of the parts that are trained by `lora`."""

    rank: Annotated[Count, "rank of the matrices"]
    alpha: Annotated[float, number(0, above=True), "their sum is scaled by alpha / rank"]
    dropout: Annotated[float, number(0, 0.9), "share of their inputs left out in training"] = 0.0
    targets: Annotated[
        Mapping[Part, Annotated[str, reader(_regex)]],
        _some(Mapping, f"a mapping of {', '.join(PARTS)}"),
        "by part, a regular expression that is searched for in the names of its linear layers",
    ] = field(default_factory=dict)

    def target(self, part: str) -> str:
        """The expression for the linear layers of a part."""
        return self.targets.get(part, {"language": LINEAR, "vision": SEEING}.get(part, r"."))


@dataclass(frozen=True)
class Train(Settings):
    """What a stage trains, and how: `WAYS`."""

    language: Annotated[Way, "the layers of the language model"] = "none"
    vision: Annotated[Way, "the vision tower"] = "none"
    projector: Annotated[Way, "the layers between vision tower and language model"] = "none"
    embeddings: Annotated[str, one_of(("none", "full")), "the word vectors, for words the base never writes"] = "none"

    def parts(self, way: str | None = None) -> tuple[str, ...]:
        """The trained parts, or those trained in one way."""
        ways = {part: getattr(self, part) for part in PARTS}
        return tuple(part for part, of in ways.items() if (of == way if way else of != "none"))


@dataclass(frozen=True)
class Stage(Settings):
    """One stage: the data, the trained parts, the length. Exactly one of `epochs`, `steps`, `examples`."""

    name: Annotated[str, reader(_name), "of its folder and in the curve"]
    data: Annotated[tuple[Source, ...], SomeOf, "the mix of examples"]
    train: Annotated[Train, "which parts are trained, and how"]
    learning_rate: Annotated[
        Mapping[Part, Annotated[float, number(0, 1, above=True)]],
        BeforeValidator(_rates),
        "peak, one for all parts or one for each",
    ]
    epochs: Annotated[Annotated[float, number(0, above=True)] | None, "rounds over all clips of the mix"] = None
    steps: Annotated[Count | None, "optimiser steps"] = None
    examples: Annotated[Count | None, "examples shown"] = None
    lora: Annotated[Lora | None, "for parts trained by lora"] = None
    schedule: Annotated[str, one_of(SCHEDULES), "how the rate falls to 0 after the warm-up"] = "cosine"
    deciding: Annotated[
        float, number(0, 0.95), "share of each answer's loss for the words that decide; 0: all tokens count alike"
    ] = 0.5
    heads: Annotated[HeadSettings | None, "auxiliary heads on the visual tokens"] = None

    def contradictions(self) -> Iterator[str]:
        """Faults between the fields of the stage."""
        lengths = [name for name in ("epochs", "steps", "examples") if getattr(self, name) is not None]
        if len(lengths) != 1:
            yield f": expected one of epochs, steps, examples, found {' and '.join(lengths) or 'none'}"
        trained, by_lora = self.train.parts(), self.train.parts("lora")
        if not trained:
            yield f".train: expected at least one of {', '.join(PARTS)} as lora or full, found none"
        for part in trained:
            if part not in self.learning_rate:
                yield f".learning_rate.{part}: expected a rate, because train.{part} is {getattr(self.train, part)}"
        for part in self.learning_rate:
            if part not in trained and len(self.learning_rate) < len(PARTS):  # one number applies to all parts
                yield f".learning_rate.{part}: found a rate, but this stage does not train it"
        if self.heads is not None and not self.heads.words:
            for part in (one for one in ("language", "embeddings") if one in trained):
                yield f".heads.words: found 0, so nothing teaches train.{part}; leave it out, or give words a weight"
        if by_lora and self.lora is None:
            yield f".lora: expected rank and alpha, because train.{by_lora[0]} is lora, found nothing"
        if self.lora is not None and not by_lora:
            yield ".lora: found, but this stage trains no part by lora"
        for part in self.lora.targets if self.lora is not None and by_lora else ():
            if part not in by_lora:
                yield f".lora.targets.{part}: found, but train.{part} is not lora"


@dataclass(frozen=True)
class Validation(Settings):
    """Subjects that are never trained on; the score on their clips ends a stage and chooses the state to keep."""

    share: Annotated[float, number(0, 0.5), "share of each dataset's subjects; 0: none"] = 0.1
    subjects: Annotated[Subjects, "by dataset, in place of the share"] = field(default_factory=dict)
    examples: Annotated[Count, "most examples of one validation"] = 200
    by: Annotated[str, one_of(("score", "loss")), "score: of labels and units, where a stage asks for them"] = "score"


@dataclass(frozen=True)
class Running(Settings):
    """How the trainer runs: the section `trainer`."""

    batch_size: Annotated[Count, "examples at once on each device"] = 1
    accumulation: Annotated[Count, "batches of one optimiser step"] = 1
    gradient_checkpointing: Annotated[
        Flag, "compute activations twice and keep few: less memory, a third more time"
    ] = False
    workers: Annotated[int, count(0), "processes that draw the maps; 0: the training process"] = 0
    save_every: Annotated[Count, "steps between checkpoints"] = 100
    evaluate_every: Annotated[Count, "steps between validations"] = 100
    patience: Annotated[Count | None, "validations without a new best one until a stage ends; null: never"] = None
    max_grad_norm: Annotated[float, number(0), "gradients are scaled down to it; 0: never"] = 1.0
    weight_decay: Annotated[float, number(0), "of AdamW, on matrices"] = 0.0
    warmup: Annotated[float, number(0), "steps until the peak rate; below 1, their share of all steps"] = 0.03


@dataclass(frozen=True)
class Config(Settings):
    """A whole config."""

    base: Annotated[str, reader(_base), "model to be tuned: a folder, a hub id, or bundled"]
    output: Annotated[Text, "folder of the adapter, its checkpoints and curves"]
    stages: Annotated[tuple[Stage, ...], SomeOf, "in the order they are run"]
    revision: Annotated[Revision | None, "branch, tag or commit of base"] = None
    adapter: Annotated[Text | None, "adapter folder to start from; it must have the same parts and ranks"] = None
    seed: Annotated[int, count(0, 2**32 - 1), "of everything drawn: data, new weights, dropout"] = 0
    dtype: Annotated[
        str, one_of(DTYPES), "auto: on a GPU frozen weights in bfloat16 and trained ones in float32; on a CPU float32"
    ] = "auto"
    motion: Annotated[
        MotionSettings | None,
        reader(_motion),
        "how maps are drawn: a preset, a file or its values; off (here None): raw frames",
    ] = DEFAULT
    max_pixels: Annotated[
        Annotated[int, count(28 * 28)] | None, "an image of more pixels is reduced; none: the base's limit"
    ] = None
    validation: Annotated[Validation, "subjects kept for validation"] = Validation()
    leave_out: Annotated[Subjects, "by dataset, subjects that are not shown at all"] = field(default_factory=dict)
    logging: Annotated[str, one_of(LOGGERS), "beside curve.jsonl"] = "tensorboard"
    trust_remote_code: Annotated[Flag, "run Python code that comes with the base"] = False
    trainer: Annotated[Running, "how the trainer runs"] = Running()

    def contradictions(self) -> Iterator[str]:
        """Faults between the fields of a config whose stages are right by themselves."""
        if self.adapter is not None and self.full:
            yield "adapter: found, but no stage trains by lora; merge it with mellm export and use the outcome as base"

    @property
    def full(self) -> bool:
        """Whether the outcome is a whole model: no stage trains by lora. If not, it is an adapter."""
        return not any(stage.train.parts("lora") for stage in self.stages)

    def ways(self) -> dict[str, str]:
        """How each part is trained over all stages."""
        trained = {part: getattr(stage.train, part) for stage in self.stages for part in stage.train.parts()}
        return dict.fromkeys(PARTS, "none") | trained

    def lora(self, part: str) -> Lora | None:
        """The LoRA settings of a part; None if no stage trains it by lora."""
        return next((s.lora for s in self.stages if part in s.train.parts("lora")), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `read`."""
        plain = dataclasses.asdict(self)
        plain["motion"] = self.motion.to_dict() if self.motion else OFF
        if self.validation.subjects:  # share and subjects exclude each other
            del plain["validation"]["share"]
        found: dict[str, Any] = _without_unset(json.loads(json.dumps(plain)))
        return found


def _without_unset(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_unset(one) for key, one in value.items() if one is not None and one != {}}
    return [_without_unset(one) for one in value] if isinstance(value, list) else value


def load(path: Path, changes: Iterable[str] = ()) -> Config:
    """Load a config.

    Args:
        path: YAML.
        changes: `key=value` each, with a path such as `trainer.batch_size` or `stages[0].lora.rank` and a YAML
            value; they override the file.

    Raises:
        InputError: lists unknown keys, wrong values, contradictions, and datasets that are not prepared.
    """
    try:
        text = read_text(path, _LARGEST)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    try:
        given = _yaml(text)
    except (yaml.YAMLError, ValueError) as error:  # impossible dates and numbers raise ValueError
        raise InputError(f"expected YAML: {error}", where=str(path)) from error
    if not isinstance(given, dict):
        raise InputError(f"expected a mapping, found {type(given).__name__}", where=str(path))
    faults: list[str] = []
    for change in changes:
        try:
            _change(given, change)
        except ValueError as error:
            faults.append(f"--set {change}: expected {error}")
    return _checked(given, faults, str(path))


def read(given: Mapping[str, Any]) -> Config:
    """A config from plain values.

    Raises:
        InputError: lists every fault.
    """
    return _checked(given, [], "")


def _checked(given: Mapping[str, Any], faults: list[str], where: str) -> Config:
    config = attempt(Config, given, faults)
    # Check what belongs together on the parts that are right, so that one round reports everything.
    if isinstance(stages := given.get("stages"), list):
        faults += _faults_between([stage for one in stages if (stage := attempt(Stage, one))])
        faults += _data_faults(stages)
    base, adapter = given.get("base"), given.get("adapter")
    if isinstance(base, str):
        folder = Path(base).expanduser()
        if (folder / _ADAPTER).is_file() and not (folder / "config.json").is_file():
            faults.append(f"base: expected a model, found the adapter {base}; give its base, and it as adapter: {base}")
    if isinstance(adapter, str) and not (Path(adapter).expanduser() / _ADAPTER).is_file():
        faults.append(f"adapter: expected a folder with {_ADAPTER}, found none in {adapter}")
    if config is not None and config.validation.subjects and "share" in (given.get("validation") or {}):
        faults.append("validation: expected share or subjects, found both")
    if faults or config is None:
        raise InputError(faults, where)
    return config


_LARGEST = 1 << 20  # bytes of a config
_MOST_VALUES = 100_000


class _OnceOnly(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without duplicate keys; by default the last one would win silently."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str) or key in seen:
                fault = (
                    f"the key {key!r} appears twice"
                    if isinstance(key, str)
                    else f"expected a text as key, found {key!r}"
                )
                raise yaml.constructor.ConstructorError(None, None, fault, key_node.start_mark)
            seen.add(key)
        return dict(super().construct_mapping(node, deep))


# YAML 1.1 reads 1e-4, without a dot, as a text.
_OnceOnly.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+$"), [*"+-0123456789"]
)


def _yaml(text: str) -> Any:
    """Parse YAML.

    Raises:
        yaml.YAMLError: no YAML, more than 50 levels deep, or more than 100 000 values. Values behind an alias count
            each time: a few lines of nested aliases can exceed any memory.
    """
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []  # anchor of each level, and the number of values before it
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
    for depth, step in enumerate(steps, start=1):
        if not isinstance(at, dict | list):
            raise ValueError(f"a mapping or list above {step!r}, found {at!r}")
        if isinstance(at, list) and not (step.isdecimal() and int(step) < len(at)):
            raise ValueError(f"a number below {len(at)} in the place of {step!r}")
        place: Any = int(step) if isinstance(at, list) else step
        if depth == len(steps):
            at[place] = value
        elif isinstance(at, dict) and at.get(place) is None:
            at[place] = {}
        at = at[place]


def _faults_between(stages: Sequence[Stage]) -> list[str]:
    """Contradictions between stages, which together train one adapter or one model."""
    names = [stage.name for stage in stages]
    faults = [
        f"stages[{n}].heads.keep: found in {stage.name!r}, but later stages change what its heads read; keep those of "
        "the last stage"
        for n, stage in enumerate(stages[:-1])
        if stage.heads is not None and stage.heads.keep
    ]
    faults += [f"stages: the name {name!r} appears twice" for name in sorted({n for n in names if names.count(n) > 1})]
    first: dict[str, tuple[str, str, tuple[int, float, str] | None]] = {}
    for stage in stages:
        for part in stage.train.parts():
            way, lora = getattr(stage.train, part), stage.lora
            shape = (lora.rank, lora.alpha, lora.target(part)) if way == "lora" and lora is not None else None
            name, before, other = first.setdefault(part, (stage.name, way, shape))
            if way != before:
                faults.append(
                    f"stages: {part} is {before} in {name!r} and {way} in {stage.name!r}; expected one of the two"
                )
            elif shape != other:
                faults.append(
                    f"stages: the lora of {part} has rank, alpha, targets {other} in {name!r} and {shape} "
                    f"in {stage.name!r}; expected the same, for one adapter comes out"
                )
    whole = [part for part in ("language", "vision") if part in first and first[part][1] == "full"]
    by_lora = [part for part, (_, way, _) in first.items() if way == "lora"]
    if whole and by_lora:
        faults.append(
            f"stages: {whole[0]} is full and {by_lora[0]} is lora; expected either an adapter (lora; projector and "
            "embeddings may be full) or a whole model (full)"
        )
    return faults


def _data_faults(stages: Sequence[Any]) -> list[str]:
    """Missing datasets and splits of all readable stages."""
    faults: list[str] = []
    for index, stage in enumerate(stages):
        sources = stage.get("data") if isinstance(stage, Mapping) else None
        for place, source in enumerate(sources if isinstance(sources, list) else ()):
            path = f"stages[{index}].data[{place}]"
            name = source.get("dataset") if isinstance(source, Mapping) else None
            if not isinstance(name, str) or name == DRAWN or Source(name).faults():
                continue
            try:
                splits = store.read_info(name)["splits"]
            except (DataError, InputError) as error:
                faults.append(f"{path}.dataset: {error}")
                continue
            if isinstance(split := source.get("split"), str) and split not in splits:
                faults.append(f"{path}.split: {name} has {', '.join(splits)}, found {split!r}.{near(split, splits)}")
    return faults
