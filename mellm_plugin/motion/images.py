"""Frames in and pictures out: paths, bytes, PIL images and arrays become grey arrays; pictures are written atomically.

Whatever is unusable as a frame raises an ImageError that says what was found and what to do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mellm_plugin.errors import ImageError, InputError
from mellm_plugin.motion.geometry import Grey

Frame = Union[str, "os.PathLike[str]", bytes, Image.Image, npt.NDArray[np.uint8], npt.NDArray[np.uint16]]
"""Accepted forms of a frame; bytes are the content of a file."""

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""`(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16."""

LARGEST_SIDE = 16384
"""Longest side of a frame, px: OpenCV cannot warp larger ones."""

MOST_PIXELS = 2**26
"""Most pixels of a frame (67 million, 8192x8192), checked in its header: a few kB of PNG can expand to more than the
memory. A frame of an 8K camera has 33 million."""

SMALLEST_SIDE = 32
"""Shortest side of a frame, px: no face is readable in smaller ones."""

# Pillow's names; other formats run programs (EPS) or contain an image of another size than they state (ICO).
_FORMATS = ["PNG", "JPEG", "MPO", "BMP", "DIB", "TIFF", "GIF", "WEBP", "AVIF", "JPEG2000", "PPM", "PCX", "SGI", "TGA"]


def open_image(file: Path | BytesIO, where: str) -> Image.Image | None:
    """An image of acceptable size whose pixels are not read yet; None for an unknown format.

    Raises:
        ImageError: it is too small or too large, or its header is damaged.
    """
    Image.init()
    try:
        image = Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError:
        raise ImageError(_too_large("more"), where=where) from None
    except Exception as error:
        raise _unreadable(error, where) from error
    check_size(*image.size, where)
    return image


def check_size(width: int, height: int, where: str) -> None:
    """Raise an ImageError for a frame that is too small or too large; call it before memory is allocated."""
    size = f"{width}x{height}"
    if min(width, height) < SMALLEST_SIDE:
        least = f"at least {SMALLEST_SIDE} px a side"
        raise ImageError(f"expected a frame of {least}, found {size}; crop a larger one", where=where)
    if width * height > MOST_PIXELS:
        raise ImageError(_too_large(size), where=where)
    if max(width, height) > LARGEST_SIDE:
        most = f"at most {LARGEST_SIDE} px a side"
        raise ImageError(f"expected a frame of {most}, found {size}; crop it to the face", where=where)


def _too_large(found: str) -> str:
    return f"expected an image of at most {MOST_PIXELS // 10**6} megapixels, found {found}; crop it to the face"


def _unreadable(error: Exception, where: str) -> ImageError:
    # Pillow's decoders raise exceptions of any type for damaged files.
    return ImageError(f"the image cannot be read: {str(error) or type(error).__name__}", where=where)


def check_file(source: str | os.PathLike[str]) -> Path:
    """The path, if it is a file with content; otherwise raise an ImageError."""
    path = Path(source)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ImageError("no such file or folder", where=str(path)) from None
    except (OSError, ValueError) as error:
        raise ImageError(f"the file cannot be read: {error}", where=str(path)) from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("expected an image, found a folder; name one frame in it", where=str(path))
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("expected a file, found a device or a pipe; save it to a file first", where=str(path))
    if status.st_size == 0:
        raise ImageError("the file is empty; copy it again from its source", where=str(path))
    return path


def _image_pixels(image: Image.Image, where: str) -> Pixels:
    """The pixels of a PIL image with a single frame; alpha over black, palettes and EXIF rotation resolved."""
    check_size(*image.size, where)
    try:
        image.load()  # damage behind the header appears only here
        count = int(getattr(image, "n_frames", 1))
    except Exception as error:
        raise _unreadable(error, where) from error
    if count > 1 and image.format != "MPO":  # MPO: a phone's JPEG with a second picture behind the first
        raise ImageError(f"expected one frame, found an image of {count}; save the frame alone", where=where)
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


def _array_pixels(pixels: Pixels, where: str) -> Pixels:
    shape = pixels.shape
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"expected an array of uint8 or uint16, found {pixels.dtype}", where=where)
    if pixels.ndim == 3 and shape[2] == 1:
        return pixels[..., 0]
    if pixels.ndim == 3 and shape[2] == 4:
        opaque = pixels[..., 3:].astype(np.float32) / np.iinfo(pixels.dtype).max
        over_black = np.rint(pixels[..., :3] * opaque)
        return over_black.astype(np.uint8) if pixels.dtype == np.uint8 else over_black.astype(np.uint16)
    if pixels.ndim not in (2, 3) or shape[2:] not in ((), (3,)):
        raise ImageError(f"expected shape (H, W), (H, W, 3) or (H, W, 4), found {shape}", where=where)
    return pixels


