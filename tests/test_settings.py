"""Settings that pydantic checks: every fault at once, with its path, what was expected, what was found, a near name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest

from mellm_plugin.errors import SettingsError
from mellm_plugin.settings import Flag, Settings, Text, attempt, count, number, one_of, read, reader


def _even(value: Any) -> int:
    if value == 7:
        raise SettingsError(["x: expected 1", "y: expected 2"])
    if value % 2:
        raise ValueError("an even number", " Did you mean 8?")
    return int(value)


@dataclass(frozen=True)
class Inner(Settings):
    rank: Annotated[int, count(1, 9), "rank of the matrices"]
    rate: Annotated[float, number(0, 1, above=True)] = 0.5


@dataclass(frozen=True)
class Outer(Settings):
    name: Text
    inner: tuple[Inner, ...]
    one: Inner | None = None
    side: Annotated[float, number(32, 64, off=0)] = 32
    flag: Flag = False
    kind: Annotated[str, one_of(("lora", "full"))] = "lora"
    even: Annotated[int, reader(_even)] = 2
    shares: Mapping[Annotated[str, one_of(("label", "units"))], Annotated[float, number(0)]] = field(
        default_factory=dict
    )

    def contradictions(self) -> Iterator[str]:
        """Faults between the fields."""
        if self.flag and self.one is not None:
            yield ".one: found, but flag is true"


GOOD: dict[str, Any] = {"name": "a", "inner": [{"rank": 1}]}


def test_values_get_their_types_and_unset_ones_their_defaults() -> None:
    given = {**GOOD, "one": None, "side": 0, "kind": None, "shares": {"label": 1}}
    assert read(Outer, given) == Outer("a", (Inner(1, 0.5),), side=0, shares={"label": 1.0})


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            {"naem": 1},
            "naem: no such key; known: name, inner, one, side, flag, kind, even, shares. Did you mean 'name'?",
        ),
        ({"name": " "}, "name: expected a text, found ' '"),
        ({"inner": [{"rate": 1}]}, "inner[0].rank: expected (rank of the matrices), found nothing"),
        ({"inner": [{"rank": 1}, 3]}, "inner[1]: expected a mapping of rank, rate, found 3"),
        ({"inner": 3}, "inner: expected a list of at least one, found 3"),
        ({"one": {"rank": True}}, "one.rank: expected a whole number of at least 1 and at most 9, found True"),
        ({"one": {"rank": 1, "rate": 0}}, "one.rate: expected a number above 0 and at most 1, found 0"),
        ({"side": 10**5000}, "side: expected 0, or a number from 32 to 64, found a number of thousands of digits"),
        ({"side": float("nan")}, "side: expected 0, or a number from 32 to 64, found nan"),
        ({"side": False}, "side: expected 0, or a number from 32 to 64, found False"),
        ({"flag": 1}, "flag: expected true or false, found 1"),
        ({"kind": "lroa"}, "kind: expected one of lora, full, found 'lroa'. Did you mean 'lora'?"),
        ({"even": 3}, "even: expected an even number, found 3. Did you mean 8?"),
        ({"shares": {"lable": 1}}, "shares.lable: no such key; known: label, units. Did you mean 'label'?"),
        ({"shares": [1]}, "shares: expected a mapping, found [1]"),
        ({"flag": True, "one": {"rank": 1}}, "one: found, but flag is true"),
    ],
)
def test_each_fault_in_words(given: dict[str, Any], fault: str) -> None:
    faults: list[str] = []
    assert attempt(Outer, {**GOOD, **given}, faults) is None
    assert faults == [fault]


def test_all_faults_come_at_once_and_name_the_file() -> None:
    with pytest.raises(SettingsError) as error:
        read(Outer, {"naem": "a", "inner": [{"rank": 0, "x": 1}], "even": 7}, "my.yaml", SettingsError)
    assert error.value.where == "my.yaml" and len(error.value.faults) == 6
    assert {"even: x: expected 1", "even: y: expected 2"} <= {*error.value.faults}


def test_an_instance_tells_its_own_faults() -> None:
    assert Inner(1).faults() == [] and Outer("a", (), Inner(1), flag=True).faults() == ["one: found, but flag is true"]
    assert Inner(0, 3).faults() == [
        "rank: expected a whole number of at least 1 and at most 9, found 0",
        "rate: expected a number above 0 and at most 1, found 3",
    ]
