"""How the commands of `mellm` are declared: one helper for all, and wrong names that answer with the near ones."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import NoReturn

from mellm_plugin.errors import near

Run = Callable[[argparse.Namespace], None]


class Parser(argparse.ArgumentParser):
    """Tells the near names where one of several was expected."""

    def error(self, message: str) -> NoReturn:
        found = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        hint = near(found[1], re.findall(r"[\w.-]+", found[2])) if found else ""
        super().error(message + hint)


class Commands:
    """The commands of a parser, or the sub-commands of one of them."""

    def __init__(self, parser: argparse.ArgumentParser, title: str, metavar: str) -> None:
        self._added = parser.add_subparsers(title=title, required=True, metavar=metavar, parser_class=Parser)

    def add(self, name: str, run: Run | None, text: str, examples: str) -> argparse.ArgumentParser:
        """A command.

        Args:
            name: what the user types.
            run: what it does; None where it has sub-commands.
            text: one line of help.
            examples: lines, each indented by two spaces.
        """
        made = self._added.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if run is not None:
            made.set_defaults(run=run)
        return made
