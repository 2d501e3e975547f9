"""What the task files name: how a clip becomes a message, an answer becomes readings, and readings become scores.

A task is YAML alone, with `include: ../meu.yaml`; what is special to it is said there:

    task: casme2_meu
    dataset_path: !function mellm_plugin.meu.data(casme2)
    process_docs: !function mellm_plugin.meu.protocol(labels=disgust+happiness+others+surprise, aus=1+2+4+7+12)
    lmms_eval_specific_kwargs:
      default: {prompt: frames}
      mellm: {prompt: map}

`data(name)` is the folder of a prepared dataset, found when the task is loaded; `table(FILE)` that of a table of clips
beside the task file; `listed_files(FILE)` the files of the prepared datasets that a list of clips names, and `listed`
its protocol. `protocol` says what is asked and scored: it keeps the clips that have one of the labels, and hands labels
and units on with every clip, so that the prompt, the reading of the answer and the scores cannot disagree. With
`asks=emotion` it is the expression alone, with `asks=aus` the units alone. The rest is presentation, and may differ by
model:

    images   `frames` (onset and apex) or `map` (one motion map, drawn here)
    prompt   `frames` or `map`: the wording that lmms-eval records, and gives to models that take images and text
             apart; as `images`, unless the model draws the map itself
    motion   settings of a map drawn here: a preset's name, a motion.json, or a mapping; the wording for maps names the
             colours of its palette
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
from loguru import logger
from PIL import Image

from mellm_plugin import __version__
from mellm_plugin.datasets import ladder, megc2019, store, synthme
from mellm_plugin.errors import DataError, ImageError, InputError, SettingsError, near
from mellm_plugin.facs.codes import ActionUnit, numbers, parse_canonical
from mellm_plugin.facs.labels import coarse, labels_named, labels_of
from mellm_plugin.facs.units import UNITS
from mellm_plugin.language.answers import Answer, read
from mellm_plugin.language.claims import claims
from mellm_plugin.language.prompts import ASKS, PROMPT_VERSION, frames_prompt, map_prompt, open_map_prompt
from mellm_plugin.language.unanswered import reasons_in_words, unanswered
from mellm_plugin.motion.cache import default_cache
from mellm_plugin.motion.facial import FacialFlow, measure, strength, working_pair
from mellm_plugin.motion.images import read_pair
from mellm_plugin.motion.regions import region_motions
from mellm_plugin.motion.render import motion_map
from mellm_plugin.motion.settings import DEFAULT, resolve
from mellm_plugin.scoring import emotion, facts, judge, sensitivity, summary, units
from mellm_plugin.scoring.rubric import reference

Doc = Mapping[str, Any]
Items = Sequence[Mapping[str, Any]]

# ---- the data of a task ---------------------------------------------------------------------------------------------


def data(name: str) -> str:
    """The absolute folder of a prepared dataset, read through once; drawn ones are made at their first use.

    Raises:
        DataError: the dataset is not prepared, or damaged (lmms-eval has Pillow fill in what is missing of a damaged
            frame, which would then be scored); says how to prepare it.
    """
    stored = prepared_name(name)
    store.verify(stored)
    return str(store.dataset_dir(stored))


def prepared_name(name: str) -> str:
    """The name that a dataset is stored under; drawn ones are made at their first use."""
    drawn = {"synthme": synthme, "synthme_ladder": ladder}
    return drawn[name].prepare().name if name in drawn else name


def files(names: str) -> list[str]:
    """The Parquet files of the test clips of several prepared datasets (`casme2+samm+smic`), each read through once.

    Raises:
        DataError: some are not prepared, are damaged or have no test clips; all of them at once.
    """
    found: list[str] = []
    faults: list[str] = []
    for name in names.split("+"):
        try:
            folder = data(name)
            splits = store.read_info(prepared_name(name))["splits"]
            if "test" in splits:
                found.append(f"{folder}/{splits['test']['file']}")
            else:
                faults.append(f"the dataset {name!r} has no split 'test'; it has: {', '.join(splits)}")
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise DataError("\n".join(faults))
    return found


def table(file: str, **columns: str) -> str:
    """The folder of the dataset that a table of clips stands for; it is made at its first use.

    Args:
        file: the table, relative to the folder of the task file.
        columns: headers of columns that have other names than usual, by the keys of `table.COLUMNS`.

    Raises:
        InputError: no task file is being loaded, or faults of the table; all of them at once.
    """
    return data(_table_name(file, columns))


def table_version(file: str, **columns: str) -> dict[str, Any]:
    """`data_version` of a table of clips, and how many of its rows are left out for their faults.

    Args:
        file, columns: as for `table`.
    """
    name = _table_name(file, columns)
    return {**data_version(name), "skipped": len(store.read_info(name)["skipped"])}


def _table_name(file: str, columns: Mapping[str, str]) -> str:
    from mellm_plugin.datasets.table import prepared

    return prepared(yaml_folder() / file, columns)


def listed_files(file: str, **columns: str) -> list[str]:
    """The Parquet files of the prepared datasets that hold the clips of a list, each read through once.

    Args:
        file: the list, relative to the folder of the task file.
        columns: headers of columns that have other names than usual, by the keys of `clip_list.COLUMNS`.

    Raises:
        InputError: no task file is being loaded, the list cannot be read, or none of its clips is prepared.
        DataError: a dataset is damaged.
    """
    chosen = _chosen(yaml_folder() / file, columns)
    splits = dict.fromkeys((clip.dataset, clip.split) for clip in chosen.clips)
    folders = {name: data(name) for name, _ in splits}
    return [f"{folders[name]}/{store.read_info(name)['splits'][split]['file']}" for name, split in splits]


def listed_version(file: str, **columns: str) -> dict[str, Any]:
    """What identifies the data of a list: itself, how many of its clips there are, and `data_version` of the datasets.

    Args:
        file, columns: as for `listed_files`.
    """
    chosen = _chosen(yaml_folder() / file, columns)
    of_list = {"sha256": chosen.sha256, "listed": chosen.rows, "clips": len(chosen.clips)}
    return {"list": of_list, **{name: data_version(name) for name in dict.fromkeys(c.dataset for c in chosen.clips)}}


def _chosen(file: Path, columns: Mapping[str, str]) -> Any:
    from mellm_plugin.datasets.clip_list import choose

    chosen = choose(file, columns)
    if not chosen.clips:
        raise InputError([*chosen.faults, *chosen.absent], where=f"{file}: not one of its clips is prepared")
    return chosen


def _listed(file: Path, columns: Mapping[str, str], given: Mapping[str, str], docs: Any) -> Any:
    """`protocol` of the clips of a list, with its labels. The subjects of several datasets are told apart.

    Args:
        file: the list.
        columns: as for `listed_files`.
        given: of `protocol`; and `names`, what the labels of the list mean, `0:negative+1:positive`.
        docs: the clips of the datasets that it names.
    """
    chosen = _chosen(file, columns)
    of_protocol = {key: value for key, value in given.items() if key != "names"}
    labels = chosen.labels(dict(name.split(":", 1) for name in given.get("names", "").split("+") if ":" in name))
    if (left_out := [*chosen.faults, *chosen.absent]) and file not in _told_lists:
        _told_lists.add(file)
        shown = "\n  ".join(left_out)
        logger.warning("{}: {} of {} clips are evaluated:\n  {}", file, len(chosen.clips), chosen.rows, shown)
    wanted = {clip.id for clip in chosen.clips}
    ids, subjects = docs["id"], docs["subject"]
    if len({clip.dataset for clip in chosen.clips}) > 1:
        subjects = [f"{name}/{subject}" for name, subject in zip(docs["dataset"], subjects, strict=True)]
    emotions = [labels.get(id) for id in ids]
    columns_of_list = {
        "subject": list(subjects),
        "emotion": emotions,
        "coarse": [None if emotion is None else coarse(emotion) for emotion in emotions],
    }
    for column, values in columns_of_list.items():
        docs = docs.remove_columns(column).add_column(column, pa.array(values, pa.string()))
    return _protocol_of(file, docs.select([at for at, id in enumerate(ids) if id in wanted]), **of_protocol)


_told_lists: set[Path] = set()


def yaml_folder() -> Path:
    """The folder of the task file that names, by `!function`, what is being computed now.

    Raises:
        InputError: no task file is being loaded.
    """
    if (file := _yaml_file()) is None:
        raise InputError("a path relative to the task file is known only while lmms-eval loads that file")
    return file.parent


def _yaml_file() -> Path | None:
    """The task file that names, by `!function`, what is being computed now; None where none is being loaded."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "import_function":  # lmms-eval's, whose YAML loader is named after the file
            name = getattr(frame.f_locals.get("loader"), "name", None)
            if isinstance(name, str):
                return Path(name).absolute()
        frame = frame.f_back
    return None


