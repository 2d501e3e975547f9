"""`mellm map`: draw motion maps of two frames, a clip or a dataset."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellm_plugin.cli.options import add_json
from mellm_plugin.cli.terminal import printable
from mellm_plugin.errors import InputError

if TYPE_CHECKING:
    from mellm_plugin.motion.clip import Box, Clip, Moment
    from mellm_plugin.motion.render import MotionMap
    from mellm_plugin.motion.settings import MotionSettings

EXAMPLES = """\
  mellm map onset.png apex.png -o map.png --legend
  mellm map clip.mp4 -o map.png                    (finds onset and apex; also writes map.gif)
  mellm map frames/ -o map.png --onset 12 --apex 31 --fps 200 --animation flow.webp
  mellm map session.mkv -o map.png --start 1:05 --end 1:20.5 --crop 190,60,462,332
  mellm map --dataset synthme -o maps/ --workers 2
  mellm map --legend -o legend.svg                 (the legend alone: .svg, .png, .jpg or .tif)
  mellm map onset.jpg apex.jpg -o map.png --preset published --nose 112,130"""

_FOR_CLIPS = ("animation", "onset", "apex", "fps", "average", "crop", "start", "end")
_FOR_DATASETS = ("split", "workers", "device")

_LONGEST_SECONDS = 0.5  # a whole micro-expression; its rise or fall alone is shorter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    frames = "onset and apex frame (PNG, JPEG, BMP or TIFF, 8 or 16 bits), or one clip: a video or a folder of frames"
    add("frames", nargs="*", metavar="FRAME", help=frames)
    add("-o", "--output", type=Path, required=True, help="the map's file; with --dataset a folder")
    add("--preset", default="robust", help="preset, or a motion.json file (default: %(default)s)")
    add("--palette", help="standard, or colour-blind")
    add(
        "--legend",
        action="store_true",
        help="add the legend, for print, and print the colours in words; without frames: the legend alone",
    )
    add("--nose", type=_point, metavar="X,Y", help="nose tip in px of the onset, for --preset published")
    add_json(parser, "print the measurements and the files written as one JSON object")
    add = parser.add_argument_group("clips").add_argument
    add("--onset", type=int, metavar="N", help="number of the onset frame, from 0; found if not given")
    add("--apex", type=int, metavar="N", help="number of the apex frame; found if not given")
    add("--fps", type=float, help="frames per second, where the clip does not state them or states them wrong")
    average = "average onset and apex with their neighbours within MS milliseconds, against noise (default: 30; 0: off)"
    add("--average", type=float, metavar="MS", help=average)
    add("--animation", type=Path, metavar="FILE", help=".gif, .webp or .png (default: beside the map)")
    crop = "one box for all frames: auto (the face, where it does not fill the frame), none, or L,T,R,B in px"
    add("--crop", type=_crop, metavar="BOX", help=f"{crop} (default: auto)")
    moment = "a frame's number (300), or a time with its unit or with minutes (12.5s, 1:02.5)"
    add("--start", type=_moment, metavar="WHEN", help=f"first frame: {moment}")
    add("--end", type=_moment, metavar="WHEN", help="last frame, likewise")
    add = parser.add_argument_group("datasets").add_argument
    add("--dataset", metavar="NAME", help="draw every clip of a prepared dataset (see: mellm datasets)")
    add("--split", help="default: test")
    add("--workers", type=int, help="threads (default: 1)")
    add("--device", help="device for TV-L1 (--preset published), such as cuda; computes many pairs at once")


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected X,Y in px, found {text!r}") from None
    return x, y


def _crop(text: str) -> str | Box:
    if text in ("auto", "none"):
        return text
    try:
        left, top, right, bottom = map(int, text.split(","))
    except ValueError:
        expected = "auto, none, or LEFT,TOP,RIGHT,BOTTOM in whole px"
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}") from None
    return left, top, right, bottom


def _moment(text: str) -> Moment:
    if re.fullmatch("[0-9]{1,9}", text):
        return int(text)
    if found := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)s", text):
        return timedelta(seconds=float(found[1]))
    if found := re.fullmatch(r"(?:([0-9]{1,3}):)?([0-9]{1,3}):([0-5]?[0-9](?:\.[0-9]+)?)", text):
        return timedelta(hours=int(found[1] or 0), minutes=int(found[2]), seconds=float(found[3]))
    expected = "a frame's number such as 300, or a time such as 12.5s or 1:02.5"
    raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")


def run(given: argparse.Namespace) -> None:
    if given.dataset is not None:
        if given.frames:
            raise InputError(f"expected either frames or --dataset, found {given.frames[0]!r} beside it")
        _map_dataset(given)
    elif len(given.frames) == 2:
        _map_pair(given)
    elif len(given.frames) == 1:
        _map_clip(given)
    elif given.legend and not given.frames:
        _draw_legend(given)
    else:
        expected = "ONSET and APEX, one clip (a video or a folder of frames), --dataset NAME, or --legend alone"
        raise InputError(f"expected {expected}, found {len(given.frames)} names")


def _refuse(given: argparse.Namespace, names: Iterable[str], what: str) -> None:
    for name in names:
        if getattr(given, name) not in (None, False):
            raise InputError(f"--{name} is not for {what}; see: mellm map --help")


def _settings(given: argparse.Namespace) -> MotionSettings:
    from dataclasses import replace

    from mellm_plugin.motion.settings import resolve

    settings = resolve(given.preset)
    return replace(settings, palette=given.palette) if given.palette else settings


def _map_file(given: argparse.Namespace) -> Path:
    """The file of a single map; checks that it can be written."""
    from PIL import Image

    out: Path = given.output
    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:
        raise InputError(f"expected a picture's name such as map.png, found {out.name!r}", where="--output")
    if os.path.realpath(out) in map(os.path.realpath, given.frames):
        raise InputError("expected another file than the frames", where="--output")
    _check_folder(out, "--output")
    return out


def _animation_file(given: argparse.Namespace, out: Path) -> Path:
    """The file of the animation of a clip; checks that it can be written."""
    from mellm_plugin.motion.animation import FORMATS

    animation: Path = given.animation or out.with_suffix(".gif")
    source = os.path.realpath(given.frames[0])
    for file, option in ((out, "--output"), (animation, "--animation")):
        if source in (os.path.realpath(file), os.path.realpath(file.parent)):
            raise InputError(f"{str(file)!r} is part of the clip itself; name another file with {option}")
    if animation.suffix.lower() not in FORMATS:
        raise InputError(f"expected a name with one of {', '.join(FORMATS)}, found {animation.name!r}", "--animation")
    if os.path.realpath(animation) == os.path.realpath(out):
        raise InputError("the map and its animation would be one file; name another with --animation")
    _check_folder(animation, "--animation")
    return animation


def _check_folder(file: Path, option: str) -> None:
    if not file.parent.is_dir():
        raise InputError(f"there is no folder {str(file.parent)!r}; make it first", where=option)


def _draw_legend(given: argparse.Namespace) -> None:
    from mellm_plugin.motion.legend import write_legend
    from mellm_plugin.motion.render import scale

    _refuse(given, (*_FOR_CLIPS, *_FOR_DATASETS, "nose"), "the legend alone")
    settings = _settings(given)
    write_legend(given.output, scale(settings), settings.palette)
    print(json.dumps({"file": str(given.output)}) if given.json else printable(str(given.output)))


def _map_pair(given: argparse.Namespace) -> None:
    from mellm_plugin.locks import sole_writer
    from mellm_plugin.motion.render import motion_map

    _refuse(given, (*_FOR_CLIPS, *_FOR_DATASETS), "two frames")
    out, settings = _map_file(given), _settings(given)
    onset, apex = given.frames
    with sole_writer(out):
        row = _write_map(given, out, motion_map(onset, apex, settings, nose=given.nose))
    if given.json:
        print(json.dumps(row, ensure_ascii=False))


def _map_clip(given: argparse.Namespace) -> None:
    from mellm_plugin.locks import sole_writer

    _refuse(given, _FOR_DATASETS, "one clip")
    out, settings = _map_file(given), _settings(given)
    animation = _animation_file(given, out)
    with sole_writer(out), sole_writer(animation):
        _write_clip(given, settings, out, animation)


def _write_clip(given: argparse.Namespace, settings: MotionSettings, out: Path, animation: Path) -> None:
    from mellm_plugin.datasets.crop import FaceSearch
    from mellm_plugin.motion.animation import animate
    from mellm_plugin.motion.apex import spot_clip
    from mellm_plugin.motion.average import DEFAULT_MS, averaged, check_ms
    from mellm_plugin.motion.clip import read_clip
    from mellm_plugin.motion.render import motion_map

    average = DEFAULT_MS if given.average is None else given.average
    check_ms(average)
    search = FaceSearch() if given.crop in (None, "auto") else None
    crop = search or (None if given.crop == "none" else given.crop)
    reading: dict[str, Any] = {"start": given.start, "end": given.end, "crop": crop, "progress": not given.json}
    offset = None
    if given.onset is None or given.apex is None:
        clip, found = spot_clip(given.frames[0], settings, fps=given.fps, **reading)
        if found.reason:
            _warn(f"{clip.source}: {found.reason}")
        offset = found.offset
        onset = found.onset if given.onset is None else given.onset - clip.first
        apex = found.apex if given.apex is None else given.apex - clip.first
    else:
        clip = read_clip(given.frames[0], given.fps, **reading)
        onset, apex = given.onset - clip.first, given.apex - clip.first
    if onset is None or apex is None:
        raise InputError("no movement was found; name its frames with --onset and --apex", where=clip.source)
    if not 0 <= onset < apex < len(clip):
        expected = f"the onset before the apex, both within {clip.first}..{clip.first + len(clip) - 1}"
        found_ones = f"{clip.first + onset} and {clip.first + apex}"
        raise InputError(f"expected {expected}, found {found_ones}", where=clip.source)
    if not given.json:
        rate = f" at {clip.fps:g} frames per second" if clip.fps else ""
        frames = f"onset {clip.names[onset]}, apex {clip.names[apex]}"
        box = f"; cropped to {','.join(map(str, clip.box))}" if clip.box else ""
        print(printable(f"{clip.source}: {len(clip)} frames{rate}; {frames}{box}"))
    if given.average and not clip.fps:
        raise InputError("expected --fps with it: the clip does not state its frame rate", where="--average")
    (first, in_onset), (last, in_apex) = averaged(clip, onset, apex, clip.fps, average)
    if not given.json and in_onset + in_apex > 2:
        print(f"averaged against noise: {in_onset} frames at the onset, {in_apex} at the apex")
    nose = given.nose
    if nose is not None and clip.box is not None:
        nose = nose[0] - clip.box[0], nose[1] - clip.box[1]
    doubts = [*clip.doubts, *_duration_doubts(clip, onset, apex, offset)]
    if search is not None and not search.found:
        doubts.append(
            "no face was found, and whole frames were measured: name its box (--crop L,T,R,B), or say that the frames "
            "show little more than the face (--crop none)"
        )
    row = _write_map(given, out, motion_map(first, last, settings, nose=nose), doubts)
    shown = animate(clip, onset, apex, settings, animation, fps=clip.fps, nose=nose)
    if given.json:
        about = {"clip": str(clip.source), "frames": len(clip), "fps": clip.fps, "crop": clip.box}
        about |= {"onset": clip.first + onset, "apex": clip.first + apex, "averaged": [in_onset, in_apex]}
        print(json.dumps({**about, **row, "animation": str(shown.path)}, ensure_ascii=False))
        return
    span = f"{len(shown.indices)} frames from {clip.first + shown.indices[0]} to {clip.first + shown.indices[-1]}"
    print(f"{printable(str(shown.path))}: {span}")


def _duration_doubts(clip: Clip, onset: int, apex: int, offset: int | None) -> list[str]:
    """What speaks against a micro-expression in the times of its frames."""
    found = []
    for name, start, end in (("rise", onset, apex), ("fall", apex, offset)):
        seconds = None if end is None else clip.seconds(start, end)
        if seconds is not None and seconds > _LONGEST_SECONDS:
            found.append(f"the {name} takes {seconds:.2f} s; a micro-expression lasts half a second at most")
    return found


def _map_dataset(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets.maps import TABLE, draw_dataset
    from mellm_plugin.meu import prepared_name
    from mellm_plugin.motion.cache import default_cache

    _refuse(given, (*_FOR_CLIPS, "nose", "legend"), "a dataset")
    name = prepared_name(given.dataset)
    split = "test" if given.split is None else given.split
    workers = 1 if given.workers is None else given.workers
    how = {"cache": default_cache(), "workers": workers, "device": given.device}
    drawn = draw_dataset(name, split, given.output, _settings(given), **how)
    sheets = [sheet.name for sheet in drawn.sheets]
    if given.json:
        row = {"folder": str(drawn.folder), "maps": drawn.maps, "without_nose": drawn.without_nose, "sheets": sheets}
        row |= {"table": TABLE, "doubtful": drawn.doubtful, "faults": drawn.faults}
        print(json.dumps(row, ensure_ascii=False))
    else:
        maps = f"{drawn.maps} maps, {len(drawn.doubtful)} of them doubtful"
        print(f"{printable(str(drawn.folder))}: {maps}; beside them {', '.join([*sheets, TABLE])}")
        if drawn.without_nose:
            _warn(f"{drawn.without_nose} clips have no nose tip: the robust fit removed head motion")
        _warn(*(f"doubtful: {clip}: {'; '.join(doubts)}" for clip, doubts in drawn.doubtful.items()))
    if drawn.faults:
        raise InputError(drawn.faults, where=f"{name}, {split}")


def _write_map(given: argparse.Namespace, out: Path, drawn: MotionMap, doubts: Sequence[str] = ()) -> dict[str, Any]:
    """Write the map, print its measurements and all doubts, and return them as JSON; `doubts` are about the clip."""
    from mellm_plugin.motion import colour
    from mellm_plugin.motion.images import write_atomically
    from mellm_plugin.motion.legend import DPI, with_legend
    from mellm_plugin.motion.render import scale

    palette = drawn.settings.palette
    if given.legend:
        write_atomically(out, [with_legend(drawn.to_pil(), scale(drawn.settings, drawn.flow), palette)], "map", dpi=DPI)
    else:
        write_atomically(out, [drawn.to_pil()], "map")
    (height, width), head = drawn.image.shape[:2], drawn.head
    row = {
        "file": str(out),
        "size": [width, height],
        "coloured": drawn.coloured,
        "head": head
        and {
            **{"tx": head.tx, "ty": head.ty, "rotation": head.rotation, "scale": head.scale},
            "out_of_plane": head.out_of_plane,
        },
        "head_from": drawn.facial.head_from,
        "doubts": [*doubts, *drawn.doubts],
        "settings": drawn.settings.to_dict(),
        "legend": colour.legend_text(palette),
    }
    if given.json:
        return row
    moved = "head motion not removed"
    if head is not None:
        moved = f"head moved {head.tx:+.2f} px right, {head.ty:+.2f} px down, {head.rotation:+.2f} degrees, "
        moved += f"{100 * (head.scale - 1):+.2f} % nearer"
        if head.out_of_plane is not None:
            moved += f", {head.out_of_plane:.1f} degrees out of the plane"
    print(f"{printable(str(out))}: {width}x{height}, {100 * drawn.coloured:.0f} % coloured; {moved}")
    if given.legend:
        print(f"colours: {colour.legend_text(palette)}; {' '.join(colour.SIDES)}")
    if drawn.settings.head == "nose" != drawn.facial.head_from:
        _warn("no nose tip is known (--nose X,Y): the robust fit removed head motion")
    _warn(*(f"doubtful: {doubt}" for doubt in (*doubts, *drawn.doubts)))
    if drawn.coloured == 0 and not drawn.doubts:
        _warn("nothing moves by more than the floor of the settings")
    return row


def _warn(*lines: str) -> None:
    for line in lines:
        print(printable(line), file=sys.stderr)
