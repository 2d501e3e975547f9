"""Questions of the ME-VQA challenges about any clip, with answers from its annotation.

    question(record, ("disgust", "happiness"), units, "map", "standard", rng)
      -> "The image is a motion map .. Is the action unit brow lowerer shown on the face? Answer with yes or no alone.",
         "yes"

Questions are in English, like the challenges; prompts are those of evaluation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from mellm_plugin.datasets.vqa_questions import unit_name
from mellm_plugin.facs.codes import numbers, parse_canonical
from mellm_plugin.facs.labels import COARSE
from mellm_plugin.language.lexicon import joined
from mellm_plugin.language.prompts import VQA_QUESTIONS, fill_legend, vqa_prompt
from mellm_plugin.training.clips import Record

_SIDES = {"L": "left", "R": "right"}


def certain_units(record: Record) -> tuple[int, ...]:
    """The units that a clip certainly has; alternatives are not certain."""
    return tuple(dict.fromkeys(event[0] for event in numbers(record.aus or ()) if len(event) == 1))


def can_ask_unit(record: Record, units: Mapping[int, int]) -> bool:
    """Whether some unit is known to be present, or one of `units` to be absent."""
    return bool(certain_units(record) or _absent(record, units))


def _absent(record: Record, units: Mapping[int, int]) -> list[int]:
    """Units known to be absent: not coded, although the whole code was readable."""
    if record.aus is None or not record.complete:
        return []
    open_or_there = {number for event in numbers(record.aus) for number in event}
    return [number for number in units if number not in open_or_there]


def unit_to_ask(record: Record, units: Mapping[int, int], rng: np.random.Generator) -> tuple[int, bool]:
    """A unit to ask about, and whether it is present: half of the time, also for each single unit.

    `units` maps the units of the source's clips to their numbers of clips."""
    there = certain_units(record)
    absent = _absent(record, units)
    if there and (not absent or rng.random() < 0.5):
        return there[int(rng.integers(len(there)))], True
    odds = np.array([units[number] for number in absent], np.float64)
    return absent[int(rng.choice(len(absent), p=odds / odds.sum()))], False


def kinds(record: Record, labels: Sequence[str]) -> tuple[str, ...]:
    """The kinds of questions that a clip's annotation can answer."""
    fine, coarse = record.emotion in labels and not {*labels} <= {*COARSE}, record.coarse is not None
    # alternatives and unreadable codes leave the list open
    listed = bool(record.aus) and record.complete and all(len(event) == 1 for event in numbers(record.aus or ()))
    has = {
        "coarse": coarse,
        "fine": fine,
        "units": listed,
        "unit": bool(certain_units(record)),
        "side": bool(_sided(record)),
        "combined": coarse and fine and listed,
    }
    return tuple(kind for kind, could in has.items() if could)


def _sided(record: Record) -> list[tuple[int, str]]:
    """The certain units that are coded once, on one side."""
    units = [unit for unit in map(parse_canonical, record.aus or ()) if len(unit.alternatives) == 1]
    times = Counter(unit.alternatives[0] for unit in units)
    found = [(unit.alternatives[0], unit.side) for unit in units]
    return [(number, _SIDES[side]) for number, side in found if side in _SIDES and times[number] == 1]


def question(
    record: Record,
    labels: Sequence[str],
    units: Mapping[int, int],
    images: Literal["map", "frames"],
    palette: str,
    rng: np.random.Generator,
) -> tuple[str, str]:
    """Prompt and answer of one question."""
    could = kinds(record, labels)
    kind = could[int(rng.integers(len(could)))]
    there = certain_units(record)
    names = [unit_name(number) for number in there]
    asked = list(VQA_QUESTIONS[kind])
    text = asked[int(rng.integers(len(asked)))]
    match kind:
        case "coarse":
            answer = str(record.coarse)
        case "fine":
            answer = str(record.emotion)
        case "units":
            text, answer = asked[len(names) == 1], ", ".join(names)
        case "unit":
            number, yes = unit_to_ask(record, units, rng)
            text, answer = text.format(name=unit_name(number)), "yes" if yes else "no"
        case "side":
            sided = _sided(record)
            number, answer = sided[int(rng.integers(len(sided)))]
            text = text.format(name=unit_name(number))
        case _:
            are = "units are" if len(names) > 1 else "unit is"
            answer = (
                f"The action {are} {joined(names)}; the fine-grained expression class is {record.emotion}; "
                f"the coarse expression class is {record.coarse}."
            )
    return fill_legend(vqa_prompt(text, kind, COARSE, labels, images), palette), answer
