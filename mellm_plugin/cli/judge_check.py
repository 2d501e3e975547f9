"""`mellm judge-check`: check whether the configured judge can be trusted."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from mellm_plugin.cli.options import add_json
from mellm_plugin.errors import InputError, JudgeError

if TYPE_CHECKING:
    from mellm_plugin.scoring.judge_check import Check

EXAMPLES = """\
  MELLM_JUDGE=openai:gpt-4o-mini mellm judge-check
  MELLM_JUDGE=local:llama3,timeout=120 mellm judge-check --clips 20"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--clips", type=int, default=10, help="clips of SynthME, 12 texts each (default: %(default)s)")
    add("--repeats", type=int, default=3, help="verdicts on each correct description (default: %(default)s)")
    add_json(parser, "print the findings as one JSON object")


def run(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets import store
    from mellm_plugin.meu import prepared_name
    from mellm_plugin.scoring import judge as judging
    from mellm_plugin.scoring.judge_check import Annotated, check, controlled_set

    for option, value in (("--clips", given.clips), ("--repeats", given.repeats)):
        if value < 2:
            raise InputError(f"expected at least 2, found {value}", where=option)
    judge = judging.configured()
    if judge is None:
        openai = "MELLM_JUDGE=openai:gpt-4o-mini with OPENAI_API_KEY"
        local = "MELLM_JUDGE=local:MODEL with LLM_JUDGE_URL (see docs/judge.md)"
        raise InputError(f"no judge is set; for example {openai}, or {local}", where="MELLM_JUDGE")
    judge.probe()
    known = store.read(prepared_name("synthme"), "test")
    clips = [Annotated(c.id, c.aus, c.emotion) for c in known if c.aus is not None and c.emotion is not None]
    found = check(judge, controlled_set(clips, given.clips), given.repeats)

    failed = [finding.name for finding in found.findings if not finding.met]
    if given.json:
        row = {
            "judge": judge.name,
            "clips": given.clips,
            "trusted": not failed,
            "points": dict(found.means),
            "verdicts": {name: {"scored": n, "asked": of} for name, (n, of) in found.counts.items()},
            "findings": [asdict(finding) for finding in found.findings],
        }
        print(json.dumps(row, ensure_ascii=False))
    else:
        _print_check(found, judge.name, given.clips)
    if failed:
        raise JudgeError(f"this judge cannot be trusted: {'; '.join(failed)}. Try another model.")
    if not given.json:
        print("this judge ranks these descriptions correctly")


def _print_check(found: Check, judge: str, clips: int) -> None:
    from mellm_plugin.scoring.judge import summary
    from mellm_plugin.scoring.judge_check import CASES

    print(f"{judge}, {clips} clips of SynthME, points 0 to 100\n")
    for name in CASES:
        mean, (scored, asked) = found.means[name], found.counts[name]
        points = "  none" if mean is None else f"{mean:6.1f}"
        print(f"  {name:<20} {points}   {scored} of {asked} with a verdict")
    print()
    for finding in found.findings:
        mark = {True: "ok  ", False: "FAIL", None: "?   "}[finding.met]
        print(f"  {mark} {finding.name}: {finding.measured} ({finding.demanded})")
    print(f"\n{summary([grade.to_dict() for grade in found.grades])}")
