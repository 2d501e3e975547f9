"""`mellm prepare` as users call it: faults of their input, and what is prepared all the same."""

from __future__ import annotations

import ctypes
import io
import json
import os
import resource
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import fictitious
import numpy as np
import openpyxl
import pytest
from fictitious import Fictitious, casme2, casme3, samm, smic
from PIL import Image

from mellm_plugin.cli import main
from mellm_plugin.datasets import store
from mellm_plugin.motion.average import DEFAULT_MS, average, windows
from mellm_plugin.motion.images import read_pixels

QUICK: dict[str, Any] = {"size": (40, 36), "frames": 6, "draw": "noise"}
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def made(tmp_path: Path) -> Fictitious:
    """Eight clips of CASME II; tests break clips 1, 2, .., but never clip 0."""
    return casme2(tmp_path / "in", 8, stray_files=False, **QUICK)


def command(made: Fictitious, out: Path, *options: str) -> list[str]:
    return ["prepare", made.name, *made.arguments, "--out", str(out), *options]


def named(made: Fictitious, index: int) -> str:
    """How a message names a clip of the fictitious dataset."""
    clip = made.clips[index]
    return f"{made.sheet.name}, row {clip.row}, {made.name}/{clip.subject}/{clip.clip}: "


def refused(arguments: list[str], out: Path, capsys: Capture) -> str:
    """The message of a command that fails and leaves no dataset."""
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and not list(out.glob("*/info.json")) and not list(out.glob(".*.partial"))
    return captured.err[captured.err.index("mellm: ") :]


# Wrong clips ---------------------------------------------------------------------------------------------------------


def _file(made: Fictitious, index: int, number: int) -> Path:
    return made.clips[index].frame(number)


def _spotting(break_it: Callable[[Path], object]) -> Breaker:
    """A clip without an apex, with one broken frame in the stretch that is searched for it."""

    def broken(made: Fictitious, i: int) -> Fictitious:
        made = fictitious.apex_slash(made, i)
        break_it(made.clips[i].frame(made.clips[i].numbers[-2]))
        return made

    return broken


def _two_kinds(made: Fictitious, i: int) -> None:
    clip = made.clips[i]
    cv2.imwrite(str(clip.folder / f"img{clip.peak}.png"), np.zeros((36, 40, 3), np.uint8))


def _two_layouts(made: Fictitious, i: int) -> None:
    clip = made.clips[i]
    shutil.copytree(clip.folder, made.frames / "Cropped" / clip.subject / clip.clip)


def _cell(column: str, value: Any) -> Breaker:
    return lambda made, i: fictitious.cell(made, i, column, value)


