"""Fine-tuning a tiny model: it is evaluated as it was trained; a run that was cut off resumes to the same result."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from full_disk import small_disk
from safetensors.torch import load_file, save_file

from mellm_plugin.errors import BusyError, InputError, MellmError, ModelError, TrainingError
from mellm_plugin.models.loading import add_adapter, carried_motion, load_model, load_processor
from mellm_plugin.models.mellm import Mellm
from mellm_plugin.models.record import read_record
from mellm_plugin.motion.settings import DEFAULT
from mellm_plugin.training import finetune as module
from mellm_plugin.training.config import read
from mellm_plugin.training.data import Examples
from mellm_plugin.training.dry_run import dry_run
from mellm_plugin.training.export import export
from mellm_plugin.training.trainer import StageTrainer, best_step, checkpoints, has_ended, read_curve

Make = Callable[..., dict[str, Any]]


def run(given: dict[str, Any], **options: Any) -> dict[str, Any]:
    return module.finetune(read(given), progress=False, **options)


def losses(output: Path) -> list[tuple[Any, ...]]:
    lines = read_curve(output / "curve.jsonl")
    return [(line["stage"], line["step"], line.get("loss"), line.get("validation_loss")) for line in lines]


TWO_STAGES = [
    {
        "name": "eyes",
        "data": [{"dataset": "toy", "forms": {"region": 1, "legend": 1}}],
        "steps": 3,
        "train": {"vision": "lora", "projector": "full"},
        "lora": {"rank": 2, "alpha": 4},
        "learning_rate": {"vision": 0.02, "projector": 0.005},
    },
    {
        "name": "words",
        "data": [{"dataset": "toy", "forms": {"label": 1, "aus": 1}}],
        "steps": 5,
        "train": {"language": "lora", "embeddings": "full"},
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.2},
        "learning_rate": {"language": 0.01, "embeddings": 0.002},
    },
]


@pytest.fixture(scope="module")
def finished(config_of: Make, prepared_toy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The config of a training in two stages that has run to its end; data and output stay in place."""
    plain = {**config_of(tmp_path_factory.mktemp("finished") / "out"), "stages": TWO_STAGES}
    plain["trainer"] = {"batch_size": 2, "accumulation": 2, "save_every": 2, "evaluate_every": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELLM_DATA", str(prepared_toy))
        run(plain)
    return plain


def test_an_adapter_is_evaluated_as_it_was_trained(finished: dict[str, Any], base: Path, toy: Path) -> None:
    output = Path(finished["output"])
    made = read_record(output)
    assert [(s["name"], s["steps"]) for s in made["stages"]] == [("eyes", 3), ("words", 5)]
    trained_on = made["seen"]["toy"]["subjects"]
    assert trained_on and set(made["validation"]["toy"]).isdisjoint(trained_on)
    assert carried_motion(str(output)) == DEFAULT
    assert load_processor(str(output)).image_processor.size["longest_edge"] == 56 * 56
    assert "# A PEFT adapter" in (output / "README.md").read_text()
    # Both stages changed their parts, and merged weights give the same logits.
    weights = load_file(output / "adapter_model.safetensors")
    for part in ("visual.blocks.0.attn.qkv.lora_B", "language_model.layers.0.mlp.up_proj.lora_B"):
        assert any(part in name and tensor.abs().max() > 0 for name, tensor in weights.items()), part
    plain_model = load_model(str(base))
    merger = plain_model.model.visual.merger.ln_q.weight
    assert not torch.equal(next(t for n, t in weights.items() if "merger.ln_q" in n), merger)
    last = module.build_model(read(finished), str(base), output, torch.device("cpu")).eval()
    ids = torch.arange(20, 60).view(1, -1)
    with torch.inference_mode():
        trained = last(input_ids=ids).logits
        assert not torch.allclose(plain_model(input_ids=ids).logits, trained, atol=1e-2)
        for merge in (True, False):
            evaluated = add_adapter(load_model(str(base)), output, merge=merge)(input_ids=ids).logits
            assert torch.allclose(evaluated, trained, atol=1e-4)
    assert Mellm(adapter=str(output)).motion == DEFAULT, "base, processor and maps are the adapter's"
    written = (output / "training.json").stat().st_mtime_ns
    assert run(finished) == made, "a finished training is not repeated"
    assert (output / "training.json").stat().st_mtime_ns == written


def test_a_whole_model_trained_on_frames_is_evaluated_on_frames(given: Make, base: Path, tmp_path: Path) -> None:
    every = dict.fromkeys(("language", "vision", "projector", "embeddings"), "full")
    plain = {**given(train=every, lora=None, steps=2), "motion": "off"}
    made = run(plain)
    output = tmp_path / "out"
    assert made["motion"] == "off" and not (output / "motion.json").exists()
    assert carried_motion(str(output)) == "off" and Mellm(pretrained=str(output)).motion is None
    before, after = load_file(base / "model.safetensors"), load_file(output / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("visual" in name for name in changed) and any("layers" in name for name in changed)


class Cut(BaseException):
    """What a test throws where a process would be killed."""


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[None]:
    """The training is cut off in the middle of a step."""
    real, done = StageTrainer.training_step, 0

    def step(self: StageTrainer, *given: Any, **named: Any) -> torch.Tensor:
        nonlocal done
        if done == after:
            raise Cut
        done += 1
        return real(self, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(StageTrainer, "training_step", step)
        with pytest.raises(Cut):
            yield


def test_a_run_that_was_cut_off_resumes_to_the_same_result(
    finished: dict[str, Any], toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = {**finished, "output": str(tmp_path / "cut")}
    for after in (4, 7):  # in the first stage, and in the second behind a checkpoint
        with dying(monkeypatch, after):
            run(cut)
    run(cut)
    whole, again = Path(finished["output"]), tmp_path / "cut"
    assert [line[:2] for line in losses(again)] == [line[:2] for line in losses(whole)]
    for a, b in zip(losses(again), losses(whole), strict=True):
        assert a[2:] == pytest.approx(b[2:], abs=1e-6), a
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (whole, again))
    for name, tensor in first.items():
        assert torch.allclose(tensor, second[name], atol=1e-6), name
    assert not list((again / "run").rglob("checkpoint-*")), "the stages' outcomes are enough"


def copy_of(base: Path, folder: Path, change: Callable[[torch.Tensor], object]) -> str:
    """A copy of the base with another matrix of the answers' words."""
    shutil.copytree(base, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights["lm_head.weight"])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def test_resuming_with_another_config_or_base_is_refused(
    given: Make, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dying(monkeypatch, 3):
        run(given())
    fault = r"config.stages\[0\].learning_rate.language: then 0.01, now 0.02(.|\n)*--restart"
    with pytest.raises(TrainingError, match=fault):
        run(given(learning_rate=0.02))
    with pytest.raises(TrainingError, match=r"base.model.safetensors: then .*, now "):
        run({**given(), "base": copy_of(base, tmp_path / "base", lambda head: head.add_(1))})
    assert checkpoints(tmp_path / "out" / "run" / "1-labels"), "the refused runs deleted nothing"


def test_a_full_disk_leaves_the_last_checkpoint_whole(
    given: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dying(monkeypatch, 3):
        run(given())
    folder = tmp_path / "out" / "run" / "1-labels"
    with small_disk(), pytest.raises(TrainingError, match=r"cannot be saved: .*resumes from .*checkpoint-2"):
        run(given())
    assert [path.name for path in checkpoints(folder)] == ["checkpoint-2"] and not (folder / ".writing").exists()
    run(given())
    assert [line[1] for line in losses(tmp_path / "out") if line[2] is not None] == list(range(1, 5))


def test_a_loss_of_nan_stops_the_run_with_advice(given: Make, base: Path, tmp_path: Path) -> None:
    broken = copy_of(base, tmp_path / "broken", lambda head: head[5, 5].fill_(float("nan")))
    with pytest.raises(TrainingError, match=r"step 1 of 4: expected a finite loss, found nan. Lower the learning_rate"):
        run({**given(), "base": broken})


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named_by_its_clip(
    given: Make, toy: Path, prepare_toy: Callable[..., None], workers: int
) -> None:
    prepare_toy(toy, "bad", damaged=5)
    plain = given(data=[{"dataset": "bad", "forms": {"label": 1}}], steps=8)
    plain["trainer"]["workers"] = workers
    with pytest.raises(TrainingError) as error:
        run({**plain, "validation": {"subjects": {"bad": ["s0"]}}})
    text = str(error.value)
    assert "bad/s1/5" in text and "mellm datasets" in text and "Traceback" not in text


def test_a_resumed_run_keeps_the_best_state_of_its_whole_history(
    given: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {**given(steps=8), "validation": {"share": 0.25, "by": "loss"}}
    plain["trainer"] = {"batch_size": 2, "save_every": 4, "evaluate_every": 2}
    real, worse = StageTrainer.evaluation_loop, 0.0

    def loop(self: StageTrainer, *given: Any, **named: Any) -> Any:
        found = real(self, *given, **named)
        found.metrics["eval_loss"] += worse
        return found

    monkeypatch.setattr(StageTrainer, "evaluation_loop", loop)
    with dying(monkeypatch, after=7):
        run(plain)
    stage = tmp_path / "out" / "run" / "1-labels"
    before = [loss for _, _, _, loss in losses(tmp_path / "out") if loss is not None]
    assert before == sorted(before, reverse=True), "each better than the one before it"
    assert {path.name for path in stage.glob("best-*")} == {"best-4", "best-6"}
    worse = 5.0  # as where sums on another device differ: nothing after step 4 is as good now
    run(plain)
    assert read_record(tmp_path / "out")["stages"][0]["kept_step"] == 4


def test_the_best_state_on_validation_is_kept_and_patience_ends_a_stage(given: Make, tmp_path: Path) -> None:
    plain = given(steps=40, learning_rate=0.3)
    plain["trainer"] = {"batch_size": 4, "evaluate_every": 2, "patience": 2}
    made = run({**plain, "validation": {"share": 0.25, "by": "loss"}})
    (stage,) = made["stages"]
    validated = [(line[3], line[1]) for line in losses(tmp_path / "out") if line[3] is not None]
    best, step = min(validated)
    assert stage["validation_loss"] == best and stage["kept_step"] == step
    assert stage["steps"] == step + 4 < 40, "two validations without a better one"


def test_a_config_may_start_from_an_adapter(given: Make, base: Path, tmp_path: Path) -> None:
    run(given(steps=2))
    first = load_file(tmp_path / "out" / "adapter_model.safetensors")
    plain = {**given(steps=1, learning_rate=1e-12), "output": str(tmp_path / "more"), "adapter": str(tmp_path / "out")}
    run(plain)
    more = load_file(tmp_path / "more" / "adapter_model.safetensors")
    assert all(torch.allclose(more[name], tensor, atol=1e-6) for name, tensor in first.items())
    copied = copy_of(base, tmp_path / "base", lambda head: head.add_(1))
    for changes, stage, fault in (
        ({}, {"lora": {"rank": 8, "alpha": 8}}, "expected rank and alpha as in the config, 8 and 8, found 4 and 8"),
        ({}, {"lora": {"rank": 4, "alpha": 2}}, "expected rank and alpha as in the config, 4 and 2, found"),
        ({}, {"train": {"vision": "lora"}}, "expected an adapter with the parts and ranks of the config"),
        ({"base": copied}, {}, "one that was trained on other weights"),
    ):
        with pytest.raises(ModelError, match=fault):
            run({**plain, **changes, "output": str(tmp_path / "other"), "stages": [{**plain["stages"][0], **stage}]})


def test_a_restart_removes_all_of_the_earlier_run(
    given: Make, finished: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(finished["output"], tmp_path / "out")
    kept = out / "own.txt"
    kept.write_text("mine")
    frames = {**given(steps=2), "motion": "off"}
    with dying(monkeypatch, 1):
        run(frames, restart=True)
    # Weights without a record of the people that they have seen would be evaluated without a warning.
    assert sorted(path.name for path in out.iterdir()) == ["curve.jsonl", "own.txt", "run"]
    run(frames)
    assert carried_motion(str(out)) == "off" and not (out / "motion.json").exists() and kept.read_text() == "mine"
    run({**given(train={"language": "full"}, lora=None, steps=1), "motion": "off"}, restart=True)
    assert (out / "model.safetensors").is_file() and not list(out.glob("adapter_*"))


def test_a_target_that_matches_no_layer_is_named_and_the_config_may_be_corrected(given: Make, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"lora.targets.language: .*q_proj.*found none for 'qkv_proj'"):
        run(given(lora={"rank": 4, "alpha": 8, "targets": {"language": "qkv_proj"}}))
    run(given(steps=1))
    assert read_record(tmp_path / "out")["stages"]


@pytest.mark.parametrize("call", [run, lambda config: dry_run(read(config))], ids=["train", "dry run"])
def test_faults_of_all_stages_data_and_of_the_base_come_before_training(
    given: Make, tmp_path: Path, call: Callable[..., Any]
) -> None:
    second = {**TWO_STAGES[1], "data": [{"dataset": "toy", "forms": {"label": 1}, "labels": "hapiness"}]}
    with pytest.raises(InputError, match=r"stages\[1\].data: .*'hapiness' is neither a label"):
        call({**given(), "stages": [TWO_STAGES[0], second]})
    with pytest.raises(MellmError, match="no such folder"):
        call({**given(), "base": "./nowhere"})
    assert not (tmp_path / "out" / "curve.jsonl").exists() and not list((tmp_path / "out").glob("run/*/checkpoint-*"))


def test_a_folder_is_locked_while_a_process_trains_into_it(given: Make, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    code = "import sys; from filelock import FileLock\nwith FileLock(sys.argv[1]):\n print('held', flush=True); input()"
    command = [sys.executable, "-c", code, str(tmp_path / "out" / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match="another process"):
            run(given())
        other.communicate("go\n")
    run(given(steps=1))


def test_a_dry_run_shows_the_plan_and_trains_nothing(given: Make, base: Path, tmp_path: Path) -> None:
    plain = {**given(), "stages": TWO_STAGES}
    plan = dry_run(read(plain))
    eyes, words = plan["stages"]
    assert (eyes["steps"], words["steps"]) == (3, 5)
    assert eyes["parameters"]["vision"]["trained"] > 0 == eyes["parameters"]["language"]["trained"]
    assert words["parameters"]["language"]["trained"] > 0 == words["parameters"]["vision"]["trained"]
    whole = sum(p.numel() for p in load_model(str(base)).parameters())
    assert sum(of["parameters"] for of in eyes["parameters"].values()) == whole
    assert words["train"]["examples"] == 10 and words["validation"]["examples"] == 3
    assert words["memory_gib"]["float32"] > words["memory_gib"]["bfloat16"] >= 0
    folder = tmp_path / "out" / "dry-run"
    assert len(plan["examples"]) == len(list(folder.glob("*.png"))) == 3
    for name in plan["examples"]:
        assert "--- asked ---" in Path(name).read_text() and Path(name).with_suffix(".png").is_file()
    assert not (tmp_path / "out" / "run").exists()
    json.dumps(plan)


def test_examples_are_shown_in_their_own_order(given: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = Examples.__getitem__

    def noted(self: Examples, index: int) -> Any:
        if self.augment:
            asked.append(index)
        return real(self, index)

    monkeypatch.setattr(Examples, "__getitem__", noted)
    run(given(steps=3))
    assert [index for place, index in enumerate(asked) if place == 0 or asked[place - 1] != index] == list(range(6))


HEADS = {"units": 1, "sides": 0.5, "label": 1, "coarse": 1, "regions": 0.5, "grid": 2, "keep": True}


def test_heads_are_trained_resumed_kept_and_answer(
    given: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = given(heads=HEADS, train={"language": "lora", "vision": "lora"}, learning_rate=0.01)
    whole = run({**plain, "output": str(tmp_path / "whole")})
    with dying(monkeypatch, after=3):  # behind a checkpoint
        run(plain)
    run(plain)
    first, second = (load_file(tmp_path / name / "heads.safetensors") for name in ("whole", "out"))
    assert first.keys() == second.keys() and any(tensor.abs().max() > 0 for tensor in first.values())
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)
    lines = [read_curve(tmp_path / name / "curve.jsonl") for name in ("whole", "out")]
    shown = [[{k: v for k, v in line.items() if k != "seconds"} for line in of] for of in lines]
    for a, b in zip(*shown, strict=True):
        assert a == pytest.approx(b, abs=1e-6)
    assert 0 < lines[0][0]["heads_loss"] < lines[0][0]["loss"] and "validation_heads_label_uf1" in lines[0][2]
    assert set(json.loads((tmp_path / "out" / "heads.json").read_text())["temperatures"]) == set(HEADS) - {
        "grid",
        "keep",
    }
    assert whole["stages"][0]["validation"]["heads_loss"] > 0
    out = export(str(tmp_path / "out"), tmp_path / "merged")
    for arguments in ({"adapter": str(tmp_path / "out")}, {"pretrained": str(out)}):
        assert Mellm(**arguments, answer="both").arguments.answer == "both"
    run({**plain, "output": str(tmp_path / "dropped"), "stages": [{**plain["stages"][0], "heads": {"units": 1}}]})
    assert not list((tmp_path / "dropped").glob("heads*"))
    with pytest.raises(ModelError, match=r"expected heads .*keep: true"):
        Mellm(adapter=str(tmp_path / "dropped"), answer="head")


def test_heads_of_a_whole_model_on_frames(given: Make, tmp_path: Path) -> None:
    every = dict.fromkeys(("vision", "projector"), "full")
    run({**given(train=every, lora=None, steps=1, heads={"units": 1, "keep": True}), "motion": "off"})
    assert json.loads((tmp_path / "out" / "heads.json").read_text())["pictures"] == 2
    assert Mellm(pretrained=str(tmp_path / "out"), answer="head").motion is None


def test_heads_alone_go_on_in_the_next_stage(given: Make, tmp_path: Path) -> None:
    plain = given(steps=4, learning_rate=0.01)
    (words,) = plain["stages"]
    eyes = {name: value for name, value in words.items() if name != "lora"}
    eyes |= {"name": "eyes", "train": {"projector": "full"}, "heads": {"units": 1, "words": 0, "grid": 2}}
    stages = [eyes, {**words, "steps": 1, "heads": {"units": 1, "grid": 2, "keep": True}}]
    run({**plain, "stages": stages})
    lines = read_curve(tmp_path / "out" / "curve.jsonl")
    first = next(line for line in lines if line["stage"] == "eyes")
    assert first["loss"] == pytest.approx(first["heads_loss"]), "the words have no part in the loss"
    after = next(line for line in lines if line["stage"] == words["name"])
    assert first["heads_loss"] == pytest.approx(log(2)), "of heads that have learnt nothing"
    assert abs(after["heads_loss"] - log(2)) > 0.05
    best = next(line for line in lines if "validation_score" in line)
    assert best["validation_score"] == best["validation_heads_au_f1"] and "validation_label_uf1" not in best


def test_a_run_that_learnt_nothing_is_said(given: Make, tmp_path: Path) -> None:
    made = run({**given(steps=1, learning_rate=1e-9), "validation": {"share": 0.5}})
    (stage,) = made["stages"]
    assert stage["validation"]["outside"] == 1.0
    assert any(fault.startswith("100% of the written labels are not in the set") for fault in stage["faults"])
    assert "Warning, stage labels: 100%" in (tmp_path / "out" / "README.md").read_text()


def test_the_best_state_is_that_of_the_best_score() -> None:
    held = [{"eval_loss": 1.0 - n / 10, "eval_score": score, "step": n} for n, score in enumerate((0.2, 0.6, 0.6, 0.5))]
    history = [entry for one in held for entry in ({"loss": 1.0, "step": one["step"]}, one)]
    assert best_step(history) == 2, "of equal scores that with the lower loss"
    assert has_ended(history, 1) and not has_ended(history, 2)
    assert best_step([{"eval_loss": 2.0, "step": 1}, {"eval_loss": 1.0, "step": 2}]) == 2
