"""Contact sheets as a viewer finds them: every map in its place, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from mellm_plugin.errors import InputError
from mellm_plugin.motion import colour
from mellm_plugin.motion.contact_sheet import _shortened, contact_sheet

RED, GREEN = np.array([255, 0, 0]), np.array([0, 200, 0])


def _plain(rgb: np.ndarray, height: int = 60, width: int = 60) -> np.ndarray:
    return np.broadcast_to(rgb.astype(np.uint8), (height, width, 3)).copy()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_maps_are_in_reading_order(tmp_path: Path, suffix: str) -> None:
    maps = [(f"clip {i}", _plain(GREEN if i == 4 else RED)) for i in range(5)]
    (path,) = contact_sheet(maps, tmp_path / f"sheet.{suffix}", columns=3, rows=2, side=64)
    with Image.open(path) as picture:
        page = np.asarray(picture.convert("RGB")).astype(int)
    red = np.abs(page[:, 8 + 32] - RED).max(axis=1) < 12
    first, second = np.flatnonzero(np.diff(red.astype(int)) == 1)[:2] + 32  # the middle of the rows
    for y, column, expected in ((first, 0, RED), (first, 2, RED), (second, 0, RED), (second, 1, GREEN)):
        assert np.abs(page[y, 8 + column * 72 + 32] - expected).max() < 12, (y, column)
    assert (page[second, 8 + 2 * 72 + 32] > 240).all()  # the sixth cell is empty


def test_pages_are_written_as_they_fill_each_with_its_legend(tmp_path: Path) -> None:
    seen: list[int] = []

    def maps() -> Iterator[tuple[str, np.ndarray]]:
        for i in range(10):
            seen.append(len(list(tmp_path.glob("*.png"))))
            yield f"clip {i}", _plain(RED)

    pages = contact_sheet(maps(), tmp_path / "sheet.png", columns=2, rows=2, side=48)
    assert [page.name for page in pages] == ["sheet.png", "sheet-2.png", "sheet-3.png"]
    assert seen == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]  # each page is written once it is full
    assert sorted(tmp_path.iterdir()) == sorted(pages)
    heights = [Image.open(page).height for page in pages]
    assert heights[0] == heights[1] > heights[2]  # the last one ends below its only row
    for palette in colour.PALETTES:
        (path,) = contact_sheet([("a", _plain(RED))], tmp_path / "sheet.png", palette=palette, columns=1)
        page_colours = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).astype(int)
        for name, rgb in colour.colours(palette):
            assert np.abs(page_colours - np.array(rgb)).max(axis=1).min() <= 40, f"{name} is not in the legend"


def test_any_shape_and_id_is_fitted(tmp_path: Path) -> None:
    maps = [
        ("wide", _plain(RED, 20, 400)),
        ("tall", _plain(RED, 400, 20)),
        ("grey", np.full((30, 30), 99, np.uint8)),
        ("picture", Image.new("RGBA", (30, 30), (255, 0, 0, 255))),
        ("one pixel", _plain(RED, 1, 1)),
        ("", _plain(RED)),
        ("two\nlines", _plain(RED)),
    ]
    assert contact_sheet(maps, tmp_path / "sheet.jpg", columns=4)
    font = ImageFont.load_default(13)
    cut = _shortened("casme2/sub01/EP02_01f_" + 40 * "x" + "_onset46", 120, font)
    assert cut.startswith("casme") and cut.endswith("46") and cut.count("…") == 1 and font.getlength(cut) <= 120


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        contact_sheet([], tmp_path / "absent" / "a.bmp", columns=0, rows=101, side=5)
    assert len(caught.value.faults) == 5
    with pytest.raises(InputError, match="expected at least one map"):
        contact_sheet([], tmp_path / "a.png")
    with pytest.raises(InputError, match="too large"):
        contact_sheet([("a", _plain(RED))], tmp_path / "a.png", columns=100, rows=100, side=1024)
    with pytest.raises(InputError, match="clip 7: expected a PIL image"):
        contact_sheet([("clip 7", np.zeros((5, 5)))], tmp_path / "a.png")  # type: ignore[list-item]
    assert not list(tmp_path.iterdir())
