"""The words of a training answer that decide: labels, units and their sides, directions, yes or no.

    deciding("action units AU4+AU10 (left)")  ->  ((13, 16), (17, 21), (23, 27))      AU4, AU10, left

Everything else is the frame around them: it can be written without looking at the picture.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from mellm_plugin.facs.labels import COARSE
from mellm_plugin.language.lexicon import LANGUAGES, direction_words, in_language
from mellm_plugin.motion.colour import DIRECTIONS

Span = tuple[int, int]
"""First character, and the one behind the last."""

_WORDS = (
    *("yes", "no visible motion", "no", "not clearly one way", "none"),
    *("inwards", "outwards", "towards each other", "apart"),
    *("是", "否", "无", "看不到运动", "方向不明确", "向内", "向外", "抿紧", "左侧", "右侧"),
)
_UNIT = r"AU\d+"
_PLACE = r"(?<!image's )(?<!图像)"  # behind these, a side says where, not which way


def deciding(answer: str, names: Collection[str] = ()) -> tuple[Span, ...]:
    """Where the words that decide are; `names` are labels, or other words that decide this answer, in English."""
    return tuple(found.span() for found in _pattern(tuple(sorted({*names, *COARSE}))).finditer(answer))


@lru_cache(maxsize=64)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    words = {in_language(name, language) for name in names for language in LANGUAGES}
    words |= {direction_words(way, language) for way in DIRECTIONS for language in LANGUAGES}
    longest_first = sorted({*words, *_WORDS}, key=lambda word: (-len(word), word))
    # A word of Latin letters ends where they end; Chinese has no such border.
    known = (rf"(?<![\w-]){re.escape(w)}(?![\w-])" if w.isascii() else re.escape(w) for w in longest_first)
    return re.compile(f"{_UNIT}|{_PLACE}(?:{'|'.join(known)})")
