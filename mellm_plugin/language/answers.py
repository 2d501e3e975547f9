"""Free text of any model -> what it says: action units, the fine label, the coarse class.

    read("Conclusion: action units AU4+AU7; expression: disgust.", LABELS["casme2"])
      -> Answer(aus=(4, 7), label="disgust", coarse="negative", unparsed=None, sides=())

The rules, in the order in which they decide:

1.  Thinking (`language.thinking`) is not part of the answer, nor are the turns of a chat that the model goes on with,
    or repeats in front of its own, nor what is crossed out ("~~AU12~~").
2.  Where there is a conclusion ("Final answer", "Conclusion", "Answer", a boxed answer) it alone is read, for each of
    the two parts (units, expression) that it speaks of. A final answer decides over a conclusion, a correction
    ("Actually no, ...") over both. A conclusion ends with the next heading, or with the line in which both parts have
    been said.
3.  Elsewhere a named field ("Expression: fear", "AUs: 4, 7") decides over prose; in prose the last sentence that
    concludes ("therefore ..."), then the last that speaks of an expression or emotion, then all that is affirmed.
    Where coarse and fine have fields of their own, that of the kind that was asked for decides.
4.  What is negated ("no AU12", "AU6 is absent", "AU6: no", "Inactive AUs: 6", "not surprise but fear"), has the lower
    share ("fear 70%, anger 20%") or a value below one half ("AU4: 0.2", "AU12 (3%)"), or is rejected ("considered, but
    ruled out"), does not count. What is hedged ("could be AU4", a secondary emotion), said in general ("positive
    emotions usually show AU12") or asked ("AU4?") counts only where nothing is affirmed; what is asked and then left
    open ("AU4? Unclear.") counts nowhere. Three or more labels in a row are the prompt's options, "I'm happy to help"
    is a courtesy, and "no surprise that" a phrase; none is an answer.
5.  Two different labels are no label, whether both were asked for or not: `unparsed` says so. A fine label with the
    name of a coarse class around it ("negative (disgust)") is one label. A neutral face that was not asked for is the
    one before the movement.
6.  A unit is read from its number (after "AU", "action units", in a table's column of units...) or from its name, that
    of FACS or of the ME-VQA challenges; a name beside a number is its gloss, and a description ("皱眉", "brows drawn
    down") is none. Positions of head and eyes, and a few units, have everyday names ("eyes left", "wink"), read only
    where units are listed. Numbers without "AU" are units where they are said to be active ("L10 and 4 are
    activated"). A number that the table of `facs.units` lacks is none ("AU99"). What tables, tools' columns, JSON,
    vectors and boxes say of units by place is put into words first (`language.tables`).
    "Action units: none", "AU0", "no action units" and "no movement" are read as no units, `()`, and so are "none" alone
    in front of a field of the expression ("Conclusion: none; expression: others") and a list of values that denies all
    of its units ("AU4: 0, AU12: 0"). A count is no unit
    ("Number of action units: 3", "action units: 2. AU1, AU4"), nor is a lone number behind a unit ("AU4 3": an
    intensity). "AUs 6-12" may be a list or a range: of either both ends are read.
7.  Where units alone were asked for, "none" and bare numbers ("4, 7") speak of them.
8.  The side of a unit is read where the unit is, by the rules of `language.sides`; where no side is said there, from
    where the unit was affirmed before that.

Chinese is read by the same rules; its full-width comma ends a negation, the one of lists does not.

The text is cut into words once and walked a fixed number of times, so the work is linear in its length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from mellm_plugin.facs.labels import COARSE, LABELS, coarse, spellings
from mellm_plugin.facs.units import OTHER_NAMES, UNITS
from mellm_plugin.language.sides import TITLE_WORDS, Span, agreed, field_side, sides
from mellm_plugin.language.tables import in_words, is_low
from mellm_plugin.language.thinking import without_thinking
from mellm_plugin.language.words import (
    ACTIVATED,
    ADVERSATIVE,
    BEFORE_NUMBERS,
    CLASSING,
    DEFINING,
    FURTHER,
    GOING_ON,
    GRADES,
    HERE,
    MEASURED_BY,
    MEASURES,
    NO_OR_NONE,
    NO_VERB,
    NOT_THE_CLASS,
    PHRASES,
    PLACES,
    REJECTING,
    SOMEWHERE,
)


@dataclass(frozen=True)
class Answer:
    """What an answer says.

    Attributes:
        aus: FACS numbers of the units it affirms, ascending; `()` where it says that there are none, None where it says
            nothing about units that can be read.
        label: the expression, one of the labels that were asked for; None where it cannot be read.
        coarse: the coarse class: that of `label` where it has one, else the class the text names, else None.
        unparsed: why the answer cannot be read: when nothing at all was read, when an expression was asked for and it
            names none beside its units, or when it names expressions and they are no answer (two of them, only the
            options, only negated, none of the labels). Else None.
        sides: by unit the side that is said of it, ascending: `L` or `R`, the subject's own left or right; `B`, both
            sides; `A`, both, one stronger. A unit of which no side is said is not among them.
    """

    aus: tuple[int, ...] | None
    label: str | None
    coarse: str | None
    unparsed: str | None
    sides: tuple[tuple[int, str], ...] = ()


def read(text: str, labels: Sequence[str], asks: str = "all") -> Answer:
    """Read an answer. Never raises on any text, and never reads a unit whose number or name is not in it.

    Args:
        text: the answer as the model gave it.
        labels: the canonical labels that were asked for, fine ones or the coarse classes. Where they are coarse
            classes, a fine label counts as its class.
        asks: `aus` where the units alone were asked for: then "none" and bare numbers speak of them.
    """
    body = answered(text)
    if not body.strip():
        return Answer(None, None, None, "empty" if not text.strip() else "nothing but thinking")
    segments = _segments(_tokens(body, tuple(labels)), units_alone=asks == "aus")
    conclusions = _conclusions(segments)
    named = _named_labels(segments, conclusions, labels)
    label, coarse_class, reason = _resolve(named, labels)
    units = _units(segments, conclusions)
    aus = None if units is None else tuple(sorted(units))
    if label is None and coarse_class is None and reason is None:
        mentions = [m for segment in segments for m in segment.labels]
        if any(m.status == _LISTED for m in mentions):
            reason = "only repeats the options"
        elif mentions:
            reason = "affirms no expression"
        elif aus is None:
            reason = "names no action units" if asks == "aus" else "names neither an expression nor action units"
        elif labels and asks != "aus":
            reason = "names no expression"
    said = tuple((unit, side) for unit, side in sorted((units or {}).items()) if side is not None)
    return Answer(aus, label, coarse_class, reason, said)


# ---- words ----------------------------------------------------------------------------------------------------------


_CLAUSE = "\ue000"
"""Stands for the full-width comma, which in Chinese ends a clause and never joins the items of a list."""

_COUNTERS = frozenset("%个個帧幀秒")

_CLEAN = str.maketrans(
    dict.fromkeys('*_`"{}[]<>#~\\$“”„«»【】「」', " ")
    | {"’": "'", "‘": "'", "|": ":", "–": "-", "—": "-", "‐": "-", "−": "-", "。": ".", "、": ",", "·": ","}
    | dict.fromkeys("➜➔⇒", "→")
    | {"\ufe0e": None, "\ufe0f": None}
    | dict.fromkeys("█▓▒░▌▐▏▎▍▋▊▉▰▱", " ")
)
_TURN = re.compile(r"^[ \t]*(?:human|user|assistant)[ \t]*(?::|$)", re.MULTILINE)
_ECHOED = re.compile(r"\s*(?:human|user)[ \t]*[:\n].*?\bassistant[ \t]*[:\n]", re.DOTALL)
_EVERYDAY = frozenset({8, 42, 44, 46})  # lips toward each other, slit, squint, wink
_KEYCAP = re.compile("[0-9]\ufe0f?\u20e3")  # numbers a line
_UNITS_TITLE = re.compile(r"^([^\w\n]*)units?(?=[^\w\n]*:)", re.MULTILINE)
_ABBREVIATED = re.compile(r"\ba\.u\.")
_QUOTED_OTHERS = re.compile(r"[\"“](others?)[\"”]|[*`](others)[*`]")
_TAG = re.compile(r"<(/?)(answer|conclusion|summary|reasoning|inspection|analysis)>")
_COURTESY = re.compile(
    r"\b(?:i|we) fear\b|\b(?:happy|glad) to (?:help|assist)\b"
    r"|\b(?:i|we)(?:'m| am|'re| are) not surprised\b"
    r"|\b(?:i|we)(?:'m| am|'re| are|'d be| would be|'ll be| will be)(?: very| more than)? (?:happy|sad|afraid)\b"
)
"""What a model says of itself, and not of the face."""
_ANSWERED = re.compile(r"\?\s*(?=(?:no|yes)\b)")  # "Is AU12 present? No."
_CORRECTED = re.compile(r"\b(?:actually|wait),? no ?[,.:;!-]")
_SHARE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,9})?")
_NOT_APPLICABLE = re.compile(r"\bn/a\b")
_UNEQUAL_SIDES = re.compile(
    r"\b(?:left|l)\s{0,3}[<>]{1,2}\s{0,3}(?:right|r)\b|\b(?:right|r)\s{0,3}[<>]{1,2}\s{0,3}(?:left|l)\b"
)
"""Which of the two is the stronger one makes no difference to the mark."""
_SPECIAL = re.compile(r"<\|[a-z_]{1,40}\|>")
_QUOTE = re.compile(r"(?<![a-z0-9])'|'(?![a-z])")  # a quotation mark, not "it's"
_STRUCK = re.compile(r"~~[^~\n]{1,200}~~")  # crossed out
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]+(?:\.[0-9]+)*|\n|[^\s]")
_LETTERS = re.compile(r"[a-z]+|[^\W\d_]")  # what the words of a label are told by
_PUNCTUATION = {
    "\n": "newline", ".": "stop", ";": "stop", "!": "stop", "?": "stop", ",": "comma", _CLAUSE: "comma", ":": "colon",
    "=": "colon", "→": "colon", "+": "join", "/": "join", "&": "join",
    "(": "open", ")": "close", "-": "dash", "•": "dash",
}  # fmt: skip


class _Token(NamedTuple):
    kind: str
    text: str
    value: int | str | None
    start: int
    end: int


_Vocabulary = dict[str, list[tuple[tuple[str, ...], str, int | str | None]]]


@lru_cache(maxsize=64)
def _vocabulary(labels: tuple[str, ...]) -> _Vocabulary:
    """First word -> (all words, kind, value), the longest phrases first."""
    found: dict[tuple[str, ...], tuple[str, int | str | None]] = {}
    for kind, phrases in PHRASES.items():
        found.update({tuple(_WORD.findall(phrase)): (kind, None) for phrase in phrases.split(", ")})
    for number, name in [
        *((unit.number, unit.name) for unit in UNITS.values()),
        *((n, s) for s, n in OTHER_NAMES.items()),
    ]:
        # positions of head and eyes (from 51 on) are named with everyday words ("head up"), and so are a few units
        kind = "unit" if number < 51 and number not in _EVERYDAY else "position"
        found.update(dict.fromkeys((tuple(name.split()), tuple(f"{name}s".split())), (kind, number)))
    known = dict.fromkeys((*labels, *COARSE, *(label for of in LABELS.values() for label in of)))
    for label in known:
        for spelling in spellings(label):
            found[tuple(_LETTERS.findall(spelling.lower()))] = ("label", label)
    vocabulary: _Vocabulary = {}
    for words, (kind, value) in sorted(found.items(), key=lambda item: -len(item[0])):
        if words:
            vocabulary.setdefault(words[0], []).append((words, kind, value))
    return vocabulary


def answered(text: str) -> str:
    """The text in lower case, without what was thought before the answer and without the turns of an invented chat;
    tags of an answer become headings."""
    body = without_thinking(unicodedata.normalize("NFKC", text.replace("，", _CLAUSE))).lower()
    body = _own_turn(_SPECIAL.sub("\n", body))
    body = _NOT_APPLICABLE.sub(" none ", body).replace("[]", " none ").replace("\\boxed", "\nfinal answer: ")
    body = in_words(_KEYCAP.sub("-", _STRUCK.sub(" ", body)))
    body = _QUOTED_OTHERS.sub(lambda quoted: f": {quoted[1] or quoted[2]}, ", body)
    body = _QUOTE.sub(" ", body)
    body = _UNITS_TITLE.sub(r"\1action units", _ABBREVIATED.sub("au", body))
    body = _TAG.sub(lambda tag: "\n" if tag[1] else f"\n{'conclusion' if tag[2] == 'summary' else tag[2]}: ", body)
    body = body.replace(" at all", " ").replace("->", "→").replace("=>", "→")
    body = _UNEQUAL_SIDES.sub("left stronger than right", body).translate(_CLEAN)
    return _CORRECTED.sub("\ncorrection: ", _ANSWERED.sub(": ", _COURTESY.sub(" ", body)))


def _own_turn(body: str) -> str:
    """What the model says first, where it goes on with turns of a user and of itself, or repeats the user's."""
    if echoed := _ECHOED.match(body):
        body = body[echoed.end() :]
    start = 0
    for turn in _TURN.finditer(body):
        if body[start : turn.start()].strip():
            return body[start : turn.start()]
        start = turn.end()
    return body[start:]


