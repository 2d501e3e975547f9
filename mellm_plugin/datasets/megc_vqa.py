"""The question files of the MEGC ME-VQA challenges (2025, 2026), JSON Lines: questions on clips, and their answers.

    {"id": 1, "dataset": "casme2", "image_id": "sub01_EP02_01f", "subject": "sub01", "filename": "EP02_01f",
     "question": "What is the coarse expression class?", "answer": "positive"}
    {"video_id": "SAMM-3", "video": "SAMM-3.mp4", "question": "What are the action units?"}

The first names a clip of a dataset, which has to be prepared already: its onset and apex are taken from there. The
second is of a test file: onset and apex are spotted in its video, or in its folder of frames. Questions with an answer
go into the split `labelled`, those without into `test`. The questions themselves are in `questions.jsonl` beside the
clips, the rows of the files word for word, so that a submission can give them back in their order.

The first release of the test files of 2025 names no video, but frames of a long recording. Such a row is of the video
or folder of frames that is named by its `image_id`:

    {"id": "samm_test_1_001_2_8906_1", "dataset": "samm_test", "image_id": "1_001_2_8906", "subject": 1,
     "filename": "001_2", "onset_frame": 8906, "offset_frame": 9005, "question": "What is the action unit?"}

The files of the long-video track (ME-LVQA, 2026) are refused: a clip's onset and apex cannot answer them.

Source: https://megc2025.github.io and https://megc2026.github.io. X. Fan, J. Li, J. See, M. H. Yap et al.: MEGC2025:
Micro-Expression Grand Challenge on Spot Then Recognize and Visual Question Answering, ACM MM 2025, arXiv:2506.15298.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
from tqdm import tqdm

from mellm_plugin.datasets import store
from mellm_plugin.datasets.catalogue import KNOWN, dataset_named, is_casme_squared, prepare_command
from mellm_plugin.datasets.disk import check_room, sha256
from mellm_plugin.datasets.frames import frame_number
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.errors import InputError, MellmError, near
from mellm_plugin.facs.units import OTHER_NAMES, UNITS
from mellm_plugin.motion.apex import spot
from mellm_plugin.motion.clip import VIDEO_SUFFIXES, read_clip
from mellm_plugin.small_files import read_text

if TYPE_CHECKING:
    from mellm_plugin.datasets.crop import Cropper

NAME = "megc_vqa"
"""Of the prepared dataset."""

QUESTIONS = "questions.jsonl"
"""The file beside the clips that holds the questions."""

LABELLED, TEST = "labelled", "test"
"""The splits: clips of questions with an answer, and of questions without one."""

UNKNOWN_SUBJECT = "unknown"
"""Subject of a test video, whose file does not tell it."""

# ---- kinds of questions ---------------------------------------------------------------------------------------------

KINDS: tuple[str, ...] = ("coarse", "fine", "units", "unit", "side", "combined", "other")
"""What a question asks for: the coarse class; the fine label; the list of action units; whether one unit is there; the
side of one unit; units and both classes in one text; anything else."""

_UNIT_NAMES: dict[str, int] = {unit.name: unit.number for unit in UNITS.values()} | OTHER_NAMES
_ANY_UNIT = re.compile(rf"\b({'|'.join(sorted(_UNIT_NAMES, key=len, reverse=True))})s?\b")


def unit_name(number: int) -> str:
    """What the challenge calls an action unit: `brow lowerer`, `eye closure`; `AU99` for a number without a name."""
    names = {number: name for name, number in _UNIT_NAMES.items()}  # its own names stand behind those of FACS
    return names.get(number, f"AU{number}")


def question_kind(question: str) -> str:
    """What a question asks for, told from its text: one of `KINDS`. Never raises."""
    text = " ".join(question.lower().split())
    if re.search(r"\b(?:how many|number of)\b", text):
        return "other"  # an answer of "4" is then no unit
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


_LARGEST = 64 << 20  # bytes of a question file; real ones have up to 1 MB
_LONG_FILE = re.compile(r"lvqa|melv|long[-_ ]?video", re.IGNORECASE)
_LONG_QUESTION = re.compile(
    r"\b(?:how many|number of|count)\b.{0,300}\bexpressions?\b|\bdistinct (?:action units?|aus?)\b"
    r"|\bmacro[- ]?expressions?\b"
    r"|\b(?:expression|emotional) events?\b"
    r"|\b(?:[0-9]+ ?-? ?(?:st|nd|rd|th)|first|second|third|fourth|fifth|last|final)\b"
    r".{0,300}\b(?:expressions?|events?)\b"
)


def on_long_video(question: str) -> bool:
    """Whether a question is of the long-video track: on counts of expressions, distinct units, or the n-th event.

    >>> on_long_video("What is the expression type of the 5-th expression event in this video?")
    True
    """
    return bool(_LONG_QUESTION.search(" ".join(question.lower().split())))


def unit_asked(question: str) -> int | None:
    """The FACS number of the one unit that a question names; None where it names none or several.

    >>> unit_asked("Is the action unit eye closure shown on the face?"), unit_asked("Is the action unit 4 shown?")
    (43, 4)
    """
    text = " ".join(question.lower().split())
    named = {_UNIT_NAMES[name] for name in _ANY_UNIT.findall(text)}
    named |= {int(number) for number in re.findall(r"\b(?:au|action unit) ?(\d{1,2})\b", text)}
    return named.pop() if len(named) == 1 else None


# ---- the question files ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """One row of a question file.

    Attributes:
        clip: id of its sample; None for a question of a test file whose clip could not be prepared.
        split: `LABELLED` or `TEST`.
        file: name of the question file.
        line: in that file, from 1.
        row: the JSON object, word for word.
    """

    clip: str | None
    split: str
    file: str
    line: int
    row: Mapping[str, Any]

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


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _answer(row: Mapping[str, Any]) -> str | None:
    """Test files have no field `answer`, or an empty one to be filled in."""
    answer = row.get("answer")
    return None if answer is None or (isinstance(answer, str) and not answer.strip()) else str(answer)


_CLIP = ("dataset", "subject", "filename")
"""The fields that name a clip of a dataset."""


def _video_names(row: Mapping[str, Any]) -> list[str]:
    """The names that a row has for the video it asks about; none where it asks about a clip of a dataset."""
    names = [name for name in (_text(row, "video"), _text(row, "video_id")) if name]
    if names:
        return [] if _answer(row) is not None and all(_text(row, name) for name in _CLIP) else names
    return [_text(row, "image_id")] if _of_first_release(row) else []


def _of_first_release(row: Mapping[str, Any]) -> bool:
    """Whether a row is of the first release of the test files of 2025, which names frames of a long recording."""
    test = _text(row, "dataset").lower().endswith("_test") or "onset_frame" in row
    return test and _answer(row) is None and bool(_text(row, "image_id")) and not _text(row, "video")


def _row_faults(row: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(row.get("question"), str) or not row["question"].strip():
        yield f"question: expected text, found {row.get('question')!r}"
    answer = row.get("answer")
    if answer is not None and not isinstance(answer, str):
        yield f"answer: expected text, found {answer!r}"
    elif (given := _answer(row)) is not None and not re.search("[a-z0-9]", given.lower()):
        yield f"answer: expected at least one word, found {given!r}"
    if _video_names(row):
        return
    if lacking := [name for name in _CLIP if not _text(row, name)]:
        yield (
            "expected a clip (dataset, subject, filename) or a test video (video_id, video), found no "
            f"{', no '.join(lacking)}"
        )
    elif _answer(row) is None:
        yield "expected an answer to a question on a clip of a dataset (only test videos are asked without), found none"


@dataclass(frozen=True)
class _Row:
    file: str
    line: int
    row: Mapping[str, Any]


class _Skipped:
    """What was left out and why: one entry a clip, or a row that names none."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def add(self, where: str, *reasons: str, id: str = "") -> None:
        self.entries.append({"id": id, "where": where, "reasons": list(reasons)})

    def sentences(self) -> list[str]:
        return _sentences(self.entries)


