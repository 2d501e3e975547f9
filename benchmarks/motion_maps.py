"""python benchmarks/motion_maps.py [--tables methods amplitudes conditions] [--seed 20 21 22] [--before CHECKOUT] ...

Accuracy, noise and cost of motion maps on pairs of frames whose motion is known at every pixel (`pairs.py`).

- `methods`: ways to draw a map, the published one too; each labelled unit of SynthME at six amplitudes, and 16 still
  faces, half of them with a still head; the first seed. The head moves in the plane by up to 3 px, 1.2 degrees and
  1.2 %, the light by a few per cent; noise is .5 to 3 grey levels in each colour. Two minutes, five with `--peer`.
- `amplitudes`: the preset `robust` on these moving clips, `--clips` times for each seed, beside the least error that is
  possible (`bound`): with the windows of `local`, and with the best window for each region.
- `conditions`: the same for `pairs.CONDITIONS` (turns of a head with depth, codecs, blur, light): each unit at .5 and
  1 px, and 8 still faces. All conditions see the same clips. Two minutes a seed, three with `--before`.

`python benchmarks/average.py` has the axis of the frame rate: single frames against averages over time.

Faces are drawn, or two portraits that packages ship. With `--portraits`, only the pictures of a folder appear, so that
it can hold faces that no constant was tuned on. With `--heads`, half of the heads that turn are measured ones.

Right: the mean flow of a region falls into the right one of the twelve direction bins. Shown: right, and the mean
strength of its colour is above .1. False: share of the pixels of a still face, or of the still part, that have a
strength above .05; mean over clips. Doubts: share of the clips with any. Error: mean end-point error in the regions,
px. Length: of a region's mean flow, as a share of the true one, median. An interval contains 95 % of 2000 resamples of
the clips. "Head left": rms over the face of the true head motion minus the removed one.

`--before` names another checkout of this repository. A process of it draws the same pairs, and a cell holds both
figures: before → now. `--peer` names the Python of an environment with OpenCV contrib, whose TV-L1 the published map
uses, in a process of its own (two opencv packages break each other), alternately before and after ours. Times are
processor times on one thread, from grey frames to picture; the ratio is that of whole maps of one pair.

`--write` puts the tables between the markers of a Markdown file and a plot beside it. `--sheets` only writes contact
sheets of every unit and amplitude. `--quick` tries everything out on two units.
"""

from __future__ import annotations

import argparse
import os
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

sys.path.insert(0, str(Path(__file__).parent))
from pairs import (
    CONDITIONS,
    IN_PLANE,
    MEASURED,
    SHAPES,
    STILL_HEAD,
    Cast,
    Condition,
    Field,
    Grey,
    Pair,
    cast_of,
    make,
)
from tvl1 import Peer

from mellm_plugin.datasets.synthme import AUS
from mellm_plugin.motion import colour, facial
from mellm_plugin.motion.contact_sheet import contact_sheet
from mellm_plugin.motion.flow import ESTIMATORS
from mellm_plugin.motion.render import motion_map, strength
from mellm_plugin.motion.settings import DEFAULT, PRESETS, MotionSettings
from mellm_plugin.motion.tvl1 import tvl1
from mellm_plugin.small_files import write_text

AMPLITUDES = (0.2, 0.3, 0.5, 1.0, 2.0, 3.0)
OF_CONDITIONS = (0.5, 1.0)
SMALL = 1.0
"""Largest small amplitude, px."""

TABLES = ("methods", "amplitudes", "conditions")
BEGIN, END = "<!-- benchmark -->", "<!-- /benchmark -->"
PLOT = "motion_accuracy.svg"

_SEED = 0x6D6D  # keeps these clips apart from others with the same seed
_RESAMPLES = 2000
_SHOWN, _SEEN, _HALF_COLOURED = 0.1, 0.05, 0.5  # strength of a region that is shown, of a pixel; share of the face
_SURE_TURN = 2.0  # degrees, up to which a turn is to be removed
_HIGH_PASS = 6.0  # px
_WINDOW = float(np.hypot(3, DEFAULT.smooth_px))  # sigma of `local`'s windows, with the smoothing after it, px
_WINDOWS = (1.0, 1.5, 2.2, 4.5)  # others, for the bound
_DERIVATIVE = np.array([1, -8, 0, 8, -1], np.float32) / 12
_STILL_FACES = 16, 8  # of the tables of methods and of conditions


