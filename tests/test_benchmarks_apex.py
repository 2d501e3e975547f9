"""The benchmark of spotting: its clips are what it says, and the movements in the hard ones are found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mellm_plugin.motion.apex import spot

FILE = Path(__file__).parents[1] / "benchmarks" / "apex.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    pytest.importorskip("skimage")
    pytest.importorskip("av")
    spec = importlib.util.spec_from_file_location("benchmark_apex", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_clip_moves_when_it_says(benchmark: ModuleType) -> None:
    clip = benchmark.draw("coded", 5)
    assert clip.face == "astronaut" and clip.fps == 60 and clip.frames.dtype == np.uint8
    assert np.array_equal(benchmark.draw("unit", 5).frames, benchmark.draw("unit", 5).frames)
    moved = clip.movements[0]
    shown = benchmark.profile(len(clip.frames), moved)
    assert shown[moved.onset] == 0 and shown[moved.apex] == 1 and shown[moved.offset] == 0
    assert (shown[moved.onset + 1 : moved.offset] > 0).all()


@pytest.mark.parametrize(("kind", "number"), [("crop", 4), ("crop", 6), ("nod", 3), ("several", 4), ("small", 4)])
def test_the_movements_among_blinks_and_turns_are_found(benchmark: ModuleType, kind: str, number: int) -> None:
    clip = benchmark.draw(kind, number, 10)
    found = spot(clip.frames)
    near = max(3, round(0.05 * clip.fps))
    events = [event for event in found.events if not event.at_the_eyes]
    assert len(events) == len(clip.movements) and not found.at_the_eyes
    for event, moved in zip(events, clip.movements, strict=True):
        assert abs(event.apex - moved.apex) <= near and abs(event.onset - moved.onset) <= 2 * near
        assert event.offset is None or event.offset > event.apex
    assert found.apex == max(events, key=lambda event: event.peak).apex
    closed = [event.apex for event in found.events if event.at_the_eyes]
    assert len(closed) >= len(clip.blinks) and all(min(abs(np.array(closed) - b)) <= near for b in clip.blinks)


@pytest.mark.parametrize(("kind", "number"), [("still, turns", 4), ("still", 7), ("still, coded", 4)])
def test_a_turn_of_the_head_noise_and_coding_are_no_movements(benchmark: ModuleType, kind: str, number: int) -> None:
    found = spot(benchmark.draw(kind, number, 10).frames)
    assert not found.found and not found.events and "nothing moves" in found.reason
    assert np.isfinite(found.curve).all()
