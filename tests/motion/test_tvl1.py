"""TV-L1 in torch: OpenCV contrib's flow, and each pair's flow whatever pairs are beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mellm_plugin.errors import ImageError
from mellm_plugin.motion import tvl1 as module
from mellm_plugin.motion.tvl1 import tvl1

GOLDEN = Path(__file__).parents[1] / "golden" / "tvl1"  # make.py there says what is in it
PAIRS: dict[str, npt.NDArray[np.uint8]] = dict(np.load(GOLDEN / "pairs.npz"))
FLOWS: dict[str, npt.NDArray[np.float16]] = dict(np.load(GOLDEN / "flows.npz"))

# Mean absolute difference, px. One iteration more or less in a warp changes the flow by up to epsilon, .01 px: the last
# bit of a sum decides that, and OpenCV's own flow moves as much when noise of 1e-3 grey levels is added to its input.
# In two pairs no sum is that close to the limit.
TOLERANCE = 0.02
TOLERANCES = {"drawn 3": 0.001, "drawn 58": 0.001}


@pytest.mark.parametrize("name", PAIRS)
def test_the_flow_is_that_of_opencv_contrib(name: str) -> None:
    flow = tvl1(*PAIRS[name])
    assert flow.dtype == np.float32 and flow.shape == (*PAIRS[name].shape[1:], 2)
    assert np.abs(flow[::2, ::2] - FLOWS[name]).mean() < TOLERANCES.get(name, TOLERANCE)


def test_a_pair_does_not_depend_on_those_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    square = [pair[:, :48, :56] for pair in PAIRS.values()][:3]  # they stop after different numbers of iterations
    onsets, apexes = np.stack(square, axis=1)
    alone = np.stack([tvl1(*pair) for pair in square])
    np.testing.assert_array_equal(tvl1(onsets, apexes), alone)
    np.testing.assert_allclose(tvl1(onsets, apexes, at_once=2), alone, atol=1e-4)
    # As on a GPU, where pairs that are done stay in the loop, with steps of zero, until it is looked at.
    monkeypatch.setitem(module.CHECK_EVERY, "cpu", 10)
    np.testing.assert_allclose(tvl1(onsets, apexes, at_once=3), alone, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda() -> None:
    square = [pair for pair in PAIRS.values() if pair.shape == (2, 112, 112)]
    onsets, apexes = np.stack(square, axis=1)
    off = np.abs(tvl1(onsets, apexes, device="cuda") - tvl1(onsets, apexes)).mean(axis=(1, 2, 3))
    assert off.max() < TOLERANCE


def test_shapes_and_types() -> None:
    onset, apex = PAIRS["photographed, oblong"][:, :16, :40]
    flow = tvl1(onset, apex)
    assert np.isfinite(flow).all() and not tvl1(onset, onset).any()
    np.testing.assert_array_equal(tvl1(onset[None], apex[None]), flow[None])
    np.testing.assert_array_equal(tvl1(onset.astype(np.float32), apex.astype(np.float32)), flow)
    turned = [frame.astype(np.float32)[::-1] for frame in (onset, apex)]  # views with negative strides
    np.testing.assert_array_equal(tvl1(turned[0], turned[1]), tvl1(onset[::-1], apex[::-1]))
    assert tvl1(onset[None][:0], apex[None][:0]).shape == (0, 16, 40, 2)


def test_frames_that_cannot_be_used() -> None:
    good = np.zeros((20, 20), np.uint8)
    with pytest.raises(ImageError, match=r"expected onset and apex of one shape, found \(20, 20\) and \(20, 24\)"):
        tvl1(good, np.zeros((20, 24), np.uint8))
    with pytest.raises(ImageError) as caught:
        tvl1(good.astype(np.float64), good[:15])  # type: ignore[arg-type]
    assert caught.value.faults == (
        "onset: expected uint8 or float32, found float64",
        "apex: expected sides of at least 16 px, found 15 x 20",
    )
    with pytest.raises(ImageError, match=r"expected \(H, W\) or \(N, H, W\), found \(20, 20, 3, 1\)"):
        tvl1(np.zeros((20, 20, 3, 1), np.uint8), good)
    with pytest.raises(ImageError, match="expected finite values"):
        tvl1(np.full((20, 20), np.nan, np.float32), good)
