"""The entry point in fresh interpreters, with the real lmms-eval and with stand-ins for a changed one.

A stand-in is a small `lmms_eval` package in a temporary folder that comes first on the path. Beside it lies a copy of
`plugin` and `lmms_eval_changes` with a tasks folder of the test's own, so that the code under test is the real one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from mellm_plugin import errors, plugin

# lmms-eval 0.7.3's own rules, without YAML: what comes first wins, a file with no task is an error.
TASK_MANAGER = """
    import os
    from lmms_eval import utils

    class TaskManager:
        def __init__(self, verbosity="INFO", include_path=None, include_defaults=True, model_name=None):
            self.include_path = include_path
            self._task_index = self.initialize_tasks(include_path, include_defaults)

        def initialize_tasks(self, include_path=None, include_defaults=True):
            paths = [os.path.join(os.path.dirname(__file__), "builtin")] if include_defaults else []
            if include_path is not None:
                paths.extend([include_path] if isinstance(include_path, str) else include_path)
            index = {}
            for folder in paths:
                for file in sorted(os.listdir(folder)):
                    path = os.path.join(folder, file)
                    key, name = open(path).readline().split()
                    assert key in ("task:", "tag:"), path
                    task = {"type": "task", "yaml_path": path}
                    tag = {"type": "tag", "yaml_path": -1, "task": [path]}
                    index.setdefault(name, task if key == "task:" else tag)
            return index

        @property
        def task_index(self):
            return self._task_index

        def _get_config(self, name):
            return utils.load_yaml_config(self.task_index[name]["yaml_path"])

        def load_task_or_group(self, task_list=None, task_type="simple"):
            return {name: self._get_config(name) for name in task_list}
"""
# A file holds lines of `key: value`; a value that starts with `!` is the name of what it stands for.
UTILS = """
    import importlib, os

    def import_function(loader, node):
        *module, name = node.value.split(".")
        try:
            return getattr(importlib.import_module(".".join(module)), name)
        except Exception as error:
            raise ImportError(f"Failed to import function {name!r}") from error

    class Node:
        def __init__(self, value):
            self.value = value

    def load_yaml_config(yaml_path=None, yaml_config=None, yaml_dir=None, mode="full"):
        config = {}
        for line in open(yaml_path).read().splitlines():
            key, value = line.split(": ")
            if key == "include":
                found = value if os.path.isfile(value) else os.path.join(os.path.dirname(yaml_path), value)
                config = {**load_yaml_config(found, mode=mode), **config}
            else:
                config[key] = import_function(None, Node(value[1:])) if value.startswith("!") else value
        return config
"""
REGISTRY = """
    from dataclasses import dataclass

    @dataclass
    class ModelManifest:
        model_id: str
        chat_class_path: str
"""


class StandIn:
    """A folder with a stand-in for lmms-eval and a copy of our plugin, and a way to run code against them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ours = root / "mellm_plugin" / "tasks"
        for package in ("lmms_eval", "lmms_eval/models", "mellm_plugin"):
            self.write(f"{package}/__init__.py", "")
        self.write("lmms_eval/models/registry_v2.py", REGISTRY)
        self.write("lmms_eval/tasks/__init__.py", TASK_MANAGER)
        self.write("lmms_eval/tasks/builtin/mme.yaml", "task: mme")
        self.write("lmms_eval/utils.py", UTILS)
        self.write("mellm_plugin/tasks/ours.yaml", "task: ours")
        self.write("theirs/theirs.yaml", "task: theirs")
        ours = Path(str(plugin.__file__)).parent
        shutil.copy(ours / "plugin.py", root / "mellm_plugin" / "plugin.py")
        shutil.copytree(ours / "lmms_eval_changes", root / "mellm_plugin" / "lmms_eval_changes")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))

    def run(self, code: str, **environment: str) -> tuple[list[str], list[str]]:
        """The lines that `code` printed and the warnings; fails where the process did."""
        env = {**os.environ, "PYTHONPATH": str(self.root), **environment}
        command = [sys.executable, "-c", dedent(code)]
        done = subprocess.run(command, cwd=self.root, env=env, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), [line for line in done.stderr.splitlines() if line]


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


