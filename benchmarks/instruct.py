"""What training's descriptions say of drawn clips, against what is true of them; and what an example takes.

    python benchmarks/instruct.py [--clips 400] [--seed 9]

Each clip is varied as in training and described. "Named" is the share of the coded units (each side counts) whose
region is said to move; "right" is the share of those whose direction is within 60 degrees of the one in which the unit
moves skin (not required where two units pull at one region); "too faint" and "no one direction" are the rest.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np

from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.facs.units import unit
from mellm_plugin.language.descriptions import directions
from mellm_plugin.motion.colour import direction_shown
from mellm_plugin.motion.settings import DEFAULT
from mellm_plugin.training.clips import DrawnClips
from mellm_plugin.training.data import FORM_SHARES, Examples, Source
from mellm_plugin.training.forms import seen
from mellm_plugin.training.variation import Variation, varied

PX = ((0.0, 0.6), (0.6, 1.0), (1.0, 9.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--seed", type=int, default=9)
    given = parser.parse_args()
    began = time.perf_counter()
    drawn = DrawnClips(given.clips, given.seed)
    drawn.draw()
    print(f"drawn and measured: {(time.perf_counter() - began) / given.clips * 1000:.0f} ms a clip (0 where they were)")
    counts = {bounds: Counter[str]() for bounds in PX}
    for number in range(given.clips):
        variation = Variation.draw(np.random.default_rng([given.seed, number]))
        moving = varied(drawn.clip(number), variation.of_motion())
        found = seen(moving, variation, variation.settings(DEFAULT))
        regions = {(motion.region, motion.side): motion for motion in found.regions}
        for code, px in zip(moving.record.aus or (), moving.record.px or (), strict=True):
            parsed = parse_canonical(code)
            of = unit(parsed.alternatives[0])
            for side, m in (("left", -1), ("right", 1)):
                expected = directions(of.motion, m)
                motion = regions.get((of.region, side))
                coded = {"L": "right", "R": "left"}.get(parsed.side or "", side)
                if expected is None or motion is None or coded != side:
                    continue
                tally = counts[next(bounds for bounds in PX if bounds[0] <= px * variation.zoom < bounds[1])]
                kind = "no one direction" if (of.region, side) in found.stirred else "too faint"
                tally.update(["all", "named" if motion.visible else kind])
                if motion.visible:
                    way = direction_shown(motion.dx, motion.dy).angle
                    tally["right"] += abs((way - expected.angle + 180) % 360 - 180) <= 60
    print("largest displacement, px | unit sides | named | of these right | too faint | no one direction")
    for (low, high), tally in counts.items():
        every, named = tally["all"], tally["named"]
        shares = " | ".join(f"{tally[name] / every:.3f}" for name in ("too faint", "no one direction"))
        print(f"{low:g} to {high:g} | {every} | {named / every:.3f} | {tally['right'] / max(1, named):.3f} | {shares}")
    for form in FORM_SHARES:
        examples = Examples([Source("synthme", clips=given.clips, forms={form: 1.0})], DEFAULT, count=60)
        examples[0]
        began = time.perf_counter()
        for place in range(60):
            examples[place]
        print(f"{form}: {(time.perf_counter() - began) / 60 * 1000:.1f} ms an example")


if __name__ == "__main__":
    main()
