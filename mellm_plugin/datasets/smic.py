"""SMIC: 164 clips of 16 subjects at 100 fps (HS), and 71 clips each at 25 fps (VIS, NIR). Clips are folders:

    SMIC_all_raw/HS/s1/micro/negative/s1_ne_01/image563849.bmp    or    SMIC_all_cropped/HS/.../reg_image563849.bmp

There is no coding sheet: the label is in the folder's name, the first and last frames are onset and offset, and the
apex is spotted. A sheet of others may say it:

    subject  clip      label  onset_frame  apex_frame  offset_frame        label 0 negative, 1 positive, 2 surprise
    s1       s1_ne_01  0      563849       563860      563871

Source: Li et al., A spontaneous micro-expression database: inducement, collection and baseline (2013).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mellm_plugin.datasets.cells import matched
from mellm_plugin.datasets.conversion import Dataset, Entry, Published
from mellm_plugin.datasets.frames import FrameTree
from mellm_plugin.datasets.sheets import Column, Row, Sheet

_COLUMNS = {
    "subject": Column("subject", merged=True),
    "clip": Column("clip", "Filename"),
    "label": Column("label", "emotion"),
    "onset": Column("onset_frame", "onset", required=False),
    "apex": Column("apex_frame", "apex"),
    "offset": Column("offset_frame", "offset", required=False),
}
_CLIP = r"s0*([1-9][0-9]?)_(ne|po|sur)_([0-9]{1,2})"
_PART = r"(?:.*_)?(HS|VIS|NIR)(_.*)?"
_LABELS = {"ne": "negative", "po": "positive", "sur": "surprise"}
_NUMBERED = ("negative", "positive", "surprise")
_OF_HS = {"negative": 70, "positive": 51, "surprise": 43}


def _made(dataset: str, fps: float, name: re.Match[str]) -> Entry:
    subject = f"s{int(name[1]):02d}"
    return Entry(
        id=f"{dataset}/{subject}/{name[0].lower()}",
        subject=subject,
        clip=name[0].lower(),
        where="",
        keys=(_clip_key(name),),
        emotion=_LABELS[name[2].lower()],
        fps=fps,
    )


def _clip_key(name: re.Match[str]) -> Hashable:
    return int(name[1]), name[2].lower(), int(name[3])


def _dataset(
    dataset: str, part: str, fps: float, clips: int, emotions: dict[str, int], subjects: int | None
) -> Dataset:
    def entry(row: Row) -> Entry | None:
        clip = matched(row, "clip", _CLIP, "s1_ne_01")
        subject = matched(row, "subject", "s?0*([1-9][0-9]?)", "s1")
        if clip is None or subject is None:
            return None
        text = (row.text("label", required=True) or "").lower()
        said = _NUMBERED[int(text)] if text in ("0", "1", "2") else text
        if text and said != _LABELS[clip[2].lower()]:
            row.faults.append(
                f"label: expected {_LABELS[clip[2].lower()]} of {clip[0]}, found {text!r}; correct the row"
            )
        if int(subject[1]) != int(clip[1]):
            row.faults.append(f"expected a clip of subject {subject[0]}, found {clip[0]}; correct the row")
        onset, apex, offset = (row.whole(name) for name in ("onset", "apex", "offset"))
        return replace(_made(dataset, fps, clip), onset=onset, apex=apex, offset=offset)

    def key(parts: tuple[str, ...]) -> Hashable | None:
        clip = re.fullmatch(_CLIP, parts[-1], re.IGNORECASE) if parts else None
        # `HS`, `SMIC_HS`; not `HS_long`, which holds the same names. A folder that is in none of the three, renamed by
        # its owner, is of the part that was asked for.
        of = [found for name in parts[:-1] if (found := re.fullmatch(_PART, name, re.IGNORECASE))]
        return _clip_key(clip) if clip and (not of or (of[-1][1].upper() == part and not of[-1][2])) else None

    def published(sheets: Sequence[Sheet]) -> Published:
        return Published(f"SMIC {part}", {"test": clips}, emotions, subjects)

    return Dataset(
        dataset,
        f"SMIC {part}",
        _COLUMNS,
        entry,
        key,
        published,
        from_folders=_from_folders(dataset, fps),
        whole_clips=True,
    )


def _from_folders(dataset: str, fps: float) -> Callable[[FrameTree], Iterator[Entry]]:
    def entries(tree: FrameTree) -> Iterator[Entry]:
        for path in _in_order(path for _, path in tree.folders()):
            clip = re.fullmatch(_CLIP, path.name, re.IGNORECASE)
            assert clip is not None, "the tree holds clips only"
            label, folder = _LABELS[clip[2].lower()], path.parent.name.lower()
            fault = f"expected a {label} clip by its name, found it in the folder {path.parent}; move it, or rename it"
            wrong = folder in _NUMBERED and folder != label
            yield replace(_made(dataset, fps, clip), where=str(path), fault=fault if wrong else "")

    return entries


def _in_order(folders: Iterator[Path]) -> list[Path]:
    def order(folder: Path) -> tuple[int, str, str]:
        clip = re.fullmatch(_CLIP, folder.name, re.IGNORECASE)
        return int(clip[1]) if clip else 0, folder.name.lower(), str(folder)

    return sorted(folders, key=order)


DATASETS = {
    "smic": _dataset("smic", "HS", 100.0, 164, _OF_HS, 16),
    "smic_vis": _dataset("smic_vis", "VIS", 25.0, 71, {}, None),
    "smic_nir": _dataset("smic_nir", "NIR", 25.0, 71, {}, None),
}
