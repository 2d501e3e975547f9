"""The amplitude ladder: drawn faces that each move one action unit by a known length, from nothing to 3 px.

One clip:

    Sample(id="synthme_ladder/l07/au12_0.45px", dataset="synthme_ladder", subject="l07", clip="au12_0.45px",
           aus=("12",), ..)

It is drawn as the test set of SynthME is (`synthme.py`), with the same head motion, blinks, light, noise and JPEG;
the faces are others than those of any other split. Clip `n` shows unit `n mod 16` at level `n mod 11`: 16 and 11
share no divisor, so 176 clips in a row have every unit at every level once, sixteen in a row (one face) every unit
once. At level 0 a clip is drawn as at the others, and its unit does not move: its `aus` are `()`, and its name keeps
the unit whose place it holds.

A unit alone has no expression, so there are no labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from mellm_plugin.datasets import store, synthme
from mellm_plugin.datasets.disk import check_room
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.errors import InputError

VERSION = 1
"""Of levels and faces; the drawings have their own."""

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
    """The unit and the level, px, of a clip, from its name: `au12_0.45px`.

    Raises:
        InputError: it is no clip of the ladder.
    """
    found = _NAMED.fullmatch(clip)
    if found is None:
        raise InputError(f"expected a clip of the amplitude ladder, such as au12_0.45px, found {clip!r}")
    return int(found[1]), float(found[2])


def clips(count: int, seed: int = 0, start: int = 0) -> Iterator[Sample]:
    """Draw clips number `start` to `start + count - 1`, deterministic by seed.

    Args:
        count: how many; beyond `CLIPS` they are of further faces.
        seed: of the whole ladder.
        start: number of the first; any clip can be drawn without those before it.
    """
    units = synthme.AUS
    for number in range(start, start + count):
        who, place = divmod(number, len(units))
        rng, face = synthme.drawn_from("ladder", seed, who, place)
        unit, level = units[number % len(units)], LEVELS[number % len(LEVELS)]
        head, blink = synthme.distractions(rng)
        subject = f"l{who:02d}"
        # the unit is drawn at level 0, too, by 0 px: all that is random stays what it is at another level
        drawn = synthme.draw_clip(
            synthme.Face(face), rng, (str(unit),), level, subject=subject, clip=place, head=head, blink=blink
        )
        aus = drawn.aus if level else ()
        name = f"au{unit}_{level:g}px"
        yield replace(
            synthme.sample(drawn),
            id=f"{DATASET}/{subject}/{name}",
            dataset=DATASET,
            clip=name,
            au_code="+".join(aus),
            aus=aus,
            emotion=None,
            coarse=None,
        )


def prepare(root: Path | None = None, replace: bool = False) -> Path:
    """Draw the ladder, unless it is there already (about half a minute), and return its folder.

    Args:
        root: folder of all prepared datasets; the user's data root when None.
        replace: draw it again even if it is there.

    Raises:
        DataError: the folder cannot be written, or too little of the disk is free.
    """
    source = f"drawn by mellm_plugin.datasets.ladder, version {VERSION}, drawings version {synthme.VERSION}, seed 0"
    exists: Literal["replace", "keep"] = "replace" if replace else "keep"
    return store.write(NAME, {"test": _shown(root)}, {"source": source}, root=root, exists=exists)


def _shown(root: Path | None) -> Iterator[Sample]:
    """All clips, with a progress bar once the first is asked for."""
    from tqdm import tqdm

    check_room(NAME, _BYTES, root, least=_BYTES)
    yield from tqdm(clips(CLIPS), "drawing the amplitude ladder", CLIPS, disable=None)
