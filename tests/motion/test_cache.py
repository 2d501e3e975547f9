"""Flows kept on disk: the same bits back, nothing stale, damage mended, a bound kept, many processes at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import platformdirs
import pytest

from mellm_plugin.errors import ImageError, SettingsError
from mellm_plugin.motion import cache as module
from mellm_plugin.motion.cache import GIGABYTES, MotionCache, cache_folder, default_cache
from mellm_plugin.motion.facial import FacialFlow, Pair, facial_flow, measure, working_pair
from mellm_plugin.motion.render import motion_map
from mellm_plugin.motion.settings import DEFAULT, MotionSettings

Array = np.ndarray[Any, Any]

NOSE = MotionSettings(head="nose")


def frames(seed: int = 0, size: int = 48) -> tuple[Array, Array]:
    noise = np.random.default_rng(seed).normal(0, 1, (size, size + 2)).astype(np.float32)
    picture = (128 + 200 * cv2.GaussianBlur(noise, (0, 0), 1.5)).clip(0, 255).astype(np.uint8)
    return picture[:, :-2].copy(), picture[:, 1:-1].copy()


def pair(seed: int = 0, settings: MotionSettings = DEFAULT, nose: tuple[float, float] | None = None) -> Pair:
    return working_pair(*frames(seed), settings, nose)


def entries(cache: MotionCache) -> list[Path]:
    """Files of the flows, the one last written at the end."""
    return sorted(cache.folder.rglob("output.pkl"), key=lambda file: file.stat().st_mtime_ns)


def same(first: FacialFlow, second: FacialFlow, bits: bool = False) -> bool:
    """Whether two flows are one; without `bits` the last ones of the confidence may differ, as OpenCV's root does."""
    unsure = [np.zeros(1) if found.confidence is None else found.confidence for found in (first, second)]
    rest = [(found.head, found.head_from, found.doubts, found.flow.dtype) for found in (first, second)]
    near = unsure[0].shape == unsure[1].shape and np.allclose(*unsure, rtol=0, atol=0 if bits else 1e-6)
    return near and np.array_equal(first.flow, second.flow) and rest[0] == rest[1]


@pytest.mark.parametrize(
    ("settings", "nose"),
    [(DEFAULT, None), (NOSE, (20.0, 30.0)), (MotionSettings(estimator="farneback", head="none", doubt_px=0), None)],
)
def test_a_hit_is_what_was_measured(tmp_path: Path, settings: MotionSettings, nose: tuple[float, float] | None) -> None:
    given = pair(0, settings, nose)
    first = MotionCache(tmp_path).measure(given, settings)
    before = [(file, file.stat().st_mtime_ns) for file in entries(MotionCache(tmp_path))]
    again = MotionCache(tmp_path).measure(pair(0, settings, nose), settings)
    assert same(first, measure(given, settings)) and same(again, first, bits=True)
    assert len(before) == 1 and before == [(file, file.stat().st_mtime_ns) for file in entries(MotionCache(tmp_path))]
    again.flow[:] = 7  # a caller may change what it was given
    assert same(MotionCache(tmp_path).measure(given, settings), first, bits=True)


def test_a_hit_is_read_from_the_folder_and_comes_back_in_px_of_the_frame(tmp_path: Path) -> None:
    cache = MotionCache(tmp_path / "a")
    cache.measure(pair(1), DEFAULT)
    (first,) = entries(cache)
    other = cache.measure(pair(2), DEFAULT)
    (second,) = set(entries(cache)) - {first}
    shutil.copy(second, first)  # so that a hit can be told from a measurement
    assert same(MotionCache(tmp_path / "a").measure(pair(1), DEFAULT), other, bits=True)
    onset, apex = frames(size=96)
    settings = replace(DEFAULT, working_side=48)
    for _ in range(2):
        drawn = motion_map(onset, apex, settings, cache=MotionCache(tmp_path / "b"))
        assert same(drawn.facial, facial_flow(onset, apex, settings))


