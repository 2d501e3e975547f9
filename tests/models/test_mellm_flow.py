"""The model `mellm_flow`: learns from clips that it is given or draws, and answers what tasks ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from loguru import logger

from mellm_plugin.datasets import store, synthme
from mellm_plugin.datasets.sample import Sample, features
from mellm_plugin.errors import DataError, InputError, SettingsError
from mellm_plugin.facs.labels import COARSE, LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.language.unanswered import unanswered
from mellm_plugin.language.vqa_answers import vqa_reading
from mellm_plugin.models import flow_vectors
from mellm_plugin.models.flow_vectors import drawn, of_dataset
from mellm_plugin.models.mellm_flow import Flow

SHOWN = {"happiness": ("12",), "surprise": ("1", "2"), "anger": ("4",)}


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Fifteen clips of five people; each shows three labels, strongly."""
    made = []
    for number in range(15):
        label, codes = list(SHOWN.items())[number % 3]
        rng, face = np.random.default_rng(number), synthme.Face(number // 3)
        clip = synthme.draw_clip(face, rng, codes, 2.5, subject=f"s{number // 3}", clip=number, emotion=label, head=0.3)
        made.append(replace(synthme.sample(clip), dataset="toy", id=f"toy/s{number // 3}/{number}"))
    return made


@pytest.fixture
def prepared(samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with these clips as the dataset `toy`, and a cache of its own."""
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MELLM_CACHE", str(tmp_path / "cache"))
    store.write("toy", {"test": samples[:12]}, {"source": "drawn"})
    return tmp_path


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged."""
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(sink)


def rows(samples: list[Sample], **columns: Any) -> Dataset:
    docs = Dataset.from_list([one.to_row() for one in samples], features=features())
    for name, value in columns.items():
        docs = docs.add_column(name, [value] * len(docs))
    return docs


def answers(model: Flow, docs: Any, task: str = "toy_meu") -> list[str]:
    model.task_dict = {task: {"test": docs}}
    asked = [SimpleNamespace(args=("", None, {}, number, task, "test")) for number in range(len(docs))]
    return [answer.text for answer in model.generate_until(asked)]


def known(model: Flow) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(type(model).__name__.partition(" ")[2])
    return found


def test_it_reads_new_people_and_says_what_it_cannot(prepared: Path, samples: list[Sample], said: list[str]) -> None:
    model = Flow.create_from_arg_string("fit=toy", {"batch_size": 1, "device": "cpu"})
    given = answers(model, rows(samples[12:], asks="all", labels=["anger", "happiness", "sadness"], scored_aus=[4, 9]))
    found = [read(text, ["anger", "happiness", "sadness"]) for text in given]
    assert (found[0].label, found[2].label, found[2].aus) == ("happiness", "anger", (4,))
    assert found[1].label in ("anger", "happiness"), "surprise is not among the labels"
    assert any("toy_meu" in line and "no labels sadness" in line for line in said)
    assert any("no clips with and without AU9" in line for line in said)
    overlap = known(model)["training"]["tasks"]["toy_meu"]
    assert overlap["clips"] == 3 and overlap["seen"] == {"clips": 0, "subjects": 0}
    assert not any("KNOWS PEOPLE" in line for line in said)
    coarse = answers(model, rows(samples[12:], asks="emotion", labels=list(COARSE), scored_aus=[]))
    assert coarse == ["positive", "surprise", "negative"]
    units = answers(model, rows(samples[12:], asks="aus", labels=[], scored_aus=[1, 2, 4, 12]))
    assert units[1:] == ["action units AU1+AU2", "action units AU4"] and "AU12" in units[0]
    before = len(said)
    assert answers(model, rows(samples[12:], asks="aus", labels=["fear"], scored_aus=[1, 2, 4, 12])) == units
    assert answers(model, rows(samples[12:], asks="emotion", labels=list(COARSE), scored_aus=[24])) == coarse
    assert len(said) == before, "what is not asked for is not missed"


def test_people_that_it_knows_are_a_leak(prepared: Path, samples: list[Sample], said: list[str]) -> None:
    model = Flow(fit="toy")
    answers(model, rows(samples[9:], asks="emotion", labels=list(LABELS["synthme"]), scored_aus=[]))
    assert known(model)["training"]["tasks"]["toy_meu"]["seen"] == {"clips": 3, "subjects": 1}
    assert known(model)["fit"]["sha256"] == store.read_info("toy")["splits"]["test"]["sha256"]
    assert sum("KNOWS PEOPLE" in line for line in said) == 1


def test_questions_of_the_challenge(prepared: Path, samples: list[Sample]) -> None:
    model = Flow(fit="toy")
    fine = ["anger", "happiness", "surprise"]

    def answer(kind: str, unit: int | None = None) -> list[Any]:
        docs = rows(samples[12:], kind=kind, unit=unit, coarse_labels=list(COARSE), fine_labels=fine)
        return [vqa_reading(text, kind, COARSE, fine, unit) for text in answers(model, docs)]

    assert [one["coarse"] for one in answer("coarse")] == ["positive", "surprise", "negative"]
    assert [one["fine"] for one in answer("fine")] == ["happiness", "surprise", "anger"]
    assert [one["units"] for one in answer("units")][1:] == [[1, 2], [4]]
    assert [one["shown"] for one in answer("unit", 1)] == [False, True, False]
    assert [one["shown"] for one in answer("unit", 9)] == [None] * 3, "no clip to learn from shows it"
    assert [one["side"] for one in answer("side", 4)] == [None] * 3
    combined = answer("combined")[2]
    assert (combined["units"], combined["coarse"], combined["fine"]) == ([4], "negative", "anger")


def test_damaged_frames_have_no_answer_and_teach_nothing(
    prepared: Path, samples: list[Sample], said: list[str]
) -> None:
    small = replace(samples[0], apex=synthme._png(np.zeros((50, 60, 3), np.uint8)), id="toy/s0/small")
    store.write("some", {"train": [*samples[:6], small], "test": samples[6:9]}, {"source": "drawn"})
    assert len(of_dataset("some").ids) == 6 and any("toy/s0/small" in line for line in said)
    (text,) = answers(Flow(fit="some"), rows([small], asks="emotion", labels=["anger"], scored_aus=[]))
    assert unanswered(text) == "the clip's images could not be used"


def test_drawn_clips_are_kept_and_an_interrupted_drawing_goes_on(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_vectors, "_AT_ONCE", 3)
    calls: list[int] = []

    def counted(split: str, count: int, start: int = 0) -> Iterator[synthme.SynthClip]:
        calls.append(start)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return synthme_clips(split, count, start=start)

    synthme_clips = synthme.clips
    monkeypatch.setattr(synthme, "clips", counted)
    with pytest.raises(KeyboardInterrupt):
        drawn(5)
    found = drawn(5)
    assert calls == [0, 3, 3] and found.vectors.shape == (5, 432)
    assert [one.aus for one in found.annotated] == [synthme.plan("train", n).aus for n in range(5)]
    assert np.array_equal(drawn(5).vectors, found.vectors) and len(calls) == 3
    assert found.source == {"dataset": synthme.NAME, "clips": 5}


def test_wrong_arguments_are_all_told_at_once(prepared: Path) -> None:
    with pytest.raises(SettingsError) as error:
        Flow.create_from_arg_string("fits=toy,clips=0,motion=robst,split=test")
    text = str(error.value)
    assert "Did you mean 'fit'" in text and "clips: " in text and "Did you mean 'robust'" in text
    for given, words in (
        ({"motion": "off"}, "motion: expected settings of the flow"),
        ({"split": "test"}, "split: expected together with fit="),
        ({"fit": "toy", "clips": 9}, "clips: found, but fit="),
    ):
        with pytest.raises(SettingsError, match=words):
            Flow(**given)
    with pytest.raises(DataError, match="nothing"):
        Flow(fit="nothing")
    with pytest.raises(DataError, match="no split 'train'"):
        Flow(fit="toy", split="train")


def test_tasks_of_others_are_refused(prepared: Path) -> None:
    with pytest.raises(InputError, match="toy_meu: expected clips with onset and apex"):
        answers(Flow(fit="toy"), Dataset.from_list([{"id": "1", "question": "what?"}]))
