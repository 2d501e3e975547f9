"""`mellm instruct`: instruction-description data as files that other trainers read."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mellm_plugin.cli.commands import Commands, printable
from mellm_plugin.errors import InputError

if TYPE_CHECKING:
    from mellm_plugin.training.rewriting import Rewriter

_TOLD = 20  # faults that are told one by one


def _instruct(given: argparse.Namespace) -> None:
    from mellm_plugin.motion.settings import resolve
    from mellm_plugin.training.data import Examples, Source, subjects
    from mellm_plugin.training.instruct import write

    sources = [
        Source(
            dataset,
            clips=given.clips if dataset == "synthme" else None,
            forms=_shares(given.forms),
            languages=_shares(given.languages) or {"en": 1.0},
            labels=given.labels,
        )
        for dataset in given.dataset
    ]
    motion = None if given.motion == "off" else resolve(given.motion)
    without = _without(given.without, subjects(sources) if given.without else {})
    examples = Examples(
        sources,
        motion,
        count=given.count,
        seed=given.seed,
        augment=not given.plain,
        balance=not given.plain,
        without=without,
        processes=given.workers,
    )
    rewriter = _rewriter() if given.rewrite else None
    done = write(
        examples, given.output, replace=given.replace, rewrite=rewriter, rewriter=rewriter.name if rewriter else ""
    )
    if given.json:
        print(json.dumps({**done.to_dict(), "data": examples.counts()}, ensure_ascii=False))
    else:
        forms = ", ".join(f"{form} {count}" for form, count in done.forms.items())
        print(f"{printable(str(done.file))}: {done.examples} examples ({forms}) of {examples.clips} clips")
        if done.resumed:
            print(f"  {done.resumed} of them were there already")
        if rewriter is not None:
            refused = ", ".join(f"{reason} {count}" for reason, count in done.refused.items())
            print(f"  rewritten: {done.rewritten} descriptions; refused: {sum(done.refused.values())}", end="")
            print(f" ({refused})" if refused else "")
        if any(dataset != "synthme" for dataset in given.dataset):
            print("  their images derive from the datasets' frames: the datasets' licences hold for them, too")
    if done.faults:
        print(f"  {len(done.faults)} examples were left out", file=sys.stderr)
        more = len(done.faults) - _TOLD
        raise InputError(
            [*done.faults[:_TOLD], *([f"and {more} more"] if more > 0 else [])],
            where=f"{done.file}: the others are written",
        )


def _rewriter() -> Rewriter:
    from mellm_plugin.scoring.judge import configured
    from mellm_plugin.training.rewriting import Rewriter

    judge = configured()
    if judge is None:
        raise InputError(
            "expected the model that rewrites in MELLM_JUDGE, such as local:llama3, found none; docs/judge.md"
        )
    judge.probe()
    return Rewriter(judge)


def _shares(given: Sequence[str]) -> dict[str, float]:
    """Shares by name: `a,b=2` is a 1, b 2."""
    found: dict[str, float] = {}
    faults: list[str] = []
    for text in given:
        for item in filter(None, (item.strip() for item in text.split(","))):
            name, named, share = item.partition("=")
            try:
                found[name] = float(share) if named else 1.0
            except ValueError:
                faults.append(f"expected NAME=SHARE with a number, found {item!r}")
    if faults:
        raise InputError(faults)
    return found


def _without(given: Sequence[str], known: dict[str, tuple[str, ...]]) -> dict[str, list[str]]:
    from mellm_plugin.errors import near

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


def add_commands(commands: Commands) -> None:
    """Add `instruct`."""
    parser = commands.add(
        "instruct",
        _instruct,
        "write instruction-description data in the common chat format (messages and images)",
        "  mellm instruct --dataset casme2 -o casme2.jsonl\n"
        "  mellm instruct --dataset casme2 samm --forms description=3,label,aus --languages en=3,zh -o me.jsonl\n"
        "  mellm instruct --dataset synthme --clips 500 --count 2000 --forms legend,region -o perception.jsonl\n"
        "  mellm instruct --dataset casme2 --without casme2/sub01 --plain -o fold01.jsonl",
    )
    parser.add_argument(
        "--dataset", nargs="+", action="extend", required=True, metavar="NAME", help="prepared datasets, or synthme"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="JSON Lines; images beside it")
    parser.add_argument(
        "--forms",
        nargs="+",
        action="extend",
        default=[],
        metavar="FORM[=SHARE]",
        help="description, aus, label, unit, region, challenge, legend (default: all that the clips can have)",
    )
    parser.add_argument(
        "--languages", nargs="+", action="extend", default=[], metavar="LANG[=SHARE]", help="en, zh (default: en)"
    )
    parser.add_argument("--labels", help="labels to choose from, as in a task: A+B+C, or a dataset (default: its own)")
    parser.add_argument("--count", type=int, metavar="N", help="examples (default: as many as there are clips)")
    parser.add_argument("--clips", type=int, metavar="N", help="of synthme: how many are drawn (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--motion", default="robust", help="a preset or a motion.json; off: onset and apex frames (default: robust)"
    )
    parser.add_argument(
        "--without",
        nargs="+",
        action="extend",
        default=[],
        metavar="DATASET/SUBJECT",
        help="subjects to leave out, such as those that are tested on",
    )
    parser.add_argument(
        "--plain", action="store_true", help="each clip as it is, equally often, asked in the words of evaluation"
    )
    parser.add_argument(
        "--workers", type=int, default=min(4, os.cpu_count() or 1), help="processes that draw (default: %(default)s)"
    )
    parser.add_argument(
        "--rewrite",
        action="store_true",
        help="have the model of MELLM_JUDGE reword the descriptions; where it changes a fact, the old words stay",
    )
    parser.add_argument("--replace", action="store_true", help="write over a file that is there")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
