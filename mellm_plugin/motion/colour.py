"""Colour as the language of motion: one table gives the hues of the map, its legend, and the words of the prompts.

Hue is direction, as published for MELLM (arXiv 2505.07007): with angles counter-clockwise from right as seen, it is
minus the angle, so right is red, down yellow-green, left cyan, up purple. Directions are quantised to twelve bins of
30 degrees. How strongly the colour covers the grey onset frame is the strength of the motion.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

BIN_DEGREES = 30
"""Width of a hue bin."""

BINS: tuple[tuple[int, str], ...] = (
    (0, "red"),
    (30, "pink"),
    (60, "magenta"),
    (90, "purple"),
    (120, "blue"),
    (150, "sky blue"),
    (180, "cyan"),
    (210, "turquoise"),
    (240, "green"),
    (270, "yellow-green"),
    (300, "yellow"),
    (330, "orange"),
)
"""Centre of each bin (degrees, counter-clockwise from right as seen) and the name of its colour."""


@dataclass(frozen=True)
class Direction:
    """One of the eight directions of the prompts.

    Attributes:
        name: as written in prompts and answers.
        angle: degrees, counter-clockwise from right as seen.
        colours: names of the bins nearest to it, one for a main direction and two for a diagonal.
    """

    name: str
    angle: int
    colours: tuple[str, ...]

    @property
    def words(self) -> str:
        """The colours as a phrase: `"purple"`, `"pink to magenta"`."""
        return " to ".join(self.colours)


def _direction(name: str, angle: int) -> Direction:
    near = tuple(colour for centre, colour in BINS if abs((centre - angle + 180) % 360 - 180) <= BIN_DEGREES / 2)
    return Direction(name, angle, near)


DIRECTIONS: dict[str, Direction] = {
    name: _direction(name, 45 * i)
    for i, name in enumerate(("right", "up-right", "up", "up-left", "left", "down-left", "down", "down-right"))
}
"""The eight directions by name, counter-clockwise from right."""


def direction_of(dx: float, dy: float) -> Direction:
    """The direction nearest to a motion of `dx` px to the right and `dy` px down."""
    angle = np.degrees(np.arctan2(-dy, dx)) % 360
    return tuple(DIRECTIONS.values())[int(np.round(angle / 45)) % 8]


def legend_text() -> str:
    """The legend in words, as prompts give it."""
    return ", ".join(f"{d.name} {d.words}" for d in DIRECTIONS.values())


@lru_cache(maxsize=1)
def palette() -> npt.NDArray[np.uint8]:
    """RGB of the twelve bins at full strength, uint8 `(12, 3)`, in the order of `BINS`."""
    rgb = [colorsys.hsv_to_rgb((-centre % 360) / 360, 1.0, 1.0) for centre, _ in BINS]
    return np.round(np.array(rgb) * 255).astype(np.uint8)


def bin_index(flow: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """Index into `BINS` of each vector's direction.

    Args:
        flow: float32 `(H, W, 2)`, px, x to the right, y down.

    Returns:
        `(H, W)`, 0..11.
    """
    angle = cv2.phase(np.ascontiguousarray(flow[..., 0]), np.ascontiguousarray(-flow[..., 1]), angleInDegrees=True)
    index: npt.NDArray[np.intp] = np.rint(angle / BIN_DEGREES).astype(np.intp) % len(BINS)
    return index


def paint(
    flow: npt.NDArray[np.float32], strength: npt.NDArray[np.float32], grey: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Lay the colour of each direction over the grey frame, as opaque as the motion is strong.

    Blending, unlike the published saturating add, keeps every coloured pixel in its hue bin on bright skin.

    Args:
        flow: float32 `(H, W, 2)`, px, x to the right, y down; gives the hue.
        strength: float32 `(H, W)`, 0 (the grey frame shows) .. 1 (full colour).
        grey: uint8 `(H, W)`, the onset frame.

    Returns:
        uint8 `(H, W, 3)`, RGB.
    """
    alpha = strength[..., None]
    colour = palette()[bin_index(flow)].astype(np.float32)
    blended = grey[..., None].astype(np.float32) * (1 - alpha) + colour * alpha
    return np.rint(blended).clip(0, 255).astype(np.uint8)


def legend(size: int = 160) -> npt.NDArray[np.uint8]:
    """The legend as a wheel: each direction from the centre in its colour, stronger towards the rim, on grey.

    Args:
        size: side in px, at least 32.

    Returns:
        uint8 `(size, size, 3)`, RGB.
    """
    axis = (np.arange(size, dtype=np.float32) - (size - 1) / 2) / (size / 2)
    x, y = np.meshgrid(axis, axis)
    radius = np.hypot(x, y)
    strength = np.where(radius <= 0.95, radius, 0).astype(np.float32)
    grey = np.full((size, size), 128, np.uint8)
    return paint(np.dstack([x, y]).astype(np.float32), strength, grey)
