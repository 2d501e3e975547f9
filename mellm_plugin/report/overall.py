"""The table over all boards: the main scores of every entry, and their means over datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mellm_plugin.report.items import MAIN


def overall(boards: Sequence[Mapping[str, Any]], entries: Sequence[str]) -> dict[str, Any]:
    """The main scores of every entry on every board, and their means over datasets.

    A mean takes one board of each dataset, the one with the most rows, and no board of several datasets, whose clips
    are those of others; and no run that is not ranked. `tasks` says over how many boards it goes: means over other
    numbers of them do not compare.
    """
    metrics = [m for m in MAIN if any(m == one["name"] for board in boards for one in board["metrics"])]
    rows = []
    counted: dict[str, list[str]] = {}
    for metric in metrics:
        best: dict[str, Mapping[str, Any]] = {}
        for board in boards:
            if len(board["datasets"]) != 1 or all(metric != one["name"] for one in board["metrics"]):
                continue
            known = best.get(board["datasets"][0])
            if known is None or _weight(board, metric) > _weight(known, metric):
                best[board["datasets"][0]] = board
        counted[metric] = [str(board["title"]) for board in best.values()]
    for entry in entries:
        scores: dict[str, dict[str, Any]] = {}
        marks: dict[str, list[dict[str, str]]] = {}
        means: dict[str, list[float]] = {metric: [] for metric in metrics}
        for board in boards:
            for row in board["rows"]:
                if row["entry"] != entry:
                    continue
                of = {m: {**row["scores"][m], "ranked": _counts(row, m)} for m in metrics if m in row["scores"]}
                scores[board["title"]] = of
                marks[board["title"]] = row["marks"]
                for metric, one in of.items():
                    if one["ranked"] and board["title"] in counted[metric] and one["value"] is not None:
                        means[metric].append(one["value"])
        if scores:
            mean = {
                metric: {"value": float(np.mean(values)), "tasks": len(values)}
                for metric, values in means.items()
                if values
            }
            rows.append({"entry": entry, "scores": scores, "marks": marks, "mean": mean})
    return {"tasks": [board["title"] for board in boards], "metrics": metrics, "averaged": counted, "rows": rows}


def _counts(row: Mapping[str, Any], metric: str) -> bool:
    """Whether a score of a row stands for its model."""
    graded = metric != "description_score" or all(mark["kind"] != "judge" for mark in row["marks"])
    return bool(row["ranked"]) and graded and all(mark["kind"] != "clips" for mark in row["marks"])


def _weight(board: Mapping[str, Any], metric: str) -> int:
    return sum(row["ranked"] and metric in row["scores"] for row in board["rows"])
