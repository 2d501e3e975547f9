"""A photographed face, which known units, a known head motion and light change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest

from mellm_plugin.datasets.synthme import displacement, warp
from mellm_plugin.motion.head import HeadMotion

Array = np.ndarray[Any, Any]

SIDE, MARGIN = 224, 28


@dataclass(frozen=True)
class Moved:
    """Two frames, uint8 `(224, 224)`; where the onset pixels went, float32 `(224, 224, 2)`, px; without the head."""

    onset: Array
    apex: Array
    flow: Array
    facial: Array


class Photograph:
    """The face of scikit-image's astronaut (NASA, public domain), grey, with a margin so that the head may move."""

    CENTRE, HALF = (112.0, 112.0), 91.0
    INNER = np.s_[20:204, 40:184]
    HEAD = HeadMotion(1.7, -1.1, 0.006, 0.008)

    def __init__(self, picture: Array) -> None:
        whole = cv2.resize(picture, None, fx=SIDE / 174, fy=SIDE / 174, interpolation=cv2.INTER_CUBIC)
        grey = cv2.cvtColor(whole, cv2.COLOR_RGB2GRAY).astype(np.float32)
        self.picture = grey[: SIDE + 2 * MARGIN, 176 - MARGIN : 176 + SIDE + MARGIN] * 0.8 + 10

    def moved(
        self,
        codes: Sequence[str] = (),
        px: float = 0.9,
        head: HeadMotion = HEAD,
        light: Callable[[Array], Array] = lambda apex: apex * 1.01,
        noise: float = 1.0,
        seed: int = 0,
        turn: tuple[float, float] = (0.0, 0.0),
    ) -> Moved:
        """Units of this amplitude, then the head, then `light` on the apex, float32 `(224, 224)`, then the noise.

        `turn` is yaw and pitch, degrees: the head is an ellipsoid with a nose, seen from eight times its half height.
        """
        inside = np.s_[MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE]
        centre = (self.CENTRE[0] + MARGIN, self.CENTRE[1] + MARGIN)
        shape = self.picture.shape
        facial = displacement(codes, [px] * len(codes), centre, self.HALF, (shape[0], shape[1]))
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) - (MARGIN + (SIDE - 1) / 2)
        solid = self._turned(x, y, *np.radians(turn)) if any(turn) else 0
        facial_only, facial = facial, facial + solid
        x, y = x + facial[..., 0], y + facial[..., 1]
        away = np.dstack([head.a * x - head.b * y + head.tx, head.b * x + head.a * y + head.ty])
        flow = np.asarray(facial + away, np.float32)
        facial = facial_only
        rng = np.random.default_rng(seed)
        frames = [self.picture[inside], light(warp(self.picture, flow)[inside])]
        facial = facial * (1 + head.a) + np.dstack([-facial[..., 1], facial[..., 0]]) * head.b  # the head turns it too
        noisy = [(frame + rng.normal(0, noise, (SIDE, SIDE))).round().clip(0, 255) for frame in frames]
        onset, apex = (frame.astype(np.uint8) for frame in noisy)
        return Moved(onset, apex, flow[inside].copy(), facial[inside].astype(np.float32))

    def _turned(self, x: Array, y: Array, yaw: float, pitch: float) -> Array:
        """The flow of a turn about the middle of the head."""
        u, v = x / self.HALF, y / self.HALF
        z = 0.8 * np.sqrt(np.maximum(1 - (u / 0.8) ** 2 - ((v + 0.1) / 1.15) ** 2, 0))
        z += 0.22 * np.exp(-((u / 0.1) ** 2) / 2 - ((v - 0.22) / np.where(v < 0.22, 0.2, 0.07)) ** 2 / 2)
        z = cv2.GaussianBlur(z, (0, 0), 0.02 * self.HALF)
        at = np.stack([u * (8 - z), v * (8 - z), 8 * z]) / 8
        around = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
        u2, v2, z2 = np.einsum("ij,jhw->ihw", nod @ around, at)
        seen = np.dstack([8 * u2 / (8 - z2) - u, 8 * v2 / (8 - z2) - v])
        return np.asarray(self.HALF * seen, np.float32)


@pytest.fixture(scope="session")
def photograph() -> Photograph:
    return Photograph(pytest.importorskip("skimage.data").astronaut())
