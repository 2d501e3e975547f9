"""The forms of training questions: pictures, prompt and answer for a clip.

    ask("region", clip, Variation(), source, "en", rng)
      -> (<map>,), "The image is a motion map .. Which way does the chin move? ..", "up (purple), faintly"

Every statement about motion comes from the flow behind the picture, as the picture shows it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from mellm_plugin.datasets.vqa_questions import unit_name
from mellm_plugin.facs.labels import coarse
from mellm_plugin.facs.units import unit
from mellm_plugin.language.lexicon import colour_words, direction_words
from mellm_plugin.language.prompts import (
    colour_wordings,
    patch_wordings,
    region_wordings,
    unit_wordings,
    way_wordings,
    wordings,
)
from mellm_plugin.language.seen_descriptions import describe_seen
from mellm_plugin.language.short_answers import label_answer, patch_answer, region_answer, units_answer, yes_or_no
from mellm_plugin.motion import colour
from mellm_plugin.motion.facial import FacialFlow, Nose
from mellm_plugin.motion.geometry import unit as px_of_frame
from mellm_plugin.motion.regions import HALF_HEIGHT, MIDLINE, NOSE_TIP, PAIRED, RegionMotion, region_motions
from mellm_plugin.motion.render import strength
from mellm_plugin.motion.settings import DEFAULT, MotionSettings
from mellm_plugin.training.challenge import can_ask_unit, certain_units, kinds, question, unit_to_ask
from mellm_plugin.training.clips import DRAWN, Clip, Image, Record, paint
from mellm_plugin.training.variation import Variation, varied

FORMS: tuple[str, ...] = ("description", "aus", "label", "unit", "region", "challenge", "legend")
"""The questions: a description in three parts (without units where they are not known); the units; the label; whether
one unit is present; the direction of one region; a question of the ME-VQA challenges; the meaning of a colour."""

NEEDS: dict[str, str] = {
    "description": "with one of the labels, and with known units where the dataset has any",
    **dict.fromkeys(("aus", "unit"), "with known units"),
    "label": "with one of the labels",
    "region": "of any kind",
    "challenge": "with a label, a coarse class or units",
    "legend": "shown as motion maps, which are off",
}
"""What a clip must have for a form."""

BY_LABEL: frozenset[str] = frozenset({"description", "label", "challenge"})
BY_UNITS: frozenset[str] = frozenset({"description", "aus", "unit", "challenge"})
"""Forms that are balanced by label and forms that are balanced by units, because their answers name them."""

_OWN_WORDING = 0.5  # share of examples with the wording of evaluation
_OTHER_SETS = 0.5  # where a source has several sets, share of those with some of the labels, in another order
_FAINTEST_SHADE = 0.1  # of full colour; fainter colours are not mentioned
_LEAST_AREA = 0.08  # of a region; motion on a smaller share is not mentioned
_LEAST_ALIKE = 0.34  # share of the painted pixels that must have the named colours
_SIGMAS = 1.25  # of a region's window: the area whose colours count
_MOVING_ASKED = 0.65  # share of region questions about a moving region
_STIRRED_ASKED = 0.05  # share about a region with motion but no clear direction
_PATCHES = 0.6  # share of legend questions that show one coloured patch


@dataclass(frozen=True)
class Asked:
    """Settings of the questions about the clips of one source."""

    motion: MotionSettings | None  # of the maps; None: onset and apex frames
    label_sets: tuple[tuple[str, ...], ...]  # the sets of labels to choose from, which take turns
    units: Mapping[int, int]  # of the source's clips, with the number of clips; for questions about absent units
    vary_words: bool = True  # if not, wordings are those of evaluation
    with_truth: bool = False  # whether questions come with the truth on their pictures

    @property
    def images(self) -> Literal["map", "frames"]:
        """The kind of pictures, as `language.prompts` names it."""
        return "frames" if self.motion is None else "map"

    @property
    def palette(self) -> str:
        """The palette of the maps; for frames the standard one, which is not shown."""
        return (self.motion or DEFAULT).palette

    def names(self, form: str, record: Record) -> frozenset[str]:
        """The labels, and in a challenge's answer the names of units, that decide an answer about a clip."""
        labels = {label for labels in self.label_sets for label in labels} | {record.emotion or "others"}
        units = certain_units(record) if form == "challenge" else ()
        return frozenset(labels | {unit_name(number) for number in units})

    def possible(self, form: str, record: Record) -> bool:
        """Whether a form is possible for a clip."""
        if form == "unit":
            return can_ask_unit(record, self.units)
        if form == "challenge":
            return bool(kinds(record, self.label_sets[0] if self.label_sets else ()))
        if form in ("description", "label") and all(label_among(record, labels) is None for labels in self.label_sets):
            return False
        if form == "aus" or (form == "description" and self.units):  # of two kinds, half would lack their units
            return record.aus is not None
        return form != "legend" or self.motion is not None


