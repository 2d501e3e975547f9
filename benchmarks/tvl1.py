"""python benchmarks/tvl1.py [--peer CONTRIB/bin/python] [--runs 10] [--bandwidth GB/s] [--device cuda --batch 64]

TV-L1 in torch and in OpenCV contrib on the same pairs: accuracy, speed, and the distance to the limit of the memory.

1. `--peer` is the Python of an environment with opencv-contrib-python-headless (a separate one: two opencv packages
   break each other). A process of it and this one compute the same pairs in alternating order, with one thread each,
   one at a time. The ratio is OpenCV's time over ours for a pair in one run, given as median and quartiles. Accuracy
   is the absolute difference of the flows, in px.
2. Bytes. Unfused: the reads and writes of every torch operation of a call, each operand once, plus the medians that
   OpenCV computes on the CPU. Fused floor: the same iterations with one kernel each, which reads u (2), p (4), the
   slope (2) and the offset (1) and writes u and p: 15 floats a pixel; a warp has 9 (reads u, the apex with its
   gradient, the onset; writes slope and offset), a median 4. The pyramid is not in the floor. Bytes over the
   bandwidth (measured by copying half a GB, or given) are the time of a machine that only waits for its memory.
   Caches can beat it: a scale that fits into them is not read from memory.
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
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mellm_plugin.motion import tvl1 as module
from mellm_plugin.motion.tvl1 import tvl1

MAKE = Path(__file__).parents[1] / "tests" / "golden" / "tvl1" / "make.py"
PEER = """
import sys, time
import cv2, numpy as np
cv2.setNumThreads(1)
folder = sys.argv[1]
pairs = dict(np.load(f"{folder}/pairs.npz"))
print(cv2.__version__, flush=True)
for line in sys.stdin:
    name = line.strip()
    estimator = cv2.optflow.DualTVL1OpticalFlow_create()
    start = time.perf_counter()
    flow = estimator.calc(*pairs[name], None)
    seconds = time.perf_counter() - start
    np.save(f"{folder}/flow.npy", flow)
    print(seconds, flush=True)
"""
FLOAT = 4  # bytes
ITERATION, WARP, MEDIAN = 15, 9, 4  # floats a pixel, fused


def pairs() -> dict[str, npt.NDArray[np.uint8]]:
    """The golden test's pairs at full size: name -> uint8 `(2, H, W)`."""
    make = runpy.run_path(str(MAKE))
    sizes = {"photographed": (224, 224), "photographed, oblong": (150, 200), "photographed, wide": (280, 340)}
    return {**make["drawn"](), **{name: make["photographed"](*size) for name, size in sizes.items()}}


class Peer:
    """A process of the other environment that computes the flow of a named pair on request."""

    def __init__(self, python: str, folder: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [python, "-c", PEER, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.version = self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"the peer ended with {self.process.wait()}; does it have opencv-contrib-python-headless?")
        return line.strip()

    def seconds(self, name: str) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(name + "\n")
        return float(self._line())

    def flow(self) -> npt.NDArray[np.float32]:
        return np.asarray(np.load(f"{self.folder}/flow.npy"))


def side_by_side(python: str, chosen: dict[str, npt.NDArray[np.uint8]], runs: int) -> None:
    """Accuracy for every pair, and the ratio of times by size."""
    ratios: dict[tuple[int, ...], list[float]] = defaultdict(list)
    spent: dict[tuple[int, ...], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/pairs.npz", **chosen)  # type: ignore[arg-type]
        peer = Peer(python, folder)
        print(f"against OpenCV {peer.version}; absolute difference of the flows, px")
        for name, pair in chosen.items():
            peer.seconds(name)
            off = np.abs(tvl1(*pair) - peer.flow())
            print(
                f"  {name} ({pair.shape[1]} x {pair.shape[2]}): mean {off.mean():.4f}, median {np.median(off):.4f}, "
                f"99th percentile {np.quantile(off, 0.99):.4f}"
            )
        for run in range(runs):
            for name, pair in chosen.items():
                order = ("ours", "theirs") if run % 2 else ("theirs", "ours")
                times = {side: seconds(pair) if side == "ours" else peer.seconds(name) for side in order}
                ratios[pair.shape[1:]].append(times["theirs"] / times["ours"])
                spent[pair.shape[1:]].append(times["ours"])
        assert peer.process.stdin is not None
        peer.process.stdin.close()
        peer.process.wait()
    for size, values in ratios.items():
        low, middle, high = statistics.quantiles(values, n=4)
        print(
            f"{size[0]} x {size[1]}: {middle:.2f} times as fast as OpenCV (quartiles {low:.2f} to {high:.2f}, "
            f"{len(values)} pairs of runs; ours {1000 * statistics.median(spent[size]):.0f} ms a pair)"
        )


def seconds(pair: npt.NDArray[np.uint8], device: str = "cpu") -> float:
    """Time of one call, frames and flow in the host's memory; `pair` is `(2, H, W)` or `(2, N, H, W)`."""
    start = time.perf_counter()
    tvl1(*pair, device=device)
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


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
    number = pair[0].size // (pair.shape[-2] * pair.shape[-1])
    taken = min(seconds(pair, device) for _ in range(3))
    print(
        f"{number} of {pair.shape[-2]} x {pair.shape[-1]} on {device}: {sum(count for _, count in traffic.warps)} "
        f"iterations, worth {number * iterations / pair[0].size:.0f} at full size for {number}"
    )
    for what, moved in (("unfused", unfused), ("fused floor", fused)):
        bound = moved / bandwidth / 1e9
        print(
            f"  {what}: {moved / number / 1e9:.2f} GB a pair, at {bandwidth:.1f} GB/s {1000 * bound / number:.2f} ms; "
            f"taken {1000 * taken / number:.2f} ms, {taken / bound:.2f} times that"
        )


def copy_bandwidth(device: str) -> float:
    """GB/s of copies of half a GB, counting reads and writes."""
    source = torch.zeros(2**27, device=device)
    target, best = torch.empty_like(source).zero_(), float("inf")
    for _ in range(5):
        if device != "cpu":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        target.copy_(source)
        if device != "cpu":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
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
        taken = statistics.median(times)
        print(
            f"{given.batch / taken:.1f} pairs a second ({given.batch} at once; {min(times):.3f} to {max(times):.3f} s)"
        )
        off = np.abs(tvl1(*square, device=given.device) - tvl1(*square)).mean(axis=(1, 2, 3))
        print(f"mean absolute difference to the CPU's flow, px, by pair: {', '.join(f'{x:.4f}' for x in off)}")
        account(batch, given.device, bandwidth)
    versions = f"python {sys.version.split()[0]}, torch {torch.__version__}"
    print(f"{versions}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
