"""One box per clip: read from a CSV, or found by a detector, and cut from frames without changing a pixel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mellm_plugin.datasets.boxes import Box, Found
from mellm_plugin.datasets.crop import Cropper, cropper
from mellm_plugin.errors import InputError

Array = np.ndarray[Any, Any]


# What --crop names


@pytest.mark.parametrize(
    ("kind", "files", "faults"),
    [
        ("detecter", {}, ["expected one of none, box, detector, found 'detecter'. Did you mean 'detector'?"]),
        ("box", {}, ["'box' needs a CSV of boxes, found none"]),
        ("box", {"weights": "w.onnx"}, ["needs a CSV", "weights belong to 'detector', found them with 'box'"]),
        ("detector", {"boxes": "b.csv"}, ["a CSV of boxes belongs to 'box', found it with 'detector'"]),
        ("box", {"boxes": "absent.csv"}, ["no such file"]),
        ("detector", {"weights": "absent.onnx"}, ["no such file; fetch face_detection_yunet_2023mar.onnx from https"]),
    ],
)
def test_wrong_arguments_are_told_at_once(kind: str, files: dict[str, str], faults: list[str]) -> None:
    with pytest.raises(InputError) as error:
        cropper(kind, **files)
    assert len(error.value.faults) == len(faults)
    for found, part in zip(error.value.faults, faults, strict=True):
        assert part in found


def test_boxes_are_found_by_id_with_the_dataset_or_without(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    header = "id,left,top,right,bottom,nose_x,nose_y"
    path.write_text(f"{header}\ntoy/a/1,5,6,75,86,30,40\na/2,0,0,100,90,,\nb/2,0,0,101,90,,\n", encoding="utf-8")
    boxes = cropper("box", boxes=path)
    onset = np.zeros((90, 100), np.uint8)
    assert boxes.find("toy/a/1", onset) == Found(Box(5, 6, 75, 86), (30, 40))
    assert boxes.find("toy/a/2", onset) == boxes.find("other/a/2", onset) == Found(Box(0, 0, 100, 90))
    with pytest.raises(
        InputError, match=r"toy/a/11: no box for this clip in .*boxes.csv; add .* Did you mean 'toy/a/1'"
    ):
        boxes.find("toy/a/11", onset)
    with pytest.raises(InputError, match=r"toy/b/2: .*boxes.csv: the box .* beyond the frame, which is 100x90"):
        boxes.find("toy/b/2", onset)
    recorded = json.loads(json.dumps(boxes.settings))
    assert recorded["boxes"] == "boxes.csv" and len(recorded["sha256"]) == 64


# The cascade


PHOTOGRAPHED = {
    "brows": [(188, 87), (262, 88)],
    "eyes": [(195, 101), (211, 101), (239, 103), (256, 103)],
    "mouth": [(205, 139), (247, 139), (224, 153)],
    "chin": [(224, 179)],
}
"""Points of the face of scikit-image's astronaut (NASA, public domain), px of the photograph."""


@pytest.fixture(scope="module")
def astronaut() -> Array:
    data = pytest.importorskip("skimage.data")
    picture: Array = data.astronaut()
    return picture


@pytest.fixture(scope="module")
def detector(astronaut: Array) -> Cropper:
    return cropper("detector")


def scene(astronaut: Array, width: int, height: int, face: float, at: tuple[float, float]) -> tuple[Array, Any]:
    """The head on a grey wall: its face this share of the frame's height, its middle at this share of the frame.

    Returns the frame, and where a point of the photograph is in it.
    """
    zoom = face * height / 120
    dx, dy = at[0] * width - 224 * zoom, at[1] * height - 120 * zoom
    head = np.array([[zoom, 0, dx], [0, zoom, dy]], np.float32)
    inside = np.zeros(astronaut.shape[:2], np.uint8)
    inside[:215, 110:335] = 255
    frame = cv2.warpAffine(astronaut, head, (width, height), flags=cv2.INTER_AREA)
    frame[cv2.warpAffine(inside, head, (width, height)) < 128] = 105
    return frame, lambda point: (point[0] * zoom + dx, point[1] * zoom + dy)


def holds(box: Box | None, points: Sequence[tuple[float, float]]) -> bool:
    return box is not None and all(box.left <= x < box.right and box.top <= y < box.bottom for x, y in points)


