"""Markdown, CSV, LaTeX and JSON: right numbers, and nothing of a name acts."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_files import Asked, Model, changed_line, made, write_run

from mellm_plugin.report import formats, tables

ASKED = Asked(clips=24, subjects=6)
PLAIN = Model("plain", 0.9, backend=None)
HOSTILE = (
    "=cmd('x')|<script>alert(1)</script>",
    '+1\\input{/etc/passwd}%$#_{}~^&"`',
    "a|b\nc\r\n| --- |\n# d\t`e` **f** [g](javascript:h) <img src=x onerror=y> ![i](http://j) \u202eright\x00\x1b[31m",
    "@SUM(A1)\\\\[2pt]\\end{tabular}",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("formats")
    write_run(folder, ASKED, PLAIN, "20261122_000000")
    write_run(folder, ASKED, replace(PLAIN, name="part"), "20261122_000009", limit=12)
    for number, name in enumerate(HOSTILE, 1):
        model = Model(name, 0.3, args=f"pretrained={name}", backend=None, seed=number)
        _, samples = write_run(folder, ASKED, model, f"2026101{number}_000000")
        changed_line(samples, number, lambda row: row["record"]["gold"].update(label="<b>|x|</b>\n=1+1"))
    write_run(folder, replace(ASKED, prompts=HOSTILE[2]), PLAIN, "20261122_000010")
    return made(folder)


def test_csv_is_one_line_a_score_and_no_formula(data: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(formats.comma_separated(data))))
    assert len(rows) == sum(len(row["scores"]) for board in data["boards"] for row in board["rows"])
    for row in rows:
        for name, cell in row.items():
            assert name in ("low", "value", "high") or not cell.startswith(("=", "+", "-", "@")), cell
            assert not re.search(r"[\x00-\x1f\u202e]", cell)
    one = next(row for row in rows if row["name"] == "plain" and row["metric"] == "au_f1")
    known = next(entry["key"] for entry in data["entries"] if entry["name"] == "plain")
    score = next(row for row in data["boards"][0]["rows"] if row["entry"] == known)["scores"]["au_f1"]
    assert float(one["value"]) == score["value"] and one["rank"] == str(score["rank"])
    part = next(row for row in rows if row["name"] == "part")
    assert (part["ranked"], part["marks"], part["rank"]) == ("False", "limit: 12 of 24 clips", "")


def test_markdown_tables_keep_their_shape_and_names_do_not_act(data: dict[str, Any]) -> None:
    text = formats.markdown(data)
    widths: list[int] = []
    for line in text.splitlines():
        if line.startswith("|"):
            widths.append(len(re.findall(r"(?<!\\)\|", line)))
        else:
            assert len({*widths}) <= 1, "each table has as many cells in every row"
            widths = []
    assert (
        "<b>" not in text
        and "<script" not in text
        and "<img" not in text
        and "\x1b" not in text
        and "\u202e" not in text
    )
    assert "](" not in text.replace("\\](", "") and not re.search(r"(?<!\\)`", text)
    assert re.sub(r"</?sup>", "", text).count("<") == 0
    assert "limit\\: 12 of 24 clips" in text and "<sup>a</sup>" in text


def test_latex_is_balanced_and_commands_of_names_are_text(data: dict[str, Any]) -> None:
    text = formats.latex(data)
    for line in text.splitlines():
        plain = re.sub(r"\\[\\{}&%$#_]", "", line)
        assert plain.count("{") == plain.count("}"), line
        if not line.startswith("%"):
            assert "%" not in plain and "#" not in plain and "~" not in plain, line
    assert "\\input" not in text and "\\textbackslash{}input" in text
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 1 + len(data["boards"])
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == len({*labels}) == 1 + len(data["boards"])
    assert all(re.fullmatch(r"tab:[a-z0-9-]+", label) for label in labels)
    for table in re.findall(r"\\begin\{tabular\}\{(l?r*)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        columns, body = table
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert rows and all(len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1 for row in rows)


@given(st.text())
def test_escaping_leaves_no_active_letter(text: str) -> None:
    latex = re.sub(r"\$\\(?:(?:right|up|down)arrow|leq|geq)\$", "", formats.escape_latex(text))
    assert not re.search(r"(?<!\\)[&%$#_]", latex)
    markdown = formats.escape_markdown(text)
    assert not re.search(r"[<>\n\r]", markdown)
    assert not re.search(r"[|`*\[\]]", re.sub(r"\\[^\w\s]", "", markdown)), "each stands behind its own backslash"


def test_published_numbers_and_versions_are_in_every_table(tmp_path: Path) -> None:
    write_run(tmp_path, replace(ASKED, task="megc2019_meu"), replace(PLAIN, name="www.plain.com 1.2"))
    found = made(tmp_path)
    published = found["boards"][0]["published"]
    assert {"STSTNet", "LBP-TOP", "everything negative"} <= {one["name"] for one in published}
    for one in published:
        assert one["source"] and one["protocol"] and all(0 < value < 1 for value in one["scores"].values())
    for text in (formats.markdown(found), formats.latex(found), formats.comma_separated(found)):
        assert "STSTNet" in text and ".735" in text
    assert "www\\.plain.com 1.2" in formats.markdown(found), "no address that becomes a link"
    table = re.search(r"\\begin\{tabular\}\{lr*p.*?\\end\{tabular\}", formats.latex(found), re.DOTALL)
    assert table is not None and "STSTNet & " in table[0]
    assert "% www.plain.com 1.2: --model www.plain.com 1.2; mellm-plugin 0.1.0" in formats.latex(found)


def test_files_are_written_in_one_step(data: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    files = formats.write(data, folder)
    assert sorted(file.name for file in folder.iterdir()) == sorted(formats.NAMES)
    before = files[3].read_bytes()
    assert json.loads(before) == data
    with pytest.raises(ValueError):
        formats.write({**data, "made": float("inf")}, folder)
    assert files[3].read_bytes() == before
    assert sorted(file.name for file in folder.iterdir()) == sorted(formats.NAMES), "nothing half-written stays"


def test_numbers() -> None:
    assert tables.number(0.9744, "share") == ".974" and tables.number(1.0, "share") == "1.000"
    assert tables.number(-0.05, "share") == "-.050" and tables.number(None, "share") == "–"
    bound = {"value": 0.1, "low": 0.1, "high": 0.1, "rank": None, "rank_low": None, "bound": "at most"}
    assert formats.escape_latex(tables.cell(bound, "px")[0]) == r"$\leq$ 0.10"
    assert tables.number(71.44, "number") == "71.4" and tables.number(0.3, "px") == "0.30"
