"""Head motion: a robust fit to the flow of the face, or the published mean at the nose.

The published compensation subtracts the mean flow at the nose. Rotation and scale stay in: half a pixel or more at the
rim of the face. A similarity (translation, rotation, scale) fitted by iteratively reweighted least squares with
Geman-McClure weights (Black and Anandan 1996) treats expression as outliers and leaves a few hundredths.

A turn out of the plane moves the nose against the cheeks: 2 degrees by half a pixel. It adds shear, perspective, and
depth (`depth.py`): the mean of heads, and reliefs along the turn with the spread of heads as their prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.errors import ImageError
from mellm_plugin.motion.depth import RELIEFS, HeadModel, head_model
from mellm_plugin.motion.geometry import Field, unit, upper_median

_NOSE_REACH = 5  # px on each side
Vector = npt.NDArray[np.float64]

_GRID = 40  # points along the shorter side
_FIRST, _TURNS, _ALONE = 2, 4, 12  # steps: similarity, then turn; similarity alone, at most
_CONVERGED_PX = 1e-3  # at the rim of the frame
_SCALE_FLOOR_PX = 0.03

# How far each part of a turn may go by itself, px of the reference frame at its rim.
_SHEAR, _PERSPECTIVE, _TURN = 2.0, 0.5, 10.0
_LOOSE, _TIGHT, _ANNEAL = 0.5, 0.1, 0.7  # share of the usual difference of depth that is no outlier
_LEAST_TURN = 0.2  # degrees; less may be the face's motion
_LEAST_TRUST = np.float32(1e-3)  # so that flat frames can be fitted
_CORRELATED = 6.0  # neighbouring points per independent one


@dataclass(frozen=True)
class HeadMotion:
    """A similarity about the image centre, `u = a x - b y + tx`, `v = b x + a y + ty`, and a turn out of the plane.

    `turn` holds shear (2), perspective (2), the turn across and down (2; radians, for a head of usual depth) and the
    weights of the reliefs; lengths are halves of the frame's longer side. Empty: not measured.
    """

    tx: float = 0.0  # px to the right
    ty: float = 0.0  # px down
    a: float = 0.0  # scale factor times cosine, minus one; 0 for no change
    b: float = 0.0  # scale factor times sine; 0 for no rotation
    turn: tuple[float, ...] = ()

    @property
    def rotation(self) -> float:
        """Degrees in the plane, counter-clockwise as seen."""
        return float(0.0 - np.degrees(np.arctan2(self.b, 1 + self.a)))

    @property
    def scale(self) -> float:
        """Factor, 1 for no change."""
        return float(np.hypot(1 + self.a, self.b))

    @property
    def out_of_plane(self) -> float | None:
        """Degrees of the turn out of the plane, for a head of usual depth; None if it was not measured."""
        return float(np.degrees(np.linalg.norm(self.turn[4:6]))) if self.turn else None

    @property
    def along(self) -> Field | None:
        """Unit vector float32 `(2,)`, x to the right, y down: the way in which depth moves; None without a turn."""
        away = np.array(self.turn[4:6], np.float32)
        return away / np.float32(np.hypot(*away)) if away.any() else None

    def flow(self, height: int, width: int) -> Field:
        """The head's flow, float32 `(height, width, 2)`, px."""
        y, x = np.ogrid[:height, :width]
        x = (x - (width - 1) / 2).astype(np.float32)
        y = (y - (height - 1) / 2).astype(np.float32)
        out = np.empty((height, width, 2), np.float32)
        out[..., 0] = self.a * x - self.b * y + self.tx
        out[..., 1] = self.b * x + self.a * y + self.ty
        if any(self.turn):
            away = head_model(*_grid(height, width)).turned(np.array(self.turn)) * (max(height, width) / 2)
            out += cv2.resize(away, (width, height), interpolation=cv2.INTER_CUBIC)
        return out

    def unsure(self, height: int, width: int) -> Field:
        """By how much the turn moves heads differently, float32 `(height, width)`, px: a standard deviation."""
        usual = head_model(*_grid(height, width)).usual * np.float32(np.radians(self.out_of_plane or 0.0))
        return np.asarray(cv2.resize(usual, (width, height)) * np.float32(max(height, width) / 2), np.float32)


def _grid(height: int, width: int) -> tuple[int, int]:
    shorter = min(height, width)
    return round(_GRID * height / shorter), round(_GRID * width / shorter)


