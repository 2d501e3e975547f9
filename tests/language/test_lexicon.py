"""Words of instructions and answers in both languages."""

from __future__ import annotations

from mellm_plugin.facs.labels import LABELS
from mellm_plugin.facs.units import UNITS
from mellm_plugin.language.descriptions import STRENGTHS
from mellm_plugin.language.lexicon import in_language
from mellm_plugin.language.words import PHRASES
from mellm_plugin.motion.colour import PALETTES


def test_every_word_has_a_chinese_one() -> None:
    words = {u.region for u in UNITS.values()} | {u.motion for u in UNITS.values()}
    words |= {colour.name for palette in PALETTES.values() for colour in palette}
    words |= {label for labels in LABELS.values() for label in labels} | {word for _, word in STRENGTHS}
    assert {word for word in words if word and in_language(word, "zh") == word} == set()
    assert {in_language(word, "en") for word in words} == words


def test_no_phrase_of_answers_is_of_two_kinds() -> None:
    phrases = [phrase for some in PHRASES.values() for phrase in some.split(", ")]
    assert len(phrases) == len(set(phrases))