MEASURING: list[tuple[MotionSettings, tuple[float, float] | None]] = [
    (replace(NOSE, estimator="dis"), (20, 30)),
    (replace(NOSE, head="similarity"), (20, 30)),
    (replace(NOSE, smooth_px=1.5), (20, 30)),
    (replace(NOSE, doubt_px=0.2), (20, 30)),
    (NOSE, (20, 31)),
    (NOSE, None),
]
PAINTING = {"palette": "colour-blind", "floor_px": 0.5, "knee_px": 2, "overlay": "add", "scale": "minmax"}


@pytest.fixture
def warm(tmp_path: Path) -> MotionCache:
    """With one flow in it."""
    cache = MotionCache(tmp_path)
    cache.measure(pair(0, NOSE, (20, 30)), NOSE)
    return cache


def test_settings_of_the_measurement_and_the_nose_are_in_the_key(warm: MotionCache) -> None:
    for count, (settings, nose) in enumerate(MEASURING, 2):
        given = pair(0, settings, nose)
        assert same(warm.measure(given, settings), measure(given, settings))
        assert len(entries(warm)) == count
    warm.measure(pair(0, replace(NOSE, head="similarity"), (1, 2)), replace(NOSE, head="similarity"))
    assert len(entries(warm)) == count, "a nose that the settings do not use is in the key"


def test_settings_of_the_painting_are_not_in_the_key(warm: MotionCache) -> None:
    measuring = {"estimator", "head", "smooth_px", "doubt_px"}
    known = {*measuring, *PAINTING, "working_side"}
    assert known == set(DEFAULT.to_dict()), "a new setting: does it affect the measurement?"
    for name, value in (*PAINTING.items(), ("working_side", 100)):
        settings = replace(NOSE, **{name: value})
        drawn = motion_map(*frames(), settings, nose=(20, 30), cache=warm)
        plain = motion_map(*frames(), settings, nose=(20, 30))
        assert np.abs(drawn.image.astype(int) - plain.image).max() <= 1
    assert len(entries(warm)) == 1


def test_each_pixel_and_the_order_of_the_frames_are_in_the_key(warm: MotionCache) -> None:
    for which in (0, 1):
        changed = list(frames())
        changed[which][5, 6] ^= 1
        warm.measure(working_pair(changed[0], changed[1], NOSE, (20, 30)), NOSE)
    warm.measure(working_pair(*frames()[::-1], NOSE, (20, 30)), NOSE)
    for _ in range(2):
        with pytest.raises(ImageError, match="nose"):
            motion_map(*frames(), NOSE, nose=(99, 0), cache=warm)
    assert len(entries(warm)) == 4, "an error is not kept"


def test_a_damaged_entry_is_measured_again(tmp_path: Path) -> None:
    cache = MotionCache(tmp_path)
    expected = cache.measure(pair(), DEFAULT)
    (file,) = entries(cache)
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-20], b"no flow" * 100):
        file.write_bytes(damaged)
        assert same(cache.measure(pair(), DEFAULT), expected)
        assert entries(cache) == [file] and file.stat().st_size == len(whole), "it is mended"
    for file in [file for file in tmp_path.rglob("*") if file.is_file()]:
        file.write_bytes(file.read_bytes()[:3])
    assert same(MotionCache(tmp_path).measure(pair(), DEFAULT), expected)
    shutil.rmtree(cache.folder)
    assert same(cache.measure(pair(), DEFAULT), expected) and len(entries(cache)) == 1


