"""Instructions: the legend of the map is in the prompt for maps and nowhere else; every option is named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
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


@pytest.mark.parametrize("asks", ASKS)
@pytest.mark.parametrize("dataset", LABELS)
def test_options_legend_and_what_is_asked_for(dataset: str, asks: str) -> None:
    """Each prompt names what it asks for and nothing else, holds its legend, and is itself no answer and no claim."""
    labels = LABELS[dataset]
    frames, opened = frames_prompt(labels, asks), open_map_prompt(labels, asks)
    assert frames.startswith("The first image is the onset frame and the second image is the apex")
    assert opened.count(LEGEND) == 1
    maps = {palette: map_prompt(labels, palette, asks) for palette in PALETTES}
    for palette, prompt in maps.items():
        assert prompt == fill_legend(opened, palette) and legend_text(palette) in prompt
        assert legend_text(palette) not in frames
    for prompt in (frames, *maps.values()):
        assert all((label in prompt) == (asks != "aus") for label in labels) and "{" not in prompt
        assert ("action unit" in prompt) == (asks != "emotion")
    for prompt in (frames, *maps.values(), *(map_prompt_variants(labels) if asks == "all" else ())):
        answer = read(prompt, () if asks == "aus" else labels)
        assert (answer.aus, answer.label, answer.coarse) == (None, None, None) and answer.unparsed
        assert claims(prompt) == ()
    assert len({frames_prompt(labels, other) for other in ASKS}) == len(ASKS)


def test_the_words_that_models_were_trained_on() -> None:
    trained_on = Path(__file__).parents[1] / "golden" / "map_prompt.txt"
    assert f"{map_prompt(('anger', 'others'))}\n" == trained_on.read_text(encoding="utf-8")


def test_the_form_asked_for_can_be_read_and_other_braces_stay() -> None:
    assert "one line that begins with the words action units" in frames_prompt((), "aus")
    assert read("Action units AU4+AU7", ()).aus == (4, 7) and read("action units none", ()).aus == ()
    assert fill_legend("{other} words {}", "standard") == "{other} words {}"


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
    variants = map_prompt_variants(labels, "colour-blind")
    assert variants[0] == map_prompt(labels, "colour-blind") and len(set(variants)) == len(variants)


def _every_wording(palette: str, language: str) -> Iterator[str]:
    both = (palette, language)
    for images in IMAGES:
        for asks in ASKS:
            yield from wordings(asks, LABELS["fourdme"], images, *both)
        yield from unit_wordings(12, "lip corner puller", images, *both)
        for region in (*PAIRED, *MIDLINE):
            for side in ("left", "right") if region in PAIRED else (None,):
                yield from region_wordings(region, side, images, *both)
    for way in DIRECTIONS:
        yield from (*colour_wordings(way, *both), *way_wordings(way, *both))
    yield from patch_wordings(*both)


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
    with pytest.raises(InputError, match="asks: expected one of all, emotion, aus, found 'emotions'. Did you mean"):
        frames_prompt(("fear",), "emotions")
    with pytest.raises(InputError, match="en, zh"):
        wordings("all", ("anger",), language="fr")
    with pytest.raises(InputError, match="map, frames"):
        unit_wordings(12, "lip corner puller", "video")
    with pytest.raises(SettingsError):
        patch_wordings("grey")
