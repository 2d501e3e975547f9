"""`mellm new-task` and `mellm prepare table`, as a user with a table of clips calls them."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from mellm_plugin import meu
from mellm_plugin.cli import main
from mellm_plugin.datasets import store, table
from mellm_plugin.errors import InputError

HEADER = ("id", "subject", "onset", "apex", "emotion", "aus")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: the table, its frames, and what is written."""
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "root"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def clips(folder: Path, annotations: Sequence[tuple[str, str]], name: str = "clips.csv", subjects: int = 2) -> Path:
    """A table with a clip of each label and code."""
    rows = []
    for n, (emotion, aus) in enumerate(annotations):
        for k, picture in enumerate(("onset", "apex")):
            path = folder / "frames" / f"c{n}_{picture}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.random.default_rng(2 * n + k).integers(0, 256, (40, 48), np.uint8))
        rows.append([f"c{n}", f"p{n % subjects}", f"frames/c{n}_onset.png", f"frames/c{n}_apex.png", emotion, aus])
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return folder / name


PLAIN = [("happiness", "6+12"), ("Happiness", "12"), ("tense", "L4+7"), ("tense", "4+(6 or 12)")]


def read(path: Path) -> dict[str, Any]:
    """The task file, with what follows `!function` as text."""

    class Plain(yaml.SafeLoader):
        pass

    Plain.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
    return dict(yaml.load(path.read_text(encoding="utf-8"), Plain))


def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    before = {path for path in Path().rglob("*.yaml")}
    assert main(["new-task", *arguments]) == 1
    assert {path for path in Path().rglob("*.yaml")} == before
    assert not list(Path().rglob("*.part"))
    return capsys.readouterr().err


# ---- what is written ------------------------------------------------------------------------------------------------


