"""Prepared datasets: written in one step, loadable by `datasets`, checked when read again."""

from __future__ import annotations

import dataclasses
import io
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from mellm_plugin.datasets import store
from mellm_plugin.datasets.sample import Sample, features
from mellm_plugin.errors import DataError, InputError
from mellm_plugin.locks import ProcessLock

SOURCE = {"source": {"sheet": "toy.xlsx", "sha256": "00"}}


def picture(value: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("L", (6, 4), value % 256).save(file, kind)
    return file.getvalue()


def sample(number: int, **fields: object) -> Sample:
    plain = Sample(
        id=f"toy/s{number % 3}/{number:04d}",
        dataset="toy",
        subject=f"s{number % 3}",
        clip=f"{number:04d}",
        onset=picture(number),
        apex=picture(number + 1, "BMP"),
    )
    return dataclasses.replace(plain, **fields)  # type: ignore[arg-type]


FULL = sample(
    7,
    onset_frame=46,
    apex_frame=59,
    offset_frame=86,
    apex_source="spotted",
    fps=200.0,
    au_code="(R6 or R12)+L14C",
    aus=("R6/12", "L14C"),
    emotion="happiness",
    coarse="positive",
    objective_class=1,
    nose=(2.5, 1.25),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    samples = [sample(1), FULL, sample(2, aus=())]
    folder = store.write("toy", {"test": samples, "train": [sample(3)]}, SOURCE, root=tmp_path)
    assert folder == tmp_path / "toy"
    assert list(store.read("toy", "test", tmp_path)) == samples
    assert list(store.read("toy", "train", tmp_path)) == [sample(3)]
    assert store.list_prepared(tmp_path) == ["toy"] and store.is_prepared("toy", tmp_path)
    info = store.read_info("toy", tmp_path)
    assert (info["name"], info["schema"], info["source"]) == ("toy", store.SCHEMA_VERSION, SOURCE["source"])
    counts = {key: value for key, value in info["splits"]["test"].items() if key not in ("file", "sha256")}
    assert counts == {
        **{"clips": 3, "subjects": 2, "emotions": {"happiness": 1}, "without_emotion": 2},
        **{"aus": {"6/12": 1, "14": 1}, "without_aus": 1},
    }
    info["splits"]["test"]["emotions"] = {"fear": 2}
    (folder / "info.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match="expected emotions {'fear': 2}, found {'happiness': 1}"):
        store.verify("toy", tmp_path)


def test_datasets_loads_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    # no sample has AUs or an emotion: the columns must keep their types all the same
    folder = store.write("toy", {"test": [sample(1), sample(2)], "train": [sample(3)]}, SOURCE, root=tmp_path)
    loaded = datasets.load_dataset(str(folder), split="test", cache_dir=str(tmp_path / "cache"))
    assert loaded.features == features()
    assert loaded["id"][:] == [sample(1).id, sample(2).id]
    assert isinstance(loaded[0]["onset"], Image.Image) and loaded[0]["onset"].getpixel((0, 0)) == 1
    assert loaded[0]["apex"].format == "BMP"
    assert loaded[1]["aus"] is None and loaded[1]["nose"] is None
    both = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert set(both) == {"test", "train"}


def test_all_faults_at_once_and_nothing_left_behind(tmp_path: Path) -> None:
    bad = [
        sample(1),
        sample(1),
        sample(2, onset=b"no image", fps=-1.0),
        sample(3, aus=("12x",), coarse="happy", apex_source="guess", objective_class=8),
        sample(4, subject="", nose=(1.0,)),
        sample(5, onset_frame="7", emotion=3),
    ]
    with pytest.raises(InputError) as error:
        store.write("toy", {"test": bad, "train": [sample(1)], "dev": []}, SOURCE, root=tmp_path)
    text = str(error.value)
    for expected in (
        "toy/s1/0001: the id occurs twice",
        "onset: expected the bytes of an image",
        "fps: expected a positive",
        "aus: expected a canonical code such as",
        "coarse: expected one of negative, positive, surprise or None, found 'happy'",
        "apex_source: expected one of sheet, corrected, spotted, found 'guess'",
        "objective_class: expected 1 to 7",
        "subject: expected text",
        "nose: expected (x, y)",
        "onset_frame: expected a whole number",
        "emotion: expected text",
    ):
        assert expected in text
    assert text.count("the id occurs twice") == 2
    assert not store.is_prepared("toy", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".toy.lock"]


@pytest.mark.parametrize(("splits", "fault"), [({}, "at least one split"), ({"test": []}, "at least one clip")])
def test_an_empty_dataset_is_refused(tmp_path: Path, splits: dict[str, list[Sample]], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        store.write("toy", splits, SOURCE, root=tmp_path)


@pytest.mark.parametrize("name", ["../toy", "Toy", "", ".toy", "a/b"])
def test_names_that_are_no_folder_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="named with lower-case letters"):
        store.write(name, {"test": [sample(1)]}, SOURCE, root=tmp_path)
    with pytest.raises(InputError, match="a split is named"):
        store.write("toy", {f"{name}!": [sample(1)]}, SOURCE, root=tmp_path)


def test_refuse_keep_replace(tmp_path: Path) -> None:
    def untouched() -> Iterator[Sample]:
        raise AssertionError("a dataset that is kept takes no samples")
        yield

    store.write("toy", {"test": [sample(1)]}, SOURCE, root=tmp_path)
    with pytest.raises(DataError, match="prepared already"):
        store.write("toy", {"test": untouched()}, SOURCE, root=tmp_path)
    store.write("toy", {"test": untouched()}, SOURCE, root=tmp_path, exists="keep")
    store.write("toy", {"test": [sample(2)]}, {"source": "another sheet"}, root=tmp_path, exists="keep")
    assert list(store.read("toy", "test", tmp_path)) == [sample(2)]
    store.write("toy", {"test": [sample(3)]}, SOURCE, root=tmp_path, exists="replace")
    assert list(store.read("toy", "test", tmp_path)) == [sample(3)]
    with pytest.raises(InputError):
        store.write("toy", {"test": [sample(4, onset=b"")]}, SOURCE, root=tmp_path, exists="replace")
    assert list(store.read("toy", "test", tmp_path)) == [sample(3)], "a failed replacement leaves the old data"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".toy.lock", "toy"]


def test_absent_and_damaged_datasets_say_what_to_do(tmp_path: Path) -> None:
    store.write("toy", {"test": [sample(1)]}, SOURCE, root=tmp_path)
    with pytest.raises(
        DataError, match=r"Did you mean 'toy'.*MELLM_DATA.*: mellm prepare table --name toys --csv CLIPS.csv$"
    ):
        store.read_info("toys", tmp_path)
    with pytest.raises(DataError, match="no split 'tests'; it has: test. Did you mean 'test'"):
        list(store.read("toy", "tests", tmp_path))
    path = tmp_path / "toy" / "info.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({**info, "schema": 0}))
    with pytest.raises(DataError, match="schema 0.*mellm prepare table --name toy --csv CLIPS.csv --replace"):
        store.read_info("toy", tmp_path)
    for broken in ("{", "[" * 100_000):
        path.write_text(broken)
        with pytest.raises(DataError, match="cannot be read.*mellm prepare table --name toy .* --replace"):
            store.read_info("toy", tmp_path)


def test_verify_finds_every_damage(tmp_path: Path) -> None:
    folder = store.write("toy", {"test": [sample(1)], "train": [sample(2)]}, SOURCE, root=tmp_path)
    assert store.verify("toy", tmp_path)["splits"]["test"]["clips"] == 1
    (folder / "data" / "stray.parquet").write_bytes(b"")
    (folder / "data" / "train-00000-of-00001.parquet").unlink()
    file = folder / "data" / "test-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes().replace(b"toy/s1", b"toy/s2"))
    with pytest.raises(DataError) as error:
        store.verify("toy", tmp_path)
    for expected in ("stray.parquet is not part", "train-00000-of-00001.parquet is missing", "expected sha256"):
        assert expected in str(error.value)


def test_data_root_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path))
    assert store.data_root() == tmp_path
    assert store.dataset_dir("toy") == tmp_path / "toy"
    monkeypatch.setenv("MELLM_DATA", "~/me")
    assert store.data_root() == Path.home() / "me"
    monkeypatch.setenv("MELLM_DATA", " ")
    assert store.data_root().is_absolute() and store.data_root().name == "mellm"


