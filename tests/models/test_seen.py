"""The people that a model was trained on against the clips of a task: real adapters, lmms-eval's kinds of data."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest
import tiny
from lmms_eval.api.instance import Instance

from mellm_plugin.models.mellm import Mellm
from mellm_plugin.models.record import write_record
from mellm_plugin.models.seen import Seen

RECORD: dict[str, Any] = {
    "versions": {},
    "base": {"name": "tiny", "revision": None, "sha256": {}},
    "prompts": "1",
    "motion": "off",
    "seen": {
        "casme2": {"sha256": {"test": "0f3"}, "subjects": ["sub01", "sub02", "sub03"]},
        "smic": {"sha256": {"test": "a1b"}, "subjects": ["s01"]},
        "synthme-train": {"sha256": {}, "subjects": ["s00", "s01"]},
    },
    "validation": {"casme2": ["sub04"]},
    "config": {},
    "stages": [],
}


def clips(*of: tuple[str, str, int]) -> datasets.Dataset:
    """So many clips of each dataset and subject."""
    rows = [(d, s, f"{d}/{s}/{n}") for d, s, count in of for n in range(count)]
    return datasets.Dataset.from_dict(
        {name: [row[i] for row in rows] for i, name in enumerate(("dataset", "subject", "id"))}
    )


@pytest.fixture
def trained(adapter: Path, tmp_path: Path) -> Path:
    """The tiny adapter with a record of a training."""
    folder = tmp_path / "adapter"
    shutil.copytree(adapter, folder)
    write_record(folder, RECORD)
    return folder


def written(model: Mellm) -> dict[str, Any]:
    """The facts of the model that lmms-eval writes."""
    return dict(json.loads(type(model).__name__.partition(" ")[2]))


def ask(model: Mellm, task: str, docs: Any, split: str = "test", count: int = 1) -> None:
    """Answer lmms-eval's requests for the first clips."""
    model.task_dict[task] = {split: docs}
    shared = ("", lambda doc: [{"role": "user", "content": [{"type": "text", "text": "?"}]}], {"max_new_tokens": 1})
    made = [
        Instance(
            request_type="generate_until",
            arguments=(*shared, i, task, split),
            idx=0,
            metadata={"task": task, "doc_id": i, "repeats": 1},
        )
        for i in range(count)
    ]
    assert len(list(model.generate_until(made))) == count


@pytest.mark.parametrize(
    ("docs", "seen", "validation"),
    [
        (
            (("casme2", "sub01", 3), ("casme2", "sub02", 1), ("casme2", "sub04", 2), ("casme2", "sub05", 5)),
            (4, 2),
            (2, 1),
        ),
        ((("samm", "sub01", 2), ("synthme", "s00", 4), ("synthme", "s01", 4)), (0, 0), (0, 0)),  # same numbers, others
        ((("smic_nir", "s01", 2), ("smic_vis", "s02", 1)), (2, 1), (0, 0)),  # other cameras, the same people
    ],
)
def test_people_that_were_seen_are_counted(docs: Any, seen: tuple[int, int], validation: tuple[int, int]) -> None:
    assert Seen.of([RECORD]).overlap(clips(*docs)) == {
        "clips": sum(count for *_, count in docs),
        "seen": dict(zip(("clips", "subjects"), seen, strict=True)),
        "validation": dict(zip(("clips", "subjects"), validation, strict=True)),
    }


def test_trained_on_in_one_of_two_trainings_counts_as_trained_on() -> None:
    earlier = {**RECORD, "seen": {"casme2": {"sha256": {}, "subjects": ["sub04"]}}, "validation": {"samm": ["006"]}}
    seen = Seen.of([earlier, RECORD])
    assert "casme2/sub04" in seen.trained and "casme2/sub04" not in seen.validated
    assert seen.counts["seen"] == {"casme2": 4, "smic": 1, "synthme-train": 2}


