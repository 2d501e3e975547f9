"""Writes the task file of a user's dataset. For a table of clips:

    # lmms-eval --model mellm --include_path . --tasks mydata_meu --output_path results --log_samples
    # Written by `mellm new-task mydata --csv clips.csv` from 10 clips of 4 subjects.
    include: mellm_plugin/tasks/meu.yaml
    task: mydata_meu
    dataset_path: !function mellm_plugin.meu.table(clips.csv)
    process_docs: !function mellm_plugin.meu.protocol(labels=disgust+happiness+surprise, aus=1+2+4+6+12)
    metadata: ...

Data without labels give `mydata_au`, which asks for units alone; data without units give `mydata_emotion`. For a list
of clips of prepared datasets (`clip_list.py`), data and protocol come from the list:

    dataset_path: parquet
    dataset_kwargs: {data_files: {test: !function mellm_plugin.meu.listed_files(split.csv)}}
    process_docs: !function mellm_plugin.meu.listed(split.csv, names=0:negative+1:positive, labels=negative+positive)
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mellm_plugin.datasets import clip_list, store, table
from mellm_plugin.datasets.sample import Tally
from mellm_plugin.datasets.skipped import by_cause
from mellm_plugin.errors import InputError
from mellm_plugin.facs.codes import read_codes
from mellm_plugin.facs.labels import COARSE, LABELS
from mellm_plugin.language.answers import read
from mellm_plugin.small_files import write_text

_KINDS = {"all": "meu", "emotion": "emotion", "aus": "au"}
# What `!function mellm_plugin.meu.table(FILE)` can carry: YAML ends a value at ": " and " #", arguments end at a comma.
_FILE = re.compile(r"[\w/.()+@~ -]+")
_LABEL = re.compile(r"[\w -]+")
_HEADER = re.compile(r"[\w/.()@~ -]+")
_FEW = 2  # clips that a label needs to be scored by itself


@dataclass(frozen=True)
class Written:
    """A task file: its path, the name of the task, and the command that runs it."""

    path: Path
    task: str
    command: str


@dataclass(frozen=True)
class Options:
    """How to write a task file."""

    folder: Path  # to write to
    note: Callable[[str], None]  # receives everything odd about the data, a sentence each, even if they are refused
    columns: Mapping[str, str] = field(default_factory=dict)  # headers by key of `table.COLUMNS` or `clip_list.COLUMNS`
    least: int = 1  # clips that a unit must occur in to be scored
    replace: bool = False  # whether to overwrite a file
    taken: Collection[str] = ()  # names of existing tasks


@dataclass
class _Source:
    """The data of a task, and what is known about them."""

    name: str  # of the prepared dataset, or the table or list as seen from the task file
    function: str  # in `meu`, that loads the data
    version: str  # the function in `meu` that identifies them
    counts: Mapping[str, Any] = field(default_factory=dict)  # of the clips, as in `info.json`
    labels: Sequence[str] = ()  # to choose from
    option: str = ""  # of `mellm new-task`
    file: Path | None = None  # the table or list
    names: str | None = None  # of the labels of a list, `0:negative+1:positive`
    odd: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def write(name: str, csv: Path | None, options: Options) -> Written:
    """Check every clip of a dataset and write its task file. Nothing is written for faulty data.

    Args:
        name: of the task, before `_meu`; without a table, also of the prepared dataset.
        csv: the table of clips; None if the dataset is prepared under this name.

    Raises:
        InputError: faults of the table, its frames or its labels, a name or a file that is taken; all at once.
        DataError: without a table, no dataset of this name is prepared; or the disk is full.
    """
    _check(name, options)
    if csv is None:
        if options.columns:
            raise InputError("expected --csv or --from with it; the dataset is prepared already", where="--columns")
        info = store.read_info(name)
        source = _Source(name, "data", "data_version")
        source.odd += [f"left out when it was prepared: {line}" for line in by_cause(info.get("skipped", ()))]
    else:
        sheet = table.read_table(csv, options.columns)
        source = _Source(_relative(csv, options.folder), "table", "table_version", option=f"--csv {csv.name}", file=csv)
        source.odd += table.oddities(sheet)
        try:
            info = _checked(csv, options.columns)
        except InputError as error:
            # report the faults of labels and units as well, for which no clip has to be read
            source.faults += error.faults
            clips = (
                (row.text("subject") or "", table.label(row), read_codes(row.raw("aus")).canonical())
                for row in sheet.rows
            )
            unread = {f"row {row.number}": read_codes(row.raw("aus")).unread for row in sheet.rows}
            shown = {row: "; ".join(f"{p.text!r}: {p.reason}" for p in parts) for row, parts in unread.items() if parts}
            info = {"splits": {"test": _counted(clips)}, "unread_codes": shown}
    if "test" not in info["splits"]:
        raise InputError(f"expected clips in the split 'test', found: {', '.join(info['splits'])}", where=name)
    source.counts = info["splits"]["test"]
    source.labels = list(source.counts["emotions"])
    return _write(name, source, info, options)


def write_listed(name: str, listing: Path, options: Options, names: Mapping[str, str]) -> Written:
    """Find the clips of a list among the prepared datasets, and write the task file of those that are prepared.

    Clips that are not prepared are noted.

    Args:
        name: of the task, before `_meu`.
        listing: the list of clips, see `clip_list.py`.
        names: of the list's labels, by label; the MEGC lists need none if the clips' own labels agree.

    Raises:
        InputError: faults of the list, none of its clips is prepared, numbered labels without a name, and as for
            `write`; all at once.
        DataError: a prepared dataset is damaged.
    """
    _check(name, options)
    chosen = clip_list.choose(listing, options.columns)
    given = {clip_list.as_key(text): table.label_of(label) for text, label in names.items()}
    found = {clip.label for clip in chosen.clips if clip.label}
    odd, faults = list(chosen.notes), list(chosen.faults)
    if unused := [repr(text) for text in given if text not in found]:
        odd.append(f"the list has no label {', '.join(unused)}; its labels: {', '.join(sorted(found)) or 'none'}")
    if not given and (given := clip_list.names_of_megc(chosen.clips)):
        meant = ", ".join(f"{number} {label}" for number, label in given.items())
        odd.append(f"its labels are read as those of the MEGC lists, as the clips' own labels show: {meant}")
    if chosen.absent:
        odd.append(f"{len(chosen.clips)} of {chosen.rows} listed clips are prepared, and the task is of these alone")
        odd += chosen.absent
    if not chosen.clips:
        for note in chosen.notes:
            options.note(note)
        problem = "can be used" if faults else "is prepared"
        raise InputError([*faults, *chosen.absent], where=f"{listing}: not one of its clips {problem}")
    try:
        labels_of = chosen.labels(given)
    except InputError as error:
        faults += error.faults
        labels_of = {clip.id: clip.emotion for clip in chosen.clips if clip.emotion is not None}
    if not faults and (difference := clip_list.differing(chosen, labels_of)):
        odd.append(difference)
    if without := [clip.id for clip in chosen.clips if found and not clip.label]:
        odd.append(f"{len(without)} clips have no label in the list, and keep that of their dataset")
    counts = _counted((f"{clip.dataset}/{clip.subject}", labels_of.get(clip.id), clip.aus) for clip in chosen.clips)
    labels = list(counts["emotions"])
    own = [labels_of[clip.id] for clip in chosen.clips if not clip.label and clip.id in labels_of]
    of_several = own and len({clip.dataset for clip in chosen.clips}) > 1
    # labels of several datasets do not form one set: SMIC's `negative` beside `disgust`
    if of_several and {"negative", "positive"} & {*labels} and not {*labels} <= {*COARSE}:
        labels, asked = list(COARSE), ", ".join(COARSE)
        odd.append(f"their datasets have labels of several kinds, so the coarse classes are asked for: {asked}")
    used = {text: label for text, label in given.items() if text in found}
    unfit = [text for text in used if not _LABEL.fullmatch(text)]
    faults += [f"a task file cannot hold the label {text!r} of the list; rename it there" for text in unfit]
    names_used = "+".join(f"{text}:{label}" for text, label in used.items())
    place, option = _relative(listing, options.folder), f"--from {listing.name}"
    source = _Source(place, "listed_files", "listed_version", counts, labels, option, listing, names_used, odd, faults)
    return _write(name, source, {}, options)


def _check(name: str, options: Options) -> None:
    table.check_name(name)
    if options.least < 1:
        raise InputError(f"expected at least 1, found {options.least}", where="--least")


def _checked(file: Path, columns: Mapping[str, str]) -> dict[str, Any]:
    """The `info.json` of a table without faults. Nothing of it is kept, unless it is prepared already."""
    if store.is_prepared(table.name_of(file)):
        return store.read_info(table.prepared(file, columns, strict=True))
    with tempfile.TemporaryDirectory(prefix="mellm-new-task-") as folder:
        root = Path(folder)
        return store.read_info(table.prepared(file, columns, strict=True, root=root), root)


def _write(name: str, source: _Source, info: Mapping[str, Any], options: Options) -> Written:
    """Report what is odd, refuse what is faulty, and write the file."""
    counts, labels, least = source.counts, source.labels, options.least
    scored = [unit for unit, clips in counts["aus"].items() if "/" not in unit and clips >= least]
    asks = "aus" if not labels else "emotion" if not scored else "all"
    task = f"{name}_{_KINDS[asks]}"
    path = options.folder / f"{task}.yaml"
    for note in (*source.odd, *_oddities(info, counts, labels, scored, least)):
        options.note(note)
    faults = [*source.faults, *_label_faults(labels)]
    if task in options.taken:
        faults.append(f"there is a task {task} in this package; choose another name")
    elif path.exists() and not options.replace:
        faults.append(f"{path} is there already; choose another name or folder, or write over it with --replace")
    if marks := _odd_marks(source.name, _FILE):
        what = "table" if source.names is None else "list"
        faults.append(f"a task file cannot name {source.name!r}, which has {marks}; rename the {what} or its folder")
    unfit = [header for header in options.columns.values() if not _HEADER.fullmatch(header)]
    faults += [f"a task file cannot name the column {header!r}; rename it in the file" for header in unfit]
    if not labels and not scored:
        faults.append(f"expected clips with a label or with units in at least {least} clips, found none")
    if faults:
        raise InputError(faults, where=str(source.file or task))
    folder = options.folder.as_posix()
    folder = f'"{folder}"' if " " in folder else folder
    command = f"lmms-eval --model mellm --include_path {folder} --tasks {task}"
    made_by = f"mellm new-task {name} {source.option}".strip()
    text = _text(task, asks, scored, source, options.columns, command, made_by)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise InputError(f"the task file cannot be written ({error}); choose another folder", str(path)) from error
    return Written(path, task, command)


def _odd_marks(text: str, allowed: re.Pattern[str]) -> str:
    """The characters of a text that a task file cannot hold; empty if it can hold the text."""
    return (
        "" if allowed.fullmatch(text) else ", ".join(dict.fromkeys(repr(c) for c in text if not allowed.fullmatch(c)))
    )


def _counted(clips: Iterable[tuple[str, str | None, Sequence[str] | None]]) -> dict[str, Any]:
    """The counts of clips, given by subject, label and canonical codes, as in `info.json`."""
    tally = Tally()
    for clip in clips:
        tally.add(*clip)
    return tally.counts()


def _text(
    task: str, asks: str, scored: Sequence[str], source: _Source, columns: Mapping[str, str], command: str, made_by: str
) -> str:
    base = "mellm_plugin/tasks/meu.yaml"
    include = base if asks == "all" else f"[mellm_plugin/tasks/{_KINDS[asks]}.yaml, {base}]"
    protocol = [f"labels={'+'.join(source.labels)}"] if source.labels else []
    protocol += [f"aus={'+'.join(scored)}"] if scored else []
    protocol += [f"asks={asks}"] if asks != "all" else []
    arguments = ", ".join([source.name, *(f"{key}={header}" for key, header in columns.items())])
    found = f"!function mellm_plugin.meu.{source.function}({arguments})"
    if source.names is None:
        data = f"dataset_path: {found}"
        process = f"protocol({', '.join(protocol)})"
    else:
        data = f"dataset_path: parquet\ndataset_kwargs:\n  data_files:\n    test: {found}"
        of_list = [f"names={source.names}"] if source.names else []
        process = f"listed({', '.join([arguments, *of_list, *protocol])})"
    return f"""\
