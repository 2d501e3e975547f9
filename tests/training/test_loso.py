"""Leave one subject out: the real commands over three fictitious people, and the scores of their answers."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fictitious
import numpy as np
import psutil
import pytest
from filelock import FileLock
from PIL import Image

from mellm_plugin import cli, meu
from mellm_plugin.errors import InputError, TrainingError
from mellm_plugin.models.record import read_record, write_record
from mellm_plugin.scoring.held_out import Asked, Task
from mellm_plugin.training import loso as module
from mellm_plugin.training.config import Config, Stage, Train, read
from mellm_plugin.training.data import Source
from mellm_plugin.training.finetune import finetune
from mellm_plugin.training.folds import DONE, RESULTS, SAMPLES, TABLE, Fold, fold_folder, make_folds
from mellm_plugin.training.loso import (
    Folds,
    _wait_for,
    check_people,
    check_unseen,
    environment_of,
    fold_samples,
    keep_plan,
    loso,
)
from mellm_plugin.training.pooled import pool

STAGE = Stage("labels", (Source("casme2", forms={"label": 1.0}),), Train(language="full"), {"language": 1e-4}, steps=2)
CONFIG = Config("bundled", "unused", (STAGE,))
LABELS = ("disgust", "happiness", "surprise")
GIVEN = {
    "sub01": [("disgust", "disgust")] * 5 + [("happiness", "disgust"), ("surprise", "surprise")],
    "sub02": [("happiness", "happiness")],
    "sub03": [("surprise", "disgust"), ("disgust", "no idea")],
}
"""Label and answer of each clip of each person."""


def sample(subject: str, number: int, label: str, answer: str) -> dict[str, Any]:
    """The line that lmms-eval writes for one answer to a task of ours."""
    frame = Image.fromarray(np.random.default_rng(number).integers(0, 255, (48, 48), np.uint8))
    doc = {
        "id": f"casme2/{subject}/{number}",
        "dataset": "casme2",
        "subject": subject,
        "onset": frame,
        "apex": frame,
        "aus": None,
        "emotion": label,
        "coarse": None,
        "labels": list(LABELS),
        "scored_aus": [],
        "asks": "emotion",
    }
    return json.loads(json.dumps({"doc_id": number, **meu.process_results(doc, [answer])}, default=str))


@pytest.fixture(scope="module")
def samples() -> dict[str, list[dict[str, Any]]]:
    return {
        subject: [sample(subject, number, *of) for number, of in enumerate(given)] for subject, given in GIVEN.items()
    }


@pytest.fixture
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """The task of these clips."""
    file = tmp_path_factory.mktemp("task") / "toy.yaml"
    file.write_text("task: toy\n")
    asked = [Asked(f"casme2/{s}/{n}", "casme2", s) for s, given in GIVEN.items() for n in range(len(given))]
    names = {one["metric"]: one["aggregation"] for one in getattr(meu, "metrics(emotion)")}
    return Task("toy", file, tuple(asked), names)


@pytest.fixture
def folds(task: Task) -> tuple[Fold, ...]:
    return make_folds([(one.dataset, one.subject) for one in task.asked])


def labels(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    records = [sample["record"] for sample in samples]
    return [{"gold": record["gold"]["label"], "read": record["read"]["label"]} for record in records]


def finish(out: Path, fold: Fold, task: Task, of: Sequence[dict[str, Any]]) -> None:
    """Write the files of a finished fold; lmms-eval's samples are in the order of its ranks."""
    folder = fold_folder(out, fold)
    folder.mkdir(parents=True)
    (folder / "all.jsonl").write_text("".join(json.dumps(one) + "\n" for one in reversed(of)))
    taken = fold_samples(fold, task, folder / "all.jsonl")
    (folder / SAMPLES).write_text("".join(json.dumps(one) + "\n" for one in taken))
    (folder / DONE).write_text(json.dumps({"samples": len(of), "adapter": "5d1", "stages": [], "seconds": 1.0}))


