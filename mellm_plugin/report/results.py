"""The results and samples files of lmms-eval -> runs: one model asked one task once.

    results/20261122_225316_results.json                    scores, configs of model and tasks, versions
    results/20261122_225316_samples_synthme_meu.jsonl       one line a clip, with `--log_samples`
    loso/results.json, loso/predictions.jsonl               the same of `mellm loso`

      -> Run(task="synthme_meu", model="mellm", clips=(Clip(id="synthme/s00/00", read_units=(4, 5), ..), ..),
             values={"au_f1": .974, ..}, ..)

Nothing in these files says which samples are of which results, but their folder and the date that their names begin
with; so it is checked that they fit. Ranks of one evaluation are merged by lmms-eval, in any order.

A samples line says most things many times over. Of each only what a report needs is kept, and equal texts and lists are
kept once, so memory grows by about a kilobyte a clip and model.

Everything here is untrusted. A file or line that cannot be used is a fault, told with its place; the rest is kept.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.language.unanswered import as_given, unanswered
from mellm_plugin.scoring.held_out import ENDING

RESULTS, SAMPLES = "_results.json", "_samples_"
_LOSO, _PREDICTIONS = "results.json", "predictions.jsonl"
_STAMPED = re.compile(r"\d{8}_\d{6}_results\.json")
_BACKEND = re.compile(r"([\w.]+) (\{.*\})(?: \(\w+\))?", re.DOTALL)
_ERROR = re.compile(r"_stderr(_\w+)?$")
_SIGNS = ("parse_rate", "vqa_parse_rate", "threshold_px")
"""Metrics of which every task of this package has one."""

_FACTS = ("right", "claims", "found", "facts", "contradicting", "decided")
_SINGAPORE = timezone(timedelta(hours=8))  # lmms-eval's, whatever the machine's is; no file tells of --timezone


@dataclass(frozen=True)
class Fault:
    """Something that could not be used.

    Attributes:
        file: where.
        text: what was expected and found, with the line where there is one.
    """

    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text}"


@dataclass(frozen=True)
class Clip:
    """One clip and the answer about it, or one question on a clip. None where a thing is not known or not asked.

    Attributes:
        place: number of the clip among those of the task.
        id, subject, dataset: of the clip.
        text: the answer.
        unanswered: why it was never given, as `language.unanswered` has it of any text, so of old files, too.
        codes, label, coarse: the annotation: canonical codes of units; the label; the coarse class.
        read_units, read_label, read_coarse, sides, unparsed: what was read; sides by the unit's number as text.
        facts: `right`, `claims`, `found`, `facts`, `contradicting` and `decided` of a description (`scoring.facts`).
        doubts: what speaks against the clip's motion.
        motion_px: strength of the facial motion, px of a frame of 224 px.
        verdict: of the judge: `points`, `unscored`, `judge`, `rubric`, `scores`, `reasons`.
        tokens: given to the model and answered by it.
        kind, expected, said, texts: of a question: its kind; the expected answer and the answer, as read; and as texts.
        ladder: of a clip of the amplitude ladder, the item that `scoring.sensitivity` takes.
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
    ladder: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Run:
    """One model asked one task once.

    Attributes:
        task: its name.
        results, samples: the files; None where there is none.
        model, model_args: as given to lmms-eval.
        backend: what the model says of itself: `bundled`, `motion`, `adapter_sha256`, `training`; empty where nothing.
        generation: `gen_kwargs` of the command line.
        shots: examples in front of each question.
        instruction: sha of the system instruction.
        versions: `lmms_eval` and `mellm_plugin`.
        metadata: of the task: `version`, `prompt_version` or `wording`, `data`.
        date: UTC.
        original, effective: clips of the task, and those that were asked; None where not known.
        limited: the command line asked for a part of the clips.
        asks, labels, units: of the task.
        clips: in the order of the task; empty without samples.
        metrics: that the task has, in its order, without standard errors.
        values, ends: of the results file, by metric.
        higher_is_better: by metric, where the results file says so.
        drawn: motion settings of maps that the task draws; None where it draws none.
        loso: the section of a leave-one-subject-out run.
        tokens: given and answered; seconds: of generation; None where not known.
        damaged: lines of the samples that could not be used, or that do not fit.
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
        """Name and rubric of the judge that graded the descriptions; None where none did."""
        for clip in self.clips:
            if clip.verdict is not None:
                return clip.verdict["judge"], clip.verdict["rubric"]
        return None

    @cached_property
    def answered(self) -> Run:
        """The run on the clips whose answers were given."""
        given = tuple(clip for clip in self.clips if clip.unanswered is None)
        return self if len(given) == len(self.clips) else replace(self, clips=given)

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that it was read from."""
        return tuple(file for file in (self.results, self.samples) if file is not None)

    @property
    def question(self) -> str:
        """The task whose clips and questions these are: of one that draws maps, that which shows the frames."""
        return self.task if self.drawn is None else self.task.removesuffix("_map")


