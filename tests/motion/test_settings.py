"""Settings: ranges, presets, files; all faults at once."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest

from mellm_plugin.errors import SettingsError
from mellm_plugin.motion.settings import DEFAULT, PRESETS, MotionSettings, resolve
from mellm_plugin.settings import help_of


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "motion.json"
    file.write_text('\ufeff{"floor_px": 0.2}', encoding="utf-8")
    assert MotionSettings.load(file).floor_px == 0.2


def test_nothing_is_no_settings() -> None:
    with pytest.raises(SettingsError, match="found ''"):
        resolve("")


def test_resolve() -> None:
    published = PRESETS["published"]
    assert resolve("published") is published
    assert resolve({"preset": "published", "floor_px": 0.3}) == replace(published, floor_px=0.3)
    assert resolve({"floor_px": 0.3}) == replace(DEFAULT, floor_px=0.3)
    assert resolve(DEFAULT) is DEFAULT
    with pytest.raises(SettingsError, match="Did you mean 'robust'"):
        resolve("robus")


def test_the_presets() -> None:
    assert list(PRESETS) == ["robust", "published"]
    assert PRESETS["robust"] == DEFAULT == MotionSettings() == MotionSettings.preset("robust")
    assert (DEFAULT.estimator, DEFAULT.head, DEFAULT.scale, DEFAULT.overlay) == (
        "local",
        "similarity",
        "fixed",
        "blend",
    )
    # What MELLM's paper does, and nothing that it does not: no other size, no smoothing, no fading.
    published = MotionSettings.preset("published")
    assert (published.estimator, published.head, published.scale, published.overlay) == (
        "tvl1",
        "nose",
        "minmax",
        "add",
    )
    assert (published.working_side, published.smooth_px, published.doubt_px) == (0, 0, 0)
    assert published.palette == "standard"


def test_a_preset_that_was_removed_is_refused() -> None:
    for given in ("fast", {"preset": "fast"}):
        with pytest.raises(SettingsError, match="'fast'") as caught:
            resolve(given)
        assert "robust, published" in str(caught.value)


def test_settings_of_the_previous_version_load(tmp_path: Path) -> None:
    old = {"estimator": "dis", "head": "similarity", "smooth_px": 2.0, "floor_px": 0.15, "knee_px": 0.8}
    (tmp_path / "motion.json").write_text(json.dumps(old))
    found = MotionSettings.load(tmp_path)
    assert {name: found.to_dict()[name] for name in old} == old
    assert found == replace(DEFAULT, **old)


CHOICES = {
    "estimator": ("local", "dis", "farneback", "tvl1"),
    "head": ("similarity", "nose", "none"),
    "scale": ("fixed", "minmax"),
    "overlay": ("blend", "add"),
    "palette": ("standard", "colour-blind"),
}
RANGES = {
    "working_side": (32, 4096),
    "smooth_px": (0, 20),
    "doubt_px": (0, 5),
    "floor_px": (0, 5),
    "knee_px": (0.05, 20),
}


def test_every_field_is_tested_and_has_a_help_text() -> None:
    assert {f.name for f in fields(MotionSettings)} == CHOICES.keys() | RANGES.keys()
    assert all(len(text) > 10 for text in help_of(MotionSettings).values())
    assert help_of(MotionSettings).keys() == CHOICES.keys() | RANGES.keys()


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name: str) -> None:
    for value in CHOICES[name]:
        settings = replace(DEFAULT, **{name: value})
        assert MotionSettings.from_dict(settings.to_dict()) == settings
    for wrong in (CHOICES[name][-1][:-1], CHOICES[name][0].upper(), "", None, 1, [], True):
        with pytest.raises(SettingsError, match=f"{name}: expected one of {', '.join(CHOICES[name])}, found"):
            replace(DEFAULT, **{name: wrong})


@pytest.mark.parametrize("name", RANGES)
def test_ranges(name: str, tmp_path: Path) -> None:
    low, high = RANGES[name]
    for value in (low, high, (low + high) / 2):
        settings = replace(DEFAULT, **{name: value})
        settings.save(tmp_path / "a.json")
        assert MotionSettings.load(tmp_path / "a.json") == settings
    for wrong in (low - 0.01, high + 0.01, 10**400, 10**5000, float("nan"), float("inf"), "1", None, True, [1]):
        with pytest.raises(SettingsError, match=f"{name}: expected (0, or )?a number from {low:g} to {high:g}, found"):
            replace(DEFAULT, **{name: wrong})


def test_every_preset_goes_through_a_file(tmp_path: Path) -> None:
    for settings in PRESETS.values():
        settings.save(tmp_path)
        assert resolve(str(tmp_path)) == settings == resolve(str(tmp_path / "motion.json"))
        assert [file.name for file in tmp_path.iterdir()] == ["motion.json"], "a temporary file is left"


def test_all_fields_may_be_wrong_at_once(tmp_path: Path) -> None:
    wrong = {name: "x" for name in CHOICES} | {name: -1 for name in RANGES} | {"flor_px": 1, "estimator": "dsi"}
    (tmp_path / "motion.json").write_text(json.dumps(wrong))
    with pytest.raises(SettingsError, match=r"motion\.json") as caught:
        MotionSettings.load(tmp_path)
    assert len(caught.value.faults) == len(wrong)
    for name in wrong:
        assert any(fault.startswith(f"{name}:") for fault in caught.value.faults)
    assert "Did you mean 'floor_px'" in str(caught.value) and "Did you mean 'dis'" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1]", "{", '"robust"', '{"preset": []}', "[" * 100_000])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "motion.json"
    file.write_text(text)
    with pytest.raises(SettingsError, match="motion.json"):
        resolve(str(file))


@pytest.mark.parametrize(
    "text", ["[" * 10**5, '{"floor_px":' + "[" * 900 + "]" * 900 + "}", '{"a":' * 60 + "1" + "}" * 60]
)
def test_a_file_that_is_nested_without_end_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "motion.json").write_text(text)
    with pytest.raises(SettingsError, match="at most 50 levels of nesting"):
        MotionSettings.load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for given in (str(tmp_path / "pipe"), "/dev/zero"):
        with pytest.raises(SettingsError, match="found a device or a pipe"):
            resolve(given)
