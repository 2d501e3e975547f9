"""Calibration, against scikit-learn's bins."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from mellm_plugin.scoring import calibration, summary


def test_bins_and_error_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    said = np.concatenate([rng.beta(4, 1, 500), [0, 1 / 15, 0.2, 0.5, 1, 1]])
    right = rng.random(len(said)) < said**2
    found = calibration.score(said.tolist(), right.tolist())
    shares, means = calibration_curve(right, said, n_bins=15, strategy="uniform")
    assert [one.right for one in found.bins] == pytest.approx(shares)
    assert [one.confidence for one in found.bins] == pytest.approx(means)
    counts = np.array([one.clips for one in found.bins])
    assert counts.sum() == len(said)
    assert found.ece == pytest.approx(np.sum(counts * np.abs(shares - means)) / len(said))
    for one in found.bins:
        assert one.low <= one.confidence <= one.high


def test_the_interval_is_of_the_same_error() -> None:
    rng = np.random.default_rng(1)
    said, right = rng.random(90), rng.random(90) < 0.5
    items = [
        {"id": f"a/{n}", "subject": f"s{n % 9}", "confidence": float(said[n]), "right": bool(right[n])}
        for n in range(90)
    ]
    one = summary.interval("ece", items)
    assert one.value == pytest.approx(calibration.score(said.tolist(), right.tolist()).ece)
    assert one.low is not None and one.high is not None and 0 <= one.low < one.high <= 1


def test_sure_and_right_is_calibrated() -> None:
    assert calibration.score([1.0, 1.0], [True, True]).ece == 0
    assert calibration.score([1.0, 1.0], [False, False]).ece == 1
