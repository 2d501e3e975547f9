"""Logistic regression from a vector of a clip to its label and units: the baselines of flow and of visual tokens.

    reader = Linear(vectors, annotations)
    reader.label(vectors, ("negative", "positive", "surprise"))   ->  ["negative", ..]
    reader.units(vectors, (1, 2, 4))                              ->  [[4], [], ..]

Vectors are standardised, labels and units weighted inversely to their frequency. The strength of the penalty is chosen
by the scores of predictions for people who were left out (within the training clips), pooled over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mellm_plugin.facs.codes import numbers, read_codes
from mellm_plugin.facs.labels import COARSE, coarse, gold_label

Vectors = npt.NDArray[np.floating[Any]]
"""One row for each clip: `(clips, length)`."""

STRENGTHS: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""`C` of scikit-learn's LogisticRegression to choose from: the smaller, the stronger the penalty."""

_PARTS = 5  # of the people, each left out once to choose C
_LONG = 4  # times the number of clips: vectors that are rotated, for speed
_LEAST = 0.1  # of the largest deviation of a number over the clips
_USUAL = 1e-2  # where there are too few people to choose


@dataclass(frozen=True)
class Annotated:
    """What is known of a clip; None is unknown."""

    person: str  # unique over datasets
    aus: tuple[str, ...] | None
    complete: bool  # whether the whole code was readable; if not, there may be more units than in `aus`
    emotion: str | None
    coarse: str | None

    def units(self) -> set[int]:
        """The units that it shows for certain."""
        return {event[0] for event in numbers(self.aus or ()) if len(event) == 1}

    @classmethod
    def of(cls, row: Any, person: str) -> Annotated:
        """From a row of a prepared dataset, or of a task."""
        aus = None if row["aus"] is None else tuple(row["aus"])
        return cls(person, aus, not read_codes(row["au_code"]).unread, row["emotion"], row["coarse"])


def target(clip: Annotated, labels: Sequence[str]) -> str | None:
    """What a clip teaches about a closed set of labels; None for nothing.

    It is the clip's own label, else its coarse class. A clip that has a coarse class only teaches the one label of this
    class, if the set has exactly one.
    """
    group = clip.coarse or (coarse(clip.emotion) if clip.emotion else None)
    if (found := gold_label(clip.emotion, group, labels)) is not None:
        return found
    if clip.emotion is not None and clip.emotion not in COARSE:
        return None
    of_group = [label for label in labels if group is not None and coarse(label) == group]
    return of_group[0] if len(of_group) == 1 else None


def presence(clip: Annotated, unit: int) -> bool | None:
    """Whether a clip shows a unit; None if its code does not say."""
    if clip.aus is None:
        return None
    events = numbers(clip.aus)
    if (unit,) in events:
        return True
    return None if not clip.complete or any(unit in event for event in events) else False