def _tokens(body: str, labels: tuple[str, ...]) -> list[_Token]:
    vocabulary = _vocabulary(labels)
    words: list[str] = []
    spans: list[tuple[int, int]] = []
    for match in _WORD.finditer(body):
        start, end = match.span()
        if match[0] == "-" and body[end : end + 1].isalnum() and body[start - 1].isalpha():
            continue  # "micro-expression", "AU-4"
        words.append(match[0])
        spans.append((start, end))
    tokens: list[_Token] = []
    position = 0
    while position < len(words):
        word = words[position]
        length, kind, value = 1, "number" if "0" <= word[0] <= "9" else _PUNCTUATION.get(word, "word"), None
        for phrase, phrase_kind, phrase_value in vocabulary.get(word, ()):
            if tuple(words[position : position + len(phrase)]) == phrase:
                length, kind, value = len(phrase), phrase_kind, phrase_value
                break
        tokens.append(_Token(kind, word, value, spans[position][0], spans[position + length - 1][1]))
        position += length
    return tokens


# ---- segments: what lies between two stops, headings and fields apart -----------------------------------------------

_AFFIRMED, _HEDGED, _NEGATED, _LISTED = "affirmed", "hedged", "negated", "listed"
_HEADS = frozenset({"aus_head", "emotion_head", "final", "conclusion", "correction", "section"})
_DENIALS = frozenset({"no", "not_there"})
_LISTING = frozenset({"number", "comma", "join", "and"})
_GRAINS = frozenset({"coarse", "fine"})
_TITLE_TEXTS = _GRAINS | TITLE_WORDS
_TITLE_LENGTH = 8