class Drawn(NamedTuple):
    """A map, as a checkout draws it."""

    flow: Field  # of the face, float32 `(H, W, 2)`
    shown: Field  # strength, float32 `(H, W)`
    doubts: tuple[str, ...]
    removed: Field | float  # the head's flow
    seconds: float


class Before:
    """A process that draws maps with the package of another checkout."""

    _CODE = """
import pickle, sys, time
import cv2
import mellm_plugin
from mellm_plugin.motion.render import motion_map, strength
cv2.setNumThreads(1)
pickle.dump(mellm_plugin.__file__, sys.stdout.buffer)
while True:
    sys.stdout.buffer.flush()
    try:
        pair = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    start = time.process_time()
    drawn = motion_map(*pair)
    seconds = time.process_time() - start
    shown = strength(drawn.flow, drawn.settings, drawn.facial.confidence)
    pickle.dump((drawn.flow, shown, drawn.doubts, drawn.head.flow(*shown.shape), seconds), sys.stdout.buffer)
"""

    def __init__(self, checkout: Path) -> None:
        if not checkout.is_dir():
            raise SystemExit(f"expected the folder of another checkout, found no folder {checkout}")
        environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
        command, pipe = [sys.executable, "-c", self._CODE], subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, cwd=checkout)
        if not Path(found := self._answer()).is_relative_to(checkout.resolve()):
            raise SystemExit(f"expected a folder mellm_plugin in {checkout}, but {found} loads")

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except EOFError:
            raise SystemExit(f"the process of the other checkout ended with {self._process.wait()}") from None

    def draw(self, pair: Pair) -> Drawn:
        assert self._process.stdin is not None
        pickle.dump((pair.onset, pair.apex), self._process.stdin)
        self._process.stdin.flush()
        return Drawn(*self._answer())

    def close(self) -> None:
        self._process.communicate()


def _nothing(onset: Grey, _: Grey) -> tuple[Field, float]:
    return np.zeros((*onset.shape, 2), np.float32), 0.0


def _high_passed_tvl1(onset: Grey, apex: Grey) -> tuple[Field, float]:
    """TV-L1 on frames without coarse brightness, which changes with the light."""
    frames = [frame.astype(np.float32) for frame in (onset, apex)]
    return tvl1(*(frame - cv2.GaussianBlur(frame, (0, 0), _HIGH_PASS) for frame in frames)), 0.0


def ours(pair: Pair, settings: MotionSettings = DEFAULT) -> Drawn:
    """A pair's map."""
    start = time.process_time()
    made = motion_map(pair.onset, pair.apex, settings, nose=pair.nose)
    seconds = time.process_time() - start
    shown = strength(made.flow, settings, made.facial.confidence)
    return Drawn(made.flow, shown, made.doubts, made.head.flow(*shown.shape) if made.head else 0.0, seconds)


def from_flow(flow: Callable[[Grey, Grey], tuple[Field, float]], settings: MotionSettings, pair: Pair) -> Drawn:
    """A pair's map from a flow that is not the package's, which comes with its seconds in another process."""
    start = time.process_time()
    forward, elsewhere = flow(pair.onset, pair.apex)
    given = facial.Pair(pair.onset, pair.apex, pair.nose, pair.onset.shape)
    made = facial.measure(given, settings, (forward, None))
    shown = strength(made.flow, settings)
    colour.paint(made.flow, shown, pair.onset, settings.palette, settings.overlay)
    seconds = time.process_time() - start + elsewhere
    return Drawn(made.flow, shown, made.doubts, made.head.flow(*shown.shape) if made.head else 0.0, seconds)


Method = Callable[[Pair], Drawn]

