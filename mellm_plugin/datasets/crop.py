"""Faces in raw frames: one box per clip, found in its onset and cut from all of its frames.

    +--------------------------+
    |      +------------+      |   frame   640x480
    |      |  +------+  |      |   window  what the detector marks: forehead to lower lip
    |      |  | o  o |  |      |   box     the window and 0.3 of its side around it: Box(190, 60, 462, 332)
    |      |  |  v   |  |      |
    |      |  +-~~~~-+  |      |
    |      +----\\_/-----+      |   the chin lies below the window, and inside the box
    +--------------------------+

A box per frame would follow the head and hide its motion, which is measured and subtracted later.
"""

from __future__ import annotations

import threading
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.datasets.boxes import Box, Found, read_boxes
from mellm_plugin.datasets.disk import sha256
from mellm_plugin.errors import InputError, near
from mellm_plugin.motion.eyes import LEAST_WINDOWS, SHORT_SIDE, cascade, find_face

KINDS: tuple[str, ...] = ("none", "box", "detector")
"""Sources of boxes: none (the frames are cropped already), a CSV, or a face detector."""

YUNET_FILES = "https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet"
"""The folder of YuNet's weights, `face_detection_yunet_2023mar.onnx` or `face_detection_yunet_2026may.onnx`, 230 kB."""

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_MARGIN = 0.3  # of the window, on each side

_LEAST_SIDE = 96  # px of a box: in smaller faces nothing is measured, and most are none
_FILLED = 2 / 3  # of the frame: a face that fills as much needs no box

_YUNET_SIDE = 640  # px of the canvas: the 2023 file has a fixed input size
_YUNET_LONG_SIDES = (480, 240)  # px of the frame on the canvas, tried in turn: YuNet finds faces of 10 to 300 px
_YUNET_SCORE = 0.6
_YUNET_MARGIN = 0.2  # of the longer side of YuNet's box, which ends at forehead and chin


class Cropper(Protocol):
    """Finds the face of a clip. Must be thread-safe."""

    @property
    def settings(self) -> dict[str, object]:
        """The settings used, for `info.json`: plain values."""

    def find(self, clip_id: str, onset: Pixels) -> Found:
        """The box of a clip in its uncropped onset, uint8 or uint16, `(H, W)` grey or `(H, W, 3)` RGB.

        Raises:
            InputError: no face was found, no box was given, or it lies outside the frame; skips this clip alone.
        """


def cropper(kind: str, *, boxes: str | Path | None = None, weights: str | Path | None = None) -> Cropper:
    """The cropper for `--crop`, one of `KINDS`; reads and checks its files.

    Args:
        boxes: CSV of boxes, for "box"; see `read_boxes`.
        weights: YuNet's ONNX file, for "detector"; without it, scikit-image's own cascade is used.

    Raises:
        InputError: an unknown kind, arguments of another kind, unusable files.
    """
    faults: list[str] = []
    if kind == "box" and boxes is None:
        faults.append("'box' needs a CSV of boxes, found none; name it: --boxes FILE.csv (id,left,top,right,bottom)")
    if kind != "box" and boxes is not None:
        faults.append(f"a CSV of boxes belongs to 'box', found it with {kind!r}; say --crop box, or leave it out")
    if kind != "detector" and weights is not None:
        faults.append(f"weights belong to 'detector', found them with {kind!r}; say --crop detector, or leave them out")
    if kind not in KINDS:
        faults = [f"expected one of {', '.join(KINDS)}, found {kind!r}.{near(kind, KINDS)}"]
    if faults:
        raise InputError(faults, where="--crop")
    if boxes is not None:
        return Given(boxes)
    if kind == "detector":
        return Cascade() if weights is None else YuNet(weights)
    return Whole()


class Whole:
    """No crop: the frames show little more than the face."""

    @property
    def settings(self) -> dict[str, object]:
        return {"crop": "none"}

    def find(self, clip_id: str, onset: Pixels) -> Found:
        return Found()


