"""Tables as files hold them: the worksheets of a workbook, or the rows of a CSV; `sheets.py` finds columns in them."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mellm_plugin.errors import InputError, near
from mellm_plugin.small_files import read_bytes

NOT_COMPUTED = "\0formula "
"""Begins a cell that holds a formula without a value; the cell's address follows."""

HEADER_WITHIN = 100
"""Rows in which a header is looked for."""

Rows = list[tuple[int, list[Any]]]
"""Rows with their numbers, from 1."""

KeysOf = Callable[[Sequence[Any]], Collection[str]]
"""Which wanted columns a row names, if it is the header."""

_CSV = frozenset({".csv", ".tsv", ".txt"})
_SAVE_AS = "open it in a spreadsheet program and save it as .xlsx or .csv"

# Larger files are refused before they are unpacked or decoded: a coding sheet has some thousand cells.
_LARGEST_FILE = 64 << 20
_LARGEST_XML = 128 << 20  # of a workbook, unpacked, all parts together
_MOST_CELLS = 1_000_000
_MOST_MERGED = 200_000  # cells within merged areas


@dataclass(frozen=True)
class Worksheet:
    """A table as its file holds it, with the rows that hold anything.

    `merged` gives, for each merged cell but the first of its area, that first one: (row, place), the place from 0. With
    `closed`, rows end with the header, so that a further value was split off another cell.
    """

    name: str  # of the worksheet; of the file for a CSV
    rows: Rows
    merged: Mapping[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    hidden: bool = False
    closed: bool = False


@dataclass(frozen=True)
class TableFile:
    """A file of tables: its path, the sha256 of its bytes, and its worksheets."""

    path: Path
    sha256: str
    worksheets: list[Worksheet]


def read_tables(path: str | Path, keys_of: KeysOf, required: Collection[str]) -> TableFile:
    """Read all worksheets of a file (.xlsx, .xlsm, CSV), or only the one in `FILE.xlsx#WORKSHEET`.

    `keys_of` and `required` tell which delimiter of a CSV gives its header.

    Raises:
        InputError: no such file or worksheet, no such format, too large, or damaged.
    """
    source, worksheet = Path(path), ""
    if "#" in source.name and not source.exists():
        name, _, worksheet = source.name.rpartition("#")
        source = source.with_name(name)
    data = _read(source)
    is_csv = source.suffix.lower() in _CSV
    tables = [_csv_table(source, data, keys_of, required)] if is_csv else _xlsx_tables(source, data)
    names = [table.name for table in tables]
    if worksheet and worksheet not in names:
        problem = f"expected a worksheet {worksheet!r}, found {', '.join(names)}.{near(worksheet, names)}"
        raise InputError(problem, where=str(source))
    tables = [table for table in tables if worksheet in ("", table.name)]
    return TableFile(source, hashlib.sha256(data).hexdigest(), tables)


def _read(source: Path) -> bytes:
    where = str(source)
    try:
        if source.is_dir():
            raise InputError("expected a sheet, .xlsx or .csv, found a folder; name the file in it", where=where)
        data = read_bytes(source, _LARGEST_FILE)
    except FileNotFoundError:
        folder = source.parent
        sheets = sorted(p.name for p in folder.glob("*") if p.suffix.lower() in (*_CSV, ".xlsx", ".xls"))
        beside = f"; {folder} holds {', '.join(sheets[:5])}" if sheets else ""
        raise InputError(f"there is no such file{beside}", where=where) from None
    except OSError as error:
        raise InputError(f"the sheet cannot be read ({error}); check its permissions", where=where) from error
    except ValueError as error:  # a pipe, a device, or too large
        raise InputError(f"the sheet cannot be read: {error}", where=where) from None
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise InputError(f"this is an old Excel file (.xls), or one with a password; {_SAVE_AS}", where=where)
    if not data.strip():
        raise InputError("the file is empty; copy it again from its source", where=where)
    return data


def _xlsx_tables(source: Path, data: bytes) -> list[Worksheet]:
    import openpyxl
    from openpyxl.utils import get_column_letter

    where = str(source)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        kind = "an HTML page" if data.lstrip()[:1] == b"<" else "something else"
        raise InputError(f"expected an .xlsx or .csv file, found {kind}; {_SAVE_AS}", where=where)
    tables: list[Worksheet] = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            merged, with_formulas = _within_bounds(archive, where)
        # Streamed, and read twice if there are formulas: a formula without a value looks like an empty cell.
        values, formulas = (
            openpyxl.load_workbook(io.BytesIO(data), data_only=computed, read_only=True) for computed in (True, False)
        )
        held = 0
        for sheet, other in zip(values.worksheets, formulas.worksheets, strict=True):
            sheet.reset_dimensions()  # some programs write wrong ones
            other.reset_dimensions()
            part = sheet._worksheet_path.lstrip("/")
            rows: Rows = []
            read = sheet.iter_rows(values_only=True)
            pairs = zip(read, other.iter_rows(values_only=True), strict=True) if part in with_formulas else zip(read)
            for number, (cells, *written) in enumerate(pairs, start=1):
                row = list(cells)
                for place, formula in enumerate(written[0] if written else ()):
                    if row[place] is None and formula is not None:
                        row[place] = f"{NOT_COMPUTED}{get_column_letter(place + 1)}{number}"
                if all(value is None for value in row):
                    continue
                rows.append((number, row))
                held += len(row)
                if held > _MOST_CELLS:
                    raise _too_large(f"{sheet.title!r} reaches to cell {get_column_letter(len(row))}{number}", where)
            last = rows[-1][0] if rows else 0
            origins = {
                (row, column - 1): (top, left - 1)
                for left, top, right, bottom in merged.get(part, ())
                for row in range(top, min(bottom, last) + 1)
                for column in range(left, right + 1)
                if (row, column) != (top, left)
            }
            tables.append(Worksheet(sheet.title, rows, origins, sheet.sheet_state != "visible"))
    except InputError:
        raise
    except Exception as error:  # openpyxl raises whatever a damaged workbook leads it to
        raise InputError(f"the workbook cannot be read ({error or type(error).__name__}); {_SAVE_AS}", where) from error
    return tables


def _within_bounds(archive: zipfile.ZipFile, where: str) -> tuple[dict[str, list[tuple[int, ...]]], set[str]]:
    """The merged areas of each part of a workbook, (left, top, right, bottom) from 1, and the parts with formulas.

    Raises:
        InputError: it is no workbook, or has so many bytes, cells or merged cells that parsing it would take all
            memory.
    """
    from openpyxl.utils import range_boundaries

    parts = archive.infolist()
    if all(part.filename != "[Content_Types].xml" for part in parts):
        raise InputError("this is a zip file and no workbook; unzip it and name the sheet in it", where=where)
    if (unpacked := sum(part.file_size for part in parts)) > _LARGEST_XML:
        raise _too_large(f"it holds {unpacked >> 20} MiB when unpacked, expected at most {_LARGEST_XML >> 20}", where)
    cells = area = 0
    merged: dict[str, list[tuple[int, ...]]] = {}
    formulas: set[str] = set()
    for part in parts:
        text, name = archive.read(part), part.filename.lstrip("/")  # never more than `file_size`
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise InputError(f"its part {name} defines entities, which no workbook does; {_SAVE_AS}", where)
        if re.search(rb"<(?:\w+:)?f[ >/]", text):
            formulas.add(name)
        for _ in re.finditer(rb"<(?:\w+:)?c[ >/]", text):
            cells += 1
            if cells > _MOST_CELLS:
                raise _too_large(f"it holds more than {_MOST_CELLS} cells", where)
        for found in re.finditer(rb"<(?:\w+:)?mergeCell\s[^<>]*?ref=[\"']([A-Za-z0-9$:]+)[\"']", text):
            left, top, right, bottom = bounds = range_boundaries(found[1].decode())
            area += (right - left + 1) * (bottom - top + 1)
            if area > _MOST_MERGED:
                raise _too_large(f"the merged areas up to {found[1].decode()} cover {area} cells", where)
            merged.setdefault(name, []).append(bounds)
    return merged, formulas


def _too_large(what: str, where: str) -> InputError:
    return InputError(f"the workbook is too large for a table of clips: {what}; copy its rows into a new one", where)


def _csv_table(source: Path, data: bytes, keys_of: KeysOf, required: Collection[str]) -> Worksheet:
    where = str(source)
    if zipfile.is_zipfile(io.BytesIO(data)):
        raise InputError(f"this is no text; if it is a workbook, name it {source.stem}.xlsx", where=where)
    text = decoded(data, where)
    head = [line[:10_000] for line in io.StringIO(text[: 1 << 20]).readlines()[:HEADER_WITHIN]]
    tried: list[tuple[int, Worksheet | InputError]] = []
    marks = ",;\t|"
    if not any(mark in text for mark in marks):  # columns separated by spaces
        text, marks = re.sub(" +", " ", text), " "
    for delimiter in sorted(marks, key=text.count, reverse=True):
        # how many columns this delimiter finds, whether or not the rest of the file can be read with it
        known = max((len(keys_of([c.strip('" ') for c in row.split(delimiter)])) for row in head), default=0)
        lines: Rows = []
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            held = 0
            for number, cells in enumerate(reader, start=1):
                lines.append((number, list(cells)))
                if (held := held + len(cells)) > _MOST_CELLS:
                    problem = f"expected a table of clips, found more than {_MOST_CELLS} cells; is it the right file?"
                    raise InputError(problem, where=where)
        except csv.Error as error:
            problem = f"row {len(lines) + 1} cannot be read as CSV ({error}): is a quotation mark missing? {_SAVE_AS}"
            tried.append((known, InputError(problem, where=where)))
            continue
        table = Worksheet(source.name, lines, closed=True)
        if any({*required} <= {*keys_of(cells)} for _, cells in lines[:HEADER_WITHIN]):
            return table
        tried.append((known, table))
    # The delimiter that finds most columns, even if the file cannot be read with it; if none finds any, one with which
    # the file can be read.
    _, found = max(tried, key=lambda one: (one[0], isinstance(one[1], Worksheet) and not one[0]))
    if isinstance(found, InputError):
        raise found
    return found


def decoded(data: bytes, where: str) -> str:
    """The text of a CSV file in any of the usual encodings.

    Raises:
        InputError: it has another encoding.
    """
    marks = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    encodings = next(([name] for mark, name in marks.items() if data.startswith(mark)), ["utf-8-sig", "gb18030"])
    # UTF-16 without its mark: every second byte of Latin letters, digits and commas is zero
    halves = data[:4096:2].count(0), data[1:4096:2].count(0)
    if max(halves) > 0.2 * len(data[:4096:2]) and len(encodings) > 1:
        encodings = ["utf-16-le" if halves[1] > halves[0] else "utf-16-be"]
    # Chinese has runs of bytes above 0x7f; single ones are letters of Windows-1252.
    western = "gb18030" in encodings and re.search(rb"[\x80-\xff]", data) and not re.search(rb"[\x80-\xff]{2}", data)
    if western:
        encodings = ["utf-8-sig", "cp1252"]
    first: UnicodeDecodeError | None = None
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            first = first or error
    assert first is not None
    row = data.count(b"\n", 0, first.start) + 1
    raise InputError(
        f"row {row}: expected text in UTF-8, found the byte {data[first.start]:#04x}; save it as CSV UTF-8", where=where
    )
