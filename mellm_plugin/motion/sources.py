"""Where the frames of a clip come from: a folder of pictures, an animated picture, or a video file.

Each source gives its frames one after another, and again from any frame on. It decodes a frame when it is asked for it.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from mellm_plugin.errors import ImageError
from mellm_plugin.motion.images import Pixels, check_file, check_size, open_image, read_pixels

VIDEO_SUFFIXES: tuple[str, ...] = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
"""Usual suffixes of video files, for hints; `read_clip` goes by the content."""

Matrix = tuple[int, int, int, int]

_WORTH_SEEKING = 100  # frames; nearer ones are decoded from the start of a video


class Frame(NamedTuple):
    """A frame of a source; `get` decodes it, or raises an ImageError."""

    time: float  # seconds, by the source; NaN if it does not say
    get: Callable[[], Pixels]


class Source:
    """Where frames come from; `where` is its path, for messages."""

    where: str

    length = 0  # frames, by the header; 0: unknown
    tick = 0.0  # step of the times, seconds
    stated_fps: float | None = None  # by the header, where it says so
    steady = False  # whether that rate holds although frames have no usable times
    advice = "what to do: copy damaged frames again, and crop all with one box; or remove these files from the folder"

    def name(self, index: int) -> str:
        return str(index)

    def frames(self, first: int = 0, time: float = math.nan) -> Iterator[Frame]:
        """The frames from number `first` on; its time, if known, may be used to find it."""
        raise NotImplementedError

    def faults(self, count: int, seconds: float) -> list[str]:
        """What is wrong with a source that ended after so many frames and seconds."""
        return []

    def doubts(self) -> list[str]:
        """What was odd in the last reading from the start."""
        return []


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that counts: `img2` before `img10`, with or without leading zeros."""
    parts = re.split(r"(\d+)", name.casefold())
    # Odd parts are the numbers. The mark in front keeps numbers and text comparable.
    return [(1, int(p), "") if i % 2 else (0, 0, p) for i, p in enumerate(parts)], name


def open_source(path: Path) -> Source:
    if os.path.isdir(path):
        return _Folder(path)
    picture = open_image(check_file(path), str(path))
    if picture is None:
        return _Video(path)
    with picture:
        return _Animation(path, picture)


class _Folder(Source):
    """A folder of pictures."""

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        Image.init()
        known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
        known -= {".mpg", ".mpeg"}
        try:
            entries = sorted(folder.iterdir(), key=lambda entry: natural(entry.name))
        except OSError as error:
            raise ImageError(f"cannot read the folder: {error}", str(folder)) from error
        visible = [entry for entry in entries if not entry.name.startswith(".")]
        self._pictures = [entry for entry in visible if entry.suffix.lower() in known and not entry.is_dir()]
        self.length = len(self._pictures)
        if not self._pictures:
            hint = "give the folder that holds the frames of one clip"
            if videos := [entry.name for entry in entries if entry.suffix.lower() in VIDEO_SUFFIXES]:
                hint = f"there is a video {videos[0]!r} in it: give that"
            elif folders := [entry.name for entry in visible if entry.is_dir()]:
                hint = f"there is a folder {folders[0]!r} in it: give the one that holds the frames"
            raise ImageError(f"expected pictures, found none among {len(entries)} entries; {hint}", str(folder))
        stems = Counter(p.stem for p in self._pictures)
        if twice := [p.name for p in self._pictures if stems[p.stem] > 1]:
            found = f"{', '.join(twice[:4])}{'...' if len(twice) > 4 else ''}"
            raise ImageError(
                f"expected one file for each frame, found {found}; keep the files of one kind", str(folder)
            )

    def name(self, index: int) -> str:
        return self._pictures[index].name

    def frames(self, first: int = 0, time: float = math.nan) -> Iterator[Frame]:
        for picture in self._pictures[first:]:
            yield Frame(math.nan, partial(read_pixels, picture))


class _Animation(Source):
    """An animated picture; its format gives each frame a duration in steps of ten milliseconds or finer ones."""

    advice = "what to do: save the clip again from its source, or as a folder of PNG files"
    tick = 0.01

    def __init__(self, path: Path, picture: Image.Image) -> None:
        self._path, self.where = path, str(path)
        try:
            self.length = int(getattr(picture, "n_frames", 1))
        except Exception as error:
            raise ImageError(f"cannot read the file: {error or type(error).__name__}", str(path)) from error
        if self.length < 2:
            hint = "give the folder of its frames, or a video"
            raise ImageError(f"expected a clip, found a single picture; {hint}", str(path))

    def name(self, index: int) -> str:
        return str(index)

    def frames(self, first: int = 0, time: float = math.nan) -> Iterator[Frame]:
        picture = open_image(check_file(self._path), self.where)
        if picture is None:
            raise ImageError("the file has changed; start again", self.where)
        shown = 0.0  # seconds until this frame, by the durations of those before
        with picture:
            for index in range(first, self.length):
                found = _loaded(picture, index)
                yield Frame(shown, partial(_given, found))
                duration = float(picture.info.get("duration") or 0) / 1000
                shown = shown + duration if duration > 0 else math.nan


