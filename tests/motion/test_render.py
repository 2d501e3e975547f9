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

import av
import cv2
import numpy as np
import pytest
from skimage import data

from mellm_plugin.datasets.synthme import Face, clips, draw_clip
from mellm_plugin.errors import ImageError, SettingsError
from mellm_plugin.motion import colour
from mellm_plugin.motion.cache import MotionCache
from mellm_plugin.motion.geometry import face_ellipse
from mellm_plugin.motion.head import HeadMotion
from mellm_plugin.motion.images import to_grey
from mellm_plugin.motion.render import MotionMap, map_doubts, motion_map, motion_maps, strength
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


def test_a_map_holds_its_flow_and_settings_and_is_grey_where_nothing_moves() -> None:
    clip = next(clips("flow", 1, seed=2))
    drawn = motion_map(clip.onset, clip.apex, QUICK)
    assert drawn.settings is QUICK and drawn.flow is drawn.facial.flow and drawn.head is drawn.facial.head
    assert drawn.image.dtype == np.uint8 and drawn.flow.dtype == np.float32
    picture = drawn.to_pil()
    assert picture.mode == "RGB" and np.array_equal(np.asarray(picture), drawn.image)
    assert drawn.coloured == np.mean(strength(drawn.flow, QUICK) > 0)
    assert 0 < drawn.coloured < 1 and drawn.facial.doubts == ()
    still = motion_map(clip.onset, clip.onset)
    assert still.coloured == 0 and len(still.doubts) == 1
    assert (still.image == to_grey(clip.onset, 8)[..., None]).all()
    for value in (0, 255):
        frame = np.full((40, 40), value, np.uint8)
        assert all((motion_map(frame, frame, settings).image == value).all() for settings in PRESETS.values())


def test_strength_is_the_formula() -> None:
    lengths = np.array([0.0, 0.06, 0.1, 0.3, 0.56, 1.0], np.float32)
    flow = np.zeros((224, 224, 2), np.float32)
    flow[100, 10:16, 0] = lengths
    expected = [1 - np.exp(-max(0.0, length - 0.06) / 0.5) for length in lengths]
    assert strength(flow, DEFAULT)[100, 10:16] == pytest.approx(expected, abs=1e-5)
    assert expected[4] == pytest.approx(0.632, abs=1e-3), "one knee above the floor"
    half = np.full((224, 224), 0.5, np.float32)
    assert strength(flow, DEFAULT, half)[100, 10:16] == pytest.approx(np.array(expected) / 2, abs=1e-5)
    twice = np.zeros((448, 448, 2), np.float32)
    twice[100, 10:16, 0] = 2 * lengths
    assert strength(twice, DEFAULT)[100, 10:16] == pytest.approx(expected, abs=1e-5), "px of the reference frame"


def test_large_motion_changes_nothing_elsewhere_and_keeps_its_shades() -> None:
    flow = np.random.default_rng(0).normal(0, 0.2, (224, 224, 2)).astype(np.float32)
    blink = flow.copy()
    blink[60:80, 60:160] += np.float32(4)  # 4 % of the frame
    rest = np.ones((224, 224), bool)
    rest[60:80, 60:160] = False
    assert np.array_equal(strength(flow, DEFAULT)[rest], strength(blink, DEFAULT)[rest])
    assert strength(blink, DEFAULT)[~rest].min() > 0.99
    large = np.zeros((224, 224, 2), np.float32)
    large[50:150, :, 1] = np.linspace(0, 8, 224, dtype=np.float32)
    row = strength(large, DEFAULT)[100]
    assert (np.diff(row[10:]) > 0).all() and row[-1] < 0.9
    assert row[200] - row[112] > 0.15, "with the fixed knee both would be full"


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


def test_the_published_preset_is_the_published_formula(photograph: Any) -> None:
    clip = photograph.moved(["12"], 1.5)
    onset, apex = (cv2.resize(frame, (72, 64), interpolation=cv2.INTER_AREA) for frame in (clip.onset, clip.apex))
    drawn = motion_map(onset, apex, PRESETS["published"], nose=(36.0, 38.0))
    assert drawn.facial.head_from == "nose"
    angle = np.degrees(np.arctan2(-drawn.flow[..., 1], drawn.flow[..., 0]))
    border = np.abs(np.abs((angle % 30) - 15)) < 0.05  # where OpenCV's angles may take the neighbour
    off = np.abs(drawn.image - published(drawn.flow, onset))
    assert border.mean() < 0.02 and off[~border].max() <= 1
    assert _colour(drawn.image).max() > 100


