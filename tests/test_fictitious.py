"""The fictitious datasets: published counts, the real ones' oddities, and frames that show what the codes say."""

from __future__ import annotations

import csv
import re
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import fictitious
import numpy as np
import openpyxl
import pytest
from fictitious import Fictitious, Truth, casme2, casme3, dfme, fourdme, mmew, samm, smic
from PIL import Image

from mellm_plugin.datasets import megc2019
from mellm_plugin.datasets.synthme import AUS, displacement
from mellm_plugin.facs.codes import read_codes
from mellm_plugin.facs.labels import canonical_label, coarse
from mellm_plugin.motion.apex import spot
from mellm_plugin.motion.facial import facial_flow

QUICK: dict[str, Any] = {"draw": "noise", "size": (16, 16), "frames": 3}

PUBLISHED: dict[str, tuple[dict[str, int], int]] = {
    "casme2": (
        {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2},
        26,
    ),
    "samm": (
        {
            **{"anger": 57, "happiness": 26, "others": 26, "surprise": 15, "contempt": 12, "disgust": 9, "fear": 8},
            "sadness": 6,
        },
        29,
    ),
    "smic": ({"negative": 70, "positive": 51, "surprise": 43}, 16),
    "casme3": (
        {"disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sadness": 57, "happiness": 55},
        94,
    ),
    "mmew": (
        {"surprise": 89, "disgust": 72, "repression": 66, "happiness": 36, "fear": 16, "sadness": 13, "anger": 8},
        30,
    ),
    "fourdme": (
        {
            **{"negative": 127, "others": 49, "positive": 34, "surprise": 30, "positive surprise": 13},
            **{"negative surprise": 8, "repression": 6},
        },
        41,
    ),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Fictitious]:
    """Each dataset with all of its clips, written once."""
    made: dict[str, Fictitious] = {}

    def give(name: str) -> Fictitious:
        if name not in made:
            made[name] = fictitious.WRITERS[name](tmp_path_factory.mktemp(name), **QUICK)
        return made[name]

    return give


def _row(made: Fictitious, clip: Truth) -> dict[str, Any]:
    """The row of a clip by column; the header is the first row with five texts."""
    sheet = openpyxl.load_workbook(made.sheets[clip.split]).worksheets[0]
    rows = list(sheet.iter_rows(values_only=True))
    header = next(row for row in rows if sum(isinstance(value, str) for value in row) > 4)
    assert clip.row is not None
    return {str(name): value for name, value in zip(header, rows[clip.row - 1], strict=True) if name is not None}


def _rows(made: Fictitious, split: str = "test", header: int = 0) -> list[dict[str, Any]]:
    rows = list(openpyxl.load_workbook(made.sheets[split]).worksheets[0].iter_rows(values_only=True))
    return [dict(zip(map(str, rows[header]), row, strict=True)) for row in rows[header + 1 :]]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(published: Callable[[str], Fictitious], name: str) -> None:
    made = published(name)
    labels, subjects = PUBLISHED[name]
    assert Counter(clip.emotion for clip in made.clips) == labels
    assert len({clip.subject for clip in made.clips}) == subjects
    assert len({(clip.subject, clip.clip) for clip in made.clips}) == len(made.clips)
    for clip in made.clips:
        assert all(clip.frame(number).is_file() for number in clip.numbers)
    pictures = [path for path in made.frames.rglob("*.*") if path.suffix in (".jpg", ".bmp")]
    assert len(pictures) == sum(len(clip.numbers) for clip in made.clips)


@pytest.mark.parametrize("name", ["casme2", "samm", "casme3"])
def test_the_names_are_the_real_ones(published: Callable[[str], Fictitious], name: str) -> None:
    made = published(name)
    assert all(clip.folder.is_dir() for clip in made.clips)
    rows = _rows(made, header=13 if name == "samm" else 0)
    if name != "casme3":
        names = {(clip.subject, clip.clip) for clip in made.clips}
        assert names == {(row["subject"], row["clip"]) for row in fictitious._named(f"{name}.csv")}
        return
    found = Counter((row["Subject"], row["Filename"]) for row in rows)
    assert found["spNO.14", "J"] == 1 and found["spNO.1", "e"] == 2
    assert [row["Onset"] for row in rows[749:751]] == [3647, 0]
    assert [clip.onset for clip in made.clips[749:751]] == [2647, 1]


