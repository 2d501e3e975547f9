"""Locks between processes that keep their own settings inside lmms-eval.

Once an evaluation begins, lmms-eval 0.7.3 (`evaluator._enable_reentrant_filelocks`) answers each
`filelock.FileLock(..)` of its process with one shared object per path, made with the settings of whoever asked
first: a lock that was once tried with `timeout=0` never waits again, and what another caller in the process holds
is entered a second time. It changes that class alone, so a subclass stays as it was written.
"""

from __future__ import annotations

from filelock import FileLock, Timeout

__all__ = ["ProcessLock", "Timeout"]


class ProcessLock(FileLock):
    """A `filelock.FileLock` of this package's own: each call makes another object, with the settings of that call.

    Raises:
        Timeout: (an OSError) it is held elsewhere, and the given time to wait is over.
        OSError: its file cannot be made.
    """
