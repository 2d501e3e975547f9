"""Questions and answers on one clip: only what is known is asked, only what the picture shows is answered."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.language.short_answers import region_answer
from mellm_plugin.motion import colour
from mellm_plugin.motion.settings import DEFAULT, PRESETS
from mellm_plugin.training.clips import DrawnClips, Record, paint
from mellm_plugin.training.forms import Asked, Seen, _region, ask, label_among, patch, seen
from mellm_plugin.training.variation import Variation, varied


def _record(aus: tuple[str, ...] | None, complete: bool = True, **known: str | None) -> Record:
    values = {"emotion": None, "coarse": None, "dataset": "toy", **known}
    return Record("toy/s/1", subject="toy/s", aus=aus, complete=complete, **values)  # type: ignore[arg-type]


ASKED = Asked(DEFAULT, (("disgust", "happiness"),), {4: 20, 12: 5, 6: 1})


@pytest.mark.parametrize(
    ("emotion", "labels", "known", "label"),
    [
        ("anger", "smic", {"dataset": "synthme"}, "negative"),
        ("contempt", "casme2", {"dataset": "synthme"}, "others"),
        ("contempt", "casme2", {"dataset": "samm"}, None),  # its own annotators did not say others
        ("neutral", "dfme", {"dataset": "synthme"}, None),
        (None, "smic", {"coarse": "positive"}, "positive"),
    ],
)
def test_labels_of_closed_sets(emotion: str | None, labels: str, known: dict[str, str], label: str | None) -> None:
    assert label_among(_record((), emotion=emotion, **known), LABELS[labels]) == label


def test_units_are_asked_where_their_presence_or_absence_is_known(drawn: DrawnClips) -> None:
    clip = drawn.clip(0)

    def asked(aus: tuple[str, ...], complete: bool = True) -> list[tuple[str, str]]:
        other = replace(clip, record=_record(aus, complete))
        generators = (np.random.default_rng(seed) for seed in range(200))
        found = (ask("unit", other, Variation(), ASKED, "en", rng) for rng in generators)
        return [(of.prompt, of.answer) for of in found]

    # 12 or 6: either may be there, so that only 4 can be asked for
    assert all(answer == "yes" and "brow lowerer" in prompt for prompt, answer in asked(("12/6", "4")))
    # Only a complete code says what is absent; presence and absence are asked equally often.
    assert {answer for _, answer in asked(("12",), complete=False)} == {"yes"}
    assert 80 < sum(answer == "no" for _, answer in asked(("12",))) < 120
    assert not ASKED.possible("unit", _record((), complete=False)) and ASKED.possible("unit", _record(()))
    assert not ASKED.possible("unit", _record(None))


def test_a_form_needs_its_annotation() -> None:
    whole, bare = _record(("4",), emotion="disgust"), _record(None, emotion="happiness")
    other = _record(None, emotion="fear")
    forms = ("description", "aus", "label", "unit", "region", "legend")
    assert all(ASKED.possible(form, whole) for form in forms)
    assert [form for form in forms if ASKED.possible(form, bare)] == ["label", "region", "legend"]
    assert [form for form in forms if ASKED.possible(form, other)] == ["region", "legend"]
    assert replace(ASKED, units={}).possible("description", bare), "of a dataset without units"
    assert not Asked(None, ASKED.label_sets, {}).possible("legend", whole)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_description_without_known_units_names_none(drawn: DrawnClips, language: str) -> None:
    """As SMIC's clips are: the evaluation reads the label from it, and no unit."""
    asked = Asked(DEFAULT, (LABELS["smic"],), {})
    moved = 0
    for number in range(12):
        clip = drawn.clip(number)
        record = replace(clip.record, aus=None, emotion=None, coarse="positive", dataset="smic")
        answer = ask(
            "description", replace(clip, record=record), Variation(), asked, language, np.random.default_rng(0)
        )
        assert "AU" not in answer.answer and "没有相应的动作单元" not in answer.answer
        found = read(answer.answer, LABELS["smic"], "all")
        assert found.label == "positive" and not found.aus
        moved += any(m.visible for m in seen(clip, Variation(), DEFAULT).regions)
    assert moved > 6


def test_a_region_is_moving_still_or_stirred(drawn: DrawnClips) -> None:
    published = PRESETS["published"]
    for clips, settings in ((drawn, DEFAULT), (DrawnClips(6, seed=5, settings=published), published)):
        moved = still = 0
        for number in range(len(clips.records)):
            found = seen(clips.clip(number), Variation(), settings)
            visible = {(m.region, m.side) for m in found.regions if m.visible}
            assert len(found.regions) > 20 and len(visible) + len(found.still) + len(found.stirred) == len(
                found.regions
            )
            assert not found.still & found.stirred and not visible & (found.still | found.stirred)
            moved += len(visible)
            still += len(found.still)
        assert moved and still


