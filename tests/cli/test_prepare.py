"""`mellm prepare` and `mellm datasets`, as users call them: what is wrong with their input, and what becomes of it."""

from __future__ import annotations

import ctypes
import datetime
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import fictitious
import numpy as np
import openpyxl
import pytest
from fictitious import Fictitious, casme2, casme3, samm, smic

from mellm_plugin.cli import main
from mellm_plugin.cli.options import COLUMNS, pairs
from mellm_plugin.datasets import store
from mellm_plugin.errors import InputError

MELLM = Path(sys.executable).parent / "mellm"
QUICK: dict[str, Any] = {"size": (40, 36), "frames": 6, "draw": "noise"}
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def made(tmp_path: Path) -> Fictitious:
    """Eight clips of CASME II; clips 1, 2, ... are broken by the tests, and clip 0 never is."""
    return casme2(tmp_path / "in", 8, stray_files=False, **QUICK)


def command(made: Fictitious, out: Path, *options: str) -> list[str]:
    return ["prepare", made.name, *made.arguments, "--out", str(out), *options]


def told(made: Fictitious, index: int) -> str:
    """How a message names a clip of the fictitious dataset."""
    clip = made.clips[index]
    return f"{made.sheet.name}, row {clip.row}, {made.name}/{clip.subject}/{clip.clip}: "


def refused(arguments: list[str], out: Path, capsys: Capture) -> str:
    """What is said to a command that keeps nothing."""
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and not list(out.glob("*/info.json")) and not list(out.glob(".*.partial"))
    return captured.err[captured.err.index("mellm: ") :]


# One clip is wrong ---------------------------------------------------------------------------------------------------


def _file(made: Fictitious, index: int, number: int) -> Path:
    return made.clips[index].frame(number)


def _no_onset(made: Fictitious) -> Fictitious:
    return fictitious.cell(made, 1, "OnsetFrame", None)


def _onset_missing(made: Fictitious) -> Fictitious:
    return fictitious.frame_missing(made, 1, made.clips[1].onset)


def _unreadable_onset(made: Fictitious) -> Fictitious:
    return fictitious.unreadable(made, 1, made.clips[1].onset)


def _truncated_onset(made: Fictitious) -> Fictitious:
    return fictitious.truncated(made, 1, made.clips[1].onset)


def _empty_file(made: Fictitious) -> Fictitious:
    made.clips[1].frame(made.clips[1].peak).write_bytes(b"")
    return made


def _spotting(break_it: Callable[[Path], object]) -> Callable[[Fictitious], Fictitious]:
    """A clip without an apex, of which one frame in the stretch is broken."""

    def broken(made: Fictitious) -> Fictitious:
        made = fictitious.apex_slash(made, 1)
        break_it(_file(made, 1, made.clips[1].numbers[-2]))
        return made

    return broken


def _wider(file: Path) -> None:
    cv2.imwrite(str(file), np.zeros((60, 60, 3), np.uint8))


def _folder_gone(made: Fictitious) -> Fictitious:
    shutil.rmtree(made.clips[1].folder)
    return made


def _two_kinds(made: Fictitious) -> Fictitious:
    clip = made.clips[1]
    cv2.imwrite(str(clip.folder / f"img{clip.peak}.png"), np.zeros((36, 40, 3), np.uint8))
    return made


def _two_layouts(made: Fictitious) -> Fictitious:
    clip = made.clips[1]
    shutil.copytree(clip.folder, made.frames / "Cropped" / clip.subject / clip.clip)
    return made


def _merged_onset(made: Fictitious) -> Fictitious:
    book = openpyxl.load_workbook(made.sheet)
    book.worksheets[0].merge_cells(start_row=2, end_row=3, start_column=4, end_column=4)
    book.save(made.sheet)
    return made


def _cell(column: str, value: Any) -> Callable[[Fictitious], Fictitious]:
    return lambda made: fictitious.cell(made, 1, column, value)


