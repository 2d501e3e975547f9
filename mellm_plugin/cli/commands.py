"""The commands of `mellm`, and how their command lines are declared.

Each command has a module of its name in this folder, which defines

    EXAMPLES                   lines for `mellm COMMAND --help`, each indented by two spaces
    add_arguments(parser)      the command's arguments, or its sub-commands
    run(given)                 what it does; a command with sub-commands sets `run` for each of them

`mellm --help` imports none of these modules: a module is imported when the parser of its command is first used.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NoReturn

from mellm_plugin.errors import near

COMMANDS: dict[str, dict[str, str]] = {
    "evaluate, with lmms-eval": {
        "tasks": "list the tasks of this package, or print their folder",
        "judge-check": "check whether the judge that MELLM_JUDGE names can be trusted; exit code 1 if not",
    },
    "inspect results": {
        "read": "show what the tasks read from answers: action units, label, class, or why not; count correct ones",
        "report": "make a leaderboard from lmms-eval results: tables (Markdown, CSV, LaTeX, JSON) and a page",
    },
    "prepare data": {
        "prepare": "convert a dataset to the form that tasks and training read",
        "datasets": "list the prepared datasets (the environment variable MELLM_DATA sets their folder)",
        "new-task": "check every row of a table of clips, and write the task file that evaluates it",
    },
    "inspect motion and codes": {
        "map": "draw motion maps of two frames, a clip or a dataset; faces must be cropped, all frames with one box",
        "au": "explain the action-unit codes of coding sheets in words; exit code 1 if a code cannot be read in full",
    },
    "train": {
        "instruct": "write instruction-description data in the common chat format (messages and images)",
        "finetune": "fine-tune a model on motion maps from a config; resumes an interrupted run",
        "export": "merge an adapter into its base: one model for vLLM, plain transformers and lmms-eval",
        "loso": "leave one subject out: train on all subjects but one, evaluate on that one; resumes interrupted runs",
    },
    "check the installation": {
        "doctor": "check the installation, and say how to fix each fault; exit code 1 if there is one"
    },
}
"""The one-line help of each command, by heading and name, in the order of `mellm --help`."""


class Parser(argparse.ArgumentParser):
    """Suggests near names for a wrong choice."""

    def error(self, message: str) -> NoReturn:
        found = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        hint = near(found[1], re.findall(r"[\w.-]+", found[2])) if found else ""
        super().error(message + hint)


class CommandParser(Parser):
    """The parser of a command; imports the command's module when it is first used."""

    module: str | None = None  # its name in this folder, until it is imported

    def load(self) -> None:
        """Add the arguments that the command's module declares."""
        if self.module is None:
            return
        module, self.module = import_module(f"mellm_plugin.cli.{self.module}"), None
        self.epilog = f"examples:\n{module.EXAMPLES}"
        module.add_arguments(self)
        if hasattr(module, "run"):
            self.set_defaults(run=module.run)

    def parse_known_args(self, *args: Any, **named: Any) -> Any:
        self.load()
        return super().parse_known_args(*args, **named)


class Tour(argparse.RawDescriptionHelpFormatter):
    """Lists the commands under the headings of `COMMANDS`."""

    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action, argparse._SubParsersAction):
            return super()._format_action(action)
        choices = {choice.dest: choice for choice in action._get_subactions()}
        lines = []
        for heading, commands in COMMANDS.items():
            lines.append(f"  {heading}:\n")
            self._indent()
            lines += [self._format_action(choices[name]) for name in commands]
            self._dedent()
        return "".join(lines)


def add_subparsers(parser: argparse.ArgumentParser, title: str, metavar: str) -> Any:
    """Declare that a parser has sub-commands; add each of them with `add_command`."""
    return parser.add_subparsers(title=title, required=True, metavar=metavar, parser_class=CommandParser)


def add_command(subparsers: Any, name: str, text: str, examples: str = "") -> CommandParser:
    """Add a command to what `add_subparsers` returned, with its one-line help; each line of `examples` is indented."""
    formatter, epilog = argparse.RawDescriptionHelpFormatter, f"examples:\n{examples}"
    made: CommandParser = subparsers.add_parser(
        name, help=text, description=text, epilog=epilog, formatter_class=formatter
    )
    return made


def subcommands(parser: argparse.ArgumentParser) -> dict[str, CommandParser]:
    """The parsers of a parser's sub-commands, by name, each with its arguments."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for made in action.choices.values():
                made.load()
            return dict(action.choices)
    return {}


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all its commands and sub-commands."""
    yield parser
    for made in subcommands(parser).values():
        yield from parsers(made)
