"""Examples: a plan that depends on its arguments alone, keeps shares and subjects, and favours what is rare."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mellm_plugin.datasets import store, synthme
from mellm_plugin.errors import InputError
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.language.prompts import map_prompt
from mellm_plugin.motion.settings import DEFAULT, PRESETS
from mellm_plugin.training.data import CAP, Example, Examples, Source, subjects, training_split
from mellm_plugin.training.forms import FORMS

EVERY_FORM = dict.fromkeys(FORMS, 1.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two prepared datasets: `toy`, 30 clips of 6 subjects, some of them lacking labels or units; `plain`, no units."""
    folder = tmp_path_factory.mktemp("data")
    made = list(synthme.clips("elsewhere", 3))
    labels = ["disgust"] * 20 + ["happiness"] * 6 + ["surprise"] * 2 + [None] * 2
    codes: list[tuple[str, ...] | None] = [("4", "7")] * 18 + [("L10",)] * 2 + [("12",)] * 6 + [("1", "2"), None]
    codes += [("6/12",), ("14",)]
    samples = []
    for n, (label, aus) in enumerate(zip(labels, codes, strict=True)):
        code = None if aus is None else "14+?" if n == 29 else "+".join(aus)
        known = {"emotion": label, "coarse": None, "aus": aus, "au_code": code}
        place = {"id": f"toy/s{n % 6}/{n}", "dataset": "toy", "subject": f"s{n % 6}", "clip": str(n)}
        samples.append(replace(synthme.sample(made[n % 3]), **place, **known))  # type: ignore[arg-type]
    store.write("toy", {"train": samples[:28], "test": samples[28:]}, {"source": "drawn"}, root=folder)
    bare = {"aus": None, "au_code": None, "emotion": "positive", "coarse": "positive"}
    plain = [replace(one, id=f"plain/{one.id}", **bare) for one in samples[:4]]  # type: ignore[arg-type]
    store.write("plain", {"test": plain}, {"source": "drawn"}, root=folder)
    return folder


def _same(a: Example, b: Example) -> bool:
    plain = [(e.clip, e.form, e.prompt, e.answer, e.subject, e.dataset) for e in (a, b)]
    return plain[0] == plain[1] and all(np.array_equal(x, y) for x, y in zip(a.images, b.images, strict=True))


def test_an_example_depends_on_the_arguments_and_its_place_alone(root: Path) -> None:
    sources = [Source("toy", forms=EVERY_FORM, languages={"en": 1, "zh": 1}), Source("synthme", clips=6, weight=2)]
    first = Examples(sources, DEFAULT, count=16, seed=3, root=root)
    backwards = {i: first[i] for i in reversed(range(16))}
    other = pickle.loads(pickle.dumps(Examples(sources, DEFAULT, count=16, seed=3, root=root)))
    more = first.extended(300)
    assert len(more) == 300 and len(first) == 16
    for i in range(16):
        assert _same(other[i], backwards[i]) and _same(more[i], backwards[i])
    assert _same(first[-1], backwards[15]) and [e.clip for e in first[3:5]] == [backwards[i].clip for i in (3, 4)]
    another = Examples(sources, DEFAULT, count=16, seed=4, root=root)
    assert any(another[i].prompt != backwards[i].prompt for i in range(16))
    with pytest.raises(IndexError):
        first[16]


def test_long_answers_come_last_in_each_step(root: Path) -> None:
    examples = Examples([Source("toy", forms={"label": 1, "description": 1, "unit": 1})], DEFAULT, root=root)
    plain, ordered = examples.extended(70).plan, examples.extended(70, 16).plan
    for start in range(0, 70, 16):
        before, after = plain[start : start + 16], ordered[start : start + 16]
        assert sorted(map(tuple, before)) == sorted(map(tuple, after))
        long = [examples._streams[stream].form == "description" for stream in after[:, 0]]
        assert long == sorted(long) and any(long)


