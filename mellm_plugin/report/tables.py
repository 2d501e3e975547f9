"""What the tables of a report hold, in any format: columns, rows, cells and footnotes, as plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mellm_plugin.report.items import MAIN

Board = Mapping[str, Any]

_BESIDE = (
    *("emotion_ece", "sensitivity_ceiling", "false_alarm_rate"),
    *("answer_rate", "parse_rate", "au_parse_rate", "vqa_parse_rate", "judge_rate"),
)
DASH = "–"


def number(value: float | None, kind: str) -> str:
    """A share as `.974`, points as `71.4`, pixels as `0.42`; a dash if unknown."""
    if value is None:
        return DASH
    if kind == "share":
        text = f"{value:.3f}"
        return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
    return f"{value:.1f}" if kind == "number" else f"{value:.2f}"


def _has(row: Mapping[str, Any], metric: Mapping[str, Any]) -> bool:
    score = row["scores"].get(metric["name"])
    return score is not None and score["value"] is not None


def _columns(board: Board) -> list[Mapping[str, Any]]:
    """The metrics of a board's table: those that rank the models, and the rates that are known."""
    known = {m["name"] for m in board["metrics"] if m["name"] in _BESIDE and any(_has(row, m) for row in board["rows"])}
    if "parse_rate" in known:  # the rate of units is for tasks without labels
        known.discard("au_parse_rate")
    if all(row["scores"].get("answer_rate", {"value": None})["value"] in (None, 1) for row in board["rows"]):
        known.discard("answer_rate")
    return [metric for metric in board["metrics"] if metric["name"] in known or metric["name"] in MAIN]


class Cell(NamedTuple):
    """Value, interval and rank of a score, and whether it is ranked first."""

    value: str
    ends: str = ""
    rank: str = ""
    best: bool = False


def cell(score: Mapping[str, Any] | None, kind: str) -> Cell:
    """The cell of a score; `kind` is that of its metric."""
    if score is None or score["value"] is None:
        return Cell("none" if score is not None and score.get("why") else DASH)
    sign = {"at most": "≤ ", "at least": "≥ "}.get(score.get("bound") or "", "")
    ends = "" if score["low"] is None else f" [{number(score['low'], kind)}, {number(score['high'], kind)}]"
    first, last = score["rank"], score["rank_low"]
    rank = "" if first is None else f" ({first})" if last in (None, first) else f" ({first}{DASH}{last})"
    return Cell(sign + number(score["value"], kind), ends, rank, first == 1)


def score_table(
    board: Board, entries: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], list[tuple[str, str, list[Cell]]], list[tuple[str, str]]]:
    """The table of a board: header; name, letters of footnotes and cells of each row; letter and text of footnotes."""
    shown = _columns(board)
    rows: list[tuple[str, str, list[Cell]]] = []
    letters: dict[str, str] = {}  # of the footnotes, each text once
    for row in board["rows"]:
        constant = row["kind"] == "constant"
        if constant and not any(_has(row, metric) for metric in shown):
            continue
        name = f"constant answer: {row['name']}" if constant else str(entries[row["entry"]]["name"])
        notes = [f"{mark['kind'].replace('_', ' ')}: {mark['text']}" for mark in row["marks"]]
        for text in notes:
            letters.setdefault(text, _letters(len(letters)))
        cells = [cell(row["scores"].get(metric["name"]), metric["kind"]) for metric in shown]
        rows.append((name, ",".join(letters[text] for text in notes), cells))
    heads = [f"{metric['name']} {'↑' if metric['higher_is_better'] else '↓'}" for metric in shown]
    return ["model", *heads], rows, [(letter, text) for text, letter in letters.items()]


def _letters(place: int) -> str:
    """a, b, .. z, aa, ab, .."""
    before, letter = divmod(place, 26)
    return (_letters(before - 1) if before else "") + chr(97 + letter)


def about(board: Board) -> str:
    parts: tuple[Any, ...] = (
        f"{board['clips']} clips",
        board["subjects"] and f"{board['subjects']} subjects",
        ", ".join(board["datasets"]),
        board["version"] and f"task version {board['version']}",
        board["prompts"] is not None and f"prompts {board['prompts']}",
        board["data"] and f"data {board['data']}",
    )
    return "; ".join(filter(None, parts))


EXPLAINED = (
    "Value [95 % interval over subjects] (rank). Models that a paired comparison over subjects, corrected for all "
    "pairs (Holm, .05), cannot tell apart share a rank; (1–3): the places a model may have. A dash: unknown."
)


def versions_of(board: Board, entries: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Name of each model of a board, and what it was run with."""
    found: list[tuple[str, str]] = []
    for row in board["rows"]:
        if row["kind"] != "model":
            continue
        entry = entries[row["entry"]]
        versions = {**entry["versions"], **row["versions"]}
        adapter = entry["adapter_sha256"]
        parts: tuple[Any, ...] = (
            f"--model {entry['model']}" if entry["model"] else "unknown model",
            entry["model_args"] and f"--model_args {entry['model_args']}",
            isinstance(adapter, str) and f"adapter {adapter[:12]}",
            entry["motion_name"] and f"motion {entry['motion_name']}",
            entry["judge"] and f"judge {entry['judge']}, rubric {entry['rubric']}",
            versions.get("mellm_plugin") and f"mellm-plugin {versions['mellm_plugin']}",
            versions.get("lmms_eval") and f"lmms-eval {versions['lmms_eval']}",
            row["date"],
        )
        found.append((str(entry["name"]), "; ".join(filter(None, parts))))
    return found


PUBLISHED = "Published elsewhere, by other protocols, and not ranked"


def published_table(board: Board) -> tuple[list[str], list[list[str]]]:
    """The table of published numbers: header and rows."""
    names = list(dict.fromkeys(metric for one in board["published"] for metric in one["scores"]))
    rows = []
    for one in board["published"]:
        scores = [number(one["scores"].get(name), "share") for name in names]
        rows.append([one["name"], *scores, f"{one['protocol']}; {one['source']}"])
    return ["system", *names, "protocol and source"], rows


def by_key(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {entry["key"]: entry for entry in data["entries"]}


def means_table(data: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The table over all boards: header, and the name and cells of each entry."""
    over = data["overall"]
    mains = [next((m for m in board["metrics"] if m["name"] in MAIN), None) for board in data["boards"]]
    shown = [(board["title"], main) for board, main in zip(data["boards"], mains, strict=True)]
    heads = [f"mean {metric}" for metric in over["metrics"]]
    heads += [f"{title}: {main['name']}" if main else title for title, main in shown]
    kinds = {metric["name"]: metric["kind"] for board in data["boards"] for metric in board["metrics"]}
    entries = by_key(data)
    rows: list[tuple[str, list[str]]] = []
    for row in over["rows"]:
        cells = []
        for metric in over["metrics"]:
            mean = row["mean"].get(metric)
            of = len(over["averaged"][metric])
            cells.append(DASH if mean is None else f"{number(mean['value'], kinds[metric])} ({mean['tasks']} of {of})")
        for title, main in shown:
            score = row["scores"].get(title, {}).get(main["name"]) if main else None
            aside = " (not ranked)" if score and score["value"] is not None and not score["ranked"] else ""
            cells.append("".join(cell(score, main["kind"] if main else "share")[:3]) + aside)
        rows.append((str(entries[row["entry"]]["name"]), cells))
    return heads, rows
