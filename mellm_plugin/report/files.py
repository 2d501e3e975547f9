"""The results and samples files of lmms-eval: where they are, which belong together, and their JSON.

    results/20261122_225316_results.json                    scores, configuration of model and tasks, versions
    results/20261122_225316_samples_synthme_meu.jsonl       one line a clip, written with `--log_samples`
    loso/results.json, loso/predictions.jsonl               the same, written by `mellm loso`

Only the folder and the date at the start of the names link results and samples.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from glob import escape
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mellm_plugin.redaction import redacted
from mellm_plugin.report.runs import Reading

RESULTS, SAMPLES = "_results.json", "_samples_"
LOSO, PREDICTIONS = "results.json", "predictions.jsonl"
_STAMPED = re.compile(r"\d{8}_\d{6}_results\.json")
_HALF_LETTER = re.compile(rb"\\ud[89a-f]", re.IGNORECASE)


def find(paths: Iterable[Path], reading: Reading) -> tuple[list[Path], list[Path]]:
    """The results files and the samples files below some files and folders, each once.

    A results file brings its samples files, and the other way round.
    """
    results: dict[Path, Path] = {}  # by the real path: a link has the name, its target may have another one
    samples: dict[Path, Path] = {}
    for path in paths:
        try:
            path.stat()
        except OSError as error:
            found = "found nothing" if isinstance(error, FileNotFoundError) else f"cannot read it: {error.strerror}"
            reading.fault(path, f"expected a folder or a file, {found}")
            continue
        taken = False
        for file in _within(path, reading) if path.is_dir() else [path]:
            if file.name.endswith(RESULTS) and file.is_file():
                results.setdefault(file.resolve(), file)
                for beside in sorted(file.parent.glob(f"{escape(file.name.removesuffix(RESULTS))}{SAMPLES}*.jsonl")):
                    samples.setdefault(beside.resolve(), beside)
            elif SAMPLES in file.name and file.suffix == ".jsonl" and file.is_file():
                samples.setdefault(file.resolve(), file)
                beside = file.with_name(f"{file.name.partition(SAMPLES)[0]}{RESULTS}")
                if beside.is_file():
                    results.setdefault(beside.resolve(), beside)
            elif file.name == LOSO and (beside := file.with_name(PREDICTIONS)).is_file():
                results.setdefault(file.resolve(), file)
                samples.setdefault(beside.resolve(), beside)
            else:
                continue
            taken = True
        if not taken and not path.is_dir():
            reading.fault(path, f"expected a file named *{RESULTS} or *{SAMPLES}TASK.jsonl, as lmms-eval names them")
    return list(results.values()), list(samples.values())


def _within(folder: Path, reading: Reading) -> list[Path]:
    """All files below a folder, each once, also in linked folders."""
    found: list[Path] = []
    known: set[Path] = set()
    errors: list[OSError] = []
    for name, folders, files in os.walk(folder, onerror=errors.append, followlinks=True):
        real = Path(name).resolve()
        if real in known:
            folders.clear()
            continue
        known.add(real)
        found += [Path(name, file) for file in files]
    for error in errors:
        reading.fault(error.filename, f"cannot be read: {error.strerror}")
    return sorted(found)


def results_document(file: Path, reading: Reading) -> dict[str, Any] | None:
    """The JSON of a results file, with `results`; else None, and a fault if the file should have been one."""
    try:
        found = loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        expected = "expected JSON in UTF-8, found something else or half a file"
        reading.fault(file, f"{'cannot be read' if isinstance(error, OSError) else expected}: {error}")
        return None
    if isinstance(found, dict) and isinstance(found.get("results"), dict):
        return found
    if _STAMPED.fullmatch(file.name):
        reading.fault(file, "expected an object with `results`, as lmms-eval writes it, found none")
    else:
        reading.notes.append(f"{file}: not written by lmms-eval")
    return None


def loads(raw: bytes) -> Any:
    """The value of a JSON text in UTF-8; lone surrogates, which no file in UTF-8 can hold, become question marks.

    Raises:
        ValueError, RecursionError: it is no JSON, or nested too deeply.
    """
    found = json.loads(raw.decode("utf-8-sig"))
    if _HALF_LETTER.search(raw):
        found = json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    return found


def short(value: object) -> str:
    """A value as a fault shows it: one line, at most 60 characters, no keys."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(redacted(text)[:200].split())  # redacted first: a key that is cut in two is not recognised
    return text if len(text) <= 60 else f"{text[:59]}…"


_EXPECTED = {"missing": "a value", "string_type": "a text", "bool_type": "true or false", "list_type": "a list"}
_EXPECTED |= {"int_type": "a whole number", "float_type": "a number", "finite_number": "a number"}
_EXPECTED |= {"dict_type": "an object", "model_type": "an object", "extra_forbidden": "no such key"}
_EXPECTED |= {"literal_error": "{expected}", "greater_than_equal": "at least {ge}", "less_than_equal": "at most {le}"}


def faults_of(error: ValidationError) -> list[str]:
    """All faults that pydantic found, as `gold.aus.1: expected a text, found 7`."""
    found_faults = []
    for one in error.errors(include_url=False):
        path = ".".join(str(step) for step in one["loc"] if step != "record")
        expected = "the answer" if path == "filtered_resps" else _EXPECTED.get(one["type"])
        if expected is None:
            text = one["msg"].removeprefix("Value error, ")
        else:
            found = "none" if one["type"] == "missing" else short(one["input"])
            text = f"expected {expected.format(**one.get('ctx', {}))}, found {found}"
        found_faults.append(f"{path}: {text}" if path else text)
    return found_faults
