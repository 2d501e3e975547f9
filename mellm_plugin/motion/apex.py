"""A clip without labels to its onset and apex: by the motion that remains once the head's is removed.

Each frame is laid on the first one by the head motion found so far (a similarity); the flow that is left is measured at
a fixed small size, freed of the head's remainder and averaged over cells of the face. Laying frames on each other first
halves the error where the head moves. The strongest moment gives a pattern of motion, and the curve is how much of that
pattern each frame shows: a projection is linear, so noise averages out in it, where it adds up in a mean of magnitudes.

The band of the eyes is looked at apart: a blink is larger than any micro-expression. Masking the eyes, and spotting by
regions of the face, follows Liong et al., "Automatic apex frame spotting in micro-expression database" (ACPR 2015).
`method="difference"` is the plain baseline: the mean absolute difference to the first frame.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.errors import ImageError, SettingsError, near
from mellm_plugin.motion.head import fit_head
from mellm_plugin.motion.images import SMALLEST_SIDE
from mellm_plugin.motion.settings import DEFAULT, MotionSettings

METHODS: tuple[str, ...] = ("flow", "difference")
"""Ways to spot."""

WORKING_SIDE = 160
"""Shorter side, px, at which flow is measured here; larger frames are shrunk to it."""

REFERENCE_SIDE = 224
"""Shorter side, px, of the frame in whose px the curve and all lengths are given, as in `MotionSettings`."""

EVERY_FRAME = 160
"""Clips up to this length have each frame measured; longer ones every k-th, and each frame round onset and apex."""

_LONGEST_STEP = 5
_CELLS = 28  # along the shorter side: 8 px of the reference frame
_SHORT = 12  # frames: in shorter clips the second frame may be in the midst of the movement
_LEAST_PX = 0.2  # still faces stay below it, under a moving head, too; movements of 0.5 px leave 0.22 in the cells
_LEAST_LEVELS = 0.1  # the same for the plain difference
_LID_FACTOR = 1.4  # how much larger the motion in the band of the eyes must be to be the movement itself
_SHARE = 0.04  # of the peak above the rest: where the movement begins and ends
_BEFORE = 2.0  # how far before the middle of the rise its rest is looked for, in half rises
_FLOOR_PX, _KNEE_PX = 0.1, 0.8
_NOISE_FACTOR = 2.5

Curve = npt.NDArray[np.float32]
Grid = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Spotted:
    """What was found in a clip; indices count its frames from 0.

    Attributes:
        found: whether something moves; where not, `onset`, `apex` and `offset` are None and `reason` says why.
        onset: the last frame before the movement, for the motion map.
        apex: the frame of the largest movement.
        offset: the first frame after the apex at which the movement is gone; None where the clip ends before.
        curve: float32 `(T,)`: strength of the movement against the first frame of the stretch that was looked at, px of
            a frame of 224 px (`flow`) or grey levels (`difference`). NaN outside the stretch.
        noise: standard deviation of the curve from frame to frame, in its unit.
        cuts: first frames of new scenes; where there are any, only the longest stretch between them was looked at.
        at_the_eyes: the movement is mostly in the band of the eyes: a blink, or units 5, 7 and 41 to 46.
        method: one of `METHODS`.
        reason: what to know about the result, one sentence; empty where there is nothing to tell.
    """

    found: bool
    onset: int | None
    apex: int | None
    offset: int | None
    curve: Curve
    noise: float
    cuts: tuple[int, ...]
    at_the_eyes: bool
    method: str
    reason: str


def _smooth(values: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    """Gaussian along the first axis; the ends are held."""
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
    """Frames to smooth over: little in clips of few frames, where a movement may be two frames long."""
    return min(2.0, max(0.4, length / 30))


def _jitter(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Noise of each series along the first axis: its second differences hold little else. Robust standard deviation."""
    if len(values) < 4:
        return np.zeros(values.shape[1:], np.float64)
    second = values[2:].astype(np.float64) - 2 * values[1:-1] + values[:-2]
    return np.asarray(1.4826 * np.median(np.abs(second), axis=0) / math.sqrt(6))


