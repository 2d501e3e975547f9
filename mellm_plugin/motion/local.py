"""Small motion about the head's: windowed least squares with a prior that most of the skin does not move.

A coarse dense flow gives the head's motion. The remaining motion is small, so brightness constancy is linear in it,
and least squares over windows (Lucas and Kanade 1981) about the head's motion use every pixel of a window: they show a
third of a pixel under noise that hides it from patch matching. Slow changes over the frame are light, not motion.

Weak motion and noise look the same at one pixel, but an expression moves few regions, each as a whole. So iterative
reweighting (Daubechies et al. 2010) draws the last solution towards the head's motion: a window whose neighbourhood
hardly moves is held still, one in a moving region is left free. The prior also shrinks small motion, so it only
selects: what it leaves moving is shown at the size that the pictures alone give.

A head that turns out of the plane leaves motion wherever its depth is not the one fitted. A motion along the turn
counts only as far as it exceeds what the depth of heads can explain.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from mellm_plugin.motion.geometry import Field, Grey, face_ellipse, targets, unit, upper_median
from mellm_plugin.motion.head import HeadMotion, fit_head

# Found by a search on drawn faces and a photographed one (docs/log.md). Lengths are px of the reference frame; the
# coarse step, at half the size, takes windows of the same number of its own px, so twice as large.
_LIGHTS = (8.0, 8.0), (40.0, 3.0), (3.0, 40.0)  # differences that vary more slowly across and down are light
_WINDOW, _NEIGHBOURHOOD, _LARGE = 3.0, 6.0, 3.0
_FINE_STEPS, _REWEIGHTINGS = 2, 3
_RIDGE = 0.1  # holds still what has no texture, in units of the noise variance, as the next
_STILLNESS = 0.06  # weight of the prior
_STILL_PX = 0.03
_TRUST = 1.0  # texture at which the head's fit trusts a motion by half, in units of the noise variance
_UNSURE, _UNSURE_WINDOW = 0.5, 2.0  # share of the usual difference of depth that a motion has to exceed
_SHOWN_PX, _SHOWN_WINDOW = 0.05, 2.0  # motion, by the prior, that is shown by half

_STILL_SHARE, _WHITE = 0.3, 0.0082  # of the face, which no expression moves; its misfit under white noise
_CORRELATED = 1.1  # power: such errors are alike beyond a window, too

_SHARP_BLUR = 1.0  # before second derivatives, frame px: less would follow noise
_SHARP_LEAST, _SHARP_MOST = 0.25, 3.0  # variances of a blur that is undone, frame px squared
_SHARP_MISSED = 1.2  # second derivatives see the blur of fine detail as less than it is
_PIXEL = 0.1  # variance that keeps a thin kernel from falling between pixels

_LEAST_UNIT = 0.6  # smaller frames would leave too few pixels in a window

_SECOND, _CENTRAL = np.array([1, -2, 1], np.float32), np.array([-0.5, 0, 0.5], np.float32)
_DERIVATIVE = np.array([1, -8, 0, 8, -1], np.float32) / 12
_ONE = np.ones(1, np.float32)


def _blur(image: Field, sigma: float | tuple[float, float]) -> Field:
    across, down = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), across, sigmaY=down), np.float32)


def _resize(image: Field, shape: tuple[int, ...], interpolation: int = cv2.INTER_LINEAR) -> Field:
    return np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=interpolation), np.float32)


def _half(image: Field) -> Field:
    return _resize(image, (image.shape[0] // 2, image.shape[1] // 2), cv2.INTER_AREA)


def _light(left: Field, seen: Field, px: float) -> Field:
    """The part of a brightness difference that is light, from pixels visible in both frames.

    It varies slowly over the frame, or makes bands along rows or columns, as lamps do in frames that are read line by
    line.
    """
    shape = max(1, left.shape[0] // 4), max(1, left.shape[1] // 4)
    rest = _resize(left * seen, shape, cv2.INTER_AREA)
    weight = None if seen.all() else _resize(seen, shape, cv2.INTER_AREA)
    light = np.zeros_like(rest)
    for across, down in _LIGHTS:
        sigma = across * px / 4, down * px / 4
        part = _blur(rest, sigma)
        if weight is not None:
            part /= np.maximum(_blur(weight, sigma), np.float32(1e-3))
        light += part
        rest -= part if weight is None else part * weight
    return _resize(light, left.shape)


class _Equations(NamedTuple):
    """Normal equations of every window, at half the resolution of the frames: float32 `(H/2, W/2)`."""

    xx: Field
    xy: Field
    yy: Field
    x: Field
    y: Field
    noise: np.float32  # variance of the brightness that the motion leaves unexplained, grey levels squared

    def solve(self, prior: Field | float = 0.0) -> Field:
        """The motion: float32 `(H/2, W/2, 2)`; `prior` draws it to zero, in units of the noise."""
        ridge = (_RIDGE + prior) * self.noise + 1e-3
        xx, yy = self.xx + ridge, self.yy + ridge
        scale = 1 / (xx * yy - self.xy * self.xy)
        solved = np.dstack([(yy * self.x - self.xy * self.y) * scale, (xx * self.y - self.xy * self.x) * scale])
        return np.asarray(solved, np.float32)

    def trust(self) -> Field:
        """How far texture, not the ridge, decides the solution: float32 `(H/2, W/2)`, 0 to 1."""
        middle, apart = (self.xx + self.yy) / 2, np.hypot((self.xx - self.yy) / 2, self.xy)
        least = np.maximum(middle - apart, 0)
        return np.asarray(least / (least + _TRUST * self.noise + 1e-3), np.float32)

    def beyond(self, flow: Field) -> _Equations:
        """The equations for the motion beyond `flow`."""
        dx, dy = flow[..., 0], flow[..., 1]
        x, y = self.x - self.xx * dx - self.xy * dy, self.y - self.xy * dx - self.yy * dy
        return self._replace(x=x, y=y)


def _linearise(onset: Field, apex: Field, head: Field, beyond: Field, px: float) -> _Equations:
    """The equations for the motion beyond the head's, at its current estimate; `px` is the unit of lengths."""
    height, width = onset.shape
    x, y = targets(head + beyond)
    warped = cv2.remap(apex, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    middle = 0.5 * (onset + warped)
    dx, dy = cv2.sepFilter2D(middle, -1, _DERIVATIVE, _ONE), cv2.sepFilter2D(middle, -1, _ONE, _DERIVATIVE)
    # Pixels that left the frame carry no information.
    seen = ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)).astype(np.float32)
    left = warped - onset
    left -= _light(left, seen, px)
    noise = (1.4826 * upper_median(np.abs(left[::3, ::3]))) ** 2
    dx, dy = dx * seen, dy * seen
    target = dx * beyond[..., 0] + dy * beyond[..., 1] - left
    products = (dx * dx, dx * dy, dy * dy, dx * target, dy * target)
    xx, xy, yy, along_x, along_y = (_blur(_half(product), _WINDOW * px / 2) for product in products)
    return _Equations(xx, xy, yy, along_x, along_y, np.float32(noise))


