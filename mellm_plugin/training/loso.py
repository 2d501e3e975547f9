"""Leave one subject out: one adapter for each person, trained on all others and asked about that person alone.

    DIR/plan.json                         what the folds are of: another config, task or data is refused
    DIR/folds/03-casme2-sub03/            one fold: its config, its task, train.log, evaluate.log
                              adapter/    as `mellm finetune` makes it
                              samples.jsonl, done.json   its answers; done.json comes last, such a fold is not run again
    DIR/predictions.jsonl                 the answers about all people, in the order of the task's data
    DIR/results.json, table.txt           their scores, computed once over all of them

A fold is two commands, `mellm finetune` and `lmms-eval`, so what it does can be done by hand. Scores of folds are never
averaged: most people have few clips, and the mean of their F1 is no F1 (docs/metrics.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from mellm_plugin.errors import InputError, MellmError, ModelError, TrainingError
from mellm_plugin.models.loading import ADAPTER_WEIGHTS, carried_record
from mellm_plugin.models.record import ends_sum, read_record
from mellm_plugin.models.seen import Seen, person
from mellm_plugin.models.seen import people as people_of
from mellm_plugin.scoring import held_out, summary
from mellm_plugin.training import stages
from mellm_plugin.training.adapter import versions
from mellm_plugin.training.clips import DRAWN
from mellm_plugin.training.config import Config
from mellm_plugin.training.data import subjects
from mellm_plugin.training.folds import Fold, fold_config, make_folds

_PLAN, _DONE, _SAMPLES = "plan.json", "done.json", "samples.jsonl"
_TOLD = 3  # last lines of a log


def loso(
    config: Config,
    task: str,
    out: Path,
    *,
    folds: int | None = None,
    jobs: int = 1,
    devices: Sequence[str] = (),
    allow_incomplete: bool = False,
    include_path: str | None = None,
    batch_size: int = 1,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train and evaluate all folds that are not done, and score their answers together.

    Args:
        config: of all folds; its `output` is not used.
        task: one of lmms-eval, whose clips say of which dataset and subject they are.
        out: folder of everything; gone on with if it is there.
        folds: groups of people; None: one fold for each person.
        jobs: folds that run at once, on each device.
        devices: `cuda:0`, `cpu`; none: what the commands choose by themselves.
        allow_incomplete: score what there is, marked as incomplete, where folds have failed.
        include_path: a folder of further task files.
        batch_size: of the evaluations.
        tell: gets a line for each fold.

    Returns:
        what `results.json` holds.

    Raises:
        InputError: the config, the task or the options cannot be used, or do not fit; all faults at once.
        TrainingError: folds have failed, named with their reasons; or the folder is of something else.
    """
    out = out.expanduser().absolute()
    _check_options(out, jobs, devices, batch_size)
    known = held_out.open_task(task, include_path)
    every = subjects([source for stage in config.stages for source in stage.data])
    _check_people(config, known, every)
    planned = make_folds([(one.dataset, one.subject) for one in known.asked], folds, config.seed)
    _check_folds(config, planned, every)
    with _locked(out):
        _keep_plan(out, config, known, planned)
        tell(f"{task}: {len(known.asked)} clips, {len(planned)} folds")
        run = _Run(config, known, out, every, include_path, batch_size)
        failed = run.all(planned, jobs, devices, tell)
        return _pool(run, planned, failed, allow_incomplete, tell)


# ---- what is refused ------------------------------------------------------------------------------------------------


def _check_options(out: Path, jobs: int, devices: Sequence[str], batch_size: int) -> None:
    faults = [
        f"{option}: expected at least 1, found {value}"
        for option, value in (("--jobs", jobs), ("--batch-size", batch_size))
        if value < 1
    ]
    there = torch.cuda.device_count()
    for device in devices:
        kind, _, number = device.partition(":")
        if device != "cpu" and (kind != "cuda" or not number.isdecimal() or int(number) >= there):
            known = ", ".join(["cpu", *(f"cuda:{n}" for n in range(there))])
            faults.append(f"--devices: expected one of {known}, found {device!r}")
    if any(mark in str(out) for mark in ",={}[]\"'"):
        faults.append(f"-o: lmms-eval cannot take a folder with , = or brackets in its name: {out}; choose another")
    if faults:
        raise InputError(faults, where="loso")