BROKEN: dict[str, tuple[Callable[[Fictitious], Fictitious], str]] = {
    "apex outside": (
        lambda m: fictitious.cell(fictitious.frame_outside(m, 1), 1, "OffsetFrame", 99_999),
        "or take frame {last} by --nearest",
    ),
    "onset outside": (_onset_missing, "onset: expected frame {first} in {folder}, found {second}..{last} (5 frames)"),
    "no onset": (_no_onset, "OnsetFrame: expected a frame number, found an empty cell; fill it in"),
    "two sizes": (lambda m: fictitious.two_sizes(m, 1), "expected frames of one size, found 40x36 in {folder}"),
    "unreadable apex": (lambda m: fictitious.unreadable(m, 1), "{peak_file}: not an image in a known format"),
    "unreadable onset": (_unreadable_onset, "{first_file}: not an image in a known format"),
    "truncated apex": (lambda m: fictitious.truncated(m, 1), "{peak_file}: the image cannot be read"),
    "truncated onset": (_truncated_onset, "{first_file}: the image cannot be read"),
    "empty file": (_empty_file, "{peak_file}: "),
    "unreadable in the stretch": (
        _spotting(lambda file: file.write_bytes(b"nothing")),
        "{late_file}: not an image in a known format",
    ),
    "truncated in the stretch": (
        _spotting(lambda file: file.write_bytes(file.read_bytes()[:-120])),
        "{late_file}: the image cannot be read",
    ),
    "another size in the stretch": (_spotting(_wider), "expected frames of one size, found another in {late_file}"),
    "label": (
        lambda m: fictitious.label_outside(m, 1, "suprise"),
        "Estimated Emotion: expected one of disgust, fear, happiness, others, repression, sadness, surprise, found "
        "'suprise'; correct the cell. Did you mean 'surprise'?",
    ),
    "label of another dataset": (lambda m: fictitious.label_outside(m, 1, "anger"), "found 'anger'"),
    "empty folder": (
        lambda m: fictitious.folder_empty(m, 1),
        "expected frames (jpg, png, bmp, tif, with their numbers) in {folder}, found none; complete the folder",
    ),
    "no folder": (_folder_gone, "expected a folder of its frames below {frames}, found none; the nearest is {frames}"),
    "two kinds of files": (_two_kinds, "{peak_name}.jpg, {peak_name}.png are all frame {peak}; keep the files of one"),
    "two layouts": (_two_layouts, "found {frames}/Cropped/{subject}/{clip} and {folder}; name the folder of one kind"),
    "merged numbers": (_merged_onset, "OnsetFrame: the cell is merged with that of row 2; unmerge and fill it in"),
    "huge": (_cell("ApexFrame", 10**15), "ApexFrame: expected a whole number, found '1000000000000000'"),
    "large": (_cell("OnsetFrame", 10**9), "onset: frame 1000000000 lies behind the apex {peak} and the offset {last}"),
    "negative": (_cell("OnsetFrame", -46), "OnsetFrame: expected a whole number, found '-46'; correct the cell"),
    "half": (_cell("ApexFrame", 59.5), "ApexFrame: expected a whole number, found '59.5'"),
    "a date": (_cell("ApexFrame", datetime.date(2014, 5, 8)), "ApexFrame: expected a whole number, found '2014-05-08"),
    "a formula's error": (_cell("ApexFrame", "#REF!"), "ApexFrame: the formula has the error #REF!; correct the cell"),
    "words": (_cell("OffsetFrame", "about 80"), "OffsetFrame: expected a whole number, found 'about 80'"),
    "true": (_cell("OnsetFrame", True), "OnsetFrame: expected a whole number, found 'True'"),
    "subject": (_cell("Subject", "Anna"), "a folder of its frames below {frames}, found none; the nearest is "),
    "no subject": (_cell("Subject", None), "Subject: expected a text, found an empty cell; fill it in"),
    "a clip of another name": (_cell("Filename", "clip 7"), "found none; the nearest is {frames}/{subject}"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_one_wrong_clip_is_told_and_the_others_are_kept(
    what: str, made: Fictitious, tmp_path: Path, capsys: Capture
) -> None:
    break_it, expected = BROKEN[what]
    clip = made.clips[1]
    broken = break_it(made)
    numbers, out = clip.numbers, tmp_path / "out"
    says = expected.format(
        first=numbers[0], second=numbers[1], last=numbers[-1], folder=clip.folder, frames=made.frames, peak=clip.peak,
        subject=clip.subject, clip=clip.clip, first_file=clip.frame(numbers[0]), peak_file=clip.frame(clip.peak),
        peak_name=clip.frame(clip.peak).stem, late_file=clip.frame(numbers[-2]),
    )  # fmt: skip
    assert main(command(broken, out)) == 0
    captured = capsys.readouterr()
    assert "test: 7 clips" in captured.out and "skipped: 1\n" in captured.err
    line = next(line for line in captured.err.splitlines() if f"{made.sheet.name}, row {clip.row}" in line)
    assert says in line
    info = store.verify("casme2", out)
    (skipped,) = info["skipped"]
    assert skipped["where"] == f"{made.sheet.name}, row {clip.row}" and says in "; ".join(skipped["reasons"])
    assert f"casme2/{clip.subject}/{clip.clip}" not in info["made_from"] and len(info["made_from"]) == 7
    error = refused(command(broken, tmp_path / "strict", "--strict"), tmp_path / "strict", capsys)
    assert error.startswith("mellm: CASME II: nothing is prepared: ") and says in error
    assert error.count("row ") >= 1 and f"row {clip.row}" in error


def test_all_faults_of_one_run_are_listed_together(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    made = fictitious.cell(made, 1, "ApexFrame", "x")
    made = fictitious.label_outside(made, 2)
    made = fictitious.cell(fictitious.cell(made, 3, "OnsetFrame", "x"), 3, "OffsetFrame", -7)
    fictitious.unreadable(made, 4)
    fictitious.folder_empty(made, 5)
    made = fictitious.frame_outside(made, 6, "offset")
    assert main(command(made, tmp_path / "out")) == 0
    captured = capsys.readouterr()
    assert "test: 3 clips" in captured.out and "skipped: 5\n" in captured.err
    for index in (1, 2, 3, 4, 5):
        assert told(made, index) in captured.err
    assert "expected a whole number, found 'x'; correct the cell; OffsetFrame: expected" in captured.err
    error = refused(command(made, tmp_path / "strict", "--strict"), tmp_path / "strict", capsys)
    assert error.startswith("mellm: CASME II: nothing is prepared: 5 faults\n")
    assert all(told(made, index) in error for index in (1, 2, 3, 4, 5))
    assert main(command(made, tmp_path / "out", "--strict")) == 1, "nor is what was prepared with faults good enough"


def test_no_list_of_faults_is_cut_where_nothing_is_prepared(tmp_path: Path, capsys: Capture) -> None:
    made = casme2(tmp_path, 70, **QUICK)
    for clip in made.clips[1:]:
        shutil.rmtree(clip.folder)
    error = refused(command(made, tmp_path / "out", "--strict"), tmp_path / "out", capsys)
    assert "69 faults" in error and all(told(made, index) in error for index in range(1, 70))
    assert main(command(made, tmp_path / "out")) == 0
    assert "and 49 more, see info.json" in capsys.readouterr().err
    assert len(store.read_info("casme2", tmp_path / "out")["skipped"]) == 69


def test_nothing_is_left_where_no_clip_is_good(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    for clip in made.clips:
        fictitious.truncated(made, clip.number)
    error = refused(command(made, tmp_path / "out"), tmp_path / "out", capsys)
    assert error.startswith("mellm: CASME II: not one clip can be prepared: 8 faults\n")


def test_equal_rows_are_one_clip_and_others_are_none(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    made = fictitious.row_twice(fictitious.row_twice(made, 1), 2)  # rows 10 and 11
    book = openpyxl.load_workbook(made.sheet)
    assert book.worksheets[0]["E11"].value == made.clips[2].apex
    book.worksheets[0]["E11"] = (made.clips[2].apex or 0) + 1
    book.save(made.sheet)
    assert main(command(made, tmp_path / "out")) == 0
    err = capsys.readouterr().err
    names = [f"casme2/{clip.subject}/{clip.clip}" for clip in made.clips]
    info = store.verify("casme2", tmp_path / "out")
    assert set(info["made_from"]) == {*names} - {names[2]}
    sheet = made.sheet.name
    assert f"{sheet}, row 10, {names[1]}: the clip is that of {sheet}, row 3 once more\n" in err
    for row in (4, 11):
        assert (
            f"{sheet}, row {row}, {names[2]}: {sheet}, row 4 and {sheet}, row 11 are one clip and say different" in err
        )


def test_a_sheet_that_breaks_off_in_merged_subjects(made: Fictitious, tmp_path: Path) -> None:
    assert main(command(fictitious.subjects_merged(fictitious.header_below(made)), tmp_path / "out")) == 0
    info = store.verify("casme2", tmp_path / "out")
    assert set(info["made_from"]) == {f"casme2/{clip.subject}/{clip.clip}" for clip in made.clips}


def test_missing_frames_are_replaced_only_if_asked(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    gap, late = made.clips[1], made.clips[2]
    fictitious.frame_missing(made, 1)
    made = fictitious.cell(fictitious.frame_outside(made, 2), 2, "OffsetFrame", None)
    assert main(command(made, tmp_path / "out")) == 0
    assert "skipped: 2" in capsys.readouterr().err
    assert main(command(made, tmp_path / "out", "--nearest")) == 0
    assert "clips with a note: 2" in capsys.readouterr().err
    info = store.verify("casme2", tmp_path / "out")
    assert info["skipped"] == [] and info["splits"]["test"]["clips"] == 8
    by_id = {sample.id: sample for sample in store.read("casme2", "test", tmp_path / "out")}
    for clip, number, asked in (
        (gap, gap.peak - 1, gap.peak),
        (late, late.numbers[-1], late.numbers[-1] + 1000),
    ):
        name = f"casme2/{clip.subject}/{clip.clip}"
        assert info["notes"][name] == [f"apex: frame {number} in place of {asked}, which is missing"]
        assert by_id[name].apex_frame == number and by_id[name].apex == clip.frame(number).read_bytes()


def test_an_apex_whose_nearest_frame_is_the_onset(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    clip = made.clips[1]
    for number in clip.numbers[1:]:
        clip.frame(number).unlink()
    assert main(command(made, tmp_path / "out", "--nearest")) == 0
    assert f"apex: the frame nearest to {clip.apex} is the onset itself; complete {clip.folder}" in (
        capsys.readouterr().err
    )


def test_a_wrong_offset_is_unknown_and_noted(made: Fictitious, tmp_path: Path) -> None:
    early = made.clips[1]
    made = fictitious.cell(made, 1, "OffsetFrame", (early.onset or 0) - 5)
    made = fictitious.frame_outside(made, 2, "offset")
    assert main(command(made, tmp_path / "out", "--no-corrections")) == 0
    info = store.verify("casme2", tmp_path / "out")
    by_id = {sample.id: sample for sample in store.read("casme2", "test", tmp_path / "out")}
    assert len(by_id) == 8 and info["skipped"] == []
    for clip, says in ((early, "is not after the onset"), (made.clips[2], "is not in the folder")):
        name = f"casme2/{clip.subject}/{clip.clip}"
        assert by_id[name].offset_frame is None and says in info["notes"][name][0]
        assert by_id[name].apex_frame == clip.peak


def test_an_apex_that_is_no_number_is_spotted(made: Fictitious, tmp_path: Path) -> None:
    for index, mark in ((1, "/"), (2, "-"), (3, None), (4, "N/A")):
        made = fictitious.cell(made, index, "ApexFrame", mark)
    assert main(command(made, tmp_path / "out")) == 0
    sources = {sample.id: sample.apex_source for sample in store.read("casme2", "test", tmp_path / "out")}
    assert [sources[f"casme2/{c.subject}/{c.clip}"] for c in made.clips] == ["sheet", *["spotted"] * 4, *["sheet"] * 3]


def test_objective_classes(tmp_path: Path, capsys: Capture) -> None:
    made = casme2(tmp_path, 8, sheet="2019", **QUICK)
    for index, value in ((1, "IV"), (2, "vii"), (3, 4.0), (4, None), (5, "/"), (6, 8), (7, "IIX")):
        made = fictitious.cell(made, index, "Objective Classes", value)
    assert main(command(made, tmp_path / "out")) == 0
    err = capsys.readouterr().err
    for index, value in ((6, "8"), (7, "IIX")):
        says = f"Objective Classes: expected a class from 1 to 7 (or I to VII), found '{value}'; correct the cell"
        assert told(made, index) + says in err
    found = [sample.objective_class for sample in store.read("casme2", "test", tmp_path / "out")]
    assert found[1:] == [4, 7, 4, None, None]


def test_subjects_as_text_and_as_numbers(made: Fictitious, tmp_path: Path) -> None:
    for index, spell in ((1, "sub{:02d}"), (2, "{}"), (3, "{:03d}")):
        made = fictitious.cell(made, index, "Subject", spell.format(int(made.clips[index].subject[3:])))
    made = fictitious.cell(made, 4, "Subject", float(made.clips[4].subject[3:]))
    assert main(command(made, tmp_path / "out")) == 0
    assert [s.subject for s in store.read("casme2", "test", tmp_path / "out")] == [c.subject for c in made.clips]


def test_a_clip_of_another_subject(tmp_path: Path, capsys: Capture) -> None:
    made = samm(tmp_path, 8, **QUICK)
    assert main(command(fictitious.cell(made, 5, "Subject", "011"), tmp_path / "out")) == 0
    says = f"expected a clip of subject 011, found {made.clips[5].clip}; correct the row"
    assert says in capsys.readouterr().err


def test_files_that_are_no_frames_do_no_harm(made: Fictitious, tmp_path: Path) -> None:
    for clip in made.clips:
        for number in clip.numbers:
            (clip.folder / f"._img{number}.jpg").write_bytes(b"\0\5\x16\7AppleDouble")
        for stray in ("Thumbs.db", ".DS_Store", "notes.txt", "clip.avi", "cover.jpg", "img7.lnk"):
            (clip.folder / stray).write_bytes(b"stray")
        (clip.folder / "img99999.jpg").mkdir()
    (made.frames / "__MACOSX" / "sub01").mkdir(parents=True)
    assert main(command(made, tmp_path / "out", "--strict")) == 0
    for sample, clip in zip(store.read("casme2", "test", tmp_path / "out"), made.clips, strict=True):
        assert sample.onset == clip.frame(clip.numbers[0]).read_bytes()


# The sheet is wrong --------------------------------------------------------------------------------------------------


def test_the_sheet_of_another_dataset(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    others = [casme3(tmp_path / "3", 4, **QUICK).sheet, samm(tmp_path / "s", 4, **QUICK).sheet]
    for sheet in others:
        given = ["prepare", "casme2", "--frames", str(made.frames), "--sheet", str(sheet), "--out", str(tmp_path / "o")]
        error = refused(given, tmp_path / "o", capsys)
        assert str(sheet) in error
    assert f"rows of {sheet}, found none" in error


def test_a_workbook_about_something_else(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    book = openpyxl.Workbook()
    book.active.append(["Date", "Expenses"])
    book.active.append([datetime.date(2020, 1, 1), 12.5])
    book.create_sheet("More").append(["nothing", "here"])
    book.save(made.sheet)
    error = refused(command(made, tmp_path / "out"), tmp_path / "out", capsys)
    assert f"{made.sheet}: expected a row with the columns Subject, Filename, OnsetFrame" in error
    assert (
        "The nearest header (Sheet, row 1) lacks Subject, Filename, " in error and "it has: Date, Expenses. " in error
    )


def test_missing_and_renamed_columns(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    made = fictitious.column_dropped(fictitious.column_renamed(made, "onset", "Beginning"), "Estimated Emotion")
    error = refused(command(made, tmp_path / "out"), tmp_path / "out", capsys)
    assert "(Sheet1, row 1) lacks OnsetFrame, Estimated Emotion; it has: Subject, Filename, Beginning, " in error
    given = ["--columns", "onset=Beginning,emotion=Action Units"]
    assert main(command(made, tmp_path / "out", *given)) == 1
    assert "lacks Action Units; it has: " in capsys.readouterr().err, "a column is read as what the user says, alone"
    made = fictitious.column_renamed(made, "Action Units", "Feeling")
    error = refused(command(made, tmp_path / "out", "--columns", "onst=Beginning"), tmp_path / "out", capsys)
    assert "--columns: 'onst' is no column of it; expected subject, clip, onset, apex, offset, aus, emotion" in error


def test_a_column_twice(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    book = openpyxl.load_workbook(made.sheet)
    book.worksheets[0]["C1"] = "onset frame"
    book.save(made.sheet)
    error = refused(command(made, tmp_path / "out"), tmp_path / "out", capsys)
    assert f"{made.sheet}: row 1: expected one column of each name, found onset frame twice; delete or rename" in error


def test_a_header_without_rows(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    book = openpyxl.load_workbook(made.sheet)
    book.worksheets[0].delete_rows(2, 100)
    book.save(made.sheet)
    error = refused(command(made, tmp_path / "out"), tmp_path / "out", capsys)
    assert f"{made.sheet}: expected clips below the header in row 1, found none" in error


@pytest.mark.parametrize("names", [("on set-frame", "ONSETFRAME"), ("Onset_Frame", "onset frame")])
def test_names_of_columns_in_any_spelling(
    names: tuple[str, str], made: Fictitious, tmp_path: Path, capsys: Capture
) -> None:
    for name in names:
        made = fictitious.column_renamed(made, "OnsetFrame" if name == names[0] else names[0], name)
    assert main(command(made, tmp_path / "out", "--strict")) == 0


def _as(made: Fictitious, name: str, data: bytes) -> Path:
    path = made.sheet.parent / name
    path.write_bytes(data)
    return path


SHEETS: dict[str, tuple[Callable[[Fictitious], Path], str]] = {
    "old Excel": (lambda m: fictitious.as_xls(m).sheet, "this is an old Excel file (.xls)"),
    "a folder": (lambda m: m.frames, "expected a sheet, .xlsx or .csv, found a folder; name the file"),
    "nothing": (
        lambda m: m.sheet.with_name("none.xlsx"),
        "there is no such file; {folder} holds CASME2-coding-20140508.xlsx",
    ),
    "an empty file": (lambda m: _as(m, "e.xlsx", b""), "the file is empty; copy it again"),
    "blank lines": (lambda m: _as(m, "e.csv", b"\n\n \n"), "the file is empty"),
    "a page": (lambda m: _as(m, "p.xlsx", b"<html>Log in"), "expected an .xlsx or .csv file, found an HTML page"),
    "a picture": (lambda m: _as(m, "p.xlsx", b"\xff\xd8\xff"), "found something else; open it in a spreadsheet"),
    "half a workbook": (lambda m: _as(m, "h.xlsx", m.sheet.read_bytes()[:3000]), "found something else"),
    "a workbook called CSV": (lambda m: _as(m, "w.csv", m.sheet.read_bytes()), "name it w.xlsx"),
    "an open quote": (lambda m: _as(m, "q.csv", b'Subject,Filename\n01,"EP'), "cannot be read as CSV"),
    "no text": (lambda m: _as(m, "t.csv", b"\xff\xfe\xff\xdf\x00"), "row 1: expected text in UTF-8, found"),
}


@pytest.mark.parametrize("what", SHEETS)
def test_files_that_are_no_coding_sheet(what: str, made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    give, says = SHEETS[what]
    sheet = give(made)
    given = ["prepare", "casme2", "--frames", str(made.frames), "--sheet", str(sheet), "--out", str(tmp_path / "out")]
    error = refused(given, tmp_path / "out", capsys)
    assert f"mellm: {sheet}: " in error and says.format(folder=sheet.parent) in error


def test_a_zip_of_sheets(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    with zipfile.ZipFile(tmp_path / "sheets.zip", "w") as archive:
        archive.write(made.sheet, made.sheet.name)
    given = ["prepare", "casme2", "--frames", str(made.frames), "--sheet", str(tmp_path / "sheets.zip")]
    error = refused([*given, "--out", str(tmp_path / "out")], tmp_path / "out", capsys)
    assert "this is a zip file and no workbook; unzip it and name the sheet in it" in error


def test_a_damaged_workbook(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    with zipfile.ZipFile(made.sheet) as good:
        files = {name: good.read(name) for name in good.namelist()}
    files["xl/worksheets/sheet1.xml"] = files["xl/worksheets/sheet1.xml"][:400]
    with zipfile.ZipFile(made.sheet, "w") as bad:
        for name, data in files.items():
            bad.writestr(name, data)
    error = refused(command(made, tmp_path / "out"), tmp_path / "out", capsys)
    assert f"{made.sheet}: the workbook cannot be read (" in error and "save it as .xlsx or .csv" in error


def test_no_sheet_and_several(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", "casme2", "--frames", str(made.frames)])
    assert stopped.value.code == 2 and "--sheet" in capsys.readouterr().err
    sheet = str(made.sheet)
    error = refused(command(made, tmp_path / "out", "--sheet", sheet, sheet), tmp_path / "out", capsys)
    assert "--sheet: expected one sheet, found " in error


# The folder of frames is wrong ---------------------------------------------------------------------------------------


def _frames(made: Fictitious, frames: Path, out: Path) -> list[str]:
    return ["prepare", "casme2", "--frames", str(frames), "--sheet", str(made.sheet), "--out", str(out)]


def test_folders_that_hold_no_frames(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    error = refused(_frames(made, empty, out), out, capsys)
    assert f"{empty}: expected folders of frames (jpg, png, bmp), found no frame; is it the right one, and unp" in error
    error = refused(_frames(made, tmp_path / "none", out), out, capsys)
    assert f"{tmp_path / 'none'}: there is no such folder" in error
    error = refused(_frames(made, made.sheet, out), out, capsys)
    assert f"{made.sheet}: expected a folder, found a file" in error
    error = refused(_frames(made, fictitious.as_zip(made).frames, out), out, capsys)
    assert "CASME2_RAW_selected.zip: expected a folder, found a file; unzip it and name the folder" in error


def test_the_frames_of_another_dataset(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    frames = samm(tmp_path, 4, **QUICK).frames
    error = refused(_frames(made, frames, tmp_path / "out"), tmp_path / "out", capsys)
    assert f"{frames}: expected a folder of frames for each of the 8 rows of {made.sheet}, found none for any" in error
    assert f"and the nearest is {frames}" in error


def test_sheet_and_folder_wrong_at_once(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    given = ["prepare", "casme2", "--frames", str(tmp_path / "none"), "--sheet", str(tmp_path / "none.xlsx")]
    error = refused([*given, "--out", str(tmp_path / "out")], tmp_path / "out", capsys)
    assert "2 faults" in error and "none.xlsx: there is no such file" in error and "no such folder" in error


def test_raw_and_cropped_below_one_folder(tmp_path: Path, capsys: Capture) -> None:
    raw = casme2(tmp_path / "in", 6, **QUICK)
    cropped = casme2(tmp_path / "in", 6, layout="cropped", **QUICK)
    error = refused(_frames(raw, tmp_path / "in", tmp_path / "out"), tmp_path / "out", capsys)
    assert "expected one folder of frames for each clip, found two, " in error and "(raw or cropped)" in error
    for layout in (raw, cropped):
        assert main(_frames(raw, layout.frames, tmp_path / layout.frames.name)) == 0


def test_smic_tells_of_empty_folders_without_a_sheet(tmp_path: Path, capsys: Capture) -> None:
    made = fictitious.folder_empty(smic(tmp_path, 6, **QUICK), 2)
    assert main(command(made, tmp_path / "out")) == 0
    captured = capsys.readouterr()
    folder = made.clips[2].folder
    assert "test: 5 clips" in captured.out
    assert f"{folder}, smic/{made.clips[2].subject}/{folder.name}: expected frames" in captured.err


@pytest.mark.parametrize("root", ["above", "inside", "subject"])
def test_the_folder_may_be_named_above_or_inside(root: str, made: Fictitious, tmp_path: Path) -> None:
    frames = {"above": made.frames.parent, "inside": made.frames, "subject": made.clips[0].folder.parent}[root]
    assert main(_frames(made, frames, tmp_path / "out")) == 0
    expected = [c for c in made.clips if root != "subject" or c.subject == made.clips[0].subject]
    assert store.read_info("casme2", tmp_path / "out")["splits"]["test"]["clips"] == len(expected)


def test_links_trailing_slashes_spaces_and_other_alphabets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = casme2(tmp_path / "微表情 数据 (копия)", 6, **QUICK)
    sheet = made.sheet.rename(made.sheet.with_name("кодировка лист 2014.xlsx"))
    (made.frames / "loop").symlink_to(made.frames)  # a circle
    (made.frames / "sub01 again").symlink_to(made.clips[0].folder.parent)  # a second name
    (made.clips[0].folder / "img99999.jpg").symlink_to("nowhere")
    (tmp_path / "link").symlink_to(made.frames)
    monkeypatch.chdir(tmp_path)
    given = ["prepare", "casme2", "--sheet", str(sheet), "--out", "out", "--strict", "--json", "--frames"]
    done = [
        subprocess.run([str(MELLM), *given, frames], capture_output=True, text=True, check=True)
        for frames in (f"{made.frames}/", str(made.frames), os.path.relpath(made.frames), "link/")
    ]
    reports = [json.loads(run.stdout) for run in done]
    assert [report["unchanged"] for report in reports] == [False, True, True, False]
    assert all(report["folder"] == str(tmp_path / "out" / "casme2") for report in reports)
    assert all(report["sheets"]["test"]["file"] == sheet.name for report in reports)
    assert store.verify("casme2", tmp_path / "out")["splits"]["test"]["clips"] == 6


# Places that cannot be read or written -------------------------------------------------------------------------------


def _stopped_by_permissions() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            raise OSError(ctypes.get_errno(), "a capability cannot be dropped")


def unprivileged(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The command by a user whom permissions stop; for root, without the capability to pass them over."""
    stop = _stopped_by_permissions if os.geteuid() == 0 else None
    return subprocess.run([str(MELLM), *arguments], capture_output=True, text=True, check=False, preexec_fn=stop)


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Fictitious]:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    try:
        if os.geteuid() == 0:
            asked = [sys.executable, "-c", f"import os; os.listdir({str(closed)!r})"]
            if subprocess.run(asked, capture_output=True, preexec_fn=_stopped_by_permissions).returncode == 0:
                pytest.skip("permissions do not stop root here, even without its capabilities")
    except subprocess.SubprocessError:
        pytest.skip("root cannot give up its capabilities here")
    made = casme2(tmp_path / "in", 6, stray_files=False, **QUICK)
    yield made
    for path in (closed, made.frames, *(clip.folder for clip in made.clips)):
        path.chmod(0o755)


def test_frames_without_permission(lent: Fictitious, tmp_path: Path) -> None:
    out, clips = tmp_path / "out", lent.clips
    clips[1].folder.chmod(0o000)  # not to be listed
    clips[2].folder.chmod(0o444)  # to be listed, not entered
    clips[3].frame(clips[3].peak).chmod(0o000)
    done = unprivileged(command(lent, out))
    assert done.returncode == 0, done.stderr
    assert "test: 3 clips" in done.stdout and "skipped: 4" in done.stderr
    assert f"{clips[1].folder}: the folder cannot be read (Permission denied); check its permissions" in done.stderr
    assert told(lent, 1) in done.stderr
    for index, number in ((2, clips[2].numbers[0]), (3, clips[3].peak)):
        line = next(line for line in done.stderr.splitlines() if told(lent, index) in line)
        assert f"{clips[index].frame(number)} cannot be read" in line and "check its permissions" in line
    again = unprivileged(command(lent, out))
    assert "casme2: unchanged" in again.stdout and "skipped: 4" in again.stderr
    clips[3].frame(clips[3].peak).chmod(0o644)  # which changes neither its size nor its date
    mended = unprivileged(command(lent, out))
    assert "test: 4 clips" in mended.stdout and "3 clips were there already" in mended.stdout


def test_a_folder_and_a_sheet_without_permission(lent: Fictitious, tmp_path: Path) -> None:
    lent.frames.chmod(0o000)
    lent.sheet.chmod(0o000)
    done = unprivileged(command(lent, tmp_path / "out"))
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert f"{lent.sheet}: the sheet cannot be read ([Errno 13] Permission denied" in done.stderr
    assert f"{lent.frames}: the folder cannot be read (Permission denied); check its permissions" in done.stderr


def test_a_place_that_cannot_be_written(lent: Fictitious, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    done = unprivileged(command(lent, out))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"the dataset 'casme2' cannot be stored in {out} (" in done.stderr and "Permission denied" in done.stderr
    assert "choose another folder: --out" in done.stderr
    out.chmod(0o755)
    assert main(command(lent, out)) == 0
    out.chmod(0o555)  # what is prepared may be looked at where nothing can be written
    done = unprivileged(command(lent, out))
    assert done.returncode == 0 and "casme2: unchanged" in done.stdout
    out.chmod(0o755)


def test_a_file_in_place_of_the_data_root(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "out").write_text("a file")
    assert main(command(made, tmp_path / "out")) == 1
    assert f"the dataset 'casme2' cannot be stored in {tmp_path / 'out'} (" in capsys.readouterr().err


def test_a_full_disk(tmp_path: Path) -> None:
    made = casme2(tmp_path, 12, size=(300, 300), frames=3, draw="faces")
    limit = 40 * max(clip.frame(clip.peak).stat().st_size for clip in made.clips) // 10

    def full() -> None:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails with an error, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    out = tmp_path / "out"
    done = subprocess.run(
        [str(MELLM), *command(made, out)],
        capture_output=True,
        text=True,
        preexec_fn=full,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # or modules compiled now would be cut off, for good
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"mellm: the dataset 'casme2' cannot be stored in {out / 'casme2'}: [Errno 27] " in done.stderr
    assert f"What is finished is kept for the next run in {out / '.casme2.clips'}; without one, delete" in done.stderr
    assert not (out / "casme2").exists() and not (out / ".casme2.partial").exists()
    kept = len(list((out / ".casme2.clips").glob("*.parquet")))
    assert kept and not list((out / ".casme2.clips").glob("*.part"))
    done = subprocess.run([str(MELLM), *command(made, out)], capture_output=True, text=True, check=True)
    assert f"{kept} clips were there already, and are taken over" in done.stdout
    assert not (out / ".casme2.clips").exists() and store.verify("casme2", out)["splits"]["test"]["clips"] == 12


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--workers", "0"], "--workers: expected at least one worker, found 0"),
        (["--crop", "faces"], "--crop: expected one of none, box, detector, found 'faces'"),
        (["--crop", "box"], "'box' needs a CSV of boxes, found none"),
        (["--boxes", "b.csv"], "a CSV of boxes belongs to 'box', found it with 'none'"),
    ],
)
def test_wrong_options(options: list[str], says: str, made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    assert says in refused(command(made, tmp_path / "out", *options), tmp_path / "out", capsys)


# mellm datasets ------------------------------------------------------------------------------------------------------


def test_what_is_prepared_is_listed_with_its_sheet(
    made: Fictitious, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "out"))
    assert main(["datasets"]) == 0
    assert "nothing is prepared in" in capsys.readouterr().err
    made = fictitious.label_outside(made, 2)
    assert main(["prepare", "casme2", *made.arguments]) == 0  # MELLM_DATA is where it goes without --out
    small = smic(tmp_path, 3, **QUICK)
    assert main(["prepare", "smic", *small.arguments]) == 0
    capsys.readouterr()
    assert main(["datasets", "--verify"]) == 0
    out = capsys.readouterr().out
    info = store.read_info("casme2")
    assert f"casme2  {tmp_path / 'out' / 'casme2'}\n" in out and f"frames in {made.frames}\n" in out
    assert f"sheet {made.sheet.name}, sha256 {info['sheets']['test']['sha256']}\n" in out
    assert "test: 7 clips of " in out and "CASME II 2014 sheet: 7 of 255 clips\n" in out and "skipped: 1, see " in out
    assert "SMIC HS: its folders, frames in" in out and out.count("verified: every file is as it was written") == 2
    assert main(["datasets", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["dataset"], row["skipped"], row["splits"]["test"]["clips"]) for row in rows] == [
        ("casme2", 1, 7),
        ("smic", 0, 3),
    ]
    data = store.dataset_dir("smic") / "data" / "test-00000-of-00001.parquet"
    data.write_bytes(data.read_bytes()[:-1])
    assert main(["datasets", "--verify"]) == 1
    captured = capsys.readouterr()
    assert "casme2  " in captured.out and "expected sha256" in captured.err
    assert captured.err.rstrip().endswith("mellm prepare smic --frames FOLDER --replace")


def test_the_summary_goes_through_a_pipe_and_the_rest_beside_it(made: Fictitious, tmp_path: Path) -> None:
    made = fictitious.label_outside(made, 2)
    given = command(made, tmp_path / "out", "--json")
    done = subprocess.run([str(MELLM), *given], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["splits"]["test"]["clips"] == 7


# Removed -----------------------------------------------------------------------------------------------------------


def test_datasets_are_removed_by_name(
    made: Fictitious, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "out"
    monkeypatch.setenv("MELLM_DATA", str(root))
    assert main(command(made, root)) == 0
    assert "casme2: about " in capsys.readouterr().err, "what disk is needed"
    for name, says in (
        ("casm2", "no dataset 'casm2' is prepared; there are: casme2. Did you mean 'casme2'?"),
        ("../in", "a dataset is named with lower-case letters"),
    ):
        assert main(["datasets", "--remove", name]) == 1
        assert says in capsys.readouterr().err and made.sheet.exists()
    assert main(["datasets", "--remove", "casme2"]) == 0
    assert capsys.readouterr().out.startswith(f"removed {root / 'casme2'}: 8 clips, ")
    assert store.list_prepared() == []


def test_what_clearly_does_not_fit_is_not_begun(
    made: Fictitious, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**6, 10**6 - 9000, 9000))
    error = refused(command(made, tmp_path / "out"), tmp_path / "out", capsys)
    assert "the dataset 'casme2' does not fit: about " in error and "9.0 kB are free. Free this place" in error


def test_keys_and_values_of_a_flag() -> None:
    given = ["subject=sub, no. 2,clip = material", "onset=起始 帧"]
    assert pairs(given, "--columns", COLUMNS) == {"subject": "sub, no. 2", "clip": "material", "onset": "起始 帧"}
    with pytest.raises(InputError) as refused:
        pairs(["subject", "=x", "clip=", "onset=a,onset=b"], "--columns", COLUMNS)
    assert [fault[:25] for fault in refused.value.faults[:3]] == ["expected KEY=HEADER, such"] * 3
    assert refused.value.faults[3] == "expected 'onset' once, found onset=a and onset=b"
