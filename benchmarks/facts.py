"""python benchmarks/facts.py [--clips 300] [--no-nose] [--start 0]

Scores of `mellm_plugin.scoring.facts` for descriptions of known quality on SynthME's test clips: the right one, that of
another clip, and the right one with every direction reversed; and their cost.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping

import cv2

from mellm_plugin.datasets import synthme
from mellm_plugin.language.claims import claims
from mellm_plugin.language.descriptions import describe
from mellm_plugin.motion.facial import facial_flow
from mellm_plugin.motion.regions import region_motions
from mellm_plugin.scoring.facts import compared, score

OPPOSITE: Mapping[str, str] = {
    **{"up": "down", "down": "up", "inwards": "outwards", "outwards": "inwards", "left": "right", "right": "left"},
    **{"towards each other": "apart", "apart": "towards each other"},
}
COUNTS = ("right", "claims", "found", "facts", "contradicting", "decided")


def turned(description: str) -> str:
    """The description with the direction of each movement reversed, and without its colours."""
    plain = re.sub(r" \([^)]*\)", "", description)
    words = "|".join(sorted(OPPOSITE, key=len, reverse=True))
    moves = re.compile(rf"(moves? )((?:{words})(?:(?: and |-)(?:{words}))?)")
    return moves.sub(lambda m: m[1] + re.sub(words, lambda word: OPPOSITE[word[0]], m[2]), plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--no-nose", action="store_true", help="the nose tip is not known")
    parser.add_argument("--start", type=int, default=0)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    drawn = []
    for clip in synthme.clips("test", given.clips, start=given.start):
        onset, apex = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (clip.onset, clip.apex))
        drawn.append((clip.aus, describe([(code, None) for code in clip.aus], ""), facial_flow(onset, apex), clip.nose))
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    seconds = 0.0
    for at, (codes, description, facial, nose) in enumerate(drawn):
        start = time.perf_counter()
        motions = region_motions(facial, None if given.no_nose else nose)
        compared(claims(description), codes, motions)
        seconds += time.perf_counter() - start
        other = drawn[(at + len(drawn) // 2) % len(drawn)][1]
        for name, text in (("right", description), ("of another clip", other), ("turned round", turned(description))):
            found = compared(claims(text), codes, motions)
            sums[name].update({count: found[count] for count in COUNTS})
    for name, n in sums.items():
        f1 = score(n["right"], n["claims"], n["found"], n["facts"]).f1 or 0
        claimed, decided, contradicting = n["claims"], n["decided"], n["contradicting"]
        share = contradicting / max(decided, 1)
        print(f"{name}: facts F1 {f1:.3f}, {decided} of {claimed} claims decided, {share:.3f} of these contradict")
    print(f"{1000 * seconds / len(drawn):.1f} ms a clip beside its flow")


if __name__ == "__main__":
    main()
