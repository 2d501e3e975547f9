"""The people that a model has seen in training, compared with the people of a task.

    Seen.of([record]).overlap(docs)
      -> {"clips": 255, "seen": {"clips": 218, "subjects": 22}, "validation": {"clips": 25, "subjects": 3}}

A score on people that a model has seen says little about others, and test sets in this field are small and widely
shared. The model therefore reports overlaps in the log and the results file. It compares people, not clips, because one
person's micro-expressions are alike.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MARKED = (
    "this model KNOWS PEOPLE IT IS ASKED ABOUT; such a score says little about others, and the results file is marked "
)
"""How the warning about the sentences of `Seen.overlaps` begins."""

_SAME_PEOPLE = {"smic_vis": "smic", "smic_nir": "smic"}  # filmed simultaneously with other cameras


def family(dataset: str) -> str:
    """The name shared by all datasets of the same people."""
    return _SAME_PEOPLE.get(dataset, dataset)


def person(dataset: str, subject: str) -> str:
    """A unique name of a person, equal in all datasets: `smic/s03`."""
    return f"{family(dataset)}/{subject}"


def people(of: Mapping[str, Iterable[str]]) -> set[str]:
    """The people among subjects by dataset."""
    return {person(dataset, subject) for dataset, subjects in of.items() for subject in subjects}


@dataclass(frozen=True)
class Seen:
    """The people that a model has seen, named by `person`."""

    trained: frozenset[str]
    validated: frozenset[str]  # of the validation data only, which chose the state of the model
    counts: Mapping[str, Mapping[str, int]]  # for both, the number of subjects by dataset

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> Seen:
        """From the records of an adapter and its base (`models/record.py`)."""
        seen: defaultdict[str, set[str]] = defaultdict(set)
        validation: defaultdict[str, set[str]] = defaultdict(set)
        for record in records:
            for dataset, of in record["seen"].items():
                seen[dataset].update(of["subjects"])
            for dataset, subjects in record["validation"].items():
                validation[dataset].update(subjects)
        trained = frozenset(people(seen))
        sides = {"seen": seen, "validation": validation}
        counts = {side: {name: len(of) for name, of in sorted(sets.items())} for side, sets in sides.items()}
        return cls(trained, frozenset(people(validation)) - trained, counts)

    def overlap(self, docs: Any) -> dict[str, Any] | None:
        """Count the clips of people that the model has seen, in a `datasets.Dataset`, as in the example above.

        Returns None if the clips name no dataset and subject.
        """
        clips = _clips(docs)
        if not clips:
            return None
        found: dict[str, Any] = {"clips": len(clips)}
        for side, known in (("seen", self.trained), ("validation", self.validated)):
            hit = [someone for someone in clips.values() if someone in known]
            found[side] = {"clips": len(hit), "subjects": len(set(hit))}
        return found

    def overlaps(
        self, tasks: Mapping[str, Any], asked: Mapping[str, str]
    ) -> tuple[dict[str, dict[str, Any]], list[str]]:
        """The overlap of several tasks.

        Args:
            tasks: by task, its splits.
            asked: by task, the split that it tests. If unknown (all answers cached), it is `test` or the only split.

        Returns:
            by task its `overlap`, if it has one; a sentence for each task and side that has seen people.
        """
        found: dict[str, dict[str, Any]] = {}
        faults: list[str] = []
        for task, splits in tasks.items():
            if not isinstance(splits, Mapping):
                continue
            docs = splits.get(asked.get(task, "test"), next(iter(splits.values())) if len(splits) == 1 else None)
            if (overlap := self.overlap(docs)) is None:
                continue
            found[task] = overlap
            sides = (("seen", "trained on", self.trained), ("validation", "chosen by", self.validated))
            for side, what, known in sides:
                if (hit := overlap[side])["clips"]:
                    names = sorted(known.intersection(_clips(docs).values()))
                    shown = ", ".join(names[:5]) + (", .." if len(names) > 5 else "")
                    faults.append(
                        f"{task}: {hit['clips']} of {overlap['clips']} clips are of people that it was {what}: "
                        f"{hit['subjects']} ({shown})"
                    )
        return found, faults


def record_in_name(model: Any, known: Mapping[str, Any]) -> None:
    """Put what is known of a model of lmms-eval into its class name, which the results file records.

    lmms-eval records only a model's arguments and, after the last answer, its class name (`config.model_backend`).
    """
    own = next(base for base in type(model).__mro__ if " " not in base.__name__)
    kept = {"__module__": own.__module__, "__doc__": own.__doc__}
    model.__class__ = type(f"{own.__name__} {json.dumps(known)}", (own,), kept)


def _clips(docs: Any) -> dict[Any, str]:
    """The person of each clip, by the clip's id or its index."""
    names = getattr(docs, "column_names", None)
    if not isinstance(names, list) or not {"dataset", "subject"} <= {*names}:
        return {}
    datasets, subjects = list(docs["dataset"]), list(docs["subject"])
    if not all(isinstance(text, str) for text in (*datasets, *subjects)):
        return {}
    ids = list(docs["id"]) if "id" in names else range(len(datasets))
    return {id: person(d, s) for id, d, s in zip(ids, datasets, subjects, strict=True)}
