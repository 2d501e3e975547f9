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
import os
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.errors import ImageError, SettingsError, near
from mellm_plugin.motion.clip import OVERLAP, Clip, read_clip
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


def spot_clip(
    path: str | os.PathLike[str], settings: MotionSettings = DEFAULT, method: str = "flow", **reading: Any
) -> tuple[Clip, Spotted]:
    """Find the strongest movement of a clip of any length, while it is read in a stream.

    Long clips are examined in windows: a head drifts far over minutes, so each window has a first frame of its own, and
    `curve` is relative to it. `reading` are further arguments of `read_clip`. Indices count frames of the clip.

    Raises:
        ImageError: the clip cannot be read, or has a single frame.
        SettingsError: the method is unknown.
    """
    seen: list[tuple[int, Spotted]] = []
    clip = read_clip(
        path, watch=lambda number, frames: seen.append((number, spot(frames, settings, method, number))), **reading
    )
    first, best = max(seen, key=lambda window: _height(window[1], within=OVERLAP // 2 * (window is not seen[0])))
    curve = np.full(len(clip), np.nan, np.float32)
    for number, window in [*seen, (first, best)]:
        curve[number - clip.first :][: len(window.curve)] = window.curve
    back = first - clip.first
    onset, apex, offset = (None if at is None else at + back for at in (best.onset, best.apex, best.offset))
    return clip, replace(best, onset=onset, apex=apex, offset=offset, curve=curve, cuts=clip.cuts)


def _height(found: Spotted, within: int) -> float:
    """How strong a movement is, from its onset to its apex; -1 if there is none that begins `within` the window.

    A window may begin amid a movement, which then seems to begin there; the window before has the whole of it.
    """
    if found.onset is None or found.apex is None or found.onset < within:
        return -1.0
    return float(found.curve[found.apex] - found.curve[found.onset])


def spot(
    frames: npt.NDArray[np.uint8], settings: MotionSettings = DEFAULT, method: str = "flow", number: int = 0
) -> Spotted:
    """Find onset, apex and offset of the strongest movement of a clip.

    Args:
        frames: uint8 `(T, H, W)`, grey, at least 2, cropped to the face with one box for all: the head fit follows a
            background that fills much of the frame.
        settings: `head="none"` leaves the head motion in; otherwise a similarity is removed. The other settings affect
            maps only: the flow has its own estimator here, chosen for speed.
        method: `"flow"`, or the plain baseline `"difference"`.
        number: of the first frame, for `reason`.

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
        at = ", ".join(str(number + cut) for cut in cuts)
        notes.append(f"the scene changes at frame {at}: examined only {number + start} to {number + stop - 1}")
    if event.peak <= least or event.apex == event.onset:
        notes.append(f"nothing moves by more than {least:g} {unit}")
        return Spotted(False, None, None, None, curve, event.noise, cuts, False, method, "; ".join(notes))
    if stop - start < 4 and method == "flow":
        notes.append(f"{stop - start} frames are too few to tell motion from noise: look at the map")
    if blink is not None:
        notes.append(f"a larger movement at the eyes, at frame {number + start + blink}, was ignored as a blink")
    if at_the_eyes:
        notes.append("the movement is mostly at the eyes: it may be a blink")
    if start + event.apex == stop - 1:
        notes.append("the movement still grows in the last frame: the clip may end before the apex")
    offset = None if event.offset is None else start + event.offset
    onset, apex = start + event.onset, start + event.apex
    return Spotted(True, onset, apex, offset, curve, event.noise, cuts, at_the_eyes, method, "; ".join(notes))


class _Event(NamedTuple):
    """The strongest movement of a region; frames count from the start of the stretch, lengths are reference px."""

    onset: int
    apex: int
    offset: int | None
    peak: float
    noise: float
    curve: Field


def _by_flow(frames: npt.NDArray[np.uint8], settings: MotionSettings) -> tuple[_Event, bool, int | None]:
    """The strongest movement of a stretch without cuts; whether it is at the eyes; the frame of an ignored blink."""
    length = len(frames)
    tracker = Tracker(frames, settings)
    grid = np.zeros((length, *tracker.shape, 2), np.float32)
    known = np.zeros(length, bool)
    known[0] = True
    step = min(_LONGEST_STEP, math.ceil(length / _EVERY_FRAME))

    def measure(wanted: set[int]) -> None:
        for index in sorted(wanted):
            if 0 <= index < length and not known[index]:
                # A little smoothing over cells, too: neighbours move together.
                grid[index] = cv2.GaussianBlur(tracker.measure(index), (0, 0), 0.7)
                known[index] = True
        if length >= _SHORT:
            # Relative to itself the first frame has exactly no motion, without the noise that it adds to all others.
            grid[0] = grid[np.flatnonzero(known)[1]]
        for first, last in itertools.pairwise(np.flatnonzero(known)):
            for index in range(first + 1, last):
                share = np.float32((index - first) / (last - first))
                grid[index] = (1 - share) * grid[first] + share * grid[last]

    measure({*range(0, length, step), length - 1})
    found = _face_or_eyes(grid, step)
    if step > 1:
        around = (found[0].onset, found[0].apex)
        measure({index for middle in around for index in range(middle - 2 * step, middle + 2 * step + 1)})
        found = _face_or_eyes(grid, step)
    return found


def _by_difference(frames: npt.NDArray[np.uint8]) -> _Event:
    """The largest mean absolute difference to the first frame, in a stretch without cuts; grey levels."""
    raw = np.array([cv2.norm(frames[0], f, cv2.NORM_L1) / f.size for f in frames], np.float32)
    if len(raw) >= _SHORT:
        raw[0] = raw[1]  # relative to itself a frame has no noise
    curve = _smooth(raw, _sigma(len(raw)))
    apex = int(curve.argmax())
    noise = float(_jitter(raw))
    onset, offset, peak = _bounds(curve, apex, noise)
    return _Event(onset, apex, offset, peak if peak > 4 * noise else 0.0, noise, curve)


def _face_or_eyes(grid: Field, step: int) -> tuple[_Event, bool, int | None]:
    """As `_by_flow`: the movement of the face, unless the eyes move more and nothing else moves while they rest."""
    face, eyes = _regions(*grid.shape[1:3])
    of_face, of_eyes = _strongest(grid, step, face), _strongest(grid, step, eyes)
    if of_eyes.peak <= _LEAST_PX:
        return of_face, False, None
    if of_face.peak > _LEAST_PX:
        together = abs(of_eyes.apex - of_face.apex) <= 3
        if not together or of_eyes.peak <= _LID_FACTOR * of_face.peak:
            return of_face, False, None
    calm = of_eyes.curve < of_eyes.curve.max() - 0.7 * of_eyes.peak
    other = _strongest(grid, step, face, calm)
    if calm[other.apex] and other.peak > max(_LEAST_PX, 8 * other.noise):
        return other, False, of_eyes.apex
    return (of_face if of_face.peak > _LEAST_PX else of_eyes), True, None


def _regions(height: int, width: int) -> tuple[Field, Field]:
    """Weights of the cells: the face without the eyes, and the eyes; float32 `(height, width)`, 0 or 1."""
    y, x = np.mgrid[0:height, 0:width]
    y, x = (y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5
    face = (x / 0.36) ** 2 + (y / 0.43) ** 2 <= 1
    band = (np.abs(y + 0.07) < 0.075) & (np.abs(x) < 0.36)
    return (face & ~band).astype(np.float32), (face & band).astype(np.float32)


def _strongest(grid: Field, step: int, region: Field, allowed: npt.NDArray[np.bool_] | None = None) -> _Event:
    """The strongest movement within a region.

    Args:
        grid: float32 `(T, rows, columns, 2)`, px; every `step`-th frame was measured, the others interpolated.
        region: float32 `(rows, columns)`, weights.
        allowed: bool `(T,)`, the frames among which the search starts; None for all.
    """
    sigma = _sigma(len(grid))
    noise = _jitter(grid[::step]).max(axis=-1)
    smooth = _smooth(grid, sigma)
    left_noise = noise / math.sqrt(max(1.0, 2 * math.sqrt(math.pi) * sigma))
    # Cells without texture jitter more and get less weight.
    usual = float(np.median(noise[region > 0])) + 0.02
    weight = region / (1 + (noise / usual) ** 2)
    size = np.linalg.norm(smooth, axis=-1)
    excess = np.maximum(size - (_FLOOR_PX + _NOISE_FACTOR * left_noise), 0)
    # Saturating, so that a wide movement counts more than a single wild cell.
    energy = ((1 - np.exp(-excess / _KNEE_PX)) * weight).sum(axis=(1, 2))
    if allowed is not None:
        energy = np.where(allowed, energy, 0)
    apex = int(energy.argmax())
    curve = raw = np.zeros(len(grid), np.float32)
    if energy[apex] <= 0:
        return _Event(0, 0, None, 0.0, 0.0, curve)
    for _ in range(4):
        strength = size[apex] * weight
        kept = np.maximum(strength - 0.3 * strength.max(), 0)
        pattern = smooth[apex] / np.maximum(size[apex], 1e-6)[..., None] * (kept / kept.sum())[..., None]
        curve, raw = ((g * pattern).sum(axis=(1, 2, 3), dtype=np.float32) for g in (smooth, grid))
        if int(curve.argmax()) == apex:
            break
        apex = int(curve.argmax())
    jitter = float(_jitter(raw[::step]))
    onset, offset, peak = _bounds(curve, apex, jitter)
    return _Event(onset, apex, offset, peak, jitter, curve)


def _bounds(curve: Field, apex: int, noise: float) -> tuple[int, int | None, float]:
    """Onset and offset around an apex, and its height above the rest before it."""
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
    gone = np.flatnonzero(curve[apex:] <= bound)
    return onset, apex + int(gone[0]) if len(gone) else None, height


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
