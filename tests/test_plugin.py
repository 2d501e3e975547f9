"""The entry point in fresh interpreters, with the real lmms-eval and with stand-ins for a changed one.

A stand-in is a small `lmms_eval` package in a temporary folder that comes first on the path. Beside it lies a copy of
`plugin` and `lmms_eval_changes` with a tasks folder of the test's own, so that the code under test is the real one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

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
        self.write("lmms_eval/__init__.py", "")
        self.write("lmms_eval/models/__init__.py", "")
        self.write("lmms_eval/models/registry_v2.py", REGISTRY)
        self.write("lmms_eval/tasks/__init__.py", TASK_MANAGER)
        self.write("lmms_eval/tasks/builtin/mme.yaml", "task: mme")
        self.write("lmms_eval/utils.py", UTILS)
        self.write("mellm_plugin/__init__.py", "")
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
        done = run(code, cwd=self.root, PYTHONPATH=str(self.root), **environment)
        return done.stdout.splitlines(), [line for line in done.stderr.splitlines() if line]


def run(code: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


def test_real_lmms_eval_lists_the_model_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = """
        import sys
        import lmms_eval.models
        manifest = lmms_eval.models.get_model_manifest("mellm")
        print(manifest.model_id, manifest.chat_class_path)
        print([m for m in ("torch", "cv2", "numpy", "transformers", "pydantic", "lmms_eval.tasks") if m in sys.modules])
        print(sorted(m for m in sys.modules if m.startswith("mellm_plugin")))
    """
    assert run(code, cwd=tmp_path).stdout.splitlines() == [
        "mellm mellm_plugin.models.mellm.Mellm",
        "[]",
        "['mellm_plugin', 'mellm_plugin.plugin']",
    ]


def test_the_task_folder_is_inside_the_package_or_beside_it(stand_in: StandIn) -> None:
    """Inside in the wheel, beside in a clone."""
    code = "from mellm_plugin.plugin import task_folder; print(task_folder())"
    assert stand_in.run(code)[0] == [str(stand_in.ours)]
    stand_in.write("tasks/meu.yaml", "task: meu")
    assert stand_in.run(code)[0] == [str(stand_in.root / "tasks")]
    assert (plugin.task_folder() / "meu.yaml").is_file()


@pytest.mark.parametrize("tasks_imported", ["before", "after"])
def test_our_tasks_stand_beside_those_of_the_user(stand_in: StandIn, tasks_imported: str) -> None:
    expected = {
        "": ["mme", "ours"],
        "include_path=None": ["mme", "ours"],
        "include_path='theirs'": ["mme", "ours", "theirs"],
        "'INFO', ['theirs']": ["mme", "ours", "theirs"],
        "include_path=('theirs',)": ["mme", "ours", "theirs"],
        "include_path=[]": ["mme", "ours"],
        "include_defaults=False": [],
        "'INFO', 'theirs', False": ["theirs"],
    }
    lines = [
        "from mellm_plugin.plugin import manifests; manifests()",
        "from lmms_eval.tasks import TaskManager",
    ]
    lines = [*(reversed(lines) if tasks_imported == "before" else lines)]
    lines += [f"print(sorted(TaskManager({arguments}).task_index))" for arguments in expected]
    printed, warned = stand_in.run("\n".join(lines))
    assert printed == [str(found) for found in expected.values()]
    assert warned == []


def test_the_import_hook_leaves_no_trace_and_a_second_call_changes_nothing(stand_in: StandIn) -> None:
    code = """
        import importlib.util, inspect, sys
        from importlib.resources import files
        finders = list(sys.meta_path)
        from mellm_plugin.plugin import manifests
        assert len(manifests()) == len(manifests()) == 3
        assert len(sys.meta_path) == len(finders) + 1
        importlib.util.find_spec("lmms_eval.tasks")  # asks, and imports nothing
        import lmms_eval.tasks
        assert sys.meta_path == finders
        init = lmms_eval.tasks.TaskManager.__init__
        manifests()
        assert lmms_eval.tasks.TaskManager.__init__ is init
        assert sys.meta_path == finders
        loader = lmms_eval.tasks.__spec__.loader
        assert lmms_eval.tasks.__loader__ is loader
        assert "exec_module" not in vars(loader)
        assert "class TaskManager" in inspect.getsource(lmms_eval.tasks)
        assert files("lmms_eval.tasks").joinpath("builtin", "mme.yaml").is_file()
        print(inspect.signature(lmms_eval.tasks.TaskManager))
    """
    printed, warned = stand_in.run(code)
    assert printed == ["(verbosity='INFO', include_path=None, include_defaults=True, model_name=None)"]
    assert warned == []


def test_another_finder_that_asks_all_the_others_is_no_endless_loop(stand_in: StandIn) -> None:
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
        from lmms_eval.tasks import TaskManager
        print(sorted(TaskManager().task_index))
    """
    assert stand_in.run(code) == (["['mme', 'ours']"], [])


