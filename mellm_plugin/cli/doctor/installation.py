"""Checks of the installation: versions, OpenCV, what lmms-eval finds of this package, clashing names.

These checks import nothing heavy: they read versions from metadata, and the names of lmms-eval's tasks from its files.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, distributions
from pathlib import Path

from mellm_plugin import __version__
from mellm_plugin.cli.doctor.findings import Finding, fault, note, ok, pip
from mellm_plugin.cli.tasks import list_tasks
from mellm_plugin.errors import InputError

_NAME = "mellm-plugin"
_GROUP = "lmms_eval.models"
_REINSTALL = f"in the clone of its repository: {pip('install', '--force-reinstall', '--no-deps', '.')}"
_HEADLESS = "opencv-python-headless"
_OPENCV = ("opencv-python", _HEADLESS, "opencv-contrib-python", "opencv-contrib-python-headless")
_OPTIONAL = {
    "tensorboard": "curves of fine-tuning",
    "wandb": "curves of fine-tuning, and lmms-eval's --wandb_args",
    "vllm": "serving a model that mellm export has made",
    "decord": "lmms-eval's own Qwen2.5-VL",
    "qwen-vl-utils": "lmms-eval's own Qwen2.5-VL",
}

Packages = Mapping[str, Distribution]
"""Installed distributions by normalised name."""


def installed(path: Sequence[str] | None = None) -> dict[str, Distribution]:
    """Every installed distribution; of two with one name, the one that Python imports.

    Args:
        path: folders to search; None: those of the running Python.
    """
    found: dict[str, Distribution] = {}
    for one in distributions() if path is None else distributions(path=list(path)):
        # without readable metadata, as an uninstalled package may leave a folder, there is no name
        with suppress(OSError, ValueError, TypeError):
            found.setdefault(_normalised(one.metadata["Name"]), one)
    return found


def _normalised(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def folder_of(module: str) -> Path | None:
    """The folder of an installed package, which is not imported."""
    spec = _spec(module)
    return next(map(Path, (spec.submodule_search_locations if spec is not None else None) or ()), None)


def _spec(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None


def python(packages: Packages) -> Iterator[Finding]:
    """The version of Python, against the bounds in our metadata."""
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    ours = packages.get(_NAME)
    bounds = SpecifierSet((ours.metadata["Requires-Python"] or "") if ours is not None else "")
    if bounds.contains(version, prereleases=True):
        yield ok(f"{version}{f' ({bounds})' if str(bounds) else ''}, {sys.executable}")
    else:
        yield fault(
            f"expected {bounds}, found {version} in {sys.executable}",
            "create the environment with another Python, such as: python3.12 -m venv .venv",
        )


def requirements(packages: Packages) -> Iterator[Finding]:
    """The packages that ours requires, against the bounds in our metadata."""
    from packaging.requirements import Requirement

    ours = packages.get(_NAME)
    if ours is None:
        return  # `entry_points` reports it
    if ours.version != __version__:
        yield note(f"{_NAME} {__version__} runs, but was installed as {ours.version}", pip("install", "."))
    within = []
    for text in ours.requires or ():
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        there = packages.get(_normalised(needed.name))
        if there is not None and needed.specifier.contains(there.version, prereleases=True):
            within.append(f"{needed.name} {there.version}")
        else:
            wanted = f"{needed.name}{needed.specifier}"
            yield fault(
                f"expected {wanted}, found {'none' if there is None else there.version}", pip("install", wanted)
            )
    if within:
        yield ok(f"{', '.join(within)} are within the bounds of {_NAME} {ours.version}")


def opencv(packages: Packages) -> Iterator[Finding]:
    """Several OpenCV packages share one folder and overwrite each other's files."""
    there = [name for name in _OPENCV if name in packages]
    again = pip("install", _HEADLESS)
    if there:
        again = f"{pip('uninstall', '-y', *there)} && {again}"
    if len(there) > 1:
        versions = " and ".join(f"{name} {packages[name].version}" for name in there)
        yield fault(f"{versions} are installed, and overwrite each other's files", again)
        return
    try:
        import cv2
    except Exception as error:  # any error: a missing shared library, files of two versions
        yield fault(f"cannot be imported: {type(error).__name__}: {error}", again)
    else:
        yield ok(f"{cv2.__version__}, {there[0] if there else 'not installed by pip'}")


def entry_points(packages: Packages) -> Iterator[Finding]:
    """lmms-eval loads the entry points in turn to find models; one that fails hides those behind it."""
    for name, package in packages.items():
        for one in package.entry_points:
            if one.group != _GROUP or name == _NAME:
                continue
            if _spec(re.split("[.:]", one.value, maxsplit=1)[0]) is None:
                yield fault(
                    f"{one.name} of {name} names {one.value}, which does not exist: lmms-eval loads none behind it",
                    pip("uninstall", name),
                )
    nothing = "lmms-eval finds neither its model nor its tasks"
    if _NAME not in packages:
        clone = f"in the clone of its repository: {pip('install', '.')}"
        yield fault(f"{_NAME} is not installed in {sys.executable}: {nothing}", clone)
        return
    ours = [one for one in packages[_NAME].entry_points if one.group == _GROUP]
    if not ours:
        yield fault(f"{_NAME} {packages[_NAME].version} was installed without one: {nothing}", _REINSTALL)
    for one in ours:
        try:
            one.load()
        except Exception as error:  # any error: lmms-eval would only warn
            yield fault(f"{one.name} = {one.value} cannot be loaded: {type(error).__name__}: {error}", _REINSTALL)
        else:
            yield ok(f"{one.name} = {one.value} in {_GROUP}: lmms-eval finds the model and the tasks")


