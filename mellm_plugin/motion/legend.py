"""The legend of motion maps as a picture or a vector file: a wheel with arrows, words, and the scale of strength."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mellm_plugin.errors import InputError
from mellm_plugin.motion import colour
from mellm_plugin.motion.geometry import Field
from mellm_plugin.motion.images import target_faults, write_atomically
from mellm_plugin.small_files import write_text

DPI = (300, 300)
"""Dots per inch at which the words have 6 points or more."""

_LEAST, _HEIGHT, _MOST = 448, 672, 1344  # height of a legend in px: the least and the most beside a map, the usual one
# Lengths are in em, the size of the words, so that one layout serves pixels and vectors.
_RADIUS, _ARROW, _LINE, _MARGIN = 4.6, 1.1, 1.2, 0.8
_BAR = 12.0, 1.8  # width and height
_GREY, _INK, _PAPER = (128, 128, 128), (20, 20, 20), (255, 255, 255)
_SAMPLES = 4  # across a pixel, for smooth edges
_BEFORE = {"l": 0.0, "m": 0.5, "r": 1.0}  # share of a line left of its place

Point = tuple[float, float]


class Scale(NamedTuple):
    """What the strength of the colour means."""

    opacity: Field  # float32 `(N,)`, 0..1, at even steps from one end to the other
    ticks: tuple[tuple[float, str], ...]  # places, 0..1, with their words
    title: str


def scale_of(top: float, opacity: Callable[[Field], Field], title: str) -> Scale:
    """The scale from 0 to `top` px of motion, with the opacity of each motion in px."""
    top = max(top, 1e-3)
    step = 10 ** np.floor(np.log10(top / 2))
    step *= next(times for times in (1, 2, 5, 10) if top < 5 * times * step)
    ticks = tuple((float(at / top), f"{at:.3g}") for at in np.arange(0, 1.001 * top, step))
    return Scale(opacity(np.linspace(0, top, 33, dtype=np.float32)), ticks, title)


class Word(NamedTuple):
    """A line of text, em: the place on its baseline of its left end (`l`), middle (`m`) or right end (`r`)."""

    x: float
    y: float
    text: str
    part: str


class Layout(NamedTuple):
    """Where everything is, em from the top left."""

    size: Point
    centre: Point  # of the wheel
    bar: Point  # top left corner of the scale
    arrows: tuple[tuple[Point, ...], ...]  # the corners of each
    words: tuple[Word, ...]


def _arrow(x: float, y: float) -> tuple[Point, ...]:
    """The corners of an arrow that leaves the wheel along the unit vector `x`, `y`, about the wheel's centre."""
    start, end = _RADIUS + 0.25, _RADIUS + 0.25 + _ARROW
    half = ((start, 0.09), (end - 0.6, 0.09), (end - 0.6, 0.36), (end, 0.0))
    corners = (*half, *((along, -across) for along, across in half[-2::-1]))
    return tuple((along * x - across * y, along * y + across * x) for along, across in corners)


