"""`mellm tasks`: list the tasks of this package."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mellm_plugin.cli.options import add_json
from mellm_plugin.errors import InputError

EXAMPLES = """\
  mellm tasks
  lmms-eval tasks list --include-path $(mellm tasks --path)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--path", action="store_true", help="print the folder of the task files, for --include_path")
    add_json(parser)


def run(given: argparse.Namespace) -> None:
    from mellm_plugin.plugin import task_folder

    if given.path:
        print(task_folder())
        return
    found = list_tasks(task_folder())
    width = max(map(len, found))
    for name, text in found.items():
        print(json.dumps({"task": name, "description": text}) if given.json else f"{name:<{width}}  {text}")


def list_tasks(folder: Path) -> dict[str, str]:
    """Every task and group in a folder of lmms-eval YAML files, with the first comment line of its file.

    Raises:
        InputError: files that are not YAML or cannot be read; all of them at once.
    """
    import yaml

    class Plain(yaml.SafeLoader):  # type: ignore[misc]
        """Reads `!function` as text, so listing names imports nothing."""

    Plain.add_multi_constructor("!", lambda loader, suffix, node: loader.construct_scalar(node))
    found: dict[str, str] = {}
    faults: list[str] = []
    for file in sorted(folder.rglob("*.yaml")):
        try:
            text = file.read_text(encoding="utf-8")
            config = yaml.load(text, Plain) or {}
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:  # RecursionError: deeply nested lists
            faults.append(f"{file}: {' '.join(str(error).split())}")
            continue
        if not isinstance(config, dict):
            faults.append(f"{file}: expected fields of a task, found {type(config).__name__}")
        elif isinstance(name := config.get("group") or config.get("task"), str):
            first = text.split("\n", 1)[0]
            found[name] = first.lstrip("# ") if first.startswith("#") else ""
    if faults:
        raise InputError(faults)
    return found
