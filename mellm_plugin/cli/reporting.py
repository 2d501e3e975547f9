"""`mellm report`: from folders of results to tables and a page."""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellm_plugin.cli.commands import Commands, printable
from mellm_plugin.errors import InputError

if TYPE_CHECKING:
    from mellm_plugin.report.leaderboard import Report
    from mellm_plugin.report.runs import Reading

_BEST = 3  # rows of a board that are told


def _report(given: argparse.Namespace) -> None:
    folder = Path(given.output).expanduser()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"expected a folder, found the file {folder}", where="--output")
    if given.pictures and not given.page:
        raise InputError("pictures are for the page: give --pictures or --no-page", where="--pictures")
    from mellm_plugin.locks import sole_writer

    with sole_writer(folder, folder=True), _no_search_for_cycles():
        _make(given, folder)


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """A report is made of trees of millions of leaves. Python would search them for cycles, of which there are none to
    speak of, again and again: a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _make(given: argparse.Namespace, folder: Path) -> None:
    from mellm_plugin.report import formats

    reading = _read([Path(path).expanduser() for path in given.results])
    if not reading.runs:
        raise InputError([*map(str, reading.faults), _nothing(reading, given.results)])
    report = _scored(reading)
    notes = report.reading["notes"]
    pictures = _pictures(report.boards, given.pictures, notes) if given.page else None
    data = report.to_dict()
    files = formats.write(data, folder)
    if given.page:
        from mellm_plugin.report import page

        files.insert(0, folder / "index.html")
        page.write(data, files[0], pictures)
    if given.json:
        print(json.dumps(_counts(data, folder, files)))
    else:
        _tell(data)
        print("\n".join(map(str, files)))
    if report.faults:
        raise InputError(
            [f"{fault['file']}: {fault['fault']}" for fault in report.faults],
            where="the report is written without what could not be used",
        )


def _read(paths: list[Path]) -> Reading:
    from tqdm import tqdm

    from mellm_plugin.report import results

    total = results.size(paths)
    with tqdm(total=total, desc="reading", unit="B", unit_scale=True, disable=not sys.stderr.isatty()) as bar:
        return results.read(paths, bar.update)


def _scored(reading: Reading) -> Report:
    from tqdm import tqdm

    from mellm_plugin.report import leaderboard

    with tqdm(desc="scoring", unit="model", disable=not sys.stderr.isatty()) as bar:

        def scored(board: str) -> None:
            bar.set_postfix_str(printable(board), refresh=False)
            bar.update()

        return leaderboard.make(reading, progress=scored)


def _nothing(reading: Reading, asked: list[str]) -> str:
    others = ", ".join(f"{task} ({count})" for task, count in sorted(reading.other_tasks.items()))
    return (
        f"no run of a task of mellm-plugin in {', '.join(asked)}"
        + (f"; there are runs of other tasks: {others}" if others else "")
        + ". Make one: lmms-eval --model mellm --tasks synthme_meu --output_path results --log_samples"
    )


def _pictures(boards: list[dict[str, Any]], licensed: bool, notes: list[str]) -> Any:
    """Pictures of the clips: of drawn faces always, of licensed data where they are asked for."""
    from tqdm import tqdm

    from mellm_plugin.motion.cache import default_cache
    from mellm_plugin.report.pictures import clip_pictures

    shown = [board for board in boards if licensed or not board["licensed"]]
    ids = list(dict.fromkeys(clip["clip"] for board in shown for clip in board["clip_list"]))
    datasets = sorted({dataset for board in shown for dataset in board["datasets"]})
    with tqdm(desc="drawing pictures", unit="clip", disable=not sys.stderr.isatty()) as bar:
        return clip_pictures(datasets, ids, notes=notes, cache=default_cache(), progress=bar.update) if ids else None


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


def _tell(data: Mapping[str, Any]) -> None:
    """A line for each board: its best rows, by its first metric."""
    from mellm_plugin.report.tables import number

    names = {entry["key"]: entry["name"] for entry in data["entries"]}
    width = max(len(board["title"]) for board in data["boards"])
    for board in data["boards"]:
        if not board["metrics"]:
            continue
        metric = board["metrics"][0]
        told = []
        for row in [row for row in board["rows"] if row["kind"] == "model"][:_BEST]:
            score = row["scores"].get(metric["name"])
            none = score is not None and score["value"] is None and score.get("why")
            value = "none" if none else number(score["value"] if score else None, metric["kind"])
            rank = "not ranked" if not score or score["rank"] is None else f"rank {score['rank']}"
            told.append(f"{value} {printable(names[row['entry']])} ({rank})")
        more = sum(row["kind"] == "model" for row in board["rows"]) - len(told)
        told += [f"{more} more"] if more > 0 else []
        print(f"{printable(board['title']):<{width}}  {board['clips']} clips  {metric['name']}  {', '.join(told)}")


def add_commands(commands: Commands) -> None:
    """Add `report`."""
    made = commands.add(
        "report",
        _report,
        "make a leaderboard of results of lmms-eval: tables (Markdown, CSV, LaTeX, JSON) and a page",
        "  mellm report results -o report\n"
        "  mellm report results other_results loso -o report --pictures\n"
        "  mellm report results/20261122_225316_results.json -o report --no-page --json\n\n"
        "exit code 1 if nothing could be read, or if a file could not be used (the report is written without it)",
    )
    made.add_argument(
        "results", nargs="+", metavar="RESULTS", help="folders (with all that is in them) or files of lmms-eval"
    )
    made.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder of the report; made if need be")
    made.add_argument(
        "--pictures",
        action="store_true",
        help="show the frames of prepared datasets on the page, of licensed ones too: do not publish it then",
    )
    made.add_argument("--no-page", dest="page", action="store_false", help="tables alone")
    made.add_argument("--json", action="store_true", help="print the report's files and counts as one JSON object")
