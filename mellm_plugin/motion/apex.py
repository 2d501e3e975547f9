"""Onset and apex of a clip without labels: all movements that remain after the head's is removed.

`tracking.py` measures the motion of the face on a grid of cells. The strongest moment gives a pattern of motion, and
the curve is the share of that pattern in each frame: a projection is linear, so noise averages out in it, while it adds
up in a mean of magnitudes. The frames before and after a movement are searched in the same way. A movement counts if it
exceeds the noise, what the rest of the face does at that moment, and what a turn of the head leaves behind.

The eyes are handled separately: a blink is larger than any micro-expression. Masking the eyes, and spotting by regions
of the face, follows Liong et al., "Automatic apex frame spotting in micro-expression database" (ACPR 2015).
`method="difference"` is the plain baseline: the mean absolute difference to the first frame.
"""

from __future__ import annotations

import itertools
import math
import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.errors import ImageError, SettingsError, near
from mellm_plugin.motion.clip import OVERLAP, Clip, read_clip
from mellm_plugin.motion.eyes import AROUND, LIDS, EyeCells, find_eyes
from mellm_plugin.motion.geometry import Field
from mellm_plugin.motion.images import check_size
from mellm_plugin.motion.scenes import find_cuts
from mellm_plugin.motion.settings import DEFAULT, MotionSettings
from mellm_plugin.motion.tracking import Tracker

METHODS: tuple[str, ...] = ("flow", "difference")

_SHORT = 12  # frames; in shorter clips the second frame may be part of the movement
_LEAST_LEVELS = 0.1  # still faces stay below it in the plain difference
_LEAST_PX = 0.1  # a movement is larger than this, and than the following multiples of
_SWAYS = 7.0  # what most cells do slowly: errors of the head's motion, of light and of coding
_SHARED = 3.0  # what most cells do at the same moment
_JITTERS, _JITTERS_OF_SHORT = 12.0, 4.0  # the noise of its curve; in short clips this holds the movement itself
_TURNS = 2.0  # what the head's motion differs by from an affine one: a nod or turn leaves a part of it behind
_MARGIN = 2  # frames that a blink is taken to be longer on each side, or a third of its rise
_OF_BLINK = 0.35  # a smaller share of a blink in the rest of the face at the same time is its remainder
_SHARE = 0.04  # of the peak above the rest: where the movement begins and ends
_BEFORE = 2.0  # how far before the middle of the rise the rest is searched, in half rises
_FLOOR_PX, _KNEE_PX = 0.05, 0.8
_NOISE_FACTOR = 2.5

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Movement:
    """One movement of a clip; indices count frames from 0.

    Attributes:
        onset: the last frame before the movement.
        apex: the frame of the largest movement.
        offset: the first frame after the apex without the movement; None if it does not go back within the clip.
        peak: how far it rises above the rest before it, px of the reference frame (`flow`) or grey levels.
        at_the_eyes: it is mostly at the eyes: a blink, or units 5, 7 and 41 to 46.
    """

    onset: int
    apex: int
    offset: int | None
    peak: float
    at_the_eyes: bool


@dataclass(frozen=True)
class Spotted:
    """The movements of a clip; indices count frames from 0.

    Attributes:
        found: whether something moves; if not, `onset`, `apex` and `offset` are None and `reason` explains it.
        onset: the last frame before the strongest movement, for the motion map. Movements at the eyes count as the
            strongest only if there is no other.
        apex: the frame of the largest movement.
        offset: the first frame after the apex without the movement; None if it does not go back within the clip.
        curve: float32 `(T,)`: strength of the movement relative to the first frame of the examined stretch, px of the
            reference frame (`flow`) or grey levels (`difference`). NaN outside the stretch.
        noise: standard deviation of the curve from frame to frame, in its unit.
        cuts: first frames of new scenes; if there are any, only the longest scene was examined.
        at_the_eyes: the movement is mostly at the eyes.
        method: one of `METHODS`.
        reason: remarks on the result; empty if there are none.
        events: all movements in order of their apex, the strongest among them; `difference` gives one at most.
    """

    found: bool
    onset: int | None
    apex: int | None
    offset: int | None
    curve: Field
    noise: float
    cuts: tuple[int, ...]
    at_the_eyes: bool
    method: str
    reason: str
    events: tuple[Movement, ...] = ()


