"""From the rows of a coding sheet and the frames of a dataset to a prepared dataset; the same way for every dataset.

    row of the sheet -> Entry -> (corrections, frames found, checked) -> Located -> (spotted, cut, read) -> Sample

What a converter (`casme2.py`, ...) adds is a `Dataset`: its columns, how a row is read, and how its folders are named.
A fault of a row or of its frames leaves out that clip and no other; all are told at the end and kept in `info.json`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mellm_plugin.datasets import store
from mellm_plugin.datasets.corrections import FIELDS, Correction, Corrections, shipped
from mellm_plugin.datasets.crop import Box, Cropper, Whole, cropper, cut
from mellm_plugin.datasets.frames import Aside, ClipFolder, FrameTree, Names, frame_number, list_frames, series
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.datasets.sheets import Column, Row, Sheet, as_text, by_cause, is_missing, read_sheet
from mellm_plugin.errors import DataError, InputError
from mellm_plugin.facs.codes import read_codes
from mellm_plugin.facs.labels import coarse
from mellm_plugin.locks import ProcessLock
from mellm_plugin.motion.apex import spot
from mellm_plugin.motion.images import read_pixels, to_grey

VERSION = 1
"""Of the conversion: clips that another version made are made again."""

_SPOTTING_SIDE = 448  # px: the apex spotter looks at less
_LONGEST = 2000  # frames that an apex is looked for in
_SAME = ("sheets", "frames", "crop")  # what must be unchanged for nothing to be done, beside every clip's identity
_LONGEST_S = 0.5  # seconds that a micro-expression lasts


@dataclass(frozen=True)
class Entry:
    """A clip as a row of a sheet has it; None is what the row leaves open.

    Attributes:
        id: `dataset/subject/clip`.
        subject, clip: normalised.
        where: file and row, for messages.
        names: of its folder, see `FrameTree`; the first that is there counts.
        onset_file, apex_file: where the dataset names files in place of a folder and numbers.
        onset, apex, offset: frame numbers; without an apex it is spotted, without an onset the first frame is it.
        emotion: a canonical label.
        au_code: the cell, whatever the spreadsheet made of it.
        objective_class: 1..7.
        fps: frames per second.
        split: of the dataset.
        fault: what speaks against the clip already; empty for nothing.
    """

    id: str
    subject: str
    clip: str
    where: str
    names: tuple[Names, ...] = ()
    onset_file: Path | None = None
    apex_file: Path | None = None
    onset: int | None = None
    apex: int | None = None
    offset: int | None = None
    emotion: str | None = None
    au_code: Any = None
    objective_class: int | None = None
    fps: float | None = None
    split: str = "test"
    fault: str = ""


@dataclass(frozen=True)
class Published:
    """What the literature says a dataset holds.

    Attributes:
        title: of the dataset and its sheet, `CASME II 2014 sheet`.
        clips: by split.
        emotions: clips of each canonical label, over all splits; empty where that is not published.
        subjects: how many; None where that is not published.
    """

    title: str
    clips: Mapping[str, int]
    emotions: Mapping[str, int] = field(default_factory=dict)
    subjects: int | None = None


@dataclass(frozen=True)
class Dataset:
    """What is special to a dataset.

    Attributes:
        name: of the prepared dataset and of its labels in `LABELS`.
        title: its name in the literature.
        columns: of its sheet; empty where it has none.
        entry: a row as an entry; None where it cannot be one, with the reasons in the row's faults.
        published: from the sheets to what should be found; None for a dataset of the user's, whose entries name files.
        aside: which folders hold no clips of it.
        recordings: the same, where the folders that are left aside have it all: those of whole recordings, in which a
            row that says its onset has its clip.
        worksheets: names of worksheets to look in first.
        from_folders: the entries of a dataset without a sheet, from its clip folders.
        whole_clips: a folder holds its clip and nothing else, so that its first and last frames are onset and offset
            where nothing else is said.
    """

    name: str
    title: str
    columns: Mapping[str, Column]
    entry: Callable[[Row], Entry | None]
    published: Callable[[Sequence[Sheet]], Published] | None = None
    aside: Aside = lambda parts: False
    recordings: Aside | None = None
    worksheets: tuple[str, ...] = ()
    from_folders: Callable[[FrameTree], Iterator[Entry]] | None = None
    whole_clips: bool = False


@dataclass(frozen=True)
class Options:
    """How to prepare.

    Attributes:
        frames: the folder of the frames, or below which the files are.
        sheets: the coding sheet of each split.
        crop: what to cut out of the frames.
        nearest: whether a missing frame is replaced by the nearest one.
        corrections: whether the known errors of the sheet are corrected.
        strict: whether a single fault is enough to prepare nothing.
        workers: threads.
        replace: whether to make clips again that are there.
        root: the data root; None for the user's.
    """

    frames: Path
    sheets: Mapping[str, Path] = field(default_factory=dict)
    crop: Cropper = field(default_factory=lambda: cropper("none"))
    nearest: bool = False
    corrections: bool = True
    strict: bool = False
    workers: int = 1
    replace: bool = False
    root: Path | None = None


@dataclass
class Report:
    """What came of a preparation.

    Attributes:
        folder: of the prepared dataset.
        info: its `info.json`.
        unchanged: nothing had to be done.
        reused: clips that were there from before.
    """

    folder: Path
    info: dict[str, Any]
    unchanged: bool = False
    reused: int = 0


@dataclass(frozen=True)
class Located:
    """An entry whose frames are found.

    Attributes:
        entry: with its corrections.
        onset, apex: files; the apex None where it has to be spotted.
        stretch: frame numbers and files from the onset to the offset, where the apex has to be spotted; else empty.
        apex_source: as in `Sample`.
        identity: changes with whatever the sample is made of.
    """

    entry: Entry
    onset: Path
    apex: Path | None
    stretch: tuple[tuple[int, Path], ...]
    apex_source: str
    identity: str


def prepare(dataset: Dataset, options: Options) -> Report:
    """Prepare a dataset: afterwards it is there as a whole, or nothing has changed.

    Clips that are prepared already, of the same row and files, are taken over; so are those that a run had finished
    when it was cut off. Memory does not grow with the dataset.

    Raises:
        InputError: the sheet or the folder cannot be used, no clip can, or, where `strict`, a single one cannot; with
            all faults of all clips.
        DataError: the dataset cannot be stored.
    """
    if options.workers < 1:
        raise InputError(f"expected at least one worker, found {options.workers}", where="--workers")
    faults: list[str] = []
    sheets: dict[str, Sheet] = {}
    for split, path in options.sheets.items():
        try:
            sheets[split] = read_sheet(path, dataset.columns, prefer=dataset.worksheets)
        except InputError as error:
            faults.append(str(error))
    tree: FrameTree | None = None
    if dataset.published is not None:
        try:
            tree = FrameTree(options.frames, dataset.aside)
        except InputError as error:
            faults.append(str(error))
            if dataset.recordings is not None and any("onset" in sheet.columns for sheet in sheets.values()):
                with suppress(InputError):
                    tree = FrameTree(options.frames, dataset.recordings)
                    faults.remove(str(error))
    if faults:
        raise InputError(faults)
    return _Conversion(dataset, options, sheets, tree).run()


class _Conversion:
    """One run: what it reads, and what it notes for `info.json`."""

    def __init__(self, dataset: Dataset, options: Options, sheets: Mapping[str, Sheet], tree: FrameTree | None) -> None:
        self.dataset, self.options, self.sheets, self.tree = dataset, options, sheets, tree
        self.corrections = shipped(dataset.name) if options.corrections else Corrections()
        self.skipped: list[dict[str, Any]] = []
        self.notes: dict[str, list[str]] = {}
        self.unread: dict[str, str] = {}
        self.corrected: list[dict[str, str]] = []
        self.made_from: dict[str, str] = {}
        self.apex_sources: Counter[str] = Counter()
        self.reused = 0
        for fault in tree.faults if tree else ():
            self._skip("", "--frames", fault)

    def run(self) -> Report:
        rows = [self._corrected(entry) for entry in self._entries()]
        self._any_folder(rows)
        entries = self._unique(rows)
        located = [found for entry in entries if (found := self._locate(entry))]
        if not located:
            raise self._refusal()
        self._note_mixture(located)
        folder = store.dataset_dir(self.dataset.name, self.options.root)
        clips = _unfinished(folder)
        store.sweep(self.dataset.name, self.options.root)
        if not clips.exists() and (report := self._unchanged(located, self._earlier())) is not None:
            return report  # before anything is written: the data root may be read-only by now
        with _alone(folder):
            if self.options.replace:
                shutil.rmtree(clips, ignore_errors=True)
            earlier = self._earlier()  # another process may have prepared it while we waited
            report = self._unchanged(located, earlier) or self._stored(located, earlier, clips)
            shutil.rmtree(clips, ignore_errors=True)
        return report

    def _earlier(self) -> _Earlier:
        return _Earlier() if self.options.replace else _Earlier(self.dataset.name, self.options.root)

    def _unchanged(self, located: Sequence[Located], earlier: _Earlier) -> Report | None:
        """The report if the dataset is prepared, of these clips and with these faults, and nothing is to be done."""
        wanted, info = {found.entry.id: found.identity for found in located}, self._info()
        same = earlier.holds(wanted, self.skipped) and all(earlier.info.get(key) == info[key] for key in _SAME)
        if not same or (self.options.strict and earlier.info.get("skipped")):
            return None
        folder = store.dataset_dir(self.dataset.name, self.options.root)
        return Report(folder, earlier.info, unchanged=True, reused=len(wanted))

    def _stored(self, located: Sequence[Located], earlier: _Earlier, clips: Path) -> Report:
        name, root = self.dataset.name, self.options.root
        self._check_room(located, earlier, clips)
        splits = dict.fromkeys(found.entry.split for found in located)
        with tqdm(total=len(located), desc=name, unit="clip") as progress:
            samples = {
                split: self._samples([f for f in located if f.entry.split == split], earlier, clips, progress)
                for split in splits
            }
            try:
                folder = store.write(name, self._strictly(samples, earlier), self._info(), root=root, exists="replace")
            except DataError as error:
                if not clips.exists():
                    raise
                told = f"{error} What is finished is kept for the next run in {clips}; without one, delete it."
                raise DataError(told) from error
        return Report(folder, store.read_info(name, root), reused=self.reused)

    def _check_room(self, located: Sequence[Located], earlier: _Earlier, clips: Path) -> None:
        """Say what disk is needed: each clip once in the dataset, and once more while it is made.

        Raises:
            DataError: there is too little for certain.
        """
        made_from = earlier.info.get("made_from", {})
        whole = new = 0
        for found in located:
            frames = [found.onset, *([found.apex] if found.apex else (file for _, file in found.stretch[-1:]))]
            size = sum(map(_size, frames))
            whole += size
            new += size * (made_from.get(found.entry.id) != found.identity)
        new = max(0, new - sum(map(_size, clips.glob("*.parquet"))))
        # a cut frame is stored anew, often smaller: only a fraction is certain
        least = (whole + new) // (1 if isinstance(self.options.crop, Whole) else 10)
        told = store.check_room(self.dataset.name, whole + new, self.options.root, least=least)
        print(f"{self.dataset.name}: {told}", file=sys.stderr)

    # ---- rows ----

    def _entries(self) -> Iterator[Entry]:
        if not self.sheets and self.dataset.from_folders and self.tree:
            yield from self.dataset.from_folders(self.tree)
        for split, sheet in self.sheets.items():
            rows = [(row, self.dataset.entry(row)) for row in sheet.rows]
            if faults := _columns_unread(sheet, units_alone=self.dataset.published is None):
                raise InputError(faults, where=str(sheet.path))
            for row, entry in rows:
                where = f"{sheet.path.name}, row {row.number}"
                if entry is not None and not row.faults:
                    yield replace(entry, where=where, split=split)
                else:
                    self._skip(entry.id if entry else "", where, *row.faults)

    def _unique(self, entries: Iterable[Entry]) -> list[Entry]:
        """Of rows with one id none is known to be right, unless they say the same."""
        by_id: dict[str, list[Entry]] = {}
        for entry in entries:
            by_id.setdefault(entry.id.lower(), []).append(entry)
        kept: list[Entry] = []
        for same in by_id.values():
            if len({repr(replace(entry, where="")) for entry in same}) == 1:
                kept.append(same[0])
                for entry in same[1:]:
                    self._skip(entry.id, entry.where, f"the clip is that of {same[0].where} once more")
                continue
            where = " and ".join(entry.where for entry in same)
            for entry in same:
                self._skip(entry.id, entry.where, f"{where} are one clip and say different things; correct the sheet")
        there = {entry.id for entry in kept}
        records = [record for at, record in enumerate(self.corrected) if record not in self.corrected[:at]]
        self.corrected = [record for record in records if record["id"] in there]
        return kept

    def _any_folder(self, entries: Sequence[Entry]) -> None:
        """Where nothing fits, the fault is of the folder or of the sheet, not of every row.

        Raises:
            InputError: no row has a folder, or every one that has any has two.
        """
        if self.tree is None:
            return
        found = [self.tree.find(*entry.names) for entry in entries]
        if not any(found) and len(found) > 1:
            wanted = "/".join(entries[0].names[0])
            sheets = " and ".join(str(sheet.path) for sheet in self.sheets.values()) or "the list"
            raise InputError(
                f"expected a folder of frames for each of the {len(found)} rows of {sheets}, found none for any; "
                f"{wanted} is looked for, and {self.tree.nearest(*entries[0].names)}. Is this the folder of "
                f"{self.dataset.title}, and the sheet that belongs to it?",
                where=str(self.tree.root),
            )
        twice = [folders for folders in found if len(folders) > 1]
        if len(twice) > 1 and len(twice) == sum(map(bool, found)):
            raise InputError(
                f"expected one folder of frames for each clip, found two, {twice[0][0]} and {twice[0][1]} for "
                "instance; name the folder of one kind (raw or cropped) with --frames",
                where=str(self.tree.root),
            )

    def _skip(self, clip: str, where: str, *reasons: str) -> None:
        self.skipped.append({"id": clip, "where": where, "reasons": list(reasons)})

    def _note_mixture(self, located: Sequence[Located]) -> None:
        """Note the clips whose frames are of another kind than most clips' (`reg_img`, cropped, among `img`, raw)."""
        kinds = {found.entry.id: re.sub("[^a-z]+", "", series(found.onset.name)) for found in located}
        (usual, _), *others = Counter(kinds.values()).most_common()
        if others and self.tree is not None:
            for clip, kind in kinds.items():
                if kind != usual:
                    self._note(
                        clip, f"frames named {kind}*, those of most clips {usual}*: are raw and cropped ones mixed?"
                    )

    def _fail(self, entry: Entry, error: InputError, identity: str | None = None) -> None:
        """Leave out a clip, with what was noted of it; the identity tells whether its frames are still the same."""
        self._skip(entry.id, entry.where, *(error.faults if error.where in ("", entry.id) else [str(error)]))
        if identity is not None:
            self.skipped[-1]["identity"] = identity
        self.notes.pop(entry.id, None)
        self.corrected[:] = [corrected for corrected in self.corrected if corrected["id"] != entry.id]

    def _note(self, clip: str, text: str) -> None:
        self.notes.setdefault(clip, []).append(text)

    # ---- frames ----

    def _locate(self, entry: Entry) -> Located | None:
        try:
            if entry.fault:
                raise InputError(entry.fault)
            if self.tree is None:
                return self._of_files(entry)
            behind = _behind(entry)
            if len(behind) > 1:
                raise InputError(_told_behind(entry, behind))
            try:
                folder = list_frames(self.tree.folder(*entry.names))
            except InputError as error:
                raise InputError([*([_told_behind(entry, behind)] if behind else []), *error.faults]) from None
            if folder.faults:
                raise InputError(folder.faults)
            for note in folder.notes:
                self._note(entry.id, note)
            return self._in_folder(entry, folder)
        except InputError as error:
            self._fail(entry, error)
        except OSError as error:
            self._fail(entry, _unreadable(error.filename, error))
        return None

    def _corrected(self, entry: Entry) -> Entry:
        for name in FIELDS:
            value = getattr(entry, name)
            if (found := self.corrections.find(entry.id, name, as_text(value))) is not None:
                new: Any = found.new or None
                if new is not None and name not in ("emotion", "au_code"):
                    new = None if new == "spotted" else int(new)
                changed = {name: new}
                if name == "onset" and entry.clip.endswith(f"_{value}"):  # clips that are named with their onset
                    clip = f"{entry.clip.removesuffix(str(value))}{new}"
                    names = (*_renamed(entry, clip), *entry.names)
                    changed |= {"id": f"{entry.id.removesuffix(entry.clip)}{clip}", "clip": clip, "names": names}
                entry = replace(entry, **changed)
                self._record(entry, found, value)
        return entry

    def _record(self, entry: Entry, correction: Correction, value: object) -> None:
        self.corrected.append(correction.applied_to(entry.id, value))

    def _in_folder(self, entry: Entry, folder: ClipFolder) -> Located:
        numbers = list(folder.files)
        if not numbers:
            raise InputError(f"expected frames in {folder.path}, found none")
        onset = numbers[0] if entry.onset is None else self._frame(entry, folder, "onset", entry.onset)
        whole = entry.offset is None and self.dataset.whole_clips and onset == numbers[0]
        offset = numbers[-1] if whole else self._offset(entry, folder, onset)
        apex, source = self._apex(entry, folder, onset, offset)
        stretch: tuple[tuple[int, Path], ...] = ()
        if apex is None:
            if offset is not None:
                last = max(offset, entry.apex or 0)  # of an apex behind the offset either may be wrong
            else:  # the folder may go on with other expressions
                last = numbers[-1] if entry.fps is None else onset + math.ceil(_LONGEST_S * entry.fps)
            stretch = tuple((number, file) for number, file in folder.files.items() if onset <= number <= last)
            if len(stretch) < 2:
                raise InputError(
                    f"expected frames after the onset {onset} to find the apex in, found none in {folder.path} "
                    f"({folder.span()})"
                )
        entry = replace(entry, onset=onset, apex=apex, offset=offset)
        files = [folder.files[onset], *([folder.files[apex]] if apex is not None else (f for _, f in stretch))]
        identity = self._identity(entry, files, source)
        return Located(
            entry, folder.files[onset], None if apex is None else folder.files[apex], stretch, source, identity
        )

    def _of_files(self, entry: Entry) -> Located:
        onset, apex = entry.onset_file, entry.apex_file
        assert onset is not None, "an entry without a folder names its files"
        for name, file in (("onset", onset), ("apex", apex)):
            if file is not None and not file.is_file():
                raise InputError(f"{name}: there is no file {file}; paths are relative to the folder of the table")
        if apex is not None and os.path.realpath(apex) == os.path.realpath(onset):
            raise InputError(f"apex: expected another frame than the onset, found {onset} for both")
        stretch: tuple[tuple[int, Path], ...] = ()
        first = frame_number(onset.name)
        last = frame_number(apex.name) if apex else None
        if apex and (apex.parent, series(apex.name)) == (onset.parent, series(onset.name)) and first is not None:
            if last is not None and last <= first:
                raise InputError(
                    f"apex: expected a frame after the onset {onset.name}, found {apex.name}; exchange them"
                )
            entry = replace(entry, onset=first, apex=last)
        if apex is None:
            folder = list_frames(onset.parent, like=onset.name)
            entry = replace(entry, onset=first)
            if folder.faults:
                raise InputError(folder.faults)
            stretch = tuple(
                (number, file) for number, file in folder.files.items() if first is not None and number >= first
            )
            if len(stretch) < 2:
                raise InputError(
                    f"expected numbered frames after {onset} to find the apex in, found none; name the apex"
                )
        source = "sheet" if apex else "spotted"
        identity = self._identity(entry, [onset, *([apex] if apex else (file for _, file in stretch))], source)
        return Located(entry, onset, apex, stretch, source, identity)

    def _frame(self, entry: Entry, folder: ClipFolder, name: str, number: int) -> int:
        if number in folder.files:
            return number
        nearest = folder.nearest(number)
        if not self.options.nearest:
            behind = _behind(entry) if name == "onset" else []
            raise InputError(
                ([_told_behind(entry, behind)] if behind else [])
                + [
                    f"{name}: expected frame {number} in {folder.path}, found {folder.span()}; correct the sheet, "
                    f"complete the folder, or take frame {nearest} by --nearest"
                ]
            )
        assert nearest is not None, "the folder holds frames"
        self._note(entry.id, f"{name}: frame {nearest} in place of {number}, which is missing")
        return nearest

    def _offset(self, entry: Entry, folder: ClipFolder, onset: int) -> int | None:
        """The offset is no frame that is shown: where it is wrong, it is unknown, and the clip stays."""
        numbers = list(folder.files)
        if entry.offset is None:
            return None
        if entry.offset <= onset:
            self._note(entry.id, f"offset: frame {entry.offset} is not after the onset {onset}, so it is unknown")
            return None
        if entry.offset <= numbers[-1]:
            return entry.offset
        found = self.corrections.find(entry.id, "offset", "outside")
        if found is not None and found.new == "last":
            self._record(entry, found, entry.offset)
            return numbers[-1]
        self._note(entry.id, f"offset: frame {entry.offset} is not in the folder ({folder.span()}), so it is unknown")
        return None

    def _apex(self, entry: Entry, folder: ClipFolder, onset: int, offset: int | None) -> tuple[int | None, str]:
        if entry.apex is None:
            return None, "spotted"
        low = onset if entry.onset is None else entry.onset
        last = None if entry.offset is None or entry.offset <= low else entry.offset
        if entry.apex <= low or (last is not None and entry.apex > last):
            side = f"not after the onset {low}" if entry.apex <= low else f"after the offset {last}"
            self._note(entry.id, f"apex: frame {entry.apex} is {side}, so the apex is spotted")
            return None, "spotted"
        apex = self._frame(entry, folder, "apex", entry.apex)
        if apex <= onset:
            raise InputError(f"apex: the frame nearest to {entry.apex} is the onset itself; complete {folder.path}")
        corrected = any(c["id"] == entry.id and c["field"] == "apex" for c in self.corrected)
        return apex, "corrected" if corrected else "sheet"

    def _identity(self, entry: Entry, files: Sequence[Path], apex_source: str) -> str:
        if closed := next((file for file in files if not os.access(file, os.R_OK)), None):
            raise InputError(f"{closed} cannot be read; check its permissions")
        stats = [(os.path.abspath(file), (status := file.stat()).st_size, status.st_mtime_ns) for file in files]
        row = {**asdict(entry), "where": "", "names": ""}
        made_of = [VERSION, row, apex_source, stats, self.options.crop.settings]
        return hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()[:32]

    # ---- samples ----

    def _samples(self, located: Sequence[Located], earlier: _Earlier, clips: Path, progress: tqdm) -> Iterator[Sample]:
        """The samples in order; a few clips are worked on at once, and no more are in memory."""
        waiting: deque[tuple[Located, _Made | Future[_Made]]] = deque()
        rest = iter(located)
        with ThreadPoolExecutor(self.options.workers, thread_name_prefix="prepare") as threads:
            try:
                while True:
                    while len(waiting) < 2 * self.options.workers and (found := next(rest, None)) is not None:
                        known = earlier.get(found)
                        waiting.append((found, known or threads.submit(self._made, found, clips)))
                    if not waiting:
                        return
                    found, made = waiting.popleft()
                    entry = found.entry
                    try:
                        sample, notes, reused = made.result() if isinstance(made, Future) else made
                    except InputError as error:
                        self._fail(entry, error, found.identity)
                    else:
                        self._keep(found, notes, reused)
                        yield sample
                    progress.update()
            finally:
                threads.shutdown(wait=True, cancel_futures=True)

    def _keep(self, found: Located, notes: Sequence[str], reused: bool) -> None:
        entry = found.entry
        self.made_from[entry.id] = found.identity
        self.reused += reused
        self.apex_sources[found.apex_source] += 1
        for note in notes:
            self._note(entry.id, note)
        if entry.emotion is None and any("emotion" in sheet.columns for sheet in self.sheets.values()) and self.tree:
            self._note(entry.id, "its label is empty, so it is unknown")
        codes = read_codes(entry.au_code)
        for part in codes.detail:
            if part.role == "gross":
                self._note(entry.id, f"units: {part.text} is {part.reason}")
        if codes.unread:
            self.unread[entry.id] = "; ".join(f"{part.text!r}: {part.reason}" for part in codes.unread)

    def _strictly(self, samples: Mapping[str, Iterator[Sample]], earlier: _Earlier) -> dict[str, Iterator[Sample]]:
        """The same; a refusal after the last sample, where there is no clip or there must be no fault."""
        last = list(samples)[-1]

        def checked(split: str) -> Iterator[Sample]:
            yield from samples[split]
            if split == last:
                earlier.close()
            if split == last and (not self.made_from or (self.options.strict and self.skipped)):
                raise self._refusal()

        return {split: checked(split) for split in samples}

    def _made(self, found: Located, clips: Path) -> _Made:
        file = clips / f"{found.identity}.parquet"
        if (saved := store.load_sample(file)) is not None:
            return *saved, True
        sample, notes = self._sample(found)
        clips.mkdir(parents=True, exist_ok=True)
        store.save_sample(file, sample, notes)
        return sample, notes, False

    def _sample(self, found: Located) -> tuple[Sample, list[str]]:
        entry, notes = found.entry, list[str]()
        onset = _bytes(found.onset)
        box, nose = None, None
        if not isinstance(self.options.crop, Whole):
            place = self.options.crop.find(entry.id, read_pixels(onset, str(found.onset)))
            box, nose = place.box, place.nose_in_crop()
        apex_number, apex_file = entry.apex, found.apex
        if apex_file is None:
            apex_number, apex_file, told = _spotted(found, box)
            notes += told
        frames = [onset, _bytes(apex_file)]
        if box is not None:
            frames = [cut(data, box, str(file)) for data, file in zip(frames, (found.onset, apex_file), strict=True)]
        (h, w), (other_h, other_w) = (
            read_pixels(data, str(file)).shape[:2] for data, file in zip(frames, (found.onset, apex_file), strict=True)
        )
        if (h, w) != (other_h, other_w):
            raise InputError(
                f"expected frames of one size, found {w}x{h} in {found.onset} and {other_w}x{other_h} in {apex_file}; "
                "cut all frames of the clip with one box"
            )
        codes = read_codes(entry.au_code)
        # A unit may be lost in what cannot be read, unless it holds no number.
        whole = not any(re.search(r"[0-9?]", part.text) or not part.text for part in codes.unread)
        sample = Sample(
            id=entry.id,
            dataset=self.dataset.name,
            subject=entry.subject,
            clip=entry.clip,
            onset=frames[0],
            apex=frames[1],
            onset_frame=entry.onset,
            apex_frame=apex_number,
            offset_frame=entry.offset,
            apex_source=found.apex_source,
            fps=entry.fps,
            au_code=codes.text or None,
            aus=tuple(codes.canonical() or ()) if codes.units is not None and whole else None,
            emotion=entry.emotion,
            coarse=None if entry.emotion is None else coarse(entry.emotion),
            objective_class=entry.objective_class,
            nose=nose,
        )
        return sample, notes

    # ---- what is told ----

    def _info(self) -> dict[str, Any]:
        """What goes into `info.json`; its lists fill up while the samples are made."""
        sheets = {
            split: {
                "file": sheet.path.name,
                "worksheet": sheet.worksheet,
                "sha256": sheet.sha256,
                "rows": len(sheet.rows),
            }
            for split, sheet in self.sheets.items()
        }
        named = ", ".join(dict.fromkeys(sheet.path.name for sheet in self.sheets.values())) or "its folders"
        return {
            "source": f"{self.dataset.title}: {named}, frames in {self.options.frames.resolve()}",
            "title": self.dataset.title,
            "sheets": sheets,
            "frames": str(self.options.frames.resolve()),
            "crop": self.options.crop.settings,
            "published": self.dataset.published and asdict(self.dataset.published(list(self.sheets.values()))),
            "corrections": self.corrected,
            "skipped": self.skipped,
            "notes": self.notes,
            "unread_codes": self.unread,
            "apex_sources": self.apex_sources,
            "made_from": self.made_from,
        }

    def _refusal(self) -> InputError:
        told = by_cause(self.skipped) if self.tree is None else [told_skipped(skipped) for skipped in self.skipped]
        head = (
            "not one clip can be prepared" if not self.made_from and not self.options.strict else "nothing is prepared"
        )
        return InputError(told or ["expected clips, found none"], where=f"{self.dataset.title}: {head}")


