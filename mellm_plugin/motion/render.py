"""Onset and apex to motion map: the one door to this room."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from mellm_plugin.motion import colour
from mellm_plugin.motion.flow import flow as estimate_flow
from mellm_plugin.motion.head import HeadMotion, fit_head
from mellm_plugin.motion.images import Frame, read_pair
from mellm_plugin.motion.settings import DEFAULT, MotionSettings

REFERENCE_SIDE = 224
"""Shorter side, px, of the frame that the lengths of `MotionSettings` are given for."""

WORKING_SIDE = 336
"""Shorter side, px, of the largest frames that are measured at their own size."""


@dataclass(frozen=True)
class MotionMap:
    """A motion map and what it was drawn from.

    Attributes:
        image: uint8 `(H, W, 3)`, RGB.
        flow: float32 `(H, W, 2)`, px, x to the right, y down, at onset pixels, head motion removed, smoothed.
        head: the head's motion; None where the settings leave it in.
        settings: how it was drawn.
    """

    image: npt.NDArray[np.uint8]
    flow: npt.NDArray[np.float32]
    head: HeadMotion | None
    settings: MotionSettings

    @property
    def coloured(self) -> float:
        """Share of the pixels, 0..1, that move more than the floor of the settings."""
        return float(np.mean(strength(self.flow, self.settings) > 0))

    def to_pil(self) -> Image.Image:
        """The map as a PIL image, mode RGB."""
        return Image.fromarray(self.image)


def _unit(shape: tuple[int, ...]) -> float:
    """How many px of this frame one px of the reference frame is."""
    return min(shape[0], shape[1]) / REFERENCE_SIDE


def strength(flow: npt.NDArray[np.float32], settings: MotionSettings) -> npt.NDArray[np.float32]:
    """Strength of the colour for each vector: nothing up to the floor, then `1 - exp(-excess / knee)`.

    A fixed scale with a soft knee, in units of the frame: brightness follows the motion itself, so that noise on a
    still face is not amplified and a large movement (a blink) does not darken a small one beside it.

    Args:
        flow: float32 `(H, W, 2)`, px.
        settings: gives the floor and the knee, scaled to the frame.

    Returns:
        float32 `(H, W)`, 0..1.
    """
    unit = _unit(flow.shape)
    magnitude = cv2.magnitude(np.ascontiguousarray(flow[..., 0]), np.ascontiguousarray(flow[..., 1]))
    excess = np.maximum(magnitude - settings.floor_px * unit, 0)
    return np.asarray(1 - np.exp(-excess / (settings.knee_px * unit)), dtype=np.float32)


def facial_flow(
    onset: npt.NDArray[np.uint8], apex: npt.NDArray[np.uint8], settings: MotionSettings = DEFAULT
) -> tuple[npt.NDArray[np.float32], HeadMotion | None]:
    """Flow of the face alone: estimated, freed of head motion, smoothed.

    Frames with a shorter side over `WORKING_SIDE` are measured at that size: the estimators lose motion in frames that
    are larger than their detail, and the time grows with the pixels.

    Args:
        onset: uint8 `(H, W)`, grey, cropped to the face.
        apex: the same shape.
        settings: which estimator, which head model, how much smoothing.

    Returns:
        float32 `(H, W, 2)`, px, at onset pixels, and the head motion that was removed.
    """
    height, width = onset.shape
    shrink = min(height, width) / WORKING_SIDE
    if shrink > 1:
        size = round(width / shrink), round(height / shrink)
        small_onset, small_apex = (cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in (onset, apex))
        small, head = facial_flow(np.asarray(small_onset, np.uint8), np.asarray(small_apex, np.uint8), settings)
        enlarged = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(shrink)
        moved = None if head is None else replace(head, tx=head.tx * shrink, ty=head.ty * shrink)
        return np.asarray(enlarged, np.float32), moved
    flow = estimate_flow(onset, apex, settings.estimator)
    head = fit_head(flow) if settings.head == "similarity" else None
    if head is not None:
        flow = flow - head.flow(*flow.shape[:2])
    sigma = settings.smooth_px * _unit(flow.shape)
    if sigma > 0:
        flow = cv2.GaussianBlur(flow, (0, 0), sigma)
    return np.asarray(flow, dtype=np.float32), head


def motion_map(onset: Frame, apex: Frame, settings: MotionSettings = DEFAULT) -> MotionMap:
    """Draw the motion from onset to apex as colour over the grey onset frame.

    Args:
        onset: path, PIL image, or uint8/uint16 array; cropped to the face.
        apex: the same, of the same size.
        settings: how to draw it.

    Returns:
        the map with its flow and the head motion.

    Raises:
        ImageError: a frame cannot be used, or the two do not fit together; all faults at once.
    """
    grey, grey_apex = read_pair(onset, apex)
    flow, head = facial_flow(grey, grey_apex, settings)
    image = colour.paint(flow, strength(flow, settings), grey)
    return MotionMap(image=image, flow=flow, head=head, settings=settings)
