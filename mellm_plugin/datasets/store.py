"""Prepared datasets: one folder each, which Hugging Face `datasets` can load on its own.

    <data root>/casme2/data/test-00000-of-00001.parquet      one row per clip, see `sample.py`
    <data root>/casme2/info.json                             source and contents

The data root is `$MELLM_DATA`, else the user's data folder. A dataset appears in one rename, so a folder with an
`info.json` is whole. Several processes may prepare the same dataset at once.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from mellm_plugin import __version__
from mellm_plugin.datasets.catalogue import prepare_command
from mellm_plugin.datasets.disk import sha256
from mellm_plugin.datasets.root import NAME as _NAME
from mellm_plugin.datasets.root import data_root as data_root
from mellm_plugin.datasets.root import list_prepared as list_prepared
from mellm_plugin.datasets.sample import Sample, Tally, features
from mellm_plugin.errors import DataError, InputError, near
from mellm_plugin.locks import ProcessLock, Timeout

SCHEMA_VERSION = 1
"""Version of the columns and of `info.json`; datasets of other versions must be prepared again."""

_SPLIT = re.compile(r"[a-z][a-z0-9_]*")
_ROWS, _BYTES = 64, 16 << 20  # a row group ends at either, so memory holds no more at once
_FAULTS_SHOWN = 50


def dataset_dir(name: str, root: Path | None = None) -> Path:
    """The folder of a dataset, prepared or not.

    Raises:
        InputError: the name has other characters than lower-case letters, digits, `_` and `-`.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"a dataset is named with lower-case letters, digits, '_' and '-', found {name!r}")
    return (root or data_root()) / name


def is_prepared(name: str, root: Path | None = None) -> bool:
    """Whether a dataset can be read."""
    return (dataset_dir(name, root) / "info.json").is_file()


def is_whole(name: str, root: Path | None = None) -> bool:
    """Whether no file of a prepared dataset has changed since it was written."""
    folder = dataset_dir(name, root)
    try:
        entries = read_info(name, root)["splits"].values()
        return all(sha256(folder / entry["file"]) == entry["sha256"] for entry in entries)
    except (DataError, OSError):
        return False