def data_version(names: str) -> dict[str, Any]:
    """What identifies the data of a run, for the results file: the sha256 and the number of clips of each split.

    Args:
        names: a prepared dataset, or several joined by `+`; then by dataset.
    """
    if "+" in names:
        return {name: data_version(name) for name in names.split("+")}
    splits = store.read_info(prepared_name(names))["splits"]
    return {split: {"clips": entry["clips"], "sha256": entry["sha256"]} for split, entry in splits.items()}


def metadata(names: str) -> dict[str, Any]:
    """Version of a task, of this package, of its prompt and of its data, for the results file.

    All of it is in the key of lmms-eval's response cache: another package, prompt or data is asked anew.

    Args:
        names: as for `data_version`.
    """
    version = {"version": 1.0, "package": __version__, "prompt_version": PROMPT_VERSION}
    return {**version, "data": data_version(names)}


def protocol(docs: Any, labels: str | None = None, aus: str | None = None, asks: str = "all") -> Any:
    """The clips of one split that are asked and scored, with three more columns: `labels`, `scored_aus` and `asks`.

    Args:
        docs: a `datasets.Dataset` of clips.
        labels: the labels to choose from, joined by `+`, or the name of a dataset whose labels these are; by default
            those of the clips' dataset. They may be the coarse classes. Clips with another label are left out; clips
            without any label stay, for their units.
        aus: the units scored, joined by `+`; or `least5`, those that at least so many of the clips that are asked about
            have for certain (whatever `--limit` there is); by default all that any of them has.
        asks: `all`; `emotion`, for the expression alone: clips without a label are left out too, and no units scored;
            or `aus`, for the units alone: there are no labels, and clips without known units are left out.

    Raises:
        InputError: labels or units that cannot be read or are not asked for, or no clip left; all faults at once.
        JudgeError: descriptions are asked for, and the judge that is set cannot be used.
    """
    faults: list[str] = []
    if asks not in ASKS:
        faults.append(f"protocol: asks: expected one of {', '.join(ASKS)}, found {asks!r}.{near(asks, ASKS)}")
    if asks == "emotion" and aus is not None:
        faults.append(f"protocol: expected no aus where asks=emotion, found {aus!r}")
    if asks == "aus" and labels is not None:
        faults.append(f"protocol: expected no labels where asks=aus, found {labels!r}")
    asked: list[str] = []
    given: list[int] | int = 1
    try:
        asked = [] if asks == "aus" else _labels(labels, docs)
    except InputError as error:
        faults += error.faults
    try:
        given = _given_units(aus)
    except InputError as error:
        faults += error.faults
    if faults:
        raise InputError(faults)
    if asks == "all":
        judge.ready()  # found out here, before an answer is generated
    kept = _asked_clips(docs, asked, asks)
    if asks == "emotion":
        scored = []
    elif isinstance(given, list):
        scored = given
    else:
        every = docs["aus"]
        scored = _frequent_units([every[i] for i in kept], given)
    docs = docs.add_column("labels", [asked] * len(docs)).add_column("scored_aus", [scored] * len(docs))
    docs = docs.add_column("asks", [asks] * len(docs))
    return docs if len(kept) == len(docs) else docs.select(kept)


