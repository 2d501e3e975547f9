"""Fine-tuning: the stages of a config, one after the other, into one folder that `lmms-eval` evaluates.

    runs/labels/                        the finished adapter, see adapter.py; also curve.jsonl
    runs/labels/run/made_from.json      base, config and data of the run below; a run with others is refused
    runs/labels/run/1-labels/           checkpoints of a stage during its training
    runs/labels/run/1-labels/done       its outcome
    runs/labels/run/logs/               for TensorBoard

Every stage starts from files: the base, and the outcome of the previous stage or a checkpoint. A killed run therefore
resumes without a trace: the examples of each step are fixed in advance, and checkpoints hold the rest.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import torch
from accelerate import PartialState
from loguru import logger
from torch.utils.data import Dataset, get_worker_info
from transformers import TrainingArguments, set_seed
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from mellm_plugin.children import end_with_parent
from mellm_plugin.errors import MellmError, TrainingError
from mellm_plugin.language.prompts import PROMPT_VERSION
from mellm_plugin.locks import sole_writer
from mellm_plugin.models.heads import FILES as HEAD_FILES
from mellm_plugin.models.heads import Heads
from mellm_plugin.models.loading import carried_record, load_model, local_or_hub
from mellm_plugin.models.record import FILE as RECORD
from mellm_plugin.models.record import read_record, together, write_record
from mellm_plugin.small_files import write_text
from mellm_plugin.training import adapter, stages
from mellm_plugin.training.collator import Collator
from mellm_plugin.training.config import Config, Stage
from mellm_plugin.training.data import Example, Examples
from mellm_plugin.training.heads import new_heads
from mellm_plugin.training.parts import patches_as_product, train_only
from mellm_plugin.training.stage_model import build_model, end_tokens, prepare_processor
from mellm_plugin.training.trainer import (
    CURVE,
    SHOWN,
    Bar,
    Curve,
    KeepBest,
    StageTrainer,
    best_folder,
    best_step,
    checkpoints,
    has_ended,
    history_of,
    read_curve,
    validations,
)
from mellm_plugin.training.validation import faults

RUN = "run"
_MADE_FROM = "made_from.json"
_DONE = "done"
_OUTCOME = "stage.json"
_WRITTEN = (
    "adapter_model*.safetensors", "model*.safetensors", "model.safetensors.index.json",
    "adapter_config.json", "config.json", "generation_config.json", "motion.json",
    "*processor_config.json", "chat_template*", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "README.md", *HEAD_FILES,
)  # fmt: skip
"""Files of a finished folder beside its record and curve. The weights come first: only they make a model."""

_FREE = ("output", "logging", "trainer.workers", "trainer.save_every")
"""Settings that may change before a run is resumed."""


class _ExampleDataset(Dataset[Example]):  # type: ignore[misc]
    def __init__(self, examples: Examples) -> None:
        self._examples = examples
        self._first = True

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        if self._first and get_worker_info() is not None:
            end_with_parent()
        self._first = False
        return self._examples[index]


def finetune(config: Config, *, restart: bool = False, progress: bool = True) -> dict[str, Any]:
    """Run the unfinished stages of a config and write the output folder; `restart` deletes an earlier run in it.

    Returns:
        the record of the training; `models/record.py` shows one.

    Raises:
        InputError: data or subjects cannot be used; lists every fault.
        ModelError: the base cannot be loaded.
        TrainingError: the folder belongs to another config, base or data, or the training cannot continue. Checkpoints
            stay complete.
        BusyError: another process trains into the folder.
    """
    if "LOCAL_RANK" in os.environ:  # one of several processes of torchrun or accelerate
        end_with_parent()
    output = Path(config.output).expanduser()
    state = processes()
    # Forked workers do not inherit OpenCV's threads and would wait for them forever.
    cv2.setNumThreads(1)
    with sole_writer(output, folder=True) if state.is_main_process else nullcontext():
        return _Run(config, output, progress).all(restart)


def processes() -> PartialState:
    """This process among those of accelerate or torchrun; on GPUs if the machine has any."""
    return PartialState(cpu=not torch.cuda.is_available())


class _Run:
    def __init__(self, config: Config, output: Path, progress: bool) -> None:
        self.config, self.output, self.progress = config, output, progress
        self.folder = output / RUN
        self.state = processes()
        self.base_folder = local_or_hub(config.base)
        self.base = adapter.base_fingerprint(config.base, self.base_folder, config.revision)
        self.data = stages.fingerprint([source for stage in config.stages for source in stage.data])
        self.sides = stages.split(config)
        stages.check(config, self.sides)
        if config.adapter is not None:
            adapter.check_start(Path(config.adapter).expanduser(), config, self.base)

    def all(self, restart: bool) -> dict[str, Any]:
        if self.state.is_main_process:
            if restart and ((self.folder / _MADE_FROM).is_file() or (self.output / RECORD).is_file()):
                self._remove_written()  # the record goes last: weights without it would claim to have seen nobody
                shutil.rmtree(self.folder, ignore_errors=True)
                (self.output / RECORD).unlink(missing_ok=True)
            self._check_made_from()
        self.state.wait_for_everyone()
        if (self.output / RECORD).is_file():
            return read_record(self.output)
        outcomes: list[dict[str, Any]] = []
        for number in range(len(self.config.stages)):
            done = self._stage_folder(number) / _DONE
            if not (done / _OUTCOME).is_file():
                self._train(number)
            elif self.state.is_main_process:
                _remove_beside(done)
            outcomes.append(json.loads((done / _OUTCOME).read_text(encoding="utf-8")))
        made = adapter.record(self.config, self.base, self.data, self.sides.seen, self.sides.validation, outcomes)
        starts = [(self.base_folder, self.config.revision), (self.config.adapter, None)]
        for source, revision in starts:  # the outcome has seen everybody that these have seen
            made = together(carried_record(source, revision) if source else None, made) or made
        if self.state.is_main_process:
            self._write_folder(made)
        self.state.wait_for_everyone()
        return read_record(self.output)

    def _stage_folder(self, number: int) -> Path:
        return self.folder / f"{number + 1}-{self.config.stages[number].name}"

    def _check_made_from(self) -> None:
        """Refuse to resume the run of another config, base or data."""
        file = self.folder / _MADE_FROM
        own = {"config": self.config.to_dict(), "base": self.base["sha256"], "prompts": PROMPT_VERSION}
        own |= {"data": self.data, "processes": self.state.num_processes}  # processes share the examples of a step
        finished = (self.output / RECORD).is_file()
        begun = any((path / _DONE).is_dir() or checkpoints(path) for path in self.folder.glob("[0-9]*-*"))
        if finished and not file.is_file():
            raise TrainingError(
                f"{self.output} holds a finished training without a note of its settings; choose another "
                "output=, or use --restart to delete it"
            )
        if file.is_file() and (begun or finished):
            then, now = _flat(json.loads(file.read_text(encoding="utf-8"))), _flat(own)
            differences = "".join(
                f"\n  - {name}: then {then.get(name, 'none')}, now {now.get(name, 'none')}"
                for name in sorted({*then, *now})
                if then.get(name) != now.get(name) and not name.removeprefix("config.").startswith(_FREE)
            )
            if differences:
                raise TrainingError(
                    f"{self.output} holds a training that was started with other settings:{differences}\nUse the same "
                    "settings to resume it, another output= to keep it, or --restart to delete it"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(own, indent=1) + "\n")

    def _train(self, number: int) -> None:
        config, stage = self.config, self.config.stages[number]
        folder = self._stage_folder(number)
        arguments = self._arguments(number)
        per_step = config.trainer.batch_size * config.trainer.accumulation * arguments.world_size
        examples = stages.shown(config, number, self.sides, per_step, max(1, config.trainer.workers))
        held = stages.validated(config, number, self.sides)
        checkpoint = next(reversed(checkpoints(folder)), None)
        before = self._stage_folder(number - 1) / _DONE if number else None
        set_seed(config.seed)
        model = build_model(config, self.base_folder, checkpoint or before, arguments.device)
        if arguments.device.type == "cpu":
            patches_as_product(model)
        train_only(model, stage, keep_dtype=config.dtype == "bfloat16")
        if config.full and config.dtype == "auto" and arguments.device.type != "cpu":
            for parameter in model.parameters():
                if not parameter.requires_grad:
                    parameter.data = parameter.data.to(torch.bfloat16)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise TrainingError(
                f"stage {stage.name!r}: expected parameters to train, found none in {config.base} for {stage.train}"
            )
        processor = prepare_processor(config, self.base_folder)
        history: dict[str, Any] = history_of(checkpoint) if checkpoint else {"global_step": 0, "log_history": []}
        step = history["global_step"]
        keeping = KeepBest(config.trainer.patience)
        curve = Curve(self.output / CURVE, stage.name, self._cut_curve(stage.name, step))
        heads = None
        if stage.heads is not None:
            heads = Heads.load(checkpoint) if checkpoint else new_heads(stage.heads, model, processor, examples, before)
        trainer = StageTrainer(
            rates=stage.learning_rate,
            heads=heads,
            settings=stage.heads,
            scored=config.validation.by == "score",
            model=model,
            args=arguments,
            data_collator=Collator(processor, end_tokens(model), stage.deciding, heads.shape if heads else None),
            train_dataset=_ExampleDataset(examples),
            eval_dataset=_ExampleDataset(held) if held else None,
            callbacks=[keeping, curve, *self._loggers(stage.name, step)],
        )
        keeping.trainer = trainer
        trainer.remove_callback(ProgressCallback)
        trainer.remove_callback(PrinterCallback)
        if self.progress:
            trainer.add_callback(Bar(stage.name))
        all_steps = checkpoint is not None and step >= history["max_steps"]
        if not all_steps and not has_ended(history["log_history"], config.trainer.patience):
            self._run(trainer, checkpoint, examples, number)
            history = {"log_history": trainer.state.log_history, "global_step": trainer.state.global_step}
        self._finish(trainer, folder, stage, history)
        del trainer, model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _arguments(self, number: int) -> TrainingArguments:
        config, stage, own = self.config, self.config.stages[number], self.config.trainer
        on_gpu = torch.cuda.is_available()
        held = stages.validated(config, number, self.sides) is not None
        return TrainingArguments(
            output_dir=str(self._stage_folder(number)),
            per_device_train_batch_size=own.batch_size,
            per_device_eval_batch_size=own.batch_size,
            gradient_accumulation_steps=own.accumulation,
            activation_checkpointing=own.gradient_checkpointing,
            activation_checkpointing_kwargs={"use_reentrant": False} if own.gradient_checkpointing else None,
            num_train_epochs=1,  # of examples that are unrolled already
            train_sampling_strategy="sequential",
            learning_rate=max(stage.learning_rate.values()),
            lr_scheduler_type={"constant": "constant_with_warmup"}.get(stage.schedule, stage.schedule),
            warmup_steps=own.warmup,
            weight_decay=own.weight_decay,
            max_grad_norm=own.max_grad_norm,
            bf16=config.dtype == "bfloat16" or (config.dtype == "auto" and on_gpu),
            use_cpu=not on_gpu,
            seed=config.seed,
            logging_steps=1,
            logging_nan_inf_filter=False,
            save_strategy="steps",
            save_steps=own.save_every,
            eval_strategy="steps" if held else "no",
            eval_steps=own.evaluate_every,
            prediction_loss_only=True,
            dataloader_num_workers=own.workers,
            dataloader_persistent_workers=False,
            dataloader_pin_memory=on_gpu,
            remove_unused_columns=False,
            ddp_find_unused_parameters=False,
            disable_tqdm=not self.progress,
            report_to=["wandb"] if config.logging == "wandb" else [],
            run_name=f"{self.output.name}-{stage.name}",
        )

    def _loggers(self, stage: str, step: int) -> list[Any]:
        if self.config.logging != "tensorboard" or not self.state.is_main_process:
            return []
        if importlib.util.find_spec("tensorboard") is None:
            logger.info(f"mellm: TensorBoard is not installed (pip install tensorboard); see {self.output / CURVE}")
            return []
        from torch.utils.tensorboard import SummaryWriter

        return [TensorBoardCallback(SummaryWriter(str(self.folder / "logs" / stage), purge_step=step + 1))]

    def _run(self, trainer: StageTrainer, checkpoint: Path | None, examples: Examples, number: int) -> None:
        stage = self.config.stages[number]
        try:
            examples[0]  # drawing clips first shows its own progress bar
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except TrainingError:
            raise
        except MellmError as error:
            raise TrainingError(
                f"stage {stage.name!r}, after step {trainer.state.global_step}: cannot make an example: "
                f"{_without_traceback(error)}. Repair the data or prepare it again (mellm datasets verifies it). The "
                "same command then resumes from the last checkpoint if the data is as before; otherwise use --restart"
            ) from error
        except (RuntimeError, MemoryError) as error:
            known = isinstance(error, torch.OutOfMemoryError | MemoryError)
            if known or "allocate memory" in str(error) or "out of memory" in str(error):
                raise TrainingError(self._advice(trainer, error)) from error
            raise

    def _advice(self, trainer: StageTrainer, error: BaseException) -> str:
        """The memory used and available, and the settings to lower."""
        own = self.config.trainer
        used, ways = "", []
        if torch.cuda.is_available():
            peak, (free, total) = torch.cuda.max_memory_allocated(), torch.cuda.mem_get_info()
            used = f" (peak {peak / 2**30:.1f} GiB of {total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free now)"
        if (half := own.batch_size // 2) > 0:
            longer = -(-own.batch_size * own.accumulation // half)
            ways.append(f"trainer.batch_size={half} with trainer.accumulation={longer}")
        if not own.gradient_checkpointing:
            ways.append("trainer.gradient_checkpointing=true")
        now = self.config.max_pixels
        ways.append(f"max_pixels={(now or 448 * 448) // 2} (now {now or 'the limit of the base'})")
        if self.config.full:
            ways.append("lora instead of full, or FSDP over several GPUs (docs/finetune.md)")
        said = str(error).split("\n")[0]
        return (
            f"step {trainer.state.global_step + 1}: out of memory for batches of {own.batch_size}{used}: "
            f"{said} Try with --set: {'; or '.join(ways)}. This changes the config: set another output=, or --restart"
        )

    def _finish(self, trainer: StageTrainer, folder: Path, stage: Stage, history: Mapping[str, Any]) -> None:
        """Turn the best state of a stage into its outcome; without validation, its last state."""
        log, kept = history["log_history"], folder / "outcome"
        best = best_step(log)
        if best is None:
            trainer.save_state(kept)
        elif self.state.is_main_process and not kept.is_dir():
            best_folder(folder, best).rename(kept)
        if self.state.is_main_process:
            losses = [entry["loss"] for entry in log if "loss" in entry][-10:]
            held = next((one for one in validations(log) if one["step"] == best), {})
            found = faults(held)
            for fault in found:
                logger.warning(f"mellm: stage {stage.name!r}: {fault}")
            outcome = {
                "name": stage.name,
                "steps": history["global_step"],
                "kept_step": best or history["global_step"],
                "loss": sum(losses) / len(losses),
                "validation_loss": held.get("loss"),
                "validation": {name: held[name] for name in SHOWN if name in held},
                "faults": found,
                "seconds": _seconds(read_curve(self.output / CURVE), stage.name),
            }
            (kept / _OUTCOME).write_text(json.dumps(outcome) + "\n", encoding="utf-8")
            kept.rename(folder / _DONE)
            _remove_beside(folder / _DONE)
        self.state.wait_for_everyone()

    def _cut_curve(self, stage: str, step: int) -> float:
        """Remove the steps that will be repeated from the curve; returns the seconds of the steps before."""
        file, names = self.output / CURVE, [one.name for one in self.config.stages]
        before = names[: names.index(stage)]
        kept = [
            line
            for line in read_curve(file)
            if line["stage"] in before or (line["stage"] == stage and line["step"] <= step)
        ]
        if self.state.is_main_process:
            write_text(file, "".join(json.dumps(line) + "\n" for line in kept))
        return _seconds(kept, stage)

    def _remove_written(self, kept: Collection[str] = ()) -> None:
        """Remove what an earlier training wrote into the output folder."""
        for path in [path for pattern in _WRITTEN for path in self.output.glob(pattern) if path.name not in kept]:
            path.unlink(missing_ok=True)  # two patterns may name one file

    def _write_folder(self, made: dict[str, Any]) -> None:
        """Write the files for evaluation; the record comes last and marks the folder as finished."""
        config = self.config
        part = self.output / RUN / "folder"
        shutil.rmtree(part, ignore_errors=True)
        done = self._stage_folder(len(config.stages) - 1) / _DONE
        try:
            if config.full:
                dtype = "bfloat16" if torch.cuda.is_available() else "float32"
                dtype = dtype if config.dtype == "auto" else config.dtype
                load_model(str(done), dtype=dtype, trust_remote_code=config.trust_remote_code).save_pretrained(part)
            else:
                shutil.copytree(done, part, ignore=shutil.ignore_patterns(_OUTCOME, "README.md", *HEAD_FILES))
            if (last := config.stages[-1].heads) is not None and last.keep:
                for name in HEAD_FILES:
                    shutil.copy2(done / name, part / name)
            prepare_processor(config, self.base_folder).save_pretrained(part)
            if config.motion is not None:
                config.motion.save(part)
            (part / "README.md").write_text(adapter.card(config, made), encoding="utf-8")
            self._remove_written({path.name for path in part.iterdir()})
            for path in sorted(part.iterdir()):
                if (target := self.output / path.name).is_dir():
                    shutil.rmtree(target)
                os.replace(path, target)
            write_record(self.output, made)
        except OSError as error:
            raise TrainingError(
                f"{self.output} cannot be written: {error}. Free disk space and run the same command again: the "
                "training is finished and kept"
            ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _seconds(curve: list[dict[str, Any]], stage: str) -> float:
    """The seconds of a stage so far."""
    return float(next((line["seconds"] for line in reversed(curve) if line["stage"] == stage), 0.0))


def _remove_beside(kept: Path) -> None:
    """Remove everything else in the folder of `kept`."""
    for path in kept.parent.iterdir():
        if path != kept:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def _without_traceback(error: BaseException) -> str:
    """The message of an error, without the traceback of its worker process."""
    text = str(error)
    return text.rpartition("mellm_plugin.errors.")[2].partition(": ")[2] if "Traceback" in text else text


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested values as one mapping from path to leaf."""
    inner: dict[str, Any] = {}
    if isinstance(value, dict):
        inner = {f"{path}.{key}" if path else key: one for key, one in value.items()}
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        inner = {f"{path}[{number}]": one for number, one in enumerate(value)}
    return {k: v for key, one in inner.items() for k, v in _flat(one, key).items()} if inner else {path: value}
