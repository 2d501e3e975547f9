"""`mellm datasets`: list, verify and remove prepared datasets."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mellm_plugin.cli.options import add_json
from mellm_plugin.errors import InputError, MellmError

EXAMPLES = """\
  mellm datasets
  mellm datasets --verify
  mellm datasets --remove mydata"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--remove", nargs="+", metavar="NAME", help="remove these datasets from the data root")
    parser.add_argument("--verify", action="store_true", help="read all files again and compare them with the record")
    add_json(parser)


def run(given: argparse.Namespace) -> None:
    if given.remove is not None and given.verify:
        raise InputError("expected --verify or --remove, found both")
    _list(given) if given.remove is None else _remove(given)


def _remove(given: argparse.Namespace) -> None:
    from mellm_plugin.datasets import store
    from mellm_plugin.datasets.disk import in_words

    for removed in store.remove(given.remove):
        if given.json:
            print(json.dumps(removed, ensure_ascii=False))
            continue
        clips = "an incomplete dataset" if removed["clips"] is None else f"{removed['clips']} clips"
        print(f"removed {removed['folder']}: {clips}, {in_words(removed['bytes'])}")


def _list(given: argparse.Namespace) -> None:
    from tqdm import tqdm

    from mellm_plugin.datasets import store

    faults: list[str] = []
    names = store.list_prepared()
    # disable=None: no progress bar unless a terminal shows it
    for name in tqdm(names, desc="verifying", unit="dataset", disable=None if given.verify else True):
        try:
            info = store.verify(name) if given.verify else store.read_info(name)
        except MellmError as error:
            faults.append(str(error))
            continue
        splits = {split: {key: entry[key] for key in ("clips", "subjects")} for split, entry in info["splits"].items()}
        folder = str(store.dataset_dir(name))
        if given.json:
            sheets = info.get("sheets", {})
            row = {"dataset": name, "folder": folder, "source": info["source"], "sheets": sheets, "splits": splits}
            print(json.dumps({**row, "skipped": len(info.get("skipped", ()))}, ensure_ascii=False))
            continue
        _print_dataset(name, folder, info)
        if given.verify:
            print("  verified: every file is as it was written")
    if not names:
        print(f"nothing is prepared in {store.data_root()}; try: mellm prepare synthme", file=sys.stderr)
    if faults:
        raise InputError(faults)


def _print_dataset(name: str, folder: str, info: Mapping[str, Any]) -> None:
    from mellm_plugin.datasets.entry import differences

    print(f"{name}  {folder}")
    print(f"  {info['source'] if isinstance(info['source'], str) else info['title']}")
    for split, sheet in info.get("sheets", {}).items():
        print(f"  {split}: sheet {sheet['file']}, sha256 {sheet['sha256']}")
    for split, counts in info["splits"].items():
        print(f"  {split}: {counts['clips']} clips of {counts['subjects']} subjects")
    for line in differences(info):
        print(f"  {line}")
    if info.get("skipped"):
        print(f"  skipped: {len(info['skipped'])}, see {os.path.join(folder, 'info.json')}")
    # the table from which a task prepared the dataset
    table = Path(str(info.get("frames", "")), str(info.get("sheets", {}).get("test", {}).get("file", "")))
    if name.startswith("table-") and not table.is_file():
        print(f"  its table {table} no longer exists; to remove it: mellm datasets --remove {name}")
