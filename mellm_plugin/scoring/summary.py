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
from typing import Any

from mellm_plugin.facs.codes import numbers
from mellm_plugin.scoring import emotion, facts, judge, sensitivity, text, units
from mellm_plugin.scoring.intervals import (
    RESAMPLES,
    Bootstrap,
    Clip,
    Comparison,
    Counts,
    Interval,
    bootstrap,
    compare,
    compare_all,
    fact_counts,
    label_counts,
    rate_counts,
    sum_counts,
    unit_counts,
)

Items = Sequence[Mapping[str, Any]]


def parsed(item: Mapping[str, Any]) -> bool | None:
    """Whether the label could be read in an answer, or the units where the task asks for units alone.

    None for a clip without a label, and for an answer that was never given.

    Args:
        item: one of `parse_rate`.
    """
    if item.get("unanswered") is not None:
        return None
    if item["asks"] == "aus":
        return item["read"]["aus"] is not None
    return None if item["gold"]["label"] is None else item["read"]["label"] is not None


# ---- intervals ------------------------------------------------------------------------------------------------------


def _clip(item: Mapping[str, Any]) -> Clip:
    # datasets number their subjects alike, and an id begins with its dataset
    return item["id"], f"{item['id'].partition('/')[0]}/{item['subject']}"


def _labels(items: Items) -> tuple[Any, ...]:
    clips, gold, read = zip(*((_clip(item), item["gold"], item["read"]) for item in items), strict=True)
    return clips, gold, read, tuple(sorted({*gold, *read} - {None}))


def _units(items: Items) -> tuple[Any, ...]:
    gold = tuple(None if events is None else tuple(events) for events in _events(items))
    read = tuple(None if item["read"] is None else tuple(item["read"]) for item in items)
    return tuple(map(_clip, items)), gold, read, tuple(items[0]["scored_aus"])


def _events(items: Items) -> list[list[tuple[int, ...]] | None]:
    return [None if item["gold"] is None else numbers(item["gold"]) for item in items]


def _parsed(items: Items) -> tuple[Any, ...]:
    asked = [(_clip(item), could) for item in items if (could := parsed(item)) is not None]
    return tuple(clip for clip, _ in asked), tuple(could for _, could in asked)


def side_scores(items: Items) -> units.SideScores:
    """The sides that were named, of the items of a metric of units (`units.score_sides`)."""
    read = [
        None if item["read"] is None else {unit: item["sides"].get(str(unit)) for unit in item["read"]}
        for item in items
    ]
    return units.score_sides([item["gold"] for item in items], read, items[0]["scored_aus"])


def _sides(items: Items) -> tuple[Any, ...]:
    scores = side_scores(items)
    known = [at for at, coded in enumerate(scores.coded) if coded]
    columns = ((scores.right[at] for at in known), (scores.named[at] for at in known))
    return tuple(_clip(items[at]) for at in known), *map(tuple, columns)


def _points(items: Items) -> tuple[Any, ...]:
    graded = [item for item in items if item["points"] is not None]
    return tuple(map(_clip, graded)), tuple(item["points"] for item in graded)


def _graded(items: Items) -> tuple[Any, ...]:
    asked = judge.comparable(items)
    return tuple(map(_clip, asked)), tuple(item["points"] is not None for item in asked)


def _plausible(items: Items) -> tuple[Any, ...]:
    return tuple(map(_clip, items)), tuple(not item["doubts"] for item in items)


def _given(items: Items) -> tuple[Any, ...]:
    return tuple(map(_clip, items)), tuple(item["unanswered"] is None for item in items)


def _matches(items: Items) -> tuple[Any, ...]:
    return tuple(map(_clip, items)), tuple(item["gold"] == item["read"] for item in items)


def _lists(items: Items) -> tuple[Any, ...]:
    gold = tuple(tuple((unit,) for unit in item["gold"]) for item in items)
    read = tuple(None if item["read"] is None else tuple(item["read"]) for item in items)
    return tuple(map(_clip, items)), gold, read, tuple(sorted({unit for item in items for unit in item["gold"]}))


def _texts(items: Items) -> tuple[Any, ...]:
    return tuple(map(_clip, items)), tuple(text.each_text(item["read"], item["gold"]) for item in items)


def _in_full(items: Items) -> tuple[Any, ...]:
    asked = [item for item in items if item["kind"] != "other" and item.get("unanswered") is None]
    return tuple(map(_clip, asked)), tuple(None not in item["read"].values() for item in asked)


def _bleu4_corpus(clips: Sequence[Clip], texts: Sequence[text.OneText]) -> Counts:
    return sum_counts(clips, [one.bleu4_counts for one in texts], "rate", text.bleu4_of_counts)


def _bleu4_sentence(clips: Sequence[Clip], texts: Sequence[text.OneText]) -> Counts:
    return rate_counts(clips, [one.bleu4_sentence for one in texts])


def _rouge1_recall(clips: Sequence[Clip], texts: Sequence[text.OneText]) -> Counts:
    return rate_counts(clips, [one.rouge1[1] for one in texts])


