"""python benchmarks/motion_maps.py [--peer CONTRIB/bin/python] [--clips 3] [--quick] [--write FILE] [--sheets DIR]

Accuracy, noise and cost of motion maps on clips whose motion is known at every pixel, compared with the published
method in OpenCV contrib. Five minutes (`--quick`: less than one).

Clips: each labelled unit of SynthME at each of six amplitudes, `--clips` times: of three, two are new drawn faces and
one is the photographed face of scikit-image (NASA's astronaut). The head moves by up to 3 px, 1.2 degrees and 1.2 %;
the light changes by a few per cent; sensor noise is .5 to 3 grey levels, in drawn clips for each colour channel, and
some of these are JPEGs. In still faces at most the head moves; in half of them nothing does. Everything is drawn from
`--seed`. No constant of the package was tuned on these clips, but some were tuned on the same photograph.

A region is right if its mean flow falls into the right one of the twelve direction bins. An interval contains 95 % of
2000 resamples of the clips. "Length": of a region's mean flow, as a share of the true one; "region / still": the same
length over the rms of the flow on still skin; both are medians of the regions that move by up to 1 px. "Head left": rms
over the face of the true head motion minus the removed one. Colour is its strength, 0 to 1; "beside the face" is the
share of pixels above .05 in the background and at the rim of the frame. "False doubts": maps with a warning.

Times are processor times on one thread, from grey frames to picture. OpenCV contrib's TV-L1 also computes the first
clips, in a process of the environment given by `--peer` (a separate one: two opencv packages break each other),
alternately before and after ours; the ratio is that of whole maps of one pair. Maps a second are by the clock.

`--write` puts the tables between the markers of a Markdown file and a plot beside it (needs matplotlib). `--sheets`
only writes contact sheets of every unit and amplitude.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from mellm_plugin.datasets.synthme import AUS, SIZE, WINDOWS, Face, displacement, draw_clip, warp
from mellm_plugin.motion import colour
from mellm_plugin.motion.contact_sheet import contact_sheet
from mellm_plugin.motion.facial import FacialFlow, Pair, measure
from mellm_plugin.motion.flow import ESTIMATORS, both_flows
from mellm_plugin.motion.images import read_pair
from mellm_plugin.motion.render import motion_map, motion_maps, strength
from mellm_plugin.motion.settings import DEFAULT, PRESETS, MotionSettings
from mellm_plugin.motion.tvl1 import tvl1
from mellm_plugin.small_files import write_text

sys.path.insert(0, str(Path(__file__).parent))
from apex import with_head
from tvl1 import Peer

Grey = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

AMPLITUDES = (0.3, 0.5, 0.8, 1.0, 2.0, 3.0)
SMALL = 1.0
"""Largest small amplitude, px."""

BEGIN, END = "<!-- benchmark -->", "<!-- /benchmark -->"
PLOT = "motion_accuracy.svg"
RESAMPLES = 2000
NOSE_OFF = 20.0
"""Distance of a wrong nose tip, px."""

_SEED = 0x6D6D  # keeps these clips apart from others with the same seed
_MARGIN = 16
_STILL_BELOW = 0.02  # px; skin that moves less is still
_HIGH_PASS = 6.0  # px


@dataclass(frozen=True)
class Clip:
    """Two frames and their true motion; lengths are px."""

    photo: bool  # a photographed face; otherwise a drawn one
    unit: int | None  # None for a still face
    amplitude: float  # the unit's peak displacement
    onset: Grey  # uint8 `(224, 224)`, as the apex
    apex: Grey
    total: Field  # float32 `(224, 224, 2)`: where each onset pixel went, head and face together
    facial: Field  # without the head's motion
    nose: tuple[float, float]
    wrong_nose: tuple[float, float]  # `NOSE_OFF` away
    centre: tuple[float, float]  # of the face, as `synthme.displacement` takes it
    half: float

    @cached_property
    def face(self) -> Mask:
        """The face as an ellipse."""
        y, x = np.ogrid[:SIZE, :SIZE]
        across, down = (x - self.centre[0]) / (0.72 * self.half), (y - self.centre[1]) / (0.98 * self.half)
        return np.asarray(across**2 + down**2 <= 1)

    @cached_property
    def still(self) -> Mask:
        """The still part of the face."""
        return np.asarray(self.face & (np.linalg.norm(self.facial, axis=-1) < _STILL_BELOW))

    @cached_property
    def regions(self) -> list[Mask]:
        """The regions that the unit moves: the core of each window, on each side, where it follows the window's
        direction."""
        found: list[Mask] = []
        size = np.linalg.norm(self.facial, axis=-1)
        y, x = np.ogrid[:SIZE, :SIZE]
        for window in WINDOWS[self.unit] if self.unit else ():
            if np.hypot(window.dx, window.dy) < 0.5:  # only follows a stronger neighbour
                continue
            for m in (1, -1) if window.x else (1,):
                across = (x - self.centre[0] - self.half * m * window.x) / (self.half * window.sx)
                down = (y - self.centre[1] - self.half * window.y) / (self.half * window.sy)
                along = self.facial @ np.array([m * window.dx, window.dy], np.float32) / np.hypot(window.dx, window.dy)
                core = np.exp(-(across**2 + down**2) / 2) > 0.5
                found.append(core & (along > 0.85 * size) & (size > 0.35 * self.amplitude))
        return [mask for mask in found if mask.sum() >= 8]


def _wrong(nose: tuple[float, float], rng: np.random.Generator) -> tuple[float, float]:
    angle = rng.uniform(0, 2 * np.pi)
    return nose[0] + NOSE_OFF * float(np.cos(angle)), nose[1] + NOSE_OFF * float(np.sin(angle))


def drawn(unit: int | None, amplitude: float, key: Sequence[int], head: float = 1.0, face: Face | None = None) -> Clip:
    """A drawn clip; `key` is its entropy, `head` as in `draw_clip`, `face=None` a new face."""
    face = face or Face(int(np.random.default_rng([*key, 0]).integers(2**63)))
    # draw_clip does not return the place of the face, so its first random draws are repeated here; the nose tip shows
    # whether they still match.
    again = np.random.default_rng([*key, 1])
    half = 0.44 * SIZE * again.uniform(0.87, 1.05)
    centre = (SIZE / 2 + again.uniform(-0.05, 0.05) * SIZE, SIZE / 2 + again.uniform(-0.05, 0.04) * SIZE)
    codes = () if unit is None else (str(unit),)
    clip = draw_clip(face, np.random.default_rng([*key, 1]), codes, amplitude, head=head)
    if not np.allclose(clip.nose, (centre[0], centre[1] + half * face.nose_y)):
        raise SystemExit("draw_clip no longer places the face by its first draws; adapt drawn() in this script")
    onset, apex = read_pair(clip.onset, clip.apex)
    wrong = _wrong(clip.nose, np.random.default_rng([*key, 2]))
    return Clip(False, unit, amplitude, onset, apex, clip.flow, clip.facial, clip.nose, wrong, centre, half)


@lru_cache(maxsize=1)
def photograph() -> Field:
    """A photographed face with a margin: float32 `(256, 256)`, grey."""
    from skimage import data

    side = SIZE + 2 * _MARGIN
    crop = cv2.resize(data.astronaut()[22:196, 137:311], (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.float32)


def photographed(unit: int | None, amplitude: float, key: Sequence[int], head: float = 1.0) -> Clip:
    """The photographed face, moved as `draw_clip` moves a drawn one."""
    rng = np.random.default_rng([*key, 1])
    picture, centre, half = photograph(), (SIZE / 2, SIZE / 2), 104.0
    middle = centre[0] + _MARGIN
    codes, sizes = ([], []) if unit is None else ([str(unit)], [amplitude])
    facial = displacement(codes, sizes, (middle, middle), half, picture.shape)
    turn, zoom = np.radians(head * rng.uniform(-1.2, 1.2)), head * rng.uniform(-0.012, 0.012)
    tx, ty = head * rng.uniform(-3, 3, 2)
    total = with_head(facial, middle, tx, ty, turn, zoom)
    x = np.arange(picture.shape[1], dtype=np.float32)
    gain, bias, slope = 1 + rng.normal(0, 0.012), rng.normal(0, 1.2), rng.normal(0, 0.02)
    lit = warp(picture, total) * (gain + slope * (x - middle) / half) + bias
    noise = rng.uniform(0.5, 3.0)
    inside = (slice(_MARGIN, _MARGIN + SIZE),) * 2
    noisy = (np.rint(frame + noise * rng.standard_normal(frame.shape)).clip(0, 255) for frame in (picture, lit))
    onset, apex = (np.ascontiguousarray(frame[inside], np.uint8) for frame in noisy)  # as the estimators need them
    nose = (centre[0], centre[1] + 0.22 * half)
    wrong = _wrong(nose, np.random.default_rng([*key, 2]))
    return Clip(True, unit, amplitude, onset, apex, total[inside], facial[inside], nose, wrong, centre, half)


def moving_clips(times: int, seed: int) -> Iterator[Clip]:
    """Every unit at every amplitude, `times` times, in random order."""
    cells = [(i, j) for i in range(len(AUS)) for j in range(len(AMPLITUDES))]
    for turn in range(times):
        for place in np.random.default_rng([_SEED, seed, turn]).permutation(len(cells)):
            i, j = cells[place]
            make = photographed if (i + j + turn) % 3 == 2 else drawn
            yield make(AUS[i], AMPLITUDES[j], [_SEED, seed, 1, AUS[i], j, turn])


def still_clips(number: int, seed: int) -> Iterator[Clip]:
    """`number` still faces, every other one photographed; half of each kind with a still head."""
    for i in range(number):
        make = photographed if i % 2 else drawn
        yield make(None, 0.0, [_SEED, seed, 2, i], head=float(i // 2 % 2))


def high_passed_tvl1(onset: Grey, apex: Grey) -> Field:
    """TV-L1 on frames without coarse brightness, which changes with the light."""
    frames = [frame.astype(np.float32) for frame in (onset, apex)]
    return tvl1(*(frame - cv2.GaussianBlur(frame, (0, 0), _HIGH_PASS) for frame in frames))


PEER = "OpenCV contrib's TV-L1"
"""The flow that the other environment computes."""

HIGH_PASSED = "high-passed tvl1"

FLOWS: dict[str, Callable[[Grey, Grey], Field]] = {
    **ESTIMATORS,
    HIGH_PASSED: high_passed_tvl1,
    "nothing": lambda onset, _: np.zeros((*onset.shape, 2), np.float32),
}
"""Flows computed in this environment, by name."""

SLOW = ("tvl1", HIGH_PASSED)
"""Flows that `--quick` computes only for some clips."""


@dataclass(frozen=True)
class Row:
    """A method in the tables: the processing of a flow of `FLOWS`, or of `PEER`."""

    name: str
    settings: MotionSettings
    flow: str
    wrong_nose: bool = False

    def map_pair(self, clip: Clip, forward: Field) -> tuple[FacialFlow, Field]:
        """A map from its flow, float32 `(H, W, 2)`: the facial flow and the strength of its colour."""
        nose = clip.wrong_nose if self.wrong_nose else clip.nose
        backward: Field | None = None
        if self.settings.doubt_px:
            forward, backward = both_flows(clip.onset, clip.apex, self.settings.estimator)
        facial = measure(Pair(clip.onset, clip.apex, nose, clip.onset.shape), self.settings, (forward, backward))
        shown = strength(facial.flow, self.settings, facial.confidence)
        colour.paint(facial.flow, shown, clip.onset, self.settings.palette, self.settings.overlay)
        return facial, shown


def _estimator(name: str) -> MotionSettings:
    return replace(DEFAULT, estimator=name, doubt_px=0.0)


FORMER = MotionSettings(estimator="dis", smooth_px=2.0, doubt_px=0.0, floor_px=0.15, knee_px=0.8)
NOTHING = "nothing at all"
ROBUST, PUBLISHED, PUBLISHED_BY_PEER = "preset `robust`", "preset `published`", "OpenCV's TV-L1, nose mean"
ROWS: tuple[Row, ...] = (
    Row(ROBUST, PRESETS["robust"], PRESETS["robust"].estimator),
    Row(PUBLISHED, PRESETS["published"], PRESETS["published"].estimator),
    Row("the same, nose tip 20 px off", PRESETS["published"], PRESETS["published"].estimator, wrong_nose=True),
    Row(PUBLISHED_BY_PEER, PRESETS["published"], PEER),
    Row("former default", FORMER, FORMER.estimator),
    *(Row(f"`{name}`, similarity", _estimator(name), name) for name in ESTIMATORS),
    Row("high-passed `tvl1`, similarity", _estimator("tvl1"), HIGH_PASSED),
    Row(NOTHING, replace(DEFAULT, head="none", doubt_px=0.0, smooth_px=0.0), "nothing"),
)
PLOTTED: dict[str, tuple[str, str, str]] = {
    # Colours of Okabe and Ito, safe for the colour-blind; markers and dashes repeat the distinction.
    ROBUST: ("#0072B2", "o", "-"),
    "`tvl1`, similarity": ("#009E73", "s", "-"),
    "former default": ("#CC79A7", "^", "--"),
    PUBLISHED: ("#D55E00", "D", "-"),
    PUBLISHED_BY_PEER: ("#000000", "x", ":"),
    NOTHING: ("#888888", "", ":"),
}


class Region(NamedTuple):
    """One row's result for a region of a clip."""

    right: bool  # its mean flow falls into the right bin
    degrees: float  # error of its direction
    error: float  # mean end-point error, px
    length: float  # of its mean flow, as a share of the true one's
    over_still: float  # the same length over the rms of the flow on still skin


