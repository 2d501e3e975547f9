"""The table of action units."""

from __future__ import annotations

import pytest

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.units import UNITS, unit, unit_named


def test_look_up_by_number_and_name() -> None:
    assert unit(12).name == "lip corner puller"
    assert unit_named(" Lip  Corner-Puller ") is unit(12)
    assert len({u.name for u in UNITS.values()}) == len(UNITS)
    assert all(u.number == number and u.region for number, u in UNITS.items())


def test_wrong_ones_list_the_near() -> None:
    with pytest.raises(CodeError, match="found 3"):
        unit(3)
    with pytest.raises(CodeError, match="Did you mean 'brow lowerer'"):
        unit_named("brow lower")