class Given:
    """Boxes from a CSV, see `read_boxes`."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._boxes = read_boxes(path)
        self._sha256 = sha256(self._path)

    @property
    def settings(self) -> dict[str, object]:
        return {"crop": "box", "boxes": self._path.name, "sha256": self._sha256}

    def find(self, clip_id: str, onset: Pixels) -> Found:
        found = self._boxes.get(clip_id) or self._boxes.get(clip_id.partition("/")[2])
        if found is None or found.box is None:
            hint = near(clip_id, self._boxes)
            raise InputError(f"no box for this clip in {self._path}; add a row with its id.{hint}", where=clip_id)
        height, width = onset.shape[:2]
        if faults := [f"{self._path}: {fault}" for fault in found.box.faults(width, height)]:
            raise InputError(faults, where=clip_id)
        return found


class Cascade:
    """The detector that needs no download: scikit-image's frontal-face LBP cascade, run on a small copy of the frame.

    The cascade marks a face many times, in slightly different windows, and anything else a few times at most. So
    windows are grouped, their number is the confidence, and their median is the face. Among faces with many windows
    the largest is taken: the subject sits in front of the camera, others behind.

    A window reaches from the middle of the forehead to just below the lower lip. The box adds 0.3 of the window on
    each side. This puts the chin 0.1 of the box's side above its lower edge, so neither a dropped jaw nor a nod leaves
    the box, and the face fills about as much of it as of the drawn frames that the bundled model was trained on.

    Raises:
        InputError: scikit-image is not installed.
    """

    def __init__(self) -> None:
        try:
            cascade()
        except ImportError as error:
            raise InputError(
                f"the face detector needs scikit-image ({error}); install it (pip install scikit-image), or give "
                "--weights FILE.onnx or --crop box --boxes FILE.csv",
                where="--crop detector",
            ) from error
        self._version = version("scikit-image")

    @property
    def settings(self) -> dict[str, object]:
        return {"crop": "detector", "detector": f"LBP cascade of scikit-image {self._version}", "margin": _MARGIN}

    def find(self, clip_id: str, onset: Pixels) -> Found:
        height, width = onset.shape[:2]
        scale = min(1.0, SHORT_SIDE / min(height, width))
        small = _stretched(onset, scale)
        if small.ndim == 3:
            small = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        support, window = find_face(small)
        if support < LEAST_WINDOWS:
            raise _no_face(clip_id, width, height)
        left, top, side = window / scale
        return Found(_square(left + side / 2, top + side / 2, side * (1 + 2 * _MARGIN), width, height))


class FaceSearch:
    """Searches the frames of a clip for a face that is worth cutting out, until one has it; for `read_clip`.

    Attributes:
        found: whether a frame had a face.
    """

    def __init__(self) -> None:
        self._cascade = Cascade()
        self.found = False

    def __call__(self, frame: Pixels) -> tuple[int, int, int, int] | None:
        """Left, top, right, bottom, px: the face, or the whole frame if the face fills most of it; None: no face."""
        height, width = frame.shape[:2]
        try:
            box = self._cascade.find("", frame).box
        except InputError:
            return None
        if box is None or min(box.width, box.height) < _LEAST_SIDE:
            return None
        self.found = True
        if box.width * box.height > _FILLED * width * height:
            return 0, 0, width, height
        return box.left, box.top, box.right, box.bottom


class YuNet:
    """The detector that also finds nose tips: YuNet, in OpenCV, with weights that the user has downloaded.

    Of several faces the largest is taken. YuNet's box ends at forehead and chin; the crop is the square around it,
    with 0.2 of its longer side added on each side.

    Args:
        weights: `face_detection_yunet_2023mar.onnx` or a later one, see `YUNET_FILES`.

    Raises:
        InputError: the file cannot be read, or this OpenCV cannot run it.
    """

    def __init__(self, weights: str | Path) -> None:
        path = Path(weights)
        where = str(path)
        advice = f"fetch face_detection_yunet_2023mar.onnx from {YUNET_FILES}"
        try:
            with path.open("rb") as file:
                head = file.read(64)
        except FileNotFoundError:
            raise InputError(f"no such file; {advice}", where) from None
        except OSError as error:
            raise InputError(f"the weights cannot be read: {error}", where) from error
        if head.startswith(b"version https://git-lfs"):
            problem = "expected an ONNX file, found git-lfs's note of where it is"
            raise InputError(f"{problem}; {advice} by its download link", where)
        if not hasattr(cv2, "FaceDetectorYN"):
            raise InputError(f"OpenCV {cv2.__version__} has no FaceDetectorYN; it came with 4.5.4", where)
        self._path = path
        self._sha256 = sha256(path)
        self._lock = threading.Lock()  # the network keeps its buffers between calls
        try:
            self._network = cv2.FaceDetectorYN.create(where, "", (_YUNET_SIDE, _YUNET_SIDE), _YUNET_SCORE)
            # an unusable network fails only when it runs: better here than in each clip
            self._network.detect(np.zeros((_YUNET_SIDE, _YUNET_SIDE, 3), np.uint8))
        except cv2.error as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"expected YuNet of 2023 or later, found what OpenCV {cv2.__version__} cannot run; {advice} ({reason})",
                where,
            ) from error

    @property
    def settings(self) -> dict[str, object]:
        source = {"weights": self._path.name, "sha256": self._sha256, "margin": _YUNET_MARGIN}
        return {"crop": "detector", "detector": f"YuNet in OpenCV {cv2.__version__}", **source}

    def find(self, clip_id: str, onset: Pixels) -> Found:
        height, width = onset.shape[:2]
        for side in _YUNET_LONG_SIDES:
            scale = min(1.0, side / max(height, width))
            small = _stretched(onset, scale)
            canvas = np.zeros((_YUNET_SIDE, _YUNET_SIDE, 3), np.uint8)
            canvas[: small.shape[0], : small.shape[1]] = small[..., ::-1] if small.ndim == 3 else small[..., None]
            with self._lock:
                faces = self._network.detect(canvas)[1]
            # x, y, width, height; x and y of right eye, left eye, nose tip and corners of the mouth; score
            seen = [face.astype(np.float64) / scale for face in (() if faces is None else faces)]
            if not (seen := [face for face in seen if np.isfinite(face).all()]):
                continue
            face = max(seen, key=lambda face: float(face[2] * face[3]))
            x, y, w, h = face[:4]
            box = _square(x + w / 2, y + h / 2, max(w, h) * (1 + 2 * _YUNET_MARGIN), width, height)
            if any(box.faults(width, height)):
                continue
            nose = (float(face[8]), float(face[9]))
            return Found(box, nose if box.contains(*nose) else None)
        raise _no_face(clip_id, width, height)


def _no_face(clip_id: str, width: int, height: int) -> InputError:
    return InputError(
        f"no face was found in the onset, {width}x{height}; expected one seen from the front, at least a sixth of the "
        "frame's shorter side wide. Give its box: --crop box --boxes FILE.csv (id,left,top,right,bottom)",
        where=clip_id,
    )


def _square(x: float, y: float, side: float, width: int, height: int) -> Box:
    """The square around a point, px, clipped to the frame."""
    left, top, size = round(x - side / 2), round(y - side / 2), round(side)
    return Box(max(0, left), max(0, top), min(width, left + size), min(height, top + size))


def _stretched(frame: Pixels, scale: float) -> npt.NDArray[np.uint8]:
    """The frame, smaller and stretched from its darkest to its brightest value, so that 8 bits keep dark shades."""
    height, width = frame.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(frame.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    low, high = float(small.min()), float(small.max())
    stretched: npt.NDArray[np.uint8] = np.rint((small - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    return stretched
