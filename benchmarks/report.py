"""A report of many models: what it costs.

    python benchmarks/report.py                              # 20 models x 2,000 clips of 40 subjects
    python benchmarks/report.py --models 5 --clips 300 --no-page

Writes results and samples files of made-up models, then times `mellm report` on them, as a process of its own: seconds
from start to end, and the most memory that it held.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from results_files import Asked, Model, write_run


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of mellm report.")
    parser.add_argument("--models", type=int, default=20, help="(default %(default)s)")
    parser.add_argument("--clips", type=int, default=2000, help="(default %(default)s)")
    parser.add_argument("--subjects", type=int, default=40, help="(default %(default)s)")
    parser.add_argument("--no-page", action="store_true", help="the tables alone")
    given = parser.parse_args()
    if min(given.models, given.clips, given.subjects) < 1:
        parser.error("expected at least one model, clip and subject")
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results")
        asked = Asked(given.clips, given.subjects)
        for number in range(given.models):
            skill = 0.3 + 0.65 * number / max(1, given.models - 1)
            model = Model("mellm", skill, f"adapter=run{number:02}", number, {"motion": "off"})
            write_run(results, asked, model, f"20261122_{number:06}")
        size = sum(file.stat().st_size for file in results.iterdir())
        print(f"{given.models} models, {given.clips} clips: {size / 1e6:.0f} MB of results", flush=True)
        command = [sys.executable, "-m", "mellm_plugin.cli", "report", str(results), "-o", f"{folder}/report"]
        start = time.perf_counter()
        subprocess.run([*command, *(["--no-page"] if given.no_page else [])], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        peak = used.ru_maxrss / (1 << 20 if sys.platform != "darwin" else 1 << 30)
        print(f"{seconds:.1f} s ({used.ru_utime + used.ru_stime:.1f} s of CPU), {peak:.2f} GiB at most")
        for file in sorted(Path(folder, "report").iterdir()):
            print(f"  {file.name}: {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
