"""The likelihood of answers is that of the training loss, however it is computed."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mellm_plugin.models import bundled_folder
from mellm_plugin.models.inputs import rendered
from mellm_plugin.models.likelihood import Likelihood
from mellm_plugin.models.loading import load_model, load_processor
from mellm_plugin.training.collator import Collator, chat
from mellm_plugin.training.data import Example

PICTURES = [np.random.default_rng(n).integers(0, 256, (112, 112, 3), np.uint8) for n in range(3)]
ANSWERS = ["fear", " happiness ", "negative", "\u6124\u6012"]
PROMPTS = ["Which: fear or joy?", "Which: joy or fear?", "One of fear, anger and joy?"]


@pytest.fixture(scope="module", params=["bundled", "tiny"])
def folder(request: pytest.FixtureRequest, base: Path) -> Path:
    return bundled_folder() if request.param == "bundled" else base


def example(at: int, answer: str) -> Example:
    return Example("a/s/1", "a", "a/s", "label", (PICTURES[at],), PROMPTS[at], answer)


def by_the_loss(model: Any, processor: Any, at: int, answer: str) -> tuple[float, int]:
    """Log-likelihood and tokens by the loss that transformers computes of a training batch."""
    batch = Collator(processor)([example(at, answer)])
    tokens = int((batch["labels"] != -100).sum())
    with torch.no_grad():
        return -float(model(**batch).loss) * tokens, tokens


def test_likelihoods_are_those_of_the_training_loss(folder: Path) -> None:
    model, processor = load_model(str(folder)), load_processor(str(folder))
    of = Likelihood(model, processor)
    texts = [rendered(processor, chat(example(at, ""))) for at in range(3)]
    expected = [[by_the_loss(model, processor, at, answer) for answer in ANSWERS] for at in range(3)]
    images = [[picture] for picture in PICTURES]
    for call in range(2):  # the first compares with plain passes, the second has equally long prompts together
        found = of(texts, images, ANSWERS)
        assert found.log.dtype == np.float64 and found.log.shape == (3, 4)
        assert np.allclose(found.log, [[log for log, _ in row] for row in expected], atol=1e-3), call
        assert found.tokens.tolist() == [tokens for _, tokens in expected[0]]
    together = of(texts[:2], images[:2], ANSWERS)
    assert np.allclose(together.log, found.log[:2], atol=1e-3)


def test_a_model_whose_cache_cannot_be_continued_runs_plain_passes(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = load_model(str(base)), load_processor(str(base))
    texts = [rendered(processor, chat(example(at, ""))) for at in range(2)]
    images = [[picture] for picture in PICTURES[:2]]
    expected = Likelihood(model, processor)(texts, images, ANSWERS)
    kept = type(model).forward

    @wraps(kept)
    def forgetful(self: Any, *args: Any, **given: Any) -> Any:
        output = kept(self, *args, **given)
        return type(output)(logits=output.logits)

    @wraps(kept)
    def confused(self: Any, *args: Any, **given: Any) -> Any:
        if given.get("cache", given.get("past_key_values")) is not None:
            given["position_ids"] = torch.zeros_like(given["input_ids"]).expand(3, -1, -1)
        return kept(self, *args, **given)

    for forward in (forgetful, confused):
        monkeypatch.setattr(type(model), "forward", forward)
        of = Likelihood(model, processor)
        found = of(texts, images, ANSWERS)
        monkeypatch.setattr(type(model), "forward", kept)
        assert of._has_cache is False
        assert np.allclose(found.log, expected.log, atol=1e-3)