def label_among(record: Record, labels: Sequence[str]) -> str | None:
    """The clip's label in a closed set: its own label or its coarse class; None if the set has neither.

    For drawn clips, `others` covers the labels that the set does not name.
    """
    if record.emotion in labels:
        return record.emotion
    group = record.coarse or (coarse(record.emotion) if record.emotion else None)
    if group in labels:
        return group
    return "others" if record.dataset == DRAWN and group and "others" in labels else None


@dataclass(frozen=True)
class Truth:
    """What is known of the pictures of a question, as they are shown: mirrored with them."""

    record: Record
    labels: tuple[str, ...]  # the closed set
    label: str | None  # in that set
    motions: tuple[int | None, ...]  # of each of `models.heads.REGIONS`: place in its `MOTIONS`; None: not clear


@dataclass(frozen=True)
class Question:
    """Pictures, prompt and answer; the truth if asked for, unless the pictures show something else than the clip."""

    images: tuple[Image, ...]
    prompt: str
    answer: str
    truth: Truth | None = None


Part = tuple[str, str | None]
"""A region and its side, as `motion.regions` has them."""


@dataclass(frozen=True)
class Seen:
    """The motion that a picture shows."""

    regions: tuple[RegionMotion, ...]  # the motion of each; `visible` if the picture shows it in its colour
    stirred: frozenset[Part]  # regions with visible motion, but no clear direction
    still: frozenset[Part]  # regions without visible motion


def seen(moving: Clip, variation: Variation, settings: MotionSettings | None) -> Seen:
    """The visible motion of a clip: the measured motion of its regions, checked against the painted pixels.

    The clip has varied motion but its original view, so that regions are in their measured places; the zoom of the
    variation scales the result. Frames (no settings) count as showing what the default map shows.
    """
    height, width = moving.grey.shape
    nose, flow, zoom = moving.nose, moving.facial.flow, variation.zoom
    if nose is not None and not (0 <= nose[0] <= width - 1 and 0 <= nose[1] <= height - 1):
        nose = None
    coloured = strength(flow, settings or DEFAULT, moving.facial.confidence) >= _FAINTEST_SHADE
    found: list[RegionMotion] = []
    stirred: set[Part] = set()
    still: set[Part] = set()
    for motion in region_motions(moving.facial, nose):
        rows, columns, inside = _pixels(motion, nose, (height, width))
        shown = coloured[rows, columns] & inside
        area = float(shown.sum()) / max(1, int(inside.sum()))
        bins = colour.bin_index(np.ascontiguousarray(flow[rows, columns]))[shown]
        alike = float(np.isin(bins, colour.direction_shown(motion.dx, motion.dy).bins).mean()) if bins.size else 0.0
        visible = motion.visible and area >= _LEAST_AREA and alike >= _LEAST_ALIKE
        if not visible:
            (still if area < _LEAST_AREA else stirred).add((motion.region, motion.side))
        dx, dy, noise = motion.dx * zoom, motion.dy * zoom, motion.noise * zoom
        found.append(replace(motion, dx=dx, dy=dy, noise=noise, visible=visible))
    return Seen(tuple(found), frozenset(stirred), frozenset(still))


def _pixels(
    motion: RegionMotion, nose: Nose | None, shape: tuple[int, int]
) -> tuple[slice, slice, npt.NDArray[np.bool_]]:
    """The inner pixels of a region's window: rows, columns, and a mask within them."""
    height, width = shape
    half = HALF_HEIGHT * min(height, width)
    window = (MIDLINE if motion.side is None else PAIRED)[motion.region]
    m = {"left": -1, "right": 1, None: 0}[motion.side]
    centre = ((width - 1) / 2, (height - 1) / 2) if nose is None else (nose[0], nose[1] - NOSE_TIP * half)
    x, y = centre[0] + m * half * window.x, centre[1] + half * window.y
    across, along = _SIGMAS * half * window.sx, _SIGMAS * half * window.sy
    rows = slice(max(0, math.floor(y - along)), max(0, math.ceil(y + along) + 1))
    columns = slice(max(0, math.floor(x - across)), max(0, math.ceil(x + across) + 1))
    yy, xx = np.ogrid[0:height, 0:width]
    inside = ((xx[:, columns] - x) / across) ** 2 + ((yy[rows] - y) / along) ** 2 <= 1
    return rows, columns, np.asarray(inside, np.bool_)


def patch(clip: Clip, settings: MotionSettings, rng: np.random.Generator) -> tuple[Image, int]:
    """The onset frame with one moving patch, as a map paints it, and the bin (0..11) of the patch's colour."""
    height, width = clip.grey.shape
    index = int(rng.integers(len(colour.colours(settings.palette))))
    angle = np.radians(colour.BIN_DEGREES * index + rng.uniform(-10, 10))
    pixels = rng.uniform(0.6, 3.0) * px_of_frame(clip.grey.shape)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = rng.uniform(0.08, 0.2) * min(height, width)
    at = rng.uniform(0.2, 0.8, 2) * (width, height)
    inside = (np.hypot(x - at[0], y - at[1]) <= radius)[..., None]
    flow = np.where(inside, np.array([np.cos(angle), -np.sin(angle)]) * pixels, 0).astype(np.float32)
    return paint(replace(clip, facial=FacialFlow(flow, None, None, "none", ())), settings), index


