"""The words of answers."""

from __future__ import annotations

from mellm_plugin.language.words import PHRASES


def test_no_phrase_is_of_two_kinds() -> None:
    phrases = [phrase for some in PHRASES.values() for phrase in some.split(", ")]
    assert len(phrases) == len(set(phrases))
