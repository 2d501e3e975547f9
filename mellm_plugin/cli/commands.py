"""How the commands of `mellm` are declared: one helper for all, in groups, and wrong names that answer with near ones.

commands = Commands(parser, "commands", "COMMAND")
commands.group("your data")                  # what is added from here on stands under this heading in `mellm --help`
commands.add("datasets", run, "list the prepared datasets", "  mellm datasets")
"""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from mellm_plugin.errors import near

Run = Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """Tells the near names where one of several was expected."""

    def error(self, message: str) -> NoReturn:
        found = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        hint = near(found[1], re.findall(r"[\w.-]+", found[2])) if found else ""
        super().error(message + hint)


class Tour(argparse.RawDescriptionHelpFormatter):
    """Shows commands under the headings of their groups, and texts as they are written."""

    def _format_action(self, action: argparse.Action) -> str:
        if not isinstance(action, Headings):
            return super()._format_action(action)
        choices = {choice.dest: choice for choice in action._get_subactions()}
        lines = []
        for heading, names in action.groups.items():
            lines.append(f"  {heading}:\n")
            self._indent()
            lines += [self._format_action(choices[name]) for name in names]
            self._dedent()
        return "".join(lines)


class Headings(argparse._SubParsersAction):  # type: ignore[type-arg]
    """The commands of a parser, in groups.

    Attributes:
        groups: names of commands by heading, in the order in which they are shown.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.groups: dict[str, list[str]] = {}


class Commands:
    """The commands of a parser, or the sub-commands of one of them."""

    def __init__(self, parser: argparse.ArgumentParser, title: str, metavar: str) -> None:
        added: Any = parser.add_subparsers(
            title=title, required=True, metavar=metavar, parser_class=Parser, action=Headings
        )
        self._added: Headings = added
        self._heading = ""

    def group(self, heading: str) -> None:
        """Put the commands that are added from here on under a heading, in a parser whose formatter is `Tour`."""
        self._heading = heading

    def add(self, name: str, run: Run | None, text: str, examples: str) -> argparse.ArgumentParser:
        """A command.

        Args:
            name: what the user types.
            run: what it does; None where it has sub-commands.
            text: one line of help.
            examples: lines, each indented by two spaces.
        """
        made: argparse.ArgumentParser = self._added.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._added.groups.setdefault(self._heading, []).append(name)
        if run is not None:
            made.set_defaults(run=run)
        return made


def printable(text: str) -> str:
    """The text without what would steer a terminal, but for new lines: it may come from a file of somebody else."""
    return "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else "�" for c in text)


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all its commands and sub-commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, Headings):
            for made in action.choices.values():
                yield from parsers(made)
