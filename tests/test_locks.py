from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest
from loguru import logger

from mellm_plugin.errors import BusyError, InputError
from mellm_plugin.locks import ProcessLock, Timeout, sole_writer

HOLD = (
    "import sys; from pathlib import Path; from mellm_plugin.locks import ProcessLock\n"
    "with ProcessLock(Path(sys.argv[1])):\n print('held', flush=True); input()"
)

INSIDE = f"""
import subprocess, sys, threading, time
from pathlib import Path
from lmms_eval.evaluator import _enable_reentrant_filelocks

_enable_reentrant_filelocks()

from filelock import FileLock
from mellm_plugin.datasets import store
from mellm_plugin.datasets.sample import Sample

root = Path(sys.argv[1])
assert FileLock(root / "theirs") is FileLock(root / "theirs"), "lmms-eval shares locks no more: locks.py may go"
(root / ".toy.partial").mkdir()  # as left by whoever is at work on it
command = [sys.executable, "-c", {HOLD!r}, str(root / ".toy.lock")]
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
    assert other.stdout.readline() == "held\\n"
    threading.Timer(1, lambda: print("go", file=other.stdin, flush=True)).start()
    began = time.monotonic()
    image = Path(sys.argv[2]).read_bytes()
    sample = Sample("toy/s/1", "toy", "s", "1", onset=image, apex=image)
    store.write("toy", {{"test": [sample]}}, {{"source": "test"}}, root=root, exists="keep")
    assert time.monotonic() - began > 0.9
"""


@contextmanager
def held(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until a line comes."""
    with subprocess.Popen([sys.executable, "-c", code, path], stdin=PIPE, stdout=PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        yield other


def test_each_call_makes_a_lock_with_its_own_settings_and_waiting_names_the_holder(tmp_path: Path) -> None:
    first, second = ProcessLock(tmp_path / "lock", timeout=0), ProcessLock(tmp_path / "lock")
    assert first is not second and (first.timeout, second.timeout) == (0, -1)
    lines: list[str] = []
    with held(HOLD, tmp_path / "lock") as other:
        threading.Timer(0.2, lambda: print("go", file=other.stdin, flush=True)).start()
        number = logger.add(lines.append, format="{message}")
        with second, pytest.raises(Timeout), first:
            pass
        logger.remove(number)
    assert len(lines) == 1 and f"waiting for process {other.pid} on" in lines[0]


@pytest.mark.slow
def test_inside_lmms_eval_a_task_waits_for_the_process_that_prepares_its_dataset(tmp_path: Path) -> None:
    from PIL import Image

    image = tmp_path / "image.png"
    Image.new("L", (16, 16)).save(image)
    root = tmp_path / "root"
    root.mkdir()
    done = subprocess.run([sys.executable, "-c", INSIDE, root, image], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_writer_is_named_and_its_lock_ends_with_it(tmp_path: Path) -> None:
    out = tmp_path / "made" / "me.jsonl"
    with held(HOLD.replace("ProcessLock", "sole_writer"), out) as other:
        message = rf"me.jsonl: another process writes to it: process {other.pid} on \S+ \(-c \S+\), since 20\d\d-"
        with pytest.raises(BusyError, match=message), sole_writer(out):
            pass
        with sole_writer(out.with_name("other.jsonl")):  # of another file
            pass
        other.kill()
    assert (out.parent / ".me.jsonl.lock").exists(), "the file that a killed process left locks nothing"
    with sole_writer(out):
        pass
    assert not tmp_path.joinpath("made", ".me.jsonl.lock").exists()


def test_a_lock_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    for kept in (False, True):
        with sole_writer(folder, folder=True):
            assert folder.is_dir()
            if kept:
                (folder / "map.png").touch()
    assert [path.name for path in folder.iterdir()] == ["map.png"]
    with pytest.raises(InputError, match=r"c: cannot be written: .*map.png"), sole_writer(folder / "map.png" / "c"):
        pass
    with sole_writer(tmp_path / "c" / "d.yaml"), sole_writer(Path(".")):  # which has no name
        pass
    assert not (tmp_path / "c").exists()
