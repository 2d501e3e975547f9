"""From coding sheets and folders of frames to a prepared dataset; the same way for every dataset.

    row -> Entry (entry.py) -> corrected, unique -> Located (located.py) -> Sample (make_sample.py) -> store.py

A fault in a row or its frames skips that clip alone; all faults are reported at the end and kept in `info.json`.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mellm_plugin.datasets import store
from mellm_plugin.datasets.corrections import FIELDS, Corrections, shipped
from mellm_plugin.datasets.crop import Cropper, Whole
from mellm_plugin.datasets.disk import check_room
from mellm_plugin.datasets.entry import Dataset, Entry
from mellm_plugin.datasets.frames import FrameTree, Names, series
from mellm_plugin.datasets.located import Located, Locator
from mellm_plugin.datasets.make_sample import make_sample
from mellm_plugin.datasets.reuse import Earlier, Finished, file_size
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.datasets.sheets import Sheet, as_text, is_missing, read_sheet
from mellm_plugin.datasets.skipped import by_cause, one_line
from mellm_plugin.errors import DataError, InputError
from mellm_plugin.facs.codes import read_codes
from mellm_plugin.motion.average import DEFAULT_MS, check_ms

_SAME = ("sheets", "frames", "crop", "average")
"""Parts of `info.json` that must match, beside every clip's identity, to reuse all."""

_PNG_OF_JPEG = 4  # the size of an average as PNG, as a multiple of a frame's as JPEG of quality 95


@dataclass(frozen=True)
class Options:
    """How to prepare."""

    frames: Path  # folder of the frames, or of the files that a table names
    sheets: Mapping[str, Path] = field(default_factory=dict)  # coding sheet per split
    crop: Cropper = field(default_factory=Whole)
    nearest: bool = False  # whether the nearest frame replaces a missing one
    corrections: bool = True  # whether known errors of the sheet are corrected
    average: float = DEFAULT_MS  # how far neighbours may be that are averaged with onset and apex, ms; 0: they are not
    strict: bool = False  # whether any fault prevents the preparation
    workers: int = 1  # threads
    replace: bool = False  # whether to make existing clips again
    root: Path | None = None  # the data root; None for the user's


@dataclass
class Report:
    """Result of a preparation: the folder of the dataset, and its `info.json`."""

    folder: Path
    info: dict[str, Any]
    unchanged: bool = False  # whether nothing had to be done
    reused: int = 0  # clips taken over from before


