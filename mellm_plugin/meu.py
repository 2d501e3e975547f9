"""What the task files name: how a clip becomes a message, an answer becomes readings, and readings become scores.

A task is YAML alone, with `include: ../meu.yaml`; what is special to it is said there:

    task: casme2_meu
    dataset_path: !function mellm_plugin.meu.data(casme2)
    process_docs: !function mellm_plugin.meu.protocol(labels=disgust+happiness+others+surprise, aus=1+2+4+7+12)
    lmms_eval_specific_kwargs:
      default: {prompt: frames}
      mellm: {prompt: map}

`data(name)` is the folder of a prepared dataset, found when the task is loaded. `protocol` says what is asked and
scored: it keeps the clips that have one of the labels, and hands labels and units on with every clip, so that the
prompt, the reading of the answer and the scores cannot disagree. The rest is presentation, and may differ by model:

    images   `frames` (onset and apex) or `map` (one motion map, drawn here)
    prompt   `frames` or `map`: the wording that lmms-eval records, and gives to models that take images and text
             apart; as `images`, unless the model draws the map itself
    motion   settings of a map drawn here: a preset's name, a motion.json, or a mapping; the wording for maps names the
             colours of its palette
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from loguru import logger
from PIL import Image

from mellm_plugin.datasets import store, synthme
from mellm_plugin.errors import ImageError, InputError, MellmError, SettingsError, near
from mellm_plugin.facs.codes import numbers
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.language.prompts import frames_prompt, map_prompt, open_map_prompt
from mellm_plugin.motion.cache import default_cache
from mellm_plugin.motion.facial import measure, working_pair
from mellm_plugin.motion.images import read_pair
from mellm_plugin.motion.render import motion_map
from mellm_plugin.motion.settings import DEFAULT, resolve
from mellm_plugin.scoring import emotion, units

Doc = Mapping[str, Any]
Items = Sequence[Mapping[str, Any]]

# ---- the data of a task ---------------------------------------------------------------------------------------------


def data(name: str) -> str:
    """The absolute folder of a prepared dataset, read through once; `synthme` is made at its first use.

    Raises:
        DataError: the dataset is not prepared, or damaged (lmms-eval has Pillow fill in what is missing of a damaged
            frame, which would then be scored); says how to prepare it.
    """
    stored = prepared_name(name)
    store.verify(stored)
    return str(store.dataset_dir(stored))


def prepared_name(name: str) -> str:
    """The name that a dataset is stored under; `synthme` is made at its first use."""
    return synthme.prepare().name if name == "synthme" else name


def data_version(name: str) -> dict[str, Any]:
    """What identifies the data of a run: the sha256 and the number of clips of each split, for the results file."""
    splits = store.read_info(prepared_name(name))["splits"]
    return {split: {"clips": entry["clips"], "sha256": entry["sha256"]} for split, entry in splits.items()}


def protocol(docs: Any, labels: str | None = None, aus: str | None = None) -> Any:
    """The clips of one split that are asked and scored, with two more columns: `labels` and `scored_aus`.

    Args:
        docs: a `datasets.Dataset` of clips.
        labels: the labels to choose from, joined by `+`, or the name of a dataset whose labels these are; by default
            those of the clips' dataset. They may be the coarse classes. Clips with another label are left out; clips
            without any label stay, for their units.
        aus: the units scored, joined by `+`; by default all that occur for certain in the clips.

    Raises:
        InputError: labels or units that cannot be read, or no clip that has one of the labels.
    """
    try:
        asked = _labels(labels, docs)
        chosen = None if aus is None else [_scored_unit(event, aus) for event in numbers(aus.split("+"))]
    except MellmError as error:
        logger.error("{}", error)  # lmms-eval tries five times and then shows a RetryError alone
        raise
    if chosen is None:
        events = [event for codes in docs["aus"] if codes is not None for event in numbers(codes)]
        scored = sorted({event[0] for event in events if len(event) == 1})
    else:
        scored = chosen
    gold = [_gold_label(e, c, asked) for e, c in zip(docs["emotion"], docs["coarse"], strict=True)]
    kept = [i for i, (label, e) in enumerate(zip(gold, docs["emotion"], strict=True)) if label is not None or e is None]
    if not kept:
        found = sorted({str(e) for e in docs["emotion"]})
        text = f"no clip has one of the labels {', '.join(asked)}; the clips have: {', '.join(found)}"
        logger.error(text)
        raise InputError(text)
    without = sum(e is None and g is None for e, g in zip(docs["emotion"], gold, strict=True))
    if len(kept) < len(docs) or without:
        logger.info(
            "{} of {} clips have another label than {} and are left out; {} have none and count for their units alone",
            *(len(docs) - len(kept), len(docs), ", ".join(asked), without),
        )
    docs = docs.add_column("labels", [asked] * len(docs)).add_column("scored_aus", [scored] * len(docs))
    return docs if len(kept) == len(docs) else docs.select(kept)


def _scored_unit(event: tuple[int, ...], aus: str) -> int:
    if len(event) > 1:
        raise InputError(f"protocol: expected single units joined by '+', found {aus!r}")
    return event[0]


def _labels(spec: str | None, docs: Any) -> list[str]:
    if spec is None:
        dataset = docs["dataset"][0]
        return list(LABELS.get(dataset) or sorted({e for e in docs["emotion"] if e is not None}))
    if spec in LABELS:
        return list(LABELS[spec])
    known = {label for of in LABELS.values() for label in of} | {e for e in docs["emotion"] if e is not None}
    asked = spec.split("+")
    faults = [
        f"protocol: {label!r} is neither a label nor a dataset.{near(label, {*known, *LABELS})}"
        for label in asked
        if label not in known
    ]
    if faults:
        raise InputError(faults)
    return asked


def _gold_label(label: str | None, coarse: str | None, asked: Sequence[str]) -> str | None:
    return label if label in asked else coarse if coarse in asked else None


# ---- a clip becomes a message ---------------------------------------------------------------------------------------

_CHOICES = {"images": ("frames", "map"), "prompt": ("frames", "map")}


def _presentation(kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """`images`, `prompt` and `motion` of a task, with their defaults.

    lmms-eval hands over the mapping of the model by its own, and that of `default` mixed with the keys of all models.
    """
    given = {key: value for key, value in (kwargs or {}).items() if key == "motion" or not isinstance(value, Mapping)}
    faults = [
        f"{key!r} is not a setting; known: images, prompt, motion.{near(key, (*_CHOICES, 'motion'))}"
        for key in given
        if key not in (*_CHOICES, "motion")
    ]
    faults += [
        f"{key}: expected one of {', '.join(known)}, found {given[key]!r}.{near(str(given[key]), known)}"
        for key, known in _CHOICES.items()
        if key in given and given[key] not in known
    ]
    if faults:
        raise SettingsError(faults, where="lmms_eval_specific_kwargs of the task")
    images = given.get("images", "frames")
    return {"images": images, "prompt": given.get("prompt", images), "motion": given.get("motion", "robust")}


def doc_to_text(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> str:
    """The instruction alone, for models that take images and text apart."""
    shown = _presentation(lmms_eval_specific_kwargs)
    if shown["prompt"] == "map":
        return map_prompt(doc["labels"], resolve(shown["motion"]).palette)
    return frames_prompt(doc["labels"])


def doc_to_visual(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> list[Image.Image]:
    """The images alone: onset and apex, or the motion map."""
    shown = _presentation(lmms_eval_specific_kwargs)
    if shown["images"] == "map":
        settings = resolve(shown["motion"])
        drawn = motion_map(doc["onset"], doc["apex"], settings, nose=doc.get("nose"), cache=default_cache())
        return [drawn.to_pil()]
    return [_rgb(doc["onset"]), _rgb(doc["apex"])]


def doc_to_messages(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """One chat message with the images and the instruction.

    Onset and apex are marked with `frame`, and their text has a second wording, `map_text`: a model that draws the map
    itself shows one image in place of the two and takes that wording, with its colours in it. Other models drop these
    keys.
    """
    shown = _presentation(lmms_eval_specific_kwargs)
    images: list[dict[str, Any]] = [
        {"type": "image", "url": image} for image in doc_to_visual(doc, lmms_eval_specific_kwargs)
    ]
    if shown["images"] == "map":
        text = {"type": "text", "text": doc_to_text(doc, lmms_eval_specific_kwargs)}
    else:
        text = {"type": "text", "text": frames_prompt(doc["labels"]), "map_text": open_map_prompt(doc["labels"])}
        for image, frame in zip(images, ("onset", "apex"), strict=True):
            image["frame"] = frame
        images[0]["nose"] = doc.get("nose")
    return [{"role": "user", "content": [*images, text]}]


def _rgb(image: Image.Image) -> Image.Image:
    # 16-bit and float images stay as they are: converting them would cut their values off at 255
    return image if image.mode == "RGB" or image.mode[0] in "IF" else image.convert("RGB")


def doc_to_target(doc: Doc) -> str:
    """The annotation in the words of a conclusion; what is not known is left out."""
    parts = []
    if doc["aus"] is not None:
        events = numbers(doc["aus"])
        parts.append("action units " + ("+".join("AU" + "/".join(map(str, event)) for event in events) or "none"))
    if (label := _gold_label(doc["emotion"], doc["coarse"], doc["labels"])) is not None:
        parts.append(f"expression: {label}")
    return "; ".join(parts)


# ---- an answer becomes readings -------------------------------------------------------------------------------------


def process_results(doc: Doc, results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What was read from an answer, as the items that each metric is computed from.

    `parse_rate` holds everything about the clip and its answer, for reports; the other items what they need. A clip
    without a label (or coarse class) has no item in the metrics of labels. `motion_plausible_rate` says what speaks
    against the two frames, whatever the model was shown.
    """
    answer = read(results[0], doc["labels"])
    gold = _gold_label(doc["emotion"], doc["coarse"], doc["labels"])
    clip = {"id": doc["id"], "subject": doc["subject"]}
    reading = {
        "aus": None if answer.aus is None else list(answer.aus),
        "label": answer.label,
        "coarse": answer.coarse,
        "unparsed": answer.unparsed,
    }
    annotated = {"aus": doc["aus"], "label": gold, "emotion": doc["emotion"], "coarse": doc["coarse"]}
    labels = {"labels": list(doc["labels"]), "scored_aus": list(doc["scored_aus"])}
    items: dict[str, dict[str, Any]] = {
        "parse_rate": {**clip, "dataset": doc["dataset"], **labels, "gold": annotated, "read": reading}
    }
    if gold is not None:
        item = {**clip, "gold": gold, "read": answer.label}
        items |= dict.fromkeys(("emotion_uf1", "emotion_uar", "emotion_acc"), item)
        items |= dict.fromkeys(("emotion_uf1_majority", "emotion_acc_majority"), item)
    if doc["coarse"] is not None:
        item = {**clip, "gold": doc["coarse"], "read": answer.coarse}
        items |= dict.fromkeys(("coarse_uf1", "coarse_uar", "coarse_acc"), item)
        items |= dict.fromkeys(("coarse_uf1_majority", "coarse_acc_majority"), item)
    item = {**clip, "gold": doc["aus"], "read": reading["aus"], "scored_aus": labels["scored_aus"]}
    items |= dict.fromkeys(("au_f1", "au_f1_micro", "au_f1_all_present", "au_parse_rate"), item)
    items["motion_plausible_rate"] = {**clip, "doubts": motion_doubts(doc)}
    return items