def test_the_labels_agree_with_the_composite_of_megc_2019(published: Callable[[str], Fictitious]) -> None:
    listed = megc2019.clips()
    for name in megc2019.PARTS:
        classes = {
            megc2019.clip_of(name, clip.subject, clip.clip): coarse(clip.emotion) for clip in published(name).clips
        }
        expected = {clip: label for clip, (label, _) in listed.items() if clip[0] == name}
        assert expected.items() <= classes.items()


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "smic"])
def test_the_sheet_holds_what_should_be_found(published: Callable[[str], Fictitious], name: str) -> None:
    made = published(name)
    rows = _rows(made, header=13 if name == "samm" else 0)
    assert len(rows) == len(made.clips)
    columns = {key.lower().replace(" ", "").replace("_", ""): key for key in rows[0]}
    label = columns.get("estimatedemotion") or columns["emotion"]
    code = columns.get("actionunits") or columns.get("aus") or columns["au"]
    for clip, row in zip(made.clips, rows, strict=True):
        if name == "casme3" and clip.row in (751, 752):
            continue  # where the sheet is wrong
        assert str(row[code]) == clip.au_code
        spelt = row[label].lower()
        assert clip.emotion == {"mmew others": "repression"}.get(f"{name} {spelt}", canonical_label(spelt) or spelt)
        for frame in ("onset", "apex", "offset"):
            assert row[columns.get(f"{frame}frame") or columns[frame]] == getattr(clip, frame)
        assert str(row[columns.get("filename") or columns["foldname"]]) == re.sub(
            r"^([a-z])_\d+$", r"\1", clip.clip if clip.clip[:2] != "j_" or clip.subject != "spNO.14" else "J"
        )


@pytest.mark.parametrize(
    ("write", "options", "layout"),
    [
        (casme2, {}, r"CASME2_RAW_selected/sub\d\d/EP\d\d_\d\df?/img[1-9]\d*\.jpg"),
        (casme2, {"layout": "cropped"}, r"Cropped/sub\d\d/EP\d\d_\d\df?/reg_img[1-9]\d*\.jpg"),
        (samm, {}, r"SAMM/(\d{3})/\1_\d_\d/\1_\d{4,5}\.jpg"),
        (
            smic,
            {},
            r"SMIC_all_raw/HS/(s[1-9]\d*)/micro/(negative|positive|surprise)/\1_(ne|po|sur)_\d\d/image\d{6,7}\.bmp",
        ),
        (smic, {"layout": "cropped", "part": "VIS"}, r"SMIC_all_cropped/VIS/s\d/micro/\w+/\w+/reg_image\d{6,7}\.bmp"),
        (smic, {"subject_style": "s01", "part": "NIR"}, r"SMIC_all_raw/NIR/(s\d\d)/micro/\w+/\1_\w+/image\d{6,7}\.bmp"),
        (casme3, {}, r"Part_A_ME_clip/frame/spNO\.\d+_[a-z]_\d+/\d+\.jpg"),
        (casme3, {"layout": "color"}, r"part_A/spNO\.\d+/[a-z]/color/\d+\.jpg"),
        (dfme, {}, r"DFME/(sub\d{4})/\1_\d\d/\d+\.jpg"),
        (mmew, {}, r"Micro_Expression/(?!repression)\w+/S\d\d-\d\d-\d{3}/\d+\.jpg"),
        (mmew, {"repression_folder": "repression"}, r"Micro_Expression/(?!others)\w+/S\d\d-\d\d-\d{3}/\d+\.jpg"),
        (fourdme, {}, r"gray_micro/(\d{3})/\1_\d\d/\d+\.jpg"),
    ],
)
def test_layouts(write: Callable[..., Fictitious], options: dict[str, Any], layout: str, tmp_path: Path) -> None:
    made = write(tmp_path, 9, **QUICK, **options)
    assert len(made.clips) == 9 and len({clip.subject for clip in made.clips}) >= 3
    for clip in made.clips:
        for number in clip.numbers:
            path = clip.frame(number)
            assert re.fullmatch(layout, path.relative_to(tmp_path).as_posix())
            with Image.open(path) as picture:
                assert picture.size == (16, 16)
                assert picture.mode == ("L" if made.name in ("samm", "fourdme", "smic_nir") else "RGB")
    given = made.arguments
    assert given[:2] == ["--frames", str(made.frames)] and given.count("--sheet") == len(made.sheets)