def test_real_lmms_eval_lists_the_model_and_nothing_heavy_is_imported(stand_in: StandIn) -> None:
    code = """
        import sys
        import lmms_eval.models
        manifest = lmms_eval.models.get_model_manifest("mellm")
        print(manifest.model_id, manifest.chat_class_path)
        print([m for m in ("torch", "cv2", "numpy", "transformers", "pydantic", "lmms_eval.tasks") if m in sys.modules])
        print(sorted(m for m in sys.modules if m.startswith("mellm_plugin")))
    """
    shutil.rmtree(stand_in.root / "lmms_eval")
    shutil.rmtree(stand_in.root / "mellm_plugin")
    assert stand_in.run(code, PYTHONPATH=os.environ.get("PYTHONPATH", ""))[0] == [
        "mellm mellm_plugin.models.mellm.Mellm",
        "[]",
        "['mellm_plugin', 'mellm_plugin.plugin']",
    ]


@pytest.mark.parametrize("tasks_imported", ["before", "after"])
def test_our_tasks_stand_beside_those_of_the_user(stand_in: StandIn, tasks_imported: str) -> None:
    expected = {
        "": ["mme", "ours"],
        "include_path=None": ["mme", "ours"],
        "include_path='theirs'": ["mme", "ours", "theirs"],
        "'INFO', ['theirs']": ["mme", "ours", "theirs"],
        "include_path=('theirs',)": ["mme", "ours", "theirs"],
        "include_path=[]": ["mme", "ours"],
        "include_path=['theirs', 'theirs/../mellm_plugin/tasks/']": ["mme", "ours", "theirs"],
        "include_defaults=False": [],
        "'INFO', 'theirs', False": ["theirs"],
    }
    lines = ["from mellm_plugin.plugin import manifests; manifests()", "from lmms_eval.tasks import TaskManager"]
    lines = [*(reversed(lines) if tasks_imported == "before" else lines)]
    lines += [f"print(sorted(TaskManager({arguments}).task_index))" for arguments in expected]
    assert stand_in.run("\n".join(lines)) == ([str(found) for found in expected.values()], [])


def test_the_import_hook_leaves_no_trace_and_a_second_call_changes_nothing(stand_in: StandIn) -> None:
    code = """
        import importlib.util, inspect, sys
        from importlib.resources import files
        finders = list(sys.meta_path)
        from mellm_plugin.plugin import manifests
        assert len(manifests()) == len(manifests()) == 4
        assert len(sys.meta_path) == len(finders) + 1
        importlib.util.find_spec("lmms_eval.tasks")  # asks, and imports nothing
        import lmms_eval.tasks
        from lmms_eval import utils
        assert sys.meta_path == finders
        changed = lmms_eval.tasks.TaskManager.__init__, utils.load_yaml_config
        manifests()
        assert (lmms_eval.tasks.TaskManager.__init__, utils.load_yaml_config) == changed
        assert sys.meta_path == finders
        loader = lmms_eval.tasks.__spec__.loader
        assert lmms_eval.tasks.__loader__ is loader
        assert "exec_module" not in vars(loader)
        assert "class TaskManager" in inspect.getsource(lmms_eval.tasks)
        assert files("lmms_eval.tasks").joinpath("builtin", "mme.yaml").is_file()
        print(inspect.signature(lmms_eval.tasks.TaskManager))
    """
    signature = "(verbosity='INFO', include_path=None, include_defaults=True, model_name=None)"
    assert stand_in.run(code) == ([signature], [])


def test_odd_imports_and_subclasses_get_our_tasks_too(stand_in: StandIn) -> None:
    """A finder that asks all others (no endless loop), a first import that fails, a subclass of TaskManager."""
    broken = "import os\nif os.environ.pop('BREAK', None): raise ImportError('first time')\n"
    stand_in.write("lmms_eval/tasks/__init__.py", broken + dedent(TASK_MANAGER))
    code = """
        import sys

        class AsksAll:
            def find_spec(self, name, path=None, target=None):
                for finder in sys.meta_path:
                    if finder is not self and (spec := finder.find_spec(name, path, target)):
                        return spec

        sys.meta_path.insert(0, AsksAll())
        from mellm_plugin.plugin import manifests
        manifests()
        try:
            import lmms_eval.tasks
        except ImportError as error:
            print(error)
        from lmms_eval.tasks import TaskManager

        class Other(TaskManager):
            def __init__(self, folder):
                super().__init__("INFO", folder)

        print(sorted(Other("theirs").task_index))
    """
    assert stand_in.run(code, BREAK="1") == (["first time", "['mme', 'ours', 'theirs']"], [])


