"""Short answers that models are trained on: units, a label, yes or no, the motion of one region or patch.

units_answer(("4", "L12"))  ->  "action units AU4+AU12 (left)"        动作单元 AU4+左侧AU12
region_answer(motion)       ->  "up-left (blue to sky blue), clearly"
"""

from __future__ import annotations

from collections.abc import Iterable

from mellm_plugin.facs.codes import each_of, parse_canonical
from mellm_plugin.language.descriptions import SIDES, strength_word
from mellm_plugin.language.lexicon import check_language, colour_words, direction_words, in_language
from mellm_plugin.motion.colour import DIRECTIONS, STANDARD, colours, direction_shown
from mellm_plugin.motion.regions import RegionMotion


def events(codes: Iterable[str]) -> list[tuple[int, str | None]]:
    """Number and side of each coded unit, ascending; the side is `L`, `R`, or None for both.

    Raises:
        CodeError: lists all codes that cannot be read.
    """
    found: dict[int, str | None] = {}
    for parsed in each_of(parse_canonical, codes):
        number = parsed.alternatives[0]
        side = parsed.side if parsed.side in SIDES else None
        found[number] = side if found.get(number, side) == side else None
    return sorted(found.items())


def units_answer(codes: Iterable[str], language: str = "en") -> str:
    """Units as answers name them: `action units AU10 (left)+AU12`, `动作单元 左侧AU10+AU12`, `action units none`.

    Sides are the subject's own. Of alternatives the first is named, because any of them is right. A unit that is coded
    twice is named once, on both sides.

    Raises:
        CodeError: lists all codes that cannot be read.
        InputError: the language is unknown.
    """
    check_language(language)
    english = language == "en"
    named = []
    for number, side in events(codes):
        behind = f" ({SIDES[side]})" if side and english else ""
        named.append(f"{in_language(SIDES[side], 'zh') if side and not english else ''}AU{number}{behind}")
    return f"{'action units' if english else '动作单元'} {'+'.join(named) or in_language('none', language)}"


def label_answer(label: str, language: str = "en") -> str:
    """The label alone."""
    return in_language(label, language)


def yes_or_no(yes: bool, language: str = "en") -> str:
    """`yes` or `no`; `是` or `否`."""
    return {("en", True): "yes", ("en", False): "no", ("zh", True): "是", ("zh", False): "否"}[language, yes]


def region_answer(
    motion: RegionMotion, palette: str | None = STANDARD, language: str = "en", stirred: bool = False
) -> str:
    """The motion of one region: `up-left (blue to sky blue), clearly`; `no visible motion`; `not clearly one way`.

    Args:
        palette: of the map; None for frames, which have no colours.
        stirred: whether the region is seen to move, but not clearly in one direction.
    """
    if stirred:
        return {"en": "not clearly one way", "zh": "方向不明确"}[language]
    if not motion.visible:
        return {"en": "no visible motion", "zh": "看不到运动"}[language]
    way = direction_shown(motion.dx, motion.dy).name
    colour = in_brackets(colour_words(way, palette, language), language) if palette else ""
    strength = in_language(strength_word(motion.magnitude), language)
    return f"{way}{colour}, {strength}" if language == "en" else f"向{direction_words(way, 'zh')}{colour}，{strength}"


def patch_answer(index: int, palette: str = STANDARD, language: str = "en") -> str:
    """The motion of a patch in the colour of one bin (its index in `motion.colour`): `up-left (sky blue)`."""
    way = next(direction.name for direction in DIRECTIONS.values() if index in direction.bins)
    colour = in_language(colours(palette)[index].name, language)
    return f"{way} ({colour})" if language == "en" else f"向{direction_words(way, 'zh')}（{colour}）"


def in_brackets(text: str, language: str) -> str:
    return f" ({text})" if language == "en" else f"（{text}）"