@pytest.mark.parametrize(
    "docs",
    [
        datasets.Dataset.from_dict({"question": ["?"]}),
        datasets.Dataset.from_dict({"dataset": ["casme2"], "subject": [1]}),
        datasets.Dataset.from_dict({"dataset": [], "subject": []}),
        [{"dataset": "casme2", "subject": "sub01"}],
        None,
    ],
    ids=["other columns", "numbers", "empty", "list", "nothing"],
)
def test_data_without_subjects_is_not_compared(docs: Any) -> None:
    assert Seen.of([RECORD]).overlap(docs) is None


def test_the_model_warns_once_and_marks_the_result(trained: Path, log: list[str]) -> None:
    model = Mellm(adapter=trained, device="cpu", motion="off")
    assert written(model)["training"]["tasks"] == {}
    model.task_dict["megc2019_meu"] = {"train": clips(("casme2", "sub09", 3), ("smic", "s01", 2))}
    model.task_dict["other"] = {"test": datasets.Dataset.from_dict({"question": ["?"]})}
    model.task_dict["odd"] = None
    docs = clips(("casme2", "sub01", 3), ("casme2", "sub04", 2), ("casme2", "sub05", 5))
    ask(model, "dfme_meu", docs, split="test_a")
    ask(model, "dfme_meu", docs, split="test_a")
    model.clean()

    assert (
        written(model)["adapter_sha256"]
        == hashlib.sha256((trained / "adapter_model.safetensors").read_bytes()).hexdigest()
    )
    training = written(model)["training"]
    assert training["seen"] == {"casme2": 3, "smic": 1, "synthme-train": 2} and training["validation"] == {"casme2": 1}
    assert training["tasks"] == {
        "megc2019_meu": {"clips": 5, "seen": {"clips": 2, "subjects": 1}, "validation": {"clips": 0, "subjects": 0}},
        "dfme_meu": {"clips": 10, "seen": {"clips": 3, "subjects": 1}, "validation": {"clips": 2, "subjects": 1}},
    }
    (warning,) = [line for line in log if "KNOWS PEOPLE" in line]
    assert "dfme_meu: 3 of 10 clips are of people that it was trained on: 1 (casme2/sub01)" in warning
    assert "dfme_meu: 2 of 10 clips are of people that it was chosen by: 1 (casme2/sub04)" in warning
    assert type(model).__mro__[1] is Mellm


def test_nothing_is_said_of_new_people(trained: Path, log: list[str]) -> None:
    model = Mellm(adapter=trained, device="cpu")
    ask(model, "synthme_meu", clips(("synthme", "s00", 3)))
    assert written(model)["training"]["tasks"]["synthme_meu"]["seen"] == {"clips": 0, "subjects": 0}
    assert not [line for line in log if "KNOWS PEOPLE" in line]


def test_a_base_that_was_trained_counts_too(base: Path, adapter: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(base, whole)
    write_record(whole, RECORD)
    model = Mellm(pretrained=whole, adapter=adapter, device="cpu")
    assert written(model)["training"]["seen"]["casme2"] == 3


def test_without_a_record_only_the_weights_are_named(base: Path, adapter: Path, tmp_path: Path) -> None:
    model = Mellm(adapter=adapter, device="cpu")
    ask(model, "casme2_meu", clips(("casme2", "sub01", 3)))
    assert "training" not in written(model) and "adapter_sha256" in written(model)
    other = tiny.save_adapter(tmp_path / "other", base, seed=2)
    assert written(model) != written(Mellm(adapter=other, device="cpu"))


def test_a_whole_model_is_named_by_its_weights(base: Path, tmp_path: Path) -> None:
    tuned, merged = tmp_path / "tuned", tmp_path / "merged"
    for folder, more in ((tuned, {}), (merged, {"merged": {"adapter_sha256": "5d1", "dtype": "float32"}})):
        shutil.copytree(base, folder)
        write_record(folder, {**RECORD, **more})
    assert len(written(Mellm(pretrained=tuned, device="cpu"))["weights_sha256"]) == 64
    assert written(Mellm(pretrained=merged, device="cpu"))["adapter_sha256"] == "5d1"
    assert written(Mellm(pretrained=base, device="cpu", motion="off"))["motion"] == "off"
    # A model without a record, too: its path alone would not distinguish it.
    plain = written(Mellm(pretrained=base, device="cpu"))
    assert len(plain["weights_sha256"]) == 64 and "adapter_sha256" not in plain