def test_answers_are_scored_once_over_all_people(
    task: Task, folds: tuple[Fold, ...], samples: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    for fold, of in zip(folds, samples.values(), strict=True):
        finish(tmp_path, fold, task, of)
    found = pool(CONFIG, task, tmp_path, folds, {})
    items = labels([one for of in samples.values() for one in of])
    scores = found["results"]["toy"]
    assert scores["emotion_uf1,none"] == meu.emotion_uf1(items)
    assert scores["emotion_acc,none"] == pytest.approx(7 / 10)
    low, high = scores["scores_stderr,none"]["emotion_uf1"]["ci95"]
    assert low <= scores["emotion_uf1,none"] <= high
    assert found["loso"]["complete"] and found["n-samples"]["toy"] == {"original": 10, "effective": 10}
    assert json.loads((tmp_path / RESULTS).read_text())["results"] == json.loads(json.dumps(found["results"]))
    table = (tmp_path / TABLE).read_text()
    assert "casme2: 10 clips of 3 subjects" in table and "INCOMPLETE" not in table
    predictions = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [(one["id"], one["record"]["id"]) for one in predictions] == [(one.id, one.id) for one in task.asked]
    assert {one["fold"] for one in predictions} == {fold.name for fold in folds}


def test_failed_folds_leave_no_scores_unless_asked_for(
    task: Task, folds: tuple[Fold, ...], samples: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    for fold, of in zip(folds[:2], samples.values(), strict=False):
        finish(tmp_path, fold, task, of)
    (tmp_path / RESULTS).write_text("of an earlier run")
    failed = {folds[2].name: "train ended with 1: the disk is full"}
    with pytest.raises(TrainingError, match=r"1 of 3 folds.*\n.*3-casme2-sub03: train ended with 1: the disk is full"):
        pool(CONFIG, task, tmp_path, folds, failed)
    with pytest.raises(TrainingError, match="3 of 3 folds"):
        pool(CONFIG, task, tmp_path / "none", folds, {fold.name: "no" for fold in folds}, allow_incomplete=True)
    assert not (tmp_path / RESULTS).exists()
    found = pool(CONFIG, task, tmp_path, folds, failed, allow_incomplete=True)
    assert found["loso"]["complete"] is False and found["loso"]["failed"] == failed
    assert found["n-samples"]["toy"] == {"original": 10, "effective": 8}
    assert "INCOMPLETE: without the people of 1 failed folds (3-casme2-sub03)" in (tmp_path / TABLE).read_text()


def test_each_question_needs_one_answer(task: Task, folds: tuple[Fold, ...], samples: Any, tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    for of in (samples["sub01"][:-1], [*samples["sub01"], samples["sub01"][0]]):
        file.write_text("".join(json.dumps(one) + "\n" for one in of))
        with pytest.raises(TrainingError, match=f"each of the 7 questions on fold 1-casme2-sub01, found {len(of)}"):
            fold_samples(folds[0], task, file)


def test_an_adapter_that_has_seen_the_people_of_its_fold_is_refused(folds: tuple[Fold, ...]) -> None:
    record: dict[str, Any] = {"seen": {"casme2": {"subjects": ["sub02"]}}, "validation": {"casme2": ["sub03"]}}
    check_unseen(folds[0], record)
    for fold, subject in ((folds[1], "sub02"), (folds[2], "sub03")):
        with pytest.raises(TrainingError, match=f"has seen casme2/{subject}, who should have been left out"):
            check_unseen(fold, record)


def test_people_must_be_those_of_the_config(task: Task) -> None:
    check_people(CONFIG, task, {"casme2": ("sub01",)})
    mixed = Task("mixed", task.file, (*task.asked, Asked("s", "samm", "006"), Asked("d", "synthme", "s00")), {})
    with pytest.raises(InputError) as caught:
        check_people(CONFIG, mixed, {"casme2": ("sub01",), "samm": ("007",), "synthme": ("s00",)})
    assert [fault.split(" asks about ")[1][:20] for fault in caught.value.faults] == [
        "1 people of samm, bu",
        "1 people of synthme,",
    ]
    assert caught.value.faults[0].endswith("or add samm to the config")
    assert caught.value.faults[1].endswith("or choose a task about real people")


def test_a_base_that_knows_them_is_refused(task: Task, tmp_path: Path) -> None:
    record: dict[str, Any] = {key: {} for key in ("versions", "base", "prompts", "motion", "config", "stages")}
    record |= {"seen": {"casme2": {"sha256": {}, "subjects": ["sub02"]}}, "validation": {"casme2": ["sub09"]}}
    write_record(tmp_path, record)
    config = Config(str(tmp_path), "unused", CONFIG.stages, adapter=str(tmp_path))
    with pytest.raises(InputError, match=r"2 faults(.|\n)*base: .* 1 of the people .*casme2/sub02(.|\n)*adapter: "):
        check_people(config, task, {"casme2": ("sub01",)})


def test_finished_folds_are_not_run_again(
    task: Task, folds: tuple[Fold, ...], samples: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    for fold, of in zip(folds, samples.values(), strict=True):
        finish(tmp_path, fold, task, of)
    before = sorted((file, file.stat().st_mtime_ns) for file in tmp_path.rglob("*"))
    said: list[str] = []
    assert Folds(CONFIG, task, tmp_path, {"casme2": tuple(GIVEN)}).run(folds, 2, (), said.append) == {}
    assert said == ["3 folds are done already"]
    assert sorted((file, file.stat().st_mtime_ns) for file in tmp_path.rglob("*")) == before


def test_a_fold_that_fails_stops_no_other(
    task: Task, folds: tuple[Fold, ...], samples: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    finish(tmp_path, folds[0], task, samples["sub01"])
    for fold in folds[1:]:  # a file where the fold's folder should be
        fold_folder(tmp_path, fold).write_text("")
    said: list[str] = []
    failed = Folds(CONFIG, task, tmp_path, {"casme2": tuple(GIVEN)}).run(folds, 1, ("cpu",), said.append)
    assert failed.keys() == {fold.name for fold in folds[1:]}
    assert len(said) == 3 and all("FAILED" in line for line in said[1:])


def test_folds_of_another_plan_are_not_resumed(
    task: Task, folds: tuple[Fold, ...], toy: Path, prepare_toy: Callable[..., None], tmp_path: Path
) -> None:
    prepare_toy(toy, "casme2")
    keep_plan(tmp_path, CONFIG, task, folds)
    faster = replace(CONFIG.trainer, workers=4, save_every=7)
    keep_plan(tmp_path, replace(CONFIG, output="elsewhere", logging="none", trainer=faster), task, folds)
    keep_plan(tmp_path, CONFIG, task, folds, "answer=head")  # what baselines alone left open
    with pytest.raises(TrainingError, match=r"these differ: model_args \(answer=head there, none now\)"):
        keep_plan(tmp_path, CONFIG, task, folds, "")
    more = Task("other", task.file, (*task.asked, Asked("casme2/sub01/99", "casme2", "sub01")), {})
    with pytest.raises(
        TrainingError, match=r"these differ: task \(toy there, other now\), clips, config \(seed\), folds"
    ):
        keep_plan(tmp_path, replace(CONFIG, seed=1), more, folds[:2])


def test_people_that_the_base_has_seen_stay_in_the_record(
    given: Callable[..., dict[str, Any]], base: Path, tmp_path: Path
) -> None:
    trained = tmp_path / "trained"
    shutil.copytree(base, trained)
    record: dict[str, Any] = {key: {} for key in ("versions", "base", "prompts", "motion", "config", "stages")}
    seen = {"casme2": {"sha256": {}, "subjects": ["sub02"]}, "toy": {"sha256": {}, "subjects": ["s9"]}}
    write_record(trained, {**record, "motion": "off", "seen": seen, "validation": {"samm": ["006"]}})
    made = finetune(read({**given(steps=1), "base": str(trained)}), progress=False)
    assert made["seen"]["casme2"]["subjects"] == ["sub02"] and "s9" in made["seen"]["toy"]["subjects"]
    assert len(made["seen"]["toy"]["subjects"]) == 4 and made["seen"]["toy"]["sha256"]
    assert made["validation"]["samm"] == ["006"] and len(made["validation"]["toy"]) == 1


def test_all_faults_of_options_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        loso(CONFIG, "toy", tmp_path / "a,b", jobs=0, devices=["cuda:97", "gpu"], batch_size=0, answer="head")
    text = str(caught.value)
    assert (
        "6 faults" in text and "--answer head: expected heads" in text and "--jobs" in text and "--batch-size" in text
    )
    assert "'cuda:97'" in text and "'gpu'" in text and "a,b" in text


def test_a_fold_sees_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert environment_of("cuda:1", 1)["CUDA_VISIBLE_DEVICES"] == "1"
    alone = environment_of("cpu", 1)
    assert (alone["CUDA_VISIBLE_DEVICES"], alone["ACCELERATE_USE_CPU"]) == ("", "true")
    assert "CUDA_VISIBLE_DEVICES" not in environment_of(None, 2)
    assert environment_of(None, 3)["OMP_NUM_THREADS"] == "2" and "OMP_NUM_THREADS" not in environment_of(None, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert environment_of("cuda:1", 1)["CUDA_VISIBLE_DEVICES"] == "7"


class Killer(threading.Thread):
    """Kills each training that this process has started, as soon as it has a checkpoint."""

    def __init__(self, out: Path) -> None:
        super().__init__(daemon=True)
        self._out = out
        self.killed: set[int] = set()

    def run(self) -> None:
        deadline = time.monotonic() + 300
        while len(self.killed) < 2 and time.monotonic() < deadline:
            for process in psutil.Process().children():
                try:
                    command = process.cmdline()
                except psutil.Error:  # it has ended meanwhile
                    continue
                here = [Path(word).parent for word in command if word.startswith(str(self._out))]
                if "finetune" in command and here and list(here[0].glob("adapter/run/*/checkpoint-*")):
                    process.send_signal(signal.SIGKILL)
                    self.killed.add(process.pid)
            time.sleep(0.01)


@pytest.mark.slow
def test_people_are_left_out_by_the_real_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two groups of three people; both trainings are killed, resumed, and evaluated."""
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made = fictitious.casme2(tmp_path / "raw", 6, draw="noise", frames=6, size=(112, 112))
    assert cli.main(["prepare", "casme2", *made.arguments]) == 0
    config = tmp_path / "labels.yaml"
    config.write_text(
        "base: bundled\noutput: unused\nlogging: none\ntrainer: {save_every: 2}\nvalidation: {share: 0}\nstages:\n"
        "  - {name: labels, data: [{dataset: casme2, forms: {label: 1}}], steps: 30, learning_rate: 1.0e-4,\n"
        "     train: {language: lora}, lora: {rank: 2, alpha: 4}, heads: {label: 1, keep: true}}\n"
    )
    out = tmp_path / "loso"
    command = ["loso", str(config), "--task", "casme2_emotion", "-o", str(out), "--folds", "2", "--jobs", "2"]
    command += ["--decide", "likelihood", "--answer", "both"]

    killer = Killer(out)
    killer.start()
    assert cli.main(command) == 1
    assert len(killer.killed) == 2 and not (out / RESULTS).exists()
    assert "2 of 2 folds failed" in (told := capsys.readouterr().err) and "killed by signal 9" in told

    assert cli.main(command) == 0, capsys.readouterr()
    told = capsys.readouterr().out
    assert "casme2_emotion, leave-one-subject-out, 2 folds" in told
    assert "trained - flow" in told and "trained - tokens" in told
    found = json.loads((out / RESULTS).read_text())
    assert found["loso"]["complete"] and found["n-samples"]["casme2_emotion"] == {"original": 6, "effective": 6}
    folders = sorted((out / "folds").iterdir())
    people = [{p for of in fold["people"].values() for p in of} for fold in found["loso"]["folds"]]
    assert sorted(p for of in people for p in of) == ["sub02", "sub04", "sub05"]
    for folder, held in zip(folders, people, strict=True):
        record = read_record(folder / "adapter")
        assert set(record["seen"]["casme2"]["subjects"]) == {"sub02", "sub04", "sub05"} - held
        lines = [json.loads(line) for line in (folder / "adapter" / "curve.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == list(range(1, 31))
        asked = [json.loads(line)["record"]["subject"] for line in (folder / SAMPLES).read_text().splitlines()]
        assert set(asked) == held
        backend = json.loads((folder / RESULTS).read_text())["config"]["model_backend"]
        known = json.loads(backend[backend.index("{") : backend.rindex("}") + 1])
        met = known["training"]["tasks"]["casme2_emotion_held_out"]
        assert met["clips"] == len(asked) and met["seen"] == met["validation"] == {"clips": 0, "subjects": 0}
    predictions = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    for name in ("flow", "tokens"):
        beside = (out / "baselines" / name / "predictions.jsonl").read_text().splitlines()
        assert [json.loads(line)["fold"] for line in beside] == [one["fold"] for one in predictions]
        assert found["beside"]["emotion_uf1"]["scores"][name]["value"] is not None
    assert found["results"]["casme2_emotion"]["emotion_uf1,none"] == meu.emotion_uf1(labels(predictions))
    assert all(one["record"]["probabilities"].keys() == {*one["record"]["labels"]} for one in predictions)
    assert found["results"]["casme2_emotion"]["scores_stderr,none"]["emotion_ece"]["value"] is not None
    assert found["results"]["casme2_emotion"]["scores_stderr,none"]["heads_emotion_uf1"]["value"] is not None
    assert found["config"]["model_args"] == "decide=likelihood,answer=both"


def test_a_training_that_outlived_its_command_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    lock = FileLock(tmp_path / "adapter" / ".lock")
    lock.acquire()
    waiting = threading.Thread(target=_wait_for, args=(tmp_path / "adapter",))
    waiting.start()
    waiting.join(1)
    assert waiting.is_alive()
    lock.release()
    waiting.join(60)
    assert not waiting.is_alive()


def test_a_baseline_that_fails_does_not_cost_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str, *given: Any, **named: Any) -> Any:
        if name == "tokens":
            raise RuntimeError("out of memory")
        return [{"doc_id": 0}]

    monkeypatch.setattr(module, "run_baseline", fails)
    said: list[str] = []
    given: Any = (CONFIG, None, tmp_path, [], {}, ("tokens", "flow"))
    assert module._baselines(*given, True, (), said.append) == {"flow": [{"doc_id": 0}]}
    assert said == ["baseline tokens FAILED: RuntimeError('out of memory')"]
    with pytest.raises(RuntimeError, match="out of memory"):
        module._baselines(*given, False, (), said.append)


def test_what_is_wrong_with_the_training_of_a_fold_is_told(
    task: Task, folds: tuple[Fold, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = {
        "samples": 7,
        "seconds": 3.2,
        "stages": [{"name": "labels", "faults": ["all get one label"]}, {"name": "b"}],
    }
    monkeypatch.setattr(Folds, "_one", lambda *_: done)
    said: list[str] = []
    assert Folds(CONFIG, task, tmp_path, {}).run(folds[:1], 1, (), said.append) == {}
    assert said == [f"fold {folds[0].name}: 7 clips, 3 s", "  WARNING: all get one label"]
