"""Baselines under the folds of a leave-one-subject-out run: the answers of scikit-learn alone, and rows of a report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline

from mellm_plugin import meu
from mellm_plugin.datasets import store, synthme
from mellm_plugin.datasets.sample import Sample, features
from mellm_plugin.errors import InputError
from mellm_plugin.meu.protocols import protocol
from mellm_plugin.models.flow_vectors import of_dataset
from mellm_plugin.models.linear import STRENGTHS, Linear, scaler
from mellm_plugin.report import results
from mellm_plugin.report.leaderboard import make
from mellm_plugin.scoring.held_out import Asked, Task
from mellm_plugin.training import baselines
from mellm_plugin.training.baselines import folder_of, run
from mellm_plugin.training.config import Config, Stage, Train
from mellm_plugin.training.data import Source
from mellm_plugin.training.folds import Fold, make_folds
from mellm_plugin.training.loso import loso
from mellm_plugin.training.pooled import baselines_beside, in_words

SHOWN = {"happiness": ("12",), "surprise": ("1", "2"), "anger": ("4",)}
STAGE = Stage("labels", (Source("toy", forms={"label": 1.0}),), Train(language="full"), {"language": 1e-4}, steps=2)
CONFIG = Config("bundled", "unused", (STAGE,))
PEOPLE = ("s0", "s1", "s2", "s3")


def drawn() -> Iterator[Sample]:
    """Twenty-four clips of four people, some with small motion."""
    for number in range(24):
        label, codes = list(SHOWN.items())[number % 3]
        who, rng = number // 6, np.random.default_rng(number)
        amplitude = float(rng.uniform(0.2, 1.0))
        clip = synthme.draw_clip(
            synthme.Face(who), rng, codes, amplitude, subject=f"s{who}", clip=number, emotion=label
        )
        yield replace(synthme.sample(clip), dataset="toy", id=f"toy/s{who}/{number}")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [*drawn()]


@pytest.fixture(scope="module")
def home(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data root with the dataset `toy`, and a cache."""
    root = tmp_path_factory.mktemp("baselines")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELLM_DATA", str(root / "data"))
        patch.setenv("MELLM_CACHE", str(root / "cache"))
        store.write("toy", {"test": samples}, {"source": "drawn"})
        yield root


@pytest.fixture(scope="module")
def task(samples: list[Sample], home: Path) -> Task:
    """The task `toy_meu` about these clips."""
    rows = Dataset.from_list([one.to_row() for one in samples], features=features())
    docs = protocol(rows, labels="+".join(SHOWN), aus="1+2+4+12")
    asked = tuple(Asked(one.id, one.dataset, one.subject) for one in samples)
    aggregations = {one["metric"]: one["aggregation"] for one in meu.metrics}
    about = {"metadata": {"version": 1.0, "prompt_version": "1", "data": {"sha256": "0"}}}
    return Task("toy_meu", Path("toy.yaml"), asked, aggregations, docs, meu.process_results, about)


@pytest.fixture(scope="module")
def folds(task: Task) -> tuple[Fold, ...]:
    return make_folds([(one.dataset, one.subject) for one in task.asked])


@pytest.fixture(scope="module")
def of_flow(task: Task, folds: tuple[Fold, ...], home: Path) -> list[dict[str, Any]]:
    """The answers of the baseline `flow`, in `home/loso`."""
    found = run("flow", CONFIG, task, home / "loso", folds, {"toy": PEOPLE}, tell=lambda text: None)
    assert found is not None
    return found


def read(found: list[dict[str, Any]]) -> list[str]:
    return [one["record"]["read"]["label"] for one in found]


def test_answers_are_those_of_scikit_learn_alone(of_flow: list[dict[str, Any]], home: Path) -> None:
    known = of_dataset("toy")
    vectors, gold = known.vectors.astype(np.float64), np.array([one.emotion for one in known.annotated])
    people = np.array([one.person for one in known.annotated])
    expected: dict[int, str] = {}
    for seen, held in LeaveOneGroupOut().split(vectors, gold, people):
        best: tuple[float, Any] = (-1.0, None)
        for C in STRENGTHS:
            pipe = make_pipeline(scaler(), LogisticRegression(C=C, class_weight="balanced", max_iter=1000))
            within = cross_val_predict(pipe, vectors[seen], gold[seen], groups=people[seen], cv=GroupKFold(3))
            score = f1_score(gold[seen], within, average="macro")
            best = max(best, (score, pipe), key=lambda one: one[0])
        expected |= dict(zip(held.tolist(), best[1].fit(vectors[seen], gold[seen]).predict(vectors[held]), strict=True))
    assert [one["id"] for one in of_flow] == list(known.ids)
    agree = np.mean([label == expected[place] for place, label in enumerate(read(of_flow))])
    assert agree >= 23 / 24, "vectors longer than the clips are many are rotated first"
    assert {one["fold"].partition("-")[2] for one in of_flow if "/s2/" in one["id"]} == {"toy-s2"}


