"""Scenes of a clip: where the picture changes to another one."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt


def find_cuts(frames: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """First frames of new scenes, ascending: the picture changes far more there than between other neighbours.

    `frames` are uint8 `(T, H, W)`, grey; a single odd one (black, torn) gives two cuts.
    """
    if len(frames) < 2:
        return ()
    # At 16 px a side noise averages out, and a face that moves by a few px changes little. Subtracting the mean keeps a
    # change of light from being a cut.
    small = np.stack([cv2.resize(f, (16, 16), interpolation=cv2.INTER_AREA) for f in frames]).astype(np.float32)
    deviation = small - small.mean(axis=(1, 2), keepdims=True)
    step = np.abs(np.diff(deviation, axis=0)).mean(axis=(1, 2))
    bound = min(max(8.0, 6 * float(np.median(step))), 30.0)
    return tuple(int(i) + 1 for i in np.flatnonzero(step > bound))


def scene(length: int, index: int, cuts: Iterable[int]) -> tuple[int, int]:
    """First frame of the scene of frame `index` and the first frame after it, in a clip of `length` frames."""
    cuts = list(cuts)
    return max((cut for cut in cuts if cut <= index), default=0), min((c for c in cuts if c > index), default=length)