class Linear:
    """Classifiers of labels and units, each fitted when it is first asked for.

    Args:
        vectors: of the training clips.
        clips: their annotations, in the same order.
    """

    def __init__(self, vectors: Vectors, clips: Sequence[Annotated]) -> None:
        self.vectors, self.clips = np.asarray(vectors, np.float64), tuple(clips)
        self.people = np.array([clip.person for clip in self.clips])
        self._fitted: dict[Any, Any] = {}
        self._known: dict[Any, set[Any]] = {}

    def known_labels(self, labels: Sequence[str]) -> list[str]:
        """The labels of a set that the training clips teach, in its order."""
        key = tuple(labels)
        if key not in self._known:
            self._known[key] = {target(clip, labels) for clip in self.clips}
        return [label for label in labels if label in self._known[key]]

    def known_units(self, units: Collection[int]) -> list[int]:
        """The units that some training clip shows and some other does not, sorted."""
        for unit in units:
            if unit not in self._known:
                self._known[unit] = {presence(clip, unit) for clip in self.clips}
        return [unit for unit in sorted(units) if {True, False} <= self._known[unit]]

    def label(self, vectors: Vectors, labels: Sequence[str]) -> list[str | None]:
        """The most likely label of each clip among `known_labels`; None if there are none."""
        if not self.known_labels(labels):
            return [None] * len(vectors)
        key = "labels", *labels
        if key not in self._fitted:
            taught = np.array([target(clip, labels) or "" for clip in self.clips])
            self._fitted[key] = self._fit([taught], taught != "", _macro_f1)[0]
        return [str(label) for label in self._fitted[key].predict(vectors)]

    def units(self, vectors: Vectors, units: Collection[int]) -> list[list[int]] | None:
        """The units of each clip among `known_units`, sorted; None if there are none."""
        if not (known := self.known_units(units)):
            return None
        key = "units", *known
        if key not in self._fitted:
            shown = [np.array([presence(clip, unit) for clip in self.clips], object) for unit in known]
            coded = np.array([clip.aus is not None for clip in self.clips])
            self._fitted[key] = self._fit(shown, coded, _present_f1)
        named = np.array([model.predict(vectors) for model in self._fitted[key]], bool)
        return [[unit for unit, here in zip(known, of, strict=True) if here] for of in named.T]

    def _fit(
        self, columns: Sequence[npt.NDArray[Any]], used: npt.NDArray[np.bool_], score: Callable[[Any, Any], float]
    ) -> list[Any]:
        """One classifier for each column, all with the C of the best mean score on people left out."""
        vectors, people = self.vectors[used], self.people[used]
        columns = [column[used] for column in columns]
        strength = _USUAL
        if (parts := min(_PARTS, len(set(people)))) > 1:
            from sklearn.model_selection import GroupKFold

            read: dict[float, list[npt.NDArray[Any]]] = {C: [column.copy() for column in columns] for C in STRENGTHS}
            for seen, held in GroupKFold(parts).split(vectors, groups=people):
                moved = _moved(vectors[seen])
                known, new = moved.transform(vectors[seen]), moved.transform(vectors[held])
                for C in STRENGTHS:
                    for column, answers in zip(columns, read[C], strict=True):
                        answers[held] = _fitted(known, column[seen], C).predict(new)
            means = {C: np.mean([score(*pair) for pair in zip(columns, read[C], strict=True)]) for C in STRENGTHS}
            strength = max(STRENGTHS, key=lambda C: means[C])  # of equal ones the strongest penalty
        from sklearn.pipeline import make_pipeline

        moved = _moved(vectors)
        known = moved.transform(vectors)
        return [make_pipeline(moved, _fitted(known, column, strength)) for column in columns]


def scaler() -> Any:
    """A transformer of scikit-learn that standardises vectors, but takes no deviation for less than a tenth of the
    largest: what hardly varies among the training clips is noise, which a new person may have more of."""
    from sklearn.preprocessing import StandardScaler

    class Scaler(StandardScaler):  # type: ignore[misc]
        scale_: Any

        def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Scaler:
            super().fit(X, y, sample_weight)
            deviations = np.sqrt(self.var_)
            self.scale_ = np.maximum(deviations, _LEAST * deviations.max()) if deviations.any() else self.scale_
            return self

    return Scaler()


def _moved(vectors: Vectors) -> Any:
    """The standardisation of vectors, and, of long ones, their rotation into as many dimensions as there are clips.

    The penalty has no direction, so the rotation moves no solution by more than the solver's tolerance.
    """
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline

    long = vectors.shape[1] > _LONG * len(vectors)
    steps = [scaler(), PCA(svd_solver="full")] if long else [scaler()]
    return make_pipeline(*steps).fit(vectors)


def _fitted(vectors: Vectors, column: npt.NDArray[Any], strength: float) -> Any:
    """The classifier of one column; what is None in it teaches nothing."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression

    known = np.array([value is not None for value in column])
    if not known.any():
        return DummyClassifier(strategy="constant", constant=False).fit(vectors, np.zeros(len(vectors), bool))
    values = column[known].astype(bool if column.dtype == object else column.dtype)
    one = len(set(values)) == 1
    model: Any = DummyClassifier() if one else LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
    return model.fit(vectors[known], values)


def _macro_f1(gold: npt.NDArray[Any], read: npt.NDArray[Any]) -> float:
    """Mean F1 of the labels that occur."""
    from sklearn.metrics import f1_score

    return float(f1_score(gold, read, average="macro", labels=np.unique(gold)))


def _present_f1(gold: npt.NDArray[Any], read: npt.NDArray[Any]) -> float:
    """F1 of a unit over the clips in which it is known; 0 if none shows it."""
    from sklearn.metrics import f1_score

    known = np.array([value is not None for value in gold])
    return float(f1_score(gold[known].astype(bool), read[known].astype(bool), zero_division=0))
