"""Clips to learn from as vectors of their flow (`motion/pooled_flow.py`): drawn now, or of a prepared dataset.

    clips = drawn(1200)                 # two to three minutes of one core, then kept beside the flow cache
    clips = of_dataset("casme2")        # its split `train`, else its only one
    Linear(clips.vectors, clips.annotated)

The vectors are kept by what they depend on: the version of the drawings or the checksum of the dataset's file, the
versions of flow and vector, and the settings of the flow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Memory
from loguru import logger
from tqdm import tqdm

from mellm_plugin.datasets import store, synthme
from mellm_plugin.errors import ImageError, InputError
from mellm_plugin.facs.labels import coarse
from mellm_plugin.models.linear import Annotated, Vectors
from mellm_plugin.models.seen import person
from mellm_plugin.motion.cache import VERSION as FLOW_VERSION
from mellm_plugin.motion.cache import cache_folder, default_cache, measured_by
from mellm_plugin.motion.pooled_flow import VERSION as VECTOR_VERSION
from mellm_plugin.motion.pooled_flow import pooled_pair
from mellm_plugin.motion.settings import DEFAULT, MotionSettings

DRAWN_CLIPS = 1200
"""Default number of drawn clips."""

DRAWN = "synthme-train"
"""The faces drawn for training, which are not those of the test set, in the report of whom a model has seen."""

_AT_ONCE = 50  # drawn clips that are kept together


@dataclass(frozen=True)
class Taught:
    """Clips to learn from."""

    vectors: Vectors
    annotated: tuple[Annotated, ...]
    ids: tuple[str, ...]
    subjects: Mapping[str, tuple[str, ...]]  # by dataset, as a training record names them
    source: Mapping[str, Any]  # what identifies them in a results file


def _versions(settings: MotionSettings) -> dict[str, Any]:
    sizes = {"working_side": settings.working_side, "flow": FLOW_VERSION, "vector": VECTOR_VERSION}
    return {**measured_by(settings), **sizes}


def _memory() -> Memory:
    folder = cache_folder()
    return Memory(None if folder is None else folder / "pooled", verbose=0)


Block = tuple[Vectors, list[tuple[str, int, tuple[str, ...], str]]]


def _drawn_block(start: int, count: int, drawings: int, versions: Mapping[str, Any], settings: MotionSettings) -> Block:
    """Vectors of drawn clips; subject, number, units and label of each."""
    clips = list(synthme.clips("train", count, start=start))
    vectors = [pooled_pair(clip.onset, clip.apex, settings, clip.nose) for clip in clips]
    return np.stack(vectors), [(clip.subject, clip.clip, clip.aus, clip.emotion) for clip in clips]


def drawn(count: int = DRAWN_CLIPS, settings: MotionSettings = DEFAULT) -> Taught:
    """SynthME clips of the train split, drawn and measured at first use; an interrupted drawing goes on."""
    kept = _memory().cache(_drawn_block, ignore=["settings"])
    vectors: list[Vectors] = []
    rows: list[tuple[str, int, tuple[str, ...], str]] = []
    with tqdm(total=count, desc="drawing clips to learn from", unit="clip", disable=None) as progress:
        for start in range(0, count, _AT_ONCE):
            number = min(_AT_ONCE, count - start)
            given = (start, number, synthme.VERSION, _versions(settings), settings)
            if not vectors and not kept.check_call_in_cache(*given):
                logger.info(f"mellm: drawing {count} clips to learn from: two to three minutes of one core, once")
            block, of = kept(*given)
            vectors.append(block)
            rows += of
            progress.update(number)
    annotated = [Annotated(person(DRAWN, who), aus, True, label, coarse(label)) for who, _, aus, label in rows]
    ids = tuple(f"{DRAWN}/{who}/{clip:02d}" for who, clip, _, _ in rows)
    people = tuple(sorted({who for who, *_ in rows}))
    source = {"dataset": synthme.NAME, "clips": count}
    return Taught(np.concatenate(vectors), tuple(annotated), ids, {DRAWN: people}, source)


def _dataset_vectors(
    name: str, split: str, sha256: str, versions: Mapping[str, Any], settings: MotionSettings
) -> tuple[dict[str, Any], dict[str, str]]:
    """By clip its vector; by clip why its frames cannot be used."""
    vectors: dict[str, Any] = {}
    faults: dict[str, str] = {}
    cache = default_cache()
    clips = store.read_info(name)["splits"][split]["clips"]
    for sample in tqdm(store.read(name, split), f"flow of {name}", clips, unit="clip", disable=None):
        try:
            vectors[sample.id] = pooled_pair(sample.onset, sample.apex, settings, sample.nose, cache)
        except ImageError as error:
            faults[sample.id] = str(error)
    return vectors, faults


def of_dataset(name: str, split: str | None = None, settings: MotionSettings = DEFAULT) -> Taught:
    """The clips of a prepared dataset whose frames can be used; the log names the others.

    Args:
        split: by default `train`, else the only one.

    Raises:
        DataError: the dataset is not prepared, damaged, or its split is not known.
        InputError: no clip can be used.
    """
    split = split or store.training_split(name)
    columns = ("id", "dataset", "subject", "au_code", "aus", "emotion", "coarse")
    rows = store.read_columns(name, split, columns)
    sha256 = store.read_info(name)["splits"][split]["sha256"]
    kept = _memory().cache(_dataset_vectors, ignore=["name", "split", "settings"])
    vectors, faults = kept(name, split, sha256, _versions(settings), settings)
    if faults:
        lines = "".join(f"\n  - {id}: {fault}" for id, fault in faults.items())
        logger.warning(f"mellm: {len(faults)} clips of {name} teach nothing, as their images cannot be used:{lines}")
    if not vectors:
        raise InputError(f"expected clips with frames to learn from, found none among {len(rows)}", where=name)
    rows = [row for row in rows if row["id"] in vectors]
    subjects: dict[str, set[str]] = {}
    for row in rows:
        subjects.setdefault(row["dataset"], set()).add(row["subject"])
    return Taught(
        np.stack([vectors[row["id"]] for row in rows]),
        tuple(Annotated.of(row, person(row["dataset"], row["subject"])) for row in rows),
        tuple(row["id"] for row in rows),
        {dataset: tuple(sorted(of)) for dataset, of in subjects.items()},
        {"dataset": name, "split": split, "sha256": sha256, "clips": len(rows)},
    )
