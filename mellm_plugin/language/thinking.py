"""Where an answer begins after a model's thinking: one definition for all readers of answers.

    without_thinking("<think>Brows? AU4.</think>AU9, disgust")  ->  "AU9, disgust"
    without_thinking("Brows? AU4.</think>AU9, disgust")         ->  "AU9, disgust"    the server's template opened it
    without_thinking("<think>Brows? AU4, so")                   ->  ""                generation ended while thinking

Models mark thoughts in many ways. The marks of Seed-OSS, LongCat, Granite, Apertus and Pangu come from vLLM's
reasoning parsers, those of Gemma 4, Command A, MiniMax M3 and EXAONE from other public code; the rest are commonly
known. Ordinary words in a description of a face (`<reasoning>`, `<analysis>`) are not marks.
"""

from __future__ import annotations

import re

_NAMED = r"(?:[a-z]{1,12}[:_]){0,2}(?:think|thinking|thought|thoughts|scratchpad)(?:_[a-z0-9_]{1,64})?"
_BAR = "[|｜]"
_MARKS = re.compile(
    "|".join(
        (
            # <think>, [THINK], ◁think▷, <seed:think>, <|begin_of_thought|>, <|END_THINKING|>, <think time="2 s">,
            # </ think >; in full width, too, as DeepSeek writes its marks
            rf"[<＜◁\[](?:\s|{_BAR})?(?P<ends>[/／]|end_(?:of_)?)?(?:\s|{_BAR})?"
            rf"{_NAMED}(?:\s[a-z]+=[^<>\n]{{0,80}}|\s|{_BAR})?[>＞▷\]]",
            # gpt-oss: each message names its channel; only `final` is for the user
            rf"<{_BAR}channel{_BAR}>(?P<channel>[a-z]{{1,20}})[^<\n]{{0,40}}"
            rf"(?:<{_BAR}constrain{_BAR}>[^<\n]{{0,40}})?<{_BAR}message{_BAR}>",
            # Gemma 4, MedGemma, Apertus, Pangu, Open WebUI, Apriel
            r"(?P<opens><\|channel>\s?(?:thought|thinking|analysis)\b|<unused94>(?:thought\b)?|<\|inner_prefix\|>"
            r"|\[unused16\]|<details type=.?reasoning[^<>\n]{0,80}>)",
            r"(?P<closes><channel\|>|<unused95>|<\|inner_suffix\|>|\[unused17\]|\[begin final response\]|</details>)",
            # gpt-oss behind a server that drops special tokens: glued words that no answer contains
            r"(?P<glued_opens>\A\s*analysis(?=(?-i:[A-Z]))|assistant(?:analysis|commentary)(?=\S))"
            r"|(?P<glued_closes>assistantfinal)",
        )
    ),
    re.IGNORECASE,
)
_QUOTES = frozenset(("``", '""', "''", "“”", "‘’", "「」", "『』", "«»"))  # around a mark: the text only mentions it
# Words instead of marks: Granite's, and gpt-oss's with a blank. Answers may use them too, so only pairs count.
_IN_WORDS = (
    (
        re.compile(r"\s*here(?:'s|’s| is) my thought process:", re.IGNORECASE),
        re.compile(r"here(?:'s|’s| is) my response:", re.IGNORECASE),
    ),
    (re.compile(r"\s*analysis"), re.compile(r"assistant\s?final")),
)


def without_thinking(text: str) -> str:
    """The answer without the thoughts before it; empty if the text holds nothing but thoughts.

    The answer follows the last closed thought. If nothing follows, it is the last text outside thoughts before. Text
    before a closing mark that was never opened is a thought, and so is all text after an opening mark that is never
    closed. A mark within quotation marks does not count. Never raises on any text; linear in its length.
    """
    for opening, closing in _IN_WORDS:
        if opening.match(text) and (closed := closing.search(text)):
            text = text[closed.end() :]
    before = ""  # the answer before the thought that was opened last
    start: int | None = 0  # of the answer that is being read; None inside a thought
    for mark in _MARKS.finditer(text):
        if text[mark.start() - 1 : mark.start()] + text[mark.end() : mark.end() + 1] in _QUOTES:
            continue
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
    return bool(mark["closes"] or mark["ends"] or mark["glued_closes"])
