"""The command `mellm` as a whole: its help, its exit codes, closed pipes, and files that another process writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mellm_plugin.cli import main, parser
from mellm_plugin.cli.commands import COMMANDS, parsers, subcommands
from mellm_plugin.datasets import store
from mellm_plugin.datasets.synthme import clips, sample
from mellm_plugin.locks import sole_writer

MELLM = Path(sys.executable).parent / "mellm"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom mellm_plugin.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = ('numpy', 'cv2', 'torch', 'lmms_eval', 'datasets', 'pydantic', 'dataclasses')\n"
        "print([m for m in heavy if m in sys.modules], [m for m in sys.modules if 'mellm_plugin.cli.' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = [f"mellm_plugin.cli.{name}" for name in ("commands", "terminal")]
    assert done.stdout.splitlines()[-1] == f"[] {own}"


def test_the_installed_command_answers() -> None:
    done = subprocess.run([str(MELLM), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("mellm-plugin ")


def test_every_command_has_a_module_a_heading_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "exit codes: 0 done; 1 " in shown and "130 interrupted" in shown and "docs/" in shown
    names = [name for under_heading in COMMANDS.values() for name in under_heading]
    assert all(f"\n    {name} " in shown for name in names) and all(f"\n  {heading}:" in shown for heading in COMMANDS)
    folder = Path(sys.modules["mellm_plugin.cli"].__file__ or "").parent
    shared = {"__init__", "__main__", "__pycache__", "commands", "completion", "options", "terminal"}
    assert {path.stem for path in folder.iterdir()} - shared == {name.replace("-", "_") for name in names}
    for one in parsers(parser()):
        if one.prog != "mellm":
            assert (one.epilog or "").startswith("examples:\n  ") and f" {one.prog}" in str(one.epilog), one.prog
        options = {option for action in one._actions for option in action.option_strings}
        assert ("--json" in options) != bool(subcommands(one)), f"{one.prog}: a script cannot read it"


@pytest.mark.parametrize(("command", "both"), [("tasks", False), ("--help", True), ("map none.png -o map.png", True)])
def test_a_closed_pipe_is_no_fault_and_hides_none(command: str, both: bool) -> None:
    read, write = os.pipe()
    os.close(read)
    stderr = write if both else subprocess.PIPE
    done = subprocess.run([str(MELLM), *command.split()], stdout=write, stderr=stderr, text=True)
    os.close(write)
    assert done.returncode == command.startswith("map") and not done.stderr


def test_a_wrong_choice_suggests_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["prepare", "casme22"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith("Did you mean 'casme2' or 'casme3'?")


@pytest.mark.parametrize("target", ["map.png", "me.jsonl", "maps/", "merged", "own.yaml", "report/", "clip.gif"])
def test_a_target_that_another_process_writes_is_left_alone(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    Image.new("L", (64, 64)).save("a.png")
    (tmp_path / "frames").mkdir()
    commands = {
        "map.png": ["map", "a.png", "a.png", "-o", "map.png"],
        "clip.gif": ["map", "frames", "-o", "clip.png"],
        "me.jsonl": ["instruct", "--dataset", "synthme", "--clips", "2", "-o", "me.jsonl"],
        "maps/": ["map", "--dataset", "drawn", "-o", "maps"],
        "merged": ["export", "adapter", "-o", "merged"],
        "own.yaml": ["new-task", "own", "--csv", "own.csv"],
        "report/": ["report", "results", "-o", "report"],
    }
    if target == "maps/":
        store.write("drawn", {"test": (sample(clip) for clip in clips("test", 1))}, {"source": "a test"})
    with sole_writer(tmp_path / target, folder=target.endswith("/")):
        before = sorted(tmp_path.rglob("*"))
        assert main(commands[target]) == 1
        assert sorted(tmp_path.rglob("*")) == before
    err = capsys.readouterr().err
    assert f"mellm: {target.rstrip('/')}: another process writes to it: process {os.getpid()} on " in err
