"""What lmms-eval loads of this package: the manifests of our models, and the folder with our tasks.

lmms-eval has an entry point for models and none for task folders, so the one for models arranges both: each
``TaskManager`` that indexes lmms-eval's own tasks gets our folder as a further ``include_path``, behind the
user's. ``lmms_eval.tasks`` takes half a minute to import and most commands never need it, so it is not
imported here; it is extended at the moment when somebody else has imported it, in three places:

-   ``TaskManager.__init__`` indexes our folder too;
-   ``TaskManager.load_task_or_group`` ends with our own message where data of ours are not prepared, and with one for
    all of them, where lmms-eval wraps it in others; and ``ConfigurableTask.download`` does not try five times, in 8 s,
    what is wrong in a task file or its data;
-   ``utils.load_yaml_config`` finds ``include: mellm_plugin/tasks/meu.yaml`` from any folder, and
    ``utils.import_function`` takes ``mellm_plugin.meu.table(clips.csv)``, which it would cut at the last dot.

And with the first TaskManager, when the rest of lmms-eval is there as well:

-   ``evaluator.simple_evaluate``: an error of ours ends lmms-eval's command with exit code 1 and its message as the
    last words, where lmms-eval prints a traceback and exits with 0. Called from Python it raises that error. Its
    results say under ``packages`` which lmms-eval it was: what lmms-eval says itself is the commit of whatever
    repository its environment lies in;
-   ``ResponseCache``: a request that failed is asked anew, where lmms-eval keeps its failure as the answer;
-   ``evaluator.unwrap_generation_output``: a message that a server sent in parts becomes the text of them, where the
    run would end at the first one.

None of this may fail: one failing entry point hides all later ones. What goes wrong is told once, with what to do
about it, and lmms-eval goes on as if this package were not there.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest

_TASKS = "lmms_eval.tasks"
_told: set[str] = set()


def task_folder() -> Path:
    """The folder with our task YAMLs, for lmms-eval's ``--include_path``.

    The wheel holds it inside the package; a clone and an editable install have it beside the package.
    """
    inside = Path(__file__).parent / "tasks"
    beside = Path(__file__).parents[1] / "tasks"
    return beside if (beside / "meu.yaml").is_file() else inside


def _keep_keys_out_of_the_log() -> None:
    """lmms-eval logs the token for the hub with its arguments, and whatever a server answers to its own models."""
    with suppress(ImportError):  # lmms-eval without loguru has no such log
        from loguru import logger

        def without(record: Any) -> None:
            with suppress(ImportError):
                from mellm_plugin.redaction import without_keys

                record["message"] = without_keys(record["message"])

        logger.configure(patcher=without)


def manifests() -> list[ModelManifest]:
    """The entry point: our models. Never raises; an empty list when this lmms-eval cannot take them."""
    _keep_keys_out_of_the_log()
    try:
        if _TASKS in sys.modules:
            _extend(sys.modules[_TASKS])
        elif importlib.util.find_spec(_TASKS) is None:
            raise ModuleNotFoundError(f"this lmms-eval has no module {_TASKS}")
        elif not any(isinstance(finder, _TasksFinder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _TasksFinder())
    except Exception as error:
        _tell_tasks_left_out(error)
    try:
        from lmms_eval.models.registry_v2 import ModelManifest

        return [ModelManifest(model_id=name, chat_class_path=path) for name, path in _MODELS.items()]
    except Exception as error:
        _tell(
            "model", f"the models {', '.join(_MODELS)} are left out, this lmms-eval cannot take them: {_named(error)}."
        )
        return []


_MODELS = {
    "mellm": "mellm_plugin.models.mellm.Mellm",
    "mellm_constant": "mellm_plugin.models.baselines.Constant",
    "mellm_random": "mellm_plugin.models.baselines.Random",
}


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
            _extend(module)

        loader.exec_module = exec_module


def _extend(tasks: ModuleType) -> None:
    try:
        _extend_task_manager(tasks)
    except Exception as error:
        _tell_tasks_left_out(error)
        return
    try:
        _extend_loading(tasks)
    except Exception as error:
        _tell(
            "loading",
            f"where a dataset is not prepared, this lmms-eval will fail with another message than ours: "
            f"{_named(error)}. `mellm datasets` lists what is prepared.",
        )
    try:
        _extend_yaml(tasks)
    except Exception as error:
        _tell(
            "yaml",
            f"task files of your own cannot name ours as `mellm_plugin/tasks/...` here: {_named(error)}. "
            f"Write `include: {task_folder() / 'meu.yaml'}`.",
        )


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
        _extend_evaluation()
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


# ---- data that are not prepared -------------------------------------------------------------------------------------


def _extend_loading(tasks: ModuleType) -> None:
    import functools

    _end_retries(tasks)
    manager: Any = tasks.TaskManager
    plain = manager.load_task_or_group
    if hasattr(plain, "ends_with_mellm"):
        return

    @functools.wraps(plain)
    def load(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return plain(self, *args, **kwargs)
        except Exception as error:
            ours = _ours(error)
            if ours is None:
                raise
            faults = [*_faults_of_files(self, args[0] if args else kwargs.get("task_list")), ours]
            problem = _joined(faults)  # in the order of the tasks
        if _command() is None:
            raise problem from None
        _let_others_through()
        _leave(str(problem))

    load.ends_with_mellm = True  # type: ignore[attr-defined]
    manager.load_task_or_group = load


def _end_retries(tasks: ModuleType) -> None:
    """Have what we say of data or a task file end their loading; where this cannot be, it comes after the retries."""
    download = getattr(getattr(tasks, "ConfigurableTask", None), "download", None)
    retrying: Any = getattr(download, "retry", None)  # of tenacity
    again = getattr(retrying, "retry", None)
    if callable(again) and not hasattr(again, "ends_with_mellm"):

        def retry(state: Any) -> bool:
            failed = state.outcome is not None and state.outcome.failed
            return (not failed or _ours(state.outcome.exception()) is None) and bool(again(state))

        retry.ends_with_mellm = True  # type: ignore[attr-defined]
        retrying.retry = retry


def _ours(error: BaseException | None) -> Exception | None:
    """The error of this package that caused this one, or that was the last when something was tried several times."""
    errors: Any = sys.modules.get(f"{__package__}.errors")
    if errors is None:
        return None
    return next((one for one in _with_causes(error) if isinstance(one, errors.MellmError)), None)


def _with_causes(error: BaseException | None) -> Iterator[Exception]:
    """An error, what caused it, and what was the last error when something was tried several times."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, Exception):
            yield error
        seen.add(id(error))
        attempt: Any = getattr(error, "last_attempt", None)  # of tenacity's RetryError
        error = error.__cause__ or (attempt.exception() if attempt is not None else None)


