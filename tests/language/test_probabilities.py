"""Probabilities behind an answer: what is written is read, and whatever else stands there is no answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.language.probabilities import MARK, apart, heads_apart, with_heads, with_probabilities
from mellm_plugin.language.short_answers import label_answer

SHARES = st.lists(st.floats(0.001, 1), min_size=2, max_size=8).map(lambda some: [one / sum(some) for one in some])


@given(SHARES, st.sampled_from(["en", "zh"]))
def test_what_is_written_is_read(shares: list[float], language: str) -> None:
    labels = LABELS["synthme"][: len(shares)]
    text = with_probabilities(label_answer(labels[-1], language), dict(zip(labels, shares, strict=True)))
    answer, found = apart(text.strip())  # lmms-eval strips answers
    assert answer == label_answer(labels[-1], language)
    assert found is not None and list(found) == list(labels)
    assert list(found.values()) == pytest.approx(shares, abs=1e-6)
    assert read(text, labels, "emotion") == read(answer, labels, "emotion")
    assert read(text, labels, "emotion").label == labels[-1]


@given(st.text() | st.text().map(lambda text: f"fear\n{MARK} {text}"))
def test_no_text_breaks_the_reader(text: str) -> None:
    answer, found = apart(text)
    assert text.startswith(answer)
    assert found is None or abs(sum(found.values()) - 1) < 0.02


@pytest.mark.parametrize(
    "behind",
    [
        *("", "{", "[1]", "{}", "3", '{"fear": 0.5}', '{"fear": 1.5, "anger": -0.5}', '{"fear": true}'),
        *('{"fear": NaN}', '{"fear": "1"}', '{"fear": 1, "anger": 0}}'),
    ],
)
def test_a_broken_line_is_missing_and_no_answer(behind: str) -> None:
    assert apart(f"fear\n{MARK} {behind}") == ("fear", None)


def test_words_about_the_mark_are_words() -> None:
    for text in ("fear", f"they write {MARK} behind it", f"fear\n{MARK} {{}}\nand more"):
        assert apart(text) == (text, None)


@pytest.mark.parametrize("answer", ["fear", "", 'fear\n[MELLM_PROBABILITIES] {"fear": 1.0}', "two\nlines"])
def test_the_answer_of_heads_stands_apart(answer: str) -> None:
    of_heads = with_probabilities("Conclusion: action units AU4; expression: anger.", {"anger": 0.6, "fear": 0.4})
    text = with_heads(answer, of_heads)
    assert heads_apart(text) == (answer, of_heads)
    assert heads_apart(answer) == (answer, None)
    assert heads_apart(f"{answer}\n[MELLM_HEADS] no text")[1] is None
    assert read(text, ("anger", "fear")).label == read(answer, ("anger", "fear")).label
