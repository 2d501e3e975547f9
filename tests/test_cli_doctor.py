"""`mellm doctor` on installations, folders and environments that are as they should be, and on ones that are not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer

from mellm_plugin import __version__
from mellm_plugin.cli import main
from mellm_plugin.cli.doctor import environment, installation, machine, places
from mellm_plugin.cli.doctor.findings import Finding
from mellm_plugin.datasets import store
from mellm_plugin.datasets.synthme import clips, sample
from mellm_plugin.models import bundled_folder
from mellm_plugin.plugin import task_folder

BIN = Path(sys.executable).parent
VARIABLES = (
    *("MELLM_JUDGE", "OPENAI_API_KEY", "OPENAI_API_URL", "OPENAI_BASE_URL", "LLM_JUDGE_URL", "LMMS_EVAL_PLUGINS"),
    *("LMMS_CACHE_RUN_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "MODEL_VERSION", "HF_HUB_OFFLINE"),
    *("CUDA_VISIBLE_DEVICES", "AZURE_API_KEY", "AZURE_ENDPOINT", "API_VERSION"),
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user whose home, data and working folder are empty, and who has set nothing."""
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
    """The only finding with these words, which has this state; of a fault it is said what to do."""
    every = list(findings)
    (found,) = [finding for finding in every if words in finding.text]
    assert found.state == state and "\n" not in found.text
    assert found.state != "fault" or found.do
    return found


