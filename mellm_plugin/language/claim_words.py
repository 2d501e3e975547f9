"""The words of claims: regions, movements, and what other words do to them, in English and Chinese.

MEANINGS["lids", "close"]  ->  ("upper lids", "down")
tokens("Knitted brows")    ->  motion "inwards", region "brows"
"""

from __future__ import annotations

from functools import lru_cache

from mellm_plugin.facs.units import OTHER_NAMES, UNITS
from mellm_plugin.language.words import CLAUSE, COMMON, Tokens, Vocabulary, tokenised, vocabulary, word_set
from mellm_plugin.language.words import PUNCTUATION as _MARKS

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
"""Words for regions; `lids`, `eyes`, `nose`, `mouth` and `jaw` become regions only through a movement."""

_OTHER = (
    "head, heads, neck, gaze, eyeball, eyeballs, pupil, pupils, iris, irises, nasolabial, tongue, teeth, "
    "hair, shoulder, shoulders, body, camera, lighting, crow's feet, corners of the eyes, corner of the eye, "
    "corner of the eyes, eye corner, eye corners, eyelashes, throat, face, head's, 头, 头部, 前额, "
    "脖子, 目光, 视线, 眼角, 法令纹, 面部, 脸部"
)
"""Other things that may move; their movements belong to no region."""

