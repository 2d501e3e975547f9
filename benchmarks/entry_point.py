"""python benchmarks/entry_point.py [--runs 15]

What this package costs users of lmms-eval who do not use it. Needs lmms-eval and the package installed.

1. The entry point's own cost. A fresh interpreter imports `lmms_eval.models` with our entry point hidden, then loads
   and calls it as lmms-eval does: wall clock, processor time (which other work on the machine disturbs less) and the
   modules that it imported. Another one, with `-X importtime`, imports the module itself for each module's own time.
2. Whole commands: `lmms-eval --help`, which loads no entry point and so shows the noise, and `lmms-eval models`. They
   run in pairs, with and without the package, in alternating order; the ratio is the median of the pairs' ratios.

"Hidden" means that `importlib.metadata` selects every entry point but ours. The run with the package uses the same
filter, which then hides nothing, so both sides pay for it. Bytecode is cached, as in an installation.
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
LOAD = f"""
import json, sys, time
import lmms_eval.models
"mellm" not in lmms_eval.models.list_available_models() or sys.exit("the entry point is not hidden")
before = set(sys.modules)
start = time.perf_counter(), time.process_time()
manifests = metadata.EntryPoint("mellm", {ENTRY_POINT!r}, "lmms_eval.models").load()()
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
    """Run `code` in a fresh interpreter; raises CalledProcessError if it fails."""
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": BYTECODE.name}
    return subprocess.run([sys.executable, *options, "-c", code], env=env, capture_output=True, text=True, check=True)


def own_cost() -> tuple[float, float, list[str]]:
    """Wall-clock and processor milliseconds of the entry point, and the modules that it imported."""
    done = python(FILTER.format(hidden=ENTRY_POINT) + LOAD)
    clock, processor, modules, models = json.loads(done.stdout.splitlines()[-1])
    if "mellm" not in models:
        raise SystemExit(f"expected the model 'mellm' from the entry point, found {models}: {done.stderr}")
    return clock, processor, modules


def self_times() -> dict[str, float]:
    """Milliseconds of each module without its own imports, from `-X importtime`."""
    code = FILTER.format(hidden=ENTRY_POINT) + "import lmms_eval.models\nimport mellm_plugin.plugin"
    rows = [line.split("|") for line in python(code, "-X", "importtime").stderr.splitlines()]
    rows = [row for row in rows if len(row) == 3 and row[1].strip().isdigit()]
    return {module.strip(): int(own.split(":")[1]) / 1000 for own, _, module in rows}


def seconds(argument: str, hidden: str) -> float:
    """Wall time of a whole `lmms-eval <argument>`, including the start of the interpreter."""
    start = time.perf_counter()
    done = python(FILTER.format(hidden=hidden) + COMMAND.format(argument=argument))
    if "Failed to load" in done.stdout:
        raise SystemExit(done.stdout)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the entry point for other users of lmms-eval.")
    parser.add_argument("--runs", type=int, default=15, help="fresh processes per figure (default 15)")
    runs = parser.parse_args().runs
    own_cost()  # writes the bytecode

    measured = [own_cost() for _ in range(runs)]
    clock, processor = [row[0] for row in measured], [row[1] for row in measured]
    spread = f"median of {runs}, {min(clock):.2f} to {max(clock):.2f}"
    middle, of_processor = statistics.median(clock), statistics.median(processor)
    print(f"entry point: {middle:.2f} ms ({spread}), processor time {of_processor:.2f} ms")
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
        without = 1000 * statistics.median(pair[ENTRY_POINT] for pair in pairs)
        detail = f"quartiles {low:.3f} to {high:.3f}; {runs} pairs; without {without:.0f} ms"
        print(f"lmms-eval {argument}: with / without the package {middle:.3f} ({detail})")
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