def layout_of(scale: Scale, palette: str) -> Layout:
    """Where the parts of a legend are; raises a SettingsError for an unknown palette."""
    arrows, words = [], []
    for direction in colour.DIRECTIONS.values():
        x, y = float(np.cos(np.radians(direction.angle))), -float(np.sin(np.radians(direction.angle)))
        arrows.append(_arrow(x, y))
        part = "m" if abs(x) < 0.1 else "l" if x > 0 else "r"
        reach = _RADIUS + _ARROW + 0.6 + 0.3 * abs(x * y)
        first = reach * y + (y - 0.25 if part == "m" else 0.5 * y - 0.25)
        lines = direction.name, direction.words_in(palette)
        words += [Word(reach * x, first + i * _LINE, line, part) for i, line in enumerate(lines)]
    bar = -_BAR[0] / 2, max(word.y for word in words) + 1.2
    y = bar[1] + _BAR[1] + 1.2
    words += [Word(bar[0] + place * _BAR[0], y, text, "m") for place, text in scale.ticks]
    words += [Word(0, y + _LINE, scale.title, "m")]
    words += [Word(0, y + 0.6 + (2 + i) * _LINE, line, "m") for i, line in enumerate(colour.SIDES)]

    font = ImageFont.load_default(100)
    widths = [font.getlength(word.text) / 100 for word in words]
    left = _MARGIN - min(word.x - width * _BEFORE[word.part] for word, width in zip(words, widths, strict=True))
    right = _MARGIN + max(word.x + width * (1 - _BEFORE[word.part]) for word, width in zip(words, widths, strict=True))
    top = _MARGIN + 0.8 - min(word.y for word in words)
    return Layout(
        (left + right, top + words[-1].y + 0.3 + _MARGIN),
        (left, top),
        (bar[0] + left, bar[1] + top),
        tuple(tuple((x + left, y + top) for x, y in corners) for corners in arrows),
        tuple(word._replace(x=word.x + left, y=word.y + top) for word in words),
    )


def legend_image(scale: Scale, palette: str = colour.STANDARD, height: int = _HEIGHT) -> Image.Image:
    """The legend on white, mode RGB, a little wider than high.

    Args:
        scale: of the strength.
        palette: of the maps.
        height: px; at 300 dpi, 672 px give words of 6 points.

    Raises:
        SettingsError: the palette is unknown.
    """
    layout = layout_of(scale, palette)
    em = height / layout.size[1]
    fine, width = em * _SAMPLES, round(em * layout.size[0])
    large = Image.new("RGB", (width * _SAMPLES, height * _SAMPLES), _PAPER)
    pen = ImageDraw.Draw(large)
    wheel = Image.fromarray(colour.wheel(round(2 * _RADIUS * fine), palette))
    disc = Image.new("L", wheel.size)
    ImageDraw.Draw(disc).ellipse((0, 0, wheel.width - 1, wheel.height - 1), fill=255)
    large.paste(wheel, _rounded((at - _RADIUS) * fine for at in layout.centre), disc)
    for corners in layout.arrows:
        pen.polygon([(x * fine, y * fine) for x, y in corners], fill=_INK)
    across, down = _rounded(length * fine for length in _BAR)
    opacity = np.interp(np.linspace(0, 1, across), np.linspace(0, 1, len(scale.opacity)), scale.opacity)[:, None]
    rows = [np.rint(_GREY + opacity * (np.array(rgb) - _GREY)) for _, rgb in colour.colours(palette)]
    bar = Image.fromarray(np.array(rows).astype(np.uint8)).resize((across, down), Image.Resampling.NEAREST)
    large.paste(bar, _rounded(at * fine for at in layout.bar))
    picture = large.resize((width, height), Image.Resampling.BOX)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(em)
    for word in layout.words:
        pen.text((word.x * em, word.y * em), word.text, fill=_INK, font=font, anchor=f"{word.part}s")
    return picture


