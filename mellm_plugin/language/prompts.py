"""Every instruction, used by training and by evaluation alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mellm_plugin.errors import InputError, near
from mellm_plugin.language import lexicon
from mellm_plugin.language.lexicon import check_language, colour_words, direction_words, options
from mellm_plugin.motion.colour import DIRECTIONS, STANDARD, legend_text

PROMPT_VERSION = "1"
"""Changes with every wording: answers to different prompts are not compared."""

LEGEND = "{legend}"
"""The place of the colour legend in a wording for maps; the code that draws the map fills it in."""

ASKS: tuple[str, ...] = ("all", "emotion", "aus")
"""What a task may ask for: action units and expression with reasons; one expression from a closed set; a list of action
units."""

_FORM = (
    "Answer in three parts. Inspection: which parts of the face move, which way and how strongly. "
    "Reasoning: from the movements to action units and from those to the expression. "
    "Conclusion: action units AU<number>+AU<number> or none; expression: {options}."
)

_ONE_LABEL = "Answer with one of these alone: {options}."
_UNITS_ALONE = (
    "Answer with one line that begins with the words action units, then AU<number>+AU<number> or none, "
    "and nothing else."
)

_TWO_FRAMES = "The first image is the onset frame and the second image is the apex frame of a facial micro-expression"
_FRAMES = f"{_TWO_FRAMES}, a movement of often less than one pixel. Compare the two frames and name"

_ONE_MAP = (
    "The image is a motion map of a facial micro-expression: the grey onset frame, with colour where the face moves "
    f"until the apex frame. Colour is direction: {LEGEND}. The stronger the colour, the stronger the motion; grey does "
    "not move."
)
_MAP = f"{_ONE_MAP} Name"

_QUESTIONS = {
    "all": f"the facial action units (FACS) and the expression. {_FORM}",
    "emotion": f"the expression. {_ONE_LABEL}",
    "aus": f"the facial action units (FACS). {_UNITS_ALONE}",
}
_MAP_SHORT = "Read the micro-expression in this motion map."


def _known(name: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise InputError(f"{name}: expected one of {', '.join(known)}, found {value!r}.{near(value, known)}")
    return value


def frames_prompt(labels: Sequence[str], asks: str = "all") -> str:
    """The instruction with the onset and the apex frame.

    Args:
        labels: the expressions to choose from, in the task's order; not named if only units are asked for.
        asks: one of `ASKS`.

    Raises:
        InputError: `asks` is unknown.
    """
    return f"{_FRAMES} {_QUESTIONS[_known('asks', asks, ASKS)].format(options=options(labels))}"


def open_map_prompt(labels: Sequence[str], asks: str = "all") -> str:
    """`map_prompt` without its legend, for `fill_legend`."""
    return f"{_MAP} {_QUESTIONS[_known('asks', asks, ASKS)]}".replace("{options}", options(labels))


def fill_legend(text: str, palette: str) -> str:
    """A wording for maps with the legend of the palette in the place of `LEGEND`.

    Raises:
        SettingsError: no palette has this name.
    """
    return text.replace(LEGEND, legend_text(palette))


def map_prompt(labels: Sequence[str], palette: str = STANDARD, asks: str = "all") -> str:
    """The instruction with one motion map, including the colour legend of its palette; else as `frames_prompt`.

    Raises:
        InputError: `asks` is unknown.
        SettingsError: no palette has this name.
    """
    return fill_legend(open_map_prompt(labels, asks), palette)


def map_prompt_variants(labels: Sequence[str], palette: str = STANDARD) -> tuple[str, ...]:
    """`map_prompt` and the other wordings that models are trained on."""
    form = _FORM.format(options=options(labels))
    return (map_prompt(labels, palette), f"{_MAP_SHORT} {form}", _MAP_SHORT)


VQA_PROMPT_VERSION = "1"
"""Changes with every wording around a question."""

_VQA_FORMS: dict[str, str] = {
    "coarse": "Answer with one of these alone: {coarse}.",
    "fine": "Answer with one of these alone: {fine}.",
    "units": "Answer with the FACS names of the action units alone, separated by commas.",
    "unit": "Answer with yes or no alone.",
    "side": "Answer with left or right alone.",
    "combined": "Name the action units by their FACS names, the fine-grained expression class (one of {fine}) and the "
    "coarse expression class (one of {coarse}).",
}


def vqa_prompt(
    question: str,
    kind: str,
    coarse_labels: Sequence[str],
    fine_labels: Sequence[str],
    images: Literal["frames", "map"] = "frames",
) -> str:
    """A question of the challenge, between the description of the images and the form of the answer.

    A question of unknown kind gets no form; `fill_legend` adds the legend of a map.
    """
    form = _VQA_FORMS.get(kind, "").format(coarse=", ".join(coarse_labels), fine=", ".join(fine_labels))
    return f"{_ONE_MAP if images == 'map' else f'{_TWO_FRAMES}.'} {question} {form}".rstrip()


VQA_QUESTIONS: dict[str, tuple[str, ...]] = {
    "coarse": ("What is the coarse expression class?",),
    "fine": ("What is the fine-grained expression class?",),
    "units": ("What are the action units?", "What is the action unit?"),
    "unit": ("Is the action unit {name} shown on the face?",),
    "side": ("Is the action unit {name} located on the left or right face?",),
    "combined": (
        "What is the action unit present, and based on it, what is the fine-grained expression and the coarse "
        "expression class?",
        "Please analyse the micro-expression shown in this video in detail.",
    ),
}
"""The questions of the challenges by kind; `{name}` is their name for an action unit."""


IMAGES: tuple[str, ...] = ("map", "frames")
"""What is shown: one motion map, or the onset and the apex frame."""

_SHOWN: dict[tuple[str, str], tuple[str, ...]] = {
    ("map", "en"): (
        _ONE_MAP,
        f"This motion map shows a micro-expression. Its colours are directions: {LEGEND}. Grey is still.",
        f"A motion map of a face, the colour telling which way the skin moves ({LEGEND}) and its strength how far.",
        "This is the motion map of a micro-expression.",
    ),
    ("map", "zh"): (
        f"图像是面部微表情的运动图：灰度的起始帧上，到顶点帧为止运动的部位覆盖颜色。颜色表示方向：{LEGEND}。"
        "颜色越浓，运动越强；灰色处没有运动。",
        f"这张运动图展示了一个微表情，颜色代表运动方向：{LEGEND}，灰色表示静止。",
        "这是一张微表情的运动图。",
    ),
    ("frames", "en"): (
        f"{_TWO_FRAMES}, a movement of often less than one pixel. Compare the two frames.",
        f"{_TWO_FRAMES}.",
        "These are the onset and the apex frame of a micro-expression.",
    ),
    ("frames", "zh"): (
        "第一张图像是面部微表情的起始帧，第二张是顶点帧，运动常常不到一个像素。请比较这两帧。",
        "这是一个微表情的起始帧和顶点帧。",
    ),
}
"""Introductions of the images, that of evaluation first."""

_ASKED: dict[tuple[str, str], tuple[str, ...]] = {
    ("all", "en"): (
        "Describe the micro-expression in three parts. Inspection: which parts of the face move, which way and how "
        "strongly. Reasoning: which action units (FACS) follow, and which expression. Conclusion: action units "
        "AU<number>+AU<number> or none; expression: {options}.",
        "What moves, which action units are these, and which expression do they show: {options}? Answer under the "
        "headings Inspection, Reasoning and Conclusion; the conclusion reads: action units AU<number>+AU<number> or "
        "none; expression: <one of these>.",
    ),
    ("all", "zh"): (
        "请指出面部动作单元（FACS）和表情。分三部分回答。观察：面部哪些部位运动，方向如何，强度如何。"
        "推理：由运动推断动作单元，再推断表情。结论：动作单元 AU<编号>+AU<编号> 或 无；表情：{options}。",
        "请描述这个微表情，依次写出观察、推理、结论。结论的格式：动作单元 AU<编号>+AU<编号> 或 无；"
        "表情：从{options}中选一个。",
    ),
    ("emotion", "en"): (
        "Which expression is it? Answer with one of these alone: {options}.",
        "Choose the expression that the face shows: {options}. Give the word and nothing else.",
    ),
    ("emotion", "zh"): (
        "请判断表情。只回答其中一个：{options}。",
        "这是哪种表情？从{options}中选一个，只写这个词。",
    ),
    ("aus", "en"): (
        "Which facial action units (FACS) are active? Answer with one line that begins with the words action units, "
        "then AU<number>+AU<number> or none, and nothing else.",
        "List the action units of this micro-expression in one line: action units AU<number>+AU<number>, or action "
        "units none.",
    ),
    ("aus", "zh"): (
        "请指出面部动作单元（FACS）。只回答一行，以“动作单元”开头，接着写 AU<编号>+AU<编号> 或 无。",
        "哪些动作单元被激活？用一行回答：动作单元 AU<编号>+AU<编号>，没有则写：动作单元 无。",
    ),
}
"""Further wordings of what tasks ask; `{options}` are the labels."""


def _introduced(images: str, palette: str, language: str, questions: Sequence[str], **words: str) -> tuple[str, ...]:
    """Every question, filled with the words, after every introduction of the images, those of evaluation first."""
    shown = _SHOWN[_known("images", images, IMAGES), language]
    if language == "en":
        between, legend = " ", legend_text(palette)
    else:
        ways = (f"{direction_words(way, 'zh')}{colour_words(way, palette, 'zh')}" for way in DIRECTIONS)
        between, legend = "", "，".join(ways)
    asked = [question.format(**words) for question in questions]
    return tuple(f"{start.replace(LEGEND, legend)}{between}{question}" for question in asked for start in shown)


def wordings(
    asks: str, labels: Sequence[str], images: str = "map", palette: str = STANDARD, language: str = "en"
) -> tuple[str, ...]:
    """The wordings of a task's question; in English the first is the instruction of evaluation.

    Raises:
        InputError: `asks`, `images` or the language is none of these.
        SettingsError: no palette has this name.
    """
    check_language(language)
    known = [map_prompt(labels, palette, asks) if images == "map" else frames_prompt(labels, asks)]
    if asks == "all" and images == "map":
        known += map_prompt_variants(labels, palette)[1:]
    further = _introduced(images, palette, language, _ASKED[asks, language], options=options(labels, language))
    return (*(known if language == "en" else ()), *further)


_UNIT_ASKED = {
    "en": (
        "Is AU{number} ({name}) active? Answer with yes or no alone.",
        "Does the face show the action unit {name}, AU{number}? Yes or no?",
        "Action unit {number}, the {name}: is it there? Answer yes or no.",
    ),
    "zh": (
        "AU{number}（{name}）是否被激活？只回答是或否。",
        "面部是否出现动作单元{name}（AU{number}）？请回答是或否。",
    ),
}
_REGION_ASKED = {
    "en": (
        "Which way {does} {where} move? Name the direction{colour} and the strength, or answer: no visible motion.",
        "How {does} {where} move: which way{colour_short}, how strongly? If it cannot be seen, say no visible motion.",
    ),
    "zh": (
        "{where}向哪个方向运动？写出方向{colour}和强度；看不到则回答：看不到运动。",
        "{where}怎样运动？请回答方向{colour}和强度，没有则写看不到运动。",
    ),
}
_COLOUR_ASKED = {
    "en": (
        "Which colour stands for {way} here? Name the colour alone.",
        "What is the colour of motion {way} in this map?",
    ),
    "zh": ("运动{way}用哪种颜色表示？只写颜色。", "在这张图中，{way}的运动是什么颜色？"),
}
_WAY_ASKED = {
    "en": (
        "Which way does {colour} stand for? Name the direction alone.",
        "What moves {colour} in this map moves which way?",
    ),
    "zh": ("{colour}表示哪个方向？只写方向。", "图中呈{colour}的部位向哪个方向运动？"),
}
_PATCH_ASKED = {
    "en": (
        "One patch of the image is coloured. Which way does it move? Name the direction, and its colour in brackets.",
        "Read the coloured patch: direction, and colour in brackets.",
    ),
    "zh": ("图中有一块着色区域。它向哪个方向运动？写出方向，括号里写颜色。", "请读出着色区域：方向，括号里写颜色。"),
}


def unit_wordings(
    number: int, name: str, images: str = "map", palette: str = STANDARD, language: str = "en"
) -> tuple[str, ...]:
    """The wordings that ask whether an action unit is there, to be answered with yes or no; errors as `wordings`."""
    check_language(language)
    return _introduced(images, palette, language, _UNIT_ASKED[language], number=str(number), name=name)


def region_wordings(
    region: str, side: str | None, images: str = "map", palette: str = STANDARD, language: str = "en"
) -> tuple[str, ...]:
    """The wordings that ask how a region of `facs.units` moves, on a side of the image; errors as `wordings`."""
    check_language(language)
    does = "do" if side is None and lexicon.is_plural(region) else "does"
    colour, short = (
        ({"en": ", its colour", "zh": "、颜色"}[language], ", in which colour") if images == "map" else ("", "")
    )
    where = lexicon.place_measured(region, side, language)
    words = {"where": where, "does": does, "colour": colour, "colour_short": short}
    return _introduced(images, palette, language, _REGION_ASKED[language], **words)


def colour_wordings(way: str, palette: str = STANDARD, language: str = "en") -> tuple[str, ...]:
    """The wordings that ask for the colour of one of `motion.colour.DIRECTIONS` in maps; errors as `wordings`."""
    check_language(language)
    named = way if language == "en" else f"向{direction_words(way, 'zh')}"
    return _introduced("map", palette, language, _COLOUR_ASKED[language], way=named)


def way_wordings(way: str, palette: str = STANDARD, language: str = "en") -> tuple[str, ...]:
    """The wordings that ask what the colours of `way` mean; arguments and errors as `colour_wordings`."""
    check_language(language)
    return _introduced("map", palette, language, _WAY_ASKED[language], colour=colour_words(way, palette, language))


def patch_wordings(palette: str = STANDARD, language: str = "en") -> tuple[str, ...]:
    """The wordings that ask how the one coloured patch of an image moves; errors as for `wordings`."""
    check_language(language)
    return _introduced("map", palette, language, _PATCH_ASKED[language])
