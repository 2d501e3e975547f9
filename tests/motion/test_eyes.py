"""The eyes of a photographed face, in many crops; and which motion is theirs."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from mellm_plugin.motion.eyes import EyeCells, Eyes, find_eyes
from mellm_plugin.motion.geometry import face_ellipse

Array = np.ndarray[Any, Any]
EYES = np.array([(203.0, 101.0), (247.5, 103.0)])
"""In scikit-image's astronaut (NASA, public domain), px."""


@pytest.mark.parametrize(
    ("x", "y", "side", "tilt"),
    [(224, 118, 170, 0), (224, 100, 170, 0), (224, 136, 170, 0), (212, 118, 150, 10), (236, 118, 200, -10)],
    ids=["a usual crop", "more forehead", "less forehead", "tight, tilted", "wide, tilted"],
)
def test_eyes_are_found_in_any_crop(x: float, y: float, side: float, tilt: float) -> None:
    picture = cv2.cvtColor(pytest.importorskip("skimage.data").astronaut(), cv2.COLOR_RGB2GRAY)
    matrix = cv2.getRotationMatrix2D((x, y), tilt, 224 / side)
    matrix[:, 2] += [112 - x, 112 - y]
    frame = cv2.warpAffine(picture, matrix, (224, 224), flags=cv2.INTER_CUBIC)
    found = find_eyes(np.asarray(frame, np.uint8))
    assert found is not None
    assert np.abs(np.array(found) - (EYES @ matrix[:, :2].T + matrix[:, 2])).max() < 8  # brows are 19 px away


def test_no_face_has_no_eyes() -> None:
    rng = np.random.default_rng(0)
    for frame in (np.full((224, 224), 90), rng.integers(0, 256, (224, 160))):
        assert find_eyes(frame.astype(np.uint8)) is None


@pytest.mark.parametrize(
    ("below", "elsewhere", "theirs"),
    [(0, 0, True), (6, 0, True), (-20, 0, False), (24, 0, False), (0, 2, False)],
    ids=["lids", "lids, found a little too high", "brows", "cheeks", "lids and the mouth"],
)
def test_only_motion_at_the_eyes_is_theirs(below: float, elsewhere: float, theirs: bool) -> None:
    eyes = np.array([(82.0, 96.0), (142.0, 104.0)])
    y, x = np.mgrid[:28, :28] * 8.0 + 3.5
    size = np.zeros((28, 28))
    for place, px in [(eye + np.array([0, below]), 2.0) for eye in eyes] + [(np.array([112.0, 165.0]), elsewhere)]:
        size += px * np.exp(-(((x - place[0]) / 14) ** 2 + ((y - place[1]) / 9) ** 2) / 2)
    cells = EyeCells(Eyes(*map(tuple, eyes.tolist())), (28, 28), (224, 224), face_ellipse(28, 28))
    shift = cells.closing(size.astype(np.float32))
    assert (shift is not None) == theirs
    if shift is not None:
        assert shift == pytest.approx(below / 60, abs=0.05)
