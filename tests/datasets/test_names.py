"""Names of subjects and clips in all spellings."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.datasets import megc2019
from mellm_plugin.datasets.names import person, plain, subject_key, tokens

NUMBERS = {
    "sub01": 1,
    "006": 6,
    "spNO.216": 216,
    "Subject 3": 3,
    "P_04": 4,
    "CASME2": None,
    "sub01_EP02": None,
    "": None,
}


@given(st.text(max_size=20))
def test_a_name_is_one_whatever_its_case_spaces_and_zeros(name: str) -> None:
    assert plain(plain(name)) == plain(name) == plain(f" {name} ")
    number = person(name)
    assert number is None or str(number) in plain(name)
    assert plain("S01-ne-01") == plain("s1_NE_1") == "s1_ne_1"
    assert {spelt: person(spelt) for spelt in NUMBERS} == NUMBERS


@pytest.mark.parametrize("names", [("s01_ne_01", "S1-ne-1", "s1 ne 1", "ｓ１_ne_01"), ("EP02_01f", "ep2.1F")])
def test_a_clip_in_all_spellings(names: tuple[str, ...]) -> None:
    assert len({tokens(name) for name in names}) == 1


@pytest.mark.parametrize(
    "names", [("sub01", "s1", "01", "1", " 1.0 ", "Subject 1"), ("Anna", "anna"), ("g1p2", "G01-p2")]
)
def test_a_subject_in_all_spellings(names: tuple[str, ...]) -> None:
    assert len({subject_key(name) for name in names}) == 1


@given(st.text(max_size=20))
def test_tokens_ignore_case_and_marks(name: str) -> None:
    assert tokens("_".join(tokens(name))) == tokens(name) == tokens(f" {name}-")


def test_no_two_real_clips_share_a_key() -> None:
    folder = Path(__file__).parents[1] / "names"
    names: list[tuple[str, str, str]] = []
    for file in (folder / "casme2.csv", folder / "samm.csv", Path(megc2019.__file__).parent / "megc2019.csv"):
        with file.open(encoding="utf-8", newline="") as lines:
            names += [(row.get("dataset", file.stem), row["subject"], row["clip"]) for row in csv.DictReader(lines)]
    names = list(dict.fromkeys(names))
    assert len({megc2019.clip_of(*name) for name in names}) > 500
    keys: dict[object, set[tuple[str, str, str]]] = {}
    for name in names:
        keys.setdefault(megc2019.clip_of(*name), set()).add((name[0], str(person(name[1])), plain(name[2])))
    assert all(len(same) == 1 for same in keys.values())
