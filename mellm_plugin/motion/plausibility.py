"""Doubts about a measured pair: reasons, in words, why it may not show a micro-expression under a moving head.

The bounds are far from any real micro-expression and from the limits of the head model, so a doubt means that somebody
should look at the clip: the wrong frame, a cut, two people, a head that turns away, a lamp switched on.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.motion.geometry import Field, Grey, face_ellipse, targets, unit
from mellm_plugin.motion.head import HeadMotion

FLAT_LEVELS = 3.0
"""A frame is flat if the standard deviation of its grey levels is lower."""

CLIPPED_SHARE = 0.5
"""A frame cannot be measured if a larger share of its pixels is black (0) or saturated (255)."""

LIKENESS = 0.8
"""Onset and apex show different scenes if the onset and the apex warped back to it correlate less."""

HEAD_SHIFT, HEAD_DEGREES, HEAD_SCALE = 0.12, 8.0, 0.10
"""Limits of the similarity as a head model: share of the frame's shorter side, degrees, scale."""

LARGE_MOTION, LARGE_SHARE = 0.04, 0.05
"""At most `LARGE_SHARE` of the face may move by more than `LARGE_MOTION`, a share of the frame's shorter side."""

_TEXTURE_PX = 8.0  # scale of the compared structure, px of the reference frame


def picture_doubts(onset: Grey, apex: Grey) -> list[str]:
    """Faults of two frames that no flow can mend; empty for frames that can be measured."""
    found = ["onset and apex are the same picture, pixel for pixel"] if np.array_equal(onset, apex) else []
    for name, frame in (("onset", onset), ("apex", apex)):
        deviation = float(cv2.meanStdDev(frame)[1][0, 0])
        black = 1 - cv2.countNonZero(frame) / frame.size
        white = 1 - cv2.countNonZero(255 - frame) / frame.size
        if deviation < FLAT_LEVELS:
            found.append(f"the {name} frame is flat: its grey levels deviate by only {deviation:.1f}")
        elif max(black, white) > CLIPPED_SHARE:
            kind = "black" if black > white else "saturated"
            found.append(f"{100 * max(black, white):.0f} % of the {name} frame is {kind}")
    return found


def flow_doubts(onset: Grey, apex: Grey, flow: Field, facial: Field, head: HeadMotion) -> list[str]:
    """Faults of a flow; empty for a plausible one. `facial` is the flow without the head's motion fitted to it."""
    side = min(onset.shape)
    found = []
    shift = float(np.hypot(head.tx, head.ty)) / side
    if shift > HEAD_SHIFT or abs(head.rotation) > HEAD_DEGREES or abs(head.scale - 1) > HEAD_SCALE:
        found.append(
            f"the head moves too far to align the frames: {100 * shift:.0f} % of the frame, "
            f"{head.rotation:+.1f} degrees, {100 * (head.scale - 1):+.0f} % nearer"
        )
    inside = face_ellipse(*onset.shape)
    likeness = _likeness(onset, apex, flow, inside)
    if likeness < LIKENESS:
        found.append(
            f"the apex does not match the onset after alignment (correlation {likeness:.2f}): a cut, another person, "
            "something in front of the face, or a head that turns away"
        )
    large = float(np.mean(cv2.magnitude(facial[..., 0], facial[..., 1])[inside] > LARGE_MOTION * side))
    if large > LARGE_SHARE:
        found.append(
            f"{100 * large:.0f} % of the face moves by more than {100 * LARGE_MOTION:.0f} % of the frame: "
            "no micro-expression, or a head that turns away"
        )
    return found


def _likeness(onset: Grey, apex: Grey, flow: Field, inside: npt.NDArray[np.bool_]) -> float:
    """Correlation of fine structure inside the face, with the apex warped back along the flow; 1 without structure."""
    height, width = onset.shape
    back = cv2.remap(apex, *targets(flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    sigma = _TEXTURE_PX * unit(onset.shape)
    seen = inside[: height // 2 * 2 : 2, : width // 2 * 2 : 2]
    first, second = (_band(frame, sigma / 2)[seen] for frame in (onset, back))
    power = float(np.sqrt(first @ first) * np.sqrt(second @ second))
    return float(first @ second) / power if power > len(first) else 1.0


def _band(frame: Grey, sigma: float) -> Field:
    # At half the size: single-pixel noise would hide the likeness of two dim frames.
    half = cv2.resize(frame, (frame.shape[1] // 2, frame.shape[0] // 2), interpolation=cv2.INTER_AREA)
    image = half.astype(np.float32)
    return np.asarray(image - cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
