"""Lists of clips of prepared datasets, in the spellings of the lists that are published."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset
from PIL import Image

from mellm_plugin.cli import main
from mellm_plugin.datasets import clip_list, store
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.errors import InputError
from mellm_plugin.facs.labels import coarse
from mellm_plugin.meu import protocols

CLIPS = {
    "casme2": [
        ("sub01", "EP02_01f", "happiness"),
        ("sub01", "EP19_05f", "disgust"),
        ("sub03", "EP01_2", "surprise"),
        ("sub07", "EP06_02_01", "disgust"),
        ("sub07", "EP06_02_02", "disgust"),
        ("sub09", "EP09f", "happiness"),
        ("sub09", "EP06_02f", "others"),
    ],
    "samm": [("006", "006_1_2", "anger"), ("006", "006_5_11", "anger"), ("007", "007_7_1", "surprise")],
    "smic": [("s01", "s1_ne_01", "negative"), ("s11", "s11_po_02", "positive"), ("s01", "s1_sur_01", "surprise")],
    "casme3": [("spNO.1", "a_355", "others"), ("spNO.1", "b_166", "disgust"), ("spNO.1", "b_301", "fear")],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    for name, clips in CLIPS.items():
        samples = []
        for who, clip, label in clips:
            frames = {"onset": file.getvalue(), "apex": file.getvalue()}
            known = {"aus": ("12",), "emotion": label, "coarse": coarse(label)}
            samples.append(Sample(f"{name}/{who}/{clip}", name, who, clip, **frames, **known))
        store.write(name, {"test": samples}, {"source": "made up"}, root=folder)
    return folder


@pytest.fixture(autouse=True)
def place(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLM_DATA", str(root))
    monkeypatch.chdir(tmp_path)


def written(rows: Sequence[Sequence[object]], name: str = "split.csv", mark: str = ",") -> Path:
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=mark).writerows(rows)
    return Path(name)


def ids(rows: Sequence[Sequence[object]], **columns: str) -> list[str]:
    return [clip.id for clip in clip_list.choose(written(rows), columns).clips]


@pytest.mark.parametrize(
    ("row", "id"),
    [
        (("CASME II", "1", "EP02_01f"), "casme2/sub01/EP02_01f"),
        (("CASME2", "sub1", "sub01_EP02_01f.npy"), "casme2/sub01/EP02_01f"),
        (("ＣＡＳＭＥ２", "sub03", "EP01_02"), "casme2/sub03/EP01_2"),
        (("casme2", "sub09", "EP09f.avi"), "casme2/sub09/EP09f"),
        (("samm", "006", "6_1_2"), "samm/006/006_1_2"),
        (("samm", "6", "006_006_5_11"), "samm/006/006_5_11"),
        (("smic", "s01", "s01_ne_01"), "smic/s01/s1_ne_01"),  # as MEGC 2019 writes it; the folder is s1_ne_01
        (("SMIC-HS-E", "1", "s1_ne_1"), "smic/s01/s1_ne_01"),
        (("CAS(ME)^3", "spNO.1", "a"), "casme3/spNO.1/a_355"),
        (("casme3", "1", "spNO.1_b_166"), "casme3/spNO.1/b_166"),
        (("samm", "6.0", "006_1_2"), "samm/006/006_1_2"),  # a column of floats
        (("casme2", "1", r"D:\CASME2\Cropped\sub01\EP02_01f"), "casme2/sub01/EP02_01f"),
        (("smic", "s1", "/data/SMIC/HS/s1/micro/negative/s1_ne_01/image563849.bmp"), "smic/s01/s1_ne_01"),
    ],
)
def test_a_clip_is_found_as_lists_write_it(row: tuple[str, ...], id: str) -> None:
    assert ids([row]) == ids([("Dataset", "Subject", "Filename"), row]) == [id]


def test_headers_and_marks_of_published_lists() -> None:
    htnet = ["dataset", "sub", "filename_o", "label", "apex", "imagename", "sub_filename"]
    file = written([htnet, ["samm", "006", "006_1_2", 0, "", "x.jpg", ""]], mark=";")
    chosen = clip_list.choose(file, {})
    assert [(clip.id, clip.label) for clip in chosen.clips] == [("samm/006/006_1_2", "0")]
    assert len(chosen.notes) == 3 and "'imagename'" in chosen.notes[1]
    smic = ["data", "subject", "clip", "label", "onset_frame"]
    assert ids([smic, ["casme3", "spNO.1", "b", 0, 301]]) == ["casme3/spNO.1/b_301"]
    assert ids([["Subject", "Filename"], ["6", "006_1_2"]]) == ["samm/006/006_1_2"], "of all prepared datasets"
    assert ids([["data set", "who", "what"], ["samm", "6", "006_1_2"]], clip="what", subject="who") == [
        "samm/006/006_1_2"
    ]
    with_gaps = [["casme2", "sub01", "EP02_01f", 1], ["", "", "", ""], ["samm", 6, "006_1_2", 0]]  # as of MEGC 2019
    assert ids(with_gaps) == ["casme2/sub01/EP02_01f", "samm/006/006_1_2"]
    Path("split.txt").write_text("# ours\ncasme2  sub01 EP02_01f 1\nsamm 6 006_1_2 0\n", encoding="utf-8")
    chosen = clip_list.choose("split.txt", {})
    assert {clip.id: clip.label for clip in chosen.clips} == {"casme2/sub01/EP02_01f": "1", "samm/006/006_1_2": "0"}


def test_what_is_not_there_is_named_by_its_cause() -> None:
    rows = [
        ["dataset", "subject", "filename", "label"],
        ["samm", "6", "006_1_2", "negative"],
        *[["mmew", f"S{n:02d}", f"S{n:02d}-01-001", "negative"] for n in range(1, 21)],
        ["casme2", "sub26", "EP18_51", "negative"],
        ["CAS(ME)^2", "s15", "x", "negative"],
        ["sam", "6", "006_1_2", "negative"],
        ["casme3", "spNO.1", "b", "negative"],
        ["samm", "", "", "negative"],
        ["samm", "006", "006_1_2", "negative"],
        ["samm", "7", "007_7_1", "surprise"],
        ["samm", "007", "007_7_1", "negative"],
    ]
    chosen = clip_list.choose(written(rows), {})
    assert [clip.id for clip in chosen.clips] == ["samm/006/006_1_2"] and chosen.rows == 29
    shown = ", ".join(f"S{n:02d}/S{n:02d}-01-001" for n in range(1, 13))
    assert chosen.absent == [
        "mmew is not prepared; run: mellm prepare mmew --frames FOLDER --sheet MMEW_Micro_Exp.xlsx "
        f"(20 clips, rows 3-22): {shown} and 8 more",
        "casme2 has no such clip (1 clip, row 23): sub26/EP18_51",
        "'CAS(ME)^2' is no dataset that is known here. It is another than CASME II and CAS(ME)^3. (1 clip, row 24): "
        "s15/x",
        "'sam' is no dataset that is known here. Did you mean 'samm'? (1 clip, row 25): 6/006_1_2",
    ]
    assert chosen.faults == [
        "row 26: spNO.1/b may be casme3/spNO.1/b_166, casme3/spNO.1/b_301; write its name in full",
        "row 27: expected the name of a clip, found an empty cell",
        "samm/007/007_7_1 has several labels: surprise in row 29, negative in row 30; keep one of the rows",
    ]
    assert chosen.notes == ["row 28: repeats the clip of another row"]


MEGC = [
    ("casme2", "sub01", "EP02_01f", 1),
    ("samm", 6, "006_1_2", 0),
    ("samm", 7, "007_7_1", 2),
    ("smic", 1, "s01_ne_01", 0),
]


def test_numbers_are_those_of_megc_only_where_the_clips_show_it() -> None:
    agreed = clip_list.choose(written(MEGC), {})
    assert clip_list.names_of_megc(agreed.clips) == {"0": "negative", "1": "positive", "2": "surprise"}
    other = clip_list.choose(written([(*row[:3], (int(row[3]) + 1) % 3) for row in MEGC]), {})
    assert clip_list.names_of_megc(other.clips) == {}
    with pytest.raises(InputError, match=r"--labels 0=LABEL,1=LABEL,2=LABEL \(in their datasets .* 0: surprise 1"):
        other.labels({})
    wrong = [("casme2", "sub01", "EP19_05f", 1), ("casme2", "sub07", "EP06_02_01", 1), ("casme2", "sub09", "EP09f", 0)]
    assert clip_list.names_of_megc(clip_list.choose(written([*MEGC, *wrong]), {}).clips) == {}, "most must agree"
    more = clip_list.choose(written([*MEGC, ("casme2", 9, "EP06_02f", 3)]), {})
    assert clip_list.names_of_megc(more.clips) == {}
    named = more.labels({"0": "Negative", "1": "positive", "2.0": "surprise", "03": "other"})
    assert set(named.values()) == {"negative", "positive", "surprise", "others"}


def test_the_task_of_a_list_asks_for_its_labels(capsys: pytest.CaptureFixture[str]) -> None:
    written([*MEGC, ("casme2", "sub09", "EP06_02f", 1), ("mmew", "S01", "S01-01-001", 0)])
    assert main(["new-task", "mine", "--from", "split.csv", "--labels", "0=negative,1=positive,2=surprise"]) == 0
    told = capsys.readouterr().err
    assert "5 of 6 listed clips are prepared" in told and "mmew is not prepared" in told
    assert (
        "1 clips have another label in the list than in their dataset: casme2/sub09/EP06_02f (positive, there others)"
        in told
    )

    class Plain(yaml.SafeLoader):
        pass

    Plain.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
    task = yaml.load(Path("mine_meu.yaml").read_text(encoding="utf-8"), Plain)
    assert task["dataset_path"] == "parquet"
    assert task["dataset_kwargs"] == {"data_files": {"test": "mellm_plugin.meu.listed_files(split.csv)"}}
    assert task["process_docs"] == (
        "mellm_plugin.meu.listed(split.csv, names=0:negative+1:positive+2:surprise, "
        "labels=negative+positive+surprise, aus=12)"
    )
    given = {"names": "0:negative+1:positive+2:surprise", "labels": "negative+positive+surprise", "aus": "12"}
    files = [str(store.dataset_dir(name) / "data/test-00000-of-00001.parquet") for name in ("casme2", "samm", "smic")]
    docs = protocols._listed(
        Path("split.csv"), {}, given, load_dataset("parquet", data_files={"test": files}, split="test")
    )
    assert dict(zip(docs["id"], docs["emotion"], strict=True)) == {
        "casme2/sub01/EP02_01f": "positive",
        "casme2/sub09/EP06_02f": "positive",
        "samm/006/006_1_2": "negative",
        "samm/007/007_7_1": "surprise",
        "smic/s01/s1_ne_01": "negative",
    }
    assert docs["subject"][0] == "casme2/sub01" and docs["labels"][0] == ["negative", "positive", "surprise"]


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        ([["dataset", "subject", "filename"]], [], "expected clips below the header in row 1, found none"),
        (
            [["mmew", "S01", "S01-01-001"]],
            [],
            "not one of its clips is prepared: mmew is not prepared; run: mellm prep",
        ),
        ([["samm", 6, "006_1_2", n] for n in "01"], [], "not one of its clips can be used: samm/006/006_1_2 "),
        ([["casme2", 1, "EP02_01f", 7]], [], "its labels are numbers; say what they mean: --labels 7=LABEL"),
        ([["casme2", 1, "EP02_01f", 7]], ["--labels", "7"], "--labels: expected LABEL=NAME, such as 0=negative"),
        ([["casme2", 1, "EP02_01f"]], ["--columns", "clp=x"], "'clp' is no column of it; expected dataset, subject, "),
        (
            [["a", "b", "c"], ["casme2", 1, "EP02_01f"]],
            [],
            "lacks filename; it has: a, b, c. Where a column has another",
        ),
    ],
)
def test_lists_that_make_no_task(
    rows: list[list[object]], options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written(rows)
    assert main(["new-task", "mine", "--from", "split.csv", *options]) == 1
    assert says in capsys.readouterr().err and not Path("mine_meu.yaml").exists()


def test_labels_of_the_datasets_stand_where_the_list_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    written([["casme2", 1, "EP02_01f"], ["casme2", 3, "EP01_2"], ["casme2", 1, "EP19_05f"]])
    assert main(["new-task", "one", "--from", "split.csv"]) == 0
    assert "labels=disgust+happiness+surprise, aus" in Path("one_meu.yaml").read_text()
    written([["casme2", 1, "EP02_01f"], ["smic", 1, "s1_ne_01"], ["smic", 11, "s11_po_02"]])
    assert main(["new-task", "two", "--from", "split.csv"]) == 0
    assert "labels of several kinds, so the coarse classes are asked for" in capsys.readouterr().err
    assert "labels=negative+positive+surprise, aus" in Path("two_meu.yaml").read_text()