def prepare(dataset: Dataset, options: Options) -> Report:
    """Prepare a dataset in one step: it appears as a whole, or nothing changes.

    Clips of the same row and files are taken over from the prepared dataset, or from a run that was interrupted.
    Memory does not grow with the dataset.

    Raises:
        InputError: the sheet or the folder is unusable, every clip has a fault, or, where `strict`, any has; with all
            faults of all clips.
        DataError: the dataset cannot be stored.
    """
    if options.workers < 1:
        raise InputError(f"expected at least one worker, found {options.workers}", where="--workers")
    check_ms(options.average)
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
    """One run: its input, and what it collects for `info.json`."""

    def __init__(self, dataset: Dataset, options: Options, sheets: Mapping[str, Sheet], tree: FrameTree | None) -> None:
        self.dataset, self.options, self.sheets, self.tree = dataset, options, sheets, tree
        self.corrections = shipped(dataset.name) if options.corrections else Corrections()
        how = options.crop.settings, options.average
        self.locator = Locator(tree, options.nearest, dataset.whole_clips, self.corrections, *how)
        self.finished = Finished(store.dataset_dir(dataset.name, options.root))
        self.skipped: list[dict[str, Any]] = []
        self.notes: dict[str, list[str]] = {}
        self.unread: dict[str, str] = {}
        self.corrected: list[dict[str, str]] = []
        self.made_from: dict[str, str] = {}
        self.apex_sources: Counter[str] = Counter()
        self.averaged: Counter[str] = Counter()
        self.reused = 0
        for fault in tree.faults if tree else ():
            self._skip("", "--frames", fault)

    def run(self) -> Report:
        rows = [self._corrected(entry) for entry in self._entries()]
        self._check_folders(rows)  # first: the rows of another dataset's sheet may all look like one clip
        entries = self._unique(rows)
        located = [found for entry in entries if (found := self._locate(entry))]
        if not located:
            raise self._refusal()
        self._note_mixture(located)
        store.sweep(self.dataset.name, self.options.root)
        if not self.finished.exists() and (report := self._unchanged(located, self._earlier())) is not None:
            return report  # before anything is written: the data root may be read-only by now
        with self.finished.alone():
            if self.options.replace:
                self.finished.remove()
            earlier = self._earlier()  # another process may have prepared it while we waited
            report = self._unchanged(located, earlier) or self._stored(located, earlier)
            self.finished.remove()
        return report

    def _earlier(self) -> Earlier:
        return Earlier() if self.options.replace else Earlier(self.dataset.name, self.options.root)

    def _unchanged(self, located: Sequence[Located], earlier: Earlier) -> Report | None:
        """The report, if the dataset is already prepared from these clips with the same faults."""
        wanted, info = {found.entry.id: found.identity for found in located}, self._info()
        same = earlier.holds(wanted, self.skipped) and all(earlier.info.get(key) == info[key] for key in _SAME)
        if not same or (self.options.strict and earlier.info.get("skipped")):
            return None
        folder = store.dataset_dir(self.dataset.name, self.options.root)
        return Report(folder, earlier.info, unchanged=True, reused=len(wanted))

    def _stored(self, located: Sequence[Located], earlier: Earlier) -> Report:
        name, root = self.dataset.name, self.options.root
        self._check_room(located, earlier)
        by_split: dict[str, list[Located]] = {}
        for found in located:
            by_split.setdefault(found.entry.split, []).append(found)
        with tqdm(total=len(located), desc=name, unit="clip") as progress:
            samples = {split: self._samples(clips, earlier, progress) for split, clips in by_split.items()}
            try:
                folder = store.write(name, self._checked(samples, earlier), self._info(), root=root, exists="replace")
            except DataError as error:
                if not self.finished.exists():
                    raise
                kept = f"Finished clips are kept for the next run in {self.finished.folder}; delete it to free space."
                raise DataError(f"{error} {kept}") from error
        return Report(folder, store.read_info(name, root), reused=self.reused)

    def _check_room(self, located: Sequence[Located], earlier: Earlier) -> None:
        """Report the disk space needed: each clip once in the dataset, and once more while it is made.

        Raises:
            DataError: there is certainly too little.
        """
        made_from = earlier.info.get("made_from", {})
        whole = new = 0
        for found in located:
            frames = [found.onset, *([found.apex] if found.apex else (file for _, file in found.stretch[-1:]))]
            jpeg = found.onset.suffix.lower() in (".jpg", ".jpeg")
            size = sum(map(file_size, frames)) * (_PNG_OF_JPEG if found.around and jpeg else 1)
            whole += size
            new += size * (made_from.get(found.entry.id) != found.identity)
        needed = whole + max(0, new - self.finished.size())
        # a cut or averaged frame is encoded again, often smaller: only a fraction is certain
        as_they_are = isinstance(self.options.crop, Whole) and not any(found.around for found in located)
        least = needed // (1 if as_they_are else 10)
        check_room(self.dataset.name, needed, self.options.root, least=least)

    def _entries(self) -> Iterator[Entry]:
        if not self.sheets and self.dataset.from_folders and self.tree:
            yield from self.dataset.from_folders(self.tree)
        for split, sheet in self.sheets.items():
            rows = [(row, self.dataset.entry(row)) for row in sheet.rows]
            if faults := _unreadable_columns(sheet, units_alone=self.dataset.published is None):
                raise InputError(faults, where=str(sheet.path))
            for row, entry in rows:
                where = f"{sheet.path.name}, row {row.number}"
                if entry is not None and not row.faults:
                    yield replace(entry, where=where, split=split)
                else:
                    self._skip(entry.id if entry else "", where, *row.faults)

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
                self.corrected.append(found.applied_to(entry.id, value))
        return entry

    def _unique(self, entries: Iterable[Entry]) -> list[Entry]:
        """Each id once. Rows with the same id are skipped unless they agree: nobody knows which is right."""
        by_id: dict[str, list[Entry]] = {}
        for entry in entries:
            by_id.setdefault(entry.id.lower(), []).append(entry)
        kept: list[Entry] = []
        for same in by_id.values():
            reason = f"repeats the clip of {same[0].where}"
            if len({repr(replace(entry, where="")) for entry in same}) == 1:
                kept.append(same.pop(0))
            else:
                where = " and ".join(entry.where for entry in same)
                reason = f"{where} are one clip and say different things; correct the sheet"
            for entry in same:
                self._skip(entry.id, entry.where, reason)
        there = {entry.id for entry in kept}
        records = [record for at, record in enumerate(self.corrected) if record not in self.corrected[:at]]
        self.corrected = [record for record in records if record["id"] in there]
        return kept

    def _check_folders(self, entries: Sequence[Entry]) -> None:
        """Refuse a folder or a sheet that fits no row, instead of skipping every row.

        Raises:
            InputError: no row has a folder, or every row that has any has two.
        """
        if self.tree is None:
            return
        found = [self.tree.find(*entry.names) for entry in entries]
        if not any(found) and len(found) > 1:
            wanted = "/".join(entries[0].names[0])
            sheets = " and ".join(str(sheet.path) for sheet in self.sheets.values()) or "the list"
            problem = f"expected a folder of frames for each of the {len(found)} rows of {sheets}, found none for any"
            nearest = f"{wanted} is looked for, and {self.tree.nearest(*entries[0].names)}"
            question = f"Is this the folder of {self.dataset.title}, and the sheet that belongs to it?"
            raise InputError(f"{problem}; {nearest}. {question}", where=str(self.tree.root))
        twice = [folders for folders in found if len(folders) > 1]
        if len(twice) > 1 and len(twice) == sum(map(bool, found)):
            problem = (
                f"expected one folder of frames for each clip, found two, {twice[0][0]} and {twice[0][1]} for instance"
            )
            advice = "name the folder of one kind (raw or cropped) with --frames"
            raise InputError(f"{problem}; {advice}", where=str(self.tree.root))

    def _locate(self, entry: Entry) -> Located | None:
        apex_corrected = any(c["id"] == entry.id and c["field"] == "apex" for c in self.corrected)
        try:
            found = self.locator.locate(entry, apex_corrected)
        except InputError as error:
            self._fail(entry, error)
            return None
        self._note(entry.id, *found.notes)
        self.corrected += found.corrected
        return found

    def _note_mixture(self, located: Sequence[Located]) -> None:
        """Note clips whose frames are named unlike those of most clips: `reg_img` (cropped) among `img` (raw)."""
        kinds = {found.entry.id: re.sub("[^a-z]+", "", series(found.onset.name)) for found in located}
        usual = Counter(kinds.values()).most_common(1)[0][0]
        for clip, kind in kinds.items() if self.tree is not None else ():
            if kind != usual:
                self._note(clip, f"frames named {kind}*, those of most clips {usual}*: are raw and cropped ones mixed?")

    def _samples(self, located: Sequence[Located], earlier: Earlier, progress: tqdm) -> Iterator[Sample]:
        """The samples in order. Only a few clips are worked on, and held in memory, at once."""
        waiting: deque[tuple[Located, Future[_Made] | _Made]] = deque()
        rest = iter(located)
        with ThreadPoolExecutor(self.options.workers, thread_name_prefix="prepare") as threads:
            try:
                while True:
                    while len(waiting) < 2 * self.options.workers and (found := next(rest, None)) is not None:
                        known = earlier.get(found)
                        waiting.append((found, (*known, True) if known else threads.submit(self._made, found)))
                    if not waiting:
                        return
                    found, made = waiting.popleft()
                    try:
                        sample, notes, reused = made.result() if isinstance(made, Future) else made
                    except InputError as error:
                        self._fail(found.entry, error, found.identity)
                    else:
                        self._keep(found, sample.apex_frame, notes, reused)
                        yield sample
                    progress.update()
            finally:
                threads.shutdown(wait=True, cancel_futures=True)

    def _made(self, found: Located) -> _Made:
        if (saved := self.finished.load(found.identity)) is not None:
            return *saved, True
        sample, notes = make_sample(found, self.dataset.name, self.options.crop)
        self.finished.save(found.identity, sample, notes)
        return sample, notes, False

    def _keep(self, found: Located, apex: int | None, notes: Sequence[str], reused: bool) -> None:
        entry = found.entry
        self.made_from[entry.id] = found.identity
        self.reused += reused
        self.apex_sources[found.apex_source] += 1
        if self.options.average:
            none = found.alone or "there are no frames beside onset and apex"
            self.averaged["averaged" if any(found.neighbours(apex)) else none] += 1
        self._note(entry.id, *notes)
        if entry.emotion is None and any("emotion" in sheet.columns for sheet in self.sheets.values()) and self.tree:
            self._note(entry.id, "its label is empty, so it is unknown")
        codes = read_codes(entry.au_code)
        self._note(entry.id, *(f"units: {p.text} is {p.reason}" for p in codes.detail if p.role == "gross"))
        if codes.unread:
            self.unread[entry.id] = "; ".join(f"{part.text!r}: {part.reason}" for part in codes.unread)

    def _checked(self, samples: Mapping[str, Iterator[Sample]], earlier: Earlier) -> dict[str, Iterator[Sample]]:
        """The same samples; after the last one, refuse if there is no clip, or any fault where `strict`."""
        last = list(samples)[-1]

        def checked(split: str) -> Iterator[Sample]:
            yield from samples[split]
            if split == last:
                earlier.close()
                if not self.made_from or (self.options.strict and self.skipped):
                    raise self._refusal()

        return {split: checked(split) for split in samples}

    def _skip(self, clip: str, where: str, *reasons: str) -> None:
        self.skipped.append({"id": clip, "where": where, "reasons": list(reasons)})

    def _fail(self, entry: Entry, error: InputError, identity: str | None = None) -> None:
        """Skip a clip and drop its notes; the identity tells a later run whether its frames are still the same."""
        self._skip(entry.id, entry.where, *(error.faults if error.where in ("", entry.id) else [str(error)]))
        if identity is not None:
            self.skipped[-1]["identity"] = identity
        self.notes.pop(entry.id, None)
        self.corrected[:] = [corrected for corrected in self.corrected if corrected["id"] != entry.id]

    def _note(self, clip: str, *texts: str) -> None:
        if texts:
            self.notes.setdefault(clip, []).extend(texts)

    def _info(self) -> dict[str, Any]:
        """The content of `info.json`; its lists fill up while the samples are made."""
        sheets = {
            split: dict(file=sheet.path.name, worksheet=sheet.worksheet, sha256=sheet.sha256, rows=len(sheet.rows))
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
            "average": self.options.average,
            "averaged": self.averaged,
            "made_from": self.made_from,
        }

    def _refusal(self) -> InputError:
        faults = by_cause(self.skipped) if self.tree is None else list(map(one_line, self.skipped))
        none = not self.made_from and not self.options.strict
        head = "not one clip can be prepared" if none else "nothing is prepared"
        return InputError(faults or ["expected clips, found none"], where=f"{self.dataset.title}: {head}")


