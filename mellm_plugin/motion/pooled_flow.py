"""The flow of a face as a short vector: means over a grid of cells, scaled by the strength of the flow itself.

    pooled(measure(pair))  ->  float32 (432,): u, v and strain of 12 x 12 cells

What a linear classifier of micro-expressions reads (`models/linear.py`). The scale goes, because a class is told by
where and in which direction a face moves, and hardly by how far.

Strain is the magnitude of the infinitesimal strain tensor of the flow (Shreve et al. 2011, "Macro- and
micro-expression spotting in long videos using spatio-temporal strain"; as the feature of a classifier: Liong et al.
2014, "Optical strain based recognition of subtle emotions"):

    sqrt(exx^2 + eyy^2 + 2 exy^2),   exx = du/dx,   eyy = dv/dy,   exy = eyx = (du/dy + dv/dx) / 2
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.motion.cache import MotionCache
from mellm_plugin.motion.facial import FacialFlow, Nose, measure, strength, working_pair
from mellm_plugin.motion.geometry import REFERENCE_SIDE, Field, unit
from mellm_plugin.motion.images import Frame, read_pair
from mellm_plugin.motion.settings import DEFAULT, MotionSettings

CELLS = 12
"""Cells of the grid across and down the frame."""

LENGTH = 3 * CELLS**2
"""Length of the vector."""

VERSION = 2
"""Version of the vector; changes whenever equal flows give another one."""

_SMOOTH_PX = 6.0  # sigma, px of the reference frame: a third of a cell; strain amplifies the noise of the estimator
_LEAST_PX = 0.01  # a flow weaker than this, px of the reference frame, is not enlarged


Vector = npt.NDArray[np.float32]
"""float32 `(LENGTH,)`."""


def strain(flow: Field) -> Field:
    """Optical strain of a flow, float32 `(H, W, 2)` in px: float32 `(H, W)`, without a unit, at least 0."""
    (du_dy, du_dx), (dv_dy, dv_dx) = (np.gradient(flow[..., axis]) for axis in (0, 1))
    shear = (du_dy + dv_dx) / 2
    return np.asarray(np.sqrt(du_dx**2 + dv_dy**2 + 2 * shear**2), np.float32)


def pooled(measured: FacialFlow) -> Vector:
    """Means of u, v and strain over the cells, row by row; the flow is smoothed and divided by its strength first.

    Returns:
        float32 `(LENGTH,)`: u of all cells, then v, then strain. u and v are shares of the strength, x to the right and
        y down; strain is by how much of that a cell stretches. A face that hardly moves keeps small
        values. They depend neither on the size of the frame nor on a factor of the flow.
    """
    px = unit(measured.flow.shape)
    softer = replace(measured, flow=cv2.GaussianBlur(measured.flow, (0, 0), _SMOOTH_PX * px))
    flow = softer.flow / np.float32(px * max(strength(softer), _LEAST_PX))
    fields = np.dstack([flow, strain(flow) * np.float32(px * REFERENCE_SIDE / CELLS)])
    cells = cv2.resize(fields, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(cells.transpose(2, 0, 1), np.float32).ravel()


def pooled_pair(
    onset: Frame,
    apex: Frame,
    settings: MotionSettings = DEFAULT,
    nose: Nose | None = None,
    cache: MotionCache | None = None,
) -> Vector:
    """`pooled` of the flow from onset to apex, both cropped to the face with one box; arguments as for `motion_map`.

    Raises:
        ImageError: a frame is unusable, the two differ in size or depth, or the nose tip is outside.
    """
    pair = working_pair(*read_pair(onset, apex), settings, nose)
    return pooled(measure(pair, settings) if cache is None else cache.measure(pair, settings))
