"""A clip as training sees it: what is known of it, its measured motion, and the many pictures that can be made of it.

    Record(id="casme2/sub01/EP02_01f", dataset="casme2", subject="casme2/sub01", aus=("R12",), complete=True,
           emotion="happiness", coarse="positive", px=None)

Clips come from a prepared dataset, with the flow from the cache of flows; or they are SynthME's of the train split,
drawn once and kept beside that cache:

    <cache>/drawn/synthme-v1-flow3-seed0-3f2a91c0/0000.clips     records of one size, 400 a file, appended one by one
    <cache>/drawn/synthme-v1-flow3-seed0-3f2a91c0/0000.frames    their frames, where somebody trains on frames

A file that was cut off is gone on with behind its last whole record.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mellm_plugin.children import end_with_parent
from mellm_plugin.datasets import store, synthme
from mellm_plugin.errors import DataError, ImageError
from mellm_plugin.facs.codes import mirrored, read_codes
from mellm_plugin.facs.labels import coarse
from mellm_plugin.locks import ProcessLock
from mellm_plugin.motion import colour
from mellm_plugin.motion.cache import VERSION as FLOW_VERSION
from mellm_plugin.motion.cache import cache_folder, default_cache, measured_by
from mellm_plugin.motion.facial import FacialFlow, at_size, facial_flow, measure, working_pair
from mellm_plugin.motion.geometry import unit
from mellm_plugin.motion.images import read_pair, read_pixels
from mellm_plugin.motion.render import strength
from mellm_plugin.motion.settings import DEFAULT, MotionSettings

Image = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

PER_FILE = 400
"""Drawn clips of one file."""

DRAWN = "synthme"
"""The dataset whose clips are drawn here; its prepared clips are the test set, which nobody trains on."""

_OTHER_ESTIMATOR = 0.1  # share of the drawn clips measured by another estimator, so that no model knows one alone
_MOST_UNITS = 8
_UNKNOWN = np.float32(np.nan)


@dataclass(frozen=True)
class Record:
    """What is known of a clip without its pictures.

    Attributes:
        id: unique, `dataset/subject/clip`.
        dataset: the prepared dataset, or `synthme`.
        subject: `dataset/subject`.
        aus: canonical codes; `()` means that no unit moves, None that the units are not known.
        complete: whether all of the sheet's code could be read; else there may be more units than in `aus`.
        emotion, coarse: label and coarse class, or None.
        px: the largest displacement of each unit, px of a frame of 224 px, where it is known (of drawn clips).
    """

    id: str
    dataset: str
    subject: str
    aus: tuple[str, ...] | None
    complete: bool
    emotion: str | None
    coarse: str | None
    px: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Clip:
    """A clip with its measured motion.

    Attributes:
        record: what is known of it.
        grey: uint8 `(H, W)`, the onset frame.
        facial: the flow of the face, at the frame's size.
        nose: nose tip, px of the frame, where it is known.
        frames: onset and apex, uint8 `(H, W, 3)`, RGB, where they were asked for.
    """

    record: Record
    grey: Image
    facial: FacialFlow
    nose: tuple[float, float] | None = None
    frames: tuple[Image, Image] | None = None


def paint(clip: Clip, settings: MotionSettings = DEFAULT) -> Image:
    """The motion map of a clip: the one that `render.motion_map` draws, if the clip was measured with these settings.

    Returns:
        uint8 `(H, W, 3)`, RGB.
    """
    shown = strength(clip.facial.flow, settings, clip.facial.confidence)
    return colour.paint(clip.facial.flow, shown, clip.grey, settings.palette, settings.overlay)


# ---- variations -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variation:
    """How one clip becomes another one that is as true: whatever changes in the picture changes in what is known of it.

    Attributes:
        mirror: left and right change places: in the picture, in the flow (so the hues change), and in the codes.
        zoom: the face is nearer (over 1) or farther; its motion in px grows or shrinks with it.
        shift: to the right and down, shares of the frame's sides.
        magnitude: factor of the motion; of the flow alone, for no frame can be moved farther than it was.
        noise_px: rms of smooth noise in the flow, px of a frame of 224 px.
        seed: of that noise.
        gain, bias: of the light, grey levels 0..255.
        floor, knee: factors of these settings of the map.
    """

    mirror: bool = False
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    magnitude: float = 1.0
    noise_px: float = 0.0
    seed: int = 0
    gain: float = 1.0
    bias: float = 0.0
    floor: float = 1.0
    knee: float = 1.0

    @staticmethod
    def draw(rng: np.random.Generator) -> Variation:
        """One of the many variations of training."""
        moved = rng.random() < 0.7
        scaled, noisy, drawn = rng.random() < 0.4, rng.random() < 0.3, rng.random() < 0.4
        return Variation(
            mirror=bool(rng.random() < 0.5),
            zoom=_between(rng, 0.85, 1.2) if moved else 1.0,
            shift=(float(rng.uniform(-0.06, 0.06)), float(rng.uniform(-0.06, 0.06))) if moved else (0.0, 0.0),
            magnitude=_between(rng, 0.75, 1.35) if scaled else 1.0,
            noise_px=float(rng.uniform(0.01, 0.04)) if noisy else 0.0,
            seed=int(rng.integers(2**63)),
            gain=float(rng.uniform(0.8, 1.15)),
            bias=float(rng.uniform(-10, 10)),
            floor=_between(rng, 0.5, 2.0) if drawn else 1.0,
            knee=_between(rng, 0.7, 1.6) if drawn else 1.0,
        )

    def settings(self, settings: MotionSettings) -> MotionSettings:
        """The settings of the map, floor and knee varied; min-max scaling has neither."""
        if settings.scale == "minmax" or (self.floor, self.knee) == (1.0, 1.0):
            return settings
        return replace(settings, floor_px=settings.floor_px * self.floor, knee_px=settings.knee_px * self.knee)

    def of_motion(self) -> Variation:
        """The part that changes what moves and which way; the other, where it is seen from and in what light."""
        return Variation(mirror=self.mirror, magnitude=self.magnitude, noise_px=self.noise_px, seed=self.seed)

    def of_view(self) -> Variation:
        """The other part, see `of_motion`."""
        return replace(self, mirror=False, magnitude=1.0, noise_px=0.0)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """A factor, as likely in any ratio."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def varied(clip: Clip, by: Variation) -> Clip:
    """The clip, varied; what the map is painted with is varied by `Variation.settings`."""
    if by.mirror:
        clip = _mirror(clip)
    if by.magnitude != 1 or by.noise_px:
        clip = _moved_otherwise(clip, by)
    if by.zoom != 1 or by.shift != (0.0, 0.0):
        clip = _seen_from(clip, by)
    if by.gain != 1 or by.bias:
        frames = clip.frames and (_lit(clip.frames[0], by), _lit(clip.frames[1], by))
        clip = replace(clip, grey=_lit(clip.grey, by), frames=frames)
    return clip


