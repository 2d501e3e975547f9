"""A slow animation of a clip: each frame in grey, beside the motion map from the onset to it."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mellm_plugin.errors import InputError
from mellm_plugin.motion import colour
from mellm_plugin.motion.clip import Clip
from mellm_plugin.motion.facial import Nose
from mellm_plugin.motion.geometry import Grey
from mellm_plugin.motion.images import SMALLEST_SIDE, target_faults, write_atomically
from mellm_plugin.motion.render import motion_map
from mellm_plugin.motion.scenes import scene
from mellm_plugin.motion.settings import MotionSettings

FORMATS: dict[str, str] = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}
"""Pillow's format by the suffix of the file; PNG is animated, too."""

SHOWN_MS, HELD_MS = 100, 900
"""Duration of a frame, and of the onset, the apex and the last frame."""

_OPTIONS: dict[str, dict[str, object]] = {"GIF": {"optimize": False, "disposal": 1}, "WEBP": {"quality": 90}, "PNG": {}}
_GAP = 6
_PAPER, _INK, _MARK = (24, 24, 24), (230, 230, 230), (255, 214, 90)


class Animation(NamedTuple):
    """A written file, and the indices of its frames in order: the onset first, the apex among them."""

    path: Path
    indices: tuple[int, ...]


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height, shrunk if the longer one exceeds `side`."""
    shrink = max(1.0, max(size) / side)
    return max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink))


def _page(
    pictures: tuple[Grey, Grey], words: tuple[str, str], marked: bool, wheel: Image.Image, side: int
) -> Image.Image:
    """Frame and map side by side, with text and the legend below."""
    size = _fitted((pictures[0].shape[1], pictures[0].shape[0]), side)
    top = size[1] + _GAP
    page = Image.new("RGB", (2 * size[0] + _GAP, top + wheel.height), _PAPER)
    for i, picture in enumerate(pictures):
        page.paste(Image.fromarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA)), (i * (size[0] + _GAP), 0))
    page.paste(wheel, (page.width - wheel.width, top))
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(max(10, min(16, size[0] // 12)))
    for i, text in enumerate(words):
        pen.text((_GAP, top + i * wheel.height // 2), text, fill=_MARK if marked and i == 0 else _INK, font=font)
    return page


def _palette(name: str) -> Image.Image:
    """256 colours for all pages of a GIF: greys, and each direction's colour over greys at several opacities.

    A separate palette for each page would flicker; one counted from the pages would lose rare colours.
    """
    grey = np.array([60.0, 130.0, 200.0])[:, None, None]
    alpha = np.array([0.2, 0.4, 0.6, 0.75, 0.9])[:, None]
    entries: list[tuple[float, ...]] = []
    for _, rgb in colour.colours(name):
        entries += [*(grey * (1 - alpha) + np.array(rgb) * alpha).reshape(-1, 3).tolist(), rgb]
    coloured = np.array([*entries, _PAPER, _INK, _MARK], np.float64)
    greys = np.linspace(0, 255, 256 - len(coloured))[:, None].repeat(3, axis=1)
    image = Image.new("P", (1, 1))
    image.putpalette(np.rint(np.concatenate([greys, coloured])).astype(np.uint8).tobytes())
    return image


def animate(
    frames: npt.NDArray[np.uint8] | Clip,
    onset: int,
    apex: int,
    settings: MotionSettings,
    path: str | os.PathLike[str],
    *,
    fps: float | None = None,
    nose: Nose | None = None,
    most: int = 60,
    side: int = 480,
) -> Animation:
    """Write the motion from the onset to each frame until a little after the apex, slowed down, in an endless loop.

    Args:
        frames: uint8 `(T, H, W)`, grey, cropped to the face; or a clip, of which the scene of the apex is shown.
        onset, apex: indices of frames, `0 <= onset < apex < T`.
        settings: how to draw the maps.
        path: the file, `.gif`, `.webp`, `.png` or `.apng`.
        fps: frames per second of the clip, to show the time since the onset; None if unknown.
        nose: nose tip in the frames, for settings that use it.
        most: most frames shown, 3 to 500; longer stretches are thinned evenly.
        side: longer side of a shown frame, px, 32 to 2000; frames are never enlarged.

    Raises:
        InputError: an unusable name, frames, indices or bounds (all at once), or a file that cannot be written.
        ImageError: the frames cannot be measured.
    """
    out = Path(path)
    faults = target_faults(out, FORMATS)
    if not isinstance(frames, Clip) and (frames.dtype != np.uint8 or frames.ndim != 3):
        faults.append(f"expected frames as a uint8 array (T, H, W), found {frames.dtype} {frames.shape}")
    elif not 0 <= onset < apex < len(frames):
        faults.append(f"expected the onset before the apex, both within 0..{len(frames) - 1}, found {onset} and {apex}")
    if not 3 <= most <= 500:
        faults.append(f"expected a limit of 3 to 500 frames, found {most}")
    if not SMALLEST_SIDE <= side <= 2000:
        faults.append(f"expected a side of {SMALLEST_SIDE} to 2000 px, found {side}")
    if faults:
        raise InputError(faults, where=str(out))
    number, end = 0, len(frames)
    if isinstance(frames, Clip):
        number, end = frames.first, scene(len(frames), apex, frames.cuts)[1]
    last = min(end - 1, apex + max(3, (apex - onset) // 2))
    step = -(-(last - onset) // (most - 2))  # two are left for an apex and a last frame between the steps
    indices = tuple(sorted({*range(onset, last, step), apex, last}))
    height, width = frames.shape[-2:]
    height = _fitted((width, height), side)[1]
    wheel = Image.fromarray(colour.wheel(max(SMALLEST_SIDE, min(72, height // 4)), settings.palette))
    step = int(np.median([later - earlier for earlier, later in itertools.pairwise(indices)]))
    times = fps * SHOWN_MS / 1000 / step if fps else 1.0
    slower = f"shown {times:.0f} times slower" if times >= 1.5 else ""
    pages: list[Image.Image] = []
    before: Grey | None = None
    shown_frames = frames.at(indices) if isinstance(frames, Clip) else (frames[index] for index in indices)
    for index, frame in zip(indices, shown_frames, strict=True):
        before = frame if before is None else before
        name = {onset: "onset", apex: "apex"}.get(index, "")
        time = f"{1000 * (index - onset) / fps:+.0f} ms" if fps else f"{index - onset:+d}"
        pictures = frame, motion_map(before, frame, settings, nose=nose).image
        pages.append(_page(pictures, (f"frame {number + index}  {time}  {name}", slower), bool(name), wheel, side))
    shown = [HELD_MS if index in (onset, apex, last) else SHOWN_MS for index in indices]
    kind = FORMATS[out.suffix.lower()]
    if kind == "GIF":
        palette = _palette(settings.palette)
        pages = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in pages]
    write_atomically(out, pages, "animation", format=kind, save_all=True, duration=shown, loop=0, **_OPTIONS[kind])
    return Animation(out, indices)
