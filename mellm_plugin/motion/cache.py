"""Measured flows kept on disk between runs, keyed by the pixels and by the settings of the measurement.

Settings of the painting are no part of the key: a map in other colours is painted from the stored flow.
"""

from __future__ import annotations

import itertools
import math
import os
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import platformdirs
from joblib import Memory

from mellm_plugin.errors import SettingsError
from mellm_plugin.motion.facial import FacialFlow, Pair, measure
from mellm_plugin.motion.settings import MotionSettings

VERSION = 5
"""Version of the measurement; changes whenever equal pixels and settings give another flow, confidence or doubt."""

GIGABYTES = 2.0
"""Default size of the folder; the flow of a clip of 224 px takes .6 MB."""

_PAINTING = ("working_side", "scale", "floor_px", "knee_px", "overlay", "palette")
_TRIM_EVERY = 200  # new flows


def measured_by(settings: MotionSettings) -> dict[str, Any]:
    """The settings of the measurement, by name, without those that affect only the painting."""
    return {name: value for name, value in settings.to_dict().items() if name not in _PAINTING}


def _measured(pair: Pair, heeded: Mapping[str, Any], version: int) -> FacialFlow:
    return measure(pair, MotionSettings.from_dict(heeded))


class MotionCache:
    """A folder of measured flows, safe for many threads and processes.

    Entries are written to a temporary name and renamed; an unreadable entry is measured again. Above the size limit the
    least recently used flows are removed. A failed write costs a warning, not the flow.

    Args:
        folder: created if it does not exist.
        gigabytes: size limit, enforced every 200 new flows and by `trim`.

    Raises:
        SettingsError: the limit is no positive number, or the folder cannot be created.
    """

    def __init__(self, folder: str | os.PathLike[str], gigabytes: float = GIGABYTES) -> None:
        if not (math.isfinite(gigabytes) and gigabytes > 0):
            raise SettingsError(f"expected a positive number of gigabytes, found {gigabytes!r}", where="motion cache")
        self.folder = Path(folder)
        self.gigabytes = gigabytes
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._memory = Memory(self.folder, verbose=0)
            self._measured = self._memory.cache(_measured)
        except OSError as error:
            raise SettingsError(
                f"cannot create the folder: {error}; set MELLM_CACHE to another one, or to off", where="motion cache"
            ) from error
        self._new = itertools.count(1)

    def measure(self, pair: Pair, settings: MotionSettings) -> FacialFlow:
        """As `facial.measure`, from the folder if the flow is there."""
        key = measured_by(settings)
        try:
            known = self._measured.check_call_in_cache(pair, key, VERSION)
            found: FacialFlow = self._measured(pair, key, VERSION)
        except OSError as error:  # joblib itself warns only if it cannot write an entry, not if its metadata fails
            warnings.warn(f"cannot write to the motion cache: {error}", stacklevel=2)
            return measure(pair, settings)
        if not isinstance(found, FacialFlow) or found.flow.shape[:2] != pair.onset.shape:  # overwritten by others
            return measure(pair, settings)
        if not known and next(self._new) % _TRIM_EVERY == 1:
            self.trim()
        return found

    def trim(self) -> None:
        """Remove the least recently used flows until the folder is within its limit."""
        self._memory.reduce_size(bytes_limit=int(self.gigabytes * 1e9))


def default_cache() -> MotionCache | None:
    """The user's cache, or None if it is off.

    The environment variable MELLM_CACHE names its folder (`off`: no cache), MELLM_CACHE_GB its size.

    Raises:
        SettingsError: MELLM_CACHE_GB is no positive number.
    """
    folder = cache_folder()
    return None if folder is None else _opened(str(folder), os.environ.get("MELLM_CACHE_GB") or str(GIGABYTES))


def cache_folder() -> Path | None:
    """The folder of the user's cache, which may not exist yet; None with `MELLM_CACHE=off`."""
    folder = os.environ.get("MELLM_CACHE") or str(platformdirs.user_cache_path("mellm-plugin") / "motion")
    return None if folder == "off" else Path(folder)


@lru_cache(maxsize=1)
def _opened(folder: str, size: str) -> MotionCache | None:
    try:
        gigabytes = float(size)
    except ValueError:
        raise SettingsError(f"MELLM_CACHE_GB: expected a number of gigabytes, found {size!r}") from None
    try:
        return MotionCache(folder, gigabytes)
    except SettingsError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        warnings.warn(f"no motion cache: {error}", stacklevel=3)
        return None
