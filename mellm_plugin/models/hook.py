"""The hook in front of a model: messages with an onset and an apex become messages with a motion map.

A task of ours marks two images of a message; a model without the hook does not see the marks:

    [{"role": "user", "content": [
        {"type": "image", "url": <PIL image>, "frame": "onset", "nose": [x, y] or None},
        {"type": "image", "url": <PIL image>, "frame": "apex"},
        {"type": "text", "text": "These two frames ...", "map_text": "This motion map ... {legend} ..."}]}]

Behind it the two are one image, the motion from onset to apex, and the text is the one for maps, with the colour legend
of their palette where it says `{legend}`: a task does not know how its reader draws maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mellm_plugin.errors import InputError
from mellm_plugin.language.prompts import fill_legend


def with_maps(
    items: Iterable[Mapping[str, Any]], draw: Callable[[Any, Any, Any], Any], palette: str
) -> list[Mapping[str, Any]]:
    """The items of a message, each image marked onset and the apex behind it made into one image.

    Args:
        items: content of the message; not changed. What is not marked passes through.
        draw: makes the map, or a promise of it, from the two images and the nose tip (None where it is not known).
        palette: of the maps it makes.

    Returns:
        the items, each map in its onset's place; then also each `map_text` in its text's place.

    Raises:
        InputError: an onset without an apex behind it, or an apex without an onset.
        SettingsError: no palette has this name.
    """
    done: list[Mapping[str, Any]] = []
    onset: int | None = None  # its place, while its apex is still to come
    maps = 0
    for item in items:
        mark = item.get("frame") if item["type"] == "image" else None
        if mark not in ("onset", "apex"):
            done.append(item)
        elif mark == "onset" and onset is None:
            onset = len(done)
            done.append(item)
        elif mark == "apex" and onset is not None:
            first = done[onset]
            done[onset] = {"type": "image", "url": draw(first["url"], item["url"], first.get("nose"))}
            onset, maps = None, maps + 1
        else:
            raise InputError(f"expected images marked onset, apex in turn in a message, found a second {mark}")
    if onset is not None:
        raise InputError("expected an image marked apex behind the one marked onset in a message, found none")
    if not maps:
        return done
    return [{**item, "text": fill_legend(item["map_text"], palette)} if "map_text" in item else item for item in done]
