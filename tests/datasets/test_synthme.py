"""The drawings: exact flow, no face in two splits, no label from one unit, the same for the same seed."""

from __future__ import annotations

import io
import itertools
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import datasets
import numpy as np
import pytest
from PIL import Image

from mellm_plugin.datasets import store, synthme
from mellm_plugin.datasets.synthme import (
    AMPLITUDE,
    AUS,
    COMBINATIONS,
    Face,
    clips,
    displacement,
    draw_clip,
    inverse_map,
    plan,
    warp,
)
from mellm_plugin.facs.codes import numbers
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.motion.head import fit_head

ASKED_FOR = {1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 24, 25, 26}


def test_a_combination_has_one_label_and_no_unit_alone_decides_it() -> None:
    seen: dict[frozenset[str], str] = {}
    labels_of: dict[int, Counter[str]] = defaultdict(Counter)
    for label, combinations in COMBINATIONS.items():
        for combination in combinations:
            codes = [code for code in combination.split("+") if code]
            assert seen.setdefault(frozenset(codes), label) == label
            for (number,) in numbers(codes):
                labels_of[number][label] += 1
    assert set(AUS) == ASKED_FOR and tuple(COMBINATIONS) == LABELS["synthme"]
    for number in AUS:
        assert len(labels_of[number]) >= 2, f"AU{number} occurs with one label only"
        assert max(labels_of[number].values()) < 0.93 * labels_of[number].total(), f"AU{number} gives the label away"


def test_the_flow_is_where_the_onset_pixel_went() -> None:
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.uniform(0, 255, (224, 224)).astype(np.float32), (0, 0), 3)
    flow = displacement(["1", "12", "26"], [3.0, 3.0, 3.0], (112, 112), 95, (224, 224)) + np.float32([1.7, -2.2])
    moved = warp(picture, flow)
    y, x = np.mgrid[0:224, 0:224].astype(np.float32)
    back = cv2.remap(moved, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC)
    assert np.abs(back - picture)[16:-16, 16:-16].max() < 0.02 * np.ptp(picture)


def test_the_warp_is_inverted_for_every_combination_at_its_largest() -> None:
    y, x = np.mgrid[0:224, 0:224].astype(np.float32)
    for n, combination in enumerate(itertools.chain(*COMBINATIONS.values())):
        codes = [code for code in combination.split("+") if code]
        half = (85, 103)[n % 2]
        flow = displacement(codes, [AMPLITUDE[1]] * len(codes), (112, 112), half, (224, 224)) + np.float32([2.3, -1.4])
        from_x, from_y = inverse_map(flow)
        moved = cv2.remap(flow, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        off = np.hypot(from_x + moved[..., 0] - x, from_y + moved[..., 1] - y)
        assert off.max() < 0.05, combination


def test_the_amplitude_is_the_largest_displacement_and_left_is_on_the_images_right() -> None:
    for number in AUS:
        field = displacement([str(number)], [1.5], (112, 112), 95, (224, 224))
        assert np.hypot(field[..., 0], field[..., 1]).max() == pytest.approx(1.5, rel=1e-4)
    field = displacement(["L12"], [1.0], (112, 112), 95, (224, 224))
    size = np.hypot(field[..., 0], field[..., 1])
    assert size[:, 112:].max() > 0.99
    assert size[:, :100].max() < 0.05


def test_a_clip_reports_its_own_flow() -> None:
    clip = draw_clip(Face(1), np.random.default_rng(1), ("R10", "25"), 2.0, head=0.0)
    assert np.array_equal(clip.flow, clip.facial)
    assert np.hypot(clip.facial[..., 0], clip.facial[..., 1]).max() <= sum(clip.amplitudes)
    with_head = draw_clip(Face(1), np.random.default_rng(1), (), 2.0, head=1.0)
    assert not with_head.facial.any() and with_head.flow.any()
    head = fit_head(with_head.flow)
    assert np.allclose(head.flow(224, 224), with_head.flow, atol=1e-3), "the head does not move by a similarity"


def test_the_same_seed_draws_the_same_clips_from_any_start() -> None:
    first = list(clips("train", 12, seed=3))
    for number, a in enumerate(first):
        planned = plan("train", number, seed=3)
        assert (planned.subject, planned.clip, planned.aus, planned.emotion) == (a.subject, a.clip, a.aus, a.emotion)
        for data, pixels in zip(a.files(), (a.onset, a.apex), strict=True):
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    for a, b in zip(first[10:], clips("train", 2, seed=3, start=10), strict=True):
        assert a.id == b.id and a.aus == b.aus and np.array_equal(a.apex, b.apex)
    other = next(clips("train", 1, seed=4))
    assert not np.array_equal(other.onset, first[0].onset)


def test_the_clips_vary_as_promised() -> None:
    drawn = list(clips("test", 30))
    amplitudes = np.array([max(clip.amplitudes) for clip in drawn if clip.aus])
    assert amplitudes.min() >= 0.3 and amplitudes.max() <= 3.0
    assert np.mean(amplitudes < 0.6) > 0.15 and np.mean(amplitudes > 1.5) > 0.15
    assert any(clip.jpeg for clip in drawn) and not all(clip.jpeg for clip in drawn)
    planned = [plan("test", number) for number in range(200)]
    assert any(not clip.aus for clip in planned)
    assert any(code[0] in "LR" for clip in planned for code in clip.aus)
    assert {int(code.strip("LR")) for clip in planned for code in clip.aus} == ASKED_FOR


@pytest.mark.slow
def test_the_test_set_is_prepared_once_and_loads_by_itself(tmp_path: Path) -> None:
    folder = synthme.prepare(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert synthme.prepare(tmp_path) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    store.verify(synthme.NAME, tmp_path)
    rows = datasets.load_dataset(str(folder), split="test", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == synthme.TEST_CLIPS and len(set(rows["subject"])) == 30
    assert rows[0]["onset"].size == (224, 224)
    assert set(rows["emotion"]) == set(LABELS["synthme"])
