"""Subjects are on one side only, training or validation, in all stages and under all names of their dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mellm_plugin.datasets import store
from mellm_plugin.errors import InputError
from mellm_plugin.training import stages
from mellm_plugin.training.config import Validation, read

Make = Callable[..., dict[str, Any]]


def _people(examples: Any) -> set[str]:
    return {examples[i].clip.split("/")[1] for i in range(len(examples))}


def test_nobody_is_on_two_sides(given: Make) -> None:
    config = read({**given(epochs=2, steps=None), "validation": {"share": 0.25}, "leave_out": {"toy": ["s2"]}})
    sides = stages.split(config)
    assert sides.left_out == {"toy": ("s2",)} and len(sides.validation["toy"]) == 1 and len(sides.seen["toy"]) == 2
    train, held = stages.shown(config, 0, sides, 2), stages.validated(config, 0, sides)
    assert held is not None
    assert _people(train) == set(sides.seen["toy"]) and _people(held) == set(sides.validation["toy"])
    assert len(train) == 2 * 6, "two rounds over the six clips that are left"
    assert stages.split(config) == sides
    others = {stages.split(replace(config, seed=seed)).validation["toy"] for seed in range(8)}
    assert len(others) > 1


def test_steps_examples_and_epochs_give_the_length(given: Make) -> None:
    for stage, expected in (
        ({"steps": 3}, 24),
        ({"steps": None, "examples": 7}, 7),
        ({"steps": None, "epochs": 1.5}, 14),
    ):
        config = read({**given(**stage), "validation": {"share": 0.2}})
        assert len(stages.shown(config, 0, stages.split(config), 8)) == expected


def test_validation_shows_its_examples_unvaried(given: Make) -> None:
    config = read({**given(), "validation": {"subjects": {"toy": ["s0", "s1"]}, "examples": 4}})
    held = stages.validated(config, 0, stages.split(config))
    assert held is not None and len(held) == 4 and not held.augment
    none = replace(config, validation=Validation(share=0))
    assert stages.validated(none, 0, stages.split(none)) is None


def test_validation_takes_the_forms_that_its_people_have_clips_for(
    given: Make, toy: Path, prepare_toy: Callable[..., None]
) -> None:
    prepare_toy(toy, "thirds", subjects=3)  # each of its people shows one label alone
    data = [{"dataset": "thirds", "forms": {"label": 1, "aus": 1}, "labels": "disgust+surprise"}]
    plain = {**given(data=data), "validation": {"subjects": {"thirds": ["s1"]}}}
    sides = stages.split(read(plain))
    held = stages.validated(read(plain), 0, sides)
    assert held is not None and {held[i].form for i in range(len(held))} == {"aus"}, "s1 has another label than these"
    stages.check(read(plain), sides)
    data[0]["forms"] = {"label": 1}
    with pytest.raises(InputError, match=r"validation of stages\[0\].data: .*named subjects \(thirds: s1\)"):
        stages.validated(read(plain), 0, sides)
    drawn = {**plain, "validation": {"share": 0.3}}
    found = [stages.validated(c, 0, stages.split(c)) for c in (read({**drawn, "seed": seed}) for seed in range(2))]
    assert any(one is None for one in found) and any(one is not None for one in found)


def test_all_faults_of_subjects_come_at_once(given: Make) -> None:
    plain = given()
    plain["validation"] = {"subjects": {"toy": ["s0", "s11"], "tyo": ["s0"]}}
    plain["leave_out"] = {"toy": ["s0"]}
    with pytest.raises(InputError) as error:
        stages.split(read(plain))
    text = "\n".join(error.value.faults)
    assert "validation.subjects.toy: no subject 's11'. Did you mean 's1'" in text
    assert "validation.subjects.tyo: no stage uses this dataset; known: toy. Did you mean 'toy'?" in text
    assert "toy/s0: expected on one side" in text
    plain["validation"] = {"subjects": {"toy": ["s0", "s1", "s2", "s3"]}}
    plain["leave_out"] = {}
    with pytest.raises(InputError, match="found 4 subjects, of which 4 validate"):
        stages.split(read(plain))


def test_the_cameras_of_smic_saw_the_same_people(given: Make, toy: Path, prepare_toy: Callable[..., None]) -> None:
    for name in ("smic", "smic_vis"):
        prepare_toy(toy, name)
    data = [{"dataset": name, "forms": {"aus": 1}} for name in ("smic", "smic_vis")]
    plain = {**given(data=data), "validation": {"share": 0.5}}
    sides = stages.split(read(plain))
    assert sides.validation["smic"] == sides.validation["smic_vis"]
    with pytest.raises(InputError, match="smic/s0: expected on one side"):
        stages.split(read({**plain, "validation": {"subjects": {"smic": ["s0"]}}}))


def test_the_fingerprint_follows_the_data(given: Make, toy: Path, prepare_toy: Callable[..., None]) -> None:
    (source,) = read(given()).stages[0].data
    prepare_toy(toy, "other", subjects=3)
    sums = stages.fingerprint([source, replace(source, dataset="other")])
    assert len(sums["toy"]["test"]) == 64 and sums["other"] != sums["toy"]


def test_heads_that_no_clip_teaches_are_refused(given: Make, toy: Path) -> None:
    data: Any = {"data": [{"dataset": "toy", "forms": {"label": 1}}]}
    sound = read(given(**data, heads={"units": 1, "label": 1, "coarse": 1, "regions": 1}))
    stages.check(sound, stages.split(sound))
    clips = [
        replace(one, aus=None, au_code=None, emotion=("calm", "tense")[n % 2])
        for n, one in enumerate(store.read("toy", "test"))
    ]
    store.write("toy", {"test": clips}, {"source": "drawn"}, root=toy, exists="replace")
    with pytest.raises(InputError) as caught:
        stages.check(sound, stages.split(sound))
    expected = {"units": "units", "coarse": "a coarse class"}
    assert caught.value.faults == tuple(
        f"stages[0].heads.{head}: expected clips with {what} to learn from, found none; leave it out"
        for head, what in expected.items()
    )
