"""MELLM as a model of lmms-eval: a vision-language model that reads motion maps."""

from __future__ import annotations

from pathlib import Path

BUNDLED = "bundled"
"""Name of the small model that comes with this package, wherever a model is named."""


def bundled_folder() -> Path:
    """The folder of the small model that comes with this package, the default where no other is named."""
    return Path(__file__).parent / "bundled"