def install(folder: Path, name: str, version: str, *, needs: Iterable[str] = (), points: str = "") -> None:
    """The metadata of an installed package, as pip writes them."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Requires-Python: >=3.10"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {need}" for need in needs), "", ""]))
    (info / "entry_points.txt").write_text(points)


OURS = "[lmms_eval.models]\nmellm = mellm_plugin.plugin:manifests\n"


# ---- the whole command ----------------------------------------------------------------------------------------------


def test_everything_is_looked_at_and_the_exit_code_tells(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.write("drawn", {"test": (sample(clip) for clip in clips("test", 3))}, {"source": "a test"})
    code = main(["doctor", "--json"])
    said = json.loads(capsys.readouterr().out)
    faults = [one for one in said["findings"] if one["state"] == "fault"]
    assert said["faults"] == len(faults) and code == bool(faults)
    assert all(finding["do"] for finding in faults)
    checks = {one["check"] for one in said["findings"]}
    assert checks >= {"python", "packages", "opencv", "entry point", "commands", "tasks", "names", "bundled model"}
    assert checks >= {"data", "cache", "hub", "judge", "environment", "optional", "shell", "gpu"}
    # what this very installation is must hold: other tests lean on it
    for check in ("python", "opencv", "entry point", "tasks", "names", "bundled model", "data", "cache"):
        assert not [one for one in faults if one["check"] == check], faults
    (drawn,) = [one for one in said["findings"] if one["text"].startswith("drawn:")]
    assert drawn["text"].startswith("drawn: test 3 clips") and drawn["state"] == "ok"


def test_a_fault_is_told_with_a_command_and_the_rest_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MELLM_CACHE_GB", "much")
    monkeypatch.setenv("MELLM_JUDGE", "opneai:gpt")
    assert main(["doctor"]) == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("FAULT  cache"))
    assert "found 'much'" in lines[at] and lines[at + 1].strip() == "-> unset MELLM_CACHE_GB"
    assert "Did you mean 'openai'" in said.out and lines[-1].split()[1] == "gpu"
    assert said.err.startswith("mellm: 2 faults found")


def test_a_package_that_is_broken_ends_no_other_check(tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError('libarrow.so: undefined symbol', name='pyarrow')\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "mellm_plugin.cli", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 1, done.stderr
    said = [Finding(**finding) for finding in json.loads(done.stdout)["findings"]]
    assert str(one(said, "fault", "could not be checked: ImportError: libarrow").do).endswith(
        "--force-reinstall pyarrow"
    )
    assert {finding.check for finding in said} >= {"packages", "tasks", "environment", "gpu"}


def test_it_imports_neither_torch_nor_lmms_eval() -> None:
    code = (
        "import sys\nfrom mellm_plugin.cli import main\nmain(['doctor', '--json'])\n"
        "print([m for m in ('torch', 'lmms_eval', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


# ---- what is installed ----------------------------------------------------------------------------------------------


def test_versions_are_held_against_our_metadata(tmp_path: Path) -> None:
    needs = [
        "lmms-eval<0.8,>=0.7.3",
        "Peft>=0.21",
        "scipy>=1.13",
        "pytest>=8; extra == 'test'",
        "old; python_version < '3'",
    ]
    install(tmp_path, "mellm-plugin", "9.9", needs=needs, points=OURS)
    install(tmp_path, "lmms_eval", "0.8.1")
    install(tmp_path, "peft", "0.22.0.dev0")
    found = list(installation.versions(installation.installed([str(tmp_path)])))
    assert "'lmms-eval<0.8,>=0.7.3'" in str(one(found, "fault", "lmms-eval").do) and "found 0.8.1" in found[2].text
    assert str(one(found, "fault", "found none").do).endswith("-m pip install 'scipy>=1.13'")
    assert one(found, "ok", "within the bounds of mellm-plugin 9.9").text.startswith("Peft 0.22.0.dev0 are")
    one(found, "note", f"mellm-plugin {__version__} runs, and was installed as 9.9")
    assert not [finding for finding in found if "pytest" in finding.text or "old" in finding.text]


def test_another_python_than_is_needed(tmp_path: Path) -> None:
    install(tmp_path, "mellm-plugin", __version__)
    file = next(tmp_path.glob("*.dist-info")) / "METADATA"
    file.write_text(file.read_text().replace(">=3.10", ">=3.99"))
    one(installation.versions(installation.installed([str(tmp_path)])), "fault", "expected >=3.99, found 3.")


def test_without_an_installation(tmp_path: Path) -> None:
    nothing = installation.installed([str(tmp_path)])
    assert "pip install ." in str(one(installation.versions(nothing), "fault", "is not installed in").do)
    assert list(installation.entry_points(nothing)) == []


def test_two_packages_of_opencv(tmp_path: Path) -> None:
    install(tmp_path, "opencv-python-headless", "5.0")
    assert [finding.state for finding in installation.opencv(installation.installed([str(tmp_path)]))] == ["ok"]
    install(tmp_path, "opencv_contrib_python", "4.9")
    found = one(installation.opencv(installation.installed([str(tmp_path)])), "fault", "write over each other")
    assert "opencv-python-headless 5.0 and opencv-contrib-python 4.9" in found.text
    assert "uninstall -y opencv-python-headless opencv-contrib-python && " in str(found.do)


def test_an_opencv_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    code = (
        "from mellm_plugin.cli.doctor import installation\n"
        "(found,) = installation.opencv(installation.installed())\nprint(found.state, found.text)"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.stdout.startswith("fault cannot be imported: ImportError: libGL.so.1"), done.stderr


def test_what_lmms_eval_loads(tmp_path: Path) -> None:
    install(tmp_path, "mellm-plugin", __version__, points=OURS)
    found = installation.entry_points(installation.installed([str(tmp_path)]))
    one(found, "ok", "mellm = mellm_plugin.plugin:manifests")
    install(tmp_path, "others", "1.0", points="[lmms_eval.models]\nother = not_there_at_all.models:manifests\n")
    install(
        tmp_path, "further", "1.0", points="[lmms_eval.models]\nfurther = json:loads\n[console_scripts]\nx = no:no\n"
    )
    found = list(installation.entry_points(installation.installed([str(tmp_path)])))
    assert str(one(found, "fault", "other of others").do).endswith("pip uninstall others") and len(found) == 2


def test_an_entry_point_of_ours_that_is_broken(tmp_path: Path) -> None:
    install(tmp_path, "mellm-plugin", __version__, points="[lmms_eval.models]\nmellm = mellm_plugin.plugin:absent\n")
    one(installation.entry_points(installation.installed([str(tmp_path)])), "fault", "cannot be loaded: AttributeError")
    shutil.rmtree(next(tmp_path.glob("*.dist-info")))
    install(tmp_path, "mellm-plugin", __version__)
    one(installation.entry_points(installation.installed([str(tmp_path)])), "fault", "installed without one")


def test_commands_of_another_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {finding.state for finding in installation.commands()} == {"ok"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "lmms-eval").write_text("#!/opt/other/bin/python3\nimport sys\n")
    (other / "mellm").write_text(f"#!{sys.executable}\nimport sys\n")  # a script elsewhere, of this Python
    for file in other.iterdir():
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other}{os.pathsep}{os.environ['PATH']}")
    found = list(installation.commands())
    assert one(found, "fault", "of another Python").do == f'export PATH="{BIN}:$PATH"' and found[1].state == "ok"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [finding.state for finding in installation.commands()] == ["note", "note"]


def test_task_files(tmp_path: Path) -> None:
    one(installation.tasks(task_folder()), "ok", "tasks and groups in")
    shutil.copytree(task_folder() / "synthme", tmp_path / "tasks" / "synthme")
    (tmp_path / "tasks" / "bad.yaml").write_text("task: [")
    (tmp_path / "tasks" / "list.yaml").write_text("- a")
    found = list(installation.tasks(tmp_path / "tasks"))
    assert [finding.state for finding in found] == ["fault", "fault"]
    assert "bad.yaml: while parsing" in found[0].text and "list.yaml: expected fields" in found[1].text
    one(installation.tasks(tmp_path / "absent"), "fault", "there is no task file")


def test_names_that_lmms_eval_has_too(tmp_path: Path) -> None:
    for name, text in {
        "a/a.yaml": "task: other\n",
        "b/b.yaml": "# a comment\ngroup: 'casme2_meu'\ntask:\n- x\n",
    }.items():
        file = tmp_path / "tasks" / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text('MODELS = {"qwen": "Qwen"}\n')
    one(installation.clashes(["samm_meu"], tmp_path), "ok", "among the 2 names")
    (tmp_path / "models" / "__init__.py").write_text('MODELS = {"mellm": "Other"}\n')
    found = list(installation.clashes(["casme2_meu", "samm_meu"], tmp_path))
    assert "b.yaml" in one(found, "fault", "casme2_meu of ours is hidden").text
    one(found, "fault", "a model mellm of its own")


def test_an_environment_in_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "my clone" / ".venv" / "lib" / "lmms_eval"
    package.mkdir(parents=True)
    (package.parents[2] / ".git").write_text("gitdir: elsewhere")  # as in a worktree
    (found,) = installation.repository(package)
    assert found.state == "note" and "with --use_cache each commit there has all be asked anew" in found.text
    assert found.do and f"export GIT_CEILING_DIRECTORIES='{package.parents[2]}'" in found.do
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(package.parents[2]))
    assert not list(installation.repository(package))
    (package.parent / ".git").mkdir()  # a clone of lmms-eval
    assert not list(installation.repository(package))


def test_a_bundled_model_that_was_cut_off(tmp_path: Path) -> None:
    one(installation.bundled(bundled_folder()), "ok", "tensors")
    whole = (bundled_folder() / "model.safetensors").read_bytes()
    for part in (whole[:-1], whole[:1000], b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"):
        (tmp_path / "model.safetensors").write_bytes(part)
        one(installation.bundled(tmp_path), "fault", "is not whole")


def test_optional_packages_are_no_fault(tmp_path: Path) -> None:
    install(tmp_path, "wandb", "0.25")
    found = list(installation.optional(installation.installed([str(tmp_path)])))
    one(found, "ok", "wandb 0.25")
    assert str(one(found, "note", "vllm is not installed").do).endswith("pip install vllm")
    assert {finding.state for finding in found} == {"ok", "note"}


# ---- the GPU --------------------------------------------------------------------------------------------------------


def gpu(name: str = "A100", total: float = 80e9, free: float = 79e9, bf16: bool = True) -> dict[str, Any]:
    return {"name": name, "total": total, "free": free, "bf16": bf16}


def seen(*gpus: dict[str, Any], **more: Any) -> list[Finding]:
    plain = {"torch": "2.15.0+cu132", "cuda": "13.2", "hip": None, "mps": False}
    return list(machine.judged({**plain, **more, "gpus": list(gpus)}))


def test_what_a_gpu_is_good_for() -> None:
    assert one(seen(gpu()), "ok", "A100").text.startswith("A100, 80.0 GB, 79.0 GB of it free, bf16; torch 2.15")
    one(seen(gpu()), "ok", "room for Qwen2.5-VL-7B")
    assert one(seen(gpu(total=8e9, free=8e9)), "note", "too small").do
    assert one(seen(*[gpu(total=12e9, free=12e9)] * 2), "note", "all together").do == "--model_args device_map=auto"
    one(seen(gpu(free=2e9)), "note", "other programs hold it")
    assert one(seen(gpu("T4", 16e9, 16e9, bf16=False)), "note", "no bf16, which").do == "--model_args dtype=float16"


def test_a_gpu_that_torch_does_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    one(seen(cuda=None), "fault", "built for CPUs alone")
    assert "driver" in str(one(seen(), "fault", "built for CUDA 13.2, can use none").do)
    one(seen(cuda=None, hip="6.4"), "fault", "ROCm 6.4")
    one(seen(mps=True), "note", "Apple's")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert one(seen(), "note", "hidden by").do == "unset CUDA_VISIBLE_DEVICES"


def probed(folder: Path, torch: str, seconds: float = 60.0) -> str:
    """What is said on a machine with nvidia-smi and a torch that is this text."""
    (folder / "torch.py").write_text(torch)
    (folder / "nvidia-smi").write_text("#!/bin/sh\n")
    (folder / "nvidia-smi").chmod(0o755)
    code = (
        "from mellm_plugin.cli.doctor.machine import Probe\n"
        f"for one in Probe({seconds}).findings(): print(one.state, one.text)"
    )
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_torch_is_asked_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Its answer, its crash, its hanging; torch itself takes seconds, so a file with its names stands for it here."""
    answering = """
from types import SimpleNamespace as N
__version__ = "2.15.0+cu132"
version, backends = N(cuda="13.2", hip=None), N()
about = lambda i: N(name="A100", major=8)
cuda = N(is_available=lambda: True, device_count=lambda: 1, get_device_properties=about,
         mem_get_info=lambda i: (79 * 10**9, 80 * 10**9))
print("a warning of some driver")
"""
    assert probed(tmp_path, answering).startswith("ok A100, 80.0 GB, 79.0 GB of it free, bf16")
    assert "torch cannot be used: OSError: libcudart" in probed(tmp_path, "raise OSError('libcudart.so.13')")
    assert "exit code -" in probed(tmp_path, "import os\nos.abort()")
    assert "did not say within 0.5 s" in probed(tmp_path, "import time\ntime.sleep(60)", 0.5)


