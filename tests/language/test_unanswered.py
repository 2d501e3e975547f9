"""What stands in an answer's place: the texts of lmms-eval's models, and texts that only look like them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.language.unanswered import NO_TEXT, in_words, reasons_in_words, unanswered

_PLACES = {
    "": NO_TEXT,
    " \n\u200b\ufeff": NO_TEXT,
    "<|im_end|>\n<|endoftext|>": NO_TEXT,
    "</s>": NO_TEXT,
    'Error: can only concatenate str (not "NoneType") to str': NO_TEXT,
    '<tool_call>zoom {}</tool_call></tool_response>AU4can only concatenate str (not "NoneType") to str': NO_TEXT,
    "[LMMS_EVAL_REQUEST_FAILED after 5 retries] Error code: 503 - {'error': {'message': 'AU4'}}": "request failed "
    "(HTTP 503)",
    "[LMMS_EVAL_REQUEST_FAILED after 3 retries] 429 RESOURCE_EXHAUSTED. {'error': {'code': 429}}": "request failed "
    "(HTTP 429)",
    "[LMMS_EVAL_REQUEST_FAILED after 5 retries] Request timed out.": "request failed (timeout)",
    "[LMMS_EVAL_REQUEST_FAILED after 5 retries] Connection error.": "request failed (connection)",
    "[LMMS_EVAL_REQUEST_FAILED] 'NoneType' object is not subscriptable": "request failed",
    "[LMMS_EVAL_BUDGET_EXCEEDED]": "the token budget was spent",
    "[SAFETY_BLOCKED:finish_reason=SAFETY,HARM_CATEGORY_HARASSMENT=HIGH]": "held back by the provider's filter",
    "[GENERATION_FAILED] CUDA out of memory": "request failed",
    "[ERROR] Unknown": "request failed",
    "Batch failed": "request failed",
    "Video /clips/a b.mp4 can not load, check the source": "request failed",
    "<think>The brows, so AU4. The label is": "thoughts alone, with no answer behind them",
    "<think>AU4</think>\n<|im_end|>": "thoughts alone, with no answer behind them",
}


@pytest.mark.parametrize("text", _PLACES)
def test_what_stands_in_place_of_an_answer_has_its_reason(text: str) -> None:
    assert unanswered(text) == _PLACES[text]


@pytest.mark.parametrize(
    "text",
    [
        *("none", "AU4", "no", "...", "0", "[AU4, AU12]", "<think>AU4</think>AU4", "[negative]", "{}", "无"),
        *("I'm sorry, I cannot tell emotions from a face.", "Error", "[error] in the lower lip: AU15"),
        "The request failed to persuade me: the face shows AU9 [LMMS_EVAL_REQUEST_FAILED is no part of it].",
        "Batch failed to load in my mind, but AU12 is there.",
    ],
)
def test_an_answer_stays_one_however_little_it_says(text: str) -> None:
    assert unanswered(text) is None


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
