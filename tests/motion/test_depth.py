"""Depths of heads."""

from __future__ import annotations

import numpy as np

from mellm_plugin.motion.depth import RELIEFS, head_model


def test_a_turn_moves_the_nose_against_the_cheeks() -> None:
    model = head_model(40, 40)
    turn = np.zeros(6 + RELIEFS)
    turn[4] = 0.035  # two degrees to the right
    flow = model.turned(turn) * 112
    assert not flow[..., 1].any()
    nose, cheeks = flow[22:25, 19:21, 0].mean(), flow[22:25, [9, 30], 0].mean()
    assert 0.8 < nose - cheeks < 2.0, "px of a face of 224 px"
    turn[4:6] = 0, 0.035
    assert np.allclose(model.turned(turn)[..., 1] * 112, flow[..., 0]), "a nod moves the same depth downwards"


def test_reliefs_are_no_plane_and_have_a_spread() -> None:
    model = head_model(50, 40)
    assert model.reliefs.shape == (RELIEFS, 50, 40) and model.usual.shape == (50, 40)
    assert (np.diff(model.spread) < 0).all() and model.spread[-1] > 0
    fields = np.stack([model.depth, *model.reliefs])[:, model.inside]
    planes = model.plane[[0, 2], 0][:, model.inside]
    norms = np.linalg.norm(fields, axis=1)[:, None] * np.linalg.norm(planes, axis=1)
    assert np.abs(fields @ planes.T / norms).max() < 1e-3
