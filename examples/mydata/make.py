"""Draws the frames of this example and writes clips.csv; the same files every time.

    python examples/mydata/make.py

Ten clips of four drawn faces. Nine have an onset and an apex; the last has no apex named, so it is looked for among the
frames that follow its onset.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from mellm_plugin.datasets.synthme import Face, draw_clip

HERE = Path(__file__).parent
CLIPS = (
    ("p1", "happiness", "6+12"),
    ("p1", "surprise", "1+2+5"),
    ("p1", "disgust", "9+17"),
    ("p2", "happiness", "12+25"),
    ("p2", "sadness", "1+4+15"),
    ("p2", "anger", "4+7"),
    ("p3", "surprise", "1+2+25"),
    ("p3", "fear", "4+20"),
    ("p4", "contempt", "R14"),
    ("p4", "disgust", "9+17"),
)
AMPLITUDE = 2.2  # px, of the strongest unit at the apex
ONE_BY_ONE = (0.2, 0.6, 1.0, 0.5)  # of that, in the frames after the onset where all frames are there


def main() -> None:
    rows = []
    for number, (subject, emotion, aus) in enumerate(CLIPS, start=1):
        name = f"c{number:02d}"
        folder = HERE / "frames" / name
        folder.mkdir(parents=True, exist_ok=True)
        strengths = ONE_BY_ONE if number == len(CLIPS) else (1.0,)
        drawn = [
            draw_clip(
                Face(int(subject[1:])),
                np.random.default_rng(number),
                tuple(aus.split("+")),
                AMPLITUDE * strength,
                head=0.0 if len(strengths) > 1 else 0.4,
            )
            for strength in strengths
        ]
        files = ["onset.jpg", "apex.jpg"] if len(strengths) == 1 else [f"img{n}.jpg" for n in range(1, 6)]
        for file, picture in zip(files, [drawn[0].onset, *(clip.apex for clip in drawn)], strict=True):
            Image.fromarray(picture).save(folder / file, quality=92)
        onset, apex = (f"frames/{name}/{file}" for file in files[:2])
        rows.append([name, subject, onset, apex if len(strengths) == 1 else "", emotion, aus])
    with (HERE / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([["id", "subject", "onset", "apex", "emotion", "aus"], *rows])


if __name__ == "__main__":
    main()
