"""The command `mellm`. Every subcommand imports what it needs when it runs, so that `mellm --help` answers at once.

Exit codes: 0 done; 1 the input could not be used (the message says why and what to do); 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mellm_plugin import __version__
from mellm_plugin.errors import InputError, MellmError


def _tasks(given: argparse.Namespace) -> None:
    from mellm_plugin.plugin import task_folder

    if given.path:
        print(task_folder())
        return
    found = list_tasks(task_folder())
    if given.json:
        for name, text in found.items():
            print(json.dumps({"task": name, "description": text}))
        return
    width = max(map(len, found))
    for name, text in found.items():
        print(f"{name:<{width}}  {text}")


def list_tasks(folder: Path) -> dict[str, str]:
    """Every task of a folder of lmms-eval YAMLs, with the first comment line of its file."""
    import yaml

    class Plain(yaml.SafeLoader):  # type: ignore[misc]
        """Reads `!function` as text: nothing is imported to list names."""

    Plain.add_multi_constructor("!", lambda loader, suffix, node: loader.construct_scalar(node))
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        name = (yaml.load(text, Plain) or {}).get("task")
        if isinstance(name, str):
            first = text.split("\n", 1)[0]
            found[name] = first.lstrip("# ") if first.startswith("#") else ""
    return found


def _map(given: argparse.Namespace) -> None:
    from PIL import Image

    from mellm_plugin.motion import colour
    from mellm_plugin.motion.render import motion_map
    from mellm_plugin.motion.settings import resolve

    out: Path = given.output
    Image.init()
    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:
        raise InputError(f"expected a picture's name such as map.png, found {out.name!r}", where="--output")
    if os.path.realpath(out) in {os.path.realpath(given.onset), os.path.realpath(given.apex)}:
        raise InputError("expected another file than the two frames", where="--output")
    if not out.parent.is_dir():
        raise InputError(f"there is no folder {str(out.parent)!r}; make it first", where="--output")
    drawn = motion_map(given.onset, given.apex, resolve(given.preset))
    picture = drawn.to_pil()
    if given.legend:
        side = max(64, min(picture.height, picture.width) // 2)
        canvas = Image.new("RGB", (picture.width + side + 8, max(picture.height, side)), (128, 128, 128))
        canvas.paste(picture, (0, 0))
        canvas.paste(Image.fromarray(colour.legend(side)), (picture.width + 8, 0))
        picture = canvas
    part = out.with_name(f".{out.stem}.part{out.suffix}")
    try:
        picture.save(part)
        part.replace(out)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write the map: {error}", where=str(out)) from error
    finally:
        part.unlink(missing_ok=True)
    head = drawn.head
    moved = (
        "head motion left in"
        if head is None
        else f"head moved {head.tx:+.2f} px right, {head.ty:+.2f} px down, {head.rotation:+.2f} degrees, "
        f"{100 * (head.scale - 1):+.2f} % nearer"
    )
    print(f"{out}: {drawn.image.shape[1]}x{drawn.image.shape[0]}, {100 * drawn.coloured:.0f} % coloured; {moved}")
    if given.legend:
        print(f"colours: {colour.legend_text()}")
    if drawn.coloured == 0:
        print("nothing moves by more than the floor of the settings: the two frames may be the same", file=sys.stderr)


def _prepare(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets import synthme

    if given.dataset not in ("synthme", synthme.NAME):
        raise InputError(
            f"this version prepares synthme, found {given.dataset!r}; write any other dataset with "
            "mellm_plugin.datasets.store.write, which takes its clips as samples"
        )
    print(synthme.prepare(replace=given.replace))


def _datasets(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets import store

    faults: list[str] = []
    names = store.list_prepared()
    for name in names:
        try:
            info = store.verify(name) if given.verify else store.read_info(name)
        except MellmError as error:
            faults.append(str(error))
            continue
        splits = {split: {key: entry[key] for key in ("clips", "subjects")} for split, entry in info["splits"].items()}
        folder = str(store.dataset_dir(name))
        if given.json:
            print(json.dumps({"dataset": name, "folder": folder, "source": info["source"], "splits": splits}))
            continue
        print(f"{name}  {folder}")
        print(f"  {info['source']}")
        for split, counts in splits.items():
            print(f"  {split}: {counts['clips']} clips of {counts['subjects']} subjects")
    if not names:
        print(f"nothing is prepared in {store.data_root()}; try: mellm prepare synthme", file=sys.stderr)
    if faults:
        raise InputError(faults)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mellm",
        description="Micro-expression understanding inside lmms-eval.",
        epilog="Evaluate: lmms-eval --model mellm --tasks synthme_meu --output_path results --log_samples",
    )
    parser.add_argument("--version", action="version", version=f"mellm-plugin {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str, examples: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made

    tasks = command(
        "tasks",
        _tasks,
        "list the tasks of this package, or print their folder",
        "  mellm tasks\n  lmms-eval tasks list --include-path $(mellm tasks --path)",
    )
    tasks.add_argument("--path", action="store_true", help="print the folder of the task files, for --include_path")
    tasks.add_argument("--json", action="store_true", help="one JSON object a line")

    preparing = command(
        "prepare",
        _prepare,
        "bring a dataset into the form that tasks and training read",
        "  mellm prepare synthme\n  mellm prepare synthme --replace",
    )
    preparing.add_argument("dataset", help="synthme: 300 drawn test clips (a task that needs them makes them itself)")
    preparing.add_argument("--replace", action="store_true", help="make it again even if it is there")

    prepared = command(
        "datasets",
        _datasets,
        "list the prepared datasets (the environment variable MELLM_DATA chooses their folder)",
        "  mellm datasets\n  mellm datasets --verify",
    )
    prepared.add_argument("--verify", action="store_true", help="read them again and compare with what was recorded")
    prepared.add_argument("--json", action="store_true", help="one JSON object a line")

    drawing = command(
        "map",
        _map,
        "draw the motion map of an onset and an apex frame, both cut to the face with the same box",
        "  mellm map onset.png apex.png -o map.png --legend\n  mellm map onset.jpg apex.jpg -o map.png --preset fast",
    )
    drawing.add_argument("onset", help="onset frame: PNG, JPEG, BMP or TIFF, 8 or 16 bits")
    drawing.add_argument("apex", help="apex frame, of the same size")
    drawing.add_argument("-o", "--output", type=Path, required=True, help="where to write the map")
    drawing.add_argument("--preset", default="robust", help="preset, or a motion.json file (default: %(default)s)")
    drawing.add_argument("--legend", action="store_true", help="add the colour wheel, and print the colours in words")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point of the command; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        given.run(given)
        sys.stdout.flush()
    except MellmError as error:
        print(f"mellm: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk, a name too long
        print(f"mellm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
