"""Where the face and its eyes are in one frame: scikit-image's LBP cascade, and the picture around the eyes.

The cascade marks a face many times, in slightly different windows, and anything else a few times at most. A window
reaches from the middle of the forehead to just below the lower lip, so the eyes lie at a known place of it, give or
take a few per cent. There the two spots are taken that are dark, between strong upright edges (iris and white), and at
about the expected distance.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.motion.geometry import Grey

Windows = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# The cascade's search, measured on photographs of 101 people and on drawn faces.
SHORT_SIDE = 160  # px of the searched copy: faster, and its sums fit the integral image's 32-bit floats
_RIM = 0.15  # of the shorter side, added on all sides: the search stops short of the edges, a face may not
_LARGEST_FACE = 1.1  # window searched, of the shorter side
_ZOOM = 1.1  # from one window size to the next
_LARGER = 6  # windows that a larger face needs to win over the one with the most windows
_APART = 0.3  # of the smaller area: faces that overlap by more are one face, the one with more windows
ENOUGH_WINDOWS = 10  # on one face; with fewer, the mirrored frame is searched as well
LEAST_WINDOWS = 5  # of a face, both searches together: other objects rarely get more than 4

_OF_CROP = 0.35  # smallest window in a frame that is cropped to the face, of the shorter side
_TILTS = (0, -12, 12)  # degrees, tried in turn
# The eyes in a window, of its side.
_DISTANCE, _HEIGHT = 0.37, 0.395
# The search for them, in a copy in which they are this far apart, px.
_APART_PX = 24
_DARK, _EDGES, _WIDE = 0.07 * _APART_PX, 0.12 * _APART_PX, 0.35 * _APART_PX  # sigmas
_OF_DISTANCE, _OF_TILT, _OF_PLACE = 10.0, 5.0, 50.0  # weights of the squared deviations from the expected place
# The lids about an eye, and the skin around, to which the windows of a flow smear a blink: half axes along and across
# the line of the eyes, in their distance, as what follows.
LIDS, AROUND = (0.40, 0.20), (0.74, 0.47)
_REGION = 0.5
_SHIFTS, _MOST_SHIFT = (-0.10, 0.28), 0.20  # of the lids' motion from the found eyes
_OF_SKIN, _OF_FACE = 1.1, 1.4  # the lids move more than the skin around them, and both more than the rest of the face
_FEW = 4  # cells; the mean of the strongest ones stands for a region


@lru_cache(maxsize=1)
def cascade() -> Any:
    """The classifier.

    Raises:
        ImportError: scikit-image is not installed.
    """
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())  # keeps no state between searches


def find_face(grey: Grey, smallest: float = 1 / 6) -> tuple[int, npt.NDArray[np.float64]]:
    """The face that most windows of the cascade agree on: their number, and left, top and side of their median, px.

    Args:
        grey: uint8 `(H, W)`, its shorter side at most `SHORT_SIDE` px.
        smallest: window searched, of the shorter side.

    Returns:
        fewer than `LEAST_WINDOWS` are no face.
    """
    windows = _windows(grey, smallest)
    support, window = _agreed(windows)
    if support < ENOUGH_WINDOWS:  # its features are not symmetric: it finds some faces better mirrored
        mirrored = _windows(np.ascontiguousarray(grey[:, ::-1]), smallest)
        mirrored[:, 0] = grey.shape[1] - mirrored[:, 0] - mirrored[:, 2]
        support, window = _agreed(np.concatenate([windows, mirrored]))
    return support, window


def _windows(grey: Grey, smallest: float) -> Windows:
    """All windows that the cascade accepts: `(N, 3)`, left, top and side in px of `grey`."""
    shorter = min(grey.shape)
    rim = round(_RIM * shorter)
    least = max(cascade().window_width, int(smallest * shorter))
    found = cascade().detect_multi_scale(
        cv2.copyMakeBorder(grey, rim, rim, rim, rim, cv2.BORDER_REPLICATE),
        scale_factor=_ZOOM,
        step_ratio=1,
        min_size=(least, least),
        max_size=(int(_LARGEST_FACE * shorter),) * 2,
        min_neighbor_number=1,
        intersection_score_threshold=2,  # out of reach: windows must not be merged, their number counts
    )
    # sorted: its threads finish in any order
    return np.array(sorted((w["c"] - rim, w["r"] - rim, w["width"]) for w in found), np.float64).reshape(-1, 3)


def _agreed(windows: Windows) -> tuple[int, npt.NDArray[np.float64]]:
    """The face that most windows `(N, 3)` agree on: their number and their median; 0 without any.

    Among faces with many windows the largest is taken: the subject sits in front of the camera, others behind.
    """
    if not len(windows):
        return 0, np.zeros(3)
    areas = np.square(windows[:, 2])
    common = _common(windows, windows)
    alike = common > 0.5 * (np.add.outer(areas, areas) - common)
    groups: list[Mask] = []
    free = np.ones(len(windows), bool)
    while free.any():
        group = alike[((alike & free).sum(1) * free).argmax()] & free
        groups.append(group)
        free &= ~group
    counts = [int(group.sum()) for group in groups]
    middles = np.array([np.median(windows[group], axis=0) for group in groups])
    apart: list[int] = []
    for i in np.argsort(counts, kind="stable")[::-1]:
        of_smaller = _common(middles[i : i + 1], middles[apart])[0] / np.minimum(middles[i, 2], middles[apart, 2]) ** 2
        if (of_smaller <= _APART).all():
            apart.append(int(i))
    best = max((i for i in apart if counts[i] >= _LARGER), key=lambda i: float(middles[i, 2]), default=apart[0])
    return counts[best], middles[best]


def _common(some: Windows, others: Windows) -> npt.NDArray[np.float64]:
    """The area that windows `(N, 3)` share with others `(M, 3)`: `(N, M)`, px^2."""
    shared = np.ones((len(some), len(others)))
    for axis in (0, 1):
        start = np.maximum.outer(some[:, axis], others[:, axis])
        end = np.minimum.outer(some[:, axis] + some[:, 2], others[:, axis] + others[:, 2])
        shared *= np.clip(end - start, 0, None)
    return shared


class Eyes(NamedTuple):
    """The middles of the two eyes, px of the frame: the one on the left of the picture first."""

    left: tuple[float, float]
    right: tuple[float, float]


class EyeCells:
    """The cells of a grid around the eyes, and whether a motion of the cells is the eyes' own.

    Args:
        eyes: see `find_eyes`; they may be off by a sixth of their distance.
        shape: rows and columns of the grid.
        frame: height and width of the frame that the grid covers.
        face: bool `(rows, columns)`, the cells on the face.
    """

    def __init__(self, eyes: Eyes, shape: tuple[int, int], frame: tuple[int, ...], face: Mask) -> None:
        places = np.array(eyes)
        away = places[1] - places[0]
        away = away / (away @ away)
        y, x = np.mgrid[: shape[0], : shape[1]]
        cells = np.stack([(x + 0.5) * frame[1] / shape[1], (y + 0.5) * frame[0] / shape[0]], axis=-1) - 0.5
        cells -= places.mean(axis=0)
        self._face = face
        # In distances of the eyes: along their line from the nearer one, and below the line.
        self._along, self._below = np.abs(cells @ away) - 0.5, cells @ np.array([-away[1], away[0]])
        self.region: Mask = face & (np.abs(self._along) < _REGION) & (np.abs(self._below) < _REGION)

    def within(self, reach: tuple[float, float], shift: float = 0.0) -> Mask:
        """The cells in an ellipse about each eye: bool `(rows, columns)`; `shift` moves it down, in their distance."""
        inside: Mask = (self._along / reach[0]) ** 2 + ((self._below - shift) / reach[1]) ** 2 <= 1
        return self._face & inside

    def closing(self, size: npt.NDArray[np.float32]) -> float | None:
        """If only the eyes move: how far below the found eyes, in their distance; otherwise None.

        `size` is float32 `(rows, columns)`, the length of the motion. Brows and cheeks are a third of it away.
        """
        weight = size**4 * self.region
        shift = float((weight * self._below).sum() / max(weight.sum(), 1e-12))
        if not _SHIFTS[0] < shift < _SHIFTS[1]:
            return None
        shift = min(shift, _MOST_SHIFT)
        lids, around = self.within(LIDS, shift), self.within(AROUND, shift)
        at_lids, beside, far = (
            float(np.sort(size[cells])[-_FEW:].mean()) if cells.any() else 0.0
            for cells in (lids, around & ~lids, self._face & ~around)
        )
        return shift if at_lids > _OF_SKIN * beside and max(at_lids, beside) > _OF_FACE * far else None


def find_eyes(grey: Grey) -> Eyes | None:
    """The eyes of a face seen from the front, tilted by at most about 15 degrees; None if no face is found.

    `grey` is uint8 `(H, W)` and cropped to the face, more or less.
    """
    shrink = min(1.0, SHORT_SIDE / min(grey.shape))
    small = np.asarray(cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
    best, window, tilt = 0, np.zeros(3), 0
    for degrees in _TILTS:
        support, found = find_face(_rotated(small, degrees), _OF_CROP)
        if support > best:
            best, window, tilt = support, found, degrees
        if best >= ENOUGH_WINDOWS:
            break
    if best < LEAST_WINDOWS:
        return None
    left, top, side = window / shrink
    zoom = _APART_PX / (_DISTANCE * side)
    upright = cv2.resize(_rotated(grey, tilt), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    response = _eye_like(np.asarray(upright, np.uint8))
    middle = zoom * np.array([left + side / 2, top + _HEIGHT * side])
    offsets = np.stack(np.meshgrid(np.arange(-6, 7), np.arange(-9, 10)), axis=-1).reshape(-1, 2)
    places, values = [], []
    for away in (-_APART_PX / 2, _APART_PX / 2):
        places.append((middle + offsets + [away, 0]).astype(np.float32))
        values.append(cv2.remap(response, places[-1][:, None], None, cv2.INTER_LINEAR)[:, 0])
    apart = (places[1][None] - places[0][:, None]) / _APART_PX
    centre = (places[1][None] + places[0][:, None]) / 2 - middle
    against = _OF_DISTANCE * np.square(np.hypot(apart[..., 0], apart[..., 1]) - 1)
    against += _OF_TILT * np.square(np.arctan2(apart[..., 1], apart[..., 0]))
    against += _OF_PLACE * np.square(centre / _APART_PX).sum(axis=-1)
    first, second = np.unravel_index(int((values[0][:, None] + values[1] - against).argmax()), against.shape)
    both = np.stack([places[0][first], places[1][second]]).astype(np.float64) / zoom
    back = _rotation(grey.shape, -tilt)
    one, other = (both @ back[:, :2].T + back[:, 2]).tolist()
    return Eyes((one[0], one[1]), (other[0], other[1]))


def _rotation(shape: tuple[int, ...], degrees: float) -> npt.NDArray[np.float64]:
    return np.asarray(cv2.getRotationMatrix2D(((shape[1] - 1) / 2, (shape[0] - 1) / 2), degrees, 1.0))


def _rotated(grey: Grey, degrees: float) -> Grey:
    """The frame turned about its middle, anticlockwise."""
    if not degrees:
        return grey
    matrix = _rotation(grey.shape, degrees)
    return np.asarray(cv2.warpAffine(grey, matrix, grey.shape[::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _eye_like(grey: Grey) -> npt.NDArray[np.float32]:
    """How dark a spot is, and how strong the upright edges at it are, against its surroundings; float32 `(H, W)`."""
    light = np.log(grey.astype(np.float32) + 8)
    away = light - cv2.GaussianBlur(light, (0, 0), _WIDE)
    even = away / (np.sqrt(cv2.GaussianBlur(away * away, (0, 0), _WIDE)) + 0.02)
    edges = cv2.Sobel(cv2.GaussianBlur(even, (0, 0), 0.03 * _APART_PX), -1, 1, 0)
    strong = np.sqrt(cv2.GaussianBlur(edges * edges, (0, 0), _EDGES))
    return np.asarray(strong - cv2.GaussianBlur(even, (0, 0), _DARK), np.float32)