LIGHTS = {
    "as it is": lambda frame, rng: frame,
    "dark": lambda frame, rng: frame * 0.1,
    "pale": lambda frame, rng: 110 + 0.1 * (frame - 110.0),
    "noisy": lambda frame, rng: frame + rng.normal(0, 15, frame.shape),
    "dark and noisy": lambda frame, rng: frame * 0.15 + rng.normal(0, 2, frame.shape),
    "lamp at one side": lambda frame, rng: (
        frame * np.linspace(0.2, 1.2, frame.shape[1]).reshape(1, -1, *[1] * (frame.ndim - 2))
    ),
}


@pytest.mark.parametrize(
    ("light", "size", "face", "at", "colour"),
    [
        ("as it is", (640, 480), 0.55, (0.5, 0.5), True),
        ("dark", (2040, 1088), 0.40, (0.6, 0.45), False),
        ("dark", (1280, 720), 0.25, (0.8, 0.3), True),
        ("pale", (280, 340), 0.80, (0.5, 0.5), True),
        ("noisy", (640, 480), 0.30, (0.2, 0.75), False),
        ("noisy", (1280, 720), 0.25, (0.8, 0.3), True),
        ("dark and noisy", (640, 480), 0.30, (0.2, 0.75), False),
        ("lamp at one side", (640, 480), 0.55, (0.5, 0.5), True),
        ("lamp at one side", (280, 340), 0.80, (0.5, 0.5), True),
    ],
)
def test_a_photographed_face_is_held_whole(
    astronaut: Array,
    detector: Cropper,
    light: str,
    size: tuple[int, int],
    face: float,
    at: tuple[float, float],
    colour: bool,
) -> None:
    frame, place = scene(astronaut, *size, face, at)
    if not colour:
        frame = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    lit = LIGHTS[light](frame, np.random.default_rng(1))
    box = detector.find("toy/a/1", np.rint(lit).clip(0, 255).astype(np.uint8)).box
    for part, points in PHOTOGRAPHED.items():
        assert holds(box, [place(point) for point in points]), part
    assert box is not None and not list(box.faults(*size))
    # not much more than the face, either: as large a square as 120 px of the photograph's face make, give or take
    assert max(box.width, box.height) <= 1.75 * face * size[1]
    chin = place(PHOTOGRAPHED["chin"][0])[1]
    assert box.bottom == size[1] or box.bottom - chin > 0.04 * box.height


@pytest.mark.parametrize(("degrees", "x"), [(-14, 450), (18, 190)])
def test_a_head_on_one_side_is_seen_in_the_mirror(
    astronaut: Array, detector: Cropper, degrees: float, x: float
) -> None:
    head = cv2.getRotationMatrix2D((224, 120), degrees, 2.2)
    head[:, 2] += (x - 224, 240 - 120)
    frame = cv2.warpAffine(astronaut, head, (640, 480), borderValue=(105, 105, 105))
    points = [tuple(head @ (*point, 1)) for part in PHOTOGRAPHED.values() for point in part]
    assert holds(detector.find("toy/a/1", frame).box, points)


def test_faces_that_fill_the_frame(detector: Cropper) -> None:
    people = pytest.importorskip("skimage.data").lfw_subset()[:25]  # of 25 px, cut to the face
    held = 0
    for person in people:
        frame = cv2.resize(np.rint(person * 255).astype(np.uint8), (200, 200), interpolation=cv2.INTER_CUBIC)
        with suppress(InputError):  # one dark face with glasses is not found
            box = detector.find("toy/a/1", frame).box
            held += box is not None and min(box.width, box.height) > 150
    assert held >= 22


def test_16_bits_are_searched_as_8(astronaut: Array, detector: Cropper) -> None:
    recorded = json.loads(json.dumps(detector.settings))
    assert recorded["crop"] == "detector" and "scikit-image 0." in recorded["detector"] and recorded["margin"] == 0.3
    grey = cv2.cvtColor(scene(astronaut, 640, 480, 0.5, (0.4, 0.5))[0], cv2.COLOR_RGB2GRAY)
    assert detector.find("toy/a/1", grey.astype(np.uint16) * 16) == detector.find("toy/a/1", grey)


def test_the_subject_is_taken_and_not_who_stands_behind(astronaut: Array, detector: Cropper) -> None:
    frame, place = scene(astronaut, 1280, 720, 0.45, (0.7, 0.55))
    behind, place_behind = scene(astronaut, 1280, 720, 0.2, (0.12, 0.25))
    frame[:, :300] = behind[:, :300]
    assert holds(detector.find("toy/a/1", behind).box, [place_behind(p) for p in PHOTOGRAPHED["eyes"]])
    assert holds(detector.find("toy/a/1", frame).box, [place(p) for ps in PHOTOGRAPHED.values() for p in ps])


