"""Questions of the challenges on any clip: what the annotation answers, and read back as evaluation reads it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mellm_plugin.datasets.vqa_questions import question_kind, unit_asked
from mellm_plugin.facs.labels import COARSE, LABELS
from mellm_plugin.language.prompts import VQA_QUESTIONS, vqa_prompt
from mellm_plugin.language.vqa_answers import vqa_reading
from mellm_plugin.training.challenge import certain_units, kinds, question
from mellm_plugin.training.clips import Record

LABELS_ASKED = LABELS["casme2"]


def _record(aus: tuple[str, ...] | None, complete: bool = True, **known: str | None) -> Record:
    values = {"emotion": "disgust", "coarse": "negative", **known}
    return Record("toy/s/1", "toy", "toy/s", aus, complete, **values)  # type: ignore[arg-type]


def test_certain_units() -> None:
    assert certain_units(_record(("6/12", "L4", "4C", "L10/R10"))) == (4, 10)
    assert certain_units(_record(None)) == ()


def test_what_a_clip_can_be_asked() -> None:
    assert kinds(_record(("L4", "43")), LABELS_ASKED) == ("coarse", "fine", "units", "unit", "side", "combined")
    assert kinds(_record(("6/12", "4")), LABELS_ASKED) == ("coarse", "fine", "unit")
    assert kinds(_record(("4",), complete=False), LABELS_ASKED) == ("coarse", "fine", "unit")
    assert kinds(_record(None, emotion=None), LABELS_ASKED) == ("coarse",)
    assert kinds(_record((), emotion=None, coarse=None), LABELS_ASKED) == ()
    assert kinds(_record(None, emotion="negative"), COARSE) == ("coarse",)
    assert "side" not in kinds(_record(("L4", "R4")), LABELS_ASKED)


@pytest.mark.parametrize("images", ["map", "frames"])
def test_questions_are_those_of_evaluation_and_their_answers_read_back(images: str) -> None:
    asked: Counter[str] = Counter()
    for seed in range(60):
        codes = ("L4", "43") if seed % 2 else ("R14",)
        record = _record(codes)
        units = {4: 9, 12: 3, 43: 1, 14: 2}
        prompt, answer = question(record, LABELS_ASKED, units, images, "standard", np.random.default_rng(seed))  # type: ignore[arg-type]
        behind = prompt.rpartition("micro-expression.")[2] if images == "frames" else prompt.rpartition("move. ")[2]
        text = behind.strip()[: min(behind.strip().find(mark) % 1000 for mark in "?.") + 1]
        kind = question_kind(text)
        asked[kind] += 1
        unit = unit_asked(behind)
        said = vqa_reading(answer, kind, COARSE, LABELS_ASKED, unit)
        there = certain_units(record)
        expected = {
            "coarse": {"coarse": "negative"},
            "fine": {"fine": "disgust"},
            "units": {"units": sorted(there)},
            "unit": {"shown": unit in there},
            "side": {"side": "left" if seed % 2 else "right"},
            "combined": {"coarse": "negative", "fine": "disgust", "units": sorted(there)},
        }[kind]
        assert said == expected, (prompt, answer)
        whole = vqa_prompt(text, kind, COARSE, LABELS_ASKED, images)  # type: ignore[arg-type]
        assert prompt == whole if images == "frames" else prompt.endswith(whole.rpartition("}")[2])
    assert set(asked) == set(VQA_QUESTIONS)
