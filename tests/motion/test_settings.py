"""Settings: ranges, presets, files; all faults at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mellm_plugin.errors import SettingsError
from mellm_plugin.motion.settings import DEFAULT, PRESETS, MotionSettings, resolve


def test_round_trip_through_a_folder(tmp_path: Path) -> None:
    settings = MotionSettings(floor_px=0.2, estimator="farneback")
    settings.save(tmp_path)
    assert MotionSettings.load(tmp_path) == settings == resolve(str(tmp_path / "motion.json"))


def test_all_faults_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        MotionSettings.from_dict({"floor": 0.1, "knee_px": -1, "estimator": "dsi"})
    assert len(caught.value.faults) == 3
    text = str(caught.value)
    assert "Did you mean 'floor_px'" in text and "Did you mean 'dis'" in text and "found -1" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.2", True, None])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(SettingsError, match="floor_px: expected a number"):
        MotionSettings(floor_px=value)  # type: ignore[arg-type]


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "motion.json"
    file.write_text('\ufeff{"floor_px": 0.2}', encoding="utf-8")
    assert MotionSettings.load(file).floor_px == 0.2


def test_nothing_is_no_settings() -> None:
    with pytest.raises(SettingsError, match="found ''"):
        resolve("")


def test_resolve() -> None:
    assert resolve("fast") is PRESETS["fast"]
    assert resolve({"preset": "fast", "floor_px": 0.3}) == MotionSettings("farneback", floor_px=0.3)
    assert resolve(DEFAULT) is DEFAULT
    with pytest.raises(SettingsError, match="Did you mean 'robust'"):
        resolve("robus")


@pytest.mark.parametrize("text", ["", "[1]", "{", '"robust"', '{"preset": []}', "[" * 100_000])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "motion.json"
    file.write_text(text)
    with pytest.raises(SettingsError, match="motion.json"):
        resolve(str(file))


def test_an_unknown_name_in_a_file_is_named_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "motion.json"
    file.write_text(json.dumps({"flor_px": 1}))
    with pytest.raises(SettingsError, match=r"motion\.json.*flor_px.*Did you mean"):
        MotionSettings.load(file)