def _rouge1_f1(clips: Sequence[Clip], texts: Sequence[text.OneText]) -> Counts:
    return rate_counts(clips, [one.rouge1[2] for one in texts])


def _facts(items: Items) -> tuple[Any, ...]:
    known = [item for item in items if item["facts"] is not None]
    rows = (tuple(item[name] for item in known) for name in ("right", "claims", "found", "facts"))
    return (tuple(map(_clip, known)), *rows)


def _contradictions(items: Items) -> tuple[Any, ...]:
    rows = (tuple(item[name] for item in items) for name in ("contradicting", "decided"))
    return (tuple(map(_clip, items)), *rows)


def _described(items: Items) -> tuple[Any, ...]:
    return tuple(map(_clip, items)), tuple(item["claims"] > 0 for item in items)


def _rungs(items: Items) -> tuple[Any, ...]:
    return (sensitivity.seen(items),)


_FOUND: dict[str, tuple[Callable[[Items], tuple[Any, ...]], Callable[..., Counts], str]] = {
    "uf1": (_labels, label_counts, "uf1"),
    "uar": (_labels, label_counts, "uar"),
    "acc": (_labels, label_counts, "acc"),
    "au_f1": (_units, unit_counts, "f1"),
    "au_f1_micro": (_units, unit_counts, "f1_micro"),
    "au_exact": (_units, unit_counts, "exact"),
    "au_side_acc": (_sides, rate_counts, "rate"),
    "au_parse_rate": (_units, unit_counts, "parse_rate"),
    "parse_rate": (_parsed, rate_counts, "rate"),
    "answer_rate": (_given, rate_counts, "rate"),
    "motion_plausible_rate": (_plausible, rate_counts, "rate"),
    "description_score": (_points, rate_counts, "rate"),
    "judge_rate": (_graded, rate_counts, "rate"),
    **{name: (_rungs, sensitivity.counts, name) for name in sensitivity.SCORES},
    "match": (_matches, rate_counts, "rate"),
    "list_f1": (_lists, unit_counts, "f1"),
    "list_f1_micro": (_lists, unit_counts, "f1_micro"),
    "bleu4_corpus": (_texts, _bleu4_corpus, "rate"),
    "bleu4_sentence_mean": (_texts, _bleu4_sentence, "rate"),
    "rouge1_recall": (_texts, _rouge1_recall, "rate"),
    "rouge1_f1": (_texts, _rouge1_f1, "rate"),
    "read_in_full": (_in_full, rate_counts, "rate"),
    "description_facts_f1": (_facts, fact_counts, "f1"),
    "description_facts_precision": (_facts, fact_counts, "precision"),
    "description_facts_recall": (_facts, fact_counts, "recall"),
    "description_contradiction_rate": (_contradictions, rate_counts, "rate"),
    "description_rate": (_described, rate_counts, "rate"),
}
"""By score, how items become rows, and how these are counted; and the name of the score there."""

SCORES: tuple[str, ...] = tuple(_FOUND)
"""What there are intervals of; `uf1`, `uar` and `acc` are of any label (`emotion_uf1`, `coarse_uf1`).

From `match` on they are of the ME-VQA challenge, whose items hold `gold` and `read` alike: anything, lists of units, or
texts; `read_in_full` is of its parse rate.
"""


# Several metrics of a task are made of the same rows, which are resampled once for all of them.
@lru_cache(maxsize=32)
def _resampled(count: Callable[..., Counts], rows: tuple[Any, ...]) -> Bootstrap:
    return bootstrap(count(*rows))


def _bootstrap(score: str, items: Items) -> Bootstrap:
    rows, count, _ = _FOUND[score]
    return _resampled(count, rows(items))


def interval(score: str, items: Items) -> Interval:
    """The interval of one of `SCORES`, by the bootstrap over subjects (`scoring.intervals`).

    Args:
        items: at least one, as its metric gets them.
    """
    return _bootstrap(score, items).intervals[_FOUND[score][2]]


def stderr(score: str, items: Items) -> float | None:
    """The standard error of one of `SCORES`."""
    return interval(score, items).stderr


def comparison(score: str, first: Items, second: Items) -> Comparison:
    """One of `SCORES` of two runs on the same clips, second minus first (`intervals.compare`).

    Args:
        first, second: at least one each, as the metric gets them, in any order.

    Raises:
        InputError: the runs are not on the same clips, units or version of the data.
    """
    rows, count, name = _FOUND[score]
    ours, theirs = rows(first), rows(second)
    if rows is _labels:  # a label that one run alone has is one of both
        labels = tuple(sorted({*ours[-1], *theirs[-1]}))
        ours, theirs = (*ours[:-1], labels), (*theirs[:-1], labels)
    return compare(count(*ours), count(*theirs), name)


