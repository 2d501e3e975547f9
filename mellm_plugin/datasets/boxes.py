"""Boxes that are cut out of frames, and the table that lists one per clip:

id,left,top,right,bottom,nose_x,nose_y
casme2/sub01/EP02_01f,190,60,462,332,327.5,204
sub02/EP01_11f,201,55,473,327,,
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mellm_plugin.datasets.sheets import as_text
from mellm_plugin.datasets.worksheets import read_tables
from mellm_plugin.errors import ImageError, InputError, near
from mellm_plugin.motion.images import SMALLEST_SIDE, Pixels

_SIDES = ("left", "top", "right", "bottom")
_NOSE = ("nose_x", "nose_y")
_COLUMNS = ("id", *_SIDES, *_NOSE)
_ONE_OF_NOSE = "expected nose_x and nose_y, or neither, found one of them"


@dataclass(frozen=True)
class Box:
    """A rectangle of a frame, px: `left`, `top` are the first column and row inside, `right`, `bottom` those beyond."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns, px."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows, px."""
        return self.bottom - self.top

    def __str__(self) -> str:
        return f"{self.left},{self.top} to {self.right},{self.bottom}"

    def contains(self, x: float, y: float) -> bool:
        """Whether a point, px, lies inside."""
        return self.left <= x < self.right and self.top <= y < self.bottom

    def faults(self, width: int | None = None, height: int | None = None) -> Iterator[str]:
        """Why this box cannot be cut, a sentence each; `width`, `height` of the frame, px, if known."""
        if self.left < 0 or self.top < 0:
            yield f"expected left and top of at least 0, found {self.left} and {self.top}"
        if min(self.width, self.height) < SMALLEST_SIDE:
            yield (
                f"expected a box of at least {SMALLEST_SIDE} px a side, with right and bottom beyond left and top, "
                f"found {self}: {self.width}x{self.height}"
            )
        if width is not None and height is not None and (self.right > width or self.bottom > height):
            yield f"the box {self} reaches beyond the frame, which is {width}x{height}"


@dataclass(frozen=True)
class Found:
    """Where the face of a clip is.

    Attributes:
        box: to cut from every frame of the clip; None for the whole frame.
        nose: tip of the nose, (x, y) in px of the uncropped onset; None if unknown.
    """

    box: Box | None = None
    nose: tuple[float, float] | None = None

    def nose_in_crop(self) -> tuple[float, float] | None:
        """The nose tip in px of the cropped onset, as in `Sample.nose`."""
        if self.nose is None or self.box is None:
            return self.nose
        return self.nose[0] - self.box.left, self.nose[1] - self.box.top


def cut(frame: Pixels, box: Box | None, name: str = "frame") -> Pixels:
    """The part of a frame, as `read_pixels` gives it, inside a box; all of it without one.

    Raises:
        ImageError: the box reaches beyond the frame.
    """
    if box is None:
        return frame
    height, width = frame.shape[:2]
    if faults := list(box.faults(width, height)):
        raise ImageError(faults, where=name)
    return frame[box.top : box.bottom, box.left : box.right]


def png(pixels: Pixels) -> bytes:
    """Pixels, `(H, W)` grey of 8 or 16 bits or `(H, W, 3)` RGB of 8 bits, as a PNG file.

    Compression beyond the first level makes frames 3 % smaller and takes four times as long.
    """
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def read_boxes(path: str | Path) -> dict[str, Found]:
    """Read boxes by clip id from a table, CSV or .xlsx, with the columns `id`, `left`, `top`, `right` and `bottom`.

    Columns in any order and case. Sides are px of the uncropped frame; right and bottom are the first column and row
    beyond the box. `nose_x` and `nose_y` are optional; other columns are ignored.

    Returns:
        boxes, with nose tips if given, by id as written: with or without the dataset in front.

    Raises:
        InputError: the file cannot be read, or holds faults; all of them, with their rows.
    """
    where = str(path)
    tables = read_tables(path, lambda cells: {*map(_name, cells)} & {*_COLUMNS}, _COLUMNS[:5]).worksheets
    table = next((table for table in tables if any(map(as_text, chain(*(cells for _, cells in table.rows))))), None)
    if table is None:
        raise InputError("expected a header and a row per clip, found an empty file", where=where)
    rows = [(number, cells) for number, cells in table.rows if any(map(as_text, cells))]
    header = list(map(_name, rows[0][1]))
    required = _COLUMNS[:5]
    missing = [name for name in required if name not in header]
    faults = [f"the column {name!r} occurs twice" for name in _COLUMNS if header.count(name) > 1]
    if missing:
        faults.append(f"expected the columns {', '.join(required)}, found no {', '.join(missing)}")
    for name in header:  # a misspelt nose column would silently drop all noses
        if name not in _COLUMNS and (hint := near(name, (*missing, *(n for n in _NOSE if n not in header)))):
            faults.append(f"there is no column {name!r}.{hint}")
    if ("nose_x" in header) != ("nose_y" in header):
        faults.append(_ONE_OF_NOSE)
    if faults:
        raise InputError([f"row {rows[0][0]}: {fault}" for fault in faults], where=where)
    found: dict[str, Found] = {}
    row_of: dict[str, int] = {}
    for number, cells in rows[1:]:
        if not table.closed:  # a workbook stores no empty cells at the end of a row
            cells = [*cells, *[None] * (len(header) - len(cells))]
        if len(cells) != len(header):
            faults.append(f"row {number}: expected {len(header)} cells, found {len(cells)}")
            continue
        row = {name: as_text(cell) or "" for name, cell in zip(header, cells, strict=True)}
        clip = row["id"].strip("/")
        if not clip:
            faults.append(f"row {number}: expected a clip id, found none")
        elif clip in row_of:
            faults.append(f"row {number}: {clip} has a box in row {row_of[clip]} already; keep one of them")
        row_of.setdefault(clip, number)
        try:
            found[clip] = _found(row)
        except InputError as error:
            faults += [f"row {number} ({clip}): {fault}" for fault in error.faults]
    for clip, number in row_of.items():
        subject, clip_name = clip.partition("/")[::2]
        if "/" in clip_name and clip_name in row_of:
            other = f"row {row_of[clip_name]}, without {subject}/"
            faults.append(f"row {number}: {clip} is also in {other}; keep one of them")
    if not row_of and not faults:
        faults.append("expected a row per clip, found only the header")
    if faults:
        raise InputError(faults, where=where)
    return found


def _name(cell: Any) -> str:
    return (as_text(cell) or "").lower()


def _found(row: Mapping[str, str]) -> Found:
    faults: list[str] = []

    def number(name: str) -> float:
        try:
            value = float(row[name].replace(",", "."))  # a decimal comma
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (name in _SIDES and value != int(value)):
            whole = "a whole number of px" if name in _SIDES else "a number of px"
            faults.append(f"{name}: expected {whole}, found {row[name]!r}")
            return math.nan
        return value

    sides = [number(name) for name in _SIDES]
    given = [bool(row.get(name)) for name in _NOSE]
    nose = (number("nose_x"), number("nose_y")) if all(given) else None
    if any(given) and not all(given):
        faults.append(_ONE_OF_NOSE)
    box = None if any(map(math.isnan, sides)) else Box(*map(int, sides))
    if box is not None:
        faults += box.faults()
        if nose is not None and not any(map(math.isnan, nose)) and not box.contains(*nose):
            shown = f"found {nose[0]:g},{nose[1]:g}"
            faults.append(f"expected the nose inside the box {box}, in px of the uncropped frame, {shown}")
    if faults:
        raise InputError(faults)
    return Found(box, nose)
