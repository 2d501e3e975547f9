"""What a trained model or adapter says of its training: `training.json` in its folder.

    {"format": 1,
     "versions": {"mellm-plugin": "0.1.0", "torch": "2.15.0", "transformers": "5.23.0", "peft": "0.21.2"},
     "base": {"name": "bundled", "revision": null, "sha256": {"config.json": "5d1..", "model.safetensors": "88c.."}},
     "prompts": "1", "motion": {"estimator": "local", ..} or "off",
     "seen": {"casme2": {"sha256": {"test": "0f3.."}, "subjects": ["sub01", ..]}},
     "validation": {"casme2": ["sub07", ..]},
     "config": {..}, "stages": [{"name": "labels", "steps": 200, "loss": .12, "validation_loss": .15, "seconds": 130}]}

`seen` are the subjects that it was trained on, `validation` those by which its state was chosen: a score on either of
them is no score on new people (`models/seen.py`). Faces drawn for training are `synthme-train`: they are others
than those of the test set `synthme`, though they are numbered alike.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mellm_plugin.errors import ModelError
from mellm_plugin.small_files import read_json, write_text

FILE = "training.json"
"""Name of the record in the folder of a model or adapter."""

FORMAT = 1
"""Of the record; a later one is refused."""

_BLOCK = 1 << 20
_KEYS = {"versions", "base", "prompts", "motion", "seen", "validation", "config", "stages"}


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a folder, with the keys of the example above.

    Raises:
        ModelError: it is not there, is damaged, or was written by a later version.
    """
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
    """Write the record of a folder, in one step."""
    text = json.dumps({"format": FORMAT, **record}, indent=1, ensure_ascii=False)
    write_text(folder / FILE, text + "\n")


def together(earlier: dict[str, Any] | None, own: dict[str, Any] | None) -> dict[str, Any] | None:
    """The record of what was trained, with those whom the model that it started from had seen before it.

    Args:
        earlier: of the base, or of the adapter that was gone on with; None where there is none.
        own: of what was trained on it.

    Returns:
        `own`, where both are there with the people of both; else the one that is there.
    """
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
    """A sum over a file's size and its first and last megabyte.

    Files of weights differ in them when a model was trained on; reading all of a large model would take minutes.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_BLOCK))
        file.seek(max(_BLOCK, size - _BLOCK))
        digest.update(file.read())
    return digest.hexdigest()
