"""`mellm instruct`: write instruction-description data as files that other trainers read."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mellm_plugin.cli.options import add_json, add_workers
from mellm_plugin.cli.terminal import printable
from mellm_plugin.errors import InputError, near

if TYPE_CHECKING:
    from mellm_plugin.training.rewriting import Rewriter

EXAMPLES = """\
  mellm instruct --dataset casme2 -o casme2.jsonl
  mellm instruct --dataset casme2 samm --forms description=3,label,aus --languages en=3,zh -o me.jsonl
  mellm instruct --dataset synthme --clips 500 --count 2000 --forms legend,region -o perception.jsonl
  mellm instruct --dataset casme2 --without casme2/sub01 --plain -o fold01.jsonl"""

_MOST_FAULTS = 20  # printed one by one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    add("--dataset", **several, required=True, metavar="NAME", help="prepared datasets, or synthme")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="a JSON Lines file; images go beside it")
    forms = "description, aus, label, unit, region, challenge, legend (default: all that the clips allow)"
    add("--forms", **several, metavar="FORM[=SHARE]", help=forms)
    add("--languages", **several, metavar="LANG[=SHARE]", help="en, zh (default: en)")
    add("--labels", help="labels to choose from, as in a task: A+B+C, or a dataset (default: its own)")
    add("--count", type=int, metavar="N", help="examples (default: as many as there are clips)")
    add("--clips", type=int, metavar="N", help="clips of synthme to draw (default: 2000)")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--motion", default="robust", help="a preset or a motion.json; off: onset and apex frames (default: robust)")
    add("--without", **several, metavar="DATASET/SUBJECT", help="subjects to leave out, such as the test subjects")
    add("--plain", action="store_true", help="no augmentation or balancing, and the prompts of evaluation")
    add_workers(parser, "processes that draw")
    reword = "let the model of MELLM_JUDGE reword the descriptions; rewordings that change a fact are not used"
    add("--rewrite", action="store_true", help=reword)
    add("--replace", action="store_true", help="overwrite an existing file")
    add_json(parser, "print the summary as one JSON object")


def run(given: argparse.Namespace) -> None:
    from mellm_plugin.motion.settings import resolve
    from mellm_plugin.training.data import Examples, Source, subjects
    from mellm_plugin.training.instruct import write

    forms, languages = _shares(given.forms), _shares(given.languages) or {"en": 1.0}
    clips = {"synthme": given.clips}
    sources = [
        Source(one, clips=clips.get(one), forms=forms, languages=languages, labels=given.labels)
        for one in given.dataset
    ]
    motion = None if given.motion == "off" else resolve(given.motion)
    without = _without(given.without, subjects(sources) if given.without else {})
    varied = {"augment": not given.plain, "balance": not given.plain, "seed": given.seed}
    examples = Examples(sources, motion, count=given.count, without=without, processes=given.workers, **varied)
    rewriter = _rewriter() if given.rewrite else None
    name = rewriter.name if rewriter else ""
    done = write(examples, given.output, replace=given.replace, rewrite=rewriter, rewriter=name)
    if given.json:
        print(json.dumps({**done.to_dict(), "data": examples.counts()}, ensure_ascii=False))
    else:
        counts = ", ".join(f"{form} {count}" for form, count in done.forms.items())
        print(f"{printable(str(done.file))}: {done.examples} examples ({counts}) from {examples.clips} clips")
        if done.resumed:
            print(f"  {done.resumed} of them existed already")
        if rewriter is not None:
            reasons = ", ".join(f"{reason} {count}" for reason, count in done.refused.items())
            refused = f"{sum(done.refused.values())}{f' ({reasons})' if reasons else ''}"
            print(f"  rewritten: {done.rewritten} descriptions; refused: {refused}")
        if any(dataset != "synthme" for dataset in given.dataset):
            print("  the images derive from the datasets' frames: the datasets' licences apply to them too")
    if done.faults:
        print(f"  {len(done.faults)} examples were left out", file=sys.stderr)
        more = [f"and {len(done.faults) - _MOST_FAULTS} more"] if len(done.faults) > _MOST_FAULTS else []
        raise InputError([*done.faults[:_MOST_FAULTS], *more], where=f"{done.file}: the others are written")


def _rewriter() -> Rewriter:
    from mellm_plugin.scoring.judge import configured
    from mellm_plugin.training.rewriting import Rewriter

    judge = configured()
    if judge is None:
        raise InputError("expected the rewriting model in MELLM_JUDGE, such as local:llama3, found none; docs/judge.md")
    judge.probe()
    return Rewriter(judge)


def _shares(given: Sequence[str]) -> dict[str, float]:
    """Shares by name: `a,b=2` means a 1, b 2."""
    found: dict[str, float] = {}
    faults: list[str] = []
    for item in (item.strip() for text in given for item in text.split(",")):
        if not item:
            continue
        name, named, share = item.partition("=")
        try:
            found[name] = float(share) if named else 1.0
        except ValueError:
            faults.append(f"expected NAME=SHARE with a number, found {item!r}")
    if faults:
        raise InputError(faults)
    return found


def _without(given: Sequence[str], known: dict[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """The subjects to leave out, by dataset."""
    found: dict[str, list[str]] = {}
    faults: list[str] = []
    every = [f"{dataset}/{name}" for dataset, names in known.items() for name in names]
    for text in given:
        if text not in every:
            faults.append(f"--without: expected DATASET/SUBJECT, found {text!r}.{near(text, every)}")
        dataset, _, name = text.partition("/")
        found.setdefault(dataset, []).append(name)
    if faults:
        raise InputError(faults)
    return found
