"""Regions of a face: known motion, drawn and photographed, is found where it is, and nowhere else."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest

from mellm_plugin.datasets import synthme
from mellm_plugin.errors import ImageError
from mellm_plugin.facs.units import UNITS
from mellm_plugin.motion.facial import FacialFlow, at_size, facial_flow
from mellm_plugin.motion.head import HeadMotion
from mellm_plugin.motion.regions import HALF_HEIGHT, NOSE_TIP, RegionMotion, region_motions

Array = np.ndarray[Any, Any]
Found = dict[tuple[str, str | None], RegionMotion]

SIDE = 224
LIPS = {24: ((0, 1), (0, -1)), 25: ((0, -1), (0, 1))}
"""Where the upper and the lower lip go."""


def measured(facial: Array, confidence: Array | None = None) -> FacialFlow:
    return FacialFlow(facial.astype(np.float32), confidence, None, "none", ())


def coded(codes: list[str], px: float = 1.0, shift: tuple[float, float] = (0, 0)) -> Array:
    centre = SIDE / 2 + shift[0], SIDE / 2 + shift[1]
    return synthme.displacement(codes, [px] * len(codes), centre, HALF_HEIGHT * SIDE, (SIDE, SIDE))


def regions(facial: FacialFlow, nose: tuple[float, float] | None = None) -> Found:
    return {(r.region, r.side): r for r in region_motions(facial, nose)}


def off(found: RegionMotion, x: float, y: float) -> float:
    """Degrees between what was found and what is true."""
    between = (found.dx * x + found.dy * y) / (found.magnitude * math.hypot(x, y))
    return math.degrees(math.acos(max(-1.0, min(1.0, between))))


def expected(number: int) -> list[tuple[str, str | None, float, float]]:
    """Region, side and direction of what a unit moves on both sides."""
    if number in LIPS:
        return [(lip, None, *xy) for lip, xy in zip(("upper lip", "lower lip"), LIPS[number], strict=True)]
    window = max(synthme.WINDOWS[number], key=lambda w: math.hypot(w.dx, w.dy))
    sides = {"left": -1, "right": 1} if window.x else {None: 0}
    return [(UNITS[number].region, side, m * window.dx, window.dy) for side, m in sides.items()]


@pytest.mark.parametrize("number", synthme.AUS)
def test_each_unit_is_found_in_a_perfect_flow(number: int) -> None:
    found = regions(measured(coded([str(number)])))
    for region, side, x, y in expected(number):
        one = found[region, side]
        assert one.visible and off(one, x, y) < 30, (region, side, one)
        assert 0.3 < one.magnitude <= 1


@pytest.mark.parametrize("head", [False, True], ids=["head still", "head moves"])
@pytest.mark.parametrize("number", synthme.AUS)
def test_each_unit_is_found_in_a_photograph(photograph: Any, number: int, head: bool) -> None:
    clip = photograph.moved([str(number)], 0.9, photograph.HEAD if head else HeadMotion())
    found = regions(facial_flow(clip.onset, clip.apex))
    for region, side, x, y in expected(number):
        assert found[region, side].visible and off(found[region, side], x, y) < 45, (region, side, found[region, side])


def test_a_photograph_that_stays_has_no_visible_region(photograph: Any) -> None:
    for seed in range(3):
        clip = photograph.moved(seed=seed)
        assert not [r for r in region_motions(facial_flow(clip.onset, clip.apex)) if r.visible]


@pytest.mark.parametrize(("code", "moves", "still"), [("L12", "right", "left"), ("R12", "left", "right")])
def test_one_side_alone(code: str, moves: str, still: str) -> None:
    found = regions(measured(coded([code])))
    assert found["mouth corners", moves].visible and not found["mouth corners", still].visible


def test_motion_is_in_px_of_the_reference_frame() -> None:
    small = measured(coded(["12"]))
    large = at_size(small, (2 * SIDE, 2 * SIDE))
    for one, other in zip(region_motions(small), region_motions(large), strict=True):
        assert (one.region, one.side, one.visible) == (other.region, other.side, other.visible)
        assert [other.dx, other.dy] == pytest.approx([one.dx, one.dy], abs=0.05)


def test_the_nose_tip_says_where_the_face_is() -> None:
    shift = (14.0, -16.0)
    moved = measured(coded(["5"], shift=shift))  # a lid is too narrow to be met by chance
    nose = SIDE / 2 + shift[0], SIDE / 2 + shift[1] + NOSE_TIP * HALF_HEIGHT * SIDE
    placed = regions(moved, nose)
    assert placed["upper lids", "left"].magnitude > 0.4 and placed["upper lids", "right"].magnitude > 0.4
    assert regions(moved)["upper lids", "left"].magnitude < 0.2


def test_untrusted_motion_is_not_visible() -> None:
    facial = coded(["12"], 0.4) + np.random.default_rng(0).normal(0, 0.05, (SIDE, SIDE, 2))
    trusted = regions(measured(facial, np.ones((SIDE, SIDE), np.float32)))["mouth corners", "left"]
    doubted = regions(measured(facial, np.full((SIDE, SIDE), 0.1, np.float32)))["mouth corners", "left"]
    assert trusted.visible and not doubted.visible and doubted.noise > trusted.noise


def test_a_region_whose_parts_diverge_has_no_direction() -> None:
    y = np.arange(SIDE)[:, None, None] - (SIDE / 2 + 0.70 * HALF_HEIGHT * SIDE)
    facial = np.concatenate([np.zeros((SIDE, SIDE, 1)), np.broadcast_to(np.sign(y), (SIDE, SIDE, 1))], -1)
    facial[: SIDE // 2] = 0
    assert not regions(measured(facial))["chin and lower lip", None].visible


@pytest.mark.parametrize("shape", [(16, 16), (64, 300), (300, 64)])
def test_any_frame_is_measured(shape: tuple[int, int]) -> None:
    found = region_motions(measured(np.zeros((*shape, 2))))
    assert len({(r.region, r.side) for r in found}) == len(found)
    assert not any(r.visible or r.magnitude for r in found)


def test_regions_beyond_the_frame_have_no_motion() -> None:
    found = regions(measured(np.ones((SIDE, SIDE, 2))), (0.0, 0.0))
    assert not found["outer brows", "left"].visible and found["outer brows", "left"].magnitude == 0


def test_a_nose_tip_outside_the_frame_is_refused() -> None:
    with pytest.raises(ImageError, match="inside the frame of 224x224"):
        region_motions(measured(coded(["1"])), (300, 10))


UPPER, LOWER = (1, 2, 4, 5, 7), (14, 15, 17, 20, 24, 25, 26)
BROWS, MOUTH = ("inner brows", "outer brows", "brows"), ("lips", "mouth corners", "lower lip", "chin")


def test_regions_of_drawn_clips() -> None:
    """Faces at other places and of other sizes: what is seen is right, and what stands still is not seen."""
    seen = right = still = invented = 0
    for at, number in enumerate(2 * synthme.AUS):
        rng = np.random.default_rng([5, at])
        clip = synthme.draw_clip(synthme.Face(at), rng, (str(number),), (0.4, 0.8, 1.6)[at % 3])
        onset, apex = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (clip.onset, clip.apex))
        found = regions(facial_flow(onset, apex), clip.nose)
        shown = [(one, x, y) for region, side, x, y in expected(number) if (one := found[region, side]).visible]
        seen += len(shown)
        right += sum(off(one, x, y) <= 45 for one, x, y in shown)
        far = MOUTH if number in UPPER else BROWS if number in LOWER else ()
        still += sum(region in far for region, _ in found)
        invented += sum(region in far and one.visible for (region, _), one in found.items())
    assert seen >= 45 and right >= 0.95 * seen, (seen, right)
    assert still >= 100 and invented <= 0.03 * still, (still, invented)