def test_only_the_published_estimator_needs_torch() -> None:
    code = "import sys, numpy as np; from mellm_plugin.motion import render, settings; a = np.eye(40, dtype=np.uint8);"
    code += "[render.motion_map(a, a, settings.MotionSettings(estimator=e)) for e in ('local', 'dis', 'farneback')];"
    code += "assert not {'torch', 'lmms_eval'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("estimator", "options"),
    [("farneback", {"workers": 1}), ("farneback", {"workers": 3}), ("tvl1", {"device": "cpu"})],
)
def test_many_are_those_drawn_singly_and_go_on_after_a_fault(
    tmp_path: Path, estimator: str, options: dict[str, Any]
) -> None:
    settings = replace(QUICK, estimator=estimator, head="nose", working_side=32, doubt_px=0.1)
    pairs: list[Any] = [
        (dots(0), dots(1)),
        (dots(0), dots(1, 64)),
        (dots(2, 40), dots(3, 40), (10, 12)),
        (dots(2), dots(3), (100, 12)),
        (tmp_path / "absent.png", dots(1)),
        (dots(4, 64), np.roll(dots(4, 64), 2, 1), None),
    ]
    if options.get("workers") == 3:
        options = {**options, "cache": MotionCache(tmp_path)}
        list(motion_maps(iter(pairs), settings, **options))
    found = list(motion_maps(iter(pairs), settings, **options))
    for number, text in ((1, "of one size"), (3, "inside the frame of 48x48"), (4, "no such file")):
        assert text in str(found[number]) and isinstance(found[number], ImageError)
    for (onset, apex, *nose), drawn in zip(pairs, found, strict=True):
        if isinstance(drawn, MotionMap):
            single = motion_map(onset, apex, settings, nose=nose[0] if nose else None)
            assert near(drawn, single) or (estimator == "tvl1" and np.allclose(drawn.flow, single.flow, atol=1e-3))
            assert np.abs(drawn.image.astype(int) - single.image).mean() < 0.5
            assert drawn.facial.head_from == single.facial.head_from and drawn.doubts == single.doubts
    assert [m.facial.head_from for m in found if isinstance(m, MotionMap)] == ["similarity", "nose", "similarity"]
    with pytest.raises(SettingsError, match="only the estimator tvl1 runs on one, found 'local'"):
        motion_maps(pairs, device="cpu")
    assert list(motion_maps([])) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_pairs_are_read_a_few_ahead_and_a_fault_of_the_source_is_raised(workers: int) -> None:
    read: list[int] = []

    def pairs() -> Iterator[tuple[Array, Array]]:
        for i in range(50):
            read.append(i)
            yield dots(i), dots(i + 1)

    def failing() -> Iterator[tuple[Array, Array]]:
        yield dots(0), dots(1)
        raise RuntimeError("the disk is gone")

    before = threading.active_count()
    maps = motion_maps(pairs(), QUICK, workers=workers)
    assert not read, "nothing before the first is asked for"
    for taken in range(1, 6):
        next(maps)
        assert len(read) <= taken + 2 * workers
    maps.close()  # type: ignore[attr-defined]
    assert len(read) < 50 and threading.active_count() == before, "a consumer that goes stops the work"
    with pytest.raises(RuntimeError, match="the disk is gone"):
        list(motion_maps(failing(), QUICK, workers=workers))


def test_a_still_face_in_shaky_compressed_video_is_doubtful() -> None:
    """A webcam of 640x480, noise of 8 grey levels, H.264 at CRF 32; the face was cut out of the frames."""
    picture, rng = data.astronaut()[:300, 60:460], np.random.default_rng(1)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "32"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for shift in np.cumsum(rng.normal(0, 0.5, (16, 2)), axis=0):
            matrix = np.hstack([1.6 * np.eye(2), shift[:, None]])
            frame = cv2.warpAffine(picture, matrix, (640, 480), flags=cv2.INTER_CUBIC)
            noisy = (frame + rng.normal(0, 8, frame.shape)).clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, "rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        frames = [frame.to_ndarray(format="gray")[50:320, 130:400] for frame in container.decode(video=0)]
    drawn = motion_map(frames[3], frames[12])
    assert drawn.coloured < 0.2
    (doubt,) = drawn.doubts
    assert "compression" in doubt and "hides motion below about" in doubt
    assert motion_map(frames[3], frames[12], PRESETS["published"]).doubts == (), "its colours always reach from 0 to 1"


def test_much_colour_on_the_face_is_doubtful() -> None:
    clip = draw_clip(Face(1), np.random.default_rng(1), ("12",), 2.0)
    facial = motion_map(clip.onset, clip.apex).facial
    height, width = facial.flow.shape[:2]
    flow = np.where(face_ellipse(height, width)[..., None], np.float32(0.1), facial.flow)
    (doubt,) = map_doubts(replace(facial, flow=flow, confidence=None), DEFAULT)
    assert "100 % of the face is coloured, 100 % only faintly" in doubt


def test_colour_beside_the_face_is_doubtful() -> None:
    clip = draw_clip(Face(1), np.random.default_rng(1), ("12",), 2.0)
    sound = motion_map(clip.onset, clip.apex)
    assert sound.doubts == ()
    flow = sound.flow.copy()
    flow[:, :30] += 3.0  # somebody passes behind
    (doubt,) = map_doubts(replace(sound.facial, flow=flow), DEFAULT)
    assert "of the colour is beside the face" in doubt
    assert map_doubts(replace(sound.facial, flow=flow, doubts=("a cut",)), DEFAULT) == ("a cut",)