@dataclass
class Reading:
    """All that was read.

    Attributes:
        files: number of files.
        runs: of tasks of this package.
        other_tasks: runs of other tasks, by name.
        faults, notes: what could not be used; what else is to be said.
    """

    files: int = 0
    runs: list[Run] = field(default_factory=list)
    other_tasks: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(paths: Iterable[Path], progress: Callable[[int], None] | None = None) -> Reading:
    """Read all results and samples files of files and folders.

    Args:
        paths: folders are searched with all that is in them. Of a results file its samples are read, too, and the
            other way round.
        progress: gets the number of bytes of each part that was read.
    """
    reading = Reading()
    pool = _Pool()
    results, samples = _found(paths, reading)
    reading.files = len(results) + len(samples)
    claimed: set[Path] = set()
    for file in results:
        document = _document(file, reading)
        if progress is not None:
            progress(file.stat().st_size)
        if document is None:
            if file.name == _LOSO:  # without it nothing is known of the answers beside it, not even the task
                claimed.add(file.with_name(_PREDICTIONS))
            continue
        loso = document.get("loso")
        for task in _tasks(document):
            if "/" in task or "\0" in task:
                reading.faults.append(Fault(str(file), f"expected the name of a task, found {_short(task)}"))
                continue
            if task.endswith(ENDING):
                reading.notes.append(f"{file}: a fold of a leave-one-subject-out run; give the folder of all folds")
                continue
            beside = _samples_of(file, task, loso is not None)
            if not _ours(document["results"][task]):
                reading.other_tasks[task] += 1
                claimed.add(beside)
                continue
            claimed.add(beside)
            lines = _lines(beside, task, pool, reading, progress) if beside.is_file() else None
            reading.runs.append(_run(file, document, task, beside, lines, reading))
    for file in samples:
        if file in claimed:
            continue
        task = file.stem.partition(SAMPLES)[2]
        if task.endswith(ENDING):
            reading.notes.append(f"{file}: a fold of a leave-one-subject-out run; give the folder of all folds")
            continue
        lines = _lines(file, task, pool, reading, progress)
        if lines.foreign and not lines.clips:
            reading.other_tasks[task] += 1
        elif lines.clips:
            reading.runs.append(_run(None, {}, task, file, lines, reading))
    return reading


def size(paths: Iterable[Path]) -> int:
    """The number of bytes that `read` will tell the progress of."""
    return sum(file.stat().st_size for files in _found(paths, Reading()) for file in files)


# ---- files ----------------------------------------------------------------------------------------------------------


