"""What lmms-eval loads of this package: the manifests of our models, and the folder with our tasks.

lmms-eval has an entry point for models and none for task folders, so the one for models arranges both. Most commands
never need `lmms_eval.tasks`, which takes half a minute to import, so it is not imported here: `lmms_eval_changes`
extends it when somebody else has imported it.

Nothing here may fail, because one failing entry point hides all later ones. A problem is reported once, with what to do
about it, and lmms-eval continues as if this package were not installed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest

_TASKS = "lmms_eval.tasks"
_MODELS = {
    "mellm": "mellm_plugin.models.mellm.Mellm",
    "mellm_constant": "mellm_plugin.models.baselines.Constant",
    "mellm_flow": "mellm_plugin.models.mellm_flow.Flow",
    "mellm_random": "mellm_plugin.models.baselines.Random",
}


def task_folder() -> Path:
    """The folder with our task YAMLs, for lmms-eval's `--include_path`.

    The wheel holds it inside the package; a clone and an editable install have it beside the package.
    """
    beside = Path(__file__).parents[1] / "tasks"
    return beside if (beside / "meu.yaml").is_file() else Path(__file__).parent / "tasks"


def manifests() -> list[ModelManifest]:
    """The entry point: our models. Never raises; returns an empty list when this lmms-eval cannot take them."""
    _keep_keys_out_of_the_log()
    try:
        if _TASKS in sys.modules:
            _extend(sys.modules[_TASKS])
        elif importlib.util.find_spec(_TASKS) is None:
            raise ModuleNotFoundError(f"this lmms-eval has no module {_TASKS}")
        elif not any(isinstance(finder, _TasksFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _TasksFinder())
    except Exception as error:
        warn_tasks_left_out(error)
    try:
        from lmms_eval.models.registry_v2 import ModelManifest

        return [ModelManifest(model_id=name, chat_class_path=path) for name, path in _MODELS.items()]
    except Exception as error:
        names = ", ".join(_MODELS)
        warn("model", f"the models {names} are left out: this lmms-eval cannot take them: {in_one_line(error)}.")
        return []


def _keep_keys_out_of_the_log() -> None:
    """lmms-eval logs the hub's token with its arguments, and whatever a server answers to its own models."""
    with suppress(ImportError):  # lmms-eval without loguru has no such log
        from loguru import logger

        def without(record: Any) -> None:
            with suppress(ImportError):
                from mellm_plugin.redaction import without_keys

                record["message"] = without_keys(record["message"])

        logger.configure(patcher=without)


class _TasksFinder:
    """Lets others find and run `lmms_eval.tasks`, extends it then, and leaves `sys.meta_path`."""

    _asking_others = False

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != _TASKS or self._asking_others:
            return None
        self._asking_others = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking_others = False
        try:
            # Set on the true loader, without a loader of ours around it: `inspect` and `importlib.resources` ask
            # `__spec__.loader` for sources and files.
            loader: Any = spec.loader if spec else None
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                vars(loader).pop("exec_module", None)
                run(module)
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                _extend(module)

            loader.exec_module = exec_module
        except Exception as error:
            warn_tasks_left_out(error)
        return spec


def _extend(tasks: ModuleType) -> None:
    try:
        from mellm_plugin.lmms_eval_changes import extend

        extend(tasks)
    except Exception as error:
        warn_tasks_left_out(error)


_warned: set[str] = set()


def warn_tasks_left_out(error: Exception) -> None:
    """Warn that lmms-eval does not list our tasks, and what to try."""
    warn(
        "tasks",
        f"the tasks in {task_folder()} are left out: {in_one_line(error)}. Everything else works. "
        f"Try `--include_path {task_folder()}`; if that fails too, reinstall mellm-plugin.",
    )


def in_one_line(error: Exception) -> str:
    """Class and message of an error; those of YAML span lines."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def warn(topic: str, message: str) -> None:
    """Warn in lmms-eval's log, which silences Python's own warnings: once for each topic and machine."""
    if topic in _warned or os.environ.get("LOCAL_RANK", "0") != "0":
        return
    _warned.add(topic)
    try:
        from loguru import logger

        logger.warning(f"mellm: {message}")
    except ImportError:
        print(f"WARNING: mellm: {message}", file=sys.stderr)
