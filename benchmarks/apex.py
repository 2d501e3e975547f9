"""python benchmarks/apex.py [--clips 24] [--seed 0 1 2] [--kinds unit crop] [--photographs FILE ...]

Movements found by `mellm_plugin.motion.apex.spot`, their error in frames and the cost, on clips whose movements are
known exactly. `KINDS` lists what the clips show.

A face of 224 px, drawn or photographed, is moved by action units with a random rise of .07 to .25 s and a fall of .1 to
.4 s, at 30 to 200 frames a second. In half of the clips the head drifts by up to 3 px, 1.2 degrees and 1.2 %. A nod,
yaw or shake turns a head with depth (an ellipsoid with a nose, of random aspect) about a neck behind it, by 1 to 4
degrees, in perspective. A blink draws the skin of the upper lid over the eye. Light drifts, and each frame has its own
sensor noise.

The photographed faces: scikit-image's astronaut (NASA) for tuning; matplotlib's Grace Hopper (US Navy), held out, as
are the portraits that `--photographs` names (those of face_recognition's source archive, of the White House).

"right": the strongest movement is the expression's, its apex within 50 ms or 3 frames. Errors are means over the right
ones, onsets likewise. For clips with several movements, each movement is an item. Milliseconds are those of one
thread, without reading. Drawing takes most of the time.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.datasets.synthme import COMBINATIONS, SIZE, Face, displacement
from mellm_plugin.motion.apex import Spotted, spot

MARGIN = 16
SIDE = SIZE + 2 * MARGIN
MIDDLE = (SIDE - 1) / 2

Field = npt.NDArray[np.float32]
Frames = npt.NDArray[np.uint8]


class Kind(NamedTuple):
    """What the clips of a kind show."""

    about: str
    px: tuple[float, float] = (0.5, 2.5)  # of the strongest unit; log-uniform
    movements: tuple[int, int] = (1, 1)
    blinks: tuple[int, int] = (0, 0)
    turns: int = 0  # nods, yaws or shakes
    crops: bool = False  # more and less forehead, off-centre, tilted by up to 10 degrees, other sizes
    noise: float = 3.0  # grey levels, at most
    crf: int | None = None  # of H.264
    rates: tuple[int, ...] = (30, 60, 100, 200)


KINDS: dict[str, Kind] = {
    "unit": Kind("one movement of 0.5 to 2.5 px"),
    "small": Kind("one movement of 0.5 px", px=(0.5, 0.5)),
    "crop": Kind("a movement and one or two larger blinks, cropped anyhow", (0.7, 2.5), blinks=(1, 2), crops=True),
    "nod": Kind("a movement before or after a nod, yaw or shake", (0.7, 2.5), turns=1, rates=(30, 60, 100)),
    "several": Kind("two to four movements and up to two blinks", (0.7, 2.5), (2, 4), (0, 2), rates=(30, 60, 100)),
    "coded": Kind("one movement of 1 to 2.5 px, H.264 at CRF 23", px=(1.0, 2.5), crf=23),
    "still": Kind("no movement; noise up to 4", movements=(0, 0), noise=4.0),
    "still, coded": Kind("no movement; noise up to 4, H.264 at CRF 23", movements=(0, 0), noise=4.0, crf=23),
    "still, turns": Kind("no movement but a nod, yaw or shake", movements=(0, 0), turns=1, rates=(30, 60, 100)),
    "blinks": Kind("one to three blinks, no movement, cropped anyhow", movements=(0, 0), blinks=(1, 3), crops=True),
}

PLACES: dict[str, tuple[tuple[float, float], ...]] = {
    "astronaut": ((203, 101), (247.5, 103), (226, 143)),
    "grace_hopper.jpg": ((225, 188), (306, 185), (276, 279)),
    "biden.jpg": ((528, 333), (645, 352), (572, 469)),
    "obama.jpg": ((446, 211.5), (547, 211.5), (498, 326)),
    "obama2.jpg": ((257, 371), (367, 380), (304, 526)),
    "obama3.jpg": ((742, 388), (858, 400), (792, 506)),
}
"""The eyes (the left one in the picture first) and the middle of the mouth in the photographs, px."""


LIDS = ("5", "7")
"""Movements at the eyes alone, which cannot be told from a blink."""


class Movement(NamedTuple):
    """Frames of one movement."""

    onset: int  # the last frame before anything moves
    apex: int
    offset: int


class Clip(NamedTuple):
    """A clip and what truly happens in it."""

    frames: Frames  # `(T, 224, 224)`, grey
    movements: tuple[Movement, ...]
    blinks: tuple[int, ...]  # frames in which the eyes are closed
    face: str  # drawn, astronaut or held-out
    fps: int


def profile(length: int, moved: Movement, power: float = 1.0, rest: float = 0.0) -> npt.NDArray[np.float64]:
    """Share of the peak displacement, `(length,)`: 0 up to the onset, 1 at the apex, `rest` from the offset on."""
    t = np.arange(length, dtype=np.float64)
    rise = np.clip((t - moved.onset) / (moved.apex - moved.onset), 0, 1)
    fall = np.clip((t - moved.apex) / (moved.offset - moved.apex), 0, 1)
    up = ((1 - np.cos(np.pi * rise)) / 2) ** power
    return np.asarray(np.where(t <= moved.apex, up, 1 - (1 - rest) * (1 - np.cos(np.pi * fall)) / 2))


@lru_cache(maxsize=8)
def photograph(path: str) -> Field:
    """A photographed face upright, its centre in the middle and half its height .44 of 224 px: `(256, 256)`, grey."""
    if path == "astronaut":
        from skimage import data

        picture = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)
    else:
        picture = np.asarray(cv2.imread(path, cv2.IMREAD_GRAYSCALE), np.uint8)
    places = np.array(PLACES[Path(path).name])
    half = 0.44 * SIZE
    # where the drawn face has them, as complex numbers, so that the best similarity is one division
    wanted = half * np.array([-0.30 - 0.12j, 0.30 - 0.12j, 0.50j])
    given = places @ np.array([1, 1j])
    around = given - given.mean()
    turn = complex(np.vdot(around, wanted - wanted.mean()) / np.vdot(around, around).real)
    shift = complex(wanted.mean() - turn * given.mean()) + MIDDLE * (1 + 1j)
    if abs(turn) < 1:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.4 / abs(turn))
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    how = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REFLECT}
    return np.asarray(cv2.warpAffine(picture.astype(np.float32), matrix, (SIDE, SIDE), **how), np.float32)


def depth(rng: np.random.Generator, centre: tuple[float, float], half: float) -> Field:
    """Depth of a head towards the camera, px, `(256, 256)`: an ellipsoid and a nose, both of random aspect."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    x, y = (x - centre[0]) / half, (y - centre[1]) / half
    across, down, deep = rng.uniform(0.75, 0.95), rng.uniform(1.05, 1.3), rng.uniform(0.5, 1.0)
    head = deep * np.sqrt(np.clip(1 - (x / across) ** 2 - ((y + 0.1) / down) ** 2, 0, None))
    nose = rng.uniform(0.12, 0.28) * np.exp(-((x / 0.11) ** 2) / 2 - ((y - 0.1) / rng.uniform(0.14, 0.2)) ** 2 / 2)
    return np.asarray(cv2.GaussianBlur(half * (head + nose), (0, 0), 4), np.float32)


