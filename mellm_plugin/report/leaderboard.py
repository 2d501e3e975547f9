"""Runs -> the report: a board for each task, with intervals, ranks and marks, and one over all of them.

    report = make(results.read([Path("results")]))
    report.to_dict()
      -> {"version": 1, "entries": [{"key": "e0", "name": "mellm bundled", ..}], "boards": [{"task": "synthme_meu",
          "rows": [{"entry": "e0", "ranked": True, "scores": {"au_f1": {"value": .97, "low": .95, "high": .99,
          "rank": 1, "rank_low": 2}, ..}, ..}], ..}], "overall": {..}, ..}

The rules:

-   Runs stand on one board only if they are of the same task (shown as frames or as maps), version of the task, prompts
    and data, and ask for the same labels and units; else each has a board of its own.
-   An entry is a model with its weights, motion settings, generation and system prompt, and with the judge of its
    descriptions. What only changes speed (batch size, device) makes no other entry, nor does where the weights lie.
-   Of several runs of an entry on one board the newest that has answers on all clips is shown; one that differs from
    it in no answer is a duplicate and left out, others are counted and their spread is told.
-   Every score is computed anew from the clips. One that differs from that of the results file is a fault.
-   Scores are over the answers that were given (`language.unanswered`).
-   Not ranked are runs on a part of the clips, incomplete or damaged ones, those of which some answers were never
    given, and models that know people of the clips; of `description_score` also those graded by another judge than
    most.
-   The rank of a model is 1 + the number of models that are better, where better means: the paired comparison over
    subjects on the clips that both have, corrected (Holm) for all pairs of the board and metric, is below .05. So
    models that cannot be told apart share a rank. `rank_low` is the lowest place it may have: the number of models,
    less those that are worse. Compared are the metrics of `items.MAIN`; others have an interval and no rank.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from mellm_plugin import __version__
from mellm_plugin.report.board import Draft
from mellm_plugin.report.entries import Entries, data_sums, latest, plain, prompts
from mellm_plugin.report.overall import overall
from mellm_plugin.report.runs import Reading, Run

VERSION = 1
"""Of the report's data."""


@dataclass
class Report:
    """All boards, as plain data.

    Attributes:
        made: UTC.
        reading: what was read, and what could not be.
        entries, boards: as in `to_dict`.
        overall: the scores of all boards, and their means over datasets.
    """

    made: str
    reading: dict[str, Any]
    entries: list[dict[str, Any]]
    boards: list[dict[str, Any]]
    overall: dict[str, Any]

    @property
    def faults(self) -> list[dict[str, str]]:
        """What could not be used."""
        found: list[dict[str, str]] = self.reading["faults"]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what is not known is None."""
        return {
            "version": VERSION,
            "made": self.made,
            "mellm_plugin": __version__,
            "reading": strict(self.reading),
            "entries": strict(self.entries),
            "boards": strict(self.boards),
            "overall": strict(self.overall),
        }


def strict(value: Any) -> Any:
    """Plain values as strict JSON in UTF-8 has them: what files say may hold NaN, and halves of letters."""
    with suppress(ValueError):  # NaN; of which UnicodeEncodeError is one, too
        return json.loads(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    return _mended(value)


def _mended(value: Any) -> Any:
    if isinstance(value, dict):
        return {_whole_letters(key): _mended(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(one) for one in value]
    if isinstance(value, str):
        return _whole_letters(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _whole_letters(text: Any) -> str:
    return str(text).encode("utf-8", "replace").decode("utf-8")


def make(reading: Reading, made: datetime | None = None, progress: Callable[[str], object] | None = None) -> Report:
    """The report of what was read.

    Args:
        reading: of `results.read`.
        made: by default now.
        progress: gets the title of a board each time that a model is scored on it.
    """
    faults, notes = list(reading.faults), list(reading.notes)
    entries = Entries(reading.runs)
    drafts = [Draft(runs, entries, faults, notes) for runs in _boards(reading.runs)]
    names = entries.finish()
    _name(drafts)
    boards = [draft.board(progress) for draft in drafts]
    now = made or datetime.now(timezone.utc)
    return Report(
        made=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        reading={
            "files": reading.files,
            "runs": len(reading.runs),
            "other_tasks": dict(sorted(reading.other_tasks.items())),
            "faults": [{"file": fault.file, "fault": fault.text} for fault in faults],
            "notes": notes,
        },
        entries=names,
        boards=boards,
        overall=overall(boards, [entry["key"] for entry in names]),
    )


# ---- which runs belong together -------------------------------------------------------------------------------------


def _version(run: Run) -> str | None:
    """Of the task; 1 and 1.0 are one."""
    version = run.metadata.get("version")
    if isinstance(version, int | float) and not isinstance(version, bool):
        return f"{version:.10g}"
    return None if version is None else str(version)


def _asked(run: Run) -> str:
    return plain([run.asks, run.labels, run.units])


def _boards(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs by board, tasks in the order of their names and the largest board of each first."""
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
        if of := known.get(version):
            max(of.values(), key=len).extend(lacking)
        else:
            boards.append(lacking)
    for run in without_results:  # its clips say which board it belongs to, if it is one alone
        clips = {(clip.place, clip.id) for clip in run.clips}
        fit = [
            board
            for board in boards
            if board[0].question == run.question
            and _asked(board[0]) == _asked(run)
            and clips <= {(clip.place, clip.id) for one in board for clip in one.clips}
        ]
        if len(fit) == 1:
            fit[0].append(run)
        else:
            boards.append([run])
    return sorted(boards, key=lambda board: (board[0].question, -len(board), latest(board)))


def _name(drafts: Sequence[Draft]) -> None:
    """Titles: the task alone, or with what tells its boards apart."""
    by_task: dict[str, list[Draft]] = {}
    for draft in drafts:
        by_task.setdefault(draft.run.question, []).append(draft)
    for task, of in by_task.items():
        told = [_told_apart(draft.run) for draft in of]
        differ = [name for name in told[0] if len({one[name] for one in told}) > 1]
        seen: Counter[str] = Counter()
        for draft, one in zip(of, told, strict=True):
            draft.title = f"{task} ({', '.join(f'{name} {one[name]}' for name in differ)})" if differ else task
            seen[draft.title] += 1
            if seen[draft.title] > 1:
                draft.title += f" [{seen[draft.title]}]"


def _told_apart(run: Run) -> dict[str, str]:
    """What two boards of a task may differ by, in words."""
    version, wording = run.metadata.get("version"), prompts(run)
    return {
        "version": "not known" if version is None else str(version),
        "prompts": "not known" if wording is None else str(wording),
        "data": data_sums(run.metadata.get("data")) or "not known",
        "asks": str(run.asks),
        "labels": "+".join(run.labels or ()) or "none",
        "units": "+".join(map(str, run.units or ())) or "none",
    }
