"""The report as Markdown, CSV, LaTeX and JSON.

    report.md     a table for each board: value [95 % interval] (rank), marks as footnotes, versions below
    report.csv    one line for each score: task, model, metric, value, low, high, rank, marks
    report.tex    the tables of report.md, for the package booktabs; a label for each, `tab:synthme-meu`; versions as
                  comments
    report.json   all of it, as `leaderboard.Report.to_dict` gives it

All texts but our own are untrusted: names of models, tasks, labels and files are escaped for the format that they stand
in. Files are written in one step each.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mellm_plugin import small_files
from mellm_plugin.datasets.formula_guard import CONTROL, guarded
from mellm_plugin.errors import InputError
from mellm_plugin.report.items import MAIN

Board = Mapping[str, Any]

NAMES: tuple[str, ...] = ("report.md", "report.csv", "report.tex", "report.json")
_BESIDE = (
    "sensitivity_ceiling",
    "false_alarm_rate",
    "answer_rate",
    "parse_rate",
    "au_parse_rate",
    "vqa_parse_rate",
    "judge_rate",
)
_DASH = "–"


def write(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the four files into a folder, which is made.

    Args:
        data: of `leaderboard.Report.to_dict`.

    Returns:
        the files.

    Raises:
        InputError: the folder cannot be made, or one of the files not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", where=str(folder)) from error
    texts = (markdown(data), comma_separated(data), latex(data), plain_json(data))
    files = [folder / name for name in NAMES]
    for file, text in zip(files, texts, strict=True):
        write_text(file, text)
    return files


def write_text(file: Path, text: str) -> None:
    """Write a file in one step: a reader finds the old one or the new one.

    Raises:
        InputError: it cannot be written; the former one is left as it was.
    """
    try:
        small_files.write_text(file, text)
    except OSError as error:
        told = f"cannot be written: {error.strerror}; make room, or choose another folder with -o"
        raise InputError(told, where=str(file)) from error


def plain_json(data: Mapping[str, Any]) -> str:
    """Strict JSON, without NaN."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


# ---- what a table holds ---------------------------------------------------------------------------------------------


def number(value: float | None, kind: str) -> str:
    """A share as `.974`, points as `71.4`, pixels as `0.42`; a dash where there is none."""
    if value is None:
        return _DASH
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
    return f" ({score['rank']})" if low in (None, score["rank"]) else f" ({score['rank']}{_DASH}{low})"


def _cell(score: Mapping[str, Any] | None, kind: str) -> tuple[str, str, str]:
    """Value, interval and rank of a score."""
    if score is None or score["value"] is None:
        return ("none" if score is not None and score.get("why") else _DASH), "", ""
    sign = {"at most": "≤ ", "at least": "≥ "}.get(score.get("bound") or "", "")
    ends = "" if score["low"] is None else f" [{number(score['low'], kind)}, {number(score['high'], kind)}]"
    return sign + number(score["value"], kind), ends, _ranks(score)


class _Footnotes:
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


