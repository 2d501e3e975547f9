"""Coding sheets of any kind: rows with known column names, and everything that is wrong with them at once.

    sheet = read_sheet("CASME2-coding-20140508.xlsx", {"subject": Column("Subject"), "onset": Column("OnsetFrame")})
    sheet.rows[0]  ->  Row(number=2), with .text("subject") "01", .whole("onset") 46

Columns are matched by name, ignoring case, spaces and marks: `OnsetFrame`, `onset_frame` and `Onset Frame` are one. The
header is the first row that holds all required columns, so that a preamble and empty columns do no harm.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mellm_plugin.errors import InputError, near

_HEADER_WITHIN = 100  # rows in which the header is looked for
_MISSING = frozenset({"nan", "na", "nil", "nat", "none", "null", "unknown", "missing", "未知", "缺失", "无"})
_FORMULA_ERRORS = frozenset({"#ref!", "#value!", "#name?", "#div/0!", "#num!", "#null!"})
_NOT_COMPUTED = "\0formula "  # of a cell without a value
_SAVE_AS = "open it in a spreadsheet program and save it as .xlsx or .csv"
_Table = list[tuple[int, list[Any]]]  # rows with their numbers


@dataclass(frozen=True)
class Column:
    """A column that is looked for.

    Attributes:
        names: its names in the sheets that are around; the first one stands in messages.
        required: whether the sheet must have it.
        merged: whether a cell merged over several rows stands for each of them (a subject, for instance).
    """

    names: tuple[str, ...]
    required: bool = True
    merged: bool = False

    def __init__(self, *names: str, required: bool = True, merged: bool = False) -> None:
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "required", required)
        object.__setattr__(self, "merged", merged)


@dataclass
class Row:
    """One row; reading a cell that is not as it should be adds to `faults`.

    Attributes:
        number: as a spreadsheet program counts, from 1.
        cells: values by the keys of the columns; a column that the sheet lacks has none.
        names: of the columns in this sheet, for messages.
        faults: what is wrong, a sentence each.
    """

    number: int
    cells: dict[str, Any]
    names: Mapping[str, str]
    faults: list[str] = field(default_factory=list)

    def text(self, key: str, required: bool = False) -> str | None:
        """The cell as text without spaces around it; whole numbers without a decimal point; None where it is empty."""
        found = as_text(self.cells.get(key))
        if required and found is None:
            self.faults.append(f"{self._named(key)}: expected a text, found an empty cell; fill it in")
        return found

    def raw(self, key: str) -> Any:
        """The cell as the spreadsheet has it."""
        return self.cells.get(key)

    def whole(self, key: str, required: bool = False) -> int | None:
        """The cell as a whole number, 0 or more; None where it is empty or says so (`/`, `?`, `n/a`, and `-1`)."""
        value = self.cells.get(key)
        text = as_text(value)
        if text is None or is_missing(text) or re.fullmatch(r"[-−]1(\.0+)?", text):
            if required:
                shown = "an empty cell" if text is None else repr(text)
                self.faults.append(f"{self._named(key)}: expected a frame number, found {shown}; fill it in")
            return None
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,15}(\.0+)?", text):
            self.faults.append(f"{self._named(key)}: expected a whole number, found {text!r}; correct the cell")
            return None
        return int(float(text))

    def number_above_zero(self, key: str) -> float | None:
        """The cell as a positive number; None where it is empty."""
        text = as_text(self.cells.get(key))
        if text is None or is_missing(text):
            return None
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text) or float(text) == 0:
            self.faults.append(f"{self._named(key)}: expected a number above 0, found {text!r}; correct the cell")
            return None
        return float(text)

    def _named(self, key: str) -> str:
        return self.names.get(key, key)


@dataclass(frozen=True)
class Sheet:
    """A sheet that was read.

    Attributes:
        path: of the file.
        sha256: of the file.
        rows: that hold anything, in order.
        columns: the columns that it has: by key, its own name of each.
        headings: all names of its header row.
        worksheet: its name; that of the file for a CSV.
    """

    path: Path
    sha256: str
    rows: tuple[Row, ...]
    columns: Mapping[str, str]
    headings: tuple[str, ...]
    worksheet: str = ""


def as_text(value: Any) -> str | None:
    """A cell as text: stripped, whole floats without `.0`; None where it holds nothing."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return " ".join(str(value).replace("\ufeff", "").replace("\u200b", "").split()) or None


