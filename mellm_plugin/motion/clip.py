"""The frames of a clip as one grey array: from a video file, an animated picture, or a folder of pictures."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from mellm_plugin.errors import ImageError
from mellm_plugin.motion.images import SMALLEST_SIDE, check_size, open_image, read_pixels, to_grey

LARGEST = 512 * 2**20
"""Bytes of grey pixels that a clip may have: 1700 frames of 640x480, 10 000 of 224x224. Reading takes twice that."""

VIDEO_SUFFIXES: tuple[str, ...] = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
"""Usual names of video files; what a file holds decides, not its name."""

_NAMED = 10  # faults that are listed one by one
_DEPTHS = (8, 10, 12, 14, 16)

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Clip:
    """The frames of a clip.

    Attributes:
        frames: uint8 `(T, H, W)`, grey, in order of time, T at least 1.
        fps: frames per second; None where the source does not tell. A recording that was slowed down for playing tells
            the speed at which it plays.
        names: of each frame: the file's name in a folder, else its number from 0.
        source: the path it was read from.
        ignored: entries of the folder that are no pictures, hidden ones included; 0 for a file.
    """

    frames: npt.NDArray[np.uint8]
    fps: float | None
    names: tuple[str, ...]
    source: str
    ignored: int = 0

    def __len__(self) -> int:
        return len(self.frames)


AVERAGED_FROM_FPS = 100
"""Frames a second from which the neighbours of a frame show the same moment of a micro-expression."""


def averaged(frames: npt.NDArray[np.uint8], index: int, reach: int, cuts: Iterable[int] = ()) -> npt.NDArray[np.uint8]:
    """A frame with less noise: the mean of it and its neighbours, as far as its scene goes.

    Args:
        frames: uint8 `(T, H, W)`.
        index: of the frame.
        reach: neighbours on each side.
        cuts: first frames of new scenes.

    Returns:
        uint8 `(H, W)`.
    """
    first, end = scene(len(frames), index, cuts)
    stretch = frames[max(first, index - reach) : min(end, index + reach + 1)]
    return np.asarray(np.rint(stretch.mean(axis=0, dtype=np.float32)), np.uint8)


def scene(length: int, index: int, cuts: Iterable[int]) -> tuple[int, int]:
    """First frame of the scene that a frame is in, and the first frame after it.

    Args:
        length: frames of the clip.
        index: of the frame.
        cuts: first frames of new scenes.
    """
    cuts = list(cuts)
    return max((cut for cut in cuts if cut <= index), default=0), min((c for c in cuts if c > index), default=length)


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that counts: `img2` before `img10`, whatever the zeros in front."""
    parts = re.split(r"(\d+)", name.casefold())
    # Odd parts are the numbers; text and numbers never meet at one place, but a mark keeps them apart all the same.
    return [(1, int(p), "") if i % 2 else (0, 0, p) for i, p in enumerate(parts)], name


def _too_large(count: int | str, width: int, height: int, where: str) -> ImageError:
    most = LARGEST // (width * height)
    if most < 1:
        return ImageError(
            f"frames of {width}x{height} are more than {LARGEST >> 20} MiB; cut them to the face first", where
        )
    return ImageError(
        f"expected at most {most} frames of {width}x{height} ({LARGEST >> 20} MiB of grey pixels), found {count}; cut "
        "the clip to the seconds round the expression (ffmpeg -ss START -t SECONDS -i CLIP OUT), or to the face",
        where,
    )


def _together(frames: list[Pixels | None]) -> npt.NDArray[np.uint8]:
    """Grey frames of one size as one uint8 array; the list is emptied on the way."""
    peak = max(int(f.max()) if f is not None and f.dtype == np.uint16 else 0 for f in frames)
    depth = next(d for d in _DEPTHS if peak < 2**d)
    first = frames[0]
    assert first is not None
    out = np.empty((len(frames), *first.shape), np.uint8)
    for i, frame in enumerate(frames):
        assert frame is not None
        out[i] = to_grey(frame, depth) if frame.dtype == np.uint16 else frame
        frames[i] = None
    return out


def _to_grey(pixels: Pixels) -> Pixels:
    """Grey at the depth it came in: 8-bit frames as `read_pair` has them, deeper ones await their common scale."""
    if pixels.dtype == np.uint8:
        return to_grey(pixels, 8)
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint16)


