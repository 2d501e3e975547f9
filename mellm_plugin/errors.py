"""Every error that a user can meet, as one tree below `MellmError`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class MellmError(Exception):
    """Base of all errors of this package; raised itself where lmms-eval lacks something that this package needs."""


class InputError(MellmError):
    """Input that cannot be used; `faults` holds every fault found in it.

    Each fault is a sentence that says what was expected, what was found and where. `where` (a file, a clip id or an
    option) is put in front of them.
    """

    def __init__(self, faults: str | Iterable[str], where: str = "") -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        self.where = where
        text = f"{where}: " if where else ""
        several = f"{len(self.faults)} faults" + "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(text + (self.faults[0] if len(self.faults) == 1 else several))

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
    """Around imports from lmms-eval: raises a MellmError that says which module or name the installed version lacks."""
    try:
        yield
    except ImportError as error:
        from importlib import metadata

        if (error.name or "").partition(".")[0] != "lmms_eval":
            raise
        name = re.search(r"cannot import name '(\w+)'", str(error))
        lacking = f"{error.name}.{name[1]}" if name else error.name

        def installed(package: str) -> tuple[str, list[str]]:
            try:
                return metadata.version(package), metadata.requires(package) or []
            except metadata.PackageNotFoundError:
                return "not installed", []

        (theirs, _), (ours, needed) = installed("lmms_eval"), installed("mellm_plugin")
        bounds = next((one for one in needed if re.match(r"lmms[-_]eval\b", one)), "lmms-eval")
        raise MellmError(
            f"lmms-eval {theirs} has no {lacking}; mellm-plugin {ours} needs it, and {bounds}: pip install '{bounds}'"
        ) from error


def near(name: str, known: Iterable[str]) -> str:
    """A hint for a wrong name: `" Did you mean 'robust'?"`, or `""` if no known name is near."""
    found = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""
