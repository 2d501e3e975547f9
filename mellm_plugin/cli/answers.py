"""`mellm read`: what is read from answers, as the tasks read them, so that anybody can look at or rescore them.

One line of input, as lmms-eval logs it (`--log_samples`) or as anybody can write it:

    {"filtered_resps": "AU4; disgust", "parse_rate": {"id": "..", "labels": [..], "asks": "all", "gold": {..}}, ..}
    {"answer": "AU4; disgust", "labels": "casme2", "asks": "all", "id": "clip 1"}      only `answer` is needed
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellm_plugin.cli.commands import Commands
from mellm_plugin.errors import InputError, near

if TYPE_CHECKING:
    from mellm_plugin.language.answers import Answer

_ASKS = ("all", "emotion", "aus")
_LONGEST = 64_000_000


@dataclass(frozen=True)
class _Line:
    """An answer, what was asked for, and what is right where that is known."""

    name: str
    answer: str
    labels: tuple[str, ...]
    asks: str
    gold: Mapping[str, Any] | None


def labels_named(text: str) -> tuple[str, ...]:
    """The labels that a dataset's name, or labels joined by `+`, stand for.

    Raises:
        InputError: it is neither.
    """
    from mellm_plugin.facs.labels import LABELS, canonical_label, labels_of

    if labels := labels_of(text):
        return labels
    parts = [part.strip() for part in text.split("+")]
    if not all(parts) or (len(parts) == 1 and canonical_label(text) is None):
        raise InputError(
            f"labels: expected a dataset ({', '.join(LABELS)}) or labels joined by +, found {text!r}."
            f"{near(text, LABELS)}"
        )
    return tuple(canonical_label(part) or part for part in parts)


def _parsed(raw: bytes, number: int, given: argparse.Namespace) -> _Line:
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
        raise InputError(f"expected a JSON object, one a line, found {_short(json.dumps(row))}")
    faults: list[str] = []
    logged = row.get("parse_rate")
    item = {**row, **logged} if isinstance(logged, dict) else row
    given_as = [_first(row[key]) for key in ("answer", "filtered_resps", "resps") if key in row]
    answer = next((text for text in given_as if isinstance(text, str)), "" if None in given_as else None)
    if answer is None:
        faults.append(
            f"expected answer, filtered_resps or resps with a text, found the fields {', '.join(row) or 'none'}"
        )
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


def _is_annotation(gold: object) -> bool:
    """Whether it has the form in which the tasks log what is right."""
    if not isinstance(gold, dict):
        return False
    aus = gold.get("aus")
    codes = aus is None or (isinstance(aus, list) and all(isinstance(code, str) for code in aus))
    return codes and all(isinstance(gold.get(key), str | None) for key in ("label", "coarse"))


def _labels(given: object, needed: bool) -> tuple[str, ...]:
    if isinstance(given, str):
        return labels_named(given)
    if isinstance(given, list | tuple) and all(isinstance(label, str) for label in given):
        return tuple(given)
    if given is None and not needed:
        return ()
    if given is None:
        raise InputError("labels: none in this line; give --labels DATASET or --labels A+B+C")
    raise InputError(f"labels: expected a dataset, or a list of labels, found {_short(json.dumps(given))}")


def _first(value: object) -> object:
    """The first of a text, a list or a list of lists, as lmms-eval logs answers; None of a message without text."""
    while isinstance(value, list) and value:
        value = value[0]
    return value


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


@dataclass
class _Summary:
    """Counts over all answers: nothing grows with their number."""

    answers: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    of: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)

    def add(self, line: _Line, answer: Answer, unanswered: str | None) -> None:
        self.answers += 1
        if unanswered is not None:  # no answer is not a wrong one
            self.unanswered[unanswered] += 1
            return
        gold = line.gold or {}
        if line.asks != "aus" and gold.get("label", "unknown") is not None:
            self._count("expression read", answer.label is not None)
        if line.asks != "emotion" and gold.get("aus", "unknown") is not None:
            self._count("action units read", answer.aus is not None)
        if gold.get("label") is not None and line.asks != "aus":
            self._count("expression right", answer.label == gold["label"])
        if gold.get("coarse") is not None and line.asks != "aus":
            self._count("coarse class right", answer.coarse == gold["coarse"])
        if gold.get("aus") is not None and line.asks != "emotion":
            self._count("action units exactly right", _agree(_events(gold["aus"]), answer.aus))
            self._count_sides(gold["aus"], answer)
        if answer.unparsed is not None:
            what, _, rest = answer.unparsed.partition(": ")
            self.reasons[rest if rest == "none of the labels" else what] += 1  # whatever the labels are

    def _count_sides(self, codes: Iterable[str], answer: Answer) -> None:
        from mellm_plugin.scoring.units import one_sided

        said = dict(answer.sides)
        for alternatives, side in one_sided(codes).items():
            if named := set(alternatives).intersection(answer.aus or ()):
                self._count("sides of named action units right", any(said.get(unit) == side for unit in named))

    def _count(self, what: str, holds: bool) -> None:
        self.counts[what] += holds
        self.of[what] += 1

    def lines(self) -> Iterator[str]:
        yield f"{self.answers} answer{'s' * (self.answers != 1)}"
        for why, count in self.unanswered.most_common():
            yield f"  never given, {why}: {count}"
        for what, total in self.of.items():
            yield f"  {what}: {self.counts[what]} of {total} ({self.counts[what] / total:.1%})"
        for reason, count in self.reasons.most_common():
            yield f"  not read, {reason}: {count}"


def _events(codes: Iterable[str]) -> list[tuple[int, ...]]:
    from mellm_plugin.facs.codes import numbers

    return numbers(codes)


def _coded(code: str) -> str:
    from mellm_plugin.facs.codes import parse_canonical

    event = parse_canonical(code)
    return f"AU{'/'.join(map(str, event.alternatives))}{_SIDES.get(event.side or '', '')}"


def _agree(events: list[tuple[int, ...]], read: tuple[int, ...] | None) -> bool:
    """Whether every event is named by one of its alternatives, and nothing else is."""
    if read is None:
        return False
    return all(set(event) & set(read) for event in events) and all(any(u in event for event in events) for u in read)


_SIDES = {"L": " (left)", "R": " (right)", "A": " (asymmetric)", "B": " (both sides)"}


def _in_words(answer: Answer) -> str:
    said = dict(answer.sides)
    units = [f"AU{unit}{_SIDES[said[unit]] if unit in said else ''}" for unit in answer.aus or ()]
    parts = [] if answer.aus is None else ["+".join(units) or "no action units"]
    if answer.label is not None:
        parts.append(answer.label if answer.coarse in (None, answer.label) else f"{answer.label} ({answer.coarse})")
    elif answer.coarse is not None:
        parts.append(f"({answer.coarse})")
    return "; ".join(parts)


def _told(line: _Line, answer: Answer, unanswered: str | None) -> str:
    read = _in_words(answer)
    why = answer.unparsed or ""
    why = f"not read: {why}" if why and unanswered is None else why
    text = f"{line.name}  {'; '.join(part for part in (read, why) if part)}"
    if line.gold:
        events = line.gold.get("aus")
        aus = None if events is None else "+".join(map(_coded, events))
        expected = "; ".join(part for part in (aus, line.gold.get("label")) if part)
        text += f"  [expected {expected or 'no action units'}]" if expected or aus is not None else ""
    return text


def _unusable(file: str) -> str:
    path = Path(file)
    if path.name.endswith("_results.json") and path.is_file():
        beside = sorted(path.parent.glob(f"{escape(path.name.removesuffix('results.json'))}samples_*.jsonl"))
        do = f"give {' or '.join(map(str, beside))}" if beside else "run lmms-eval with --log_samples to have one"
        return f"{file}: expected a samples file, found the results file beside it, which holds no answers; {do}"
    if file == "-" or (path.exists() and not path.is_dir()):
        return ""
    found = "a folder" if path.exists() else "no file"
    return f"{file}: expected a samples file of lmms-eval, JSON lines or -, found {found}"


def _raw_lines(files: Iterable[str]) -> Iterator[tuple[str, int, bytes | None]]:
    """The lines that are not empty, with the name of their file and their number in it.

    None stands for a line that is too long, and ends its file: /dev/zero, or a file of something else, would fill the
    memory.
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


