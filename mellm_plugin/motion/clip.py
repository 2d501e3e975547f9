"""The frames of a clip as one grey array: from a video file, an animated picture, or a folder of pictures."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from mellm_plugin.errors import ImageError
from mellm_plugin.motion.images import Pixels, check_file, check_size, common_depth, open_image, read_pixels, to_grey

LARGEST = 512 * 2**20
"""Most bytes of grey pixels in a clip: 1700 frames of 640x480, 10 000 of 224x224. Reading takes twice that."""

VIDEO_SUFFIXES: tuple[str, ...] = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
"""Usual suffixes of video files, for hints; `read_clip` goes by the content."""

_LISTED = 10  # faults in one message

_Read = tuple[npt.NDArray[np.uint8], float | None, Sequence[str]]  # frames, frames per second, names


@dataclass(frozen=True)
class Clip:
    """The frames of a clip.

    Attributes:
        frames: uint8 `(T, H, W)`, grey, in order of time, T at least 1.
        fps: frames per second; None if unknown. A slowed-down recording gives the speed of playback.
        names: for each frame its file name in the folder, or its number from 0.
        source: the path of the clip.
    """

    frames: npt.NDArray[np.uint8]
    fps: float | None
    names: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.frames)


def read_clip(path: str | os.PathLike[str], fps: float | None = None) -> Clip:
    """Read all frames of a clip, grey.

    Args:
        path: a video file (any that OpenCV's FFmpeg decodes: mp4, avi, mov, mkv, webm), an animated GIF, WebP, PNG or
            TIFF, or a folder of pictures of one clip. Pictures are read in natural order of their names; hidden files
            and other files are ignored. Pictures of more than 8 bits are scaled together, by the smallest common depth
            that holds all.
        fps: frames per second, if the source does not give it or gives the speed of playback; None: as in the source.

    Returns:
        the clip; at most `LARGEST` bytes of frames.

    Raises:
        ImageError: no such clip, too large, truncated, or frames that are unreadable or differ in size; all faults of a
            folder at once.
    """
    source = Path(path)
    if fps is not None and not 0 < fps <= 100_000:
        raise ImageError(f"expected frames per second above 0, found {fps!r}", str(source))
    if os.path.isdir(source):
        frames, read_fps, names = _from_folder(source)
    elif (picture := open_image(check_file(source), str(source))) is None:
        frames, read_fps, names = _from_video(source)
    else:
        with picture:
            frames, read_fps, names = _from_picture(picture, str(source))
    return Clip(frames, read_fps if fps is None else fps, tuple(names), str(source))


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that counts: `img2` before `img10`, with or without leading zeros."""
    parts = re.split(r"(\d+)", name.casefold())
    # Odd parts are the numbers. The mark in front keeps numbers and text comparable.
    return [(1, int(p), "") if i % 2 else (0, 0, p) for i, p in enumerate(parts)], name


def _from_folder(folder: Path) -> _Read:
    Image.init()
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN} - {".mpg", ".mpeg"}
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: natural(entry.name))
    except OSError as error:
        raise ImageError(f"cannot read the folder: {error}", str(folder)) from error
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    pictures = [entry for entry in visible if entry.suffix.lower() in known and not entry.is_dir()]
    if not pictures:
        hint = "give the folder that holds the frames of one clip"
        if videos := [entry.name for entry in entries if entry.suffix.lower() in VIDEO_SUFFIXES]:
            hint = f"there is a video {videos[0]!r} in it: give that"
        elif folders := [entry.name for entry in visible if entry.is_dir()]:
            hint = f"there is a folder {folders[0]!r} in it: give the one that holds the frames"
        raise ImageError(f"expected pictures, found none among {len(entries)} entries; {hint}", str(folder))
    stems = Counter(p.stem for p in pictures)
    if twice := [p.name for p in pictures if stems[p.stem] > 1]:
        found = f"{', '.join(twice[:4])}{'...' if len(twice) > 4 else ''}"
        raise ImageError(f"expected one file for each frame, found {found}; keep the files of one kind", str(folder))
    names = [p.name for p in pictures]
    advice = "what to do: copy damaged frames again, and crop all with one box; or remove these files from the folder"
    return _read_all(lambda index: read_pixels(pictures[index]), names, str(folder), advice), None, names


def _from_picture(picture: Image.Image, where: str) -> _Read:
    try:
        count = int(getattr(picture, "n_frames", 1))
    except Exception as error:
        raise ImageError(f"cannot read the file: {error or type(error).__name__}", where) from error
    if count < 2:
        raise ImageError("expected a clip, found a single picture; give the folder of its frames, or a video", where)
    width, height = picture.size
    if count * width * height > LARGEST:
        raise _too_large(count, width, height, where)
    durations: list[float] = []

    def read(index: int) -> Pixels:
        try:
            picture.seek(index)
            check_size(*picture.size, "")  # the pages of a TIFF differ in size
            picture.load()
            single = picture.copy()
        except ImageError:
            raise
        except Exception as error:
            raise ImageError(f"cannot be read: {error or type(error).__name__}") from error
        durations.append(float(picture.info.get("duration") or 0))
        return read_pixels(single)

    advice = "what to do: save the clip again from its source, or as a folder of PNG files"
    frames = _read_all(read, [f"frame {index}" for index in range(count)], where, advice)
    # Steps of ten milliseconds alternate around the true time; a frame shown far longer than others replaces several.
    steady = min(durations) > 0 and max(durations) <= 2 * min(durations)
    return frames, 1000 * count / sum(durations) if steady else None, list(map(str, range(count)))


