"""Folders of frames in every layout, and the numbers in their names."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin.datasets.converters import CONVERTERS
from mellm_plugin.datasets.frames import ClipFolder, FrameTree, frame_number, list_frames
from mellm_plugin.errors import InputError


@pytest.mark.parametrize(
    ("name", "number"),
    [("img46.jpg", 46), ("reg_img46.jpg", 46), ("006_05562.jpg", 5562), ("image563849.bmp", 563849), ("0.jpg", 0),
     ("IMG_0007.JPEG", 7), ("img46 (1).jpg", 46), ("img (46).jpg", 46),  # a copy; a series named by a file manager
     ("cover.jpg", None), ("._img46.jpg", None), ("img46.jpg.lnk", None), ("img46.avi", None), ("Thumbs.db", None),
     ("1234567890123456.jpg", None), ("", None)],
)  # fmt: skip
def test_the_number_of_a_frame(name: str, number: int | None) -> None:
    assert frame_number(name) == number


def _files(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(name)
    return folder


def test_frames_are_listed_by_number(tmp_path: Path) -> None:
    folder = list_frames(_files(tmp_path, "img9.jpg", "img10.jpg", "img100.jpg", "notes.txt"))
    assert list(folder.files) == [9, 10, 100] and folder.files[9].name == "img9.jpg" and not folder.faults
    assert folder.span() == "9..100 (3 frames)" and ClipFolder(tmp_path, {}).span() == "no frame"
    assert [folder.nearest(asked) for asked in (0, 9, 30, 55, 56, 10**9)] == [9, 9, 10, 10, 100, 100]
    assert ClipFolder(tmp_path, {}).nearest(9) is None


def test_a_copy_does_no_harm(tmp_path: Path) -> None:
    _files(tmp_path, "img46.jpg", "img47.jpg")
    (tmp_path / "img46 (1).jpg").write_text("img46.jpg")
    folder = list_frames(tmp_path)
    assert folder.files[46].name == "img46.jpg" and not folder.faults
    assert folder.notes == ("left aside, copies of other frames: img46 (1).jpg",)
    (tmp_path / "img47 (1).jpg").write_text("IMG47.jpg")
    for name in ("img47.jpg", "img47 (1).jpg"):  # of one size and one date, and yet not equal
        os.utime(tmp_path / name, ns=(0, 0))
    (fault,) = list_frames(tmp_path).faults
    assert "img47 (1).jpg, img47.jpg are all frame 47; keep the files of one kind" in fault


ASIDE: dict[str, dict[str, bool]] = {
    "smic": {
        "SMIC_all_raw/HS/s1/micro/negative/s1_ne_01": False,
        "SMIC_all_raw/VIS/s1/micro/negative/s1_ne_01": True,
        "SMIC_all_raw/HS/s1/non_micro/s1_ne_01_other": True,
        "mine/s1_po_3": False,
        "SMIC/HS_long/s1/micro/negative/s1_ne_01": True,
        "SMIC/HS_long/SMIC_HS_E/s1/micro/negative/s1_ne_01": True,
        "SMIC/SMIC_VIS/s1/micro/negative/s1_ne_01": True,
    },
    "smic_vis": {"SMIC/SMIC_VIS/s1/micro/negative/s1_ne_01": False, "SMIC/hs/s1/micro/negative/s1_ne_01": True},
    "smic_nir": {"SMIC_all_raw/NIR/s1/micro/negative/s1_ne_01": False, "SMIC/HS/s1/s1_ne_01": True},
    "casme3": {"part_A/spNO.216/b/color": False, "part_A/spNO.1/b/depth": True},
    "mmew": {
        "Macro_Expression/S05/disgust": True,
        "macro-and-micro/data/MMEW/Micro_Expression/disgust/S05-01-002": False,
    },
    "fourdme": {"rgb_micro/003/003_01": True, "gray_macro/003/003_01": True, "3D/4DME/gray_micro/003/003_01": False},
}


@pytest.mark.parametrize(
    ("name", "path", "aside"), [(n, *case) for n, cases in ASIDE.items() for case in cases.items()]
)
def test_folders_of_something_else_are_left_aside(name: str, path: str, aside: bool) -> None:
    assert CONVERTERS[name].aside(tuple(path.split("/"))) is aside


@given(st.lists(st.text("ab01_./- ", max_size=6), min_size=1, max_size=3), st.text("ab01_ ", max_size=6))
@settings(max_examples=25)
def test_any_name_can_be_looked_for(parts: list[str], clip: str) -> None:
    with TemporaryDirectory() as folder:
        _files(Path(folder) / "a0" / "b_01", "1.jpg")
        tree = FrameTree(folder)
        found = tree.find(("".join(parts), clip), (clip,))
        assert len(found) <= 1 and "the nearest is" in tree.nearest(("".join(parts), clip))


def test_a_tree(tmp_path: Path) -> None:
    a, b = _files(tmp_path / "x" / "clip1", "1.jpg"), _files(tmp_path / "clip2", "1.png")
    other = _files(tmp_path / "other", "1.jpg")
    empty = _files(tmp_path / "clip3", "notes.txt")
    tree = FrameTree(tmp_path)
    assert len(tree) == 3 and tree.folder(("none",), ("CLIP1",)) == a
    assert [path for path, _ in tree.folders()] == [b, other, a, empty]
    with pytest.raises(InputError, match=f"in {empty}, found none; complete the folder"):
        tree.folder(("clip3",))
    with pytest.raises(InputError, match=f"below {tmp_path}, found none; the nearest is {tmp_path}/clip2"):
        tree.folder(("clip22",))
    assert FrameTree(a).folder(("clip1",)) == a  # its own name counts
    left = FrameTree(tmp_path, lambda parts: parts[-1] == "clip2")
    assert left.find(("clip2",)) == []


def test_one_clip_in_two_folders(tmp_path: Path) -> None:
    for name in ("raw/clip1", "cropped/clip1", "sub01/EP02_9", "sub01/EP02_09", "sub02/EP02_09"):
        _files(tmp_path / name, "1.jpg")
    tree = FrameTree(tmp_path)
    assert tree.folder(("sub01", "ep02_9")) == tmp_path / "sub01" / "EP02_9", "an exact name before a like one"
    assert tree.folder(("s2", "EP2_9")) == tmp_path / "sub02" / "EP02_09" and tree.find(("3", "EP02_09")) == []
    with pytest.raises(InputError, match="expected one folder of its frames .* found .*cropped/clip1 and .*raw/clip1"):
        tree.folder(("clip1",))


def test_roots_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        FrameTree(tmp_path / "none")
    with pytest.raises(InputError, match="found no frame; is it the right one, and unpacked?"):
        FrameTree(tmp_path)
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        archive.writestr("clip1/1.jpg", b"")
    with pytest.raises(InputError, match="found a file; unzip it and name the folder"):
        FrameTree(tmp_path / "clips.zip")
    _files(tmp_path, "1.jpg")
    with pytest.raises(InputError, match="no frame of this dataset's clips, only others, .* name another"):
        FrameTree(tmp_path, lambda parts: True)
    _files(tmp_path / "unnumbered", "onset.jpg", "apex.jpg")
    with pytest.raises(InputError, match=r"their numbers .*, found .*apex.jpg; .* mellm prepare table"):
        FrameTree(tmp_path / "unnumbered")


def test_a_picture_of_another_series_is_no_frame(tmp_path: Path) -> None:
    for name in ("img8.jpg", "img09.jpg", "img10.jpg", "screenshot1.jpg"):
        (tmp_path / name).touch()
    found = list_frames(tmp_path)
    assert list(found.files) == [8, 9, 10] and not found.faults
    assert found.notes == ("left aside, for the other frames are named as img8.jpg is: screenshot1.jpg",)
    alone = list_frames(tmp_path, like="screenshot1.jpg")
    assert list(alone.files) == [1] and not alone.notes


def test_two_series_of_one_length_cannot_be_told_apart(tmp_path: Path) -> None:
    for name in ("img8.jpg", "img9.jpg", "reg_img10.jpg", "reg_img11.jpg"):
        (tmp_path / name).touch()
    (fault,) = list_frames(tmp_path).faults
    assert "are named in two ways; keep the files of one kind" in fault
