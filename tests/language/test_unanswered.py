"""What stands in an answer's place: the texts of lmms-eval's models, and texts that only look like them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.language.unanswered import NO_TEXT, in_words, reasons_in_words, unanswered

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "golden" / "unanswered.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["text"])
def test_what_stands_in_place_of_an_answer_has_its_reason_and_an_answer_none(row: dict[str, str | None]) -> None:
    assert unanswered(str(row["text"])) == row["why"]


@given(st.text(max_size=80), st.text(st.characters(categories=["Nd", "Lu"]), min_size=1, max_size=4))
def test_nothing_of_what_a_server_said_is_in_the_reason_but_its_status(said: str, answer: str) -> None:
    why = unanswered(f"[LMMS_EVAL_REQUEST_FAILED after 2 retries] {said} sk-{answer}secret")
    assert why is not None and why.startswith("request failed") and "secret" not in why
    unanswered(said)  # never an error
    assert unanswered(f"AU4 {answer}") is None


def test_reasons_are_counted_the_most_frequent_first() -> None:
    assert reasons_in_words([None, NO_TEXT, "request failed", NO_TEXT]) == "no text: 2, request failed: 1"


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("AU4", "AU4"),
        (None, ""),
        ([{"type": "thinking", "thinking": "AU1", "text": "AU1"}, {"type": "text", "text": "AU4"}], "AU4"),
        ([{"type": "output_text", "text": "AU4; "}, "disgust", {"type": "image_url", "image_url": {}}], "AU4; disgust"),
        ({"text": "AU4"}, "AU4"),
        ([], ""),
        (12, "12"),
    ],
)
def test_a_message_in_parts_is_the_text_of_them(sent: object, text: str) -> None:
    assert in_words(sent) == text
