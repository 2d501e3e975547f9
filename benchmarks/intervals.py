"""The bootstrap over subjects: its cost compared with recomputing every resample, and the coverage of its intervals.

    python benchmarks/intervals.py              # about 20 s: cost
    python benchmarks/intervals.py --coverage   # some minutes: coverage, and errors of the comparison; see --subjects

Cost: 1,000 clips, 10,000 resamples; the recomputation scores some hundred resamples clip by clip and is scaled up. Both
run in turns, and the ratio is that of each turn.

Coverage: subjects differ in how well they are read and in which classes they show. The true score is that of very many
subjects. An interval of 95 % should contain it in 95 of 100 samples.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections import Counter

import numpy as np

from mellm_plugin.scoring import emotion, units
from mellm_plugin.scoring.counts import Clip, Counts, label_counts, rate_counts, unit_counts
from mellm_plugin.scoring.intervals import RESAMPLES, bootstrap, compare

LABELS = ("disgust", "happiness", "others", "repression", "surprise")
UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17)
COARSE = ("negative", "positive", "surprise")
Events = list[tuple[int, ...]]


def cost(clips: int, subjects: int, turns: int, recomputed: int) -> str:
    """One line: seconds of labels and of units together, and the ratio to recomputing."""
    rng = np.random.default_rng(0)
    who: list[Clip] = [(str(n), str(n % subjects)) for n in range(clips)]
    gold, read = (rng.choice(LABELS, clips).tolist() for _ in range(2))
    events: list[Events] = [[(int(u),) for u in rng.choice(UNITS, 3, replace=False)] for _ in range(clips)]
    named = [{int(u) for u in rng.choice(UNITS, 3)} for _ in range(clips)]
    of = [[at for at, (_, subject) in enumerate(who) if subject == str(s)] for s in range(subjects)]
    ours: list[float] = []
    ratios: list[float] = []
    for _ in range(turns):
        start = time.perf_counter()
        bootstrap(label_counts(who, gold, read, LABELS))
        bootstrap(unit_counts(who, events, named, UNITS))
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        for _ in range(recomputed):
            rows = [at for s in rng.integers(0, subjects, subjects) for at in of[s]]
            emotion.score([gold[at] for at in rows], [read[at] for at in rows], LABELS)
            units.score([events[at] for at in rows], [named[at] for at in rows], UNITS)
        ratios.append((time.perf_counter() - start) * RESAMPLES / recomputed / ours[-1])
    ratio = f"{statistics.median(ratios):.0f} times as long ({min(ratios):.0f} to {max(ratios):.0f})"
    return f"{clips} clips of {subjects:4} subjects: {statistics.median(ours):.3f} s; recomputing takes {ratio}"


def sample(rng: np.random.Generator, subjects: int, spread: float) -> tuple[list[Clip], list[str], list[str | None]]:
    """Clips of subjects of 2 to 20 clips, three classes of .57, .25 and .19; `spread` is in the log odds."""
    clips: list[Clip] = []
    gold: list[str] = []
    read: list[str | None] = []
    for subject in range(subjects):
        skill = 1 / (1 + math.exp(-0.5 - spread * rng.normal()))
        classes = rng.dirichlet(6 * np.array([0.565, 0.247, 0.188]))
        size = int(rng.integers(2, 21))
        chances = zip(rng.random(size), rng.random(size), rng.integers(0, 3, size), strict=True)
        for clip, (skilled, silent, guess) in enumerate(chances):
            label = str(COARSE[min(2, int(np.searchsorted(classes.cumsum(), (clip + 0.5) / size)))])
            clips.append((f"{subject}/{clip}", str(subject)))
            gold.append(label)
            read.append(label if skilled < skill else None if silent < 0.1 else COARSE[guess])
    return clips, gold, read


def coverage(subjects: int, spread: float, rounds: int, resamples: int) -> str:
    """One line: how often each kind of interval holds the truth, for UF1 and accuracy."""
    rng = np.random.default_rng([subjects, int(10 * spread)])
    clips, gold, read = sample(rng, 8_000, spread)
    truth = bootstrap(label_counts(clips, gold, read, COARSE), resamples=1).intervals
    held = Counter[str]()
    for _ in range(rounds):
        clips, gold, read = sample(rng, subjects, spread)
        kinds: dict[str, list[Clip]] = {"subjects": clips, "clips": [(id, id) for id, _ in clips]}
        for kind, of in kinds.items():
            counts = label_counts(of, gold, read, COARSE)
            found = bootstrap(counts, resamples=resamples).intervals
            for score in ("uf1", "acc"):
                held[f"{score} {kind}"] += _holds(found[score].low, found[score].high, truth[score].value)
            if kind == "subjects":
                held["uf1 plain percentiles"] += _holds(*plain(counts, resamples), truth["uf1"].value)
    parts = ", ".join(f"{name} {held[name] / rounds:.3f}" for name in held)
    return f"{subjects:3} subjects, spread {spread}: {parts}"


def plain(counts: Counts, resamples: int) -> tuple[float, float]:
    """The usual percentiles of UF1, without regard to how few the subjects are."""
    number = len(counts.subjects)
    drawn = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), resamples)
    low, high = np.quantile(counts.scores(drawn @ counts.cells)["uf1"], [0.025, 0.975])
    return float(low), float(high)


def _holds(low: float | None, high: float | None, truth: float | None) -> bool:
    return low is not None and high is not None and truth is not None and low <= truth <= high


def false_differences(subjects: int, rounds: int, resamples: int) -> str:
    """One line: how often two runs that are alike differ at .05, by our p-value and by the interval."""
    rng = np.random.default_rng(subjects)
    by_p = by_interval = 0
    for turn in range(rounds):
        skill = rng.beta(2, 2, subjects)
        sizes = rng.integers(2, 21, subjects)
        clips = [(f"{s}/{n}", str(s)) for s, size in enumerate(sizes) for n in range(size)]
        chances = np.repeat(skill, sizes)
        first, second = (rate_counts(clips, (rng.random(len(chances)) < chances).tolist()) for _ in range(2))
        found = compare(first, second, "rate", resamples=resamples, seed=turn)
        by_p += found.p is not None and found.p <= 0.05
        by_interval += not _holds(found.low, found.high, 0.0)
    shares = f"p <= .05 in {by_p / rounds:.3f}, 0 outside of the interval in {by_interval / rounds:.3f}"
    return f"{subjects:3} subjects, two runs alike: {shares}"


def main() -> None:
    parser = argparse.ArgumentParser(description="The bootstrap over subjects: cost and coverage.")
    parser.add_argument("--coverage", action="store_true", help="simulate how often intervals hold the truth")
    parser.add_argument("--rounds", type=int, default=1000, help="samples a simulation (default 1000)")
    parser.add_argument("--resamples", type=int, default=1000, help="of each sample in a simulation (default 1000)")
    parser.add_argument("--subjects", type=int, nargs="+", default=[8, 16, 26, 68], help="of the samples simulated")
    given = parser.parse_args()
    if min(given.subjects) < 2:
        parser.error("expected at least two subjects")
    if given.rounds < 1 or given.resamples < 1:
        parser.error("expected at least one round and one resample")
    if not given.coverage:
        for subjects in (26, 68, 1000):
            print(cost(1000, subjects, turns=5, recomputed=100), flush=True)
        return
    for subjects in given.subjects:
        for spread in (0.0, 2.0):
            print(coverage(subjects, spread, given.rounds, given.resamples), flush=True)
        print(false_differences(subjects, given.rounds, given.resamples), flush=True)


if __name__ == "__main__":
    main()
