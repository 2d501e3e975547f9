"""Every error a user can meet, as one tree.

MellmError
├── InputError        something given to us cannot be used; all of its faults at once
│   ├── ImageError    an image that cannot be read or used
│   ├── CodeError     an action-unit code that cannot be read
│   └── SettingsError motion settings, model arguments or settings of the judge
├── BusyError         another process writes to the same place
├── DataError         a prepared dataset that is absent or damaged
├── ModelError        a model or an adapter that cannot be loaded
├── TrainingError     a training that cannot go on; what it has saved stays whole
├── JudgeError        a judge that is set and cannot be used
└── UpstreamError     an lmms-eval without something that this package builds on
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class MellmError(Exception):
    """Base of all errors of this package."""


class InputError(MellmError):
    """Input that cannot be used; `faults` holds every fault found in it.

    Args:
        faults: one fault or several, each a sentence that says what was expected, what was found and where.
        where: what the faults are of (a file, a clip id), put in front of them.
    """

    def __init__(self, faults: str | Iterable[str], where: str = "") -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        self.where = where
        head = f"{where}: " if where else ""
        if len(self.faults) == 1:
            text = head + self.faults[0]
        else:
            text = f"{head}{len(self.faults)} faults" + "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(text)

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[str, ...], str]]:
        return type(self), (self.faults, self.where)


class ImageError(InputError):
    """An image that cannot be read or used."""


class CodeError(InputError):
    """An action-unit code that cannot be read."""


class SettingsError(InputError):
    """Motion settings, model arguments or settings of the judge that cannot be used."""


class BusyError(MellmError):
    """Another process writes to the same file or folder."""


class DataError(MellmError):
    """A prepared dataset that is absent or damaged."""


class ModelError(MellmError):
    """A model or an adapter that cannot be loaded."""


class TrainingError(MellmError):
    """A training that cannot start or go on; what it has saved stays whole."""


class JudgeError(MellmError):
    """A judge that is set and cannot be used: it has no key, does not know the model or cannot be reached."""


class UpstreamError(MellmError):
    """An lmms-eval that lacks something this package builds on."""


@contextmanager
def imports_of_lmms_eval() -> Iterator[None]:
    """Around imports from lmms-eval: what this lmms-eval lacks is told in one line.

    Raises:
        UpstreamError: it has no such module, or a module of it no such name.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "lmms_eval":
            raise
        name = re.search(r"cannot import name '(\w+)'", str(error))
        lacking = f"{error.name}.{name[1]}" if name else str(error.name)
        raise UpstreamError(_of_another_version(lacking)) from error


def _of_another_version(lacking: str) -> str:
    from importlib.metadata import PackageNotFoundError, requires, version

    def known(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    try:
        needed = [one for one in requires("mellm-plugin") or () if re.match(r"lmms[-_]eval\b", one)]
    except PackageNotFoundError:
        needed = []
    bounds = needed[0] if needed else "lmms-eval"
    return (
        f"lmms-eval {known('lmms_eval')} has no {lacking}; mellm-plugin {known('mellm_plugin')} needs it, and "
        f"{bounds}: pip install '{bounds}'"
    )


def near(name: str, known: Iterable[str]) -> str:
    """A hint for a wrong name: `" Did you mean 'robust'?"`, or `""` when nothing is near."""
    found = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(n) for n in found)}?" if found else ""
