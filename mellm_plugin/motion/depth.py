"""Depths of heads, from which the flow of a head that turns out of the image plane follows.

A turn moves each point in proportion to its depth, and depth differs from head to head. The mean is that of scans. The
differences are those of made-up heads: other places in the frame, sizes, proportions and surfaces. Their principal
components are the reliefs that a fit may add.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.motion.geometry import Field, face_ellipse

RELIEFS = 32
_HEADS = 600

# Depth of a face towards the camera, hundredths of the height from its middle to the chin: rows from 1.05 above the
# middle to 1.05 below it, columns from the middle to 1.0 beside it, in steps of .1. The mean of 60 heads of a model of
# scans (ICT FaceKit; Li et al. 2020, "Learning formation of physically-based face attributes").
_DEPTH = np.array(
    [
        [-43, -45, -50, -59, -71, -80, -84, -86, -86, -86, -87],
        [-26, -27, -31, -39, -51, -68, -82, -85, -86, -86, -86],
        [-15, -16, -19, -25, -34, -50, -71, -83, -85, -84, -84],
        [-7, -7, -10, -15, -23, -36, -56, -78, -82, -83, -83],
        [-1, -2, -4, -8, -16, -27, -44, -69, -81, -82, -82],
        [2, 2, 0, -4, -11, -21, -37, -62, -80, -82, -82],
        [5, 5, 3, -1, -7, -17, -32, -58, -80, -81, -82],
        [7, 7, 6, 2, -3, -12, -29, -56, -81, -82, -87],
        [7, 5, 3, 0, -2, -10, -27, -55, -83, -91, -97],
        [7, 0, -4, -3, -6, -13, -27, -54, -86, -99, -102],
        [13, 2, -5, -4, -7, -16, -27, -51, -89, -103, -105],
        [21, 11, -1, -4, -7, -13, -23, -49, -93, -106, -107],
        [26, 19, 3, -1, -4, -9, -20, -51, -96, -106, -107],
        [24, 20, 6, 1, -2, -9, -22, -56, -96, -105, -106],
        [18, 12, 5, 2, -2, -11, -26, -63, -94, -104, -103],
        [17, 15, 9, 3, -4, -14, -31, -69, -92, -103, -101],
        [15, 13, 8, 2, -6, -17, -38, -75, -91, -102, -100],
        [15, 13, 6, -1, -9, -22, -50, -79, -91, -100, -100],
        [10, 9, 4, -4, -14, -34, -67, -81, -90, -98, -101],
        [11, 9, 3, -8, -26, -57, -81, -83, -89, -97, -101],
        [7, 5, -5, -26, -52, -75, -88, -87, -90, -97, -103],
        [-19, -24, -36, -53, -66, -80, -93, -92, -92, -97, -103],
    ],
    np.float32,
)
_STEP = 0.1

# How heads differ; a search on such scans and on heads of other shapes (docs/log.md).
_HALF = 0.75, 1.1  # height from the middle of the face to the chin, half frames
_ACROSS, _DOWN = 0.08, 0.12  # how far the middle of the face is from that of the frame, at most
_PROPORTION, _DEPTHS = 0.06, 0.15  # standard deviation of breadth and height, and of depth, as factors
_BESIDE = np.float32(0.5)  # deviation of what is beside the face: neck, hair, a wall
_SURFACE = (0.35, 0.06), (0.12, 0.03)  # bumps: how far apart, standard deviation of their depth


class HeadModel(NamedTuple):
    """Fields of a head's motion on a grid over the frame; places and motion are in halves of its longer side."""

    inside: npt.NDArray[np.bool_]  # `(rows, columns)`: the face
    plane: Field  # `(8, 2, rows, columns)`: similarity (4), shear (2), perspective (2)
    depth: Field  # `(rows, columns)`: mean depth of heads
    reliefs: Field  # `(RELIEFS, rows, columns)`: how depth differs from head to head
    spread: npt.NDArray[np.float64]  # `(RELIEFS,)`: standard deviations of their weights
    usual: Field  # `(rows, columns)`: standard deviation of depth
    plane_points: Field  # `(8, 2, N)`: `plane` at the points of the face, as the next
    depth_points: Field  # `(N,)`
    relief_points: Field  # `(RELIEFS, N)`
    usual_points: Field  # `(N,)`

    def turned(self, turn: npt.NDArray[np.float64]) -> Field:
        """The flow of a turn, `HeadMotion.turn`: float32 `(rows, columns, 2)`."""
        flat, away, relief = np.split(turn.astype(np.float32), [4, 6])
        z = self.depth + np.tensordot(relief, self.reliefs, 1)
        return np.ascontiguousarray(
            (np.tensordot(flat, self.plane[4:], 1) + away[:, None, None] * z).transpose(1, 2, 0)
        )


