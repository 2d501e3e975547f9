"""Reference descriptions: every word follows from the tables, and the answer reads back as what it was made from."""

from __future__ import annotations

import re

import pytest

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.units import UNITS
from mellm_plugin.language.descriptions import describe
from mellm_plugin.motion.colour import DIRECTIONS, PALETTES


def test_a_whole_answer() -> None:
    assert describe([("12", 0.4), ("L10", 2.0)], "happiness") == (
        "Inspection: the upper lip on the image's right moves up (purple), strongly; "
        "the mouth corners move up and outwards (left blue to sky blue, right pink to magenta), faintly.\n"
        "Reasoning: AU10 is the upper lip raiser and AU12 is the lip corner puller; "
        "together they speak for happiness.\n"
        "Conclusion: action units AU10 (left)+AU12; expression: happiness."
    )


@pytest.mark.parametrize("palette", PALETTES)
def test_every_unit_is_described_in_colours_of_the_legend(palette: str) -> None:
    phrases = {direction.words_in(palette) for direction in DIRECTIONS.values()}
    for number, unit in UNITS.items():
        for code in (f"{number}", f"L{number}", f"R{number}"):
            text = describe([(code, None)], "others", palette)
            assert unit.name in text and (code != str(number) or unit.region in text)
            for named in re.findall(r"\(([^)]*)\)", text.splitlines()[0]):
                assert {re.sub(r"^(left|right|upper|lower) ", "", part) for part in named.split(", ")} <= phrases, text
    assert "nothing moves" in describe([], "neutral")


def test_unreadable_codes_are_reported_together() -> None:
    with pytest.raises(CodeError) as caught:
        describe([("x", 1.0), ("12", 1.0), ("99", 1.0), ("6/12", 1.0)], "happiness")
    assert len(caught.value.faults) == 3
