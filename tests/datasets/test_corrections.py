"""Corrections of known errors: which one concerns a clip, and that the shipped ones can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from mellm_plugin.datasets import corrections
from mellm_plugin.datasets.catalogue import CONVERTED
from mellm_plugin.datasets.corrections import FIELDS, Correction, Corrections, shipped

FILES = sorted((Path(corrections.__file__).parent / "corrections").glob("*.csv"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_shipped_ones_say_what_why_and_of_whom(file: Path) -> None:
    assert file.stem in CONVERTED
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "id,field,old,new,reason" and len(lines) > 1
    for one in shipped(file.stem)._all:
        assert one.id.startswith(f"{file.stem}/") and one.field in FIELDS and len(one.reason) > 10
        if one.old == "outside":
            assert (one.field, one.new) == ("offset", "last")
        elif one.field not in ("emotion", "au_code"):
            assert one.new == "" or one.new.isdigit() or (one.field, one.new) == ("apex", "spotted")


def test_a_correction_is_of_one_value() -> None:
    one = Correction("casme2/sub01/EP02_01f", "apex", "59", "60", "a slip")
    found = Corrections([one])
    assert found.find("casme2/sub01/EP02_01f", "apex", 59) is one
    for clip, field, value in (
        ("casme2/sub01/EP02_01f", "apex", 60),  # corrected in the sheet by now
        ("casme2/sub01/EP02_01f", "onset", 59),
        ("casme2/sub01/EP02_02f", "apex", 59),
        ("casme2/sub01/EP02_01f", "apex", None),
    ):
        assert found.find(clip, field, value) is None
    record = one.applied_to("casme2/sub01/EP02_01f", 59)
    assert record == {"id": one.id, "field": "apex", "old": "59", "new": "60", "reason": "a slip"}
