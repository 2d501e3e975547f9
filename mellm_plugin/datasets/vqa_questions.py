"""Question files of the MEGC ME-VQA challenges (2025, 2026), JSON Lines, and the kinds of questions in them.

    {"id": 1, "dataset": "casme2", "image_id": "sub01_EP02_01f", "subject": "sub01", "filename": "EP02_01f",
     "question": "What is the coarse expression class?", "answer": "positive"}
    {"video_id": "SAMM-3", "video": "SAMM-3.mp4", "question": "What are the action units?"}

The first row asks about a clip of a dataset, the second, from a test file, about a video. The first release of the test
files of 2025 names no video but frames of a long recording; the row belongs to the video or folder named `image_id`:

    {"id": "samm_test_1_001_2_8906_1", "dataset": "samm_test", "image_id": "1_001_2_8906", "subject": 1,
     "filename": "001_2", "onset_frame": 8906, "offset_frame": 9005, "question": "What is the action unit?"}

Files of the long-video track (ME-LVQA, 2026) are refused: onset and apex of one clip cannot answer them.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mellm_plugin.datasets import store
from mellm_plugin.facs.units import OTHER_NAMES, UNITS
from mellm_plugin.small_files import read_text

NAME = "megc_vqa"
"""Name of the prepared dataset."""

QUESTIONS = "questions.jsonl"
"""The file of the questions, beside the clips."""

LABELLED, TEST = "labelled", "test"
"""The splits: clips whose questions have answers, and clips whose questions have none."""

KINDS: tuple[str, ...] = ("coarse", "fine", "units", "unit", "side", "combined", "other")
"""What a question asks for: the coarse class; the fine label; the list of action units; whether one unit is present;
the side of one unit; units and both classes in one text; anything else."""

_UNIT_NAMES: dict[str, int] = {unit.name: unit.number for unit in UNITS.values()} | OTHER_NAMES
_ANY_UNIT = re.compile(rf"\b({'|'.join(sorted(_UNIT_NAMES, key=len, reverse=True))})s?\b")


def unit_name(number: int) -> str:
    """The challenge's name of an action unit: `brow lowerer`, `eye closure`; `AU99` for a number without a name."""
    names = {number: name for name, number in _UNIT_NAMES.items()}  # the challenge's names replace those of FACS
    return names.get(number, f"AU{number}")


def question_kind(question: str) -> str:
    """The kind of a question, from its text: one of `KINDS`. Never raises."""
    text = " ".join(question.lower().split())
    if re.search(r"\b(?:how many|number of)\b", text):
        return "other"  # an answer of "4" must not count as a unit
    coarse, fine, units = "coarse" in text, "fine" in text, "action unit" in text
    if (coarse and fine) or (re.search(r"\b(analy[sz]|describe)", text) and "expression" in text):
        return "combined"
    if re.search(r"\bleft or (the )?right\b|\bright or (the )?left\b", text):
        return "side"
    if units and re.match(r"(is|are|does|do|can)\b", text):
        return "unit"
    if coarse or fine:
        return "combined" if units else "coarse" if coarse else "fine"
    return "units" if units else "other"


def unit_asked(question: str) -> int | None:
    """The FACS number of the only unit that a question names; None if it names none or several.

    >>> unit_asked("Is the action unit eye closure shown on the face?"), unit_asked("Is the action unit 4 shown?")
    (43, 4)
    """
    text = " ".join(question.lower().split())
    named = {_UNIT_NAMES[name] for name in _ANY_UNIT.findall(text)}
    named |= {int(number) for number in re.findall(r"\b(?:au|action unit) ?(\d{1,2})\b", text)}
    return named.pop() if len(named) == 1 else None


_LONG_FILE = re.compile(r"lvqa|melv|long[-_ ]?video", re.IGNORECASE)
_LONG_QUESTION = re.compile(
    r"\b(?:how many|number of|count)\b.{0,300}\bexpressions?\b|\bdistinct (?:action units?|aus?)\b"
    r"|\bmacro[- ]?expressions?\b"
    r"|\b(?:expression|emotional) events?\b"
    r"|\b(?:[0-9]+ ?-? ?(?:st|nd|rd|th)|first|second|third|fourth|fifth|last|final)\b"
    r".{0,300}\b(?:expressions?|events?)\b"
)
_LONG = (
    "of the long-video track (ME-LVQA: counts of expressions, distinct action units, the n-th event). Its videos last "
    "a minute and hold many expressions; here a clip of one expression is shown by its onset and apex. Give the files "
    "of the track of short clips alone (me_vqa_...jsonl)"
)


def on_long_video(question: str) -> bool:
    """Whether a question belongs to the long-video track: counts of expressions, distinct units, or the n-th event.

    >>> on_long_video("What is the expression type of the 5-th expression event in this video?")
    True
    """
    return bool(_LONG_QUESTION.search(" ".join(question.lower().split())))


@dataclass(frozen=True)
class Question:
    """One question of the prepared dataset."""

    clip: str | None  # id of its sample; None for a question of a test file whose clip could not be prepared
    split: str  # `LABELLED` or `TEST`
    file: str  # name of the question file
    line: int  # in that file, from 1
    row: Mapping[str, Any]  # the JSON object, word for word

    @property
    def text(self) -> str:
        """The question."""
        return str(self.row["question"])

    @property
    def answer(self) -> str | None:
        """The expected answer; None in a test file."""
        return _answer(self.row)

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return question_kind(self.text)


