"""Regions of a face: known motion, drawn and photographed, is found where it is, and nowhere else."""

from __future__ import annotations

import colorsys
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
from mellm_plugin.motion.render import motion_map

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


def shown_by(number: int) -> list[tuple[str, str | None, float, float]]:
    """Region, side and direction of what a unit moves on both sides."""
    if number in LIPS:
        return [(lip, None, *xy) for lip, xy in zip(("upper lip", "lower lip"), LIPS[number], strict=True)]
    window = max(synthme.WINDOWS[number], key=lambda w: math.hypot(w.dx, w.dy))
    sides = {"left": -1, "right": 1} if window.x else {None: 0}
    return [(UNITS[number].region, side, m * window.dx, window.dy) for side, m in sides.items()]


def test_each_unit_is_found_in_a_perfect_flow_and_on_its_side_alone() -> None:
    for number in synthme.AUS:
        found = regions(measured(coded([str(number)])))
        for region, side, x, y in shown_by(number):
            one = found[region, side]
            assert one.visible and off(one, x, y) < 30, (region, side, one)
            assert 0.3 < one.magnitude <= 1
    for code, moves, still in (("L12", "right", "left"), ("R12", "left", "right")):
        small = measured(coded([code]))
        found, large = regions(small), regions(at_size(small, (2 * SIDE, 2 * SIDE)))  # px of the reference frame
        assert found["mouth corners", moves].visible and not found["mouth corners", still].visible
        assert large["mouth corners", moves].dx == pytest.approx(found["mouth corners", moves].dx, abs=0.05)


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
    y, x = np.mgrid[0:SIDE, 0:SIDE] - np.array([SIDE / 2 + 0.70 * HALF_HEIGHT * SIDE, SIDE / 2])[:, None, None]
    apart = 2 * np.sign(y + 3) * np.exp(-(x**2 + y**2) / 2 / 15**2)
    found = regions(measured(np.dstack([0 * apart, apart])))["chin and lower lip", None]
    assert found.magnitude > 0.3 and not found.visible


def test_any_frame_and_nose_tip_is_measured_and_one_outside_is_refused() -> None:
    for shape in ((16, 16), (64, 300), (300, 64)):
        still = region_motions(measured(np.zeros((*shape, 2))))
        assert len({(r.region, r.side) for r in still}) == len(still)
        assert not any(r.visible or r.magnitude for r in still)
    found = regions(measured(np.ones((SIDE, SIDE, 2))), (0.0, 0.0))
    assert not found["outer brows", "left"].visible and found["outer brows", "left"].magnitude == 0
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
        shown = [(one, x, y) for region, side, x, y in shown_by(number) if (one := found[region, side]).visible]
        seen += len(shown)
        right += sum(off(one, x, y) <= 45 for one, x, y in shown)
        far = MOUTH if number in UPPER else BROWS if number in LOWER else ()
        still += sum(region in far for region, _ in found)
        invented += sum(region in far and one.visible for (region, _), one in found.items())
    assert seen >= 45 and right >= 0.95 * seen, (seen, right)
    assert still >= 100 and invented <= 0.03 * still, (still, invented)


# The map of a photographed face shows the same region in the colour of its direction


@pytest.mark.parametrize("head", [False, True], ids=["head still", "head moves"])
@pytest.mark.parametrize("number", [n for n in synthme.WINDOWS if n != 45])
def test_region_and_colour_of_each_unit(photograph: Any, number: int, head: bool) -> None:
    clip = photograph.moved([str(number)], 0.9, photograph.HEAD if head else HeadMotion())
    drawn = motion_map(clip.onset, clip.apex)
    assert drawn.doubts == ()
    painted = np.ptp(drawn.image.astype(int), axis=2)  # of grey pixels 0
    window = max(synthme.WINDOWS[number], key=lambda w: np.hypot(w.dx, w.dy))
    for m in (1, -1) if window.x else (1,):
        x, y = (
            round(at + photograph.HALF * offset)
            for at, offset in zip(photograph.CENTRE, (m * window.x, window.y), strict=True)
        )
        spot = slice(y - 2, y + 3), slice(x - 2, x + 3)
        assert painted[spot].mean() > 40, f"AU{number}: the region is grey"
        red, green, blue = drawn.image[spot][painted[spot] > 20].mean(axis=0) / 255
        hue = 360 * colorsys.rgb_to_hsv(red, green, blue)[0]
        angle = np.degrees(np.arctan2(-window.dy, m * window.dx))
        assert abs((hue + angle + 180) % 360 - 180) <= 30, f"AU{number}: hue {hue:.0f}"  # it is minus the angle
    found_regions = regions(drawn.facial)
    for region, side, dx, dy in shown_by(number):
        found = found_regions[region, side]
        assert found.visible and off(found, dx, dy) < 45, found
    elsewhere = (np.linalg.norm(clip.facial, axis=-1) < 0.02)[40:190, 50:175]
    assert painted[40:190, 50:175][elsewhere].mean() < 0.02 * 255, f"AU{number}: colour where nothing moves"


@pytest.mark.parametrize("head", [False, True], ids=["head still", "head moves"])
def test_a_face_that_stays_is_grey_and_colour_grows_with_motion(photograph: Any, head: bool) -> None:
    spot, shown = np.s_[145:165, 130:146], [0.0]
    for px in (0.3, 0.45, 0.675, 1.0125):
        clip = photograph.moved(["12"], px, photograph.HEAD if head else HeadMotion())
        shown.append(np.ptp(motion_map(clip.onset, clip.apex).image.astype(int), axis=2)[spot].mean())
        assert shown[-1] > max(10, 1.05 * shown[-2])
    clip = photograph.moved(head=photograph.HEAD if head else HeadMotion(), seed=1)
    drawn = motion_map(clip.onset, clip.apex)
    painted = np.ptp(drawn.image.astype(int), axis=2)
    assert painted[40:190, 50:175].mean() < 0.01 * 255 and painted.mean() < 0.02 * 255
    assert not [r for r in region_motions(drawn.facial) if r.visible]
