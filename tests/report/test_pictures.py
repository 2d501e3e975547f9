"""Pictures for the page, from prepared data: all of what fits, and a word on what does not."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mellm_plugin.datasets import store
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.report.pictures import SIDES, clip_pictures

CLIPS = 13


def _frame(rng: np.random.Generator, side: int) -> bytes:
    """A blurred pattern: noise would have no flow, and would not pack."""
    small = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8))
    held = io.BytesIO()
    small.resize((side, side), Image.Resampling.BICUBIC).save(held, "PNG")
    return held.getvalue()


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of a made-up dataset, stored under a name with its version; the last clip's frames do not fit together."""
    monkeypatch.setenv("MELLM_DATA", str(tmp_path))
    rng = np.random.default_rng(0)

    def sample(number: int) -> Sample:
        sides = (230, 200) if number == CLIPS - 1 else (230, 230)
        onset, apex = (_frame(rng, side) for side in sides)
        subject = f"s{number // 2}"
        return Sample(f"drawn/{subject}/{number:02d}", "drawn", subject, f"{number:02d}", onset, apex)

    samples = [sample(number) for number in range(CLIPS)]
    store.write("drawn-v2", {"test": samples}, {"source": "made up"})
    return [found.id for found in samples]


def _side(webp: bytes) -> int:
    with Image.open(io.BytesIO(webp)) as image:
        assert image.format == "WEBP"
        return max(image.size)


def test_every_clip_has_its_three_pictures_and_faults_are_told(prepared: list[str]) -> None:
    notes: list[str] = []
    drawn: list[None] = []
    found = clip_pictures(
        ["drawn", "casme2"], [*prepared, "drawn/s9/99"], notes=notes, progress=lambda: drawn.append(None)
    )
    assert list(found) == prepared[:-1] and len(drawn) == CLIPS - 1
    assert all(list(pictures) == ["onset", "apex", "map"] for pictures in found.values())
    assert {_side(picture) for pictures in found.values() for picture in pictures.values()} == {SIDES[0]}
    told = "\n".join(notes)
    assert "no pictures of casme2: it is not prepared" in told
    assert f"no pictures of {prepared[-1]}" in told and "no more fit" not in told


def test_what_does_not_fit_is_made_smaller_then_fewer(prepared: list[str]) -> None:
    whole = clip_pictures(["drawn"], prepared[:-1])
    size = sum(len(picture) for pictures in whole.values() for picture in pictures.values()) * 4 // 3
    smaller = clip_pictures(["drawn"], prepared[:-1], budget=int(0.7 * size))
    assert len(smaller) == len(whole) and _side(smaller[prepared[0]]["map"]) < SIDES[0]
    notes: list[str] = []
    budget = size // 16
    fewer = clip_pictures(["drawn"], prepared[:-1], budget=budget, notes=notes)
    assert 0 < len(fewer) < len(whole) and _side(next(iter(fewer.values()))["map"]) == SIDES[-1]
    assert sum(len(picture) for pictures in fewer.values() for picture in pictures.values()) * 4 // 3 <= budget
    (note,) = notes
    assert note.startswith(f"pictures of {len(fewer)} of {CLIPS - 1} clips") and "no more fit" in note
    # spread over the subjects, not the first ones alone
    assert len({clip.split("/")[1] for clip in fewer}) > len(fewer) / 2


def test_no_data_no_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path))
    notes: list[str] = []
    assert clip_pictures(["synthme"], ["synthme/s00/00"], notes=notes) == {}
    assert len(notes) == 1 and not list(tmp_path.iterdir())
