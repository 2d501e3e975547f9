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
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mellm_plugin import small_files
from mellm_plugin.errors import InputError
from mellm_plugin.report.tables import (
    EXPLAINED,
    PUBLISHED,
    Cell,
    about,
    by_key,
    means_table,
    published_table,
    score_table,
    versions_of,
)
from mellm_plugin.small_files import CONTROL, guarded

NAMES: tuple[str, ...] = ("report.md", "report.csv", "report.tex", "report.json")


def write(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the four files into a folder, and make the folder.

    Args:
        data: of `leaderboard.Report.to_dict`.

    Returns:
        the files.

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


# ---- Markdown -------------------------------------------------------------------------------------------------------

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$:@])")


def escape_markdown(text: object) -> str:
    """Escape a text for Markdown, also inside a table."""
    plain = CONTROL.sub(" ", str(text)).strip()
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # entities keep their & and ;
    return _MARKDOWN.sub(r"\\\1", plain)


def _md_names(text: str) -> str:
    """Escape a text, except for characters that are harmless within a word, so that names stay readable."""
    escaped = escape_markdown(text)
    # "www." at the beginning of a word would become a link
    return re.sub(r"(?<=\w)(?<![wW]{3})\\([.\-:])(?=\w)|(?<![wW]{3})\\([().])", lambda m: m[1] or m[2], escaped)


def _md_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" + " ---: |" * (len(heads) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def markdown(data: Mapping[str, Any]) -> str:
    """The tables, for a README."""
    entries, reading = by_key(data), data["reading"]
    lines = ["# Leaderboard", "", EXPLAINED, ""]
    lines += [
        f"Made {_md_names(data['made'])} by mellm-plugin {_md_names(data['mellm_plugin'])} from {reading['files']} "
        f"files: {reading['runs']} runs. All scores are in report.csv.",
        "",
    ]
    if len(data["boards"]) > 1:
        heads, means = means_table(data)
        rows = [[_md_names(name), *map(_md_names, cells)] for name, cells in means]
        lines += ["## All tasks", "", "Means are over one task of each dataset, in brackets over how many.", ""]
        lines += [*_md_table(["model", *map(_md_names, heads)], rows), ""]
    for board in data["boards"]:
        heads, rows_of, notes = score_table(board, entries)
        lines += [f"## {_md_names(board['title'])}", "", _md_names(about(board)), ""]
        rows = [
            [
                f"{_md_names(name)}{f' <sup>{letters}</sup>' if letters else ''}",
                *(f"**{one.value}**{one.ends}{one.rank}" if one.best else "".join(one[:3]) for one in cells),
            ]
            for name, letters, cells in rows_of
        ]
        lines += [*_md_table([*map(_md_names, heads)], rows), ""]
        lines += [f"- <sup>{letter}</sup> {_md_names(text)}" for letter, text in notes]
        lines += [""] if notes else []
        if board["published"]:
            heads, cells_of = published_table(board)
            lines += [f"{PUBLISHED}:", ""]
            lines += [*_md_table([*map(_md_names, heads)], [[*map(_md_names, cells)] for cells in cells_of]), ""]
        lines += [f"- {_md_names(name)}: {_md_names(text)}" for name, text in versions_of(board, entries)]
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
    *("task", "board", "kind", "name", "model", "model_args", "motion", "adapter_sha256", "judge", "lmms_eval"),
    *("mellm_plugin", "task_version", "prompts", "data", "date", "clips", "runs", "metric", "higher_is_better"),
    *("value", "low", "high", "rank", "rank_low", "ranked", "marks", "source"),
)


def comma_separated(data: Mapping[str, Any]) -> str:
    """One line for each score. A text that starts like a formula gets an apostrophe in front."""
    entries = by_key(data)
    out = io.StringIO()
    table = csv.DictWriter(out, _FIELDS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()

    def line(values: Mapping[str, object]) -> None:
        table.writerow({name: guarded(value) for name, value in values.items()})

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
                line({**about, **of_row, **score, "metric": metric, "higher_is_better": better[metric]})
        for one in board["published"]:
            of_row = {"kind": "published", "name": one["name"], "ranked": False}
            of_row["source"] = f"{one['protocol']}; {one['source']}"
            for metric, value in one["scores"].items():
                line({**about, **of_row, "metric": metric, "value": value})
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
    """Escape a text for LaTeX."""
    return "".join(_LATEX.get(letter, letter) for letter in CONTROL.sub(" ", str(text)).strip())


def latex(data: Mapping[str, Any]) -> str:
    """The tables, for a paper; they need the package booktabs."""
    entries = by_key(data)
    lines = [
        "% \\usepackage{booktabs}, and [T1]{fontenc}; names that are not Latin need LuaLaTeX or XeLaTeX.",
        f"% {escape_latex(EXPLAINED)}",
    ]
    labels: dict[str, int] = {}
    if len(data["boards"]) > 1:
        heads, means = means_table(data)
        lines += _tex_table(
            "All tasks. Means are over one task of each dataset, in brackets over how many.",
            _label("all-tasks", labels),
            ["model", *heads],
            [[escape_latex(name), *map(escape_latex, cells)] for name, cells in means],
            [],
        )
    for board in data["boards"]:
        heads, rows_of, notes = score_table(board, entries)
        rows = [
            [
                escape_latex(name) + (f"\\textsuperscript{{{letters}}}" if letters else ""),
                *map(_tex_cell, cells),
            ]
            for name, letters, cells in rows_of
        ]
        below = [f"\\textsuperscript{{{letter}}} {escape_latex(text)}" for letter, text in notes]
        caption = f"{board['title']}: {about(board)}. {EXPLAINED}"
        lines += _tex_table(caption, _label(board["title"], labels), heads, rows, below)
        lines += [f"% {escape_latex(name)}: {escape_latex(text)}" for name, text in versions_of(board, entries)]
        if board["published"]:
            heads, cells_of = published_table(board)
            lines += _tex_table(
                f"{board['title']}. {PUBLISHED}.",
                _label(f"{board['title']} published", labels),
                heads,
                [[*map(escape_latex, cells)] for cells in cells_of],
                [],
                last="p{.45\\linewidth}",
            )
    return "\n".join(lines) + "\n"


def _tex_cell(one: Cell) -> str:
    value, *asides = (escape_latex(part) for part in one[:3])
    value = f"\\textbf{{{value}}}" if one.best else value
    return " ".join([value, *filter(None, asides)])  # escaping strips


def _label(text: str, taken: dict[str, int]) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "board"
    taken[plain] = taken.get(plain, 0) + 1
    return f"tab:{plain}" if taken[plain] == 1 else f"tab:{plain}--{taken[plain]}"


def _tex_table(
    caption: str, label: str, heads: Sequence[str], rows: Sequence[Sequence[str]], below: Sequence[str], last: str = "r"
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
