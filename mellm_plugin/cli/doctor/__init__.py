"""`mellm doctor`: check the installation, and say how to fix each fault."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mellm_plugin.cli.options import add_json
from mellm_plugin.errors import InputError

if TYPE_CHECKING:
    from mellm_plugin.cli.doctor.findings import Finding

EXAMPLES = """\
  mellm doctor
  mellm doctor --judge                             (one request, which may cost)
  mellm doctor --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--judge", action="store_true", help="send the judge of MELLM_JUDGE one short request")
    add_json(parser, "print all findings as one JSON object")


def run(given: argparse.Namespace) -> None:
    rows = []
    for check, (state, text, do) in _examine(given.judge):
        rows.append({"state": state, "check": check, "text": text, "do": do})
        if not given.json:
            new_line = f"\n{'':<20}" if do and state == "fault" else ""
            mark = "FAULT" if state == "fault" else state
            print(f"{mark:<5}  {check:<13}  {text}{new_line}{f'  -> {do}' if do else ''}", flush=True)
    faults = sum(row["state"] == "fault" for row in rows)
    if given.json:
        print(json.dumps({"faults": faults, "findings": rows}, ensure_ascii=False))
    if faults:
        raise InputError(f"{faults} fault{'s' * (faults > 1)} found; each says how to fix it")
    if not given.json:
        print("no fault was found", file=sys.stderr)


def _examine(ask_judge: bool) -> Iterator[tuple[str, Finding]]:
    """Run every check; yields its name with each finding."""
    from concurrent.futures import ThreadPoolExecutor

    from mellm_plugin.cli.doctor.checks import Checks
    from mellm_plugin.cli.doctor.findings import fault, pip

    checks = Checks(ask_judge)
    gpu = ThreadPoolExecutor(1).submit(lambda: list(checks.gpu()))  # works while the other checks run
    for name in (name for name, check in vars(Checks).items() if inspect.isfunction(check) and name[0] != "_"):
        try:
            found = gpu.result() if name == "gpu" else getattr(checks, name)()
            yield from ((name.replace("_", " "), finding) for finding in found)
        except Exception as error:  # any error: a broken package must not stop the other checks
            do = pip("install", "--force-reinstall", getattr(error, "name", None) or "mellm-plugin")
            yield name.replace("_", " "), fault(f"could not be checked: {type(error).__name__}: {error}", do)
