"""Clips as vectors of the visual tokens of a frozen model: what its vision tower sees, before any word.

    see = Tokens("bundled", DEFAULT)
    see.vector(onset, apex)  ->  float32 (6912,)

The tokens are those of the motion map (or of onset and apex, one after the other) as the language model gets them,
averaged over a grid of cells (over all of them, if they form no grid).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from mellm_plugin.errors import ModelError
from mellm_plugin.models import loading
from mellm_plugin.motion.cache import default_cache
from mellm_plugin.motion.facial import Nose
from mellm_plugin.motion.images import Frame, read_pair
from mellm_plugin.motion.render import motion_map
from mellm_plugin.motion.settings import MotionSettings

CELLS = 6
"""Cells across and down."""


class Tokens:
    """A frozen image-text-to-text model, with or without adapter, that only sees.

    Args:
        base, revision, adapter: as in a config of fine-tuning.
        motion: settings of the maps; None: onset and apex.
        max_pixels: an image of more pixels is reduced.

    Raises:
        ModelError: the model cannot be loaded, or gives no features of images.
    """

    def __init__(
        self,
        base: str,
        motion: MotionSettings | None,
        *,
        revision: str | None = None,
        adapter: str | None = None,
        max_pixels: int | None = None,
        trust_remote_code: bool = False,
        device: str = "cpu",
    ) -> None:
        self.motion, self.device = motion, device
        code: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        self._model = loading.load_model(base, device=device, **code)
        self._processor = loading.load_processor(base, **code)
        if adapter is not None:
            folder = loading.fetch_adapter(adapter)
            self._model = loading.add_adapter(self._model, folder, processor=self._processor)
        loading.limit_pixels(self._processor, None, max_pixels)
        if not hasattr(self._model, "get_image_features"):
            raise ModelError(f"{base}: {type(self._model).__name__} gives no features of images")

    def vector(self, onset: Frame, apex: Frame, nose: Nose | None = None) -> npt.NDArray[np.float32]:
        """The tokens of a clip as one float32 vector; its length is the same for all clips.

        Raises:
            ImageError: a frame is unusable, or the two differ in size or depth.
        """
        if self.motion is None:
            images = [Image.fromarray(frame).convert("RGB") for frame in read_pair(onset, apex)]
        else:
            images = [motion_map(onset, apex, self.motion, nose=nose, cache=default_cache()).to_pil()]
        return np.concatenate([self._cells(image).ravel() for image in images])

    def _cells(self, image: Any) -> npt.NDArray[np.float32]:
        """Mean tokens of the cells of one image: float32 `(CELLS, CELLS, width)`, or `(width,)` without a grid."""
        processor = self._processor.image_processor
        inputs = processor(images=[image], return_tensors="pt").to(self.device)
        known = inspect.signature(self._model.get_image_features).parameters
        given = {name: value for name, value in inputs.items() if name in known}
        with torch.inference_mode():
            found = self._model.get_image_features(**given)
        tokens = _flat(getattr(found, "pooler_output", found)).float().cpu().numpy()
        if (shape := _shape(len(tokens), inputs, getattr(processor, "merge_size", 1))) is None:
            return np.asarray(tokens.mean(axis=0), np.float32)
        grid = tokens.reshape(*shape, -1)  # by channel, because cv2 resizes few of them at once
        layers = (cv2.resize(grid[..., n], (CELLS, CELLS), interpolation=cv2.INTER_AREA) for n in range(grid.shape[-1]))
        return np.asarray(np.stack([*layers], axis=-1), np.float32)


def _flat(found: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
    """The tokens of one image, `(tokens, width)`, from what a model returns for a list of it."""
    if not isinstance(found, torch.Tensor):
        found = torch.cat([one.reshape(-1, one.shape[-1]) for one in found])
    return found.reshape(-1, found.shape[-1])


def _shape(tokens: int, inputs: Mapping[str, Any], merged: int) -> tuple[int, int] | None:
    """Rows and columns of the tokens of one image; None if they form no grid that is known."""
    if "image_grid_thw" in inputs:
        _, rows, columns = (int(n) // merged for n in inputs["image_grid_thw"][0])
        return (rows, columns) if rows * columns == tokens else None
    side = round(tokens**0.5)
    return (side, side) if side**2 == tokens else None
