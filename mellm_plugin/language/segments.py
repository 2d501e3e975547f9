"""An answer cut into segments: a sentence, a line or a field each, with the title above it.

    "Final answer: AU4. The lips: still."  ->  final, conclusion: "AU4"  |  "The lips: still"

What a segment mentions is filled in by `language.mentions` and `language.marks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from mellm_plugin.language.phrases import DENIALS
from mellm_plugin.language.sides import TITLE_WORDS
from mellm_plugin.language.words import Tokens

AFFIRMED, HEDGED, NEGATED, LISTED = "affirmed", "hedged", "negated", "listed"
"""The status of a mention; a label is listed as one of the prompt's options."""

_HEADS = frozenset({"aus_head", "emotion_head", "final", "conclusion", "correction", "section"})
_LISTING = frozenset({"number", "comma", "join", "and"})
_TITLE_TEXTS = TITLE_WORDS | {"coarse", "fine"}
_TITLE_LENGTH = 8
_RANKS = {"correction": 3, "final": 2, "conclusion": 1}


@dataclass
class Mention:
    """A unit or a label that a segment names."""

    value: int | str  # the unit's number, or the label
    status: str
    start: int = 0  # its tokens in the segment, `end` excluded
    end: int = 0
    side: str | None = None  # of a unit, see `language.sides`
    valued: bool = False  # its status comes from its own value ("AU4: no")


@dataclass
class Segment:
    """A sentence, a line or a field."""

    tokens: Tokens  # without the title
    title: frozenset[str]  # kinds of the words before its colon or in its heading, and texts of `_TITLE_TEXTS`
    line: int
    heading: bool = False  # the title is its own: before a colon, or alone on a line
    question: bool = False
    units: list[Mention] = field(default_factory=list)
    bare_units: list[Mention] = field(default_factory=list)  # numbers that are units only where nothing else is
    labels: list[Mention] = field(default_factory=list)
    general: list[Mention] = field(default_factory=list)  # units that are there in general ("AU12 usually ..")
    no_units: bool = False  # says that there are none
    unclear: bool = False  # says that something cannot be told
    lone: Mention | None = None  # the only unit, where it is a number that the title announces

    @property
    def rank(self) -> int:
        """3 where a correction begins, 2 where a final answer begins, 1 where a conclusion begins, else 0."""
        return max((_RANKS.get(kind, 0) for kind in self.title), default=0)

    def has(self, kind: str) -> bool:
        return any(token.kind == kind for token in self.tokens)


def said(mentions: Iterable[Mention], status: str = AFFIRMED) -> list[int | str]:
    """The values of the mentions that have a status."""
    return [mention.value for mention in mentions if mention.status == status]


def segments(tokens: Tokens) -> list[Segment]:
    """Cut an answer into segments; a title whose value is on the next line is passed on to it."""
    found: list[Segment] = []
    inherited: frozenset[str] = frozenset()
    for title, body, line, heading, question in _cut(tokens):
        kinds = {token.kind for token in body}
        if "be" in kinds:
            inherited -= DENIALS  # "Inactive AUs:" denies the list below it, but no statement
        if found and found[-1].line == line and not title and kinds <= _LISTING:
            title = found[-1].title & {"aus_head"} - DENIALS  # "AU: 4; 7; 9"
        found.append(Segment(body, title or _opening(body) or inherited, line, heading, question))
        if title and not body:
            inherited = title & ({"aus_head", "emotion_head"} | DENIALS | TITLE_WORDS)
        elif title:
            inherited = frozenset()
        elif body:
            inherited -= {"emotion_head"}  # a list of units continues over many lines
    return found


def _cut(tokens: Tokens) -> Iterator[tuple[frozenset[str], Tokens, int, bool, bool]]:
    """Title, body, line, heading and question of each segment."""
    title: frozenset[str] = frozenset()
    body = Tokens()
    line = 0
    for position, token in enumerate(tokens):
        numbering = not title and len(body) == 1 and body[0].kind == "number"
        if token.kind == "colon":
            start = len(body)
            while start and len(body) - start < _TITLE_LENGTH and body[start - 1].kind not in ("comma", "colon"):
                start -= 1
            words = body[start:]
            kinds = frozenset(word.kind for word in words) | {word.text for word in words if word.text in _TITLE_TEXTS}
            # "AU 12: present" is no title
            holds_unit = any(a.kind == "aus_head" and b.kind == "number" for a, b in pairwise(words))
            if kinds & _HEADS and not kinds & {"unit", "label"} and not holds_unit:
                if start or title:
                    yield title, Tokens(body[:start]), line, bool(title), False
                # "Number of action units: 3" announces no units
                title, body = kinds - {"aus_head"} if "count" in kinds else kinds, Tokens()
                continue
            body.append(token)
        elif token.kind in ("stop", "newline"):
            if numbering and token.text == "." and tokens.kind(position + 1) not in ("", "newline"):
                body = Tokens()  # "1." in front of a line
                continue
            if body or title:
                kinds = frozenset(word.kind for word in body)
                allowed = _HEADS | {"and", "dash", "there", "not_there"}
                alone = not title and len(body) <= 4 and kinds & _HEADS and kinds <= allowed
                if alone and token.kind == "newline":
                    yield kinds, Tokens(), line, True, False
                else:
                    yield title, body, line, bool(title), token.text == "?"
            title, body = frozenset(), Tokens()
            line += token.kind == "newline"
        elif token.kind == "close" and numbering:
            body = Tokens()  # "1)" in front of a line
        else:
            body.append(token)
    if body or title:
        yield title, body, line, bool(title), False


def _opening(body: Tokens) -> frozenset[str]:
    """The kind of conclusion that a sentence opens with ("In conclusion, ...", "The final expression is ...")."""
    for position, token in enumerate(body[:3]):
        if token.kind == "conclusion":
            return frozenset({"conclusion"})
        if token.kind == "final" and body.kind(position + 1) in ("aus_head", "emotion_head", "conclusion"):
            return frozenset({"final"})
    return frozenset()
