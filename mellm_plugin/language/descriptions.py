"""Reference descriptions: what an annotation implies, in words.

    describe((("1", 1.9), ("2", 2.2)), "surprise") ->

    Inspection: the inner brows move up (purple), strongly; the outer brows move up (purple), strongly.
    Reasoning: AU1 is the inner brow raiser and AU2 is the outer brow raiser; together they speak for surprise.
    Conclusion: action units AU1+AU2; expression: surprise.

`language.seen_descriptions` writes the answers that models are trained on, from the measured motion.
"""

from __future__ import annotations

from collections.abc import Sequence

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.codes import ActionUnit, each_of, parse_canonical
from mellm_plugin.facs.units import Unit, unit
from mellm_plugin.language.lexicon import colour_words, is_plural, joined, one_of
from mellm_plugin.motion.colour import STANDARD, Direction, direction_of

SIDES = {"L": "left", "R": "right"}
LIPS = {"apart": ("up", "down"), "towards each other": ("down", "up")}
"""The directions of the upper and the lower lip, by the motion of both."""

STRENGTHS: tuple[tuple[float, str], ...] = ((0.6, "faintly"), (1.5, "clearly"), (float("inf"), "strongly"))
"""Upper bounds of the strength words, px in a frame of 224 px."""


def strength_word(pixels: float) -> str:
    """`faintly`, `clearly` or `strongly` for a displacement in px in a frame of 224 px."""
    return next(word for bound, word in STRENGTHS if pixels < bound)


def directions(motion: str, side: int) -> Direction | None:
    """The direction of a motion of `facs.units`, as seen on one half of the image (1 the right, -1 the left).

    None where the motion has no single direction (`"apart"`, `"down, then up"`, `""`).
    """
    words = motion.replace(" and ", " ").replace("far ", "").split()
    steps = {"up": (0, -1), "down": (0, 1), "outwards": (side, 0), "inwards": (-side, 0)}
    if not words or any(word not in steps for word in words):
        return None
    return direction_of(sum(steps[w][0] for w in words), sum(steps[w][1] for w in words))


def _movement(unit: Unit, code: ActionUnit, palette: str) -> str:
    """The moving part and its direction, with the colours in a map of the palette."""
    if code.side in SIDES:
        # The subject's left is on the image's right.
        side, where = (1, "right") if code.side == "L" else (-1, "left")
        direction = directions(unit.motion, side)
        seen = f" {direction.name} ({direction.words_in(palette)})" if direction else f" {unit.motion}".rstrip()
        return f"the {one_of(unit.region)} on the image's {where} moves{seen}"
    left, right = directions(unit.motion, -1), directions(unit.motion, 1)
    head = f"the {unit.region} {'move' if is_plural(unit.region) else 'moves'} {unit.motion}".rstrip()
    if left is None or right is None:
        lips = LIPS.get(unit.motion)
        if lips is None:
            return head
        return f"{head} (upper {colour_words(lips[0], palette)}, lower {colour_words(lips[1], palette)})"
    if left == right:
        return f"{head} ({left.words_in(palette)})"
    return f"{head} (left {left.words_in(palette)}, right {right.words_in(palette)})"


def describe(aus: Sequence[tuple[str, float | None]], emotion: str, palette: str = STANDARD) -> str:
    """The three-part answer for annotated units and a label.

    Args:
        aus: canonical codes, each with its displacement in px in a frame of 224 px, or None if unknown.
        emotion: the label.
        palette: of the map that the answer describes.

    Raises:
        CodeError: lists all codes that cannot be read or leave the unit open.
        SettingsError: no palette has this name.
    """

    def event(coded: tuple[str, float | None]) -> tuple[ActionUnit, Unit, float | None]:
        parsed = parse_canonical(coded[0])
        if len(parsed.alternatives) > 1:
            raise CodeError(f"expected one unit to describe, found alternatives: {coded[0]!r}")
        return parsed, unit(parsed.alternatives[0]), coded[1]

    events = each_of(event, aus)
    if not events:
        return (
            "Inspection: nothing moves but the head.\n"
            "Reasoning: no action unit is active.\n"
            f"Conclusion: action units none; expression: {emotion}."
        )
    events.sort(key=lambda event: event[0].alternatives)
    seen = "; ".join(
        _movement(u, code, palette) + ("" if pixels is None else f", {strength_word(pixels)}")
        for code, u, pixels in events
    )
    names = joined([f"AU{u.number} is the {u.name}" for _, u, _ in events])
    verb = "together they speak" if len(events) > 1 else "it speaks"
    units = "+".join(
        f"AU{u.number}" + (f" ({SIDES[code.side]})" if code.side in SIDES else "") for code, u, _ in events
    )
    return (
        f"Inspection: {seen}.\n"
        f"Reasoning: {names}; {verb} for {emotion}.\n"
        f"Conclusion: action units {units}; expression: {emotion}."
    )
