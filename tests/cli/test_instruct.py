"""`mellm instruct`: chat examples as complete files, resumed runs, and all faults at once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mellm_plugin.cli import main
from mellm_plugin.datasets import store, synthme
from mellm_plugin.motion.settings import DEFAULT
from mellm_plugin.training.data import Examples, Source

DRAWN = ["instruct", "--dataset", "synthme", "--clips", "12", "--count", "12"]


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared dataset of six clips of two subjects; one clip has a truncated frame."""
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "data"))
    clips = list(synthme.clips("elsewhere", 3)) * 2
    samples = [
        replace(synthme.sample(clip), id=f"toy/s{n % 2}/{n}", dataset="toy", subject=f"s{n % 2}", clip=str(n))
        for n, clip in enumerate(clips)
    ]
    samples[4] = replace(samples[4], onset=samples[4].onset[:4000])
    store.write("toy", {"train": samples}, {"source": "drawn"})
    return tmp_path


def test_the_file_holds_what_training_sees_in_the_common_chat_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "er" / "out.jsonl"
    assert _run(*DRAWN, "-o", out, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    lines = _lines(out)
    assert said["examples"] == len({line["id"] for line in lines}) == 12 == sum(said["forms"].values())
    assert said["data"]["datasets"]["synthme"]["examples"] == 12
    for line, example in zip(lines, Examples([Source("synthme", clips=12)], DEFAULT, count=12), strict=True):
        user, assistant = line["messages"]
        assert user == {"role": "user", "content": f"<image>{example.prompt}"}
        assert assistant == {"role": "assistant", "content": example.answer} and line["subject"] == example.subject
        with Image.open(out.parent / line["images"][0]) as image:
            assert image.mode == "RGB" and np.array_equal(np.asarray(image), example.images[0])
    assert not list(out.parent.glob("*.part")) and not list(out.parent.glob(".*"))


def test_frames_instead_of_maps(tmp_path: Path) -> None:
    out = tmp_path / "frames.jsonl"
    assert _run(*DRAWN[:-1], "3", "--motion", "off", "-o", out) == 0
    for line in _lines(out):
        assert len(line["images"]) == 2 and line["messages"][0]["content"].startswith("<image><image>")


def _interrupted(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> Path:
    """The partial file of a run that is interrupted just before its file takes its name."""

    original = Path.replace

    def interrupt(path: Path, target: Path) -> Path:
        if target == arguments[-1]:
            raise KeyboardInterrupt
        return original(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        assert _run(*arguments) == 130
    (part,) = Path(arguments[-1]).parent.glob(".*.part")
    return part


def test_an_interrupted_run_is_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, cut = tmp_path / "whole" / "out.jsonl", tmp_path / "cut" / "out.jsonl"
    assert _run(*DRAWN, "-o", out) == 0
    text = out.read_bytes()
    lines = text.splitlines(keepends=True)
    part = _interrupted(monkeypatch, *DRAWN, "-o", cut)
    part.write_bytes(b"".join(lines[:5]) + lines[5][:40])
    capsys.readouterr()
    assert _run(*DRAWN, "-o", cut, "--json") == 0
    assert json.loads(capsys.readouterr().out)["resumed"] == 5
    assert cut.read_bytes() == text and not part.exists()


def test_an_existing_file_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("mine")
    assert _run(*DRAWN, "-o", out) == 1
    assert "--replace" in capsys.readouterr().err and out.read_text() == "mine"
    assert _run(*DRAWN, "-o", out, "--replace") == 0
    assert len(_lines(out)) == 12
    assert _run(*DRAWN, "-o", tmp_path) == 1
    assert "found a folder" in capsys.readouterr().err


def test_a_damaged_clip_is_left_out_and_reported_again_on_resuming(
    prepared: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = prepared / "toy.jsonl"
    arguments = ["instruct", "--dataset", "toy", "--labels", "synthme", "--forms", "label", "--plain", "-o", out]
    written = _interrupted(monkeypatch, *arguments).read_bytes()
    capsys.readouterr()
    assert _run(*arguments) == 1
    said = capsys.readouterr()
    assert "toy/s0/4" in said.err and "the others are written" in said.err and "licences" in said.out
    assert out.read_bytes() == written
    assert {line["id"].partition("#")[0] for line in _lines(out)} == {f"toy/s{n % 2}/{n}" for n in (0, 1, 2, 3, 5)}
    assert len({line["messages"][0]["content"] for line in _lines(out)}) == 1


def test_a_killed_run_leaves_the_file_and_images_that_it_would_replace(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert _run(*DRAWN, "-o", out) == 0
    before = {path: path.read_bytes() for path in (out, *sorted((tmp_path / "images" / "out").iterdir()))}
    run = "import sys; from mellm_plugin.cli import main; sys.exit(main(sys.argv[1:]))"
    again = [*DRAWN, "--seed", "1", "-o", str(out), "--replace"]
    running = subprocess.Popen([sys.executable, "-c", run, *again], stderr=subprocess.DEVNULL)
    for _ in range(1200):
        if any(part.read_bytes().count(b"\n") >= 3 for part in tmp_path.glob(".*.part")):
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL and len(list(tmp_path.glob(".*.part"))) == 1
    assert {path: path.read_bytes() for path in before} == before
    assert _run(*again) == 0
    assert all(path.read_bytes() != content for path, content in before.items())
    assert not list(tmp_path.glob(".*"))


def test_subjects_are_left_out(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = prepared / "toy.jsonl"
    assert _run("instruct", "--dataset", "toy", "--labels", "synthme", "--without", "toy/s0", "-o", out) == 0
    assert {line["subject"] for line in _lines(out)} == {"toy/s1"}
    assert _run("instruct", "--dataset", "toy", "--without", "toy/s9", "toy", "-o", prepared / "b.jsonl") == 1
    said = capsys.readouterr().err
    assert "found 'toy/s9'" in said and "found 'toy'" in said


def test_all_faults_at_once(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, faults in (
        (("toyy", "toy", "--forms", "labl,aus", "--count", "0"), ("'toyy' is not prepared", "'label'?", "at least 1")),
        (("toy", "--forms", "label=x", "aus=y"), ("'label=x'", "'aus=y'")),
    ):
        assert _run("instruct", "--dataset", *arguments, "-o", prepared / "out.jsonl") == 1
        said = capsys.readouterr().err
        assert all(fault in said for fault in faults), said
    assert not list(prepared.glob("*.jsonl"))
