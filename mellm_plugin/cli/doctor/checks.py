"""The checks of `mellm doctor`.

They import neither torch nor lmms-eval: versions come from metadata, the names of lmms-eval's tasks from its files, and
torch runs in a process of its own.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from mellm_plugin import __version__
from mellm_plugin.cli.doctor.findings import Finding, fault, gigabytes, note, ok, pip
from mellm_plugin.cli.tasks import list_tasks
from mellm_plugin.errors import DataError, InputError, JudgeError, SettingsError
from mellm_plugin.models import bundled_folder
from mellm_plugin.plugin import task_folder

_NAME = "mellm-plugin"
_GROUP = "lmms_eval.models"
_REINSTALL = f"in the clone of its repository: {pip('install', '--force-reinstall', '--no-deps', '.')}"
_OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
_OPTIONAL = {
    "tensorboard": "curves of fine-tuning",
    "wandb": "curves of fine-tuning, and lmms-eval's --wandb_args",
    "vllm": "serving a model that mellm export has made",
    "decord": "lmms-eval's own Qwen2.5-VL",
    "qwen-vl-utils": "lmms-eval's own Qwen2.5-VL",
}
_WEIGHTS_7B = 16.6e9  # bytes of Qwen2.5-VL-7B in bf16: 8.29 billion parameters
_ROOM_7B = 18e9  # with the inputs and the cache of a few answers
_LEAST_FREE = 500e6  # bytes; with less, writing a dataset or results may fail
_AZURE = "AZURE_API_KEY AZURE_ENDPOINT API_VERSION"
_JUDGE_NEEDS = {"openai": "OPENAI_API_KEY", "azure": _AZURE, "local": "LLM_JUDGE_URL"}
_STARTUP_FILES = {"bash": ".bashrc .bash_profile .profile", "zsh": ".zshrc .zshenv", "fish": ".config/fish/config.fish"}
_SIGNS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
_CPU_ONLY = "the bundled model runs on the CPU, Qwen2.5-VL-7B needs a GPU"
_PROBE = """
import json, torch
found = {"torch": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip, "gpus": []}
found["mps"] = bool(getattr(torch.backends, "mps", None) and torch.backends.mps.is_available())
for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
    about = torch.cuda.get_device_properties(i)
    free, total = torch.cuda.mem_get_info(i)
    bf16 = bool(torch.version.hip) or about.major >= 8
    found["gpus"].append({"name": about.name, "total": total, "free": free, "bf16": bf16})
