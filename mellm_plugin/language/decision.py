"""What an answer says in the end: its label, its coarse class and its units, or why it says none.

decided(segments of "AU4? No. Conclusion: AU7; anger.", ("anger", "fear"))
  -> Decision(label="anger", coarse="negative", reason=None, units={7: None})
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mellm_plugin.facs.labels import COARSE, coarse
from mellm_plugin.language.segments import AFFIRMED, HEDGED, LISTED, NEGATED, Segment, said
from mellm_plugin.language.sides import agreed

_Conclusions = Sequence[tuple[int, Sequence[Segment]]]
"""Rank and segments of each conclusion."""


class Decision(NamedTuple):
    """What an answer says."""

    label: str | None  # one of the labels that were asked for
    coarse: str | None
    reason: str | None  # why the answer cannot be read, see `answers.Answer.unparsed`
    units: dict[int, str | None] | None  # each with its side; None where it says nothing about units


def decide(segments: Sequence[Segment], labels: Sequence[str], units_alone: bool) -> Decision:
    """What the segments of an answer say, as `marks.mark` leaves them; the status of their labels may change.

    Args:
        labels, units_alone: what was asked for.
    """
    conclusions = _conclusions(segments)
    label, coarse_class, reason = _resolve(_named_labels(segments, conclusions, labels), labels)
    units = _units(segments, conclusions)
    if label is None and coarse_class is None and reason is None:
        mentions = [mention for segment in segments for mention in segment.labels]
        if any(mention.status == LISTED for mention in mentions):
            reason = "only repeats the options"
        elif mentions:
            reason = "affirms no expression"
        elif units is None:
            reason = "names no action units" if units_alone else "names neither an expression nor action units"
        elif labels and not units_alone:
            reason = "names no expression"
    return Decision(label, coarse_class, reason, units)


def _conclusions(segments: Sequence[Segment]) -> _Conclusions:
    """The conclusions and their ranks; each ends at the next heading, or once both parts have been given."""
    found: list[tuple[int, list[Segment]]] = []
    current: list[Segment] | None = None
    units_said = label_said = False
    for segment in segments:
        both_said = current and units_said and label_said and segment.line > current[-1].line
        if both_said or ("section" in segment.title and segment.heading):
            current = None
        if segment.rank:
            current = []
            found.append((segment.rank, current))
            units_said = label_said = False
        if current is not None:
            current.append(segment)
            units_said |= segment.no_units or bool(said(segment.units))
            label_said |= bool(said(segment.labels))
    return found


def _named_labels(segments: Sequence[Segment], conclusions: _Conclusions, labels: Sequence[str]) -> list[str]:
    """The labels that the answer settles on: one, none, or several that contradict each other."""
    _leave_other_grain_out(segments, labels)
    for rank in (3, 2, 1):
        named = [label for r, region in conclusions if r == rank for label in _labels_of_region(region)]
        if named:
            return list(dict.fromkeys(named))
    titled = [s for s in segments if "emotion_head" in s.title]
    concluding = [s for s in segments if s.has("therefore")]
    speaking = [s for s in segments if s.has("emotion_head")]
    for some, last_only in ((titled, False), (concluding, True), (speaking, True), (segments, False)):
        saying = [s for s in some if said(s.labels)]
        if saying:
            chosen = saying[-1:] if last_only else saying
            if some is concluding:  # what the sentence affirms after its last "therefore" or "so"
                last = max(at for at, token in enumerate(chosen[0].tokens) if token.kind == "therefore")
                if behind := said(mention for mention in chosen[0].labels if mention.start > last):
                    return list(dict.fromkeys(map(str, behind)))
            return list(dict.fromkeys(str(v) for s in chosen for v in said(s.labels)))
    return list(dict.fromkeys(str(v) for s in segments for v in said(s.labels, HEDGED)))


def _leave_other_grain_out(segments: Sequence[Segment], labels: Sequence[str]) -> None:
    """If coarse and fine have fields of their own, negate the labels in the one that was not asked for."""
    asked, other = ("coarse", "fine") if {*labels} <= {*COARSE, "others"} else ("fine", "coarse")
    if any(asked in segment.title and said(segment.labels) for segment in segments):
        for segment in segments:
            if other in segment.title and asked not in segment.title:
                for mention in segment.labels:
                    if asked == "coarse" or mention.value in labels:
                        mention.status = NEGATED


def _labels_of_region(region: Sequence[Segment]) -> list[str]:
    titled = [mention for s in region if "emotion_head" in s.title for mention in s.labels]
    for status in (AFFIRMED, HEDGED):
        if named := said(titled, status):
            return [*map(str, named)]
    for status in (AFFIRMED, HEDGED):
        for segment in region:
            if named := said(segment.labels, status):
                return [*map(str, named)]
    return []


def _resolve(named: list[str], labels: Sequence[str]) -> tuple[str | None, str | None, str | None]:
    """Label, coarse class, and the reason if expressions are named but give no label."""
    found: list[str] = []  # labels that were asked for
    strange: list[str] = []  # labels that were not
    classes: list[str] = []  # coarse classes, where fine labels were asked for
    for name in named:
        if name == "neutral" and name not in labels and len(named) > 1:
            continue  # the face before it moves
        known = name if name in labels else coarse(name)
        if known is not None and known in labels:
            found += [known] if known not in found else []
        else:
            (classes if name in COARSE else strange).append(name)
    named_class = classes[0] if len(classes) == 1 else None
    different = found + strange or classes
    if len(different) > 1:
        return None, named_class, f"two different expressions: {', '.join(different)}"
    if strange:
        return None, named_class or coarse(strange[0]), f"{strange[0]}: none of the labels"
    if found:
        return found[0], coarse(found[0]) or named_class, None
    return None, named_class, None


def _units(segments: Sequence[Segment], conclusions: _Conclusions) -> dict[int, str | None] | None:
    for rank in (3, 2, 1):
        for r, region in conclusions:
            if r == rank and (found := _said_of_units(run := _first_run(region))) is not None:
                return _with_sides_before(found, segments, run)
    titled = [s for s in segments if "aus_head" in s.title]
    found = _said_of_units(titled)
    return _said_of_units(segments) if found is None else _with_sides_before(found, segments, titled)


def _with_sides_before(
    found: dict[int, str | None], segments: Sequence[Segment], deciding: Sequence[Segment]
) -> dict[int, str | None]:
    """The units; those without a side get the one that they have before the deciding segments."""
    before: dict[int, list[str | None]] = {unit: [] for unit, side in found.items() if side is None}
    for segment in segments if before else ():
        if segment is deciding[0]:
            break
        for mention in (*segment.units, *segment.bare_units):
            if mention.status == AFFIRMED and mention.value in before:
                before[int(mention.value)].append(mention.side)
    return {unit: side or agreed(before[unit]) for unit, side in found.items()}


def _first_run(region: Sequence[Segment]) -> Sequence[Segment]:
    """The first segments in a row that mention units; later mentions are comments."""
    run: list[Segment] = []
    for segment in region:
        if segment.units or segment.bare_units or segment.no_units:
            run.append(segment)
        elif run:
            break
    return run


def _said_of_units(segments: Sequence[Segment]) -> dict[int, str | None] | None:
    units = [m for s in segments for m in s.units]
    counted = [m for m in units if m.status == AFFIRMED]
    if not counted:
        if any(s.no_units for s in segments):
            return {}
        counted = [m for m in units if m.status == HEDGED]
        counted = counted or [m for s in segments for m in s.bare_units if m.status == AFFIRMED]
    if not counted:
        # "AU4: 0, AU12: 0": a list of values that denies them all says that there are none
        return {} if len(units) > 1 and all(m.valued for m in units) else None
    sides: dict[int, list[str | None]] = {}
    for mention in counted:
        sides.setdefault(int(mention.value), []).append(mention.side)
    return {unit: agreed(said_sides) for unit, said_sides in sides.items()}