def _gathered(
    count: int, read: Callable[[int], Pixels], names: Iterable[str], where: str, advice: str
) -> npt.NDArray[np.uint8]:
    """All frames of a source whose number is known; every fault of every frame at once."""
    faults: list[str] = []
    frames: list[Pixels | None] = []
    sizes: list[tuple[str, tuple[int, ...], np.dtype[np.generic]]] = []
    held = 0
    for index, name in zip(range(count), names, strict=True):
        try:
            frame = _to_grey(read(index))
        except ImageError as error:
            faults += error.faults if error.where in ("", name) else [str(error)]
            continue
        held += frame.size
        if held > LARGEST:
            raise _too_large(count, frame.shape[1], frame.shape[0], where)
        frames.append(frame)
        sizes.append((name, frame.shape, frame.dtype))
    if sizes:
        usual, _ = Counter((shape, dtype) for _, shape, dtype in sizes).most_common(1)[0]
        for name, shape, dtype in sizes:
            if (shape, dtype) != usual:
                expected = f"{usual[0][1]}x{usual[0][0]} {usual[1]}"
                faults.append(f"{name}: expected {expected} as most frames are, found {shape[1]}x{shape[0]} {dtype}")
    if faults:
        more = len(faults) - _NAMED
        listed = [*faults[:_NAMED], *([f"and {more} more like these"] if more > 0 else [])]
        raise ImageError([*listed, advice], where)
    return _together(frames)


def _from_folder(folder: Path, fps: float | None) -> Clip:
    Image.init()
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN} - {".mpg", ".mpeg"}
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: natural(entry.name))
    except OSError as error:
        raise ImageError(f"the folder cannot be read: {error}", str(folder)) from error
    pictures = [
        e for e in entries if e.suffix.lower() in known and not e.name.startswith(".") and not e.is_dir()
    ]  # fmt: skip
    if not pictures:
        videos = [e.name for e in entries if e.suffix.lower() in VIDEO_SUFFIXES]
        folders = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
        hint = "give the folder that holds the frames of one clip"
        if videos:
            hint = f"there is a video {videos[0]!r} in it: give that"
        elif folders:
            hint = f"there is a folder {folders[0]!r} in it: give the one that holds the frames"
        raise ImageError(f"expected pictures, found none among {len(entries)} entries; {hint}", str(folder))
    stems = Counter(p.stem for p in pictures)
    twice = [p.name for p in pictures if stems[p.stem] > 1]
    if twice:
        raise ImageError(
            f"expected one file for each frame, found {', '.join(twice[:4])}{'...' if len(twice) > 4 else ''}; keep "
            "the files of one kind",
            str(folder),
        )
    names = tuple(p.name for p in pictures)

    def read(index: int) -> Pixels:
        try:
            return read_pixels(pictures[index])
        except ImageError as error:
            raise ImageError([f"{names[index]}: {fault}" for fault in error.faults]) from None

    advice = "what to do: copy damaged frames again, and cut all with one box; or take these files out of the folder"
    frames = _gathered(len(pictures), read, names, str(folder), advice)
    return Clip(frames, fps, names, str(folder), len(entries) - len(pictures))


def _from_picture(picture: Image.Image, path: Path, fps: float | None) -> Clip:
    where = str(path)
    try:
        count = int(getattr(picture, "n_frames", 1))
    except Exception as error:
        raise ImageError(f"the file cannot be read: {error or type(error).__name__}", where) from error
    if count < 2:
        raise ImageError(
            "expected a clip, found a single picture; give the folder of its frames, or a video", where
        )  # fmt: skip
    width, height = picture.size
    if count * width * height > LARGEST:
        raise _too_large(count, width, height, where)
    durations: list[float] = []

    def read(index: int) -> Pixels:
        try:
            picture.seek(index)
            check_size(*picture.size, f"frame {index}")  # pages of a TIFF each have their own
            picture.load()
            single = picture.copy()
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(f"frame {index}: cannot be read: {error or type(error).__name__}") from error
        durations.append(float(picture.info.get("duration") or 0))
        try:
            return read_pixels(single)
        except ImageError as error:
            raise ImageError([f"frame {index}: {fault}" for fault in error.faults]) from None

    names = tuple(map(str, range(count)))
    advice = "what to do: save the clip again from its source, or as a folder of PNG files"
    frames = _gathered(count, read, names, where, advice)
    # Ten-millisecond steps alternate about the true time; a frame shown far longer than others stands for several.
    steady = min(durations) > 0 and max(durations) <= 2 * min(durations)
    told = 1000 * count / sum(durations) if steady else None
    return Clip(frames, told if fps is None else fps, names, where)


