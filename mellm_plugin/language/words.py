"""The words that `language.answers` reads by, in English and Chinese: what each does in an answer.

PHRASES["not_there"]  ->  "absent, missing, inactive, .."
"""

from __future__ import annotations

PHRASES: dict[str, str] = {
    "aus_head": "au, aus, au's, ad, action unit, action units, actionunit, actionunits, action descriptor, "
    "action descriptors, facs code, facs codes, facs unit, facs units, active units, activated units, "
    "detected units, present units, visible units, observed units, 动作单元, 动作单位, 运动单元, 動作單元, 運動單元",
    "emotion_head": "expression, expressions, emotion, emotions, label, class, category, feeling, affect, "
    "coarse, fine, fine grained, sentiment, emotional state, classification, prediction, facial expression class, "
    "表情, 情绪, 情緒, 情感, 类别, 類別, 标签, 分类, 具体",
    "final": "final, 最终答案, 最終答案, 最后答案, 最终结论",
    "conclusion": "conclusion, conclusions, in conclusion, to conclude, answer, verdict, 结论, 結論, 答案",
    "therefore": "therefore, thus, hence, overall, finally, in summary, to summarize, to summarise, in short, so, "
    "taken together, altogether, all in all, consequently, accordingly, 因此, 所以, 综上, 综上所述, 总之, 最终, 最后",
    "section": "inspection, visual inspection, reasoning, analysis, explanation, rationale, justification, note, "
    "notes, observation, observations, description, evidence, details, confidence, disclaimer, caveat, reason, "
    "reasons, thought, thoughts, question, user, human, instruction, instructions, options, choices, "
    "分析, 推理, 观察, 解释, 说明, 理由, 选项",
    "no": "no, not, without, neither, nor, never, non, rather than, instead of, absence of, lack of, lacks, "
    "excludes, excluding, rules out, ruling out, cannot, can't, isn't, aren't, wasn't, weren't, doesn't, don't, "
    "didn't, rule out, free of, nothing like, nothing suggests, nothing points to, opposed to, unlike, n, hardly, "
    "scarcely, far from, unable to, would need, would require, speaks against, fail to, fails to, failed to, "
    "better than, more likely than, likelier than, 没有任何, 沒有任何, 无任何, 没, 没有, 沒有, 无, 無, 无法, 未, "
    "未见, 不, 不是, 也不是, 既不是, 而不是, 并非, 非, 缺少, 否",
    "not_there": "absent, missing, inactive, ruled out, excluded, unlikely, false, implausible, undetected, "
    "less likely, is off, are off, would be present, would be active, would be expected, would be needed, "
    "would be required, unchanged, rejected, rejecting, discarding, dismissing, eliminating, discarded, dismissed, "
    "eliminated, discounted, withdrawn, retracted, overruled, refuted, crossed out, disregarded, false alarm, "
    "not hold up, not hold, not fit, an artefact, an artifact, ruled it out, ruled them out, 缺失, 不变, 保持不变, "
    "排除, 排除了, 否定, 否决, 剔除, 舍弃, 不予考虑, 不成立, was dropped, were dropped",
    "there": "present, visible, active, activated, seen, observed, detected, involved, evident, shown, engaged, "
    "triggered, apparent, discernible, noticeable, identified, recognizable, indicated, supported, likely, "
    "plausible, yes, true, selected, chosen, kept, retained, included, confirmed, accepted, adopted, convincing, "
    "observable, verified, substantiated, 激活, 出现, 存在, 可见, 明显, 检测到, 看到, 观察到, 活跃, 采纳, 成立",
    "occur": "appear, appears, occur, occurs, fire, fires, fired, show up, shows up",
    "not_a_negation": "not only, not just, not merely, no doubt, no other than, none other than, not surprisingly, "
    "not surprising, no surprise that, no surprise to, no surprise here, no surprise to see, no one's surprise, "
    "nobody's surprise, no wonder, no question, no matter, no less than, nothing but, nothing other than, "
    "not to mention, not least, no fear of, without a doubt, without doubt, without question, cannot but, 非常, "
    "不对称, 不仅, 不但, 不只, 不同, 不断, 无论, 不论, 不管, 不出所料, 毫不意外, 无疑, 毫无疑问",
    "word": "so little, so much, so few, so many, so subtle, so faint, so slight, so small, so weak, so brief, "
    "so low, so short, so close, so clear, so strong, so quickly, so fast, so far, so called, so that, so as to, "
    "even so, or so, not so, a surprise to, a surprise that, surprise to see, no big surprise, little surprise, "
    "by surprise, what a surprise, to my surprise, to our surprise, one's surprise, as a surprise, "
    "surprised to see, surprised to find, surprised that, surprised by, surprised at how, happy to, happy with, "
    "sad to say, sad that, afraid that, afraid the, afraid there, afraid this, afraid not, fear not, for fear of, "
    "positive that, positive about, am positive, false positive, false positives, true positive, true positives, "
    "false negative, false negatives, true negative, true negatives, positive evidence, negative evidence, "
    "positive identification, positive match, positive finding, positive findings, negative finding, "
    "negative findings, positive detection, positive detections, positive result, positive results, "
    "negative result, negative results, positive value, positive values, negative value, negative values, "
    "positive direction, negative direction, positive displacement, negative displacement, positive change, "
    "negative change, neutral baseline, neutral reference, neutral frame, neutral image, neutral background, "
    "neutral lighting, neutral colour, neutral color, neutral grey, neutral gray, 令人惊讶, 令人吃惊, 让人惊讶, "
    "让人吃惊, 惊讶的是, 吃惊的是, 惊奇的是, 很高兴为, 很高兴能, 高兴为您, 高兴能, 乐意, 正面照, 正面脸, 正面人脸, "
    "正面的人脸, 正面面部, 正面视角, 正面角度, 正面图, 正面拍, 正面朝, 正面对, 正面看, 最后一帧, 最后一张, 最后的帧",
    "be": "is, are, was, were, 是, 为",
    "turn": "but, however, instead, rather, yet, although, though, while, whereas, because, since, which, "
    "indicating, suggesting, with, other than, except, except for, apart from, besides, only, 只, 只有, 但, 但是, "
    "而, 而是, 然而, 不过, 因为",
    "resume": "it, it's, this, that, they, these, i, we, there, he, she, more likely, most likely, 最可能, 最有可能",
    "hedge": "could, might, may, maybe, possibly, perhaps, potentially, can be, such as, would, if, consider, "
    "considering, candidate, candidates, resembles, similar to, secondary emotion, secondary expression, "
    "secondary label, alternative, alternatives, alternative emotion, alternative expression, possible, "
    "possibility, possibilities, hint of, hints of, trace of, traces of, at first, at first glance, at first sight, "
    "initially, suspected, 可能, 也许, 或许, 大概, 其次, 如果, 例如, typical of, typical for, characteristic of, "
    "characteristic for",
    "general": "typically, usually, often, sometimes, generally, commonly, normally, frequently, in general, "
    "as a rule, tend to, tends to, classically, prototypically, traditionally, by definition, in theory, "
    "according to facs, 典型, 通常, 一般, 一般来说, 一般而言, 往往, 常常, 常见于, 多见于, characterised by, "
    "characterized by, defined by, classic, textbook",
    "unclear": "unclear, uncertain, unsure, unknown, inconclusive, undetermined, indeterminate, ambiguous, "
    "undecided, not clear, not certain, not sure, hard to say, hard to tell, difficult to say, difficult to tell, "
    "impossible to say, impossible to tell, can't say, can't tell, cannot say, cannot tell, cannot be determined, "
    "cannot be told, no idea, don't know, do not know, 不确定, 无法确定, 不明确, 不清楚, 无法判断, 难以判断, "
    "看不清, 不好说, 难说, 未知, 不详",
    "none": "none, nothing, null, nil",
    "count": "count, counts, total, number of",
    "correction": "correction",
    "stillness": "movement, movements, motion, change, changes, activity, activation, 运动, 動作, 动作, 变化, 變化",
    "and": "and, or, plus, as well as, 和, 与, 與, 及, 以及, 或, 或者",
}
"""What the words of an answer do, by kind; a phrase counts before the words it is made of."""