def test_casme2_sheets(tmp_path: Path, published: Callable[[str], Fictitious]) -> None:
    old = published("casme2")
    new = casme2(tmp_path / "new", sheet="2019", **QUICK)
    assert [(a.subject, a.clip) for a in old.clips] == [(b.subject, b.clip) for b in new.clips]
    counts = Counter(clip.emotion for clip in new.clips)
    assert (counts["surprise"], counts["sadness"], counts.total()) == (28, 4, 255)
    differ = sum(a.au_code != b.au_code for a, b in zip(old.clips, new.clips, strict=True))
    assert 45 <= differ <= 65
    assert sum(clip.au_code == "?" for clip in old.clips) == 5
    header = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None]
    header += ["Action Units", "Estimated Emotion"]
    for made, more in ((old, []), (new, ["Objective Classes"])):
        book = openpyxl.load_workbook(made.sheet)
        assert [value.value for value in book.worksheets[0][1]] == header + more
        assert [sheet.max_row for sheet in book.worksheets] == [256, 1, 1]
    (slash,) = [row for row in _rows(new) if row["ApexFrame"] == "/"]
    assert (slash["Subject"], slash["Filename"], slash["Estimated Emotion"]) == ("04", "EP12_01f", "disgust")
    assert all(isinstance(row["ApexFrame"], int) for row in _rows(old))
    assert {clip.objective for clip in new.clips} <= set(range(1, 8))
    outside = [clip for clip in old.clips if clip.offset not in clip.numbers]
    assert [(clip.row, clip.numbers[-1]) for clip in outside] == [(62, 91)]
    strays = {path.name for path in old.frames.rglob("*") if path.is_file() and path.suffix != ".jpg"}
    assert {"Thumbs.db", ".DS_Store"} < strays and any(name.endswith(".lnk") for name in strays)


def test_casme2_copies(tmp_path: Path) -> None:
    made = casme2(tmp_path, 20, empty_columns=False, subject_as="integer", without_apex=3, stray_files=False, **QUICK)
    rows = _rows(made)
    assert list(rows[0])[2] == "OnsetFrame" and None not in rows[0]
    assert all(isinstance(row["Subject"], int) for row in rows)
    assert [row["ApexFrame"] is None for row in rows] == [clip.apex is None for clip in made.clips]
    assert sum(clip.apex is None for clip in made.clips) == 3
    assert all(path.suffix == ".jpg" for path in made.frames.rglob("*") if path.is_file())


def test_samm_sheet(tmp_path: Path, published: Callable[[str], Fictitious]) -> None:
    made = published("samm")
    sheet = openpyxl.load_workbook(made.sheet)["MICRO_ONLY"]
    assert [value.value for value in sheet[14]][:4] == ["Subject", "Filename", "Inducement Code", "Onset Frame"]
    assert sheet.max_row == 14 + 159
    codes = {clip.au_code for clip in made.clips}
    asked = ("15A+17|L20+21|(R6 or R12)+R15|(R6 or R12) + R15|R6A+R12|ref(7B)+43|7B+ ref(43)|ref(L10)+A12B|4A/B|10A/B|"
             "A/L12|A9E+ref(10)|B18+25|T18+39|T23|4+13+T18+39|L12 + 61|L12 or L14|R14A or 17A or 24A|A1B+A2C|"
             "7D+ref(43)|12+15 |R14+17+soft focus")  # fmt: skip
    assert set(asked.split("|")) <= codes
    rows = _rows(made, header=13)
    assert any(isinstance(row["Action Units"], int) for row in rows)
    assert {row["Estimated Emotion"] for row in rows} >= {"Anger", "Other"}
    outside = {c.clip: c for c in made.clips if not (c.onset or 0) <= (c.apex or 0) <= (c.offset or 0)}
    assert set(outside) == {"028_4_1", "032_3_1"}
    assert outside["028_4_1"].apex in outside["028_4_1"].numbers
    assert outside["032_3_1"].apex not in outside["032_3_1"].numbers
    assert {len(clip.pattern.format(12)) for clip in made.clips} == {len("006_0012.jpg"), len("006_00012.jpg")}
    clean = samm(tmp_path, 6, preamble=False, subject_as="integer", **QUICK)
    assert [row["Subject"] for row in _rows(clean)] == [int(clip.subject) for clip in clean.clips]