FULL = """
import resource, signal, sys
import numpy as np
from mellm_plugin.motion.cache import MotionCache
from mellm_plugin.motion.facial import measure, working_pair
from mellm_plugin.motion.settings import DEFAULT

onset = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
pair = working_pair(onset, np.roll(onset, 1, 1), DEFAULT)
cache = MotionCache(sys.argv[1])
if sys.argv[2] == "later":
    cache.measure(working_pair(onset[::-1].copy(), onset, DEFAULT), DEFAULT)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
for _ in range(2):
    assert np.array_equal(cache.measure(pair, DEFAULT).flow, measure(pair, DEFAULT).flow)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_full_disk_costs_a_warning(tmp_path: Path, when: str) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path), when]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" in done.stderr and "File too large" in done.stderr


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = MotionCache(tmp_path)
    files = []
    for seed in range(5):
        cache.measure(pair(seed), DEFAULT)
        (new,) = set(entries(cache)) - set(files)
        files.append(new)
    age = {0: 10, 1: 500, 2: 20, 3: 400, 4: 30}
    for seed, file in enumerate(files):
        os.utime(file, (1_700_000_000 - age[seed], file.stat().st_mtime))
    size = sum(file.stat().st_size for file in files) / 5
    small = MotionCache(tmp_path, 3.5 * size / 1e9)
    small.trim()
    assert set(entries(small)) == {files[0], files[2], files[4]}
    MotionCache(tmp_path).trim()
    assert len(entries(cache)) == 3, "within its bound nothing goes"


def test_the_limit_is_enforced_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TRIM_EVERY", 4)
    MotionCache(tmp_path).measure(pair(0), DEFAULT)
    size = entries(MotionCache(tmp_path))[0].stat().st_size
    cache = MotionCache(tmp_path, 2.5 * size / 1e9)
    counts = []
    for seed in range(1, 10):
        for _ in range(2):  # hits do not count
            cache.measure(pair(seed), DEFAULT)
        counts.append(len(entries(cache)))
    assert counts == [2, 3, 4, 5, 2, 3, 4, 5, 2]


TOGETHER = """
import hashlib, itertools, random, sys, time, warnings
from pathlib import Path
import numpy as np
from mellm_plugin.motion import cache as module
from mellm_plugin.motion.facial import working_pair
from mellm_plugin.motion.settings import DEFAULT

warnings.simplefilter("error")
folder, number, gigabytes = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
pairs = []
for seed in range(8):
    onset = np.random.default_rng(seed).integers(0, 256, (40, 40), dtype=np.uint8)
    pairs.append(working_pair(onset, np.roll(onset, 1, 1), DEFAULT))
module._TRIM_EVERY = 1
(folder / f"ready{number}").touch()
while len(list(folder.glob("ready*"))) < 4:
    time.sleep(0.005)
cache = module.MotionCache(folder / "flows", gigabytes)
found = {}
for turn in range(3):
    for i in random.Random(number * turn).sample(range(8), 8):
        digest = hashlib.sha256(cache.measure(pairs[i], DEFAULT).flow.tobytes()).hexdigest()
        assert found.setdefault(i, digest) == digest
print(*(found[i] for i in range(8)))
"""


def test_four_processes_share_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TOGETHER, str(tmp_path)]
    running = [
        subprocess.Popen([*command, str(i), gigabytes], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for i, gigabytes in enumerate(("1", "1", "0.0001", "0.0001"))  # two remove what the others write and read
    ]
    said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * 4, "".join(errors for _, errors in said)
    assert len({out for out, _ in said}) == 1 and len(set(said[0][0].split())) == 8
    flows = tmp_path / "flows"
    assert not [file for file in flows.rglob("*") if "thread" in file.name], "a temporary file is left"


def test_the_default_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLM_CACHE", str(tmp_path / "a" / "b"))
    cache = default_cache()
    assert cache is not None and cache is default_cache()
    assert cache.folder == cache_folder() == tmp_path / "a" / "b" and cache.gigabytes == GIGABYTES
    monkeypatch.setenv("MELLM_CACHE_GB", "0.25")
    resized = default_cache()
    assert resized is not None and resized.gigabytes == 0.25
    for size in ("much", "0", "-1", "nan", "1,5"):
        monkeypatch.setenv("MELLM_CACHE_GB", size)
        with pytest.raises(SettingsError, match="number of gigabytes"):
            default_cache()
    monkeypatch.delenv("MELLM_CACHE_GB")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.delenv("MELLM_CACHE")
    cache = default_cache()
    assert cache is not None and cache.folder == tmp_path / "mellm-plugin" / "motion"
    monkeypatch.setenv("MELLM_CACHE", "off")
    assert default_cache() is None and cache_folder() is None


def test_a_folder_that_cannot_be_made_costs_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("MELLM_CACHE", str(place))
        with pytest.warns(UserWarning, match="no motion cache: .*cannot create the folder.*set MELLM_CACHE"):
            assert default_cache() is None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert default_cache() is None, "one warning, not one for every clip"
        with pytest.raises(SettingsError, match="cannot create the folder"):
            MotionCache(place)