def test_no_face_is_a_fault_of_this_clip(detector: Cropper) -> None:
    data = pytest.importorskip("skimage.data")
    noise = np.random.default_rng(0).integers(0, 255, (480, 640), np.uint8, endpoint=True)
    for frame in (data.camera()[:150, 300:], data.coffee(), np.full((480, 640), 128, np.uint8), noise):
        with pytest.raises(
            InputError, match=r"^casme2/sub01/EP02_01f: no face was found .*--crop box --boxes FILE.csv"
        ):
            detector.find("casme2/sub01/EP02_01f", frame)


def test_threads_get_the_same_boxes(astronaut: Array, detector: Cropper) -> None:
    frames = [scene(astronaut, 320, 240, 0.4 + 0.05 * i, (0.5, 0.5))[0] for i in range(4)]
    one_by_one = [detector.find("toy/a/1", frame) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda frame: detector.find("toy/a/1", frame), frames * 3)) == one_by_one * 3


def test_without_scikit_image_the_other_ways_are_named() -> None:
    code = (
        "import sys; sys.modules['skimage'] = sys.modules['skimage.data'] = None\n"
        "from mellm_plugin.datasets.crop import cropper\n"
        "cropper('none')\n"
        "cropper('detector')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "pip install scikit-image" in ran.stderr and "--crop box --boxes FILE.csv" in ran.stderr


# YuNet. Its weights are not ours to ship: OpenCV runs a network with the same inputs and outputs instead, which takes
# what is bright for a face. So all is real but who is found.


def message(*fields: tuple[int, object]) -> bytes:
    """A message in protobuf's wire format: bytes, text, lists of messages, and whole numbers."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
        else:
            data = value.encode() if isinstance(value, str) else bytes(value)  # type: ignore[call-overload]
            out += _varint(number << 3 | 2) + _varint(len(data)) + data
    return out


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


FLOAT, INT64 = 1, 7  # ONNX's names of types


def tensor(name: str, values: Array) -> tuple[int, bytes]:
    kind = FLOAT if values.dtype == np.float32 else INT64
    shape = [(1, size) for size in values.shape]
    return 5, message(*shape, (2, kind), (8, name), (9, values.tobytes()))


def node(kind: str, inputs: Sequence[str], output: str, **numbers: Sequence[int]) -> tuple[int, bytes]:
    attributes = [(5, message((1, name), *((8, n) for n in ns), (20, 7))) for name, ns in numbers.items()]
    return 1, message(*((1, name) for name in inputs), (2, output), (4, kind), *attributes)


def declared(field: int, name: str, *shape: int) -> tuple[int, bytes]:
    sizes = message(*((1, message((1, size))) for size in shape))
    return field, message((1, name), (2, message((1, message((1, FLOAT), (2, sizes))))))


def bright_is_a_face(cells: float, outputs: Sequence[str] = ("cls", "obj", "bbox", "kps")) -> bytes:
    """An ONNX file with YuNet's input and outputs: each cell of 32 px that is bright in blue is the middle of a face.

    The face is this many cells wide and high, and all of its landmarks are in its middle.
    """
    graph: list[tuple[int, object]] = [(2, "bright"), declared(11, "input", 1, 3, 640, 640)]
    for stride in (8, 16, 32):
        side = 640 // stride
        graph.append(node("AveragePool", ["input"], f"p{stride}", kernel_shape=[stride] * 2, strides=[stride] * 2))
        # scores go from 0 at a mean of 200 to 1 at 250, and stay below 0 for smaller strides; OpenCV's blue is first
        blue = np.array([0.02 * (stride == 32), 0, 0], np.float32).reshape(1, 3, 1, 1)
        score = (blue, np.array([-4], np.float32))
        bias = {"bbox": np.array([0.5, 0.5, np.log(cells), np.log(cells)], np.float32), "kps": np.full(10, 0.5)}
        for name, size in {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}.items():
            if name not in outputs:
                continue
            constant = (np.zeros((size, 3, 1, 1), np.float32), bias.get(name))
            weight, offset = score if size == 1 else constant
            key = f"{name}_{stride}"
            graph += [tensor(f"w_{key}", weight), tensor(f"b_{key}", np.asarray(offset, np.float32))]
            graph += [tensor(f"s_{key}", np.array([1, -1, size], np.int64))]
            graph.append(node("Conv", [f"p{stride}", f"w_{key}", f"b_{key}"], f"c_{key}", kernel_shape=[1, 1]))
            graph.append(node("Transpose", [f"c_{key}"], f"t_{key}", perm=[0, 2, 3, 1]))
            graph.append(node("Reshape", [f"t_{key}", f"s_{key}"], key))
            graph.append(declared(12, key, 1, side * side, size))
    graph.sort(key=lambda field: field[0])
    return message((1, 8), (7, message(*graph)), (8, message((2, 13))))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Cropper:
    path = tmp_path_factory.mktemp("weights") / "bright.onnx"
    path.write_bytes(bright_is_a_face(3))
    return cropper("detector", weights=path)


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize(("size", "zoom"), [((640, 480), 0.75), ((2040, 1088), 480 / 2040), ((340, 280), 1.0)])
def test_yunet_boxes_and_noses_are_in_px_of_the_frame(
    network: Cropper, size: tuple[int, int], zoom: float, colour: bool
) -> None:
    width, height = size
    cell = 32 / zoom  # of the frame on the network's canvas
    column, row = 4, 3
    frame = np.zeros((height, width), np.uint8)
    frame[round(row * cell) : round((row + 1) * cell), round(column * cell) : round((column + 1) * cell)] = 200
    if colour:  # RGB: what is bright in red only is no face to this network
        frame = np.dstack([np.roll(frame, round(4 * cell), 1), np.zeros_like(frame), frame])
    found = network.find("toy/a/1", frame)
    assert found.box is not None and found.nose is not None
    middle = ((column + 0.5) * cell, (row + 0.5) * cell)
    assert found.nose == pytest.approx(middle, abs=0.1)
    assert found.nose_in_crop() == pytest.approx((found.box.width / 2, found.box.height / 2), abs=1)
    side = 3 * cell * 1.4
    assert (found.box.left, found.box.top) == pytest.approx([m - side / 2 for m in middle], abs=1)
    assert (found.box.right, found.box.bottom) == pytest.approx([m + side / 2 for m in middle], abs=1)


def test_yunet_boxes_end_at_the_frame_and_where_none_is_found_the_clip_is_named(network: Cropper) -> None:
    recorded = json.loads(json.dumps(network.settings))
    assert recorded["weights"] == "bright.onnx" and len(recorded["sha256"]) == 64
    assert recorded["detector"] == f"YuNet in OpenCV {cv2.__version__}"
    frame = np.zeros((480, 480), np.uint8)
    frame[:32, 448:] = 255
    found = network.find("toy/a/1", frame)
    assert found.box == Box(397, 0, 480, 83) and found.nose == pytest.approx((464, 16), abs=0.1)
    frame = np.zeros((480, 640), np.uint8)
    frame[::8, ::8] = 255
    with pytest.raises(InputError, match="^toy/a/1: no face was found in the onset, 640x480"):
        network.find("toy/a/1", frame)


def test_yunet_serves_many_threads(network: Cropper) -> None:
    frames = []
    for i in range(6):
        frame = np.zeros((480, 480), np.uint8)
        frame[32 * i + 64 : 32 * i + 96, 192:224] = 255
        frames.append(frame)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda frame: network.find("toy/a/1", frame), frames * 3))
    expected = [(208, 32 * i + 80) for i in range(6)] * 3
    assert all(place.nose == pytest.approx(nose, abs=0.1) for place, nose in zip(found, expected, strict=True))


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:8f2383e4dd3c\nsize 232589\n"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"<!DOCTYPE html>", "found what OpenCV"),
        (bright_is_a_face(3)[:300], "found what OpenCV"),
        (bright_is_a_face(3, outputs=("cls", "obj", "bbox")), "found what OpenCV"),
        (LFS, "found git-lfs's note of where it is"),
    ],
    ids=["web page", "truncated", "another network", "git-lfs"],
)
def test_weights_that_are_none(tmp_path: Path, data: bytes, fault: str) -> None:
    path = tmp_path / "weights.onnx"
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        cropper("detector", weights=path)
    assert fault in str(error.value) and str(path) in str(error.value)
    assert "fetch face_detection_yunet_2023mar.onnx from https://github.com/opencv/opencv_zoo" in str(error.value)
