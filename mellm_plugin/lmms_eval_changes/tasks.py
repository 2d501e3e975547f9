"""lmms-eval's list of tasks gets our folder, and the loading of a task ends with our own messages."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from mellm_plugin.lmms_eval_changes import endings
from mellm_plugin.lmms_eval_changes.endings import our_error
from mellm_plugin.lmms_eval_changes.evaluation import extend_evaluation
from mellm_plugin.plugin import task_folder, warn, warn_tasks_left_out


def extend_task_manager(tasks: ModuleType) -> None:
    """Have each `TaskManager` that indexes lmms-eval's own tasks index our folder too, behind the user's."""
    manager: Any = tasks.TaskManager
    signature = inspect.signature(manager.__init__)
    if not {"include_path", "include_defaults"} <= signature.parameters.keys():
        raise TypeError(f"expected TaskManager(include_path, include_defaults), found TaskManager{signature}")

    @endings.instead_of(manager, "__init__")
    def init(plain: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        problem: Exception | None = None
        extend_evaluation()  # with the first TaskManager the rest of lmms-eval is imported as well
        try:
            call = signature.bind(self, *args, **kwargs)
            call.apply_defaults()
            if call.arguments["include_defaults"]:
                folder, theirs = str(task_folder()), call.arguments["include_path"]
                ours = manager(include_path=[folder], include_defaults=False).task_index
                call.arguments["include_path"] = [*([theirs] if isinstance(theirs, str) else theirs or []), folder]
                plain(*call.args, **call.kwargs)
                return _check(ours, self.task_index)
        except Exception as error:  # of any kind: a fault in our folder must not hide other tasks
            problem = error
        plain(self, *args, **kwargs)  # raises where the fault is the user's
        if problem is not None:
            warn_tasks_left_out(problem)


def _check(ours: dict[str, Any], index: dict[str, Any]) -> None:
    """Warn of our names that others have: of two tasks with one name lmms-eval silently takes the first."""
    if not ours or ours.keys() - index.keys():
        raise LookupError(f"expected {len(ours) or 'some'} tasks, found {len(ours.keys() & index.keys())}")
    hidden = []
    for name in sorted(name for name in ours if ours[name] != index[name]):
        mine, other = str(ours[name]["yaml_path"]), str(index[name]["yaml_path"])
        if mine == "-1" or os.path.realpath(mine) != os.path.realpath(other):  # -1: a tag, which has no file
            hidden.append(f"{name} (in {other})" if other != "-1" else f"{name} (a tag)")
    if hidden:
        warn("hidden", f"these names of ours are taken and mean another task or tag: {', '.join(hidden)}.")


def extend_loading(tasks: ModuleType) -> None:
    """Have an error of ours end the loading with its own message, and the faults of all given tasks at once."""
    _end_retries(tasks)

    @endings.instead_of(tasks.TaskManager, "load_task_or_group")
    def load(plain: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return plain(self, *args, **kwargs)
        except Exception as error:
            ours = our_error(error)
            if ours is None:
                raise
            faults = [*_faults_of_files(self, args[0] if args else kwargs.get("task_list")), ours]
            problem = endings.joined(faults)  # in the order of the tasks
        if endings.frame_of_command() is None:
            raise problem from None
        endings.let_other_processes_through()
        endings.leave(str(problem))


def _end_retries(tasks: ModuleType) -> None:
    """Raise an error of ours at once: lmms-eval tries the loading of data five times, in 8 s."""
    download = getattr(getattr(tasks, "ConfigurableTask", None), "download", None)
    retrying: Any = getattr(download, "retry", None)  # of tenacity
    if callable(getattr(retrying, "retry", None)):

        @endings.instead_of(retrying, "retry")
        def retry(again: Any, state: Any) -> bool:
            failed = state.outcome is not None and state.outcome.failed
            return (not failed or our_error(state.outcome.exception()) is None) and bool(again(state))


def _faults_of_files(manager: Any, names: Any) -> Iterator[Exception]:
    """The faults in the files of these tasks and groups that show without loading their data."""
    for name in [names] if isinstance(names, str) else names or []:
        entry = manager.task_index.get(name) if isinstance(name, str) else None
        if entry is None:
            continue
        try:
            members = entry["task"] if entry["type"] == "tag" else manager._get_config(name).get("task")
        except Exception as error:  # one of lmms-eval itself is skipped: the fault known already is reported
            if (ours := our_error(error)) is not None:
                yield ours
            continue
        if entry["type"] in ("tag", "group"):
            yield from _faults_of_files(manager, members)
