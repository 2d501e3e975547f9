"""Fictitious datasets: coding sheets and frames of the licensed ones' shape, with their oddities, all of it invented.

    made = casme2(folder, 6)       # CASME2-coding-20140508.xlsx, CASME2_RAW_selected/sub01/EP02_01f/img187.jpg ...
    made.arguments                 # ["--frames", ".../CASME2_RAW_selected", "--sheet", ".../CASME2-coding-...xlsx"]
    made.clips[0]                  # Truth(subject="sub01", clip="EP02_01f", onset=187, apex=190, offset=194, ...)
    broken = apex_slash(made, 0)   # the same with an apex that is no number

Without a number of clips, there are as many of each label as were published, with the known errata of the sheets; with
one, the labels come in turn. Subjects and clips of CASME II, SAMM, SMIC (HS) and CAS(ME)^3 have their real names
(`names/`, and the list of MEGC 2019, whose classes their labels agree with); those of DFME are numbered as in the real
one; all other names and the frame numbers are made up. The frames are drawn faces that show the clip's action units, or
quickly made blobs for tests in which nobody looks. The same arguments write the same files.

Counts: CASME II (Yan et al. 2014, and the sheet of 2019), SAMM (Davison et al. 2018), SMIC (Li et al. 2013), CAS(ME)^3
(Li et al. 2022), MMEW (Ben et al. 2021), 4DME (Li et al. 2022). Those of DFME's labels are invented.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import cv2
import openpyxl
from camera import CODES, Camera, Cell, Film
from camera import Draw as Draw
from camera import Fictitious as Fictitious
from camera import Truth as Truth
from typing_extensions import Unpack

from mellm_plugin.datasets import megc2019
from mellm_plugin.datasets.synthme import AUS
from mellm_plugin.facs.codes import read_codes

_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII")


# Who shows what -----------------------------------------------------------------------------------------------------


def _deal(published: Mapping[str, int], clips: int | None, first: Sequence[str] = ()) -> list[str]:
    """That many labels: `first`, then all in turn, each as often as published, and then from the beginning."""
    left = Counter(published) - Counter(first)
    order = list(first)
    while left:
        order += left.keys()
        left -= Counter(left.keys())
    return list(itertools.islice(itertools.cycle(order), len(order) if clips is None else clips))


class _Codes:
    """Hands out codes of each label in turn: those in the dataset's own style, then those that can be drawn."""

    def __init__(self, styles: Mapping[str, Sequence[str]] | None = None) -> None:
        self._styles = styles or {}
        self._given: Counter[str] = Counter()
        self._plain = 0

    def next(self, label: str, skip: int = 0) -> str | int:
        """The next code; one unit alone is now and then a number, as spreadsheets have it."""
        codes = [*self._styles.get(label, ()), *CODES[label]]
        code = codes[(self._given[label] + skip) % len(codes)]
        self._given[label] += 1
        if code.isdigit():
            self._plain += 1
            return int(code) if self._plain % 2 else code
        return code


Clip = tuple[Truth, list[Cell]]
"""A clip and its row."""


