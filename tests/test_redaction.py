"""Keys disappear from every text, in every encoding; other words stay."""

from __future__ import annotations

import html
import json
import os
import string
import time
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from unittest.mock import patch
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.redaction import redacted, without_keys

GOLDEN = Path(__file__).parent / "golden"
KEYS = st.text(string.ascii_letters + string.digits + "-_./+=%\"'&", min_size=16, max_size=80).filter(
    lambda key: len(set(key)) > 8
)


@given(KEYS, st.text(max_size=20), st.text(max_size=20))
@settings(max_examples=20)
def test_a_known_key_disappears_in_every_encoding(key: str, before: str, behind: str) -> None:
    data = f"{before}{key}{behind}".encode("utf-8", "replace")
    encodings = {
        **{str(n): form for n, form in enumerate((key, json.dumps(key)[1:-1], html.escape(key), repr(key)[1:-1]))},
        **{"address": quote(key, safe=""), "form": quote_plus(key), "twice": json.dumps(json.dumps(key))[3:-3]},
        "base64": b64encode(key.encode()).decode()[:-4],
        "hex": key.encode().hex(),
        "code points": "".join(f"\\u{ord(c):04x}" for c in key),
        "cut": key[: len(key) // 2 + 1],
    }
    with patch.dict(os.environ, {"SOME_API_KEY": key}):
        for name, written in encodings.items():
            text = f"said <{before}> {written} {behind}"
            assert written not in without_keys(text).replace(before, "").replace(behind, ""), name
            assert redacted(redacted(text)) == redacted(text)
        for coded in (b64encode(data).decode(), urlsafe_b64encode(data).decode()):
            assert "[redacted]" in without_keys(coded)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Incorrect API key provided: abcd1234. You can", "Incorrect API key provided: [redacted] You can"),
        ('{"Authorization": "Bearer abc.def"}', '{"Authorization": "[redacted]"}'),
        ("{\\'api-key\\': \\'abcdef\\'}", "{\\'api-key\\': \\'[redacted]\\'}"),
        ("GET /v1?key=abcdef&x=1", "GET /v1?key=[redacted]&x=1"),
        ("GET /v1?sv=1&sig=a%2Bb%3D&x=1", "GET /v1?sv=1&sig=[redacted]&x=1"),
        ('{"Cookie": "a=bcdef; b=cdefg"}', '{"Cookie": "[redacted]"}'),
        ("no route to http://me:secret@host:8000/v1", "no route to http://[redacted]@host:8000/v1"),
        ("sk-ant-api03-abcdefgh", "[redacted]"),
        ("sk-proj-********abcd", "[redacted]"),
        ("token hf_abcdefghijklmnopqr", "token [redacted]"),
        ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-d", "[redacted]"),
        ("x 0123456789abcdef0123456789abcdef x", "x [redacted] x"),
    ],
)
def test_text_that_looks_like_a_key_disappears(text: str, expected: str) -> None:
    assert redacted(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens: 4096 is too large, prompt_tokens: 12; Unexpected token: <",
        "The model `gpt-4o-mini-2024-07-18` does not exist; Qwen2.5-VL-72B-Instruct-AWQ does",
        "The key to this face is the brow: lowered. Risk-taking, task-based, AU12/AU6 (basic emotions).",
        "the token of contempt: a lip corner; the bearer of it",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert redacted(text) == text


def test_descriptions_stay() -> None:
    for name in ("answers.jsonl", "claims.jsonl"):
        for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines()[::5]:
            case = json.loads(line)
            text = str(case.get("text") or case.get("answer"))
            assert redacted(text) == text.encode("utf-8", "replace").decode()


def test_placeholders_and_flags_are_no_keys() -> None:
    with patch.dict(os.environ, {"OPENAI_API_KEY": "EMPTY", "TOKENIZERS_PARALLELISM": "contempt"}):
        assert redacted("EMPTY face, contempt") == "EMPTY face, contempt"


@pytest.mark.parametrize(
    "part", ["a-", "eyJ", "sk-", "://", "Bearer ", "api-key ", "-----BEGIN PRIVATE KEY-----", "a1", " "]
)
def test_time_is_linear(part: str) -> None:
    def seconds(length: int) -> float:
        began = time.process_time()
        redacted(part * (length // len(part)))
        return time.process_time() - began

    assert seconds(160_000) < 10 * seconds(20_000) + 0.1
