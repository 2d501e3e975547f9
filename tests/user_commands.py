"""`lmms-eval` and `mellm` as a user runs them: processes of their own on a machine without settings, caches or network.

    done = run(["lmms-eval", ..], environment(home), folder)      # what it printed; a failure fails the test
    done = evaluate(runs, environment(home), folder)              # several evaluations by one `lmms-eval --config`
    scores(folder, "synthme_meu")["au_f1"]                        # {"value": .97, "stderr": .01, "ci95": [.95, .98]}
    records(folder, "synthme_meu")                                # of the clips, in the order of the samples file

A start of lmms-eval takes 10 s of CPU time, so tests let one process do several evaluations.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

BIN = Path(sys.executable).parent
SOURCE = Path(os.environ.get("MELLM_SOURCE", Path(__file__).parents[1]))
"""The clone. Continuous integration runs the tests outside of it, against the installed wheel."""

TIMEOUT_S = 1800

_SETTINGS = ("LMMS_", "HF_", "MELLM_", "CUDA_", "OPENAI_", "AZURE_", "LLM_")


def environment(home: Path, **settings: str) -> dict[str, str]:
    """The variables of a process whose data and caches are below `home`, with these further settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    places = {"MELLM_DATA": "data", "MELLM_CACHE": "cache", "MELLM_JUDGE_CACHE": "verdicts", "HF_HOME": "hf"}
    paths = [str(Path(__file__).parent / "libyaml"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **kept,
        **{name: str(home / folder) for name, folder in places.items()},
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",  # so that one process and two compute on the same device
        "CUDA_VISIBLE_DEVICES": "",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(paths),
        **settings,
    }


def run(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; any other exit code than the expected one fails the test."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-6000:]
    return done


def kill_when(ready: Callable[[], bool], command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
    """Start a command and kill it as soon as `ready` says so; it must not end before."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not ready():
            assert process.poll() is None and time.monotonic() < deadline, "the command was not ready to be killed"
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()


def evaluate(
    runs: Mapping[str, Mapping[str, Any]],
    environment: Mapping[str, str],
    folder: Path,
    code: int = 0,
    program: Sequence[str] = ("lmms-eval",),
) -> subprocess.CompletedProcess[str]:
    """Do several evaluations in one process; each one writes its results and samples below `folder`/its name."""
    folder.mkdir(parents=True, exist_ok=True)
    shared = {"model": "mellm", "model_args": "", "log_samples": True}
    configs = [{**shared, **one, "output_path": str(folder / name)} for name, one in runs.items()]
    (folder / "runs.config").write_text(yaml.safe_dump(configs))  # not .yaml: `folder` may be an include_path
    done = run([*program, "--config", "runs.config"], environment, folder, code)
    missing = [name for name in runs if not list((folder / name).rglob("*_results.json"))]
    assert code or not missing, f"{missing}: no results\n{done.stdout[-3000:]}{done.stderr[-6000:]}"
    return done


def results(folder: Path) -> dict[str, Any]:
    """The one results file below a folder."""
    (file,) = folder.rglob("*_results.json")
    return dict(json.loads(file.read_text(encoding="utf-8")))


def scores(folder: Path, task: str) -> dict[str, dict[str, Any]]:
    """Every score of a task, also those that lmms-eval's table does not show."""
    return dict(results(folder)["results"][task]["scores_stderr,none"])


def records(folder: Path, task: str) -> list[dict[str, Any]]:
    """What each line of a samples file holds of its clip."""
    return [sample["record"] for sample in samples(folder, task)]


def samples(folder: Path, task: str) -> list[dict[str, Any]]:
    """The one samples file of a task below a folder."""
    (file,) = folder.rglob(f"*_samples_{task}.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
