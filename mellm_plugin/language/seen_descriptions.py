"""Descriptions that models are trained on: the measured motion, then the annotation as the conclusion.

    describe_seen(("1", "2"), "surprise", regions) ->

    Inspection: the inner brows move up (purple), clearly; no motion can be made out at the outer brows.
    Reasoning: AU1 is the inner brow raiser; AU2 (outer brow raiser) is too faint for the map to show;
    together they speak for surprise.
    Conclusion: action units AU1+AU2; expression: surprise.

A region moves as it was measured, in the colours of the map. If an annotated unit is not seen, the description says so
and makes up no motion; if it is seen to move differently, the description says that. The conclusion is always the
annotation. Where units are not known, the strongest motions are described, and neither reasoning nor conclusion names
a unit:

    Inspection: the mouth corners move up and outwards (left blue to sky blue, right pink to magenta), clearly.
    Reasoning: motion like this goes with positive.
    Conclusion: expression: positive.

A random generator varies the words; without one they are always the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mellm_plugin.facs.codes import each_of
from mellm_plugin.facs.units import Unit, unit
from mellm_plugin.language import lexicon
from mellm_plugin.language.descriptions import LIPS, directions, strength_word
from mellm_plugin.language.lexicon import colour_words, in_language, is_plural, place, place_measured
from mellm_plugin.language.short_answers import events as coded_events
from mellm_plugin.language.short_answers import in_brackets, units_answer
from mellm_plugin.motion.colour import DIRECTIONS, STANDARD, direction_shown
from mellm_plugin.motion.regions import RegionMotion

_T = TypeVar("_T")
_Part = tuple[str, str | None]  # a region and its side in the image

_OF_IMAGE = {"L": ("right",), "R": ("left",)}  # the subject's left is on the image's right
_MIDLINE = frozenset({"chin", "chin and lower lip"})
_OTHERWISE_DEGREES = 75.0  # a motion further from a unit's own direction is a different one
_DESCRIBED = 3  # regions of a description without units
_UNCODED_PX = 0.6  # a smaller motion where no unit is coded may come from a neighbour

_TOGETHER: tuple[frozenset[str], ...] = (
    frozenset({"inner brows", "outer brows", "brows"}),
    frozenset({"upper lids", "lower lids", "eyes"}),
    frozenset({"cheeks"}),
    frozenset({"sides of the nose", "nose wings"}),
    frozenset({"upper lip", "lower lip", "lips", "mouth corners", "chin", "chin and lower lip", "jaw"}),
)
"""Regions that move together: beside a coded one, the motion of another needs no mention."""

_NEIGHBOURS: tuple[frozenset[str], ...] = (
    _TOGETHER[0] | {"upper lids"},
    frozenset({"lower lids", "cheeks", "sides of the nose"}),
    frozenset({"cheeks", "mouth corners"}),
    _TOGETHER[3] | {"upper lip"},
)
"""Regions that pull each other along: beside a coded one, another is mentioned only if it moves farther."""


_VERBS = (("moves", "move"), ("shifts", "shift"), ("goes", "go"))
_HEADS = {"en": ("Inspection: ", "Reasoning: ", "Conclusion: "), "zh": ("观察：", "推理：", "结论：")}
_WORDINGS: dict[str, dict[str, str]] = {
    "moves": {
        "en": "{where} {verb} {way}{colour}, {strength}|{where} {strength} {verb} {way}{colour}",
        "zh": "{where}{way}移动{colour}，{strength}|{where}{strength}地{way}移动{colour}",
    },
    "stirs": {
        "en": "{where} {move}, but not clearly one way|{where} {move}, though no one way stands out",
        "zh": "{where}在动，但方向不明确|{where}有运动，但看不清方向",
    },
    "still": {
        "en": "no motion can be made out at {where}|nothing is to be seen at {where}|{where}: too faint to see",
        "zh": "{where}看不出运动|{where}的运动太微弱，看不出来",
    },
    "uncoded": {
        "en": " (no action unit goes with it)|, without an action unit",
        "zh": "（没有相应的动作单元）|，但没有对应的动作单元",
    },
    "nothing": {
        "en": "nothing moves but the head|no part of the face is seen to move|the face stands still",
        "zh": "除头部外没有运动|面部没有看得出的运动",
    },
    "unit without direction": {
        "en": "{au} is the {name}|{au} ({name}) is active, which the motion of the skin tells little of",
        "zh": "{au}是{name}|{au}（{name}）处于激活状态，皮肤运动难以说明它",
    },
    "unit that stirs": {
        "en": "{au} ({name}) is there, and {where} {move}, but not clearly one way|"
        "{au} ({name}) is there, though no direction tells it",
        "zh": "{au}（{name}）存在，{where}也在动，但方向不明确|{au}（{name}）存在，但方向不能说明它",
    },
    "unit too faint": {
        "en": "{au} ({name}) is too faint for {shown} to show|"
        "{au} ({name}) is so faint that nothing is seen at {where}",
        "zh": "{au}（{name}）太微弱，图中看不出|{au}（{name}）非常微弱，{where}看不出运动",
    },
    "unit that moves otherwise": {
        "en": "{au} ({name}) is there, though {where} {are} seen to move otherwise|"
        "{au} ({name}) is there, but what is seen at {where} is another motion",
        "zh": "{au}（{name}）存在，但{where}的运动看起来不同|{au}（{name}）存在，而{where}看到的是另一种运动",
    },
    "unit that is seen": {
        "en": "{au} is the {name}|the motion of {where} is that of {au}, the {name}|{where} {point} to {au} ({name})",
        "zh": "{au}是{name}|{where}的运动对应{au}（{name}）|由{where}可以推断{au}（{name}）",
    },
    "no unit": {
        "en": "no action unit is active; this is {label}|without any action unit the face shows {label}",
        "zh": "没有动作单元被激活；这是{label}|没有任何动作单元，面部表现为{label}",
    },
    "units not known": {
        "en": "motion like this goes with {label}|this motion speaks for {label}|so the expression is {label}",
        "zh": "这样的运动表示{label}|这种运动与{label}相符|因此表情是{label}",
    },
    "units not known, nothing seen": {
        "en": "no motion is seen to tell it from; the expression is {label}|"
        "though nothing is seen to move, the expression is {label}",
        "zh": "没有可供判断的运动；表情是{label}|虽然看不出运动，表情是{label}",
    },
    "one unit": {
        "en": "it speaks for {label}|this goes with {label}|so the expression is {label}",
        "zh": "它表示{label}|这与{label}相符|因此表情是{label}",
    },
    "several units": {
        "en": "together they speak for {label}|this combination goes with {label}|so the expression is {label}",
        "zh": "合起来表示{label}|这种组合与{label}相符|因此表情是{label}",
    },
}
"""The wordings of each statement, by language, with `|` between them; the first is used where words do not vary."""


@dataclass(frozen=True)
class _Event:
    unit: Unit
    side: str | None
    parts: tuple[_Part, ...]
    seen: tuple[RegionMotion, ...]  # the visible motions of these parts
    agrees: bool  # whether all of them move as the unit does


@dataclass(frozen=True)
class _Writer:
    regions: Mapping[_Part, RegionMotion]
    stirred: frozenset[_Part]
    palette: str | None
    language: str
    rng: np.random.Generator | None

    def pick(self, options: Sequence[_T]) -> _T:
        return options[0] if self.rng is None else options[int(self.rng.integers(len(options)))]

    def say(self, statement: str, **words: str) -> str:
        return self.pick(_WORDINGS[statement][self.language].split("|")).format(**words)

    def event(self, coded: tuple[int, str | None]) -> _Event:
        of, side = unit(coded[0]), coded[1]
        parts = _parts(of, side)
        seen = tuple(m for part in parts if (m := self.regions.get(part)) is not None and m.visible)
        return _Event(of, side, parts, seen, bool(seen) and all(_agrees(of, motion) for motion in seen))

    def uncoded(self, events: Sequence[_Event]) -> tuple[RegionMotion, ...]:
        """The strongest motion far from coded units, with the other side if that is visible too."""
        coded = {region for event in events for region, _ in event.parts} | {event.unit.region for event in events}
        near = coded.union(*(some for some in _TOGETHER if some & coded))
        beside = coded.union(*(some for some in _NEIGHBOURS if some & coded))
        strongest = max((m.magnitude for event in events for m in event.seen), default=0.0)
        free = [
            motion
            for (region, _), motion in self.regions.items()
            if motion.visible and region not in near and (region not in beside or motion.magnitude > strongest)
        ]
        found = max(free, key=lambda motion: motion.magnitude, default=None)
        if found is None or found.magnitude < _UNCODED_PX:
            return ()
        return tuple(m for m in free if m.region == found.region and (m.side is None) == (found.side is None))

    def colours(self, ways: Sequence[str], *names: str) -> str:
        """The colours of directions in brackets, each with the name of its part; nothing for frames."""
        if not self.palette:
            return ""
        between, comma = (" ", ", ") if self.language == "en" else ("", "，")
        words = [colour_words(way, self.palette, self.language) for way in ways]
        if names:
            words = [f"{in_language(n, self.language)}{between}{word}" for n, word in zip(names, words, strict=True)]
        return in_brackets(comma.join(words), self.language)

    def moves(self, where: str, several: bool, way: str, colour: str, pixels: float) -> str:
        """One clause: place, direction, colour and strength."""
        strength = in_language(strength_word(pixels), self.language)
        verb = self.pick(_VERBS)[several] if self.language == "en" else ""
        if self.language == "zh":
            way = f"向{lexicon.direction_words(way, 'zh')}" if way in DIRECTIONS else in_language(way, "zh")
        return self.say("moves", where=where, verb=verb, way=way, colour=colour, strength=strength)

    def one(self, motion: RegionMotion) -> str:
        way = direction_shown(motion.dx, motion.dy).name
        where = place_measured(motion.region, motion.side, self.language)
        several = motion.side is None and is_plural(motion.region)
        return self.moves(where, several, way, self.colours([way]), motion.magnitude)

    def pair(self, first: RegionMotion, second: RegionMotion) -> list[str]:
        """Two parts that belong together, in one clause if they move alike."""
        ways = [direction_shown(motion.dx, motion.dy).name for motion in (first, second)]
        pixels = (first.magnitude + second.magnitude) / 2
        if first.region != second.region:  # the two lips
            for term, opposite in LIPS.items():
                if tuple(ways) == opposite:
                    return [self.lips(term, ways, pixels)]
            return [self.one(first), self.one(second)]
        where, several = place(first.region, None, self.language), is_plural(first.region)
        if ways[0] == ways[1]:
            return [self.moves(where, several, ways[0], self.colours(ways[:1]), pixels)]
        if ways[1] == _mirrored(ways[0]):
            # `up-left` in the image's left half is `up and outwards` in both
            outwards = ways[0].replace("left", "outwards").replace("right", "inwards").replace("-", " and ")
            return [self.moves(where, several, outwards, self.colours(ways, "left", "right"), pixels)]
        return [self.one(first), self.one(second)]

    def lips(self, term: str, ways: Sequence[str], pixels: float) -> str:
        if self.language == "en":
            return self.moves("the lips", True, term, self.colours(ways, "upper", "lower"), pixels)
        colour = self.colours(ways, "upper lip", "lower lip")
        return f"嘴唇{in_language(term, 'zh')}{colour}，{in_language(strength_word(pixels), 'zh')}"

    def moved(self) -> list[str]:
        """Clauses of the strongest motions, strongest first, each with its other side if that is visible too."""
        visible = sorted((m for m in self.regions.values() if m.visible), key=lambda motion: -motion.magnitude)
        clauses: list[str] = []
        for region in list(dict.fromkeys(motion.region for motion in visible))[:_DESCRIBED]:
            both = [m for m in self.regions.values() if m.region == region and m.visible and m.side is not None]
            clauses += self.pair(*both) if len(both) == 2 else [self.one(m) for m in visible if m.region == region]
        return clauses

    def inspected(self, events: Sequence[_Event] | None) -> str:
        clauses: list[str] = self.moved() if events is None else []
        described: set[tuple[_Part, ...]] = set()
        for event in events or ():
            if event.parts in described or not event.parts:
                continue
            described.add(event.parts)
            clauses += self.pair(*event.seen) if len(event.seen) == 2 else [self.one(motion) for motion in event.seen]
            unseen = [part for part in event.parts if part not in {(m.region, m.side) for m in event.seen}]
            if stirred := [part for part in unseen if part in self.stirred]:
                where, several = self.places(stirred)
                clauses.append(self.say("stirs", where=where, move="move" if several else "moves"))
            if still := [part for part in unseen if part not in self.stirred]:
                clauses.append(self.say("still", where=self.places(still)[0]))
        others = () if events is None else self.uncoded(events)
        for clause in self.pair(*others) if len(others) == 2 else map(self.one, others):
            clauses.append(clause + self.say("uncoded"))
        if not clauses:
            clauses.append(self.say("nothing"))
        if self.language == "zh":
            return "；".join(clauses)
        if self.pick((False, False, True)):
            return ". ".join([clauses[0], *(clause[0].upper() + clause[1:] for clause in clauses[1:])])
        return "; ".join(clauses)

    def places(self, parts: Sequence[_Part]) -> tuple[str, bool]:
        """Parts of one unit in words, and whether the words are plural."""
        if len(parts) > 1 and len({region for region, _ in parts}) == 1:
            return place(parts[0][0], None, self.language), is_plural(parts[0][0])
        wheres = [place_measured(region, side, self.language) for region, side in parts]
        several = len(parts) > 1 or (parts[0][1] is None and is_plural(parts[0][0]))
        return lexicon.joined(wheres, self.language), several

    def follows(self, event: _Event) -> str:
        region = event.unit.region
        sides = {side for _, side in event.parts} if event.side else {None}
        where = place(region, next(iter(sides)), self.language)
        several = is_plural(region) and sides == {None}
        are, move, point = ("are", "move", "point") if several else ("is", "moves", "points")
        words = {"au": f"AU{event.unit.number}", "name": event.unit.name, "where": where, "are": are, "move": move}
        words |= {"point": point, "shown": "the map" if self.palette else "the frames"}
        if not event.parts:
            statement = "unit without direction"
        elif event.seen:
            statement = "unit that is seen" if event.agrees else "unit that moves otherwise"
        else:
            statement = "unit that stirs" if self.stirred.intersection(event.parts) else "unit too faint"
        return self.say(statement, **words)

    def reasoned(self, events: Sequence[_Event] | None, label: str) -> str:
        label = in_language(label, self.language)
        if events is None:
            seen = any(motion.visible for motion in self.regions.values())
            return self.say("units not known" if seen else "units not known, nothing seen", label=label)
        if not events:
            return self.say("no unit", label=label)
        drawn = self.say("one unit" if len(events) == 1 else "several units", label=label)
        return ("; " if self.language == "en" else "；").join([*map(self.follows, events), drawn])


def _parts(of: Unit, side: str | None) -> tuple[_Part, ...]:
    """The regions that show a unit; none if its motion has no direction on the skin."""
    if of.motion in LIPS:
        return ("upper lip", None), ("lower lip", None)
    if not of.motion:
        return ()
    if of.region in _MIDLINE:
        return ((of.region, None),)
    return tuple((of.region, s) for s in _OF_IMAGE.get(side or "", ("left", "right")))


def _agrees(of: Unit, motion: RegionMotion) -> bool:
    if of.motion in LIPS:
        expected = DIRECTIONS[LIPS[of.motion][motion.region == "lower lip"]]
    elif (way := directions(of.motion.partition(",")[0], -1 if motion.side == "left" else 1)) is not None:
        expected = way  # a blink is caught while it closes
    else:
        return False
    angle = float(np.degrees(np.arctan2(-motion.dy, motion.dx)))
    return abs((angle - expected.angle + 180) % 360 - 180) <= _OTHERWISE_DEGREES


def _mirrored(way: str) -> str:
    swapped = {"left": "right", "right": "left"}
    return "-".join(swapped.get(word, word) for word in way.split("-"))


def describe_seen(
    codes: Iterable[str] | None,
    label: str,
    regions: Iterable[RegionMotion],
    palette: str | None = STANDARD,
    language: str = "en",
    rng: np.random.Generator | None = None,
    stirred: Collection[_Part] = (),
) -> str:
    """The answer in three parts: what is seen, what follows from it, and the annotation as conclusion.

    Args:
        codes: canonical codes of the annotated units; of alternatives the first is described. None: not known.
        label: the annotated label, in canonical spelling.
        regions: the measured motion in the image that is shown.
        palette: of the map; None for frames, which have no colours.
        rng: varies the words; with None they are always the same.
        stirred: regions and sides that are seen to move, but not clearly in one direction.

    Raises:
        CodeError: lists all codes that cannot be read and numbers that are no units.
        InputError: the language is unknown.
    """
    lexicon.check_language(language)
    writer = _Writer(
        {(motion.region, motion.side): motion for motion in regions}, frozenset(stirred), palette, language, rng
    )
    codes = None if codes is None else tuple(codes)
    events = None if codes is None else each_of(writer.event, coded_events(codes))
    inspection, reasoning, conclusion = _HEADS[language]
    stop, between, named = (".", "; ", "expression: ") if language == "en" else ("。", "；", "表情：")
    units = "" if codes is None else f"{units_answer(codes, language)}{between}"
    return (
        f"{inspection}{writer.inspected(events)}{stop}\n"
        f"{reasoning}{writer.reasoned(events, label)}{stop}\n"
        f"{conclusion}{units}{named}{in_language(label, language)}{stop}"
    )