def _check_people(config: Config, task: held_out.Task, every: Mapping[str, Sequence[str]]) -> None:
    """Refuse a task whose people are not those of the config, and a base that knows them already."""
    faults: list[str] = []
    trained = people_of({name: of for name, of in every.items() if name != DRAWN})
    for dataset in dict.fromkeys(one.dataset for one in task.asked):
        of = {person(dataset, one.subject) for one in task.asked if one.dataset == dataset}
        if dataset == DRAWN or not of & trained:
            faults.append(
                f"{task.name} asks about {len(of)} people of {dataset}, none of whom the config trains on: there is "
                f"nobody to leave out. Its data are of {', '.join(every)}; train once, by mellm finetune, or name "
                f"{dataset} in it"
            )
    asked = {person(one.dataset, one.subject) for one in task.asked}
    for name, folder in (("base", config.base), ("adapter", config.adapter)):
        record = carried_record(folder, config.revision if name == "base" else None) if folder else None
        if record is not None and (met := (found := Seen.of([record])).trained & asked | found.validated & asked):
            faults.append(
                f"{name}: {folder} was itself trained on {len(met)} of the people that {task.name} asks about "
                f"({', '.join(sorted(met)[:3])}, ..), so none of them would be left out; start from another"
            )
    if faults:
        raise InputError(faults, where="loso")


def _check_folds(config: Config, folds: Sequence[Fold], every: Mapping[str, Sequence[str]]) -> None:
    """Refuse folds that leave nobody to train on, before the first is trained."""
    faults: list[str] = []
    for fold in folds:
        try:
            stages.split(fold_config(config, fold, every, Path(config.output)))
        except InputError as error:
            faults += [f"fold {fold.name}: {fault}" for fault in error.faults]
    if faults:
        raise InputError(faults, where="loso")


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    lock = FileLock(out / ".lock")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise TrainingError(f"{out}: another mellm loso works in this folder; wait for it, or give another") from None
    except OSError as error:
        raise TrainingError(f"{out} cannot be written: {error}; choose another folder") from error
    try:
        yield
    finally:
        lock.release()


def _keep_plan(out: Path, config: Config, task: held_out.Task, folds: Sequence[Fold]) -> None:
    """Refuse to go on with the folds of something else."""
    plain = config.to_dict()
    own: dict[str, Any] = {
        "task": task.name,
        "clips": hashlib.sha256(json.dumps([one.id for one in task.asked]).encode()).hexdigest(),
        "data": stages.fingerprint([source for stage in config.stages for source in stage.data]),
        "config": {key: value for key, value in plain.items() if key not in ("output", "logging")},
        "folds": {fold.name: {name: list(of) for name, of in fold.people.items()} for fold in folds},
    }
    own = json.loads(json.dumps(own))
    file = out / _PLAN
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        if differ := [key for key in own if before.get(key) != own[key]]:
            keys = [key for key in own["config"] if own["config"][key] != before.get("config", {}).get(key)]
            told = [f"config ({', '.join(keys)})" if key == "config" else key for key in differ]
            raise TrainingError(
                f"{out} holds folds of something else; these differ: {', '.join(told)}. Give the same again to go on "
                "with them, or another folder"
            )
        return
    _write(file, json.dumps(own, indent=1, ensure_ascii=False) + "\n")


# ---- the folds ------------------------------------------------------------------------------------------------------


