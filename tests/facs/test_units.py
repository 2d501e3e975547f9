"""The table of action units."""

from __future__ import annotations

import pytest

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.units import UNITS, unit


def test_units_have_a_number_a_name_of_their_own_and_a_region() -> None:
    assert unit(12).name == "lip corner puller"
    assert len({u.name for u in UNITS.values()}) == len(UNITS)
    assert all(u.number == number and u.region for number, u in UNITS.items())


def test_an_unknown_number_is_refused() -> None:
    with pytest.raises(CodeError, match="found 3"):
        unit(3)
