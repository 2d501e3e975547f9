"""Clips of training: drawn ones are kept and resumed, prepared ones read; variations keep the annotation true."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mellm_plugin.datasets import store, synthme
from mellm_plugin.errors import DataError
from mellm_plugin.language.descriptions import strength_word
from mellm_plugin.motion import colour, regions
from mellm_plugin.motion.facial import facial_flow
from mellm_plugin.motion.geometry import unit
from mellm_plugin.motion.images import read_pair
from mellm_plugin.motion.render import motion_map
from mellm_plugin.motion.settings import DEFAULT, PRESETS, MotionSettings
from mellm_plugin.training import clips
from mellm_plugin.training.clips import Clip, DrawnClips, PreparedClips, paint
from mellm_plugin.training.forms import seen
from mellm_plugin.training.variation import Variation, varied


def _same(a: Clip, b: Clip) -> None:
    assert a.record == b.record and a.nose == pytest.approx(b.nose)
    assert np.array_equal(a.grey, b.grey) and np.array_equal(a.facial.flow, b.facial.flow)
    assert (a.facial.confidence is None) == (b.facial.confidence is None)
    if a.facial.confidence is not None and b.facial.confidence is not None:
        assert np.array_equal(a.facial.confidence, b.facial.confidence)
    if a.frames is not None and b.frames is not None:
        assert all(np.array_equal(x, y) for x, y in zip(a.frames, b.frames, strict=True))


def test_the_records_agree_with_the_drawn_clips(drawn: DrawnClips) -> None:
    made = list(synthme.clips("train", 12, seed=5))
    assert [record.aus for record in drawn.records] == [clip.aus for clip in made]
    assert [record.emotion for record in drawn.records] == [clip.emotion for clip in made]
    for number, clip in enumerate(made):
        kept = drawn.clip(number, frames=True)
        assert kept.record.px == pytest.approx(clip.amplitudes)
        assert kept.frames is not None
        assert np.array_equal(kept.frames[0], clip.onset) and np.array_equal(kept.frames[1], clip.apex)
    test = {clip.id for clip in synthme.clips("test", 12, seed=5)}
    assert not test & {record.id for record in drawn.records}


@pytest.mark.parametrize("settings", [DEFAULT, replace(DEFAULT, estimator="dis", doubt_px=0)])
def test_a_drawn_clip_is_painted_as_evaluation_draws_it(tmp_path: Path, settings: MotionSettings) -> None:
    drawn = DrawnClips(2, seed=1, settings=settings, frames=True, folder=tmp_path)
    for number in range(2):
        clip = drawn.clip(number, frames=True)
        assert clip.frames is not None
        expected = motion_map(*clip.frames, settings, nose=clip.nose).image.astype(int)
        # the flow is kept at half the size, in halves of the precision
        assert np.mean(np.abs(paint(clip, settings).astype(int) - expected).max(axis=2) > 12) < 0.06


def test_drawing_resumes_from_a_truncated_file(tmp_path: Path) -> None:
    whole = DrawnClips(3, seed=2, folder=tmp_path / "whole")
    part = DrawnClips(2, seed=2, folder=tmp_path / "part")
    whole.draw()
    part.draw()
    (file,) = part.folder.glob("*.clips")
    size = file.stat().st_size
    assert size < next(whole.folder.glob("*.clips")).stat().st_size
    with file.open("r+b") as cut:
        cut.truncate(size - 1000)
    first = (part.folder / file.name).read_bytes()[: size // 3]
    again = DrawnClips(3, seed=2, folder=tmp_path / "part")
    again.draw()
    assert file.read_bytes()[: len(first)] == first  # nothing that was there is drawn again
    for number in range(3):
        _same(whole.clip(number), again.clip(number))


def test_several_processes_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "PER_FILE", 1)
    alone = DrawnClips(2, seed=3, folder=tmp_path / "alone")
    alone.draw()
    both = DrawnClips(2, seed=3, folder=tmp_path / "both", processes=2)
    both.draw()
    assert len(list(both.folder.glob("*.clips"))) == 2
    for number in range(2):
        _same(alone.clip(number), both.clip(number))


def test_without_a_cache_clips_live_as_long_as_their_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLM_CACHE", "off")
    drawn = DrawnClips(1)
    assert drawn.clip(0).record.dataset == "synthme"
    folder = drawn.folder
    assert folder.exists()
    del drawn
    assert not folder.exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("here")
    with pytest.raises(DataError, match="MELLM_CACHE"):
        DrawnClips(1, folder=file / "drawn").clip(0)


# ---- variations -----------------------------------------------------------------------------------------------------


def test_mirroring_twice_gives_the_clip_back(drawn: DrawnClips) -> None:
    for number in range(3):
        clip = drawn.clip(number, frames=True)
        once = varied(clip, Variation(mirror=True))
        assert not np.array_equal(once.grey, clip.grey)
        _same(varied(once, Variation(mirror=True)), clip)
    assert Variation(floor=2, knee=0.5).settings(PRESETS["published"]) is PRESETS["published"], "it has neither"


def test_zoom_and_magnitude_scale_the_motion(drawn: DrawnClips) -> None:
    clip = next(c for n in range(12) if (c := drawn.clip(n)).record.px)
    assert clip.record.px is not None
    near = varied(clip, Variation(zoom=1.1))
    strong = varied(clip, Variation(magnitude=1.3))
    assert near.record.px == pytest.approx([px * 1.1 for px in clip.record.px])
    assert strong.record.px == pytest.approx([px * 1.3 for px in clip.record.px])
    assert np.allclose(strong.facial.flow, clip.facial.flow * 1.3)
    length = np.linalg.norm(clip.facial.flow, axis=-1)
    nearer = np.linalg.norm(near.facial.flow, axis=-1)
    assert np.percentile(nearer, 99) == pytest.approx(1.1 * np.percentile(length, 98.8), rel=0.1)


def test_a_stronger_motion_gets_a_stronger_word() -> None:
    made = synthme.draw_clip(synthme.Face(3), np.random.default_rng(3), ("12",), 1.4, head=0.0)
    clip = _clip_of(made)
    words = []
    for magnitude in (0.4, 1.0, 2.0):
        found = seen(varied(clip, Variation(magnitude=magnitude)), Variation(), DEFAULT)
        words.append({strength_word(m.magnitude) for m in found.regions if m.region == "mouth corners" and m.visible})
    assert words == [{"faintly"}, {"clearly"}, {"strongly"}]


def test_noise_has_the_rms_of_the_variation(drawn: DrawnClips) -> None:
    clip = drawn.clip(1)
    noisy = varied(clip, Variation(noise_px=0.03, seed=4))
    added = (noisy.facial.flow - clip.facial.flow) / unit(clip.grey.shape)
    assert np.sqrt(np.mean(added**2) * 2) == pytest.approx(0.03, rel=0.02)
    assert np.array_equal(noisy.facial.flow, varied(clip, Variation(noise_px=0.03, seed=4)).facial.flow)


@pytest.mark.parametrize("preset", ["robust", "colour-blind"])
def test_the_painted_colours_match_the_words(drawn: DrawnClips, preset: str) -> None:
    """The map shows each described motion in its colours at its region, also mirrored, nearer, noisy."""
    settings = DEFAULT if preset == "robust" else replace(DEFAULT, palette="colour-blind")
    described = right = 0
    for number in range(12):
        clip = drawn.clip(number)
        rng = np.random.default_rng(number)
        for variation in (Variation(), Variation(mirror=True), Variation.draw(rng), Variation.draw(rng)):
            moving = varied(clip, variation.of_motion())
            shown = varied(moving, variation.of_view())
            drawn_with = variation.settings(settings)
            image = paint(shown, drawn_with)
            for motion in seen(moving, variation, drawn_with).regions:
                if not motion.visible:
                    continue
                bins = colour.read_bins(image[_window(shown, motion, variation.zoom)], settings.palette)
                wanted = colour.direction_shown(motion.dx, motion.dy).bins
                described += 1
                right += bool(np.isin(bins[bins >= 0], wanted).mean() > 0.2) if (bins >= 0).any() else False
    assert described > 100
    assert right / described > 0.97


def _window(clip: Clip, motion: regions.RegionMotion, zoom: float) -> npt.NDArray[np.bool_]:
    """Where a region lies in the picture, one sigma about its middle."""
    assert clip.nose is not None
    height, width = clip.grey.shape
    half = regions.HALF_HEIGHT * min(height, width)
    window = (regions.MIDLINE if motion.side is None else regions.PAIRED)[motion.region]
    m = {"left": -1, "right": 1, None: 0}[motion.side]
    # the windows hang on the nose tip, with the size of the face before it came nearer
    x = clip.nose[0] + zoom * m * half * window.x
    y = clip.nose[1] + zoom * half * (window.y - regions.NOSE_TIP)
    yy, xx = np.mgrid[0:height, 0:width]
    inside = ((xx - x) / (zoom * half * window.sx)) ** 2 + ((yy - y) / (zoom * half * window.sy)) ** 2
    found: npt.NDArray[np.bool_] = inside <= 1.5
    return found


def _clip_of(made: synthme.SynthClip) -> Clip:
    grey, apex = read_pair(made.onset, made.apex)
    record = clips.Record("synthme-train/x/0", "synthme", "synthme/x", made.aus, True, "contempt", "negative")
    return Clip(record, grey, facial_flow(grey, apex), made.nose, (made.onset, made.apex))


# ---- prepared clips -------------------------------------------------------------------------------------------------


def test_a_prepared_clip_is_painted_as_evaluation_draws_it(tmp_path: Path) -> None:
    made = list(synthme.clips("elsewhere", 4))
    samples = [replace(synthme.sample(clip), dataset="toy", id=f"toy/{clip.subject}/{clip.clip}") for clip in made]
    grey, file = made[1].onset[..., 0], io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    incomplete = {"au_code": "4+?", "aus": ("4",), "emotion": None, "coarse": None}
    samples[1] = replace(samples[1], onset=file.getvalue(), **incomplete)  # type: ignore[arg-type]
    store.write("toy", {"train": samples}, {"source": "drawn"}, root=tmp_path)
    prepared = PreparedClips("toy", "train", root=tmp_path)
    assert [record.subject for record in prepared.records] == [f"toy/{clip.subject}" for clip in made]
    assert [record.complete for record in prepared.records] == [True, False, True, True]
    assert prepared.records[1].emotion is None
    for number in (3, 0):
        clip = prepared.clip(number, frames=True)
        expected = motion_map(made[number].onset, made[number].apex).image
        assert np.abs(paint(clip).astype(int) - expected).max() <= 1
        assert clip.frames is not None and np.array_equal(clip.frames[1], made[number].apex)
    shown = prepared.clip(1, frames=True).frames
    assert shown is not None and shown[0].shape == (224, 224, 3) and np.array_equal(shown[0][..., 2], grey)
