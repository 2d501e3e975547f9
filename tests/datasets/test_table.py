"""A table of clips becomes a prepared dataset: what is read, what is refused, and what happens at the second time."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.datasets import store, table
from mellm_plugin.datasets.catalogue import KNOWN
from mellm_plugin.datasets.synthme import Face, draw_clip
from mellm_plugin.errors import InputError

HEADER = ("id", "subject", "onset", "apex", "emotion", "aus")


def frame(path: Path, seed: int = 0, size: tuple[int, int] = (40, 48)) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, size, np.uint8))
    return path.name


def written(
    folder: Path, rows: Sequence[Sequence[Any]], header: Sequence[str] = HEADER, name: str = "clips.csv"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return folder / name


def clips(folder: Path, count: int = 3) -> list[list[str]]:
    """Rows of clips without a fault, with their frames."""
    labels = ("happiness", "surprise", "disgust")
    rows = []
    for n in range(count):
        for k, name in enumerate(("onset", "apex")):
            frame(folder / f"c{n}" / f"{name}.png", 2 * n + k)
        rows.append([f"c{n}", f"p{n % 2}", f"c{n}/onset.png", f"c{n}/apex.png", labels[n % 3], "6+12"])
    return rows


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "root"))
    return tmp_path / "root"


def samples(name: str) -> list[Any]:
    return list(store.read(name, "test"))


# ---- what is read ---------------------------------------------------------------------------------------------------


def test_a_clip_is_what_its_row_says(tmp_path: Path) -> None:
    rows = clips(tmp_path, 1)
    header = [*HEADER, "Objective Class", "fps", "notes"]
    report = table.prepare(written(tmp_path, [[*rows[0], "II", "200", "well lit"]], header), "mydata")
    assert report.info["skipped"] == [] and report.info["source"].startswith("mydata: clips.csv, frames in ")
    (sample,) = samples("mydata")
    assert (sample.id, sample.dataset, sample.subject, sample.clip) == ("mydata/p0/c0", "mydata", "p0", "c0")
    assert sample.onset == (tmp_path / "c0/onset.png").read_bytes()
    assert sample.apex == (tmp_path / "c0/apex.png").read_bytes()
    assert (sample.aus, sample.emotion, sample.coarse) == (("6", "12"), "happiness", "positive")
    assert (sample.objective_class, sample.fps, sample.apex_source) == (2, 200.0, "sheet")


def test_what_is_empty_or_absent_is_not_known(tmp_path: Path) -> None:
    rows = clips(tmp_path)
    for row, emotion, aus in zip(rows, ("", "n/a", "-"), ("", "nan", "?"), strict=True):
        row[4:] = [emotion, aus]
    table.prepare(written(tmp_path, rows), "mydata")
    assert [(s.emotion, s.aus) for s in samples("mydata")] == [(None, None)] * 3
    table.prepare(written(tmp_path, [row[:4] for row in rows], HEADER[:4], "short.csv"), "short")
    assert [(s.emotion, s.au_code) for s in samples("short")] == [(None, None)] * 3


def test_labels_are_canonical_or_lower_case_and_no_unit_is_known(tmp_path: Path) -> None:
    rows = [
        [*row[:4], label, "0"] for row, label in zip(clips(tmp_path), ("Happy", " Other ", "Tense  Smile"), strict=True)
    ]
    table.prepare(written(tmp_path, rows), "mydata")
    assert [(s.emotion, s.aus) for s in samples("mydata")] == [("happiness", ()), ("others", ()), ("tense smile", ())]


def test_paths_may_be_absolute_or_have_backslashes_and_spaces(tmp_path: Path) -> None:
    far = tmp_path / "far away"
    frame(far / "two  spaces.png", 1), frame(far / "b.png", 2), frame(tmp_path / "in" / "a.png", 3)
    rows = [
        ["1", "7", str(far / "two  spaces.png"), str(far / "b.png"), "", ""],
        ["2", "7", "a.png", "..\\far away\\b.png", "", ""],
    ]
    table.prepare(written(tmp_path / "in", rows), "mydata")
    assert [s.apex for s in samples("mydata")] == [(far / "b.png").read_bytes()] * 2


def test_a_workbook_is_read_too(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(HEADER)
    for n, row in enumerate(clips(tmp_path)):
        book.active.append([n + 1, 7, *row[2:5], 12])
    book.save(tmp_path / "clips.xlsx")
    table.prepare(tmp_path / "clips.xlsx", "mydata")
    assert [(s.id, s.aus) for s in samples("mydata")] == [(f"mydata/7/{n}", ("12",)) for n in (1, 2, 3)]


def test_the_apex_is_looked_for_behind_the_onset(tmp_path: Path) -> None:
    drawn = [draw_clip(Face(1), np.random.default_rng(1), ("12",), 2.5 * a, head=0) for a in (0.3, 1.0, 0.5)]
    folder = tmp_path / "film"
    folder.mkdir()
    for n, picture in enumerate([drawn[0].onset, *(clip.apex for clip in drawn)], start=8):  # 8, 9, 10, 11
        cv2.imwrite(str(folder / f"img{n}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    table.prepare(written(tmp_path, [["c1", "p1", "film/img8.png", "", "happiness", "12"]]), "mydata")
    (sample,) = samples("mydata")
    assert (sample.apex_frame, sample.apex_source) == (10, "spotted")
    assert sample.apex == (folder / "img10.png").read_bytes()


# ---- what is refused ------------------------------------------------------------------------------------------------


def test_all_faults_of_all_rows_are_told_with_their_rows(tmp_path: Path) -> None:
    good = clips(tmp_path)
    frame(tmp_path / "c1" / "large.png", 9, (64, 64))
    (tmp_path / "c1" / "cut.png").write_bytes((tmp_path / "c1" / "apex.png").read_bytes()[:700])
    frame(tmp_path / "flat" / "a_1.png"), frame(tmp_path / "flat" / "b_1.png")
    pair = ["c0/onset.png", "c0/apex.png"]
    rows = [
        *good,
        ["a/b", "", "", "o" * 300 + ".png", "", ""],
        ["x5", "p1", "c0/absent.png", "c0/apex.png", "none", ""],
        ["x6", "p1", "c0/absent.png", "c0/apex.png", "", ""],
        ["x7", "p1", "c0/onset.png", "c0/onset.png", "", ""],
        ["x8", "p1", "c1/onset.png", "c1/large.png", "", ""],
        ["x9", "p1", "c1/onset.png", "c1/cut.png", "", ""],
        ["twice", "p1", *pair, "", ""],
        ["Twice", "p2", *pair, "", ""],
        ["x12", "p1", "flat/a_1.png", "", "", ""],
        ["x13", "p1", "flat/b_1.png", "", "", ""],
        ["x14", "p1", "c0", "c0/apex.png", "", ""],
    ]
    file = written(tmp_path, rows)
    report = table.prepare(file, "mydata")
    assert [s.clip for s in samples("mydata")] == ["c0", "c1", "c2"], "good clips are kept"
    told = {skipped["where"]: "; ".join(skipped["reasons"]) for skipped in report.info["skipped"]}
    assert set(told) == {f"clips.csv, row {n}" for n in range(5, 16)}
    for row, *parts in (
        (
            5,
            "subject: expected a text",
            "found 'a/b' with '/'",
            "onset: expected the path of an image",
            "File name too",
        ),
        (6, "onset: there is no file", "emotion: expected a label, found 'none'"),
        (7, "onset: there is no file", "absent.png", "relative to the folder"),
        (8, "apex: expected another frame than the onset"),
        (9, "expected frames of one size", "48x40", "64x64"),
        (10, "cut.png"),
        (11, "found 'twice' in the rows 11, 12"),
        (12, "found 'Twice' in the rows 11, 12"),
        (13, "the onset of row 14 is, too; name the apex"),
        (14, "the onset of row 13 is, too"),
        (15, "onset: ", "c0 is a folder; name the image in it"),
    ):
        assert all(part in told[f"clips.csv, row {row}"] for part in parts), told[f"clips.csv, row {row}"]
    with pytest.raises(InputError) as strict:
        table.prepare(file, "strict", strict=True)
    assert not store.is_prepared("strict") and len(strict.value.faults) >= 10
    twice = [fault for fault in strict.value.faults if "expected each id once" in fault]
    assert len(twice) == 1 and twice[0].startswith("clips.csv, rows 11, 12 (here row 11): id: "), "a line for a cause"


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (r"C:\Users\me\img46.jpg", "is a path of a Windows computer, which is not there on this one; write paths rel"),
        (r"\\server\share\img46.jpg", "is a path of a Windows computer"),
        ("46.0", "found the frame number '46.0'"),
        ("https://x.org/a.jpg", "found the address 'https://x.org/a.jpg'; fetch the file and name it"),
        ("c0", "c0 is a folder; name the image in it"),
    ],
)
def test_what_is_no_path_of_an_image_is_told_as_such(tmp_path: Path, cell: str, says: str) -> None:
    (row,) = clips(tmp_path, 1)
    rows = [row, *([f"x{n}", "p", cell, row[3], "", ""] for n in range(40))]
    with pytest.raises(InputError) as refused:
        table.prepare(written(tmp_path, rows), "mydata", strict=True)
    (fault,) = refused.value.faults
    assert says in fault and fault.startswith("clips.csv, rows 3-42 (here row 3): onset: ")
    assert "coding sheet" not in str(refused.value)


def test_a_file_whose_name_is_a_number_is_one(tmp_path: Path) -> None:
    (row,) = clips(tmp_path, 1)
    (tmp_path / "46").write_bytes((tmp_path / "c0/onset.png").read_bytes())
    table.prepare(written(tmp_path, [[row[0], row[1], "46", *row[3:]]]), "mydata")
    assert len(samples("mydata")) == 1


def test_a_folder_of_several_clips_is_one_however_it_is_named(tmp_path: Path) -> None:
    for n in (1, 2, 10, 11):
        frame(tmp_path / "seq" / f"img{n}.png", n)
    (tmp_path / "linked").symlink_to("seq")
    rows = [["a", "p1", "seq/img1.png", "", "", ""], ["b", "p1", "linked/../linked/img10.png", "", "", ""]]
    with pytest.raises(InputError) as refused:
        table.prepare(written(tmp_path, rows), "mydata")
    (fault,) = refused.value.faults
    assert fault.startswith("clips.csv, rows 2, 3 (here row 2): apex: it would be looked for among the frames in ")


@pytest.mark.parametrize("name", [*KNOWN, "synthme-v1", "My Data", ""])
def test_names_that_are_taken_or_none_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        table.prepare(written(tmp_path, clips(tmp_path)), name)


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00\r\n"), max_size=12)


@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.tuples(*[TEXT] * 6), min_size=1, max_size=4))
def test_no_row_is_lost_whatever_is_in_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (good,) = clips(folder, 1)
    good[0] = "good-one"
    file = written(folder, [good, *(row for row in rows if any(cell.strip() for cell in row))])
    try:
        read = len(table.read_table(file).rows)
        report = table.prepare(file, "mydata", root=folder / "root")
    except InputError as error:  # such as a quotation mark that the delimiter's guess depends on
        assert str(folder) in str(error)
    else:
        assert report.info["splits"]["test"]["clips"] + len(report.info["skipped"]) == read


# ---- no preparation -------------------------------------------------------------------------------------------------


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> list[str]:
    monkeypatch.setattr(table, "_warned", set())
    return log


def when(name: str) -> int:
    return (store.dataset_dir(name) / "info.json").stat().st_mtime_ns


def test_a_table_is_prepared_at_its_first_use_and_when_anything_changed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], warned: list[str]
) -> None:
    rows = clips(tmp_path)
    file = written(tmp_path, rows)
    name = table.prepared(file)
    assert name.startswith("table-clips-") and [s.id for s in samples(name)] == [
        f"clips/p{n % 2}/c{n}" for n in range(3)
    ]
    first = when(name)
    capfd.readouterr()
    assert table.prepared(file) == name and when(name) == first
    assert capfd.readouterr() == ("", "") and warned == []

    frame(tmp_path / "c1/apex.png", 77)
    assert table.prepared(file) == name and when(name) != first
    assert samples(name)[1].apex == (tmp_path / "c1/apex.png").read_bytes()
    second = when(name)
    written(tmp_path, rows[:2])
    assert table.prepared(file) == name and when(name) != second and len(samples(name)) == 2


def test_tables_of_one_name_in_two_folders_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [table.prepared(written(tmp_path / f, clips(tmp_path / f))) for f in ("a", "b")]
    assert names[0] != names[1]
    monkeypatch.chdir(tmp_path / "a")
    assert table.prepared("clips.csv") == table.prepared("../a/clips.csv") == names[0]


def test_rows_with_faults_are_warned_of_once_and_not_tried_anew(tmp_path: Path, warned: list[str]) -> None:
    rows = clips(tmp_path)
    (tmp_path / "c1/apex.png").write_bytes(b"no image")
    file = written(tmp_path, [*rows, *([f"x{n}", "p1", f"{n}.png", "b.png", "", ""] for n in range(7))])
    name = table.prepared(file)
    (text,) = warned
    assert "2 clips are evaluated, and 8 rows SKIPPED" in text and "clips.csv, rows 5-11 (here row 5)" in text
    first = when(name)
    assert table.prepared(file) == name
    assert len(warned) == 1 and when(name) == first
    frame(tmp_path / "c1/apex.png", 5)  # repaired
    table.prepared(file)
    assert len(samples(name)) == 3 and "7 rows SKIPPED" in warned[1]


def test_a_read_only_data_root_that_holds_it_is_enough(tmp_path: Path, root: Path) -> None:
    file = written(tmp_path, clips(tmp_path))
    name = table.prepared(file)
    before = sorted(path.name for path in root.iterdir())
    root.chmod(0o555)
    try:
        assert table.prepared(file) == name
    finally:
        root.chmod(0o755)
    assert sorted(path.name for path in root.iterdir()) == before


# ---- what is odd ----------------------------------------------------------------------------------------------------


def test_what_may_not_be_meant_is_told(tmp_path: Path) -> None:
    rows = clips(tmp_path, 6)
    for row, emotion in zip(rows, ("Happy", "happiness", "tense", "tens", "suprise", ""), strict=True):
        row[4] = emotion
    rows[5][2:4] = rows[0][2:4]
    header = [*HEADER[:5], "au's coded", "Emotoin"]
    told = table.oddities(table.read_table(written(tmp_path, [[*row, ""] for row in rows], header)))
    assert told == [
        'the column "au\'s coded" is not read.',
        "the column 'Emotoin' is not read.",
        "the rows 2, 7 have the same frames",
        "'Happy', 'happiness' are one label, 'happiness'",
        "the label 'tense' is in none of the known datasets. Did you mean 'tens'?",
    ]