@lru_cache(maxsize=64)  # cropped faces have many shapes, and a model takes a fifth of a second
def head_model(rows: int, columns: int) -> HeadModel:
    """The model on a grid of these points, with the face in the ellipse of `geometry.face_ellipse`."""
    y, x = np.mgrid[:rows, :columns]
    y, x = (2 * y + 1) / rows - 1, (2 * x + 1) / columns - 1
    heads = _heads(x, y).reshape(_HEADS, -1)
    inside = face_ellipse(rows, columns)
    seen = inside.ravel()
    y, x = y * rows / max(rows, columns), x * columns / max(rows, columns)
    one, none = np.ones_like(x), np.zeros_like(x)
    similarity = (one, none), (none, one), (x, y), (-y, x)
    plane = np.array([*similarity, (x, -y), (y, x), (x * x, x * y), (x * y, y * y)], np.float32)
    # The part of each depth that is a plane belongs to the other fields.
    flat = np.stack([one.ravel(), x.ravel(), y.ravel()])
    heads -= np.linalg.lstsq(flat[:, seen].T, heads[:, seen].T, rcond=None)[0].T @ flat
    mean = heads.mean(axis=0)
    heads -= mean
    # Principal components by the products of the heads: fewer than the points.
    power, ways = np.linalg.eigh(heads[:, seen] @ heads[:, seen].T)
    power, ways = power[: -RELIEFS - 1 : -1], ways[:, : -RELIEFS - 1 : -1]
    reliefs = (ways / np.sqrt(power)).T @ heads  # beyond the face, too
    mean, usual, reliefs = (f.reshape(-1, rows, columns).astype(np.float32) for f in (mean, heads.std(axis=0), reliefs))
    usual = np.where(inside, usual[0], usual[0] + _BESIDE)
    points = (np.ascontiguousarray(fields[..., inside]) for fields in (plane, mean[0], reliefs, usual))
    return HeadModel(inside, plane, mean[0], reliefs, np.sqrt(power / _HEADS), usual, *points)


def _heads(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Depths of made-up heads, `(_HEADS, rows, columns)`, in half frames, at places in half frames."""
    rng = np.random.default_rng(0)
    mean = np.hstack([_DEPTH[:, :0:-1], _DEPTH]) / 100
    rows, columns = mean.shape
    found = np.empty((_HEADS, *x.shape))
    for head in found:
        half, wide, high, deep = rng.uniform(*_HALF), *rng.normal(1, (_PROPORTION, _PROPORTION, _DEPTHS))
        at = (x - rng.uniform(-_ACROSS, _ACROSS)) / (half * wide), (y - rng.uniform(-_DOWN, _DOWN)) / (half * high)
        z = deep * mean
        for apart, size in _SURFACE:
            knots = rng.normal(0, size, (round(rows * _STEP / apart), round(columns * _STEP / apart)))
            z += cv2.resize(knots, (columns, rows), interpolation=cv2.INTER_CUBIC)
        across, down = (place / _STEP + (n - 1) / 2 for place, n in zip(at, (columns, rows), strict=True))
        maps = across.astype(np.float32), down.astype(np.float32)
        head[:] = half * cv2.remap(z.astype(np.float32), *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return found
