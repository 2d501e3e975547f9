"""Onset and apex averaged with their neighbours in time: each frame has noise of its own, and the face hardly changes.

before, after = windows(onset=46, apex=86, fps=200)     the frames that show the same moment: 40..52 and 80..92
frame, used = average(middle, neighbours)               their mean, aligned to the middle one by the head's motion
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.errors import InputError
from mellm_plugin.motion.geometry import Frames, Grey
from mellm_plugin.motion.head import HeadMotion, fit_head
from mellm_plugin.motion.images import Pixels

DEFAULT_MS = 30.0
"""How far in time neighbours may be, ms: what a micro-expression changes within it is less than the noise."""

MOST_MS = 100.0
"""The most that may be asked for: half of a short micro-expression."""

_SHARE = 6  # of the rise and of the fall, the part of it that blurs neither: 1/6 changes 7 % of the amplitude
_MOST = 6  # frames on each side, the nearest ones; noise falls with the root of their number

_WORKING_SIDE = 160  # px; a misplaced neighbour blurs, so a tenth of a pixel is good enough
_STILL_PX = 0.2  # a head that moves by less needs no warping
_OTHER_PICTURE = 4.0  # grey levels at 16 px a side; measured: a blink .5 to 1.6, a torn frame from 15, another face 37

_BACK = {"flags": cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}


def check_ms(ms: float) -> None:
    """Refuse an unusable time.

    Raises:
        InputError: it is not within 0 (off) to `MOST_MS`.
    """
    if not 0 <= ms <= MOST_MS:
        raise InputError(f"expected 0 (off) to {MOST_MS:g} ms, found {ms:g}", where="--average")


def windows(onset: int, apex: int, fps: float | None, ms: float = DEFAULT_MS) -> tuple[range, range]:
    """Numbers of the frames to average with the onset and with the apex, themselves included; some may not exist.

    Before the onset nothing moves, so all frames within `ms` count. Towards the apex, and on both sides of it, they
    reach through a sixth of the rise at most: a fast rise is not smeared, and no frame belongs to both. Where the frame
    rate is unknown, or too low for a neighbour within `ms`, onset and apex stay alone.
    """
    reach = min(int(ms * (fps or 0) / 1000 + 1e-6), _MOST)
    inside = min(reach, (apex - onset) // _SHARE)
    return range(onset - reach, onset + inside + 1), range(apex - inside, apex + inside + 1)


def average(middle: Pixels, neighbours: Iterable[Pixels | None]) -> tuple[Pixels, list[bool]]:
    """The mean of a frame and its neighbours, each warped to where the head is in that frame.

    A neighbour of another size or depth is left out, and one that shows another picture: beyond a cut, black, torn.

    Args:
        middle: `(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16, cropped to the face.
        neighbours: frames of the same kind; None stands for one that cannot be read.

    Returns:
        the mean, of the kind of the middle frame; and for each neighbour whether it is in it.
    """
    total, used = middle.astype(np.float32), list[bool]()
    peak = max(int(middle.max()), 1)
    small = _small(middle, peak)
    for frame in neighbours:
        aligned = None
        if frame is not None and frame.shape == middle.shape and frame.dtype == middle.dtype:
            aligned = _aligned(frame, small, _small(frame, peak))
        used.append(aligned is not None)
        if aligned is not None:
            total += aligned
    mean = np.rint(total / (1 + sum(used)))
    return mean.astype(np.uint8) if middle.dtype == np.uint8 else mean.astype(np.uint16), used


def averaged(
    frames: Frames, onset: int, apex: int, fps: float | None, ms: float = DEFAULT_MS
) -> tuple[tuple[Grey, int], tuple[Grey, int]]:
    """Onset and apex of a clip, uint8 `(T, H, W)`, averaged with their neighbours; see `windows` and `average`.

    Returns:
        each as uint8 `(H, W)`, with the number of frames in it.
    """
    found = []
    for at, window in zip((onset, apex), windows(onset, apex, fps, ms), strict=True):
        first = max(0, window.start)
        near = frames[first : window.stop]
        mean, used = average(near[at - first], (frame for n, frame in enumerate(near, first) if n != at))
        found.append((np.asarray(mean, np.uint8), 1 + sum(used)))
    return found[0], found[1]


def _small(frame: Pixels, peak: int) -> Grey:
    """The frame in grey, at the size at which it is aligned; `peak` becomes white."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) if frame.ndim == 3 else frame
    shrink = max(1.0, min(grey.shape) / _WORKING_SIDE)
    size = round(grey.shape[1] / shrink), round(grey.shape[0] / shrink)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.convertScaleAbs(small, alpha=255 / peak), np.uint8)


def _aligned(frame: Pixels, small_middle: Grey, small: Grey) -> Pixels | None:
    """The frame as if the head were where it is in the middle one; None if it shows another picture."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(2)
    head = fit_head(np.asarray(dis.calc(small_middle, small, None), np.float32), turn=False)
    if _differ(small_middle, cv2.warpAffine(small, _matrix(head, small.shape), small.shape[::-1], **_BACK)):
        return None
    scale = frame.shape[0] / small.shape[0]
    moved = abs(complex(head.tx, head.ty)) + abs(complex(head.a, head.b)) * max(small.shape) / 2
    if scale * moved < _STILL_PX:
        return frame
    head = replace(head, tx=scale * head.tx, ty=scale * head.ty)
    aligned: Pixels = cv2.warpAffine(frame, _matrix(head, frame.shape), frame.shape[1::-1], **_BACK)
    return aligned


def _matrix(head: HeadMotion, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """The head's motion as the matrix that OpenCV warps by."""
    turn, centre = complex(1 + head.a, head.b), complex((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    origin = complex(head.tx, head.ty) + centre - turn * centre
    return np.array([[turn.real, -turn.imag, origin.real], [turn.imag, turn.real, origin.imag]])


def _differ(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Whether two aligned frames show different pictures; a change of light is no difference."""
    small = [cv2.resize(frame, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32) for frame in (one, other)]
    step = (small[0] - small[0].mean()) - (small[1] - small[1].mean())
    return float(np.abs(step).mean()) > _OTHER_PICTURE