def _name(row: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> str:
    if row["kind"] == "constant":
        return f"constant answer: {row['name']}"
    return str(entries[row["entry"]]["name"])


def _about(board: Board) -> str:
    parts = [f"{board['clips']} clips"]
    parts += [f"{board['subjects']} subjects"] if board["subjects"] else []
    parts += [", ".join(board["datasets"])] if board["datasets"] else []
    parts += [f"task version {board['version']}"] if board["version"] else []
    parts += [f"prompts {board['prompts']}"] if board["prompts"] is not None else []
    parts += [f"data {board['data']}"] if board["data"] else []
    return "; ".join(parts)


_EXPLAINED = (
    "Value [95 % interval over subjects] (rank). Models that a paired comparison over subjects, corrected for all "
    "pairs (Holm, .05), cannot tell apart share a rank; (1–3) spans the places a model may have. A dash: not known."
)


def _versions(board: Board, entries: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
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


_PUBLISHED = "Published elsewhere, by other protocols, and not ranked"


def _published(board: Board) -> tuple[list[str], list[list[str]]]:
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


def _by_key(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {entry["key"]: entry for entry in data["entries"]}


def _means(data: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The table over all boards: its columns, and of each entry the cells."""
    over = data["overall"]
    mains = [next((m for m in board["metrics"] if m["name"] in MAIN), None) for board in data["boards"]]
    heads = [f"mean {metric}" for metric in over["metrics"]] + [
        f"{board['title']}: {main['name']}" if main else board["title"]
        for board, main in zip(data["boards"], mains, strict=True)
    ]
    kinds = {metric["name"]: metric["kind"] for board in data["boards"] for metric in board["metrics"]}
    entries = _by_key(data)
    rows: list[tuple[str, list[str]]] = []
    for row in over["rows"]:
        cells = []
        for metric in over["metrics"]:
            mean = row["mean"].get(metric)
            of = len(over["averaged"][metric])
            cells.append(_DASH if mean is None else f"{number(mean['value'], kinds[metric])} ({mean['tasks']} of {of})")
        for board, main in zip(data["boards"], mains, strict=True):
            score = row["scores"].get(board["title"], {}).get(main["name"]) if main else None
            aside = " (not ranked)" if score and score["value"] is not None and not score["ranked"] else ""
            cells.append("".join(_cell(score, main["kind"] if main else "share")) + aside)
        rows.append((str(entries[row["entry"]]["name"]), cells))
    return heads, rows


# ---- Markdown -------------------------------------------------------------------------------------------------------

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$:@])")


def escape_markdown(text: object) -> str:
    """A text that stands in Markdown as it is, in a table too."""
    plain = CONTROL.sub(" ", str(text)).strip()
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # entities keep their & and ;
    return _MARKDOWN.sub(r"\\\1", plain)


def _md_names(text: str) -> str:
    """Escaped, but for what is harmless within a word: names stay readable in the file itself."""
    escaped = escape_markdown(text)
    # "www." at the beginning of a word would become a link
    return re.sub(r"(?<=\w)(?<![wW]{3})\\([.\-:])(?=\w)|(?<![wW]{3})\\([().])", lambda m: m[1] or m[2], escaped)


def _md_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" + " ---: |" * (len(heads) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def markdown(data: Mapping[str, Any]) -> str:
    """The tables for a README."""
    entries, reading = _by_key(data), data["reading"]
    lines = ["# Leaderboard", "", _EXPLAINED, ""]
    lines += [
        f"Made {_md_names(data['made'])} by mellm-plugin {_md_names(data['mellm_plugin'])} from {reading['files']} "
        f"files: {reading['runs']} runs. All scores are in report.csv.",
        "",
    ]
    if len(data["boards"]) > 1:
        heads, means = _means(data)
        rows = [[_md_names(name), *map(_md_names, cells)] for name, cells in means]
        lines += ["## All tasks", "", "Means are over one task of each dataset, in brackets over how many.", ""]
        lines += [*_md_table(["model", *map(_md_names, heads)], rows), ""]
    for board in data["boards"]:
        shown, notes = columns(board), _Footnotes()
        lines += [f"## {_md_names(board['title'])}", "", _md_names(_about(board)), ""]
        rows = []
        for row in rows_shown(board):
            letters = notes.of(row["marks"])
            cells = [f"{_md_names(_name(row, entries))}{f' <sup>{letters}</sup>' if letters else ''}"]
            for metric in shown:
                score = row["scores"].get(metric["name"])
                value, ends, rank = _cell(score, metric["kind"])
                cells.append(f"**{value}**{ends}{rank}" if score and score["rank"] == 1 else f"{value}{ends}{rank}")
            rows.append(cells)
        arrows = [f"{_md_names(m['name'])} {'↑' if m['higher_is_better'] else '↓'}" for m in shown]
        lines += [*_md_table(["model", *arrows], rows), ""]
        lines += [f"- <sup>{letter}</sup> {_md_names(text)}" for letter, text in notes.lines()]
        lines += [""] if notes.lines() else []
        if board["published"]:
            heads, cells_of = _published(board)
            lines += [f"{_PUBLISHED}:", ""]
            lines += [*_md_table([*map(_md_names, heads)], [[*map(_md_names, cells)] for cells in cells_of]), ""]
        lines += [f"- {_md_names(name)}: {_md_names(told)}" for name, told in _versions(board, entries)]
        lines += [""]
    lines += _md_reading(reading)
    return "\n".join(lines).rstrip("\n") + "\n"


def _md_reading(reading: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    if reading["faults"]:
        lines += ["## Could not be used", ""]
        lines += [f"- {_md_names(fault['file'])}: {_md_names(fault['fault'])}" for fault in reading["faults"]] + [""]
    others = [f"{_md_names(task)} ({count})" for task, count in reading["other_tasks"].items()]
    notes = [_md_names(note) for note in reading["notes"]]
    notes += [f"runs of other tasks, left out: {', '.join(others)}"] if others else []
    if notes:
        lines += ["## Notes", "", *(f"- {note}" for note in notes), ""]
    return lines


# ---- CSV ------------------------------------------------------------------------------------------------------------

_FIELDS = (
    "task",
    "board",
    "kind",
    "name",
    "model",
    "model_args",
    "motion",
    "adapter_sha256",
    "judge",
    "lmms_eval",
    "mellm_plugin",
    "task_version",
    "prompts",
    "data",
    "date",
    "clips",
    "runs",
    "metric",
    "higher_is_better",
    "value",
    "low",
    "high",
    "rank",
    "rank_low",
    "ranked",
    "marks",
    "source",
)


def comma_separated(data: Mapping[str, Any]) -> str:
    """One line for each score; a text that begins like a formula has an apostrophe in front."""
    entries = _by_key(data)
    out = io.StringIO()
    table = csv.DictWriter(out, _FIELDS, lineterminator="\n")
    table.writeheader()

    def line(**values: object) -> None:
        table.writerow({name: guarded(value) for name, value in values.items()})

    for board in data["boards"]:
        about = {
            "task": board["task"],
            "board": board["title"],
            "task_version": board["version"],
            "prompts": board["prompts"],
            "data": board["data"],
        }
        better = {metric["name"]: metric["higher_is_better"] for metric in board["metrics"]}
        for row in board["rows"]:
            entry = entries[row["entry"]] if row["kind"] == "model" else {}
            for metric, score in row["scores"].items():
                line(
                    **about,
                    kind=row["kind"],
                    name=entry.get("name") or row["name"],
                    model=entry.get("model"),
                    model_args=entry.get("model_args"),
                    motion=entry.get("motion_name"),
                    adapter_sha256=entry.get("adapter_sha256"),
                    judge=entry.get("judge"),
                    lmms_eval=row["versions"].get("lmms_eval"),
                    mellm_plugin=row["versions"].get("mellm_plugin"),
                    date=row["date"],
                    clips=row["clips"],
                    runs=row["runs"],
                    metric=metric,
                    higher_is_better=better[metric],
                    **{name: score[name] for name in ("value", "low", "high", "rank", "rank_low")},
                    ranked=row["ranked"],
                    marks="; ".join(f"{mark['kind']}: {mark['text']}" for mark in row["marks"]),
                )
        for one in board["published"]:
            for metric, value in one["scores"].items():
                line(
                    **about,
                    kind="published",
                    name=one["name"],
                    metric=metric,
                    value=value,
                    ranked=False,
                    source=f"{one['protocol']}; {one['source']}",
                )
    return out.getvalue()


# ---- LaTeX ----------------------------------------------------------------------------------------------------------

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # \\ and \item take an argument in brackets
    "]": "{]}",
    "–": "--",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
}


def escape_latex(text: object) -> str:
    """A text that LaTeX sets as it is."""
    return "".join(_LATEX.get(letter, letter) for letter in CONTROL.sub(" ", str(text)).strip())


def latex(data: Mapping[str, Any]) -> str:
    """The tables for a paper; needs the package booktabs."""
    entries = _by_key(data)
    lines = [
        "% \\usepackage{booktabs}, and [T1]{fontenc}; names that are not Latin need LuaLaTeX or XeLaTeX.",
        f"% {escape_latex(_EXPLAINED)}",
    ]
    labels: dict[str, int] = {}
    if len(data["boards"]) > 1:
        heads, means = _means(data)
        lines += _tex_table(
            "All tasks. Means are over one task of each dataset, in brackets over how many.",
            _label("all-tasks", labels),
            ["model", *heads],
            [[escape_latex(name), *map(escape_latex, cells)] for name, cells in means],
            [],
        )
    for board in data["boards"]:
        shown, notes = columns(board), _Footnotes()
        rows = []
        for row in rows_shown(board):
            letters = notes.of(row["marks"])
            cells = [escape_latex(_name(row, entries)) + (f"\\textsuperscript{{{letters}}}" if letters else "")]
            for metric in shown:
                score = row["scores"].get(metric["name"])
                value, ends, rank = map(escape_latex, _cell(score, metric["kind"]))
                ends = f" {ends}" if ends else ""  # escaping strips
                rank = f" {rank}" if rank else ""
                if score is not None and score["rank"] == 1:
                    value = f"\\textbf{{{value}}}"
                cells.append(f"{value}{ends}{rank}")
            rows.append(cells)
        heads = ["model", *(f"{m['name']} {'↑' if m['higher_is_better'] else '↓'}" for m in shown)]
        below = [f"\\textsuperscript{{{letter}}} {escape_latex(text)}" for letter, text in notes.lines()]
        caption = f"{board['title']}: {_about(board)}. {_EXPLAINED}"
        lines += _tex_table(caption, _label(board["title"], labels), heads, rows, below)
        lines += [f"% {escape_latex(name)}: {escape_latex(told)}" for name, told in _versions(board, entries)]
        if board["published"]:
            heads, cells_of = _published(board)
            lines += _tex_table(
                f"{board['title']}. {_PUBLISHED}.",
                _label(f"{board['title']} published", labels),
                heads,
                [[*map(escape_latex, cells)] for cells in cells_of],
                [],
                last="p{.45\\linewidth}",
            )
    return "\n".join(lines) + "\n"


def _label(text: str, taken: dict[str, int]) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "board"
    taken[plain] = taken.get(plain, 0) + 1
    return f"tab:{plain}" if taken[plain] == 1 else f"tab:{plain}--{taken[plain]}"


def _tex_table(
    caption: str,
    label: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    below: Sequence[str],
    last: str = "r",
) -> list[str]:
    return [
        "",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escape_latex(caption)}}}",
        f"\\label{{{label}}}",
        f"\\begin{{tabular}}{{l{'r' * (len(heads) - 2)}{last}}}",
        "\\toprule",
        " & ".join(map(escape_latex, heads)) + " \\\\",
        "\\midrule",
        *(" & ".join(row) + " \\\\" for row in rows),
        "\\bottomrule",
        "\\end{tabular}",
        *(f"\\par\\footnotesize {line}" for line in below),
        "\\end{table}",
    ]
