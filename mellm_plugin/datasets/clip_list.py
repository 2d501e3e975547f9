"""Published lists of clips: the clips of a split, from one or several datasets, and their classes.

    dataset,subject,filename,label
    casme2,sub01,EP02_01f,1            a header, or none; CASME II, casme2; sub01, 01, 1
    samm,6,006_1_2,0                   SAMM, samm; 006, 6
    smic,s01,s01_ne_01,0               SMIC, smic; the clip is s1_ne_01 in its folder

A list names clips of prepared datasets and holds no frames. Its labels, if any, replace those of the datasets. The
meaning of numbers is given (`{"0": "negative"}`) and never guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mellm_plugin.datasets import store
from mellm_plugin.datasets.catalogue import KNOWN, dataset_named, is_casme_squared, prepare_command
from mellm_plugin.datasets.names import Tokens, subject_key, tokens
from mellm_plugin.datasets.sheets import Column, Row, as_text, is_missing, named_columns, read_bare, read_sheet
from mellm_plugin.datasets.skipped import row_ranges
from mellm_plugin.datasets.table import label_of
from mellm_plugin.errors import InputError, near
from mellm_plugin.facs.labels import coarse

COLUMNS: dict[str, Column] = {
    "dataset": Column("dataset", required=False),
    "subject": Column("subject", required=False),
    "clip": Column("filename"),
    "label": Column("label", required=False),
    "onset": Column("onset", required=False),
}
"""The columns of a list, by key; without a header the first four, in this order."""

MEGC: dict[str, str] = {"0": "negative", "1": "positive", "2": "surprise"}
"""The labels that the numbers of the MEGC lists mean."""

_NAMED = 12  # clips named in one message
_AGREE = 0.95  # share of clips with a known class that must agree before numbers are read as MEGC's
_FILE_ENDING = re.compile(r"\.(avi|mp4|mov|npy|npz|mat|jpe?g|png|bmp|tiff?)$", re.IGNORECASE)


@dataclass(frozen=True)
class Clip:
    """A prepared clip of a list; its `label` is the list's, the other values are as prepared."""

    row: int  # of the list, from 1
    dataset: str
    split: str
    id: str
    subject: str
    emotion: str | None
    coarse: str | None
    aus: tuple[str, ...] | None
    label: str | None


@dataclass
class Chosen:
    """The clips of a list, looked up among the prepared datasets."""

    path: Path  # of the list
    sha256: str
    rows: int  # number of clips named
    clips: list[Clip] = field(default_factory=list)  # prepared clips, each once
    absent: list[str] = field(default_factory=list)  # clips that are not prepared, a line per cause
    faults: list[str] = field(default_factory=list)  # of rows, a line per cause; their clips are skipped
    notes: list[str] = field(default_factory=list)  # oddities that are no faults

    def labels(self, names: Mapping[str, str]) -> dict[str, str]:
        """Labels by clip id, from the list, else from the clip's dataset; clips without any are missing.

        Args:
            names: meanings of the list's labels; other labels are used unchanged, unless they are numbers.

        Raises:
            InputError: numbers without a name.
        """
        given = {as_key(text): label_of(name) for text, name in names.items()}
        nameless = [clip for clip in self.clips if clip.label and clip.label not in given and clip.label.isdigit()]
        if nameless:
            numbers = sorted({str(clip.label) for clip in nameless}, key=int)
            raise InputError(_to_be_named(nameless, numbers), where=str(self.path))
        labels = {c.id: given.get(c.label) or label_of(c.label) if c.label else c.emotion for c in self.clips}
        return {id: label for id, label in labels.items() if label is not None}


def as_key(text: str) -> str:
    """A label of a list for comparison: `1.0` and `01` equal 1, and case is ignored."""
    plain = " ".join(text.lower().split())
    return str(int(float(plain))) if re.fullmatch(r"\d{1,6}(\.0+)?", plain) else plain


def _to_be_named(clips: Sequence[Clip], numbers: Sequence[str]) -> str:
    """The message that asks for the meaning of numbers, with the labels of their clips in the datasets."""
    own = {number: Counter(str(clip.emotion) for clip in clips if clip.label == number) for number in numbers}
    shown = "; ".join(
        f"{number}: {', '.join(f'{label} {count}' for label, count in own[number].most_common(4))}"
        for number in numbers[:8]
    )
    flag = ",".join(f"{number}=LABEL" for number in numbers[:8])
    return f"its labels are numbers; say what they mean: --labels {flag} (in their datasets these clips are {shown})"


