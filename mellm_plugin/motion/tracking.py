"""The motion of a face from the first frame of a clip to later ones, on a grid of cells, whatever the head does.

Least squares over cells (Lucas and Kanade 1981) against the first frame, whose gradients are computed once, about the
motion of the head, which is carried on from frame to frame. A blurred copy of the frame comes first, for motion of
more than a pixel. Then the head's motion is fitted to the whole and removed.

Frames come one at a time, so a stream of any length can be tracked.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.motion.geometry import REFERENCE_SIDE, Field, Grey, face_ellipse, targets, upper_median
from mellm_plugin.motion.images import SMALLEST_SIDE
from mellm_plugin.motion.settings import MotionSettings

_WORKING_SIDE = 160  # shorter side, px, at which motion is measured; larger frames are shrunk to it
_CELLS = 28  # along the shorter side: 8 px of the reference frame each
_SHARP, _BLURRED = (0.5, 1.0), (2.5, 1.5)  # sigma of the blur, px, and over how many cells a window reaches
_LIGHT_PX = 6.0  # brightness that varies more slowly over the frame is light
_RIDGE = 0.5  # holds still what has no texture, grey levels squared
_LARGE_PX = 1.0  # beyond this the linear solution is repeated about itself
_BETTER = 0.7  # the large motion is kept where it leaves at most this share of the squared difference
_GRID = 40  # points along the shorter side that the head's motion is fitted to
_ITERATIONS, _SCALE_FLOOR_PX = 8, 0.03


class Tracker:
    """Motion of the face from the first frame to later ones.

    Args:
        first: uint8 `(H, W)`, grey, cropped to the face; later frames show the same scene.
        settings: `head="none"` leaves the head motion in; the motion has its own estimator, chosen for speed.

    Attributes:
        shape: rows and columns of the grid.
        head: the head's flow at the last frame, float32 `(rows, columns, 2)`, px of the reference frame.
        doubt: how uncertain the motion of a cell is for want of texture, float32 `(rows, columns)`: the standard
            deviation in px of the reference frame for noise of one grey level, up to a factor for all cells.
    """

    def __init__(self, first: Grey, settings: MotionSettings) -> None:
        height, width = first.shape
        shrink = max(1.0, min(height, width) / _WORKING_SIDE)
        self._size = max(SMALLEST_SIDE, round(width / shrink)), max(SMALLEST_SIDE, round(height / shrink))
        shorter = min(self._size)
        self._unit = REFERENCE_SIDE / shorter
        columns, rows = (max(8, round(_CELLS * side / shorter)) for side in self._size)
        self.shape = rows, columns
        self._fitted = settings.head != "none"
        small = self._small(first)
        self._sharp, self._blurred = (_equations(small, self.shape, *how) for how in (_SHARP, _BLURRED))
        self.doubt = np.sqrt(self._sharp.inverse[0] + self._sharp.inverse[2])
        self._head = np.zeros((*small.shape, 2), np.float32)
        self.head = self._gridded(self._head)

    def measure(self, frame: Grey) -> Field:
        """The motion of the face at the next frame: float32 `(rows, columns, 2)`, px of the reference frame."""
        small = self._small(frame)
        rough = self._blurred.solve(small, self._head)[0]
        head = self._head_of(rough)
        if np.abs(head - self._head)[::20, ::20].max() > _LARGE_PX:
            rough = self._blurred.solve(small, head)[0]
            head = self._head_of(rough)
        flow, error = self._sharp.solve(small, head)
        facial = rough - head
        if (large := cv2.magnitude(facial[..., 0], facial[..., 1])).max() > _LARGE_PX:
            start = head + facial * np.clip(large / _LARGE_PX - 1, 0, 1)[..., None]
            again, error_there = self._sharp.solve(small, start)
            better = (error_there < _BETTER * error).astype(np.float32)
            flow += (again - flow) * cv2.resize(better, self._size)[..., None]
        head = self._head_of(flow)
        if np.abs(head).max() < max(self._size) / 2:  # otherwise the frame shows no such face
            self._head = head
        self.head = self._gridded(head)
        return self._gridded(flow - head)

    def _gridded(self, flow: Field) -> Field:
        cells = cv2.resize(flow, self.shape[::-1], interpolation=cv2.INTER_AREA)
        return np.asarray(cells * self._unit, np.float32)

    def _small(self, frame: Grey) -> Field:
        return np.asarray(cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA), np.float32)

    def _head_of(self, flow: Field) -> Field:
        return head_flow(flow) if self._fitted else np.zeros_like(flow)


class _Equations(NamedTuple):
    """The first frame as linear equations for the motion of every cell; float32, `(H, W)` or `(rows, columns)`."""

    blur: float
    window: float
    frame: Field
    dx: Field
    dy: Field
    inverse: tuple[Field, Field, Field]  # of the normal matrix: xx, xy, yy

    def solve(self, frame: Field, about: Field) -> tuple[Field, Field]:
        """The flow to a later frame near the flow `about`, and the squared difference that `about` leaves in each cell.

        float32 `(H, W, 2)`, px, and `(rows, columns)`, grey levels squared.
        """
        x, y = targets(about)
        moved = cv2.remap(_blur(frame, self.blur), x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        moved = _evenly_lit(np.asarray(moved, np.float32))
        # the contrast changes with the light
        left = self.frame * np.float32((moved * self.frame).sum() / max(np.square(self.frame).sum(), 1e-3)) - moved
        height, width = frame.shape
        rim = 2 * self.blur
        left *= (x >= rim) & (x <= width - 1 - rim) & (y >= rim) & (y <= height - 1 - rim)  # the rest left the frame
        products = (self.dx * left, self.dy * left, left * left)
        x, y, error = (_cells(product, self.inverse[0].shape, self.window) for product in products)
        xx, xy, yy = self.inverse
        beyond = cv2.resize(np.dstack([xx * x + xy * y, xy * x + yy * y]), (width, height))
        return about + np.asarray(beyond, np.float32), error


def _equations(frame: Field, shape: tuple[int, int], blur: float, window: float) -> _Equations:
    even = _evenly_lit(_blur(frame, blur))
    dx, dy = cv2.Sobel(even, -1, 1, 0, scale=1 / 8), cv2.Sobel(even, -1, 0, 1, scale=1 / 8)
    xx, xy, yy = (_cells(product, shape, window) for product in (dx * dx, dx * dy, dy * dy))
    xx, yy = xx + np.float32(_RIDGE), yy + np.float32(_RIDGE)
    scale = 1 / (xx * yy - xy * xy)
    return _Equations(blur, window, even, np.asarray(dx), np.asarray(dy), (yy * scale, -xy * scale, xx * scale))


def _blur(frame: Field, sigma: float) -> Field:
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), sigma), np.float32)


def _evenly_lit(frame: Field) -> Field:
    """The frame without brightness that varies slowly."""
    quarter = cv2.resize(frame, (frame.shape[1] // 4, frame.shape[0] // 4), interpolation=cv2.INTER_AREA)
    return np.asarray(frame - cv2.resize(_blur(np.asarray(quarter), _LIGHT_PX / 4), frame.shape[::-1]), np.float32)


def _cells(values: Field, shape: tuple[int, ...], window: float) -> Field:
    return _blur(np.asarray(cv2.resize(values, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)), window)


def head_flow(flow: Field) -> Field:
    """The head's part of a flow: float32 `(H, W, 2)`, px.

    A quadratic in x and y, of twelve parameters, which holds the similarity and, roughly, a nod or turn of a head with
    depth. It is fitted over a rough face by iteratively reweighted least squares with Geman-McClure weights.
    """
    height, width = flow.shape[:2]
    step, inside, terms, everywhere = _quadratic(height, width)
    moved = flow[::step, ::step][inside].astype(np.float64)
    left = moved - [upper_median(moved[:, 0]), upper_median(moved[:, 1])]
    for _ in range(_ITERATIONS):
        squared = np.square(left).sum(axis=1)
        scale = max(1.4826**2 * upper_median(squared), _SCALE_FLOOR_PX**2)
        weighted = terms * np.square(scale / (scale + squared))[:, None]
        fitted = np.linalg.solve(weighted.T @ terms, weighted.T @ moved)
        left = moved - terms @ fitted
    return np.asarray(everywhere @ fitted.astype(np.float32), np.float32)


@lru_cache(maxsize=8)
def _quadratic(
    height: int, width: int
) -> tuple[int, npt.NDArray[np.bool_], npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """A grid over the face: its step, and which of its points are inside; the terms at these, and at every pixel."""
    step = max(1, round(min(height, width) / _GRID))
    inside = face_ellipse(height, width)[::step, ::step]
    y, x = np.mgrid[:height, :width]
    x, y = (x - (width - 1) / 2) / (max(height, width) / 2), (y - (height - 1) / 2) / (max(height, width) / 2)
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    return step, inside, terms[::step, ::step][inside], terms.astype(np.float32)