def test_smic_numbers_and_community_sheet(tmp_path: Path) -> None:
    made = smic(tmp_path, 12, community_sheet=True, **QUICK)
    names = [made.clips[0].frame(number).name for number in made.clips[0].numbers]
    assert names == ["image999998.bmp", "image999999.bmp", "image1000000.bmp"] and sorted(names) != names
    assert all(clip.subject.startswith("s0") and clip.au_code is None for clip in made.clips)
    rows = _rows(made)
    assert list(rows[0]) == ["subject", "clip", "label", "onset_frame", "apex_frame", "offset_frame"]
    for clip, row in zip(made.clips, rows, strict=True):
        assert ("negative", "positive", "surprise")[row["label"]] == clip.emotion
        assert row["apex_frame"] == clip.apex == clip.peak
    assert all(clip.apex is None for clip in smic(tmp_path / "without", 4, **QUICK).clips)
    vis = smic(tmp_path / "vis", part="VIS", **QUICK)
    assert vis.name == "smic_vis" and len(vis.clips) == 71 and {clip.fps for clip in vis.clips} == {25.0}


def test_casme3_oddities(published: Callable[[str], Fictitious], tmp_path: Path) -> None:
    made = published("casme3")
    rows = _rows(made)
    late = [clip for clip in made.clips if (clip.apex or 0) <= (clip.onset or 0)]
    assert len(late) == 54 and {clip.apex == clip.onset for clip in late} == {True, False}
    files = Counter((row["Subject"], row["Filename"]) for row in rows)
    assert max(files.values()) >= 2
    assert len({(row["Subject"], row["Filename"], row["Onset"]) for row in rows}) == len(rows)
    spelt = Counter(row["emotion"] for row in rows)
    assert (spelt["Others"], spelt["others"], spelt["sad"], spelt["happy"]) == (3, 158, 57, 55)
    assert {row["Objective class"] for row in rows} <= {"I", "II", "III", "IV", "V", "VI", "VII"}
    shared = casme3(tmp_path, 8, layout="color", **QUICK)
    assert len({clip.folder for clip in shared.clips}) == 4


def test_dfme_splits(published: Callable[[str], Fictitious]) -> None:
    made = published("dfme")
    assert Counter(clip.split for clip in made.clips) == {"train": 1856, "test_a": 474, "test_b": 299}
    subjects = {split: {clip.subject for clip in made.clips if clip.split == split} for split in made.sheets}
    assert not subjects["train"] & (subjects["test_a"] | subjects["test_b"]) and not (
        subjects["test_a"] & subjects["test_b"]
    )
    rows = _rows(made, "train")
    assert list(rows[0]) == (
        ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU"]
    )
    order = ["anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"]
    assert all(order[row["EmotionId"]] == row["Emotion"] for row in rows)
    assert {row["Fps"] for row in rows} == {200, 300, 500}
    assert {"R4+AD38", "AD31", "1+2+5+M58", "M57"} <= {str(row["AU"]) for row in rows}
    assert {clip.numbers[0] for clip in made.clips} == {0} and {clip.onset for clip in made.clips} == {0, 2, 5}


def test_4dme_columns(published: Callable[[str], Fictitious]) -> None:
    rows = _rows(published("fourdme"))
    assert list(rows[0])[:8] == ["sub_ID", "fold_name", "Onset", "Apex", "Offset", "Emotion", "AUs", "AU1"]
    kept = next(row for row in rows if row["AUs"] == "4(k)+12")
    assert (kept["AU4"], kept["AU12"], kept["AU15"]) == (1, 1, 0)


