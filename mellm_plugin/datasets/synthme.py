"""SynthME: drawn faces, moved by known action units, so that the truth about each clip is exact.

One clip:

    SynthClip(subject="s03", aus=("1", "2", "5"), amplitudes=(1.9, 2.2, 1.4), emotion="surprise",
              onset=uint8 (224, 224, 3), apex=uint8 (224, 224, 3), flow=float32 (224, 224, 2), ...)

The onset is a drawn face. The apex is the same picture, warped by the displacement of each action unit (Gaussian
windows at its landmarks), then by a similarity, the head's motion. The warp is inverted by fixed-point iteration, to
0.05 px or better, so the flow at onset pixels is known. Lighting, sensor noise and JPEG follow. Movements are 0.3 to
3 px in frames of 224 px.

These are drawings: a score on them shows that a model reads motion maps, and nothing about real people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mellm_plugin.datasets import store
from mellm_plugin.datasets.disk import check_room
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.facs.labels import coarse

VERSION = 1
"""Version of the drawings. It is part of the dataset's name, so cached answers are never mixed up."""

NAME = f"synthme-v{VERSION}"
"""Name of the prepared dataset."""

TEST_CLIPS = 300
"""Clips of the test set: ten of each of thirty faces."""

SIZE = 224
"""Side of a frame, px."""

AMPLITUDE = (0.3, 3.0)
"""Peak displacement of an action unit, px: log-uniform over this range for the strongest unit of a clip."""

SUBJECT_CLIPS = 10
"""Clips of each face."""

_BYTES = 28_400_000  # of the stored test set
_MARGIN = 16  # px drawn around the frame, so that the warp stays inside the picture
_INVERSE_ITERATIONS = 20
_INVERSE_DAMPING = 0.6
_LID_UNITS = {5, 7}  # a blink would hide them, or fold the lids


@dataclass(frozen=True)
class Window:
    """One Gaussian window of an action unit, on the image's right half; mirrored to the left half.

    Lengths are in half heights of the face, from its centre: x outwards, y down.

    Attributes:
        x, y: centre.
        dx, dy: displacement at the centre, relative to the unit's amplitude; dx outwards.
        sx, sy: sigma.
    """

    x: float
    y: float
    dx: float
    dy: float
    sx: float
    sy: float


WINDOWS: dict[int, tuple[Window, ...]] = {
    1: (Window(0.16, -0.31, 0, -1, 0.09, 0.08),),
    2: (Window(0.44, -0.31, 0, -1, 0.10, 0.08),),
    4: (Window(0.27, -0.28, -0.6, 0.8, 0.12, 0.07), Window(0.06, -0.22, -0.4, 0.7, 0.06, 0.08)),
    5: (Window(0.30, -0.165, 0, -1, 0.11, 0.045),),
    6: (Window(0.41, 0.10, -0.1, -1, 0.14, 0.08),),
    7: (Window(0.30, -0.06, 0, -1, 0.11, 0.04),),
    9: (Window(0.10, 0.12, -0.1, -1, 0.07, 0.11),),
    10: (Window(0.11, 0.42, 0, -1, 0.10, 0.05), Window(0.26, 0.32, 0, -0.6, 0.07, 0.09)),
    12: (Window(0.27, 0.50, 0.65, -0.76, 0.11, 0.10), Window(0.40, 0.30, 0.2, -0.4, 0.12, 0.12)),
    14: (Window(0.27, 0.50, -1, 0, 0.09, 0.08),),
    15: (Window(0.27, 0.53, 0, 1, 0.09, 0.09),),
    17: (Window(0, 0.78, 0, -1, 0.16, 0.09), Window(0, 0.63, 0, -0.6, 0.14, 0.05)),
    20: (Window(0.28, 0.52, 1, 0.05, 0.11, 0.09),),
    24: (Window(0, 0.455, 0, 0.9, 0.17, 0.035), Window(0, 0.56, 0, -1, 0.17, 0.04)),
    25: (Window(0, 0.455, 0, -0.6, 0.15, 0.035), Window(0, 0.565, 0, 1, 0.16, 0.05)),
    26: (Window(0, 0.84, 0, 1, 0.28, 0.15), Window(0, 0.60, 0, 0.8, 0.19, 0.06)),
    45: (Window(0.30, -0.15, 0, 1, 0.12, 0.045),),
}
"""Where each action unit moves the skin. A window at x = 0, on the midline, is not mirrored. 45 is a distractor."""