def read_pixels(source: Frame, name: str = "frame") -> Pixels:
    """The pixels of a frame at their original depth; alpha over black, palettes and EXIF rotation resolved.

    Args:
        source: a path, a file's bytes, a PIL image, or an RGB array `(H, W)`, `(H, W, 1)`, `(H, W, 3)`, `(H, W, 4)`,
            uint8 or uint16.
        name: replaces the path in errors about a source without one.

    Returns:
        `(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16.

    Raises:
        ImageError: the source is none of these, unreadable, too large, or has a side under 32 px.
    """
    where = str(source) if isinstance(source, str | os.PathLike) else name
    if isinstance(source, str | os.PathLike | bytes):
        image = open_image(BytesIO(source) if isinstance(source, bytes) else check_file(source), where)
        if image is None:
            raise ImageError("not an image in a known format; expected PNG, JPEG, BMP or TIFF", where=where)
        pixels = _image_pixels(image, where)
    elif isinstance(source, Image.Image):
        pixels = _image_pixels(source, where)
    elif isinstance(source, np.ndarray):
        pixels = _array_pixels(source, where)
    else:
        raise ImageError(f"expected a path, a PIL image or an array, found {type(source).__name__}", where=where)
    check_size(pixels.shape[1], pixels.shape[0], where)
    return pixels


def common_depth(peak: int) -> int:
    """The smallest usual bit depth (8, 10, 12, 14 or 16) that holds a grey value."""
    return next(depth for depth in (8, 10, 12, 14, 16) if peak < 2**depth)


def to_grey(pixels: Pixels, depth: int) -> Grey:
    """Pixels of `depth` bits, as `read_pixels` gives them, as uint8 `(H, W)`, grey."""
    values = pixels.astype(np.float32)
    if values.ndim == 3:
        values = values @ np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601 luma
    if depth > 8:
        values = values * (255 / (2**depth - 1))
    return np.rint(values).astype(np.uint8)


def read_pair(onset: Frame, apex: Frame) -> tuple[Grey, Grey]:
    """Onset and apex as grey frames of one size, uint8 `(H, W)` each.

    Frames of more than 8 bits are scaled together, by the smallest common depth (8, 10, 12, 14 or 16) that holds both.

    Raises:
        ImageError: all faults of both frames at once; or the two differ in size or depth.
    """
    faults: list[str] = []
    frames: list[Pixels] = []
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
        advice = "crop both with the same box from frames of one clip"
        raise ImageError(f"expected onset and apex of one size, found {sizes}; {advice}")
    if first.dtype != second.dtype:
        raise ImageError(f"expected onset and apex of one depth, found {first.dtype} and {second.dtype}")
    depth = common_depth(max(int(first.max()), int(second.max()))) if first.dtype == np.uint16 else 8
    return to_grey(first, depth), to_grey(second, depth)


def target_faults(path: Path, suffixes: Collection[str]) -> list[str]:
    """Reasons why no picture can be written to `path`: a suffix that is not among `suffixes`, or no such folder."""
    faults = []
    if path.suffix.lower() not in suffixes:
        faults.append(f"expected a name with one of {', '.join(suffixes)}, found {path.name!r}")
    if not path.parent.is_dir():
        faults.append(f"there is no folder {str(path.parent)!r}; create it first")
    return faults


_JPEG = {"quality": 92, "subsampling": 0}  # full resolution of chroma, because hue carries the information
_OPTIONS = {".png": {"compress_level": 1}, ".jpg": _JPEG, ".jpeg": _JPEG}
"""How pictures are encoded. Level 1 of PNG takes a third of the time of the usual 6; its files are a tenth larger."""


def write_atomically(path: Path, pages: list[Image.Image], what: str, **options: Any) -> None:
    """Save pages under a temporary name beside `path`, then rename; the options are those of Pillow.

    Raises:
        InputError: it cannot be written; no temporary file is left.
    """
    part = path.with_name(f".{path.stem[:80]}.{os.getpid()}.part{path.suffix}")
    try:
        pages[0].save(part, append_images=pages[1:], **{**_OPTIONS.get(path.suffix.lower(), {}), **options})
        part.replace(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write the {what}: {error}", where=str(path)) from error
    finally:
        with suppress(OSError):  # in a folder without write permission there is no such file
            part.unlink(missing_ok=True)
