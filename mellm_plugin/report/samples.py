"""A samples file of lmms-eval -> the clips and answers of a run.

A line of a task of this package holds one record of its clip, besides the answer and what lmms-eval adds:

    {"doc_id": 0, "filtered_resps": "..", "token_counts": [..], "record": {"id": "synthme/s00/00", "subject": "s00",
     "asks": "all", "labels": [..], "scored_aus": [..], "gold": {"aus": ["4"], "label": "fear", "coarse": "negative"},
     "read": {"aus": [4, 5], "label": "fear", ..}, "facts": {..}, "judge": {..}, "doubts": [], "motion_px": .2}, ..}

Earlier versions repeated parts of the record under the name of each metric; `record_of` puts them together.

Every line is checked; one that cannot be used is a fault with all that is wrong in it, and the others are kept. Equal
values are stored once, so memory grows by about a kilobyte a clip and model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.language.unanswered import as_given, unanswered
from mellm_plugin.report.files import faults_of, loads, short
from mellm_plugin.report.runs import FACTS, Clip, Fault, Reading

SIGNS = ("parse_rate", "vqa_parse_rate", "threshold_px")
"""Metrics by which a task of this package is known."""

_STDERR = re.compile(r"_stderr(_\w+)?$")
_SHOWN = 5  # faulty lines of a file that are reported one by one

# ---- the record -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _code(code: str) -> str:
    try:
        parse_canonical(code)
    except CodeError:
        raise ValueError(f"expected a canonical code of an action unit, found {short(code)}") from None
    return code


Code = Annotated[str, AfterValidator(_code)]
Count = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _Gold(_Strict):
    aus: list[Code] | None = None
    label: str | None = None
    coarse: str | None = None


class _Read(_Strict):
    aus: list[Count] | None = None
    label: str | None = None
    coarse: str | None = None
    unparsed: str | None = None
    sides: dict[str, str] | None = None


class _Facts(_Strict):
    right: Count | None = None
    claims: Count
    found: Count | None = None
    facts: Count | None = None
    contradicting: Count
    decided: Count


class _Unscored(_Strict):
    kind: str
    detail: str | None = None


class _Judge(_Strict):
    points: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    unscored: _Unscored | None = None
    judge: str | None = None
    rubric: str | None = None
    scores: dict[str, Number | None] | None = None
    reasons: dict[str, str] | None = None

    @model_validator(mode="after")
    def _either(self) -> _Judge:
        if (self.points is None) == (self.unscored is None):
            raise ValueError("expected either points or a reason why there are none")
        return self


class _Rung(_Strict):
    unit: Count
    level_px: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    named: bool | None
    others: Count | None
    other_units: Count

    @model_validator(mode="after")
    def _both(self) -> _Rung:
        if (self.named is None) != (self.others is None):
            raise ValueError("expected both named and others, or neither")
        return self


class _Record(_Strict):
    """The record of a clip."""

    id: str
    subject: str
    dataset: str | None = None
    asks: Literal["all", "emotion", "aus"] | None = "all"
    labels: list[str]
    scored_aus: list[Count] | None = None
    gold: _Gold
    read: _Read
    doubts: list[str] | None = None
    motion_px: Number | None = None
    facts: _Facts | None = None
    judge: _Judge | None = None
    rung: _Rung | None = None


class _Said(_Strict, extra="forbid"):
    coarse: str | None = None
    fine: str | None = None
    side: str | None = None
    shown: bool | None = None
    units: list[Count] | None = None


class _Question(_Strict):
    """The record of a question of the ME-VQA challenge."""

    id: str
    subject: str
    dataset: str | None = None
    kind: str
    gold: _Said | None = None
    read: _Said
    expected: str | None = None
    submitted: str | None = None


class _Line(_Strict):
    place: Annotated[int, Field(alias="doc_id")]
    text: Annotated[str, Field(alias="filtered_resps")]


class _ClipLine(_Line):
    record: _Record


class _QuestionLine(_Line):
    record: _Question


# ---- lines of older versions ----------------------------------------------------------------------------------------


def record_of(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The record of a line of any version; None if the line is of a task of another package.

    Raises:
        ValueError: the line is of a task of this package and has no record.
    """
    if isinstance(record := row.get("record"), dict):
        return record
    sign = next((name for name in SIGNS if isinstance(row.get(name), dict)), None)
    if sign is None:
        if (name := next((name for name in SIGNS if name in row), None)) is not None:
            raise ValueError(f"{name}: expected an object with what was read of the clip, found {short(row[name])}")
        return None

    def item(metric: str) -> dict[str, Any]:
        return found if isinstance(found := row.get(metric), dict) else {}

    if sign == "vqa_parse_rate":
        texts = item("vqa_rouge1_f1")
        return {**row[sign], "expected": texts.get("gold"), "submitted": texts.get("read")}
    old = row[sign] if sign == "parse_rate" else {**row[sign], "asks": None, "labels": [], "gold": {}, "read": {}}
    return {
        **old,
        "doubts": item("motion_plausible_rate").get("doubts"),
        "motion_px": item("motion_plausible_rate").get("motion_px"),
        "facts": item("description_facts_f1") or None,
        "judge": item("description_score") or None,
        "rung": item("threshold_px") or None,
    }


