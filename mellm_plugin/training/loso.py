"""Leave one subject out: train one adapter per person on all others, and evaluate it on that person.

    DIR/plan.json                         config, task and data of the folds; a run with others is refused
    DIR/folds/03-casme2-sub03/            one fold: config, task, logs, adapter/, samples.jsonl, results.json
                              done.json   comes last; marks the fold as finished
    DIR/predictions.jsonl                 the answers for all people, in the order of the task's data
    DIR/results.json, table.txt           their scores, computed once over all answers
    DIR/baselines/flow/, tokens/          the same of linear classifiers under the same folds (baselines.py)

A fold is two commands, `mellm finetune` and `lmms-eval`, which also run by hand. Scores of folds are never averaged:
most people have few clips, and a mean of F1 scores is not an F1 score (docs/metrics.md).
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from time import monotonic
from typing import Any

import torch
import yaml

from mellm_plugin import children
from mellm_plugin.errors import InputError, MellmError, ModelError, TrainingError, near
from mellm_plugin.locks import ProcessLock, sole_writer
from mellm_plugin.models.arguments import contradictions
from mellm_plugin.models.loading import carried_record, weights_sum
from mellm_plugin.models.record import read_record
from mellm_plugin.models.seen import Seen, person
from mellm_plugin.models.seen import people as people_of
from mellm_plugin.scoring import held_out
from mellm_plugin.small_files import write_text
from mellm_plugin.training import stages
from mellm_plugin.training.baselines import BASELINES
from mellm_plugin.training.baselines import run as run_baseline
from mellm_plugin.training.clips import DRAWN
from mellm_plugin.training.config import Config
from mellm_plugin.training.data import subjects
from mellm_plugin.training.folds import (
    DONE,
    RESULTS,
    SAMPLES,
    TABLE,
    Fold,
    done_fold,
    fold_config,
    fold_folder,
    make_folds,
)
from mellm_plugin.training.pooled import baselines_beside, in_words, json_lines, pool

_PLAN = "plan.json"
_LAST_LINES = 3  # of a log, for an error
_GRACE = 0.5  # seconds between terminating and killing a command


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
    decide: str = "generate",
    answer: str = "words",
    baselines: Sequence[str] = BASELINES,
    trained: bool = True,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train and evaluate all unfinished folds, and score their answers together, beside those of baselines.

    Args:
        config: of all folds; its `output` is ignored.
        task: a task of lmms-eval whose clips name their dataset and subject.
        out: output folder; an unfinished run in it is resumed.
        folds: number of groups of people; None: one fold per person.
        jobs: folds that run at once on each device: `cuda:0`, `cpu`; without devices, the commands choose.
        allow_incomplete: if folds fail, score the others and mark the result as incomplete.
        include_path: a folder with more task files.
        batch_size, decide, answer: arguments of the model in the evaluations.
        baselines: names of `baselines.BASELINES`, run first under the same folds.
        trained: if not, no adapter is trained: only the baselines are run, all of them, however long it takes.

    Returns:
        the content of `results.json`; of baselines alone their scores, under `beside`.

    Raises:
        InputError: config, task or options cannot be used or contradict; lists every fault.
        TrainingError: folds failed (lists the reasons), or the folder belongs to another run.
        BusyError: another process works in the folder.
    """
    out = out.expanduser().absolute()
    _check_options(out, jobs, devices, batch_size, baselines, trained, [*_contradictions(config, decide, answer)])
    arguments = {"decide": decide, "answer": answer}
    given = ",".join(f"{name}={value}" for name, value in arguments.items() if value not in ("generate", "words"))
    known = held_out.open_task(task, include_path)
    every = subjects([source for stage in config.stages for source in stage.data])
    check_people(config, known, every, base=trained or "tokens" in baselines)
    planned = make_folds([(one.dataset, one.subject) for one in known.asked], folds, config.seed)
    if trained:
        _check_folds(config, planned, every)
    with sole_writer(out, folder=True):
        keep_plan(out, config, known, planned, given if trained else None)
        tell(f"{task}: {len(known.asked)} clips, {len(planned)} folds")
        beside = _baselines(config, known, out, planned, every, baselines, trained, devices, tell)
        if not trained:
            compared = baselines_beside(known, [], beside)
            tell(f"\n{in_words(compared)}\n{out / 'baselines'}")
            return {"beside": compared}
        failed = Folds(config, known, out, every, batch_size, given).run(planned, jobs, devices, tell)
        more: dict[str, Any] = {"allow_incomplete": allow_incomplete, "model_args": given, "beside": beside}
        found = pool(config, known, out, planned, failed, **more)
        tell(f"\n{(out / TABLE).read_text(encoding='utf-8')}\n{out / RESULTS}")
        return found


