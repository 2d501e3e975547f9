"""Configs: what is wrong with one is told all at once, with its path; what is right is read in its proper type."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mellm_plugin.cli.options import find_config
from mellm_plugin.cli.options import shipped_configs as shipped
from mellm_plugin.errors import InputError
from mellm_plugin.motion.settings import DEFAULT, PRESETS
from mellm_plugin.training.config import Config, load, read

Make = Callable[..., dict[str, Any]]


def _faults(given: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(InputError) as error:
        read(given)
    return error.value.faults


def test_missing_values_get_their_defaults(given: Make) -> None:
    config = read(given())
    (stage,) = config.stages
    assert stage.learning_rate["language"] == 0.01 and stage.lora is not None and stage.lora.rank == 4
    assert config.motion == DEFAULT and config.validation.share == 0.1 and config.trainer.accumulation == 1
    assert not config.full and config.ways() == {
        "language": "lora",
        "vision": "none",
        "projector": "none",
        "embeddings": "none",
    }
    assert read({**given(), "motion": "published"}).motion == PRESETS["published"]
    assert read({**given(), "motion": False}).motion is None


def test_a_config_survives_a_round_trip(given: Make) -> None:
    for validation in ({"share": 0.2}, {"subjects": {"toy": ["s2"]}, "examples": 5}):
        config = read({**given(), "motion": "off", "leave_out": {"toy": ["s1"]}, "validation": validation})
        assert read(config.to_dict()) == config
        assert read(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config


def test_all_faults_come_at_once_with_their_paths(toy: Path) -> None:
    data = [{"dataset": "toi"}, {"dataset": "toy", "forms": {"labl": 1}, "split": "tset"}]
    stage = {"name": "a", "data": data, "train": {"language": "lora", "vison": "full"}, "steps": 1}
    stage |= {"lora": {"alpha": 3, "targets": {"language": "("}}, "learning_rate": 1e-3}
    found = "\n".join(_faults({"base": "bundled", "output": "x", "motion": "robst", "stages": [stage]}))
    for expected in (
        "motion: expected a motion preset",
        "stages[0].data[0].dataset: the dataset 'toi' is not prepared",
        "stages[0].data[1].forms.labl: no such key; known: ",
        "stages[0].data[1].split: toy has test, found 'tset'. Did you mean 'test'?",
        "stages[0].train.vison: no such key",
        "stages[0].lora.rank: expected (rank of the matrices), found nothing",
        "stages[0].lora.targets.language: expected a regular expression",
    ):
        assert expected in found, expected


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"train": {}}, ".train: expected at least one of"),
        ({"lora": None}, ".lora: expected rank and alpha, because train.language is lora"),
        ({"train": {"projector": "full"}}, ".lora: found, but this stage trains no part by lora"),
        ({"epochs": 2}, ": expected one of epochs, steps, examples, found epochs and steps"),
        ({"steps": None}, ": expected one of epochs, steps, examples, found none"),
        ({"learning_rate": {"vision": 1e-3}}, ".learning_rate.language: expected a rate"),
        ({"learning_rate": {"language": 1e-3, "vision": 1e-3}}, ".learning_rate.vision: found a rate, but"),
        ({"train": {"language": "lora", "vision": "full"}}, "vision is full and language is lora"),
        ({"train": {"language": "lora", "embeddings": "lora"}}, ".train.embeddings: expected one of none, full"),
        ({"lora": {"rank": 4, "alpha": 8, "targets": {"vision": "qkv"}}}, ".lora.targets.vision: found, but"),
    ],
)
def test_contradictions_within_a_stage(given: Make, changes: dict[str, Any], fault: str) -> None:
    assert any(fault in found for found in _faults(given(**changes)))


def test_all_stages_must_train_one_adapter(given: Make) -> None:
    plain = given()
    other = {**plain["stages"][0], "name": "more", "lora": {"rank": 8, "alpha": 8}}
    (fault,) = _faults({**plain, "stages": [*plain["stages"], other]})
    assert "rank, alpha, targets" in fault and "'labels'" in fault and "'more'" in fault
    twice = _faults({**plain, "stages": plain["stages"] * 2})
    assert twice == ("stages: the name 'labels' appears twice",)
    full = {**plain["stages"][0], "name": "all", "train": {"language": "full"}, "lora": None}
    assert any(
        "is lora in 'labels' and full in 'all'" in f for f in _faults({**plain, "stages": [*plain["stages"], full]})
    )


def test_heads_need_a_weight_and_are_kept_in_the_last_stage_only(given: Make) -> None:
    (stage,) = read(given(heads={"units": 1, "regions": 0.5, "sides": 0})).stages
    assert stage.heads is not None and stage.heads.weights() == {"units": 1, "regions": 0.5} and not stage.heads.keep
    assert "stages[0].heads: expected a weight above 0" in _faults(given(heads={"keep": True}))[0]
    assert "stages[0].heads.sides: found without units" in _faults(given(heads={"sides": 1, "keep": True}))[0]
    alone = _faults(given(heads={"units": 1, "words": 0}))
    assert alone[0].startswith("stages[0].heads.words: found 0, so nothing teaches train.language")
    plain = given(heads={"units": 1, "keep": True})
    (fault,) = _faults({**plain, "stages": [plain["stages"][0], {**plain["stages"][0], "name": "more"}]})
    assert fault.startswith("stages[0].heads.keep: found in 'labels', but later stages")


def test_values_are_changed_by_path(given: Make, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(given()))
    changes = ["stages[0].lora.rank=8", "trainer.batch_size=3", "motion=off", "validation.share=0.25"]
    config = load(file, [*changes, "stages[0].learning_rate=1e-4"])
    assert config.stages[0].learning_rate["language"] == 1e-4, "a number without a dot is a number"
    assert config.stages[0].lora is not None and config.stages[0].lora.rank == 8
    assert (config.trainer.batch_size, config.motion, config.validation.share) == (3, None, 0.25)
    with pytest.raises(InputError) as error:
        load(file, ["stages[4].steps=1", "steps", "trainer.batch_sice=1"])
    assert error.value.where == str(file)
    assert len(error.value.faults) == 3 and "Did you mean 'batch_size'?" in error.value.faults[2]


def test_a_misspelt_base_is_no_hub_id(given: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "merged").mkdir()
    for written, meant in (("bundeld", "bundled"), ("mergd", "merged")):
        (fault,) = _faults({**given(), "base": written})
        assert fault == f"base: expected a folder, a hub id, or bundled, found {written!r}. Did you mean {meant!r}?"
    for name in ("bundled", "merged", "Qwen/Qwen2.5-VL-7B-Instruct", "nothing-like-it"):
        assert read({**given(), "base": name}).base == name


BOMB = "".join(f"{t}: &{t} [{', '.join([f'*{f}'] * 9)}]\n" for f, t in itertools.pairwise("abcdefghij"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("base: a\nbase: b\n", "the key 'base' appears twice"),
        ("- a\n", "expected a mapping, found list"),
        ("base: [\n", "expected YAML"),
        ("1: a\n", "expected a text as key, found 1"),
        ("base: " + "[" * 3000 + "]" * 3000, "at most 50 levels of nesting"),
        (f"a: &a [x]\n{BOMB}", "at most 100000 val"),
        ("base: 2026-99-99\n", "expected YAML: month must be"),
        (f"base: {'9' * 5000}\n", "expected YAML: Exceeds the limit"),
        (f"base: {'9' * 400}\nseed: {'9' * 400}\nstages: [{{weight: {'9' * 400}}}]\n", "seed: expected a whole number"),
        ("#" * (2**20 + 1), "at most 1 MiB"),
    ],
)
def test_files_that_are_no_config_are_refused(text: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=fault):
        load(file)


def test_a_missing_file_and_a_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.yaml")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.yaml")
        with pytest.raises(InputError, match="found a device or a pipe"):
            load(find_config(str(tmp_path / "pipe.yaml")))


def test_impossible_starts_and_data_are_refused(given: Make, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    whole = given(train={"language": "full"}, lora=None)
    for plain, fault in (
        ({**given(), "base": str(adapter)}, "base: expected a model, found the adapter"),
        ({**given(), "adapter": str(tmp_path / "nope")}, "adapter: expected a folder with adapter_config.json, found"),
        ({**whole, "adapter": str(adapter)}, "adapter: found, but no stage trains by lora"),
        ({**given(), "seed": 2**32}, "seed: expected a whole number of at least 0 and at most 4294967295"),
        ({**given(), "validation": {"share": 0.1, "subjects": {"toy": ["s1"]}}}, "expected share or subjects"),
        ({**given(), "leave_out": {"toy": [True]}}, "leave_out.toy: expected a list of subjects"),
    ):
        assert any(fault in found for found in _faults(plain)), (fault, _faults(plain))
    for key, value in (("split", ["a"]), ("labels", 5), ("labels", ["casme2"]), ("labels", " ")):
        data = [{"dataset": "toy", key: value}]
        assert any(f"stages[0].data[0].{key}: expected a text" in found for found in _faults(given(data=data)))
    assert any("clips: expected a whole" in f for f in _faults(given(data=[{"dataset": "synthme", "clips": True}])))


def test_shipped_configs_lack_nothing_but_data(toy: Path) -> None:
    assert {"bundled_lora", "qwen2_5_vl_7b_lora"} <= shipped().keys()
    for name, path in shipped().items():
        assert path.read_text().startswith(f"# mellm finetune {name}")
        try:
            assert isinstance(load(path), Config)
        except InputError as error:
            assert all("is not prepared" in fault for fault in error.faults)
    assert isinstance(load(shipped()["bundled_lora"]), Config)
    assert find_config("configs/bundled_lora.yaml") == find_config("bundled_lora") == shipped()["bundled_lora"]
    with pytest.raises(InputError, match="Did you mean 'bundled_lora'"):
        find_config("bundled_lorra.yaml")


def test_a_config_is_read_without_torch() -> None:
    code = (
        "import sys, pathlib\nfrom mellm_plugin.training.config import load\nload(pathlib.Path(sys.argv[1]))\n"
        "print([m for m in ('torch', 'transformers', 'lmms_eval') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(shipped()["bundled_lora"])]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
