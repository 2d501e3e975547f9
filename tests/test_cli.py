"""The command `mellm`, as a user calls it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mellm_plugin.cli import main, parser
from mellm_plugin.cli.commands import Headings, parsers
from mellm_plugin.cli.tasks import list_tasks
from mellm_plugin.datasets import store
from mellm_plugin.datasets.synthme import Face, clips, displacement, draw_clip, sample, warp
from mellm_plugin.locks import sole_writer
from mellm_plugin.motion import colour
from mellm_plugin.plugin import task_folder

MELLM = Path(sys.executable).parent / "mellm"


@pytest.fixture
def frames(tmp_path: Path) -> tuple[str, str]:
    clip = draw_clip(Face(1), np.random.default_rng(1), ("12",), 2.0)
    for name, frame in (("onset", clip.onset), ("apex", clip.apex)):
        Image.fromarray(frame).save(tmp_path / f"{name}.png")
    return str(tmp_path / "onset.png"), str(tmp_path / "apex.png")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom mellm_plugin.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('numpy', 'cv2', 'torch', 'lmms_eval', 'datasets', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for command in ("tasks", "map", "prepare", "datasets"):
        assert f"\n    {command}" in done.stdout


def test_the_installed_command_answers() -> None:
    done = subprocess.run([str(MELLM), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("mellm-plugin ")


def test_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    listed = capsys.readouterr().out
    assert "synthme_meu " in listed and "synthme_meu_map" in listed
    assert main(["tasks", "--path"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert folder == task_folder() and list(folder.rglob("*.yaml"))
    assert main(["tasks", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["task"] for row in rows} == set(list_tasks(folder))
    assert all(row["description"] for row in rows)


def test_map_with_legend(frames: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "map.png"
    assert main(["map", *frames, "-o", str(out), "--legend"]) == 0
    picture = np.asarray(Image.open(out).convert("RGB")).astype(int)
    assert picture.shape[0] == 224 and picture.shape[1] > 224 + 64
    assert np.ptp(picture[:, :224], axis=2).max() > 100
    said = capsys.readouterr().out
    assert colour.legend_text() in said and "head moved" in said
    assert main(["map", *frames, "-o", str(out), "--palette", "colour-blind", "--legend"]) == 0
    assert colour.legend_text("colour-blind") in capsys.readouterr().out


def test_map_of_a_still_face_says_so(
    frames: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", frames[0], frames[0], "-o", str(tmp_path / "map.png")]) == 0
    assert "doubtful: onset and apex are the same picture" in capsys.readouterr().err
    again = np.asarray(Image.open(frames[0])).astype(int) + np.random.default_rng(0).integers(-1, 2, (224, 224, 3))
    Image.fromarray(again.clip(0, 255).astype(np.uint8)).save(tmp_path / "again.png")
    assert main(["map", frames[0], str(tmp_path / "again.png"), "-o", str(tmp_path / "map.png")]) == 0
    said = capsys.readouterr()
    assert "doubtful" not in said.err and " 0 % coloured" in said.out


def test_the_published_map_takes_the_nose_tip_and_says_where_there_is_none(
    frames: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "map.png")
    assert main(["map", *frames, "-o", out, "--preset", "published"]) == 0
    assert "no nose tip is known" in capsys.readouterr().err
    assert main(["map", *frames, "-o", out, "--preset", "published", "--nose", "112,130"]) == 0
    said = capsys.readouterr()
    assert "nose" not in said.err and "+0.00 degrees" in said.out
    assert main(["map", *frames, "-o", out, "--preset", "published", "--nose", "112,230"]) == 1
    assert "inside the frame of 224x224 px" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["map", *frames, "-o", out, "--nose", "112"])
    assert caught.value.code == 2 and "expected X,Y" in capsys.readouterr().err


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lip corners that rise from frame 12 to 24, at 100 frames a second, on a head that drifts."""
    file = tmp_path_factory.mktemp("clip") / "clip.mp4"
    picture = Face(77).draw(np.random.default_rng(5), (128.0, 128.0), 98.0)
    rng = np.random.default_rng(6)
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), 100, (224, 224))
    for t in range(40):
        amplitude = 2.0 * float(np.clip(min((t - 12) / 12, (40 - t) / 14), 0, 1))
        total = displacement(["12"], [amplitude], (128.0, 128.0), 98.0, (256, 256)) + np.float32([0.03 * t, 0.02 * t])
        frame = warp(picture, total)[16:240, 16:240] + 1.5 * rng.standard_normal((224, 224, 3))
        writer.write(cv2.cvtColor(frame.round().clip(0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR))
    writer.release()
    return file


def test_a_video_becomes_a_map_and_an_animation(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "map.png"
    assert main(["map", str(video), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    onset, apex = map(int, re.search(r"at 100 frames a second; onset (\d+), apex (\d+)", said).groups())
    assert abs(onset - 12) <= 4 and abs(apex - 25) <= 3
    assert np.ptp(np.asarray(Image.open(out)).astype(int), axis=2).max() > 100
    with Image.open(out.with_suffix(".gif")) as animation:
        assert animation.n_frames > 8
    chosen = ["--onset", "12", "--apex", "24", "--animation", str(tmp_path / "flow.webp"), "--fps", "200"]
    assert main(["map", str(video), "-o", str(out), *chosen]) == 0
    assert "at 200 frames a second; onset 12, apex 24" in capsys.readouterr().out
    assert (tmp_path / "flow.webp").stat().st_size > 1000


def test_wrong_clips_are_told(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "map.png"
    still = tmp_path / "still"
    still.mkdir()
    clip = draw_clip(Face(1), np.random.default_rng(1), (), 1.0, head=0.0)
    for i in range(6):
        noise = np.random.default_rng(i).normal(0, 1, clip.onset.shape)
        Image.fromarray((clip.onset + noise).round().clip(0, 255).astype(np.uint8)).save(still / f"img{i}.png")
    cases = {
        (str(video), "-o", str(out), "--apex", "99"): "0..39",
        (str(video), "-o", str(out), "--onset", "9", "--apex", "3"): "found 9 and 3",
        (str(video), "-o", str(out), "--animation", str(tmp_path / "flow.avi")): ".gif",
        (str(video), "-o", str(tmp_path / "a.gif"), "--animation", str(tmp_path / "a.gif")): "one file",
        (str(still), "-o", str(still / "img3.png")): "of the clip itself",
        (str(video), "-o", str(out), "--workers", "2"): "--workers is not for one clip",
        (str(still), "-o", str(out)): "--onset and --apex",
        (str(tmp_path / "no.mp4"), "-o", str(out)): "no.mp4",
        ("-o", str(out)): "found 0 names",
        (str(video), "--dataset", "synthme", "-o", str(tmp_path / "d")): "either frames or --dataset",
    }
    for arguments, words in cases.items():
        assert main(["map", *arguments]) == 1, arguments
        assert words in capsys.readouterr().err
    assert not out.exists() and not (tmp_path / "d").exists()


def test_a_dataset_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MELLM_CACHE", str(tmp_path / "cache"))
    store.write("drawn", {"test": (sample(clip) for clip in clips("test", 5))}, {"source": "a test"})
    assert main(["map", "--dataset", "drawn", "-o", str(tmp_path / "maps"), "--workers", "2"]) == 0
    assert "5 maps, 0 of them doubtful; beside them contact_sheet.jpg, maps.csv" in capsys.readouterr().out
    assert main(["map", "--dataset", "drawn", "-o", str(tmp_path / "maps"), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["maps"], row["doubtful"], row["table"]) == (5, {}, "maps.csv")
    assert row["folder"] == str(tmp_path / "maps")
    assert len(list((tmp_path / "maps" / "synthme" / "s00").glob("*.png"))) == 5
    assert main(["map", "--dataset", "drawn", "-o", str(tmp_path / "maps"), "--fps", "9"]) == 1
    assert "--fps is not for a dataset" in capsys.readouterr().err
    assert main(["map", "--dataset", "drawn", "--split", "tset", "-o", str(tmp_path / "none")]) == 1
    assert "has no split 'tset'" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_wrong_input_is_told_and_writes_nothing(
    frames: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "map.png"
    small = tmp_path / "small.png"
    Image.new("L", (100, 90)).save(small)
    cases = {
        (str(tmp_path / "no.png"), str(tmp_path / "none.png"), "-o", str(out)): "2 faults",
        (frames[0], str(small), "-o", str(out)): "224x224 and 100x90",
        (*frames, "-o", str(out), "--preset", "robst"): "Did you mean 'robust'",
        (*frames, "-o", str(tmp_path / "map.xyz")): "map.png",
        (*frames, "-o", str(tmp_path / "map.psd")): "map.png",
        (*frames, "-o", frames[0]): "another file",
        (frames[0], str(tmp_path / ("a" * 300)), "-o", str(out)): "cannot be read",
        (*frames, "-o", str(tmp_path / "absent" / "map.png")): "no folder",
    }
    for arguments, words in cases.items():
        assert main(["map", *arguments]) == 1
        assert words in capsys.readouterr().err
    assert not out.exists()


def test_prepared_datasets_are_listed_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path))
    assert main(["datasets"]) == 0
    assert "mellm prepare synthme" in capsys.readouterr().err
    for name in ("drawn", "damaged"):
        store.write(name, {"test": (sample(clip) for clip in clips("test", 4))}, {"source": "a test"})
    assert main(["datasets", "--verify", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["dataset"] for row in rows] == ["damaged", "drawn"]
    assert rows[0]["splits"] == {"test": {"clips": 4, "subjects": 1}}
    (file,) = (tmp_path / "damaged" / "data").glob("*.parquet")
    with file.open("r+b") as handle:
        handle.truncate(file.stat().st_size // 2)
    assert main(["datasets", "--verify"]) == 1
    printed = capsys.readouterr()
    assert "drawn" in printed.out and "damaged" in printed.err


def test_an_unknown_dataset_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["prepare", "casme22"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith("Did you mean 'casme2' or 'casme3'?")


def test_au_explains_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["au", "(R6 or R12)+R15", "ref(7B)+43C", "4A/B", ""]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    blocks = said.out.replace("\n  ", "  ").splitlines()
    assert [block.split("  ")[0] for block in blocks] == ["(R6 or R12)+R15", "ref(7B)+43C", "4A/B", "(empty)"]
    assert "AU6 cheek raiser" in blocks[0] and "; or AU12 lip corner puller" in blocks[0]
    assert "the subject's right (image left" in blocks[0]
    assert "no event, 'ref(7B)'" in blocks[1] and "AU43 eyes closed" in blocks[1] and "marked intensity" in blocks[1]
    assert "trace to slight" in blocks[2] and "no code" in blocks[3]


def test_au_says_what_it_cannot_read_and_explains_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["au", "R14+17+soft focus", "12", "4-7"]) == 1
    said = capsys.readouterr()
    assert "not read, 'soft focus': " in said.out and "not read, '4-7': " in said.out
    assert "dimpler" in said.out and "chin raiser" in said.out and "lip corner puller" in said.out
    assert "2 of 3 codes" in said.err


def test_au_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["au", "--json", "(R6 or R12)+R15", "R14+soft focus", "?"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [[row["units"], row["unread"]] for row in rows] == [
        [[[6, 12], [15]], []],
        [[[14]], ["soft focus"]],
        [None, ["?"]],
    ]
    assert rows[0]["code"] == "(R6 or R12)+R15" and list(rows[0]) == ["code", "units", "unread", "detail"]
    assert [part["role"] for part in rows[1]["detail"]] == ["event", "unread"] and rows[1]["detail"][1]["reason"]
    reading = rows[0]["detail"][0]["units"][0]["readings"][0]
    assert reading == {"number": 6, "side": "R", "intensity": None, "kind": "AU"}


def test_au_reads_lines_whatever_their_encoding() -> None:
    text = "\ufeff4+7\r\n\n４，１２\n".encode() + b"12+\xff\n"
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for more in (["--json"], []):
        run = [str(MELLM), "au", "-", b"6+\xfe", *more]
        done = subprocess.run(run, input=text, capture_output=True, env=ascii_only)
        assert done.returncode == 1 and done.stderr.startswith(b"mellm: 2 of 5 codes"), done.stderr
        if more:
            rows = [json.loads(line) for line in done.stdout.splitlines()]
            assert [row["units"] for row in rows] == [[[4], [7]], None, [[4], [12]], [[12]], [[6]]]


def test_au_shows_how_to_call_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["au", "--help"])
    assert caught.value.code == 0 and 'mellm au "(R6 or R12)+R15"' in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        main(["au"])
    assert caught.value.code == 2 and "CODE" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["tasks"], ["--help"], ["map", "--help"], ["au", "4A/B", "12"]])
@pytest.mark.parametrize("both", [False, True])
def test_a_closed_pipe_is_no_fault(arguments: list[str], both: bool) -> None:
    read, write = os.pipe()
    os.close(read)
    stderr = write if both else subprocess.PIPE
    done = subprocess.run([str(MELLM), *arguments], stdout=write, stderr=stderr, text=True)
    os.close(write)
    assert done.returncode == 0 and not done.stderr


def test_what_failed_has_failed_although_nobody_reads_it() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([str(MELLM), "map", "none.png", "-o", "map.png"], stdout=write, stderr=write)
    os.close(write)
    assert done.returncode == 1


def test_every_command_has_a_heading_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "exit codes: 0 done; 1 " in shown and "130 interrupted" in shown and "docs/" in shown
    (commands,) = [action for action in parser()._actions if isinstance(action, Headings)]
    assert commands.choices.keys() == {name for names in commands.groups.values() for name in names}
    assert all(commands.groups) and all(f"  {heading}:" in shown for heading in commands.groups)
    for one in parsers(parser()):
        if one.prog != "mellm":
            assert (one.epilog or "").startswith("examples:\n  ") and f" {one.prog}" in str(one.epilog), one.prog


def test_every_command_can_be_read_by_a_script() -> None:
    for one in parsers(parser()):
        options = {option for action in one._actions for option in action.option_strings}
        has_commands = any(isinstance(action, Headings) for action in one._actions)
        assert ("--json" in options) != has_commands, one.prog


def test_map_as_json(frames: tuple[str, str], video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "map.png"
    assert main(["map", *frames, "-o", str(out), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["file"] == str(out) and row["size"] == [224, 224] and 0 < row["coloured"] < 1 and row["doubts"] == []
    assert abs(row["head"]["tx"]) < 5 and row["settings"]["estimator"] == "local"
    assert main(["map", frames[0], frames[0], "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["doubts"]
    assert main(["map", str(video), "-o", str(out), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["frames"] == 40 and row["onset"] < row["apex"] and Path(row["animation"]).is_file()


@pytest.mark.parametrize("target", ["map.png", "me.jsonl", "maps/", "merged", "own.yaml", "report/", "clip.gif"])
def test_what_another_process_writes_is_not_written(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("L", (64, 64)).save("a.png")
    (tmp_path / "frames").mkdir()
    commands = {
        "map.png": ["map", "a.png", "a.png", "-o", "map.png"],
        "clip.gif": ["map", "frames", "-o", "clip.png"],
        "me.jsonl": ["instruct", "--dataset", "synthme", "--clips", "2", "-o", "me.jsonl"],
        "maps/": ["map", "--dataset", "synthme", "-o", "maps"],
        "merged": ["export", "adapter", "-o", "merged"],
        "own.yaml": ["new-task", "own", "--csv", "own.csv"],
        "report/": ["report", "results", "-o", "report"],
    }
    with sole_writer(tmp_path / target, folder=target.endswith("/")):
        assert main(commands[target]) == 1
        there = sorted(tmp_path.rglob("*"))
    said = capsys.readouterr().err
    assert f"mellm: {target.rstrip('/')}: another process writes to it: process {os.getpid()} on " in said
    assert len(there) == 3 + target.endswith("/"), "a.png, frames, the lock, and its folder"
