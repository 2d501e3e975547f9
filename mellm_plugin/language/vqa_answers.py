"""Answers to the questions of the ME-VQA challenges: yes or no, left or right, lists of units, two classes at once.

    vqa_reading("Yes, it is.", "unit", coarse_labels, fine_labels, unit=4)  ->  {"shown": True}

What `language.answers` reads (labels, units) is read by it; here is what the other kinds of questions need, whose
answers are mostly a word. A side is the word that the answer gives: the challenge does not say whose left it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mellm_plugin.language.answers import read

_CONCLUDES = re.compile(r"\b(?:answer|conclusion)\b\W{0,3}[:\-]\W*")
_DENIED = re.compile(
    r"\b(?:not|no|isn't|aren't)\b[^.;,\n]*\b(?:shown|present|visible|active|activated|observed|detected|seen)\b|\babsent\b"
)
_NOT_THERE = re.compile(
    r"\b(?:not|rather than|instead of)\b(?: (?:located|shown|seen))?(?: (?:on|at|in|from))?(?: the)? (?:left|right)\b"
)


def answered(answer: str) -> str:
    """The answer without what was thought before it."""
    return answer.rpartition("</think>")[2].strip()


def _decided(answer: str) -> str:
    """The words behind the last "answer:" or "conclusion:", or all, in lower case."""
    plain = answered(answer).lower().replace("’", "'")
    return _CONCLUDES.split(plain)[-1].strip() or plain


def read_units(answer: str, alone: bool = True) -> list[int] | None:
    """The action units that an answer lists, by their numbers, FACS names or the challenge's names; None where it says
    nothing on units that can be read.

    Args:
        answer: of the model, or the expected one.
        alone: whether nothing but units was asked for; then bare numbers and "none" speak of them.
    """
    found = read(answer, (), "aus" if alone else "all").aus
    return None if found is None else list(found)


def read_shown(answer: str, unit: int | None) -> bool | None:
    """Whether an answer says that a unit is there: by its first word, by the units it names, or by what it denies.

    >>> read_shown("Yes.", 4), read_shown("Conclusion: action units AU4+AU7", 4), read_shown("It is absent.", 4)
    (True, True, False)
    """
    decided = _decided(answer)
    if first := re.match(r"\W*(yes|no)\b", decided):
        return first[1] == "yes"
    if decided.strip(" 。.") in ("是", "否"):
        return decided.strip(" 。.") == "是"
    named = read_units(answer, alone=False)
    if named is not None and unit is not None:
        return unit in named
    if _DENIED.search(decided):
        return False
    said = set(re.findall(r"\b(?:yes|no)\b", decided))
    return said == {"yes"} if len(said) == 1 else None


def read_side(answer: str) -> str | None:
    """`left`, `right` or `both`; None where an answer names none of them, or left and right."""
    decided = _NOT_THERE.sub(" ", _decided(answer))
    found = set(re.findall(r"\b(?:left|right|both|bilateral)\b", decided))
    if found & {"both", "bilateral"}:
        return "both"
    return found.pop() if len(found) == 1 else None


def _class(answer: str, about: str, labels: Sequence[str]) -> str | None:
    """A class in a text that names two: from the clauses that speak of it, else from the whole."""
    clauses = [clause for clause in re.split(r"[.;,\n]", answered(answer)) if about in clause.lower()]
    said = read(". ".join(clauses), labels).label if clauses else None
    return said if said is not None else read(answer, labels).label


def vqa_reading(
    answer: str, kind: str, coarse_labels: Sequence[str], fine_labels: Sequence[str], unit: int | None = None
) -> dict[str, Any]:
    """What an answer says, by the kind of its question: None for each thing that cannot be read.

    Args:
        answer: of the model, or the expected one.
        kind: `coarse`, `fine`, `units`, `unit`, `side`, `combined`; of any other nothing is read.
        coarse_labels, fine_labels: to choose from.
        unit: number of the one unit that is asked about, if any.

    Returns:
        of `coarse` and `fine` (a label), `units` (numbers), `shown` (bool) and `side` (`left`, `right`, `both`) what
        the question asks for.
    """
    match kind:
        case "coarse":
            return {"coarse": read(answer, coarse_labels).label}
        case "fine":
            return {"fine": read(answer, fine_labels).label}
        case "units":
            return {"units": read_units(answer)}
        case "unit":
            return {"shown": read_shown(answer, unit)}
        case "side":
            return {"side": read_side(answer)}
        case "combined":
            return {
                "coarse": _class(answer, "coarse", coarse_labels),
                "fine": _class(answer, "fine", fine_labels),
                "units": read_units(answer, alone=False),
            }
        case _:
            return {}