def test_still_and_stirred_regions_get_their_own_answers(drawn: DrawnClips) -> None:
    rng = np.random.default_rng(0)
    answers = Counter()
    for number in range(len(drawn.records)):
        clip = drawn.clip(number)
        found = seen(clip, Variation(), DEFAULT)
        for kind in (found.still, found.stirred):
            alone = Seen(tuple(m for m in found.regions if (m.region, m.side) in kind), found.stirred, found.still)
            if alone.regions:
                motion = _region(alone, rng)
                stirred = (motion.region, motion.side) in found.stirred
                answers[region_answer(motion, stirred=stirred), kind is found.still] += 1
    assert {answer for answer, still in answers if still} == {"no visible motion"}
    assert {answer for answer, still in answers if not still} == {"not clearly one way"}


def test_frames_are_described_as_they_are(drawn: DrawnClips) -> None:
    """A variation may change the flow of a clip but not its frames, so that the answer about frames stays."""
    asked = Asked(None, (LABELS["synthme"],), {}, vary_words=False)
    stronger = Variation(magnitude=1.35, noise_px=0.04)
    for number, seed in itertools.product(range(3), range(4)):
        clip = drawn.clip(number, frames=True)
        plain, varied_motion, mirrored = (
            ask("region", clip, variation, asked, "en", np.random.default_rng(seed))
            for variation in (Variation(), stronger, Variation(mirror=True))
        )
        assert (plain.prompt, plain.answer) == (varied_motion.prompt, varied_motion.answer)
        assert "onset" in plain.prompt and "(" not in plain.answer
        assert clip.frames is not None and len(plain.images) == 2 and np.array_equal(plain.images[0], clip.frames[0])
        assert np.array_equal(mirrored.images[1], clip.frames[1][:, ::-1])


def test_a_patch_has_the_colour_of_its_answer(drawn: DrawnClips) -> None:
    clip = drawn.clip(3)
    bins = set()
    for seed in range(40):
        image, index = patch(clip, DEFAULT, np.random.default_rng(seed))
        read = colour.read_bins(image)
        values, counts = np.unique(read[read >= 0], return_counts=True)
        assert values[counts.argmax()] == index and counts.max() / counts.sum() > 0.9
        bins.add(index)
    assert len(bins) > 8


def test_words_and_picture_are_mirrored_together(drawn: DrawnClips) -> None:
    mirror = Variation(mirror=True)
    for number in range(12):
        clip = drawn.clip(number)
        asked = Asked(DEFAULT, (LABELS["synthme"],), {1: 1}, vary_words=False)
        rng = np.random.default_rng(0)
        plain = ask("description", clip, Variation(), asked, "en", rng)
        flipped = ask("description", clip, mirror, asked, "en", np.random.default_rng(0))
        again = ask("description", varied(clip, mirror), mirror, asked, "en", np.random.default_rng(0))
        told, told_mirrored = plain.answer, flipped.answer
        assert np.array_equal(again.images[0], plain.images[0])
        assert np.array_equal(flipped.images[0], paint(varied(clip, mirror)))
        swapped = told.replace("image's left", "image's @").replace("image's right", "image's left")
        swapped = swapped.replace("image's @", "image's right")
        for code in ("(left)", "(right)"):
            assert told.count(code) == told_mirrored.count({"(left)": "(right)", "(right)": "(left)"}[code])
        regions = [word for word in ("brows", "lids", "corner", "cheek", "chin", "lip") if word in told_mirrored]
        assert regions == [word for word in ("brows", "lids", "corner", "cheek", "chin", "lip") if word in swapped]


def test_closed_sets_of_training_are_some_labels_in_any_order(drawn: DrawnClips) -> None:
    asked = Asked(DEFAULT, (LABELS["dfme"], LABELS["dfme"]), {}, vary_words=True)
    place = next(n for n, record in enumerate(drawn.records) if record.emotion in LABELS["dfme"])
    clip = drawn.clip(place)
    sets = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        made = ask("label", clip, Variation(), replace(asked, with_truth=True), "en", rng)
        assert made.truth is not None and made.answer in made.truth.labels and len(made.truth.labels) > 1
        assert all(label in made.prompt for label in made.truth.labels)
        sets.add(made.truth.labels)
    assert LABELS["dfme"] in sets and len(sets) > 10
    assert {label for labels in sets for label in labels} == set(LABELS["dfme"])
    alone = replace(asked, label_sets=(LABELS["dfme"],))
    for seed in range(10):
        prompt = ask("label", clip, Variation(), alone, "en", np.random.default_rng(seed)).prompt
        assert all(label in prompt for label in LABELS["dfme"]), "the only set stays whole"
