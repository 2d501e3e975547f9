"""Whole maps: one, many, and their colours."""

from __future__ import annotations

import colorsys
import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from mellm_plugin.datasets.synthme import Face, clips, draw_clip
from mellm_plugin.errors import ImageError, SettingsError
from mellm_plugin.motion import colour
from mellm_plugin.motion.cache import MotionCache
from mellm_plugin.motion.head import HeadMotion
from mellm_plugin.motion.images import to_grey
from mellm_plugin.motion.render import MotionMap, motion_map, motion_maps, strength
from mellm_plugin.motion.settings import DEFAULT, PRESETS, MotionSettings

Array = np.ndarray[Any, Any]

QUICK = MotionSettings(estimator="farneback", doubt_px=0)


def _colour(image: Array) -> Array:
    return np.ptp(image.astype(int), axis=2)


def dots(seed: int, side: int = 48) -> Array:
    noise = np.random.default_rng(seed).normal(0, 1, (side, side)).astype(np.float32)
    return (128 + 200 * cv2.GaussianBlur(noise, (0, 0), 1.5)).clip(0, 255).astype(np.uint8)


def near(first: MotionMap, second: MotionMap) -> bool:
    """The same flow, and pictures that differ by a rounding at most."""
    off = np.abs(first.image.astype(int) - second.image)
    return np.array_equal(first.flow, second.flow) and off.max() <= 1 and (off > 0).mean() < 1e-3


# One map


def test_identical_frames_give_the_grey_frame() -> None:
    clip = next(clips("test", 1))
    drawn = motion_map(clip.onset, clip.onset)
    assert drawn.coloured == 0
    assert (drawn.image == to_grey(clip.onset, 8)[..., None]).all()
    assert len(drawn.doubts) == 1


def test_a_map_holds_its_flow_and_settings() -> None:
    clip = next(clips("flow", 1, seed=2))
    drawn = motion_map(clip.onset, clip.apex, QUICK)
    assert drawn.settings is QUICK and drawn.flow is drawn.facial.flow and drawn.head is drawn.facial.head
    assert drawn.image.dtype == np.uint8 and drawn.flow.dtype == np.float32
    picture = drawn.to_pil()
    assert picture.mode == "RGB" and np.array_equal(np.asarray(picture), drawn.image)
    assert drawn.coloured == np.mean(strength(drawn.flow, QUICK) > 0)
    assert 0 < drawn.coloured < 1 and drawn.doubts == ()


def test_a_blink_does_not_darken_a_small_movement() -> None:
    face = Face(3)
    maps = []
    for blink in (False, True):
        clip = draw_clip(face, np.random.default_rng(5), ("12",), 0.8, head=0.0, blink=blink)
        maps.append(_colour(motion_map(clip.onset, clip.apex).image)[140:180, 60:160].mean())
    assert maps[1] > 0.9 * maps[0] > 1


def test_strength_is_in_units_of_the_frame() -> None:
    flow = np.full((224, 224, 2), 0.2, np.float32)
    twice = np.full((448, 448, 2), 0.4, np.float32)
    assert 0 < strength(flow, DEFAULT)[0, 0] == pytest.approx(strength(twice, DEFAULT)[0, 0], rel=1e-5)


def test_strength_is_the_formula() -> None:
    lengths = np.array([0.0, 0.06, 0.1, 0.3, 0.56, 1.0], np.float32)
    flow = np.zeros((224, 224, 2), np.float32)
    flow[100, 10:16, 0] = lengths
    expected = [1 - np.exp(-max(0.0, length - 0.06) / 0.5) for length in lengths]
    assert strength(flow, DEFAULT)[100, 10:16] == pytest.approx(expected, abs=1e-5)
    assert expected[4] == pytest.approx(0.632, abs=1e-3), "one knee above the floor"
    half = np.full((224, 224), 0.5, np.float32)
    assert strength(flow, DEFAULT, half)[100, 10:16] == pytest.approx(np.array(expected) / 2, abs=1e-5)


