"""The model `mellm_flow` of lmms-eval: a linear classifier of the flow of the face, the baseline of every model.

    lmms-eval --model mellm_flow --tasks synthme_meu ...                              # taught on drawn faces
    lmms-eval --model mellm_flow --model_args fit=casme2 --tasks samm_emotion ...     # on a prepared dataset

It measures the same flow as the maps of `mellm` show, and reads it by logistic regression (`linear.py`): what it scores
can be had without a language model. It answers the tasks of this package and the questions of the ME-VQA challenge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from loguru import logger

from mellm_plugin.datasets.vqa_questions import unit_name
from mellm_plugin.errors import ImageError, InputError, SettingsError, imports_of_lmms_eval
from mellm_plugin.language.unanswered import IMAGES_UNUSABLE
from mellm_plugin.models.arguments import OFF, Count, Motion, Name
from mellm_plugin.models.baselines import NO_ANSWER, Baseline, in_form
from mellm_plugin.models.flow_vectors import DRAWN_CLIPS, drawn, of_dataset
from mellm_plugin.models.linear import Linear, Vectors
from mellm_plugin.models.seen import MARKED, Seen, record_in_name
from mellm_plugin.motion.cache import default_cache
from mellm_plugin.motion.pooled_flow import pooled_pair
from mellm_plugin.motion.settings import DEFAULT, MotionSettings
from mellm_plugin.settings import Settings, attempt

with imports_of_lmms_eval():
    from lmms_eval.api.instance import GenerationResult, Instance

_OF_LMMS_EVAL = ("batch_size", "max_batch_size", "device")
"""What lmms-eval passes to every model."""


@dataclass(frozen=True)
class FlowArguments(Settings):
    """Arguments of the model."""

    unset: ClassVar[tuple[Any, ...]] = (None,)

    fit: Name | None = None  # a prepared dataset to learn from; none: drawn faces
    split: Name | None = None  # of that dataset; none: train, else the only one
    clips: Count | None = None  # number of drawn clips to learn from; none: 1200
    motion: Motion = DEFAULT  # how the flow is measured: a preset or a settings file, as for the model mellm

    def contradictions(self) -> Iterator[str]:
        """Faults between arguments."""
        if self.motion == OFF:
            yield ".motion: expected settings of the flow, found off: this model sees nothing else"
        if self.fit is not None and self.clips is not None:
            yield ".clips: found, but fit= names a dataset, all of whose clips are used"
        if self.fit is None and self.split is not None:
            yield ".split: expected together with fit="

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> FlowArguments:
        """From the strings of a command line; None and "None": not given. Raises SettingsError with all faults."""
        known = {one.name for one in fields(cls)}
        faults: list[str] = []
        own = {name: value for name, value in given.items() if name not in _OF_LMMS_EVAL}
        found = attempt(cls, {n: v for n, v in own.items() if n not in known or v not in (None, "None")}, faults)
        if faults or found is None:
            raise SettingsError(faults, where="model arguments")
        return found


class Flow(Baseline):
    """Logistic regression on the flow of the face; its arguments are the fields of `FlowArguments`.

    Raises:
        SettingsError: unknown or unusable arguments; lists all.
        DataError: the dataset to learn from is not prepared or damaged.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        given = FlowArguments.read(arguments)
        assert isinstance(given.motion, MotionSettings)
        self.motion = given.motion
        if given.fit is None:
            self._taught = drawn(given.clips or DRAWN_CLIPS, self.motion)
        else:
            self._taught = of_dataset(given.fit, given.split, self.motion)
        taught = Linear(self._taught.vectors, self._taught.annotated)
        self._reader = Answers(taught, str(self._taught.source["dataset"]))
        sides = {dataset: {"subjects": of} for dataset, of in self._taught.subjects.items()}
        self._seen = Seen.of([{"seen": sides, "validation": {}}])
        self._splits: dict[str, str] = {}
        self._has_warned = False
        self._record()

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Answers in the order of the requests; the fault of images that cannot be used, as of the model mellm."""
        self._splits |= {request.args[4]: request.args[5] for request in requests}
        self._record()
        return super().generate_until(requests)

    def clean(self) -> None:
        """Nothing to free; records the overlaps even if all answers came from lmms-eval's cache."""
        self._record()
        super().clean()

    def _answer(self, doc: Mapping[str, Any], task: str) -> str:
        if lacking := [column for column in ("onset", "apex") if column not in doc]:
            raise InputError(f"expected clips with onset and apex; found no {', no '.join(lacking)}", where=task)
        try:
            vector = pooled_pair(doc["onset"], doc["apex"], self.motion, doc.get("nose"), default_cache())
        except (ImageError, OSError) as error:  # PIL's error for a damaged image is an OSError
            logger.error(f"mellm: {doc.get('id', task)} has no answer because its images cannot be used: {error}")
            return f"{IMAGES_UNUSABLE} {error}"
        return self._reader.answers(vector[None], [doc], task)[0]

    def _record(self) -> None:
        """Put settings, training data and people seen into the class name, which the results file records."""
        found, faults = self._seen.overlaps(getattr(self, "task_dict", {}), self._splits)
        if faults and not self._has_warned:
            self._has_warned = True
            lines = "".join(f"\n  - {fault}" for fault in faults)
            logger.warning(f"mellm: {MARKED}(choose another fit=, or run mellm loso --baseline flow):{lines}")
        known = {"motion": self.motion.to_dict(), "fit": dict(self._taught.source)}
        record_in_name(self, {**known, "training": {**self._seen.counts, "tasks": found}})


