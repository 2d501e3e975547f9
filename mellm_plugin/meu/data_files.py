"""The data of a task: folders and files of prepared datasets, and what identifies them in a results file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from mellm_plugin import __version__
from mellm_plugin.datasets import ladder, store, synthme
from mellm_plugin.errors import DataError, InputError
from mellm_plugin.language.prompts import PROMPT_VERSION

if TYPE_CHECKING:
    from mellm_plugin.datasets.clip_list import Chosen


def data(name: str) -> str:
    """The absolute folder of a prepared dataset, after its files are checked; drawn datasets are made at first use.

    Raises:
        DataError: the dataset is not prepared (the message has the command), or it is damaged: lmms-eval has Pillow
            fill in what is missing of a damaged frame, which would then be scored.
    """
    stored = prepared_name(name)
    store.verify(stored)
    return str(store.dataset_dir(stored))


def prepared_name(name: str) -> str:
    """The name under which a dataset is stored; drawn datasets are made at first use."""
    drawn = {"synthme": synthme, "synthme_ladder": ladder}
    return drawn[name].prepare().name if name in drawn else name


def files(names: str) -> list[str]:
    """The Parquet files with the test clips of several prepared datasets (`casme2+samm+smic`), after a check of each.

    Raises DataError with all that are not prepared, are damaged or have no test clips.
    """
    found: list[str] = []
    faults: list[str] = []
    for name in names.split("+"):
        try:
            folder, splits = data(name), store.read_info(prepared_name(name))["splits"]
            if "test" in splits:
                found.append(f"{folder}/{splits['test']['file']}")
            else:
                faults.append(f"the dataset {name!r} has no split 'test'; it has: {', '.join(splits)}")
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise DataError("\n".join(faults))
    return found


def table(file: str, **columns: str) -> str:
    """The folder of the dataset that a table of clips describes; it is made at first use.

    `file` is relative to the folder of the task file; `columns` are other column headers than usual, by the keys of
    `table.COLUMNS`. Raises InputError with all faults of the table.
    """
    return data(_table_name(file, columns))


def table_version(file: str, **columns: str) -> dict[str, Any]:
    """`data_version` of a table of clips, and the number of rows skipped for their faults; arguments as for `table`."""
    name = _table_name(file, columns)
    return {**data_version(name), "skipped": len(store.read_info(name)["skipped"])}


def _table_name(file: str, columns: Mapping[str, str]) -> str:
    from mellm_plugin.datasets.table import prepared

    return prepared(yaml_folder() / file, columns)


def listed_files(file: str, **columns: str) -> list[str]:
    """The Parquet files of the prepared datasets that hold the clips of a list, after a check of each.

    Arguments as for `table`, with the keys of `clip_list.COLUMNS`. Raises InputError if the list cannot be read or none
    of its clips is prepared, and DataError for a damaged dataset.
    """
    chosen = chosen_clips(yaml_folder() / file, columns)
    splits = dict.fromkeys((clip.dataset, clip.split) for clip in chosen.clips)
    folders = {name: data(name) for name, _ in splits}
    return [f"{folders[name]}/{store.read_info(name)['splits'][split]['file']}" for name, split in splits]


def listed_version(file: str, **columns: str) -> dict[str, Any]:
    """What identifies the data of a list: its hash, its number of clips, and `data_version` of the datasets."""
    chosen = chosen_clips(yaml_folder() / file, columns)
    of_list = {"sha256": chosen.sha256, "listed": chosen.rows, "clips": len(chosen.clips)}
    return {"list": of_list, **{name: data_version(name) for name in dict.fromkeys(c.dataset for c in chosen.clips)}}


def chosen_clips(file: Path, columns: Mapping[str, str]) -> Chosen:
    """The clips of a list that are prepared; raises InputError if none is."""
    from mellm_plugin.datasets.clip_list import choose

    chosen = choose(file, columns)
    if not chosen.clips:
        raise InputError([*chosen.faults, *chosen.absent], where=f"{file}: none of its clips is prepared")
    return chosen


def data_version(names: str) -> dict[str, Any]:
    """What identifies the data of a run in the results file: sha256 and number of clips of each split.

    Of several datasets joined by `+`, it is returned by dataset.
    """
    if "+" in names:
        return {name: data_version(name) for name in names.split("+")}
    splits = store.read_info(prepared_name(names))["splits"]
    return {split: {"clips": entry["clips"], "sha256": entry["sha256"]} for split, entry in splits.items()}


def metadata(names: str) -> dict[str, Any]:
    """Versions of a task, this package, its prompt and its data (`data_version`), for the results file.

    lmms-eval's response cache has them in its key, so another package, prompt or data is asked again.
    """
    version = {"version": 1.0, "package": __version__, "prompt_version": PROMPT_VERSION}
    return {**version, "data": data_version(names)}


def yaml_folder() -> Path:
    """The folder of the task file that lmms-eval is loading now; raises InputError if it is loading none."""
    if (file := yaml_file()) is None:
        raise InputError("a path relative to the task file is known only while lmms-eval loads that file")
    return file.parent


def yaml_file() -> Path | None:
    """The task file whose `!function` value lmms-eval computes now; None where it is loading none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "import_function":  # lmms-eval's; its YAML loader is named after the file
            name = getattr(frame.f_locals.get("loader"), "name", None)
            if isinstance(name, str):
                return Path(name).absolute()
        frame = frame.f_back
    return None
