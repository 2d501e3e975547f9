"""Examples -> a batch of tensors with labels for the answers only.

    tokens     <|im_start|> user .. <|im_end|> <|im_start|> assistant \\n   happiness    <|im_end|>   <pad> ..
    labels     -100 ..                                                      happiness    <|im_end|>   -100 ..

The prompt is tokenised by itself, as in evaluation; the answer's tokens follow. With `deciding`, each answer counts as
one. The words that decide (`language.deciding`) have at least this share of it, each word as much as another, however
many tokens spell it:

    expression :   n    e  gative  .   <|im_end|>
    .1        .1  .2   .2   .2    .1      .1            deciding: 0.6
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from loguru import logger
from torch.nn.utils.rnn import pad_sequence

from mellm_plugin.models.heads import HeadShape
from mellm_plugin.models.inputs import answer_ids, encoded, rendered
from mellm_plugin.training.data import Example
from mellm_plugin.training.heads import targets

IGNORED = -100
"""Label of a token without loss."""

WEIGHTS, TRUTH = "weights", "truth"
"""The names of the tokens' weights, and of the targets of heads, in a batch."""


def chat(example: Example) -> list[dict[str, Any]]:
    content = [*({"type": "image"} for _ in example.images), {"type": "text", "text": example.prompt}]
    return [{"role": "user", "content": content}]


class Collator:
    """Makes batches for the model of a processor.

    `ends` are the tokens that end an answer in its generation config; `deciding` is the share of an answer's loss for
    the words that decide, 0: every token counts alike; `heads` adds the targets of heads.
    """

    def __init__(
        self, processor: Any, ends: Sequence[int] = (), deciding: float = 0.0, heads: HeadShape | None = None
    ) -> None:
        self.processor, self.deciding, self.ends, self.heads = processor, deciding, tuple(ends), heads
        if deciding and not processor.tokenizer.is_fast:
            self.deciding = 0.0
            logger.warning(
                "mellm: deciding is ignored: the base's tokenizer does not tell where in a text its tokens are"
            )

    def answer_ids(self, example: Example) -> list[int]:
        """The tokens of the answer and the end token of the chat template."""
        return answer_ids(self.processor, example.answer, self.ends)

    def answer_weights(self, example: Example, length: int) -> torch.Tensor:
        """The weights of an answer's `length` tokens, its end tokens among them, float32.

        They sum to 1. Words that decide keep their share of the tokens where that is more than `deciding`.
        """
        answer = example.answer.strip()
        cut = len(example.answer) - len(example.answer.lstrip())
        offsets = self.processor.tokenizer(answer, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
        words = [
            [n for n, (first, behind) in enumerate(offsets) if first < end - cut and behind > begin - cut]
            for begin, end in example.deciding
        ]
        words = [tokens for tokens in words if tokens]
        taken = {n for tokens in words for n in tokens}
        weights = torch.zeros(length)
        if not taken:
            return weights + 1 / length
        share = max(self.deciding, len(taken) / length)
        for tokens in words:
            weights[tokens] += share / len(words) / len(tokens)
        frame = [n for n in range(length) if n not in taken]
        weights[frame] = (1 - share) / len(frame)
        return weights

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Tensors of a batch, padded on the right.

        Returns:
            all tensors of the processor, with answers appended to text rows, and `labels`: int64 `(batch, tokens)`,
            `IGNORED` everywhere but at the answers and their end tokens; with `deciding` also `weights`, float32 of
            the same shape, and with `heads` the mapping `truth` of `heads.targets`.
        """
        texts = [rendered(self.processor, chat(example)) for example in examples]
        batch = dict(encoded(self.processor, texts, [example.images for example in examples]))
        answers = [torch.tensor(self.answer_ids(example)) for example in examples]
        shape, there = batch["input_ids"].shape, batch["attention_mask"].bool()
        # Of each tensor, what an answer adds to a row, and the padding.
        added = {"input_ids": answers, "attention_mask": [torch.ones_like(answer) for answer in answers]}
        padding = {"input_ids": self.processor.tokenizer.pad_token_id}
        nothing = [torch.zeros_like(answer) for answer in answers]
        for name, values in batch.items():
            if values.shape == shape:  # not of the images
                rows = zip(values, there, added.get(name, nothing), strict=True)
                whole = [torch.cat([row[kept], more.to(row.dtype)]) for row, kept, more in rows]
                batch[name] = pad_sequence(whole, batch_first=True, padding_value=padding.get(name, 0))
        unlearnt = [torch.full((int(kept.sum()),), IGNORED) for kept in there]
        labels = [torch.cat(pair) for pair in zip(unlearnt, answers, strict=True)]
        batch["labels"] = pad_sequence(labels, batch_first=True, padding_value=IGNORED)
        if self.deciding:
            pairs = zip(unlearnt, examples, answers, strict=True)
            weights = [torch.cat([0.0 * of, self.answer_weights(one, len(answer))]) for of, one, answer in pairs]
            batch[WEIGHTS] = pad_sequence(weights, batch_first=True)
        if self.heads is not None:
            batch[TRUTH] = targets(self.heads, [example.truth for example in examples])
        return batch
