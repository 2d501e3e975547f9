"""Settings from files and command lines: pydantic checks them, and one error reports every fault in plain words.

    @dataclass(frozen=True)
    class Lora(Settings):
        rank: Annotated[int, count(1), "rank of the matrices"]
        alpha: Annotated[float, number(0), "their sum is scaled by alpha / rank"] = 8.0

    read(Lora, {"rank": 0, "alhpa": 1}, where="my.yaml")
    InputError: my.yaml: 2 faults
      - rank: expected a whole number of at least 1, found 0
      - alhpa: no such key; known: rank, alpha. Did you mean 'alpha'?

A reader is a function of one value. It returns the value in its proper type, or raises ValueError(expected),
ValueError(expected, hint) or InputError.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, TypeVar, cast, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, PlainValidator, TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticCustomError, core_schema

from mellm_plugin.errors import InputError, near

T = TypeVar("T")


class Settings:
    """Base of a frozen dataclass whose annotations pydantic checks; a text in the annotation describes the field.

    A key that is not a field is a fault. For a field with a default, a value among `unset` means "not given".
    """

    unset: ClassVar[tuple[Any, ...]] = (None, {})
    __pydantic_config__ = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    def contradictions(self) -> Iterator[str]:
        """Faults between fields that are right by themselves; each begins with `.field: ` or with `: `."""
        yield from ()

    def faults(self) -> list[str]:
        """The faults of an instance that was made without `read`."""
        return fields_faults(self) or [fault.lstrip(".: ") for fault in self.contradictions()]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        absent = dataclasses.MISSING
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        optional = {f.name for f in fields if (f.default, f.default_factory) != (absent, absent)}

        def without_unset(given: Any) -> Any:
            if not isinstance(given, Mapping):
                return given
            return {key: value for key, value in given.items() if key not in optional or value not in cls.unset}

        def consistent(made: Settings) -> Settings:
            if found := tuple(made.contradictions()):
                raise _faulty(found)
            return made

        plain = core_schema.no_info_before_validator_function(without_unset, handler(source))
        return core_schema.no_info_after_validator_function(consistent, plain)


# What an annotation may say: Annotated[int, count(1)]


@dataclasses.dataclass(frozen=True, eq=False)
class _Checked:
    """A number or flag of exactly this type within bounds."""

    expected: str
    bounds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    off: float | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        def check(value: Any, validate: Callable[[Any], Any]) -> Any:
            if self.off is not None and value == self.off and not isinstance(value, bool):
                return value
            try:
                return validate(value)
            except ValidationError:
                raise ValueError(self.expected) from None

        return core_schema.no_info_wrap_validator_function(check, {**handler(source), "strict": True, **self.bounds})


def number(low: float, high: float = math.inf, *, above: bool = False, off: float | None = None) -> _Checked:
    """A finite number from `low` (not itself where `above`) to `high`, or `off`."""
    top = f" and at most {high:g}" if high < math.inf else ""
    expected = f"a number {'above' if above else 'of at least'} {low:g}{top}"
    if top and not above:
        expected = f"a number from {low:g} to {high:g}"
    expected = expected if off is None else f"{off:g}, or {expected}"
    return _Checked(expected, {"gt" if above else "ge": low, "le": min(high, sys.float_info.max)}, off)


def count(least: int, most: int | None = None) -> _Checked:
    """A whole number of at least `least` and at most `most`."""
    bounds = {"ge": least} if most is None else {"ge": least, "le": most}
    top = "" if most is None else f" and at most {most}"
    return _Checked(f"a whole number of at least {least}{top}", bounds)


def reader(read_one: Callable[[Any], Any]) -> PlainValidator:
    """A value that one function reads."""

    def check(value: Any) -> Any:
        try:
            return read_one(value)
        except InputError as error:
            raise _faulty(f": {fault}" for fault in error.faults) from None

    return PlainValidator(check)


def one_of(known: Sequence[str]) -> PlainValidator:
    """One of several names."""

    def check(value: Any) -> str:
        if value not in known:
            raise ValueError(f"one of {', '.join(known)}", near(value, known) if isinstance(value, str) else "")
        return str(value)

    return PlainValidator(check)


def text(value: Any) -> str:
    """A reader: a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text")
    return value


Text = Annotated[str, reader(text)]
Flag = Annotated[bool, _Checked("true or false")]


def read(kind: type[T], given: Any, where: str = "", error: type[InputError] = InputError) -> T:
    """Plain values -> an instance of `kind`; raises an InputError with all that is wrong, and `where` in front."""
    try:
        return cast(T, _adapter(cast(Any, kind)).validate_python(given))
    except ValidationError as found:
        raise error(faults(found, kind), where) from None


