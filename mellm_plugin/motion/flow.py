"""Optical flow by the name of the estimator, and the forward-backward error of two flows."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from mellm_plugin.errors import SettingsError, near
from mellm_plugin.motion.geometry import Field, Grey, targets, unit
from mellm_plugin.motion.local import local, local_both


def _local(onset: Grey, apex: Grey) -> Field:
    return local(onset, apex).flow


def _dis(onset: Grey, apex: Grey) -> Field:
    # The finest scale and a weak smoothness term, without spatial propagation, show sub-pixel motion far better than
    # OpenCV's presets. The object is not thread-safe: each call makes its own.
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    dis.setUseSpatialPropagation(False)
    dis.setVariationalRefinementAlpha(20.0)
    dis.setVariationalRefinementDelta(1.0)
    return np.asarray(dis.calc(onset, apex, None), dtype=np.float32)


def farneback(onset: Grey, apex: Grey, levels: int, window: int, iterations: int) -> Field:
    """OpenCV's Farneback flow, with polynomials over 7 px; the window is in px."""
    pair = onset, apex, None
    flow = cv2.calcOpticalFlowFarneback(*pair, 0.5, levels, window, iterations, poly_n=7, poly_sigma=1.5, flags=0)
    return np.asarray(flow, np.float32)


def _farneback(onset: Grey, apex: Grey) -> Field:
    # Window and pyramid grow with the frame and cover the same part of a face: 15 px and 4 levels at 224 px.
    px = max(1.0, unit(onset.shape))
    return farneback(onset, apex, 4 + math.ceil(math.log2(px)), 2 * round(7 * px) + 1, iterations=3)


def _tvl1(onset: Grey, apex: Grey) -> Field:
    from mellm_plugin.motion.tvl1 import tvl1  # imports torch, which takes a second

    return tvl1(onset, apex)


Estimator = Callable[[Grey, Grey], Field]
ESTIMATORS: dict[str, Estimator] = {"local": _local, "dis": _dis, "farneback": _farneback, "tvl1": _tvl1}


def flow(onset: Grey, apex: Grey, estimator: str = "local") -> Field:
    """Optical flow from onset to apex, at onset pixels.

    Returns:
        float32 `(H, W, 2)`, px, x to the right, y down: where the onset pixel went.

    Raises:
        SettingsError: the estimator is unknown; the message lists similar names.
    """
    if estimator not in ESTIMATORS:
        known = f"known: {', '.join(ESTIMATORS)}.{near(estimator, ESTIMATORS)}"
        raise SettingsError(f"no flow estimator {estimator!r}; {known}")
    # OpenCV's DIS rejects a view into a larger frame.
    return ESTIMATORS[estimator](np.ascontiguousarray(onset), np.ascontiguousarray(apex))


def both_flows(onset: Grey, apex: Grey, estimator: str = "local") -> tuple[Field, Field]:
    """Flow from onset to apex, at onset pixels, and from apex to onset, at apex pixels; otherwise as `flow`."""
    if estimator == "local":
        there, back = local_both(onset, apex)
        return there.flow, back
    return flow(onset, apex, estimator), flow(apex, onset, estimator)


def disagreement(forward: Field, backward: Field) -> Field:
    """Forward-backward error: how far from its start an onset pixel ends after both flows, float32 `(H, W)`, px."""
    error = forward + cv2.remap(backward, *targets(forward), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.magnitude(error[..., 0], error[..., 1]), np.float32)
