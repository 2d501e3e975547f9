"""The score of a task on validation examples: closed questions by likelihood, others by what the model writes.

Scores(trainer model, collator).of(examples)  ->  {"score": .61, "label_uf1": .55, "au_f1": .67, ..}

label_uf1    UF1 of the label: forms `label`, by the likelihood of each label of its set, and `description`, as read
au_f1        mean F1 of the units that answers of `aus` and `description` name
unit_f1      F1 of yes, by likelihood, where single units are asked for
score        the mean of those above
majority     UF1 of always giving the most frequent label of these examples
commonest    the share of the label that is given most often
outside      the share of label answers, as the model writes them, that are not in the closed set
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from mellm_plugin.facs.codes import numbers
from mellm_plugin.language.answers import read
from mellm_plugin.language.lexicon import LANGUAGES
from mellm_plugin.language.short_answers import label_answer, yes_or_no
from mellm_plugin.models.arguments import generation_arguments
from mellm_plugin.models.inputs import encoded, on_device, rendered
from mellm_plugin.models.likelihood import Likelihood
from mellm_plugin.scoring import emotion, units
from mellm_plugin.training.collator import Collator, chat
from mellm_plugin.training.data import Example

MOST_WRITTEN = 48
"""At most so many answers of a validation are written, word by word, which takes longer than a likelihood."""

_WRITTEN_LABELS = 16
_LENGTHS = {"label": 24, "aus": 64, "description": 320}  # tokens


@dataclass
class Decided:
    """What was decided for examples, to be scored together."""

    labels: list[tuple[str, str | None, tuple[str, ...]]] = field(default_factory=list)  # truth, said, closed set
    units: list[tuple[Any, Any]] = field(default_factory=list)  # events, numbers said or None
    unit: list[tuple[bool, bool]] = field(default_factory=list)  # whether it is there, whether it was said
    written: list[bool] = field(default_factory=list)  # whether a written label is in the set

    def add(self, other: Decided) -> None:
        """Add what another process has decided."""
        for name, values in vars(other).items():
            getattr(self, name).extend(values)

    def scores(self) -> dict[str, float]:
        """The scores that these decisions have."""
        found: dict[str, float] = {}
        if self.labels:
            gold, said = [one[0] for one in self.labels], [one[1] for one in self.labels]
            labels = list(dict.fromkeys(label for *_, some in self.labels for label in some))
            found["label_uf1"] = emotion.score(gold, said, labels).uf1 or 0.0
            given = Counter(label for label in said if label is not None)
            found |= {"majority": emotion.majority(gold, labels).uf1 or 0.0, "labels": float(len(set(gold)))}
            found["commonest"] = max(given.values(), default=0) / len(said)
        if self.units:
            events, named = [one[0] for one in self.units], [one[1] for one in self.units]
            asked = sorted({number for some in events for event in some for number in event})
            if (mean := units.score(events, named, asked).mean) is not None:
                found["au_f1"] = mean
            if shown := [some for some, event in zip(named, events, strict=True) if event]:
                found["no_units"] = sum(not some for some in shown) / len(shown)
        if any(there for there, _ in self.unit):
            hits = sum(there and said for there, said in self.unit)
            found["unit_f1"] = 2 * hits / sum(there + said for there, said in self.unit)
        if self.written:
            found["outside"] = 1 - sum(self.written) / len(self.written)
        parts = [found[name] for name in ("label_uf1", "au_f1", "unit_f1") if name in found]
        return {"score": sum(parts) / len(parts), **found} if parts else found


class Scores:
    """Asks a model the questions of examples and decides its answers; the model is in eval mode."""

    def __init__(self, model: Any, collator: Collator, batch_size: int) -> None:
        self.model, self.processor, self.batch_size = model, collator.processor, batch_size
        self._likelihood = Likelihood(model, self.processor, collator.ends)

    def of(self, examples: Iterable[Example]) -> Decided:
        """What the model decides for examples with their truth."""
        done = Decided()
        by_form: dict[str, list[Example]] = {}
        for example in examples:
            by_form.setdefault(example.form, []).append(example)
        self._closed(by_form.get("label", []), by_form.get("unit", []), done)
        for form in ("aus", "description"):
            self._written(by_form.get(form, [])[:MOST_WRITTEN], done)
        for example, text in self._answers(by_form.get("label", [])[:_WRITTEN_LABELS]):
            assert example.truth is not None
            done.written.append(read(text, example.truth.labels, "emotion").label in example.truth.labels)
        return done

    def _closed(self, labelled: Sequence[Example], of_units: Sequence[Example], done: Decided) -> None:
        """Decide questions with a closed set of answers."""
        groups: dict[tuple[str, ...], list[tuple[Example, int]]] = {}
        sets: dict[tuple[str, ...], tuple[str, ...]] = {}
        for example in labelled:
            if example.truth is None or example.truth.label is None:
                continue
            for language in LANGUAGES:
                answers = tuple(label_answer(label, language) for label in example.truth.labels)
                right = example.truth.labels.index(example.truth.label)
                if answers[right] == example.answer:
                    sets[answers] = example.truth.labels
                    groups.setdefault(answers, []).append((example, right))
                    break
        for answers, some in groups.items():
            for (_, right), best in zip(some, self._likeliest([one for one, _ in some], answers), strict=True):
                done.labels.append((sets[answers][right], sets[answers][best], sets[answers]))
        for language in LANGUAGES:
            answers = yes_or_no(True, language), yes_or_no(False, language)
            asked = [example for example in of_units if example.answer in answers]
            for example, best in zip(asked, self._likeliest(asked, answers), strict=True):
                done.unit.append((example.answer == answers[0], best == 0))

    def _likeliest(self, examples: Sequence[Example], answers: Sequence[str]) -> list[int]:
        """For each example, the place of the answer that is likeliest as a whole."""
        found: list[int] = []
        for first in range(0, len(examples), self.batch_size):
            some = examples[first : first + self.batch_size]
            texts = [rendered(self.processor, chat(example)) for example in some]
            log = self._likelihood(texts, [example.images for example in some], answers).log
            found += [int(best) for best in log.argmax(1)]
        return found

    def _written(self, examples: Sequence[Example], done: Decided) -> None:
        """Read what the model writes."""
        for example, text in self._answers(examples):
            assert example.truth is not None
            record, labels = example.truth.record, example.truth.labels
            of_all = example.form == "description"
            answer = read(text, labels if of_all else (), "all" if of_all else "aus")
            if record.aus is not None:
                done.units.append((numbers(record.aus), answer.aus))
            if of_all and example.truth.label is not None:
                said = answer.label if answer.label in labels else None
                done.labels.append((example.truth.label, said, labels))
                done.written.append(said is not None)

    def _answers(self, examples: Sequence[Example]) -> Iterable[tuple[Example, str]]:
        greedy, *_ = generation_arguments({})
        for first in range(0, len(examples), self.batch_size):
            some = examples[first : first + self.batch_size]
            texts = [rendered(self.processor, chat(example)) for example in some]
            inputs = on_device(encoded(self.processor, texts, [example.images for example in some]), self.model)
            length = max(_LENGTHS[example.form] for example in some)
            with torch.no_grad():
                padding = self.processor.tokenizer.pad_token_id
                rows = self.model.generate(**inputs, **greedy | {"max_new_tokens": length}, pad_token_id=padding)
            answers = self.processor.tokenizer.batch_decode(
                rows[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
            yield from zip(some, answers, strict=True)


def faults(scores: dict[str, float]) -> list[str]:
    """What is wrong with a training that ends with these scores, and what to do."""
    found: list[str] = []
    if "label_uf1" in scores and scores["labels"] > 1:
        if scores["commonest"] > 0.95:
            found.append(
                f"{scores['commonest']:.0%} of the validation clips get the same label. The stage has not learnt to "
                "tell labels apart: train vision and projector too, add heads, take more steps, or lower the rate"
            )
        elif scores["label_uf1"] <= scores["majority"]:
            found.append(
                f"UF1 on the validation people is {scores['label_uf1']:.3f}; always saying their most frequent label "
                f"scores {scores['majority']:.3f}. Do not use this model for labels: check labels= and the data, take "
                "more steps, or compare with mellm loso --baseline"
            )
    if scores.get("outside", 0.0) > 0.1:
        found.append(
            f"{scores['outside']:.0%} of the written labels are not in the set of the question. Evaluate with closed "
            "questions, raise the share of the form label, take more steps, or train embeddings: full"
        )
    if scores.get("no_units", 0.0) > 0.95:
        found.append(
            f"{scores['no_units']:.0%} of the answers name no unit. Take more steps, or add heads: {{units: 1}} with "
            "vision: lora"
        )
    return found
