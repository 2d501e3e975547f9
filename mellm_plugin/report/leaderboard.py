"""Runs -> the report: a board for each task, with intervals, ranks and marks, and one over all of them.

    report = make(results.read([Path("results")]))
    report.to_dict()
      -> {"version": 1, "entries": [{"key": "e0", "name": "mellm bundled", ..}], "boards": [{"task": "synthme_meu",
          "rows": [{"entry": "e0", "ranked": True, "scores": {"au_f1": {"value": .97, "low": .95, "high": .99,
          "rank": 1, "rank_low": 2}, ..}, ..}], ..}], "overall": {..}, ..}

docs/report.md has the rules: which runs share a board, what an entry is, which run is shown, and how ranks are made.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any, cast

import numpy as np

from mellm_plugin import __version__
from mellm_plugin.report.board import Draft
from mellm_plugin.report.entries import Entries, data_sums, latest, plain, prompts
from mellm_plugin.report.items import MAIN
from mellm_plugin.report.runs import Reading, Run

VERSION = 1
"""Version of the report's data format."""


@dataclass
class Report:
    """All boards as plain data; `overall` has the scores on all boards, and their means over datasets."""

    made: str
    reading: dict[str, Any]
    entries: list[dict[str, Any]]
    boards: list[dict[str, Any]]
    overall: dict[str, Any]

    @property
    def faults(self) -> list[dict[str, str]]:
        """What could not be used: `file` and `fault`."""
        return cast("list[dict[str, str]]", self.reading["faults"])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; unknown values are None."""
        about = {"version": VERSION, "made": self.made, "mellm_plugin": __version__}
        parts = {"reading": self.reading, "entries": self.entries, "boards": self.boards, "overall": self.overall}
        return {**about, **strict(parts)}


def strict(value: Any) -> Any:
    """The value as strict JSON in UTF-8 can hold it: NaN becomes None, lone surrogates become question marks."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(text, parse_constant=lambda constant: None)


