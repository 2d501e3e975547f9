"""Answers to the questions of the challenge: yes or no, left or right, and lists of units."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.facs.units import OTHER_NAMES, UNITS
from mellm_plugin.language.vqa_answers import in_order_of, read_shown, read_side, read_units, vqa_reading

NAMES = {unit.name: unit.number for unit in UNITS.values()} | OTHER_NAMES
CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "golden" / "vqa_answers.jsonl").read_text(encoding="utf-8").splitlines()
]
LABELS = ("negative", "positive", "surprise"), ("disgust", "fear", "happiness", "others", "repression", "sadness")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']}: {case['answer'][:40]}")
def test_golden(case: dict[str, Any]) -> None:
    """`kind` of the question (`yes_no`: is the `unit`, else 4, shown?), `answer`, and what is `read`; null: nothing."""
    kind = case["kind"]
    read = vqa_reading(case["answer"], "unit" if kind == "yes_no" else kind, *LABELS, unit=case.get("unit", 4))
    (value,) = read.values()
    assert ({True: "yes", False: "no", None: None}[value] if kind == "yes_no" else value) == case["read"]


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80), st.sampled_from(("<think>", "[THINK]", "◁think▷", "<thinking>")))
def test_a_thought_that_was_cut_off_is_no_answer(thought: str, mark: str) -> None:
    for kind in ("unit", "side", "coarse", "fine", "units", "combined"):
        assert set(vqa_reading(f"{mark} Yes, AU4 on the left: negative, disgust", kind, *LABELS, 4).values()) == {None}
    if "hink" not in thought.lower() and "|" not in thought and "[" not in thought and "<" not in thought:
        assert read_shown(f"{mark}{thought}{mark[0]}/{mark[1:]}No", 4) is False


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.sampled_from(("yes", "no", "left,", "right", "not", "但", "没有", "?", "wait,", "or", "(")), max_size=400
    )
)
def test_any_words_are_read(words: list[str]) -> None:
    assert read_side(" ".join(words)) in ("left", "right", "both", None)
    assert read_shown(" ".join(words), 4) in (True, False, None)


def test_a_long_blank_stretch_takes_no_time() -> None:
    for blank in ("\n", "\n ", "\r\n", " "):
        answer = f"a{blank * 20_000}yes, on the left"  # a minute, where each line break looks for what follows it
        started = time.process_time()
        assert read_side(answer) == "left" and read_shown(answer, 4) is True
        assert time.process_time() - started < 10


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=5), st.sampled_from([str.lower, str.capitalize]))
def test_every_name_of_a_unit_is_read_in_a_list(names: list[str], case: object) -> None:
    assert callable(case)
    listed = list(dict.fromkeys(NAMES[name] for name in names))
    assert read_units(", ".join(map(case, names))) == sorted(listed)
    assert in_order_of(", ".join(map(case, names)), sorted(listed)) == listed


def test_what_is_read_depends_on_the_kind_of_question() -> None:
    answer = "Yes: negative, disgust, brow lowerer, on the left"
    read = [vqa_reading(answer, kind, *LABELS, unit=4) for kind in ("coarse", "unit", "side", "other")]
    assert read == [{"coarse": "negative"}, {"shown": True}, {"side": "left"}, {}]
    assert vqa_reading("", "combined", *LABELS) == {"coarse": None, "fine": None, "units": None}