class Outcome(NamedTuple):
    """One row's result for a clip."""

    photo: bool
    unit: int | None
    amplitude: float
    regions: list[Region]  # none in a still clip
    error: float  # mean end-point error over the face, px
    head_left: float  # rms over the face of the true head motion minus the removed one, px
    doubted: bool
    seconds: float  # processor time of the whole map
    shown: Field | None  # strength over a still face and beside it, float32 `(N,)`; None in other clips
    beside: Field | None


def outcome(clip: Clip, facial: FacialFlow, shown: Field, seconds: float) -> Outcome:
    """Compare the measured flow with the true one."""
    errors = np.linalg.norm(facial.flow - clip.facial, axis=-1)
    still = float(np.sqrt(np.square(facial.flow[clip.still]).sum(axis=-1).mean()))
    regions = []
    for mask in clip.regions:
        means = np.stack([clip.facial[mask].mean(axis=0), facial.flow[mask].mean(axis=0)])
        true_bin, found_bin = colour.bin_index(means[:, None]).ravel()
        true, found = np.degrees(np.arctan2(means[:, 1], means[:, 0]))
        true_length, length = np.linalg.norm(means, axis=1).tolist()
        degrees = abs(float(true - found + 180) % 360 - 180)
        over_still = length / still if still else float("nan")
        right, error = bool(true_bin == found_bin), float(errors[mask].mean())
        regions.append(Region(right, degrees, error, length / true_length, over_still))
    removed = 0.0 if facial.head is None else facial.head.flow(*clip.onset.shape)
    head = clip.total - clip.facial - removed
    error, head_left = float(errors[clip.face].mean()), float(np.sqrt((head[clip.face] ** 2).sum(axis=-1).mean()))
    colour_of_still = (None, None) if clip.unit else (shown[clip.face], shown[~clip.face])
    known = clip.photo, clip.unit, clip.amplitude
    return Outcome(*known, regions, error, head_left, bool(facial.doubts), seconds, *colour_of_still)


