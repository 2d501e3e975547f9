"""`mellm read`: show what the tasks read from answers, to inspect or rescore them.

One line of input, as lmms-eval logs it (`--log_samples`) or as you write it yourself:

    {"filtered_resps": "AU4; disgust", "record": {"id": "..", "labels": [..], "asks": "all", "gold": {..}}, ..}
    {"answer": "AU4; disgust", "labels": "casme2", "asks": "all", "id": "clip 1"}      only `answer` is required
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellm_plugin.cli.options import add_json
from mellm_plugin.errors import InputError, near

if TYPE_CHECKING:
    from mellm_plugin.language.answers import Answer

EXAMPLES = """\
  mellm read results/20260101_120000_samples_casme2_meu.jsonl
  mellm read answers.jsonl --labels disgust+happiness+others+surprise
  echo '{"answer": "AU4+AU7, disgust"}' | mellm read --labels casme2 --json -"""

_ASKS = ("all", "emotion", "aus")
_LONGEST = 64_000_000  # bytes of a line
_SIDES = {"L": " (left)", "R": " (right)", "A": " (asymmetric)", "B": " (both sides)"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="samples of lmms-eval, or JSON lines with an answer; - reads stdin")
    add("--labels", metavar="NAMES", help="a dataset, or labels joined by +: for lines that have none")
    add("--asks", choices=_ASKS, default="all", help="what was asked for, for lines that do not say (default: all)")
    add_json(parser, "print one JSON object per answer: aus, fine, coarse, unparsed, and sides if it names any")


def run(given: argparse.Namespace) -> None:
    from mellm_plugin.language.answers import Answer, read
    from mellm_plugin.language.unanswered import unanswered

    if given.labels is not None:
        given.labels = _labels_named(given.labels)
    if faults := [fault for file in given.files if (fault := _unusable(file))]:
        raise InputError(faults)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    summary, found = _Summary(), _Faults()
    lines = bad = 0
    for where, number, raw in _raw_lines(given.files):
        lines += 1
        try:
            if raw is None:
                raise InputError(f"expected at most {_LONGEST} bytes, found more; the rest of the file is not read")
            line = _parse(raw, number, given)
            why = unanswered(line.answer)
            never = Answer(None, None, None, f"never given: {why}")
            answer = read(line.answer, line.labels, line.asks) if why is None else never
            text = json.dumps(_row(answer), ensure_ascii=False) if given.json else _in_words(line, answer, why)
            summary.add(line, answer, why)
        except InputError as error:
            bad += 1
            found.add(where, number, error.faults)
        else:
            print(text)
    found.close()
    if not given.json:
        print("", *summary.lines(), sep="\n")
    if bad:
        raise InputError(f"{bad} of {lines} lines could not be used; the reasons are above")


class _Faults:
    """Prints the faults of each line; lines in a row with the same ones are reported once, with their number."""

    def __init__(self) -> None:
        self.where, self.first, self.more = "", 0, 0
        self.texts: tuple[str, ...] = ()

    def add(self, where: str, number: int, texts: tuple[str, ...]) -> None:
        if (where, texts) == (self.where, self.texts):
            self.more += 1
            return
        self.close()
        self.where, self.first, self.more, self.texts = where, number, 0, texts
        for text in texts:
            print(f"{where}, line {number}: {text}", file=sys.stderr)

    def close(self) -> None:
        """Report how many lines had the faults that were printed last."""
        if self.more:
            lines = f"{self.more} more line{'s' * (self.more != 1)}"
            print(f"{self.where}: {lines} like line {self.first}", file=sys.stderr)
        self.more = 0


def _unusable(file: str) -> str:
    """Why a file cannot be read; empty where it can."""
    path = Path(file)
    if path.name.endswith("_results.json") and path.is_file():
        beside = sorted(path.parent.glob(f"{escape(path.name.removesuffix('results.json'))}samples_*.jsonl"))
        do = f"give {' or '.join(map(str, beside))}" if beside else "run lmms-eval with --log_samples to have one"
        return f"{file}: expected a samples file, found a results file, which holds no answers; {do}"
    if file == "-" or (path.exists() and not path.is_dir()):
        return ""
    found, do = "a folder" if path.exists() else "no file", ""
    if path.is_dir() and (within := sorted(path.glob("*_samples_*.jsonl")) or sorted(path.glob("*/*_samples_*.jsonl"))):
        do = f"; give {' or '.join(map(str, within))}"
    return f"{file}: expected a samples file of lmms-eval, JSON lines or -, found {found}{do}"


def _raw_lines(files: Iterable[str]) -> Iterator[tuple[str, int, bytes | None]]:
    """The lines that are not empty, each with the name of its file and its number in it.

    None marks a line that is too long, and ends its file: /dev/zero would fill the memory.
    """
    for file in files:
        name = "standard input" if file == "-" else file
        with nullcontext(sys.stdin.buffer) if file == "-" else open(file, "rb") as stream:
            for number, raw in enumerate(iter(lambda: stream.readline(_LONGEST), b""), 1):
                if len(raw) == _LONGEST:
                    yield name, number, None
                    break
                if raw.strip():
                    yield name, number, raw


@dataclass(frozen=True)
class _Line:
    """An answer, what was asked for, and the correct annotation where it is known."""

    name: str
    answer: str
    labels: tuple[str, ...]
    asks: str
    gold: Mapping[str, Any] | None


def _parse(raw: bytes, number: int, given: argparse.Namespace) -> _Line:
    """One line of the input.

    Raises:
        InputError: it cannot be used; all of its faults.
    """
    from mellm_plugin.language.unanswered import as_given

    try:
        row = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected JSON in UTF-8, found {_short(raw.decode('utf-8', 'replace'))}: {error}") from None
    if not isinstance(row, dict):
        raise InputError(f"expected a JSON object on each line, found {_short(json.dumps(row))}")
    faults: list[str] = []
    logged = row.get("record", row.get("parse_rate"))  # earlier versions wrote the record under parse_rate
    if "vqa_parse_rate" in row or (isinstance(logged, dict) and "kind" in logged):
        found = "expected an answer of a task on clips, found one to a question of the ME-VQA challenges"
        raise InputError(f"{found}; `mellm report FOLDER -o report` shows what was read in those")
    item = {**row, **logged} if isinstance(logged, dict) else row
    answers = [_first(row[key]) for key in ("answer", "filtered_resps", "resps") if key in row]
    answer = next((text for text in answers if isinstance(text, str)), "" if None in answers else None)
    if answer is None:
        fields = ", ".join(row) or "none"
        faults.append(f"expected answer, filtered_resps or resps with a text, found the fields {fields}")
    asks = item.get("asks") or given.asks
    if asks not in _ASKS:
        faults.append(f"asks: expected one of {', '.join(_ASKS)}, found {asks!r}.{near(str(asks), _ASKS)}")
    labels: tuple[str, ...] = ()
    try:
        labels = _labels(item.get("labels") or given.labels, needed=asks != "aus")
    except InputError as error:
        faults += error.faults
    gold = item.get("gold") if item is not row else None
    if gold is not None and not _is_annotation(gold):
        faults.append(f"gold: expected aus (codes), label and coarse, each or null, found {_short(json.dumps(gold))}")
    if faults:
        raise InputError(faults)
    name = str(item.get("id", f"line {number}"))
    return _Line(name, as_given(str(answer), item) if item is not row else str(answer), labels, str(asks), gold)


def _first(value: object) -> object:
    """The first of a text, a list or a list of lists, as lmms-eval logs answers; None for a message without text."""
    while isinstance(value, list) and value:
        value = value[0]
    return value


def _labels(given: object, needed: bool) -> tuple[str, ...]:
    if isinstance(given, str):
        return _labels_named(given)
    if isinstance(given, list | tuple) and all(isinstance(label, str) for label in given):
        return tuple(given)
    if given is not None:
        raise InputError(f"labels: expected a dataset, or a list of labels, found {_short(json.dumps(given))}")
    if needed:
        raise InputError("labels: none in this line; give --labels DATASET or --labels A+B+C")
    return ()


def _labels_named(text: str) -> tuple[str, ...]:
    """The labels of a dataset, or labels joined by `+`, in canonical spelling; unknown ones only among others.

    Raises:
        InputError: it is neither.
    """
    from mellm_plugin.facs.labels import LABELS, canonical_label, labels_of

    if labels := labels_of(text):
        return labels
    parts = [part.strip() for part in text.split("+")]
    if not all(parts) or (len(parts) == 1 and canonical_label(text) is None):
        expected = f"a dataset ({', '.join(LABELS)}) or labels joined by +"
        raise InputError(f"labels: expected {expected}, found {text!r}.{near(text, LABELS)}")
    return tuple(canonical_label(part) or part for part in parts)


def _is_annotation(gold: object) -> bool:
    """Whether it has the form in which the tasks log the correct annotation."""
    if not isinstance(gold, dict):
        return False
    aus = gold.get("aus")
    codes = aus is None or (isinstance(aus, list) and all(isinstance(code, str) for code in aus))
    return codes and all(isinstance(gold.get(key), str | None) for key in ("label", "coarse"))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _row(answer: Answer) -> dict[str, Any]:
    aus = None if answer.aus is None else list(answer.aus)
    row: dict[str, Any] = {"aus": aus, "fine": answer.label, "coarse": answer.coarse, "unparsed": answer.unparsed}
    if answer.sides:
        row["sides"] = {str(unit): side for unit, side in answer.sides}
    return row


def _in_words(line: _Line, answer: Answer, unanswered: str | None) -> str:
    sides = dict(answer.sides)
    units = [f"AU{unit}{_SIDES[sides[unit]] if unit in sides else ''}" for unit in answer.aus or ()]
    parts = [] if answer.aus is None else ["+".join(units) or "no action units"]
    if answer.label is not None:
        parts.append(answer.label if answer.coarse in (None, answer.label) else f"{answer.label} ({answer.coarse})")
    elif answer.coarse is not None:
        parts.append(f"({answer.coarse})")
    if answer.unparsed:
        parts.append(answer.unparsed if unanswered is not None else f"not read: {answer.unparsed}")
    text = f"{line.name}  {'; '.join(parts)}"
    if line.gold:
        codes = line.gold.get("aus")
        aus = None if codes is None else "+".join(map(_code_in_words, codes))
        expected = "; ".join(part for part in (aus, line.gold.get("label")) if part)
        text += f"  [expected {expected or 'no action units'}]" if expected or aus is not None else ""
    return text


def _code_in_words(code: str) -> str:
    from mellm_plugin.facs.codes import parse_canonical

    event = parse_canonical(code)
    return f"AU{'/'.join(map(str, event.alternatives))}{_SIDES.get(event.side or '', '')}"


class _Summary:
    """Counts over all answers; its size does not depend on their number."""

    def __init__(self) -> None:
        self.answers = 0
        self.right, self.total, self.reasons, self.unanswered = (Counter[str]() for _ in range(4))

    def add(self, line: _Line, answer: Answer, unanswered: str | None) -> None:
        from mellm_plugin.scoring.units import one_sided

        self.answers += 1
        if unanswered is not None:  # a missing answer does not count as wrong
            self.unanswered[unanswered] += 1
            return
        gold = line.gold or {}
        label, units = line.asks != "aus", line.asks != "emotion"
        if label and gold.get("label", "unknown") is not None:
            self._count("expression read", answer.label is not None)
        if units and gold.get("aus", "unknown") is not None:
            self._count("action units read", answer.aus is not None)
        if label and gold.get("label") is not None:
            self._count("expression right", answer.label == gold["label"])
        if label and gold.get("coarse") is not None:
            self._count("coarse class right", answer.coarse == gold["coarse"])
        if units and gold.get("aus") is not None:
            self._count("action units exactly right", _agree(gold["aus"], answer.aus))
            sides = dict(answer.sides)
            for alternatives, side in one_sided(gold["aus"]).items():
                if named := set(alternatives).intersection(answer.aus or ()):
                    self._count("sides of named action units right", any(sides.get(unit) == side for unit in named))
        if answer.unparsed is not None:
            what, _, rest = answer.unparsed.partition(": ")
            self.reasons[rest if rest == "none of the labels" else what] += 1  # without the labels themselves

    def _count(self, what: str, right: bool) -> None:
        self.right[what] += right
        self.total[what] += 1

    def lines(self) -> Iterator[str]:
        yield f"{self.answers} answer{'s' * (self.answers != 1)}"
        for why, count in self.unanswered.most_common():
            yield f"  never given, {why}: {count}"
        for what, total in self.total.items():
            yield f"  {what}: {self.right[what]} of {total} ({self.right[what] / total:.1%})"
        for reason, count in self.reasons.most_common():
            yield f"  not read, {reason}: {count}"


def _agree(codes: Iterable[str], read: tuple[int, ...] | None) -> bool:
    """Whether the answer names one alternative of every code, and no other unit."""
    from mellm_plugin.facs.codes import numbers

    events = numbers(codes)
    if read is None or any(not set(event) & set(read) for event in events):
        return False
    return all(any(unit in event for event in events) for unit in read)
