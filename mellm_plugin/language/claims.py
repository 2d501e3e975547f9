"""Free text of any model -> what it claims of the face's movement: which region, on which side, which way.

    claims("The corners of the mouth are pulled upward and outward; the left inner brow rises, the lids do not.")
      -> (Claim(region="mouth corners", side=None, motion="up and outwards", text="corners of the mouth ..")
          Claim(region="inner brows", side="left", motion="up", text="left inner brow rises"))

The rules:

-   A claim is a region and a movement that a sentence affirms of it, in English or Chinese. Thinking, and turns of a
    chat that the model invents, are no part of the answer (`language.plain_text`).
-   A movement belongs to the region named before it ("the brows are lowered and drawn together"), or to the one that
    follows where the words lead there ("raised inner brows", "lowering of the brow"). "They", a colon and a heading
    stand for the region before them. What follows "towards", "by", "above" is a place.
-   What is negated ("do not part", "no raising of the brows", "is absent"), hedged ("may", "typically"), asked, or only
    stays as it is, is no claim. Nor is a legend of colours: it names no region.
-   The name of a unit ("AU12, lip corner puller", "AU25 (lips part)") says which unit it is, not what was seen.
-   "Left" and "right" are the image's; those of the person ("his left", "the subject's left") are swapped. Where a text
    does not say whose they are, the claim is not `certain`. A side that is compared ("more than the left") is none.
-   What emotions look like in general ("fear involves ..", "in anger, ..") is not said of this face, nor what a unit
    does that is denied ("no AU12, which raises ..", "AU15, lowering .., is absent"). What is said of the onset frame
    ("in the first image", "in both frames") is no movement towards the apex.
-   Words of the trade and of every day are read alike: eyes that close are upper lids that move down, a wrinkled nose
    is sides of the nose that move up, knitted brows are brows that move inwards.
-   Up and down of one region in one sentence ("down, then up") are no single direction, and no claim.

The text is cut into words once and walked once, so the work is linear in its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from mellm_plugin.facs.units import OTHER_NAMES, UNITS
from mellm_plugin.language.plain_text import plain_text


@dataclass(frozen=True)
class Claim:
    """One movement that a text affirms.

    Attributes:
        region: a name of the table in `facs.units`, or `"upper lip"`, `"lower lip"`, `"chin"`.
        side: `"left"` or `"right"` of the image; None where both sides, or none, are named.
        motion: `"up"`, `"down"`, `"inwards"`, `"outwards"`, `"left"`, `"right"`, or one of the first two and one
            of the others (`"up and outwards"`), or, of the lips, `"apart"` or `"together"`.
        text: the words it was read from, in lower case and without markup.
        certain: False where the text does not say whose side it is ("the left brow"): taken as the image's, it may
            be the person's. True without a side.
    """

    region: str
    side: str | None
    motion: str
    text: str
    certain: bool = True


def claims(text: str) -> tuple[Claim, ...]:
    """What a text affirms of the movement of the face, in its order, each claim once. Never raises on any text.

    Args:
        text: the answer as a model gave it.
    """
    body = plain_text(text)
    found: dict[tuple[str, str | None, str], Claim] = {}
    for mention in _mentions(_tokens(body)):
        half, certain = mention.side or (None, True)
        for region, motion in _resolved(mention):
            words = " ".join(body[mention.start : mention.end].split())
            first = found.setdefault((region, half, motion), Claim(region, half, motion, words, certain))
            if certain and not first.certain:
                found[region, half, motion] = replace(first, certain=True)
    return tuple(found.values())


# ---- words ----------------------------------------------------------------------------------------------------------

_REGIONS: dict[str, str] = {
    "brows": "brow, brows, brow's, eyebrow, eyebrows, eyebrow's, eye brow, eye brows, glabella, 眉毛, 双眉, 眉, 眉部",
    "inner brows": "眉毛内侧, 眉内侧, 眉头, 内眉, 内侧眉毛, 内侧眉, 眉毛内端, 眉心",
    "outer brows": "眉毛外侧, 眉外侧, 眉尾, 眉梢, 外眉, 外侧眉毛, 外侧眉, 眉毛外端, 眉毛尾部",
    "lids": "lid, lids, eyelid, eyelids, eye lid, eye lids, 眼睑, 眼皮, 眼瞼",
    "upper lids": "上眼睑, 上眼皮, 上睑, 上眼瞼",
    "lower lids": "下眼睑, 下眼皮, 下睑, 下眼瞼",
    "eyes": "eye, eyes, eye's, 眼睛, 双眼, 眼",
    "cheeks": "cheek, cheeks, cheekbone, cheekbones, 脸颊, 面颊, 颧骨, 颧部, 苹果肌, 脸蛋, 臉頰",
    "sides of the nose": "side of the nose, sides of the nose, sides of nose, side of nose, sides of his nose, "
    "sides of her nose, sides of their nose, nose side, nose sides, nasal sidewall, nasal sidewalls, 鼻子两侧, "
    "鼻翼两侧, 鼻梁两侧, 鼻侧, 鼻子侧面",
    "nose": "nose, nasal bridge, nose bridge, bridge of the nose, root of the nose, nasal root, 鼻子, 鼻, 鼻梁, 鼻根",
    "nose wings": "nostril, nostrils, nose wing, nose wings, nasal wing, nasal wings, nasal ala, nasal alae, "
    "wings of the nose, wing of the nose, alae of the nose, 鼻翼, 鼻孔",
    "lips": "lip, lips, 嘴唇, 双唇, 唇, 唇部",
    "upper lip": "上唇, 上嘴唇",
    "lower lip": "下唇, 下嘴唇",
    "mouth": "mouth, mouth's, 嘴巴, 嘴, 嘴部, 口, 口部",
    "mouth corners": "lip corner, lip corners, mouth corner, mouth corners, corner of the mouth, "
    "corners of the mouth, corner of the lips, corners of the lips, corner of mouth, corners of mouth, "
    "corners of his mouth, corner of his mouth, corners of her mouth, corner of her mouth, corners of their mouth, "
    "corner of their mouth, corner of the lip, corners of lips, corners of his lips, corners of her lips, "
    "oral commissure, oral commissures, lip edges, mouth edges, 嘴角, 口角, 唇角",
    "chin": "chin, chin boss, chin's, 下巴, 颏部, 颏",
    "jaw": "jaw, mandible, lower jaw, 下颌, 下颚, 下頜",
    "chin and lower lip": "chin and lower lip",
}
"""Words for regions; `lids`, `eyes`, `nose`, `mouth` and `jaw` are regions only together with a movement."""

_OTHER = (
    "head, heads, neck, gaze, eyeball, eyeballs, pupil, pupils, iris, irises, nasolabial, tongue, teeth, "
    "hair, shoulder, shoulders, body, camera, lighting, crow's feet, corners of the eyes, corner of the eye, "
    "corner of the eyes, eye corner, eye corners, eyelashes, throat, face, head's, 头, 头部, 前额, "
    "脖子, 目光, 视线, 眼角, 法令纹, 面部, 脸部"
)
"""What else may move: what is said of these is said of none of the regions."""

_MOTIONS: dict[str, str] = {
    "up": "↑, raise, raises, raised, raising, lift, lifts, lifted, lifting, elevate, elevates, elevated, elevating, "
    "elevation, rise, rises, rising, risen, rose, ascend, ascends, ascending, up, upward, upwards, upturned, upturn, "
    "higher, hoisted, uplifted, superiorly, upraised, 上扬, 上提, 上抬, 抬起, 抬高, 提升, 上移, 向上, 往上, 朝上, "
    "上升, 扬起, 上翘, 提起, 翘起, 上挑, 上拉, 上推, 上揚",
    "down": "dip, dips, dipped, dipping, ↓, lowers, lowered, lowering, drop, drops, dropped, dropping, depress, "
    "depresses, depressed, depressing, fall, falls, falling, fallen, sink, sinks, sinking, sunk, descend, descends, "
    "descending, descent, droop, droops, drooping, drooped, sag, sags, sagging, down, downward, downwards, "
    "downturned, inferiorly, depression, 下压, 下拉, 下降, 压低, 下移, 向下, 往下, 朝下, 下垂, 降低, 下撇, 下沉, "
    "下弯, 下壓",
    "inwards": "converge, converges, converging, inward, inwards, medially, medial direction, closer, knit, knits, "
    "knitted, knitting, 内收, 向内, 往内, 内移, 聚拢, 紧锁, 靠近, 向中间",
    "outwards": "outward, outwards, laterally, sideways, sidewards, sideward, 向外, 外扩, 往外, 外拉, 外展, 向两侧, "
    "向两边, 外移",
    "left": "leftward, leftwards, 向左, 往左",
    "right": "rightward, rightwards, 向右, 往右",
    "apart": "apart, parted, parting, separate, separates, separated, separating, separation, 分开, 微张",
    "part": "part, parts",
    "together": "together, towards each other, toward each other, towards one another, toward one another, "
    "to each other, 靠拢, 靠在一起",
    "open": "open, 张开",
    "opened": "opens, opened, opening, fall open, falls open, fell open, drop open, drops open, 睁开",
    "widen": "widen, widens, widened, widening, wide open, open wide, open wider, opened wide, flare, flares, "
    "flared, flaring, dilate, dilates, dilated, dilating, dilation, 睁大, 扩张, 张大",
    "close": "close, closes, closed, closing, closure, shut, shuts, shutting, 闭上, 闭合, 合上",
    "press": "press, presses, pressed, pressing, compress, compresses, compressed, compressing, compression, 抿紧, "
    "抿, 紧抿, 紧闭, 紧压, 压紧",
    "tighten": "tighten, tightens, tightened, tightening, tighter, tense, tenses, tensed, tensing, narrow, narrows, "
    "narrowed, narrowing, squint, squints, squinted, squinting, constrict, constricts, constricted, 收紧, 绷紧, 眯起",
    "stretch": "stretch, stretches, stretched, stretching, 拉伸, 拉长, 伸展",
    "wrinkle": "wrinkle, wrinkles, wrinkled, wrinkling, scrunch, scrunches, scrunched, scrunching, crinkle, "
    "crinkles, crinkled, crinkling, 皱起, 皱, 起皱",
    "purse": "purse, purses, pursed, pursing, pucker, puckers, puckered, puckering, suck in, sucked in, rolled in, "
    "噘起, 缩拢",
    "funnel": "funnel, funnels, funneled, funnelled, jut, juts, jutting, protrude, protrudes, protruded, protruding",
    "arch": "arch, arches, arched, arching",
    "curl": "curl, curls, curled, curling",
    "furrow": "furrow, furrows, furrowed, furrowing, contract, contracts, contracted, pinch, pinches, pinched, 皱紧, "
    "蹙起",
    "dimple": "dimple, dimples, dimpled, dimpling",
    "bunch": "bunch, bunches, bunched, bunching",
}
"""Words for movements, by what they mean of a region (`_MEANINGS`)."""

_NOUNS = frozenset(
    re.findall(
        "[a-z]+",
        "raising lifting elevating elevation rising lift raise rise drop lowering dropping depressing depression "
        "descent "
        "parting separation separating opening widening closing closure pressing compressing compression tightening "
        "narrowing stretching stretch wrinkling wrinkles wrinkle upturn downturn pursing puckering flaring dilation "
        "dimpling dimples furrowing "
        "bunching arching curling knitting upward upwards downward downwards inward inwards outward outwards",
    )
)
"""Movements that may lead to their region by "of", "in", "at"."""

_BROWS = ("brows", "inner brows", "outer brows")
_LIDS = ("lids", "upper lids", "eyes")
_LIPS = ("lips", "mouth", "upper lip", "lower lip")


def _meanings() -> dict[tuple[str, str], tuple[str, str]]:
    """What a movement of a region is in the terms of the table: (word for the region, movement) -> (region, "
    "motion)."""
    plain = [name for name in _REGIONS if name not in ("lids", "eyes", "nose", "mouth", "jaw")]
    found = {
        (name, way): (name, way) for name in plain for way in ("up", "down", "inwards", "outwards", "left", "right")
    }
    found |= {("lids", way): ("upper lids", way) for way in ("up", "down")}
    found |= {("lids", "tighten"): ("lower lids", "up"), ("lower lids", "tighten"): ("lower lids", "up")}
    found |= {("eyes", "tighten"): ("lower lids", "up")}
    found |= {("jaw", way): ("chin and lower lip", way) for way in ("up", "down", "left", "right")}
    found |= {("jaw", way): ("chin and lower lip", "down") for way in ("open", "opened")}
    found |= {("mouth", way): ("mouth corners", way) for way in ("up", "down", "outwards", "inwards")}
    found |= {("mouth", way): ("lips", way) for way in ("left", "right")}
    found |= {(name, way): (name, "inwards") for name in _BROWS for way in ("together", "furrow", "tighten", "wrinkle")}
    found |= {(name, "apart"): (name, "outwards") for name in (*_BROWS, "mouth corners")}
    found |= {(name, "arch"): (name, "up") for name in _BROWS}
    found |= {(name, way): ("upper lids", "up") for name in _LIDS for way in ("apart", "opened", "widen")}
    found |= {(name, way): ("upper lids", "down") for name in _LIDS for way in ("together", "close")}
    found |= {(name, way): ("lips", "apart") for name in _LIPS for way in ("apart", "part", "open", "opened")}
    found |= {(name, way): ("lips", "together") for name in _LIPS for way in ("together", "press")}
    found |= {(name, way): ("lips", "inwards") for name in _LIPS for way in ("tighten", "purse")}
    found |= {(name, "funnel"): ("lips", "outwards") for name in _LIPS}
    found |= {
        (name, way): ("mouth corners", "outwards")
        for name in (*_LIPS[:2], "mouth corners")
        for way in ("stretch", "widen")
    }
    found |= {("mouth corners", way): ("mouth corners", "inwards") for way in ("tighten", "dimple", "together")}
    found |= {
        (name, way): ("sides of the nose", "up") for name in ("nose", "sides of the nose") for way in ("wrinkle", "up")
    }
    found |= {("nose wings", way): ("nose wings", "outwards") for way in ("widen", "apart", "opened")}
    found |= {("nose wings", way): ("nose wings", "inwards") for way in ("tighten", "press", "together", "close")}
    found |= {("chin", way): ("chin", "up") for way in ("bunch", "wrinkle")}
    found |= {("upper lip", "curl"): ("upper lip", "up")}
    return found


_MEANINGS = _meanings()

_IDIOMS: dict[str, tuple[str, str]] = {
    "皱眉": ("brows", "furrow"),
    "皱着眉": ("brows", "furrow"),
    "皱鼻": ("nose", "wrinkle"),
    "抬眉": ("brows", "up"),
    "扬眉": ("brows", "up"),
    "挑眉": ("brows", "up"),
    "抿嘴": ("mouth", "press"),
    "张嘴": ("mouth", "open"),
    "张口": ("mouth", "open"),
    "闭眼": ("eyes", "close"),
    "闭上眼睛": ("eyes", "close"),
    "睁大眼睛": ("eyes", "widen"),
    "瞪眼": ("eyes", "widen"),
    "眯眼": ("eyes", "tighten"),
    "嘟嘴": ("mouth", "purse"),
    "噘嘴": ("mouth", "purse"),
    "wide eyed": ("eyes", "widen"),
}
"""Words that are region and movement at once."""

_PHRASES: dict[str, str] = {
    "no": "no, not, without, neither, nor, never, cannot, can't, isn't, aren't, wasn't, weren't, doesn't, don't, "
    "didn't, hardly, scarcely, barely any, rather than, instead of, lack of, lacks, absence of, remain, remains, "
    "remained, remaining, stay, stays, stayed, keeps, keep, fail to, fails to, none of, nothing, lacking, "
    "free of, unlike, "
    "没有, 没, 未, 未见, 无, 不, 并未, 并没有, 并非, 沒有, 無, 保持, 不是",
    "not_a_negation": "i would, we would, one would, not only, not just, not merely, no doubt, 不仅, 不但, 不对称",
    "absent": "absent, missing, lacking, undetected, ruled out, excluded, unchanged, rejected, discarded, "
    "dismissed, not confirmed, not supported, 缺失, 不明显, 被排除, 被否定",
    "there": "present, visible, seen, observed, detected, evident, apparent, noticeable, discernible, found, 可见, "
    "明显",
    "hedge": "could, might, may, maybe, possibly, perhaps, potentially, would, should, if, whether, typically, "
    "usually, often, normally, generally, in general, as a rule, frequently, tend to, tends to, in theory, unclear, "
    "expected, possible, e g, commonly, unless, 可能, 也许, 或许, 如果, 通常, 一般, 往往, 会",
    "turn": "but, however, instead, although, though, while, whereas, yet, because, since, then, 但, 但是, 而是, "
    "然而, 不过, 而, 因为",
    "and": "and, as well as, plus, 和, 与, 與, 及, 以及, 并, 且, 并且",
    "or": "or, 或, 或者",
    "be": "is, are, was, were, be, being, been, 是, 被",
    "own": "his, her, their, my, your, subject's, person's, participant's, individual's, woman's, man's, own, "
    "anatomical, anatomic, he, she, 他的, 她的, 本人, 被试, 受试者",
    "image": "image's, image, viewer's, picture's, frame's, observer's, map's, 图像, 画面, 图中, 图片",
    "side_noun": "side, sides, half, hand, handed, sided",
    "toward": "toward, towards, to, into, by, from, against, below, beneath, above, under, over, than",
    "inside": "of, in, at, on, around, along, across, near",
    "move": "move, moves, moved, moving, movement, movements, motion, motions, pull, pulls, pulled, pulling, drawn, "
    "draw, draws, drew, drawing, push, pushes, pushed, pushing, shift, shifts, shifted, shifting, displacement, "
    "displacements, displaced, displace, displaces, tug, tugs, tugged, turn, turns, turned, turning, curve, curves, "
    "curved, curving, travel, travels, slide, slides, goes, going, drift, drifts, activity, action, shows, show, "
    "affect, affects, involve, involves, form, forms, appear, appears, occur, occurs, develop, develops, direction, "
    "运动, 移动, 动作, 拉, 移",
    "pronoun": "they, it, these, both, this, all, 它们, 它",
    "determiner": "the, a, an, its, those, each, slight, slightly, subtle, subtly, clear, clearly, gentle, gently, "
    "faint, faintly, strong, strongly, small, minor, mild, mildly, weak, weakly, marked, noticeably, distinct, "
    "distinctly, very, quite, somewhat, more, also, entire, whole, two, skin, area, areas, region, regions, portion, "
    "portions, end, ends, third, thirds, section, sections, edge, edges, tip, tips, muscle, muscles, bilateral, s, "
    "asymmetric, unilateral, corner, corners, brief, 的, 侧, 边, 部, 部分, 双, 两, 两侧, 轻微, 略, 略微, 微, 微微, "
    "轻轻, 稍, 稍微, 同时, 区域, 皮肤, 地",
    "inner": "inner, medial, interior, innermost, 内侧, 内端",
    "outer": "outer, lateral, exterior, outermost, tail, tails, tail of, tails of, 外侧, 外端",
    "upper": "upper, top",
    "lower": "lower, bottom",
    "inner outer": "inner and outer, inner or outer, outer and inner",
    "upper lower": "upper and lower, lower and upper, both upper and lower",
    "middle": "midline, middle, centre, center, midpoint, 中间, 中线, 中央",
    "ears": "ears, ear, temples, temple, outside, 耳朵",
    "hairline": "forehead, hairline, 额头",
    "at_first": "in the onset frame, in the onset image, in the onset, at the onset, at onset, in the first frame, "
    "in the first image, initially, at first, in the neutral frame, in both frames, in both images, "
    "the onset frame shows, the onset shows, the first frame shows, the first image shows, 起始帧中, 在起始帧",
    "at_apex": "in the apex frame, in the apex image, in the apex, at the apex, at apex, in the second frame, "
    "in the second image, the apex frame shows, the apex shows, the second frame shows, the second image shows, "
    "顶点帧中, 在顶点帧",
    "in_which": "in which, where",
    "emotion": "happiness, joy, sadness, fear, anger, disgust, surprise, contempt, smiles, genuine smile, true smile, "
    "real smile, duchenne smile, typical smile",
    "au": "au, aus, action unit, action units, 动作单元",
}
"""What other words do, by kind."""

_NAMES = (
    "lips part",
    "jaw drop",
    "eyes closed",
    "mouth stretch",
    "lip suck",
    "lip pucker",
    "head up",
    "nostril compress",
    "lips toward each other",
)
"""Names of units that are descriptions, too: names only behind a unit's number."""

_EVERYDAY = {"slit", "squint", "wink"}
"""Names of units that are everyday words: read as such."""

_PUNCTUATION = {
    **dict.fromkeys("\n.;!", "stop"), "?": "question", ",": "comma", "\ue000": "clause", "-": "dash", "•": "dash",
    **dict.fromkeys(":=→", "colon"), "(": "open_", ")": "close_", "/": "join", "+": "join", "&": "join",
}  # fmt: skip

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]+(?:\.[0-9]+)*|\n|[^\s]")
_GRADED: dict[tuple[str, str], str] = {
    ("inner", "brows"): "inner brows",
    ("outer", "brows"): "outer brows",
    ("upper", "lids"): "upper lids",
    ("lower", "lids"): "lower lids",
    ("upper", "lips"): "upper lip",
    ("lower", "lips"): "lower lip",
}
_SKIPPED = frozenset(
    {
        "determiner",
        "side",
        "own",
        "image",
        "side_noun",
        "inner",
        "outer",
        "upper",
        "lower",
        "inside",
        "inner outer",
        "upper lower",
        "there",
    }
)
"""Words between a region and what qualifies it."""

