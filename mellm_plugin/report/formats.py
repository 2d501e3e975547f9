"""The report as Markdown, CSV, LaTeX and JSON.

    report.md     a table for each board: value [95 % interval] (rank), marks as footnotes, versions below
    report.csv    one line for each score: task, model, metric, value, low, high, rank, marks
    report.tex    the tables of report.md, for the package booktabs, each with a label (`tab:synthme-meu`); versions as
                  comments
    report.json   everything, as `leaderboard.Report.to_dict` returns it

Names of models, tasks, labels and files are untrusted, and escaped for each format. Each file is written in one step.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mellm_plugin import small_files
from mellm_plugin.errors import InputError
from mellm_plugin.report import tables
from mellm_plugin.small_files import CONTROL, guarded

Rows = Iterable[Sequence[str]]

NAMES: tuple[str, ...] = ("report.md", "report.csv", "report.tex", "report.json")


def write(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the four files into a folder, which is made, and return them.

    Args:
        data: of `leaderboard.Report.to_dict`.

    Raises:
        InputError: the folder cannot be made, or a file cannot be written.
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
    """Write a file in one step: readers find the old file or the new one.

    Raises:
        InputError: it cannot be written; the old file is unchanged.
    """
    try:
        small_files.write_text(file, text)
    except OSError as error:
        fault = f"cannot be written: {error.strerror}; make room, or choose another folder with -o"
        raise InputError(fault, where=str(file)) from error


def plain_json(data: Mapping[str, Any]) -> str:
    """Strict JSON, without NaN."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$:@])")


def escape_markdown(text: object) -> str:
    """Escape a text for Markdown, also inside a table."""
    plain = html.escape(CONTROL.sub(" ", str(text)).strip(), quote=False)
    return _MARKDOWN.sub(r"\\\1", plain)  # leaves the & and ; of entities


def _md_names(text: str) -> str:
    """Escape a text, except for characters that are harmless within a word, so that names stay readable."""
    escaped = escape_markdown(text)
    # "www." at the beginning of a word would become a link
    return re.sub(r"(?<=\w)(?<![wW]{3})\\([.\-:])(?=\w)|(?<![wW]{3})\\([().])", lambda m: m[1] or m[2], escaped)


