"""Optical flow estimators by name, one signature: `flow(onset, apex, estimator)`."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.errors import SettingsError, near
from mellm_plugin.motion.local import local, local_both

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


def _tvl1(onset: Grey, apex: Grey) -> Flow:
    from mellm_plugin.motion.tvl1 import tvl1  # torch, a second to import

    return tvl1(onset, apex)


ESTIMATORS: dict[str, Callable[[Grey, Grey], Flow]] = {
    "local": local,
    "dis": _dis,
    "farneback": _farneback,
    "tvl1": _tvl1,
}


def flow(onset: Grey, apex: Grey, estimator: str = "local") -> Flow:
    """Optical flow from onset to apex, at onset pixels.

    Args:
        onset: uint8 `(H, W)`, grey.
        apex: uint8 `(H, W)`, grey.
        estimator: a name of `ESTIMATORS`.

    Returns:
        float32 `(H, W, 2)`, px, x to the right, y down: where the onset pixel went.

    Raises:
        SettingsError: no estimator has this name; the near ones are listed.
    """
    if estimator not in ESTIMATORS:
        raise SettingsError(
            f"no flow estimator {estimator!r}; known: {', '.join(ESTIMATORS)}.{near(estimator, ESTIMATORS)}"
        )
    # OpenCV's DIS takes no frame that was cut out of a larger one without a copy.
    return ESTIMATORS[estimator](np.ascontiguousarray(onset), np.ascontiguousarray(apex))


def both_flows(onset: Grey, apex: Grey, estimator: str = "local") -> tuple[Flow, Flow]:
    """Optical flow from onset to apex, at onset pixels, and from apex to onset, at apex pixels; as `flow` otherwise."""
    if estimator == "local":
        return local_both(np.ascontiguousarray(onset), np.ascontiguousarray(apex))
    return flow(onset, apex, estimator), flow(apex, onset, estimator)


def disagreement(forward: Flow, backward: Flow) -> npt.NDArray[np.float32]:
    """Forward-backward error: how far from its start a pixel ends that goes there by one flow and back by the other.

    Args:
        forward: float32 `(H, W, 2)`, px, onset to apex, at onset pixels.
        backward: the same from apex to onset, at apex pixels.

    Returns:
        float32 `(H, W)`, px, at onset pixels.
    """
    height, width = forward.shape[:2]
    x = forward[..., 0] + np.arange(width, dtype=np.float32)
    y = forward[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    error = forward + cv2.remap(backward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.magnitude(error[..., 0], error[..., 1]), np.float32)