def test_a_baseline_is_a_row_of_its_own_in_the_report(of_flow: list[dict[str, Any]], home: Path) -> None:
    folder = folder_of(home / "loso", "flow")
    assert "toy_meu, leave-one-subject-out, 4 folds" in (folder / "table.txt").read_text()
    report = make(results.read([folder])).to_dict()
    assert not report["reading"]["faults"]
    assert [entry["name"] for entry in report["entries"]] == ["mellm_flow leave one subject out, 4 folds"]
    (board,) = report["boards"]
    assert board["title"] == "toy_meu" and board["version"] == "1.0" and board["rows"][0]["ranked"]
    written = json.loads((folder / "results.json").read_text())["results"]["toy_meu"]["emotion_uf1,none"]
    assert board["rows"][0]["scores"]["emotion_uf1"]["value"] == pytest.approx(written)


def test_nobody_of_a_fold_or_left_out_is_learned_from(
    task: Task, folds: tuple[Fold, ...], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[set[str]] = []

    class Watched(Linear):
        def __init__(self, vectors: Any, clips: Any) -> None:
            learned.append({clip.person for clip in clips})
            super().__init__(vectors, clips)

    monkeypatch.setattr(baselines, "Linear", Watched)
    config = replace(CONFIG, leave_out={"toy": ("s3",)})
    run("flow", config, task, tmp_path, folds, {"toy": PEOPLE}, tell=lambda text: None)
    every = {f"toy/{who}" for who in PEOPLE[:3]}
    assert learned == [every - {"toy/s0"}, every - {"toy/s1"}, every - {"toy/s2"}, every]


def test_finished_ones_are_read_again(
    of_flow: list[dict[str, Any]], task: Task, folds: tuple[Fold, ...], home: Path
) -> None:
    def unused(*given: Any) -> Any:
        raise AssertionError

    again = run("flow", CONFIG, replace(task, process=unused), home / "loso", folds, {"toy": PEOPLE}, tell=unused)
    assert again == json.loads(json.dumps(of_flow))


def test_tokens_of_the_base_see_the_motion(
    task: Task, folds: tuple[Fold, ...], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    options: dict[str, Any] = {"device": "cpu", "tell": told.append}
    monkeypatch.setattr(baselines, "DEAR", 0.0)
    assert run("tokens", CONFIG, task, home / "loso", folds, {"toy": PEOPLE}, asked=False, **options) is None
    assert "24 clips would take about 0 minutes. Ask for it by --baseline tokens" in told[0]
    found = run("tokens", CONFIG, task, home / "loso", folds, {"toy": PEOPLE}, **options)
    assert found is not None
    gold = [one["record"]["gold"]["label"] for one in found]
    assert f1_score(gold, read(found), average="macro") > 0.6


def test_a_trained_model_is_held_against_them(of_flow: list[dict[str, Any]], task: Task) -> None:
    gold = [one["record"]["gold"]["label"] for one in of_flow]
    perfect = [
        {**one, "record": {**one["record"], "read": {**one["record"]["read"], "label": label}}}
        for one, label in zip(of_flow, gold, strict=True)
    ]
    found = baselines_beside(task, perfect[6:], {"flow": of_flow})  # a fold failed
    scores = found["emotion_uf1"]["scores"]
    assert scores["trained"]["value"] == 1
    own = f1_score(gold[6:], read(of_flow)[6:], average="macro")
    assert scores["flow"]["value"] == pytest.approx(own)
    assert scores["most frequent label"]["value"] == pytest.approx(1 / 6)
    difference = found["emotion_uf1"]["differences"]["flow"]
    assert difference["difference"] == pytest.approx(1 - own) and 0 < difference["p"] <= difference["p_holm"] <= 1
    table = in_words(found)
    assert "trained - flow" in table and f"+{1 - own:.3f}" in table
    assert "trained" not in in_words(baselines_beside(task, [], {"flow": of_flow}))


def test_what_cannot_be_a_baseline_is_refused(task: Task, folds: tuple[Fold, ...], home: Path, tmp_path: Path) -> None:
    of_others = replace(task, docs=task.docs.select_columns(["id", "dataset", "subject"]))
    with pytest.raises(InputError, match="toy_meu: expected clips of this package; found no onset, no apex"):
        run("flow", CONFIG, of_others, tmp_path, folds, {"toy": PEOPLE})
    with pytest.raises(InputError) as caught:
        loso(CONFIG, "toy", tmp_path, baselines=["flwo", "none"], trained=False)
    assert len(
        caught.value.faults
    ) == 2 and "--baseline: expected flow or tokens, found 'flwo'. Did you mean 'flow'" in str(caught.value)
    with pytest.raises(InputError, match="--baseline: expected flow or tokens, found none"):
        loso(CONFIG, "toy", tmp_path, baselines=[], trained=False)