_REACH = 9  # words that are looked ahead


class _Token(NamedTuple):
    kind: str
    value: str
    text: str
    start: int
    end: int


@lru_cache(maxsize=1)
def _vocabulary() -> dict[str, list[tuple[tuple[str, ...], str, str]]]:
    """First word -> (all words, kind, value), the longest phrases first."""
    found: dict[tuple[str, ...], tuple[str, str]] = {}

    def add(phrases: str, kind: str, value: str) -> None:
        found.update({tuple(_WORD.findall(phrase)): (kind, value) for phrase in phrases.split(", ") if phrase})

    for kind, phrases in _PHRASES.items():
        add(phrases, kind, kind)
    add(_OTHER, "other", "other")
    for side, phrases in {"left": "left, 左, 左侧, 左边", "right": "right, 右, 右侧, 右边"}.items():
        add(phrases, "side", side)
    for way, phrases in _MOTIONS.items():
        add(phrases, "motion", way)
    for region, phrases in _REGIONS.items():
        add(phrases, "region", region)
    for idiom in _IDIOMS:
        add(idiom, "idiom", idiom)
    for name in sorted({*(unit.name for unit in UNITS.values()), *OTHER_NAMES} - _EVERYDAY):
        add(f"{name}, {name}s", "name" if name in _NAMES else "unit", name)
    vocabulary: dict[str, list[tuple[tuple[str, ...], str, str]]] = {}
    for words, (kind, value) in sorted(found.items(), key=lambda item: -len(item[0])):
        vocabulary.setdefault(words[0], []).append((words, kind, value))
    return vocabulary


