"""Checks of folders and disks: prepared datasets, caches, what was left behind.

ok     data   /home/me/.local/share/mellm (the user's data folder), 120 GB free
note   data   casme2 is not prepared    -> mellm prepare casme2 --frames FOLDER --sheet ..
fault  data   samm: data/test-00000-of-00001.parquet is missing    -> mellm prepare samm .. --replace
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mellm_plugin.cli.doctor.findings import Finding, fault, gigabytes, note, ok
from mellm_plugin.cli.doctor.machine import WEIGHTS_7B
from mellm_plugin.errors import DataError

_LEAST = 500e6  # bytes: with less, neither a dataset nor results are sure to be written
_LEFT = (".partial", ".clips", ".old")


def data() -> Iterator[Finding]:
    """The data root, and what is prepared in it: a quick look, `mellm datasets --verify` reads all."""
    from mellm_plugin.datasets import store
    from mellm_plugin.datasets.catalogue import KNOWN, prepare_command

    root = store.data_root()
    chosen = "MELLM_DATA" if os.environ.get("MELLM_DATA", "").strip() else "the user's data folder"
    yield from place("data", root, f"{root} ({chosen})", "export MELLM_DATA=FOLDER")
    if root.exists() and not root.is_dir():
        return
    prepared = store.list_prepared()
    for name in prepared:
        yield _dataset(name)
    there = {re.sub(r"-v\d+$", "", name) for name in prepared}  # a folder may carry its version: synthme-v1
    for name, known in KNOWN.items():
        if name not in there:
            # what needs no arguments is drawn, by whoever asks for it first
            told = "is not prepared" if known.arguments else "is not drawn yet: the first task that needs it does"
            yield note("data", f"{name} ({known.title}) {told}", prepare_command(name))
    for left in sorted(path for end in _LEFT for path in root.glob(f".*{end}")):
        yield note(
            "data",
            f"{left} is of a preparation that was cut off, or still runs; the next one of the same takes it up"
            if left.suffix == ".clips"
            else f"{left} is of a preparation that was cut off, or still runs",
            f"{prepare_command(left.stem.lstrip('.'))}, or, where none runs: rm -r {shlex.quote(str(left))}",
        )


def _dataset(name: str) -> Finding:
    """A prepared dataset: whether its files are there and hold as many clips as recorded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mellm_plugin.datasets import store
    from mellm_plugin.datasets.catalogue import prepare_command

    again = f"{prepare_command(name)} --replace"
    try:
        info = store.read_info(name)
    except DataError as error:
        return fault("data", str(error), again)
    folder = store.dataset_dir(name)
    faults = [f"{file} is missing" for file in info.get("files", {}) if not (folder / file).is_file()]
    counts = []
    for split, entry in info["splits"].items():
        try:
            rows = pq.read_metadata(folder / entry["file"]).num_rows
        except FileNotFoundError:
            faults.append(f"{entry['file']} is missing")
        except (OSError, pa.ArrowException) as error:
            faults.append(f"{entry['file']} cannot be read ({error})")
        else:
            counts.append(f"{split} {rows}")
            if rows != entry["clips"]:
                faults.append(f"{entry['file']}: expected {entry['clips']} clips, found {rows}")
    if faults:
        return fault("data", f"{folder}: {'; '.join(faults)}", again)
    return ok("data", f"{name}: {', '.join(counts)} clips (mellm datasets --verify reads them all)")


def flows() -> Iterator[Finding]:
    """The cache of measured flows."""
    from mellm_plugin.motion.cache import GIGABYTES, cache_folder

    bound = os.environ.get("MELLM_CACHE_GB") or str(GIGABYTES)
    try:
        size = float(bound)
    except ValueError:
        size = math.nan
    if not (math.isfinite(size) and size > 0):
        yield fault(
            "cache", f"MELLM_CACHE_GB: expected a positive number of gigabytes, found {bound!r}", "unset MELLM_CACHE_GB"
        )
        return
    folder = cache_folder()
    if folder is None:
        yield note("cache", "MELLM_CACHE=off: every flow is measured anew in every run", "unset MELLM_CACHE")
        return
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    told = f"{folder}, {gigabytes(used)} of at most {size:g} GB"
    yield from place("cache", folder, told, "export MELLM_CACHE=FOLDER (or off)")


def hub() -> Iterator[Finding]:
    """Where models of the hub are kept."""
    from huggingface_hub.constants import HF_HOME

    folder = Path(HF_HOME)
    yield from place("hub", folder, f"{folder} (HF_HOME)", "export HF_HOME=FOLDER")
    free = _free(folder)
    there = list(folder.glob("hub/models--Qwen--Qwen2.5-VL-7B*"))
    if free is not None and free < WEIGHTS_7B and not there:
        yield note(
            "hub",
            f"Qwen2.5-VL-7B is not there: it takes {gigabytes(WEIGHTS_7B)}, and {gigabytes(free)} are free",
            "export HF_HOME=FOLDER, on a larger disk",
        )


def place(check: str, folder: Path, told: str, do: str) -> Iterator[Finding]:
    """A folder that is written to, there or not.

    Args:
        check: what it is for.
        folder: the folder.
        told: its name and what else is known of it.
        do: how to choose another.
    """
    there = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"mellm")
    except OSError as error:
        yield fault(check, f"{folder} cannot be written to: {there}: {error.strerror or error}", do)
        return
    free = _free(folder)
    if free is not None and free < _LEAST:
        yield fault(check, f"{told}: {free / 1e6:.0f} MB are free", f"free some, or {do}")
    else:
        yield ok(check, f"{told}{'' if free is None else f', {gigabytes(free)} free'}")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next((one for one in (folder, *folder.absolute().parents) if os.path.lexists(one)), Path(os.sep))


def _free(folder: Path) -> float | None:
    try:
        return float(shutil.disk_usage(_existing(folder)).free)
    except OSError:
        return None
