"""The interval of every score, the comparison of runs, and the tables that a run ends with.

    casme2: 255 clips of 26 subjects; intervals of 95 % from 10,000 resamples of the subjects
    score         value  interval      constant answers
    emotion_uf1    .412  .351 to .468  .111 (disgust)
    ..

Input are the items of a metric (`scoring.metrics`), one for each clip that counts:

    uf1    [{"id": "casme2/sub01/EP02_01f", "subject": "sub01", "gold": "happiness", "read": None}, ..]
    au_f1  [{"id": .., "gold": ["R12"], "read": [12], "sides": {"12": "R"}, "scored_aus": [1, 2, 12]}, ..]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from mellm_plugin.facs.codes import numbers
from mellm_plugin.scoring import emotion, facts, judge, sensitivity, text, units
from mellm_plugin.scoring.counts import (
    Clip,
    Counts,
    calibration_counts,
    fact_counts,
    label_counts,
    rate_counts,
    sum_counts,
    unit_counts,
)
from mellm_plugin.scoring.intervals import RESAMPLES, Bootstrap, Comparison, Interval, bootstrap, compare_all

Items = Sequence[Mapping[str, Any]]


def parsed(item: Mapping[str, Any]) -> bool | None:
    """Whether the label could be read in an answer, or the units where the task asks for units alone.

    None for a clip without a label, and for an answer that was never given. The item is one of `parse_rate`.
    """
    if item.get("unanswered") is not None:
        return None
    if item["asks"] == "aus":
        return item["read"]["aus"] is not None
    return None if item["gold"]["label"] is None else item["read"]["label"] is not None


def label_scores(items: Items) -> emotion.EmotionScores:
    """The scores of labels; those that occur are enough, because a label that no clip has is in no mean."""
    gold, read = [item["gold"] for item in items], [item["read"] for item in items]
    return emotion.score(gold, read, sorted({*gold, *read} - {None}))


def majority_scores(items: Items) -> emotion.EmotionScores:
    """The scores of the most frequent label as every answer."""
    gold = [item["gold"] for item in items]
    return emotion.majority(gold, sorted(set(gold)))


def _events(items: Items) -> list[list[tuple[int, ...]] | None]:
    return [None if item["gold"] is None else numbers(item["gold"]) for item in items]


def unit_scores(items: Items) -> units.UnitScores:
    """The scores of units."""
    return units.score(_events(items), [item["read"] for item in items], items[0]["scored_aus"])


def constant_unit_scores(items: Items, present: bool) -> units.UnitScores:
    """The scores of naming all units of the task in every answer, or none."""
    return units.constant(_events(items), items[0]["scored_aus"], present)


def side_scores(items: Items) -> units.SideScores:
    """The sides that were named, of the items of a metric of units (`units.score_sides`)."""
    read = [
        None if item["read"] is None else {unit: item["sides"].get(str(unit)) for unit in item["read"]}
        for item in items
    ]
    return units.score_sides([item["gold"] for item in items], read, items[0]["scored_aus"])


# ---- items become rows ----------------------------------------------------------------------------------------------

Rows = Callable[[Items], tuple[Any, ...]]
Found = tuple[Rows, Callable[..., Counts], str]


def _clip(item: Mapping[str, Any]) -> Clip:
    # datasets number their subjects alike, and an id begins with its dataset
    return item["id"], f"{item['id'].partition('/')[0]}/{item['subject']}"


def _of_each(
    *columns: Callable[[Mapping[str, Any]], Any], where: Callable[[Mapping[str, Any]], bool] = lambda item: True
) -> Rows:
    """Rows of some items: the clips, and columns with one value each."""

    def rows(items: Items) -> tuple[Any, ...]:
        counted = list(filter(where, items))
        return tuple(tuple(map(column, counted)) for column in (_clip, *columns))

    return rows


def _rate(
    *columns: Callable[[Mapping[str, Any]], Any], where: Callable[[Mapping[str, Any]], bool] = lambda item: True
) -> Found:
    return _of_each(*columns, where=where), rate_counts, "rate"


def _labels(items: Items) -> tuple[Any, ...]:
    clips, gold, read = _of_each(itemgetter("gold"), itemgetter("read"))(items)
    return clips, gold, read, tuple(sorted({*gold, *read} - {None}))


def _units(items: Items) -> tuple[Any, ...]:
    gold = tuple(None if events is None else tuple(events) for events in _events(items))
    return tuple(map(_clip, items)), gold, _read(items), tuple(items[0]["scored_aus"])


def _lists(items: Items) -> tuple[Any, ...]:
    gold = tuple(tuple((unit,) for unit in item["gold"]) for item in items)
    return (
        tuple(map(_clip, items)),
        gold,
        _read(items),
        tuple(sorted({unit for item in items for unit in item["gold"]})),
    )


def _read(items: Items) -> tuple[tuple[int, ...] | None, ...]:
    return tuple(None if item["read"] is None else tuple(item["read"]) for item in items)


def _sides(items: Items) -> tuple[Any, ...]:
    scores = side_scores(items)
    known = [at for at, coded in enumerate(scores.coded) if coded]
    return tuple(tuple(column[at] for at in known) for column in ([*map(_clip, items)], scores.right, scores.named))


_texts = _of_each(lambda item: text.each_text(item["read"], item["gold"]))
_facts = _of_each(*map(itemgetter, ("right", "claims", "found", "facts")), where=lambda item: item["facts"] is not None)

_FOUND: dict[str, Found] = {
    **{name: (_labels, label_counts, name) for name in ("uf1", "uar", "acc")},
    "ece": (_of_each(itemgetter("confidence"), itemgetter("right")), calibration_counts, "ece"),
    "au_f1": (_units, unit_counts, "f1"),
    "au_f1_micro": (_units, unit_counts, "f1_micro"),
    "au_exact": (_units, unit_counts, "exact"),
    "au_side_acc": (_sides, rate_counts, "rate"),
    "au_parse_rate": (_units, unit_counts, "parse_rate"),
    "parse_rate": _rate(parsed, where=lambda item: parsed(item) is not None),
    "answer_rate": _rate(lambda item: item["unanswered"] is None),
    "motion_plausible_rate": _rate(lambda item: not item["doubts"]),
    "description_score": _rate(itemgetter("points"), where=lambda item: item["points"] is not None),
    "judge_rate": _rate(lambda item: item["points"] is not None, where=judge.gradable),
    **{name: (lambda items: (sensitivity.seen(items),), sensitivity.counts, name) for name in sensitivity.SCORES},
    "match": _rate(lambda item: item["gold"] == item["read"]),
    "list_f1": (_lists, unit_counts, "f1"),
    "list_f1_micro": (_lists, unit_counts, "f1_micro"),
    "bleu4_corpus": (
        _texts,
        lambda clips, texts: sum_counts(clips, [one.bleu4_counts for one in texts], "rate", text.bleu4_of_counts),
        "rate",
    ),
    "bleu4_sentence_mean": _rate(lambda item: text.each_text(item["read"], item["gold"]).bleu4_sentence),
    "rouge1_recall": _rate(lambda item: text.each_text(item["read"], item["gold"]).rouge1[1]),
    "rouge1_f1": _rate(lambda item: text.each_text(item["read"], item["gold"]).rouge1[2]),
    "read_in_full": _rate(
        lambda item: None not in item["read"].values(),
        where=lambda item: item["kind"] != "other" and item.get("unanswered") is None,
    ),
    **{f"description_facts_{name}": (_facts, fact_counts, name) for name in ("f1", "precision", "recall")},
    "description_contradiction_rate": _rate(itemgetter("contradicting"), itemgetter("decided")),
    "description_rate": _rate(lambda item: item["claims"] > 0),
}
"""By score: how items become rows, how rows are counted, and the name of the score among those counts."""

SCORES: tuple[str, ...] = tuple(_FOUND)
"""Every score that has an interval; `uf1`, `uar` and `acc` serve any label (`emotion_uf1`, `coarse_uf1`).