def _from_video(path: Path) -> _Read:
    where = str(path)
    again = "copy it again from its source, or"
    advice = f"{again} convert it with: ffmpeg -i CLIP -c:v libx264 -crf 10 OUT.mp4"
    # With an absolute path, no part of the name can be mistaken for a protocol.
    capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            why = "no video, an incomplete one, or a codec that this installation cannot decode"
            raise ImageError(f"cannot be opened: {why}; {advice}", where)
        width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        declared, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), float(capture.get(cv2.CAP_PROP_FPS))
        check_size(width, height, where)
        if declared * width * height > LARGEST:
            raise _too_large(round(declared), width, height, where)
        frames = _decoded(capture, where)
    finally:
        capture.release()
    if not frames:
        raise ImageError(f"no frame can be decoded; {advice}", where)
    # Some containers only estimate their number of frames, so a few may be missing.
    if declared > 0 and len(frames) < declared - max(2, 0.05 * declared):
        raise ImageError(
            f"expected {declared:.0f} frames by its header, only {len(frames)} can be decoded: the file is truncated "
            f"or damaged; {again} cut the good part out with ffmpeg",
            where,
        )
    names = list(map(str, range(len(frames))))
    return _stacked(frames), rate if 0 < rate <= 10_000 else None, names


def _decoded(capture: cv2.VideoCapture, where: str) -> list[Pixels]:
    """All frames of a video, grey."""
    frames: list[Pixels] = []
    while (got := capture.read())[0]:
        picture = got[1]
        grey = np.asarray(picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
        (height, width), count = grey.shape, len(frames)
        if (count + 1) * grey.nbytes > LARGEST:
            raise _too_large(f"more than {count}", width, height, where)
        if frames and frames[0].shape != grey.shape:
            sizes = f"{frames[0].shape[1]}x{frames[0].shape[0]} and, at frame {count}, {width}x{height}"
            raise ImageError(f"expected frames of one size, found {sizes}; cut the clip there", where)
        frames.append(grey)
    return frames


def _read_all(read: Callable[[int], Pixels], names: Sequence[str], where: str, advice: str) -> npt.NDArray[np.uint8]:
    """The frames of a source of known length; reports every fault of every frame at once."""
    faults: list[str] = []
    frames: list[Pixels] = []
    kinds: list[tuple[str, str]] = []  # name, and size and depth
    held = 0
    for index, name in enumerate(names):
        try:
            frame = _grey(read(index))
        except ImageError as error:
            faults += [f"{name}: {fault}" for fault in error.faults]
            continue
        held += frame.size
        if held > LARGEST:
            raise _too_large(len(names), frame.shape[1], frame.shape[0], where)
        frames.append(frame)
        kinds.append((name, f"{frame.shape[1]}x{frame.shape[0]} {frame.dtype}"))
    if kinds:
        usual = Counter(kind for _, kind in kinds).most_common(1)[0][0]
        odd = [(name, kind) for name, kind in kinds if kind != usual]
        faults += [f"{name}: expected {usual} as most frames are, found {kind}" for name, kind in odd]
    if faults:
        more = [f"and {len(faults) - _LISTED} more like these"] if len(faults) > _LISTED else []
        raise ImageError([*faults[:_LISTED], *more, advice], where)
    return _stacked(frames)


def _grey(pixels: Pixels) -> Pixels:
    """Grey at the original depth: 8-bit frames as in `read_pair`; deeper ones are scaled together later."""
    if pixels.dtype == np.uint8:
        return to_grey(pixels, 8)
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint16)


def _stacked(frames: list[Pixels]) -> npt.NDArray[np.uint8]:
    """Grey frames of one size as one uint8 array; clears the list on the way, to save memory."""
    depth = common_depth(max((int(frame.max()) for frame in frames if frame.dtype == np.uint16), default=0))
    out = np.empty((len(frames), *frames[0].shape), np.uint8)
    while frames:
        frame = frames.pop()
        out[len(frames)] = to_grey(frame, depth) if frame.dtype == np.uint16 else frame
    return out


def _too_large(count: int | str, width: int, height: int, where: str) -> ImageError:
    most = LARGEST // (width * height)
    size, bound = f"{width}x{height}", f"{LARGEST >> 20} MiB"
    if most < 1:
        return ImageError(f"frames of {size} are more than {bound}; crop them to the face first", where)
    return ImageError(
        f"expected at most {most} frames of {size} ({bound} of grey pixels), found {count}; cut the clip to the "
        "seconds around the expression (ffmpeg -ss START -t SECONDS -i CLIP OUT), or crop it to the face",
        where,
    )
