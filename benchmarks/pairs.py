"""Pairs of frames with motion that is known at every pixel, as cameras and necks make it.

A face (drawn, or a portrait) shows one action unit. Its head moves in the plane, or turns out of it as a solid with
depth. The frames pass through a camera: light, noise, blur, a codec. `CONDITIONS` lists them. None of the depth shapes
is the one that `mellm_plugin.motion.head` assumes. Pairs with the same key differ by their condition alone: face, unit,
head, noise and light are the same.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt
from apex import with_head

from mellm_plugin.datasets.face import MARGIN as _FACE_MARGIN
from mellm_plugin.datasets.synthme import SIZE, WINDOWS, Face, displacement, warp

Grey = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

MARGIN = 24
"""Px around the frame, so that a moving head brings no empty rim into it."""

SIDE = SIZE + 2 * MARGIN
INSIDE = (slice(MARGIN, MARGIN + SIZE),) * 2
DRAWN = "drawn"
"""The name of drawn faces."""

SHAPES = ("ellipsoid", "cylinder", "shallow")
"""Depth shapes of heads that are not measured."""

MEASURED = "measured"

_HALF = 104.0  # px from the middle of a portrait's face to its chin
_NOSE = 0.22  # of that, from the middle to the nose tip
_STILL_BELOW = 0.02  # px; skin that moves less is still
_GREY = (0.299, 0.587, 0.114)  # of red, green and blue
_RISE = (4, 10)  # frames of a video that are still, and that rise to the apex
_BEYOND, _FINE = 1.3, 160  # half side of a measured head's grid, half heights of the face; its side, pixels


@dataclass(frozen=True)
class Condition:
    """What the head and the camera do. Lengths are px, angles degrees."""

    name: str
    yaw: float = 0.0
    pitch: float = 0.0
    in_plane: float = 1.0  # 1: up to 3 px, 1.2 degrees and 1.2 %
    codec: str = ""  # of PyAV
    crf: int = 0
    jpeg: int = 0  # quality
    streak: float = 0.0  # length of a motion blur of the apex
    defocus: float = 0.0  # sigma of a blur of the apex
    bands: float = 0.0  # grey levels of rolling bands of light

    @property
    def turn(self) -> float:
        """Degrees out of the plane."""
        return max(self.yaw, self.pitch)


IN_PLANE = Condition("in plane")
STILL_HEAD = Condition("still head", in_plane=0.0)
CODECS = {"H.264": "libx264", "H.265": "libx265"}
CONDITIONS: tuple[Condition, ...] = (
    IN_PLANE,
    Condition("JPEG 75", jpeg=75),
    *(Condition(f"yaw {angle:g}", yaw=angle) for angle in (0.5, 1, 2, 4, 5)),
    *(Condition(f"pitch {angle:g}", pitch=angle) for angle in (0.5, 1, 2, 4, 5)),
    *(Condition(f"{name} CRF {crf}", codec=codec, crf=crf) for name, codec in CODECS.items() for crf in (18, 23, 28)),
    Condition("apex blurred along 4 px", streak=4),
    Condition("apex out of focus, 1 px", defocus=1),
    Condition("rolling bands of light", bands=6),
)


@dataclass(frozen=True, eq=False)
class Pair:
    """Onset, apex, and the motion between them."""

    face: str
    shape: str  # of the head's depth
    unit: int | None  # None for a still face
    amplitude: float  # peak displacement of the unit, px
    onset: Grey  # uint8 `(224, 224)`, as the apex
    apex: Grey
    clean: Field  # float32 `(224, 224)`: the onset without noise
    noise: float  # sigma of each frame's noise before any codec, grey levels
    total: Field  # float32 `(224, 224, 2)`: where each onset pixel went, head and face together
    facial: Field  # without the head's motion
    centre: tuple[float, float]  # of the face, as `synthme.displacement` takes it
    half: float
    nose: tuple[float, float]

    @cached_property
    def inside(self) -> Mask:
        """The face as an ellipse."""
        y, x = np.ogrid[:SIZE, :SIZE]
        across, down = (x - self.centre[0]) / (0.72 * self.half), (y - self.centre[1]) / (0.98 * self.half)
        return np.asarray(across**2 + down**2 <= 1)

    @cached_property
    def still(self) -> Mask:
        """The still part of the face."""
        return np.asarray(self.inside & (np.linalg.norm(self.facial, axis=-1) < _STILL_BELOW))

    @cached_property
    def regions(self) -> list[Mask]:
        """The regions that the unit moves: the core of each window, on each side, where the skin follows it."""
        found: list[Mask] = []
        size = np.linalg.norm(self.facial, axis=-1)
        y, x = np.ogrid[:SIZE, :SIZE]
        for window in WINDOWS[self.unit] if self.unit else ():
            if np.hypot(window.dx, window.dy) < 0.5:  # only follows a stronger neighbour
                continue
            for m in (1, -1) if window.x else (1,):
                across = (x - self.centre[0] - self.half * m * window.x) / (self.half * window.sx)
                down = (y - self.centre[1] - self.half * window.y) / (self.half * window.sy)
                along = self.facial @ np.array([m * window.dx, window.dy], np.float32) / np.hypot(window.dx, window.dy)
                core = np.exp(-(across**2 + down**2) / 2) > 0.5
                found.append(core & (along > 0.85 * size) & (size > 0.35 * self.amplitude))
        return [mask for mask in found if mask.sum() >= 8]


class Look(NamedTuple):
    """A face to be moved; px."""

    picture: Field  # float32 `(272, 272, 3)`, RGB
    centre: tuple[float, float]
    half: float
    nose: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Cast:
    """Who may appear: portraits by name, drawn faces, and measured heads, which half of the pairs take."""

    portraits: Mapping[str, Field]
    drawn: bool = True
    heads: Sequence[Head] = ()

    @property
    def names(self) -> list[str]:
        return [*self.portraits, *([DRAWN] if self.drawn else [])]

    def look(self, name: str, rng: np.random.Generator) -> Look:
        """A portrait, or a new drawn face."""
        middle = SIDE / 2
        if name != DRAWN:
            return Look(self.portraits[name], (middle, middle), _HALF, (middle, middle + _NOSE * _HALF))
        half = 0.44 * SIZE * rng.uniform(0.87, 1.05)
        x, y = rng.uniform(-0.05, 0.05) * SIZE, rng.uniform(-0.05, 0.04) * SIZE
        face = Face(int(rng.integers(2**63)))
        own = SIZE / 2 + _FACE_MARGIN
        picture = face.draw(rng, (own + x, own + y), half)
        picture = np.pad(picture, ((MARGIN - _FACE_MARGIN,) * 2,) * 2 + ((0, 0),), mode="edge")
        return Look(picture, (middle + x, middle + y), half, (middle + x, middle + y + face.nose_y * half))


def cast_of(portraits: Path | None = None, heads: Path | None = None) -> Cast:
    """The portraits of a folder alone; without one, drawn faces and two portraits in the public domain, which
    scikit-image (an astronaut, NASA) and matplotlib (Grace Hopper, US Navy) ship."""
    import matplotlib
    from skimage import data
    from skimage.io import imread

    if portraits is None:
        hopper = imread(Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg"))
        found = {"astronaut": (data.astronaut(), (66, 173, 99)), "hopper": (hopper, (123, 171, 199))}
    else:
        files = {file.stem: imread(file)[..., :3] for file in sorted(portraits.iterdir())}
        found = {name: (picture, _face_box(name, picture)) for name, picture in files.items()}
    placed = {name: _placed(picture, *box) for name, (picture, box) in found.items()}
    return Cast(placed, portraits is None, measured_heads(heads) if heads else ())


def _face_box(name: str, picture: Grey) -> tuple[int, int, int]:
    """Top, left and side of the largest face."""
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    cascade = Cascade(lbp_frontal_face_cascade_filename())
    for longest in (700, 500, 900):  # it misses some faces at some sizes
        scale = min(1.0, longest / max(picture.shape))
        small = cv2.resize(picture, None, fx=scale, fy=scale)
        if boxes := cascade.detect_multi_scale(small, 1.1, 1, (60, 60), (500, 500)):
            best = max(boxes, key=lambda box: box["width"])
            return round(best["r"] / scale), round(best["c"] / scale), round(best["width"] / scale)
    raise SystemExit(f"expected portraits with one face each, found none in {name}; remove it, or crop it to the face")


def _placed(picture: Grey, top: int, left: int, width: int) -> Field:
    """The picture with its face in the middle and `_HALF` high; the box is that of the cascade."""
    scale = _HALF / (0.714 * width)
    x, y = (left + width / 2) * scale, (top + 0.434 * width) * scale
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how)
    shift = np.array([[1, 0, SIDE / 2 - x], [0, 1, SIDE / 2 - y]])
    placed = cv2.warpAffine(scaled, shift, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(placed, np.float32)


def depth(shape: str | Head, rng: np.random.Generator, centre: tuple[float, float], half: float) -> Field:
    """Depth of a head towards the camera, px, float32 `(272, 272)`, 0 or less beside it."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    x, y = (x - centre[0]) / half, (y - centre[1]) / half
    if isinstance(shape, Head):
        return np.asarray(half * shape.depth(x, y), np.float32)
    wide, high = rng.uniform(0.72, 0.85), rng.uniform(1.05, 1.25)
    round_ = np.maximum(1 - (x / wide) ** 2 - ((y + 0.12) / high) ** 2, 0)
    nose_y, nose = rng.uniform(0.2, 0.28), rng.uniform(0.16, 0.3)
    if shape == "ellipsoid":
        z = rng.uniform(0.65, 0.95) * np.sqrt(round_)
        z += nose * np.exp(-((x / 0.1) ** 2) / 2 - ((y - nose_y) / np.where(y < nose_y, 0.2, 0.07)) ** 2 / 2)
        for side in (-1, 1):
            z -= 0.07 * np.exp(-(((x - side * 0.3) / 0.12) ** 2 + ((y + 0.12) / 0.08) ** 2) / 2)
    elif shape == "cylinder":
        z = 0.8 * np.sqrt(np.maximum(1 - (x / 0.82) ** 2, 0)) * np.clip((1.15 - np.abs(y)) / 0.2, 0, 1)
        wedge = np.clip((y + 0.15) / (nose_y + 0.15), 0, 1) * np.clip((nose_y + 0.09 - y) / 0.09, 0, 1)
        z += nose * wedge * np.clip(1 - np.abs(x) / 0.17, 0, 1)
        z += 0.08 * np.exp(-((x / 0.2) ** 2 + ((y - 0.85) / 0.12) ** 2) / 2)
    else:
        z = 0.5 * round_ + nose * np.clip(1 - np.hypot(x / 0.16, (y - nose_y) / 0.22), 0, 1)
        z += 0.1 * np.exp(-((y + 0.32) ** 2) / 0.01) * np.clip(1 - (x / 0.6) ** 2, 0, 1)
        z += 0.06 * np.exp(-((x / 0.3) ** 2 + ((y - 0.5) / 0.15) ** 2) / 2)
    return np.asarray(cv2.GaussianBlur(half * z, (0, 0), 0.012 * half), np.float32)