AUS: tuple[int, ...] = tuple(n for n in WINDOWS if n != 45)
"""The action units that are labelled."""

COMBINATIONS: dict[str, tuple[str, ...]] = {
    "anger": ("4", "4+7", "4+5", "4+5+7", "24", "4+24", "7+24", "17+24", "4+7+17", "9+24", "10+24", "4+14"),
    "contempt": ("L14", "R14", "14", "L12", "R12", "L10+L14", "R10+R14", "14+24", "14+17", "L15", "R15", "7+14"),
    "disgust": ("9", "10", "4+9", "4+10", "9+17", "10+17", "6+9", "7+9", "9+15", "10+25", "9+14", "10+20"),
    "fear": ("20", "1+2+4", "1+2+4+5", "4+20", "1+4+20", "5+20", "20+25", "20+26", "4+5+25", "4+5+26", "9+20"),
    "happiness": ("12", "6+12", "7+12", "12+25", "12+26", "6+12+25", "6+7+12", "2+12", "1+2+12", "6+14"),
    "sadness": ("1+4", "15", "1+15", "4+15", "1+4+15", "15+17", "6+15", "1+17", "1+4+17", "15+24", "1+24", "2+15"),
    "surprise": ("1+2", "5", "1+2+5", "5+25", "5+26", "25+26", "1+2+25", "1+2+26", "1+2+5+25", "2+5", "1+2+5+26"),
    "neutral": ("",),
}
"""The combinations that show a label. Only the whole combination decides, no single unit."""

_WEIGHTS = {label: 0.08 if label == "neutral" else 0.92 / 7 for label in COMBINATIONS}

Image = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SynthClip:
    """A drawn clip and the truth about it.

    Attributes:
        subject: name of the face, unique within a split.
        clip: number of the clip of this face.
        aus: canonical codes; sides are the subject's own.
        amplitudes: peak displacement of each unit, px.
        emotion: label.
        onset, apex: uint8 `(224, 224, 3)`, RGB, after noise and compression.
        jpeg: the frames as JPEG files if they were compressed, else None.
        flow: float32 `(224, 224, 2)`, px, x right, y down, at onset pixels: motion of head and face together.
        facial: the same without the head's motion.
        nose: nose tip, x and y, px.
    """

    subject: str
    clip: int
    aus: tuple[str, ...]
    amplitudes: tuple[float, ...]
    emotion: str
    onset: Image
    apex: Image
    jpeg: tuple[bytes, bytes] | None
    flow: Field
    facial: Field
    nose: tuple[float, float]

    @property
    def id(self) -> str:
        """The id in prepared datasets: `synthme/s03/07`."""
        return f"synthme/{self.subject}/{self.clip:02d}"

    def files(self) -> tuple[bytes, bytes]:
        """Onset and apex as files: JPEG if they were compressed, else PNG."""
        return self.jpeg or (_png(self.onset), _png(self.apex))


