"""Boards: what stands beside what, what is ranked, and that the numbers are those of the scoring code."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from results_files import UNITS, Asked, Model, board_of, changed, changed_line, made, rescored, row_of, write_run

from mellm_plugin.facs.codes import numbers
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.probabilities import with_probabilities
from mellm_plugin.motion.settings import PRESETS
from mellm_plugin.report import formats
from mellm_plugin.scoring import emotion, sensitivity, units

ASKED = Asked(clips=80, subjects=12)
GOOD = Model("good", 0.95, backend=None, seed=1)
POOR = Model("poor", 0.2, backend=None, seed=2)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("three")
    write_run(folder, ASKED, GOOD, "20261122_000001")
    write_run(folder, ASKED, replace(GOOD, name="twin", seed=5), "20261122_000002")
    write_run(folder, ASKED, POOR, "20261122_000003")
    return made(folder)


def test_statistically_tied_models_share_a_rank(three: dict[str, Any]) -> None:
    assert three["reading"]["faults"] == [], "every score is that of the results file"
    (board,) = three["boards"]
    assert (board["clips"], board["subjects"], board["licensed"]) == (80, 12, False)
    assert board["metrics"][0]["name"] == "emotion_uf1"
    for score in (row_of(three, "good")["scores"][name] for name in ("emotion_uf1", "au_f1", "parse_rate")):
        assert score["low"] <= score["value"] <= score["high"]
    ranks = {name: row_of(three, name)["scores"]["emotion_uf1"] for name in ("good", "twin", "poor")}
    assert ranks["good"]["rank"] == ranks["twin"]["rank"] == 1
    assert ranks["poor"]["rank"] == ranks["poor"]["rank_low"] == 3
    assert ranks["good"]["rank_low"] == 2
    pairs = [one for one in board_of(three)["comparisons"] if one["metric"] == "emotion_uf1"]
    assert len(pairs) == 3
    for one in pairs:
        assert 0 < one["p"] <= one["p_holm"] <= 1 and one["low"] <= one["difference"] <= one["high"]


def test_a_task_that_draws_maps_stands_with_the_one_that_shows_frames(tmp_path: Path) -> None:
    write_run(tmp_path, ASKED, POOR, "20261122_000001")
    maps = replace(ASKED, task="synthme_meu_map")
    results, _ = write_run(tmp_path, maps, replace(GOOD, name="poor"), "20261122_000002")
    shown = {"images": "map", "motion": "robust"}
    changed(results, lambda d: d["configs"]["synthme_meu_map"].update(lmms_eval_specific_kwargs=shown))
    data = made(tmp_path)
    board = board_of(data)
    assert board["task"] == board["title"] == "synthme_meu" and data["overall"]["tasks"] == ["synthme_meu"]
    assert [row_of(data, name)["scores"]["emotion_uf1"]["rank"] for name in ("poor on maps", "poor")] == [1, 2]


def test_constant_answers_come_from_the_annotation(three: dict[str, Any]) -> None:
    constant = {row["name"]: row for row in board_of(three)["rows"] if row["kind"] == "constant"}
    docs = ASKED.docs()
    gold = [doc["emotion"] for doc in docs]
    most_frequent = emotion.majority(gold, sorted(set(gold))).uf1
    assert constant["most frequent label"]["scores"]["emotion_uf1"]["value"] == pytest.approx(most_frequent)
    every = units.constant([numbers(doc["aus"]) for doc in docs], UNITS, present=True).mean
    assert constant["all units named"]["scores"]["au_f1"]["value"] == pytest.approx(every)
    assert not any(row["ranked"] for row in constant.values())


def test_details_of_a_row(three: dict[str, Any]) -> None:
    row, board = row_of(three, "good"), board_of(three)
    table = row["confusion"]["emotion"]
    assert sum(map(sum, table["counts"])) == 80 and table["read"][-1] == "unread"
    right = sum(of[table["read"].index(label)] for label, of in zip(table["labels"], table["counts"], strict=True))
    assert right / 80 == pytest.approx(row["scores"]["emotion_acc"]["value"])
    known = [of["f1"] for of in row["units"].values()]
    assert sum(known) / len(known) == pytest.approx(row["scores"]["au_f1"]["value"])
    assert sum(part["clips"] for part in row["by_strength"]) == 80
    assert row["cost"] == {"input_tokens": 1200, "output_tokens": 300, "seconds": 38.5}
    answers = board["answers"][row["entry"]]
    assert len(answers) == len(board["clip_list"]) == 80
    share = sum(answer["label_right"] for answer in answers) / 80
    assert share == pytest.approx(row["scores"]["emotion_acc"]["value"])
    exact = sum(answer["aus_right"] for answer in answers) / 80
    assert exact == pytest.approx(row["scores"]["au_exact"]["value"])
    for answer in answers:
        for start, end, kind in answer["read"]:
            assert kind in ("unit", "label") and answer["text"][start:end]
            assert kind != "label" or answer["text"][start:end] == answer["label"]


def test_probabilities_give_a_calibration_and_are_no_part_of_the_answer(tmp_path: Path) -> None:
    labels, sure = LABELS["synthme"], 0.8
    rest = (1 - sure) / (len(labels) - 1)
    texts = []
    for number, doc in enumerate(ASKED.docs()):  # right in three of four
        said = doc["emotion"] if number % 4 else labels[(labels.index(doc["emotion"]) + 1) % len(labels)]
        texts.append(with_probabilities(said, {label: sure if label == said else rest for label in labels}))
    texts[1] = "fear"  # this one has none
    write_run(tmp_path, ASKED, Model("sure", 1, backend=None), answers=texts)
    write_run(tmp_path, ASKED, Model("words", 1, backend=None), "20261122_000001")
    data = made(tmp_path)
    row, words = row_of(data, "sure"), row_of(data, "words")
    right = [number % 4 > 0 for number in range(80) if number != 1]
    share = sum(right) / len(right)
    assert row["reliability"]["clips"] == 79
    (only,) = row["reliability"]["bins"]
    assert (only["clips"], only["confidence"], only["right"]) == (79, pytest.approx(0.8), pytest.approx(share))
    assert row["reliability"]["ece"] == pytest.approx(0.8 - share) == row["scores"]["emotion_ece"]["value"]
    assert words["reliability"] is None and "emotion_ece" not in words["scores"]
    assert board_of(data)["answers"][row["entry"]][2]["text"] == ASKED.docs()[2]["emotion"]
    assert "emotion\\_ece ↓" in formats.markdown(data)


# ---- what is not ranked ---------------------------------------------------------------------------------------------


def marks(data: dict[str, Any], name: str) -> dict[str, str]:
    return {mark["kind"]: mark["text"] for mark in row_of(data, name)["marks"]}


FAILED = "[LMMS_EVAL_REQUEST_FAILED after 3 retries] Error code: 503 - {'message': 'sk-not-a-key AU4, disgust'}"


def test_answers_that_were_never_given_are_in_no_score_and_not_ranked(tmp_path: Path) -> None:
    answers = GOOD.answers(ASKED.docs())
    lacking = [FAILED if n % 3 == 0 else "" if n % 3 == 1 else answer for n, answer in enumerate(answers)]
    write_run(tmp_path, ASKED, POOR, "20261122_000001")
    write_run(tmp_path, ASKED, GOOD, "20261122_000002", answers=lacking)
    data = made(tmp_path)
    row = row_of(data, "good")
    assert marks(data, "good") == {
        "unanswered": "54 of 80 answers were never given (request failed (HTTP 503): 27, no text: 27); "
        "scores are over the others"
    }
    assert data["reading"]["faults"] == [] and not row["ranked"] and row["scores"]["emotion_uf1"]["rank"] is None
    assert row["rates"]["answer_rate"] == row["scores"]["answer_rate"]["value"] == pytest.approx(26 / 80)
    assert row["scores"]["emotion_acc"]["value"] > 0.9, "of the 26 clips"
    assert sum(part["clips"] for part in row["by_strength"]) == 26
    answer = board_of(data)["answers"][row["entry"]][0]
    assert answer["label_right"] is answer["aus_right"] is answer["aus"] is None
    assert answer["unparsed"] == "never given: request failed (HTTP 503)"
    assert row_of(data, "poor")["scores"]["answer_rate"]["value"] == 1
    assert "| .325 " in formats.markdown(data) and "answers were never given" in formats.markdown(data)
    write_run(tmp_path, ASKED, replace(GOOD, name="silent"), "20261122_000003", answers=[""] * 80)
    silent = row_of(made(tmp_path), "silent")["scores"]
    assert silent["answer_rate"]["value"] == 0 and not {"emotion_uf1", "au_f1"} & silent.keys()
    # a run that has all answers is shown before a newer one that has not
    write_run(tmp_path, ASKED, GOOD, "20261122_000000")
    (tmp_path / "20261122_000003_results.json").unlink()
    (tmp_path / "20261122_000003_samples_synthme_meu.jsonl").unlink()
    data = made(tmp_path)
    assert marks(data, "good") == {} and row_of(data, "good")["ranked"]
    assert "some answers were never given" in " ".join(data["reading"]["notes"])
    assert "answer_rate" not in formats.markdown(data), "a column of ones says nothing"


def test_keys_in_old_files_do_not_get_into_a_report(tmp_path: Path) -> None:
    key = "sk-proj-0a1b2c3d4e5f6a7b8c9d"
    lacking = [f"{FAILED} you sent Bearer {key}", f"AU4 {key}"] * 40
    write_run(tmp_path, ASKED, replace(GOOD, args=f"model=x,api_key={key}"), "20261122_000001", answers=lacking)
    file = tmp_path / "20261122_000001_samples_synthme_meu.jsonl"
    file.write_text(f"{file.read_text(encoding='utf-8')}{key} [redacted", encoding="utf-8")  # a damaged line
    data = made(tmp_path)
    assert data["entries"][0]["model_args"] == "model=x,api_key=[redacted]" and data["reading"]["faults"]
    assert "0a1b2c3d" not in json.dumps(data)


UNREAD: list[Any] = [{"subjects": 3}, {"clips": "many"}, [1]]
MARKS = {
    "part": ("limit", "20 of 80 clips"),
    "leaky motion=off": ("leak", "30 of 80 clips show people it was trained on"),
    "tuned motion=off": ("validation", "9 of 80 clips"),
    **{f"unread {number} motion=off": ("leak", "") for number in range(len(UNREAD))},
    "differs": ("differs", ""),
    "unlogged": ("cut_off", ""),
    "damaged": ("cut_off", "79 of 80 clips are in the samples file"),
    "stranger": ("clips", ""),
    "another judge": ("judge", "local:k"),
    "two judges": ("judge", "graded by several judges: claude, rubric 1, openai:m, rubric 1"),
}
RANKED = ("whole", "clean motion=off", "judged", "judged too")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One board of runs that are marked, and of some that are not."""
    folder = tmp_path_factory.mktemp("odd")

    def run(name: str, model: Model = GOOD, **more: Any) -> tuple[Path, Path]:
        limit, asked = more.pop("limit", None), more.pop("asked", ASKED)
        place = folder / name
        files = write_run(place, asked, replace(model, name=name, **more), limit=limit)
        changed(files[0], lambda d: d["configs"]["synthme_meu"]["metadata"].pop("data"))
        return files

    def trained(seen: Any, validation: int = 0) -> dict[str, Any]:
        sides = {"seen": seen, "validation": {"clips": validation, "subjects": 1}}
        return {"motion": "off", "training": {"tasks": {"synthme_meu": {"clips": 80, **sides}}}}

    changed(run("whole", POOR)[0], lambda d: d["higher_is_better"]["synthme_meu"].update(emotion_uf1=False))
    run("part", limit=20)
    run("clean", POOR, backend=trained({"clips": 0, "subjects": 0}))
    run("leaky", backend=trained({"clips": 30, "subjects": 1}))
    run("tuned", backend=trained({"clips": 0, "subjects": 0}, 9))
    for number, seen in enumerate(UNREAD):
        run(f"unread {number}", backend=trained(seen))
    rescored(run("differs")[0], "au_f1", 0.999)
    run("no results")[0].unlink()
    run("unlogged")[1].unlink()
    changed_line(run("damaged")[1], 3, lambda row: row["record"].pop("id"))
    run("stranger", asked=replace(ASKED, dataset="other"))
    for name, judge in (("judged", "m"), ("judged too", "m"), ("two judges", "m")):
        _, samples = run(name, judge=f"openai:{judge}")
    changed_line(samples, 5, lambda row: row["record"]["judge"].update(judge="claude"))
    run("another judge", judge="local:k")
    return made(folder)