def fit_head(flow: Field, turn: bool = True, trust: Field | None = None, start: HeadMotion | None = None) -> HeadMotion:
    """Fit the head's motion to the flow inside a rough face ellipse that fills the frame.

    The flow is of a frame cropped to the face: on an uncropped one the fit follows a still background. `trust` weighs
    its pixels, float32 `(H, W)`, 0 to 1. `start` is a former fit in frames of the same size.
    """
    height, width = flow.shape[:2]
    rows, columns = _grid(height, width)
    half = max(height, width) / 2
    model, px = head_model(rows, columns), unit(flow.shape) / half
    moved = cv2.resize(flow, (columns, rows), interpolation=cv2.INTER_AREA)[model.inside].T / np.float32(half)
    given = np.ones_like(moved[0])
    if trust is not None:
        given = cv2.resize(trust, (columns, rows), interpolation=cv2.INTER_AREA)[model.inside] + _LEAST_TRUST
    fit = _Fit(model, moved, given, px)
    found = np.zeros(10 + RELIEFS)
    if start is None:
        found[:2] = upper_median(moved[0]), upper_median(moved[1])
    else:  # its reliefs may hold motion of the face
        found[:4], found[4:10] = (start.tx / half, start.ty / half, start.a, start.b), start.turn[:6] or 0.0
    if start is None or not turn:  # the similarity alone at first: a turn would fit outliers
        found = fit.similarity(found, _FIRST if turn else _ALONE)
    for number in range(_TURNS if turn else 0):
        # Where depth varies most from head to head, as at the nose, much misfit is no outlier at first.
        found = fit.turned(found, max(_LOOSE * _ANNEAL**number, _TIGHT))
    if turn and np.degrees(np.hypot(*found[8:10])) < _LEAST_TURN:
        found = fit.similarity(found * (np.arange(len(found)) < 4), _ALONE)
    (tx, ty), (a, b) = found[:2] * half, found[2:4]
    return HeadMotion(float(tx), float(ty), float(a), float(b), tuple(found[4:].tolist()) if turn else ())


class _Fit:
    """Steps of a robust fit at the points of the face; lengths are halves of the frame's longer side."""

    def __init__(self, model: HeadModel, moved: Field, given: Field, px: float) -> None:
        self.model, self.moved, self.given, self.px = model, moved, given, px
        free = [1e6] * 4
        self.prior = 1 / (np.array([*free, _SHEAR, _SHEAR, _PERSPECTIVE, _PERSPECTIVE, _TURN, _TURN]) * px) ** 2

    def _weighed(self, fields: Field, found: Vector, misfit: Field | float = 0.0) -> tuple[Field, float]:
        """Weights of the points, and the variance of the noise; `misfit` is a variance that is no outlier."""
        left = self.moved - np.tensordot(found.astype(np.float32), fields, 1)
        residual = left[0] ** 2 + left[1] ** 2
        noise = max(1.4826**2 * upper_median(residual), (_SCALE_FLOOR_PX * self.px) ** 2)
        scale = noise + misfit
        return np.asarray(self.given * (scale / (scale + residual)) ** 2, np.float32), noise

    def similarity(self, found: Vector, steps: int) -> Vector:
        """A fit of the first four, until they stay; the turn is taken as none."""
        fields = self.model.plane_points[:4]
        for _ in range(steps):
            before = found[:4]
            weight, _ = self._weighed(fields, before)
            found = np.concatenate([np.linalg.solve(*_normal(fields, self.moved, weight)), found[4:]])
            if np.abs(found[:4] - before).max() < _CONVERGED_PX * self.px:
                break
        return found

    def turned(self, found: Vector, loose: float) -> Vector:
        """One reweighting: similarity and turn, `(10 + RELIEFS,)`, from the ones before."""
        model, reliefs = self.model, self.model.relief_points
        size, relief = float(np.hypot(*found[8:10])), found[10:]
        z = model.depth_points + relief.astype(np.float32) @ reliefs
        none = np.zeros_like(z)
        fields = np.concatenate([model.plane_points, [(z, none), (none, z)]])
        weight, noise = self._weighed(fields, found[:10], np.float32((size * loose) ** 2) * model.usual_points**2)
        normal, right = np.zeros((len(found),) * 2), np.empty(len(found))
        normal[:10, :10], right[:10] = _normal(fields, self.moved, weight)
        # The reliefs move along the turn only, so one component is enough. Found is their change, times the turn.
        along = (found[8:10] / size if size else np.zeros(2)).astype(np.float32)
        raised = reliefs * weight
        right[10:] = raised @ (along @ self.moved)
        normal[:10, 10:] = (along[0] * fields[:, 0] + along[1] * fields[:, 1]) @ raised.T
        normal[10:, :10] = normal[:10, 10:].T
        normal[10:, 10:] = (raised @ reliefs.T) * float(along @ along)
        prior = np.concatenate([self.prior, 1 / (size * model.spread + 1e-4 * self.px) ** 2])
        prior *= _CORRELATED * noise / 2
        normal[np.diag_indices_from(normal)] += prior
        right[10:] -= prior[10:] * size * relief
        solved = np.linalg.solve(normal, right)
        return np.concatenate([solved[:10], relief + solved[10:] / size if size else relief])


def _normal(fields: Field, target: Field, weight: Field) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    weighted = (fields * weight).reshape(len(fields), -1)
    normal, right = weighted @ fields.reshape(len(fields), -1).T, weighted @ target.ravel()
    return normal.astype(np.float64), right.astype(np.float64)


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