def _prepare(root: Path, log: Path) -> None:
    def samples() -> Iterator[Sample]:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        for number in range(100):
            yield sample(number)

    store.write("toy", {"test": samples()}, SOURCE, root=root, exists="keep")
    assert store.verify("toy", root)["splits"]["test"]["clips"] == 100


def test_processes_that_prepare_at_the_same_time_do_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    log = tmp_path / "log.txt"
    workers = [context.Process(target=_prepare, args=(tmp_path / "root", log)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(log.read_text().split()) == 1


def test_a_killed_process_leaves_nothing_that_can_be_read(tmp_path: Path) -> None:
    code = (
        "import os, signal, pathlib\n"
        "from mellm_plugin.datasets import store\n"
        "def samples():\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "    yield\n"
        f"store.write('toy', {{'test': samples()}}, {{}}, root=pathlib.Path({str(tmp_path)!r}))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert (tmp_path / ".toy.partial").is_dir()
    assert store.list_prepared(tmp_path) == []
    store.write("toy", {"test": [sample(1)]}, SOURCE, root=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".toy.lock", "toy"]
    store.verify("toy", tmp_path)


MANY = """
import io, resource, sys
from pathlib import Path
import numpy as np
from PIL import Image
from mellm_plugin.datasets import store
from mellm_plugin.datasets.sample import Sample

root, count = Path(sys.argv[1]), int(sys.argv[2])

def samples():
    rng = np.random.default_rng(0)
    for i in range(count):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (700, 900), dtype=np.uint8)).save(file, "BMP")
        yield Sample(f"a/s/{i}", "a", "s", str(i), onset=file.getvalue(), apex=file.getvalue())

store.write("a", {"test": samples()}, {"source": "noise"}, root=root)
rows = store.StoredRows("a", "test", root)
assert all(rows.get(sample.id) == sample for sample in store.read("a", "test", root))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_dataset(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="not on this system")
    peaks = []
    for count in (60, 240):  # of 1.2 MB each
        command = [sys.executable, "-c", MANY, str(tmp_path / str(count)), str(count)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024)
    assert peaks[1] - peaks[0] < 60, f"MB at the peak for 60 and 240 clips: {peaks}"


# ---- what is removed ------------------------------------------------------------------------------------------------


def test_a_dataset_is_removed_with_what_runs_left_of_it(tmp_path: Path) -> None:
    for name in ("toy", "toy2"):
        store.write(name, {"test": [sample(1), sample(2)]}, SOURCE, root=tmp_path)
    for left in (".toy.clips", ".toy.partial", ".toy.old"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "file").write_bytes(b"12345")
    (told,) = store.remove(["toy", "toy"], tmp_path)
    assert told["clips"] == 2 and told["bytes"] > 1000 and told["folder"] == str(tmp_path / "toy")
    assert store.list_prepared(tmp_path) == ["toy2"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["toy2"]


@pytest.mark.parametrize("name", ["..", "../toy", "/toy", "toy/data", "", ".", "Toy", ".toy.clips", "notes"])
def test_no_other_folder_is_ever_removed(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    store.write("toy", {"test": [sample(1)]}, SOURCE, root=root)
    for other in (tmp_path / "toy", root / "notes"):
        other.mkdir()
        (other / "mine").touch()
    with pytest.raises(InputError) as refused:
        store.remove(["toy", name], root)
    assert store.list_prepared(root) == ["toy"], "nothing is removed where one name is wrong"
    assert (tmp_path / "toy" / "mine").exists() and (root / "notes" / "mine").exists()
    if name == "notes":
        assert "no dataset 'notes' is prepared; there are: toy" in str(refused.value)


def test_a_linked_dataset_loses_its_link_alone_and_one_at_work_stays(tmp_path: Path) -> None:
    far, root = tmp_path / "far", tmp_path / "root"
    store.write("toy", {"test": [sample(1)]}, SOURCE, root=far)
    root.mkdir()
    (root / "toy").symlink_to(far / "toy", target_is_directory=True)
    with ProcessLock(root / ".toy.clips.lock"), pytest.raises(DataError, match="prepared by another process"):
        store.remove(["toy"], root)
    store.remove(["toy"], root)
    assert store.list_prepared(root) == [] and store.list_prepared(far) == ["toy"]