def test_what_is_marked_is_not_ranked(odd: dict[str, Any]) -> None:
    assert [marks(odd, name) for name in RANKED] == [{}] * len(RANKED)
    for name, (kind, text) in MARKS.items():
        found, scores = marks(odd, name), row_of(odd, name)["scores"]
        assert found.keys() == {kind} and text in found[kind], name
        assert (scores["emotion_uf1"]["rank"] is None) == (kind != "judge"), "a judge has no part in it"
    judged = {
        name: row_of(odd, name)["scores"]["description_score"]["rank"] for name in ("judged", *MARKS) if "judge" in name
    }
    assert judged == {"judged": 1, "another judge": None, "two judges": None}
    rows = [row for row in board_of(odd)["rows"] if row["kind"] == "model"]
    assert sum("cut_off" in [mark["kind"] for mark in row["marks"]] for row in rows) == 3, "one without results"
    assert [row["ranked"] for row in rows] == sorted((row["ranked"] for row in rows), reverse=True)
    poor = {row_of(odd, name)["scores"]["emotion_uf1"]["rank"] for name in ("whole", "clean motion=off")}
    assert poor == {5}, "behind the four good ones: no file decides which way a metric is better"


def test_what_a_marked_run_shows(odd: dict[str, Any]) -> None:
    answers = board_of(odd)["answers"]
    assert sum(answer is not None for answer in answers[row_of(odd, "part")["entry"]]) == 20
    assert row_of(odd, "differs")["scores"]["au_f1"]["value"] != 0.999
    assert row_of(odd, "unlogged")["scores"]["emotion_uf1"]["value"] is not None
    assert row_of(odd, "unlogged")["entry"] not in answers
    judged = [answer["judge"]["score"] for answer in answers[row_of(odd, "judged")["entry"]] if answer]
    assert judged == [0, 25, 50, 75, 100] * 16
    assert any("no clip in common" in note for note in odd["reading"]["notes"])
    faults = "\n".join(fault["fault"] for fault in odd["reading"]["faults"])
    assert faults.count("training.tasks.synthme_meu.seen: expected a number of clips") == len(UNREAD)
    assert "line 3: id: " in faults and re.search("au_f1.*0.999", faults)


