"""python benchmarks/tvl1.py [--peer CONTRIB/bin/python] [--runs 10] [--bandwidth GB/s] [--device cuda --batch 64]

TV-L1 in torch and in OpenCV contrib on the same pairs: accuracy, speed, and the distance to the limit of the memory.

1. `--peer` is the Python of an environment with opencv-contrib-python-headless (a separate one: two opencv packages
   break each other). A process of it and this one compute the same pairs in alternating order, with one thread each,
   one at a time. The ratio is OpenCV's time over ours for a pair in one run, given as median and quartiles. Accuracy
   is the absolute difference of the flows, in px.
2. Bytes. Unfused: the reads and writes of every torch operation of a call, each operand once, plus the medians that
   OpenCV computes on the CPU. Fused floor: the same iterations with one kernel each, which reads u (2), p (4), the
   slope (2) and the offset (1) and writes u and p: 15 floats a pixel; a warp has 9, a median 4, the pyramid none. Bytes
   over the bandwidth (measured by copying half a GB, or given) are the time of a machine that only waits for its
   memory. Caches can beat it: a scale that fits into them is not read from memory.
3. With `--device cuda`, a batch of the pairs, repeated: pairs a second.
"""

from __future__ import annotations

import argparse
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mellm_plugin.motion import tvl1 as module
from mellm_plugin.motion.tvl1 import tvl1

MAKE = Path(__file__).parents[1] / "tests" / "golden" / "tvl1" / "make.py"
FLOAT = 4  # bytes
ITERATION, WARP, MEDIAN = 15, 9, 4  # floats a pixel, fused


def pairs() -> dict[str, npt.NDArray[np.uint8]]:
    """The golden test's pairs at full size: name -> uint8 `(2, H, W)`."""
    make = runpy.run_path(str(MAKE))
    sizes = {"photographed": (224, 224), "photographed, oblong": (150, 200), "photographed, wide": (280, 340)}
    return {**make["drawn"](), **{name: make["photographed"](*size) for name, size in sizes.items()}}


class Peer:
    """A process of the other environment that computes TV-L1 flows on request; `clock` is a function of `time`."""

    _CODE = """
import sys, time
import cv2, numpy as np
cv2.setNumThreads(1)
folder, clock = sys.argv[1], getattr(time, sys.argv[2])
print(cv2.__version__, flush=True)
for line in sys.stdin:
    pair = np.load(f"{folder}/pair.npy")
    estimator = cv2.optflow.DualTVL1OpticalFlow_create()
    start = clock()
    flow = estimator.calc(*pair, None)
    seconds = clock() - start
    np.save(f"{folder}/flow.npy", flow)
    print(seconds, flush=True)
"""

    def __init__(self, python: str, clock: str = "process_time") -> None:
        self._folder = tempfile.TemporaryDirectory()
        command = [python, "-c", self._CODE, self._folder.name, clock]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1, env=environment)
        self.version = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise SystemExit(f"the peer ended with {self._process.wait()}; has it opencv-contrib-python-headless?")
        return line.strip()

    def flow(self, onset: npt.NDArray[np.uint8], apex: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], float]:
        """The flow, and its seconds."""
        np.save(f"{self._folder.name}/pair.npy", np.stack([onset, apex]))
        assert self._process.stdin is not None
        self._process.stdin.write("next\n")
        seconds = float(self._line())
        return np.asarray(np.load(f"{self._folder.name}/flow.npy"), np.float32), seconds

    def close(self) -> None:
        self._process.communicate()
        self._folder.cleanup()


def side_by_side(python: str, chosen: dict[str, npt.NDArray[np.uint8]], runs: int) -> None:
    """Accuracy for every pair, and the ratio of times by size."""
    ratios: dict[tuple[int, ...], list[float]] = defaultdict(list)
    spent: dict[tuple[int, ...], list[float]] = defaultdict(list)
    peer = Peer(python, "perf_counter")
    print(f"against OpenCV {peer.version}; absolute difference of the flows, px")
    for name, pair in chosen.items():
        off = np.abs(tvl1(*pair) - peer.flow(*pair)[0])
        middle, high = np.quantile(off, [0.5, 0.99])
        shape = f"{pair.shape[1]} x {pair.shape[2]}"
        print(f"  {name} ({shape}): mean {off.mean():.4f}, median {middle:.4f}, 99th percentile {high:.4f}")
    for run in range(runs):
        for pair in chosen.values():
            ours = seconds(pair) if run % 2 else 0.0
            theirs = peer.flow(*pair)[1]
            ours = ours or seconds(pair)
            ratios[pair.shape[1:]].append(theirs / ours)
            spent[pair.shape[1:]].append(ours)
    peer.close()
    for size, values in ratios.items():
        low, middle, high = statistics.quantiles(values, n=4)
        detail = f"{len(values)} pairs of runs; ours {1000 * statistics.median(spent[size]):.0f} ms a pair"
        ratio = f"{middle:.2f} times as fast as OpenCV (quartiles {low:.2f} to {high:.2f}"
        print(f"{size[0]} x {size[1]}: {ratio}, {detail})")


