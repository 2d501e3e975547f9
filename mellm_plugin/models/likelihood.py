"""The log-likelihood of given answers to given chats.

    Likelihood(model, processor)(["<|im_start|>user\\n.."], [[image]], ["fear", "anger"])
      -> Likelihoods(log=[[-0.9, -4.2]], tokens=[2, 3])

A prompt runs once; all answers then continue its cache in one pass. Answers are tokens as in training
(`inputs.answer_ids`): each is tokenised by itself, and its end token counts.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from loguru import logger
from PIL import Image
from scipy.special import softmax
from torch.nn.utils.rnn import pad_sequence

from mellm_plugin.models.inputs import answer_ids, encoded, on_device

_Chat = tuple[str, Sequence[Any], Sequence[Any]]
"""A prompt, its images and its videos."""
_LARGEST_DIFFERENCE = {torch.float32: 0.02, torch.float64: 0.02}  # in nats of an answer, with the cache and without
_LARGEST_IN_HALF = 0.5


class Likelihoods(NamedTuple):
    """Log-likelihoods of answers."""

    log: np.ndarray  # natural logarithm, summed over the tokens of an answer: float64 (prompts, answers), at most 0
    tokens: np.ndarray  # of each answer with its end token: int64 (answers,)
    prompt_tokens: np.ndarray  # of each prompt: int64 (prompts,)

    def probabilities(self) -> np.ndarray:
        """Of each answer, given that it is one of these: float64 (prompts, answers), rows that sum to 1.

        They follow from the whole log-likelihood, in which the end token makes each answer complete. The mean over
        tokens is no logarithm of a probability: it has worse labels and five times the calibration error (docs/log.md).
        """
        return np.asarray(softmax(self.log, axis=1))


def label_orders(labels: Sequence[str], count: int) -> list[tuple[str, ...]]:
    """The labels in so many orders, their own first; at most as many as there are labels.

    The orders are rotations, as far from each other as possible, so that no label keeps its place.
    """
    count = min(count, len(labels))
    starts = [len(labels) * at // count for at in range(count)]
    return [(*labels[start:], *labels[:start]) for start in starts]


class Likelihood:
    """Computes the log-likelihood of answers under an image-text-to-text model.

    The first call compares the answers to its first prompt with those of a plain pass without cache. Where they differ,
    or the model has no cache that several answers can continue, every later pass is a plain one.

    Args:
        model: any model of `AutoModelForImageTextToText` that predicts the next token, in eval mode; PEFT's too.
        processor: its processor, which pads on the left (`loading.load_processor`).
        ends: tokens that end an answer in the model's generation config.
    """

    def __init__(self, model: Any, processor: Any, ends: Sequence[int] = ()) -> None:
        self.model, self.processor, self.ends = model, processor, tuple(ends)
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        known = inspect.signature(base.forward).parameters
        self._keeps = "logits_to_keep" in known
        self._cache_name = "cache" if "cache" in known else "past_key_values"  # its name until transformers 5.24
        self._has_cache: bool | None = None  # unknown before the first call

    def __call__(
        self,
        prompts: Sequence[str],
        images: Sequence[Sequence[Any]],
        answers: Sequence[str],
        videos: Sequence[Sequence[Any]] = (),
    ) -> Likelihoods:
        """The log-likelihood of each answer to each prompt.

        Prompts of one length with images of the same sizes run together, others one after the other.

        Args:
            prompts: chats as `inputs.rendered` gives them, at least one.
            images, videos: of each prompt, in the order of their marks in its text.
            answers: at least one; white space around them does not count.
        """
        ids = [torch.tensor(answer_ids(self.processor, one, self.ends), device=self.model.device) for one in answers]
        chats = [(text, images[i], videos[i] if videos else ()) for i, text in enumerate(prompts)]
        with torch.no_grad():
            log, lengths = self._of_chats(chats, ids)
        tokens = np.array([len(one) for one in ids], np.int64)
        return Likelihoods(log.double().cpu().numpy(), tokens, lengths.cpu().numpy())

    def _of_chats(self, chats: Sequence[_Chat], answers: list[Any]) -> tuple[Any, Any]:
        """Log-likelihoods (prompts, answers), and the tokens of each prompt (prompts,)."""
        inputs = encoded(self.processor, *zip(*chats, strict=True))
        lengths = inputs["attention_mask"].sum(1)
        groups = self._groups(chats, lengths.tolist())
        if len(groups) > 1:
            parts = [self._of_chats([chats[at] for at in group], answers)[0] for group in groups]
            order = torch.tensor([at for group in groups for at in group], device=self.model.device)
            return torch.cat(parts)[order.argsort()], lengths
        if self._has_cache:
            return self._continued(on_device(inputs, self.model), answers), lengths
        plain = self._plain(chats[0], answers)
        if self._has_cache is None:
            self._has_cache = self._agrees(on_device(inputs, self.model), answers, plain)
        return plain, lengths

    def _groups(self, chats: Sequence[_Chat], lengths: Sequence[int]) -> list[list[int]]:
        """The places of the chats that run together: without padding, which the cache would hold."""
        if self._has_cache is None:  # the first alone decides how the others run
            return [[0], [*range(1, len(chats))]][: len(chats)]
        found: dict[Any, list[int]] = {}
        for at, (_, images, videos) in enumerate(chats):
            sizes = tuple(one.size if isinstance(one, Image.Image) else np.shape(one) for one in images)
            alone = at if videos or not self._has_cache else None
            found.setdefault((alone, lengths[at], sizes), []).append(at)
        return [*found.values()]

    def _agrees(self, inputs: Any, answers: list[Any], plain: Any) -> bool:
        """Whether answers that continue the cache of a prompt have the likelihoods of a plain pass."""
        try:
            found = self._continued(inputs, answers)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # a cache that cannot be repeated, of any architecture, raises many kinds
            reason = f"{type(error).__name__}: {error}"
        else:
            most = float((found - plain).abs().max())
            if most <= _LARGEST_DIFFERENCE.get(self.model.dtype, _LARGEST_IN_HALF):
                return True
            reason = f"they differ by {most:.2g} nats from those of a plain pass"
        logger.warning(
            "likelihood: {} answers each prompt in plain passes, which take longer: answers do not continue its cache "
            "({})",
            *(type(self.model).__name__, reason.split("\n")[0]),
        )
        return False

    def _continued(self, inputs: Any, answers: list[Any]) -> Any:
        """Log-likelihoods (prompts, answers) by the cache of the prompts, which have no padding."""
        first = self.model(**inputs, use_cache=True, **({"logits_to_keep": 1} if self._keeps else {}))
        prompts, count = first.logits.shape[0], len(answers)
        logits = first.logits[:, -1:].repeat_interleave(count, 0)
        # Padding follows the answers, so no token of an answer sees it, and no mask is needed.
        rows = pad_sequence(answers, batch_first=True).repeat(prompts, 1)
        if rows.shape[1] > 1:
            cache = first.get("cache", first.get("past_key_values"))
            cache.reorder_cache(torch.arange(prompts, device=rows.device).repeat_interleave(count))
            more = self.model(input_ids=rows[:, :-1], use_cache=True, **{self._cache_name: cache})
            logits = torch.cat([logits, more.logits], 1)
        return _of_tokens(logits, rows, answers * prompts).view(prompts, count)

    def _plain(self, chat: _Chat, answers: list[Any]) -> Any:
        """Log-likelihoods (1, answers) of one prompt, repeated in front of each answer."""
        text, images, videos = chat
        many = len(answers)
        batch = on_device(encoded(self.processor, [text] * many, [images] * many, [videos] * many), self.model)
        shape = batch["input_ids"].shape
        rows = pad_sequence(answers, batch_first=True, padding_value=self.processor.tokenizer.pad_token_id)
        there = pad_sequence([torch.ones_like(one) for one in answers], batch_first=True)
        added = {"input_ids": rows, "attention_mask": there}
        for name, values in batch.items():
            if values.shape == shape:  # not of the images
                behind = added.get(name, torch.zeros_like(rows)).to(values.dtype)
                batch[name] = torch.cat([values, behind], 1)
        length = rows.shape[1]
        keep = {"logits_to_keep": length + 1} if self._keeps else {}
        logits = self.model(**batch, use_cache=False, **keep).logits[:, -length - 1 : -1]
        return _of_tokens(logits, rows, answers).view(1, many)


def _of_tokens(logits: Any, rows: Any, answers: Sequence[Any]) -> Any:
    """The sum of the log-probabilities of each answer's tokens: (rows,) from logits (rows, tokens, words)."""
    log = logits.float().log_softmax(-1).gather(-1, rows[..., None]).squeeze(-1).double()
    lengths = torch.tensor([len(one) for one in answers], device=log.device)
    counted = torch.arange(rows.shape[1], device=log.device) < lengths[:, None]
    return torch.where(counted, log, 0.0).sum(-1)
