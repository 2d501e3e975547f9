"""What a shell offers, asked in the way in which shells ask: a process of `mellm` for each press of the key."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mellm_plugin.cli import parser
from mellm_plugin.cli.commands import parsers
from mellm_plugin.cli.completion import NAMES
from mellm_plugin.datasets import store
from mellm_plugin.datasets.synthme import clips, sample

BIN = Path(sys.executable).parent


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "data"))
    store.write("casme2", {"test": (sample(clip) for clip in clips("test", 2))}, {"source": "a test"})
    (tmp_path / "mine.yaml").write_text("base: bundled\n")
    return tmp_path


def offered(line: str, place: Path) -> list[str]:
    """What bash would show."""
    file = place / "offered.txt"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(file)}
    asked |= {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    subprocess.run([str(BIN / "mellm")], env={**os.environ, **asked}, cwd=place, check=True, capture_output=True)
    return [name.strip() for name in file.read_text().split("\n")]


def test_commands_options_and_names(place: Path) -> None:
    assert offered("mellm pre", place) == ["prepare"]
    assert {"casme2", "synthme", "table"} <= set(offered("mellm prepare ", place))
    assert "--nearest" in offered("mellm prepare casme2 --n", place)
    assert offered("mellm map --dataset ", place) == ["synthme", "casme2"]
    assert offered("mellm instruct --dataset synthme ca", place) == ["casme2"]
    assert "casme2_meu" in offered("mellm loso mine.yaml --task casme2_", place)
    assert offered("mellm finetune bundled_", place) == ["bundled_lora"]
    assert offered("mellm finetune mi", place) == ["mine.yaml"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_takes_the_script(place: Path) -> None:
    script = (
        'eval "$(mellm --print-completion bash)"; complete -p mellm >&2\n'
        'COMP_LINE="mellm da" COMP_POINT=8 COMP_TYPE=9; _python_argcomplete mellm da mellm; echo "${COMPREPLY[@]}"'
    )
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, cwd=place
    )
    assert done.stdout.split() == ["datasets"] and "_python_argcomplete" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_every_shell_has_a_script(shell: str) -> None:
    done = subprocess.run([str(BIN / "mellm"), "--print-completion", shell], capture_output=True, text=True)
    assert done.returncode == 0 and "mellm" in done.stdout and done.stderr == ""


def test_what_is_completed_is_there() -> None:
    there = set()
    for one in parsers(parser()):
        for action in one._actions:
            there.add((one.prog.split(maxsplit=1)[-1], (action.option_strings or [action.dest])[-1]))
    assert NAMES.keys() <= there