def test_a_subclass_and_a_failed_first_import_get_our_tasks_too(stand_in: StandIn) -> None:
    stand_in.write(
        "lmms_eval/tasks/__init__.py",
        "import os\nif os.environ.pop('BREAK', None): raise ImportError('first time')\n" + dedent(TASK_MANAGER),
    )
    code = """
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


USE = """
    import sys
    if "without" not in sys.argv:
        from mellm_plugin.plugin import manifests
        assert len(manifests()) == 3
    from lmms_eval.tasks import TaskManager
    for arguments in ({}, {"include_path": "theirs"}, {}):
        try:
            print(sorted(TaskManager(**arguments)._task_index))
        except Exception as error:
            print(type(error), error)
"""
USE_WITHOUT_US = "import sys; sys.argv.append('without')\n" + dedent(USE)


@pytest.mark.parametrize(
    ("old", "new", "ours_found"),
    [
        pytest.param("initialize_tasks", "index_all", True, id="no initialize_tasks"),
        pytest.param("self, verbosity", "self, *more, colour=None, verbosity", True, id="other order"),
        pytest.param("include_path=None, include_defaults=True, model", "model", False, id="no include_path"),
        pytest.param("task_index(self)", "tasks(self)", False, id="no task_index"),
        pytest.param("if isinstance(include_path, str) else include_path", "", False, id="no lists"),
        pytest.param("paths.extend", "sorted", False, id="include_path ignored"),
    ],
)
def test_a_changed_task_manager_takes_our_tasks_or_a_warning_says_so_once(
    stand_in: StandIn, old: str, new: str, ours_found: bool
) -> None:
    assert old in TASK_MANAGER
    stand_in.write("lmms_eval/tasks/__init__.py", TASK_MANAGER.replace(old, new))
    without, _ = stand_in.run(USE_WITHOUT_US)
    printed, warned = stand_in.run(USE)
    if ours_found:
        assert printed == ["['mme', 'ours']", "['mme', 'ours', 'theirs']", "['mme', 'ours']"]
        assert warned == []
    else:
        assert printed == without
        assert_warned_once(warned, stand_in)


def assert_warned_once(warned: list[str], stand_in: StandIn) -> None:
    assert len(warned) == 1, warned
    assert f"--include_path {stand_in.ours}" in warned[0]


@pytest.mark.parametrize(
    ("file", "old", "words"),
    [
        ("tasks/__init__.py", "load_task_or_group", "will fail with another message than ours"),
        ("utils.py", "import_function", "cannot name ours as `mellm_plugin/tasks/...`"),
        ("utils.py", "load_yaml_config", "Write `include: "),
    ],
)
def test_what_a_changed_lmms_eval_lacks_is_reported_once_and_the_tasks_stay(
    stand_in: StandIn, file: str, old: str, words: str
) -> None:
    text = TASK_MANAGER if file.startswith("tasks") else UTILS
    stand_in.write(f"lmms_eval/{file}", text.replace(f"def {old}", "def other"))
    printed, warned = stand_in.run(USE)
    assert printed == ["['mme', 'ours']", "['mme', 'ours', 'theirs']", "['mme', 'ours']"]
    assert len(warned) == 1 and words in warned[0]


def test_task_files_of_others_include_ours_from_any_folder(stand_in: StandIn) -> None:
    stand_in.write("mellm_plugin/tasks/deep/base.yaml", "task: base\nsplit: test\nsound: on")
    stand_in.write("theirs/a.yaml", "include: mellm_plugin/tasks/deep/base.yaml\ntask: a\nsound: off")
    stand_in.write("theirs/b.yaml", "include: mellm_plugin/tasks/no_such.yaml\ntask: b")
    stand_in.write("theirs/c.yaml", "include: mellm_plugin/tasks/mine.yaml\ntask: c")
    stand_in.write("theirs/mellm_plugin/tasks/mine.yaml", "task: mine\nsplit: theirs")
    code = """
        from mellm_plugin.plugin import manifests
        manifests()
        import lmms_eval.tasks
        from lmms_eval import utils
        load = utils.load_yaml_config
        manifests()
        assert utils.load_yaml_config is load
        print(load("theirs/a.yaml"))
        print(load("theirs/c.yaml"))
        try:
            load(yaml_path="theirs/b.yaml")
        except FileNotFoundError as error:
            print(error.filename)
    """
    printed, warned = stand_in.run(code)
    assert printed == [
        "{'task': 'a', 'split': 'test', 'sound': 'off'}",
        "{'task': 'c', 'split': 'theirs'}",
        "theirs/mellm_plugin/tasks/no_such.yaml",
    ]
    assert warned == []


def test_names_of_ours_take_arguments_with_dots(stand_in: StandIn) -> None:
    stand_in.write("mellm_plugin/meu.py", "def __getattr__(name): return f'<{name}>'")
    stand_in.write("other.py", "def __getattr__(name): return f'[{name}]'")
    stand_in.write(
        "theirs/a.yaml",
        "task: a\nx: !mellm_plugin.meu.table(../clips.v2.csv)\ny: !mellm_plugin.meu.data(a)\nz: !other.f(a.b)",
    )
    code = """
        from mellm_plugin.plugin import manifests
        manifests()
        import lmms_eval.tasks
        from lmms_eval.utils import load_yaml_config
        try:
            load_yaml_config("theirs/a.yaml")
        except ImportError as error:
            print(str(error).partition(" from ")[0])
        text = open("theirs/a.yaml").read()
        open("theirs/a.yaml", "w").write(text.rpartition("\\n")[0])
        print(load_yaml_config("theirs/a.yaml"))
    """
    printed, warned = stand_in.run(code)
    assert printed == [
        "Failed to import function 'b)'",
        "{'task': 'a', 'x': '<table(../clips.v2.csv)>', 'y': '<data(a)>'}",
    ]
    assert warned == []


ERRORS = """
    class MellmError(Exception): pass
    class DataError(MellmError): pass
    class InputError(MellmError): pass
