"""No cell runs as a formula."""

from __future__ import annotations

import pytest

from mellm_plugin.small_files import guarded


@pytest.mark.parametrize(
    "sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "﹦", "\t=", " \u200b=", "\ufeff=", "　＝"]
)
def test_no_cell_that_is_written_is_a_formula(sign: str) -> None:
    assert str(guarded(f"{sign}1+1")).startswith("'")
    assert (guarded("a=1"), guarded(-1.5), guarded(None), guarded("")) == ("a=1", -1.5, None, "")
