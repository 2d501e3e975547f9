"""Faces in raw frames: one box per clip, found in its onset and cut from all of its frames.

    +--------------------------+
    |      +------------+      |   frame   640x480
    |      |  +------+  |      |   window  what the detector marks: forehead to lower lip
    |      |  | o  o |  |      |   box     the window and 0.3 of its side around it: Box(190, 60, 462, 332)
    |      |  |  v   |  |      |
    |      |  +-~~~~-+  |      |
    |      +----\\_/-----+      |   the chin lies below the window, and inside the box
    +--------------------------+

A box per frame would follow the head and hide its motion, which is measured and subtracted later. A CSV of boxes:

    id,left,top,right,bottom,nose_x,nose_y
    casme2/sub01/EP02_01f,190,60,462,332,327.5,204
    sub02/EP01_11f,201,55,473,327,,
"""

from __future__ import annotations

import csv
import io
import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from mellm_plugin.datasets import store
from mellm_plugin.datasets.sheets import decoded
from mellm_plugin.errors import ImageError, InputError, near
from mellm_plugin.motion.images import SMALLEST_SIDE, read_pixels
from mellm_plugin.small_files import read_bytes

KINDS: tuple[str, ...] = ("none", "box", "detector")
"""Where the boxes come from: nowhere (the frames are cropped already), a CSV, or a face detector."""

YUNET_FILES = "https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet"
"""Where YuNet's weights are: `face_detection_yunet_2023mar.onnx` or `face_detection_yunet_2026may.onnx`, 230 kB."""

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Windows = npt.NDArray[np.float64]

_COORDINATES = ("left", "top", "right", "bottom")
_NOSE = ("nose_x", "nose_y")
_LARGEST_CSV = 64 << 20

# The cascade's search, measured on photographs of 101 people and on drawn faces; see `Cascade`.
_SHORT_SIDE = 160  # px of the copy that is searched: faster, and its sums fit the 32-bit floats of the integral image
_RIM = 0.15  # of the shorter side, added all around: the search stops short of the edges, a face may not
_SMALLEST_FACE, _LARGEST_FACE = 1 / 6, 1.1  # windows searched, of the shorter side
_ZOOM = 1.1  # from one window size to the next
_ENOUGH = 10  # windows on one face; with fewer, the mirrored frame is searched too
_LEAST = 5  # windows, of both, without which it is no face: what is none rarely gets more than 4
_LARGER = 6  # windows that a larger face needs to be taken in place of the one with the most
_APART = 0.3  # of the smaller one's area: faces that overlap by more are one, and the one with more windows is it
_MARGIN = 0.3  # of the window, on each side of it

_YUNET_SIDE = 640  # px of the canvas: the 2023 file has this input size written into it
_YUNET_LONG_SIDES = (480, 240)  # px of the frame on it, tried in turn: YuNet finds faces of 10 to 300 px
_YUNET_SCORE = 0.6
_YUNET_MARGIN = 0.2  # of the longer side of YuNet's box, which ends at forehead and chin


@dataclass(frozen=True)
class Box:
    """A rectangle of a frame, in whole px.

    Attributes:
        left, top: first column and row inside.
        right, bottom: first column and row behind it.
    """

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Columns, px."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows, px."""
        return self.bottom - self.top

    def __str__(self) -> str:
        return f"{self.left},{self.top} to {self.right},{self.bottom}"

    def faults(self, width: int | None = None, height: int | None = None) -> Iterator[str]:
        """What keeps this box from being cut, a sentence each.

        Args:
            width, height: of the frame, px; None where they are not known yet.
        """
        if self.left < 0 or self.top < 0:
            yield f"expected left and top of at least 0, found {self.left} and {self.top}"
        if self.width < SMALLEST_SIDE or self.height < SMALLEST_SIDE:
            yield (
                f"expected a box of at least {SMALLEST_SIDE} px a side, with right and bottom beyond left and top, "
                f"found {self}: {self.width}x{self.height}"
            )
        if width is not None and height is not None and (self.right > width or self.bottom > height):
            yield f"the box {self} reaches beyond the frame, which is {width}x{height}"


