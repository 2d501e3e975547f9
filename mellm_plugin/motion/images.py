"""Frames, given as paths, PIL images or arrays, as grey arrays; what cannot be a frame is refused with advice.

And the way out: pictures to files, whole or not at all.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mellm_plugin.errors import ImageError, InputError

Frame = Union[str, "os.PathLike[str]", bytes, Image.Image, npt.NDArray[np.uint8], npt.NDArray[np.uint16]]
"""What a frame may be given as; bytes are those of a file."""

LARGEST_SIDE = 16384
"""Frames with a longer side are refused: OpenCV cannot warp them."""

MOST_PIXELS = 2**26
"""Frames of more pixels (67 million, 8192x8192) are refused by their header: a few kB of PNG can hold as much as fills
the memory. A frame of an 8K camera has 33 million."""

FORMATS: tuple[str, ...] = (
    *("PNG", "JPEG", "MPO", "BMP", "DIB", "TIFF", "GIF", "WEBP", "AVIF"),
    *("JPEG2000", "PPM", "PCX", "SGI", "TGA"),
)
"""Pillow's names of what is read. Others run programs (EPS), or hold an image of another size than they say (ICO)."""

SMALLEST_SIDE = 32
"""Frames with a shorter side are refused: no face can be read in them."""


def _open(source: str | os.PathLike[str]) -> Image.Image:
    path = Path(source)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ImageError("no such file", where=str(path)) from None
    except (OSError, ValueError) as error:
        raise ImageError(f"the file cannot be read: {error}", where=str(path)) from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("expected an image, found a folder; name one frame of it", where=str(path))
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("expected a file, found a device or a pipe; save the frame in a file", where=str(path))
    if status.st_size == 0:
        raise ImageError("the file is empty; copy it again from its source", where=str(path))
    return _decode(path, str(path))


