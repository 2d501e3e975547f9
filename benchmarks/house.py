"""python benchmarks/house.py [--results FOLDER]

The size of this project, and how fast its command starts. Run it in a clone, before a change and after it.

-   Lines of code of the package and of the tests (lines with a token that is neither comment nor docstring), and all
    lines of their files.
-   The modules of the package with more than 500 lines, and the longest task file.
-   With `--results`, the folder of a run with `--log_samples`: the mean size of a clip in its samples files.
-   `mellm --help`: the median of several fresh interpreters. `benchmarks/entry_point.py` measures the entry point.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import subprocess
import sys
import time
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONG = 500
_NO_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
}


def code_lines(text: str) -> int:
    """The number of lines with code, without comments and docstrings (strings that are statements of their own)."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def length(file: Path) -> int:
    """All lines of a file."""
    return len(file.read_text(encoding="utf-8").splitlines())


def median_s(*command: str, runs: int = 7) -> float:
    """The median wall time of a command, seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="a folder with samples files of lmms-eval")
    given = parser.parse_args()
    for name in ("mellm_plugin", "tests"):
        files = list((ROOT / name).rglob("*.py"))
        code, every = sum(code_lines(file.read_text(encoding="utf-8")) for file in files), sum(map(length, files))
        print(f"{name}: {code:,} lines of code, {every:,} lines in all, {len(files)} files")
    long = sorted((-length(file), file) for file in (ROOT / "mellm_plugin").rglob("*.py") if length(file) > LONG)
    print(f"modules over {LONG} lines: {len(long)}")
    for n, file in long:
        print(f"    {-n:5} {file.relative_to(ROOT)}")
    longest = max((ROOT / "tasks").rglob("*.yaml"), key=length)
    print(f"longest task file: {length(longest)} lines, {longest.relative_to(ROOT)}")
    for file in sorted(given.results.rglob("*_samples_*.jsonl")) if given.results else ():
        clips = file.read_bytes().splitlines()
        print(f"{file.name}: {sum(map(len, clips)) / len(clips) / 1000:.1f} kB a clip, {len(clips)} clips")
    print(f"mellm --help: {1000 * median_s(sys.executable, '-m', 'mellm_plugin.cli', '--help'):.0f} ms")


if __name__ == "__main__":
    main()