"""
ABSENT = """
    from mellm_plugin.errors import DataError, InputError

    def __getattr__(name):
        if name == "wrong":
            raise InputError("wrong labels")
        if name == "foreign":
            raise OSError("no disk")
        if name == "both":
            raise DataError("no a\\nno b")
        raise DataError(f"no {name}")
"""


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        (["mme", "a"], "DataError: no a"),
        (["a", "mme", "b", "also_a"], "DataError: no a|no b"),
        (["a", "c"], "MellmError: no a|wrong labels"),
        (["both", "b"], "DataError: no a|no b"),
        (["foreign", "a"], "ImportError: Failed to import function 'foreign'"),
        (["mme", "ours"], "fine"),
    ],
)
def test_what_is_not_prepared_is_one_error_of_ours(stand_in: StandIn, tasks: list[str], expected: str) -> None:
    stand_in.write("mellm_plugin/errors.py", ERRORS)
    stand_in.write("mellm_plugin/meu.py", ABSENT)
    values = {"a": "a", "also_a": "a", "b": "b", "c": "wrong", "both": "both", "foreign": "foreign"}
    for name, value in values.items():
        stand_in.write(f"mellm_plugin/tasks/{name}.yaml", f"task: {name}\npath: !mellm_plugin.meu.{value}")
    code = f"""
        import sys
        from mellm_plugin.plugin import manifests
        manifests()
        from lmms_eval.tasks import TaskManager

        def cli_evaluate_single():
            return run()

        def run():
            return TaskManager().load_task_or_group({tasks})

        try:
            run()
            print("fine")
        except Exception as error:
            print(type(error).__name__ + ":", str(error).replace(chr(10), "|"))
    """
    printed, warned = stand_in.run(code)
    assert printed == [expected] and warned == []
    # and as lmms-eval's command calls it, which catches every Exception
    stand_in.write("lmms_eval/__main__.py", dedent(code).partition("try:")[0] + COMMAND)
    done = subprocess.run(
        [sys.executable, "-m", "lmms_eval"], cwd=stand_in.root, capture_output=True, text=True, timeout=100, check=False
    )
    kind, _, text = expected.partition(": ")
    if expected == "fine" or kind == "ImportError":
        assert (done.returncode, done.stderr) == (0, ""), "as it is without us"
        assert done.stdout == ("" if expected == "fine" else "caught ImportError\n")
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == text.replace("|", "\n") + "\n"


COMMAND = """
try:
    cli_evaluate_single()