# ---- folders and disks ----------------------------------------------------------------------------------------------


def test_prepared_datasets(place: Path) -> None:
    found = list(places.data())
    assert one(found, "ok", "(MELLM_DATA)").text.startswith(str(place / "data")) and not (place / "data").exists()
    assert (
        one(found, "note", "casme2 ").do == "mellm prepare casme2 --frames FOLDER --sheet CASME2-coding-20140508.xlsx"
    )
    assert one(found, "note", "synthme ").do == "mellm prepare synthme"
    for name in ("casme2", "samm", "smic", "mmew", "synthme-v1"):
        store.write(name, {"test": (sample(clip) for clip in clips("test", 2))}, {"source": "a test"})
    file = {name: place / "data" / name / "data" / "test-00000-of-00001.parquet" for name in ("casme2", "samm", "smic")}
    file["samm"].unlink()
    with file["smic"].open("r+b") as handle:
        handle.truncate(file["smic"].stat().st_size // 2)
    info = place / "data" / "mmew" / "info.json"
    info.write_text(info.read_text().replace('"clips": 2', '"clips": 3'))
    (place / "data" / ".dfme.partial").mkdir()
    (place / "data" / ".dfme.clips").mkdir()
    found = list(places.data())
    one(found, "ok", "casme2: test 2 clips")
    assert not [f for f in found if "not drawn" in f.text and "ladder" not in f.text]
    assert str(one(found, "fault", "samm: data/test-00000-of-00001.parquet is missing").do).endswith(" --replace")
    one(found, "fault", "smic: data/test-00000-of-00001.parquet cannot be read")
    one(found, "fault", "expected 3 clips, found 2")
    assert "mellm prepare dfme" in str(one(found, "note", ".dfme.partial is of").do)
    assert str(place / "data" / ".dfme.clips") in str(one(found, "note", ".dfme.clips is of").do)


def test_folders_that_cannot_be_written_to(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "file").write_text("no folder")
    monkeypatch.setenv("MELLM_DATA", str(place / "file"))
    assert one(places.data(), "fault", "cannot be written to").do == "export MELLM_DATA=FOLDER"
    monkeypatch.setenv("MELLM_DATA", str(place / "file" / "below"))
    one(places.data(), "fault", "cannot be written to")
    monkeypatch.setenv("MELLM_CACHE", str(place / "file"))
    one(places.flows(), "fault", "cannot be written to")


def test_the_cache_of_flows(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "cache" / "joblib").mkdir(parents=True)
    (place / "cache" / "joblib" / "flow.pkl").write_bytes(bytes(300_000_000))
    one(places.flows(), "ok", "cache, 0.3 GB of at most 2 GB")
    monkeypatch.setenv("MELLM_CACHE_GB", "0")
    assert one(places.flows(), "fault", "found '0'").do == "unset MELLM_CACHE_GB"
    monkeypatch.delenv("MELLM_CACHE_GB")
    monkeypatch.setenv("MELLM_CACHE", "off")
    one(places.flows(), "note", "measured anew")


# ---- the environment ------------------------------------------------------------------------------------------------


def test_the_judge(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one(environment.judge(False), "note", "none is set")
    monkeypatch.setenv("MELLM_JUDGE", "openai:gpt-4o-mini")
    assert one(environment.judge(True), "fault", "OPENAI_API_KEY").do == "export OPENAI_API_KEY=.."
    (place / "work" / ".env").write_text("# keys\nexport OPENAI_API_KEY=secret\nOTHER=1\n")
    one(environment.judge(False), "ok", "gpt-4o-mini")
    told = one(environment.variables(), "note", ".env is read when a judge is opened").text
    assert told.endswith("it sets OPENAI_API_KEY") and "secret" not in told
    monkeypatch.setenv("OPENAI_API_KEY", "")  # set, so that ./.env does not change it
    one(environment.judge(False), "fault", "OPENAI_API_KEY")
    monkeypatch.setenv("MELLM_JUDGE", "local")
    one(environment.judge(False), "fault", "expected PROVIDER:MODEL")


def test_the_judge_is_asked_only_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    with JudgeServer(lambda text, before: "{}") as server:
        for name, value in server.environment("local").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MELLM_JUDGE", "local:m,backoff=0.01,timeout=5,requests=1")
        one(environment.judge(False), "ok", "mellm doctor --judge asks it")
        assert not server.requests
        one(environment.judge(True), "ok", "answers")
        assert len(server.requests) == 1
    monkeypatch.setenv("MELLM_JUDGE", "local:m,backoff=0.01,timeout=4,requests=1")
    one(environment.judge(True), "fault", "cannot be used")


@pytest.mark.parametrize(
    ("variables", "state", "words"),
    [
        ({"LMMS_EVAL_PLUGINS": "mellm_plugin"}, "fault", "too late"),
        ({"OPENAI_BASE_URL": "http://localhost/v1"}, "note", "is not read"),
        ({"OPENAI_BASE_URL": "http://localhost/v1", "MELLM_JUDGE": "openai:m"}, "fault", "is not read"),
        ({"OPENAI_API_URL": "http://localhost", "MELLM_JUDGE": "openai:m"}, "fault", "ends in /v1"),
        ({"LLM_JUDGE_URL": "http://localhost/v1", "MELLM_JUDGE": "local:m"}, "fault", "/chat/completions"),
        ({"MODEL_VERSION": "gpt-4"}, "note", "is not read"),
        ({"HF_HUB_OFFLINE": "1"}, "note", "on disk already"),
        ({"LMMS_CACHE_RUN_ID": "mine"}, "note", "LMMS_CACHE_RUN_ID=mine"),
        ({}, "ok", "no variable is set"),
    ],
)
def test_variables_that_surprise(
    variables: dict[str, str], state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    one(environment.variables(), state, words)


@pytest.mark.parametrize(
    ("shell", "file"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", ".config/fish/config.fish")]
)
def test_what_makes_the_shell_complete(shell: str, file: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    found = one(environment.completion(), "note", "does not complete mellm yet")
    (place / "home" / file).parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(str(found.do), shell=True, check=True, executable="/bin/sh")
    one(environment.completion(), "ok", f"by ~/{file}")
