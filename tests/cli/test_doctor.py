"""`mellm doctor` on healthy and on broken installations, folders and environments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer

from mellm_plugin import __version__
from mellm_plugin.cli import main
from mellm_plugin.cli.doctor.checks import Checks, assess, installed
from mellm_plugin.cli.doctor.findings import Finding
from mellm_plugin.datasets import store
from mellm_plugin.datasets.synthme import clips, sample
from mellm_plugin.models import bundled_folder

BIN = Path(sys.executable).parent
VARIABLES = (
    *("MELLM_JUDGE", "OPENAI_API_KEY", "OPENAI_API_URL", "OPENAI_BASE_URL", "LLM_JUDGE_URL", "LMMS_EVAL_PLUGINS"),
    *("LMMS_CACHE_RUN_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "MODEL_VERSION", "HF_HUB_OFFLINE"),
    *("CUDA_VISIBLE_DEVICES", "AZURE_API_KEY", "AZURE_ENDPOINT", "API_VERSION"),
)
Patch = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: Patch) -> Path:
    """A user with empty home, data and working folders and no variables."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MELLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def one(findings: Iterable[Finding], state: str, words: str) -> Finding:
    """The only finding with these words; it has this state, and every fault says what to do."""
    (found,) = [finding for finding in findings if words in finding.text]
    assert found.state == state and "\n" not in found.text
    assert found.state != "fault" or found.do
    return found


def do(findings: Iterable[Finding], state: str, words: str) -> str:
    return one(findings, state, words).do or ""


def test_the_report_as_json_and_as_text(place: Path, monkeypatch: Patch, capsys: Capture) -> None:
    code = main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert list(report["findings"][0]) == ["state", "check", "text", "do"]
    faults = [row for row in report["findings"] if row["state"] == "fault"]
    assert report["faults"] == len(faults) and code == bool(faults) and all(row["do"] for row in faults)
    # this very installation must be sound: other tests depend on it
    sound = {"python", "opencv", "entry point", "tasks", "names", "bundled model", "data", "cache"}
    assert not sound & {row["check"] for row in faults}, faults
    checks = {row["check"] for row in report["findings"]}
    assert checks >= sound | {"packages", "commands", "hub", "judge", "environment", "optional", "shell", "gpu"}
    monkeypatch.setenv("MELLM_CACHE_GB", "much")
    monkeypatch.setenv("MELLM_JUDGE", "opneai:gpt")
    assert main(["doctor"]) == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("FAULT  cache"))
    assert "found 'much'" in lines[at] and lines[at + 1].strip() == "-> unset MELLM_CACHE_GB"
    assert "Did you mean 'openai'" in said.out and lines[-1].split()[1] == "gpu"
    assert said.err.startswith(f"mellm: {len(faults) + 2} faults found")