class _Run:
    """What all folds share, and the processes that are at work for them."""

    def __init__(
        self,
        config: Config,
        task: held_out.Task,
        out: Path,
        every: Mapping[str, Sequence[str]],
        include_path: str | None,
        batch_size: int,
    ) -> None:
        self.config, self.task, self.out, self.every = config, task, out, every
        self._include_path, self._batch_size = include_path, batch_size
        self._at_work: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def folder(self, fold: Fold) -> Path:
        return self.out / "folds" / fold.name

    def done(self, fold: Fold) -> dict[str, Any] | None:
        """What a finished fold says of itself."""
        file = self.folder(fold) / _DONE
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def all(
        self, folds: Sequence[Fold], jobs: int, devices: Sequence[str], tell: Callable[[str], None]
    ) -> dict[str, str]:
        """Run the folds that are not done; returns the reasons of those that failed, by name."""
        waiting = [fold for fold in folds if self.done(fold) is None]
        if len(waiting) < len(folds):
            tell(f"{len(folds) - len(waiting)} folds are done already")
        slots: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        places = [device for device in (devices or (None,)) for _ in range(jobs)]
        for place in places:
            slots.put(place)
        failed: dict[str, str] = {}
        with ThreadPoolExecutor(len(places)) as pool:
            futures = {pool.submit(self._one, fold, slots, len(places)): fold for fold in waiting}
            try:
                for future in as_completed(futures):
                    fold = futures[future]
                    try:
                        done = future.result()
                        tell(f"fold {fold.name}: {done['samples']} clips, {done['seconds']:.0f} s")
                    except Exception as error:  # of whatever kind: a failed fold stops no other
                        failed[fold.name] = str(error) if isinstance(error, MellmError | OSError) else repr(error)
                        tell(f"fold {fold.name} FAILED: {failed[fold.name]}")
            except BaseException:  # interrupted: nothing is left running
                self._stop()
                pool.shutdown(cancel_futures=True)
                raise
        return failed

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._at_work:
                process.terminate()

    def _one(self, fold: Fold, slots: queue.SimpleQueue[str | None], at_once: int) -> dict[str, Any]:
        device = slots.get()
        try:
            return self._run(fold, _environment(device, at_once))
        finally:
            slots.put(device)

    def _run(self, fold: Fold, environment: dict[str, str]) -> dict[str, Any]:
        began = monotonic()
        folder = self.folder(fold)
        (folder / "task").mkdir(parents=True, exist_ok=True)
        trained = folder / "adapter"
        config = fold_config(self.config, fold, self.every, trained)
        text = yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)
        _write(folder / "config.yaml", f"# mellm finetune {folder / 'config.yaml'}\n{text}")
        self._command(["-m", "mellm_plugin.cli", "finetune", str(folder / "config.yaml")], folder / "train.log", environment)
        try:
            record = read_record(trained)
        except ModelError as error:
            raise TrainingError(
                f"the training ended and made no adapter: {error}; see {folder / 'train.log'}"
            ) from None
        self._check_unseen(fold, record)

        name = held_out.write_task(folder / "task", self.task, fold.people)
        results = folder / "results"
        shutil.rmtree(results, ignore_errors=True)
        argument = "pretrained" if self.config.full else "adapter"
        # lmms-eval takes one folder of tasks, so a user's own are reached by the file that the task includes.
        command = ["-m", "lmms_eval", "--model", "mellm", "--model_args", f"{argument}={trained}", "--tasks", name]
        command += ["--include_path", str(folder / "task"), "--batch_size", str(self._batch_size)]
        command += ["--output_path", str(results), "--log_samples"]
        self._command(command, folder / "evaluate.log", environment)
        samples = self._samples(fold, results, name)
        _write(folder / _SAMPLES, "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples))
        shutil.rmtree(results, ignore_errors=True)
        done = {
            "samples": len(samples),
            "adapter": _weights_sum(trained),
            "stages": record["stages"],
            "seconds": round(monotonic() - began, 1),
        }
        _write(folder / _DONE, json.dumps(done, indent=1) + "\n")
        return done

    def _check_unseen(self, fold: Fold, record: Mapping[str, Any]) -> None:
        """Whatever came before: who is asked about must not have been shown."""
        known = Seen.of([record])
        if met := people_of(fold.people) & (known.trained | known.validated):
            raise TrainingError(
                f"the adapter of fold {fold.name} says that it has seen {', '.join(sorted(met))}, who should have been "
                f"left out; its answers about them are not taken. Remove {self.folder(fold)} and run it again"
            )

    def _command(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Run one of Python's modules to its end, with all that it prints in a file."""
        with log.open("wb") as file:
            with self._lock:
                if self._stopped:
                    raise TrainingError("not run, for the others were interrupted")
                process = subprocess.Popen(
                    [sys.executable, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                )
                self._at_work.add(process)
            try:
                code = process.wait()
            finally:
                with self._lock:
                    self._at_work.discard(process)
        if code:
            ended = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
            raise TrainingError(f"{log.stem} {ended}: {_last_words(log)} ({log})")

    def _samples(self, fold: Fold, results: Path, name: str) -> list[dict[str, Any]]:
        """The samples of a fold, each with its place among all that the task asks.

        They are checked here, for lmms-eval ends with 0 whatever has happened.
        """
        log = results.parent / "evaluate.log"
        files = list(results.rglob(f"*_samples_{name}.jsonl"))
        if len(files) != 1:
            raise TrainingError(f"lmms-eval wrote no samples: {_last_words(log)} ({log})")
        found = [json.loads(line) for line in files[0].read_text(encoding="utf-8").splitlines()]
        places = self.task.of(fold.people)
        if sorted(sample["doc_id"] for sample in found) != list(range(len(places))):
            raise TrainingError(
                f"expected an answer to each of {len(places)} questions, found {len(found)} ({files[0]}); "
                f"remove {self.folder(fold)} and run it again"
            )
        for sample in found:
            place = places[sample["doc_id"]]
            sample |= {"doc_id": place, "id": self.task.asked[place].id, "fold": fold.name}
        return sorted(found, key=lambda sample: int(sample["doc_id"]))


def _environment(device: str | None, at_once: int) -> dict[str, str]:
    """That of the commands of one fold, which see one device."""
    given = dict(os.environ)
    if at_once > 1:
        given.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // at_once)))
    if device == "cpu":
        given |= {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    elif device is not None:
        number = device.partition(":")[2]
        visible = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        given["CUDA_VISIBLE_DEVICES"] = visible[int(number)] if visible else number
    return given


def _weights_sum(folder: Path) -> str:
    """What tells an adapter from another: the sha256 of its weights; of a whole model, of the ends of its files."""
    file = folder / ADAPTER_WEIGHTS
    if file.is_file():
        return hashlib.sha256(file.read_bytes()).hexdigest()
    sums = [ends_sum(path) for path in sorted(folder.glob("*.safetensors"))]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def _last_words(log: Path) -> str:
    """The end of what a command printed."""
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    said = [line.strip() for line in lines if line.strip()]
    told = next((n for n in range(len(said) - 1, -1, -1) if said[n].startswith("mellm: ")), None)
    return " / ".join(said[told:] if told is not None else said[-_TOLD:]) or "it printed nothing"


def _write(file: Path, text: str) -> None:
    """Write a file in one step."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


# ---- the scores -----------------------------------------------------------------------------------------------------


def _pool(
    run: _Run, folds: Sequence[Fold], failed: Mapping[str, str], allow_incomplete: bool, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Score the answers of all folds together, and write them down."""
    done = {fold.name: known for fold in folds if (known := run.done(fold)) is not None}
    samples = [
        json.loads(line)
        for fold in folds
        if fold.name in done
        for line in (run.folder(fold) / _SAMPLES).read_text(encoding="utf-8").splitlines()
    ]
    samples.sort(key=lambda sample: int(sample["doc_id"]))
    for old in ("results.json", "table.txt"):
        (run.out / old).unlink(missing_ok=True)
    _write(run.out / "predictions.jsonl", "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in samples))
    if failed and not (allow_incomplete and samples):
        told = "".join(f"\n  - {name}: {reason}" for name, reason in failed.items())
        raise TrainingError(
            f"{len(failed)} of {len(folds)} folds have failed, so there are no scores:{told}\nMend what it says and "
            "give the same command again: the others are kept. Or give --allow-incomplete, for scores without these "
            "people"
        )
    scores = run.task.scores(samples)
    found = {
        "results": {run.task.name: {"alias": run.task.name, **scores}},
        "n-samples": {run.task.name: {"original": len(run.task.asked), "effective": len(samples)}},
        "config": {"model": "mellm", "model_args": "", "config": run.config.to_dict()},
        "loso": {
            "complete": not failed,
            "failed": dict(failed),
            "folds": [
                {"name": fold.name, "people": {n: list(of) for n, of in fold.people.items()}, **done[fold.name]}
                for fold in folds
                if fold.name in done
            ],
        },
        "versions": versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    table = table_of(run.task.name, samples, scores, len(folds), failed)
    _write(run.out / "table.txt", table + "\n")
    _write(run.out / "results.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    tell(f"\n{table}\n\n{run.out / 'results.json'}")
    return found


def table_of(
    task: str,
    samples: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any],
    folds: int,
    failed: Mapping[str, str],
) -> str:
    """The scores in words, with their intervals over people where the task has them."""
    told = [f"{task}, leave-one-subject-out, {folds} folds, all answers scored together"]
    if failed:
        told.append(f"INCOMPLETE: without the people of {len(failed)} failed folds ({', '.join(failed)})")
    clips = [sample["ci95_stderr"] for sample in samples if "ci95_stderr" in sample]
    if clips and all("parse_rate" in clip for clip in clips):
        told.append(summary.in_words(clips))
    else:
        numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
        told += [f"{name.removesuffix(',none')}  {value:.3f}" for name, value in numbers.items()]
    return "\n".join(told)
