"""Sides of units: what is a side and what is not, whose left it is, and to which unit it belongs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.language.answers import read
from mellm_plugin.language.descriptions import describe
from mellm_plugin.language.sides import agreed


def sides(text: str) -> dict[int, str]:
    return dict(read(text, ("happiness",)).sides)


@pytest.mark.parametrize(
    ("said", "side"),
    [
        (["L", None], "L"),
        (["L", "R"], "B"),
        (["B", "A"], "A"),
        (["L", "B"], None),
        (["L", "R", "A"], None),
        ([None, None], None),
        ([], None),
    ],
)
def test_sides_that_agree(said: list[str | None], side: str | None) -> None:
    assert agreed(said) == agreed(reversed(said)) == side


@pytest.mark.parametrize(
    "place", ["{0} AU12", "AU12 ({0})", "AU12 on the {0} side", "AU12, on the {0}", "{0}-sided AU12"]
)
@pytest.mark.parametrize(("word", "side"), [("left", "L"), ("right", "R")])
def test_the_image_shows_the_other_side(place: str, word: str, side: str) -> None:
    other = {"L": "R", "R": "L"}[side]
    assert sides(place.format(word)) == {12: side}
    if "-sided" not in place:
        assert sides(place.format(f"image's {word}")) == {12: other}
        assert sides(place.format(f"viewer's {word}")) == {12: other}
    if place.endswith("side"):
        assert sides(f"{place.format(word)} of the image") == {12: other}


@pytest.mark.parametrize(
    "text", ["AU12 turns to the left", "AU51 (left)", "AU12 (top)", "T25 AU12", "AU12 is left out"]
)
def test_what_is_no_side(text: str) -> None:
    assert sides(text) == {}


CODES = st.lists(
    st.tuples(st.sampled_from([1, 2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 20]), st.sampled_from(["", "L", "R"])),
    unique_by=lambda coded: coded[0],
    max_size=6,
)


@given(CODES)
def test_what_we_write_is_what_we_read(coded: list[tuple[int, str]]) -> None:
    wanted = {unit: side for unit, side in sorted(coded) if side}
    assert sides(describe([(f"{side}{unit}", 1.0) for unit, side in coded], "happiness")) == wanted
    assert sides("Action units: " + "+".join(f"{side}{unit}" for unit, side in coded)) == wanted
    words = {"": "AU{}", "L": "AU{} (left)", "R": "right AU{}"}
    assert sides(", ".join(words[side].format(unit) for unit, side in coded)) == wanted
