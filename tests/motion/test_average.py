"""Averages of frames with their neighbours in time: how far they reach, and what they keep and leave out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.datasets.synthme import warp
from mellm_plugin.errors import InputError
from mellm_plugin.motion.average import DEFAULT_MS, MOST_MS, average, averaged, check_ms, windows
from mellm_plugin.motion.head import HeadMotion

Array = np.ndarray[Any, Any]

SIDE = 224
INSIDE = np.s_[28 : 28 + SIDE, 28 : 28 + SIDE]  # of the photograph with its margin


def film(photograph: Any, px: float, noise: float, length: int = 13) -> tuple[Array, Array]:
    """Frames of a head that moves by this many px from one to the next, and the middle one without noise."""
    rng = np.random.default_rng(0)
    shape = photograph.picture.shape
    clean = []
    for t in range(length):
        away = HeadMotion(px * t, -0.6 * px * t, 0.001 * px * t, 0.002 * px * t).flow(shape[0], shape[1])
        clean.append(warp(photograph.picture, away)[INSIDE])
    frames = np.stack(clean) + noise * rng.standard_normal((length, SIDE, SIDE))
    return frames.round().clip(0, 255).astype(np.uint8), clean[length // 2]


def test_windows_reach_by_time_and_spare_a_fast_rise() -> None:
    assert windows(100, 150, 200) == (range(94, 107), range(144, 157)), "6 frames of 5 ms"
    assert windows(100, 150, 100) == (range(97, 104), range(147, 154))
    assert windows(100, 112, 200) == (range(94, 103), range(110, 115)), "a sixth of a rise of 60 ms"
    assert windows(100, 103, 200) == (range(94, 101), range(103, 104))
    assert windows(100, 300, 500) == (range(94, 107), range(294, 307)), "the nearest ones are enough"
    alone = (range(100, 101), range(150, 151))
    assert windows(100, 150, None) == windows(100, 150, 30) == windows(100, 150, 200, 0) == alone
    assert windows(100, 150, 60) == (range(99, 102), range(149, 152)), "17 ms; two frames would be 33"


@given(st.integers(0, 500), st.integers(1, 400), st.floats(1, 1000) | st.none(), st.floats(0, MOST_MS))
def test_no_frame_is_part_of_both(onset: int, rise: int, fps: float | None, ms: float) -> None:
    first, second = windows(onset, onset + rise, fps, ms)
    assert onset in first and onset + rise in second and not set(first) & set(second)
    for window, at in ((first, onset), (second, onset + rise)):
        assert all(number == at or abs(number - at) * 1000 <= ms * (fps or 0) + 1e-3 for number in window)


@pytest.mark.parametrize("ms", [-1, MOST_MS + 1, float("nan")])
def test_other_times_are_refused(ms: float) -> None:
    with pytest.raises(InputError, match=r"--average: expected 0 \(off\) to 100 ms, found "):
        check_ms(ms)


@pytest.mark.parametrize("px", [0.0, 0.8])
def test_noise_falls_and_a_moving_head_does_not_blur(photograph: Any, px: float) -> None:
    frames, clean = film(photograph, px, noise=2.0)
    mean, used = average(frames[6], [*frames[:6], *frames[7:]])
    rim = np.s_[12:-12, 12:-12]
    single, error, smear = (
        float(np.sqrt(np.mean((picture.astype(float) - clean)[rim] ** 2)))
        for picture in (frames[6], mean, frames.mean(axis=0))
    )
    assert all(used) and single > 1.9 and error < 0.55 * single, (single, error)
    assert px == 0 or smear > 3 * error, smear


def test_another_picture_is_left_out(photograph: Any) -> None:
    frames, _ = film(photograph, 0.3, noise=2.0)
    cut = frames.copy()
    cut[8:] = 255 - frames[8:, ::-1]  # another scene
    cut[3], cut[4, SIDE // 2 :] = 0, 90  # a black frame and a torn one
    others = [*cut[:6], *cut[7:]]
    mean, used = average(cut[6], others)
    assert used == [True] * 3 + [False] * 2 + [True] * 2 + [False] * 5
    alone, same = average(cut[6], [frame for frame, good in zip(others, used, strict=True) if good])
    assert all(same) and (alone == mean).all()
    frame = frames[0]
    odd = [None, frame[:-1], frame.astype(np.uint16), np.dstack([frame] * 3)]
    untouched, none = average(frame, odd)
    assert none == [False] * 4 and (untouched == frame).all()
    bright = np.minimum(frame.astype(int) + 12, 255).astype(np.uint8)
    assert average(frame, [bright])[1] == [True], "a change of light is no other picture"


@pytest.mark.parametrize("kind", ["colour", "16 bits"])
def test_colour_and_depth_are_kept(photograph: Any, kind: str) -> None:
    frames, _ = film(photograph, 0.5, noise=0.5, length=3)
    if kind == "colour":
        frames = np.stack([frames, frames // 2, 255 - frames], axis=-1)
    else:
        frames = frames.astype(np.uint16) * 16 + 3  # 12 bits
    mean, used = average(frames[1], [frames[0], frames[2]])
    assert mean.dtype == frames.dtype and mean.shape == frames[1].shape and used == [True, True]
    difference = np.abs(mean.astype(int) - frames[1].astype(int))[12:-12, 12:-12]
    assert 0 < difference.mean() < (1 if kind == "colour" else 16)


def test_a_clip_is_averaged_as_far_as_it_goes(photograph: Any) -> None:
    frames, _ = film(photograph, 0.0, noise=2.0)
    (onset, in_onset), (apex, in_apex) = averaged(frames, 0, 12, 200)
    assert (in_onset, in_apex) == (3, 3) and onset.dtype == apex.dtype == np.uint8
    assert (onset == np.rint(frames[:3].mean(axis=0))).all()
    (onset, in_onset), _ = averaged(frames, 0, 12, 200, 0)
    assert in_onset == 1 and (onset == frames[0]).all()
    assert DEFAULT_MS == 30