def test_shares_of_sources_forms_and_languages_are_kept(root: Path) -> None:
    sources = [
        Source("toy", forms={"label": 3, "aus": 1}, languages={"zh": 1}),
        Source("synthme", clips=10, weight=3, forms={"legend": 1}),
    ]
    examples = Examples(sources, DEFAULT, count=512, root=root)
    counts = examples.counts()
    assert counts["examples"] == 512
    assert counts["datasets"]["toy"]["examples"] == pytest.approx(128, abs=4)
    assert counts["forms"]["label"] == pytest.approx(96, abs=4) and counts["forms"]["legend"] == pytest.approx(
        384, abs=4
    )
    assert counts["datasets"]["synthme"]["clips"] == 10 and counts["datasets"]["toy"]["subjects"] == 6
    chinese = [examples[i].prompt for i in range(12) if examples[i].form != "legend"]
    assert chinese and all("。" in prompt or "？" in prompt for prompt in chinese)


def test_without_balance_every_clip_comes_once_a_round(root: Path) -> None:
    examples = Examples([Source("toy", forms={"label": 1})], DEFAULT, balance=False, root=root)
    assert len(examples) == examples.clips == 28
    twice = examples.extended(56)
    assert {*Counter(map(int, twice.plan[:28, 1])).values()} == {1} == {*Counter(map(int, twice.plan[28:, 1])).values()}


def test_rare_labels_and_units_come_more_often(root: Path) -> None:
    source = [Source("toy", forms={"label": 1})]
    of = Examples(source, DEFAULT, count=2800, root=root).counts()["datasets"]["toy"]["labels"]
    plain = Examples(source, DEFAULT, count=2800, balance=False, root=root).counts()["datasets"]["toy"]["labels"]
    assert {name: entry["examples"] for name, entry in plain.items()} == {
        "disgust": 2000,
        "happiness": 600,
        "surprise": 200,
    }
    # 20, 6 and 2 clips: each label a third, but no clip more than four times the mean
    assert of["surprise"]["examples"] == pytest.approx(2 * CAP * 100, rel=0.02)
    assert of["happiness"]["examples"] == pytest.approx(1000, rel=0.06)
    assert of["disgust"]["examples"] == pytest.approx(1000, rel=0.06)
    units = Examples([Source("toy", forms={"aus": 1})], DEFAULT, count=2700, root=root).counts()
    share = {n: entry["examples"] / entry["clips"] for n, entry in units["datasets"]["toy"]["units"].items()}
    assert share[1] > share[12] > share[4]


def test_subjects_are_kept_apart(root: Path) -> None:
    sources = [Source("toy"), Source("synthme", clips=25)]
    assert subjects(sources, root) == {"toy": tuple(f"s{n}" for n in range(6)), "synthme": ("s00", "s01", "s02")}
    kept = {"toy": ["s1", "s4"], "synthme": ["s02"]}
    for side, people in (({"without": kept}, {"toy": 4, "synthme": 2}), ({"only": kept}, {"toy": 2, "synthme": 1})):
        examples = Examples(sources, DEFAULT, count=200, root=root, **side)  # type: ignore[arg-type]
        assert {name: of["subjects"] for name, of in examples.counts()["datasets"].items()} == people
        named = {examples[i].subject for i in range(10)} & {"toy/s1", "toy/s4", "synthme/s02"}
        assert bool(named) == ("only" in side)


def test_unvaried_examples_are_asked_as_evaluation_asks(root: Path) -> None:
    labels = ("disgust", "happiness", "surprise")
    source = Source("toy", forms={"description": 1}, labels="+".join(labels))
    examples = Examples([source], DEFAULT, count=6, augment=False, root=root)
    for example in examples:
        assert example.prompt == map_prompt(labels)
        answer = read(example.answer, labels)
        assert answer.label in labels and answer.aus is not None
    assert any(e.prompt != map_prompt(labels) for e in Examples([source], DEFAULT, count=6, root=root))


