"""`mellm report`: make tables and a page from folders of results."""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellm_plugin.cli.options import add_json
from mellm_plugin.cli.terminal import printable
from mellm_plugin.errors import InputError

if TYPE_CHECKING:
    from mellm_plugin.report.runs import Reading

EXAMPLES = """\
  mellm report results -o report
  mellm report results other_results loso -o report --pictures
  mellm report results/20261122_225316_results.json -o report --no-page --json

exit code 1 if nothing could be read, or if a file could not be used (the report is written without it)"""

_BEST = 3  # rows of a board that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("results", nargs="+", metavar="RESULTS", help="folders, searched in full, or files of lmms-eval")
    add("-o", "--output", required=True, metavar="FOLDER", help="folder of the report; created if absent")
    pictures = "show frames of prepared datasets on the page, including licensed ones: do not publish that page"
    add("--pictures", action="store_true", help=pictures)
    add("--no-page", dest="page", action="store_false", help="write only the tables")
    add_json(parser, "print the report's files and counts as one JSON object")


def run(given: argparse.Namespace) -> None:
    folder = Path(given.output).expanduser()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"expected a folder, found the file {folder}", where="--output")
    if given.pictures and not given.page:
        raise InputError("pictures are for the page: give --pictures or --no-page", where="--pictures")
    from mellm_plugin.locks import sole_writer

    with sole_writer(folder, folder=True):
        was_on = gc.isenabled()
        gc.disable()  # searching trees of millions of leaves for cycles takes a quarter of the time
        try:
            _make(given, folder)
        finally:
            if was_on:
                gc.enable()


def _make(given: argparse.Namespace, folder: Path) -> None:
    from tqdm import tqdm

    from mellm_plugin.report import formats, leaderboard, results

    paths = [Path(path).expanduser() for path in given.results]
    with tqdm(total=results.size(paths), desc="reading", unit="B", unit_scale=True, disable=None) as bar:
        reading = results.read(paths, bar.update)
    if not reading.runs:
        raise InputError([*map(str, reading.faults), _nothing_found(reading, given.results)])
    with tqdm(desc="scoring", unit="model", disable=None) as bar:

        def scored(board: str) -> None:
            bar.set_postfix_str(printable(board), refresh=False)
            bar.update()

        report = leaderboard.make(reading, progress=scored)
    notes = report.reading["notes"]
    pictures = _draw_pictures(report.boards, given.pictures, notes) if given.page else None
    data = report.to_dict()
    files = formats.write(data, folder)
    if given.page:
        from mellm_plugin.report import page

        files.insert(0, folder / "index.html")
        page.write(data, files[0], pictures)
    if given.json:
        print(json.dumps(_counts(data, folder, files)))
    else:
        _print_boards(data)
        print("\n".join(map(str, files)))
    if report.faults:
        faults = [f"{fault['file']}: {fault['fault']}" for fault in report.faults]
        raise InputError(faults, where="the report is written without the input that could not be used")


def _nothing_found(reading: Reading, paths: list[str]) -> str:
    others = ", ".join(f"{task} ({count})" for task, count in sorted(reading.other_tasks.items()))
    found = f"; there are runs of other tasks: {others}" if others else ""
    do = "Make one: lmms-eval --model mellm --tasks synthme_meu --output_path results --log_samples"
    return f"no run of a task of mellm-plugin in {', '.join(paths)}{found}. {do}"


def _draw_pictures(boards: list[dict[str, Any]], licensed: bool, notes: list[str]) -> Any:
    """Pictures of the clips: always of drawn faces, and of licensed data only on request."""
    from tqdm import tqdm

    from mellm_plugin.motion.cache import default_cache
    from mellm_plugin.report.pictures import clip_pictures

    shown = [board for board in boards if licensed or not board["licensed"]]
    ids = list(dict.fromkeys(clip["clip"] for board in shown for clip in board["clip_list"]))
    datasets = sorted({dataset for board in shown for dataset in board["datasets"]})
    if not ids:
        return None
    with tqdm(desc="drawing pictures", unit="clip", disable=None) as bar:
        return clip_pictures(datasets, ids, notes=notes, cache=default_cache(), progress=bar.update)


def _counts(data: Mapping[str, Any], folder: Path, files: list[Path]) -> dict[str, Any]:
    reading = data["reading"]
    return {
        "report": str(folder),
        "files": [str(file) for file in files],
        "read": reading["files"],
        "runs": reading["runs"],
        "entries": len(data["entries"]),
        "boards": len(data["boards"]),
        "other_tasks": sum(reading["other_tasks"].values()),
        "faults": len(reading["faults"]),
        "notes": len(reading["notes"]),
    }


def _print_boards(data: Mapping[str, Any]) -> None:
    """One line per board: its best rows by its first metric."""
    from mellm_plugin.report.tables import number

    names = {entry["key"]: entry["name"] for entry in data["entries"]}
    width = max(len(board["title"]) for board in data["boards"])
    for board in data["boards"]:
        if not board["metrics"]:
            continue
        metric = board["metrics"][0]
        rows = [row for row in board["rows"] if row["kind"] == "model"]
        best = []
        for row in rows[:_BEST]:
            score = row["scores"].get(metric["name"])
            none = score is not None and score["value"] is None and score.get("why")
            value = "none" if none else number(score["value"] if score else None, metric["kind"])
            rank = "not ranked" if not score or score["rank"] is None else f"rank {score['rank']}"
            best.append(f"{value} {printable(names[row['entry']])} ({rank})")
        if len(rows) > len(best):
            best.append(f"{len(rows) - len(best)} more")
        print(f"{printable(board['title']):<{width}}  {board['clips']} clips  {metric['name']}  {', '.join(best)}")