def _loaded(picture: Image.Image, index: int) -> Pixels | ImageError:
    """A frame of an animated picture, or what is wrong with it."""
    try:
        picture.seek(index)
        check_size(*picture.size, "")  # the pages of a TIFF differ in size
        picture.load()
        return read_pixels(picture.copy())
    except ImageError as error:
        return error
    except Exception as error:  # Pillow's decoders raise exceptions of any type for damaged files
        return ImageError(f"cannot be read: {error or type(error).__name__}")


def _given(found: Pixels | ImageError) -> Pixels:
    if isinstance(found, ImageError):
        raise found
    return found


class _Video(Source):
    """A video file, decoded by FFmpeg."""

    advice = (
        "what to do: copy it again from its source, or convert it with: ffmpeg -i CLIP -c:v libx264 -crf 10 OUT.mp4"
    )

    def __init__(self, path: Path) -> None:
        # With an absolute path, no part of the name can be mistaken for a protocol.
        self._path, self.where = str(path.resolve()), str(path)
        self._damaged = self._interlaced = 0
        with self._opened() as (container, stream):
            check_size(stream.codec_context.width, stream.codec_context.height, self.where)
            self.tick = float(stream.time_base or 0)
            self._declared, self._seconds = stream.frames, 0.0
            rate = float(stream.average_rate or 0)
            if stream.duration:
                self._seconds = stream.duration * self.tick
            elif container.duration and len(container.streams) == 1:
                self._seconds = container.duration / av.time_base
            self.length = self._declared or round(self._seconds * rate)
            self.stated_fps, self.steady = rate or None, container.format.name == "avi"

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        again = self.advice.removeprefix("what to do: ")
        try:
            # Other protocols are closed: a playlist must not fetch what it names.
            container = av.open(self._path, metadata_errors="replace", container_options={"protocol_whitelist": "file"})
        except (av.error.FFmpegError, OSError, ValueError) as error:
            why = "no video, an incomplete one, or a format that this installation does not know"
            raise ImageError(f"cannot be opened: {why}; {again}", self.where) from error
        with container:
            # A picture on a record's sleeve is a stream, too; and `tty` takes any text for a video.
            streams = [] if container.format.name == "tty" else container.streams.video
            moving = [s for s in streams if not s.disposition & av.stream.Disposition.attached_pic]
            if not moving:
                raise ImageError(f"cannot be opened: no video is in it; {again}", self.where)
            if moving[0].codec_context is None:
                raise ImageError(f"cannot be opened: a codec that this installation cannot decode; {again}", self.where)
            moving[0].thread_type = "AUTO"
            yield container, moving[0]

    def frames(self, first: int = 0, time: float = math.nan) -> Iterator[Frame]:
        self._damaged = self._interlaced = 0
        with self._opened() as (container, stream):
            if first < _WORTH_SEEKING or math.isnan(time):
                decoded: Iterator[VideoFrame] = islice(self._decoded(container, stream), first, None)
            else:
                try:
                    container.seek(math.floor(time / self.tick), stream=stream)
                except av.error.FFmpegError:
                    return  # this container cannot seek
                decoded = (f for f in self._decoded(container, stream) if f.time is not None and f.time >= time)
            matrix: Matrix | None = None
            for frame in decoded:
                # Once: side data and their frame refer to each other, and such frames pile up until they are collected.
                matrix = _matrix(frame) if matrix is None else matrix
                self._damaged += frame.is_corrupt
                self._interlaced += frame.interlaced_frame
                yield Frame(math.nan if frame.time is None else frame.time, partial(_upright, frame, matrix))

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """The frames that can be decoded; damaged packets are counted."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                frames = stream.decode(packet)  # None: what the decoder still holds, if an error ended the packets
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self._damaged += 1
                continue
            yield from frames
            if packet is None:
                return

    def faults(self, count: int, seconds: float) -> list[str]:
        declared, tolerated = self._declared, 2.0
        if not declared and count > 1 and seconds > 0:  # some containers state only how long they are, and not exactly
            rate = (count - 1) / seconds
            declared, tolerated = round(self._seconds * rate), 2 + 0.1 * rate
        if not count or count >= declared - max(tolerated, 0.05 * declared):
            return []
        return [
            f"expected {declared} frames by its header, only {count} can be decoded: the file is truncated or damaged; "
            "copy it again from its source, or read the good part alone with --end"
        ]

    def doubts(self) -> list[str]:
        found = []
        if self._damaged:
            found.append(f"{self._damaged} places of the file are damaged, and frames there wrong or missing")
        if self._interlaced:
            found.append(
                f"{self._interlaced} frames are interlaced, two moments in one: every other row moves by itself; "
                "deinterlace them (ffmpeg -vf bwdif)"
            )
        return found


def _matrix(frame: VideoFrame) -> Matrix:
    """How a frame is to be shown: x' = a x + c y, y' = b x + d y, from its metadata."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return 1, 0, 0, 1
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(matrix), np.int32)[:5])
    return a, b, c, d


def _upright(frame: VideoFrame, matrix: Matrix) -> Pixels:
    """A frame of a video in grey, turned and mirrored: uint8 `(H, W)`."""
    grey, (a, b, c, d) = np.asarray(frame.to_ndarray(format="gray"), np.uint8), matrix
    if abs(b) > abs(a):
        grey, a, d = grey.T, c, b
    return np.ascontiguousarray(grey[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
