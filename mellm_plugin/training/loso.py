"""Leave one subject out: one adapter for each person, trained on all others and asked about that person alone.

    DIR/plan.json                         what the folds are of: another config, task or data is refused
    DIR/folds/03-casme2-sub03/            one fold: its config, its task, train.log, evaluate.log
                              adapter/    as `mellm finetune` makes it
                              samples.jsonl, results.json    its answers, and lmms-eval's scores of them alone
                              done.json                      comes last: such a fold is not run again
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
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import Any

import torch
import yaml

from mellm_plugin import children
from mellm_plugin.errors import InputError, MellmError, ModelError, TrainingError
from mellm_plugin.locks import ProcessLock, sole_writer
from mellm_plugin.models.loading import carried_record, weights_sum
from mellm_plugin.models.record import read_record
from mellm_plugin.models.seen import Seen, person
from mellm_plugin.models.seen import people as people_of
from mellm_plugin.scoring import held_out
from mellm_plugin.small_files import write_text
from mellm_plugin.training import stages
from mellm_plugin.training.adapter import versions
from mellm_plugin.training.clips import DRAWN
from mellm_plugin.training.config import Config
from mellm_plugin.training.data import subjects
from mellm_plugin.training.folds import Fold, fold_config, make_folds

DONE, SAMPLES, RESULTS, TABLE = "done.json", "samples.jsonl", "results.json", "table.txt"
_PLAN, _PREDICTIONS = "plan.json", "predictions.jsonl"
_TOLD = 3  # last lines of a log
_GRACE = 0.5  # seconds that the commands get to end by themselves


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
        BusyError: another process works in the folder.
    """
    out = out.expanduser().absolute()
    _check_options(out, jobs, devices, batch_size)
    known = held_out.open_task(task, include_path)
    every = subjects([source for stage in config.stages for source in stage.data])
    check_people(config, known, every)
    planned = make_folds([(one.dataset, one.subject) for one in known.asked], folds, config.seed)
    _check_folds(config, planned, every)
    with sole_writer(out, folder=True):
        keep_plan(out, config, known, planned)
        tell(f"{task}: {len(known.asked)} clips, {len(planned)} folds")
        failed = Folds(config, known, out, every, batch_size).run(planned, jobs, devices, tell)
        found = pool(config, known, out, planned, failed, allow_incomplete=allow_incomplete)
        tell(f"\n{(out / TABLE).read_text(encoding='utf-8')}\n{out / RESULTS}")
        return found


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


def check_people(config: Config, task: held_out.Task, every: Mapping[str, Sequence[str]]) -> None:
    """Refuse a task whose people are not those of the config, and a base that knows them already.

    Args:
        config: of all folds.
        task: that is to be asked.
        every: the subjects of the config's datasets.

    Raises:
        InputError: see above; all faults at once.
    """
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
    """Refuse folds that leave too little to train on, before the first is trained."""
    faults: list[str] = []
    for fold in folds:
        try:
            own = fold_config(config, fold, every, Path(config.output))
            stages.check(own, stages.split(own))
        except InputError as error:
            faults += [f"fold {fold.name}: {fault}" for fault in error.faults]
    if faults:
        raise InputError(faults, where="loso")


def keep_plan(out: Path, config: Config, task: held_out.Task, folds: Sequence[Fold]) -> None:
    """Write down what the folds are of, or refuse to go on with those of something else.

    Args:
        out: folder of everything.
        config: of all folds.
        task: that is asked.
        folds: all of them.

    Raises:
        TrainingError: the folder holds folds of something else.
    """
    plain = config.to_dict()
    for free in ("workers", "save_every"):  # as a fold's own training has it
        plain["trainer"].pop(free, None)
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
    write_text(file, json.dumps(own, indent=1, ensure_ascii=False) + "\n")


# ---- the folds ------------------------------------------------------------------------------------------------------


def fold_folder(out: Path, fold: Fold) -> Path:
    """Where a fold is."""
    return out / "folds" / fold.name


def done_fold(out: Path, fold: Fold) -> dict[str, Any] | None:
    """What a finished fold says of itself; None of one that is not finished."""
    file = fold_folder(out, fold) / DONE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


