"""SMIC: 164 clips of 16 subjects at 100 fps (HS), and 71 clips each at 25 fps (VIS, NIR). Clips are folders:

    SMIC_all_raw/HS/s1/micro/negative/s1_ne_01/image563849.bmp    or    SMIC_all_cropped/HS/.../reg_image563849.bmp

There is no official coding sheet: the label is in the name of the folder or of the folder above, the first and last
frames are onset and offset, and the apex is spotted. A sheet from elsewhere may give the apex:

    subject  clip      label  onset_frame  apex_frame  offset_frame        label 0 negative, 1 positive, 2 surprise
    s1       s1_ne_01  0      563849       563860      563871

Source: Li et al., A spontaneous micro-expression database: inducement, collection and baseline (2013).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from mellm_plugin.datasets.cells import check_subject, named
from mellm_plugin.datasets.entry import Dataset, Entry, Published
from mellm_plugin.datasets.frames import FrameTree
from mellm_plugin.datasets.names import person
from mellm_plugin.datasets.sheets import Column, Row

_COLUMNS = {
    "subject": Column("subject", merged=True),
    "clip": Column("clip", "Filename"),
    "label": Column("label", "emotion"),
    "onset": Column("onset_frame", "onset", required=False),
    "apex": Column("apex_frame", "apex"),
    "offset": Column("offset_frame", "offset", required=False),
}
_PART = r"(?:.*_)?(HS|VIS|NIR)(_.*)?"
_NUMBERED = ("negative", "positive", "surprise")
_OF_HS = {"negative": 70, "positive": 51, "surprise": 43}


def _label(name: str) -> str | None:
    """The class that a word of a clip's name says, `s1_ne_01`; None where none does."""
    words = re.split(r"[\W_]+", name.lower())
    return next((label for word in words for label in _NUMBERED if len(word) > 1 and label.startswith(word)), None)


def _dataset(
    dataset: str, part: str, fps: float, clips: int, emotions: dict[str, int], subjects: int | None
) -> Dataset:
    def entry(row: Row) -> Entry | None:
        subject, clip = named(row, "subject", "s{:02d}"), named(row, "clip")
        if clip is None or subject is None:
            return None
        text = (row.text("label", required=True) or "").lower()
        said = _NUMBERED[int(text)] if text in ("0", "1", "2") else text
        expected = _label(clip)
        if text and said not in ((expected,) if expected else _NUMBERED):
            row.faults.append(f"label: expected {expected or '0, 1 or 2'} of {clip}, found {text!r}; correct the row")
        check_subject(row, subject, clip)
        frames: dict[str, Any] = {name: row.whole(name) for name in ("onset", "apex", "offset")}
        id, names = f"{dataset}/{subject}/{clip.lower()}", ((clip,), (subject, clip))
        return Entry(id, subject, clip.lower(), "", names, **frames, emotion=said, fps=fps)

    def recordings(path: tuple[str, ...], whole: bool = True) -> bool:
        # A folder in none of the three parts, renamed by its owner, belongs to the part that was asked for.
        still = any(re.fullmatch(r"non[\s_-]?micro", name, re.IGNORECASE) for name in path)
        of = [found for name in path[:-1] if (found := re.fullmatch(_PART, name, re.IGNORECASE))]
        return still or (bool(of) and (of[-1][1].upper() != part or bool(of[-1][2] and not whole)))

    return Dataset(
        dataset,
        f"SMIC {part}",
        _COLUMNS,
        entry,
        lambda sheets: Published(f"SMIC {part}", {"test": clips}, emotions, subjects),
        aside=lambda path: recordings(path, whole=False),  # not `HS_long`, which has clips of the same names as `HS`
        recordings=recordings,
        from_folders=_from_folders(dataset, fps),
        whole_clips=True,
    )


def _from_folders(dataset: str, fps: float) -> Callable[[FrameTree], Iterator[Entry]]:
    """A folder is a clip if its name, or the one above, gives the class, and a name on its path the subject."""

    def entries(tree: FrameTree) -> Iterator[Entry]:
        found: list[tuple[int, str, str, Entry]] = []
        for path, parts in tree.folders():
            clip, above = parts[-1], parts[-2].lower() if len(parts) > 1 else ""
            label, folder = _label(clip), above if above in _NUMBERED else None
            number = person(clip.split("_")[0])
            if number is None:
                number = next((person(part) for part in reversed(parts[:-1]) if person(part) is not None), None)
            emotion = label or folder
            if emotion is None or number is None:
                continue
            fault = f"expected a {label} clip by its name, found it in the folder {path.parent}; move it, or rename it"
            fault = fault if label and folder and label != folder else ""
            subject, where, clip_id = f"s{number:02d}", str(path), clip.lower()
            names, id = ((clip,),), f"{dataset}/{subject}/{clip_id}"
            entry = Entry(id, subject, clip_id, where, names, emotion=emotion, fps=fps, fault=fault)
            found.append((number, clip_id, where, entry))
        known: set[str] = set()
        for *_, entry in sorted(found, key=lambda one: one[:3]):
            if entry.id not in known:  # a clip with two folders fails when its folder is looked for
                known.add(entry.id)
                yield entry

    return entries


DATASETS = {
    "smic": _dataset("smic", "HS", 100.0, 164, _OF_HS, 16),
    "smic_vis": _dataset("smic_vis", "VIS", 25.0, 71, {}, None),
    "smic_nir": _dataset("smic_nir", "NIR", 25.0, 71, {}, None),
}
