"""Two models of lmms-eval that ignore the images: their scores are chance level.

    lmms-eval --model mellm_constant --tasks synthme_meu,synthme_sensitivity ...
    lmms-eval --model mellm_random --model_args seed=1,units=3 --tasks ...

    >>> random_answer({"id": "a/s1/1", "asks": "all", "labels": ["anger", "fear"], "scored_aus": [1, 4, 12]}, 0, 2)
    'Conclusion: action units AU4+AU12; expression: fear.'

They answer in the form that the tasks of this package request, and choose from the task's labels and units, never from
the annotation.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from mellm_plugin.errors import InputError, SettingsError, imports_of_lmms_eval, near

with imports_of_lmms_eval():
    from lmms_eval.api.instance import GenerationResult, Instance
    from lmms_eval.api.model import lmms

FREQUENT_UNIT = 4
"""The unit of `mellm_constant`: the brow lowerer, the most frequent unit in most micro-expression datasets."""

_COLUMNS = ("id", "asks", "labels", "scored_aus")


def constant_answer(doc: Mapping[str, Any]) -> str:
    """The brow lowerer (or a task's first unit, if it has no brow lowerer) and the task's first label."""
    known = sorted(doc["scored_aus"])
    units = [FREQUENT_UNIT] if FREQUENT_UNIT in known else known[:1]
    return _in_form(doc, units, doc["labels"][0] if doc["labels"] else "")


def random_answer(doc: Mapping[str, Any], seed: int, units: int) -> str:
    """Uniformly random units and label.

    Args:
        doc: a clip with `id`, `asks`, `labels` and `scored_aus`; the answer depends only on it and the seed, not on
            order or batches.
        seed: of the draw.
        units: number of units to name, at most all.
    """
    rng = random.Random(f"{seed} {doc['id']} {doc['asks']}")
    label = rng.choice(doc["labels"]) if doc["labels"] else ""
    known = sorted(doc["scored_aus"])
    return _in_form(doc, sorted(rng.sample(known, min(units, len(known)))), label)


def _in_form(doc: Mapping[str, Any], units: list[int], label: str) -> str:
    """An answer in the form that the prompt requests."""
    named = "+".join(f"AU{unit}" for unit in units) or "none"
    if doc["asks"] == "emotion":
        return label
    return (
        f"action units {named}" if doc["asks"] == "aus" else f"Conclusion: action units {named}; expression: {label}."
    )


class _Baseline(lmms):  # type: ignore[misc]
    """A model that answers without looking at the images."""

    is_simple = False

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Answers in the order of the requests.

        Raises:
            InputError: the task's clips lack the columns for an answer.
        """
        answers = []
        for request in requests:
            _, _, _, doc_id, task, split = request.args
            answers.append(GenerationResult(self._answer(self.task_dict[task][split][doc_id], task)))
        return answers

    def _answer(self, doc: Mapping[str, Any], task: str) -> str:
        raise NotImplementedError

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not supported; raises NotImplementedError."""
        raise NotImplementedError("a baseline generates answers; choose tasks with output_type: generate_until")

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not supported; raises NotImplementedError."""
        raise NotImplementedError("a baseline answers in one round only; choose tasks with output_type: generate_until")


class Constant(_Baseline):
    """Gives every clip the same answer.

    Args:
        answer: the answer, quoted if it contains a comma; by default `constant_answer`, the same for all clips of a
            task.
        ignored: arguments that lmms-eval passes to every model (`batch_size`, `device` and so on).

    Raises:
        SettingsError: unknown arguments.
    """

    def __init__(self, answer: str | None = None, **ignored: Any) -> None:
        super().__init__()
        _check(ignored, ("answer",))
        self.answer = None if answer is None else _unquoted(str(answer))

    def _answer(self, doc: Mapping[str, Any], task: str) -> str:
        return constant_answer(_asked(doc, task)) if self.answer is None else self.answer


class Random(_Baseline):
    """Gives random answers.

    Args:
        seed: of the answers.
        units: number of units to name; clips of micro-expressions have about two on average.
        ignored: arguments that lmms-eval passes to every model (`batch_size`, `device` and so on).

    Raises:
        SettingsError: unknown or unusable arguments; lists all.
    """

    def __init__(self, seed: int | str = 0, units: int | str = 2, **ignored: Any) -> None:
        super().__init__()
        faults = []
        for name, value in (("seed", seed), ("units", units)):
            if isinstance(value, bool) or not str(value).isdecimal():
                faults.append(f"{name}: expected a whole number of at least 0, found {value!r}")
        _check(ignored, ("seed", "units"), faults)
        self.seed, self.units = int(seed), int(units)

    def _answer(self, doc: Mapping[str, Any], task: str) -> str:
        return random_answer(_asked(doc, task), self.seed, self.units)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


_OF_EVERY_MODEL = ("batch_size", "max_batch_size", "device")


def _check(given: Mapping[str, Any], known: tuple[str, ...], faults: list[str] | None = None) -> None:
    faults = list(faults or ())
    for name in given:
        if name not in _OF_EVERY_MODEL:
            faults.append(f"{name}: no such argument; known: {', '.join(known)}.{near(name, known)}")
    if faults:
        raise SettingsError(faults, where="model arguments")


def _asked(doc: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    lacking = [column for column in _COLUMNS if column not in doc]
    if lacking:
        raise InputError(
            f"expected clips with the columns of *_meu, *_emotion and *_au tasks; "
            f"found no {', no '.join(lacking)}. mellm_constant with answer=TEXT answers any task.",
            where=task,
        )
    return doc
