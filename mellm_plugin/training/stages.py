"""The data of each stage of a config: its training and validation subjects and its number of examples.

A subject is on one side only, in all stages, and under every name of its dataset.
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
from mellm_plugin.training.config import Config
from mellm_plugin.training.data import Examples, Source, subjects, training_split

Subjects = dict[str, tuple[str, ...]]
"""Subjects by dataset, without its name."""


@dataclass(frozen=True)
class Split:
    seen: Subjects
    validation: Subjects
    left_out: Subjects

    def without(self) -> Subjects:
        """Subjects that training must not use."""
        names = {*self.validation, *self.left_out}
        return {name: (*self.validation.get(name, ()), *self.left_out.get(name, ())) for name in sorted(names)}


def split(config: Config) -> Split:
    """Split the subjects of all stages.

    Raises:
        InputError: unknown subjects, a subject on two sides, or a dataset without training subjects; lists every fault.
    """
    sources = [source for stage in config.stages for source in stage.data]
    every: Subjects = {}
    for source in sources:  # several sources may name splits of one dataset
        for name, found in subjects([source]).items():
            every[name] = tuple(sorted({*every.get(name, ()), *found}))
    faults: list[str] = []
    for key, given in (("validation.subjects", config.validation.subjects), ("leave_out", config.leave_out)):
        for name, people in given.items():
            known = every.get(name, ())
            if not known:
                faults.append(
                    f"{key}.{name}: no stage uses this dataset; known: {', '.join(every)}.{near(name, every)}"
                )
            unknown = [person for person in people if known and person not in known]
            faults += [f"{key}.{name}: no subject {person!r}.{near(person, known)}" for person in unknown]
    left_out = dict(config.leave_out)
    chosen = dict(config.validation.subjects) or _drawn(every, left_out, config)
    kept = {
        name: tuple(p for p in people if p not in chosen.get(name, ()) and p not in left_out.get(name, ()))
        for name, people in every.items()
    }
    faults += [
        f"{name}: expected at least one subject to train on, found {len(every[name])} subjects, of which "
        f"{len(chosen.get(name, ()))} validate and {len(left_out.get(name, ()))} are left out"
        for name, people in kept.items()
        if not people
    ]
    on_both = people_of(kept) & (people_of(chosen) | people_of(left_out)) | (people_of(chosen) & people_of(left_out))
    faults += [
        f"{person}: expected on one side of training, validation and leave_out, found on two; "
        "other cameras show the same people"
        for person in sorted(on_both)
    ]
    if faults:
        raise InputError(faults, where="subjects")
    return Split(kept, chosen, left_out)


def _drawn(every: Subjects, left_out: Subjects, config: Config) -> Subjects:
    """Draw a share of each dataset's subjects, the same people under all its names; at least one if there are two."""
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
    """Open the data of all stages, so that no fault shows up after hours of training; an InputError lists them all."""
    faults: list[str] = []
    for number in range(len(config.stages)):
        for examples in (shown, validated):
            try:
                found = examples(config, number, sides)
            except InputError as error:
                faults += [f"{error.where}: {fault}" for fault in error.faults]
                continue
            if examples is shown and found is not None and (heads := config.stages[number].heads) is not None:
                place = f"stages[{number}].heads"
                faults += [
                    f"{place}.{head}: expected clips with {lacking} to learn from, found none; leave it out"
                    for head, lacking in found.untaught(heads.weights()).items()
                ]
    if faults:
        raise InputError(dict.fromkeys(faults))


def shown(config: Config, number: int, sides: Split, per_step: int = 1, processes: int = 1) -> Examples:
    """The examples of a stage (from 0), in the order of training.

    `per_step` is the number of examples of one optimiser step on all devices; `processes` draw clips.

    Raises:
        InputError: data cannot be used; lists every fault.
    """
    stage = config.stages[number]
    found = opened(config, number, without=sides.without(), processes=processes)
    if stage.steps is not None:
        return found.extended(stage.steps * per_step, per_step)
    return found.extended(stage.examples or math.ceil((stage.epochs or 0) * found.clips), per_step)


def opened(config: Config, number: int, *, sources: Sequence[Source] = (), where: str = "", **options: Any) -> Examples:
    """The examples of a stage with options of `Examples`; a fault names the stage."""
    try:
        stage = config.stages[number]
        options = {"with_truth": stage.heads is not None, **options}
        return Examples(sources or stage.data, config.motion, seed=1000 * config.seed + number, **options)
    except InputError as error:
        raise InputError(error.faults, where=f"{where}stages[{number}].data") from None


def validated(config: Config, number: int, sides: Split) -> Examples | None:
    """The examples that a stage is validated on, each clip as it is; None where it has none.

    Sources and forms without clips of the validation subjects are skipped.

    Raises:
        InputError: data cannot be used (lists every fault), or the named subjects have no clips for the forms.
    """
    sources = [source for source in config.stages[number].data if sides.validation.get(source.dataset)]
    if not sources:
        return None
    as_it_is: dict[str, Any] = {"augment": False, "balance": False, "only": sides.validation, "lenient": True}
    as_it_is["with_truth"] = True  # the score is computed from it
    found = opened(config, number, sources=sources, where="validation of ", **as_it_is)
    if not found.clips and config.validation.subjects:
        named = "; ".join(f"{name}: {', '.join(people)}" for name, people in sides.validation.items())
        raise InputError(
            f"expected clips of the named subjects ({named}) for the forms of this stage, found none; "
            "name other subjects",
            where=f"validation of stages[{number}].data",
        )
    return found.extended(min(found.clips, config.validation.examples)) if found.clips else None


def fingerprint(sources: Sequence[Source]) -> dict[str, dict[str, Any]]:
    """By dataset, the checksums of its splits' files; for drawn clips, the versions of the drawing."""
    found: dict[str, dict[str, Any]] = {}
    for source in sources:
        if source.dataset == DRAWN:
            found[DRAWN] = {"drawings": synthme.VERSION, "flow": FLOW_VERSION}
        else:
            name = training_split(source)
            found.setdefault(source.dataset, {})[name] = store.read_info(source.dataset)["splits"][name]["sha256"]
    return found
