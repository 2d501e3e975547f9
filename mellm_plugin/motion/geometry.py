"""Lengths and places that the modules of this folder share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
"""Grey frames: uint8 `(H, W)`."""

Field = npt.NDArray[np.float32]
"""Flows: float32 `(H, W, 2)`, px, x to the right, y down; or one value for each pixel: float32 `(H, W)`."""


class Frames(Protocol):
    """Grey frames: an array, uint8 `(T, H, W)`, or a clip that decodes them when it is asked for them."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, which: int, /) -> Grey: ...
    @overload
    def __getitem__(self, which: slice, /) -> npt.NDArray[np.uint8]: ...


REFERENCE_SIDE = 224
"""Shorter side of the reference frame: settings and constants give lengths in its px, and they scale with the frame."""


def unit(shape: tuple[int, ...]) -> float:
    """Px of a frame of this height and width for one px of the reference frame."""
    return min(shape[:2]) / REFERENCE_SIDE


@lru_cache(maxsize=64)
def face_ellipse(height: int, width: int) -> npt.NDArray[np.bool_]:
    """A rough face that fills the frame: bool `(height, width)`, read-only by convention."""
    y, x = np.ogrid[:height, :width]
    across, down = (x - (width - 1) / 2) / (0.40 * width), (y - (height - 1) / 2) / (0.45 * height)
    inside: npt.NDArray[np.bool_] = across**2 + down**2 <= 1
    return inside


def targets(flow: Field) -> tuple[Field, Field]:
    """Where a flow leads from each pixel: x and y, float32 `(H, W)` each."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def upper_median(values: npt.NDArray[np.floating[Any]]) -> float:
    """The upper median of any array; faster than NumPy's median, which checks for NaN and averages two values."""
    middle = values.size // 2
    return float(np.partition(values, middle, axis=None)[middle])
