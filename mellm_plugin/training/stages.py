"""What each stage of a config shows: which subjects it trains on, which it is validated on, and how many examples.

A subject is on one side alone, in all stages, under all names that a dataset is stored by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mellm_plugin.datasets import store, synthme
from mellm_plugin.errors import InputError, near
from mellm_plugin.models.seen import family
from mellm_plugin.models.seen import people as people_of
from mellm_plugin.motion.cache import VERSION as FLOW_VERSION
from mellm_plugin.training.clips import DRAWN
from mellm_plugin.training.config import Config, Stage
from mellm_plugin.training.data import Examples, Source, subjects, training_split

Subjects = dict[str, tuple[str, ...]]
"""Subjects by dataset, without its name."""


@dataclass(frozen=True)
class Split:
    """Who is trained on, who is validated on, who is not shown."""

    seen: Subjects
    validation: Subjects
    left_out: Subjects

    def without(self) -> Subjects:
        """Who is not trained on."""
        names = {*self.validation, *self.left_out}
        return {name: (*self.validation.get(name, ()), *self.left_out.get(name, ())) for name in sorted(names)}


def split(config: Config) -> Split:
    """The subjects of all stages, on their sides.

    Raises:
        InputError: subjects that nobody has, one on both sides, a dataset that would have none left; all at once.
    """
    sources = [source for stage in config.stages for source in stage.data]
    every: Subjects = {}
    for source in sources:  # one dataset may come with several splits
        for name, found in subjects([source]).items():
            every[name] = tuple(sorted({*every.get(name, ()), *found}))
    faults: list[str] = []
    for key, given in (("validation.subjects", config.validation.subjects), ("leave_out", config.leave_out)):
        for name, people in given.items():
            if name not in every:
                faults.append(f"{key}.{name}: no stage has data of it; known: {', '.join(every)}.{near(name, every)}")
                continue
            faults += [
                f"{key}.{name}: {person!r} is no subject of it.{near(person, every[name])}"
                for person in people
                if person not in every[name]
            ]
    left_out = {name: tuple(people) for name, people in config.leave_out.items()}
    chosen: Subjects = {name: tuple(people) for name, people in config.validation.subjects.items()}
    if not config.validation.subjects:
        chosen = _drawn(every, left_out, config)
    kept = {
        name: tuple(p for p in people if p not in chosen.get(name, ()) and p not in left_out.get(name, ()))
        for name, people in every.items()
    }
    faults += [
        f"{name}: of its {len(every[name])} subjects {len(chosen.get(name, ()))} are for validation and "
        f"{len(left_out.get(name, ()))} are left out; expected at least one to train on"
        for name, people in kept.items()
        if not people
    ]
    on_both = people_of(kept) & (people_of(chosen) | people_of(left_out)) | (people_of(chosen) & people_of(left_out))
    faults += [
        f"{person}: found on two sides of training, validation and leave_out; expected one, whatever the camera"
        for person in sorted(on_both)
    ]
    if faults:
        raise InputError(faults, where="subjects")
    return Split(kept, chosen, left_out)


def _drawn(every: Subjects, left_out: Subjects, config: Config) -> Subjects:
    """A share of the subjects of each dataset, the same people under all its names; at least one of two."""
    families: dict[str, set[str]] = {}
    for name, people in every.items():
        families.setdefault(family(name), set()).update({*people} - {*left_out.get(name, ())})
    chosen: dict[str, set[str]] = {}
    for name, names in families.items():
        known = sorted(names)
        count = math.ceil(config.validation.share * len(known)) if len(known) > 1 else 0
        order = np.random.default_rng([config.seed, *name.encode()]).permutation(len(known))
        chosen[name] = {known[i] for i in order[:count]}
    found = {n: tuple(p for p in people if p in chosen[family(n)]) for n, people in every.items()}
    return {name: people for name, people in found.items() if people}


def check(config: Config, sides: Split) -> None:
    """Open the data of all stages, so that the last one's faults are not met when the first is trained.

    Raises:
        InputError: data that cannot be used; the faults of all stages at once.
    """
    faults: list[str] = []
    for number in range(len(config.stages)):
        for opened in (shown, validated):
            try:
                opened(config, number, sides)
            except InputError as error:
                faults += [f"{error.where}: {fault}" for fault in error.faults]
    if faults:
        raise InputError(dict.fromkeys(faults))


def shown(config: Config, number: int, sides: Split, per_step: int = 1, processes: int = 1) -> Examples:
    """The examples of a stage, in the order of training.

    Args:
        config: of the training.
        number: of the stage, from 0.
        sides: as `split` returns them.
        per_step: examples of one optimiser step, on all devices.
        processes: how many draw clips at once.

    Raises:
        InputError: data that cannot be used; all faults at once.
    """
    stage = config.stages[number]
    try:
        found = Examples(
            stage.data, config.motion, seed=_seed(config, number), without=sides.without(), processes=processes
        )
    except InputError as error:
        raise InputError(error.faults, where=f"stages[{number}].data") from None
    return found.extended(_length(stage, found.clips, per_step))


def _length(stage: Stage, clips: int, per_step: int) -> int:
    if stage.steps is not None:
        return stage.steps * per_step
    if stage.examples is not None:
        return stage.examples
    assert stage.epochs is not None
    return math.ceil(stage.epochs * clips)


def validated(config: Config, number: int, sides: Split) -> Examples | None:
    """The examples that a stage is validated on, each clip as it is; None where it has none.

    Of the forms and sources of the stage those that the people of validation have clips for.

    Raises:
        InputError: data that cannot be used, all faults at once; or people that the config names have no such clips.
    """
    sources = [source for source in config.stages[number].data if sides.validation.get(source.dataset)]
    if not sources:
        return None
    try:
        found = Examples(
            sources,
            config.motion,
            seed=_seed(config, number),
            augment=False,
            balance=False,
            only=sides.validation,
            lenient=True,
        )
    except InputError as error:
        raise InputError(error.faults, where=f"validation of stages[{number}].data") from None
    if not found.clips:
        if config.validation.subjects:
            named = "; ".join(f"{name}: {', '.join(people)}" for name, people in sides.validation.items())
            raise InputError(
                f"expected clips of the subjects that are named ({named}) for its forms, found none; name others",
                where=f"validation of stages[{number}].data",
            )
        return None
    return found.extended(min(found.clips, config.validation.examples))


def _seed(config: Config, number: int) -> int:
    return 1000 * config.seed + number


def fingerprint(sources: Sequence[Source]) -> dict[str, dict[str, Any]]:
    """By dataset, what its clips are: the sums of its splits' files; of drawn clips, the versions that drew them."""
    found: dict[str, dict[str, Any]] = {}
    for source in sources:
        if source.dataset == DRAWN:
            found[DRAWN] = {"drawings": synthme.VERSION, "flow": FLOW_VERSION}
        else:
            name = training_split(source)
            found.setdefault(source.dataset, {})[name] = store.read_info(source.dataset)["splits"][name]["sha256"]
    return found