def is_missing(text: str) -> bool:
    """Whether the text of a cell says that there is nothing: marks alone (`/`, `\\`, `-`, `?`), `n/a`, `null`, `nan`.

    >>> [is_missing(text) for text in ("/", "?", "N/A", "null", "0", "-1")]
    [True, True, True, True, False, False]
    """
    return re.sub(r"[\W_]+", "", text).lower() in {"", *_MISSING}


def read_sheet(path: str | Path, columns: Mapping[str, Column], *, prefer: Sequence[str] = ()) -> Sheet:
    """Read the worksheet that has the columns; a hidden one only where no other has.

    Args:
        path: an .xlsx or .xlsm file, `FILE.xlsx#WORKSHEET`, or a CSV (comma, semicolon, tab or bar; UTF-8, UTF-16 or
            GB18030).
        columns: what to look for, by the key that `Row` uses.
        prefer: names of worksheets that are taken where several have the columns.

    Raises:
        InputError: no such file, no such format, no worksheet with the required columns (says what the nearest one
            lacks), or several, columns that occur twice, or no row below the header.
    """
    source, worksheet = Path(path), ""
    if "#" in source.name and not source.exists():
        name, _, worksheet = source.name.rpartition("#")
        source = source.with_name(name)
    data = _read(source)
    tables = [_csv_table(source, data, columns)] if source.suffix.lower() in _CSV else _xlsx_tables(source, data)
    if worksheet:
        names = [table.name for table in tables]
        if worksheet not in names:
            told = f"expected a worksheet {worksheet!r}, found {', '.join(names)}.{near(worksheet, names)}"
            raise InputError(told, where=str(source))
        prefer = (worksheet,)
        tables = [table for table in tables if table.name == worksheet]
    nearest: tuple[int, str, list[str]] | None = None
    headed: list[tuple[_Worksheet, int, dict[str, list[int]]]] = []
    for table in tables:
        for index, (_, cells) in enumerate(table.rows[:_HEADER_WITHIN]):
            places = _places(cells, columns)
            absent = [c.names[0] for key, c in columns.items() if c.required and key not in places]
            if not absent:
                headed.append((table, index, places))
                break
            if places and (nearest is None or len(places) > nearest[0]):
                headings = [text for cell in cells if (text := as_text(cell))]
                nearest = len(places), f"{table.name}: missing {', '.join(absent)}; found {', '.join(headings)}", absent
    headed = (
        [found for found in headed if found[0].name in prefer][:1]
        or [found for found in headed if not found[0].hidden]
        or headed
    )
    if len(headed) > 1:
        several = ", ".join(repr(table.name) for table, *_ in headed)
        raise InputError(
            f"expected one worksheet with these columns, found {several}; name it: {source.name}#WORKSHEET",
            where=str(source),
        )
    if headed:
        return _sheet(source, data, columns, *headed[0])
    wanted = ", ".join(column.names[0] for column in columns.values() if column.required)
    if nearest is None:
        raise InputError(
            f"expected a row with the columns {wanted}, found none of them in {_counted(tables)}; is this the coding "
            "sheet of this dataset?",
            where=str(source),
        )
    raise InputError(
        f"expected a row with the columns {wanted}. The nearest row is in {nearest[1]}. Is this the coding sheet of "
        "this dataset? If it is, name its columns so",
        where=str(source),
    )


_CSV = frozenset({".csv", ".tsv", ".txt"})