def motion_doubts(doc: Doc) -> list[str]:
    """What speaks against the clip's flow being that of a micro-expression; the fault where it has no usable frames."""
    try:
        pair, cache = working_pair(*read_pair(doc["onset"], doc["apex"])), default_cache()
        return list((measure(pair) if cache is None else cache.measure(pair, DEFAULT)).doubts)
    except (ImageError, OSError) as error:  # PIL's error for a damaged image is an OSError
        return [str(error) or repr(error)]


# ---- readings become scores -----------------------------------------------------------------------------------------


def _emotions(items: Items) -> emotion.EmotionScores:
    # scores depend on the labels of these clips alone: one that no clip has is in no mean, given or not
    gold = [item["gold"] for item in items]
    given = [item["read"] for item in items]
    return emotion.score(gold, given, sorted({*gold, *given} - {None}))


def _majority(items: Items) -> emotion.EmotionScores:
    gold = [item["gold"] for item in items]
    return emotion.majority(gold, sorted(set(gold)))


def _units(items: Items) -> units.UnitScores:
    return units.score(_gold_units(items), [item["read"] for item in items], items[0]["scored_aus"])


def _gold_units(items: Items) -> list[list[tuple[int, ...]] | None]:
    return [None if item["gold"] is None else numbers(item["gold"]) for item in items]


