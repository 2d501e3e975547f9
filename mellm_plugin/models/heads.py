"""Heads on the visual tokens of a model: linear readers of units, their sides, the label, and the motion of regions.

    heads.json            {"width": 192, "grid": 6, "pictures": 1, "units": [1, 2, 4, ..], "labels": ["anger", ..],
                           "kinds": ["units", "label"], "temperatures": {"units": 1.3, "label": .8}}
    heads.safetensors     their weights

Visual tokens are what the language model is given in place of image tokens, in any architecture that scatters features
of images into the embeddings of its words. They are pooled to a grid by their place in the picture; where that is not
known, a few learnt queries pool them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from mellm_plugin.errors import ModelError
from mellm_plugin.facs.labels import COARSE, coarse
from mellm_plugin.language.probabilities import with_probabilities
from mellm_plugin.language.short_answers import label_answer, units_answer
from mellm_plugin.motion.colour import DIRECTIONS
from mellm_plugin.motion.regions import MIDLINE, PAIRED
from mellm_plugin.small_files import read_json

SETTINGS, WEIGHTS = FILES = "heads.json", "heads.safetensors"

KINDS: tuple[str, ...] = ("units", "sides", "label", "coarse", "regions")
"""Which units move; on which sides; the label; the coarse class; which way each region moves."""

REGIONS: tuple[tuple[str, str | None], ...] = (
    *((region, side) for region in PAIRED for side in ("left", "right")),
    *((region, None) for region in MIDLINE),
)
"""Each region and side, in the order of `motion.regions.region_motions`."""

MOTIONS: tuple[str, ...] = ("still", *DIRECTIONS)
"""The classes of a region."""

_WIDEST = 256  # tokens of more numbers are reduced to so many
_QUERIES = 8  # that pool tokens whose places are not known
_SCALE = 256.0  # of all features together: the step of a logit does not depend on their number


@dataclass(frozen=True)
class HeadShape:
    """What heads read and from what."""

    width: int  # numbers of a visual token
    grid: int  # cells of a side; 0: places are not known
    pictures: int  # of an example
    kinds: tuple[str, ...]  # of `KINDS`
    units: tuple[int, ...]
    labels: tuple[str, ...]
    temperatures: Mapping[str, float] = field(default_factory=dict)  # logits are divided by them; missing: 1

    def outputs(self, kind: str) -> int:
        """Number of logits of a head."""
        units = len(self.units)
        sizes = {"units": units, "sides": 2 * units, "label": len(self.labels), "coarse": len(COARSE)}
        return sizes.get(kind, len(REGIONS) * len(MOTIONS))


class Heads(nn.Module):  # type: ignore[misc]
    """Linear heads; all their weights are zero at first."""

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.shape = shape
        narrow = min(shape.width, _WIDEST)
        drawn = torch.Generator().manual_seed(0)
        self.narrow: nn.Module = nn.Identity()
        if narrow < shape.width:
            self.narrow = nn.Linear(shape.width, narrow, bias=False)
            self.narrow.weight.data.normal_(std=shape.width**-0.5, generator=drawn)
        if not shape.grid:
            self.queries = nn.Parameter(torch.randn(_QUERIES, narrow, generator=drawn))
        cells = shape.grid**2 or _QUERIES
        self.features = shape.pictures * cells * narrow
        self.heads = nn.ModuleDict({kind: nn.Linear(self.features, shape.outputs(kind)) for kind in shape.kinds})
        for head in self.heads.values():
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, pictures: Sequence[tuple[torch.Tensor, tuple[int, int] | None]]) -> dict[str, torch.Tensor]:
        """The logits of each head, float32 `(examples, outputs)`.

        `pictures` are the visual tokens of each picture, `(tokens, width)`, with their rows and columns if known; the
        pictures of an example follow each other.
        """
        pooled = torch.stack([self._pooled(tokens, grid) for tokens, grid in pictures])
        features = pooled.view(-1, self.features) * (_SCALE / self.features)
        return {kind: head(features) for kind, head in self.heads.items()}

    def _pooled(self, tokens: torch.Tensor, grid: tuple[int, int] | None) -> torch.Tensor:
        tokens = self.narrow(tokens.float())
        tokens = functional.layer_norm(tokens, tokens.shape[1:])
        if not self.shape.grid:
            share = (self.queries @ tokens.T / math.sqrt(tokens.shape[1])).softmax(-1)
            return (share @ tokens).flatten()
        if grid is None or grid[0] * grid[1] != len(tokens):
            without = f"expected visual tokens of known places, found {len(tokens)} without"
            raise ModelError(f"heads: {without}; set grid: 0 in heads")
        cells = tokens.T.reshape(1, -1, *grid)
        return functional.adaptive_avg_pool2d(cells, self.shape.grid).flatten()

    def save(self, folder: Path) -> None:
        """Write both files."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        (folder / SETTINGS).write_text(json.dumps(dataclasses.asdict(self.shape), indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> Heads:
        """The heads of a folder; raises ModelError if they are missing or damaged."""
        try:
            given = read_json(folder / SETTINGS)
            lists = {name: tuple(given[name]) for name in ("kinds", "units", "labels")}
            heads = Heads(HeadShape(**{**given, **lists}))
            heads.load_state_dict(load_file(folder / WEIGHTS))
        except Exception as error:  # safetensors, torch and Python raise many kinds
            raise ModelError(f"{folder}: its heads ({SETTINGS}, {WEIGHTS}) cannot be read: {error}") from error
        heads.eval()
        return heads