def _sentences(skipped: Iterable[Mapping[str, Any]]) -> list[str]:
    return [f"{entry['where']}: {'; '.join(entry['reasons'])}" for entry in skipped]


def _read(path: Path, skipped: _Skipped) -> tuple[list[_Row], list[_Row]]:
    """The rows of a file that can be used, and the rows of test videos that cannot; every fault goes into `skipped`."""
    name = path.name
    rows: list[_Row] = []
    try:
        text = read_text(path, _LARGEST)
    except (OSError, ValueError) as error:
        skipped.add(str(path), f"cannot be read as a text file of JSON Lines ({error}); give the challenge's .jsonl")
        return [], []
    told = len(skipped.entries)
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
            rows.append(_Row(name, number, row))
        else:
            skipped.add(where, f"expected a JSON object, found {type(row).__name__}; write one object a line")
    if not rows and told == len(skipped.entries):
        skipped.add(str(path), "expected questions, found an empty file")

    long = {
        _clip_named(row.row) for row in rows if _LONG_FILE.search(name) or on_long_video(_text(row.row, "question"))
    }
    faulty: dict[tuple[str, ...], list[_Row]] = defaultdict(list)
    good: list[_Row] = []
    for row in rows:
        faults = (_LONG,) if _clip_named(row.row) in long else tuple(_row_faults(row.row))
        (faulty[faults] if faults else good).append(row)
    for faults, of in faulty.items():
        skipped.add(_where(of), *faults)
    if len(faulty[(_LONG,)]) == len(rows):
        return [], []  # a file of the other track is no part of a submission
    lost = (row for of in faulty.values() for row in of)
    return good, [row for row in lost if _video_names(row.row) and _answer(row.row) is None]


