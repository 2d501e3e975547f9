"""Coding sheets: headers, cells and everything that can be wrong with them."""

from __future__ import annotations

import csv
import datetime
import io
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.styles import Font

from mellm_plugin.datasets.sheets import Column, Row, Sheet, as_text, named_columns, read_sheet
from mellm_plugin.errors import InputError

COLUMNS = {
    "subject": Column("Subject", merged=True),
    "onset": Column("OnsetFrame", "Onset"),
    "note": Column("Remarks", required=False),
}


def workbook(path: Path, *sheets: tuple[str, Sequence[Sequence[Any]]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def read(tmp_path: Path, *rows: list[Any]) -> Sheet:
    return read_sheet(workbook(tmp_path / "s.xlsx", ("Sheet1", list(rows))), COLUMNS)


def cells(sheet: Sheet) -> list[tuple[int, Any, Any]]:
    return [(row.number, row.raw("subject"), row.raw("onset")) for row in sheet.rows]


def test_the_header_is_found_below_a_preamble(tmp_path: Path) -> None:
    sheet = read(tmp_path, ["Subject of this table"], [], ["Subject"], ["on set_FRAME", None, "SUBJECT"], [46, None, 1])
    assert cells(sheet) == [(5, 1, 46)]
    assert sheet.columns == {"subject": "SUBJECT", "onset": "on set_FRAME"} and sheet.headings == (
        "on set_FRAME",
        "SUBJECT",
    )
    assert sheet.rows[0].raw("note") is None and len(sheet.sha256) == 64


def test_the_worksheet_is_chosen(tmp_path: Path) -> None:
    good: list[list[Any]] = [["Subject", "Onset"], ["a", 1]]
    other: list[list[Any]] = [["Subject", "Onset"], ["b", 2]]
    path = workbook(tmp_path / "s.xlsx", ("Notes", [["hello"]]), ("One", good), ("Two", other))
    assert cells(read_sheet(path, COLUMNS, prefer=["Two"])) == [(2, "b", 2)]
    assert cells(read_sheet(f"{path}#One", COLUMNS)) == [(2, "a", 1)]
    for chosen, told in (
        (str(path), "expected one worksheet with these columns, found 'One', 'Two'; name it: s.xlsx#WORKSHEET"),
        (f"{path}#Tow", "expected a worksheet 'Tow', found Notes, One, Two. Did you mean 'Two'?"),
    ):
        with pytest.raises(InputError, match=re.escape(told)):
            read_sheet(chosen, COLUMNS, prefer=["Three"])
    book = openpyxl.load_workbook(path)
    book["One"].sheet_state = "hidden"  # a draft
    book.save(path)
    sheet = read_sheet(path, COLUMNS)
    assert (cells(sheet), sheet.worksheet) == ([(2, "b", 2)], "Two")


def test_merged_cells(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "s.xlsx",
        ("S", [["Subject", "Onset", "Remarks"], ["a", 1, "x"], [None, 2, None], ["b", 3, None], [None, None, None]]),
    )
    book = openpyxl.load_workbook(path)
    for area in ("A2:A3", "C2:C3", "A4:A3000"):
        book.active.merge_cells(area)
    book.save(path)
    sheet = read_sheet(path, COLUMNS)
    assert cells(sheet) == [(2, "a", 1), (3, "a", 2), (4, "b", 3)]  # no row of a merged subject alone
    assert [row.faults for row in sheet.rows] == [
        [],
        ["Remarks: the cell is merged with that of row 2; unmerge and fill it in"],
        [],
    ]


def test_a_million_rows_with_nothing_in_them(tmp_path: Path) -> None:
    path = workbook(tmp_path / "s.xlsx", ("S", [["Subject", "Onset"], ["a", 1]]))
    book = openpyxl.load_workbook(path)
    book.active.cell(1_048_576, 30).font = Font(bold=True)  # the whole column, in some programs
    book.save(path)
    assert cells(read_sheet(path, COLUMNS)) == [(2, "a", 1)]  # 39 s and 2.4 GB where every cell is visited


def test_rows_keep_their_numbers(tmp_path: Path) -> None:
    sheet = read(tmp_path, ["Subject", "Onset"], ["a", 1], [], [None, None, "beside"], ["b", 2])
    assert cells(sheet) == [(2, "a", 1), (5, "b", 2)]
    (tmp_path / "s.csv").write_text('Subject,Onset,Remarks\na,1,"two\nlines"\n,,\n\nb,2\n')
    assert cells(read_sheet(tmp_path / "s.csv", COLUMNS)) == [(2, "a", "1"), (5, "b", "2")]


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8-sig", ";"), ("utf-16", "\t"), ("gb18030", ","), ("gb18030", ";")]
)
def test_csv_files_of_any_program(encoding: str, mark: str, tmp_path: Path) -> None:
    lines = [["实验, 一, 二, 三"], ["Subject", "Onset", "Remarks"], ["甲", "1", "a; b, c"], ["乙", "2", ""]]
    text = io.StringIO()
    csv.writer(text, delimiter=mark).writerows(lines + [["丙", "3", ""]] * 3)
    (tmp_path / "s.csv").write_bytes(text.getvalue().encode(encoding))
    sheet = read_sheet(tmp_path / "s.csv", COLUMNS)
    assert cells(sheet)[:2] == [(3, "甲", "1"), (4, "乙", "2")] and sheet.rows[0].text("note") == "a; b, c"


@pytest.mark.parametrize(
    ("value", "number"),
    [(46, 46), (46.0, 46), ("46", 46), (" 046 ", 46), ("46.0", 46), (0, 0), (None, None), ("/", None), ("N/A", None),
     ("", None), ("nan", None), (float("nan"), None), ("\\", None), ("?", None), (-1, None), ("null", None),
     ("-1", None), ("NaN", None), ("N.A.", None), ("none", None), ("—", None), ("未知", None), ("unknown", None)],
)  # fmt: skip
def test_whole_numbers(value: Any, number: int | None) -> None:
    row = Row(2, {"onset": value}, {"onset": "Onset"})
    assert row.whole("onset") == number and row.faults == []
    if number is None:
        assert row.whole("onset", required=True) is None
        assert len(row.faults) == 1 and row.faults[0].startswith("Onset: expected a frame number, found ")


@pytest.mark.parametrize(
    "value",
    ["-46", 59.5, "4e1", "46 or 47", True, 10**15, float("inf"), datetime.datetime(2014, 5, 8), "四"],
)
def test_what_is_no_whole_number(value: Any) -> None:
    row = Row(2, {"onset": value}, {"onset": "Onset"})
    assert row.whole("onset") is None
    assert row.faults == [f"Onset: expected a whole number, found {as_text(value)!r}; correct the cell"]


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.dates(), st.none()))
def test_no_cell_is_an_error_or_a_guess(value: Any) -> None:
    row = Row(2, {"onset": value}, {"onset": "Onset"})
    found = row.whole("onset")
    assert len(row.faults) <= 1
    assert found is None or (found >= 0 and str(found) in (as_text(value) or ""))
    positive = row.number_above_zero("onset")
    assert positive is None or positive > 0
    text = row.text("onset")
    assert text is None or text == text.strip() != ""