def _tokens(body: str) -> list[_Token]:
    vocabulary = _vocabulary()
    words: list[str] = []
    spans: list[tuple[int, int]] = []
    for match in _WORD.finditer(body):
        start, end = match.span()
        if match[0] == "-" and body[end : end + 1].isalnum() and body[start - 1 : start].isalpha():
            continue  # "up-left", "left-hand"
        words.append(match[0])
        spans.append((start, end))
    tokens: list[_Token] = []
    at = 0
    while at < len(words):
        length, kind, value = 1, _PUNCTUATION.get(words[at], "word"), words[at]
        for phrase, phrase_kind, phrase_value in vocabulary.get(words[at], ()):
            if tuple(words[at : at + len(phrase)]) == phrase:
                length, kind, value = len(phrase), phrase_kind, phrase_value
                break
        before = tokens[-1].kind if tokens else ""
        if kind == "name" and before not in ("au", "unit", "name") and not _behind_a_number(tokens):
            # "the lips part": no name but what its words say
            length, kind, value = 1, *_alone(vocabulary, words[at])
        if value == "part" and (before in _GRADES or words[at + 1 : at + 2] == ["of"]):
            kind = "determiner"  # "the inner part of"
        tokens.append(_Token(kind, value, words[at], spans[at][0], spans[at + length - 1][1]))
        at += length
    return tokens


