"""`mellm report` as a user gives it; the page is tested where it is made."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from results_files import Asked, Model, rescored, write_run

from mellm_plugin.cli import main

ASKED = Asked(clips=30, subjects=6)
GOOD = Model("good", 0.95, backend=None)


def test_a_line_for_each_board_and_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "results", ASKED, GOOD, "20261122_000001")
    write_run(tmp_path / "results", ASKED, replace(GOOD, name="poor\x1b[31m", skill=0.1), "20261122_000002")
    assert main(["report", str(tmp_path / "results"), "-o", str(tmp_path / "report"), "--no-page"]) == 0
    printed = capsys.readouterr().out
    first, *files = printed.splitlines()
    assert first.startswith("synthme_meu  30 clips  emotion_uf1  ") and " good (rank 1)" in first
    assert "\x1b" not in printed
    assert [Path(file).name for file in files] == ["report.md", "report.csv", "report.tex", "report.json"]
    assert all(Path(file).is_file() for file in files)


def test_json_and_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, _ = write_run(tmp_path / "results", ASKED, GOOD)
    (tmp_path / "results" / "20261122_000000_results.json").write_text("{", encoding="utf-8")
    rescored(file, "au_f1", "\x1b[2J\x07 evil")
    out = tmp_path / "report"
    assert main(["report", str(tmp_path / "results"), "-o", str(out), "--no-page", "--json"]) == 1
    printed = capsys.readouterr()
    counts = json.loads(printed.out)
    assert (counts["runs"], counts["boards"], counts["faults"], counts["report"]) == (1, 1, 3, str(out))
    assert "evil" in printed.err and "\x1b" not in printed.err and "\x07" not in printed.err
    assert "20261122_000000_results.json" in printed.err and "is written without" in printed.err
    written = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert len(written["reading"]["faults"]) == 3 and len(written["boards"]) == 1


def test_results_without_our_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "20261122_000000_results.json").write_text('{"results": {"mme": {"score,none": 1}}}', encoding="utf-8")
    assert main(["report", str(tmp_path), str(tmp_path / "none"), "-o", str(tmp_path / "report"), "--no-page"]) == 1
    said = capsys.readouterr().err
    assert "mme (1)" in said and "lmms-eval --model mellm" in said and "none: expected a folder" in said
    assert not (tmp_path / "report").exists()


def test_a_full_disk_is_reported_with_the_file_and_the_old_report_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "results", ASKED, GOOD)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("former", encoding="utf-8")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size, file in ((1_000, "report.md"), (200_000, "index.html")):  # fails like a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            assert main(["report", str(tmp_path / "results"), "-o", str(tmp_path / "report")]) == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "mellm:" in line]
        assert f"{tmp_path / 'report' / file}: cannot be written: File too large" in line
    assert (tmp_path / "report" / "index.html").read_text(encoding="utf-8") == "former"
    assert not list((tmp_path / "report").glob(".*"))


def test_conflicting_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "results", ASKED, GOOD)
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["report", str(tmp_path / "results"), "-o", str(tmp_path / "file"), "--no-page"]) == 1
    assert main(["report", str(tmp_path / "results"), "-o", str(tmp_path / "r"), "--no-page", "--pictures"]) == 1
    assert "expected a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as raised:
        main(["report", str(tmp_path / "results")])
    assert raised.value.code == 2