def _protocol_of(file: Path, docs: Any, **given: str) -> Any:
    """`protocol`, whose faults name the task file that they are in."""
    try:
        return protocol(docs, **given)
    except InputError as error:
        raise InputError(error.faults, where=str(file)) from None


def _asked_clips(docs: Any, asked: Sequence[str], asks: str) -> list[int]:
    """The positions of the clips that are asked about; the log says how many are not, and why."""
    if asks == "aus":
        kept = [i for i, codes in enumerate(docs["aus"]) if codes is not None]
        if not kept:
            raise InputError(f"no clip of {docs['dataset'][0]} has known action units: there is nothing to ask for")
        if len(kept) < len(docs):
            logger.info("{} of {} clips are left out: their units are not known", len(docs) - len(kept), len(docs))
        return kept
    emotions = list(docs["emotion"])
    gold = [_gold_label(e, c, asked) for e, c in zip(emotions, docs["coarse"], strict=True)]
    without = [e is None and label is None for e, label in zip(emotions, gold, strict=True)]
    kept = [i for i, label in enumerate(gold) if label is not None or (asks == "all" and without[i])]
    if not kept:
        found = sorted({str(e) for e in emotions})
        raise InputError(f"no clip has one of the labels {', '.join(asked)}; the clips have: {', '.join(found)}")
    if len(kept) < len(docs) or any(without):
        logger.info(
            "{} of {} clips have another label than {} and are left out; {} have none and {}",
            *(sum(label is None for label in gold) - sum(without), len(docs), ", ".join(asked), sum(without)),
            "count for their units alone" if asks == "all" else "are left out too",
        )
    return kept


