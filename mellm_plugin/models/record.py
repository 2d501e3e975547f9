"""The training record of a model or adapter: `training.json` in its folder.

    {"format": 1,
     "versions": {"mellm-plugin": "0.1.0", "torch": "2.15.0", "transformers": "5.23.0", "peft": "0.21.2"},
     "base": {"name": "bundled", "revision": null, "sha256": {"config.json": "5d1..", "model.safetensors": "88c.."}},
     "prompts": "1", "motion": {"estimator": "local", ..} or "off",
     "seen": {"casme2": {"sha256": {"test": "0f3.."}, "subjects": ["sub01", ..]}},
     "validation": {"casme2": ["sub07", ..]},
     "config": {..}, "stages": [{"name": "labels", "steps": 200, "kept_step": 150, "loss": .12, "validation_loss": .15,
                                 "validation": {"score": .61, "label_uf1": .55, ..}, "faults": [], "seconds": 130}]}

`seen` are the training subjects, `validation` the subjects that chose the state of the model: a score on either is not
a score on new people (`models/seen.py`). Faces drawn for training are called `synthme-train`, because they differ from
the equally numbered faces of the test set `synthme`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mellm_plugin.errors import ModelError
from mellm_plugin.small_files import read_json, write_text

FILE = "training.json"
FORMAT = 1
"""Version of the file format; others are refused."""

_KEYS = {"versions", "base", "prompts", "motion", "seen", "validation", "config", "stages"}


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a folder; raises ModelError if it is missing, damaged, or of another version."""
    file = folder / FILE
    try:
        record = read_json(file)
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else None
        raise ModelError(f"{file}: expected format {FORMAT}, found {found!r}; another version of mellm-plugin wrote it")
    if lacking := sorted(_KEYS - record.keys()):
        raise ModelError(f"{file}: expected {', '.join(lacking)}, found none; the file is damaged")
    return record


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write the record of a folder atomically."""
    write_text(folder / FILE, json.dumps({"format": FORMAT, **record}, indent=1, ensure_ascii=False) + "\n")


def together(earlier: dict[str, Any] | None, own: dict[str, Any] | None) -> dict[str, Any] | None:
    """The `own` record of a training with the people of the `earlier` one of its start; or the only record."""
    if earlier is None or own is None:
        return own or earlier
    seen, validation = dict(own["seen"]), dict(own["validation"])
    for name, of in earlier["seen"].items():
        later = seen.get(name, {"subjects": []})
        seen[name] = {**of, **later, "subjects": sorted({*of["subjects"], *later["subjects"]})}
    for name, people in earlier["validation"].items():
        validation[name] = sorted({*people, *validation.get(name, ())})
    return {**own, "seen": seen, "validation": validation}


def ends_sum(path: Path) -> str:
    """A checksum over a file's size and its first and last MiB, which training changes; the whole takes minutes."""
    size, block = path.stat().st_size, 1 << 20
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(block))
        file.seek(max(block, size - block))
        digest.update(file.read())
    return digest.hexdigest()
