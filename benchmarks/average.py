"""python benchmarks/average.py [--clips 12] [--seed 0] [--portraits FOLDER]

What it gains to average onset and apex with their neighbours in time (`mellm_plugin.motion.average`): the error of the
flow where a face moves, on films whose motion is known.

Two faces in three are portraits, two in the public domain that scikit-image and matplotlib ship; the third is drawn.
With `--portraits`, only the pictures of a folder appear. One action unit rises for 100 to 250 ms and falls for twice
as long, while the head moves. Each frame has noise of its own, sigma 2 grey levels. Columns: mean end-point error over
the pixels that move by more than half of the amplitude, px, of single frames, and averaged; "smear" is the same
difference without noise, so what averaging costs by itself. The second table lets the head move
faster; "plain" averages the same frames without alignment.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from apex import with_head
from pairs import INSIDE, SIDE, Cast, Field, Grey, cast_of

from mellm_plugin.datasets.synthme import AUS, displacement, warp
from mellm_plugin.motion.average import averaged, windows
from mellm_plugin.motion.facial import facial_flow

RATES, AMPLITUDES, SPEEDS = (60, 100, 200), (0.3, 0.5, 1.0), (0, 60, 120)
"""Frames a second; px; px a second that the head moves by at the most."""

_NOISE = 2.0  # grey levels
_BESIDE_MS = 35  # frames before the onset and after the apex
_SWING = 4.0  # px to either side, at the most


class Film(NamedTuple):
    """A face that moves, without noise."""

    frames: Field  # `(T, 224, 224)`, grey
    onset: int
    apex: int
    fps: float
    facial: Field  # `(224, 224, 2)`: where the skin went, without the head, px

    def noisy(self, sigma: float, seed: int) -> Grey:
        """The frames with noise."""
        noise = np.random.default_rng(seed).standard_normal(self.frames.shape, np.float32)
        return np.asarray(np.rint(self.frames + np.float32(sigma) * noise).clip(0, 255), np.uint8)

    def error(self, onset: Grey, apex: Grey) -> float:
        """Mean end-point error where the face moves, px."""
        size = np.linalg.norm(self.facial, axis=-1)
        errors = np.linalg.norm(facial_flow(onset, apex).flow - self.facial, axis=-1)
        return float(errors[size > size.max() / 2].mean())

    def errors(self, sigma: float, seed: int) -> tuple[float, float]:
        """The errors of single frames and of averages."""
        frames = self.noisy(sigma, seed)
        (onset, _), (apex, _) = averaged(frames, self.onset, self.apex, self.fps)
        return self.error(frames[self.onset], frames[self.apex]), self.error(onset, apex)

    def plain_error(self, sigma: float, seed: int) -> float:
        """The error of averages without alignment."""
        frames, both = self.noisy(sigma, seed), windows(self.onset, self.apex, self.fps)
        onset, apex = (np.rint(frames[each.start : each.stop].mean(axis=0)).astype(np.uint8) for each in both)
        return self.error(onset, apex)


def films(cast: Cast, amplitude: float, fps: float, speed: float, clips: int, seed: int) -> Iterator[Film]:
    """Films of the same faces, units and rises for all arguments."""
    for number in range(clips):
        rng = np.random.default_rng([seed, number])
        unit, rise_ms, turn = str(rng.choice(AUS)), rng.uniform(100, 250), rng.uniform(0, 2 * np.pi)
        look = cast.look(cast.names[number % len(cast.names)], rng)
        picture = np.asarray(cv2.cvtColor(np.asarray(look.picture, np.float32), cv2.COLOR_RGB2GRAY), np.float32)
        beside, rise = round(_BESIDE_MS * fps / 1000), round(rise_ms * fps / 1000)
        t = np.arange(-beside, rise + beside + 1)
        shown = (1 - np.cos(np.pi * np.where(t < rise, np.clip(t / rise, 0, 1), 1 + (t - rise) / (2 * rise)))) / 2
        swing = min(_SWING, speed / 10)
        way = swing * np.sin(speed * t / fps / max(swing, 1e-9))  # px
        facial = displacement([unit], [amplitude], look.centre, look.half, picture.shape)
        frames = [
            warp(picture, with_head(facial * np.float32(share), SIDE / 2, *place))[INSIDE]
            for share, place in zip(shown, np.outer(way, (np.cos(turn), np.sin(turn), 0.003, 0.002)), strict=True)
        ]
        yield Film(np.stack(frames), beside, beside + rise, fps, facial[INSIDE])


def main() -> None:
    parser = argparse.ArgumentParser(description="What it gains to average onset and apex with their neighbours.")
    parser.add_argument("--portraits", type=Path, help="a folder of pictures with one face each, the only faces shown")
    parser.add_argument("--clips", type=int, default=12, help="of each kind (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    cast = cast_of(given.portraits)

    def shown(amplitude: float, fps: float, speed: float) -> list[Film]:
        return list(films(cast, amplitude, fps, speed, given.clips, given.seed))

    def means(made: Sequence[Film], sigma: float) -> tuple[float, float]:
        single, mean = np.mean([film.errors(sigma, number) for number, film in enumerate(made)], axis=0).tolist()
        return single, mean

    print("| frames a second | px | single | averaged | less | smear |\n|---:|---:|---:|---:|---:|---:|")
    for fps in RATES:
        for amplitude in AMPLITUDES:
            made = shown(amplitude, fps, 20)
            (single, mean), (clean, smeared) = means(made, _NOISE), means(made, 0)
            less, smear = f"{100 * (1 - mean / single):.0f} %", f"{smeared - clean:.3f}"
            print(f"| {fps} | {amplitude} | {single:.3f} | {mean:.3f} | {less} | {smear} |", flush=True)
    print("\n| head, px a second | single | averaged | plain |\n|---:|---:|---:|---:|")
    for speed in SPEEDS:
        made = shown(0.5, 200, speed)
        plain = np.mean([film.plain_error(_NOISE, number) for number, film in enumerate(made)])
        single, mean = means(made, _NOISE)
        print(f"| {speed} | {single:.3f} | {mean:.3f} | {plain:.3f} |", flush=True)


if __name__ == "__main__":
    main()
