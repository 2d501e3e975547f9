"""Action units to words: the three-part answer that MELLM gives (inspection, reasoning, conclusion).

describe((("1", 1.9), ("2", 2.2)), "surprise") ->

Inspection: the inner brows move up (purple), strongly; the outer brows move up (purple), strongly.
Reasoning: AU1 is the inner brow raiser and AU2 is the outer brow raiser; together they speak for surprise.
Conclusion: action units AU1+AU2; expression: surprise.
"""

from __future__ import annotations

from collections.abc import Sequence

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.codes import ActionUnit, parse_canonical
from mellm_plugin.facs.units import Unit, unit
from mellm_plugin.language.lexicon import in_language
from mellm_plugin.motion.colour import STANDARD, Direction, direction_of

STRENGTHS: tuple[tuple[float, str], ...] = ((0.6, "faintly"), (1.5, "clearly"), (float("inf"), "strongly"))
"""Upper bounds of the strength words, px of a frame of 224 px."""

_SIDES = {"L": "left", "R": "right"}


def strength_word(pixels: float) -> str:
    """`faintly`, `clearly` or `strongly` for a displacement in px of a frame of 224 px."""
    return next(word for bound, word in STRENGTHS if pixels < bound)


def directions(motion: str, side: int) -> Direction | None:
    """The direction of a motion of the table in `facs.units`, on one half of the image.

    Args:
        motion: as in the table, such as `"up and outwards"`.
        side: 1 for the image's right half, -1 for its left.

    Returns:
        the direction as seen; None where the motion has no single one (`"apart"`, `"down, then up"`, `""`).
    """
    words = motion.replace(" and ", " ").replace("far ", "").split()
    steps = {"up": (0, -1), "down": (0, 1), "outwards": (side, 0), "inwards": (-side, 0)}
    if not words or any(word not in steps for word in words):
        return None
    return direction_of(sum(steps[w][0] for w in words), sum(steps[w][1] for w in words))


def _moves(region: str) -> str:
    return "move" if region.endswith("s") or " and " in region or region.startswith("sides") else "moves"


def _singular(region: str) -> str:
    return {"sides of the nose": "side of the nose"}.get(region, region.removesuffix("s"))


def _movement(unit: Unit, code: ActionUnit, palette: str) -> str:
    """Which part moves which way, with the colours a map of the palette shows it in."""
    if code.side in _SIDES:
        # The subject's left is on the image's right.
        side, where = (1, "right") if code.side == "L" else (-1, "left")
        direction = directions(unit.motion, side)
        seen = f" {direction.name} ({direction.words_in(palette)})" if direction else f" {unit.motion}".rstrip()
        return f"the {_singular(unit.region)} on the image's {where} moves{seen}"
    left, right = directions(unit.motion, -1), directions(unit.motion, 1)
    head = f"the {unit.region} {_moves(unit.region)} {unit.motion}".rstrip()
    if left is None or right is None:
        lips = {"towards each other": ("down", "up"), "apart": ("up", "down")}.get(unit.motion)
        if lips is None:
            return head
        return f"{head} (upper {direction_words(lips[0], palette)}, lower {direction_words(lips[1], palette)})"
    if left == right:
        return f"{head} ({left.words_in(palette)})"
    return f"{head} (left {left.words_in(palette)}, right {right.words_in(palette)})"


def direction_words(name: str, palette: str) -> str:
    """The colours of `up` or `down` in the palette, as a phrase."""
    return direction_of(0, {"up": -1, "down": 1}[name]).words_in(palette)


def _join(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def describe(aus: Sequence[tuple[str, float | None]], emotion: str, palette: str = STANDARD) -> str:
    """The three-part answer for annotated units and a label.

    Args:
        aus: canonical codes, each with its displacement in px of a frame of 224 px, or None where it is not known.
        emotion: the label.
        palette: of the map that the answer is about.

    Returns:
        three lines.

    Raises:
        CodeError: codes that cannot be read or leave open which unit it is, all of them at once.
        SettingsError: no palette has this name.
    """
    faults: list[str] = []
    events: list[tuple[ActionUnit, Unit, float | None]] = []
    for code, pixels in aus:
        try:
            parsed = parse_canonical(code)
            if len(parsed.alternatives) > 1:
                faults.append(f"expected one unit to describe, found alternatives: {code!r}")
                continue
            events.append((parsed, unit(parsed.alternatives[0]), pixels))
        except CodeError as error:
            faults.extend(error.faults)
    if faults:
        raise CodeError(faults)
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
    names = _join([f"AU{u.number} is the {u.name}" for _, u, _ in events])
    verb = "together they speak" if len(events) > 1 else "it speaks"
    units = "+".join(
        f"AU{u.number}" + (f" ({_SIDES[code.side]})" if code.side in _SIDES else "") for code, u, _ in events
    )
    return (
        f"Inspection: {seen}.\n"
        f"Reasoning: {names}; {verb} for {emotion}.\n"
        f"Conclusion: action units {units}; expression: {emotion}."
    )


# ---- answers of training --------------------------------------------------------------------------------------------


def coded_units(codes: Sequence[str], language: str = "en") -> str:
    """Units as answers name them: `AU10 (left)+AU12`, `左侧AU10+AU12`; `none` and `无` where no unit moves.

    Of alternatives it is the first, for any one of them is right. A unit that is coded twice is named once.

    Args:
        codes: canonical codes.

    Raises:
        CodeError: codes that cannot be read, all of them at once.
    """
    found: dict[int, str] = {}
    faults: list[str] = []
    for code in codes:
        try:
            parsed = parse_canonical(code)
        except CodeError as error:
            faults.extend(error.faults)
            continue
        number, side = parsed.alternatives[0], _SIDES.get(parsed.side or "")
        if side is None or number in found:  # coded on either side, so on both
            found[number] = f"AU{number}"
        else:
            found[number] = f"AU{number} ({side})" if language == "en" else f"{in_language(side, 'zh')}AU{number}"
    if faults:
        raise CodeError(faults)
    return "+".join(found[number] for number in sorted(found)) or in_language("none", language)


def units_answer(codes: Sequence[str], language: str = "en") -> str:
    """One line: `action units AU4+AU7`.

    Args, Raises: as for `coded_units`.
    """
    return f"{'action units' if language == 'en' else '动作单元'} {coded_units(codes, language)}"


def label_answer(label: str, language: str = "en") -> str:
    """The label alone."""
    return in_language(label, language)