def names_of_megc(clips: Iterable[Clip]) -> dict[str, str]:
    """MEGC's meaning of a list's numbers, if the clips' own labels confirm it; else empty."""
    numbered = [(clip.label, clip.coarse) for clip in clips if clip.label]
    known = [(MEGC.get(label), own) for label, own in numbered if own is not None]
    right = Counter(name for name, own in known if name == own)
    if any(label not in MEGC for label, _ in numbered) or sum(right.values()) < _AGREE * max(1, len(known)):
        return {}
    used = {label for label, _ in numbered}  # none: nothing to name
    return {n: name for n, name in MEGC.items() if n in used} if all(right[MEGC[n]] for n in used) else {}


def choose(path: str | Path, columns: Mapping[str, str], root: Path | None = None) -> Chosen:
    """Find the clips of a list among the prepared datasets.

    Args:
        path: a CSV or .xlsx, with a header or without.
        columns: headers by key of `COLUMNS`, for columns with unusual names.

    Raises:
        InputError: the list cannot be read, lacks the column of the clips, or names none.
    """
    prepared = store.list_prepared(root)
    wanted = named_columns(COLUMNS, columns)
    bare = {key: column for key, column in wanted.items() if key != "onset"}
    sheet = None
    if not columns:
        sheet = read_bare(path, bare, lambda cells: len(cells) > 2 and dataset_named(cells[0], prepared) is not None)
    if sheet is None:
        sheet = read_sheet(path, wanted)
    rows = [row for row in sheet.rows if any(row.text(key) for key in ("dataset", "subject", "clip"))]
    if not rows:
        raise InputError("expected a row for each clip, found none", where=str(path))
    chosen = Chosen(sheet.path, sheet.sha256, len(rows))
    read = set(sheet.columns.values())
    chosen.notes += [f"the column {heading!r} is not read" for heading in sheet.headings if heading not in read]
    _Search(chosen, prepared, root).run(rows, "dataset" in sheet.columns)
    return chosen


