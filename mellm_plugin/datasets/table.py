"""A user's own dataset: a table of clips, CSV or .xlsx, that names the files of the frames.

    id,subject,onset,apex,emotion,aus
    c01,p1,frames/c01/onset.jpg,frames/c01/apex.jpg,happiness,6+12
    c02,p1,frames/c02/img001.jpg,,,L14

Paths are absolute, or relative to the folder of the table. Unknown cells stay empty: a missing apex is looked for among
the numbered frames that follow the onset in its folder; a clip without a label counts for its units alone, one without
units for its label alone. The table becomes a prepared dataset like any other, see `conversion.py`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mellm_plugin.datasets import conversion, store
from mellm_plugin.datasets.catalogue import KNOWN
from mellm_plugin.datasets.cells import objective_class
from mellm_plugin.datasets.conversion import Options, Report
from mellm_plugin.datasets.crop import Cropper, Whole
from mellm_plugin.datasets.entry import Dataset, Entry
from mellm_plugin.datasets.reuse import discard
from mellm_plugin.datasets.sheets import Column, Row, Sheet, as_text, named_columns, read_sheet
from mellm_plugin.datasets.skipped import by_cause, row_ranges
from mellm_plugin.errors import InputError, near
from mellm_plugin.facs.labels import canonical_label
from mellm_plugin.motion.average import DEFAULT_MS

COLUMNS: dict[str, Column] = {
    "id": Column("id"),
    "subject": Column("subject"),
    "onset": Column("onset"),
    "apex": Column("apex", required=False),
    "emotion": Column("emotion", "label", required=False),
    "aus": Column("aus", "au", "action units", required=False),
    "objective_class": Column("objective class", "objective classes", required=False),
    "fps": Column("fps", required=False),
}
"""The columns of a table, by key; others are ignored."""

_USUAL: Mapping[str, str] = {}  # columns with their usual names
_NAME = re.compile(r"\w[\w .-]*")  # \w: letters of any script, digits and _
_UNKNOWN = frozenset({"/", "-", "--", "?", "nan", "na", "n/a", "#n/a", "null"})
_WARNED = 5  # causes
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")  # how a full path begins there
_warned: set[str] = set()


def label_of(text: str) -> str:
    """A label as it is stored: canonical if this package knows it (`Happy` -> `happiness`), else in lower case.

    Case and spaces do not distinguish labels, neither here nor in answers.
    """
    plain = " ".join(text.lower().split())
    return canonical_label(plain) or plain


def label(row: Row) -> str | None:
    """The label of a row, see `label_of`; None if it is unknown, or a fault of the row."""
    text = row.text("emotion")
    if text is None or text.lower() in _UNKNOWN:
        return None
    if text.lower() == "none":
        row.faults.append(
            f"{row.names['emotion']}: expected a label, found {text!r}; write 'neutral' where nothing is shown, and "
            "leave the cell empty where it is not known"
        )
        return None
    return label_of(text)


def dataset(name: str, csv: str | Path, columns: Mapping[str, str] = _USUAL, *, ids: str | None = None) -> Dataset:
    """The description of a table, for `conversion.prepare`.

    Args:
        name: of the prepared dataset.
        columns: headers by key of `COLUMNS`, for columns with unusual names.
        ids: first part of the clips' ids; by default the name.

    Raises:
        InputError: the table cannot be read or lacks a required column, or `columns` has an unknown key.
    """
    file = Path(csv)
    entry = _entry(file, ids or name, _Rows(read_table(file, columns), file.parent))
    return Dataset(name, file.name if ids else name, named_columns(COLUMNS, columns), entry)


def read_table(csv: str | Path, columns: Mapping[str, str] = _USUAL) -> Sheet:
    """The rows of a table; its frames are not checked.

    Raises:
        InputError: the table cannot be read or lacks a required column, or `columns` has an unknown key.
    """
    return read_sheet(csv, named_columns(COLUMNS, columns))


def prepare(
    csv: str | Path,
    name: str,
    columns: Mapping[str, str] = _USUAL,
    *,
    root: Path | None = None,
    crop: Cropper | None = None,
    average: float = DEFAULT_MS,
    strict: bool = False,
    workers: int = 1,
    replace: bool = False,
) -> Report:
    """Prepare a table as a dataset with a name, not one that this package knows; see `dataset` and `Options`.

    Raises:
        InputError: the name is taken, or the table cannot be used, with the faults of all rows.
        DataError: the dataset cannot be stored.
    """
    check_name(name)
    file = _located(csv)
    options = Options(
        frames=file.parent,
        sheets={"test": file},
        crop=crop or Whole(),
        corrections=False,
        average=average,
        strict=strict,
        workers=workers,
        replace=replace,
        root=root,
    )
    return conversion.prepare(dataset(name, file, columns), options)


def check_name(name: str) -> None:
    """Refuse an invalid name of a dataset, or the name of a dataset that this package knows.

    Raises:
        InputError: see above.
    """
    store.dataset_dir(name)
    plain = name if name in KNOWN else name.split("-v", 1)[0]  # a folder may carry its version: synthme-v1
    if plain in KNOWN:
        problem = f"{name} names {KNOWN[plain].title}, which has its own commands and tasks; choose another name"
        raise InputError(problem, where="name")


def prepared(
    csv: str | Path, columns: Mapping[str, str] = _USUAL, *, strict: bool = False, root: Path | None = None
) -> str:
    """The name of the dataset of a table, which is prepared if it is not, or if anything changed.

    If nothing changed, this reads the table and the dates of the frames, and writes nothing. Of several processes, one
    prepares and the others wait. Rows with faults are skipped, with a warning per process; `info.json` and the results
    count them. Use `strict` or `mellm new-task` to refuse any fault. A refused table leaves nothing behind.

    Raises:
        InputError: the table is unusable, every row has a fault, or, where `strict`, any has; with the faults of all
            rows, a line per cause.
        DataError: the dataset cannot be stored.
    """
    file, name = _located(csv), name_of(csv)
    workers = min(4, os.cpu_count() or 1)
    options = Options(file.parent, {"test": file}, corrections=False, strict=strict, workers=workers, root=root)
    try:
        report = conversion.prepare(dataset(name, file, columns, ids=_stem(file)), options)
    except InputError:
        discard(name, root)
        raise
    _warn(file, report.info)
    return name


def name_of(csv: str | Path) -> str:
    """The name of the dataset of a table, prepared or not."""
    file = _located(csv)
    return f"table-{_stem(file)}-{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"


def _stem(csv: Path) -> str:
    return re.sub("[^a-z0-9]+", "-", csv.stem.lower()).strip("-")[:40] or "clips"


def _located(csv: str | Path) -> Path:
    # Paths are relative to the folder in which the table is named, even if it is a link there. Folders are resolved, so
    # that the name does not depend on the working folder.
    return Path(csv).parent.resolve() / Path(csv).name


def _warn(csv: Path, info: dict[str, Any]) -> None:
    causes = by_cause(info["skipped"])
    if not causes or os.environ.get("LOCAL_RANK", "0") != "0" or (text := f"{csv}\n{causes}") in _warned:
        return
    from loguru import logger

    _warned.add(text)
    clips = sum(entry["clips"] for entry in info["splits"].values())
    more = len(causes) - _WARNED
    logger.warning(
        "{}: {} clips are evaluated, and {} rows SKIPPED for their faults:\n  {}{}",
        *(csv, clips, len(info["skipped"]), "\n  ".join(causes[:_WARNED])),
        f"\n  and {more} more causes; `mellm new-task` lists all" if more > 0 else "",
    )


class _Rows:
    """Facts across rows: ids in several rows (`C01` equals `c01`), and folders with the frames of several clips."""

    def __init__(self, sheet: Sheet, folder: Path) -> None:
        self._sheet, self._folder = sheet, folder
        self._ids: dict[str, dict[int, str]] = {}
        for row in sheet.rows:
            if (name := row.text("id")) is not None:
                content = repr(sorted((key, str(value)) for key, value in row.cells.items()))
                self._ids.setdefault(name.lower(), {})[row.number] = content

    def of_id(self, name: str) -> list[int]:
        """The rows of an id, if they contradict each other; else none."""
        found = self._ids.get(name.lower(), {})
        return list(found) if len(set(found.values())) > 1 else []

    def in_folder(self, onset: Path, name: str) -> list[int]:
        """The rows of other clips with an onset in the same folder."""
        return [number for number, other in self._folders.get(os.path.realpath(onset.parent), ()) if other != name]

    @cached_property
    def _folders(self) -> dict[str, list[tuple[int, str]]]:
        """Computed only if an apex is missing: resolving every path takes a while."""
        folders: dict[str, list[tuple[int, str]]] = {}
        for row in self._sheet.rows:
            if (onset := _path(row, "onset", self._folder)) is not None:
                folders.setdefault(os.path.realpath(onset.parent), []).append((row.number, row.text("id") or ""))
        return folders


def _entry(csv: Path, ids: str, rows: _Rows) -> Callable[[Row], Entry | None]:
    def entry(row: Row) -> Entry | None:
        name, subject = _name(row, "id", "c01"), _name(row, "subject", "p1")
        onset, apex = _path(row, "onset", csv.parent), _path(row, "apex", csv.parent)
        if onset is None:
            row.faults.append("onset: expected the path of an image, found an empty cell; fill it in")
        # checked here, so that a fault of another cell does not hide a missing file
        row.faults += [fault for key, file in (("onset", onset), ("apex", apex)) if (fault := _absent(row, key, file))]
        if name is not None and (same := rows.of_id(name)):
            row.faults.append(
                f"id: expected each id once, found {name!r} in the rows {row_ranges(same)}; rename all but one"
            )
        if onset is not None and apex is None and (others := rows.in_folder(onset, name or "")):
            row.faults.append(
                f"apex: it would be looked for among the frames in {onset.parent}, where the onset of row "
                f"{row_ranges(others)} is, too; name the apex, or put each clip into its own folder"
            )
        # never None: rows with faults are skipped all the same, and reported with their id
        return Entry(
            id=f"{ids}/{subject}/{name}" if name and subject else name or "",
            subject=subject or "",
            clip=name or "",
            where="",
            onset_file=onset,
            apex_file=apex,
            emotion=label(row),
            au_code=row.raw("aus"),
            objective_class=objective_class(row, "objective_class"),
            fps=row.number_above_zero("fps"),
        )

    return entry


def _absent(row: Row, key: str, file: Path | None) -> str:
    """Why a file cannot be read, known without opening it; else empty."""
    try:
        if file is None or file.is_file():
            return ""
        folder = file.is_dir()
    except OSError as error:  # a name that is too long, or a folder without permission
        return f"{key}: {file} cannot be read ({error.strerror or error}); check its name and its permissions"
    text = as_text(row.raw(key)) or ""
    if re.fullmatch(r"[0-9]+(\.0+)?", text):
        file_name = f"name its file, such as frames/c01/img{int(float(text))}.jpg"
        return f"{key}: expected the path of an image, found the frame number {text!r}; {file_name}"
    if os.name != "nt" and _WINDOWS.match(text):
        return (
            f"{key}: {text!r} is a path of a Windows computer, which is not there on this one; write paths relative to "
            "the folder of the table, such as frames/c01/img46.jpg"
        )
    if re.match(r"[a-z]+://", text, re.IGNORECASE):
        return f"{key}: expected the path of an image, found the address {text!r}; fetch the file and name it"
    if folder:
        return f"{key}: {file} is a folder; name the image in it"
    return f"{key}: there is no file {file}; paths are relative to the folder of the table"


def _name(row: Row, key: str, example: str) -> str | None:
    text = row.text(key, required=True)
    if text is None or _NAME.fullmatch(text):
        return text
    odd = ", ".join(dict.fromkeys(repr(c) for c in text if not re.fullmatch(r"[\w .-]", c))) or f"{text[0]!r} in front"
    row.faults.append(
        f"{key}: expected a name such as {example} (letters, digits, '_', '-', '.', spaces), found {text!r} with {odd}"
        "; rename it"
    )
    return None


def _path(row: Row, key: str, folder: Path) -> Path | None:
    # not `row.text`, which joins spaces: a file name may hold two in a row
    text = str(row.raw(key) if row.raw(key) is not None else "").strip()
    if not text or text.lower() in _UNKNOWN:
        return None
    return folder / text.replace("\\", "/")  # a table written on Windows has backslashes


def oddities(sheet: Sheet) -> list[str]:
    """Oddities that are no faults, a sentence each: unread columns, clips with the same frames, labels spelled in
    several ways."""
    read = set(sheet.columns.values())
    absent = [column.names[0] for key, column in COLUMNS.items() if key not in sheet.columns]
    unread = [heading for heading in sheet.headings if heading not in read]
    odd = [f"the column {heading!r} is not read.{near(heading.lower(), absent)}" for heading in unread]
    odd += [
        f"the column {heading!r} is read as {COLUMNS[key].names[0]}"
        for key, heading in sheet.columns.items()
        if heading.lower() not in COLUMNS[key].names
    ]
    frames: dict[tuple[str | None, ...], list[int]] = {}
    spelled: dict[str, dict[str, None]] = {}
    for row in sheet.rows:
        frames.setdefault((row.text("onset"), row.text("apex")), []).append(row.number)
        if (text := row.text("emotion")) is not None and text.lower() not in _UNKNOWN:
            spelled.setdefault(label_of(text), {})[text] = None
    odd += [f"the rows {row_ranges(same)} have the same frames" for same in frames.values() if len(same) > 1]
    odd += [
        f"{', '.join(map(repr, texts))} are one label, {label!r}" for label, texts in spelled.items() if len(texts) > 1
    ]
    others = sorted(label for label in spelled if canonical_label(label) is not None)
    for label in sorted({*spelled} - {*others}):
        if hint := near(label, others):
            odd.append(f"the label {label!r} is in none of the known datasets.{hint}")
        others.append(label)  # of two unknown labels the later one is reported; a known one is never the wrong one
    return odd
