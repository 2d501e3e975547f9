"""The probabilities of the labels, behind an answer: of an answer, lmms-eval keeps and caches one text alone.

    with_probabilities("fear", {"anger": 0.25, "fear": 0.75})
      -> 'fear\n[MELLM_PROBABILITIES] {"anger": 0.25, "fear": 0.75}'
    apart(that text)  ->  ("fear", {"anger": 0.25, "fear": 0.75})

`mellm` writes them with `decide=likelihood` and `answer=head`. They are no part of what an answer says: every reader
leaves them out. With `answer=both`, the answer of the heads on the visual tokens follows in a last line:

    with_heads("fear", 'anger\n[MELLM_PROBABILITIES] {"anger": 0.6, "fear": 0.4}')
      -> 'fear\n[MELLM_HEADS] "anger\\n[MELLM_PROBABILITIES] .."'
    heads_apart(that text)  ->  ("fear", 'anger\n[MELLM_PROBABILITIES] ..')
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

MARK = "[MELLM_PROBABILITIES]"
"""How the last line of an answer with probabilities begins."""

HEADS_MARK = "[MELLM_HEADS]"
"""How the last line of an answer with that of heads begins."""

_DIGITS = 6  # behind the point
_SUM = 0.01  # the largest difference of a sum from 1


def with_probabilities(answer: str, probabilities: Mapping[str, float]) -> str:
    """The answer, and behind it a line with the probability of each label, 0 to 1, which sum to 1."""
    rounded = {label: round(float(value), _DIGITS) for label, value in probabilities.items()}
    return f"{answer}\n{MARK} {json.dumps(rounded, ensure_ascii=False)}"


def apart(text: str) -> tuple[str, dict[str, float] | None]:
    """The answer alone, and the probabilities behind it.

    Probabilities are None where there are none, or where they are not numbers of 0 to 1 that sum to 1: a broken line is
    left out of the answer too. Never raises on any text.
    """
    answer, mark, behind = text.rpartition(MARK)
    if not mark or "\n" in behind.strip() or (answer and not answer.endswith("\n")):
        return text, None
    try:
        found = json.loads(behind)
    except (ValueError, RecursionError):
        found = None
    return answer.removesuffix("\n"), found if _are_probabilities(found) else None


def with_heads(answer: str, of_heads: str) -> str:
    """The answer, and behind it a line with the answer of the heads."""
    return f"{answer}\n{HEADS_MARK} {json.dumps(of_heads, ensure_ascii=False)}"


def heads_apart(text: str) -> tuple[str, str | None]:
    """The answer alone, and that of the heads; None where there is none or its line is broken. Never raises."""
    answer, mark, behind = text.rpartition(HEADS_MARK)
    if not mark or "\n" in behind.strip() or not answer.endswith("\n"):
        return text, None
    try:
        found = json.loads(behind)
    except (ValueError, RecursionError):
        found = None
    return answer.removesuffix("\n"), found if isinstance(found, str) else None


def _are_probabilities(found: object) -> bool:
    if not isinstance(found, dict) or not found:
        return False
    values = list(found.values())
    if not all(isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1 for value in values):
        return False
    return math.isclose(sum(values), 1, abs_tol=_SUM)
