"""An answer as plain text: what all readers of answers do first.

    plain_text("<think>AU4?</think>**Expression:** `Fear`")  ->  "expression:   fear" (but for blanks)

Removes thinking (`language.thinking`), turns of a chat that the model invents or repeats, markup and courtesies; turns
tags of an answer into headings and tables into words (`language.tables`).
"""

from __future__ import annotations

import re
import unicodedata

from mellm_plugin.language.tables import in_words
from mellm_plugin.language.thinking import without_thinking
from mellm_plugin.language.words import CLAUSE

MARKUP: dict[str, str | None] = {
    **dict.fromkeys('*_`"{}[]<>#~\\$“”„«»【】「」', " "),
    **{"’": "'", "‘": "'", "。": ".", "、": ","},
}
"""Marks that say nothing, and the plain forms of others."""

_CLEAN = str.maketrans(
    MARKUP
    | {"|": ":", "–": "-", "—": "-", "‐": "-", "−": "-", "·": ",", "\ufe0e": None, "\ufe0f": None}
    | dict.fromkeys("➜➔⇒", "→")
    | dict.fromkeys("█▓▒░▌▐▏▎▍▋▊▉▰▱", " ")
)
_TURN = re.compile(r"^[ \t]*(?:human|user|assistant)[ \t]*(?::|$)", re.MULTILINE)
_ECHOED = re.compile(r"\s*(?:human|user)[ \t]*[:\n].*?\bassistant[ \t]*[:\n]", re.DOTALL)
_SPECIAL_TOKEN = re.compile(r"<\|[a-z_]{1,40}\|>")
_KEYCAP = re.compile("[0-9]\ufe0f?\u20e3")  # numbers a line
_STRUCK = re.compile(r"~~[^~\n]{1,200}~~")  # crossed out
_NOT_APPLICABLE = re.compile(r"\bn/a\b")
_QUOTED_OTHERS = re.compile(r"[\"“](others?)[\"”]|[*`](others)[*`]")
_QUOTE = re.compile(r"(?<![a-z0-9])'|'(?![a-z])")  # a quotation mark, not "it's"
_ABBREVIATED = re.compile(r"\ba\.u\.")
_UNITS_TITLE = re.compile(r"^([^\w\n]*)units?(?=[^\w\n]*:)", re.MULTILINE)
_TAG = re.compile(r"<(/?)(answer|conclusion|summary|reasoning|inspection|analysis)>")
_UNEQUAL_SIDES = re.compile(
    r"\b(?:left|l)\s{0,3}[<>]{1,2}\s{0,3}(?:right|r)\b|\b(?:right|r)\s{0,3}[<>]{1,2}\s{0,3}(?:left|l)\b"
)
"""Which side is the stronger one makes no difference to the mark."""
_COURTESY = re.compile(
    r"\b(?:i|we) fear\b|\b(?:happy|glad) to (?:help|assist)\b"
    r"|\b(?:i|we)(?:'m| am|'re| are) not surprised\b"
    r"|\b(?:i|we)(?:'m| am|'re| are|'d be| would be|'ll be| will be)(?: very| more than)? (?:happy|sad|afraid)\b"
)
"""What a model says about itself, not about the face."""
_ANSWERED = re.compile(r"\?\s*(?=(?:no|yes)\b)")  # "Is AU12 present? No."
_CORRECTED = re.compile(r"\b(?:actually|wait),? no ?[,.:;!-]")


def plain_text(text: str) -> str:
    """The answer in lower case, in the plain form described above. Never raises on any text."""
    body = without_thinking(unicodedata.normalize("NFKC", text.replace("，", CLAUSE))).lower()
    body = _own_turn(_SPECIAL_TOKEN.sub("\n", body))
    body = _NOT_APPLICABLE.sub(" none ", body).replace("[]", " none ").replace("\\boxed", "\nfinal answer: ")
    body = in_words(_KEYCAP.sub("-", _STRUCK.sub(" ", body)))
    body = _QUOTED_OTHERS.sub(lambda quoted: f": {quoted[1] or quoted[2]}, ", body)
    body = _UNITS_TITLE.sub(r"\1action units", _ABBREVIATED.sub("au", _QUOTE.sub(" ", body)))
    body = _TAG.sub(lambda tag: "\n" if tag[1] else f"\n{'conclusion' if tag[2] == 'summary' else tag[2]}: ", body)
    body = body.replace(" at all", " ").replace("->", "→").replace("=>", "→")
    body = _UNEQUAL_SIDES.sub("left stronger than right", body).translate(_CLEAN)
    return _CORRECTED.sub("\ncorrection: ", _ANSWERED.sub(": ", _COURTESY.sub(" ", body)))


def _own_turn(body: str) -> str:
    """The first turn of the model, where it repeats the user's turn or continues with turns of both."""
    if echoed := _ECHOED.match(body):
        body = body[echoed.end() :]
    start = 0
    for turn in _TURN.finditer(body):
        if body[start : turn.start()].strip():
            return body[start : turn.start()]
        start = turn.end()
    return body[start:]
