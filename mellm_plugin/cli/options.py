"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mellm_plugin.errors import InputError, near

if TYPE_CHECKING:
    from mellm_plugin.datasets.crop import Cropper

COLUMNS = "KEY=HEADER, such as subject=sub,clip=material"  # the form of `--columns`, for messages


def add_json(parser: argparse.ArgumentParser, text: str = "print one JSON object per line") -> None:
    parser.add_argument("--json", action="store_true", help=text)


def add_workers(parser: argparse.ArgumentParser, what: str) -> None:
    """`--workers`, which defaults to the number of cores, at most four."""
    cores = min(4, os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, default=cores, help=f"{what} (default: %(default)s)")


def add_columns(parser: argparse.ArgumentParser) -> None:
    """`--columns`, for sheets, tables and lists; `pairs` reads it."""
    names = "names of columns that differ from the usual ones: subject=sub,clip=material,onset=on"
    parser.add_argument("--columns", action="append", default=[], metavar="KEY=HEADER,..", help=names)


def add_crop(parser: argparse.ArgumentParser) -> None:
    """`--crop`, `--boxes` and `--weights`; `cropper` reads them."""
    add = parser.add_argument
    crops = "none, box or detector: how to crop raw frames; one box for all frames of a clip (default: none)"
    add("--crop", default="none", help=crops)
    add("--boxes", type=Path, metavar="CSV", help="for --crop box: id,left,top,right,bottom")
    add("--weights", type=Path, metavar="ONNX", help="for --crop detector: YuNet, which also finds noses")


def add_average(parser: argparse.ArgumentParser) -> None:
    """`--average`, for datasets; its default is that of `mellm_plugin.motion.average`, which is slow to import."""
    text = "average onset and apex with their neighbours within MS milliseconds, against noise; 0: off"
    parser.add_argument("--average", type=float, default=30.0, metavar="MS", help=f"{text} (default: %(default)g)")


def add_config_values(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="set one value of the config")


def cropper(given: argparse.Namespace) -> Cropper:
    """The cropper that the options of `add_crop` choose."""
    from mellm_plugin.datasets import crop

    return crop.cropper(given.crop, boxes=given.boxes, weights=given.weights)


def pairs(texts: Iterable[str], flag: str, example: str) -> dict[str, str]:
    """The keys and values of `KEY=VALUE,KEY=VALUE`, once for each use of a flag; a value may hold a comma.

    Raises:
        InputError: a part that is no pair, or a key with two values; all faults at once.
    """
    faults: list[str] = []
    found: dict[str, str] = {}
    for pair in (pair for text in texts for pair in re.split(r",(?=[^,=]*=)", text)):
        key, _, value = (part.strip() for part in pair.partition("="))
        if not (key and value):
            faults.append(f"expected {example}, found {pair.strip()!r}")
        elif found.setdefault(key, value) != value:
            faults.append(f"expected {key!r} once, found {key}={found[key]} and {key}={value}")
    if faults:
        raise InputError(faults, where=flag)
    return found


def shipped_configs() -> dict[str, Path]:
    """The configs that come with the package, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))}


def find_config(given: str) -> Path:
    """A file, or a config that comes with the package by its name: `bundled_lora`, also `configs/bundled_lora.yaml`.

    Raises:
        InputError: there is neither.
    """
    path = Path(given).expanduser()
    if path.exists() and not path.is_dir():
        return path
    known, name = shipped_configs(), path.name.removesuffix(".yaml")
    if path.parent in (Path(), Path("configs")) and name in known:
        return known[name]
    configs = f"configs that come with the package: {', '.join(known)}"
    raise InputError(f"no such file; {configs}.{near(name, known)}", where=given)
