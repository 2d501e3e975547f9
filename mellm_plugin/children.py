"""Child processes that end with their parent, whether by an error, SIGTERM or SIGKILL.

    process = start(["lmms_eval", "--tasks", ..])    # a Python module, in its own process
    end_with_parent()                                # in a worker of multiprocessing, torch's DataLoader or torchrun

Linux kills a child when its parent ends (PR_SET_PDEATHSIG). On every system, the child also watches a pipe whose other
end the parent holds. The files of such a child are as complete as after any other kill.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any


def start(arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Run a Python module in a process that ends with this one, or when its `stdin` is closed.

    `options` are those of `subprocess.Popen`, except `stdin`: the module reads an empty one.
    """
    command = [sys.executable, "-m", "mellm_plugin.children", str(os.getpid()), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, **options)


def end_with_parent(_: int = 0) -> None:
    """End this process when its parent ends. The argument lets it serve as DataLoader's `worker_init_fn`."""
    parent = multiprocessing.parent_process()
    _kill_after(os.getppid() if parent is None or parent.pid is None else parent.pid)
    if parent is not None:
        _watch(parent.join)


def _kill_after(parent: int) -> None:
    """Let Linux kill this process when its parent ends, or more exactly, the thread that started it."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def _watch(wait: Callable[[], object]) -> None:
    def exit_after() -> None:
        wait()
        os._exit(1)  # at once: nobody is left to report to

    threading.Thread(target=exit_after, name="parent", daemon=True).start()


def _main() -> None:
    pipe = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)  # the pipe is no input of the module
    os.close(empty)
    _kill_after(int(sys.argv[1]))
    _watch(lambda: os.read(pipe, 1))
    module, sys.argv[1:] = sys.argv[2], sys.argv[3:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
