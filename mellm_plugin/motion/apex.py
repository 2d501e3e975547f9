"""Onset and apex of a clip without labels: the strongest motion that remains after the head's is removed.

`tracking.py` measures the flow of the face on a grid of cells. The strongest moment gives a pattern of motion, and the
curve is the share of that pattern in each frame: a projection is linear, so noise averages out in it, while it adds up
in a mean of magnitudes.

The eyes are handled separately: a blink is larger than any micro-expression. Masking the eyes, and spotting by regions
of the face, follows Liong et al., "Automatic apex frame spotting in micro-expression database" (ACPR 2015).
`method="difference"` is the plain baseline: the mean absolute difference to the first frame.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.errors import ImageError, SettingsError, near
from mellm_plugin.motion.geometry import Field
from mellm_plugin.motion.images import check_size
from mellm_plugin.motion.scenes import find_cuts
from mellm_plugin.motion.settings import DEFAULT, MotionSettings
from mellm_plugin.motion.tracking import Tracker

METHODS: tuple[str, ...] = ("flow", "difference")

_EVERY_FRAME = 160  # longer clips have every k-th frame measured, and each frame around onset and apex
_LONGEST_STEP = 5
_SHORT = 12  # frames; in shorter clips the second frame may be part of the movement
_LEAST_PX = 0.2  # still faces stay below it, also under a moving head; movements of 0.5 px leave 0.22 in the cells
_LEAST_LEVELS = 0.1  # the same for the plain difference
_LID_FACTOR = 1.4  # motion at the eyes counts as the movement itself if it is larger by this factor
_SHARE = 0.04  # of the peak above the rest: where the movement begins and ends
_BEFORE = 2.0  # how far before the middle of the rise the rest is searched, in half rises
_FLOOR_PX, _KNEE_PX = 0.1, 0.8
_NOISE_FACTOR = 2.5


@dataclass(frozen=True)
class Spotted:
    """The strongest movement of a clip; indices count frames from 0.

    Attributes:
        found: whether something moves; if not, `onset`, `apex` and `offset` are None and `reason` explains it.
        onset: the last frame before the movement, for the motion map.
        apex: the frame of the largest movement.
        offset: the first frame after the apex without the movement; None if the clip ends before.
        curve: float32 `(T,)`: strength of the movement relative to the first frame of the examined stretch, px of the
            reference frame (`flow`) or grey levels (`difference`). NaN outside the stretch.
        noise: standard deviation of the curve from frame to frame, in its unit.
        cuts: first frames of new scenes; if there are any, only the longest scene was examined.
        at_the_eyes: the movement is mostly at the eyes: a blink, or units 5, 7 and 41 to 46.
        method: one of `METHODS`.
        reason: remarks on the result; empty if there are none.
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


def spot(frames: npt.NDArray[np.uint8], settings: MotionSettings = DEFAULT, method: str = "flow") -> Spotted:
    """Find onset, apex and offset of the strongest movement of a clip.

    Args:
        frames: uint8 `(T, H, W)`, grey, at least 2, cropped to the face with one box for all: the head fit follows a
            background that fills much of the frame.
        settings: `head="none"` leaves the head motion in; otherwise a similarity is removed. The other settings affect
            maps only: the flow has its own estimator here, chosen for speed.
        method: `"flow"`, or the plain baseline `"difference"`.

    Returns:
        the movement; a face that does not move gives `found=False`, never a guess.

    Raises:
        ImageError: fewer than 2 frames, or no such array.
        SettingsError: the method is unknown.
    """
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
    if method == "flow":
        event, at_the_eyes, blink = _by_flow(frames[start:stop], settings)
    else:
        event, at_the_eyes, blink = _by_difference(frames[start:stop]), False, None
    curve[start:stop] = event.curve
    least, unit = (_LEAST_PX, "px of a frame of 224 px") if method == "flow" else (_LEAST_LEVELS, "grey levels")
    notes: list[str] = []
    if cuts:
        notes.append(f"the scene changes at frame {', '.join(map(str, cuts))}: examined only {start} to {stop - 1}")
    if event.peak <= least or event.apex == event.onset:
        notes.append(f"nothing moves by more than {least:g} {unit}")
        return Spotted(False, None, None, None, curve, event.noise, cuts, False, method, "; ".join(notes))
    if stop - start < 4 and method == "flow":
        notes.append(f"{stop - start} frames are too few to tell motion from noise: look at the map")
    if blink is not None:
        notes.append(f"a larger movement at the eyes, at frame {start + blink}, was ignored as a blink")
    if at_the_eyes:
        notes.append("the movement is mostly at the eyes: it may be a blink")
    if start + event.apex == stop - 1:
        notes.append("the movement still grows in the last frame: the clip may end before the apex")
    offset = None if event.offset is None else start + event.offset
    onset, apex = start + event.onset, start + event.apex
    return Spotted(True, onset, apex, offset, curve, event.noise, cuts, at_the_eyes, method, "; ".join(notes))


