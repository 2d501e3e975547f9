"""A task file for a dataset of one's own, written from its data. For a table of clips it says:

    # lmms-eval --model mellm --include_path . --tasks mydata_meu --output_path results --log_samples
    # Written by `mellm new-task mydata --csv clips.csv` from 10 clips of 4 subjects.
    include: mellm_plugin/tasks/meu.yaml
    task: mydata_meu
    dataset_path: !function mellm_plugin.meu.table(clips.csv)
    process_docs: !function mellm_plugin.meu.protocol(labels=disgust+happiness+surprise, aus=1+2+4+6+12)
    metadata: ...

Data without labels give `mydata_au`, which asks for the units alone; data without units `mydata_emotion`. For a list of
clips of prepared datasets (`clip_list.py`) the data and the protocol are those of the list:

    dataset_path: parquet
    dataset_kwargs: {data_files: {test: !function mellm_plugin.meu.listed_files(split.csv)}}
    process_docs: !function mellm_plugin.meu.listed(split.csv, names=0:negative+1:positive, labels=negative+positive)
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mellm_plugin.datasets import clip_list, store, table
from mellm_plugin.datasets.sheets import Sheet
from mellm_plugin.datasets.skipped import by_cause
from mellm_plugin.datasets.tally import Tally
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
_FEW = 2  # clips of a label, without which nothing can be said of it


@dataclass(frozen=True)
class Written:
    """A task file.

    Attributes:
        path: of the file.
        task: its name.
        command: that runs it.
    """

    path: Path
    task: str
    command: str


def write(
    name: str,
    csv: str | Path | None = None,
    folder: str | Path = ".",
    *,
    columns: Mapping[str, str] | None = None,
    least: int = 1,
    replace: bool = False,
    taken: Collection[str] = (),
    note: Callable[[str], None],
) -> Written:
    """Check every clip of a dataset and write its task file; of faulty data no task is made, and never a dataset.

    Args:
        name: of the task, before `_meu`; without a table, also that of the prepared dataset.
        csv: the table of clips; None where the dataset was prepared under this name.
        folder: to write to.
        columns: headers of columns of the table that have other names than usual, see `table.COLUMNS`.
        least: clips that a unit must occur in to be scored.
        replace: whether to write over a file that is there.
        taken: names of tasks that there are.
        note: is told what is odd about the data, a sentence each, also where they are refused for something else.

    Raises:
        InputError: faults of the table, of its frames, of labels that a task file cannot hold or that cannot be told
            apart in an answer; a name that is taken; a file that is there already; all at once.
        DataError: there is no table, and no dataset of this name is prepared; or there is no room to check it.
    """
    table.check_name(name)
    _check_least(least)
    file = None if csv is None else Path(csv)
    faults: list[str] = []
    if file is None:
        if columns:
            raise InputError("expected --csv or --from with it; the dataset is prepared already", where="--columns")
        info = store.read_info(name)
        odd = [f"left out when it was prepared: {told}" for told in by_cause(info.get("skipped", ()))]
    else:
        sheet = table.read_table(file, columns or {})
        odd = table.oddities(sheet)
        try:
            info = _checked(file, columns or {})
        except InputError as error:
            # what no clip has to be read for is told together with it
            faults += error.faults
            clips = (
                (row.text("subject") or "", table.label(row), read_codes(row.raw("aus")).canonical())
                for row in sheet.rows
            )
            info = {"splits": {"test": _counted(clips)}, "unread_codes": _unread(sheet)}

    if "test" not in info["splits"]:
        raise InputError(f"expected clips in the split 'test', found: {', '.join(info['splits'])}", where=name)
    counts = info["splits"]["test"]
    labels = list(counts["emotions"])
    if file is None:
        data = _Data(name, "data", "data_version", {})
    else:
        data = _Data(_relative(file, Path(folder)), "table", "table_version", columns or {}, f"--csv {file.name}")
    return _write(name, data, info, counts, labels, folder, least, replace, taken, note, odd, faults, file)


def write_listed(
    name: str,
    listing: str | Path,
    folder: str | Path = ".",
    *,
    columns: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    least: int = 1,
    replace: bool = False,
    taken: Collection[str] = (),
    note: Callable[[str], None],
) -> Written:
    """Find the clips of a list among the prepared datasets and write the task file of those that are there.

    Args:
        name: of the task, before `_meu`.
        listing: the list of clips, see `clip_list.py`.
        folder, least, replace, taken, note: as for `write`; the clips that are not prepared are noted.
        columns: headers of columns of the list that have other names than usual, see `clip_list.COLUMNS`.
        names: what its labels mean, by label; those of the MEGC lists need none where the clips' own labels agree.

    Raises:
        InputError: faults of the list, none of its clips is prepared, numbers for labels without a name, and what
            `write` refuses; all at once.
        DataError: a prepared dataset is damaged.
    """
    table.check_name(name)
    _check_least(least)
    file = Path(listing)
    chosen = clip_list.choose(file, columns or {})
    faults = list(chosen.faults)
    names = {clip_list.as_key(text): table.label_of(label) for text, label in (names or {}).items()}
    odd = list(chosen.notes)
    found = {clip.label for clip in chosen.clips if clip.label}
    if unused := [text for text in names if text not in found]:
        odd.append(
            f"the list has no label {', '.join(map(repr, unused))}; its labels: {', '.join(sorted(found)) or 'none'}"
        )
    if not names and (names := clip_list.names_of_megc(chosen.clips)):
        meant = ", ".join(f"{number} {label}" for number, label in names.items())
        odd.append(f"its labels are read as those of the MEGC lists, as the clips' own labels show: {meant}")
    if chosen.absent:
        odd.append(f"{len(chosen.clips)} of {chosen.rows} listed clips are prepared, and the task is of these alone")
        odd += chosen.absent
    if not chosen.clips:
        for told in chosen.notes:
            note(told)
        told = "can be used" if faults else "is prepared"
        raise InputError([*faults, *chosen.absent], where=f"{file}: not one of its clips {told}")
    try:
        labels_of = chosen.labels(names)
    except InputError as error:
        faults += error.faults
        labels_of = {clip.id: clip.emotion for clip in chosen.clips if clip.emotion is not None}
    if not faults and (told := clip_list.differing(chosen, labels_of)):
        odd.append(told)
    if without := [clip.id for clip in chosen.clips if found and not clip.label]:
        odd.append(f"{len(without)} clips have no label in the list, and keep that of their dataset")
    counts = _counted((f"{clip.dataset}/{clip.subject}", labels_of.get(clip.id), clip.aus) for clip in chosen.clips)
    labels = list(counts["emotions"])
    own = [labels_of[clip.id] for clip in chosen.clips if not clip.label and clip.id in labels_of]
    of_several = own and len({clip.dataset for clip in chosen.clips}) > 1
    # those of several datasets do not make one set: `negative` of SMIC beside `disgust`
    if of_several and {"negative", "positive"} & {*labels} and not {*labels} <= {*COARSE}:
        labels = list(COARSE)
        odd.append(
            f"their datasets have labels of several kinds, so the coarse classes are asked for: {', '.join(COARSE)}"
        )
    protocol = {"names": "+".join(f"{text}:{label}" for text, label in names.items() if text in found)}
    faults += [
        f"a task file cannot hold the label {text!r} of the list; rename it there"
        for text in names
        if text in found and not _LABEL.fullmatch(text)
    ]
    source = _relative(file, Path(folder))
    data = _Data(source, "listed_files", "listed_version", columns or {}, f"--from {file.name}", protocol)
    return _write(name, data, {}, counts, labels, folder, least, replace, taken, note, odd, faults, file)


@dataclass(frozen=True)
class _Data:
    """What a task file says of its data.

    Attributes:
        source: the prepared dataset, or the table or list as seen from the task file.
        function, version: of `meu`, which take it.
        columns: headers of columns with other names than usual, by key.
        option: of `mellm new-task`, which made it.
        protocol: what the protocol of a list has beside that of others.
    """

    source: str
    function: str
    version: str
    columns: Mapping[str, str]
    option: str = ""
    protocol: Mapping[str, str] | None = None

    def arguments(self) -> str:
        """Source and columns, as they stand within brackets."""
        return ", ".join([self.source, *(f"{key}={header}" for key, header in self.columns.items())])

    def faults(self) -> list[str]:
        """What speaks against its being written into a task file."""
        faults = []
        if not _FILE.fullmatch(self.source):
            marks = ", ".join(dict.fromkeys(repr(c) for c in self.source if not _FILE.fullmatch(c)))
            what = "table" if self.protocol is None else "list"
            faults.append(
                f"a task file cannot name {self.source!r}, which has {marks}; rename the {what} or its folder"
            )
        faults += [
            f"a task file cannot name the column {header!r}; rename it in the file"
            for header in self.columns.values()
            if not _HEADER.fullmatch(header)
        ]
        return faults


def _check_least(least: int) -> None:
    if least < 1:
        raise InputError(f"expected at least 1, found {least}", where="--least")


def _checked(file: Path, columns: Mapping[str, str]) -> dict[str, Any]:
    """The `info.json` of a table of which every row is good. Nothing of it stays, unless it is prepared already."""
    if store.is_prepared(table.name_of(file)):
        return store.read_info(table.prepared(file, columns, strict=True))
    with tempfile.TemporaryDirectory(prefix="mellm-new-task-") as folder:
        root = Path(folder)
        return store.read_info(table.prepared(file, columns, strict=True, root=root), root)


def _write(
    name: str,
    data: _Data,
    info: Mapping[str, Any],
    counts: Mapping[str, Any],
    labels: Sequence[str],
    folder: str | Path,
    least: int,
    replace: bool,
    taken: Collection[str],
    note: Callable[[str], None],
    odd: Sequence[str],
    faults: list[str],
    file: Path | None,
) -> Written:
    """Note what is odd, refuse what is wrong, and write the file."""
    scored = [unit for unit, clips in counts["aus"].items() if "/" not in unit and clips >= least]
    asks = "aus" if not labels else "emotion" if not scored else "all"
    task = f"{name}_{_KINDS[asks]}"
    path = Path(folder) / f"{task}.yaml"
    for told in (*odd, *_oddities(info, counts, labels, scored, least)):
        note(told)
    faults = [*faults, *_label_faults(labels), *_place_faults(path, task, replace, taken), *data.faults()]
    if not labels and not scored:
        faults.append(f"expected clips with a label or with units in at least {least} clips, found none")
    if faults:
        raise InputError(faults, where=str(file or task))
    command = f"lmms-eval --model mellm --include_path {_quoted(folder)} --tasks {task}"
    _save(
        path, _text(task, asks, labels, scored, data, command, f"mellm new-task {name} {data.option}".strip(), counts)
    )
    return Written(path, task, command)


def _counted(clips: Iterable[tuple[str, str | None, Sequence[str] | None]]) -> dict[str, Any]:
    """What a prepared dataset would say of clips, of which subject, label and canonical codes are given."""
    tally = Tally()
    for clip in clips:
        tally.add(*clip)
    return tally.counts()


def _unread(sheet: Sheet) -> dict[str, str]:
    codes = {f"row {row.number}": read_codes(row.raw("aus")).unread for row in sheet.rows}
    return {row: "; ".join(f"{part.text!r}: {part.reason}" for part in parts) for row, parts in codes.items() if parts}


def _text(
    task: str,
    asks: str,
    labels: Sequence[str],
    scored: Sequence[str],
    data: _Data,
    command: str,
    made_by: str,
    counts: Mapping[str, Any],
) -> str:
    base = "mellm_plugin/tasks/meu.yaml"
    include = base if asks == "all" else f"[mellm_plugin/tasks/{_KINDS[asks]}.yaml, {base}]"
    protocol = [f"labels={'+'.join(labels)}"] if labels else []
    protocol += [f"aus={'+'.join(scored)}"] if scored else []
    protocol += [f"asks={asks}"] if asks != "all" else []
    found = f"!function mellm_plugin.meu.{data.function}({data.arguments()})"
    if data.protocol is None:
        source = f"dataset_path: {found}"
        process = f"protocol({', '.join(protocol)})"
    else:
        source = f"dataset_path: parquet\ndataset_kwargs:\n  data_files:\n    test: {found}"
        of_list = [f"{key}={value}" for key, value in data.protocol.items() if value]
        process = f"listed({', '.join([data.arguments(), *of_list, *protocol])})"
    return f"""\
