"""The motion maps of a whole prepared dataset, as files: one PNG a clip, contact sheets, and a table.

maps/
  casme2/sub01/EP02_01f.png    the id of the clip
  contact_sheet.jpg            and contact_sheet-2.jpg ...
  maps.csv                     a row per clip: share of coloured pixels, head motion, doubts, faults
  motion.json                  the settings
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from tqdm import tqdm

from mellm_plugin.datasets import store
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.errors import ImageError, InputError, near
from mellm_plugin.locks import sole_writer
from mellm_plugin.motion.cache import MotionCache
from mellm_plugin.motion.contact_sheet import contact_sheet
from mellm_plugin.motion.facial import Nose
from mellm_plugin.motion.images import Frame, write_atomically
from mellm_plugin.motion.render import MotionMap, motion_maps
from mellm_plugin.motion.settings import MotionSettings
from mellm_plugin.small_files import guarded

TABLE = "maps.csv"
SHEET = "contact_sheet.jpg"

_COLUMNS = (
    *(
        "id",
        "subject",
        "map",
        "coloured",
        "head_from",
        "head_right_px",
        "head_down_px",
        "head_degrees",
        "head_scale",
        "head_turn_degrees",
    ),
    *("doubts", "fault"),
)


@dataclass
class DrawnDataset:
    """The maps of a dataset, and the folder of their files."""

    folder: Path
    maps: int = 0  # number of maps
    without_nose: int = 0  # number of maps without a nose tip, if the settings ask for it
    sheets: tuple[Path, ...] = ()  # the contact sheets
    doubtful: dict[str, tuple[str, ...]] = field(default_factory=dict)  # doubts by clip, for implausible flows
    faults: list[str] = field(default_factory=list)  # clips that could not be drawn, a sentence each


def draw_dataset(
    name: str,
    split: str,
    folder: str | os.PathLike[str],
    settings: MotionSettings,
    *,
    workers: int = 1,
    device: str | None = None,
    cache: MotionCache | None = None,
) -> DrawnDataset:
    """Draw the map of every clip; a clip that cannot be drawn is reported in the result.

    Memory grows only with doubtful and faulty clips. An interruption leaves whole files and a table of them; the next
    run takes their flows from the cache.

    Args:
        name, split: of a prepared dataset.
        folder: for the files; created if missing. Existing files are replaced.
        settings, workers, device, cache: as for `motion_maps`.

    Raises:
        DataError: the dataset is not prepared, has no such split, or cannot be read.
        SettingsError: a device for another estimator than TV-L1.
        InputError: the folder cannot be written to, or not a single map could be drawn.
        BusyError: another process is drawing into it.
    """
    if workers < 1:
        raise InputError(f"expected at least one worker, found {workers}")
    splits = store.read_info(name)["splits"]
    if split not in splits:
        has = f"it has: {', '.join(splits)}.{near(split, splits)}"
        raise InputError(f"the dataset {name!r} has no split {split!r}; {has}")
    out = Path(folder)
    if out.exists() and not out.is_dir():
        raise InputError("expected a folder, found a file; choose another name", where=str(out))
    with sole_writer(out, folder=True):
        return _draw(name, split, out, settings, workers, device, cache, splits[split]["clips"])


def _draw(
    name: str,
    split: str,
    out: Path,
    settings: MotionSettings,
    workers: int,
    device: str | None,
    cache: MotionCache | None,
    clips: int,
) -> DrawnDataset:
    samples = store.read(name, split)
    drawn = DrawnDataset(out)
    waiting: deque[Sample] = deque()

    def pairs() -> Iterator[tuple[Frame, Frame, Nose | None]]:
        for sample in samples:
            waiting.append(sample)
            yield sample.onset, sample.apex, sample.nose

    # Refuses invalid settings before anything is written.
    every = motion_maps(pairs(), settings, workers=workers, device=device, cache=cache)

    def maps(table: csv.DictWriter[str], progress: tqdm) -> Iterator[tuple[str, MotionMap]]:
        for found in chain(first, every):
            sample = waiting.popleft()
            progress.update()
            if isinstance(found, ImageError):
                drawn.faults.append(f"{sample.id}: {found}")
                texts = {"id": sample.id, "subject": sample.subject, "fault": str(found)}
                table.writerow({key: guarded(text) for key, text in texts.items()})
                continue
            *folders, last = (_safe(part) for part in sample.id.split("/"))
            file = out.joinpath(*folders, f"{last}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, [found.to_pil()], "map")
            drawn.maps += 1
            drawn.without_nose += settings.head == "nose" != found.facial.head_from
            if found.doubts:
                drawn.doubtful[sample.id] = found.doubts
            table.writerow(_row(sample, found, file.relative_to(out)))
            yield sample.id, found

    first = list(islice(every, 1))  # an immediate failure leaves the folder unchanged
    try:
        settings.save(out)
        with _table(out / TABLE) as table, tqdm(total=clips, desc="maps", unit="clip") as progress:
            shown = ((clip, found.image) for clip, found in maps(table, progress))
            drawn.sheets = contact_sheet(shown, out / SHEET, palette=settings.palette)
        if cache is not None:
            cache.trim()
    except InputError:
        if drawn.maps or not drawn.faults:
            raise
        raise InputError(drawn.faults, where=f"{name}, {split}: not one map could be drawn") from None
    except OSError as error:
        raise InputError(f"cannot write the maps: {error}", where=str(out)) from error
    return drawn


def _safe(part: str) -> str:
    """A part of an id as a file name for any system; a changed name gets a digest, so that it stays unique."""
    safe = re.sub(r'[<>:"\\|?*\x00-\x1f]', "_", part).strip(". ")
    if safe == part and len(part.encode()) <= 120:
        return part
    return f"{safe.encode()[:100].decode(errors='ignore')}-{hashlib.sha256(part.encode()).hexdigest()[:6]}"


def _row(sample: Sample, found: MotionMap, file: Path) -> dict[str, object]:
    row: dict[str, object] = {
        "id": guarded(sample.id),
        "subject": guarded(sample.subject),
        "map": guarded(file.as_posix()),
        "coloured": f"{found.coloured:.4f}",
        "head_from": found.facial.head_from,
        "doubts": "; ".join(found.doubts),
    }
    if (head := found.head) is not None:
        row |= {"head_right_px": f"{head.tx:.3f}", "head_down_px": f"{head.ty:.3f}"}
        row |= {"head_degrees": f"{head.rotation:.3f}", "head_scale": f"{head.scale:.5f}"}
        row["head_turn_degrees"] = "" if head.out_of_plane is None else f"{head.out_of_plane:.2f}"
    return row


@contextmanager
def _table(path: Path) -> Iterator[csv.DictWriter[str]]:
    """A table under a temporary name until it ends, even by an error."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        try:
            yield writer
        finally:
            file.flush()
            part.replace(path)