# ---- several runs and boards ----------------------------------------------------------------------------------------


def test_duplicates_are_named_and_other_answers_counted(tmp_path: Path) -> None:
    write_run(tmp_path / "1", ASKED, replace(GOOD, args="batch_size=4"), "20261122_000001")
    write_run(tmp_path / "2", ASKED, replace(GOOD, args="batch_size=8,device=cuda:1"), "20261122_000002")
    write_run(tmp_path / "3", ASKED, replace(GOOD, seed=9), "20261122_000003", limit=10)
    data = made(tmp_path)
    assert len(data["entries"]) == 1 and row_of(data, "good")["runs"] == 1 and marks(data, "good") == {}
    assert sum(": left out: a duplicate of " in note for note in data["reading"]["notes"]) == 1
    assert row_of(data, "good")["clips"] == 80, "the newest whole one is shown"
    write_run(tmp_path / "4", ASKED, replace(GOOD, seed=9), "20261122_000004")
    data = made(tmp_path)
    row = row_of(data, "good")
    assert row["ranked"] and row["runs"] == 3
    assert marks(data, "good")["runs"].startswith("3 runs with different answers")
    assert row["date"] == "2026-11-21"


def test_versions_are_never_on_one_board(tmp_path: Path) -> None:
    for number, asked in enumerate(
        [ASKED, replace(ASKED, prompts="2"), replace(ASKED, version=2.0), replace(ASKED, data="ffffffffff")]
    ):
        write_run(tmp_path, asked, GOOD, f"20261122_00000{number}")
    data = made(tmp_path)
    titles = [board["title"] for board in data["boards"]]
    assert len(titles) == len({*titles}) == 4
    assert any("prompts 2" in title for title in titles) and any("data ffffffff" in title for title in titles)
    assert [entry["name"] for entry in data["entries"]] == ["good"]


