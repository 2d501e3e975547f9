"""Sides of units: what is a side and what is not, whose left it is, and to which unit it belongs."""

from __future__ import annotations

import pytest

from mellm_plugin.language.answers import read


def sides(text: str) -> dict[int, str]:
    return dict(read(text, ("happiness",)).sides)


@pytest.mark.parametrize(("word", "side", "other"), [("left", "L", "R"), ("right", "R", "L")])
def test_the_image_shows_the_other_side(word: str, side: str, other: str) -> None:
    assert sides(f"{word}-sided AU12") == {12: side}
    for place in ("{0} AU12", "AU12 ({0})", "AU12 on the {0} side", "AU12, on the {0}"):
        assert sides(place.format(word)) == {12: side}
        assert sides(place.format(f"image's {word}")) == {12: other}
        assert sides(place.format(f"viewer's {word}")) == {12: other}
    assert sides(f"AU12 on the {word} side of the image") == {12: other}
    assert sides(f"AU12 ({word}), AU12 (left and right)") == {} and sides("AU12 (left), AU12 (right)") == {12: "B"}


@pytest.mark.parametrize(
    "text", ["AU12 turns to the left", "AU51 (left)", "AU12 (top)", "T25 AU12", "AU12 is left out"]
)
def test_what_is_no_side(text: str) -> None:
    assert sides(text) == {}
    assert sides("Action units: L1+4+R12") == sides("AU1 (left), AU4, right AU12") == {1: "L", 12: "R"}
