"""Where the frames of a clip are: any layout of folders, and the number of a frame from its file's name.

    CASME2_RAW_selected/sub01/EP02_01f/img46.jpg     folder ("sub01", "EP02_01f"), frame 46
    SAMM/006/006_1_2/006_05562.jpg                   folder ("006", "006_1_2"), frame 5562

A dataset says by a `key` which folders are clips; the tree is walked once, and no file is opened before its clip is.
"""

from __future__ import annotations

import os
import re
import zipfile
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mellm_plugin.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
"""Of files that are frames."""

Key = Callable[[tuple[str, ...]], Hashable | None]
"""From the parts of a folder's path below the root to what names its clip; None for a folder that is no clip's."""


@dataclass(frozen=True)
class ClipFolder:
    """The frames of one folder.

    Attributes:
        path: the folder.
        files: of each frame number, its file, in order of the numbers.
        faults: files that cannot be told apart, a sentence each.
        notes: files that were left aside.
    """

    path: Path
    files: Mapping[int, Path]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def span(self) -> str:
        """`46..91 (46 frames)`, for messages."""
        numbers = list(self.files)
        return f"{numbers[0]}..{numbers[-1]} ({len(numbers)} frames)" if numbers else "no frame"

    def nearest(self, number: int) -> int | None:
        """The number of the frame nearest to one; the earlier of two; None where there is none at all."""
        numbers = list(self.files)
        at = bisect_left(numbers, number)
        around = numbers[max(0, at - 1) : at + 1]
        return min(around, key=lambda found: (abs(found - number), found), default=None)


def frame_number(name: str) -> int | None:
    """The last number in a file's name without its suffix; None for what is no frame.

    >>> frame_number("reg_img46.jpg"), frame_number("006_05562.jpg"), frame_number("._img46.jpg"), frame_number("a.lnk")
    (46, 5562, None, None)
    >>> frame_number("img46 (1).jpg"), frame_number("img (46).jpg")  # a copy of frame 46; a series of another program
    (46, 46)
    """
    stem, suffix = os.path.splitext(name)
    if name.startswith(".") or suffix.lower() not in SUFFIXES:
        return None
    numbers = re.findall(r"[0-9]+", re.sub(r"\s*\([0-9]+\)$", "", stem)) or re.findall(r"[0-9]+", stem)
    return int(numbers[-1]) if numbers and len(numbers[-1]) <= 15 else None


def series(name: str) -> str:
    """What the names of a clip's frames have in common: the file's name without its last number and its suffix.

    >>> series("reg_img46.jpg"), series("006_05562.jpg"), series("img46 (1).jpg")
    ('reg_img', '006_', 'img')
    """
    stem = re.sub(r"\s*\([0-9]+\)$", "", os.path.splitext(name)[0]) or name
    return re.sub(r"[0-9]+(?=[^0-9]*$)", "", stem).lower()


