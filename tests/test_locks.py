from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mellm_plugin.locks import ProcessLock, Timeout

HOLD = (
    "import sys; from mellm_plugin.locks import ProcessLock\n"
    "with ProcessLock(sys.argv[1]):\n print('held', flush=True); input()"
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


def test_each_call_makes_a_lock_with_its_own_settings(tmp_path: Path) -> None:
    first, second = ProcessLock(tmp_path / "lock", timeout=0), ProcessLock(tmp_path / "lock")
    assert first is not second and (first.timeout, second.timeout) == (0, -1)
    with second, pytest.raises(Timeout), first:
        pass


@pytest.mark.slow
def test_inside_lmms_eval_one_waits_for_whoever_prepares_a_dataset(tmp_path: Path) -> None:
    from PIL import Image

    image = tmp_path / "image.png"
    Image.new("L", (16, 16)).save(image)
    root = tmp_path / "root"
    root.mkdir()
    done = subprocess.run([sys.executable, "-c", INSIDE, root, image], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
