"""`mellm map`: motion maps of two frames, of a clip, of a dataset."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellm_plugin.cli.commands import Commands, printable
from mellm_plugin.errors import InputError

if TYPE_CHECKING:
    from mellm_plugin.motion.render import MotionMap
    from mellm_plugin.motion.settings import MotionSettings

_OF_CLIPS = ("animation", "onset", "apex", "fps", "average")
_OF_DATASETS = ("split", "workers", "device")


def _refuse(given: argparse.Namespace, names: Sequence[str], what: str) -> None:
    for name in names:
        if getattr(given, name) not in (None, False):
            raise InputError(f"--{name} is not for {what}; see: mellm map --help")


def _map(given: argparse.Namespace) -> None:
    if given.dataset is not None:
        if given.frames:
            raise InputError(f"expected either frames or --dataset, found {given.frames[0]!r} beside it")
        _map_dataset(given)
    elif len(given.frames) == 2:
        _map_pair(given)
    elif len(given.frames) == 1:
        _map_clip(given)
    else:
        raise InputError(
            f"expected ONSET and APEX, one clip (a video or a folder of frames), or --dataset NAME, found "
            f"{len(given.frames)} names"
        )


def _settings(given: argparse.Namespace) -> MotionSettings:
    from dataclasses import replace

    from mellm_plugin.motion.settings import resolve

    settings = resolve(given.preset)
    return replace(settings, palette=given.palette) if given.palette else settings


def _map_file(given: argparse.Namespace) -> Path:
    """Where a single map goes, once it is sure that it can."""
    from PIL import Image

    out: Path = given.output
    Image.init()
    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:
        raise InputError(f"expected a picture's name such as map.png, found {out.name!r}", where="--output")
    if os.path.realpath(out) in map(os.path.realpath, given.frames):
        raise InputError("expected another file than the frames", where="--output")
    if not out.parent.is_dir():
        raise InputError(f"there is no folder {str(out.parent)!r}; make it first", where="--output")
    return out


def _map_pair(given: argparse.Namespace) -> None:
    from mellm_plugin.locks import sole_writer
    from mellm_plugin.motion.render import motion_map

    _refuse(given, (*_OF_CLIPS, *_OF_DATASETS), "two frames")
    out, settings = _map_file(given), _settings(given)
    onset, apex = given.frames
    with sole_writer(out):
        row = _write_map(given, out, motion_map(onset, apex, settings, nose=given.nose))
    if given.json:
        print(json.dumps(row, ensure_ascii=False))


def _map_clip(given: argparse.Namespace) -> None:
    from mellm_plugin.locks import sole_writer
    from mellm_plugin.motion.animation import FORMATS

    _refuse(given, _OF_DATASETS, "one clip")
    out, settings = _map_file(given), _settings(given)
    animation: Path = given.animation or out.with_suffix(".gif")
    source = os.path.realpath(given.frames[0])
    for file, option in ((out, "--output"), (animation, "--animation")):
        if source in (os.path.realpath(file), os.path.realpath(file.parent)):
            raise InputError(f"{str(file)!r} is of the clip itself; name another file with {option}")
    if animation.suffix.lower() not in FORMATS:
        raise InputError(f"expected a name with one of {', '.join(FORMATS)}, found {animation.name!r}", "--animation")
    if given.average is not None and not 0 <= given.average <= 10:
        raise InputError(f"expected 0 to 10 frames, found {given.average}", where="--average")
    if os.path.realpath(animation) == os.path.realpath(out):
        raise InputError("the map and its animation would be one file; name another with --animation")
    if not animation.parent.is_dir():
        raise InputError(f"there is no folder {str(animation.parent)!r}; make it first", where="--animation")
    with sole_writer(out), sole_writer(animation):
        _write_clip(given, settings, out, animation)


def _write_clip(given: argparse.Namespace, settings: MotionSettings, out: Path, animation: Path) -> None:
    from mellm_plugin.motion.animation import animate
    from mellm_plugin.motion.apex import spot
    from mellm_plugin.motion.clip import read_clip
    from mellm_plugin.motion.render import motion_map
    from mellm_plugin.motion.scenes import AVERAGED_FROM_FPS, averaged, find_cuts, scene

    clip = read_clip(given.frames[0], given.fps)
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
        raise InputError(
            f"expected the onset before the apex, both within 0..{len(clip) - 1}, found {onset} and {apex}",
            where=clip.source,
        )
    rate = f" at {clip.fps:g} frames a second" if clip.fps else ""
    if not given.json:
        told = f"{clip.source}: {len(clip)} frames{rate}; onset {clip.names[onset]}, apex {clip.names[apex]}"
        print(printable(told))
    reach = given.average
    if reach is None:
        reach = int((clip.fps or 0) >= AVERAGED_FROM_FPS)
    reach = min(reach, (apex - onset - 1) // 2)  # no frame is of both
    cuts = find_cuts(clip.frames)
    first, last = (averaged(clip.frames, index, reach, cuts) for index in (onset, apex))
    row = _write_map(given, out, motion_map(first, last, settings, nose=given.nose))
    end = scene(len(clip), apex, cuts)[1]
    shown = animate(clip.frames[:end], onset, apex, settings, animation, fps=clip.fps, nose=given.nose)
    if given.json:
        about = {"clip": str(clip.source), "frames": len(clip), "fps": clip.fps, "onset": onset, "apex": apex}
        print(json.dumps({**about, **row, "animation": str(shown.path)}, ensure_ascii=False))
        return
    print(f"{printable(str(shown.path))}: {len(shown.indices)} frames from {shown.indices[0]} to {shown.indices[-1]}")


def _write_map(given: argparse.Namespace, out: Path, drawn: MotionMap) -> dict[str, Any]:
    """Write the map, tell of it, and return what is known of it, as JSON."""
    from PIL import Image

    from mellm_plugin.motion import colour
    from mellm_plugin.motion.images import write_atomically

    palette = drawn.settings.palette
    picture = drawn.to_pil()
    if given.legend:
        side = max(64, min(picture.height, picture.width) // 2)
        canvas = Image.new("RGB", (picture.width + side + 8, max(picture.height, side)), (128, 128, 128))
        canvas.paste(picture, (0, 0))
        canvas.paste(Image.fromarray(colour.legend(side, palette)), (picture.width + 8, 0))
        picture = canvas
    write_atomically(out, [picture], "map")
    height, width = drawn.image.shape[:2]
    head = drawn.head
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
    size = f"{width}x{height}"
    print(f"{printable(str(out))}: {size}, {100 * drawn.coloured:.0f} % coloured; {_head_words(drawn)}")
    if given.legend:
        print(f"colours: {colour.legend_text(palette)}")
    if drawn.settings.head == "nose" != drawn.facial.head_from:
        print("no nose tip is known (--nose X,Y): head motion was removed by the robust fit", file=sys.stderr)
    for doubt in drawn.doubts:
        print(f"doubtful: {doubt}", file=sys.stderr)
    if drawn.coloured == 0 and not drawn.doubts:
        print("nothing moves by more than the floor of the settings", file=sys.stderr)
    return row


def _head_words(drawn: MotionMap) -> str:
    head = drawn.head
    if head is None:
        return "head motion left in"
    return (
        f"head moved {head.tx:+.2f} px right, {head.ty:+.2f} px down, {head.rotation:+.2f} degrees, "
        f"{100 * (head.scale - 1):+.2f} % nearer"
    )


def _map_dataset(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets.maps import TABLE, draw_dataset
    from mellm_plugin.meu import prepared_name
    from mellm_plugin.motion.cache import default_cache

    _refuse(given, (*_OF_CLIPS, "nose", "legend"), "a dataset")
    name = prepared_name(given.dataset)
    split = "test" if given.split is None else given.split
    many = {"workers": 1 if given.workers is None else given.workers, "device": given.device}
    drawn = draw_dataset(name, split, given.output, _settings(given), cache=default_cache(), **many)
    if given.json:
        row = {"folder": str(drawn.folder), "maps": drawn.maps, "without_nose": drawn.without_nose}
        row |= {"sheets": [sheet.name for sheet in drawn.sheets], "table": TABLE}
        print(json.dumps({**row, "doubtful": drawn.doubtful, "faults": drawn.faults}, ensure_ascii=False))
        if drawn.faults:
            raise InputError(drawn.faults, where=f"{name}, {split}")
        return
    beside = ", ".join([*(sheet.name for sheet in drawn.sheets), TABLE])
    doubtful = f"{len(drawn.doubtful)} of them doubtful"
    print(f"{printable(str(drawn.folder))}: {drawn.maps} maps, {doubtful}; beside them {beside}")
    if drawn.without_nose:
        print(
            f"{drawn.without_nose} clips have no nose tip: head motion was removed by the robust fit", file=sys.stderr
        )
    for clip, doubts in drawn.doubtful.items():
        print(printable(f"doubtful: {clip}: {'; '.join(doubts)}"), file=sys.stderr)
    if drawn.faults:
        raise InputError(drawn.faults, where=f"{name}, {split}")


def _point(text: str) -> tuple[float, float]:
    try:
        x, y = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected X,Y in px, found {text!r}") from None
    return x, y


def add_commands(commands: Commands) -> None:
    """Add `map`."""
    drawing = commands.add(
        "map",
        _map,
        "draw motion maps: of two frames, of a clip, or of a prepared dataset; faces cut out, all frames with one box",
        "  mellm map onset.png apex.png -o map.png --legend\n"
        "  mellm map clip.mp4 -o map.png                    (finds onset and apex; also writes map.gif)\n"
        "  mellm map frames/ -o map.png --onset 12 --apex 31 --fps 200 --animation flow.webp\n"
        "  mellm map --dataset synthme -o maps/ --workers 2\n"
        "  mellm map onset.jpg apex.jpg -o map.png --preset published --nose 112,130",
    )
    drawing.add_argument(
        "frames",
        nargs="*",
        metavar="FRAME",
        help="onset and apex frame (PNG, JPEG, BMP or TIFF, 8 or 16 bits), or one clip: a video or a folder of frames",
    )
    drawing.add_argument("-o", "--output", type=Path, required=True, help="the map's file; with --dataset a folder")
    drawing.add_argument("--preset", default="robust", help="preset, or a motion.json file (default: %(default)s)")
    drawing.add_argument("--palette", help="standard, or colour-blind")
    drawing.add_argument("--legend", action="store_true", help="add the colour wheel, and print the colours in words")
    drawing.add_argument(
        "--nose", type=_point, metavar="X,Y", help="nose tip in px of the onset, for --preset published"
    )
    drawing.add_argument("--json", action="store_true", help="print what was found and written as one JSON object")
    clip = drawing.add_argument_group("of a clip")
    clip.add_argument("--onset", type=int, metavar="N", help="number of the onset frame from 0; found where not given")
    clip.add_argument("--apex", type=int, metavar="N", help="number of the apex frame; found where not given")
    clip.add_argument("--fps", type=float, help="frames a second, where the clip does not tell or tells it wrong")
    clip.add_argument(
        "--average",
        type=int,
        metavar="N",
        help="average onset and apex with N frames on each side, against noise (default: 1 from 100 fps up, else 0)",
    )
    clip.add_argument("--animation", type=Path, metavar="FILE", help=".gif, .webp or .png (default: beside the map)")
    many = drawing.add_argument_group("of a dataset")
    many.add_argument("--dataset", metavar="NAME", help="draw every clip of a prepared dataset (see: mellm datasets)")
    many.add_argument("--split", help="default: test")
    many.add_argument("--workers", type=int, help="threads (default: 1)")
    many.add_argument("--device", help="compute TV-L1 (--preset published) there, many pairs at once, such as cuda")
