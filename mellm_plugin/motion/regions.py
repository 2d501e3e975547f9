"""What each region of the face does in a measured flow: where its skin moved, and whether that exceeds the noise.

    region_motions(facial_flow(onset, apex))  ->  (RegionMotion(region="inner brows", side="left", dx=.02, dy=-.61,
                                                                noise=.01, visible=True), ..)

Region names are those of the table in `facs.units`; places are those of a face that fills its frame:

    brows           outer inner | inner outer        lengths are half heights of the face, from its centre between
    lids               upper    |    upper           the eyes and the upper lip; x outwards, y down
                       lower    |    lower
    cheeks, nose    cheek  side | side  cheek
    mouth           corner  upper lip   corner
                            lower lip
    chin                      chin

Crops differ between datasets, and the only known landmark, sometimes, is the nose tip. So the windows are soft and as
wide as their neighbours allow, and their mean leans towards the moving part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

from mellm_plugin.motion.facial import FacialFlow, Nose
from mellm_plugin.motion.geometry import Field, face_ellipse, unit
from mellm_plugin.motion.head import check_nose


class Window(NamedTuple):
    """A Gaussian window on the right half of the image: centre and sigma, in half heights of the face."""

    x: float
    y: float
    sx: float
    sy: float


PAIRED: dict[str, Window] = {
    "inner brows": Window(0.16, -0.31, 0.08, 0.06),
    "outer brows": Window(0.44, -0.31, 0.09, 0.06),
    "brows": Window(0.24, -0.27, 0.11, 0.05),
    "upper lids": Window(0.30, -0.165, 0.10, 0.035),
    "lower lids": Window(0.30, -0.05, 0.10, 0.035),
    "cheeks": Window(0.41, 0.12, 0.12, 0.07),
    "sides of the nose": Window(0.11, 0.12, 0.06, 0.09),
    "nose wings": Window(0.12, 0.24, 0.05, 0.05),
    "upper lip": Window(0.12, 0.42, 0.08, 0.05),
    "lower lip": Window(0.12, 0.58, 0.08, 0.05),
    "lips": Window(0.15, 0.51, 0.08, 0.06),
    "mouth corners": Window(0.28, 0.51, 0.08, 0.08),
}
MIDLINE: dict[str, Window] = {
    "upper lip": Window(0.0, 0.445, 0.12, 0.03),
    "lower lip": Window(0.0, 0.59, 0.12, 0.035),
    "chin": Window(0.0, 0.80, 0.15, 0.09),
    "chin and lower lip": Window(0.0, 0.70, 0.18, 0.13),
}
"""Windows on both halves of the image, and across its middle. `upper lip` and `lower lip` have both kinds: the lips
part in the middle and rise on a side."""

HALF_HEIGHT = 0.42
"""Half height of the face, from its centre to the chin, as a share of the frame's shorter side."""

NOSE_TIP = 0.23
"""Distance of the nose tip below the centre of the face, in half heights of the face."""

_REACH = 2.5  # sigmas
# Found on drawn faces (docs/log.md).
_STILL_SHARE = 40.0  # percentile of a face's windows that counts as still
_AGREED = 0.65  # length of the mean vector over the mean length; lower if parts of the window move different ways
_NOISES = 4.0  # a visible region exceeds the noise by this factor
_LEAST_PX = 0.1  # px of the reference frame; above the map's floor, since a window picks up motion of its neighbours


@dataclass(frozen=True)
class RegionMotion:
    """How one region moves, as seen in the image.

    Attributes:
        region: its name in `facs.units`.
        side: `"left"` or `"right"` of the image; None across the middle.
        dx: mean motion to the right without the head's, weighted towards the moving part, px of the reference frame.
        dy: the same, down.
        noise: motion measured in a still region of this size, the same unit.
        visible: whether the motion clearly exceeds the noise and the floor of the motion map, and has one direction.
    """

    region: str
    side: str | None
    dx: float
    dy: float
    noise: float
    visible: bool

    @property
    def magnitude(self) -> float:
        """Length of the motion, px of the reference frame."""
        return math.hypot(self.dx, self.dy)