def test_a_large_motion_of_a_small_part_changes_nothing_elsewhere() -> None:
    flow = np.random.default_rng(0).normal(0, 0.2, (224, 224, 2)).astype(np.float32)
    blink = flow.copy()
    blink[60:80, 60:160] += np.float32(4)  # 4 % of the frame
    rest = np.ones((224, 224), bool)
    rest[60:80, 60:160] = False
    assert np.array_equal(strength(flow, DEFAULT)[rest], strength(blink, DEFAULT)[rest])
    assert strength(blink, DEFAULT)[~rest].min() > 0.99


def test_strong_motion_of_a_large_part_keeps_its_shades() -> None:
    flow = np.zeros((224, 224, 2), np.float32)
    flow[50:150, :, 1] = np.linspace(0, 8, 224, dtype=np.float32)
    row = strength(flow, DEFAULT)[100]
    assert (np.diff(row[10:]) > 0).all() and row[-1] < 0.9
    assert row[200] - row[112] > 0.15, "with the fixed knee both would be full"
    assert (1 - np.exp(-(flow[100, 112, 1] - 0.06) / 0.5)) > 0.99


# Sizes


@pytest.mark.parametrize("side", [336, 1792])
def test_the_same_clip_in_a_larger_frame_shows_the_same_motion(side: int) -> None:
    clip = next(clips("flow", 1, seed=2))
    plain = motion_map(clip.onset, clip.apex)
    frames = [cv2.resize(frame, (side, side), interpolation=cv2.INTER_CUBIC) for frame in (clip.onset, clip.apex)]
    large = motion_map(*frames)
    assert large.image.shape == (side, side, 3)
    assert large.head is not None and plain.head is not None
    assert large.head.tx * 224 / side == pytest.approx(plain.head.tx, abs=0.1)
    assert large.coloured == pytest.approx(plain.coloured, abs=0.1)
    back = cv2.resize(large.flow, (224, 224), interpolation=cv2.INTER_AREA) * 224 / side
    assert np.linalg.norm(back - plain.flow, axis=-1)[50:180, 60:164].mean() < 0.12


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (340, 280), (61, 200), (1088, 2040)])
def test_any_size(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.integers(0, 256, size, dtype=np.uint8), (0, 0), 2)
    for name, settings in PRESETS.items():
        if name == "robust" or max(size) < 300:
            image = motion_map(frame, np.roll(frame, 1, 1), settings).image
            assert image.shape == (*size, 3) and image.dtype == np.uint8


def test_4k(photograph: Any) -> None:
    clip = photograph.moved(["12"], head=HeadMotion())
    frames = [
        cv2.resize(np.pad(frame, ((0, 0), (87, 87)), mode="reflect"), (3840, 2160), interpolation=cv2.INTER_CUBIC)
        for frame in (clip.onset, clip.apex)
    ]
    drawn = motion_map(*frames)
    assert drawn.image.shape == (2160, 3840, 3) and drawn.doubts == ()
    small = motion_map(clip.onset, clip.apex)
    back = cv2.resize(drawn.flow, (398, 224), interpolation=cv2.INTER_AREA)[:, 87:-87] * 224 / 2160
    assert np.linalg.norm(back - small.flow, axis=-1)[photograph.INNER].mean() < 0.03
    moving = np.linalg.norm(small.flow, axis=-1) > 0.3
    shown = cv2.resize(drawn.image, (398, 224), interpolation=cv2.INTER_AREA)[:, 87:-87]
    assert _colour(shown)[moving].mean() > 0.9 * _colour(small.image)[moving].mean() > 60


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_saturated_frames_stay_grey(value: int) -> None:
    frame = np.full((64, 64), value, np.uint8)
    for settings in PRESETS.values():
        assert (motion_map(frame, frame, settings).image == value).all()


# Colours


