"""One board: the runs that can be compared, their scores computed again from the clips, marks and ranks.

    draft = Draft(runs, entries, faults, notes)
    draft.board()  ->  {"task": "synthme_meu", "rows": [{"entry": "e0", "ranked": True, "scores": {..}, ..}], ..}

docs/report.md has the rules.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from mellm_plugin.language.unanswered import reasons_in_words
from mellm_plugin.report import details
from mellm_plugin.report.comparisons import compared, least_compared
from mellm_plugin.report.entries import Entries, data_sums, latest, prompts
from mellm_plugin.report.items import LOWER, MAIN, Items, constants, of_metric, scale, scored, shown
from mellm_plugin.report.runs import Clip, Fault, Run
from mellm_plugin.report.samples import whole_number
from mellm_plugin.scoring import emotion, sensitivity, summary
from mellm_plugin.scoring.intervals import holm

_ALPHA = 0.05
_SAME = 1e-6
_DRAWN = ("synthme", "synthme_ladder")
"""Datasets whose pictures show nobody."""

_RATES = ("answer_rate", "parse_rate", "au_parse_rate", "judge_rate")
_ROW: dict[str, Any] = {"entry": None, "kind": "model", "name": None, "clips": None, "runs": 0, "date": None}
_ROW |= {"versions": {}, "ranked": False, "marks": [], "scores": {}}
_ROW |= dict.fromkeys(("confusion", "reliability", "units", "by_strength", "sensitivity"))
_ROW |= {"rates": dict.fromkeys(_RATES), "cost": dict.fromkeys(("input_tokens", "output_tokens", "seconds"))}
"""The keys of a row; those of a constant answer keep these values."""

Scored = Mapping[str, tuple[str, Items] | None]
"""What `items.scored` returns."""


@dataclass
class Row:
    """One entry on a board: the run that represents it, and the remarks on it."""

    entry: str
    run: Run
    runs: int
    marks: list[dict[str, str]] = field(default_factory=list)
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    ranked: bool = True
    sensitivity: dict[str, Any] | None = None

    def mark(self, kind: str, text: str, ranked: bool = False) -> None:
        self.marks.append({"kind": kind, "text": text})
        self.ranked = self.ranked and ranked

    def has(self, kind: str) -> bool:
        return any(mark["kind"] == kind for mark in self.marks)


class Draft:
    """A board in the making, of runs that can be compared: `board` scores it, after `title` is set.

    `entries` numbers the entries over all boards; `faults` and `notes` get what is found on the way.
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
        clips: dict[tuple[int, str], Clip] = {}
        for clip in (clip for row in self.rows for clip in row.run.clips):
            known = clips.setdefault((clip.place, clip.id), clip)
            if known.motion_px is None and clip.motion_px is not None:
                clips[clip.place, clip.id] = clip
        self.clips = [clips[key] for key in sorted(clips)]  # of all runs, in the order of the task
        every = dict.fromkeys(m for row in self.rows for m in row.run.metrics if shown(m))
        self.metrics = [*(m for m in MAIN if m in every), *(m for m in every if m not in MAIN)]
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
        run = whole[-1] if whole else max(runs, key=lambda run: (len(run.clips) or run.effective or 0, latest([run])))
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
        row = Row(entry, run, 1 + len(different))
        self._mark(row, runs)
        if different:
            ranges = [
                f"{metric} {emotion.share(min(known), 3)} to {emotion.share(max(known), 3)}"
                for metric in [metric for metric in MAIN if metric in run.metrics][:3]
                if len(known := [v for one in (run, *different) if (v := one.values.get(metric)) is not None]) > 1
            ]
            which = "newest that a judge graded" if run.judge else "newest"
            text = f"{row.runs} runs with different answers, the {which} shown"
            row.mark("runs", f"{text}; {', '.join(ranges)}" if ranges else text, ranked=True)
        return row

    def _mark(self, row: Row, runs: Sequence[Run]) -> None:
        """Mark why a row is not ranked; any run of the entry may report the people that the model was trained on."""
        run = row.run
        expected = run.effective or len(self.run.clips)
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
        elif run.damaged or len(run.clips) != expected:
            row.mark("cut_off", f"{len(run.clips)} of {expected} clips are in the samples file")
        rate = run.values.get("answer_rate")
        if run.answered is not run:
            lacking = [clip.unanswered for clip in run.clips if clip.unanswered is not None]
            text = f"{len(lacking)} of {len(run.clips)} answers were never given ({reasons_in_words(lacking)})"
            row.mark("unanswered", f"{text}; scores are over the others")
        elif rate is not None and rate < 1 and not run.clips:
            row.mark("unanswered", f"answer_rate is {rate:.3f}: some answers were never given")
        overlaps = []
        for one in runs:
            with suppress(KeyError, TypeError):
                overlaps.append(one.backend["training"]["tasks"][one.task])
        for side, mark, what in (("seen", "leak", "trained on"), ("validation", "validation", "selected on")):
            hits = []
            for overlap in overlaps:
                if not isinstance(overlap, dict) or (hit := overlap.get(side)) is None:
                    continue
                count = whole_number(hit.get("clips")) if isinstance(hit, dict) else None
                if count is None:
                    where = f"model_backend: training.tasks.{run.task}.{side}"
                    found = f"{where}: expected a number of clips, found {hit!r:.60}"
                    self._faults.append(Fault(str(run.results), found))
                    row.mark(mark, f"the number of clips whose people it was {what} cannot be read")
                elif count:
                    hits.append((count, whole_number(overlap.get("clips"))))
            if hits:
                most = max(hits, key=lambda hit: hit[0])
                of = "" if most[1] is None else f" of {most[1]}"
                row.mark(mark, f"{most[0]}{of} clips show people it was {what}")

    def board(self, progress: Callable[[str], object] | None = None) -> dict[str, Any]:
        """The board as plain data; `progress` is that of `make`."""
        run, datasets = self.run, sorted({clip.dataset for clip in self.clips})
        # a results file does not decide which way our own metrics are better
        higher = {m: one for row in reversed(self.rows) for m, one in row.run.higher_is_better.items()}
        higher = {m: m not in LOWER if m in MAIN or m in LOWER else higher.get(m, True) for m in self.metrics}
        found = {row.entry: scored(self.metrics, row.run) for row in self.rows}
        for row in self.rows:
            self._score(row, found[row.entry])
            _ladder(row)
            if progress is not None:
                progress(self.title)
        self._judges()
        main = [metric for metric in self.metrics if metric in MAIN]
        for metric in main:
            self._rank(metric, higher[metric], found)
        edges = details.strength_edges([clip.motion_px for clip in self.clips if clip.rung is None])

        def order(row: Row) -> tuple[bool, bool, float]:
            """Ranked rows first, the best by the first metric on top."""
            value = row.scores.get(main[0], {}).get("value") if main else None
            return not row.ranked, value is None, 0 if value is None else -value if higher[main[0]] else value

        return {
            "task": run.question,
            "title": self.title,
            "version": None if (version := run.metadata.get("version")) is None else str(version),
            "prompts": prompts(run),
            "data": data_sums(run.metadata.get("data")) or None,
            "asks": run.asks,
            "datasets": datasets,
            "clips": max([len(self.clips), *(row.run.original or 0 for row in self.rows)]),
            "subjects": len({(clip.dataset, clip.record["subject"]) for clip in self.clips}) or None,
            "licensed": not datasets or any(dataset not in _DRAWN for dataset in datasets),
            "labels": list(run.labels) if run.labels else None,
            "units": list(run.units) if run.units else None,
            "metrics": [
                {"name": m, "higher_is_better": higher[m], "kind": scale(m), "main": m in MAIN} for m in self.metrics
            ],
            "rows": [*(self._row(row, edges) for row in sorted(self.rows, key=order)), *self._constants()],
            "comparisons": self.comparisons,
            "published": [
                {key: one[key] for key in ("name", "source", "protocol", "scores")}
                for one in _published()
                if run.question in one["tasks"]
            ],
            "clip_list": [details.clip_row(clip) for clip in self.clips],
            "answers": {row.entry: self._answers(row.run) for row in self.rows if row.run.clips},
        }

    def _score(self, row: Row, scored: Scored) -> None:
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
                row.scores[metric] = _unranked(known, low, high)
                continue
            one = summary.interval(*found)
            # nothing tells the faces of test clips apart, so they have no intervals
            unknown = metric.startswith("vqa_") and any(clip.record["gold"] is None for clip in run.clips)
            row.scores[metric] = _unranked(one.value, *((None, None) if unknown else (one.low, one.high)))
            whole = run.results is not None and not run.damaged and run.effective in (None, len(run.clips))
            # versions without an answer_rate counted missing answers as wrong
            checked = metric in run.values and (run.answered is run or "answer_rate" in run.values)
            if whole and checked and not _same(one.value, known):
                differ.append(f"{metric} {one.value} and not {known}")
        if differ:
            some = "; ".join(differ[:3]) + (f"; {len(differ) - 3} more" if len(differ) > 3 else "")
            text = f"{run.task}: scoring the samples file again gives other values: {some}"
            self._faults.append(Fault(str(run.results), text))
            row.mark("differs", f"the results file has other values: {some}")

    def _judges(self) -> None:
        """Mark the rows that another judge graded than most rows, or several judges."""
        graded: list[tuple[Row, tuple[str, str]]] = []
        for row in self.rows:
            judges_of = {(v["judge"], v["rubric"]) for clip in row.run.clips if (v := clip.judge) is not None}
            if len(judges_of) > 1:
                names = ", ".join(f"{name}, rubric {rubric}" for name, rubric in sorted(judges_of))
                row.mark("judge", f"graded by several judges: {names}", ranked=True)
            graded += [(row, judge) for judge in judges_of if len(judges_of) == 1]
        judges = Counter(judge for _, judge in graded)
        most = max(judges, key=lambda judge: (judges[judge], str(judge)), default=("", ""))
        for row, judge in graded:
            if judge != most:
                text = f"graded by {judge[0]}, rubric {judge[1]}: not ranked with those of {most[0]}, rubric {most[1]}"
                row.mark("judge", text, ranked=True)

    def _rank(self, metric: str, higher: bool, scored: Mapping[str, Scored]) -> None:
        """Compare all pairs of ranked rows, and rank them."""
        rows: list[tuple[Row, Items]] = []
        score = ""
        for row in self.rows:
            found = scored[row.entry][metric]
            if not row.ranked or found is None or row.scores.get(metric, {}).get("value") is None:
                continue
            score, items = found
            if metric != "description_score":
                rows.append((row, items))
            elif not row.has("judge"):
                rows.append((row, [item for item in items if item["points"] is not None]))
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
            between: dict[str, Any] = {"metric": metric, "first": rows[first][0].entry, "second": rows[second][0].entry}
            between |= {"difference": one.difference, "low": one.low, "high": one.high, "p": one.p, "p_holm": p}
            self.comparisons.append(between)
            if p is not None and p < _ALPHA and one.difference:
                ahead, behind = (second, first) if (one.difference > 0) == higher else (first, second)
                worse[ahead] += 1
                better[behind] += 1
        for place, (row, _) in enumerate(rows):
            row.scores[metric] |= {"rank": 1 + better[place], "rank_low": len(rows) - worse[place]}

    def _row(self, row: Row, edges: Sequence[float]) -> dict[str, Any]:
        run, answered = row.run, row.run.answered
        scores = {metric: row.scores[metric] for metric in self.metrics if metric in row.scores}
        values = {name: score["value"] for name, score in scores.items()}
        values.setdefault("parse_rate", values.get("vqa_parse_rate"))
        tokens = run.tokens or (None, None)
        found: dict[str, Any] = {"entry": row.entry, "clips": len(run.clips) or run.effective, "runs": row.runs}
        found["date"] = run.day
        found |= {"versions": dict(run.versions), "ranked": row.ranked, "marks": row.marks, "scores": scores}
        found |= {
            "confusion": details.confusions(answered),
            "reliability": details.reliability(answered),
            "units": details.by_unit(answered),
        }
        found |= {"by_strength": details.by_strength(answered, self.clips, edges), "sensitivity": row.sensitivity}
        found["rates"] = {name: values.get(name) for name in _RATES}
        found["cost"] = {"input_tokens": tokens[0], "output_tokens": tokens[1], "seconds": run.seconds}
        return _ROW | found

    def _constants(self) -> list[dict[str, Any]]:
        """Rows of constant answers, scored on all clips of the board."""
        found: list[dict[str, Any]] = []
        for name, by_metric in constants(self.run).items():
            every = {m: summary.interval(*by_metric[m]) for m in self.metrics if m in by_metric}
            scores = {metric: _unranked(one.value, one.low, one.high) for metric, one in every.items()}
            if scores:
                found.append(_ROW | {"kind": "constant", "name": name, "clips": len(self.run.clips), "scores": scores})
        return found

    def _answers(self, run: Run) -> list[dict[str, Any] | None]:
        known = {(clip.place, clip.id): clip for clip in run.clips}
        exact = details.exact_answers(run.answered)
        owns = (known.get((clip.place, clip.id)) for clip in self.clips)
        alone = run.asks == "aus"
        return [None if own is None else details.answer_row(own, exact.get(own.place), alone) for own in owns]