def commands() -> Iterator[Finding]:
    """Whether the shell finds the commands of this Python."""
    folder = os.path.dirname(os.path.abspath(sys.executable))
    do = f'export PATH="{folder}:$PATH"'
    for name in ("lmms-eval", "mellm"):
        path, here = shutil.which(name), shutil.which(name, path=folder)
        if path is not None and _belongs_to(Path(path), folder):
            yield ok(f"{name} is {path}")
        elif path is not None:
            yield fault(f"{name} on the PATH is {path}, of another Python than {sys.executable}", do)
        elif here is not None:
            yield note(f"{name} is not on the PATH; it is {here}", do)
        else:
            yield fault(f"there is no {name}, on the PATH or in {folder}", pip("install", "."))


def _belongs_to(script: Path, folder: str) -> bool:
    """Whether a command belongs to the Python in a folder: it is in there, or its first lines name that Python."""
    if os.path.dirname(os.path.abspath(script)) == folder:
        return True
    try:
        with script.open("rb") as file:
            return os.fsencode(folder) + b"/" in file.read(500)
    except OSError:
        return False


def tasks(folder: Path) -> Iterator[Finding]:
    """Our task files: one that is not YAML stops lmms-eval for all tasks."""
    try:
        names = list_tasks(folder)
    except InputError as error:
        yield from (fault(text, _REINSTALL) for text in error.faults)
        return
    if names:
        yield ok(f"{len(names)} tasks and groups in {folder}")
    else:
        yield fault(f"there is no task file in {folder}", _REINSTALL)


def names(folder: Path, lmms_eval: Path | None) -> Iterator[Finding]:
    """Names in our folder of tasks that lmms-eval uses too: it silently prefers its own."""
    if lmms_eval is None:
        return
    try:
        ours = list_tasks(folder)
    except InputError:
        return  # `tasks` reports it
    taken: dict[str, Path] = {}
    for file in sorted((lmms_eval / "tasks").rglob("*.y*ml")):
        try:
            text = file.read_bytes()
        except OSError:
            continue  # lmms-eval reports it
        for match in re.finditer(rb"(?m)^(?:task|group|tag):[ \t]*[\"']?([\w.-]+)", text):
            taken.setdefault(match[1].decode(), file)
    older = pip("install", "lmms-eval<0.8")
    both = sorted(taken.keys() & ours.keys())
    for name in both:
        do = f"{older}, or run a copy of ours under another name"
        yield fault(f"lmms-eval's own task {name} in {taken[name]} hides ours", do)
    registry = lmms_eval / "models" / "__init__.py"
    models = re.findall(r"[\"'](mellm\w*)[\"']\s*:", registry.read_text("utf-8")) if registry.is_file() else []
    for name in dict.fromkeys(models):
        yield fault(f"lmms-eval has its own model {name}, in {registry}", older)
    if not both and not models:
        yield ok(f"lmms-eval's own tasks have {len(taken)} names, none of them ours")


def repository(lmms_eval: Path | None) -> Iterator[Finding]:
    """Whether lmms-eval lies in a git repository: its commit is part of the key of lmms-eval's cache."""
    if lmms_eval is None or shutil.which("git") is None:
        return
    places = lmms_eval.resolve().parents
    around = next((place for place in places if (place / ".git").exists()), None)
    ceilings = [Path(one) for one in os.environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep) if one]
    if around in (None, places[0], *ceilings):  # places[0]: a clone of lmms-eval itself
        return
    yield note(
        f"lmms-eval lies in the repository {around}: after each commit there, --use_cache asks everything again",
        f"export GIT_CEILING_DIRECTORIES={shlex.quote(str(around))}, or put the environment elsewhere",
    )


def bundled_model(folder: Path) -> Iterator[Finding]:
    """Whether the weights of the bundled model are complete."""
    from safetensors import SafetensorError, safe_open

    file = folder / "model.safetensors"
    try:
        with safe_open(file, framework="np") as opened:
            yield ok(f"{len(opened.keys())} tensors, {file.stat().st_size / 1e6:.1f} MB")
    except (OSError, SafetensorError) as error:
        yield fault(f"{file} is incomplete: {error}", _REINSTALL)


def optional(packages: Packages) -> Iterator[Finding]:
    """Packages that only some work needs."""
    there = [f"{name} {packages[name].version}" for name in _OPTIONAL if name in packages]
    if there:
        yield ok(", ".join(there))
    for name, purpose in _OPTIONAL.items():
        if name not in packages:
            yield note(f"{name} is not installed, for {purpose}", pip("install", name))
