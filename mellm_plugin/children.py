"""Child processes that end with their parent, whatever ends it: an error, SIGTERM, SIGKILL.

    process = start(["lmms_eval", "--tasks", ..])    # one of Python's modules, in a process of its own
    end_with_parent()                                # in a worker of multiprocessing, torch's DataLoader, torchrun

Linux kills a child when its parent ends (PR_SET_PDEATHSIG). Everywhere else, and besides, the child watches a pipe of
which its parent holds the other end. What such a child has written is as whole as after any other kill.
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

_PR_SET_PDEATHSIG = 1


def start(arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Run one of Python's modules in a process that ends with this one, or when its `stdin` is closed.

    Args:
        arguments: the module's name, and what it is given.
        options: of `subprocess.Popen`, but for `stdin`: the module finds an empty one.
    """
    command = [sys.executable, "-m", "mellm_plugin.children", str(os.getpid()), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, **options)


def end_with_parent(_: int = 0) -> None:
    """End this process when its parent does. The argument is that of DataLoader's `worker_init_fn`."""
    parent = multiprocessing.parent_process()
    _killed_after(os.getppid() if parent is None or parent.pid is None else parent.pid)
    if parent is not None:
        _watch(parent.join)


def _killed_after(parent: int) -> None:
    """Have Linux kill this process after its parent, more exactly: after the thread that made it."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it was asked for
        os._exit(1)


def _watch(wait: Callable[[], object]) -> None:
    def watched() -> None:
        wait()
        os._exit(1)  # at once: nobody is left to tell

    threading.Thread(target=watched, name="parent", daemon=True).start()


def _main() -> None:
    pipe = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)  # the pipe is no input of what runs here
    os.close(empty)
    _killed_after(int(sys.argv[1]))
    _watch(lambda: os.read(pipe, 1))
    module = sys.argv[2]
    sys.argv[1:] = sys.argv[3:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