def test_a_broken_package_stops_no_other_check(monkeypatch: Patch, capsys: Capture) -> None:
    store.write("drawn", {"test": (sample(clip) for clip in clips("test", 1))}, {"source": "a test"})
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # importing it raises an ImportError
    assert main(["doctor", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)["findings"]
    (broken,) = [row for row in rows if row["text"].startswith("could not be checked: ")]
    assert broken["check"] == "data" and broken["do"].endswith("--force-reinstall pyarrow")
    assert {row["check"] for row in rows} >= {"packages", "tasks", "environment", "gpu"}


def test_it_imports_neither_torch_nor_lmms_eval() -> None:
    code = (
        "import sys\nfrom mellm_plugin.cli import main\nmain(['doctor', '--json'])\n"
        "print([m for m in ('torch', 'lmms_eval', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


OURS = "mellm = mellm_plugin.plugin:manifests"
Site = Callable[..., dict[str, Distribution]]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Adds a package to a folder, with metadata as pip writes them; returns all in it."""

    def add(name: str, version: str = "1.0", *lines: str, points: str = "") -> dict[str, Distribution]:
        info = tmp_path / "site" / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines, "", ""]
        (info / "METADATA").write_text("\n".join(metadata))
        (info / "entry_points.txt").write_text(f"[lmms_eval.models]\n{points}\n")
        return installed([str(tmp_path / "site")])

    return add


def test_versions_are_compared_with_our_metadata(site: Site) -> None:
    needs = "lmms-eval<0.8,>=0.7.3", "Peft>=0.21", "scipy>=1.13", "pytest>=8; extra == 'test'", "x; python_version<'3'"
    site("mellm-plugin", "9.9", *(f"Requires-Dist: {need}" for need in needs), "Requires-Python: >=3.99")
    site("lmms_eval", "0.8.1")
    packages = site("peft", "0.22.0.dev0")
    one(Checks(installed=packages).python(), "fault", "expected >=3.99, found 3.")
    one(Checks(installed={}).python(), "ok", sys.executable)
    found = list(Checks(installed=packages).packages())
    assert "'lmms-eval<0.8,>=0.7.3'" in do(found, "fault", "lmms-eval") and "found 0.8.1" in found[1].text
    assert do(found, "fault", "found none").endswith("-m pip install 'scipy>=1.13'")
    assert one(found, "ok", "within the bounds of mellm-plugin 9.9").text.startswith("Peft 0.22.0.dev0 are")
    one(found, "note", f"mellm-plugin {__version__} runs, but was installed as 9.9")
    assert len(found) == 4
    assert list(Checks(installed={}).packages()) == []


def test_opencv(site: Site, monkeypatch: Patch) -> None:
    one(Checks(installed=site("opencv-python-headless", "5.0")).opencv(), "ok", "opencv-python-headless")
    found = Checks(installed=site("opencv_contrib_python", "4.9")).opencv()
    found = one(found, "fault", "opencv-python-headless 5.0 and opencv-contrib-python 4.9 are installed, and overwrite")
    assert "uninstall -y opencv-python-headless opencv-contrib-python && " in str(found.do)
    monkeypatch.setitem(sys.modules, "cv2", None)
    one(Checks(installed={}).opencv(), "fault", "cannot be imported: ModuleNotFoundError: ")


def test_entry_points(site: Site) -> None:
    assert "pip install ." in do(Checks(installed={}).entry_point(), "fault", "is not installed in")
    broken = {"cannot be loaded: AttributeError": "mellm = mellm_plugin.plugin:absent", "installed without one": ""}
    for words, points in broken.items():
        one(Checks(installed=site("mellm-plugin", points=points)).entry_point(), "fault", words)
    one(Checks(installed=site("mellm-plugin", points=OURS)).entry_point(), "ok", OURS)
    site("others", points="other = not_there_at_all.models:manifests")
    found = list(Checks(installed=site("further", points="further = json:loads")).entry_point())
    assert do(found, "fault", "other of others").endswith("pip uninstall others") and len(found) == 2


def test_optional_packages_are_no_fault(site: Site) -> None:
    found = list(Checks(installed=site("wandb", "0.25")).optional())
    one(found, "ok", "wandb 0.25")
    assert do(found, "note", "vllm is not installed").endswith("pip install vllm")
    assert {finding.state for finding in found} == {"ok", "note"}


def test_commands_of_another_python(tmp_path: Path, monkeypatch: Patch) -> None:
    assert {finding.state for finding in Checks().commands()} == {"ok"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "lmms-eval").write_text("#!/opt/other/bin/python3\nimport sys\n")
    (other / "mellm").write_text(f"#!{sys.executable}\nimport sys\n")  # a script elsewhere, of this Python
    for file in other.iterdir():
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other}{os.pathsep}{os.environ['PATH']}")
    found = list(Checks().commands())
    assert do(found, "fault", "of another Python") == f'export PATH="{BIN}:$PATH"' and found[1].state == "ok"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [finding.state for finding in Checks().commands()] == ["note", "note"]


def test_task_files_and_names_that_lmms_eval_uses_too(tmp_path: Path) -> None:
    one(Checks().tasks(), "ok", "tasks and groups in")
    one(Checks(folder=tmp_path / "absent").tasks(), "fault", "there is no task file")
    ours, theirs = tmp_path / "tasks", tmp_path / "lmms_eval"
    for folder in (ours, theirs / "tasks", theirs / "models"):
        folder.mkdir(parents=True)
    (ours / "casme2_meu.yaml").write_text("task: casme2_meu\n")
    (ours / "samm_meu.yaml").write_text("task: samm_meu\n")
    (theirs / "tasks/a.yaml").write_text("task: other\n")
    (theirs / "tasks/b.yaml").write_text("# a comment\ngroup: 'casme2_meu'\ntask:\n- x\n")
    (theirs / "models/__init__.py").write_text('MODELS = {"mellm": "Other"}\n')
    found = list(Checks(folder=ours, lmms_eval=theirs).names())
    assert "b.yaml hides ours" in one(found, "fault", "lmms-eval's own task casme2_meu").text
    one(found, "fault", "its own model mellm")
    (theirs / "models/__init__.py").write_text('MODELS = {"qwen": "Qwen"}\n')
    (ours / "casme2_meu.yaml").unlink()
    one(Checks(folder=ours, lmms_eval=theirs).names(), "ok", "have 2 names, none of them ours")
    (ours / "bad.yaml").write_text("task: [")
    (ours / "list.yaml").write_text("- a")
    found = list(Checks(folder=ours).tasks())
    assert "bad.yaml: while parsing" in found[0].text and "list.yaml: expected fields" in found[1].text
    assert [finding.state for finding in found] == ["fault", "fault"] and not list(
        Checks(folder=ours, lmms_eval=theirs).names()
    )


def test_an_environment_in_a_repository(tmp_path: Path, monkeypatch: Patch) -> None:
    package = tmp_path / "my clone" / ".venv" / "lib" / "lmms_eval"
    package.mkdir(parents=True)
    (package.parents[2] / ".git").write_text("gitdir: elsewhere")  # as in a worktree
    found = Checks(lmms_eval=package).repository()
    assert f"GIT_CEILING_DIRECTORIES='{package.parents[2]}'" in do(found, "note", "--use_cache asks everything again")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(package.parents[2]))
    assert not list(Checks(lmms_eval=package).repository())
    (package.parent / ".git").mkdir()  # a clone of lmms-eval
    assert not list(Checks(lmms_eval=package).repository())


def test_an_incomplete_bundled_model(tmp_path: Path) -> None:
    one(Checks().bundled_model(), "ok", "tensors")
    whole = (bundled_folder() / "model.safetensors").read_bytes()
    for part in (whole[:-1], whole[:1000], b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"):
        (tmp_path / "model.safetensors").write_bytes(part)
        one(Checks(model=tmp_path).bundled_model(), "fault", "is incomplete")


def seen(*gpus: dict[str, Any], **more: Any) -> list[Finding]:
    plain = {"torch": "2.15.0+cu132", "cuda": "13.2", "hip": None, "mps": False}
    card = {"name": "A100", "total": 80e9, "free": 79e9, "bf16": True}
    return list(assess({**plain, **more, "gpus": [card | given for given in gpus]}))


def test_what_a_gpu_has_room_for(monkeypatch: Patch) -> None:
    assert one(seen({}), "ok", "A100").text.startswith("A100, 80.0 GB, 79.0 GB of it free, bf16; torch 2.15")
    one(seen({}), "ok", "room for Qwen2.5-VL-7B")
    assert do(seen({"total": 8e9, "free": 8e9}), "note", "too small")
    small = {"total": 12e9, "free": 12e9}
    assert do(seen(small, small), "note", "all GPUs together") == "--model_args device_map=auto"
    one(seen({"free": 2e9}), "note", "other programs use it")
    assert do(seen({"bf16": False}), "note", "not support bf16") == "--model_args dtype=float16"
    monkeypatch.setattr(sys, "platform", "linux")
    one(seen(cuda=None), "fault", "built for CPUs only")
    assert "driver" in do(seen(), "fault", "built for CUDA 13.2, can use none")
    one(seen(cuda=None, hip="6.4"), "fault", "ROCm 6.4")
    one(seen(mps=True), "note", "Apple's")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert do(seen(), "note", "hidden by") == "unset CUDA_VISIBLE_DEVICES"


ANSWERS = """
from types import SimpleNamespace as N
__version__ = "2.15.0+cu132"
version, backends = N(cuda="13.2", hip=None), N()
about = lambda i: N(name="A100", major=8)
cuda = N(is_available=lambda: True, device_count=lambda: 1, get_device_properties=about,
         mem_get_info=lambda i: (79 * 10**9, 80 * 10**9))
print("a warning of some driver")
"""


TORCH = {
    ANSWERS: "A100, 80.0 GB, 79.0 GB of it free, bf16",
    "raise OSError('libcudart.so.13')": "torch cannot be used: OSError: libcudart",
    "import os\nos.abort()": "exit code -",
    "import time\ntime.sleep(60)": "did not list the GPUs within 0.5 s",
}


def test_torch_runs_in_another_process(tmp_path: Path, monkeypatch: Patch) -> None:
    """It may answer, crash or hang. Torch itself takes seconds, so a file with its names replaces it."""
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for torch, says in TORCH.items():
        (tmp_path / "torch.py").write_text(torch)
        assert says in next(Checks().gpu(0.5 if "sleep" in torch else 60)).text


def test_prepared_datasets(place: Path) -> None:
    found = list(Checks().data())
    assert one(found, "ok", "(MELLM_DATA)").text.startswith(str(place / "data")) and not (place / "data").exists()
    assert do(found, "note", "casme2 ") == "mellm prepare casme2 --frames FOLDER --sheet CASME2-coding-20140508.xlsx"
    assert do(found, "note", "synthme ") == "mellm prepare synthme"
    for name in ("casme2", "samm", "smic", "mmew", "synthme-v1"):
        store.write(name, {"test": (sample(clip) for clip in clips("test", 2))}, {"source": "a test"})
    missing, damaged = (place / f"data/{name}/data/test-00000-of-00001.parquet" for name in ("samm", "smic"))
    missing.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-50])
    info = place / "data" / "mmew" / "info.json"
    info.write_text(info.read_text().replace('"clips": 2', '"clips": 3'))
    (place / "data" / ".dfme.partial").mkdir()
    (place / "data" / ".dfme.clips").mkdir()
    found = list(Checks().data())
    one(found, "ok", "casme2: test 2 clips")
    assert not [f for f in found if "not drawn" in f.text and "ladder" not in f.text]
    assert do(found, "fault", "samm: data/test-00000-of-00001.parquet is missing").endswith(" --replace")
    one(found, "fault", "smic: data/test-00000-of-00001.parquet cannot be read")
    one(found, "fault", "expected 3 clips, found 2")
    assert "mellm prepare dfme" in do(found, "note", ".dfme.partial belongs to")
    assert str(place / "data" / ".dfme.clips") in do(found, "note", ".dfme.clips belongs to")


def test_folders_that_cannot_be_written_to_and_the_cache(place: Path, monkeypatch: Patch) -> None:
    (place / "file").write_text("no folder")
    monkeypatch.setenv("MELLM_DATA", str(place / "file"))
    assert do(Checks().data(), "fault", "cannot be written to") == "export MELLM_DATA=FOLDER"
    monkeypatch.setenv("MELLM_DATA", str(place / "file" / "below"))
    one(Checks().data(), "fault", "cannot be written to")
    cache = place / "cache" / "joblib" / "flow.pkl"
    cache.parent.mkdir(parents=True)
    with cache.open("wb") as file:
        file.truncate(300_000_000)
    one(Checks().cache(), "ok", "cache, 0.3 GB of at most 2 GB")
    monkeypatch.setenv("MELLM_CACHE_GB", "0")
    assert do(Checks().cache(), "fault", "found '0'") == "unset MELLM_CACHE_GB"
    monkeypatch.delenv("MELLM_CACHE_GB")
    for setting, state, words in (
        (str(place / "file"), "fault", "cannot be written to"),
        ("off", "note", "measures every flow again"),
    ):
        monkeypatch.setenv("MELLM_CACHE", setting)
        one(Checks().cache(), state, words)


def test_the_judge(place: Path, monkeypatch: Patch) -> None:
    one(Checks().judge(), "note", "none is set")
    monkeypatch.setenv("MELLM_JUDGE", "openai:gpt-4o-mini")
    assert do(Checks(ask_judge=True).judge(), "fault", "OPENAI_API_KEY") == "export OPENAI_API_KEY=.."
    (place / "work" / ".env").write_text("# keys\nexport OPENAI_API_KEY=secret\nOTHER=1\n")
    one(Checks().judge(), "ok", "gpt-4o-mini")
    text = one(Checks().environment(), "note", "a judge reads ").text
    assert text.endswith(".env, which sets OPENAI_API_KEY") and "secret" not in text
    monkeypatch.setenv("OPENAI_API_KEY", "")  # set, so ./.env does not override it
    one(Checks().judge(), "fault", "OPENAI_API_KEY")
    monkeypatch.setenv("MELLM_JUDGE", "local")
    one(Checks().judge(), "fault", "expected PROVIDER:MODEL")


def test_only_the_option_sends_the_judge_a_request(monkeypatch: Patch) -> None:
    with JudgeServer(lambda text, before: "{}") as server:
        for name, value in server.environment("local").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MELLM_JUDGE", "local:m,backoff=0.01,timeout=5,requests=1")
        one(Checks().judge(), "ok", "mellm doctor --judge sends it one request")
        assert not server.requests
        one(Checks(ask_judge=True).judge(), "ok", "answers")
        assert len(server.requests) == 1
    monkeypatch.setenv("MELLM_JUDGE", "local:m,backoff=0.01,timeout=4,requests=1")
    one(Checks(ask_judge=True).judge(), "fault", "cannot be used")


@pytest.mark.parametrize(
    ("variables", "state", "words"),
    [
        ({"LMMS_EVAL_PLUGINS": "mellm_plugin"}, "fault", "too late"),
        ({"OPENAI_BASE_URL": "http://localhost/v1"}, "note", "does not read"),
        ({"OPENAI_BASE_URL": "http://localhost/v1", "MELLM_JUDGE": "openai:m"}, "fault", "does not read"),
        ({"OPENAI_API_URL": "http://localhost", "MELLM_JUDGE": "openai:m"}, "fault", "ends in /v1"),
        ({"LLM_JUDGE_URL": "http://localhost/v1", "MELLM_JUDGE": "local:m"}, "fault", "/chat/completions"),
        ({"MODEL_VERSION": "gpt-4"}, "note", "is not read"),
        ({"HF_HUB_OFFLINE": "1"}, "note", "on disk already"),
        ({"LMMS_CACHE_RUN_ID": "mine"}, "note", "LMMS_CACHE_RUN_ID=mine"),
        ({}, "ok", "no variable is set"),
    ],
)
def test_misleading_variables(variables: dict[str, str], state: str, words: str, monkeypatch: Patch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    one(Checks().environment(), state, words)


SHELLS = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}


@pytest.mark.parametrize(("shell", "file"), SHELLS.items())
def test_the_suggested_line_makes_the_shell_complete(shell: str, file: str, place: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    (place / "home" / file).parent.mkdir(parents=True, exist_ok=True)
    command = do(Checks().shell(), "note", "does not complete mellm yet")
    subprocess.run(command, shell=True, check=True, executable="/bin/sh")
    one(Checks().shell(), "ok", f"by ~/{file}")
