"""The motion of the face in cells, whatever the head does."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from mellm_plugin.motion.geometry import face_ellipse
from mellm_plugin.motion.head import HeadMotion
from mellm_plugin.motion.settings import DEFAULT, MotionSettings
from mellm_plugin.motion.tracking import Tracker, head_flow


def test_a_unit_is_measured_and_the_head_removed(photograph: Any) -> None:
    pair = photograph.moved(("12",), px=1.5)
    tracker = Tracker(pair.onset, DEFAULT)
    found, head = tracker.measure(pair.apex), tracker.head
    true = cv2.resize(pair.facial, tracker.shape[::-1], interpolation=cv2.INTER_AREA)
    inside = face_ellipse(*tracker.shape) & (tracker.doubt < 2 * np.median(tracker.doubt))
    moving = inside & (np.linalg.norm(true, axis=-1) > 0.5)
    assert found.shape == (*tracker.shape, 2) and found.dtype == np.float32
    along = (found[moving] * true[moving]).sum() / np.square(true[moving]).sum()
    assert 0.6 < along < 1.2
    still = inside & (np.linalg.norm(true, axis=-1) < 0.05)
    assert np.percentile(np.linalg.norm(found[still], axis=-1), 90) < 0.12
    assert np.abs(head[14, 14] - [1.7, -1.1]).max() < 0.2
    left_in = Tracker(pair.onset, MotionSettings(head="none")).measure(pair.apex)
    assert np.abs(np.median(left_in[still], axis=0) - np.median(head[still], axis=0)).max() < 0.2


def test_a_head_that_went_far_is_followed_from_frame_to_frame(photograph: Any) -> None:
    tracker = Tracker(photograph.moved(head=HeadMotion()).onset, DEFAULT)
    for step in range(1, 7):  # 2 px each, together far more than the linear solution reaches
        head = HeadMotion(1.8 * step, -0.9 * step)
        found = tracker.measure(photograph.moved(head=head).apex)
    assert np.abs(tracker.head[8:20, 8:20] - [10.8, -5.4]).max() < 0.3
    assert np.percentile(np.linalg.norm(found[8:20, 8:20], axis=-1), 90) < 0.2


@pytest.mark.parametrize("shape", [(224, 300), (160, 120), (40, 32)])
def test_the_heads_flow_is_a_quadratic_that_expression_does_not_change(shape: tuple[int, int]) -> None:
    y, x = (
        (places - size / 2) / max(shape) for places, size in zip(np.mgrid[: shape[0], : shape[1]], shape, strict=True)
    )
    true = np.dstack([2 + x - 3 * y + 4 * x * x, 1 + x * y]).astype(np.float32)
    face = true.copy()
    rows, columns = np.s_[shape[0] // 3 : shape[0] // 2], np.s_[shape[1] // 3 : shape[1] // 2]
    face[rows, columns] += 2
    assert np.abs(head_flow(face) - true).max() < 0.05