def spot_clip(
    path: str | os.PathLike[str], settings: MotionSettings = DEFAULT, method: str = "flow", **reading: Any
) -> tuple[Clip, Spotted]:
    """Find the movements of a clip of any length, while it is read in a stream.

    Long clips are examined in windows: a head drifts far over minutes, so each window has a first frame of its own, and
    `curve` is relative to it. `reading` are further arguments of `read_clip`. Indices count frames of the clip.

    Raises:
        ImageError: the clip cannot be read, or has a single frame.
        SettingsError: the method is unknown.
    """
    seen: list[tuple[int, Spotted]] = []
    clip = read_clip(
        path, watch=lambda number, frames: seen.append((number, _examined(frames, settings, method, number))), **reading
    )
    windows = [(number - clip.first, window) for number, window in seen]
    events = _joined(windows)
    main = _strongest(events)
    best = next((window for window in windows if main is not None and main in _moved(*window)), windows[0])
    curve = np.full(len(clip), np.nan, np.float32)
    for back, window in [*windows, best]:
        curve[back:][: len(window.curve)] = window.curve
    return clip, _told(replace(best[1], curve=curve, cuts=clip.cuts, events=events), clip.first)


def _moved(back: int, window: Spotted) -> list[Movement]:
    """The movements of a window that begins at frame `back` of the clip."""
    return [
        replace(
            event,
            onset=event.onset + back,
            apex=event.apex + back,
            offset=None if event.offset is None else event.offset + back,
        )
        for event in window.events
    ]


def _joined(windows: Sequence[tuple[int, Spotted]]) -> tuple[Movement, ...]:
    """The movements of all windows, each once, in order of their apex.

    A window may begin amid a movement, which then seems to begin there; the window before has the whole of it.
    """
    events: list[Movement] = []
    for place, (back, window) in enumerate(windows):
        for event in _moved(back, window):
            if place and event.onset < back + OVERLAP // 2:
                continue
            same = [
                other
                for other in events
                if other.at_the_eyes == event.at_the_eyes and other.onset < event.apex and event.onset < other.apex
            ]
            if all(other.peak < event.peak for other in same):
                events = [other for other in events if other not in same] + [event]
    return tuple(sorted(events, key=operator.attrgetter("apex")))


def spot(frames: npt.NDArray[np.uint8], settings: MotionSettings = DEFAULT, method: str = "flow") -> Spotted:
    """Find the movements of a clip: onset, apex and offset of each.

    Args:
        frames: uint8 `(T, H, W)`, grey, at least 2, cropped to the face with one box for all: the head fit follows a
            background that fills much of the frame.
        settings: `head="none"` leaves the head motion in. The other settings affect maps only: the motion has its own
            estimator here, chosen for speed.
        method: `"flow"`, or the plain baseline `"difference"`.

    Returns:
        the movements; a face that does not move gives `found=False`, never a guess.

    Raises:
        ImageError: fewer than 2 frames, or no such array.
        SettingsError: the method is unknown.
    """
    return _told(_examined(frames, settings, method))


def _told(found: Spotted, first: int = 0) -> Spotted:
    """With the strongest of its `events` named, and the others in `reason`, where `first` is the number of frame 0."""
    main = _strongest(found.events)
    if main is None:
        return found
    notes = [found.reason] if found.reason else []
    face, lids = (
        [str(first + event.apex) for event in found.events if event.at_the_eyes == at_eyes] for at_eyes in (False, True)
    )
    if face and lids:
        notes.append(f"movements at the eyes alone, at frame {', '.join(lids)}, were ignored as blinks")
    if len(face) > 1:
        notes.append(f"{len(face)} movements, with their apexes at frames {', '.join(face)}: the strongest was taken")
    if not face:
        notes.append("the movement is mostly at the eyes: it may be a blink")
    if np.isnan(found.curve[main.apex + 1 : main.apex + 2]).all():
        notes.append("the movement still grows in the last frame: the clip may end before the apex")
    return replace(
        found,
        found=True,
        onset=main.onset,
        apex=main.apex,
        offset=main.offset,
        at_the_eyes=main.at_the_eyes,
        reason="; ".join(notes),
    )


def _strongest(events: Sequence[Movement]) -> Movement | None:
    """The strongest movement; one at the eyes only if there is no other."""
    return max(events, key=lambda event: (not event.at_the_eyes, event.peak), default=None)