@dataclass
class _Mention:
    value: int | str
    status: str
    start: int = 0  # its first token in the segment, and the one behind its last
    end: int = 0
    side: str | None = None
    valued: bool = False  # its status is that of a value of its own: "AU4: no"


@dataclass
class _Segment:
    """A sentence, a line or a field. `title` holds the kinds of words before its colon, or of its heading."""

    tokens: list[_Token]
    title: frozenset[str]
    line: int
    heading: bool = False
    units: list[_Mention] = field(default_factory=list)
    bare_units: list[_Mention] = field(default_factory=list)
    labels: list[_Mention] = field(default_factory=list)
    no_units: bool = False
    general: list[_Mention] = field(default_factory=list)  # units that are said to be there in general
    question: bool = False
    unclear: bool = False  # says that something cannot be told
    lone: _Mention | None = None  # the only unit, a number that the title announces

    @property
    def rank(self) -> int:
        """3 where a correction begins, 2 where a final answer begins, 1 where a conclusion begins, else 0."""
        ranks = {"correction": 3, "final": 2, "conclusion": 1}
        return max((ranks.get(kind, 0) for kind in self.title), default=0)

    def says(self, mentions: Iterable[_Mention], status: str) -> list[int | str]:
        return [mention.value for mention in mentions if mention.status == status]


def _segments(tokens: list[_Token], units_alone: bool) -> list[_Segment]:
    weak = _weak_labels(tokens)
    segments: list[_Segment] = []
    inherited: frozenset[str] = frozenset()
    for title, body, line, heading, question in _cut(tokens):
        if any(token.kind == "be" for token in body):
            inherited -= _DENIALS  # "Inactive AUs:" denies the list below it, but no statement
        if segments and segments[-1].line == line and not title and {token.kind for token in body} <= _LISTING:
            title = segments[-1].title & {"aus_head"} - _DENIALS  # "AU: 4; 7; 9"
        segment = _Segment(body, title or _opening(body) or inherited, line, heading, question=question)
        _Scan(segment, weak, units_alone).run()
        if question:  # a question affirms nothing
            segment.no_units = False
            for mention in (*segment.units, *segment.bare_units, *segment.labels):
                mention.status = _HEDGED if mention.status == _AFFIRMED else mention.status
        else:
            _note_sides(segment, segments[-1] if segments else None)
        if segments and any(token.text == "too" for token in body):
            for mention in segments[-1].general:  # "AU4 is often seen in anger. AU9 is active, too."
                mention.status = _AFFIRMED
        segments.append(segment)
        if title and not body:
            # "Expression:" whose value is on the next line
            inherited = title & ({"aus_head", "emotion_head"} | _DENIALS | TITLE_WORDS)
        elif title:
            inherited = frozenset()
        elif body:
            inherited -= {"emotion_head"}  # a list of units goes on over many lines
    _leave_counts_out(segments)
    _leave_unclear_out(segments)
    _note_none(segments)
    return segments


def _leave_unclear_out(segments: list[_Segment]) -> None:
    """Deny what was asked before a sentence that says that it cannot be told: "AU4? AU7? Unclear."."""
    units = labels = False
    for segment in reversed(segments):
        if segment.unclear:
            kinds = segment.title | {token.kind for token in segment.tokens}
            units |= "aus_head" in kinds or "emotion_head" not in kinds
            labels |= "emotion_head" in kinds or "aus_head" not in kinds
        if segment.question:
            denied = (*segment.units, *segment.bare_units) if units else ()
            for mention in (*denied, *(segment.labels if labels else ())):
                mention.status = _NEGATED


def _note_none(segments: list[_Segment]) -> None:
    """Note that there are no units where "none" alone stands for them, in front of the expression ("Conclusion: none;
    expression: others")."""
    for segment, following in pairwise(segments):
        alone = [token.kind for token in segment.tokens if token.kind != "comma"] == ["none"]
        if alone and not segment.title - {"conclusion", "final"} and "emotion_head" in following.title:
            segment.no_units = True


def _note_sides(segment: _Segment, above: _Segment | None) -> None:
    """Note the sides of a segment's units, or the one that it gives to the last unit of the segment above."""
    mentions = sorted((*segment.units, *segment.bare_units), key=lambda mention: mention.start)
    if mentions:
        spans = [Span(int(mention.value), mention.start, mention.end) for mention in mentions]
        for mention, side in zip(mentions, sides(segment.tokens, spans, segment.title), strict=True):
            mention.side = side
    elif above is not None and (side := field_side(segment.tokens)) is not None:
        for mention in above.units[-1:]:
            mention.side = mention.side or side


def _leave_counts_out(segments: list[_Segment]) -> None:
    """Deny a lone number in a field of its own that is the number of units named next ("Action units: 2. AU1, AU4")."""
    count: _Mention | None = None
    named: set[int | str] = set()
    for segment in [*segments, _Segment([], frozenset(), -1)]:
        if count is not None and (segment.lone is not None or not segment.units):
            if count.value == len(named):
                count.status = _NEGATED
            count = None
        if segment.lone is not None:
            count, named = segment.lone, set()
        elif count is not None:
            named.update(segment.says(segment.units, _AFFIRMED))


def _cut(tokens: list[_Token]) -> Iterator[tuple[frozenset[str], list[_Token], int, bool, bool]]:
    """Title, body, line number, whether the title is a heading with a colon or on a line of its own, and whether the
    body is a question."""
    title: frozenset[str] = frozenset()
    body: list[_Token] = []
    line = 0
    for position, token in enumerate(tokens):
        if token.kind == "colon":
            start = len(body)
            while start and len(body) - start < _TITLE_LENGTH and body[start - 1].kind not in ("comma", "colon"):
                start -= 1
            words = body[start:]
            kinds = frozenset(word.kind for word in words) | {word.text for word in words if word.text in _TITLE_TEXTS}
            if kinds & _HEADS and not kinds & {"unit", "label"} and not _holds_unit(words):
                if start or title:
                    yield title, body[:start], line, bool(title), False
                # "Number of action units: 3" announces no units
                title, body = kinds - {"aus_head"} if "count" in kinds else kinds, []
                continue
            body.append(token)
        elif token.kind in ("stop", "newline"):
            after = tokens[position + 1] if position + 1 < len(tokens) else None
            numbering = token.text == "." and not title and len(body) == 1 and body[0].kind == "number"
            if numbering and after is not None and after.kind != "newline":
                body = []  # "1." in front of a line
                continue
            if body or title:
                kinds = frozenset(word.kind for word in body)
                allowed = _HEADS | {"and", "dash", "there", "not_there"}
                alone = not title and len(body) <= 4 and kinds & _HEADS and kinds <= allowed
                if alone and token.kind == "newline":
                    yield kinds, [], line, True, False
                else:
                    yield title, body, line, bool(title), token.text == "?"
            title, body = frozenset(), []
            line += token.kind == "newline"
        elif token.kind == "close" and not title and len(body) == 1 and body[0].kind == "number":
            body = []  # "1)" in front of a line
        else:
            body.append(token)
    if body or title:
        yield title, body, line, bool(title), False


