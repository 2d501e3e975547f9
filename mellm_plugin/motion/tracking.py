"""The flow of a face from the first frame of a clip to any other, on a grid of cells, whatever the head does.

Each frame is aligned to the first one by the head motion found so far (a similarity). The remaining flow is measured at
a fixed small size, freed of the rest of the head motion and averaged over cells. Aligning first halves the error under
a moving head.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.motion.flow import farneback
from mellm_plugin.motion.geometry import REFERENCE_SIDE, Field, Grey
from mellm_plugin.motion.head import fit_head
from mellm_plugin.motion.images import SMALLEST_SIDE
from mellm_plugin.motion.settings import MotionSettings

_WORKING_SIDE = 160  # shorter side, px, at which flow is measured; larger frames are shrunk to it
_CELLS = 28  # along the shorter side: 8 px of the reference frame each

_Pose = tuple[complex, complex]  # a similarity about the centre: rotation and scale as one number, and a shift


class Tracker:
    """Flow of the face from the first frame to any other.

    Call `measure` in ascending order if possible: the alignment starts from the pose of the nearest measured frame, so
    that only a small motion is left to estimate.

    Args:
        frames: uint8 `(T, H, W)`, grey, of one scene, cropped to the face.
        settings: `head="none"` leaves the head motion in; the flow has its own estimator, chosen for speed.

    Attributes:
        shape: rows and columns of the grid.
    """

    def __init__(self, frames: npt.NDArray[np.uint8], settings: MotionSettings) -> None:
        self._frames = frames
        height, width = frames.shape[1:]
        shrink = max(1.0, min(height, width) / _WORKING_SIDE)
        self._size = max(SMALLEST_SIDE, round(width / shrink)), max(SMALLEST_SIDE, round(height / shrink))
        shorter = min(self._size)
        self._unit = REFERENCE_SIDE / shorter
        columns, rows = (max(8, round(_CELLS * side / shorter)) for side in self._size)
        self.shape = rows, columns
        self._head = settings.head != "none"
        self._reference = self._small(0)
        self._poses: dict[int, _Pose] = {0: (1 + 0j, 0j)}

    def measure(self, index: int) -> Field:
        """The facial flow at a frame: float32 `(rows, columns, 2)`, px of the reference frame."""
        frame = self._small(index)
        pose = self._poses[min(self._poses, key=lambda known: abs(known - index))]
        flow, pose, moved = self._flow(frame, pose)
        if moved > 1:  # px; too much for a flow that was estimated without this correction
            flow, pose, moved = self._flow(frame, pose)
        if 0.7 < abs(pose[0]) < 1.4 and abs(pose[1]) < min(self._size) / 2:  # otherwise this frame shows no such face
            self._poses[index] = pose
        cells = cv2.resize(flow, self.shape[::-1], interpolation=cv2.INTER_AREA)
        return np.asarray(cells * self._unit, np.float32)

    def _small(self, index: int) -> Grey:
        return np.asarray(cv2.resize(self._frames[index], self._size, interpolation=cv2.INTER_AREA), np.uint8)

    def _flow(self, frame: Grey, pose: _Pose) -> tuple[Field, _Pose, float]:
        """Facial flow from the reference to a frame aligned by a pose; the corrected pose; the correction in px."""
        turn, shift = pose
        width, height = self._size
        if self._head:
            centre = complex((width - 1) / 2, (height - 1) / 2)
            origin = shift + centre - turn * centre
            matrix = np.array([[turn.real, -turn.imag, origin.real], [turn.imag, turn.real, origin.imag]])
            how = {"flags": cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}
            frame = np.asarray(cv2.warpAffine(frame, matrix, self._size, **how), np.uint8)
        window = 2 * round(0.034 * min(self._size)) + 1
        flow = farneback(self._reference, frame, levels=3, window=window, iterations=2)
        if not self._head:
            return flow, pose, 0.0
        left = fit_head(flow)
        pose = turn * complex(1 + left.a, left.b), turn * complex(left.tx, left.ty) + shift
        moved = abs(complex(left.tx, left.ty)) + abs(complex(left.a, left.b)) * max(self._size) / 2
        return np.asarray(flow - left.flow(height, width), np.float32), pose, moved
