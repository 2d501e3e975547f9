"""The side of the face that an answer gives to a unit, in the marks of FACS: the subject's own left and right.

    "AU12 (left)", "L12", "AU12 on the image's right"     L
    "right-sided AU14", "unilateral AU14 on the right"    R
    "bilateral AU4", "左侧和右侧AU4"                       B, both sides
    "AU4, stronger on the left", "AU4 (L > R)", "A4"      A, both sides, one stronger
    "AU12", "AU12 on the left or right"                   None, unsaid

A side is the subject's own, as in FACS, unless the words say that it is a side of the image or of the viewer; then it
is swapped. A side comes from:

1.  A mark at the number (`L12`, `12R`). For units of the lips, `B` is the bottom lip and not a side.
2.  Words before a unit ("left AU12", "the left mouth corner rises (AU12)"). Before a colon they apply to all units
    after it ("Left side: AU12, AU14"), as does the title of a field ("AUs on the left side: 12, 14").
3.  Words after a unit, for the last unit only: "AU6+AU12 (left)" gives no side for AU6. After a comma only a bare side
    counts, and after "and", "while" or "no" nothing counts.
4.  Brackets after a side that say whose side it is ("the right corner (viewer's right)": L), and comparisons ("left
    stronger than right": A), each together with the side as one statement.

"Left or right" and two sides that contradict each other are no side. Nor is a direction ("moves to the left",
"up-left"), a side that does not move ("the left brow stays still") or the place of an image ("the image on the right").
Positions of head and eyes, the units from 51 on, have no side.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mellm_plugin.facs.codes import LIPS
from mellm_plugin.language.words import Tokens, word_set

TITLE_WORDS = frozenset({"left", "right", "side", "sides", "half", "on", "image", "image's"})
"""Words in the title of a field that give a side."""


@dataclass(frozen=True)
class Span:
    """Where a unit is named: its number, its first token and the one after its last, marks included."""

    number: int
    start: int
    end: int


_SIDES = {"left": "L", "right": "R", "l": "L", "r": "R", "左": "L", "右": "R"}
_OTHER = {"L": "R", "R": "L"}
_BOTH = word_set("bilateral bilaterally symmetric symmetrical symmetrically")
_UNEQUAL = word_set("asymmetric asymmetrical asymmetrically")
_PAIRED = word_set("sides halves corners brows eyebrows cheeks lids eyelids eyes nostrils")
_PARTS = word_set(
    "side sides sided half part area region corner corners mouth lip lips brow brows eyebrow eyebrows cheek cheeks lid "
    "lids eyelid eyelids eye nostril nose chin face hemiface 侧 边 半 脸 面 部 嘴 角 眉 眼"
)
_OF = word_set("of the his her their subject's person's")
_PLACES = _OF | word_set(
    "on at in to a its my face's image image's picture frame viewer viewer's observer's 图 像 片 画 面 "
    "side sides laterality location only just mainly mostly especially particularly predominantly primarily slightly "
    "stronger more pronounced unilateral unilaterally name 在 位 于 主 要 单 侧 的"
)
"""Words allowed between a comma and a side that belongs to the unit before the comma."""
_ON = word_set("on at in the its")
_OPENING = word_set("colon dash open aus_head")
_FIELDS = word_set("side sides laterality location")
_PICTURES = word_set("image picture frame photo video map panel screen")
_REACH = 8
"""Maximum number of words between a unit and its side."""
_ENDS = frozenset({"", "comma", "colon", "close", "open", "dash", "join", "and"})
_STOPS = frozenset(
    {"and", "therefore", "label", "aus_head", "number", "no", "not_there", "hedge", "section", "resume", "join"}
)

_VIEWER = "image|picture|frame|photo|video|map|screen|viewer|observer|camera"
_OF_IMAGE_BEFORE = re.compile(rf"(?:\b(?:(?:{_VIEWER})(?:'s)?|our|your)|(?:图 像|图 片|画 面|图)(?: 中)?(?: 的)?) $")
_OF_IMAGE_BEHIND = re.compile(
    r"(?:(?:side|half|part|corner|area|region|of|the|mouth|lips?|face) ){0,6}?"
    r"(?:\( (?:(?:of|in|within|from|as) )?|(?:, )?(?:of|in|within|from|as) )(?:(?:the|an?|this|your) )?"
    rf"(?:(?:{_VIEWER})(?:'s (?:view|point|perspective|side))?|seen|viewed) (?!left|right)"
)
_MOVES = re.compile(
    r"(?:\b(?:turn|turns|turned|turning|tilt|tilts|tilted|look|looks|looking|gaze|gazes|head|eyes|up|down|upwards?"
    r"|downwards?|move|moves|moved|moving|pull|pulls|pulled|shift|shifts|shifted|drawn|towards?)|\bto the) $"
)
_PICTURE_PLACED = re.compile(rf"\b(?:{'|'.join(sorted(_PICTURES))})s? (?:on|at|to) the $")
_TRUE = re.compile(r"\b(?:that's|that is|this is|you're|you are|is that|quite|exactly|all) $")
_NO_SIDES = word_set("one choice option decision way match fit reading interpretation call track")
"""Words after a side that make it one of two pictures, or make "right" mean correct."""
_STILL = re.compile(
    r"(?:(?:does|do|did|is|are|was|were|stays?|remains?|staying|remaining|being|kept|keeps|holds|holding|completely|"
    r"entirely|quite|perfectly) )*"
    r"(?:(?:not|doesn't|don't|didn't|isn't|aren't|wasn't|weren't) (?!(?:on |at |the )*(?:left|right) )"
    r"|(?:unchanged|motionless|immobile|stationary|unmoved|still(?! [a-z]+ed )) )"
    r"|shows? no |has no |: (?:none|no|absent|unchanged|still|0) (?:[,:)-] |$)"
)
_COMPARISON = re.compile(
    r"(?:(?:much|slightly|clearly|is|being) )*(?:stronger|weaker|greater|larger|smaller|clearer"
    r"|(?:more|less)(?: \S+)?) than (?:the |on the )?"
)
_OWNED = re.compile(r"\b(?:subject's|person's|his|her|their|own) $")
_COMPARED = re.compile(r"\bthan (?:\S+ ){0,3}$")
_STRONGER = re.compile(
    r"\b(?:stronger|more|greater|larger|clearer|mainly|mostly|predominantly|primarily|especially|particularly) "
    r"(?:\S+ ){0,4}$"
)
_PLACED = re.compile(
    r"\b(?:on|at|in|the|its|his|her|their|my|subject's|person's|face's|unilateral|unilaterally|only"
    rf"|(?:{_VIEWER})(?:'s)?) $|[图像片面的侧] $"
)
_SHOWS = re.compile(
    r"(?:[^ ,]+ ){0,6}?(?:[(:→•-]|shows?|showing|displays|exhibits|(?:, )?(?:indicating|suggesting|which [^ ,]+)|is"
    r"|corresponds to|for) (?:the )?$|(?:, )$"
)


@dataclass(frozen=True)
class _Said:
    """A side named by the words from `start` up to `end`; None if they leave it open. `placed`: its own words make it
    a place, which "left" alone need not be."""

    side: str | None
    start: int
    end: int
    placed: bool


def sides(words: Tokens, units: Sequence[Span], title: Collection[str] = ()) -> list[str | None]:
    """The side that a sentence or line gives to each of its units: `L`, `R`, `A`, `B` or None.

    Args:
        units: ascending, without overlap.
        title: kinds and texts of the title before it; only `TITLE_WORDS` count.
    """
    starts, ends = [unit.start for unit in units], [unit.end for unit in units]
    found: list[set[str | None]] = [set() for _ in units]
    fields = {0: _of_title(title)}
    for said in _named(words, units):
        at, last = bisect_left(starts, said.end), bisect_right(ends, said.start) - 1
        behind = units[at] if at < len(units) else None
        before = units[last] if last >= 0 else None
        if before and before.end < said.start and _only(words, before.end, said.start, 3, (), _ON):
            found[last].add(said.side)  # "AU12 on the left"
        elif behind and _only(words, said.end, behind.start, 4, ("aus_head", "dash"), ("unilateral", "的")):
            found[at].add(said.side)  # "left-sided AU12"
        elif behind and _is_field(words, said.end, behind.start):
            fields[at] = said.side  # "Left side: AU12, AU14"
        elif before and _stands_behind(words, before, said):
            found[last].add(said.side)
        elif behind and _is_glossed(words, said, behind):
            found[at].add(said.side)
    sides_of: list[str | None] = []
    of_field = None
    for at, unit in enumerate(units):
        of_field = fields.get(at, of_field)
        sides_of.append(None if unit.number > 50 else _of_unit(words, unit, found[at] or {of_field}))
    return sides_of


def field_side(words: Tokens) -> str | None:
    """The side in a separate line, for the unit in the line above (`"side": "left",`); None for other lines."""
    start = next((at for at, word in enumerate(words[:3]) if word.kind not in ("dash", "comma")), 0)
    if [word.text in _FIELDS or word.kind == "colon" for word in words[start : start + 2]] != [True, True]:
        return None
    return agreed(said.side for said in _named(Tokens(words[: start + _REACH]), ()))


def agreed(said: Iterable[str | None]) -> str | None:
    """The side of a unit that is named several times: `B` for left and right, `A` if one of both is stronger; None if
    none is given, or if they contradict each other."""
    known = {side for side in said if side is not None}
    if known in ({"L", "R"}, {"A", "B"}):
        return "B" if "L" in known else "A"
    return known.pop() if len(known) == 1 else None


def _named(words: Tokens, units: Sequence[Span]) -> Iterator[_Said]:
    inside = {at for unit in units for at in range(unit.start, unit.end)}
    ends = {unit.end for unit in units}
    at = 0
    while at < len(words):
        if at not in inside and (said := _side_at(words, at, ends)) is not None:
            yield said
            at = said.end
        else:
            at += 1


def _side_at(words: Tokens, at: int, ends: Collection[int]) -> _Said | None:
    word = words[at]
    if word.kind == "not_a_negation" and word.text == "不":
        return _Said("A", at, at + 1, True)  # 不对称
    if word.kind != "word":
        return None
    before = _before(words, at)
    if word.text in _BOTH or word.text in _UNEQUAL:
        denied = any(kind == "no" for _, kind in before)
        return _Said(None if denied else "B" if word.text in _BOTH else "A", at, at + 1, True)
    if word.text in ("both", "双", "两"):
        pair = range(at + 1, at + 4) if word.text == "both" else range(at + 1, at + 2)
        if words.text(at - 2) in _FIELDS and words.kind(at - 1) == "colon" and words.kind(at + 1) in _ENDS:
            return _Said("B", at, at + 1, True)  # "side": "both"
        last = next((place for place in pair if words.text(place) in _PAIRED | {"侧", "边"}), None)
        return None if last is None else _Said("B", at, last + 1, True)
    side = _SIDES.get(word.text)
    letter = word.text in ("l", "r")
    if side is None or (letter and not _is_mark(words, at, ends)):
        return None
    if words.text(at + 1) in _PICTURES or words.kind(at + 1) in ("conclusion", "emotion_head"):
        return None  # "the left image", "the right answer"
    part = words.text(at + 1) in _PARTS
    text = "".join(f"{name} " for name, _ in before)
    if not letter and _is_of_pictures(words, at, text, part):
        return None
    if any(kind == "no" for _, kind in before) or _COMPARED.search(text) or (_MOVES.search(text) and not part):
        return None
    end = _end_of(words, at)
    paired = _pair(words, at, end, ends) or _compared(words, at, end)
    if paired is not None:
        return _Said(paired[0], at, paired[1], True)
    if _is_still(words, end, text):
        return None
    behind = " ".join([*(words.text(place) for place in range(at + 1, min(at + 10, len(words)))), "."])
    of_image = bool(_OF_IMAGE_BEFORE.search(text))
    if (bracketed := _in_brackets(words, end)) is not None:
        # "right (viewer's right)" is one side, and the brackets say whose right it is
        fixed = of_image or bool(_OWNED.search(text))
        if fixed and bracketed[0] != (_OTHER[side] if of_image else side):
            return _Said(None, at, bracketed[1], True)
        return _Said("A" if _STRONGER.search(text) else bracketed[0], at, bracketed[1], True)
    if of_image or _OF_IMAGE_BEHIND.match(behind):
        side = _OTHER[side]
    if _STRONGER.search(text):
        side = "A"
    return _Said(side, at, end, bool(part or _PLACED.search(text)))


def _is_of_pictures(words: Tokens, at: int, before: str, part: bool) -> bool:
    """Whether a side tells two pictures apart, or "right" means correct: "the image on the right", "that's right"."""
    if words.text(at + 1) in _NO_SIDES or (words.text(at + 1) == "hand" and words.text(at + 2) in _PICTURES):
        return True
    if _PICTURE_PLACED.search(before):
        return not part  # but "the image on the right side of the face"
    return words[at].text == "right" and not part and bool(_TRUE.search(before))


def _is_still(words: Tokens, end: int, before: str) -> bool:
    """Whether the side that ends at `end` does not move (`the left brow stays still`, `left: none`); False for a place
    ("on the left")."""
    if re.search(r"\b(?:on|at|in|to|of) (?:(?:the|its|his|her|their) )?$", before):
        return False
    return bool(_STILL.match("".join(f"{words.text(at)} " for at in range(end, min(end + 6, len(words))))))


def _compared(words: Tokens, at: int, end: int) -> tuple[str, int] | None:
    """The side `A` and the end of a comparison such as "left stronger than right"; None for anything else."""
    behind = range(end, min(end + _REACH, len(words)))
    found = _COMPARISON.match("".join(f"{words[place].text} " for place in behind))
    second = end + found[0].count(" ") if found else end
    if found is None or _SIDES.get(words.text(second)) != _OTHER[_SIDES[words[at].text]]:
        return None
    return "A", _end_of(words, second)


def _in_brackets(words: Tokens, end: int) -> tuple[str, int] | None:
    """The subject's side in brackets that say whose side it is (`(viewer's left)`: R), and where they end."""
    if words.kind(end) != "open":
        return None
    texts = [words.text(at) for at in range(end + 1, min(end + 1 + _REACH, len(words)))]
    found = re.match(
        rf"(?:the )?((?:{_VIEWER}|subject|person)(?:'s)?) (left|right) (?:side )?\) ", "".join(f"{t} " for t in texts)
    )
    if found is None:
        return None
    side = _SIDES[found[2]]
    of_subject = found[1].removesuffix("'s") in ("subject", "person")
    return side if of_subject else _OTHER[side], end + 1 + found[0].count(" ")


def _before(words: Tokens, at: int) -> list[tuple[str, str]]:
    """Text and kind of up to five words before, within the clause."""
    found: list[tuple[str, str]] = []
    while len(found) < 5 and words.kind(at - 1) in ("word", "no", "be", "there", "resume", "turn", "hedge"):
        at -= 1
        found.append((words[at].text, words[at].kind))
    return found[::-1]


def _is_mark(words: Tokens, at: int, ends: Collection[int]) -> bool:
    """Whether a letter is a side: `(L)`, `AU12-L`, `L AU12`; not in `AU12_r`, OpenFace's name for an intensity."""
    stands_apart = at not in ends and words.kind(at - 1) in ("open", "colon", "dash")
    return (stands_apart and words.kind(at + 1) in _ENDS) or words.kind(at + 1) == "aus_head"


def _end_of(words: Tokens, at: int) -> int:
    """The position after the part of the face that has the side: `left corner of the mouth`."""
    end = at + 1
    for place in range(at + 1, min(at + _REACH, len(words))):
        if words[place].kind == "word" and words[place].text in _PARTS:
            end = place + 1
        elif words[place].text not in _OF:
            break
    return end


def _pair(words: Tokens, at: int, end: int, ends: Collection[int]) -> tuple[str | None, int] | None:
    """Side and end of "left and right" (`B`) or "left or right" (None); None if no second side follows."""
    second = end
    if words.kind(end) in ("and", "join"):
        second = end + 1
        while words.text(second) in ("on", "at", "in", "the"):
            second += 1
    if second == end and words[at].text != "左":
        return None
    if {_SIDES.get(words[at].text), _SIDES.get(words.text(second))} != {"L", "R"}:
        return None
    last = _end_of(words, second)
    of_next = words.kind(last) in ("aus_head", "unit", "number")
    if of_next and at in ends:
        return None  # "AU12 left and right AU14"
    both = second > end and words[end].text in ("and", "plus", "as", "+", "&", "和", "与", "與", "及", "以")
    return ("B" if both else None), last


def _only(words: Tokens, start: int, end: int, reach: int, kinds: Collection[str], texts: Collection[str] = ()) -> bool:
    """Whether nothing but words of some kinds or texts lies between two positions, at most `reach` of them."""
    return end - start <= reach and all(word.kind in kinds or word.text in texts for word in words[start:end])


def _is_field(words: Tokens, end: int, start: int) -> bool:
    return words.kind(end) == "colon" and (start - end > _REACH or _only(words, end, start, _REACH, _OPENING))


def _stands_behind(words: Tokens, unit: Span, said: _Said) -> bool:
    """Whether the side belongs to the unit before it: `AU12 (left)`, `AU12 is seen on the left`."""
    if said.start - unit.end > _REACH or not (said.placed or words.kind(said.end) in _ENDS):
        return False
    in_clause = True
    for word in words[unit.end : said.start]:
        if word.kind in _STOPS or (word.kind == "turn" and word.text not in ("only", "with", "只")):
            return False
        if word.kind == "comma":
            in_clause = False
        elif not in_clause and word.text not in _PLACES and word.kind not in ("colon", "open", "dash", "unit"):
            return False
    return True


def _is_glossed(words: Tokens, said: _Said, unit: Span) -> bool:
    """Whether the unit explains what moves there: `the left mouth corner rises (AU12)`, `On the left, AU12`."""
    between = words[said.end : unit.start] if unit.start - said.end <= _REACH else ()
    while between and between[-1].kind == "aus_head":
        between = between[:-1]
    stops = _STOPS | {"unit"}
    if any(word.kind in stops or (word.kind == "turn" and word.text in ("but", "while", "not")) for word in between):
        return False
    return said.placed and bool(_SHOWS.fullmatch("".join(f"{word.text} " for word in between)))


def _of_unit(words: Tokens, unit: Span, said: Collection[str | None]) -> str | None:
    """The side of a unit: the mark at its number (`L12`, `12R`) if there is one, and what is said of it."""
    first, last = words.text(unit.start), words.text(unit.end - 1)
    marks = {_SIDES[text] for text in (first, last) if text in ("l", "r")}
    if first == "a" or (first == "b" and unit.number not in LIPS):
        marks.add(first.upper())
    if len(marks) > 1:
        return None
    return next(iter(marks)) if marks and {*said} <= {*marks, "A", None} else None if marks else agreed(said)


def _of_title(title: Collection[str]) -> str | None:
    left, right = "left" in title, "right" in title
    # a "right answer" is no side
    if left == right or not {"side", "sides", "half", "on"} & {*title}:
        return None
    side = "L" if left else "R"
    return _OTHER[side] if {"image", "image's"} & {*title} else side
