"""Head motion: a robust similarity fitted to the flow of the face, or the published mean at the nose.

The published compensation subtracts the mean flow at the nose. Rotation and scale stay in: half a pixel or more at the
rim of the face. A similarity (translation, rotation, scale) fitted by iteratively reweighted least squares with
Geman-McClure weights (Black and Anandan 1996) treats expression as outliers and leaves a few hundredths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mellm_plugin.errors import ImageError
from mellm_plugin.motion.geometry import Field, face_ellipse, upper_median

_NOSE_REACH = 5  # px on each side
_GRID = 56  # points along the shorter side
_ITERATIONS = 12
_CONVERGED_PX = 1e-3  # at the rim of the frame
_SCALE_FLOOR_PX = 0.03


@dataclass(frozen=True)
class HeadMotion:
    """A similarity about the image centre, as the flow model `u = a x - b y + tx`, `v = b x + a y + ty`.

    Attributes:
        tx: px to the right.
        ty: px down.
        a: scale factor times cosine, minus one; 0 for no change.
        b: scale factor times sine; 0 for no rotation.
    """

    tx: float = 0.0
    ty: float = 0.0
    a: float = 0.0
    b: float = 0.0

    @property
    def rotation(self) -> float:
        """Degrees, counter-clockwise as seen."""
        return float(0.0 - np.degrees(np.arctan2(self.b, 1 + self.a)))

    @property
    def scale(self) -> float:
        """Factor, 1 for no change."""
        return float(np.hypot(1 + self.a, self.b))

    def inverse(self) -> HeadMotion:
        """The motion back to the start."""
        back = 1 / (1 + complex(self.a, self.b))
        shift = -complex(self.tx, self.ty) * back
        return HeadMotion(shift.real, shift.imag, back.real - 1, back.imag)

    def flow(self, height: int, width: int) -> Field:
        """The head's flow, float32 `(height, width, 2)`, px."""
        y, x = np.ogrid[:height, :width]
        x = (x - (width - 1) / 2).astype(np.float32)
        y = (y - (height - 1) / 2).astype(np.float32)
        out = np.empty((height, width, 2), np.float32)
        out[..., 0] = self.a * x - self.b * y + self.tx
        out[..., 1] = self.b * x + self.a * y + self.ty
        return out


@lru_cache(maxsize=8)
def _face_points(height: int, width: int) -> tuple[int, npt.NDArray[np.bool_], npt.NDArray[np.complex128]]:
    """A grid over the face: its step, a mask of the points inside the face, and their places as x + iy.

    Places count from the frame centre in units of half the longer side, which keeps the equations well conditioned.
    """
    step = max(1, round(min(height, width) / _GRID))
    inside = face_ellipse(height, width)[::step, ::step]
    y, x = (step * places.astype(np.float64) for places in np.nonzero(inside))
    places = np.empty(x.size, np.complex128)
    places.real, places.imag = x - (width - 1) / 2, y - (height - 1) / 2
    return step, inside, places / (max(height, width) / 2)


def fit_head(flow: Field) -> HeadMotion:
    """Fit a similarity to the flow inside a rough face ellipse that fills the frame.

    The flow is of a frame cropped to the face: on an uncropped one the fit follows a still background.
    """
    height, width = flow.shape[:2]
    step, inside, places = _face_points(height, width)
    u, v = flow[::step, ::step][inside].astype(np.float64).T
    moved = u + 1j * v
    # A similarity is one complex factor and one complex shift.
    factor, shift = 0j, complex(upper_median(u), upper_median(v))
    for _ in range(_ITERATIONS):
        left = moved - factor * places - shift
        residual = left.real**2 + left.imag**2
        scale = max(1.4826**2 * upper_median(residual), _SCALE_FLOOR_PX**2)
        weight = (scale / (scale + residual)) ** 2
        total = weight.sum()
        centre, mean = (weight @ places) / total, (weight @ moved) / total
        around = weight * np.conj(places - centre)
        before = factor, shift
        factor = (around @ (moved - mean)) / (around @ (places - centre)).real
        shift = mean - factor * centre
        if max(abs(factor - before[0]), abs(shift - before[1])) < _CONVERGED_PX:
            break
    factor /= max(height, width) / 2
    return HeadMotion(float(shift.real), float(shift.imag), float(factor.real), float(factor.imag))


def check_nose(nose: tuple[float, float], shape: tuple[int, ...]) -> None:
    """Raise an ImageError if the nose tip (x, y in px) lies outside a frame of this height and width."""
    height, width = shape[:2]
    if not (-0.5 <= nose[0] < width - 0.5 and -0.5 <= nose[1] < height - 0.5):
        raise ImageError(
            f"expected a nose tip inside the frame of {width}x{height} px, found x {nose[0]:g}, y {nose[1]:g}; "
            "give it in px of the cropped onset frame"
        )


def nose_motion(flow: Field, nose: tuple[float, float]) -> HeadMotion:
    """The published compensation: the mean flow in a window of 11 x 11 px at the nose tip, clipped to the frame.

    Raises:
        ImageError: the tip is outside the frame.
    """
    check_nose(nose, flow.shape)
    x, y = round(nose[0]), round(nose[1])
    window = flow[max(0, y - _NOSE_REACH) : y + _NOSE_REACH + 1, max(0, x - _NOSE_REACH) : x + _NOSE_REACH + 1]
    tx, ty = window.reshape(-1, 2).mean(axis=0, dtype=np.float64)
    return HeadMotion(float(tx), float(ty))
