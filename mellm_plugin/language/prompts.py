"""Every instruction, used by training and by evaluation alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mellm_plugin.errors import InputError, near
from mellm_plugin.motion.colour import STANDARD, legend_text

PROMPT_VERSION = "1"
"""Changes whenever a wording changes: answers to different prompts are not compared."""

LEGEND = "{legend}"
"""Where a wording for maps leaves the colour legend open: whoever draws the map knows its palette."""

ASKS: tuple[str, ...] = ("all", "emotion", "aus")
"""What a task may ask for: action units, expression and the reasons for them; one expression of a closed set; a list of
action units."""

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

_THINGS = {
    "all": "the facial action units (FACS) and the expression.",
    "emotion": "the expression.",
    "aus": "the facial action units (FACS).",
}

_MAP_SHORT = "Read the micro-expression in this motion map."


def _options(labels: Sequence[str]) -> str:
    return f"{', '.join(labels[:-1])} or {labels[-1]}" if len(labels) > 1 else "".join(labels)


def _question(labels: Sequence[str], asks: str) -> str:
    """What is asked of the images, and the form of the answer."""
    if asks not in ASKS:
        raise InputError(f"asks: expected one of {', '.join(ASKS)}, found {asks!r}.{near(asks, ASKS)}")
    form = {"all": _FORM, "emotion": _ONE_LABEL, "aus": _UNITS_ALONE}[asks]
    return f"{_THINGS[asks]} {form.format(options=_options(labels))}"


def frames_prompt(labels: Sequence[str], asks: str = "all") -> str:
    """The instruction for a model that sees the onset and the apex frame.

    Args:
        labels: the expressions to choose from, in the task's order; not named where only units are asked for.
        asks: one of `ASKS`.

    Raises:
        InputError: `asks` is another word.
    """
    return f"{_FRAMES} {_question(labels, asks)}"


def open_map_prompt(labels: Sequence[str], asks: str = "all") -> str:
    """`map_prompt` with its legend left open, for `fill_legend`.

    Args:
        labels, asks: as for `frames_prompt`.

    Raises:
        InputError: as `frames_prompt`.
    """
    return f"{_MAP} {_question(labels, asks)}"


def fill_legend(text: str, palette: str) -> str:
    """A wording for maps, with the legend of the palette wherever it says `LEGEND`.

    Raises:
        SettingsError: no palette has this name.
    """
    return text.replace(LEGEND, legend_text(palette))


def map_prompt(labels: Sequence[str], palette: str = STANDARD, asks: str = "all") -> str:
    """The instruction for a model that sees one motion map: it carries the colour legend.

    Args:
        labels, asks: as for `frames_prompt`.
        palette: that of the map.

    Raises:
        InputError: as `frames_prompt`.
        SettingsError: no palette has this name.
    """
    return fill_legend(open_map_prompt(labels, asks), palette)


def map_prompt_variants(labels: Sequence[str], palette: str = STANDARD) -> tuple[str, ...]:
    """Wordings that a model is trained on beside `map_prompt`, which comes first.

    Args:
        labels: the expressions to choose from, in the task's order.
        palette: that of the maps.

    Raises:
        SettingsError: no palette has this name.
    """
    form = _FORM.format(options=_options(labels))
    return (map_prompt(labels, palette), f"{_MAP_SHORT} {form}", _MAP_SHORT)


# ---- the questions of the ME-VQA challenges ------------------------------------------------------------------------

VQA_PROMPT_VERSION = "1"
"""Changes whenever the wording round a question changes."""

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
    """A question of the challenge as it stands, behind what the images are and in front of the form of its answer.

    Args:
        question: its text.
        kind: of the question; one that is not known gets no form.
        coarse_labels, fine_labels: to choose from.
        images: what is shown; the wording for a map leaves its legend open, for `fill_legend`.
    """
    form = _VQA_FORMS.get(kind, "").format(coarse=", ".join(coarse_labels), fine=", ".join(fine_labels))
    return f"{_ONE_MAP if images == 'map' else f'{_TWO_FRAMES}.'} {question} {form}".rstrip()