def _written(
    camera: Camera,
    root: Path,
    made: Sequence[Clip],
    sheets: Mapping[str, Path],
    header: Sequence[Cell],
    title: str = "Sheet1",
    above: int = 0,
    empty: Sequence[str] = (),
) -> Fictitious:
    """Write the frames below `root`, and the sheet of each split."""
    for split, path in sheets.items():
        book = openpyxl.Workbook()
        book.active.title = title
        for line in range(1, above + 1, 3):
            book.active.cell(line, 1).value = f"Line {line} of what stands above the table."
        for at, row in enumerate([header, *(row for truth, row in made if truth.split == split)], above + 1):
            for column, value in enumerate(row, 1):
                if value is not None:
                    book.active.cell(at, column).value = value
        for name in empty:
            book.create_sheet(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        book.save(path)
    truths = tuple(truth for truth, _ in made)
    camera.shoot(truths)
    return Fictitious(camera.dataset, root, sheets, truths)


def _sorted_cast(labels: Sequence[str], subjects: Sequence[str]) -> list[tuple[str, str, int]]:
    """Label, subject (in turn; of few labels, two or more each) and the clip's place in the subject, in sheet order."""
    used = subjects[: max(2, min(len(subjects), -(-len(labels) // 2)))]
    cast = sorted(zip(labels, itertools.cycle(used), strict=False), key=lambda one: one[1])
    seen: Counter[str] = Counter()
    out = []
    for label, subject in cast:
        out.append((label, subject, seen[subject]))
        seen[subject] += 1
    return out


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _named(file: str) -> list[dict[str, str]]:
    """The rows of a list of real names."""
    return _read(Path(__file__).parent / "names" / file)


def _composite(dataset: str) -> list[dict[str, str]]:
    """The rows of the list of MEGC 2019."""
    return [row for row in _read(Path(megc2019.__file__).parent / "megc2019.csv") if row["dataset"] == dataset]


Roster = list[tuple[str, str, str]]  # subject, clip, label


def _pick(
    roster: Roster, clips: int | None, labels: Mapping[str, int], first: Sequence[tuple[str, str]] = ()
) -> Roster:
    """That many clips of a roster, in its order: `first`, then of all labels in turn; of few subjects, two of each."""
    if clips is None:
        return roster
    left = [one for one in roster if one[:2] not in first]
    picked = [one for one in roster if one[:2] in first][:clips]
    count = Counter(subject for subject, _, _ in picked)
    for label in _deal(labels, clips, [label for _, _, label in picked])[len(picked) :]:
        few = len(count) < max(2, -(-clips // 2))
        order = {0: 1 if few else 99, 1: 0}  # one that has a clip, then another one
        found = min(
            (one for one in left if one[2] == label), key=lambda one: order.get(count[one[0]], 1 + count[one[0]])
        )
        left.remove(found)
        picked.append(found)
        count[found[0]] += 1
    return [one for one in roster if one in picked]


# The datasets -------------------------------------------------------------------------------------------------------

_OBJECTIVE = {"happiness": 1, "surprise": 2, "anger": 3, "disgust": 4, "sadness": 5, "fear": 6}

_CASME2 = {"happiness": 32, "surprise": 25, "others": 99, "repression": 27, "sadness": 7, "fear": 2, "disgust": 63}
_SAD_OR_SURPRISED = {("sub24", "EP07_01"), ("sub24", "EP07_04f"), ("sub24", "EP10_03")}  # sad in 2014, else in 2019
_OMITTED = (("sub04", "EP12_01f"), ("sub05", "EP09_05f"))  # from the composite of MEGC 2019

_SAMM = {"happiness": 26, "others": 26, "surprise": 15, "contempt": 12, "disgust": 9, "fear": 8, "sadness": 6}
_SAMM |= {"anger": 57}
_SAMM_CODES = {
    "anger": ("7B+ ref(43)", "4A/B", "4+13+T18+39", "7D+ref(43)"),
    "happiness": ("R6A+R12", "ref(L10)+A12B", "6 + 12"),
    "others": ("ref(7B)+43", "B18+25", "T18+39", "T23", "12+15 "),
    "surprise": ("A1B+A2C",),
    "contempt": ("A/L12", "L12 + 61", "L12 or L14", "R14A or 17A or 24A", "R14+17+soft focus"),
    "disgust": ("10A/B", "A9E+ref(10)"),
    "fear": ("L20+21",),
    "sadness": ("(R6 or R12)+R15", "15A+17", "(R6 or R12) + R15"),
}

_SMIC = {"negative": 70, "positive": 51, "surprise": 43}
_SMIC_71 = {"negative": 23, "positive": 28, "surprise": 20}  # of the VIS part, and of the NIR part

_CASME3 = {"disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sadness": 57, "happiness": 55}

_DFME = {"train": 1856, "test_a": 474, "test_b": 299}
_DFME_LABELS = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")  # by EmotionId
_DFME_CODES = {"anger": ("R4+AD38",), "disgust": ("AD31",), "surprise": ("1+2+5+M58",), "fear": ("M57",)}

_MMEW = {"happiness": 36, "anger": 8, "surprise": 89, "disgust": 72, "fear": 16, "sadness": 13, "repression": 66}

_FOURDME = {"negative": 127, "positive": 34, "surprise": 30, "repression": 6, "others": 49, "positive surprise": 13}
_FOURDME |= {"negative surprise": 8}
_FOURDME_CODES = {
    "negative": ("4(k)+15", "4 (k)+9+10", "AU4+AU7"),
    "positive": ("4(k)+12", "AU6+AU12"),
    "others": ("7(k)+14",),
}
_FOURDME_UNITS = sorted({*AUS, 43, 45})


def _casme2_roster() -> Roster:
    """All clips; those outside the composite are `others`, except for a few sad and fearful ones."""
    listed = {(row["subject"], row["clip"]): row["class"] for row in _composite("casme2")}
    names = [(row["subject"], row["clip"]) for row in _named("casme2.csv")]
    rest = [name for name in names if name not in listed and name not in _OMITTED and name not in _SAD_OR_SURPRISED]
    rest = [name for name in rest if name[0] not in ("sub10", "sub18")]
    few = dict(zip(rest[5::14], ["sadness", "fear", "sadness", "fear", "sadness", "sadness"], strict=False))
    assert len(few) == 6
    labels = {**few, **dict.fromkeys(_SAD_OR_SURPRISED, "sadness"), **dict.fromkeys(_OMITTED, "disgust")}
    negative = iter(_deal({"disgust": _CASME2["disgust"] - len(_OMITTED), "repression": _CASME2["repression"]}, None))
    of_class = {"positive": "happiness", "surprise": "surprise"}
    roster = []
    for name in names:
        label = labels.get(name, "others")
        if name in listed and name not in _OMITTED and name not in _SAD_OR_SURPRISED:
            label = of_class.get(listed[name]) or next(negative)
        roster.append((*name, label))
    return roster


def casme2(
    folder: Path,
    clips: int | None = None,
    *,
    sheet: Literal["2014", "2019"] = "2014",
    layout: Literal["raw", "cropped"] = "raw",
    empty_columns: bool = True,
    subject_as: Literal["text", "integer"] = "text",
    without_apex: int = 0,
    stray_files: bool = True,
    **film: Unpack[Film],
) -> Fictitious:
    """CASME II: 255 clips of 26 subjects, 24 of them in the composite of MEGC 2019.

    The composite leaves out sub04/EP12_01f (without an apex in the 2019 sheet) and sub05/EP09_05f (at full number, its
    apex is the onset, 69, in both sheets). Five codes are `?` in the 2014 sheet; every fifth differs in that of 2019.
    The offset in row 62 lies outside the folder, whose last frame is 91. Copies of the sheet may lack the empty columns
    and, in `without_apex` rows, the apex. `clips` is the number of clips, all if None; for `film` see `Film`.
    """
    camera = Camera("casme2", **film)
    root = folder / ("CASME2_RAW_selected" if layout == "raw" else "Cropped")
    cast = _pick(_casme2_roster(), clips, _CASME2, _OMITTED)
    codes = _Codes({"others": ("4+7+L10", "38"), "surprise": ("L2+26+38",), "happiness": ("R6+R12",)})
    bare = {round((k + 0.5) * len(cast) / without_apex) for k in range(without_apex)}
    gap: list[Cell] = [None] if empty_columns else []
    made: list[Clip] = []
    seen: Counter[str] = Counter()
    for number, (subject, clip, label) in enumerate(cast):
        emotion = "surprise" if sheet == "2019" and (subject, clip) in _SAD_OR_SURPRISED else label
        code = codes.next(emotion, skip=int(sheet == "2019" and number % 5 == 2))
        if sheet == "2014" and label == "others" and seen[label] < 5:
            code = "?"
        seen[label] += 1
        first = int(camera.rng(number, "first").integers(1, 300))
        known: dict[str, Any] = {}
        if number == 60:
            first = 92 - camera.frames
            known["offset"] = 96
        if number in bare or (sheet == "2019" and (subject, clip) == ("sub04", "EP12_01f")):
            known["apex"] = None
        if clips is None and (subject, clip) == ("sub05", "EP09_05f"):
            first = known["apex"] = 69
        truth = camera.truth(
            number, code=code, emotion=emotion, first=first, subject=subject, clip=clip, fps=200.0, row=number + 2,
            objective=_OBJECTIVE.get(emotion, 7) if sheet == "2019" else None, folder=root / subject / clip,
            pattern="img{}.jpg" if layout == "raw" else "reg_img{}.jpg", **known,
        )  # fmt: skip
        apex: Cell = "/" if truth.apex is None and number not in bare else truth.apex
        who: Cell = subject[3:] if subject_as == "text" else int(subject[3:])
        row: list[Cell] = [who, clip, *gap, truth.onset, apex, truth.offset, *gap, code, emotion]
        made.append((truth, [*row, truth.objective] if sheet == "2019" else row))
    header = ["Subject", "Filename", *gap, "OnsetFrame", "ApexFrame", "OffsetFrame", *gap, "Action Units"]
    header += ["Estimated Emotion", *(["Objective Classes"] if sheet == "2019" else [])]
    path = folder / f"CASME2-coding-{'20140508' if sheet == '2014' else '20190701'}.xlsx"
    written = _written(camera, root, made, {"test": path}, header, empty=("Sheet2", "Sheet3"))
    for place in (root, root / made[0][0].subject, *(truth.folder for truth, _ in made[:3])) if stray_files else ():
        (place / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504))
        (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" + bytes(24))
        (place / f"{place.name} - Shortcut.lnk").write_bytes(b"L\0\0\0\1\x14\2\0" + bytes(68))
    return written


def _samm_roster() -> Roster:
    listed = {row["clip"]: row["class"] for row in _composite("samm")}
    negative = iter(_deal({label: _SAMM[label] for label in ("anger", "contempt", "disgust", "fear", "sadness")}, None))
    labels = {None: "others", "positive": "happiness", "surprise": "surprise"}
    return [
        (row["subject"], row["clip"], labels.get(listed.get(row["clip"])) or next(negative))
        for row in _named("samm.csv")
    ]


def samm(
    folder: Path,
    clips: int | None = None,
    *,
    preamble: bool = True,
    subject_as: Literal["text", "integer"] = "text",
    **film: Unpack[Film],
) -> Fictitious:
    """SAMM: 159 clips of 29 subjects, 28 of them in the composite of MEGC 2019; grey frames.

    In two clips the apex is outside onset..offset: of 028_4_1 the offset is too early, and the apex is in the folder;
    of 032_3_1 the apex is before the onset, and missing. The preamble is 13 rows, as in the official sheet.
    """
    camera = Camera("samm", grey=True, **film)
    codes, above = _Codes(_SAMM_CODES), 13 if preamble else 0
    made: list[Clip] = []
    for number, (subject, clip, label) in enumerate(
        _pick(_samm_roster(), clips, _SAMM, (("028", "028_4_1"), ("032", "032_3_1")))
    ):
        code = codes.next(label)
        first = int(camera.rng(number, "first").integers(100, 9000))
        truth = camera.truth(
            number, code=code, emotion=label, first=first, subject=subject, clip=clip, fps=200.0,
            row=above + number + 2, objective=_OBJECTIVE.get(label, 7), folder=folder / "SAMM" / subject / clip,
            pattern=f"{subject}_{{:0{4 + int(subject) % 2}d}}.jpg",
        )  # fmt: skip
        if clip == "028_4_1":
            truth = replace(truth, offset=truth.peak - 1)
        elif clip == "032_3_1":
            truth = replace(truth, apex=first - 12)
        who: Cell = subject if subject_as == "text" else int(subject)
        spelt = "Other" if label == "others" else label.capitalize()
        duration = (truth.offset or 0) - (truth.onset or 0) + 1
        row: list[Cell] = [who, clip, int(clip.split("_")[1]), truth.onset, truth.apex, truth.offset, duration]
        row += ["Micro - 1/2", code]
        made.append((truth, [*row, spelt, truth.objective, "looks down at first" if number % 9 == 4 else None]))
    header = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration"]
    header += ["Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"]
    sheets = {"test": folder / "SAMM_Micro_FACS_Codes_v2.xlsx"}
    return _written(camera, folder / "SAMM", made, sheets, header, "MICRO_ONLY", above)


def _smic_71(clips: int | None) -> Roster:
    """Clips of the VIS or the NIR part, with invented names."""
    places: Counter[tuple[str, str]] = Counter()
    roster = []
    labels = _deal(_SMIC_71, clips)
    for label, subject, _ in _sorted_cast(labels, [f"s{n:02d}" for n in range(1, 9)]):
        places[subject, label] += 1
        word = "sur" if label == "surprise" else label[:2]
        roster.append((subject, f"{subject}_{word}_{places[subject, label]:02d}", label))
    return roster


def smic(
    folder: Path,
    clips: int | None = None,
    *,
    part: Literal["HS", "VIS", "NIR"] = "HS",
    layout: Literal["raw", "cropped"] = "raw",
    subject_style: Literal["s1", "s01"] = "s1",
    community_sheet: bool = False,
    **film: Unpack[Film],
) -> Fictitious:
    """SMIC: 164 clips of 16 subjects in its HS part, 71 of eight in the others; no codes, and no apex.

    The frame numbers of the first clip pass from 999998 to 1000000, in files padded to six digits: as text they sort
    in another order. A spotted apex should be near `Truth.peak`; `community_sheet` writes a sheet that gives the apex.
    `SMIC_all_raw/HS/s1/micro/negative/s1_ne_01/image563849.bmp`, or `SMIC_all_cropped/HS/.../reg_image563849.bmp`.
    """
    camera = Camera("smic" if part == "HS" else f"smic_{part.lower()}", grey=part == "NIR", **film)
    root = folder / ("SMIC_all_raw" if layout == "raw" else "SMIC_all_cropped")
    if part == "HS":
        cast = _pick([(row["subject"], row["clip"], row["class"]) for row in _composite("smic")], clips, _SMIC)
    else:
        cast = _smic_71(clips)
    codes = _Codes()
    made: list[Clip] = []
    for number, (subject, clip, label) in enumerate(cast):
        there = f"s{int(subject[1:])}" if subject_style == "s1" else subject
        clip = f"{there}_{clip.partition('_')[2]}"
        first = 999_998 if number == 0 else int(camera.rng(number, "first").integers(20_000, 900_000))
        truth = camera.truth(
            number, code=codes.next(label), emotion=label, first=first, subject=subject, clip=clip,
            fps=100.0 if part == "HS" else 25.0, row=number + 2 if community_sheet else None,
            folder=root / part / there / "micro" / label / clip,
            pattern="image{:06d}.bmp" if layout == "raw" else "reg_image{:06d}.bmp",
        )  # fmt: skip
        truth = replace(truth, au_code=None, apex=truth.peak if community_sheet else None)
        made.append((truth, [there, clip, tuple(_SMIC).index(label), truth.onset, truth.peak, truth.offset]))
    header = ["subject", "clip", "label", "onset_frame", "apex_frame", "offset_frame"]
    return _written(camera, root, made, {"test": folder / "smic_apex.xlsx"} if community_sheet else {}, header)


def _casme3_rows(clips: int | None) -> list[tuple[str, str]]:
    """Subject and file of each row; of few, the first file of each subject that holds two clips."""
    rows = [(row["subject"], row["filename"]) for row in _named("casme3.csv") for _ in range(int(row["clips"]))]
    if clips is None:
        return rows
    twice: dict[str, tuple[str, str]] = {}
    for row, count in Counter(rows).items():
        if count > 1:
            twice.setdefault(row[0], row)
    return [row for row in twice.values() for _ in range(2)][:clips]


def casme3(
    folder: Path, clips: int | None = None, *, layout: Literal["clips", "color"] = "clips", **film: Unpack[Film]
) -> Fictitious:
    """CAS(ME)^3, part A: 860 clips of 94 subjects, several of them in one file; in 54 the apex is not after the onset.

    At full number the sheet has the wrong onsets of its rows 751 and 752; `Truth.onset` is the right one. Three of the
    others are spelled `Others`. In `part_A/spNO.1/b/color/166.jpg` a folder has all clips of a file; the other layout
    is `Part_A_ME_clip/frame/spNO.1_b_166/166.jpg`.
    """
    camera = Camera("casme3", **film)
    root = folder / ("Part_A_ME_clip" if layout == "clips" else "part_A")
    codes = _Codes()
    made: list[Clip] = []
    seen: Counter[str] = Counter()
    places: Counter[str] = Counter()
    written = {749: 3647, 750: 0} if clips is None else {}  # rows 751 and 752, where the sheet is wrong
    right = {749: 2647, 750: 1}
    for number, ((subject, letter), label) in enumerate(zip(_casme3_rows(clips), _deal(_CASME3, clips), strict=True)):
        # the clips of one file follow each other
        first = 30 + 7 * (number % 11) + places[subject] * (camera.frames + 90)
        places[subject] += 1
        if number in written:
            first = right[number]
        code = codes.next(label)
        objective = _OBJECTIVE.get(label, 7)
        truth = camera.truth(
            number, code=code, emotion=label, first=first, subject=subject, clip=f"{letter.lower()}_{first}", fps=30.0,
            row=number + 2, objective=objective, pattern="{}.jpg",
            folder=root / (f"frame/{subject}_{letter}_{first}" if layout == "clips" else f"{subject}/{letter}/color"),
        )  # fmt: skip
        if number % 16 == 3:
            truth = replace(truth, apex=first - 2 * (number // 16 % 2))
        spelt = {"happiness": "happy", "sadness": "sad"}.get(label, label)
        if label == "others":
            spelt = "Others" if seen[label] % 54 == 0 else "others"
        seen[label] += 1
        onset = written.get(number, first)
        row: list[Cell] = [subject, letter, onset, truth.apex, truth.offset, code, _ROMAN[objective - 1], spelt]
        made.append((truth, row))
    header = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]
    return _written(camera, root, made, {"test": folder / "cas(me)3_part_A_ME_label.xlsx"}, header, "label")


def dfme(folder: Path, clips: int | None = None, **film: Unpack[Film]) -> Fictitious:
    """DFME: three sheets, 1856, 474 and 299 clips, no subject in two of them; 200, 300 and 500 frames a second.

    Frame numbers start at 0, in one clip of three with the onset. The numbers of clips per label are invented, and so
    are the folders, `DFME/sub0003/sub0003_01/0.jpg`.

    `clips` is the number of all three together, about four of seven in the first.
    """
    camera = Camera("dfme", **film)
    root = folder / "DFME"
    parts = dict(_DFME)
    if clips is not None:
        most = max(1, clips - 2 * (3 * clips // 14))
        parts = {"train": most, "test_a": (clips - most + 1) // 2, "test_b": (clips - most) // 2}
    codes = _Codes(_DFME_CODES)
    made: list[Clip] = []
    subjects = itertools.count(3)
    header = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU"]
    for split, count in parts.items():
        labels = _deal(dict.fromkeys(_DFME_LABELS, 1), count)
        names = [f"sub{next(subjects):04d}" for _ in range(max(2, count // 4) if count else 0)]
        for row, (label, subject, place) in enumerate(_sorted_cast(labels, names), 2):
            code = codes.next(label)
            fps = (200, 300, 500)[int(subject[3:]) % 3]
            clip = f"{subject}_{place + 1:02d}"
            truth = camera.truth(
                len(made), code=code, emotion=label, first=0, lead=(0, 2, 5)[row % 3], split=split, subject=subject,
                clip=clip, fps=float(fps), row=row, folder=root / subject / clip, pattern="{}.jpg",
            )  # fmt: skip
            number = _DFME_LABELS.index(label)
            made.append((truth, [subject, clip, truth.onset, truth.apex, truth.offset, label, number, fps, code]))
    sheets = {split: folder / f"DFME_{split}.xlsx" for split, count in parts.items() if count}
    return _written(camera, root, made, sheets, header)


def mmew(
    folder: Path,
    clips: int | None = None,
    *,
    repression_folder: Literal["others", "repression"] = "others",
    **film: Unpack[Film],
) -> Fictitious:
    """MMEW: 300 clips of 30 subjects, in folders by label, `Micro_Expression/disgust/S05-01-002/3.jpg`. The sheet calls
    the label of the folder `repression_folder` `others`.
    """
    camera = Camera("mmew", **film)
    root = folder / "Micro_Expression"
    labels = _deal(_MMEW, clips)
    codes = _Codes()
    made: list[Clip] = []
    for number, (label, subject, place) in enumerate(_sorted_cast(labels, [f"{n:02d}" for n in range(1, 31)])):
        clip = f"S{subject}-{1 + place // 9:02d}-{1 + place % 9:03d}"
        code = codes.next(label)
        truth = camera.truth(
            number, code=code, emotion=label, first=1, lead=number % 3, subject=f"s{subject}", clip=clip, fps=90.0,
            row=number + 2, folder=root / (repression_folder if label == "repression" else label) / clip,
            pattern="{}.jpg",
        )  # fmt: skip
        spelt = "others" if label == "repression" else label
        remark = "the head moves" if number % 12 == 5 else None
        made.append((truth, [int(subject), clip, truth.onset, truth.apex, truth.offset, spelt, code, remark]))
    header = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Estimated Emotion", "Action Units"]
    return _written(camera, root, made, {"test": folder / "MMEW_Micro_Exp.xlsx"}, [*header, "remarks"])


def fourdme(folder: Path, clips: int | None = None, **film: Unpack[Film]) -> Fictitious:
    """4DME: 267 clips of 41 subjects, grey, a column for each unit after `AUs`; `gray_micro/003/003_01/12.jpg`.

    A unit that persists from before the clip, `4(k)`, has a 1 in its column as well. The names of subjects, folders
    and frames are invented.
    """
    camera = Camera("fourdme", grey=True, **film)
    root = folder / "gray_micro"
    labels = _deal(_FOURDME, clips)
    codes = _Codes(_FOURDME_CODES)
    made: list[Clip] = []
    for number, (label, subject, place) in enumerate(_sorted_cast(labels, [f"{n:03d}" for n in range(1, 42)])):
        clip = f"{subject}_{place + 1:02d}"
        code = codes.next(label)
        truth = camera.truth(
            number, code=code, emotion=label, first=1 + number % 40, subject=subject, clip=clip, fps=None,
            row=number + 2, folder=root / subject / clip, pattern="{}.jpg",
        )  # fmt: skip
        units = (unit for part in read_codes(code).detail for unit in part.units)
        marked = {reading.number for unit in units for reading in unit.readings}
        columns = [int(unit in marked) for unit in _FOURDME_UNITS]
        row: list[Cell] = [subject, clip, truth.onset, truth.apex, truth.offset, label.capitalize(), code, *columns]
        made.append((truth, row))
    header = ["sub_ID", "fold_name", "Onset", "Apex", "Offset", "Emotion", "AUs", *(f"AU{u}" for u in _FOURDME_UNITS)]
    return _written(camera, root, made, {"test": folder / "4DME_Labelling_Micro_release.xlsx"}, header)


WRITERS: dict[str, Callable[..., Fictitious]] = {
    "casme2": casme2, "samm": samm, "smic": smic, "casme3": casme3, "dfme": dfme, "mmew": mmew, "fourdme": fourdme,
}  # fmt: skip
"""Each dataset by its name; all take `folder`, `clips`, and what `Film` holds."""


# Bad input: each changes what is written, and returns it as it is then -----------------------------------------------

_COLUMNS = {
    "subject": ("subject", "subid"),
    "clip": ("filename", "foldname", "clip"),
    "onset": ("onset", "onsetframe"),
    "apex": ("apex", "apexframe"),
    "offset": ("offset", "offsetframe"),
    "emotion": ("emotion", "estimatedemotion", "label"),
    "au_code": ("actionunits", "au", "aus"),
}
"""Names of the columns that hold a field of `Truth`, without case, spaces and underscores."""


def cell(made: Fictitious, index: int, column: str, value: Cell) -> Fictitious:
    """Write a value into the row of clip `index`; the column is named as in the sheet, or by its field in `Truth`."""
    clip = made.clips[index]
    book = openpyxl.load_workbook(made.sheets[clip.split])
    sheet = book.worksheets[0]

    def named(row: Any, name: str) -> list[int]:
        known = _COLUMNS.get(name, ())
        plain = ((c, str(c.value or "").lower().replace(" ", "").replace("_", "")) for c in row)
        return [c.column for c, spelt in plain if c.value == name or spelt in known]

    header = next(row for row in sheet.iter_rows() if named(row, "subject") and named(row, "clip"))
    sheet.cell(clip.row, named(header, column)[0]).value = value
    book.save(made.sheets[clip.split])
    return made


def row_twice(made: Fictitious, index: int = 0) -> Fictitious:
    """The row of a clip again, at the end of its sheet."""
    clip = made.clips[index]
    book = openpyxl.load_workbook(made.sheets[clip.split])
    book.worksheets[0].append([value.value for value in book.worksheets[0][clip.row]])
    book.save(made.sheets[clip.split])
    return made


def apex_slash(made: Fictitious, index: int = 0) -> Fictitious:
    """An apex that is no number, `/`."""
    return _with(cell(made, index, "apex", "/"), index, apex=None)


def frame_outside(made: Fictitious, index: int = 0, which: Literal["apex", "offset"] = "apex") -> Fictitious:
    """A frame number that is 1000 after the last in the folder."""
    wrong = made.clips[index].numbers[-1] + 1000
    return _with(cell(made, index, which, wrong), index, **{which: wrong})


def label_outside(made: Fictitious, index: int = 0, label: str = "boredom") -> Fictitious:
    """A label that the dataset does not have."""
    return _with(cell(made, index, "emotion", label), index, emotion=label)


def two_sizes(made: Fictitious, index: int = 0) -> Fictitious:
    """The largest movement in a frame that is 16 px wider and higher than the others."""
    file = made.clips[index].frame(made.clips[index].peak)
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    wider = cv2.copyMakeBorder(pixels, 8, 8, 8, 8, cv2.BORDER_REPLICATE)
    file.write_bytes(bytes(cv2.imencode(file.suffix, wider)[1]))
    return made


def truncated(made: Fictitious, index: int = 0, number: int | None = None) -> Fictitious:
    """A frame's file without the second half of its pixels: of the peak, or the given one. Its header can be read."""
    file = _file(made, index, number)
    data = file.read_bytes()
    pixels = max(0, data.rfind(b"\xff\xda")) if file.suffix == ".jpg" else 0  # JPEG: the start of scan
    file.write_bytes(data[: (pixels + len(data)) // 2])
    return made


def unreadable(made: Fictitious, index: int = 0, number: int | None = None) -> Fictitious:
    """A frame's file that holds no picture: of the peak, or the given one."""
    _file(made, index, number).write_bytes(b"<html>404 Not Found</html>\n")
    return made


def frame_missing(made: Fictitious, index: int = 0, number: int | None = None) -> Fictitious:
    """A frame less: the peak, or the given one. `Truth.numbers` stays as it was."""
    _file(made, index, number).unlink()
    return made


def folder_empty(made: Fictitious, index: int | None = None) -> Fictitious:
    """A clip's folder without frames; without an index, a folder of frames that is empty."""
    folder = made.frames if index is None else made.clips[index].folder
    shutil.rmtree(folder)
    folder.mkdir()
    return made


def as_csv(made: Fictitious) -> Fictitious:
    """The sheets as CSV files beside themselves."""
    sheets = {}
    for split, path in made.sheets.items():
        sheets[split] = path.with_suffix(".csv")
        with sheets[split].open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True))
    return replace(made, sheets=sheets)


def _file(made: Fictitious, index: int, number: int | None) -> Path:
    clip = made.clips[index]
    return clip.frame(clip.peak if number is None else number)


def _with(made: Fictitious, index: int, **changes: Any) -> Fictitious:
    clips = list(made.clips)
    clips[index] = replace(clips[index], **changes)
    return replace(made, clips=tuple(clips))


def main(arguments: Sequence[str] | None = None) -> None:
    """`python tests/fictitious.py casme2 FOLDER [--clips N]`: try `mellm prepare` without any licence."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("dataset", choices=sorted(WRITERS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, help="default: as many as were published")
    parser.add_argument("--frames", type=int, default=8, help="of each clip (default: %(default)s)")
    given = parser.parse_args(arguments)
    made = WRITERS[given.dataset](given.folder, given.clips, frames=given.frames)
    print(f"{len(made.clips)} clips; now: mellm prepare {made.name} {' '.join(made.arguments)}")


if __name__ == "__main__":
    main()