_MOTIONS: dict[str, str] = {
    "up": "↑, raise, raises, raised, raising, lift, lifts, lifted, lifting, elevate, elevates, elevated, elevating, "
    "elevation, rise, rises, rising, risen, rose, ascend, ascends, ascending, up, upward, upwards, upturned, upturn, "
    "higher, hoisted, uplifted, superiorly, upraised, 上扬, 上提, 上抬, 抬起, 抬高, 提升, 上移, 向上, 往上, 朝上, "
    "上升, 扬起, 上翘, 提起, 翘起, 上挑, 上拉, 上推, 上揚",
    "down": "dip, dips, dipped, dipping, ↓, lowers, lowered, lowering, drop, drops, dropped, dropping, depress, "
    "depresses, depressed, depressing, fall, falls, falling, fallen, sink, sinks, sinking, sunk, descend, descends, "
    "descending, descent, droop, droops, drooping, drooped, sag, sags, sagging, down, downward, downwards, downturned, "
    "inferiorly, depression, 下压, 下拉, 下降, 压低, 下移, 向下, 往下, 朝下, 下垂, 降低, 下撇, 下沉, 下弯, 下壓",
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
"""Words for movements; `MEANINGS` says what they mean for a region."""

NOUNS = word_set(
    "raising lifting elevating elevation rising lift raise rise drop lowering dropping depressing depression "
    "descent parting separation separating opening widening closing closure pressing compressing compression "
    "tightening narrowing stretching stretch wrinkling wrinkles wrinkle upturn downturn pursing puckering "
    "flaring dilation dimpling dimples furrowing bunching arching curling knitting upward upwards downward "
    "downwards inward inwards outward outwards"
)
"""Movements that may refer to a region after "of", "in" or "at"."""

BROWS = ("brows", "inner brows", "outer brows")

_TERMS = """
brows, inner brows, outer brows: together, furrow, tighten, wrinkle = inwards; apart = outwards; arch = up
lids: up = upper lids up; down = upper lids down
lids, upper lids, eyes: apart, opened, widen = upper lids up; together, close = upper lids down
lids, lower lids, eyes: tighten = lower lids up
jaw: up = chin and lower lip up; down, open, opened = chin and lower lip down
jaw: left = chin and lower lip left; right = chin and lower lip right
nose, sides of the nose: wrinkle, up = sides of the nose up
nose wings: widen, apart, opened = outwards; tighten, press, together, close = inwards
mouth: up = mouth corners up; down = mouth corners down; left = lips left; right = lips right
mouth: outwards = mouth corners outwards; inwards = mouth corners inwards
mouth corners: apart = outwards; tighten, dimple, together = inwards
lips, mouth, mouth corners: stretch, widen = mouth corners outwards
lips, mouth, upper lip, lower lip: apart, part, open, opened = lips apart; together, press = lips together
lips, mouth, upper lip, lower lip: tighten, purse = lips inwards; funnel = lips outwards
upper lip: curl = up
chin: bunch, wrinkle = up
"""
"""Words for regions, their movements, and what each means in the terms of `facs.units`: a motion of the same region, or
of another one."""


def _meanings() -> dict[tuple[str, str], tuple[str, str]]:
    """(Word for a region, movement) -> (region, motion)."""
    plain = [name for name in _REGIONS if name not in ("lids", "eyes", "nose", "mouth", "jaw")]
    ways = ("up", "down", "inwards", "outwards", "left", "right")
    found = {(name, way): (name, way) for name in plain for way in ways}
    for names, terms in (line.split(": ") for line in _TERMS.strip().split("\n")):
        for moves, meaning in (term.split(" = ") for term in terms.split("; ")):
            region, _, motion = meaning.rpartition(" ")
            found |= {(n, move): (region or n, motion) for n in names.split(", ") for move in moves.split(", ")}
    return found


MEANINGS = _meanings()

_IDIOMS = {
    "brows furrow": "皱眉, 皱着眉", "brows up": "抬眉, 扬眉, 挑眉", "nose wrinkle": "皱鼻", "mouth press": "抿嘴",
    "mouth open": "张嘴, 张口", "mouth purse": "嘟嘴, 噘嘴", "eyes close": "闭眼, 闭上眼睛",
    "eyes widen": "睁大眼睛, 瞪眼, wide eyed", "eyes tighten": "眯眼",
}  # fmt: skip
IDIOMS = {idiom: (*meaning.split(),) for meaning, idioms in _IDIOMS.items() for idiom in idioms.split(", ")}
"""Words that name a region and a movement at once."""

_PHRASES: dict[str, str] = {
    "no": f"{COMMON['no']}, barely any, remain, remains, remained, remaining, stay, stays, stayed, keeps, keep, "
    "none of, nothing, lacking, 并未, 并没有, 保持",
    "not_a_negation": f"{COMMON['not_a_negation']}, i would, we would, one would",
    "not_there": f"{COMMON['not_there']}, lacking, not confirmed, not supported, 不明显, 被排除, 被否定",
    "there": f"{COMMON['there']}, found",
    "hedge": f"{COMMON['hedge']}, should, whether, typically, usually, often, normally, generally, in general, "
    "as a rule, frequently, tend to, tends to, in theory, unclear, expected, e g, commonly, unless, 通常, 一般, "
    "往往, 会",
    "turn": f"{COMMON['turn']}, then",
    "and": f"{COMMON['and']}, 并, 且, 并且",
    "or": "or, 或, 或者",
    "be": f"{COMMON['be']}, be, being, been, 被",
    "own": "his, her, their, my, your, subject's, person's, participant's, individual's, woman's, man's, own, "
    "anatomical, anatomic, he, she, 他的, 她的, 本人, 被试, 受试者",
    "image": "image's, image, viewer's, picture's, frame's, observer's, map's, 图像, 画面, 图中, 图片",
    "side_noun": "side, sides, half, hand, handed, sided",
    "toward": "toward, towards, to, into, by, from, against, below, beneath, above, under, over, than",
    "inside": "of, in, at, on, around, along, across, near",
    "move": "move, moves, moved, moving, movement, movements, motion, motions, pull, pulls, pulled, pulling, "
    "drawn, draw, draws, drew, drawing, push, pushes, pushed, pushing, shift, shifts, shifted, shifting, "
    "displacement, displacements, displaced, displace, displaces, tug, tugs, tugged, turn, turns, turned, "
    "turning, curve, curves, curved, curving, travel, travels, slide, slides, goes, going, drift, drifts, "
    "activity, action, shows, show, affect, affects, involve, involves, form, forms, appear, appears, occur, "
    "occurs, develop, develops, direction, 运动, 移动, 动作, 拉, 移",
    "pronoun": "they, it, these, both, this, all, 它们, 它",
    "determiner": "the, a, an, its, those, each, slight, slightly, subtle, subtly, clear, clearly, gentle, "
    "gently, faint, faintly, strong, strongly, small, minor, mild, mildly, weak, weakly, marked, noticeably, "
    "distinct, distinctly, very, quite, somewhat, more, also, entire, whole, two, skin, area, areas, region, "
    "regions, portion, portions, end, ends, third, thirds, section, sections, edge, edges, tip, tips, muscle, "
    "muscles, bilateral, s, asymmetric, unilateral, corner, corners, brief, 的, 侧, 边, 部, 部分, 双, 两, 两侧, "
    "轻微, 略, 略微, 微, 微微, 轻轻, 稍, 稍微, 同时, 区域, 皮肤, 地",
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
    "emotion": "happiness, joy, sadness, fear, anger, disgust, surprise, contempt, smiles, genuine smile, "
    "true smile, real smile, duchenne smile, typical smile",
    "au": "au, aus, action unit, action units, 动作单元",
}
"""What other phrases do, by kind; the last kind counts where a phrase has two."""

_NAMES = frozenset({
    "lips part", "jaw drop", "eyes closed", "mouth stretch", "lip suck", "lip pucker", "head up", "nostril compress",
    "lips toward each other",
})  # fmt: skip
"""Names of units that also describe a movement; they are names only after a unit's number."""

_EVERYDAY = {"slit", "squint", "wink"}
"""Names of units that are everyday words, and are read as such."""

GRADED = {tuple(part.split()): part for part in ("inner brows", "outer brows", "upper lids", "lower lids")}
GRADED |= {("upper", "lips"): "upper lip", ("lower", "lips"): "lower lip"}
SKIPPED = word_set("determiner side own image side_noun inner outer upper lower inside there")
SKIPPED |= {"inner outer", "upper lower"}
"""Kinds of words between a region and its qualifiers."""

REACH = 9  # maximum number of words to look ahead


_PUNCTUATION = _MARKS | {"\n": "stop", "?": "question", CLAUSE: "clause"}

_GRADES = frozenset({"inner", "outer", "upper", "lower", "determiner", "side"})


@lru_cache(maxsize=1)
def _vocabulary() -> Vocabulary:
    groups: list[tuple[str, str, str]] = [
        *((kind, kind, phrases) for kind, phrases in _PHRASES.items()),
        ("other", "other", _OTHER),
        ("side", "left", "left, 左, 左侧, 左边"),
        ("side", "right", "right, 右, 右侧, 右边"),
        *(("motion", way, phrases) for way, phrases in _MOTIONS.items()),
        *(("region", region, phrases) for region, phrases in _REGIONS.items()),
        *(("idiom", idiom, idiom) for idiom in IDIOMS),
    ]
    for name in sorted({*(unit.name for unit in UNITS.values()), *OTHER_NAMES} - _EVERYDAY):
        groups.append(("name" if name in _NAMES else "unit", name, f"{name}, {name}s"))
    return vocabulary((phrase, kind, value) for kind, value, phrases in groups for phrase in phrases.split(", "))


def tokens(body: str) -> Tokens:
    """Cut a plain text into the words and phrases of claims."""
    return tokenised(body, _vocabulary(), _PUNCTUATION, _settled)


def _settled(kind: str, value: int | str | None, before: Tokens, following: list[str]) -> str | None:
    last = before[-1].kind if before else ""
    if kind == "name" and last not in ("au", "unit", "name") and not _behind_a_number(before):
        return None  # "the lips part": no name but what its words say
    if value == "part" and (last in _GRADES or following == ["of"]):
        return "determiner"  # "the inner part of"
    return kind


def _behind_a_number(before: Tokens) -> bool:
    """Whether a unit's number comes just before: "AU25 (lips part)", "AU26 is the jaw drop"."""
    for token in reversed(before[-4:]):
        if token.text.isdecimal():
            return True
        if token.kind not in ("open", "colon", "dash", "be", "determiner", "word", "number", "comma"):
            return False
    return False
