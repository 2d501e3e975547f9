"""Checks of what is installed: versions, OpenCV, what lmms-eval finds of this package, names that clash.

    ok     packages     lmms-eval 0.7.3, transformers 5.23.0, .. are within the bounds of mellm-plugin 0.1.0
    fault  entry point  mellm-plugin is not installed in this Python: lmms-eval finds neither its model nor its tasks

Nothing heavy is imported: versions are read from metadata, and the names of lmms-eval's own tasks from its files.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from mellm_plugin import __version__
from mellm_plugin.cli.doctor.findings import Finding, fault, note, ok, pip
from mellm_plugin.cli.tasks import list_tasks
from mellm_plugin.errors import InputError

NAME = "mellm-plugin"
GROUP = "lmms_eval.models"
_OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
_OPTIONAL = {
    "tensorboard": "curves of fine-tuning",
    "wandb": "curves of fine-tuning, and lmms-eval's --wandb_args",
    "vllm": "serving a model that mellm export has made",
    "decord": "lmms-eval's own Qwen2.5-VL",
    "qwen-vl-utils": "lmms-eval's own Qwen2.5-VL",
}


def installed(path: Sequence[str] | None = None) -> dict[str, Distribution]:
    """Every installed distribution by its normalised name; of two with one name that which is imported.

    Args:
        path: folders to look in; None: those of this Python.
    """
    found: dict[str, Distribution] = {}
    for one in distributions() if path is None else distributions(path=list(path)):
        try:
            name = one.metadata["Name"] if one.metadata is not None else None
        except (OSError, ValueError):  # what its file holds is no text; to import it may work all the same
            name = None
        if name:  # a folder may be left of a removed one
            found.setdefault(re.sub("[-_.]+", "-", name).lower(), one)
    return found


def versions(found: Mapping[str, Distribution]) -> Iterator[Finding]:
    """Python, and what this package needs, against the bounds in its own metadata."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    ours = found.get(NAME)
    if ours is None:
        yield ok("python", f"{platform.python_version()}, {sys.executable}")
        yield fault(
            "entry point",
            f"{NAME} is not installed in {sys.executable}: lmms-eval finds neither its model nor its tasks",
            f"in the clone of its repository: {pip('install', '.')}",
        )
        return
    bounds = SpecifierSet(ours.metadata["Requires-Python"] or "")
    if bounds.contains(platform.python_version(), prereleases=True):
        yield ok("python", f"{platform.python_version()} ({bounds}), {sys.executable}")
    else:
        yield fault(
            "python",
            f"expected {bounds}, found {platform.python_version()} in {sys.executable}",
            "make the environment anew with another Python, such as: python3.12 -m venv .venv",
        )
    if ours.version != __version__:
        yield note("packages", f"{NAME} {__version__} runs, and was installed as {ours.version}", pip("install", "."))
    within = []
    for text in ours.requires or ():
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        there = found.get(re.sub("[-_.]+", "-", needed.name).lower())
        wanted = f"{needed.name}{needed.specifier}"
        if there is None:
            yield fault("packages", f"expected {wanted}, found none", pip("install", wanted))
        elif not needed.specifier.contains(there.version, prereleases=True):
            yield fault("packages", f"expected {wanted}, found {there.version}", pip("install", wanted))
        else:
            within.append(f"{needed.name} {there.version}")
    if within:
        yield ok("packages", f"{', '.join(within)} are within the bounds of {NAME} {ours.version}")


def opencv(found: Mapping[str, Distribution]) -> Iterator[Finding]:
    """Several packages of OpenCV write one folder, and the last one that was installed wins half of it."""
    there = [name for name in _OPENCV if name in found]
    if len(there) > 1:
        told = " and ".join(f"{name} {found[name].version}" for name in there)
        keep = "opencv-python-headless"
        yield fault(
            "opencv",
            f"{told} are installed, and write over each other's files",
            f"{pip('uninstall', '-y', *there)} && {pip('install', keep)}",
        )
        return
    try:
        import cv2
    except Exception as error:  # of whatever kind: a shared library that is missing, files of two versions
        do = "opencv-python-headless"
        again = f"{pip('uninstall', '-y', *there)} && {pip('install', do)}" if there else pip("install", do)
        yield fault("opencv", f"cannot be imported: {type(error).__name__}: {error}", again)
        return
    yield ok("opencv", f"{cv2.__version__}, {there[0] if there else 'not by pip'}")


def entry_points(found: Mapping[str, Distribution]) -> Iterator[Finding]:
    """What lmms-eval loads when it looks for models: one that fails hides those behind it."""
    ours = [one for one in found[NAME].entry_points if one.group == GROUP] if NAME in found else []
    for name, distribution in found.items():
        for one in distribution.entry_points if name != NAME else ():
            if one.group == GROUP and not _can_be_found(one.value.partition(":")[0].partition(".")[0]):
                yield fault(
                    "entry point",
                    f"{one.name} of {name} names {one.value}, which is not there: lmms-eval loads none behind it",
                    pip("uninstall", name),
                )
    for one in ours:
        try:
            one.load()
        except Exception as error:  # of whatever kind: lmms-eval would only warn
            yield fault(
                "entry point",
                f"{one.name} = {one.value} cannot be loaded: {type(error).__name__}: {error}",
                pip("install", "--force-reinstall", "--no-deps", "."),
            )
        else:
            yield ok("entry point", f"{one.name} = {one.value} in {GROUP}: lmms-eval finds the model and the tasks")
    if NAME in found and not ours:
        yield fault(
            "entry point",
            f"{NAME} {found[NAME].version} was installed without one: lmms-eval finds neither its model nor its tasks",
            f"in the clone of its repository: {pip('install', '--force-reinstall', '--no-deps', '.')}",
        )


