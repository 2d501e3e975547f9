"""Question files of the challenge's shape, over prepared datasets and real video files of drawn faces."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.cli import main
from mellm_plugin.datasets import store, synthme
from mellm_plugin.datasets.catalogue import dataset_named
from mellm_plugin.datasets.crop import cropper
from mellm_plugin.datasets.megc_vqa import prepare, summary
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.datasets.vqa_questions import (
    KINDS,
    LABELLED,
    NAME,
    TEST,
    Question,
    on_long_video,
    question_kind,
    stored_questions,
    unit_asked,
)
from mellm_plugin.errors import DataError, InputError

COARSE_Q = "What is the coarse expression class?"
FINE_Q = "What is the fine-grained expression class?"


COMBINED = "what is the fine-grained expression and the coarse expression class"
UNITS = {"brow lowerer": 4, "eye closure": 43, " Nostril Dilater": 38, "nostril compress": 39, "neck tightener": 21}
UNITS |= {"jaw clencher": 31, "tilt right": 56, "eyes left": 61}


# ---- kinds of questions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "kind", "unit"),
    [
        (COARSE_Q, "coarse", None),
        (FINE_Q, "fine", None),
        ("What is the action unit?", "units", None),
        ("What are the action units?", "units", None),
        *((f"Is the action unit {name} shown on the face?", "unit", unit) for name, unit in UNITS.items()),
        ("Is the action unit lip corner puller located on the left or right face?", "side", 12),
        (f"What are the action units present, and based on them, {COMBINED}?", "combined", None),
        (f"What is the action unit present, and based on it, {COMBINED}?", "combined", None),
        ("Please analyse the micro-expression shown in this video in detail.", "combined", None),
        ("Provide a comprehensive analysis of the facial micro-expression shown in this clip.", "combined", None),
        ("How old is the person?", "other", None),
    ],
)
def test_the_kind_and_the_unit_of_a_question(question: str, kind: str, unit: int | None) -> None:
    assert question_kind(question) == kind
    assert unit_asked(question) == unit and not on_long_video(question)


@given(st.text(max_size=200))
def test_any_text_has_a_kind(text: str) -> None:
    assert question_kind(text) in KINDS
    assert (unit := unit_asked(text)) is None or str(unit) in text or any(c.isalpha() for c in text)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        *(("CASME_II", "casme2"), ("casme2", "casme2"), ("CASME II", "casme2"), ("CASMEII", "casme2")),
        *((name, None) for name in ("CAS(ME)^2", "cas(me)2", "CAS (ME) II", "CAS(ME)²", "CASME^2")),
        *((name, None) for name in ("CASME²", "CASME-sq", "ＣＡＳ（ＭＥ）＾２")),
        *(("SAMM", "samm"), ("SMIC-HS", "smic"), ("CAS(ME)^3", "casme3"), ("CASME3", "casme3"), ("4DME", "fourdme")),
        *(("dfme", "dfme"), ("casme", None), ("", None)),
    ],
)
def test_spellings_of_datasets(written: str, name: str | None) -> None:
    assert dataset_named(written) == name


# ---- a data root with three fictitious datasets ---------------------------------------------------------------------


def clip(dataset: str, subject: str, name: str, number: int) -> Sample:
    (drawn,) = synthme.clips("vqa", 1, start=number)
    return replace(synthme.sample(drawn), id=f"{dataset}/{subject}/{name}", dataset=dataset, subject=subject, clip=name)


CLIPS = {
    "casme2": [clip("casme2", "sub01", "EP02_01f", 0), clip("casme2", "sub02", "EP02_01f", 1)],
    "samm": [clip("samm", "006", "006_1_2", 2)],
    "casme3": [clip("casme3", "spNO.1", "b_166", 3), clip("casme3", "spNO.1", "b_1660", 4)],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three datasets in `data`, three videos in `videos`; tests take copies."""
    folder = tmp_path_factory.mktemp("written")
    for name, clips in CLIPS.items():
        store.write(name, {"test": clips}, {"source": "drawn"}, root=folder / "data")
    write_video(folder / "videos" / "samm" / "SAMM-1.mp4", "mp4v", frames())
    write_video(folder / "videos" / "samm" / "SAMM-2.avi", "MJPG", frames())
    write_folder(folder / "videos" / "cas" / "CAS-7", frames())
    return folder


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written / "data", tmp_path / "data"))


