"""Colour as language: what is painted for each direction reads back as that direction's colour, whoever looks."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mellm_plugin.errors import SettingsError
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.prompts import map_prompt
from mellm_plugin.motion import colour
from mellm_plugin.motion.render import strength as strength_of
from mellm_plugin.motion.settings import PRESETS

GOLDEN = Path(__file__).parents[1] / "golden" / "published" / "golden.npz"


def uniform(angle: float, side: int = 8) -> npt.NDArray[np.float32]:
    """A flow of one px everywhere, to `angle` degrees counter-clockwise from right."""
    vector = np.array([np.cos(np.radians(angle)), -np.sin(np.radians(angle))], np.float32)
    return np.broadcast_to(vector, (side, side, 2)).copy()


def read_direction(rgb: npt.ArrayLike, palette: str = "standard") -> colour.Direction | None:
    """The direction whose colours a painted pixel shows; None for grey."""
    index = int(colour.read_bins(np.asarray(rgb, np.uint8), palette))
    return next((direction for direction in colour.DIRECTIONS.values() if index in direction.bins), None)


def test_each_bin_has_one_direction_and_names_differ() -> None:
    assert sorted(i for d in colour.DIRECTIONS.values() for i in d.bins) == list(range(12))
    for palette in colour.PALETTES:
        assert len({name for name, _ in colour.colours(palette)}) == 12
        assert len({d.words_in(palette) for d in colour.DIRECTIONS.values()}) == 8


def test_wrong_names_are_refused_with_the_near_ones() -> None:
    grey = np.zeros((4, 4), np.uint8)
    for use in (
        lambda: colour.legend_text("color-blind"),
        lambda: colour.wheel(palette="color-blind"),
        lambda: colour.paint(uniform(0, 4), grey.astype(np.float32), grey, "color-blind"),
    ):
        with pytest.raises(SettingsError, match="Did you mean 'colour-blind'"):
            use()


def test_the_published_painting() -> None:
    with np.load(GOLDEN) as golden:
        for flow, grey, rgb in zip(golden["flow"], golden["grey"], golden["rgb"], strict=True):
            drawn = colour.paint(flow, strength_of(flow, PRESETS["published"]), grey, overlay="add")
            assert np.abs(drawn.astype(int) - rgb).max() <= 1
    angles = np.linspace(0, 2 * np.pi, 64 * 64)
    flow = 0.7 * np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(64, 64, 2)
    assert (strength_of(flow.astype(np.float32), PRESETS["published"]) == 0).all(), (
        "one magnitude everywhere shows nothing"
    )


@pytest.mark.parametrize("palette", colour.PALETTES)
def test_map_wheel_and_prompt_say_the_same(palette: str) -> None:
    """Each direction painted, and shown by the wheel, reads back as the words that the prompt has for it."""
    prompt = map_prompt(LABELS["dfme"], palette)
    size = 161
    wheel = colour.wheel(size, palette)
    for degrees in (at for at in range(0, 360, 5) if at % 30 != 15):  # there two bins meet
        flow = uniform(degrees)
        direction = colour.direction_shown(*flow[0, 0])
        asked = re.search(rf"[:,] {direction.name} ([a-z -]+)[,.]", prompt)
        assert asked is not None
        image = colour.paint(flow, np.full((8, 8), 0.4, np.float32), np.full((8, 8), 190, np.uint8), palette)
        x, y = (size // 2 + 0.8 * size / 2 * flow[0, 0]).round().astype(int)
        for pixel in (image[3, 3], wheel[y, x]):
            assert read_direction(pixel, palette) is direction
            assert colour.colours(palette)[int(colour.read_bins(pixel, palette))].name in asked[1].split(" to ")
    for direction in colour.DIRECTIONS.values():
        assert colour.direction_of(*uniform(direction.angle)[0, 0]) is direction
    assert (wheel[2, 2] == 128).all() and read_direction((200, 202, 199), palette) is None


@pytest.mark.parametrize("palette", colour.PALETTES)
def test_every_bin_reads_back_over_every_grey_unless_nothing_is_painted(palette: str) -> None:
    angle = np.repeat(np.radians(np.arange(12) * 30), 256).reshape(12, 256)
    flow = np.stack([np.cos(angle), -np.sin(angle)], axis=-1).astype(np.float32)
    grey = np.tile(np.arange(256, dtype=np.uint8), (12, 1))
    for strength in (0.08, 0.2, 0.5, 1):
        image = colour.paint(flow, np.full((12, 256), strength, np.float32), grey, palette)
        assert (colour.read_bins(image, palette) == np.arange(12)[:, None]).all()
    for overlay in colour.OVERLAYS:
        assert (colour.paint(flow, 0 * angle.astype(np.float32), grey, palette, overlay) == grey[..., None]).all()


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