def _examined(frames: npt.NDArray[np.uint8], settings: MotionSettings, method: str, number: int = 0) -> Spotted:
    """The movements of a clip, as `events`; `reason` says what else was seen, and `number` counts its frames."""
    if method not in METHODS:
        raise SettingsError(f"no way to spot {method!r}; known: {', '.join(METHODS)}.{near(method, METHODS)}")
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 3:
        found = f"{frames.dtype} {frames.shape}" if isinstance(frames, np.ndarray) else type(frames).__name__
        raise ImageError(f"expected frames as a uint8 array (T, H, W), found {found}; read them with read_clip")
    if len(frames) < 2:
        raise ImageError(f"expected a clip of at least 2 frames, found {len(frames)}; give the whole clip")
    check_size(frames.shape[2], frames.shape[1], "")
    cuts = find_cuts(frames)
    start, stop = max(itertools.pairwise((0, *cuts, len(frames))), key=lambda pair: pair[1] - pair[0])
    curve = np.full(len(frames), np.nan, np.float32)
    if stop - start < 2:
        why = "every frame shows another scene: this is no clip of a face"
        return Spotted(False, None, None, None, curve, 0.0, cuts, False, method, why)
    notes = list[str]()
    if cuts:
        at = ", ".join(str(number + cut) for cut in cuts)
        notes.append(f"the scene changes at frame {at}: examined only {number + start} to {number + stop - 1}")
    examined = frames[start:stop]
    face, lids, strongest = _by_flow(examined, settings, notes) if method == "flow" else _by_difference(examined)
    curve[start:stop] = strongest.curve
    if (face or lids) and stop - start < 4 and method == "flow":
        notes.append(f"{stop - start} frames are too few to tell motion from noise: look at the map")
    if not face and not lids:
        notes.append("nothing moves by more than the noise")
    every = [event.counted(start, False) for event in face] + [event.counted(start, True) for event in lids]
    events = tuple(sorted(every, key=operator.attrgetter("apex")))
    noise, reason = strongest.noise, "; ".join(notes)
    return Spotted(False, None, None, None, curve, noise, cuts, False, method, reason, events)


class _Event(NamedTuple):
    """One movement of a region; frames count from the start of the examined stretch, lengths are reference px."""

    onset: int
    apex: int
    offset: int | None
    end: int  # from this frame on, another movement may begin
    peak: float
    noise: float  # of the curve
    curve: Field  # the share of its pattern in every frame, float32 `(T,)`

    def counted(self, start: int, at_the_eyes: bool) -> Movement:
        """With frames counted from the start of the clip."""
        offset = None if self.offset is None else start + self.offset
        return Movement(start + self.onset, start + self.apex, offset, self.peak, at_the_eyes)


_Found = tuple[list[_Event], list[_Event], _Event]  # of the face, at the eyes alone; the strongest, however weak