@dataclass(frozen=True)
class _Worksheet:
    """A table as it stands: `merged` names, for each merged cell but its first, that first (row, place).

    Where `closed`, a row ends with the header: a value beyond it was cut off from another.
    """

    name: str
    rows: _Table
    merged: Mapping[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    hidden: bool = False
    closed: bool = False


def _counted(tables: Sequence[_Worksheet]) -> str:
    names = [table.name for table in tables if table.rows]
    return f"{len(names)} worksheets ({', '.join(names)})" if len(names) > 1 else "it" if names else "an empty file"


def _read(source: Path) -> bytes:
    where = str(source)
    try:
        if source.is_dir():
            raise InputError("expected a coding sheet, found a folder; name the file in it", where=where)
        data = source.read_bytes()
    except FileNotFoundError:
        folder = source.parent
        sheets = sorted(p.name for p in folder.glob("*") if p.suffix.lower() in (*_CSV, ".xlsx", ".xls"))
        beside = f"; {folder} holds {', '.join(sheets[:5])}" if sheets else ""
        raise InputError(f"there is no such file{beside}", where=where) from None
    except OSError as error:
        raise InputError(f"the sheet cannot be read ({error}); check its permissions", where=where) from error
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise InputError(f"this is an old Excel file (.xls), or one with a password; {_SAVE_AS}", where=where)
    if not data.strip():
        raise InputError("the file is empty; copy it again from its source", where=where)
    return data


def _xlsx_tables(source: Path, data: bytes) -> list[_Worksheet]:
    import openpyxl

    where = str(source)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        kind = "an HTML page" if data.lstrip()[:1] == b"<" else "something else"
        raise InputError(f"expected an .xlsx or .csv file, found {kind}; {_SAVE_AS}", where=where)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if "[Content_Types].xml" not in archive.namelist():
            raise InputError("this is a zip file and no workbook; unzip it and name the sheet in it", where=where)
    tables: list[_Worksheet] = []
    try:
        # Read twice: merged cells and formulas are only told of a whole book; its rows, however, include each that has
        # a colour, a million of them in some sheets, and are slow.
        book = openpyxl.load_workbook(io.BytesIO(data))
        streamed = openpyxl.load_workbook(io.BytesIO(data), data_only=True, read_only=True)
        for sheet in streamed.worksheets:
            sheet.reset_dimensions()  # some programs write wrong ones
            rows: _Table = [
                (number, list(cells))
                for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1)
                if any(value is not None for value in cells)
            ]
            for number, cells in rows:
                for place, value in enumerate(cells):
                    if value is None and (cell := book[sheet.title].cell(number, place + 1)).data_type == "f":
                        cells[place] = f"{_NOT_COMPUTED}{cell.coordinate}"
            last = rows[-1][0] if rows else 0
            merged = {
                (row, column - 1): (area.min_row, area.min_col - 1)
                for area in book[sheet.title].merged_cells.ranges
                for row in range(area.min_row, min(area.max_row, last) + 1)
                for column in range(area.min_col, area.max_col + 1)
                if (row, column) != (area.min_row, area.min_col)
            }
            hidden = book[sheet.title].sheet_state != "visible"
            tables.append(_Worksheet(sheet.title, rows, merged, hidden))
    except Exception as error:  # openpyxl raises whatever a damaged workbook leads it to
        raise InputError(f"the workbook cannot be read ({error or type(error).__name__}); {_SAVE_AS}", where) from error
    return tables


def _csv_table(source: Path, data: bytes, columns: Mapping[str, Column]) -> _Worksheet:
    where = str(source)
    if zipfile.is_zipfile(io.BytesIO(data)):
        raise InputError(f"this is no text; if it is a workbook, name it {source.stem}.xlsx", where=where)
    text = decoded(data, where)
    found: list[_Worksheet] = []
    problem: csv.Error | None = None
    for delimiter in sorted(",;\t|", key=text.count, reverse=True):
        try:
            lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
        except csv.Error as error:
            problem = problem or error
            continue
        found.append(_Worksheet(source.name, [(n, list(cells)) for n, cells in enumerate(lines, start=1)], closed=True))
        required = {key for key, column in columns.items() if column.required}
        if any(required <= _places(cells, columns).keys() for _, cells in found[-1].rows[:_HEADER_WITHIN]):
            return found[-1]
    if problem is not None or not found:
        raise InputError(f"the file cannot be read as CSV ({problem}); {_SAVE_AS}", where=where) from problem
    return found[0]


