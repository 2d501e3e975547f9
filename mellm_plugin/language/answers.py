"""Free text of any model -> what it says: action units, the fine label, the coarse class.

    read("Conclusion: action units AU4+AU7; expression: disgust.", LABELS["casme2"])
      -> Answer(aus=(4, 7), label="disgust", coarse="negative", unparsed=None, sides=())

The rules, in the order in which they decide:

1.  Thinking (`language.thinking`) is not part of the answer, nor are the turns of a chat that the model goes on with,
    or repeats in front of its own, nor what is crossed out ("~~AU12~~").
2.  Where there is a conclusion ("Final answer", "Conclusion", "Answer", a boxed answer) it alone is read, for each of
    the two parts (units, expression) that it speaks of. A final answer decides over a conclusion, a correction
    ("Actually no, ...") over both. A conclusion ends with the next heading, or with the line in which both parts have
    been said.
3.  Elsewhere a named field ("Expression: fear", "AUs: 4, 7") decides over prose; in prose the last sentence that
    concludes ("therefore ..."), then the last that speaks of an expression or emotion, then all that is affirmed.
    Where coarse and fine have fields of their own, that of the kind that was asked for decides.
4.  What is negated ("no AU12", "AU6 is absent", "AU6: no", "Inactive AUs: 6", "not surprise but fear"), has the lower
    share ("fear 70%, anger 20%") or a value below one half ("AU4: 0.2", "AU12 (3%)"), or is rejected ("considered, but
    ruled out"), does not count. What is hedged ("could be AU4", a secondary emotion), said in general ("positive
    emotions usually show AU12") or asked ("AU4?") counts only where nothing is affirmed; what is asked and then left
    open ("AU4? Unclear.") counts nowhere. Three or more labels in a row are the prompt's options, "I'm happy to help"
    is a courtesy, and "no surprise that" a phrase; none is an answer.
5.  Two different labels are no label, whether both were asked for or not: `unparsed` says so. A fine label with the
    name of a coarse class around it ("negative (disgust)") is one label. A neutral face that was not asked for is the
    one before the movement.
6.  A unit is read from its number (after "AU", "action units", in a table's column of units...) or from its name, that
    of FACS or of the ME-VQA challenges; a name beside a number is its gloss, and a description ("皱眉", "brows drawn
    down") is none. Positions of head and eyes, and a few units, have everyday names ("eyes left", "wink"), read only
    where units are listed. Numbers without "AU" are units where they are said to be active ("L10 and 4 are
    activated"). A number that the table of `facs.units` lacks is none ("AU99"). What tables, tools' columns, JSON,
    vectors and boxes say of units by place is put into words first (`language.tables`).
    "Action units: none", "AU0", "no action units" and "no movement" are read as no units, `()`, and so are "none" alone
    in front of a field of the expression ("Conclusion: none; expression: others") and a list of values that denies all
    of its units ("AU4: 0, AU12: 0"). A count is no unit
    ("Number of action units: 3", "action units: 2. AU1, AU4"), nor is a lone number behind a unit ("AU4 3": an
    intensity). "AUs 6-12" may be a list or a range: of either both ends are read.
7.  Where units alone were asked for, "none" and bare numbers ("4, 7") speak of them.
8.  The side of a unit is read where the unit is, by the rules of `language.sides`; where no side is said there, from
    where the unit was affirmed before that.

Chinese is read by the same rules; its full-width comma ends a negation, the one of lists does not.

The text is cut into words once and walked a fixed number of times, so the work is linear in its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mellm_plugin.language.decision import decide
from mellm_plugin.language.marks import mark
from mellm_plugin.language.plain_text import plain_text
from mellm_plugin.language.segments import segments
from mellm_plugin.language.words import PUNCTUATION, tokenised, vocabulary_of


@dataclass(frozen=True)
class Answer:
    """What an answer says.

    Attributes:
        aus: FACS numbers of the units it affirms, ascending; `()` where it says that there are none, None where it says
            nothing about units that can be read.
        label: the expression, one of the labels that were asked for; None where it cannot be read.
        coarse: the coarse class: that of `label` where it has one, else the class the text names, else None.
        unparsed: why the answer cannot be read: when nothing at all was read, when an expression was asked for and it
            names none beside its units, or when it names expressions and they are no answer (two of them, only the
            options, only negated, none of the labels). Else None.
        sides: by unit the side that is said of it, ascending: `L` or `R`, the subject's own left or right; `B`, both
            sides; `A`, both, one stronger. A unit of which no side is said is not among them.
    """

    aus: tuple[int, ...] | None
    label: str | None
    coarse: str | None
    unparsed: str | None
    sides: tuple[tuple[int, str], ...] = ()


def read(text: str, labels: Sequence[str], asks: str = "all") -> Answer:
    """Read an answer. Never raises on any text, and never reads a unit whose number or name is not in it.

    Args:
        text: the answer as the model gave it.
        labels: the canonical labels that were asked for, fine ones or the coarse classes. Where they are coarse
            classes, a fine label counts as its class.
        asks: `aus` where the units alone were asked for: then "none" and bare numbers speak of them.
    """
    body = plain_text(text)
    if not body.strip():
        return Answer(None, None, None, "empty" if not text.strip() else "nothing but thinking")
    units_alone = asks == "aus"
    tokens = tokenised(body, vocabulary_of(tuple(labels)), PUNCTUATION)
    found = segments(tokens)
    mark(found, tokens, units_alone)
    label, coarse, reason, units = decide(found, labels, units_alone)
    aus = None if units is None else tuple(sorted(units))
    sides = tuple((unit, side) for unit, side in sorted((units or {}).items()) if side is not None)
    return Answer(aus, label, coarse, reason, sides)