print("\\n" + json.dumps(found))
"""


def installed(path: Sequence[str] | None = None) -> dict[str, Distribution]:
    """Distributions by normalised name, in the folders of `path` or of this Python; of two, the one it imports."""
    found: dict[str, Distribution] = {}
    for one in distributions() if path is None else distributions(path=list(path)):
        # without readable metadata, as an uninstalled package may leave a folder, there is no name
        with suppress(OSError, ValueError, TypeError):
            found.setdefault(_normalised(one.metadata["Name"]), one)
    return found


def _normalised(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def _spec(module: str) -> ModuleSpec | None:
    with suppress(ImportError, ValueError):
        return importlib.util.find_spec(module)
    return None


def _folder_of_lmms_eval() -> Path | None:
    spec = _spec("lmms_eval")
    return next(map(Path, (spec and spec.submodule_search_locations) or ()), None)


@dataclass(frozen=True)
class Checks:
    """The checks, in the order of the output: each method is one, has its name, and yields its findings."""

    ask_judge: bool = False
    installed: Mapping[str, Distribution] = field(default_factory=installed)
    folder: Path = field(default_factory=task_folder)
    model: Path = field(default_factory=bundled_folder)
    lmms_eval: Path | None = field(default_factory=_folder_of_lmms_eval)

    def python(self) -> Iterator[Finding]:
        from packaging.specifiers import SpecifierSet

        version, ours = platform.python_version(), self.installed.get(_NAME)
        bounds = SpecifierSet((ours and ours.metadata["Requires-Python"]) or "")
        if bounds.contains(version, prereleases=True):
            yield ok(f"{version}{f' ({bounds})' if str(bounds) else ''}, {sys.executable}")
        else:
            do = "create the environment with another Python, such as: python3.12 -m venv .venv"
            yield fault(f"expected {bounds}, found {version} in {sys.executable}", do)

    def packages(self) -> Iterator[Finding]:
        from packaging.requirements import Requirement

        if (ours := self.installed.get(_NAME)) is None:
            return  # `entry_point` reports it
        if ours.version != __version__:
            yield note(f"{_NAME} {__version__} runs, but was installed as {ours.version}", pip("install", "."))
        within = []
        for needed in map(Requirement, ours.requires or ()):
            if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
                continue
            there = self.installed.get(_normalised(needed.name))
            if there is not None and needed.specifier.contains(there.version, prereleases=True):
                within.append(f"{needed.name} {there.version}")
            else:
                wanted = f"{needed.name}{needed.specifier}"
                yield fault(f"expected {wanted}, found {there.version if there else 'none'}", pip("install", wanted))
        if within:
            yield ok(f"{', '.join(within)} are within the bounds of {_NAME} {ours.version}")

    def opencv(self) -> Iterator[Finding]:
        """Several OpenCV packages share one folder and overwrite each other's files."""
        there = [name for name in _OPENCV if name in self.installed]
        removed = f"{pip('uninstall', '-y', *there)} && " if there else ""
        again = removed + pip("install", "opencv-python-headless")
        if len(there) > 1:
            versions = " and ".join(f"{name} {self.installed[name].version}" for name in there)
            yield fault(f"{versions} are installed, and overwrite each other's files", again)
            return
        try:
            import cv2

            yield ok(f"{cv2.__version__}, {there[0] if there else 'not installed by pip'}")
        except Exception as error:  # any error: a missing shared library, files of two versions
            yield fault(f"cannot be imported: {type(error).__name__}: {error}", again)

    def entry_point(self) -> Iterator[Finding]:
        """lmms-eval loads the entry points in turn to find models; one that fails hides those behind it."""
        points = [(name, one) for name, package in self.installed.items() for one in package.entry_points]
        ours = [one for name, one in points if one.group == _GROUP and name == _NAME]
        for name, one in points:
            root = re.split("[.:]", one.value, maxsplit=1)[0]
            if one.group == _GROUP and name != _NAME and _spec(root) is None:
                text = f"{one.name} of {name} names {one.value}, which does not exist: lmms-eval loads none behind it"
                yield fault(text, pip("uninstall", name))
        nothing = "lmms-eval finds neither its model nor its tasks"
        if _NAME not in self.installed:
            do = f"in the clone of its repository: {pip('install', '.')}"
            yield fault(f"{_NAME} is not installed in {sys.executable}: {nothing}", do)
        elif not ours:
            yield fault(f"{_NAME} {self.installed[_NAME].version} was installed without one: {nothing}", _REINSTALL)
        for one in ours:
            try:
                one.load()
                yield ok(f"{one.name} = {one.value} in {_GROUP}: lmms-eval finds the model and the tasks")
            except Exception as error:  # any error: lmms-eval would only warn
                yield fault(f"{one.name} = {one.value} cannot be loaded: {type(error).__name__}: {error}", _REINSTALL)

    def commands(self) -> Iterator[Finding]:
        folder = os.path.dirname(os.path.abspath(sys.executable))
        do = f'export PATH="{folder}:$PATH"'
        for name in ("lmms-eval", "mellm"):
            path, here = shutil.which(name), shutil.which(name, path=folder)
            # a script elsewhere belongs to this Python if its first lines name it
            if path and (os.path.dirname(os.path.abspath(path)) == folder or f"{folder}/" in _text(Path(path))[:500]):
                yield ok(f"{name} is {path}")
            elif path:
                yield fault(f"{name} on the PATH is {path}, of another Python than {sys.executable}", do)
            elif here is not None:
                yield note(f"{name} is not on the PATH; it is {here}", do)
            else:
                yield fault(f"there is no {name}, on the PATH or in {folder}", pip("install", "."))

    def tasks(self) -> Iterator[Finding]:
        """Our task files: one that is not YAML stops lmms-eval for all tasks."""
        try:
            if found := list_tasks(self.folder):
                yield ok(f"{len(found)} tasks and groups in {self.folder}")
            else:
                yield fault(f"there is no task file in {self.folder}", _REINSTALL)
        except InputError as error:
            yield from (fault(text, _REINSTALL) for text in error.faults)

    def names(self) -> Iterator[Finding]:
        """Names in our folder of tasks that lmms-eval uses too: it silently prefers its own."""
        if self.lmms_eval is None:
            return
        try:
            ours = list_tasks(self.folder)
        except InputError:
            return  # `tasks` reports it
        taken: dict[str, Path] = {}
        for file in sorted((self.lmms_eval / "tasks").rglob("*.y*ml")):
            with suppress(OSError):  # lmms-eval reports it
                for match in re.finditer(rb"(?m)^(?:task|group|tag):[ \t]*[\"']?([\w.-]+)", file.read_bytes()):
                    taken.setdefault(match[1].decode(), file)
        older = pip("install", "lmms-eval<0.8")
        both = sorted(taken.keys() & ours.keys())
        for name in both:
            do = f"{older}, or run a copy of ours under another name"
            yield fault(f"lmms-eval's own task {name} in {taken[name]} hides ours", do)
        registry = self.lmms_eval / "models" / "__init__.py"
        models = re.findall(r"[\"'](mellm\w*)[\"']\s*:", registry.read_text("utf-8")) if registry.is_file() else []
        for name in dict.fromkeys(models):
            yield fault(f"lmms-eval has its own model {name}, in {registry}", older)
        if not both and not models:
            yield ok(f"lmms-eval's own tasks have {len(taken)} names, none of them ours")

    def repository(self) -> Iterator[Finding]:
        """Whether lmms-eval lies in a git repository: its commit is part of the key of lmms-eval's cache."""
        if self.lmms_eval is None or shutil.which("git") is None:
            return
        places = self.lmms_eval.resolve().parents
        around = next((place for place in places if (place / ".git").exists()), None)
        ceilings = [Path(one) for one in os.environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep) if one]
        if around not in (None, places[0], *ceilings):  # places[0]: a clone of lmms-eval itself
            again = "after each commit there, --use_cache asks everything again"
            do = f"export GIT_CEILING_DIRECTORIES={shlex.quote(str(around))}, or put the environment elsewhere"
            yield note(f"lmms-eval lies in the repository {around}: {again}", do)

    def bundled_model(self) -> Iterator[Finding]:
        from safetensors import SafetensorError, safe_open

        file = self.model / "model.safetensors"
        try:
            with safe_open(file, framework="np") as opened:
                yield ok(f"{len(opened.keys())} tensors, {file.stat().st_size / 1e6:.1f} MB")
        except (OSError, SafetensorError) as error:
            yield fault(f"{file} is incomplete: {error}", _REINSTALL)

    def data(self) -> Iterator[Finding]:
        """The data root and the datasets in it; a quick look, `mellm datasets --verify` reads all files."""
        from mellm_plugin.datasets import store
        from mellm_plugin.datasets.catalogue import KNOWN, prepare_command

        root = store.data_root()
        chosen = "MELLM_DATA" if os.environ.get("MELLM_DATA", "").strip() else "the user's data folder"
        yield _writable(root, f"{root} ({chosen})", "export MELLM_DATA=FOLDER")
        if root.exists() and not root.is_dir():
            return
        prepared = store.list_prepared()
        yield from map(_dataset, prepared)
        there = {re.sub(r"-v\d+$", "", name) for name in prepared}  # a folder may end in a version: synthme-v1
        for name, known in KNOWN.items():
            if name not in there:
                drawn = "is not drawn yet: the first task that needs it does so"  # it needs no arguments
                state = "is not prepared" if known.arguments else drawn
                yield note(f"{name} ({known.title}) {state}", prepare_command(name))
        for left in sorted(path for end in ("partial", "clips", "old") for path in root.glob(f".*.{end}")):
            reused = "; the next run for the same dataset reuses it" if left.suffix == ".clips" else ""
            do = f"{prepare_command(left.stem.lstrip('.'))}, or, if none runs: rm -r {shlex.quote(str(left))}"
            yield note(f"{left} belongs to a preparation that was interrupted, or still runs{reused}", do)

    def cache(self) -> Iterator[Finding]:
        from mellm_plugin.motion.cache import GIGABYTES, cache_folder

        limit = os.environ.get("MELLM_CACHE_GB") or str(GIGABYTES)
        try:
            size = float(limit)
        except ValueError:
            size = math.nan
        if not 0 < size < math.inf:
            text = f"MELLM_CACHE_GB: expected a positive number of gigabytes, found {limit!r}"
            yield fault(text, "unset MELLM_CACHE_GB")
        elif (folder := cache_folder()) is None:
            yield note("MELLM_CACHE=off: every run measures every flow again", "unset MELLM_CACHE")
        else:
            used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
            text = f"{folder}, {gigabytes(used)} of at most {size:g} GB"
            yield _writable(folder, text, "export MELLM_CACHE=FOLDER (or off)")

    def hub(self) -> Iterator[Finding]:
        from huggingface_hub.constants import HF_HOME

        folder = Path(HF_HOME)
        yield _writable(folder, f"{folder} (HF_HOME)", "export HF_HOME=FOLDER")
        free = _disk(folder)[1]
        if free < _WEIGHTS_7B and not any(folder.glob("hub/models--Qwen--Qwen2.5-VL-7B*")):
            room = f"it needs {gigabytes(_WEIGHTS_7B)}, and {gigabytes(free)} are free"
            yield note(f"Qwen2.5-VL-7B is not downloaded: {room}", "export HF_HOME=FOLDER, on a larger disk")

    def judge(self) -> Iterator[Finding]:
        """The judge that grades descriptions, and, if `ask_judge`, its answer to one request."""
        name = os.environ.get("MELLM_JUDGE", "").strip()
        if not name:
            yield note("none is set, so there is no description_score", "export MELLM_JUDGE=openai:gpt-4o-mini")
            return
        from mellm_plugin.scoring.judge import configured
        from mellm_plugin.scoring.judge_settings import JudgeSettings

        try:
            needed = _JUDGE_NEEDS[JudgeSettings.parse(name).provider].split()
            env, from_file = os.environ, _dotenv()
            # ./.env does not override a variable that is set, even to an empty text
            if absent := [one for one in needed if not env.get(one) and (one in env or one not in from_file)]:
                do = " ".join(f"{one}=.." for one in absent)
                yield fault(f"{name} needs {', '.join(absent)}, which is not set", f"export {do}")
            elif not self.ask_judge:
                yield ok(f"{name}, {needed[0]} is set; mellm doctor --judge sends it one request")
            elif (found := configured()) is not None:
                found.probe()
                yield ok(f"{name} answers; to check whether it can be trusted: mellm judge-check")
        except (SettingsError, JudgeError) as error:
            yield fault(str(error), "see docs/judge.md; without a judge: unset MELLM_JUDGE")

    def environment(self) -> Iterator[Finding]:
        env = {name: value for name, value in os.environ.items() if value}
        misleading = list(_misleading(env))
        yield from misleading
        if env.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            yield note("HF_HUB_OFFLINE is set: models must be on disk already", "unset HF_HUB_OFFLINE")
        runs = [one for one in ("LMMS_CACHE_RUN_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID") if one in env]
        for run in runs[:1]:
            text = f"{run}={env[run]}: with --use_cache a run reuses the answers of the last one of this name; the"
            yield note(
                f"{text} cache knows only model_args, so use another folder for other weights under the same name"
            )
        if not runs:
            text = "to resume interrupted runs: start with --use_cache DIR and LMMS_CACHE_RUN_ID, the same both"
            yield ok(f"{text} times")
        if not any(one.state == "fault" for one in misleading):
            yield ok("no variable is set that misleads lmms-eval")

    def optional(self) -> Iterator[Finding]:
        if there := [f"{name} {self.installed[name].version}" for name in _OPTIONAL if name in self.installed]:
            yield ok(", ".join(there))
        for name, purpose in _OPTIONAL.items():
            if name not in self.installed:
                yield note(f"{name} is not installed, for {purpose}", pip("install", name))

    def shell(self) -> Iterator[Finding]:
        name = Path(os.environ.get("SHELL", "")).name
        files = _STARTUP_FILES.get(name, "").split()
        if not files:
            yield note("completion: mellm --print-completion bash (or zsh, fish, tcsh)")
        elif file := next((one for one in files if "--print-completion" in _text(Path.home() / one)), None):
            yield ok(f"{name} completes mellm, by ~/{file}")
        else:
            script = f"mellm --print-completion {name}"
            line = f"{script} | source" if name == "fish" else f'eval "$({script})"'
            yield note(f"{name} does not complete mellm yet", f"echo '{line}' >> ~/{files[0]}")

    def gpu(self, seconds: float = 60.0) -> Iterator[Finding]:
        """What the GPUs have room for, according to torch.

        Importing torch takes seconds, so another process does it, and only on a machine with signs of a GPU. A driver
        that hangs or crashes affects that process alone.
        """
        if not (sys.platform == "darwin" or shutil.which("nvidia-smi") or any(Path(sign).exists() for sign in _SIGNS)):
            yield note(f"no GPU is visible: {_CPU_ONLY}")
            return
        try:
            done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            do = "check whether nvidia-smi answers; if it does not, restart the machine or its driver"
            yield fault(f"torch did not list the GPUs within {seconds:g} s", do)
            return
        if done.returncode == 0:
            yield from assess(json.loads(done.stdout.strip().splitlines()[-1]))
        else:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            yield fault(f"torch cannot be used: {last}", pip("install", "--force-reinstall", "torch"))