def _baselines(
    config: Config,
    task: held_out.Task,
    out: Path,
    folds: Sequence[Fold],
    every: Mapping[str, Sequence[str]],
    names: Sequence[str],
    trained: bool,
    devices: Sequence[str],
    tell: Callable[[str], None],
) -> dict[str, list[dict[str, Any]]]:
    """The samples of each baseline; one that fails beside a training is told, and does not stop it."""
    found: dict[str, list[dict[str, Any]]] = {}
    device = devices[0] if devices else None
    for name in names:
        try:
            samples = run_baseline(name, config, task, out, folds, every, device=device, asked=not trained, tell=tell)
        except Exception as error:  # of torch or scikit-learn, too
            if not trained:
                raise
            tell(f"baseline {name} FAILED: {str(error) if isinstance(error, MellmError | OSError) else repr(error)}")
            continue
        finally:
            _free_gpu()
        found |= {} if samples is None else {name: samples}
    return found


def _free_gpu() -> None:
    """Give the GPU memory of a baseline back, which the commands of the folds need."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _contradictions(config: Config, decide: str, answer: str) -> Iterator[str]:
    """Faults of how the trained models shall answer."""
    heads = config.stages[-1].heads
    if answer != "words" and not (heads and heads.keep):
        yield f"--answer {answer}: expected heads with keep: true in the last stage of the config, found none"
    yield from contradictions({"decide": decide, "answer": answer})


def _check_options(
    out: Path,
    jobs: int,
    devices: Sequence[str],
    batch_size: int,
    baselines: Sequence[str],
    trained: bool,
    faults: list[str],
) -> None:
    """Raise an InputError with these faults and those of the other options."""
    counts = {"--jobs": jobs, "--batch-size": batch_size}
    faults += [f"{option}: expected at least 1, found {n}" for option, n in counts.items() if n < 1]
    known = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
    faults += [f"--devices: expected one of {', '.join(known)}, found {d!r}" for d in devices if d not in known]
    option = "--beside" if trained else "--baseline"
    faults += [
        f"{option}: expected {' or '.join(BASELINES)}, found {one!r}.{near(one, BASELINES)}"
        for one in baselines
        if one not in BASELINES
    ]
    if not trained and not baselines:
        faults.append(f"--baseline: expected {' or '.join(BASELINES)}, found none")
    if any(mark in str(out) for mark in ",={}[]\"'"):
        faults.append(f"-o: lmms-eval cannot handle a folder name with , = or brackets: {out}; choose another")
    if faults:
        raise InputError(faults, where="loso")


def check_people(config: Config, task: held_out.Task, every: Mapping[str, Sequence[str]], *, base: bool = True) -> None:
    """Refuse, with an InputError, a task about other people than the config trains on, and a `base` that knows them."""
    faults: list[str] = []
    trained = people_of({name: of for name, of in every.items() if name != DRAWN})
    people: dict[str, set[str]] = {}
    for one in task.asked:
        people.setdefault(one.dataset, set()).add(person(one.dataset, one.subject))
    faults += [
        f"{task.name} asks about {len(of)} people of {dataset}, but the config trains on none of them, so "
        f"there is nobody to leave out. The config trains on {', '.join(every)}; train once with mellm finetune, or "
        + ("choose a task about real people" if dataset == DRAWN else f"add {dataset} to the config")
        for dataset, of in people.items()
        if dataset == DRAWN or not of & trained
    ]
    asked = set().union(*people.values())
    for name, folder in (("base", config.base), ("adapter", config.adapter)) if base else ():
        record = carried_record(folder, config.revision if name == "base" else None) if folder else None
        if record is not None and (met := (found := Seen.of([record])).trained & asked | found.validated & asked):
            faults.append(
                f"{name}: {folder} was trained on {len(met)} of the people that {task.name} asks about "
                f"({', '.join(sorted(met)[:3])}, ..), so they would not be left out; start from another model"
            )
    if faults:
        raise InputError(faults, where="loso")


def _check_folds(config: Config, folds: Sequence[Fold], every: Mapping[str, Sequence[str]]) -> None:
    """Refuse folds that leave too few people to train on, before the first one trains."""
    faults: list[str] = []
    for fold in folds:
        try:
            own = fold_config(config, fold, every, Path(config.output))
            stages.check(own, stages.split(own))
        except InputError as error:
            faults += [f"fold {fold.name}: {fault}" for fault in error.faults]
    if faults:
        raise InputError(faults, where="loso")


def keep_plan(
    out: Path, config: Config, task: held_out.Task, folds: Sequence[Fold], model_args: str | None = None
) -> None:
    """Write the plan of the folds, or refuse, with a TrainingError, to resume a run with another plan.

    `model_args` are those of the evaluations; None: baselines alone, for which they mean nothing.
    """
    plain = config.to_dict()
    for free in ("workers", "save_every"):  # they may change, as in a single training
        plain["trainer"].pop(free, None)
    own: dict[str, Any] = {
        "task": task.name,
        "task_file": hashlib.sha256(task.file.read_bytes()).hexdigest(),
        "clips": hashlib.sha256(json.dumps([one.id for one in task.asked]).encode()).hexdigest(),
        "data": stages.fingerprint([source for stage in config.stages for source in stage.data]),
        "config": {key: value for key, value in plain.items() if key not in ("output", "logging")},
        "folds": {fold.name: fold.people for fold in folds},
    } | ({} if model_args is None else {"model_args": model_args})
    own = json.loads(json.dumps(own))
    file = out / _PLAN
    before: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else own
    # a run of baselines alone has not decided how trained models answer
    if differ := [key for key in own if before.get(key, own[key] if key == "model_args" else None) != own[key]]:
        keys = [key for key in own["config"] if own["config"][key] != before.get("config", {}).get(key)]
        words = {
            key: f"{key} ({before.get(key) or 'none'} there, {own.get(key) or 'none'} now)"
            for key in ("task", "model_args")
        }
        words["task_file"] = "the content of the task file"
        words["config"] = f"config ({', '.join(keys)})"
        changed = [words.get(key, key) for key in differ]
        raise TrainingError(
            f"{out} holds folds of another run; these differ: {', '.join(changed)}. Use the same settings to "
            "resume it, or another folder"
        )
    write_text(file, json.dumps({**before, **own}, indent=1, ensure_ascii=False) + "\n")


class Folds:
    """Runs the folds."""

    def __init__(
        self,
        config: Config,
        task: held_out.Task,
        out: Path,
        every: Mapping[str, Sequence[str]],
        batch_size: int = 1,
        model_args: str = "",
    ) -> None:
        self.config, self.task, self.out, self.every, self._batch_size = config, task, out, every, batch_size
        self._model_args = model_args
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(
        self, folds: Sequence[Fold], jobs: int, devices: Sequence[str], tell: Callable[[str], None]
    ) -> dict[str, str]:
        """Run the unfinished folds, with the arguments of `loso`; returns the reason of each failed fold by name."""
        waiting = [fold for fold in folds if done_fold(self.out, fold) is None]
        if len(waiting) < len(folds):
            tell(f"{len(folds) - len(waiting)} folds are done already")
        slots: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        at_once = jobs * max(1, len(devices))
        for device in devices or (None,):
            for _ in range(jobs):
                slots.put(device)
        failed: dict[str, str] = {}
        with ThreadPoolExecutor(at_once) as threads:
            futures = {threads.submit(self._one, fold, slots, at_once): fold for fold in waiting}
            try:
                for future in as_completed(futures):
                    fold = futures[future]
                    try:
                        done = future.result()
                        tell(f"fold {fold.name}: {done['samples']} clips, {done['seconds']:.0f} s")
                        for fault in (fault for stage in done["stages"] for fault in stage.get("faults", ())):
                            tell(f"  WARNING: {fault}")
                    except Exception as error:  # a failed fold must not stop the others
                        failed[fold.name] = str(error) if isinstance(error, MellmError | OSError) else repr(error)
                        tell(f"fold {fold.name} FAILED: {failed[fold.name]}")
            except BaseException:  # interrupted: leave nothing running
                self._stop()
                threads.shutdown(cancel_futures=True)
                raise
        return failed

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()
            deadline = monotonic() + _GRACE
            for process in self._running:
                try:
                    process.wait(max(0.0, deadline - monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()  # its checkpoints are complete

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
            raise TrainingError(f"the training ended without an adapter: {error}; see {folder / 'train.log'}") from None
        check_unseen(fold, record)

        name = held_out.write_task(folder / "task", self.task, fold.people)
        results = folder / "results"
        shutil.rmtree(results, ignore_errors=True)
        argument = "pretrained" if self.config.full else "adapter"
        # lmms-eval takes one folder of tasks; the fold's task includes the user's own file.
        given = ",".join(one for one in (f"{argument}={trained}", self._model_args) if one)
        command = ["lmms_eval", "--model", "mellm", "--model_args", given, "--tasks", name]
        command += ["--include_path", str(folder / "task"), "--batch_size", str(self._batch_size)]
        command += ["--output_path", str(results), "--log_samples"]
        self._command(command, folder / "evaluate.log", environment)
        files = [*results.rglob(f"*_samples_{name}.jsonl")], [*results.rglob("*_results.json")]
        if [len(of) for of in files] != [1, 1]:  # it exits with 0 after failures, too
            log = folder / "evaluate.log"
            raise TrainingError(f"lmms-eval wrote no samples or no results: {_last_words(log)} ({log})")
        samples = fold_samples(fold, self.task, files[0][0])
        write_text(folder / SAMPLES, json_lines(samples))
        files[1][0].replace(folder / RESULTS)
        shutil.rmtree(results, ignore_errors=True)
        done = {"samples": len(samples), "adapter": weights_sum(trained), "stages": record["stages"]}
        done["seconds"] = round(monotonic() - began, 1)
        write_text(folder / DONE, json.dumps(done, indent=1) + "\n")
        return done

    def _command(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        with log.open("wb") as file:
            with self._lock:
                if self._stopped:
                    raise TrainingError("not run, because the run was interrupted")
                process = children.start(arguments, stdout=file, stderr=subprocess.STDOUT, env=dict(environment))
                self._running.add(process)
            with process:
                code = process.wait()
            with self._lock:
                self._running.discard(process)
        if code:
            ended = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
            raise TrainingError(f"{log.stem} {ended}: {_last_words(log)} ({log})")


def _wait_for(trained: Path) -> None:
    """Wait for a training of this fold that was started by hand; its adapter is used."""
    trained.mkdir(parents=True, exist_ok=True)
    with ProcessLock(trained / ".lock"):
        pass


def check_unseen(fold: Fold, record: Mapping[str, Any]) -> None:
    """Refuse, with a TrainingError, an adapter whose record says that it has seen people of its fold."""
    known = Seen.of([record])
    if met := people_of(fold.people) & (known.trained | known.validated):
        raise TrainingError(
            f"the adapter of fold {fold.name} has seen {', '.join(sorted(met))}, who should have been "
            "left out, so its answers do not count. Delete the folder of the fold and run the command again"
        )


def fold_samples(fold: Fold, task: held_out.Task, file: Path) -> list[dict[str, Any]]:
    """The samples of a fold, each with its `doc_id` in the whole task, its clip's `id` and its `fold`.

    `file` holds lmms-eval's samples for the task of `held_out.write_task`.

    Raises:
        TrainingError: some question has no answer, or several.
    """
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    places = task.of(fold.people)
    if sorted(sample["doc_id"] for sample in found) != list(range(len(places))):
        raise TrainingError(
            f"expected an answer to each of the {len(places)} questions on fold {fold.name}, found {len(found)} "
            f"({file}); run the command again"
        )
    for sample in found:
        place = places[sample["doc_id"]]
        sample |= {"doc_id": place, "id": task.asked[place].id, "fold": fold.name}
    return sorted(found, key=lambda sample: int(sample["doc_id"]))


def environment_of(device: str | None, at_once: int) -> dict[str, str]:
    """The environment of a fold's commands, which share the processors with `at_once` folds and use one device.

    `device` is `cpu` or `cuda:1`, numbered as this process sees them; None: the commands choose.
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
    """The last message of a command."""
    text = log.read_text(encoding="utf-8", errors="replace").replace("]mellm: ", "]\nmellm: ")  # behind a progress bar
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    messages = [n for n, line in enumerate(lines) if line.startswith("mellm: ")] or [-_LAST_LINES]
    return " / ".join(lines[messages[-1] :]) or "it printed nothing"
