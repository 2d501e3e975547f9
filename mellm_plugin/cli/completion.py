"""Shell completion: commands and options, and the names of existing datasets, tasks and configs.

    eval "$(mellm --print-completion bash)"          # in ~/.bashrc
    mellm map --dataset c<TAB>                       # casme2, where it is prepared

The shell runs `mellm` itself with `_ARGCOMPLETE` in the environment, so its suggestions are always up to date.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from glob import glob
from typing import Any

import argcomplete

from mellm_plugin.cli.commands import parsers


def script(shell: str) -> str:
    """The script that sets up completion in bash, zsh, fish or tcsh."""
    text: str = argcomplete.shellcode(["mellm"], shell=shell)
    return text


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell, and end the process."""
    for one in parsers(parser):
        for action in one._actions:
            name = action.option_strings[-1] if action.option_strings else action.dest
            if (names := NAMES.get((one.prog.split(maxsplit=1)[-1], name))) is not None:
                action.completer = _completer(names)  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


def _completer(names: Callable[[], list[str]]) -> Callable[..., list[str]]:
    def matching(prefix: str, **rest: Any) -> list[str]:
        try:
            return [name for name in names() if name.startswith(prefix)]
        except Exception:  # any error: a shell cannot show a message in the middle of a line
            return []

    return matching


def _datasets() -> list[str]:
    from mellm_plugin.datasets.root import list_prepared

    return list(dict.fromkeys(["synthme", *list_prepared()]))


def _tasks() -> list[str]:
    from mellm_plugin.cli.tasks import list_tasks
    from mellm_plugin.plugin import task_folder

    return list(list_tasks(task_folder()))


def _configs() -> list[str]:
    from mellm_plugin.cli.options import shipped_configs

    return [*shipped_configs(), *glob("*.yaml"), *glob("*/*.yaml")]


NAMES: Mapping[tuple[str, str], Callable[[], list[str]]] = {
    ("map", "--dataset"): _datasets,
    ("instruct", "--dataset"): _datasets,
    ("new-task", "name"): _datasets,
    ("loso", "--task"): _tasks,
    ("finetune", "config"): _configs,
    ("loso", "config"): _configs,
}
"""By command and argument; a test checks that each exists."""