_LONG = (
    "of the long-video track (ME-LVQA: counts of expressions, distinct action units, the n-th event). Its videos last "
    "a minute and hold many expressions; here a clip of one expression is shown by its onset and apex. Give the files "
    "of the track of short clips alone (me_vqa_...jsonl)"
)


def _clip_named(row: Mapping[str, Any]) -> tuple[str, ...]:
    names = _video_names(row)
    return (names[0],) if names else tuple(_text(row, name) for name in _CLIP)


# ---- clips of datasets that are prepared ----------------------------------------------------------------------------

_VIDEO_PREFIXES: dict[str, str] = {"samm": "samm", "cas": "casme3", "casme": "casme3"}


_Key = tuple[str | int, ...]


def _key(text: str) -> _Key:
    """What stays the same between spellings: `s01_ne_01` and `S1_ne_1`."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[0-9]+|[a-z]+", text.lower()))


def _subject(text: str) -> str | int:
    """Subjects are told by their number: `sub01`, `01`, `casme2_sub01`, `spNO.1`."""
    numbers = [part for part in _key(text) if isinstance(part, int)]
    return numbers[-1] if numbers else text.lower().strip()


class _PreparedClips:
    """The clips of a prepared dataset, found by the names that rows have for them."""

    def __init__(self, name: str, root: Path | None) -> None:
        self.name, self.root = name, root
        self.by_subject: dict[str | int, list[tuple[_Key, str]]] = defaultdict(list)
        self.splits: dict[str, list[str]] = {}  # ids, in stored order
        for split in store.read_info(name, root)["splits"]:
            rows = store.read_columns(name, split, ("id", "subject", "clip"), root)
            self.splits[split] = [row["id"] for row in rows]
            for row in rows:
                self.by_subject[_subject(row["subject"])].append((_key(row["clip"]), row["id"]))

    def samples(self, wanted: Container[str]) -> Iterator[Sample]:
        """The samples with these ids, a row group at a time in memory."""
        for split, ids in self.splits.items():
            stored = store.StoredRows(self.name, split, self.root)
            for id in ids:
                if id in wanted and (sample := stored.get(id)) is not None:
                    yield sample

    def find(self, row: Mapping[str, Any]) -> str:
        """The id of the clip that a row names, never one that its `image_id` speaks against.

        Raises:
            InputError: there is none, or the names fit several.
        """
        named, image = _text(row, "filename"), _key(_text(row, "image_id"))
        wanted = _key(named)
        of_subject = self.by_subject.get(_subject(_text(row, "subject")), [])
        pictured = [id for clip, id in of_subject if clip and image[-len(clip) :] == clip]
        found = [id for clip, id in of_subject if clip == wanted]
        if not found and self.name == "casme3":
            # one name for several clips of a subject, which the onset behind it tells apart; of a recording with one
            # clip here there may be others elsewhere, so that an image_id has to name this one
            begun = [id for clip, id in of_subject if clip[:-1] == wanted]
            found = [id for id in begun if id in pictured] if image else begun
            if begun and len(found) != 1:
                raise InputError(
                    f"expected a name of one clip, found {named!r}, which may be any of {', '.join(begun)}; image_id "
                    f"{row.get('image_id')!r} does not tell which"
                    if len(begun) > 1
                    else f"expected image_id {row.get('image_id')!r} to name the one clip of {named!r} that is "
                    f"prepared, {begun[0]}, found another; prepare {self.name!r} with all of its clips"
                )
        if len(found) == 1 and pictured and found[0] not in pictured:
            raise InputError(
                f"expected one clip, found {found[0]} by filename {named!r} and {', '.join(pictured)} by image_id "
                f"{row.get('image_id')!r}; correct either"
            )
        if len(found) > 1:
            raise InputError(f"expected a name of one clip, found {named!r}, which fits {', '.join(found)}")
        if not found:
            raise InputError(
                f"subject {_text(row, 'subject')!r} has no clip {named!r} in the prepared dataset {self.name!r}"
                + (f" (it has {len(of_subject)} clips)" if of_subject else " (nor any other)")
            )
        return found[0]


def _where(rows: Sequence[_Row]) -> str:
    lines: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        lines[row.file].append(str(row.line))
    shown = (f"{', '.join(n[:4])}{f' and {len(n) - 4} more' if len(n) > 4 else ''}" for n in lines.values())
    return "; ".join(f"{file}, line {numbers}" for file, numbers in zip(lines, shown, strict=True))


# ---- test videos ----------------------------------------------------------------------------------------------------


class _Videos:
    """The video files and folders below a folder, found by the names that rows have for them."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.by_name: dict[str, list[Path]] = defaultdict(list)
        if folder is None:
            return
        if not folder.is_dir():
            kind = "a file; unpack it" if folder.is_file() else "none"
            raise InputError(f"expected the folder of the test videos, found {kind}", where=str(folder))
        for place, folders, files in os.walk(folder):
            folders.sort()
            for name in (*folders, *sorted(files)):
                if not name.startswith("."):
                    self.by_name[name.casefold()].append(Path(place) / name)

    def find(self, row: Mapping[str, Any]) -> Path:
        """The video that a row names.

        Raises:
            InputError: there is none, or several.
        """
        names = _video_names(row)
        if self.folder is None:
            raise InputError("the test videos are wanted: say where they are, with --videos FOLDER")
        for name in names:
            inside = self.folder / name
            if ".." not in Path(name).parts and not Path(name).is_absolute() and inside.exists():
                return _alone_in(inside)
        for name in dict.fromkeys(Path(name).name.casefold() for name in names):
            stem = _stem(name)
            # a file before a folder of its name
            found = [p for end in VIDEO_SUFFIXES for p in self.by_name.get(stem + end, []) if p.is_file()]
            found = found or [p for p in self.by_name.get(stem, []) if p.is_dir()]
            if len(found) > 1:
                raise InputError(
                    f"expected one video {name!r}, found {', '.join(map(str, found))}; give the folder of one kind"
                )
            if found:
                return _alone_in(found[0])
        if _of_first_release(row):
            raise InputError(
                "rows of the first release of 2025 name frames of a long recording and no `video`. Take the later "
                "release, whose rows have `video`; or cut the frames from onset_frame to offset_frame of each clip "
                f"into a folder, or a video, named by its image_id, below {self.folder}"
            )
        raise InputError(f"no video or folder of frames is named {' or '.join(map(repr, names))} below {self.folder}")