def list_frames(folder: Path, like: str | None = None) -> ClipFolder:
    """The frames of a folder, by number.

    Args:
        folder: that of a clip.
        like: a file in it; only files of its series are frames then. Without one, the series of most files is the
            clip, and what else there is is noted.

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
        shown = f"{', '.join(sorted(others)[:3])}{' ...' if len(others) > 3 else ''}"
        if len(others) < len(ordered[0]):
            notes.append(f"left aside, for the other frames are named as {min(ordered[0])[1]} is: {shown}")
        else:
            faults.append(
                f"{folder}: {shown} and {min(ordered[0])[1]} are named in two ways; keep the files of one kind"
            )
    files: dict[int, Path] = {}
    twice: dict[int, list[str]] = {}
    for number, name in sorted(ordered[0]) if ordered else ():
        if number in files:
            twice.setdefault(number, [files[number].name]).append(name)
        files[number] = folder / name
    faults += [
        f"{folder}: {', '.join(sorted(names))} are all frame {number}; keep the files of one kind"
        for number, names in sorted(twice.items())[:3]
    ]
    return ClipFolder(folder, files, tuple(faults), tuple(notes))


class FrameTree:
    """The clip folders below a root, walked once.

    Attributes:
        root: the folder.
        faults: folders that cannot be read.
    """

    def __init__(self, root: str | Path, key: Key) -> None:
        """Walk the tree.

        Args:
            root: the folder that the user names: the dataset's own, or any above or below it that holds all clips.
            key: of the clips.

        Raises:
            InputError: no such folder, a file in its place, or no frame in it.
        """
        self.root = Path(root)
        self.faults: list[str] = []
        self._folders: dict[Hashable, list[Path]] = {}
        self._empty: dict[Hashable, Path] = {}
        where = str(root)
        if self.root.is_file():
            advice = (
                "unzip it and name the folder" if zipfile.is_zipfile(self.root) else "name the folder of the frames"
            )
            raise InputError(f"expected a folder, found a file; {advice}", where=where)
        if not self.root.is_dir():
            raise InputError("there is no such folder", where=where)
        holding, unnamed = 0, None
        # The folders above the root count as well, so that a root inside the layout does.
        above = self.root.resolve().parts[-4:]
        seen: set[tuple[int, int]] = set()
        for path, folders, files in os.walk(self.root, onerror=self._unreadable, followlinks=True):
            status = os.stat(path)
            if (place := (status.st_dev, status.st_ino)) in seen:  # a link to what was walked, or is being walked
                folders.clear()
                continue
            seen.add(place)
            folders.sort()
            found = key((*above, *Path(path).relative_to(self.root).parts))
            if not any(frame_number(name) is not None for name in files):
                if found is not None:
                    self._empty.setdefault(found, Path(path))
                continue
            holding += 1
            if found is None:
                unnamed = unnamed or path
            else:
                self._folders.setdefault(found, []).append(Path(path))
        if not holding:
            advice = "check its permissions" if self.faults else "is it the right one, and unpacked?"
            raise InputError(
                [*self.faults, f"expected folders of frames (jpg, png, bmp), found no frame; {advice}"], where
            )
        if not self._folders:
            raise InputError(
                f"found {holding} folders of frames, none named as this dataset's clips are, {unnamed} for instance; "
                "is this the folder of this dataset?",
                where=where,
            )
        if all(len(found) > 1 for found in self._folders.values()):
            one, other = next(iter(self._folders.values()))[:2]
            raise InputError(
                f"expected one folder of frames for each clip, found two, {one} and {other} for instance; name the "
                "folder of one kind (raw or cropped) with --frames",
                where=where,
            )

    def _unreadable(self, error: OSError) -> None:
        self.faults.append(f"{error.filename}: the folder cannot be read ({error.strerror}); check its permissions")

    def __len__(self) -> int:
        return len(self._folders)

    def folders(self) -> Iterator[tuple[Hashable, Path]]:
        """Every key, with the first folder that has it, in order of the folders; those without a frame at the end."""
        for key, found in self._folders.items():
            yield key, found[0]
        yield from ((key, found) for key, found in self._empty.items() if key not in self._folders)

    def folder(self, *keys: Hashable) -> Path:
        """The folder of a clip: that of the first key which has one.

        Raises:
            InputError: there is none, or several hold frames of it.
        """
        found = next((self._folders[key] for key in keys if key in self._folders), [])
        if not found and (empty := next((self._empty[key] for key in keys if key in self._empty), None)):
            raise InputError(
                f"expected frames (jpg, png, bmp, tif, with their numbers) in {empty}, found none; complete the folder"
            )
        if not found:
            raise InputError(f"expected a folder of its frames below {self.root}, found none; copy it there")
        if len(found) > 1:
            raise InputError(
                f"expected one folder of its frames below {self.root}, found {found[0]} and {found[1]}; name the "
                "folder of one kind (raw or cropped) with --frames"
            )
        return found[0]