def _can_be_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def commands() -> Iterator[Finding]:
    """Whether the commands that a shell finds are those of this Python."""
    folder = os.path.dirname(os.path.abspath(sys.executable))
    for name in ("lmms-eval", "mellm"):
        path = shutil.which(name)
        if path is None:
            here = shutil.which(name, path=folder)
            if here is None:
                yield fault("commands", f"there is no {name}, on the PATH or in {folder}", pip("install", "."))
            else:
                yield note("commands", f"{name} is not on the PATH; it is {here}", f'export PATH="{folder}:$PATH"')
        elif not _is_of(Path(path), folder):
            yield fault(
                "commands",
                f"{name} on the PATH is {path}, of another Python than {sys.executable}",
                f'export PATH="{folder}:$PATH"',
            )
        else:
            yield ok("commands", f"{name} is {path}")


def _is_of(script: Path, folder: str) -> bool:
    """Whether a command is of the Python in a folder: it lies there, or its first lines name that Python."""
    if os.path.dirname(os.path.abspath(script)) == folder:
        return True
    try:
        with script.open("rb") as file:
            return os.fsencode(folder) + b"/" in file.read(500)
    except OSError:
        return False


def tasks(folder: Path) -> Iterator[Finding]:
    """Our task files: one that is no YAML stops lmms-eval for all tasks."""
    try:
        names = list_tasks(folder)
    except InputError as error:
        for told in error.faults:
            yield fault("tasks", told, pip("install", "--force-reinstall", "--no-deps", "."))
        return
    if not names:
        yield fault(
            "tasks", f"there is no task file in {folder}", pip("install", "--force-reinstall", "--no-deps", ".")
        )
        return
    yield ok("tasks", f"{len(names)} tasks and groups in {folder}")
    package = importlib.util.find_spec("lmms_eval")
    if package is not None:
        for place in package.submodule_search_locations or ():
            yield from clashes(names, Path(place))
            yield from repository(Path(place))


def clashes(names: Collection[str], package: Path) -> Iterator[Finding]:
    """Names of ours that lmms-eval has, too: it silently takes its own.

    Args:
        names: of our tasks and groups.
        package: the folder of lmms-eval.
    """
    taken: dict[str, Path] = {}
    for file in sorted((package / "tasks").rglob("*.y*ml")):
        try:
            text = file.read_bytes()
        except OSError:
            continue  # lmms-eval will tell
        for match in re.finditer(rb"(?m)^(?:task|group|tag):[ \t]*[\"']?([\w.-]+)", text):
            taken.setdefault(match[1].decode(), file)
    both = sorted(taken.keys() & set(names))
    for name in both:
        yield fault(
            "names",
            f"the task {name} of ours is hidden by lmms-eval's own in {taken[name]}",
            f"{pip('install', 'lmms-eval<0.8')}, or run a copy of ours under another name",
        )
    registry = package / "models" / "__init__.py"
    models = re.findall(r"[\"'](mellm\w*)[\"']\s*:", registry.read_text("utf-8")) if registry.is_file() else []
    for name in dict.fromkeys(models):
        yield fault("names", f"lmms-eval has a model {name} of its own, in {registry}", pip("install", "lmms-eval<0.8"))
    if not both and not models:
        yield ok("names", f"none of ours is among the {len(taken)} names of lmms-eval's own tasks")


def bundled(folder: Path) -> Iterator[Finding]:
    """The bundled model: whether its weights are all there."""
    file = folder / "model.safetensors"
    again = f"in the clone of its repository: {pip('install', '--force-reinstall', '--no-deps', '.')}"
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            size = file.stat().st_size
            if not 0 < length <= size - 8:
                raise ValueError(f"its header says {length} bytes, the file has {size}")
            tensors = json.loads(stream.read(length))
        end = 8 + length + max(one["data_offsets"][1] for name, one in tensors.items() if name != "__metadata__")
        if end != size:
            raise ValueError(f"expected {end} bytes, found {size}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield fault("bundled model", f"{file} is not whole: {error}", again)
    else:
        yield ok("bundled model", f"{len(tensors)} tensors, {size / 1e6:.1f} MB")


def repository(package: Path) -> Iterator[Finding]:
    """Whether lmms-eval's environment lies in a repository: its commit is a part of the key of lmms-eval's cache.

    Args:
        package: the folder of lmms-eval.
    """
    places = package.resolve().parents
    around = next((place for place in places if (place / ".git").exists()), None)
    ceilings = [Path(one) for one in os.environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep) if one]
    # right above the package it is a clone of lmms-eval itself
    if around in (None, places[0], *ceilings) or shutil.which("git") is None:
        return
    yield note(
        "repository",
        f"lmms-eval lies in the repository {around}: with --use_cache each commit there has all be asked anew",
        f"export GIT_CEILING_DIRECTORIES={shlex.quote(str(around))}, or put the environment elsewhere",
    )


def optional(found: Mapping[str, Distribution]) -> Iterator[Finding]:
    """Packages that some work needs and most does not."""
    there = [f"{name} {found[name].version}" for name in _OPTIONAL if name in found]
    if there:
        yield ok("optional", ", ".join(there))
    for name, purpose in _OPTIONAL.items():
        if name not in found:
            yield note("optional", f"{name} is not installed, for {purpose}", pip("install", name))
