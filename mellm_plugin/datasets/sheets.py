"""Coding sheets of any kind: rows with known column names, and everything that is wrong with them at once.

    sheet = read_sheet("CASME2-coding-20140508.xlsx", {"subject": Column("Subject"), "onset": Column("OnsetFrame")})
    sheet.rows[0]  ->  Row(number=2), with .text("subject") "01", .whole("onset") 46

Columns are matched by name, ignoring case, spaces and marks: `OnsetFrame`, `onset_frame` and `Onset Frame` are one. The
names of other sheets that are around, `COMMON`, are taken where a sheet has none of a column's own. The header is the
first row that holds all required columns, so that a preamble and empty columns do no harm.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile
from pathlib import Path
from typing import Any

from mellm_plugin.errors import InputError, near
from mellm_plugin.small_files import read_bytes

_HEADER_WITHIN = 100  # rows in which the header is looked for
_MISSING = frozenset({"nan", "na", "nil", "nat", "none", "null", "unknown", "missing", "未知", "缺失", "无"})
_FORMULA_ERRORS = frozenset({"#ref!", "#value!", "#name?", "#div/0!", "#num!", "#null!"})
_NOT_COMPUTED = "\0formula "  # of a cell without a value
_SAVE_AS = "open it in a spreadsheet program and save it as .xlsx or .csv"
_Table = list[tuple[int, list[Any]]]  # rows with their numbers

# What is refused before it is unpacked or decoded: a coding sheet has some thousand cells.
_LARGEST_FILE = 64 << 20
_LARGEST_XML = 128 << 20  # of a workbook, unpacked, all parts together
_MOST_CELLS = 1_000_000
_MOST_MERGED = 200_000  # cells within merged areas

COMMON: dict[str, tuple[str, ...]] = {
    "subject": (
        *("subject", "sub", "subject id", "sub_ID", "subject no", "subject number", "subject name", "participant"),
        *("participant id", "person", "被试", "被试编号", "被试号", "被试者", "受试者", "受试者编号", "受试", "对象"),
    ),
    "clip": (
        *("filename", "file name", "clip", "clip name", "clip id", "material", "video", "video name", "fold_name"),
        *("folder", "folder name", "seq", "sequence", "sequence name", "sample", "sample name", "filename_o"),
        *("文件名", "文件", "视频", "视频名", "视频名称", "片段", "样本", "样本名", "素材", "序列"),
    ),
    "onset": (
        *("onset frame", "onset", "onset f", "onset index", "start frame", "start"),
        *("起始帧", "起始", "开始帧", "起点", "起点帧", "起始点"),
    ),
    "apex": (
        *("apex frame", "apex", "apex f", "apex f1", "apex frame 1", "apex index", "peak frame", "peak"),
        *("顶点帧", "顶点", "峰值帧", "峰值", "顶峰帧", "高峰帧", "最高帧"),
    ),
    "offset": (
        *("offset frame", "offset", "offset f", "offset index", "end frame", "end"),
        *("结束帧", "结束", "终止帧", "终点帧", "终点", "结束点"),
    ),
    "aus": (
        *("action units", "action unit", "AU", "AUs", "AU code", "AU codes", "FACS", "FACS code", "FACS codes"),
        *("动作单元", "运动单元", "面部动作单元", "面部运动单元"),
    ),
    "emotion": (
        *("estimated emotion", "emotion", "label", "expression", "emotion label", "emotion class", "class", "category"),
        *("情绪", "情感", "表情", "标签", "类别", "情绪标签", "情绪类别", "表情类别", "估计情绪"),
    ),
    "objective": ("objective class", "objective classes", "客观类别", "客观分类"),
    "fps": ("fps", "frame rate", "framerate", "帧率"),
    "dataset": ("dataset", "data set", "data", "database", "db", "corpus", "数据集", "数据库"),
}
"""Names of columns in sheets and lists that are published, by what they hold."""
_SAME_AS = {"id": "clip", "label": "emotion", "objective_class": "objective"}  # keys that hold the like


@dataclass(frozen=True)
class Column:
    """A column that is looked for.

    Attributes:
        names: its names in the sheets that are around; the first one stands in messages.
        required: whether the sheet must have it.
        merged: whether a cell merged over several rows stands for each of them (a subject, for instance).
        common: whether a name of `COMMON` will do where a sheet has none of these.
    """

    names: tuple[str, ...]
    required: bool = True
    merged: bool = False
    common: bool = True

    def __init__(self, *names: str, required: bool = True, merged: bool = False, common: bool = True) -> None:
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "required", required)
        object.__setattr__(self, "merged", merged)
        object.__setattr__(self, "common", common)


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


def named_columns(columns: Mapping[str, Column], named: Mapping[str, str]) -> dict[str, Column]:
    """Columns of which some have the names that a user gives them, and no other.

    Args:
        columns: by key.
        named: the header of a column, by its key: `{"clip": "material"}`.

    Raises:
        InputError: a key that is none, or one header for two keys; all faults at once.
    """
    faults = [
        f"{key!r} is no column of it; expected {', '.join(columns)}.{near(key, columns)}"
        for key in named
        if key not in columns
    ]
    of_header: dict[str, str] = {}
    for key, header in named.items():
        other = of_header.setdefault(_plain(header), key)
        if other != key:
            faults.append(f"expected a column for each key, found {header!r} for both {other} and {key}")
    if faults:
        raise InputError(faults, where="--columns")
    # required: who names a column wants it read
    changed = {key: Column(header, merged=columns[key].merged, common=False) for key, header in named.items()}
    return {key: changed.get(key, column) for key, column in columns.items()}


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
        InputError: no such file, no such format, one that is too large, no worksheet with the required columns (says
            what the nearest one lacks, and its header), or several, columns that occur twice, or no row below the
            header.
    """
    source, data, tables, prefer = _tables(path, columns, prefer)
    headed: list[tuple[_Worksheet, int, dict[str, list[int]]]] = []
    for table in tables:
        for index, (_, cells) in enumerate(table.rows[:_HEADER_WITHIN]):
            places = _places(cells, columns)
            if all(key in places for key, column in columns.items() if column.required):
                headed.append((table, index, places))
                break
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
    if not headed:
        raise InputError(_no_header(tables, columns), where=str(source))
    return _sheet(source, data, columns, *headed[0])


