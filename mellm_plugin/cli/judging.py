"""`mellm judge-check`: whether the judge that is set may be trusted."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from mellm_plugin.cli.commands import Commands
from mellm_plugin.errors import InputError, JudgeError

if TYPE_CHECKING:
    from mellm_plugin.scoring.judge_check import Check


def _judge_check(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets import store
    from mellm_plugin.meu import prepared_name
    from mellm_plugin.scoring import judge as judging
    from mellm_plugin.scoring.judge_check import Annotated, check, controlled_set

    for option, value, least in (("--clips", given.clips, 2), ("--repeats", given.repeats, 2)):
        if value < least:
            raise InputError(f"expected at least {least}, found {value}", where=option)
    judge = judging.configured()
    if judge is None:
        raise InputError(
            "no judge is set; for example MELLM_JUDGE=openai:gpt-4o-mini with OPENAI_API_KEY, or "
            "MELLM_JUDGE=local:MODEL with LLM_JUDGE_URL (see docs/judge.md)",
            where="MELLM_JUDGE",
        )
    judge.probe()
    known = store.read(prepared_name("synthme"), "test")
    clips = [Annotated(c.id, c.aus, c.emotion) for c in known if c.aus is not None and c.emotion is not None]
    found = check(judge, controlled_set(clips, given.clips), given.repeats)

    failed = [finding.name for finding in found.findings if not finding.met]
    if given.json:
        told = {
            "judge": judge.name,
            "clips": given.clips,
            "trusted": not failed,
            "points": dict(found.means),
            "verdicts": {name: {"scored": n, "asked": of} for name, (n, of) in found.counts.items()},
            "findings": [asdict(finding) for finding in found.findings],
        }
        print(json.dumps(told, ensure_ascii=False))
    else:
        _tell(found, judge.name, given.clips)
    if failed:
        raise JudgeError(f"this judge is not to be trusted: {'; '.join(failed)}. Try another model.")
    if not given.json:
        print("this judge ranks these descriptions as it must")


def _tell(found: Check, judge: str, clips: int) -> None:
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


def add_commands(commands: Commands) -> None:
    """Add `judge-check`."""
    checking = commands.add(
        "judge-check",
        _judge_check,
        "see whether the judge that MELLM_JUDGE names may be trusted; exit code 1 if not",
        "  MELLM_JUDGE=openai:gpt-4o-mini mellm judge-check\n"
        "  MELLM_JUDGE=local:llama3,timeout=120 mellm judge-check --clips 20",
    )
    checking.add_argument(
        "--clips", type=int, default=10, help="clips of SynthME, 12 texts each (default: %(default)s)"
    )
    checking.add_argument(
        "--repeats", type=int, default=3, help="verdicts on each right description (default: %(default)s)"
    )
    checking.add_argument("--json", action="store_true", help="print what was found as one JSON object")