def composite(docs: Any) -> Any:
    """`protocol` of the MEGC 2019 composite: its three classes and twelve units, over the clips of its list.

    The list says which clips belong and which class each has. What is missing is told clip by clip as a warning, and no
    fault; so is a clip whose own label gives another class, or none.

    Raises:
        InputError: no clip belongs to the composite.
    """
    listed = megc2019.clips()
    keys = list(map(megc2019.clip_of, docs["dataset"], docs["subject"], docs["clip"]))
    kept = [i for i, key in enumerate(keys) if key in listed and key not in keys[:i]]
    if not kept:
        raise InputError(f"no clip belongs to the composite of {', '.join(megc2019.PARTS)}")
    if lines := megc2019.missing(keys):
        logger.warning(
            "MEGC 2019: {} of the {} clips of the composite are there, so scores are not compared with published "
            "ones:\n  {}",
            *(len(kept), len(listed), "\n  ".join(lines)),
        )
    classes = [listed[keys[i]][0] for i in kept]
    docs = docs.select(kept)
    ids, emotions, own = docs["id"][:], docs["emotion"][:], docs["coarse"][:]
    others = [i for i, (said, coarse) in enumerate(zip(own, classes, strict=True)) if said != coarse]
    if others:
        logger.warning(
            "MEGC 2019: the challenge's list gives {} clips another class than their labels do, and decides:\n  {}",
            *(len(others), "\n  ".join(f"{ids[i]}: {classes[i]}, labelled {emotions[i] or own[i]}" for i in others)),
        )
        # Without its label, which would be scored before the class if it is the name of another one.
        fine = [None if i in set(others) else label for i, label in enumerate(emotions)]
        columns = {"emotion": fine, "coarse": classes}
        for name, values in columns.items():
            feature = docs.features[name]
            docs = docs.remove_columns(name).add_column(name, values, feature=feature)
    return protocol(docs, labels="smic", aus="1+2+4+5+6+7+9+10+12+14+15+17")


def _given_units(aus: str | None) -> list[int] | int:
    """The units named, or how many clips a unit must have."""
    if aus is None:
        return 1
    if least := re.fullmatch(r"least([1-9]\d*)", aus):
        return int(least[1])
    events = numbers(aus.split("+"))
    faults = (
        [f"protocol: expected single units joined by '+', found {aus!r}"] if any(len(e) > 1 for e in events) else []
    )
    if strange := [str(number) for event in events for number in event if number not in UNITS]:
        known = ", ".join(map(str, UNITS))
        faults.append(f"protocol: aus: expected FACS numbers of the table ({known}), found {', '.join(strange)}")
    if faults:
        raise InputError(faults)
    return [event[0] for event in events]


def _frequent_units(clips: Sequence[Sequence[str] | None], least: int) -> list[int]:
    counts: Counter[int] = Counter()
    for codes in clips:
        counts.update({event[0] for event in numbers(codes or ()) if len(event) == 1})
    scored = sorted(unit for unit, count in counts.items() if count >= least)
    if counts and not scored:
        unit, count = counts.most_common(1)[0]
        raise InputError(
            f"protocol: no unit is in at least {least} of the clips; the most frequent, {unit}, is in {count}"
        )
    return scored


def _labels(spec: str | None, docs: Any) -> list[str]:
    if spec is None:
        dataset = docs["dataset"][0]
        return list(labels_of(dataset) or sorted({e for e in docs["emotion"] if e is not None}))
    try:
        return list(labels_named(spec, {e for e in docs["emotion"] if e is not None}))
    except InputError as error:
        raise InputError([f"protocol: {fault}" for fault in error.faults]) from None


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
        asked = doc["labels"], doc["asks"]
        text = {"type": "text", "text": frames_prompt(*asked), "map_text": open_map_prompt(*asked)}
        for image, frame in zip(images, ("onset", "apex"), strict=True):
            image["frame"] = frame
        images[0]["nose"] = doc.get("nose")
    return [{"role": "user", "content": [*images, text]}]


def _rgb(image: Image.Image) -> Image.Image:
    # 16-bit and float images stay as they are: converting them would cut their values off at 255
    return image if image.mode == "RGB" or image.mode[0] in "IF" else image.convert("RGB")


def doc_to_target(doc: Doc) -> str:
    """The annotation in the words of a conclusion; what is not known or not asked for is left out."""
    parts = []
    if doc["aus"] is not None and doc["asks"] != "emotion":
        parts.append(f"action units {'+'.join(map(_in_words, map(parse_canonical, doc['aus']))) or 'none'}")
    if (label := _gold_label(doc["emotion"], doc["coarse"], doc["labels"])) is not None:
        parts.append(f"expression: {label}")
    return "; ".join(parts)