@cache
def _formats() -> list[str]:
    """Those of `FORMATS` that this Pillow reads."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def open_image(file: Path | BytesIO, where: str) -> Image.Image | None:
    """An image of a size that can be read, none of its pixels read yet; None where the file is none of `FORMATS`.

    Raises:
        ImageError: it is too large, or its header is damaged.
    """
    try:
        image = Image.open(file, formats=_formats())
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError:
        raise ImageError(_too_large("more"), where=where) from None
    except Exception as error:
        raise _unreadable(error, where) from error
    check_size(*image.size, where)
    return image


def check_size(width: int, height: int, where: str) -> None:
    """Refuse a frame by what its header says of it, before room is made for its pixels.

    Raises:
        ImageError: it has too many.
    """
    if width * height > MOST_PIXELS:
        raise ImageError(_too_large(f"{width}x{height}"), where=where)
    if max(width, height) > LARGEST_SIDE:
        raise ImageError(
            f"expected a frame of at most {LARGEST_SIDE} px a side, found {width}x{height}; cut it to the face",
            where=where,
        )


def _too_large(found: str) -> str:
    return f"expected an image of at most {MOST_PIXELS // 10**6} megapixels, found {found}; cut it to the face"


def _decode(file: Path | BytesIO, where: str) -> Image.Image:
    image = open_image(file, where)
    if image is None:
        raise ImageError("not an image in a known format; expected PNG, JPEG, BMP or TIFF", where=where)
    return _single(image, where)


def _single(image: Image.Image, where: str) -> Image.Image:
    """The image with its pixels read, if it is only one."""
    check_size(*image.size, where)
    try:
        image.load()  # what is wrong with the file behind it shows only here
        count = int(getattr(image, "n_frames", 1))
    except Exception as error:
        raise _unreadable(error, where) from error
    if count > 1 and image.format != "MPO":  # a phone's JPEG with a second picture behind the first
        raise ImageError(f"expected one frame, found an image of {count}; save the frame alone", where=where)
    return image


def _unreadable(error: Exception, where: str) -> ImageError:
    # Of any kind: Pillow's readers raise whatever a damaged file leads them to.
    return ImageError(f"the image cannot be read: {str(error) or type(error).__name__}", where=where)


def _pil_to_array(image: Image.Image, where: str) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError("expected 8 or 16 bits a pixel, found 32; convert it first", where=where)
        return values.astype(np.uint16)
    if image.mode == "F":
        raise ImageError("expected 8 or 16 bits a pixel, found floating point; convert it first", where=where)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image.convert("RGBA"))
    return np.asarray(image if image.mode == "L" else image.convert("RGB"))


def read_pixels(source: Frame, name: str = "frame") -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """The pixels of a frame, at the depth it came in; alpha is laid over black, palettes and EXIF turns are resolved.

    Args:
        source: a path, a file's bytes, a PIL image, or an RGB array `(H, W)`, `(H, W, 1)`, `(H, W, 3)`, `(H, W, 4)`,
            uint8 or uint16.
        name: what to call it in errors when it has no path.

    Returns:
        `(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16.

    Raises:
        ImageError: it is no such thing, or its shorter side is under 32 px.
    """
    where = str(source) if isinstance(source, str | os.PathLike) else name
    if isinstance(source, str | os.PathLike):
        pixels = _pil_to_array(_open(source), where)
    elif isinstance(source, bytes):
        pixels = _pil_to_array(_decode(BytesIO(source), where), where)
    elif isinstance(source, Image.Image):
        pixels = _pil_to_array(_single(source, where), where)
    elif isinstance(source, np.ndarray):
        pixels = source
        if pixels.dtype not in (np.uint8, np.uint16):
            raise ImageError(f"expected an array of uint8 or uint16, found {pixels.dtype}", where=where)
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        if pixels.ndim == 3 and pixels.shape[2] == 4:
            opaque = pixels[..., 3:].astype(np.float32) / np.iinfo(pixels.dtype).max
            over_black = np.rint(pixels[..., :3] * opaque)
            pixels = over_black.astype(np.uint8) if pixels.dtype == np.uint8 else over_black.astype(np.uint16)
        if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
            raise ImageError(f"expected shape (H, W), (H, W, 3) or (H, W, 4), found {source.shape}", where=where)
    else:
        raise ImageError(f"expected a path, a PIL image or an array, found {type(source).__name__}", where=where)
    if min(pixels.shape[:2]) < SMALLEST_SIDE:
        size = f"{pixels.shape[1]}x{pixels.shape[0]}"
        raise ImageError(
            f"expected a frame of at least {SMALLEST_SIDE} px a side, found {size}; cut it from a larger one",
            where=where,
        )
    check_size(pixels.shape[1], pixels.shape[0], where)
    return pixels


def to_grey(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], depth: int) -> npt.NDArray[np.uint8]:
    """Pixels of `depth` bits, as `read_pixels` gives them, as uint8 `(H, W)`, grey."""
    values = pixels.astype(np.float32)
    if values.ndim == 3:
        values = values @ np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601 luma
    if depth > 8:
        values = values * (255 / (2**depth - 1))
    return np.rint(values).astype(np.uint8)


def read_pair(onset: Frame, apex: Frame) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Onset and apex as grey frames of one size.

    Frames of more than 8 bits are scaled together, by the smallest common depth (8, 10, 12, 14 or 16) that holds both.

    Returns:
        two uint8 `(H, W)` arrays.

    Raises:
        ImageError: faults of either frame, together, or two sizes.
    """
    faults: list[str] = []
    frames: list[npt.NDArray[np.uint8] | npt.NDArray[np.uint16]] = []
    for source, name in ((onset, "onset"), (apex, "apex")):
        try:
            frames.append(read_pixels(source, name))
        except ImageError as error:
            faults.append(str(error))
    if faults:
        raise ImageError(faults)
    first, second = frames
    if first.shape[:2] != second.shape[:2]:
        sizes = " and ".join(f"{f.shape[1]}x{f.shape[0]}" for f in frames)
        raise ImageError(
            f"expected onset and apex of one size, found {sizes}; cut both with the same box from frames of one clip"
        )
    if first.dtype != second.dtype:
        raise ImageError(f"expected onset and apex of one depth, found {first.dtype} and {second.dtype}")
    depth = 8
    if first.dtype == np.uint16:
        peak = max(int(first.max()), int(second.max()))
        depth = next(d for d in (8, 10, 12, 14, 16) if peak < 2**d)
    return to_grey(first, depth), to_grey(second, depth)


def write_atomically(path: Path, pages: list[Image.Image], what: str, **options: Any) -> None:
    """Save pages under a temporary name beside `path`, then rename.

    Raises:
        InputError: it cannot be written; nothing is left behind.
    """
    part = path.with_name(f".{path.stem[:80]}.{os.getpid()}.part{path.suffix}")
    try:
        pages[0].save(part, append_images=pages[1:], **options)
        part.replace(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write the {what}: {error}", where=str(path)) from error
    finally:
        with suppress(OSError):  # a folder that cannot be written to has no part of it
            part.unlink(missing_ok=True)