# {command} --output_path results --log_samples
# Written by `{made_by}` from {source.counts["clips"]} clips of {source.counts["subjects"]} subjects.
include: {include}
task: {task}
{data}
process_docs: !function mellm_plugin.meu.{process}
# All of this is in the key of lmms-eval's response cache: another package, prompt or data is asked anew.
metadata:
  version: 1.0
  package: !function mellm_plugin.__version__
  prompt_version: !function mellm_plugin.language.prompts.PROMPT_VERSION
  data: !function mellm_plugin.meu.{source.version}({arguments})
"""


def _label_faults(labels: Sequence[str]) -> list[str]:
    faults = []
    for label in labels:
        if marks := _odd_marks(label, _LABEL):
            faults.append(f"the label {label!r} has {marks}, which a task or an answer cannot; rename it in the table")
        elif (found := read(f"Conclusion: expression: {label}.", labels).label) != label:
            seen = "is not read in an answer" if found is None else f"is read as {found!r} in an answer"
            faults.append(f"the label {label!r} {seen}: answers are read by letters alone; rename it in the table")
    if len(labels) == 1 and labels[0] in LABELS:
        faults.append(f"the label {labels[0]!r} names a dataset; rename it in the table")
    return faults


def _relative(file: Path, folder: Path) -> str:
    """The table as seen from the task file; links are resolved, since `..` leaves a linked folder by its target."""
    absolute = file.parent.resolve() / file.name  # as `table.prepared` has it
    try:
        return Path(os.path.relpath(absolute, folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return absolute.as_posix()


def _oddities(
    info: Mapping[str, Any], counts: Mapping[str, Any], labels: Sequence[str], scored: Sequence[str], least: int
) -> list[str]:
    clips = counts["clips"]
    odd = []
    if counts["subjects"] == 1:
        odd.append("all clips are of one subject: scores say nothing about another")
    if len(labels) == 1:
        odd.append(f"all labels are {labels[0]!r}: there is nothing to choose from")
    if rare := [label for label, n in counts["emotions"].items() if n < _FEW]:
        odd.append(f"labels with one clip, too few for a score of their own: {', '.join(rare)}")
    if without := counts["without_emotion"]:
        what = "the task asks for units alone" if without == clips else "these clips count for their units alone"
        odd.append(f"{without} of {clips} clips have no label: {what}")
    if without := counts["without_aus"]:
        what = "the task asks for the label alone" if without == clips else "these clips count for their label alone"
        odd.append(f"{without} of {clips} clips have no known units: {what}")
    odd += [f"{clip}: code not read in full: {text}" for clip, text in info.get("unread_codes", {}).items()]
    odd += [f"{clip}: {note}" for clip, notes in info.get("notes", {}).items() for note in notes]
    if left := [unit for unit in counts["aus"] if "/" not in unit and unit not in scored]:
        odd.append(f"not scored, for they occur in fewer than {least} clips: units {', '.join(left)}")
    if rare := [unit for unit in scored if counts["aus"][unit] < _FEW]:
        odd.append(f"units in one clip, which au_f1 weighs as much as any other (see --least): {', '.join(rare)}")
    return odd
