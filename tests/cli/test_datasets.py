"""`mellm datasets`: prepared datasets listed, verified and removed."""

from __future__ import annotations

import json
from pathlib import Path

import fictitious
import pytest
from fictitious import casme2, smic

from mellm_plugin.cli import main
from mellm_plugin.datasets import store

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root."""
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "out"))
    return tmp_path / "out"


def test_prepared_datasets_are_listed_and_verified(root: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["datasets"]) == 0
    assert f"nothing is prepared in {root}; try: mellm prepare synthme" in capsys.readouterr().err
    made = casme2(tmp_path / "in", 8, size=(40, 36), frames=6, draw="noise")
    made = fictitious.label_outside(made, 2)
    assert main(["prepare", "casme2", *made.arguments, "--json"]) == 0  # without --out: into MELLM_DATA
    assert json.loads(capsys.readouterr().out)["splits"]["test"]["clips"] == 7, "nothing else on standard output"
    small = smic(tmp_path, 3, size=(40, 36), frames=6, draw="noise")
    assert main(["prepare", "smic", *small.arguments]) == 0
    capsys.readouterr()
    assert main(["datasets", "--verify"]) == 0
    out = capsys.readouterr().out
    info = store.read_info("casme2")
    assert f"casme2  {root / 'casme2'}\n" in out and f"frames in {made.frames}\n" in out
    assert f"sheet {made.sheet.name}, sha256 {info['sheets']['test']['sha256']}\n" in out
    assert "test: 7 clips of " in out and "CASME II 2014 sheet: 7 of 255 clips\n" in out and "skipped: 1, see " in out
    assert "SMIC HS: its folders, frames in" in out and out.count("verified: every file is as it was written") == 2
    assert main(["datasets", "--verify", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["dataset"], row["skipped"], row["splits"]["test"]["clips"]) for row in rows] == [
        ("casme2", 1, 7),
        ("smic", 0, 3),
    ]
    data = store.dataset_dir("smic") / "data" / "test-00000-of-00001.parquet"
    data.write_bytes(data.read_bytes()[:-1])
    assert main(["datasets", "--verify"]) == 1
    captured = capsys.readouterr()
    assert "casme2  " in captured.out and "expected sha256" in captured.err
    assert captured.err.rstrip().endswith("mellm prepare smic --frames FOLDER --replace")


def test_datasets_are_removed_by_name(root: Path, tmp_path: Path, capsys: Capture) -> None:
    made = casme2(tmp_path / "in", 8, size=(40, 36), frames=6, draw="noise")
    assert main(["prepare", "casme2", *made.arguments]) == 0
    assert "casme2: about " in capsys.readouterr().err, "the disk space needed"
    for name, says in (
        ("casm2", "no dataset 'casm2' is prepared; there are: casme2. Did you mean 'casme2'?"),
        ("../in", "a dataset is named with lower-case letters"),
    ):
        assert main(["datasets", "--remove", name]) == 1
        assert says in capsys.readouterr().err and made.sheet.exists()
    assert main(["datasets", "--remove", "casme2"]) == 0
    assert capsys.readouterr().out.startswith(f"removed {root / 'casme2'}: 8 clips, ")
    assert store.list_prepared() == []
