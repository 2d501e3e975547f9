"""What the tables of a report hold, in any format: columns, rows, cells and footnotes, as plain text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mellm_plugin.report.items import MAIN

Board = Mapping[str, Any]

_BESIDE = (
    "sensitivity_ceiling",
    "false_alarm_rate",
    "answer_rate",
    "parse_rate",
    "au_parse_rate",
    "vqa_parse_rate",
    "judge_rate",
)
DASH = "–"


def number(value: float | None, kind: str) -> str:
    """A share as `.974`, points as `71.4`, pixels as `0.42`; a dash where there is none."""
    if value is None:
        return DASH
    if kind == "share":
        text = f"{value:.3f}"
        return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
    return f"{value:.1f}" if kind == "number" else f"{value:.2f}"


def columns(board: Board) -> list[Mapping[str, Any]]:
    """The metrics of a board's table: those that models are ranked by, and what stands beside them, where known."""
    named = [metric for metric in board["metrics"] if metric["name"] in MAIN or metric["name"] in _BESIDE]
    known = {metric["name"] for metric in named if any(_has(row, metric) for row in board["rows"])}
    if "parse_rate" in known:  # of whole answers; that of units alone is for tasks without labels
        known.discard("au_parse_rate")
    rates = [row["scores"].get("answer_rate", {"value": None})["value"] for row in board["rows"]]
    if all(rate in (None, 1) for rate in rates):
        known.discard("answer_rate")
    return [metric for metric in named if metric["name"] in known or metric["name"] in MAIN]


def rows_shown(board: Board) -> list[Mapping[str, Any]]:
    """The rows of a board's table: a constant answer that has none of its scores is left out."""
    columns_ = columns(board)
    return [row for row in board["rows"] if row["kind"] != "constant" or any(_has(row, metric) for metric in columns_)]


def _has(row: Mapping[str, Any], metric: Mapping[str, Any]) -> bool:
    score = row["scores"].get(metric["name"])
    return score is not None and score["value"] is not None


def _ranks(score: Mapping[str, Any]) -> str:
    if score["rank"] is None:
        return ""
    low = score["rank_low"]
    return f" ({score['rank']})" if low in (None, score["rank"]) else f" ({score['rank']}{DASH}{low})"


def cell(score: Mapping[str, Any] | None, kind: str) -> tuple[str, str, str]:
    """Value, interval and rank of a score."""
    if score is None or score["value"] is None:
        return ("none" if score is not None and score.get("why") else DASH), "", ""
    sign = {"at most": "≤ ", "at least": "≥ "}.get(score.get("bound") or "", "")
    ends = "" if score["low"] is None else f" [{number(score['low'], kind)}, {number(score['high'], kind)}]"
    return sign + number(score["value"], kind), ends, _ranks(score)


class Footnotes:
    """The marks of a table: a, b, .. aa, each text once."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def of(self, marks: Iterable[Mapping[str, str]]) -> str:
        """The letters of a row's marks."""
        return ",".join(self._letter(f"{mark['kind'].replace('_', ' ')}: {mark['text']}") for mark in marks)

    def _letter(self, text: str) -> str:
        if text not in self._texts:
            place, letters = len(self._texts), ""
            while True:
                place, letter = divmod(place, 26)
                letters = chr(97 + letter) + letters
                if not place:
                    break
                place -= 1
            self._texts[text] = letters
        return self._texts[text]

    def lines(self) -> list[tuple[str, str]]:
        """Letter and text of each."""
        return [(letter, text) for text, letter in self._texts.items()]


def row_name(row: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> str:
    if row["kind"] == "constant":
        return f"constant answer: {row['name']}"
    return str(entries[row["entry"]]["name"])


def about(board: Board) -> str:
    parts = [f"{board['clips']} clips"]
    parts += [f"{board['subjects']} subjects"] if board["subjects"] else []
    parts += [", ".join(board["datasets"])] if board["datasets"] else []
    parts += [f"task version {board['version']}"] if board["version"] else []
    parts += [f"prompts {board['prompts']}"] if board["prompts"] is not None else []
    parts += [f"data {board['data']}"] if board["data"] else []
    return "; ".join(parts)


EXPLAINED = (
    "Value [95 % interval over subjects] (rank). Models that a paired comparison over subjects, corrected for all "
    "pairs (Holm, .05), cannot tell apart share a rank; (1–3) spans the places a model may have. A dash: not known."
)


def versions_of(board: Board, entries: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Of each model of a board, what it is."""
    found: list[tuple[str, str]] = []
    for row in board["rows"]:
        if row["kind"] != "model":
            continue
        entry = entries[row["entry"]]
        versions = {**entry["versions"], **row["versions"]}
        parts = [f"--model {entry['model']}" if entry["model"] else "model not known"]
        parts += [f"--model_args {entry['model_args']}"] if entry["model_args"] else []
        parts += [f"adapter {entry['adapter_sha256'][:12]}"] if isinstance(entry["adapter_sha256"], str) else []
        parts += [f"motion {entry['motion_name']}"] if entry["motion_name"] else []
        parts += [f"judge {entry['judge']}, rubric {entry['rubric']}"] if entry["judge"] else []
        parts += [f"mellm-plugin {versions['mellm_plugin']}"] if versions.get("mellm_plugin") else []
        parts += [f"lmms-eval {versions['lmms_eval']}"] if versions.get("lmms_eval") else []
        parts += [str(row["date"])] if row["date"] else []
        found.append((str(entry["name"]), "; ".join(parts)))
    return found


PUBLISHED = "Published elsewhere, by other protocols, and not ranked"


def published_table(board: Board) -> tuple[list[str], list[list[str]]]:
    """The table of published numbers: its heads and rows."""
    names = list(dict.fromkeys(metric for one in board["published"] for metric in one["scores"]))
    rows = [
        [
            one["name"],
            *(number(one["scores"].get(name), "share") for name in names),
            f"{one['protocol']}; {one['source']}",
        ]
        for one in board["published"]
    ]
    return ["system", *names, "protocol and source"], rows


def by_key(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {entry["key"]: entry for entry in data["entries"]}


def means_table(data: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The table over all boards: its columns, and of each entry the cells."""
    over = data["overall"]
    mains = [next((m for m in board["metrics"] if m["name"] in MAIN), None) for board in data["boards"]]
    heads = [f"mean {metric}" for metric in over["metrics"]] + [
        f"{board['title']}: {main['name']}" if main else board["title"]
        for board, main in zip(data["boards"], mains, strict=True)
    ]
    kinds = {metric["name"]: metric["kind"] for board in data["boards"] for metric in board["metrics"]}
    entries = by_key(data)
    rows: list[tuple[str, list[str]]] = []
    for row in over["rows"]:
        cells = []
        for metric in over["metrics"]:
            mean = row["mean"].get(metric)
            of = len(over["averaged"][metric])
            cells.append(DASH if mean is None else f"{number(mean['value'], kinds[metric])} ({mean['tasks']} of {of})")
        for board, main in zip(data["boards"], mains, strict=True):
            score = row["scores"].get(board["title"], {}).get(main["name"]) if main else None
            aside = " (not ranked)" if score and score["value"] is not None and not score["ranked"] else ""
            cells.append("".join(cell(score, main["kind"] if main else "share")) + aside)
        rows.append((str(entries[row["entry"]]["name"]), cells))
    return heads, rows