def _dataset(name: str) -> Finding:
    """Whether the files of a prepared dataset exist and hold the recorded number of clips."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mellm_plugin.datasets import store
    from mellm_plugin.datasets.catalogue import prepare_command

    again = f"{prepare_command(name)} --replace"
    try:
        info = store.read_info(name)
    except DataError as error:
        return fault(str(error), again)
    folder = store.dataset_dir(name)
    faults = [f"{file} is missing" for file in info.get("files", {}) if not (folder / file).is_file()]
    for entry in info["splits"].values():
        try:
            if (rows := pq.read_metadata(folder / entry["file"]).num_rows) != entry["clips"]:
                faults.append(f"{entry['file']}: expected {entry['clips']} clips, found {rows}")
        except FileNotFoundError:
            faults.append(f"{entry['file']} is missing")
        except (OSError, pa.ArrowException) as error:
            faults.append(f"{entry['file']} cannot be read ({error})")
    if faults:
        return fault(f"{folder}: {'; '.join(faults)}", again)
    counts = ", ".join(f"{split} {entry['clips']}" for split, entry in info["splits"].items())
    return ok(f"{name}: {counts} clips (mellm datasets --verify reads them all)")


def _writable(folder: Path, text: str, do: str) -> Finding:
    """Whether a folder, which may not exist yet, can be written to and has space; `do` says how to choose another."""
    there, free = _disk(folder)
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"mellm")
    except OSError as error:
        return fault(f"{folder} cannot be written to: {there}: {error.strerror or error}", do)
    if free < _LEAST_FREE:
        return fault(f"{text}: {free / 1e6:.0f} MB are free", f"free some space, or {do}")
    return ok(f"{text}{'' if math.isinf(free) else f', {gigabytes(free)} free'}")


def _disk(folder: Path) -> tuple[Path, float]:
    """The nearest folder that exists, and the free bytes there; infinite where the system does not say."""
    there = next((one for one in (folder, *folder.absolute().parents) if os.path.lexists(one)), Path(os.sep))
    with suppress(OSError):
        return there, float(shutil.disk_usage(there).free)
    return there, math.inf


def _dotenv() -> list[str]:
    """The names of the judge's variables in ./.env, which the judge reads when it is opened."""
    form = re.compile(r"\s*(?:export\s+)?((?:OPENAI|AZURE|LLM_JUDGE|MELLM|API_)\w*)\s*=")
    return [found[1] for line in _text(Path(".env")).splitlines() if (found := form.match(line))]


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text(encoding="utf-8", errors="replace")
    return ""


