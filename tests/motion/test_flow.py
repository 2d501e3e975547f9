"""The estimators against drawn clips, where the flow is known."""

from __future__ import annotations

import numpy as np
import pytest

from mellm_plugin.datasets.synthme import clips
from mellm_plugin.errors import SettingsError
from mellm_plugin.motion.flow import ESTIMATORS, flow
from mellm_plugin.motion.images import read_pair
from mellm_plugin.motion.settings import ESTIMATORS as NAMES


def test_the_settings_know_the_estimators() -> None:
    assert set(NAMES) == set(ESTIMATORS)


@pytest.mark.parametrize(("estimator", "bound"), [("dis", 0.13), ("farneback", 0.45)])
def test_end_point_error_on_the_face(estimator: str, bound: float) -> None:
    errors = []
    for clip in clips("flow", 12, seed=1):
        found = flow(*read_pair(clip.onset, clip.apex), estimator)
        errors.append(np.linalg.norm(found - clip.flow, axis=-1)[50:180, 60:164].mean())
    # Doing nothing would leave the whole flow, head motion included.
    assert np.mean(errors) < bound


def test_a_wrong_name_lists_the_near_ones() -> None:
    grey = np.zeros((64, 64), np.uint8)
    with pytest.raises(SettingsError, match="Did you mean 'farneback'"):
        flow(grey, grey, "farnback")
