"""One writer at a time: who writes to a file or a folder holds a lock on it, and says who it is.

    with sole_writer(Path("me.jsonl")):              # .me.jsonl.lock beside it, while it is held
    with sole_writer(Path("maps"), folder=True):     # maps/.lock
    with ProcessLock("/data/.casme2.lock"):          # waits, and tells for whom

The operating system holds these locks (flock, LockFileEx): they end with their process, SIGKILL or not, and a file that
was left behind locks nothing. So they do on NFS from version 4 on, between machines, too. Where a file system has no
flock (some FUSE and Lustre mounts), filelock warns and takes the file's existence for the lock: such a file of a killed
process on another machine has to be removed by hand. Where locking fails for another reason, nothing is written.

Once an evaluation begins, lmms-eval 0.7.3 (`evaluator._enable_reentrant_filelocks`) answers each
`filelock.FileLock(..)` of its process with one shared object per path, made with the settings of whoever asked
first: a lock that was once tried with `timeout=0` never waits again, and what another caller in the process holds
is entered a second time. It changes that class alone, so a subclass stays as it was written.
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

__all__ = ["ProcessLock", "Timeout", "holder", "sole_writer"]

_LONGEST = 4096  # bytes of a note
_COMMAND = 200  # characters of a command that are told


class ProcessLock(FileLock):
    """A `filelock.FileLock` of this package's own: each call makes another object, with the settings of that call.

    Its file names who holds it; one that has to be waited for is told of.

    Raises:
        Timeout: (an OSError) it is held elsewhere, and the given time to wait is over.
        OSError: its file cannot be made.
    """

    def acquire(self, timeout: float | None = None, *args: Any, **named: Any) -> Any:
        """As filelock's."""
        longest = self.timeout if timeout is None else timeout
        if longest == 0:
            held = super().acquire(timeout, *args, **named)
        else:
            try:
                held = super().acquire(0, *args, **named)
            except Timeout:
                from loguru import logger

                logger.info(f"mellm: waiting for {holder(self.lock_file)}, which holds {self.lock_file}")
                held = super().acquire(timeout, *args, **named)
        if self.lock_counter == 1 and type(self) is ProcessLock:  # filelock changes the class of one without flock
            with suppress(OSError):  # the lock holds without a name, too
                Path(self.lock_file).write_text(_note(), encoding="utf-8")
        return held


def _note() -> str:
    command = redacted(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])) if sys.argv else ""
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "command": command[:_COMMAND], "since": since})


def holder(file: str | os.PathLike[str]) -> str:
    """Who holds a lock, in words, as far as its file tells: `process 41 on host7 (mellm instruct ..), since ..`."""
    try:
        with open(file, "rb") as opened:
            note = json.loads(opened.read(_LONGEST))
        return f"process {note['pid']} on {note['host']} ({note['command']}), since {note['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # Windows lets nobody read it; an older version wrote nothing
        return "another process"


@contextmanager
def sole_writer(target: Path, *, folder: bool = False) -> Iterator[None]:
    """While it lasts, no other process that asks may write to a file or a folder. Its lock leaves nothing behind.

    Args:
        target: what is written; folders above it are made, and removed again if nothing comes into them.
        folder: whether it is a folder.

    Raises:
        BusyError: another process writes to it; at once, and with who it is.
        InputError: its place cannot be written to, or not locked.
    """
    whole = target.absolute()  # "." has no name to put a lock beside
    file = whole / ".lock" if folder else whole.parent / f".{whole.name[:200]}.lock"
    with ExitStack() as stack:
        try:
            _make(file.parent, stack)
            lock = ProcessLock(file)
            lock.acquire(timeout=0)
        except Timeout:
            raise BusyError(
                f"{target}: another process writes to it: {holder(file)}. Wait until it ends, or choose another "
                f"{'folder' if folder else 'name'}"
            ) from None
        except (OSError, ValueError, NotImplementedError) as error:
            raise InputError(f"cannot be written: {error}; choose another place", where=str(target)) from error
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no file that is open
                file.unlink()  # still held: who waits for it finds it gone and makes another
            lock.release()


def _make(place: Path, stack: ExitStack) -> None:
    """Make a folder; on the way out it and those above it go again where they are empty."""

    def removed(made: Path) -> None:
        with suppress(OSError):
            made.rmdir()

    absent = [one for one in (place, *place.parents) if not one.exists()]
    place.mkdir(parents=True, exist_ok=True)
    for made in reversed(absent):
        stack.callback(removed, made)