def _found(paths: Iterable[Path], reading: Reading) -> tuple[list[Path], list[Path]]:
    """The results files and the samples files, each once."""
    results: dict[Path, Path] = {}  # by where it really is; a link has the name, what it leads to may have none
    samples: dict[Path, Path] = {}
    for path in paths:
        try:
            path.stat()
        except OSError as error:
            told = "found nothing" if isinstance(error, FileNotFoundError) else f"it cannot be read: {error.strerror}"
            reading.faults.append(Fault(str(path), f"expected a folder or a file, {told}"))
            continue
        files = _within(path, reading) if path.is_dir() else [path]
        taken = False
        for file in files:
            if file.name.endswith(RESULTS) and file.is_file():
                results.setdefault(file.resolve(), file)
                for beside in sorted(file.parent.glob(f"{_glob(file.name.removesuffix(RESULTS))}{SAMPLES}*.jsonl")):
                    samples.setdefault(beside.resolve(), beside)
            elif SAMPLES in file.name and file.suffix == ".jsonl" and file.is_file():
                samples.setdefault(file.resolve(), file)
                beside = file.with_name(f"{file.name.partition(SAMPLES)[0]}{RESULTS}")
                if beside.is_file():
                    results.setdefault(beside.resolve(), beside)
            elif file.name == _LOSO and (file.with_name(_PREDICTIONS)).is_file():
                results.setdefault(file.resolve(), file)
                samples.setdefault(file.with_name(_PREDICTIONS).resolve(), file.with_name(_PREDICTIONS))
            else:
                continue
            taken = True
        if not taken and not path.is_dir():
            reading.faults.append(
                Fault(str(path), f"expected a file named *{RESULTS} or *{SAMPLES}TASK.jsonl, as lmms-eval names them")
            )
    return list(results.values()), list(samples.values())


def _within(folder: Path, reading: Reading) -> list[Path]:
    """All files below a folder, in linked folders, too, each of these once; what cannot be read is a fault."""

    def fault(error: OSError) -> None:
        reading.faults.append(Fault(str(error.filename), f"cannot be read: {error.strerror}"))

    found: list[Path] = []
    known: set[Path] = set()
    for name, folders, files in os.walk(folder, onerror=fault, followlinks=True):
        real = Path(name).resolve()
        if real in known:
            folders.clear()
            continue
        known.add(real)
        found += [Path(name, file) for file in files]
    return sorted(found)


