"""python benchmarks/prepare.py [--clips 300 3000] [--smic 30 150] [--workers 1 2] [--average 30 0] [--folder DIR]

How many clips per second `mellm prepare` converts, and whether its memory grows with the dataset.

CASME II: a sheet and clips of the frames around an onset and an apex 20 frames later, 280x340 JPEG of 36 kB; onset and
apex are decoded, averaged with 15 neighbours (`--average 0`: not), checked and stored. SMIC: clips of 30 such frames
without a sheet; the apex is spotted. All frames are noise, in a temporary folder (3,000 clips: 1.8 GB). The command
runs in its own process. Columns: wall-clock seconds, including the start; "start", the same for one clip; clips per
second; peak resident memory; "again", a second run that finds everything unchanged.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

MELLM = Path(sys.executable).parent / "mellm"
WIDTH, HEIGHT = 280, 340


def pictures(count: int) -> list[bytes]:
    """JPEG files: a smooth picture with sensor noise."""
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.uniform(40, 215, (9, 7, 3)).astype(np.float32), (WIDTH, HEIGHT))
    found = []
    for _ in range(count):
        noisy = smooth + rng.normal(0, 5, smooth.shape).astype(np.float32)
        found.append(bytes(cv2.imencode(".jpg", noisy.clip(0, 255).astype(np.uint8))[1]))
    return found


def write_casme2(folder: Path, clips: int, frames: Sequence[bytes]) -> list[str]:
    """Write a dataset of that many clips; returns the arguments of `mellm prepare`."""
    rows = ["Subject,Filename,OnsetFrame,ApexFrame,OffsetFrame,Action Units,Estimated Emotion"]
    for clip in range(clips):
        subject, number = 1 + clip % 26, clip // 26
        name = f"EP{number // 26:02d}_{number % 26 + 1:02d}"
        place = folder / "frames" / f"sub{subject:02d}" / name
        place.mkdir(parents=True)
        for number in (*range(40, 50), *range(60, 71)):
            (place / f"reg_img{number}.jpg").write_bytes(frames[(7 * clip + number) % len(frames)])
        rows.append(f"{subject:02d},{name},46,66,86,4+R12,{('disgust', 'happiness', 'others')[clip % 3]}")
    (folder / "sheet.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return ["casme2", "--frames", str(folder / "frames"), "--sheet", str(folder / "sheet.csv")]


def write_smic(folder: Path, clips: int, frames: Sequence[bytes]) -> list[str]:
    """The same without a sheet, thirty frames per clip."""
    for clip in range(clips):
        place = folder / "HS" / f"s{1 + clip % 16}" / "micro" / "positive" / f"s{1 + clip % 16}_po_{1 + clip // 16:02d}"
        place.mkdir(parents=True)
        for number in range(30):
            (place / f"image{563849 + number}.jpg").write_bytes(frames[(7 * clip + number) % len(frames)])
    return ["smic", "--frames", str(folder)]


def measure(arguments: Sequence[str]) -> tuple[float, float]:
    """Run `mellm prepare` in its own process: wall-clock seconds, and peak resident memory in MB."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([str(MELLM), "prepare", *arguments], stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(output.read().decode(errors="replace"))
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return time.perf_counter() - start, kilobytes / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="*", default=[300, 3000], help="of CASME II")
    parser.add_argument("--smic", type=int, nargs="*", default=[30, 150], help="clips of SMIC")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--average", type=int, nargs="+", default=[30, 0], metavar="MS", help="as for mellm prepare")
    parser.add_argument("--folder", type=Path, help="where to write (default: the system's place for such files)")
    given = parser.parse_args()
    frames = pictures(16)
    print(f"frames of {WIDTH}x{HEIGHT}, {sum(map(len, frames)) / len(frames) / 1000:.0f} kB\n")
    print("| dataset | clips | workers | average, ms | seconds | start | clips/s | peak MB | again, s |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, write, sizes in (("casme2", write_casme2, given.clips), ("smic, spotted", write_smic, given.smic)):
        for clips in sizes:
            with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                one, many = Path(folder) / "one", Path(folder) / "many"
                alone, arguments = write(one, 1, frames), write(many, clips, frames)
                for workers, average in itertools.product(given.workers, given.average):
                    more = ["--workers", str(workers), "--average", str(average), "--out"]
                    out = f"out{workers}-{average}"
                    start, _ = measure([*alone, *more, str(one / out)])
                    whole, peak = measure([*arguments, *more, str(many / out)])
                    again, _ = measure([*arguments, *more, str(many / out)])
                    rate = clips / max(1e-3, whole - start)
                    row = f"{whole:.1f} | {start:.1f} | {rate:.0f} | {peak:.0f} | {again:.1f}"
                    print(f"| {name} | {clips} | {workers} | {average} | {row} |", flush=True)


if __name__ == "__main__":
    main()
