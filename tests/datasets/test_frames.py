"""Folders of frames in every layout, and the numbers in their names."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.datasets.catalogue import CONVERTED, converter
from mellm_plugin.datasets.frames import ClipFolder, FrameTree, frame_number, list_frames
from mellm_plugin.errors import InputError


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("img46.jpg", 46),
        ("reg_img46.jpg", 46),
        ("006_05562.jpg", 5562),
        ("image563849.bmp", 563849),
        ("0.jpg", 0),
        ("IMG_0007.JPEG", 7),
        ("7.tiff", 7),
        ("img46 (1).jpg", 46),  # a copy
        ("img (46).jpg", 46),  # a series that a file manager has named
        ("cover.jpg", None),
        ("._img46.jpg", None),
        ("img46.jpg.lnk", None),
        ("img46.avi", None),
        ("Thumbs.db", None),
        ("1234567890123456.jpg", None),
        ("", None),
    ],
)
def test_the_number_of_a_frame(name: str, number: int | None) -> None:
    assert frame_number(name) == number


@given(st.text(max_size=40))
def test_a_number_is_never_invented(name: str) -> None:
    for file in (name, f"{name}.jpg"):
        number = frame_number(file)
        assert number is None or number in {int(digits) for digits in re.findall("[0-9]+", file)}


def _files(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_frames_are_listed_by_number(tmp_path: Path) -> None:
    folder = list_frames(_files(tmp_path, "img9.jpg", "img10.jpg", "img100.jpg", "notes.txt"))
    assert list(folder.files) == [9, 10, 100] and folder.files[9].name == "img9.jpg" and not folder.faults
    assert folder.span() == "9..100 (3 frames)" and ClipFolder(tmp_path, {}).span() == "no frame"


@pytest.mark.parametrize(("asked", "found"), [(0, 9), (9, 9), (30, 10), (55, 10), (56, 100), (10**9, 100)])
def test_the_nearest_frame(asked: int, found: int, tmp_path: Path) -> None:
    folder = list_frames(_files(tmp_path, "9.jpg", "10.jpg", "100.jpg"))
    assert folder.nearest(asked) == found
    assert ClipFolder(tmp_path, {}).nearest(asked) is None


def test_files_that_cannot_be_told_apart(tmp_path: Path) -> None:
    folder = list_frames(_files(tmp_path, "img46.jpg", "img46.png", "img046.jpg", "img47.jpg"))
    assert folder.faults == (
        f"{tmp_path}: img046.jpg, img46.jpg, img46.png are all frame 46; keep the files of one kind",
    )


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the folder cannot be read .*check its permissions"):
        list_frames(tmp_path / "none")


KEYS: dict[str, list[tuple[str, object]]] = {
    "casme2": [
        ("CASME2_RAW_selected/sub01/EP02_01f", (1, "ep02_01f")),
        ("Cropped/sub26/EP13_02", (26, "ep13_02")),
        ("CASME2/s1/ep02_01F", (1, "ep02_01f")),
        ("CASME2/sub01/notes", None),
        ("sub01", None),
    ],
    "samm": [("SAMM/006/006_1_2", "006_1_2"), ("006_1_2", "006_1_2"), ("SAMM/006", None)],
    "smic": [
        ("SMIC_all_raw/HS/s1/micro/negative/s1_ne_01", (1, "ne", 1)),
        ("SMIC_all_cropped/HS/s01/micro/surprise/s01_sur_12", (1, "sur", 12)),
        ("SMIC_all_raw/VIS/s1/micro/negative/s1_ne_01", None),
        ("SMIC_all_raw/HS/s1/non_micro/s1_ne_01_other", None),
        ("mine/s1_po_3", (1, "po", 3)),
    ],
    "smic_nir": [("SMIC_all_raw/NIR/s1/micro/negative/s1_ne_01", (1, "ne", 1)), ("SMIC/HS/s1/s1_ne_01", None)],
    "casme3": [
        ("Part_A_ME_clip/frame/spNO.1_b_166", (1, "b", 166)),
        ("part_A/spNO.216/b/color", (216, "b")),
        ("part_A/spNO.1/b", (1, "b")),
        ("part_A/spNO.1/b/depth", None),
    ],
    "dfme": [("DFME/sub0003/Sub0003_01", "sub0003_01"), ("DFME/sub0003", None)],
    "mmew": [
        ("Micro_Expression/disgust/S05-01-002", "s05-01-002"),
        ("Macro_Expression/S05/disgust", None),
        ("macro-and-micro/data/MMEW/Micro_Expression/disgust/S05-01-002", "s05-01-002"),
    ],
    "fourdme": [
        ("gray_micro/003/003_01", ("003", "003_01")),
        ("rgb_micro/003/003_01", None),
        ("gray_macro/003/003_01", None),
        ("3D/4DME/gray_micro/003/003_01", ("003", "003_01")),
    ],
}


@pytest.mark.parametrize(("name", "path", "key"), [(name, *case) for name, cases in KEYS.items() for case in cases])
def test_folders_are_known_by_their_names(name: str, path: str, key: object) -> None:
    find = converter(name).key
    assert find is not None and find(tuple(path.split("/"))) == key


@given(st.lists(st.text(max_size=12), max_size=5))
def test_no_name_of_a_folder_is_an_error(parts: list[str]) -> None:
    for name in CONVERTED:
        find = converter(name).key
        assert find is not None
        hash(find(tuple(parts)))


def _last(parts: tuple[str, ...]) -> str | None:
    return parts[-1] if parts and parts[-1].startswith("clip") else None


def test_a_tree(tmp_path: Path) -> None:
    a, b = _files(tmp_path / "x" / "clip1", "1.jpg"), _files(tmp_path / "clip2", "1.png")
    _files(tmp_path / "other", "1.jpg")
    empty = _files(tmp_path / "clip3", "notes.txt")
    tree = FrameTree(tmp_path, _last)
    assert len(tree) == 2 and tree.folder("none", "clip1") == a
    assert sorted(tree.folders()) == [("clip1", a), ("clip2", b), ("clip3", empty)]
    with pytest.raises(InputError, match=f"in {empty}, found none; complete the folder"):
        tree.folder("clip3")
    with pytest.raises(InputError, match=f"expected a folder of its frames below {tmp_path}, found none"):
        tree.folder("clip4")
    assert FrameTree(a, _last).folder("clip1") == a  # its own name counts


def test_one_clip_in_two_folders(tmp_path: Path) -> None:
    for name in ("raw/clip1", "cropped/clip1", "raw/clip2"):
        _files(tmp_path / name, "1.jpg")
    tree = FrameTree(tmp_path, _last)
    assert tree.folder("clip2") == tmp_path / "raw" / "clip2"
    with pytest.raises(InputError, match="expected one folder of its frames .* found .*cropped/clip1 and .*raw/clip1"):
        tree.folder("clip1")
    _files(tmp_path / "cropped" / "clip2", "1.jpg")
    with pytest.raises(InputError, match="expected one folder of frames for each clip, found two"):
        FrameTree(tmp_path, _last)


def test_links_are_followed_once(tmp_path: Path) -> None:
    clip = _files(tmp_path / "real" / "clip1", "1.jpg")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").symlink_to(tmp_path / "real")
    (root / "b").symlink_to(tmp_path / "real")
    (clip / "up").symlink_to(root)
    assert FrameTree(root, _last).folder("clip1") == root / "a" / "clip1"


def test_roots_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        FrameTree(tmp_path / "none", _last)
    with pytest.raises(InputError, match="found no frame; is it the right one, and unpacked?"):
        FrameTree(tmp_path, _last)
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        archive.writestr("clip1/1.jpg", b"")
    with pytest.raises(InputError, match="found a file; unzip it and name the folder"):
        FrameTree(tmp_path / "clips.zip", _last)
    _files(tmp_path, "1.jpg")
    with pytest.raises(InputError, match="found 1 folders of frames, none named as this dataset's clips are"):
        FrameTree(tmp_path, _last)


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
