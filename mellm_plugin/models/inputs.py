"""Chats with images -> model inputs, the same for evaluation and training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