def turned(places: Field, z: Field, yaw: float, pitch: float, half: float) -> Field:
    """Where places `(256, 256, 2)` of depth `z` are seen after the head has turned by these angles, radians."""
    neck, distance = 0.9 * half, 9 * half  # behind the face's plane; from the camera
    x, y, deep = places[..., 0] - MIDDLE, places[..., 1] - MIDDLE - 0.3 * half, z + neck
    x, deep = x * np.cos(yaw) + deep * np.sin(yaw), deep * np.cos(yaw) - x * np.sin(yaw)
    y, deep = y * np.cos(pitch) + deep * np.sin(pitch), deep * np.cos(pitch) - y * np.sin(pitch)
    zoom = (distance - z - neck) / (distance - deep)
    return np.dstack([x * zoom + MIDDLE, y * zoom + MIDDLE + 0.3 * half]).astype(np.float32)


def with_head(facial: Field, middle: float, tx: float, ty: float, turn: float, zoom: float) -> Field:
    """The flow of a face whose head then moves: shift in px, turn in radians and zoom about the middle of the frame."""
    a, b = (1 + zoom) * np.cos(turn) - 1, (1 + zoom) * np.sin(turn)
    y, x = np.mgrid[: facial.shape[0], : facial.shape[1]].astype(np.float32)
    px, py = x - middle + facial[..., 0], y - middle + facial[..., 1]
    return np.asarray(facial + np.dstack([a * px - b * py + tx, b * px + a * py + ty]).astype(np.float32))