def _alone_in(path: Path) -> Path:
    """The one video in a folder, where archives put it into one of its own; else the path itself."""
    if not path.is_dir():
        return path
    inside = [file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()]
    return inside[0] if len(inside) == 1 else path


def _fingerprint(paths: Iterable[Path]) -> str:
    """Tells whether videos are the same as before, by names, sizes and dates; their contents are not read."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            stat = file.stat()
            digest.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _stem(name: str) -> str:
    return next((name[: -len(end)] for end in VIDEO_SUFFIXES if name.lower().endswith(end)), name)


def _video_name(row: Mapping[str, Any]) -> str:
    """Told by `video`: a `video_id` may only be a number, which two files can have in common."""
    return _stem(_video_names(row)[0])


def _video_id(row: Mapping[str, Any]) -> str:
    return f"{NAME}/{UNKNOWN_SUBJECT}/{_video_name(row)}"


def _video_dataset(row: Mapping[str, Any]) -> str:
    """The dataset that a test video is of, as far as the row says so (`SAMM-3`, `CAS-12`); else this one."""
    written = re.sub("_test$", "", _text(row, "dataset").lower())
    named = dataset_named(written)
    if _of_first_release(row) and not re.search("[0-9]", _text(row, "subject")):
        return "casme3"  # whose rows say `samm_test` there, too; SAMM's subjects are numbers
    prefix = re.match(r"[a-z]*", Path(_video_name(row)).name.lower())
    return named or _VIDEO_PREFIXES.get(prefix[0] if prefix else "", NAME)


def _spotted(id: str, row: Mapping[str, Any], path: Path, crop: Cropper | None) -> tuple[Sample, str]:
    """The sample of a test video, and the way in which its apex was spotted."""
    clip = read_clip(path)
    frames, nose = clip.frames, None
    if crop is not None:
        place = crop.find(id, frames[0])
        nose = place.nose_in_crop()
        if (box := place.box) is not None:
            frames = frames[:, box.top : box.bottom, box.left : box.right]
    found = spot(frames)
    if not found.found:
        found = spot(frames, method="difference")  # less exact, and still a measurement of this clip
    if found.onset is None or found.apex is None:
        raise InputError(f"no apex can be spotted in {path}: {found.reason}; cut the clip to the face and the movement")
    # the frames of a video are named by their numbers, those of a folder are files
    names = [None if index is None else clip.names[index] for index in (found.onset, found.apex, found.offset)]
    numbers = [int(n) if n is not None and n.isdigit() else frame_number(n or "") for n in names]
    onset, apex = (bytes(cv2.imencode(".png", frames[index])[1]) for index in (found.onset, found.apex))
    sample = Sample(
        id=id,
        dataset=_video_dataset(row),
        subject=UNKNOWN_SUBJECT,
        clip=_video_name(row),
        onset=onset,
        apex=apex,
        onset_frame=numbers[0],
        apex_frame=numbers[1],
        offset_frame=numbers[2],
        apex_source="spotted",
        fps=clip.fps,
        nose=nose,
    )
    return sample, found.method


# ---- all together ---------------------------------------------------------------------------------------------------


class _Preparation:
    """What is asked of which clip, and what became of each clip."""

    def __init__(self, files: Sequence[Path], videos: Path | None, root: Path | None, crop: Cropper | None) -> None:
        self.root, self.crop = root, crop
        self.skipped = _Skipped()
        self.missing: dict[str, str] = {}
        self.by_difference: list[str] = []
        self.rows: list[_Row] = []
        self.lost: list[_Row] = []  # rows of test videos that cannot be asked, but belong into a submission
        for path in files:
            good, lost = _read(path, self.skipped)
            self.rows += good
            self.lost += lost
        self.clips: dict[str, dict[str, list[_Row]]] = defaultdict(lambda: defaultdict(list))  # dataset, id -> rows
        self.prepared: dict[str, _PreparedClips] = {}
        self.videos: dict[str, list[_Row]] = defaultdict(list)
        self.paths: dict[str, Path] = {}
        self.kept: set[str] = set()
        self._find_clips()
        self._find_videos(_Videos(videos))

    def _find_clips(self) -> None:
        unfound: dict[tuple[str, str], list[_Row]] = defaultdict(list)
        absent: dict[str, list[_Row]] = defaultdict(list)
        for row in self.rows:
            if _video_names(row.row):
                continue
            written = _text(row.row, "dataset")
            name = dataset_named(written)
            if name is None:
                squared = is_casme_squared(written)
                hint = " It is another dataset than CASME II." if squared else near(written.lower(), KNOWN)
                reason = f"dataset: expected a dataset that is known, found {written!r}.{hint}"
                unfound[reason, ""].append(row)
            elif not store.is_prepared(name, self.root):
                absent[name].append(row)
            else:
                if name not in self.prepared:
                    self.prepared[name] = _PreparedClips(name, self.root)
                try:
                    self.clips[name][self.prepared[name].find(row.row)].append(row)
                except InputError as error:
                    clip = f"{name}/{_text(row.row, 'subject')}/{_text(row.row, 'filename')}"
                    unfound[str(error), clip].append(row)
        for (reason, clip), rows in unfound.items():
            self.skipped.add(_where(rows), reason, id=clip)
        for name, rows in absent.items():
            self.missing[name] = prepare_command(name)
            self.skipped.add(
                _where(rows), f"the dataset {name!r} is not prepared; run: {self.missing[name]}, then this again"
            )

    def _find_videos(self, videos: _Videos) -> None:
        asked: dict[str, list[_Row]] = defaultdict(list)
        for row in self.rows:
            if _video_names(row.row):
                asked[_video_id(row.row)].append(row)
        lost: dict[tuple[str, ...], dict[str, list[_Row]]] = defaultdict(dict)  # of each cause the videos
        for id, rows in asked.items():
            reasons = []
            if len({_answer(row.row) is None for row in rows}) > 1:
                reasons.append("asked with and without an answer: keep labelled and test questions of a video apart")
            paths: set[Path] = set()
            for video in {_text(row.row, "video"): row.row for row in rows}.values():
                try:
                    paths.add(videos.find(video))
                except InputError as error:
                    reasons.append(str(error))
            if len(paths) > 1:
                reasons.append(f"one video_id for several videos: {', '.join(sorted(map(str, paths)))}")
            if reasons:
                lost[tuple(reasons)][id] = rows
            else:
                self.videos[id] = rows
                self.paths[id] = paths.pop()
        for why, videos_of in lost.items():
            ids = list(videos_of)
            self._lose(ids[0] if len(ids) == 1 else "", list(chain(*videos_of.values())), *why)
        self.fingerprint = _fingerprint(self.paths.values())

    def _lose(self, id: str, rows: Sequence[_Row], *reasons: str) -> None:
        self.skipped.add(_where(rows), *reasons, id=id)
        self.lost += [row for row in rows if _answer(row.row) is None]

    def samples(self, split: str) -> Iterator[Sample]:
        """The samples of a split, one at a time."""
        if split == LABELLED:
            for name, wanted in self.clips.items():
                for sample in self.prepared[name].samples(wanted):
                    self.kept.add(sample.id)
                    yield sample
        videos = {id: rows for id, rows in self.videos.items() if (_answer(rows[0].row) is None) == (split == TEST)}
        for id, rows in tqdm(videos.items(), desc=f"{split} videos", unit="video", disable=None if videos else True):
            try:
                sample, method = _spotted(id, rows[0].row, self.paths[id], self.crop)
            except MellmError as error:
                self._lose(id, rows, str(error))
                continue
            if method != "flow":
                self.by_difference.append(id)
            self.kept.add(id)
            yield sample

    def questions(self) -> list[Question]:
        """The questions on clips that were kept, and all of test videos, in the order of the files."""
        asked = chain(
            ((id, row) for wanted in self.clips.values() for id, rows in wanted.items() for row in rows),
            ((id, row) for id, rows in self.videos.items() for row in rows),
        )
        found = {
            (row.file, row.line): Question(
                id, TEST if _answer(row.row) is None else LABELLED, row.file, row.line, row.row
            )
            for id, row in asked
            if id in self.kept
        }
        found |= {(row.file, row.line): Question(None, TEST, row.file, row.line, row.row) for row in self.lost}
        order = list(dict.fromkeys(row.file for row in (*self.rows, *self.lost)))
        return [found[key] for key in sorted(found, key=lambda key: (order.index(key[0]), key[1]))]

    def check_room(self) -> None:
        """Say what disk is needed: for the clips of datasets their share of the files, for each video about its size.

        Raises:
            DataError: there is too little for certain.
        """
        copied = 0
        for name, wanted in self.clips.items():
            folder, splits = store.dataset_dir(name, self.root), store.read_info(name, self.root)["splits"]
            size = sum((folder / entry["file"]).stat().st_size for entry in splits.values())
            copied += size * len(wanted) // sum(entry["clips"] for entry in splits.values())
        videos = 0
        for path in self.paths.values():
            sizes = [file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]) if file.is_file()]
            videos += sum(sorted(sizes)[-2:])
        check_room(NAME, copied + videos, self.root, least=copied // 2)  # clips are of different sizes

    def refusal(self) -> InputError:
        return InputError(self.skipped.sentences() or ["no question at all"], where=NAME)


def prepare(
    questions: Sequence[Path],
    videos: Path | None = None,
    root: Path | None = None,
    *,
    crop: Cropper | None = None,
    strict: bool = False,
    exists: Literal["refuse", "keep", "replace"] = "refuse",
) -> Path:
    """Make the dataset `megc_vqa` of question files.

    What is wrong with a row or a clip leaves out that row or clip alone; `info.json` keeps every reason under `skipped`
    and, under `missing`, the datasets that are not prepared yet with the command that prepares them. Questions of test
    files stay in `questions.jsonl` even so: a submission has every line.

    Args:
        questions: files of the challenge, labelled ones and test files in any mixture.
        videos: folder with the test videos (files, or a folder of frames each), at any depth.
        root: folder of all prepared datasets; the user's data root when None.
        crop: finds the face in the first frame of a test video; its box is cut out of all frames. None: not cropped.
        strict: whether anything that is left out is enough to prepare nothing.
        exists: as for `store.write`.

    Returns:
        The absolute folder of the dataset.

    Raises:
        InputError: no clip is left, or anything is left out where `strict`; every reason at once.
        DataError: it is prepared already, and `exists` is "refuse"; it cannot be written; or a dataset is damaged.
    """
    twice = [name for name, count in Counter(path.name for path in questions).items() if count > 1]
    if twice or not questions:
        faults = [f"expected names that tell the question files apart, found {name!r} twice" for name in twice]
        raise InputError(faults or ["expected at least one file of questions, found none"], where=NAME)
    work = _Preparation(questions, videos, root, crop)
    info: dict[str, Any] = {
        "title": f"MEGC ME-VQA: {', '.join(path.name for path in questions)}",
        "source": {
            "questions": {path.name: sha256(path) for path in questions if path.is_file()},
            "datasets": {
                name: {part: entry["sha256"] for part, entry in store.read_info(name, root)["splits"].items()}
                for name in sorted(work.clips)
            },
            "videos": work.fingerprint,
            "crop": None if crop is None else dict(crop.settings),
        },
    }
    files = {QUESTIONS: b""}
    splits: dict[str, Iterator[Sample]] = {}
    for split in (LABELLED, TEST):
        samples = work.samples(split)
        if (first := next(samples, None)) is not None:
            splits[split] = chain([first], samples)
    if not splits:
        raise work.refusal()

    def begun(samples: Iterator[Sample]) -> Iterator[Sample]:
        """The first split, asked for where the dataset is made and not kept."""
        work.check_room()
        yield from samples

    def finished(samples: Iterator[Sample]) -> Iterator[Sample]:
        """The last split; behind it, what is known only then."""
        yield from samples
        if strict and work.skipped.entries:
            raise work.refusal()
        asked = work.questions()
        lines = (json.dumps(vars(question), ensure_ascii=False) for question in asked)
        files[QUESTIONS] = "".join(f"{line}\n" for line in lines).encode()
        kinds = {split: Counter(q.kind for q in asked if q.split == split) for split in (LABELLED, TEST)}
        info["questions"] = {
            split: {kind: count[kind] for kind in KINDS if count[kind]} for split, count in kinds.items()
        }
        info["unknown_questions"] = sorted({q.text for q in asked if q.kind == "other"})
        info["missing"] = work.missing
        info["skipped"] = work.skipped.entries
        info["spotted_by_difference"] = work.by_difference

    first_split, last_split = next(iter(splits)), list(splits)[-1]
    splits[first_split] = begun(splits[first_split])
    splits[last_split] = finished(splits[last_split])
    folder = store.write(NAME, splits, info, root=root, exists=exists, files=files)
    if strict and (left_out := store.read_info(NAME, root)["skipped"]):  # kept from a run that was not strict
        raise InputError(_sentences(left_out), where=f"{folder}, prepared before, lacks what was left out")
    return folder


def summary(info: Mapping[str, Any]) -> list[str]:
    """What a preparation made and left out, a line each, from its `info.json`."""
    lines = []
    for split, counts in info["questions"].items():
        if counts:
            clips = info["splits"].get(split, {}).get("clips", 0)
            kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
            lines.append(f"{split}: {sum(counts.values())} questions on {clips} clips ({kinds})")
    lines += [f"of a kind that is not known, scored as text alone: {text!r}" for text in info["unknown_questions"]]
    lines += [f"left out: {e['where']}: {'; '.join(e['reasons'])}" for e in info["skipped"]]
    if info["spotted_by_difference"]:
        lines.append(f"spotted by frame difference alone: {', '.join(info['spotted_by_difference'])}")
    lines += [f"not prepared: {name}. Run: {command}" for name, command in info["missing"].items()]
    return lines
