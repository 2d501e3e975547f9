"""Who may import whom: a room imports only what stands to its left, and heavy packages stay in their rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mellm_plugin

PACKAGE = Path(mellm_plugin.__file__).parent

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "locks": {"errors"},
    "children": set(),
    "small_files": set(),
    "facs": {"errors"},
    "motion": {"errors", "small_files"},
    "language": {"errors", "facs", "motion"},
    "datasets": {"errors", "locks", "facs", "motion", "language"},
    "models": {"errors", "small_files", "facs", "motion", "language"},
    "scoring": {"errors", "facs", "motion", "language"},
    "training": {
        *("errors", "locks", "children", "small_files"),
        *("facs", "motion", "language", "datasets", "models", "scoring"),
    },
    "meu": {"errors", "facs", "motion", "language", "datasets", "scoring"},
    "megc_vqa": {"errors", "facs", "motion", "language", "datasets", "scoring", "meu"},
    "report": {"errors", "facs", "motion", "language", "datasets", "scoring", "meu", "megc_vqa"},
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
    "plugin": set(),
}
HEAVY_ONLY_IN = {
    "lmms_eval": {"plugin", "models", "scoring/judge.py", "scoring/held_out.py"},
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


def test_every_room_is_known() -> None:
    assert {_room(file) for file in FILES} <= MAY_IMPORT.keys()
