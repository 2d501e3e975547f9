"""Batches: the prompt is that of evaluation, token by token, and the answer with its end is all that is learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mellm_plugin.language.deciding import deciding
from mellm_plugin.models import bundled_folder
from mellm_plugin.models.loading import load_model, load_processor
from mellm_plugin.training.collator import IGNORED, Collator, chat
from mellm_plugin.training.data import Example

PICTURES = [np.random.default_rng(n).integers(0, 256, (112, 112, 3), np.uint8) for n in range(3)]
EXAMPLES = [
    Example("a/s/1", "a", "a/s", "label", (PICTURES[0],), "Which expression?", "happiness"),
    Example("a/s/2", "a", "a/s", "aus", (PICTURES[1], PICTURES[2]), "Which action units?", " action units AU1+AU2\n"),
    Example("a/s/3", "a", "a/s", "label", (PICTURES[2],), "A longer question: which of these is it?", "fear"),
]


@pytest.fixture(scope="module", params=["bundled", "tiny"])
def folder(request: pytest.FixtureRequest, base: Path) -> Path:
    return bundled_folder() if request.param == "bundled" else base


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    return load_processor(str(folder))


def test_only_the_answer_and_its_end_are_learnt(processor: Any) -> None:
    tokenizer = processor.tokenizer
    batch = Collator(processor)(EXAMPLES)
    for row, example in enumerate(EXAMPLES):
        tokens = Collator(processor).answer_ids(example)
        said = {"role": "assistant", "content": [{"type": "text", "text": example.answer.strip()}]}
        whole = processor.apply_chat_template([*chat(example), said], tokenize=False)
        assert whole.rstrip("\n").endswith(tokenizer.decode(tokens)), "the chat template ends an answer alike"
        text = processor.apply_chat_template(chat(example), tokenize=False, add_generation_prompt=True)
        alone = processor(text=[text], images=[list(example.images)], return_tensors="pt")
        prompt = alone["input_ids"][0].tolist()
        answer = [*tokenizer(example.answer.strip()).input_ids, tokenizer.convert_tokens_to_ids("<|im_end|>")]
        length = len(prompt) + len(answer)
        padding = batch["input_ids"].shape[1] - length
        assert batch["input_ids"][row].tolist() == [*prompt, *answer, *[tokenizer.pad_token_id] * padding]
        assert batch["labels"][row].tolist() == [*[IGNORED] * len(prompt), *answer, *[IGNORED] * padding]
        assert batch["attention_mask"][row].tolist() == [1] * length + [0] * padding
        kinds = alone["mm_token_type_ids"][0].tolist()
        assert batch["mm_token_type_ids"][row].tolist() == [*kinds, *[0] * (len(answer) + padding)]
    assert batch["image_grid_thw"].shape == (4, 3)


def test_padding_changes_no_loss(folder: Path, processor: Any) -> None:
    model, collator = load_model(str(folder)), Collator(processor)
    with torch.inference_mode():
        together = collator(EXAMPLES)
        logits = model(**{k: v for k, v in together.items() if k != "labels"}).logits
        for row, example in enumerate(EXAMPLES):
            alone = collator([example])
            expected = model(**{k: v for k, v in alone.items() if k != "labels"}).logits[0]
            assert torch.allclose(logits[row, : len(expected)], expected, atol=2e-4)


def test_a_template_without_an_end_token_uses_the_tokenizers(processor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    of_content = "{% for c in m['content'] %}{{ c.get('text', '<|image_pad|>') }}{% endfor %}"
    template = f"{{% for m in messages %}}{of_content}\n{{% endfor %}}"
    monkeypatch.setattr(processor, "chat_template", template)
    tokens = Collator(processor).answer_ids(EXAMPLES[0])
    assert tokens[-1] == processor.tokenizer.eos_token_id
    assert processor.tokenizer.decode(tokens[:-1]) == "happiness"


def test_a_word_that_decides_counts_as_one_however_it_is_spelt(processor: Any) -> None:
    answers = ("happiness", "action units AU1+AU2", "nothing of either kind")
    made = [Example("a/s/1", "a", "a/s", "label", (PICTURES[0],), "?", a, deciding(a, {"happiness"})) for a in answers]
    batch = Collator(processor, deciding=0.5)(made)
    assert ((batch["weights"] > 0) == (batch["labels"] != IGNORED)).all()
    tokenizer = processor.tokenizer
    for row, example in enumerate(made):
        there = batch["labels"][row] != IGNORED
        weights, tokens = batch["weights"][row][there], batch["labels"][row][there]
        assert weights.sum() == pytest.approx(1)
        if not example.deciding:
            assert torch.allclose(weights, torch.full_like(weights, 1 / len(weights)))
            continue
        offsets = tokenizer(example.answer, return_offsets_mapping=True).offset_mapping
        of_words = [
            [n for n, (first, behind) in enumerate(offsets) if first < end and behind > begin]
            for begin, end in example.deciding
        ]
        share = max(0.5, sum(map(len, of_words)) / len(tokens))
        for places in of_words:
            assert weights[places].sum() == pytest.approx(share / len(of_words)), "each word as much as another"
    assert "weights" not in Collator(processor)(made)
