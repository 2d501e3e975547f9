"""Targets of heads: only what is known; their losses against torch's and scikit-learn's; their calibration."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.metrics import f1_score, log_loss

from mellm_plugin.models.heads import REGIONS, HeadShape
from mellm_plugin.motion.facial import FacialFlow
from mellm_plugin.motion.regions import region_motions
from mellm_plugin.training.clips import Record
from mellm_plugin.training.forms import Truth
from mellm_plugin.training.heads import losses, scores, targets, temperatures

LABELS = ("anger", "happiness", "surprise")
SHAPE = HeadShape(32, 2, 1, ("units", "sides", "label", "coarse", "regions"), (4, 6, 12), LABELS)
STILL: tuple[int | None, ...] = (0,) * len(REGIONS)


def truth(aus: tuple[str, ...] | None, complete: bool = True, emotion: str | None = "anger", **more: object) -> Truth:
    record = Record("toy/s/1", "toy", "toy/s", aus, complete, emotion, None)
    known = {"labels": LABELS, "label": emotion, "motions": STILL, **more}
    return Truth(record, **known)  # type: ignore[arg-type]


def test_what_is_not_known_has_no_target() -> None:
    some = [
        truth(("4", "L12")),
        truth(("6/12", "4"), motions=(None, 3, *STILL[2:])),
        truth(("4",), complete=False, labels=("anger", "surprise")),
        truth(None, emotion=None),
        None,
    ]
    found = targets(SHAPE, some)
    nan = math.nan
    expected = [[1, 0, 1], [1, nan, nan], [1, nan, nan], [nan] * 3, [nan] * 3]
    assert np.array_equal(found["units"].numpy(), expected, equal_nan=True)
    left, right = found["sides"][0, :3].tolist(), found["sides"][0, 3:].tolist()
    assert (left, right) == ([1, 0, 1], [1, 0, 0]), "of both sides, and of the left alone"
    assert found["label"].tolist() == [0, 0, 0, -100, -100] and found["coarse"].tolist() == [0, 0, 0, -100, -100]
    assert found["open"].tolist() == [[True] * 3, [True] * 3, [True, False, True], [True] * 3, [True] * 3]
    assert found["regions"][1, :3].tolist() == [-100, 3, 0] and (found["regions"][4] == -100).all()


def test_regions_are_those_that_are_measured() -> None:
    still = FacialFlow(np.zeros((112, 112, 2), np.float32), None, None, "none", ())
    assert tuple((motion.region, motion.side) for motion in region_motions(still)) == REGIONS


def test_losses_are_the_means_over_known_targets() -> None:
    rng = torch.Generator().manual_seed(0)
    of = targets(SHAPE, [truth(("4", "12")), truth(("6/12",), emotion="surprise"), None])
    logits = {kind: torch.randn(3, SHAPE.outputs(kind), generator=rng) for kind in SHAPE.kinds}
    found = losses(logits, of)
    assert all(each[2] == 0 for each in found.values()), "nothing is known of the third"
    said = logits["label"].softmax(1).double().numpy()[:2]
    assert np.isclose(found["label"][:2].mean(), log_loss([0, 2], said / said.sum(1, keepdims=True), labels=[0, 1, 2]))
    known = torch.nn.functional.binary_cross_entropy_with_logits(logits["units"][1, :1], torch.zeros(1))
    assert torch.isclose(found["units"][1], known), "6 and 12 are open, 4 is absent"
    closed = {**of, "open": torch.tensor([[True, False, True]] * 3)}
    two = torch.nn.functional.cross_entropy(logits["label"][:1, [0, 2]], torch.tensor([0]))
    assert torch.isclose(losses(logits, closed)["label"][0], two), "labels that were not asked for do not compete"


def test_a_temperature_undoes_overconfidence_and_scores_are_scikit_learns() -> None:
    rng = torch.Generator().manual_seed(0)
    fair = torch.randn(3000, 3, generator=rng)
    drawn = torch.multinomial(fair.softmax(1), 1, generator=rng).flatten()
    of = {"label": drawn, "open": torch.ones(3000, 3, dtype=torch.bool)}
    found = temperatures({"label": 4 * fair}, of)
    assert 3.5 < found["label"] < 4.5
    own = scores(SHAPE, {"label": fair}, of)
    assert np.isclose(own["label_uf1"], f1_score(drawn, fair.argmax(1), average="macro"))
    assert np.isclose(own["loss"], log_loss(drawn, fair.softmax(1).double().numpy()), atol=1e-4)
