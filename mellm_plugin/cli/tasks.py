"""`mellm tasks`: the tasks of this package, by name.

synthme_meu  drawn faces: action units, expression and description; needs no data
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mellm_plugin.cli.commands import Commands
from mellm_plugin.errors import InputError


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
    """Every task and group of a folder of lmms-eval YAMLs, with the first comment line of its file.

    Raises:
        InputError: files that are no YAML, or cannot be read; all of them at once.
    """
    import yaml

    class Plain(yaml.SafeLoader):  # type: ignore[misc]
        """Reads `!function` as text: nothing is imported to list names."""

    Plain.add_multi_constructor("!", lambda loader, suffix, node: loader.construct_scalar(node))
    found: dict[str, str] = {}
    faults: list[str] = []
    for file in sorted(folder.rglob("*.yaml")):
        try:
            text = file.read_text(encoding="utf-8")
            config = yaml.load(text, Plain) or {}
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:  # the last: lists within lists
            faults.append(f"{file}: {' '.join(str(error).split())}")
            continue
        if not isinstance(config, dict):
            faults.append(f"{file}: expected fields of a task, found {type(config).__name__}")
            continue
        name = config.get("group") or config.get("task")
        if isinstance(name, str):
            first = text.split("\n", 1)[0]
            found[name] = first.lstrip("# ") if first.startswith("#") else ""
    if faults:
        raise InputError(faults)
    return found


def add_commands(commands: Commands) -> None:
    """Add `tasks`."""
    tasks = commands.add(
        "tasks",
        _tasks,
        "list the tasks of this package, or print their folder",
        "  mellm tasks\n  lmms-eval tasks list --include-path $(mellm tasks --path)",
    )
    tasks.add_argument("--path", action="store_true", help="print the folder of the task files, for --include_path")
    tasks.add_argument("--json", action="store_true", help="one JSON object a line")
