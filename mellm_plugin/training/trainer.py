"""Hugging Face's Trainer for a stage: logits of the answers only, a rate for each part, atomic checkpoints, and the
best state on the validation subjects.

    <folder>/checkpoint-100     appears by one rename; the last two are kept
    <folder>/best-80            the best state on validation so far: by score, else by loss
    curve.jsonl                 {"stage": "labels", "step": 7, "loss": 1.23, "learning_rate": 1e-4, ..}, a line a step
"""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from peft import PeftModel
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import ProgressCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from mellm_plugin.errors import TrainingError
from mellm_plugin.models.heads import Heads, VisualTokens, visual_tokens
from mellm_plugin.training.collator import IGNORED, TRUTH, WEIGHTS
from mellm_plugin.training.head_settings import HeadSettings
from mellm_plugin.training.heads import losses, temperatures
from mellm_plugin.training.heads import scores as head_scores
from mellm_plugin.training.parts import groups
from mellm_plugin.training.validation import Decided, Scores

CURVE = "curve.jsonl"
STATE = "trainer_state.json"
SHOWN = (
    *("score", "label_uf1", "au_f1", "unit_f1", "majority", "commonest", "outside"),
    *("heads_loss", "heads_label_uf1", "heads_au_f1"),
)
"""Scores of a validation in the curve, each with `validation_` in front."""

_WRITING = ".writing"
_KEPT = 2  # number of checkpoints to keep
_LOGGED = {
    **{"loss": "loss", "heads_loss": "heads_loss", "eval_loss": "validation_loss"},
    **{name: name for name in ("learning_rate", "grad_norm")},
}


