"""The folds of a leave-one-subject-out run: their people, their configs and their folders.

    make_folds([("casme2", "sub01"), ("casme2", "sub01"), ("casme2", "sub02")])
      -> Fold("1-casme2-sub01", {"casme2": ("sub01",)}, clips=2)
         Fold("2-casme2-sub02", {"casme2": ("sub02",)}, clips=1)

Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mellm_plugin.errors import InputError
from mellm_plugin.models.seen import people as people_of
from mellm_plugin.models.seen import person
from mellm_plugin.training.clips import DRAWN
from mellm_plugin.training.config import Config

DONE, SAMPLES, RESULTS, TABLE = "done.json", "samples.jsonl", "results.json", "table.txt"
"""Files of a fold and of a whole run."""

Subjects = dict[str, tuple[str, ...]]
"""Subjects by dataset, without the dataset's name."""


@dataclass(frozen=True)
class Fold:
    """People who are held out together."""

    name: str  # of its folder
    people: Mapping[str, tuple[str, ...]]  # subjects by dataset of the task
    clips: int  # number of their clips in the task


def make_folds(asked: Sequence[tuple[str, str]], count: int | None = None, seed: int = 0) -> tuple[Fold, ...]:
    """One fold per person, or `count` groups of people with about as many clips each.

    `asked` holds dataset and subject of each clip. A person of several datasets is in one fold. People with the most
    clips (the seed orders equal ones) are placed first, each into the group with the fewest clips so far.

    Raises:
        InputError: too few people.
    """
    clips = Counter(person(*one) for one in asked)
    people = sorted(clips)
    if len(people) < 2 or (count is not None and not 2 <= count <= len(people)):
        found = f"found {len(people)}" if count is None else f"found {len(people)} and --folds {count}"
        raise InputError(f"expected at least 2 people, and from 2 folds to as many as there are people, {found}")
    if count is None:
        groups = [[one] for one in people]
    else:
        turn = np.random.default_rng(seed).permutation(len(people))
        order = sorted(range(len(people)), key=lambda n: (-clips[people[n]], turn[n]))
        groups = [[] for _ in range(count)]
        for n in order:
            min(groups, key=lambda group: sum(clips[one] for one in group)).append(people[n])
    width = len(str(len(groups)))
    folds = []
    for number, group in enumerate(groups, start=1):
        known = sorted({one for one in asked if person(*one) in group})
        held = {dataset: tuple(s for d, s in known if d == dataset) for dataset, _ in known}
        suffix = "-" + "".join(c if c.isalnum() else "-" for c in group[0]) if len(group) == 1 else ""
        folds.append(Fold(f"{number:0{width}}{suffix}", held, sum(clips[one] for one in group)))
    return tuple(folds)


def fold_config(config: Config, fold: Fold, every: Mapping[str, Sequence[str]], output: Path) -> Config:
    """The config that trains on everybody but the people of a fold.

    Validation uses the named subjects that are not held out; without any, a share of the other subjects.
    """
    held = people_of(fold.people)

    def others(of: Mapping[str, Sequence[str]]) -> Subjects:
        kept = {name: tuple(s for s in of[name] if person(name, s) not in held) for name in of}
        return {name: people for name, people in kept.items() if people}

    out = {name: {s for s in of if name != DRAWN and person(name, s) in held} for name, of in every.items()}
    for name, of in config.leave_out.items():
        out.setdefault(name, set()).update(of)
    checked = config.validation
    return dataclasses.replace(
        config,
        output=str(output),
        leave_out={name: tuple(sorted(of)) for name, of in out.items() if of},
        validation=dataclasses.replace(checked, subjects=others(checked.subjects)),
    )


def fold_folder(out: Path, fold: Fold) -> Path:
    return out / "folds" / fold.name


def done_fold(out: Path, fold: Fold) -> dict[str, Any] | None:
    """The content of a finished fold's `done.json`; None for an unfinished fold."""
    file = fold_folder(out, fold) / DONE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