def _faults_of_files(manager: Any, names: Any) -> Iterator[Exception]:
    """What is wrong with the files of these tasks and groups, as far as it can be seen without loading their data."""
    for name in [names] if isinstance(names, str) else names or []:
        entry = manager.task_index.get(name) if isinstance(name, str) else None
        if entry is None:
            continue
        try:
            members = entry["task"] if entry["type"] == "tag" else manager._get_config(name).get("task")
        except Exception as error:  # also of lmms-eval itself: then the fault that is known already is all that is told
            if (ours := _ours(error)) is not None:
                yield ours
            continue
        if entry["type"] in ("tag", "group"):
            yield from _faults_of_files(manager, members)


def _joined(errors: list[Exception]) -> Exception:
    texts = list(dict.fromkeys(str(error) for error in errors))
    texts = [text for text in texts if not any(text != other and text in other for other in texts)]
    if len(texts) == 1:
        return next(error for error in errors if str(error) == texts[0])
    kinds = {type(error) for error in errors}
    kind: Any = kinds.pop() if len(kinds) == 1 else sys.modules[f"{__package__}.errors"].MellmError
    joined: Exception = kind("\n".join(texts))
    return joined


def _command() -> FrameType | None:
    """That of lmms-eval's command, which catches every Exception, prints it all and exits with 0; None in Python."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "cli_evaluate_single" and os.path.basename(code.co_filename) == "__main__.py":
            return frame
        frame = frame.f_back
    return None


def _let_others_through() -> None:
    """Let the other processes of a distributed run through the barrier at which they wait for rank 0 to load tasks: to
    end in this way too, and not with the error of a lost connection."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        if distributed.get_rank() == 0:
            distributed.barrier()
        distributed.destroy_process_group()


def _leave(text: str) -> None:
    """End the process with 1, having told why: once a machine, where all of its processes fail alike."""
    rest = _not_begun()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        time.sleep(_PATIENCE_S)  # where process 0 fails too, the launcher ends this one before it wakes up
        text = f"process {os.environ['LOCAL_RANK']}: {text}"
    sys.stdout.flush()
    print(f"{text}{rest}", file=sys.stderr, flush=True)
    raise SystemExit(1)


_PATIENCE_S = 10.0


def _not_begun() -> str:
    """How many evaluations of a `--config` of several are not begun when the command ends now, in words."""
    frame = _command()
    known = frame.f_back.f_locals if frame is not None and frame.f_back is not None else {}
    every, current = known.get("args_list"), known.get("args")
    if not isinstance(every, list) or not any(one is current for one in every):
        return ""
    later = len(every) - 1 - next(at for at, one in enumerate(every) if one is current)
    return f"\nof --config {later} later evaluations were not begun" if later else ""


# ---- an evaluation --------------------------------------------------------------------------------------------------


def _extend_evaluation() -> None:
    evaluator: Any = sys.modules.get("lmms_eval.evaluator")
    if not hasattr(evaluator, "simple_evaluate") or hasattr(evaluator.simple_evaluate, "ends_with_mellm"):
        return
    try:
        evaluator.simple_evaluate = _ending(evaluator.simple_evaluate)
        _extend_cache(sys.modules["lmms_eval.caching.response_cache"])
        _extend_answers(evaluator)
    except Exception as error:
        _tell("cache", f"with --use_cache this lmms-eval keeps failed requests as answers: {_named(error)}.")