def read_bare(path: str | Path, columns: Mapping[str, Column], is_row: Callable[[Sequence[str]], bool]) -> Sheet | None:
    """Read a sheet without a header, its columns in the order of their keys; None where its first row is a header.

    Args:
        path: as for `read_sheet`; of a workbook the first worksheet that holds anything.
        columns: by key, in the order of their places.
        is_row: whether the texts of the first row are data.

    Raises:
        InputError: the file cannot be read.
    """
    source, data, tables, _ = _tables(path, columns, ())
    for table in tables:
        filled = [(n, cells) for n, cells in table.rows if any(as_text(cell) is not None for cell in cells)]
        filled = [*dropwhile(lambda row: (as_text(_cell(row[1], 0)) or "").startswith("#"), filled)]  # remarks
        if not filled:
            continue
        if not is_row([as_text(cell) or "" for cell in filled[0][1]]):
            return None
        keys = list(columns)[: max(len(cells) for _, cells in filled)]
        rows = tuple(Row(n, {key: _cell(cells, at) for at, key in enumerate(keys)}, {}) for n, cells in filled)
        names = {key: f"column {at}" for at, key in enumerate(keys, start=1)}
        return Sheet(source, hashlib.sha256(data).hexdigest(), rows, names, (), table.name)
    return None


def _tables(
    path: str | Path, columns: Mapping[str, Column], prefer: Sequence[str]
) -> tuple[Path, bytes, list[_Worksheet], Sequence[str]]:
    """The file, its bytes, its worksheets, and which are preferred: that which is named, `FILE.xlsx#WORKSHEET`."""
    source, worksheet = Path(path), ""
    if "#" in source.name and not source.exists():
        name, _, worksheet = source.name.rpartition("#")
        source = source.with_name(name)
    data = _read(source)
    tables = [_csv_table(source, data, columns)] if source.suffix.lower() in _CSV else _xlsx_tables(source, data)
    if not worksheet:
        return source, data, tables, prefer
    names = [table.name for table in tables]
    if worksheet not in names:
        told = f"expected a worksheet {worksheet!r}, found {', '.join(names)}.{near(worksheet, names)}"
        raise InputError(told, where=str(source))
    return source, data, [table for table in tables if table.name == worksheet], (worksheet,)


