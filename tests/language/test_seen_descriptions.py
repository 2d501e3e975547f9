"""Descriptions that models are trained on: they read back as the annotation and claim only what is seen."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.errors import CodeError, InputError
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.facs.units import UNITS
from mellm_plugin.language.answers import read
from mellm_plugin.language.claims import claims
from mellm_plugin.language.lexicon import LANGUAGES, colour_words
from mellm_plugin.language.seen_descriptions import describe_seen
from mellm_plugin.language.short_answers import label_answer, units_answer
from mellm_plugin.motion.colour import DIRECTIONS, PALETTES, direction_shown
from mellm_plugin.motion.regions import MIDLINE, PAIRED, RegionMotion

_ONE_SIDED = st.sampled_from([f"{side}{number}" for side in ("L", "R") for number in UNITS if number < 50])
_CODES = st.lists(
    st.one_of(st.sampled_from([str(n) for n in UNITS]), _ONE_SIDED, st.sampled_from(["12B", "L10C/R10", "6/12", "A4"])),
    max_size=5,
)
_PLACES = [(name, side) for name in PAIRED for side in ("left", "right")] + [(name, None) for name in MIDLINE]


@st.composite
def _motions(draw: st.DrawFn) -> tuple[RegionMotion, ...]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    return tuple(
        RegionMotion(region, side, *map(float, rng.normal(0, 1.2, 2)), 0.02, bool(rng.random() < share))
        for region, side in _PLACES
    )


def _annotated(codes: list[str]) -> tuple[tuple[int, ...], dict[int, str]]:
    """The numbers that codes stand for (of alternatives the first), and the side of those that have one."""
    sides: dict[int, set[str]] = {}
    for code in codes:
        first = code.partition("/")[0]
        number = int(re.findall(r"\d+", first)[0])
        sides.setdefault(number, set()).add(first[0] if first[0] in "LR" and "/" not in code else "both")
    return tuple(sorted(sides)), {n: next(iter(s)) for n, s in sides.items() if len(s) == 1 and s <= {"L", "R"}}


@settings(max_examples=60, deadline=None)
@given(
    _CODES, st.sampled_from(sorted(LABELS)), st.data(), _motions(), st.sampled_from(LANGUAGES), st.integers(0, 2**32)
)
def test_what_is_learnt_reads_back_as_the_annotation(
    codes: list[str], dataset: str, data: st.DataObject, motions: tuple[RegionMotion, ...], language: str, seed: int
) -> None:
    labels = LABELS[dataset]
    label = data.draw(st.sampled_from(labels))
    stirred = {(m.region, m.side) for m in motions if not m.visible and m.dx > 0}
    palette = data.draw(st.sampled_from([*PALETTES, None]))
    given_words = (codes, label, motions, palette, language)
    text = describe_seen(*given_words, np.random.default_rng(seed), stirred)
    assert text == describe_seen(*given_words, np.random.default_rng(seed), stirred)
    expected, sides = _annotated(codes)
    answer = read(text, labels)
    assert answer.aus == expected and answer.label == label and answer.unparsed is None, text
    assert {n: side for n, side in answer.sides if side in "LR"} == sides, text
    alone = read(units_answer(codes, language), labels, "aus")
    assert alone.aus == expected and {n: side for n, side in alone.sides if side in "LR"} == sides
    assert read(label_answer(label, language), labels, "emotion").label == label


@settings(max_examples=60, deadline=None)
@given(_CODES, _motions(), st.sampled_from(list(PALETTES)), st.sampled_from(LANGUAGES), st.integers(0, 2**32))
def test_no_motion_and_no_colour_is_claimed_that_is_not_seen(
    codes: list[str], motions: tuple[RegionMotion, ...], palette: str, language: str, seed: int
) -> None:
    stirred = {(m.region, m.side) for m in motions if not m.visible and m.dx > 0}
    text = describe_seen(codes, "others", motions, palette, language, np.random.default_rng(seed), stirred)
    seen = {(region, m.side, way) for m in motions if m.visible for region in _read_as(m.region) for way in _ways(m)}
    for claim in claims(text):
        if claim.motion in ("apart", "together"):
            assert {("upper lip", None), ("lower lip", None)} <= {(m.region, m.side) for m in motions if m.visible}
            continue
        # of both sides in one clause, each has moved so
        sides = [claim.side] if claim.side else ["left", "right"]
        both = all((claim.region, side, claim.motion) in seen for side in sides)
        assert both or (claim.region, None, claim.motion) in seen, (claim, text)
    shown = {direction_shown(m.dx, m.dy).name for m in motions if m.visible}
    phrases = {way: colour_words(way, palette, language) for way in DIRECTIONS}
    inspection = text.splitlines()[0]
    # longest first, for "blue" is in "sky blue"
    for way, phrase in sorted(phrases.items(), key=lambda item: -len(item[1])):
        assert phrase not in inspection or way in shown, text
        inspection = inspection.replace(phrase, "")
    assert not any(name in text for name in phrases.values()) or shown
    bare = describe_seen(codes, "others", motions, None, language, np.random.default_rng(seed), stirred)
    assert not any(phrase in bare.splitlines()[0] for phrase in phrases.values())


def _read_as(region: str) -> tuple[str, ...]:
    return (region, *region.split(" and "))


def _ways(motion: RegionMotion) -> set[str]:
    """A direction as claims have it, of the image and of the face."""
    words = direction_shown(motion.dx, motion.dy).name.split("-")
    outwards = {motion.side: "outwards", {"left": "right", "right": "left", None: ""}[motion.side]: "inwards"}
    return {" and ".join(words), " and ".join(outwards.get(word, word) for word in words)}


def _moving(region: str, left: tuple[float, float], right: tuple[float, float]) -> list[RegionMotion]:
    return [RegionMotion(region, side, *d, 0.02, True) for side, d in (("left", left), ("right", right))]


def test_what_is_seen_is_told_as_it_is_seen() -> None:
    smile = _moving("mouth corners", (-0.8, -0.8), (0.8, -0.8))
    assert describe_seen(["12"], "happiness", smile) == (
        "Inspection: the mouth corners move up and outwards (left blue to sky blue, right pink to magenta), clearly.\n"
        "Reasoning: AU12 is the lip corner puller; it speaks for happiness.\n"
        "Conclusion: action units AU12; expression: happiness."
    )
    assert describe_seen(["12"], "happiness", smile, None, "zh") == (
        "观察：嘴角向上并向外移动，清楚。\n"
        "推理：AU12是lip corner puller；它表示高兴。\n"
        "结论：动作单元 AU12；表情：高兴。"
    )
    one = describe_seen(["L12"], "happiness", smile)
    assert "the mouth corner on the image's right moves up-right (pink to magenta), clearly." in one
    assert "AU12 (left)" in one


def test_what_is_not_seen_is_said_to_be_so() -> None:
    faint = describe_seen(["4", "12"], "others", _moving("brows", (0.1, 0.9), (-0.1, 0.9)))
    assert "no motion can be made out at the mouth corners" in faint
    assert "AU12 (lip corner puller) is too faint for the map to show" in faint
    assert faint.endswith("action units AU4+AU12; expression: others.")
    other = describe_seen(["12"], "others", _moving("mouth corners", (0, 0.9), (0, 0.9)))
    assert "the mouth corners move down (yellow-green), clearly" in other
    assert "AU12 (lip corner puller) is there, though the mouth corners are seen to move otherwise" in other
    lips = (RegionMotion("upper lip", None, 0, -1.0, 0.02, True), RegionMotion("lower lip", None, 0, 1.2, 0.02, True))
    assert "the lips move apart (upper purple, lower yellow-green), clearly" in describe_seen(["25"], "others", lips)
    assert "the lips are seen to move otherwise" in describe_seen(["24"], "others", lips)
    turned = describe_seen(["12"], "others", (), stirred={("mouth corners", "left"), ("mouth corners", "right")})
    assert "the mouth corners move, but not clearly one way" in turned


def test_motion_without_a_unit_is_told_where_nothing_is_coded_near() -> None:
    blink = _moving("upper lids", (0, 2.0), (0, 2.0))
    assert "the upper lids move down (yellow-green), strongly (no action unit goes with it)" in describe_seen(
        ["12"], "happiness", blink
    )
    assert "no action unit" not in describe_seen(["7"], "others", blink)
    assert "no action unit goes with it" not in describe_seen(["12"], "others", _moving("lips", (0, 2.0), (0, 2.0)))


def test_unreadable_codes_are_reported_together_and_the_words_vary() -> None:
    with pytest.raises(CodeError) as caught:
        describe_seen(["x", "12", "?"], "happiness", ())
    assert len(caught.value.faults) == 2
    with pytest.raises(InputError, match="en, zh"):
        describe_seen(["12"], "happiness", (), language="de")
    seeds = map(np.random.default_rng, range(20))
    smile = _moving("mouth corners", (-0.8, -0.8), (0.8, -0.8))
    assert len({describe_seen(["12", "4"], "others", smile, rng=rng) for rng in seeds}) > 10
