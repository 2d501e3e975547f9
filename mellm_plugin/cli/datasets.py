"""`mellm prepare`, `mellm datasets`: licensed material and tables of one's own become prepared datasets."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mellm_plugin.cli import tables
from mellm_plugin.cli.commands import Commands
from mellm_plugin.datasets.catalogue import CONVERTED, KNOWN, prepare_command
from mellm_plugin.errors import InputError, MellmError

if TYPE_CHECKING:
    from mellm_plugin.datasets.conversion import Options, Report

_TOLD = 20  # clips that are told one by one; info.json holds all


def _prepare(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets.conversion import prepare
    from mellm_plugin.datasets.converters import CONVERTERS
    from mellm_plugin.datasets.sheets import named_columns

    dataset = CONVERTERS[given.dataset]
    sheets = _sheets(given.sheet or (), given.dataset)
    if columns := tables.pairs(given.columns, "--columns", tables.COLUMNS):
        if not sheets:
            raise InputError("expected --sheet with it: there is no sheet that could have columns", where="--columns")
        dataset = replace(dataset, columns=named_columns(dataset.columns, columns))
    _tell(prepare(dataset, _options(given, sheets)), given)


def _options(given: argparse.Namespace, sheets: Mapping[str, Path]) -> Options:
    from mellm_plugin.datasets.conversion import Options
    from mellm_plugin.datasets.crop import cropper

    return Options(
        frames=given.frames,
        sheets=sheets,
        crop=cropper(given.crop, boxes=given.boxes, weights=given.weights),
        nearest=given.nearest,
        corrections=given.corrections,
        strict=given.strict,
        workers=given.workers,
        replace=given.replace,
        root=given.out,
    )


def _sheets(given: Sequence[str], dataset: str) -> dict[str, Path]:
    """The sheet of each split: `FILE`, or `SPLIT=FILE`; for DFME the split may be in the file's name."""
    if dataset != "dfme":
        if len(given) > 1:
            raise InputError(f"expected one sheet, found {', '.join(given)}", where="--sheet")
        return {"test": Path(given[0])} if given else {}
    from mellm_plugin.datasets.dfme import SPLITS

    found: dict[str, Path] = {}
    faults: list[str] = []
    for text in given:
        split, named, file = text.partition("=")
        if not named or (split not in SPLITS and Path(text).exists()):  # of a path that holds the mark itself
            split, file = "", text
            plain = Path(text).stem.lower().replace("_", "").replace("-", "").replace(" ", "")
            split = next((name for name in SPLITS if name.replace("_", "") in plain), "")
        if split not in SPLITS:
            faults.append(f"expected SPLIT={file} with one of {', '.join(SPLITS)}, found {text!r}")
        elif split in found:
            faults.append(f"expected one sheet for {split}, found {found[split]} and {file}")
        else:
            found[split] = Path(file)
    if faults:
        raise InputError(faults, where="--sheet")
    return found


def _tell(report: Report, given: argparse.Namespace) -> None:
    """The summary of a preparation: what is in it, what is not, and what is otherwise than published."""
    from mellm_plugin.datasets.entry import differences
    from mellm_plugin.datasets.skipped import by_cause, one_line
    from mellm_plugin.datasets.store import data_root

    info = report.info
    if given.json:
        summary = {key: value for key, value in info.items() if key != "made_from"}
        done = {"folder": str(report.folder), "unchanged": report.unchanged, "reused": report.reused}
        print(json.dumps({**done, **summary}, ensure_ascii=False))
        return
    print(f"{report.folder}{': unchanged' if report.unchanged else ''}")
    if report.reused and not report.unchanged:
        print(f"  {report.reused} clips were there already, and are taken over")
    for split, entry in info["splits"].items():
        print(f"  {split}: {entry['clips']} clips of {entry['subjects']} subjects")
        for what, counts in (("labels", entry["emotions"]), ("units", entry["aus"])):
            if counts:
                print(f"    {what}: {', '.join(f'{name} {count}' for name, count in counts.items())}")
        for what, count in (("label", entry["without_emotion"]), ("known units", entry["without_aus"])):
            if count:
                print(f"    without {what}: {count}")
    if len(info["apex_sources"]) > 1 or "spotted" in info["apex_sources"]:
        named = {"sheet": "of the sheet", "corrected": "corrected", "spotted": "spotted"}
        print(f"  apex: {', '.join(f'{count} {named[source]}' for source, count in info['apex_sources'].items())}")
    for line in differences(info):
        print(f"  {line}")
    corrected = Counter(f"{c['field']} ({c['reason']})" for c in info["corrections"])
    for text, count in corrected.items():
        print(f"  corrected in {count} clip{'s' * (count > 1)}: {text}")
    _told("clips with a note", [f"{clip}: {'; '.join(notes)}" for clip, notes in info["notes"].items()])
    _told("codes not read in full", [f"{clip}: {text}" for clip, text in info["unread_codes"].items()])
    if info["published"] is None and info["skipped"]:  # a table of one's own
        _told("skipped, by their causes", by_cause(info["skipped"]))
    else:
        _told("skipped", [one_line(skipped) for skipped in info["skipped"]])
    if report.folder.parent != data_root():
        print(f"  for tasks to find it: export MELLM_DATA={shlex.quote(str(report.folder.parent))}", file=sys.stderr)


