"""The map as a whole, on drawn clips."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mellm_plugin.datasets.synthme import Face, clips, draw_clip
from mellm_plugin.motion.render import motion_map, strength
from mellm_plugin.motion.settings import DEFAULT, PRESETS


def _colour(image: np.ndarray) -> np.ndarray:
    return np.ptp(image.astype(int), axis=2)


def test_a_still_face_under_a_moving_head_stays_grey() -> None:
    shares = []
    for seed in range(6):
        clip = draw_clip(Face(seed), np.random.default_rng(seed), (), 1.0, head=1.0)
        shares.append(_colour(motion_map(clip.onset, clip.apex).image)[50:180, 60:164].mean() / 255)
    assert np.mean(shares) < 0.05


def test_identical_frames_give_the_grey_frame() -> None:
    clip = next(clips("test", 1))
    drawn = motion_map(clip.onset, clip.onset)
    assert drawn.coloured == 0
    assert (_colour(drawn.image) == 0).all()


def test_a_blink_does_not_darken_a_small_movement() -> None:
    face = Face(3)
    maps = []
    for blink in (False, True):
        clip = draw_clip(face, np.random.default_rng(5), ("12",), 0.8, head=0.0, blink=blink)
        maps.append(_colour(motion_map(clip.onset, clip.apex).image)[140:180, 60:160].mean())
    assert maps[1] > 0.8 * maps[0]


def test_strength_is_in_units_of_the_frame() -> None:
    flow = np.full((224, 224, 2), 0.5, np.float32)
    twice = np.full((448, 448, 2), 1.0, np.float32)
    assert strength(flow, DEFAULT)[0, 0] == pytest.approx(strength(twice, DEFAULT)[0, 0], rel=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("side", [336, 448, 896, 1792])
def test_the_same_clip_in_a_larger_frame_shows_the_same_motion(preset: str, side: int) -> None:
    clip = next(clips("flow", 1, seed=2))
    plain = motion_map(clip.onset, clip.apex, PRESETS[preset])
    frames = [cv2.resize(frame, (side, side), interpolation=cv2.INTER_CUBIC) for frame in (clip.onset, clip.apex)]
    large = motion_map(*frames, PRESETS[preset])
    assert large.image.shape == (side, side, 3)
    assert large.head is not None and plain.head is not None
    assert large.head.tx * 224 / side == pytest.approx(plain.head.tx, abs=0.1)
    assert large.coloured == pytest.approx(plain.coloured, abs=0.1)
    back = cv2.resize(large.flow, (224, 224), interpolation=cv2.INTER_AREA) * 224 / side
    assert np.linalg.norm(back - plain.flow, axis=-1)[50:180, 60:164].mean() < 0.12


@pytest.mark.parametrize("size", [(32, 32), (340, 280), (61, 200), (1088, 2040)])
def test_any_size(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.integers(0, 256, size, dtype=np.uint8), (0, 0), 2)
    for settings in PRESETS.values():
        image = motion_map(frame, np.roll(frame, 1, 1), settings).image
        assert image.shape == (*size, 3) and image.dtype == np.uint8


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_saturated_frames_stay_grey(value: int) -> None:
    frame = np.full((64, 64), value, np.uint8)
    assert (_colour(motion_map(frame, frame).image) == 0).all()
