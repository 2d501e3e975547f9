"""Completion, asked for as a shell does: one process of `mellm` for each press of the key."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mellm_plugin.cli import main, parser
from mellm_plugin.cli.commands import parsers
from mellm_plugin.cli.completion import NAMES
from mellm_plugin.datasets import store
from mellm_plugin.datasets.synthme import clips, sample

BIN = Path(sys.executable).parent


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "data"))
    store.write("casme2", {"test": (sample(clip) for clip in clips("test", 1))}, {"source": "a test"})
    (tmp_path / "mine.yaml").write_text("base: bundled\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(line: str) -> list[str]:
    """What bash would show."""
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": "offered.txt"}
    asked |= {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    subprocess.run([str(BIN / "mellm")], env={**os.environ, **asked}, check=True, capture_output=True)
    return [name.strip() for name in Path("offered.txt").read_text().split("\n")]


def test_commands_options_and_names(place: Path) -> None:
    assert "--nearest" in offered("mellm prepare casme2 --n")
    assert offered("mellm instruct --dataset synthme ca") == ["casme2"]
    assert offered("mellm finetune mi") == ["mine.yaml"]
    assert NAMES["map", "--dataset"]() == ["synthme", "casme2"] and "casme2_meu" in NAMES["loso", "--task"]()
    assert {"bundled_lora", "mine.yaml"} <= set(NAMES["finetune", "config"]())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_takes_the_script(place: Path) -> None:
    script = (
        'eval "$(mellm --print-completion bash)"; complete -p mellm >&2\n'
        'COMP_LINE="mellm da" COMP_POINT=8 COMP_TYPE=9; _python_argcomplete mellm da mellm; echo "${COMPREPLY[@]}"'
    )
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "--norc", "-c", script]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.stdout.split() == ["datasets"] and "_python_argcomplete" in done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh"])
def test_every_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])
    printed = capsys.readouterr()
    assert not ended.value.code and "mellm" in printed.out and printed.err == ""


def test_every_completed_argument_exists() -> None:
    there = set()
    for one in parsers(parser()):
        for action in one._actions:
            there.add((one.prog.split(maxsplit=1)[-1], (action.option_strings or [action.dest])[-1]))
    assert NAMES.keys() <= there
