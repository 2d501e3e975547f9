"""From two frames to the flow of the face: working size, head motion, confidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from mellm_plugin.errors import ImageError
from mellm_plugin.motion.facial import FacialFlow, facial_flow, measure, strength, working_pair
from mellm_plugin.motion.flow import both_flows, flow
from mellm_plugin.motion.settings import DEFAULT, PRESETS, MotionSettings

Array = np.ndarray[Any, Any]

AT_NOSE = MotionSettings(estimator="dis", head="nose", working_side=0, smooth_px=0, doubt_px=0)
"""As published, but for its slow estimator."""


def texture(height: int, width: int, seed: int = 0) -> Array:
    noise = np.random.default_rng(seed).normal(0, 1, (height, width)).astype(np.float32)
    return (128 + 200 * cv2.GaussianBlur(noise, (0, 0), 1.5)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("settings", "nose"),
    [(PRESETS["published"], (33.4, 40.6)), (AT_NOSE, (2.0, 1.0)), (AT_NOSE, (78.49, 61.2)), (AT_NOSE, (-0.5, 63.4))],
)
def test_head_motion_is_the_mean_at_the_nose(settings: MotionSettings, nose: tuple[float, float]) -> None:
    onset = texture(64, 79)
    apex = cv2.warpAffine(onset, np.float64([[1.01, -0.02, 1.3], [0.02, 1.01, -0.7]]), (79, 64), flags=cv2.INTER_CUBIC)
    found = facial_flow(onset, apex, settings, nose)
    whole = flow(onset, apex, settings.estimator)
    column, row = int(np.floor(nose[0] + 0.5)), int(np.floor(nose[1] + 0.5))
    rows, columns = ([i for i in range(at - 5, at + 6) if 0 <= i < end] for at, end in ((row, 64), (column, 79)))
    u, v = (np.mean([float(whole[y, x, axis]) for y in rows for x in columns]) for axis in (0, 1))
    assert found.head is not None and found.head_from == "nose"
    assert [found.head.tx, found.head.ty] == pytest.approx([u, v], abs=1e-5)
    assert (found.head.a, found.head.b) == (0, 0)
    assert found.confidence is None
    assert np.allclose(found.flow, whole - np.float32([u, v]), atol=1e-5), "only the mean is removed, nothing smoothed"


def test_a_nose_outside_the_frame_is_refused_in_px_of_the_original_frame() -> None:
    onset = texture(64, 79)
    for x, y in ((79, 30), (30, 63.5), (-0.6, 30), (30, -1), (float("nan"), 30), (30, float("inf"))):
        with pytest.raises(ImageError, match=f"inside the frame of 79x64 px, found x {x:g}, y {y:g}"):
            facial_flow(onset, onset, AT_NOSE, (x, y))
    with pytest.raises(ImageError, match="inside the frame of 79x64 px, found x 80, y 30"):
        facial_flow(onset, onset, replace(AT_NOSE, working_side=32), (80, 30))


def test_without_a_nose_or_its_use_the_head_is_fitted_or_left_in(photograph: Any) -> None:
    clip = photograph.moved(["12"])
    found = facial_flow(clip.onset, clip.apex, AT_NOSE)
    fitted = facial_flow(clip.onset, clip.apex, replace(AT_NOSE, head="similarity"), nose=(1000, -5))
    assert found.head_from == fitted.head_from == "similarity"
    assert found.head == fitted.head and np.array_equal(found.flow, fitted.flow)
    kept = facial_flow(clip.onset, clip.apex, replace(AT_NOSE, head="none"))
    assert (kept.head, kept.head_from) == (None, "none")
    assert np.array_equal(kept.flow, flow(clip.onset, clip.apex, "dis"))


def test_the_shorter_side_is_brought_to_the_working_side() -> None:
    frame = texture(96, 128)
    settings = replace(AT_NOSE, working_side=48)
    pair = working_pair(frame, frame, settings, (63.5, 95.4))
    assert pair.onset.shape == pair.apex.shape == (48, 64) and pair.shape == (96, 128)
    assert pair.nose == pytest.approx((31.5, 47.45))
    assert working_pair(frame, frame, replace(settings, head="similarity"), (1, 1)).nose is None
    for side in (0, 96, 120):
        pair = working_pair(frame, frame, replace(settings, working_side=side), (5, 6))
        assert pair.onset is frame and pair.shape == (96, 128) and pair.nose == (5, 6)


def test_a_nose_in_the_corner_stays_inside_a_smaller_frame() -> None:
    frame = texture(96, 96)
    for nose in ((95, 95), (0, 95.4), (-0.5, -0.5)):
        found = facial_flow(frame, np.roll(frame, 4, 1), replace(AT_NOSE, working_side=32), nose)
        assert found.head_from == "nose" and found.flow.shape == (96, 96, 2)


def test_a_flow_measured_in_smaller_frames_is_in_px_of_the_large_ones(photograph: Any) -> None:
    clip = photograph.moved(["12"])
    frames = [cv2.resize(frame, (672, 672), interpolation=cv2.INTER_CUBIC) for frame in (clip.onset, clip.apex)]
    settings = replace(DEFAULT, working_side=224)
    large, small = facial_flow(*frames, settings), facial_flow(clip.onset, clip.apex, settings)
    assert large.flow.shape == (672, 672, 2) and large.flow.dtype == np.float32
    assert large.confidence is not None and large.confidence.shape == (672, 672)
    back = cv2.resize(large.flow, (224, 224), interpolation=cv2.INTER_AREA) / 3
    assert np.linalg.norm(back - small.flow, axis=-1)[photograph.INNER].mean() < 0.03
    assert large.head is not None and small.head is not None
    assert [large.head.tx / 3, large.head.ty / 3] == pytest.approx([small.head.tx, small.head.ty], abs=0.05)
    assert [large.head.a, large.head.b] == pytest.approx([small.head.a, small.head.b], abs=5e-4)


def test_smoothing_is_in_px_of_the_reference_frame(photograph: Any) -> None:
    clip = photograph.moved(["1"])
    half = [np.ascontiguousarray(frame[:112, :112]) for frame in (clip.onset, clip.apex)]
    rough, smooth = (facial_flow(*half, replace(DEFAULT, smooth_px=px)) for px in (0, 3))
    assert np.allclose(smooth.flow, cv2.GaussianBlur(rough.flow, (0, 0), 1.5), atol=1e-6)


def test_confidence_is_low_only_where_something_covers_the_face(photograph: Any) -> None:
    clip = photograph.moved(["2"])
    free = facial_flow(clip.onset, clip.apex)
    covered = clip.apex.copy()
    covered[130:190, 40:100] = texture(60, 60, seed=1)
    found = facial_flow(clip.onset, covered)
    assert found.confidence is not None and free.confidence is not None
    assert free.confidence.dtype == np.float32 and free.confidence.min() >= 0 and free.confidence.max() <= 1
    under, beside = np.s_[138:182, 48:92], np.s_[40:110, 60:180]
    assert free.confidence[photograph.INNER].mean() > 0.95
    assert found.confidence[under].mean() < 0.7 < 0.9 < found.confidence[beside].mean()


def test_more_doubt_px_is_more_confidence_and_none_is_none(photograph: Any) -> None:
    clip = photograph.moved(["4"], noise=4.0)
    known = both_flows(clip.onset, clip.apex)
    pair = working_pair(clip.onset, clip.apex)
    plain = [measure(pair, replace(DEFAULT, doubt_px=px), known).confidence for px in (0.02, 0.1, 0.5, 0)]
    means = [float(confidence.mean()) for confidence in plain[:3] if confidence is not None]
    assert len(means) == 3 and means[0] < means[1] < means[2] and plain[3] is None


def test_strength_counts_the_face_alone_in_px_of_the_reference_frame() -> None:
    for side in (224, 448):
        moved = np.zeros((side, side, 2), np.float32)
        spot = slice(side // 2, side // 2 + side // 8)
        moved[spot, spot, 1] = -1.5 * side / 224  # a few per cent of the face
        moved[:5, :5] = 40  # outside of it
        assert strength(FacialFlow(moved, None, None, "none", ())) == pytest.approx(1.5, abs=1e-5)
    still = FacialFlow(np.zeros((100, 80, 2), np.float32), None, None, "none", ())
    assert strength(still) == 0
