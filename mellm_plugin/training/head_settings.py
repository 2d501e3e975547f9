"""The section `heads` of a stage: which auxiliary heads on the visual tokens are trained beside the words.

    heads: {units: 1, sides: 0.5, coarse: 1, keep: true}

Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from mellm_plugin.settings import Flag, Settings, count, number

_Weight = Annotated[float, number(0)]


@dataclass(frozen=True)
class HeadSettings(Settings):
    """Weights of the losses; 0: no such head."""

    units: Annotated[_Weight, "which units move"] = 0.0
    sides: Annotated[_Weight, "on which sides"] = 0.0
    label: Annotated[_Weight, "the label, among the labels of the source"] = 0.0
    coarse: Annotated[_Weight, "negative, positive or surprise"] = 0.0
    regions: Annotated[_Weight, "which way each region moves"] = 0.0
    words: Annotated[_Weight, "the words beside the heads; 0: the heads alone, for eyes that see nothing yet"] = 1.0
    learning_rate: Annotated[float, number(0, 1, above=True), "peak, of the heads' own weights"] = 2e-2
    grid: Annotated[int, count(0, 16), "tokens are pooled to so many cells a side; 0: by learnt queries"] = 6
    keep: Annotated[Flag, "keep them in the folder, for --model_args answer=head"] = False

    def weights(self) -> dict[str, float]:
        """The weight of each head there is, by the names of `models.heads.KINDS`."""
        every = {"units": self.units, "sides": self.sides, "label": self.label}
        every |= {"coarse": self.coarse, "regions": self.regions}
        return {kind: weight for kind, weight in every.items() if weight}

    def contradictions(self) -> Iterator[str]:
        """Faults between the fields."""
        if not self.weights():
            yield ": expected a weight above 0 for units, sides, label, coarse or regions, found none"
        if self.sides and not self.units and self.keep:
            yield ".sides: found without units, but kept heads answer with units and their sides; give both"