def flows(clip: Clip, names: Sequence[str], peer: Peer | None, peer_first: bool) -> dict[str, tuple[Field, float]]:
    """Flow and seconds by name; with a peer also its flow, computed before or after ours."""
    found: dict[str, tuple[Field, float]] = {}
    for name in [PEER, *names] if peer_first else [*names, PEER]:
        if name != PEER:
            start = time.process_time()
            flow = FLOWS[name](clip.onset, clip.apex)
            found[name] = flow, time.process_time() - start
        elif peer:
            found[PEER] = peer.flow(clip.onset, clip.apex)
    return found


def outcomes(clip: Clip, found: dict[str, tuple[Field, float]]) -> dict[str, Outcome]:
    """The results of all rows whose flow is known, for one clip."""
    made: dict[str, Outcome] = {}
    for row in ROWS:
        if row.flow in found:
            forward, seconds = found[row.flow]
            if row.settings.doubt_px:
                seconds = 0.0  # both flows are computed together, below
            start = time.process_time()
            facial, shown = row.map_pair(clip, forward)
            made[row.name] = outcome(clip, facial, shown, seconds + time.process_time() - start)
    return made


class Extent(NamedTuple):
    """How much is computed."""

    times: int = 3  # clips of each unit and amplitude
    still: int = 48  # still faces
    slow: int = 10**6  # clips at most, of either kind, for slow flows
    peer: int = 96  # clips at most for the peer
    still_peer: int = 12
    batch: int = 64  # maps for the rates
    slow_batch: int = 16


