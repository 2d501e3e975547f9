"""What a second run does, what a run that was cut off leaves, and what many threads and processes make of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fictitious
import pytest
from fictitious import Fictitious, casme2, samm, smic
from filelock import FileLock

from mellm_plugin.datasets import store, table
from mellm_plugin.datasets.boxes import Box, Found
from mellm_plugin.datasets.conversion import Options, Report, prepare
from mellm_plugin.datasets.converters import CONVERTERS
from mellm_plugin.errors import DataError, InputError
from mellm_plugin.motion.images import read_pixels

MELLM = Path(sys.executable).parent / "mellm"
QUICK: dict[str, Any] = {"size": (40, 36), "frames": 6, "draw": "noise"}


@pytest.fixture
def made(tmp_path: Path) -> Fictitious:
    return casme2(tmp_path / "in", 8, stray_files=False, **QUICK)


def run(made: Fictitious, root: Path, **options: Any) -> Report:
    return prepare(CONVERTERS[made.name], Options(made.frames, made.sheets, root=root, **options))


def names(made: Fictitious) -> list[str]:
    return [f"{made.name}/{clip.subject}/{clip.clip}" for clip in made.clips]


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Of each file below, its inode and the time of its last change."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def data(root: Path, name: str = "casme2", split: str = "test") -> bytes:
    return (root / name / "data" / f"{split}-00000-of-00001.parquet").read_bytes()


def hidden(root: Path) -> list[str]:
    """What is left beside the dataset, but for the locks."""
    return sorted(path.name for path in root.glob(".*") if not path.name.endswith(".lock"))


# A second run --------------------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing_although_clips_are_skipped(made: Fictitious, tmp_path: Path) -> None:
    made = fictitious.label_outside(made, 2)
    shutil.rmtree(made.clips[3].folder)
    first = run(made, tmp_path / "out")
    before = state(tmp_path / "out")
    again = run(made, tmp_path / "out", workers=3)
    assert (first.unchanged, first.reused) == (False, 0) and (again.unchanged, again.reused) == (True, 6)
    assert again.info == first.info and again.folder == first.folder == tmp_path / "out" / "casme2"
    assert len(again.info["skipped"]) == 2 and state(tmp_path / "out") == before and hidden(tmp_path / "out") == []
    made.clips[3].folder.mkdir()  # empty, which is another fault of the same clip
    assert not run(made, tmp_path / "out").unchanged


def test_only_the_clip_whose_frames_were_added_is_made(made: Fictitious, tmp_path: Path) -> None:
    clip, kept = made.clips[3], tmp_path / "kept"
    shutil.move(clip.folder, kept)
    first = run(made, tmp_path / "out")
    assert [skipped["id"] for skipped in first.info["skipped"]] == [names(made)[3]]
    shutil.move(kept, clip.folder)
    second = run(made, tmp_path / "out")
    assert second.reused == 7 and not second.unchanged and second.info["skipped"] == []
    assert list(second.info["made_from"]) == names(made)
    run(made, tmp_path / "anew")
    assert data(tmp_path / "out") == data(tmp_path / "anew")


def test_a_changed_frame_and_a_changed_row_are_made_again(made: Fictitious, tmp_path: Path) -> None:
    run(made, tmp_path / "out")
    fictitious.two_sizes(made, 1)
    onset = made.clips[1].frame(made.clips[1].numbers[0])
    shutil.copy(made.clips[1].frame(made.clips[1].peak), onset)
    second = run(made, tmp_path / "out")
    assert second.reused == 7 and store.verify("casme2", tmp_path / "out") == second.info
    third = run(fictitious.cell(made, 2, "Action Units", "R14C"), tmp_path / "out")
    assert third.reused == 7
    by_id = {sample.id: sample for sample in store.read("casme2", "test", tmp_path / "out")}
    assert by_id[names(made)[1]].onset == onset.read_bytes() and by_id[names(made)[2]].aus == ("R14C",)


def test_a_frame_of_a_spotted_stretch_counts(tmp_path: Path) -> None:
    made = smic(tmp_path / "in", 4, **QUICK)
    run(made, tmp_path / "out")
    assert run(made, tmp_path / "out").unchanged
    middle = made.clips[2].frame(made.clips[2].numbers[2])
    os.utime(middle, ns=(0, 0))
    assert run(made, tmp_path / "out").reused == 3


@pytest.mark.parametrize("options", [{"corrections": False}, {"nearest": True}, {"crop": "box"}])
def test_other_options_change_what_is_concerned(options: dict[str, Any], tmp_path: Path) -> None:
    made = samm(tmp_path / "in", 8, **QUICK)
    if "corrections" in options:
        made = fictitious.frame_outside(casme2(tmp_path / "in", 8, **QUICK), 3, "offset")
    fictitious.frame_missing(made, 1)
    run(made, tmp_path / "out")
    if "crop" in options:
        options = {"crop": Half()}
    other = run(made, tmp_path / "out", **options)
    anew = run(made, tmp_path / "anew", **options)
    assert not other.unchanged and data(tmp_path / "out", made.name) == data(tmp_path / "anew", made.name)
    expected = {**anew.info, "created_with": other.info["created_with"]}
    assert other.info == expected
    assert other.reused == {"corrections": 6, "nearest": 7, "crop": 0}[next(iter(options))]


class Half:
    """A cropper of our own: one part of every frame."""

    @property
    def settings(self) -> dict[str, object]:
        return {"crop": "half"}

    def find(self, clip_id: str, onset: Any) -> Found:
        return Found(Box(3, 2, 37, 36), nose=(10.0, 20.0))


def test_one_box_cuts_every_frame_and_moves_the_nose(made: Fictitious, tmp_path: Path) -> None:
    run(fictitious.apex_slash(made, 3), tmp_path / "out", crop=Half())
    for sample in store.read("casme2", "test", tmp_path / "out"):
        assert sample.nose == (7.0, 18.0)
        assert read_pixels(sample.apex).shape == (34, 34, 3)


def test_replace_makes_all_of_it_again(made: Fictitious, tmp_path: Path) -> None:
    run(made, tmp_path / "out")
    before = data(tmp_path / "out")
    again = run(made, tmp_path / "out", replace=True)
    assert (again.unchanged, again.reused) == (False, 0) and data(tmp_path / "out") == before


def test_a_damaged_dataset_is_made_again(made: Fictitious, tmp_path: Path) -> None:
    root = tmp_path / "out"
    run(made, root)
    file, good = root / "casme2" / "data" / "test-00000-of-00001.parquet", data(root)
    apex = next(store.read("casme2", "test", root)).apex
    for damaged in (good[:100], good.replace(apex, b"\0" * 40, 1)):
        file.write_bytes(damaged)
        report = run(made, root)
        assert (report.unchanged, report.reused) == (False, 0) and data(root) == good
    (root / "casme2" / "info.json").write_text("{")
    assert run(made, root).reused == 0
    store.verify("casme2", root)


def test_a_refusal_leaves_the_former_dataset(made: Fictitious, tmp_path: Path) -> None:
    run(made, tmp_path / "out")
    before = state(tmp_path / "out" / "casme2")
    fictitious.truncated(made, 4)  # which shows when it is read only
    with pytest.raises(InputError, match="the image cannot be read") as refused:
        run(made, tmp_path / "out", strict=True)
    assert len(refused.value.faults) == 1 and refused.value.where == "CASME II: nothing is prepared"
    assert state(tmp_path / "out" / "casme2") == before
    run(fictitious.label_outside(made, 5), tmp_path / "out")
    assert hidden(tmp_path / "out") == []


def test_what_is_noted_of_a_clip_goes_with_it(made: Fictitious, tmp_path: Path) -> None:
    made = fictitious.frame_outside(made, 4, "offset")
    fictitious.unreadable(made, 4)
    report = run(made, tmp_path / "out")
    assert [skipped["id"] for skipped in report.info["skipped"]] == [names(made)[4]]
    assert report.info["corrections"] == [] and report.info["notes"] == {}


# Threads and processes -----------------------------------------------------------------------------------------------


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    made = smic(tmp_path / "in", 12, **QUICK)
    fictitious.unreadable(made, 5)
    one = run(made, tmp_path / "one")
    four = run(made, tmp_path / "four", workers=4)
    assert data(tmp_path / "one", made.name) == data(tmp_path / "four", made.name)
    assert one.info == four.info and len(one.info["skipped"]) == 1


def command(made: Fictitious, root: Path, *options: str) -> list[str]:
    return [str(MELLM), "prepare", made.name, *made.arguments, "--out", str(root), *options]


def test_two_processes_at_once(tmp_path: Path) -> None:
    made = casme2(tmp_path / "in", 40, stray_files=False, **QUICK)
    both = [
        subprocess.Popen(command(made, tmp_path / "out", *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for more in ([], ["--replace"])
    ]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(store.verify("casme2", tmp_path / "out")["made_from"]) == 40 and hidden(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("how", "code", "there"), [(signal.SIGKILL, -signal.SIGKILL, True), (signal.SIGINT, 130, False)]
)
def test_a_run_that_is_cut_off(how: signal.Signals, code: int, there: bool, tmp_path: Path) -> None:
    made = smic(tmp_path / "in", 36, size=(120, 120), frames=16, draw="noise")
    root = tmp_path / "out"
    if there:  # an older one, of which nothing can be taken over
        older = smic(tmp_path / "older", 3, **QUICK)
        run(older, root)
    before = state(root / "smic")
    process = subprocess.Popen(
        command(made, root, "--workers", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a run in the background ignores it
    )
    clips = root / ".smic.clips"
    until = time.monotonic() + 60
    while len(list(clips.glob("*.parquet"))) < 3:
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.01)
    process.send_signal(how)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code and b"Traceback" not in err
    if how == signal.SIGINT:
        assert err.decode().endswith("mellm: interrupted; finished files are complete\n")
        assert not (root / ".smic.partial").exists()
    assert state(root / "smic") == before
    if there:
        assert store.verify("smic", root)["splits"]["test"]["clips"] == 3
    else:
        with pytest.raises(DataError, match="is not prepared"):
            store.read_info("smic", root)
    finished = len(list(clips.glob("*.parquet")))
    assert 3 <= finished < 36
    report = run(made, root)
    assert report.reused == finished and len(report.info["made_from"]) == 36
    assert hidden(root) == [] and store.verify("smic", root) == report.info
    assert run(made, root).unchanged


def test_what_killed_runs_left_is_cleared_although_nothing_is_to_be_done(made: Fictitious, tmp_path: Path) -> None:
    root = tmp_path / "out"
    run(made, root)
    before = state(root / "casme2")
    for left in (".casme2.partial", ".casme2.old"):
        (root / left / "data").mkdir(parents=True)
        (root / left / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1 half")
    with FileLock(root / ".casme2.lock"):  # somebody is at work on it
        assert run(made, root).unchanged and hidden(root) == [".casme2.old", ".casme2.partial"]
    (root / ".casme2.clips").mkdir()
    (root / ".casme2.clips" / "0123.parquet").write_bytes(b"half")
    assert run(made, root).unchanged and hidden(root) == []
    assert state(root / "casme2") == before


def test_a_damaged_clip_of_a_killed_run_is_made_again(made: Fictitious, tmp_path: Path) -> None:
    first = run(made, tmp_path / "out")
    left = tmp_path / "new" / ".casme2.clips"
    left.mkdir(parents=True)
    for identity in first.info["made_from"].values():
        (left / f"{identity}.parquet").write_bytes(b"PAR1 half")
    assert run(made, tmp_path / "new").reused == 0 and data(tmp_path / "new") == data(tmp_path / "out")


def test_raw_and_cropped_clips_side_by_side_are_noted(tmp_path: Path) -> None:
    made = casme2(tmp_path, 8, **QUICK)
    for file in made.clips[2].folder.glob("*.jpg"):
        file.rename(file.with_name(f"reg_{file.name}"))
    notes = run(made, tmp_path / "out").info["notes"]
    assert list(notes) == [f"casme2/{made.clips[2].subject}/{made.clips[2].clip}"]
    assert "are raw and cropped ones mixed?" in str(notes)


def test_an_apex_before_its_onset_in_a_table_is_a_fault(tmp_path: Path) -> None:
    made = casme2(tmp_path, 1, **QUICK)
    first, last = (made.clips[0].frame(number) for number in (made.clips[0].onset, made.clips[0].peak))
    csv = tmp_path / "clips.csv"
    csv.write_text(f"id,subject,onset,apex,emotion,aus\na,s,{last},{first},fear,4\n")
    with pytest.raises(InputError, match=f"expected a frame after the onset {last.name}, found {first.name}"):
        table.prepare(csv, "mine", root=tmp_path / "out")
