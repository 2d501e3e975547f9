"""A killed parent takes its children with it: real processes, really killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

PARENT = """
from mellm_plugin import children
process = children.start(["grown", "argument"])
process.wait()
"""

GROWN = """
import multiprocessing, sys, time
from mellm_plugin.children import end_with_parent

def work():
    end_with_parent()
    print("working", flush=True)
    while True:
        pass

if __name__ == "__main__":
    assert sys.argv[1:] == ["argument"] and sys.stdin.read() == ""
    started = [multiprocessing.get_context(how).Process(target=work) for how in ("spawn", "fork")]
    for one in started:
        one.start()
    print("started", flush=True)
    while True:
        pass
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has neither SIGKILL nor fork")
@pytest.mark.parametrize(
    ("ended_by", "portable"),
    [(signal.SIGKILL, False), (signal.SIGTERM, True)],
    ids=["SIGKILL", "SIGTERM, without the help of Linux"],
)
def test_no_child_is_left(tmp_path: Path, ended_by: signal.Signals, portable: bool) -> None:
    if portable:
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.platform = 'other'\n")
    (tmp_path / "grown.py").write_text(GROWN)
    root = Path(__file__).parent.parent
    environment = {"PYTHONPATH": f"{tmp_path}:{root}", "PATH": ""}
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert sorted(process.stdout.readline() for _ in range(3)) == ["started\n", "working\n", "working\n"]
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 3
        process.send_signal(ended_by)
        _, alive = psutil.wait_procs(family, timeout=10)
        for one in alive:
            one.kill()
        assert not alive
