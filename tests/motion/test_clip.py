"""Clips from every kind of source, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from mellm_plugin.datasets.synthme import Face, displacement, warp
from mellm_plugin.errors import ImageError
from mellm_plugin.motion import clip as module
from mellm_plugin.motion.apex import spot_clip
from mellm_plugin.motion.clip import read_clip
from mellm_plugin.motion.images import read_pair
from mellm_plugin.motion.sources import natural

HEIGHT, WIDTH = 64, 96


def _frames(count: int) -> np.ndarray:
    """Smooth frames that codecs keep, each brighter than the one before: order and number can be read from them."""
    texture = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 60, (HEIGHT, WIDTH)), (0, 0), 4)
    return np.stack([texture + 60 + 5 * i for i in range(count)]).clip(0, 255).astype(np.uint8)


def _video(
    path: Path,
    frames: np.ndarray,
    codec: str = "libx264",
    fps: int = 200,
    times: Sequence[int] | None = None,
    **options: str,
) -> Path:
    """A video of grey or RGB frames; `times` are milliseconds, one for each frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = {"mjpeg": "yuvj420p", "ffv1": "gray"}.get(codec, "yuv420p")
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, "gray" if frame.ndim == 2 else "rgb24")
            if times is not None:
                picture.pts, picture.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def _folder(path: Path, frames: np.ndarray, name: str = "reg_img{}.png") -> Path:
    path.mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(path / name.format(i + 1))
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("b.mp4", "libx265"),
        ("c.mkv", "libx265"),
        ("d.webm", "libvpx-vp9"),
        ("e.webm", "libvpx"),
        ("f %02d.avi", "mpeg4"),
        ("g.avi", "mjpeg"),
        ("h.avi", "libx264"),  # no frame has a usable time
        ("i.mov", "libx264"),
        ("j.mpg", "mpeg2video"),
        ("k.mkv", "ffv1"),
    ],
)
def test_videos(tmp_path: Path, name: str, codec: str) -> None:
    frames, fps = _frames(40), 60 if codec == "mpeg2video" else 200
    clip = read_clip(_video(tmp_path / name, frames, codec, fps))
    assert len(clip) == 40 and clip.fps == fps and clip.doubts == ()
    assert clip.names == tuple(map(str, range(40))) and clip.shape == frames.shape[1:]
    decoded = clip[:]
    assert decoded.shape == frames.shape and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - frames).mean() < 3
    assert (clip[33] == decoded[33]).all() and (clip[-1] == decoded[39]).all() and (clip[7:9] == decoded[7:9]).all()
    assert read_clip(tmp_path / name, fps=60).fps == 60


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "mjpeg"])
def test_frames_are_found_again_in_the_middle_of_a_long_video(tmp_path: Path, codec: str) -> None:
    """Through key frames, and without them: references over many frames make a seek decode other pixels."""
    frames = np.stack([np.roll(_frames(1)[0], (i, 3 * i), (0, 1)) for i in range(260)])
    options = {"libx264": {"x264-params": "keyint=300:intra-refresh=1"}, "libx265": {"x265-params": "keyint=50"}}
    clip = read_clip(_video(tmp_path / "a.mkv", frames, codec, **options.get(codec, {})))
    every = list(clip.at(range(260)))
    assert [(clip[i] == every[i]).all() for i in (120, 259, 130, 131, 101)] == [True] * 5
    assert np.abs(every[200].astype(int) - frames[200]).mean() < 12
    (tmp_path / "a.mkv").write_bytes(_video(tmp_path / "b.mkv", frames[::-1], codec).read_bytes())
    with pytest.raises(ImageError, match="frame 130 is not the one that was read before"):
        clip[130]


