"""Calibration: whether a model is right as often as it says that it is.

    score([.95, .9, .6], [True, True, False])  ->  ece .25, bins ((.5333, .6, 1, .6, .0), (.8666, ..), ..)

The confidence of an answer is the probability of its label. Source: Guo, Pleiss, Sun and Weinberger 2017, On
Calibration of Modern Neural Networks, ICML: 15 bins of equal width; the expected calibration error (ECE) is the mean
over the clips of the difference between the mean confidence and the share of right answers in their bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Bins of equal width between 0 and 1; each contains its upper end, and the first 0 too."""


class Bin(NamedTuple):
    """The clips whose confidence is in a bin."""

    low: float
    high: float
    clips: int
    confidence: float  # their mean
    right: float  # share of right answers


@dataclass(frozen=True)
class Calibration:
    """The calibration of one set of clips; its bins have clips, and ascend."""

    ece: float
    bins: tuple[Bin, ...]


def bins_of(confidence: Sequence[float]) -> NDArray[np.int64]:
    """The bin of each confidence of 0 to 1: int64 of 0 to `BINS` - 1."""
    edges = np.linspace(0, 1, BINS + 1)
    return np.clip(np.searchsorted(edges, np.asarray(confidence, np.float64)) - 1, 0, BINS - 1)


def score(confidence: Sequence[float], right: Sequence[bool]) -> Calibration:
    """The calibration of answers, at least one: the confidence of each, 0 to 1, and whether it is right."""
    places = bins_of(confidence)
    said, was = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    bins = []
    for place in np.unique(places):
        within = places == place
        ends = place / BINS, (place + 1) / BINS
        bins.append(Bin(*ends, int(within.sum()), float(said[within].mean()), float(was[within].mean())))
    ece = sum(one.clips * abs(one.right - one.confidence) for one in bins) / len(said)
    return Calibration(ece, tuple(bins))
