"""The people that each fold holds out."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.errors import InputError
from mellm_plugin.training.config import Config, Stage, Train, Validation
from mellm_plugin.training.data import Source
from mellm_plugin.training.folds import Fold, fold_config, make_folds

CONFIG = Config(
    base="bundled",
    output="runs/all",
    stages=(
        Stage(
            name="labels",
            data=(Source("casme2"), Source("smic"), Source("smic_vis"), Source("synthme")),
            train=Train(language="full"),
            learning_rate={"language": 1e-4},
            steps=2,
        ),
    ),
)
EVERY = {
    "casme2": ("sub01", "sub02", "sub03"),
    "smic": ("s01", "s02"),
    "smic_vis": ("s01", "s03"),
    "synthme": ("s01", "s02"),
}


def clips(**of: int) -> list[tuple[str, str]]:
    """So many clips of each subject of CASME II."""
    return [("casme2", subject) for subject, count in of.items() for _ in range(count)]


def test_one_fold_for_each_person() -> None:
    folds = make_folds(clips(sub02=3, sub01=1))
    assert folds == (
        Fold("1-casme2-sub01", {"casme2": ("sub01",)}, 1),
        Fold("2-casme2-sub02", {"casme2": ("sub02",)}, 3),
    )


def test_one_person_filmed_by_several_cameras_is_one_fold() -> None:
    folds = make_folds([("smic", "s01"), ("samm", "s01"), ("smic_vis", "s01"), ("smic_nir", "s01")])
    assert [fold.people for fold in folds] == [
        {"samm": ("s01",)},
        {"smic": ("s01",), "smic_nir": ("s01",), "smic_vis": ("s01",)},
    ]
    assert [fold.clips for fold in folds] == [1, 3]


def test_groups_are_balanced_by_clips() -> None:
    folds = make_folds(clips(sub01=9, sub02=5, sub03=4, sub04=2, sub05=1), 2)
    assert [(fold.name, fold.clips) for fold in folds] in ([("1", 10), ("2", 11)], [("1", 11), ("2", 10)])


@settings(max_examples=50)
@given(
    st.dictionaries(st.integers(0, 40), st.integers(1, 20), min_size=2, max_size=20),
    st.integers(2, 20),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_everybody_is_held_out_once(counts: dict[int, int], count: int, seed: int, order: random.Random) -> None:
    asked = clips(**{f"sub{number:02}": n for number, n in counts.items()})
    shuffled = order.sample(asked, len(asked))
    count = min(count, len(counts))
    folds = make_folds(asked, count, seed)
    assert folds == make_folds(shuffled, count, seed), "the order of clips decides nothing"
    people = Counter(subject for fold in folds for of in fold.people.values() for subject in of)
    assert people == Counter(set(subject for _, subject in asked))
    assert len(folds) == count and all(fold.people for fold in folds)
    assert sum(fold.clips for fold in folds) == len(asked)
    assert max(fold.clips for fold in folds) - min(fold.clips for fold in folds) <= max(counts.values())


def test_the_seed_decides_among_people_with_as_many_clips() -> None:
    asked = clips(**{f"sub{number:02}": 2 for number in range(12)})
    assert len({str(make_folds(asked, 3, seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize(("people", "count"), [(3, 1), (3, 0), (3, 4), (3, -1), (1, None)])
def test_impossible_numbers_of_folds_are_refused(people: int, count: int | None) -> None:
    found = f"found {people}" if count is None else f"found {people} and --folds {count}"
    with pytest.raises(InputError, match=f"at least 2 people.*{found}$"):
        make_folds(clips(**{f"sub{number}": 7 for number in range(people)}), count)


@pytest.mark.parametrize(
    ("people", "earlier", "left_out"),
    [
        ({"casme2": ("sub02",), "smic": ("s01",)}, {}, {"casme2": ("sub02",), "smic": ("s01",), "smic_vis": ("s01",)}),
        ({"synthme": ("s01",), "casme2": ("sub01",)}, {}, {"casme2": ("sub01",)}),  # drawn faces are nobody
        (
            {"casme2": ("sub01",)},
            {"casme2": ("sub03",), "smic": ("s02",)},
            {"casme2": ("sub01", "sub03"), "smic": ("s02",)},
        ),
    ],
)
def test_the_config_of_a_fold_leaves_its_people_out(tmp_path: Path, people: Any, earlier: Any, left_out: Any) -> None:
    config = replace(CONFIG, leave_out=earlier)
    made = fold_config(config, Fold("1", people, 5), EVERY, tmp_path)
    assert made == replace(config, output=str(tmp_path), leave_out=left_out, validation=made.validation)


def test_validation_leaves_the_people_of_a_fold_out(tmp_path: Path) -> None:
    checked = Validation(share=0.2, subjects={"casme2": ("sub01", "sub02"), "smic": ("s01",)}, examples=7, by="loss")
    fold = Fold("1", {"casme2": ("sub01",), "smic_vis": ("s01",)}, 5)
    made = fold_config(replace(CONFIG, validation=checked), fold, EVERY, tmp_path)
    assert made.validation == Validation(share=0.2, subjects={"casme2": ("sub02",)}, examples=7, by="loss")