Breaker = Callable[[Fictitious, int], Fictitious | None]
BROKEN: list[tuple[Breaker, str]] = [
    (
        lambda m, i: fictitious.cell(fictitious.frame_outside(m, i), i, "OffsetFrame", 99_999),
        "or take frame {last} by --nearest",
    ),
    (
        lambda m, i: fictitious.frame_missing(m, i, m.clips[i].onset),
        "onset: expected frame {first} in {folder}, found {second}..{last} (5 frames)",
    ),
    (_cell("OnsetFrame", None), "OnsetFrame: expected a frame number, found an empty cell; fill it in"),
    (fictitious.two_sizes, "expected frames of one size, found 40x36 in {folder}"),
    (fictitious.unreadable, "{peak_file}: not an image in a known format"),
    (lambda m, i: fictitious.unreadable(m, i, m.clips[i].onset), "{first_file}: not an image in a known format"),
    (fictitious.truncated, "{peak_file}: the image cannot be read"),
    (lambda m, i: fictitious.truncated(m, i, m.clips[i].onset), "{first_file}: the image cannot be read"),
    (lambda m, i: _file(m, i, m.clips[i].peak).write_bytes(b"") and None, "{peak_file}: "),
    (_spotting(lambda file: file.write_bytes(b"nothing")), "{late_file}: not an image in a known format"),
    (_spotting(lambda file: file.write_bytes(file.read_bytes()[:-120])), "{late_file}: the image cannot be read"),
    (
        _spotting(lambda file: cv2.imwrite(str(file), np.zeros((60, 60, 3), np.uint8))),
        "expected frames of one size, found another in {late_file}",
    ),
    (
        _cell("Estimated Emotion", "suprise"),
        "Estimated Emotion: expected one of disgust, fear, happiness, others, repression, sadness, surprise, found "
        "'suprise'; correct the cell. Did you mean 'surprise'?",
    ),
    (_cell("Estimated Emotion", "anger"), "found 'anger'"),  # a label of another dataset
    (
        fictitious.folder_empty,
        "expected frames (jpg, png, bmp, tif, with their numbers) in {folder}, found none; complete the folder",
    ),
    (
        lambda m, i: shutil.rmtree(m.clips[i].folder),
        "expected a folder of its frames below {frames}, found none; the nearest is {frames}",
    ),
    (_two_kinds, "{peak_name}.jpg, {peak_name}.png are all frame {peak}; keep the files of one"),
    (_two_layouts, "found {frames}/Cropped/{subject}/{clip} and {folder}; name the folder of one kind"),
    (_cell("OnsetFrame", 10**9), "onset: frame 1000000000 lies behind the apex {peak} and the offset {last}"),
    (_cell("OnsetFrame", -46), "OnsetFrame: expected a whole number, found '-46'; correct the cell"),
    (_cell("OffsetFrame", "about 80"), "OffsetFrame: expected a whole number, found 'about 80'"),
    (_cell("Subject", "Anna"), "a folder of its frames below {frames}, found none; the nearest is "),
    (_cell("Subject", None), "Subject: expected a text, found an empty cell; fill it in"),
    (_cell("Filename", "clip 7"), "found none; the nearest is {frames}/{subject}"),
    (
        lambda m, i: fictitious.cell(fictitious.cell(m, i, "OnsetFrame", "x"), i, "OffsetFrame", -7),
        "OnsetFrame: expected a whole number, found 'x'; correct the cell; OffsetFrame: expected a whole number, found",
    ),
]


def test_every_fault_is_reported_and_the_other_clips_are_kept(tmp_path: Path, capsys: Capture) -> None:
    """One sheet with every fault: clip 0 is sound, then each second clip has one."""
    original = casme2(tmp_path / "in", 2 * len(BROKEN) + 1, stray_files=False, **QUICK)
    made, expected = original, {}
    for i, (break_it, says) in enumerate(BROKEN):
        clip = original.clips[2 * i + 1]
        made = break_it(made, 2 * i + 1) or made
        numbers = clip.numbers
        expected[f"{made.sheet.name}, row {clip.row}"] = says.format(
            first=numbers[0], second=numbers[1], last=numbers[-1], folder=clip.folder, frames=made.frames,
            peak=clip.peak, subject=clip.subject, clip=clip.clip, first_file=clip.frame(numbers[0]),
            peak_file=clip.frame(clip.peak), peak_name=clip.frame(clip.peak).stem,
            late_file=clip.frame(numbers[-2]),
        )  # fmt: skip
    out = tmp_path / "out"
    error = refused(command(made, out, "--strict"), out, capsys)
    assert error.startswith(f"mellm: CASME II: nothing is prepared: {len(BROKEN)} faults\n")
    for where, says in expected.items():
        assert says in next(line for line in error.splitlines() if f"{where}, " in line or f"{where}: " in line)
    assert main(command(made, out)) == 0
    captured = capsys.readouterr()
    assert f"test: {len(BROKEN) + 1} clips" in captured.out and f"skipped: {len(BROKEN)}\n" in captured.err
    assert named(original, 1) in captured.err and f"and {len(BROKEN) - 20} more, see info.json" in captured.err
    info = store.verify("casme2", out)
    assert {skipped["where"] for skipped in info["skipped"]} == expected.keys()
    for skipped in info["skipped"]:
        assert expected[skipped["where"]] in "; ".join(skipped["reasons"])
    assert set(info["made_from"]) == {f"casme2/{clip.subject}/{clip.clip}" for clip in original.clips[::2]}
    assert main(command(made, out, "--strict")) == 1, "a dataset prepared with faults is not good enough either"


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
    assert f"{sheet}, row 10, {names[1]}: repeats the clip of {sheet}, row 3\n" in err
    for row in (4, 11):
        assert (
            f"{sheet}, row {row}, {names[2]}: {sheet}, row 4 and {sheet}, row 11 are one clip and say different" in err
        )


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
    for clip, number, asked in ((gap, gap.peak - 1, gap.peak), (late, late.numbers[-1], late.numbers[-1] + 1000)):
        name = f"casme2/{clip.subject}/{clip.clip}"
        assert info["notes"][name] == [f"apex: frame {number} in place of {asked}, which is missing"]
        assert by_id[name].apex_frame == number and by_id[name].apex == clip.frame(number).read_bytes()