def _ending(plain: Any) -> Any:
    """The function; where an error of ours ends it, that error ends the command, too, or is raised in Python."""
    import functools

    @functools.wraps(plain)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return _with_packages(plain(*args, **kwargs))
        except Exception as error:
            ours = _ours(error)
            if _command() is None or os.environ.get("VERBOSITY") == "DEBUG":  # there lmms-eval raises it, too
                if ours is None or ours is error:
                    raise
                raise ours from error
            within = next((one for one in _with_causes(error) if _is_within_ours(one)), None)
            if ours is None and within is None:
                raise
            problem = error
        if ours is None:
            sys.stdout.flush()
            traceback.print_exception(problem)
        _leave(str(ours) if ours is not None else _named(within or problem))

    run.ends_with_mellm = True  # type: ignore[attr-defined]
    return run


def _is_within_ours(error: Exception) -> bool:
    """Whether code of this package raised it, or what that had called: of a full disk, a card without memory."""
    at = error.__traceback__
    while at is not None:
        module = str(at.tb_frame.f_globals.get("__name__"))
        if module.startswith(f"{__package__}.") and module != __name__:
            return True
        at = at.tb_next
    return False


def _with_packages(results: Any) -> Any:
    """The results of an evaluation (None of all processes but the first), with the versions of the packages."""
    if isinstance(results, dict):
        from importlib.metadata import PackageNotFoundError, version

        found: dict[str, str] = {}
        for name in ("lmms_eval", "mellm_plugin"):
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue  # it runs from a folder that is not installed, of which no version is known
        clone = Path(str(sys.modules["lmms_eval"].__file__)).parents[1] / ".git"
        if clone.exists() and results.get("git_hash") and "lmms_eval" in found:
            found["lmms_eval"] += f"+{results['git_hash']}"  # lmms-eval's own repository
        results["packages"] = found
    return results


def _extend_answers(evaluator: Any) -> None:
    import functools

    plain = getattr(evaluator, "unwrap_generation_output", None)
    if plain is None:
        return

    @functools.wraps(plain)
    def unwrap(output: Any) -> Any:
        text = getattr(output, "text", "")
        rounds = isinstance(text, list) and bool(text) and all(isinstance(one, str) for one in text)
        if isinstance(text, str) and text.startswith(_FAILED):
            from mellm_plugin.redaction import redacted

            return redacted(text), plain(output)[1]  # some servers send the key back
        if rounds or isinstance(text, str | None):
            return plain(output)
        from mellm_plugin.language.unanswered import in_words

        _, tokens = plain(output)
        return in_words(text), tokens

    evaluator.unwrap_generation_output = unwrap


_FAILED = ("[LMMS_EVAL_", "[MELLM_")
"""How a text in place of an answer begins: lmms-eval's of a request that failed or a budget that was spent, and ours of
images that cannot be used."""


def _extend_cache(module: Any) -> None:
    import functools

    cache: Any = module.ResponseCache
    if hasattr(cache._lookup, "ends_with_mellm"):
        return
    plain_lookup, plain_valid = cache._lookup, cache._is_valid_response

    def failed(response: Any) -> bool:
        return str(getattr(response, "text", response)).startswith(_FAILED)

    @functools.wraps(plain_lookup)
    def lookup(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = plain_lookup(self, *args, **kwargs)
        return None if failed(found) else found

    @functools.wraps(plain_valid)
    def is_valid_response(response: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(getattr(response, "text", ""), str):
            return False  # a message in parts, with which lmms-eval ends the run
        return plain_valid(response, *args, **kwargs) and not failed(response)

    lookup.ends_with_mellm = True  # type: ignore[attr-defined]
    cache._lookup, cache._is_valid_response = lookup, staticmethod(is_valid_response)


# ---- task files of others -------------------------------------------------------------------------------------------


def _extend_yaml(tasks: ModuleType) -> None:
    import functools

    utils: Any = tasks.utils
    plain_load, plain_import = utils.load_yaml_config, utils.import_function
    if hasattr(plain_load, "finds_mellm"):
        return

    @functools.wraps(plain_load)
    def load_yaml_config(yaml_path: Any = None, *args: Any, **kwargs: Any) -> Any:
        try:
            return plain_load(_in_our_folder(yaml_path), *args, **kwargs)
        except Exception as error:
            ours = _ours(error)
            if ours is None or sys._getframe(1) is not _command():  # of --tasks FILE: nothing else catches it there
                raise
        _leave(str(ours))

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
    """The path; that of our own file where there is none and the path ends in `mellm_plugin/tasks/..`."""
    if not isinstance(path, (str, os.PathLike)) or os.path.isfile(path):
        return path
    _, found, rest = Path(path).as_posix().rpartition("mellm_plugin/tasks/")
    ours = task_folder() / rest
    return str(ours) if found and ours.is_file() else path


# ---- what went wrong ------------------------------------------------------------------------------------------------


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