_GRADES = ("inner", "outer", "upper", "lower", "determiner", "side")


def _alone(vocabulary: dict[str, list[tuple[tuple[str, ...], str, str]]], word: str) -> tuple[str, str]:
    return next(((kind, value) for words, kind, value in vocabulary[word] if len(words) == 1), ("word", word))


def _behind_a_number(tokens: Sequence[_Token]) -> bool:
    """Whether a unit's number stands just before: "AU25 (lips part)", "AU26 is the jaw drop"."""
    for token in reversed(tokens[-4:]):
        if token.value.isdecimal():
            return True
        if token.kind not in ("open_", "colon", "dash", "be", "determiner", "word", "comma"):
            return False
    return False


# ---- sentences: regions, and the movements that are said of them ----------------------------------------------------


class _Side(NamedTuple):
    """A side of the image, and whether the text says that it is the image's or the person's."""

    half: str
    certain: bool


@dataclass
class _Mention:
    """A region that is named, and what is affirmed of it."""

    region: str
    side: _Side | None
    start: int
    end: int
    ways: list[str] = field(default_factory=list)
    led_to: bool = False  # its movement stands before it
    shared: bool = False  # and may be that of the region before it alone: "raised brows and lips pressed"


def _resolved(mention: _Mention) -> Iterator[tuple[str, str]]:
    """The regions and motions of a mention, in the terms of the table."""
    ways: dict[str, list[str]] = {}
    diagonal = {"up", "down"} & {*mention.ways} and {"left", "right"} & {*mention.ways}
    # one side of the mouth that moves up and to the left is its corner
    name = "mouth corners" if mention.region == "mouth" and mention.side and diagonal else mention.region
    for way in mention.ways:
        if meaning := _MEANINGS.get((name, way)):
            ways.setdefault(meaning[0], []).append(meaning[1])
    for region, said in ways.items():
        for pair in (("apart", "together"), ("together", "apart")):
            if pair[0] in said and pair[1] not in said:
                yield region, pair[0]
        upright = {"up", "down"}.intersection(said)
        across = {"inwards", "outwards", "left", "right"}.intersection(said)
        if len(upright) <= 1 and len(across) <= 1 and (upright or across):
            yield region, " and ".join([*upright, *across])