@given(st.binary(max_size=300))
@settings(max_examples=25)
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("s.csv", "s.xlsx"):
            path = Path(folder) / name
            path.write_bytes(data)
            with pytest.raises(InputError, match=name):
                read_sheet(path, COLUMNS)


def test_frames_per_second() -> None:
    row = Row(2, {"a": "200", "b": 29.97, "c": 0, "d": "fast", "e": None}, {})
    assert [row.number_above_zero(key) for key in "abcde"] == [200.0, 29.97, None, None, None]
    wanted = "expected a number above 0, found"
    assert row.faults == [f"c: {wanted} '0'; correct the cell", f"d: {wanted} 'fast'; correct the cell"]


def test_errors_of_formulas(tmp_path: Path) -> None:
    sheet = read(tmp_path, ["Subject", "Onset"], ["a", "#VALUE!"], ["#N/A", 2])
    assert sheet.rows[0].faults == ["Onset: the formula has the error #VALUE!; correct the cell"]
    assert sheet.rows[0].raw("onset") is None and sheet.rows[1].faults == []


def test_a_formula_that_was_never_computed_is_no_empty_cell(tmp_path: Path) -> None:
    path = workbook(tmp_path / "s.xlsx", ("S", [["Subject", "Onset", "Remarks"], ["a", "=1+2", None], ["b", 2, "=B3"]]))
    first, second = read_sheet(path, COLUMNS).rows
    told = "was never computed; open the file in a spreadsheet program and save it"
    assert first.faults == [f"Onset: the formula in B2 {told}"] and second.faults == [
        f"Remarks: the formula in C3 {told}"
    ]