class Local(NamedTuple):
    """Flow from one frame to another; float32 `(H, W, 2)`, px at the pixels of the first."""

    head: HeadMotion
    carried: Field  # by the head
    facial: Field  # beyond it
    shown: Field  # the share of the motion beyond it that the prior leaves, `(H/2, W/2)`, 0 to 1
    excess: float  # how much more still skin seems to move than under white noise: factor of variance, at least 1
    error: float  # by how much most of the still skin seems to move at least, px

    @property
    def flow(self) -> Field:
        """Head and face together."""
        return self.carried + self.facial


def local(onset: Grey, apex: Grey) -> Local:
    """Flow from onset to apex. The frames are cropped to the face and have at least 32 px a side."""
    return _solved(*_prepared(onset, apex))


def local_both(onset: Grey, apex: Grey) -> tuple[Local, Field]:
    """As `local`, and a rough flow from apex to onset, at apex pixels: enough to check the other."""
    first, last, head, start = _prepared(onset, apex)
    forward = _solved(first, last, head, start)
    away = _inverse(forward.carried)
    solution, _ = _solution(last, first, away, -start, steps=1)
    return forward, away + _resize(solution * forward.shown[..., None], first.shape)


def _inverse(flow: Field) -> Field:
    """The flow back, at the pixels where a smooth flow leads."""
    back = -flow
    for _ in range(2):
        back = -cv2.remap(flow, *targets(back), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(back, np.float32)


def _unit(shape: tuple[int, ...]) -> float:
    return max(unit(shape), _LEAST_UNIT)


def _prepared(onset: Grey, apex: Grey) -> tuple[Field, Field, HeadMotion, Field]:
    """Both frames in the same light, the head's motion, and, at half the size, a start for large motion beyond it."""
    px, half = _unit(onset.shape), np.float32(0.5)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(2)
    # It rejects a view into a larger frame.
    coarse = np.asarray(dis.calc(np.ascontiguousarray(onset), np.ascontiguousarray(apex), None), np.float32)
    head = fit_head(coarse)
    away = head.flow(*onset.shape)
    first, last = onset.astype(np.float32), apex.astype(np.float32)
    last *= np.float32(_gain(first, last, away))
    first, last = _sharp_alike(first, last, away)
    start = _half(_blur(coarse - away, 2 * px)) * half
    # Only a large motion needs a start; without texture, errors of the coarse flow would stay.
    start *= np.linalg.norm(start, axis=-1, keepdims=True) > half * _LARGE * px
    return first, last, head, start


def _solution(
    first: Field, last: Field, away: Field, start: Field, steps: int = _FINE_STEPS
) -> tuple[Field, _Equations]:
    """The motion beyond the head's `away`, `(H/2, W/2, 2)`, px of the whole frame, and its equations."""
    shape, small = first.shape, start.shape
    px = _unit(shape)
    small_first, small_last = (_half(_blur(frame, 0.7)) for frame in (first, last))
    small_away = _resize(away, small) * np.float32(0.5)
    beyond = _resize(_linearise(small_first, small_last, small_away, start, px).solve(), small)
    solution = beyond * np.float32(2)
    for _ in range(steps):
        equations = _linearise(first, last, away, _resize(solution, shape), px)
        solution = equations.solve()
    return solution, equations


def _solved(first: Field, last: Field, head: HeadMotion, start: Field) -> Local:
    """The flow from one frame to another, from a first fit of the head's motion."""
    shape, half = first.shape, np.float32(0.5)
    px, away = _unit(shape), head.flow(*shape)
    solution, equations = _solution(first, last, away, start)
    # Fit the head again, to the whole motion, so that the prior pulls towards still skin.
    carried = _resize(away, solution.shape)
    again = fit_head((carried + solution) * half, trust=equations.trust(), start=_scaled(head, 0.5))
    head = _scaled(again, 2)
    more = again.flow(*solution.shape[:2]) * np.float32(2) - carried
    equations, solution = equations.beyond(more), solution - more
    away = away + _resize(more, shape)
    excess, error = _excess(equations, solution)
    stillness = _STILLNESS * excess**_CORRELATED
    for _ in range(_REWEIGHTINGS):
        moves = _blur(_energy(solution, head, px, 2), _NEIGHBOURHOOD * px / 2)
        solution = equations.solve(stillness / (moves + (_STILL_PX * px) ** 2))
    # The prior shrinks what it selects, so it only selects.
    moves = _blur(_energy(solution, head, px, 4), _SHOWN_WINDOW * px / 2)
    shown = np.asarray(1 / (1 + ((_SHOWN_PX * px) ** 2 * np.sqrt(excess) / (moves + 1e-9)) ** 2), np.float32)
    return Local(head, away, _resize(equations.solve() * shown[..., None], shape), shown, excess, error)


def _excess(equations: _Equations, beyond: Field) -> tuple[float, float]:
    """How far still skin seems to move beyond the head: as variance for that of white noise, and in px.

    White noise averages out in a window. Errors of a codec, which fill blocks, and of a head's motion do not.
    """
    dx, dy = beyond[..., 0], beyond[..., 1]
    misfit = equations.xx * dx * dx + 2 * equations.xy * dx * dy + equations.yy * dy * dy
    still = int(_STILL_SHARE * np.count_nonzero(inside := face_ellipse(*misfit.shape)))
    calm, px = (np.partition(values[inside], still)[still] for values in (misfit, np.hypot(dx, dy)))
    return max(float(calm / (_WHITE * equations.noise + 1e-3)), 1.0), float(px)


def _scaled(head: HeadMotion, factor: float) -> HeadMotion:
    """The same motion in frames of another size."""
    return replace(head, tx=head.tx * factor, ty=head.ty * factor)


def _energy(beyond: Field, head: HeadMotion, px: float, power: int) -> Field:
    """Square of the motion beyond the head's, `(H/2, W/2)`, px squared.

    Where the depth of the face may explain it, it counts for less: by a power of the share that depth cannot explain.
    """
    square = beyond[..., 0] ** 2 + beyond[..., 1] ** 2
    if head.along is None:
        return np.asarray(square)
    depth = (2 * _UNSURE * head.unsure(*beyond.shape[:2])) ** 2 + np.float32(1e-9)
    part = (beyond @ head.along) ** 2
    rest, part = (_blur(one, _UNSURE_WINDOW * px / 2) for one in (square - part, part))
    sure = (rest + part / (1 + (depth / (part + 1e-9)) ** 2)) / (rest + part + 1e-9)
    return np.asarray(sure**power * square)


def _gain(first: Field, last: Field, head: Field) -> float:
    """The factor for the last frame that gives the face the same contrast in both frames."""
    here, there = (np.abs(quarter - _blur(quarter, 2)) for quarter in (_half(_half(first)), _half(_half(last))))
    height, width = here.shape
    x, y = targets(_resize(head, here.shape) * np.float32(0.25))
    seen = face_ellipse(height, width) & (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    if not seen.any():
        return 1.0
    there = np.asarray(cv2.remap(there, x, y, cv2.INTER_LINEAR), np.float32)
    return max(float(here[seen].mean()), 1e-3) / max(float(there[seen].mean()), 1e-3)


def _sharp_alike(first: Field, last: Field, head: Field) -> tuple[Field, Field]:
    """Both frames as blurred as the other, in each direction: a difference of sharpness would be motion at every edge.

    A blur with covariance `c` adds `c/2` times the second derivatives, and least squares over the face find it.
    """
    height, width = first.shape
    middle = np.s_[height // 8 : -height // 8, width // 8 : -width // 8]
    x, y = (np.ascontiguousarray(at[middle]) for at in targets(head))
    here, back = first[middle], cv2.remap(last, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    both, left = _blur(here + back, _SHARP_BLUR), _blur(back - here, _SHARP_BLUR)
    target = (left - cv2.blur(left, (9, 9)))[::2, ::2].ravel()
    kernels = (_SECOND, _ONE), (_CENTRAL, 2 * _CENTRAL), (_ONE, _SECOND)
    terms = np.stack([cv2.sepFilter2D(both, -1, *pair)[::2, ::2].ravel() for pair in kernels]) / 4
    weighted, found = terms, np.zeros(3)
    for _ in range(2):  # the second without what moves by itself
        found = np.linalg.solve(weighted @ terms.T + 1e-3 * np.eye(3, dtype=np.float32), weighted @ target)
        residual = target - found @ terms
        scale = (3 * upper_median(np.abs(residual))) ** 2 + 1e-3
        weighted = terms * (scale / (scale + residual * residual))
    sizes, ways = np.linalg.eigh([[found[0], found[1]], [found[1], found[2]]])
    if np.abs(sizes).max() < _SHARP_LEAST:
        return first, last
    first, last = _blurred(first, sizes, ways), _blurred(last, -sizes, ways)
    return first, last * np.float32(_gain(first, last, head))


def _blurred(frame: Field, sizes: Field, ways: Field) -> Field:
    """A frame blurred by a Gaussian with these variances along these ways; nothing where a variance is small."""
    sizes = np.where(sizes > _SHARP_LEAST, np.minimum(_SHARP_MISSED * sizes, _SHARP_MOST), 0)
    if not sizes.any():
        return frame
    reach = int(np.ceil(3 * np.sqrt(sizes.max())))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along = [(x * ways[0, i] + y * ways[1, i]) ** 2 / (sizes[i] + _PIXEL) for i in (0, 1)]
    kernel = np.exp(-(along[0] + along[1]) / 2)
    return np.asarray(cv2.filter2D(frame, -1, kernel / kernel.sum()), np.float32)