@dataclass(frozen=True)
class Found:
    """Where the face of a clip is.

    Attributes:
        box: what to cut from every frame of the clip; None: the whole frame.
        nose: tip of the nose, (x, y) in px of the uncropped onset; None where it is not known.
    """

    box: Box | None = None
    nose: tuple[float, float] | None = None

    def nose_in_crop(self) -> tuple[float, float] | None:
        """The nose tip in px of the cropped onset, as `Sample.nose` wants it."""
        if self.nose is None or self.box is None:
            return self.nose
        return self.nose[0] - self.box.left, self.nose[1] - self.box.top


class Cropper(Protocol):
    """Says where the face of a clip is. Several threads may ask at a time."""

    @property
    def settings(self) -> dict[str, object]:
        """What was used, for `info.json`: plain values."""

    def find(self, clip_id: str, onset: Pixels) -> Found:
        """The one box of a clip.

        Args:
            clip_id: `dataset/subject/clip`.
            onset: the uncropped onset, uint8 or uint16, `(H, W)` grey or `(H, W, 3)` RGB.

        Raises:
            InputError: no face was found, or no box was given, or it lies outside the frame; the other clips are
                not concerned.
        """


def cropper(kind: str, *, boxes: str | Path | None = None, weights: str | Path | None = None) -> Cropper:
    """The cropper that `--crop` names, its files read and checked.

    Args:
        kind: one of `KINDS`.
        boxes: CSV of boxes, for "box"; see `read_boxes`.
        weights: YuNet's ONNX file, for "detector"; without it the cascade that scikit-image ships is used.

    Raises:
        InputError: an unknown kind, arguments that do not belong to it, files that cannot be used.
    """
    faults: list[str] = []
    if kind not in KINDS:
        faults.append(f"expected one of {', '.join(KINDS)}, found {kind!r}.{near(kind, KINDS)}")
    else:
        if kind == "box" and boxes is None:
            faults.append(
                "'box' needs a CSV of boxes, found none; name it: --boxes FILE.csv (id,left,top,right,bottom)"
            )
        if kind != "box" and boxes is not None:
            faults.append(f"a CSV of boxes belongs to 'box', found it with {kind!r}; say --crop box, or leave it out")
        if kind != "detector" and weights is not None:
            faults.append(
                f"weights belong to 'detector', found them with {kind!r}; say --crop detector, or leave them out"
            )
    if faults:
        raise InputError(faults, where="--crop")
    if boxes is not None:
        return Given(boxes)
    if kind == "detector":
        return Cascade() if weights is None else YuNet(weights)
    return Whole()


class Whole:
    """No crop: the frames show little but the face already."""

    @property
    def settings(self) -> dict[str, object]:
        return {"crop": "none"}

    def find(self, clip_id: str, onset: Pixels) -> Found:
        return Found()


