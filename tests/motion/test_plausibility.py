"""Each doubt is raised by what it is meant for, and none by a good clip."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
import pytest

from mellm_plugin.datasets.synthme import Face, clips, draw_clip, warp
from mellm_plugin.motion.facial import facial_flow
from mellm_plugin.motion.images import read_pair
from mellm_plugin.motion.plausibility import LEAST_HIDDEN, MOST_EXCESS, error_doubts, picture_doubts

Array = np.ndarray[Any, Any]


def doubts(onset: Array, apex: Array) -> tuple[str, ...]:
    return facial_flow(onset, apex).doubts


def grey(picture: Array) -> Array:
    return np.asarray(picture).round().clip(0, 255).astype(np.uint8)


def moved_head(face: Array, tx: float = 0, ty: float = 0, degrees: float = 0, scale: float = 1) -> Array:
    matrix = cv2.getRotationMatrix2D((111.5, 111.5), degrees, scale) + np.array([[0, 0, tx], [0, 0, ty]])
    return grey(cv2.warpAffine(face.astype(np.float32), matrix, (224, 224), borderMode=cv2.BORDER_REFLECT))


def test_identical_frames(photograph: Any) -> None:
    onset = photograph.moved().onset
    assert doubts(onset, onset.copy()) == ("onset and apex are the same picture, pixel for pixel",)
    other = onset.copy()
    other[7, 9] ^= 1
    assert picture_doubts(onset, other) == []


def test_flat_frames_are_named(photograph: Any) -> None:
    onset = photograph.moved().onset
    (found,) = doubts(grey(90 + 0.03 * (onset - 128.0)), onset)
    assert found.startswith("the onset frame is flat: its grey levels deviate by only ")
    flat = np.full_like(onset, 90)
    assert [text.split()[1] for text in doubts(flat, flat + np.uint8(1))] == ["onset", "apex"]


@pytest.mark.parametrize(("value", "kind"), [(0, "black"), (255, "saturated")])
def test_clipped_frames(photograph: Any, value: int, kind: str) -> None:
    clip = photograph.moved()
    apex = clip.apex.copy()
    apex[:, : 224 * 6 // 10] = value
    assert doubts(clip.onset, apex) == (f"60 % of the apex frame is {kind}",), "and no doubt about the flow"
    apex = clip.apex.copy()
    apex[:, :100] = value
    assert picture_doubts(clip.onset, apex) == [], "a dark background is no fault"


def test_another_face(photograph: Any) -> None:
    onset = photograph.moved().onset
    drawn = draw_clip(Face(300), np.random.default_rng(0), (), 1.0)
    other, _ = read_pair(drawn.onset, drawn.apex)
    for found in (doubts(onset, other), doubts(other, onset), doubts(onset, onset[::-1].copy())):
        assert any("does not match" in text and "another person" in text for text in found)


@pytest.mark.parametrize(
    ("far", "normal"),
    [
        ({"tx": 30}, {"tx": 20}),
        ({"ty": -29}, {"ty": 15}),
        ({"degrees": -10}, {"degrees": 6}),
        ({"scale": 1.13}, {"scale": 1.06}),
        ({"scale": 0.88}, {"scale": 0.95}),
    ],
)
def test_a_head_that_moves_too_far_and_one_that_does_not(
    photograph: Any, far: dict[str, float], normal: dict[str, float]
) -> None:
    face = photograph.moved().onset
    found = doubts(face, moved_head(face, **far))
    assert any(re.match(r"the head moves too far.*\d+ % of the frame, [+-][\d.]+ degrees, [+-]\d+ %", t) for t in found)
    assert doubts(face, moved_head(face, **normal)) == ()


def test_large_motion_is_no_micro_expression(photograph: Any) -> None:
    face = photograph.moved().onset.astype(np.float32)
    y, x = np.mgrid[0:224, 0:224].astype(np.float32)
    falls = np.exp(-(((x - 112) / 60) ** 2) / 2 - ((y - 170) / 30) ** 2 / 2)
    for px in (6, 18):
        found = doubts(grey(face), grey(warp(face, np.dstack([0 * falls, px * falls]).astype(np.float32))))
        assert ["% of the face moves by more than 4 %" in text for text in found] == [True] * (px == 18)


def test_errors_that_hide_motion_are_named_in_px_of_the_reference_frame(photograph: Any) -> None:
    for side in (224, 448):
        still, moved = np.zeros((2, side, side, 2), np.float32)
        moved[side // 2 : side * 3 // 4, side // 3 : side * 2 // 3] = 3 * side / 224
        (found,) = error_doubts(still, MOST_EXCESS + 1, 0.1 * side / 224)
        assert "compression, or a head that turns, hides motion below about 0.8 px of a frame of 224 px" in found
        assert error_doubts(moved, MOST_EXCESS + 1, 0.1 * side / 224) == [], "a motion far above the errors"
        assert error_doubts(still, MOST_EXCESS, 0.1 * side / 224) == [], "noise that averages out"
        assert error_doubts(still, 99, LEAST_HIDDEN / 10 * side / 224) == [], "errors too small to matter"
    clip = photograph.moved(["12"], 0.5)
    for quality, doubtful in ((88, False), (20, True)):
        frames = [cv2.imencode(".jpg", f, [cv2.IMWRITE_JPEG_QUALITY, quality])[1] for f in (clip.onset, clip.apex)]
        onset, apex = (np.asarray(cv2.imdecode(frame, cv2.IMREAD_GRAYSCALE)) for frame in frames)
        assert any("compression" in text for text in doubts(onset, apex)) == doubtful, quality


def test_no_doubt_about_drawn_and_photographed_clips(photograph: Any) -> None:
    for clip in clips("plausible", 8, seed=7):
        assert doubts(*read_pair(clip.onset, clip.apex)) == (), clip.id
    for code, px in (("9", 0.3), ("12", 1.0), ("26", 3.0)):
        clip = photograph.moved([code], px)
        assert doubts(clip.onset, clip.apex) == (), code


@pytest.mark.parametrize("seed", range(2))
def test_no_doubt_about_a_blink_the_dark_or_noise(seed: int) -> None:
    drawn = draw_clip(Face(200 + seed), np.random.default_rng(seed), ("1", "2", "26"), 3.0, head=1.0, blink=True)
    frames = [frame.astype(np.float32) for frame in read_pair(drawn.onset, drawn.apex)]
    noise = np.random.default_rng(seed).normal(0, 8, (2, 224, 224))
    assert doubts(*map(grey, frames)) == ()
    assert doubts(*(grey(frame * 0.25) for frame in frames)) == ()
    assert doubts(*(grey(frame + noise[i]) for i, frame in enumerate(frames))) == ()
    assert doubts(grey(frames[0]), grey(frames[1] * 0.7)) == ()