def _holds_unit(words: list[_Token]) -> bool:
    """Whether a number stands behind "AU" (then "AU 12: present" is no title)."""
    return any(a.kind == "aus_head" and b.kind == "number" for a, b in pairwise(words))


def _opening(body: list[_Token]) -> frozenset[str]:
    """The kind of conclusion that a sentence opens with ("In conclusion, ...", "The final expression is ...")."""
    for position, token in enumerate(body[:3]):
        if token.kind == "conclusion":
            return frozenset({"conclusion"})
        follows = body[position + 1].kind if position + 1 < len(body) else ""
        if token.kind == "final" and follows in ("aus_head", "emotion_head", "conclusion"):
            return frozenset({"final"})
    return frozenset()


def _weak_labels(tokens: list[_Token]) -> dict[int, str]:
    """The status of labels that count less, by where they start: of those with nothing but separators between them.

    Negated are those with a lower share than another ("sadness 70%, fear 20%"). Listed are the options: three or more
    different labels without shares.
    """
    separators = {"comma", "join", "and", "newline", "dash", "colon", "open", "close", "number"}
    shares = _shares(tokens)
    found: dict[int, str] = {}
    run: list[_Token] = []
    before = ""
    for token in [*tokens, _Token("word", "", None, -1, -1)]:
        numbering = token.kind == "stop" and before == "number"  # "1. anger 2. fear"
        if token.kind == "label":
            run.append(token)
        elif token.text == "→" or (token.kind not in separators and token.text != "%" and not numbering):
            rated = sorted(
                (shares[label.start], str(label.value), label.start) for label in run if label.start in shares
            )
            for share, label, start in rated:
                if share < rated[-1][0] and coarse(label) != rated[-1][1]:
                    found[start] = _NEGATED
            if not rated and len({label.value for label in run}) >= 3:
                found.update({label.start: _LISTED for label in run})
            run = []
        before = token.kind
    return found


def _shares(tokens: list[_Token]) -> dict[int, float]:
    """The shares of labels ("fear 70%", "fear: 0.7") in percent, by where the label starts."""
    found: dict[int, float] = {}
    for position, token in enumerate(tokens):
        if token.kind == "label":
            after = tokens[position + 1 : position + 4]
            if after and after[0].kind in ("colon", "open", "dash"):
                del after[0]
            number, sign = (*(other.text for other in after), "", "")[:2]
            if not _SHARE.fullmatch(number) and position > 1 and tokens[position - 1].text == "%":
                number, sign = tokens[position - 2].text, "%"  # "80% anger and 20% disgust"
            if _SHARE.fullmatch(number) and (sign == "%" or number.startswith("0.")):
                found[token.start] = float(number) * (1 if sign == "%" else 100)
    return found


# ---- one segment: units and labels, affirmed or not -----------------------------------------------------------------


_CLAUSE_ENDS = frozenset({"", "comma", "colon", "close", "turn", "and"})
_DENYING_BRACKETS = frozenset({("no", "there"), ("no", "occur"), ("not_there", "close")})