class Folds:
    """What all folds share, and the processes that are at work for them.

    Args:
        config: of all of them.
        task: that is asked.
        out: folder of everything.
        every: the subjects of the config's datasets.
        batch_size: of the evaluations.
    """

    def __init__(
        self,
        config: Config,
        task: held_out.Task,
        out: Path,
        every: Mapping[str, Sequence[str]],
        batch_size: int = 1,
    ) -> None:
        self.config, self.task, self.out, self.every, self._batch_size = config, task, out, every, batch_size
        self._at_work: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(
        self, folds: Sequence[Fold], jobs: int, devices: Sequence[str], tell: Callable[[str], None]
    ) -> dict[str, str]:
        """Run the folds that are not done.

        Args:
            folds: all of them.
            jobs: how many at once, on each device.
            devices: as for `loso`.
            tell: gets a line for each.

        Returns:
            the reasons of those that failed, by name.
        """
        waiting = [fold for fold in folds if done_fold(self.out, fold) is None]
        if len(waiting) < len(folds):
            tell(f"{len(folds) - len(waiting)} folds are done already")
        slots: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        places = [device for device in (devices or (None,)) for _ in range(jobs)]
        for place in places:
            slots.put(place)
        failed: dict[str, str] = {}
        with ThreadPoolExecutor(len(places)) as threads:
            futures = {threads.submit(self._one, fold, slots, len(places)): fold for fold in waiting}
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
                threads.shutdown(cancel_futures=True)
                raise
        return failed

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._at_work:
                process.terminate()
            deadline = monotonic() + _GRACE
            for process in self._at_work:
                try:
                    process.wait(max(0.0, deadline - monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()  # what it has saved is whole

    def _one(self, fold: Fold, slots: queue.SimpleQueue[str | None], at_once: int) -> dict[str, Any]:
        device = slots.get()
        try:
            return self._run(fold, environment_of(device, at_once))
        finally:
            slots.put(device)

    def _run(self, fold: Fold, environment: dict[str, str]) -> dict[str, Any]:
        began = monotonic()
        folder = fold_folder(self.out, fold)
        (folder / "task").mkdir(parents=True, exist_ok=True)
        trained = folder / "adapter"
        config = fold_config(self.config, fold, self.every, trained)
        text = yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)
        write_text(folder / "config.yaml", f"# mellm finetune {folder / 'config.yaml'}\n{text}")
        _wait_for(trained)
        command = ["mellm_plugin.cli", "finetune", str(folder / "config.yaml")]
        self._command(command, folder / "train.log", environment)
        try:
            record = read_record(trained)
        except ModelError as error:
            raise TrainingError(
                f"the training ended and made no adapter: {error}; see {folder / 'train.log'}"
            ) from None
        check_unseen(fold, record)

        name = held_out.write_task(folder / "task", self.task, fold.people)
        results = folder / "results"
        shutil.rmtree(results, ignore_errors=True)
        argument = "pretrained" if self.config.full else "adapter"
        # lmms-eval takes one folder of tasks, so a user's own are reached by the file that the task includes.
        command = ["lmms_eval", "--model", "mellm", "--model_args", f"{argument}={trained}", "--tasks", name]
        command += ["--include_path", str(folder / "task"), "--batch_size", str(self._batch_size)]
        command += ["--output_path", str(results), "--log_samples"]
        self._command(command, folder / "evaluate.log", environment)
        files = [*results.rglob(f"*_samples_{name}.jsonl")], [*results.rglob("*_results.json")]
        if [len(of) for of in files] != [1, 1]:  # it ends with 0 whatever has happened
            log = folder / "evaluate.log"
            raise TrainingError(f"lmms-eval wrote no samples or no results: {_last_words(log)} ({log})")
        samples = fold_samples(fold, self.task, files[0][0])
        write_text(folder / SAMPLES, _lines(samples))
        files[1][0].replace(folder / RESULTS)
        shutil.rmtree(results, ignore_errors=True)
        done = {
            "samples": len(samples),
            "adapter": weights_sum(trained),
            "stages": record["stages"],
            "seconds": round(monotonic() - began, 1),
        }
        write_text(folder / DONE, json.dumps(done, indent=1) + "\n")
        return done

    def _command(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Run one of Python's modules to its end, with all that it prints in a file."""
        with log.open("wb") as file:
            with self._lock:
                if self._stopped:
                    raise TrainingError("not run, for the others were interrupted")
                process = children.start(arguments, stdout=file, stderr=subprocess.STDOUT, env=dict(environment))
                self._at_work.add(process)
            with process:
                code = process.wait()
            with self._lock:
                self._at_work.discard(process)
        if code:
            ended = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
            raise TrainingError(f"{log.stem} {ended}: {_last_words(log)} ({log})")


def _wait_for(trained: Path) -> None:
    """Wait for a training of this fold that somebody began by hand: it makes what is wanted here."""
    trained.mkdir(parents=True, exist_ok=True)
    with ProcessLock(trained / ".lock"):
        pass


def check_unseen(fold: Fold, record: Mapping[str, Any]) -> None:
    """Refuse an adapter that was shown those whom it is to be asked about, whatever came before.

    Args:
        fold: whose people were to be left out.
        record: of its adapter, as `models/record.py` shows it.

    Raises:
        TrainingError: it says that it has seen some of them.
    """
    known = Seen.of([record])
    if met := people_of(fold.people) & (known.trained | known.validated):
        raise TrainingError(
            f"the adapter of fold {fold.name} says that it has seen {', '.join(sorted(met))}, who should have been "
            "left out; its answers about them are not taken. Remove the folder of the fold and give the command again"
        )


def fold_samples(fold: Fold, task: held_out.Task, file: Path) -> list[dict[str, Any]]:
    """The samples of a fold, each with its `doc_id` among all that the task asks, its clip's `id` and its `fold`.

    Args:
        fold: whose they are.
        task: the whole one.
        file: lmms-eval's samples of the task that `held_out.write_task` wrote for these people.

    Raises:
        TrainingError: they are not one answer to each question.
    """
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    places = task.of(fold.people)
    if sorted(sample["doc_id"] for sample in found) != list(range(len(places))):
        raise TrainingError(
            f"expected an answer to each of the {len(places)} questions on fold {fold.name}, found {len(found)} "
            f"({file}); give the command again"
        )
    for sample in found:
        place = places[sample["doc_id"]]
        sample |= {"doc_id": place, "id": task.asked[place].id, "fold": fold.name}
    return sorted(found, key=lambda sample: int(sample["doc_id"]))


def environment_of(device: str | None, at_once: int) -> dict[str, str]:
    """The environment of a fold's commands, which see one device.

    Args:
        device: `cpu`, `cuda:1` (of those that this process sees); None: what the commands choose.
        at_once: how many folds share the processors.
    """
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


def _last_words(log: Path) -> str:
    """The end of what a command printed."""
    text = log.read_text(encoding="utf-8", errors="replace").replace("]mellm: ", "]\nmellm: ")  # behind a progress bar
    said = [line.strip() for line in text.splitlines() if line.strip()]
    told = next((n for n in range(len(said) - 1, -1, -1) if said[n].startswith("mellm: ")), None)
    return " / ".join(said[told:] if told is not None else said[-_TOLD:]) or "it printed nothing"


# ---- the scores -----------------------------------------------------------------------------------------------------


def pool(
    config: Config,
    task: held_out.Task,
    out: Path,
    folds: Sequence[Fold],
    failed: Mapping[str, str],
    *,
    allow_incomplete: bool = False,
) -> dict[str, Any]:
    """Score the answers of all folds together, and write them, their scores and the table.

    Args:
        config: of all folds.
        task: that was asked.
        out: folder of everything.
        folds: all of them.
        failed: the reasons of those that failed, by name.
        allow_incomplete: score the others, marked as incomplete.

    Returns:
        what `results.json` holds: lmms-eval's layout, and of the folds under `loso`.

    Raises:
        TrainingError: folds have failed, and scores without them are not allowed, or there are none.
    """
    done = {fold.name: known for fold in folds if (known := done_fold(out, fold)) is not None}
    samples = [
        json.loads(line)
        for fold in folds
        if fold.name in done
        for line in (fold_folder(out, fold) / SAMPLES).read_text(encoding="utf-8").splitlines()
    ]
    samples.sort(key=lambda sample: int(sample["doc_id"]))
    for old in (_PREDICTIONS, RESULTS, TABLE):
        (out / old).unlink(missing_ok=True)
    if failed and not (allow_incomplete and samples):
        told = "".join(f"\n  - {name}: {reason}" for name, reason in failed.items())
        raise TrainingError(
            f"{len(failed)} of {len(folds)} folds have failed, so there are no scores:{told}\nMend what it says and "
            "give the same command again: the others are kept. Or give --allow-incomplete, for scores without these "
            "people"
        )
    scores = task.scores(samples)
    found = {
        "results": {task.name: {"alias": task.name, **scores}},
        "n-samples": {task.name: {"original": len(task.asked), "effective": len(samples)}},
        "config": {"model": "mellm", "model_args": "", "finetune": config.to_dict()},
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
    write_text(out / _PREDICTIONS, _lines(samples))
    write_text(out / TABLE, table_of(task, samples, scores, len(folds), failed) + "\n")
    write_text(out / RESULTS, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return found


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table_of(
    task: held_out.Task,
    samples: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any],
    folds: int,
    failed: Mapping[str, str],
) -> str:
    """The scores in words, with their intervals over people where the task has them."""
    told = [f"{task.name}, leave-one-subject-out, {folds} folds, all answers scored together"]
    if failed:
        told.append(f"INCOMPLETE: without the people of {len(failed)} failed folds ({', '.join(failed)})")
    if (table := task.in_words(samples)) is not None:
        told.append(table)
    else:
        numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
        told += [f"{name.removesuffix(',none')}  {value:.3f}" for name, value in numbers.items()]
    return "\n".join(told)
