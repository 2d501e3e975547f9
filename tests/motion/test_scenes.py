"""Cuts between scenes."""

from __future__ import annotations

import numpy as np

from mellm_plugin.motion.scenes import find_cuts, scene


def test_cuts() -> None:
    rng = np.random.default_rng(0)
    first, second = (np.kron(rng.integers(40, 200, (8, 8)), np.ones((12, 12))) for _ in range(2))
    noise = rng.normal(0, 2, (20, 96, 96))
    frames = (np.stack([first] * 10 + [second] * 10) + noise).clip(0, 255).astype(np.uint8)
    assert find_cuts(frames) == (10,) and find_cuts(frames[:1]) == ()
    still = frames[:10].copy()
    still[7] = 0
    assert find_cuts(still) == (7, 8), "a black frame is a scene of its own"
    still[7] = np.minimum(still[6].astype(int) + 25, 255)
    assert find_cuts(still) == (), "a flash changes the light, not the scene"


def test_the_scene_of_a_frame() -> None:
    assert scene(5, 2, (3,)) == (0, 3) and scene(5, 3, (3,)) == (3, 5) and scene(5, 1, ()) == (0, 5)
