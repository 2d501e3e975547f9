"""The results and samples files of lmms-eval -> the runs that a report compares.

    reading = read([Path("results")])
    reading.runs[0]  ->  Run(task="synthme_meu", model="mellm", values={"au_f1": .974, ..}, clips=(..))

`files` finds what belongs together, `samples` reads the answers, and this module the scores and the configuration.

All files are untrusted. What cannot be used is a fault that names its place, and the rest is kept.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from mellm_plugin.report import files, items
from mellm_plugin.report.files import LOSO, PREDICTIONS, RESULTS, SAMPLES, results_document, short
from mellm_plugin.report.runs import Clip, Reading, Run
from mellm_plugin.report.samples import SIGNS, Lines, Pool, counted, read_lines, whole_number
from mellm_plugin.scoring.held_out import ENDING

NESTED = "scores_stderr"
"""The entry of a results file with all scores, intervals and constants."""

_BACKEND = re.compile(r"([\w.]+) (\{.*\})(?: \(\w+\))?", re.DOTALL)
_STDERR = re.compile(r"_stderr(_\w+)?$")
_UNKNOWN: tuple[Any, ...] = (None, "N/A", [], " ")  # how lmms-eval writes a score that does not exist
_SINGAPORE = timezone(timedelta(hours=8))  # of lmms-eval, on any machine; no file records --timezone


def read(paths: Iterable[Path], progress: Callable[[int], None] | None = None) -> Reading:
    """Read all results and samples files below some files and folders (`files.find`).

    `progress` gets the number of bytes of each part that was read.
    """
    reading = Reading()
    pool = Pool()
    results, samples = files.find(paths, reading)
    reading.files = len(results) + len(samples)
    claimed: set[Path] = set()
    for file in results:
        document = results_document(file, reading)
        if progress is not None:
            progress(file.stat().st_size)
        if document is None:
            if file.name == LOSO:  # without it, not even the task of the answers beside it is known
                claimed.add(file.with_name(PREDICTIONS))
            continue
        for task in _tasks(document):
            if "/" in task or "\0" in task:
                reading.fault(file, f"expected the name of a task, found {short(task)}")
                continue
            if _is_fold(file, task, reading):
                continue
            name = f"{file.name.removesuffix(RESULTS)}{SAMPLES}{task}.jsonl"
            beside = file.with_name(name if document.get("loso") is None else PREDICTIONS)
            claimed.add(beside)
            if not any(f"{name},none" in document["results"][task] for name in (*SIGNS, NESTED)):
                reading.other_tasks[task] += 1
                continue
            lines = read_lines(beside, task, pool, reading, progress) if beside.is_file() else None
            reading.runs.append(_run(file, document, task, beside, lines, reading))
    for file in samples:
        task = file.stem.partition(SAMPLES)[2]
        if file in claimed or _is_fold(file, task, reading):
            continue
        lines = read_lines(file, task, pool, reading, progress)
        if lines.foreign and not lines.clips:
            reading.other_tasks[task] += 1
        elif lines.clips:
            reading.runs.append(_run(None, {}, task, file, lines, reading))
    return reading


def size(paths: Iterable[Path]) -> int:
    """The number of bytes whose progress `read` reports."""
    return sum(file.stat().st_size for found in files.find(paths, Reading()) for file in found)


def _is_fold(file: Path, task: str, reading: Reading) -> bool:
    if fold := task.endswith(ENDING):
        reading.notes.append(f"{file}: a fold of a leave-one-subject-out run; give the folder of all folds")
    return fold


def _tasks(document: Mapping[str, Any]) -> list[str]:
    """The tasks of a results file, without its groups."""
    groups = document.get("group_subtasks")
    within = {name for name, tasks in groups.items() if tasks} if isinstance(groups, dict) else set()
    return [name for name, scores in document["results"].items() if name not in within and isinstance(scores, dict)]


def _count(value: object) -> int:
    if (number := whole_number(value)) is None:
        raise ValueError(f"expected a whole number, found {short(value)}")
    return number


Count = Annotated[int, BeforeValidator(_count)]
Text = Annotated[str, Field(strict=True)]


class _Part(BaseModel):
    """A part of a results file. Any value may be missing or null."""

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, given: Any) -> Any:
        return {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else given


class _Task(_Part):
    metadata: dict[str, Any] = {}
    lmms_eval_specific_kwargs: dict[str, Any] = {}


class _Config(_Part):
    model: Text = ""
    model_args: Any = None
    model_backend: Text = ""
    gen_kwargs: Any = None
    limit: Any = None
    offset: Count = 0
    finetune: dict[str, Any] = {}


class _Document(_Part):
    configs: dict[str, _Task] = {}
    config: _Config = _Config()
    samples: Annotated[dict[str, dict[str, Count | None]], Field(alias="n-samples")] = {}
    shots: Annotated[dict[str, Any], Field(alias="n-shot")] = {}
    higher_is_better: dict[str, dict[str, Any] | None] = {}
    efficiency: dict[str, dict[str, Any]] = {}
    throughput: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    packages: dict[str, Any] = {}
    system_instruction_sha: Text | None = None
    date: Any = None
    loso: dict[str, Any] | None = None


def _checked(document: Mapping[str, Any], where: str, reading: Reading) -> _Document:
    """The parts of a results file that are used; a value of the wrong type is a fault and left out."""
    while True:
        try:
            return _Document.model_validate(document)
        except ValidationError as error:
            for fault in files.faults_of(error):
                reading.fault(where, fault)
            for one in error.errors(include_url=False):
                document = _without(document, one["loc"])


def _without(value: Any, path: Sequence[int | str]) -> Any:
    """The value without what a path leads to, or without the last step of the path that exists."""
    first, *rest = path
    if not isinstance(value, dict) or first not in value:
        return value
    inner = _without(value[first], rest) if rest else None
    kept = {key: one for key, one in value.items() if key != first}
    return {**kept, first: inner} if rest and inner != value[first] else kept


Ends = dict[str, tuple[float, float] | None]


def _scores(found: Mapping[str, Any], task: str, where: str, reading: Reading) -> tuple[dict[str, float | None], Ends]:
    """Value and 95 % interval of every metric of a task.

    The nested entry has all of them. Earlier versions wrote each as `METRIC,none`, and the intervals as `ci95_stderr`.
    """
    flat = {metric.removesuffix(",none"): value for metric, value in found.items() if metric.endswith(",none")}
    nested, intervals = flat.get(NESTED), flat.get("ci95_stderr")
    nested = {m: one for m, one in nested.items() if isinstance(one, dict)} if isinstance(nested, dict) else {}
    given = {metric: one.get("value") for metric, one in nested.items()}
    others = flat.keys() - given.keys() - {"alias", "record"}
    given |= {m: value for m, value in flat.items() if m in others and not _STDERR.search(m)}
    values = {metric: _number(value) for metric, value in given.items()}
    for metric, value in values.items():
        written = given[metric]
        if value is None and written not in _UNKNOWN and not (isinstance(written, float) and math.isnan(written)):
            reading.fault(where, f"{task}: {metric}: expected a number, found {short(written)}")
    ends = dict(intervals) if isinstance(intervals, dict) else {}
    ends |= {metric: one.get("ci95") for metric, one in nested.items()}
    return values, {metric: _ends(both) for metric, both in ends.items()}


def _ends(both: object) -> tuple[float, float] | None:
    low, high = map(_number, both) if isinstance(both, list) and len(both) == 2 else (None, None)
    return None if low is None or high is None else (low, high)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None
    return float(value)


def _run(
    file: Path | None, document: Mapping[str, Any], task: str, samples: Path, lines: Lines | None, reading: Reading
) -> Run:
    """A run, from a results file and the lines of its samples file; one of the two may be missing."""
    where = str(file or samples)
    said = _checked(document, where, reading)
    config, loso = said.config, said.loso or None
    known, backend = said.configs.get(task, _Task()), _backend(config.model_backend)
    if loso is not None and file is not None and task not in said.configs:  # a baseline has no results of folds
        known, backend = _of_folds(file.parent, task, reading)
    values, ends = _scores(document.get("results", {}).get(task, {}), task, where, reading)
    original, effective = (said.samples.get(task, {}).get(name) for name in ("original", "effective"))
    if original is not None and effective is not None and config.offset:
        effective = min(effective, max(0, original - config.offset))  # lmms-eval counts the clips it skipped, too
    asked = lines or Lines()
    clips = tuple(sorted(asked.clips, key=lambda clip: clip.place))
    if lines is not None and effective is not None and len(clips) + asked.damaged != effective:
        reading.fault(samples, f"expected {effective} clips, as {where} says, found {len(clips) + asked.damaged}")
    cost = said.efficiency.get("by_task", {}).get(task)
    cost = cost if isinstance(cost, dict) else {}
    # answers from lmms-eval's cache have no counts, and a sum without them would be that of fewer clips
    every = cost.get("docs_with_token_counts") == cost.get("docs")
    total = counted(cost.get("total_input_tokens"), cost.get("total_output_tokens")) if every else None
    alone = bool(document) and len(_tasks(document)) == 1
    fewer = original is not None and effective is not None and effective < original
    limited = config.limit is not None and (original is None or effective is None or fewer)
    higher = said.higher_is_better.get(task) or {}
    shown = known.lmms_eval_specific_kwargs
    run = Run(
        task=task.encode("utf-8", "replace").decode("utf-8"),
        results=file,
        samples=samples if lines is not None else None,
        model=config.model,
        model_args=_arguments(config, loso),
        backend=backend,
        generation=str(config.gen_kwargs or ""),
        shots=whole_number(said.shots.get(task)) or 0,
        instruction=said.system_instruction_sha or None,
        versions={
            # not `lmms_eval_version`, which names the commit of whatever repository holds the environment
            "lmms_eval": _text(said.packages.get("lmms_eval")) or _text(said.versions.get("lmms-eval")),
            "mellm_plugin": _text(known.metadata.get("package")) or _text(said.versions.get("mellm-plugin")),
        },
        metadata=known.metadata,
        date=_date(said.date, where, reading) if document else _stamp(samples.name),
        original=original,
        effective=effective,
        limited=limited or config.offset > 0 or (fewer and loso is None),
        asks=asked.protocol[0],
        labels=asked.protocol[1],
        units=asked.protocol[2],
        clips=clips,
        metrics=tuple(values) or tuple(asked.metrics),
        values=values,
        ends=ends,
        higher_is_better={name: one for name, one in higher.items() if isinstance(one, bool)},
        drawn=shown.get("motion", "robust") if shown.get("images") == "map" else None,
        loso=loso,
        tokens=total or _summed(clips),
        seconds=_number(said.throughput.get("total_elapsed_time")) if alone else None,
        damaged=asked.damaged,
    )
    metrics = run.metrics or items.scorable(run)
    if clips and "answer_rate" not in metrics:  # not in results of early versions; the clips tell
        metrics = (*metrics, "answer_rate")
    return run if metrics == run.metrics else replace(run, metrics=metrics)


_SECRET = re.compile(
    r"((?:^|,)\s*(?:[a-z_]*(?:api|access|auth|hf|secret)_?(?:key|token)|key|token|[a-z_]*(?:secret|password))\s*=)[^,]+",
    re.IGNORECASE,
)
"""A key among the model arguments, which some models of lmms-eval take."""


def _arguments(config: _Config, loso: Mapping[str, Any] | None) -> str:
    if loso is not None:
        base, folds = config.finetune.get("base"), loso.get("folds")
        return f"{f'base={base}, ' if base else ''}{len(folds) if isinstance(folds, list) else 0} folds"
    given = config.model_args
    if isinstance(given, dict):
        given = ",".join(f"{key}={value}" for key, value in given.items())
    return _SECRET.sub(r"\1[redacted]", given if isinstance(given, str) else json.dumps(given) if given else "")


def _of_folds(folder: Path, task: str, reading: Reading) -> tuple[_Task, dict[str, Any]]:
    """The configuration of the task, and motion of the model, which only the results files of the folds hold."""
    found: dict[str, tuple[_Task, dict[str, Any]]] = {}
    for file in sorted(folder.glob(f"folds/*/{LOSO}")):
        if (document := results_document(file, reading)) is not None:
            said = _checked(document, str(file), reading)
            known, backend = said.configs.get(f"{task}{ENDING}", _Task()), _backend(said.config.model_backend)
            key = json.dumps([known.metadata, backend.get("motion")], sort_keys=True, default=str)
            found.setdefault(key, (known, {name: backend[name] for name in ("motion",) if name in backend}))
    if len(found) > 1:
        text = f"expected folds of one version of task and model, found {len(found)}: the first counts"
        reading.fault(folder, text)
    return next(iter(found.values()), (_Task(), {}))


def _backend(text: str) -> dict[str, Any]:
    """What a model reports about itself, after the name of its class; may be empty."""
    match = _BACKEND.fullmatch(text)
    try:
        found = json.loads(match[2]) if match is not None else {}
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
            reading.fault(where, f"date: {error}, found {short(given)}")
        return None


def _stamp(text: str) -> datetime | None:
    match = re.match(r"\d{8}_\d{6}", text)
    try:
        date = datetime.strptime(match[0], "%Y%m%d_%H%M%S") if match is not None else None
        return None if date is None else date.replace(tzinfo=_SINGAPORE).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _summed(clips: Sequence[Clip]) -> tuple[int | None, int | None] | None:
    """The tokens of all clips; None if those of some are unknown."""
    known = [clip.tokens for clip in clips if clip.tokens is not None]
    if not clips or len(known) < len(clips):
        return None
    given, answered = (None if None in side else sum(filter(None, side)) for side in zip(*known, strict=True))
    return given, answered


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
