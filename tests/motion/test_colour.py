"""Colour as language: what is painted for each direction reads back as that direction's colour, whoever looks."""

from __future__ import annotations

import colorsys
import math
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mellm_plugin.errors import SettingsError
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.prompts import map_prompt
from mellm_plugin.motion import colour
from mellm_plugin.motion.settings import PALETTE_NAMES

GOLDEN = Path(__file__).parents[1] / "golden" / "published" / "golden.npz"

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


def uniform(angle: float, side: int = 8) -> npt.NDArray[np.float32]:
    """A flow of one px everywhere, to `angle` degrees counter-clockwise from right."""
    vector = np.array([np.cos(np.radians(angle)), -np.sin(np.radians(angle))], np.float32)
    return np.broadcast_to(vector, (side, side, 2)).copy()


def read_direction(rgb: npt.ArrayLike, palette: str = "standard") -> colour.Direction | None:
    """The direction whose colours a painted pixel shows; None for grey."""
    index = int(colour.read_bins(np.asarray(rgb, np.uint8), palette))
    return next((direction for direction in colour.DIRECTIONS.values() if index in direction.bins), None)


# The table


def test_the_standard_legend_is_the_published_one() -> None:
    assert {d.name: d.words_in("standard") for d in colour.DIRECTIONS.values()} == PUBLISHED
    assert all(f"{name} {words}" in colour.legend_text() for name, words in PUBLISHED.items())


def test_the_standard_colours_are_pure_hues() -> None:
    for i, (_, rgb) in enumerate(colour.colours()):
        hue = colorsys.hsv_to_rgb((-30 * i % 360) / 360, 1.0, 1.0)
        assert rgb == tuple(round(255 * channel) for channel in hue)


def test_settings_know_the_palettes() -> None:
    assert tuple(colour.PALETTES) == PALETTE_NAMES


@pytest.mark.parametrize("palette", colour.PALETTES)
def test_names_and_phrases_of_a_palette_differ(palette: str) -> None:
    assert len({name for name, _ in colour.colours(palette)}) == 12
    assert len({d.words_in(palette) for d in colour.DIRECTIONS.values()}) == 8


def test_every_bin_belongs_to_one_direction() -> None:
    assert sorted(i for d in colour.DIRECTIONS.values() for i in d.bins) == list(range(12))


def test_wrong_names_are_refused_with_the_near_ones() -> None:
    still, grey = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.uint8)
    for use in (
        lambda: colour.legend_text("color-blind"),
        lambda: colour.legend(palette="color-blind"),
        lambda: colour.read_bins(np.uint8([1, 2, 3]), "color-blind"),
        lambda: colour.paint(uniform(0, 4), still, grey, "color-blind"),
    ):
        with pytest.raises(SettingsError, match="Did you mean 'colour-blind'"):
            use()
    with pytest.raises(SettingsError, match="Did you mean 'blend'"):
        colour.paint(uniform(0, 4), still, grey, overlay="blent")


# Painting


@pytest.mark.parametrize("direction", colour.DIRECTIONS.values(), ids=lambda d: d.name)
def test_the_nearest_direction(direction: colour.Direction) -> None:
    dx, dy = np.cos(np.radians(direction.angle)), -np.sin(np.radians(direction.angle))
    assert colour.direction_of(dx, dy) is direction


@pytest.mark.parametrize("overlay", colour.OVERLAYS)
@pytest.mark.parametrize("palette", colour.PALETTES)
def test_no_strength_leaves_the_grey_frame(palette: str, overlay: str) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    image = colour.paint(np.ones((16, 16, 2), np.float32), np.zeros((16, 16), np.float32), grey, palette, overlay)
    assert (image == grey[..., None]).all()


def test_the_published_painting() -> None:
    with np.load(GOLDEN) as golden:
        for flow, grey, rgb in zip(golden["flow"], golden["grey"], golden["rgb"], strict=True):
            drawn = colour.paint(flow, colour.minmax_strength(flow), grey, overlay="add")
            assert np.abs(drawn.astype(int) - rgb).max() <= 1


def test_minmax_strength() -> None:
    flow = np.zeros((4, 4, 2), np.float32)
    flow[0, 0], flow[0, 1], flow[1] = (0, -5), (0, -3), (1, 0)
    strength = colour.minmax_strength(flow)
    assert strength.dtype == np.float32 and strength.shape == (4, 4)
    assert strength[0, 0] == 1 and strength[2, 2] == 0
    assert strength[0, 1] == pytest.approx(0.6) and strength[1, 1] == pytest.approx(0.2)


@pytest.mark.parametrize("magnitude", [0, 0.003, 0.7, 40])
def test_one_magnitude_in_all_directions_has_no_minmax_strength(magnitude: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 64 * 64)
    flow = magnitude * np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(64, 64, 2)
    assert (colour.minmax_strength(flow.astype(np.float32)) == 0).all()


# Reading