def comparisons(score: str, runs: Sequence[Items]) -> dict[tuple[int, int], Comparison]:
    """One of `SCORES` of every two of many runs on the same clips (`intervals.compare_all`): by their places, the lower
    first, second minus first.

    Args:
        runs: of each its items, at least one, as the metric gets them, in any order.

    Raises:
        InputError: some are not on the same clips, units or version of the data.
    """
    rows, count, name = _FOUND[score]
    every = [rows(items) for items in runs]
    if rows is _labels:  # as in `comparison`
        labels = tuple(sorted({label for one in every for label in one[-1]}))
        every = [(*one[:-1], labels) for one in every]
    return compare_all([count(*one) for one in every], name)


def ends(one: Interval) -> list[float] | None:
    """Both ends of an interval; None where there is none."""
    return None if one.low is None or one.high is None else [one.low, one.high]


# ---- tables ---------------------------------------------------------------------------------------------------------


def in_words(asked: Sequence[tuple[str, str, Items]], records: Items) -> str:
    """The scores with their intervals and what constant answers would score; then tables of each label and unit.

    Args:
        asked: the metrics, each with its score of `SCORES` and its items, at least one.
        records: of all clips, with id, subject and dataset.
    """
    subjects = {_clip(record)[1] for record in records}
    datasets = ", ".join(sorted({record["dataset"] for record in records}))
    rows: list[tuple[str, ...]] = [("score", "value", "interval", "constant answers")]
    lacking: dict[str, float] = {}
    for metric, score, items in asked:
        one = interval(score, items)
        value, low, high = (_number(score, number) for number in (one.value, one.low, one.high))
        rows.append((metric, value, "–" if one.low is None else f"{low} to {high}", _constant(score, items)))
        if (incomplete := _bootstrap(score, items).incomplete) and score in ("uf1", "uar", "au_f1"):
            lacking[metric] = incomplete
    name, number, ends = (max(len(row[column]) for row in rows) for column in range(3))
    parts = [
        f"{datasets}: {len({record['id'] for record in records})} clips of {len(subjects)} subjects; "
        f"intervals of 95 % from {RESAMPLES:,} resamples of the subjects"
    ]
    parts += [f"{row[0]:{name}}  {row[1]:>{number}}  {row[2]:{ends}}  {row[3]}".rstrip() for row in rows]
    if often := {metric: share for metric, share in lacking.items() if share > 0.05}:
        parts.append(
            "resamples that lack a label or unit leave it out of their mean, so these intervals lean upward: "
            + ", ".join(f"{metric} {share:.0%}" for metric, share in often.items())
        )
    for metric, score, items in asked:
        if score == "au_f1":
            parts += _sides_in_words(side_scores(items))
            scored = items[0]["scored_aus"]
            scores = units.score(_events(items), [item["read"] for item in items], scored)
            if scores.counts:
                parts += ["", units.in_words(scores, units.constant(_events(items), scored, present=True))]
        elif score == "threshold_px":
            parts += ["", sensitivity.in_words(items)]
        elif score == "uf1":
            gold, read = [item["gold"] for item in items], [item["read"] for item in items]
            labels = sorted({*gold, *read} - {None})
            parts += ["", metric.replace("_uf1", "", 1), emotion.in_words(emotion.score(gold, read, labels))]
    return "\n".join(parts)


def _number(score: str, value: float | None) -> str:
    return emotion.share(value, 3) if score != "description_score" or value is None else f"{value:.1f}"


def _sides_in_words(scores: units.SideScores) -> list[str]:
    if not any(scores.coded):
        return []
    return [
        f"au_side_acc: of {sum(scores.coded)} units that are coded on one side alone {sum(scores.named)} are named; of "
        f"{scores.unsaid} of these the answer says no side"
    ]


def _constant(score: str, items: Items) -> str:
    """What an answer that is the same for every clip would score, and which answer that is."""
    if score in ("uf1", "uar", "acc"):
        gold = [item["gold"] for item in items]
        labels = sorted(set(gold))
        scores = emotion.majority(gold, labels)
        most = max(scores.support, key=lambda label: scores.support[label])
        value = {"uf1": scores.uf1, "uar": scores.uar, "acc": scores.accuracy}[score]
        return f"{emotion.share(value, 3)} ({most})"
    if score == "au_side_acc" and (one_side := side_scores(items).always) is not None:
        return f"{emotion.share(one_side[0], 3)} ({one_side[1]})"
    if score in ("au_f1", "au_f1_micro", "au_exact"):
        always = units.constant(_events(items), items[0]["scored_aus"], present=score != "au_exact")
        value = {"au_f1": always.mean, "au_f1_micro": always.micro, "au_exact": always.exact}[score]
        named = "no unit" if score == "au_exact" else "all units"
        return "" if value is None else f"{emotion.share(value, 3)} ({named})"
    if score.startswith("description_facts_"):
        gold = [item["gold"] for item in items if item["facts"] is not None]
        described = "+".join(facts.most_frequent(gold))
        value = getattr(facts.constant(gold), score.removeprefix("description_facts_"))
        return f"{emotion.share(value, 3)} (describing {described})" if described else ""
    return ""
