"""The words of instructions and answers in English and Chinese.

    in_language("mouth corners", "zh") -> "嘴角"        direction_words("up-right", "zh") -> "右上"
    colour_words("up-right", "standard", "zh") -> "粉色到品红色"

English names of regions, units and labels come from `facs`. Terms without a Chinese word stay English; so do the names
of units, which would read as claims in Chinese.
"""

from __future__ import annotations

from collections.abc import Sequence

from mellm_plugin.errors import InputError, near
from mellm_plugin.facs.labels import COARSE, LABELS, spellings
from mellm_plugin.motion.colour import DIRECTIONS, STANDARD

LANGUAGES: tuple[str, ...] = ("en", "zh")


def _terms(text: str) -> dict[str, str]:
    return dict(term.split(": ") for term in text.split("; "))


_DIRECTIONS = _terms(
    "right: 右; up-right: 右上; up: 上; up-left: 左上; left: 左; down-left: 左下; down: 下; down-right: 右下"
)
_TERMS = _terms(
    "inner brows: 眉毛内侧; outer brows: 眉毛外侧; brows: 眉毛; upper lids: 上眼睑; lower lids: 下眼睑; "
    "cheeks: 脸颊; sides of the nose: 鼻子两侧; nose wings: 鼻翼; upper lip: 上唇; lower lip: 下唇; lips: 嘴唇; "
    "mouth corners: 嘴角; chin: 下巴; chin and lower lip: 下巴和下唇; neck: 颈部; jaw: 下颌; head: 头部; eyes: 眼睛; "
    "tongue: 舌头; "
    "up: 向上; down: 向下; down and inwards: 向下并向内; down and outwards: 向下并向外; up and outwards: 向上并向外; "
    "up and inwards: 向上并向内; inwards: 向内; outwards: 向外; towards each other: 抿紧; apart: 分开; "
    "far down: 大幅向下; down, then up: 先向下再向上; "
    "faintly: 微弱; clearly: 清楚; strongly: 强烈; left: 左侧; right: 右侧; none: 无; "
    "red: 红色; pink: 粉色; magenta: 品红色; purple: 紫色; blue: 蓝色; sky blue: 天蓝色; cyan: 青色; "
    "turquoise: 绿松石色; green: 绿色; yellow-green: 黄绿色; yellow: 黄色; orange: 橙色; rust: 铁锈色; "
    "crimson: 深红色; burgundy: 酒红色; indigo: 靛蓝色; dark blue: 深蓝色; royal blue: 宝蓝色; teal: 蓝绿色; "
    "aquamarine: 碧绿色; lime: 浅黄绿色"
)
_LABELS = {
    label: chinese
    for label in dict.fromkeys((*COARSE, *(label for labels in LABELS.values() for label in labels)))
    if (chinese := next((spelling for spelling in spellings(label) if not spelling.isascii()), None)) is not None
}
"""The first Chinese spelling of each label; `language.answers` reads it."""

_CHINESE = {**_TERMS, **_LABELS}


def check_language(language: str) -> None:
    """Raise an error for an unknown language.

    Raises:
        InputError: it is none of `LANGUAGES`.
    """
    if language not in LANGUAGES:
        raise InputError(
            f"language: expected one of {', '.join(LANGUAGES)}, found {language!r}.{near(language, LANGUAGES)}"
        )


def in_language(term: str, language: str) -> str:
    """A region, motion, strength, colour or label in a language."""
    return term if language == "en" else _CHINESE.get(term, term)


def direction_words(name: str, language: str) -> str:
    """One of the eight directions: `up-right`, `右上`."""
    return name if language == "en" else _DIRECTIONS[name]


def colour_words(name: str, palette: str = STANDARD, language: str = "en") -> str:
    """The colours of a direction in maps of a palette: `pink to magenta`, `粉色到品红色`.

    Raises:
        SettingsError: no palette has this name.
    """
    words = DIRECTIONS[name].words_in(palette)
    return words if language == "en" else "到".join(_CHINESE[word] for word in words.split(" to "))


def language_naming(labels: Sequence[str], text: str) -> str:
    """The first of `LANGUAGES` in which a text names all labels; English if none."""
    named = (one for one in LANGUAGES if all(in_language(label, one) in text for label in labels))
    return next(named, LANGUAGES[0])


def options(labels: Sequence[str], language: str = "en") -> str:
    """The labels to choose from: `anger, fear or others`, `愤怒、恐惧或其他`."""
    words = [in_language(label, language) for label in labels]
    return joined(words, language, " or " if language == "en" else "或")


def joined(parts: Sequence[str], language: str = "en", last: str = "") -> str:
    """An enumeration: `a, b and c`, `a、b和c`; `last` is another word before the last part."""
    comma, usual = (", ", " and ") if language == "en" else ("、", "和")
    return f"{comma.join(parts[:-1])}{last or usual}{parts[-1]}" if len(parts) > 1 else "".join(parts)


def one_of(region: str) -> str:
    """The singular of a region in English: `mouth corner`, `side of the nose`."""
    return region.replace("sides of", "side of").removesuffix("s")


def is_plural(region: str) -> bool:
    """Whether the name of a region is plural in English."""
    return region.endswith("s") or " and " in region or region.startswith("sides")


def place_measured(region: str, side: str | None, language: str) -> str:
    """The place of a motion that `motion.regions` measured; without a side the whole region, or the middle of a lip."""
    return place(region, side or ("middle" if region in ("upper lip", "lower lip") else None), language)


def place(region: str, side: str | None, language: str) -> str:
    """A region of `facs.units`, or its part on one side of the image (`left`, `right`) or in its `middle`.

    `the mouth corner on the image's left`, `图像左侧的嘴角`.
    """
    if side == "middle":
        return f"the middle of the {region}" if language == "en" else f"{in_language(region, 'zh')}中部"
    if language == "zh":
        where = {"left": "图像左侧的", "right": "图像右侧的", None: ""}[side]
        one = "鼻侧" if side and region == "sides of the nose" else in_language(region, "zh")
        return f"{where}{one}"
    return f"the {region}" if side is None else f"the {one_of(region)} on the image's {side}"
