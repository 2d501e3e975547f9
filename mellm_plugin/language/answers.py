"""Free text of any model -> what it says: action units, the fine label, the coarse class.

    read("Conclusion: action units AU4+AU7; expression: disgust.", LABELS["casme2"])
      -> Answer(aus=(4, 7), label="disgust", coarse="negative", unparsed=None, sides=())

The steps: `plain_text` cleans the text, `words` cuts it into tokens, `segments` into sentences, lines and fields;
`mentions` and `marks` find the units and labels in each segment; `decision` chooses among them. The rules, in the order
in which they decide:

1.  Thinking (`language.thinking`) is not part of the answer, nor are the turns of a chat that the model repeats or
    invents, nor crossed-out text ("~~AU12~~").
2.  If there is a conclusion ("Final answer", "Conclusion", "Answer", a boxed answer), it alone is read, separately for
    each of the two parts (units, expression) that it mentions. A final answer overrides a conclusion, and a correction
    ("Actually no, ...") overrides both. A conclusion ends at the next heading, or at the line in which both parts have
    been given.
3.  Elsewhere a named field ("Expression: fear", "AUs: 4, 7") overrides prose. In prose the last sentence that concludes
    ("therefore ...") decides, then the last one that mentions an expression or emotion, then everything that is
    affirmed. If coarse and fine have fields of their own, the field of the kind that was asked for decides.
4.  The following do not count: what is negated ("no AU12", "AU6 is absent", "AU6: no", "Inactive AUs: 6", "not surprise
    but fear"), has the lower share ("fear 70%, anger 20%") or a value below one half ("AU4: 0.2", "AU12 (3%)"), or is
    rejected ("considered, but ruled out"). What is hedged ("could be AU4", a secondary emotion), said in general
    ("positive emotions usually show AU12") or asked ("AU4?") counts only if nothing is affirmed. What is asked and then
    left open ("AU4? Unclear.") never counts. Three or more labels in a row are the prompt's options, "I'm happy to
    help" is a courtesy, and "no surprise that" is a phrase; none of them is an answer.
5.  Two different labels are no label, whether they were asked for or not; `unparsed` says so. A fine label with the
    name of a coarse class around it ("negative (disgust)") is one label. A neutral face, if neutral was not asked for,
    is the face before the movement.
6.  A unit is read from its number (after "AU", "action units", in a table's column of units...) or from its name in
    FACS or in the ME-VQA challenges. A name beside a number is its gloss; a description ("皱眉", "brows drawn down") is
    not a unit. Positions of head and eyes, and a few units, have everyday names ("eyes left", "wink"), which are read
    only where units are listed. Numbers without "AU" are units if the text says that they are active ("L10 and 4 are
    activated"). Numbers that the table of `facs.units` lacks are not units ("AU99"). `language.tables` first turns
    tables, columns of tools, JSON, vectors and boxes into words.
    "Action units: none", "AU0", "no action units" and "no movement" are read as no units, `()`; so are "none" alone
    before the field of the expression ("Conclusion: none; expression: others") and a list of values that denies all
    of its units ("AU4: 0, AU12: 0"). A count is not a unit ("Number of action units: 3", "action units: 2. AU1, AU4"),
    nor is a lone number after a unit ("AU4 3": an intensity). "AUs 6-12" may be a list or a range; in both cases both
    ends are read.
7.  If units alone were asked for, "none" and bare numbers ("4, 7") refer to them.
8.  `language.sides` reads the side of a unit where the unit is read; if no side is given there, where the unit was
    affirmed earlier.

Chinese follows the same rules. Its full-width comma ends a negation; its list comma does not. The text is cut into
words once and walked a fixed number of times, so the work is linear in its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mellm_plugin.language.decision import decide
from mellm_plugin.language.marks import mark
from mellm_plugin.language.plain_text import plain_text
from mellm_plugin.language.probabilities import apart, heads_apart
from mellm_plugin.language.segments import segments
from mellm_plugin.language.words import PUNCTUATION, tokenised, vocabulary_of


@dataclass(frozen=True)
class Answer:
    """What an answer says.

    `unparsed` is why it cannot be read: nothing at all was read; an expression was asked for and the answer gives units
    only; or the expressions it names are no answer (two of them, only the options, only negated, none of the labels).
    The sides are `L` or `R`, the subject's own left or right; `B`, both sides; `A`, both, one stronger.
    """

    aus: tuple[int, ...] | None  # FACS numbers that it affirms, ascending; `()`: it says none; None: nothing readable
    label: str | None  # one of the labels that were asked for
    coarse: str | None  # the coarse class of `label` if it has one, else the class that the text names
    unparsed: str | None
    sides: tuple[tuple[int, str], ...] = ()  # units and their sides, ascending, without the units that have no side


def read(text: str, labels: Sequence[str], asks: str = "all") -> Answer:
    """Read an answer. Never raises on any text, and never reads a unit whose number or name is absent from it.

    Args:
        labels: the canonical labels that were asked for, fine ones or the coarse classes. If they are coarse classes,
            a fine label counts as its class.
        asks: `aus` if units alone were asked for; then "none" and bare numbers refer to them.
    """
    text, _ = apart(heads_apart(text)[0])
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