class _Scan:
    """Walks a segment once and notes the units and labels in it, each affirmed, hedged, negated or listed."""

    def __init__(self, segment: _Segment, weak: dict[int, str], units_alone: bool) -> None:
        self.segment = segment
        self.tokens = segment.tokens
        self.weak = weak
        self.negated = self.hedged = self.nor = self.none_of = self.in_general = False
        self.pending: list[_Mention] = []  # mentions that a following "is absent" would negate
        self.explicit: list[_Mention] = []  # numbers that stand directly behind "AU"
        self.loose: list[_Mention] = []  # numbers that only a title announces, or words further ahead
        announced = "aus_head" in segment.title and not _DENIALS & segment.title
        self.head_at = 0 if announced else -9  # where units were last announced
        self.number_end = -9  # token behind the last unit number: a name there is its gloss
        self.name_end = -9  # token behind the last unit name
        self.keyed = False  # numbers are the keys of a list ("units: {1: true, 2: false}")
        self.subject: list[_Mention] = []  # what stands at the beginning of a clause: "AU12 usually .." is no finding
        self.listed_to = 0  # numbers in front of this token are known to be no units
        self.units_alone = units_alone
        self.bare = units_alone  # nothing but units has been spoken of yet

    def kind(self, position: int) -> str:
        return self.tokens[position].kind if 0 <= position < len(self.tokens) else ""

    def run(self) -> None:
        self.negated = self.denied_by_title()
        position = 0
        if "aus_head" in self.segment.title:
            while self.kind(position) in ("dash", "open", "colon"):
                position += 1
            self.zero(position)
            position = self.units_from(position)
        while position < len(self.tokens):
            self.bare = self.bare and (
                self.kind(position) not in ("word", "label", "stillness")
                or self.tokens[position].text in BEFORE_NUMBERS
                or self.number_at(position) is not None
            )
            position = self.step(position)
        if len(self.loose) == 1:
            if any(mention.status == _AFFIRMED for mention in self.explicit):
                self.loose[0].status = _NEGATED  # a count: "action units: 2 (AU1 and AU4)"
            elif len(self.segment.units) == 1:
                self.segment.lone = self.loose[0]

    def denied_by_title(self) -> bool:
        """Whether the title denies what the segment begins with ("Inactive AUs: AU1, AU2")."""
        title = self.segment.title
        if not title & _DENIALS or title & {"turn", "therefore"}:
            return False
        first = next((t.kind for t in self.tokens if t.kind in ("aus_head", "unit", "number", "label")), "")
        return bool(first) and ("emotion_head" if first == "label" else "aus_head") in title

    def step(self, position: int) -> int:
        """Take in the token at `position`; returns the next position."""
        token = self.tokens[position]
        if token.kind == "no":
            self.negate(position)
        elif token.kind == "not_there" and position > 0 and self.kind(position - 1) == "no":
            self.negated, self.pending = False, []  # "AU4 is not absent"
        elif token.kind == "not_there" and self.is_of_place(position):
            self.pending = []  # "AU4, lids unchanged"
        elif token.kind == "not_there":
            forward = token.text in REJECTING and self.kind(position + 1) in ("aus_head", "unit", "label")
            self.nor |= forward and token.text.endswith("ing")  # "after discarding AU12, AU4 remains"
            if forward or self.is_field(position):
                self.pending = []  # "AU4, but rejected AU12"
            before = {other.text for other in self.tokens[max(0, self.head_at - 2) : self.head_at]}
            if not self.pending and "all" in before:
                self.segment.no_units = True  # "all action units are inactive"
                return position + 1
            self.spare_list(position)
            self.deny(self.is_value(position))
        elif token.text == "off" and self.kind(position - 1) == "colon":
            self.deny(valued=True)
        elif token.kind == "be":
            if not self.is_denied_behind(position):
                self.pending = []
        elif token.kind == "there":
            rejected = self.tokens[position + 1 : position + 2] and self.is_rejected(position + 1)
            if self.is_field(position):
                self.negated = False
            if (self.kind(position + 1) != "colon" or self.is_field(position)) and not rejected:  # "AU12 present: no"
                self.pending = []
        elif token.kind == "open":
            if (self.kind(position + 1), self.kind(position + 2)) not in _DENYING_BRACKETS:
                self.pending = []
        elif token.text == "→":
            self.negated = False
        elif token.kind in ("turn", "therefore"):
            self.negated = self.hedged = False
            self.subject = []
            self.in_general = self.in_general and token.text in GOING_ON
            if not self.is_rejected(position):
                self.pending = []
        elif token.kind == "comma":
            if self.negated and self.new_clause(position + 1):
                self.negated = False
                self.pending = []
        elif token.kind == "hedge":
            self.hedged = True
            if token.text == "would":
                turned = self.pending if self.turned_from(position) else []  # "AU6+AU12 would indicate .., however .."
                of_labels = [m for m in self.subject if isinstance(m.value, str)]  # "fear would show AU5"
                for mention in (*turned, *of_labels):
                    mention.status = _HEDGED if mention.status == _AFFIRMED else mention.status
        elif token.text in HERE:
            self.in_general = False
        elif token.kind == "general":
            self.generalise(position)
        elif token.kind == "unclear":
            self.unclear(position)
        elif token.kind == "none":
            self.none(position)
        elif token.kind == "stillness":
            self.stillness(position)
        elif token.kind == "aus_head":
            return self.announced(position)
        elif token.kind == "unit":
            self.named(position)
        elif token.kind == "label":
            self.label(position)
        elif token.kind == "position":
            self.position_named(position)
        elif token.kind == "dash":
            if (
                self.pending
                and self.kind(position - 1) == "colon"
                and self.kind(position + 1) in ("", "comma", "colon")
            ):
                self.deny(valued=True)  # "AU12: -"
        elif token.kind == "number" and self.is_flag(position) and is_low(token.text):
            self.deny(valued=True)  # "active: 0"
        elif number := self.number_at(position):
            if self.is_activated_list(position):
                return self.units_from(position)
            key = self.keyed and self.kind(position - 1) == "comma" and self.kind(number[1]) == "colon"
            if key or (self.bare and not self.measured(number[1])):
                return self.units_from(position)
            listed = self.units_alone and self.kind(position - 1) == "colon" and not self.measured(number[1])
            if listed or self.is_plus_list(position):
                return self.units_from(position, bare=True)
        return position + 1

    def turned_from(self, position: int) -> bool:
        """Whether units stand directly in front of a word, and the sentence turns against them behind it."""
        return bool(self.pending and self.pending[-1].end == position) and any(
            token.text in ("but", "however", "yet") for token in self.tokens[position:]
        )

    def is_of_place(self, position: int) -> bool:
        """Whether it is a part of the face, and no unit, that does not move: "lids unchanged"."""
        before = self.tokens[max(0, position - 2) : position]
        return any(token.kind == "word" and token.text in PLACES - GRADES for token in before)

    def is_field(self, position: int) -> bool:
        """Whether a word is the title of the units behind it: `"absent": ["AU12"]`."""
        return (
            self.kind(position + 1) == "colon"
            and (self.kind(position), self.kind(position + 2)) not in (("there", "number"), ("no", "number"))
            and self.kind(position + 2) in ("aus_head", "unit", "number")
            and self.kind(position - 1) in ("", "comma", "no")
        )

    def is_rejected(self, position: int) -> bool:
        """Whether "but" stands here, and behind it that what is in front is denied: "considered, but rejected"."""
        return self.tokens[position].text in ADVERSATIVE and self.is_denied_behind(position)

    def is_denied_behind(self, position: int) -> bool:
        """Whether what stands in front of a verb or "but" is denied behind it: "is not seen", "but rejected"."""
        for ahead in range(position + 1, min(position + 8, len(self.tokens))):
            kind = self.kind(ahead)
            if kind == "unclear":
                return ahead - position <= 3
            if kind in _DENIALS:
                far = ahead - position > 3 or self.kind(position) == "turn"
                return not far or kind == "not_there" or self.kind(ahead + 1) in ("there", "occur")
            if self.tokens[ahead].text in ("it", "they") and self.kind(ahead + 1) == "be":
                continue  # "suspected, but on inspection it is absent"
            if kind in ("comma", "aus_head", "unit", "label", "number", "there", "occur", "resume"):
                return False
        return False

    def generalise(self, position: int) -> None:
        """Hedge what is said in general ("AU12 is usually ..", "positive emotions often .."), also in front of the
        word."""
        if self.tokens[position].text in DEFINING and not any(isinstance(m.value, str) for m in self.subject):
            return  # "the expression is characterised by AU4", unlike "surprise is characterised by .."
        self.in_general = True
        if self.kind(position - 1) != "comma":
            for mention in self.subject:
                if mention.status == _AFFIRMED:
                    mention.status = _HEDGED
                    self.segment.general += [mention] if mention.value in UNITS else []
            self.subject = []

    def unclear(self, position: int) -> None:
        """Deny what the words say to be unclear: "AU12 is unclear", "Unclear whether AU4 ..."."""
        self.segment.unclear = True
        after = self.tokens[position + 1].text if position + 1 < len(self.tokens) else ""
        if self.pending and position - max(self.pending[-1].end, self.number_end) <= 2:
            if self.kind(position - 1) != "comma":
                self.deny()
        elif after in ("whether", "if", "between"):
            self.negated = True

    def is_activated_list(self, position: int) -> bool:
        """Whether numbers without "AU" are units by what is said of them: "4 and 7 are activated", "active: 4, 7"."""
        if position < self.listed_to:
            return False
        ahead, count, marked = position, 0, self.kind(position) == "word"
        marked |= position > 0 and self.tokens[position - 1].text in ("unit", "units")
        announced = self.kind(position - 1) == "colon" and self.tokens[position - 2].text in ACTIVATED
        if self.kind(position - 1) == "be" and position > 1 and self.tokens[position - 2].text in ("so", "as"):
            announced = marked = True  # "AU1 is active, and so are 2 and 5"
        end = position
        while (number := self.number_at(ahead)) is not None:
            count += 1
            ahead = number[1]
            end = ahead
            while self.kind(ahead) in ("join", "comma", "and"):
                ahead += 1
            marked |= self.kind(ahead) == "word" and self.number_at(ahead) is not None
        self.listed_to = max(ahead, position + 1)
        if count == 0 or not (marked or count > 1 or self.explicit) or self.measured(end):
            return False
        while end < len(self.tokens) and (
            self.kind(end) == "be" or self.tokens[end].text in ("both", "all", "被", "均")
        ):
            end += 1
        said = end < len(self.tokens) and self.tokens[end].text in ACTIVATED
        if self.explicit and [token.text for token in self.tokens[end : end + 2]] in (["too"], ["as", "well"]):
            return True  # "AU4 is activated, 7 as well"
        return announced or (said and self.kind(end) in ("there", "occur"))

    def is_flag(self, position: int) -> bool:
        return (self.kind(position - 2), self.kind(position - 1)) == ("there", "colon") and bool(self.pending)

    def measured(self, position: int) -> bool:
        """Whether the number in front of `position` is a count or a measure."""
        return position < len(self.tokens) and self.tokens[position].text in MEASURES

    def note(self, value: int | str, into: list[_Mention], start: int, end: int) -> _Mention:
        mention = _Mention(value, _NEGATED if self.negated else _AFFIRMED, start, end)
        if (self.hedged or self.in_general) and not self.negated:
            mention.status = _HEDGED
        if isinstance(value, str) or value in UNITS:  # "AU99" is no unit
            into.append(mention)
        self.pending.append(mention)
        self.subject.append(mention)
        return mention

    def is_value(self, position: int) -> bool:
        """Whether the word is the value of what stands in front of it: "AU12: no", "AU12: absent"."""
        return self.kind(position - 1) == "colon" and self.kind(position + 1) in ("", "comma", "close")

    def deny(self, valued: bool = False) -> None:
        """A denial that stands behind what it denies ("AU6 is absent"), or in front of all that follows."""
        if self.pending:
            for mention in self.pending:
                mention.status = _NEGATED
                mention.valued = valued
            self.pending = []
        else:
            self.negated = True

    def spare_list(self, position: int) -> None:
        """Leave of a list under a title of units only the last one to be denied: "Action units: AU12, AU24 absent"."""
        adjacent = bool(self.pending) and position in (self.pending[-1].end, self.number_end)
        all_units = self.segment.units == self.pending and "aus_head" in self.segment.title
        if adjacent and all_units and len(self.pending) > 1:
            between = {token.kind for token in self.tokens[self.pending[-2].end : self.pending[-1].start]}
            if "comma" in between and "and" not in between:
                self.pending = self.pending[-1:]

    def negate(self, position: int) -> None:
        if self.tokens[position].text in NO_OR_NONE and self.kind(position + 1) in ("", "comma"):
            if self.pending and position in (self.pending[-1].end, self.number_end):
                self.pending = self.pending[-1:]
                self.deny(valued=True)  # "AU4有，AU12无"
            else:
                self.none(position)
            return
        self.nor |= self.tokens[position].text == "nor"  # after "neither a nor b" a comma ends the list
        end = position + 1
        while end - position < 6 and self.kind(end) in ("word", "be", "hedge"):
            end += 1
        not_there = (
            self.kind(end) == "resume" and self.tokens[end].text == "there" and self.kind(end + 1) in _CLAUSE_ENDS
        )
        denies = not_there or self.kind(end) in ("there", "occur")  # "does not seem to be active"
        last = self.kind(position + 1) in _CLAUSE_ENDS  # "AU6 is not"
        is_value = self.kind(position - 1) == "colon" and self.kind(position + 1) != "label"  # "AU12: no sign of it"
        if self.kind(position + 1) == "not_there":
            return  # "not absent"
        behind = bool(self.pending) and (denies or last or is_value) and not self.is_field(position + 1)
        if behind:
            self.spare_list(position)
            self.deny(self.is_value(position))
        if not behind or not (denies or last):
            self.negated = True

    def new_clause(self, position: int) -> bool:
        """Whether what stands behind a comma is a clause of its own, and no further item of what is negated."""
        if self.kind(position) == "resume" or self.nor or self.tokens[position - 1].text == _CLAUSE:
            return True
        if self.kind(position) == "label" and self.kind(position - 2) == "label":  # "not fear, surprise"
            listed = self.kind(position + 1) in ("comma", "and", "join")
            return not listed and position == 3 and self.tokens[0].text == "not"
        for ahead in range(position, min(position + 6, len(self.tokens))):
            if self.kind(ahead) in ("comma", "and"):
                return False
            if self.kind(ahead) in ("be", "there", "colon"):
                return not self.none_of  # "none of AU1, AU2 is active"
        return False

    def none(self, position: int) -> None:
        if self.pending and self.kind(position - 1) == "colon":
            self.deny()  # "AU4: none"
            return
        of = [token.text for token in self.tokens[position + 1 : position + 2]] == ["of"]
        announced = position - self.head_at <= 3 and self.kind(position - 1) != "and"
        announced = announced or (self.bare and not of)
        of_them = any(
            self.kind(ahead) == "stillness" or (self.kind(ahead) == "aus_head" and not self.number_at(ahead + 1))
            for ahead in range(position + 2, position + 5)
        )
        if announced or of_them:
            self.segment.no_units = True
        elif of:
            self.negated = self.none_of = True

    def stillness(self, position: int) -> None:
        before = self.tokens[max(0, position - 4) : position]
        after = {token.text for token in self.tokens[position + 1 : position + 2]}
        denied = self.negated and "no" in {token.kind for token in before}
        if self.tokens[position].text == "change" and NO_VERB & {token.text for token in before}:
            return  # "the lips do not change"
        if denied and not (FURTHER | PLACES) & {token.text for token in before} and not SOMEWHERE & after:
            if self.pending:
                self.deny()  # "AU4 shows no movement"
            elif not self.segment.units:
                self.segment.no_units = True

    def announced(self, position: int) -> int:
        """Units announced by "AU", "action units"...: the numbers that follow, or that there are none."""
        self.head_at = position
        start = position + 1
        long_form = self.tokens[position].text != "ad"
        while self.kind(start) in ("colon", "dash", "open") or (
            long_form and start - position < 7 and self.kind(start) and self.tokens[start].text in BEFORE_NUMBERS
        ):
            start += 1
        if start != position + 1 and "count" in {self.kind(position - i) for i in (1, 2, 3)}:
            return position + 1  # "the number of action units is 3"
        if self.number_at(start):
            return self.units_from(start, head=position)
        self.zero(start)
        reach = 3 if self.tokens[position - 1].text == "的" else 2  # 没有明显的动作单元: "no clear action units"
        before = self.tokens[max(0, position - reach) : position]
        # "no action units", but not "I cannot identify action units"
        just_negated = self.negated and any(
            t.kind == "no" and t.text not in ("cannot", "can't", "unable") for t in before
        )
        if just_negated and self.kind(position + 1) not in ("unit", "position"):
            self.segment.no_units = True
        return position + 1

    def zero(self, position: int) -> None:
        """Note that there are no units where their number is zero ("AU0")."""
        is_zero = self.kind(position) == "number" and not self.tokens[position].text.strip("0")
        last = self.kind(position + 1) in ("", "comma", "close") and self.number_at(position + 2) is None
        if is_zero and last and not self.negated and not self.hedged:
            self.segment.no_units = True

    def number_at(self, position: int) -> tuple[int, int] | None:
        """The unit number that starts at `position` (`12`, `L12`, `12C`) and the position behind it."""
        tokens = self.tokens
        first = position
        if self.kind(first) == "word" and tokens[first].text in ("l", "r", "t", "b", "a"):
            if self.kind(first + 1) != "number" or tokens[first].end != tokens[first + 1].start:
                return None
            first += 1
        if self.kind(first) != "number" or not 1 <= len(tokens[first].text) <= 2 or not tokens[first].text.strip("0"):
            return None
        after = first + 1
        if after < len(tokens) and tokens[after].start == tokens[first].end:
            if tokens[after].text in ("a", "b", "c", "d", "e", "l", "r"):
                after += 1
            elif tokens[after].text in _COUNTERS or (tokens[after].text.isascii() and tokens[after].text[0].isalpha()):
                return None
        return int(tokens[first].text), after

    def is_plus_list(self, position: int) -> bool:
        """Whether units stand here as in a coding sheet, without "AU" in front: `4+7`."""
        number = self.number_at(position)
        return bool(
            number
            and self.kind(number[1]) == "join"
            and self.tokens[number[1]].text == "+"
            and self.number_at(number[1] + 1)
        )

    def units_from(self, position: int, head: int = -9, bare: bool = False) -> int:
        """Read a list of unit numbers, announced by the token at `head`; returns the position behind it."""
        into = self.segment.bare_units if bare else self.segment.units
        before = len(self.pending)
        run = self.explicit
        if head != position - 1 and not bare:
            run = self.loose = []
        # "AUs: 4 7"; but "AU4 3" may be an intensity, and only "AU4 7 9" is a list
        spaced = not bare and (head != position - 1 or self.tokens[head].text != "au")
        while number := self.number_at(position):
            mention = self.note(number[0], into, position, number[1])
            run.append(mention)
            position = self.gloss(number[1], mention)
            self.number_end = position
            if self.kind(position) == "colon":
                self.pending = self.pending[before:]  # "AU4: yes, AU12: no": the value is of the last alone
                self.keyed = True
            if value := self.value_at(position):
                if value[0]:
                    mention.status, mention.valued = _NEGATED, True
                position = value[1]
                if self.keyed:
                    return position
            if self.kind(position) == "colon":
                return position
            if self.negated and self.kind(position) == "comma" and self.new_clause(position + 1):
                break  # "no AU12, AU4 is present"
            ahead = position
            while self.kind(ahead) in ("join", "comma", "and") or self.is_hyphen(ahead):
                ahead += 1
            headed = self.kind(ahead) == "aus_head"
            following = self.number_at(ahead + headed)
            if following is None:
                break
            if ahead == position:
                spaced = spaced or (not bare and self.number_at(following[1]) is not None)
                if headed or not spaced:
                    break
            behind = following[1] + 2 * self.is_hyphen(following[1])  # "2-3 px"
            if self.measured(behind) and not headed and self.kind(position) != "join":
                break
            position = ahead + headed
        return position

    def value_at(self, position: int) -> tuple[bool, int] | None:
        """Whether the value behind a unit is low (`: 0`, `(3%)`, `confidence 0.1`, `0.02`), and the position behind it;
        None where there is none."""
        start = position
        while position - start < 5 and (
            self.kind(position) in ("colon", "open", "dash", "be", "close")
            or (position < len(self.tokens) and self.tokens[position].text in MEASURED_BY)
        ):
            position += 1
        if self.kind(position) != "number":
            return None
        number = self.tokens[position].text
        behind = position + 1
        share = behind < len(self.tokens) and self.tokens[behind].text == "%"
        introduced = any(self.kind(at) not in ("dash", "close") for at in range(start, position))
        if not (share or introduced or number == "0" or number.startswith("0.")) or self.measured(behind):
            return None
        if self.kind(start) == "open" and not share and self.kind(behind) not in ("close", "comma"):
            return None  # "AU12 (2 of them)"
        return is_low(f"{number}%" if share else number), behind + share

    def is_hyphen(self, position: int) -> bool:
        """A dash with no space around it, as in "AUs 6-12": a list or a range, both ends are meant."""
        around = self.tokens[position - 1 : position + 2]
        return self.kind(position) == "dash" and len(around) == 3 and all(a.end == b.start for a, b in pairwise(around))

    def gloss(self, position: int, mention: _Mention) -> int:
        """Skip what stands in brackets behind a unit, unless it says that the unit is absent, or is the class `others`,
        which no unit is explained with."""
        if self.kind(position) != "open" or self.kind(position + 1) == "aus_head":
            return position
        if self.tokens[position + 1 : position + 2] and self.tokens[position + 1].text == "others":
            return position
        minus = (self.kind(position + 1), self.kind(position + 2)) == ("dash", "close")  # "AU12 (-)"
        if minus or ((value := self.value_at(position)) and value[0]):
            mention.status, mention.valued = _NEGATED, True  # "AU12 (0.12)"
        while position < len(self.tokens) and self.kind(position) != "close":
            if self.kind(position) in ("no", "not_there"):
                mention.status = _NEGATED
            position += 1
        return position + 1

    def named(self, position: int) -> None:
        """A unit's name, unless it only explains the number beside it."""
        before = position
        while self.kind(before - 1) in ("colon", "dash", "open", "be") or self.is_article(before - 1):
            before -= 1
        after = position + 1
        while self.kind(after) in ("colon", "dash", "open"):
            after += 1
        number_follows = self.kind(after) == "aus_head" and self.number_at(after + 1)
        if before != self.number_end and not number_follows:
            self.note(int(self.tokens[position].value or 0), self.segment.units, position, position + 1)
        behind = position + 1
        if self.kind(behind) == "open" and self.kind(behind + 1) == "word" and self.kind(behind + 2) == "close":
            behind += 3  # "lip corner puller (smile): 0"
        if self.pending and not number_follows and (value := self.value_at(behind)) and value[0]:
            self.pending[-1].status, self.pending[-1].valued = _NEGATED, True  # "lip corner puller: 0"
        self.name_end = position + 1

    def is_article(self, position: int) -> bool:
        return position > 0 and self.tokens[position].text in ("the", "called", "named")

    def position_named(self, position: int) -> None:
        """A position of head or eyes, which is a unit only where units are listed."""
        before = position
        while self.kind(before - 1) in ("comma", "and", "join", "colon", "dash", "open") or (
            before and self.tokens[before - 1].text in BEFORE_NUMBERS
        ):
            before -= 1
        listed = self.bare or "aus_head" in self.segment.title if before == 0 else before == self.name_end
        if listed or self.kind(before - 1) == "aus_head":
            self.note(int(self.tokens[position].value or 0), self.segment.units, position, position + 1)
            self.name_end = position + 1

    def label(self, position: int) -> None:
        token = self.tokens[position]
        value = str(token.value)
        after = self.tokens[position + 1] if position + 1 < len(self.tokens) else None
        hedged = after is not None and after.text in ("like", "emotions", "feelings", "expressions")
        if token.text == "no" and after is not None and after.text in ("of", "other"):
            self.negated = True  # "no expression of fear"
            return
        if value == "others" and not self.stands_alone(position):
            return  # "the other brow"
        before = {word.text for word in self.tokens[max(0, position - 2) : position]}
        if value == "neutral" and ("from" in before or (after is not None and after.text in ("to", "onset", "state"))):
            return  # "from a neutral face to ..."
        if before == {"followed", "by"} and self.segment.says(self.segment.labels, _AFFIRMED) not in ([], ["neutral"]):
            self.hedged = True  # "disgust, followed by anger"
        mention = self.note(value, self.segment.labels, position, position + 1)
        if hedged and mention.status == _AFFIRMED:
            mention.status = _HEDGED  # "contempt-like", "positive emotions show AU12"
        mention.status = self.weak.get(token.start, mention.status)
        if self.kind(position + 1) == "colon":
            self.pending = [mention]  # {"emotion": "fear", "positive": false}

    def stands_alone(self, position: int) -> bool:
        """Whether "others" (or "other") is the class, and not other units, brows or people."""
        texts = ["", "", *(token.text for token in self.tokens[max(0, position - 2) : position])][-2:]
        if self.tokens[position].text == "others":
            in_field = "emotion_head" in self.segment.title and not self.segment.labels
            if in_field and texts[1] not in NOT_THE_CLASS:
                return True  # "expression: probably others"
            if texts[0] in CLASSING and texts[1] in ("as", "to", "under", "into"):
                return True  # "best classified as others"
            if texts[1] == "probably" or (texts[1] == "most" and self.kind(position - 1) == "resume"):
                return True  # "most likely others"
        before = self.kind(position - 1) if position else "colon"
        before = "be" if texts[1] in ("choose", "select", "pick") else before
        after = self.kind(position + 1)
        if after == "turn" and before in ("comma", "and", "join"):
            return False  # "AU4 and others which are weaker"
        return before in (
            "colon", "be", "comma", "and", "open", "close", "emotion_head", "join", "there", "dash", "therefore",
        ) and after in ("", "comma", "close", "and", "open", "join", "emotion_head", "turn")  # fmt: skip