`match`, `list_*`, `bleu4_*`, `rouge1_*` and `read_in_full` are those of the ME-VQA challenge, whose items have labels,
lists of units or texts as `gold` and `read`.
"""


# Several metrics of a task have the same rows, which are resampled once for all of them.
@lru_cache(maxsize=32)
def _resampled(count: Callable[..., Counts], rows: tuple[Any, ...]) -> Bootstrap:
    return bootstrap(count(*rows))


def _bootstrap(score: str, items: Items) -> Bootstrap:
    rows, count, _ = _FOUND[score]
    return _resampled(count, rows(items))


def interval(score: str, items: Items) -> Interval:
    """The interval of one of `SCORES` and its items, at least one, by the bootstrap over subjects."""
    return _bootstrap(score, items).intervals[_FOUND[score][2]]


def comparison(score: str, first: Items, second: Items) -> Comparison:
    """One of `SCORES` of two runs on the same clips, second minus first: `comparisons` of the two."""
    return comparisons(score, [first, second])[0, 1]


def comparisons(score: str, runs: Sequence[Items]) -> dict[tuple[int, int], Comparison]:
    """One of `SCORES` of every two of many runs on the same clips (`intervals.compare_all`).

    Args:
        runs: the items of each, at least one, as the metric gets them, in any order.

    Returns:
        by the places of two runs, the lower first: second minus first.

    Raises:
        InputError: some are not on the same clips, units or version of the data.
    """
    rows, count, name = _FOUND[score]
    every = [rows(items) for items in runs]
    if rows is _labels:  # a label that one run alone has is one of all
        labels = tuple(sorted({label for one in every for label in one[-1]}))
        every = [(*one[:-1], labels) for one in every]
    return compare_all([count(*one) for one in every], name)


def ends(one: Interval) -> list[float] | None:
    """Both ends of an interval; None where there is none."""
    return None if one.low is None or one.high is None else [one.low, one.high]


def in_words(asked: Sequence[tuple[str, str, Items]], records: Items) -> str:
    """The scores with their intervals and what constant answers would score; then tables of each label and unit.

    Args:
        asked: the metrics, each with its score of `SCORES` and its items, at least one.
        records: of all clips, with id, subject and dataset.
    """
    subjects = {_clip(record)[1] for record in records}
    datasets = ", ".join(sorted({record["dataset"] for record in records}))
    rows: list[tuple[str, ...]] = [("score", "value", "interval", "constant answers")]
    lacking: list[str] = []
    for metric, score, items in asked:
        one = interval(score, items)
        value, low, high = (_number(score, number) for number in (one.value, one.low, one.high))
        rows.append((metric, value, "–" if one.low is None else f"{low} to {high}", _constant(score, items)))
        incomplete = _bootstrap(score, items).incomplete or 0.0
        if incomplete > 0.05 and score in ("uf1", "uar", "au_f1"):
            lacking.append(f"{metric} {incomplete:.0%}")
    name, number, ends = (max(len(row[column]) for row in rows) for column in range(3))
    parts = [
        f"{datasets}: {len({record['id'] for record in records})} clips of {len(subjects)} subjects; "
        f"intervals of 95 % from {RESAMPLES:,} resamples of the subjects"
    ]
    parts += [f"{row[0]:{name}}  {row[1]:>{number}}  {row[2]:{ends}}  {row[3]}".rstrip() for row in rows]
    if lacking:
        parts.append(
            "resamples that lack a label or unit leave it out of their mean, so these intervals lean upward: "
            + ", ".join(lacking)
        )
    for metric, score, items in asked:
        if score == "au_f1":
            if any((sides := side_scores(items)).coded):
                parts.append(
                    f"au_side_acc: {sum(sides.coded)} units are coded on one side only; answers name "
                    f"{sum(sides.named)} of them, {sides.unsaid} without a side"
                )
            if (scores := unit_scores(items)).counts:
                parts += ["", units.in_words(scores, constant_unit_scores(items, present=True))]
        elif score == "threshold_px":
            parts += ["", sensitivity.in_words(items)]
        elif score == "uf1":
            parts += ["", metric.replace("_uf1", "", 1), emotion.in_words(label_scores(items))]
    return "\n".join(parts)


def _number(score: str, value: float | None) -> str:
    return emotion.share(value, 3) if score != "description_score" or value is None else f"{value:.1f}"


def _constant(score: str, items: Items) -> str:
    """The score of one answer for every clip, and which answer that is."""
    if score in ("uf1", "uar", "acc"):
        scores = majority_scores(items)
        most = max(scores.support, key=scores.support.__getitem__)
        value = {"uf1": scores.uf1, "uar": scores.uar, "acc": scores.accuracy}[score]
        return f"{emotion.share(value, 3)} ({most})"
    if score == "au_side_acc" and (one_side := side_scores(items).always) is not None:
        return f"{emotion.share(one_side[0], 3)} ({one_side[1]})"
    if score in ("au_f1", "au_f1_micro", "au_exact"):
        always = constant_unit_scores(items, present=score != "au_exact")
        value = {"au_f1": always.mean, "au_f1_micro": always.micro, "au_exact": always.exact}[score]
        named = "no unit" if score == "au_exact" else "all units"
        return "" if value is None else f"{emotion.share(value, 3)} ({named})"
    if score.startswith("description_facts_"):
        gold = [item["gold"] for item in items if item["facts"] is not None]
        described = "+".join(facts.most_frequent(gold))
        value = getattr(facts.constant(gold), score.removeprefix("description_facts_"))
        return f"{emotion.share(value, 3)} (describing {described})" if described else ""
    return ""