_Made = tuple[Sample, list[str], bool]  # with its notes, and whether it was there already


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process prepares this dataset meanwhile; the finished clips of a run lie in one place."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = ProcessLock(folder.parent / f".{folder.name}.clips.lock")
        lock.acquire()
    except OSError as error:
        raise DataError(
            f"the dataset {folder.name!r} cannot be stored in {folder.parent} ({error}); check its permissions, or "
            "choose another folder: --out, or the environment variable MELLM_DATA"
        ) from error
    try:
        yield
    finally:
        lock.release()


def discard(name: str, root: Path | None = None) -> None:
    """Remove the clips that a preparation had finished when it was refused or cut off; without them it starts anew.

    Raises:
        DataError: the folder cannot be written to.
    """
    folder = store.dataset_dir(name, root)
    if _unfinished(folder).exists():
        with _alone(folder):
            shutil.rmtree(_unfinished(folder), ignore_errors=True)


def _unfinished(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.clips"


class _Earlier:
    """The clips of the dataset as it is prepared now, if it is."""

    def __init__(self, name: str = "", root: Path | None = None) -> None:
        self.info: dict[str, Any] = {}
        self._rows: list[store.StoredRows] = []
        # What is damaged is made again, not carried over.
        if name and store.is_prepared(name, root) and store.is_whole(name, root):
            try:
                info = store.read_info(name, root)
                self._rows = [store.StoredRows(name, split, root) for split in info["splits"]]
                self.info = info
            except DataError:
                self._rows = []  # damaged: made again

    def close(self) -> None:
        for rows in self._rows:
            rows.close()

    def holds(self, wanted: Mapping[str, str], skipped: Sequence[Mapping[str, Any]]) -> bool:
        """Whether it is what would be made now: of the same rows and files, with the same faults."""
        failed = {s["id"]: s["identity"] for s in self.info.get("skipped", ()) if "identity" in s}
        others = [s for s in self.info.get("skipped", ()) if "identity" not in s]
        return bool({**failed, **self.info.get("made_from", {})} == wanted and others == list(skipped))

    def get(self, found: Located) -> _Made | None:
        """The clip, if it was made from the same row and files."""
        clip = found.entry.id
        if self.info.get("made_from", {}).get(clip) != found.identity:
            return None
        try:
            sample = next((sample for rows in self._rows if (sample := rows.get(clip)) is not None), None)
        except DataError:
            return None  # damaged since: made again
        spotted = [note for note in self.info.get("notes", {}).get(clip, ()) if note.startswith(_SPOTTED)]
        return None if sample is None else (sample, spotted, True)


def _columns_unread(sheet: Sheet, units_alone: bool) -> list[str]:
    """The columns of which not one cell can be read, a sentence each: something else stands there.

    Args:
        sheet: whose rows have been read, with their faults.
        units_alone: of a user's table, whose files may be missing for many reasons.
    """
    faults: list[str] = []
    for key, name in sheet.columns.items():
        reasons: list[str] = []
        read = False
        for row in sheet.rows:
            text = row.text(key)
            if text is None or is_missing(text) or (units_alone and key != "aus"):
                continue
            told = next((fault for fault in row.faults if fault.startswith(f"{name}: ")), "")
            if not told and key == "aus":
                codes = read_codes(row.raw(key))
                told = "" if codes.units is not None else f"{name}: {codes.unread[0].text!r}: {codes.unread[0].reason}"
            read |= not told
            reasons += [f"row {row.number}: {told}"] if told else []
        if len(reasons) > 1 and not read:
            faults.append(
                f"the column {name!r} cannot be read, in not one of {len(sheet.rows)} rows; is it another one? "
                f"{reasons[0]}"
            )
    return faults


def _behind(entry: Entry) -> list[str]:
    """What a row's onset lies behind, though it comes first; 0 is no frame number, but where clips begin with it."""
    frames = (("apex", entry.apex), ("offset", entry.offset))
    return [f"the {name} {frame}" for name, frame in frames if frame and entry.onset and frame < entry.onset]


def _told_behind(entry: Entry, behind: Sequence[str]) -> str:
    return f"onset: frame {entry.onset} lies behind {' and '.join(behind)}; correct the sheet"


def _renamed(entry: Entry, clip: str) -> Iterator[Names]:
    """The names of an entry for which its clip's stands, with another."""
    for *before, last in entry.names:
        if last.lower().endswith(entry.clip):
            yield (*before, f"{last[: len(last) - len(entry.clip)]}{clip}")


def told_skipped(skipped: Mapping[str, Any]) -> str:
    """A skipped clip of `info.json` in a line: where it stands, which it is, and why."""
    where = ", ".join(str(part) for part in (skipped["where"], skipped["id"]) if part)
    return f"{where}: {'; '.join(skipped['reasons'])}"


def differences(info: Mapping[str, Any]) -> list[str]:
    """What is otherwise than published, a line each; the first of each split says how many clips there are.

    Args:
        info: the `info.json` of a dataset that was converted.
    """
    published, splits = info.get("published"), info["splits"]
    if published is None:
        return []
    several = len(published["clips"]) > 1
    told = []
    for split, expected in published["clips"].items():
        clips = splits[split]["clips"] if split in splits else 0
        told.append(f"{published['title']}{f', {split}' if several else ''}: {clips} of {expected} clips")
    found: Counter[str] = Counter()
    for entry in splits.values():
        found.update(entry["emotions"])
    if published["subjects"] is not None and not several:
        subjects = sum(entry["subjects"] for entry in splits.values())
        if subjects != published["subjects"]:
            told.append(f"subjects: {subjects}, published {published['subjects']}")
    for label in sorted({*found, *published["emotions"]}) if published["emotions"] else ():
        if found[label] != published["emotions"].get(label, 0):
            told.append(f"{label}: {found[label]}, published {published['emotions'].get(label, 0)}")
    return told


# ---- frames ----

_SPOTTED = "apex spotted: "


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from error


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # gone since: told when it is read
        return 0


def _unreadable(file: object, error: OSError) -> InputError:
    return InputError(f"{file} cannot be read ({error.strerror or error}); check its permissions, or copy it again")


def _spotted(found: Located, box: Box | None) -> tuple[int, Path, list[str]]:
    """The apex among the frames from the onset on: number, file, and what there is to note."""
    if len(found.stretch) > _LONGEST:
        raise InputError(
            f"expected at most {_LONGEST} frames to find the apex in, found {len(found.stretch)}; give its offset, or "
            "its apex, in the sheet"
        )
    small = [_for_spotting(file, box) for _, file in found.stretch]
    sizes = Counter(frame.shape for frame in small)
    if len(sizes) > 1:
        odd = next(file for (_, file), frame in zip(found.stretch, small, strict=True) if frame.shape != small[0].shape)
        raise InputError(
            f"expected frames of one size, found another in {odd} than in {found.onset}; cut all frames of the clip "
            "with one box"
        )
    spotted = spot(np.stack(small))
    index, reason = spotted.apex, spotted.reason
    if index is None:
        # The sheet says that something moves: the strongest moment of what little there is.
        after = spotted.curve[1:]
        if not np.isfinite(after).any():
            raise InputError(f"the apex cannot be spotted: {reason}; give it in the sheet")
        index = 1 + int(np.nanargmax(after))
        reason = f"{reason}; the strongest moment was taken"
    number, file = found.stretch[index]
    return number, file, [f"{_SPOTTED}{reason}"] if reason else []


def _for_spotting(file: Path, box: Box | None) -> npt.NDArray[np.uint8]:
    pixels = read_pixels(file)
    if box is not None:
        pixels = pixels[box.top : box.bottom, box.left : box.right]
    grey = to_grey(pixels, 8 if pixels.dtype == np.uint8 else 16)
    scale = _SPOTTING_SIDE / max(grey.shape)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)
