"""Flow as a vector: strain of known deformations, means of cells, and no dependence on strength or size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.motion.facial import FacialFlow, strength
from mellm_plugin.motion.geometry import Field
from mellm_plugin.motion.pooled_flow import CELLS, LENGTH, pooled, strain


def smooth(seed: int, side: int = 96) -> Field:
    """A random smooth flow of at most a few px."""
    noise = np.random.default_rng(seed).normal(0, 20, (side, side, 2)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), side / 12), np.float32)


def of(flow: Field) -> FacialFlow:
    return FacialFlow(flow, None, None, "similarity", ())


@pytest.mark.parametrize(
    ("across", "down", "expected"),
    [
        ((0.1, 0.0), (0.0, 0.0), 0.1),  # stretched
        ((0.1, 0.0), (0.0, -0.1), np.sqrt(0.02)),  # stretched and pressed
        ((0.0, 0.2), (0.0, 0.0), np.sqrt(2 * 0.1**2)),  # sheared
        ((0.0, 0.2), (-0.2, 0.0), 0.0),  # turned: no strain
    ],
)
def test_strain_of_known_deformations(across: tuple[float, float], down: tuple[float, float], expected: float) -> None:
    y, x = np.mgrid[:20, :30].astype(np.float32)
    flow = np.dstack([across[0] * x + across[1] * y + 3, down[0] * x + down[1] * y])
    assert strain(flow) == pytest.approx(np.full((20, 30), expected), abs=1e-5)


def test_a_vector_holds_the_means_of_cells() -> None:
    given, px = smooth(0), 96 / 224
    found = pooled(of(given)).reshape(3, CELLS, CELLS)
    flow = np.asarray(cv2.GaussianBlur(given, (0, 0), 6 * px), np.float32)
    fields = np.dstack([flow, strain(flow) * px * 224 / CELLS]) / (strength(of(flow)) * px)
    means = fields.reshape(CELLS, 8, CELLS, 8, 3).mean((1, 3)).transpose(2, 0, 1)
    assert found.dtype == np.float32 and found.size == LENGTH
    assert found == pytest.approx(means, abs=1e-5)


@given(st.integers(0, 99), st.floats(0.1, 50))
def test_strength_does_not_matter(seed: int, factor: float) -> None:
    flow = smooth(seed)
    assert pooled(of(flow * np.float32(factor))) == pytest.approx(pooled(of(flow)), abs=1e-4)


def test_size_hardly_matters() -> None:
    flow = smooth(3, 240)
    larger = np.asarray(2 * cv2.resize(flow, (480, 480), interpolation=cv2.INTER_LINEAR), np.float32)
    assert pooled(of(larger)) == pytest.approx(pooled(of(flow)), abs=0.02)


def test_a_still_face_is_zero() -> None:
    assert not pooled(of(np.zeros((60, 50, 2), np.float32))).any()
