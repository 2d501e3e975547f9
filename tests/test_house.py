"""Who may import whom: a room imports only what stands to its left, and heavy packages stay in their rooms. What task
files may include: nothing that needs data."""

from __future__ import annotations

import ast
import importlib
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    "models": {"errors", "settings", "small_files", "facs", "motion", "language"},
    "scoring": {"errors", "small_files", "redaction", "facs", "motion", "language"},
    "training": {
        *("errors", "settings", "locks", "children", "small_files", "redaction"),
        *("facs", "motion", "language", "datasets", "models", "scoring"),
    },
    "meu": {"errors", "facs", "motion", "language", "datasets", "scoring"},
    "megc_vqa": {"errors", "facs", "motion", "language", "datasets", "scoring", "meu"},
    "report": {
        *("errors", "settings", "small_files", "redaction"),
        *("facs", "motion", "language", "datasets", "scoring", "meu", "megc_vqa"),
    },
    "cli": {
        *(
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
            "report",
        ),
        "plugin",
    },
    "plugin": {"redaction", "lmms_eval_changes"},
    "lmms_eval_changes": {"redaction", "language", "plugin"},
}
HEAVY_ONLY_IN = {
    "lmms_eval": {"plugin", "models", "scoring/held_out.py"},
    "torch": {"models", "training", "motion/tvl1.py"},
    "filelock": {"locks.py"},  # see there
}


def _room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(file: Path) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            if node.module == "mellm_plugin":
                found += [(f"mellm_plugin.{alias.name}", node.lineno) for alias in node.names]
            else:
                found.append((node.module, node.lineno))
    return found


FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if file != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_to_the_left(file: Path) -> None:
    room = _room(file)
    for module, line in _imports(file):
        parts = module.split(".")
        if parts[0] == "mellm_plugin" and len(parts) > 1 and parts[1] not in (room, "__version__"):
            assert parts[1] in MAY_IMPORT[room], f"{file}:{line}: {room} may not import {parts[1]}"
        if parts[0] in HEAVY_ONLY_IN:
            here = {room, file.relative_to(PACKAGE).as_posix()}
            assert here & HEAVY_ONLY_IN[parts[0]], f"{file}:{line}: {parts[0]} does not belong into {room}"


def test_no_import_cycles() -> None:
    """Imports inside functions count as well."""
    modules = {
        ".".join([PACKAGE.name, *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): file
        for file in FILES
    }
    imported: dict[str, set[str]] = {module: set() for module in modules}
    for module, file in modules.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                imported[module] |= {name if name in modules else str(node.module) for name in names}
            elif isinstance(node, ast.Import):
                imported[module] |= {alias.name for alias in node.names}
    TopologicalSorter(imported).prepare()  # raises CycleError, with the cycle


def test_every_room_is_known() -> None:
    assert {_room(file) for file in FILES} <= MAY_IMPORT.keys()


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
