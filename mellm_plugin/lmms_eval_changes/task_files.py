"""Task files of others include ours from any folder, and name our functions with arguments."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from mellm_plugin.lmms_eval_changes.endings import frame_of_command, instead_of, leave, our_error
from mellm_plugin.plugin import task_folder


def extend_task_files(tasks: ModuleType) -> None:
    """Extend lmms-eval's loader of YAML and its `!function`."""
    utils: Any = tasks.utils

    @instead_of(utils, "load_yaml_config")
    def load_yaml_config(plain: Any, yaml_path: Any = None, *args: Any, **kwargs: Any) -> Any:
        try:
            return plain(_in_our_folder(yaml_path), *args, **kwargs)
        except Exception as error:
            ours = our_error(error)
            # of --tasks FILE, which nothing else catches; frame 1 is that of `instead_of`
            if ours is None or sys._getframe(2) is not frame_of_command():
                raise
        leave(str(ours))

    @instead_of(utils, "import_function")
    def import_function(plain: Any, loader: Any, node: Any) -> Any:
        function, bracket, arguments = str(node.value).partition("(")
        if not (bracket and "." in arguments and function.startswith("mellm_plugin.")):
            return plain(loader, node)
        module, _, name = function.rpartition(".")
        return getattr(importlib.import_module(module), f"{name}({arguments}")


def _in_our_folder(path: Any) -> Any:
    """The path; where it has no file and ends in `mellm_plugin/tasks/..`, that of our file."""
    if not isinstance(path, (str, os.PathLike)) or os.path.isfile(path):
        return path
    _, found, rest = Path(path).as_posix().rpartition("mellm_plugin/tasks/")
    ours = task_folder() / rest
    return str(ours) if found and ours.is_file() else path