def region_motions(facial: FacialFlow, nose: Nose | None = None) -> tuple[RegionMotion, ...]:
    """How every region of the face moves.

    Args:
        facial: the flow of a frame that is cropped to the face.
        nose: nose tip, px of that flow's frame; shifts the windows if it is known.

    Returns:
        one motion for each region and side, in a fixed order. A region outside the frame has no motion and is not
        visible.

    Raises:
        ImageError: the nose tip is outside the frame.
    """
    height, width = facial.flow.shape[:2]
    half = HALF_HEIGHT * min(height, width)
    centre = (width - 1) / 2, (height - 1) / 2
    if nose is not None:
        check_nose((float(nose[0]), float(nose[1])), (height, width))
        centre = float(nose[0]), float(nose[1]) - NOSE_TIP * half
    px = unit((height, width))
    placed: list[tuple[str, str | None, Window, int]]
    placed = [(name, side, w, m) for name, w in PAIRED.items() for side, m in (("left", -1), ("right", 1))]
    placed += [(name, None, window, 0) for name, window in MIDLINE.items()]
    noise_of = cache(lambda size: _noise(facial.flow, size) / px)
    found = []
    for name, side, window, m in placed:
        at = centre[0] + m * half * window.x, centre[1] + half * window.y
        dx, dy, trust, agreed = _mean(facial, at, (half * window.sx, half * window.sy))
        noise = noise_of(round(half * math.sqrt(window.sx * window.sy), 1)) / max(trust, 0.05)
        visible = agreed > _AGREED and math.hypot(dx, dy) / px > max(_LEAST_PX, _NOISES * noise)
        found.append(RegionMotion(name, side, dx / px, dy / px, noise, visible))
    return tuple(found)


def _mean(facial: FacialFlow, at: tuple[float, float], sigma: tuple[float, float]) -> tuple[float, float, float, float]:
    """Mean motion in a window, px; mean confidence; share of the motion in one direction, 0..1.

    All are zero for a window outside the frame.
    """
    x0, x1 = (round(at[0] + s * _REACH * sigma[0]) for s in (-1, 1))
    y0, y1 = (round(at[1] + s * _REACH * sigma[1]) for s in (-1, 1))
    rows, columns = slice(max(0, y0), max(0, y1 + 1)), slice(max(0, x0), max(0, x1 + 1))
    u, v = facial.flow[rows, columns].astype(np.float64).transpose(2, 0, 1)
    if not u.size:
        return 0.0, 0.0, 0.0, 0.0
    x = (columns.start + np.arange(u.shape[1]) - at[0]) / sigma[0]
    y = (rows.start + np.arange(u.shape[0]) - at[1]) / sigma[1]
    window = np.exp(-(y**2) / 2)[:, None] * np.exp(-(x**2) / 2)
    total = float(window.sum())
    if facial.confidence is not None:
        window = window * facial.confidence[rows, columns]
    trust = float(window.sum()) / total
    length = np.hypot(u, v)
    weight = window * length  # the mean leans towards the moving part
    moving = float(weight.sum())
    if moving <= 0:
        return 0.0, 0.0, trust, 0.0
    dx, dy = float((weight * u).sum()) / moving, float((weight * v).sum()) / moving
    return dx, dy, trust, math.hypot(dx, dy) * moving / float((weight * length).sum())


def _noise(flow: Field, size: float) -> float:
    """Motion in windows of this size, px, on still skin, which is most of the face in most expressions."""
    step = max(1, int(size / 3))
    height, width = flow.shape[:2]
    small = cv2.resize(flow, (max(1, width // step), max(1, height // step)), interpolation=cv2.INTER_AREA)
    u, v = small[..., 0], small[..., 1]
    power = cv2.GaussianBlur(u * u + v * v, (0, 0), max(size / step, 0.3))
    inside = face_ellipse(power.shape[0], power.shape[1])
    return float(np.sqrt(np.percentile(power[inside] if inside.any() else power, _STILL_SHARE)))