QUICK = Extent(times=1, still=12, slow=16, peer=8, still_peer=4, batch=12, slow_batch=4)


class Run(NamedTuple):
    """All that was measured, by row. A row that has fewer clips than others has the first of them."""

    moving: dict[str, list[Outcome]]
    still: dict[str, list[Outcome]]
    rates: dict[str, tuple[float, float]]  # maps a second with one and with two workers
    load: float  # of the machine before the run


def evaluate(extent: Extent, seed: int, peer: Peer | None) -> Run:
    """Measure every row on every clip."""
    load = os.getloadavg()[0]
    names = [name for name in FLOWS if any(row.flow == name for row in ROWS)]
    quick = [name for name in names if name not in SLOW]
    warm = drawn(None, 0.0, [_SEED, seed, 3])
    outcomes(warm, flows(warm, names, peer, peer_first=True))  # loads what is loaded at the first call

    moving: dict[str, list[Outcome]] = {row.name: [] for row in ROWS}
    still: dict[str, list[Outcome]] = {row.name: [] for row in ROWS}
    pairs: list[tuple[Grey, Grey, tuple[float, float]]] = []
    kinds = (
        (moving_clips(extent.times, seed), moving, extent.peer),
        (still_clips(extent.still, seed), still, extent.still_peer),
    )
    for clips, into, with_peer in kinds:
        for n, clip in enumerate(clips):
            wanted = names if n < extent.slow else quick
            found = flows(clip, wanted, peer if n < with_peer else None, peer_first=n % 2 == 0)
            for name, made in outcomes(clip, found).items():
                into[name].append(made)
            if len(pairs) < extent.batch:
                pairs.append((clip.onset, clip.apex, clip.nose))
            if sys.stderr.isatty() and n % 10 == 9:
                print(f"\r{n + 1} clips", end="", file=sys.stderr, flush=True)
    rates: dict[str, tuple[float, float]] = {}
    for row in ROWS:
        if row.flow == row.settings.estimator and not row.wrong_nose:  # `motion_maps` draws exactly this row's maps
            chosen = pairs[: extent.slow_batch] if row.flow in SLOW else pairs
            rates[row.name] = _rate(chosen, row.settings, 1), _rate(chosen, row.settings, 2)
    return Run(moving, still, rates, load)


