"""A photographed face, moved by one known action unit: the map shows that unit's region in that unit's colour."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest

from mellm_plugin.datasets.synthme import WINDOWS, displacement, warp
from mellm_plugin.motion import colour
from mellm_plugin.motion.render import motion_map

data = pytest.importorskip("skimage.data")

CENTRE, HALF = (112.0, 112.0), 91.0
BELOW_ONE_PIXEL = 0.9


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """The face of scikit-image's astronaut (NASA, public domain), 224 x 224, grey, float32."""
    crop = data.astronaut()[22:196, 137:311]
    grey = cv2.cvtColor(cv2.resize(crop, (224, 224), interpolation=cv2.INTER_CUBIC), cv2.COLOR_RGB2GRAY)
    return grey.astype(np.float32)


def _moved(face: np.ndarray, code: str, head: bool) -> np.ndarray:
    flow = displacement([code], [BELOW_ONE_PIXEL], CENTRE, HALF, face.shape)
    if head:
        y, x = np.mgrid[0:224, 0:224].astype(np.float32) - 111.5
        flow = flow + np.dstack([0.006 * x - 0.008 * y + 1.7, 0.008 * x + 0.006 * y - 1.1]).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 1.0, (2, *face.shape))
    apex = warp(face, flow) * 1.01 + noise[1]
    return np.stack([face + noise[0], apex]).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("head", [False, True], ids=["head still", "head moves"])
@pytest.mark.parametrize("number", [n for n in WINDOWS if n != 45])
def test_region_and_colour_of_each_unit(face: np.ndarray, number: int, head: bool) -> None:
    drawn = motion_map(*_moved(face, str(number), head))
    painted = np.ptp(drawn.image.astype(int), axis=2)  # of grey pixels 0
    window = max(WINDOWS[number], key=lambda w: np.hypot(w.dx, w.dy))
    for m in (1, -1) if window.x else (1,):
        x, y = round(CENTRE[0] + HALF * m * window.x), round(CENTRE[1] + HALF * window.y)
        spot = slice(y - 2, y + 3), slice(x - 2, x + 3)
        assert painted[spot].mean() > 40, f"AU{number}: the region is grey"
        red, green, blue = drawn.image[spot][painted[spot] > 20].mean(axis=0) / 255
        hue = 360 * colorsys.rgb_to_hsv(red, green, blue)[0]
        angle = np.degrees(np.arctan2(-window.dy, m * window.dx))
        off = abs((hue + angle + 180) % 360 - 180)  # the hue is minus the angle
        expected = colour.direction_of(m * window.dx, window.dy)
        assert off <= 30, f"AU{number}: expected {expected.words_in(colour.STANDARD)}, found a hue of {hue:.0f} degrees"
    size = np.hypot(*np.moveaxis(displacement([str(number)], [BELOW_ONE_PIXEL], CENTRE, HALF, face.shape), -1, 0))
    elsewhere = (size < 0.02)[40:190, 50:175]
    assert painted[40:190, 50:175][elsewhere].mean() < 0.06 * 255, f"AU{number}: colour where nothing moves"


def test_the_face_that_stays_is_grey(face: np.ndarray) -> None:
    onset, _ = _moved(face, "12", head=False)
    again = (face + np.random.default_rng(1).normal(0, 1.0, face.shape)).round().clip(0, 255).astype(np.uint8)
    inside = motion_map(onset, again).image[40:190, 50:175]
    assert np.ptp(inside.astype(int), axis=2).mean() < 0.05 * 255
