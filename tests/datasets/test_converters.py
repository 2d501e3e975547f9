"""Every converter, from a sheet and frames of its dataset's shape to samples, by the command that users type."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fictitious
import openpyxl
import pytest
from fictitious import Fictitious, Truth, casme2, casme3, dfme, fourdme, mmew, samm, smic

from mellm_plugin.cli import main
from mellm_plugin.datasets import store
from mellm_plugin.datasets.converters import CONVERTERS
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.datasets.sheets import read_sheet
from mellm_plugin.facs.codes import read_codes
from mellm_plugin.facs.labels import coarse

QUICK: dict[str, Any] = {"size": (40, 36), "frames": 6, "draw": "noise"}


def prepare(made: Fictitious, root: Path, *options: str) -> tuple[dict[str, Any], dict[str, Sample]]:
    as_they_are = ["--average", "0"]  # the frames
    assert main(["prepare", made.name, *made.arguments, "--out", str(root), *as_they_are, *options]) == 0
    info = store.verify(made.name, root)
    return info, {sample.id: sample for split in info["splits"] for sample in store.read(made.name, split, root)}


def id_of(made: Fictitious, clip: Truth) -> str:
    return f"{made.name}/{clip.subject}/{clip.clip}"


def check(made: Fictitious, sample: Sample, clip: Truth) -> None:
    """The sample is what stands in the sheet, as far as that can be; no more, and no less."""
    assert (sample.dataset, sample.subject, sample.clip) == (made.name, clip.subject, clip.clip)
    assert (sample.emotion, sample.coarse) == (clip.emotion, coarse(clip.emotion))
    assert (sample.fps, sample.objective_class) == (clip.fps, clip.objective)
    codes = read_codes(clip.au_code)
    assert sample.au_code == (None if clip.au_code is None else codes.text)
    assert sample.aus == (None if codes.units is None else tuple(codes.canonical() or ()))
    assert sample.onset_frame == clip.onset is not None
    assert sample.onset == clip.frame(clip.onset).read_bytes()
    assert sample.apex_frame is not None and sample.apex == clip.frame(sample.apex_frame).read_bytes()
    assert clip.offset is not None
    if clip.apex is not None and clip.onset < clip.apex <= clip.offset:
        assert (sample.apex_frame, sample.apex_source) == (clip.apex, "sheet")
    else:
        assert sample.apex_source == "spotted" and clip.onset < sample.apex_frame <= clip.numbers[-1]
    assert sample.offset_frame == min(clip.offset, clip.numbers[-1])


SHAPES: dict[str, tuple[Callable[..., Fictitious], dict[str, Any]]] = {
    "casme2 2014 raw": (casme2, {}),
    "casme2 2019 cropped": (casme2, {"sheet": "2019", "layout": "cropped", "empty_columns": False}),
    "casme2 integers, no apex": (casme2, {"subject_as": "integer", "without_apex": 4}),
    "samm": (samm, {}),
    "samm cleaned": (samm, {"preamble": False, "subject_as": "integer"}),
    "smic": (smic, {}),
    "smic cropped s01": (smic, {"layout": "cropped", "subject_style": "s01"}),
    "smic with a sheet": (smic, {"community_sheet": True}),
    "smic_vis": (smic, {"part": "VIS"}),
    "smic_nir cropped": (smic, {"part": "NIR", "layout": "cropped"}),
    "casme3 clips": (casme3, {}),
    "casme3 color": (casme3, {"layout": "color"}),
    "dfme": (dfme, {}),
    "mmew": (mmew, {}),
    "mmew repression": (mmew, {"repression_folder": "repression"}),
    "fourdme": (fourdme, {}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_clip_is_what_its_sheet_and_frames_say(shape: str, tmp_path: Path) -> None:
    write, options = SHAPES[shape]
    made = write(tmp_path, 12, **options, **QUICK)
    info, samples = prepare(made, tmp_path / "out")
    assert info["skipped"] == []
    expected = [id_of(made, clip) for clip in made.clips]
    # in the order of the sheet; without one, in that of the subjects and names
    assert list(samples) == (expected if made.sheets else sorted(expected))
    for clip in made.clips:
        check(made, samples[id_of(made, clip)], clip)
    recorded = {split: (sheet["file"], sheet["sha256"]) for split, sheet in info["sheets"].items()}
    written = {
        split: (path.name, read_sheet(path, CONVERTERS[made.name].columns).sha256)
        for split, path in made.sheets.items()
    }
    assert recorded == written
    assert {split: entry["clips"] for split, entry in info["splits"].items()} == {
        split: sum(clip.split == split for clip in made.clips) for split in {clip.split for clip in made.clips}
    }


@pytest.mark.parametrize(
    ("write", "options", "said"),
    [
        (casme2, {}, "CASME II 2014 sheet: 255 of 255 clips"),
        (casme2, {"sheet": "2019"}, "CASME II 2019 sheet: 255 of 255 clips"),
        (samm, {}, "SAMM: 159 of 159 clips"),
        (smic, {}, "SMIC HS: 164 of 164 clips"),
        (smic, {"part": "VIS"}, "SMIC VIS: 71 of 71 clips"),
    ],
)
def test_at_the_published_numbers_nothing_differs(
    write: Callable[..., Fictitious],
    options: dict[str, Any],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = write(tmp_path, size=(32, 32), frames=3, draw="noise", **options)
    prepare(made, tmp_path / "out", "--workers", "2")
    out = capsys.readouterr().out
    assert f"\n  {said}\n" in out and ", published " not in out


def test_what_differs_from_the_published_counts_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(casme2(tmp_path, 7, **QUICK), tmp_path / "out")
    out = capsys.readouterr().out
    assert "CASME II 2014 sheet: 7 of 255 clips\n" in out and "subjects: 4, published 26\n" in out
    assert "disgust: 2, published 63\n" in out and "others: 1, published 99\n" in out


def test_casme2_known_errors_are_corrected_or_left(tmp_path: Path) -> None:
    made = casme2(tmp_path, 62, **QUICK)
    wrong = made.clips[60]
    assert wrong.row == 62 and wrong.offset == 96 and wrong.numbers[-1] == 91
    info, samples = prepare(made, tmp_path / "out")
    assert samples[id_of(made, wrong)].offset_frame == 91
    (record,) = info["corrections"]
    assert (record["id"], record["field"], record["old"], record["new"]) == (id_of(made, wrong), "offset", "96", "last")
    assert "row 62" in record["reason"]
    info, samples = prepare(made, tmp_path / "plain", "--no-corrections")
    assert info["corrections"] == [] and samples[id_of(made, wrong)].offset_frame is None
    (note,) = info["notes"][id_of(made, wrong)]
    assert note.startswith("offset: frame 96 is not in the folder (86..91 (6 frames))")


def test_an_apex_that_is_not_between_onset_and_offset_is_spotted(tmp_path: Path) -> None:
    """With `--no-corrections` as well."""
    made = casme2(tmp_path, 6, **QUICK)
    cases = {"onset": "is not after the onset", "before": "is not after the onset", "late": "is after the offset"}
    wrong = dict(zip(cases, made.clips[2:5], strict=True))
    for number, (kind, clip) in enumerate(wrong.items(), start=2):
        assert clip.onset is not None and clip.offset is not None
        apex = {"onset": clip.onset, "before": max(0, clip.onset - 3), "late": clip.offset}[kind]
        if kind == "late":
            made = fictitious.cell(made, number, "offset", clip.offset - 1)
        made = fictitious.cell(made, number, "apex", apex)
    info, samples = prepare(made, tmp_path / "out", "--no-corrections")
    for kind, clip in wrong.items():
        sample = samples[id_of(made, clip)]
        assert sample.apex_source == "spotted" and cases[kind] in info["notes"][id_of(made, clip)][0]
        assert sample.apex_frame is not None and (clip.onset or 0) < sample.apex_frame <= (clip.offset or 0)


def test_casme3_known_errors_of_its_sheet(tmp_path: Path) -> None:
    made = casme3(tmp_path, frames=3, size=(32, 32), draw="noise")
    rows = openpyxl.load_workbook(made.sheet)
    for row in range(rows.worksheets[0].max_row, 1, -1):  # the subject's rows alone
        if rows.worksheets[0].cell(row, 1).value not in ("spNO.14", "spNO.216"):
            rows.worksheets[0].delete_rows(row)
    rows.save(made.sheet)
    info, samples = prepare(made, tmp_path / "out")
    clips = [clip for clip in made.clips if clip.subject in ("spNO.14", "spNO.216")]
    assert list(samples) == [id_of(made, clip) for clip in clips] and info["skipped"] == []
    assert samples["casme3/spNO.216/d_2647"].onset_frame == 2647 and samples["casme3/spNO.216/e_1"].onset_frame == 1
    assert any(clip.clip.startswith("j_") and "_J_" in clip.folder.name for clip in clips)
    assert [(record["id"], record["old"], record["new"]) for record in info["corrections"]] == [
        ("casme3/spNO.216/d_2647", "3647", "2647"), ("casme3/spNO.216/e_1", "0", "1"),
    ]  # fmt: skip
    info, samples = prepare(made, tmp_path / "plain", "--no-corrections")
    (onset, zero) = info["skipped"]
    assert onset["id"] == "casme3/spNO.216/d_3647" and onset["reasons"][0].startswith(
        "onset: frame 3647 lies behind the apex 26"
    )
    assert zero["id"] == "casme3/spNO.216/e_0" and "the nearest is" in zero["reasons"][0]


def test_dfme_finds_the_split_in_the_name_of_the_sheet(tmp_path: Path) -> None:
    made = dfme(tmp_path, 14, **QUICK)
    sheets = [str(path) for path in made.sheets.values()]  # DFME_train.xlsx, DFME_test_a.xlsx, DFME_test_b.xlsx
    given = ["prepare", "dfme", "--frames", str(made.frames), "--out", str(tmp_path / "out")]
    assert main([*given, "--sheet", *sheets]) == 0
    together = store.read_info("dfme", tmp_path / "out")["splits"]
    assert {split: entry["clips"] for split, entry in together.items()} == {"train": 8, "test_a": 3, "test_b": 3}
    assert main([*given, "--sheet", sheets[1], "--replace"]) == 0  # one alone
    assert list(store.read_info("dfme", tmp_path / "out")["splits"]) == ["test_a"]


def test_dfme_sheets_without_a_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = dfme(tmp_path, 14, **QUICK)
    given = ["prepare", "dfme", "--frames", str(made.frames), "--out", str(tmp_path / "out")]
    odd = made.sheets["train"].rename(tmp_path / "a=b.xlsx")
    assert main([*given, "--sheet", str(odd)]) == 1
    assert f"expected SPLIT={odd} with one of train, test_a, test_b" in capsys.readouterr().err
    twice = ["--sheet", f"test_a={made.sheets['test_a']}", "--sheet", str(made.sheets["test_a"])]
    assert main([*given, *twice]) == 1
    assert "expected one sheet for test_a" in capsys.readouterr().err
    assert main([*given, "--sheet", f"train={odd}"]) == 0
    assert not (tmp_path / "out" / "dfme" / "data" / "test-00000-of-00001.parquet").exists()


def test_dfme_label_and_number_must_agree(tmp_path: Path) -> None:
    made = fictitious.cell(dfme(tmp_path, 14, **QUICK), 2, "EmotionId", 6)
    info, samples = prepare(made, tmp_path / "out")
    assert len(samples) == 13
    (skipped,) = info["skipped"]
    assert skipped["where"] == f"DFME_train.xlsx, row {made.clips[2].row}"
    assert skipped["reasons"] == ["expected Emotion and EmotionId to agree, found happiness and 6; correct the row"]


def test_a_clip_in_two_splits_is_in_none(tmp_path: Path) -> None:
    made = dfme(tmp_path, 14, **QUICK)
    clip, row = made.clips[0], made.clips[9]
    for column, value in (("Subject", clip.subject), ("Filename", clip.clip)):
        fictitious.cell(made, row.number, column, value)
    info, samples = prepare(made, tmp_path / "out")
    assert len(samples) == 12 and {skipped["id"] for skipped in info["skipped"]} == {id_of(made, clip)}
    assert "DFME_train.xlsx, row 2 and DFME_test_a.xlsx, row 3 are one clip" in info["skipped"][0]["reasons"][0]


def test_smic_sheet_must_say_what_the_names_say(tmp_path: Path) -> None:
    made = smic(tmp_path, 9, community_sheet=True, **QUICK)
    clip = made.clips[1]
    wrong = {"negative": 1, "positive": 2, "surprise": 0}[clip.emotion]
    info, samples = prepare(fictitious.cell(made, 1, "label", wrong), tmp_path / "out")
    assert len(samples) == 8
    (skipped,) = info["skipped"]
    assert skipped["reasons"] == [f"label: expected {clip.emotion} of {clip.clip}, found '{wrong}'; correct the row"]


UNITS: list[tuple[Any, tuple[str, ...] | None, str]] = [  # the cell, the units read, and what is reported of the rest
    (12, ("12",), ""),
    (12.0, ("12",), ""),
    ("1+2，4", ("1", "2", "4"), ""),
    ("A1B+A2C", ("A1B", "A2C"), ""),
    ("(R6 or R12)+R15", ("R6/R12", "R15"), ""),
    (None, None, ""),
    ("4(k)+R12+15", ("R12", "15"), ""),  # kept from before the clip, so no event of it
    ("R14+17+soft focus", ("R14", "17"), "unread: soft focus"),
    ("R14+17+4?", None, "unread: 4?"),
    ("R14+17+?", None, "unread: ?"),
    ("4+80", ("4",), "80 is swallow, which is no unit"),
]


def test_cells_of_units(tmp_path: Path) -> None:
    made = samm(tmp_path, len(UNITS), **QUICK)
    for index, (cell, _, _) in enumerate(UNITS):
        fictitious.cell(made, index, "Action Units", cell)
    info, samples = prepare(made, tmp_path / "out")
    assert info["skipped"] == []
    for clip, (cell, units, rest) in zip(made.clips, UNITS, strict=True):
        name = id_of(made, clip)
        assert samples[name].aus == units and (samples[name].au_code is None) == (cell is None), cell
        what, _, part = rest.partition("unread: ")
        assert (name in info["unread_codes"]) == bool(part) and part in str(info["unread_codes"].get(name))
        assert what in str(info["notes"].get(name))


def test_a_csv_does_as_well(tmp_path: Path) -> None:
    made = samm(tmp_path, 12, **QUICK)
    _, of_workbook = prepare(made, tmp_path / "out")
    _, of_csv = prepare(fictitious.as_csv(made), tmp_path / "csv")
    assert of_csv == of_workbook


def test_one_crop_for_the_whole_clip(tmp_path: Path) -> None:
    made = casme2(tmp_path, 6, size=(64, 48), frames=6, draw="noise")
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "id,left,top,right,bottom\n" + "".join(f"{id_of(made, clip)},4,6,44,46\n" for clip in made.clips[1:])
    )
    info, samples = prepare(made, tmp_path / "out", "--crop", "box", "--boxes", str(boxes))
    assert len(samples) == 5 and info["crop"]["crop"] == "box"
    (skipped,) = info["skipped"]
    assert skipped["id"] == id_of(made, made.clips[0]) and "no box for this clip" in skipped["reasons"][0]
    for sample in samples.values():
        assert sample.onset.startswith(b"\x89PNG") and sample.apex.startswith(b"\x89PNG")


def test_smic_class_is_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = fictitious.smic(tmp_path, 3, draw="noise", size=(64, 64), frames=4)
    clip = next(clip for clip in made.clips if clip.emotion == "negative")
    wrong = clip.folder.parents[1] / "positive" / clip.clip
    wrong.parent.mkdir(exist_ok=True)
    clip.folder.rename(wrong)
    assert main(["prepare", "smic", *made.arguments, "--out", str(tmp_path / "out")]) == 0
    assert f"expected a negative clip by its name, found it in the folder {wrong.parent}" in capsys.readouterr().err
    assert store.read_info("smic", tmp_path / "out")["splits"]["test"]["clips"] == 2


def test_smic_recordings_are_read_by_a_sheet_that_says_the_onset(tmp_path: Path) -> None:
    """The folders of `HS_long` go on before and behind the clip."""
    made = smic(tmp_path, 9, community_sheet=True, subject_style="s01", **QUICK)
    (made.frames / "HS").rename(made.frames / "HS_long")
    _, samples = prepare(made, tmp_path / "out")
    assert [sample.onset_frame for sample in samples.values()] == [clip.onset for clip in made.clips]
    bare = ["prepare", "smic", "--frames", str(made.frames), "--out", str(tmp_path / "bare")]
    assert main(bare) == 1, "without one the first frame is not the onset"


def _moved(made: Fictitious, form: str) -> Fictitious:
    """The clips' folders elsewhere; `form` with `{number}`, `{subject}` and `{clip}`."""
    root = made.frames.parent / "elsewhere"
    for clip in made.clips:
        digits = int("".join(c for c in clip.subject if c.isdigit()))
        to = root / form.format(number=digits, subject=clip.subject, clip=clip.folder.name)
        to.parent.mkdir(parents=True, exist_ok=True)
        clip.folder.rename(to)
    return fictitious.replace(made, frames=root)


