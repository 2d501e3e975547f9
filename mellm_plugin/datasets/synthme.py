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
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mellm_plugin.datasets import store
from mellm_plugin.datasets.disk import check_room
from mellm_plugin.datasets.face import MARGIN, Field
from mellm_plugin.datasets.face import SIZE as SIZE
from mellm_plugin.datasets.face import Face as Face
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.facs.labels import coarse

VERSION = 1
"""Version of the drawings. It is part of the dataset's name, so cached answers are never mixed up."""

NAME = f"synthme-v{VERSION}"
"""Name of the prepared dataset."""

TEST_CLIPS = 300
"""Clips of the test set: ten of each of thirty faces."""

AMPLITUDE = (0.3, 3.0)
"""Peak displacement of an action unit, px: log-uniform over this range for the strongest unit of a clip."""

SUBJECT_CLIPS = 10
"""Clips of each face."""

_BYTES = 28_400_000  # of the stored test set
_INVERSE_ITERATIONS = 20
_INVERSE_DAMPING = 0.6
_LID_UNITS = {5, 7}  # a blink would hide them, or fold the lids


@dataclass(frozen=True)
class Window:
    """One Gaussian window of an action unit, on the image's right half; mirrored to the left half.

    Lengths are in half heights of the face, from its centre: x outwards, y down.
    """

    x: float  # centre
    y: float
    dx: float  # displacement at the centre, relative to the unit's amplitude
    dy: float
    sx: float  # sigma
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


@dataclass(frozen=True)
class SynthClip:
    """A drawn clip and the truth about it."""

    subject: str  # name of the face, unique within a split
    clip: int  # number of the clip of this face
    aus: tuple[str, ...]  # canonical codes; sides are the subject's own
    amplitudes: tuple[float, ...]  # peak displacement of each unit, px
    emotion: str
    onset: Image  # uint8 (224, 224, 3), RGB, after noise and compression
    apex: Image
    jpeg: tuple[bytes, bytes] | None  # the frames as JPEG files if they were compressed
    flow: Field  # float32 (224, 224, 2), px, x right, y down, at onset pixels: motion of head and face together
    facial: Field  # the same without the head's motion
    nose: tuple[float, float]  # nose tip, x and y, px

    @property
    def id(self) -> str:
        """The id in prepared datasets: `synthme/s03/07`."""
        return f"synthme/{self.subject}/{self.clip:02d}"

    def files(self) -> tuple[bytes, bytes]:
        """Onset and apex as files: JPEG if they were compressed, else PNG."""
        return self.jpeg or (_png(self.onset), _png(self.apex))


def displacement(
    codes: Sequence[str], amplitudes: Sequence[float], centre: tuple[float, float], half: float, shape: tuple[int, int]
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
        picture: float32 `(H, W)` or `(H, W, 3)`, as the result.
        total: float32 `(H, W, 2)`, px, x right, y down; must not fold the picture.
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
    """Draw a clip of a face that shows the given units, with its exact flow.

    Args:
        codes: canonical codes of the units.
        amplitude: peak displacement of the strongest unit, px; the others get 0.6 to 1 times that, at least 0.3 px.
        subject, clip, emotion: copied into the result.
        head: strength of the head's motion: 0 for none; 1 for up to 3 px, 1.2 degrees and 1.2 %.
        blink: close the lids by 1 to 4 px, as a distractor without a label; never together with units of the lids.
    """
    half = 0.44 * SIZE * rng.uniform(0.87, 1.05)
    middle = SIZE / 2 + MARGIN
    centre = (middle + rng.uniform(-0.05, 0.05) * SIZE, middle + rng.uniform(-0.05, 0.04) * SIZE)
    picture = face.draw(rng, centre, half)
    side = SIZE + 2 * MARGIN
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

    inside = slice(MARGIN, MARGIN + SIZE)
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
        nose=(centre[0] - MARGIN, centre[1] - MARGIN + half * face.nose_y),
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
    """What a clip will show, before it is drawn; see `SynthClip`."""

    number: int  # of the clip in its split
    subject: str
    clip: int
    aus: tuple[str, ...]
    emotion: str


def plan(split: str, number: int, seed: int = 0) -> Plan:
    """What clip `number` of a split shows. Takes microseconds; drawing takes a tenth of a second."""
    return _planned(split, number, seed)[0]


def _planned(split: str, number: int, seed: int) -> tuple[Plan, np.random.Generator, int]:
    """The plan of a clip, its generator, and the seed of its face."""
    who, clip = divmod(number, SUBJECT_CLIPS)
    rng, face = drawn_from(split, seed, who, clip)
    emotion, codes = _plan(rng)
    return Plan(number, f"s{who:02d}", clip, codes, emotion), rng, face


def drawn_from(split: str, seed: int, who: int, clip: int) -> tuple[np.random.Generator, int]:
    """The generator of one clip, independent of other clips, and the seed of its face, number `who` of the split."""
    entropy = int.from_bytes(hashlib.sha256(f"synthme {split} {seed}".encode()).digest()[:8], "little")
    face = int(np.random.SeedSequence([entropy, who]).generate_state(1, np.uint64)[0])
    return np.random.default_rng([entropy, who, clip + 1]), face


def distractions(rng: np.random.Generator) -> tuple[float, bool]:
    """The arguments `head` and `blink` of `draw_clip`, at random."""
    return float(rng.uniform(0, 1) ** 0.5) if rng.random() < 0.8 else 0.0, bool(rng.random() < 0.1)


def clips(split: str, count: int, seed: int = 0, start: int = 0) -> Iterator[SynthClip]:
    """Draw clips number `start` to `start + count - 1` of a split, deterministic by seed.

    Ten consecutive clips share a face. No face is in two splits.

    The clips before `start` need not be drawn, and the split may have any name.
    """
    for number in range(start, start + count):
        planned, rng, face = _planned(split, number, seed)
        amplitude = float(np.exp(rng.uniform(*np.log(AMPLITUDE))))
        head, blink = distractions(rng)
        drawn = draw_clip(Face(face), rng, planned.aus, amplitude, head=head, blink=blink)
        yield replace(drawn, subject=planned.subject, clip=planned.clip, emotion=planned.emotion)


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
    """Draw the test set (a few seconds), unless it exists or `replace` is set, and return its folder.

    Raises:
        DataError: the folder cannot be written, or the disk is too full.
    """
    info = {"source": f"drawn by mellm_plugin.datasets.synthme, version {VERSION}, split test, seed 0"}

    def samples() -> Iterator[Sample]:
        check_room(NAME, _BYTES, root, least=_BYTES)
        for clip in tqdm(clips("test", TEST_CLIPS), "drawing SynthME", TEST_CLIPS, unit="clip", disable=None):
            yield sample(clip)

    return store.write(NAME, {"test": samples()}, info, root=root, exists="replace" if replace else "keep")