@dataclass(frozen=True)
class Head:
    """A measured head: its name, and its depth in half heights of the face over a square grid, -1.3 to 1.3."""

    name: str
    grid: Field

    def depth(self, x: Field, y: Field) -> Field:
        """Depth at places in half heights of the face."""
        scale = len(self.grid) / (2 * _BEYOND)
        across, down = ((place + _BEYOND) * scale - 0.5 for place in (x, y))
        return np.asarray(cv2.remap(self.grid, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


_BEYOND, _FINE = 1.3, 160


def measured_heads(folder: Path) -> list[Head]:
    """The heads of a folder of OBJ files, y up and the face towards z; the chin is where the midline turns back.

    ICT FaceKit (`Scripts/sample_random.py`) and MediaPipe (`canonical_face_model.obj`) have such files.
    """
    from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
    from scipy.ndimage import maximum_filter

    line = ((np.arange(_FINE) + 0.5) / _FINE * 2 - 1) * _BEYOND
    grid = tuple(np.meshgrid(line, line))
    found = []
    for file in sorted(folder.glob("*.obj")):
        lines = [line.split()[1:4] for line in file.read_text().splitlines() if line.startswith("v ")]
        x, y, z = np.array(lines, np.float64).T
        nose = y[z.argmax()]
        size = np.ptp(x[np.abs(y - nose) < 0.2 * np.ptp(x)])  # about the breadth of the head
        below = (np.abs(x) < 0.03 * size) & (y < nose - 0.3 * size) & (y > nose - 0.7 * size)
        chin = y[below & (z > z[below].max() - 0.07 * size)].min()
        half = (nose - chin) / 0.8
        places, z = np.column_stack([x, chin + half - y]) / half, (z - z.max()) / half
        near = (z > -1.1) & (np.abs(places) < 2).all(axis=1)
        places, z = places[near], z[near]
        # Of what lies behind each other, the front: ears, neck and sockets are hidden.
        cells = tuple(((places.T + 2) / 0.04).astype(int))
        front = np.full((101, 101), -9.0)
        np.maximum.at(front, cells, z)
        seen = z > maximum_filter(front, 3)[cells] - 0.25
        depths = LinearNDInterpolator(places[seen], z[seen])(*grid)
        depths = np.where(np.isnan(depths), NearestNDInterpolator(places[seen], z[seen])(*grid), depths)
        # Nostrils and the gaps around the eyeballs are no skin.
        closed = cv2.morphologyEx(depths, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
        found.append(Head(file.stem, np.asarray(cv2.GaussianBlur(closed, (0, 0), 1), np.float32)))
    if not found:
        raise SystemExit(f"expected OBJ files of heads in {folder}, found none")
    return found


def turned(facial: Field, z: Field, yaw: float, pitch: float, middle: float, half: float, far: float) -> Field:
    """The flow of a face that then turns about the neck, seen by a camera `far` half heights away; px."""
    side = facial.shape[0]
    y, x = np.mgrid[:side, :side].astype(np.float32)
    x, y = x + facial[..., 0] - middle, y + facial[..., 1] - middle
    distance = far * half
    shrink = (distance - z) / distance
    at = np.stack([x * shrink, y * shrink, z])
    neck = np.array([0, 0.9 * half, -0.3 * half], np.float32)[:, None, None]
    a, b = np.radians(yaw), np.radians(pitch)
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    moved = np.einsum("ij,jhw->ihw", about_x @ about_y, at - neck) + neck
    grow = distance / (distance - moved[2])
    away = np.dstack([moved[0] * grow - x, moved[1] * grow - y])
    return np.asarray(facial + away, np.float32)


def make(cast: Cast, condition: Condition, face: str, unit: int | None, amplitude: float, key: Sequence[int]) -> Pair:
    """A pair, deterministic by its arguments; `face` is one of `cast.names`."""
    plain = replace(condition, name="", codec="", crf=0, jpeg=0)
    pair, frames = _filmed(cast, plain, bool(condition.codec), face, unit, amplitude, tuple(key))
    if condition.codec:
        frames = _coded(frames, condition.codec, condition.crf)
    onset, apex = frames[_RISE[0] - 1] if condition.codec else frames[0], frames[-1]
    if condition.jpeg:
        onset, apex = (_jpeg(frame, condition.jpeg) for frame in (onset, apex))
    onset, apex = (np.ascontiguousarray(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY)[INSIDE]) for f in (onset, apex))
    return replace(pair, onset=onset, apex=apex)


@lru_cache(maxsize=1)  # all codecs see the same frames
def _filmed(
    cast: Cast, condition: Condition, video: bool, face: str, unit: int | None, amplitude: float, key: tuple[int, ...]
) -> tuple[Pair, list[Grey]]:
    """The pair without its frames; and onset and apex, or a video from the onset to the apex, RGB."""
    rng = np.random.default_rng(key)
    picture, centre, half, nose = cast.look(face, rng)
    middle = SIDE / 2
    codes, sizes = ([], []) if unit is None else ([str(unit)], [amplitude])
    facial = displacement(codes, sizes, centre, half, (SIDE, SIDE))
    shape: str | Head = SHAPES[int(rng.integers(len(SHAPES)))]
    if cast.heads and rng.random() < 0.5:
        shape = cast.heads[int(rng.integers(len(cast.heads)))]
    z = depth(shape, rng, centre, half)
    sign_yaw, sign_pitch = rng.choice([-1, 1], 2)
    other = 0.15 * rng.normal(size=2)  # a turn is never about one axis alone
    yaw = sign_yaw * condition.yaw + other[0] * condition.pitch
    pitch = sign_pitch * condition.pitch + other[1] * condition.yaw
    far = rng.uniform(6, 14)
    way = condition.in_plane * rng.uniform(-1, 1, 4) * (3, 3, np.radians(1.2), 0.012)
    gain, bias, slope = rng.normal(0, (0.012, 1.2, 0.02))
    noise, phase, period, angle = rng.uniform((0.5, 0, 40, 0), (3, 2 * np.pi, 120, np.pi))
    x = np.arange(SIDE, dtype=np.float32)
    bands = condition.bands * np.sin(2 * np.pi * x / period + phase)[:, None, None]
    light = gain + slope * (x[None, :, None] - middle) / half

    def moved(share: float) -> Field:
        flow = facial * np.float32(share)
        if condition.turn:
            flow = turned(flow, z, share * yaw, share * pitch, middle, half, far)
        return with_head(flow, middle, *(share * way))

    def seen(share: float) -> Grey:
        frame = warp(picture, moved(share)) if share else picture
        if share == 1 and condition.streak:
            frame = _streaked(frame, condition.streak, angle)
        if share == 1 and condition.defocus:
            frame = cv2.GaussianBlur(frame, (0, 0), condition.defocus)
        frame = frame * (1 + share * light) + share * (bias + bands) + noise * rng.standard_normal(frame.shape)
        return np.asarray(np.rint(frame).clip(0, 255), np.uint8)

    shares = [0.0, 1.0]
    if video:
        still, rise = _RISE
        shares = [*[0.0] * still, *((1 - np.cos(np.pi * np.arange(1, rise + 1) / rise)) / 2).tolist()]
    frames = [seen(share) for share in shares]
    grey_noise = np.sqrt((noise**2 + 1 / 12) * np.square(_GREY).sum() + 1 / 12)  # each rounding adds 1/12
    clean = cv2.cvtColor(np.asarray(picture, np.float32), cv2.COLOR_RGB2GRAY)[INSIDE]
    name = shape if isinstance(shape, str) else MEASURED
    none = np.empty((0, 0), np.uint8)
    (cx, cy), (nx, ny) = ((at[0] - MARGIN, at[1] - MARGIN) for at in (centre, nose))
    truth = moved(1)[INSIDE], facial[INSIDE], (cx, cy), half, (nx, ny)
    return Pair(face, name, unit, amplitude, none, none, clean, float(grey_noise), *truth), frames


def _streaked(frame: Field, length: float, angle: float) -> Field:
    size = int(length) * 2 + 5
    kernel = np.zeros((size, size), np.float32)
    for t in np.linspace(-0.5, 0.5, 65):
        u, v = size // 2 + t * length * np.cos(angle), size // 2 + t * length * np.sin(angle)
        i, j = int(v), int(u)
        for di, dj in ((0, 0), (0, 1), (1, 0), (1, 1)):
            kernel[i + di, j + dj] += (1 - abs(v - i - di)) * (1 - abs(u - j - dj))
    return np.asarray(cv2.filter2D(frame, -1, kernel / kernel.sum()))


def _jpeg(frame: Grey, quality: int) -> Grey:
    data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]


def _coded(frames: Sequence[Grey], codec: str, crf: int) -> list[Grey]:
    """Frames as a video of 30 frames a second gives them back."""
    import av

    options = {
        "crf": str(crf),
        "x264-params": "asm=MMX2,SSE2",  # with AVX-512 the same frames give other bits each time
        "x265-params": "log-level=none:pools=none:frame-threads=1",
    }
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = cast(av.VideoStream, out.add_stream(codec, rate=30, options=options))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # the result depends on the number
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as back:
        decoded = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in back.decode(video=0)]
    return decoded
