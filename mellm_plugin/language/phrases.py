"""Short phrases in the tokens of an answer: the number of a unit, the value beside it, and what words around deny.

number_at(tokens of "L12 (3%)", 0)  ->  (12, 2)       the number and the position behind it
value_at(tokens of "L12 (3%)", 2)   ->  (True, 5)     whether the value is low, and the position behind it
is_denied_behind(tokens of "AU4 is not seen", the position of "is")  ->  True
"""

from __future__ import annotations

from itertools import pairwise

from mellm_plugin.language.tables import is_low
from mellm_plugin.language.words import ADVERSATIVE, GRADES, MEASURED_BY, MEASURES, PLACES, Tokens

_COUNTERS = frozenset("%个個帧幀秒")


def number_at(tokens: Tokens, position: int) -> tuple[int, int] | None:
    """The unit number that starts at `position` (`12`, `L12`, `12C`) and the position behind it."""
    first = position
    if tokens.kind(first) == "word" and tokens[first].text in ("l", "r", "t", "b", "a"):
        if tokens.kind(first + 1) != "number" or tokens[first].end != tokens[first + 1].start:
            return None
        first += 1
    if tokens.kind(first) != "number" or not 1 <= len(tokens[first].text) <= 2 or not tokens[first].text.strip("0"):
        return None
    after = first + 1
    if after < len(tokens) and tokens[after].start == tokens[first].end:
        if tokens[after].text in ("a", "b", "c", "d", "e", "l", "r"):
            after += 1
        elif tokens[after].text in _COUNTERS or (tokens[after].text.isascii() and tokens[after].text[0].isalpha()):
            return None
    return int(tokens[first].text), after


def value_at(tokens: Tokens, position: int) -> tuple[bool, int] | None:
    """Whether the value behind a unit is low (`: 0`, `(3%)`, `confidence 0.1`, `0.02`), and the position behind it;
    None where there is none."""
    start = position
    while position - start < 5 and (
        tokens.kind(position) in ("colon", "open", "dash", "be", "close") or tokens.text(position) in MEASURED_BY
    ):
        position += 1
    if tokens.kind(position) != "number":
        return None
    number = tokens[position].text
    behind = position + 1
    share = tokens.text(behind) == "%"
    introduced = any(tokens.kind(at) not in ("dash", "close") for at in range(start, position))
    if not (share or introduced or number == "0" or number.startswith("0.")) or measured(tokens, behind):
        return None
    if tokens.kind(start) == "open" and not share and tokens.kind(behind) not in ("close", "comma"):
        return None  # "AU12 (2 of them)"
    return is_low(f"{number}%" if share else number), behind + share


def is_plus_list(tokens: Tokens, position: int) -> bool:
    """Whether units are listed here as in a coding sheet, without "AU" in front: `4+7`."""
    number = number_at(tokens, position)
    return bool(
        number
        and tokens.kind(number[1]) == "join"
        and tokens.text(number[1]) == "+"
        and number_at(tokens, number[1] + 1)
    )


def is_hyphen(tokens: Tokens, position: int) -> bool:
    """A dash with no space around it, as in "AUs 6-12": a list or a range, both ends are meant."""
    around = tokens[position - 1 : position + 2]
    return tokens.kind(position) == "dash" and len(around) == 3 and all(a.end == b.start for a, b in pairwise(around))


def is_flag(tokens: Tokens, position: int) -> bool:
    """Whether the number at `position` is the value of a flag: "active: 0"."""
    return (tokens.kind(position - 2), tokens.kind(position - 1)) == ("there", "colon")


def measured(tokens: Tokens, position: int) -> bool:
    """Whether the number in front of `position` is a count or a measure."""
    return tokens.text(position) in MEASURES


DENIALS = frozenset({"no", "not_there"})  # kinds of words


def is_denied_behind(tokens: Tokens, position: int) -> bool:
    """Whether what precedes a verb or "but" is denied after it: "is not seen", "but rejected"."""
    for ahead in range(position + 1, min(position + 8, len(tokens))):
        kind = tokens.kind(ahead)
        if kind == "unclear":
            return ahead - position <= 3
        if kind in DENIALS:
            far = ahead - position > 3 or tokens.kind(position) == "turn"
            return not far or kind == "not_there" or tokens.kind(ahead + 1) in ("there", "occur")
        if tokens.text(ahead) in ("it", "they") and tokens.kind(ahead + 1) == "be":
            continue  # "suspected, but on inspection it is absent"
        if kind in ("comma", "aus_head", "unit", "label", "number", "there", "occur", "resume"):
            return False
    return False


def is_rejected(tokens: Tokens, position: int) -> bool:
    """Whether "but" is here, and what precedes it is denied after it: "considered, but rejected"."""
    return tokens.text(position) in ADVERSATIVE and is_denied_behind(tokens, position)


def is_of_place(tokens: Tokens, position: int) -> bool:
    """Whether it is a part of the face, and no unit, that does not move: "lids unchanged"."""
    before = tokens[max(0, position - 2) : position]
    return any(token.kind == "word" and token.text in PLACES - GRADES for token in before)


def is_field(tokens: Tokens, position: int) -> bool:
    """Whether a word is the title of the units behind it: `"absent": ["AU12"]`."""
    return (
        tokens.kind(position + 1) == "colon"
        and (tokens.kind(position), tokens.kind(position + 2)) not in (("there", "number"), ("no", "number"))
        and tokens.kind(position + 2) in ("aus_head", "unit", "number")
        and tokens.kind(position - 1) in ("", "comma", "no")
    )
