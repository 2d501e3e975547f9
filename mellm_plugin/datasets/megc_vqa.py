"""The dataset `megc_vqa`: the clips that the question files of the MEGC ME-VQA challenges ask about.

`vqa_questions.py` reads the files. Onset and apex of a dataset's clip come from that dataset, which has to be prepared;
those of a test file are spotted in its video, or in its folder of frames. Clips of questions with an answer form the
split `labelled`, the others `test`. `questions.jsonl`, beside the clips, repeats the rows word for word, so that a
submission can give them back in their order.

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
from dataclasses import astuple
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import cv2
from tqdm import tqdm

from mellm_plugin.datasets import store
from mellm_plugin.datasets.boxes import Found
from mellm_plugin.datasets.catalogue import KNOWN, dataset_named, is_casme_squared, prepare_command
from mellm_plugin.datasets.crop import Cropper
from mellm_plugin.datasets.disk import check_room, sha256
from mellm_plugin.datasets.frames import frame_number
from mellm_plugin.datasets.names import Tokens, subject_key, tokens
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.datasets.vqa_questions import (
    KINDS,
    LABELLED,
    NAME,
    QUESTIONS,
    TEST,
    Question,
    QuestionRow,
    Skipped,
    read_questions,
    sentences,
    where_of,
)
from mellm_plugin.errors import InputError, MellmError, near
from mellm_plugin.motion.apex import METHODS, spot_clip
from mellm_plugin.motion.average import DEFAULT_MS, averaged, check_ms
from mellm_plugin.motion.clip import Box
from mellm_plugin.motion.geometry import Grey
from mellm_plugin.motion.sources import VIDEO_SUFFIXES

UNKNOWN_SUBJECT = "unknown"
"""Subject of every test video."""

_VIDEO_PREFIXES: dict[str, str] = {"samm": "samm", "cas": "casme3", "casme": "casme3"}


class _PreparedClips:
    """The clips of a prepared dataset, found by the names that rows give them."""

    def __init__(self, name: str, root: Path | None) -> None:
        self.name, self.root = name, root
        self.by_subject: dict[Tokens, list[tuple[Tokens, str]]] = defaultdict(list)
        self.splits: dict[str, list[str]] = {}  # ids, in stored order
        for split in store.read_info(name, root)["splits"]:
            rows = store.read_columns(name, split, ("id", "subject", "clip"), root)
            self.splits[split] = [row["id"] for row in rows]
            for row in rows:
                self.by_subject[subject_key(row["subject"])].append((tokens(row["clip"]), row["id"]))

    def samples(self, wanted: Container[str]) -> Iterator[Sample]:
        """The samples with these ids; one row group at a time is in memory."""
        for split, ids in self.splits.items():
            stored = store.StoredRows(self.name, split, self.root)
            for id in ids:
                if id in wanted and (sample := stored.get(id)) is not None:
                    yield sample

    def find(self, row: QuestionRow) -> str:
        """The id of the clip that a row names; never one that its `image_id` contradicts.

        Raises:
            InputError: there is none, or the row fits several.
        """
        named, subject, image = row.text("filename"), row.text("subject"), tokens(row.text("image_id"))
        wanted, image_id = tokens(named), repr(row.row.get("image_id"))
        # `casme2_sub01` is found by its last number
        of_subject = self.by_subject.get(subject_key(subject)) or self.by_subject.get(tokens(subject)[-1:], [])
        pictured = [id for clip, id in of_subject if clip and image[-len(clip) :] == clip]
        found = [id for clip, id in of_subject if clip == wanted]
        if not found and self.name == "casme3":
            # A name refers to all clips of a recording; only the onset tells them apart. Even if one clip alone is
            # prepared, the recording may have others, so an image_id has to name this one.
            begun = [id for clip, id in of_subject if clip[:-1] == wanted]
            found = [id for id in begun if id in pictured] if image else begun
            if begun and len(found) != 1:
                if len(begun) > 1:
                    which = f"any of {', '.join(begun)}; image_id {image_id} does not tell which"
                    raise InputError(f"expected a name of one clip, found {named!r}, which may be {which}")
                raise InputError(
                    f"expected image_id {image_id} to name the one clip of {named!r} that is prepared, {begun[0]}, "
                    f"found another; prepare {self.name!r} with all of its clips"
                )
        if len(found) == 1 and pictured and found[0] not in pictured:
            raise InputError(
                f"expected one clip, found {found[0]} by filename {named!r} and {', '.join(pictured)} by image_id "
                f"{image_id}; correct either"
            )
        if len(found) > 1:
            raise InputError(f"expected a name of one clip, found {named!r}, which fits {', '.join(found)}")
        if not found:
            others = f"it has {len(of_subject)} clips" if of_subject else "nor any other"
            raise InputError(
                f"subject {subject!r} has no clip {named!r} in the prepared dataset {self.name!r} ({others})"
            )
        return found[0]


class _Videos:
    """The video files and folders below a folder, found by the names that rows give them."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.by_name: dict[str, list[Path]] = defaultdict(list)
        if folder is not None and not folder.is_dir():
            kind = "a file; unpack it" if folder.is_file() else "none"
            raise InputError(f"expected the folder of the test videos, found {kind}", where=str(folder))
        for place, folders, files in os.walk(folder) if folder else ():
            folders.sort()
            for name in (*folders, *sorted(files)):
                if not name.startswith("."):
                    self.by_name[name.casefold()].append(Path(place) / name)

    def find(self, row: QuestionRow) -> Path:
        """The video that a row names.

        Raises:
            InputError: there is none, or several.
        """
        names = row.video_names()
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
        if row.of_first_release:
            raise InputError(
                "rows of the first release of 2025 name frames of a long recording and no `video`. Take the later "
                "release, whose rows have `video`; or cut the frames from onset_frame to offset_frame of each clip "
                f"into a folder, or a video, named by its image_id, below {self.folder}"
            )
        raise InputError(f"no video or folder of frames is named {' or '.join(map(repr, names))} below {self.folder}")