_Made = tuple[Sample, list[str], bool]  # with its notes, and whether it existed already


def _unreadable_columns(sheet: Sheet, units_alone: bool) -> list[str]:
    """Columns without a single readable cell, a sentence each: probably another column was taken.

    Call it when the rows are read. `units_alone` is for a user's table, whose files may be missing for many reasons.
    """
    faults: list[str] = []
    for key, name in sheet.columns.items():
        reasons: list[str] = []  # a row with content each; empty where it is read
        for row in sheet.rows if key == "aus" or not units_alone else ():
            text = row.text(key)
            if text is None or is_missing(text):
                continue
            reason = next((f"row {row.number}: {f}" for f in row.faults if f.startswith(f"{name}: ")), "")
            if not reason and key == "aus" and (codes := read_codes(row.raw(key))).units is None:
                reason = f"row {row.number}: {name}: {codes.unread[0].text!r}: {codes.unread[0].reason}"
            reasons.append(reason)
        if len(reasons) > 1 and all(reasons):
            what = f"in not one of {len(sheet.rows)} rows; is it another one? {reasons[0]}"
            faults.append(f"the column {name!r} cannot be read, {what}")
    return faults


def _renamed(entry: Entry, clip: str) -> Iterator[Names]:
    """The folder names of an entry that end in its clip's name, with another name in its place."""
    for *before, last in entry.names:
        if last.lower().endswith(entry.clip):
            yield (*before, f"{last[: len(last) - len(entry.clip)]}{clip}")
