"""The amplitude ladder: every unit at every level, drawn like the test set, and still where nothing is to move."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mellm_plugin.datasets import ladder, store, synthme
from mellm_plugin.errors import InputError

ROUND = len(synthme.AUS) * len(ladder.LEVELS)


def rungs() -> list[tuple[int, tuple[int, float]]]:
    """Face, unit and level of every clip, without drawing: numbers decide them."""
    units, levels = synthme.AUS, ladder.LEVELS
    return [(n // 16, (units[n % 16], levels[n % len(levels)])) for n in range(ladder.CLIPS)]


def test_every_unit_is_at_every_level_equally_often() -> None:
    assert len(synthme.AUS) == 16 and 0 in ladder.LEVELS
    counted = Counter(rung for _, rung in rungs())
    assert len(counted) == ROUND and set(counted.values()) == {ladder.CLIPS // ROUND}
    for face in range(ladder.FACES):
        units = Counter(unit for who, (unit, _) in rungs() if who == face)
        levels = Counter(level for who, (_, level) in rungs() if who == face)
        assert set(units.values()) == {1} and set(levels) == set(ladder.LEVELS)


def test_a_clip_is_named_after_its_unit_and_level() -> None:
    drawn = list(ladder.clips(8))
    for sample, (who, rung) in zip(drawn, rungs(), strict=False):
        assert ladder.rung(sample.clip) == rung and sample.subject == f"l{who:02d}"
        assert sample.id == f"synthme_ladder/{sample.subject}/{sample.clip}"
        unit, level = rung
        assert sample.aus == ((str(unit),) if level else ())
        assert sample.emotion is None and not list(sample.faults())
    (alone,) = ladder.clips(1, start=7)
    assert alone == drawn[7], "any clip can be drawn without those before it"
    assert drawn[0].clip == "au1_0px" and drawn[1].clip == "au2_0.1px"
    for clip in ("au12", "07", "au12_px", "au12_0.45", ""):
        with pytest.raises(InputError, match=r"such as au12_0\.45px"):
            ladder.rung(clip)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"), np.float32)


def test_a_still_clip_is_the_moved_one_without_its_movement(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = ladder.LEVELS
    (still,) = ladder.clips(1, start=0)
    assert ladder.rung(still.clip)[1] == 0
    monkeypatch.setattr(ladder, "LEVELS", (3.0, *levels[1:]))
    (moved,) = ladder.clips(1, start=0)
    assert still.nose == moved.nose and np.array_equal(pixels(still.onset), pixels(moved.onset))
    changed = np.abs(pixels(still.apex) - pixels(moved.apex)) > 0
    rows = np.flatnonzero(changed.mean(1) > 0.02)
    assert rows.size and rows.max() < still.nose[1], "AU1 moves the brows, and nothing below the nose"


def test_no_face_is_one_of_another_split() -> None:
    faces = {split: {synthme.drawn_from(split, 0, who, 0)[1] for who in range(300)} for split in ("train", "test")}
    own = {synthme.drawn_from("ladder", 0, who, 0)[1] for who in range(ladder.FACES)}
    assert len(own) == ladder.FACES and not own & faces["train"] and not own & faces["test"]
    assert len(faces["train"]) == len(faces["test"]) == 300 and not faces["train"] & faces["test"]
    assert {synthme.drawn_from("test", 0, 3, clip)[1] for clip in range(10)} < faces["test"], "a subject has one face"


def test_it_is_prepared_once_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "CLIPS", 8)
    folder = ladder.prepare(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert ladder.prepare(tmp_path) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    info = store.verify(ladder.NAME, tmp_path)
    assert "drawings version" in info["source"]
    assert [ladder.rung(row["clip"]) for row in store.read_columns(ladder.NAME, "test", ["clip"], tmp_path)] == [
        rung for _, rung in rungs()[:8]
    ]
