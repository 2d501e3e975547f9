"""Colour as language: what is painted for each direction reads back as that direction's colour."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from mellm_plugin.motion import colour

PUBLISHED = {
    "up": "purple",
    "right": "red",
    "down": "yellow-green",
    "left": "cyan",
    "up-right": "pink to magenta",
    "down-right": "yellow to orange",
    "down-left": "turquoise to green",
    "up-left": "blue to sky blue",
}
"""The legend of MELLM v1, in the names of our bins."""


def test_the_legend_is_the_published_one() -> None:
    assert {d.name: d.words for d in colour.DIRECTIONS.values()} == PUBLISHED
    assert all(f"{name} {words}" in colour.legend_text() for name, words in PUBLISHED.items())


@pytest.mark.parametrize("angle", range(0, 360, 30))
def test_hue_is_minus_the_angle(angle: int) -> None:
    vector = np.array([np.cos(np.radians(angle)), -np.sin(np.radians(angle))], np.float32)
    flow = np.broadcast_to(vector, (8, 8, 2)).copy()
    image = colour.paint(flow, np.ones((8, 8), np.float32), np.zeros((8, 8), np.uint8))
    hue = colorsys.rgb_to_hsv(*(image[0, 0] / 255))[0] * 360
    assert abs((hue + angle + 180) % 360 - 180) < 1


@pytest.mark.parametrize("direction", colour.DIRECTIONS.values(), ids=lambda d: d.name)
def test_directions_read_back(direction: colour.Direction) -> None:
    dx, dy = np.cos(np.radians(direction.angle)), -np.sin(np.radians(direction.angle))
    assert colour.direction_of(dx, dy) is direction


def test_bright_skin_keeps_the_hue() -> None:
    flow = np.broadcast_to(np.float32([0, -1]), (4, 4, 2)).copy()
    image = colour.paint(flow, np.full((4, 4), 0.5, np.float32), np.full((4, 4), 250, np.uint8))
    hue = colorsys.rgb_to_hsv(*(image[0, 0] / 255))[0] * 360
    assert 255 <= hue <= 285


def test_no_strength_leaves_the_grey_frame() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    image = colour.paint(np.ones((16, 16, 2), np.float32), np.zeros((16, 16), np.float32), grey)
    assert (image == grey[..., None]).all()


def test_the_wheel_shows_each_direction_on_its_side() -> None:
    wheel = colour.legend(160)
    assert tuple(wheel[80, 150]) != tuple(wheel[80, 10])
    red, green, blue = (int(v) for v in wheel[80, 150])
    assert red > 200 > green == blue
    assert (wheel[2, 2] == 128).all()