# ---- a changed lmms-eval, broken task folders -----------------------------------------------------------------------

USE = """
    from mellm_plugin.plugin import manifests
    assert len(manifests()) == 4
    from lmms_eval.tasks import TaskManager
    for arguments in ({}, {"include_path": "theirs"}, {}):
        try:
            print(sorted(TaskManager(**arguments)._task_index))
        except Exception as error:
            print(type(error).__name__)
"""
OURS = ["['mme', 'ours']", "['mme', 'ours', 'theirs']", "['mme', 'ours']"]
BARE = ["['mme']", "['mme', 'theirs']", "['mme']"]
LEFT_OUT = "--include_path OURS"


def changed(stand_in: StandIn, file: str, text: str | tuple[str, str] | None) -> None:
    """Write a file, replace a part of it, or remove it."""
    path = stand_in.root / file
    if text is None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif isinstance(text, str):
        stand_in.write(file, text)
    else:
        assert text[0] in path.read_text()
        path.write_text(path.read_text().replace(*text))


def assert_warned_once(warned: list[str], words: str | None, stand_in: StandIn) -> None:
    assert len(warned) == (words is not None), warned
    assert words is None or words.replace("OURS", str(stand_in.ours)) in warned[0]


TASKS = "lmms_eval/tasks/__init__.py"


INIT, ONE = "include_path=None, include_defaults=True, model", "if isinstance(include_path, str) else include_path"
UTILS_FILE = "lmms_eval/utils.py"


@pytest.mark.parametrize(
    ("file", "text", "printed", "words"),
    [
        (TASKS, ("initialize_tasks", "index_all"), OURS, None),
        (TASKS, ("self, verbosity", "self, *more, colour=None, verbosity"), OURS, None),
        (TASKS, (INIT, "model"), ["NameError", "TypeError", "NameError"], LEFT_OUT),
        (TASKS, ("task_index(self)", "tasks(self)"), BARE, LEFT_OUT),
        (TASKS, (ONE, ""), BARE, LEFT_OUT),  # takes no list of folders
        (TASKS, ("paths.extend", "sorted"), ["['mme']"] * 3, LEFT_OUT),  # ignores other folders
        (TASKS, ("index.setdefault", "assert len(paths) < 3; index.setdefault"), [OURS[0], BARE[1], OURS[0]], LEFT_OUT),
        (TASKS, ("load_task_or_group", "other"), OURS, "will fail with another message than ours"),
        (UTILS_FILE, ("def import_function", "def other"), OURS, "cannot name ours as `mellm_plugin/tasks/...`"),
        (UTILS_FILE, ("def load_yaml_config", "def other"), OURS, "Write `include: "),
        ("mellm_plugin/tasks/broken.yaml", "", BARE, LEFT_OUT),
        ("mellm_plugin/tasks/ours.yaml", None, BARE, LEFT_OUT),
        ("theirs/broken.yaml", "tusk: theirs", [OURS[0], "AssertionError", OURS[0]], None),
    ],
)
def test_a_changed_lmms_eval_or_a_broken_folder_hides_no_other_task_and_is_reported_once(
    stand_in: StandIn, file: str, text: str | tuple[str, str] | None, printed: list[str], words: str | None
) -> None:
    changed(stand_in, file, text)
    found, warned = stand_in.run(USE)
    assert found == printed
    assert_warned_once(warned, words, stand_in)


ALL = "mellm, mellm_constant, mellm_flow, mellm_random"


@pytest.mark.parametrize(
    ("file", "text", "models", "tasks", "words"),
    [
        (TASKS, "class Other: pass", ALL, "cannot import name 'TaskManager'", LEFT_OUT),
        (TASKS, "class TaskManager: pass", ALL, "'TaskManager' object has no attribute", LEFT_OUT),
        ("lmms_eval/tasks", None, ALL, "No module named 'lmms_eval.tasks'", LEFT_OUT),
        (TASKS, "raise RuntimeError('no such device')", ALL, "no such device", None),
        ("lmms_eval/models/registry_v2.py", "class ModelManifest: pass", "", OURS[0], f"{ALL} are left out"),
    ],
)
def test_models_and_tasks_do_without_each_other(
    stand_in: StandIn, file: str, text: str | None, models: str, tasks: str, words: str | None
) -> None:
    changed(stand_in, file, text)
    code = """
        from mellm_plugin.plugin import manifests
        manifests()
        print(*(manifest.model_id for manifest in manifests()), sep=', ')
        try:
            from lmms_eval.tasks import TaskManager
            print(sorted(TaskManager().task_index))
        except Exception as error:
            print(error)
    """
    (found, said), warned = stand_in.run(code)
    assert found == models and said.startswith(tasks)
    assert_warned_once(warned, words, stand_in)