except Exception as error:
    print("caught", type(error).__name__)
"""


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


@pytest.mark.parametrize(
    ("model", "code", "last", "raised"),
    [
        ("ours", 1, "moton: no such argument", "InputError"),
        ("within", 1, "OSError: No space left", "OSError"),
        ("within, tried again", 1, "OSError: No space left", "RuntimeError"),
        ("foreign", 0, "", "OSError"),
        ("rank 0", 0, "", "{'git_hash': '0123abc', 'packages': {'lmms_eval': '0.7.3', 'mellm_plugin': '0.1.0'}}"),
        ("rank 1", 0, "", "None"),
    ],
)
def test_an_error_of_ours_ends_the_command_and_is_raised_in_python(
    stand_in: StandIn, model: str, code: int, last: str, raised: str
) -> None:
    stand_in.write("mellm_plugin/errors.py", ERRORS)
    stand_in.write("mellm_plugin/meu.py", "def full_disk(): raise OSError('No space left')")
    stand_in.write("lmms_eval/caching/__init__.py", "")
    stand_in.write("lmms_eval/caching/response_cache.py", CACHE)
    stand_in.write("lmms_eval/evaluator.py", EVALUATOR)
    for name, version in (("lmms_eval", "0.7.3"), ("mellm_plugin", "0.1.0")):
        stand_in.write(f"{name}-{version}.dist-info/METADATA", f"Name: {name}\nVersion: {version}\n")
    program = f"""
        from mellm_plugin.plugin import manifests
        manifests()
        from lmms_eval import evaluator
        from lmms_eval.tasks import TaskManager

        def cli_evaluate_single():
            return run()

        def run():
            TaskManager()
            return evaluator.simple_evaluate(model={model!r})
    """
    printed, warned = stand_in.run(
        f"""{program}
        try:
            print(run())
        except Exception as error:
            print(type(error).__name__)
        """
    )
    assert printed == [raised] and warned == []
    stand_in.write("lmms_eval/__main__.py", dedent(program) + COMMAND)
    command = [sys.executable, "-m", "lmms_eval"]
    done = subprocess.run(command, cwd=stand_in.root, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == code and done.stderr.rstrip().endswith(last)
    assert ("Traceback" in done.stderr) == model.startswith("within"), "an error of ours is told"
    assert done.stdout == ("caught OSError\n" if model == "foreign" else "")


def test_a_failed_request_is_no_answer_that_the_cache_keeps(stand_in: StandIn) -> None:
    stand_in.write("mellm_plugin/language/__init__.py", "")
    stand_in.write("mellm_plugin/language/unanswered.py", "def in_words(content): return content[0]['text']")
    stand_in.write("mellm_plugin/redaction.py", "def redacted(text): return text.replace('key', '[redacted]')")
    stand_in.write("lmms_eval/caching/__init__.py", "")
    stand_in.write("lmms_eval/caching/response_cache.py", CACHE)
    stand_in.write("lmms_eval/evaluator.py", EVALUATOR)
    code = """
        from mellm_plugin.plugin import manifests
        manifests()
        from lmms_eval import evaluator
        from lmms_eval.tasks import TaskManager
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
    assert stand_in.run(code) == (
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
        def tried(imports):
            try:
                with imports_of_lmms_eval():
                    exec(imports)
            except (MellmError, ImportError) as error:
                print(error)
        tried("from lmms_eval.models.registry_v2 import get_server")
        tried("import lmms_eval.llm_judge")
        tried("import lmms_eval.models, nothing_of_lmms_eval")
    """
    end = "mellm-plugin 0.1.0 needs it, and lmms-eval<0.8,>=0.7.3: pip install 'lmms-eval<0.8,>=0.7.3'"
    assert stand_in.run(code)[0] == [
        f"lmms-eval 0.8.0 has no lmms_eval.models.registry_v2.get_server; {end}",
        f"lmms-eval 0.8.0 has no lmms_eval.llm_judge; {end}",
        "No module named 'nothing_of_lmms_eval'",
    ]


@pytest.mark.parametrize("text", ["class Other: pass", "TaskManager = None", "class TaskManager: pass", None])
def test_no_task_manager_is_reported_once_and_the_model_stays(stand_in: StandIn, text: str | None) -> None:
    code = """
        from mellm_plugin.plugin import manifests
        print([manifest.model_id for manifest in manifests() + manifests()])
    """
    if text is None:  # told at once: nobody may ever import the module that the hook waits for
        shutil.rmtree(stand_in.root / "lmms_eval" / "tasks")
    else:
        stand_in.write("lmms_eval/tasks/__init__.py", text)
        code += "    import lmms_eval.tasks\n"
    printed, warned = stand_in.run(code)
    assert printed == [str(["mellm", "mellm_constant", "mellm_random"] * 2)]
    assert_warned_once(warned, stand_in)


def test_the_error_of_a_broken_lmms_eval_is_its_own(stand_in: StandIn) -> None:
    stand_in.write("lmms_eval/tasks/__init__.py", "raise RuntimeError('no such device')")
    code = """
        from mellm_plugin.plugin import manifests
        assert len(manifests()) == 3
        try:
            import lmms_eval.tasks
        except RuntimeError as error:
            print(error)
    """
    assert stand_in.run(code) == (["no such device"], [])


def test_the_model_is_left_out_of_another_registry_and_the_tasks_stay(stand_in: StandIn) -> None:
    stand_in.write("lmms_eval/models/registry_v2.py", "class ModelManifest: pass")
    code = """
        from mellm_plugin.plugin import manifests
        print(manifests() + manifests())
        from lmms_eval.tasks import TaskManager
        print(sorted(TaskManager().task_index))
    """
    printed, warned = stand_in.run(code)
    assert printed == ["[]", "['mme', 'ours']"]
    assert len(warned) == 1
    assert "the models mellm, mellm_constant, mellm_random are left out" in warned[0]


@pytest.mark.parametrize("text", ["", "tusk: ours", None])
def test_a_broken_task_folder_of_ours_takes_no_other_task_down(stand_in: StandIn, text: str | None) -> None:
    if text is None:
        (stand_in.ours / "ours.yaml").unlink()
    else:
        stand_in.write("mellm_plugin/tasks/broken.yaml", text)
    printed, warned = stand_in.run(USE)
    assert printed == ["['mme']", "['mme', 'theirs']", "['mme']"]
    assert_warned_once(warned, stand_in)


def test_a_broken_file_of_the_user_raises_as_it_does_without_us(stand_in: StandIn) -> None:
    stand_in.write("theirs/broken.yaml", "tusk: theirs")
    without, _ = stand_in.run(USE_WITHOUT_US)
    printed, warned = stand_in.run(USE)
    assert "AssertionError" in printed[1]
    assert printed[1] == without[1]
    assert printed[0] == printed[2] == "['mme', 'ours']"
    assert warned == []


def test_a_task_manager_that_refuses_our_folder_beside_another_works_without_ours(stand_in: StandIn) -> None:
    refuses = "assert name not in index; index.setdefault(name,"
    stand_in.write("lmms_eval/tasks/__init__.py", TASK_MANAGER.replace("index.setdefault(name,", refuses))
    stand_in.write("theirs/ours.yaml", "task: ours")
    printed, warned = stand_in.run(USE)
    assert printed == ["['mme', 'ours']", "['mme', 'ours', 'theirs']", "['mme', 'ours']"]
    assert_warned_once(warned, stand_in)


def test_what_hides_a_task_of_ours_is_reported_once(stand_in: StandIn) -> None:
    stand_in.write("mellm_plugin/tasks/also.yaml", "task: mme")
    stand_in.write("mellm_plugin/tasks/tag.yaml", "tag: faces")
    stand_in.write("theirs/ours.yaml", "task: ours")
    stand_in.write("theirs/tag.yaml", "tag: faces")
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
    assert len(warned) == 1
    assert warned[0].endswith(f": faces (a tag), mme (in {builtin}), ours (in theirs/ours.yaml).")


def test_our_folder_given_by_the_user_as_well_is_no_clash(stand_in: StandIn) -> None:
    code = USE.replace('"theirs"', '["theirs", "theirs/../mellm_plugin/tasks/"]')
    printed, warned = stand_in.run(code)
    assert printed[1] == "['mme', 'ours', 'theirs']"
    assert warned == []


def test_a_warning_comes_from_one_process_of_a_machine_and_without_loguru(stand_in: StandIn) -> None:
    stand_in.write("mellm_plugin/tasks/broken.yaml", "")
    assert stand_in.run(USE, LOCAL_RANK="1")[1] == []
    assert_warned_once(stand_in.run(USE, LOCAL_RANK="0")[1], stand_in)
    stand_in.write("loguru.py", "raise ImportError('no loguru')")
    assert_warned_once(stand_in.run(USE)[1], stand_in)


@pytest.mark.slow
def test_the_real_lmms_eval_finds_every_task_of_ours(tmp_path: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in plugin.task_folder().rglob("*.yaml")]
    ours = {name for text in texts for name in re.findall(r"^task: *([\w-]+) *$", text, re.MULTILINE)}
    assert ours
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "theirs.yaml").write_text("task: theirs\n")
    code = """
        import json, sys
        from lmms_eval.cli.dispatch import main
        sys.argv = ["lmms-eval", "--model", "mellm", "--tasks", "list", "--include_path", "theirs"]
        try:
            main()
        except SystemExit:
            pass
        from lmms_eval.tasks import TaskManager
        print("\\n" + json.dumps([
            TaskManager().all_tasks,
            TaskManager(include_path=["theirs"], include_defaults=False).all_tasks,
        ]))
    """
    printed = run(code, cwd=tmp_path).stdout
    listed = set(re.findall(r"^ - (.+)$", printed, re.MULTILINE))
    assert {"mme", "theirs"} | ours <= listed
    bare, alone = json.loads(printed.splitlines()[-1])
    assert {"mme"} | ours <= set(bare)
    assert alone == ["theirs"]
    assert "mellm:" not in printed  # nothing to warn of
