"""The command `mellm`. Every subcommand imports what it needs when it runs, so that `mellm --help` answers at once.

Exit codes: 0 done; 1 an input or a value could not be used (the message says why and what to do); 2 the command line
cannot be read; 130 interrupted; 143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from mellm_plugin import __version__
from mellm_plugin.cli import (
    adapters,
    answers,
    datasets,
    doctor,
    finetuning,
    instructing,
    judging,
    maps,
    reporting,
    tables,
    tasks,
)
from mellm_plugin.cli.commands import Commands, Parser, Tour, printable
from mellm_plugin.errors import InputError, MellmError


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


_TOUR = """\
Micro-expression understanding inside lmms-eval: motion maps, tasks, scores, fine-tuning.

start here:
  mellm doctor                                     (is everything there?)
  lmms-eval --model mellm --tasks synthme_meu --output_path results --log_samples
"""

_MORE = """\
exit codes: 0 done; 1 an input cannot be used, or a check found a fault (the message says why and what to do);
2 the command line cannot be read; 130 interrupted; 143 ended by SIGTERM.

Examples are in the help of each command: mellm map --help. A guide to each part is in the repository, README.md and
docs/: motion, data, add-a-dataset, finetune, metrics, judge, report. Completion of commands, datasets and tasks in a
shell: eval "$(mellm --print-completion bash)", or zsh, fish, tcsh.
"""


class _PrintCompletion(argparse.Action):
    """Prints what a shell has to be told once, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        from mellm_plugin.cli.completion import script

        print(script(str(rest[1])))
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    made = Parser(prog="mellm", description=_TOUR, epilog=_MORE, formatter_class=Tour)
    made.add_argument("--version", action="version", version=f"mellm-plugin {__version__}")
    made.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "fish", "tcsh"),
        help="print what makes a shell complete this command",
    )
    commands = Commands(made, "commands", "COMMAND")

    commands.group("evaluate, with lmms-eval")
    tasks.add_commands(commands)
    judging.add_commands(commands)

    commands.group("see what came out")
    answers.add_commands(commands)

    commands.group("prepare data")
    datasets.add_commands(commands)
    tables.add_commands(commands)

    commands.group("look at motion and at codes")
    maps.add_commands(commands)
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

    commands.group("train")
    instructing.add_commands(commands)
    finetuning.add_commands(commands)
    adapters.add_commands(commands)

    commands.group("see what came out")
    reporting.add_commands(commands)

    commands.group("check the installation")
    doctor.add_commands(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point of the command; returns the exit code."""
    made = parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what could come next
        from mellm_plugin.cli.completion import complete

        complete(made)
    code = 0
    # Pillow's word on large images; ours comes with what to do.
    warnings.filterwarnings("ignore", message=r"Image size \(\d+ pixels\) exceeds limit")
    try:
        try:
            code = _run(made.parse_args(arguments))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has seen enough; what is left goes nowhere
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


class _Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextmanager
def _told_of_sigterm() -> Iterator[None]:
    """SIGTERM interrupts, so that what is half written goes, and what this process has started ends."""

    def told(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends at once
        raise _Terminated

    # torchrun ends its processes together; one that waits for another would not hear of it
    alone = threading.current_thread() is threading.main_thread() and "LOCAL_RANK" not in os.environ
    if not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, told)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(given: argparse.Namespace) -> int:
    try:
        with _told_of_sigterm():
            given.run(given)
    except MellmError as error:
        return _failed(str(error), 1)
    except _Terminated:
        return _failed("ended by SIGTERM; what is written is whole", 143)
    except KeyboardInterrupt:
        return _failed("interrupted; what is written is whole", 130)
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, a name too long
        return _failed(str(error), 1)
    return 0


def _failed(why: str, code: int) -> int:
    with suppress(BrokenPipeError):  # nobody reads it: the exit code tells
        print(f"mellm: {printable(why)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