class _Search:
    """Looks up clips of prepared datasets in all the spellings of lists."""

    def __init__(self, chosen: Chosen, prepared: Sequence[str], root: Path | None) -> None:
        self.chosen, self.prepared, self.root = chosen, prepared, root
        self._clips: dict[str, dict[Tokens, list[dict[str, Any]]]] = {}
        self._causes: dict[str, list[tuple[int, str]]] = {}

    def run(self, rows: Sequence[Row], with_dataset: bool) -> None:
        by_id: dict[str, list[Clip]] = {}
        for row in rows:
            found = self._of_row(row, with_dataset)
            if found is not None:
                by_id.setdefault(found.id, []).append(found)
        twice: list[int] = []
        for same in by_id.values():
            if len({clip.label for clip in same}) > 1:
                labels = ", ".join(f"{clip.label} in row {clip.row}" for clip in same)
                self.chosen.faults.append(f"{same[0].id} has several labels: {labels}; keep one of the rows")
                continue
            self.chosen.clips.append(same[0])
            twice += [clip.row for clip in same[1:]]
        if twice:
            several = "s" * (len(twice) > 1)
            self.chosen.notes.append(f"row{several} {row_ranges(twice)}: repeats the clip of another row")
        for cause, named in self._causes.items():
            shown = ", ".join(dict.fromkeys(clip for _, clip in named[:_NAMED]))
            more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
            several = "s" * (len(named) > 1)
            rows_told = f"{len(named)} clip{several}, row{several} {row_ranges(row for row, _ in named)}"
            self.chosen.absent.append(f"{cause} ({rows_told}): {shown}{more}")

    def _of_row(self, row: Row, with_dataset: bool) -> Clip | None:
        clip, subject, written = row.text("clip"), row.text("subject"), row.text("dataset")
        if clip is None or (with_dataset and written is None):
            lacks = "clip" if clip is None else "dataset"
            self.chosen.faults.append(f"row {row.number}: expected the name of a {lacks}, found an empty cell")
            return None
        called = f"{subject}/{clip}" if subject else clip
        within = self.prepared
        if written is not None:
            name = dataset_named(written, self.prepared)
            if name is None:
                squared = " It is another than CASME II and CAS(ME)^3." * is_casme_squared(written)
                hint = squared or near(written.lower(), {*KNOWN, *self.prepared})
                self._absent(f"{written!r} is no dataset that is known here.{hint}", row, called)
                return None
            # `synthme-v1` is `synthme`
            within = [p for p in self.prepared if p == name or re.fullmatch(re.escape(name) + r"-v\d+", p)][:1]
            if not within:
                self._absent(f"{name} is not prepared; run: {prepare_command(name)}", row, called)
                return None
        found = [(name, one) for name in within for one in self._matching(name, subject, clip, row)]
        if len(found) != 1:
            where = within[0] if len(within) == 1 else "the prepared datasets"
            if not found:
                self._absent(f"{where} {'has' if len(within) == 1 else 'have'} no such clip", row, called)
            else:
                ids = ", ".join(one["id"] for _, one in found[:4])
                self.chosen.faults.append(f"row {row.number}: {called} may be {ids}; write its name in full")
            return None
        name, one = found[0]
        text = row.text("label")
        label = None if text is None or is_missing(text) else as_key(text)
        values = {key: one[key] for key in ("split", "id", "subject", "emotion", "coarse")}
        return Clip(row.number, name, **values, aus=None if one["aus"] is None else tuple(one["aus"]), label=label)

    def _absent(self, cause: str, row: Row, clip: str) -> None:
        self._causes.setdefault(cause, []).append((row.number, clip))

    def _matching(self, name: str, subject: str | None, clip: str, row: Row) -> list[dict[str, Any]]:
        """The clips that a row may mean: those with exactly this name, else those with another spelling of it."""
        known = self._of(name)
        of_subject = (
            known.get(subject_key(subject), []) if subject is not None else [c for of in known.values() for c in of]
        )
        texts = [_FILE_ENDING.sub("", clip.strip())]
        if (onset := as_text(row.raw("onset"))) is not None:
            texts.insert(0, f"{texts[0]}_{onset}")  # CAS(ME)^3: a file holds several clips
        for text in texts:
            if same := [one for one in of_subject if one["clip"].lower() == text.lower()]:
                return same
        # a path names the clip by its last folders, or by the folder of a file
        parts = [_FILE_ENDING.sub("", part) for part in re.split(r"[/\\]", clip)]
        ends = range(len(parts), 0, -1)
        texts += ["/".join(parts[start:end]) for end in ends for start in range(end) if end - start < len(parts)]
        for text in texts:
            if same := [one for one in of_subject if _forms(text, subject, one["subject"]) & one["forms"]]:
                return same
        if name == "casme3":
            return [one for one in of_subject if tokens(one["clip"])[:1] == tokens(texts[-1])[-1:]]
        return []

    def _of(self, name: str) -> dict[Tokens, list[dict[str, Any]]]:
        """The clips of a dataset by subject, each with its possible names."""
        if name not in self._clips:
            columns = ("id", "subject", "clip", "emotion", "coarse", "aus")
            by_subject = self._clips.setdefault(name, {})
            for split in store.read_info(name, self.root)["splits"]:
                for row in store.read_columns(name, split, columns, self.root):
                    row |= {"split": split, "forms": _forms(row["clip"], row["subject"])}
                    by_subject.setdefault(subject_key(row["subject"]), []).append(row)
        return self._clips[name]


def _forms(clip: str, *subjects: str | None) -> set[Tokens]:
    """The possible names of a clip: with its subject in front (`sub01_EP02_01f`) and without."""
    parts = tokens(clip)
    people = {name for who in subjects if who is not None for name in (tokens(who), subject_key(who)) if name}
    return {parts, *(parts[len(name) :] for name in people if parts[: len(name)] == name and parts != name)}


def differing(chosen: Chosen, labels: Mapping[str, str]) -> str:
    """A sentence on clips whose class differs between list and dataset; empty without any."""
    labelled = [(clip, labels[clip.id]) for clip in chosen.clips if clip.label and clip.emotion]
    found = [
        f"{clip.id} ({label}, there {clip.emotion})"
        for clip, label in labelled
        if (coarse(label) or label) not in (clip.coarse, clip.emotion)
    ]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    text = f"{len(found)} clips have another label in the list than in their dataset: {', '.join(found[:_NAMED])}{more}"
    return text if found else ""
