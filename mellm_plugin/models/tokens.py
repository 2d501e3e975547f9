"""Clips as vectors of the visual tokens of a frozen model: what its vision tower sees, before any word.

    see = Tokens("bundled", DEFAULT)
    see.vector(onset, apex)  ->  float32 (6912,)

The tokens are those of the motion map (or of onset and apex, one after the other) as the language model gets them,
averaged over a grid of cells (over all of them, if they form no grid).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

from mellm_plugin.models import loading
from mellm_plugin.models.heads import visual_tokens
from mellm_plugin.models.inputs import encoded, on_device, rendered
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
        ModelError: the model cannot be loaded.
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
        self.motion = motion
        code: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        self._model = loading.load_model(base, device=device, **code)
        self._processor = loading.load_processor(base, **code)
        if adapter is not None:
            folder = loading.fetch_adapter(adapter)
            self._model = loading.add_adapter(self._model, folder, processor=self._processor)
        loading.limit_pixels(self._processor, None, max_pixels)

    def vector(self, onset: Frame, apex: Frame, nose: Nose | None = None) -> npt.NDArray[np.float32]:
        """The tokens of a clip as one float32 vector; its length is the same for all clips.

        Raises:
            ImageError: a frame is unusable, or the two differ in size or depth.
            ModelError: the visual tokens of this model cannot be followed.
        """
        if self.motion is None:
            images = [Image.fromarray(frame).convert("RGB") for frame in read_pair(onset, apex)]
        else:
            images = [motion_map(onset, apex, self.motion, nose=nose, cache=default_cache()).to_pil()]
        content = [*({"type": "image"} for _ in images), {"type": "text", "text": "?"}]
        text = rendered(self._processor, [{"role": "user", "content": content}])
        inputs = on_device(encoded(self._processor, [text], [images]), self._model)
        with torch.inference_mode(), visual_tokens(self._model, alone=True) as seen:
            self._model(**inputs, use_cache=False)
        return np.concatenate([_cells(*picture) for picture in seen.pictures(inputs, len(images))])


def _cells(tokens: torch.Tensor, grid: tuple[int, int] | None) -> npt.NDArray[np.float32]:
    """Means of the tokens `(tokens, width)` of a picture over its cells, one after the other; of all without a grid."""
    tokens = tokens.float()
    if grid is None:
        return np.asarray(tokens.mean(0).cpu().numpy(), np.float32)
    layers = functional.adaptive_avg_pool2d(tokens.T.reshape(1, -1, *grid), CELLS)
    return np.asarray(layers.flatten().cpu().numpy(), np.float32)