class _Event(NamedTuple):
    """One movement of a region; frames count from the start of the examined frames, lengths are reference px."""

    onset: int
    apex: int
    offset: int | None
    end: int  # the frame after which the next movement may begin
    peak: float
    curve: Field  # share of its pattern in every frame, float32 `(T,)`


def _by_flow(
    frames: npt.NDArray[np.uint8], settings: MotionSettings, eyes: Eyes | None
) -> tuple[list[_Event], list[_Event]]:
    """The movements of the face and those at the eyes alone, of frames without cuts."""
    tracker = Tracker(frames[0], settings)
    grid = np.stack([tracker.measure(frame) for frame in frames])
    if len(grid) >= _SHORT:
        grid[0] = grid[1]  # relative to itself the first frame has exactly no motion, without the noise of all others
    face = face_ellipse(*tracker.shape)
    if eyes is None:
        return _Motion(grid, face).movements(0, len(grid)), []
    lids, around = eyes.cells(tracker.shape, frames.shape[1:])
    closed = [e for e in _Motion(grid, lids).movements(0, len(grid)) if _at(grid, e, lids, face & ~lids)]
    still = grid.copy()
    for event in closed:  # the flow smears a blink over the skin around: interpolate that skin over the time of the blink
        first, last = event.onset, event.end
        share = np.linspace(0, 1, last - first + 1, dtype=np.float32)[:, None, None]
        still[first : last + 1, around] = (1 - share) * still[first, around] + share * still[last, around]
    return _Motion(still, face & ~lids).movements(0, len(grid)), closed


def _at(grid: Field, event: _Event, lids: Mask, rest: Mask) -> bool:
    """Whether the skin of `lids` moves clearly more than the rest of the face."""
    moved = np.linalg.norm(grid[event.apex] - grid[event.onset], axis=-1)
    inside, outside = (float(np.sort(moved[cells])[-_FEW:].mean()) for cells in (lids, rest))
    return inside > _LID_FACTOR * outside


class _Motion:
    """The motion of the cells of a region, and how far to trust it.

    Args:
        grid: float32 `(T, rows, columns, 2)`, px.
        region: bool `(rows, columns)`.
    """

    def __init__(self, grid: Field, region: Mask) -> None:
        self._grid, sigma = grid, _sigma(len(grid))
        self._smooth = _smooth(grid, sigma)
        noise = _jitter(grid).max(axis=-1)
        left = noise / math.sqrt(max(1.0, 2 * math.sqrt(math.pi) * sigma))
        # What most cells do slowly is no expression: errors of the head's motion, of light and of coding.
        middle = np.median(self._smooth, axis=0)
        sway = np.sqrt(np.median(np.square(self._smooth - middle).sum(axis=-1), axis=0))
        self.sway = float(np.median(sway[region]))
        self._floor = _FLOOR_PX + _NOISE_FACTOR * left
        usual = float(np.median(noise[region])) + 0.02
        self._weight = region / (1 + (noise / usual) ** 2)  # cells without texture jitter more

    def movements(self, start: int, stop: int) -> list[_Event]:
        """The movements between two frames, in order of time: the strongest, and those before and after it."""
        if stop - start < 2:
            return []
        found = self._strongest(start, stop)
        if found is None:
            return []
        return [*self.movements(start, found.onset + 1), found, *self.movements(found.end, stop)]

    def _strongest(self, start: int, stop: int) -> _Event | None:
        moved = self._smooth[start:stop] - self._smooth[start]
        size = np.linalg.norm(moved, axis=-1)
        # Saturating, so that a wide movement counts more than a single wild cell.
        energy = (-np.expm1(-np.maximum(size - self._floor, 0) / _KNEE_PX) * self._weight).sum(axis=(1, 2))
        apex = int(energy.argmax())
        if energy[apex] <= 0:
            return None
        for _ in range(4):
            strength = size[apex] * self._weight
            kept = np.maximum(strength - 0.3 * strength.max(), 0)
            pattern = moved[apex] / np.maximum(size[apex], 1e-6)[..., None] * (kept / kept.sum())[..., None]
            curve, raw = (np.tensordot(grid, pattern, 3).astype(np.float32) for grid in (self._smooth, self._grid))
            if int(curve[start:stop].argmax()) == apex:
                break
            apex = int(curve[start:stop].argmax())
        jitter = float(_jitter(raw))
        onset, offset, end, peak = _bounds(curve[start:stop], apex, jitter)
        if peak <= max(_LEAST_PX, _SWAYS * self.sway, _JITTERS * jitter) or onset == apex:
            return None
        return _Event(start + onset, start + apex, None if offset is None else start + offset, start + end, peak, curve)


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
