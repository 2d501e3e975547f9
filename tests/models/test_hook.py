from __future__ import annotations

from typing import Any

import pytest

from mellm_plugin.errors import InputError
from mellm_plugin.models.hook import with_maps


def image(url: str, frame: str | None = None) -> dict[str, Any]:
    return {"type": "image", "url": url} | ({"frame": frame} if frame else {})


def text(words: str, **more: str) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def draw(onset: str, apex: str) -> str:
    return f"{onset}->{apex}"


def test_marked_pairs_become_maps_in_place_and_the_rest_stays() -> None:
    video = {"type": "video", "url": "v"}
    items = [
        image("x"),
        image("a", "onset"),
        text("between"),
        image("b", "apex"),
        image("y", "offset"),
        video,
        image("c", "onset"),
        image("d", "apex"),
    ]
    before = [dict(item) for item in items]
    assert with_maps(items, draw) == [
        image("x"), image("a->b"), text("between"), image("y", "offset"), video, image("c->d"),
    ]  # fmt: skip
    assert items == before


def test_the_text_for_maps_is_taken_where_there_is_one() -> None:
    question = text("two frames", map_text="a map")
    marked = with_maps([image("a", "onset"), image("b", "apex"), question, text("end")], draw)
    assert [item["text"] for item in marked[1:]] == ["a map", "end"]
    assert with_maps([image("a"), image("b"), question], draw)[2] == question


@pytest.mark.parametrize(
    "frames", [["onset"], ["apex"], ["apex", "onset"], ["onset", "onset", "apex"], ["onset", "apex", "apex"]]
)
def test_unpaired_marks_are_refused(frames: list[str]) -> None:
    with pytest.raises(InputError, match="onset"):
        with_maps([image("a", frame) for frame in frames], draw)
