"""How a motion map is drawn: one frozen dataclass with named presets, saved beside every adapter as `motion.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

from mellm_plugin.errors import SettingsError, near
from mellm_plugin.settings import fields_faults, number, one_of, unknown_key
from mellm_plugin.small_files import read_json, write_text

ESTIMATORS: tuple[str, ...] = ("local", "dis", "farneback", "tvl1")
HEADS: tuple[str, ...] = ("similarity", "nose", "none")
SCALES: tuple[str, ...] = ("fixed", "minmax")
OVERLAYS: tuple[str, ...] = ("blend", "add")
PALETTE_NAMES: tuple[str, ...] = ("standard", "colour-blind")
FILE_NAME = "motion.json"
"""Name of the settings file in a model or adapter folder."""


@dataclass(frozen=True)
class MotionSettings:
    """Settings of a motion map. Lengths are px of a frame whose shorter side is 224 px and scale with the frame.

    Raises:
        SettingsError: values outside their ranges, all of them at once.
    """

    estimator: Annotated[
        str,
        one_of(ESTIMATORS),
        "optical flow: small motion relative to the head's, OpenCV's DIS or Farneback, or TV-L1",
    ] = "local"
    head: Annotated[
        str, one_of(HEADS), "head motion subtracted: a robust similarity fit, the mean flow at the nose tip, or none"
    ] = "similarity"
    working_side: Annotated[
        float, number(32, 4096, off=0), "frames with a longer shorter side are measured at this one, frame px; 0: never"
    ] = 336
    smooth_px: Annotated[float, number(0, 20), "sigma of the Gaussian that smooths the flow"] = 1.0
    doubt_px: Annotated[
        float, number(0, 5), "forward and backward flow that differ by this fade the colour by half; 0: not measured"
    ] = 0.1
    scale: Annotated[str, one_of(SCALES), "strength: in px with floor and knee, or min-max over the image"] = "fixed"
    floor_px: Annotated[float, number(0, 5), "motion up to this stays grey: frames cannot tell it from noise"] = 0.06
    knee_px: Annotated[
        float, number(0.05, 20), "motion above the floor at which the colour reaches 63 % of full strength"
    ] = 0.5
    overlay: Annotated[str, one_of(OVERLAYS), "the colour covers the grey frame, or is added to it"] = "blend"
    palette: Annotated[str, one_of(PALETTE_NAMES), "the colours of the directions"] = "standard"

    def __post_init__(self) -> None:
        if faults := fields_faults(self):
            raise SettingsError(faults, where="motion settings")

    @staticmethod
    def preset(name: str) -> MotionSettings:
        """The settings of a preset.

        Raises:
            SettingsError: no preset has this name; the near ones are listed.
        """
        if name not in PRESETS:
            raise SettingsError(f"no motion preset {name!r}; presets: {', '.join(PRESETS)}.{near(name, PRESETS)}")
        return PRESETS[name]

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> MotionSettings:
        """Settings from plain values; `preset` names the preset to start from (`robust` when absent).

        Raises:
            SettingsError: unknown names or bad values, all of them at once.
        """
        values = dict(values)
        base = MotionSettings.preset(str(values.pop("preset", "robust")))
        names = [f.name for f in fields(MotionSettings)]
        faults = [unknown_key(name, names, "setting") for name in values if name not in names]
        try:
            settings = replace(base, **{k: v for k, v in values.items() if k in names})
        except SettingsError as error:
            faults += error.faults
        if faults:
            raise SettingsError(faults, where="motion settings")
        return settings

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the inverse of `from_dict`."""
        return asdict(self)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> MotionSettings:
        """Settings from a JSON file, or from the `motion.json` of a folder.

        Raises:
            SettingsError: the file is absent, is no JSON object, or holds unknown names or bad values.
        """
        file = _file(path)
        try:
            values = read_json(file)
        except (OSError, ValueError) as error:
            raise SettingsError(f"cannot read motion settings: {error}", where=str(file)) from error
        if not isinstance(values, dict):
            raise SettingsError(f"expected a JSON object of settings, found {type(values).__name__}", where=str(file))
        try:
            return MotionSettings.from_dict(values)
        except SettingsError as error:
            raise SettingsError(error.faults, where=str(file)) from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON; a folder gets a `motion.json`."""
        write_text(_file(path), json.dumps(self.to_dict(), indent=2) + "\n")


def _file(path: str | os.PathLike[str]) -> Path:
    return Path(path, FILE_NAME) if Path(path).is_dir() else Path(path)


DEFAULT = MotionSettings()
PUBLISHED = MotionSettings(
    estimator="tvl1", head="nose", working_side=0, smooth_px=0, doubt_px=0, scale="minmax", overlay="add"
)

PRESETS: dict[str, MotionSettings] = {"robust": DEFAULT, "published": PUBLISHED}
"""Presets by name: `robust` is the default; `published` draws the maps of MELLM's paper (arXiv 2505.07007)."""


def resolve(spec: str | Mapping[str, Any] | MotionSettings) -> MotionSettings:
    """Settings from what a user may give: a preset's name, a file or folder, plain values, or settings.

    Raises:
        SettingsError: none of these, or one that cannot be used.
    """
    if isinstance(spec, MotionSettings):
        return spec
    if isinstance(spec, Mapping):
        return MotionSettings.from_dict(spec)
    if isinstance(spec, str) and spec in PRESETS:
        return PRESETS[spec]
    if isinstance(spec, str) and spec and os.path.exists(spec):
        return MotionSettings.load(spec)
    raise SettingsError(
        f"expected a motion preset ({', '.join(PRESETS)}) or a settings file, found {spec!r}.{near(str(spec), PRESETS)}"
    )
