"""Plain text of answers: cleaning takes time linear in the length."""

from __future__ import annotations

import time

import pytest

from mellm_plugin.language.plain_text import plain_text

PIECES = (
    *("-", "|-", " ", "*", "\n", ":", "? ", "user ", "a.", "- [", '"', "4 , ", "<think", "units ", "4️⃣", "{", "[0,1"),
    *(": [ ] ", "~~", "'"),
)


@pytest.mark.parametrize("around", ["{}", "|a\n|{}x", "\n{}x", "<|channel|>{}"])
def test_long_texts_are_cleaned_without_backtracking(around: str) -> None:
    for piece in PIECES:
        text = around.format(piece * (30_000 // len(piece)))
        started = time.process_time()
        assert len(plain_text(text)) <= 4 * len(text)
        assert time.process_time() - started < 3, piece  # a few hundredths; quadratic work would take far longer
