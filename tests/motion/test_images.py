"""Frames in every form a camera or a dataset may hand out, and what is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from mellm_plugin.errors import ImageError
from mellm_plugin.motion import colour, images
from mellm_plugin.motion.clip import read_clip
from mellm_plugin.motion.images import read_pair, read_pixels

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (48, 64), dtype=np.uint8)


def _saved(folder: Path, image: Image.Image, name: str) -> Path:
    image.save(folder / name)
    return folder / name


def test_grey_palette_alpha_colour_and_turned_give_the_same_grey(tmp_path: Path) -> None:
    plain = Image.fromarray(GREY)
    rgba = Image.merge("RGBA", [plain, plain, plain, Image.new("L", plain.size, 255)])
    forms = [plain, plain.convert("RGB"), plain.convert("P"), rgba, plain.convert("LA")]
    for i, form in enumerate(forms):
        path = _saved(tmp_path, form, f"{i}.png")
        first, second = read_pair(path, form)
        assert (first == GREY).all() and (second == GREY).all(), form.mode
    rgba.putalpha(0)
    assert not read_pair(rgba, GREY)[0].any(), "transparency is laid over black"
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(np.rot90(GREY).copy()).save(tmp_path / "turned.png", exif=exif)
    assert (read_pair(tmp_path / "turned.png", GREY)[0] == GREY).all()


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_frames_are_scaled_together(tmp_path: Path, bits: int) -> None:
    deep = (GREY.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    deep[0, 0] = 2**bits - 1
    half = (deep // 2).astype(np.uint16)
    first, second = read_pair(deep, _saved(tmp_path, Image.fromarray(half), "half.png"))
    assert np.abs(first[1:].astype(int) - GREY[1:]).max() <= 1
    assert np.abs(second.astype(int) - first.astype(int) / 2).max() <= 1


def test_what_is_refused_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)  # lmms-eval sets it
    cut = tmp_path / "cut.png"
    data = _saved(tmp_path, Image.fromarray(GREY), "whole.png").read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    gif = tmp_path / "two.gif"
    Image.fromarray(GREY).save(gif, save_all=True, append_images=[Image.fromarray(GREY[::-1])])
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ImageError, match=r"(?s)empty.*not an image"):
        read_pair(tmp_path / "empty.png", tmp_path / "notes.txt")
    cases = {tmp_path / "absent.png": "no such file", tmp_path: "folder", cut: "cannot be read", gif: "image of 2"}
    for source, words in cases.items():
        with pytest.raises(ImageError, match=words):
            read_pair(source, GREY)
    for array, words in (
        (GREY.astype(float), "uint8 or uint16"),
        (GREY[:20], "at least 32"),
        (np.zeros((40, 40, 2), np.uint8), "shape"),
    ):
        with pytest.raises(ImageError, match=words):
            read_pair(array, GREY)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="onset: the image cannot be read"):
        read_pair(Image.open(cut), GREY)  # opened and not yet read
    with pytest.raises(ImageError, match="64x48 and 64x47"):
        read_pair(GREY, GREY[:47])
    with pytest.raises(ImageError, match="one depth"):
        read_pair(GREY, GREY.astype(np.uint16))


def _blank_png(width: int, height: int, depth: int) -> bytes:
    """A PNG of black pixels, of which nothing but the header is whole: whoever decodes it fails otherwise."""
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("size", [(8193, 8192), (13000, 13000), (16385, 40), (60000, 60000)])
def test_what_is_too_large_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    file = tmp_path / "large.png"
    file.write_bytes(_blank_png(*size, 16 if size[0] == 13000 else 8))
    said = "at most 16384 px a side" if size[1] == 40 else "at most 67 megapixels, found (more|8193x|13000x)"
    readers = [lambda: read_pixels(file), lambda: read_pixels(file.read_bytes()), lambda: read_clip(file)]
    readers += [lambda: read_pixels(Image.open(file))] if size[0] < 60000 else []  # Pillow opens no larger one
    for read in readers:
        with pytest.raises(ImageError, match=said):
            read()
    monkeypatch.setattr(images, "MOST_PIXELS", 64 * 48)
    Image.new("L", (64, 48)).save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("L", (128, 96))])
    with pytest.raises(ImageError, match="frame 1: expected an image of at most .* found 128x96"):
        read_clip(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG"])
def test_a_written_map_keeps_its_colours_to_the_pixel(tmp_path: Path, suffix: str) -> None:
    flow = np.random.default_rng(0).normal(0, 1, (16, 16, 2)).astype(np.float32).repeat(2, axis=0).repeat(2, axis=1)
    painted = colour.paint(flow, np.full((32, 32), 0.7, np.float32), np.full((32, 32), 120, np.uint8))
    images.write_atomically(tmp_path / f"map{suffix}", [Image.fromarray(painted)], "map")
    with Image.open(tmp_path / f"map{suffix}") as written:
        read = np.asarray(written)
    right = (colour.read_bins(read) == colour.read_bins(painted)).mean()
    assert right == 1 if suffix == ".png" else right > 0.9
