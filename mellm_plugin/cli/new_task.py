"""`mellm new-task`: write the task file of your own dataset."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from mellm_plugin.cli.options import COLUMNS, add_columns, add_json, pairs
from mellm_plugin.errors import InputError

EXAMPLES = """\
  mellm new-task mydata --csv clips.csv
  mellm new-task mydata --csv data/clips.xlsx -o tasks --least 5
  mellm new-task mydata                            (prepared before: mellm prepare table --name mydata ..)
  mellm new-task megc --from combined_3class_gt.csv    (clips of prepared datasets: dataset, subject, clip)"""

_LABELS = "LABEL=NAME, such as 0=negative,1=positive"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", help="of the dataset; the task is NAME_meu")
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--csv", type=Path, metavar="FILE", help="the table; default: the prepared dataset of this name")
    listing = "a published list of clips of prepared datasets: dataset, subject, filename, and optionally label"
    data.add_argument("--from", dest="listing", type=Path, metavar="LIST", help=listing)
    meaning = "what the labels of the list mean: 0=negative,1=positive,2=surprise"
    add("--labels", action="append", default=[], metavar="LABEL=NAME,..", help=meaning)
    add_columns(parser)
    add("-o", "--out", type=Path, default=Path("."), metavar="DIR", help="folder to write to (default: here)")
    add("--least", type=int, default=1, metavar="N", help="score the units that occur in at least N clips (default: 1)")
    add("--replace", action="store_true", help="overwrite an existing task file")
    add_json(parser, "print path, task, command and notes as one JSON object")


def run(given: argparse.Namespace) -> None:
    from mellm_plugin.cli.tasks import list_tasks
    from mellm_plugin.datasets import new_task, table
    from mellm_plugin.locks import sole_writer
    from mellm_plugin.plugin import task_folder

    notes: list[str] = []
    columns = pairs(given.columns, "--columns", COLUMNS)
    how = {"least": given.least, "replace": given.replace, "taken": list_tasks(task_folder())}
    options = new_task.Options(given.out, notes.append if given.json else print_note, columns=columns, **how)
    names = pairs(given.labels, "--labels", _LABELS)
    if names and given.listing is None:
        raise InputError("expected --from with it: it says what the labels of a list of clips mean", where="--labels")
    table.check_name(given.name)
    with sole_writer(given.out / f"{given.name}.yaml"):  # the file's own name is longer: it says what is asked
        if given.listing is not None:
            made = new_task.write_listed(given.name, given.listing, options, names)
        else:
            made = new_task.write(given.name, given.csv, options)
    if given.json:
        row = {"path": str(made.path), "task": made.task, "command": made.command, "notes": notes}
        print(json.dumps(row, ensure_ascii=False))
        return
    print(made.path)
    print(f"run it: {made.command}")


def print_note(text: str) -> None:
    """Print an oddity of a table that is no fault."""
    print(f"  note: {text}", file=sys.stderr)
