"""Auxiliary heads in training: their targets, their loss, and their calibration.

A target that is not known is missing and has no loss: a unit that an unread code may hide, a region without a clear
direction, a label that the source does not have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch.nn import functional

from mellm_plugin.facs.codes import numbers, parse_canonical
from mellm_plugin.facs.labels import COARSE, coarse
from mellm_plugin.models.heads import REGIONS, Heads, HeadShape, has_heads
from mellm_plugin.models.inputs import encoded, rendered
from mellm_plugin.scoring import emotion
from mellm_plugin.training.challenge import certain_units
from mellm_plugin.training.clips import Record
from mellm_plugin.training.data import Examples
from mellm_plugin.training.forms import Truth
from mellm_plugin.training.head_settings import HeadSettings

Targets = dict[str, torch.Tensor]

UNKNOWN = -100
"""Class of a missing target; of a unit, NaN."""

_COOLEST, _HOTTEST = 0.05, 20.0  # temperatures


def targets(shape: HeadShape, truths: Sequence[Truth | None]) -> Targets:
    """What the heads should say of each example.

    Returns:
        `units` float32 `(n, units)` and `sides` `(n, 2 * units)`, the subject's left before the right: 1, 0 or NaN;
        `label`, `coarse` int64 `(n,)`, `regions` `(n, regions)`: classes or `UNKNOWN`; `open` bool `(n, labels)`: the
        labels of an example's closed set.
    """
    n, units = len(truths), len(shape.units)
    found: Targets = {
        "units": torch.full((n, units), torch.nan),
        "sides": torch.full((n, 2 * units), torch.nan),
        "label": torch.full((n,), UNKNOWN),
        "coarse": torch.full((n,), UNKNOWN),
        "regions": torch.full((n, len(REGIONS)), UNKNOWN),
        "open": torch.ones(n, len(shape.labels), dtype=torch.bool),
    }
    for row, truth in enumerate(truths):
        if truth is None:
            continue
        for name, values in zip(("units", "sides"), _moving(shape.units, truth.record), strict=True):
            found[name][row] = torch.tensor(values)
        if truth.label in shape.labels:
            found["label"][row] = shape.labels.index(truth.label)
            found["open"][row] = torch.tensor([label in truth.labels for label in shape.labels])
        record = truth.record
        group = record.coarse or (coarse(record.emotion) if record.emotion else None)
        if group in COARSE:
            found["coarse"][row] = COARSE.index(group)
        found["regions"][row] = torch.tensor([UNKNOWN if one is None else one for one in truth.motions])
    return found


def _moving(units: Sequence[int], record: Record) -> tuple[list[float], list[float]]:
    """1, 0 or NaN for each unit, and for each unit on the subject's left and right."""
    codes = [parse_canonical(code) for code in record.aus or ()]
    possible = {number for event in numbers(record.aus or ()) for number in event}
    certain = set(certain_units(record))
    absent = 0.0 if record.aus is not None and record.complete else float("nan")
    whole = [1.0 if unit in certain else float("nan") if unit in possible else absent for unit in units]
    halves: list[float] = []
    for side in "LR":
        shown = {code.alternatives[0] for code in codes if len(code.alternatives) == 1 and code.side in (side, None)}
        pairs = zip(units, whole, strict=True)
        halves += [1.0 if unit in shown else 0.0 if there == 1.0 else there for unit, there in pairs]
    return whole, halves


def losses(logits: Mapping[str, torch.Tensor], of: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The loss of each head for each example, `(n,)`: the mean over its known targets; 0 where none is known."""
    found: dict[str, torch.Tensor] = {}
    for kind, given in logits.items():
        wanted = of[kind]
        if wanted.is_floating_point():
            known = ~wanted.isnan()
            each = functional.binary_cross_entropy_with_logits(given, wanted.nan_to_num(), reduction="none") * known
        else:
            if kind == "label":
                given = given.masked_fill(~of["open"], -torch.inf)
            wanted = wanted.view(len(wanted), -1)
            known = wanted != UNKNOWN
            classes = given.view(*wanted.shape, -1).transpose(1, 2)
            each = functional.cross_entropy(classes, wanted, ignore_index=UNKNOWN, reduction="none")
        found[kind] = each.sum(1) / known.sum(1).clamp(min=1)
    return found


def temperatures(logits: Mapping[str, torch.Tensor], of: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """By head, what its logits are divided by so that its probabilities fit best (Guo et al. 2017)."""
    found: dict[str, float] = {}
    for kind, given in logits.items():
        known = ~of[kind].isnan() if of[kind].is_floating_point() else of[kind] != UNKNOWN
        if not known.any():
            continue

        def loss(log: float, kind: str = kind, given: torch.Tensor = given) -> float:
            return float(losses({kind: given / float(np.exp(log))}, of)[kind].mean())

        best: Any = minimize_scalar(loss, bounds=tuple(np.log([_COOLEST, _HOTTEST])), method="bounded")
        found[kind] = round(float(np.exp(best.x)), 4)
    return found


def scores(shape: HeadShape, logits: Mapping[str, torch.Tensor], of: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """The loss of the heads together, UF1 of the label and mean F1 of the units, where there are such heads."""
    found = {"loss": sum(float(each.mean()) for each in losses(logits, of).values())}
    if "label" in logits and (known := of["label"] != UNKNOWN).any():
        best = logits["label"].masked_fill(~of["open"], -torch.inf).argmax(1)
        gold, said = ([shape.labels[n] for n in some[known].tolist()] for some in (of["label"], best))
        found["label_uf1"] = emotion.score(gold, said, shape.labels).uf1 or 0.0
    if "units" in logits:
        truth, named = of["units"], logits["units"] > 0
        hits = (named & (truth == 1)).sum(0)
        both = (truth == 1).sum(0) + (named & ~truth.isnan()).sum(0)
        if (there := (truth == 1).any(0)).any():
            found["au_f1"] = float((2 * hits / both.clamp(min=1))[there].mean())
    return found


def new_heads(
    settings: HeadSettings, model: Any, processor: Any, examples: Examples, before: Path | None = None
) -> Heads:
    """Heads for the examples of a stage; the places of tokens are used if the processor makes them known.

    `before` is the outcome of the stage before: if its heads have the same shape, they are trained on.
    """
    config = model.config
    pictures = 2 if examples.motion is None else 1
    units, labels = examples.units_and_labels()
    kinds = tuple(settings.weights())
    grid = settings.grid if _has_places(processor, config, pictures) else 0
    width = config.get_text_config().hidden_size
    shape = HeadShape(width, grid, pictures, kinds, units, labels)
    if before is not None and has_heads(before):
        carried = Heads.load(before)
        if replace(carried.shape, temperatures={}) == shape:
            return carried
    return Heads(shape)


def _has_places(processor: Any, config: Any, pictures: int) -> bool:
    """Whether rows and columns of visual tokens are known, tried on pictures of one colour."""
    content = [*({"type": "image"} for _ in range(pictures)), {"type": "text", "text": "?"}]
    text = rendered(processor, [{"role": "user", "content": content}])
    batch = encoded(processor, [text], [[np.zeros((224, 224, 3), np.uint8)] * pictures])
    if "image_grid_thw" in batch:
        return True
    splits = ("do_image_splitting", "crop_to_patches", "do_pan_and_scan")
    token = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
    tokens = int((batch["input_ids"] == token).sum()) // pictures
    return math.isqrt(tokens) ** 2 == tokens and not any(getattr(processor.image_processor, n, False) for n in splits)
