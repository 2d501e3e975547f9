"""The words of answers: how a text is cut into them, and what each one does, in English and Chinese.

    PHRASES["not_there"]   ->  "absent, missing, inactive, .."
    "px" in MEASURES       ->  True: "AU4 moves by 3 px" names no unit 3
    tokenised("AU4 is absent", vocabulary_of(()), PUNCTUATION)
      ->  aus_head "au", number "4", be "is", not_there "absent"

`language.answers` reads with these words. `language.claims` shares the tokeniser and `COMMON`; its own words are in
`language.claim_words`. Sets hold single tokens: for Chinese, single characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from mellm_plugin.facs.labels import COARSE, LABELS, spellings
from mellm_plugin.facs.units import OTHER_NAMES, UNITS


def word_set(text: str) -> frozenset[str]:
    """Words with blanks between them, as a set."""
    return frozenset(text.split())


CLAUSE = "\ue000"
"""Replaces the full-width comma, which in Chinese ends a clause and never joins the items of a list."""

PUNCTUATION: dict[str, str] = {
    "\n": "newline", ".": "stop", ";": "stop", "!": "stop", "?": "stop", ",": "comma", CLAUSE: "comma", ":": "colon",
    "=": "colon", "→": "colon", "+": "join", "/": "join", "&": "join",
    "(": "open", ")": "close", "-": "dash", "•": "dash",
}  # fmt: skip
"""The kind of each mark."""

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]+(?:\.[0-9]+)*|\n|[^\s]")


class Token(NamedTuple):
    """A word, number, mark or phrase of a text."""

    kind: str  # what it does: a kind of phrase, a kind of mark, `number` or `word`
    text: str  # as written; for a phrase, its first word
    value: int | str | None  # what a phrase means, such as a label or the number of a unit
    start: int  # its place in the text
    end: int


class Tokens(list[Token]):
    """Tokens, with an empty kind and text beyond both ends."""

    def kind(self, at: int) -> str:
        return self[at].kind if 0 <= at < len(self) else ""

    def text(self, at: int) -> str:
        return self[at].text if 0 <= at < len(self) else ""


Vocabulary = dict[str, list[tuple[tuple[str, ...], str, int | str | None]]]
"""First word -> (all words, kind, value), the longest phrases first."""


def vocabulary(phrases: Iterable[tuple[str, str, int | str | None]]) -> Vocabulary:
    """Index phrases, each given with its kind and value; of equal phrases the last one counts."""
    found = {tuple(_WORD.findall(phrase)): (kind, value) for phrase, kind, value in phrases}
    known: Vocabulary = {}
    for words, (kind, value) in sorted(found.items(), key=lambda item: -len(item[0])):
        if words:
            known.setdefault(words[0], []).append((words, kind, value))
    return known


def tokenised(
    body: str,
    known: Vocabulary,
    punctuation: Mapping[str, str],
    settled: Callable[[str, int | str | None, Tokens, list[str]], str | None] | None = None,
) -> Tokens:
    """Cut a plain text into tokens once; the longest phrase that starts at a word counts.

    Args:
        settled: the kind of a phrase by what surrounds it; it gets the kind and value of the phrase, the tokens
            before it and the word after its first one, if any. None means that the phrase does not count here.
    """
    found = [
        match
        for match in _WORD.finditer(body)  # no dash in "micro-expression" and "AU-4"
        if match[0] != "-" or not (body[match.end() : match.end() + 1].isalnum() and body[match.start() - 1].isalpha())
    ]
    words = [match[0] for match in found]
    tokens = Tokens()
    at = 0
    while at < len(words):
        word = words[at]
        length, value = 1, None
        kind = "number" if "0" <= word[0] <= "9" else punctuation.get(word, "word")
        for phrase, phrase_kind, phrase_value in known.get(word, ()):
            if tuple(words[at : at + len(phrase)]) == phrase:
                here = settled(phrase_kind, phrase_value, tokens, words[at + 1 : at + 2]) if settled else phrase_kind
                if here is not None:
                    length, kind, value = len(phrase), here, phrase_value
                    break
        tokens.append(Token(kind, word, value, found[at].start(), found[at + length - 1].end()))
        at += length
    return tokens


COMMON: dict[str, str] = {
    "no": "no, not, without, neither, nor, never, rather than, instead of, absence of, lack of, lacks, cannot, "
    "can't, isn't, aren't, wasn't, weren't, doesn't, don't, didn't, free of, unlike, hardly, scarcely, fail to, "
    "fails to, 没, 没有, 沒有, 无, 無, 未, 未见, 不, 不是, 并非",
    "not_there": "absent, missing, ruled out, excluded, undetected, unchanged, rejected, discarded, dismissed, 缺失",
    "there": "present, visible, seen, observed, detected, evident, apparent, discernible, noticeable, 可见, 明显",
    "hedge": "could, might, may, maybe, possibly, perhaps, potentially, would, if, possible, 可能, 也许, 或许, 如果",
    "and": "and, plus, as well as, 和, 与, 與, 及, 以及",
    "be": "is, are, was, were, 是",
    "turn": "but, however, instead, yet, although, though, while, whereas, because, since, 但, 但是, 而, 而是, "
    "然而, 不过, 因为",
    "not_a_negation": "not only, not just, not merely, no doubt, 不对称, 不仅, 不但",
}
"""Phrases that do the same in all readers, by kind."""

PHRASES: dict[str, str] = {
    "aus_head": "au, aus, au's, ad, action unit, action units, actionunit, actionunits, action descriptor, "
    "action descriptors, facs code, facs codes, facs unit, facs units, active units, activated units, detected units, "
    "present units, visible units, observed units, 动作单元, 动作单位, 运动单元, 動作單元, 運動單元",
    "emotion_head": "expression, expressions, emotion, emotions, label, class, category, feeling, affect, "
    "coarse, fine, fine grained, sentiment, emotional state, classification, prediction, "
    "facial expression class, 表情, 情绪, 情緒, 情感, 类别, 類別, 标签, 分类, 具体",
    "final": "final, 最终答案, 最終答案, 最后答案, 最终结论",
    "conclusion": "conclusion, conclusions, in conclusion, to conclude, answer, verdict, 结论, 結論, 答案",
    "therefore": "therefore, thus, hence, overall, finally, in summary, to summarize, to summarise, in short, so, "
    "taken together, altogether, all in all, consequently, accordingly, 因此, 所以, 综上, 综上所述, 总之, 最终, 最后",
    "section": "inspection, visual inspection, reasoning, analysis, explanation, rationale, justification, "
    "note, notes, observation, observations, description, evidence, details, confidence, disclaimer, caveat, "
    "reason, reasons, thought, thoughts, question, user, human, instruction, instructions, options, choices, "
    "分析, 推理, 观察, 解释, 说明, 理由, 选项",
    "no": f"{COMMON['no']}, non, excludes, excluding, rules out, ruling out, rule out, nothing like, "
    "nothing suggests, nothing points to, opposed to, n, far from, unable to, would need, would require, "
    "speaks against, failed to, better than, more likely than, likelier than, 没有任何, 沒有任何, 无任何, 无法, "
    "也不是, 既不是, 而不是, 非, 缺少, 否",
    "not_there": f"{COMMON['not_there']}, inactive, unlikely, false, implausible, less likely, is off, are off, "
    "would be present, would be active, would be expected, would be needed, would be required, rejecting, discarding, "
    "dismissing, eliminating, eliminated, discounted, withdrawn, retracted, overruled, refuted, crossed out, "
    "disregarded, false alarm, not be counted, not counted, not count, ignored, not be scored, not scored, "
    "not be coded, not hold up, not hold, not fit, an artefact, an artifact, ruled it out, ruled them out, 不变, "
    "保持不变, 排除, 排除了, 否定, 否决, 剔除, 舍弃, 不予考虑, 不成立, was dropped, were dropped",
    "there": f"{COMMON['there']}, active, activated, involved, shown, engaged, triggered, identified, "
    "recognizable, indicated, supported, likely, plausible, yes, true, selected, chosen, kept, retained, "
    "included, confirmed, accepted, adopted, convincing, observable, verified, substantiated, 激活, 出现, 存在, "
    "检测到, 看到, 观察到, 活跃, 采纳, 成立",
    "occur": "appear, appears, occur, occurs, fire, fires, fired, show up, shows up",
    "not_a_negation": f"{COMMON['not_a_negation']}, not to be ignored, not be ignored, no other than, "
    "none other than, not surprisingly, not surprising, no surprise that, no surprise to, no surprise here, "
    "no surprise to see, no one's surprise, nobody's surprise, no wonder, no question, no matter, no less than, "
    "nothing but, nothing other than, not to mention, not least, no fear of, without a doubt, without doubt, "
    "without question, cannot but, 非常, 不只, 不同, 不断, 无论, 不论, 不管, 不出所料, 毫不意外, 无疑, 毫无疑问",
    "word": "so little, so much, so few, so many, so subtle, so faint, so slight, so small, so weak, so brief, so low, "
    "so short, so close, so clear, so strong, so quickly, so fast, so far, so called, so that, so as to, even so, "
    "or so, not so, a surprise to, a surprise that, surprise to see, no big surprise, little surprise, by surprise, "
    "what a surprise, to my surprise, to our surprise, one's surprise, as a surprise, surprised to see, "
    "surprised to find, surprised that, surprised by, surprised at how, happy to, happy with, sad to say, sad that, "
    "afraid that, afraid the, afraid there, afraid this, afraid not, fear not, for fear of, positive that, "
    "positive about, am positive, false positive, false positives, true positive, true positives, false negative, "
    "false negatives, true negative, true negatives, positive evidence, negative evidence, positive identification, "
    "positive match, positive finding, positive findings, negative finding, negative findings, positive detection, "
    "positive detections, positive result, positive results, negative result, negative results, positive value, "
    "positive values, negative value, negative values, positive direction, negative direction, positive displacement, "
    "negative displacement, positive change, negative change, neutral baseline, neutral reference, neutral frame, "
    "neutral image, neutral background, neutral lighting, neutral colour, neutral color, neutral grey, neutral gray, "
    "令人惊讶, 令人吃惊, 让人惊讶, 让人吃惊, 惊讶的是, 吃惊的是, 惊奇的是, 很高兴为, 很高兴能, 高兴为您, 高兴能, 乐意, "
    "正面照, 正面脸, 正面人脸, 正面的人脸, 正面面部, 正面视角, 正面角度, 正面图, 正面拍, 正面朝, 正面对, 正面看, "
    "最后一帧, 最后一张, 最后的帧",
    "be": f"{COMMON['be']}, 为",
    "turn": f"{COMMON['turn']}, rather, which, indicating, suggesting, with, other than, except, except for, "
    "apart from, besides, only, 只, 只有",
    "resume": "it, it's, this, that, they, these, i, we, there, he, she, more likely, most likely, 最可能, 最有可能",
    "hedge": f"{COMMON['hedge']}, can be, such as, consider, considering, candidate, candidates, resembles, "
    "similar to, secondary emotion, secondary expression, secondary label, alternative, alternatives, "
    "alternative emotion, alternative expression, possibility, possibilities, hint of, hints of, trace of, "
    "traces of, at first, at first glance, at first sight, initially, suspected, 大概, 其次, 例如, typical of, "
    "typical for, characteristic of, characteristic for",
    "general": "typically, usually, often, sometimes, generally, commonly, normally, frequently, in general, "
    "as a rule, tend to, tends to, classically, prototypically, traditionally, by definition, in theory, "
    "according to facs, 典型, 通常, 一般, 一般来说, 一般而言, 往往, 常常, 常见于, 多见于, characterised by, "
    "characterized by, defined by, classic, textbook",
    "unclear": "unclear, uncertain, unsure, unknown, inconclusive, undetermined, indeterminate, ambiguous, "
    "undecided, not clear, not certain, not sure, hard to say, hard to tell, difficult to say, "
    "difficult to tell, impossible to say, impossible to tell, can't say, can't tell, cannot say, cannot tell, "
    "cannot be determined, cannot be told, no idea, don't know, do not know, 不确定, 无法确定, 不明确, 不清楚, "
    "无法判断, 难以判断, 看不清, 不好说, 难说, 未知, 不详",
    "none": "none, nothing, null, nil",
    "count": "count, counts, total, number of",
    "correction": "correction",
    "stillness": "movement, movements, motion, change, changes, activity, activation, 运动, 動作, 动作, 变化, 變化",
    "and": f"{COMMON['and']}, or, 或, 或者",
}
"""What phrases do in an answer, by kind; a phrase counts before the words it is made of."""

_EVERYDAY = frozenset({8, 42, 44, 46})  # lips toward each other, slit, squint, wink
_LETTERS = re.compile(r"[a-z]+|[^\W\d_]")


@lru_cache(maxsize=64)
def vocabulary_of(labels: tuple[str, ...]) -> Vocabulary:
    """`PHRASES`, the names of units and the spellings of labels: of all datasets, and of `labels`."""
    phrases: list[tuple[str, str, int | str | None]] = [
        (phrase, kind, None) for kind, some in PHRASES.items() for phrase in some.split(", ")
    ]
    for name, number in [*((unit.name, unit.number) for unit in UNITS.values()), *OTHER_NAMES.items()]:
        # positions of head and eyes (from 51 on) have everyday names ("head up"), and so do a few units
        kind = "unit" if number < 51 and number not in _EVERYDAY else "position"
        phrases += [(name, kind, number), (f"{name}s", kind, number)]
    for label in dict.fromkeys((*labels, *COARSE, *(label for some in LABELS.values() for label in some))):
        phrases += [(" ".join(_LETTERS.findall(spelling.lower())), "label", label) for spelling in spellings(label)]
    return vocabulary(phrases)


MEASURES = word_set(
    "px pixel pixels percent frame frames time times degree degrees ms s sec second seconds mm clip clips image "
    "images region regions side sides of x st nd rd th step steps point points hz fps label labels emotion "
    "emotions expression expressions class classes other more further additional different main key part parts "
    "action unit units others"
)
"""Words after a number that make it a count or a measure, not one more unit of a list."""
BEFORE_NUMBERS = word_set(
    "number numbers code codes include includes including involved identified the following are is most likely "
    "appear appears that being detected observed present active activated as such i we can see find detect "
    "identify facs there 为 是 有 包 括 含 分 别"
)
MEASURED_BY = word_set(
    "confidence conf probability prob p score intensity intensities presence activation value likelihood "
    "certainty level low high very weak strong at of with about around approx approximately only just < ≈ ≤ 概 率 "
    "置 信 度 强 得 分"
)
"""Words between a unit and its value: "AU12 with a confidence of 3%"."""
ADVERSATIVE = word_set("finally 最 but however yet though although 但 然 不")
HERE = word_set("here this 此 这 本")  # end a general statement
DEFINING = word_set("characterised characterized defined")
GOING_ON = word_set("with which indicating suggesting only 因")
REJECTING = word_set(
    "rejected rejecting discarded discarding dismissing eliminating dismissed eliminated excluded discounted 排"
)
"""Words that deny the unit after them, not the one before."""
ACTIVATED = word_set("active activated engaged involved triggered fire fired 激")
PLACES = word_set(
    "brow brows eyebrow eyebrows forehead eye eyes ocular lid lids eyelid eyelids nose nasal cheek cheeks lip "
    "lips mouth oral jaw chin head upper lower left right inner outer vertical horizontal 眉 眼 鼻 颊 唇 嘴 颌 头"
)
"""Words between "no" and "movement" that restrict it to one place: "no brow movement"."""
FURTHER = word_set("other further additional more rest remaining else 余 它 他")
SOMEWHERE = word_set("in of at around elsewhere on near from beyond besides other except")
CLASSING = word_set(
    "classified labelled labeled categorized categorised annotated coded described listed grouped map maps mapped "
    "mapping belong belongs fall falls falling fit fits go goes point points lead leads correspond corresponds "
    "assigned it"
)
"""Words that, with "as", "to", "under" or "into", put a clip into the class `others`."""
NOT_THE_CLASS = word_set("the than all any two with these those in of from like")
"""Words before "others" that make it other units or brows, even in the field of the expression."""
GRADES = word_set("upper lower left right inner outer vertical horizontal")
NO_VERB = word_set("not don't doesn't didn't never")
NO_OR_NONE = frozenset("没沒无無")
"""Words for no that, alone after "action units", say that there are none."""
