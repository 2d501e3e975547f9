"""Canonical codes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.codes import ActionUnit, numbers, parse_canonical


@given(
    st.lists(st.integers(1, 99), min_size=1, max_size=3),
    st.sampled_from([None, *"LRABT"]),
    st.sampled_from([None, *"ABCDE"]),
)
def test_round_trip(units: list[int], side: str | None, intensity: str | None) -> None:
    code = ActionUnit(tuple(units), side, intensity)
    assert parse_canonical(str(code)) == code


@given(st.text(max_size=8))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        code = parse_canonical(text)
    except CodeError:
        return
    assert code.alternatives == tuple(int(digits) for digits in re.findall(r"\d+", text))


def test_all_unreadable_codes_at_once() -> None:
    with pytest.raises(CodeError) as caught:
        numbers(["12", "R6 or R12", "", "6/12"])
    assert len(caught.value.faults) == 2
