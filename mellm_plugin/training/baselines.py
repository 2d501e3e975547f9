"""Baselines under the folds of a leave-one-subject-out run, whether or not anything is trained by them.

    flow     logistic regression on the flow of the face (`motion/pooled_flow.py`): what the maps show, without a model
    tokens   logistic regression on the visual tokens of the config's frozen base: what it sees, without its words

    DIR/baselines/flow/predictions.jsonl, results.json, table.txt     as those of the run, for `mellm report`

Each fold learns from all clips of the config's prepared datasets, but not from people of the fold or of `leave_out`;
drawn clips are left out. What the task says of a clip counts before what its dataset says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import numpy as np
import torch
from loguru import logger
from tqdm import tqdm

from mellm_plugin.datasets import store
from mellm_plugin.errors import ImageError, InputError, TrainingError
from mellm_plugin.language.unanswered import IMAGES_UNUSABLE
from mellm_plugin.models.linear import Annotated, Linear, Vectors
from mellm_plugin.models.mellm_flow import Answers
from mellm_plugin.models.seen import people as people_of
from mellm_plugin.models.seen import person
from mellm_plugin.models.tokens import Tokens
from mellm_plugin.motion.cache import default_cache
from mellm_plugin.motion.pooled_flow import pooled_pair
from mellm_plugin.motion.settings import DEFAULT
from mellm_plugin.scoring import held_out
from mellm_plugin.training.clips import DRAWN
from mellm_plugin.training.config import Config
from mellm_plugin.training.data import training_split
from mellm_plugin.training.folds import RESULTS, Fold
from mellm_plugin.training.pooled import read_samples, write_scores

BASELINES: tuple[str, ...] = ("flow", "tokens")
"""Names of the baselines."""

DEAR = 1800.0
"""Seconds that the tokens of all clips may take where nobody asked for this baseline by name."""

_TIMED = 3  # clips, after the first, from which the time of all is told
_COLUMNS = ("id", "dataset", "subject", "nose", "au_code", "aus", "emotion", "coarse")


class See(Protocol):
    """The vector of a clip from its frames; raises ImageError where they cannot be used."""

    def __call__(self, onset: Any, apex: Any, nose: Any) -> Vectors: ...


class _Dear(Exception):
    """The vectors of all clips would take too long."""


def folder_of(out: Path, name: str) -> Path:
    """The folder of a baseline."""
    return out / "baselines" / name


def run(
    name: str,
    config: Config,
    task: held_out.Task,
    out: Path,
    folds: Sequence[Fold],
    every: Mapping[str, Sequence[str]],
    *,
    device: str | None = None,
    asked: bool = True,
    tell: Callable[[str], None] = print,
) -> list[dict[str, Any]] | None:
    """The samples of a baseline over all folds, in the order of the task; finished ones are read again.

    Args:
        every: the subjects of the config, by dataset.
        device: for the base model of `tokens`; None: a GPU, if there is one.
        asked: whether a user asked for it by name; if not, tokens that take longer than `DEAR` are left out (None).

    Raises:
        InputError: the task has no clips with onset and apex that this package knows how to answer.
        DataError, ModelError: a dataset or the base model cannot be read.
        TrainingError: a fold has no clips to learn from.
    """
    folder = folder_of(out, name)
    if (folder / RESULTS).is_file():
        return read_samples(folder)
    began = monotonic()
    try:
        see = _flow(config) if name == "flow" else _tokens(config, device)
        clips = _Clips(config, task, every, see, None if asked or name == "flow" else DEAR)
    except _Dear as dear:
        tell(f"{name}: left out: {dear}. Ask for it by --baseline {name}")
        return None
    samples = _answered(task, folds, clips)
    known = {"model": f"mellm_{name}", "model_args": "", "finetune": {"base": config.base} if name == "tokens" else {}}
    write_scores(folder, task, samples, folds, known, {"baseline": name, "seconds": round(monotonic() - began, 1)})
    tell(f"{name}: {len(samples)} answers, {monotonic() - began:.0f} s")
    return samples


def _flow(config: Config) -> See:
    settings, cache = config.motion or DEFAULT, default_cache()
    return lambda onset, apex, nose: pooled_pair(onset, apex, settings, nose, cache)


def _tokens(config: Config, device: str | None) -> See:
    same = {name: getattr(config, name) for name in ("revision", "adapter", "max_pixels", "trust_remote_code")}
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Tokens(config.base, config.motion, device=device, **same).vector


class _Clips:
    """The clips of a task and of the config's datasets, each with its vector.

    Attributes:
        vectors: by id; a text in place of a vector says why the frames cannot be used.
        annotated: by id, of the clips that may be learned from.
    """

    def __init__(
        self, config: Config, task: held_out.Task, every: Mapping[str, Sequence[str]], see: See, most: float | None
    ) -> None:
        self.task = task
        docs = task.docs
        if lacking := [one for one in ("onset", "apex", *_COLUMNS) if one not in getattr(docs, "column_names", ())]:
            raise InputError(f"expected clips of this package; found no {', no '.join(lacking)}", task.name)
        known = people_of({name: of for name, of in every.items() if name != DRAWN}) - people_of(config.leave_out)
        self.annotated: dict[str, Annotated] = {}
        self.vectors: dict[str, Vectors | str] = {}
        self._see, self._most, self._began, self._timed = see, most, 0.0, 0
        place: dict[str, int] = {}
        for number, row in enumerate(docs.select_columns([*_COLUMNS])):
            place.setdefault(row["id"], number)
            if (who := person(row["dataset"], row["subject"])) in known:
                self.annotated.setdefault(row["id"], Annotated.of(row, who))
        others = self._others(config, place, known)
        self._total = len(place) + sum(len(ids) for ids in others.values())
        with tqdm(total=self._total, desc="clips of the baseline", unit="clip", disable=None) as progress:
            for id, number in place.items():
                doc = docs[number]
                self._add(id, doc["onset"], doc["apex"], doc["nose"])
                progress.update()
            for (name, split), ids in others.items():
                for sample in store.read(name, split):
                    if sample.id in ids:
                        self._add(sample.id, sample.onset, sample.apex, sample.nose)
                        progress.update()
        if faults := {id: fault for id, fault in self.vectors.items() if isinstance(fault, str)}:
            lines = "".join(f"\n  - {id}: {fault}" for id, fault in faults.items())
            logger.warning(f"mellm: {len(faults)} clips cannot be used by the baseline:{lines}")

    def _others(self, config: Config, asked: Mapping[str, int], known: set[str]) -> dict[tuple[str, str], set[str]]:
        """The clips of the config's datasets that the task does not ask about, by dataset and split; annotates them."""
        sources = [source for stage in config.stages for source in stage.data if source.dataset != DRAWN]
        found: dict[tuple[str, str], set[str]] = {}
        for name, split in dict.fromkeys((source.dataset, training_split(source)) for source in sources):
            for row in store.read_columns(name, split, _COLUMNS):
                who = person(row["dataset"], row["subject"])
                if row["id"] not in asked and row["id"] not in self.annotated and who in known:
                    self.annotated[row["id"]] = Annotated.of(row, who)
                    found.setdefault((name, split), set()).add(row["id"])
        return found

    def _add(self, id: str, onset: Any, apex: Any, nose: Any) -> None:
        try:
            self.vectors[id] = self._see(onset, apex, nose)
        except (ImageError, OSError) as error:  # PIL's error for a damaged image is an OSError
            self.vectors[id] = str(error) or repr(error)
        self._timed += 1
        if self._timed == 1:  # the first one loads what the others find loaded
            self._began = monotonic()
        elif self._most is not None and self._timed == 1 + _TIMED:
            seconds = (monotonic() - self._began) / _TIMED * self._total
            if seconds > self._most:
                raise _Dear(f"{self._total} clips would take about {seconds / 60:.0f} minutes")

    def without(self, people: set[str]) -> Linear:
        """The classifier of everybody else."""
        usable = [
            (vector, clip)
            for id, clip in self.annotated.items()
            if clip.person not in people and not isinstance(vector := self.vectors[id], str)
        ]
        if not usable:
            raise TrainingError(f"{self.task.name}: no clip is left to learn from without {', '.join(sorted(people))}")
        return Linear(np.stack([vector for vector, _ in usable]), [clip for _, clip in usable])


