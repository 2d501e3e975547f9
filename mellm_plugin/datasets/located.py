"""From an entry to the files of its frames: folder found, frame numbers checked, apex left open where it is unknown."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from mellm_plugin.datasets.corrections import Corrections
from mellm_plugin.datasets.entry import Entry
from mellm_plugin.datasets.frames import ClipFolder, FrameTree, frame_number, list_frames, series
from mellm_plugin.errors import InputError
from mellm_plugin.motion.average import DEFAULT_MS, windows

VERSION = 1
"""Version of the conversion; clips that another version made are made again."""

_LONGEST_S = 0.5  # duration of a micro-expression, s


@dataclass(frozen=True)
class Located:
    """An entry whose frames are found. `notes` and `corrected` go to `info.json`."""

    entry: Entry  # with the frame numbers that were found
    onset: Path
    apex: Path | None  # None: to be spotted in the stretch
    stretch: tuple[tuple[int, Path], ...]  # frame numbers and files from onset to offset; empty if the apex is known
    apex_source: str  # as in `Sample`
    identity: str  # digest of everything the sample is made from
    notes: tuple[str, ...] = ()
    corrected: tuple[dict[str, str], ...] = ()  # corrections that only the frames could trigger
    average: float = 0.0  # how far neighbours of onset and apex may be that are averaged with it, ms; 0: they are not
    around: Mapping[int, Path] = field(default_factory=dict)  # frames near onset and apex, by number
    alone: str = ""  # why there are none

    def neighbours(self, apex: int | None) -> tuple[list[Path], list[Path]]:
        """The frames that are averaged with the onset and with the apex, whose number is this."""
        if not self.around or self.entry.onset is None or apex is None:
            return [], []
        both = windows(self.entry.onset, apex, self.entry.fps, self.average)
        beside = (
            [self.around[number] for number in window if number != at and number in self.around]
            for at, window in zip((self.entry.onset, apex), both, strict=True)
        )
        of_onset, of_apex = beside
        return of_onset, of_apex


@dataclass
class Locator:
    """Finds the frames of entries."""

    tree: FrameTree | None  # None: the entries name files
    nearest: bool  # whether the nearest frame replaces a missing one
    whole_clips: bool  # as in `Dataset`
    corrections: Corrections
    crop: Mapping[str, object]  # settings; part of a clip's identity
    average: float = DEFAULT_MS  # as in `Located`

    def locate(self, entry: Entry, apex_corrected: bool = False) -> Located:
        """Find the frames of a corrected entry; `apex_corrected` if a correction changed its apex.

        Raises:
            InputError: folder or frames are missing, ambiguous or unreadable, or the row contradicts itself.
        """
        try:
            if entry.fault:
                raise InputError(entry.fault)
            if self.tree is None:
                return self._named_files(entry)
            contradictions, behind = _before_onset(entry)
            if behind > 1:
                raise InputError(contradictions)
            try:
                folder = list_frames(self.tree.folder(*entry.names))
            except InputError as error:
                raise InputError([*contradictions, *error.faults]) from None
            if folder.faults:
                raise InputError(folder.faults)
            return _InFolder(self, entry, folder, apex_corrected).located()
        except OSError as error:
            raise unreadable(error.filename, error) from error

    def _named_files(self, entry: Entry) -> Located:
        onset, apex = entry.onset_file, entry.apex_file
        assert onset is not None, "an entry without a folder names its files"
        for name, file in (("onset", onset), ("apex", apex)):
            if file is not None and not file.is_file():
                raise InputError(f"{name}: there is no file {file}; paths are relative to the folder of the table")
        if apex is not None and os.path.realpath(apex) == os.path.realpath(onset):
            raise InputError(f"apex: expected another frame than the onset, found {onset} for both")
        first = frame_number(onset.name)
        if apex is not None:
            if (apex.parent, series(apex.name)) == (onset.parent, series(onset.name)) and first is not None:
                last = frame_number(apex.name)
                if last is not None and last <= first:
                    what = f"expected a frame after the onset {onset.name}, found {apex.name}; exchange them"
                    raise InputError(f"apex: {what}")
                entry = replace(entry, onset=first, apex=last)
            return self.found(entry, onset, apex, (), "sheet")
        folder = list_frames(onset.parent, like=onset.name)
        if folder.faults:
            raise InputError(folder.faults)
        stretch = tuple((n, file) for n, file in folder.files.items() if first is not None and n >= first)
        if len(stretch) < 2:
            raise InputError(f"expected numbered frames after {onset} to find the apex in, found none; name the apex")
        return self.found(replace(entry, onset=first), onset, None, stretch, "spotted", folder.files)

    def found(
        self,
        entry: Entry,
        onset: Path,
        apex: Path | None,
        stretch: tuple[tuple[int, Path], ...],
        source: str,
        folder: Mapping[int, Path] | None = None,
    ) -> Located:
        """The located entry; `folder` are the frames of its folder, None where single files are named."""
        files = [onset, *([apex] if apex else (file for _, file in stretch))]
        if closed := next((file for file in files if not os.access(file, os.R_OK)), None):
            raise InputError(f"{closed} cannot be read; check its permissions")
        stats = [(os.path.abspath(file), (status := file.stat()).st_size, status.st_mtime_ns) for file in files]
        row = {**asdict(entry), "where": "", "names": ""}
        made_of = [VERSION, row, source, stats, self.crop]
        around, alone = self._around(entry, folder, stretch)
        if around:
            made_of += [self.average, [_state(file) for file in around.values()]]
        identity = hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()[:32]
        return Located(entry, onset, apex, stretch, source, identity, average=self.average, around=around, alone=alone)

    def _around(
        self, entry: Entry, folder: Mapping[int, Path] | None, stretch: tuple[tuple[int, Path], ...]
    ) -> tuple[dict[int, Path], str]:
        """Frames that may be averaged with onset and apex, by number; if there are none, why."""
        if self.average == 0:
            return {}, ""
        if folder is None:
            return {}, "its files are named one by one"
        if entry.fps is None:
            return {}, "its frame rate is unknown"
        last = entry.apex if entry.apex is not None else stretch[-1][0]
        assert entry.onset is not None, "the frames of a folder are numbered"
        first, second = windows(entry.onset, last, entry.fps, self.average)
        if len(first) == 1:
            return {}, f"{entry.fps:g} frames a second are too few"
        wanted = {*first, *second} if entry.apex is not None else {*range(first.start, second.stop)}
        around = {number: file for number, file in folder.items() if number in wanted - {entry.onset, entry.apex}}
        return around, "" if around else "there are no frames beside onset and apex"


@dataclass
class _InFolder:
    """One clip in its folder; what is odd about it goes into `notes`."""

    locator: Locator
    entry: Entry
    folder: ClipFolder
    apex_corrected: bool
    notes: list[str] = field(default_factory=list)
    corrected: list[dict[str, str]] = field(default_factory=list)

    def located(self) -> Located:
        entry, folder = self.entry, self.folder
        self.notes += folder.notes
        numbers = list(folder.files)
        if not numbers:
            raise InputError(f"expected frames in {folder.path}, found none")
        onset = numbers[0] if entry.onset is None else self._frame("onset", entry.onset)
        whole = entry.offset is None and self.locator.whole_clips and onset == numbers[0]
        offset = numbers[-1] if whole else self._offset(onset)
        apex = self._apex(onset)
        source = "spotted" if apex is None else "corrected" if self.apex_corrected else "sheet"
        stretch: tuple[tuple[int, Path], ...] = ()
        if apex is None:
            if offset is not None:
                last = max(offset, entry.apex or 0)  # if the apex lies behind the offset, either may be wrong
            else:  # the folder may continue with other expressions
                last = numbers[-1] if entry.fps is None else onset + math.ceil(_LONGEST_S * entry.fps)
            stretch = tuple((number, file) for number, file in folder.files.items() if onset <= number <= last)
            if len(stretch) < 2:
                raise InputError(
                    f"expected frames after the onset {onset} to find the apex in, found none in {folder.path} "
                    f"({folder.span()})"
                )
        entry = replace(entry, onset=onset, apex=apex, offset=offset)
        apex_file = None if apex is None else folder.files[apex]
        found = self.locator.found(entry, folder.files[onset], apex_file, stretch, source, folder.files)
        return replace(found, notes=tuple(self.notes), corrected=tuple(self.corrected))

    def _frame(self, name: str, number: int) -> int:
        folder = self.folder
        if number in folder.files:
            return number
        nearest = folder.nearest(number)
        if not self.locator.nearest:
            absent = (
                f"{name}: expected frame {number} in {folder.path}, found {folder.span()}; correct the sheet, "
                f"complete the folder, or take frame {nearest} by --nearest"
            )
            raise InputError([*(_before_onset(self.entry)[0] if name == "onset" else ()), absent])
        assert nearest is not None, "the folder holds frames"
        self.notes.append(f"{name}: frame {nearest} in place of {number}, which is missing")
        return nearest

    def _offset(self, onset: int) -> int | None:
        """The offset is never shown to a model: a wrong one becomes unknown, and the clip stays."""
        entry, last = self.entry, max(self.folder.files)
        if entry.offset is None:
            return None
        if entry.offset <= onset:
            self.notes.append(f"offset: frame {entry.offset} is not after the onset {onset}, so it is unknown")
            return None
        if entry.offset <= last:
            return entry.offset
        found = self.locator.corrections.find(entry.id, "offset", "outside")
        if found is not None and found.new == "last":
            self.corrected.append(found.applied_to(entry.id, entry.offset))
            return last
        span = self.folder.span()
        self.notes.append(f"offset: frame {entry.offset} is not in the folder ({span}), so it is unknown")
        return None

    def _apex(self, onset: int) -> int | None:
        entry = self.entry
        if entry.apex is None:
            return None
        low = onset if entry.onset is None else entry.onset
        last = None if entry.offset is None or entry.offset <= low else entry.offset
        if entry.apex <= low or (last is not None and entry.apex > last):
            side = f"not after the onset {low}" if entry.apex <= low else f"after the offset {last}"
            self.notes.append(f"apex: frame {entry.apex} is {side}, so the apex is spotted")
            return None
        apex = self._frame("apex", entry.apex)
        if apex <= onset:
            raise InputError(f"apex: the frame nearest to {entry.apex} is the onset; complete {self.folder.path}")
        return apex


def _before_onset(entry: Entry) -> tuple[list[str], int]:
    """The fault of frames that precede the onset, and their number. 0 counts only where a clip begins with it."""
    frames = (("apex", entry.apex), ("offset", entry.offset))
    behind = [f"the {name} {frame}" for name, frame in frames if frame and entry.onset and frame < entry.onset]
    fault = f"onset: frame {entry.onset} lies behind {' and '.join(behind)}; correct the sheet"
    return [fault] if behind else [], len(behind)


def _state(file: Path) -> tuple[object, ...]:
    """What tells whether a file is still the same; it may be gone, or closed to us."""
    try:
        status = file.stat()
    except OSError:
        return (os.path.abspath(file),)
    return os.path.abspath(file), status.st_size, status.st_mtime_ns, os.access(file, os.R_OK)


def unreadable(file: object, error: OSError) -> InputError:
    """The error for a file or folder that the system refuses to open."""
    return InputError(f"{file} cannot be read ({error.strerror or error}); check its permissions, or copy it again")
