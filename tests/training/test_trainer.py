"""The loss of an optimiser step: Hugging Face's own for even weights, and a mean that batches do not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainingArguments

from mellm_plugin.language.deciding import deciding
from mellm_plugin.models.loading import load_model, load_processor
from mellm_plugin.training.collator import Collator
from mellm_plugin.training.data import Example
from mellm_plugin.training.trainer import StageTrainer

ANSWERS = ("fear", "action units AU1+AU2 (left)", "happiness")


@pytest.fixture
def trainer(base: Path, tmp_path: Path) -> StageTrainer:
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
    return StageTrainer(rates={}, model=load_model(str(base)), args=arguments)


def examples() -> list[Example]:
    rng = np.random.default_rng(0)
    pictures = [(rng.integers(0, 256, (56, 56, 3), np.uint8),) for _ in ANSWERS]
    names = {"fear", "happiness"}
    return [
        Example(f"a/s/{n}", "a", "a/s", "label", picture, "Which?", answer, deciding(answer, names))
        for n, (picture, answer) in enumerate(zip(pictures, ANSWERS, strict=True))
    ]


def test_without_weights_the_loss_is_hugging_faces(trainer: StageTrainer, base: Path) -> None:
    batch = Collator(load_processor(str(base)))(examples())
    with torch.inference_mode():
        own = trainer.compute_loss(trainer.model, batch)
        assert torch.allclose(own, trainer.model(**batch).loss, atol=1e-5)
        assert trainer._get_num_items_in_batch([batch, batch], torch.device("cpu")) == 2 * (batch["labels"] >= 0).sum()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_step_of_several_batches_has_the_mean_of_all_its_answers(
    trainer: StageTrainer, base: Path, share: float
) -> None:
    collator = Collator(load_processor(str(base)), deciding=share)
    parts: list[dict[str, Any]] = [collator(examples()[:1]), collator(examples()[1:])]
    items = trainer._get_num_items_in_batch(parts, torch.device("cpu"))
    with torch.inference_mode():
        together = trainer.compute_loss(trainer.model, collator(examples()))
        in_parts = sum(trainer.compute_loss(trainer.model, part, num_items_in_batch=items) for part in parts)
        assert torch.allclose(in_parts, together, atol=1e-4)
        if share:  # every answer counts as one, the longest too
            alone = [trainer.compute_loss(trainer.model, collator([one])) for one in examples()]
            assert torch.allclose(torch.stack(alone).mean(), together, atol=1e-4)
