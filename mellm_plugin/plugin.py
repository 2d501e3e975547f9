"""What lmms-eval loads of this package: the manifest of our model, and the folder with our tasks.

lmms-eval has an entry point for models and none for task folders, so the one for models arranges both: each
``TaskManager`` that indexes lmms-eval's own tasks gets our folder as a further ``include_path``, behind the
user's. ``lmms_eval.tasks`` takes half a minute to import and most commands never need it, so it is not
imported here; its TaskManager is extended at the moment when somebody else has imported it.

Nothing in this module may raise: one failing entry point hides all later ones. What goes wrong is told once,
with what to do about it, and lmms-eval goes on as if this package were not there.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest

_TASKS = "lmms_eval.tasks"
_told: set[str] = set()


def task_folder() -> Path:
    """The folder with our task YAMLs, as lmms-eval's ``--include_path`` takes it."""
    return Path(__file__).parent / "tasks"


def manifests() -> list[ModelManifest]:
    """The entry point: our models. Never raises; an empty list when this lmms-eval cannot take them."""
    try:
        if _TASKS in sys.modules:
            _extend_task_manager(sys.modules[_TASKS])
        elif importlib.util.find_spec(_TASKS) is None:
            raise ModuleNotFoundError(f"this lmms-eval has no module {_TASKS}")
        elif not any(isinstance(finder, _TasksFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _TasksFinder())
    except Exception as error:
        _tell_tasks_left_out(error)
    try:
        from lmms_eval.models.registry_v2 import ModelManifest

        return [ModelManifest(model_id="mellm", chat_class_path="mellm_plugin.models.mellm.Mellm")]
    except Exception as error:
        _tell("model", f"the model 'mellm' is left out, this lmms-eval cannot take it: {_named(error)}.")
        return []


class _TasksFinder:
    """Has ``lmms_eval.tasks`` found and run as ever, extends its TaskManager, leaves ``sys.meta_path``."""

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
            self._extend_after_run(spec.loader if spec else None)
        except Exception as error:
            _tell_tasks_left_out(error)
        return spec

    def _extend_after_run(self, loader: Any) -> None:
        # Set on the true loader, no loader of ours around it: `inspect` and `importlib.resources` ask
        # `__spec__.loader` for sources and files.
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            vars(loader).pop("exec_module", None)
            run(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            try:
                _extend_task_manager(module)
            except Exception as error:
                _tell_tasks_left_out(error)

        loader.exec_module = exec_module


def _extend_task_manager(tasks: ModuleType) -> None:
    import functools
    import inspect

    manager: Any = tasks.TaskManager
    plain = manager.__init__
    if hasattr(plain, "includes_mellm"):
        return
    signature = inspect.signature(plain)
    if not {"include_path", "include_defaults"} <= signature.parameters.keys():
        raise TypeError(f"expected TaskManager(include_path, include_defaults), found TaskManager{signature}")

    @functools.wraps(plain)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        problem: Exception | None = None
        try:
            call = signature.bind(self, *args, **kwargs)
            call.apply_defaults()
            if call.arguments["include_defaults"]:
                folder, theirs = str(task_folder()), call.arguments["include_path"]
                ours = manager(include_path=[folder], include_defaults=False).task_index
                theirs = [theirs] if isinstance(theirs, str) else theirs or []
                call.arguments["include_path"] = [*theirs, folder]
                plain(*call.args, **call.kwargs)
                return _check(ours, self.task_index)
        except Exception as error:  # of any kind: what is wrong with our folder is no fault of other tasks
            problem = error
        plain(self, *args, **kwargs)  # where the fault is the user's, this raises it
        if problem is not None:
            _tell_tasks_left_out(problem)

    init.includes_mellm = True  # type: ignore[attr-defined]
    manager.__init__ = init


def _check(ours: dict[str, Any], index: dict[str, Any]) -> None:
    """Of two tasks with one name lmms-eval silently takes the first, its own or the user's: tell that."""
    if not ours or ours.keys() - index.keys():
        raise LookupError(f"expected {len(ours) or 'some'} tasks, found {len(ours.keys() & index.keys())}")
    hidden = []
    for name in sorted(name for name in ours if ours[name] != index[name]):
        mine, other = str(ours[name]["yaml_path"]), str(index[name]["yaml_path"])
        if mine == "-1" or os.path.realpath(mine) != os.path.realpath(other):  # -1: a tag, it has no file
            hidden.append(f"{name} (in {other})" if other != "-1" else f"{name} (a tag)")
    if hidden:
        _tell("hidden", f"these names of ours are taken, and mean another task or tag: {', '.join(hidden)}.")


def _tell_tasks_left_out(error: Exception) -> None:
    _tell(
        "tasks",
        f"the tasks in {task_folder()} are left out: {_named(error)}. All else works as ever. "
        f"Try `--include_path {task_folder()}`; where that fails too, reinstall mellm-plugin.",
    )


def _named(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())  # YAML errors span lines


def _tell(topic: str, message: str) -> None:
    """Warn, once a topic and machine, in lmms-eval's log: it silences Python's own warnings."""
    if topic in _told or os.environ.get("LOCAL_RANK", "0") != "0":
        return
    _told.add(topic)
    try:
        from loguru import logger

        logger.warning(f"mellm: {message}")
    except ImportError:
        print(f"WARNING: mellm: {message}", file=sys.stderr)
