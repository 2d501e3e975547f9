"""The amplitude ladder: drawn faces that each move one action unit by a known length, 0 to 3 px.

One clip:

    Sample(id="synthme_ladder/l07/au12_0.45px", dataset="synthme_ladder", subject="l07", clip="au12_0.45px",
           aus=("12",), ..)

Clips are drawn like SynthME's test set (`synthme.py`), with the same head motion, blinks, light, noise and JPEG, but
with faces of no other split. Clip `n` shows unit `n mod 16` at level `n mod 11`. 16 and 11 are coprime, so 176 clips in
a row show every unit at every level once, and sixteen in a row (one face) every unit once. At level 0 the unit does not
move: `aus` is `()`, and the name keeps the unit.

A unit alone has no expression, so there are no labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from mellm_plugin.datasets import store, synthme
from mellm_plugin.datasets.disk import check_room
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.errors import InputError

VERSION = 1
"""Version of levels and faces; `synthme.VERSION` is that of the drawings."""

DATASET = "synthme_ladder"

NAME = f"{DATASET}-v{VERSION}"
"""Name of the prepared dataset."""

LEVELS = (0.0, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.0, 3.0)
"""Largest displacement of the unit, px of a frame of 224 px."""

FACES = 44
"""Each with one clip of every unit."""

CLIPS = FACES * len(synthme.AUS)
"""Four of each unit at each level."""

_BYTES = 67_000_000  # as it is stored
_NAMED = re.compile(r"au(\d+)_([\d.]+)px")


def rung(clip: str) -> tuple[int, float]:
    """Unit and level, px, from the name of a clip, `au12_0.45px`.

    Raises:
        InputError: no clip of the ladder has this name.
    """
    found = _NAMED.fullmatch(clip)
    if found is None:
        raise InputError(f"expected a clip of the amplitude ladder, such as au12_0.45px, found {clip!r}")
    return int(found[1]), float(found[2])


def clips(count: int, seed: int = 0, start: int = 0) -> Iterator[Sample]:
    """Draw clips number `start` to `start + count - 1`, deterministic by seed; beyond `CLIPS`, of further faces."""
    units = synthme.AUS
    for number in range(start, start + count):
        who, place = divmod(number, len(units))
        rng, face = synthme.drawn_from("ladder", seed, who, place)
        unit, level = units[number % len(units)], LEVELS[number % len(LEVELS)]
        head, blink = synthme.distractions(rng)
        subject = f"l{who:02d}"
        # level 0 moves the unit by 0 px, so that everything random stays as at other levels
        drawn = synthme.draw_clip(
            synthme.Face(face), rng, (str(unit),), level, subject=subject, clip=place, head=head, blink=blink
        )
        aus = drawn.aus if level else ()
        name = f"au{unit}_{level:g}px"
        own: Any = {"id": f"{DATASET}/{subject}/{name}", "dataset": DATASET, "clip": name, "aus": aus}
        yield replace(synthme.sample(drawn), **own, au_code="+".join(aus), emotion=None, coarse=None)


def prepare(root: Path | None = None, replace: bool = False) -> Path:
    """Draw the ladder (about half a minute), unless it exists or `replace` is set, and return its folder.

    Raises:
        DataError: the folder cannot be written, or the disk is too full.
    """
    source = f"drawn by mellm_plugin.datasets.ladder, version {VERSION}, drawings version {synthme.VERSION}, seed 0"

    def samples() -> Iterator[Sample]:
        check_room(NAME, _BYTES, root, least=_BYTES)
        yield from tqdm(clips(CLIPS), "drawing the amplitude ladder", CLIPS, disable=None)

    exists: Literal["replace", "keep"] = "replace" if replace else "keep"
    return store.write(NAME, {"test": samples()}, {"source": source}, root=root, exists=exists)