def _lit(image: Image, by: Variation) -> Image:
    return np.asarray(np.rint(image.astype(np.float32) * by.gain + by.bias).clip(0, 255), np.uint8)


def _mirror(clip: Clip) -> Clip:
    def flipped(image: Any) -> Any:
        return np.ascontiguousarray(image[:, ::-1])

    facial, record, nose = clip.facial, clip.record, clip.nose
    return replace(
        clip,
        record=replace(record, aus=record.aus and tuple(map(mirrored, record.aus))),
        grey=flipped(clip.grey),
        facial=replace(
            facial,
            flow=flipped(facial.flow) * np.array([-1, 1], np.float32),
            confidence=None if facial.confidence is None else flipped(facial.confidence),
            head=None,  # nobody asks for the head's motion of a picture that was never taken
        ),
        nose=nose and (clip.grey.shape[1] - 1 - nose[0], nose[1]),
        frames=clip.frames and (flipped(clip.frames[0]), flipped(clip.frames[1])),
    )


def _moved_otherwise(clip: Clip, by: Variation) -> Clip:
    flow = clip.facial.flow * np.float32(by.magnitude)
    if by.noise_px:
        height, width = flow.shape[:2]
        rng = np.random.default_rng(by.seed)
        # as smooth as what an estimator makes of noise
        coarse_noise = rng.standard_normal((max(2, height // 12), max(2, width // 12), 2), np.float32)
        noise = cv2.resize(coarse_noise, (width, height), interpolation=cv2.INTER_CUBIC)
        flow = flow + noise * np.float32(by.noise_px * unit(flow.shape) / np.sqrt(2 * np.mean(noise**2)))
    px = clip.record.px and tuple(px * by.magnitude for px in clip.record.px)
    return replace(
        clip, record=replace(clip.record, px=px), facial=replace(clip.facial, flow=np.asarray(flow, np.float32))
    )


def _seen_from(clip: Clip, by: Variation) -> Clip:
    height, width = clip.grey.shape
    right = by.shift[0] * width + (1 - by.zoom) * width / 2
    down = by.shift[1] * height + (1 - by.zoom) * height / 2
    matrix = np.array([[by.zoom, 0, right], [0, by.zoom, down]], np.float32)

    def warped(image: Any) -> Any:
        return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)

    facial, nose = clip.facial, clip.nose
    px = clip.record.px and tuple(px * by.zoom for px in clip.record.px)
    return replace(
        clip,
        record=replace(clip.record, px=px),
        grey=warped(clip.grey),
        facial=replace(
            facial,
            flow=warped(facial.flow) * np.float32(by.zoom),
            confidence=None if facial.confidence is None else warped(facial.confidence),
            head=None,
        ),
        nose=nose and (by.zoom * nose[0] + right, by.zoom * nose[1] + down),
        frames=clip.frames and (warped(clip.frames[0]), warped(clip.frames[1])),
    )


# ---- clips of a prepared dataset ------------------------------------------------------------------------------------

_KNOWN = ("id", "subject", "au_code", "aus", "emotion", "coarse")


class PreparedClips:
    """The clips of one split of a prepared dataset, in stored order; images are read when they are asked for.

    Args:
        name: of the prepared dataset.
        split: of it.
        settings: how the motion is measured.
        root: folder of all prepared datasets; the user's data root when None.

    Raises:
        DataError: the dataset is not prepared, has no such split, or its file cannot be read.
    """

    def __init__(self, name: str, split: str, settings: MotionSettings = DEFAULT, root: Path | None = None) -> None:
        self.name, self.split, self.settings, self._root = name, split, settings, root
        self.records = tuple(
            Record(
                id=row["id"],
                dataset=name,
                subject=f"{name}/{row['subject']}",
                aus=None if row["aus"] is None else tuple(row["aus"]),
                complete=not read_codes(row["au_code"]).unread,
                emotion=row["emotion"],
                coarse=row["coarse"],
            )
            for row in store.read_columns(name, split, _KNOWN, root)
        )
        self._rows: tuple[int, store.StoredRows] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_rows": None}  # each process opens the file for itself

    def clip(self, number: int, frames: bool = False) -> Clip:
        """A clip with its flow, measured or from the cache.

        Args:
            number: place in `records`.
            frames: whether its frames are wanted, too.

        Raises:
            DataError: the file of the dataset cannot be read.
            ImageError: a frame cannot be used; names the clip.
        """
        if self._rows is None or self._rows[0] != os.getpid():
            self._rows = os.getpid(), store.StoredRows(self.name, self.split, self._root)
        record = self.records[number]
        if (sample := self._rows[1].get(record.id)) is None:
            raise DataError(f"{self.name}, {self.split}: the clip {record.id} was there, and is no more; start again")
        try:
            grey, apex = read_pair(sample.onset, sample.apex)
            pair = working_pair(grey, apex, self.settings, sample.nose)
            cache = default_cache()
            measured = measure(pair, self.settings) if cache is None else cache.measure(pair, self.settings)
            facial = at_size(measured, pair.shape)
            shown = None
            if frames:
                shown = _rgb(read_pixels(sample.onset), grey), _rgb(read_pixels(sample.apex), apex)
        except ImageError as error:
            raise ImageError(error.faults, where=f"clip {record.id}") from error
        return Clip(record, grey, facial, sample.nose, shown)


def _rgb(pixels: npt.NDArray[Any], grey: Image) -> Image:
    """RGB of 8 bits; of deeper pixels the grey frame, which is scaled together with its pair."""
    if pixels.dtype == np.uint8 and pixels.ndim == 3:
        return np.asarray(pixels, np.uint8)
    return np.repeat((pixels if pixels.dtype == np.uint8 else grey)[..., None], 3, axis=2).astype(np.uint8)


# ---- drawn clips ----------------------------------------------------------------------------------------------------


class DrawnClips:
    """SynthME clips of the train split, drawn and measured once and kept on disk.

    Args:
        count: how many.
        seed: of the drawings.
        settings: how their motion is measured; every tenth or so is measured by another estimator.
        frames: whether their frames will be wanted, too: 300 kB a clip.
        folder: where they are kept; None: beside the cache of flows, or where there is none, in a temporary folder that
            goes with this object.
        processes: how many draw at once.

    Raises:
        DataError: the folder cannot be written to.
    """

    def __init__(
        self,
        count: int,
        seed: int = 0,
        settings: MotionSettings = DEFAULT,
        *,
        frames: bool = False,
        folder: Path | None = None,
        processes: int = 1,
    ) -> None:
        self.count, self.seed, self.settings, self.frames, self.processes = count, seed, settings, frames, processes
        self._opened: dict[tuple[str, int], Any] = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if folder is None and (cache := cache_folder()) is not None:
            folder = cache / "drawn"
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="mellm-drawn-")
            folder = Path(self._temporary.name)
        heeded = {**measured_by(settings), "working_side": settings.working_side}
        key = hashlib.sha256(json.dumps(heeded, sort_keys=True).encode()).hexdigest()[:8]
        self.folder = folder / f"synthme-v{synthme.VERSION}-flow{FLOW_VERSION}-seed{seed}-{key}"

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """What is known of the clips; known before they are drawn, but for the px of their units."""
        return tuple(_record(synthme.plan("train", number, self.seed)) for number in range(self.count))

    def __getstate__(self) -> dict[str, Any]:
        # the temporary folder is the first object's alone to remove; each process maps the files for itself
        return {**vars(self), "_temporary": None, "_opened": {}}

    def draw(self) -> None:
        """Draw what is not there yet; several processes may do so at once.

        Raises:
            DataError: the folder cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if jobs := self._absent():
                self._draw_files(jobs)
        except OSError as error:
            raise DataError(
                f"drawn clips cannot be kept in {self.folder}: {error}. Free this place (112 kB a clip, 412 kB with "
                "frames), or choose another: the environment variable MELLM_CACHE names the folder."
            ) from error

    def _absent(self) -> list[tuple[Path, str, int, int, int, MotionSettings]]:
        """The files that are not there, or not whole, with what is to be drawn into them."""
        jobs = []
        for first in range(0, self.count, PER_FILE):
            wanted = min(PER_FILE, self.count - first)
            for kind in ("clips", "frames") if self.frames else ("clips",):
                file = self.folder / f"{first // PER_FILE:04d}.{kind}"
                if _whole_records(file, _dtype(kind, self.settings)) < wanted:
                    jobs.append((file, kind, first, wanted, self.seed, self.settings))
        return jobs

    def _draw_files(self, jobs: Sequence[tuple[Path, str, int, int, int, MotionSettings]]) -> None:
        with tqdm(total=len(jobs), desc=f"drawing {self.count} clips", unit="file") as progress:
            if self.processes <= 1 or len(jobs) == 1:
                for job in jobs:
                    _draw_file(*job)
                    progress.update()
                return
            # forked from many threads a process may hang
            spawn, others = get_context("spawn"), active_children()
            with ProcessPoolExecutor(self.processes, mp_context=spawn, initializer=end_with_parent) as pool:
                try:
                    for drawing in [pool.submit(_draw_file, *job) for job in jobs]:
                        drawing.result()
                        progress.update()
                except BaseException:
                    for process in active_children():
                        if process not in others:
                            process.terminate()  # a file of clips takes minutes, and what it holds is kept
                    raise

    def _kept(self, kind: str, number: int) -> Any:
        """What is kept of one clip: its record of a file."""
        file = number // PER_FILE
        if (kind, file) not in self._opened:
            self.draw()
            dtype = _dtype(kind, self.settings)
            path = self.folder / f"{file:04d}.{kind}"
            self._opened[kind, file] = np.memmap(path, dtype, "r", shape=(_whole_records(path, dtype),))
        return self._opened[kind, file][number % PER_FILE]

    def clip(self, number: int, frames: bool = False) -> Clip:
        """A clip as it was drawn and measured; the first one asked for draws all.

        Args:
            number: place in `records`.
            frames: whether its frames are wanted, too.

        Raises:
            DataError: the folder cannot be written to.
        """
        kept = self._kept("clips", number)
        size = (synthme.SIZE, synthme.SIZE)
        flow = cv2.resize(np.asarray(kept["flow"], np.float32), size, interpolation=cv2.INTER_LINEAR)
        confidence = None
        if self.settings.doubt_px:
            halved = np.asarray(kept["confidence"], np.float32) / 255
            confidence = cv2.resize(halved, size, interpolation=cv2.INTER_LINEAR)
        record = replace(self.records[number], px=tuple(float(px) for px in kept["px"] if not np.isnan(px)))
        shown = None
        if frames:
            first, second = np.asarray(self._kept("frames", number))
            shown = np.array(first), np.array(second)
        facial = FacialFlow(flow, confidence, None, "similarity" if self.settings.head != "none" else "none", ())
        return Clip(record, np.array(kept["grey"]), facial, (float(kept["nose"][0]), float(kept["nose"][1])), shown)


def _record(planned: synthme.Plan) -> Record:
    subject = f"{DRAWN}/{planned.subject}"
    return Record(
        id=f"{DRAWN}-train/{planned.subject}/{planned.clip:02d}",  # no clip of the test set has this id
        dataset=DRAWN,
        subject=subject,
        aus=planned.aus,
        complete=True,
        emotion=planned.emotion,
        coarse=coarse(planned.emotion),
    )


def _dtype(kind: str, settings: MotionSettings) -> np.dtype[Any]:
    side = synthme.SIZE
    if kind == "frames":
        return np.dtype((np.uint8, (2, side, side, 3)))
    solved = side // 2 if settings.estimator == "local" else side  # the default solves its flow at half the size
    return np.dtype(
        [
            ("flow", np.float16, (solved, solved, 2)),
            ("confidence", np.uint8, (solved, solved)),
            ("grey", np.uint8, (side, side)),
            ("px", np.float32, (_MOST_UNITS,)),
            ("nose", np.float32, (2,)),
        ]
    )


def _whole_records(file: Path, dtype: np.dtype[Any]) -> int:
    try:
        return file.stat().st_size // dtype.itemsize
    except FileNotFoundError:
        return 0


def _draw_file(file: Path, kind: str, first: int, count: int, seed: int, settings: MotionSettings) -> None:
    cv2.setNumThreads(1)
    dtype = _dtype(kind, settings)
    with ProcessLock(file.with_name(f".{file.name}.lock")), file.open("ab") as kept:
        there = _whole_records(file, dtype)
        kept.truncate(there * dtype.itemsize)  # what was cut off in the middle
        for number in range(first + there, first + count):
            (clip,) = synthme.clips("train", 1, seed, start=number)
            if kind == "frames":
                kept.write(np.stack([clip.onset, clip.apex]).tobytes())
            else:
                kept.write(_measured(clip, dtype, number, seed, settings).tobytes())
            kept.flush()


def _measured(
    clip: synthme.SynthClip, dtype: np.dtype[Any], number: int, seed: int, settings: MotionSettings
) -> npt.NDArray[Any]:
    grey, apex = read_pair(clip.onset, clip.apex)
    if np.random.default_rng([seed, number]).random() < _OTHER_ESTIMATOR:
        other = "farneback" if settings.estimator != "farneback" else "dis"
        settings = replace(settings, estimator=other, smooth_px=max(2.0, settings.smooth_px), doubt_px=0)
    facial = facial_flow(grey, apex, settings, clip.nose)
    kept = np.zeros((), dtype)
    solved = dtype["confidence"].shape
    kept["flow"] = cv2.resize(facial.flow, solved, interpolation=cv2.INTER_AREA)
    kept["confidence"] = 255
    if facial.confidence is not None:
        kept["confidence"] = np.rint(255 * cv2.resize(facial.confidence, solved, interpolation=cv2.INTER_AREA))
    kept["grey"] = grey
    kept["px"] = _UNKNOWN
    kept["px"][: len(clip.amplitudes)] = clip.amplitudes
    kept["nose"] = clip.nose
    return kept