def _misleading(env: Mapping[str, str]) -> Iterator[Finding]:
    provider = env.get("MELLM_JUDGE", "").partition(":")[0]
    # of variables that one kind of judge reads: a fault if that judge is configured
    openai, local = (fault if provider == reader else note for reader in ("openai", "local"))
    url, local_url = env.get("OPENAI_API_URL"), env.get("LLM_JUDGE_URL")
    if plugins := env.get("LMMS_EVAL_PLUGINS"):
        text = f"LMMS_EVAL_PLUGINS={plugins}: lmms-eval adds tasks of such plugins too late"
        yield fault(text, "unset LMMS_EVAL_PLUGINS; this package needs none, and --include_path finds other tasks")
    if "OPENAI_BASE_URL" in env and not url:
        text = "lmms-eval's judge does not read OPENAI_BASE_URL: requests would go to OpenAI"
        yield openai(text, 'export OPENAI_API_URL="$OPENAI_BASE_URL"')
    if url and not url.rstrip("/").endswith("/v1"):
        yield openai(f"OPENAI_API_URL={url}: expected an address that ends in /v1", "export OPENAI_API_URL=..")
    if local_url and not local_url.rstrip("/").endswith("/chat/completions"):
        text = f"LLM_JUDGE_URL={local_url}: expected the whole address, which ends in /chat/completions"
        yield local(text, f"export LLM_JUDGE_URL={local_url.rstrip('/').removesuffix('/v1')}/v1/chat/completions")
    if "MODEL_VERSION" in env:
        yield note("MODEL_VERSION is not read: MELLM_JUDGE names the judge", "unset MODEL_VERSION")
    if from_file := _dotenv():
        yield note(f"a judge reads {Path('.env').absolute()}, which sets {', '.join(from_file)}")


