"""What a task asks and scores: which clips, which labels and which action units.

A protocol adds three columns to the clips that are asked about, `labels`, `scored_aus` and `asks`, so that the prompt,
the reading of the answer and the scores cannot disagree.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from loguru import logger

from mellm_plugin.datasets import megc2019
from mellm_plugin.errors import InputError, near
from mellm_plugin.facs.codes import numbers
from mellm_plugin.facs.labels import coarse, gold_label, labels_named, labels_of
from mellm_plugin.facs.units import UNITS
from mellm_plugin.language.prompts import ASKS
from mellm_plugin.meu.data_files import chosen_clips, yaml_file, yaml_folder
from mellm_plugin.scoring import judge


def protocol(docs: Any, labels: str | None = None, aus: str | None = None, asks: str = "all") -> Any:
    """The clips of one split that are asked about, with the columns `labels`, `scored_aus` and `asks`.

    Args:
        docs: a `datasets.Dataset` of clips.
        labels: the labels to choose from, joined by `+`, or the name of a dataset for its labels; by default those of
            the clips' dataset. They may be the coarse classes. Clips with another label are left out; clips without
            any label stay, for their units.
        aus: the units scored, joined by `+`; or `least5` for those that at least 5 of the clips that are asked about
            have for certain, counted before `--limit`; by default all units that any of them has.
        asks: `all`; `emotion` for the expression alone, which leaves out clips without a label and scores no units;
            or `aus` for the units alone, which has no labels and leaves out clips whose units are not known.

    Raises:
        InputError: labels or units that cannot be read or are not asked for, or no clip is left; all faults at once.
        JudgeError: the task asks for descriptions, and the judge that is set cannot be used.
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
        judge.ready()  # before any answer is generated
    kept = _asked_clips(docs, asked, asks)
    if isinstance(given, int):
        every = docs["aus"]
        given = [] if asks == "emotion" else _frequent_units([every[i] for i in kept], given)
    for name, value in {"labels": asked, "scored_aus": given, "asks": asks}.items():
        docs = docs.add_column(name, [value] * len(docs))
    return docs if len(kept) == len(docs) else docs.select(kept)


def _asked_clips(docs: Any, asked: Sequence[str], asks: str) -> list[int]:
    """The positions of the clips that are asked about; logs how many are not, and why."""
    if asks == "aus":
        kept = [i for i, codes in enumerate(docs["aus"]) if codes is not None]
        if not kept:
            raise InputError(f"no clip of {docs['dataset'][0]} has known action units: there is nothing to ask for")
        if len(kept) < len(docs):
            logger.info("{} of {} clips are left out: their units are not known", len(docs) - len(kept), len(docs))
        return kept
    emotions = list(docs["emotion"])
    gold = [gold_label(e, c, asked) for e, c in zip(emotions, docs["coarse"], strict=True)]
    without = [e is None and label is None for e, label in zip(emotions, gold, strict=True)]
    kept = [i for i, label in enumerate(gold) if label is not None or (asks == "all" and without[i])]
    if not kept:
        found = sorted({str(e) for e in emotions})
        raise InputError(f"no clip has one of the labels {', '.join(asked)}; the clips have: {', '.join(found)}")
    if len(kept) < len(docs) or any(without):
        logger.info(
            "{} of {} clips are left out: they have another label than {}; {} clips have no label and {}",
            *(sum(label is None for label in gold) - sum(without), len(docs), ", ".join(asked), sum(without)),
            "count for their units alone" if asks == "all" else "are left out too",
        )
    return kept


def _given_units(aus: str | None) -> list[int] | int:
    """The units named, or the number of clips that a unit must be in."""
    if aus is None:
        return 1
    if least := re.fullmatch(r"least([1-9]\d*)", aus):
        return int(least[1])
    events = numbers(aus.split("+"))
    faults = []
    if any(len(event) > 1 for event in events):
        faults.append(f"protocol: expected single units joined by '+', found {aus!r}")
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
        found = f"the most frequent, {unit}, is in {count}"
        raise InputError(f"protocol: no unit is in at least {least} of the clips; {found}")
    return scored


def _labels(spec: str | None, docs: Any) -> list[str]:
    found = {e for e in docs["emotion"] if e is not None}
    if spec is None:
        return list(labels_of(docs["dataset"][0]) or sorted(found))
    try:
        return list(labels_named(spec, found))
    except InputError as error:
        raise InputError([f"protocol: {fault}" for fault in error.faults]) from None