def make(reading: Reading, made: datetime | None = None, progress: Callable[[str], object] | None = None) -> Report:
    """The report of what was read.

    Args:
        made: by default now.
        progress: gets the title of the board after each model that is scored.
    """
    faults, notes = list(reading.faults), list(reading.notes)
    entries = Entries(reading.runs)
    drafts = [Draft(runs, entries, faults, notes) for runs in _boards(reading.runs)]
    _name(drafts)
    names, boards = entries.finish(), [draft.board(progress) for draft in drafts]
    read = {"files": reading.files, "runs": len(reading.runs), "other_tasks": dict(sorted(reading.other_tasks.items()))}
    read |= {"faults": [{"file": fault.file, "fault": fault.text} for fault in faults], "notes": notes}
    stamp = (made or datetime.now(timezone.utc)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Report(stamp, read, names, boards, _overall(boards, [entry["key"] for entry in names]))


def _version(run: Run) -> str | None:
    """Version of the task; 1 and 1.0 are the same."""
    version = run.metadata.get("version")
    if isinstance(version, int | float) and not isinstance(version, bool):
        return f"{version:.10g}"
    return None if version is None else str(version)


def _clips(board: Sequence[Run]) -> set[tuple[int, str]]:
    return {(clip.place, clip.id) for run in board for clip in run.clips}


def _asked(run: Run) -> str:
    return plain([run.asks, run.labels, run.units])


def _boards(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of each board, sorted by task, the largest board of a task first."""
    known: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    without_samples: dict[str, list[Run]] = defaultdict(list)
    without_results: list[Run] = []
    for run in runs:
        version = plain([run.question, _version(run), str(prompts(run)), run.metadata.get("data")])
        if run.results is None:
            without_results.append(run)
        elif not run.clips:
            without_samples[version].append(run)
        else:
            known[version][_asked(run)].append(run)
    boards = [board for of in known.values() for board in of.values()]
    for version, lacking in without_samples.items():
        if version in known:
            max(known[version].values(), key=len).extend(lacking)
        else:
            boards.append(lacking)
    for run in without_results:  # its clips tell the board, if they fit only one
        clips = _clips([run])
        asked = run.question, _asked(run)
        fit = [board for board in boards if (board[0].question, _asked(board[0])) == asked and clips <= _clips(board)]
        if len(fit) == 1:
            fit[0].append(run)
        else:
            boards.append([run])
    return sorted(boards, key=lambda board: (board[0].question, -len(board), latest(board)))


def _name(drafts: Sequence[Draft]) -> None:
    """Set the titles: the task, and what distinguishes its boards if it has several."""
    by_task: dict[str, list[Draft]] = {}
    for draft in drafts:
        by_task.setdefault(draft.run.question, []).append(draft)
    for task, of in by_task.items():
        marks = [_distinguishing(draft.run) for draft in of]
        differ = [name for name in marks[0] if len({one[name] for one in marks}) > 1]
        seen: Counter[str] = Counter()
        for draft, one in zip(of, marks, strict=True):
            draft.title = f"{task} ({', '.join(f'{name} {one[name]}' for name in differ)})" if differ else task
            seen[draft.title] += 1
            if seen[draft.title] > 1:
                draft.title += f" [{seen[draft.title]}]"


def _distinguishing(run: Run) -> dict[str, str]:
    """What boards of one task may differ by, in words."""
    wording = {"version": run.metadata.get("version"), "prompts": prompts(run)}
    known = {name: "not known" if value is None else str(value) for name, value in wording.items()}
    known |= {"data": data_sums(run.metadata.get("data")) or "not known", "asks": str(run.asks)}
    units = map(str, run.units or ())
    return known | {"labels": "+".join(run.labels or ()) or "none", "units": "+".join(units) or "none"}


def _overall(boards: Sequence[Mapping[str, Any]], entries: Sequence[str]) -> dict[str, Any]:
    """The main scores of every entry on every board, and their means over datasets.

    A mean takes one board of each dataset, the one with the most ranked rows. It takes no board of several datasets,
    whose clips would count twice, and no run that is not ranked. `tasks` is the number of boards in a mean; means over
    different numbers of boards are not comparable.
    """
    metrics = [m for m in MAIN if any(m == one["name"] for board in boards for one in board["metrics"])]
    averaged: dict[str, list[str]] = {}
    for metric in metrics:
        of_dataset: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for board in boards:
            if len(board["datasets"]) == 1 and any(metric == one["name"] for one in board["metrics"]):
                of_dataset[board["datasets"][0]].append(board)
        averaged[metric] = [max(some, key=partial(_weight, metric))["title"] for some in of_dataset.values()]
    rows = []
    for entry in entries:
        scores: dict[str, dict[str, Any]] = {}
        marks: dict[str, list[dict[str, str]]] = {}
        means: dict[str, list[float]] = {metric: [] for metric in metrics}
        own = ((board["title"], row) for board in boards for row in board["rows"] if row["entry"] == entry)
        for title, row in own:
            of = {m: {**row["scores"][m], "ranked": _counts_in_mean(row, m)} for m in metrics if m in row["scores"]}
            scores[title], marks[title] = of, row["marks"]
            for metric, one in of.items():
                if one["ranked"] and title in averaged[metric] and one["value"] is not None:
                    means[metric].append(one["value"])
        if scores:
            mean = {m: {"value": float(np.mean(values)), "tasks": len(values)} for m, values in means.items() if values}
            rows.append({"entry": entry, "scores": scores, "marks": marks, "mean": mean})
    return {"tasks": [board["title"] for board in boards], "metrics": metrics, "averaged": averaged, "rows": rows}


def _counts_in_mean(row: Mapping[str, Any], metric: str) -> bool:
    """Whether a score counts in the mean of its model."""
    unlike = ("clips", "judge") if metric == "description_score" else ("clips",)
    return bool(row["ranked"]) and all(mark["kind"] not in unlike for mark in row["marks"])


def _weight(metric: str, board: Mapping[str, Any]) -> int:
    return sum(row["ranked"] and metric in row["scores"] for row in board["rows"])