def _alone_in(path: Path) -> Path:
    """The only video of a folder, since some archives put each video into its own folder; else the path itself."""
    if not path.is_dir():
        return path
    inside = [file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()]
    return inside[0] if len(inside) == 1 else path


def _fingerprint(paths: Iterable[Path]) -> str:
    """A digest of names, sizes and dates of videos; their contents are not read."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            stat = file.stat()
            digest.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _stem(name: str) -> str:
    return next((name[: -len(end)] for end in VIDEO_SUFFIXES if name.lower().endswith(end)), name)


def _video_name(row: QuestionRow) -> str:
    """The clip's name. `video` comes first: a `video_id` may be a mere number, the same in two files."""
    return _stem(row.video_names()[0])


def _video_dataset(row: QuestionRow) -> str:
    """The dataset of a test video, if the row names it (`SAMM-3`, `CAS-12`); else this one."""
    if row.of_first_release and not re.search("[0-9]", row.text("subject")):
        return "casme3"  # its rows say `samm_test` as well; SAMM's subjects are numbers
    named = dataset_named(row.text("dataset").lower().removesuffix("_test"))
    prefix = re.split("[^a-z]", Path(_video_name(row)).name.lower())[0]
    return named or _VIDEO_PREFIXES.get(prefix, NAME)


def _spotted(id: str, row: QuestionRow, path: Path, crop: Cropper | None, average: float) -> tuple[Sample, str]:
    """The sample of a test video, and the method that spotted its apex."""
    place = Found()

    def box(frame: Grey) -> Box:
        nonlocal place
        place = Found() if crop is None else crop.find(id, frame)
        return (0, 0, *frame.shape[::-1]) if place.box is None else astuple(place.box)

    for method in METHODS:  # the second is less exact, but still measured on this clip
        clip, found = spot_clip(path, method=method, crop=box)
        if found.found:
            break
    if found.onset is None or found.apex is None:
        raise InputError(f"no apex can be spotted in {path}: {found.reason}; cut the clip to the face and the movement")
    # frames of a video are named by their numbers, those of a folder by their files
    names = [None if index is None else clip.names[index] for index in (found.onset, found.apex, found.offset)]
    numbers = [int(n) if n is not None and n.isdigit() else frame_number(n or "") for n in names]
    means = averaged(clip, found.onset, found.apex, clip.fps, average)
    onset, apex = (bytes(cv2.imencode(".png", mean)[1]) for mean, _ in means)
    own: Any = {"dataset": _video_dataset(row), "subject": UNKNOWN_SUBJECT, "clip": _video_name(row)}
    own |= zip(("onset_frame", "apex_frame", "offset_frame"), numbers, strict=True)
    own |= {"apex_source": "spotted", "fps": clip.fps, "nose": place.nose_in_crop()}
    return Sample(id, onset=onset, apex=apex, **own), found.method