@pytest.mark.parametrize(
    ("name", "form"),
    [("casme2", "{number}/{clip}"), ("casme2", "a/2/raw/Subject {number:03d}/x/{clip}"),
     ("casme2", "2/sub{number}-{clip}"), ("casme2", "{subject}/{clip}/frames"), ("samm", "samm_{clip}"),
     ("smic", "micro/{clip}/aligned"), ("dfme", "train/{clip}"), ("mmew", "{clip}"),
     ("fourdme", "p{number}/{clip}"), ("casme3", "partA_{clip}")],
)  # fmt: skip
def test_clips_are_found_in_any_layout(name: str, form: str, tmp_path: Path) -> None:
    options = {"community_sheet": True} if name == "smic" else {}
    made = _moved(fictitious.WRITERS[name](tmp_path, 6, **options, **QUICK), form)
    info, samples = prepare(made, tmp_path / "out")
    assert info["skipped"] == [] and len(samples) == 6


def test_a_folder_that_is_called_like_another_subject_is_not_taken(tmp_path: Path) -> None:
    """Subjects of CASME II share names of clips: a folder above called `1` is no subject where there is a `sub02`."""
    made = casme2(tmp_path / "1" / "CASME1", 12, **QUICK)
    gone = made.clips[0]
    assert gone.subject == "sub01"
    shutil.move(gone.folder, made.clips[-1].folder.parent / gone.clip)
    info, samples = prepare(made, tmp_path / "out")
    assert [skipped["id"] for skipped in info["skipped"]] == [id_of(made, gone)] and len(samples) == 11