def _mentions(tokens: Sequence[_Token]) -> Iterator[_Mention]:
    """Every region that is named, in order, with what is affirmed of it."""
    sentence: list[_Token] = []
    heading: list[_Mention] = []
    before: list[_Mention] = []
    for token in [*tokens, _Token("stop", ".", ".", -1, -1)]:
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
        walk = _Sentence(sentence, [_Mention(m.region, m.side, m.start, m.end) for m in carried])
        walk.run()
        if token.kind != "question":
            yield from walk.mentions
        if named:
            kinds = {one.kind for one in sentence}
            heading = walk.group if not kinds - _HEADING and token.value == "\n" else []
            before = walk.group
        sentence = []


_BEFORE_SUBJECT = frozenset({"word", "move", "turn", "and", "comma", "at_apex", "emotion"})
_HEADING = _SKIPPED | {"region", "colon", "dash", "and", "join", "comma", "move", "word", "emotion"} - {"inside"}
_ACTIVE = frozenset({"active", "activated", "engaged", "involved", "used"})
_GENERAL = frozenset(
    re.findall("[a-z]+", "characterized characterised involves involve associated defined entails comprises consists")
)
_SPEAKS = frozenset(
    re.findall("[a-z]+", "indicate indicates suggest suggests point points with speak speaks are is they ")
)
_PARTICLE_VERBS = frozenset({"open", "opened", "tighten", "close", "press"})
"""Movements that "up" only strengthens: "opens up"."""
_JOINING = frozenset({"comma", "clause", "and", "or", "join"})
_PARTICLES = frozenset({"up", "down", "apart", "together", "part"})


