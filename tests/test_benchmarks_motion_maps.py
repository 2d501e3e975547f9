"""The benchmark of the motion maps: its truth, its bound, its scores and the file it writes into. Nothing is timed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

import mellm_plugin
from mellm_plugin.datasets.synthme import AUS
from mellm_plugin.motion.render import motion_map

ROOT = Path(__file__).parents[1]
PACKAGES = Path(mellm_plugin.__file__).parents[1]  # the folder that holds this package
FILE = ROOT / "benchmarks" / "motion_maps.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    for name in ("skimage", "matplotlib", "av"):
        pytest.importorskip(name)
    spec = importlib.util.spec_from_file_location("benchmark_motion_maps", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pairs(benchmark: ModuleType) -> ModuleType:
    return sys.modules["pairs"]  # `motion_maps.py` found it beside itself


@pytest.fixture(scope="module")
def cast(pairs: ModuleType) -> Any:
    return pairs.cast_of()


def _outcome(benchmark: ModuleType, pair: Any, flow: np.ndarray, shown: float = 1.0, table: str = "") -> Any:
    drawn = benchmark.Drawn(flow, np.full(flow.shape[:2], shown, np.float32), (), 0.0, 0.0)
    return benchmark.outcome(table, "", benchmark.IN_PLANE, pair, drawn)


@pytest.mark.parametrize("face", ["drawn", "hopper"])
def test_the_truth_is_right_and_its_opposite_wrong(
    benchmark: ModuleType, pairs: ModuleType, cast: Any, face: str
) -> None:
    for unit in AUS[::2]:
        pair = pairs.make(cast, pairs.STILL_HEAD, face, unit, 1.0, (unit,))
        assert pair.regions, f"AU {unit} has no region"
        right = _outcome(benchmark, pair, pair.facial)
        assert benchmark.mean([right], benchmark.RIGHT) == 1, f"AU {unit}"
        assert right.error == 0 and right.head_left < 1e-4 and right.false == 1
        assert all(r.shown and r.degrees < 1e-3 and abs(r.length - 1) < 1e-6 for r in right.regions)
        assert not any(region.right or region.shown for region in _outcome(benchmark, pair, -pair.facial).regions)
        pale = _outcome(benchmark, pair, pair.facial, shown=0.04)
        assert all(region.right and not region.shown for region in pale.regions) and pale.false == 0


@pytest.mark.parametrize("name", ["in plane", "yaw 5", "pitch 4"])
def test_the_flow_leads_from_onset_to_apex(pairs: ModuleType, cast: Any, name: str) -> None:
    condition = next(each for each in pairs.CONDITIONS if each.name == name)
    for face in cast.names:
        pair, again = (pairs.make(cast, condition, face, 12, 2.0, (3,)) for _ in range(2))
        other = pairs.make(cast, condition, face, 12, 2.0, (4,))
        assert np.array_equal(pair.apex, again.apex) and not np.array_equal(pair.apex, other.apex)
        y, x = np.mgrid[:224, :224].astype(np.float32)
        back = cv2.remap(pair.apex, x + pair.total[..., 0], y + pair.total[..., 1], cv2.INTER_CUBIC)
        left, unmoved = (np.abs(frame[pair.inside] - pair.clean[pair.inside]) for frame in (back * 1.0, pair.apex))
        assert np.median(left) < 3 * pair.noise + 3 and left.mean() < 0.5 * unmoved.mean()


def test_a_turn_is_that_of_points_in_space(pairs: ModuleType) -> None:
    middle, half, far = pairs.SIDE / 2, 100.0, 9.0
    z = pairs.depth("ellipsoid", np.random.default_rng(0), (middle, middle), half)
    flow = pairs.turned(np.zeros((pairs.SIDE, pairs.SIDE, 2), np.float32), z, 3.0, -2.0, middle, half, far)
    # A camera at distance d sees a point at (X, Y, Z) at d / (d - Z) times (X, Y): OpenCV's pinhole, turned the same
    # way by Rodrigues' formula about the neck.
    distance, neck = far * half, np.array([0, 0.9 * half, -0.3 * half])
    yaw, pitch = (cv2.Rodrigues(np.radians(axis))[0] for axis in ([0, 3.0, 0], [2.0, 0, 0]))
    for y, x in ((136, 136), (150, 136), (100, 180), (190, 90)):
        depth = float(z[y, x])
        shrink = (distance - depth) / distance
        point = np.array([(x - middle) * shrink, (y - middle) * shrink, depth])
        moved = pitch @ yaw @ (point - neck) + neck
        camera = np.array([[[moved[0], moved[1], distance - moved[2]]]])
        matrix = np.array([[distance, 0, middle], [0, distance, middle], [0, 0, 1.0]])
        seen = cv2.projectPoints(camera, np.zeros(3), np.zeros(3), matrix, None)[0].ravel()
        assert flow[y, x] == pytest.approx(seen - (x, y), abs=1e-3)


def test_a_measured_head_is_read(pairs: ModuleType, tmp_path: Path) -> None:
    y, x = np.mgrid[-1.2:1.2:0.02, -0.9:0.9:0.02]
    z = np.sqrt(np.maximum(1 - x**2 - (y / 1.3) ** 2, 0)) + 0.2 * np.exp(-(x**2 + (y + 0.2) ** 2) / 0.01)
    z[(y < -1) & (z > 0)] -= 0.5  # below the chin the neck lies back
    points = np.stack([x, y, z], axis=-1)[z > 0]
    lines = "".join("v {:.4f} {:.4f} {:.4f}\n".format(*point) for point in 7 * points)
    Path(tmp_path, "one.obj").write_text(lines)
    (head,) = pairs.measured_heads(tmp_path)
    at = np.array([[0.0, 0.3, -0.3]], np.float32)
    found = head.depth(at, np.zeros((1, 3), np.float32))[0]
    assert head.name == "one" and found[1] == pytest.approx(found[2], abs=0.02)
    assert found[0] - found[1] == pytest.approx(1 - np.sqrt(1 - 0.3**2), abs=0.03)
    with pytest.raises(SystemExit, match="found none"):
        pairs.measured_heads(tmp_path.parent / "none")


def test_the_bound_follows_noise_texture_and_window(benchmark: ModuleType, pairs: ModuleType, cast: Any) -> None:
    pair = pairs.make(cast, pairs.STILL_HEAD, "astronaut", 12, 0.5, (1,))
    region = pair.regions[0]

    def least(pair: Any, window: float = 3.0) -> float:
        return float(benchmark.bound(pair, window)[region].mean())

    by_noise = [least(replace(pair, noise=sigma)) for sigma in (0.01, 1, 2, 4, 1000)]
    assert by_noise == sorted(by_noise)
    # Without texture, or in endless noise, only the prior is known: a Gaussian with the mean square of the motion.
    rms = float(np.sqrt(np.square(pair.facial[np.any(pair.regions, axis=0)]).sum(axis=-1).mean()))
    flat = replace(pair, clean=np.full_like(pair.clean, 90))
    assert by_noise[-1] == pytest.approx(np.sqrt(np.pi) / 2 * rms, rel=0.03) == least(flat)
    # Without noise a small window follows the motion, a large one cannot.
    clear = replace(pair, noise=0.01)
    assert least(clear, 1.0) < 0.5 * least(clear, 6.0)
    made = _outcome(benchmark, pair, pair.facial, table="amplitudes").regions
    assert all(0 < each.best_bound <= each.bound for each in made)


def test_a_worker_draws_what_the_package_draws(
    benchmark: ModuleType, pairs: ModuleType, cast: Any, tmp_path: Path
) -> None:
    turn, coded = (next(c for c in pairs.CONDITIONS if c.name == name) for name in ("yaw 1", "H.264 CRF 28"))
    task = benchmark.Task("conditions", "drawn", 12, 1.0, (5,), (turn, coded))
    worker = benchmark.Worker(cast, PACKAGES)
    made = worker(task)
    worker.close()
    assert [(o.method, o.condition) for o in made] == [
        (name, condition) for condition in (turn, coded) for name in (benchmark.BEFORE, benchmark.ROBUST)
    ]
    pair = pairs.make(cast, coded, "drawn", 12, 1.0, (5,))
    drawn = motion_map(pair.onset, pair.apex, nose=pair.nose)
    assert np.abs(pair.onset - pair.clean)[pair.inside].mean() > pair.noise  # the codec was there
    for one in made[-2:]:  # the other checkout is this one
        errors = np.linalg.norm(drawn.flow - pair.facial, axis=-1)
        assert one.error == pytest.approx(errors[pair.inside].mean(), abs=1e-5) and one.doubted == bool(drawn.doubts)
    with pytest.raises(SystemExit, match="expected a folder mellm_plugin"):
        benchmark.Before(tmp_path)
    with pytest.raises(SystemExit, match="found no folder"):
        benchmark.Before(tmp_path / "none")


def test_the_script_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(FILE), "--quick", "--tables", "amplitudes", "--seed", "1", "2", "--workers", "2"]
    done = subprocess.run([*command, "--before", str(PACKAGES)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if " px | 4 | " in line]
    assert len(rows) == 6 and all(row.count("→") == 8 and "nan" not in row for row in rows)


def test_only_what_is_between_the_markers_is_replaced(benchmark: ModuleType) -> None:
    text = f"before\n{benchmark.BEGIN}\nold\n{benchmark.END}\nafter\n"
    new = benchmark.between_markers(text, "new")
    assert new == f"before\n{benchmark.BEGIN}\n\nnew\n\n{benchmark.END}\nafter\n"
    assert benchmark.between_markers(new, "new") == new
    for bad in ("none", text + benchmark.BEGIN, f"{benchmark.END}\n{benchmark.BEGIN}"):
        with pytest.raises(SystemExit):
            benchmark.between_markers(bad, "new")