def _rate(pairs: list[tuple[Grey, Grey, tuple[float, float]]], settings: MotionSettings, workers: int) -> float:
    start = time.perf_counter()
    drawn_maps = sum(1 for _ in motion_maps(pairs, settings, workers=workers))
    return drawn_maps / (time.perf_counter() - start)


def accuracy(made: Sequence[Outcome], low: float = 0.0, high: float = 1e9) -> float:
    """Share of right regions in clips with an amplitude above `low` and up to `high`, px."""
    right = [region.right for clip in made if low < clip.amplitude <= high for region in clip.regions]
    return float(np.mean(right)) if right else float("nan")


def interval(made: Sequence[Outcome], low: float = 0.0, high: float = 1e9, seed: int = 0) -> tuple[float, float]:
    """95 % interval of `accuracy`: the clips are resampled, with all their regions."""
    chosen = [clip for clip in made if low < clip.amplitude <= high]
    if not chosen:
        return float("nan"), float("nan")
    right = np.array([sum(region.right for region in clip.regions) for clip in chosen], np.float64)
    regions = np.array([len(clip.regions) for clip in chosen], np.float64)
    picks = np.random.default_rng(seed).integers(len(chosen), size=(RESAMPLES, len(chosen)))
    least, greatest = np.quantile(right[picks].sum(axis=1) / regions[picks].sum(axis=1), [0.025, 0.975])
    return float(least), float(greatest)