def _answered(task: held_out.Task, folds: Sequence[Fold], clips: _Clips) -> list[dict[str, Any]]:
    """The samples of all folds, in the order of the task."""
    assert task.process is not None
    texts: dict[int, tuple[str, str]] = {}
    about = task.docs.remove_columns(["onset", "apex"])
    told: set[Any] = set()
    for fold in tqdm(folds, "folds of the baseline", unit="fold", disable=None):
        answers = Answers(clips.without(people_of(fold.people)), "the other people", told)
        places = task.of(fold.people)
        sound = [place for place in places if not isinstance(clips.vectors[task.asked[place].id], str)]
        for place in {*places} - {*sound}:
            texts[place] = fold.name, f"{IMAGES_UNUSABLE} {clips.vectors[task.asked[place].id]}"
        if sound:
            vectors = np.stack([clips.vectors[task.asked[place].id] for place in sound])
            found = answers.answers(vectors, [about[place] for place in sound], task.name)
            texts |= {place: (fold.name, text) for place, text in zip(sound, found, strict=True)}
    return [
        {
            "doc_id": place,
            "id": task.asked[place].id,
            "fold": fold,
            "filtered_resps": [text],
            "record": task.process(task.docs[place], [text])["record"],
        }
        for place, (fold, text) in sorted(texts.items())
    ]