# ---- the whole answer -----------------------------------------------------------------------------------------------


def _conclusions(segments: list[_Segment]) -> list[tuple[int, list[_Segment]]]:
    """The conclusions of the text with their rank, each up to the next heading or until both parts have been said."""
    found: list[tuple[int, list[_Segment]]] = []
    current: list[_Segment] | None = None
    units_said = label_said = False
    for segment in segments:
        both_said = current and units_said and label_said and segment.line > current[-1].line
        if both_said or ("section" in segment.title and segment.heading):
            current = None
        if segment.rank:
            current = []
            found.append((segment.rank, current))
            units_said = label_said = False
        if current is not None:
            current.append(segment)
            units_said |= segment.no_units or bool(segment.says(segment.units, _AFFIRMED))
            label_said |= bool(segment.says(segment.labels, _AFFIRMED))
    return found


def _named_labels(
    segments: list[_Segment], conclusions: list[tuple[int, list[_Segment]]], labels: Sequence[str]
) -> list[str]:
    """The different labels that the answer ends up with: one, none, or several that contradict each other."""
    _leave_other_grain_out(segments, labels)
    for rank in (3, 2, 1):
        named = [label for r, region in conclusions if r == rank for label in _labels_of_region(region)]
        if named:
            return list(dict.fromkeys(named))
    titled = [s for s in segments if "emotion_head" in s.title]
    concluding = [s for s in segments if any(token.kind == "therefore" for token in s.tokens)]
    speaking = [s for s in segments if any(token.kind == "emotion_head" for token in s.tokens)]
    for some, last_only in ((titled, False), (concluding, True), (speaking, True), (segments, False)):
        saying = [s for s in some if s.says(s.labels, _AFFIRMED)]
        if saying:
            chosen = saying[-1:] if last_only else saying
            if some is concluding and (behind := _behind_therefore(chosen[0])):
                return behind
            return list(dict.fromkeys(str(v) for s in chosen for v in s.says(s.labels, _AFFIRMED)))
    return list(dict.fromkeys(str(v) for s in segments for v in s.says(s.labels, _HEDGED)))