def _md_table(heads: Sequence[str], rows: Rows) -> list[str]:
    """A table and an empty line; cells are escaped already."""
    lines = [f"| {' | '.join(map(_md_names, heads))} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def markdown(data: Mapping[str, Any]) -> str:
    """The tables, for a README."""
    entries, reading = tables.by_key(data), data["reading"]
    lines = ["# Leaderboard", "", tables.EXPLAINED, ""]
    lines += [
        f"Made {_md_names(data['made'])} by mellm-plugin {_md_names(data['mellm_plugin'])} from {reading['files']} "
        f"files: {reading['runs']} runs. All scores are in report.csv.",
        "",
    ]
    if len(data["boards"]) > 1:
        heads, means = tables.means_table(data)
        lines += ["## All tasks", "", "Means are over one task of each dataset, in brackets over how many.", ""]
        lines += _md_table(["model", *heads], ([*map(_md_names, (name, *cells))] for name, cells in means))
    for board in data["boards"]:
        lines += [f"## {_md_names(board['title'])}", "", _md_names(tables.about(board)), ""]
        heads, rows_of, notes = tables.score_table(board, entries)
        rows = []
        for name, letters, cells in rows_of:
            first = f"{_md_names(name)} <sup>{letters}</sup>" if letters else _md_names(name)
            bold = (one._replace(value=f"**{one.value}**") if one.best else one for one in cells)
            rows.append([first, *("".join(one[:3]) for one in bold)])
        lines += _md_table(heads, rows)
        lines += [f"- <sup>{letter}</sup> {_md_names(text)}" for letter, text in notes] + [""] * bool(notes)
        if board["published"]:
            heads, cells_of = tables.published_table(board)
            lines += [f"{tables.PUBLISHED}:", "", *_md_table(heads, ([*map(_md_names, cells)] for cells in cells_of))]
        lines += [f"- {_md_names(name)}: {_md_names(text)}" for name, text in tables.versions_of(board, entries)] + [""]
    faults = [f"- {_md_names(fault['file'])}: {_md_names(fault['fault'])}" for fault in reading["faults"]]
    others = ", ".join(f"{_md_names(task)} ({count})" for task, count in reading["other_tasks"].items())
    remarks = [f"- {_md_names(note)}" for note in reading["notes"]]
    remarks += [f"- runs of other tasks, left out: {others}"] if others else []
    for title, items in (("Could not be used", faults), ("Notes", remarks)):
        lines += [f"## {title}", "", *items, ""] if items else []
    return "\n".join(lines).rstrip("\n") + "\n"


_FIELDS = (
    *("task", "board", "kind", "name", "model", "model_args", "motion", "adapter_sha256", "judge", "lmms_eval"),
    *("mellm_plugin", "task_version", "prompts", "data", "date", "clips", "runs", "metric", "higher_is_better"),
    *("value", "low", "high", "rank", "rank_low", "ranked", "marks", "source"),
)


def comma_separated(data: Mapping[str, Any]) -> str:
    """One line for each score. A text that starts like a formula gets an apostrophe in front."""
    entries = tables.by_key(data)
    out = io.StringIO()
    table = csv.DictWriter(out, _FIELDS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    lines: list[dict[str, object]] = []
    for board in data["boards"]:
        about = {"task": board["task"], "board": board["title"], "task_version": board["version"]}
        about |= {"prompts": board["prompts"], "data": board["data"]}
        better = {metric["name"]: metric["higher_is_better"] for metric in board["metrics"]}
        for row in board["rows"]:
            entry = entries[row["entry"]] if row["kind"] == "model" else {}
            of_row = {name: row[name] for name in ("kind", "date", "clips", "runs", "ranked")} | row["versions"]
            of_row |= {name: entry.get(name) for name in ("model", "model_args", "adapter_sha256", "judge")}
            of_row |= {"name": entry.get("name") or row["name"], "motion": entry.get("motion_name")}
            of_row["marks"] = "; ".join(f"{mark['kind']}: {mark['text']}" for mark in row["marks"])
            for metric, score in row["scores"].items():
                lines.append({**about, **of_row, **score, "metric": metric, "higher_is_better": better[metric]})
        for one in board["published"]:
            of_row = {"kind": "published", "name": one["name"], "ranked": False}
            of_row["source"] = f"{one['protocol']}; {one['source']}"
            for metric, value in one["scores"].items():
                lines.append({**about, **of_row, "metric": metric, "value": value})
    table.writerows({name: guarded(value) for name, value in line.items()} for line in lines)
    return out.getvalue()


_LATEX = {letter: f"\\{letter}" for letter in "{}&%$#_"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}"}
_LATEX |= {"→": r"$\rightarrow$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "≤": r"$\leq$", "≥": r"$\geq$", "–": "--"}
_LATEX |= {"[": "{[}", "]": "{]}"}  # \\ and \item take an argument in brackets


def escape_latex(text: object) -> str:
    """Escape a text for LaTeX."""
    return "".join(_LATEX.get(letter, letter) for letter in CONTROL.sub(" ", str(text)).strip())


def latex(data: Mapping[str, Any]) -> str:
    """The tables, for a paper; they need the package booktabs."""
    entries = tables.by_key(data)
    lines = [
        "% \\usepackage{booktabs}, and [T1]{fontenc}; names that are not Latin need LuaLaTeX or XeLaTeX.",
        f"% {escape_latex(tables.EXPLAINED)}",
    ]
    labels: dict[str, int] = {}
    if len(data["boards"]) > 1:
        heads, means = tables.means_table(data)
        caption = "All tasks. Means are over one task of each dataset, in brackets over how many."
        rows = [[*map(escape_latex, (name, *cells))] for name, cells in means]
        lines += _tex_table(caption, _label("all-tasks", labels), ["model", *heads], rows)
    for board in data["boards"]:
        heads, rows_of, notes = tables.score_table(board, entries)
        rows = [
            [escape_latex(name) + (f"\\textsuperscript{{{letters}}}" if letters else ""), *map(_tex_cell, cells)]
            for name, letters, cells in rows_of
        ]
        below = [f"\\textsuperscript{{{letter}}} {escape_latex(text)}" for letter, text in notes]
        caption = f"{board['title']}: {tables.about(board)}. {tables.EXPLAINED}"
        lines += _tex_table(caption, _label(board["title"], labels), heads, rows, below)
        lines += [f"% {escape_latex(name)}: {escape_latex(text)}" for name, text in tables.versions_of(board, entries)]
        if board["published"]:
            heads, cells_of = tables.published_table(board)
            caption = f"{board['title']}. {tables.PUBLISHED}."
            label, rows = _label(f"{board['title']} published", labels), [[*map(escape_latex, row)] for row in cells_of]
            lines += _tex_table(caption, label, heads, rows, last="p{.45\\linewidth}")
    return "\n".join(lines) + "\n"


def _tex_cell(one: tables.Cell) -> str:
    value, *asides = (escape_latex(part) for part in one[:3])
    value = f"\\textbf{{{value}}}" if one.best else value
    return " ".join([value, *filter(None, asides)])  # escaping strips


def _label(text: str, taken: dict[str, int]) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "board"
    taken[plain] = taken.get(plain, 0) + 1
    return f"tab:{plain}" if taken[plain] == 1 else f"tab:{plain}--{taken[plain]}"


def _tex_table(
    caption: str, label: str, heads: Sequence[str], rows: Rows, below: Sequence[str] = (), last: str = "r"
) -> list[str]:
    return [
        "",
        "\\begin{table}\n\\centering",
        f"\\caption{{{escape_latex(caption)}}}\n\\label{{{label}}}",
        f"\\begin{{tabular}}{{l{'r' * (len(heads) - 2)}{last}}}\n\\toprule",
        " & ".join(map(escape_latex, heads)) + " \\\\",
        "\\midrule",
        *(" & ".join(row) + " \\\\" for row in rows),
        "\\bottomrule\n\\end{tabular}",
        *(f"\\par\\footnotesize {line}" for line in below),
        "\\end{table}",
    ]
