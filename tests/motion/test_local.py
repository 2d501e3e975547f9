"""Small motion about the head's, on clips whose motion is known at every pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from mellm_plugin.datasets.synthme import AUS, Face, draw_clip
from mellm_plugin.motion import colour
from mellm_plugin.motion.facial import facial_flow
from mellm_plugin.motion.flow import flow
from mellm_plugin.motion.geometry import face_ellipse
from mellm_plugin.motion.head import HeadMotion
from mellm_plugin.motion.images import read_pair
from mellm_plugin.motion.local import _sharp_alike, local
from mellm_plugin.motion.render import motion_map, strength
from mellm_plugin.motion.settings import PRESETS

Array = np.ndarray[Any, Any]

DRAWN_INNER = np.s_[50:180, 60:164]
Y, X = np.mgrid[0:224, 0:224].astype(np.float32)


def turned(degrees: float, tx: float = 0.0, ty: float = 0.0) -> HeadMotion:
    """A head that turns by this, counter-clockwise as seen, and shifts."""
    angle = np.radians(degrees)
    return HeadMotion(tx, ty, float(np.cos(angle) - 1), float(-np.sin(angle)))


def rms(field: Array) -> float:
    return float(np.sqrt(np.square(field).sum(axis=-1).mean()))


def error(found: Array, truth: Array) -> float:
    return float(np.linalg.norm(found - truth, axis=-1).mean())


def both(onset: Array, apex: Array) -> tuple[Array, Array]:
    """The flow, and the flow of the face alone."""
    return flow(onset, apex), facial_flow(onset, apex).flow


def regions(facial: Array) -> Iterator[Any]:
    """Squares of 7 px where each half of the face moves most."""
    size = np.linalg.norm(facial, axis=-1)
    for start in (0, 112):
        y, x = np.unravel_index(size[:, start : start + 112].argmax(), (224, 112))
        yield np.s_[y - 3 : y + 4, start + x - 3 : start + x + 4]


def right_bins(found: Array, truth: Array) -> list[bool]:
    """For each region, whether its mean flow is in the bin of the true one."""
    means = [[field[spot].mean(axis=(0, 1)) for spot in regions(truth)] for field in (found, truth)]
    bins = colour.bin_index(np.array(means, np.float32))
    return [bool(same) for same in bins[0] == bins[1]]


@pytest.mark.parametrize(("px", "share", "bound"), [(0.3, 0.8, 0.025), (0.5, 0.95, 0.025), (3, 0.95, 0.06)])
def test_a_photographed_face_under_a_moving_head(photograph: Any, px: float, share: float, bound: float) -> None:
    right, errors = [], []
    for seed, number in enumerate(AUS):
        clip = photograph.moved([str(number)], px, seed=seed)
        whole, facial = both(clip.onset, clip.apex)
        right += right_bins(facial, clip.facial)
        errors.append(error(whole[photograph.INNER], clip.flow[photograph.INNER]))
    assert np.mean(right) >= share
    assert np.mean(errors) < bound


def test_drawn_faces_of_all_kinds() -> None:
    right, errors = [], []
    for at, number in enumerate(AUS):
        px = (0.3, 0.8)[at % 2]
        clip = draw_clip(Face(100 + number), np.random.default_rng(number), (str(number),), px, head=1.0)
        whole, facial = both(*read_pair(clip.onset, clip.apex))
        right += right_bins(facial, clip.facial)
        errors.append(error(whole[DRAWN_INNER], clip.flow[DRAWN_INNER]))
    assert np.mean(right) > 0.8
    assert np.mean(errors) < 0.05


def test_length_and_side_of_a_motion_are_kept(photograph: Any) -> None:
    for px in (0.5, 2.0):
        clip = photograph.moved(["L12"], px)
        found = facial_flow(clip.onset, clip.apex).flow
        spot = list(regions(clip.facial))[1]
        true = np.linalg.norm(clip.facial[spot].mean(axis=(0, 1)))
        assert 0.7 < np.linalg.norm(found[spot].mean(axis=(0, 1))) / true < 1.1
        assert np.linalg.norm(found, axis=-1)[130:180, 50:100].max() < 0.1, "the other side stays"


@pytest.mark.parametrize("head", [HeadMotion(), HeadMotion(1.7, -1.1, 0.006, 0.008)], ids=["still", "moves"])
def test_a_still_face_stays_still(photograph: Any, head: HeadMotion) -> None:
    clip = photograph.moved(head=head)
    assert rms(facial_flow(clip.onset, clip.apex).flow[photograph.INNER]) < 0.02
    left = []
    for seed in range(3):
        drawn = draw_clip(Face(seed), np.random.default_rng(seed), (), 1.0, head=1.0)
        left.append(rms(facial_flow(*read_pair(drawn.onset, drawn.apex)).flow[DRAWN_INNER]))
    assert np.mean(left) < 0.02 and max(left) < 0.05


LIGHTS: dict[str, tuple[Callable[[Array], Array], float]] = {
    "darker": (lambda apex: apex * 0.7, 0.02),
    "brighter": (lambda apex: apex * 1.1 + 15, 0.02),
    "slope": (lambda apex: apex * (1 + 0.1 * (X - 112) / 112), 0.04),
    "gamma": (lambda apex: 255 * (apex / 255) ** 1.1, 0.04),
    "bands": (lambda apex: apex + 6 * np.sin(Y / 9), 0.02),
    "upright bands": (lambda apex: apex + 6 * np.sin(X / 9), 0.04),
    "out of focus": (lambda apex: cv2.GaussianBlur(apex, (0, 0), 1), 0.02),
    "streak": (lambda apex: cv2.blur(apex, (1, 5)), 0.04),
}


@pytest.mark.parametrize("name", LIGHTS)
def test_light_and_blur_are_no_motion_and_hide_none(photograph: Any, name: str) -> None:
    light, bound = LIGHTS[name]
    clip = photograph.moved(head=HeadMotion(), light=light)
    found = facial_flow(clip.onset, clip.apex)
    assert rms(found.flow[photograph.INNER]) < bound
    assert found.doubts == ()
    clip = photograph.moved(["12"], 0.8, light=light)
    moving = facial_flow(clip.onset, clip.apex).flow
    assert all(right_bins(moving, clip.facial))
    assert error(moving[photograph.INNER], clip.facial[photograph.INNER]) < 0.05


@pytest.mark.parametrize("turn", [(2.0, 0.0), (-1.0, 0.3), (0.0, 2.0), (0.2, -1.0)])
def test_a_head_that_turns_out_of_the_plane(photograph: Any, turn: tuple[float, float]) -> None:
    clip = photograph.moved(turn=turn)
    still = motion_map(clip.onset, clip.apex)
    assert still.doubts == () and still.head is not None
    assert still.head.out_of_plane == pytest.approx(np.hypot(*turn), rel=0.6)
    # Without the turn, half the face would be coloured.
    seen = strength(still.flow, still.settings, still.facial.confidence)[face_ellipse(224, 224)] > 0.05
    assert np.mean(seen) < 0.03, "the parallax of the nose is no expression"
    if abs(turn[1]) > 1:  # a nod of this size hides what moves up or down
        return
    moved = photograph.moved(["12"], 1.5, turn=turn)
    found = motion_map(moved.onset, moved.apex)
    assert all(right_bins(found.flow, moved.facial)) and found.coloured > 0.02


def test_a_head_that_turns_away_is_doubtful(photograph: Any) -> None:
    for turn in ((5.0, 0.0), (0.0, -5.0)):
        clip = photograph.moved(turn=turn)
        assert "degrees out of the plane" in " ".join(motion_map(clip.onset, clip.apex).doubts)


def test_the_sharper_frame_is_blurred_like_the_other(photograph: Any) -> None:
    onset = photograph.moved().onset.astype(np.float32)
    soft = cv2.filter2D(onset, -1, np.eye(5, dtype=np.float32) / 5)  # along the falling diagonal
    for first, last in ((onset, soft), (soft, onset)):
        alike = _sharp_alike(first, last, np.zeros((224, 224, 2), np.float32))
        before, after = (cv2.Laplacian(a, -1) - cv2.Laplacian(b, -1) for a, b in ((first, last), alike))
        assert rms(after[8:-8, 8:-8, None]) < 0.4 * rms(before[8:-8, 8:-8, None])
    same = _sharp_alike(onset, onset, np.zeros((224, 224, 2), np.float32))
    assert np.array_equal(same[0], onset) and np.array_equal(same[1], onset)


def test_errors_that_fill_blocks_are_told_from_noise(photograph: Any) -> None:
    clip = photograph.moved(noise=0)
    rng = np.random.default_rng(0)
    found = []
    for block in (1, 8):
        shape = 2, 224 // block, 224 // block
        noise = np.repeat(np.repeat(rng.normal(0, 3, shape), block, axis=1), block, axis=2)
        onset, apex = (frame + noise[i] for i, frame in enumerate((clip.onset, clip.apex)))
        found.append(local(onset.round().clip(0, 255).astype(np.uint8), apex.round().clip(0, 255).astype(np.uint8)))
    assert found[0].excess < 1.5 and found[1].excess > 3
    assert found[1].error > 1.5 * found[0].error
    assert all(rms(one.facial[photograph.INNER]) < 0.06 for one in found), "both are held still"


@pytest.mark.parametrize("head", [HeadMotion(-15, 0), HeadMotion(0, -15), turned(6), turned(-6, -6, 4)])
def test_a_head_that_moves_far(photograph: Any, head: HeadMotion) -> None:
    clip = photograph.moved(["12"], 0.8, head=head)
    drawn = motion_map(clip.onset, clip.apex)
    assert drawn.head is not None and drawn.doubts == ()
    assert [drawn.head.tx, drawn.head.ty] == pytest.approx([head.tx, head.ty], abs=0.1)
    assert drawn.head.rotation == pytest.approx(head.rotation, abs=0.05)
    assert error(drawn.flow[photograph.INNER], clip.facial[photograph.INNER]) < 0.05
    assert all(right_bins(drawn.flow, clip.facial))


@pytest.mark.parametrize("head", [HeadMotion(15, 0), HeadMotion(0, -15), turned(4)])
def test_what_left_the_frame_makes_no_motion(photograph: Any, head: HeadMotion) -> None:
    clip = photograph.moved(head=head)
    to = clip.flow + np.dstack([X, Y])
    gone = ((to < 0) | (to > 223)).any(axis=-1)
    assert gone.mean() > 0.02
    drawn = motion_map(clip.onset, clip.apex)
    assert np.percentile(np.linalg.norm(drawn.flow[gone], axis=-1), 99) < 0.3
    assert np.ptp(drawn.image.astype(int), axis=-1)[gone].mean() < 3


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (200, 35)])
def test_tiny_and_odd_sizes(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).normal(0, 1, (size[0] + 8, size[1] + 8)).astype(np.float32)
    picture = (128 + 300 * cv2.GaussianBlur(noise, (0, 0), 2)).clip(0, 255).astype(np.uint8)
    found = flow(picture[4:-4, 4:-4], picture[4:-4, 3:-5])
    assert found.shape == (*size, 2) and found.dtype == np.float32
    assert np.abs(found - np.float32([1, 0]))[4:-4, 4:-4].mean() < 0.03
    image = motion_map(picture[4:-4, 4:-4], picture[4:-4, 3:-5], PRESETS["published"]).image
    assert image.shape == (*size, 3) and image.dtype == np.uint8


def test_the_same_bits_from_any_layout_and_number_of_threads(photograph: Any) -> None:
    clip = photograph.moved(["1"])
    expected = flow(clip.onset, clip.apex)
    back = photograph.moved(["1", "2", "5"], 1.0, head=HeadMotion())
    assert error(flow(back.onset, back.apex), -flow(back.apex, back.onset)) < 0.01, "the way back is the negative"
    locked = [frame.copy() for frame in (clip.onset, clip.apex)]
    for frame in locked:
        frame.flags.writeable = False
    threads = cv2.getNumThreads()
    for count, frames in enumerate((locked, [np.repeat(frame, 2, axis=1)[:, ::2] for frame in locked]), 1):
        cv2.setNumThreads(count)
        assert np.array_equal(flow(*frames), expected)
        assert all(np.array_equal(*both) for both in zip(frames, locked, strict=True)), "a frame was written to"
    cv2.setNumThreads(threads)
    flat = np.full((64, 80), 255, np.uint8)
    assert np.abs(flow(flat, np.full_like(flat, 100))).max() < 1e-6
