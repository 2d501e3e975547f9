"""Many motion maps at a glance: pages of small pictures with captions and the legend, written one by one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mellm_plugin.errors import InputError
from mellm_plugin.motion import colour
from mellm_plugin.motion.images import target_faults, write_atomically

_SUFFIXES = (".jpg", ".jpeg", ".png")
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


def _small(given: object, caption: str, side: int) -> Image.Image:
    """The picture, its longer side of `side` px."""
    if isinstance(given, np.ndarray) and given.dtype == np.uint8 and given.size and given.shape[2:] in ((), (3,)):
        given = Image.fromarray(given)
    if not isinstance(given, Image.Image):
        found = f"{given.dtype} {given.shape}" if isinstance(given, np.ndarray) else type(given).__name__
        raise InputError(f"expected a PIL image or a uint8 array (H, W) or (H, W, 3), found {found}", where=caption)
    scale = side / max(given.size)
    size = max(1, round(given.width * scale)), max(1, round(given.height * scale))
    return given.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _lines(text: str, width: float, font: Font) -> list[str]:
    """The text in lines of at most `width` px."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


def _width(columns: int, side: int) -> int:
    """Width of a page, px; room for the words of the legend even below one small map."""
    return max(240, _GAP + columns * (side + _GAP))


def _page(cells: list[tuple[str, Image.Image]], number: int, columns: int, side: int, palette: str) -> Image.Image:
    """Maps with their captions, row by row from the top left, and the legend below."""
    font, foot_font = ImageFont.load_default(max(9, min(16, side // 12))), ImageFont.load_default(12)
    above, below = font.getbbox("Ágjy|")[1::2]
    step = side + int(below - min(0, above)) + 2 + _GAP  # from row to row
    width, foot, left = _width(columns, side), _GAP + -(-len(cells) // columns) * step, 2 * _GAP + _FOOT
    texts = f"page {number}", colour.legend_text(palette), " ".join(colour.SIDES)
    lines = [line for text in texts for line in _lines(text, width - left - _GAP, foot_font)]
    page = Image.new("RGB", (width, foot + max(_FOOT, 16 * len(lines)) + _GAP), _PAPER)
    pen = ImageDraw.Draw(page)
    for place, (caption, small) in enumerate(cells):
        x, y = _GAP + place % columns * (side + _GAP), _GAP + place // columns * step
        page.paste(small, (x + (side - small.width) // 2, y + (side - small.height) // 2))
        pen.text((x, y + side + 1), _shortened(caption, side, font), fill=_INK, font=font)
    page.paste(Image.fromarray(colour.wheel(_FOOT, palette)), (_GAP, foot))
    for i, line in enumerate(lines):
        pen.text((left, foot + 16 * i), line, fill=_FAINT, font=foot_font)
    return page


def contact_sheet(
    maps: Iterable[tuple[str, Picture]],
    path: str | os.PathLike[str],
    *,
    columns: int = 6,
    rows: int = 8,
    side: int = 160,
    palette: str = colour.STANDARD,
) -> tuple[Path, ...]:
    """Write maps with their captions as pages. Only the small pictures of one page are in memory at a time.

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
    faults = target_faults(out, _SUFFIXES)
    bounds = (("columns", columns, 1, 100), ("rows", rows, 1, 100), ("side", side, 48, 1024))
    faults += [f"{name}: expected {low} to {high}, found {n}" for name, n, low, high in bounds if not low <= n <= high]
    height = _GAP + rows * (side + 20 + _GAP)
    if not faults and (width := _width(columns, side)) * height > _LARGEST_PAGE:
        faults.append(f"a page of {width}x{height} px is too large; use fewer columns or rows, or a smaller side")
    if faults:
        raise InputError(faults, where=str(out))
    written: list[Path] = []
    maps = iter(maps)
    while cells := [(caption, _small(given, caption, side)) for caption, given in islice(maps, columns * rows)]:
        number = len(written) + 1
        file = out if number == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")
        page = _page(cells, number, columns, side, palette)
        write_atomically(file, [page], "contact sheet")
        written.append(file)
    if not written:
        raise InputError("expected at least one map, found none; nothing was written", where=str(out))
    return tuple(written)
