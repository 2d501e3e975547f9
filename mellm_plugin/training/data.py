"""Chat examples from clips: which clip is asked about, with which prompt, and the expected answer.

    Example(clip="casme2/sub01/EP02_01f", dataset="casme2", subject="casme2/sub01", form="label", images=(<map>,),
            prompt="The image is a motion map .. Answer with one of these alone: disgust, ..", answer="happiness")

A plan of all examples is made first, from annotations only: the share of each source, the share of each form, and the
clips of each form in rounds, in which a clip appears as often as its weight says. `examples[i]` therefore depends
only on the arguments and on `i`, and a longer plan begins with the same examples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, overload

import numpy as np
import numpy.typing as npt

from mellm_plugin.datasets import store
from mellm_plugin.errors import InputError, MellmError
from mellm_plugin.facs.labels import COARSE, coarse, labels_named, labels_of
from mellm_plugin.language.deciding import Span, deciding
from mellm_plugin.language.lexicon import LANGUAGES
from mellm_plugin.motion.settings import DEFAULT, MotionSettings
from mellm_plugin.settings import Settings, Text, count, number, one_of, reader
from mellm_plugin.training.challenge import certain_units
from mellm_plugin.training.clips import DRAWN, DrawnClips, Image, PreparedClips, Record
from mellm_plugin.training.forms import BY_LABEL, BY_UNITS, FORMS, NEEDS, Asked, Truth, ask, label_among
from mellm_plugin.training.variation import Variation

__all__ = ["FORMS", "Example", "Examples", "Source", "subjects"]

FORM_SHARES: dict[str, float] = dict(zip(FORMS, (0.4, 0.15, 0.15, 0.1, 0.1, 0.05, 0.05), strict=True))
"""Default shares of the forms; forms that no clip supports are left out."""

DRAWN_CLIPS = 2000
"""Default number of clips for a source `synthme`."""

CAP = 4.0
"""A clip appears at most this many times as often as the mean clip of its form, however rare its label or unit."""

_LONG = ("description",)  # forms with far longer answers than the others
_BLOCK = 256  # within a block of examples, shares of sources and forms are exact to one example


@dataclass(frozen=True)
class Example:
    """One question and its answer."""

    clip: str  # id
    dataset: str  # a prepared dataset, or `synthme`
    subject: str  # `dataset/subject`
    form: str  # one of `FORMS`
    images: tuple[Image, ...]  # uint8 `(H, W, 3)` each, RGB: one motion map, or onset and apex
    prompt: str  # without image marks; the images precede it
    answer: str  # the text to learn
    deciding: tuple[Span, ...] = ()  # the characters of the answer that decide; none: all alike
    truth: Truth | None = None  # on the pictures, if asked for


def _dataset(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"the name of a prepared dataset or {DRAWN}")
    return value


_Share = Annotated[float, number(0)]


@dataclass(frozen=True)
class Source(Settings):
    """A source of examples: a dataset and the kinds of questions about it.

    Attributes:
        dataset: name of a prepared dataset; `synthme`: clips drawn for training, never the test set.
        split: of the prepared dataset; None: `train` if it exists, else the only split.
        clips: number of drawn clips, for `synthme`.
        weight: the source's share of all examples, relative to the other sources.
        forms: shares of the forms, by name; empty: `FORM_SHARES`, without forms that no clip supports.
        languages: shares of the languages, `en` and `zh`.
        labels: the labels to choose from, joined by `+`, or the name of a dataset whose labels these are; several
            sets, joined by commas, take turns. None: the labels of the dataset.
    """

    dataset: Annotated[str, reader(_dataset)]
    split: Text | None = None
    clips: Annotated[int, count(1)] | None = None
    weight: Annotated[float, number(0, above=True)] = 1.0
    forms: Mapping[Annotated[str, one_of(FORMS)], _Share] = field(default_factory=dict)
    languages: Mapping[Annotated[str, one_of(LANGUAGES)], _Share] = field(default_factory=lambda: {"en": 1.0})
    labels: Text | None = None

    def contradictions(self) -> Iterator[str]:
        """Faults between the fields; reads no data."""
        if self.dataset == DRAWN and self.split not in (None, "train"):
            yield f".split: {DRAWN} is drawn for training, from the split train; found {self.split!r}"
        if self.dataset.startswith(f"{DRAWN}-v"):
            yield f".dataset: {self.dataset!r} is the test set of drawn clips; train on {DRAWN!r}, which draws others"
        if self.dataset == "megc_vqa":
            yield ".dataset: megc_vqa holds questions on other datasets; name those, with the form challenge"
        if self.clips is not None and self.dataset != DRAWN:
            yield f".clips: only {DRAWN} takes a number of clips; all prepared clips of {self.dataset!r} are used"
        for name, shares in (("forms", self.forms), ("languages", self.languages)):
            if (shares or name == "languages") and not any(shares.values()):
                yield f".{name}: expected at least one share above 0, found {dict(shares)!r}"


def label_sets(spec: str | None, dataset: str, found: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """The sets of labels to choose from; `spec` is `Source.labels`, and `found` are the labels of the clips.

    Raises:
        InputError: names of neither a dataset nor a label; lists all of them.
    """
    if spec is None:
        return ((labels_of(dataset) or tuple(sorted(found))),)
    sets: list[tuple[str, ...]] = []
    faults: list[str] = []
    for part in (part.strip() for part in spec.split(",")):
        try:
            sets.append(labels_named(part, found))
        except InputError as error:
            faults += [f"labels: {fault}" for fault in error.faults]
    if faults:
        raise InputError(faults)
    return tuple(sets)


def balanced(labels: Sequence[str | None], units: Sequence[Collection[int]]) -> npt.NDArray[np.float64]:
    """Weights of clips, mean 1 and maximum `CAP`, that make rare labels and units more frequent.

    Labels and units weigh one over their number of clips. A clip weighs the geometric mean of its label's weight and
    its rarest unit's. With labels only, all labels are equally frequent, up to the cap.
    """
    parts: list[npt.NDArray[np.float64]] = []
    of_label = Counter(label for label in labels if label is not None)
    if len(of_label) > 1:
        parts.append(np.array([1 / of_label[label] if label is not None else np.nan for label in labels]))
    of_unit = Counter(unit for some in units for unit in set(some))
    if len(of_unit) > 1:
        parts.append(np.array([1 / min(of_unit[unit] for unit in some) if some else np.nan for some in units]))
    if not parts:
        return np.ones(len(labels))
    # a clip without label or units weighs as much as the mean of the others
    known = [np.where(np.isnan(part), 1.0, part / np.nanmean(part)) for part in parts]
    weights = np.exp(np.mean(np.log(known), axis=0))
    for _ in range(100):
        weights /= weights.mean()
        if weights.max() <= CAP * (1 + 1e-9):
            break
        weights = np.minimum(weights, CAP)
    return np.asarray(np.minimum(weights, CAP), np.float64)


def _round(weights: npt.NDArray[np.float64], seed: Sequence[int]) -> npt.NDArray[np.int64]:
    """One shuffled round of draws: each place as often as its weight, rounded up or down."""
    rng = np.random.default_rng(seed)
    bounds = np.cumsum(weights) / weights.sum() * len(weights)
    bounds[-1] = len(weights)
    drawn = np.searchsorted(bounds, rng.random() + np.arange(len(weights)), side="right")
    return np.asarray(rng.permutation(drawn), np.int64)


@dataclass(frozen=True)
class _Stream:
    """The examples of one form of one source."""

    source: Source
    clips: PreparedClips | DrawnClips
    asked: Asked
    form: str
    share: float
    places: npt.NDArray[np.int64]  # in the records of the clips
    weights: npt.NDArray[np.float64]


class Examples(Sequence[Example]):
    """Examples of several sources in a fixed order; images are read and drawn on demand.

    Equal arguments give equal examples in every process; the object can be sent to another process.

    Args:
        sources: of the examples.
        motion: settings of the maps; None: onset and apex frames instead of maps.
        count: number of examples; None: the number of clips.
        seed: of the plan, the wordings and the variations.
        augment: whether to vary clips (mirrored, nearer, in another light..) and wordings; if not, clips stay as they
            are and prompts are those of evaluation.
        balance: whether rare labels and units are more frequent, see `balanced`; if not, all clips are
            equally frequent.
        only: the subjects to keep, by dataset; other datasets keep all.
        without: the subjects to leave out, by dataset.
        lenient: skip sources and forms without clips instead of raising; for the few clips of validation.
        root: folder of all prepared datasets; None: the user's data root.
        processes: number of processes that draw SynthME clips.
        with_truth: whether examples come with the truth on their pictures.

    Raises:
        InputError: sources cannot be used; lists every fault with the source's place and attribute.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        motion: MotionSettings | None,
        *,
        count: int | None = None,
        seed: int = 0,
        augment: bool = True,
        balance: bool = True,
        only: Mapping[str, Collection[str]] | None = None,
        without: Mapping[str, Collection[str]] | None = None,
        lenient: bool = False,
        root: Path | None = None,
        processes: int = 1,
        with_truth: bool = False,
    ) -> None:
        self.sources, self.motion, self.seed, self.augment = tuple(sources), motion, seed, augment
        self.root = root
        faults: list[str] = []
        if not self.sources:
            faults.append("sources: expected at least one, found none")
        if count is not None and count < 1:
            faults.append(f"count: expected at least 1, found {count}")
        streams: list[_Stream] = []
        opened = _opened(self.sources, motion, root, processes, faults)
        for place, (source, clips) in enumerate(zip(self.sources, opened, strict=True)):
            if clips is None or source.faults():
                continue
            where = f"sources[{place}] ({source.dataset})"
            emotions = {record.emotion for record in clips.records if record.emotion is not None}
            try:
                labels = label_sets(source.labels, source.dataset, emotions)
            except InputError as error:
                faults += [f"{where}: {fault}" for fault in error.faults]
                continue
            units = Counter(number for record in clips.records for number in certain_units(record))
            asked = Asked(motion, labels, dict(sorted(units.items())), augment, with_truth)
            keep, drop = (only or {}).get(source.dataset), (without or {}).get(source.dataset, ())
            names = [record.subject.partition("/")[2] for record in clips.records]
            kept = [n for n, name in enumerate(names) if (keep is None or name in keep) and name not in drop]
            made, wrong = _streams(source, clips, asked, kept, balance)
            faults += [] if lenient else [f"{where}: {fault}" for fault in wrong]
            streams += made
        if faults:
            raise InputError(faults, where="training data")
        self.clips = len(
            {(stream.source.dataset, stream.clips.records[n].id) for stream in streams for n in stream.places}
        )
        """Number of different clips among the examples."""
        total = sum(stream.share for stream in streams)
        self._streams = tuple(replace(stream, share=stream.share / total) for stream in streams)
        self.plan = _planned(self._streams, self.clips if count is None else count, seed)
        """Stream and clip number of each example, int64 `(len, 2)`; identifies the plan."""

    def extended(self, count: int, together: int = 1) -> Examples:
        """The same plan, shortened or extended to `count` examples.

        Of each `together` examples, which one optimiser step takes, long ones (`_LONG`) come last: batches of one step
        then need little padding.
        """
        if count < 1:
            raise InputError(f"count: expected at least 1, found {count}")
        other = copy(self)
        other.plan = _planned(self._streams, count, self.seed)
        long = np.array([stream.form in _LONG for stream in self._streams])[other.plan[:, 0]]
        other.plan = other.plan[np.lexsort((long, np.arange(count) // together))]
        return other

    def __len__(self) -> int:
        return len(self.plan)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        """The example at an index; raises ImageError or DataError if its clip cannot be read or drawn."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"expected an index below {len(self)}, found {index}")
        stream = self._streams[self.plan[place, 0]]
        clip = stream.clips.clip(int(self.plan[place, 1]), frames=self.motion is None)
        rng = np.random.default_rng([self.seed, 1, place])
        variation = Variation.draw(rng) if self.augment else Variation()
        languages = stream.source.languages
        odds = np.array([*languages.values()], np.float64)
        language = [*languages][rng.choice(len(odds), p=odds / odds.sum())]
        of = ask(stream.form, clip, variation, stream.asked, language, rng)
        record, named = clip.record, (of.images, of.prompt, of.answer)
        spans = deciding(of.answer, stream.asked.names(stream.form, record))
        return Example(record.id, record.dataset, record.subject, stream.form, *named, spans, of.truth)

    def units_and_labels(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The units of all clips, and the labels of all first sets."""
        asked = [stream.asked for stream in self._streams]
        labels = dict.fromkeys(label for one in asked if one.label_sets for label in one.label_sets[0])
        return tuple(sorted({unit for one in asked for unit in one.units})), tuple(labels)

    def untaught(self, heads: Iterable[str]) -> dict[str, str]:
        """Of these heads (`models.heads.KINDS`), those that no clip teaches, and what such a clip would have."""
        shown = (stream for stream in self._streams if stream.form != "legend")  # whose pictures show no clip
        of = [(one.clips.records[n], one.asked) for one in shown for n in one.places]
        units = any(certain_units(record) for record, _ in of)
        found = {"units": units, "sides": units, "regions": bool(of)}
        found["label"] = any(label_among(r, asked.label_sets[0]) for r, asked in of if asked.label_sets)
        found["coarse"] = any((r.coarse or (coarse(r.emotion) if r.emotion else None)) in COARSE for r, _ in of)
        needs = {
            "units": "units",
            "sides": "units",
            "regions": "frames",
            "label": "a label",
            "coarse": "a coarse class",
        }
        return {head: needs[head] for head in heads if not found[head]}

    def counts(self) -> dict[str, Any]:
        """Statistics of the examples, without reading an image.

        Returns:
            `examples`, `clips` and `subjects` in total, `forms` (examples of each form), and for each dataset the same
            with `labels` and `units`: number of clips and of examples for each.
        """
        asked: dict[str, list[tuple[str, Record]]] = {}
        for index, place in self.plan:
            stream = self._streams[index]
            asked.setdefault(stream.source.dataset, []).append((stream.form, stream.clips.records[place]))
        datasets: dict[str, dict[str, Any]] = {}
        for name, examples in asked.items():
            records = [record for _, record in examples]
            different = list({record.id: record for record in records}.values())
            datasets[name] = {
                "examples": len(examples),
                "forms": _in_order(form for form, _ in examples),
                "labels": _beside(different, records, lambda record: [record.emotion] if record.emotion else []),
                "units": _beside(different, records, certain_units),
                "clips": len(different),
                "subjects": len({record.subject for record in different}),
            }
        return {
            "examples": len(self),
            "clips": sum(entry["clips"] for entry in datasets.values()),
            "subjects": sum(entry["subjects"] for entry in datasets.values()),
            "forms": _in_order(self._streams[index].form for index in self.plan[:, 0]),
            "datasets": datasets,
        }


def _in_order(forms: Iterable[str]) -> dict[str, int]:
    found = Counter(forms)
    return {form: found[form] for form in FORMS if found[form]}


def _beside(
    clips: Iterable[Record], examples: Iterable[Record], of: Callable[[Record], Iterable[Any]]
) -> dict[Any, dict[str, int]]:
    """Number of clips and of examples for each label or unit."""
    in_clips, in_examples = (Counter(one for record in some for one in of(record)) for some in (clips, examples))
    return {name: {"clips": in_clips[name], "examples": in_examples[name]} for name in sorted(in_clips)}


def _streams(
    source: Source, clips: PreparedClips | DrawnClips, asked: Asked, kept: Sequence[int], balance: bool
) -> tuple[list[_Stream], list[str]]:
    """The streams of one source, from the records at the places `kept`, and the faults of its forms."""
    if not kept:
        return [], ["expected clips of the subjects to keep, found none"]
    faults: list[str] = []
    streams: list[_Stream] = []
    for form, share in (source.forms or FORM_SHARES).items():
        could = [n for n in kept if asked.possible(form, clips.records[n])] if share else []
        if not could:
            if source.forms and share:
                faults.append(f"forms.{form}: expected clips {NEEDS[form]}, found none among {len(kept)}")
            continue
        records = [clips.records[n] for n in could]
        labels = [label_among(r, asked.label_sets[0]) if form in BY_LABEL else None for r in records]
        units = [certain_units(r) if form in BY_UNITS else () for r in records]
        weights = balanced(labels, units) if balance else np.ones(len(could))
        streams.append(_Stream(source, clips, asked, form, share, np.array(could, np.int64), weights))
    if not streams and not faults:
        faults.append("expected clips with a label or with units, found none")
    total = sum(stream.share for stream in streams)
    return [replace(stream, share=source.weight * stream.share / total) for stream in streams], faults


def _opened(
    sources: Sequence[Source], motion: MotionSettings | None, root: Path | None, processes: int, faults: list[str]
) -> tuple[PreparedClips | DrawnClips | None, ...]:
    """The clips of each source; None if they cannot be opened, which adds to `faults`."""
    measured = motion or DEFAULT
    found: list[PreparedClips | DrawnClips | None] = []
    for place, source in enumerate(sources):
        where, wrong = f"sources[{place}] ({source.dataset})", source.faults()
        faults += [f"{where}: {fault}" for fault in wrong]
        clips: PreparedClips | DrawnClips | None = None
        try:
            if any(fault.startswith(("dataset", "split", "clips")) for fault in wrong):
                pass
            elif source.dataset == DRAWN:
                number = source.clips or DRAWN_CLIPS
                clips = DrawnClips(number, settings=measured, frames=motion is None, processes=processes)
            else:
                clips = PreparedClips(source.dataset, training_split(source, root), measured, root)
        except MellmError as error:
            faults.append(f"{where}: {error}")
        found.append(clips)
    return tuple(found)


def training_split(source: Source, root: Path | None = None) -> str:
    """The split of a source's prepared dataset.

    Raises:
        DataError: the dataset is not prepared, or it has several splits but no `train`, and the source names none.
    """
    return source.split if source.split is not None else store.training_split(source.dataset, root)


def subjects(sources: Sequence[Source], root: Path | None = None) -> dict[str, tuple[str, ...]]:
    """The subjects of each dataset, sorted and without the dataset's name; draws no clips.

    Raises:
        InputError: sources cannot be used; lists every fault.
    """
    faults: list[str] = []
    found: dict[str, set[str]] = {}
    for source, clips in zip(sources, _opened(sources, None, root, 1, faults), strict=True):
        if clips is not None:
            names = {record.subject.partition("/")[2] for record in clips.records}
            found.setdefault(source.dataset, set()).update(names)
    if faults:
        raise InputError(faults, where="training data")
    return {dataset: tuple(sorted(names)) for dataset, names in found.items()}


def _planned(streams: Sequence[_Stream], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Stream and clip of each example, `(count, 2)`."""
    if not count:
        return np.empty((0, 2), np.int64)
    bounds = np.cumsum([stream.share for stream in streams])
    bounds[-1] = 1.0
    even = np.arange(_BLOCK) / _BLOCK
    blocks = []
    for block in range(-(-count // _BLOCK)):
        rng = np.random.default_rng([seed, 2, block])
        blocks.append(rng.permutation(np.searchsorted(bounds, even + rng.random() / _BLOCK, side="right")))
    plan = np.zeros((count, 2), np.int64)
    plan[:, 0] = np.concatenate(blocks)[:count]
    for index, stream in enumerate(streams):
        mine = np.flatnonzero(plan[:, 0] == index)
        rounds = -(-len(mine) // len(stream.places))
        if rounds:
            draws = [_round(stream.weights, [seed, 3, index, turn]) for turn in range(rounds)]
            plan[mine, 1] = stream.places[np.concatenate(draws)[: len(mine)]]
    return plan
