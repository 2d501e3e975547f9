"""Boxes: their CSV, and cutting them out of frames."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from PIL import Image

from mellm_plugin.datasets.boxes import Box, Found, cut, png, read_boxes
from mellm_plugin.errors import ImageError, InputError
from mellm_plugin.motion.images import read_pixels

Array = np.ndarray[Any, Any]


HEADER = "id,left,top,right,bottom,nose_x,nose_y"


@pytest.mark.parametrize(
    ("box", "fits"), [(Box(0, 0, 640, 480), True), (Box(0, 0, 641, 480), False), (Box(0, 0, 640, 481), False),
                      (Box(608, 0, 640, 32), True), (Box(0, 0, 31, 99), False), (Box(-1, 0, 99, 99), False)]
)  # fmt: skip
def test_a_box_may_touch_the_edges_and_no_more(box: Box, fits: bool) -> None:
    assert (list(box.faults(640, 480)) == []) is fits


def csv_file(folder: Path, text: str | bytes, name: str = "boxes.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_in_any_order_and_case_and_others_beside_them(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "Bottom; RIGHT ;note;Top;Left;ID;Nose_X;nose_y\n99;88;dark;11;22;a/b/c;40,5;50\n")
    assert read_boxes(path) == {"a/b/c": Found(Box(22, 11, 88, 99), (40.5, 50.0))}


def test_every_fault_of_every_row_at_once(tmp_path: Path) -> None:
    rows = [
        HEADER,
        "casme2/a/1,0,0,100,100,,",
        "casme2/a/2,x,0,1e2,100.5,,",
        "casme2/a/3,100,0,90,100,,",
        "casme2/a/1,5,5,105,105,,",
        ",0,0,100,100,,",
        "casme2/a/4,0,0,100",
        "casme2/a/5,-4,0,100,100,50,",
        "casme2/a/6,200,200,300,300,50,50",
        "casme2/a/7,0,,nan,inf,,",
        "a/1,0,0,100,100,,",
        '"casme2/a\n/8",0,0,20,100,,',
        "casme2/a/9,0,0,100,100,left,1",
    ]
    path = csv_file(tmp_path, "\n".join(rows))
    with pytest.raises(InputError) as error:
        read_boxes(path)
    assert error.value.where == str(path)
    expected = [
        "row 3 (casme2/a/2): left: expected a whole number of px, found 'x'",
        "row 3 (casme2/a/2): bottom: expected a whole number of px, found '100.5'",
        "row 4 (casme2/a/3): expected a box of at least 32 px",
        "row 5: casme2/a/1 has a box in row 2 already",
        "row 6: expected a clip id, found none",
        "row 7: expected 7 cells, found 4",
        "row 8 (casme2/a/5): expected nose_x and nose_y, or neither",
        "row 8 (casme2/a/5): expected left and top of at least 0",
        "row 9 (casme2/a/6): expected the nose inside the box 200,200 to 300,300, in px of the uncropped frame",
        "row 10 (casme2/a/7): top: expected a whole number of px, found ''",
        "row 10 (casme2/a/7): right: expected a whole number of px, found 'nan'",
        "row 10 (casme2/a/7): bottom: expected a whole number of px, found 'inf'",
        "/8): expected a box of at least 32 px",  # an id of two lines
        "row 13 (casme2/a/9): nose_x: expected a number of px, found 'left'",
        "row 2: casme2/a/1 is also in row 11, without casme2/",
    ]
    assert len(error.value.faults) == len(expected)
    for fault, part in zip(error.value.faults, expected, strict=True):
        assert part in fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "the file is empty"),
        (b",,\n,,\n", "found an empty file"),
        (b"id,left,top,right,bottom\n", "found only the header"),
        (b"clip,x,y,w,h\na,1,2,3,4\n", "found no id, left, top, right, bottom"),
        (b"id,left,top,right,botom\na,1,2,3,4\n", "no column 'botom'. Did you mean 'bottom'"),
        (b"id,left,top,right,bottom,nosex,nose_y\n", "no column 'nosex'. Did you mean 'nose_x'"),
        (b"id,left,top,right,bottom,left\n", "the column 'left' occurs twice"),
        (b"id,left,top,right,bottom,nose_x\n", "expected nose_x and nose_y, or neither"),
    ],
)
def test_files_that_are_no_such_csv(tmp_path: Path, text: bytes, fault: str) -> None:
    path = csv_file(tmp_path, text)
    with pytest.raises(InputError) as error:
        read_boxes(path)
    assert fault in str(error.value) and str(path) in str(error.value)


def test_a_workbook_does_as_well(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (HEADER.split(","), ["a/1", 5, 6, 75, 86, 30.5, 40], ["a/2", 0, 0, 100, 90]):
        book.active.append(row)
    book.save(tmp_path / "boxes.xlsx")
    expected = {"a/1": Found(Box(5, 6, 75, 86), (30.5, 40)), "a/2": Found(Box(0, 0, 100, 90))}
    assert read_boxes(tmp_path / "boxes.xlsx") == expected


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(*shape: int, dtype: type = np.uint8) -> Array:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


TURNED = Image.Exif()
TURNED[0x0112] = 6  # rotated by a quarter turn, clockwise


FRAMES = {
    "grey": file_of(Image.fromarray(noise(80, 120))),
    "grey JPEG": file_of(Image.fromarray(noise(80, 120)), "JPEG"),
    "16 bits": file_of(Image.fromarray(noise(80, 120, dtype=np.uint16))),
    "colour": file_of(Image.fromarray(noise(80, 120, 3)), "BMP"),
    "colour JPEG": file_of(Image.fromarray(noise(80, 120, 3)), "JPEG"),
    "turned": file_of(Image.fromarray(noise(120, 80, 3)), "JPEG", exif=TURNED),
    "alpha": file_of(Image.fromarray(noise(80, 120, 4))),
    "palette": file_of(Image.fromarray(noise(80, 120, 3)).quantize(16)),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_cut_keeps_pixels_and_depth(name: str) -> None:
    box = Box(30, 5, 119, 80)
    whole = read_pixels(FRAMES[name])
    part = png(cut(whole, box))
    assert whole.shape[:2] == (80, 120)
    found = read_pixels(part)
    assert found.dtype == whole.dtype
    np.testing.assert_array_equal(found, whole[5:80, 30:119])
    with Image.open(io.BytesIO(part)) as image:
        assert image.format == "PNG"
        assert image.mode == {"grey": "L", "grey JPEG": "L", "16 bits": "I;16"}.get(name, "RGB")


def test_a_box_beyond_the_frame_is_an_error() -> None:
    with pytest.raises(ImageError, match="apex: the box 90,40 to 130,80 reaches beyond the frame, which is 120x80"):
        cut(read_pixels(FRAMES["grey"]), Box(90, 40, 130, 80), "apex")
