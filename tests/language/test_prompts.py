"""Instructions: the legend of the map is in the prompt for maps and nowhere else; every option is named."""

from __future__ import annotations

import pytest

from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.language.prompts import (
    LEGEND,
    fill_legend,
    frames_prompt,
    map_prompt,
    map_prompt_variants,
    open_map_prompt,
)
from mellm_plugin.motion.colour import PALETTES, legend_text


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("dataset", LABELS)
def test_options_and_legend(dataset: str, palette: str) -> None:
    labels = LABELS[dataset]
    for prompt in (frames_prompt(labels), map_prompt(labels, palette)):
        assert all(label in prompt for label in labels)
        assert "{" not in prompt
    assert legend_text(palette) in map_prompt(labels, palette)
    assert legend_text(palette) not in frames_prompt(labels)
    assert "onset" in frames_prompt(labels) and "apex" in frames_prompt(labels)


def test_the_words_that_models_were_trained_on() -> None:
    assert map_prompt(("anger", "others")) == (
        "The image is a motion map of a facial micro-expression: the grey onset frame, with colour where the face "
        "moves until the apex frame. Colour is direction: right red, up-right pink to magenta, up purple, up-left "
        "blue to sky blue, left cyan, down-left turquoise to green, down yellow-green, down-right yellow to "
        "orange. The stronger the colour, the stronger the motion; grey does not move. Name the facial action "
        "units (FACS) and the expression. Answer in three parts. Inspection: which parts of the face move, which "
        "way and how strongly. Reasoning: from the movements to action units and from those to the expression. "
        "Conclusion: action units AU<number>+AU<number> or none; expression: anger or others."
    )


@pytest.mark.parametrize("palette", PALETTES)
def test_a_legend_left_open_is_filled_by_who_draws_the_map(palette: str) -> None:
    labels = LABELS["casme2"]
    assert open_map_prompt(labels).count(LEGEND) == 1
    assert fill_legend(open_map_prompt(labels), palette) == map_prompt(labels, palette)
    assert fill_legend("{other} words {}", palette) == "{other} words {}"


@pytest.mark.parametrize("palette", PALETTES)
def test_variants_begin_with_the_prompt_of_the_evaluation(palette: str) -> None:
    variants = map_prompt_variants(LABELS["dfme"], palette)
    assert variants[0] == map_prompt(LABELS["dfme"], palette)
    assert len(set(variants)) == len(variants)


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("dataset", LABELS)
def test_a_prompt_echoed_is_no_answer(dataset: str, palette: str) -> None:
    answer = read(map_prompt(LABELS[dataset], palette), LABELS[dataset])
    assert answer.label is None and answer.unparsed