def _read(given: argparse.Namespace) -> None:
    from mellm_plugin.language.answers import Answer, read
    from mellm_plugin.language.unanswered import unanswered

    if given.labels is not None:
        given.labels = labels_named(given.labels)
    if faults := [fault for file in given.files if (fault := _unusable(file))]:
        raise InputError(faults)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    summary = _Summary()
    lines = bad = 0
    for where, number, raw in _raw_lines(given.files):
        lines += 1
        try:
            if raw is None:
                raise InputError(f"expected at most {_LONGEST} bytes, found more; the rest of the file is not read")
            line = _parsed(raw, number, given)
            why = unanswered(line.answer)
            if why is None:
                answer = read(line.answer, line.labels, line.asks)
            else:
                answer = Answer(None, None, None, f"never given: {why}")
            told = _told(line, answer, why)
            summary.add(line, answer, why)
        except InputError as error:
            bad += 1
            for fault in error.faults:
                print(f"{where}, line {number}: {fault}", file=sys.stderr)
            continue
        if given.json:
            aus = None if answer.aus is None else list(answer.aus)
            row: dict[str, Any] = {
                "aus": aus,
                "fine": answer.label,
                "coarse": answer.coarse,
                "unparsed": answer.unparsed,
            }
            if answer.sides:
                row["sides"] = {str(unit): side for unit, side in answer.sides}
            told = json.dumps(row, ensure_ascii=False)
        print(told)
    if not given.json:
        print("", *summary.lines(), sep="\n")
    if bad:
        raise InputError(f"{bad} of {lines} lines could not be used; the reasons are above")


def add_commands(commands: Commands) -> None:
    """Add `read`."""
    parser = commands.add(
        "read",
        _read,
        "what the tasks read from answers: action units, label, class, or why not; and how many are right",
        "  mellm read results/20260101_120000_samples_casme2_meu.jsonl\n"
        "  mellm read answers.jsonl --labels disgust+happiness+others+surprise\n"
        """  echo '{"answer": "AU4+AU7, disgust"}' | mellm read --labels casme2 --json -""",
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="lmms-eval's samples, or JSON lines with an answer; - is standard input",
    )
    parser.add_argument(
        "--labels", metavar="NAMES", help="a dataset, or labels joined by +: for lines that do not hold their labels"
    )
    parser.add_argument(
        "--asks", choices=_ASKS, default="all", help="what was asked for, for lines that do not say (default: all)"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object an answer: aus, fine, coarse, unparsed, and the sides it says",
    )