def coded(frames: Frames, crf: int, fps: int) -> Frames:
    """The frames after H.264, as libx264 writes them by default."""
    file = io.BytesIO()
    writer = av.open(file, "w", format="mp4")
    stream = writer.add_stream("libx264", rate=fps, options={"crf": str(crf)})
    stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
    stream.codec_context.thread_count = 1
    for frame in frames:
        writer.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
    writer.mux(stream.encode())
    writer.close()
    file.seek(0)
    with av.open(file, "r") as reader:
        decoded = [np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in reader.decode(video=0)]
    return np.stack(decoded)


class Plan(NamedTuple):
    """When things happen in a clip, and its length, frames."""

    units: list[Movement]
    blinks: list[Movement]
    turn: Movement | None
    length: int


def plan(kind: Kind, fps: int, rng: np.random.Generator) -> Plan:
    """A random order of what a kind shows, one after the other."""

    def frames(low: float, high: float) -> int:
        return max(2, round(rng.uniform(low, high) * fps))

    def movement(start: int) -> Movement:
        apex = start + frames(0.07, 0.25)
        return Movement(start, apex, apex + frames(0.1, 0.4))

    def blink(start: int) -> Movement:
        return Movement(start, start + frames(0.06, 0.1), start + frames(0.2, 0.3) + 2)

    what = ["unit"] * int(rng.integers(kind.movements[0], kind.movements[1] + 1))
    what += ["blink"] * int(rng.integers(kind.blinks[0], kind.blinks[1] + 1)) + ["turn"] * kind.turns
    rng.shuffle(what)
    units: list[Movement] = []
    blinks: list[Movement] = []
    turn: Movement | None = None
    end = 0 if rng.random() < 0.15 else int(rng.integers(3, 20))
    for name in what:
        if name == "unit":
            units.append(movement(end))
            end = units[-1].offset
        elif name == "blink":
            blinks.append(blink(end))
            end = blinks[-1].offset
        else:
            turn = Movement(end, end + frames(0.15, 0.4), end + frames(0.45, 0.8) + 2)
            end = turn.offset
        end += frames(0.02, 0.3)
    return Plan(units, blinks, turn, max(40, end + int(rng.integers(5, 25))))