# {command} --output_path results --log_samples
# Written by `{made_by}` from {counts["clips"]} clips of {counts["subjects"]} subjects.
include: {include}
task: {task}
{source}
process_docs: !function mellm_plugin.meu.{process}
# All of this is in the key of lmms-eval's response cache: another package, prompt or data is asked anew.
metadata:
  version: 1.0
  package: !function mellm_plugin.__version__
  prompt_version: !function mellm_plugin.language.prompts.PROMPT_VERSION
  data: !function mellm_plugin.meu.{data.version}({data.arguments()})
"""


def _label_faults(labels: Sequence[str]) -> list[str]:
    faults = []
    for label in labels:
        if not _LABEL.fullmatch(label):
            marks = ", ".join(dict.fromkeys(repr(c) for c in label if not _LABEL.fullmatch(c)))
            faults.append(f"the label {label!r} has {marks}, which a task or an answer cannot; rename it in the table")
        elif (found := read(f"Conclusion: expression: {label}.", labels).label) != label:
            seen = "is not read in an answer" if found is None else f"is read as {found!r} in an answer"
            faults.append(f"the label {label!r} {seen}: answers are read by letters alone; rename it in the table")
    if len(labels) == 1 and labels[0] in LABELS:
        faults.append(f"the label {labels[0]!r} names a dataset; rename it in the table")
    return faults


def _place_faults(path: Path, task: str, replace: bool, taken: Collection[str]) -> list[str]:
    if task in taken:
        return [f"there is a task {task} in this package; choose another name"]
    if path.exists() and not replace:
        return [f"{path} is there already; choose another name or folder, or write over it with --replace"]
    return []


def _relative(file: Path, folder: Path) -> str:
    """The table as seen from the task file; by true folders, for `..` leaves a linked folder by its target."""
    absolute = file.parent.resolve() / file.name  # as `table.prepared` has it
    try:
        return Path(os.path.relpath(absolute, folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return absolute.as_posix()


def _quoted(folder: str | Path) -> str:
    text = Path(folder).as_posix()
    return f'"{text}"' if " " in text else text


def _oddities(
    info: Mapping[str, Any], counts: Mapping[str, Any], labels: Sequence[str], scored: Sequence[str], least: int
) -> list[str]:
    clips = counts["clips"]
    told = []
    if counts["subjects"] == 1:
        told.append("all clips are of one subject: scores say nothing about another")
    if len(labels) == 1:
        told.append(f"all labels are {labels[0]!r}: there is nothing to choose from")
    if rare := [label for label, n in counts["emotions"].items() if n < _FEW]:
        told.append(f"labels with one clip, too few for a score of their own: {', '.join(rare)}")
    if without := counts["without_emotion"]:
        what = "the task asks for units alone" if without == clips else "these clips count for their units alone"
        told.append(f"{without} of {clips} clips have no label: {what}")
    if without := counts["without_aus"]:
        what = "the task asks for the label alone" if without == clips else "these clips count for their label alone"
        told.append(f"{without} of {clips} clips have no known units: {what}")
    told += [f"{clip}: code not read in full: {text}" for clip, text in info.get("unread_codes", {}).items()]
    told += [f"{clip}: {note}" for clip, notes in info.get("notes", {}).items() for note in notes]
    if left := [unit for unit in counts["aus"] if "/" not in unit and unit not in scored]:
        told.append(f"not scored, for they occur in fewer than {least} clips: units {', '.join(left)}")
    if rare := [unit for unit in scored if counts["aus"][unit] < _FEW]:
        told.append(f"units in one clip, which au_f1 weighs as much as any other (see --least): {', '.join(rare)}")
    return told


def _save(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        raise InputError(f"the task file cannot be written ({error}); choose another folder", str(path)) from error