def test_who_answered_is_in_the_name_and_defaults_are_not(tmp_path: Path) -> None:
    given = ("pretrained=a", "pretrained=a,answer=words,decide=generate", "pretrained=a,answer=head")
    given += ("pretrained=a,decide=likelihood", "pretrained=a,decide=likelihood,orders=3")
    some = [Model("mellm", args=one, backend={"bundled": False, "weights_sha256": "1" * 64}) for one in given]
    some += [Model("mellm_constant", args=one) for one in ("", "answer=words")]  # a text that it always says
    for number, model in enumerate(some):
        write_run(tmp_path, replace(ASKED, clips=12), model, f"20261122_00000{number}")
    names = sorted(entry["name"] for entry in made(tmp_path)["entries"])
    assert names[:3] == ["mellm a", "mellm a answer=head", "mellm a decide=likelihood"] and len(names) == 5


def test_other_settings_are_other_entries_with_names_of_their_own(tmp_path: Path) -> None:
    robust = {"bundled": True, "motion": PRESETS["robust"].to_dict()}
    some = [
        Model("mellm", backend=robust),
        Model("mellm", args="pretrained=bundled,batch_size=2", backend=robust, seed=4),
        Model("mellm", args="motion=off", backend={"bundled": True, "motion": "off"}),
        Model("mellm", args="adapter=x/a", backend={"bundled": False, "motion": "off", "adapter_sha256": "1" * 64}),
        Model("mellm", args="adapter=y/a", backend={"bundled": False, "motion": "off", "adapter_sha256": "2" * 64}),
        Model("mellm", args="adapter=z/a", backend={"bundled": False, "motion": "off", "adapter_sha256": "2" * 64}),
    ]
    own = {"bundled": True, "motion": "robust"}
    for number, model in enumerate(some):
        write_run(tmp_path, replace(ASKED, clips=12), model, f"20261122_00000{number}")
    for number in (2, 3):
        motion = {**PRESETS["robust"].to_dict(), "floor_px": number / 100}
        shown = {"images": "map", "motion": motion}
        file, _ = write_run(tmp_path / "maps", replace(ASKED, clips=12), GOOD, f"2026112{number}_000000")
        changed(file, lambda d, shown=shown: d["configs"]["synthme_meu"].update(lmms_eval_specific_kwargs=shown))
    names = sorted(entry["name"] for entry in made(tmp_path)["entries"])
    assert [name for name in names if name.startswith("good")] == names[:2]
    assert all(f"floor_px={number / 100}" in name for number, name in zip((2, 3), names, strict=False)), names
    assert names[2:] == [
        "mellm a motion=off (11111111)",
        "mellm a motion=off (22222222)",
        "mellm bundled",
        "mellm bundled motion=off",
    ]
    write_run(tmp_path / "one", ASKED, replace(GOOD, backend=own, judge="openai:a"))
    write_run(tmp_path / "one", replace(ASKED, task="synthme_au"), replace(GOOD, backend=own), "20261122_000002")
    assert len(made(tmp_path / "one")["entries"]) == 1, "a judge of one task makes no other model of another"