def number(value: float, digits: int = 2) -> str:
    """`.93`, `1.20`, and a dash for what is not known."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text[1:] if text.startswith("0.") else text


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [" | ".join(head), "|".join(["---", *["---:"] * (len(head) - 1)]), *(" | ".join(row) for row in rows)]
    return "\n".join(f"|{line}|" if line.startswith("---") else f"| {line} |" for line in lines)


def _with_interval(made: Sequence[Outcome], low: float, high: float) -> str:
    least, greatest = interval(made, low, high)
    return f"{number(accuracy(made, low, high))} ({number(least)} to {number(greatest)})"


def direction_table(run: Run) -> str:
    """How many regions point the right way, by amplitude."""
    head = ["right regions", "clips", *(f"{amplitude:g} px" for amplitude in AMPLITUDES)]
    rows = []
    for name, made in run.moving.items():
        if made:
            each = [number(accuracy(made, a - 0.01, a + 0.01)) for a in AMPLITUDES]
            degrees = statistics.median(region.degrees for clip in made for region in clip.regions)
            both = [_with_interval(made, 0, SMALL), _with_interval(made, SMALL, 1e9)]
            rows.append([name, str(len(made)), *each, *both, f"{degrees:.0f}"])
    return table([*head, "up to 1 px", "2 and 3 px", "degrees off, median"], rows)


def flow_table(run: Run) -> str:
    """Errors of flow and head, and what a still face shows."""
    rows = []
    for name, made in run.moving.items():
        if not made:
            continue
        regions = [region for clip in made for region in clip.regions]
        small = [region for clip in made if clip.amplitude <= SMALL for region in clip.regions]
        still = run.still[name]
        shown = np.concatenate([clip.shown for clip in still if clip.shown is not None])
        beside = np.concatenate([clip.beside for clip in still if clip.beside is not None])
        doubted = sum(clip.doubted for clip in [*made, *still])
        numbers = (
            (statistics.fmean(clip.error for clip in made), 3),
            (statistics.fmean(region.error for region in regions), 3),
            (statistics.median(region.length for region in small), 2),
            (statistics.median(region.over_still for region in small), 1),
            (statistics.fmean(clip.head_left for clip in made), 3),
            *((float(value), 3) for value in (shown.mean(), np.quantile(shown, 0.99), shown.max())),
        )
        shares = [f"{100 * np.mean(where > 0.05):.1f} %" for where in (shown, beside)]
        doubts = f"{doubted} of {len(made) + len(still)}" if name != NOTHING else "–"
        rows.append([name, *(number(*each) for each in numbers), *shares, doubts])
    still_head = ["still: mean colour", "99th percentile", "largest", "face above .05", "beside the face"]
    errors = ["error on the face, px", "in regions, px", "length", "region / still", "head left, px"]
    return table(["flow and head", *errors, *still_head, "false doubts"], rows)


def cost_table(run: Run) -> str:
    """What a map takes, and how much faster that is than the published map with OpenCV's flow."""
    rows = []
    theirs = run.moving[PUBLISHED_BY_PEER]
    for name, made in run.moving.items():
        if not made or name == NOTHING:
            continue
        ratios = [peer.seconds / ours.seconds for peer, ours in zip(theirs, made, strict=False)]
        ratio = "–"
        if len(ratios) > 1 and name != PUBLISHED_BY_PEER:
            low, middle, high = statistics.quantiles(ratios, n=4)
            ratio = f"{middle:.1f} ({low:.1f} to {high:.1f})"
        rates = run.rates.get(name)
        ms = f"{1000 * statistics.median(clip.seconds for clip in made):.0f}"
        rows.append([name, ms, ratio, *([f"{rate:.1f}" for rate in rates] if rates else ["–", "–"])])
    return table(["cost", "ms a map", "times as fast as OpenCV's", "maps a second, 1 worker", "2 workers"], rows)


