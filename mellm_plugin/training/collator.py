"""Examples -> a batch of tensors with labels for the answers only.

    tokens     <|im_start|> user .. <|im_end|> <|im_start|> assistant \\n   happiness    <|im_end|>   <pad> ..
    labels     -100 ..                                                      happiness    <|im_end|>   -100 ..

The prompt is tokenised by itself, as in evaluation; the answer's tokens follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mellm_plugin.models.inputs import encoded, rendered
from mellm_plugin.training.data import Example

IGNORED = -100
"""Label of a token without loss."""


def chat(example: Example) -> list[dict[str, Any]]:
    """The question of an example as a chat."""
    content = [*({"type": "image"} for _ in example.images), {"type": "text", "text": example.prompt}]
    return [{"role": "user", "content": content}]


class Collator:
    """Makes batches for a model.

    Args:
        processor: of the model, from `loading.load_processor`.
        ends: ids of the tokens that end an answer, from the generation config.
    """

    def __init__(self, processor: Any, ends: Sequence[int] = ()) -> None:
        self.processor = processor
        tokenizer = processor.tokenizer
        self._ends = {*ends, tokenizer.eos_token_id, *tokenizer.all_special_ids} - {None}

    def answer_ids(self, example: Example) -> list[int]:
        """The tokens of the answer and the end token of the chat template."""
        tokenizer = self.processor.tokenizer
        answer = example.answer.strip()
        messages = [*chat(example), {"role": "assistant", "content": [{"type": "text", "text": answer}]}]
        whole: str = self.processor.apply_chat_template(messages, tokenize=False)
        behind = whole.rpartition(answer)[2]
        tail = list(tokenizer(behind, add_special_tokens=False).input_ids)
        end = next((place for place, token in enumerate(tail) if token in self._ends), None)
        closing = [tokenizer.eos_token_id] if end is None else tail[: end + 1]
        return [*tokenizer(answer, add_special_tokens=False).input_ids, *closing]

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """Tensors of a batch, padded on the right.

        Returns:
            all tensors of the processor, with answers appended to text rows, and `labels`: int64 `(batch, tokens)`,
            `IGNORED` everywhere but at the answers and their end tokens.
        """
        texts = [rendered(self.processor, chat(example)) for example in examples]
        prompts = encoded(self.processor, texts, [example.images for example in examples])
        answers = [torch.tensor(self.answer_ids(example)) for example in examples]
        shape, there = prompts["input_ids"].shape, prompts["attention_mask"].bool()
        longest = max(int(row.sum()) + len(answer) for row, answer in zip(there, answers, strict=True))
        # Fill value behind prompt and answer.
        pad = self.processor.tokenizer.pad_token_id
        batch: dict[str, torch.Tensor] = {}
        for name, values in prompts.items():
            if values.shape != shape:
                batch[name] = values  # of the images
                continue
            grown = torch.full((len(examples), longest), pad if name == "input_ids" else 0, dtype=values.dtype)
            for row, (kept, prompt, answer) in enumerate(zip(there, values, answers, strict=True)):
                begin = int(kept.sum())
                grown[row, :begin] = prompt[kept]
                if name in ("input_ids", "attention_mask"):
                    grown[row, begin : begin + len(answer)] = answer if name == "input_ids" else 1
            batch[name] = grown
        labels = torch.full((len(examples), longest), IGNORED)
        for row, (kept, answer) in enumerate(zip(there, answers, strict=True)):
            begin = int(kept.sum())
            labels[row, begin : begin + len(answer)] = answer
        batch["labels"] = labels
        return batch
