"""Reading answers: a golden corpus of many styles, and what must hold for any text."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.facs.labels import LABELS, coarse
from mellm_plugin.facs.units import OTHER_NAMES, UNITS
from mellm_plugin.language.answers import Answer, read
from mellm_plugin.language.descriptions import describe
from mellm_plugin.language.words import PHRASES


def rows_of(name: str) -> list[dict[str, Any]]:
    path = Path(__file__).parents[1] / "golden" / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_case(case: dict[str, Any]) -> Answer:
    labels = case["labels"]
    return read(case["answer"], LABELS[labels] if isinstance(labels, str) else labels, case.get("asks", "all"))


CORPUS = rows_of("answers.jsonl")
LABEL_LISTS = st.sampled_from(sorted(LABELS.values()))


@pytest.mark.parametrize(
    "case",
    [
        # strict: an answer that is read right after all leaves the list of those that are not
        pytest.param(case, marks=pytest.mark.xfail(reason=case["misread"], strict=True) if "misread" in case else ())
        for case in CORPUS
    ],
    ids=[case["note"] for case in CORPUS],
)
def test_golden(case: dict[str, Any]) -> None:
    answer = read_case(case)
    aus = None if case["aus"] is None else tuple(case["aus"])
    assert (answer.aus, answer.label, answer.coarse) == (aus, case["label"], case["coarse"]), case["note"]
    assert {str(unit): side for unit, side in answer.sides} == case.get("sides", {}), case["note"]
    if answer.aus is None and answer.label is None and answer.coarse is None:
        assert answer.unparsed


def test_at_most_one_in_a_hundred_is_misread() -> None:
    assert sum("misread" in case for case in CORPUS) <= 0.01 * len(CORPUS)


@pytest.mark.parametrize("case", rows_of("answer_reasons.jsonl"), ids=lambda case: case["answer"][-40:])
def test_reasons_corrections_and_bare_numbers(case: dict[str, Any]) -> None:
    """Why an answer is unread; what decides over a conclusion; where bare numbers are units: asked for them alone."""
    answer = read_case(case)
    found = {"aus": None if answer.aus is None else [*answer.aus], "label": answer.label, "unparsed": answer.unparsed}
    assert {**found, **case} == {**case, **found}


# Pieces that answers are made of, so that random texts reach every rule.
PIECES = st.sampled_from(
    [unit.name for unit in UNITS.values()]
    + [f"AU{n}" for n in (1, 4, 12, 26)]
    + sorted({label for labels in LABELS.values() for label in labels})
    + ["no", "not", "but", "is", "are", "absent", "present", "could", "none", "action units", "AU", "AUs", "emotion"]
    + ["expression:", "conclusion:", "final", "answer:", "so", "therefore", "and", "or", "<think>", "</think>", "px"]
    + [",", ".", ";", ":", "+", "/", "(", ")", "-", "|", "\n", "\n\n", "**", "[]"]
    + ["4", "7", "12C", "L14", "0", "99", "2.5", "3%", "0.7", "❶", "፩"]
    + sorted(OTHER_NAMES)
    + ["厌恶", "其他", "没有", "未", "不是", "只有", "可能", "动作单元", "表情", "和", "无", "，", "、", "。", "个"]
    + ["| au | present |\n|---|---|\n| 4 | 0 |\n| 7 | 1 |\n", "- [ ] ", "coarse", "fine", "(0.2)", "0.4", "off"]
    + ["left", "right", "on the", "side", "(left)", "image's", "both sides", "bilateral", "左侧", "L", "R12", "than"]
    + ["AU01_c: 0, ", "AU4_r: 0.2", "AU1,AU4\n0,1\n", "[AU1, AU2, AU4] = [0, 1, 0]", "[0, 1, 0]", "☐", "[x]", "[ ]"]
    + ['{"id": "AU4", "active": 0}', '{"AU12": {"present": true}}', "AU12 (3%)", "usually", "but rejected", "unclear"]
    + ["✗", "✓", "→", "?", "n", "yes", "none of", "inactive", "count", "number of", "secondary emotion", "i fear"]
)
PIECE_LISTS = st.lists(PIECES, max_size=40)
ANSWERS = st.one_of(st.text(max_size=300), PIECE_LISTS.map(" ".join), PIECE_LISTS.map("".join))
# What rule 2 lets decide behind a conclusion, which ends with its line: a correction, a final answer, another
# conclusion (two that differ are no answer); and rule 1: what stands in front of the end of thinking is no answer.
DECIDES = re.compile(
    rf"{'|'.join(p for kind in ('final', 'conclusion', 'correction') for p in PHRASES[kind].split(', '))}"
    r"|(?:actually|wait),? no|boxed|summary|think|thought|channel"
)
COMMENTS = ANSWERS.filter(lambda text: not DECIDES.search(unicodedata.normalize("NFKC", text).lower()))


@given(ANSWERS, LABEL_LISTS, st.sampled_from(["all", "aus"]))
@settings(max_examples=50, deadline=None)
def test_any_text_is_read_without_error_and_without_invention(text: str, labels: tuple[str, ...], asks: str) -> None:
    answer = read(text, labels, asks)
    assert answer.label is None or answer.label in labels
    if answer.label is not None and coarse(answer.label) is not None:
        assert answer.coarse == coarse(answer.label)
    plain = unicodedata.normalize("NFKC", text).lower()
    words = " ".join(re.findall("[a-z]+", plain))
    for unit in answer.aus or ():
        names = [name for name, number in OTHER_NAMES.items() if number == unit]
        named = any(name in words for name in [*names, *([UNITS[unit].name] if unit in UNITS else [])])
        assert named or re.search(rf"(?<![0-9])0?{unit}(?![0-9])", plain)
    assert {unit for unit, _ in answer.sides} <= {*(answer.aus or ())}
    assert {side for _, side in answer.sides} <= {*"LRAB"}
    told = re.search("[lr]|left|right|both|bilateral|symm|左|右|双|两|不", plain)
    assert told or not {*"LR"} & {side for _, side in answer.sides}
    nothing = answer.aus is None and answer.label is None and answer.coarse is None
    assert not nothing or answer.unparsed


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "L", "R"]), st.sampled_from([n for n in UNITS if n < 51])),
        unique_by=lambda coded: coded[1],
        max_size=6,
    ).map(lambda coded: [f"{side}{unit}" for side, unit in coded]),
    st.sampled_from(LABELS["synthme"]),
    ANSWERS,
    COMMENTS,
)
@settings(max_examples=50, deadline=None)
def test_our_own_form_is_read_whatever_is_thought_before_or_said_after_it(
    units: list[str], label: str, thought: str, comment: str
) -> None:
    text = describe([(unit, None) for unit in units], label)
    sides = sorted((int(unit[1:]), unit[0]) for unit in units if unit[0] in "LR")
    said = Answer(tuple(sorted(int(unit.strip("LR")) for unit in units)), label, coarse(label), None, tuple(sides))
    for given_text in (text, f"<think>{thought}</think>{text}", f"{text}\n{comment}"):
        assert read(given_text, LABELS["synthme"]) == said


@pytest.mark.parametrize(
    "piece",
    [
        *("AU4 ", "not (", "AU4 and ", "expression: ", "4+", "is fear, ", "AU ", "(", "a-", "\n", "no ", "no x, "),
        *("AU4-", "AU: 4 ", "4-", "fear 7%, ", "not x is x ", "? ", "none of AU4, "),
        *("，", "没有", "eyes left, ", "is ", "user: ", "AUs: 3.\n", "AU4: {1: 0, ", "au 4 (0.2) ", "80% fear "),
        "| au |\n|-|\n| 4 |\n",
        *('{"au": "AU4", "on": 1}', "AU1,AU4\n0,1\n", "[AU1,AU2,AU4] [0,1,0]", "[0,1,0", "[ ] ", "☐", "L4 and ", "4, "),
        *("AU4 usually ", "AU4 but rejected ", "AU4? Unclear. ", "AU1_c: 0, ", "AU4 (3%) ", "AU4 too. ", "=0,1,0"),
        *("left ", "left: AU4 ", "AU4 left, ", "left or ", "right of the ", "AU4 on the ", "side: left\n", "左"),
    ],
)
def test_work_is_linear_in_the_length(piece: str, executed_lines: Callable[[Callable[[], object]], int]) -> None:
    def steps(length: int) -> int:
        return executed_lines(lambda: read(piece * (length // len(piece)), LABELS["casme2"]))

    assert steps(3_000) <= 2.2 * steps(1_500)