def _behind_therefore(segment: _Segment) -> list[str]:
    """The different labels that are affirmed behind the last "therefore" or "so" of a sentence."""
    last = max(at for at, token in enumerate(segment.tokens) if token.kind == "therefore")
    return list(dict.fromkeys(str(m.value) for m in segment.labels if m.status == _AFFIRMED and m.start > last))


def _leave_other_grain_out(segments: list[_Segment], labels: Sequence[str]) -> None:
    """Where coarse and fine have fields of their own, that of the grain that was asked for decides."""
    asked, other = ("coarse", "fine") if {*labels} <= {*COARSE, "others"} else ("fine", "coarse")
    if any(asked in segment.title and segment.says(segment.labels, _AFFIRMED) for segment in segments):
        for segment in segments:
            for mention in segment.labels:
                if (
                    asked not in segment.title
                    and other in segment.title
                    and (asked == "coarse" or mention.value in labels)
                ):
                    mention.status = _NEGATED


def _labels_of_region(region: list[_Segment]) -> list[str]:
    titled = [s for s in region if "emotion_head" in s.title]
    for status in (_AFFIRMED, _HEDGED):
        if named := [str(v) for s in titled for v in s.says(s.labels, status)]:
            return named
    for status in (_AFFIRMED, _HEDGED):
        for segment in region:
            if named := [str(v) for v in segment.says(segment.labels, status)]:
                return named
    return []