class _Preparation:
    """Which rows ask about which clip, and what became of each clip."""

    def __init__(
        self, files: Sequence[Path], videos: Path | None, root: Path | None, crop: Cropper | None, average: float
    ) -> None:
        self.root, self.crop, self.average = root, crop, average
        self.skipped = Skipped()
        self.missing: dict[str, str] = {}
        self.by_difference: list[str] = []
        self.rows: list[QuestionRow] = []
        self.lost: list[QuestionRow] = []  # unusable rows of test videos, which a submission needs all the same
        for path in files:
            good, lost = read_questions(path, self.skipped)
            self.rows += good
            self.lost += lost
        # by dataset and id
        self.clips: dict[str, dict[str, list[QuestionRow]]] = defaultdict(lambda: defaultdict(list))
        self.prepared: dict[str, _PreparedClips] = {}
        self.videos: dict[str, list[QuestionRow]] = defaultdict(list)
        self.paths: dict[str, Path] = {}
        self.kept: set[str] = set()
        self._find_clips()
        self._find_videos(_Videos(videos))

    def _find_clips(self) -> None:
        unfound: dict[tuple[str, str], list[QuestionRow]] = defaultdict(list)
        absent: dict[str, list[QuestionRow]] = defaultdict(list)
        for row in self.rows:
            if row.video_names():
                continue
            written = row.text("dataset")
            name = dataset_named(written)
            if name is None:
                squared = " It is another dataset than CASME II." * is_casme_squared(written)
                hint = squared or near(written.lower(), KNOWN)
                unfound[f"dataset: expected a dataset that is known, found {written!r}.{hint}", ""].append(row)
            elif not store.is_prepared(name, self.root):
                absent[name].append(row)
            else:
                if name not in self.prepared:
                    self.prepared[name] = _PreparedClips(name, self.root)
                try:
                    self.clips[name][self.prepared[name].find(row)].append(row)
                except InputError as error:
                    clip = f"{name}/{row.text('subject')}/{row.text('filename')}"
                    unfound[str(error), clip].append(row)
        for (reason, clip), rows in unfound.items():
            self.skipped.add(where_of(rows), reason, id=clip)
        for name, rows in absent.items():
            self.missing[name] = command = prepare_command(name)
            self.skipped.add(where_of(rows), f"the dataset {name!r} is not prepared; run: {command}, then this again")

    def _find_videos(self, videos: _Videos) -> None:
        asked: dict[str, list[QuestionRow]] = defaultdict(list)
        for row in self.rows:
            if row.video_names():
                asked[f"{NAME}/{UNKNOWN_SUBJECT}/{_video_name(row)}"].append(row)
        lost: dict[tuple[str, ...], dict[str, list[QuestionRow]]] = defaultdict(dict)  # videos by cause
        for id, rows in asked.items():
            reasons = []
            if len({not row.answered for row in rows}) > 1:
                reasons.append("asked with and without an answer: keep labelled and test questions of a video apart")
            paths: set[Path] = set()
            for video in {row.text("video"): row for row in rows}.values():
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

    def _lose(self, id: str, rows: Sequence[QuestionRow], *reasons: str) -> None:
        self.skipped.add(where_of(rows), *reasons, id=id)
        self.lost += [row for row in rows if not row.answered]

    def samples(self, split: str) -> Iterator[Sample]:
        """The samples of a split, one at a time."""
        if split == LABELLED:
            for name, wanted in self.clips.items():
                for sample in self.prepared[name].samples(wanted):
                    self.kept.add(sample.id)
                    yield sample
        videos = {id: rows for id, rows in self.videos.items() if (not rows[0].answered) == (split == TEST)}
        for id, rows in tqdm(videos.items(), desc=f"{split} videos", unit="video", disable=None if videos else True):
            try:
                sample, method = _spotted(id, rows[0], self.paths[id], self.crop, self.average)
            except MellmError as error:
                self._lose(id, rows, str(error))
                continue
            if method != "flow":
                self.by_difference.append(id)
            self.kept.add(id)
            yield sample

    def questions(self) -> list[Question]:
        """The questions on clips that were kept, and all questions of test files, in the order of the files."""
        found: list[Question] = []
        for clips in (*self.clips.values(), self.videos):
            for id, rows in clips.items():
                for row in rows if id in self.kept else ():
                    split = LABELLED if row.answered else TEST
                    found.append(Question(id, split, row.file, row.line, row.row))
        found += [Question(None, TEST, row.file, row.line, row.row) for row in self.lost]
        order = list(dict.fromkeys(row.file for row in (*self.rows, *self.lost)))
        return sorted(found, key=lambda question: (order.index(question.file), question.line))

    def check_room(self) -> None:
        """Report the disk space needed: a share of the datasets' files, and two frames of each video.

        Raises:
            DataError: there is certainly too little.
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
        check_room(NAME, copied + videos, self.root, least=copied // 2)  # clips differ in size

    def refusal(self) -> InputError:
        return InputError(sentences(self.skipped.entries) or ["no question at all"], where=NAME)


def prepare(
    questions: Sequence[Path],
    videos: Path | None = None,
    root: Path | None = None,
    *,
    crop: Cropper | None = None,
    average: float = DEFAULT_MS,
    strict: bool = False,
    exists: Literal["refuse", "keep", "replace"] = "refuse",
) -> Path:
    """Prepare the dataset `megc_vqa` from question files.

    A fault skips its row or clip alone. `info.json` keeps every reason under `skipped` and, under `missing`, the
    commands for datasets that are not prepared yet. Questions of test files stay in `questions.jsonl` all the same: a
    submission needs every line.

    Args:
        questions: labelled files and test files of the challenge.
        videos: folder of the test videos (files, or folders of frames), at any depth.
        crop: finds the face in the first frame of a test video, to cut from all frames. None: whole frames.
        average: how far neighbours may be that are averaged with onset and apex of a test video, ms; 0: they are not.
        strict: whether any fault prevents the preparation.
        root, exists: as for `store.write`.

    Returns:
        the absolute folder of the dataset.

    Raises:
        InputError: no clip is left, or, where `strict`, anything is skipped; every reason at once.
        DataError: it exists and `exists` is "refuse"; it cannot be written; or a dataset is damaged.
    """
    twice = [name for name, count in Counter(path.name for path in questions).items() if count > 1]
    if twice or not questions:
        faults = [f"expected names that tell the question files apart, found {name!r} twice" for name in twice]
        raise InputError(faults or ["expected at least one file of questions, found none"], where=NAME)
    check_ms(average)
    work = _Preparation(questions, videos, root, crop, average)
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
            "average": average,
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

    first_split, last_split = next(iter(splits)), list(splits)[-1]

    def checked(split: str, samples: Iterator[Sample]) -> Iterator[Sample]:
        """The samples of a split, read only when the dataset is made again; after the last, the rest of `info`."""
        if split == first_split:
            work.check_room()
        yield from samples
        if split != last_split:
            return
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

    again = {split: checked(split, samples) for split, samples in splits.items()}
    folder = store.write(NAME, again, info, root=root, exists=exists, files=files)
    if strict and (left_out := store.read_info(NAME, root)["skipped"]):  # kept from a run that was not strict
        raise InputError(sentences(left_out), where=f"{folder}, prepared before, lacks what was left out")
    return folder


def summary(info: Mapping[str, Any]) -> list[str]:
    """The result of a preparation, a line each, from its `info.json`."""
    lines = []
    for split, counts in info["questions"].items():
        if counts:
            clips = info["splits"].get(split, {}).get("clips", 0)
            kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
            lines.append(f"{split}: {sum(counts.values())} questions on {clips} clips ({kinds})")
    lines += [f"of unknown kind, scored as text alone: {text!r}" for text in info["unknown_questions"]]
    lines += [f"left out: {e['where']}: {'; '.join(e['reasons'])}" for e in info["skipped"]]
    if info["spotted_by_difference"]:
        lines.append(f"spotted by frame difference alone: {', '.join(info['spotted_by_difference'])}")
    lines += [f"not prepared: {name}. Run: {command}" for name, command in info["missing"].items()]
    return lines
