"""The frames of a clip, grey, in a stream: from a video file, an animated picture, or a folder of pictures.

`read_clip` looks at every frame once and keeps none. It hands small copies on, a window at a time, for spotting.
`clip[12]` and `clip[12:18]` decode frames again, at full size.
"""

from __future__ import annotations

import math
import os
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Any, overload

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mellm_plugin.errors import ImageError
from mellm_plugin.motion.geometry import Grey
from mellm_plugin.motion.images import (
    SMALLEST_SIDE,
    Pixels,
    common_depth,
    to_grey,
)
from mellm_plugin.motion.plausibility import FLAT_LEVELS
from mellm_plugin.motion.scenes import Cuts
from mellm_plugin.motion.sources import Frame, Source, open_source

SMALL_SIDE = 160
"""Shorter side of the small frames, px: the size at which `tracking.py` measures."""

WINDOW_FRAMES, WINDOW_BYTES, OVERLAP = 1000, 64 * 2**20, 200
"""Most small frames in a window, their most bytes, and the frames that a window shares with the next one."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, px: the first column and row inside, and those beyond."""

Moment = int | timedelta
"""A frame's number, from 0; or the time since the first frame, as a player shows it."""

_LISTED = 10  # faults in one message
_SEARCHED = (0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023)  # usable frames in which `crop` is asked for a box
_UNEVEN = 0.2  # of the usual interval between frames
_MOST_UNEVEN, _MOST_GAPS = 0.02, 0.1  # share of the intervals; above, the rate varies
_FASTEST = 100_000  # frames per second
_PATIENCE = 3.0  # seconds until a progress bar appears


@dataclass(frozen=True)
class Clip:
    """A clip; its frames are decoded when they are asked for.

    Attributes:
        source: the path of the clip.
        names: for each frame its file name in the folder, or its number from 0 in the source.
        first: number of the first frame in the source; above 0 if `start` left frames out.
        fps: frames per second; None if unknown or variable. A slowed-down recording gives the speed of playback.
        times: float64 `(T,)`, seconds since the first frame; None if unknown.
        shape: height and width of the frames, px.
        box: what was cut out of all frames; None for the whole.
        cuts: first frames of new scenes, from 0 in this clip.
        doubts: what is odd about the recording: frame rate unknown or variable, frames dropped, damaged, interlaced.
    """

    source: str
    names: tuple[str, ...]
    first: int
    fps: float | None
    times: npt.NDArray[np.float64] | None
    shape: tuple[int, int]
    box: Box | None
    cuts: tuple[int, ...]
    doubts: tuple[str, ...]
    _scan: _Scan = field(repr=False)
    _last: list[tuple[int, Iterator[Grey]]] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, which: int) -> Grey: ...
    @overload
    def __getitem__(self, which: slice) -> npt.NDArray[np.uint8]: ...
    def __getitem__(self, which: int | slice) -> npt.NDArray[np.uint8]:
        """A frame, uint8 `(H, W)`, or a stretch, uint8 `(n, H, W)`: grey, at full size, within the box."""
        if isinstance(which, slice):
            frames = list(self.at(range(len(self))[which]))
            return np.stack(frames) if frames else np.empty((0, *self.shape), np.uint8)
        index = range(len(self))[which]
        following, frames_on = self._last.pop() if self._last else (-1, iter(()))
        if following != index:  # not simply the next frame
            frames_on = self.at(range(index, len(self)))
        frame = next(frames_on)
        self._last[:] = [(index + 1, frames_on)]
        return frame

    def seconds(self, start: int, end: int) -> float | None:
        """The time from one frame to another; None if unknown."""
        return None if self.times is None else float(self.times[end] - self.times[start])

    def at(self, indices: Iterable[int]) -> Iterator[Grey]:
        """The frames of ascending indices, uint8 `(H, W)` each, in one pass that holds one at a time.

        Raises:
            ImageError: the source has changed since it was read.
        """
        frames: Iterator[tuple[int, Pixels]] | None = None
        for index in indices:
            frames = frames or self._from(index)
            pixels = next((pixels for number, pixels in frames if number == index), None)
            if pixels is None or _mark(pixels) != self._scan.marks[index]:
                why = f"frame {self.names[index]} is not the one that was read before: the file has changed"
                raise ImageError(f"{why}; start again", self.source)
            yield _eight_bits(_cut(pixels, self.box), self._scan.depth)

    def _from(self, index: int) -> Iterator[tuple[int, Pixels]]:
        """Index and pixels of the frames from one on, decoded from a place near it, or else from the start."""
        scan = self._scan
        for time in (scan.times[index], math.nan):
            frames = ((n, _grey(f.get())) for n, f in enumerate(scan.source.frames(self.first + index, time), index))
            one = next(frames, None)
            if one is not None and _mark(one[1]) == scan.marks[index]:
                return chain([one], frames)
        return iter(())


