"""Many motion maps at a glance: pages of small pictures with captions and the legend, written one by one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mellm_plugin.errors import InputError
from mellm_plugin.motion import colour
from mellm_plugin.motion.images import target_faults, write_atomically

_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_LARGEST_PAGE = 50_000_000  # pixels
_GAP = 8
_FOOT = 72
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (90, 90, 90)

Picture = Image.Image | npt.NDArray[np.uint8]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _shortened(text: str, width: float, font: Font) -> str:
    """The text in one line of at most `width` px; a longer text loses its middle, since both ends identify a clip."""
    text = re.sub(r"\s+", " ", text).strip()
    if font.getlength(text) <= width:
        return text
    kept = len(text)
    while kept > 2:
        kept -= 1
        cut = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(cut) <= width:
            return cut
    return "…"


def _as_picture(given: object, caption: str) -> Image.Image:
    if isinstance(given, Image.Image):
        return given.convert("RGB")
    if isinstance(given, np.ndarray) and given.dtype == np.uint8 and given.size and given.shape[2:] in ((), (3,)):
        return Image.fromarray(given).convert("RGB")
    found = f"{given.dtype} {given.shape}" if isinstance(given, np.ndarray) else type(given).__name__
    raise InputError(f"expected a PIL image or a uint8 array (H, W) or (H, W, 3), found {found}", where=caption)


def _lines(words: list[str], width: float, font: Font) -> list[str]:
    """Phrases joined to lines of at most `width` px."""
    lines: list[str] = []
    for word in words:
        joined = f"{lines[-1]}, {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


class _Page:
    """A page that fills row by row from the top left."""

    def __init__(self, columns: int, rows: int, side: int, palette: str) -> None:
        self.count = 0
        self._columns, self._side, self._palette = columns, side, palette
        self._font = ImageFont.load_default(max(9, min(16, side // 12)))
        top, bottom = self._font.getbbox("Ágjy|")[1::2]
        self._line = int(bottom - min(0, top)) + 2
        self._cell = side + _GAP, side + self._line + _GAP
        self._canvas = Image.new("RGB", _page_size(columns, rows, side, self._line), _PAPER)

    def add(self, caption: str, picture: Image.Image) -> None:
        """Draw a map into the next free cell."""
        row, column = divmod(self.count, self._columns)
        left, top = _GAP + column * self._cell[0], _GAP + row * self._cell[1]
        scale = self._side / max(picture.size)
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        small = picture.resize(size, Image.Resampling.LANCZOS)
        self._canvas.paste(small, (left + (self._side - size[0]) // 2, top + (self._side - size[1]) // 2))
        text = _shortened(caption, self._side, self._font)
        ImageDraw.Draw(self._canvas).text((left, top + self._side + 1), text, fill=_INK, font=self._font)
        self.count += 1

    def finished(self, number: int) -> Image.Image:
        """The page, cut below its last row, with the legend."""
        top = _GAP + -(-self.count // self._columns) * self._cell[1]
        left, font = 2 * _GAP + _FOOT, ImageFont.load_default(12)
        words = colour.legend_text(self._palette).split(", ")
        lines = [f"page {number}", *_lines(words, self._canvas.width - left - _GAP, font)]
        height = top + max(_FOOT, 16 * len(lines)) + _GAP
        page = Image.new("RGB", (self._canvas.width, height), _PAPER)
        page.paste(self._canvas.crop((0, 0, self._canvas.width, top)), (0, 0))
        page.paste(Image.fromarray(colour.legend(_FOOT, self._palette)), (_GAP, top))
        pen = ImageDraw.Draw(page)
        for i, line in enumerate(lines):
            pen.text((left, top + 16 * i), line, fill=_FAINT, font=font)
        return page


def _page_size(columns: int, rows: int, side: int, line: int) -> tuple[int, int]:
    """Width and height of the maps of a full page, px; `line` is the height of a caption."""
    return _GAP + columns * (side + _GAP), _GAP + rows * (side + line + _GAP)


def contact_sheet(
    maps: Iterable[tuple[str, Picture]],
    path: str | os.PathLike[str],
    *,
    columns: int = 6,
    rows: int = 8,
    side: int = 160,
    palette: str = colour.STANDARD,
) -> tuple[Path, ...]:
    """Write maps with their captions as pages. Only one page is in memory at a time.

    Args:
        maps: pairs of a caption (one line; a long one is shortened in its middle) and a PIL image or uint8 array
            `(H, W)` or `(H, W, 3)`, RGB, of any size; consumed one by one.
        path: the first page, `sheet.jpg`, `.jpeg` or `.png`; the others are `sheet-2.jpg`, `sheet-3.jpg`, ...
        columns, rows: maps across and down a page, 1 to 100 each.
        side: side of the square that a map is fitted into, px, 48 to 1024.
        palette: palette of the legend, as in the settings of the maps.

    Returns:
        the files written, in order.

    Raises:
        InputError: unusable bounds or name (all at once), no maps at all, an item that is no picture, or a file that
            cannot be written. Earlier pages stay.
        SettingsError: the palette is unknown.
    """
    out = Path(path)
    colour.colours(palette)
    faults = target_faults(out, _FORMATS)
    bounds = (("columns", columns, 1, 100), ("rows", rows, 1, 100), ("side", side, 48, 1024))
    faults += [f"{name}: expected {low} to {high}, found {n}" for name, n, low, high in bounds if not low <= n <= high]
    width, height = _page_size(columns, rows, side, 20)
    if not faults and width * height > _LARGEST_PAGE:
        faults.append(f"a page of {width}x{height} px is too large; use fewer columns or rows, or a smaller side")
    if faults:
        raise InputError(faults, where=str(out))
    written: list[Path] = []
    page = _Page(columns, rows, side, palette)

    def write() -> None:
        number = len(written) + 1
        file = out if number == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")
        kind = _FORMATS[out.suffix.lower()]
        # Full chroma resolution: hue carries the information.
        options: dict[str, object] = {"quality": 92, "subsampling": 0} if kind == "JPEG" else {}
        write_atomically(file, [page.finished(number)], "contact sheet", format=kind, **options)
        written.append(file)

    for caption, given in maps:
        if page.count == columns * rows:
            write()
            page = _Page(columns, rows, side, palette)
        page.add(caption, _as_picture(given, caption))
    if not page.count:
        raise InputError("expected at least one map, found none; nothing was written", where=str(out))
    write()
    return tuple(written)
