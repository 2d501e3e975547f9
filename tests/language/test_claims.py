"""Claims read from free text: our own descriptions exactly, the golden corpus, and no invention in any text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.facs.units import UNITS
from mellm_plugin.language.claim_words import _MOTIONS, _PHRASES, _REGIONS
from mellm_plugin.language.claims import claims
from mellm_plugin.language.descriptions import describe, directions
from mellm_plugin.motion.colour import PALETTES


def rows_of(name: str) -> list[dict[str, Any]]:
    path = Path(__file__).parents[1] / "golden" / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


GOLDEN = rows_of("claims.jsonl")
SAID = {"far down": "down", "towards each other": "together", "down, then up": "", "apart": "apart"}
"""What the table's words without a direction are read as."""

Said = tuple[str, str | None, str]


def said(text: str) -> set[Said]:
    return {(one.region, one.side, one.motion) for one in claims(text)}


def implied(code: str) -> set[Said]:
    """What `describe` says of a code."""
    parsed = parse_canonical(code)
    unit = UNITS[parsed.alternatives[0]]
    if not unit.motion:
        return set()
    if parsed.side not in ("L", "R"):
        motion = SAID.get(unit.motion, unit.motion)
        return {(unit.region, None, motion)} if motion else set()
    side, half = ("right", 1) if parsed.side == "L" else ("left", -1)
    direction = directions(unit.motion, half)
    motion = direction.name.replace("-", " and ") if direction else SAID.get(unit.motion, unit.motion)
    return {(unit.region, side, motion)} if motion else set()


CODES = st.lists(
    st.tuples(
        st.builds("{}{}".format, st.sampled_from(["", "L", "R"]), st.sampled_from(sorted(UNITS))),
        st.sampled_from([None, 0.4, 1.0, 2.5]),
    ),
    unique_by=lambda coded: int(coded[0].lstrip("LR")),
    max_size=6,
)


@given(CODES, st.sampled_from(LABELS["synthme"]), st.sampled_from(sorted(PALETTES)))
@settings(deadline=None)
def test_our_own_descriptions_are_read_back(codes: list[tuple[str, float | None]], label: str, palette: str) -> None:
    expected = set().union(*(implied(code) for code, _ in codes))
    text = describe(codes, label, palette)
    assert said(text) == expected
    assert all(claim.certain for claim in claims(text))


def test_golden_corpus() -> None:
    wrong = [row["text"] for row in GOLDEN if said(row["text"]) != {tuple(claim) for claim in row["claims"]}]
    assert sorted(wrong) == sorted(row["text"] for row in GOLDEN if "misread" in row)
    assert len(wrong) <= 0.05 * len(GOLDEN)


def test_whose_side_it_is() -> None:
    for row in rows_of("claim_sides.jsonl"):
        (claim,) = claims(row["text"])
        assert claim.certain is row["certain"], row


def test_the_words_are_given_and_thinking_is_not_the_answer() -> None:
    assert claims("Here **raised** inner brows, too.")[0].text == "raised inner brows"
    assert claims("The lip corners are pulled up.")[0].text == "lip corners are pulled up"
    assert said("<think>the brows are raised</think>The lips part.") == {("lips", None, "apart")}


# What must be in a text for a region to be named in it.
NAMED = {
    "brows": "brow|glabella|眉",
    "lids": "lid|eye|眼|睑",
    "cheeks": "cheek|颊|颧|苹果肌|脸蛋|頰",
    "nose": "nose|nas|nostril|鼻",
    "corners": "corner|mouth|lip|commissure|嘴|口|唇",
    "lip": "lip|mouth|嘴|唇|口",
    "chin": "chin|jaw|mandible|下巴|颏|下颌|下颚|下頜",
}
PIECES = st.sampled_from(
    [phrase for of in (_REGIONS, _MOTIONS, _PHRASES) for phrases in of.values() for phrase in phrases.split(", ")]
    + ["left", "right", "右", "左", ",", ".", ";", "?", ":", "(", ")", "-", "\n", "AU12", "25", "lips part", "，", "、"]
    + ["head", "face", "皱眉", "<think>", "|", "purple"]
)
PIECE_LISTS = st.lists(PIECES, max_size=30)
TEXTS = st.one_of(st.text(max_size=200), PIECE_LISTS.map(" ".join), PIECE_LISTS.map("".join))


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_without_error_and_without_invention(text: str) -> None:
    for claim in claims(text):
        assert claim.side in (None, "left", "right")
        assert re.fullmatch(
            r"(up|down)( and (inwards|outwards|left|right))?|inwards|outwards|left|right|apart|together", claim.motion
        )
        part = next(
            name for name in ("corners", "brows", "lids", "cheeks", "chin", "lip", "nose") if name in claim.region
        )
        assert re.search(NAMED[part], text.lower())


@pytest.mark.parametrize(
    "piece",
    [
        *("brows ", "raised ", "the brows rise ", "left ", "not ", "or ", "(", "and ", "brows, ", "raised of the "),
        *("upper ", "眉毛", "没有", "towards the ", "lips part ", "lower left ", "and left ", "brows and ", "absent "),
        *("raised brows and ", "AU25 ", "brows\n", "they rise. ", "brows? ", "() ", "brows not visible, "),
    ],
)
def test_work_is_linear_in_the_length(piece: str, executed_lines: Callable[[Callable[[], object]], int]) -> None:
    def steps(length: int) -> int:
        return executed_lines(lambda: claims(piece * (length // len(piece))))

    claims("brows")  # the vocabulary is made once
    assert steps(4_000) <= 2.2 * steps(2_000)
