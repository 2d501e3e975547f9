"""Instructions: the legend of the map is in the prompt for maps and nowhere else; every option is named."""

from __future__ import annotations

import pytest

from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.language.prompts import frames_prompt, map_prompt, map_prompt_variants
from mellm_plugin.motion.colour import legend_text


@pytest.mark.parametrize("dataset", LABELS)
def test_options_and_legend(dataset: str) -> None:
    labels = LABELS[dataset]
    for prompt in (frames_prompt(labels), map_prompt(labels)):
        assert all(label in prompt for label in labels)
    assert legend_text() in map_prompt(labels)
    assert legend_text() not in frames_prompt(labels)
    assert "onset" in frames_prompt(labels) and "apex" in frames_prompt(labels)


def test_variants_begin_with_the_prompt_of_the_evaluation() -> None:
    variants = map_prompt_variants(LABELS["dfme"])
    assert variants[0] == map_prompt(LABELS["dfme"])
    assert len(set(variants)) == len(variants)


@pytest.mark.parametrize("dataset", LABELS)
def test_a_prompt_echoed_is_no_answer(dataset: str) -> None:
    answer = read(map_prompt(LABELS[dataset]), LABELS[dataset])
    assert answer.label is None and answer.unparsed
