"""An answer becomes the record of its clip: what was read, what is expected, and how the face really moves.

    process_results(doc, ["The brows are lowered. Conclusion: action units AU4; expression: fear"])
      ->  {"record": {"id": .., "gold": {"label": "fear", ..}, "read": {"label": "fear", "aus": [4], ..}, ..},
           "emotion_uf1": Item, ..}

A record has these keys:

    id, subject, dataset, asks, labels, scored_aus   of the clip and its protocol
    gold        aus, label (that of the protocol), emotion, coarse: the annotation
    read        aus, label, coarse, unparsed (why something could not be read), sides: from the answer
    probabilities  of the labels, by label (`language.probabilities`); None where the model gives none
    heads       label, aus, sides, probabilities: what heads on the visual tokens say (`answer=both`); else None
    unanswered  why no answer was ever given (`language.unanswered`), or None
    doubts      what speaks against the motion between onset and apex, whatever the model was shown
    motion_px   how strongly the face moves (`motion.facial.strength`); None where there are doubts
    facts       the answer's claims against units and measured flow (`scoring.facts.compared`); None where not asked for
    judge       the judge's grade of the answer (`scoring.judge.Grade`); None where no judge was asked
    rung        of the amplitude ladder alone: unit, level_px, named, others, other_units (`scoring.sensitivity`)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mellm_plugin.datasets import ladder
from mellm_plugin.errors import ImageError
from mellm_plugin.facs.labels import gold_label
from mellm_plugin.language.answers import Answer, read
from mellm_plugin.language.claims import claims
from mellm_plugin.language.probabilities import apart, heads_apart
from mellm_plugin.language.unanswered import unanswered
from mellm_plugin.motion.cache import default_cache
from mellm_plugin.motion.facial import FacialFlow, measure, strength, working_pair
from mellm_plugin.motion.images import read_pair
from mellm_plugin.motion.regions import region_motions
from mellm_plugin.motion.render import map_doubts
from mellm_plugin.motion.settings import DEFAULT
from mellm_plugin.scoring import facts, judge, metrics
from mellm_plugin.scoring.rubric import reference

Doc = Mapping[str, Any]


def process_results(doc: Doc, results: Sequence[str]) -> dict[str, Any]:
    """The record of a clip and its answer, and what each metric needs of it (`scoring.metrics.items`)."""
    gold = gold_label(doc["emotion"], doc["coarse"], doc["labels"])
    answer, of_heads = heads_apart(results[0])
    record = _record(doc, answer, gold)
    if of_heads is not None:
        second = _record(doc, of_heads, gold)
        record["heads"] = {**second["read"], "probabilities": second["probabilities"]}
    facial, doubts = _measured(doc)
    moved = None if facial is None or doubts else round(strength(facial), 3)
    record |= {"doubts": doubts, "motion_px": moved}
    if record["unanswered"] is None and doc["asks"] == "all":
        said = claims(answer)
        motions = region_motions(facial, _nose(doc, facial)) if said and facial is not None and not doubts else ()
        record["facts"] = facts.compared(said, doc["aus"], motions)
        # last, so that lmms-eval's retries after a fault of another step do not repeat the judge's requests
        if (by := judge.configured()) is not None:
            known = None if doc["aus"] is None or gold is None else reference(doc["aus"], gold)
            record["judge"] = by.grade(doc["id"], known, answer).to_dict()
    return metrics.items(record, metrics.of_record(record))


process_results_by_part = process_results
"""Its name in task files of version 0.1 over several datasets."""


def process_sensitivity(doc: Doc, results: Sequence[str]) -> dict[str, Any]:
    """`process_results` for clips of the amplitude ladder: whether the answer names the unit that moves, and others.

    No label is expected, so `parse_rate` is None.
    """
    record = {**_record(doc, results[0], None), "rung": None}
    if record["unanswered"] is None:
        unit, level = ladder.rung(doc["clip"])
        read_aus, scored = record["read"]["aus"], set(doc["scored_aus"])
        rung = {"unit": unit, "level_px": level, "named": None, "others": None, "other_units": len(scored - {unit})}
        if read_aus is not None:
            named = scored.intersection(read_aus)
            rung |= {"named": unit in named, "others": len(named - {unit})}
        record["rung"] = rung
    return metrics.items(record, metrics.SENSITIVITY)


def _record(doc: Doc, text: str, gold: str | None) -> dict[str, Any]:
    """The record of a clip and its answer, without what needs the frames or a judge."""
    why = unanswered(text)
    answer = read(text, doc["labels"], doc["asks"]) if why is None else Answer(None, None, None, f"never given: {why}")
    return {
        **{key: doc[key] for key in ("id", "subject", "dataset", "asks")},
        **{key: list(doc[key]) for key in ("labels", "scored_aus")},
        "gold": {"aus": doc["aus"], "label": gold, "emotion": doc["emotion"], "coarse": doc["coarse"]},
        "read": {
            "aus": None if answer.aus is None else list(answer.aus),
            "label": answer.label,
            "coarse": answer.coarse,
            "unparsed": answer.unparsed,
            "sides": {str(unit): side for unit, side in answer.sides},
        },
        "probabilities": _probabilities(text, doc["labels"]),
        "unanswered": why,
        **{"heads": None, "doubts": [], "motion_px": None, "facts": None, "judge": None},
    }


def _probabilities(text: str, labels: Sequence[str]) -> dict[str, float] | None:
    found = apart(text)[1]
    return found if found is not None and found.keys() == {*labels} else None


def _measured(doc: Doc) -> tuple[FacialFlow | None, list[str]]:
    """The flow of a clip at its working size, and what speaks against it; None where its frames cannot be used."""
    try:
        pair, cache = working_pair(*read_pair(doc["onset"], doc["apex"])), default_cache()
        facial = measure(pair) if cache is None else cache.measure(pair, DEFAULT)
        return facial, list(map_doubts(facial, DEFAULT))
    except (ImageError, OSError) as error:  # PIL's error for a damaged image is an OSError
        return None, [str(error) or repr(error)]


def _nose(doc: Doc, facial: FacialFlow) -> tuple[float, float] | None:
    """The nose tip in px of the flow; None where it is not known, or lies outside the frame."""
    if doc.get("nose") is None:
        return None
    (height, width), (across, down) = facial.flow.shape[:2], doc["onset"].size
    x, y = (doc["nose"][0] + 0.5) * width / across - 0.5, (doc["nose"][1] + 0.5) * height / down - 0.5
    return (x, y) if 0 <= x <= width - 1 and 0 <= y <= height - 1 else None