def stored_questions(root: Path | None = None) -> list[Question]:
    """All questions of the prepared dataset, in the order of their files.

    Raises:
        DataError: it is not prepared, or the file cannot be read.
    """
    # not splitlines(), here and below: JSON text may hold line separators of Unicode
    lines = store.read_file(NAME, QUESTIONS, root).decode("utf-8").split("\n")
    return [Question(**json.loads(line)) for line in lines if line]


_LARGEST = 64 << 20  # bytes of a question file; real ones have up to 1 MB
_CLIP = ("dataset", "subject", "filename")  # fields that name a clip of a dataset


def _answer(row: Mapping[str, Any]) -> str | None:
    """Rows of test files have no field `answer`, or an empty one to fill in."""
    answer = row.get("answer")
    return None if answer is None or (isinstance(answer, str) and not answer.strip()) else str(answer)


@dataclass(frozen=True)
class QuestionRow:
    """A row of a question file: name of the file, line from 1, and the JSON object."""

    file: str
    line: int
    row: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A field as text, stripped; empty if it is missing, or neither text nor a whole number."""
        value = self.row.get(name)
        if isinstance(value, str):
            return value.strip()
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""

    @property
    def answered(self) -> bool:
        """Whether the row holds the expected answer."""
        return _answer(self.row) is not None

    @property
    def of_first_release(self) -> bool:
        """Whether the row is from the first test files of 2025, which name frames of a long recording."""
        test = self.text("dataset").lower().endswith("_test") or "onset_frame" in self.row
        return test and not self.answered and bool(self.text("image_id")) and not self.text("video")

    def video_names(self) -> list[str]:
        """The names of the video that the row asks about; empty if it asks about a clip of a dataset."""
        names = [name for name in (self.text("video"), self.text("video_id")) if name]
        if names:
            return [] if self.answered and all(map(self.text, _CLIP)) else names
        return [self.text("image_id")] if self.of_first_release else []

    def clip_named(self) -> tuple[str, ...]:
        """The name of its video, or dataset, subject and name of its clip."""
        names = self.video_names()
        return (names[0],) if names else tuple(map(self.text, _CLIP))

    def faults(self) -> Iterator[str]:
        """Why the row cannot be used, a sentence each."""
        question, answer = self.row.get("question"), self.row.get("answer")
        if not isinstance(question, str) or not question.strip():
            yield f"question: expected text, found {question!r}"
        if answer is not None and not isinstance(answer, str):
            yield f"answer: expected text, found {answer!r}"
        elif self.answered and not re.search("[a-z0-9]", str(answer).lower()):
            yield f"answer: expected at least one word, found {answer!r}"
        if self.video_names():
            return
        if lacking := [name for name in _CLIP if not self.text(name)]:
            wanted = "a clip (dataset, subject, filename) or a test video (video_id, video)"
            yield f"expected {wanted}, found no {', no '.join(lacking)}"
        elif not self.answered:
            wanted = "an answer to a question on a clip of a dataset (only test videos are asked without)"
            yield f"expected {wanted}, found none"


class Skipped:
    """What was left out and why: an entry per clip, or per row that names none."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def add(self, where: str, *reasons: str, id: str = "") -> None:
        """Add an entry."""
        self.entries.append({"id": id, "where": where, "reasons": list(reasons)})


def sentences(skipped: Iterable[Mapping[str, Any]]) -> list[str]:
    """Entries of `Skipped` in words."""
    return [f"{entry['where']}: {'; '.join(entry['reasons'])}" for entry in skipped]


def where_of(rows: Sequence[QuestionRow]) -> str:
    """Files and lines of some rows."""
    lines: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        lines[row.file].append(str(row.line))
    shown = (f"{', '.join(n[:4])}{f' and {len(n) - 4} more' if len(n) > 4 else ''}" for n in lines.values())
    return "; ".join(f"{file}, line {numbers}" for file, numbers in zip(lines, shown, strict=True))


def read_questions(path: Path, skipped: Skipped) -> tuple[list[QuestionRow], list[QuestionRow]]:
    """Read a question file; every fault goes into `skipped`.

    Returns:
        the usable rows, and the unusable rows of test videos, which a submission has to contain all the same.
    """
    name = path.name
    rows: list[QuestionRow] = []
    try:
        text = read_text(path, _LARGEST)
    except (OSError, ValueError) as error:
        skipped.add(str(path), f"cannot be read as a text file of JSON Lines ({error}); give the challenge's .jsonl")
        return [], []
    known = len(skipped.entries)
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{name}, line {number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            skipped.add(where, f"expected one JSON object on the line, found {line.strip()[:60]!r} ({error})")
            continue
        if isinstance(row, dict):
            rows.append(QuestionRow(name, number, row))
        else:
            skipped.add(where, f"expected a JSON object, found {type(row).__name__}; write one object a line")
    if not rows and known == len(skipped.entries):
        skipped.add(str(path), "expected questions, found an empty file")

    long = {row.clip_named() for row in rows if _LONG_FILE.search(name) or on_long_video(row.text("question"))}
    faulty: dict[tuple[str, ...], list[QuestionRow]] = defaultdict(list)
    good: list[QuestionRow] = []
    for row in rows:
        faults = (_LONG,) if row.clip_named() in long else tuple(row.faults())
        (faulty[faults] if faults else good).append(row)
    for faults, same in faulty.items():
        skipped.add(where_of(same), *faults)
    if len(faulty[(_LONG,)]) == len(rows):
        return [], []  # a file of the other track is no part of a submission
    return good, [row for same in faulty.values() for row in same if row.video_names() and not row.answered]
