"""The command `mellm`. Every subcommand imports what it needs when it runs, so that `mellm --help` answers at once.

Exit codes: 0 done; 1 an input or a value could not be used (the message says why and what to do); 2 the command line
cannot be read; 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from mellm_plugin import __version__
from mellm_plugin.cli import adapters, answers, datasets, finetuning, instructing, judging, maps, reporting, tables
from mellm_plugin.cli.commands import Commands, Parser
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
    """Every task and group of a folder of lmms-eval YAMLs, with the first comment line of its file."""
    import yaml

    class Plain(yaml.SafeLoader):  # type: ignore[misc]
        """Reads `!function` as text: nothing is imported to list names."""

    Plain.add_multi_constructor("!", lambda loader, suffix, node: loader.construct_scalar(node))
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        config = yaml.load(text, Plain) or {}
        name = config.get("group") or config.get("task")
        if isinstance(name, str):
            first = text.split("\n", 1)[0]
            found[name] = first.lstrip("# ") if first.startswith("#") else ""
    return found


def _au(given: argparse.Namespace) -> None:
    from mellm_plugin.facs.codes import read_codes

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # codes may hold marks that the terminal cannot show
    count = unread = 0
    for text in _lines(given.codes):
        codes = read_codes(text)
        count += 1
        unread += bool(codes.unread)
        if given.json:
            print(json.dumps(codes.to_row()))
            continue
        print(text.strip() or "(empty)")
        for part in codes.detail:
            print(f"  {part.in_words()}")
        if not codes.detail:
            print("  no code: the units are not known")
    if unread:
        found = "the code" if count == 1 else f"{unread} of {count} codes"
        raise InputError(f"{found} could not be read in full; the reasons are above")


def _lines(texts: Sequence[str]) -> Iterator[str]:
    """The texts, with the lines of standard input in the place of `-`."""
    for text in texts:
        if text == "-":
            yield from (line.decode("utf-8", "replace").rstrip("\r\n") for line in sys.stdin.buffer)
        else:
            yield text


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="mellm",
        description="Micro-expression understanding inside lmms-eval.",
        epilog="Evaluate: lmms-eval --model mellm --tasks synthme_meu --output_path results --log_samples",
    )
    parser.add_argument("--version", action="version", version=f"mellm-plugin {__version__}")
    commands = Commands(parser, "commands", "COMMAND")

    tasks = commands.add(
        "tasks",
        _tasks,
        "list the tasks of this package, or print their folder",
        "  mellm tasks\n  lmms-eval tasks list --include-path $(mellm tasks --path)",
    )
    tasks.add_argument("--path", action="store_true", help="print the folder of the task files, for --include_path")
    tasks.add_argument("--json", action="store_true", help="one JSON object a line")

    datasets.add_commands(commands)
    tables.add_commands(commands)

    units = commands.add(
        "au",
        _au,
        "explain the action-unit codes of coding sheets in words; exit code 1 if something in them cannot be read",
        '  mellm au "(R6 or R12)+R15" "ref(7B)+43C" 4A/B\n'
        '  mellm au --json "R14+17+soft focus"\n'
        "  mellm au - < codes.txt                           (a code a line)",
    )
    units.add_argument("codes", nargs="+", metavar="CODE", help="a code as it stands in a sheet; - reads lines of them")
    units.add_argument("--json", action="store_true", help="one JSON object a line")

    answers.add_commands(commands)
    maps.add_commands(commands)
    judging.add_commands(commands)
    instructing.add_commands(commands)
    finetuning.add_commands(commands)
    adapters.add_commands(commands)
    reporting.add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point of the command; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        given.run(given)
        if sys.stdout is not None:
            sys.stdout.flush()
    except MellmError as error:
        print(f"mellm: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("mellm: interrupted; what is written is whole", file=sys.stderr)
        return 130
    except OSError as error:  # a full disk, a name too long
        print(f"mellm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