@pytest.mark.parametrize("palette", colour.PALETTES)
@pytest.mark.parametrize("overlay", colour.OVERLAYS)
def test_the_colours_read_back_as_the_flow(photograph: Any, palette: str, overlay: str) -> None:
    clip = photograph.moved(["12", "4"], 1.5, light=lambda apex: apex)
    dark = [(frame * 0.4).astype(np.uint8) for frame in (clip.onset, clip.apex)]  # so that few sums are cut off
    drawn = motion_map(*dark, replace(DEFAULT, palette=palette, overlay=overlay))
    strong = strength(drawn.flow, drawn.settings, drawn.facial.confidence) > 0.3
    assert strong.sum() > 500
    read = colour.read_bins(drawn.image, palette)
    assert (read == colour.bin_index(drawn.flow))[strong].mean() > (0.99 if overlay == "blend" else 0.95)
    if overlay == "blend":
        other = next(name for name in colour.PALETTES if name != palette)
        assert (colour.read_bins(drawn.image, other) == read)[strong].mean() < 0.9, "palettes differ"


def published(flow: Array, grey: Array) -> Array:
    """The published picture, pixel by pixel: hue minus the angle in steps of 30 degrees, value min-max, added."""
    length = np.hypot(flow[..., 0].astype(float), flow[..., 1])
    value = (length - length.min()) / (length.max() - length.min())
    angle = np.degrees(np.arctan2(-flow[..., 1].astype(float), flow[..., 0]))
    hue = (-30 * np.round(angle / 30)) % 360
    out = np.empty((*grey.shape, 3))
    for y, x in np.ndindex(grey.shape):
        out[y, x] = 255 * np.array(colorsys.hsv_to_rgb(hue[y, x] / 360, 1.0, value[y, x])) + grey[y, x]
    return out.clip(0, 255)


@pytest.mark.parametrize("nose", [(36.0, 38.0), None])
def test_the_published_preset_is_the_published_formula(photograph: Any, nose: tuple[float, float] | None) -> None:
    clip = photograph.moved(["12"], 1.5)
    onset, apex = (cv2.resize(frame, (72, 64), interpolation=cv2.INTER_AREA) for frame in (clip.onset, clip.apex))
    drawn = motion_map(onset, apex, PRESETS["published"], nose=nose)
    assert drawn.facial.head_from == ("nose" if nose else "similarity")
    angle = np.degrees(np.arctan2(-drawn.flow[..., 1], drawn.flow[..., 0]))
    border = np.abs(np.abs((angle % 30) - 15)) < 0.05  # where OpenCV's angles may take the neighbour
    off = np.abs(drawn.image - published(drawn.flow, onset))
    assert border.mean() < 0.02 and off[~border].max() <= 1
    assert _colour(drawn.image).max() > 100