def _by_flow(frames: npt.NDArray[np.uint8], settings: MotionSettings, notes: list[str]) -> _Found:
    """The movements of a stretch without cuts; adds to the notes on them."""
    tracker = Tracker(frames[0], settings)
    grid, heads = map(np.stack, zip(*((tracker.measure(frame), tracker.head) for frame in frames), strict=True))
    if len(grid) >= _SHORT:
        grid[0] = grid[1]  # relative to itself the first frame has exactly no motion, without the noise of all others
    face = _face(*tracker.shape)
    turns, closed = _turns(heads, face), list[tuple[_Event, int, int]]()
    if (eyes := find_eyes(frames[0])) is not None:
        cells = EyeCells(eyes, tracker.shape, frames.shape[1:], face)
        still = grid.copy()
        for event in _Motion(grid, cells.region, face, tracker.doubt, turns).movements(0, len(grid)):
            shift = cells.closing(np.linalg.norm(grid[event.apex] - grid[event.onset], axis=-1))
            if shift is None:
                continue
            margin = max(_MARGIN, (event.apex - event.onset) // 3)
            first, last = max(0, event.onset - margin), min(len(grid) - 1, event.end + margin)
            closed.append((event, first, last))
            # The windows smear a blink over the skin around: that skin is interpolated over the time of the blink.
            around = cells.within(AROUND, shift)
            share = np.linspace(0, 1, last - first + 1, dtype=np.float32)[:, None, None]
            still[first : last + 1, around] = (1 - share) * grid[first, around] + share * grid[last, around]
        grid, face = still, face & ~cells.within(LIDS)
    motion = _Motion(grid, face, face, tracker.doubt, turns)
    of_face = [
        event
        for event in motion.movements(0, len(grid))
        if not any(first <= event.apex <= last and event.peak < _OF_BLINK * b.peak for b, first, last in closed)
    ]
    lids_only = [event for event, _, _ in closed]
    if of_face and eyes is None:
        notes.append("no eyes were found in the first frame: a movement may be a blink")
    peak = operator.attrgetter("peak")
    return of_face, lids_only, max(of_face or lids_only, key=peak, default=motion.strongest(0, len(grid)))


def _face(rows: int, columns: int) -> Mask:
    """The cells on a rough face, clear of its rim, where a moving head covers the background."""
    y, x = np.ogrid[:rows, :columns]
    across, down = ((x + 0.5) / columns - 0.5) / 0.36, ((y + 0.5) / rows - 0.5) / 0.43
    inside: Mask = across**2 + down**2 <= 1
    return inside


def _turns(heads: Field, face: Mask) -> npt.NDArray[np.float64]:
    """What the head's flow adds to an affine one, as a nod or turn does, over the face: `(T, 6)`.

    The length of a difference between two rows is the root mean square of that part, px of the reference frame.
    """
    y, x = (places - places.mean() for places in np.nonzero(face))
    terms = np.stack([np.ones(len(x)), x, y, x * x, x * y, y * y], axis=1)
    quadratic = np.linalg.qr(terms)[0][:, 3:]
    parts = np.einsum("tnc,nk->tkc", heads[:, face].astype(np.float64), quadratic) / math.sqrt(len(x))
    return np.asarray(parts.reshape(len(heads), 6))


def _by_difference(frames: npt.NDArray[np.uint8]) -> _Found:
    """The largest mean absolute difference to the first frame, in a stretch without cuts; grey levels."""
    raw = np.array([cv2.norm(frames[0], f, cv2.NORM_L1) / f.size for f in frames], np.float32)
    if len(raw) >= _SHORT:
        raw[0] = raw[1]  # relative to itself a frame has no noise
    curve = _smooth(raw, _sigma(len(raw)))
    apex, noise = int(curve.argmax()), float(_jitter(raw))
    onset, offset, end, peak = _bounds(curve, apex, noise)
    event = _Event(onset, apex, offset, end, peak, noise, curve)
    return [event] if apex > onset and peak > max(_LEAST_LEVELS, 4 * noise) else [], [], event


class _Motion:
    """The motion of a region, and how far to trust it.

    Args:
        grid: float32 `(T, rows, columns, 2)`, px.
        region: bool `(rows, columns)`, the cells in which movements are looked for.
        face: bool `(rows, columns)`, the cells that show the noise.
        doubt: float32 `(rows, columns)`, see `Tracker`.
        turns: see `_turns`.
    """

    def __init__(self, grid: Field, region: Mask, face: Mask, doubt: Field, turns: npt.NDArray[np.float64]) -> None:
        sigma = _sigma(len(grid))
        self._grid, self._smooth = grid, _smooth(grid, sigma)
        noise = _jitter(grid).max(axis=-1)
        away = self._smooth - np.median(self._smooth, axis=0)
        sway = np.sqrt(np.median(np.square(away).sum(axis=-1), axis=0))
        self._face, self._turns = face, turns
        self._sway = float(np.median(sway[face]))
        self._floor = _FLOOR_PX + _NOISE_FACTOR * noise / math.sqrt(max(1.0, 2 * math.sqrt(math.pi) * sigma))
        # Cells without texture jitter more, and are led astray by light and coding.
        usual = float(np.median(noise[face])) + 0.02
        self._weight = region / (1 + (doubt / np.median(doubt[face])) ** 4) / (1 + (noise / usual) ** 2)

    def movements(self, start: int, stop: int) -> list[_Event]:
        """The movements between two frames, in order of time: the strongest, and those before and after it."""
        if stop - start < 2:
            return []
        found = self.strongest(start, stop)
        if found.onset == found.apex or found.peak <= self._least(found):
            return []
        turned = float(np.linalg.norm(self._turns[found.apex] - self._turns[found.onset]))
        middle = [] if found.peak <= _TURNS * turned else [found]
        return [*self.movements(start, found.onset + 1), *middle, *self.movements(found.end, stop)]

    def _least(self, event: _Event) -> float:
        """What the peak of a movement exceeds, by the noise that was measured, px."""
        moved = np.linalg.norm(self._smooth[event.apex] - self._smooth[event.onset], axis=-1)[self._face]
        jitters = _JITTERS if len(self._grid) >= 2 * _SHORT else _JITTERS_OF_SHORT
        return max(_LEAST_PX, _SWAYS * self._sway, _SHARED * float(np.median(moved)), jitters * event.noise)

    def strongest(self, start: int, stop: int) -> _Event:
        """The strongest movement between two frames, however weak."""
        moved = self._smooth[start:stop] - self._smooth[start]
        size = np.linalg.norm(moved, axis=-1)
        # Saturating, so that a wide movement counts more than a single wild cell.
        energy = (-np.expm1(-np.maximum(size - self._floor, 0) / _KNEE_PX) * self._weight).sum(axis=(1, 2))
        apex = int(energy.argmax())
        curve = raw = np.zeros(len(self._grid), np.float32)
        if energy[apex] <= 0:
            return _Event(start, start, None, start, 0.0, 0.0, curve)
        for _ in range(4):
            strength = size[apex] * self._weight
            kept = np.maximum(strength - 0.3 * strength.max(), 0)
            pattern = moved[apex] / np.maximum(size[apex], 1e-6)[..., None] * (kept / kept.sum())[..., None]
            curve, raw = (np.tensordot(grid, pattern, 3).astype(np.float32) for grid in (self._smooth, self._grid))
            if int(curve[start:stop].argmax()) == apex:
                break
            apex = int(curve[start:stop].argmax())
        noise = float(_jitter(raw))
        onset, offset, end, peak = _bounds(curve[start:stop], apex, noise)
        offset = None if offset is None else start + offset
        return _Event(start + onset, start + apex, offset, start + end, peak, noise, curve)


def _bounds(curve: Field, apex: int, noise: float) -> tuple[int, int | None, int, float]:
    """Onset and offset around an apex, the end of the fall, and the height of the apex above the rest before it."""
    onset, rest, height = _foot(curve, apex, noise)
    gone = np.flatnonzero(curve[apex:] <= rest + max(_SHARE * height, noise))
    offset = apex + int(gone[0]) if len(gone) else None
    end = len(curve) - 1 - _foot(curve[::-1], len(curve) - 1 - apex, noise)[0]
    return onset, offset, end if offset is None else min(end, offset), height


def _foot(curve: Field, apex: int, noise: float) -> tuple[int, float, float]:
    """Where the rise to an apex begins, the rest there, and the height of the apex above it."""
    before = _smooth(curve[: apex + 1], 1.0)
    rest = float(before.min())
    # In a long clip the curve drifts with the head, so only the frames near the rise give the rest: as far before its
    # middle as twice the way from there to the apex.
    low = np.flatnonzero(curve[:apex] <= rest + (float(curve[apex]) - rest) / 2)
    middle = int(low[-1]) if len(low) else 0
    rest = float(before[max(0, math.floor(middle - _BEFORE * (apex - middle))) : middle + 1].min())
    height = float(curve[apex]) - rest
    bound = rest + max(_SHARE * height, noise)
    onset = apex
    while onset > 0 and curve[onset] > bound:
        onset -= 1
    return onset, rest, height


def _smooth(values: Field, sigma: float) -> Field:
    """Gaussian along the first axis; the ends are repeated."""
    if sigma <= 0 or len(values) < 2:
        return values
    radius = math.ceil(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    held = values[np.clip(np.arange(-radius, len(values) + radius), 0, len(values) - 1)]
    total = np.zeros(values.shape, np.float64)
    for i, weight in enumerate(kernel):
        total += weight * held[i : i + len(values)]
    return total.astype(np.float32)


def _sigma(length: int) -> float:
    """Frames to smooth over; few in short clips, where a movement may last two frames."""
    return min(2.0, max(0.4, length / 30))


def _jitter(values: Field) -> npt.NDArray[np.float64]:
    """Noise of each series along the first axis, from its second differences: robust standard deviation."""
    if len(values) < 4:
        return np.zeros(values.shape[1:], np.float64)
    second = values[2:].astype(np.float64) - 2 * values[1:-1] + values[:-2]
    return np.asarray(1.4826 * np.median(np.abs(second), axis=0) / math.sqrt(6))