class Face:
    """A face: proportions, colours and skin, all from one seed."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._skin_seed = int(rng.integers(2**63))
        tone = rng.uniform(0, 1)
        dark, light = np.array([92, 62, 48.0]), np.array([236, 200, 178.0])
        self.skin = (dark + (light - dark) * tone) * rng.normal(1, 0.02, 3)
        brown = np.array([70, 48, 34.0]) * (1 - tone) + np.array([150, 112, 70.0]) * tone
        self.hair = brown * rng.uniform(0.25, 1.15) * rng.normal(1, 0.05, 3)
        irises = np.array([[80, 52, 34], [96, 84, 50], [70, 96, 82], [82, 108, 132]], float)
        self.iris = irises[rng.integers(len(irises))] * rng.normal(1, 0.06, 3)
        self.lip = self.skin * np.array([rng.uniform(0.85, 1.0), rng.uniform(0.55, 0.72), rng.uniform(0.6, 0.78)])
        self.width = rng.uniform(0.70, 0.84)
        self.jaw = rng.uniform(1.9, 2.6)
        self.eye_x = rng.uniform(0.28, 0.32)
        self.eye_y = rng.uniform(-0.14, -0.10)
        self.eye_w = rng.uniform(0.115, 0.145)
        self.eye_h = rng.uniform(0.045, 0.065)
        self.brow_y = rng.uniform(-0.33, -0.28)
        self.brow_arch = rng.uniform(0.02, 0.07)
        self.brow_thick = rng.uniform(0.025, 0.055)
        self.nose_w = rng.uniform(0.10, 0.15)
        self.nose_y = rng.uniform(0.20, 0.26)
        self.mouth_y = rng.uniform(0.48, 0.53)
        self.mouth_w = rng.uniform(0.23, 0.29)
        self.lips = rng.uniform(0.7, 1.3)
        self.hair_line = rng.uniform(0.55, 0.80)
        self.long_hair = bool(rng.random() < 0.45)
        self.beard = float(rng.choice(np.array([0.0, 0.0, rng.uniform(0.1, 0.5)])))
        self.freckles = int(rng.choice(np.array([0, 0, int(rng.integers(20, 90))])))
        self.texture = rng.uniform(0.020, 0.045)

    def draw(self, rng: np.random.Generator, centre: tuple[float, float], half: float) -> Field:
        """The picture of the face, with this clip's background and light.

        Args:
            rng: of the clip, for background and light.
            centre: of the face, px in the picture with its margin.
            half: half height of the face, px.

        Returns:
            float32 `(256, 256, 3)`, RGB, 0..255.
        """
        side = SIZE + 2 * _MARGIN
        skin_rng = np.random.default_rng(self._skin_seed)
        cx, cy = centre

        def at(x: float, y: float) -> tuple[float, float]:
            return cx + half * x, cy + half * y

        def fixed(points: list[tuple[float, float]]) -> npt.NDArray[np.int32]:
            rounded: npt.NDArray[np.int32] = np.rint(np.array([at(*p) for p in points]) * 16).astype(np.int32)
            return rounded

        def fill(points: list[tuple[float, float]], colour: npt.NDArray[np.float64]) -> None:
            cv2.fillPoly(canvas, [fixed(points)], colour.clip(0, 255).tolist(), cv2.LINE_AA, 4)

        def line(points: list[tuple[float, float]], colour: npt.NDArray[np.float64], thick: float) -> None:
            width = max(1, round(thick * half))
            cv2.polylines(canvas, [fixed(points)], False, colour.clip(0, 255).tolist(), width, cv2.LINE_AA, 4)

        def oval(x: float, y: float, w: float, h: float, a0: float = 0, a1: float = 360) -> list[tuple[float, float]]:
            t = np.radians(np.linspace(a0, a1, 40))
            return [(x + w * float(c), y + h * float(s)) for c, s in zip(np.cos(t), np.sin(t), strict=True)]

        backdrop = rng.uniform(40, 220) + rng.normal(0, 8, 3)
        canvas = np.empty((side, side, 3), np.float32)
        canvas[:] = backdrop
        blotches = rng.normal(0, 12, (5, 5)).astype(np.float32)
        canvas += cv2.resize(blotches, (side, side), interpolation=cv2.INTER_CUBIC)[..., None]

        if self.long_hair:
            fill(oval(0, 0.1, self.width + 0.22, 1.15), self.hair)
        shirt = rng.uniform(30, 200, 3)
        fill([(-1.4, 1.6), (-1.1, 1.15), (-0.35, 1.0), (0.35, 1.0), (1.1, 1.15), (1.4, 1.6)], shirt)
        fill([(-0.36, 0.6), (0.36, 0.6), (0.42, 1.12), (-0.42, 1.12)], self.skin * 0.82)
        fill(oval(0, -0.12, self.width + 0.08, 0.99, 180, 360), self.hair)

        t = np.radians(np.linspace(0, 360, 80, endpoint=False))
        s, c = np.sin(t), np.cos(t)
        narrow = np.where(s > 0, np.abs(c) ** (self.jaw / 2.4), np.abs(c) ** 0.9) * np.sign(c)
        head = [(float(self.width * x), float(y)) for x, y in zip(narrow, s, strict=True)]
        fill(head, self.skin)
        face_mask = np.zeros((side, side), np.float32)
        cv2.fillPoly(face_mask, [fixed(head)], 1.0, cv2.LINE_AA, 4)
        crown = [(x, y) for x, y in head if y < -self.hair_line]
        fill([*crown, (0, -self.hair_line + 0.05)], self.hair)

        dark = self.skin * 0.62
        for m in (-1, 1):
            ex, ey = m * self.eye_x, self.eye_y
            fill(oval(ex, ey, self.eye_w * 1.35, self.eye_h * 2.3), self.skin * 0.93)
            fill(oval(ex, ey, self.eye_w, self.eye_h), np.array([228, 224, 220.0]))
            fill(oval(ex, ey, self.eye_h * 0.95, self.eye_h * 0.95), self.iris)
            fill(oval(ex, ey, self.eye_h * 0.42, self.eye_h * 0.42), np.array([15, 12, 12.0]))
            fill(oval(ex + 0.012, ey - 0.015, 0.009, 0.009), np.array([250, 250, 250.0]))
            line(oval(ex, ey, self.eye_w, self.eye_h, 180, 360), self.skin * 0.28, 0.022)
            line(oval(ex, ey, self.eye_w, self.eye_h, 10, 170), dark, 0.010)
            line(oval(ex, ey - 0.015, self.eye_w * 1.15, self.eye_h * 1.7, 200, 340), dark, 0.010)
            line(oval(ex, ey + 0.01, self.eye_w * 1.2, self.eye_h * 2.2, 30, 150), self.skin * 0.85, 0.010)
            inner, outer = 0.13, 0.50
            brow = [
                (
                    m * (inner + (outer - inner) * q),
                    self.brow_y + 0.02 - self.brow_arch * float(np.sin(np.pi * q * 0.8)),
                )
                for q in np.linspace(0, 1, 12)
            ]
            line(brow, self.hair * 0.7 + self.skin * 0.1, self.brow_thick)
            for q in skin_rng.uniform(0, 1, 14):  # single hairs, for texture
                bx, by = brow[int(q * 11)]
                hair_line = [(bx, by + 0.022), (bx + m * 0.03, by - 0.022)]
                line(hair_line, self.hair * float(skin_rng.uniform(0.3, 1.1)), 0.008)
            line(
                [(m * 0.05, -0.16), (m * 0.055, 0.05), (m * self.nose_w * 0.8, self.nose_y - 0.05)],
                self.skin * 0.86,
                0.014,
            )
            wing = oval(m * self.nose_w * 0.75, self.nose_y, 0.045, 0.045, -90 if m > 0 else 90, 90 if m > 0 else 270)
            line(wing, dark, 0.014)
            fill(oval(m * self.nose_w * 0.42, self.nose_y + 0.03, 0.028, 0.014), self.skin * 0.4)
            fold = [
                (m * (self.nose_w + 0.02), self.nose_y),
                (m * 0.24, 0.34),
                (m * (self.mouth_w + 0.05), self.mouth_y),
            ]
            line(fold, self.skin * 0.84, 0.014)
        line([(-0.03, -0.26), (-0.025, -0.18)], self.skin * 0.85, 0.010)
        line([(0.03, -0.26), (0.025, -0.18)], self.skin * 0.85, 0.010)

        w, y, up, low = self.mouth_w, self.mouth_y, 0.055 * self.lips, 0.075 * self.lips
        upper = [(-w, y), (-w * 0.5, y - up * 0.8), (-w * 0.15, y - up), (0, y - up * 0.75), (w * 0.15, y - up)]
        fill([*upper, (w * 0.5, y - up * 0.8), (w, y), (0, y + 0.01)], self.lip * 0.92)
        fill(
            [(-w, y), (0, y + 0.005), (w, y), (w * 0.5, y + low * 0.85), (0, y + low), (-w * 0.5, y + low * 0.85)],
            self.lip,
        )
        line([(-w * 1.03, y - 0.005), (-w * 0.4, y + 0.005), (0, y), (w * 0.4, y + 0.005), (w * 1.03, y - 0.005)],
             self.lip * 0.42, 0.014)  # fmt: skip
        line(oval(0, y + 0.10, 0.14, 0.035, 20, 160), self.skin * 0.80, 0.014)
        line(oval(0, 0.74, 0.10, 0.06, 200, 340), self.skin * 0.88, 0.012)
        for fx, fy in zip(
            skin_rng.normal(0, 0.35, self.freckles), skin_rng.normal(0.15, 0.18, self.freckles), strict=True
        ):
            fill(oval(float(fx), float(fy), 0.009, 0.009), self.skin * 0.72)

        # Skin: three octaves of texture for the flow to follow; stubble for a beard.
        fine = skin_rng.standard_normal((side, side), np.float32)
        texture = 1.6 * cv2.GaussianBlur(fine, (0, 0), 0.9)
        for cells, weight in ((90, 0.8), (36, 0.9)):
            grid = skin_rng.standard_normal((cells, cells), np.float32)
            texture += weight * cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
        canvas *= 1 + (np.float32(self.texture) * texture * (0.35 + 0.65 * face_mask))[..., None]
        yy, xx = np.mgrid[0:side, 0:side].astype(np.float32)
        nx, ny = (xx - cx) / half, (yy - cy) / half
        if self.beard:
            grown = np.clip((ny - 0.30) * 4, 0, 1) * face_mask * self.beard
            strands = np.clip(0.6 + 0.35 * cv2.GaussianBlur(fine[::-1], (0, 0), 0.8) * 2.0, 0, 1.2)
            canvas += (grown * strands)[..., None] * (self.hair * 0.8 - canvas) * 0.8

        # Light: a gradient across the picture, and the roundness of the head.
        angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.28)
        light = 1 + depth * (np.cos(angle) * nx + np.sin(angle) * ny)
        light *= 1 - 0.16 * face_mask * (nx / self.width) ** 2
        canvas *= (rng.uniform(0.8, 1.1) * light)[..., None]
        return np.asarray(cv2.GaussianBlur(np.clip(canvas, 0, 255), (0, 0), rng.uniform(0.6, 0.95)), np.float32)


def displacement(
    codes: Sequence[str],
    amplitudes: Sequence[float],
    centre: tuple[float, float],
    half: float,
    shape: tuple[int, int],
) -> Field:
    """The displacement of a face's skin by coded units; for drawings and photographs.

    Args:
        codes: canonical codes; `L` and `R` move only the subject's own side.
        amplitudes: largest displacement of each unit, px.
        centre: of the face, x and y, px: between the eyes and the upper lip.
        half: half height of the face, px: from the centre to the chin.
        shape: height and width of the picture.

    Returns:
        float32 `(H, W, 2)`, px, x right, y down, at the pixels of the unmoved picture.
    """
    y, x = np.ogrid[: shape[0], : shape[1]]
    nx, ny = ((x - centre[0]) / half).astype(np.float32), ((y - centre[1]) / half).astype(np.float32)
    total = np.zeros((*shape, 2), np.float32)
    for code, amplitude in zip(codes, amplitudes, strict=True):
        unit = parse_canonical(code)
        # The subject's left is on the image's right.
        sides = {"L": (1,), "R": (-1,)}.get(unit.side or "", (1, -1))
        field = np.zeros((*shape, 2), np.float32)
        for window in WINDOWS[unit.alternatives[0]]:
            for m in sides if window.x else (1,):
                across = np.exp(-(((nx - m * window.x) / window.sx) ** 2) / 2)
                weight = across * np.exp(-(((ny - window.y) / window.sy) ** 2) / 2)
                field[..., 0] += m * window.dx * weight
                field[..., 1] += window.dy * weight
        peak = float(np.sqrt((field**2).sum(-1).max()))
        total += field * np.float32(amplitude / peak)
    return total


def inverse_map(total: Field) -> tuple[Field, Field]:
    """The origin of each pixel of the moved picture: solves `q + total(q) = p` for `q` by damped fixed-point steps.

    Undamped steps diverge where lips part: there the flow changes by more than one pixel per pixel.

    Args:
        total: float32 `(H, W, 2)`, px, x right, y down; must not fold the picture.

    Returns:
        x and y of `q`, float32 `(H, W)`, px; off by at most 0.05 px for any combination of units within `AMPLITUDE`.
    """
    y, x = np.mgrid[0 : total.shape[0], 0 : total.shape[1]].astype(np.float32)
    from_x, from_y = x, y
    for _ in range(_INVERSE_ITERATIONS):
        moved = cv2.remap(total, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        from_x = from_x + _INVERSE_DAMPING * (x - moved[..., 0] - from_x)
        from_y = from_y + _INVERSE_DAMPING * (y - moved[..., 1] - from_y)
    return from_x, from_y


def warp(picture: Field, total: Field) -> Field:
    """A picture moved by a flow at its own pixels.

    Args:
        picture: float32 `(H, W)` or `(H, W, 3)`.
        total: float32 `(H, W, 2)`, px, x right, y down; must not fold the picture.

    Returns:
        the moved picture, float32, the same shape.
    """
    source = inverse_map(total)
    return np.asarray(cv2.remap(picture, *source, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _png(frame: Image) -> bytes:
    return bytes(cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 3])[1])


def _jpeg(frame: Image, quality: int) -> tuple[Image, bytes]:
    """The frame as read back from a JPEG file, and the file."""
    data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), bytes(data)


def draw_clip(
    face: Face,
    rng: np.random.Generator,
    codes: tuple[str, ...],
    amplitude: float,
    *,
    subject: str = "s00",
    clip: int = 0,
    emotion: str = "neutral",
    head: float = 1.0,
    blink: bool = False,
) -> SynthClip:
    """Draw a clip of a face that shows the given units.

    Args:
        face: to draw.
        rng: for everything else about the clip.
        codes: canonical codes of the units.
        amplitude: peak displacement of the strongest unit, px; the others get 0.6 to 1 times that, at least 0.3 px.
        subject, clip, emotion: copied into the result.
        head: strength of the head's motion: 0 for none; 1 for up to 3 px, 1.2 degrees and 1.2 %.
        blink: close the lids by 1 to 4 px, as a distractor without a label; never together with units of the lids.

    Returns:
        the clip with its exact flow.
    """
    half = 0.44 * SIZE * rng.uniform(0.87, 1.05)
    middle = SIZE / 2 + _MARGIN
    centre = (middle + rng.uniform(-0.05, 0.05) * SIZE, middle + rng.uniform(-0.05, 0.04) * SIZE)
    picture = face.draw(rng, centre, half)
    side = SIZE + 2 * _MARGIN
    amplitudes = [amplitude] + [max(min(amplitude, AMPLITUDE[0]), amplitude * rng.uniform(0.6, 1)) for _ in codes[1:]]
    rng.shuffle(amplitudes)
    amplitudes = amplitudes[: len(codes)]
    shown, sizes = list(codes), list(amplitudes)
    if blink:
        closing = rng.uniform(1, 4)
        if not any(parse_canonical(code).alternatives[0] in _LID_UNITS for code in codes):
            shown.append("45")
            sizes.append(closing)
    facial = displacement(shown, sizes, centre, half, (side, side))

    # The head moves the face after the units: flow = S(p + facial) - p.
    turn, zoom = np.radians(head * rng.uniform(-1.2, 1.2)), head * rng.uniform(-0.012, 0.012)
    tx, ty = head * rng.uniform(-3, 3, 2)
    a, b = (1 + zoom) * np.cos(turn) - 1, (1 + zoom) * np.sin(turn)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    px, py = x - middle + facial[..., 0], y - middle + facial[..., 1]
    total = facial + np.dstack([a * px - b * py + tx, b * px + a * py + ty]).astype(np.float32)
    moved = warp(picture, total)

    inside = slice(_MARGIN, _MARGIN + SIZE)
    first, second = picture[inside, inside], moved[inside, inside]
    gain, bias, slope = 1 + rng.normal(0, 0.012), rng.normal(0, 1.2), rng.normal(0, 0.02)
    second = second * (gain + slope * (x[inside, inside, None] - middle) / half) + bias
    noise = rng.uniform(0.5, 3.0)
    quality = int(rng.integers(88, 98)) if rng.random() < 0.4 else None
    grey = rng.random() < 0.25
    frames: list[Image] = []
    files: list[bytes] = []
    for frame in (first, second):
        frame = frame + noise * rng.standard_normal(frame.shape, np.float32)
        pixels = np.rint(frame).clip(0, 255).astype(np.uint8)
        if grey:
            pixels = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if quality is not None:
            pixels, data = _jpeg(pixels, quality)
            files.append(data)
        frames.append(pixels)
    return SynthClip(
        subject=subject,
        clip=clip,
        aus=codes,
        amplitudes=tuple(map(float, amplitudes)),
        emotion=emotion,
        onset=frames[0],
        apex=frames[1],
        jpeg=(files[0], files[1]) if files else None,
        flow=total[inside, inside],
        facial=facial[inside, inside],
        nose=(centre[0] - _MARGIN, centre[1] - _MARGIN + half * face.nose_y),
    )


def _plan(rng: np.random.Generator) -> tuple[str, tuple[str, ...]]:
    """A label and a combination that shows it; some units are one-sided, if the label allows it."""
    labels = tuple(COMBINATIONS)
    emotion = labels[rng.choice(len(labels), p=[_WEIGHTS[label] for label in labels])]
    combination = COMBINATIONS[emotion][rng.integers(len(COMBINATIONS[emotion]))]
    codes = [code for code in combination.split("+") if code]
    for i, code in enumerate(codes):
        # 12, 14 and 15 keep their sides: one-sided, they mean contempt here.
        if code in ("2", "6", "10") and rng.random() < 0.12:
            codes[i] = f"{'LR'[rng.integers(2)]}{code}"
    return emotion, tuple(codes)


@dataclass(frozen=True)
class Plan:
    """What a clip will show, before it is drawn.

    Attributes:
        number: of the clip in its split.
        subject, clip, aus, emotion: as in `SynthClip`.
    """

    number: int
    subject: str
    clip: int
    aus: tuple[str, ...]
    emotion: str


def plan(split: str, number: int, seed: int = 0) -> Plan:
    """What clip `number` of a split shows. Takes microseconds; drawing takes a tenth of a second.

    Args:
        split, number, seed: as for `clips`.
    """
    return _planned(split, number, seed)[0]


def _planned(split: str, number: int, seed: int) -> tuple[Plan, np.random.Generator, int]:
    """The plan of a clip, its generator, and the seed of its face."""
    who, clip = divmod(number, SUBJECT_CLIPS)
    rng, face = drawn_from(split, seed, who, clip)
    emotion, codes = _plan(rng)
    return Plan(number, f"s{who:02d}", clip, codes, emotion), rng, face


def drawn_from(split: str, seed: int, who: int, clip: int) -> tuple[np.random.Generator, int]:
    """The generator of one clip, independent of other clips, and the seed of its face.

    Args:
        split, seed: as for `clips`.
        who, clip: number of the face in its split, and of the clip of this face.
    """
    entropy = int.from_bytes(hashlib.sha256(f"synthme {split} {seed}".encode()).digest()[:8], "little")
    face = int(np.random.SeedSequence([entropy, who]).generate_state(1, np.uint64)[0])
    return np.random.default_rng([entropy, who, clip + 1]), face


def distractions(rng: np.random.Generator) -> tuple[float, bool]:
    """The arguments `head` and `blink` of `draw_clip`, at random."""
    return float(rng.uniform(0, 1) ** 0.5) if rng.random() < 0.8 else 0.0, bool(rng.random() < 0.1)


def clips(split: str, count: int, seed: int = 0, start: int = 0) -> Iterator[SynthClip]:
    """Draw clips number `start` to `start + count - 1` of a split, deterministic by seed.

    Ten consecutive clips share a face. No face is in two splits.

    Args:
        split: `"train"`, `"test"`, or any other name.
        count: how many.
        seed: of the whole dataset.
        start: number of the first clip; the clips before it need not be drawn.
    """
    for number in range(start, start + count):
        planned, rng, face = _planned(split, number, seed)
        amplitude = float(np.exp(rng.uniform(*np.log(AMPLITUDE))))
        head, blink = distractions(rng)
        yield draw_clip(
            Face(face),
            rng,
            planned.aus,
            amplitude,
            subject=planned.subject,
            clip=planned.clip,
            emotion=planned.emotion,
            head=head,
            blink=blink,
        )


def sample(clip: SynthClip) -> Sample:
    """The clip as a row of a prepared dataset."""
    onset, apex = clip.files()
    return Sample(
        id=clip.id,
        dataset="synthme",
        subject=clip.subject,
        clip=f"{clip.clip:02d}",
        onset=onset,
        apex=apex,
        au_code="+".join(clip.aus),
        aus=clip.aus,
        emotion=clip.emotion,
        coarse=coarse(clip.emotion),
        nose=clip.nose,
    )


def prepare(root: Path | None = None, replace: bool = False) -> Path:
    """Draw the test set (a few seconds), unless it exists, and return its folder.

    Args:
        root: the data root; None for the user's.
        replace: draw it again even if it exists.

    Raises:
        DataError: the folder cannot be written, or the disk is too full.
    """
    info = {"source": f"drawn by mellm_plugin.datasets.synthme, version {VERSION}, split test, seed 0"}

    def samples() -> Iterator[Sample]:
        check_room(NAME, _BYTES, root, least=_BYTES)
        for clip in tqdm(clips("test", TEST_CLIPS), "drawing SynthME", TEST_CLIPS, unit="clip", disable=None):
            yield sample(clip)

    return store.write(NAME, {"test": samples()}, info, root=root, exists="replace" if replace else "keep")
