"""Clips for training: their annotation, their measured motion, and the map painted from it.

    Record(id="casme2/sub01/EP02_01f", dataset="casme2", subject="casme2/sub01", aus=("R12",), complete=True,
           emotion="happiness", coarse="positive", px=None)

Clips come from a prepared dataset, with flow from the flow cache, or from SynthME's train split, drawn once and kept
beside that cache:

    <cache>/drawn/synthme-v1-flow3-seed0-3f2a91c0/0000.clips     records of equal size, 400 a file, appended one by one
    <cache>/drawn/synthme-v1-flow3-seed0-3f2a91c0/0000.frames    their frames, for training on frames

Drawing resumes an incomplete file after its last complete record.
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
from mellm_plugin.facs.codes import read_codes
from mellm_plugin.facs.labels import coarse
from mellm_plugin.locks import ProcessLock
from mellm_plugin.motion import colour
from mellm_plugin.motion.cache import VERSION as FLOW_VERSION
from mellm_plugin.motion.cache import cache_folder, default_cache, measured_by
from mellm_plugin.motion.facial import FacialFlow, at_size, facial_flow, measure, working_pair
from mellm_plugin.motion.images import read_pair, read_pixels
from mellm_plugin.motion.render import strength
from mellm_plugin.motion.settings import DEFAULT, MotionSettings

Image = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]

PER_FILE = 400
"""Number of drawn clips in a file."""

DRAWN = "synthme"
"""The dataset whose clips are drawn here; its prepared clips are the test set and never train a model."""

_OTHER_ESTIMATOR = 0.1  # share of drawn clips measured by another estimator, so that a model does not depend on one
_MOST_UNITS = 8


@dataclass(frozen=True)
class Record:
    """The annotation of a clip."""

    id: str  # unique, `dataset/subject/clip`
    dataset: str  # a prepared dataset, or `synthme`
    subject: str  # `dataset/subject`
    aus: tuple[str, ...] | None  # canonical codes; `()`: no unit moves; None: the units are unknown
    complete: bool  # whether the whole code of the sheet was readable; if not, there may be more units than in `aus`
    emotion: str | None
    coarse: str | None  # coarse class
    px: tuple[float, ...] | None = None  # each unit's peak displacement in px of a frame of 224 px; drawn clips only


@dataclass(frozen=True)
class Clip:
    """A clip with its measured motion."""

    record: Record
    grey: Image  # uint8 `(H, W)`, the onset frame
    facial: FacialFlow  # the flow of the face, at the frame's size
    nose: tuple[float, float] | None = None  # nose tip in px of the frame
    frames: tuple[Image, Image] | None = None  # onset and apex, uint8 `(H, W, 3)`, RGB, if requested


def paint(clip: Clip, settings: MotionSettings = DEFAULT) -> Image:
    """The motion map of a clip, uint8 `(H, W, 3)`, RGB: `render.motion_map` of a clip measured with these settings."""
    shown = strength(clip.facial.flow, settings, clip.facial.confidence)
    return colour.paint(clip.facial.flow, shown, clip.grey, settings.palette, settings.overlay)


class PreparedClips:
    """The clips of one split of a prepared dataset, in stored order; images are read on demand.

    `root` is the folder of all prepared datasets; None: the user's data root.

    Raises:
        DataError: the dataset is not prepared, has no such split, or its file cannot be read.
    """

    def __init__(self, name: str, split: str, settings: MotionSettings = DEFAULT, root: Path | None = None) -> None:
        self.name, self.split, self.settings, self._root = name, split, settings, root
        self.records = tuple(
            Record(
                row["id"], name, f"{name}/{row['subject']}", None if row["aus"] is None else tuple(row["aus"]),
                not read_codes(row["au_code"]).unread, row["emotion"], row["coarse"],
            )
            for row in store.read_columns(name, split, ("id", "subject", "au_code", "aus", "emotion", "coarse"), root)
        )  # fmt: skip
        self._rows: tuple[int, store.StoredRows] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_rows": None}  # each process opens the file itself

    def clip(self, number: int, frames: bool = False) -> Clip:
        """The clip at a place in `records` with its flow, from the cache or measured now, and its frames if asked for.

        Raises:
            DataError: the file of the dataset cannot be read.
            ImageError: a frame cannot be used; the message names the clip.
        """
        if self._rows is None or self._rows[0] != os.getpid():
            self._rows = os.getpid(), store.StoredRows(self.name, self.split, self._root)
        record = self.records[number]
        if (sample := self._rows[1].get(record.id)) is None:
            raise DataError(
                f"{self.name}, {self.split}: the clip {record.id} has disappeared since the start; start again"
            )
        try:
            grey, apex = read_pair(sample.onset, sample.apex)
            pair = working_pair(grey, apex, self.settings, sample.nose)
            cache = default_cache()
            measured = measure(pair, self.settings) if cache is None else cache.measure(pair, self.settings)
            shown = (_rgb(read_pixels(sample.onset), grey), _rgb(read_pixels(sample.apex), apex)) if frames else None
        except ImageError as error:
            raise ImageError(error.faults, where=f"clip {record.id}") from error
        return Clip(record, grey, at_size(measured, pair.shape), sample.nose, shown)


def _rgb(pixels: npt.NDArray[Any], grey: Image) -> Image:
    """8-bit RGB; for deeper pixels the grey frame, which is scaled together with its pair."""
    shown = pixels if pixels.dtype == np.uint8 else grey
    return np.asarray(shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2), np.uint8)


class DrawnClips:
    """SynthME clips of the train split, drawn and measured once, then read from disk.

    Args:
        count, seed: of the drawings.
        settings: of the motion measurement; about a tenth of the clips uses another estimator.
        frames: whether to keep frames, too: 300 kB a clip.
        folder: of the files; None: beside the flow cache, or without a cache, a temporary folder that is deleted with
            this object.
        processes: number of drawing processes.
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
        elif folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="mellm-drawn-")
            folder = Path(self._temporary.name)
        heeded = {**measured_by(settings), "working_side": settings.working_side}
        key = hashlib.sha256(json.dumps(heeded, sort_keys=True).encode()).hexdigest()[:8]
        self.folder = folder / f"synthme-v{synthme.VERSION}-flow{FLOW_VERSION}-seed{seed}-{key}"

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """The annotations of the clips; available before drawing, except the px of their units."""
        return tuple(_record(synthme.plan("train", number, self.seed)) for number in range(self.count))

    def __getstate__(self) -> dict[str, Any]:
        # only the first object removes the temporary folder; each process maps the files itself
        return {**vars(self), "_temporary": None, "_opened": {}}

    def draw(self) -> None:
        """Draw the missing clips; several processes may do so at once. Raises DataError if it cannot write."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            jobs = []
            for first in range(0, self.count, PER_FILE):
                wanted = min(PER_FILE, self.count - first)
                for kind in ("clips", "frames") if self.frames else ("clips",):
                    file = self.folder / f"{first // PER_FILE:04d}.{kind}"
                    if _whole_records(file, _dtype(kind, self.settings)) < wanted:
                        jobs.append((file, kind, first, wanted, self.seed, self.settings))
            if jobs:
                self._draw_files(jobs)
        except OSError as error:
            raise DataError(
                f"cannot write drawn clips to {self.folder}: {error}. Free disk space (112 kB a clip, 412 kB with "
                "frames), or set the environment variable MELLM_CACHE to another folder."
            ) from error

    def _draw_files(self, jobs: Sequence[tuple[Path, str, int, int, int, MotionSettings]]) -> None:
        with tqdm(total=len(jobs), desc=f"drawing {self.count} clips", unit="file") as progress:
            if self.processes <= 1 or len(jobs) == 1:
                for job in jobs:
                    _draw_file(*job)
                    progress.update()
                return
            # a process forked from many threads may hang
            spawn, others = get_context("spawn"), active_children()
            with ProcessPoolExecutor(self.processes, mp_context=spawn, initializer=end_with_parent) as pool:
                try:
                    for drawing in [pool.submit(_draw_file, *job) for job in jobs]:
                        drawing.result()
                        progress.update()
                except BaseException:
                    for process in active_children():
                        if process not in others:
                            process.terminate()  # a file takes minutes; its clips so far are kept
                    raise

    def _kept(self, kind: str, number: int) -> Any:
        """The record of one clip in a file."""
        file = number // PER_FILE
        if (kind, file) not in self._opened:
            self.draw()
            dtype = _dtype(kind, self.settings)
            path = self.folder / f"{file:04d}.{kind}"
            self._opened[kind, file] = np.memmap(path, dtype, "r", shape=(_whole_records(path, dtype),))
        return self._opened[kind, file][number % PER_FILE]

    def clip(self, number: int, frames: bool = False) -> Clip:
        """The clip at a place in `records` as drawn and measured, and its frames if asked for.

        The first call draws all clips.

        Raises:
            DataError: the folder cannot be written to.
        """
        kept = self._kept("clips", number)
        flow, confidence = _grown(kept["flow"]), None
        if self.settings.doubt_px:
            confidence = _grown(np.asarray(kept["confidence"], np.float32) / 255)
        record = replace(self.records[number], px=tuple(float(px) for px in kept["px"] if not np.isnan(px)))
        shown = None
        if frames:
            first, second = np.array(self._kept("frames", number))
            shown = first, second
        facial = FacialFlow(flow, confidence, None, "similarity" if self.settings.head != "none" else "none", ())
        x, y = kept["nose"].tolist()
        return Clip(record, np.array(kept["grey"]), facial, (x, y), shown)


def _grown(field: npt.NDArray[Any]) -> Field:
    size = (synthme.SIZE, synthme.SIZE)
    return np.asarray(cv2.resize(np.asarray(field, np.float32), size, interpolation=cv2.INTER_LINEAR), np.float32)


def _record(planned: synthme.Plan) -> Record:
    name = f"{DRAWN}-train/{planned.subject}/{planned.clip:02d}"  # no clip of the test set has this id
    group = coarse(planned.emotion)
    return Record(name, DRAWN, f"{DRAWN}/{planned.subject}", planned.aus, True, planned.emotion, group)


def _dtype(kind: str, settings: MotionSettings) -> np.dtype[Any]:
    side = synthme.SIZE
    if kind == "frames":
        return np.dtype((np.uint8, (2, side, side, 3)))
    solved = side // 2 if settings.estimator == "local" else side  # the default solves its flow at half the size
    flow = [("flow", np.float16, (solved, solved, 2)), ("confidence", np.uint8, (solved, solved))]
    grey = ("grey", np.uint8, (side, side))
    return np.dtype([*flow, grey, ("px", np.float32, (_MOST_UNITS,)), ("nose", np.float32, (2,))])


def _whole_records(file: Path, dtype: np.dtype[Any]) -> int:
    return file.stat().st_size // dtype.itemsize if file.exists() else 0


def _draw_file(file: Path, kind: str, first: int, count: int, seed: int, settings: MotionSettings) -> None:
    cv2.setNumThreads(1)
    dtype = _dtype(kind, settings)
    with ProcessLock(file.with_name(f".{file.name}.lock")), file.open("ab") as kept:
        there = _whole_records(file, dtype)
        kept.truncate(there * dtype.itemsize)  # drop an incomplete record
        for number in range(first + there, first + count):
            (clip,) = synthme.clips("train", 1, seed, start=number)
            other = np.random.default_rng([seed, number]).random() < _OTHER_ESTIMATOR
            made = np.stack([clip.onset, clip.apex]) if kind == "frames" else _measured(clip, dtype, other, settings)
            kept.write(made.tobytes())
            kept.flush()


def _measured(clip: synthme.SynthClip, dtype: np.dtype[Any], other: bool, settings: MotionSettings) -> npt.NDArray[Any]:
    grey, apex = read_pair(clip.onset, clip.apex)
    if other:
        estimator = "farneback" if settings.estimator != "farneback" else "dis"
        settings = replace(settings, estimator=estimator, smooth_px=max(2.0, settings.smooth_px), doubt_px=0)
    facial = facial_flow(grey, apex, settings, clip.nose)
    kept, solved = np.zeros((), dtype), dtype["confidence"].shape
    kept["flow"] = cv2.resize(facial.flow, solved, interpolation=cv2.INTER_AREA)
    kept["confidence"] = 255
    if facial.confidence is not None:
        kept["confidence"] = np.rint(255 * cv2.resize(facial.confidence, solved, interpolation=cv2.INTER_AREA))
    kept["grey"], kept["px"], kept["nose"] = grey, np.nan, clip.nose
    kept["px"][: len(clip.amplitudes)] = clip.amplitudes
    return kept
