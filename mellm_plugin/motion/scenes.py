"""Scenes of a clip: where the picture changes to another one."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt


class Cuts:
    """Finds cuts in a stream of grey frames: the picture changes far more there than between other neighbours."""

    def __init__(self) -> None:
        self._last: npt.NDArray[np.float32] | None = None
        self._steps = array("f")

    def add(self, frame: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> None:
        """See the next frame, `(H, W)`, grey; all frames have one depth."""
        # At 16 px a side noise averages out, and a face that moves by a few px changes little. Subtracting the mean
        # keeps a change of light from being a cut.
        small = cv2.resize(frame, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        deviation = small - small.mean()
        if self._last is not None:
            self._steps.append(np.abs(deviation - self._last).mean())
        self._last = deviation

    def found(self, levels: float = 1.0) -> tuple[int, ...]:
        """First frames of new scenes, ascending; `levels` are those of an 8-bit frame for one of these frames."""
        if not self._steps:
            return ()
        step = levels * np.asarray(self._steps, np.float32)
        bound = min(max(8.0, 6 * float(np.median(step))), 30.0)
        return tuple(int(i) + 1 for i in np.flatnonzero(step > bound))


def find_cuts(frames: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """First frames of new scenes, ascending, in uint8 `(T, H, W)`, grey; a single odd one (black, torn) gives two."""
    cuts = Cuts()
    for frame in frames:
        cuts.add(frame)
    return cuts.found()


def scene(length: int, index: int, cuts: Iterable[int]) -> tuple[int, int]:
    """First frame of the scene of frame `index` and the first frame after it, in a clip of `length` frames."""
    cuts = list(cuts)
    return max((cut for cut in cuts if cut <= index), default=0), min((c for c in cuts if c > index), default=length)