@pytest.mark.parametrize("palette", colour.PALETTES)
@pytest.mark.parametrize("direction", colour.DIRECTIONS.values(), ids=lambda d: d.name)
def test_map_wheel_and_prompt_say_the_same(direction: colour.Direction, palette: str) -> None:
    """Each direction painted, and shown by the wheel, reads back as the words that the prompt has for it."""
    asked = re.search(rf"[:,] {direction.name} ([a-z -]+)[,.]", map_prompt(LABELS["dfme"], palette))
    assert asked is not None
    names = asked[1].split(" to ")
    size = 161
    wheel = colour.legend(size, palette)
    for off in (-5, 5) if len(direction.bins) == 2 else (-10, 0, 10):
        flow = uniform(direction.angle + off)
        image = colour.paint(flow, np.full((8, 8), 0.4, np.float32), np.full((8, 8), 190, np.uint8), palette)
        x, y = (size // 2 + 0.8 * size / 2 * flow[0, 0]).round().astype(int)
        for pixel in (image[3, 3], wheel[y, x]):
            assert read_direction(pixel, palette) is direction
            assert colour.colours(palette)[int(colour.read_bins(pixel, palette))].name in names
    assert (wheel[2, 2] == 128).all()


@pytest.mark.parametrize("palette", colour.PALETTES)
def test_every_bin_reads_back_over_every_grey(palette: str) -> None:
    angle = np.repeat(np.radians(np.arange(12) * 30), 256).reshape(12, 256)
    flow = np.stack([np.cos(angle), -np.sin(angle)], axis=-1).astype(np.float32)
    grey = np.tile(np.arange(256, dtype=np.uint8), (12, 1))
    for strength in (0.08, 0.2, 0.5, 1):
        image = colour.paint(flow, np.full((12, 256), strength, np.float32), grey, palette)
        assert (colour.read_bins(image, palette) == np.arange(12)[:, None]).all()


def test_a_sum_over_255_loses_the_bin_and_a_blend_keeps_it() -> None:
    flow, strength, skin = uniform(150), np.full((8, 8), 0.6, np.float32), np.full((8, 8), 240, np.uint8)
    assert (colour.read_bins(colour.paint(flow, strength, skin)) == 5).all()
    assert (colour.read_bins(colour.paint(flow, strength, skin, overlay="add")) != 5).all()


@pytest.mark.parametrize("grey", [(0, 0, 0), (128, 128, 128), (200, 202, 199)])
def test_grey_shows_no_direction(grey: tuple[int, int, int]) -> None:
    for palette in colour.PALETTES:
        assert read_direction(grey, palette) is None


# Eyes

# Machado, Oliveira & Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009),
# severity 1, for linear RGB.
DICHROMACIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
    "all cones": np.eye(3).tolist(),
}


def seen(rgb: npt.NDArray[np.uint8], eyes: str) -> npt.NDArray[np.float64]:
    """The colours, uint8 `(N, 3)`, as these eyes see them, in CIELAB."""
    skimage = pytest.importorskip("skimage.color")
    values = rgb / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    linear = (linear @ np.array(DICHROMACIES[eyes]).T).clip(0, 1)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(skimage.rgb2lab(shown))


def least_difference(palette: str, eyes: str, strength: float, grey: int) -> float:
    """The least CIEDE2000 between any two bins of different directions, painted with `strength` over `grey`."""
    skimage = pytest.importorskip("skimage.color")
    angle = np.radians(np.arange(12) * 30)
    flow = np.stack([np.cos(angle), -np.sin(angle)], axis=-1).astype(np.float32)[None]
    under = np.full((1, 12), grey, np.uint8)
    lab = seen(colour.paint(flow, np.full((1, 12), strength, np.float32), under, palette)[0], eyes)
    of = {i: name for name, direction in colour.DIRECTIONS.items() for i in direction.bins}
    pairs = [(i, j) for i in range(12) for j in range(i) if of[i] != of[j]]
    first, second = np.array(pairs).T
    return float(skimage.deltaE_ciede2000(lab[first], lab[second]).min())


@pytest.mark.parametrize("eyes", DICHROMACIES)
def test_the_colour_blind_palette_keeps_the_directions_apart(eyes: str) -> None:
    assert least_difference("colour-blind", eyes, 1, 128) > 16
    for grey in (60, 128, 200):
        assert least_difference("colour-blind", eyes, 0.5, grey) > 9
    if eyes != "all cones":
        for strength in (0.5, 1):
            ours, standard = (least_difference(p, eyes, strength, 128) for p in ("colour-blind", "standard"))
            assert ours > 2.5 * standard and standard < 5


def test_the_colour_blind_palette_is_a_smooth_ring() -> None:
    skimage = pytest.importorskip("skimage.color")
    rgb = np.array([c.rgb for c in colour.colours("colour-blind")], np.uint8)
    lab = seen(rgb, "all cones")
    steps = skimage.deltaE_ciede2000(lab, np.roll(lab, 1, axis=0))
    assert steps.max() < 30
    opposite = skimage.deltaE_ciede2000(lab, np.roll(lab, 6, axis=0))
    assert opposite.min() > steps.max()


def test_the_direction_shown_is_that_of_the_colour() -> None:
    for degrees in range(0, 360, 4):
        dx, dy = math.cos(math.radians(degrees)), -math.sin(math.radians(degrees))
        pixel = colour.paint(
            np.array([[[dx, dy]]], np.float32), np.ones((1, 1), np.float32), np.full((1, 1), 90, np.uint8)
        )
        assert read_direction(pixel[0, 0]) == colour.direction_shown(dx, dy)
