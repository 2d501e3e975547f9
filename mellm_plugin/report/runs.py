"""What the report knows of a run: one model on one task.

    Run(task="synthme_meu", model="mellm", clips=(Clip(0, {"id": "synthme/s00/00", ..}, "..")), values={"au_f1": .97})

`results.read` makes these from the files of lmms-eval, of any version of this package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast


@dataclass(frozen=True)
class Fault:
    """A part of the input that could not be used: what was expected and found in a file, and in which line."""

    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text}"


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip, or one question about a clip, and the answer.

    Attributes:
        place: index of the clip in the task.
        record: what a samples file holds of it (`samples`), checked, with all keys and tuples instead of lists.
        text: the answer.
        tokens: input and output tokens; None if unknown.
    """

    place: int
    record: Mapping[str, Any]
    text: str
    tokens: tuple[int | None, int | None] | None = None

    @property
    def id(self) -> str:
        """Starts with the name of its dataset."""
        return str(self.record["id"])

    @property
    def dataset(self) -> str:
        return str(self.record["dataset"])

    @property
    def unanswered(self) -> str | None:
        """Why there is no answer (`language.unanswered`); None if there is one."""
        return cast("str | None", self.record["unanswered"])

    @property
    def kind(self) -> str | None:
        """The kind of a question; None for a clip that is described."""
        return self.record.get("kind")

    @property
    def judge(self) -> Mapping[str, Any] | None:
        """The grade of the description: `points`, `unscored`, `judge`, `rubric`, `scores`, `reasons`."""
        return self.record.get("judge")

    @property
    def rung(self) -> Mapping[str, Any] | None:
        """Its rung on the amplitude ladder (`scoring.sensitivity`)."""
        return self.record.get("rung")

    @property
    def motion_px(self) -> float | None:
        """Strength of the facial motion, px of a frame of 224 px."""
        return self.record.get("motion_px")


@dataclass(frozen=True)
class Run:
    """One model on one task.

    Attributes:
        results, samples: the files; None where a file is missing.
        model, model_args: as given to lmms-eval; generation: its `gen_kwargs`.
        backend: what the model reports about itself: `bundled`, `motion`, `adapter_sha256`, `training`; may be empty.
        shots: number of few-shot examples; instruction: SHA-256 of the system instruction.
        versions: of `lmms_eval` and `mellm_plugin`.
        metadata: of the task: `version`, `prompt_version` or `wording`, `data`.
        date: UTC.
        original, effective: number of clips of the task, and of those the run covers; None if unknown.
        limited: the command line restricted the run to some of the clips.
        asks, labels, units: of the task.
        clips: in the order of the task; empty without a samples file.
        metrics: their names; values, ends: value and 95 % interval of each, as in the results file.
        higher_is_better: by metric, where the results file says so.
        drawn: motion settings of the maps, where the task draws maps; else None.
        loso: the `loso` section of a leave-one-subject-out run.
        tokens: input and output tokens; seconds: of generation; None if unknown.
        damaged: number of lines of the samples file that could not be used.
    """

    task: str
    results: Path | None
    samples: Path | None
    model: str
    model_args: str
    backend: Mapping[str, Any]
    generation: str
    shots: int
    instruction: str | None
    versions: Mapping[str, str | None]
    metadata: Mapping[str, Any]
    date: datetime | None
    original: int | None
    effective: int | None
    limited: bool
    asks: str | None
    labels: tuple[str, ...] | None
    units: tuple[int, ...] | None
    clips: tuple[Clip, ...] = field(repr=False)
    metrics: tuple[str, ...]
    values: Mapping[str, float | None] = field(repr=False)
    ends: Mapping[str, tuple[float, float] | None] = field(repr=False)
    higher_is_better: Mapping[str, bool] = field(repr=False)
    drawn: Any
    loso: Mapping[str, Any] | None = field(repr=False)
    tokens: tuple[int | None, int | None] | None
    seconds: float | None
    damaged: int = 0

    @property
    def judge(self) -> tuple[str, str] | None:
        """Name and rubric of the judge; None if no description was judged."""
        return next(((one["judge"], one["rubric"]) for clip in self.clips if (one := clip.judge) is not None), None)

    @cached_property
    def answered(self) -> Run:
        """The run without the clips that have no answer."""
        given = tuple(clip for clip in self.clips if clip.unanswered is None)
        return self if len(given) == len(self.clips) else replace(self, clips=given)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(file for file in (self.results, self.samples) if file is not None)

    @property
    def day(self) -> str | None:
        return None if self.date is None else self.date.strftime("%Y-%m-%d")

    @property
    def question(self) -> str:
        """The task without its way of showing the clips: that of a task that draws maps is the one with frames."""
        return self.task if self.drawn is None else self.task.removesuffix("_map")


@dataclass
class Reading:
    """Everything that was read: the number of files, the runs of our tasks, and how many there are of each other."""

    files: int = 0
    runs: list[Run] = field(default_factory=list)
    other_tasks: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fault(self, where: object, text: str) -> None:
        self.faults.append(Fault(str(where), text))
