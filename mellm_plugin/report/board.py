"""One board: the runs that can be compared, their scores computed again from the clips, marks and ranks.

    draft = Draft(runs, entries, faults, notes)
    draft.board()  ->  {"task": "synthme_meu", "rows": [{"entry": "e0", "ranked": True, "scores": {..}, ..}], ..}

`leaderboard` has the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from mellm_plugin.language.unanswered import reasons_in_words
from mellm_plugin.report import details
from mellm_plugin.report.comparisons import comparable, compared, least_compared
from mellm_plugin.report.entries import Entries, data_sums, latest, prompts
from mellm_plugin.report.items import LOWER, MAIN, Items, constants, of_metric, scale, scored, shown
from mellm_plugin.report.runs import Clip, Fault, Run
from mellm_plugin.report.samples import whole_number
from mellm_plugin.scoring import emotion, sensitivity, summary
from mellm_plugin.scoring.intervals import Interval, holm

_ALPHA = 0.05
_SAME = 1e-6
_DRAWN = ("synthme", "synthme_ladder")
"""Datasets whose pictures show nobody."""


@dataclass
class Row:
    """One entry on a board: the run that represents it, and the remarks on it."""

    entry: str
    run: Run
    runs: int
    marks: list[dict[str, str]]
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    ranked: bool = True
    sensitivity: dict[str, Any] | None = None

    def mark(self, kind: str, text: str, ranked: bool = False) -> None:
        self.marks.append({"kind": kind, "text": text})
        self.ranked = self.ranked and ranked

    def has(self, kind: str) -> bool:
        """Whether it has a mark of a kind."""
        return any(mark["kind"] == kind for mark in self.marks)


_ROW: dict[str, Any] = {
    "entry": None,
    "kind": "model",
    "name": None,
    "clips": None,
    "runs": 0,
    "date": None,
    "versions": {},
    "ranked": False,
    "marks": [],
    "scores": {},
    "confusion": None,
    "units": None,
    "by_strength": None,
    "sensitivity": None,
    "rates": dict.fromkeys(("answer_rate", "parse_rate", "au_parse_rate", "judge_rate")),
    "cost": dict.fromkeys(("input_tokens", "output_tokens", "seconds")),
}
"""The keys of a row; those of a constant answer keep these values."""


class Draft:
    """A board in the making: `board` scores it, after `title` is set.

    Args:
        runs: all that can be compared with each other.
        entries: number the entries over all boards.
        faults, notes: get what is found on the way.
    """

    def __init__(self, runs: Sequence[Run], entries: Entries, faults: list[Fault], notes: list[str]) -> None:
        self._faults, self._notes = faults, notes
        self.title = ""
        by_entry: dict[str, list[Run]] = {}
        for run in sorted(runs, key=lambda run: (latest([run]), str(run.files))):
            by_entry.setdefault(entries.key(run), []).append(run)
        whole = [run for run in runs if run.results is not None and run.clips] or list(runs)
        self.run = max(whole, key=lambda run: (len(run.clips), latest([run])))
        self.rows = [self._shown(entry, of) for entry, of in by_entry.items()]
        self.clips = self._all_clips()
        self.metrics = self._metrics()
        self.comparisons: list[dict[str, Any]] = []
        packages = sorted({str(row.run.versions.get("mellm_plugin")) for row in self.rows if row.run.results})
        if len(packages) > 1:
            notes.append(f"{self.run.task}: several versions of mellm-plugin read the answers: {', '.join(packages)}")

    def _shown(self, entry: str, runs: Sequence[Run]) -> Row:
        """The row of one entry; its runs come from the oldest to the newest."""
        whole = [run for run in runs if _is_whole(run)]
        whole = [run for run in whole if run.answered is run] or whole
        # a rerun without a judge must not hide grades
        whole = [run for run in whole if run.judge is not None] or whole
        run = (whole or [max(runs, key=lambda run: (len(run.clips) or run.effective or 0, latest([run])))])[-1]
        different: list[Run] = []
        for other in runs:
            if other is run:
                continue
            where = ", ".join(map(str, other.files))
            if not _is_whole(other) or not other.clips:
                self._notes.append(f"{run.task}: {where}: left out: the model has a newer or larger run")
            elif other.answered is not other:
                self._notes.append(f"{run.task}: {where}: left out: some answers were never given")
            elif _answers(other) == _answers(run):
                self._notes.append(f"{run.task}: {where}: left out: a duplicate of {run.results or run.samples}")
            else:
                different.append(other)
        if run is not runs[-1] and run.judge is not None:
            self._notes.append(f"{run.task}: {run.results}: shown although it is not the newest: a judge graded it")
        row = Row(entry, run, 1 + len(different), [])
        self._mark(row, runs)
        if different:
            row.mark("runs", self._spread(run, different), ranked=True)
        return row

    def _mark(self, row: Row, runs: Sequence[Run]) -> None:
        """Mark why a row is not ranked; any run of the entry may report the people that the model was trained on."""
        run = row.run
        if run.limited:
            of = "" if run.original is None else f" of {run.original}"
            row.mark("limit", f"{run.effective if run.effective is not None else len(run.clips)}{of} clips")
        if run.loso is not None and (failed := run.loso.get("failed") or run.loso.get("complete") is not True):
            which = f": {', '.join(map(str, failed))}" if isinstance(failed, dict) else ""
            row.mark("incomplete", f"folds failed{which}")
        if run.results is None:
            row.mark("cut_off", "no results file: the model and its settings are unknown")
        elif run.samples is None:
            row.mark("cut_off", "no samples file (--log_samples): the scores of the results file, not checked")
        elif run.damaged or len(run.clips) != (run.effective or len(self.run.clips)):
            expected = run.effective or len(self.run.clips)
            row.mark("cut_off", f"{len(run.clips)} of {expected} clips are in the samples file")
        rate = run.values.get("answer_rate")
        if run.answered is not run:
            lacking = [clip.unanswered for clip in run.clips if clip.unanswered is not None]
            row.mark(
                "unanswered",
                f"{len(lacking)} of {len(run.clips)} answers were never given ({reasons_in_words(lacking)}); "
                "scores are over the others",
            )
        elif rate is not None and rate < 1 and not run.clips:
            row.mark("unanswered", f"answer_rate is {rate:.3f}: some answers were never given")
        overlaps = [overlap for one in runs if (overlap := _overlap(one))]
        for side, mark, what in (("seen", "leak", "trained on"), ("validation", "validation", "selected on")):
            hits = []
            for overlap in overlaps:
                if (hit := overlap.get(side)) is None:
                    continue
                count = whole_number(hit.get("clips")) if isinstance(hit, dict) else None
                if count is None:
                    where = f"model_backend: training.tasks.{run.task}.{side}"
                    fault = Fault(str(run.results), f"{where}: expected a number of clips, found {hit!r:.60}")
                    self._faults.append(fault)
                    row.mark(mark, f"the number of clips whose people it was {what} cannot be read")
                elif count:
                    hits.append((count, whole_number(overlap.get("clips"))))
            if hits:
                most = max(hits, key=lambda hit: hit[0])
                of = "" if most[1] is None else f" of {most[1]}"
                row.mark(mark, f"{most[0]}{of} clips show people it was {what}")

    def _spread(self, run: Run, others: Sequence[Run]) -> str:
        ranges: list[str] = []
        for metric in [metric for metric in MAIN if metric in run.metrics][:3]:
            values = [one.values.get(metric) for one in (run, *others)]
            known = [value for value in values if value is not None]
            if len(known) > 1:
                ranges.append(f"{metric} {emotion.share(min(known), 3)} to {emotion.share(max(known), 3)}")
        which = "newest" if run.judge is None else "newest that a judge graded"
        return f"{len(others) + 1} runs with different answers, the {which} shown" + (
            f"; {', '.join(ranges)}" if ranges else ""
        )

    def _all_clips(self) -> list[Clip]:
        """The clips of all runs, in the order of the task."""
        found: dict[tuple[int, str], Clip] = {}
        for row in self.rows:
            for clip in row.run.clips:
                known = found.get((clip.place, clip.id))
                if known is None or (known.motion_px is None and clip.motion_px is not None):
                    found[clip.place, clip.id] = clip
        return [found[key] for key in sorted(found)]

    def _metrics(self) -> list[str]:
        """The metrics of the board, the main ones first."""
        every = dict.fromkeys(m for row in self.rows for m in row.run.metrics if shown(m))
        return [*(m for m in MAIN if m in every), *(m for m in every if m not in MAIN)]

    # ---- scores

    def board(self, progress: Callable[[str], object] | None = None) -> dict[str, Any]:
        """The board as plain data; `progress` is that of `make`."""
        higher: dict[str, bool] = {}
        for row in self.rows:
            higher = {**row.run.higher_is_better, **higher}
        # a results file does not decide which way our own metrics are better
        own = {*MAIN, *LOWER}
        higher = {m: m not in LOWER if m in own else higher.get(m, True) for m in self.metrics}
        found = {row.entry: scored(self.metrics, row.run) for row in self.rows}
        for row in self.rows:
            self._score(row, found[row.entry])
            self._ladder(row)
            if progress is not None:
                progress(self.title)
        self._judges()
        for metric in self.metrics:
            if metric in MAIN:
                self._rank(metric, higher[metric], {entry: of[metric] for entry, of in found.items()})
        run, datasets = self.run, sorted({clip.dataset for clip in self.clips})
        edges = details.strength_edges([clip.motion_px for clip in self.clips if clip.rung is None])
        answers = {row.entry: self._answers(row.run) for row in self.rows if row.run.clips}
        main = next((metric for metric in self.metrics if metric in MAIN), None)
        rows = sorted(self.rows, key=lambda row: _order(row, main, higher))
        sizes = [row.run.original for row in self.rows if row.run.original is not None]
        return {
            "task": run.question,
            "title": self.title,
            "version": None if (version := run.metadata.get("version")) is None else str(version),
            "prompts": prompts(run),
            "data": data_sums(run.metadata.get("data")) or None,
            "asks": run.asks,
            "datasets": datasets,
            "clips": max([*sizes, len(self.clips)]),
            "subjects": len({(clip.dataset, clip.record["subject"]) for clip in self.clips}) or None,
            "licensed": any(dataset not in _DRAWN for dataset in datasets) or not datasets,
            "labels": list(run.labels) if run.labels else None,
            "units": list(run.units) if run.units else None,
            "metrics": [
                {
                    "name": metric,
                    "higher_is_better": higher[metric],
                    "kind": scale(metric),
                    "main": metric in MAIN,
                }
                for metric in self.metrics
            ],
            "rows": [*(self._row(row, edges) for row in rows), *self._constants()],
            "comparisons": self.comparisons,
            "published": _published().get(run.question, []),
            "clip_list": [details.clip_row(clip) for clip in self.clips],
            "answers": answers,
        }

    def _score(self, row: Row, scored: Mapping[str, tuple[str, Items] | None]) -> None:
        """Compute the scores of a row from its clips; without clips, take those of the results file."""
        run = row.run
        differ: list[str] = []
        for metric in self.metrics:
            if metric not in run.metrics:
                continue
            known = run.values.get(metric)
            if (found := scored[metric]) is None:
                low, high = run.ends.get(metric) or (None, None)
                if run.clips and not run.answered.clips:  # an earlier version counted missing answers as wrong
                    known = low = high = None
                row.scores[metric] = {"value": known, "low": low, "high": high, "rank": None, "rank_low": None}
                continue
            one = summary.interval(*found)
            # nothing tells the faces of test clips apart, so they have no intervals
            unknown = metric.startswith("vqa_") and any(clip.record["gold"] is None for clip in run.clips)
            row.scores[metric] = _score(one, interval=not unknown)
            whole = run.results is not None and not run.damaged and run.effective in (None, len(run.clips))
            # versions without an answer_rate counted missing answers as wrong
            checked = metric in run.values and (run.answered is run or "answer_rate" in run.values)
            if whole and checked and not _same(one.value, known):
                differ.append(f"{metric} {one.value} and not {known}")
        if differ:
            some = "; ".join(differ[:3]) + (f"; {len(differ) - 3} more" if len(differ) > 3 else "")
            self._faults.append(
                Fault(str(run.results), f"{run.task}: scoring the samples file again gives other values: {some}")
            )
            row.mark("differs", f"the results file has other values: {some}")

    def _ladder(self, row: Row) -> None:
        """Add to a threshold whether it lies beyond the ladder, why there is none, and whether it is one of units."""
        if not (rungs := of_metric("threshold_px", row.run.answered)):
            return
        row.sensitivity = found = sensitivity.curve(rungs)
        if (score := row.scores.get("threshold_px")) is not None:
            note = str(found["note"] or "")
            score["bound"] = next((bound for bound in ("at most", "at least") if note.startswith(bound)), None)
            score["why"] = note or None if score["value"] is None else None
        named = [share for share in found["others"] if share is not None]
        if score is not None and score["value"] is not None and named and max(named) > found["ceiling"] / 2:
            text = (
                f"where one unit moves it names {max(named):.2f} of the others: a threshold of movement, not of units"
            )
            row.mark("others", text)

    def _judges(self) -> None:
        """Mark the rows that another judge graded than most rows, or several judges."""
        graded = []
        for row in self.rows:
            judges_of = {(v["judge"], v["rubric"]) for clip in row.run.clips if (v := clip.judge) is not None}
            if len(judges_of) > 1:
                names = ", ".join(f"{name}, rubric {rubric}" for name, rubric in sorted(judges_of))
                row.mark("judge", f"graded by several judges: {names}", ranked=True)
            elif judges_of:
                graded.append(row)
        if len(judges := Counter(row.run.judge for row in graded)) < 2:
            return
        most = max(judges, key=lambda judge: (judges[judge], str(judge)))
        assert most is not None
        for row in graded:
            if (judge := row.run.judge) is not None and judge != most:
                text = f"graded by {judge[0]}, rubric {judge[1]}: not ranked with those of {most[0]}, rubric {most[1]}"
                row.mark("judge", text, ranked=True)

    def _rank(self, metric: str, higher: bool, scored: Mapping[str, tuple[str, Items] | None]) -> None:
        """Compare all pairs of ranked rows, and rank them."""
        rows: list[tuple[Row, Items]] = []
        score = ""
        for row in self.rows:
            found = scored[row.entry]
            if not row.ranked or found is None or row.scores.get(metric, {}).get("value") is None:
                continue
            if metric == "description_score" and row.has("judge"):
                continue
            score = found[0]
            rows.append((row, comparable(score, found[1])))
        where = f"{self.run.task}: {metric}"
        pairs = compared(score, [of for _, of in rows], where, self._notes)
        while (alone := least_compared(len(rows), pairs)) is not None:
            row, _ = rows.pop(alone)
            if not row.has("clips"):
                row.mark("clips", "not compared: its clips or people differ from those of the others", ranked=True)
            pairs = compared(score, [of for _, of in rows], where, [])
        corrected = holm([one.p for one in pairs.values()])
        better: Counter[int] = Counter()
        worse: Counter[int] = Counter()
        for ((first, second), one), p in zip(pairs.items(), corrected, strict=True):
            self.comparisons.append(
                {
                    "metric": metric,
                    "first": rows[first][0].entry,
                    "second": rows[second][0].entry,
                    "difference": one.difference,
                    "low": one.low,
                    "high": one.high,
                    "p": one.p,
                    "p_holm": p,
                }
            )
            if p is not None and p < _ALPHA and one.difference:
                ahead, behind = (second, first) if (one.difference > 0) == higher else (first, second)
                worse[ahead] += 1
                better[behind] += 1
        for place, (row, _) in enumerate(rows):
            row.scores[metric] |= {"rank": 1 + better[place], "rank_low": len(rows) - worse[place]}

    # ---- rows

    def _row(self, row: Row, edges: Sequence[float]) -> dict[str, Any]:
        run, answered = row.run, row.run.answered
        scores = {metric: row.scores[metric] for metric in self.metrics if metric in row.scores}
        return _ROW | {
            "entry": row.entry,
            "clips": len(run.clips) or run.effective,
            "runs": row.runs,
            "date": None if run.date is None else run.date.strftime("%Y-%m-%d"),
            "versions": dict(run.versions),
            "ranked": row.ranked,
            "marks": row.marks,
            "scores": scores,
            "confusion": details.confusions(answered),
            "units": details.by_unit(answered),
            "by_strength": details.by_strength(answered, self.clips, edges),
            "sensitivity": row.sensitivity,
            "rates": {
                "answer_rate": _value(scores, "answer_rate"),
                "parse_rate": _value(scores, "parse_rate", "vqa_parse_rate"),
                "au_parse_rate": _value(scores, "au_parse_rate"),
                "judge_rate": _value(scores, "judge_rate"),
            },
            "cost": {
                "input_tokens": None if run.tokens is None else run.tokens[0],
                "output_tokens": None if run.tokens is None else run.tokens[1],
                "seconds": run.seconds,
            },
        }

    def _constants(self) -> list[dict[str, Any]]:
        """Rows of constant answers, scored on all clips of the board."""
        found: list[dict[str, Any]] = []
        for name, by_metric in constants(self.run).items():
            scores = {
                metric: _score(summary.interval(*by_metric[metric])) for metric in self.metrics if metric in by_metric
            }
            if scores:
                about = {"kind": "constant", "name": name, "clips": len(self.run.clips), "scores": scores}
                found.append(_ROW | about)
        return found

    def _answers(self, run: Run) -> list[dict[str, Any] | None]:
        known = {(clip.place, clip.id): clip for clip in run.clips}
        exact = details.exact_answers(run.answered)
        found: list[dict[str, Any] | None] = []
        for clip in self.clips:
            own = known.get((clip.place, clip.id))
            found.append(None if own is None else details.answer_row(own, exact.get(own.place), run.asks == "aus"))
        return found


def _overlap(run: Run) -> Mapping[str, Any]:
    """What a model reports about its training and the people of the task; may be empty."""
    found: Any = run.backend.get("training")
    for key in ("tasks", run.task):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _is_whole(run: Run) -> bool:
    return run.results is not None and not run.limited and not run.damaged and len(run.clips) == run.effective


def _answers(run: Run) -> tuple[tuple[int, str, str], ...]:
    return tuple((clip.place, clip.id, clip.text) for clip in run.clips)


def _same(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return abs(first - second) <= _SAME * max(1.0, abs(first), abs(second))


def _order(row: Row, main: str | None, higher: Mapping[str, bool]) -> tuple[Any, ...]:
    """Sort key: ranked rows first, the best by the first metric on top."""
    value = row.scores.get(main, {}).get("value") if main is not None else None
    if value is None:
        return not row.ranked, True, 0.0
    return not row.ranked, False, -value if higher[str(main)] else value


def _score(one: Interval, interval: bool = True) -> dict[str, Any]:
    low, high = (one.low, one.high) if interval else (None, None)
    return {"value": one.value, "low": low, "high": high, "rank": None, "rank_low": None}


def _value(scores: Mapping[str, Mapping[str, Any]], *names: str) -> Any:
    return next((scores[name]["value"] for name in names if name in scores), None)


@lru_cache(maxsize=1)
def _published() -> dict[str, list[dict[str, Any]]]:
    """The published numbers, by task."""
    found: dict[str, list[dict[str, Any]]] = {}
    file = Path(__file__).with_name("published.yaml")
    for one in yaml.safe_load(file.read_text(encoding="utf-8")):
        for task in one["tasks"]:
            found.setdefault(task, []).append({key: one[key] for key in ("name", "source", "protocol", "scores")})
    return found