# ---- lines ----------------------------------------------------------------------------------------------------------


@dataclass
class Lines:
    """What the lines of a samples file hold together."""

    clips: list[Clip] = field(default_factory=list)
    metrics: dict[str, None] = field(default_factory=dict)
    asks: str | None = None
    labels: tuple[str, ...] | None = None
    units: tuple[int, ...] | None = None
    protocol: tuple[Any, Any, Any] = (None, None, None)
    keys: set[tuple[str, ...]] = field(default_factory=set)
    damaged: int = 0
    foreign: int = 0


class Pool:
    """Equal values, stored once."""

    def __init__(self) -> None:
        self._stored: dict[Any, Any] = {}

    def __call__(self, value: Any) -> Any:
        """The value, or an equal one from before; the values of a dict must be hashable."""
        key = tuple(value.items()) if isinstance(value, dict) else value
        return self._stored.setdefault((type(value), key), value)


def read_lines(
    file: Path, task: str, pool: Pool, reading: Reading, progress: Callable[[int], None] | None = None
) -> Lines:
    """Read a samples file, line by line; `progress` gets the number of bytes of each."""
    lines = Lines()
    faults: list[str] = []
    seen: dict[int, str] = {}
    try:
        with file.open("rb") as source:
            for number, raw in enumerate(source, 1):
                if progress is not None:
                    progress(len(raw))
                if not raw.strip():
                    continue
                try:
                    clip = _clip(_object(raw), number, lines, pool)
                except ValidationError as error:
                    lines.damaged += 1
                    faults.append(f"line {number}: {'; '.join(faults_of(error))}")
                    continue
                except ValueError as error:
                    lines.damaged += 1
                    faults.append(f"line {number}: {error}")
                    continue
                if clip is None:
                    lines.foreign += 1
                elif clip.place not in seen:
                    seen[clip.place] = clip.text
                    lines.clips.append(clip)
                else:
                    lines.damaged += 1
                    same = "the same" if seen[clip.place] == clip.text else "another"
                    faults.append(f"line {number}: clip {clip.id} has an answer already; this is {same}, and left out")
    except OSError as error:
        faults.append(f"cannot be read: {error}")
    if lines.clips and lines.foreign:
        lines.damaged += lines.foreign
        faults.append(f"{lines.foreign} lines are of another task than {task}")
    more = [f"{len(faults) - _SHOWN} more lines like these"] if len(faults) > _SHOWN else []
    reading.faults += [Fault(str(file), fault) for fault in (*faults[:_SHOWN], *more)]
    return lines


def _object(raw: bytes) -> dict[str, Any]:
    try:
        row = loads(raw)
    except (ValueError, RecursionError) as error:
        whole = "" if raw.endswith(b"\n") else "; the file ends in the middle of it"
        found = short(raw.decode("utf-8", "replace"))
        raise ValueError(f"expected JSON in UTF-8, found {found} ({error}){whole}") from None
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, found {short(row)}")
    return row


