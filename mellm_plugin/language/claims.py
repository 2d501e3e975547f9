"""Free text of any model -> what it claims about movements of the face: region, side and direction.

    claims("The corners of the mouth are pulled upward and outward; the left inner brow rises, the lids do not.")
      -> (Claim(region="mouth corners", side=None, motion="up and outwards", text="corners of the mouth ..")
          Claim(region="inner brows", side="left", motion="up", text="left inner brow rises"))

The rules:

-   A claim is a region together with a movement that a sentence affirms, in English or Chinese. Thinking and invented
    turns of a chat are not part of the answer (`language.plain_text`).
-   A movement belongs to the region named before it ("the brows are lowered and drawn together"), or to the next region
    if the words lead there ("raised inner brows", "lowering of the brow"). "They", a colon and a heading stand for the
    region before them. "Towards", "by" and "above" introduce a place.
-   What is negated ("do not part", "no raising of the brows", "is absent"), hedged ("may", "typically"), asked or
    unchanged is no claim. Nor is a legend of colours, which names no region.
-   The name of a unit ("AU12, lip corner puller", "AU25 (lips part)") identifies the unit; it does not report what was
    seen.
-   "Left" and "right" are the image's; the person's ("his left", "the subject's left") are swapped. If the text does
    not say whose they are, the claim is not `certain`. A side in a comparison ("more than the left") does not count.
-   Descriptions of emotions in general ("fear involves ..", "in anger, ..") do not describe this face. Nor do the
    movements of a unit that is denied ("no AU12, which raises ..", "AU15, lowering .., is absent"). Statements about
    the onset frame ("in the first image", "in both frames") are no movement towards the apex.
-   Technical and everyday words are read alike: eyes that close are upper lids that move down, a wrinkled nose is sides
    of the nose that move up, knitted brows are brows that move inwards.
-   "Up" and "down" for one region in one sentence ("down, then up") give no single direction and no claim.

The text is cut into words once and walked once, so the work is linear in its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mellm_plugin.language.claim_sentences import RegionMention, Sentence
from mellm_plugin.language.claim_words import MEANINGS, SKIPPED, tokens
from mellm_plugin.language.plain_text import plain_text
from mellm_plugin.language.words import Token, Tokens, word_set


@dataclass(frozen=True)
class Claim:
    """One movement that a text affirms.

    The motion is `"up"`, `"down"`, `"inwards"`, `"outwards"`, `"left"`, `"right"`, one of the first two and one of the
    others (`"up and outwards"`), or, of the lips, `"apart"` or `"together"`.
    """

    region: str  # a name of the table in `facs.units`, or `"upper lip"`, `"lower lip"`, `"chin"`
    side: str | None  # `"left"` or `"right"` in the image; None if both sides or none are named
    motion: str
    text: str  # the words it was read from, in lower case and without markup
    certain: bool = True  # False if the text does not say whose side it is: read as the image's, perhaps the person's


def claims(text: str) -> tuple[Claim, ...]:
    """The movements that the answer of a model affirms, in its order, each once. Never raises on any text."""
    body = plain_text(text)
    found: dict[tuple[str, str | None, str], Claim] = {}
    for mention in _mentions(tokens(body)):
        half, certain = mention.side or (None, True)
        for region, motion in _resolved(mention):
            words = " ".join(body[mention.start : mention.end].split())
            first = found.setdefault((region, half, motion), Claim(region, half, motion, words, certain))
            if certain and not first.certain:
                found[region, half, motion] = replace(first, certain=True)
    return tuple(found.values())


_BEFORE_SUBJECT = word_set("word number move turn and comma at_apex emotion")
_HEADING = SKIPPED | word_set("region colon dash and join comma move word number emotion")


def _resolved(mention: RegionMention) -> Iterator[tuple[str, str]]:
    """The regions and motions of a mention, in the terms of the table."""
    ways: dict[str, list[str]] = {}
    diagonal = {"up", "down"} & {*mention.ways} and {"left", "right"} & {*mention.ways}
    # one side of the mouth that moves up and to the left is its corner
    name = "mouth corners" if mention.region == "mouth" and mention.side and diagonal else mention.region
    for way in mention.ways:
        if meaning := MEANINGS.get((name, way)):
            ways.setdefault(meaning[0], []).append(meaning[1])
    for region, said in ways.items():
        for pair in (("apart", "together"), ("together", "apart")):
            if pair[0] in said and pair[1] not in said:
                yield region, pair[0]
        upright = {"up", "down"}.intersection(said)
        across = {"inwards", "outwards", "left", "right"}.intersection(said)
        if len(upright) <= 1 and len(across) <= 1 and (upright or across):
            yield region, " and ".join([*upright, *across])


def _mentions(tokens: Tokens) -> Iterator[RegionMention]:
    """Every region that is named, in order, with the movements that are affirmed for it."""
    sentence = Tokens()
    heading: list[RegionMention] = []
    before: list[RegionMention] = []
    for token in [*tokens, Token("stop", ".", None, -1, -1)]:
        if token.kind not in ("stop", "question"):
            sentence.append(token)
            continue
        if not sentence:
            continue
        named = any(one.kind in ("region", "idiom", "other") for one in sentence)
        first = next((one for one in sentence if one.kind not in _BEFORE_SUBJECT), sentence[0])
        field_of = [one.kind for one in sentence[:2]] == ["move", "colon"] and not any(one.ways for one in before)
        pronoun = (first.kind == "pronoun" and first.text not in ("this", "these")) or field_of  # "Movement: up."
        # "this raises the likelihood", "these two together": the observation, not the region
        other = named or first.text in ("this", "these")
        carried = before if pronoun else [] if other else heading
        walk = Sentence(sentence, [RegionMention(m.region, m.side, m.start, m.end) for m in carried])
        walk.run()
        if token.kind != "question":
            yield from walk.mentions
        if named:
            kinds = {one.kind for one in sentence}
            heading = walk.group if not kinds - _HEADING and token.text == "\n" else []
            before = walk.group
        sentence = Tokens()