def test_a_short_dataset_is_a_cut_of_all_labels(tmp_path: Path) -> None:
    made = casme2(tmp_path, 6, **QUICK)
    assert {("sub04", "EP12_01f"), ("sub05", "EP09_05f")} < {(clip.subject, clip.clip) for clip in made.clips}
    assert len({clip.emotion for clip in made.clips}) == 5
    with pytest.raises(ValueError, match="at most 255 clips, as many as have names"):
        casme2(tmp_path / "more", 300, **QUICK)


def _picture(path: Path) -> Any:
    return cv2.imread(str(path))


def _grey(path: Path) -> Any:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize("write", [casme2, samm, smic, dfme])
def test_the_faces_move_as_the_codes_say(write: Callable[..., Fictitious], tmp_path: Path) -> None:
    for clip in write(tmp_path, 8, frames=4).clips:
        assert clip.onset is not None
        onset, peak = (_grey(clip.frame(number)) for number in (clip.onset, clip.peak))
        found = facial_flow(onset, peak).flow
        fields = [displacement([code], [px], clip.centre, clip.half, onset.shape) for code, px in clip.moved.items()]
        columns = np.stack([field.ravel() for field in fields], axis=1)
        shares = np.linalg.lstsq(columns, found.ravel(), rcond=None)[0]
        assert (shares > 0.45).all() and (shares < 1.3).all(), (clip.moved, shares)
        unexplained = float(((found.ravel() - columns @ shares) ** 2).sum() / (found**2).sum())
        assert unexplained < 0.35, (clip.moved, unexplained)
        units = {reading.number for unit in read_codes(clip.au_code).units or () for reading in unit.readings}
        shown = {int(code.strip("LR")) for code in clip.moved}
        assert shown <= units or not units & set(AUS)


def test_the_movement_rises_and_falls(tmp_path: Path) -> None:
    for clip in smic(tmp_path, 3, frames=24).clips:
        found = spot(np.stack([_grey(clip.frame(number)) for number in clip.numbers]))
        assert found.apex is not None and abs(clip.numbers[found.apex] - clip.peak) <= 2


def test_a_subject_has_one_face_and_others_have_others(tmp_path: Path) -> None:
    made = casme2(tmp_path, 8, frames=3)
    hues: dict[str, list[Any]] = {}
    for clip in made.clips:
        x, y = (round(value) for value in clip.centre)
        patch = _picture(clip.frame(clip.numbers[0]))[y + 20 : y + 26, x - 30 : x - 24].reshape(-1, 3).mean(0)
        hues.setdefault(clip.subject, []).append(patch / patch.sum())
    means = {who: np.mean(values, axis=0) for who, values in hues.items()}
    within = max(float(np.abs(value - means[who]).max()) for who, values in hues.items() for value in values)
    between = max(float(np.abs(a - b).max()) for a in means.values() for b in means.values())
    assert within < 0.02 < between


def test_frames_of_another_shape_move_by_what_is_said(tmp_path: Path) -> None:
    clip = casme2(tmp_path, 2, frames=3, size=(400, 320)).clips[0]
    onset, peak = (_grey(clip.frame(number)) for number in (clip.numbers[0], clip.peak))
    assert onset.shape == (320, 400)
    whole = displacement(tuple(clip.moved), list(clip.moved.values()), clip.centre, clip.half, (320, 400))
    middle = np.s_[:, 40:360]
    found = cv2.calcOpticalFlowFarneback(onset[middle], peak[middle], None, 0.5, 4, 21, 10, 7, 1.5, 0)
    found -= np.median(found.reshape(-1, 2), axis=0)
    share = float((found * whole[middle]).sum() / (whole[middle] ** 2).sum())
    assert 0.6 < share < 1.3