def _glob(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def _samples_of(file: Path, task: str, loso: bool) -> Path:
    if loso:
        return file.with_name(_PREDICTIONS)
    return file.with_name(f"{file.name.removesuffix(RESULTS)}{SAMPLES}{task}.jsonl")


def _document(file: Path, reading: Reading) -> dict[str, Any] | None:
    """A results file; None where it is none, with a fault where it should be one."""
    try:
        found = _loads(file.read_bytes())
    except OSError as error:
        reading.faults.append(Fault(str(file), f"cannot be read: {error}"))
        return None
    except (ValueError, RecursionError) as error:
        reading.faults.append(
            Fault(str(file), f"expected JSON in UTF-8, found something else or a part of it: {error}")
        )
        return None
    if isinstance(found, dict) and isinstance(found.get("results"), dict):
        return found
    if _STAMPED.fullmatch(file.name):
        reading.faults.append(Fault(str(file), "expected an object with `results`, as lmms-eval writes it, found none"))
    else:
        reading.notes.append(f"{file}: not of lmms-eval")
    return None


def _loads(raw: bytes) -> Any:
    return json.loads(raw.decode("utf-8-sig"))


def _tasks(document: Mapping[str, Any]) -> list[str]:
    """The tasks of a results file, without the groups that they are of."""
    groups = document.get("group_subtasks")
    within = {name for name, tasks in groups.items() if tasks} if isinstance(groups, dict) else set()
    return [name for name, scores in document["results"].items() if name not in within and isinstance(scores, dict)]


def _ours(scores: Mapping[str, Any]) -> bool:
    return any(f"{sign},none" in scores for sign in _SIGNS)


# ---- results files --------------------------------------------------------------------------------------------------


def _run(
    file: Path | None,
    document: Mapping[str, Any],
    task: str,
    samples: Path,
    lines: _Lines | None,
    reading: Reading,
) -> Run:
    """A run, from a results file and the lines of its samples, of which one may be missing."""
    where = str(file or samples)
    config = _mapping(document.get("config"))
    loso = _mapping(document.get("loso")) or None
    scores = _mapping(_mapping(document.get("results")).get(task))
    known: Mapping[str, Any] = _mapping(_mapping(document.get("configs")).get(task))
    backend_text = str(config.get("model_backend") or "")
    if loso is not None and file is not None:
        known, backend_text = _of_folds(file.parent, task, reading)
    metadata = _mapping(known.get("metadata"))
    shown = _mapping(known.get("lmms_eval_specific_kwargs"))
    counts = _mapping(_mapping(document.get("n-samples")).get(task))
    limit, offset = config.get("limit"), config.get("offset")
    original, effective = whole_number(counts.get("original")), whole_number(counts.get("effective"))
    if original is not None and effective is not None and (skipped := whole_number(offset)):
        effective = min(effective, max(0, original - skipped))  # lmms-eval counts those, too
    clips = lines.clips if lines is not None else ()
    found = {metric.removesuffix(",none"): value for metric, value in scores.items() if metric.endswith(",none")}
    metrics = [m for m in found if not _ERROR.search(m) and m != "alias"]
    metrics = metrics or (list(lines.metrics) if lines is not None else [])
    if clips and "answer_rate" not in metrics:  # of a version that did not tell; the clips do
        metrics.append("answer_rate")
    values: dict[str, float | None] = {}
    for metric in (metric for metric in metrics if metric in found):
        values[metric] = _number(found[metric])
        if values[metric] is None and found[metric] not in (None, "N/A", [], " ") and not _is_nan(found[metric]):
            reading.faults.append(Fault(where, f"{task}: {metric}: expected a number, found {_short(found[metric])}"))
    damaged = lines.damaged if lines is not None else 0
    if lines is not None and effective is not None and len(clips) + damaged != effective:
        reading.faults.append(
            Fault(str(samples), f"expected {effective} clips, as {where} says, found {len(clips) + damaged}")
        )
    cost = _mapping(_mapping(_mapping(document.get("efficiency")).get("by_task")).get(task))
    # answers out of lmms-eval's cache have no counts; a sum without them would be that of fewer clips
    every = cost.get("docs_with_token_counts") == cost.get("docs")
    total = _counted(cost.get("total_input_tokens"), cost.get("total_output_tokens")) if every else None
    tokens = total or _summed(clips)
    alone = len(_tasks(document)) == 1 if document else False
    seconds = _number(_mapping(document.get("throughput")).get("total_elapsed_time")) if alone else None
    higher = _mapping(_mapping(document.get("higher_is_better")).get(task))
    versions, packages = _mapping(document.get("versions")), _mapping(document.get("packages"))
    model = str(config.get("model") or "")
    return Run(
        task=_clean(task),
        results=file,
        samples=samples if lines is not None else None,
        model=_clean(model),
        model_args=_clean(_arguments(config, loso)),
        backend=_backend(backend_text),
        generation=_clean(str(config.get("gen_kwargs") or "")),
        shots=whole_number(_mapping(document.get("n-shot")).get(task)) or 0,
        instruction=_text_or_none(document.get("system_instruction_sha")),
        versions={
            # the commit that lmms-eval names is that of whatever repository its environment lies in
            "lmms_eval": _text_or_none(packages.get("lmms_eval")) or _text_or_none(versions.get("lmms-eval")),
            "mellm_plugin": _text_or_none(metadata.get("package")) or _text_or_none(versions.get("mellm-plugin")),
        },
        metadata=metadata,
        date=_date(document.get("date"), where, reading) if document else _stamp(samples.name),
        original=original,
        effective=effective,
        limited=bool(
            (limit is not None and (original is None or effective is None or effective < original))
            or bool(whole_number(offset))
            or (original is not None and effective is not None and effective < original and loso is None)
        ),
        asks=lines.asks if lines is not None else None,
        labels=lines.labels if lines is not None else None,
        units=lines.units if lines is not None else None,
        clips=tuple(sorted(clips, key=lambda clip: clip.place)),
        metrics=tuple(metrics),
        values=values,
        ends=_ends(found.get("ci95_stderr")),
        higher_is_better={str(metric): one for metric, one in higher.items() if isinstance(one, bool)},
        drawn=shown.get("motion", "robust") if shown.get("images") == "map" else None,
        loso=loso,
        tokens=tokens,
        seconds=seconds,
        damaged=damaged,
    )


def _arguments(config: Mapping[str, Any], loso: Mapping[str, Any] | None) -> str:
    if loso is None:
        given = config.get("model_args")
        if isinstance(given, dict):
            return ",".join(f"{key}={value}" for key, value in given.items())
        return given if isinstance(given, str) else json.dumps(given) if given else ""
    base = _mapping(config.get("finetune")).get("base")
    return f"base={base}, {len(_list(loso.get('folds')))} folds" if base else f"{len(_list(loso.get('folds')))} folds"


def _of_folds(folder: Path, task: str, reading: Reading) -> tuple[Mapping[str, Any], str]:
    """What the folds' results files say of the task and the model, which that of all folds leaves out."""
    said: dict[str, tuple[Mapping[str, Any], str]] = {}
    for file in sorted(folder.glob(f"folds/*/{_LOSO}")):
        document = _document(file, reading)
        if document is None:
            continue
        known = _mapping(_mapping(document.get("configs")).get(f"{task}{ENDING}"))
        backend = str(_mapping(document.get("config")).get("model_backend") or "")
        plain = _backend(backend)
        key = json.dumps([known.get("metadata"), plain.get("motion")], sort_keys=True, default=str)
        motion = json.dumps({"motion": plain["motion"]}) if "motion" in plain else "{}"
        said.setdefault(key, (known, f"{backend.partition(' ')[0] or 'mellm'} {motion}"))
    if len(said) > 1:
        reading.faults.append(
            Fault(str(folder), f"expected folds of one version of task and model, found {len(said)}: the first counts")
        )
    return next(iter(said.values()), ({}, ""))


def _backend(text: str) -> dict[str, Any]:
    """What a model says of itself behind the name of its class; empty where it says nothing."""
    match = _BACKEND.fullmatch(text)
    if match is None:
        return {}
    try:
        found = json.loads(match[2])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _date(given: object, where: str, reading: Reading) -> datetime | None:
    """A date of lmms-eval or of `mellm loso`, in UTC."""
    try:
        if isinstance(given, str) and "T" in given:
            return datetime.fromisoformat(given).astimezone(timezone.utc)
        if isinstance(given, str) and (stamp := _stamp(given)) is not None:
            return stamp
        raise ValueError("neither YYYYMMDD_HHMMSS nor an ISO date")
    except (ValueError, OverflowError) as error:
        if given is not None:
            reading.faults.append(Fault(where, f"date: {error}, found {_short(given)}"))
        return None


def _stamp(text: str) -> datetime | None:
    match = re.match(r"\d{8}_\d{6}", text)
    if match is None:
        return None
    try:
        return datetime.strptime(match[0], "%Y%m%d_%H%M%S").replace(tzinfo=_SINGAPORE).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _ends(given: object) -> dict[str, tuple[float, float] | None]:
    found: dict[str, tuple[float, float] | None] = {}
    for metric, ends in _mapping(given).items():
        numbers = [_number(end) for end in ends] if isinstance(ends, list) else []
        low, high = numbers if len(numbers) == 2 else (None, None)
        found[metric] = None if low is None or high is None else (low, high)
    return found


def _summed(clips: Sequence[Clip]) -> tuple[int | None, int | None] | None:
    """The tokens of all clips; None where some are not known."""
    if not clips or any(clip.tokens is None for clip in clips):
        return None
    sides = zip(*(clip.tokens for clip in clips if clip.tokens is not None), strict=True)
    given, answered = (None if None in side else sum(n for n in side if n is not None) for side in sides)
    return given, answered


# ---- samples files --------------------------------------------------------------------------------------------------


@dataclass
class _Lines:
    """What the lines of a samples file hold together."""

    clips: list[Clip] = field(default_factory=list)
    metrics: dict[str, None] = field(default_factory=dict)
    asks: str | None = None
    labels: tuple[str, ...] | None = None
    units: tuple[int, ...] | None = None
    keys: set[tuple[str, ...]] = field(default_factory=set)
    protocol: tuple[Any, Any, Any] = (None, None, None)
    damaged: int = 0
    foreign: int = 0


class _Pool:
    """Equal texts and tuples, kept once."""

    def __init__(self) -> None:
        self._kept: dict[Any, Any] = {}

    def __call__(self, value: Any) -> Any:
        """The value, or an equal one that came before; of hashable ones."""
        return self._kept.setdefault((type(value), value), value)


class _Bad(ValueError):
    """What is wrong with a line."""


_TOLD = 5
"""Faulty lines of one file that are told one by one."""


def _lines(
    file: Path, task: str, pool: _Pool, reading: Reading, progress: Callable[[int], None] | None = None
) -> _Lines:
    """Read a samples file, line by line."""
    lines = _Lines()
    faults: list[str] = []
    seen: dict[int, str] = {}
    try:
        with file.open("rb") as source:
            for number, raw in enumerate(source, 1):
                if progress is not None:
                    progress(len(raw))
                if not raw.strip():
                    continue
                try:
                    clip = _clip(_object(raw), number, lines, pool)
                except _Bad as bad:
                    lines.damaged += 1
                    faults.append(f"line {number}: {bad}")
                    continue
                if clip is None:
                    lines.foreign += 1
                elif clip.place not in seen:
                    seen[clip.place] = clip.text
                    lines.clips.append(clip)
                else:
                    lines.damaged += 1
                    same = "the same" if seen[clip.place] == clip.text else "another"
                    faults.append(f"line {number}: clip {clip.id} has an answer already; this is {same}, and left out")
    except OSError as error:
        faults.append(f"cannot be read: {error}")
    if lines.clips and lines.foreign:
        lines.damaged += lines.foreign
        faults.append(f"{lines.foreign} lines are of another task than {task}")
    more = [f"{len(faults) - _TOLD} more lines like these"] if len(faults) > _TOLD else []
    reading.faults += [Fault(str(file), fault) for fault in (*faults[:_TOLD], *more)]
    return lines


def _object(raw: bytes) -> dict[str, Any]:
    try:
        row = _loads(raw)
    except (ValueError, RecursionError) as error:
        whole = "" if raw.endswith(b"\n") else "; the file ends in the middle of it"
        raise _Bad(f"expected JSON in UTF-8, found {_short(raw.decode('utf-8', 'replace'))} ({error}){whole}") from None
    if not isinstance(row, dict):
        raise _Bad(f"expected an object, found {_short(row)}")
    return row


def _clip(row: Mapping[str, Any], number: int, lines: _Lines, pool: _Pool) -> Clip | None:
    """What is kept of a line; None of one of another task.

    Raises:
        _Bad: it cannot be used.
    """
    sign = next((name for name in _SIGNS if isinstance(row.get(name), dict)), None)
    if sign is None:
        if any(name in row for name in _SIGNS):
            raise _Bad("expected an object for what was read of the clip, found something else")
        return None
    item = row[sign]
    place = row.get("doc_id", number - 1)
    if not isinstance(place, int) or isinstance(place, bool):
        raise _Bad(f"doc_id: expected a whole number, found {_short(place)}")
    id_, text = pool(_string(item, "id")), pool(as_given(_answer(row), item))
    clip: dict[str, Any] = {
        "place": place,
        "id": id_,
        "subject": pool(_string(item, "subject")),
        "dataset": pool(_clean(str(item.get("dataset") or id_.partition("/")[0]))),
        "text": text,
        "unanswered": pool(unanswered(text)),
        "tokens": _tokens(row.get("token_counts")),
    }
    if sign == "parse_rate":
        clip |= _meu(item, lines, pool)
        clip |= _description(row, pool)
    elif sign == "vqa_parse_rate":
        clip |= _question(row, item, pool)
    if isinstance(row.get("threshold_px"), dict):
        clip["ladder"] = _ladder(row["threshold_px"], pool)
    if isinstance(plausible := row.get("motion_plausible_rate"), dict):
        clip["doubts"] = pool(_texts(plausible, "doubts"))
        clip["motion_px"] = _number(plausible.get("motion_px"))
    if (keys := tuple(row)) not in lines.keys:
        lines.keys.add(keys)
        lines.metrics |= dict.fromkeys(
            metric for metric, of in row.items() if isinstance(of, dict) and not _ERROR.search(metric)
        )
    return Clip(**clip)


def _meu(item: Mapping[str, Any], lines: _Lines, pool: _Pool) -> dict[str, Any]:
    """What was annotated and read, of an item of `parse_rate`."""
    gold, read = item.get("gold"), item.get("read")
    if not isinstance(gold, dict) or not isinstance(read, dict):
        raise _Bad("parse_rate: expected gold and read, found none")
    asks = item.get("asks", "all")
    protocol = asks, item.get("labels"), item.get("scored_aus")
    if protocol != lines.protocol:
        labels, units = pool(_texts(item, "labels")), pool(_integers(item, "scored_aus") or ())
        if asks not in ("all", "emotion", "aus"):
            raise _Bad(f"asks: expected all, emotion or aus, found {_short(asks)}")
        if lines.labels is not None:
            raise _Bad("asks for other labels or units than the lines before it")
        lines.asks, lines.labels, lines.units, lines.protocol = asks, labels, units, protocol
    codes = None if gold.get("aus") is None else _texts(gold, "aus")
    if strange := [code for code in codes or () if not _is_code(code)]:
        raise _Bad(f"gold: expected canonical codes of units, found {_short(strange[0])}")
    return {
        "codes": pool(codes),
        "label": pool(_optional(gold, "label")),
        "coarse": pool(_optional(gold, "coarse")),
        "read_units": pool(_integers(read, "aus")),
        "read_label": pool(_optional(read, "label")),
        "read_coarse": pool(_optional(read, "coarse")),
        "unparsed": pool(_optional(read, "unparsed")),
        "sides": _sides(read.get("sides"), pool),
    }


def _sides(given: object, pool: _Pool) -> Mapping[str, str] | None:
    if given is None:
        return None
    if not isinstance(given, dict) or not all(isinstance(side, str) for side in given.values()):
        raise _Bad(f"sides: expected a side for each unit, found {_short(given)}")
    return {pool(unit): pool(_clean(side)) for unit, side in given.items()}


def _description(row: Mapping[str, Any], pool: _Pool) -> dict[str, Any]:
    """The facts of a description, and what a judge said of it."""
    found: dict[str, Any] = {}
    if isinstance(item := row.get("description_facts_f1"), dict):
        counts = tuple(item.get(name) for name in _FACTS)
        whole = [count for count in counts if count is not None]
        needed = [item.get(name) for name in ("claims", "contradicting", "decided")]
        if None in needed or not all(whole_number(count) is not None for count in whole):
            raise _Bad(f"description_facts_f1: expected counts, found {_short(counts)}")
        found["facts"] = pool(counts)
    if isinstance(item := row.get("description_score"), dict):
        points, unscored = item.get("points"), item.get("unscored")
        if points is not None and (_number(points) is None or not 0 <= points <= 100):
            raise _Bad(f"description_score: expected points of 0 to 100, found {_short(points)}")
        if unscored is not None and not (isinstance(unscored, dict) and isinstance(unscored.get("kind"), str)):
            raise _Bad(f"description_score: unscored: expected a kind, found {_short(unscored)}")
        if (points is None) == (unscored is None):
            raise _Bad("description_score: expected either points or a reason why there are none")
        found["verdict"] = {
            "points": points,
            "unscored": None
            if unscored is None
            else {"kind": _clean(unscored["kind"]), "detail": _clean(str(unscored.get("detail") or ""))},
            "judge": pool(_clean(str(item.get("judge") or "not named"))),
            "rubric": pool(_clean(str(item.get("rubric") or "not named"))),
            "scores": {
                _clean(str(name)): number
                for name, value in _mapping(item.get("scores")).items()
                if (number := _number(value)) is not None
            },
            "reasons": {_clean(str(name)): _clean(str(why)) for name, why in _mapping(item.get("reasons")).items()},
        }
    return found


_THINGS: dict[str, Callable[[object], bool]] = {
    "coarse": lambda value: isinstance(value, str),
    "fine": lambda value: isinstance(value, str),
    "side": lambda value: isinstance(value, str),
    "shown": lambda value: isinstance(value, bool),
    "units": lambda value: isinstance(value, list) and all(whole_number(unit) is not None for unit in value),
}


def _question(row: Mapping[str, Any], item: Mapping[str, Any], pool: _Pool) -> dict[str, Any]:
    """What was expected and read, of an item of `vqa_parse_rate`."""

    def reading(name: str) -> dict[str, Any]:
        of = item.get(name)
        if not isinstance(of, dict) or not all(
            thing in _THINGS and (value is None or _THINGS[thing](value)) for thing, value in of.items()
        ):
            raise _Bad(f"{name}: expected what is read in an answer, found {_short(of)}")
        return {
            pool(thing): pool(tuple(value)) if isinstance(value, list) else pool(value) for thing, value in of.items()
        }

    texts = None
    if isinstance(text := row.get("vqa_rouge1_f1"), dict):
        texts = _string(text, "gold"), _string(text, "read")
    expected = None if item.get("gold") is None else reading("gold")
    return {"kind": pool(_string(item, "kind")), "expected": expected, "said": reading("read"), "texts": texts}


def _ladder(item: Mapping[str, Any], pool: _Pool) -> dict[str, Any]:
    """An item of `scoring.sensitivity`."""
    found: dict[str, Any] = {name: pool(_string(item, name)) for name in ("id", "subject")}
    level, named, others = _number(item.get("level_px")), item.get("named"), item.get("others")
    counts = [item.get("unit"), item.get("other_units"), *([] if others is None else [others])]
    if (
        level is None
        or level < 0
        or not isinstance(named, bool | None)
        or any(whole_number(one) is None for one in counts)
    ):
        raise _Bad(f"threshold_px: expected unit, level_px, named, others and other_units, found {_short(dict(item))}")
    if (named is None) != (others is None):
        raise _Bad("threshold_px: expected named and others both, or neither")
    return {**found, "unit": item["unit"], "level_px": level, "named": named, "others": others} | {
        "other_units": item["other_units"]
    }


def _answer(row: Mapping[str, Any]) -> str:
    found: list[object] = []
    for key in ("filtered_resps", "resps"):
        value = row.get(key, [])
        while isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, str):
            return _clean(value)
        found.append(value)
    if None in found:  # a server's message without text
        return ""
    raise _Bad("expected the answer in filtered_resps, found none")


