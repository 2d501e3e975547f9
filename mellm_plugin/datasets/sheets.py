"""Coding sheets: rows with known columns, and all of their faults at once.

    sheet = read_sheet("CASME2-coding-20140508.xlsx", {"subject": Column("Subject"), "onset": Column("OnsetFrame")})
    sheet.rows[0]  ->  Row(number=2), with .text("subject") "01", .whole("onset") 46

Columns are matched by name, ignoring case, spaces and marks: `OnsetFrame`, `onset_frame` and `Onset Frame` are equal.
Where a sheet has none of a column's own names, the usual names in other sheets, `COMMON`, are tried. The header is the
first row with all required columns, so a preamble and empty columns do no harm.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile
from pathlib import Path
from typing import Any

from mellm_plugin.datasets.worksheets import HEADER_WITHIN, NOT_COMPUTED, TableFile, Worksheet, read_tables
from mellm_plugin.errors import InputError, near

_MISSING = frozenset({"nan", "na", "nil", "nat", "none", "null", "unknown", "missing", "未知", "缺失", "无"})
_FORMULA_ERRORS = frozenset({"#ref!", "#value!", "#name?", "#div/0!", "#num!", "#null!"})

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
"""Column names in published sheets and lists, by content."""
_SAME_AS = {"id": "clip", "label": "emotion", "objective_class": "objective"}  # keys with the same content


class Column:
    """A column to look for, by its names in known sheets; messages use the first one.

    With `merged`, a cell merged over several rows counts for each of them (a subject, for instance); with `common`, the
    names in `COMMON` are accepted as well.
    """

    def __init__(self, *names: str, required: bool = True, merged: bool = False, common: bool = True) -> None:
        self.names, self.required, self.merged, self.common = names, required, merged, common


@dataclass
class Row:
    """One row. Reading an invalid cell adds to `faults`."""

    number: int  # from 1, as in a spreadsheet program
    cells: dict[str, Any]  # by column key; columns that the sheet lacks are missing
    names: Mapping[str, str]  # of the columns in this sheet, for messages
    faults: list[str] = field(default_factory=list)  # a sentence each

    def text(self, key: str, required: bool = False) -> str | None:
        """The cell as text, stripped; whole numbers without a decimal point; None if it is empty."""
        found = as_text(self.cells.get(key))
        if required and found is None:
            self._fault(key, "expected a text, found an empty cell; fill it in")
        return found

    def raw(self, key: str) -> Any:
        """The cell as the spreadsheet stores it."""
        return self.cells.get(key)

    def whole(self, key: str, required: bool = False) -> int | None:
        """The cell as a whole number, 0 or more; None if it is empty or marked as unknown (`/`, `?`, `n/a`, `-1`)."""
        value = self.cells.get(key)
        text = as_text(value)
        if text is None or is_missing(text) or re.fullmatch(r"[-−]1(\.0+)?", text):
            shown = "an empty cell" if text is None else repr(text)
            if required:
                self._fault(key, f"expected a frame number, found {shown}; fill it in")
            return None
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,15}(\.0+)?", text):
            self._fault(key, f"expected a whole number, found {text!r}; correct the cell")
            return None
        return int(float(text))

    def number_above_zero(self, key: str) -> float | None:
        """The cell as a positive number; None if it is empty."""
        text = as_text(self.cells.get(key))
        if text is None or is_missing(text):
            return None
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text) or float(text) == 0:
            self._fault(key, f"expected a number above 0, found {text!r}; correct the cell")
            return None
        return float(text)

    def _fault(self, key: str, problem: str) -> None:
        self.faults.append(f"{self.names.get(key, key)}: {problem}")


@dataclass(frozen=True)
class Sheet:
    """A sheet of a file: all rows that hold anything, in order."""

    path: Path
    sha256: str
    rows: tuple[Row, ...]
    columns: Mapping[str, str]  # the name in this sheet of each column found, by key
    headings: tuple[str, ...]  # all names in the header row
    worksheet: str = ""  # its name; of a CSV the file's


def as_text(value: Any) -> str | None:
    """A cell as text: stripped, whole floats without `.0`; None if it is empty."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return " ".join(str(value).replace("\ufeff", "").replace("\u200b", "").split()) or None


