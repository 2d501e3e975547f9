"""Make the golden flows of TV-L1: inputs here, flows with OpenCV contrib, which must not share our environment.

    python tests/golden/tvl1/make.py pairs          # with this package, its test extra and opencv-python-headless
    CONTRIB/bin/python tests/golden/tvl1/make.py flows    # with numpy and opencv-contrib-python-headless alone

`pairs.npz`: name -> uint8 (2, H, W), onset and apex, grey: drawn clips (mellm_plugin.datasets.synthme) cut to 112 px,
and the face of scikit-image's astronaut (NASA, public domain) moved by known action units and a head that nears.
`flows.npz`: name -> float16 (H / 2, W / 2, 2), px: every second pixel of OpenCV's flow, at default settings.

Made with OpenCV 5.0.0.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent
Grey = npt.NDArray[np.uint8]


def drawn() -> dict[str, Grey]:
    """Clips of 224 px: three as the shipped test set has them, and one of 5 px with a blink, in other light."""
    from mellm_plugin.datasets.synthme import Face, clips, draw_clip

    chosen = {f"drawn {number}": next(clips("test", 1, start=number)) for number in (3, 42, 58)}
    rng = np.random.default_rng(5)
    chosen["large, other light"] = draw_clip(Face(5), rng, ("1", "2", "26"), 3.0, head=3.0, blink=True)
    found = {}
    for name, clip in chosen.items():
        pair = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (clip.onset, clip.apex)])
        if name.startswith("large"):
            slope = 1.02 + 0.02 * (np.arange(pair.shape[2]) - 112) / 112
            pair[1] = (pair[1] * slope + 2).round().clip(0, 255)
        found[name] = pair
    return found


def photographed(height: int, width: int) -> Grey:
    """The astronaut's face, moved by AU4 and AU12, 1.5 and 2 px, under a head that nears; 1 grey level of noise."""
    from skimage import data

    from mellm_plugin.datasets.synthme import displacement, warp

    across = round(174 * width / height)
    left = 224 - across // 2
    crop = cv2.cvtColor(data.astronaut()[22:196, left : left + across], cv2.COLOR_RGB2GRAY)
    face = cv2.resize(crop, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    flow = displacement(["4", "12"], [1.5, 2.0], (width / 2, height / 2), 0.4 * height, (height, width))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    flow += np.dstack([0.006 * (x - width / 2) + 1.2, 0.006 * (y - height / 2) - 0.8]).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 1.0, (2, height, width))
    pair = np.stack([face, warp(face, flow) * 1.01]) + noise
    return np.asarray(pair.round().clip(0, 255), np.uint8)


def main() -> None:
    if sys.argv[1:] == ["pairs"]:
        pairs = {name: pair[:, 40:152, 56:168] for name, pair in drawn().items()}
        pairs |= {"photographed": photographed(112, 112), "photographed, oblong": photographed(90, 120)}
        np.savez_compressed(HERE / "pairs.npz", **pairs)  # type: ignore[arg-type]
    elif sys.argv[1:] == ["flows"]:
        flows = {}
        for name, (onset, apex) in np.load(HERE / "pairs.npz").items():
            estimator = cv2.optflow.DualTVL1OpticalFlow.create()
            flows[name] = estimator.calc(onset, apex, None)[::2, ::2].astype(np.float16)
        np.savez_compressed(HERE / "flows.npz", **flows)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
