"""What a split of a prepared dataset holds, in numbers: clips, subjects, labels, action units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mellm_plugin.facs.codes import numbers


class Tally:
    """Counts the clips of one split."""

    def __init__(self) -> None:
        self.clips = 0
        self.subjects: set[str] = set()
        self.emotions: Counter[str] = Counter()
        self.aus: Counter[str] = Counter()
        self.without_emotion = 0
        self.without_aus = 0

    def add(self, subject: str, emotion: str | None, aus: Sequence[str] | None) -> None:
        """Count one clip; each unit once, whatever its side."""
        self.clips += 1
        self.subjects.add(subject)
        if emotion is None:
            self.without_emotion += 1
        else:
            self.emotions[emotion] += 1
        if aus is None:
            self.without_aus += 1
        else:
            self.aus.update({"/".join(map(str, unit)) for unit in numbers(aus)})

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
