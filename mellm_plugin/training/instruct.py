"""Examples as files, in the common chat format: JSON Lines that name their images, which lie beside them.

    {"id": "casme2/sub01/EP02_01f#0", "subject": "casme2/sub01", "form": "label", "images": ["images/out/0000000.png"],
     "messages": [{"role": "user", "content": "<image>The image is a motion map .."},
                  {"role": "assistant", "content": "happiness"}]}

The file takes its name when it is whole. Until then it is `.out.jsonl.KEY.part`, where the key stands for all that the
examples depend on: cut off, the same command goes on behind its last whole line.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from mellm_plugin import __version__
from mellm_plugin.datasets import store
from mellm_plugin.errors import ImageError, InputError
from mellm_plugin.language.prompts import PROMPT_VERSION
from mellm_plugin.locks import sole_writer
from mellm_plugin.motion.cache import VERSION as FLOW_VERSION
from mellm_plugin.motion.images import write_atomically
from mellm_plugin.training.data import Example, Examples

IMAGE_MARK = "<image>"
"""Stands in front of the prompt once for each image."""

Rewrite = Callable[[Example], tuple[str, str | None]]
"""Another wording of an example's answer, and why it is the old one, if it is."""


@dataclass
class Written:
    """What was written.

    Attributes:
        file: the lines.
        examples: how many they are.
        resumed: how many of them were there already.
        forms: how many of each form.
        faults: what could not be written, and why: a sentence an example; the others are there.
        rewritten: how many answers were rewritten.
        refused: how many rewritings were refused, by reason.
    """

    file: Path
    examples: int = 0
    resumed: int = 0
    forms: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    rewritten: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {**asdict(self), "file": str(self.file), "forms": dict(self.forms), "refused": dict(self.refused)}


def write(
    examples: Examples, out: Path, *, replace: bool = False, rewrite: Rewrite | None = None, rewriter: str = ""
) -> Written:
    """Write examples and their images.

    Args:
        examples: all of them, in their order.
        out: the file of lines; its images go into `images/<its stem>/` beside it, as PNG (`images/<its name>/`, where
            it is not named `.jsonl`), both when the last example is made.
        replace: write over a file that is there.
        rewrite: another wording of answers.
        rewriter: what tells this rewriting from another, for going on with it.

    Returns:
        what was written. An example whose clip cannot be read is left out, and named in `faults`.

    Raises:
        InputError: the file is there, or cannot be written, or not one example could be made.
        BusyError: another process writes it.
        DataError: the data cannot be read.
    """
    if out.is_dir():
        raise InputError("expected a file to write, found a folder; name a file in it", where=str(out))
    with sole_writer(out):
        if out.exists() and not replace:
            raise InputError("there is such a file already; choose another name, or --replace", where=str(out))
        return _write(examples, out, rewrite, rewriter)


def _write(examples: Examples, out: Path, rewrite: Rewrite | None, rewriter: str) -> Written:
    folder = Path("images") / (out.stem if out.suffix == ".jsonl" else out.name)
    part = out.with_name(f".{out.name}.{_key(examples, rewriter)}.part")
    drawn = part.with_suffix(".images")  # those of a file that is replaced stay with it until then
    done = Written(out)
    try:
        drawn.mkdir(parents=True, exist_ok=True)
        there = _taken_over(part, done)
        places = [place for place in range(len(examples)) if place not in there]
        with part.open("a", encoding="utf-8") as lines:
            for place in tqdm(places, desc="examples", unit="example"):
                try:
                    example = examples[place]
                except ImageError as error:
                    done.faults.append(f"example {place}: {error}")
                    continue
                line = _line(example, place, drawn, folder, done, rewrite)
                lines.write(json.dumps(line, ensure_ascii=False) + "\n")
                lines.flush()
        if not done.examples:
            part.unlink()
            shutil.rmtree(drawn)
            raise InputError(done.faults, where=f"{out}: not one example could be made")
        out.unlink(missing_ok=True)
        (out.parent / folder).mkdir(parents=True, exist_ok=True)
        for image in drawn.iterdir():
            image.replace(out.parent / folder / image.name)
        drawn.rmdir()
        part.replace(out)
    except (OSError, InputError) as error:
        if isinstance(error, InputError) and not isinstance(error.__cause__, OSError):  # not of an image's file
            raise
        raise InputError(
            f"cannot write the examples: {error.__cause__ or error}; what is written is kept, the same command goes on",
            where=str(out),
        ) from error
    return done


def _line(
    example: Example, place: int, drawn: Path, folder: Path, done: Written, rewrite: Rewrite | None
) -> dict[str, Any]:
    names = []
    for number, pixels in enumerate(example.images):
        name = f"{place:07d}.png" if len(example.images) == 1 else f"{place:07d}-{number}.png"
        write_atomically(drawn / name, [Image.fromarray(pixels)], "image")
        names.append((folder / name).as_posix())
    answer = example.answer
    line: dict[str, Any] = {
        "id": f"{example.clip}#{place}",
        "subject": example.subject,
        "form": example.form,
        "images": names,
    }
    if rewrite is not None:
        answer, refused = rewrite(example)
        if refused is not None:
            done.refused[refused] += 1
        elif answer != example.answer:
            done.rewritten += 1
            line["rewritten"] = True
    line["messages"] = [
        {"role": "user", "content": IMAGE_MARK * len(names) + example.prompt},
        {"role": "assistant", "content": answer},
    ]
    done.examples += 1
    done.forms[example.form] += 1
    return line


def _key(examples: Examples, rewriter: str) -> str:
    """What the examples depend on, in eight digits."""
    data: dict[str, Mapping[str, Any]] = {}
    for source in examples.sources:
        if store.is_prepared(source.dataset, examples.root):
            splits = store.read_info(source.dataset, examples.root)["splits"]
            data[source.dataset] = {split: entry["sha256"] for split, entry in splits.items()}
    told = {
        "sources": [asdict(source) for source in examples.sources],
        "motion": None if examples.motion is None else examples.motion.to_dict(),
        "plan": hashlib.sha256(examples.plan.tobytes()).hexdigest(),
        "seed": examples.seed,
        "augment": examples.augment,
        "data": data,
        "versions": [__version__, PROMPT_VERSION, FLOW_VERSION],
        "rewriter": rewriter,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]


def _taken_over(part: Path, done: Written) -> set[int]:
    """Count what a cut-off run wrote, drop what it wrote in part, and return the places that are done."""
    there: set[int] = set()
    if not part.exists():
        return there
    whole = 0
    with part.open("rb") as lines:
        for raw in lines:
            if not raw.endswith(b"\n"):
                break
            line = json.loads(raw)
            whole += len(raw)
            there.add(int(line["id"].rpartition("#")[2]))
            done.examples += 1
            done.forms[line["form"]] += 1
            done.rewritten += bool(line.get("rewritten"))
    os.truncate(part, whole)
    done.resumed = done.examples
    return there
