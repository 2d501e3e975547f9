"""Variations of a clip: mirrored, nearer, with stronger motion, in another light. Its annotation changes with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from mellm_plugin.facs.codes import mirrored
from mellm_plugin.motion.geometry import unit
from mellm_plugin.motion.settings import MotionSettings
from mellm_plugin.training.clips import Clip, Image, Record


@dataclass(frozen=True)
class Variation:
    """A change of a clip that keeps picture and annotation consistent."""

    mirror: bool = False  # swap left and right: in the picture, in the flow (so hues change) and in the codes
    zoom: float = 1.0  # the face is nearer (above 1) or farther; its motion in px scales with it
    shift: tuple[float, float] = (0.0, 0.0)  # to the right and down, as shares of the frame's sides
    magnitude: float = 1.0  # factor of the flow; frames do not change
    noise_px: float = 0.0  # rms of smooth noise in the flow, px of a frame of 224 px
    seed: int = 0  # of that noise
    gain: float = 1.0  # of the brightness
    bias: float = 0.0  # of the brightness, grey levels 0..255
    floor: float = 1.0  # factor of this setting of the map
    knee: float = 1.0  # factor of this setting of the map

    @staticmethod
    def draw(rng: np.random.Generator) -> Variation:
        """A random variation for training."""
        moved, scaled = rng.random() < 0.7, rng.random() < 0.4
        noisy, drawn = rng.random() < 0.3, rng.random() < 0.4
        return Variation(
            mirror=bool(rng.random() < 0.5),
            zoom=_between(rng, 0.85, 1.2) if moved else 1.0,
            shift=(float(rng.uniform(-0.06, 0.06)), float(rng.uniform(-0.06, 0.06))) if moved else (0.0, 0.0),
            magnitude=_between(rng, 0.75, 1.35) if scaled else 1.0,
            noise_px=float(rng.uniform(0.01, 0.04)) if noisy else 0.0,
            seed=int(rng.integers(2**63)),
            gain=float(rng.uniform(0.8, 1.15)),
            bias=float(rng.uniform(-10, 10)),
            floor=_between(rng, 0.5, 2.0) if drawn else 1.0,
            knee=_between(rng, 0.7, 1.6) if drawn else 1.0,
        )

    def settings(self, settings: MotionSettings) -> MotionSettings:
        """The settings of the map with varied floor and knee; min-max scaling has neither."""
        if settings.scale == "minmax" or (self.floor, self.knee) == (1.0, 1.0):
            return settings
        return replace(settings, floor_px=settings.floor_px * self.floor, knee_px=settings.knee_px * self.knee)

    def of_motion(self) -> Variation:
        """The part that changes the motion; `of_view` changes viewpoint and light."""
        return Variation(mirror=self.mirror, magnitude=self.magnitude, noise_px=self.noise_px, seed=self.seed)

    def of_view(self) -> Variation:
        """The part that changes viewpoint and light."""
        return replace(self, mirror=False, magnitude=1.0, noise_px=0.0)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """A factor, uniform in its logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def varied(clip: Clip, by: Variation) -> Clip:
    """The varied clip; `Variation.settings` varies the settings of its map."""
    if by.mirror:
        record, nose = clip.record, clip.nose
        clip = _seen_through(clip, lambda image: np.ascontiguousarray(image[:, ::-1]), np.array([-1, 1], np.float32))
        nose = nose and (clip.grey.shape[1] - 1 - nose[0], nose[1])
        clip = replace(clip, record=replace(record, aus=record.aus and tuple(map(mirrored, record.aus))), nose=nose)
    if by.magnitude != 1 or by.noise_px:
        clip = _with_other_motion(clip, by)
    if by.zoom != 1 or by.shift != (0.0, 0.0):
        clip = _from_other_view(clip, by)
    if by.gain != 1 or by.bias:
        frames = clip.frames and (_relit(clip.frames[0], by), _relit(clip.frames[1], by))
        clip = replace(clip, grey=_relit(clip.grey, by), frames=frames)
    return clip


def _relit(image: Image, by: Variation) -> Image:
    return np.asarray(np.rint(image.astype(np.float32) * by.gain + by.bias).clip(0, 255), np.uint8)


def _seen_through(clip: Clip, change: Callable[[Any], Any], factor: Any) -> Clip:
    """The clip with its pictures and its flow changed alike; the flow is multiplied by the factor."""
    facial = clip.facial
    confidence = None if facial.confidence is None else change(facial.confidence)
    # the head motion of a varied picture is not used
    facial = replace(facial, flow=change(facial.flow) * factor, confidence=confidence, head=None)
    frames = clip.frames and (change(clip.frames[0]), change(clip.frames[1]))
    return replace(clip, grey=change(clip.grey), facial=facial, frames=frames)


def _with_other_motion(clip: Clip, by: Variation) -> Clip:
    flow = clip.facial.flow * np.float32(by.magnitude)
    if by.noise_px:
        height, width = flow.shape[:2]
        rng = np.random.default_rng(by.seed)
        # as smooth as the noise of an estimator
        coarse_noise = rng.standard_normal((max(2, height // 12), max(2, width // 12), 2), np.float32)
        noise = cv2.resize(coarse_noise, (width, height), interpolation=cv2.INTER_CUBIC)
        flow = flow + noise * np.float32(by.noise_px * unit(flow.shape) / np.sqrt(2 * np.mean(noise**2)))
    facial = replace(clip.facial, flow=np.asarray(flow, np.float32))
    return replace(clip, record=_scaled(clip.record, by.magnitude), facial=facial)


def _scaled(record: Record, factor: float) -> Record:
    return replace(record, px=record.px and tuple(px * factor for px in record.px))


def _from_other_view(clip: Clip, by: Variation) -> Clip:
    height, width = clip.grey.shape
    right = by.shift[0] * width + (1 - by.zoom) * width / 2
    down = by.shift[1] * height + (1 - by.zoom) * height / 2
    matrix = np.array([[by.zoom, 0, right], [0, by.zoom, down]], np.float32)

    def warped(image: Any) -> Any:
        return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)

    nose = clip.nose and (by.zoom * clip.nose[0] + right, by.zoom * clip.nose[1] + down)
    shown = _seen_through(clip, warped, np.float32(by.zoom))
    return replace(shown, record=_scaled(clip.record, by.zoom), nose=nose)