@pytest.fixture
def videos(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written / "videos", tmp_path / "videos"))


def labelled(
    dataset: str, subject: str, filename: str, question: str = COARSE_Q, answer: Any = "negative"
) -> dict[str, Any]:
    row = {"id": 1, "dataset": dataset, "image_id": f"{subject}_{filename}", "subject": subject, "filename": filename}
    return {**row, "question": question, "answer": answer}


def write_lines(path: Path, rows: Sequence[Mapping[str, Any] | str]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@cache
def frames(length: int = 20, apex: int = 9, amplitude: float = 2.0) -> np.ndarray:
    """uint8 `(length, 224, 224, 3)`, BGR: the brows are lowered from frame 3 on, most of all in `apex`."""
    rng = np.random.default_rng(5)
    side, margin = synthme.SIZE + 32, 16
    picture = synthme.Face(5).draw(rng, (side / 2, side / 2), 0.44 * synthme.SIZE)
    field = synthme.displacement(["4"], [amplitude], (side / 2, side / 2), 0.44 * synthme.SIZE, (side, side))
    shown = np.interp(np.arange(length), [3, apex, apex + 8], [0, 1, 0])
    moved = [
        synthme.warp(picture, (field * share).astype(np.float32))[margin:-margin, margin:-margin] for share in shown
    ]
    pixels = [np.rint(frame + rng.standard_normal(frame.shape)).clip(0, 255).astype(np.uint8) for frame in moved]
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in pixels])


def write_video(path: Path, code: str, pictures: np.ndarray, fps: float = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, (width, height))
    assert writer.isOpened()
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def write_folder(folder: Path, pictures: np.ndarray, first: int = 100) -> Path:
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures, first):
        assert cv2.imwrite(str(folder / f"img{number}.png"), picture)
    return folder


def video_rows(*names: str) -> list[dict[str, Any]]:
    return [
        {"video_id": name, "video": name, "question": question} for name in names for question in (COARSE_Q, FINE_Q)
    ]


# ---- labelled questions ---------------------------------------------------------------------------------------------


def test_clips_are_taken_from_the_prepared_datasets(tmp_path: Path, root: Path) -> None:
    rows = [
        labelled("CASME_II", "1", "EP02_01f"),
        labelled("casme2", "sub02", "ep02_01F", FINE_Q, "disgust"),
        labelled("SAMM", "6", "006_1_2", "What are the action units?", "brow lowerer, lip tightener"),
        labelled("casme2", "casme2_sub01", "EP02_01f", FINE_Q, "happiness"),
        {**labelled("CAS(ME)^3", "spNO.1", "b"), "image_id": "spNO.1_b_166"},
    ]
    folder = prepare([write_lines(tmp_path / "train.jsonl", rows)], root=root)
    assert folder == root / NAME
    kept = {sample.id: sample for sample in store.read(NAME, LABELLED, root)}
    assert set(kept) == {"casme2/sub01/EP02_01f", "casme2/sub02/EP02_01f", "samm/006/006_1_2", "casme3/spNO.1/b_166"}
    assert kept["samm/006/006_1_2"] == CLIPS["samm"][0], "the sample as it was prepared, frames and all"
    asked = stored_questions(root)
    assert [question.line for question in asked] == [1, 2, 3, 4, 5]
    assert [question.row for question in asked] == rows, "word for word"
    assert asked[3] == Question("casme2/sub01/EP02_01f", LABELLED, "train.jsonl", 4, rows[3])
    assert (asked[1].kind, asked[1].answer, asked[2].kind) == ("fine", "disgust", "units")
    info = store.verify(NAME, root)
    assert info["skipped"] == [] and info["missing"] == {}
    assert info["questions"] == {"labelled": {"coarse": 2, "fine": 2, "units": 1}, "test": {}}
    assert summary(info) == ["labelled: 5 questions on 4 clips (2 coarse, 2 fine, 1 units)"]


