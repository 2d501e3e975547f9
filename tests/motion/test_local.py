"""Small motion about the head's, on clips whose motion is known at every pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from mellm_plugin.datasets.synthme import AUS, Face, draw_clip
from mellm_plugin.motion import colour
from mellm_plugin.motion.facial import facial_flow, measure, working_pair
from mellm_plugin.motion.flow import flow
from mellm_plugin.motion.head import HeadMotion
from mellm_plugin.motion.images import read_pair
from mellm_plugin.motion.render import motion_map

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
    """The flow, and the flow of the face alone, from one estimation."""
    pair, whole = working_pair(onset, apex), flow(onset, apex)
    return whole, measure(pair, known=(whole, None)).flow


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


# What moves


@pytest.mark.parametrize(
    ("px", "share", "bound"), [(0.3, 0.8, 0.025), (0.5, 0.95, 0.025), (1, 0.95, 0.03), (3, 0.95, 0.06)]
)
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
    for px in (0.3, 0.8):
        for number in AUS:
            clip = draw_clip(Face(100 + number), np.random.default_rng(number), (str(number),), px, head=1.0)
            whole, facial = both(*read_pair(clip.onset, clip.apex))
            right += right_bins(facial, clip.facial)
            errors.append(error(whole[DRAWN_INNER], clip.flow[DRAWN_INNER]))
    assert np.mean(right) > 0.85
    assert np.mean(errors) < 0.05


def test_the_length_of_a_motion_is_kept(photograph: Any) -> None:
    for px in (0.5, 1.0, 2.0):
        clip = photograph.moved(["12"], px)
        found = facial_flow(clip.onset, clip.apex).flow
        for spot in regions(clip.facial):
            true = np.linalg.norm(clip.facial[spot].mean(axis=(0, 1)))
            assert 0.7 < np.linalg.norm(found[spot].mean(axis=(0, 1))) / true < 1.1


def test_one_side_moves_alone(photograph: Any) -> None:
    clip = photograph.moved(["L12"], 0.8)
    length = np.linalg.norm(facial_flow(clip.onset, clip.apex).flow, axis=-1)
    assert length[130:180, 120:175].max() > 0.4
    assert length[130:180, 50:100].max() < 0.1


@pytest.mark.parametrize("codes", [["12"], ["1", "2", "5"], []])
def test_the_way_back_is_the_negative(photograph: Any, codes: list[str]) -> None:
    clip = photograph.moved(codes, 1.0, head=HeadMotion())
    there, back = flow(clip.onset, clip.apex), flow(clip.apex, clip.onset)
    assert error(there, -back) < 0.01
    if codes:
        assert rms(there[photograph.INNER]) > 0.1


# What does not move


@pytest.mark.parametrize("head", [HeadMotion(), HeadMotion(1.7, -1.1, 0.006, 0.008)], ids=["still", "moves"])
def test_a_still_face_stays_still(photograph: Any, head: HeadMotion) -> None:
    left = []
    for seed in range(4):
        clip = photograph.moved(head=head, seed=seed)
        left.append(rms(facial_flow(clip.onset, clip.apex).flow[photograph.INNER]))
    assert max(left) < 0.02


def test_a_drawn_still_face_stays_still() -> None:
    left = []
    for seed in range(8):
        clip = draw_clip(Face(seed), np.random.default_rng(seed), (), 1.0, head=1.0)
        left.append(rms(facial_flow(*read_pair(clip.onset, clip.apex)).flow[DRAWN_INNER]))
    assert np.mean(left) < 0.02 and max(left) < 0.05


LIGHTS: dict[str, tuple[Callable[[Array], Array], float]] = {
    "darker": (lambda apex: apex * 0.7, 0.02),
    "brighter": (lambda apex: apex * 1.1, 0.02),
    "bias": (lambda apex: apex + 15, 0.02),
    "both": (lambda apex: apex * 0.8 - 5, 0.02),
    "slope across": (lambda apex: apex * (1 + 0.1 * (X - 112) / 112), 0.04),
    "slope down": (lambda apex: apex * (1 - 0.1 * (Y - 112) / 112), 0.04),
    "gamma": (lambda apex: 255 * (apex / 255) ** 1.1, 0.04),
}


@pytest.mark.parametrize("name", LIGHTS)
def test_light_is_no_motion_and_hides_none(photograph: Any, name: str) -> None:
    light, bound = LIGHTS[name]
    clip = photograph.moved(head=HeadMotion(), light=light)
    found = facial_flow(clip.onset, clip.apex)
    assert rms(found.flow[photograph.INNER]) < bound
    assert found.doubts == ()
    clip = photograph.moved(["12"], 0.8, light=light)
    moving = facial_flow(clip.onset, clip.apex).flow
    assert all(right_bins(moving, clip.facial))
    assert error(moving[photograph.INNER], clip.facial[photograph.INNER]) < 0.05


# Large motion of the head


@pytest.mark.parametrize(
    "head",
    [HeadMotion(15, 0), HeadMotion(0, -15), HeadMotion(-9, 12), turned(6), turned(-6, -6, 4)],
    ids=["right", "up", "down left", "turns left", "turns right"],
)
def test_a_head_that_moves_far(photograph: Any, head: HeadMotion) -> None:
    clip = photograph.moved(["12"], 0.8, head=head)
    found = facial_flow(clip.onset, clip.apex)
    assert found.head is not None and found.doubts == ()
    assert [found.head.tx, found.head.ty] == pytest.approx([head.tx, head.ty], abs=0.1)
    assert found.head.rotation == pytest.approx(head.rotation, abs=0.05)
    assert error(found.flow[photograph.INNER], clip.facial[photograph.INNER]) < 0.05
    assert all(right_bins(found.flow, clip.facial))


@pytest.mark.parametrize(
    "head", [HeadMotion(15, 0), HeadMotion(-15, 0), HeadMotion(0, -15), HeadMotion(8, -8), turned(4)]
)
def test_what_left_the_frame_makes_no_motion(photograph: Any, head: HeadMotion) -> None:
    clip = photograph.moved(head=head)
    to = clip.flow + np.dstack([X, Y])
    gone = ((to < 0) | (to > 223)).any(axis=-1)
    assert gone.mean() > 0.02
    drawn = motion_map(clip.onset, clip.apex)
    assert np.percentile(np.linalg.norm(drawn.flow[gone], axis=-1), 99) < 0.3
    assert np.ptp(drawn.image.astype(int), axis=-1)[gone].mean() < 3


# Any frame


@pytest.mark.parametrize("size", [(32, 32), (32, 33), (33, 47), (47, 33), (35, 200)])
def test_tiny_and_odd_sizes(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).normal(0, 1, (size[0] + 8, size[1] + 8)).astype(np.float32)
    picture = (128 + 300 * cv2.GaussianBlur(noise, (0, 0), 2)).clip(0, 255).astype(np.uint8)
    found = flow(picture[4:-4, 4:-4], picture[4:-4, 3:-5])
    assert found.shape == (*size, 2) and found.dtype == np.float32
    assert np.abs(found - np.float32([1, 0]))[4:-4, 4:-4].mean() < 0.03


def test_frames_cut_out_turned_over_or_read_only(photograph: Any) -> None:
    clip = photograph.moved(["1"])
    expected = flow(clip.onset, clip.apex)
    wide = [np.pad(frame, ((3, 5), (7, 9)))[3:-5, 7:-9] for frame in (clip.onset, clip.apex)]
    fortran = [np.asfortranarray(frame) for frame in (clip.onset, clip.apex)]
    steps = [np.repeat(frame, 2, axis=1)[:, ::2] for frame in (clip.onset, clip.apex)]
    locked = [frame.copy() for frame in (clip.onset, clip.apex)]
    for frame in locked:
        frame.flags.writeable = False
    for frames in (wide, fortran, steps, locked):
        assert not frames[0].flags.c_contiguous or not frames[0].flags.writeable
        before = [frame.copy() for frame in frames]
        assert np.array_equal(flow(*frames), expected)
        assert all(np.array_equal(*both) for both in zip(frames, before, strict=True)), "a frame was written to"


@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_frames_do_not_move(value: int) -> None:
    frame = np.full((64, 80), value, np.uint8)
    assert np.abs(flow(frame, frame)).max() < 1e-6
    assert np.abs(flow(frame, np.full_like(frame, 100))).max() < 1e-6


def test_the_same_frames_give_the_same_bits(photograph: Any) -> None:
    clip = photograph.moved(["4"])
    threads = cv2.getNumThreads()
    try:
        found = []
        for count in (1, 2):
            cv2.setNumThreads(count)
            found.append(flow(clip.onset, clip.apex))
    finally:
        cv2.setNumThreads(threads)
    assert np.array_equal(found[0], found[1])