def test_what_hides_a_task_of_ours_is_reported_once(stand_in: StandIn) -> None:
    stand_in.write("mellm_plugin/tasks/also.yaml", "task: mme")
    stand_in.write("theirs/ours.yaml", "task: ours")
    for folder in ("mellm_plugin/tasks", "theirs"):
        stand_in.write(f"{folder}/tag.yaml", "tag: faces")
    code = """
        from mellm_plugin.plugin import manifests
        manifests()
        from lmms_eval.tasks import TaskManager
        for _ in range(2):
            index = TaskManager(include_path="theirs").task_index
            print(*(index[name]["yaml_path"] for name in ("mme", "ours", "theirs")), index["faces"]["task"])
    """
    builtin = stand_in.root / "lmms_eval" / "tasks" / "builtin" / "mme.yaml"
    printed, warned = stand_in.run(code)
    assert printed == [f"{builtin} theirs/ours.yaml theirs/theirs.yaml ['theirs/tag.yaml']"] * 2
    assert_warned_once(warned, f": faces (a tag), mme (in {builtin}), ours (in theirs/ours.yaml).", stand_in)


def test_a_warning_comes_from_one_process_of_a_machine_and_without_loguru(stand_in: StandIn) -> None:
    stand_in.write("mellm_plugin/tasks/broken.yaml", "")
    assert stand_in.run(USE, LOCAL_RANK="1")[1] == []
    stand_in.write("loguru.py", "raise ImportError('no loguru')")
    assert_warned_once(stand_in.run(USE, LOCAL_RANK="0")[1], LEFT_OUT, stand_in)


# ---- task files of others -------------------------------------------------------------------------------------------


def test_task_files_of_others_include_ours_and_name_our_functions_with_dots(stand_in: StandIn) -> None:
    stand_in.write("mellm_plugin/tasks/deep/base.yaml", "task: base\nsplit: test\nsound: on")
    stand_in.write("theirs/a.yaml", "include: mellm_plugin/tasks/deep/base.yaml\ntask: a\nsound: off")
    stand_in.write("theirs/b.yaml", "include: mellm_plugin/tasks/no_such.yaml\ntask: b")
    stand_in.write("theirs/c.yaml", "include: mellm_plugin/tasks/mine.yaml\ntask: c")
    stand_in.write("theirs/mellm_plugin/tasks/mine.yaml", "task: mine\nsplit: theirs")
    stand_in.write("mellm_plugin/meu.py", "def __getattr__(name): return f'<{name}>'")
    stand_in.write("other.py", "def __getattr__(name): return f'[{name}]'")
    stand_in.write("theirs/d.yaml", "x: !mellm_plugin.meu.table(../clips.v2.csv)\ny: !mellm_plugin.meu.data(a)")
    stand_in.write("theirs/e.yaml", "z: !other.f(a.b)")
    code = """
        from mellm_plugin.plugin import manifests
        manifests()
        import lmms_eval.tasks
        from lmms_eval.utils import load_yaml_config
        for name in "abcde":
            try:
                print(load_yaml_config(yaml_path=f"theirs/{name}.yaml"))
            except FileNotFoundError as error:
                print(error.filename)
            except ImportError as error:
                print(error)
    """
    assert stand_in.run(code) == (
        [
            "{'task': 'a', 'split': 'test', 'sound': 'off'}",
            "theirs/mellm_plugin/tasks/no_such.yaml",
            "{'task': 'c', 'split': 'theirs'}",
            "{'x': '<table(../clips.v2.csv)>', 'y': '<data(a)>'}",
            "Failed to import function 'b)'",
        ],
        [],
    )


# ---- errors of ours -------------------------------------------------------------------------------------------------