def test_the_command_tells_what_it_made_as_json(tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_lines(tmp_path / "train.jsonl", [labelled("samm", "6", "006_1_2"), labelled("samm", "6", "absent")])
    command = ["prepare", "megc_vqa", "--questions", str(file), "--out", str(root)]
    assert main([*command, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["folder"] == str(root / NAME) and sum(row["questions"][LABELLED].values()) == 1
    assert [entry["where"] for entry in row["skipped"]] == ["train.jsonl, line 2"]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith(f"{root / NAME}\n  labelled: 1 questions on 1 clips")


def test_every_fault_is_told_with_file_and_line_and_the_good_rows_are_kept(tmp_path: Path, root: Path) -> None:
    rows: list[dict[str, Any] | str] = [
        labelled("casme2", "sub01", "EP02_01f"),
        '{"dataset": "casme2", ',
        "[1, 2]",
        labelled("casme2", "sub01", "EP02_01f", question=" "),
        labelled("casme2", "sub01", "EP02_01f", answer=3),
        labelled("casme2", "sub01", "EP02_01f", answer="?!"),
        labelled("casme2", "sub01", "EP02_01f", answer=None),
        {"question": COARSE_Q, "dataset": "casme2", "answer": "negative"},
        labelled("casme2", "sub01", "EP99"),
        labelled("cazme2", "sub01", "EP02_01f"),
        labelled("casme3", "spNO.1", "b"),
        labelled("casme3", "spNO.1", "b"),
        "",
    ]
    prepare([write_lines(tmp_path / "train.jsonl", rows)], root=root)
    info = store.read_info(NAME, root)
    told = {entry["where"]: "; ".join(entry["reasons"]) for entry in info["skipped"]}
    expected = {
        "train.jsonl, line 2": "expected one JSON object on the line",
        "train.jsonl, line 3": "found list",
        "train.jsonl, line 4": "question: expected text, found ' '",
        "train.jsonl, line 5": "answer: expected text, found 3",
        "train.jsonl, line 6": "answer: expected at least one word, found '?!'",
        "train.jsonl, line 7": "expected an answer",
        "train.jsonl, line 8": "found no subject, no filename",
        "train.jsonl, line 9": "has no clip 'EP99' in the prepared dataset 'casme2' (it has 1 clips)",
        "train.jsonl, line 10": "found 'cazme2'. Did you mean 'casme2'",
        "train.jsonl, line 11, 12": "any of casme3/spNO.1/b_166, casme3/spNO.1/b_1660",
    }
    assert told.keys() == expected.keys()
    for where, reason in expected.items():
        assert reason in told[where]
    assert [question.line for question in stored_questions(root)] == [1]


@pytest.mark.parametrize(
    ("prepared", "row", "found"),
    [
        (["b_166"], {"filename": "b", "image_id": "spNO.1_b_166"}, "b_166"),
        (["b_166"], {"filename": "b", "image_id": "spNO.1_b_300"}, "found another; prepare 'casme3'"),
        (["b_166"], {"filename": "b", "image_id": ""}, "b_166"),
        (["b_166", "b_300"], {"filename": "b", "image_id": ""}, "may be any of casme3/spNO.1/b_166, casme3/spNO.1/b_3"),
        (["b_166", "b_300"], {"filename": "b", "image_id": "spNO.1_b_300"}, "b_300"),
        (["b_166", "b_300"], {"filename": "b_166", "image_id": "spNO.1_b_300"}, "casme3/spNO.1/b_300 by image_id"),
        (["b_166"], {"filename": "?", "image_id": ""}, "has no clip '?'"),
    ],
)
def test_a_clip_of_a_recording_is_never_one_that_the_image_speaks_against(
    tmp_path: Path, prepared: list[str], row: dict[str, str], found: str
) -> None:
    root = tmp_path / "data"
    clips = [clip("casme3", "spNO.1", name, number) for number, name in enumerate(prepared)]
    store.write("casme3", {"test": clips}, {"source": "drawn"}, root=root)
    file = write_lines(tmp_path / "train.jsonl", [{**labelled("casme3", "spNO.1", "b"), **row}])
    if found in prepared:
        prepare([file], root=root)
        assert [question.clip for question in stored_questions(root)] == [f"casme3/spNO.1/{found}"]
    else:
        with pytest.raises(InputError) as refused:
            prepare([file], root=root)
        assert found in str(refused.value) and "train.jsonl, line 1" in str(refused.value)


def test_the_beginning_of_a_name_names_no_clip(tmp_path: Path, root: Path) -> None:
    rows = [{**labelled("casme2", "sub01", "EP"), "image_id": image} for image in ("", "sub01_EP", "sub01_EP02_01f")]
    with pytest.raises(InputError, match=r"train\.jsonl, line 1, 2, 3: subject 'sub01' has no clip 'EP'"):
        prepare([write_lines(tmp_path / "train.jsonl", rows)], root=root)


def test_another_database_is_told_apart_from_casme_ii(tmp_path: Path, root: Path) -> None:
    file = write_lines(tmp_path / "train.jsonl", [labelled("CAS(ME)^2", "sub01", "EP02_01f")])
    with pytest.raises(InputError, match="It is another dataset than CASME II") as refused:
        prepare([file], root=root)
    assert "Did you mean" not in str(refused.value)


def test_strict_is_not_content_with_what_was_kept_from_before(tmp_path: Path, root: Path) -> None:
    file = write_lines(tmp_path / "train.jsonl", [labelled("casme2", "sub01", "EP02_01f"), "{"])
    with pytest.raises(InputError, match=r"train\.jsonl, line 2"):
        prepare([file], root=root, strict=True)
    assert not store.is_prepared(NAME, root)
    made = prepare([file], root=root).stat().st_mtime_ns
    with pytest.raises(InputError, match=r"lacks what was left out: train\.jsonl, line 2"):
        prepare([file], root=root, strict=True, exists="keep")
    assert (root / NAME).stat().st_mtime_ns == made, "what is there stays"
    write_lines(file, [labelled("casme2", "sub01", "EP02_01f")])
    prepare([file], root=root, strict=True, exists="keep")
    assert prepare([file], root=root, strict=True, exists="keep") == root / NAME


def test_datasets_that_are_not_prepared_are_named_with_their_command(tmp_path: Path, root: Path) -> None:
    rows = [
        labelled("SMIC", "s1", "s1_ne_01"),
        labelled("casme2", "sub01", "EP02_01f"),
        labelled("dfme", "sub0003", "x"),
    ]
    prepare([write_lines(tmp_path / "train.jsonl", rows)], root=root)
    info = store.read_info(NAME, root)
    assert info["missing"]["smic"] == "mellm prepare smic --frames FOLDER"
    assert set(info["missing"]) == {"smic", "dfme"}
    assert summary(info)[-1].startswith("not prepared: dfme. Run: mellm prepare dfme")
    with pytest.raises(InputError, match=r"'smic' is not prepared; run: mellm prepare smic --frames FOLDER"):
        prepare([write_lines(tmp_path / "smic.jsonl", rows[:1])], root=root, exists="replace")
    assert len(stored_questions(root)) == 1, "what was prepared before is still there"


def test_the_same_files_are_kept_and_others_replace(tmp_path: Path, root: Path, videos: Path) -> None:
    train = write_lines(tmp_path / "train.jsonl", [labelled("casme2", "sub01", "EP02_01f")])
    test = write_lines(tmp_path / "test.jsonl", video_rows("SAMM-1"))
    made = prepare([train, test], videos, root).stat().st_mtime_ns
    with pytest.raises(DataError, match="prepared already"):
        prepare([train, test], videos, root)
    assert prepare([train, test], videos, root, exists="keep").stat().st_mtime_ns == made
    write_video(videos / "samm" / "SAMM-1.mp4", "mp4v", frames(24))
    assert prepare([train, test], videos, root, exists="keep").stat().st_mtime_ns > made, "another video"
    write_lines(test, video_rows("SAMM-1", "SAMM-2"))
    prepare([train, test], videos, root, exists="keep")
    assert len(stored_questions(root)) == 5


@pytest.mark.parametrize("kind", ["absent", "folder", "binary", "empty"])
def test_a_file_that_is_none(tmp_path: Path, root: Path, kind: str) -> None:
    path = tmp_path / "train.jsonl"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"PK\x03\x04\xff\xfe")
    elif kind == "empty":
        path.write_text("\n\n")
    with pytest.raises(InputError, match=r"train\.jsonl"):
        prepare([path], root=root)


def test_question_files_are_told_apart_by_their_names(tmp_path: Path, root: Path) -> None:
    (tmp_path / "other").mkdir()
    rows = [labelled("casme2", "sub01", "EP02_01f")]
    files = [write_lines(tmp_path / "a.jsonl", rows), write_lines(tmp_path / "other" / "a.jsonl", rows)]
    with pytest.raises(InputError, match=r"'a\.jsonl' twice"):
        prepare(files, root=root)
    with pytest.raises(InputError, match="at least one file"):
        prepare([], root=root)


def decoded(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return np.asarray(pixels)


# ---- test videos ----------------------------------------------------------------------------------------------------


def test_onset_and_apex_of_test_videos_are_spotted(tmp_path: Path, root: Path, videos: Path) -> None:
    rows = video_rows("SAMM-1.mp4", "SAMM-2", "CAS-7")
    prepare([write_lines(tmp_path / "samm_test_to_answer.jsonl", rows)], videos, root)
    samples = list(store.read(NAME, TEST, root))
    assert [sample.id for sample in samples] == [f"{NAME}/unknown/{name}" for name in ("SAMM-1", "SAMM-2", "CAS-7")]
    assert [sample.dataset for sample in samples] == ["samm", "samm", "casme3"]
    for sample, first in zip(samples, (0, 0, 100), strict=True):
        assert sample.apex_source == "spotted"
        assert sample.onset_frame is not None and sample.apex_frame is not None
        assert abs(sample.onset_frame - first - 3) <= 2 and abs(sample.apex_frame - first - 9) <= 2
        pixels = [decoded(data) for data in (sample.onset, sample.apex)]
        expected = cv2.cvtColor(frames()[sample.apex_frame - first], cv2.COLOR_BGR2GRAY)
        assert pixels[0].shape == pixels[1].shape == (224, 224)
        assert np.abs(pixels[1].astype(float) - expected).mean() < 4, "the frame of that number"
    assert (samples[0].fps, samples[2].fps) == (30, None)
    assert store.read_info(NAME, root)["questions"] == {"labelled": {}, "test": {"coarse": 3, "fine": 3}}


def test_a_test_file_keeps_every_line(tmp_path: Path, root: Path, videos: Path) -> None:
    (videos / "CAS-8.mp4").write_bytes(b"no video")
    still = np.repeat(frames()[:1], 8, axis=0)
    write_folder(videos / "CAS-9", still)
    rows = [*video_rows("CAS-8"), {"video": "CAS-7", "question": " "}, *video_rows("CAS-9", "CAS-7", "CAS-99")]
    prepare([write_lines(tmp_path / "cas.jsonl", rows)], videos, root)
    asked = stored_questions(root)
    assert [question.row for question in asked] == rows
    found = f"{NAME}/unknown/CAS-7"
    assert [question.clip for question in asked] == [None, None, None, None, None, found, found, None, None]
    info = store.read_info(NAME, root)
    told = {entry["id"]: entry["reasons"][0] for entry in info["skipped"]}
    assert "CAS-8.mp4" in told[f"{NAME}/unknown/CAS-8"]
    assert "no apex can be spotted" in told[f"{NAME}/unknown/CAS-9"]
    assert "no video or folder of frames is named 'CAS-99'" in told[f"{NAME}/unknown/CAS-99"]
    assert any("question: expected text" in line for line in summary(info))


def first_release(subject: str | int, recording: str, onset: int, question: str = COARSE_Q) -> dict[str, Any]:
    """A row as the challenge's first test files had it, those of CAS(ME)^3 with `samm_test`, too."""
    image = f"{subject}_{recording}_{onset}"
    row = {"id": f"samm_test_{image}_1", "dataset": "samm_test", "image_id": image, "subject": subject}
    row |= {"filename": recording, "onset_frame": onset, "offset_frame": onset + 99}
    return {**row, "question": question, "answer": ""}


def test_the_first_release_of_2025_is_read_where_its_clips_are_cut(tmp_path: Path, root: Path, videos: Path) -> None:
    rows = [first_release(1, "001_2", 8906), first_release(1, "001_2", 8906, FINE_Q), first_release("dzw", "a1", 338)]
    file = write_lines(tmp_path / "me_vqa_samm_test_to_answer.jsonl", rows)
    with pytest.raises(InputError) as refused:
        prepare([file], videos, root)
    assert len(refused.value.faults) == 1, "one cause"
    assert "line 1, 2, 3: rows of the first release" in str(refused.value) and "image_id" in str(refused.value)
    write_folder(videos / "1_001_2_8906", frames())
    write_folder(videos / "dzw_a1_338", frames())
    prepare([file], videos, root)
    assert [(sample.clip, sample.dataset) for sample in store.read(NAME, TEST, root)] == [
        ("1_001_2_8906", "samm"),
        ("dzw_a1_338", "casme3"),
    ]
    assert [question.row for question in stored_questions(root)] == rows


LONG = [
    *(f"How many {kind}expression events appear in this video?" for kind in ("", "micro-", "macro-")),
    "What distinct action units appear in this video?",
    "What is the expression type of the 5-th expression event in this video?",
    "How many micro-expressions does the person show?",
    "Is the second expression a micro-expression or a macro-expression?",
]


def test_the_long_video_track_is_refused(tmp_path: Path, root: Path, videos: Path) -> None:
    assert all(on_long_video(question) and question_kind(question) in KINDS for question in LONG)
    asked = [*LONG, COARSE_Q]  # the last could be asked about a clip, and is about the same video
    long = [{"video_id": f"samm_test_{n}", "video": "SAMM-1", "question": q, "answer": ""} for n, q in enumerate(asked)]
    file = write_lines(tmp_path / "lv_to_answer.jsonl", long)
    with pytest.raises(InputError, match=r"lv_to_answer\.jsonl, line 1, 2, 3, 4 and 4 more: of the long-video track"):
        prepare([file], videos, root)
    named = write_lines(tmp_path / "me_lvqa_samm_casme3.jsonl", [{**row, "answer": 3} for row in long[-1:]])
    short = write_lines(tmp_path / "me_vqa_test.jsonl", video_rows("SAMM-2"))
    prepare([named, short, file], videos, root)
    assert {question.file for question in stored_questions(root)} == {"me_vqa_test.jsonl"}, "no part of a submission"
    assert len(store.read_info(NAME, root)["skipped"]) == 2


def test_videos_that_are_wanted_and_not_given(tmp_path: Path, root: Path) -> None:
    file = write_lines(tmp_path / "cas.jsonl", video_rows("CAS-7"))
    with pytest.raises(InputError, match="--videos FOLDER"):
        prepare([file], root=root)
    with pytest.raises(InputError, match="expected the folder of the test videos"):
        prepare([file], file, root)


def test_two_videos_of_one_name_are_not_guessed_between(tmp_path: Path, root: Path, videos: Path) -> None:
    write_folder(videos / "again" / "CAS-7", frames())
    file = write_lines(tmp_path / "cas.jsonl", video_rows("CAS-7"))
    with pytest.raises(InputError, match="expected one video 'cas-7'"):
        prepare([file], videos, root)
    prepare([write_lines(tmp_path / "path.jsonl", video_rows("again/CAS-7"))], videos, root)
    assert stored_questions(root)[0].clip == f"{NAME}/unknown/again/CAS-7", "a path says which"


def test_a_video_in_a_folder_of_its_own(tmp_path: Path, root: Path) -> None:
    write_video(tmp_path / "videos" / "SAMM-4" / "recording.avi", "MJPG", frames())
    prepare([write_lines(tmp_path / "t.jsonl", video_rows("SAMM-4"))], tmp_path / "videos", root)
    (sample,) = store.read(NAME, TEST, root)
    assert sample.clip == "SAMM-4" and sample.fps == 30


def test_onset_and_apex_of_a_fast_video_are_averaged(tmp_path: Path, root: Path) -> None:
    write_video(tmp_path / "videos" / "SAMM-4.avi", "MJPG", frames(), fps=200)
    file = write_lines(tmp_path / "t.jsonl", video_rows("SAMM-4"))
    onsets = []
    for ms in (0.0, 30.0):
        prepare([file], tmp_path / "videos", root, average=ms, exists="keep")
        (sample,) = store.read(NAME, TEST, root)
        assert sample.fps == 200 and store.read_info(NAME, root)["source"]["average"] == ms
        onsets.append(decoded(sample.onset).astype(int))
    assert 0 < np.abs(onsets[1] - onsets[0]).mean() < 2


def test_rows_with_line_separators_inside(tmp_path: Path, root: Path) -> None:
    row = labelled("casme2", "sub01", "EP02_01f", answer="negative\u2028\x0b\x85!")
    prepare([write_lines(tmp_path / "train.jsonl", [row, row])], root=root)
    assert [question.row for question in stored_questions(root)] == [row, row]


def test_a_video_is_labelled_or_not(tmp_path: Path, root: Path, videos: Path) -> None:
    rows = [{**row, "answer": "negative"} for row in video_rows("SAMM-1")]
    prepare([write_lines(tmp_path / "a.jsonl", rows)], videos, root)
    assert [question.split for question in stored_questions(root)] == [LABELLED, LABELLED]
    mixed = [rows[0], {**rows[1], "answer": ""}]
    with pytest.raises(InputError, match="asked with and without an answer"):
        prepare([write_lines(tmp_path / "a.jsonl", mixed)], videos, root, exists="replace")


def test_the_face_is_cut_out_of_a_test_video(tmp_path: Path, root: Path, videos: Path) -> None:
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(f"id,left,top,right,bottom\n{NAME}/unknown/CAS-7,20,10,200,210\n")
    prepare([write_lines(tmp_path / "t.jsonl", video_rows("CAS-7"))], videos, root, crop=cropper("box", boxes=boxes))
    (sample,) = store.read(NAME, TEST, root)
    assert decoded(sample.apex).shape == (200, 180)
    assert store.read_info(NAME, root)["source"]["crop"]["crop"] == "box"


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["question", "answer", "video", "dataset", "subject", "filename"]),
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        ),
        max_size=4,
    )
)
@settings(max_examples=50)
def test_any_rows_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    folder = tmp_path_factory.mktemp("any")
    file = write_lines(folder / "any.jsonl", rows)
    with pytest.raises(InputError):  # nothing is prepared here, so nothing can be kept
        prepare([file], root=folder / "data")
