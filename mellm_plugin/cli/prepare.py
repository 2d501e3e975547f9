"""`mellm prepare`: convert licensed datasets and your own tables to prepared datasets."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellm_plugin.cli.commands import add_command, add_subparsers
from mellm_plugin.cli.options import COLUMNS, add_average, add_columns, add_crop, add_json, add_workers, cropper, pairs
from mellm_plugin.datasets.catalogue import CONVERTED, KNOWN, prepare_command
from mellm_plugin.errors import InputError

if TYPE_CHECKING:
    from mellm_plugin.datasets.conversion import Report

EXAMPLES = (
    "".join(f"  {prepare_command(name)}\n" for name in ("synthme", "casme2", "samm", "smic"))
    + "  mellm prepare casme2 --frames CASME2/CASME2_RAW_selected --sheet CODING.xlsx --crop detector\n"
    "  mellm prepare table --name mydata --csv clips.csv"
)

_MOST_LINES = 20  # clips that are printed one by one; info.json holds all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    datasets = add_subparsers(parser, "datasets", "DATASET")
    for name in CONVERTED:
        _add_converted(add_command(datasets, name, KNOWN[name].title, f"  {prepare_command(name)}\n"), name)
    csv = "  mellm prepare table --name mydata --csv clips.csv"
    text = "your own dataset, from a table of clips (see docs/add-a-dataset.md)"
    _add_table(add_command(datasets, "table", text, f"{csv}\n{csv} --crop detector && mellm new-task mydata"))
    text = "questions of the MEGC challenges, on prepared datasets and on their test videos"
    _add_questions(add_command(datasets, "megc_vqa", text, f"  {prepare_command('megc_vqa')}\n"))
    for name, text in (("synthme", "300 drawn test clips"), ("synthme_ladder", "704 drawn clips of known strengths")):
        drawn = add_command(datasets, name, f"{text} (tasks draw them when needed)", f"  mellm prepare {name}\n")
        drawn.set_defaults(run=_prepare_drawn, dataset=name)
        _add_output(drawn)


def _add_converted(parser: argparse.ArgumentParser, name: str) -> None:
    parser.set_defaults(run=_prepare_converted, dataset=name)
    add = parser.add_argument
    add("--frames", type=Path, required=True, metavar="DIR", help="the folder of the frames")
    required, file = "--sheet" in KNOWN[name].arguments, "SPLIT=FILE" if name == "dfme" else "FILE"
    text = f"the coding sheet, .xlsx or .csv{'' if required else ', if there is one'}"
    add("--sheet", nargs="+", action="extend", required=required, metavar=file, help=text)
    add_columns(parser)
    add("--nearest", action="store_true", help="use the nearest frame where one is missing")
    add("--no-corrections", dest="corrections", action="store_false", help="keep the sheet's known errors")
    _add_conversion(parser)


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_prepare_table)
    add = parser.add_argument
    add("--csv", type=Path, required=True, metavar="FILE", help="id,subject,onset,apex,emotion,aus; .csv or .xlsx")
    add("--name", required=True, help="of the prepared dataset: lower-case letters, digits, _ and -")
    add_columns(parser)
    _add_conversion(parser)


def _add_questions(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_prepare_questions)
    add = parser.add_argument
    add("--questions", type=Path, nargs="+", action="extend", required=True, metavar="JSONL")
    add("--videos", type=Path, metavar="DIR", help="the test videos: files, or folders of frames")
    add_crop(parser)
    add_average(parser)
    add("--strict", action="store_true", help="prepare nothing if any question has to be left out")
    _add_output(parser)


def _add_conversion(parser: argparse.ArgumentParser) -> None:
    add_crop(parser)
    add_average(parser)
    parser.add_argument("--strict", action="store_true", help="prepare nothing if any clip has a fault")
    add_workers(parser, "threads")
    _add_output(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=_folder, metavar="DIR", help="data root to write to (default: $MELLM_DATA)")
    parser.add_argument("--replace", action="store_true", help="prepare it again even if it exists")
    add_json(parser, "print the summary as one JSON object")


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _prepare_converted(given: argparse.Namespace) -> None:
    from dataclasses import replace

    from mellm_plugin.datasets.conversion import Options, prepare
    from mellm_plugin.datasets.converters import CONVERTERS
    from mellm_plugin.datasets.sheets import named_columns

    dataset = CONVERTERS[given.dataset]
    sheets = _sheets(given.sheet or (), given.dataset)
    if columns := pairs(given.columns, "--columns", COLUMNS):
        if not sheets:
            raise InputError("expected --sheet with it: there is no sheet that could have columns", where="--columns")
        dataset = replace(dataset, columns=named_columns(dataset.columns, columns))
    names = ("frames", "nearest", "corrections", "average", "strict", "workers", "replace")
    same = {name: getattr(given, name) for name in names}
    _print_report(prepare(dataset, Options(sheets=sheets, crop=cropper(given), root=given.out, **same)), given)


def _sheets(given: Sequence[str], dataset: str) -> dict[str, Path]:
    """The sheet of each split: `FILE`, or `SPLIT=FILE`; for DFME the file's name may contain the split."""
    if dataset != "dfme":
        if len(given) > 1:
            raise InputError(f"expected one sheet, found {', '.join(given)}", where="--sheet")
        return {"test": Path(given[0])} if given else {}
    from mellm_plugin.datasets.dfme import SPLITS

    found: dict[str, Path] = {}
    faults: list[str] = []
    for text in given:
        split, named, file = text.partition("=")
        if not named or (split not in SPLITS and Path(text).exists()):  # "=" may be part of a path
            file = text
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


