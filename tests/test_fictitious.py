"""The fictitious datasets have the published counts, the real ones' oddities, and frames that show what codes say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import fictitious
import numpy as np
import openpyxl
import pytest
from fictitious import Fictitious, casme2, dfme, samm, smic

from mellm_plugin.datasets import megc2019
from mellm_plugin.datasets.synthme import AUS, displacement
from mellm_plugin.facs.codes import read_codes
from mellm_plugin.facs.labels import coarse
from mellm_plugin.motion.facial import facial_flow

PUBLISHED = {
    "casme2": ("others 99, disgust 63, happiness 32, repression 27, surprise 25, sadness 7, fear 2", 26),
    "samm": ("anger 57, happiness 26, others 26, surprise 15, contempt 12, disgust 9, fear 8, sadness 6", 29),
    "smic": ("negative 70, positive 51, surprise 43", 16),
    "casme3": ("disgust 250, surprise 187, others 161, fear 86, anger 64, sadness 57, happiness 55", 94),
    "mmew": ("surprise 89, disgust 72, repression 66, happiness 36, fear 16, sadness 13, anger 8", 30),
    "fourdme": (
        "negative 127, others 49, positive 34, surprise 30, positive surprise 13, negative surprise 8, repression 6",
        41,
    ),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fictitious]:
    """Each dataset with all of its clips."""
    film: dict[str, Any] = {"draw": "noise", "size": (16, 16), "frames": 3}
    return {name: fictitious.WRITERS[name](tmp_path_factory.mktemp(name), **film) for name in PUBLISHED}


def test_published_counts_and_classes(published: dict[str, Fictitious]) -> None:
    for name, (labels, subjects) in PUBLISHED.items():
        clips = published[name].clips
        counts = {label: int(number) for label, number in (part.rsplit(" ", 1) for part in labels.split(", "))}
        assert Counter(clip.emotion for clip in clips) == counts
        assert len({clip.subject for clip in clips}) == subjects
        assert len({(clip.subject, clip.clip) for clip in clips}) == len(clips)
    for name in megc2019.PARTS:
        of = {megc2019.clip_of(name, clip.subject, clip.clip): coarse(clip.emotion) for clip in published[name].clips}
        assert {c: label for c, (label, _) in megc2019.clips().items() if c[0] == name}.items() <= of.items()


def test_the_oddities_of_the_real_sheets(published: dict[str, Fictitious]) -> None:
    old, sam, cas = (published[name] for name in ("casme2", "samm", "casme3"))
    assert sum(clip.au_code == "?" for clip in old.clips) == 5
    assert [(c.row, c.numbers[-1]) for c in old.clips if c.offset not in c.numbers] == [(62, 91)]
    outside = {c.clip: c.apex in c.numbers for c in sam.clips if not (c.onset or 0) <= (c.apex or 0) <= (c.offset or 0)}
    assert outside == {"028_4_1": True, "032_3_1": False}
    asked = ("15A+17|L20+21|(R6 or R12)+R15|(R6 or R12) + R15|R6A+R12|ref(7B)+43|7B+ ref(43)|ref(L10)+A12B|4A/B|10A/B|"
             "A/L12|A9E+ref(10)|B18+25|T18+39|T23|4+13+T18+39|L12 + 61|L12 or L14|R14A or 17A or 24A|A1B+A2C|"
             "7D+ref(43)|12+15 |R14+17+soft focus")  # fmt: skip
    assert set(asked.split("|")) <= {clip.au_code for clip in sam.clips}
    rows = list(openpyxl.load_workbook(cas.sheet).worksheets[0].iter_rows(values_only=True))
    assert [row[2] for row in rows[750:752]] == [3647, 0] and [c.onset for c in cas.clips[749:751]] == [2647, 1]
    assert sum((clip.apex or 0) <= (clip.onset or 0) for clip in cas.clips) == 54


@pytest.mark.parametrize("write", [casme2, samm, smic, dfme])
def test_the_faces_move_as_the_codes_say(write: Callable[..., Fictitious], tmp_path: Path) -> None:
    for clip in write(tmp_path, 3, frames=4).clips:
        assert clip.onset is not None
        onset, peak = (cv2.imread(str(clip.frame(n)), cv2.IMREAD_GRAYSCALE) for n in (clip.onset, clip.peak))
        found = facial_flow(onset, peak).flow
        fields = [displacement([code], [px], clip.centre, clip.half, onset.shape) for code, px in clip.moved.items()]
        columns = np.stack([field.ravel() for field in fields], axis=1)
        shares = np.linalg.lstsq(columns, found.ravel(), rcond=None)[0]
        assert (shares > 0.45).all() and (shares < 1.3).all(), (clip.moved, shares)
        assert float(((found.ravel() - columns @ shares) ** 2).sum() / (found**2).sum()) < 0.35
        units = {reading.number for unit in read_codes(clip.au_code).units or () for reading in unit.readings}
        assert {int(code.strip("LR")) for code in clip.moved} <= units or not units & set(AUS)


def test_the_same_arguments_write_the_same_frames(tmp_path: Path) -> None:
    for draw in ("faces", "noise"):
        film: dict[str, Any] = {"frames": 3, "draw": draw, "size": (64, 64)}
        made = [samm(tmp_path / f"{draw}{i}", 2, seed=seed, **film) for i, seed in enumerate((5, 5, 6))]
        for a, b, c in zip(*(one.clips for one in made), strict=True):
            data = a.frame(a.peak).read_bytes()
            assert data == b.frame(b.peak).read_bytes() != c.frame(c.peak).read_bytes()