class Answers:
    """The answers of a linear classifier, in the form that a task asks for.

    The log says what it cannot answer, because `source`, the name of what it learned from, does not show it. Those
    that share `told` say it once.
    """

    def __init__(self, linear: Linear, source: str, told: set[Any] | None = None) -> None:
        self.linear, self.source = linear, source
        self._told: set[Any] = set() if told is None else told

    def answers(self, vectors: Vectors, docs: Sequence[Mapping[str, Any]], task: str) -> list[str]:
        """One answer for each clip; raises InputError if the clips lack the columns for an answer."""
        alike: dict[Any, list[int]] = defaultdict(list)
        for place, doc in enumerate(docs):
            if "kind" in doc:
                alike[doc["kind"], tuple(doc["coarse_labels"]), tuple(doc["fine_labels"]), doc["unit"]].append(place)
            elif {"asks", "labels", "scored_aus"} <= doc.keys():
                alike[doc["asks"], tuple(doc["labels"]), tuple(sorted(doc["scored_aus"])), None].append(place)
            else:
                raise InputError(
                    "expected clips with the columns of the tasks of this package (asks, labels, scored_aus; or kind "
                    f"of a question), found {', '.join(doc)}",
                    where=task,
                )
        found = [""] * len(docs)
        for (asks, first, second, unit), places in alike.items():
            those = vectors[places]
            if "kind" in docs[places[0]]:
                texts = self._questions(those, asks, first, second, unit, task)
            else:
                labels = self._labels(those, first, task) if first and asks != "aus" else [None] * len(places)
                units = self._units(those, second, task) if second and asks != "emotion" else [[] for _ in places]
                texts = [in_form(asks, named, label) for named, label in zip(units, labels, strict=True)]
            for place, text in zip(places, texts, strict=True):
                found[place] = text
        return found

    def _questions(
        self, vectors: Vectors, kind: str, classes: Sequence[str], labels: Sequence[str], unit: int | None, task: str
    ) -> list[str]:
        """Answers to one question of the challenge about several clips."""
        if kind in ("coarse", "fine"):
            return [
                label or NO_ANSWER for label in self._labels(vectors, classes if kind == "coarse" else labels, task)
            ]
        if kind == "unit" and unit is not None:
            of = self._units(vectors, (unit,), task)
            return [NO_ANSWER if named is None else "yes" if named else "no" for named in of]
        if kind not in ("units", "combined"):
            self._tell(task, f"questions of the kind {kind}", ("sides and free texts",))
            return [NO_ANSWER] * len(vectors)
        every = sorted({unit for clip in self.linear.clips for unit in clip.units()})
        units = self._units(vectors, every, task)
        names = [NO_ANSWER if of is None else ", ".join(map(unit_name, of)) or "none" for of in units]
        if kind == "units":
            return names
        pairs = zip(self._labels(vectors, classes, task), self._labels(vectors, labels, task), strict=True)
        said = [f"coarse class: {one or NO_ANSWER}; fine class: {other or NO_ANSWER}" for one, other in pairs]
        return [f"action units: {of}; {classes_of}" for of, classes_of in zip(names, said, strict=True)]

    def _labels(self, vectors: Vectors, labels: Sequence[str], task: str) -> list[str | None]:
        known = self.linear.known_labels(labels)
        self._tell(task, "labels", [label for label in labels if label not in known])
        return self.linear.label(vectors, labels)

    def _units(self, vectors: Vectors, units: Collection[int], task: str) -> Sequence[list[int] | None]:
        known = self.linear.known_units(units)
        self._tell(task, "clips with and without", [f"AU{unit}" for unit in sorted(units) if unit not in known])
        named = self.linear.units(vectors, units)
        return [None] * len(vectors) if named is None else named

    def _tell(self, task: str, what: str, lacking: Sequence[str]) -> None:
        if new := [one for one in lacking if (task, what, one) not in self._told]:
            self._told |= {(task, what, one) for one in new}
            logger.warning(f"mellm: {task}: what it learned from ({self.source}) has no {what} {', '.join(new)}")
