from __future__ import annotations

import pytest

from mellm_plugin.cli.options import COLUMNS, pairs
from mellm_plugin.errors import InputError


def test_keys_and_values_of_an_option() -> None:
    given = ["subject=sub, no. 2,clip = material", "onset=起始 帧"]
    assert pairs(given, "--columns", COLUMNS) == {"subject": "sub, no. 2", "clip": "material", "onset": "起始 帧"}
    with pytest.raises(InputError) as refused:
        pairs(["subject", "=x", "clip=", "onset=a,onset=b"], "--columns", COLUMNS)
    assert [fault[:25] for fault in refused.value.faults[:3]] == ["expected KEY=HEADER, such"] * 3
    assert refused.value.faults[3] == "expected 'onset' once, found onset=a and onset=b"