def _told(what: str, lines: Sequence[str]) -> None:
    if lines:
        print(f"  {what}: {len(lines)}", file=sys.stderr)
        for line in lines[:_TOLD]:
            print(f"    {line}", file=sys.stderr)
        if len(lines) > _TOLD:
            print(f"    and {len(lines) - _TOLD} more, see info.json", file=sys.stderr)


def _prepare_megc_vqa(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets import megc_vqa, store
    from mellm_plugin.datasets.crop import cropper
    from mellm_plugin.datasets.vqa_questions import NAME

    crop = cropper(given.crop, boxes=given.boxes, weights=given.weights)
    exists: Literal["replace", "keep"] = "replace" if given.replace else "keep"
    root = given.out
    folder = megc_vqa.prepare(given.questions, given.videos, root, crop=crop, strict=given.strict, exists=exists)
    info = store.read_info(NAME, root)
    if given.json:
        print(json.dumps({"folder": str(folder), **info}, ensure_ascii=False))
        return
    print(folder)
    for line in megc_vqa.summary(info):
        print(f"  {line}")


def _prepare_synthme(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets import ladder, store, synthme

    folder = {"synthme": synthme, "synthme_ladder": ladder}[given.dataset].prepare(
        root=given.out, replace=given.replace
    )
    info = {"folder": str(folder), **store.read_info(folder.name, given.out)}
    print(json.dumps(info, ensure_ascii=False) if given.json else folder)


def _remove(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets import store
    from mellm_plugin.datasets.disk import in_words

    for removed in store.remove(given.remove):
        if given.json:
            print(json.dumps(removed, ensure_ascii=False))
            continue
        clips = "what was not whole" if removed["clips"] is None else f"{removed['clips']} clips"
        print(f"removed {removed['folder']}: {clips}, {in_words(removed['bytes'])}")


def _datasets(given: argparse.Namespace) -> None:
    if given.remove is not None:
        if given.verify:
            raise InputError("expected --verify or --remove, found both")
        return _remove(given)
    from tqdm import tqdm

    from mellm_plugin.datasets import store
    from mellm_plugin.datasets.entry import differences

    faults: list[str] = []
    names = store.list_prepared()
    # none where nobody looks at it
    for name in tqdm(names, desc="verifying", unit="dataset", disable=None if given.verify else True):
        try:
            info = store.verify(name) if given.verify else store.read_info(name)
        except MellmError as error:
            faults.append(str(error))
            continue
        splits = {split: {key: entry[key] for key in ("clips", "subjects")} for split, entry in info["splits"].items()}
        folder = str(store.dataset_dir(name))
        sheets = info.get("sheets", {})
        if given.json:
            row = {"dataset": name, "folder": folder, "source": info["source"], "sheets": sheets, "splits": splits}
            print(json.dumps({**row, "skipped": len(info.get("skipped", ()))}, ensure_ascii=False))
            continue
        print(f"{name}  {folder}")
        print(f"  {info['source'] if isinstance(info['source'], str) else info['title']}")
        for split, sheet in sheets.items():
            print(f"  {split}: sheet {sheet['file']}, sha256 {sheet['sha256']}")
        for split, counts in splits.items():
            print(f"  {split}: {counts['clips']} clips of {counts['subjects']} subjects")
        for line in differences(info):
            print(f"  {line}")
        if info.get("skipped"):
            print(f"  skipped: {len(info['skipped'])}, see {os.path.join(folder, 'info.json')}")
        if name.startswith("table-") and (gone := _without_table(info)):
            print(f"  its table {gone} is not there any more; to remove it: mellm datasets --remove {name}")
        if given.verify:
            print("  verified: every file is as it was written")
    if not names:
        print(f"nothing is prepared in {store.data_root()}; try: mellm prepare synthme", file=sys.stderr)
    if faults:
        raise InputError(faults)


def _without_table(info: Mapping[str, Any]) -> Path | None:
    """The table that a dataset was made from at its first use, where it is there no more."""
    file = Path(str(info.get("frames", "")), str(info.get("sheets", {}).get("test", {}).get("file", "")))
    return None if file.is_file() else file


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _of_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=_folder, metavar="DIR", help="data root to write to (default: $MELLM_DATA)")
    parser.add_argument("--replace", action="store_true", help="make it again even if it is there")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")


def _of_crop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--crop",
        default="none",
        help="none, box or detector: what to cut out of raw frames, the same in all frames of a clip (default: none)",
    )
    parser.add_argument("--boxes", type=Path, metavar="CSV", help="for --crop box: id,left,top,right,bottom")
    parser.add_argument(
        "--weights", type=Path, metavar="ONNX", help="for --crop detector: YuNet, which finds noses, too"
    )


def _of_conversion(parser: argparse.ArgumentParser) -> None:
    _of_crop(parser)
    parser.add_argument("--strict", action="store_true", help="prepare nothing if anything is wrong with any clip")
    parser.add_argument(
        "--workers", type=int, default=min(4, os.cpu_count() or 1), help="threads (default: %(default)s)"
    )
    _of_output(parser)


def add_commands(commands: Commands) -> None:
    """Add `prepare` and `datasets`."""
    preparing = commands.add(
        "prepare",
        None,
        "bring a dataset into the form that tasks and training read",
        "".join(f"  {prepare_command(name)}\n" for name in ("synthme", "casme2", "samm", "smic"))
        + "  mellm prepare casme2 --frames CASME2/CASME2_RAW_selected --sheet CODING.xlsx --crop detector\n"
        "  mellm prepare table --name mydata --csv clips.csv",
    )
    made = Commands(preparing, "datasets", "DATASET")
    for name in CONVERTED:
        one = made.add(name, _prepare, KNOWN[name].title, f"  {prepare_command(name)}\n")
        one.set_defaults(dataset=name)
        one.add_argument("--frames", type=Path, required=True, metavar="DIR", help="the folder of the frames")
        needed = "--sheet" in KNOWN[name].arguments
        one.add_argument(
            "--sheet",
            nargs="+",
            action="extend",
            required=needed,
            metavar="SPLIT=FILE" if name == "dfme" else "FILE",
            help="the coding sheet, .xlsx or .csv" + ("" if needed else ", if there is one"),
        )
        tables.add_columns(one)
        one.add_argument("--nearest", action="store_true", help="take the nearest frame where one is missing")
        one.add_argument(
            "--no-corrections", dest="corrections", action="store_false", help="leave the sheet's known errors in it"
        )
        _of_conversion(one)
    tables.add_table(made, _of_conversion, _tell)
    asked = made.add(
        "megc_vqa",
        _prepare_megc_vqa,
        "questions of the MEGC challenges, on prepared datasets and on their test videos",
        f"  {prepare_command('megc_vqa')}\n",
    )
    asked.add_argument("--questions", type=Path, nargs="+", action="extend", required=True, metavar="JSONL")
    asked.add_argument("--videos", type=Path, metavar="DIR", help="the test videos: files, or folders of frames")
    _of_crop(asked)
    asked.add_argument("--strict", action="store_true", help="prepare nothing if anything has to be left out")
    _of_output(asked)
    for name, what in (("synthme", "300 drawn test clips"), ("synthme_ladder", "704 drawn clips of known strengths")):
        drawn = made.add(name, _prepare_synthme, f"{what} (tasks make them themselves)", f"  mellm prepare {name}\n")
        drawn.set_defaults(dataset=name)
        _of_output(drawn)

    prepared = commands.add(
        "datasets",
        _datasets,
        "list the prepared datasets (the environment variable MELLM_DATA chooses their folder)",
        "  mellm datasets\n  mellm datasets --verify\n  mellm datasets --remove mydata",
    )
    prepared.add_argument("--remove", nargs="+", metavar="NAME", help="remove these datasets from the data root")
    prepared.add_argument("--verify", action="store_true", help="read them again and compare with what was recorded")
    prepared.add_argument("--json", action="store_true", help="one JSON object a line")
