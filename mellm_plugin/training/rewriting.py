"""Rewording of descriptions by an LLM, accepted only if the facts stay the same.

    Rewriter(judge)(example) -> "Inspection: Both mouth corners rise and spread (..). .. Conclusion: ..", None

The model of `MELLM_JUDGE` rewords the inspection and the reasoning; the conclusion stays. A rewording is refused if it
claims another motion, names other units or colours, or reads as another annotation.
"""

from __future__ import annotations

import json
import re

from mellm_plugin.facs.labels import canonical_label
from mellm_plugin.language.answers import read
from mellm_plugin.language.claims import claims
from mellm_plugin.language.lexicon import LANGUAGES, in_language
from mellm_plugin.motion.colour import PALETTES
from mellm_plugin.redaction import redacted
from mellm_plugin.scoring.judge import Judge
from mellm_plugin.scoring.rubric import Unscored, json_object
from mellm_plugin.training.data import Example

REWRITING = "1"
"""Version of the request and of the checks."""

_ASKED = (
    "You vary the wording of descriptions of facial micro-expressions for training data. Say the same in other words, "
    "in the language of the text: keep every fact, add none. Keep every region with its side of the image, its "
    "direction, its colour words in brackets and its strength; keep every AU number, and what is said to be faint "
    "or not seen. "
    'Answer with one JSON object and nothing else: {"inspection": "...", "reasoning": "..."}'
)
_LINES = re.compile(
    r"(?P<first>[^:：]+[:：] ?)(?P<inspection>.*)\n(?P<second>[^:：]+[:：] ?)(?P<reasoning>.*)\n(?P<end>.*)"
)
_COLOURS = sorted(
    {in_language(colour.name, language) for of in PALETTES.values() for colour in of for language in LANGUAGES},
    key=len,
    reverse=True,
)
_COLOUR = re.compile("|".join(rf"\b{word}\b" if word.isascii() else word for word in _COLOURS), re.IGNORECASE)
_UNIT = re.compile(r"\bAU ?(\d{1,2})", re.IGNORECASE | re.ASCII)


class Rewriter:
    """Rewrites the descriptions among examples."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.name = f"{judge.name}, rewriting {REWRITING}"

    def __call__(self, example: Example) -> tuple[str, str | None]:
        """The reworded answer of a description and None, or the old answer and the reason of the refusal.

        Answers of other forms stay unchanged, without a reason.
        """
        parts = _LINES.fullmatch(example.answer) if example.form == "description" else None
        if parts is None:
            return example.answer, None
        request = json.dumps({"inspection": parts["inspection"], "reasoning": parts["reasoning"]}, ensure_ascii=False)
        asked = [{"role": "system", "content": _ASKED}, {"role": "user", "content": request}]
        found = self.judge.reply(asked, _read)
        if isinstance(found, Unscored):
            return example.answer, f"no rewriting: {found.kind}"
        inspection, reasoning = found
        text = f"{parts['first']}{inspection}\n{parts['second']}{reasoning}\n{parts['end']}"
        refused = changed(example.answer, text)
        return (example.answer, refused) if refused else (text, None)


def _read(answer: str) -> tuple[str, str] | Unscored:
    if isinstance(found := json_object(answer), Unscored):
        return found
    texts = [found.get(name) for name in ("inspection", "reasoning")]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        return Unscored("wrong form", "expected an object with inspection and reasoning, each a text")
    inspection, reasoning = (" ".join(redacted(str(text)).split()) for text in texts)
    return inspection, reasoning


def changed(before: str, after: str) -> str | None:
    """The fact that a rewording changes; None if the facts are the same."""
    old, new = _facts(before), _facts(after)
    return next((name for name in old if old[name] != new[name]), None)


def _facts(text: str) -> dict[str, object]:
    lines = text.split("\n")
    label = re.split(r"[:：]", lines[-1])[-1].strip(" .。")
    answer = read(text, [canonical_label(label) or label])
    return {
        "another annotation": (answer.aus, answer.sides, answer.label),
        "another motion": {(claim.region, claim.side, claim.motion) for claim in claims(text)},
        "other units": {int(number) for number in _UNIT.findall(text)},
        "other colours": sorted(word.lower() for word in _COLOUR.findall(text)),
        "another form": len(lines),
    }
