"""Instructions: the legend of the map is in the prompt for maps and nowhere else; every option is named."""

from __future__ import annotations

import re
from typing import Literal

import pytest

from mellm_plugin.errors import InputError, SettingsError
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.language.claims import claims
from mellm_plugin.language.lexicon import LANGUAGES
from mellm_plugin.language.prompts import (
    ASKS,
    IMAGES,
    LEGEND,
    colour_wordings,
    fill_legend,
    frames_prompt,
    map_prompt,
    map_prompt_variants,
    open_map_prompt,
    patch_wordings,
    region_wordings,
    unit_wordings,
    vqa_prompt,
    way_wordings,
    wordings,
)
from mellm_plugin.motion.colour import DIRECTIONS, PALETTES, legend_text
from mellm_plugin.motion.regions import MIDLINE, PAIRED


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


# ---- the expression alone, the units alone --------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", LABELS)
def test_what_is_not_asked_for_is_not_named(dataset: str) -> None:
    labels = LABELS[dataset]
    for prompt in (frames_prompt(labels, "emotion"), map_prompt(labels, asks="emotion")):
        assert all(label in prompt for label in labels) and "action unit" not in prompt
    for prompt in (frames_prompt(labels, "aus"), map_prompt(labels, asks="aus")):
        assert "action units" in prompt and "expression." not in prompt.replace("micro-expression", "")
        assert not any(label in prompt for label in labels)


@pytest.mark.parametrize("asks", ASKS)
def test_every_question_opens_alike_and_is_one_of_its_own(asks: str) -> None:
    labels = LABELS["samm"]
    assert frames_prompt(labels, asks).startswith("The first image is the onset frame and the second image is the apex")
    assert open_map_prompt(labels, asks).count(LEGEND) == 1
    assert fill_legend(open_map_prompt(labels, asks), "colour-blind") == map_prompt(labels, "colour-blind", asks)
    others = [other for other in ASKS if other != asks]
    assert frames_prompt(labels, asks) not in [frames_prompt(labels, other) for other in others]


@pytest.mark.parametrize("dataset", LABELS)
@pytest.mark.parametrize("asks", ASKS)
def test_an_echoed_prompt_is_no_answer_and_claims_nothing(dataset: str, asks: str) -> None:
    labels = () if asks == "aus" else LABELS[dataset]
    maps = [map_prompt(labels, palette, asks) for palette in PALETTES]
    variants = map_prompt_variants(labels) if asks == "all" else ()
    for prompt in (frames_prompt(labels, asks), *maps, *variants):
        answer = read(prompt, labels)
        assert (answer.aus, answer.label, answer.coarse) == (None, None, None) and answer.unparsed
        assert claims(prompt) == ()


def test_the_form_asked_for_can_be_read() -> None:
    assert "one line that begins with the words action units" in frames_prompt((), "aus")
    assert read("Action units AU4+AU7", ()).aus == (4, 7)
    assert read("action units none", ()).aus == ()
    assert read("fear", LABELS["dfme"]).label == "fear"


def test_a_wrong_word_for_what_is_asked_names_the_near_one() -> None:
    with pytest.raises(InputError, match="asks: expected one of all, emotion, aus, found 'emotions'. Did you mean"):
        frames_prompt(("fear",), "emotions")


@pytest.mark.parametrize("images", ["frames", "map"])
def test_a_question_stands_between_its_images_and_the_form_of_its_answer(images: Literal["frames", "map"]) -> None:
    asked = vqa_prompt("Which side?", "side", ("negative",), ("fear", "anger"), images)
    assert asked.endswith(" Which side? Answer with left or right alone.")
    assert (LEGEND in asked) == (images == "map")
    assert vqa_prompt("Which one?", "fine", (), ("fear", "anger")).endswith(
        "Answer with one of these alone: fear, anger."
    )
    assert vqa_prompt("What is new?", "other", (), ()).endswith(" What is new?")


@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("asks", ASKS)
def test_the_first_wording_is_that_of_evaluation(asks: str, images: str) -> None:
    labels = LABELS["casme2"]
    found = wordings(asks, labels, images, "colour-blind")
    assert found[0] == (map_prompt(labels, "colour-blind", asks) if images == "map" else frames_prompt(labels, asks))
    assert len(set(found)) == len(found) > 3


def _every_wording(palette: str, language: str) -> list[str]:
    labels = LABELS["fourdme"]
    found = [w for asks in ASKS for images in IMAGES for w in wordings(asks, labels, images, palette, language)]
    found += [w for images in IMAGES for w in unit_wordings(12, "lip corner puller", images, palette, language)]
    places = [(region, side) for region in PAIRED for side in ("left", "right")] + [(r, None) for r in MIDLINE]
    found += [w for place in places for images in IMAGES for w in region_wordings(*place, images, palette, language)]
    found += [w for way in DIRECTIONS for w in colour_wordings(way, palette, language)]
    found += [w for way in DIRECTIONS for w in way_wordings(way, palette, language)]
    return [*found, *patch_wordings(palette, language)]


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_wordings_are_filled_and_keep_to_their_palette_and_language(palette: str, language: str) -> None:
    other = "colour-blind" if palette == "standard" else "standard"
    own = {colour.name for colour in PALETTES[palette]}
    foreign = [colour.name for colour in PALETTES[other] if not any(colour.name in name for name in own)]
    for text in _every_wording(palette, language):
        assert "{" not in text and "}" not in text and "  " not in text
        assert not any(f" {name}" in text for name in foreign)
        if language == "en":
            assert text.isascii()
        else:
            words = {w for w in re.findall("[A-Za-z]{2,}", text)} - {"AU", "FACS", "lip", "corner", "puller"}
            assert not words, text


def test_wordings_of_what_is_not_known_are_refused() -> None:
    with pytest.raises(InputError, match="en, zh"):
        wordings("all", ("anger",), language="fr")
    with pytest.raises(InputError, match="map, frames"):
        unit_wordings(12, "lip corner puller", "video")
    with pytest.raises(InputError, match="asks"):
        wordings("everything", ("anger",))
    with pytest.raises(SettingsError):
        patch_wordings("grey")
