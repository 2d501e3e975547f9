"""Comparisons of the runs of a board: all pairs, each on the clips that both have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import combinations

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
    for pair in combinations(range(len(runs)), 2):
        ours, theirs = (Counter(item["id"] for item in runs[place]) for place in pair)
        common = {id for id in ours if ours[id] == theirs[id]}
        try:
            if common:
                found[pair] = summary.comparison(score, *([i for i in runs[at] if i["id"] in common] for at in pair))
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