def _from_video(path: Path, fps: float | None) -> Clip:
    where = str(path)
    advice = "convert it with: ffmpeg -i CLIP -c:v libx264 -crf 10 OUT.mp4"
    # An absolute path, so that no part of the name is taken for a protocol.
    capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise ImageError(
                "cannot be opened: no video, an unfinished one, or in a coding this installation cannot decode; copy "
                f"it again from its source, or {advice}",
                where,
            )
        width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        declared = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        rate = capture.get(cv2.CAP_PROP_FPS)
        if min(width, height) < SMALLEST_SIDE:
            raise ImageError(
                f"expected frames of at least {SMALLEST_SIDE} px a side, found {width}x{height}", where
            )  # fmt: skip
        check_size(width, height, where)
        if declared * width * height > LARGEST:
            raise _too_large(round(declared), width, height, where)
        frames: list[Pixels | None] = []
        held = 0
        while True:
            got, picture = capture.read()
            if not got:
                break
            grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            held += grey.nbytes
            if held > LARGEST:
                raise _too_large(f"more than {len(frames)}", grey.shape[1], grey.shape[0], where)
            first = frames[0] if frames else None
            if first is not None and first.shape != grey.shape:
                raise ImageError(
                    f"expected frames of one size, found {first.shape[1]}x{first.shape[0]} and, at frame {len(frames)},"
                    f" {grey.shape[1]}x{grey.shape[0]}; cut the clip there",
                    where,
                )
            frames.append(np.asarray(grey, np.uint8))
    finally:
        capture.release()
    if not frames:
        raise ImageError(f"no frame of it can be decoded; copy it again from its source, or {advice}", where)
    # Some containers only estimate their number of frames, so a few may be missing from it.
    if declared > 0 and len(frames) < declared - max(2, 0.05 * declared):
        raise ImageError(
            f"expected {declared:.0f} frames by its header, only {len(frames)} can be decoded: the file is cut off or "
            "damaged; copy it again from its source, or cut the good part out with ffmpeg",
            where,
        )
    told = float(rate) if 0 < rate <= 10_000 else None
    return Clip(_together(frames), told if fps is None else fps, tuple(map(str, range(len(frames)))), where)


def read_clip(path: str | os.PathLike[str], fps: float | None = None) -> Clip:
    """Read all frames of a clip, grey.

    Args:
        path: a video file (whatever OpenCV's FFmpeg decodes: mp4, avi, mov, mkv, webm), an animated GIF, WebP, PNG or
            TIFF, or a folder of pictures of one clip. The pictures are taken in natural order of their names; hidden
            files and files that are no pictures are passed over and counted. Pictures of more than 8 bits are scaled
            together, by the smallest common depth that holds all.
        fps: frames per second, where the source does not tell or tells the speed of playing; None to take its word.

    Returns:
        the clip; at most `LARGEST` bytes of frames.

    Raises:
        ImageError: no such clip, too large, cut off, or frames that cannot be read or differ in size; all faults of a
            folder at once.
    """
    source = Path(path)
    if fps is not None and not 0 < fps <= 100_000:
        raise ImageError(f"expected frames per second above 0, found {fps!r}", str(source))
    try:
        if source.is_dir():
            return _from_folder(source, fps)
        if not source.exists():
            raise ImageError("no such file or folder", str(source))
        if not source.is_file():
            raise ImageError("expected a file or a folder, found a device or a pipe; save the clip first", str(source))
        if source.stat().st_size == 0:
            raise ImageError("the file is empty; copy it again from its source", str(source))
    except (OSError, ValueError) as error:
        raise ImageError(f"the clip cannot be read: {error}", str(source)) from error
    picture = open_image(source, str(source))
    if picture is None:
        return _from_video(source, fps)
    with picture:
        return _from_picture(picture, source, fps)
