"""`mellm instruct`: chat examples as files, whole or gone on with, and what is wrong all at once."""

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
    """A prepared dataset of six clips of two subjects, one of which has a frame that is cut off."""
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "data"))
    clips = list(synthme.clips("elsewhere", 3)) * 2
    samples = [
        replace(synthme.sample(clip), id=f"toy/s{n % 2}/{n}", dataset="toy", subject=f"s{n % 2}", clip=str(n))
        for n, clip in enumerate(clips)
    ]
    samples[4] = replace(samples[4], onset=samples[4].onset[:4000])
    store.write("toy", {"train": samples}, {"source": "drawn"})
    return tmp_path


def test_the_common_chat_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "er" / "out.jsonl"
    assert _run(*DRAWN, "--languages", "en,zh", "-o", out, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    lines = _lines(out)
    assert told["examples"] == len(lines) == 12 and sum(told["forms"].values()) == 12
    assert told["data"]["datasets"]["synthme"]["examples"] == 12
    assert len({line["id"] for line in lines}) == 12
    for line in lines:
        user, assistant = line["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert user["content"].startswith("<image>") and user["content"].count("<image>") == len(line["images"]) == 1
        assert assistant["content"] and line["subject"].startswith("synthme/")
        with Image.open(out.parent / line["images"][0]) as image:
            assert image.size == (224, 224) and image.mode == "RGB"
    assert not list(out.parent.glob("*.part")) and not list(out.parent.glob(".*"))


def test_frames_where_maps_are_off(tmp_path: Path) -> None:
    out = tmp_path / "frames.jsonl"
    assert _run(*DRAWN[:-1], "3", "--motion", "off", "-o", out) == 0
    for line in _lines(out):
        assert len(line["images"]) == 2 and line["messages"][0]["content"].startswith("<image><image>")
        assert "{" not in line["messages"][0]["content"]


def test_a_cut_off_run_is_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, cut = tmp_path / "whole" / "out.jsonl", tmp_path / "cut" / "out.jsonl"
    assert _run(*DRAWN, "-o", out) == 0
    assert _run(*DRAWN, "--seed", "1", "-o", cut) == 0
    other = cut.read_bytes()
    assert other != out.read_bytes()
    # what a run leaves that is killed while it writes a line: a file under the name that its plan gives
    text = out.read_bytes()
    lines = text.splitlines(keepends=True)
    key = _part_of_a_stopped_run(cut, DRAWN)
    cut.unlink()
    key.write_bytes(b"".join(lines[:5]) + lines[5][:40])
    capsys.readouterr()
    assert _run(*DRAWN, "-o", cut, "--json") == 0
    assert json.loads(capsys.readouterr().out)["resumed"] == 5
    assert cut.read_bytes() == text and not key.exists()


def _part_of_a_stopped_run(out: Path, arguments: list[str], lines: int = 0) -> Path:
    """The file that a run of these arguments writes into, from one that is stopped when it has so many lines."""
    run = "import sys; from mellm_plugin.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", run, *arguments, "-o", str(out), "--replace"]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            found = list(out.parent.glob(".*.part"))
            if found and found[0].read_bytes().count(b"\n") >= lines:
                return found[0]
            time.sleep(0.05)
        raise AssertionError("no file was begun")
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("mine")
    assert _run(*DRAWN, "-o", out) == 1
    assert "--replace" in capsys.readouterr().err and out.read_text() == "mine"
    assert _run(*DRAWN, "-o", out, "--replace") == 0
    assert len(_lines(out)) == 12
    assert _run(*DRAWN, "-o", tmp_path) == 1
    assert "found a folder" in capsys.readouterr().err


def test_a_damaged_clip_costs_no_other(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = prepared / "toy.jsonl"
    arguments = ("instruct", "--dataset", "toy", "--labels", "synthme", "--forms", "label", "--plain", "-o", out)
    assert _run(*arguments) == 1
    told = capsys.readouterr()
    assert "toy/s0/4" in told.err and "the others are written" in told.err
    assert "licences" in told.out
    lines = _lines(out)
    assert {line["id"].partition("#")[0] for line in lines} == {f"toy/s{n % 2}/{n}" for n in (0, 1, 2, 3, 5)}
    assert len({line["messages"][0]["content"] for line in lines}) == 1


def test_what_was_left_out_before_a_run_was_cut_off_is_told_again(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = prepared / "toy.jsonl"
    arguments = ["instruct", "--dataset", "toy", "--labels", "synthme", "--forms", "label", "--plain"]
    assert _run(*arguments, "-o", out) == 1
    whole = out.read_bytes()
    out.unlink()
    part = _part_of_a_stopped_run(out, arguments)
    part.write_bytes(whole)
    capsys.readouterr()
    assert _run(*arguments, "-o", out) == 1
    assert "toy/s0/4" in capsys.readouterr().err and out.read_bytes() == whole


def test_a_file_that_is_replaced_keeps_its_images_until_then(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert _run(*DRAWN, "-o", out) == 0
    before = {path: path.read_bytes() for path in (out, *sorted((tmp_path / "images" / "out").iterdir()))}
    part = _part_of_a_stopped_run(out, [*DRAWN, "--seed", "1"], lines=3)
    assert {path: path.read_bytes() for path in before} == before
    assert _run(*DRAWN, "--seed", "1", "-o", out, "--replace") == 0
    assert all(path.read_bytes() != content for path, content in before.items())
    assert not part.exists() and not list(tmp_path.glob(".*"))


def test_subjects_are_left_out(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = prepared / "toy.jsonl"
    assert _run("instruct", "--dataset", "toy", "--labels", "synthme", "--without", "toy/s0", "-o", out) == 0
    assert {line["subject"] for line in _lines(out)} == {"toy/s1"}
    assert _run("instruct", "--dataset", "toy", "--without", "toy/s9", "toy", "-o", prepared / "b.jsonl") == 1
    told = capsys.readouterr().err
    assert "found 'toy/s9'" in told and "found 'toy'" in told


def test_faults_come_at_once(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("instruct", "--dataset", "toyy", "toy", "--forms", "labl,aus", "--count", "0")
    assert _run(*arguments, "-o", prepared / "out.jsonl") == 1
    told = capsys.readouterr().err
    for words in ("'toyy' is not prepared", "Did you mean 'label'?", "count: expected at least 1"):
        assert words in told
    assert _run("instruct", "--dataset", "toy", "--forms", "label=x", "aus=y", "-o", prepared / "out.jsonl") == 1
    told = capsys.readouterr().err
    assert "'label=x'" in told and "'aus=y'" in told
    assert not list(prepared.glob("*.jsonl"))


def test_what_is_written_is_what_training_sees(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert _run(*DRAWN, "-o", out) == 0
    examples = Examples([Source("synthme", clips=12)], DEFAULT, count=12)
    for line, example in zip(_lines(out), examples, strict=True):
        assert line["messages"][1]["content"] == example.answer
        assert line["messages"][0]["content"] == f"<image>{example.prompt}"
        with Image.open(tmp_path / line["images"][0]) as image:
            assert np.array_equal(np.asarray(image), example.images[0])
