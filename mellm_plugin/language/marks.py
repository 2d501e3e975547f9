"""Mark the segments of an answer: what each one mentions, and what its neighbours change about that.

"Is AU4 there? AU12? Unclear. AU9."  ->  4 negated, 12 negated, 9 affirmed
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from mellm_plugin.facs.labels import coarse
from mellm_plugin.language.mentions import note_mentions
from mellm_plugin.language.segments import AFFIRMED, HEDGED, LISTED, NEGATED, Mention, Segment, said
from mellm_plugin.language.sides import Span, field_side, sides
from mellm_plugin.language.words import Token, Tokens

_SEPARATORS = frozenset({"comma", "join", "and", "newline", "dash", "colon", "open", "close", "number"})
_SHARE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,9})?")


def mark(segments: Sequence[Segment], tokens: Tokens, units_alone: bool) -> None:
    """Fill in the mentions of all segments of an answer, in place; `units_alone` if only units were asked for."""
    weak = _weak_labels(tokens)
    for above, segment in pairwise([None, *segments]):
        assert segment is not None
        note_mentions(segment, weak, units_alone)
        if segment.question:  # a question affirms nothing
            segment.no_units = False
            for mention in (*segment.units, *segment.bare_units, *segment.labels):
                mention.status = HEDGED if mention.status == AFFIRMED else mention.status
        else:
            _note_sides(segment, above)
        if above is not None and any(token.text == "too" for token in segment.tokens):
            for mention in above.general:  # "AU4 is often seen in anger. AU9 is active, too."
                mention.status = AFFIRMED
    _leave_counts_out(segments)
    _leave_unclear_out(segments)
    _note_none(segments)


def _weak_labels(tokens: Tokens) -> dict[int, str]:
    """The status of labels that count less, by where they start: those with nothing but separators between them.

    Negated are those with a lower share than another ("sadness 70%, fear 20%"). Listed are the options: three or more
    different labels without shares.
    """
    shares = _shares(tokens)
    found: dict[int, str] = {}
    run: list[Token] = []
    before = ""
    for token in [*tokens, Token("word", "", None, -1, -1)]:
        numbering = token.kind == "stop" and before == "number"  # "1. anger 2. fear"
        if token.kind == "label":
            run.append(token)
        elif token.text == "→" or (token.kind not in _SEPARATORS and token.text != "%" and not numbering):
            rated = sorted(
                (shares[label.start], str(label.value), label.start) for label in run if label.start in shares
            )
            for share, label, start in rated:
                if share < rated[-1][0] and coarse(label) != rated[-1][1]:
                    found[start] = NEGATED
            if not rated and len({label.value for label in run}) >= 3:
                found.update({label.start: LISTED for label in run})
            run = []
        before = token.kind
    return found


def _shares(tokens: Tokens) -> dict[int, float]:
    """The shares of labels ("fear 70%", "fear: 0.7") in percent, by where the label starts."""
    found: dict[int, float] = {}
    for position, token in enumerate(tokens):
        if token.kind != "label":
            continue
        after = position + 1 + (tokens.kind(position + 1) in ("colon", "open", "dash"))
        number, sign = tokens.text(after), tokens.text(after + 1)
        if not _SHARE.fullmatch(number) and position > 1 and tokens.text(position - 1) == "%":
            number, sign = tokens.text(position - 2), "%"  # "80% anger and 20% disgust"
        if _SHARE.fullmatch(number) and (sign == "%" or number.startswith("0.")):
            found[token.start] = float(number) * (1 if sign == "%" else 100)
    return found


def _note_sides(segment: Segment, above: Segment | None) -> None:
    """Note the sides of a segment's units, or the one that it gives to the last unit of the segment above."""
    mentions = sorted((*segment.units, *segment.bare_units), key=lambda mention: mention.start)
    if mentions:
        spans = [Span(int(mention.value), mention.start, mention.end) for mention in mentions]
        for mention, side in zip(mentions, sides(segment.tokens, spans, segment.title), strict=True):
            mention.side = side
    elif above is not None and (side := field_side(segment.tokens)) is not None:
        for mention in above.units[-1:]:
            mention.side = mention.side or side


def _leave_counts_out(segments: Sequence[Segment]) -> None:
    """Deny a lone number in its own field that is the number of units named next ("Action units: 2. AU1, AU4")."""
    count: Mention | None = None
    named: set[int | str] = set()
    for segment in [*segments, Segment(Tokens(), frozenset(), -1)]:
        if count is not None and (segment.lone is not None or not segment.units):
            if count.value == len(named):
                count.status = NEGATED
            count = None
        if segment.lone is not None:
            count, named = segment.lone, set()
        elif count is not None:
            named.update(said(segment.units))


def _leave_unclear_out(segments: Sequence[Segment]) -> None:
    """Deny what was asked before a sentence that says that it cannot be told: "AU4? AU7? Unclear."."""
    units = labels = False
    for segment in reversed(segments):
        if segment.unclear:
            kinds = segment.title | {token.kind for token in segment.tokens}
            units |= "aus_head" in kinds or "emotion_head" not in kinds
            labels |= "emotion_head" in kinds or "aus_head" not in kinds
        if segment.question:
            denied = (*segment.units, *segment.bare_units) if units else ()
            for mention in (*denied, *(segment.labels if labels else ())):
                mention.status = NEGATED


def _note_none(segments: Sequence[Segment]) -> None:
    """Note that there are no units where "none" alone precedes the expression ("Conclusion: none; expression:
    others")."""
    for segment, following in pairwise(segments):
        alone = [token.kind for token in segment.tokens if token.kind != "comma"] == ["none"]
        if alone and not segment.title - {"conclusion", "final"} and "emotion_head" in following.title:
            segment.no_units = True
