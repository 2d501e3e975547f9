"""Drawn faces in front of a camera: the frames of fictitious clips, and the truth about them."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.datasets.synthme import AUS, COMBINATIONS, SIZE, Face, displacement, inverse_map
from mellm_plugin.facs.codes import read_codes

Draw = Literal["faces", "noise"]
Cell = str | int | float | None
Image = npt.NDArray[np.uint8]

_MARGIN = 16  # px around the picture, so that the movement stays inside it
_STRONGEST = (1.2, 2.4)  # px in a frame of 224 px: a range that the bundled model reads well
_SENSOR = 1.0  # grey levels


@dataclass(frozen=True)
class Truth:
    """A clip as a converter should find it, and what its frames show. Frame numbers are the sheet's, even if wrong.

    A value that the dataset does not give is None. The subject is normalised (`sub01`, `006`, `s01`); a clip without a
    name of its own (CAS(ME)^3) is named by file and onset, `b_166`. `numbers` are the frames that exist, `moved` the
    peak of each canonical code that the drawn face shows (px of the frame; empty for blobs), `peak` the frame with the
    largest movement, `centre` and `half` those of the face as `synthme.displacement` takes them (px of the frame).
    """

    number: int
    split: str
    subject: str
    clip: str
    onset: int | None
    apex: int | None
    offset: int | None
    au_code: str | None
    emotion: str
    objective: int | None
    fps: float | None
    row: int | None
    folder: Path
    pattern: str
    numbers: range
    moved: Mapping[str, float]
    peak: int
    centre: tuple[float, float]
    half: float

    def frame(self, number: int) -> Path:
        """The file of a frame, there or not."""
        return self.folder / self.pattern.format(number)


@dataclass(frozen=True)
class Fictitious:
    """A written dataset: its name as `mellm prepare` takes it, the folder of frames, the sheets by split, the clips.

    The clips stand in the order of the sheets, as a converter should find them.
    """

    name: str
    frames: Path
    sheets: Mapping[str, Path]
    clips: tuple[Truth, ...]

    @property
    def sheet(self) -> Path:
        """The only sheet."""
        (sheet,) = self.sheets.values()
        return sheet

    @property
    def arguments(self) -> list[str]:
        """What follows `mellm prepare NAME`."""
        single = len(self.sheets) == 1
        values = [str(path) if single else f"{split}={path}" for split, path in self.sheets.items()]
        return ["--frames", str(self.frames), *itertools.chain(*(("--sheet", value) for value in values))]


CODES: dict[str, tuple[str, ...]] = {
    **COMBINATIONS,
    "others": ("4", "4+7", "14", "7", "17", "10", "4+14"),
    "repression": ("15+17", "17", "14+17", "15", "14", "17+24", "4+15"),
    "positive": COMBINATIONS["happiness"],
    "negative": tuple(
        itertools.chain(*zip(*(COMBINATIONS[e] for e in ("anger", "disgust", "sadness", "fear")), strict=False))
    ),
    "positive surprise": ("1+2+12", "2+12", "1+2+6+12"),
    "negative surprise": ("1+2+4", "1+2+4+5", "1+2+4+25"),
}
"""Codes that show a label, made of units that SynthME can draw."""


def drawable(code: object) -> tuple[str, ...]:
    """The units of a code that SynthME can draw, as its canonical codes; of alternatives the first."""
    shown: dict[str, None] = {}
    for unit in read_codes(code).units or ():
        reading = next((reading for reading in unit.readings if reading.number in AUS), None)
        if reading is not None:
            side = reading.side if reading.side in ("L", "R") else ""
            shown[f"{side}{reading.number}"] = None
    return tuple(shown)


def _mix(*parts: object) -> int:
    """Entropy that is the same in every process."""
    return zlib.crc32("\0".join(map(str, parts)).encode())


class Film(TypedDict, total=False):
    """How the frames are made; all datasets take this.

    Attributes:
        size: width and height, px (default 224x224); the face fills a square in the middle.
        frames: of each clip, from onset to offset (default 8).
        draw: `"faces"` that show the codes (default), or `"noise"`.
        seed: of everything random (default 0).
    """

    size: tuple[int, int]
    frames: int
    draw: Draw
    seed: int


@dataclass(frozen=True)
class Camera:
    """Everything about the frames of a dataset except what they show; see `Film`."""

    dataset: str
    size: tuple[int, int] = (SIZE, SIZE)
    frames: int = 8
    draw: Draw = "faces"
    seed: int = 0
    grey: bool = False

    def rng(self, number: int, what: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, _mix(self.dataset, what), number])

    def truth(self, number: int, *, code: object, emotion: str, first: int, lead: int = 0, **known: Any) -> Truth:
        """A clip whose folder begins with frame `first`, and whose movement begins `lead` frames later.

        `code` is the cell of the sheet, None where there is none; `known` are fields of `Truth`, such as a wrong apex.
        """
        rng = self.rng(number, "plan")
        onset = first + lead
        peak = onset + int(rng.integers(max(1, self.frames // 3), max(2, 2 * self.frames // 3)))
        scale = min(self.size) / SIZE
        moved: dict[str, float] = {}
        centre = (float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.05, 0.04)))
        half = 0.44 * float(rng.uniform(0.87, 1.05))
        if self.draw == "faces":
            shown = drawable(code) or drawable(CODES[emotion][number % len(CODES[emotion])])
            strongest = float(np.exp(rng.uniform(*np.log(_STRONGEST))))
            sizes = strongest * np.array([1.0, *rng.uniform(0.7, 1.0, len(shown) - 1)])
            moved = {code: float(px) * scale for code, px in zip(shown, sizes, strict=True)}
        values: dict[str, Any] = {
            "number": number,
            "split": "test",
            "onset": onset,
            "apex": peak,
            "offset": onset + self.frames - 1,
            "au_code": None if code is None else str(code),
            "emotion": emotion,
            "objective": None,
            "row": None,
            "numbers": range(first, onset + self.frames),
            "moved": moved,
            "peak": peak,
            "centre": (self.size[0] / 2 + centre[0] * SIZE * scale, self.size[1] / 2 + centre[1] * SIZE * scale),
            "half": half * SIZE * scale,
        }
        return Truth(**{**values, **known})

    def shoot(self, clips: Sequence[Truth]) -> None:
        """Write the frames of all clips, one clip in memory at a time."""
        for clip in clips:
            clip.folder.mkdir(parents=True, exist_ok=True)
            film = self._faces(clip) if self.draw == "faces" else self._blobs(clip)
            for number, frame in zip(clip.numbers, film, strict=True):
                clip.frame(number).write_bytes(encode(frame, clip.frame(number).suffix))

    def _shares(self, clip: Truth) -> Iterator[float]:
        """How much of the whole movement each frame shows: none to the onset, all at the peak, a tenth at the end."""
        onset = clip.peak if clip.onset is None else clip.onset
        for number in clip.numbers:
            if number <= clip.peak:
                t = max(0, number - onset) / max(1, clip.peak - onset)
                yield float((1 - np.cos(np.pi * t)) / 2)
            else:
                t = (number - clip.peak) / max(1, clip.numbers[-1] - clip.peak)
                yield 1 - 0.9 * float((1 - np.cos(np.pi * t)) / 2)

    def _faces(self, clip: Truth) -> Iterator[Image]:
        rng = self.rng(clip.number, "film")
        side, scale = SIZE + 2 * _MARGIN, min(self.size) / SIZE
        half = clip.half / scale
        x0, y0 = ((c - s / 2) / scale + side / 2 for c, s in zip(clip.centre, self.size, strict=True))
        face = Face(_mix(self.seed, self.dataset, clip.subject))
        picture = face.draw(rng, (x0, y0), half)
        if self.grey:
            picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        sizes = [px / scale for px in clip.moved.values()]
        from_x, from_y = inverse_map(displacement(tuple(clip.moved), sizes, (x0, y0), half, (side, side)))
        y, x = np.mgrid[0:side, 0:side].astype(np.float32)
        # A share of the way back is exact at onset and peak, and off by less than 0.1 px between them.
        back_x, back_y = from_x - x, from_y - y
        drift = rng.uniform(-0.6, 0.6, 2) / len(clip.numbers)  # the head, px a frame
        inside = slice(_MARGIN, _MARGIN + SIZE)
        for i, share in enumerate(self._shares(clip)):
            s = np.float32(share)
            dx, dy = np.float32(i * drift[0]), np.float32(i * drift[1])
            moved = cv2.remap(picture, x + s * back_x - dx, y + s * back_y - dy, cv2.INTER_CUBIC)[inside, inside]
            yield fitted(moved, self.size, rng)

    def _blobs(self, clip: Truth) -> Iterator[Image]:
        rng = self.rng(clip.number, "film")
        grid = rng.uniform(30, 225, (6, 6) if self.grey else (6, 6, 3)).astype(np.float32)
        picture = cv2.resize(grid, self.size, interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
        for share in self._shares(clip):
            shift = np.array([[1, 0, share], [0, 1, -share]], np.float32)
            yield np.asarray(cv2.warpAffine(picture, shift, self.size, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def fitted(picture: npt.NDArray[np.float32], size: tuple[int, int], rng: np.random.Generator) -> Image:
    """A square picture in the middle of a frame of this width and height, with the noise of a sensor."""
    side = min(size)
    if side != picture.shape[0]:
        shrink = side < picture.shape[0]
        picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)
    across, down = size[0] - side, size[1] - side
    if across or down:
        edges = (down // 2, down - down // 2, across // 2, across - across // 2)
        picture = cv2.copyMakeBorder(picture, *edges, cv2.BORDER_REPLICATE)
    noisy = picture + np.float32(_SENSOR) * rng.standard_normal(picture.shape, np.float32)
    return np.asarray(np.rint(noisy).clip(0, 255), np.uint8)


def encode(frame: Image, suffix: str) -> bytes:
    """A frame, uint8 `(H, W)` or `(H, W, 3)` RGB, as a file of this kind; JPEG at quality 95."""
    pixels = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) if frame.ndim == 3 else frame
    return bytes(cv2.imencode(suffix, pixels, [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpg" else [])[1])