def _resolve(named: list[str], labels: Sequence[str]) -> tuple[str | None, str | None, str | None]:
    """Label, coarse class and, where expressions are named but give no label, why."""
    found: list[str] = []  # labels that were asked for
    strange: list[str] = []  # labels that were not
    classes: list[str] = []  # coarse classes, where fine labels were asked for
    for name in named:
        if name == "neutral" and name not in labels and len(named) > 1:
            continue  # of the face before it moves
        known = name if name in labels else coarse(name)
        if known is not None and known in labels:
            found += [known] if known not in found else []
        else:
            (classes if name in COARSE else strange).append(name)
    named_class = classes[0] if len(classes) == 1 else None
    different = found + strange or classes
    if len(different) > 1:
        return None, named_class, f"two different expressions: {', '.join(different)}"
    if strange:
        return None, named_class or coarse(strange[0]), f"{strange[0]}: none of the labels"
    if found:
        return found[0], coarse(found[0]) or named_class, None
    return None, named_class, None


def _units(segments: list[_Segment], conclusions: list[tuple[int, list[_Segment]]]) -> dict[int, str | None] | None:
    """The units that the answer ends up with, and the side of each; None where it says nothing about units."""
    for rank in (3, 2, 1):
        for r, region in conclusions:
            if r == rank and (found := _said(run := _first_run(region))) is not None:
                return _with_sides_before(found, segments, run)
    titled = [s for s in segments if "aus_head" in s.title]
    found = _said(titled)
    return _said(segments) if found is None else _with_sides_before(found, segments, titled)


def _with_sides_before(
    found: dict[int, str | None], segments: list[_Segment], deciding: list[_Segment]
) -> dict[int, str | None]:
    """The units; those without a side with the one that they are given in front of the segments that decide."""
    before: dict[int, list[str | None]] = {unit: [] for unit, side in found.items() if side is None}
    for segment in segments if before else ():
        if segment is deciding[0]:
            break
        for mention in (*segment.units, *segment.bare_units):
            if mention.status == _AFFIRMED and mention.value in before:
                before[int(mention.value)].append(mention.side)
    return {unit: side or agreed(before[unit]) for unit, side in found.items()}


def _first_run(region: list[_Segment]) -> list[_Segment]:
    """The first segments in a row that speak of units; what is said of units further down is comment."""
    run: list[_Segment] = []
    for segment in region:
        if segment.units or segment.bare_units or segment.no_units:
            run.append(segment)
        elif run:
            break
    return run


def _said(segments: list[_Segment]) -> dict[int, str | None] | None:
    affirmed = [m for s in segments for m in s.units if m.status == _AFFIRMED]
    if affirmed:
        return _by_unit(affirmed)
    if any(s.no_units for s in segments):
        return {}
    hedged = [m for s in segments for m in s.units if m.status == _HEDGED]
    bare = [m for s in segments for m in s.bare_units if m.status == _AFFIRMED]
    if hedged or bare:
        return _by_unit(hedged or bare)
    denied = [m for s in segments for m in s.units]
    # "AU4: 0, AU12: 0": a list of values that denies them all says that there are none
    return {} if len(denied) > 1 and all(m.valued for m in denied) else None


def _by_unit(mentions: list[_Mention]) -> dict[int, str | None]:
    found: dict[int, list[str | None]] = {}
    for mention in mentions:
        found.setdefault(int(mention.value), []).append(mention.side)
    return {unit: agreed(said) for unit, said in found.items()}