def test_a_task_file_is_written_from_the_data(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(place, PLAIN)
    assert main(["new-task", "mydata", "--csv", "clips.csv"]) == 0
    said = capsys.readouterr()
    text = (place / "mydata_meu.yaml").read_text()
    command = "lmms-eval --model mellm --include_path . --tasks mydata_meu"
    assert text.startswith(f"# {command} ") and said.out.endswith(f"run it: {command}\n")
    assert len(text.splitlines()) <= 12
    task = read(place / "mydata_meu.yaml")
    metadata = task.pop("metadata")
    assert task == {
        "include": "mellm_plugin/tasks/meu.yaml",
        "task": "mydata_meu",
        "dataset_path": "mellm_plugin.meu.table(clips.csv)",
        "process_docs": "mellm_plugin.meu.protocol(labels=happiness+tense, aus=4+6+7+12)",
    }
    assert metadata["data"] == "mellm_plugin.meu.table_version(clips.csv)"
    assert set(metadata) == {"version", "package", "prompt_version", "data"}
    assert "'happiness', 'Happiness' are one label" in said.err.replace(
        "'Happiness', 'happiness'", "'happiness', 'Happiness'"
    )


def test_what_it_says_is_understood_by_the_task(place: Path) -> None:
    from datasets import load_dataset

    clips(place, [("ill at ease", "6+12"), ("half-smile left", "12"), ("half-smile left", "L4")])
    assert main(["new-task", "mydata", "--csv", "clips.csv"]) == 0
    assert not any((place.parent / "root").glob("*")), "to try it leaves nothing behind"
    name = table.prepared("clips.csv")
    docs = load_dataset(str(store.dataset_dir(name)), split="test")
    protocol = getattr(meu, read(place / "mydata_meu.yaml")["process_docs"].removeprefix("mellm_plugin.meu."))
    asked = protocol(docs)
    assert asked["labels"][0] == ["half-smile left", "ill at ease"] and asked["scored_aus"][0] == [4, 6, 12]
    results = meu.process_results(asked[1], ["Conclusion: action units AU12; expression: half-smile left."])
    assert results["emotion_acc"]["read"] == results["emotion_acc"]["gold"] == "half-smile left"


@pytest.mark.parametrize(
    ("annotations", "task", "protocol"),
    [
        ([("", "6+12"), ("", "4")], "mydata_au", "aus=4+6+12, asks=aus"),
        ([("fear", ""), ("anger", "?")], "mydata_emotion", "labels=anger+fear, asks=emotion"),
    ],
)
def test_without_labels_or_units_the_other_is_asked_for(
    place: Path, annotations: list[tuple[str, str]], task: str, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clips(place, annotations)
    assert main(["new-task", "mydata", "--csv", "clips.csv"]) == 0
    assert "alone" in capsys.readouterr().err
    written = read(place / f"{task}.yaml")
    assert written["process_docs"] == f"mellm_plugin.meu.protocol({protocol})"
    assert written["include"] == [f"mellm_plugin/tasks/{task[7:]}.yaml", "mellm_plugin/tasks/meu.yaml"]


def test_units_of_few_clips_may_be_left_out(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(place, PLAIN)
    assert main(["new-task", "mydata", "--csv", "clips.csv", "--least", "2"]) == 0
    assert "aus=4+12)" in (place / "mydata_meu.yaml").read_text()
    assert "in fewer than 2 clips: units 6, 7" in capsys.readouterr().err


def test_the_table_may_be_in_another_folder(place: Path, tmp_path: Path) -> None:
    (tmp_path / "my data").mkdir()
    clips(tmp_path / "my data", PLAIN, "the clips+more (2).csv")
    (place / "linked").symlink_to(tmp_path / "deep" / "er", target_is_directory=True)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert main(["new-task", "a", "--csv", "../my data/the clips+more (2).csv", "-o", "new"]) == 0
    assert main(["new-task", "b", "--csv", "../my data/the clips+more (2).csv", "-o", "linked"]) == 0
    for task, path in (("new/a", "../../my data"), ("linked/b", "../../my data")):
        file = place / f"{task}_meu.yaml"
        assert read(file)["dataset_path"] == f"mellm_plugin.meu.table({path}/the clips+more (2).csv)"
        assert os.path.samefile(file.parent / path, tmp_path / "my data")


def test_columns_may_have_other_names_and_the_task_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = clips(place, PLAIN)
    text = file.read_text().replace("id,subject,onset,apex,emotion,aus", "nr,who,初始图,peak image,feeling,code", 1)
    file.write_text(text, encoding="utf-8")
    told = refused(["mine", "--csv", "clips.csv"], capsys)
    assert "lacks id, subject, onset; it has: nr, who, 初始图, peak image, feeling, code" in told
    assert "--columns id=HEADER,subject=HEADER,onset=HEADER" in told
    columns = ["--columns", "id=nr,subject=who,onset=初始图,apex=peak image", "--columns", "emotion=feeling,aus=code"]
    assert main(["new-task", "mine", "--csv", "clips.csv", *columns]) == 0
    given = "clips.csv, id=nr, subject=who, onset=初始图, apex=peak image, emotion=feeling, aus=code"
    task = read(place / "mine_meu.yaml")
    assert task["dataset_path"] == f"mellm_plugin.meu.table({given})"
    assert task["metadata"]["data"] == f"mellm_plugin.meu.table_version({given})"
    with pytest.raises(InputError, match="known only while lmms-eval loads that file"):
        getattr(meu, task["dataset_path"].removeprefix("mellm_plugin.meu."))
    assert main(["prepare", "table", "--csv", "clips.csv", "--name", "mine", *columns]) == 0
    for wrong, says in (
        ("ident=nr", "'ident' is no column of it; expected id, subject"),
        ("id=nr,id=who", "found id=nr and id=who"),
        ("id=nr,subject=nr", "found 'nr' for both id and subject"),
        ("nr", "expected KEY=HEADER, such as subject=sub,clip=material, found 'nr'"),
    ):
        assert says in refused(["other", "--csv", "clips.csv", "--columns", wrong], capsys)


def test_a_prepared_table_needs_no_csv(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(place, PLAIN)
    with (place / "clips.csv").open("a") as file:
        file.write("c9,p1,absent.png,absent.png,,\n")
    assert main(["prepare", "table", "--csv", "clips.csv", "--name", "mydata", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["splits"]["test"]["clips"] == 4 and len(summary["skipped"]) == 1
    assert main(["new-task", "mydata"]) == 0
    assert "row 6" in capsys.readouterr().err
    task = read(place / "mydata_meu.yaml")
    assert task["dataset_path"] == "mellm_plugin.meu.data(mydata)"
    assert task["metadata"]["data"] == "mellm_plugin.meu.data_version(mydata)"


# ---- what is refused ------------------------------------------------------------------------------------------------


def test_faults_of_rows_labels_and_place_and_what_is_odd_are_told_at_once(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips(place, [("fear", "6+12"), ("Fear", "12+soft focus"), ("a+b", "4"), ("7", "")], "a=1.csv", subjects=1)
    with (place / "a=1.csv").open("a") as file:
        file.write("x,p0,absent.png,frames/c0_apex.png,none,\n")
        file.writelines(f"x{n},p0,absent{n}.png,frames/c0_apex.png,,\n" for n in range(70))
    (place / "mydata_meu.yaml").write_text("# mine\n")
    told = refused(["mydata", "--csv", "a=1.csv"], capsys)
    for part in (
        "a=1.csv: 6 faults\n",
        "a=1.csv, rows 6-76 (here row 6): onset: there is no file ",  # a line for each cause
        "emotion: expected a label, found 'none'",
        "the label 'a+b' has '+'",
        "the label '7' is not read in an answer",
        "mydata_meu.yaml is there already",
        "has '='; rename the table",
        "note: 'fear', 'Fear' are one label, 'fear'",
        "note: all clips are of one subject",
        "note: row 3: code not read in full: 'soft focus'",
        "note: labels with one clip",
    ):
        assert part in told, told
    assert store.list_prepared() == []


def test_a_table_that_was_prepared_with_faults_is_refused_and_stays(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = clips(place, PLAIN)
    (place / "frames" / "c1_apex.png").write_bytes(b"no image")
    name = table.prepared(file)
    info = store.verify(name)
    told = refused(["mydata", "--csv", "clips.csv"], capsys)
    assert "row 3" in told and store.verify(name) == info


@pytest.mark.parametrize(
    ("label", "fault"),
    [("a, b", "has ','"), ("a: b", "has ':'"), ("half smile (left)", "has '(', ')'"),
     ("class 2", "is read as 'class 2' in an answer")],
)  # fmt: skip
def test_labels_that_no_answer_can_give_are_refused(
    place: Path, label: str, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clips(place, [(label, "12"), ("class 1", "12"), ("fear", "4")] if "class" in label else [(label, "12")])
    assert fault in refused(["mydata", "--csv", "clips.csv"], capsys)


def test_a_file_that_is_there_is_kept_unless_told_otherwise(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(place, PLAIN)
    (place / "mydata_meu.yaml").write_text("# mine\n")
    assert "--replace" in refused(["mydata", "--csv", "clips.csv"], capsys)
    assert (place / "mydata_meu.yaml").read_text() == "# mine\n"
    assert main(["new-task", "mydata", "--csv", "clips.csv", "--replace"]) == 0
    assert "task: mydata_meu" in (place / "mydata_meu.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "fault"), [("casme2", "names CASME II"), ("megc2019", "there is a task"), ("My", "lower-case letters")]
)
def test_names_of_this_package_are_refused(
    place: Path, name: str, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clips(place, PLAIN)
    assert fault in refused([name, "--csv", "clips.csv"], capsys)


def test_nothing_to_ask_for(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(place, [("", ""), ("", "0")])
    assert "expected clips with a label or with units" in refused(["mydata", "--csv", "clips.csv"], capsys)


def test_without_a_table_the_dataset_must_be_prepared(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(["mydata"], capsys)
    assert told.rstrip().endswith("mellm prepare table --name mydata --csv CLIPS.csv")


# ---- what is odd ----------------------------------------------------------------------------------------------------


def test_odd_data_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(place, [("fear", "12+soft focus"), ("fear", ""), ("", "4"), ("feer", "4+24O")], subjects=1)
    assert main(["new-task", "mydata", "--csv", "clips.csv"]) == 0
    told = capsys.readouterr().err
    for part in (
        "all clips are of one subject",
        "labels with one clip, too few for a score of their own: feer",
        "the label 'feer' is in none of the known datasets. Did you mean 'fear'?",
        "1 of 4 clips have no label: these clips count for their units alone",
        "2 of 4 clips have no known units: these clips count for their label alone",
        "clips/p0/c0: code not read in full: 'soft focus'",
        "clips/p0/c3: code not read in full: '24O'",
        "units in one clip, which au_f1 weighs as much as any other (see --least): 4, 12",
    ):
        assert part in told, told


def test_labels_in_chinese_are_read_in_answers(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(place, [("内疚", "12"), ("悲伤", "4")])
    assert main(["new-task", "mydata", "--csv", "clips.csv"]) == 0
    written = (place / "mydata_meu.yaml").read_text(encoding="utf-8")
    assert "内疚" in written and "sadness" in written and "悲伤" not in written
