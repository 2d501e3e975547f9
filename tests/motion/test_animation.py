"""Animations as a viewer finds them: frames, times, hues, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mellm_plugin.datasets.synthme import Face, draw_clip
from mellm_plugin.errors import InputError
from mellm_plugin.motion import colour
from mellm_plugin.motion.animation import HELD_MS, SHOWN_MS, animate
from mellm_plugin.motion.images import read_pair
from mellm_plugin.motion.settings import MotionSettings

FAST = MotionSettings(estimator="farneback", smooth_px=2.0, floor_px=0.2)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """A still stretch, then one unit that is there at once, then still again."""
    drawn = draw_clip(Face(1), np.random.default_rng(1), ("12",), 2.0, head=0.0)
    onset, apex = read_pair(drawn.onset, drawn.apex)
    return np.stack([onset, onset, onset, apex, apex, apex, onset, onset, onset, onset])


@pytest.mark.parametrize("suffix", ["GIF", "webp", "apng"])
def test_frames_and_times(tmp_path: Path, frames: np.ndarray, suffix: str) -> None:
    made = animate(frames, 1, 4, FAST, tmp_path / f"clip.{suffix}", fps=200)
    assert made.indices == (1, 2, 3, 4, 5, 6, 7)
    assert [file.name for file in tmp_path.iterdir()] == [f"clip.{suffix}"]
    with Image.open(made.path) as picture:
        assert picture.width > 2 * 224 and picture.height > 224 + 32
        assert picture.n_frames == 7
        assert picture.info.get("loop") == 0
        times, coloured = [], []
        for i in range(7):
            picture.seek(i)
            page = np.asarray(picture.convert("RGB")).astype(int)
            times.append(picture.info["duration"])
            spread = np.ptp(page, axis=2)
            assert np.percentile(spread[:200, :200], 95) < 40  # the frame itself is grey
            coloured.append(spread[100:200, 230:454].max())
        assert times == [HELD_MS, SHOWN_MS, SHOWN_MS, HELD_MS, SHOWN_MS, SHOWN_MS, HELD_MS]
        assert max(coloured[0], coloured[5]) < 60 < 120 < min(coloured[2], coloured[3])


@pytest.mark.parametrize("palette", sorted(colour.PALETTES))
def test_a_gif_keeps_the_colours_of_the_legend(tmp_path: Path, frames: np.ndarray, palette: str) -> None:
    settings = MotionSettings(estimator="farneback", palette=palette)
    made = animate(frames, 1, 4, settings, tmp_path / "clip.gif")
    with Image.open(made.path) as picture:
        page = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    for name, rgb in colour.colours(palette):
        assert np.abs(page - np.array(rgb)).max(axis=1).min() <= 40, f"{name} is missing"


def test_long_large_and_short_clips(tmp_path: Path, frames: np.ndarray) -> None:
    """At most `most` frames of at most `side` px are shown, onset and apex among them; two frames are a clip."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 100, 640), dtype=np.uint8)
    for most in (3, 5):
        made = animate(np.repeat(noise, 300, axis=0), 7, 280, FAST, tmp_path / "a.webp", most=most, side=96)
        assert made.indices[0] == 7 and 280 in made.indices and list(made.indices) == sorted(set(made.indices))
        with Image.open(made.path) as picture:
            assert picture.n_frames == len(made.indices) <= most and picture.width == 2 * 96 + 6
    assert animate(frames[2:4], 0, 1, FAST, tmp_path / "a.gif").indices == (0, 1)


def test_all_faults_at_once_and_nothing_written(tmp_path: Path, frames: np.ndarray) -> None:
    with pytest.raises(InputError) as caught:
        animate(frames, 4, 1, FAST, tmp_path / "absent" / "a.mp4", most=1, side=5)
    assert len(caught.value.faults) == 5
    for words in (".gif", "no folder", "found 4 and 1", "found 1", "found 5"):
        assert words in str(caught.value)
    for onset, apex in ((-1, 3), (0, 10), (3, 3)):
        with pytest.raises(InputError, match="within 0..9"):
            animate(frames, onset, apex, FAST, tmp_path / "a.gif")
    with pytest.raises(InputError, match="uint8 array"):
        animate(frames[0], 0, 1, FAST, tmp_path / "a.gif")
    folder = tmp_path / "taken.gif"
    folder.mkdir()
    with pytest.raises(InputError, match="cannot write the animation"):
        animate(frames, 1, 4, FAST, folder)
    assert [file.name for file in tmp_path.iterdir()] == ["taken.gif"]
