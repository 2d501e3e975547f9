from __future__ import annotations

from typing import Any

import pytest

from mellm_plugin.errors import InputError, SettingsError
from mellm_plugin.language.prompts import frames_prompt, map_prompt, open_map_prompt
from mellm_plugin.models.hook import with_maps
from mellm_plugin.motion.colour import PALETTES, STANDARD


def image(url: str, frame: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "image", "url": url, **more} | ({"frame": frame} if frame else {})


def text(words: str, **more: str) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def draw(onset: str, apex: str, nose: Any) -> str:
    return f"{onset}->{apex}" + (f" nose {nose}" if nose is not None else "")


def test_marked_pairs_become_maps_in_place_and_the_rest_stays() -> None:
    video = {"type": "video", "url": "v"}
    clip = [image("a", "onset"), text("between"), image("b", "apex")]
    items = [image("x"), *clip, image("y", "offset"), video, image("c", "onset"), image("d", "apex")]
    before = [dict(item) for item in items]
    assert with_maps(items, draw, STANDARD) == [
        image("x"), image("a->b"), text("between"), image("y", "offset"), video, image("c->d"),
    ]  # fmt: skip
    assert items == before


def test_the_nose_of_each_onset_is_handed_on() -> None:
    clips = [image("a", "onset", nose=[3.5, 4.0]), image("b", "apex", nose=[9, 9])]
    clips += [image("c", "onset"), image("d", "apex")]
    maps = with_maps([*clips, image("x", nose=[1, 1])], draw, STANDARD)
    assert maps == [image("a->b nose [3.5, 4.0]"), image("c->d"), image("x", nose=[1, 1])]


@pytest.mark.parametrize("palette", PALETTES)
def test_the_text_for_maps_names_the_colours_of_their_palette(palette: str) -> None:
    labels = ("anger", "others")
    question = text(frames_prompt(labels), map_text=open_map_prompt(labels))
    frames = [image("a", "onset"), image("b", "apex")]
    shown = with_maps([*frames, question, text("end")], draw, palette)
    assert [item["text"] for item in shown[1:]] == [map_prompt(labels, palette), "end"]
    assert with_maps([question], draw, palette)[0]["text"] == frames_prompt(labels), "no map, no legend"
    with pytest.raises(SettingsError, match="Did you mean 'colour-blind'"):
        with_maps([*frames, question], draw, "color-blind")


@pytest.mark.parametrize(
    "frames", [["onset"], ["apex"], ["apex", "onset"], ["onset", "onset", "apex"], ["onset", "apex", "apex"]]
)
def test_unpaired_marks_are_refused(frames: list[str]) -> None:
    with pytest.raises(InputError, match="onset"):
        with_maps([image("a", frame) for frame in frames], draw, STANDARD)