def test_odd_sizes_and_ten_bits(tmp_path: Path) -> None:
    texture = cv2.GaussianBlur(np.random.default_rng(3).normal(0, 60, (75, 101)), (0, 0), 4) + 120
    frames = np.stack([texture + i for i in range(9)]).clip(0, 255).astype(np.uint8)
    assert np.abs(read_clip(_video(tmp_path / "odd.mkv", frames, "ffv1"))[:].astype(int) - frames).max() <= 1
    with av.open(str(tmp_path / "ten.mp4"), "w") as container:
        stream = container.add_stream("libx265", rate=50, options={"crf": "4"})
        (stream.height, stream.width), stream.pix_fmt = (64, 96), "yuv420p10le"
        for frame in _frames(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "gray")))
        container.mux(stream.encode())
    assert np.abs(read_clip(tmp_path / "ten.mp4")[:].astype(int) - _frames(5)).mean() < 2


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),  # a telephone held upright
        ((0, -1, 1, 0), lambda frame: np.rot90(frame)),
        ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
        ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),  # a mirror
    ],
)
def test_rotation_and_mirroring_of_the_metadata_are_applied(
    tmp_path: Path, matrix: tuple[int, ...], expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    path = _video(tmp_path / "a.mp4", _frames(3))
    plain = read_clip(path)[1]
    a, b, c, d = (value << 16 for value in matrix)
    data = path.read_bytes()
    header = data.index(b"tkhd") + 4
    place = data.index(struct.pack(">3i", 1 << 16, 0, 0), header)  # the identity, as the muxer writes it
    path.write_bytes(data[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[place + 36 :])
    clip = read_clip(path)
    assert clip.shape == expected(plain).shape and (clip[1] == expected(plain)).all()


def test_the_rate_comes_from_the_times(tmp_path: Path) -> None:
    frames = _frames(40)
    for fps in (30, 120, 240):
        rounded = [round(1000 * i / fps) for i in range(40)]
        clip = read_clip(_video(tmp_path / f"{fps}.mkv", frames, fps=25, times=rounded))
        assert clip.fps == pytest.approx(fps, rel=0.01) and clip.doubts == ()
        assert clip.seconds(0, 39) == pytest.approx(39 / fps, abs=0.001)
    dropped = [10 * i for i in range(43) if i not in (12, 13, 30)]
    clip = read_clip(_video(tmp_path / "dropped.mp4", frames, times=dropped))
    assert clip.fps == pytest.approx(100)
    assert clip.doubts == ("3 frames were dropped in 2 places, the first after frame 11",)
    assert clip.seconds(11, 12) == pytest.approx(0.03)
    uneven = np.cumsum(np.random.default_rng(0).choice([17, 33, 45, 60], 40)).tolist()
    for suffix in ("mp4", "webm"):
        path = _video(tmp_path / f"uneven.{suffix}", frames, "libvpx-vp9", times=uneven)
        clip = read_clip(path)
        assert clip.fps is None and clip.doubts == ("the frame rate varies: 17 to 60 ms from frame to frame",)
        assert clip.times == pytest.approx((np.array(uneven) - uneven[0]) / 1000, abs=0.001)
        assert read_clip(path, fps=30).fps == 30 and read_clip(path, fps=30).doubts == clip.doubts
    clip = read_clip(_video(tmp_path / "raw.h264", frames))
    assert clip.fps is None and clip.times is None and "frame rate is unknown" in clip.doubts[0]
    clip = read_clip(tmp_path / "raw.h264", fps=100)
    assert clip.fps == 100 and clip.seconds(0, 30) == pytest.approx(0.3) and clip.doubts == ()


def test_start_and_end(tmp_path: Path) -> None:
    frames = _frames(40)
    video, folder = _video(tmp_path / "a.mp4", frames, fps=20), _folder(tmp_path / "f", frames)
    whole = read_clip(video)[:]
    for clip in (
        read_clip(video, start=10, end=20),
        read_clip(video, start=timedelta(seconds=0.5), end=timedelta(seconds=1)),
    ):
        assert (len(clip), clip.first, clip.names[0], clip.names[-1], clip.fps) == (11, 10, "10", "20", 20)
        assert (clip[:] == whole[10:21]).all() and (clip[-1] == whole[20]).all()
    clip = read_clip(folder, 100, start=timedelta(seconds=0.1), end=12)
    assert (clip[:] == frames[10:13]).all() and clip.names == ("reg_img11.png", "reg_img12.png", "reg_img13.png")
    cases: dict[str, dict[str, Any]] = {
        "states no times: give frame numbers, or --fps": {"path": folder, "start": timedelta(seconds=1)},
        "a start within the clip, found frame 40; it has 40 frames, to 1.95 s": {"path": video, "start": 40},
        "a start within the clip, found 2 s; it has 40 frames": {"path": video, "start": timedelta(seconds=2)},
        "a start before the end, found frame 9 and frame 9": {"path": video, "start": 9, "end": 9},
    }
    for words, given in cases.items():
        with pytest.raises(ImageError, match=words):
            read_clip(**given)


def test_one_box_is_cut_out_of_all_frames(tmp_path: Path) -> None:
    frames = _frames(30)
    frames[:3] = 0  # black: nothing can be found there
    video = _video(tmp_path / "a.mp4", frames)
    whole = read_clip(video)[:]
    asked: list[np.ndarray] = []

    def find(frame: np.ndarray) -> tuple[int, int, int, int] | None:
        asked.append(frame)
        return None if len(asked) < 3 else (20, 10, 80, 50)

    clip = read_clip(video, crop=find)
    assert (clip[:] == whole[:, 10:50, 20:80]).all() and clip.box == (20, 10, 80, 50) and clip.shape == (40, 60)
    assert [int(frame.mean() - whole[3].mean()) for frame in asked] == [0, 5, 15], "frames 3, 4 and 6: the usable ones"
    assert read_clip(video, crop=lambda frame: None).box is None
    assert read_clip(video, crop=lambda frame: (0, 0, WIDTH, HEIGHT)).box is None
    for box in ((20, 10, 97, 50), (-1, 0, 60, 60), (20, 10, 40, 50), (60, 10, 20, 50)):
        with pytest.raises(ImageError, match="a box within the frame of 96x64, at least 32 px a side"):
            read_clip(video, crop=box)


def test_windows_of_small_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = np.stack([cv2.resize(frame, (480, 320)) for frame in _frames(50)])
    folder, seen = _folder(tmp_path / "f", big), list[tuple[int, np.ndarray]]()
    watch = lambda number, frames: seen.append((number, frames))  # noqa: E731
    read_clip(folder, watch=watch)
    assert [(number, frames.shape) for number, frames in seen] == [(0, (50, 160, 240))]
    whole = seen.pop()[1]
    monkeypatch.setattr(module, "OVERLAP", 5)
    for bound, value in (("WINDOW_FRAMES", 20), ("WINDOW_BYTES", 20 * 160 * 240)):
        with monkeypatch.context() as context:
            context.setattr(module, bound, value)
            read_clip(folder, start=1, watch=watch)
        assert [(number, len(frames)) for number, frames in seen] == [(1, 20), (16, 20), (31, 19)]
        assert all((frames == whole[number:][: len(frames)]).all() for number, frames in seen)
        seen.clear()


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    frames = _frames(12)
    folder = _folder(tmp_path / "clip", frames)
    for name in (".hidden.png", "notes.txt", "Thumbs.db"):
        (folder / name).write_text("no frame")
    clip = read_clip(folder)
    assert (clip[:] == frames).all() and clip.fps is None and len(clip) == 12
    assert clip.names[1] == "reg_img2.png" and clip.names[9] == "reg_img10.png"
    names = ["img10.jpg", "img2.jpg", "IMG1.jpg", "img02b.jpg", "7.jpg", "a.jpg"]
    assert sorted(names, key=natural) == ["7.jpg", "a.jpg", "IMG1.jpg", "img2.jpg", "img02b.jpg", "img10.jpg"]


def test_deep_and_colour_frames_of_a_folder(tmp_path: Path) -> None:
    frames = _frames(3)
    deep = (frames.astype(np.uint32) * (2**12 - 1) // 255).astype(np.uint16)
    deep[1, 0, 0] = 2**12 - 1
    small: list[np.ndarray] = []
    found = read_clip(_folder(tmp_path / "deep", deep), watch=lambda number, frames: small.append(frames))[:]
    assert (small[0] == found).all(), "frames of 64 px are not shrunk"
    assert found.dtype == np.uint8
    assert np.abs(found[:, 1:].astype(int) - frames[:, 1:]).max() <= 1
    colour = np.random.default_rng(1).integers(0, 256, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)
    folder = _folder(tmp_path / "colour", colour)
    assert (read_clip(folder)[:] == np.stack(read_pair(*sorted(folder.iterdir())))).all()


@pytest.mark.parametrize("suffix", ["gif", "webp", "tif", "png"])
def test_animated_pictures(tmp_path: Path, suffix: str) -> None:
    frames = _frames(7)
    pages = [Image.fromarray(frame) for frame in frames]
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"clip.{suffix}"
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=20, **options)
    clip = read_clip(path)
    assert clip[:].shape == frames.shape
    assert np.abs(clip[:].astype(int) - frames).max() <= 2
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
    _video(tmp_path / "tiny.avi", _frames(3)[:, :16, :16], "mjpeg")
    film = _video(tmp_path / "none.avi", _frames(1), "mjpeg").read_bytes()
    (tmp_path / "none.avi").write_bytes(film[: film.index(b"00dc")])
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1.0,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "notes.txt").write_text("a log of the session\n" * 100)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    Image.fromarray(_frames(1)[0]).save(tmp_path / "single.png")
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "films").mkdir()
    _video(tmp_path / "films" / "film.mp4", _frames(3))
    for suffix, code in (("avi", "mjpeg"), ("mp4", "libx264"), ("mkv", "libx264")):
        noisy = np.random.default_rng(0).integers(0, 256, (60, HEIGHT, WIDTH)).astype(np.uint8)
        data = _video(tmp_path / f"whole.{suffix}", noisy, code).read_bytes()
        (tmp_path / f"half.{suffix}").write_bytes(data[: len(data) // 2])
    twice = _folder(tmp_path / "twice", _frames(2))
    Image.fromarray(_frames(1)[0]).save(twice / "reg_img1.jpg")
    cases = {
        "absent.mp4": "no such file or folder",
        "half.avi": r"expected 60 frames by its header, only \d+ can be decoded",
        "half.mp4": "cannot be opened",
        "half.mkv": r"expected 6\d frames by its header, only \d+ can be decoded",
        "text.mp4": "no video",
        "notes.txt": "no video is in it",
        "list.m3u8": "cannot be opened",
        "sound.mp4": "no video is in it",
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


def test_a_long_clip_is_spotted_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two movements: the window with the larger one decides, and all numbers are those of the clip."""
    picture, rng = Face(9).draw(np.random.default_rng(2), (96.0, 96.0), 76.0), np.random.default_rng(3)
    frames = []
    for t in range(100):
        sizes = [float(np.clip(1 - abs(t - apex) / 10, 0, 1)) * most for apex, most in ((25, 1.0), (70, 2.0))]
        moved = warp(picture, displacement(["4", "12"], sizes, (96.0, 96.0), 76.0, (192, 192)))
        frames.append((moved + rng.standard_normal(moved.shape)).round().clip(0, 255).astype(np.uint8))
    path = _video(tmp_path / "a.mkv", np.stack(frames), "libx264", 100, crf="8")
    whole = spot_clip(path)[1]
    monkeypatch.setattr(module, "WINDOW_FRAMES", 50)
    monkeypatch.setattr(module, "OVERLAP", 20)
    monkeypatch.setattr("mellm_plugin.motion.apex.OVERLAP", 20)
    clip, found = spot_clip(path, start=5, end=94)
    assert whole.apex is not None and abs(whole.apex - 70) <= 2
    assert found.onset is not None and found.apex is not None and found.curve.shape == (90,)
    assert abs(clip.first + found.apex - 70) <= 2 and abs(clip.first + found.onset - 61) <= 4
    with pytest.raises(ImageError, match="at least 2 frames"):
        spot_clip(path, start=99)
