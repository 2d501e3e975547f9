"""Who may import whom: a room imports only what stands to its left, and heavy packages stay in their rooms. What task
files may include: nothing that needs data."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml
from user_commands import SOURCE

import mellm_plugin
from mellm_plugin.plugin import task_folder

PACKAGE = Path(mellm_plugin.__file__).parent

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "locks": {"errors", "redaction"},
    "children": set(),
    "settings": {"errors"},
    "small_files": set(),
    "redaction": set(),
    "facs": {"errors"},
    "motion": {"errors", "settings", "small_files"},
    "language": {"errors", "facs", "motion"},
    "datasets": {"errors", "locks", "small_files", "facs", "motion", "language"},
    "models": {"errors", "settings", "small_files", "facs", "motion", "language", "datasets"},
    "scoring": {"errors", "small_files", "redaction", "facs", "motion", "language"},
    "training": {
        *("errors", "settings", "locks", "children", "small_files", "redaction"),
        *("facs", "motion", "language", "datasets", "models", "scoring"),
    },
    "meu": {"errors", "facs", "motion", "language", "datasets", "scoring"},
    "megc_vqa": {"errors", "facs", "motion", "language", "datasets", "scoring", "meu"},
    "report": {
        *("errors", "settings", "small_files", "redaction"),
        *("facs", "motion", "language", "datasets", "scoring"),
    },
    "cli": {
        *(
            "plugin",
            "errors",
            "locks",
            "facs",
            "motion",
            "language",
            "datasets",
            "models",
            "scoring",
            "training",
            "meu",
        ),
        "report",
    },
    "plugin": {"redaction", "lmms_eval_changes"},
    "lmms_eval_changes": {"redaction", "language", "plugin"},
}
HEAVY_ONLY_IN = {
    "lmms_eval": {"plugin", "models", "scoring/held_out.py"},
    "torch": {"models", "training", "motion/tvl1.py"},
    "filelock": {"locks.py"},  # see there
}


FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if file != PACKAGE / "__init__.py"]


def _room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _module(file: Path) -> str:
    return ".".join([PACKAGE.name, *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


MODULES = {_module(file) for file in FILES}


@cache
def _imports(file: Path) -> dict[str, int]:
    """The modules that a file imports, also inside functions, with a line that does it."""
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name: node.lineno for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else str(node.module): node.lineno for name in names}
    return found


def test_imports_go_to_the_left() -> None:
    faults = []
    for file in FILES:
        room = _room(file)
        here = {room, file.relative_to(PACKAGE).as_posix()}
        for module, line in _imports(file).items():
            top, _, rest = module.partition(".")
            other = rest.partition(".")[0]
            if top == PACKAGE.name and other not in ("", room, *MAY_IMPORT[room]):
                faults.append(f"{file}:{line}: {room} may not import {other}")
            if top in HEAVY_ONLY_IN and not here & HEAVY_ONLY_IN[top]:
                faults.append(f"{file}:{line}: {top} does not belong into {room}")
    assert not faults, "\n".join(faults)


def test_no_import_cycles() -> None:
    imported = {_module(file): {*_imports(file)} for file in FILES}
    # the entry point loads the changes once lmms-eval's tasks are there, and the changes use its warnings
    imported[f"{PACKAGE.name}.plugin"].remove(f"{PACKAGE.name}.lmms_eval_changes")
    TopologicalSorter(imported).prepare()  # raises CycleError, with the cycle


def _tree(text: str) -> list[str]:
    """The files in the code block that begins with `mellm_plugin/`, folders before their indented files."""
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if re.match(r"\s*mellm_plugin/(\s|$)", line)), len(lines))
    found: list[str] = []
    folders: list[tuple[int, str]] = []
    for line in lines[start:]:
        if not line.strip() or line.lstrip().startswith("```"):
            break
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        while folders and folders[-1][0] >= indent:
            folders.pop()
        if name.endswith("/"):
            folders.append((indent, name))
        elif name.endswith(".py"):
            found.append("".join(folder for _, folder in folders) + name)
    return found


def test_the_tree_in_contributing_names_the_modules_that_exist() -> None:
    file = SOURCE / "CONTRIBUTING.md"
    if not file.is_file():
        pytest.skip(f"{SOURCE} is no clone: it has no CONTRIBUTING.md (set MELLM_SOURCE)")
    named = _tree(file.read_text(encoding="utf-8"))
    modules = {f"{PACKAGE.name}/{one.relative_to(PACKAGE).as_posix()}" for one in PACKAGE.rglob("*.py")}
    assert sorted(named) == sorted(modules)


# ---- task files -----------------------------------------------------------------------------------------------------

ROOT = PACKAGE.parent
YAMLS = [file for folder in (task_folder(), ROOT / "examples") for file in sorted(folder.rglob("*.y*ml"))]
OF_DATA = {"dataset_path", "dataset_name", "dataset_kwargs", "metadata"}


class _Plain(yaml.SafeLoader):
    """Keeps the names of late values, behind a mark."""


_Plain.add_constructor("!function", lambda loader, node: f"!{node.value}")


def _included(file: Path) -> set[Path]:
    """The files that a YAML includes, at any depth."""
    config = yaml.load(file.read_text(encoding="utf-8"), _Plain)
    names = config.get("include", []) if isinstance(config, dict) else []
    names = [names] if isinstance(names, str) else names
    found = {
        (task_folder() if name.startswith("mellm_plugin/") else file.parent)
        .joinpath(name.removeprefix("mellm_plugin/tasks/"))
        .resolve()
        for name in names
    }
    return found.union(*map(_included, found))


def _late_values(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return [late for one in inside for late in _late_values(one)]
    return [value[1:]] if isinstance(value, str) and value.startswith("!") else []


def test_task_files_are_short() -> None:
    tasks = [file for file in YAMLS if file.is_relative_to(task_folder())]
    lines = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in tasks}
    assert lines and max(lines.values()) <= 15, lines


def test_what_a_task_file_includes_needs_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """lmms-eval evaluates the late values of an included file even where the including one sets their keys anew."""
    monkeypatch.setenv("MELLM_DATA", str(tmp_path))
    included = set[Path]().union(*map(_included, YAMLS))
    assert {"meu.yaml", "au.yaml", "emotion.yaml", "questions.yaml"} <= {file.name for file in included}
    for file in included:
        config = yaml.load(file.read_text(encoding="utf-8"), _Plain)
        assert not OF_DATA & config.keys(), f"{file}: say it in the files that include this one"
        for late in _late_values(config):
            function, bracket, arguments = late.partition("(")
            module, _, name = function.rpartition(".")
            getattr(importlib.import_module(module), f"{name}{bracket}{arguments}")  # raises where data are missing
    assert not list(tmp_path.iterdir()), "drawn datasets are data, too"
