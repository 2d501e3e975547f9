"""A task file for a dataset of one's own, written from its data. For a table of clips it says:

    # lmms-eval --model mellm --include_path . --tasks mydata_meu --output_path results --log_samples
    # Written by `mellm new-task mydata --csv clips.csv` from 10 clips of 4 subjects.
    include: mellm_plugin/tasks/meu.yaml
    task: mydata_meu
    dataset_path: !function mellm_plugin.meu.table(clips.csv)
    process_docs: !function mellm_plugin.meu.protocol(labels=disgust+happiness+surprise, aus=1+2+4+6+12)
    metadata: ...

Data without labels give `mydata_au`, which asks for the units alone; data without units `mydata_emotion`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mellm_plugin.datasets import store, table
from mellm_plugin.datasets.conversion import told_skipped
from mellm_plugin.datasets.sheets import Sheet
from mellm_plugin.errors import InputError
from mellm_plugin.facs.codes import numbers, read_codes
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.answers import read

_KINDS = {"all": "meu", "emotion": "emotion", "aus": "au"}
# What `!function mellm_plugin.meu.table(FILE)` can carry: YAML ends a value at ": " and " #", arguments end at a comma.
_FILE = re.compile(r"[\w/.()+@~ -]+")
_LABEL = re.compile(r"[\w -]+")
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
    least: int = 1,
    replace: bool = False,
    taken: Collection[str] = (),
    note: Callable[[str], None],
) -> Written:
    """Check every clip of a dataset and write its task file; of faulty data neither a task nor a dataset is made.

    Args:
        name: of the task, before `_meu`; without a table, also that of the prepared dataset.
        csv: the table of clips; None where the dataset was prepared under this name.
        folder: to write to.
        least: clips that a unit must occur in to be scored.
        replace: whether to write over a file that is there.
        taken: names of tasks that there are.
        note: is told what is odd about the data, a sentence each, also where they are refused for something else.

    Raises:
        InputError: faults of the table, of its frames, of labels that a task file cannot hold or that cannot be told
            apart in an answer; a name that is taken; a file that is there already; all at once.
        DataError: there is no table, and no dataset of this name is prepared; or it cannot be stored.
    """
    table.check_name(name)
    if least < 1:
        raise InputError(f"expected at least 1, found {least}", where="--least")
    file = None if csv is None else Path(csv)
    faults: list[str] = []
    if file is None:
        info = store.read_info(name)
        odd = [f"left out when it was prepared: {told_skipped(row)}" for row in info.get("skipped", ())]
    else:
        sheet = table.read_table(file)
        odd = table.oddities(sheet)
        try:
            info = store.read_info(table.prepared(file, strict=True))
        except InputError as error:
            # what no clip has to be read for is told together with it
            faults += error.faults
            info = {"splits": {"test": _counted(sheet)}, "unread_codes": _unread(sheet)}

    if "test" not in info["splits"]:
        raise InputError(f"expected clips in the split 'test', found: {', '.join(info['splits'])}", where=name)
    counts = info["splits"]["test"]
    labels = list(counts["emotions"])
    scored = [unit for unit, clips in counts["aus"].items() if "/" not in unit and clips >= least]
    asks = "aus" if not labels else "emotion" if not scored else "all"
    task = f"{name}_{_KINDS[asks]}"
    path = Path(folder) / f"{task}.yaml"
    for told in (*odd, *_oddities(info, counts, labels, scored, least)):
        note(told)

    faults += [*_label_faults(labels), *_place_faults(path, task, replace, taken)]
    source = name if file is None else _relative(file, path.parent)
    if not _FILE.fullmatch(source):
        marks = ", ".join(dict.fromkeys(repr(c) for c in source if not _FILE.fullmatch(c)))
        faults.append(f"a task file cannot name {source!r}, which has {marks}; rename the table or its folder")
    if not labels and not scored:
        faults.append(f"expected clips with a label or with units in at least {least} clips, found none")
    if faults:
        raise InputError(faults, where=str(file or task))

    command = f"lmms-eval --model mellm --include_path {_quoted(folder)} --tasks {task}"
    made_by = f"mellm new-task {name}" + ("" if file is None else f" --csv {file.name}")
    _save(path, _text(task, asks, labels, scored, source, file is not None, command, made_by, counts))
    return Written(path, task, command)


def _counted(sheet: Sheet) -> dict[str, Any]:
    """What a prepared dataset would say of its clips, counted over all rows of a table, with faults or without."""
    labels = [table.label(row) for row in sheet.rows]
    codes = [read_codes(row.raw("aus")).canonical() for row in sheet.rows]
    units = Counter("/".join(map(str, unit)) for code in codes if code for unit in set(numbers(code)))
    return {
        "clips": len(sheet.rows),
        "subjects": len({row.text("subject") for row in sheet.rows}),
        "emotions": dict(sorted(Counter(label for label in labels if label is not None).items())),
        "without_emotion": labels.count(None),
        "aus": {unit: units[unit] for unit in sorted(units, key=lambda unit: [int(n) for n in unit.split("/")])},
        "without_aus": codes.count(None),
    }


def _unread(sheet: Sheet) -> dict[str, str]:
    codes = {f"row {row.number}": read_codes(row.raw("aus")).unread for row in sheet.rows}
    return {row: "; ".join(f"{part.text!r}: {part.reason}" for part in parts) for row, parts in codes.items() if parts}


def _text(
    task: str,
    asks: str,
    labels: Sequence[str],
    scored: Sequence[str],
    source: str,
    is_table: bool,
    command: str,
    made_by: str,
    counts: Mapping[str, Any],
) -> str:
    base = "mellm_plugin/tasks/meu.yaml"
    include = base if asks == "all" else f"[mellm_plugin/tasks/{_KINDS[asks]}.yaml, {base}]"
    protocol = [f"labels={'+'.join(labels)}"] if labels else []
    protocol += [f"aus={'+'.join(scored)}"] if scored else []
    protocol += [f"asks={asks}"] if asks != "all" else []
    data, version = ("table", "table_version") if is_table else ("data", "data_version")
    return f"""\
# {command} --output_path results --log_samples
# Written by `{made_by}` from {counts["clips"]} clips of {counts["subjects"]} subjects.
include: {include}
task: {task}
dataset_path: !function mellm_plugin.meu.{data}({source})
process_docs: !function mellm_plugin.meu.protocol({", ".join(protocol)})
# All of this is in the key of lmms-eval's response cache: another package, prompt or data is asked anew.
metadata:
  version: 1.0
  package: !function mellm_plugin.__version__
  prompt_version: !function mellm_plugin.language.prompts.PROMPT_VERSION
  data: !function mellm_plugin.meu.{version}({source})
"""


def _label_faults(labels: Sequence[str]) -> list[str]:
    faults = []
    for label in labels:
        if not _LABEL.fullmatch(label):
            marks = ", ".join(dict.fromkeys(repr(c) for c in label if not _LABEL.fullmatch(c)))
            faults.append(f"the label {label!r} has {marks}, which a task or an answer cannot; rename it in the table")
        elif (found := read(f"Conclusion: expression: {label}.", labels).label) != label:
            seen = "is not read in an answer" if found is None else f"is read as {found!r} in an answer"
            faults.append(
                f"the label {label!r} {seen}: its words are told by their letters alone; rename it in the table"
            )
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
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise InputError(f"the task file cannot be written ({error}); choose another folder", str(path)) from error
    finally:
        part.unlink(missing_ok=True)
