"""Head motion: a robust similarity fit to the flow over the face, and the flow freed of it.

The published compensation subtracts the mean flow at the nose, which leaves rotation and scale in: half a pixel or more
at the rim of the face. A similarity (translation, rotation, scale) fitted by iteratively reweighted least squares with
Geman-McClure weights (Black and Anandan 1996) takes expression as outliers and leaves a few hundredths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_GRID_STEP = 3
_ITERATIONS = 12
_SCALE_FLOOR_PX = 0.03


@dataclass(frozen=True)
class HeadMotion:
    """A similarity about the image's centre, as the flow model `u = a x - b y + tx`, `v = b x + a y + ty`.

    Attributes:
        tx: px to the right.
        ty: px down.
        a: scale change times cosine, minus one; 0 for no change.
        b: scale change times sine; 0 for no rotation.
    """

    tx: float = 0.0
    ty: float = 0.0
    a: float = 0.0
    b: float = 0.0

    @property
    def rotation(self) -> float:
        """Degrees, counter-clockwise as seen."""
        return float(-np.degrees(np.arctan2(self.b, 1 + self.a)))

    @property
    def scale(self) -> float:
        """Factor, 1 for no change."""
        return float(np.hypot(1 + self.a, self.b))

    def flow(self, height: int, width: int) -> npt.NDArray[np.float32]:
        """The head's flow, float32 `(height, width, 2)`, px."""
        y, x = np.ogrid[:height, :width]
        x = (x - (width - 1) / 2).astype(np.float32)
        y = (y - (height - 1) / 2).astype(np.float32)
        out = np.empty((height, width, 2), np.float32)
        out[..., 0] = self.a * x - self.b * y + self.tx
        out[..., 1] = self.b * x + self.a * y + self.ty
        return out


def fit_head(flow: npt.NDArray[np.float32]) -> HeadMotion:
    """Fit a similarity to the flow inside a rough face ellipse that fills the frame.

    Args:
        flow: float32 `(H, W, 2)`, px, of a frame cropped to the face. On a raw frame with a still background the fit
            follows the background instead: crop first.

    Returns:
        the head's motion about the image's centre.
    """
    height, width = flow.shape[:2]
    y, x = np.mgrid[0:height:_GRID_STEP, 0:width:_GRID_STEP].astype(np.float64)
    y -= (height - 1) / 2
    x -= (width - 1) / 2
    inside = (x / (0.40 * width)) ** 2 + (y / (0.45 * height)) ** 2 <= 1
    x, y = x[inside], y[inside]
    u, v = flow[::_GRID_STEP, ::_GRID_STEP][inside].astype(np.float64).T
    # Unit-sized coordinates keep the normal equations well conditioned for any frame size.
    size = max(height, width) / 2
    xn, yn = x / size, y / size
    ones, zeros = np.ones_like(xn), np.zeros_like(xn)
    rows_u = np.stack([ones, zeros, xn, -yn], axis=1)
    rows_v = np.stack([zeros, ones, yn, xn], axis=1)
    parameters = np.array([np.median(u), np.median(v), 0.0, 0.0])
    for _ in range(_ITERATIONS):
        residual = (u - rows_u @ parameters) ** 2 + (v - rows_v @ parameters) ** 2
        scale = max(1.4826**2 * float(np.median(residual)), _SCALE_FLOOR_PX**2)
        weight = (scale / (scale + residual)) ** 2
        weighted_u, weighted_v = rows_u * weight[:, None], rows_v * weight[:, None]
        normal = weighted_u.T @ rows_u + weighted_v.T @ rows_v
        parameters = np.linalg.solve(normal, weighted_u.T @ u + weighted_v.T @ v)
    tx, ty, a, b = parameters
    return HeadMotion(float(tx), float(ty), float(a / size), float(b / size))