def test_the_same_arguments_write_the_same_frames(tmp_path: Path) -> None:
    both: tuple[fictitious.Draw, ...] = ("faces", "noise")
    for draw in both:
        first, again, other = (
            samm(tmp_path / f"{draw}{i}", 2, frames=3, draw=draw, size=(64, 64), seed=seed)
            for i, seed in enumerate((5, 5, 6))
        )
        for a, b, c in zip(first.clips, again.clips, other.clips, strict=True):
            data = a.frame(a.peak).read_bytes()
            assert data == b.frame(b.peak).read_bytes() != c.frame(c.peak).read_bytes()
            assert (a.onset, a.moved) == (b.onset, b.moved)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 3 frames"):
        casme2(tmp_path, 2, frames=2)
    with pytest.raises(ValueError, match="'faces' or 'noise'"):
        casme2(tmp_path, 2, draw="photographs")  # type: ignore[arg-type]


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> Fictitious:
    return casme2(tmp_path, 6, stray_files=False, **QUICK)


def test_wrong_cells(made: Fictitious) -> None:
    assert _row(made, fictitious.apex_slash(made, 1).clips[1])["ApexFrame"] == "/"
    wrong = fictitious.apex_before_onset(made, 2)
    assert _row(wrong, wrong.clips[2])["ApexFrame"] == wrong.clips[2].apex == (wrong.clips[2].onset or 0) - 3
    wrong = fictitious.frame_outside(made, 3, "offset")
    assert _row(wrong, wrong.clips[3])["OffsetFrame"] == wrong.clips[3].offset not in wrong.clips[3].numbers
    assert _row(made, fictitious.label_outside(made, 4).clips[4])["Estimated Emotion"] == "boredom"
    assert _row(fictitious.cell(made, 5, "Filename", "x"), made.clips[5])["Filename"] == "x"
    with pytest.raises(ValueError, match="no column"):
        fictitious.cell(made, 5, "objective", 1)


def test_wrong_sheets(made: Fictitious) -> None:
    before = _rows(made)
    twice = _rows(fictitious.row_twice(made, 2))
    assert twice == [*before, before[2]]
    lower = fictitious.header_below(made)
    assert [_row(lower, clip)["Filename"] for clip in lower.clips] == [clip.clip for clip in made.clips]
    assert _rows(lower, header=4) == twice
    fictitious.subjects_merged(lower)
    subjects = [row["Subject"] for row in _rows(lower, header=4)]
    assert subjects == ["02", None, "04", None, "05", None, "04"]
    fictitious.column_renamed(lower, "onset", "Beginning")
    fictitious.column_dropped(lower, "Estimated Emotion")
    assert {"OnsetFrame", "Estimated Emotion"}.isdisjoint(_rows(lower, header=4)[0])
    assert "Beginning" in _rows(lower, header=4)[0]


def test_wrong_frames(made: Fictitious) -> None:
    files = [clip.frame(clip.peak) for clip in made.clips]
    fictitious.two_sizes(made, 0)
    with Image.open(files[0]) as picture:
        assert picture.size == (32, 32)
    fictitious.truncated(made, 1)
    with Image.open(files[1]) as picture, pytest.raises(OSError, match="truncated|broken"):
        picture.load()
    fictitious.unreadable(made, 2, made.clips[2].numbers[0])
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(made.clips[2].frame(made.clips[2].numbers[0]))
    fictitious.frame_missing(made, 3)
    assert not files[3].exists() and len(list(made.clips[3].folder.iterdir())) == 2
    fictitious.folder_empty(made, 4)
    assert not list(made.clips[4].folder.iterdir()) and list(made.clips[5].folder.iterdir())
    fictitious.folder_empty(made)
    assert made.frames.is_dir() and not list(made.frames.iterdir())


def test_wrong_kinds_of_files(made: Fictitious) -> None:
    with fictitious.as_csv(made).sheet.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0][:2] == ["Subject", "Filename"] and [row[1] for row in rows[1:]] == [c.clip for c in made.clips]
    old = fictitious.as_xls(made).sheet
    assert old.suffix == ".xls" and old.read_bytes()[:4] == b"\xd0\xcf\x11\xe0" and made.sheet.is_file()
    archive = fictitious.as_zip(made).frames
    assert not made.frames.exists()
    clip = made.clips[0]
    assert clip.frame(clip.peak).relative_to(archive.parent).as_posix() in zipfile.ZipFile(archive).namelist()
