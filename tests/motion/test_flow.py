"""The estimators against drawn clips, where the flow is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mellm_plugin.datasets.synthme import clips
from mellm_plugin.errors import SettingsError
from mellm_plugin.motion.flow import ESTIMATORS, disagreement, flow
from mellm_plugin.motion.images import read_pair


@pytest.mark.parametrize(("estimator", "bound"), [("local", 0.08), ("dis", 0.13), ("farneback", 0.45)])
def test_end_point_error_on_the_face(estimator: str, bound: float) -> None:
    errors = []
    for clip in clips("flow", 8, seed=1):
        found = flow(*read_pair(clip.onset, clip.apex), estimator)
        assert found.dtype == np.float32
        errors.append(np.linalg.norm(found - clip.flow, axis=-1)[50:180, 60:164].mean())
    # Doing nothing would leave the whole flow, head motion included.
    assert np.mean(errors) < bound


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_right_and_down_are_positive(estimator: str) -> None:
    dx, dy = 1, -1
    noise = np.random.default_rng(0).normal(0, 1, (60, 72)).astype(np.float32)
    picture = (128 + 200 * cv2.GaussianBlur(noise, (0, 0), 2)).clip(0, 255).astype(np.uint8)
    found = flow(picture[4:-4, 4:-4], picture[4 - dy : 56 - dy, 4 - dx : 68 - dx], estimator)
    assert np.median(found.reshape(-1, 2), axis=0) == pytest.approx([dx, dy], abs=0.1)


def test_disagreement_is_the_distance_after_both_flows() -> None:
    forward = np.full((20, 30, 2), (1.5, 0.0), np.float32)
    assert np.allclose(disagreement(forward, -forward), 0)
    # The backward flow is sampled where the pixel went, also between pixels.
    ramp = np.dstack([np.tile(np.arange(30, dtype=np.float32), (20, 1)), np.zeros((20, 30), np.float32)])
    assert disagreement(forward, -ramp)[5, 10] == pytest.approx(abs(1.5 - 11.5))
    assert disagreement(forward, -ramp)[5, 29] == pytest.approx(abs(1.5 - 29)), "beyond the rim as at the rim"


def test_a_wrong_name_lists_the_known() -> None:
    grey = np.zeros((64, 64), np.uint8)
    with pytest.raises(SettingsError, match="known: local, dis, farneback, tvl1. Did you mean 'farneback'"):
        flow(grey, grey, "farnback")
