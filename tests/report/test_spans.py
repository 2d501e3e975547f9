"""Marking what was read in an answer."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.report.spans import read_spans

GOLDEN = Path(__file__).parents[1] / "golden" / "read_spans.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"])
def test_what_was_read_is_marked(case: dict[str, Any]) -> None:
    spans = read_spans(case["text"], case["units"], case["label"], case["alone"])
    assert [case["text"][start:end] for start, end, _ in spans] == case["marked"]


WORDS = ("AU4", "AU12", "not", "no", "fear", "anger", "Conclusion:", ";", ".", "\n", "and", "lip corner puller", "7")


@given(st.lists(st.sampled_from(WORDS)))
@settings(max_examples=50)
def test_only_what_was_read_is_marked_and_nothing_twice(words: list[str]) -> None:
    text = " ".join(words)
    answer = read(text, LABELS["synthme"])
    spans = read_spans(text, answer.aus, answer.label)
    for start, end, kind in spans:
        said = text[start:end]
        if kind == "label":
            assert said == answer.label
        else:
            number = {"lip corner puller": 12}.get(said) or int(said.removeprefix("AU"))
            assert number in (answer.aus or ())
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
