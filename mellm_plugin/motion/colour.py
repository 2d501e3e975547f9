"""Colour as the language of motion: one table gives the colours of the map, its legend, and the words of the prompts.

In the standard palette hue is direction as published for MELLM (arXiv 2505.07007): minus the angle, counted
counter-clockwise from right as seen, so right is red, down yellow-green, left cyan, up purple. Directions are quantised
to twelve bins of 30 degrees. The opacity of the colour over the grey onset frame is the strength of the motion.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.errors import SettingsError, near
from mellm_plugin.motion.geometry import Field, Grey

BIN_DEGREES = 30
"""Width of a direction bin; bin `i` is centred on `30 * i` degrees, counter-clockwise from right as seen."""


class Colour(NamedTuple):
    """The colour of a bin at full strength: its name in prompts and answers, and RGB, 0..255."""

    name: str
    rgb: tuple[int, int, int]


STANDARD = "standard"
"""The published palette, the default of all settings."""


def _palette(table: str) -> tuple[Colour, ...]:
    pairs = (entry.rsplit(" ", 1) for entry in table.split(", "))
    return tuple(Colour(name, (*bytes.fromhex(rgb),)) for name, rgb in pairs)


# The colour-blind palette is the result of simulated annealing over the 36 numbers, started from a tilted circle in
# CIELAB: hues in the standard order, light at yellow-green, dark at purple, so that each dichromat sees a ring of
# lightness and the remaining hue axis. It maximises the smallest CIEDE2000 between bins of different directions over
# three simulated dichromacies (Machado et al. 2009, severity 1), at full opacity and half over greys of 60, 128 and
# 200, with lightness within 20..93, hues (as `read_bins` sees them) at least 15 degrees apart, neighbours at most 30.
PALETTES: dict[str, tuple[Colour, ...]] = {
    STANDARD: _palette(
        "red ff0000, pink ff0080, magenta ff00ff, purple 8000ff, blue 0000ff, sky blue 0080ff, "
        "cyan 00ffff, turquoise 00ff80, green 00ff00, yellow-green 80ff00, yellow ffff00, orange ff8000"
    ),
    "colour-blind": _palette(
        "orange dc9504, rust c0490a, crimson de1b44, burgundy 7d003b, indigo 3b088d, dark blue 1501bd, "
        "royal blue 4665cf, sky blue 5daee9, teal 10a1af, aquamarine 15fcce, lime dcf77b, yellow ffef11"
    ),
}
"""The twelve colours of each palette, in the order of the bins. `colour-blind` keeps the eight directions
distinguishable with protanopia, deuteranopia and tritanopia."""

OVERLAYS: tuple[str, ...] = ("blend", "add")
"""How `paint` lays colour over the grey frame."""

FAINTEST = 6.0
"""Closer to grey than this (root of the summed squares of RGB about their mean, grey levels), rounding hides the bin of
a painted pixel."""


def colours(palette: str = STANDARD) -> tuple[Colour, ...]:
    """The twelve colours of a palette, in the order of the bins.

    Raises:
        SettingsError: the palette is unknown; the message lists similar names.
    """
    if palette not in PALETTES:
        raise SettingsError(f"no palette {palette!r}; palettes: {', '.join(PALETTES)}.{near(palette, PALETTES)}")
    return PALETTES[palette]


class Direction(NamedTuple):
    """One of the eight directions of the prompts."""

    name: str  # as written in prompts and answers
    angle: int  # degrees, counter-clockwise from right as seen
    bins: tuple[int, ...]  # the nearest ones: one for a main direction, two for a diagonal

    def words_in(self, palette: str) -> str:
        """The colours as a phrase: `"purple"`, `"pink to magenta"`; raises as `colours`."""
        return " to ".join(colours(palette)[i].name for i in self.bins)


_NAMES_AND_BINS = (
    *(("right", (0,)), ("up-right", (1, 2)), ("up", (3,)), ("up-left", (4, 5))),
    *(("left", (6,)), ("down-left", (7, 8)), ("down", (9,)), ("down-right", (10, 11))),
)
DIRECTIONS: dict[str, Direction] = {
    name: Direction(name, 45 * i, bins) for i, (name, bins) in enumerate(_NAMES_AND_BINS)
}
"""The eight directions by name, counter-clockwise from right; each bin belongs to exactly one."""


def direction_of(dx: float, dy: float) -> Direction:
    """The direction nearest to a motion of `dx` px to the right and `dy` px down."""
    angle = np.degrees(np.arctan2(-dy, dx)) % 360
    return tuple(DIRECTIONS.values())[int(np.round(angle / 45)) % 8]


def direction_shown(dx: float, dy: float) -> Direction:
    """The direction whose colours a map gives to a motion of `dx` px to the right and `dy` px down: that of its bin.

    It may differ from the nearest direction, because a main direction has one bin and a diagonal two.
    """
    index = int(np.rint(np.degrees(np.arctan2(-dy, dx)) / BIN_DEGREES)) % (360 // BIN_DEGREES)
    return next(direction for direction in DIRECTIONS.values() if index in direction.bins)


def legend_text(palette: str = STANDARD) -> str:
    """The legend in words, as in prompts; raises as `colours`."""
    return ", ".join(f"{d.name} {d.words_in(palette)}" for d in DIRECTIONS.values())


SIDES = "left and right are the image's:", "the subject's left is on the image's right"
"""Whose left and right the legend means, in two lines."""


@lru_cache(maxsize=len(PALETTES))
def _rgb(palette: str) -> npt.NDArray[np.float32]:
    """RGB of the bins at full strength, float32 `(12, 3)`, 0..255."""
    return np.array([colour.rgb for colour in colours(palette)], dtype=np.float32)


def bin_index(flow: Field) -> npt.NDArray[np.intp]:
    """The bin whose centre is nearest to each vector's direction: `(H, W, 2)` -> `(H, W)`, 0..11.

    An angle halfway between two centres goes to the even bin. OpenCV's angles have errors of up to .01 degrees, so that
    close to a border it may be either neighbour. A vector of length zero is in bin 0.
    """
    angle = cv2.phase(np.ascontiguousarray(flow[..., 0]), np.ascontiguousarray(-flow[..., 1]), angleInDegrees=True)
    index: npt.NDArray[np.intp] = np.rint(angle / BIN_DEGREES).astype(np.intp) % (360 // BIN_DEGREES)
    return index


def paint(
    flow: Field, strength: Field, grey: Grey, palette: str = STANDARD, overlay: str = "blend"
) -> npt.NDArray[np.uint8]:
    """Lay the colour of each direction over the grey frame, with the strength of the motion as opacity.

    Args:
        flow: float32 `(H, W, 2)`, px, x to the right, y down; gives the colour.
        strength: float32 `(H, W)`, 0 (the grey frame) .. 1 (full colour).
        grey: uint8 `(H, W)`, the onset frame.
        palette: one of `PALETTES`.
        overlay: `blend`, `grey * (1 - strength) + colour * strength`, keeps every coloured pixel in its bin on bright
            skin; `add`, as published, `grey + colour * strength` clipped at 255, does not. In the standard palette
            `colour * strength` is the published HSV colour: hue of the bin, saturation 1, value `strength`.

    Returns:
        uint8 `(H, W, 3)`, RGB.

    Raises:
        SettingsError: the palette or overlay is unknown.
    """
    if overlay not in OVERLAYS:
        raise SettingsError(f"no overlay {overlay!r}; overlays: {', '.join(OVERLAYS)}.{near(overlay, OVERLAYS)}")
    colours_of_bins = _rgb(palette)
    painted = np.repeat(grey[..., None], 3, axis=2)
    moves = strength > 0  # few pixels in most maps
    if not moves.any():
        return painted
    alpha, under = strength[moves][:, None], painted[moves].astype(np.float32)
    if overlay == "blend":
        under = under * (1 - alpha)
    over = colours_of_bins[bin_index(flow[moves][:, None])[:, 0]] * alpha
    painted[moves] = np.rint(under + over).clip(0, 255).astype(np.uint8)
    return painted


def read_bins(rgb: npt.NDArray[np.uint8], palette: str = STANDARD) -> npt.NDArray[np.intp]:
    """The bins of painted pixels, whatever the grey below them: the inverse of `paint`.

    Grey, blended or added, moves a colour only along the grey axis, so the bin is the one with the nearest hue about
    that axis. Only clipping at 255 loses it.

    Args:
        rgb: uint8 `(..., 3)`, painted with the palette.
        palette: raises as `colours`.

    Returns:
        `(...)`, 0..11; -1 if the pixel is too close to grey (`FAINTEST`).
    """
    table = _rgb(palette) - _rgb(palette).mean(axis=1, keepdims=True)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    values = np.asarray(rgb, dtype=np.float32)
    hue = values - values.mean(axis=-1, keepdims=True)
    nearest: npt.NDArray[np.intp] = np.argmax(hue @ table.T, axis=-1)
    return np.where(np.linalg.norm(hue, axis=-1) < FAINTEST, -1, nearest)


def wheel(size: int = 160, palette: str = STANDARD) -> npt.NDArray[np.uint8]:
    """The wheel of the legend: each direction from the centre in its colour, stronger towards the rim, on grey.

    Returns uint8 `(size, size, 3)`, RGB, of a side of at least 32 px; raises as `colours`.
    """
    axis = (np.arange(size, dtype=np.float32) - (size - 1) / 2) / (size / 2)
    x, y = np.meshgrid(axis, axis)
    radius = np.hypot(x, y)
    strength = np.where(radius <= 1, radius, 0).astype(np.float32)
    grey = np.full((size, size), 128, np.uint8)
    return paint(np.dstack([x, y]).astype(np.float32), strength, grey, palette)
