"""What the tests of fine-tuning share: a tiny model, a few prepared clips, a config that trains one on the other."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image

from mellm_plugin.datasets import store, synthme

Given = dict[str, Any]
LABELS = ("disgust", "happiness", "surprise")
CODES = ("4", "12", "1+2")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Qwen2.5-VL."""
    return tiny.save_model(tmp_path_factory.mktemp("base"))


def _prepare(root: Path, name: str = "toy", damaged: int | None = None, subjects: int = 4) -> None:
    """Store `name`: 12 clips, three of each subject; the onset of one of them may be cut off."""
    made = list(synthme.clips("elsewhere", 3))
    samples = [
        replace(
            synthme.sample(made[n % 3]),
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
        file = io.BytesIO()
        Image.fromarray(made[0].onset).save(file, "PNG")
        samples[damaged] = replace(samples[damaged], onset=file.getvalue()[:5000])
    store.write(name, {"test": samples}, {"source": "drawn"}, root=root)


@pytest.fixture
def prepare_toy() -> Callable[..., None]:
    """Prepares such a dataset: its root, its name, which clip is damaged, how many subjects."""
    return _prepare


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data root, with the prepared dataset `toy`."""
    root = tmp_path / "data"
    monkeypatch.setenv("MELLM_DATA", str(root))
    _prepare(root)
    return root


@pytest.fixture
def given(base: Path, toy: Path, tmp_path: Path) -> Callable[..., Given]:
    """A config of the tiny model and `toy`, as plain values; of its one stage, what is given by name."""

    def make(**stage: Any) -> Given:
        plain: Given = {
            "base": str(base),
            "output": str(tmp_path / "out"),
            "logging": "none",
            "max_pixels": 56 * 56,
            "trainer": {"batch_size": 2, "save_every": 2, "evaluate_every": 2},
            "stages": [
                {
                    "name": "labels",
                    "data": [{"dataset": "toy", "forms": {"label": 1, "aus": 1}}],
                    "steps": 6,
                    "train": {"language": "lora"},
                    "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
                    "learning_rate": 0.01,
                }
                | stage
            ],
        }
        return plain

    return make