ERRORS = """
    class MellmError(Exception): pass
    class DataError(MellmError): pass
    class InputError(MellmError): pass
"""
ABSENT = """
    from mellm_plugin.errors import DataError, InputError

    def full_disk():
        raise OSError("No space left")

    def __getattr__(name):
        if name == "wrong":
            raise InputError("wrong labels")
        if name == "foreign":
            raise OSError("no disk")
        if name == "both":
            raise DataError("no a\\nno b")
        raise DataError(f"no {name}")
"""
VALUES = {"a": "a", "also_a": "a", "b": "b", "c": "wrong", "both": "both", "foreign": "foreign"}
EVALUATOR = """
    from lmms_eval.caching import response_cache

    def unwrap_generation_output(output):
        return (output, None) if isinstance(output, (str, tuple)) else (output.text, output.tokens)

    def simple_evaluate(model=None, **rest):
        from mellm_plugin.errors import InputError
        from mellm_plugin import meu
        if model == "ours":
            try:
                raise InputError("moton: no such argument")
            except InputError as error:
                raise ValueError("it went wrong") from error
        if model == "within":
            meu.full_disk()
        if model == "within, tried again":  # as lmms-eval calls process_results
            try:
                meu.full_disk()
            except OSError as error:
                raise RuntimeError("RetryError[<Future>]") from error
        if model == "foreign":
            raise OSError("no disk")
        return {"git_hash": "0123abc"} if model == "rank 0" else None
"""
CACHE = """
    class ResponseCache:
        kept = {}
        def _lookup(self, key):
            return self.kept.get(key)
        @staticmethod
        def _is_valid_response(response, request_type):
            return bool(response)
"""
BEGIN = """
from mellm_plugin.plugin import manifests
manifests()
from lmms_eval import evaluator
from lmms_eval.tasks import TaskManager

def run(given):
    manager = TaskManager()
    if isinstance(given, str):
        return evaluator.simple_evaluate(model=given)
    return manager.load_task_or_group(given)
"""
MAIN = """
import builtins

def cli_evaluate_single():
    return builtins.run(builtins.given)

try:
    cli_evaluate_single()
except Exception as error:
    print("caught", type(error).__name__)
"""
BOTH = """
import builtins, contextlib, io, json, runpy
builtins.run = run
for builtins.given in CASES:
    try:
        found = [str(run(given))]
    except Exception as error:
        found = [f"{type(error).__name__}: {error}"]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_module("lmms_eval", run_name="__main__")
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([*found, code, out.getvalue(), err.getvalue()]))
"""
FULL = "OSError: No space left"
PACKAGES = "{'git_hash': '0123abc', 'packages': {'lmms_eval': '0.7.3', 'mellm_plugin': '0.1.0'}}"
ENDINGS: list[tuple[list[str] | str, str, str | None]] = [
    # the tasks to load or the model to evaluate, what Python raises or returns, what ends the command
    (["mme", "a"], "DataError: no a", "no a"),
    (["a", "mme", "b", "also_a"], "DataError: no a\nno b", "no a\nno b"),
    (["a", "c"], "MellmError: no a\nwrong labels", "no a\nwrong labels"),
    (["both", "b"], "DataError: no a\nno b", "no a\nno b"),
    (["foreign", "a"], "ImportError: Failed to import function 'foreign'", None),
    (["mme", "ours"], "{'mme': {'task': 'mme'}, 'ours': {'task': 'ours'}}", None),
    ("ours", "InputError: moton: no such argument", "moton: no such argument"),
    ("within", FULL, FULL),
    ("within, tried again", "RuntimeError: RetryError[<Future>]", FULL),
    ("foreign", "OSError: no disk", None),
    ("rank 0", PACKAGES, None),
    ("rank 1", "None", None),
]


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    """A stand-in whose evaluation and whose tasks fail in several ways."""
    stand_in = StandIn(tmp_path_factory.mktemp("evaluator"))
    stand_in.write("mellm_plugin/errors.py", ERRORS)
    stand_in.write("mellm_plugin/meu.py", ABSENT)
    stand_in.write("mellm_plugin/language/__init__.py", "")
    stand_in.write("mellm_plugin/language/unanswered.py", "def in_words(content): return content[0]['text']")
    stand_in.write("mellm_plugin/redaction.py", "def redacted(text): return text.replace('key', '[redacted]')")
    stand_in.write("lmms_eval/caching/__init__.py", "")
    stand_in.write("lmms_eval/caching/response_cache.py", CACHE)
    stand_in.write("lmms_eval/evaluator.py", EVALUATOR)
    for name, value in VALUES.items():
        stand_in.write(f"mellm_plugin/tasks/{name}.yaml", f"task: {name}\npath: !mellm_plugin.meu.{value}")
    for name, version in (("lmms_eval", "0.7.3"), ("mellm_plugin", "0.1.0")):
        stand_in.write(f"{name}-{version}.dist-info/METADATA", f"Name: {name}\nVersion: {version}\n")
    return stand_in