def report(run: Run, seed: int, peer_version: str | None) -> str:
    """The tables with what they were made from."""
    opencv = f"OpenCV {cv2.__version__}" + (f", contrib {peer_version}" if peer_version else "")
    made_of = (
        f"Seed {seed}: {len(run.moving[ROBUST])} clips, every third of a photographed face, and "
        f"{len(run.still[ROBUST])} still faces. Python {sys.version.split()[0]}, {opencv}, torch {torch.__version__}, "
        f"{os.cpu_count()} CPUs, load {run.load:.1f} before the run."
    )
    best = run.moving[ROBUST]
    by_unit = sorted((accuracy([clip for clip in best if clip.unit == unit], 0, SMALL), unit) for unit in AUS)
    weakest = ", ".join(f"AU {unit} {number(share)}" for share, unit in by_unit[:4])
    faces = ([clip for clip in best if clip.photo is photo] for photo in (False, True))
    of_drawn, of_photo = (_with_interval(clips, 0, SMALL) for clips in faces)
    by_face = f"{ROBUST.capitalize()} up to 1 px: drawn faces {of_drawn}, the photographed one {of_photo}"
    parts = [made_of, direction_table(run), f"{by_face}; its weakest units: {weakest}."]
    if count := len(run.moving[PUBLISHED_BY_PEER]):
        same = []
        for name in (ROBUST, PUBLISHED, PUBLISHED_BY_PEER):
            made = run.moving[name][:count]
            same.append(f"{name} {number(accuracy(made, 0, SMALL))} and {number(accuracy(made, SMALL))}")
        parts.append(f"On the {count} clips that OpenCV's TV-L1 computed, up to 1 px and above: {'; '.join(same)}.")
    parts += [flow_table(run), cost_table(run)]
    if run.load > 0.5:
        parts.append("Other work ran beside this: maps a second, which are by the clock, are too few here.")
    return "\n\n".join(parts)


