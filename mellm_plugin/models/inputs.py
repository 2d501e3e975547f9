"""Chats with images -> the tensors that a model reads: one way for evaluation and for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def rendered(processor: Any, messages: Sequence[Mapping[str, Any]]) -> str:
    """The chat template's text of a chat, up to where the answer begins."""
    text: str = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text


def encoded(
    processor: Any,
    texts: Sequence[str],
    images: Sequence[Sequence[Any]],
    videos: Sequence[Sequence[Any]] = (),
) -> Any:
    """Everything that the processor makes of rendered chats, as one padded batch of tensors.

    All of it belongs to the model: without `mm_token_type_ids`, say, the answers silently change.

    Args:
        processor: as `loading.load_processor` returns it; it pads on the left.
        texts: as `rendered` returns them.
        images, videos: of each chat, in the order of their marks in its text.
    """
    options: dict[str, Any] = {}
    if any(images):
        options["images"] = [list(of) for of in images]
    if any(videos):
        options["videos"] = [list(of) for of in videos]
    begin = processor.tokenizer.bos_token
    if begin and texts[0].startswith(begin):
        options["add_special_tokens"] = False  # the template has written them
    return processor(text=list(texts), padding=True, return_tensors="pt", **options)
