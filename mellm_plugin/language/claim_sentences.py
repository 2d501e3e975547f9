"""One sentence of a text: the regions that it names, and the movements that it affirms for them.

Sentence(tokens of "the brows rise, the left lid does not", []).run()
  -> mentions: brows, ways ["up"]; lids, left, no ways
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from mellm_plugin.language.claim_words import BROWS, GRADED, IDIOMS, NOUNS, REACH, SKIPPED
from mellm_plugin.language.words import Tokens, word_set


class Side(NamedTuple):
    """A side of the image, and whether the text says whose side it is."""

    half: str
    certain: bool


@dataclass
class RegionMention:
    region: str
    side: Side | None
    start: int
    end: int
    ways: list[str] = field(default_factory=list)
    led_to: bool = False  # its movement precedes it
    shared: bool = False  # and may belong to the region before it alone: "raised brows and lips pressed"


_ACTIVE = word_set("active activated engaged involved used")
_GENERAL = word_set("characterized characterised involves involve associated defined entails comprises consists")
_SPEAKS = word_set("indicate indicates suggest suggests point points with speak speaks are is they")
_PARTICLE_VERBS = word_set("open opened tighten close press")
"""Movements that "up" only strengthens: "opens up"."""
_QUALIFIERS = word_set("determiner side own image upper lower side_noun")
_JOINING = word_set("comma clause and or join")
_PARTICLES = word_set("up down apart together part")


class Sentence:
    """Walks one sentence once and collects its regions, each with the movements that are affirmed for it."""

    def __init__(self, tokens: Tokens, carried: list[RegionMention]) -> None:
        self.tokens = tokens
        self.kind, self.text = tokens.kind, tokens.text
        self.mentions: list[RegionMention] = [*carried]
        self.group: list[RegionMention] = [*carried]  # the regions that a movement belongs to
        self.carried = bool(carried)
        self.named_at = -1  # the last token of the last region
        self.leading: dict[int, list[tuple[str, int]]] = {}  # by the region's token: movements that lead to it
        self.grades: list[str] = []
        self.sides: list[Side] = []
        self.since: int | None = None  # where they begin
        self.where: Side | None = None  # "on the left, .."
        self.negated = self.spoken = False
        self.clause: list[tuple[RegionMention, str]] = []  # what is affirmed in this clause
        self.outer: list[tuple[list[RegionMention], bool, bool]] = []  # for each open bracket, the state outside it
        self.general = self.hedged = self.is_general()
        # A statement about the onset frame: "leading" up to the mention of the apex, an "attribute" up to the comma,
        # "trailing" up to the comma or "and".
        self.onset = ""
        self.relative = False  # in a clause about a unit: "AU12, which pulls the lip corners up, .."
        self.last_or = max((at for at, token in enumerate(tokens) if token.kind == "or"), default=-1)

    @property
    def denied(self) -> bool:
        return self.negated or self.hedged or bool(self.onset)

    def word(self, at: int) -> str:
        """What a phrase means (for "raised": up), or the word itself."""
        return str(self.tokens[at].value or self.text(at)) if 0 <= at < len(self.tokens) else ""

    def is_general(self) -> bool:
        """Whether the sentence describes an emotion in general: "Fear involves ..", "In fear, .."."""
        at = 0
        while self.kind(at) in ("determiner", "turn", "comma", "dash"):
            at += 1
        if self.kind(at) == "inside" and self.kind(at + 1) == "emotion":
            return self.kind(at + 2) == "comma"
        if self.kind(at) != "emotion":
            return False
        if self.kind(at + 1) == "motion":  # "a genuine smile raises the cheeks"
            return True
        here = any(token.text == "here" for token in self.tokens)
        return not here and any(token.text in _GENERAL for token in self.tokens[at + 1 : at + REACH])

    def run(self) -> None:
        for at, token in enumerate(self.tokens):
            if token.kind == "region":
                self.region(at)
            elif token.kind == "idiom":
                name, way = IDIOMS[str(token.value)]
                if not self.denied:
                    self.mentions.append(RegionMention(name, None, token.start, token.end, [way]))
            elif token.kind == "motion" or (token.kind == "lower" and self.is_verb(at)):
                self.motion(at)
            elif token.kind == "side":
                self.side(at)
            elif token.kind in ("inner", "outer", "upper", "lower", "inner outer", "upper lower"):
                self.grade(at)
            elif token.kind in ("ears", "hairline", "middle"):
                self.place(at)
            elif token.kind in ("other", "unit", "name"):
                if token.kind == "unit":
                    self.end_relative()
                if not self.is_place(at):
                    self.group = []
                    self.forget()
            else:
                self.flow(at)

    def flow(self, at: int) -> None:
        """Handle words that affirm or deny, and marks that separate clauses."""
        kind = self.kind(at)
        if kind == "no":
            denied = self.kind(at + 1) == "there" and self.kind(at + 2) in ("", "comma", "clause", "close", "turn")
            answer = self.kind(at - 1) == "colon" and self.kind(at + 1) in ("", "comma", "close")  # "raised? no"
            # "AU12, which pulls the lip corners up, is not active"
            of_unit = self.relative and (self.kind(at + 1) == "there" or self.word(at + 1) in _ACTIVE)
            if ((denied or answer) and self.clause) or of_unit:
                self.revoke()
            else:
                self.negated, self.spoken = True, False
        elif kind == "not_there":
            self.revoke()
        elif kind == "hedge":
            self.hedged = True
        elif kind == "turn":
            self.negated = False
            self.hedged = self.general and self.text(at) not in ("but", "however", "yet", "instead")
            self.onset = ""
            behind = [self.kind(ahead) for ahead in range(at + 1, at + 4)]
            if "not_there" not in behind or {"region", "motion"} & {*behind[: behind.index("not_there")]}:
                self.clause = []  # else "was considered but rejected"
        elif kind == "at_first":
            if self.kind(at - 1) != "toward" and self.word(at - 1) not in ("compared", "relative"):
                adverb = self.text(at) in ("initially", "at") and self.kind(at + 1) != "comma"  # "initially level, .."
                self.onset = "trailing" if self.group else "attribute" if adverb else "leading"
                self.revoke()
        elif kind == "at_apex":
            self.onset = ""
        elif kind == "in_which":
            if any(self.word(i) in ("onset", "first", "neutral") for i in range(at - 4, at)):
                self.onset = "attribute"
        elif kind == "toward":
            if self.onset == "trailing" and self.word(at) == "toward" and self.text(at) == "to":
                self.onset = ""  # "from closed at onset to parted"
        elif kind == "au":
            self.end_relative()
        elif kind in ("comma", "clause"):
            if self.onset != "leading":
                self.onset = ""
            if self.qualifies_unit(at):
                self.relative, self.clause = True, []
                return  # a denial of the unit also denies its movement
            if not self.relative:
                self.clause = []
            if kind == "clause" or at > self.last_or:
                self.negated = False
            self.grades = []
            self.since = self.since if self.sides else None
        elif kind == "and":
            if self.onset == "trailing":
                self.onset = ""  # "closed at onset and parted at apex"
            following = next((k for k in map(self.kind, range(at + 1, at + REACH)) if k not in SKIPPED), "")
            if self.spoken and at > self.last_or and following == "region":
                self.negated = False
        elif kind == "open":
            self.outer.append((self.group, self.negated, self.hedged))
        elif kind == "close" and self.outer:
            self.group, self.negated, self.hedged = self.outer.pop()
        elif kind == "move":
            self.spoken = True

    def qualifies_unit(self, at: int) -> bool:
        """Whether a comma separates a unit from what it does: "AU12, which ..", "AU15, lowering .."."""
        if self.word(at + 1) not in ("which", "that") and not (
            self.kind(at + 1) in ("motion", "move") and self.text(at + 1).endswith("ing")
        ):
            return False
        back = at - 1
        if self.kind(back) == "close":
            while back > max(0, at - REACH) and self.kind(back) != "open":
                back -= 1
            back -= 1
        return self.kind(back) == "unit" or (
            self.word(back).isdecimal() and "au" in map(self.kind, range(back - 5, back))
        )

    def end_relative(self) -> None:
        if self.relative:
            self.relative, self.clause = False, []

    def revoke(self) -> None:
        for mention, way in self.clause:
            if way in mention.ways:
                mention.ways.remove(way)
        self.clause = []

    def is_place(self, at: int) -> bool:
        """Whether a region only says where another one moves: "towards the nose", "of the face"."""
        back = at - 1
        while back > at - 5 and self.kind(back) in _QUALIFIERS:
            back -= 1
        return self.kind(back) == "toward" or (self.kind(back) == "inside" and self.kind(at) == "other")

    def region(self, at: int) -> None:
        token, name = self.tokens[at], self.word(at)
        between = {self.kind(i) for i in range(self.named_at + 1, at)} if self.named_at >= 0 else {""}
        if at not in self.leading and self.is_place(at):
            self.forget()
            return
        side = self.sides[0] if len(set(self.sides)) == 1 else None
        whole = name in ("eyes", "mouth", "nose") and "inside" in between and between <= SKIPPED
        if whole and self.group:  # "the lid of the left eye"
            for mention in self.group:
                mention.side = mention.side or side
            self.sides = []
            return
        if between <= SKIPPED - {"inside"} and self.group and not self.group[-1].ways and at not in self.leading:
            side = side or self.group[-1].side  # "the left eye's upper lid"
            self.mentions.remove(self.group.pop())
            joined = bool(self.group)
        else:
            joined = bool(self.group) and between <= (SKIPPED | _JOINING) and bool(between & _JOINING)
            joined = joined and not (self.group[-1].led_to and between & {"comma", "clause"})
        names = [GRADED[grade, name] for grade in self.grades if (grade, name) in GRADED]
        leading = self.leading.pop(at, [])
        last = self.group
        if not joined or leading:
            self.group = []
        start = min([token.start if self.since is None else self.since, *(start for _, start in leading)])
        for part in names or [name]:
            ways = [way for way, _ in leading if way]
            mention = RegionMention(part, side or self.where, start, token.end, ways, bool(leading))
            if joined and not leading and last[-1].led_to and between & {"and", "or", "join"}:
                mention.ways, mention.led_to, mention.shared = [*last[-1].ways], True, True
            self.clause += [(mention, way) for way in mention.ways]
            self.group.append(mention)
            self.mentions.append(mention)
        self.named_at = at
        self.forget()

    def forget(self) -> None:
        """Drop the words that would qualify the next region."""
        self.grades, self.sides, self.since = [], [], None

    def ahead(self, at: int) -> int | None:
        """The position of the region that the words after `at` lead to."""
        passed = SKIPPED | {"move", "pronoun"}
        first = next((i for i in range(at + 1, at + REACH) if self.kind(i) not in passed), -1)
        return first if self.kind(first) == "region" else None

    def is_verb(self, at: int) -> bool:
        """Whether "lower" is a movement and does not tell one lip or lid from the other."""
        after = at + 1
        while self.kind(after) in ("side", "and", "upper", "image"):
            after += 1
        if self.kind(after) == "region" and self.word(after) in ("lids", "lips", "jaw", "eyes", "mouth corners"):
            return False
        if self.kind(at - 1) == "determiner" and self.text(at - 1).endswith(("ly", "more", "what")):
            return True  # "are slightly lower"
        return self.kind(at - 1) not in ("", "comma", "open", "upper", "determiner") or self.ahead(at) is not None

    def grade(self, at: int) -> None:
        grades = self.kind(at).split()
        last = self.group[-1] if self.group else None
        alone = last is not None and last.region == "brows" and not last.ways
        if last and alone and grades[0] in ("inner", "outer") and self.ahead(at) is None:
            last.region = f"{grades[0]} brows"  # "the eyebrow tails", "brows: the inner ends"
            return
        self.grades += grades
        self.since = self.tokens[at].start if self.since is None else self.since

    def side(self, at: int) -> None:
        value = self.word(at)
        target = self.ahead(at)
        if target is None and self.kind(at + 1) in ("and", "or", "join") and self.kind(at + 2) == "side":
            target = self.ahead(at + 2)
        back = [self.tokens[i] for i in range(max(0, at - 3), at)]
        kinds = [token.kind for token in back]
        if target is None and self.kind(at + 1) != "side_noun":
            diagonal = [t.value for t in back if t.kind == "motion"][-1:] in (["up"], ["down"])
            near = kinds[-1:] in (["motion"], ["and"], ["move"]) and (diagonal or kinds[-1:] == ["move"])
            to = "toward" in kinds and set(kinds[kinds.index("toward") + 1 :]) <= {"determiner", "image", "own"}
            if to and back[kinds.index("toward")].text not in ("to", "toward", "towards", "into"):
                return  # "more strongly than the right"
            if near or to:
                self.affirm(value, at)
                return
            if any(mention.ways for mention in self.group) and self.is_compared(at):
                return  # "both rise, the left one more than the right"
        ahead = [self.kind(i) for i in range(at + 1, at + 6)]
        ahead = ahead[: next((i for i, kind in enumerate(ahead) if kind in ("comma", "motion", "region")), 6)]
        image = kinds[-1:] == ["image"] or (kinds[-2:-1] == ["image"] and back[-1].text == "的") or "image" in ahead
        certain = image or "own" in kinds[-2:]
        if "own" in kinds[-2:] and "image" not in kinds[-2:]:
            value = "right" if value == "left" else "left"
        if target is not None and self.kind(at + 1) != "comma":
            self.sides.append(Side(value, certain))
            self.since = self.tokens[at].start if self.since is None else self.since
        elif self.outer and not self.only_side(at):
            return  # "(left blue, right pink)"
        elif self.group and not self.carried:
            for mention in self.group:
                mention.side = mention.side or Side(value, certain)
        elif not self.group:
            self.where = Side(value, certain)

    def is_compared(self, at: int) -> bool:
        """Whether the words up to the next comma compare one side with the other."""
        ahead = self.tokens[at + 1 : at + REACH]
        ends = (i for i, token in enumerate(ahead) if token.kind in ("comma", "clause"))
        return any(token.kind == "toward" and token.text == "than" for token in ahead[: next(ends, REACH)])

    def only_side(self, at: int) -> bool:
        first, last = at - 1, at + 1
        while self.kind(first) in SKIPPED:
            first -= 1
        while self.kind(last) in SKIPPED:
            last += 1
        return self.kind(first) == "open" and self.kind(last) in ("close", "")

    def motion(self, at: int) -> None:
        way = "down" if self.kind(at) == "lower" else self.word(at)
        self.spoken = True
        if self.is_figure(at):
            return
        if self.text(at) == "closer" and self.kind(at + 1) == "toward":
            eyes = any(self.word(i) in ("eyes", "lids", "upper lids") for i in range(at + 2, at + 5))
            if eyes and self.group and all(mention.region in BROWS for mention in self.group):
                self.affirm("down", at)
            return  # "closer to disgust"; of "closer to the midline" the place says the way
        target = None if way == "part" else self.ahead(at)
        if target is not None and self.leads(at, target):
            self.leading.setdefault(target, []).append(("" if self.denied else way, self.tokens[at].start))
        else:
            self.affirm(way, at)

    def is_figure(self, at: int) -> bool:
        """Whether a word of movement means none here: "opens up", "by up to 2 px", "AU6 and AU12 together indicate"."""
        text, behind = self.text(at), self.kind(at - 1)
        following = self.text(at + 1)
        if text == "up":
            limit = following == "to" and self.word(at + 2)[:1].isdecimal()
            return limit or (behind == "motion" and self.word(at - 1) in _PARTICLE_VERBS)
        if text == "together" and self.word(at) == "together":
            set_off = behind == "comma" and self.kind(at + 1) == "comma"
            unit = behind in ("close", "unit", "au") or self.word(at - 1).isdecimal()
            moved = behind in ("motion", "move") and self.word(at - 1) not in ("up", "down")
            moved = moved or self.word(at - 1) in ("come", "comes", "came", "coming", "brought")
            return set_off or unit or (following in _SPEAKS and not moved)
        return False

    def leads(self, at: int, target: int) -> bool:
        """Whether a movement belongs to the region after it."""
        between = {self.kind(i) for i in range(at + 1, target)}
        text = self.text(at)
        if "inside" in between:  # "lowering of the brows"; "corners turn upward in .." does not lead
            free = not self.group or all(mention.ways for mention in self.group) or "move" in between
            return text in NOUNS and (free or not text.endswith(("ward", "wards")))
        if text in _PARTICLES or text in ("rise", "rises"):
            return False
        if not between - {"side", "inner", "outer", "upper", "lower", "inner outer", "upper lower", "move"}:
            return True  # "raised inner brows"
        waiting = bool(self.group) and not any(mention.ways for mention in self.group)
        return not (text.endswith(("ed", "n")) and waiting)  # "raises the brows"

    def affirm(self, way: str, at: int) -> None:
        if self.denied:
            return
        targets = [mention for mention in self.group if not mention.led_to or mention.shared]
        for mention in targets or self.group:
            if mention.shared:
                mention.ways, mention.led_to, mention.shared = [], False, False
            mention.ways.append(way)
            mention.start = min(mention.start, self.tokens[at].start)
            mention.end = max(mention.end, self.tokens[at].end)
            self.clause.append((mention, way))

    def place(self, at: int) -> None:
        if self.is_place(at):
            self.affirm({"middle": "inwards", "ears": "outwards", "hairline": "up"}[self.kind(at)], at)
        elif self.kind(at) != "middle":
            self.group = []