def draw(kind: str, number: int, seed: int = 0, photographs: Sequence[str] = ("astronaut",)) -> Clip:
    """Draw clip `number` of a kind, by its arguments alone but for what the encoder does.

    Every other face is a photographed one.
    """
    made = KINDS[kind]
    rng = np.random.default_rng([0x5B07, seed, list(KINDS).index(kind), number])
    fps = made.rates[number % len(made.rates)]
    face, half, centre = "drawn", 0.44 * SIZE, (MIDDLE, MIDDLE)
    if number // len(made.rates) % 2:
        name = photographs[int(rng.integers(len(photographs)))]
        picture, face = photograph(name), "astronaut" if name == "astronaut" else "held-out"
    else:
        half *= rng.uniform(0.87, 1.05)
        centre = (MIDDLE + rng.uniform(-0.05, 0.05) * SIZE, MIDDLE + rng.uniform(-0.05, 0.04) * SIZE)
        picture = cv2.cvtColor(Face(int(rng.integers(2**63))).draw(rng, centre, half), cv2.COLOR_RGB2GRAY)

    units, blinks, turn, length = plan(made, fps, rng)
    shape = (SIDE, SIDE)
    lids = displacement(["45"], [1.0], (centre[0], centre[1] + 0.03 * half), half, shape)
    moves: list[tuple[Field, npt.NDArray[np.float64]]] = []
    for moved in units:
        labels = [label for label in COMBINATIONS if label != "neutral"]
        combinations = [c for label in labels for c in COMBINATIONS[label] if not made.blinks[1] or c not in LIDS]
        codes = combinations[rng.integers(len(combinations))].split("+")
        largest = float(np.exp(rng.uniform(*np.log(made.px))))
        sizes = [largest, *(largest * rng.uniform(0.6, 1, len(codes) - 1))]
        last = moved is units[-1] and not blinks and turn is None
        rest = float(rng.uniform(0.2, 0.6)) if last and rng.random() < 0.25 else 0.0
        shown = profile(length, moved, float(rng.uniform(0.7, 1.5)), rest)
        moves.append((displacement(codes, sizes, centre, half, shape), shown))
    closing = sum((rng.uniform(5, 9) * profile(length, moved) for moved in blinks), np.zeros(length))

    path, t = np.zeros((length, 4)), np.arange(length)
    if rng.random() < 0.5:
        speed, phase = rng.uniform(0.2, 1.2, (2, 4)), rng.uniform(0, 2 * np.pi, (2, 4))
        waves = np.sin(2 * np.pi * speed * t[:, None, None] / length + phase)
        path = np.tensordot(waves, [0.7, 0.3], (1, 0))
        path -= path[0]
        path *= np.array([3.0, 3.0, np.radians(1.2), 0.012]) / np.maximum(1, np.abs(path).max(axis=0))
    angles, z = np.zeros((length, 2)), np.zeros(shape, np.float32)
    if turn is not None:
        z = depth(rng, centre, half)
        once, size = profile(length, turn, rest=float(rng.choice([0, 0, 0.3]))), np.radians(rng.uniform(1, 4))
        along = rng.choice(3)  # a nod, a yaw, a shake
        if along == 2:
            once = once * np.sin(2 * np.pi * (t - turn.onset) / (turn.offset - turn.onset))
        angles[:, int(along == 0)] = once * size * rng.choice([-1, 1])

    light = 1 + np.cumsum(rng.normal(0, 0.0015, length))
    noise = rng.uniform(0.5, made.noise)
    grid = np.dstack(np.meshgrid(np.arange(SIZE), np.arange(SIZE))).astype(np.float32) - (SIZE - 1) / 2
    if made.crops:
        tilt, zoom = np.radians(rng.uniform(-10, 10)), rng.uniform(0.9, 1.2)
        moved_by = np.array([rng.uniform(-14, 14), rng.uniform(-26, 18)])
        turning = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
        grid = (grid @ (zoom * turning) + moved_by).astype(np.float32)
    grid += np.float32(MIDDLE)
    places = np.dstack(np.meshgrid(np.arange(SIDE), np.arange(SIDE))).astype(np.float32)
    frames = np.empty((length, SIZE, SIZE), np.uint8)
    away = np.zeros_like(places)  # from each pixel of the moved picture back to its origin
    linear = {"interpolation": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    for i in range(length):
        facial = sum((unit * np.float32(shown[i]) for unit, shown in moves), np.zeros_like(places))
        total = facial
        if angles[i].any():
            total = turned(places + facial, z, angles[i, 0], angles[i, 1], half) - places
        total = with_head(total, MIDDLE, *path[i])
        for _ in range(5):  # each frame starts at the last one's solution
            away += 0.7 * (-cv2.remap(total, places + away, None, **linear) - away)
        origin = grid + cv2.remap(away, grid, None, **linear)
        if closing[i]:
            origin = origin - np.float32(closing[i]) * cv2.remap(lids, origin, None, **linear)
        seen = cv2.remap(picture, origin, None, interpolation=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        seen = seen * np.float32(light[i]) + np.float32(noise) * rng.standard_normal(seen.shape, np.float32)
        frames[i] = np.rint(seen).clip(0, 255)
    if made.crf is not None:
        frames = coded(frames, made.crf, fps)
    return Clip(frames, tuple(units), tuple(blink.apex for blink in blinks), face, fps)


class Row(NamedTuple):
    """What was found in a clip, without its frames."""

    clip: Clip
    found: Spotted
    ms: float  # a frame


def measured(kind: str, photographs: Sequence[str], place: tuple[int, int]) -> Row:
    """Draw a clip, given its seed and number, and spot its movements."""
    cv2.setNumThreads(1)
    clip = draw(kind, place[1], place[0], photographs)
    start = time.process_time()
    found = spot(clip.frames)
    ms = 1000 * (time.process_time() - start) / len(clip.frames)
    return Row(clip._replace(frames=clip.frames[:0]), found, ms)


def _near(clip: Clip, true: int, found: Sequence[int]) -> bool:
    return any(abs(apex - true) <= max(3, round(0.05 * clip.fps)) for apex in found)


def _line(name: str, rows: Sequence[Row]) -> str:
    """One line of the table for clips with one movement."""
    found = [row for row in rows if row.found.found and not (row.clip.blinks and row.found.at_the_eyes)]
    right = [row for row in found if _near(row.clip, row.clip.movements[0].apex, [row.found.apex or 0])]
    apex = [abs((row.found.apex or 0) - row.clip.movements[0].apex) for row in right]
    onset = [abs((row.found.onset or 0) - row.clip.movements[0].onset) for row in right]
    errors = [f"{statistics.mean(e):.1f}" if e else "–" for e in (apex, onset)]
    wrong, missed = len(found) - len(right), len(rows) - len(found)
    return f"| {name} | {len(rows)} | {len(right)} | {wrong} | {missed} | {errors[0]} | {errors[1]} |"


def _groups(kind: str, rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    yield kind, list(rows)
    if kind == "unit":
        for fps in KINDS[kind].rates:
            yield f"{kind}, {fps} fps", [row for row in rows if row.clip.fps == fps]
    if kind in ("unit", "crop", "nod"):
        for face in ("drawn", "astronaut", "held-out"):
            if group := [row for row in rows if row.clip.face == face]:
                yield f"{kind}, {face}", group


def report(results: dict[str, list[Row]]) -> str:
    """The tables."""
    lines = ["| clips with one movement | clips | right | wrong | missed | apex, frames | onset, frames |"]
    lines.append("|---|" + "---:|" * 6)
    for kind, rows in results.items():
        if KINDS[kind].movements == (1, 1):
            lines += [_line(*group) for group in _groups(kind, rows)]
    lines += ["", "| all movements of a clip | true | found | right | blinks | found, at the eyes |"]
    lines.append("|---|" + "---:|" * 5)
    for kind, rows in results.items():
        made = KINDS[kind]
        if made.movements[1] < 2 and not made.blinks[1]:
            continue
        faces = [(row, [e.apex for e in row.found.events if not e.at_the_eyes]) for row in rows]
        eyes = [(row, [e.apex for e in row.found.events if e.at_the_eyes]) for row in rows]
        right = sum(_near(row.clip, moved.apex, apexes) for row, apexes in faces for moved in row.clip.movements)
        lids = sum(_near(row.clip, blink, apexes) for row, apexes in eyes for blink in row.clip.blinks)
        true, blinks = sum(len(row.clip.movements) for row in rows), sum(len(row.clip.blinks) for row in rows)
        lines.append(f"| {kind} | {true} | {sum(len(a) for _, a in faces)} | {right} | {blinks} | {lids} |")
    lines += ["", "| no movement | clips | something found | beside the eyes |", "|---|---:|---:|---:|"]
    for kind, rows in results.items():
        if KINDS[kind].movements == (0, 0):
            found = [row for row in rows if row.found.found]
            beside = sum(not row.found.at_the_eyes for row in found)
            lines.append(f"| {kind} | {len(rows)} | {len(found)} | {beside} |")
    cost = statistics.median(row.ms for rows in results.values() for row in rows)
    versions = f"python {sys.version.split()[0]}, opencv {cv2.__version__}, load {os.getloadavg()[0]:.1f}"
    return "\n".join([*lines, "", f"{cost:.1f} ms a frame; {versions}"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Movements found in clips, and the error of their frames.")
    parser.add_argument("--clips", type=int, default=24, help="of each kind and seed (default %(default)s)")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--photographs", nargs="+", default=["astronaut"], help=f"{', '.join(PLACES)}")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    if unknown := [path for path in given.photographs if Path(path).name not in PLACES]:
        parser.error(f"expected photographs named {', '.join(PLACES)}, found {', '.join(unknown)}")
    places = [(seed, number) for seed in given.seed for number in range(given.clips)]
    with ProcessPoolExecutor(given.workers) as pool:
        results = {kind: list(pool.map(partial(measured, kind, given.photographs), places)) for kind in given.kinds}
    for kind in given.kinds:
        print(f"{kind}: {KINDS[kind].about}")
    print(f"\n{report(results)}")


if __name__ == "__main__":
    main()