class _Sentence:
    """Walks one sentence once and notes the regions in it, each with the movements that are affirmed of it."""

    def __init__(self, tokens: Sequence[_Token], carried: list[_Mention]) -> None:
        self.tokens = tokens
        self.mentions: list[_Mention] = [*carried]
        self.group: list[_Mention] = [*carried]  # what a movement is said of
        self.carried = bool(carried)
        self.named_at = -1  # the last token of the last region
        self.leading: dict[int, list[tuple[str, int]]] = {}  # by the region's token: movements that lead to it
        self.grades: list[str] = []
        self.sides: list[_Side] = []
        self.since: int | None = None  # where they begin
        self.where: _Side | None = None  # "on the left, .."
        self.negated = self.hedged = self.spoken = False
        self.clause: list[tuple[_Mention, str]] = []  # what is affirmed in this clause
        self.outer: list[tuple[list[_Mention], bool, bool]] = []  # in brackets: what holds outside
        self.general = self.is_general()
        self.hedged = self.general
        # What is said of the onset frame: "leading" until the apex is named, an "attribute" to the comma, "trailing"
        # to the comma or "and".
        self.onset = ""
        self.relative = False  # in what is said of a unit: "AU12, which pulls the lip corners up, .."
        self.last_or = max((at for at, token in enumerate(tokens) if token.kind == "or"), default=-1)

    def kind(self, at: int) -> str:
        return self.tokens[at].kind if 0 <= at < len(self.tokens) else ""

    @property
    def denied(self) -> bool:
        return self.negated or self.hedged or bool(self.onset)

    def word(self, at: int) -> str:
        return self.tokens[at].value if 0 <= at < len(self.tokens) else ""

    def is_general(self) -> bool:
        """Whether the sentence says what an emotion looks like: "Fear involves ..", "In fear, .."."""
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
        return not here and any(token.text in _GENERAL for token in self.tokens[at + 1 : at + _REACH])

    def run(self) -> None:
        for at, token in enumerate(self.tokens):
            if token.kind == "region":
                self.region(at)
            elif token.kind == "idiom":
                name, way = _IDIOMS[token.value]
                if not self.denied:
                    self.mentions.append(_Mention(name, None, token.start, token.end, [way]))
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
        """Words that affirm and deny, and what parts clauses."""
        kind = self.tokens[at].kind
        if kind == "no":
            denied = self.kind(at + 1) == "there" and self.kind(at + 2) in ("", "comma", "clause", "close_", "turn")
            answer = self.kind(at - 1) == "colon" and self.kind(at + 1) in ("", "comma", "close_")  # "raised? no"
            if (denied or answer) and self.clause:
                self.revoke()
            elif self.relative and (self.kind(at + 1) == "there" or self.word(at + 1) in _ACTIVE):
                self.revoke()  # "AU12, which pulls the lip corners up, is not active"
            else:
                self.negated, self.spoken = True, False
        elif kind == "absent":
            self.revoke()
        elif kind == "hedge":
            self.hedged = True
        elif kind == "turn":
            self.negated = False
            self.hedged = self.general and self.tokens[at].text not in ("but", "however", "yet", "instead")
            self.onset = ""
            behind = [self.kind(ahead) for ahead in range(at + 1, at + 4)]
            if "absent" not in behind or {"region", "motion"} & {*behind[: behind.index("absent")]}:
                self.clause = []  # else "was considered but rejected"
        elif kind == "at_first":
            if self.kind(at - 1) != "toward" and self.word(at - 1) not in ("compared", "relative"):
                adverb = (
                    self.tokens[at].text in ("initially", "at") and self.kind(at + 1) != "comma"
                )  # "initially level, .."
                self.onset = "trailing" if self.group else "attribute" if adverb else "leading"
                self.revoke()
        elif kind == "at_apex":
            self.onset = ""
        elif kind == "in_which":
            if any(self.word(i) in ("onset", "first", "neutral") for i in range(at - 4, at)):
                self.onset = "attribute"
        elif kind == "toward":
            if self.onset == "trailing" and self.word(at) == "toward" and self.tokens[at].text == "to":
                self.onset = ""  # "from closed at onset to parted"
        elif kind == "au":
            self.end_relative()
        elif kind in ("comma", "clause"):
            if self.onset != "leading":
                self.onset = ""
            if self.qualifies_unit(at):
                self.relative, self.clause = True, []
                return  # what the unit does is denied with it
            if not self.relative:
                self.clause = []
            if kind == "clause" or at > self.last_or:
                self.negated = False
            self.grades = []
            self.since = self.since if self.sides else None
        elif kind == "and":
            if self.onset == "trailing":
                self.onset = ""  # "closed at onset and parted at apex"
            following = next((k for k in map(self.kind, range(at + 1, at + _REACH)) if k not in _SKIPPED), "")
            if self.spoken and at > self.last_or and following == "region":
                self.negated = False
        elif kind == "open_":
            self.outer.append((self.group, self.negated, self.hedged))
        elif kind == "close_" and self.outer:
            self.group, self.negated, self.hedged = self.outer.pop()
        elif kind == "move":
            self.spoken = True

    def qualifies_unit(self, at: int) -> bool:
        """Whether a comma stands between a unit and what it does: "AU12, which ..", "AU15, lowering .."."""
        if self.word(at + 1) not in ("which", "that") and not (
            self.kind(at + 1) in ("motion", "move") and self.tokens[at + 1].text.endswith("ing")
        ):
            return False
        back = at - 1
        if self.kind(back) == "close_":
            while back > max(0, at - _REACH) and self.kind(back) != "open_":
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

    # regions

    def is_place(self, at: int) -> bool:
        """Whether a region only says where another one moves to: "towards the nose", "of the face"."""
        back = at - 1
        while back > at - 5 and self.kind(back) in (
            "determiner",
            "side",
            "own",
            "image",
            "upper",
            "lower",
            "side_noun",
        ):
            back -= 1
        return self.kind(back) == "toward" or (self.kind(back) == "inside" and self.kind(at) == "other")

    def region(self, at: int) -> None:
        token = self.tokens[at]
        between = {self.kind(i) for i in range(self.named_at + 1, at)} if self.named_at >= 0 else {""}
        if at not in self.leading and self.is_place(at):
            self.forget()
            return
        side = self.sides[0] if len(set(self.sides)) == 1 else None
        whole = token.value in ("eyes", "mouth", "nose") and "inside" in between and between <= _SKIPPED
        if whole and self.group:  # "the lid of the left eye"
            for mention in self.group:
                mention.side = mention.side or side
            self.sides = []
            return
        if between <= _SKIPPED - {"inside"} and self.group and not self.group[-1].ways and at not in self.leading:
            side = side or self.group[-1].side  # "the left eye's upper lid"
            self.mentions.remove(self.group.pop())
            joined = bool(self.group)
        else:
            joined = bool(self.group) and between <= (_SKIPPED | _JOINING) and bool(between & _JOINING)
            joined = joined and not (self.group[-1].led_to and between & {"comma", "clause"})
        names = [_GRADED[grade, token.value] for grade in self.grades if (grade, token.value) in _GRADED]
        leading = self.leading.pop(at, [])
        if not joined or leading:
            last, self.group = self.group, []
        else:
            last = self.group
        start = min([token.start if self.since is None else self.since, *(start for _, start in leading)])
        for name in names or [token.value]:
            mention = _Mention(
                name, side or self.where, start, token.end, [way for way, _ in leading if way], bool(leading)
            )
            if joined and not leading and last[-1].led_to and between & {"and", "or", "join"}:
                mention.ways, mention.led_to, mention.shared = [*last[-1].ways], True, True
            self.clause += [(mention, way) for way in mention.ways]
            self.group.append(mention)
            self.mentions.append(mention)
        self.named_at = at
        self.forget()

    def forget(self) -> None:
        """Drop the words that qualify the next region."""
        self.grades, self.sides, self.since = [], [], None

    def ahead(self, at: int) -> int | None:
        """The token of the region that the words behind `at` lead to."""
        for i in range(at + 1, min(at + _REACH, len(self.tokens))):
            if self.kind(i) == "region":
                return i
            if self.kind(i) not in _SKIPPED and self.kind(i) not in ("move", "pronoun"):
                return None
        return None

    def is_verb(self, at: int) -> bool:
        """Whether "lower" is what something does, and not which lip or lid it is."""
        after = at + 1
        while self.kind(after) in ("side", "and", "upper", "image"):
            after += 1
        if self.kind(after) == "region" and self.word(after) in ("lids", "lips", "jaw", "eyes", "mouth corners"):
            return False
        if self.kind(at - 1) == "determiner" and self.tokens[at - 1].text.endswith(("ly", "more", "what")):
            return True  # "are slightly lower"
        return self.kind(at - 1) not in ("", "comma", "open_", "upper", "determiner") or self.ahead(at) is not None

    def grade(self, at: int) -> None:
        grades = self.tokens[at].kind.split()
        last = self.group[-1] if self.group else None
        if (
            last
            and last.region == "brows"
            and not last.ways
            and grades[0] in ("inner", "outer")
            and self.ahead(at) is None
        ):
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
            self.sides.append(_Side(value, certain))
            self.since = self.tokens[at].start if self.since is None else self.since
        elif self.outer and not self.only_side(at):
            return  # "(left blue, right pink)"
        elif self.group and not self.carried:
            for mention in self.group:
                mention.side = mention.side or _Side(value, certain)
        elif not self.group:
            self.where = _Side(value, certain)

    def is_compared(self, at: int) -> bool:
        """Whether a side is only compared with the other, in the words up to the next comma."""
        for i in range(at + 1, min(at + _REACH, len(self.tokens))):
            if self.kind(i) == "toward" and self.tokens[i].text == "than":
                return True
            if self.kind(i) in ("comma", "clause"):
                return False
        return False

    def only_side(self, at: int) -> bool:
        first, last = at, at
        while self.kind(first - 1) in _SKIPPED:
            first -= 1
        while self.kind(last + 1) in _SKIPPED:
            last += 1
        return self.kind(first - 1) == "open_" and self.kind(last + 1) in ("close_", "")

    # movements

    def motion(self, at: int) -> None:
        way = "down" if self.kind(at) == "lower" else self.word(at)
        self.spoken = True
        if self.is_figure(at):
            return
        if self.tokens[at].text == "closer" and self.kind(at + 1) == "toward":
            eyes = any(self.word(i) in ("eyes", "lids", "upper lids") for i in range(at + 2, at + 5))
            if eyes and self.group and all(mention.region in _BROWS for mention in self.group):
                self.affirm("down", at)
            return  # "closer to disgust"; of "closer to the midline" the place says the way
        target = None if way == "part" else self.ahead(at)
        if target is not None and self.leads(at, target):
            affirmed = "" if self.denied else way
            self.leading.setdefault(target, []).append((affirmed, self.tokens[at].start))
            return
        self.affirm(way, at)

    def is_figure(self, at: int) -> bool:
        """Whether a word of movement is none here: "opens up", "by up to 2 px", "AU6 and AU12 together indicate"."""
        text, behind = self.tokens[at].text, self.kind(at - 1)
        following = next((token.text for token in self.tokens[at + 1 : at + 2]), "")
        if text == "up":
            limit = following == "to" and self.word(at + 2)[:1].isdecimal()
            return limit or (behind == "motion" and self.word(at - 1) in _PARTICLE_VERBS)
        if text == "together" and self.word(at) == "together":
            set_off = behind == "comma" and self.kind(at + 1) == "comma"
            unit = behind in ("close_", "unit", "au") or self.word(at - 1).isdecimal()
            moved = behind in ("motion", "move") and self.word(at - 1) not in ("up", "down")
            moved = moved or self.word(at - 1) in ("come", "comes", "came", "coming", "brought")
            return set_off or unit or (following in _SPEAKS and not moved)
        return False

    def leads(self, at: int, target: int) -> bool:
        """Whether a movement is that of the region behind it."""
        between = {self.kind(i) for i in range(at + 1, target)}
        text = self.tokens[at].text
        if "inside" in between:  # "lowering of the brows"; "corners turn upward in .." does not lead
            free = not self.group or all(mention.ways for mention in self.group) or "move" in between
            return text in _NOUNS and (free or not text.endswith(("ward", "wards")))
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
            mention.start, mention.end = (
                min(mention.start, self.tokens[at].start),
                max(mention.end, self.tokens[at].end),
            )
            self.clause.append((mention, way))

    def place(self, at: int) -> None:
        """Places that a movement goes to: "towards the midline", "to the ears"."""
        if self.is_place(at):
            self.affirm({"middle": "inwards", "ears": "outwards", "hairline": "up"}[self.kind(at)], at)
        elif self.kind(at) != "middle":
            self.group = []
