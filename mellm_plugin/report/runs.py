"""What the report knows of a run: one model on one task.

    Run(task="synthme_meu", model="mellm", clips=(Clip(id="synthme/s00/00", read_units=(4, 5), ..), ..),
        values={"au_f1": .974, ..}, ..)

`results.read` makes these from the files of lmms-eval, of any version of this package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

FACTS = ("right", "claims", "found", "facts", "contradicting", "decided")
"""The counts of `Clip.facts`, in their order; `scoring.facts` defines them."""


@dataclass(frozen=True)
class Fault:
    """A part of the input that could not be used.

    Attributes:
        file: the file.
        text: what was expected and found, and in which line.
    """

    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text}"


@dataclass(frozen=True)
class Clip:
    """One clip, or one question about a clip, and the answer. None: unknown, or not part of the task.

    Attributes:
        place: index of the clip in the task.
        id, subject, dataset: of the clip.
        text: the answer.
        unanswered: why there is no answer (`language.unanswered`), also for files of older versions.
        codes, label, coarse: the annotation: canonical action-unit codes, label, coarse class.
        read_units, read_label, read_coarse, sides, unparsed: what was read in the answer; sides by unit ("12").
        facts: the counts `FACTS` of a description.
        doubts: reasons to doubt the measured motion of the clip.
        motion_px: strength of the facial motion, px of a frame of 224 px.
        verdict: of the judge: `points`, `unscored`, `judge`, `rubric`, `scores`, `reasons`.
        tokens: input and output tokens.
        kind, expected, said, texts: of a question: its kind, what was read in the expected answer and in the answer,
            and both as texts.
        rung: of a clip of the amplitude ladder: the item that `scoring.sensitivity` takes.
    """

    place: int
    id: str
    subject: str
    dataset: str
    text: str
    unanswered: str | None = None
    codes: tuple[str, ...] | None = None
    label: str | None = None
    coarse: str | None = None
    read_units: tuple[int, ...] | None = None
    read_label: str | None = None
    read_coarse: str | None = None
    sides: Mapping[str, str] | None = None
    unparsed: str | None = None
    facts: tuple[int | None, ...] | None = None
    doubts: tuple[str, ...] | None = None
    motion_px: float | None = None
    verdict: Mapping[str, Any] | None = None
    tokens: tuple[int | None, int | None] | None = None
    kind: str | None = None
    expected: Mapping[str, Any] | None = None
    said: Mapping[str, Any] | None = None
    texts: tuple[str, str] | None = None
    rung: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Run:
    """One model on one task.

    Attributes:
        task: name of the task.
        results, samples: the files; None where a file is missing.
        model, model_args: as given to lmms-eval.
        backend: what the model reports about itself: `bundled`, `motion`, `adapter_sha256`, `training`; may be empty.
        generation: `gen_kwargs` of the command line.
        shots: number of few-shot examples.
        instruction: SHA-256 of the system instruction.
        versions: of `lmms_eval` and `mellm_plugin`.
        metadata: of the task: `version`, `prompt_version` or `wording`, `data`.
        date: UTC.
        original, effective: number of clips of the task, and of those the run covers; None if unknown.
        limited: the command line restricted the run to some of the clips.
        asks, labels, units: of the task.
        clips: in the order of the task; empty without a samples file.
        metrics: names of the metrics, without standard errors.
        values, ends: value and 95 % interval of each metric, as in the results file.
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
        return next(((c.verdict["judge"], c.verdict["rubric"]) for c in self.clips if c.verdict is not None), None)

    @cached_property
    def answered(self) -> Run:
        """The run without the clips that have no answer."""
        given = tuple(clip for clip in self.clips if clip.unanswered is None)
        return self if len(given) == len(self.clips) else replace(self, clips=given)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it was read from."""
        return tuple(file for file in (self.results, self.samples) if file is not None)

    @property
    def question(self) -> str:
        """The task without its way of showing the clips: that of a task that draws maps is the one with frames."""
        return self.task if self.drawn is None else self.task.removesuffix("_map")


@dataclass
class Reading:
    """Everything that was read.

    Attributes:
        files: number of files.
        runs: of the tasks of this package.
        other_tasks: number of runs of other tasks, by name.
        faults, notes: what could not be used; other remarks.
    """

    files: int = 0
    runs: list[Run] = field(default_factory=list)
    other_tasks: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