_PLAIN = replace(DEFAULT, doubt_px=0.0)
NOTHING, BEFORE = "nothing at all", "before"
ROBUST, PUBLISHED, PUBLISHED_BY_PEER = "preset `robust`", "preset `published`", "OpenCV's TV-L1, nose mean"
METHODS: dict[str, Method] = {
    ROBUST: ours,
    PUBLISHED: partial(ours, settings=PRESETS["published"]),
    **{
        f"`{name}`, similarity": partial(ours, settings=replace(_PLAIN, estimator=name))
        for name in ESTIMATORS
        if name != DEFAULT.estimator
    },
    "high-passed `tvl1`, similarity": partial(from_flow, _high_passed_tvl1, replace(_PLAIN, estimator="tvl1")),
    NOTHING: partial(from_flow, _nothing, replace(_PLAIN, head="none", smooth_px=0.0)),
}
"""What the table of methods compares, beside OpenCV's TV-L1."""

PLOTTED: dict[str, tuple[str, str, str]] = {
    # Colours of Okabe and Ito, safe for the colour-blind; markers and dashes repeat the distinction.
    ROBUST: ("#0072B2", "o", "-"),
    "`tvl1`, similarity": ("#009E73", "s", "-"),
    "`dis`, similarity": ("#CC79A7", "^", "--"),
    PUBLISHED: ("#D55E00", "D", "-"),
    PUBLISHED_BY_PEER: ("#000000", "x", ":"),
    NOTHING: ("#888888", "", ":"),
}


class Region(NamedTuple):
    """A method's result for a region of a clip."""

    right: bool  # its mean flow falls into the right bin
    shown: bool  # right and visible
    degrees: float  # error of its direction
    length: float  # of its mean flow, as a share of the true one's
    error: float  # mean end-point error, px
    bound: float  # of the error, px; nan where it is not known
    best_bound: float  # the least one, of any window


class Outcome(NamedTuple):
    """A method's result for a clip."""

    table: str
    method: str
    condition: Condition
    face: str
    shape: str
    unit: int | None
    amplitude: float
    regions: list[Region]  # none in a still clip
    error: float  # mean end-point error over the face, px
    false: float  # share of still skin with a colour that is seen
    beside: float  # share beside the face
    head_left: float  # px
    doubted: bool
    seconds: float  # processor time of the whole map


