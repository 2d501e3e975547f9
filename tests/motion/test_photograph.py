"""A photographed face, moved by one known action unit: the map shows that unit's region in that unit's colour."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest

from mellm_plugin.datasets.synthme import WINDOWS
from mellm_plugin.motion import colour
from mellm_plugin.motion.head import HeadMotion
from mellm_plugin.motion.render import motion_map

BELOW_ONE_PIXEL = 0.9


@pytest.mark.parametrize("head", [False, True], ids=["head still", "head moves"])
@pytest.mark.parametrize("number", [n for n in WINDOWS if n != 45])
def test_region_and_colour_of_each_unit(photograph: Any, number: int, head: bool) -> None:
    clip = photograph.moved([str(number)], BELOW_ONE_PIXEL, photograph.HEAD if head else HeadMotion())
    drawn = motion_map(clip.onset, clip.apex)
    assert drawn.doubts == ()
    painted = np.ptp(drawn.image.astype(int), axis=2)  # of grey pixels 0
    window = max(WINDOWS[number], key=lambda w: np.hypot(w.dx, w.dy))
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
        off = abs((hue + angle + 180) % 360 - 180)  # the hue is minus the angle
        expected = colour.direction_of(m * window.dx, window.dy)
        assert off <= 30, f"AU{number}: expected {expected.words_in(colour.STANDARD)}, found a hue of {hue:.0f} degrees"
    elsewhere = (np.linalg.norm(clip.facial, axis=-1) < 0.02)[40:190, 50:175]
    assert painted[40:190, 50:175][elsewhere].mean() < 0.02 * 255, f"AU{number}: colour where nothing moves"


@pytest.mark.parametrize("head", [False, True], ids=["head still", "head moves"])
def test_the_face_that_stays_is_grey(photograph: Any, head: bool) -> None:
    clip = photograph.moved(head=photograph.HEAD if head else HeadMotion(), seed=1)
    drawn = motion_map(clip.onset, clip.apex)
    assert np.ptp(drawn.image.astype(int), axis=2)[40:190, 50:175].mean() < 0.01 * 255
    assert np.ptp(drawn.image.astype(int), axis=2).mean() < 0.02 * 255


@pytest.mark.parametrize("px", [0.3, 0.6, 1.0])
def test_the_brightness_follows_the_motion(photograph: Any, px: float) -> None:
    weak, strong = (photograph.moved(["12"], by) for by in (px, 1.5 * px))
    spot = np.s_[145:165, 130:146]
    shown = [np.ptp(motion_map(c.onset, c.apex).image.astype(int), axis=2)[spot].mean() for c in (weak, strong)]
    assert shown[1] > 1.05 * shown[0] > 10