def named_columns(columns: Mapping[str, Column], named: Mapping[str, str]) -> dict[str, Column]:
    """Columns, some of them with the name that the user gives, `{"clip": "material"}`, and no other.

    Raises:
        InputError: an unknown key, or one header for two keys; all faults at once.
    """
    unknown = [key for key in named if key not in columns]
    faults = [f"{key!r} is no column of it; expected {', '.join(columns)}.{near(key, columns)}" for key in unknown]
    of_header: dict[str, str] = {}
    for key, header in named.items():
        other = of_header.setdefault(_plain(header), key)
        if other != key:
            faults.append(f"expected a column for each key, found {header!r} for both {other} and {key}")
    if faults:
        raise InputError(faults, where="--columns")
    # required: the user wants a named column to be read
    changed = {key: Column(header, merged=columns[key].merged, common=False) for key, header in named.items()}
    return {key: changed.get(key, column) for key, column in columns.items()}


def is_missing(text: str) -> bool:
    """Whether a cell's text means that nothing is known: only marks (`/`, `\\`, `-`, `?`), `n/a`, `null`, `nan`.

    >>> [is_missing(text) for text in ("/", "?", "N/A", "null", "0", "-1")]
    [True, True, True, True, False, False]
    """
    return re.sub(r"[\W_]+", "", text).lower() in {"", *_MISSING}


def read_sheet(path: str | Path, columns: Mapping[str, Column], *, prefer: Sequence[str] = ()) -> Sheet:
    """Read the worksheet that has the columns; a hidden one only if no other has them.

    Args:
        path: an .xlsx or .xlsm file, `FILE.xlsx#WORKSHEET`, or a CSV (comma, semicolon, tab or bar; UTF-8, UTF-16 or
            GB18030).
        columns: by the key that `Row` uses.
        prefer: names of worksheets to prefer if several have the columns.

    Raises:
        InputError: missing, unreadable or too large file; no worksheet with the required columns (with the nearest
            header and what it lacks), or several; duplicate columns; or no row below the header.
    """
    file = _read(path, columns)
    headed: list[tuple[Worksheet, int, dict[str, list[int]]]] = []
    for table in file.worksheets:
        for index, (_, cells) in enumerate(table.rows[:HEADER_WITHIN]):
            places = _places(cells, columns)
            if all(key in places for key, column in columns.items() if column.required):
                headed.append((table, index, places))
                break
    preferred = [found for found in headed if found[0].name in prefer][:1]
    headed = preferred or [found for found in headed if not found[0].hidden] or headed
    if len(headed) > 1:
        several = ", ".join(repr(table.name) for table, *_ in headed)
        advice = f"name it: {file.path.name}#WORKSHEET"
        raise InputError(f"expected one worksheet with these columns, found {several}; {advice}", str(file.path))
    if not headed:
        raise InputError(_no_header(file.worksheets, columns), where=str(file.path))
    return _sheet(file, columns, *headed[0])


def read_bare(path: str | Path, columns: Mapping[str, Column], is_row: Callable[[Sequence[str]], bool]) -> Sheet | None:
    """Read a sheet without a header, its columns in the order of their keys; None if its first row is a header.

    `is_row` tells whether the texts of the first row are data. Of a workbook, the first worksheet that holds anything
    counts; else as `read_sheet`.
    """
    file = _read(path, columns)
    for table in file.worksheets:
        filled = [(n, cells) for n, cells in table.rows if any(as_text(cell) is not None for cell in cells)]
        filled = [*dropwhile(lambda row: (as_text(_cell(row[1], 0)) or "").startswith("#"), filled)]  # remarks
        if not filled:
            continue
        if not is_row([as_text(cell) or "" for cell in filled[0][1]]):
            return None
        keys = list(columns)[: max(len(cells) for _, cells in filled)]
        rows = tuple(Row(n, {key: _cell(cells, at) for at, key in enumerate(keys)}, {}) for n, cells in filled)
        names = {key: f"column {at}" for at, key in enumerate(keys, start=1)}
        return Sheet(file.path, file.sha256, rows, names, (), table.name)
    return None