def assess(found: Mapping[str, Any]) -> Iterator[Finding]:
    """What the GPUs that `_PROBE` found have room for."""
    if not (gpus := found["gpus"]):
        yield _no_gpu(found, f"torch {found['torch']}")
        return
    for one in gpus:
        memory = f"{gigabytes(one['total'])}, {gigabytes(one['free'])} of it free"
        yield ok(f"{one['name']}, {memory}, {'bf16' if one['bf16'] else 'no bf16'}; torch {found['torch']}")
    if not all(one["bf16"] for one in gpus):
        yield note("it does not support bf16, the default on a GPU", "--model_args dtype=float16")
    totals = [one["total"] for one in gpus]
    if max(one["free"] for one in gpus) >= _ROOM_7B:
        yield ok("room for Qwen2.5-VL-7B in bf16; for fine-tuning see: mellm finetune qwen2_5_vl_7b_lora --dry-run")
    elif max(totals) >= _ROOM_7B:
        yield note("there would be room for Qwen2.5-VL-7B, but other programs use it", "nvidia-smi")
    elif sum(totals) >= _ROOM_7B:
        yield note("only all GPUs together have room for Qwen2.5-VL-7B in bf16", "--model_args device_map=auto")
    else:
        text = f"too small for Qwen2.5-VL-7B in bf16 ({gigabytes(_WEIGHTS_7B)} of weights)"
        yield note(text, "--model_args pretrained=Qwen/Qwen2.5-VL-3B-Instruct")


def _no_gpu(found: Mapping[str, Any], torch: str) -> Finding:
    """Why torch lists none, on a machine with signs of one."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if found["mps"]:
        return note(f"Apple's, with {torch}: untested, so the CPU is used unless device=mps")
    if sys.platform == "darwin":
        return note(f"none that torch can use: {_CPU_ONLY}")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return note(f"hidden by CUDA_VISIBLE_DEVICES={hidden!r}", "unset CUDA_VISIBLE_DEVICES")
    if found["cuda"] is None and found["hip"] is None:
        again = f"{pip('install', '--force-reinstall', 'torch', 'torchvision')}, with the --index-url of pytorch.org"
        return fault(f"there is one, but {torch} is built for CPUs only", again)
    built = f"CUDA {found['cuda']}" if found["cuda"] else f"ROCm {found['hip']}"
    do = "compare that with the driver's version in nvidia-smi; update the driver, or install torch for an older one"
    return fault(f"there are signs of one, but {torch}, built for {built}, can use none", do)