def emotion_uf1(items: Items) -> float | None:
    """Mean F1 of the labels that occur; an answer that could not be read is wrong."""
    return _emotions(items).uf1


def emotion_uar(items: Items) -> float | None:
    """Mean recall of the labels that occur."""
    return _emotions(items).uar


def emotion_acc(items: Items) -> float | None:
    """Share of the clips whose label was read right."""
    return _emotions(items).accuracy


def majority_uf1(items: Items) -> float | None:
    """What `emotion_uf1` is when every answer is the most frequent label of these clips."""
    return _majority(items).uf1


def majority_acc(items: Items) -> float | None:
    """What `emotion_acc` is when every answer is the most frequent label of these clips."""
    return _majority(items).accuracy


def au_f1(items: Items) -> float | None:
    """Binary F1 per unit, mean over the units of the task that occur; None where no clip has units coded."""
    scores = _units(items)
    if scores.without_gold:
        logger.info("au_f1: {} clips scored, {} left out: their units are not known", scores.clips, scores.without_gold)
    if scores.left_out:
        logger.info("au_f1: no clip has AU {}: left out of the mean", ", ".join(map(str, scores.left_out)))
    return scores.mean


def au_f1_micro(items: Items) -> float | None:
    """F1 of all scored units together."""
    return _units(items).micro


