"""Where an answer begins behind thoughts: the marks of public models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.language.thinking import without_thinking

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "golden" / "thinking.jsonl").read_text(encoding="utf-8").splitlines()
]
MARKS = [(row["opening"], row["closing"]) for row in ROWS if "opening" in row]


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_marks_of_public_models(opening: str, closing: str) -> None:
    assert without_thinking(f"{opening}AU4? No: AU9.{closing}AU12, Happiness.") == "AU12, Happiness."
    if opening[0] in "<◁[":  # opened by the template, or cut off
        assert without_thinking(f"AU4? No: AU9.{closing}AU12") == "AU12"
        assert without_thinking(f"{opening}AU4? No: AU9, so") == without_thinking(f"{opening}AU4?{closing}") == ""


@pytest.mark.parametrize("row", [row for row in ROWS if "text" in row], ids=lambda row: row["text"])
def test_several_blocks(row: dict[str, str]) -> None:
    assert without_thinking(row["text"]) == row["answer"]


@given(st.text(), st.lists(st.sampled_from([mark for pair in MARKS for mark in pair] + [" AU4 ", "\n"]), max_size=9))
def test_any_text(text: str, parts: list[str]) -> None:
    whole = text.join(parts)
    answer = without_thinking(whole)
    assert answer in whole and answer == answer.strip()
