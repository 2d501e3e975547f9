"""Space on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from mellm_plugin.datasets import disk, synthme
from mellm_plugin.errors import DataError


def test_what_does_not_fit_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free = type("Usage", (), {"free": 5_000_000})()
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda place: free)
    disk.check_room("toy", 12_000_000, tmp_path / "new", least=4_000_000)
    assert capsys.readouterr().err == f"toy: about 12 MB are needed in {tmp_path / 'new'}, 5.0 MB are free\n"
    with pytest.raises(DataError, match="'toy' does not fit: about 12 MB are needed"):
        disk.check_room("toy", 12_000_000, tmp_path / "new", least=6_000_000)
    with pytest.raises(DataError, match="'synthme-v1' does not fit: about 28 MB are needed"):
        synthme.prepare(tmp_path / "new")
    assert not list((tmp_path / "new").glob("synthme*"))