def timed(call: Callable[[], object], device: str) -> float:
    """Seconds of one call, with what the device still computes for it."""
    if device != "cpu":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def seconds(pair: npt.NDArray[np.uint8], device: str = "cpu") -> float:
    """Time of one call, frames and flow in the host's memory; `pair` is `(2, H, W)` or `(2, N, H, W)`."""
    return timed(lambda: tvl1(*pair, device=device), device)


class Traffic(TorchDispatchMode):  # type: ignore[misc]
    """Count the bytes that operations read and write, and the iterations of each warp."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.warps: list[list[int]] = []  # [pixels of the batch, iterations]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name.startswith("grid_sampler"):
            self.warps.append([out.shape[0] * out.shape[2] * out.shape[3], 0])
        elif name == "rsqrt_":  # once an iteration
            self.warps[-1][1] += 1
        if not func.is_view and not name.startswith(("empty", "new_empty")):
            read = [a for arg in args for a in (arg if isinstance(arg, (list, tuple)) else [arg])]
            written = list(out) if isinstance(out, (list, tuple)) else [out]
            self.bytes += sum(t.numel() * t.element_size() for t in [*read, *written] if isinstance(t, torch.Tensor))
        return out


def account(pair: npt.NDArray[np.uint8], device: str, bandwidth: float) -> None:
    """Print the bytes of a call, and the time that memory of `bandwidth` GB/s needs for them."""
    with Traffic() as traffic:
        tvl1(*pair, device=device)
    iterations = sum(pixels * count for pixels, count in traffic.warps)
    medians = sum(pixels * -(-count // module.INNER) for pixels, count in traffic.warps)
    unfused = traffic.bytes + (FLOAT * 2 * MEDIAN * medians if device == "cpu" else 0)
    warps = sum(pixels for pixels, _ in traffic.warps)
    fused = FLOAT * (ITERATION * iterations + WARP * warps + MEDIAN * medians)
    height, width = pair.shape[-2:]
    number = pair[0].size // (height * width)
    taken = min(seconds(pair, device) for _ in range(3))
    total, worth = sum(count for _, count in traffic.warps), number * iterations / pair[0].size
    print(
        f"{number} of {height} x {width} on {device}: {total} iterations, worth {worth:.0f} at full size for {number}"
    )
    for what, moved in (("unfused", unfused), ("fused floor", fused)):
        bound = moved / bandwidth / 1e9
        limit = f"{moved / number / 1e9:.2f} GB a pair, at {bandwidth:.1f} GB/s {1000 * bound / number:.2f} ms"
        print(f"  {what}: {limit}; taken {1000 * taken / number:.2f} ms, {taken / bound:.2f} times that")


def copy_bandwidth(device: str) -> float:
    """GB/s of copies of half a GB, counting reads and writes."""
    source = torch.zeros(2**27, device=device)
    target = torch.zeros_like(source)
    best = min(timed(lambda: target.copy_(source), device) for _ in range(5))
    return 2 * FLOAT * 2**27 / best / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description="TV-L1 in torch: accuracy, speed, bytes.")
    parser.add_argument("--peer", help="a Python with opencv-contrib-python-headless")
    parser.add_argument("--runs", type=int, default=10, help="for each pair of frames (default 10)")
    parser.add_argument("--bandwidth", type=float, help="of the memory, GB/s (default: measured)")
    parser.add_argument("--device", default="cpu", help="for the bytes, and for the batch (default cpu)")
    parser.add_argument("--batch", type=int, default=64, help="pairs at once on a GPU (default 64)")
    given = parser.parse_args()
    if given.runs < 2:
        parser.error("expected at least two runs, for quartiles")
    torch.set_num_threads(1)
    chosen = pairs()
    for size in ((224, 224), (280, 340)):  # warm up
        tvl1(np.zeros(size, np.uint8), np.zeros(size, np.uint8), device=given.device)

    if given.peer:
        side_by_side(given.peer, chosen, given.runs)
    bandwidth = given.bandwidth or copy_bandwidth(given.device)
    print(f"bandwidth {bandwidth:.1f} GB/s, {'given' if given.bandwidth else 'measured by copying'}")
    if given.device == "cpu":
        for name in ("drawn 3", "photographed", "photographed, wide"):
            account(chosen[name], given.device, bandwidth)
    else:
        square = np.stack([pair for pair in chosen.values() if pair.shape == (2, 224, 224)], axis=1)
        batch = np.concatenate([square] * -(-given.batch // square.shape[1]), axis=1)[:, : given.batch]
        seconds(batch, given.device)
        times = [seconds(batch, given.device) for _ in range(given.runs)]
        rate = given.batch / statistics.median(times)
        print(f"{rate:.1f} pairs a second ({given.batch} at once; {min(times):.3f} to {max(times):.3f} s)")
        off = np.abs(tvl1(*square, device=given.device) - tvl1(*square)).mean(axis=(1, 2, 3))
        print(f"mean absolute difference to the CPU's flow, px, by pair: {', '.join(f'{x:.4f}' for x in off)}")
        account(batch, given.device, bandwidth)
    versions = f"python {sys.version.split()[0]}, torch {torch.__version__}"
    print(f"{versions}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