@pytest.mark.parametrize(
    ("name", "column", "cells", "says"),
    [("samm", "au_code", "smile", "'smile': it holds no number"), ("casme2", "emotion", "5", "found '5'"),
     ("casme2", "onset", "img46.jpg", "expected a whole number, found 'img46.jpg'")],
)  # fmt: skip
def test_a_column_that_cannot_be_read_is_one_fault(
    name: str, column: str, cells: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = fictitious.WRITERS[name](tmp_path, 10, **QUICK)
    for index in range(10):
        fictitious.cell(made, index, column, cells)
    assert main(["prepare", name, *made.arguments, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "cannot be read, in not one of 10 rows; is it another one?" in error and says in error
    assert len(error.strip().splitlines()) == 1 and not (tmp_path / "out" / name).exists()


def test_without_an_offset_the_apex_is_looked_for_in_half_a_second(tmp_path: Path) -> None:
    """A recording goes on with other expressions (CAS(ME)^3's `color` folders)."""
    made = fictitious.casme3(tmp_path, 2, layout="color", draw="noise", size=(64, 64), frames=40)
    for index in range(2):
        made = fictitious.cell(fictitious.cell(made, index, "Apex", None), index, "Offset", None)
    assert main(["prepare", "casme3", *made.arguments, "--out", str(tmp_path / "out")]) == 0
    for sample in store.read("casme3", "test", tmp_path / "out"):
        assert sample.onset_frame is not None and sample.apex_frame is not None
        assert sample.onset_frame < sample.apex_frame <= sample.onset_frame + 15