def _no_header(tables: Sequence[_Worksheet], columns: Mapping[str, Column]) -> str:
    """Which columns are not there, the header that is, and how to name them."""
    wanted = ", ".join(column.names[0] for column in columns.values() if column.required)
    candidates = [
        (len(_places(cells, columns)), sum(isinstance(cell, str) for cell in cells) > 1, -index, table, number, cells)
        for table in tables
        for index, (number, cells) in enumerate(table.rows[:_HEADER_WITHIN])
        if any(as_text(cell) is not None for cell in cells)
    ]
    if not candidates:
        return f"expected a row with the columns {wanted}, found none of them in {_counted(tables)}"
    *_, table, number, cells = max(candidates, key=lambda one: one[:3])
    places = _places(cells, columns)
    lacks = {key: column for key, column in columns.items() if column.required and key not in places}
    shown = [text for cell in cells if (text := as_text(cell))]
    headings = ", ".join(text if len(text) <= 40 else f"{text[:37]}..." for text in shown[:30])
    more = f" and {len(shown) - 30} more" if len(shown) > 30 else ""
    where = f"row {number}" if len(tables) == 1 else f"{table.name}, row {number}"
    return (
        f"expected a row with the columns {wanted}. The nearest header ({where}) lacks "
        f"{', '.join(column.names[0] for column in lacks.values())}; it has: {headings}{more}. Where a column has "
        f"another name, give it: --columns {','.join(f'{key}=HEADER' for key in lacks)}"
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


def _xlsx_tables(source: Path, data: bytes) -> list[_Worksheet]:
    import openpyxl
    from openpyxl.utils import get_column_letter

    where = str(source)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        kind = "an HTML page" if data.lstrip()[:1] == b"<" else "something else"
        raise InputError(f"expected an .xlsx or .csv file, found {kind}; {_SAVE_AS}", where=where)
    tables: list[_Worksheet] = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            merged, with_formulas = _within_bounds(archive, where)
        # Read as a stream, and twice where there are formulas: one without a value looks like an empty cell.
        values, formulas = (
            openpyxl.load_workbook(io.BytesIO(data), data_only=computed, read_only=True) for computed in (True, False)
        )
        held = 0
        for sheet, other in zip(values.worksheets, formulas.worksheets, strict=True):
            sheet.reset_dimensions()  # some programs write wrong ones
            other.reset_dimensions()
            part = sheet._worksheet_path.lstrip("/")
            rows: _Table = []
            read = sheet.iter_rows(values_only=True)
            pairs = zip(read, other.iter_rows(values_only=True), strict=True) if part in with_formulas else zip(read)
            for number, (cells, *written) in enumerate(pairs, start=1):
                row = list(cells)
                for place, formula in enumerate(written[0] if written else ()):
                    if row[place] is None and formula is not None:
                        row[place] = f"{_NOT_COMPUTED}{get_column_letter(place + 1)}{number}"
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
            tables.append(_Worksheet(sheet.title, rows, origins, sheet.sheet_state != "visible"))
    except InputError:
        raise
    except Exception as error:  # openpyxl raises whatever a damaged workbook leads it to
        raise InputError(f"the workbook cannot be read ({error or type(error).__name__}); {_SAVE_AS}", where) from error
    return tables


def _within_bounds(archive: zipfile.ZipFile, where: str) -> tuple[dict[str, list[tuple[int, ...]]], set[str]]:
    """The merged areas of each part of a workbook, (left, top, right, bottom) from 1, and which parts have formulas.

    Raises:
        InputError: it is no workbook, or one that would take all memory: of too many bytes, cells or merged cells.
            Nothing of it is parsed yet.
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
        text, name = archive.read(part), part.filename.lstrip("/")  # never more than it said
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


def _csv_table(source: Path, data: bytes, columns: Mapping[str, Column]) -> _Worksheet:
    where = str(source)
    if zipfile.is_zipfile(io.BytesIO(data)):
        raise InputError(f"this is no text; if it is a workbook, name it {source.stem}.xlsx", where=where)
    text = decoded(data, where)
    required = {key for key, column in columns.items() if column.required}
    head = [line[:10_000] for line in io.StringIO(text[: 1 << 20]).readlines()[:_HEADER_WITHIN]]
    tried: list[tuple[int, _Worksheet | InputError]] = []
    marks = ",;\t|"
    if not any(mark in text for mark in marks):  # columns with blanks between them
        text, marks = re.sub(" +", " ", text), " "
    for delimiter in sorted(marks, key=text.count, reverse=True):
        # how many columns the mark makes of a line, whether or not the rest can be read with it
        known = max((len(_places([c.strip('" ') for c in row.split(delimiter)], columns)) for row in head), default=0)
        lines: _Table = []
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            held = 0
            for number, cells in enumerate(reader, start=1):
                lines.append((number, list(cells)))
                if (held := held + len(cells)) > _MOST_CELLS:
                    told = f"expected a table of clips, found more than {_MOST_CELLS} cells; is it the right file?"
                    raise InputError(told, where=where)
        except csv.Error as error:
            told = f"row {len(lines) + 1} cannot be read as CSV ({error}): is a quotation mark missing? {_SAVE_AS}"
            tried.append((known, InputError(told, where=where)))
            continue
        table = _Worksheet(source.name, lines, closed=True)
        if any(required <= _places(cells, columns).keys() for _, cells in lines[:_HEADER_WITHIN]):
            return table
        tried.append((known, table))
    # The mark that makes most sense of the header, not the one that happens to fail first or last; where none makes
    # any, one with which the file can be read.
    _, found = max(tried, key=lambda one: (one[0], isinstance(one[1], _Worksheet) and not one[0]))
    if isinstance(found, InputError):
        raise found
    return found


def decoded(data: bytes, where: str) -> str:
    """The text of a CSV file, whichever of the usual encodings it has.

    Raises:
        InputError: it has none of them.
    """
    marks = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    encodings = next(([name] for mark, name in marks.items() if data.startswith(mark)), ["utf-8-sig", "gb18030"])
    # UTF-16 without its mark: every second byte of Latin letters, digits and commas is zero
    halves = data[:4096:2].count(0), data[1:4096:2].count(0)
    if max(halves) > 0.2 * len(data[:4096:2]) and len(encodings) > 1:
        encodings = ["utf-16-le" if halves[1] > halves[0] else "utf-16-be"]
    # In Chinese bytes above 0x7f stand together; the single ones of Western text are letters of Windows-1252.
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


def _plain(name: Any) -> str:
    text = unicodedata.normalize("NFKC", str(name if name is not None else ""))  # full-width letters are letters
    return re.sub(r"[\W_]+", "", text).lower()


def _places(cells: Sequence[Any], columns: Mapping[str, Column]) -> dict[str, list[int]]:
    """Where the columns are in a header row; each place is of one column."""
    named: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if isinstance(cell, str) and (plain := _plain(cell)):
            named.setdefault(plain, []).append(place)
    found: dict[str, list[int]] = {}
    taken: set[int] = set()
    for key, column in sorted(columns.items(), key=lambda one: one[1].common):  # those that a user names come first
        likely = [places for name in column.names if (places := named.get(_plain(name))) and places[0] not in taken]
        if likely:
            found[key] = likely[0]
            taken.update(likely[0])
    for key, column in columns.items():
        if key in found or not column.common:
            continue
        names = dict.fromkeys(map(_plain, COMMON.get(_SAME_AS.get(key, key), ())))
        likely = [places for name in names if (places := named.get(name)) and places[0] not in taken]
        if len(likely) == 1:  # of several none is known to be meant
            found[key] = likely[0]
            taken.update(likely[0])
    return {key: found[key] for key in columns if key in found}


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


def by_cause(skipped: Iterable[Mapping[str, Any]]) -> list[str]:
    """Rows with faults, a line for each cause in place of a line for each row.

    Causes are one where they differ in quoted values, paths and numbers alone; the line tells that of the first row
    and the other values.

    Args:
        skipped: `where` (file and row), `id` and `reasons` of each.
    """
    causes: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for one in skipped:
        for reason in one["reasons"]:
            kind = re.sub(rf"{_QUOTED}|\S*[/\\]\S*|\d+", "#", reason)
            kind = re.sub(r"(there is no file|is a folder) .*?(?=;|$)", r"\1", kind)  # a path may hold spaces
            causes.setdefault(kind, []).append((reason, one))
    return [
        f"{_rows_of([row for _, row in same])}: {_reason([reason for reason, _ in same])}" for same in causes.values()
    ]


_QUOTED = r"'(?:[^'\\]|\\.)*'|\"[^\"]*\""


def _reason(reasons: Sequence[str]) -> str:
    """The first of some reasons of one kind, and what else they found."""
    values = [re.findall(_QUOTED, reason) for reason in reasons]
    others = dict.fromkeys(value for row in values for value in row if value not in values[0])
    if not others:
        return reasons[0]
    more = f" and {len(others) - 6} more" if len(others) > 6 else ""
    return f"{reasons[0]} (likewise {', '.join(list(others)[:6])}{more})"


def _rows_of(rows: Sequence[Mapping[str, Any]]) -> str:
    if len(rows) == 1:
        return ", ".join(str(part) for part in (rows[0]["where"], rows[0]["id"]) if part)
    files = [str(row["where"]).rpartition(", row ") for row in rows]
    if not all(mark and number.isdigit() and name == files[0][0] for name, mark, number in files):
        return f"{rows[0]['where']} and {len(rows) - 1} more"
    numbers = [int(number) for *_, number in files]
    return f"{files[0][0]}, rows {listed(numbers)} (here row {numbers[0]})"


def listed(numbers: Iterable[int], most: int = 8) -> str:
    """Numbers of rows: `2, 5-9, 12`, and how many more there are than are shown."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a}-{b}" for a, b in runs[:most]]
    rest = sum(b - a + 1 for a, b in runs[most:])
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
"""Control characters, and those that turn the direction of a text."""


def guarded(value: object) -> object:
    """A cell of a CSV that this package writes: a text that no spreadsheet takes for a formula, an apostrophe in front.

    Signs of any width count (`＝`), and what cannot be seen does not hide them; numbers and None stay as they are.
    """
    if not isinstance(value, str):
        return value
    plain = CONTROL.sub(" ", value)
    seen = (c for c in plain if not c.isspace() and unicodedata.category(c) not in ("Cf", "Cc"))
    first = unicodedata.normalize("NFKC", next(seen, ""))
    return f"'{plain}" if first[:1] in ("=", "+", "-", "@") else plain