def between_markers(text: str, block: str) -> str:
    """The text with `block` between the markers.

    Raises:
        SystemExit: each marker must be there once, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"expected one {BEGIN} and, after it, one {END} in the file; nothing was written")
    return f"{text[: text.index(BEGIN)]}{BEGIN}\n\n{block}\n\n{text[text.index(END) :]}"


def plot(run: Run, path: Path) -> None:
    """Accuracy against amplitude as SVG, on white paper so that it can be read on any page."""
    import matplotlib
    from matplotlib.figure import Figure

    # The same numbers give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "mellm", "font.size": 10}):
        figure = Figure(figsize=(7, 4.2), layout="constrained", facecolor="white")
        axes = figure.subplots()
        for name, (ink, marker, dashes) in PLOTTED.items():
            if made := run.moving[name]:
                shares = [accuracy(made, a - 0.01, a + 0.01) for a in AMPLITUDES]
                axes.plot(AMPLITUDES, shares, color=ink, marker=marker, linestyle=dashes, label=name.replace("`", ""))
                if name in (ROBUST, PUBLISHED):
                    bounds = [interval(made, a - 0.01, a + 0.01) for a in AMPLITUDES]
                    low, high = zip(*bounds, strict=True)
                    axes.fill_between(AMPLITUDES, low, high, color=ink, alpha=0.15, linewidth=0)
        axes.set(xscale="log", ylim=(0, 1.02))
        axes.set(xlabel="displacement, px of 224", ylabel="regions in the right bin of 12")
        axes.set_xticks(AMPLITUDES, [f"{a:g}" for a in AMPLITUDES])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def sheets(folder: Path, seed: int) -> None:
    """Contact sheets of each preset: a row for each unit, on one drawn face and on the photographed one."""
    folder.mkdir(parents=True, exist_ok=True)
    face = Face(seed + _SEED)

    def maps(preset: str, photo: bool) -> Iterator[tuple[str, Grey]]:
        for unit in AUS:
            for amplitude in AMPLITUDES:  # of one movement of the head, so that a row shows one thing growing
                key = [_SEED, seed, 4, unit]
                clip = photographed(unit, amplitude, key) if photo else drawn(unit, amplitude, key, face=face)
                drawn_map = motion_map(clip.onset, clip.apex, PRESETS[preset], nose=clip.nose)
                yield f"AU {unit}, {amplitude:g} px", drawn_map.image

    for preset in PRESETS:
        for photo in (False, True):
            path = folder / f"{preset}-{'photographed' if photo else 'drawn'}.jpg"
            for page in contact_sheet(maps(preset, photo), path, columns=len(AMPLITUDES), rows=len(AUS)):
                print(page)


def main() -> None:
    parser = argparse.ArgumentParser(description="Motion maps: accuracy, noise and cost on clips with known motion.")
    parser.add_argument("--peer", help="a Python with opencv-contrib-python-headless")
    parser.add_argument("--clips", type=int, help="of each unit and amplitude (default 3, one of them photographed)")
    parser.add_argument("--quick", action="store_true", help="fewer clips, and fewer still for slow flows")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default 0)")
    parser.add_argument("--write", type=Path, help="a Markdown file with the markers of the tables")
    parser.add_argument("--sheets", type=Path, help="write contact sheets into this folder and end")
    given = parser.parse_args()
    if given.clips is not None and given.clips < 1:
        parser.error("expected at least one clip of each unit and amplitude")
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if given.sheets:
        sheets(given.sheets, given.seed)
        return
    if given.write:
        between_markers(given.write.read_text(encoding="utf-8"), "")  # before minutes of work
        import matplotlib  # noqa: F401
    extent = QUICK if given.quick else Extent()
    if given.clips is not None:
        extent = extent._replace(times=given.clips)
    peer = Peer(given.peer) if given.peer else None
    start = time.perf_counter()
    try:
        run = evaluate(extent, given.seed, peer)
    finally:
        if peer:
            peer.close()
    block = report(run, given.seed, peer.version if peer else None)
    print(block)
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    if given.write:
        plot(run, given.write.with_name(PLOT))
        picture = f"![Accuracy against displacement]({PLOT})"
        text = given.write.read_text(encoding="utf-8")
        write_text(given.write, between_markers(text, f"{block}\n\n{picture}"))


if __name__ == "__main__":
    main()