def bound(given: Mapping[str, str]) -> Callable[[Any], Any]:
    """`protocol` with its arguments; its faults name the task file that lmms-eval is loading."""
    file = yaml_file()
    return partial(protocol, **given) if file is None else partial(_protocol_of, file, **given)


def _protocol_of(file: Path, docs: Any, **given: str) -> Any:
    try:
        return protocol(docs, **given)
    except InputError as error:
        raise InputError(error.faults, where=str(file)) from None


def bound_list(file: str, given: Mapping[str, str]) -> Callable[[Any], Any]:
    """`listed`: the protocol of the clips of a list, a file relative to the folder of the task file.

    Besides arguments of `protocol`, `names` says what the labels of the list mean (`0:negative+1:positive`); others are
    column headers, by the keys of `clip_list.COLUMNS`.
    """
    own = {key: given[key] for key in ("names", "labels", "aus", "asks") if key in given}
    columns = {key: value for key, value in given.items() if key not in own}
    return partial(_listed, yaml_folder() / file, columns, own)


def _listed(file: Path, columns: Mapping[str, str], given: Mapping[str, str], docs: Any) -> Any:
    """The protocol of the clips of a list, with the list's labels. Subjects of several datasets get distinct names."""
    import pyarrow as pa

    chosen = chosen_clips(file, columns)
    of_protocol = {key: value for key, value in given.items() if key != "names"}
    labels = chosen.labels(dict(name.split(":", 1) for name in given.get("names", "").split("+") if ":" in name))
    if (left_out := [*chosen.faults, *chosen.absent]) and file not in _warned_lists:
        _warned_lists.add(file)
        shown = "\n  ".join(left_out)
        logger.warning("{}: {} of {} clips are evaluated:\n  {}", file, len(chosen.clips), chosen.rows, shown)
    wanted = {clip.id for clip in chosen.clips}
    ids, subjects = docs["id"], docs["subject"]
    if len({clip.dataset for clip in chosen.clips}) > 1:
        subjects = [f"{name}/{subject}" for name, subject in zip(docs["dataset"], subjects, strict=True)]
    emotions = [labels.get(id) for id in ids]
    classes = [None if emotion is None else coarse(emotion) for emotion in emotions]
    for column, values in {"subject": list(subjects), "emotion": emotions, "coarse": classes}.items():
        docs = docs.remove_columns(column).add_column(column, pa.array(values, pa.string()))
    return _protocol_of(file, docs.select([at for at, id in enumerate(ids) if id in wanted]), **of_protocol)


_warned_lists: set[Path] = set()


def composite(docs: Any) -> Any:
    """`protocol` of the MEGC 2019 composite: its three classes and twelve units, over the clips of its list.

    The list says which clips belong to the composite and which class each has. It warns of clips that are missing, and
    of clips whose own label gives another class. Raises InputError if no clip belongs to the composite.
    """
    listed = megc2019.clips()
    keys = list(map(megc2019.clip_of, docs["dataset"], docs["subject"], docs["clip"]))
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    kept = sorted(i for key, i in first.items() if key in listed)
    if not kept:
        raise InputError(f"no clip belongs to the composite of {', '.join(megc2019.PARTS)}")
    if lines := megc2019.missing(keys):
        logger.warning(
            "MEGC 2019: only {} of the {} clips of the composite are prepared, so do not compare these scores with "
            "published ones:\n  {}",
            *(len(kept), len(listed), "\n  ".join(lines)),
        )
    classes = [listed[keys[i]][0] for i in kept]
    docs = docs.select(kept)
    ids, emotions, own = docs["id"][:], docs["emotion"][:], docs["coarse"][:]
    others = {i: of_list for i, (said, of_list) in enumerate(zip(own, classes, strict=True)) if said != of_list}
    if others:
        lines = [f"{ids[i]}: {of_list}, labelled {emotions[i] or own[i]}" for i, of_list in others.items()]
        logger.warning(
            "MEGC 2019: the challenge's list gives {} clips another class than their labels, and decides:\n  {}",
            *(len(others), "\n  ".join(lines)),
        )
        # Without its label, which would be scored before the class if it is the name of another class.
        fine = [None if i in others else label for i, label in enumerate(emotions)]
        for name, values in {"emotion": fine, "coarse": classes}.items():
            feature = docs.features[name]
            docs = docs.remove_columns(name).add_column(name, values, feature=feature)
    return protocol(docs, labels="smic", aus="1+2+4+5+6+7+9+10+12+14+15+17")
