"""A report of many models: what it costs.

    python benchmarks/report.py                              # 20 models x 2,000 clips of 40 subjects
    python benchmarks/report.py --models 5 --clips 300 --no-page
    python benchmarks/report.py --ladder --clips 704 --subjects 44   # the amplitude ladder, whose curves are fitted

Writes results and samples files of made-up models, then times `mellm report` on them, in its own process: seconds
from start to end, and the most memory that it held.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from results_files import Asked, Model, write_run

LEVELS = (0.0, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.0, 3.0)


def _rung(clip: int, model: int) -> dict[str, Any]:
    """What a model reads of a clip: half of the units at .1 px for the first, at more for each that follows."""
    rng, level, threshold = random.Random(f"{model} {clip}"), LEVELS[clip % len(LEVELS)], 0.1 * 1.15**model
    share = 0.02 + 0.93 * level**2 / (level**2 + threshold**2)
    others = sum(rng.random() < 0.02 for _ in range(15))
    return {"unit": 12, "level_px": level, "named": rng.random() < share, "others": others, "other_units": 15}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of mellm report.")
    parser.add_argument("--models", type=int, default=20, help="(default %(default)s)")
    parser.add_argument("--clips", type=int, default=2000, help="(default %(default)s)")
    parser.add_argument("--subjects", type=int, default=40, help="(default %(default)s)")
    parser.add_argument("--ladder", action="store_true", help="answers to the amplitude ladder")
    parser.add_argument("--no-page", action="store_true", help="the tables alone")
    given = parser.parse_args()
    if min(given.models, given.clips, given.subjects) < 1:
        parser.error("expected at least one model, clip and subject")
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results")
        task = "synthme_sensitivity" if given.ladder else "synthme_meu"
        asked = Asked(given.clips, given.subjects, task)
        for number in range(given.models):
            skill = 0.3 + 0.65 * number / max(1, given.models - 1)
            model = Model("mellm", skill, f"adapter=run{number:02}", number, {"motion": "off"})
            rungs = [_rung(clip, number) for clip in range(given.clips)] if given.ladder else None
            write_run(results, asked, model, f"20261122_{number:06}", rungs=rungs)
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
