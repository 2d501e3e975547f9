"""`mellm map` on two frames, on a clip and on a dataset."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from mellm_plugin.cli import main
from mellm_plugin.datasets import store
from mellm_plugin.datasets.synthme import Face, clips, displacement, draw_clip, sample, warp
from mellm_plugin.motion import colour

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("frames")
    clip = draw_clip(Face(1), np.random.default_rng(1), ("12",), 2.0)
    for name, frame in (("onset", clip.onset), ("apex", clip.apex)):
        Image.fromarray(frame).save(folder / f"{name}.png")
    return str(folder / "onset.png"), str(folder / "apex.png")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lip corners that rise from frame 12 to 24, at 100 frames per second, on a head that drifts."""
    file = tmp_path_factory.mktemp("clip") / "clip.mp4"
    picture = Face(77).draw(np.random.default_rng(5), (128.0, 128.0), 98.0)
    rng = np.random.default_rng(6)
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), 100, (224, 224))
    for t in range(40):
        amplitude = 2.0 * float(np.clip(min((t - 12) / 12, (40 - t) / 14), 0, 1))
        total = displacement(["12"], [amplitude], (128.0, 128.0), 98.0, (256, 256)) + np.float32([0.03 * t, 0.02 * t])
        frame = warp(picture, total)[16:240, 16:240] + 1.5 * rng.standard_normal((224, 224, 3))
        writer.write(cv2.cvtColor(frame.round().clip(0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR))
    writer.release()
    return file


def test_legend(frames: tuple[str, str], tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "map.png"
    for palette in colour.PALETTES:
        assert main(["map", *frames, "-o", str(out), "--palette", palette, "--legend"]) == 0
        picture = np.asarray(Image.open(out).convert("RGB")).astype(int)
        assert np.ptp(picture[:, : picture.shape[0]], axis=2).max() > 100
        said = capsys.readouterr().out
        assert colour.legend_text(palette) in said and "the subject's left is on the image's right" in said
        assert "head moved" in said
        alone = tmp_path / f"{palette}.svg"
        assert main(["map", "--legend", "--palette", palette, "-o", str(alone)]) == 0
        assert f">{colour.DIRECTIONS['up-left'].words_in(palette)}<" in alone.read_text(encoding="utf-8")
    assert main(["map", "--legend", "--fps", "9", "-o", str(out)]) == 1
    assert "--fps is not for the legend alone" in capsys.readouterr().err


def test_a_moving_and_a_still_face(frames: tuple[str, str], tmp_path: Path, capsys: Capture) -> None:
    out = str(tmp_path / "map.png")
    assert main(["map", *frames, "-o", out, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["file"] == out and row["size"] == [224, 224] and 0 < row["coloured"] < 1 and row["doubts"] == []
    assert abs(row["head"]["tx"]) < 5 and row["settings"]["estimator"] == "local"
    assert main(["map", frames[0], frames[0], "-o", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["doubts"]
    assert main(["map", frames[0], frames[0], "-o", out]) == 0
    assert "doubtful: onset and apex are the same picture" in capsys.readouterr().err
    again = np.asarray(Image.open(frames[0])).astype(int) + np.random.default_rng(0).integers(-1, 2, (224, 224, 3))
    Image.fromarray(again.clip(0, 255).astype(np.uint8)).save(tmp_path / "again.png")
    assert main(["map", frames[0], str(tmp_path / "again.png"), "-o", out]) == 0
    said = capsys.readouterr()
    assert "doubtful" not in said.err and " 0 % coloured" in said.out


def test_the_nose_tip_of_the_published_map(frames: tuple[str, str], tmp_path: Path, capsys: Capture) -> None:
    small = [str(tmp_path / Path(frame).name) for frame in frames]
    for frame, file in zip(frames, small, strict=True):
        Image.open(frame).resize((112, 112), Image.Resampling.LANCZOS).save(file)
    published = ["map", *small, "-o", str(tmp_path / "map.png"), "--preset", "published"]
    assert main(published) == 0
    assert "no nose tip is known" in capsys.readouterr().err
    assert main([*published, "--nose", "56,65"]) == 0
    said = capsys.readouterr()
    assert "nose" not in said.err and "+0.00 degrees" in said.out
    assert main([*published, "--nose", "56,115"]) == 1
    assert "inside the frame of 112x112 px" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main([*published, "--nose", "56"])
    assert caught.value.code == 2 and "expected X,Y" in capsys.readouterr().err


def test_a_video_becomes_a_map_and_an_animation(video: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "map.png"
    assert main(["map", str(video), "-o", str(out), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["frames"] == 40 and row["fps"] == 100 and min(row["averaged"]) >= 4
    assert abs(row["onset"] - 12) <= 4 and abs(row["apex"] - 25) <= 3
    assert np.ptp(np.asarray(Image.open(out)).astype(int), axis=2).max() > 100
    with Image.open(row["animation"]) as animation:
        assert animation.n_frames > 8 and Path(row["animation"]) == out.with_suffix(".gif")
    chosen = ["--onset", "12", "--apex", "24", "--animation", str(tmp_path / "flow.webp"), "--fps", "200"]
    assert main(["map", str(video), "-o", str(out), *chosen]) == 0
    said = capsys.readouterr().out
    assert re.search(r": 40 frames at 200 frames per second; onset 12, apex 24\n", said)
    assert "averaged against noise: 9 frames at the onset, 5 at the apex\n" in said
    assert main(["map", str(video), "-o", str(out), "--average", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["averaged"] == [1, 1]
    assert main(["map", str(video), "-o", str(out), "--average", "400"]) == 1
    assert "--average: expected 0 (off) to 100 ms, found 400" in capsys.readouterr().err
    assert (tmp_path / "flow.webp").stat().st_size > 1000


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photographed person, 512x512, 100 frames a second: the lip corners rise from frame 20 to 32, rest to 44."""
    from skimage import data

    file = tmp_path_factory.mktemp("raw") / "raw.mp4"
    picture, rng = data.astronaut(), np.random.default_rng(7)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=100, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = 512, 512, "yuv420p"
        for t in range(60):
            amplitude = 2.0 * float(np.clip(min((t - 20) / 12, (60 - t) / 16), 0, 1))
            frame = warp(
                picture.astype(np.float32), displacement(["12"], [amplitude], (224.0, 118.0), 84.0, (512, 512))
            )
            noisy = (frame + 1.5 * rng.standard_normal(frame.shape)).round().clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, "rgb24")))
        container.mux(stream.encode())
    return file


def test_the_face_is_cut_out_of_raw_frames(raw: Path, tmp_path: Path, capsys: Capture) -> None:
    def row(*options: str) -> dict[str, Any]:
        assert main(["map", str(raw), "-o", str(tmp_path / "map.png"), "--json", *options]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    found = row()
    left, top, right, bottom = found["crop"]
    assert left < 190 < 258 < right and top < 85 < 150 < bottom and right - left < 240
    assert found["size"] == [right - left, bottom - top] and found["doubts"] == []
    assert abs(found["onset"] - 20) <= 4 and 29 <= found["apex"] <= 47
    part = row("--start", "0.12s", "--end", "0:00.50", "--crop", "124,20,324,220")
    assert (part["frames"], part["size"], part["crop"]) == (39, [200, 200], [124, 20, 324, 220])
    assert abs(part["onset"] - 20) <= 4 and 29 <= part["apex"] <= 47, "numbers of the whole clip"
    named = ["--crop", "none", "--onset", "20", "--apex", "33"]
    whole = row(*named, "--start", "15")
    assert (whole["crop"], whole["size"], whole["onset"], whole["apex"]) == (None, [512, 512], 20, 33)
    slow = row(*named[2:], "--fps", "20")
    assert slow["fps"] == 20 and slow["doubts"] == [
        "the rise takes 0.65 s; a micro-expression lasts half a second at most"
    ]
    assert main(["map", str(raw), "-o", str(tmp_path / "map.png"), *named[2:], "--nose", "224,130"]) == 0
    assert f"onset 20, apex 33; cropped to {left},{top},{right},{bottom}\n" in capsys.readouterr().out


def test_a_clip_without_a_face_is_doubtful(tmp_path: Path, capsys: Capture) -> None:
    folder, rng = tmp_path / "field", np.random.default_rng(0)
    folder.mkdir()
    field = cv2.GaussianBlur(rng.normal(0, 400, (200, 300)), (0, 0), 4) + 120
    for i in range(12):
        Image.fromarray((field + rng.normal(0, 1, field.shape)).clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    command = ["map", str(folder), "-o", str(tmp_path / "map.png"), "--onset", "2", "--apex", "9"]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "doubtful: no face was found" in said and "doubtful: the frame rate is unknown" in said
    assert main([*command, "--crop", "none", "--fps", "100"]) == 0
    assert "doubtful" not in capsys.readouterr().err


def test_an_average_needs_the_frame_rate(frames: tuple[str, str], tmp_path: Path, capsys: Capture) -> None:
    command = ["map", str(Path(frames[0]).parent), "-o", str(tmp_path / "map.png"), "--onset", "0", "--apex", "1"]
    assert main([*command, "--average", "30"]) == 1
    assert "--average: expected --fps with it: the clip does not state its frame rate" in capsys.readouterr().err


def test_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MELLM_CACHE", str(tmp_path / "cache"))
    store.write("drawn", {"test": (sample(clip) for clip in clips("test", 3))}, {"source": "a test"})
    command = ["map", "--dataset", "drawn", "-o", str(tmp_path / "maps")]
    assert main([*command, "--workers", "2"]) == 0
    assert "3 maps, 0 of them doubtful; beside them contact_sheet.jpg, maps.csv" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["maps"], row["doubtful"], row["table"]) == (3, {}, "maps.csv")
    assert row["folder"] == str(tmp_path / "maps")
    assert len(list((tmp_path / "maps" / "synthme" / "s00").glob("*.png"))) == 3
    assert main([*command, "--fps", "9"]) == 1
    assert "--fps is not for a dataset" in capsys.readouterr().err
    assert main(["map", "--dataset", "drawn", "--split", "tset", "-o", str(tmp_path / "none")]) == 1
    assert "has no split 'tset'" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_wrong_input_writes_nothing(frames: tuple[str, str], video: Path, tmp_path: Path, capsys: Capture) -> None:
    out, clip, onset = str(tmp_path / "map.png"), str(video), frames[0]
    small, still = tmp_path / "small.png", tmp_path / "still"
    Image.new("L", (100, 90)).save(small)
    still.mkdir()
    face = draw_clip(Face(1), np.random.default_rng(1), (), 1.0, head=0.0)
    for i in range(6):
        noise = np.random.default_rng(i).normal(0, 1, face.onset.shape)
        Image.fromarray((face.onset + noise).round().clip(0, 255).astype(np.uint8)).save(still / f"img{i}.png")
    cases = {
        (str(tmp_path / "no.png"), str(tmp_path / "none.png"), "-o", out): "2 faults",
        (onset, str(small), "-o", out): "224x224 and 100x90",
        (*frames, "-o", out, "--preset", "robst"): "Did you mean 'robust'",
        (*frames, "-o", str(tmp_path / "map.xyz")): "map.png",
        (*frames, "-o", onset): "another file",
        (onset, str(tmp_path / ("a" * 300)), "-o", out): "cannot be read",
        (*frames, "-o", str(tmp_path / "absent" / "map.png")): "no folder",
        (clip, "-o", out, "--apex", "99"): "0..39",
        (clip, "-o", out, "--onset", "9", "--apex", "3"): "found 9 and 3",
        (clip, "-o", out, "--animation", str(tmp_path / "flow.avi")): ".gif",
        (clip, "-o", str(tmp_path / "a.gif"), "--animation", str(tmp_path / "a.gif")): "one file",
        (str(still), "-o", str(still / "img3.png")): "part of the clip itself",
        (clip, "-o", out, "--workers", "2"): "--workers is not for one clip",
        (clip, "-o", out, "--start", "30", "--end", "0.1s"): "no frame",
        (clip, "-o", out, "--start", "9s"): "a start within the clip, found 9 s; it has 40 frames, to 0.39 s",
        (clip, "-o", out, "--crop", "10,10,400,200"): "a box within the frame of 224x224",
        (
            clip,
            "-o",
            out,
            "--start",
            "5",
            "--end",
            "20",
            "--onset",
            "2",
            "--apex",
            "9",
        ): "both within 5..20, found 2 and 9",
        (*frames, "-o", out, "--crop", "none"): "--crop is not for two frames",
        (str(still), "-o", out): "--onset and --apex",
        (str(tmp_path / "no.mp4"), "-o", out): "no.mp4",
        ("-o", out): "found 0 names",
        (clip, "--dataset", "synthme", "-o", str(tmp_path / "d")): "either frames or --dataset",
    }
    for arguments, words in cases.items():
        assert main(["map", *arguments]) == 1, arguments
        assert words in capsys.readouterr().err
    for arguments, words in {
        ("--crop", "1,2,3"): "LEFT,TOP,RIGHT,BOTTOM",
        ("--start", "1.5"): "12.5s or 1:02.5",
    }.items():
        with pytest.raises(SystemExit):
            main(["map", clip, "-o", out, *arguments])
        assert words in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"small.png", "still"}
