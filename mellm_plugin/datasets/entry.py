"""What a converter (`casme2.py`, ...) contributes: a `Dataset` that turns a row of its coding sheet into an `Entry`.

Entry(id="casme2/sub01/EP02_01f", subject="sub01", clip="EP02_01f", where="CASME2.xlsx, row 2",
      names=(("sub01", "EP02_01f"),), onset=46, apex=59, offset=86, emotion="happiness", au_code="R12")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mellm_plugin.datasets.frames import Aside, FrameTree, Names
from mellm_plugin.datasets.sheets import Column, Row, Sheet


@dataclass(frozen=True)
class Entry:
    """A clip as its row describes it. None: the row leaves it open."""

    id: str  # dataset/subject/clip, normalised
    subject: str
    clip: str
    where: str  # file and row, for messages
    names: tuple[Names, ...] = ()  # of its folder, best first, see `FrameTree`
    onset_file: Path | None = None  # set where the dataset names files instead of a folder and frame numbers
    apex_file: Path | None = None
    onset: int | None = None  # frame number; None: the first frame
    apex: int | None = None  # None: to be spotted
    offset: int | None = None
    emotion: str | None = None  # canonical label
    au_code: Any = None  # the cell as the spreadsheet stores it
    objective_class: int | None = None  # 1..7
    fps: float | None = None  # frames per second
    split: str = "test"
    fault: str = ""  # why the clip cannot be used


@dataclass(frozen=True)
class Published:
    """What the literature says about a dataset; empty or None where not published."""

    title: str  # dataset and sheet, `CASME II 2014 sheet`
    clips: Mapping[str, int]  # per split
    emotions: Mapping[str, int] = field(default_factory=dict)  # clips per canonical label, over all splits
    subjects: int | None = None


@dataclass(frozen=True)
class Dataset:
    """Everything specific to one dataset.

    `entry` turns a row into an entry; if it cannot, it returns None and adds to the row's faults. `published` gives the
    published numbers for some sheets; it is None for a user's table, whose entries name files. `recordings` is a wider
    `aside` to try if `aside` leaves no frames and the sheet has onsets: whole recordings. With `whole_clips`, a folder
    holds exactly one clip: its first and last frame are onset and offset unless the row says otherwise.
    """

    name: str  # of the prepared dataset, and of its labels in `LABELS`
    title: str  # its name in the literature
    columns: Mapping[str, Column]  # of its sheet
    entry: Callable[[Row], Entry | None]
    published: Callable[[Sequence[Sheet]], Published] | None = None
    aside: Aside = lambda parts: False  # folders that hold no clips of this dataset
    recordings: Aside | None = None
    worksheets: tuple[str, ...] = ()  # to prefer
    from_folders: Callable[[FrameTree], Iterator[Entry]] | None = None  # entries of a dataset without a sheet
    whole_clips: bool = False


def differences(info: Mapping[str, Any]) -> list[str]:
    """How a converted dataset differs from the published numbers, a line each, from its `info.json`.

    The first line of each split compares the number of clips, also where it agrees.
    """
    published, splits = info.get("published"), info["splits"]
    if published is None:
        return []
    several = len(published["clips"]) > 1
    lines = []
    for split, expected in published["clips"].items():
        clips = splits[split]["clips"] if split in splits else 0
        lines.append(f"{published['title']}{f', {split}' if several else ''}: {clips} of {expected} clips")
    found: Counter[str] = Counter()
    for entry in splits.values():
        found.update(entry["emotions"])
    if published["subjects"] is not None and not several:
        subjects = sum(entry["subjects"] for entry in splits.values())
        if subjects != published["subjects"]:
            lines.append(f"subjects: {subjects}, published {published['subjects']}")
    for label in sorted({*found, *published["emotions"]}) if published["emotions"] else ():
        if found[label] != published["emotions"].get(label, 0):
            lines.append(f"{label}: {found[label]}, published {published['emotions'].get(label, 0)}")
    return lines