@lru_cache(maxsize=8)
def bound(pair: Pair, window: float = _WINDOW) -> Field:
    """The least mean end-point error in the pair's regions, px; float32 `(H, W)`, nan elsewhere.

    The Bayesian Cramér-Rao bound (Van Trees 1968) of the motion in a Gaussian window of sigma `window`, px. Its Fisher
    information is that of image registration (Robinson and Milanfar 2004), from the gradients `g` of the onset without
    noise. Both frames have noise of variance s^2, so their difference has 2 s^2. Least squares with the window's
    weights w have the information J = A B^-1 A / (2 s^2), with A = sum(w g g') and B = sum(w^2 g g'). The prior: a
    region moves to any side alike, as a Gaussian with the mean square of the true motion. So the error has the
    covariance C = (J + prior)^-1. In this linear model with Gaussian noise an estimate reaches the bound, and has the
    least mean length too (Anderson 1955).

    Within a window the motion u varies, and one vector cannot follow. This part is included, by its true value
    C J (A^-1 sum(w g g' u) - u). Noise does not change it; a smaller window would make it smaller.
    """
    moving = np.any(pair.regions, axis=0)
    one = np.ones(1, np.float32)
    gradients = [cv2.sepFilter2D(pair.clean, -1, *both) for both in ((_DERIVATIVE, one), (one, _DERIVATIVE))]
    g = np.stack(gradients, axis=-1).astype(np.float64)
    products = g[..., :, None] * g[..., None, :]

    def summed(image: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
        """Weighted sums around each moving pixel, the largest weight being 1."""
        sums = 2 * np.pi * sigma**2 * cv2.GaussianBlur(image.reshape(*image.shape[:2], -1), (0, 0), sigma)
        return np.asarray(sums[moving].reshape(-1, *image.shape[2:]))

    u = pair.facial[..., None].astype(np.float64)
    tiny = 1e-3 * np.eye(2)
    a, b = summed(products, window) + tiny, summed(products, window / np.sqrt(2)) + tiny
    information = a @ np.linalg.inv(b) @ a / (2 * pair.noise**2)
    covariance = np.linalg.inv(information + np.eye(2) / (np.square(u[moving]).sum(axis=1).mean() / 2))
    bias = covariance @ information @ (np.linalg.solve(a, summed(products @ u, window)) - u[moving])
    # The mean length of Gaussian errors about the bias, by quadrature.
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    normals = np.stack(np.meshgrid(nodes, nodes)).reshape(2, -1)
    chances = np.outer(weights, weights).ravel() / weights.sum() ** 2
    found = np.full(pair.onset.shape, np.nan, np.float32)
    found[moving] = np.linalg.norm(bias + np.linalg.cholesky(covariance) @ normals, axis=1) @ chances
    return found


def outcome(table: str, method: str, condition: Condition, pair: Pair, drawn: Drawn) -> Outcome:
    """Compare the measured flow with the true one."""
    errors = np.linalg.norm(drawn.flow - pair.facial, axis=-1)
    regions = []
    for mask in pair.regions:
        means = np.stack([pair.facial[mask].mean(axis=0), drawn.flow[mask].mean(axis=0)])
        true_bin, found_bin = colour.bin_index(means[:, None]).ravel()
        true, found = np.degrees(np.arctan2(means[:, 1], means[:, 0]))
        true_length, length = np.linalg.norm(means, axis=1).tolist()
        degrees = abs(float(true - found + 180) % 360 - 180)
        right, shown = bool(true_bin == found_bin), float(drawn.shown[mask].mean()) > _SHOWN
        error, least = float(errors[mask].mean()), [float("nan")]
        if table == "amplitudes":
            least = [float(bound(pair, window)[mask].mean()) for window in (_WINDOW, *_WINDOWS)]
        known = right, right and shown, degrees, length / true_length
        regions.append(Region(*known, error, least[0], min(least)))
    head = (pair.total - pair.facial - drawn.removed)[pair.inside]
    clip = table, method, condition, pair.face, pair.shape, pair.unit, pair.amplitude, regions
    of_skin, beside = (float(np.mean(drawn.shown[where] > _SEEN)) for where in (pair.still, ~pair.inside))
    head_left = float(np.sqrt(np.square(head).sum(axis=-1).mean()))
    error = float(errors[pair.inside].mean())
    return Outcome(*clip, error, of_skin, beside, head_left, bool(drawn.doubts), drawn.seconds)


class Task(NamedTuple):
    """A clip, under conditions."""

    table: str
    face: str
    unit: int | None
    amplitude: float
    key: tuple[int, ...]
    conditions: tuple[Condition, ...] = (IN_PLANE,)
    methods: bool = False  # all of them; else only the default and `--before`


def tasks(names: Sequence[str], tables: Sequence[str], seeds: Sequence[int], times: int, units: int) -> Iterator[Task]:
    """All clips of some tables, of the faces with these names."""
    moved = AUS[:: len(AUS) // units]
    for seed in seeds:
        for turn in range(times):
            key = (_SEED, seed, turn)
            methods = "methods" in tables and (seed, turn) == (seeds[0], 0)
            for i, unit in enumerate(moved):
                for j, amplitude in enumerate(AMPLITUDES):
                    face = names[(i + j + turn) % len(names)]
                    if methods or "amplitudes" in tables:
                        yield Task("amplitudes", face, unit, amplitude, (*key, 1, unit, j), methods=methods)
                for j, amplitude in enumerate(OF_CONDITIONS):
                    face = names[(i + j + turn) % len(names)]
                    if "conditions" in tables:
                        yield Task("conditions", face, unit, amplitude, (*key, 2, unit, j), CONDITIONS)
            for k in range(-(-_STILL_FACES[0] * units // len(AUS)) if methods else 0):
                still = (STILL_HEAD if k % 2 else IN_PLANE,)
                yield Task("still", names[k // 2 % len(names)], None, 0.0, (*key, 3, k), still, True)
            for k in range(-(-_STILL_FACES[1] * units // len(AUS)) if "conditions" in tables else 0):
                yield Task("conditions", names[k % len(names)], None, 0.0, (*key, 4, k), CONDITIONS)


class Worker:
    """Draws the clips of tasks and scores the methods on them."""

    def __init__(self, cast: Cast, before: Path | None, peer: Peer | None = None) -> None:
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        self.cast = cast
        self.before = Before(before) if before else None
        self.few: dict[str, Method] = {ROBUST: ours}
        if self.before:
            self.few[BEFORE] = self.before.draw
        self.all = {**METHODS, **self.few}
        if peer:
            self.all[PUBLISHED_BY_PEER] = partial(from_flow, peer.flow, PRESETS["published"])

    def __call__(self, task: Task) -> list[Outcome]:
        found = []
        for condition in task.conditions:
            pair = make(self.cast, condition, task.face, task.unit, task.amplitude, task.key)
            methods = list((self.all if task.methods else self.few).items())
            for name, method in methods[:: -1 if task.key[-1] % 2 else 1]:
                found.append(outcome(task.table, name, condition, pair, method(pair)))
        return found

    def close(self) -> None:
        if self.before:
            self.before.close()


_worker: Worker | None = None


def _start(*arguments: Any) -> None:
    global _worker
    _worker = Worker(*arguments)


def _work(task: Task) -> list[Outcome]:
    assert _worker is not None
    return _worker(task)


def evaluate(todo: Sequence[Task], cast: Cast, before: Path | None, peer: Peer | None, workers: int) -> list[Outcome]:
    """Score all tasks, in their order."""
    found: list[Outcome] = []
    with ExitStack() as stack:
        if workers > 1:
            fresh = get_context("spawn")  # a fork would wait for threads of OpenCV that it does not have
            pool = stack.enter_context(ProcessPoolExecutor(workers, fresh, _start, (cast, before)))
            results: Iterator[list[Outcome]] = pool.map(_work, todo, chunksize=2)
        else:
            worker = Worker(cast, before, peer)
            stack.callback(worker.close)
            worker(Task("warm", cast.names[0], None, 0.0, (_SEED,)))  # loads what is loaded at the first call
            results = map(worker, todo)
        for n, result in enumerate(results):
            found += result
            if sys.stderr.isatty():
                print(f"\r{n + 1} of {len(todo)}", end="", file=sys.stderr, flush=True)
    return found


Pick = Callable[[Outcome], Sequence[float]]
Versions = Sequence[Sequence[Outcome]]
"""The same clips by the other checkout, if there is one, and by this one."""
Column = Callable[[Versions], str]


def of_regions(name: str) -> Pick:
    """A value of each region."""
    return lambda clip: [getattr(region, name) for region in clip.regions]


def of_clips(name: str) -> Pick:
    """A value of each clip."""
    return lambda clip: [getattr(clip, name)]


RIGHT = of_regions("right")


def mean(made: Sequence[Outcome], pick: Pick, average: Callable[[list[float]], Any] = np.mean) -> float:
    """The average of a value; nan without any."""
    values = [value for clip in made for value in pick(clip)]
    return float(average(values)) if values else float("nan")


def interval(made: Sequence[Outcome], pick: Pick = RIGHT) -> tuple[float, float]:
    """95 % interval of the mean: the clips are resampled, with all their regions."""
    values = [values for clip in made if (values := pick(clip))]
    if not values:
        return float("nan"), float("nan")
    sums, counts = np.array([[sum(each), len(each)] for each in values], np.float64).T
    picks = np.random.default_rng(0).integers(len(sums), size=(_RESAMPLES, len(sums)))
    least, greatest = np.quantile(sums[picks].sum(axis=1) / counts[picks].sum(axis=1), [0.025, 0.975])
    return float(least), float(greatest)


def number(value: float, digits: int = 2) -> str:
    """`.93`, `1.20`, and a dash for what is not known."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text[1:] if text.startswith("0.") else text


def percent(value: float) -> str:
    return f"{100 * value:.1f} %" if np.isfinite(value) else "–"


def cell(pick: Pick, style: Callable[[float], str] = number, average: Callable[[list[float]], Any] = np.mean) -> Column:
    """The averages of all versions."""
    return lambda versions: " → ".join(style(mean(made, pick, average)) for made in versions)


def within(column: Column, belongs: Callable[[Outcome], bool]) -> Column:
    """The column of some clips alone."""
    return lambda versions: column([[clip for clip in made if belongs(clip)] for made in versions])


def right_with_interval(versions: Versions) -> str:
    least, greatest = interval(versions[-1])
    return f"{cell(RIGHT)(versions)} ({number(least)} to {number(greatest)})"


def unwarned(versions: Versions) -> str:
    """How many still faces are half coloured without a doubt."""
    still = [[clip for clip in made if clip.unit is None] for made in versions]
    counts = " → ".join(str(sum(c.false > _HALF_COLOURED and not c.doubted for c in made)) for made in still)
    return f"{counts} of {len(still[-1])}"


def equal(**wanted: Any) -> Callable[[Outcome], bool]:
    """Whether a clip has these values."""
    return lambda clip: all(getattr(clip, name) == value for name, value in wanted.items())


three = partial(number, digits=3)
SHOWN: dict[str, Column] = {
    "right": right_with_interval,
    "shown": cell(of_regions("shown")),
    "false": cell(of_clips("false"), percent),
    "doubts": cell(of_clips("doubted")),
}


def table(corner: str, rows: dict[str, Versions], columns: dict[str, Column]) -> str:
    """A Markdown table of the rows that have clips."""
    lines = [[corner, "clips", *columns], ["---", *["---:"] * (len(columns) + 1)]]
    for name, versions in rows.items():
        if versions := [made for made in versions if made]:
            lines.append([name, str(len(versions[-1])), *(column(versions) for column in columns.values())])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def chosen(found: Sequence[Outcome], of: str, belongs: Callable[[Outcome], bool] = lambda _: True) -> Versions:
    """Both versions of the clips of a table."""
    return [[o for o in found if o.table == of and o.method == name and belongs(o)] for name in (BEFORE, ROBUST)]


def condition_tables(found: Sequence[Outcome]) -> str:
    """What heads and cameras do to a map; and the turns by the depth of the head."""
    columns = {
        **SHOWN,
        "error, px": cell(of_regions("error"), three),
        "no doubt: right": within(cell(RIGHT), equal(doubted=False)),
        "no doubt: false": within(cell(of_clips("false"), percent), equal(doubted=False)),
        "no doubt: still faces half coloured": unwarned,
    }
    rows = {each.name: chosen(found, "conditions", equal(condition=each)) for each in CONDITIONS}
    shapes: dict[str, Versions] = {}
    for shape in (*SHAPES, MEASURED):
        both = chosen(found, "conditions", equal(shape=shape))
        for what, turns in ((f"up to {_SURE_TURN:g} degrees", (0.1, _SURE_TURN)), ("above", (_SURE_TURN + 0.1, 90))):
            of = [[clip for clip in made if turns[0] < clip.condition.turn <= turns[1]] for made in both]
            shapes[f"{shape}, {what}"] = of
    return f"{table('condition', rows, columns)}\n\n{table('turns, by depth of the head', shapes, columns)}"


def amplitude_table(found: Sequence[Outcome]) -> str:
    """The default by amplitude, beside the bound."""
    error = of_regions("error")

    def least(name: str) -> dict[str, Column]:
        """A bound, and the error's ratio to it."""
        bound = of_regions(name.replace(" ", "_"))
        return {
            f"{name}, px": lambda versions: three(mean(versions[-1], bound)),
            f"error / {name}": lambda versions: " → ".join(number(mean(v, error) / mean(v, bound)) for v in versions),
        }

    columns = {
        **SHOWN,
        "length": cell(of_regions("length"), average=np.median),
        "error, px": cell(error, three),
        **least("bound"),
        **least("best bound"),
    }
    rows = {f"{a:g} px": chosen(found, "amplitudes", equal(amplitude=a)) for a in AMPLITUDES}
    drawn = table("amplitude", rows, columns)
    best = [clip for clip in chosen(found, "amplitudes")[-1] if clip.amplitude <= SMALL]
    faces = sorted({clip.face for clip in best})
    by_face = ", ".join(f"{name} {number(mean([c for c in best if c.face == name], RIGHT))}" for name in faces)
    by_unit = sorted((mean([c for c in best if c.unit == unit], RIGHT), unit) for unit in {c.unit for c in best})
    weakest = ", ".join(f"AU {unit} {number(share)}" for share, unit in by_unit[:4])
    return f"{drawn}\n\nRight up to 1 px, by face: {by_face}. Weakest units: {weakest}."


def compared(found: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """What each method made of the clips that all of them drew."""
    names = [*METHODS, PUBLISHED_BY_PEER]
    made = {name: [o for o in found if o.method == name and o.table != "conditions"] for name in names}
    moving = sum(o.table == "amplitudes" for o in made[PUBLISHED])
    still = {name: [o for o in of if o.table == "still"] for name, of in made.items()}
    return {name: [o for o in of if o.table == "amplitudes"][:moving] + still[name] for name, of in made.items()}


def method_tables(found: Sequence[Outcome]) -> str:
    """Ways to draw a map: how many regions are right, the errors, and the cost."""
    rows: dict[str, Versions] = {name: [made] for name, made in compared(found).items()}
    theirs = rows[PUBLISHED_BY_PEER][0]
    small, large = (lambda o: 0 < o.amplitude <= SMALL), (lambda o: o.amplitude > SMALL)

    def ratio(versions: Versions) -> str:
        ratios = [peer.seconds / own.seconds for peer, own in zip(theirs, versions[0], strict=False)]
        if len(ratios) < 2 or versions[0] is theirs:
            return "–"
        low, middle, high = statistics.quantiles(ratios, n=4)
        return f"{middle:.1f} ({low:.1f} to {high:.1f})"

    right: dict[str, Column] = {
        **{f"{a:g} px": within(cell(RIGHT), equal(amplitude=a)) for a in AMPLITUDES},
        "up to 1 px": within(right_with_interval, small),
        "2 and 3 px": within(right_with_interval, large),
        "degrees off, median": cell(of_regions("degrees"), partial(number, digits=0), np.median),
    }
    still = {"false": cell(of_clips("false"), percent), "beside the face": cell(of_clips("beside"), percent)}
    rest: dict[str, Column] = {
        "error on the face, px": cell(of_clips("error"), three),
        "in regions, px": cell(of_regions("error"), three),
        "length": within(cell(of_regions("length"), average=np.median), small),
        "head left, px": cell(of_clips("head_left"), three),
        **{f"still faces: {name}": within(column, equal(unit=None)) for name, column in still.items()},
        "doubts": cell(of_clips("doubted")),
        "ms a map": cell(of_clips("seconds"), lambda value: f"{1000 * value:.0f}", np.median),
        "times as fast as OpenCV's": ratio,
    }
    return f"{table('right regions', rows, right)}\n\n{table('flow, head and cost', rows, rest)}"


def report(found: Sequence[Outcome], heading: str) -> str:
    """The tables that have clips, with what they were made from."""
    made = {outcome.table for outcome in found}
    parts = [heading]
    if any(outcome.method == PUBLISHED for outcome in found):
        parts += ["### Methods", method_tables(found)]
    if "amplitudes" in made:
        parts += ["### Small motion, and the bound", amplitude_table(found)]
    if "conditions" in made:
        parts += ["### What heads and cameras do", condition_tables(found)]
    return "\n\n".join(parts)


def between_markers(text: str, block: str) -> str:
    """The text with `block` between the markers.

    Raises:
        SystemExit: each marker must be there once, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"expected one {BEGIN} and, after it, one {END} in the file; nothing was written")
    return f"{text[: text.index(BEGIN)]}{BEGIN}\n\n{block}\n\n{text[text.index(END) :]}"


def plot(found: Sequence[Outcome], path: Path) -> None:
    """Accuracy of the methods against amplitude as SVG, on white paper so that it can be read on any page."""
    import matplotlib
    from matplotlib.figure import Figure

    methods = compared(found)
    # The same numbers give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "mellm", "font.size": 10}):
        figure = Figure(figsize=(7, 4.2), layout="constrained", facecolor="white")
        axes = figure.subplots()
        for name, (ink, marker, dashes) in PLOTTED.items():
            if methods[name]:
                each = [[clip for clip in methods[name] if clip.amplitude == a] for a in AMPLITUDES]
                shares = [mean(made, RIGHT) for made in each]
                axes.plot(AMPLITUDES, shares, color=ink, marker=marker, linestyle=dashes, label=name.replace("`", ""))
                if name in (ROBUST, PUBLISHED):
                    low, high = zip(*map(interval, each), strict=True)
                    axes.fill_between(AMPLITUDES, low, high, color=ink, alpha=0.15, linewidth=0)
        axes.set(xscale="log", ylim=(0, 1.02))
        axes.set(xlabel="displacement, px of 224", ylabel="regions in the right bin of 12")
        axes.set_xticks(AMPLITUDES, [f"{a:g}" for a in AMPLITUDES])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def sheets(folder: Path, cast: Cast, seed: int) -> None:
    """Contact sheets of each preset, on one face of each name: a row for each unit."""
    folder.mkdir(parents=True, exist_ok=True)

    def maps(preset: str, face: str) -> Iterator[tuple[str, Grey]]:
        for unit in AUS:
            for amplitude in AMPLITUDES:  # of one movement of the head, so that a row shows one thing growing
                pair = make(cast, IN_PLANE, face, unit, amplitude, (_SEED, seed, 5))
                drawn = motion_map(pair.onset, pair.apex, PRESETS[preset], nose=pair.nose)
                yield f"AU {unit}, {amplitude:g} px", drawn.image

    for preset in PRESETS:
        for face in cast.names:
            path = folder / f"{preset}-{face}.jpg"
            for page in contact_sheet(maps(preset, face), path, columns=len(AMPLITUDES), rows=len(AUS)):
                print(page)


def main() -> None:
    parser = argparse.ArgumentParser(description="Motion maps: accuracy, noise and cost on pairs with known motion.")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, help="(default: all)")
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="of all that is drawn (default 0)")
    parser.add_argument("--clips", type=int, default=1, help="times that each seed draws every clip (default 1)")
    parser.add_argument("--portraits", type=Path, help="a folder of pictures with one face each, the only faces shown")
    parser.add_argument("--heads", type=Path, help="a folder of OBJ files of measured heads")
    parser.add_argument("--before", type=Path, help="another checkout, whose figures stand beside these")
    parser.add_argument("--peer", help="a Python with opencv-contrib-python-headless; needs one worker")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--quick", action="store_true", help="two units instead of sixteen")
    parser.add_argument("--write", type=Path, help="a Markdown file with the markers of the tables; needs all tables")
    parser.add_argument("--sheets", type=Path, help="write contact sheets into this folder and end")
    given = parser.parse_args()
    if min(given.clips, given.workers) < 1:
        parser.error("expected at least one clip and one worker")
    if given.peer and given.workers > 1:
        parser.error("expected one worker beside --peer, so that nothing disturbs its times")
    if given.write and len(set(given.tables)) < len(TABLES):
        parser.error("expected all tables beside --write")
    cast = cast_of(given.portraits, given.heads)
    if given.sheets:
        sheets(given.sheets, cast, given.seed[0])
        return
    if given.write:
        between_markers(given.write.read_text(encoding="utf-8"), "")  # before minutes of work
    units = 2 if given.quick else len(AUS)
    todo = list(tasks(cast.names, given.tables, given.seed, given.clips, units))
    load, start = os.getloadavg()[0], time.perf_counter()
    peer = Peer(given.peer) if given.peer else None
    try:
        found = evaluate(todo, cast, given.before, peer, given.workers)
    finally:
        if peer:
            peer.close()
    contrib = f", contrib {peer.version}" if peer else ""
    heading = (
        f"Seeds {', '.join(map(str, given.seed))}; faces: {', '.join(cast.names)}; {len(cast.heads)} measured heads. "
        f"Python {sys.version.split()[0]}, OpenCV {cv2.__version__}{contrib}, torch {torch.__version__}, "
        f"{os.cpu_count()} CPUs, load {load:.1f} before the run."
    )
    if given.before:
        heading += " A cell with an arrow: before → now."
    block = report(found, heading)
    print(block)
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    if given.write:
        plot(found, given.write.with_name(PLOT))
        picture = f"![Accuracy against displacement]({PLOT})"
        text = given.write.read_text(encoding="utf-8")
        write_text(given.write, between_markers(text, f"{block}\n\n{picture}"))


if __name__ == "__main__":
    main()
