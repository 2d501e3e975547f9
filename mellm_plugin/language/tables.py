"""Tables, columns of tools, JSON records, vectors and boxes in an answer, turned into words about units.

    "AU01_c: 0, AU04_c: 1, AU04_r: 2.1"              "au01: 0, au04: 1"
    "AU1,AU4,AU12\\n0,1,0"                            "au1: no, au4: yes, au12: no"
    "[AU1, AU4, AU12] = [0, 1, 0]"                   "au1: no, au4: yes, au12: no"
    '{"id": "AU4", "active": 0}'                     "au4: no"
    "[x] AU4 [ ] AU12"                               "au4: yes, au12: no"

A value that is zero or below one half is low and denies its unit; so does an intensity (0 to 5) below the lowest level
(A).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mellm_plugin.facs.units import UNITS

_NO = (
    "no, n, false, absent, inactive, none, off, null, nil, undetected, not present, not active, not detected, "
    "not visible, -, ✗, ✘, ❌, ✕, ✖, ×, 否, 无, 無, 没有, 未激活, 未出现, 未检测到, 不存在"
)
_YES = "yes, y, true, present, active, activated, detected, visible, on, x, ✓, ✔, ✅, ☑, 是, 有, 激活, 出现, 存在"
_FLAGS = {word: words is _YES for words in (_NO, _YES) for word in words.split(", ")}
_NUMBER = r"[0-9]{1,3}(?:\.[0-9]{1,15})?"
_KINDS = (
    "c|r|presence|present|active|activated|activation|detected|occurrence|intensity|intensities|probability|prob|score|"
    "confidence|level|value"
)
"""What a column of a tool holds, as its name says (`AU01_c`, `au_12_intensity`)."""
_OF = r"(?:_|[ ](?![cr]\b))"  # "AU12 R" is a side
_UNIT = rf"(?:au|action unit)[ _-]?0*([0-9]{{1,2}})(?:{_OF}({_KINDS}))?"
_UNIT_CELL = re.compile(_UNIT)
_PRESENCE = frozenset({"c", "presence", "present", "active", "activated", "detected", "occurrence"})
_COLUMN = re.compile(rf"\b(au[ _-]?0*([0-9]{{1,2}})){_OF}({_KINDS})\b(?=[\"'*`]{{0,3}}\s{{0,3}}(?:[:=0-9]|is\b))")
_COLUMN_VALUE = re.compile(rf"\b{_UNIT}\b[\"'*`]{{0,3}}\s{{0,3}}[:=]?\s{{0,3}}{_NUMBER}")


def is_low(value: str) -> bool:
    """Whether a value denies its unit: zero, or a probability or share below one half (`0.2`, `3%`)."""
    share = value.endswith("%")
    value = value.rstrip("% ")
    if share:
        return bool(re.fullmatch(r"[0-4]?[0-9](?:\.[0-9]{1,15})?", value))
    return not value.strip("0.") or bool(re.fullmatch(r"0?\.[0-4][0-9]{0,15}", value))


def in_words(body: str) -> str:
    """An answer in lower case, with its tables, records, vectors and boxes turned into words."""
    return _with_boxes(_with_rows(_with_pairs(_with_columns(_with_vectors(_with_tool_columns(_with_records(body)))))))


def _flag(value: str) -> bool | None:
    """Whether a value affirms its unit; None if it is no value."""
    value = value.strip(" \t\"'*_`[]()")
    if re.fullmatch(rf"{_NUMBER}\s?%?", value):
        return not is_low(value.replace(" ", ""))
    return _FLAGS.get(value)


def _with_tool_columns(body: str) -> str:
    """`AU01_c: 0` without the kind of the column; intensities are dropped for units that have a presence column."""
    with_presence = {number for _, number, kind in _COLUMN.findall(body) if kind in _PRESENCE}
    if with_presence:
        body = _COLUMN_VALUE.sub(
            lambda one: "" if one[2] and one[2] not in _PRESENCE and one[1] in with_presence else one[0], body
        )
    return _COLUMN.sub(r"\1", body)


_CELL_OF_UNITS = re.compile(r"[lr]?[0-9]{1,2}[a-e]?(?:\s*[,+/]\s*[lr]?[0-9]{1,2}[a-e]?)*")
_COLUMN_OF_UNITS = re.compile(r"(?:facial )?(?:aus?|action units?|facs(?: codes?)?)(?: (?:number|no\.?|code|id))?s?")
_COLUMN_OF_SIDES = re.compile(r"(?:sides?|laterality)(?: of (?:the )?face)?")
_COLUMN_OF_FLAGS = re.compile(
    r"(?:present|presence|active|activated|activation|detected|visible|observed|occurrence|probability|prob|score"
    r"|confidence|intensity|value|状态|是否|激活|概率)\b.*"
)


def _separator(line: str) -> str:
    """The mark that separates the cells of a line; empty if there is none."""
    return next((mark for mark in ("|", "\t", ",", ";") if mark in line), "")


def _is_rule(line: str) -> bool:
    """Whether a line is the rule below the head of a table: `|---|:-:|`."""
    return "|" in line and "-" in line and not line.strip("|:- \t\r")


def _with_columns(body: str) -> str:
    """The text with "au" before the bare numbers in columns of units, and yes or no in columns of flags."""
    lines = body.split("\n")
    kinds = (_COLUMN_OF_UNITS, _COLUMN_OF_FLAGS, _COLUMN_OF_SIDES)
    units, flags, of_sides = [set[int]() for _ in kinds]
    table = ""  # what separates the cells of the table
    for at, line in enumerate(lines):
        mark = _separator(line)
        cells = [cell.strip(' *_`"\r') for cell in line.split(mark)] if mark else []
        head = [{i for i, cell in enumerate(cells) if of.fullmatch(cell)} for of in kinds]
        ruled = mark == "|" and at + 1 < len(lines) and _is_rule(lines[at + 1])
        if ruled or (mark and mark != "|" and head[0] and head[1]):
            table, (units, flags, of_sides) = mark, head
        elif not mark or mark != table:
            table, units = "", set()
        elif units:
            for i, cell in enumerate(cells):
                if i in units and _CELL_OF_UNITS.fullmatch(cell):
                    cells[i] = f"au {cell}"
                elif i in flags and re.fullmatch(rf"{_NUMBER}\s?%?|x|-", cell):
                    cells[i] = "yes" if _flag(cell) else "no"
                elif i in of_sides and cell in ("both", "none", "-"):
                    cells[i] = "both sides" if cell == "both" else ""  # "none" means no side; the unit is there
            lines[at] = " | ".join(cells)
    return "\n".join(lines)


_PAIR = rf"[ \t]{{0,9}}{_UNIT}[ \t]{{0,9}}[,;\t][ \t]{{0,9}}({_NUMBER}%?|true|false|yes|no)[ \t\r]{{0,9}}"
_PAIRS = re.compile(rf"^{_PAIR}(?:\n{_PAIR})+$", re.MULTILINE)


def _with_pairs(body: str) -> str:
    """The text with lines of a unit and its flag (`AU1,0` above `AU4,1`) as a list of the units that are there."""

    def said(block: re.Match[str]) -> str:
        pairs = [found for line in block[0].split("\n") if (found := re.fullmatch(_PAIR, line)) is not None]
        if not _is_indicator([found[3] for found in pairs]):
            return block[0]  # lists of units: `AU1, 2`
        return _said((found[1], bool(_flag(found[3]))) for found in pairs)

    return _PAIRS.sub(said, body)


def _with_rows(body: str) -> str:
    """The text with lines of values below a line of units as lists of units, and other columns as fields."""
    lines = body.split("\n")
    head, head_at = list[str](), -1
    for at, line in enumerate(lines):
        if head and _is_rule(line):
            lines[at] = ""
        elif head and (values := _row(line, head)) is not None:
            lines[head_at], lines[at] = "", _named(head, values)
        else:
            head, head_at = _head(line), at
    return "\n".join(lines)


def _cells(line: str) -> list[str]:
    """The cells of a line, split at its first kind of separator, or at blanks."""
    mark = _separator(line)
    if not mark:
        return line.split()
    line = line.strip().strip("|") if mark == "|" else line
    return [cell.strip(" *_`\"'\r") for cell in line.split(mark)]


def _head(line: str) -> list[str]:
    """The names of the columns in a line, if at least two are units and none is long; else none."""
    if line.count("au") < 2 and not line.lstrip(" |*").startswith(("au", "action unit")):
        return []
    cells = _cells(line)
    if _COLUMN_OF_UNITS.fullmatch(cells[0]) and len(cells) > 2:
        cells = [cells[0], *(f"au{cell}" if _CELL_OF_UNITS.fullmatch(cell) else cell for cell in cells[1:])]
    several = sum(bool(_UNIT_CELL.fullmatch(cell)) for cell in cells) > 1
    return cells if several and all(len(cell) <= 30 for cell in cells) else []


def _row(line: str, head: Sequence[str]) -> list[str] | None:
    """The values of a line below a head, one per column; None if it is no row of values."""
    cells = _cells(line)
    if len(cells) == len(head) + 1:
        cells = cells[1:]  # the number of the row
    if len(cells) != len(head):
        return None
    flags = [_flag(cell) for cell, name in zip(cells, head, strict=True) if cell and _UNIT_CELL.fullmatch(name)]
    return cells if flags and None not in flags else None


def _named(head: Sequence[str], values: Sequence[str]) -> str:
    """A row in words. Intensities do not count for units that have a presence column."""
    units = [_UNIT_CELL.fullmatch(name) for name in head]
    with_presence = {unit[1] for unit in units if unit and unit[2] in _PRESENCE}
    found: dict[str, bool] = {}
    others: list[str] = []
    for name, unit, value in zip(head, units, values, strict=True):
        if unit is None:
            others.append(f"{name}: {value}" if name and not _COLUMN_OF_UNITS.fullmatch(name) else "")
        elif unit[2] in _PRESENCE or unit[1] not in with_presence:
            found[unit[1]] = found.get(unit[1], False) or bool(_flag(value))
    return "\n".join([_said(found.items()), *filter(None, others)])


def _said(units: Iterable[tuple[str, bool]]) -> str:
    """The affirmed units in words; `none` if all are denied."""
    affirmed = [f"au{number}" for number, there in units if there]
    return f"action units: {', '.join(affirmed) or 'none'}"


_VALUE = rf"(?:{_NUMBER}%?|true|false|yes|no)"
_VALUES = rf"{_VALUE}(?:[ \t,;]{{1,9}}{_VALUE}){{2,63}}"
_VECTOR = re.compile(
    rf"[\[(]\s{{0,9}}{_VALUES}[\s,;]{{0,9}}[\])]"
    rf"|(?<=[:=])[ \t]{{0,9}}{_VALUES}(?=[ \t]{{0,9}}(?:\.?[ \t]{{0,9}}$|\.\s|[;(\[]))",
    re.MULTILINE,
)
_OF_EMOTION = re.compile("expression|emotion|表情|情绪|情感")  # a field in between: those units are no heads
_HEADS = re.compile(r"\b(?:(?:au|action unit)s?[ _-]{0,2})?0*([0-9]{1,2})\b(?:[ _]\([^()\n]{1,40}\))?")
_BETWEEN = re.compile(r"[\s,;|/&+\"'\[\]()-]{0,9}(?:and\s)?(?:au[ _-]?)?")


def _with_vectors(body: str) -> str:
    """The text with lists of zeros and ones as the units that they flag, if as many units are listed beside them.

    Without such heads a list is removed: its ones do not mean unit 1.
    """
    out: list[str] = []
    start = 0
    for vector in _VECTOR.finditer(body):
        values = re.findall(_VALUE, vector[0])
        if not _is_indicator(values) or vector.start() < start:
            continue
        reach = 60 * len(values) + 200
        begin, end = max(start, vector.start() - reach), vector.end()
        heads = _heads(body[begin : vector.start()], len(values))
        if heads is not None and not _OF_EMOTION.search(body, begin + heads[1], vector.start()):
            cut = begin + heads[0]
        else:
            cut = vector.start()
            if (heads := _heads(body[end : end + reach].partition("\n\n")[0], len(values))) is not None:
                end += heads[1]
        if heads is not None:
            flags = ((number, bool(_flag(value))) for number, value in zip(heads[2], values, strict=True))
        out += [body[start:cut], " " if heads is None else f"\n{_said(flags)}\n"]
        start = end
    return "".join([*out, body[start:]])


def _is_indicator(values: Sequence[str]) -> bool:
    """Whether values are flags or probabilities of units, not unit numbers: `0, 1, 0`, `0.1, 0.9`."""
    return ("0" in values and {*values} <= {"0", "1"}) or all(not value.isdecimal() for value in values)


def _heads(text: str, count: int) -> tuple[int, int, list[str]] | None:
    """The last list of exactly `count` units in a text: start, end and their numbers."""
    run: list[re.Match[str]] = []
    found: tuple[int, int, list[str]] | None = None
    for number in [*_HEADS.finditer(text), None]:
        if number is not None and run and _BETWEEN.fullmatch(text, run[-1].end(), number.start()):
            run.append(number)
            continue
        if len(run) == count and all(int(one[1]) in UNITS for one in run):
            found = run[0].start(), run[-1].end(), [one[1] for one in run]
        run = [number] if number is not None else []
    return found


_RECORD = re.compile(r"(?:\"(au[ _-]?0*[0-9]{1,2}|0*[0-9]{1,2})\"\s{0,5}:\s{0,5})?\{([^{}]{1,600})\}")
_OF_UNIT = re.compile(
    r"[\"']?(?:(?:id|name|code|number|label|unit)[\"']?\s{0,5}:\s{0,5}[\"']?(?:au|action unit)"
    r"|(?:aus?|unit|action[ _]unit|au[ _]?(?:id|number|code|name))[\"']?\s{0,5}:\s{0,5}[\"']?(?:au|action unit)?)"
    r"[ _-]?([lr]?0*[0-9]{1,2})[a-e]?\b[^,\n]{0,60}"
)
_OF_ID = re.compile(r"[\"']?(?:id|code|number)[\"']?\s{0,5}:\s{0,5}[\"']?([lr]?0*[0-9]{1,2})[a-e]?\b")
_OF_FLAG = (
    r"(?:is[ _])?(?:active|activated|present|presence|detected|visible|observed|occurs|occurrence|exists|on|flag)",
    r"(?:value|status|state|score|confidence|probability|prob|p|intensity|activation|level|label|result)",
)


def _with_records(body: str) -> str:
    """The text with records of one unit and its state as `au4: no`; a unit that is there keeps its other fields."""

    def said(record: re.Match[str]) -> str:
        key, fields = record[1], record[2]
        unit = None if key else _OF_UNIT.search(fields) or _OF_ID.search(fields)
        if key is None and unit is None:
            return record[0]
        number = key.removeprefix("au").strip(" _-") if key else unit[1] if unit else ""
        by_id = unit is not None and unit.re is _OF_ID  # a bare number is a unit only with a flag that says it is there
        for names in _OF_FLAG[:1] if by_id else _OF_FLAG:
            flag = re.search(rf"(?:^|[,\n])\s{{0,40}}[\"']?{names}[\"']?\s{{0,5}}:\s{{0,5}}([^,\n]{{1,40}})", fields)
            if flag is not None and (affirmed := _flag(flag[1])) is not None:
                if not affirmed:
                    return f" au {number}: no, "
                rest = fields[: flag.start()] + fields[flag.end() :]
                return f" au {number}: yes, {_OF_UNIT.sub('', rest)} "
        return record[0]

    return _RECORD.sub(said, body)


_EMPTY = r"\[[ _✗✘]\]|[☐□▢⬜🔲✗✘❌✕✖]|×(?!\s?[0-9])|\( \)"
_TICKED = r"\[[x✓✔*v]\]|[☑☒■▣🔳⬛✓✔✅√]|\([x✓✔]\)"
_BOX = re.compile(rf"({_TICKED})|({_EMPTY})")
_EMPTY_LIST = re.compile(r"[:=]\s{0,9}\[ \][ ,}]{0,9}$")
_BOX_BEHIND = re.compile(rf"(?::\s{{0,9}})?(?:({_TICKED})|({_EMPTY}))")
_BEFORE_BOX = re.compile(r"[\s>*+•.)0-9-]*")


def _with_boxes(body: str) -> str:
    """The text with boxes as yes or no, each item on its own line."""
    lines = body.split("\n")
    for at, line in enumerate(lines):
        boxes = list(_BOX.finditer(line))
        if not boxes or (_EMPTY_LIST.search(line) and not _UNIT_CELL.search(line)):
            continue  # an empty list
        before = line[: boxes[0].start()]
        if _BEFORE_BOX.fullmatch(before) or (before.rstrip().endswith(":") and not _UNIT_CELL.search(before)):
            ends = [box.start() for box in boxes[1:]] + [len(line)]
            items = [
                f"{'yes' if box[1] else 'no'} {line[box.end() : end]}" for box, end in zip(boxes, ends, strict=True)
            ]
            lines[at] = "\n".join([before, *items])
        else:
            lines[at] = _BOX_BEHIND.sub(lambda box: f": {'yes' if box[1] else 'no'}, ", line)
    return "\n".join(lines)