def _ladder(row: Row) -> None:
    """Add to a threshold whether it lies beyond the ladder, why there is none, and whether it is one of units."""
    if not (rungs := of_metric("threshold_px", row.run.answered)):
        return
    row.sensitivity = found = sensitivity.curve(rungs)
    if (score := row.scores.get("threshold_px")) is None:
        return
    note = str(found["note"] or "")
    score["bound"] = next((bound for bound in ("at most", "at least") if note.startswith(bound)), None)
    score["why"] = note or None if score["value"] is None else None
    most = max((share for share in found["others"] if share is not None), default=0)
    if score["value"] is not None and most > found["ceiling"] / 2:
        text = f"where one unit moves it names {most:.2f} of the others: a threshold of movement, not of units"
        row.mark("others", text)


def _is_whole(run: Run) -> bool:
    return run.results is not None and not run.limited and not run.damaged and len(run.clips) == run.effective


def _answers(run: Run) -> tuple[tuple[int, str, str], ...]:
    return tuple((clip.place, clip.id, clip.text) for clip in run.clips)


def _same(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return math.isclose(first, second, rel_tol=_SAME, abs_tol=_SAME)


def _unranked(value: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "rank": None, "rank_low": None}


@lru_cache(maxsize=1)
def _published() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text(encoding="utf-8"))
    return found
