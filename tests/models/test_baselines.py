"""Models that look at nothing: answers in the form of the tasks, the same in any order and process."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from mellm_plugin.errors import InputError, SettingsError
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.models.baselines import Constant, Random, constant_answer, random_answer

UNITS = [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 24, 25, 26]


def doc(number: int = 0, asks: str = "all", labels: tuple[str, ...] = LABELS["synthme"]) -> dict[str, Any]:
    scored = [] if asks == "emotion" else UNITS
    shown = [] if asks == "aus" else list(labels)
    return {"id": f"toy/s1/{number}", "asks": asks, "labels": shown, "scored_aus": scored, "aus": ["9"]}


@pytest.mark.parametrize("asks", ["all", "emotion", "aus"])
@pytest.mark.parametrize("dataset", LABELS)
def test_answers_are_read_as_they_were_meant(asks: str, dataset: str) -> None:
    for number in range(5):
        clip = doc(number, asks, LABELS[dataset])
        for answer in (constant_answer(clip), random_answer(clip, 0, 3)):
            found = read(answer, clip["labels"], asks)
            assert found.unparsed is None
            assert (found.label in clip["labels"]) == (asks != "aus")
            if asks != "emotion":
                assert found.aus is not None and set(found.aus) <= set(UNITS)
                assert len(found.aus) == (1 if answer == constant_answer(clip) else 3)


def test_a_constant_is_the_same_for_every_clip() -> None:
    assert {constant_answer(doc(n)) for n in range(9)} == {"Conclusion: action units AU4; expression: anger."}
    without = constant_answer({**doc(), "scored_aus": [12, 6]})
    assert without == "Conclusion: action units AU6; expression: anger.", "the task does not score AU 4"


def test_every_unit_and_label_is_drawn_about_as_often() -> None:
    units: Counter[int] = Counter()
    labels: Counter[str | None] = Counter()
    for number in range(1600):
        found = read(random_answer(doc(number), 0, 2), LABELS["synthme"])
        units.update(found.aus or ())
        labels[found.label] += 1
    assert len(units) == 16 and units.total() == 3200 and 140 <= min(units.values()) <= max(units.values()) <= 260
    assert len(labels) == 8 and 150 <= min(labels.values()) <= max(labels.values()) <= 250


def test_only_the_clip_and_the_seed_decide() -> None:
    assert random_answer(doc(3), 0, 2) == random_answer({**doc(3), "aus": None, "subject": "s9"}, 0, 2)
    assert len({random_answer(doc(n), 0, 2) for n in range(50)}) > 30
    assert sum(random_answer(doc(n), 0, 2) != random_answer(doc(n), 1, 2) for n in range(50)) > 30
    # The same on every Python version: runs on two machines are compared.
    assert random_answer(doc(0), 0, 2) == "Conclusion: action units AU10+AU26; expression: surprise."
    assert random_answer(doc(0, "aus"), 0, 99) == "action units " + "+".join(f"AU{unit}" for unit in UNITS)
    assert random_answer(doc(0, "aus"), 0, 0) == "action units none"


def requests(model: Any, docs: list[dict[str, Any]], order: list[int]) -> list[str]:
    model.task_dict = {"toy": {"test": docs}}
    asked = [SimpleNamespace(args=("", None, {}, number, "toy", "test")) for number in order]
    return [answer.text for answer in model.generate_until(asked)]


def test_order_and_batches_do_not_matter() -> None:
    docs = [doc(n) for n in range(6)]
    whole = requests(Random(seed="5", units="3", batch_size=1), docs, [0, 1, 2, 3, 4, 5])
    assert requests(Random(seed=5, units=3, batch_size="16", device="cpu"), docs, [5, 2]) == [whole[5], whole[2]]
    assert requests(Constant(), docs, [1, 2]) == [constant_answer(docs[0])] * 2


def test_a_text_of_ones_own_answers_anything() -> None:
    model = Constant.create_from_arg_string('answer="AU4, AU7: fear"', {"batch_size": 1})
    assert requests(model, [{"question": "what?"}], [0, 0]) == ["AU4, AU7: fear"] * 2
    assert requests(Constant.create_from_arg_string("answer=7"), [{}], [0]) == ["7"]


@pytest.mark.parametrize("model", [Constant(), Random()], ids=["constant", "random"])
def test_a_task_that_does_not_say_its_labels_is_refused(model: Any) -> None:
    with pytest.raises(InputError, match="toy: .* found no asks, no labels, no scored_aus.*answer=TEXT"):
        requests(model, [{"id": "1", "question": "what?"}], [0])


def test_wrong_arguments_are_all_told_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        Random.create_from_arg_string("seeds=1,units=-2,seed=x")
    assert len(error.value.faults) == 3 and "Did you mean 'seed'" in str(error.value)
    with pytest.raises(SettingsError, match="Did you mean 'answer'"):
        Constant.create_from_arg_string("answr=AU4")
