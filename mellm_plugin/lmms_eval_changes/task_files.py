"""Task files of others include ours from any folder, and name our functions with arguments."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from mellm_plugin.lmms_eval_changes.endings import frame_of_command, leave, our_error
from mellm_plugin.plugin import task_folder


def extend_task_files(tasks: ModuleType) -> None:
    """Extend lmms-eval's loader of YAML and its `!function`."""
    utils: Any = tasks.utils
    plain_load, plain_import = utils.load_yaml_config, utils.import_function
    if hasattr(plain_load, "finds_mellm"):
        return

    @functools.wraps(plain_load)
    def load_yaml_config(yaml_path: Any = None, *args: Any, **kwargs: Any) -> Any:
        try:
            return plain_load(_in_our_folder(yaml_path), *args, **kwargs)
        except Exception as error:
            ours = our_error(error)
            if (
                ours is None or sys._getframe(1) is not frame_of_command()
            ):  # of --tasks FILE, which nothing else catches
                raise
        leave(str(ours))

    @functools.wraps(plain_import)
    def import_function(loader: Any, node: Any) -> Any:
        text = str(node.value)
        function, bracket, arguments = text.partition("(")
        if not (bracket and "." in arguments and function.startswith("mellm_plugin.")):
            return plain_import(loader, node)
        module, _, name = function.rpartition(".")
        return getattr(importlib.import_module(module), f"{name}({arguments}")

    load_yaml_config.finds_mellm = True  # type: ignore[attr-defined]
    utils.load_yaml_config, utils.import_function = load_yaml_config, import_function


def _in_our_folder(path: Any) -> Any:
    """The path; where it has no file and ends in `mellm_plugin/tasks/..`, that of our file."""
    if not isinstance(path, (str, os.PathLike)) or os.path.isfile(path):
        return path
    _, found, rest = Path(path).as_posix().rpartition("mellm_plugin/tasks/")
    ours = task_folder() / rest
    return str(ours) if found and ours.is_file() else path
