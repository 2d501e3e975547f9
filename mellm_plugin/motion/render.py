"""From onset and apex to the motion map, one pair or many.

motion_map(onset, apex)   read the frames -> working_pair -> measure (facial.py) -> strength -> paint (colour.py)
motion_maps(pairs)        the same for many pairs, in threads or on a GPU
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from mellm_plugin.errors import ImageError, SettingsError
from mellm_plugin.motion import colour
from mellm_plugin.motion.cache import MotionCache
from mellm_plugin.motion.facial import FacialFlow, Nose, Pair, at_size, measure, working_pair
from mellm_plugin.motion.geometry import REFERENCE_SIDE, Field, Grey, face_ellipse, unit
from mellm_plugin.motion.head import HeadMotion
from mellm_plugin.motion.images import Frame, read_pair
from mellm_plugin.motion.legend import Scale, scale_of
from mellm_plugin.motion.settings import DEFAULT, MotionSettings

Given = tuple[Frame, Frame] | tuple[Frame, Frame, Nose | None]
"""One pair of many: onset and apex, with or without the nose tip."""

_PAIRS_AT_ONCE = 64  # read, measured and drawn together on a device
_PIXELS_AT_ONCE = 8_000_000  # TV-L1 needs about 400 bytes a pixel on a GPU
_STRONG_PERCENTILE, _STRONG_KNEES = 95, 2.0  # the knee grows if more than 5 % of the frame moves by two knees

# Doubts about colours. Units and their combinations up to 3 px colour at most .47 of the face, .27 of it faintly, and
# leave at most .065 beside it (SynthME); still faces in shaky video at CRF 32 colour .66 to .92, .39 of it faintly.
_SEEN, _PALE = 0.05, 0.3  # strength of a colour that is seen, and up to which it is faint
_MOST_COLOURED, _MOST_PALE = 0.5, 0.3  # of the face
_MOST_BESIDE = 0.1  # mean strength beside the face, over the frame


@dataclass(frozen=True)
class MotionMap:
    """A motion map with the flow and the settings behind it; `image` is uint8 `(H, W, 3)`, RGB."""

    image: npt.NDArray[np.uint8]
    facial: FacialFlow
    settings: MotionSettings
    doubts: tuple[str, ...] = ()  # reasons why the map may show no micro-expression; empty for a good clip

    @property
    def flow(self) -> Field:
        """Flow of the face: float32 `(H, W, 2)`, px, x to the right, y down, at onset pixels."""
        return self.facial.flow

    @property
    def head(self) -> HeadMotion | None:
        """The removed head motion; None if the settings leave it in."""
        return self.facial.head

    @property
    def coloured(self) -> float:
        """Share of coloured pixels, 0..1."""
        return float(np.mean(strength(self.flow, self.settings, self.facial.confidence) > 0))

    def to_pil(self) -> Image.Image:
        """The map as a PIL image, mode RGB."""
        return Image.fromarray(self.image)


def strength(flow: Field, settings: MotionSettings, confidence: Field | None = None) -> Field:
    """Strength of the colour for each vector.

    `scale="fixed"`: zero up to the floor, then `1 - exp(-excess / knee)`, times the confidence. In fixed units of the
    frame brightness follows the motion itself: noise on a still face is not amplified and a blink does not darken a
    small motion beside it. The knee grows in frames with much strong motion, which keeps its shades.
    `scale="minmax"`, as published: 0 at the smallest motion, 1 at the largest; all 0 if they differ only by rounding.

    Strength and confidence are float32 `(H, W)`, 0..1; no confidence stands for a full one.
    """
    magnitude = _length(flow)
    shown = _shades(magnitude, settings)[0](magnitude)
    shown = np.asarray(shown, np.float32)
    return shown if confidence is None else shown * confidence


def _length(flow: Field) -> Field:
    length: Field = cv2.magnitude(np.ascontiguousarray(flow[..., 0]), np.ascontiguousarray(flow[..., 1]))
    return length


def _shades(magnitude: Field, settings: MotionSettings) -> tuple[Callable[[Field], Field], float]:
    """The strength of a motion in px, and the motion of nearly full strength, in a map with these motions."""
    if settings.scale == "minmax":
        low, high = float(magnitude.min()), float(magnitude.max())
        differs = high - low > 16 * np.finfo(np.float32).eps * high  # by more than rounding
        return lambda px: ((px - low) / (high - low)).clip(0, 1) if differs else np.zeros_like(px), high
    floor, knee = (length * unit(magnitude.shape) for length in (settings.floor_px, settings.knee_px))
    strong = float(np.percentile(np.maximum(magnitude[::4, ::4] - floor, 0), _STRONG_PERCENTILE)) / _STRONG_KNEES
    knee = max(knee, strong)
    return lambda px: 1 - np.exp(-np.maximum(px - floor, 0) / knee), floor + 3 * knee


def scale(settings: MotionSettings, flow: Field | None = None) -> Scale:
    """The scale of the legend, for the map of a flow; without one, for a still frame of the reference side.

    With `scale="minmax"`, only a map has one: without a flow its ends have words for numbers.
    """
    if flow is None and settings.scale == "minmax":
        return Scale(np.array([0, 1], np.float32), ((0, "least"), (1, "most")), "motion in the map")
    title = "motion in px" if flow is not None else f"motion in px of a frame of {REFERENCE_SIDE} px"
    magnitude = np.zeros((REFERENCE_SIDE, REFERENCE_SIDE), np.float32) if flow is None else _length(flow)
    shade, top = _shades(magnitude, settings)
    return scale_of(top, shade, title)


def map_doubts(facial: FacialFlow, settings: MotionSettings, shown: Field | None = None) -> tuple[str, ...]:
    """Reasons why a map may show no micro-expression: those of its flow, or else those of its colours.

    `shown` is the strength of the colour, float32 `(H, W)`, if it is known already. With `scale="minmax"` colours say
    nothing: they always reach from none to full.
    """
    if facial.doubts or settings.scale == "minmax":
        return facial.doubts
    if shown is None:
        shown = strength(facial.flow, settings, facial.confidence)
    inside = face_ellipse(*shown.shape)
    face, beside, found = shown[inside], shown[~inside], []
    coloured, pale = float(np.mean(face > _SEEN)), float(np.mean((face > _SEEN) & (face <= _PALE)))
    if coloured > _MOST_COLOURED or pale > _MOST_PALE:
        found.append(
            f"{100 * coloured:.0f} % of the face is coloured, {100 * pale:.0f} % only faintly: noise, compression or "
            "a head that turns, rather than a micro-expression"
        )
    if beside.sum() > max(face.sum(), _MOST_BESIDE * shown.size):
        share = 100 * beside.sum() / shown.sum()
        found.append(f"{share:.0f} % of the colour is beside the face: something else moves, or the crop is too wide")
    return tuple(found)


def motion_map(
    onset: Frame,
    apex: Frame,
    settings: MotionSettings = DEFAULT,
    *,
    nose: Nose | None = None,
    cache: MotionCache | None = None,
) -> MotionMap:
    """Draw the motion from onset to apex as colour over the grey onset frame.

    Both frames are cropped to the face with one box; `nose` is for settings that use it, `cache` keeps measured flows
    between runs.

    Raises:
        ImageError: a frame is unusable, the two differ in size or depth, or the nose tip is outside.
    """
    grey, grey_apex = read_pair(onset, apex)
    pair = working_pair(grey, grey_apex, settings, nose)
    return _painted(grey, pair, measure(pair, settings) if cache is None else cache.measure(pair, settings), settings)


def _painted(grey: Grey, pair: Pair, measured: FacialFlow, settings: MotionSettings) -> MotionMap:
    facial = at_size(measured, pair.shape)
    shown = strength(facial.flow, settings, facial.confidence)
    image = colour.paint(facial.flow, shown, grey, settings.palette, settings.overlay)
    return MotionMap(image, facial, settings, map_doubts(facial, settings, shown))


def motion_maps(
    pairs: Iterable[Given],
    settings: MotionSettings = DEFAULT,
    *,
    workers: int = 1,
    device: str | None = None,
    cache: MotionCache | None = None,
) -> Iterator[MotionMap | ImageError]:
    """Draw many maps, in the order of the pairs; an unusable pair yields its error and the others go on.

    Args:
        pairs: onset and apex, or onset, apex and nose tip; read on demand, a few ahead of the consumer.
        settings: how to draw them.
        workers: drawing threads; OpenCV and torch release the interpreter while they compute.
        device: a torch device such as `"cuda"` that computes TV-L1 flow for many pairs at once, without the cache.
        cache: keeps measured flows between runs.

    Raises:
        SettingsError: a device for an estimator other than TV-L1.
    """
    if device is None:
        return _in_threads(pairs, settings, workers, cache)
    if settings.estimator != "tvl1":
        raise SettingsError(f"device={device!r}: only the estimator tvl1 runs on one, found {settings.estimator!r}")
    return _on_device(pairs, settings, device)


def _on_device(pairs: Iterable[Given], settings: MotionSettings, device: str) -> Iterator[MotionMap | ImageError]:
    from mellm_plugin.motion.tvl1 import tvl1  # imports torch, which takes a second

    pairs = iter(pairs)
    while batch := list(islice(pairs, _PAIRS_AT_ONCE)):
        drawn: dict[int, MotionMap | ImageError] = {}
        by_shape: dict[tuple[int, ...], list[tuple[int, Grey, Pair]]] = {}
        for place, (onset, apex, *nose) in enumerate(batch):
            try:
                grey, grey_apex = read_pair(onset, apex)
                pair = working_pair(grey, grey_apex, settings, *nose)
                by_shape.setdefault(pair.onset.shape, []).append((place, grey, pair))
            except ImageError as error:
                drawn[place] = error
        for group in by_shape.values():
            onsets, apexes = (np.stack([getattr(pair, name) for _, _, pair in group]) for name in ("onset", "apex"))
            at_once = max(1, _PIXELS_AT_ONCE // onsets[0].size)
            forward = tvl1(onsets, apexes, device=device, at_once=at_once)
            backward: Iterable[Field | None] = [None] * len(group)
            if settings.doubt_px:
                backward = tvl1(apexes, onsets, device=device, at_once=at_once)
            for (place, grey, pair), there, back in zip(group, forward, backward, strict=True):
                drawn[place] = _painted(grey, pair, measure(pair, settings, (there, back)), settings)
        yield from (drawn[place] for place in range(len(batch)))


def _in_threads(
    pairs: Iterable[Given], settings: MotionSettings, workers: int, cache: MotionCache | None
) -> Iterator[MotionMap | ImageError]:
    def draw(onset: Frame, apex: Frame, nose: Nose | None = None) -> MotionMap | ImageError:
        try:
            return motion_map(onset, apex, settings, nose=nose, cache=cache)
        except ImageError as error:
            return error

    drawn: deque[Future[MotionMap | ImageError]] = deque()
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="motion-map")
    try:
        for pair in pairs:
            drawn.append(pool.submit(draw, *pair))
            if len(drawn) >= 2 * workers:
                yield drawn.popleft().result()
        while drawn:
            yield drawn.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
