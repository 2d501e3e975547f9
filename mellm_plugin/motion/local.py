"""Small motion about the head's: windowed least squares with a prior that most of the skin does not move.

A coarse dense flow gives the head's similarity. The remaining motion is small, so brightness constancy is linear in it,
and least squares over windows (Lucas and Kanade 1981) about the head's motion use every pixel of a window: they show a
third of a pixel under noise that hides it from patch matching. Slow changes over the frame are light, not motion.

Weak motion and noise look the same at one pixel, but an expression moves few regions, each as a whole. So iterative
reweighting (Daubechies et al. 2010) draws the last solution towards the head's motion: a window whose neighbourhood
hardly moves is held still, one in a moving region is left free.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from mellm_plugin.motion.geometry import Field, Grey, face_ellipse, targets, unit, upper_median
from mellm_plugin.motion.head import HeadMotion, fit_head

# Found by a search on drawn faces and a photographed one (docs/log.md). Lengths are px of the reference frame; the
# coarse step, at half the size, takes windows of the same number of its own px, so twice as large.
_LIGHT = 8.0  # brightness differences that vary more slowly are light
_WINDOW, _NEIGHBOURHOOD, _LARGE = 3.0, 6.0, 3.0
_FINE_STEPS, _REWEIGHTINGS = 2, 3
_RIDGE = 0.1  # holds still what has no texture, in units of the noise variance, as the next
_STILLNESS = 0.06  # weight of the prior
_STILL_PX = 0.03

_LEAST_UNIT = 0.6  # smaller frames would leave too few pixels in a window

_DERIVATIVE = np.array([1, -8, 0, 8, -1], np.float32) / 12
_ONE = np.ones(1, np.float32)


def _blur(image: Field, sigma: float) -> Field:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def _resize(image: Field, shape: tuple[int, ...], interpolation: int = cv2.INTER_LINEAR) -> Field:
    return np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=interpolation), np.float32)


def _half(image: Field) -> Field:
    return _resize(image, (image.shape[0] // 2, image.shape[1] // 2), cv2.INTER_AREA)


def _light(left: Field, seen: Field, sigma: float) -> Field:
    """The part of a brightness difference that varies slowly over the frame, from pixels visible in both frames."""
    shape = max(1, left.shape[0] // 4), max(1, left.shape[1] // 4)
    total = _blur(_resize(left * seen, shape, cv2.INTER_AREA), sigma / 4)
    if not seen.all():
        weight = _blur(_resize(seen, shape, cv2.INTER_AREA), sigma / 4)
        total /= np.maximum(weight, np.float32(1e-3))
    return _resize(total, left.shape)


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
    left -= _light(left, seen, _LIGHT * px)
    noise = (1.4826 * upper_median(np.abs(left[::3, ::3]))) ** 2
    dx, dy = dx * seen, dy * seen
    target = dx * beyond[..., 0] + dy * beyond[..., 1] - left
    products = (dx * dx, dx * dy, dy * dy, dx * target, dy * target)
    xx, xy, yy, along_x, along_y = (_blur(_half(product), _WINDOW * px / 2) for product in products)
    return _Equations(xx, xy, yy, along_x, along_y, np.float32(noise))


def local(onset: Grey, apex: Grey) -> Field:
    """Flow from onset to apex, px at onset pixels: the head's similarity, and the motion of the face beyond it.

    The frames are cropped to the face and have at least 32 px a side.
    """
    return _solved(*_prepared(onset, apex))


def local_both(onset: Grey, apex: Grey) -> tuple[Field, Field]:
    """As `local`, and the flow from apex to onset at apex pixels, with one fit of the head for both."""
    first, last, head, start = _prepared(onset, apex)
    # The backward flow is used only as a confidence check, so a rougher solution is enough.
    return _solved(first, last, head, start), _solved(last, first, head.inverse(), -start, fine_steps=1)


def _unit(shape: tuple[int, ...]) -> float:
    return max(unit(shape), _LEAST_UNIT)


def _prepared(onset: Grey, apex: Grey) -> tuple[Field, Field, HeadMotion, Field]:
    """Both frames in the same light, the head's motion, and, at half the size, a start for large motion beyond it."""
    px, half = _unit(onset.shape), np.float32(0.5)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(2)
    coarse = np.asarray(dis.calc(onset, apex, None), np.float32)
    head = fit_head(coarse)
    away = head.flow(*onset.shape)
    first, last = onset.astype(np.float32), apex.astype(np.float32)
    last *= np.float32(_gain(first, last, away))
    start = _half(_blur(coarse - away, 2 * px)) * half
    # Only a large motion needs a start; without texture, errors of the coarse flow would stay.
    start *= np.linalg.norm(start, axis=-1, keepdims=True) > half * _LARGE * px
    return first, last, head, start


def _solved(first: Field, last: Field, head: HeadMotion, start: Field, fine_steps: int = _FINE_STEPS) -> Field:
    """The flow from one frame to another, about the head's motion."""
    shape, small = first.shape, start.shape
    px, away = _unit(shape), head.flow(*shape)
    small_first, small_last = (_half(_blur(frame, 0.7)) for frame in (first, last))
    small_away = _resize(away, small) * np.float32(0.5)
    beyond = _resize(_linearise(small_first, small_last, small_away, start, px).solve(), small)
    beyond = _resize(beyond, shape) * np.float32(2)
    for _ in range(fine_steps):
        equations = _linearise(first, last, away, beyond, px)
        solution = equations.solve()
        beyond = _resize(solution, shape)
    # Fit the head again to the motion found beyond it, so that the prior pulls towards still skin.
    rest = fit_head(solution).flow(*solution.shape[:2])
    equations, solution = equations.beyond(rest), solution - rest
    for _ in range(_REWEIGHTINGS):
        moves = _blur(solution[..., 0] ** 2 + solution[..., 1] ** 2, _NEIGHBOURHOOD * px / 2)
        solution = equations.solve(_STILLNESS / (moves + (_STILL_PX * px) ** 2))
    return away + _resize(rest + solution, shape)


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
