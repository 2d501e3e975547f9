"""A samples file of lmms-eval -> the clips and answers of a run.

A line of a task of this package holds one record of its clip, besides the answer and what lmms-eval adds:

    {"doc_id": 0, "filtered_resps": "..", "token_counts": [..], "record": {"id": "synthme/s00/00", "subject": "s00",
     "asks": "all", "labels": [..], "scored_aus": [..], "gold": {"aus": ["4"], "label": "fear", "coarse": "negative"},
     "read": {"aus": [4, 5], "label": "fear", ..}, "facts": {..}, "judge": {..}, "doubts": [], "motion_px": .2}, ..}

Earlier versions repeated parts of the record under the name of each metric; `record_of` puts them together.

Every line is checked. If it cannot be used, one fault lists everything that is wrong in it, and the other lines are
kept. Equal values are stored once, so memory grows by about a kilobyte per clip and model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.language.probabilities import apart, heads_apart
from mellm_plugin.language.unanswered import as_given, unanswered
from mellm_plugin.report.files import faults_of, loads, short
from mellm_plugin.report.runs import Clip, Fault, Reading

SIGNS = ("parse_rate", "vqa_parse_rate", "threshold_px")
"""Metrics by which a task of this package is known."""

_STDERR = re.compile(r"_stderr(_\w+)?$")
_SHOWN = 5  # faulty lines of a file that are reported one by one


@lru_cache(maxsize=4096)
def _code(code: str) -> str:
    try:
        parse_canonical(code)
    except CodeError:
        raise ValueError(f"expected a canonical code of an action unit, found {short(code)}") from None
    return code


T = TypeVar("T")
Code = Annotated[str, AfterValidator(_code)]
Count = Annotated[int, Field(ge=0)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
List = Annotated[tuple[T, ...], Field(strict=False)]  # strict alone would refuse a list


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _Gold(_Strict):
    aus: List[Code] | None = None
    label: str | None = None
    coarse: str | None = None


class _Read(_Strict):
    aus: List[Count] | None = None
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
    id: str
    subject: str
    dataset: str | None = None


class _OfClip(_Record):
    asks: Literal["all", "emotion", "aus"] | None = "all"
    labels: List[str]
    scored_aus: List[Count] | None = ()
    gold: _Gold
    read: _Read
    doubts: List[str] | None = None
    motion_px: Number | None = None
    probabilities: dict[str, Share] | None = None
    facts: _Facts | None = None
    judge: _Judge | None = None
    rung: _Rung | None = None


class _Said(_Strict, extra="forbid"):
    coarse: str | None = None
    fine: str | None = None
    side: str | None = None
    shown: bool | None = None
    units: List[Count] | None = None


class _OfQuestion(_Record):
    kind: str
    gold: _Said | None = None
    read: _Said
    expected: str | None = None
    submitted: str | None = None


class Said(dict[str, Any]):
    """The parts that were read in the answer to a question; one that is missing was not read."""

    def __missing__(self, key: str) -> None:
        return None


class _Line(_Strict, Generic[T]):
    place: Annotated[int, Field(alias="doc_id")]
    text: Annotated[str, Field(alias="filtered_resps")]
    record: T


_ClipLine, _QuestionLine = _Line[_OfClip], _Line[_OfQuestion]


def record_of(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The record of a line of any version; None if the line is of a task of another package.

    Raises:
        ValueError: the line belongs to a task of this package but has no record.
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
    parts = {"facts": "description_facts_f1", "judge": "description_score", "rung": "threshold_px"}
    motion = {name: item("motion_plausible_rate").get(name) for name in ("doubts", "motion_px")}
    return {**old, **motion, **{name: item(metric) or None for name, metric in parts.items()}}


@dataclass
class Lines:
    """What was read from the lines of a samples file."""

    clips: list[Clip] = field(default_factory=list)
    metrics: dict[str, None] = field(default_factory=dict)
    protocol: tuple[str | None, tuple[str, ...] | None, tuple[int, ...] | None] = (None, None, None)
    keys: set[tuple[str, ...]] = field(default_factory=set)
    damaged: int = 0
    foreign: int = 0


class Pool:
    """Equal values, stored once."""

    def __init__(self) -> None:
        self._stored: dict[Any, Any] = {}

    def __call__(self, value: Any) -> Any:
        """The value, or an equal one from before; of texts, numbers, tuples, and dicts of these."""
        return self._stored.setdefault((type(value), _hashable(value)), value)


def _hashable(value: Any) -> Any:
    return tuple((key, _hashable(one)) for key, one in value.items()) if isinstance(value, dict) else value


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
                    if clip is None:
                        lines.foreign += 1
                    elif clip.place in seen:
                        same = "the same" if seen[clip.place] == clip.text else "another"
                        raise ValueError(f"clip {clip.id} has an answer already; this is {same}, and left out")
                    else:
                        seen[clip.place] = clip.text
                        lines.clips.append(clip)
                except ValueError as error:
                    lines.damaged += 1
                    found = "; ".join(faults_of(error)) if isinstance(error, ValidationError) else error
                    faults.append(f"line {number}: {found}")
    except OSError as error:
        faults.append(f"cannot be read: {error}")
    if lines.clips and lines.foreign:
        lines.damaged += lines.foreign
        faults.append(f"{lines.foreign} line{'s are' if lines.foreign > 1 else ' is'} of another task than {task}")
    if len(faults) > _SHOWN:
        faults[_SHOWN:] = [f"{len(faults) - _SHOWN} more lines like these"]
    reading.faults += [Fault(str(file), fault) for fault in faults]
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
    """The clip of a line; None if the line is of another task. A ValidationError holds all faults of a line."""
    given = record_of(row)
    if given is None:
        return None
    values = {"doc_id": row.get("doc_id", number - 1), "record": given}
    if (answer := _answer(row)) is not None:
        values["filtered_resps"] = as_given(answer, given)
    line = (_QuestionLine if "kind" in given else _ClipLine).model_validate(values)
    record: dict[str, Any] = line.record.model_dump()
    record["dataset"] = record["dataset"] or record["id"].partition("/")[0]
    record["unanswered"] = unanswered(line.text)
    if isinstance(line.record, _OfQuestion):
        said, gold = line.record.read, line.record.gold
        record["read"] = Said(said.model_dump(exclude_unset=True))
        record["gold"] = None if gold is None else Said(gold.model_dump(exclude_unset=True))
    else:
        _complete(record)
        protocol = record["asks"], record["labels"], record["scored_aus"]
        if record["asks"] is not None and protocol != lines.protocol:
            if lines.protocol[0] is not None:
                raise ValueError("asks for other labels or units than the lines before it")
            lines.protocol = protocol
    # a line of an earlier version names its metrics
    if "record" not in row and (keys := tuple(row)) not in lines.keys:
        lines.keys.add(keys)
        lines.metrics |= {k: None for k, item in row.items() if isinstance(item, dict) and not _STDERR.search(k)}
    record = {name: pool(value) for name, value in record.items()}
    return Clip(line.place, record, pool(apart(heads_apart(line.text)[0])[0]), pool(_tokens(row.get("token_counts"))))


def _complete(record: dict[str, Any]) -> None:
    """Complete the record of a clip: defaults, and what the items of some metrics need."""
    clip = {"id": record["id"], "subject": record["subject"]}
    record["scored_aus"] = record["scored_aus"] or ()
    if record["facts"] is not None:
        record["facts"]["gold"] = record["gold"]["aus"]
    if record["rung"] is not None:
        record |= {"rung": clip | record["rung"], "doubts": None}  # the ladder's motion is not measured
    if (judge := record["judge"]) is not None:
        judge["scores"] = {name: value for name, value in (judge["scores"] or {}).items() if value is not None}
        judge |= {"judge": judge["judge"] or "not named", "rubric": judge["rubric"] or "not named"}
        judge["reasons"] = judge["reasons"] or {}
        if judge["unscored"] is not None:
            judge["unscored"]["detail"] = judge["unscored"]["detail"] or ""


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
