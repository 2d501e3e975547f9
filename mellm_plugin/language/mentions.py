"""The units and labels that one segment of an answer mentions, each affirmed, hedged, negated or listed.

    "AU4 and AU7 are active, AU12 is absent"  ->  units 4 affirmed, 7 affirmed, 12 negated

A segment is walked once, from left to right. Denials work in both directions: "no AU12" denies what follows, "AU12 is
absent" what is `pending` before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mellm_plugin.facs.units import UNITS
from mellm_plugin.language import phrases, words
from mellm_plugin.language.phrases import is_field, is_hyphen, is_rejected, measured, number_at, value_at
from mellm_plugin.language.segments import AFFIRMED, HEDGED, NEGATED, Mention, Segment, said
from mellm_plugin.language.tables import is_low

_CLAUSE_ENDS = frozenset({"", "comma", "colon", "close", "turn", "and"})
_DENYING_BRACKETS = frozenset({("no", "there"), ("no", "occur"), ("not_there", "close")})


def note_mentions(segment: Segment, weak: Mapping[int, str], units_alone: bool) -> None:
    """Fill in the units and labels that a segment mentions.

    Args:
        segment: changed in place.
        weak: the status of labels that count less, by where they start in the text.
    """
    _Walk(segment, weak, units_alone).run()


class _Walk:
    """One walk over the tokens of a segment. `step` handles the token at a position; `units_from` reads a list."""

    def __init__(self, segment: Segment, weak: Mapping[int, str], units_alone: bool) -> None:
        self.segment, self.tokens, self.weak = segment, segment.tokens, weak
        self.kind, self.text = self.tokens.kind, self.tokens.text
        self.negated = self.hedged = self.nor = self.none_of = self.in_general = False
        self.pending: list[Mention] = []  # mentions that a following "is absent" would negate
        self.explicit: list[Mention] = []  # numbers directly after "AU"
        self.loose: list[Mention] = []  # numbers announced only by a title, or by words further ahead
        announced = "aus_head" in segment.title and not phrases.DENIALS & segment.title
        self.head_at = 0 if announced else -9  # where units were last announced
        self.number_end = -9  # position after the last unit number: a name there is its gloss
        self.name_end = -9  # position after the last unit name
        self.keyed = False  # numbers are the keys of a list ("units: {1: true, 2: false}")
        self.subject: list[Mention] = []  # mentions at the beginning of a clause: "AU12 usually .." is no finding
        self.listed_to = 0  # numbers before this position are known to be no units
        self.units_alone = self.bare = units_alone  # bare: nothing but units has been mentioned yet

    def run(self) -> None:
        self.negated = self.denied_by_title()
        position = 0
        if "aus_head" in self.segment.title:
            while self.kind(position) in ("dash", "open", "colon"):
                position += 1
            self.zero(position)
            position = self.units_from(position)
        while position < len(self.tokens):
            if self.kind(position) in ("word", "label", "stillness") and not number_at(self.tokens, position):
                self.bare = self.bare and self.text(position) in words.BEFORE_NUMBERS
            position = self.step(position)
        if len(self.loose) == 1:
            if any(mention.status == AFFIRMED for mention in self.explicit):
                self.loose[0].status = NEGATED  # a count: "action units: 2 (AU1 and AU4)"
            elif len(self.segment.units) == 1:
                self.segment.lone = self.loose[0]

    def denied_by_title(self) -> bool:
        """Whether the title denies what the segment begins with ("Inactive AUs: AU1, AU2")."""
        title = self.segment.title
        if not title & phrases.DENIALS or title & {"turn", "therefore"}:
            return False
        first = next((t.kind for t in self.tokens if t.kind in ("aus_head", "unit", "number", "label")), "")
        return bool(first) and ("emotion_head" if first == "label" else "aus_head") in title

    def step(self, position: int) -> int:
        """Handle the token at `position`; return the next position."""
        token = self.tokens[position]
        if token.kind == "no":
            self.negate(position)
        elif token.kind == "not_there" and position > 0 and self.kind(position - 1) == "no":
            self.negated, self.pending = False, []  # "AU4 is not absent"
        elif token.kind == "not_there" and phrases.is_of_place(self.tokens, position):
            self.pending = []  # "AU4, lids unchanged"
        elif token.kind == "not_there":
            forward = token.text in words.REJECTING and self.kind(position + 1) in ("aus_head", "unit", "label")
            self.nor |= forward and token.text.endswith("ing")  # "after discarding AU12, AU4 remains"
            if forward or is_field(self.tokens, position):
                self.pending = []  # "AU4, but rejected AU12"
            if not self.pending and "all" in {t.text for t in self.tokens[max(0, self.head_at - 2) : self.head_at]}:
                self.segment.no_units = True  # "all action units are inactive"
            else:
                self.deny_before(position)
        elif token.text == "off" and self.kind(position - 1) == "colon":
            self.deny(valued=True)
        elif token.kind == "be":
            self.pending = self.pending if phrases.is_denied_behind(self.tokens, position) else []
        elif token.kind == "there":
            of_field = is_field(self.tokens, position)
            self.negated = self.negated and not of_field
            if (of_field or self.kind(position + 1) != "colon") and not is_rejected(self.tokens, position + 1):
                self.pending = []
        elif token.kind == "open":
            if (self.kind(position + 1), self.kind(position + 2)) not in _DENYING_BRACKETS:
                self.pending = []
        elif token.text == "→":
            self.negated = False
        elif token.kind in ("turn", "therefore"):
            self.negated = self.hedged = False
            self.subject = []
            self.in_general = self.in_general and token.text in words.GOING_ON
            if not is_rejected(self.tokens, position):
                self.pending = []
        elif token.kind == "comma":
            if self.negated and self.new_clause(position + 1):
                self.negated, self.pending = False, []
        elif token.kind == "hedge":
            self.hedged = True
            if token.text == "would":
                self.hedge([m for m in self.subject if isinstance(m.value, str)])  # "fear would show AU5"
                turns = any(other.text in ("but", "however", "yet") for other in self.tokens[position:])
                if turns and self.pending and self.pending[-1].end == position:
                    self.hedge(self.pending)  # "AU6+AU12 would indicate .., however .."
        elif token.text in words.HERE:
            self.in_general = False
        elif token.kind == "aus_head":
            return self.announced(position)
        elif token.kind in _HANDLERS:
            _HANDLERS[token.kind](self, position)
        elif token.kind == "dash":
            alone = self.kind(position - 1) == "colon" and self.kind(position + 1) in ("", "comma", "colon")
            if self.pending and alone:
                self.deny(valued=True)  # "AU12: -"
        elif token.kind == "number" and self.pending and phrases.is_flag(self.tokens, position) and is_low(token.text):
            self.deny(valued=True)  # "active: 0"
        elif number := number_at(self.tokens, position):
            if self.is_activated_list(position):
                return self.units_from(position)
            key = self.keyed and self.kind(position - 1) == "comma" and self.kind(number[1]) == "colon"
            if key or (self.bare and not measured(self.tokens, number[1])):
                return self.units_from(position)
            listed = self.units_alone and self.kind(position - 1) == "colon" and not measured(self.tokens, number[1])
            if listed or phrases.is_plus_list(self.tokens, position):
                return self.units_from(position, bare=True)
        return position + 1

    def hedge(self, mentions: Iterable[Mention]) -> list[Mention]:
        affirmed = [mention for mention in mentions if mention.status == AFFIRMED]
        for mention in affirmed:
            mention.status = HEDGED
        return affirmed

    def generalise(self, position: int) -> None:
        """Hedge general statements ("AU12 is usually ..", "positive emotions often .."), also before the word."""
        if self.text(position) in words.DEFINING and not any(isinstance(m.value, str) for m in self.subject):
            return  # "the expression is characterised by AU4", unlike "surprise is characterised by .."
        self.in_general = True
        if self.kind(position - 1) != "comma":
            self.segment.general += [mention for mention in self.hedge(self.subject) if mention.value in UNITS]
            self.subject = []

    def unclear(self, position: int) -> None:
        """Deny what is said to be unclear: "AU12 is unclear", "Unclear whether AU4 ..."."""
        self.segment.unclear = True
        if self.pending and position - max(self.pending[-1].end, self.number_end) <= 2:
            if self.kind(position - 1) != "comma":
                self.deny()
        elif self.text(position + 1) in ("whether", "if", "between"):
            self.negated = True

    def is_activated_list(self, position: int) -> bool:
        """Whether numbers without "AU" are said to be active: "4 and 7 are activated", "active: 4, 7"."""
        if position < self.listed_to:
            return False
        ahead, count, marked = position, 0, self.kind(position) == "word"
        marked |= self.text(position - 1) in ("unit", "units")
        announced = self.kind(position - 1) == "colon" and self.tokens[position - 2].text in words.ACTIVATED
        if self.kind(position - 1) == "be" and self.text(position - 2) in ("so", "as"):
            announced = marked = True  # "AU1 is active, and so are 2 and 5"
        end = position
        while (number := number_at(self.tokens, ahead)) is not None:
            count += 1
            ahead = number[1]
            end = ahead
            while self.kind(ahead) in ("join", "comma", "and"):
                ahead += 1
            marked |= self.kind(ahead) == "word" and number_at(self.tokens, ahead) is not None
        self.listed_to = max(ahead, position + 1)
        if count == 0 or not (marked or count > 1 or self.explicit) or measured(self.tokens, end):
            return False
        while self.kind(end) == "be" or self.text(end) in ("both", "all", "被", "均"):
            end += 1
        active = self.text(end) in words.ACTIVATED
        if self.explicit and [token.text for token in self.tokens[end : end + 2]] in (["too"], ["as", "well"]):
            return True  # "AU4 is activated, 7 as well"
        return announced or (active and self.kind(end) in ("there", "occur"))

    def note(self, value: int | str, into: list[Mention], start: int, end: int) -> Mention:
        status = NEGATED if self.negated else HEDGED if self.hedged or self.in_general else AFFIRMED
        mention = Mention(value, status, start, end)
        if isinstance(value, str) or value in UNITS:  # "AU99" is no unit
            into.append(mention)
        self.pending.append(mention)
        self.subject.append(mention)
        return mention

    def deny(self, valued: bool = False) -> None:
        """Deny the mentions before a denial ("AU6 is absent"); without any, all that follow."""
        self.negated = self.negated or not self.pending
        for mention in self.pending:
            mention.status, mention.valued = NEGATED, valued
        self.pending = []

    def deny_before(self, position: int) -> None:
        """Deny what precedes a word; of a list under a title only the last unit: "Action units: AU12, AU24 absent"."""
        adjacent = len(self.pending) > 1 and position in (self.pending[-1].end, self.number_end)
        if adjacent and self.segment.units == self.pending and "aus_head" in self.segment.title:
            between = {token.kind for token in self.tokens[self.pending[-2].end : self.pending[-1].start]}
            if "comma" in between and "and" not in between:
                self.pending = self.pending[-1:]
        self.deny(self.kind(position - 1) == "colon" and self.kind(position + 1) in ("", "comma", "close"))

    def negate(self, position: int) -> None:
        if self.text(position) in words.NO_OR_NONE and self.kind(position + 1) in ("", "comma"):
            if self.pending and position in (self.pending[-1].end, self.number_end):
                self.pending = self.pending[-1:]
                self.deny(valued=True)  # "AU4有，AU12无"
            else:
                self.none(position)
            return
        self.nor |= self.text(position) == "nor"  # after "neither a nor b" a comma ends the list
        end = position + 1
        while end - position < 6 and self.kind(end) in ("word", "be", "hedge"):
            end += 1
        not_there = (self.kind(end), self.text(end)) == ("resume", "there") and self.kind(end + 1) in _CLAUSE_ENDS
        denies = not_there or self.kind(end) in ("there", "occur")  # "does not seem to be active"
        last = self.kind(position + 1) in _CLAUSE_ENDS  # "AU6 is not"
        is_value = self.kind(position - 1) == "colon" and self.kind(position + 1) != "label"  # "AU12: no sign of it"
        if self.kind(position + 1) == "not_there":
            return  # "not absent"
        behind = bool(self.pending) and (denies or last or is_value) and not is_field(self.tokens, position + 1)
        if behind:
            self.deny_before(position)
        self.negated = self.negated or not behind or not (denies or last)

    def new_clause(self, position: int) -> bool:
        """Whether a new clause starts after a comma, rather than one more item of a negated list."""
        if self.kind(position) == "resume" or self.nor or self.tokens[position - 1].text == words.CLAUSE:
            return True
        if self.kind(position) == "label" and self.kind(position - 2) == "label":  # "not fear, surprise"
            listed = self.kind(position + 1) in ("comma", "and", "join")
            return not listed and position == 3 and self.tokens[0].text == "not"
        kinds = (token.kind for token in self.tokens[position : position + 6])
        first = next((kind for kind in kinds if kind in ("comma", "and", "be", "there", "colon")), "comma")
        return first not in ("comma", "and") and not self.none_of  # "none of AU1, AU2 is active"

    def none(self, position: int) -> None:
        if self.pending and self.kind(position - 1) == "colon":
            self.deny()  # "AU4: none"
            return
        of = self.text(position + 1) == "of"
        announced = position - self.head_at <= 3 and self.kind(position - 1) != "and"
        of_them = any(
            self.kind(ahead) == "stillness"
            or (self.kind(ahead) == "aus_head" and not number_at(self.tokens, ahead + 1))
            for ahead in range(position + 2, position + 5)
        )
        if announced or (self.bare and not of) or of_them:
            self.segment.no_units = True
        elif of:
            self.negated = self.none_of = True

    def stillness(self, position: int) -> None:
        before = self.tokens[max(0, position - 4) : position]
        denied = self.negated and "no" in {token.kind for token in before}
        texts = {token.text for token in before}
        if self.text(position) == "change" and words.NO_VERB & texts:
            return  # "the lips do not change"
        if denied and not (words.FURTHER | words.PLACES) & texts and self.text(position + 1) not in words.SOMEWHERE:
            if self.pending:
                self.deny()  # "AU4 shows no movement"
            elif not self.segment.units:
                self.segment.no_units = True

    def announced(self, position: int) -> int:
        """Read what "AU", "action units"... announces: numbers, or that there are none."""
        self.head_at = position
        start = position + 1
        reach = position + (7 if self.text(position) != "ad" else 0)
        while self.kind(start) in ("colon", "dash", "open") or (
            start < reach and self.text(start) in words.BEFORE_NUMBERS
        ):
            start += 1
        if start != position + 1 and "count" in {self.kind(position - i) for i in (1, 2, 3)}:
            return position + 1  # "the number of action units is 3"
        if number_at(self.tokens, start):
            return self.units_from(start, head=position)
        self.zero(start)
        reach = 3 if self.text(position - 1) == "的" else 2  # 没有明显的动作单元: "no clear action units"
        before = self.tokens[max(0, position - reach) : position]
        # "no action units", but not "I cannot identify action units"
        just_negated = any(t.kind == "no" and t.text not in ("cannot", "can't", "unable") for t in before)
        if self.negated and just_negated and self.kind(position + 1) not in ("unit", "position"):
            self.segment.no_units = True
        return position + 1

    def zero(self, position: int) -> None:
        """Note that there are no units where their number is zero ("AU0")."""
        is_zero = self.kind(position) == "number" and not self.tokens[position].text.strip("0")
        last = self.kind(position + 1) in ("", "comma", "close") and number_at(self.tokens, position + 2) is None
        if is_zero and last and not self.negated and not self.hedged:
            self.segment.no_units = True

    def units_from(self, position: int, head: int = -9, bare: bool = False) -> int:
        """Read a list of unit numbers, announced by the token at `head`; returns the position behind it."""
        into = self.segment.bare_units if bare else self.segment.units
        before = len(self.pending)
        run = self.explicit
        if head != position - 1 and not bare:
            run = self.loose = []
        # "AUs: 4 7"; but "AU4 3" may be an intensity, and only "AU4 7 9" is a list
        spaced = not bare and (head != position - 1 or self.tokens[head].text != "au")
        while number := number_at(self.tokens, position):
            mention = self.note(number[0], into, position, number[1])
            run.append(mention)
            position = self.gloss(number[1], mention)
            self.number_end = position
            if self.kind(position) == "colon":
                self.pending = self.pending[before:]  # "AU4: yes, AU12: no": the value is of the last alone
                self.keyed = True
            if value := value_at(self.tokens, position):
                if value[0]:
                    mention.status, mention.valued = NEGATED, True
                position = value[1]
                if self.keyed:
                    return position
            if self.kind(position) == "colon":
                return position
            if self.negated and self.kind(position) == "comma" and self.new_clause(position + 1):
                break  # "no AU12, AU4 is present"
            ahead = position
            while self.kind(ahead) in ("join", "comma", "and") or is_hyphen(self.tokens, ahead):
                ahead += 1
            headed = self.kind(ahead) == "aus_head"
            following = number_at(self.tokens, ahead + headed)
            if following is None:
                break
            if ahead == position:
                spaced = spaced or (not bare and number_at(self.tokens, following[1]) is not None)
                if headed or not spaced:
                    break
            behind = following[1] + 2 * is_hyphen(self.tokens, following[1])  # "2-3 px"
            if measured(self.tokens, behind) and not headed and self.kind(position) != "join":
                break
            position = ahead + headed
        return position

    def gloss(self, position: int, mention: Mention) -> int:
        """Skip brackets after a unit. They may say that it is absent; the class `others` in them is not skipped."""
        behind = self.kind(position + 1), self.kind(position + 2)
        if self.kind(position) != "open" or behind[0] == "aus_head" or self.text(position + 1) == "others":
            return position
        if behind == ("dash", "close") or ((value := value_at(self.tokens, position)) and value[0]):
            mention.status, mention.valued = NEGATED, True  # "AU12 (-)", "AU12 (0.12)"
        while position < len(self.tokens) and self.kind(position) != "close":
            if self.kind(position) in ("no", "not_there"):
                mention.status = NEGATED
            position += 1
        return position + 1

    def named(self, position: int) -> None:
        """Note a unit's name, unless it only explains the number beside it."""
        before = position
        while self.kind(before - 1) in ("colon", "dash", "open", "be") or (
            before > 1 and self.text(before - 1) in ("the", "called", "named")
        ):
            before -= 1
        after = position + 1
        while self.kind(after) in ("colon", "dash", "open"):
            after += 1
        number_follows = self.kind(after) == "aus_head" and number_at(self.tokens, after + 1)
        if before != self.number_end and not number_follows:
            self.note(int(self.tokens[position].value or 0), self.segment.units, position, position + 1)
        behind = position + 1
        if self.kind(behind) == "open" and self.kind(behind + 1) == "word" and self.kind(behind + 2) == "close":
            behind += 3  # "lip corner puller (smile): 0"
        if self.pending and not number_follows and (value := value_at(self.tokens, behind)) and value[0]:
            self.pending[-1].status, self.pending[-1].valued = NEGATED, True  # "lip corner puller: 0"
        self.name_end = position + 1

    def position_named(self, position: int) -> None:
        """Note a position of head or eyes; it is a unit only where units are listed."""
        before, joining = position, ("comma", "and", "join", "colon", "dash", "open")
        while self.kind(before - 1) in joining or self.text(before - 1) in words.BEFORE_NUMBERS:
            before -= 1
        listed = self.bare or "aus_head" in self.segment.title if before == 0 else before == self.name_end
        if listed or self.kind(before - 1) == "aus_head":
            self.note(int(self.tokens[position].value or 0), self.segment.units, position, position + 1)
            self.name_end = position + 1

    def label(self, position: int) -> None:
        token = self.tokens[position]
        value, after = str(token.value), self.text(position + 1)
        if token.text == "no" and after in ("of", "other"):
            self.negated = True  # "no expression of fear"
            return
        if value == "others" and not self.stands_alone(position):
            return  # "the other brow"
        before = {word.text for word in self.tokens[max(0, position - 2) : position]}
        if value == "neutral" and ("from" in before or after in ("to", "onset", "state")):
            return  # "from a neutral face to ..."
        if before == {"followed", "by"} and said(self.segment.labels) not in ([], ["neutral"]):
            self.hedged = True  # "disgust, followed by anger"
        mention = self.note(value, self.segment.labels, position, position + 1)
        if after in ("like", "emotions", "feelings", "expressions"):
            self.hedge([mention])  # "contempt-like", "positive emotions show AU12"
        mention.status = self.weak.get(token.start, mention.status)
        if self.kind(position + 1) == "colon":
            self.pending = [mention]  # {"emotion": "fear", "positive": false}

    def stands_alone(self, position: int) -> bool:
        """Whether "others" (or "other") is the class, and not other units, brows or people."""
        texts = self.text(position - 2), self.text(position - 1)
        if self.text(position) == "others":
            in_field = "emotion_head" in self.segment.title and not self.segment.labels
            if in_field and texts[1] not in words.NOT_THE_CLASS:
                return True  # "expression: probably others"
            if texts[0] in words.CLASSING and texts[1] in ("as", "to", "under", "into"):
                return True  # "best classified as others"
            if texts[1] == "probably" or (texts[1] == "most" and self.kind(position - 1) == "resume"):
                return True  # "most likely others"
        before = self.kind(position - 1) if position else "colon"
        before = "be" if texts[1] in ("choose", "select", "pick") else before
        after = self.kind(position + 1)
        if after == "turn" and before in ("comma", "and", "join"):
            return False  # "AU4 and others which are weaker"
        return before in (
            "colon", "be", "comma", "and", "open", "close", "emotion_head", "join", "there", "dash", "therefore",
        ) and after in ("", "comma", "close", "and", "open", "join", "emotion_head", "turn")  # fmt: skip


_HANDLERS = {
    **{"general": _Walk.generalise, "unclear": _Walk.unclear, "none": _Walk.none, "stillness": _Walk.stillness},
    **{"unit": _Walk.named, "label": _Walk.label, "position": _Walk.position_named},
}
