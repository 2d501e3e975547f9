"""The maps of a whole dataset: files, table and sheets; what cannot be drawn is named and stops nobody."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mellm_plugin.datasets import store
from mellm_plugin.datasets.maps import draw_dataset
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.datasets.synthme import clips, sample
from mellm_plugin.errors import InputError, SettingsError
from mellm_plugin.motion.render import motion_map
from mellm_plugin.motion.settings import DEFAULT, MotionSettings


def _png(side: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def _mixed() -> Iterator[Sample]:
    first, second, third, fourth = (sample(clip) for clip in clips("maps", 4))
    yield first
    yield replace(second, apex=_png(100))
    yield replace(third, id="synthme/s00/a:b.1", apex=_png(224))
    yield fourth


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "data"))
    store.write("mixed", {"test": _mixed()}, {"source": "a test"})
    return "mixed"


def test_good_clips_are_drawn_and_bad_ones_named(prepared: str, tmp_path: Path) -> None:
    drawn = draw_dataset(prepared, "test", tmp_path / "maps", DEFAULT, workers=2)
    assert drawn.maps == 3
    (fault,) = drawn.faults
    assert fault.startswith("synthme/s00/01: ") and "224x224 and 100x100" in fault
    assert list(drawn.doubtful) == ["synthme/s00/a:b.1"]  # noise in place of the apex
    clip = next(clips("maps", 1))
    file = tmp_path / "maps" / "synthme" / "s00" / "00.png"
    # one grey level: the confidence that fades the colour may differ in its last bits
    assert np.abs(np.asarray(Image.open(file)).astype(int) - motion_map(*clip.files()).image).max() <= 1
    with (tmp_path / "maps" / "maps.csv").open(newline="", encoding="utf-8") as table:
        rows = {row["id"]: row for row in csv.DictReader(table)}
    assert len(rows) == 4 and "100x100" in rows["synthme/s00/01"]["fault"]
    assert rows["synthme/s00/a:b.1"]["map"].startswith("synthme/s00/a_b.1-") and rows["synthme/s00/a:b.1"]["doubts"]
    assert float(rows["synthme/s00/00"]["head_right_px"]) == pytest.approx(float(clip.flow[..., 0].mean()), abs=0.3)
    assert MotionSettings.load(tmp_path / "maps") == DEFAULT
    assert [sheet.name for sheet in drawn.sheets] == ["contact_sheet.jpg"] and drawn.sheets[0].stat().st_size > 5000
    assert not list((tmp_path / "maps").rglob("*.part*"))


def test_wrong_arguments_write_nothing(prepared: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="found a file"):
        draw_dataset(prepared, "test", tmp_path / "file", DEFAULT)
    with pytest.raises(InputError, match="Did you mean 'test'"):
        draw_dataset(prepared, "tets", tmp_path / "maps", DEFAULT)
    with pytest.raises(InputError, match="at least one worker"):
        draw_dataset(prepared, "test", tmp_path / "maps", DEFAULT, workers=0)
    with pytest.raises(SettingsError, match="only the estimator tvl1"):
        draw_dataset(prepared, "test", tmp_path / "maps", DEFAULT, device="cuda")
    bad = [replace(sample(clip), apex=_png(100)) for clip in clips("maps", 2)]
    store.write("bad", {"test": iter(bad)}, {"source": "a test"})
    with pytest.raises(InputError, match="not one map could be drawn") as caught:
        draw_dataset("bad", "test", tmp_path / "bad", DEFAULT)
    assert len(caught.value.faults) == 2
    assert not (tmp_path / "maps").exists() and (tmp_path / "file").read_text() == "mine"
