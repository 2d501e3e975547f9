"""python benchmarks/regions.py [--clips 400] [--no-nose] [--seed 0]

Hit rate, direction and false alarms of `mellm_plugin.motion.regions` on drawn clips whose flow is known exactly, and
its cost.

A clip is a face of random place and size that shows one of SynthME's combinations, with head motion, noise and
sometimes a blink. "Right" is within 45 degrees of the true motion at the middle of the unit's window; it is not
counted if other units cancel that motion (less than .15 px left). A region is still if nothing within two sigmas of
its window moves by .05 px in truth.
"""

from __future__ import annotations

import argparse
import copy
import math
import time

import cv2
import numpy as np

from mellm_plugin.datasets.synthme import AMPLITUDE, COMBINATIONS, SIZE, WINDOWS, Face, draw_clip
from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.facs.units import UNITS
from mellm_plugin.motion.facial import facial_flow
from mellm_plugin.motion.regions import MIDLINE, PAIRED, region_motions

BINS = ((0.3, 0.6), (0.6, 1.0), (1.0, 3.01))
SIGN = {"left": -1, "right": 1, None: 0}
PARTS = {24: ("upper lip", "lower lip"), 25: ("upper lip", "lower lip")}
LEFT_OVER, STILL = 0.15, 0.05


def expected(code: str) -> list[tuple[str, str | None, float, float]]:
    """Region and side that a unit moves, and where, in half heights from the centre."""
    unit = parse_canonical(code)
    number = unit.alternatives[0]
    if number in PARTS:
        return [(lip, None, w.x, w.y) for lip, w in zip(PARTS[number], WINDOWS[number], strict=True)]
    window = max(WINDOWS[number], key=lambda w: math.hypot(w.dx, w.dy))
    # the subject's left is on the image's right
    sides = {"L": ("right",), "R": ("left",)}.get(unit.side or "", ("left", "right")) if window.x else (None,)
    return [(UNITS[number].region, side, SIGN[side] * window.x, window.y) for side in sides]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--no-nose", action="store_true", help="the nose tip is not known")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    combinations = [tuple(filter(None, one.split("+"))) for some in COMBINATIONS.values() for one in some]
    counts = np.zeros((len(BINS), 3), int)
    still = invented = 0
    seconds = 0.0
    for at in range(given.clips):
        rng = np.random.default_rng([given.seed, at])
        codes = combinations[rng.integers(len(combinations))]
        amplitude = float(np.exp(rng.uniform(*np.log(AMPLITUDE))))
        blink = bool(rng.random() < 0.1)
        placed = copy.deepcopy(rng)  # draw_clip takes size and place first
        half = 0.44 * SIZE * placed.uniform(0.87, 1.05)
        centre = SIZE / 2 + placed.uniform(-0.05, 0.05) * SIZE, SIZE / 2 + placed.uniform(-0.05, 0.04) * SIZE
        clip = draw_clip(Face(10_000 * given.seed + at), rng, codes, amplitude, blink=blink)
        onset, apex = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (clip.onset, clip.apex))
        facial = facial_flow(onset, apex)
        start = time.perf_counter()
        motions = region_motions(facial, None if given.no_nose else clip.nose)
        seconds += time.perf_counter() - start
        found = {(one.region, one.side): one for one in motions}
        for code, px in zip(clip.aus, clip.amplitudes, strict=True):
            size = next(i for i, (low, high) in enumerate(BINS) if low <= px < high)
            for region, side, x, y in expected(code):
                true = clip.facial[round(centre[1] + half * y), round(centre[0] + half * x)]
                length = float(np.hypot(*true))
                if length < LEFT_OVER:
                    continue
                one = found[region, side]
                aligned = one.dx * true[0] + one.dy * true[1] >= math.cos(math.pi / 4) * one.magnitude * length
                counts[size] += 1, one.visible, one.visible and aligned
        for (region, side), one in found.items():
            x, y, sx, sy = PAIRED[region] if side else MIDLINE[region]
            left, right = (int(centre[0] + half * (SIGN[side] * x + k * sx)) for k in (-2, 2))
            top, bottom = (int(centre[1] + half * (y + k * sy)) for k in (-2, 2))
            around = clip.facial[max(0, top) : bottom + 1, max(0, left) : right + 1]
            if around.size and float(np.linalg.norm(around, axis=-1).max()) < STILL:
                still += 1
                invented += one.visible
    for (low, high), (number, seen, right) in zip(BINS, counts, strict=True):
        shares = f"{seen / number:.3f} visible, {right / seen:.3f} of them right"
        print(f"{low:.1f} to {high:.1f} px: {number} regions, {shares}")
    _, seen, right = counts.sum(0)
    called = f"{invented / still:.4f} of {still} still regions called visible"
    print(f"all: {right / seen:.3f} of the visible right; {called}")
    print(f"{1000 * seconds / given.clips:.1f} ms a clip")


if __name__ == "__main__":
    main()
