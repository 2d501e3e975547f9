"""The frames of a clip, in any layout of folders: its folder, and the number of each frame from its file name.

    CASME2_RAW_selected/sub01/EP02_01f/img46.jpg     the folder of ("sub01", "EP02_01f"), frame 46
    SAMM/006/006_1_2/006_05562.jpg                   the folder of ("006_1_2",), frame 5562

Names need no fixed form: a row is looked up among the existing folders. The tree is walked once, and no file is opened
before its clip is.
"""

from __future__ import annotations

import filecmp
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from heapq import nlargest
from pathlib import Path

from mellm_plugin.datasets.names import person, plain
from mellm_plugin.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
"""Suffixes of frames."""

Names = tuple[str, ...]
"""A row's name of its clip: (clip,), or (subject, clip) where subjects share names of clips."""

Aside = Callable[[tuple[str, ...]], bool]
"""Whether a folder, given by the parts of its path, holds something else: another part, depth pictures."""


@dataclass(frozen=True)
class ClipFolder:
    """The frames of one folder."""

    path: Path
    files: Mapping[int, Path]  # by frame number, in order
    faults: tuple[str, ...] = ()  # ambiguous files, a sentence each
    notes: tuple[str, ...] = ()  # ignored files, a sentence each

    def span(self) -> str:
        """`46..91 (46 frames)`, for messages."""
        numbers = list(self.files)
        return f"{numbers[0]}..{numbers[-1]} ({len(numbers)} frames)" if numbers else "no frame"

    def nearest(self, number: int) -> int | None:
        """The number of the nearest frame, the earlier of two; None if there is no frame."""
        return min(self.files, key=lambda found: (abs(found - number), found), default=None)


def frame_number(name: str) -> int | None:
    """The last number in a file name without its suffix; None if the file is no frame.

    >>> frame_number("reg_img46.jpg"), frame_number("006_05562.jpg"), frame_number("._img46.jpg"), frame_number("a.lnk")
    (46, 5562, None, None)
    >>> frame_number("img46 (1).jpg"), frame_number("img (46).jpg")  # a copy of frame 46; another program's numbering
    (46, 46)
    """
    stem, suffix = os.path.splitext(name)
    if name.startswith(".") or suffix.lower() not in SUFFIXES:
        return None
    numbers = re.findall(r"[0-9]+", re.sub(r"\s*\([0-9]+\)$", "", stem)) or re.findall(r"[0-9]+", stem)
    return int(numbers[-1]) if numbers and len(numbers[-1]) <= 15 else None


def series(name: str) -> str:
    """The part that the names of a clip's frames share: the file name without its last number and suffix.

    >>> series("reg_img46.jpg"), series("006_05562.jpg"), series("img46 (1).jpg")
    ('reg_img', '006_', 'img')
    """
    stem = re.sub(r"\s*\([0-9]+\)$", "", os.path.splitext(name)[0]) or name
    return re.sub(r"[0-9]+(?=[^0-9]*$)", "", stem).lower()


def list_frames(folder: Path, like: str | None = None) -> ClipFolder:
    """The frames of a folder, by number.

    With `like`, a file in it, only files of its series are frames. By default the largest series is the clip, and
    other files are noted.

    Raises:
        InputError: the folder cannot be read.
    """
    by_series: dict[str, list[tuple[int, str]]] = {}
    try:
        for entry in os.scandir(folder):
            number = frame_number(entry.name)
            if number is not None and entry.is_file():
                by_series.setdefault(series(entry.name), []).append((number, entry.name))
    except OSError as error:
        raise InputError(f"the folder cannot be read ({error}); check its permissions", str(folder)) from error
    if like is not None:
        by_series = {series(like): by_series.get(series(like), [])}
    ordered = sorted(by_series.values(), key=len, reverse=True)
    faults: list[str] = []
    notes: list[str] = []
    if others := [name for members in ordered[1:] for _, name in members]:
        shown, first = f"{', '.join(sorted(others)[:3])}{' ...' if len(others) > 3 else ''}", min(ordered[0])[1]
        if len(others) < len(ordered[0]):
            notes.append(f"left aside, for the other frames are named as {first} is: {shown}")
        else:
            faults.append(f"{folder}: {shown} and {first} are named in two ways; keep the files of one kind")
    files: dict[int, Path] = {}
    twice: dict[int, list[str]] = {}
    copies: list[str] = []
    for number, name in sorted(ordered[0], key=lambda one: (one[0], len(one[1]), one[1])) if ordered else ():
        if number in files:
            if filecmp.cmp(files[number], folder / name, shallow=False):
                copies.append(name)
                continue
            twice.setdefault(number, [files[number].name]).append(name)
        files[number] = folder / name
    faults += [
        f"{folder}: {', '.join(sorted(names))} are all frame {number}; keep the files of one kind"
        for number, names in sorted(twice.items())[:3]
    ]
    if copies:
        notes.append(f"left aside, copies of other frames: {', '.join(copies[:3])}{' ...' if len(copies) > 3 else ''}")
    return ClipFolder(folder, files, tuple(faults), tuple(notes))


