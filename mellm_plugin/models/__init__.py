"""MELLM as a model of lmms-eval: a vision-language model that reads motion maps."""

from __future__ import annotations

from pathlib import Path

from mellm_plugin.errors import near

BUNDLED = "bundled"
"""Name of the small model of this package, accepted wherever a model is named."""


def bundled_folder() -> Path:
    """The folder of the small model of this package."""
    return Path(__file__).parent / "bundled"


def near_folder(name: str) -> str:
    """A hint for a misspelt folder: the bundled model or a folder beside the given path."""
    given = Path(name).expanduser()
    try:
        beside = [str(given.parent / one.name) for one in given.parent.iterdir() if one.is_dir()]
    except OSError:
        beside = []
    return near(str(given), [BUNDLED, *beside])


def taken_for_hub_id(name: str) -> str:
    """A note for an error about a hub id that resembles a folder's name; else empty."""
    hint = "" if name == BUNDLED or Path(name).expanduser().is_dir() else near_folder(name)
    return f"\nThere is no folder {name!r}, so it was read as a hub id.{hint}" if hint else ""
