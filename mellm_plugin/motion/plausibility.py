"""Doubts about a measured pair: reasons, in words, why it may not show a micro-expression under a moving head.

The bounds are far from any real micro-expression and from the limits of the head model, so a doubt means that somebody
should look at the clip: the wrong frame, a cut, two people, a head that turns away, a lamp switched on.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.motion.geometry import REFERENCE_SIDE, Field, Grey, face_ellipse, targets, unit
from mellm_plugin.motion.head import HeadMotion

FLAT_LEVELS = 3.0
"""A frame is flat if the standard deviation of its grey levels is lower."""

CLIPPED_SHARE = 0.5
"""A frame cannot be measured if a larger share of its pixels is black (0) or saturated (255)."""

LIKENESS = 0.8
"""Onset and apex show different scenes if the onset and the apex warped back to it correlate less."""

HEAD_SHIFT, HEAD_DEGREES, HEAD_SCALE, HEAD_TURN = 0.12, 8.0, 0.10, 3.3
"""Limits of the head model: share of the frame's shorter side, degrees, scale, degrees out of the plane."""

LARGE_MOTION, LARGE_SHARE = 0.04, 0.05
"""At most `LARGE_SHARE` of the face may move by more than `LARGE_MOTION`, a share of the frame's shorter side."""

MOST_EXCESS, LEAST_HIDDEN = 5.0, 0.3
"""Most of the variance that white noise would cause in still skin, as a factor; and the least hidden motion that
matters, px of the reference frame."""

_HIDDEN = 8.0  # errors of still skin; a larger motion has the right direction in 2 of 3 regions, others in 2 of 5
_ABOVE = 2.0  # a found motion of so many times the hidden one is sure
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
    if head.out_of_plane is not None and head.out_of_plane > HEAD_TURN:
        found.append(
            f"the head turns by {head.out_of_plane:.0f} degrees out of the plane: the depth of the face may look like "
            "motion, and motion like depth"
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


def error_doubts(facial: Field, excess: float, error: float) -> list[str]:
    """Doubts about a facial flow, from how far still skin seems to move, as `motion.local.Local` gives it."""
    px = unit(facial.shape)
    hidden = _HIDDEN * error
    if excess <= MOST_EXCESS or hidden < LEAST_HIDDEN * px:
        return []
    lengths = cv2.magnitude(facial[..., 0], facial[..., 1])[face_ellipse(*facial.shape[:2])]
    if np.percentile(lengths, 99) > _ABOVE * hidden:
        return []
    return [
        f"still skin seems to move, {excess:.0f} times more than noise explains: compression, or a head that turns, "
        f"hides motion below about {hidden / px:.1f} px of a frame of {REFERENCE_SIDE} px; for measurements, record "
        "without loss or nearly so (CRF 10)"
    ]


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
