"""The hook in front of a model: replaces onset and apex in messages by a motion map.

Tasks of this package mark two images of a message; models without the hook ignore the marks:

    [{"role": "user", "content": [
        {"type": "image", "url": <PIL image>, "frame": "onset", "nose": [x, y] or None},
        {"type": "image", "url": <PIL image>, "frame": "apex"},
        {"type": "text", "text": "These two frames ...", "map_text": "This motion map ... {legend} ..."}]}]

The hook replaces both images by one map of the motion from onset to apex, and the text by `map_text`, with the colour
legend of the palette for `{legend}`: a task does not know the map settings of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mellm_plugin.errors import InputError
from mellm_plugin.language.prompts import fill_legend


def with_maps(
    items: Iterable[Mapping[str, Any]], draw: Callable[[Any, Any, Any], Any], palette: str
) -> list[Mapping[str, Any]]:
    """Replace each pair of images marked onset and apex by one map, and then the text by `map_text`.

    Unmarked items pass through. `draw` makes the map (or a Future of it) from two images and the nose tip or None.

    Raises:
        InputError: an onset without a following apex, or an apex without an onset.
        SettingsError: unknown palette.
    """
    done: list[Mapping[str, Any]] = []
    onset: int | None = None  # its index, until its apex comes
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
