"""`mellm doctor`: check the installation, and say how to fix each fault."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
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
    for check, finding in examine(ask_judge=given.judge):
        rows.append({"state": finding.state, "check": check, "text": finding.text, "do": finding.do})
        if not given.json:
            do = f"  -> {finding.do}" if finding.do else ""
            new_line = f"\n{'':<20}" if do and finding.state == "fault" else ""
            mark = "FAULT" if finding.state == "fault" else finding.state
            print(f"{mark:<5}  {check:<13}  {finding.text}{new_line}{do}", flush=True)
    faults = sum(row["state"] == "fault" for row in rows)
    if given.json:
        print(json.dumps({"faults": faults, "findings": rows}, ensure_ascii=False))
    if faults:
        raise InputError(f"{faults} fault{'s' * (faults > 1)} found; each says how to fix it")
    if not given.json:
        print("no fault was found", file=sys.stderr)


def examine(ask_judge: bool = False) -> Iterator[tuple[str, Finding]]:
    """Run every check; yields the check's name with each of its findings.

    Args:
        ask_judge: whether to send the judge a request.
    """
    from concurrent.futures import ThreadPoolExecutor

    from mellm_plugin.cli.doctor import environment, gpu, installation, places
    from mellm_plugin.cli.doctor.findings import fault, pip
    from mellm_plugin.models import bundled_folder
    from mellm_plugin.plugin import task_folder

    gpus = ThreadPoolExecutor(1).submit(gpu.ask_torch)  # works while the other checks run
    packages = installation.installed()
    lmms_eval = installation.folder_of("lmms_eval")
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "python": lambda: installation.python(packages),
        "packages": lambda: installation.requirements(packages),
        "opencv": lambda: installation.opencv(packages),
        "entry point": lambda: installation.entry_points(packages),
        "commands": installation.commands,
        "tasks": lambda: installation.tasks(task_folder()),
        "names": lambda: installation.names(task_folder(), lmms_eval),
        "repository": lambda: installation.repository(lmms_eval),
        "bundled model": lambda: installation.bundled_model(bundled_folder()),
        "data": places.data,
        "cache": places.cache,
        "hub": places.hub,
        "judge": lambda: environment.judge(ask_judge),
        "environment": environment.variables,
        "optional": lambda: installation.optional(packages),
        "shell": environment.shell,
        "gpu": lambda: gpu.assess(gpus.result()),
    }
    for name, check in checks.items():
        try:
            for finding in check():
                yield name, finding
        except Exception as error:  # any error: a broken package must not stop the other checks
            broken = getattr(error, "name", None) or "mellm-plugin"
            text = f"could not be checked: {type(error).__name__}: {error}"
            yield name, fault(text, pip("install", "--force-reinstall", broken))
