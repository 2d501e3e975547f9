"""Codes of coding sheets and canonical codes: a golden corpus, and what must hold for any cell."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.codes import LIPS, ActionUnit, Coded, Codes, mirrored, numbers, parse_canonical, read_codes
from mellm_plugin.facs.units import UNITS, unit

GOLDEN = Path(__file__).parents[1] / "golden" / "au_codes.jsonl"
CORPUS = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]

HEAD_AND_EYES = [n for n in UNITS if n > 50]
SIDES = st.none() | st.sampled_from([*"LRABT", "A-L", "T-B"])
INTENSITIES = st.none() | st.sampled_from([*"ABCDE", "A-B", "D-E"])
CODED = st.one_of(
    st.builds(Coded, st.sampled_from(list(UNITS)), SIDES, INTENSITIES),
    st.builds(Coded, st.sampled_from([31, 38, 39]), SIDES, INTENSITIES, st.just("AD")),
    st.builds(Coded, st.sampled_from(HEAD_AND_EYES), SIDES, INTENSITIES, st.just("M")),
).filter(lambda coded: "T" not in (coded.side or "") or coded.number in LIPS)
EVENTS = st.builds(ActionUnit, st.lists(CODED, min_size=1, max_size=3).map(tuple))
# What real codes are made of, in any order: random letters would hardly ever give it.
WORDS = (
    *("12", "4", "7", "80", "99", "4.7", " or ", "or", " and ", "ref(", "(k)", "(A/B)", "(L)"),
    *("AU", "AD", "soft", "none", "nan", "Jul"),
)
PIECES = st.lists(st.sampled_from([*WORDS, *"+,;，＋()[]/-?LRABTEUM１²½ "]), max_size=12).map("".join)
TEXTS = st.text(max_size=30) | PIECES | st.sampled_from([case["code"] for case in CORPUS]).map(str)
CELLS = st.one_of(TEXTS, st.integers(), st.floats(), st.dates(), st.datetimes(), st.times(), st.booleans(), st.none())


def digits_of(text: str) -> set[int]:
    wide = str.maketrans("０１２３４５６７８９", "0123456789")
    return {int(digits) for digits in re.findall("[0-9]+", text.translate(wide))}


def units_of(codes: Codes) -> list[list[int]] | None:
    return None if codes.units is None else [list(event.alternatives) for event in codes.units]


def not_events(codes: Codes) -> list[str]:
    return [part.text for part in codes.detail if part.role in ("reference", "kept", "gross")]


@pytest.mark.parametrize("case", CORPUS, ids=[case["note"] for case in CORPUS])
def test_golden(case: dict[str, object]) -> None:
    codes = read_codes(case["code"])
    assert codes.canonical() == case["canonical"]
    assert units_of(codes) == case["units"]
    assert [part.text for part in codes.unread] == case["unread"]
    assert not_events(codes) == case["not_events"]
    assert all(part.reason for part in codes.unread)


@settings(max_examples=50, deadline=None)
@given(CELLS)
def test_any_cell_is_read_without_inventing_a_number(cell: object) -> None:
    codes = read_codes(cell)
    for event in codes.units or ():
        assert digits_of(codes.text).issuperset(event.alternatives)
        assert UNITS.keys() >= set(event.alternatives)
    assert all(part.text in codes.text and part.in_words() for part in codes.detail)
    json.dumps(codes.to_row())


@given(CELLS)
@example("(,,")  # two commas at the end
def test_round_trip_of_a_cell(cell: object) -> None:
    codes = read_codes(cell)
    again = read_codes(str(codes))
    assert (again.units, not_events(again)) == (codes.units, not_events(codes))
    assert [part.text for part in again.unread] == [part.text for part in codes.unread]
    if canonical := codes.canonical():
        assert read_codes("+".join(canonical)).units == codes.units
        assert numbers(canonical) == [event.alternatives for event in codes.units or ()]


@given(st.lists(EVENTS, min_size=1, max_size=5))
def test_round_trip_of_events(events: list[ActionUnit]) -> None:
    assert tuple(parse_canonical(str(event)) for event in events) == tuple(events)
    codes = read_codes("+".join(map(str, events)))
    assert codes.units == tuple(events) and not codes.unread


@given(st.text(max_size=8) | PIECES)
def test_any_text_is_canonical_or_refused(text: str) -> None:
    try:
        code = parse_canonical(text)
    except CodeError:
        return
    assert set(code.alternatives) == digits_of(text)


def test_alternatives_share_a_side_only_where_both_have_it_and_faults_come_together() -> None:
    assert parse_canonical("R6/R12").side == "R" and parse_canonical("R6/12").side is None
    assert parse_canonical("L12/R12").alternatives == (12,)
    with pytest.raises(CodeError) as caught:
        numbers(["12", "R6 or R12", "", "6/12", "AU12"])
    assert len(caught.value.faults) == 3


def test_cells_that_are_no_text() -> None:
    assert read_codes(np.int64(12)).canonical() == read_codes(np.float64(12)).canonical() == ["12"]
    for missing in (float("nan"), np.float64("nan"), pd.NaT, pd.NA, Decimal("NaN")):
        codes = read_codes(missing)
        assert codes.detail == () and codes.units is None and codes.canonical() is None and str(codes) == ""
    dates = (date(2024, 4, 7), datetime(2024, 4, 7), time(4, 7), timedelta(hours=4, minutes=7))
    for cell in (*dates, Fraction(7, 4), Decimal("4.7"), b"12", [4, 7], 10**5000, -(10**5000), float("inf")):
        codes = read_codes(cell)
        assert codes.units is None and len(codes.unread) == 1
        if cell in dates:
            assert re.search("a spreadsheet has made a date.*enter it as text", codes.unread[0].reason)


@pytest.mark.parametrize(
    "piece",
    ["(", ")", "()", "+", "1/", "12+", "6 or ", "A/", "ref(", "(k)", "4 ", "1", " ", "?", "-", "Ａ", "(6 or ", "a-"],
)
def test_long_cells_take_time_linear_in_their_length(piece: str) -> None:
    text = piece * (10_000 // len(piece))
    for cell in (text + "12", "12" + text, "(" + text + ")"):
        started = process_time()
        codes = read_codes(cell)
        assert read_codes(str(codes)).units == codes.units
        with suppress(CodeError):
            parse_canonical(cell)
        assert process_time() - started < 2  # far below one; quadratic work would take far longer


def test_a_number_with_an_exponent_and_a_lip_that_is_none_are_unread() -> None:
    for cell in ("1E+01", "4.7E+09", "1.2e+05", "T12", "L4+T9"):
        codes = read_codes(cell)
        assert len(codes.unread) == 1 and codes.unread[0].reason
        assert codes.canonical() == (["L4"] if cell.startswith("L4") else None)


def test_sides_change_places_in_the_mirror() -> None:
    for left, right in (("L12", "R12"), ("R14C/12", "L14C/12"), ("61", "62"), ("M56", "M55"), ("L-R6", "R-L6")):
        assert mirrored(left) == right and mirrored(right) == left
    assert all(mirrored(code) == code for code in ("6/12", "AD38", "A4B", "T23"))
    with pytest.raises(CodeError):
        mirrored("smile")
    with pytest.raises(CodeError, match="found 3"):
        unit(3)
