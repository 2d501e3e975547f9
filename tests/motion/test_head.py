"""Head motion is found whatever part of the face moves on its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.datasets.synthme import displacement
from mellm_plugin.motion.head import HeadMotion, fit_head


@settings(deadline=None, max_examples=40)
@given(
    tx=st.floats(-4, 4),
    ty=st.floats(-4, 4),
    turn=st.floats(-2, 2),
    zoom=st.floats(-0.02, 0.02),
    codes=st.sampled_from([(), ("12",), ("1", "2", "5"), ("25", "26"), ("R14",), ("4", "9", "17")]),
)
def test_similarity_is_recovered_beside_expression(
    tx: float, ty: float, turn: float, zoom: float, codes: tuple[str, ...]
) -> None:
    a, b = (1 + zoom) * np.cos(np.radians(turn)) - 1, (1 + zoom) * np.sin(np.radians(turn))
    truth = HeadMotion(tx, ty, float(a), float(b))
    face = displacement(codes, [2.0] * len(codes), (112, 112), 95, (224, 224))
    found = fit_head(truth.flow(224, 224) + face)
    left = (found.flow(224, 224) - truth.flow(224, 224))[20:204, 30:194]
    assert np.abs(left).max() < 0.12


def test_rotation_and_scale_have_their_signs() -> None:
    turned = HeadMotion(0, 0, float(1.01 * np.cos(0.02) - 1), float(-1.01 * np.sin(0.02)))
    assert turned.rotation == pytest.approx(np.degrees(0.02), rel=1e-6)
    assert turned.scale == pytest.approx(1.01)
    # Counter-clockwise as seen: the point on the right goes up.
    assert turned.flow(101, 101)[50, 100, 1] < 0


def test_any_frame_size() -> None:
    truth = HeadMotion(1.0, -0.5, 0.004, 0.003)
    for height, width in ((32, 48), (340, 280), (1088, 2040)):
        found = fit_head(truth.flow(height, width))
        assert np.allclose([found.tx, found.ty, found.a, found.b], [1.0, -0.5, 0.004, 0.003], atol=1e-4)
