"""What the words around a position deny: "AU4 is not seen", "considered, but rejected", `"absent": ["AU12"]`."""

from __future__ import annotations

from mellm_plugin.language.words import ADVERSATIVE, GRADES, PLACES, Tokens

DENIALS = frozenset({"no", "not_there"})
"""Kinds of words that deny."""


def is_denied_behind(tokens: Tokens, position: int) -> bool:
    """Whether what stands in front of a verb or "but" is denied behind it: "is not seen", "but rejected"."""
    for ahead in range(position + 1, min(position + 8, len(tokens))):
        kind = tokens.kind(ahead)
        if kind == "unclear":
            return ahead - position <= 3
        if kind in DENIALS:
            far = ahead - position > 3 or tokens.kind(position) == "turn"
            return not far or kind == "not_there" or tokens.kind(ahead + 1) in ("there", "occur")
        if tokens.text(ahead) in ("it", "they") and tokens.kind(ahead + 1) == "be":
            continue  # "suspected, but on inspection it is absent"
        if kind in ("comma", "aus_head", "unit", "label", "number", "there", "occur", "resume"):
            return False
    return False


def is_rejected(tokens: Tokens, position: int) -> bool:
    """Whether "but" stands here, and behind it that what is in front is denied: "considered, but rejected"."""
    return tokens.text(position) in ADVERSATIVE and is_denied_behind(tokens, position)


def is_of_place(tokens: Tokens, position: int) -> bool:
    """Whether it is a part of the face, and no unit, that does not move: "lids unchanged"."""
    before = tokens[max(0, position - 2) : position]
    return any(token.kind == "word" and token.text in PLACES - GRADES for token in before)


def is_field(tokens: Tokens, position: int) -> bool:
    """Whether a word is the title of the units behind it: `"absent": ["AU12"]`."""
    return (
        tokens.kind(position + 1) == "colon"
        and (tokens.kind(position), tokens.kind(position + 2)) not in (("there", "number"), ("no", "number"))
        and tokens.kind(position + 2) in ("aus_head", "unit", "number")
        and tokens.kind(position - 1) in ("", "comma", "no")
    )