class Given:
    """Boxes from a CSV.

    Args:
        path: the CSV; see `read_boxes`.

    Raises:
        InputError: it cannot be read, or holds faults.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._boxes = read_boxes(path)
        self._sha256 = store.sha256(self._path)

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


def read_boxes(path: str | Path) -> dict[str, Found]:
    """Boxes by clip id, from a CSV with the columns `id`, `left`, `top`, `right` and `bottom` in any order.

    UTF-8, with or without a byte-order mark, divided by commas, semicolons or tabs; names of columns in any case. Px of
    the uncropped frame; right and bottom are the first column and row behind the box. `nose_x` and `nose_y` may follow.
    Other columns are not looked at.

    Returns:
        Boxes, and nose tips where they are given, by id as written there: with the dataset in front or without.

    Raises:
        InputError: it cannot be read, or holds faults: all of them, with their rows; the header is row 1.
    """
    where = str(path)
    text = _read_text(Path(path))
    first = next(iter(text.splitlines()), "")
    mark = max(",;\t", key=first.count)
    try:
        # strict: a quote that is never closed would swallow the rest of the file as one cell
        rows = list(_rows(text, mark))
    except csv.Error as error:
        raise InputError(f"expected rows of cells divided by {mark!r}, found {error}", where=where) from error
    if not rows:
        raise InputError("expected a header and a row per clip, found an empty file", where=where)
    header = [name.strip().lower() for name in rows[0][1]]
    known = ("id", *_COORDINATES, *_NOSE)
    faults = [f"row 1: the column {name!r} occurs twice" for name in known if header.count(name) > 1]
    missing = [name for name in ("id", *_COORDINATES) if name not in header]
    if missing:
        faults.append(f"row 1: expected the columns {', '.join(known[:5])}, found no {', '.join(missing)}")
    for name in header:  # a nose column that is not recognised would be a nose silently dropped
        if name not in known and (hint := near(name, (*missing, *(n for n in _NOSE if n not in header)))):
            faults.append(f"row 1: there is no column {name!r}.{hint}")
    if ("nose_x" in header) != ("nose_y" in header):
        faults.append("row 1: expected nose_x and nose_y, or neither, found one of them")
    if faults:
        raise InputError(faults, where=where)
    found: dict[str, Found] = {}
    row_of: dict[str, int] = {}
    for number, cells in rows[1:]:
        if len(cells) != len(header):
            faults.append(f"row {number}: expected {len(header)} cells, found {len(cells)}")
            continue
        row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
        clip = row["id"].strip("/")
        if not clip:
            faults.append(f"row {number}: expected a clip id, found none")
        elif clip in row_of:
            faults.append(f"row {number}: {clip} has a box in row {row_of[clip]} already; keep one of them")
        row_of.setdefault(clip, number)
        try:
            found[clip] = _found(row, decimal_comma=mark != ",")
        except InputError as error:
            faults += [f"row {number} ({clip}): {fault}" for fault in error.faults]
    for clip, number in row_of.items():
        subject, clip_name = clip.partition("/")[::2]
        if "/" in clip_name and clip_name in row_of:
            faults.append(
                f"row {number}: {clip} is also in row {row_of[clip_name]}, without {subject}/; keep one of them"
            )
    if not row_of and not faults:
        faults.append("expected a row per clip, found only the header")
    if faults:
        raise InputError(faults, where=where)
    return found


def _read_text(path: Path) -> str:
    where = str(path)
    try:
        data = read_bytes(path, _LARGEST_CSV)
    except FileNotFoundError:
        raise InputError("no such file; expected a CSV with the columns id,left,top,right,bottom", where) from None
    except (OSError, ValueError) as error:
        raise InputError(f"the file cannot be read: {error}", where) from error
    if data.startswith(b"PK"):
        raise InputError("expected a CSV, found a spreadsheet or a zip file; save the sheet as CSV (UTF-8)", where)
    return decoded(data, where)


def _rows(text: str, mark: str) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each row that is not empty; numbers as an editor counts lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    number = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield number, cells
        number = reader.line_num + 1


def _found(row: Mapping[str, str], decimal_comma: bool) -> Found:
    """The box of a row, and its nose."""
    faults: list[str] = []

    def number(name: str) -> float:
        text = row[name].replace(",", ".") if decimal_comma else row[name]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (name in _COORDINATES and value != int(value)):
            whole = "a whole number of px" if name in _COORDINATES else "a number of px"
            faults.append(f"{name}: expected {whole}, found {row[name]!r}")
            return math.nan
        return value

    sides = [number(name) for name in _COORDINATES]
    given = [bool(row.get(name)) for name in _NOSE]
    nose = (number("nose_x"), number("nose_y")) if all(given) else None
    if any(given) and not all(given):
        faults.append("expected nose_x and nose_y, or neither, found one of them")
    if any(map(math.isnan, sides)):
        raise InputError(faults)
    box = Box(*map(int, sides))
    faults += box.faults()
    outside = nose is not None and not (box.left <= nose[0] < box.right and box.top <= nose[1] < box.bottom)
    if nose is not None and outside and not any(map(math.isnan, nose)):
        faults.append(
            f"expected the nose inside the box {box}, in px of the uncropped frame, found {nose[0]:g},{nose[1]:g}"
        )
    if faults:
        raise InputError(faults)
    return Found(box, nose)


class Cascade:
    """The detector without weights to fetch: the frontal-face LBP cascade that scikit-image ships, on a small copy.

    The cascade marks one face many times, with windows that differ a little in place and size, and what is no face a
    few times at most: so the windows are grouped, their number is the confidence, and the middle one is the face. Among
    faces that many windows agree on, the largest is taken: the subject sits before the camera, others behind.

    Its window goes from the middle of the forehead to just below the lower lip. The box adds 0.3 of the window on each
    side: that puts the chin 0.1 of the box's side above its lower edge, so that neither a dropped jaw nor a nod leaves
    it, and the face takes about as much of the box as of the drawn frames that the bundled model was trained on.

    Raises:
        InputError: scikit-image is not installed.
    """

    def __init__(self) -> None:
        try:
            from skimage.data import lbp_frontal_face_cascade_filename
            from skimage.feature import Cascade as Classifier
        except ImportError as error:
            raise InputError(
                f"the face detector needs scikit-image ({error}); install it (pip install scikit-image), or give "
                "--weights FILE.onnx or --crop box --boxes FILE.csv",
                where="--crop detector",
            ) from error
        self._version = version("scikit-image")
        self._classifier = Classifier(lbp_frontal_face_cascade_filename())  # it keeps no state between searches

    @property
    def settings(self) -> dict[str, object]:
        return {"crop": "detector", "detector": f"LBP cascade of scikit-image {self._version}", "margin": _MARGIN}

    def find(self, clip_id: str, onset: Pixels) -> Found:
        height, width = onset.shape[:2]
        scale = min(1.0, _SHORT_SIDE / min(height, width))
        small = _stretched(onset, scale)
        if small.ndim == 3:
            small = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        windows = self._search(small)
        support, window = _face(windows)
        if support < _ENOUGH:  # its features are not symmetric: it sees some faces better in the mirror
            mirrored = self._search(np.ascontiguousarray(small[:, ::-1]))
            mirrored[:, 0] = small.shape[1] - mirrored[:, 0] - mirrored[:, 2]
            support, window = _face(np.concatenate([windows, mirrored]))
        if support < _LEAST:
            raise _no_face(clip_id, width, height)
        left, top, side = window / scale
        return Found(_square(left + side / 2, top + side / 2, side * (1 + 2 * _MARGIN), width, height))

    def _search(self, grey: npt.NDArray[np.uint8]) -> Windows:
        """All windows that the cascade takes for a face: `(N, 3)`, left, top and side in px of `grey`."""
        shorter = min(grey.shape)
        rim = round(_RIM * shorter)
        smallest = max(self._classifier.window_width, int(_SMALLEST_FACE * shorter))
        found = self._classifier.detect_multi_scale(
            cv2.copyMakeBorder(grey, rim, rim, rim, rim, cv2.BORDER_REPLICATE),
            scale_factor=_ZOOM,
            step_ratio=1,
            min_size=(smallest, smallest),
            max_size=(int(_LARGEST_FACE * shorter),) * 2,
            min_neighbor_number=1,
            intersection_score_threshold=2,  # which no two windows reach: they are not merged, for their number counts
        )
        # its threads finish in any order
        return np.array(sorted((w["c"] - rim, w["r"] - rim, w["width"]) for w in found), np.float64).reshape(-1, 3)


def _face(windows: Windows) -> tuple[int, npt.NDArray[np.float64]]:
    """The face that windows `(N, 3)` agree on: how many do, and their median; 0 where there are none."""
    if not len(windows):
        return 0, np.zeros(3)
    areas = np.square(windows[:, 2])
    common = _common(windows, windows)
    alike = common > 0.5 * (np.add.outer(areas, areas) - common)
    groups: list[npt.NDArray[np.bool_]] = []
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
    """The area that windows `(N, 3)` have in common with others `(M, 3)`: `(N, M)`, px^2."""
    shared = np.ones((len(some), len(others)))
    for axis in (0, 1):
        start = np.maximum.outer(some[:, axis], others[:, axis])
        end = np.minimum.outer(some[:, axis] + some[:, 2], others[:, axis] + others[:, 2])
        shared *= np.clip(end - start, 0, None)
    return shared


class YuNet:
    """The detector that knows nose tips, too: YuNet, in OpenCV, with weights that the user has fetched.

    Of several faces the largest is taken. Its box ends at forehead and chin; the crop is the square around it with 0.2
    of its longer side on each side.

    Args:
        weights: `face_detection_yunet_2023mar.onnx` or a later one, see `YUNET_FILES`.

    Raises:
        InputError: the file cannot be read or is no YuNet that this OpenCV runs.
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
            raise InputError(
                f"expected an ONNX file, found git-lfs's note of where it is; {advice} by its download link", where
            )
        if not hasattr(cv2, "FaceDetectorYN"):
            raise InputError(f"OpenCV {cv2.__version__} has no FaceDetectorYN; it came with 4.5.4", where)
        self._path = path
        self._sha256 = store.sha256(path)
        self._lock = threading.Lock()  # the network keeps its buffers between calls
        try:
            self._network = cv2.FaceDetectorYN.create(where, "", (_YUNET_SIDE, _YUNET_SIDE), _YUNET_SCORE)
            # what it lacks shows only when it runs: now, and not in each clip
            self._network.detect(np.zeros((_YUNET_SIDE, _YUNET_SIDE, 3), np.uint8))
        except cv2.error as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"expected YuNet of 2023 or later, found what OpenCV {cv2.__version__} cannot run; {advice} ({reason})",
                where,
            ) from error

    @property
    def settings(self) -> dict[str, object]:
        return {
            "crop": "detector",
            "detector": f"YuNet in OpenCV {cv2.__version__}",
            "weights": self._path.name,
            "sha256": self._sha256,
            "margin": _YUNET_MARGIN,
        }

    def find(self, clip_id: str, onset: Pixels) -> Found:
        height, width = onset.shape[:2]
        for side in _YUNET_LONG_SIDES:
            scale = min(1.0, side / max(height, width))
            small = _stretched(onset, scale)
            canvas = np.zeros((_YUNET_SIDE, _YUNET_SIDE, 3), np.uint8)
            canvas[: small.shape[0], : small.shape[1]] = small[..., ::-1] if small.ndim == 3 else small[..., None]
            with self._lock:
                faces = self._network.detect(canvas)[1]
            # x, y, width, height; then right eye, left eye, nose tip and corners of the mouth, x and y; the score
            seen = [face.astype(np.float64) / scale for face in (() if faces is None else faces)]
            if not (seen := [face for face in seen if np.isfinite(face).all()]):
                continue
            face = max(seen, key=lambda face: float(face[2] * face[3]))
            x, y, w, h = face[:4]
            box = _square(x + w / 2, y + h / 2, max(w, h) * (1 + 2 * _YUNET_MARGIN), width, height)
            if any(box.faults(width, height)):
                continue
            nose = (float(face[8]), float(face[9]))
            inside = box.left <= nose[0] < box.right and box.top <= nose[1] < box.bottom
            return Found(box, nose if inside else None)
        raise _no_face(clip_id, width, height)