def _prepare_table(given: argparse.Namespace) -> None:
    from mellm_plugin.cli.new_task import print_note
    from mellm_plugin.datasets import table

    columns = pairs(given.columns, "--columns", COLUMNS)
    same = {name: getattr(given, name) for name in ("average", "strict", "workers", "replace")}
    report = table.prepare(given.csv, given.name, columns, root=given.out, crop=cropper(given), **same)
    _print_report(report, given)
    for oddity in table.oddities(table.read_table(given.csv, columns)):
        print_note(oddity)


def _prepare_questions(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets import megc_vqa, store
    from mellm_plugin.datasets.vqa_questions import NAME

    how: dict[str, Any] = {
        "average": given.average,
        "strict": given.strict,
        "exists": "replace" if given.replace else "keep",
    }
    folder = megc_vqa.prepare(given.questions, given.videos, given.out, crop=cropper(given), **how)
    info = store.read_info(NAME, given.out)
    if given.json:
        print(json.dumps({"folder": str(folder), **info}, ensure_ascii=False))
        return
    print(folder)
    for line in megc_vqa.summary(info):
        print(f"  {line}")


def _prepare_drawn(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets import ladder, store, synthme

    drawn = synthme if given.dataset == "synthme" else ladder
    folder = drawn.prepare(root=given.out, replace=given.replace)
    info = {"folder": str(folder), **store.read_info(folder.name, given.out)}
    print(json.dumps(info, ensure_ascii=False) if given.json else folder)


def _print_report(report: Report, given: argparse.Namespace) -> None:
    """Print what was prepared, what was left out, and how it differs from the published dataset."""
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
        print(f"  {report.reused} clips existed already and are reused")
    _print_contents(info)
    _print_limited("clips with a note", [f"{clip}: {'; '.join(notes)}" for clip, notes in info["notes"].items()])
    _print_limited("codes not read in full", [f"{clip}: {text}" for clip, text in info["unread_codes"].items()])
    if info["published"] is None and info["skipped"]:  # the user's own table
        _print_limited("skipped, by their causes", by_cause(info["skipped"]))
    else:
        _print_limited("skipped", [one_line(skipped) for skipped in info["skipped"]])
    if report.folder.parent != data_root():
        print(f"  for tasks to find it: export MELLM_DATA={shlex.quote(str(report.folder.parent))}", file=sys.stderr)


def _print_contents(info: Mapping[str, Any]) -> None:
    from mellm_plugin.datasets.entry import differences

    for split, entry in info["splits"].items():
        print(f"  {split}: {entry['clips']} clips of {entry['subjects']} subjects")
        for what, counts in (("labels", entry["emotions"]), ("units", entry["aus"])):
            if counts:
                print(f"    {what}: {', '.join(f'{name} {count}' for name, count in counts.items())}")
        for what, count in (("label", entry["without_emotion"]), ("known units", entry["without_aus"])):
            if count:
                print(f"    without {what}: {count}")
    if len(info["apex_sources"]) > 1 or "spotted" in info["apex_sources"]:
        named = {"sheet": "from the sheet", "corrected": "corrected", "spotted": "spotted"}
        print(f"  apex: {', '.join(f'{count} {named[source]}' for source, count in info['apex_sources'].items())}")
    for kind, count in info["averaged"].items():
        clips = f"{count} clip{'s' * (count > 1)}"
        within = f"onset and apex averaged with their neighbours within {info['average']:g} ms: {clips}"
        print(f"  {within if kind == 'averaged' else f'not averaged, for {kind}: {clips}'}")
    for line in differences(info):
        print(f"  {line}")
    corrected = Counter(f"{c['field']} ({c['reason']})" for c in info["corrections"])
    for text, count in corrected.items():
        print(f"  corrected in {count} clip{'s' * (count > 1)}: {text}")


def _print_limited(title: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    print(f"  {title}: {len(lines)}", file=sys.stderr)
    for line in lines[:_MOST_LINES]:
        print(f"    {line}", file=sys.stderr)
    if len(lines) > _MOST_LINES:
        print(f"    and {len(lines) - _MOST_LINES} more, see info.json", file=sys.stderr)
