"""Head motion is found whatever part of the face moves on its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.datasets.synthme import displacement
from mellm_plugin.motion.geometry import face_ellipse
from mellm_plugin.motion.head import HeadMotion, fit_head


@settings(deadline=None, max_examples=25)
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
    assert f"{HeadMotion().rotation:+.1f}" == "+0.0"


def test_the_face_is_followed_and_not_the_rim_in_any_frame() -> None:
    face, background = HeadMotion(2.0, 1.0, 0.01, -0.02), HeadMotion(0.0, 0.0)
    for shape in ((224, 200), (48, 32), (1088, 2040)):
        inside = face_ellipse(*shape)
        flow = np.where(inside[..., None], face.flow(*shape), background.flow(*shape)).astype(np.float32)
        found = fit_head(flow)
        assert np.allclose([found.tx, found.ty, found.a, found.b], [2.0, 1.0, 0.01, -0.02], atol=1e-3)
    still = fit_head(np.zeros((64, 80, 2), np.float32))
    assert still.out_of_plane == 0 and not still.flow(64, 80).any()


@pytest.mark.parametrize("turn", [(2.0, 0.0), (0.0, -2.0), (0.7, 0.7)])
def test_a_turn_is_fitted_with_depth(photograph: Any, turn: tuple[float, float]) -> None:
    clip = photograph.moved(["12"], 2.0, turn=turn)
    truth = clip.flow - clip.facial
    inside = face_ellipse(224, 224)
    left = {
        kind: np.linalg.norm(truth - fit_head(clip.flow, turn=kind).flow(224, 224), axis=-1)[inside]
        for kind in (True, False)
    }
    assert np.percentile(left[True], 90) < 0.4 * np.percentile(left[False], 90)
    assert np.median(left[True]) < 0.09, "px"


def test_a_head_that_does_not_turn_has_no_turn(photograph: Any) -> None:
    clip = photograph.moved(["1", "2"], 1.0)
    found = fit_head(clip.flow)
    assert found.out_of_plane == 0 and fit_head(clip.flow, turn=False).out_of_plane is None
    assert np.allclose(found.flow(224, 224), fit_head(clip.flow, turn=False).flow(224, 224), atol=1e-3)