def _read(path: str | Path, columns: Mapping[str, Column]) -> TableFile:
    required = {key for key, column in columns.items() if column.required}
    return read_tables(path, lambda cells: _places(cells, columns), required)


def _no_header(tables: Sequence[Worksheet], columns: Mapping[str, Column]) -> str:
    """The message for missing columns: which, the nearest header, and how to name them."""
    wanted = ", ".join(column.names[0] for column in columns.values() if column.required)
    candidates = [
        (len(_places(cells, columns)), sum(isinstance(cell, str) for cell in cells) > 1, -index, table, number, cells)
        for table in tables
        for index, (number, cells) in enumerate(table.rows[:HEADER_WITHIN])
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


def _counted(tables: Sequence[Worksheet]) -> str:
    names = [table.name for table in tables if table.rows]
    return f"{len(names)} worksheets ({', '.join(names)})" if len(names) > 1 else "it" if names else "an empty file"


def _plain(name: Any) -> str:
    text = unicodedata.normalize("NFKC", str(name if name is not None else ""))  # wide letters count as narrow
    return re.sub(r"[\W_]+", "", text).lower()


def _places(cells: Sequence[Any], columns: Mapping[str, Column]) -> dict[str, list[int]]:
    """The places of the columns in a header row; no place belongs to two."""
    named: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if isinstance(cell, str) and (plain := _plain(cell)):
            named.setdefault(plain, []).append(place)
    found: dict[str, list[int]] = {}
    taken: set[int] = set()
    for key, column in sorted(columns.items(), key=lambda one: one[1].common):  # the user's names come first
        likely = [places for name in column.names if (places := named.get(_plain(name))) and places[0] not in taken]
        if likely:
            found[key] = likely[0]
            taken.update(likely[0])
    for key, column in columns.items():
        if key in found or not column.common:
            continue
        names = dict.fromkeys(map(_plain, COMMON.get(_SAME_AS.get(key, key), ())))
        likely = [places for name in names if (places := named.get(name)) and places[0] not in taken]
        if len(likely) == 1:  # never guess between several
            found[key] = likely[0]
            taken.update(likely[0])
    return {key: found[key] for key in columns if key in found}


def _sheet(
    file: TableFile, columns: Mapping[str, Column], table: Worksheet, header: int, places: Mapping[str, list[int]]
) -> Sheet:
    number, headings = table.rows[header]
    merged = table.merged
    if twice := ", ".join(str(as_text(headings[found[0]])) for found in places.values() if len(found) > 1):
        problem = f"expected one column of each name, found {twice} twice; delete or rename one"
        raise InputError(f"row {number}: {problem}", where=str(file.path))
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
                row._fault(key, f"the cell is merged with that of row {origin[0]}; unmerge and fill it in")
        own = [value for key, value in row.cells.items() if (line, places[key][0]) not in merged]
        if not any(as_text(value) is not None for value in own):
            continue
        for key, value in row.cells.items():
            if isinstance(value, str) and value.strip().lower() in _FORMULA_ERRORS:
                row.faults.append(f"{names[key]}: the formula has the error {value.strip()}; correct the cell")
                row.cells[key] = None
            elif isinstance(value, str) and value.startswith(NOT_COMPUTED):
                formula = value.removeprefix(NOT_COMPUTED)
                advice = "open the file in a spreadsheet program and save it"
                row.faults.append(f"{names[key]}: the formula in {formula} was never computed; {advice}")
                row.cells[key] = None
        if table.closed and any(as_text(value) is not None for value in cells[len(headings) :]):
            advice = "put a cell that holds a comma in quotes, or write units as 6+12"
            row.faults.append(f"expected {len(headings)} cells, found {len(cells)}; {advice}")
        rows.append(row)
    if not rows:
        raise InputError(f"expected clips below the header in row {number}, found none", where=str(file.path))
    shown = tuple(text for cell in headings if (text := as_text(cell)))
    return Sheet(file.path, file.sha256, tuple(rows), names, shown, table.name)


def _cell(cells: Sequence[Any], place: int) -> Any:
    return cells[place] if place < len(cells) else None