def _clip(row: Mapping[str, Any], number: int, lines: Lines, pool: Pool) -> Clip | None:
    """The clip of a line; None if the line is of another task.

    Raises:
        ValueError: it cannot be used; a ValidationError with all faults where its values are wrong.
    """
    record = record_of(row)
    if record is None:
        return None
    given = {"doc_id": row.get("doc_id", number - 1), "record": record}
    answer = _answer(row)
    line: _ClipLine | _QuestionLine
    if answer is not None:
        given["filtered_resps"] = as_given(answer, record)
    line = (_QuestionLine if "kind" in record else _ClipLine).model_validate(given)
    of = line.record
    clip: dict[str, Any] = {
        "place": line.place,
        "id": of.id,
        "subject": of.subject,
        "dataset": of.dataset or of.id.partition("/")[0],
        "text": line.text,
        "unanswered": unanswered(line.text),
        "tokens": _tokens(row.get("token_counts")),
    }
    if isinstance(of, _Record):
        _agree(of, lines, pool)
        clip |= _of_clip(of)
    else:
        clip |= _of_question(of)
    kept = {name: value if name in ("place", "verdict") else pool(value) for name, value in clip.items()}
    if (keys := tuple(row)) not in lines.keys:
        lines.keys.add(keys)
        lines.metrics |= dict.fromkeys(_metrics(row))
    return Clip(**kept)


def _agree(record: _Record, lines: Lines, pool: Pool) -> None:
    """Check that a line asks for the same labels and units as those before it."""
    protocol = record.asks, record.labels, record.scored_aus
    if protocol == lines.protocol or record.asks is None:
        return
    if lines.labels is not None:
        raise ValueError("asks for other labels or units than the lines before it")
    lines.asks, lines.labels, lines.units = record.asks, tuple(record.labels), tuple(record.scored_aus or ())
    lines.protocol = protocol


def _of_clip(record: _Record) -> dict[str, Any]:
    gold, read, judge = record.gold, record.read, record.judge
    found: dict[str, Any] = {
        "codes": _tuple(gold.aus),
        "label": gold.label,
        "coarse": gold.coarse,
        "read_units": _tuple(read.aus),
        "read_label": read.label,
        "read_coarse": read.coarse,
        "unparsed": read.unparsed,
        "sides": read.sides,
        "doubts": _tuple(record.doubts),
        "motion_px": record.motion_px,
    }
    if record.facts is not None:
        found["facts"] = tuple(getattr(record.facts, name) for name in FACTS)
    if record.rung is not None:
        found["rung"] = {"id": record.id, "subject": record.subject, **record.rung.model_dump()}
    if judge is not None:
        unscored = judge.unscored
        found["verdict"] = {
            "points": judge.points,
            "unscored": None if unscored is None else {"kind": unscored.kind, "detail": unscored.detail or ""},
            "judge": judge.judge or "not named",
            "rubric": judge.rubric or "not named",
            "scores": {name: value for name, value in (judge.scores or {}).items() if value is not None},
            "reasons": judge.reasons or {},
        }
    return found


def _of_question(record: _Question) -> dict[str, Any]:
    texts = None if record.expected is None or record.submitted is None else (record.expected, record.submitted)
    return {
        "kind": record.kind,
        "expected": None if record.gold is None else _hashable(record.gold),
        "said": _hashable(record.read),
        "texts": None if record.kind in ("coarse", "fine") else texts,
    }


def _hashable(said: _Said) -> dict[str, Any]:
    given = said.model_dump(exclude_unset=True)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _tuple(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def _answer(row: Mapping[str, Any]) -> str | None:
    """The answer of a line; None if there is none."""
    found: list[object] = []
    for key in ("filtered_resps", "resps"):
        value = row.get(key, [])
        while isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, str):
            return value
        found.append(value)
    return "" if None in found else None  # null is a server's message without text


def _tokens(given: object) -> tuple[int | None, int | None] | None:
    counts = given[0] if isinstance(given, list) and given else None
    return counted(counts.get("input_tokens"), counts.get("output_tokens")) if isinstance(counts, dict) else None


def counted(given: object, answered: object) -> tuple[int | None, int | None] | None:
    """Input and output tokens; None if neither is known. No answer comes from no tokens, so 0 means unknown."""
    counts = whole_number(given) or None, whole_number(answered) or None
    return None if counts == (None, None) else counts


def whole_number(value: object) -> int | None:
    """A whole number of at least 0, which JSON may hold as 3.0; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e300:
        return None
    return int(value) if value == int(value) else None


def _metrics(row: Mapping[str, Any]) -> list[str]:
    """The metrics of a line of an older version; later ones do not say theirs."""
    if "record" in row:
        return []
    return [name for name, item in row.items() if isinstance(item, dict) and not _STDERR.search(name)]
