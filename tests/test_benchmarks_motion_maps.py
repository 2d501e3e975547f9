"""The benchmark of the motion maps: its truth, its scores and the file it writes into. Nothing is timed here."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mellm_plugin.datasets.synthme import AUS
from mellm_plugin.motion.facial import FacialFlow
from mellm_plugin.motion.render import motion_map

FILE = Path(__file__).parents[1] / "benchmarks" / "motion_maps.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    pytest.importorskip("skimage")
    spec = importlib.util.spec_from_file_location("benchmark_motion_maps", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _outcome(benchmark: ModuleType, clip: object, flow: np.ndarray) -> object:
    return benchmark.outcome(clip, FacialFlow(flow, None, None, "none", ()), np.zeros(flow.shape[:2], np.float32), 0.0)


@pytest.mark.parametrize("kind", ["drawn", "photographed"])
def test_the_truth_is_right_and_its_opposite_wrong(benchmark: ModuleType, kind: str) -> None:
    make = getattr(benchmark, kind)
    first, again, other = make(12, 1.0, [0, 1]), make(12, 1.0, [0, 1]), make(12, 1.0, [0, 2])
    assert np.array_equal(first.apex, again.apex) and not np.array_equal(first.apex, other.apex)
    assert np.hypot(*np.subtract(first.nose, first.wrong_nose)) == pytest.approx(benchmark.NOSE_OFF)
    for unit in AUS[::2]:
        clip = make(unit, 1.0, [0, unit], head=0.0)
        assert clip.regions, f"AU {unit} has no region"
        right = _outcome(benchmark, clip, clip.facial)
        assert benchmark.accuracy([right]) == 1, f"AU {unit}"
        assert right.error == 0 and right.head_left < 1e-4
        assert all(region.degrees < 1e-3 and abs(region.length - 1) < 1e-6 for region in right.regions)
        assert benchmark.accuracy([_outcome(benchmark, clip, -clip.facial)]) == 0, f"AU {unit}"


def test_rows_are_what_the_package_draws(benchmark: ModuleType) -> None:
    clip = benchmark.drawn(12, 2.0, [0, 1])
    found = benchmark.flows(clip, ["local", "farneback", "nothing"], None, peer_first=False)
    made = benchmark.outcomes(clip, found)
    assert {benchmark.ROBUST, "`farneback`, similarity", benchmark.NOTHING} <= made.keys()
    assert not {benchmark.PUBLISHED, benchmark.PUBLISHED_BY_PEER} & made.keys()  # their flow was not computed
    assert made[benchmark.ROBUST].error < made[benchmark.NOTHING].error
    row = next(row for row in benchmark.ROWS if row.name == benchmark.ROBUST)
    facial, shown = row.map_pair(clip, found["local"][0])
    whole = motion_map(clip.onset, clip.apex)
    assert np.array_equal(facial.flow, whole.flow)
    # the last bits of OpenCV's root hang on where the array lies in memory
    assert np.mean(shown > 0) == pytest.approx(whole.coloured, abs=1e-4)
    assert facial.confidence is not None
    assert np.allclose(facial.confidence, whole.facial.confidence, rtol=0, atol=1e-6)


def test_only_what_is_between_the_markers_is_replaced(benchmark: ModuleType) -> None:
    text = f"before\n{benchmark.BEGIN}\nold\n{benchmark.END}\nafter\n"
    new = benchmark.between_markers(text, "new")
    assert new == f"before\n{benchmark.BEGIN}\n\nnew\n\n{benchmark.END}\nafter\n"
    assert benchmark.between_markers(new, "new") == new
    for bad in ("none", text + benchmark.BEGIN, f"{benchmark.END}\n{benchmark.BEGIN}"):
        with pytest.raises(SystemExit):
            benchmark.between_markers(bad, "new")
