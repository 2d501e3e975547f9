"""Pictures for the page, from prepared data: all that fit, and a note on those that do not."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from mellm_plugin.datasets import store
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.motion.cache import MotionCache
from mellm_plugin.report.pictures import SIDES, clip_pictures

CLIPS = 13


def _frame(rng: np.random.Generator, side: int) -> bytes:
    """A blurred pattern: noise would have no flow, and would not compress."""
    small = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8))
    held = io.BytesIO()
    small.resize((side, side), Image.Resampling.BICUBIC).save(held, "PNG")
    return held.getvalue()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], MotionCache]]:
    """Ids of a made-up dataset, stored under a name with its version, and a cache of its flows; the frames of the last
    clip differ in size."""
    rng = np.random.default_rng(0)

    def sample(number: int) -> Sample:
        sides = (230, 200) if number == CLIPS - 1 else (230, 230)
        onset, apex = (_frame(rng, side) for side in sides)
        subject = f"s{number // 2}"
        return Sample(f"drawn/{subject}/{number:02d}", "drawn", subject, f"{number:02d}", onset, apex)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELLM_DATA", str(tmp_path_factory.mktemp("data")))
        samples = [sample(number) for number in range(CLIPS)]
        store.write("drawn-v2", {"test": samples}, {"source": "made up"})
        yield [found.id for found in samples], MotionCache(tmp_path_factory.mktemp("flows"))


def _side(webp: bytes) -> int:
    with Image.open(io.BytesIO(webp)) as image:
        assert image.format == "WEBP"
        return max(image.size)


def test_every_clip_has_its_three_pictures_and_faults_are_noted(prepared: tuple[list[str], MotionCache]) -> None:
    ids, cache = prepared
    notes: list[str] = []
    drawn: list[None] = []
    found = clip_pictures(
        ["drawn", "casme2"], [*ids, "drawn/s9/99"], notes=notes, cache=cache, progress=lambda: drawn.append(None)
    )
    assert list(found) == ids[:-1] and len(drawn) == CLIPS - 1
    assert all(list(pictures) == ["onset", "apex", "map"] for pictures in found.values())
    assert {_side(picture) for pictures in found.values() for picture in pictures.values()} == {SIDES[0]}
    text = "\n".join(notes)
    assert "no pictures of casme2: it is not prepared" in text
    assert f"no pictures of {ids[-1]}" in text and "no more fit" not in text


def test_what_does_not_fit_is_made_smaller_then_fewer(prepared: tuple[list[str], MotionCache]) -> None:
    ids, cache = prepared[0][:-1], prepared[1]
    whole = clip_pictures(["drawn"], ids, cache=cache)
    size = sum(len(picture) for pictures in whole.values() for picture in pictures.values()) * 4 // 3
    smaller = clip_pictures(["drawn"], ids, budget=int(0.7 * size), cache=cache)
    assert len(smaller) == len(whole) and _side(smaller[ids[0]]["map"]) < SIDES[0]
    notes: list[str] = []
    budget = size // 16
    fewer = clip_pictures(["drawn"], ids, budget=budget, notes=notes, cache=cache)
    assert 0 < len(fewer) < len(whole) and _side(next(iter(fewer.values()))["map"]) == SIDES[-1]
    assert sum(len(picture) for pictures in fewer.values() for picture in pictures.values()) * 4 // 3 <= budget
    (note,) = notes
    assert note.startswith(f"pictures of {len(fewer)} of {CLIPS - 1} clips") and "no more fit" in note
    # spread over the subjects, not only the first ones
    assert len({clip.split("/")[1] for clip in fewer}) > len(fewer) / 2
