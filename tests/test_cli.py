"""The command `mellm`, as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mellm_plugin.cli import list_tasks, main
from mellm_plugin.datasets import store
from mellm_plugin.datasets.synthme import Face, clips, draw_clip, sample
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
        "print([m for m in ('numpy', 'cv2', 'torch', 'lmms_eval', 'datasets') if m in sys.modules])"
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
    assert main(["map", *frames, "-o", str(out), "--preset", "fast"]) == 0
    assert Image.open(out).size == (224, 224)


def test_map_of_a_still_face_says_so(
    frames: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", frames[0], frames[0], "-o", str(tmp_path / "map.png")]) == 0
    assert "nothing moves" in capsys.readouterr().err


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
    assert main(["prepare", "sythme"]) == 1
    assert "synthme" in capsys.readouterr().err


def test_a_closed_pipe_is_no_fault() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([str(MELLM), "tasks"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.returncode == 0 and done.stderr == ""
