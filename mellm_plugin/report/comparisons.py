"""Comparisons of the runs of a board: all pairs, each on the clips that both have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from mellm_plugin.errors import InputError
from mellm_plugin.report.items import Items
from mellm_plugin.scoring import summary
from mellm_plugin.scoring.intervals import Comparison


def compared(score: str, runs: Sequence[Items], where: str, notes: list[str]) -> dict[tuple[int, int], Comparison]:
    """All pairs of runs, each compared on the clips that both have."""
    if len(runs) < 2:
        return {}
    try:
        return dict(summary.comparisons(score, runs))
    except InputError:
        found: dict[tuple[int, int], Comparison] = {}
    for first in range(len(runs)):
        for second in range(first + 1, len(runs)):
            ours, theirs = _same_clips(runs[first], runs[second])
            try:
                if ours:
                    found[first, second] = summary.comparison(score, ours, theirs)
                else:
                    notes.append(f"{where}: two runs have no clip in common and cannot be compared")
            except InputError as error:
                notes.append(f"{where}: two runs cannot be compared: {error}")
    return found


def least_compared(rows: int, pairs: Collection[tuple[int, int]]) -> int | None:
    """The row that can be compared with the fewest others; None if all pairs can be compared."""
    if len(pairs) == rows * (rows - 1) // 2:
        return None
    partners = Counter(place for pair in pairs for place in pair)
    return min(range(rows), key=lambda place: (partners[place], -place))


def _same_clips(first: Items, second: Items) -> tuple[Items, Items]:
    """The items of the clips that both have."""
    ours, theirs = Counter(item["id"] for item in first), Counter(item["id"] for item in second)
    common = {id for id in ours if ours[id] == theirs[id]}
    return [i for i in first if i["id"] in common], [i for i in second if i["id"] in common]


def comparable(score: str, items: Items) -> Items:
    """The items that two runs are compared by: of a judge's those with points."""
    return [item for item in items if item["points"] is not None] if score == "description_score" else items
