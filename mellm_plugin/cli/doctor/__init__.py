"""`mellm doctor`: is everything there and as it should be, and what to do where it is not."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mellm_plugin.cli.commands import Commands
from mellm_plugin.errors import InputError

if TYPE_CHECKING:
    from mellm_plugin.cli.doctor.findings import Finding


def _doctor(given: argparse.Namespace) -> None:
    found = []
    for finding in examine(ask_judge=given.judge):
        found.append(finding)
        if not given.json:
            do = "" if finding.do is None else f"  -> {finding.do}"
            mark = "FAULT" if finding.state == "fault" else finding.state
            print(f"{mark:<5}  {finding.check:<13}  {finding.text}", end="" if finding.state == "note" else "\n")
            if finding.state == "note":
                print(do)
            elif do:
                print(f"{'':<20}{do}")
            sys.stdout.flush()
    faults = sum(finding.state == "fault" for finding in found)
    if given.json:
        print(json.dumps({"faults": faults, "findings": [one.to_dict() for one in found]}, ensure_ascii=False))
    if faults:
        raise InputError(f"{faults} fault{'s' * (faults > 1)} found; what to do is said with each")
    if not given.json:
        print("no fault was found", file=sys.stderr)


def examine(ask_judge: bool = False) -> Iterator[Finding]:
    """Every finding, in the order of the checks.

    Args:
        ask_judge: whether to send the judge a request.
    """
    from mellm_plugin.cli.doctor import environment, installation, machine, places
    from mellm_plugin.cli.doctor.findings import fault, pip
    from mellm_plugin.models import bundled_folder
    from mellm_plugin.plugin import task_folder

    gpu = machine.Probe()
    there = installation.installed()
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("packages", lambda: installation.versions(there)),
        ("opencv", lambda: installation.opencv(there)),
        ("entry point", lambda: installation.entry_points(there)),
        ("commands", installation.commands),
        ("tasks", lambda: installation.tasks(task_folder())),
        ("bundled model", lambda: installation.bundled(bundled_folder())),
        ("data", places.data),
        ("cache", places.flows),
        ("hub", places.hub),
        ("judge", lambda: environment.judge(ask_judge)),
        ("environment", environment.variables),
        ("optional", lambda: installation.optional(there)),
        ("shell", environment.completion),
        ("gpu", gpu.findings),
    )
    for name, check in checks:
        try:
            yield from check()
        except Exception as error:  # of whatever kind: a package that is broken ends no other check
            again = pip("install", "--force-reinstall", getattr(error, "name", None) or "mellm-plugin")
            yield fault(name, f"could not be checked: {type(error).__name__}: {error}", again)


def add_commands(commands: Commands) -> None:
    """Add `doctor`."""
    parser = commands.add(
        "doctor",
        _doctor,
        "check the installation, and say what to do about each fault; exit code 1 where there is one",
        "  mellm doctor\n"
        "  mellm doctor --judge                             (one request, which may cost)\n"
        "  mellm doctor --json",
    )
    parser.add_argument("--judge", action="store_true", help="ask the judge of MELLM_JUDGE, by a short request")
    parser.add_argument("--json", action="store_true", help="print all findings as one JSON object")
