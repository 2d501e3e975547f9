"""From the files of a clip to its `Sample`: the face found and cut out, the apex spotted where it is unknown, onset and
apex averaged with their neighbours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.datasets.boxes import Box, cut, png
from mellm_plugin.datasets.crop import Cropper, Whole
from mellm_plugin.datasets.located import Located, unreadable
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.errors import ImageError, InputError
from mellm_plugin.facs.codes import read_codes
from mellm_plugin.facs.labels import coarse
from mellm_plugin.motion.apex import spot
from mellm_plugin.motion.average import average
from mellm_plugin.motion.images import Pixels, read_pixels, to_grey

SPOTTED = "apex spotted: "
"""Begins the note on an apex that was hard to spot."""

LEFT_OUT = "averaged without "
"""Begins the note on frames beside onset or apex that could not be averaged with it."""

_SPOTTING_SIDE = 448  # px; the apex spotter needs no more
_MOST_FRAMES = 2000  # to look for an apex in


def make_sample(found: Located, dataset: str, crop: Cropper) -> tuple[Sample, list[str]]:
    """The sample of a located clip, and notes on it.

    Raises:
        InputError: a frame cannot be read, no face or no apex is found, or the frames differ in size.
    """
    entry, notes = found.entry, list[str]()
    data = [_bytes(found.onset)]
    onset = read_pixels(data[0], str(found.onset))
    box, nose = None, None
    if not isinstance(crop, Whole):
        place = crop.find(entry.id, onset)
        box, nose = place.box, place.nose_in_crop()
    apex_number, apex_file = entry.apex, found.apex
    if apex_file is None:
        apex_number, apex_file, notes = _spotted(found, box)
    data.append(_bytes(apex_file))
    files = (found.onset, apex_file)
    uncut = (onset, read_pixels(data[1], str(apex_file)))
    pixels = [cut(frame, box, str(file)) for frame, file in zip(uncut, files, strict=True)]
    if pixels[0].shape[:2] != pixels[1].shape[:2]:
        one, other = (f"{p.shape[1]}x{p.shape[0]} in {file}" for p, file in zip(pixels, files, strict=True))
        raise InputError(
            f"expected frames of one size, found {one} and {other}; cut all frames of the clip with one box"
        )
    means = [_mean(*one, box, notes) for one in zip(pixels, found.neighbours(apex_number), strict=True)]
    frames = [
        png(frame if mean is None else mean) if box is not None or mean is not None else file
        for file, frame, mean in zip(data, pixels, means, strict=True)
    ]
    codes = read_codes(entry.au_code)
    # An unreadable part may hide a unit, unless it holds no number.
    whole = not any(re.search(r"[0-9?]", part.text) or not part.text for part in codes.unread)
    sample = Sample(
        id=entry.id,
        dataset=dataset,
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


def _mean(middle: Pixels, neighbours: Sequence[Path], box: Box | None, notes: list[str]) -> Pixels | None:
    """The mean of a frame and its neighbours; None without any. Frames that are left out are noted."""
    mean, used = average(middle, (_readable(file, box) for file in neighbours))
    left_out = [file.name for file, good in zip(neighbours, used, strict=True) if not good]
    if left_out:
        names = f"{', '.join(left_out[:3])}{' ...' if len(left_out) > 3 else ''}"
        notes.append(f"{LEFT_OUT}{names}: unreadable, of another size, or another picture")
    return mean if any(used) else None


def _readable(file: Path, box: Box | None) -> Pixels | None:
    try:
        return cut(read_pixels(file), box)
    except ImageError:
        return None


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise unreadable(file, error) from error


def _spotted(found: Located, box: Box | None) -> tuple[int, Path, list[str]]:
    """The apex among the frames from the onset on: number, file, notes."""
    if len(found.stretch) > _MOST_FRAMES:
        raise InputError(
            f"expected at most {_MOST_FRAMES} frames to find the apex in, found {len(found.stretch)}; give its "
            "offset, or its apex, in the sheet"
        )
    small = [_for_spotting(file, box) for _, file in found.stretch]
    if odd := [file for (_, file), frame in zip(found.stretch, small, strict=True) if frame.shape != small[0].shape]:
        raise InputError(
            f"expected frames of one size, found another in {odd[0]} than in {found.onset}; cut all frames of the clip "
            "with one box"
        )
    spotted = spot(np.stack(small))
    index, reason = spotted.apex, spotted.reason
    if index is None:
        # The sheet says that there is an expression: take the strongest moment, however weak.
        after = spotted.curve[1:]
        if not np.isfinite(after).any():
            raise InputError(f"the apex cannot be spotted: {reason}; give it in the sheet")
        index = 1 + int(np.nanargmax(after))
        reason = f"{reason}; the strongest moment was taken"
    return *found.stretch[index], [f"{SPOTTED}{reason}"] if reason else []


def _for_spotting(file: Path, box: Box | None) -> npt.NDArray[np.uint8]:
    pixels = read_pixels(file)
    if box is not None:
        pixels = pixels[box.top : box.bottom, box.left : box.right]
    grey = to_grey(pixels, 8 if pixels.dtype == np.uint8 else 16)
    scale = _SPOTTING_SIDE / max(grey.shape)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)
