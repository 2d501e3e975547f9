"""A clip becomes a chat message: its images, its instruction, and the expected answer.

`lmms_eval_specific_kwargs` of a task may differ by model:

    images   `frames` (onset and apex) or `map` (one motion map, drawn here)
    prompt   `frames` or `map`: the wording that lmms-eval records and gives to models that take images and text apart;
             by default as `images`
    motion   settings of a map drawn here: a preset's name, a motion.json, or a mapping; the wording for maps names the
             colours of its palette
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from mellm_plugin.errors import SettingsError, near
from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.facs.labels import gold_label
from mellm_plugin.language.prompts import frames_prompt, map_prompt, open_map_prompt
from mellm_plugin.motion.cache import default_cache
from mellm_plugin.motion.render import motion_map
from mellm_plugin.motion.settings import resolve

Doc = Mapping[str, Any]


def _presentation(kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """`images`, `prompt` and `motion` of a task, with their defaults.

    lmms-eval passes the mapping of the model; without one, that of `default` mixed with the keys of all models.
    """
    given = {key: value for key, value in (kwargs or {}).items() if key == "motion" or not isinstance(value, Mapping)}
    known, choices = ("images", "prompt", "motion"), ("frames", "map")
    unknown = [key for key in given if key not in known]
    faults = [f"{key!r} is not a setting; known: {', '.join(known)}.{near(key, known)}" for key in unknown]
    for key in known[:2]:
        if (found := given.get(key, "map")) not in choices:
            faults.append(f"{key}: expected one of {', '.join(choices)}, found {found!r}.{near(str(found), choices)}")
    if faults:
        raise SettingsError(faults, where="lmms_eval_specific_kwargs of the task")
    images = given.get("images", "frames")
    return {"images": images, "prompt": given.get("prompt", images), "motion": given.get("motion", "robust")}


def doc_to_text(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> str:
    """The instruction alone, for models that take images and text apart."""
    shown = _presentation(lmms_eval_specific_kwargs)
    if shown["prompt"] == "map":
        return map_prompt(doc["labels"], resolve(shown["motion"]).palette, doc["asks"])
    return frames_prompt(doc["labels"], doc["asks"])


def doc_to_visual(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> list[Image.Image]:
    """The images alone: onset and apex, or the motion map."""
    shown = _presentation(lmms_eval_specific_kwargs)
    if shown["images"] == "map":
        settings = resolve(shown["motion"])
        drawn = motion_map(doc["onset"], doc["apex"], settings, nose=doc.get("nose"), cache=default_cache())
        return [drawn.to_pil()]
    return [_rgb(doc["onset"]), _rgb(doc["apex"])]


def doc_to_messages(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """One chat message with the images and the instruction; see `chat_message`."""
    images = doc_to_visual(doc, lmms_eval_specific_kwargs)
    if len(images) == 1:
        return chat_message(doc, images, doc_to_text(doc, lmms_eval_specific_kwargs), "")
    asked = doc["labels"], doc["asks"]
    return chat_message(doc, images, frames_prompt(*asked), open_map_prompt(*asked))


def chat_message(doc: Doc, images: list[Image.Image], text: str, map_text: str) -> list[dict[str, Any]]:
    """One chat message with one map, or with onset and apex.

    Onset and apex are marked with `frame`, and their text has a second wording, `map_text`. A model that draws the map
    itself shows one image in place of the two and uses that wording, in which it fills in the colours. Other models
    drop these keys.
    """
    content: list[dict[str, Any]] = [{"type": "image", "url": image} for image in images]
    asked = {"type": "text", "text": text}
    if len(images) == 2:
        content[0] |= {"frame": "onset", "nose": doc.get("nose")}
        content[1]["frame"] = "apex"
        asked["map_text"] = map_text
    return [{"role": "user", "content": [*content, asked]}]


def _rgb(image: Image.Image) -> Image.Image:
    # 16-bit and float images stay as they are: a conversion would clip their values at 255
    return image if image.mode == "RGB" or image.mode[0] in "IF" else image.convert("RGB")


def doc_to_target(doc: Doc) -> str:
    """The annotation in the words of a conclusion, without what is not known or not asked for."""
    parts = []
    if doc["aus"] is not None and doc["asks"] != "emotion":
        sides = {"L": " (left)", "R": " (right)", None: ""}
        units = [
            f"AU{'/'.join(map(str, unit.alternatives))}{sides.get(unit.side, '')}"
            for unit in map(parse_canonical, doc["aus"])
        ]
        parts.append(f"action units {'+'.join(units) or 'none'}")
    if (label := gold_label(doc["emotion"], doc["coarse"], doc["labels"])) is not None:
        parts.append(f"expression: {label}")
    return "; ".join(parts)