def test_means_over_datasets(tmp_path: Path) -> None:
    write_run(tmp_path, ASKED, GOOD, "20261122_000001")
    write_run(tmp_path, replace(ASKED, task="casme2_meu", dataset="casme2", seed=3), GOOD, "20261122_000002")
    write_run(tmp_path, ASKED, POOR, "20261122_000003")
    write_run(tmp_path, replace(ASKED, task="mine_meu", dataset="synthme_lab"), replace(POOR, name="third"))
    data = made(tmp_path)
    good, poor = (next(row for row in data["overall"]["rows"] if row["entry"] == key) for key in ("e0", "e1"))
    values = [of["au_f1"]["value"] for of in good["scores"].values()]
    assert good["mean"]["au_f1"] == {"value": pytest.approx(sum(values) / 2), "tasks": 2}
    assert poor["mean"]["au_f1"]["tasks"] == 1
    licensed = {board["task"]: board["licensed"] for board in data["boards"]}
    assert licensed == {"casme2_meu": True, "synthme_meu": False, "mine_meu": True}


def test_the_amplitude_ladder(tmp_path: Path) -> None:
    """The curve and the threshold are those of `scoring.sensitivity`."""
    asked = replace(ASKED, clips=96, task="synthme_sensitivity")
    levels = [(0.0, 0.1, 0.3, 1.0, 2.0, 3.0)[(number // 12) % 6] for number in range(96)]

    def observed(least: float, others: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The report, and its row, where the model names the unit from `least` px on, and others at every movement."""
        rungs = [{"unit": 12, "level_px": px, "named": px >= least, "others": others * (px > 0)} for px in levels]
        write_run(tmp_path, asked, GOOD, rungs=[{**rung, "other_units": 15} for rung in rungs])
        data = made(tmp_path)
        assert data["reading"]["faults"] == []
        return data, row_of(data, "good")

    data, row = observed(0.3, 0)
    rungs = [
        {"id": doc["id"], "subject": doc["subject"], "unit": 12, "level_px": px, "named": px >= 0.3, "others": 0}
        for doc, px in zip(asked.docs(), levels, strict=True)
    ]
    assert row["sensitivity"] == json.loads(
        json.dumps(sensitivity.curve([{**one, "other_units": 15} for one in rungs]))
    )
    assert 0.1 < row["scores"]["threshold_px"]["value"] <= 0.3
    better = {metric["name"]: metric["higher_is_better"] for metric in board_of(data)["metrics"]}
    assert not better["threshold_px"] and not better["false_alarm_rate"] and better["sensitivity_ceiling"]
    always = next(one for one in board_of(data)["rows"] if one["name"] == "all units named")
    assert always["scores"]["threshold_px"]["value"] is None
    assert always["scores"]["false_alarm_rate"]["value"] == 1
    assert {clip["motion_px"] for clip in board_of(data)["clip_list"]} == {0.0, 0.1, 0.3, 1.0, 2.0, 3.0}
    sharp, moved, (report, blind) = observed(0.1, 0)[1], observed(0.1, 15)[1], observed(9, 0)
    assert sharp["scores"]["threshold_px"]["bound"] == "at most" and sharp["scores"]["threshold_px"]["rank"] == 1
    assert [mark["kind"] for mark in moved["marks"]] == ["others"] and moved["scores"]["threshold_px"]["rank"] is None
    assert blind["scores"]["threshold_px"]["value"] is None and blind["scores"]["threshold_px"]["why"]
    assert "| none |" in formats.markdown(report)


def test_results_behind_links_are_found(tmp_path: Path) -> None:
    files = write_run(tmp_path / "elsewhere", ASKED, GOOD)
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "round").symlink_to(folder)
    assert row_of(made(folder), "good")["marks"] == []
    (folder / "link").unlink()
    for number, file in enumerate(files):  # as a store of files by their hashes does
        file.rename(tmp_path / f"SHA{number}")
        (folder / file.name).symlink_to(tmp_path / f"SHA{number}")
    assert row_of(made(folder), "good")["marks"] == []


def test_a_leak_that_one_run_tells_marks_the_model_everywhere(tmp_path: Path) -> None:
    overlap = {"clips": 80, "seen": {"clips": 20, "subjects": 4}, "validation": {"clips": 0, "subjects": 0}}
    adapter = {"adapter_sha256": "ab" * 32}
    leaky = replace(GOOD, backend={**adapter, "training": {"tasks": {"synthme_meu": overlap}}})
    write_run(tmp_path, ASKED, leaky, "20261122_000001")
    write_run(tmp_path, ASKED, replace(GOOD, backend=adapter), "20261122_000002")
    write_run(tmp_path, replace(ASKED, task="synthme_au"), POOR, "20261122_000003")
    data = made(tmp_path)
    row = data["boards"][1]["rows"][0]
    assert [mark["kind"] for mark in row["marks"]] == ["leak"] and row["scores"]["emotion_uf1"]["rank"] is None
    (over,) = (of for of in data["overall"]["rows"] if of["entry"] == row["entry"])
    assert over["scores"]["synthme_meu"]["emotion_uf1"]["ranked"] is False
    assert over["marks"]["synthme_meu"] == row["marks"]
    assert "(not ranked)" in formats.markdown(data).partition("## synthme")[0]


def test_what_files_hold_becomes_strict_json(tmp_path: Path) -> None:
    folder = tmp_path / "caf\udce9"
    for number, metadata in enumerate(({"prompt_version": float("nan")}, {"version": "x\ud800"})):
        file, _ = write_run(folder, ASKED, replace(GOOD, name=f"m{number}"), f"20261122_00000{number}")
        document = json.loads(file.read_text())
        document["configs"]["synthme_meu"]["metadata"].update(metadata)
        document["results"]["a/b"] = document["results"]["synthme_meu"]
        file.write_text(json.dumps(document))
    data = made(tmp_path)
    for text in (formats.markdown(data), formats.comma_separated(data), formats.latex(data), formats.plain_json(data)):
        text.encode()
    assert len(data["boards"]) == 2
    assert [fault["fault"] for fault in data["reading"]["faults"]] == ["expected the name of a task, found a/b"] * 2


def test_a_rerun_without_a_judge_hides_no_verdict(tmp_path: Path) -> None:
    judged = replace(GOOD, judge="gpt-4o")
    write_run(tmp_path, ASKED, judged, "20261122_000001")
    write_run(tmp_path, ASKED, GOOD, "20261122_000002")
    found = made(tmp_path)
    row = row_of(found, "good")
    assert row["scores"]["description_score"]["value"] is not None and row["rates"]["judge_rate"] == 1
    assert row["runs"] == 1 and row["date"] == "2026-11-21"
    assert any("shown although it is not the newest: a judge graded it" in note for note in found["reading"]["notes"])
    write_run(tmp_path, ASKED, replace(GOOD, seed=7), "20261122_000003")
    (mark,) = row_of(made(tmp_path), "good")["marks"]
    assert mark["text"].startswith("2 runs with different answers, the newest that a judge graded shown")
