"""Clips from every kind of source, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mellm_plugin.errors import ImageError
from mellm_plugin.motion import clip as module
from mellm_plugin.motion.clip import natural, read_clip
from mellm_plugin.motion.images import read_pair

HEIGHT, WIDTH = 64, 96


def _frames(count: int) -> np.ndarray:
    """Smooth frames that codecs keep, each brighter than the one before: order and number can be read from them."""
    texture = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 60, (HEIGHT, WIDTH)), (0, 0), 4)
    return np.stack([texture + 60 + 5 * i for i in range(count)]).clip(0, 255).astype(np.uint8)


def _video(path: Path, frames: np.ndarray, code: str = "mp4v", fps: float = 200.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, (frames.shape[2], frames.shape[1]))
    assert writer.isOpened()
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def _folder(path: Path, frames: np.ndarray, name: str = "reg_img{}.png") -> Path:
    path.mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(path / name.format(i + 1))
    return path


@pytest.mark.parametrize(
    ("name", "code"),
    [("b.avi", "MJPG"), ("c.mkv", "mp4v"), ("d.mov", "mp4v"), ("e f%02d.mp4", "mp4v"), ("g.webm", "VP80")],
)
def test_videos(tmp_path: Path, name: str, code: str) -> None:
    frames = _frames(8)
    clip = read_clip(_video(tmp_path / name, frames, code))
    assert clip.frames.shape == frames.shape and clip.frames.dtype == np.uint8
    assert clip.fps == pytest.approx(200, rel=0.01)
    assert clip.names == tuple(map(str, range(8)))
    assert np.abs(clip.frames.astype(int) - frames).mean() < 3
    assert (np.diff(clip.frames.mean(axis=(1, 2))) > 0).all()
    assert read_clip(tmp_path / name, fps=60).fps == 60


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    frames = _frames(12)
    folder = _folder(tmp_path / "clip", frames)
    for name in (".hidden.png", "notes.txt", "Thumbs.db"):
        (folder / name).write_text("no frame")
    clip = read_clip(folder)
    assert (clip.frames == frames).all() and clip.fps is None and len(clip) == 12
    assert clip.names[1] == "reg_img2.png" and clip.names[9] == "reg_img10.png"
    names = ["img10.jpg", "img2.jpg", "IMG1.jpg", "img02b.jpg", "7.jpg", "a.jpg"]
    assert sorted(names, key=natural) == ["7.jpg", "a.jpg", "IMG1.jpg", "img2.jpg", "img02b.jpg", "img10.jpg"]


def test_deep_and_colour_frames_of_a_folder(tmp_path: Path) -> None:
    frames = _frames(3)
    deep = (frames.astype(np.uint32) * (2**12 - 1) // 255).astype(np.uint16)
    deep[1, 0, 0] = 2**12 - 1
    found = read_clip(_folder(tmp_path / "deep", deep)).frames
    assert found.dtype == np.uint8
    assert np.abs(found[:, 1:].astype(int) - frames[:, 1:]).max() <= 1
    colour = np.random.default_rng(1).integers(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
    folder = _folder(tmp_path / "colour", colour)
    assert (read_clip(folder).frames == np.stack(read_pair(*sorted(folder.iterdir())))).all()


@pytest.mark.parametrize("suffix", ["gif", "webp", "tif", "png"])
def test_animated_pictures(tmp_path: Path, suffix: str) -> None:
    frames = _frames(7)
    pages = [Image.fromarray(frame) for frame in frames]
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"clip.{suffix}"
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=20, **options)
    clip = read_clip(path)
    assert clip.frames.shape == frames.shape
    assert np.abs(clip.frames.astype(int) - frames).max() <= 2
    assert clip.fps == (None if suffix == "tif" else pytest.approx(50))
    if suffix == "gif":
        pages[0].save(path, save_all=True, append_images=pages[1:], duration=[20, 20, 900, 20, 20, 20, 20])
        assert read_clip(path).fps is None, "uneven durations give no frame rate"


def test_all_faults_of_a_folder_at_once_and_many_are_counted(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "clip", _frames(8))
    (folder / "reg_img3.png").write_bytes((folder / "reg_img3.png").read_bytes()[:200])
    (folder / "reg_img5.png").write_bytes(b"")
    Image.new("L", (80, 60)).save(folder / "reg_img6.png")
    Image.new("L", (10, 10)).save(folder / "reg_img7.png")
    with pytest.raises(ImageError) as caught:
        read_clip(folder)
    text = str(caught.value)
    for words in ("reg_img3.png: ", "reg_img5.png: the file is empty", "reg_img6.png: expected 96x64", "found 80x60",
                  "reg_img7.png: expected a frame of at least 32 px", "what to do"):  # fmt: skip
        assert words in text
    assert text.count("reg_img") == 4 and str(folder) in text
    for i in range(40):
        (folder / f"{i}.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"\d+ more like these"):
        read_clip(folder)


def test_what_is_refused_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is no video\n" * 100)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "nothing").mkdir()
    _video(tmp_path / "tiny.avi", _frames(3)[:, :16, :16], "MJPG")
    _video(tmp_path / "none.avi", _frames(1)[:0], "MJPG")
    Image.fromarray(_frames(1)[0]).save(tmp_path / "single.png")
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "films").mkdir()
    _video(tmp_path / "films" / "film.mp4", _frames(3))
    for suffix, code in (("avi", "MJPG"), ("mp4", "mp4v")):
        data = _video(tmp_path / f"whole.{suffix}", np.repeat(_frames(20), 3, axis=0), code).read_bytes()
        (tmp_path / f"half.{suffix}").write_bytes(data[: len(data) // 2])
    twice = _folder(tmp_path / "twice", _frames(2))
    Image.fromarray(_frames(1)[0]).save(twice / "reg_img1.jpg")
    cases = {
        "absent.mp4": "no such file or folder",
        "half.avi": r"expected 60 frames by its header, only \d+ can be decoded",
        "half.mp4": "cannot be opened",
        "text.mp4": "no video",
        "empty.mp4": "the file is empty",
        "nothing": "expected pictures, found none among 0 entries",
        "tiny.avi": "at least 32 px",
        "none.avi": "cannot be opened|no frame",
        "single.png": "found a single picture; give the folder",
        "outer": "there is a folder 'inner' in it",
        "films": "there is a video 'film.mp4' in it",
        "twice": "one file for each frame, found reg_img1",
    }
    for name, words in cases.items():
        with pytest.raises(ImageError, match=words) as caught:
            read_clip(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    for fps in (0.0, -1.0, float("nan")):
        with pytest.raises(ImageError, match="frames per second"):
            read_clip(tmp_path / "films" / "film.mp4", fps=fps)


def test_a_clip_beyond_the_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = _frames(9)
    pages = [Image.fromarray(frame) for frame in frames]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:])
    for path in (_video(tmp_path / "a.mp4", frames), _folder(tmp_path / "a", frames), tmp_path / "a.gif"):
        monkeypatch.setattr(module, "LARGEST", 8 * HEIGHT * WIDTH)
        with pytest.raises(ImageError, match="at most 8 frames of 96x64 .* found 9; cut the clip"):
            read_clip(path)
        monkeypatch.setattr(module, "LARGEST", 9 * HEIGHT * WIDTH)
        assert len(read_clip(path)) == 9
