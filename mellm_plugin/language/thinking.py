"""What a model thought before it answered, and where its answer begins: the one definition for all readers of answers.

    without_thinking("<think>Brows? AU4.</think>AU9, disgust")  ->  "AU9, disgust"
    without_thinking("Brows? AU4.</think>AU9, disgust")         ->  "AU9, disgust"    the server's template opened it
    without_thinking("<think>Brows? AU4, so")                   ->  ""                cut off while thinking

Models mark thoughts in many ways. The marks below are those that the reasoning parsers of vLLM and SGLang know, as of
November 2026, without the few that are ordinary words of a face's description (`<reasoning>`, `<analysis>`).
"""

from __future__ import annotations

import re

_NAMED = r"(?:[a-z]{1,12}[:_])?(?:think|thinking|thought|thoughts)(?:_[a-z0-9_]{1,64})?"
_MARKS = re.compile(
    "|".join(
        (
            # <think>, [THINK], ◁think▷, <seed:think>, <longcat_think>, ◁/think▷; DeepSeek's full-width bars
            rf"[<◁\[](?P<ends>/?){_NAMED}[>▷\]]",
            # gpt-oss: each message names its channel, and only that of `final` is for the user
            r"<\|channel\|>(?P<channel>[a-z]{1,20})[^<\n]{0,40}(?:<\|constrain\|>[^<\n]{0,40})?<\|message\|>",
            # Gemma 4, MedGemma, OpenThinker, Cohere, Apertus, Pangu
            r"(?P<opens><\|channel>\s?(?:thought|thinking|analysis)\b|<unused94>(?:thought\b)?|<\|begin_of_thought\|>"
            r"|<\|start_thinking\|>|<\|inner_prefix\|>|\[unused16\])",
            r"(?P<closes><channel\|>|<unused95>|<\|end_of_thought\|>|<\|end_thinking\|>|<\|inner_suffix\|>"
            r"|\[unused17\]|\[begin final response\])",
        )
    ),
    re.IGNORECASE,
)
# Words instead of marks. They may be an answer's own, so they count only where both are there: Granite's, and gpt-oss
# where a server left its special tokens out.
_IN_WORDS = (
    (
        re.compile(r"\s*here(?:'s| is) my thought process:", re.IGNORECASE),
        re.compile(r"here(?:'s| is) my response:", re.IGNORECASE),
    ),
    (re.compile(r"\s*analysis"), re.compile(r"assistant\s?final")),
)


def without_thinking(text: str) -> str:
    """The answer without what was thought before it; empty where nothing but thoughts was written.

    The answer stands behind the last thought that was closed. Where nothing stands there, it is what was written
    outside of thoughts before. What is in front of a closing mark that nothing opened is a thought, and so is all
    behind an opening mark that nothing closes.

    Args:
        text: the answer as the model gave it.

    Returns:
        part of `text`, without white space around it. Never raises on any text; linear in its length.
    """
    for opening, closing in _IN_WORDS:
        if opening.match(text) and (closed := closing.search(text)):
            text = text[closed.end() :]
    before = ""  # the answer in front of the thought that was opened last
    start: int | None = 0  # of the answer that is being read; None inside of a thought
    for mark in _MARKS.finditer(text):
        if _closes(mark):
            start = mark.end()
        else:
            if start is not None:
                before = text[start : mark.start()].strip() or before
            start = None
    last = "" if start is None else text[start:].strip()
    return last or before


def _closes(mark: re.Match[str]) -> bool:
    if mark["channel"]:
        return mark["channel"].lower() == "final"
    return bool(mark["closes"] or mark["ends"])
