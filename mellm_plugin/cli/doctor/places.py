"""Checks of folders and disks: prepared datasets, caches, leftovers.

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
from mellm_plugin.cli.doctor.gpu import WEIGHTS_7B
from mellm_plugin.errors import DataError

_LEAST_FREE = 500e6  # bytes; with less, writing a dataset or results may fail
_LEFTOVERS = (".partial", ".clips", ".old")


def data() -> Iterator[Finding]:
    """The data root and the datasets in it; a quick look, `mellm datasets --verify` reads all files."""
    from mellm_plugin.datasets import store
    from mellm_plugin.datasets.catalogue import KNOWN, prepare_command

    root = store.data_root()
    chosen = "MELLM_DATA" if os.environ.get("MELLM_DATA", "").strip() else "the user's data folder"
    yield _writable(root, f"{root} ({chosen})", "export MELLM_DATA=FOLDER")
    if root.exists() and not root.is_dir():
        return
    prepared = store.list_prepared()
    yield from map(_dataset, prepared)
    there = {re.sub(r"-v\d+$", "", name) for name in prepared}  # a folder may end in a version: synthme-v1
    for name, known in KNOWN.items():
        if name not in there:
            # a dataset that needs no arguments is drawn
            state = "is not prepared" if known.arguments else "is not drawn yet: the first task that needs it does so"
            yield note(f"{name} ({known.title}) {state}", prepare_command(name))
    for left in sorted(path for end in _LEFTOVERS for path in root.glob(f".*{end}")):
        reused = "; the next run for the same dataset reuses it" if left.suffix == ".clips" else ""
        yield note(
            f"{left} belongs to a preparation that was interrupted, or still runs{reused}",
            f"{prepare_command(left.stem.lstrip('.'))}, or, if none runs: rm -r {shlex.quote(str(left))}",
        )


def _dataset(name: str) -> Finding:
    """Whether the files of a prepared dataset exist and hold the recorded number of clips."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mellm_plugin.datasets import store
    from mellm_plugin.datasets.catalogue import prepare_command

    again = f"{prepare_command(name)} --replace"
    try:
        info = store.read_info(name)
    except DataError as error:
        return fault(str(error), again)
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
        return fault(f"{folder}: {'; '.join(faults)}", again)
    return ok(f"{name}: {', '.join(counts)} clips (mellm datasets --verify reads them all)")


def cache() -> Iterator[Finding]:
    """The cache of measured flows."""
    from mellm_plugin.motion.cache import GIGABYTES, cache_folder

    limit = os.environ.get("MELLM_CACHE_GB") or str(GIGABYTES)
    try:
        size = float(limit)
    except ValueError:
        size = math.nan
    if not (math.isfinite(size) and size > 0):
        yield fault(f"MELLM_CACHE_GB: expected a positive number of gigabytes, found {limit!r}", "unset MELLM_CACHE_GB")
        return
    folder = cache_folder()
    if folder is None:
        yield note("MELLM_CACHE=off: every run measures every flow again", "unset MELLM_CACHE")
        return
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    text = f"{folder}, {gigabytes(used)} of at most {size:g} GB"
    yield _writable(folder, text, "export MELLM_CACHE=FOLDER (or off)")


def hub() -> Iterator[Finding]:
    """The folder of models from the hub."""
    from huggingface_hub.constants import HF_HOME

    folder = Path(HF_HOME)
    yield _writable(folder, f"{folder} (HF_HOME)", "export HF_HOME=FOLDER")
    free = _free(folder)
    if free < WEIGHTS_7B and not list(folder.glob("hub/models--Qwen--Qwen2.5-VL-7B*")):
        yield note(
            f"Qwen2.5-VL-7B is not downloaded: it needs {gigabytes(WEIGHTS_7B)}, and {gigabytes(free)} are free",
            "export HF_HOME=FOLDER, on a larger disk",
        )


def _writable(folder: Path, text: str, do: str) -> Finding:
    """Whether a folder, which may not exist yet, can be written to and has space.

    Args:
        folder: the folder.
        text: its name and what else is known about it.
        do: how to choose another.
    """
    there = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"mellm")
    except OSError as error:
        return fault(f"{folder} cannot be written to: {there}: {error.strerror or error}", do)
    free = _free(folder)
    if free < _LEAST_FREE:
        return fault(f"{text}: {free / 1e6:.0f} MB are free", f"free some space, or {do}")
    return ok(f"{text}{'' if math.isinf(free) else f', {gigabytes(free)} free'}")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next((one for one in (folder, *folder.absolute().parents) if os.path.lexists(one)), Path(os.sep))


def _free(folder: Path) -> float:
    """Free bytes on the folder's disk; infinite where the system does not say."""
    try:
        return float(shutil.disk_usage(_existing(folder)).free)
    except OSError:
        return math.inf
