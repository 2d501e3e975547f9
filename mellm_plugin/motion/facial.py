"""Flow of the face alone: estimated, without the head's motion, with its confidence and its doubts.

pair = working_pair(onset, apex, settings)       the size at which it is measured
measured = measure(pair, settings)               flow, less the head's, smoothed; confidence; doubts
at_size(measured, pair.shape)                    in px of the given frames
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from mellm_plugin.errors import ImageError
from mellm_plugin.motion.flow import both_flows, disagreement, flow
from mellm_plugin.motion.geometry import Field, Grey, face_ellipse, unit
from mellm_plugin.motion.head import HeadMotion, check_nose, fit_head, nose_motion
from mellm_plugin.motion.local import Local, local_both
from mellm_plugin.motion.plausibility import error_doubts, flow_doubts, picture_doubts
from mellm_plugin.motion.settings import DEFAULT, MotionSettings

Nose = Sequence[float]
"""Nose tip, x and y, px of the onset frame."""

_DOUBT_SLOPE = 0.25  # tolerated error for each px of motion


@dataclass(frozen=True)
class FacialFlow:
    """Flow of the face alone, and how far to trust it.

    Attributes:
        flow: float32 `(H, W, 2)`, px, x to the right, y down, at onset pixels, head motion removed, smoothed.
        confidence: float32 `(H, W)`, 0..1, from the forward-backward error; None if the settings turn it off.
        head: the removed head motion; None if the settings leave it in.
        head_from: `"similarity"`, `"nose"` or `"none"`; `"nose"` only if the nose tip was known.
        doubts: reasons why this is no plausible flow of a micro-expression; empty for a good clip.
    """

    flow: Field
    confidence: Field | None
    head: HeadMotion | None
    head_from: str
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Two grey frames at the size at which they are measured.

    Attributes:
        onset: uint8 `(h, w)`.
        apex: the same shape.
        nose: nose tip in these frames, px; None if it is unknown or the settings do not use it.
        shape: height and width of the frames that the user gave.
    """

    onset: Grey
    apex: Grey
    nose: tuple[float, float] | None
    shape: tuple[int, int]


def working_pair(onset: Grey, apex: Grey, settings: MotionSettings = DEFAULT, nose: Nose | None = None) -> Pair:
    """The frames at the size at which they are measured: their own, or `settings.working_side` as the shorter side.

    The estimators lose motion in frames larger than their detail, and the time grows with the pixels.

    Raises:
        ImageError: the nose tip is outside the frame.
    """
    height, width = onset.shape
    tip = None
    if nose is not None and settings.head == "nose":
        if len(nose) != 2:
            raise ImageError(f"expected a nose tip as x and y, found {nose!r}")
        tip = float(nose[0]), float(nose[1])
        check_nose(tip, onset.shape)
    shrink = min(height, width) / settings.working_side if settings.working_side else 1.0
    if shrink <= 1:
        return Pair(onset, apex, tip, (height, width))
    size = round(width / shrink), round(height / shrink)
    first, second = (np.asarray(cv2.resize(f, size, interpolation=cv2.INTER_AREA), np.uint8) for f in (onset, apex))
    tip = None if tip is None else ((tip[0] + 0.5) * size[0] / width - 0.5, (tip[1] + 0.5) * size[1] / height - 0.5)
    return Pair(first, second, tip, (height, width))


def measure(
    pair: Pair, settings: MotionSettings = DEFAULT, known: tuple[Field, Field | None] | None = None
) -> FacialFlow:
    """The flow of the face at the size of the pair's frames.

    `known` are flows estimated elsewhere: from onset to apex and, if `doubt_px` asks for it, back; float32
    `(h, w, 2)` each, px.

    Raises:
        ImageError: the nose tip is outside the frame.
    """
    backward: Field | None = None
    own: Local | None = None
    if known is not None:
        forward, backward = known
    elif settings.estimator == "local":
        own, backward = local_both(pair.onset, pair.apex)
        forward = own.flow
    elif settings.doubt_px:
        forward, backward = both_flows(pair.onset, pair.apex, settings.estimator)
    else:
        forward = flow(pair.onset, pair.apex, settings.estimator)
    height, width = pair.onset.shape
    if own is not None:
        fitted, unfitted = own.head, own.facial
    else:
        fitted = fit_head(forward, turn=False)
        unfitted = forward - fitted.flow(height, width)
    head: HeadMotion | None = fitted
    source, facial = "similarity", unfitted
    if settings.head == "none":
        head, source, facial = None, "none", forward
    elif settings.head == "nose" and pair.nose is not None:
        head, source = nose_motion(forward, pair.nose), "nose"
        facial = forward - head.flow(height, width)
    doubts = picture_doubts(pair.onset, pair.apex)
    doubts = doubts or flow_doubts(pair.onset, pair.apex, forward, unfitted, fitted)
    if own is not None:
        doubts = doubts or error_doubts(unfitted, own.excess, own.error)
    confidence = None
    if settings.doubt_px and backward is not None:
        error = disagreement(forward, backward)
        tolerated = settings.doubt_px * unit(facial.shape) + _DOUBT_SLOPE * np.linalg.norm(unfitted, axis=-1)
        confidence = np.asarray(1 / (1 + np.square(error / tolerated)), np.float32)
    sigma = settings.smooth_px * unit(facial.shape)
    if sigma > 0:
        facial = cv2.GaussianBlur(facial, (0, 0), sigma)
    return FacialFlow(np.asarray(facial, np.float32), confidence, head, source, tuple(doubts))


def at_size(measured: FacialFlow, shape: tuple[int, int]) -> FacialFlow:
    """A flow measured in smaller frames, in px of frames of this height and width."""
    height, width = measured.flow.shape[:2]
    if (height, width) == shape:
        return measured
    across, down = shape[1] / width, shape[0] / height
    confidence, head = measured.confidence, measured.head
    enlarged = cv2.resize(measured.flow, shape[::-1]) * np.array((across, down), np.float32)
    if confidence is not None:
        confidence = np.asarray(cv2.resize(confidence, shape[::-1]), np.float32)
    if head is not None:
        head = replace(head, tx=head.tx * across, ty=head.ty * down)
    return replace(measured, flow=np.asarray(enlarged, np.float32), confidence=confidence, head=head)


def strength(measured: FacialFlow) -> float:
    """How strongly a face moves: the 99th percentile of the flow's length within the face, px of the reference frame.

    The largest single vector would be noise; a lower percentile would miss a micro-expression, which moves a few per
    cent of the face.
    """
    height, width = measured.flow.shape[:2]
    lengths = np.linalg.norm(measured.flow, axis=-1)[face_ellipse(height, width)]
    return float(np.percentile(lengths, 99) / unit((height, width)))


def facial_flow(onset: Grey, apex: Grey, settings: MotionSettings = DEFAULT, nose: Nose | None = None) -> FacialFlow:
    """Flow of the face alone, at the size of the frames, which are cropped to the face.

    Settings with `head="nose"` fall back to the similarity fit if the nose tip is unknown.

    Raises:
        ImageError: the nose tip is outside the frame.
    """
    pair = working_pair(onset, apex, settings, nose)
    return at_size(measure(pair, settings), pair.shape)