def au_f1_all_present(items: Items) -> float | None:
    """What `au_f1` is when every answer names all units of the task (naming none gives 0)."""
    return units.constant(_gold_units(items), items[0]["scored_aus"], present=True).mean


def parse_rate(items: Items) -> float | None:
    """Share of the answers whose label could be read, of the clips that have one."""
    labelled = [item for item in items if item["gold"]["label"] is not None]
    if not labelled:
        return None
    absent = [label for label in items[0]["labels"] if all(item["gold"]["label"] != label for item in labelled)]
    if absent:
        logger.info("labels: no clip has {}: left out of the means", ", ".join(absent))
    return sum(item["read"]["label"] is not None for item in labelled) / len(labelled)


def motion_plausible_rate(items: Items) -> float:
    """Share of the clips against whose motion nothing speaks; the log names the others."""
    for item in items:
        if item["doubts"]:
            logger.warning("{}: implausible motion: {}", item["id"], "; ".join(item["doubts"]))
    return sum(not item["doubts"] for item in items) / len(items)


def au_parse_rate(items: Items) -> float | None:
    """Share of the answers with a statement on units, of the clips whose units are known."""
    known = [item for item in items if item["gold"] is not None]
    return sum(item["read"] is not None for item in known) / len(known) if known else None


# ---- names with arguments -------------------------------------------------------------------------------------------

_CALL = re.compile(r"(\w+)\((.*)\)")


def _late(name: str) -> Callable[[], Any] | None:
    """What a name with arguments stands for, `data(casme2)` or `protocol(labels=a+b)`; None when it is no such name."""
    call = _CALL.fullmatch(name)
    if call is None:
        return None
    function, arguments = call.groups()
    parts = [part.strip() for part in arguments.split(",") if part.strip()]
    if function in ("data", "data_version") and len(parts) == 1 and "=" not in parts[0]:
        return partial({"data": data, "data_version": data_version}[function], parts[0])
    keywords = dict(part.split("=", 1) for part in parts if "=" in part)
    if function == "protocol" and len(keywords) == len(parts) and keywords.keys() <= {"labels", "aus"}:
        return lambda: partial(protocol, **{key: value.strip() for key, value in keywords.items()})
    raise InputError(
        f"expected data(NAME), data_version(NAME) or protocol(labels=A+B, aus=1+2), found {name!r}", where="task file"
    )


def __getattr__(name: str) -> Any:
    # `!function` in YAML is getattr on this module: the way to hand it something that is known only when a task loads.
    try:
        late = _late(name)
        if late is not None:
            return late()
    except MellmError as error:
        # lmms-eval wraps whatever is raised here in an ImportError of its own, whose text alone it shows at the end
        logger.error("{}", error)
        raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