def legend_svg(scale: Scale, palette: str = colour.STANDARD) -> str:
    """The legend as an SVG file with words of 7 points; arguments and errors as `legend_image`."""
    layout, colours = layout_of(scale, palette), colour.colours(palette)
    (width, height), (x, y), (left, top) = layout.size, layout.centre, layout.bar
    half, step, grey, ink = np.radians(colour.BIN_DEGREES / 2), _BAR[1] / len(colours), _hex(_GREY), _hex(_INK)
    shapes = []
    for i, (_, rgb) in enumerate(colours):
        (x1, y1), (x2, y2) = (
            (x + _RADIUS * np.cos(at), y - _RADIUS * np.sin(at)) for at in (2 * i * half - half, 2 * i * half + half)
        )
        sector = f"M{x:.3f} {y:.3f} L{x1:.3f} {y1:.3f} A{_RADIUS} {_RADIUS} 0 0 0 {x2:.3f} {y2:.3f} Z"
        row = f"M{left:.3f} {top + i * step:.3f} h{_BAR[0]} v{step:.3f} h{-_BAR[0]} Z"
        shapes.append(f'<path fill="{_hex(rgb)}" d="{sector} {row}"/>')
    # Grey that fades lets a colour appear as `colour.paint` blends it.
    places = np.linspace(0, 1, len(scale.opacity))
    fades = {"linear": zip(places, 1 - scale.opacity, strict=True), "radial": ((0, 1), (1, 0))}
    stops = {
        kind: "".join(f'<stop offset="{at:.3f}" stop-color="{grey}" stop-opacity="{o:.3f}"/>' for at, o in fade)
        for kind, fade in fades.items()
    }
    shapes += [f'<{kind}Gradient id="{kind}">{inside}</{kind}Gradient>' for kind, inside in stops.items()]
    shapes.append(f'<circle cx="{x:.3f}" cy="{y:.3f}" r="{_RADIUS}" fill="url(#radial)"/>')
    shapes.append(f'<rect x="{left:.3f}" y="{top:.3f}" width="{_BAR[0]}" height="{_BAR[1]}" fill="url(#linear)"/>')
    for corners in layout.arrows:
        shapes.append(f'<polygon fill="{ink}" points="{" ".join(f"{x:.3f},{y:.3f}" for x, y in corners)}"/>')
    anchors = {"l": "start", "m": "middle", "r": "end"}
    for word in layout.words:
        shapes.append(f'<text x="{word.x:.3f}" y="{word.y:.3f}" text-anchor="{anchors[word.part]}">{word.text}</text>')
    head = f'width="{7 * width:.1f}pt" height="{7 * height:.1f}pt" viewBox="0 0 {width:.3f} {height:.3f}"'
    style = f'font-family="Helvetica, Arial, sans-serif" font-size="1" fill="{ink}"'
    return "\n".join((f'<svg xmlns="http://www.w3.org/2000/svg" {head} {style}>', *shapes, "</svg>\n"))


def with_legend(picture: Image.Image, scale: Scale, palette: str = colour.STANDARD) -> Image.Image:
    """A map on white with its legend at its right, for print; a small map is enlarged by a whole number.

    Raises:
        SettingsError: the palette is unknown.
    """
    times = max(1, round(_HEIGHT / max(picture.size)))
    picture = picture.resize((times * picture.width, times * picture.height), Image.Resampling.BICUBIC)
    beside = legend_image(scale, palette, max(_LEAST, min(picture.height, _MOST)))
    page = Image.new("RGB", (picture.width + beside.width, max(picture.height, beside.height)), _PAPER)
    for part, left in ((picture, 0), (beside, picture.width)):
        page.paste(part, (left, (page.height - part.height) // 2))
    return page


def write_legend(path: Path, scale: Scale, palette: str = colour.STANDARD) -> None:
    """Write the legend alone.

    Args:
        path: `.svg`, `.png`, `.jpg` or `.tif`.
        scale, palette: of the maps.

    Raises:
        InputError: the name is of another kind, there is no such folder, or the file cannot be written.
        SettingsError: the palette is unknown.
    """
    if faults := target_faults(path, (".svg", ".png", ".jpg", ".tif")):
        raise InputError(faults, where=str(path))
    if path.suffix.lower() != ".svg":
        return write_atomically(path, [legend_image(scale, palette, _MOST)], "legend", dpi=DPI)
    try:
        write_text(path, legend_svg(scale, palette))
    except OSError as error:
        raise InputError(f"cannot write the legend: {error}", where=str(path)) from error


def _hex(rgb: tuple[int, ...]) -> str:
    return f"#{bytes(rgb).hex()}"


def _rounded(lengths: Iterable[float]) -> tuple[int, int]:
    x, y = map(round, lengths)
    return x, y
