"""Examples -> one batch of tensors, with the loss on the answers alone.

    tokens     <|im_start|> user .. <|im_end|> <|im_start|> assistant \\n   happiness    <|im_end|>   <pad> ..
    labels     -100 ..                                                      happiness    <|im_end|>   -100 ..

The prompt is made into tokens by itself, as it is when the model answers it; the answer's tokens come behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mellm_plugin.models.inputs import encoded, rendered
from mellm_plugin.training.data import Example

IGNORED = -100
"""Label of a token that has no part in the loss."""


def chat(example: Example) -> list[dict[str, Any]]:
    """The question of an example as chat templates read it."""
    content = [*({"type": "image"} for _ in example.images), {"type": "text", "text": example.prompt}]
    return [{"role": "user", "content": content}]


class Collator:
    """Makes batches for a model whose processor `loading.load_processor` accepts.

    Args:
        processor: of the model.
        ends: ids of the tokens at which the model ends an answer, from its generation config.
    """

    def __init__(self, processor: Any, ends: Sequence[int] = ()) -> None:
        self.processor = processor
        tokenizer = processor.tokenizer
        self._ends = {*ends, tokenizer.eos_token_id, *tokenizer.all_special_ids} - {None}

    def answer_ids(self, example: Example) -> list[int]:
        """The tokens of the answer and the one that ends it, as the chat template ends it."""
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
            all that the processor returns, its rows grown by the answers, and `labels`: int64 `(batch, tokens)`,
            `IGNORED` for all but the answers and their ends.
        """
        texts = [rendered(self.processor, chat(example)) for example in examples]
        prompts = encoded(self.processor, texts, [example.images for example in examples])
        answers = [torch.tensor(self.answer_ids(example)) for example in examples]
        shape, there = prompts["input_ids"].shape, prompts["attention_mask"].bool()
        longest = max(int(row.sum()) + len(answer) for row, answer in zip(there, answers, strict=True))
        # Of each row of text: what stands behind its prompt, and in the padding.
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
