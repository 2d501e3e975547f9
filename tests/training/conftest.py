"""What the tests of fine-tuning share: a tiny model, a few prepared clips, a config that trains one on the other."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mellm_plugin.datasets import store, synthme
from mellm_plugin.training.clips import DrawnClips

Given = dict[str, Any]
LABELS = ("disgust", "happiness", "surprise")
CODES = ("4", "12", "1+2")


@pytest.fixture(scope="session")
def drawn() -> DrawnClips:
    """Twelve drawn clips with their frames."""
    return DrawnClips(12, seed=5, frames=True)


_made = functools.cache(lambda: tuple(synthme.clips("elsewhere", 3)))


def _prepare(root: Path, name: str = "toy", damaged: int | None = None, subjects: int = 4) -> None:
    """Store `name`: 12 clips of as many subjects; the onset of one of them may be truncated."""
    samples = [
        replace(
            synthme.sample(_made()[n % 3]),
            id=f"{name}/s{n % subjects}/{n}",
            dataset=name,
            subject=f"s{n % subjects}",
            clip=str(n),
            emotion=LABELS[n % 3],
            coarse=None,
            aus=tuple(CODES[n % 3].split("+")),
            au_code=CODES[n % 3],
        )
        for n in range(12)
    ]
    if damaged is not None:
        samples[damaged] = replace(samples[damaged], onset=samples[damaged].onset[:5000])
    store.write(name, {"test": samples}, {"source": "drawn"}, root=root)


@pytest.fixture
def prepare_toy() -> Callable[..., None]:
    """Prepares such a dataset: `_prepare`."""
    return _prepare


@pytest.fixture(scope="session")
def prepared_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the prepared dataset `toy`, to be copied."""
    root = tmp_path_factory.mktemp("toy") / "data"
    _prepare(root)
    return root


@pytest.fixture
def toy(prepared_toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data root of this test, with the prepared dataset `toy`."""
    root = shutil.copytree(prepared_toy, tmp_path / "data")
    monkeypatch.setenv("MELLM_DATA", str(root))
    return root


@pytest.fixture(scope="session")
def config_of(base: Path) -> Callable[..., Given]:
    """Makes a config of the tiny model and `toy` as plain values: its output, changes of its one stage by name."""

    def make(output: Path, **stage: Any) -> Given:
        usual = {
            "name": "labels",
            "data": [{"dataset": "toy", "forms": {"label": 1, "aus": 1}}],
            "steps": 4,
            "train": {"language": "lora"},
            "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
            "learning_rate": 0.01,
        }
        shared = {"base": str(base), "output": str(output), "logging": "none", "max_pixels": 56 * 56}
        trainer = {"batch_size": 2, "save_every": 2, "evaluate_every": 2}
        return {**shared, "trainer": trainer, "stages": [usual | stage]}

    return make


@pytest.fixture
def given(config_of: Callable[..., Given], toy: Path, tmp_path: Path) -> Callable[..., Given]:
    """`config_of` with the folder `out` of the test."""
    return partial(config_of, tmp_path / "out")
