"""Marking what was read in an answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.report.spans import read_spans

CONCLUSION = "AU4 lowers.\nConclusion: action units AU4+AU7; expression: fear."


@pytest.mark.parametrize(
    "text, units, label, alone, marked",
    [
        (CONCLUSION, (4, 7), "fear", False, ["AU4", "AU7", "fear"]),
        ("AUs: 4, 7 and 12 (3 px). Not fear but Happy.", (4, 7, 12), "happiness", False, ["4", "7", "12", "Happy"]),
        ("4, 7", (4, 7), None, True, ["4", "7"]),
        ("the brow lowerer and the dimpler", (4, 14), None, False, ["brow lowerer", "dimpler"]),
        ("no AU4, but AU 12", (12,), None, False, ["AU 12"]),
        ("fear? anger! In the end: anger", (), "anger", False, ["anger"]),
        ("动作单元: 4, 7; 表情: 厌恶", (4, 7), "disgust", False, ["4", "7", "厌恶"]),
        ("AU4 and anger", None, None, False, []),
        ("", (4,), "fear", False, []),
    ],
)
def test_what_was_read_is_marked(
    text: str, units: tuple[int, ...] | None, label: str | None, alone: bool, marked: list[str]
) -> None:
    spans = read_spans(text, units, label, alone)
    assert [text[start:end] for start, end, _ in spans] == marked


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
