"""The composite of the MEGC 2019 challenge: the list of its clips with their classes, `megc2019.csv`.

    dataset,subject,clip,class
    casme2,sub01,EP02_01f,positive
    samm,6,006_1_2,negative

               negative  positive  surprise   clips  subjects
    casme2           88        32        25     145        24
    samm             92        26        15     133        28
    smic             70        51        43     164        16
    together        250       109        83     442        68

It is not a separate dataset: its clips are those of the three datasets, and a task loads their files together. The list
decides, not the labels of a sheet: those of 2014 and of 2019 differ.

Source: J. See, M. H. Yap, J. Li, X. Hong, S.-J. Wang: MEGC 2019 - the second Facial Micro-Expressions Grand Challenge,
FG 2019.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from mellm_plugin.datasets.names import Tokens, subject_key, tokens

PARTS: tuple[str, ...] = ("casme2", "samm", "smic")
"""The datasets that it is made of."""

Clip = tuple[str, Tokens, Tokens]
"""Dataset, subject and clip, however they are written (`s01`, `1`; `s1_ne_01`, `s01_ne_01`)."""


def clip_of(dataset: str, subject: str, clip: str) -> Clip:
    """The key of a clip, the same for all spellings of its subject and name.

    >>> clip_of("smic", "s1", "s1_ne_01") == clip_of("smic", "s01", "s01_ne_01")
    True
    """
    return dataset, subject_key(subject), tokens(clip)


@lru_cache(maxsize=1)
def clips() -> Mapping[Clip, tuple[str, str]]:
    """All clips of the list: the class of each, and its name as the list writes it, `casme2/sub01/EP02_01f`."""
    with (Path(__file__).parent / "megc2019.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {
        clip_of(row["dataset"], row["subject"], row["clip"]): (
            row["class"],
            f"{row['dataset']}/{row['subject']}/{row['clip']}",
        )
        for row in rows
    }


def missing(found: Iterable[Clip]) -> list[str]:
    """The clips of the list that are not among those found: a line for each part that lacks any, with their names."""
    there = set(found)
    lines: list[str] = []
    for part in PARTS:
        of_part = {clip: name for clip, (_, name) in clips().items() if clip[0] == part}
        absent = [name for clip, name in of_part.items() if clip not in there]
        if absent:
            lines.append(f"{part}: {len(absent)} of {len(of_part)} clips are missing: {', '.join(absent)}")
    return lines
