"""python benchmarks/entry_point.py [--runs 15]

What this package costs those who use lmms-eval for something else. Needs lmms-eval and the package installed.

1. The entry point's own cost. A fresh interpreter imports `lmms_eval.models` with our entry point hidden, as
   if the package were not installed; then it loads and calls the entry point as lmms-eval does, and tells the
   time (by the clock, and of the processor, which other work on the machine disturbs less) and the modules
   that came with it. Another one, with `-X importtime`, tells each module's own time (that option does not
   see what entry points import, so there the import is written out).
2. Whole commands: `lmms-eval --help`, which loads no entry point and so shows the noise, and
   `lmms-eval models`. Each runs with and without the package in turn, in pairs, the order alternating; the
   ratio is the median of the pairs' ratios, given with its quartiles.

"Hidden" means: `importlib.metadata` selects every entry point but ours. "With" goes through the same filter,
which then drops nothing, so that its cost is on both sides. Bytecode is cached, as it is in an installation.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

BYTECODE = tempfile.TemporaryDirectory()
ENTRY_POINT = "mellm_plugin.plugin:manifests"
FILTER = """
import importlib.metadata as metadata
plain = metadata.EntryPoints.select
def select(points, **query):
    return metadata.EntryPoints(point for point in plain(points, **query) if point.value != {hidden!r})
metadata.EntryPoints.select = select
"""
LOAD = """
import json, sys, time
import lmms_eval.models
"mellm" not in lmms_eval.models.list_available_models() or sys.exit("the entry point is not hidden")
before = set(sys.modules)
start = time.perf_counter(), time.process_time()
manifests = metadata.EntryPoint("mellm", {ours!r}, "lmms_eval.models").load()()
clock, processor = time.perf_counter() - start[0], time.process_time() - start[1]
modules = sorted(set(sys.modules) - before)
print(json.dumps([1000 * clock, 1000 * processor, modules, [m.model_id for m in manifests]]))
"""
COMMAND = """
import sys
from lmms_eval.cli.dispatch import main
sys.argv = ["lmms-eval", {argument!r}]
main()
"""


def python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter; raises CalledProcessError where it fails."""
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": BYTECODE.name},
        capture_output=True,
        text=True,
        check=True,
    )


def own_cost() -> tuple[float, float, list[str]]:
    """Milliseconds by the clock and of the processor for the entry point, and the modules it brought in."""
    done = python(FILTER.format(hidden=ENTRY_POINT) + LOAD.format(ours=ENTRY_POINT))
    clock, processor, modules, models = json.loads(done.stdout.splitlines()[-1])
    if "mellm" not in models:
        raise SystemExit(f"expected the model 'mellm' from the entry point, found {models}: {done.stderr}")
    return clock, processor, modules


def self_times() -> dict[str, float]:
    """Milliseconds that each module takes by itself, from `-X importtime`."""
    code = FILTER.format(hidden=ENTRY_POINT) + "import lmms_eval.models\nimport mellm_plugin.plugin"
    rows = [line.split("|") for line in python(code, "-X", "importtime").stderr.splitlines()]
    rows = [row for row in rows if len(row) == 3 and row[1].strip().isdigit()]
    return {module.strip(): int(own.split(":")[1]) / 1000 for own, _, module in rows}


def seconds(argument: str, hidden: str) -> float:
    """Wall time of a whole `lmms-eval <argument>`, the interpreter's start included."""
    start = time.perf_counter()
    done = python(FILTER.format(hidden=hidden) + COMMAND.format(argument=argument))
    if "Failed to load" in done.stdout:
        raise SystemExit(done.stdout)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the entry point for other users of lmms-eval.")
    parser.add_argument("--runs", type=int, default=15, help="fresh processes per figure (default 15)")
    runs = parser.parse_args().runs
    own_cost()  # this one writes the bytecode

    measured = [own_cost() for _ in range(runs)]
    clock, processor = [row[0] for row in measured], [row[1] for row in measured]
    print(
        f"entry point: {statistics.median(clock):.2f} ms (median of {runs}, {min(clock):.2f} to "
        f"{max(clock):.2f}), of the processor {statistics.median(processor):.2f} ms"
    )
    imports = [self_times() for _ in range(runs)]
    for module in measured[0][2]:
        print(f"  imports {module}: {statistics.median(row[module] for row in imports):.2f} ms")

    for argument in ("--help", "models"):
        seconds(argument, hidden="")
        pairs = []
        for run in range(runs):
            order = ("", ENTRY_POINT) if run % 2 else (ENTRY_POINT, "")
            pairs.append({hidden: seconds(argument, hidden) for hidden in order})
        ratios = [pair[""] / pair[ENTRY_POINT] for pair in pairs]
        low, middle, high = statistics.quantiles(ratios, n=4)
        without = statistics.median(pair[ENTRY_POINT] for pair in pairs)
        print(
            f"lmms-eval {argument}: with / without the package {middle:.3f} "
            f"(quartiles {low:.3f} to {high:.3f}; {runs} pairs; without {1000 * without:.0f} ms)"
        )
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
