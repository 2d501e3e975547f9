"""Optical flow estimators by name, one signature: `flow(onset, apex, estimator)`."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.errors import SettingsError, near

Grey = npt.NDArray[np.uint8]
Flow = npt.NDArray[np.float32]


def _dis(onset: Grey, apex: Grey) -> Flow:
    # The finest scale and a refinement with little smoothness, without spatial propagation, show sub-pixel motion far
    # better than OpenCV's presets do. A new object per call: one is not thread-safe.
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    dis.setUseSpatialPropagation(False)
    dis.setVariationalRefinementAlpha(20.0)
    dis.setVariationalRefinementDelta(1.0)
    return np.asarray(dis.calc(onset, apex, None), dtype=np.float32)


def _farneback(onset: Grey, apex: Grey) -> Flow:
    # Window and pyramid grow with the frame, so that they cover the same part of a face: 15 px and 4 levels at 224 px.
    unit = max(1.0, min(onset.shape) / 224)
    flow = cv2.calcOpticalFlowFarneback(
        *(onset, apex, None),
        pyr_scale=0.5,
        levels=4 + math.ceil(math.log2(unit)),
        winsize=2 * round(7 * unit) + 1,
        iterations=3,
        poly_n=7,
        poly_sigma=1.5,
        flags=0,
    )
    return np.asarray(flow, dtype=np.float32)


ESTIMATORS: dict[str, Callable[[Grey, Grey], Flow]] = {"dis": _dis, "farneback": _farneback}


def flow(onset: Grey, apex: Grey, estimator: str = "dis") -> Flow:
    """Optical flow from onset to apex, at onset pixels.

    Args:
        onset: uint8 `(H, W)`, grey.
        apex: uint8 `(H, W)`, grey.
        estimator: `"dis"` or `"farneback"`.

    Returns:
        float32 `(H, W, 2)`, px, x to the right, y down: where the onset pixel went.

    Raises:
        SettingsError: no estimator has this name; the near ones are listed.
    """
    if estimator not in ESTIMATORS:
        raise SettingsError(
            f"no flow estimator {estimator!r}; known: {', '.join(ESTIMATORS)}.{near(estimator, ESTIMATORS)}"
        )
    return ESTIMATORS[estimator](onset, apex)
