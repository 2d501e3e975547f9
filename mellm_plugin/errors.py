"""Every error that a user can meet, as one tree.

MellmError            also raised itself: lmms-eval lacks something that this package needs
├── InputError        input that cannot be used; reports all of its faults at once
│   ├── ImageError    an image that cannot be read or used
│   ├── CodeError     an action-unit code that cannot be read
│   └── SettingsError motion settings, model arguments or judge settings
├── BusyError         another process writes to the same file or folder
├── DataError         a prepared dataset that is missing or damaged
├── ModelError        a model or an adapter that cannot be loaded
├── TrainingError     a training that cannot start or go on; what it has saved stays intact
└── JudgeError        a judge that is set but cannot be used
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
        where: a file, a clip id or an option, which the message puts in front of the faults.
    """

    def __init__(self, faults: str | Iterable[str], where: str = "") -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        self.where = where
        text = f"{where}: " if where else ""
        if len(self.faults) == 1:
            text += self.faults[0]
        else:
            text += f"{len(self.faults)} faults" + "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(text)

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[str, ...], str]]:
        return type(self), (self.faults, self.where)


class ImageError(InputError):
    """An image that cannot be read or used."""


class CodeError(InputError):
    """An action-unit code that cannot be read."""


class SettingsError(InputError):
    """Motion settings, model arguments or judge settings that cannot be used."""


class BusyError(MellmError):
    """Another process writes to the same file or folder."""


class DataError(MellmError):
    """A prepared dataset that is missing or damaged."""


class ModelError(MellmError):
    """A model or an adapter that cannot be loaded."""


class TrainingError(MellmError):
    """A training that cannot start or go on; what it has saved stays intact."""


class JudgeError(MellmError):
    """A judge that is set but cannot be used: it has no key, does not know the model or cannot be reached."""


@contextmanager
def imports_of_lmms_eval() -> Iterator[None]:
    """Around imports from lmms-eval: reports in one line what the installed version lacks.

    Raises:
        MellmError: it lacks the module, or the module lacks the name.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "lmms_eval":
            raise
        name = re.search(r"cannot import name '(\w+)'", str(error))
        raise MellmError(_wrong_version(f"{error.name}.{name[1]}" if name else str(error.name))) from error


def _wrong_version(lacking: str) -> str:
    from importlib.metadata import PackageNotFoundError, requires, version

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    try:
        needed = requires("mellm-plugin") or ()
    except PackageNotFoundError:
        needed = ()
    bounds = next((one for one in needed if re.match(r"lmms[-_]eval\b", one)), "lmms-eval")
    return (
        f"lmms-eval {installed('lmms_eval')} has no {lacking}; mellm-plugin {installed('mellm_plugin')} needs it, and "
        f"{bounds}: pip install '{bounds}'"
    )


def near(name: str, known: Iterable[str]) -> str:
    """A hint for a wrong name: `" Did you mean 'robust'?"`, or `""` if no known name is near."""
    found = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""