def read_clip(
    path: str | os.PathLike[str],
    fps: float | None = None,
    *,
    start: Moment | None = None,
    end: Moment | None = None,
    crop: Box | Callable[[Grey], Box | None] | None = None,
    watch: Callable[[int, npt.NDArray[np.uint8]], None] | None = None,
    progress: bool = False,
) -> Clip:
    """Read a clip once, from start to end. Apart from some 100 bytes a frame, memory does not grow with its length.

    Args:
        path: a video file (any that FFmpeg decodes: mp4, avi, mov, mkv, webm), an animated GIF, WebP, PNG or TIFF, or a
            folder of pictures of one clip. Pictures are read in natural order of their names; hidden files and other
            files are ignored. Pictures of more than 8 bits are scaled together, by the smallest common depth that holds
            all. Videos are turned and mirrored as their metadata say.
        fps: frames per second, if the source does not give it or gives the speed of playback; None: as in the source.
        start, end: the first and the last frame; None: those of the source. A time is the source's own; if it has none,
            `fps` counts.
        crop: the box to cut out of all frames, or a function that gets usable whole frames until it returns a box.
            None, or no box: whole frames.
        watch: gets windows of small frames: the number of the first in the source, and uint8 `(n, h, w)`, shorter side
            at most `SMALL_SIDE`. Windows overlap by `OVERLAP` frames.
        progress: whether a bar appears on a terminal if reading takes long.

    Raises:
        ImageError: no such clip, truncated, a box or bounds outside of it, or frames that are unreadable or differ in
            size; all faults at once.
    """
    where = str(path)
    faults = []
    if fps is not None and not 0 < fps <= _FASTEST:
        faults.append(f"expected frames per second above 0, found {fps!r}")
    if start is not None and end is not None and type(start) is type(end) and start >= end:  # type: ignore[operator]
        faults.append(f"expected a start before the end, found {_told(start)} and {_told(end)}")
    if faults:
        raise ImageError(faults, where)
    source = open_source(Path(path))
    scan = _Scan(source, _searched(source, crop) if callable(crop) else crop, watch)
    count, time = 0, math.nan
    with tqdm(
        source.frames(),
        desc=Path(path).name,
        total=source.length or None,
        unit="frame",
        delay=_PATIENCE,
        disable=None if progress else True,
    ) as frames:
        for count, frame in enumerate(frames, 1):
            time = (count - 1) / fps if fps and math.isnan(frame.time) else frame.time
            if end is not None and _past(end, count - 1, time, where) > 0:
                break
            if start is None or _past(start, count - 1, time, where) >= 0:
                scan.add(count - 1, frame)
        else:
            scan.faults += source.faults(count, time)
            if start is not None and count and not scan.kinds:
                has = f"it has {count} frames{'' if math.isnan(time) else f', to {time:.2f} s'}"
                scan.faults.append(f"expected a start within the clip, found {_told(start)}; {has}")
    return scan.clip(fps)