def ask(form: str, clip: Clip, variation: Variation, asked: Asked, language: str, rng: np.random.Generator) -> Question:
    """The question of one example.

    The form must be `possible` for the clip, and the clip must have frames if they are shown. `language` is one of
    `lexicon.LANGUAGES`; `rng` draws the question and its wording.
    """
    if asked.motion is None:  # frames do not change, so their motion must not either
        variation = replace(variation, magnitude=1.0, noise_px=0.0)
    moving = varied(clip, variation.of_motion())
    shown = varied(moving, variation.of_view())
    settings = None if asked.motion is None else variation.settings(asked.motion)
    pictures: tuple[Image, ...] = (shown.frames or ()) if settings is None else (paint(shown, settings),)
    record, images, palette = moving.record, asked.images, asked.palette
    named_palette = None if settings is None else palette
    labels = asked.label_sets[0] if asked.label_sets else ()
    match form:
        case "description" | "label":
            sets = [
                (labels, label) for labels in asked.label_sets if (label := label_among(record, labels)) is not None
            ]
            labels, label = sets[int(rng.integers(len(sets)))]
            if asked.vary_words and len(asked.label_sets) > 1 and rng.random() < _OTHER_SETS:
                labels = _some_of(labels, label, rng)
            if form == "label":
                prompts, answer = wordings("emotion", labels, images, palette, language), label_answer(label, language)
            else:
                prompts = wordings("all", labels, images, palette, language)
                found = seen(moving, variation, settings)
                words = rng if asked.vary_words else None
                answer = describe_seen(record.aus, label, found.regions, named_palette, language, words, found.stirred)
        case "aus":
            prompts = wordings("aus", (), images, palette, language)
            answer = units_answer(record.aus or (), language)
        case "unit":
            number, there = unit_to_ask(record, asked.units, rng)
            prompts = unit_wordings(number, unit(number).name, images, palette, language)
            answer = yes_or_no(there, language)
        case "challenge":
            prompt, answer = question(record, labels, asked.units, images, palette, rng)
            prompts = (prompt,)
        case "region":
            found = seen(moving, variation, settings)
            region = _region(found, rng)
            prompts = region_wordings(region.region, region.side, images, palette, language)
            is_stirred = (region.region, region.side) in found.stirred
            answer = region_answer(region, named_palette, language, is_stirred)
        case _:
            assert settings is not None
            if rng.random() < _PATCHES:
                picture, index = patch(shown, settings, rng)
                pictures = (picture,)
                prompts, answer = patch_wordings(palette, language), patch_answer(index, palette, language)
            else:
                way = tuple(colour.DIRECTIONS)[int(rng.integers(len(colour.DIRECTIONS)))]
                prompts, answer = colour_wordings(way, palette, language), colour_words(way, palette, language)
                if rng.random() < 0.5:
                    prompts, answer = way_wordings(way, palette, language), direction_words(way, language)
    truth = _truth(moving, variation, settings, labels) if asked.with_truth and form != "legend" else None
    if not asked.vary_words or len(prompts) == 1 or rng.random() < _OWN_WORDING:
        return Question(pictures, prompts[0], answer, truth)
    return Question(pictures, prompts[1 + int(rng.integers(len(prompts) - 1))], answer, truth)


def _truth(moving: Clip, variation: Variation, settings: MotionSettings | None, labels: tuple[str, ...]) -> Truth:
    found = seen(moving, variation, settings)
    ways = list(colour.DIRECTIONS)
    motions: list[int | None] = []
    for motion in found.regions:
        part = motion.region, motion.side
        way = 1 + ways.index(colour.direction_shown(motion.dx, motion.dy).name) if motion.visible else 0
        motions.append(None if part in found.stirred else way)
    return Truth(moving.record, labels, label_among(moving.record, labels), tuple(motions))


def _some_of(labels: Sequence[str], label: str, rng: np.random.Generator) -> tuple[str, ...]:
    """Two or more of the labels in any order, the given one among them: a model is to read the set in the prompt."""
    others = [one for one in labels if one != label]
    kept = rng.choice(others, int(rng.integers(min(1, len(others)), len(others) + 1)), replace=False).tolist()
    return tuple(rng.permutation([label, *kept]).tolist())


def _region(found: Seen, rng: np.random.Generator) -> RegionMotion:
    """A region to ask about: mostly a moving one, else a still one, rarely one without clear direction."""
    kinds: dict[float, list[RegionMotion]] = {
        _MOVING_ASKED: [motion for motion in found.regions if motion.visible],
        _STIRRED_ASKED: [motion for motion in found.regions if (motion.region, motion.side) in found.stirred],
        1 - _MOVING_ASKED - _STIRRED_ASKED: [m for m in found.regions if (m.region, m.side) in found.still],
    }
    shares = {share: motions for share, motions in kinds.items() if motions}
    odds = np.array(list(shares))
    asked = list(shares.values())[rng.choice(len(odds), p=odds / odds.sum())]
    return asked[int(rng.integers(len(asked)))]
