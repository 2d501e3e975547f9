"""Reference descriptions: every word follows from the tables, and the answer reads back as what it was made from."""

from __future__ import annotations

import re

import pytest

from mellm_plugin.datasets.synthme import COMBINATIONS
from mellm_plugin.errors import CodeError
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.facs.units import UNITS
from mellm_plugin.language.answers import read
from mellm_plugin.language.descriptions import describe, directions, strength_word
from mellm_plugin.motion.colour import DIRECTIONS, PALETTES


def test_a_whole_answer() -> None:
    assert describe([("12", 0.4), ("L10", 2.0)], "happiness") == (
        "Inspection: the upper lip on the image's right moves up (purple), strongly; "
        "the mouth corners move up and outwards (left blue to sky blue, right pink to magenta), faintly.\n"
        "Reasoning: AU10 is the upper lip raiser and AU12 is the lip corner puller; "
        "together they speak for happiness.\n"
        "Conclusion: action units AU10 (left)+AU12; expression: happiness."
    )


def test_an_answer_about_a_map_of_another_palette() -> None:
    assert describe([("12", 0.4), ("L10", 2.0), ("25", None)], "happiness", "colour-blind").splitlines()[0] == (
        "Inspection: the upper lip on the image's right moves up (burgundy), strongly; "
        "the mouth corners move up and outwards (left indigo to dark blue, right rust to crimson), faintly; "
        "the lips move apart (upper burgundy, lower aquamarine)."
    )


@pytest.mark.parametrize("palette", PALETTES)
def test_every_colour_named_is_in_the_legend(palette: str) -> None:
    phrases = {direction.words_in(palette) for direction in DIRECTIONS.values()}
    for number in UNITS:
        for code in (f"{number}", f"L{number}", f"R{number}"):
            seen = describe([(code, None)], "others", palette).splitlines()[0]
            for named in re.findall(r"\(([^)]*)\)", seen):
                for part in named.split(", "):
                    words = re.sub(r"^(left|right|upper|lower) ", "", part)
                    assert words in phrases, seen


def test_nothing_moves() -> None:
    text = describe([], "neutral")
    assert "nothing moves" in text and "action units none" in text
    answer = read(text, LABELS["synthme"])
    assert answer.aus == () and answer.label == "neutral"


@pytest.mark.parametrize("label", COMBINATIONS)
def test_every_combination_reads_back(label: str) -> None:
    for combination in COMBINATIONS[label]:
        codes = [code for code in combination.split("+") if code]
        answer = read(describe([(code, None) for code in codes], label), LABELS["synthme"])
        assert answer.label == label
        assert sorted(answer.aus or ()) == sorted(int(code.strip("LR")) for code in codes)


def test_directions_mirror() -> None:
    right, left = directions("up and outwards", 1), directions("up and outwards", -1)
    assert right is not None and right.name == "up-right"
    assert left is not None and left.name == "up-left"
    assert directions("apart", 1) is None and directions("", 1) is None


def test_every_unit_of_the_table_can_be_described() -> None:
    for number, unit in UNITS.items():
        text = describe([(str(number), 1.0)], "others")
        assert unit.region in text and unit.name in text


def test_strength_words() -> None:
    assert [strength_word(px) for px in (0.3, 0.6, 1.5)] == ["faintly", "clearly", "strongly"]


def test_unreadable_codes_are_reported_together() -> None:
    with pytest.raises(CodeError) as caught:
        describe([("x", 1.0), ("12", 1.0), ("99", 1.0), ("6/12", 1.0)], "happiness")
    assert len(caught.value.faults) == 3


def test_one_thing_moves_and_several_move() -> None:
    text = describe([("17", 1.0), ("31", 1.0), ("26", 1.0), ("4", 1.0), ("9", 1.0)], "others")
    for words in ("chin moves up", "jaw moves", "chin and lower lip move down", "brows move", "sides of the nose move"):
        assert words in text