def test_a_cell_beyond_the_header_of_a_csv_was_cut_off_from_another(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("Subject,Onset,Remarks\na,1,6,12\nb,2,6+12,\n")
    first, second = read_sheet(path, COLUMNS).rows
    assert first.faults == [
        "expected 3 cells, found 4; put a cell that holds a comma in quotes, or write units as 6+12"
    ]
    assert not second.faults


# ---- columns with other names ---------------------------------------------------------------------------------------

SEVEN = {
    **{"subject": Column("Subject", merged=True), "clip": Column("Filename"), "onset": Column("OnsetFrame")},
    **{"apex": Column("ApexFrame"), "offset": Column("OffsetFrame"), "aus": Column("Action Units")},
    "emotion": Column("Estimated Emotion"),
}


@pytest.mark.parametrize(
    "header",
    [
        "Subject,Filename,OnsetFrame,ApexFrame,OffsetFrame,Action Units,Estimated Emotion",  # CASME II
        "Subject,Filename,Onset Frame,Apex Frame,Offset Frame,Action Units,Estimated Emotion",  # SAMM
        "Subject,Filename,OnsetF,ApexF,OffsetF,AU,Emotion",  # SMIC-E, CASME
        "Subject,Filename,Onset,Apex,Offset,Action Units,Label",  # copies for training, of both
        "sub_ID,fold_name,Onset,Apex,Offset,AUs,Emotion",  # 4DME
        "subject,material,onset,apex,offset,AU,emotion",  # after a library's renaming
        "sub,seq,onset,apex,offset,au,emotion",  # CAS(ME)^3, macro-expressions
        "被试,文件名,起始帧,顶点帧,结束帧,动作单元,情绪",
        "Ｓｕｂｊｅｃｔ,ｆｉｌｅｎａｍｅ,ｏｎｓｅｔ,ａｐｅｘ,ｏｆｆｓｅｔ,ＡＵ,表情",
    ],
)
def test_headers_of_published_sheets(header: str, tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    for encoding in ("utf-8-sig", "gbk", "utf-16-le", "utf-16-be"):
        path.write_bytes(f"{header}\n1,EP02_01f,46,59,86,12,happiness\n".replace(",", ";").encode(encoding))
        (row,) = read_sheet(path, SEVEN).rows
        assert [row.text(key) for key in SEVEN] == ["1", "EP02_01f", "46", "59", "86", "12", "happiness"]
    path.write_bytes("Subject;Onset;Höhepunkt\nGroß;1;2\n".encode("cp1252"))  # Western letters, no Chinese ones
    (row,) = read_sheet(path, {**COLUMNS, "apex": Column("Höhepunkt")}).rows
    assert row.text("subject") == "Groß" and row.whole("apex") == 2


def test_of_two_likely_columns_none_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("Subject,Onset,Remarks,video,clip\na,1,x,v,c\n")
    with pytest.raises(InputError, match=r"lacks Filename; it has: .*, video, clip\. .* --columns clip=HEADER"):
        read_sheet(path, {**COLUMNS, "clip": Column("Filename")})
    named = named_columns({**COLUMNS, "clip": Column("Filename")}, {"clip": "video"})
    assert read_sheet(path, named).rows[0].text("clip") == "v"


# ---- what would take all memory -------------------------------------------------------------------------------------


def _within_sheet(xml: bytes) -> Callable[[bytes], bytes]:
    return lambda part: part.replace(b"</sheetData>", xml)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_within_sheet(b'</sheetData><mergeCells><mergeCell ref="A1:XFD1048576"/></mergeCells>'), "cover 17179869184 "),
        (_within_sheet(b" " * (130 << 20) + b"</sheetData>"), "it holds 130 MiB when unpacked, expected at most 128"),
        (_within_sheet(b'<row r="3">' + b"<c/>" * 1_000_001 + b"</row></sheetData>"), "more than 1000000 cells"),
        (
            _within_sheet(b"".join(b'<row r="%d"><c r="XFD%d"><v>1</v></c></row>' % (n, n) for n in range(3, 99))
                          + b"</sheetData>"),
            "reaches to cell XFD",
        ),
        (lambda part: b'<!DOCTYPE x [<!ENTITY a "b">]>' + part, "defines entities, which no workbook does"),
    ],
)  # fmt: skip
def test_a_workbook_that_would_take_all_memory(change: Callable[[bytes], bytes], says: str, tmp_path: Path) -> None:
    plain = workbook(tmp_path / "s.xlsx", ("S", [["Subject", "Onset"], ["a", 1]]))
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            part = source.read(name)
            target.writestr(name, change(part) if name.endswith("sheet1.xml") else part)
    with pytest.raises(InputError, match=says):
        read_sheet(tmp_path / "t.xlsx", COLUMNS)


# ---- many rows, few causes ------------------------------------------------------------------------------------------


def test_a_pipe_is_no_sheet(tmp_path: Path) -> None:
    """It may have no writer, and a device no end."""
    os.mkfifo(tmp_path / "s.csv")
    with pytest.raises(InputError, match="expected a file, found a device or a pipe"):
        read_sheet(tmp_path / "s.csv", COLUMNS)