class FrameTree:
    """The folders of frames below a root; walked once. `faults` names unreadable folders, a sentence each."""

    def __init__(self, root: str | Path, aside: Aside = lambda parts: False) -> None:
        """Walk the tree; the root is the dataset's folder, or one above or below it that holds all clips.

        Raises:
            InputError: there is no such folder, or no frame in it.
        """
        self.root = Path(root)
        self.faults: list[str] = []
        self._parts: dict[Path, tuple[str, ...]] = {}
        self._empty: set[Path] = set()
        unnumbered: Path | None = None
        where = str(root)
        if self.root.is_file():
            archive = zipfile.is_zipfile(self.root)
            advice = "unzip it and name the folder" if archive else "name the folder of the frames"
            raise InputError(f"expected a folder, found a file; {advice}", where=where)
        if not self.root.is_dir():
            raise InputError("there is no such folder", where=where)
        left_aside: Path | None = None
        # Folders above the root count as well, so the root may lie inside the layout.
        above = self.root.resolve().parts[-4:]
        seen: set[tuple[int, int]] = set()
        for path, folders, files in os.walk(self.root, onerror=self._unreadable, followlinks=True):
            status = os.stat(path)
            if (place := (status.st_dev, status.st_ino)) in seen:  # a link to a walked folder
                folders.clear()
                continue
            seen.add(place)
            links = {name for name in folders if os.path.islink(os.path.join(path, name))}
            folders[:] = [*sorted({*folders} - links), *sorted(links)]  # a link is a second name
            empty = not any(frame_number(name) is not None for name in files)
            if empty and unnumbered is None:
                pictures = [Path(path, name) for name in sorted(files) if not name.startswith(".")]
                unnumbered = next((file for file in pictures if file.suffix.lower() in SUFFIXES), None)
            if empty and folders:
                continue
            parts = (*above, *Path(path).relative_to(self.root).parts)
            if aside(parts):
                left_aside = left_aside or (None if empty else Path(path))
                continue
            self._parts[Path(path)] = parts
            if empty:
                self._empty.add(Path(path))
        if len(self._empty) == len(self._parts):
            advice = "check its permissions" if self.faults else "is it the right one, and unpacked?"
            problem = "expected folders of frames (jpg, png, bmp), found no frame"
            if unnumbered:
                problem = f"expected frames with their numbers in the names of the files, found {unnumbered}"
                advice = (
                    "give each file the number of its frame, or write a table of onset and apex: mellm prepare table"
                )
            if left_aside:
                problem += f" of this dataset's clips, only others, {left_aside} for instance"
                advice = "name another"
            raise InputError([*self.faults, f"{problem}; {advice}"], where)
        self._index: dict[tuple[str, str], list[tuple[Path, int]]] = {}
        for folder, parts in self._parts.items():
            for up, part in enumerate(reversed(parts)):
                if len(parts) - up <= len(above) - 1:
                    break  # no folder above the root is a clip, but the root may be
                for key in {("as it is", part.casefold()), ("plain", plain(part)), *(("end", e) for e in _ends(part))}:
                    self._index.setdefault(key, []).append((folder, up))

    def _unreadable(self, error: OSError) -> None:
        self.faults.append(f"{error.filename}: the folder cannot be read ({error.strerror}); check its permissions")

    def __len__(self) -> int:
        return len(self._parts) - len(self._empty)

    def folders(self) -> Iterator[tuple[Path, tuple[str, ...]]]:
        """All folders with the parts of their paths, in order; those without frames last."""
        for path in sorted(self._parts, key=lambda path: path in self._empty):
            yield path, self._parts[path]

    def find(self, *names: Names) -> list[Path]:
        """The folders of a clip; several if its frames exist twice.

        A folder matches a name if they are equal, ignoring case; else if they differ only in zeros and spaces; else if
        it ends with the name (`sub01_EP02_01f`). A folder inside the match counts as well (`b/color`). If the clip is
        named with its subject, that has to be the nearest subject's folder above, or the text before the clip's name.
        Of several names, best first, the first one that matches counts.
        """
        for kind in ("as it is", "plain", "end"):
            for *subject, clip in names:
                key = clip.strip().casefold() if kind == "as it is" else plain(clip)
                here = [
                    (path, up)
                    for path, up in self._index.get((kind, key), ())
                    if not subject or self._is_of(subject[0], path, up, clip if kind == "end" else "")
                ]
                holding = [(path, up) for path, up in here if path not in self._empty] or here
                if holding:
                    nearest = min(up for _, up in holding)
                    return sorted({path for path, up in holding if up == nearest})
        return []

    def _is_of(self, subject: str, path: Path, up: int, clip: str) -> bool:
        """Whether a folder belongs to a subject; `up` levels above it is the folder with the clip's name."""
        parts = self._parts[path]
        at = len(parts) - 1 - up
        if clip:  # the text before the clip's name, `sub01_EP02_01f`
            return _same_subject(subject, re.split(r"[_\s-]+", plain(parts[at])[: -len(plain(clip))].rstrip("_- "))[-1])
        if (number := person(subject)) is None:
            return any(plain(part) == plain(subject) for part in parts[:at])
        people = [part for part in reversed(parts[:at]) if person(part) is not None]
        # A folder `2` may be a class or a copy, if another one is clearly a subject's.
        named = next((part for part in people if not part.isdigit()), None) or next(iter(people), None)
        return named is not None and person(named) == number

    def folder(self, *names: Names) -> Path:
        """The folder of a clip.

        Raises:
            InputError: there is none (with the nearest one), or several.
        """
        found = self.find(*names)
        if not found:
            raise InputError(f"expected a folder of its frames below {self.root}, found none; {self.nearest(*names)}")
        if len(found) > 1:
            raise InputError(
                f"expected one folder of its frames below {self.root}, found {found[0]} and {found[1]}; name the "
                "folder of one kind (raw or cropped) with --frames"
            )
        if found[0] in self._empty:
            what = "frames (jpg, png, bmp, tif, with their numbers)"
            raise InputError(f"expected {what} in {found[0]}, found none; complete the folder")
        return found[0]

    def nearest(self, *names: Names) -> str:
        """The folder nearest to a clip that has none, preferably of its subject, and what to do."""
        *subject, clip = names[0]
        own = [path for path, parts in self._parts.items() if subject and self._is_of(subject[0], path, 0, "")]
        wanted = plain("/".join(names[0]))

        def called(path: Path, parts: int) -> str:
            return plain("/".join(self._parts[path][-parts:]))

        few = nlargest(20, own or self._parts, key=lambda path: _shared(called(path, 1), plain(clip)))
        near = max(few, key=lambda p: max(SequenceMatcher(None, wanted, called(p, n)).ratio() for n in (1, 2)))
        return f"the nearest is {near}; if that is the clip, give both one name, else copy the frames there"


def _shared(one: str, other: str) -> int:
    """The length of the common beginning of two names."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _ends(part: str) -> list[str]:
    """The parts of a name after each of its marks: `ep2_1f` and `1f` of `sub1_ep2_1f`."""
    text = plain(part)
    return [text[mark.end() :] for mark in re.finditer(r"[_-]", text) if mark.end() < len(text)][:8]


def _same_subject(one: str, other: str) -> bool:
    number = person(one)
    return plain(one) == plain(other) if number is None else person(other) == number
