"""Where in an answer the words are that were read. Only for highlighting, never for scoring.

    read_spans("Reasoning: AU4 lowers.\\nConclusion: action units AU4+AU7; expression: fear.", (4, 7), "fear")
      -> [(46, 49, "unit"), (50, 53, "unit"), (67, 71, "label")]

The reader of answers normalises the text first, so its offsets do not fit the answer. This module searches again for
what was read: in the last conclusion if it is there, else in the whole text. If no words name it, nothing is marked.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from mellm_plugin.facs.labels import spellings
from mellm_plugin.facs.units import OTHER_NAMES, UNITS

Span = tuple[int, int, str]

_CONCLUSION = re.compile(r"(?:final answer|conclusions?|answer|结论|結論|答案)\W{0,6}[:：]", re.IGNORECASE)
_HEAD = r"(?:\baus?|\baction\s+units?|动作单元|動作單元)"
# numbers in a row behind their head: "AU4+AU7", "AUs: 4, 7 and 12", "action units L4 (left), R7"
_RUN = re.compile(
    rf"{_HEAD}[\s:：#*_=-]*(?:[lr]?\d{{1,2}}[a-e]?\b(?:\s*\([^()]*\))?(?:[\s,，、;+/&*_]|and\b|{_HEAD}[\s:#*_-]*)*)+",
    re.IGNORECASE,
)
_ALONE = re.compile(r"(?<![\w.])[lr]?(\d{1,2})[a-e]?(?![\w.%])", re.IGNORECASE)
_BRACKETS = re.compile(r"\([^()]*\)")
_NUMBER = re.compile(r"\d{1,2}")
_DENIED = re.compile(
    r"(?:\b(?:no|not|without|neither|nor|never|isn't|than)\b|不是|没有|無|无)(?:(?!\bbut\b)[^.,;:\n]){0,24}$",
    re.IGNORECASE,
)


def read_spans(text: str, units: Collection[int] | None, label: str | None, units_alone: bool = False) -> list[Span]:
    """Start, end and kind (`unit` or `label`) of what was read, ascending, without overlaps.

    Args:
        text: the answer as the model gave it.
        units, label: what was read in it.
        units_alone: plain numbers are units.
    """
    starts = [match.start() for match in _CONCLUSION.finditer(text)]
    places = (*reversed(starts[-2:]), 0)
    of_units = (_units(text, start, units, units_alone) for start in places) if units else ()
    of_label = (_labels(text, start, label) for start in places) if label else ()
    every = [*next(filter(None, of_units), []), *next(filter(None, of_label), [])]
    found: list[Span] = []
    for span in sorted(every, key=lambda one: (one[0], -one[1])):
        if not found or span[0] >= found[-1][1]:
            found.append(span)
    return found


def _units(text: str, start: int, units: Collection[int], alone: bool) -> list[Span]:
    found: list[Span] = []
    for run in _RUN.finditer(text, start):
        glosses = [gloss.span() for gloss in _BRACKETS.finditer(text, *run.span())]
        for number in _NUMBER.finditer(text, *run.span()):
            within = any(low <= number.start() < high for low, high in glosses)
            if int(number[0]) in units and not within and not _denied(text, start, run.start()):
                found.append((_with_head(text, number.start()), number.end(), "unit"))
    if alone and not found:
        found += [(*match.span(), "unit") for match in _ALONE.finditer(text, start) if int(match[1]) in units]
    matches = (match for unit in units for match in _names(unit).finditer(text, start))
    return found + [(*match.span(), "unit") for match in matches if not _denied(text, start, match.start())]


def _with_head(text: str, number: int) -> int:
    """Start of the "AU" right before a number; if there is none, start of the number."""
    head = re.search(r"au[\s-]?[lr]?$", text[max(0, number - 5) : number], re.IGNORECASE)
    return number - len(head[0]) if head else number


def _labels(text: str, start: int, label: str) -> list[Span]:
    spans = [match.span() for match in _spellings(label).finditer(text, start)]
    kept = [span for span in spans if not _denied(text, start, span[0])]
    return [(*span, "label") for span in (kept[:1] if start else kept[-1:])]


def _denied(text: str, start: int, place: int) -> bool:
    return _DENIED.search(text[max(start, place - 40) : place]) is not None


@lru_cache(maxsize=256)
def _names(unit: int) -> re.Pattern[str]:
    names = [name for name, number in OTHER_NAMES.items() if number == unit]
    names += [UNITS[unit].name] if unit in UNITS else []
    some = "|".join(re.escape(name).replace(r"\ ", r"[\s-]+") for name in names)
    return re.compile(rf"\b(?:{some})s?\b" if some else r"(?!)", re.IGNORECASE)


@lru_cache(maxsize=256)
def _spellings(label: str) -> re.Pattern[str]:
    words = sorted(spellings(label), key=len, reverse=True)
    some = "|".join(re.escape(word) if word.isascii() else word for word in words)
    return re.compile(rf"(?<![^\W_])(?:{some})(?![a-z])", re.IGNORECASE)
