"""One clip of any dataset, and the counts of many (`Tally`). A row of a prepared dataset:

Sample(id="casme2/sub01/EP02_01f", dataset="casme2", subject="sub01", clip="EP02_01f", onset=b"\\xff\\xd8...",
       apex=b"\\xff\\xd8...", onset_frame=46, apex_frame=59, offset_frame=86, apex_source="sheet", fps=200.0,
       au_code="R12", aus=("R12",), emotion="happiness", coarse="positive", objective_class=1, nose=None)
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any, get_args, get_type_hints

from PIL import Image

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.codes import numbers
from mellm_plugin.facs.labels import COARSE

APEX_SOURCES: tuple[str, ...] = ("sheet", "corrected", "spotted")
"""Origin of an apex frame: the coding sheet, a correction of it, or the apex spotter."""


@dataclass(frozen=True)
class Sample:
    """One clip. None means unknown; it is never replaced by zero or an empty list."""

    id: str  # unique, `dataset/subject/clip`
    dataset: str
    subject: str  # normalised: `sub01`, `006`, `s01`
    clip: str
    onset: bytes  # an image file (JPEG, PNG, BMP...), not re-encoded
    apex: bytes
    onset_frame: int | None = None  # number in the source
    apex_frame: int | None = None
    offset_frame: int | None = None
    apex_source: str = "sheet"  # one of `APEX_SOURCES`
    fps: float | None = None  # frames per second of the source, positive
    au_code: str | None = None  # the sheet's string, unchanged
    aus: tuple[str, ...] | None = None  # canonical codes (`12`, `L12`, `R14C`, `6/12`); (): coded, without any unit
    emotion: str | None = None  # the dataset's label in canonical spelling
    coarse: str | None = None  # one of `COARSE`; None if the label has no coarse class
    objective_class: int | None = None  # 1..7
    nose: tuple[float, float] | None = None  # tip of the nose, (x, y) in pixels of the onset image

    def faults(self) -> Iterator[str]:
        """Why this sample cannot be stored, a sentence each. Reads image headers, not pixels."""
        for name in ("id", "dataset", "subject", "clip"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                yield f"{name}: expected text, found {value!r}"
        for name in ("onset", "apex"):
            data = getattr(self, name)
            try:
                with Image.open(io.BytesIO(data)):
                    pass
            except (OSError, TypeError, ValueError, Image.DecompressionBombError):
                kind = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
                yield f"{name}: expected the bytes of an image file, found {kind} that Pillow cannot open"
        whole, text = ("onset_frame", "apex_frame", "offset_frame"), ("au_code", "emotion")
        for name in (*whole, *text):
            words = "a whole number" if name in whole else "text"
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, Integral if name in whole else str)
            ):
                yield f"{name}: expected {words} or None, found {value!r}"
        if self.apex_source not in APEX_SOURCES:
            yield f"apex_source: expected one of {', '.join(APEX_SOURCES)}, found {self.apex_source!r}"
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            yield f"fps: expected a positive number or None, found {self.fps!r}"
        try:
            numbers(self.aus or ())
        except CodeError as error:
            yield from (f"aus: {fault}" for fault in error.faults)
        if self.coarse is not None and self.coarse not in COARSE:
            yield f"coarse: expected one of {', '.join(COARSE)} or None, found {self.coarse!r}"
        if self.objective_class is not None and self.objective_class not in range(1, 8):
            yield f"objective_class: expected 1 to 7 or None, found {self.objective_class!r}"
        if self.nose is not None and not (len(self.nose) == 2 and all(map(math.isfinite, self.nose))):
            yield f"nose: expected (x, y) in pixels or None, found {self.nose!r}"

    def to_row(self) -> dict[str, Any]:
        """The row of a prepared dataset: images as `{"bytes", "path"}`, tuples as lists."""
        row = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("onset", "apex"):
            row[name] = {"bytes": row[name], "path": None}
        for name in ("aus", "nose"):
            row[name] = None if row[name] is None else list(row[name])
        return row

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> Sample:
        """The sample of a row written by `to_row`."""
        values = {f.name: row[f.name] for f in fields(Sample)}
        for name in ("onset", "apex"):
            values[name] = values[name]["bytes"]
        for name in ("aus", "nose"):
            values[name] = None if values[name] is None else tuple(values[name])
        return Sample(**values)


def features() -> Any:
    """The `datasets.Features` of every prepared dataset."""
    from datasets import Features, Image, Sequence, Value

    kinds = {str: Value("string"), bytes: Image(), int: Value("int64"), float: Value("float64")}
    kinds |= {tuple[str, ...]: Sequence(Value("string")), tuple[float, float]: Sequence(Value("float64"))}
    hints = get_type_hints(Sample)
    return Features({f.name: kinds[(get_args(hints[f.name]) or (hints[f.name],))[0]] for f in fields(Sample)})


class Tally:
    """Counts the clips of one split."""

    def __init__(self) -> None:
        self.clips = self.without_emotion = self.without_aus = 0
        self.subjects: set[str] = set()
        self.emotions: Counter[str] = Counter()
        self.aus: Counter[str] = Counter()

    def add(self, subject: str, emotion: str | None, aus: Sequence[str] | None) -> None:
        """Count one clip; each unit once, whatever its side."""
        self.clips += 1
        self.subjects.add(subject)
        self.without_emotion += emotion is None
        self.emotions.update([emotion] if emotion is not None else [])
        self.without_aus += aus is None
        self.aus.update({"/".join(map(str, unit)) for unit in numbers(aus or ())})

    def counts(self) -> dict[str, Any]:
        """The counts of a split in `info.json`."""
        by_number = sorted(self.aus, key=lambda units: [int(n) for n in units.split("/")])
        return {
            "clips": self.clips,
            "subjects": len(self.subjects),
            "emotions": dict(sorted(self.emotions.items())),
            "without_emotion": self.without_emotion,
            "aus": {units: self.aus[units] for units in by_number},
            "without_aus": self.without_aus,
        }