def test_only_the_published_estimator_needs_torch() -> None:
    code = (
        "import sys, numpy as np\n"
        "from mellm_plugin.motion.render import motion_map\n"
        "from mellm_plugin.motion.settings import PRESETS, MotionSettings\n"
        "onset = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)\n"
        "for estimator in ('local', 'dis', 'farneback'):\n"
        "    motion_map(onset, np.roll(onset, 1, 1), MotionSettings(estimator=estimator))\n"
        "assert 'torch' not in sys.modules and 'lmms_eval' not in sys.modules\n"
        "motion_map(onset, np.roll(onset, 1, 1), PRESETS['published'])\n"
        "assert 'torch' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Frames that cannot be used


def test_all_faults_of_a_pair_at_once(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        motion_map(tmp_path / "onset.png", dots(0, 16))
    assert "no such file" in str(caught.value) and "at least 32 px" in str(caught.value)


def test_a_picture_that_was_opened_and_not_read_may_be_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)  # lmms-eval sets it
    file = io.BytesIO()
    Image.fromarray(dots(0)).save(file, "PNG")
    damaged = Image.open(io.BytesIO(file.getvalue()[: len(file.getvalue()) // 2]))
    with pytest.raises(ImageError, match="onset: the image cannot be read"):
        motion_map(damaged, dots(0))
    whole = Image.open(io.BytesIO(file.getvalue()))
    assert near(motion_map(whole, dots(1)), motion_map(dots(0), dots(1)))


# Many maps


@pytest.mark.parametrize("workers", [1, 3])
def test_many_keep_their_order_and_go_on_after_a_fault(tmp_path: Path, workers: int) -> None:
    pairs: list[Any] = [
        (dots(0), dots(1)),
        (dots(0), dots(1, 64)),
        (dots(2), dots(3), (10, 12)),
        (dots(2), dots(3), (100, 12)),
        (tmp_path / "absent.png", dots(1)),
        (dots(2), dots(3), None),
        (dots(4), dots(4)),
    ]
    settings = replace(QUICK, head="nose")
    found = list(motion_maps(pairs, settings, workers=workers))
    faults = ["of one size", "inside the frame of 48x48", "no such file"]
    for index, text in zip((1, 3, 4), faults, strict=True):
        error = found[index]
        assert isinstance(error, ImageError) and text in str(error)
    for index in (0, 2, 5, 6):
        drawn, (onset, apex, *nose) = found[index], pairs[index]
        assert isinstance(drawn, MotionMap)
        assert near(drawn, motion_map(onset, apex, settings, nose=nose[0] if nose else None))
        assert drawn.facial.head_from == ("nose" if index == 2 else "similarity")
    assert len(found) == len(pairs)


def test_workers_and_cache_change_no_pixel(tmp_path: Path) -> None:
    pairs = [(clip.onset, clip.apex) for clip in clips("maps", 4, seed=1)]
    plain = list(motion_maps(pairs))
    cache = MotionCache(tmp_path)
    for maps in (
        motion_maps(pairs, workers=3),
        motion_maps(pairs, workers=3, cache=cache),
        motion_maps(pairs, workers=1, cache=cache),
        motion_maps(pairs, cache=MotionCache(tmp_path)),
    ):
        for first, second in zip(plain, maps, strict=True):
            assert isinstance(first, MotionMap) and isinstance(second, MotionMap) and near(first, second)
    assert len(list(tmp_path.rglob("output.pkl"))) == 4


@pytest.mark.parametrize("workers", [1, 3])
def test_pairs_are_read_a_few_ahead(workers: int) -> None:
    read: list[int] = []

    def pairs() -> Iterator[tuple[Array, Array]]:
        for i in range(50):
            read.append(i)
            yield dots(i), dots(i + 1)

    before = threading.active_count()
    maps = motion_maps(pairs(), QUICK, workers=workers)
    assert not read, "nothing before the first is asked for"
    for taken in range(1, 6):
        next(maps)
        assert len(read) <= taken + 2 * workers
    maps.close()  # type: ignore[attr-defined]
    assert len(read) < 50 and threading.active_count() == before, "a consumer that goes stops the work"


def test_a_fault_of_the_source_is_not_swallowed() -> None:
    def pairs() -> Iterator[tuple[Array, Array]]:
        yield dots(0), dots(1)
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        list(motion_maps(pairs(), QUICK))


def test_on_a_device_they_are_the_same_maps(tmp_path: Path) -> None:
    pairs: list[Any] = [
        (dots(0), dots(1)),
        (dots(0, 40), dots(1, 40), (20, 20)),
        (tmp_path / "absent.png", dots(1)),
        (dots(2), dots(3), (30, 31)),
        (dots(2), dots(3), (99, 31)),
        (dots(4, 64), np.roll(dots(4, 64), 2, 1), None),
    ]
    settings = MotionSettings(estimator="tvl1", head="nose", working_side=32)
    plain = list(motion_maps(pairs, settings))
    found = list(motion_maps(iter(pairs), settings, device="cpu"))
    assert len(found) == len(plain)
    for first, second in zip(plain, found, strict=True):
        if isinstance(first, ImageError):
            assert isinstance(second, ImageError) and str(first) == str(second)
        else:
            assert isinstance(second, MotionMap)
            assert np.allclose(first.flow, second.flow, atol=1e-3)
            assert first.facial.head_from == second.facial.head_from and first.doubts == second.doubts
            assert np.abs(first.image.astype(int) - second.image).mean() < 0.5


def test_a_device_is_for_tvl1_alone_and_no_pairs_give_no_maps() -> None:
    with pytest.raises(SettingsError, match="only the estimator tvl1 runs on one, found 'local'"):
        motion_maps([(dots(0), dots(1))], device="cpu")
    assert list(motion_maps([])) == []