def attempt(kind: type[T], given: Any, faults: list[str] | None = None) -> T | None:
    """As `read`, but where something is wrong it adds the faults to a list and returns None."""
    try:
        return read(kind, given)
    except InputError as error:
        if faults is not None:
            faults += error.faults
        return None


def fields_faults(made: Any) -> list[str]:
    """The faults of a dataclass instance's own values, for its `__post_init__`; the values stay as they are."""
    kind: Any = type(made)
    try:
        _fields(kind).model_validate(vars(made))
        return []
    except ValidationError as found:
        return faults(found, kind)


def faults(error: ValidationError, kind: Any) -> list[str]:
    """Each fault of a pydantic error as `path: expected .., found ..`; `kind` is the class that was read."""
    found = error.errors(include_url=False)
    unknown = {one["loc"][:-1] for one in found if one["loc"][-1:] == ("[key]",)}  # their values do not matter
    return [fault for one in found if one["loc"] not in unknown for fault in _sentences(one, kind)]


def unknown_key(name: object, known: Iterable[str], what: str = "key") -> str:
    """The fault of a key that does not exist, with the keys that do and the nearest of them."""
    names = list(known)
    return f"{name}: no such {what}; known: {', '.join(names)}.{near(str(name), names)}"


def help_of(kind: Any) -> dict[str, str]:
    """The description of each field of a dataclass that has one."""
    hints = get_type_hints(kind, include_extras=True).items()
    return {name: one for name, hint in hints for one in getattr(hint, "__metadata__", ()) if isinstance(one, str)}


def short(value: object) -> str:
    """`repr` of a value in at most 80 characters."""
    try:
        shown = repr(value)
    except ValueError:  # Python refuses to print an integer of more than 4300 digits
        shown = "a number of thousands of digits"
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


_EXPECTED = {
    **dict.fromkeys(("dict_type", "mapping_type"), "a mapping"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list of at least one"),
    "string_type": "a text",
}
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden", "invalid_key")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _fields(kind: Any) -> type[BaseModel]:
    hints = get_type_hints(kind, include_extras=True)
    fields: dict[str, Any] = {f.name: (hints[f.name], ...) for f in dataclasses.fields(kind)}
    return create_model(kind.__name__, __config__=ConfigDict(arbitrary_types_allowed=True), **fields)


def _faulty(found: Iterable[str]) -> PydanticCustomError:
    return PydanticCustomError("faults", "faults", {"faults": tuple(found)})


def _sentences(error: Mapping[str, Any], kind: Any) -> Iterator[str]:
    *parents, last = error["loc"] or ("",)
    path, context = _path(error["loc"]), error.get("ctx", {})
    if error["type"] == "faults":
        yield from (f"{path}{fault}".lstrip(".: ") for fault in context["faults"])
    elif error["type"] in _UNKNOWN:
        known = dataclasses.fields(_class_at(kind, parents))
        yield _path(parents, unknown_key(last, (f.name for f in known)))
    elif error["type"] == "missing":
        described = help_of(_class_at(kind, parents)).get(last)
        yield f"{path}: expected {f'({described})' if described else 'a value'}, found nothing"
    elif error["type"] == "dataclass_type":
        names = (f.name for f in dataclasses.fields(_class_at(kind, error["loc"])))
        yield f"{path}: expected a mapping of {', '.join(names)}, found {short(error['input'])}"
    else:
        expected, hint = (*getattr(context.get("error"), "args", ()), "", "")[:2]
        expected = expected or _EXPECTED.get(error["type"], error["msg"])
        if last == "[key]":
            yield f"{_path(parents)}: no such key; known: {expected.removeprefix('one of ')}.{hint}"
        else:
            yield f"{path}: expected {expected}, found {short(error['input'])}{'.' if hint else ''}{hint}"


def _path(steps: Iterable[Any], *more: str) -> str:
    """`("stages", 0, "lora")` -> `stages[0].lora`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in (*steps, *more)).removeprefix(".")


def _class_at(kind: Any, steps: Iterable[Any]) -> Any:
    """The dataclass that a path leads to."""

    def within(annotation: Any) -> Any:
        if dataclasses.is_dataclass(annotation):
            return annotation
        return next((found for one in get_args(annotation) if (found := within(one)) is not None), None)

    for step in steps:
        if isinstance(step, str):
            kind = within(get_type_hints(kind, include_extras=True)[step])
    return kind
