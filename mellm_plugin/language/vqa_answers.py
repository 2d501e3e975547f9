"""Answers to the questions of the ME-VQA challenges: yes or no, left or right, lists of units, two classes at once.

    vqa_reading("Yes, it is.", "unit", coarse_labels, fine_labels, unit=4)  ->  {"shown": True}

`language.answers` reads labels and units. This module reads the other kinds of answers, mostly a single word in English
or Chinese:

1.  Thoughts (`language.thinking`), questions ("Left? Right?") and options ("yes or no") are no answer. The text after
    the last "answer:" or "conclusion:", or after a correction ("wait, no"), decides.
2.  Yes or no is read from the first word ("yes", "absolutely", "negative", "没有"); else from a clause that begins with
    one; else from the units that are named; else from clauses that say whether something is there ("it is visible",
    "absent"). If two clauses contradict each other, the one after "but" counts, or neither.
3.  What may be there ("it might be visible", "可能有") is neither yes nor no. An uncertain yes, no or side ("maybe
    left") counts if nothing else is said.
4.  A side is the word that the answer gives; the challenge does not say whose left it means. A denied side ("not on the
    right", "the left brow is still") does not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from mellm_plugin.facs.units import OTHER_NAMES, UNITS
from mellm_plugin.language.answers import read
from mellm_plugin.language.plain_text import MARKUP
from mellm_plugin.language.thinking import without_thinking

_CLEAN = (
    str.maketrans(MARKUP | dict.fromkeys("✓✔✅", " yes ") | dict.fromkeys("✗✘❌✕✖", " no "))
    | str.maketrans("沒無對錯確現見顯檢測觀邊側臉雙兩", "没无对错确现见显检测观边侧脸双两")
    | str.maketrans("難許當應圖頻結論", "难许当应图频结论")
)
_CONCLUDES = re.compile(
    r"\b(?:answer|conclusion|verdict|boxed)\b\W{0,3}?(?:[:=-]|(?:is|should be|would be)\b:?|(?<=boxed))\W*"
    r"|(?:答案|结论|回答)\W{0,3}?(?:[:是为]|应为)"
)
_CORRECTS = re.compile(
    r"(?:^|[.;,!\n-])\s*(?:(?:no,? )?(?:wait|actually|correction|on second thought|scratch that|sorry|更正|不对,)"
    r"[\s,:.]*)+(?:no[,.] )?"
)
_SENTENCE = re.compile(r"[^.!?;\n]*[.!?;\n]?")
_OPTIONS = re.compile(
    r"\b(?:yes|true|present|shown|left|l)(?: side)?\s?(?:,? or|/|\||vs\.?|, or)\s?(?:(?:on )?the )?"
    r"(?:no|not|false|absent|right|r)\b(?: side)?|\bright(?: side)?,? or (?:(?:on )?the )?left\b(?: side)?"
    r"|\byes and no\b|\bno and yes\b|[是有对]\s?(?:/|或|还是)\s?(?:否|不是|无|没有|错)|是否|有没有|是不是"
    r"|[左右][侧边脸]?(?:或者?|还是)[左右][侧边脸]?"
)
_CLAUSES = re.compile(
    r"([.,;:!()|—\n]+|\s-+\s|\b(?:but|however|though|although|yet|while|whereas|and yet)\b|但是|但|不过|然而|而是)"
)
_TURNS = re.compile(r"but|however|though|although|yet|while|whereas|但|不过|然而|而是")


def _decided(answer: str) -> str:
    """The deciding words in lower case, without thoughts, marks, questions and options."""
    plain = unicodedata.normalize("NFKC", without_thinking(answer)).lower()  # makes full-width marks plain
    plain = plain.replace("<answer>", "answer: ").replace("</answer>", " ").translate(_CLEAN)
    plain = re.sub(r"(?<!\w)'|'(?!\w)", " ", plain)  # quotation marks, not the one of "isn't"
    plain = "\n".join(line for line in plain.split("\n") if line.strip())  # long blank stretches take quadratic time
    for mark in (_CONCLUDES, _CORRECTS):
        plain = mark.split(plain)[-1].strip() or plain
    statements = (sentence for sentence in _SENTENCE.findall(plain) if not sentence.endswith("?"))
    return _OPTIONS.sub(" ", "".join(statements)).strip()


def _clauses(decided: str) -> list[tuple[str, bool]]:
    """The clauses, each with whether it contradicts the ones before it ("but ..")."""
    found: list[tuple[str, bool]] = []
    turns = False
    for place, piece in enumerate(_CLAUSES.split(decided)):
        if place % 2:
            turns |= bool(_TURNS.search(piece))
        elif piece.strip():
            found.append((" ".join(piece.split()), turns))
            turns = False
    return found


_NEGATION = re.compile(
    r"\b(?:not|no|never|without|neither|nor|cannot|none|nothing|hardly|scarcely|lacks?|fails? to)\b|n't\b"
    r"|[不没未无非否]"
)
_UNSURE = re.compile(
    r"\bnot (?:\w+ )?(?:sure|certain|clear)\b|\b(?:unsure|uncertain|unclear|unknown|undetermined|inconclusive)\b"
    r"|\b(?:ambiguous|whether|either)\b|\bno (?:idea|clue|answer|comment|way|images?|video|face|frames?)\b"
    r"|\b(?:hard|difficult|tough|impossible|unable|cannot|can ?not|can't|couldn't|not possible|not able)(?: to)?"
    r"(?: \w+ly)? (?:be )?(?:say|said|tell|told|know|known|determined?|judged?|decided?|assess|assessed|conclude|"
    r"confirm|confirmed|verify|verified|answer|answered|help|provide|view|access|analy[sz]ed?)\b"
    r"|(?:n't|not|unable to) (?:see|view|open|access|have) (?:the|any|an|your) (?:image|video|picture|frame|clip|face)"
    r"|不(?:太|能|敢|是很)?(?:确定|肯定|清楚|明确|判断|知道|好说)|[说看]不[清准出]|很?难(?:以|说|判断)|无法|模糊"
    r"|没有(?:提供)?(?:图|视频|人脸|画面)"
)


_NAMES = {unit.name: unit.number for unit in UNITS.values()} | OTHER_NAMES
_NAMED = re.compile(
    rf"\b(?:({'|'.join(sorted(_NAMES, key=len, reverse=True))})s?|(?:au|[lr])?\s?0*([1-9][0-9]?)[lr]?)\b"
)


def read_units(answer: str, alone: bool = True) -> list[int] | None:
    """The action units that an answer lists, by number, FACS name or the challenge's name; None if none can be read.

    If units `alone` were asked for, bare numbers and "none" refer to them.
    """
    found = read(without_thinking(answer), (), "aus" if alone else "all").aus
    return None if found is None else list(found)


def in_order_of(answer: str, units: Sequence[int]) -> list[int]:
    """Units in the order in which an answer first names them; units in other words come last.

    >>> in_order_of("lid tightener, AU4", [4, 7])
    [7, 4]
    """
    text = " ".join(_decided(answer).split())
    named = (_NAMES[name] if name else int(number) for name, number in _NAMED.findall(text))
    return list(dict.fromkeys([*(unit for unit in named if unit in units), *units]))


_MEANS = {
    re.compile(r"\bno (?:doubt|question)\b|\bwithout (?:any |a )?doubt\b|没错|毫无疑问|无疑|没问题"): " yes ",
    re.compile(r"\bnot (?:absent|false|wrong|incorrect|inactive|invisible|missing)\b|不假"): " yes ",
    re.compile(r"\bnot (?:only|just|merely)\b|不仅|不只|不但|非常"): " ",
}
"""Negations that deny nothing, and their meaning."""
_BEFORE = re.compile(  # words before the first meaningful one
    r"(?:(?:well|so|then|hmm|okay|ok|and|oh|a|the|it's|it|that's|that|this|statement|claim|is|would|be|i'd|i|we|say|"
    r"think|believe|guess|most|very|quite|probably|likely|possibly|perhaps|maybe|unfortunately|clear|therefore|"
    r"thus|hence|overall|option|choice|[a-d](?=[ )]))\b[\s)]*)*"
)
_YES = re.compile(
    r"(?:yes|yep|yeah|yup|aye|true|correct|affirmative|sure|indeed|(?:y|exactly|precisely|ja|oui|s[ií])$)\b"
)
_FIRST = re.compile(r"(?:that's |that is )?(positive|negative|right)|(?:most |very )?(?:likely|probably)")
"""Words that mean yes or no when they are alone; elsewhere they are a class or a side."""
_SURELY = re.compile(r"(?:absolutely|definitely|certainly|surely|undoubtedly|of course|obviously|clearly)\b")
_NO = re.compile(
    r"(?:no|nope|nah|not|without|never|false|incorrect|wrong|nothing|none|(?:n|nein|non)$)\b"
    r"(?! (?:other|but|except|very|so|that|too|much|strongly|fully|completely)\b)"
    r"(?!.*\b(?:except|other than|besides|apart from)\b)"
)
_THERE = re.compile(
    r"\b(?:shown|present|visible|active|activated|observed|observable|detected|detectable|seen|evident|noticeable|"
    r"apparent|discernible|engaged|identified|exhibited|displayed|occurs?|occurred|exists?|recogni[sz]ed|confirmed|"
    r"triggered)\b|\b(?:appears?|shows?|there|do|does|so|(?:is|are) on|"
    r"(?:it|this|there|they|she|he) (?:is|are|has))$|\b(?:see|detect|observe|notice|shows?) it\b"
)
_ACTS = re.compile(
    r"\b(?:see|find|found|detect|observe|notice|show|appear|occur|exist|move|moves|moving|has|have|is|are|there)\b|n't$"
)
_GONE = re.compile(
    r"\b(?:absent|missing|inactive|invisible|undetected|undetectable|unobserved|lacking|imperceptible|unlikely|"
    r"ruled out|doubt|doubtful|still|static|unchanged|motionless|immobile|unaffected|(?:is|are) off)\b"
)
_MAY_BE = re.compile(r"\b(?:may|might|could|maybe|perhaps|possibly|possible|would be)\b|可能|也许|或许|大概|似乎|好像")
_OF_THE_PICTURE = re.compile(r"\b(?:face|person|subject|video|image|clip|frames?)\b \b(?:is|are)\b")
_CHINESE = re.compile("[\u4e00-\u9fff]")
_CHINESE_NO = re.compile("[不没未无否非错假缺]|静止")
_CHINESE_YES = re.compile(
    r"^(?:因此|所以|应该|那|还)?(?:[是有嗯真能]|对(?![比照于应称]))|(?<!所)有(?![些可点])|存在|出现|可见|显示|激活|检测到|观察到|看到|"
    r"看得到|明显|当然|肯定|正确|确实"
)


def read_shown(answer: str, unit: int | None) -> bool | None:
    """Whether an answer says that a unit is there; None if it does not say.

    >>> read_shown("Yes.", 4), read_shown("Conclusion: action units AU4+AU7", 4), read_shown("It is absent.", 4)
    (True, True, False)
    """
    decided = _decided(answer)
    for words, meaning in _MEANS.items():
        decided = words.sub(meaning, decided)
    clauses = _clauses(decided)
    verdicts = [_verdict(clause) for clause, _ in clauses]
    if clauses and (first := _FIRST.fullmatch(clauses[0][0])):
        verdicts[0] = first[1] != "negative"
    stated = [(said, turns) for clause, turns in clauses if (said := _statement(clause)) is not None]
    if verdicts and verdicts[0] is not None and not _MAY_BE.search(clauses[0][0]):
        agrees = verdicts[0] and not clauses[0][0].startswith("yes")
        return not (agrees and stated and not stated[-1][0]) and verdicts[0]  # "Correct, it is not shown"
    given = [said for said in verdicts if said is not None]
    if sum(bool(_MAY_BE.search(clause)) for clause, _ in clauses) > 1:
        return None  # "maybe yes, maybe not"
    if given and given.count(given[0]) == len(given):
        return given[0]
    sentences = (sentence for sentence in _SENTENCE.findall(decided) if not _UNSURE.search(sentence))
    named = read_units(" ".join(sentences), alone=False)
    if named is not None and unit is not None:
        return unit in named
    if stated and (len({said for said, _ in stated}) == 1 or stated[-1][1]):
        return stated[-1][0]
    return True if re.search(r"\byes\b", decided) and not _NEGATION.search(decided) else None


def _verdict(clause: str) -> bool | None:
    """Yes or no, if the first word of a clause says it."""
    if _UNSURE.search(clause):
        return None
    if _CHINESE.search(clause):
        return _chinese(clause) if len(_CHINESE.findall(clause)) <= 2 else None
    rest = clause[_BEFORE.match(clause).end() :]  # type: ignore[union-attr]  # always matches
    if _YES.match(rest):
        return True
    if sure := _SURELY.match(rest):
        return not _NEGATION.search(rest) if rest[sure.end() :] or sure[0] != "clearly" else None
    return False if _NO.match(rest) else None


def _statement(clause: str) -> bool | None:
    if _UNSURE.search(clause) or _OF_THE_PICTURE.search(clause):
        return None
    if _CHINESE.search(clause):
        return _chinese(clause)
    if _MAY_BE.search(clause):
        return None
    if _GONE.search(clause):
        return False
    if _NEGATION.search(clause):
        return False if _THERE.search(clause) or _ACTS.search(clause) or _NO.match(clause) else None
    return True if _THERE.search(clause) else None


def _chinese(clause: str) -> bool | None:
    if _MAY_BE.search(clause) or _UNSURE.search(clause):
        return None
    return False if _CHINESE_NO.search(clause) else True if _CHINESE_YES.search(clause) else None


_NO_SIDE = re.compile(
    # denied or compared sides; "right" and "left" that are no side
    r"(?:\b(?:not|no|never|rather than|instead of|than|nor)\b|n't)(?: (?:located|shown|seen|visible|present|it))?"
    r"(?: (?:on|at|in|from|to))?(?: (?:the|its|his|her|their))? (?:left|right|both)\b(?: (?:side|face|half|one))?"
    r"|\b(?:that's|that is|you're|you are|all) right\b|\bleft to right\b|\bright to left\b"
    r"|\bright (?=now\b|away\b|after\b|before\b|above\b|below\b|at\b|next\b|here\b|there\b|under\b|over\b|beside\b)"
    r"|(?:^|[.!\n]\s*)right,(?=.{0,200}\bleft\b)"
    r"|(?:并不是|不是|并非|而非|不在|没有在|没在|未在)(?:面部的?|脸的|脸部的?)?[左右][侧边脸半]?"
)
_SIDES = {
    "both": re.compile(
        r"\b(?:both|bilateral|bilaterally|two sides)\b|\b(?:left|right)(?: side)? (?:and|as well as|\+|&)(?: also)?"
        r"(?: on)?(?: the)? (?:right|left)\b|双侧|双边|两侧|两边|左右(?:[两都均皆同对]|$)"
        r"|左[侧边脸]?[和与]右|右[侧边脸]?[和与]左"
    ),
    "left": re.compile(r"\bleft(?:side)?\b|^l(?: side)?$|左"),
    "right": re.compile(r"\bright(?:side)?\b|^r(?: side)?$|右"),
}
_STRONGER = re.compile(r"\b(left|right|l|r)\s?>+\s?(?:left|right|l|r)\b|\b(?:left|right|l|r)\s?<+\s?(left|right|l|r)\b")
_STILL = re.compile(r"\b(?:still|static|unchanged|motionless|immobile|neutral|unaffected|relaxed)\b|不动|静止")

_ALONE = re.compile(r"\b(?:only|just|solely)\b|[只仅]")


def read_side(answer: str) -> str | None:
    """`left`, `right` or `both`; None if an answer names none of them, or leaves both open."""
    if stronger := _STRONGER.search(without_thinking(answer).lower()):
        return {"l": "left", "r": "right"}[(stronger[1] or stronger[2])[0]]
    decided = re.sub(r"\bnot (?:only|just|merely)\b", " ", _decided(answer))
    outside = re.sub(r"\([^()]*\)", " ", decided)  # "left (the viewer's right)"
    decided = _NO_SIDE.sub(" ", outside if _sides_in([outside]) else decided)
    affirmed = [clause for clause, _ in _clauses(decided) if not _NEGATION.search(clause) and not _STILL.search(clause)]
    found = _sides_in([clause for clause in affirmed if _ALONE.search(clause)]) or _sides_in(affirmed)
    if "both" in found:
        return "both"
    return found.pop() if len(found) == 1 else None


def _sides_in(texts: Sequence[str]) -> set[str]:
    return {side for side, words in _SIDES.items() for text in texts if words.search(text)}


def _class(answer: str, about: str, labels: Sequence[str]) -> str | None:
    """A class in a text that names two: from the clauses about it, else from the whole text."""
    clauses = [clause for clause in re.split(r"[.;,\n]", answer) if about in clause.lower()]
    return read(". ".join(clauses), labels).label or read(answer, labels).label


def vqa_reading(
    answer: str, kind: str, coarse_labels: Sequence[str], fine_labels: Sequence[str], unit: int | None = None
) -> dict[str, Any]:
    """What an answer says, by the kind of its question.

    Args:
        answer: of the model, or the expected one.
        kind: `coarse`, `fine`, `units`, `unit`, `side` or `combined`; nothing is read for any other.
        unit: the number of the unit that the question is about, if any.

    Returns:
        what the question asks for, among `coarse` and `fine` (a label), `units` (numbers), `shown` (bool) and `side`
        (`left`, `right`, `both`); None where it cannot be read.
    """
    answer = without_thinking(answer)
    match kind:
        case "coarse":
            return {"coarse": read(answer, coarse_labels).label}
        case "fine":
            return {"fine": read(answer, fine_labels).label}
        case "units":
            return {"units": read_units(answer)}
        case "unit":
            return {"shown": read_shown(answer, unit)}
        case "side":
            return {"side": read_side(answer)}
        case "combined":
            classes = {"coarse": coarse_labels, "fine": fine_labels}
            said = {about: _class(answer, about, labels) for about, labels in classes.items()}
            return {**said, "units": read_units(answer, alone=False)}
        case _:
            return {}
