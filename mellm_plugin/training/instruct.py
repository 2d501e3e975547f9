"""Export of examples in the common chat format: JSON Lines with image files beside them.

    {"id": "casme2/sub01/EP02_01f#0", "subject": "casme2/sub01", "form": "label", "images": ["images/out/0000000.png"],
     "messages": [{"role": "user", "content": "<image>The image is a motion map .."},
                  {"role": "assistant", "content": "happiness"}]}

The file gets its name when it is complete. Until then it is `.out.jsonl.KEY.part`; the key identifies everything that
the examples depend on. After an interruption the same command resumes after the last complete line.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
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
"""Precedes the prompt, once for each image."""

Rewrite = Callable[[Example], tuple[str, str | None]]
"""Rewords the answer of an example; returns the answer, and the reason if it stays unchanged."""


@dataclass
class Written:
    """The outcome of an export: numbers of examples, and the faults."""

    file: Path
    examples: int = 0
    resumed: int = 0  # from an earlier, interrupted run
    forms: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)  # a sentence for each example that could not be made
    rewritten: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # rewritings, by reason

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        return {**asdict(self), "file": str(self.file), "forms": dict(self.forms), "refused": dict(self.refused)}


def write(
    examples: Examples, out: Path, *, replace: bool = False, rewrite: Rewrite | None = None, rewriter: str = ""
) -> Written:
    """Write examples and their images.

    PNG images go to `images/<stem>/` beside the file (`images/<name>/` if its suffix is not `.jsonl`). File and images
    appear after the last example. An example whose clip cannot be read is skipped and named in `faults`. `rewriter`
    identifies the rewording, for resuming.

    Raises:
        InputError: the file exists or cannot be written, or no example could be made.
        BusyError: another process writes the file.
        DataError: the data cannot be read.
    """
    if out.is_dir():
        raise InputError("expected a file to write, found a folder; name a file in it", where=str(out))
    with sole_writer(out):
        if out.exists() and not replace:
            fault = "expected a new file, found an existing one; choose another name, or use --replace"
            raise InputError(fault, where=str(out))
        return _write(examples, out, rewrite, rewriter)


def _write(examples: Examples, out: Path, rewrite: Rewrite | None, rewriter: str) -> Written:
    folder = Path("images") / (out.stem if out.suffix == ".jsonl" else out.name)
    part = out.with_name(f".{out.name}.{_key(examples, rewriter)}.part")
    drawn = part.with_suffix(".images")  # images of a replaced file stay until then
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
            raise InputError(done.faults, where=f"{out}: no example could be made")
        out.unlink(missing_ok=True)
        (out.parent / folder).mkdir(parents=True, exist_ok=True)
        for image in drawn.iterdir():
            image.replace(out.parent / folder / image.name)
        drawn.rmdir()
        part.replace(out)
    except (OSError, InputError) as error:
        if isinstance(error, InputError) and not isinstance(error.__cause__, OSError):  # not from writing an image
            raise
        raise InputError(
            f"cannot write the examples: {error.__cause__ or error}; finished examples are kept, "
            "the same command resumes",
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
    answer, form = example.answer, example.form
    line: dict[str, Any] = {"id": f"{example.clip}#{place}", "subject": example.subject, "form": form, "images": names}
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
    done.forms[form] += 1
    return line


def _key(examples: Examples, rewriter: str) -> str:
    """An 8-digit hash of everything that the examples depend on."""
    prepared = {one.dataset for one in examples.sources if store.is_prepared(one.dataset, examples.root)}
    splits = {name: store.read_info(name, examples.root)["splits"] for name in prepared}
    data = {name: {split: entry["sha256"] for split, entry in of.items()} for name, of in splits.items()}
    depends_on = {
        "sources": [asdict(source) for source in examples.sources],
        "motion": None if examples.motion is None else examples.motion.to_dict(),
        "plan": hashlib.sha256(examples.plan.tobytes()).hexdigest(),
        "seed": examples.seed,
        "augment": examples.augment,
        "data": data,
        "versions": [__version__, PROMPT_VERSION, FLOW_VERSION],
        "rewriter": rewriter,
    }
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:8]


def _taken_over(part: Path, done: Written) -> set[int]:
    """Count the examples of an interrupted run, drop an incomplete last line, and return the finished places."""
    there: set[int] = set()
    whole = 0
    part.touch()
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