def find_cuts(frames: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """First frames of new scenes: the picture changes there far more than it does between other neighbours.

    Args:
        frames: uint8 `(T, H, W)`, grey.

    Returns:
        indices, ascending; a single odd frame (black, torn) gives two.
    """
    if len(frames) < 2:
        return ()
    # 16 px a side: noise averages out, and a face that moves by a few px changes little. A change of light is no cut.
    small = np.stack([cv2.resize(f, (16, 16), interpolation=cv2.INTER_AREA) for f in frames]).astype(np.float32)
    deviation = small - small.mean(axis=(1, 2), keepdims=True)
    step = np.abs(np.diff(deviation, axis=0)).mean(axis=(1, 2))
    bound = min(max(8.0, 6 * float(np.median(step))), 30.0)
    return tuple(int(i) + 1 for i in np.flatnonzero(step > bound))


def _regions(height: int, width: int) -> tuple[Grid, Grid]:
    """Weights of the cells: the face without the band of the eyes, and that band; float32 `(height, width)`, 0 or 1."""
    y, x = np.mgrid[0:height, 0:width]
    y, x = (y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5
    face = (x / 0.36) ** 2 + (y / 0.43) ** 2 <= 1
    band = (np.abs(y + 0.07) < 0.075) & (np.abs(x) < 0.36)
    return (face & ~band).astype(np.float32), (face & band).astype(np.float32)


class _Tracker:
    """Flow of the face from the first frame to any other, on a grid of cells.

    Frames are asked for in ascending order as a rule: each is first laid on the reference by the head motion of the
    frame measured before the nearest one, so that only a small motion is left to be estimated.
    """

    def __init__(self, frames: npt.NDArray[np.uint8], settings: MotionSettings) -> None:
        self._frames = frames
        height, width = frames.shape[1:]
        shrink = max(1.0, min(height, width) / WORKING_SIDE)
        self._size = max(SMALLEST_SIDE, round(width / shrink)), max(SMALLEST_SIDE, round(height / shrink))
        self._unit = REFERENCE_SIDE / min(self._size)
        shorter = min(self._size)
        self._cells = max(8, round(_CELLS * self._size[0] / shorter)), max(8, round(_CELLS * self._size[1] / shorter))
        self._head = settings.head != "none"
        self._reference = self._small(0)
        self._poses: dict[int, tuple[complex, complex]] = {0: (1 + 0j, 0j)}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return self._cells[1], self._cells[0]

    def _small(self, index: int) -> npt.NDArray[np.uint8]:
        return np.asarray(cv2.resize(self._frames[index], self._size, interpolation=cv2.INTER_AREA), np.uint8)

    def measure(self, index: int) -> Grid:
        """The facial flow at a frame: float32 `(rows, columns, 2)`, px of the reference frame."""
        frame = self._small(index)
        pose = self._poses[min(self._poses, key=lambda known: abs(known - index))]
        flow, pose, moved = self._flow(frame, pose)
        if moved > 1:  # px: much for a fit to flow that was estimated across it
            flow, pose, moved = self._flow(frame, pose)
        if 0.7 < abs(pose[0]) < 1.4 and abs(pose[1]) < min(self._size) / 2:  # else this frame shows no such face
            self._poses[index] = pose
        cells = cv2.resize(flow, self._cells, interpolation=cv2.INTER_AREA)
        return np.asarray(cells * self._unit, np.float32)

    def _flow(
        self, frame: npt.NDArray[np.uint8], pose: tuple[complex, complex]
    ) -> tuple[Grid, tuple[complex, complex], float]:
        """Facial flow from the reference to a frame laid on it by a pose; the mended pose; by how many px."""
        turn, shift = pose  # a similarity about the centre: a complex number that turns and scales, and one that shifts
        width, height = self._size
        if self._head:
            centre = complex((width - 1) / 2, (height - 1) / 2)
            origin = shift + centre - turn * centre
            matrix = np.array([[turn.real, -turn.imag, origin.real], [turn.imag, turn.real, origin.imag]])
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            frame = np.asarray(
                cv2.warpAffine(frame, matrix, self._size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
            )
        flow = cv2.calcOpticalFlowFarneback(
            *(self._reference, frame, None),
            pyr_scale=0.5,
            levels=3,
            winsize=2 * round(0.034 * min(self._size)) + 1,
            iterations=2,
            poly_n=7,
            poly_sigma=1.5,
            flags=0,
        )
        if not self._head:
            return np.asarray(flow, np.float32), pose, 0.0
        left = fit_head(flow)
        pose = turn * complex(1 + left.a, left.b), turn * complex(left.tx, left.ty) + shift
        moved = abs(complex(left.tx, left.ty)) + abs(complex(left.a, left.b)) * max(self._size) / 2
        return np.asarray(flow - left.flow(height, width), np.float32), pose, moved


@dataclass(frozen=True)
class _Event:
    """The strongest movement of a region; frames count from the first one compared, lengths are px of 224."""

    onset: int
    apex: int
    offset: int | None
    peak: float
    noise: float
    curve: Curve


def _bounds(curve: Curve, apex: int, noise: float) -> tuple[int, int | None, float]:
    """Onset and offset about an apex, and its height above the rest before it."""
    before = _smooth(curve[: apex + 1], 1.0)
    rest = float(before.min())
    height = float(curve[apex]) - rest
    # In a long clip the curve wanders with the head, so the rest is that of the frames near the rise alone: as far
    # before its middle as twice the way from there to the apex.
    low = np.flatnonzero(curve[:apex] <= rest + height / 2)
    middle = int(low[-1]) if len(low) else 0
    rest = float(before[max(0, math.floor(middle - _BEFORE * (apex - middle))) : middle + 1].min())
    height = float(curve[apex]) - rest
    bound = rest + max(_SHARE * height, noise)
    onset = apex
    while onset > 0 and curve[onset] > bound:
        onset -= 1
    gone = np.flatnonzero(curve[apex:] <= bound)
    return onset, apex + int(gone[0]) if len(gone) else None, height


def _strongest(grid: Grid, step: int, region: Grid, allowed: npt.NDArray[np.bool_] | None = None) -> _Event:
    """The strongest movement within a region.

    Args:
        grid: float32 `(T, rows, columns, 2)`, px.
        step: every how many frames `grid` was measured rather than interpolated.
        region: float32 `(rows, columns)`, weights.
        allowed: bool `(T,)`, the frames that are searched for its beginning; all where None.
    """
    sigma = _sigma(len(grid))
    noise = _jitter(grid[::step]).max(axis=-1)
    smooth = _smooth(grid, sigma)
    left_noise = noise / math.sqrt(max(1.0, 2 * math.sqrt(math.pi) * sigma))
    # Cells without texture jitter more than others and are trusted less.
    usual = float(np.median(noise[region > 0])) + 0.02
    weight = region / (1 + (noise / usual) ** 2)
    size = np.linalg.norm(smooth, axis=-1)
    excess = np.maximum(size - (_FLOOR_PX + _NOISE_FACTOR * left_noise), 0)
    # Saturating, so that a wide movement counts for more than a single wild cell.
    energy = ((1 - np.exp(-excess / _KNEE_PX)) * weight).sum(axis=(1, 2))
    if allowed is not None:
        energy = np.where(allowed, energy, 0)
    apex = int(energy.argmax())
    if energy[apex] <= 0:
        return _Event(0, 0, None, 0.0, 0.0, np.zeros(len(grid), np.float32))
    curve = np.zeros(len(grid), np.float32)
    raw = curve
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


def _by_flow(frames: npt.NDArray[np.uint8], settings: MotionSettings) -> tuple[_Event, bool, int | None]:
    """The strongest movement of a stretch without cuts; whether it is at the eyes; the frame of a blink passed over."""
    length = len(frames)
    tracker = _Tracker(frames, settings)
    grid = np.zeros((length, *tracker.shape, 2), np.float32)
    known = np.zeros(length, bool)
    known[0] = True
    step = min(_LONGEST_STEP, math.ceil(length / EVERY_FRAME))
    face, eyes = _regions(*tracker.shape)

    def measure(wanted: set[int]) -> None:
        for index in sorted(wanted):
            if 0 <= index < length and not known[index]:
                # A little smoothing over cells, too: neighbours move together.
                grid[index] = cv2.GaussianBlur(tracker.measure(index), (0, 0), 0.7)
                known[index] = True
        if length >= _SHORT:
            # Against itself the first frame moves by exactly nothing, without the noise that it lends to all others.
            grid[0] = grid[np.flatnonzero(known)[1]]
        at = np.flatnonzero(known)
        for first, last in itertools.pairwise(at):
            for index in range(first + 1, last):
                share = np.float32((index - first) / (last - first))
                grid[index] = (1 - share) * grid[first] + share * grid[last]

    def strongest() -> tuple[_Event, bool, int | None]:
        of_face, of_eyes = _strongest(grid, step, face), _strongest(grid, step, eyes)
        if of_eyes.peak <= _LEAST_PX:
            return of_face, False, None
        if of_face.peak > _LEAST_PX:
            together = abs(of_eyes.apex - of_face.apex) <= 3
            if not together or of_eyes.peak <= _LID_FACTOR * of_face.peak:
                return of_face, False, None
        # What moves is round the eyes: a blink, unless nothing else moves while the lids are at rest.
        calm = of_eyes.curve < of_eyes.curve.max() - 0.7 * of_eyes.peak
        other = _strongest(grid, step, face, calm)
        if calm[other.apex] and other.peak > max(_LEAST_PX, 8 * other.noise):
            return other, False, of_eyes.apex
        return (of_face if of_face.peak > _LEAST_PX else of_eyes), True, None

    measure({*range(0, length, step), length - 1})
    event, at_the_eyes, blink = strongest()
    if step > 1:
        near_both = {i for middle in (event.onset, event.apex) for i in range(middle - 2 * step, middle + 2 * step + 1)}
        measure(near_both)
        event, at_the_eyes, blink = strongest()
    return event, at_the_eyes, blink


def _by_difference(frames: npt.NDArray[np.uint8]) -> _Event:
    """The largest mean absolute difference to the first frame, of a stretch without cuts; grey levels."""
    raw = np.array([cv2.norm(frames[0], f, cv2.NORM_L1) / f.size for f in frames], np.float32)
    if len(raw) >= _SHORT:
        raw[0] = raw[1]  # against itself a frame has no noise
    curve = _smooth(raw, _sigma(len(raw)))
    apex = int(curve.argmax())
    noise = float(_jitter(raw))
    onset, offset, peak = _bounds(curve, apex, noise)
    return _Event(onset, apex, offset, peak if peak > 4 * noise else 0.0, noise, curve)


def spot(frames: npt.NDArray[np.uint8], settings: MotionSettings = DEFAULT, method: str = "flow") -> Spotted:
    """Find onset, apex and offset of the strongest movement of a clip.

    Args:
        frames: uint8 `(T, H, W)`, grey, at least 2, cropped to the face with one box for all: the fit of the head
            follows a background that fills much of the frame.
        settings: head motion is left in where they say `none`, and else removed by a similarity; the rest of them is
            for maps. The flow has an estimator of its own here, chosen for speed.
        method: `"flow"`, or the plain baseline `"difference"`.

    Returns:
        what was found; a face that does not move is `found=False`, never a guess.

    Raises:
        ImageError: fewer than 2 frames, or no such array.
        SettingsError: no method has this name.
    """
    if method not in METHODS:
        raise SettingsError(f"no way to spot {method!r}; known: {', '.join(METHODS)}.{near(method, METHODS)}")
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 3:
        found = f"{frames.dtype} {frames.shape}" if isinstance(frames, np.ndarray) else type(frames).__name__
        raise ImageError(f"expected frames as a uint8 array (T, H, W), found {found}; read them with read_clip")
    if len(frames) < 2:
        raise ImageError(f"expected a clip of at least 2 frames, found {len(frames)}; give the whole clip")
    if min(frames.shape[1:]) < SMALLEST_SIDE:
        size = f"{frames.shape[2]}x{frames.shape[1]}"
        raise ImageError(f"expected frames of at least {SMALLEST_SIDE} px a side, found {size}")
    cuts = find_cuts(frames)
    edges = (0, *cuts, len(frames))
    start, stop = max(itertools.pairwise(edges), key=lambda pair: pair[1] - pair[0])
    curve = np.full(len(frames), np.nan, np.float32)
    if stop - start < 2:
        reason = "every frame shows another scene: this is no clip of a face"
        return Spotted(False, None, None, None, curve, 0.0, cuts, False, method, reason)
    if method == "flow":
        event, at_the_eyes, blink = _by_flow(frames[start:stop], settings)
    else:
        event, at_the_eyes, blink = _by_difference(frames[start:stop]), False, None
    curve[start:stop] = event.curve
    least, unit = (_LEAST_PX, "px of a frame of 224 px") if method == "flow" else (_LEAST_LEVELS, "grey levels")
    notes: list[str] = []
    if cuts:
        notes.append(f"the scene changes at frame {', '.join(map(str, cuts))}: looked at {start} to {stop - 1} only")
    if event.peak <= least or event.apex == event.onset:
        notes.append(f"nothing moves by more than {least:g} {unit}")
        return Spotted(False, None, None, None, curve, event.noise, cuts, False, method, "; ".join(notes))
    if stop - start < 4 and method == "flow":
        notes.append(f"{stop - start} frames are too few to tell motion from noise: look at the map")
    if blink is not None:
        notes.append(f"a larger movement at the eyes, at frame {start + blink}, was passed over as a blink")
    if at_the_eyes:
        notes.append("the movement is mostly at the eyes: it may be a blink")
    if start + event.apex == stop - 1:
        notes.append("the movement still grows in the last frame: the clip may end before the apex")
    return Spotted(
        found=True,
        onset=start + event.onset,
        apex=start + event.apex,
        offset=None if event.offset is None else start + event.offset,
        curve=curve,
        noise=event.noise,
        cuts=cuts,
        at_the_eyes=at_the_eyes,
        method=method,
        reason="; ".join(notes),
    )
