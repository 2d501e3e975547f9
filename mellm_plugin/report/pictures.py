"""Onset, apex and motion map of clips, small enough for a page, from the prepared data of this machine.

    clip_pictures(["synthme"], ["synthme/s00/00"])
    {"synthme/s00/00": {"onset": b"RIFF..WEBP..", "apex": b"RIFF..WEBP..", "map": b"RIFF..WEBP.."}}

If they do not all fit into the page, they are first made smaller, then fewer, spread evenly over the clips.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from mellm_plugin.datasets import store
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.errors import DataError, ImageError
from mellm_plugin.motion.cache import MotionCache
from mellm_plugin.motion.facial import Nose
from mellm_plugin.motion.images import Frame, read_pixels
from mellm_plugin.motion.render import motion_maps
from mellm_plugin.motion.settings import DEFAULT

BUDGET = 6_000_000  # most bytes of all pictures in a page, in base64; with charts and answers it stays below 10 MB
SIDES: tuple[int, ...] = (224, 176, 144, 112, 88)  # longer side of the pictures, px; the first at which all fit is used
QUALITY = 62  # WebP quality, 0..100: it removes camera noise and keeps lids and lip corners
_TRIED = 12  # clips that are drawn to estimate the size of all pictures
_MARGIN = 1.08  # factor on that estimate

Drawn = dict[str, npt.NDArray[np.uint8]]
Encoded = dict[str, bytes]


def clip_pictures(
    datasets: Iterable[str],
    ids: Iterable[str],
    *,
    budget: int = BUDGET,
    cache: MotionCache | None = None,
    notes: list[str] | None = None,
    progress: Callable[[], object] | None = None,
) -> dict[str, Encoded]:
    """The pictures of clips whose data is prepared on this machine, within the budget.

    Args:
        datasets: names as in the ids of clips, or as stored; for `synthme` the newest stored version.
        ids: the clips to draw; if too many, an evenly spread part of this list is drawn.
        budget: bytes of all pictures together, in base64.
        cache: keeps measured flows between runs.
        notes: gets a sentence on every dataset or clip that is left out.
        progress: called for each clip drawn.

    Returns:
        by id of the clip: WebP files `onset`, `apex` and `map`, of the same size.
    """
    remarks = [] if notes is None else notes
    wanted = list(dict.fromkeys(ids))
    stored = list(_stored(dict.fromkeys(datasets), set(wanted), remarks))
    there = {clip for _, _, clips in stored for clip in clips}
    wanted = [clip for clip in wanted if clip in there]
    if not wanted:
        return {}
    room = budget * 3 // 4  # base64 makes four bytes of three
    tried = [pictures for _, pictures in _drawn(stored, {*_spread(wanted, _TRIED)}, cache, remarks)]
    if not tried:
        return {}
    for side in SIDES:
        each = _MARGIN * sum(len(one) for pictures in tried for one in _encoded(pictures, side).values()) / len(tried)
        if each * len(wanted) <= room:
            break
    chosen = _spread(wanted, int(room / each))
    taken: dict[str, Encoded] = {}
    left_out = len(wanted) - len(chosen)
    for clip, pictures in _drawn(stored, {*chosen}, cache, remarks):
        if progress:
            progress()
        encoded = _encoded(pictures, side)
        size = sum(map(len, encoded.values()))
        if size <= room:
            taken[clip] = encoded
            room -= size
        else:
            left_out += 1
    if left_out:
        remarks.append(f"pictures of {len(taken)} of {len(wanted)} clips, {side} px a side: no more fit into the page")
    return {clip: taken[clip] for clip in wanted if clip in taken}


def _spread(clips: Sequence[str], count: int) -> list[str]:
    """`count` of the clips, evenly spread."""
    count = min(count, len(clips))
    return [clips[place * len(clips) // count] for place in range(count)]


def _stored(datasets: Iterable[str], wanted: set[str], remarks: list[str]) -> Iterator[tuple[str, str, set[str]]]:
    """Name and split of the prepared datasets, with the wanted clips in each."""
    prepared = store.list_prepared()
    for dataset in datasets:
        versions = [name for name in prepared if name == dataset or name.startswith(f"{dataset}-v")]
        if not versions:
            remarks.append(f"no pictures of {dataset}: it is not prepared on this machine")
            continue
        name = dataset if dataset in versions else max(versions, key=lambda name: (len(name), name))
        try:
            for split in store.read_info(name)["splits"]:
                clips = {row["id"] for row in store.read_columns(name, split, ["id"])} & wanted
                if clips:
                    yield name, split, clips
        except DataError as error:
            remarks.append(f"no pictures of {dataset}: {error}")


def _drawn(
    stored: Sequence[tuple[str, str, set[str]]], chosen: set[str], cache: MotionCache | None, remarks: list[str]
) -> Iterator[tuple[str, Drawn]]:
    waiting: deque[Sample] = deque()

    def remark(text: str) -> None:
        if text not in remarks:
            remarks.append(text)

    def pairs() -> Iterator[tuple[Frame, Frame, Nose | None]]:
        for name, split, clips in stored:
            try:
                for sample in store.read(name, split) if chosen & clips else ():
                    if sample.id in chosen:
                        waiting.append(sample)
                        yield sample.onset, sample.apex, sample.nose
            except DataError as error:
                remark(f"no further pictures of {name}: {error}")

    for found in motion_maps(pairs(), DEFAULT, workers=2, cache=cache):
        sample = waiting.popleft()
        if isinstance(found, ImageError):
            remark(f"no pictures of {sample.id}: {found}")
            continue
        onset, apex = _eight_bits(read_pixels(sample.onset)), _eight_bits(read_pixels(sample.apex))
        yield sample.id, {"onset": onset, "apex": apex, "map": found.image}


def _eight_bits(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Pixels of any depth as uint8; cameras store 10 or 12 bits in 16."""
    too_many = max(0, int(pixels.max()).bit_length() - 8) if pixels.dtype == np.uint16 else 0
    return (pixels >> too_many).astype(np.uint8)


def _encoded(pictures: Drawn, side: int) -> Encoded:
    """WebP files of at most `side` px."""
    found: Encoded = {}
    for kind, pixels in pictures.items():
        image, held = Image.fromarray(pixels), io.BytesIO()
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        image.save(held, "WEBP", quality=QUALITY, method=2)
        found[kind] = held.getvalue()
    return found
