"""Chats with images, and answers to them -> model inputs, the same for evaluation and training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def rendered(processor: Any, messages: Sequence[Mapping[str, Any]]) -> str:
    """A chat as the text of the chat template, up to the answer."""
    text: str = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text


def encoded(
    processor: Any, texts: Sequence[str], images: Sequence[Sequence[Any]], videos: Sequence[Sequence[Any]] = ()
) -> Any:
    """Rendered chats as one padded batch with all tensors of the processor.

    The model needs all of them: without `mm_token_type_ids`, for example, answers change silently. The processor pads
    on the left; images and videos are those of each chat, in the order of their marks in its text.
    """
    given = {"images": images, "videos": videos}
    options: dict[str, Any] = {name: [list(of) for of in them] for name, them in given.items() if any(them)}
    begin = processor.tokenizer.bos_token
    if begin and texts[0].startswith(begin):
        options["add_special_tokens"] = False  # the template contains them
    return processor(text=list(texts), padding=True, return_tensors="pt", **options)


def on_device(inputs: Any, model: Any) -> Any:
    """Inputs of `encoded` on the device of a model; images and videos in the dtype of its weights."""
    inputs = inputs.to(model.device)
    for name in inputs:
        if name.startswith("pixel_values"):
            inputs[name] = inputs[name].to(model.dtype)
    return inputs


def answer_ids(processor: Any, answer: str, ends: Collection[int] = ()) -> list[int]:
    """The tokens of an answer, and the end token that the chat template puts behind it.

    The answer is tokenised by itself, without white space around it. `ends` are tokens that end an answer in the
    model's generation config; the tokenizer's end and special tokens count too.
    """
    tokenizer, answer = processor.tokenizer, answer.strip()
    said = (("user", "?"), ("assistant", answer))
    messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in said]
    whole: str = processor.apply_chat_template(messages, tokenize=False)
    tail = list(tokenizer(whole.rpartition(answer)[2], add_special_tokens=False).input_ids)
    known = {*ends, tokenizer.eos_token_id, *tokenizer.all_special_ids} - {None}
    end = next((place for place, token in enumerate(tail) if token in known), None)
    closing = [tokenizer.eos_token_id] if end is None else tail[: end + 1]
    return [*tokenizer(answer, add_special_tokens=False).input_ids, *closing]
