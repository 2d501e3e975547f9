"""The wheel, installed elsewhere: it holds every task file and the bundled model, and lmms-eval runs from it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SOURCE = Path(os.environ.get("MELLM_SOURCE", Path(__file__).parents[1]))
"""The clone; continuous integration runs the tests outside of it and says where it is."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel was installed, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist"), str(SOURCE)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(folder / "site"), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return folder / "site"


def _tracked() -> list[Path]:
    listed = subprocess.check_output(["git", "-C", str(SOURCE), "ls-files", "mellm_plugin", "tasks"], text=True)
    return [Path(line) for line in listed.splitlines()]


def test_the_wheel_holds_every_file_of_the_package(site: Path) -> None:
    tracked = _tracked()
    kinds = {path.suffix for path in tracked}
    assert {".py", ".yaml", ".safetensors", ".json", ".jinja", ".md"} <= kinds
    for path in tracked:
        inside = "mellm_plugin" / path if path.parts[0] == "tasks" else path
        assert (site / inside).read_bytes() == (SOURCE / path).read_bytes(), path


def test_lmms_eval_runs_from_it_in_another_folder(site: Path, tmp_path: Path) -> None:
    places = {"MELLM_DATA": str(tmp_path / "data"), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    environment = {**os.environ, **places, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    where = [sys.executable, "-c", "import mellm_plugin; print(mellm_plugin.__file__)"]
    found = subprocess.check_output(where, cwd=tmp_path, env=environment, text=True)
    assert Path(found.strip()).is_relative_to(site)
    command = [sys.executable, "-m", "lmms_eval", "--model", "mellm", "--tasks", "synthme_meu", "--limit", "2"]
    done = subprocess.run(
        [*command, "--output_path", "results"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert list((tmp_path / "results").rglob("*_results.json")), done.stdout[-2000:] + done.stderr[-4000:]