def decoded(data: bytes, where: str) -> str:
    """The text of a CSV file, whichever of the usual encodings it has.

    Raises:
        InputError: it has none of them.
    """
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError("expected text in UTF-8, found none; save it as CSV UTF-8", where=where)


def _plain(name: Any) -> str:
    return re.sub(r"[\W_]+", "", str(name if name is not None else "")).lower()


def _places(cells: Sequence[Any], columns: Mapping[str, Column]) -> dict[str, list[int]]:
    """Where the columns are in a header row."""
    named: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if isinstance(cell, str) and (plain := _plain(cell)):
            named.setdefault(plain, []).append(place)
    found: dict[str, list[int]] = {}
    for key, column in columns.items():
        for name in column.names:
            if places := named.get(_plain(name)):
                found[key] = places
                break
    return found


def _sheet(
    source: Path,
    data: bytes,
    columns: Mapping[str, Column],
    table: _Worksheet,
    header: int,
    places: Mapping[str, list[int]],
) -> Sheet:
    number, headings = table.rows[header]
    merged = table.merged
    twice = [as_text(headings[found[0]]) for found in places.values() if len(found) > 1]
    if twice:
        raise InputError(
            f"row {number}: expected one column of each name, found {', '.join(map(str, twice))} twice; delete or "
            "rename one",
            where=str(source),
        )
    names = {key: str(as_text(headings[found[0]])) for key, found in places.items()}
    by_number = dict(table.rows)
    rows: list[Row] = []
    for line, cells in table.rows[header + 1 :]:
        row = Row(line, {key: _cell(cells, found[0]) for key, found in places.items()}, names)
        for key, found in places.items():
            origin = merged.get((line, found[0]))
            if origin is None:
                continue
            if columns[key].merged and origin[1] == found[0]:
                row.cells[key] = _cell(by_number.get(origin[0], ()), origin[1])
            elif any(as_text(value) is not None for other, value in row.cells.items() if other != key):
                row.faults.append(
                    f"{names[key]}: the cell is merged with that of row {origin[0]}; unmerge and fill it in"
                )
        own = [value for key, value in row.cells.items() if (line, places[key][0]) not in merged]
        if not any(as_text(value) is not None for value in own):
            continue
        for key, value in row.cells.items():
            if isinstance(value, str) and value.strip().lower() in _FORMULA_ERRORS:
                row.faults.append(f"{names[key]}: the formula has the error {value.strip()}; correct the cell")
                row.cells[key] = None
            elif isinstance(value, str) and value.startswith(_NOT_COMPUTED):
                row.faults.append(
                    f"{names[key]}: the formula in {value.removeprefix(_NOT_COMPUTED)} was never computed; open the "
                    "file in a spreadsheet program and save it"
                )
                row.cells[key] = None
        if table.closed and any(as_text(value) is not None for value in cells[len(headings) :]):
            row.faults.append(
                f"expected {len(headings)} cells, found {len(cells)}; put a cell that holds a comma in quotes, or "
                "write units as 6+12"
            )
        rows.append(row)
    if not rows:
        raise InputError(f"expected clips below the header in row {number}, found none", where=str(source))
    shown = tuple(text for cell in headings if (text := as_text(cell)))
    return Sheet(source, hashlib.sha256(data).hexdigest(), tuple(rows), names, shown, table.name)


def _cell(cells: Sequence[Any], place: int) -> Any:
    return cells[place] if place < len(cells) else None
