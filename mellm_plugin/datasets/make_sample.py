"""From the files of a clip to its `Sample`: the face found and cut out, the apex spotted where it is unknown."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mellm_plugin.datasets.boxes import Box, cut
from mellm_plugin.datasets.crop import Cropper, Whole
from mellm_plugin.datasets.located import Located, unreadable
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.errors import InputError
from mellm_plugin.facs.codes import read_codes
from mellm_plugin.facs.labels import coarse
from mellm_plugin.motion.apex import spot
from mellm_plugin.motion.images import read_pixels, to_grey

SPOTTED = "apex spotted: "
"""Begins the note on an apex that was hard to spot."""

_SPOTTING_SIDE = 448  # px; the apex spotter needs no more
_MOST_FRAMES = 2000  # to look for an apex in


def make_sample(found: Located, dataset: str, crop: Cropper) -> tuple[Sample, list[str]]:
    """The sample of a located clip, and notes on it.

    Raises:
        InputError: a frame cannot be read, no face or no apex is found, or the frames differ in size.
    """
    entry, notes = found.entry, list[str]()
    onset = _bytes(found.onset)
    box, nose = None, None
    if not isinstance(crop, Whole):
        place = crop.find(entry.id, read_pixels(onset, str(found.onset)))
        box, nose = place.box, place.nose_in_crop()
    apex_number, apex_file = entry.apex, found.apex
    if apex_file is None:
        apex_number, apex_file, notes = _spotted(found, box)
    files = (found.onset, apex_file)
    frames = [onset, _bytes(apex_file)]
    if box is not None:
        frames = [cut(data, box, str(file)) for data, file in zip(frames, files, strict=True)]
    shapes = [read_pixels(data, str(file)).shape[:2] for data, file in zip(frames, files, strict=True)]
    if shapes[0] != shapes[1]:
        one, other = (f"{width}x{height} in {file}" for (height, width), file in zip(shapes, files, strict=True))
        raise InputError(
            f"expected frames of one size, found {one} and {other}; cut all frames of the clip with one box"
        )
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
