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
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mellm_plugin.errors import InputError, SettingsError, imports_of_lmms_eval, near

with imports_of_lmms_eval():
    from lmms_eval.api.instance import GenerationResult, Instance
    from lmms_eval.api.model import lmms

NO_ANSWER = "I have no answer to this."
"""What a baseline says where it cannot answer; it counts as unread."""

FREQUENT_UNIT = 4
"""The unit of `mellm_constant`: the brow lowerer, the most frequent unit in most micro-expression datasets."""


def constant_answer(doc: Mapping[str, Any]) -> str:
    """The brow lowerer (or a task's first unit, if it has no brow lowerer) and the task's first label."""
    known = sorted(doc["scored_aus"])
    units = [FREQUENT_UNIT] if FREQUENT_UNIT in known else known[:1]
    return in_form(doc["asks"], units, doc["labels"][0] if doc["labels"] else "")


def random_answer(doc: Mapping[str, Any], seed: int, units: int) -> str:
    """A uniformly random label, and so many units, at most all; it depends on the clip and the seed alone."""
    rng = random.Random(f"{seed} {doc['id']} {doc['asks']}")
    label = rng.choice(doc["labels"]) if doc["labels"] else ""
    known = sorted(doc["scored_aus"])
    return in_form(doc["asks"], sorted(rng.sample(known, min(units, len(known)))), label)


def in_form(asks: str, units: Sequence[int] | None, label: str | None) -> str:
    """An answer in the form that the prompt requests; None for units or a label that the model cannot name."""
    named = NO_ANSWER if units is None else "action units " + ("+".join(f"AU{unit}" for unit in units) or "none")
    said = NO_ANSWER if label is None else label
    if asks in ("emotion", "aus"):
        return said if asks == "emotion" else named
    parts = [named] if units is not None else []
    parts += [f"expression: {label}"] if label is not None else []
    return f"Conclusion: {'; '.join(parts)}." if parts else NO_ANSWER


class Baseline(lmms):  # type: ignore[misc]
    """A model that answers each clip by itself, by `_answer`."""

    is_simple = False

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Answers in the order of the requests; raises InputError if the clips lack the columns for an answer."""
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


class Constant(Baseline):
    """Gives every clip the same answer: the given one, quoted if it contains a comma, else `constant_answer`.

    It ignores arguments that lmms-eval passes to every model, and raises SettingsError for others.
    """

    def __init__(self, answer: str | None = None, **ignored: Any) -> None:
        super().__init__()
        _check(ignored, ("answer",))
        quoted = re.fullmatch(r"([\"'])(.*)\1", str(answer), re.DOTALL)
        self.answer = None if answer is None else quoted[2] if quoted else str(answer)

    def _answer(self, doc: Mapping[str, Any], task: str) -> str:
        return constant_answer(_asked(doc, task)) if self.answer is None else self.answer


class Random(Baseline):
    """Gives random answers with so many units; clips of micro-expressions have about two on average.

    It ignores arguments that lmms-eval passes to every model, and raises SettingsError with all faults of others.
    """

    def __init__(self, seed: int | str = 0, units: int | str = 2, **ignored: Any) -> None:
        super().__init__()
        faults = [
            f"{name}: expected a whole number of at least 0, found {value!r}"
            for name, value in (("seed", seed), ("units", units))
            if isinstance(value, bool) or not str(value).isdecimal()
        ]
        _check(ignored, ("seed", "units"), faults)
        self.seed, self.units = int(seed), int(units)

    def _answer(self, doc: Mapping[str, Any], task: str) -> str:
        return random_answer(_asked(doc, task), self.seed, self.units)


def _check(given: Mapping[str, Any], known: tuple[str, ...], faults: Sequence[str] = ()) -> None:
    unknown = [name for name in given if name not in ("batch_size", "max_batch_size", "device")]
    no_such = [f"{name}: no such argument; known: {', '.join(known)}.{near(name, known)}" for name in unknown]
    if faults or no_such:
        raise SettingsError([*faults, *no_such], where="model arguments")


def _asked(doc: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    if lacking := [column for column in ("id", "asks", "labels", "scored_aus") if column not in doc]:
        raise InputError(
            f"expected clips with the columns of *_meu, *_emotion and *_au tasks; "
            f"found no {', no '.join(lacking)}. mellm_constant with answer=TEXT answers any task.",
            where=task,
        )
    return doc
