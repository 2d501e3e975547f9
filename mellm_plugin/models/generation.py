"""A task's generation arguments in the terms of transformers, and where answers end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_NEW_TOKENS = 1024
"""Default maximum length of an answer, in tokens."""

_SAMPLING = ("temperature", "top_p", "top_k", "min_p")
_GENERATION = (
    *_SAMPLING,
    *("do_sample", "num_beams", "max_new_tokens", "min_new_tokens", "repetition_penalty"),
    *("length_penalty", "no_repeat_ngram_size", "early_stopping"),
)


def generation_arguments(gen_kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Translate a task's generation arguments to those of transformers.

    Greedy, unless a temperature above 0 or `do_sample` asks for sampling.

    Returns:
        arguments of `generate`; the texts that end an answer; unknown names.
    """
    given = {name: value for name, value in gen_kwargs.items() if value is not None}
    until = given.pop("until", [])
    until = [until] if isinstance(until, str) else [str(stop) for stop in until if stop]
    # lmms-eval's default end is an empty line, which would cut answers after the first paragraph; lmms-eval's own
    # models of this kind ignore it, too.
    if until == ["\n\n"]:
        until = []
    arguments = {"max_new_tokens": MAX_NEW_TOKENS} | {k: v for k, v in given.items() if k in _GENERATION}
    temperature = arguments.get("temperature")
    arguments["do_sample"] = bool(arguments.get("do_sample", temperature)) and temperature != 0
    if not arguments["do_sample"]:
        arguments |= dict.fromkeys(_SAMPLING)  # None also overrides the model's generation config
    return arguments, until, sorted(given.keys() - set(_GENERATION))


def cut(text: str, until: list[str]) -> str:
    """The text up to the first end."""
    return text[: min((text.find(stop) for stop in until if stop in text), default=len(text))]