def _in_words(event: ActionUnit) -> str:
    side = {"L": " (left)", "R": " (right)"}.get(event.side or "", "")
    return f"AU{'/'.join(map(str, event.alternatives))}{side}"


# ---- an answer becomes readings -------------------------------------------------------------------------------------


def process_results(doc: Doc, results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What was read from an answer, as the items that each metric of what was asked is computed from.

    `parse_rate` holds everything about the clip and its answer, for reports; the other items what they need. An answer
    that was never given (`language.unanswered`) has its reason in `answer_rate`, and no item in any score: no answer is
    not a wrong one. A clip without a label (or coarse class) has no item in the metrics of labels.
    `motion_plausible_rate` says what speaks against the two frames, whatever the model was shown, and `motion_px`, how
    strongly the face moves (`motion.facial.strength`; None where something speaks against them).
    `description_facts_f1` holds every claim of the answer, whether it is right, and whether the measured flow
    contradicts it (None: not known, not decided). `<metric>_stderr` has the item of its metric, and `ci95_stderr` those
    of all of them. Where a judge is set, `description_score` holds what it said of the answer.
    """
    clip = {"id": doc["id"], "subject": doc["subject"]}
    gold = _gold_label(doc["emotion"], doc["coarse"], doc["labels"])
    answer, items = _answered(doc, results[0], gold)
    facial, doubts = _measured(doc)
    if answer is not None:
        items |= _readings(doc, results[0], answer, gold, None if doubts else facial)
    moved = None if facial is None or doubts else round(strength(facial), 3)
    items["motion_plausible_rate"] = {**clip, "doubts": doubts, "motion_px": moved}
    # last, so that no fault of another step repeats its requests
    if answer is not None and doc["asks"] == "all" and (by := judge.configured()) is not None:
        known = None if doc["aus"] is None or gold is None else reference(doc["aus"], gold)
        grade = by.grade(doc["id"], known, results[0]).to_dict()
        items["description_score"] = {**clip, **grade}
        items["judge_rate"] = {**clip, "points": grade["points"], "unscored": grade["unscored"]}
    return _with_intervals(items)


def _answered(doc: Doc, text: str, gold: str | None) -> tuple[Answer | None, dict[str, dict[str, Any]]]:
    """The answer, None where it was never given; and the items that every clip has."""
    why = unanswered(text)
    answer = read(text, doc["labels"], doc["asks"]) if why is None else Answer(None, None, None, f"never given: {why}")
    items = {
        "parse_rate": {**_everything(doc, answer, gold), "unanswered": why},
        "answer_rate": {"id": doc["id"], "subject": doc["subject"], "unanswered": why},
    }
    return (answer if why is None else None), items


def _readings(
    doc: Doc, text: str, answer: Answer, gold: str | None, facial: FacialFlow | None
) -> dict[str, dict[str, Any]]:
    """The items of the scores that need neither another look at the frames nor a judge."""
    asks = doc["asks"]
    clip = {"id": doc["id"], "subject": doc["subject"]}
    items: dict[str, dict[str, Any]] = {}
    if gold is not None:
        item = {**clip, "gold": gold, "read": answer.label}
        items |= dict.fromkeys(("emotion_uf1", "emotion_uar", "emotion_acc"), item)
        items |= dict.fromkeys(("emotion_uf1_majority", "emotion_acc_majority"), item)
    if doc["coarse"] is not None and asks != "aus":
        item = {**clip, "gold": doc["coarse"], "read": answer.coarse}
        items |= dict.fromkeys(("coarse_uf1", "coarse_uar", "coarse_acc"), item)
        items |= dict.fromkeys(("coarse_uf1_majority", "coarse_acc_majority"), item)
    if asks != "emotion":
        item = _of_units(doc, answer)
        items |= dict.fromkeys(("au_f1", "au_f1_micro", "au_exact", "au_f1_all_present", "au_parse_rate"), item)
        items |= dict.fromkeys(("au_side_acc", "au_side_count"), item)
    if asks == "all":
        item = _facts(doc, text, facial)
        items["description_facts_f1"] = {**clip, **item}
        counts = {key: item[key] for key in ("claims", "right", "facts", "found", "contradicting", "decided")}
        names = ("facts_precision", "facts_recall", "contradiction_rate", "rate")
        items |= {f"description_{name}": {**clip, **counts} for name in names}
        items["description_facts_f1_majority"] = {**clip, "gold": doc["aus"]}
    return items


def _everything(doc: Doc, answer: Answer, gold: str | None) -> dict[str, Any]:
    """Everything about a clip and its answer."""
    return {
        "id": doc["id"],
        "subject": doc["subject"],
        "dataset": doc["dataset"],
        "asks": doc["asks"],
        "labels": list(doc["labels"]),
        "scored_aus": list(doc["scored_aus"]),
        "gold": {"aus": doc["aus"], "label": gold, "emotion": doc["emotion"], "coarse": doc["coarse"]},
        "read": {
            "aus": None if answer.aus is None else list(answer.aus),
            "label": answer.label,
            "coarse": answer.coarse,
            "unparsed": answer.unparsed,
            "sides": {str(unit): side for unit, side in answer.sides},
        },
    }


def _of_units(doc: Doc, answer: Answer) -> dict[str, Any]:
    """What the metrics of units are computed from."""
    return {
        "id": doc["id"],
        "subject": doc["subject"],
        "gold": doc["aus"],
        "read": None if answer.aus is None else list(answer.aus),
        "sides": {str(unit): side for unit, side in answer.sides},
        "scored_aus": list(doc["scored_aus"]),
    }


def process_sensitivity(doc: Doc, results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`process_results` for clips of the amplitude ladder: whether the unit that moves is named, and how many others.

    `parse_rate` holds everything about the clip and its answer, as ever; its value is that no label was asked for of a
    clip that has none (None). See `scoring.sensitivity` for the other items, which an answer that was never given has
    none of.
    """
    answer, items = _answered(doc, results[0], None)
    if answer is None:
        return _with_intervals(items)
    unit, level = ladder.rung(doc["clip"])
    named = None if answer.aus is None else set(doc["scored_aus"]).intersection(answer.aus)
    item = {
        "id": doc["id"],
        "subject": doc["subject"],
        "unit": unit,
        "level_px": level,
        "named": None if named is None else unit in named,
        "others": None if named is None else len(named - {unit}),
        "other_units": len(set(doc["scored_aus"]) - {unit}),
    }
    of_units = {"au_parse_rate": _of_units(doc, answer)}
    items = _with_intervals({**items, **of_units, **dict.fromkeys(sensitivity.SCORES, item)})
    items["ci95_stderr"]["au_parse_rate"] = items["au_parse_rate"]
    return items


def process_results_by_part(doc: Doc, results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`process_results` for clips of several datasets and coarse classes as labels: `coarse_*` over all clips, and
    `coarse_*_<dataset>` over those of each dataset."""
    items = process_results(doc, results)
    items = {m: item for m, item in items.items() if not m.startswith("emotion_") and not m.endswith("_stderr")}
    parts = {f"{metric}_{doc['dataset']}": items[metric] for metric in _BY_PART if metric in items}
    return _with_intervals({**items, **parts})


_BY_PART = ("coarse_uf1", "coarse_uar", "coarse_acc")
_WITHOUT_INTERVAL = ("_majority", "_all_present", "_count")
"""Endings of metrics that get no standard error: constant answers, and a number of units."""


def _with_intervals(items: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The items with those of the standard errors, each after its metric: lmms-eval fills the column of the standard
    error with what is computed last, and of a metric of its own with nothing."""
    errors = {f"{metric}_stderr": item for metric, item in items.items() if not metric.endswith(_WITHOUT_INTERVAL)}
    shown = {m: item for m, item in items.items() if m in _TOLD or ("_uf1" in m and not m.endswith(_WITHOUT_INTERVAL))}
    return {**items, **errors, "ci95_stderr": shown}


_TOLD = (
    "threshold_px",
    "au_f1",
    "description_facts_f1",
    "parse_rate",
    "answer_rate",
    "motion_plausible_rate",
    "judge_rate",
)
"""Their items, and those of each UF1, are what the intervals and tables of a task are made of."""


def motion_doubts(doc: Doc) -> list[str]:
    """What speaks against the clip's flow being that of a micro-expression; the fault where it has no usable frames."""
    return _measured(doc)[1]


def _measured(doc: Doc) -> tuple[FacialFlow | None, list[str]]:
    """The flow of a clip at its working size, and what speaks against it; None where its frames cannot be used."""
    try:
        pair, cache = working_pair(*read_pair(doc["onset"], doc["apex"])), default_cache()
        facial = measure(pair) if cache is None else cache.measure(pair, DEFAULT)
        return facial, list(facial.doubts)
    except (ImageError, OSError) as error:  # PIL's error for a damaged image is an OSError
        return None, [str(error) or repr(error)]


def _facts(doc: Doc, answer: str, facial: FacialFlow | None) -> dict[str, Any]:
    """The claims of an answer against the clip's units and against its flow, where these are known."""
    said = claims(answer)
    motions = region_motions(facial, _nose(doc, facial)) if said and facial is not None else ()
    return facts.compared(said, doc["aus"], motions)


def _nose(doc: Doc, facial: FacialFlow) -> tuple[float, float] | None:
    """The nose tip in px of the flow; None where it is not known, or outside the frame and so no help."""
    if doc.get("nose") is None:
        return None
    (height, width), (across, down) = facial.flow.shape[:2], doc["onset"].size
    x, y = (doc["nose"][0] + 0.5) * width / across - 0.5, (doc["nose"][1] + 0.5) * height / down - 0.5
    return (x, y) if 0 <= x <= width - 1 and 0 <= y <= height - 1 else None


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


def au_exact(items: Items) -> float | None:
    """Share of the clips whose units, of those of the task, the answer names exactly; None where none are known."""
    return _units(items).exact


def au_side_acc(items: Items) -> float | None:
    """Of the units coded on one side alone that the answers name, the share whose side they name right."""
    return summary.side_scores(items).accuracy


def au_side_count(items: Items) -> int:
    """The number of units that `au_side_acc` is a share of."""
    return sum(summary.side_scores(items).named)


def au_f1_all_present(items: Items) -> float | None:
    """What `au_f1` is when every answer names all units of the task (naming none gives 0)."""
    return units.constant(_gold_units(items), items[0]["scored_aus"], present=True).mean


def parse_rate(items: Items) -> float | None:
    """Share of the answers whose label could be read, of those that were given and whose clips have one; of their units
    where only those were asked for."""
    if items[0]["asks"] != "aus":
        labelled = {item["gold"]["label"] for item in items} - {None}
        absent = [label for label in items[0]["labels"] if label not in labelled]
        if labelled and absent:
            logger.info("labels: no clip has {}: left out of the means", ", ".join(absent))
    could = [one for item in items if (one := summary.parsed(item)) is not None]
    return sum(could) / len(could) if could else None


def answer_rate(items: Items) -> float:
    """Share of the answers that were given; a warning says why the others were not, and what to do."""
    lacking = [item for item in items if item["unanswered"] is not None]
    if lacking:
        logger.warning(
            "{}",
            f"answer_rate: {len(lacking)} of {len(items)} answers were never given "
            f"({reasons_in_words(item['unanswered'] for item in lacking)}). The scores are over the others, and "
            "`mellm report` gives this run no rank. Remove the cause, then run the same command again: with "
            f"--use_cache only these clips are asked anew. The first: {', '.join(item['id'] for item in lacking[:3])}",
        )
    return 1 - len(lacking) / len(items)


def motion_plausible_rate(items: Items) -> float:
    """Share of the clips against whose motion nothing speaks; the log names the others."""
    for item in items:
        if item["doubts"]:
            logger.warning("{}: implausible motion: {}", item["id"], "; ".join(item["doubts"]))
    return sum(not item["doubts"] for item in items) / len(items)


def au_parse_rate(items: Items) -> float | None:
    """Share of the answers with a statement on units, of those that were given and whose clips' units are known."""
    known = [item for item in items if item["gold"] is not None]
    return sum(item["read"] is not None for item in known) / len(known) if known else None


def _fact_scores(items: Items) -> facts.FactScores:
    known = [item for item in items if item["facts"] is not None]
    right, claimed, found, implied = (sum(i[name] for i in known) for name in ("right", "claims", "found", "facts"))
    return facts.score(right, claimed, found, implied)


def description_facts_f1(items: Items) -> float | None:
    """Harmonic mean of precision and recall of the claims of the face's movement; None where nothing is implied."""
    without = sum(item["facts"] is None for item in items)
    if without:
        logger.info("description_facts: {} of {} clips left out: their units are not known", without, len(items))
    return _fact_scores(items).f1


def description_facts_precision(items: Items) -> float | None:
    """Share of the claims that the annotated units imply; None where nothing is claimed."""
    return _fact_scores(items).precision


def description_facts_recall(items: Items) -> float | None:
    """Share of what the annotated units imply that is claimed; None where nothing is implied."""
    return _fact_scores(items).recall


def description_facts_f1_majority(items: Items) -> float | None:
    """What `description_facts_f1` is when every answer describes the most frequent combination of units."""
    return facts.constant([item["gold"] for item in items if item["gold"] is not None]).f1


def description_contradiction_rate(items: Items) -> float | None:
    """Share of the claims that contradict the measured flow, of those that it decides; None where it decides none."""
    decided = sum(item["decided"] for item in items)
    return sum(item["contradicting"] for item in items) / decided if decided else None


def description_rate(items: Items) -> float:
    """Share of the answers that claim any movement of the face."""
    return sum(1 for item in items if item["claims"]) / len(items)


def description_score(items: Items) -> float | None:
    """Mean points, 0 to 100, of the answers that a judge graded; None where it graded none."""
    logger.info("description_score: {}", judge.summary(items))
    return judge.description_score(items)


def judge_rate(items: Items) -> float | None:
    """Share of the answers with a verdict, of the clips whose units and label are known."""
    return judge.judge_rate(items)


def threshold_px(items: Items) -> float | None:
    """The movement, px, at which units are named half-way from chance to ceiling; None if a model does not see."""
    return summary.interval("threshold_px", items).value


def sensitivity_ceiling(items: Items) -> float | None:
    """The share of moving units that are named however far they move; of all, where it does not depend on that."""
    return summary.interval("sensitivity_ceiling", items).value


def false_alarm_rate(items: Items) -> float | None:
    """The share of the task's units that are named where nothing moves."""
    return summary.interval("false_alarm_rate", items).value


def stderr(score: str) -> Callable[[Items], float | None]:
    """The aggregation of a metric `<metric>_stderr`: the standard error of a score, over subjects.

    Args:
        score: `uf1`, `uar` or `acc`, of any label; or the name of another metric that has an interval.

    Raises:
        InputError: there is no such score.
    """
    if score not in summary.SCORES:
        raise InputError(
            f"expected stderr of {', '.join(summary.SCORES)}, found {score!r}.{near(score, summary.SCORES)}",
            where="task file",
        )
    return partial(_stderr, score)


def _stderr(score: str, items: Items) -> float | None:
    return summary.interval(score, items).stderr


def ci95(items: Items) -> dict[str, list[float] | None]:
    """Both ends of the 95 % interval of every metric, for the results file; the log gets the tables of the task.

    It is the metric `ci95_stderr`, for lmms-eval shows no row of a metric whose name ends so.
    """
    logger.info("scores\n{}", summary.in_words(items))
    return summary.intervals(items)


# ---- names with arguments -------------------------------------------------------------------------------------------

_CALL = re.compile(r"(\w+)\((.*)\)")
_OF_ONE: dict[str, Callable[[str], Any]] = {
    "data": data,
    "data_version": data_version,
    "files": files,
    "metadata": metadata,
    "stderr": stderr,
}
_OF_FILE: dict[str, Callable[..., Any]] = {
    "listed_files": listed_files,
    "listed_version": listed_version,
    "table": table,
    "table_version": table_version,
}
_PROTOCOL = ("labels", "aus", "asks")


def _late(name: str) -> Callable[[], Any] | None:
    """What a name with arguments stands for, `data(casme2)` or `protocol(labels=a+b)`; None when it is no such name."""
    call = _CALL.fullmatch(name)
    if call is None:
        return None
    function, arguments = call.groups()
    parts = [part.strip() for part in arguments.split(",") if part.strip()]
    if function in _OF_ONE and len(parts) == 1 and "=" not in parts[0]:
        return partial(_OF_ONE[function], parts[0])
    keywords = {key.strip(): value.strip() for key, mark, value in (part.partition("=") for part in parts) if mark}
    if function == "protocol" and len(keywords) == len(parts) and keywords.keys() <= {*_PROTOCOL}:
        given = keywords
        return lambda: partial(_protocol_of, file, **given) if (file := _yaml_file()) else partial(protocol, **given)
    if len(keywords) == len(parts) - 1 and "=" not in parts[0]:
        file_name = parts[0]
        if function in _OF_FILE:
            return partial(_OF_FILE[function], file_name, **keywords)
        if function == "listed":
            own = {key: keywords.pop(key) for key in ("names", *_PROTOCOL) if key in keywords}
            return lambda: partial(_listed, yaml_folder() / file_name, keywords, own)
    raise InputError(
        "expected data(NAME), data_version(NAME), metadata(NAME), files(NAME+NAME), table(FILE), table_version(FILE), "
        "listed_files(FILE), listed_version(FILE), listed(FILE, names=0:A+1:B, labels=A+B, aus=1+2, asks=all), "
        f"stderr(SCORE) or protocol(labels=A+B, aus=1+2, asks=all), found {name!r}",
        where="task file",
    )


def __getattr__(name: str) -> Any:
    # `!function` in YAML is getattr on this module: the way to hand it something that is known only when a task loads.
    late = _late(name)
    if late is not None:
        return late()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