class StageTrainer(Trainer):  # type: ignore[misc]
    """Trains one stage from the state of the given model, with a peak rate for each part; writes only below
    `args.output_dir`."""

    def __init__(
        self, *, rates: Mapping[str, float], heads: Heads | None = None, settings: HeadSettings | None = None,
        scored: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        self._scored = scored
        self._held: list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]] = []
        self.heads, self._settings = heads, settings
        self._prepared_heads = self._prepared(heads) if heads is not None else None
        self._heads_loss = 0.0
        self._rates = rates
        plain = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        self._keeps_logits = "logits_to_keep" in inspect.signature(plain.forward).parameters
        # The loss below is the mean over all answers, or their tokens, of an optimiser step, on all devices.
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True
        self._into: Path | None = None

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW with one rate for each part."""
        made: torch.optim.Optimizer | None = getattr(self, "optimizer", None)
        if made is None:
            parameters = groups(self.model if model is None else model, self._rates, self.args.weight_decay)
            if self.heads is not None and self._settings is not None:
                own = {"lr": self._settings.learning_rate, "weight_decay": self.args.weight_decay}
                parameters.append({"params": list(self.heads.parameters()), **own})
            self.optimizer = made = torch.optim.AdamW(parameters, betas=(0.9, 0.999), eps=1e-8)
            if self.heads is not None:  # Trainer clears the gradients of its model alone
                made.register_step_post_hook(lambda *_: self.heads.zero_grad())
        return made

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Weighted cross-entropy of the answers' tokens, computed only where a row of the batch has one; in training,
        the weighted losses of the heads are added."""
        given = {name: value for name, value in inputs.items() if name not in ("labels", WEIGHTS, TRUTH)}
        items = self._items(inputs) if num_items_in_batch is None else num_items_in_batch / self._devices
        if self._without_words:
            # DistributedDataParallel needs whole passes.
            with self.looking(alone=self.args.world_size == 1) as seen:
                model(**given, use_cache=False)
            assert seen is not None
            of_heads = self._of_heads(seen, inputs) / items
            if model.training:
                self._heads_loss += float(of_heads.detach())
            else:
                self._keep(seen, inputs)
            return (of_heads, {}) if return_outputs else of_heads
        following = inputs["labels"][:, 1:]
        columns = (following != IGNORED).any(dim=0).nonzero().flatten()
        kept = {"logits_to_keep": columns} if self._keeps_logits else {}
        with self.looking() as seen:
            logits = model(**given, use_cache=False, **kept).logits
        logits = (logits if self._keeps_logits else logits[:, columns]).flatten(0, 1).float()
        targets = following[:, columns].flatten()
        loss = functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")
        if WEIGHTS in inputs:
            loss = loss * inputs[WEIGHTS][:, 1:][:, columns].flatten()
        loss = loss.sum()
        # counts the tokens, or weighted answers, of all devices, whose losses are then averaged
        if seen is not None and model.training:
            assert self._settings is not None
            of_heads = self._of_heads(seen, inputs) / items
            self._heads_loss += float(of_heads.detach())
            both = self._settings.words * loss / items + of_heads
            return (both, {}) if return_outputs else both
        if seen is not None:
            self._keep(seen, inputs)
        return (loss / items, {}) if return_outputs else loss / items

    def _keep(self, seen: VisualTokens, inputs: dict[str, Any]) -> None:
        """Keep what the heads say of a validation batch, to be scored."""
        assert self.heads is not None
        read = self.heads(seen.pictures(inputs, self.heads.shape.pictures))
        self._held.append(tuple({k: v.cpu() for k, v in of.items()} for of in (read, inputs[TRUTH])))  # type: ignore[arg-type]

    def evaluation_loop(self, *given: Any, **named: Any) -> Any:
        """The validation loss, and the scores of `validation` for the same examples."""
        self._held = []
        found = super().evaluation_loop(*given, **named)
        found.metrics.update({f"eval_{name}": value for name, value in self._scores().items()})
        return found

    def _scores(self) -> dict[str, float]:
        found: dict[str, float] = {}
        if self._scored and not self._without_words and not (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            model, examples = self.accelerator.unwrap_model(self.model), self.eval_dataset
            mine = (examples[i] for i in range(self.args.process_index, len(examples), self.args.world_size))
            with self.accelerator.autocast():
                decided = Scores(model, self.data_collator, self.args.eval_batch_size).of(mine)
            every = Decided()
            for one in self._gathered(decided):
                every.add(one)
            found = every.scores()
        if self.heads is not None and (held := [one for some in self._gathered(self._held) for one in some]):
            logits, truths = ({k: torch.cat([of[n][k] for of in held]) for k in held[0][n]} for n in (0, 1))
            self.heads.shape = replace(self.heads.shape, temperatures=temperatures(logits, truths))
            of_heads = head_scores(self.heads.shape, logits, truths)
            if self._scored and self._without_words and (read := [v for k, v in of_heads.items() if k != "loss"]):
                found["score"] = sum(read) / len(read)
            found |= {f"heads_{name}": value for name, value in of_heads.items()}
        return found

    def _gathered(self, own: Any) -> list[Any]:
        """An object of each process."""
        if self.args.world_size == 1:
            return [own]
        every: list[Any] = [None] * self.args.world_size
        torch.distributed.all_gather_object(every, own)
        return every

    @property
    def _without_words(self) -> bool:
        """Whether the heads alone are trained."""
        return self._settings is not None and not self._settings.words

    def looking(self, alone: bool = False) -> AbstractContextManager[VisualTokens | None]:
        """Keeps the visual tokens of forward passes, if there are heads."""
        return nullcontext() if self.heads is None else visual_tokens(self.accelerator.unwrap_model(self.model), alone)

    def _of_heads(self, seen: VisualTokens, inputs: dict[str, Any]) -> torch.Tensor:
        """The weighted losses of the heads; an example counts as much as its answer."""
        assert self._prepared_heads is not None and self.heads is not None and self._settings is not None
        logits = self._prepared_heads(seen.pictures(inputs, self.heads.shape.pictures))
        weights = self._settings.weights()
        each: Any = sum(weights[kind] * loss for kind, loss in losses(logits, inputs[TRUTH]).items())
        return (each if WEIGHTS in inputs else each * (inputs["labels"][:, 1:] != IGNORED).sum(1)).sum()

    def _prepared(self, heads: Heads) -> Any:
        """The heads on this device; their gradients are averaged over all devices."""
        if self.is_deepspeed_enabled:
            raise TrainingError("heads: expected one or more GPUs by DDP or FSDP, found DeepSpeed; train without heads")
        heads = heads.to(self.args.device)
        return DistributedDataParallel(heads) if self.args.world_size > 1 else heads

    @property
    def _devices(self) -> int:
        return int(self.accelerator.num_processes)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with the part of the heads in the loss of a step."""
        if "loss" in logs and self.heads is not None:
            every = self._gathered(self._heads_loss)
            logs["heads_loss"], self._heads_loss = sum(every) / len(every), 0.0
        super().log(logs, start_time)

    @staticmethod
    def _items(inputs: dict[str, Any]) -> torch.Tensor | int:
        """What the loss of a batch is a mean over: its answers if their tokens have weights, else their tokens."""
        labels = inputs["labels"]
        return len(labels) if WEIGHTS in inputs else (labels[:, 1:] != IGNORED).sum()

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor | None:
        """The items of an optimiser step on all devices."""
        if not batch_samples:
            return None
        count = torch.as_tensor(sum(self._items(batch) for batch in batch_samples), device=device)
        return self.accelerator.gather(count).sum() if self.args.world_size > 1 else count

    def training_step(self, *given: Any, **named: Any) -> torch.Tensor:
        """A forward and backward pass; raises TrainingError if the loss is NaN or infinite."""
        loss: torch.Tensor = super().training_step(*given, **named)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"step {self.state.global_step + 1} of {self.state.max_steps}: expected a finite loss, found "
                f"{loss.item()}. Lower the learning_rate or max_grad_norm (now {self.args.max_grad_norm:g}), or "
                "lengthen the warmup, and start again with --restart"
            )
        return loss

    def save_state(self, folder: Path) -> None:
        """Save the weights to a folder atomically; every process takes part. A full disk raises TrainingError."""
        self._write(folder, lambda part: self.save_model(str(part), _internal_call=True))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"

        def write(part: Path) -> None:
            self._into = part.parent  # Trainer creates a folder of this name in it
            try:
                Trainer._save_checkpoint(self, model, trial)
            finally:
                self._into = None

        folder = Path(self.args.output_dir)
        self._write(folder / name, write)
        if self.args.should_save:
            for old in checkpoints(folder)[:-_KEPT]:
                shutil.rmtree(old, ignore_errors=True)

    def _write(self, folder: Path, write: Callable[[Path], None]) -> None:
        """Write a folder under another name, then rename it."""
        beside = folder.parent / _WRITING
        try:
            write(beside / folder.name)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                if folder.exists():
                    shutil.rmtree(folder)
                (beside / folder.name).rename(folder)
        except Exception as error:  # torch, safetensors and Python raise different errors for a full disk
            whole = checkpoints(Path(self.args.output_dir))
            raise TrainingError(
                f"{folder} cannot be saved: {error}. Free disk space and run the same command again: it resumes from "
                f"{whole[-1] if whole else 'the beginning of the stage'}"
            ) from error
        finally:
            if self.args.should_save:
                shutil.rmtree(beside, ignore_errors=True)
        self.accelerator.wait_for_everyone()

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._into or self.args.output_dir)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save only weights and config. PEFT would query the hub about embeddings, which are never trained here."""
        if self.args.should_save:
            model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
            own = {"save_embedding_layers": False} if isinstance(model, PeftModel) else {}
            model.save_pretrained(output_dir, state_dict=state_dict, is_main_process=True, **own)
            if self.heads is not None:
                self.heads.save(Path(str(output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Do nothing: the model was built from the checkpoint."""


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a stage, oldest first."""
    found = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if (path / STATE).is_file()]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def history_of(checkpoint: Path) -> dict[str, Any]:
    """The trainer state of a checkpoint: `global_step`, `max_steps`, `log_history`."""
    found: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return found


def validations(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries of the validations, oldest first, without the prefix of their names."""
    return [
        {name.removeprefix("eval_"): value for name, value in entry.items()}
        for entry in history
        if "eval_loss" in entry
    ]


def best_step(history: list[dict[str, Any]]) -> int | None:
    """The step with the highest score on validation and of equals the lowest loss; None without validation."""
    return min(((*_rank(one), int(one["step"])) for one in validations(history)), default=(None,))[-1]


def has_ended(history: list[dict[str, Any]], patience: int | None) -> bool:
    """Whether the last `patience` validations were no better than the best before them."""
    ranks = list(map(_rank, validations(history)))
    return patience is not None and bool(ranks) and len(ranks) - 1 - ranks.index(min(ranks)) >= patience


def _rank(validation: dict[str, Any]) -> tuple[float, float]:
    """The lower, the better: by score if there is one, then by loss."""
    return -validation.get("score", 0.0), validation["loss"]


def best_folder(folder: Path, step: int) -> Path:
    """The folder of the best state, saved at this step."""
    return folder / f"best-{step}"


class KeepBest(TrainerCallback):  # type: ignore[misc]
    """Validates at the last step, too, keeps the best state, and ends the stage when no better one comes.

    All decisions follow from the loss history in the checkpoints, so a resumed run decides like an uninterrupted one.
    """

    def __init__(self, patience: int | None) -> None:
        self._patience = patience
        self.trainer: StageTrainer | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        assert self.trainer is not None
        if state.global_step >= state.max_steps and self.trainer.eval_dataset is not None:
            control.should_evaluate = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        assert self.trainer is not None
        folder = Path(args.output_dir)
        if best_step(state.log_history) == state.global_step:
            self.trainer.save_state(best_folder(folder, state.global_step))
            if args.should_save:
                # A run resumed from a checkpoint may need the best state of that checkpoint's history.
                kept = {state.global_step, *(best_step(history_of(one)["log_history"]) for one in checkpoints(folder))}
                for old in folder.glob("best-*"):
                    if old not in {best_folder(folder, step) for step in kept if step is not None}:
                        shutil.rmtree(old, ignore_errors=True)
        if has_ended(state.log_history, self._patience):
            control.should_training_stop = True


class Curve(TrainerCallback):  # type: ignore[misc]
    """Writes a line to `curve.jsonl` for each step and each validation."""

    def __init__(self, file: Path, stage: str, seconds: float = 0.0) -> None:
        self._file, self._stage, self._before = file, stage, seconds
        self._began = monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        line = {own: logs[name] for name, own in _LOGGED.items() if name in logs}
        line |= {f"validation_{name}": logs[f"eval_{name}"] for name in SHOWN if f"eval_{name}" in logs}
        if state.is_world_process_zero and ("loss" in line or "validation_loss" in line):
            seconds = round(self._before + monotonic() - self._began, 2)
            line = {"stage": self._stage, "step": state.global_step, **line, "seconds": seconds}
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


class Bar(ProgressCallback):  # type: ignore[misc]
    """A progress bar that shows the losses."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self._stage = stage
        self._shown: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Open the bar at the first step of a resumed run."""
        super().on_train_begin(args, state, control, **named)
        if self.training_bar is not None:
            self.training_bar.set_description(self._stage)
            self.training_bar.update(state.global_step)
            self.current_step = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        for name in ("loss", "eval_loss"):
            if name in logs:
                self._shown[_LOGGED[name]] = f"{logs[name]:.4f}"
        if self.training_bar is not None:
            self.training_bar.set_postfix(self._shown)


def read_curve(file: Path) -> list[dict[str, Any]]:
    """The lines of a curve, without an incomplete last one."""
    if not file.is_file():
        return []
    lines: list[dict[str, Any]] = []
    with suppress(ValueError):
        lines.extend(map(json.loads, file.read_text(encoding="utf-8").splitlines()))
    return lines
