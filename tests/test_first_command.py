"""README's first command: the wheel, installed into an empty folder, and `lmms-eval` from it in another folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from user_commands import SOURCE, environment, records, results, run, scores

import mellm_plugin

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the installed wheel: continuous integration's, or an empty one to install it into."""
    if "MELLM_SOURCE" in os.environ:
        return Path(mellm_plugin.__file__).parents[1]
    folder = tmp_path_factory.mktemp("wheel")
    python = (sys.executable, "-m")
    run([*python, "build", "--wheel", "--outdir", str(folder / "dist"), str(SOURCE)], os.environ, folder)
    (wheel,) = map(str, (folder / "dist").glob("*.whl"))
    run([*python, "pip", "install", "--no-deps", "--target", str(folder / "site"), wheel], os.environ, folder)
    return folder / "site"


def test_the_wheel_holds_every_file_of_the_package(site: Path) -> None:
    listed = subprocess.check_output(["git", "-C", str(SOURCE), "ls-files", "mellm_plugin", "tasks"], text=True)
    files = [Path(line) for line in listed.splitlines()]
    assert {".py", ".yaml", ".safetensors", ".json", ".jinja", ".md"} <= {path.suffix for path in files}
    for path in files:
        installed = path if path.parts[0] == "mellm_plugin" else "mellm_plugin" / path
        assert (site / installed).read_bytes() == (SOURCE / path).read_bytes(), path


@pytest.fixture(scope="module")
def first(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder with the results of README's first command, and what the command printed."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("elsewhere")
    machine = environment(home, PYTHONPATH=str(site))  # without tests/libyaml
    where = run([sys.executable, "-c", "import mellm_plugin; print(mellm_plugin.__file__)"], machine, folder).stdout
    assert Path(where.strip()).is_relative_to(site)
    shown = re.search(r"\.venv/bin/(lmms-eval .*)", (SOURCE / "README.md").read_text(encoding="utf-8"))
    assert shown is not None
    done = run(shown[1].split(), machine, folder)
    return folder, done.stdout + done.stderr


def test_scores_are_far_above_constant_answers(first: tuple[Path, str]) -> None:
    found = {name: score["value"] for name, score in scores(first[0], "synthme_meu").items()}
    assert found["au_f1"] >= 0.93 and found["coarse_uf1"] >= 0.95 and found["parse_rate"] >= 0.99
    assert found["au_f1_micro"] > 0.7 > found["au_f1_all_present"] + 0.3
    assert found["emotion_acc"] > 0.5 > found["emotion_acc_majority"]
    assert found["au_parse_rate"] == found["motion_plausible_rate"] == 1


def test_the_bundled_model_is_named_in_the_log_and_in_the_results(first: tuple[Path, str]) -> None:
    folder, printed = first
    assert printed.count("this is the BUNDLED model") == 1
    assert '"bundled": true, "motion": {"estimator": "local"' in results(folder)["config"]["model_backend"]


def test_records_hold_what_was_read(first: tuple[Path, str]) -> None:
    found = records(first[0], "synthme_meu")
    assert len(found) == 300
    for record in found:
        assert record["id"].startswith(f"synthme/{record['subject']}/") and record["doubts"] == []
        assert record["gold"]["label"] and record["read"]["label"] and record["read"]["unparsed"] is None
        assert record["gold"]["aus"] is not None and record["read"]["aus"] is not None


def test_descriptions_are_scored_without_a_judge(first: tuple[Path, str]) -> None:
    folder, printed = first
    found = {name: score["value"] for name, score in scores(folder, "synthme_meu").items()}
    assert found["description_facts_f1"] > 0.7 > found["description_facts_f1_majority"] + 0.2
    assert found["description_contradiction_rate"] < 0.1 and found["description_rate"] > 0.7
    assert "description_facts_f1 " in printed and "(describing " in printed
    said = [claim for record in records(folder, "synthme_meu") for claim in record["facts"]["said"]]
    right = sum(claim["right"] for claim in said) / len(said)
    assert right == pytest.approx(found["description_facts_precision"])
    assert printed.count("description_score is absent: no judge is set") == 1
    assert not found.keys() & {"description_score", "judge_rate"}


def test_scores_have_their_standard_error_and_interval(first: tuple[Path, str]) -> None:
    folder, printed = first
    found = {name: score for name, score in scores(folder, "synthme_meu").items() if "ci95" in score}
    assert {"emotion_uf1", "coarse_acc", "au_f1", "au_f1_micro", "au_exact", "parse_rate"} < found.keys()
    for name, score in found.items():
        low, high = score["ci95"]
        assert 0 <= low <= score["value"] <= high <= 1 and score["stderr"] >= 0, name
    assert printed.count("synthme: 300 clips of 30 subjects") == 1
    assert not [line for line in printed.splitlines() if line.startswith("|") and ("ci95" in line or "_stderr" in line)]