def test_several_sets_of_labels_take_turns(root: Path) -> None:
    source = Source("synthme", clips=30, forms={"label": 1}, labels="smic, casme2,anger+contempt")
    sets = ({*LABELS["smic"]}, {*LABELS["casme2"]}, {"anger", "contempt"})
    seen = set()
    for example in Examples([source], DEFAULT, count=40, root=root):
        offered = {label for label in set.union(*sets) if re.search(rf"\b{label}\b", example.prompt)}
        (asked,) = (place for place, one in enumerate(sets) if offered <= one)
        assert example.answer in offered
        seen.add(asked)
    assert seen == {0, 1, 2}


def test_frames_instead_of_maps(root: Path) -> None:
    for example in Examples([Source("toy"), Source("synthme", clips=3)], None, count=10, root=root):
        assert len(example.images) == 2 and example.form != "legend"
        assert all(image.shape == (224, 224, 3) and image.dtype == np.uint8 for image in example.images)
        assert "purple" not in example.answer and "purple" not in example.prompt


def test_legends_name_the_colours_of_the_palette(root: Path) -> None:
    legend = Source("toy", forms={"legend": 1})
    said = "".join(
        e.prompt + e.answer for e in Examples([legend], replace(DEFAULT, palette="colour-blind"), count=20, root=root)
    )
    assert "purple" not in said and "crimson" in said
    (published,) = Examples([Source("toy", forms={"region": 1})], PRESETS["published"], count=1, root=root)
    assert published.images[0].shape == (224, 224, 3)


def test_all_faults_come_at_once(root: Path) -> None:
    sources = [
        Source("toyy"),
        Source("toy", forms={"labels": 1, "aus": -1}, languages={"de": 1}, weight=0),
        Source("synthme-v1"),
        Source("synthme", clips=0, split="test"),
        Source("toy", clips=3),
        Source("toy", labels="disgst+happiness"),
        Source("plain", forms={"aus": 1, "label": 1}),
        Source("megc_vqa"),
        Source("toy", split="dev"),
        Source("synthme", split="test"),
    ]
    with pytest.raises(InputError) as caught:
        Examples(sources, None, count=0, root=root)
    text = str(caught.value)
    for words in (
        "count: expected at least 1",
        "sources[0] (toyy): the dataset 'toyy' is not prepared",
        "sources[1] (toy): weight: expected a number above 0",
        "forms.labels: no such key; known: description, aus",
        "forms.aus: expected a number of at least 0",
        "languages.de: no such key; known: en, zh",
        "sources[2] (synthme-v1): dataset: 'synthme-v1' is the test set",
        "sources[9] (synthme): split",
        "sources[3] (synthme): clips: expected a whole number",
        "sources[4] (toy): clips: only synthme takes",
        "labels: 'disgst' is neither a label nor a dataset. Did you mean 'disgust'",
        "sources[6] (plain): forms.aus: expected clips with known units",
        "megc_vqa holds questions",
        "has no split 'dev'",
    ):
        assert words in text, words
    with pytest.raises(InputError, match="legend"):
        Examples([Source("toy", forms={"legend": 1})], None, root=root)
    with pytest.raises(InputError, match="expected at least one"):
        Examples([], DEFAULT)
    with pytest.raises(InputError, match="subjects to keep"):
        Examples([Source("toy")], DEFAULT, only={"toy": ["nobody"]}, root=root)


def test_a_dataset_without_units_gets_the_other_forms(root: Path) -> None:
    forms = Examples([Source("plain")], DEFAULT, count=100, root=root).counts()["forms"]
    assert {"description", "label", "region", "legend"} <= set(forms) and not {"aus", "unit"} & set(forms)


def test_the_split_of_training_is_train_where_there_is_one(root: Path) -> None:
    splits = [training_split(source, root) for source in (Source("toy"), Source("plain"), Source("toy", split="test"))]
    assert splits == ["train", "test", "test"]
