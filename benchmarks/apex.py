"""python benchmarks/apex.py [--clips 48] [--still 16] [--long 4] [--seed 0]

Error in frames, and cost, of `mellm_plugin.motion.apex.spot` and of the plain frame difference, on drawn clips whose
onset and apex are known exactly.

A clip has 40 to 100 frames of 224 px at 200 fps: action units of 0.5 to 2.5 px move a drawn face and rise and fall
along a random profile. In half of the clips the head moves smoothly throughout, by up to 3 px, 1.2 degrees and 1.2 %.
A third has a blink, a fifth begins at its onset, a quarter keeps a part of its movement to the end. Light drifts
slowly, and each frame has its own sensor noise of 0.5 to 3 grey levels. In the still clips no unit moves, while head,
blink, light and noise are as in the others: nothing should be found in them, or only a movement at the eyes. The long
clips have 500 frames, which are not all measured.

Milliseconds are those of one thread, without reading. Drawing takes most of the time of this script (some minutes).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.datasets.synthme import COMBINATIONS, SIZE, Face, displacement, warp
from mellm_plugin.motion.apex import METHODS, Spotted, spot

MARGIN = 16

Field = npt.NDArray[np.float32]


class DrawnClip(NamedTuple):
    """A drawn clip and its true events."""

    frames: npt.NDArray[np.uint8]  # `(T, 224, 224)`, grey
    onset: int  # the last frame before anything moves
    apex: int  # the frame of the largest movement
    head: bool  # whether the head moves
    blink: bool


def profile(length: int, onset: int, apex: int, offset: int, power: float, rest: float) -> npt.NDArray[np.float64]:
    """Share of the peak displacement, `(length,)`: 0 up to the onset, 1 at the apex, `rest` from the offset on."""
    t = np.arange(length, dtype=np.float64)
    rise, fall = np.clip((t - onset) / (apex - onset), 0, 1), np.clip((t - apex) / (offset - apex), 0, 1)
    up = ((1 - np.cos(np.pi * rise)) / 2) ** power
    return np.asarray(np.where(t <= apex, up, 1 - (1 - rest) * (1 - np.cos(np.pi * fall)) / 2))


def draw(number: int, seed: int = 0, still: bool = False, long: int | None = None) -> DrawnClip:
    """Draw clip `number`, deterministic by its arguments; a `still` one shows no unit, `long` sets its length."""
    rng = np.random.default_rng([seed, number, int(still)])
    face = Face(int(rng.integers(2**63)))
    half = 0.44 * SIZE * rng.uniform(0.87, 1.05)
    middle = SIZE / 2 + MARGIN
    centre = (middle + rng.uniform(-0.05, 0.05) * SIZE, middle + rng.uniform(-0.05, 0.04) * SIZE)
    side = SIZE + 2 * MARGIN
    picture = cv2.cvtColor(face.draw(rng, centre, half), cv2.COLOR_RGB2GRAY)

    length = int(rng.integers(40, 101))
    onset = 0 if rng.random() < 0.2 else int(rng.integers(3, length // 3))
    apex = onset + int(rng.integers(9, max(12, (length - onset) // 2)))
    if long is not None:
        onset, apex, length = onset + long // 3, apex + long // 3, long
    offset = min(length - 1, apex + int(rng.integers(10, 40)))
    rest = float(rng.uniform(0.2, 0.6)) if rng.random() < 0.25 else 0.0
    shown = profile(length, onset, apex, offset, float(rng.uniform(0.7, 1.5)), rest)

    amplitude = 0.0 if still else float(np.exp(rng.uniform(*np.log((0.5, 2.5)))))
    labels = [label for label in COMBINATIONS if label != "neutral"]
    combinations = COMBINATIONS[labels[rng.integers(len(labels))]]
    codes = combinations[rng.integers(len(combinations))].split("+")
    sizes = [amplitude, *(amplitude * rng.uniform(0.6, 1, len(codes) - 1))]
    unit = displacement(codes, sizes, centre, half, (side, side))

    blink = bool(rng.random() < 1 / 3) and not {"5", "7"} & set(codes)
    lids = displacement(["45"], [float(rng.uniform(1, 4))], centre, half, (side, side))
    middle_of_blink, width = rng.uniform(0, length), rng.uniform(8, 14)
    t = np.arange(length, dtype=np.float64)
    closing = np.where(np.abs(t - middle_of_blink) < width, (1 + np.cos(np.pi * (t - middle_of_blink) / width)) / 2, 0)

    head = bool(number % 2)
    path = np.zeros((length, 4))
    if head:
        largest = np.array([3.0, 3.0, np.radians(1.2), 0.012])
        for size in (0.7, 0.3):
            speed, phase = rng.uniform(0.2, 1.2, 4), rng.uniform(0, 2 * np.pi, 4)
            path += size * np.sin(2 * np.pi * speed * t[:, None] / length + phase)
        path = (path - path[0]) * largest / np.maximum(1, np.abs(path - path[0]).max(axis=0))
    light = np.cumsum(rng.normal(0, 0.0015, length))
    noise = rng.uniform(0.5, 3.0)

    inside = slice(MARGIN, MARGIN + SIZE)
    frames = np.empty((length, SIZE, SIZE), np.uint8)
    for i in range(length):
        facial = unit * np.float32(shown[i]) + lids * np.float32(closing[i] if blink else 0)
        total = with_head(facial, middle, *path[i])
        moved = warp(picture, total)[inside, inside] * np.float32(1 + light[i])
        moved += np.float32(noise) * rng.standard_normal(moved.shape, np.float32)
        frames[i] = np.rint(moved).clip(0, 255)
    return DrawnClip(frames, onset, apex, head, blink)


def with_head(facial: Field, middle: float, tx: float, ty: float, turn: float, zoom: float) -> Field:
    """The flow of a face whose head then moves: shift in px, turn in radians and zoom about the middle of the frame."""
    a, b = (1 + zoom) * np.cos(turn) - 1, (1 + zoom) * np.sin(turn)
    y, x = np.mgrid[: facial.shape[0], : facial.shape[1]].astype(np.float32)
    px, py = x - middle + facial[..., 0], y - middle + facial[..., 1]
    return np.asarray(facial + np.dstack([a * px - b * py + tx, b * px + a * py + ty]).astype(np.float32))


def _row(name: str, values: list[int], total: int) -> str:
    if not values:
        return f"  {name:<6} none found"
    near, middle = sum(value <= 3 for value in values), statistics.median(values)
    error = f"{name:<6} mean absolute error {statistics.mean(values):5.2f} frames, median {middle:4.1f}"
    return f"  {error}, at most 3 frames {near:3} of {total}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Error of the spotted onset and apex on drawn clips.")
    parser.add_argument("--clips", type=int, default=48, help="clips with a movement (default %(default)s)")
    parser.add_argument("--still", type=int, default=16, help="clips without (default %(default)s)")
    parser.add_argument("--long", type=int, default=4, help="clips of 500 frames (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    kinds = {
        "moving": (draw(number, given.seed) for number in range(given.clips)),
        "still": (draw(number, given.seed, still=True) for number in range(given.still)),
        "long": (draw(number, given.seed, long=500) for number in range(given.long)),
    }
    results: dict[tuple[str, str], list[tuple[DrawnClip, Spotted, float]]] = {}
    for kind, drawn in kinds.items():
        for clip in drawn:
            for method in METHODS:
                start = time.process_time()
                found = spot(clip.frames, method=method)
                each = 1000 * (time.process_time() - start) / len(clip.frames)
                results.setdefault((kind, method), []).append((clip._replace(frames=clip.frames[:0]), found, each))
    for (kind, method), rows in results.items():
        cost = statistics.median(each for _, _, each in rows)
        hits = [(clip, spotted) for clip, spotted, _ in rows if spotted.found]
        print(f"{kind} clips, {method}: found in {len(hits)} of {len(rows)}, {cost:.2f} ms a frame")
        if kind == "still":
            print(f"  said to be at the eyes: {sum(spotted.at_the_eyes for _, spotted in hits)}")
            continue
        groups = {"all": hits}
        if kind == "moving":
            groups["head still"] = [hit for hit in hits if not hit[0].head]
            groups["head moves"] = [hit for hit in hits if hit[0].head]
            groups["blink"] = [hit for hit in hits if hit[0].blink]
        for name, group in groups.items():
            print(f" {name}: {len(group)} clips")
            print(_row("apex", [abs((s.apex or 0) - c.apex) for c, s in group], len(group)))
            print(_row("onset", [abs((s.onset or 0) - c.onset) for c, s in group], len(group)))
    print(f"python {sys.version.split()[0]}, opencv {cv2.__version__}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