def _no_face(clip_id: str, width: int, height: int) -> InputError:
    return InputError(
        f"no face was found in the onset, {width}x{height}; expected one seen from the front, at least a sixth of the "
        "frame's shorter side wide. Give its box: --crop box --boxes FILE.csv (id,left,top,right,bottom)",
        where=clip_id,
    )


def _square(x: float, y: float, side: float, width: int, height: int) -> Box:
    """The square about a point, in px, as far as it lies within the frame."""
    left, top, size = round(x - side / 2), round(y - side / 2), round(side)
    return Box(max(0, left), max(0, top), min(width, left + size), min(height, top + size))


def _stretched(frame: Pixels, scale: float) -> npt.NDArray[np.uint8]:
    """The frame made smaller, from its darkest to its brightest value; what is dark keeps its shades in 8 bits."""
    height, width = frame.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(frame.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    low, high = float(small.min()), float(small.max())
    stretched: npt.NDArray[np.uint8] = np.rint((small - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    return stretched


def cut(frame: bytes, box: Box, name: str = "frame") -> bytes:
    """The box of an image file, as a PNG file with the same pixels.

    Args:
        frame: an image file of any format that motion maps read, turned as its EXIF says.
        box: what to keep, px.
        name: what to call the frame in errors.

    Returns:
        a PNG file: grey where the frame is, of 8 bits or, for grey frames of 16, of 16.

    Raises:
        ImageError: the frame cannot be read, or the box reaches beyond it.
    """
    pixels = read_pixels(frame, name)
    height, width = pixels.shape[:2]
    if faults := list(box.faults(width, height)):
        raise ImageError(faults, where=name)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[box.top : box.bottom, box.left : box.right])).save(file, "PNG")
    return file.getvalue()
