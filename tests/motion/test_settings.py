"""Settings: ranges, presets, files; all faults at once."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

import pytest

from mellm_plugin.errors import SettingsError
from mellm_plugin.motion.settings import DEFAULT, PRESETS, MotionSettings, resolve
from mellm_plugin.settings import help_of


def test_resolve(tmp_path: Path) -> None:
    published = PRESETS["published"]
    assert resolve("published") is published and resolve(DEFAULT) is DEFAULT
    assert resolve({"preset": "published", "floor_px": 0.3}) == replace(published, floor_px=0.3)
    assert resolve({"floor_px": 0.3}) == replace(DEFAULT, floor_px=0.3)
    for settings in PRESETS.values():
        settings.save(tmp_path)
        assert resolve(str(tmp_path)) == settings == resolve(str(tmp_path / "motion.json"))
        assert [file.name for file in tmp_path.iterdir()] == ["motion.json"], "a temporary file is left"
    (tmp_path / "motion.json").write_text('\ufeff{"floor_px": 0.2, "estimator": "dis"}', encoding="utf-8")
    assert MotionSettings.load(tmp_path) == replace(DEFAULT, floor_px=0.2, estimator="dis")
    for wrong, words in (("robus", "Did you mean 'robust'"), ("", "found ''"), ({"preset": "a"}, "robust, published")):
        with pytest.raises(SettingsError, match=words):
            resolve(wrong)


def test_the_presets() -> None:
    assert list(PRESETS) == ["robust", "published"]
    assert PRESETS["robust"] == DEFAULT == MotionSettings() == MotionSettings.preset("robust")
    ways = (DEFAULT.estimator, DEFAULT.head, DEFAULT.scale, DEFAULT.overlay)
    assert ways == ("local", "similarity", "fixed", "blend")
    # What MELLM's paper does, and nothing that it does not: no other size, no smoothing, no fading.
    published = MotionSettings.preset("published")
    ways = (published.estimator, published.head, published.scale, published.overlay)
    assert ways == ("tvl1", "nose", "minmax", "add")
    assert (published.working_side, published.smooth_px, published.doubt_px) == (0, 0, 0)
    assert published.palette == "standard"


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


@pytest.mark.parametrize("name", [*CHOICES, *RANGES])
def test_choices_and_ranges(name: str) -> None:
    low, high = RANGES.get(name, (0, 0))
    right = CHOICES.get(name, (low, high, (low + high) / 2))
    for value in right:
        settings = replace(DEFAULT, **{name: value})
        assert MotionSettings.from_dict(settings.to_dict()) == settings
    expected = f"one of {', '.join(map(str, right))}" if name in CHOICES else f"(0, or )?a number from {low} to {high}"
    for wrong in (low - 0.01, high + 0.01, 10**5000, float("nan"), "BLEND", None, True):
        with pytest.raises(SettingsError, match=f"{name}: expected {expected}, found"):
            replace(DEFAULT, **{name: wrong})


BROKEN = ("", "[1]", '"robust"', '{"preset": []}', '{"flor_px": 1}', "[" * 10**5, '{"a":' * 60 + "1" + "}" * 60)


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "motion.json").write_text(text)
    with pytest.raises(SettingsError, match=r"motion\.json" if len(text) < 99 else "at most 50 levels of nesting"):
        resolve(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="found a device or a pipe"):
        resolve(str(tmp_path / "pipe"))
