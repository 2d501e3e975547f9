"""`mellm au`: explain the action-unit codes of coding sheets."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Iterator, Sequence

from mellm_plugin.cli.options import add_json
from mellm_plugin.errors import InputError

EXAMPLES = """\
  mellm au "(R6 or R12)+R15" "ref(7B)+43C" 4A/B
  mellm au --json "R14+17+soft focus"
  mellm au - < codes.txt                           (one code per line)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("codes", nargs="+", metavar="CODE", help="a code as written in a sheet; - reads standard input")
    add_json(parser)


def run(given: argparse.Namespace) -> None:
    from mellm_plugin.facs.codes import read_codes

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the terminal may lack characters of the codes
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
    """The texts, with `-` replaced by the lines of standard input."""
    for text in texts:
        if text == "-":
            yield from (line.decode("utf-8", "replace").rstrip("\r\n") for line in sys.stdin.buffer)
        else:
            yield text
