"""One writer at a time: whoever writes a file or a folder holds a lock on it, and the lock names the holder.

    with sole_writer(Path("me.jsonl")):              # .me.jsonl.lock beside it, while it is held
    with sole_writer(Path("maps"), folder=True):     # maps/.lock
    with ProcessLock("/data/.casme2.lock"):          # waits, and logs which process it waits for

The operating system holds these locks (flock, LockFileEx): they end with their process, even by SIGKILL, and a leftover
file locks nothing. The same is true between machines on NFS from version 4 on. Where a file system has no flock (some
FUSE and Lustre mounts), filelock warns and treats an existing file as the lock; after a process on another machine was
killed, remove such a file by hand. If locking fails for another reason, nothing is written.

Once an evaluation begins, lmms-eval 0.7.3 (`evaluator._enable_reentrant_filelocks`) answers each
`filelock.FileLock(..)` in its process with one shared object per path, with the settings of the first caller. It
changes only that class, so a subclass behaves as written.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mellm_plugin.errors import BusyError, InputError
from mellm_plugin.redaction import redacted

__all__ = ["ProcessLock", "Timeout", "sole_writer"]

_COMMAND = 200  # characters of the command in a note


class ProcessLock(FileLock):
    """A `filelock.FileLock` of our own: each call makes another object, with the settings of that call.

    Its file names the holder, and waiting for it is logged.

    Raises:
        Timeout: (an OSError) another process holds it, and the given time is over.
        OSError: its file cannot be created.
    """

    def acquire(self, timeout: float | None = None, *args: Any, **named: Any) -> Any:
        """As filelock's."""
        try:
            held = super().acquire(0, *args, **named)
        except Timeout:
            if (self.timeout if timeout is None else timeout) == 0:
                raise
            from loguru import logger

            logger.info(f"mellm: waiting for {_holder(self.lock_file)}, which holds {self.lock_file}")
            held = super().acquire(timeout, *args, **named)
        if self.lock_counter == 1 and type(self) is ProcessLock:  # filelock changes the class where there is no flock
            command = redacted(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])) if sys.argv else ""
            since = datetime.now(timezone.utc).isoformat(timespec="seconds")
            note = {"pid": os.getpid(), "host": socket.gethostname(), "command": command[:_COMMAND], "since": since}
            with suppress(OSError):  # the lock works without a name too
                Path(self.lock_file).write_text(json.dumps(note), encoding="utf-8")
        return held


def _holder(file: str | os.PathLike[str]) -> str:
    """The holder of a lock, as far as its file says: `process 41 on host7 (mellm instruct ..), since ..`."""
    try:
        with open(file, "rb") as opened:
            note = json.loads(opened.read(4096))
        return f"process {note['pid']} on {note['host']} ({note['command']}), since {note['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # Windows prevents reading it; older versions wrote nothing
        return "another process"


@contextmanager
def sole_writer(target: Path, *, folder: bool = False) -> Iterator[None]:
    """Within it, no other process that uses `sole_writer` writes to the file or folder. Its lock leaves no trace.

    Parent folders of the target are created, and removed again if they stay empty.

    Raises:
        BusyError: another process writes to it; raised at once, naming that process.
        InputError: its place cannot be written to or locked.
    """
    whole = target.absolute()  # "." has no name to put a lock beside
    file = whole / ".lock" if folder else whole.parent / f".{whole.name[:200]}.lock"
    with ExitStack() as stack:
        try:
            absent = [one for one in (file.parent, *file.parent.parents) if not one.exists()]
            file.parent.mkdir(parents=True, exist_ok=True)
            for made in reversed(absent):
                stack.callback(_remove_empty, made)
            lock = ProcessLock(file)
            lock.acquire(timeout=0)
        except Timeout:
            held = f"{target}: another process writes to it: {_holder(file)}"
            raise BusyError(f"{held}. Wait until it ends, or choose another {'folder' if folder else 'name'}") from None
        except (OSError, ValueError, NotImplementedError) as error:
            raise InputError(f"cannot be written: {error}; choose another place", where=str(target)) from error
        try:
            yield
        finally:
            with suppress(OSError):  # Windows does not remove an open file
                file.unlink()  # still locked: a waiting process finds it gone and creates another
            lock.release()


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