@pytest.fixture(scope="module")
def endings(evaluator: StandIn) -> list[list[Any]]:
    """Of each of ENDINGS: what Python raises or returns; exit code, output and errors of the command."""
    evaluator.write("lmms_eval/__main__.py", MAIN)
    printed, warned = evaluator.run(f"CASES = {[given for given, _, _ in ENDINGS]}\n{BEGIN}{BOTH}")
    assert warned == []
    return [json.loads(line) for line in printed]


@pytest.mark.parametrize("case", range(len(ENDINGS)))
def test_an_error_of_ours_is_raised_in_python_and_ends_the_command(endings: list[list[Any]], case: int) -> None:
    """The command catches every Exception, prints it and ends with 0."""
    given, raised, last = ENDINGS[case]
    found, code, out, err = endings[case]
    assert found == raised
    if last is None:
        kind = raised.partition(":")[0]
        assert (code, err) == (0, ""), "as it is without us"
        assert out == (f"caught {kind}\n" if kind.endswith("Error") else "")
    else:
        assert (code, out) == (1, "")
        within = str(given).startswith("within")  # an error of another kind: with its traceback
        assert err.endswith(f"{last}\n") if within else err == f"{last}\n"
        assert ("Traceback" in err) == within


def test_a_failed_request_is_no_answer_that_the_cache_keeps(evaluator: StandIn) -> None:
    code = """
        TaskManager(), TaskManager()
        cache = evaluator.response_cache.ResponseCache()
        class Result: text = "[LMMS_EVAL_BUDGET_EXCEEDED]"
        class Parts: text = [{"type": "text", "text": "AU4"}]
        cache.kept.update(a="AU4", b="[LMMS_EVAL_REQUEST_FAILED after 5 retries] Connection error.")
        cache.kept["c"] = "[MELLM_IMAGES_UNUSABLE] no such file"
        print([cache._lookup(key) for key in "abcd"])
        print([cache._is_valid_response(one, "generate_until") for one in ("AU4", "", Result(), (-1.5, True), Parts())])
        Parts.tokens = 7
        print([evaluator.unwrap_generation_output(one) for one in ("AU1", (-1.5, True), Parts())])
        Result.text, Result.tokens = "[LMMS_EVAL_REQUEST_FAILED after 1 retries] key", 0
        print(evaluator.unwrap_generation_output(Result()))
    """
    assert evaluator.run(BEGIN + dedent(code)) == (
        [
            "['AU4', None, None, None]",
            "[True, False, False, True, False]",
            "[('AU1', None), ((-1.5, True), None), ('AU4', 7)]",
            "('[LMMS_EVAL_REQUEST_FAILED after 1 retries] [redacted]', 0)",
        ],
        [],
    )


def test_a_name_that_lmms_eval_lacks_is_reported_in_one_line(stand_in: StandIn) -> None:
    shutil.copy(str(errors.__file__), stand_in.root / "mellm_plugin" / "errors.py")
    stand_in.write("lmms_eval-0.8.0.dist-info/METADATA", "Name: lmms_eval\nVersion: 0.8.0\n")
    needed = "Name: mellm-plugin\nVersion: 0.1.0\nRequires-Dist: lmms-eval<0.8,>=0.7.3\nRequires-Dist: lmms-eval-x\n"
    stand_in.write("mellm_plugin-0.1.0.dist-info/METADATA", needed)
    code = """
        from mellm_plugin.errors import MellmError, imports_of_lmms_eval
        for imports in (
            "from lmms_eval.models.registry_v2 import get_server",
            "import lmms_eval.llm_judge",
            "import lmms_eval.models, nothing_of_lmms_eval",
        ):
            try:
                with imports_of_lmms_eval():
                    exec(imports)
            except (MellmError, ImportError) as error:
                print(error)
    """
    end = "mellm-plugin 0.1.0 needs it, and lmms-eval<0.8,>=0.7.3: pip install 'lmms-eval<0.8,>=0.7.3'"
    assert stand_in.run(code)[0] == [
        f"lmms-eval 0.8.0 has no lmms_eval.models.registry_v2.get_server; {end}",
        f"lmms-eval 0.8.0 has no lmms_eval.llm_judge; {end}",
        "No module named 'nothing_of_lmms_eval'",
    ]