class _Scan:
    """What the one pass through a source finds.

    Attributes:
        faults, unusable: of the clip as a whole, and of single frames.
        kinds: names of the frames of each size and depth.
        times: of each frame, seconds by the source; NaN if unknown.
        marks: of each frame, to know it again.
    """

    def __init__(
        self, source: Source, box: Box | None, watch: Callable[[int, npt.NDArray[np.uint8]], None] | None
    ) -> None:
        self.source, self.box, self.watch = source, box, watch
        self.faults: list[str] = []
        self.unusable: list[str] = []
        self.kinds: dict[str, list[str]] = {}
        self.times, self.marks = array("d"), array("L")
        self.first = 0
        self.peak = 0
        self.cuts = Cuts()
        self._window: npt.NDArray[Any] | None = None
        self._start = self._held = 0

    @property
    def depth(self) -> int:
        """Bits of the frames seen so far, if they have more than 8."""
        return common_depth(self.peak)

    def add(self, index: int, frame: Frame) -> None:
        """See a frame of the source; faults are collected."""
        name = self.source.name(index)
        try:
            pixels = _grey(frame.get())
        except ImageError as error:
            self.unusable += [f"{_called(name)}: {fault}" for fault in error.faults]
            return
        height, width = pixels.shape
        if not self.kinds:
            self.first, self.shape = index, (height, width)
            if self.box is not None:
                self.faults += _box_faults(self.box, width, height)
        self.kinds.setdefault(f"{width}x{height} {pixels.dtype}", []).append(name)
        if self.faults or self.unusable or len(self.kinds) > 1:
            return  # the clip will be refused
        self.times.append(frame.time)
        self.marks.append(_mark(pixels))
        if pixels.dtype == np.uint16:
            self.peak = max(self.peak, int(pixels.max()))
        small = _small(_cut(pixels, self.box))
        self.cuts.add(small)
        if self.watch is not None:
            if self._window is None:  # one block of memory for all frames: small ones between large ones would pile up
                most = max(OVERLAP + 1, min(WINDOW_FRAMES, WINDOW_BYTES // small.nbytes))
                self._window = np.empty((most, *small.shape), small.dtype)
            self._window[self._held] = small
            self._held += 1
            if self._held == len(self._window):
                self._pass_on()

    def _pass_on(self) -> None:
        """Hand the window on; what it shares with the next one stays."""
        if self._window is None or self.watch is None or self._held <= (OVERLAP if self._start else 0):
            return  # nothing new
        frames = self._window[: self._held]
        self.watch(self.first + self._start, np.stack([_eight_bits(frame, self.depth) for frame in frames]))
        new = max(0, self._held - OVERLAP)
        frames[: self._held - new] = frames[new:].copy()
        self._start, self._held = self._start + new, self._held - new

    def clip(self, fps: float | None) -> Clip:
        """The clip.

        Raises:
            ImageError: all faults.
        """
        usual = max(self.kinds, key=lambda kind: len(self.kinds[kind]), default="")
        for kind, odd in self.kinds.items():
            if kind != usual:
                self.unusable += [f"{_called(name)}: expected {usual} as most frames are, found {kind}" for name in odd]
        if not self.kinds and not self.unusable and not self.faults:
            self.unusable.append("no frame can be decoded")
        if more := len(self.unusable) - _LISTED:
            self.unusable[_LISTED:] = [f"and {more} more like these"] if more > 0 else []
        if self.unusable:
            self.unusable.append(self.source.advice)
        if self.faults or self.unusable:
            raise ImageError([*self.faults, *self.unusable], self.source.where)
        self._pass_on()
        rate, times, doubts = _rate(self.times, self.source, fps)
        shape = self.shape if self.box is None else (self.box[3] - self.box[1], self.box[2] - self.box[0])
        return Clip(
            source=self.source.where,
            names=tuple(self.kinds[usual]),
            first=self.first,
            fps=rate,
            times=times,
            shape=shape,
            box=self.box,
            cuts=self.cuts.found(255 / (2**self.depth - 1) if self.peak else 1.0),
            doubts=(*doubts, *self.source.doubts()),
            _scan=self,
        )


def _searched(source: Source, find: Callable[[Grey], Box | None]) -> Box | None:
    """The box that `find` gives for the first frame that shows something, or for one of some later ones."""
    usable = 0
    for frame in islice(source.frames(), 4 * _SEARCHED[-1]):
        try:
            pixels = _grey(frame.get())
        except ImageError:
            continue  # reported when the clip is read
        grey = _eight_bits(pixels, common_depth(int(pixels.max())))
        if float(grey.std()) < FLAT_LEVELS:
            continue
        if usable in _SEARCHED and (box := find(grey)) is not None:
            return None if box == (0, 0, *grey.shape[::-1]) else box
        usable += 1
        if usable > _SEARCHED[-1]:
            break
    return None


def _box_faults(box: Box, width: int, height: int) -> list[str]:
    left, top, right, bottom = box
    inside = left >= 0 and right <= width and top >= 0 and bottom <= height
    if inside and min(right - left, bottom - top) >= SMALLEST_SIDE:
        return []
    expected = f"a box within the frame of {width}x{height}, at least {SMALLEST_SIDE} px a side"
    return [f"expected {expected}, as LEFT,TOP,RIGHT,BOTTOM, found {left},{top},{right},{bottom}"]


def _past(moment: Moment, index: int, time: float, where: str) -> float:
    """How far a frame lies behind a moment: frames or seconds, negative before it."""
    if not isinstance(moment, timedelta):
        return index - moment
    if math.isnan(time):
        raise ImageError(f"it states no times: give frame numbers, or --fps, found {_told(moment)}", where)
    return round(time - moment.total_seconds(), 6)


def _told(moment: Moment) -> str:
    return f"{moment.total_seconds():g} s" if isinstance(moment, timedelta) else f"frame {moment}"


def _called(name: str) -> str:
    return f"frame {name}" if name.isdigit() else name  # a file of a folder has a suffix


def _rate(
    own: Sequence[float], source: Source, fps: float | None
) -> tuple[float | None, npt.NDArray[np.float64] | None, list[str]]:
    """Frames per second, the seconds of each frame since the first, and doubts about both.

    The usual interval between frames gives the rate. Containers round times to ticks, so intervals differ by one.
    """
    times, count, doubts = np.asarray(own, np.float64), np.arange(len(own)), list[str]()
    steps = np.diff(times)
    rate = None
    if len(steps) and (steps > 0).all():  # NaN is not above 0 either
        rate, doubts = _steady_rate(steps, source)
        times = times - times[0]
    elif source.steady and source.stated_fps:
        rate, times = source.stated_fps, count / source.stated_fps
    if fps is not None:
        return fps, count / fps, doubts
    if rate is None and not doubts:
        doubts.append("the frame rate is unknown, and durations with it: give it with --fps")
    return rate, times if np.isfinite(times).all() else None, doubts


def _steady_rate(steps: npt.NDArray[np.float64], source: Source) -> tuple[float | None, list[str]]:
    """The rate of a clip from the seconds between its frames, None if it varies; and doubts."""
    middle = float(np.median(steps))
    bound = max(_UNEVEN * middle, 1.5 * source.tick)
    usual = float(steps[abs(steps - middle) <= bound].mean())
    whole = np.rint(steps / usual)
    gaps = (whole >= 2) & (abs(steps - whole * usual) <= bound)
    uneven = ~gaps & (abs(steps - usual) > bound)
    if uneven.mean() > _MOST_UNEVEN or gaps.mean() > _MOST_GAPS:
        low, high = 1000 * np.percentile(steps, [2, 98])
        return None, [f"the frame rate varies: {low:.0f} to {high:.0f} ms from frame to frame"]
    doubts = []
    if gaps.any():
        lost, places = int((whole[gaps] - 1).sum()), np.flatnonzero(gaps)
        doubts = [f"{lost} frames were dropped in {len(places)} places, the first after frame {places[0]}"]
    rate, stated = 1 / usual, source.stated_fps
    if stated and abs(1 / stated - usual) * len(steps) <= 2 * source.tick:  # as exact as the times are
        rate = stated
    return rate, doubts


def _grey(pixels: Pixels) -> Pixels:
    """Grey at the original depth: 8-bit frames as in `read_pair`; deeper ones are scaled together later."""
    if pixels.ndim == 2:
        return pixels
    return (
        to_grey(pixels, 8)
        if pixels.dtype == np.uint8
        else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint16)
    )


def _eight_bits(grey: Pixels, depth: int) -> Grey:
    return to_grey(grey, depth) if grey.dtype == np.uint16 else np.asarray(grey, np.uint8)


def _mark(grey: Pixels) -> int:
    """A number that tells frames apart."""
    return zlib.crc32(grey[::8].tobytes())


def _cut(grey: Pixels, box: Box | None) -> Pixels:
    left, top, right, bottom = box or (None, None, None, None)
    return grey[top:bottom, left:right]


def _small(grey: Pixels) -> Pixels:
    """A copy at the size at which movements are spotted."""
    height, width = grey.shape
    shrink = max(1.0, min(height, width) / SMALL_SIDE)
    size = max(SMALLEST_SIDE, round(width / shrink)), max(SMALLEST_SIDE, round(height / shrink))
    small: Pixels = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return small
