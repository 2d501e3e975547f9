"""`mellm map`: draw motion maps of two frames, a clip or a dataset."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellm_plugin.cli.options import add_json
from mellm_plugin.cli.terminal import printable
from mellm_plugin.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from mellm_plugin.motion.render import MotionMap
    from mellm_plugin.motion.settings import MotionSettings

EXAMPLES = """\
  mellm map onset.png apex.png -o map.png --legend
  mellm map clip.mp4 -o map.png                    (finds onset and apex; also writes map.gif)
  mellm map frames/ -o map.png --onset 12 --apex 31 --fps 200 --animation flow.webp
  mellm map --dataset synthme -o maps/ --workers 2
  mellm map onset.jpg apex.jpg -o map.png --preset published --nose 112,130"""

_FOR_CLIPS = ("animation", "onset", "apex", "fps", "average")
_FOR_DATASETS = ("split", "workers", "device")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    frames = "onset and apex frame (PNG, JPEG, BMP or TIFF, 8 or 16 bits), or one clip: a video or a folder of frames"
    add("frames", nargs="*", metavar="FRAME", help=frames)
    add("-o", "--output", type=Path, required=True, help="the map's file; with --dataset a folder")
    add("--preset", default="robust", help="preset, or a motion.json file (default: %(default)s)")
    add("--palette", help="standard, or colour-blind")
    add("--legend", action="store_true", help="add the colour wheel, and print the colours in words")
    add("--nose", type=_point, metavar="X,Y", help="nose tip in px of the onset, for --preset published")
    add_json(parser, "print the measurements and the files written as one JSON object")
    add = parser.add_argument_group("clips").add_argument
    add("--onset", type=int, metavar="N", help="number of the onset frame, from 0; found if not given")
    add("--apex", type=int, metavar="N", help="number of the apex frame; found if not given")
    add("--fps", type=float, help="frames per second, where the clip does not state them or states them wrong")
    average = "average onset and apex with their neighbours within MS milliseconds, against noise (default: 30; 0: off)"
    add("--average", type=float, metavar="MS", help=average)
    add("--animation", type=Path, metavar="FILE", help=".gif, .webp or .png (default: beside the map)")
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


def run(given: argparse.Namespace) -> None:
    if given.dataset is not None:
        if given.frames:
            raise InputError(f"expected either frames or --dataset, found {given.frames[0]!r} beside it")
        _map_dataset(given)
    elif len(given.frames) == 2:
        _map_pair(given)
    elif len(given.frames) == 1:
        _map_clip(given)
    else:
        expected = "ONSET and APEX, one clip (a video or a folder of frames), or --dataset NAME"
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
    from mellm_plugin.motion.animation import animate
    from mellm_plugin.motion.apex import spot
    from mellm_plugin.motion.average import DEFAULT_MS, averaged, check_ms
    from mellm_plugin.motion.clip import read_clip
    from mellm_plugin.motion.render import motion_map
    from mellm_plugin.motion.scenes import find_cuts, scene

    average = DEFAULT_MS if given.average is None else given.average
    check_ms(average)
    clip = read_clip(given.frames[0], given.fps)
    if given.average and not clip.fps:
        raise InputError("expected --fps with it: the clip does not state its frame rate", where="--average")
    onset, apex = given.onset, given.apex
    if onset is None or apex is None:
        found = spot(clip.frames, settings)
        if found.reason:
            print(printable(f"{clip.source}: {found.reason}"), file=sys.stderr)
        onset = found.onset if onset is None else onset
        apex = found.apex if apex is None else apex
    if onset is None or apex is None:
        raise InputError("no movement was found; name its frames with --onset and --apex", where=clip.source)
    if not 0 <= onset < apex < len(clip):
        expected = f"the onset before the apex, both within 0..{len(clip) - 1}"
        raise InputError(f"expected {expected}, found {onset} and {apex}", where=clip.source)
    if not given.json:
        rate = f" at {clip.fps:g} frames per second" if clip.fps else ""
        frames = f"onset {clip.names[onset]}, apex {clip.names[apex]}"
        print(printable(f"{clip.source}: {len(clip)} frames{rate}; {frames}"))
    (first, in_onset), (last, in_apex) = averaged(clip.frames, onset, apex, clip.fps, average)
    if not given.json and in_onset + in_apex > 2:
        print(f"averaged against noise: {in_onset} frames at the onset, {in_apex} at the apex")
    row = _write_map(given, out, motion_map(first, last, settings, nose=given.nose))
    end = scene(len(clip), apex, find_cuts(clip.frames))[1]
    shown = animate(clip.frames[:end], onset, apex, settings, animation, fps=clip.fps, nose=given.nose)
    if given.json:
        about = {"clip": str(clip.source), "frames": len(clip), "fps": clip.fps, "onset": onset, "apex": apex}
        about["averaged"] = [in_onset, in_apex]
        print(json.dumps({**about, **row, "animation": str(shown.path)}, ensure_ascii=False))
        return
    print(f"{printable(str(shown.path))}: {len(shown.indices)} frames from {shown.indices[0]} to {shown.indices[-1]}")


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


def _write_map(given: argparse.Namespace, out: Path, drawn: MotionMap) -> dict[str, Any]:
    """Write the map, print its measurements, and return them as JSON."""
    from mellm_plugin.motion import colour
    from mellm_plugin.motion.images import write_atomically

    palette = drawn.settings.palette
    write_atomically(out, [_with_legend(drawn.to_pil(), palette) if given.legend else drawn.to_pil()], "map")
    (height, width), head = drawn.image.shape[:2], drawn.head
    row = {
        "file": str(out),
        "size": [width, height],
        "coloured": drawn.coloured,
        "head": head and {"tx": head.tx, "ty": head.ty, "rotation": head.rotation, "scale": head.scale},
        "head_from": drawn.facial.head_from,
        "doubts": list(drawn.doubts),
        "settings": drawn.settings.to_dict(),
        "legend": colour.legend_text(palette),
    }
    if given.json:
        return row
    moved = "head motion not removed"
    if head is not None:
        moved = f"head moved {head.tx:+.2f} px right, {head.ty:+.2f} px down, {head.rotation:+.2f} degrees, "
        moved += f"{100 * (head.scale - 1):+.2f} % nearer"
    print(f"{printable(str(out))}: {width}x{height}, {100 * drawn.coloured:.0f} % coloured; {moved}")
    if given.legend:
        print(f"colours: {colour.legend_text(palette)}")
    if drawn.settings.head == "nose" != drawn.facial.head_from:
        _warn("no nose tip is known (--nose X,Y): the robust fit removed head motion")
    _warn(*(f"doubtful: {doubt}" for doubt in drawn.doubts))
    if drawn.coloured == 0 and not drawn.doubts:
        _warn("nothing moves by more than the floor of the settings")
    return row


def _with_legend(picture: Image, palette: str) -> Image:
    """The picture with a colour wheel at its right."""
    from PIL import Image

    from mellm_plugin.motion import colour

    side = max(64, min(picture.height, picture.width) // 2)
    canvas = Image.new("RGB", (picture.width + side + 8, max(picture.height, side)), (128, 128, 128))
    canvas.paste(picture, (0, 0))
    canvas.paste(Image.fromarray(colour.legend(side, palette)), (picture.width + 8, 0))
    return canvas


def _warn(*lines: str) -> None:
    for line in lines:
        print(printable(line), file=sys.stderr)