def has_heads(folder: Path) -> bool:
    """Whether a folder holds heads."""
    return (folder / SETTINGS).is_file() and (folder / WEIGHTS).is_file()


class VisualTokens:
    """The visual tokens of the last forward pass of a model, inside `visual_tokens`."""

    def __init__(self, image_token: int, merge: int) -> None:
        self._image_token, self._merge = image_token, merge
        self.embeddings: torch.Tensor | None = None

    def pictures(
        self, inputs: Mapping[str, torch.Tensor], count: int
    ) -> list[tuple[torch.Tensor, tuple[int, int] | None]]:
        """The tokens of each picture with rows and columns if known, from a batch with `count` pictures an example.

        Raises:
            ModelError: the model was given no visual tokens, or a number that `count` pictures cannot have.
        """
        ids = inputs["input_ids"]
        if self.embeddings is None or self.embeddings.shape[:2] != ids.shape:
            merges = "this model merges its visual tokens in a way that cannot be followed"
            raise ModelError(f"{merges}; leave out heads, and the baseline tokens")
        there = ids == self._image_token
        rows = [of[mask] for of, mask in zip(self.embeddings, there, strict=True)]
        sizes = inputs.get("image_grid_thw")
        if sizes is not None:
            grids = [(int(h) // self._merge, int(w) // self._merge) for _, h, w in sizes.tolist()]
            if [len(row) for row in rows] == [
                sum(h * w for h, w in grids[count * n : count * (n + 1)]) for n in range(len(rows))
            ]:
                parts = torch.cat(rows).split([h * w for h, w in grids])
                return list(zip(parts, grids, strict=True))
        if fault := [len(row) for row in rows if not len(row) or len(row) % count]:
            raise ModelError(f"heads: expected visual tokens of {count} pictures an example, found {fault[0]} tokens")
        found = [part for row in rows for part in row.split(len(row) // count)]
        sides = [math.isqrt(len(part)) for part in found]
        return [(part, (s, s) if s * s == len(part) else None) for part, s in zip(found, sides, strict=True)]


class _Enough(Exception):
    """Ends a forward pass before the language model."""


@contextmanager
def visual_tokens(model: Any, alone: bool = False) -> Iterator[VisualTokens]:
    """Keeps the visual tokens of the next forward passes of a model; PEFT's too.

    With `alone`, the language model does not run: the first pass ends at it, and with it the block.

    Raises:
        ModelError: its config names no image token.
    """
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = plain.config
    token = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
    if token is None:
        raise ModelError(f"expected a model whose config names its image token, found {type(plain).__name__}")
    seen = VisualTokens(token, getattr(getattr(config, "vision_config", None), "spatial_merge_size", 1))

    def keep(module: nn.Module, given: Any, named: Mapping[str, Any]) -> None:
        if (found := named.get("inputs_embeds")) is not None:
            seen.embeddings = found
            if alone:
                raise _Enough

    hook = plain.get_decoder().register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with suppress(_Enough):
            yield seen
    finally:
        hook.remove()


class HeadAnswers:
    """Answers questions by heads on the visual tokens of a model, with the calibrated probability of each label."""

    def __init__(self, model: Any, heads: Heads) -> None:
        self.model, self.heads = model, heads.to(model.device)

    def __call__(self, inputs: Mapping[str, torch.Tensor], asked: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
        """The answer to each prompt of a batch; `asked` are what it asks (`prompts.ASKS`) and its closed set.

        Raises:
            ModelError: the heads do not know what is asked for.
        """
        shape = self.heads.shape
        with torch.no_grad(), visual_tokens(self.model) as seen:
            self.model(**inputs, use_cache=False)
            logits = self.heads(seen.pictures(inputs, shape.pictures))
        scaled = {kind: given / shape.temperatures.get(kind, 1.0) for kind, given in logits.items()}
        return [
            self._answer({kind: given[row] for kind, given in scaled.items()}, *one) for row, one in enumerate(asked)
        ]

    def _answer(self, logits: Mapping[str, torch.Tensor], asks: str, labels: Sequence[str]) -> str:
        units = "" if asks == "emotion" else self._units(logits)
        if asks == "aus":
            return units
        found = self._of_labels(logits, labels)
        best = label_answer(max(found, key=found.__getitem__))
        said = best if asks == "emotion" else f"Conclusion: {units}; expression: {best}."
        return with_probabilities(said, found)

    def _units(self, logits: Mapping[str, torch.Tensor]) -> str:
        if "units" not in logits:
            raise self._lacks("units")
        codes: list[str] = []
        count = len(self.heads.shape.units)
        for place, unit in enumerate(self.heads.shape.units):
            if logits["units"][place] > 0:
                sides = [logits["sides"][place + n * count] > 0 for n in (0, 1)] if "sides" in logits else [True, True]
                codes.append(f"{'L' if sides == [True, False] else 'R' if sides == [False, True] else ''}{unit}")
        return units_answer(codes)

    def _of_labels(self, logits: Mapping[str, torch.Tensor], labels: Sequence[str]) -> dict[str, float]:
        """The probability of each label, 0 of one that the heads cannot give (`lacking`): of the head of the coarse
        classes for those, else of the fine labels, those of a coarse class together."""
        of: dict[str, list[torch.Tensor]] = {label: [] for label in labels}
        if self._by_coarse(labels):
            of = {label: [logits["coarse"][COARSE.index(label)]] for label in labels}
        elif "label" in logits:
            for label, value in zip(self.heads.shape.labels, logits["label"], strict=True):
                if (given := self._given(label, labels)) is not None:
                    of[given].append(value)
        known = {label: torch.stack(values).double().logsumexp(0) for label, values in of.items() if values}
        if not known:
            raise self._lacks(", ".join(labels))
        shares = torch.stack([*known.values()]).softmax(0).tolist()
        return dict.fromkeys(labels, 0.0) | dict(zip(known, shares, strict=True))

    def _by_coarse(self, labels: Sequence[str]) -> bool:
        """Whether the head of the coarse classes answers a closed set."""
        return {*labels} <= {*COARSE} and "coarse" in self.heads.shape.kinds

    @staticmethod
    def _given(label: str, labels: Sequence[str]) -> str | None:
        """The label of a closed set that a label of the head counts for: itself, else its coarse class."""
        return label if label in labels else group if (group := coarse(label)) in labels else None

    def lacking(self, asks: str, labels: Sequence[str], units: Collection[int]) -> list[str]:
        """What a question asks for and the heads never answer, because no clip of their training taught it."""
        shape = self.heads.shape
        found = [] if asks == "emotion" else [f"AU{unit}" for unit in sorted(units) if unit not in shape.units]
        if asks == "aus" or self._by_coarse(labels):
            return found
        given = {self._given(label, labels) for label in shape.labels}
        return [*(label for label in labels if label not in given), *found]

    def _lacks(self, asked: str) -> ModelError:
        shape = self.heads.shape
        known = f"{', '.join(shape.kinds)} of the labels {', '.join(shape.labels)}"
        return ModelError(f"answer=head: the task asks for {asked}, but the heads read {known}; use answer=words")
