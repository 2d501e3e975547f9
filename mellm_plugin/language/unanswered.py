"""Answers that were never given: the texts that are logged instead, and the reasons.

    unanswered("[LMMS_EVAL_REQUEST_FAILED after 5 retries] Error code: 503 - ..")  ->  "request failed (HTTP 503)"
    unanswered("")                                                                 ->  "no text"
    unanswered("AU4; disgust")                                                     ->  None

A missing answer is not a wrong answer: it does not show what the model sees. When a request fails, lmms-eval continues
and logs one of the following as the answer (sources of 0.7.3 and of the repository in August 2026):

    [LMMS_EVAL_REQUEST_FAILED after N retries] ERROR    openai, async_openai, litellm, gemini (chat and simple)
    [LMMS_EVAL_BUDGET_EXCEEDED]                         openai, async_openai, gemini: `--max_tokens` is spent
    [SAFETY_BLOCKED:REASON]                             gemini: the provider's filter held the answer back
    [GENERATION_FAILED] ERROR, [ERROR] ..               models that draw images or videos
    Batch failed                                        batch_gpt4
    Error: can only concatenate str (not "NoneType") to str     async_openai: the server sent a message without text
    Video .. can not load, check the source; Video .. generate failed, check the source         oryx, llava_vid
    Can not infer the answer.                           llava_onevision_moviechat
    nothing: "" or null                                 openai (a payload that could not be made, a message without
                                                        text), claude, gpt4v, gpt4o_audio, reka, qwen_vl_api, srt_api,
                                                        gemini, aria, mmada, bagel_unig2u, qwen_image_edit, and all
                                                        models that catch what `generate` raises: huggingface's
                                                        omni models, baichuan_omni, minicpm, cogvlm2, ola and others

`mellm` writes `IMAGES_UNUSABLE` and the fault for a clip whose images cannot be used; earlier versions wrote nothing.
Special tokens alone are no answer. Nor are thoughts without an answer after them: generation ended early, and some
servers drop such thoughts.

A refusal in words ("I cannot tell emotions from faces") is an answer, and so is any text that `language.answers` cannot
read: `language.decision` says why it is unread.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from mellm_plugin.language.thinking import without_thinking

NO_TEXT = "no text"
IMAGES_UNUSABLE = "[MELLM_IMAGES_UNUSABLE]"
"""How the text begins that `mellm` writes instead of an answer when the images of a clip cannot be used."""
_THOUGHTS = "thoughts alone, with no answer behind them"

_IN_PLACE = (
    (re.compile(r"\[LMMS_EVAL_BUDGET_EXCEEDED"), "the token budget was spent"),
    (re.compile(r"\[SAFETY_BLOCKED"), "held back by the provider's filter"),
    (re.compile(re.escape(IMAGES_UNUSABLE)), "the clip's images could not be used"),
    (re.compile(r"\[LMMS_EVAL_[A-Z_]+|\[(?:GENERATION_FAILED|ERROR)\]|Batch failed\Z"), "request failed"),
    (re.compile(r"Video .{0,4096} (?:can not load|generate failed), check the source\Z", re.DOTALL), "request failed"),
    (re.compile(r"Can not infer the answer\.\Z"), "request failed"),
)
# May follow the output of a tool: async_openai appends it.
_NO_MESSAGE = re.compile(r'can only concatenate str \(not "NoneType"\) to str\Z')
_TOKEN = re.compile(
    r"<\|[^<>|\n]{1,40}\|>|<｜[^<>｜\n]{1,40}｜>|</?s>|<(?:pad|eos|bos|unk|end_of_turn|end_of_utterance)>|\[/?INST\]"
)
_NOTHING = re.compile(rf"(?:{_TOKEN.pattern}|[\s\u200b-\u200f\u2060\ufeff\0])*")
_STATUS = re.compile(
    r"\b(?:Error code|status(?:[ _]code)?|HTTP(?:/[\d.]+)?|ERROR)\W{0,3}([45]\d\d)\b|\b([45]\d\d) [A-Z]"
)


def unanswered(text: str | None) -> str | None:
    """Why an answer was never given, in a few words; None if it was given.

    The reason includes the HTTP status but not the server's message, so no key or address reaches a report.
    """
    given = (text or "").strip()
    if _NOTHING.fullmatch(given):
        return NO_TEXT
    for mark, why in _IN_PLACE:
        if mark.match(given):
            return f"{why}{_cause(given)}" if why == "request failed" else why
    if _NO_MESSAGE.search(given[-100:]):
        return NO_TEXT
    return _THOUGHTS if _NOTHING.fullmatch(without_thinking(given)) else None


def without_last_tokens(text: str) -> str:
    """The text without white space and special tokens at its end; some servers leave them (`<|im_end|>`, `</s>`)."""
    text = text.rstrip()
    for token in reversed(list(_TOKEN.finditer(text))):
        if token.end() < len(text):
            break
        text = text[: token.start()].rstrip()
    return text


def in_words(content: object) -> str:
    """The text of a server's message: text, nothing, or parts, of which `{"type": "text", "text": ".."}` count."""
    if isinstance(content, list | tuple):
        return "".join(in_words(part) for part in content)
    if isinstance(content, Mapping):
        return in_words(content.get("text")) if content.get("type", "text") in ("text", "output_text") else ""
    return "" if content is None else str(content)


def as_given(text: str, item: Mapping[str, Any]) -> str:
    """The answer in a line of a samples file, whose `parse_rate` or `vqa_parse_rate` (from any version) is `item`.

    lmms-eval writes a message without text as `None`.
    """
    read = item.get("read")
    empty = isinstance(read, Mapping) and read.get("unparsed") == "empty"
    return "" if text.strip() == "None" and (empty or item.get("unanswered") is not None) else text


def _cause(text: str) -> str:
    """The error of a failed request, if it is one of a few well-known ones."""
    if status := _STATUS.search(text):
        return f" (HTTP {status[1] or status[2]})"
    lowered = text.lower()
    if any(word in lowered for word in ("timed out", "timeout", "deadline")):
        return " (timeout)"
    return " (connection)" if "connect" in lowered else ""


def reasons_in_words(reasons: Iterable[str | None]) -> str:
    """The count of each reason, the most frequent first; None is not counted."""
    counts = Counter(reason for reason in reasons if reason is not None)
    return ", ".join(f"{reason}: {count}" for reason, count in counts.most_common())
