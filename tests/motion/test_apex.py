"""Onset and apex of drawn clips, where both are known; a still face has neither."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from mellm_plugin.datasets.synthme import SIZE, Face, displacement, warp
from mellm_plugin.errors import ImageError, SettingsError
from mellm_plugin.motion.apex import METHODS, spot
from mellm_plugin.motion.settings import MotionSettings

MARGIN = 16
SIDE = SIZE + 2 * MARGIN
CENTRE = (SIDE / 2, SIDE / 2)
HALF = 0.44 * SIZE


def _bump(length: int, onset: int, apex: int, offset: int) -> np.ndarray:
    return np.interp(np.arange(length), [onset, apex, offset], [0, 1, 0]) ** 1.5


@cache
def _clip(
    seed: int,
    codes: tuple[str, ...],
    onset: int,
    apex: int,
    length: int = 36,
    amplitude: float = 1.2,
    head: float = 0.0,
    blink: int | None = None,
    noise: float = 1.5,
    closing_px: float = 2.5,
) -> np.ndarray:
    """uint8 `(length, 224, 224)`: `codes` rise from onset to apex and are gone 12 frames later."""
    rng = np.random.default_rng(seed)
    picture = cv2.cvtColor(Face(seed).draw(rng, CENTRE, HALF), cv2.COLOR_RGB2GRAY)
    unit = displacement(codes, [amplitude] * len(codes), CENTRE, HALF, (SIDE, SIDE))
    lids = displacement(["45"], [closing_px], CENTRE, HALF, (SIDE, SIDE))
    shown = _bump(length, onset, apex, apex + 12)
    closing = _bump(length, blink - 5, blink, blink + 5) if blink is not None else np.zeros(length)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) - SIDE / 2
    frames = []
    for i in range(length):
        t = head * i / length
        facial = (unit * shown[i] + lids * closing[i]).astype(np.float32)
        px, py = x + facial[..., 0], y + facial[..., 1]
        moved = np.dstack([0.008 * t * px - 0.015 * t * py + 3 * t, 0.015 * t * px + 0.008 * t * py - 2 * t])
        inside = warp(picture, facial + moved.astype(np.float32))[MARGIN:-MARGIN, MARGIN:-MARGIN]
        frames.append(np.rint(inside + noise * rng.standard_normal(inside.shape)).clip(0, 255).astype(np.uint8))
    return np.stack(frames)


@pytest.mark.parametrize(
    ("codes", "onset", "head", "blink"),
    [(("1", "2"), 0, 0.0, None), (("17",), 6, 1.0, 28)],
    ids=["begins at the onset", "a blink and a moving head"],
)
def test_onset_and_apex(codes: tuple[str, ...], onset: int, head: float, blink: int | None) -> None:
    found = spot(_clip(6, codes, onset, onset + 10, head=head, blink=blink))
    assert found.found and found.onset is not None and found.apex is not None
    assert abs(found.apex - (onset + 10)) <= 2
    assert abs(found.onset - onset) <= 4
    assert not found.cuts and not found.at_the_eyes
    assert found.curve.shape == (36,) and found.curve.dtype == np.float32
    assert found.offset is None or found.offset > found.apex


@pytest.mark.parametrize(("seed", "head"), [(1, 1.0), (5, 0.0)], ids=["head moves", "head still"])
def test_a_still_face_has_no_apex(seed: int, head: float) -> None:
    found = spot(_clip(seed, (), 0, 10, length=24, head=head))
    assert not found.found and found.onset is None and found.apex is None and found.offset is None
    assert "nothing moves" in found.reason


@pytest.mark.parametrize("method", METHODS)
def test_frames_that_are_all_the_same_and_scenes_of_one_frame(method: str) -> None:
    found = spot(np.full((20, 64, 64), 128, np.uint8), method=method)
    assert not found.found and found.noise == 0 and np.isfinite(found.curve).all()
    rng = np.random.default_rng(0)
    frames = np.stack([rng.permuted(np.repeat([0, 255], 8)).reshape(4, 4) for _ in range(5)])
    found = spot(np.kron(frames, np.ones((16, 16))).astype(np.uint8), method=method)
    assert not found.found and found.cuts == (1, 2, 3, 4) and "no clip of a face" in found.reason


def test_head_motion_misleads_the_plain_difference_and_settings_that_leave_it_in() -> None:
    frames = _clip(3, ("12",), 8, 18, head=1.0)
    plain, flow = spot(frames, method="difference"), spot(frames)
    assert plain.apex is not None and flow.apex is not None
    assert abs(flow.apex - 18) <= 2 < abs(plain.apex - 18)
    still = _clip(1, (), 0, 10, length=24, head=1.0)
    assert np.nanmax(spot(still, MotionSettings(head="none")).curve) > 1


def test_a_blink_alone_is_reported_at_the_eyes() -> None:
    found = spot(_clip(3, (), 0, 10, blink=15))
    assert found.at_the_eyes and "it may be a blink" in found.reason
    assert found.apex is not None and abs(found.apex - 15) <= 2
    assert [event.apex for event in found.events] == [found.apex] and found.events[0].at_the_eyes


def test_eyes_that_are_not_found_are_reported() -> None:
    """The detector does not know this drawn face."""
    found = spot(_clip(2, (), 0, 10, blink=15))
    assert found.found and not found.at_the_eyes
    assert "no eyes were found in the first frame: a movement may be a blink" in found.reason


def test_a_larger_blink_is_ignored() -> None:
    found = spot(_clip(9, ("15",), 6, 16, blink=28, amplitude=0.9, closing_px=6.0))
    assert found.apex is not None and abs(found.apex - 16) <= 2
    assert "ignored as blinks" in found.reason and not found.at_the_eyes


def test_short_clips_of_any_size_and_movements_that_still_grow() -> None:
    frames = np.stack([cv2.resize(f, (240, 300), interpolation=cv2.INTER_AREA) for f in _clip(3, ("12",), 8, 18)])
    found = spot(frames[[8, 18]])
    assert (found.onset, found.apex) == (0, 1) and "too few" in found.reason
    assert not spot(frames[[0, 1]]).found
    found = spot(frames[:15])
    assert found.found and found.apex is not None and found.apex >= 13
    assert "still grows" in found.reason and found.offset is None


def test_only_the_longest_scene_is_examined() -> None:
    frames = np.concatenate([_clip(1, (), 0, 10, length=24)[:10], _clip(3, ("12",), 8, 18)])
    found = spot(frames)
    assert found.cuts == (10,) and "scene changes at frame 10" in found.reason
    assert found.apex is not None and abs(found.apex - 28) <= 2
    assert np.isnan(found.curve[:10]).all() and np.isfinite(found.curve[10:]).all()


def test_a_long_clip_is_not_measured_frame_by_frame() -> None:
    rng = np.random.default_rng(0)
    moving = _clip(3, ("12",), 8, 18)
    still = moving[:8][rng.integers(0, 8, 250)]
    found = spot(np.concatenate([still, moving, still[:90]]))
    assert found.onset is not None and abs(found.onset - 258) <= 6
    assert found.apex is not None and abs(found.apex - 268) <= 3


def test_what_is_refused() -> None:
    grey = np.zeros((5, 64, 64), np.uint8)
    for frames, words in (
        (grey[:1], "at least 2 frames, found 1"),
        (grey.astype(np.float32), "float32"),
        (list(grey), "found list"),
        (grey[:, :20], "32 px"),
    ):
        with pytest.raises(ImageError, match=words):
            spot(frames)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="Did you mean 'flow'"):
        spot(grey, method="flwo")
