"""The published painting, written out pixel by pixel from its description; imports nothing of the package.

    python tests/golden/published/make.py        # writes golden.npz beside it

MELLM (arXiv 2505.07007): hue is minus the angle of the motion, counter-clockwise from right as seen, in twelve bins of
30 degrees; saturation is full; value is the magnitude, min-max scaled over the image; the colour is added to the grey
onset frame and cut off at 255.

golden.npz: `flow` float32 (2, 40, 56, 2), px, x right, y down; `grey` uint8 (2, 40, 56); `rgb` uint8 (2, 40, 56, 3).
The first flow has zeros and vectors of 60 px; in the second everything moves, so that its least magnitude counts.
No direction is nearer than half a degree to a border of two bins: there the nearest centre leaves no doubt.
"""

from __future__ import annotations

import colorsys
import math
import random
from pathlib import Path

import numpy as np

HEIGHT, WIDTH = 40, 56
CENTRES = [30 * i for i in range(12)]


def direction(number: int, chance: random.Random) -> float:
    """Centres, then both sides of every border, then any."""
    if number < 12:
        return CENTRES[number]
    if number < 36:
        return CENTRES[number % 12] + (14.5 if number < 24 else 15.5)
    return chance.choice(CENTRES) + chance.uniform(-14.5, 14.5)


def length(image: int, number: int, chance: random.Random) -> float:
    if image == 1:
        return chance.uniform(0.4, 2.5)
    return {0: 60.0, 1: 1e-3}.get(number // 40, 0.0 if number % 7 == 3 else chance.uniform(0.1, 30))


def painted(dx: float, dy: float, grey: int, low: float, high: float) -> list[int]:
    angle = math.degrees(math.atan2(-dy, dx)) % 360
    centre = min(CENTRES, key=lambda c: min(abs(c - angle), 360 - abs(c - angle)))
    value = (math.hypot(dx, dy) - low) / (high - low) * 255
    colour = colorsys.hsv_to_rgb((-centre % 360) / 360, 1.0, value / 255)
    return [min(max(round(grey + 255 * channel), 0), 255) for channel in colour]


def main() -> None:
    chance = random.Random(0)
    flow = np.zeros((2, HEIGHT, WIDTH, 2), np.float32)
    grey = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    rgb = np.zeros((2, HEIGHT, WIDTH, 3), np.uint8)
    for image in range(2):
        for number in range(HEIGHT * WIDTH):
            angle, size = math.radians(direction(number % 40, chance)), length(image, number, chance)
            y, x = divmod(number, WIDTH)
            flow[image, y, x] = size * math.cos(angle), -size * math.sin(angle)
            grey[image, y, x] = {0: 0, 1: 255}.get(number % 50, chance.randrange(256))
        vectors = [(float(dx), float(dy)) for dx, dy in flow[image].reshape(-1, 2)]
        sizes = [math.hypot(*vector) for vector in vectors]
        for number, (dx, dy) in enumerate(vectors):
            y, x = divmod(number, WIDTH)
            rgb[image, y, x] = painted(dx, dy, int(grey[image, y, x]), min(sizes), max(sizes))
    np.savez_compressed(Path(__file__).with_name("golden.npz"), flow=flow, grey=grey, rgb=rgb)


if __name__ == "__main__":
    main()
