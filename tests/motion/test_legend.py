"""The legend as readers find it: its words are whole, its colours are those of the map, its scale says their px."""

from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageFont

from mellm_plugin.datasets.synthme import Face, draw_clip
from mellm_plugin.errors import InputError
from mellm_plugin.motion import colour
from mellm_plugin.motion.legend import layout_of, legend_image, legend_svg, with_legend, write_legend
from mellm_plugin.motion.render import motion_map, scale, strength
from mellm_plugin.motion.settings import PRESETS


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("palette", colour.PALETTES)
def test_words_and_arrows_overlap_nothing_and_the_wheel_has_the_colours_they_name(palette: str, preset: str) -> None:
    named, em = scale(PRESETS[preset]), 40
    layout = layout_of(named, palette)
    font = ImageFont.load_default(em)
    boxes: list[tuple[float, ...]] = []
    for word in layout.words:
        box = font.getbbox(word.text, anchor=f"{word.part}s")
        boxes.append((box[0] + word.x * em, box[1] + word.y * em, box[2] + word.x * em, box[3] + word.y * em))
    for corners in layout.arrows:
        x, y = np.array(corners).T * em
        boxes.append((x.min(), y.min(), x.max(), y.max()))
    for left, top, right, bottom in boxes:
        assert left > 0 < top and right < layout.size[0] * em and bottom < layout.size[1] * em
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]

    picture = np.asarray(legend_image(named, palette, round(layout.size[1] * em)))
    for way, corners in zip(colour.DIRECTIONS.values(), layout.arrows, strict=True):
        centre = np.array(layout.centre)
        tip = max(map(np.array, corners), key=lambda at: float(np.hypot(*(at - centre))))
        assert colour.direction_of(*(tip - centre)) is way
        for turn in (-0.2, 0.2):
            turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ (tip - centre)
            x, y = np.rint(em * (centre + 0.65 * turned)).astype(int)
            assert int(colour.read_bins(picture[y, x], palette)) in way.bins


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("pixels", [0.5, 12.0])
def test_the_scale_gives_the_strength_of_each_motion_of_the_map(preset: str, pixels: float) -> None:
    clip = draw_clip(Face(1), np.random.default_rng(1), ("12", "4", "1", "25"), pixels)
    drawn = motion_map(clip.onset, clip.apex, PRESETS[preset])
    shown = scale(drawn.settings, drawn.flow)
    last, words = shown.ticks[-1]
    top = float(words) / last
    length = np.hypot(drawn.flow[..., 0], drawn.flow[..., 1])
    inside = length <= top
    expected = strength(drawn.flow, drawn.settings)[inside]
    at = np.linspace(0, top, len(shown.opacity))
    assert np.abs(np.interp(length[inside], at, shown.opacity) - expected).max() < 0.03
    assert 2 <= len(shown.ticks) <= 6 and shown.opacity[-1] > 0.94


def test_a_vector_file_has_the_same_words_and_colours() -> None:
    for palette in colour.PALETTES:
        named = scale(PRESETS["robust"])
        drawn = ElementTree.fromstring(legend_svg(named, palette))
        words = [part.text for part in drawn if part.tag.endswith("text")]
        assert words == [word.text for word in layout_of(named, palette).words]
        fills = [part.get("fill") for part in drawn if part.tag.endswith("path")]
        assert fills == [f"#{bytes(rgb).hex()}" for _, rgb in colour.colours(palette)]


def test_a_map_keeps_its_pixels_or_is_enlarged_beside_its_legend(tmp_path: Path) -> None:
    named = scale(PRESETS["robust"])
    for size, times in (((500, 640), 1), ((224, 224), 3), ((64, 40), 10), ((300, 3000), 1), ((3000, 300), 1)):
        given = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3)).astype(np.uint8))
        page = with_legend(given, named)
        assert page.height == max(448, times * given.height) and page.width > times * given.width + 400
        if times == 1:
            top = (page.height - given.height) // 2
            assert page.crop((0, top, given.width, top + given.height)).tobytes() == given.tobytes()
        assert page.getpixel((page.width - 2, 2)) == (255, 255, 255)
    for name in ("a.svg", "a.png"):
        write_legend(tmp_path / name, named)
    with Image.open(tmp_path / "a.png") as picture:
        assert [round(dpi) for dpi in picture.info["dpi"]] == [300, 300]
    for wrong in (tmp_path / "a.txt", tmp_path / "absent" / "a.svg"):
        with pytest.raises(InputError):
            write_legend(wrong, named)