def read_info(name: str, root: Path | None = None) -> dict[str, Any]:
    """The `info.json` of a prepared dataset.

    Raises:
        DataError: the dataset is not prepared, has another schema, or is damaged.
    """
    folder = dataset_dir(name, root)
    prepared = list_prepared(root)
    try:
        info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        here = f"{folder.parent} (the environment variable MELLM_DATA chooses this folder)"
        raise DataError(
            f"the dataset {name!r} is not prepared: there is no {folder / 'info.json'}.{near(name, prepared)} Prepared"
            f" in {here}: {', '.join(prepared) or 'none'}. To prepare it, run: {prepare_command(name)}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: deeply nested brackets
        raise DataError(f"{folder / 'info.json'} cannot be read ({error}). {_again(name)}") from error
    if not isinstance(info, dict) or info.get("schema") != SCHEMA_VERSION:
        found = info.get("schema") if isinstance(info, dict) else None
        raise DataError(f"{folder} has schema {found!r}, this version reads schema {SCHEMA_VERSION}. {_again(name)}")
    splits = info.get("splits")
    entries = list(splits.values()) if isinstance(splits, dict) else []
    if not entries or not all(isinstance(e, dict) and {"file", "sha256", "clips"} <= e.keys() for e in entries):
        raise DataError(f"{folder / 'info.json'} does not say which files hold which clips. {_again(name)}")
    return info


def training_split(name: str, root: Path | None = None) -> str:
    """The split to train on: `train`, else the only one.

    Raises:
        DataError: the dataset is not prepared, or it has several splits but no `train`.
    """
    splits = read_info(name, root)["splits"]
    if "train" not in splits and len(splits) > 1:
        raise DataError(f"the dataset {name!r} has the splits {', '.join(splits)}; choose one with `split`")
    return "train" if "train" in splits else str(next(iter(splits)))


def read(name: str, split: str, root: Path | None = None) -> Iterator[Sample]:
    """The samples of one split, in stored order; memory holds a few at a time.

    Raises:
        DataError: the dataset is not prepared, has no such split, or its file cannot be read.
    """
    path = dataset_dir(name, root) / _entry(name, split, root)["file"]
    # by row group: the memory of iter_batches grows with the file
    with _reading(path, name), pq.ParquetFile(path, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            yield from map(Sample.from_row, file.read_row_group(group).to_pylist())


def read_columns(name: str, split: str, columns: Sequence[str], root: Path | None = None) -> list[dict[str, Any]]:
    """Some columns of all samples of one split, in stored order; the images are not read.

    Raises:
        DataError: the dataset is not prepared, has no such split, or its file cannot be read.
    """
    path = dataset_dir(name, root) / _entry(name, split, root)["file"]
    with _reading(path, name):
        rows: list[dict[str, Any]] = pq.read_table(path, columns=list(columns), use_threads=False).to_pylist()
    return rows


@contextmanager
def _reading(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read ({error}). {_again(name)}") from error


def _entry(name: str, split: str, root: Path | None) -> dict[str, Any]:
    splits: dict[str, dict[str, Any]] = read_info(name, root)["splits"]
    if split not in splits:
        raise DataError(
            f"the dataset {name!r} has no split {split!r}; it has: {', '.join(splits)}.{near(split, splits)}"
        )
    return splits[split]


def read_file(name: str, file: str, root: Path | None = None) -> bytes:
    """A further file of a prepared dataset, see `write`.

    Raises:
        DataError: the dataset is not prepared, has no such file, or the file cannot be read.
    """
    if file not in (known := read_info(name, root).get("files", {})):
        raise DataError(f"the dataset {name!r} has no file {file!r}; it has: {', '.join(known) or 'none'}")
    path = dataset_dir(name, root) / file
    with _reading(path, name):
        return path.read_bytes()


def write(
    name: str,
    splits: Mapping[str, Iterable[Sample]],
    info: Mapping[str, Any],
    *,
    root: Path | None = None,
    exists: Literal["refuse", "keep", "replace"] = "refuse",
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Store a dataset in one step: it appears as a whole, or nothing changes.

    Args:
        splits: samples by split name (`train`, `test`); generators are consumed one sample at a time.
        info, files: further content of `info.json`, at least `source`, the origin of the data; and further files by
            name. Both are read after the last sample, so a generator may still add to them.
        exists: "keep" reads no sample if `source` and schema are unchanged, and else replaces the dataset.

    Returns:
        the absolute folder of the dataset.

    Raises:
        InputError: invalid samples, duplicate ids, an empty dataset; all faults at once.
        DataError: it exists and `exists` is "refuse"; or it cannot be written.
    """
    folder = dataset_dir(name, root)
    if bad := [split for split in splits if not _SPLIT.fullmatch(split)]:
        raise InputError([f"a split is named with lower-case letters, digits and '_', found {s!r}" for s in bad], name)
    sweep(name, root)
    if exists == "keep" and _is_same(name, info, root):
        return folder  # before anything is written: the data root may be read-only by now
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with ProcessLock(folder.parent / f".{name}.lock"):
            # checked again: another process may have prepared it while we waited
            if exists == "keep" and _is_same(name, info, root):
                return folder
            if exists == "refuse" and is_prepared(name, root):
                raise DataError(f"the dataset {name!r} is prepared already, in {folder}. {_again(name)}")
            _sweep(folder)
            partial = _partial(folder)
            try:
                _write_folder(partial, name, splits, info, files or {})
                _swap(partial, folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"the dataset {name!r} cannot be stored in {folder}: {error}. Free this place, or choose another: the "
            "environment variable MELLM_DATA names the folder of all prepared datasets."
        ) from error
    return folder


def verify(name: str, root: Path | None = None) -> dict[str, Any]:
    """Compare the files of a prepared dataset with its `info.json`, and return that.

    Raises:
        DataError: missing, changed or unexpected files; all of them at once.
    """
    info = read_info(name, root)
    folder = dataset_dir(name, root)
    split_of = {entry["file"]: split for split, entry in info["splits"].items()}
    recorded = {entry["file"]: entry for entry in info["splits"].values()} | info.get("files", {})
    there = sorted(f"data/{path.name}" for path in (folder / "data").glob("*"))
    faults = [f"{file} is not part of the dataset" for file in there if file not in recorded]
    for file, entry in recorded.items():
        if not (folder / file).is_file():
            faults.append(f"{file} is missing")
        elif (found := sha256(folder / file)) != entry["sha256"]:
            faults.append(f"{file}: expected sha256 {entry['sha256']}, found {found}")
        elif file in split_of:
            tally = Tally()
            for sample in read(name, split_of[file], root):
                tally.add(sample.subject, sample.emotion, sample.aus)
            faults += [
                f"{file}: expected {key} {entry.get(key)!r}, found {value!r}"
                for key, value in tally.counts().items()
                if entry.get(key) != value
            ]
    if faults:
        raise DataError(f"{folder} is damaged:" + "".join(f"\n  - {f}" for f in faults) + f"\n{_again(name)}")
    return info


def remove(names: Sequence[str], root: Path | None = None) -> list[dict[str, Any]]:
    """Remove datasets and the leftovers of their unfinished runs; no other folder is touched.

    Returns:
        for each: its `dataset`, `folder`, `clips` (None if it was damaged) and `bytes`.

    Raises:
        InputError: an invalid name (a path, `..`), or one without a dataset; all at once, and nothing is removed.
        DataError: another process is preparing it, or it cannot be removed.
    """
    faults: list[str] = []
    for name in dict.fromkeys(names):
        try:
            if not _traces(dataset_dir(name, root)):
                known = list_prepared(root)
                there = f"there are: {', '.join(known) or 'none'}.{near(name, known)}"
                faults.append(f"no dataset {name!r} is prepared; {there}")
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(faults, where=str(root or data_root()))
    return [_removed(name, root) for name in dict.fromkeys(names)]


def _removed(name: str, root: Path | None) -> dict[str, Any]:
    folder = dataset_dir(name, root)
    try:
        clips = sum(entry["clips"] for entry in read_info(name, root)["splits"].values())
    except DataError:
        clips = None
    traces = _traces(folder)
    size = sum(file.lstat().st_size for path in traces if not path.is_symlink() for file in path.rglob("*"))
    locks = [folder.parent / f".{name}{kind}.lock" for kind in (".clips", "")]  # in the order in which they are taken
    try:
        with ProcessLock(locks[0], timeout=0), ProcessLock(locks[1], timeout=0):
            for path in traces:
                if path.is_symlink():
                    path.unlink()  # its target is not ours
                    continue
                if path == folder:  # renamed first: after an interruption the next run sweeps the rest
                    shutil.rmtree(_partial(folder), ignore_errors=True)
                    path = path.rename(_partial(folder))
                shutil.rmtree(path)
    except Timeout as error:
        raise DataError(f"the dataset {name!r} is being prepared by another process; wait for it") from error
    except OSError as error:
        advice = f"check the permissions of {folder}"
        raise DataError(f"the dataset {name!r} cannot be removed ({error}); {advice}") from error
    return {"dataset": name, "folder": str(folder), "clips": clips, "bytes": size}


def _traces(folder: Path) -> list[Path]:
    """Folders of a dataset and of its unfinished runs; its own only if it holds a dataset."""
    own = [folder] if folder.is_symlink() or (folder / "info.json").is_file() else []
    traces = [_partial(folder), _former(folder), folder.parent / f".{folder.name}.clips", *own]
    return [path for path in traces if path.exists() or path.is_symlink()]


class StoredRows:
    """The samples of one split by id; memory holds one row group. Cheap if read in stored order."""

    def __init__(self, name: str, split: str, root: Path | None = None) -> None:
        """Read the ids.

        Raises:
            DataError: the dataset is not prepared, has no such split, or its file cannot be read.
        """
        self._source = dataset_dir(name, root) / _entry(name, split, root)["file"], name
        self._group = -1
        self._rows: dict[str, dict[str, Any]] = {}
        with _reading(*self._source):
            self._file = pq.ParquetFile(self._source[0], pre_buffer=False)
            self._groups = {
                clip: group
                for group in range(self._file.num_row_groups)
                for clip in self._file.read_row_group(group, columns=["id"])["id"].to_pylist()
            }

    def close(self) -> None:
        """Close the file: some systems cannot rename a folder with an open file."""
        self._file.close()

    def get(self, clip: str) -> Sample | None:
        """The sample with an id, or None.

        Raises:
            DataError: the file cannot be read.
        """
        if (group := self._groups.get(clip)) is None:
            return None
        if group != self._group:
            with _reading(*self._source):
                rows = self._file.read_row_group(group).to_pylist()
            self._group, self._rows = group, {row["id"]: row for row in rows}
        return Sample.from_row(self._rows[clip])


def _write_folder(
    folder: Path, name: str, splits: Mapping[str, Iterable[Sample]], info: Mapping[str, Any], files: Mapping[str, bytes]
) -> None:
    (folder / "data").mkdir(parents=True)
    seen: set[str] = set()
    faults: list[str] = []
    entries: dict[str, dict[str, Any]] = {}
    for split, samples in splits.items():
        file = f"data/{split}-00000-of-00001.parquet"
        tally = Tally()
        _write_parquet(folder / file, _checked(samples, split, seen, tally, faults))
        if not tally.clips and not faults:
            faults.append(f"split {split}: expected at least one clip, found none")
        entries[split] = {"file": file, "sha256": sha256(folder / file), **tally.counts()}
    if not splits:
        faults.append("expected at least one split, found none")
    if faults:
        hidden = len(faults) - _FAULTS_SHOWN
        raise InputError(faults[:_FAULTS_SHOWN] + ([f"and {hidden} more"] if hidden > 0 else []), where=name)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    head = {"schema": SCHEMA_VERSION, "name": name, "created_with": f"mellm-plugin {__version__}", "splits": entries}
    if files:
        head["files"] = {file: {"sha256": sha256(folder / file)} for file in files}
    text = json.dumps({**head, **{k: v for k, v in info.items() if k not in head}}, indent=1, ensure_ascii=False)
    (folder / "info.json").write_text(text + "\n", encoding="utf-8")


def _checked(
    samples: Iterable[Sample], split: str, seen: set[str], tally: Tally, faults: list[str]
) -> Iterator[Sample]:
    """The valid samples; the faults of the others go into `faults`."""
    for sample in samples:
        found = [f"{split}, {sample.id}: {fault}" for fault in sample.faults()]
        if sample.id in seen:
            found.append(f"{split}, {sample.id}: the id occurs twice")
        seen.add(sample.id)
        faults += found
        if not found:
            tally.add(sample.subject, sample.emotion, sample.aus)
            yield sample


def _write_parquet(path: Path, samples: Iterable[Sample]) -> None:
    # the schema carries the `datasets` features, so that an empty column keeps its type
    schema = features().arrow_schema
    few_values = ["dataset", "subject", "apex_source", "emotion", "coarse"]
    # images are compressed already, and statistics of their bytes are large and useless
    options: dict[str, Any] = {"use_dictionary": few_values, "write_statistics": [*few_values, "id", "clip"]}
    with pq.ParquetWriter(path, schema, compression="none", **options) as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for sample in samples:
            rows.append(sample.to_row())
            size += len(sample.onset) + len(sample.apex)
            if len(rows) >= _ROWS or size >= _BYTES:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows, size = [], 0
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def sweep(name: str, root: Path | None = None) -> None:
    """Remove what a killed process left beside a dataset's folder.

    Does nothing while another process prepares the dataset, or if the data root is read-only.
    """
    folder = dataset_dir(name, root)
    if not (_partial(folder).exists() or _former(folder).exists()):
        return
    with suppress(OSError), ProcessLock(folder.parent / f".{name}.lock", timeout=0):  # Timeout is an OSError
        _sweep(folder)


def _sweep(folder: Path) -> None:
    """Undo an interrupted exchange and remove partial folders; call with the lock held."""
    if not folder.exists() and _former(folder).exists():  # a process was killed between its two renames
        _former(folder).rename(folder)
    for path in (_partial(folder), _former(folder)):
        shutil.rmtree(path, ignore_errors=True)


def _partial(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.partial"


def _former(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.old"


def _swap(partial: Path, folder: Path) -> None:
    old = _former(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    try:
        partial.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _is_same(name: str, info: Mapping[str, Any], root: Path | None) -> bool:
    with suppress(DataError):
        stored = read_info(name, root)
        there = all((dataset_dir(name, root) / entry["file"]).is_file() for entry in stored["splits"].values())
        return there and bool(stored.get("source") == json.loads(json.dumps(info.get("source"))))
    return False


def _again(name: str) -> str:
    return f"To make it again, run: {prepare_command(name)} --replace"
