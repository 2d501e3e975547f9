"""`mellm prepare table` and `mellm new-task`: a dataset of one's own."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mellm_plugin.cli.commands import Commands
from mellm_plugin.errors import InputError

if TYPE_CHECKING:
    from mellm_plugin.datasets.conversion import Report

COLUMNS = "KEY=HEADER, such as subject=sub,clip=material"
"""What `--columns` takes."""
_LABELS = "LABEL=NAME, such as 0=negative,1=positive"


def _prepare_table(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets import table
    from mellm_plugin.datasets.crop import cropper

    columns = pairs(given.columns, "--columns", COLUMNS)
    report = table.prepare(
        given.csv,
        given.name,
        columns,
        root=given.out,
        crop=cropper(given.crop, boxes=given.boxes, weights=given.weights),
        strict=given.strict,
        workers=given.workers,
        replace=given.replace,
    )
    given.tell(report, given)
    for odd in table.oddities(table.read_table(given.csv, columns)):
        _note(odd)


def _new_task(given: argparse.Namespace) -> None:
    from mellm_plugin.cli.tasks import list_tasks
    from mellm_plugin.datasets import new_task, table
    from mellm_plugin.locks import sole_writer
    from mellm_plugin.plugin import task_folder

    notes: list[str] = []
    options = new_task.Options(
        given.out,
        notes.append if given.json else _note,
        columns=pairs(given.columns, "--columns", COLUMNS),
        least=given.least,
        replace=given.replace,
        taken=list_tasks(task_folder()),
    )
    names = pairs(given.labels, "--labels", _LABELS)
    if names and given.listing is None:
        raise InputError("expected --from with it: it says what the labels of a list of clips mean", where="--labels")
    table.check_name(given.name)
    with sole_writer(given.out / f"{given.name}.yaml"):  # the file's name is longer: it tells what is asked
        if given.listing is not None:
            made = new_task.write_listed(given.name, given.listing, options, names)
        else:
            made = new_task.write(given.name, given.csv, options)
    if given.json:
        told = {"path": str(made.path), "task": made.task, "command": made.command, "notes": notes}
        print(json.dumps(told, ensure_ascii=False))
        return
    print(made.path)
    print(f"run it: {made.command}")


def pairs(texts: Iterable[str], flag: str, example: str) -> dict[str, str]:
    """The keys and values of `KEY=VALUE,KEY=VALUE`; a value may hold a comma, if no key follows it.

    Args:
        texts: as they were given, one for each use of the flag.
        flag, example: for messages.

    Raises:
        InputError: what is no pair, or a key with two values; all faults at once.
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


def _note(odd: str) -> None:
    print(f"  note: {odd}", file=sys.stderr)


def add_table(
    made: Commands,
    arguments: Callable[[argparse.ArgumentParser], None],
    tell: Callable[[Report, argparse.Namespace], None],
) -> None:
    """Add `prepare table`.

    Args:
        made: the datasets that `prepare` knows.
        arguments: adds those that all conversions have: crop, boxes, weights, strict, workers, out, replace, json.
        tell: prints the summary of a preparation.
    """
    parser = made.add(
        "table",
        _prepare_table,
        "a dataset of your own, from a table of clips (see docs/add-a-dataset.md)",
        "  mellm prepare table --name mydata --csv clips.csv\n"
        "  mellm prepare table --name mydata --csv clips.csv --crop detector && mellm new-task mydata",
    )
    parser.set_defaults(tell=tell)
    parser.add_argument(
        "--csv", type=Path, required=True, metavar="FILE", help="id,subject,onset,apex,emotion,aus; .csv or .xlsx"
    )
    parser.add_argument("--name", required=True, help="of the prepared dataset: lower-case letters, digits, _ and -")
    add_columns(parser)
    arguments(parser)


def add_columns(parser: argparse.ArgumentParser) -> None:
    """Add `--columns`, for sheets, tables and lists."""
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="KEY=HEADER,..",
        help="columns with other names than usual: subject=sub,clip=material,onset=on",
    )


def add_commands(commands: Commands) -> None:
    """Add `new-task`."""
    parser = commands.add(
        "new-task",
        _new_task,
        "check a table of clips, every row, and write the task file that evaluates it",
        "  mellm new-task mydata --csv clips.csv\n"
        "  mellm new-task mydata --csv data/clips.xlsx -o tasks --least 5\n"
        "  mellm new-task mydata                            (prepared before: mellm prepare table --name mydata ..)\n"
        "  mellm new-task megc --from combined_3class_gt.csv    (clips of prepared datasets: dataset, subject, clip)",
    )
    parser.add_argument("name", help="of the dataset; the task is NAME_meu")
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--csv", type=Path, metavar="FILE", help="the table; without it the prepared dataset of this name"
    )
    data.add_argument(
        "--from",
        dest="listing",
        type=Path,
        metavar="LIST",
        help="a published list of clips of prepared datasets: dataset, subject, filename, and label, where it has them",
    )
    parser.add_argument(
        "--labels",
        action="append",
        default=[],
        metavar="LABEL=NAME,..",
        help="what the labels of the list mean: 0=negative,1=positive,2=surprise",
    )
    add_columns(parser)
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("."), metavar="DIR", help="folder to write to (default: here)"
    )
    parser.add_argument(
        "--least", type=int, default=1, metavar="N", help="score the units that occur in N clips (default: all)"
    )
    parser.add_argument("--replace", action="store_true", help="write over a task file that is there")
    parser.add_argument("--json", action="store_true", help="print path, task, command and notes as one JSON object")