def test_an_apex_whose_nearest_frame_is_the_onset(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    clip = made.clips[1]
    for number in clip.numbers[1:]:
        clip.frame(number).unlink()
    assert main(command(made, tmp_path / "out", "--nearest")) == 0
    assert f"apex: the frame nearest to {clip.apex} is the onset; complete {clip.folder}" in (capsys.readouterr().err)


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


def test_objective_classes(tmp_path: Path, capsys: Capture) -> None:
    made = casme2(tmp_path, 8, sheet="2019", **QUICK)
    for index, value in ((1, "IV"), (2, "vii"), (3, 4.0), (4, None), (5, "/"), (6, 8), (7, "IIX")):
        made = fictitious.cell(made, index, "Objective Classes", value)
    assert main(command(made, tmp_path / "out")) == 0
    err = capsys.readouterr().err
    for index, value in ((6, "8"), (7, "IIX")):
        says = f"Objective Classes: expected a class from 1 to 7 (or I to VII), found '{value}'; correct the cell"
        assert named(made, index) + says in err
    found = [sample.objective_class for sample in store.read("casme2", "test", tmp_path / "out")]
    assert found[1:] == [4, 7, 4, None, None]


def test_subjects_and_labels_in_other_spellings(made: Fictitious, tmp_path: Path) -> None:
    for index, spell in enumerate(("sub{:02d}", "{}", "{:03d}")):
        made = fictitious.cell(made, index, "Subject", spell.format(int(made.clips[index].subject[3:])))
    made = fictitious.cell(made, 4, "Subject", float(made.clips[4].subject[3:]))
    made = fictitious.cell(made, 5, "emotion", f"  {made.clips[5].emotion.upper()} ")
    assert main(command(made, tmp_path / "out")) == 0
    found = [(sample.subject, sample.emotion) for sample in store.read("casme2", "test", tmp_path / "out")]
    assert found == [(clip.subject, clip.emotion) for clip in made.clips]


def test_a_clip_of_another_subject(tmp_path: Path, capsys: Capture) -> None:
    made = samm(tmp_path, 8, **QUICK)
    assert main(command(fictitious.cell(made, 5, "Subject", "011"), tmp_path / "out")) == 0
    says = f"expected a clip of subject 011, found {made.clips[5].clip}; correct the row"
    assert says in capsys.readouterr().err


# Averages ------------------------------------------------------------------------------------------------------------


def _stored(out: Path, name: str) -> dict[str, Any]:
    return {sample.id: sample for sample in store.read(name, "test", out)}


def test_onset_and_apex_are_averaged_and_no_clip_is_lost(tmp_path: Path, capsys: Capture) -> None:
    """Frames that cannot be read stay out of the average, and their clip stays in."""
    made = casme2(tmp_path / "in", 4, stray_files=False, size=(96, 96), frames=40)
    out, names = tmp_path / "out", [f"casme2/{clip.subject}/{clip.clip}" for clip in made.clips]
    assert main(command(made, out, "--average", "0")) == 0
    assert "averaged" not in capsys.readouterr().out
    single = _stored(out, "casme2")
    broken, late = made.clips[1], made.clips[2]
    broken.frame(broken.peak + 1).write_bytes(b"nothing")
    cv2.imwrite(str(broken.frame(broken.peak - 1)), np.zeros((50, 50, 3), np.uint8))
    assert main(command(made, out)) == 0
    said = capsys.readouterr()
    assert "onset and apex averaged with their neighbours within 30 ms: 4 clips" in said.out
    info = store.verify("casme2", out)
    assert (info["average"], info["averaged"], info["skipped"]) == (DEFAULT_MS, {"averaged": 4}, [])
    left_out = f"averaged without {broken.frame(broken.peak - 1).name}, {broken.frame(broken.peak + 1).name}: "
    assert list(info["notes"]) == names[1:2] and info["notes"][names[1]][0].startswith(left_out)
    for clip, sample in zip(made.clips, _stored(out, "casme2").values(), strict=True):
        assert single[sample.id].apex == clip.frame(clip.peak).read_bytes() and clip.onset is not None
        both = windows(clip.onset, clip.peak, 200)
        for window, number, data in zip(both, (clip.onset, clip.peak), (sample.onset, sample.apex), strict=True):
            others = {n: clip.frame(n) for n in window if n in clip.numbers and n != number}
            if clip is broken:
                others = {n: file for n, file in others.items() if abs(n - clip.peak) != 1}
            mean, used = average(read_pixels(clip.frame(number)), map(read_pixels, others.values()))
            assert all(used) and (clip is broken or len(used) > 0)
            with Image.open(io.BytesIO(data)) as picture:
                assert picture.format == ("PNG" if used else "JPEG") and picture.mode == "RGB"
                assert (np.asarray(picture) == mean).all()
    assert main(command(made, out)) == 0
    assert "unchanged" in capsys.readouterr().out
    os.utime(late.frame(late.peak + 1), ns=(0, 0))
    assert main(command(made, out)) == 0
    assert "3 clips existed already" in capsys.readouterr().out
    assert store.read_info("casme2", out)["notes"] == info["notes"], "a note on a reused clip stays"
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("id,left,top,right,bottom\n" + "".join(f"{name},8,4,90,94\n" for name in names))
    assert main(command(made, out, "--crop", "box", "--boxes", str(boxes))) == 0
    clip, cropped = made.clips[0], read_pixels(_stored(out, "casme2")[names[0]].onset)
    there = read_pixels(clip.frame(clip.onset or 0))[4:94, 8:90]
    assert cropped.shape == there.shape and 0 < np.abs(cropped.astype(int) - there).mean() < 2


def test_why_clips_are_not_averaged(tmp_path: Path, capsys: Capture) -> None:
    kinds = {
        "its frame rate is unknown": fictitious.fourdme(tmp_path / "a", 4, **QUICK),
        "30 frames a second are too few": casme3(tmp_path / "b", 4, **QUICK),
        "there are no frames beside onset and apex": samm(tmp_path / "c", 4, **{**QUICK, "frames": 3}),
    }
    for why, made in kinds.items():
        assert main(command(made, tmp_path / "out")) == 0
        assert f"  not averaged, for {why}: " in capsys.readouterr().out
        assert list(store.read_info(made.name, tmp_path / "out")["averaged"]) == [why]
    clip = kinds["30 frames a second are too few"].clips[0]
    table = tmp_path / "clips.csv"
    table.write_text(f"id,subject,onset,apex,fps\na,s,{clip.frame(clip.onset)},{clip.frame(clip.peak)},200\n")
    assert main(["prepare", "table", "--csv", str(table), "--name", "mine", "--out", str(tmp_path / "out")]) == 0
    assert "not averaged, for its files are named one by one: 1 clip\n" in capsys.readouterr().out
    error = refused(command(made, tmp_path / "no", "--average", "500"), tmp_path / "no", capsys)
    assert "--average: expected 0 (off) to 100 ms, found 500" in error


# Wrong sheets --------------------------------------------------------------------------------------------------------


def _as(made: Fictitious, name: str, data: bytes) -> Path:
    path = made.sheet.parent / name
    path.write_bytes(data)
    return path


def _edited(edit: Callable[[Any], object]) -> Callable[[Fictitious], Path]:
    """The sheet after a change of its first worksheet."""

    def give(made: Fictitious) -> Path:
        book = openpyxl.load_workbook(made.sheet)
        edit(book.worksheets[0])
        book.save(made.sheet)
        return made.sheet

    return give


def _zipped(made: Fictitious) -> Path:
    with zipfile.ZipFile(made.sheet.with_name("sheets.zip"), "w") as archive:
        archive.write(made.sheet, made.sheet.name)
    return made.sheet.with_name("sheets.zip")


def _damaged(made: Fictitious) -> Path:
    with zipfile.ZipFile(made.sheet) as good:
        files = {name: good.read(name) for name in good.namelist()}
    files["xl/worksheets/sheet1.xml"] = files["xl/worksheets/sheet1.xml"][:400]
    with zipfile.ZipFile(made.sheet, "w") as bad:
        for name, data in files.items():
            bad.writestr(name, data)
    return made.sheet


SHEETS: dict[str, tuple[Callable[[Fictitious], Path], str]] = {
    "old Excel": (
        lambda m: _as(m, "o.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1528)),
        "this is an old Excel file (.xls)",
    ),
    "a folder": (lambda m: m.frames, "expected a sheet, .xlsx or .csv, found a folder; name the file"),
    "nothing": (lambda m: m.sheet.with_name("none.xlsx"), "there is no such file; {folder} holds CASME2-coding-2014"),
    "an empty file": (lambda m: _as(m, "e.xlsx", b""), "the file is empty; copy it again"),
    "a page": (lambda m: _as(m, "p.xlsx", b"<html>Log in"), "expected an .xlsx or .csv file, found an HTML page"),
    "a picture": (lambda m: _as(m, "p.xlsx", b"\xff\xd8\xff"), "found something else; open it in a spreadsheet"),
    "a workbook called CSV": (lambda m: _as(m, "w.csv", m.sheet.read_bytes()), "name it w.xlsx"),
    "an open quote": (lambda m: _as(m, "q.csv", b'Subject,Filename\n01,"EP'), "cannot be read as CSV"),
    "no text": (lambda m: _as(m, "t.csv", b"\xff\xfe\xff\xdf\x00"), "row 1: expected text in UTF-8, found"),
    "a zip file": (_zipped, "this is a zip file and no workbook; unzip it and name the sheet in it"),
    "a damaged workbook": (_damaged, "the workbook cannot be read ( | save it as .xlsx or .csv"),
    "the sheet of SAMM": (lambda m: samm(m.sheet.parent, 4, **QUICK).sheet, "rows of {sheet}, found none"),
    "the sheet of CAS(ME)^3": (lambda m: casme3(m.sheet.parent, 4, **QUICK).sheet, "{sheet}"),
    "missing columns": (
        _edited(lambda sheet: (sheet.cell(1, 4, "Beginning"), sheet.delete_cols(9))),
        "expected a row with the columns Subject, Filename, OnsetFrame | The nearest header (Sheet1, row 1) lacks "
        "OnsetFrame, Estimated Emotion; it has: Subject, Filename, Beginning, ",
    ),
    "a column twice": (
        _edited(lambda sheet: sheet.cell(1, 3, "onset frame")),
        "row 1: expected one column of each name, found onset frame twice; delete or rename",
    ),
    "no rows": (_edited(lambda sheet: sheet.delete_rows(2, 100)), "expected clips below the header in row 1, found no"),
}


@pytest.mark.parametrize("what", SHEETS)
def test_files_that_are_no_coding_sheet(what: str, made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    give, says = SHEETS[what]
    sheet = give(made)
    given = ["prepare", "casme2", "--frames", str(made.frames), "--sheet", str(sheet), "--out", str(tmp_path / "out")]
    error = refused(given, tmp_path / "out", capsys)
    assert str(sheet) in error
    assert all(words in error for words in says.format(sheet=sheet, folder=sheet.parent).split(" | "))


def test_renamed_columns(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    _edited(lambda sheet: sheet.cell(1, 4, "Beginning"))(made)
    assert main(command(made, tmp_path / "out", "--columns", "onset=Beginning,emotion=Action Units")) == 1
    assert "lacks Action Units; it has: " in capsys.readouterr().err, "a column has one meaning, the given one"
    error = refused(command(made, tmp_path / "out", "--columns", "onst=Beginning"), tmp_path / "out", capsys)
    assert "--columns: 'onst' is no column of it; expected subject, clip, onset, apex, offset, aus, emotion" in error


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


def test_the_frames_of_another_dataset(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    frames = samm(tmp_path, 4, **QUICK).frames
    error = refused(_frames(made, frames, tmp_path / "out"), tmp_path / "out", capsys)
    assert f"{frames}: expected a folder of frames for each of the 8 rows of {made.sheet}, found none for any" in error
    assert f"and the nearest is {frames}" in error


def test_sheet_and_folder_wrong_at_once(made: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    given = ["prepare", "casme2", "--frames", str(tmp_path / "none"), "--sheet", str(tmp_path / "none.xlsx")]
    given += ["--out", str(tmp_path / "out")]
    assert "--workers: expected at least one" in refused([*given, "--workers", "0"], tmp_path / "out", capsys)
    error = refused(given, tmp_path / "out", capsys)
    assert "2 faults" in error and "none.xlsx: there is no such file" in error and "no such folder" in error


def test_raw_and_cropped_below_one_folder(tmp_path: Path, capsys: Capture) -> None:
    raw = casme2(tmp_path / "in", 6, **QUICK)
    cropped = casme2(tmp_path / "in", 6, layout="cropped", **QUICK)
    error = refused(_frames(raw, tmp_path / "in", tmp_path / "out"), tmp_path / "out", capsys)
    assert "expected one folder of frames for each clip, found two, " in error and "(raw or cropped)" in error
    for layout in (raw, cropped):
        assert main(_frames(raw, layout.frames, tmp_path / layout.frames.name)) == 0


def test_empty_folders_of_a_dataset_without_a_sheet(tmp_path: Path, capsys: Capture) -> None:
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


def test_links_trailing_slashes_spaces_and_other_alphabets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    made = casme2(tmp_path / "微表情 数据 (копия)", 6, **QUICK)
    sheet = made.sheet.rename(made.sheet.with_name("кодировка лист 2014.xlsx"))
    (made.frames / "loop").symlink_to(made.frames)  # a circle
    (made.frames / "sub01 again").symlink_to(made.clips[0].folder.parent)  # a second name
    (made.clips[0].folder / "img99999.jpg").symlink_to("nowhere")
    (tmp_path / "link").symlink_to(made.frames)
    monkeypatch.chdir(tmp_path)
    given = ["prepare", "casme2", "--sheet", str(sheet), "--out", "out", "--strict", "--json", "--frames"]
    unchanged = {f"{made.frames}/": False, str(made.frames): True, os.path.relpath(made.frames): True, "link/": False}
    for frames, expected in unchanged.items():
        assert main([*given, frames]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["unchanged"] == expected and report["folder"] == str(tmp_path / "out" / "casme2")
        assert report["sheets"]["test"]["file"] == sheet.name
    assert store.verify("casme2", tmp_path / "out")["splits"]["test"]["clips"] == 6


# Places that cannot be read or written -------------------------------------------------------------------------------


def _drop_capabilities() -> None:
    """In this thread and those that it starts, root may no longer ignore permissions."""
    if os.geteuid() != 0:
        return
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.capget(header, data)
    for kind in (0, 1):  # effective, permitted
        data[kind] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    libc.capset(header, data)


def unprivileged(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's value, called by a user whom permissions stop."""
    with ThreadPoolExecutor(1, initializer=_drop_capabilities) as pool:
        return pool.submit(function, *arguments).result()


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Fictitious]:
    """Six clips whose permissions a test may change."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    with suppress(PermissionError):
        unprivileged(os.listdir, closed)
        pytest.skip("permissions do not stop this user")
    made = casme2(tmp_path / "in", 6, stray_files=False, **QUICK)
    yield made
    for path in (closed, made.frames, *(clip.folder for clip in made.clips)):
        path.chmod(0o755)


def test_frames_without_permission(lent: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    out, clips = tmp_path / "out", lent.clips
    clips[1].folder.chmod(0o000)  # cannot be listed
    clips[2].folder.chmod(0o444)  # can be listed, but not entered
    clips[3].frame(clips[3].peak).chmod(0o000)
    assert unprivileged(main, command(lent, out)) == 0
    done = capsys.readouterr()
    assert "test: 3 clips" in done.out and "skipped: 4" in done.err
    assert f"{clips[1].folder}: the folder cannot be read (Permission denied); check its permissions" in done.err
    assert named(lent, 1) in done.err
    for index, number in ((2, clips[2].numbers[0]), (3, clips[3].peak)):
        line = next(line for line in done.err.splitlines() if named(lent, index) in line)
        assert f"{clips[index].frame(number)} cannot be read" in line and "check its permissions" in line
    assert unprivileged(main, command(lent, out)) == 0
    again = capsys.readouterr()
    assert "casme2: unchanged" in again.out and "skipped: 4" in again.err
    clips[3].frame(clips[3].peak).chmod(0o644)  # changes neither its size nor its date
    assert unprivileged(main, command(lent, out)) == 0
    mended = capsys.readouterr().out
    assert "test: 4 clips" in mended and "3 clips existed already" in mended


def test_a_folder_and_a_sheet_without_permission(lent: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    lent.frames.chmod(0o000)
    lent.sheet.chmod(0o000)
    error = unprivileged(refused, command(lent, tmp_path / "out"), tmp_path / "out", capsys)
    assert f"{lent.sheet}: the sheet cannot be read ([Errno 13] Permission denied" in error
    assert f"{lent.frames}: the folder cannot be read (Permission denied); check its permissions" in error


def test_a_place_that_cannot_be_written(lent: Fictitious, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    error = unprivileged(refused, command(lent, out), out, capsys)
    assert f"the dataset 'casme2' cannot be stored in {out} (" in error and "Permission denied" in error
    assert "choose another folder: --out" in error
    out.chmod(0o755)
    assert main(command(lent, out)) == 0
    out.chmod(0o555)  # a prepared dataset can be checked where nothing can be written
    assert unprivileged(main, command(lent, out)) == 0
    assert "casme2: unchanged" in capsys.readouterr().out
    out.chmod(0o755)
    (tmp_path / "file").write_text("a file")
    assert main(command(lent, tmp_path / "file")) == 1
    assert f"the dataset 'casme2' cannot be stored in {tmp_path / 'file'} (" in capsys.readouterr().err


def test_a_full_disk(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    made = casme2(tmp_path, 12, size=(300, 300), frames=3, draw="faces")
    limit = 40 * max(clip.frame(clip.peak).stat().st_size for clip in made.clips) // 10
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a module compiled now would be cut off
    out, limits = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))  # writing more fails, as on a full disk
    try:
        assert main(command(made, out)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    error = capsys.readouterr().err
    assert f"mellm: the dataset 'casme2' cannot be stored in {out / 'casme2'}: [Errno 27] " in error
    assert f"Finished clips are kept for the next run in {out / '.casme2.clips'}; delete" in error
    assert not (out / "casme2").exists() and not (out / ".casme2.partial").exists()
    kept = len(list((out / ".casme2.clips").glob("*.parquet")))
    assert kept and not list((out / ".casme2.clips").glob("*.part"))
    assert main(command(made, out)) == 0
    assert f"{kept} clips existed already and are reused" in capsys.readouterr().out
    assert not (out / ".casme2.clips").exists() and store.verify("casme2", out)["splits"]["test"]["clips"] == 12
