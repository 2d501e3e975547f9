"""Clips that need not be made again: those of the prepared dataset, and those that an interrupted run had finished."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mellm_plugin.datasets import store
from mellm_plugin.datasets.located import Located
from mellm_plugin.datasets.make_sample import LEFT_OUT, SPOTTED
from mellm_plugin.datasets.sample import Sample, features
from mellm_plugin.errors import DataError
from mellm_plugin.locks import ProcessLock


class Earlier:
    """The dataset as it is prepared now; empty without a name, if it is not prepared, or damaged."""

    def __init__(self, name: str = "", root: Path | None = None) -> None:
        self.info: dict[str, Any] = {}
        self._rows: list[store.StoredRows] = []
        if name and store.is_prepared(name, root) and store.is_whole(name, root):
            with suppress(DataError):
                info = store.read_info(name, root)
                self._rows = [store.StoredRows(name, split, root) for split in info["splits"]]
                self.info = info

    def close(self) -> None:
        """Close its files."""
        for rows in self._rows:
            rows.close()

    def holds(self, wanted: Mapping[str, str], skipped: Sequence[Mapping[str, Any]]) -> bool:
        """Whether it was made from these clips (identity by id), with the same skipped rows."""
        failed = {s["id"]: s["identity"] for s in self.info.get("skipped", ()) if "identity" in s}
        others = [s for s in self.info.get("skipped", ()) if "identity" not in s]
        return bool({**failed, **self.info.get("made_from", {})} == wanted and others == list(skipped))

    def get(self, found: Located) -> tuple[Sample, list[str]] | None:
        """The sample and its notes, if it was made from the same row and files."""
        clip = found.entry.id
        if self.info.get("made_from", {}).get(clip) != found.identity:
            return None
        try:
            sample = next((sample for rows in self._rows if (sample := rows.get(clip)) is not None), None)
        except DataError:
            return None  # damaged since
        made = [note for note in self.info.get("notes", {}).get(clip, ()) if note.startswith((SPOTTED, LEFT_OUT))]
        return None if sample is None else (sample, made)


class Finished:
    """The clips that a run has finished before its dataset, in `folder`, is whole: a file each."""

    def __init__(self, folder: Path) -> None:
        self._dataset = folder
        self.folder = folder.parent / f".{folder.name}.clips"

    def exists(self) -> bool:
        """Whether an earlier run left any."""
        return self.folder.exists()

    def remove(self) -> None:
        """Delete all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def size(self) -> int:
        """Bytes of all files."""
        return sum(file_size(file) for file in self.folder.glob("*.parquet"))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock that keeps other processes from preparing the same dataset.

        Raises:
            DataError: the data root cannot be written to.
        """
        place, name = self._dataset.parent, self._dataset.name
        try:
            place.mkdir(parents=True, exist_ok=True)
            lock = ProcessLock(place / f".{name}.clips.lock")
            lock.acquire()
        except OSError as error:
            raise DataError(
                f"the dataset {name!r} cannot be stored in {place} ({error}); check its permissions, or choose another "
                "folder: --out, or the environment variable MELLM_DATA"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def save(self, identity: str, sample: Sample, notes: Sequence[str]) -> None:
        """Store a clip in one step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._file(identity)
        part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
        table = pa.Table.from_pylist([sample.to_row()], schema=features().arrow_schema)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), "notes": json.dumps(list(notes))})
        try:
            pq.write_table(table, part, compression="none")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def load(self, identity: str) -> tuple[Sample, list[str]] | None:
        """The sample and its notes; None if there is no such file, or it is damaged."""
        try:
            with pq.ParquetFile(self._file(identity)) as file:
                table = file.read()
            (row,) = table.to_pylist()
            return Sample.from_row(row), json.loads(table.schema.metadata[b"notes"])
        except (OSError, ValueError, KeyError, pa.ArrowException):
            return None

    def _file(self, identity: str) -> Path:
        return self.folder / f"{identity}.parquet"


def discard(name: str, root: Path | None = None) -> None:
    """Delete the finished clips of a run that was refused or interrupted, so that the next one reuses none.

    Raises:
        DataError: the data root cannot be written to.
    """
    finished = Finished(store.dataset_dir(name, root))
    if finished.exists():
        with finished.alone():
            finished.remove()


def file_size(file: Path) -> int:
    """Bytes of a file; 0 if it is gone, which reading it will report."""
    try:
        return file.stat().st_size
    except OSError:
        return 0
