"""The converter of each licensed dataset, by the name that `mellm prepare` takes."""

from __future__ import annotations

from mellm_plugin.datasets import casme2, casme3, dfme, fourdme, mmew, samm, smic
from mellm_plugin.datasets.entry import Dataset

CONVERTERS: dict[str, Dataset] = {
    name: dataset
    for module in (casme2, samm, smic, casme3, dfme, mmew, fourdme)
    for name, dataset in module.DATASETS.items()
}