def _tokens(given: object) -> tuple[int | None, int | None] | None:
    counts = given[0] if isinstance(given, list) and given else None
    if not isinstance(counts, dict):
        return None
    return _counted(counts.get("input_tokens"), counts.get("output_tokens"))


def _counted(given: object, answered: object) -> tuple[int | None, int | None] | None:
    """Tokens given and answered; None where neither is known. No answer comes from no tokens: 0 is not known, too."""
    counts = whole_number(given) or None, whole_number(answered) or None
    return None if counts == (None, None) else counts


# ---- values ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _is_code(code: str) -> bool:
    try:
        parse_canonical(code)
    except CodeError:
        return False
    return True


def _string(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise _Bad(f"{key}: expected a text, found {_short(value)}")
    return _clean(value)


def _optional(item: Mapping[str, Any], key: str) -> str | None:
    return None if item.get(key) is None else _string(item, key)


def _texts(item: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = item.get(key)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _Bad(f"{key}: expected a list of texts, found {_short(values)}")
    return tuple(map(_clean, values))


def _integers(item: Mapping[str, Any], key: str) -> tuple[int, ...] | None:
    values = item.get(key)
    if values is None:
        return None
    if not isinstance(values, list) or not all(whole_number(value) is not None for value in values):
        raise _Bad(f"{key}: expected a list of numbers of units, found {_short(values)}")
    return tuple(values)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e300 and math.isfinite(value) else None


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def whole_number(value: object) -> int | None:
    """A whole number, at least 0, which JSON may have with a decimal point."""
    number = _number(value)
    return int(number) if number is not None and number >= 0 and number == int(number) else None


def _text_or_none(value: object) -> str | None:
    return _clean(value) if isinstance(value, str) and value else None


def _clean(text: str) -> str:
    """The text, without what no file in UTF-8 can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text[:200].split())
    return text if len(text) <= 60 else f"{text[:59]}…"
