"""What speaks against a flow being a micro-expression under a moving head: reasons in words, none for a good clip.

The bounds are far from any real micro-expression and from what the head model allows, so that a reason means that
somebody should look at the clip: the wrong frame, a cut, two people, a head that turns away, a lamp switched on.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.motion.head import HeadMotion, face_ellipse

Grey = npt.NDArray[np.uint8]

FLAT_LEVELS = 3.0
"""Standard deviation of the grey levels under which a frame is called flat."""

CLIPPED_SHARE = 0.5
"""Share of black (0) or of saturated (255) pixels from which a frame cannot be measured."""

LIKENESS = 0.8
"""Correlation of the onset with the apex laid back on it, below which the two do not show the same thing."""

HEAD_SHIFT, HEAD_DEGREES, HEAD_SCALE = 0.12, 8.0, 0.10
"""Head motion beyond which the similarity is no good model: share of the frame's shorter side, degrees, scale."""

LARGE_MOTION, LARGE_SHARE = 0.04, 0.05
"""Facial motion, as a share of the frame's shorter side, that no more than this share of the face may exceed."""

_TEXTURE_PX = 8.0  # scale of what is compared, px at 224


def picture_doubts(onset: Grey, apex: Grey) -> list[str]:
    """What is wrong with two frames before any flow is measured.

    Args:
        onset: uint8 `(H, W)`, grey.
        apex: the same shape.

    Returns:
        reasons; none for frames that can be measured.
    """
    found = ["onset and apex are the same picture, pixel for pixel"] if np.array_equal(onset, apex) else []
    for name, frame in (("onset", onset), ("apex", apex)):
        deviation = float(cv2.meanStdDev(frame)[1][0, 0])
        black = 1 - cv2.countNonZero(frame) / frame.size
        white = 1 - cv2.countNonZero(255 - frame) / frame.size
        if deviation < FLAT_LEVELS:
            found.append(f"the {name} frame is flat: its grey levels deviate by {deviation:.1f} only")
        elif max(black, white) > CLIPPED_SHARE:
            kind = "black" if black > white else "saturated"
            found.append(f"{100 * max(black, white):.0f} % of the {name} frame are {kind}")
    return found


def flow_doubts(
    onset: Grey, apex: Grey, flow: npt.NDArray[np.float32], facial: npt.NDArray[np.float32], head: HeadMotion
) -> list[str]:
    """What is wrong with a flow.

    Args:
        onset: uint8 `(H, W)`, grey.
        apex: the same shape.
        flow: float32 `(H, W, 2)`, px, from onset to apex, head motion in it.
        facial: the same without the head's motion.
        head: a similarity fitted to the flow.

    Returns:
        reasons; none for a plausible flow.
    """
    height, width = onset.shape
    side = min(height, width)
    found = []
    shift = float(np.hypot(head.tx, head.ty)) / side
    if shift > HEAD_SHIFT or abs(head.rotation) > HEAD_DEGREES or abs(head.scale - 1) > HEAD_SCALE:
        found.append(
            f"the head moves too far for one frame to be laid on the other: {100 * shift:.0f} % of the frame, "
            f"{head.rotation:+.1f} degrees, {100 * (head.scale - 1):+.0f} % nearer"
        )
    inside = face_ellipse(height, width)
    likeness = _likeness(onset, apex, flow, inside)
    if likeness < LIKENESS:
        found.append(
            f"the apex laid back on the onset is not like it (correlation {likeness:.2f}): a cut, another person, "
            "something in front of the face, or a head that turns away"
        )
    large = float(np.mean(cv2.magnitude(facial[..., 0], facial[..., 1])[inside] > LARGE_MOTION * side))
    if large > LARGE_SHARE:
        found.append(
            f"{100 * large:.0f} % of the face move by more than {100 * LARGE_MOTION:.0f} % of the frame: "
            "no micro-expression, or a head that turns away"
        )
    return found


def _likeness(onset: Grey, apex: Grey, flow: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> float:
    """Correlation of fine structure inside the face, the apex taken back along the flow; 1 where there is none."""
    height, width = onset.shape
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    back = cv2.remap(apex, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    sigma = _TEXTURE_PX * min(height, width) / 224
    seen = inside[: height // 2 * 2 : 2, : width // 2 * 2 : 2]
    first, second = (_band(frame, sigma / 2)[seen] for frame in (onset, back))
    power = float(np.sqrt(first @ first) * np.sqrt(second @ second))
    return float(first @ second) / power if power > len(first) else 1.0


def _band(frame: npt.NDArray[np.uint8], sigma: float) -> npt.NDArray[np.float32]:
    # At half the size: noise of single pixels would hide the likeness of two weakly lit frames.
    half = cv2.resize(frame, (frame.shape[1] // 2, frame.shape[0] // 2), interpolation=cv2.INTER_AREA)
    image = half.astype(np.float32)
    return np.asarray(image - cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
