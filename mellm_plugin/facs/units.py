"""The table of action units (FACS; Ekman, Friesen and Hager 2002): number, name, muscle, region, motion in the image.

One row, as used everywhere else:

    Unit(12, "lip corner puller", "zygomaticus major", "mouth corners", "up and outwards")
"""

from __future__ import annotations

from dataclasses import dataclass

from mellm_plugin.errors import CodeError


@dataclass(frozen=True)
class Unit:
    """One action unit or action descriptor."""

    number: int
    name: str  # lower case, without article
    muscle: str  # empty where FACS names none
    region: str  # where the skin moves in the image
    motion: str  # its direction in the image; empty where none is defined


_ROWS: tuple[tuple[int, str, str, str, str], ...] = (
    (1, "inner brow raiser", "frontalis, medial part", "inner brows", "up"),
    (2, "outer brow raiser", "frontalis, lateral part", "outer brows", "up"),
    (4, "brow lowerer", "corrugator supercilii, depressor supercilii", "brows", "down and inwards"),
    (5, "upper lid raiser", "levator palpebrae superioris", "upper lids", "up"),
    (6, "cheek raiser", "orbicularis oculi, orbital part", "cheeks", "up"),
    (7, "lid tightener", "orbicularis oculi, palpebral part", "lower lids", "up"),
    (8, "lips toward each other", "orbicularis oris", "lips", "towards each other"),
    (9, "nose wrinkler", "levator labii superioris alaeque nasi", "sides of the nose", "up"),
    (10, "upper lip raiser", "levator labii superioris", "upper lip", "up"),
    (11, "nasolabial deepener", "zygomaticus minor", "upper lip", ""),
    (12, "lip corner puller", "zygomaticus major", "mouth corners", "up and outwards"),
    (13, "sharp lip puller", "levator anguli oris", "mouth corners", "up"),
    (14, "dimpler", "buccinator", "mouth corners", "inwards"),
    (15, "lip corner depressor", "depressor anguli oris", "mouth corners", "down"),
    (16, "lower lip depressor", "depressor labii inferioris", "lower lip", "down"),
    (17, "chin raiser", "mentalis", "chin", "up"),
    (18, "lip pucker", "incisivii labii", "lips", "inwards"),
    (19, "tongue show", "", "tongue", ""),
    (20, "lip stretcher", "risorius", "mouth corners", "outwards"),
    (21, "neck tightener", "platysma", "neck", ""),
    (22, "lip funneler", "orbicularis oris", "lips", "outwards"),
    (23, "lip tightener", "orbicularis oris", "lips", "inwards"),
    (24, "lip pressor", "orbicularis oris", "lips", "towards each other"),
    (25, "lips part", "depressor labii, relaxed mentalis", "lips", "apart"),
    (26, "jaw drop", "masseter, relaxed", "chin and lower lip", "down"),
    (27, "mouth stretch", "pterygoids, digastric", "chin and lower lip", "far down"),
    (28, "lip suck", "orbicularis oris", "lips", "inwards"),
    (29, "jaw thrust", "", "jaw", ""),
    (30, "jaw sideways", "", "jaw", ""),
    (31, "jaw clencher", "masseter", "jaw", ""),
    (32, "lip bite", "", "lips", ""),
    (33, "cheek blow", "", "cheeks", ""),
    (34, "cheek puff", "", "cheeks", ""),
    (35, "cheek suck", "", "cheeks", ""),
    (36, "tongue bulge", "", "cheeks", ""),
    (37, "lip wipe", "", "lips", ""),
    (38, "nostril dilator", "nasalis, alar part", "nose wings", "outwards"),
    (39, "nostril compressor", "nasalis, transverse part", "nose wings", "inwards"),
    (41, "lid droop", "levator palpebrae superioris, relaxed", "upper lids", "down"),
    (42, "slit", "orbicularis oculi", "upper lids", ""),
    (43, "eyes closed", "levator palpebrae superioris, relaxed", "upper lids", "down"),
    (44, "squint", "orbicularis oculi", "lower lids", ""),
    (45, "blink", "orbicularis oculi", "upper lids", "down, then up"),
    (46, "wink", "orbicularis oculi", "upper lids", "down, then up"),
    (51, "head turn left", "", "head", ""),
    (52, "head turn right", "", "head", ""),
    (53, "head up", "", "head", ""),
    (54, "head down", "", "head", ""),
    (55, "head tilt left", "", "head", ""),
    (56, "head tilt right", "", "head", ""),
    (57, "head forward", "", "head", ""),
    (58, "head back", "", "head", ""),
    (61, "eyes turn left", "", "eyes", ""),
    (62, "eyes turn right", "", "eyes", ""),
    (63, "eyes up", "", "eyes", ""),
    (64, "eyes down", "", "eyes", ""),
)

UNITS: dict[int, Unit] = {row[0]: Unit(*row) for row in _ROWS}
"""Every unit of the table, by number."""

OTHER_NAMES: dict[str, int] = {
    **{"eye closure": 43, "nostril dilater": 38, "nostril compress": 39},
    **{"tilt left": 55, "tilt right": 56, "eyes left": 61, "eyes right": 62},
}
"""The names that the MEGC ME-VQA challenges use where they differ from FACS."""


def unit(number: int) -> Unit:
    """The unit with this FACS number; raises CodeError if the table lacks it."""
    if number not in UNITS:
        raise CodeError(f"expected a FACS number of the table ({', '.join(map(str, UNITS))}), found {number}")
    return UNITS[number]
