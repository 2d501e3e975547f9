"""The command `mellm`; `commands.py` lists its sub-commands, each of which has a module of its name."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from mellm_plugin import __version__
from mellm_plugin.cli.commands import COMMANDS, Parser, Tour, add_command, add_subparsers
from mellm_plugin.cli.terminal import printable
from mellm_plugin.errors import MellmError

_DESCRIPTION = """\
Micro-expression understanding inside lmms-eval: motion maps, tasks, scores, fine-tuning.

start here:
  mellm doctor                                     (checks the installation)
  lmms-eval --model mellm --tasks synthme_meu --output_path results --log_samples
"""

_EPILOG = """\
exit codes: 0 done; 1 an input cannot be used, or a check found a fault (the message says why and what to do);
2 the command line cannot be read; 130 interrupted; 143 ended by SIGTERM.

The help of each command has examples: mellm map --help. The repository has a guide to each part, README.md and
docs/: motion, data, add-a-dataset, finetune, metrics, judge, report. To complete commands, datasets and tasks in a
shell: eval "$(mellm --print-completion bash)", or zsh, fish, tcsh.
"""


class _PrintCompletion(argparse.Action):
    """Prints the completion script of a shell, and exits."""

    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        from mellm_plugin.cli.completion import script

        print(script(str(rest[1])))
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    made = Parser(prog="mellm", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=Tour)
    made.add_argument("--version", action="version", version=f"mellm-plugin {__version__}")
    made.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "fish", "tcsh"),
        help="print the script that lets a shell complete this command",
    )
    commands = add_subparsers(made, "commands", "COMMAND")
    for under_heading in COMMANDS.values():
        for name, text in under_heading.items():
            add_command(commands, name, text).module = name.replace("-", "_")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    made = parser()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks for completions
        from mellm_plugin.cli.completion import complete

        complete(made)
    # Our own message about large images says what to do.
    warnings.filterwarnings("ignore", message=r"Image size \(\d+ pixels\) exceeds limit")
    code = 0
    try:
        try:
            code = _run(made.parse_args(arguments))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has gone; discard the rest
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


class _Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM raises `_Terminated`, so that partial files are removed and child processes end."""

    def raise_terminated(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
        raise _Terminated

    # torchrun ends its processes together; one that waits for another would not see the exception
    alone = threading.current_thread() is threading.main_thread() and "LOCAL_RANK" not in os.environ
    if not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _run(given: argparse.Namespace) -> int:
    """The exit code; the reason of a failure goes to standard error."""
    try:
        with _sigterm_raises():
            given.run(given)
        return 0
    except BrokenPipeError:
        raise
    except (MellmError, OSError) as error:  # OSError: a full disk, a name that is too long
        why, code = str(error), 1
    except _Terminated:
        why, code = "ended by SIGTERM; finished files are complete", 143
    except KeyboardInterrupt:
        why, code = "interrupted; finished files are complete", 130
    with suppress(BrokenPipeError):  # nobody reads it; the exit code remains
        print(f"mellm: {printable(why)}", file=sys.stderr)
    return code
