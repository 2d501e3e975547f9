"""From questions to scores and a submission: the functions that the task files name, and the real command."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mellm_plugin import megc_vqa
from mellm_plugin.datasets import store, synthme
from mellm_plugin.datasets.megc_vqa import prepare
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.datasets.vqa_questions import KINDS, LABELLED, NAME, TEST, stored_questions
from mellm_plugin.errors import DataError
from mellm_plugin.facs.labels import COARSE, LABELS
from mellm_plugin.language.prompts import fill_legend
from mellm_plugin.motion.settings import resolve
from mellm_plugin.scoring import summary
from mellm_plugin.scoring.metrics import Scores
from mellm_plugin.scoring.vqa_metrics import QUESTIONS, SHOWN

INTERVALS = {metric.name: metric.score for metric in QUESTIONS if metric.score is not None}

COARSE_Q = "What is the coarse expression class?"
FINE_Q = "What is the fine-grained expression class?"
UNITS_Q = "What are the action units?"
SHOWN_Q = "Is the action unit brow lowerer shown on the face?"
SIDE_Q = "Is the action unit dimpler located on the left or right face?"
COMBINED_Q = (
    "What are the action units present, and based on them, what is the fine-grained expression and the coarse "
    "expression class?"
)
DETAIL_Q = "Please analyse the micro-expression shown in this video in detail."
COMBINED_A = (
    "The action units present are: brow lowerer, lid tightener. Therefore, the fine-grained expression class is "
    "disgust, and the coarse expression class is negative."
)

# ---- reading --------------------------------------------------------------------------------------------------------


def doc(kind: str, answer: str | None = None, unit: int | None = None, **more: Any) -> dict[str, Any]:
    clip = {"id": "casme2/sub01/EP02_01f", "subject": "sub01", "dataset": "casme2", "file": "train.jsonl", "line": 1}
    labels = {"coarse_labels": list(COARSE), "fine_labels": list(LABELS["casme2"])}
    return {**clip, "kind": kind, "unit": unit, **labels, "answer": answer, "question": "?", **more}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (COMBINED_A, {"coarse": "negative", "fine": "disgust", "units": [4, 7]}),
        (
            "The observed action unit is dimpler, which fits fear and maps to the negative coarse expression class.",
            {"coarse": "negative", "fine": "fear", "units": [14]},
        ),
        (
            "The fine-grained expression class is others, and the coarse expression class is negative.",
            {"coarse": "negative", "fine": "others", "units": None},
        ),
        (
            "Coarse class: positive. Fine-grained class: disgust. AU12.",  # the two contradict each other: each is said
            {"coarse": "positive", "fine": "disgust", "units": [12]},
        ),
        (
            "Inspection: ... Conclusion: action units AU4+AU7; expression: disgust.",
            {"coarse": "negative", "fine": "disgust", "units": [4, 7]},
        ),
        ("I cannot tell.", {"coarse": None, "fine": None, "units": None}),
    ],
)
def test_both_classes_of_a_combined_answer(answer: str, expected: dict[str, Any]) -> None:
    assert megc_vqa.reading(doc("combined"), answer) == expected


@given(st.permutations(("lid tightener", "brow lowerer", "eye closure", "tilt right")), st.integers(1, 4))
def test_a_right_answer_is_handed_in_as_it_is(names: list[str], length: int) -> None:
    """So that BLEU of the expected answers against themselves is exactly 1."""
    listed = ", ".join(names[:length])
    items = scored(
        [("units", listed, listed), ("unit", "no", "no"), ("side", "left", "left"), ("combined", *[COMBINED_A] * 2)]
    )
    assert all(item["gold"] == item["read"] for item in items["vqa_bleu4_corpus"])
    assert megc_vqa.bleu4_corpus(items["vqa_bleu4_corpus"]) == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_thought_is_never_handed_in(kind: str) -> None:
    assert megc_vqa.submitted(doc(kind, unit=4), "<think>AU4 on the left, so negative or disgust? Yes") == ""
    assert "hm" not in megc_vqa.submitted(doc(kind, unit=4), "hm, AU12</think>It is not clear.")


@given(st.text(max_size=150), st.sampled_from(KINDS), st.sampled_from([None, 4]))
def test_any_answer_is_read_or_counted_as_unread(answer: str, kind: str, unit: int | None) -> None:
    items = megc_vqa.process_results(doc(kind, "yes, brow lowerer on the left: negative, disgust", unit), [answer])
    assert items["record"]["read"].keys() == items["record"]["gold"].keys()
    assert isinstance(megc_vqa.submitted(doc(kind, None, unit), answer), str)


def test_a_submission_has_the_form_of_the_challenge() -> None:
    assert megc_vqa.submitted(doc("coarse"), "The expression is negative (disgust).") == "negative"
    assert megc_vqa.submitted(doc("fine"), "Expression: Happy!") == "happiness"
    assert megc_vqa.submitted(doc("unit", unit=4), "action units AU1+AU2") == "no"
    assert megc_vqa.submitted(doc("side"), "It is on the left side.") == "left"
    assert megc_vqa.submitted(doc("units"), "<think>12</think> Action units: AU7+AU4+AU43.") == (
        "lid tightener, brow lowerer, eye closure"
    ), "in the order of the answer"
    assert megc_vqa.submitted(doc("units"), "Action units: none") == "none"
    assert megc_vqa.submitted(doc("units"), "hard to say") == "hard to say"
    left = "A <|box|> on the brow.</s> <|im_end|>\n<|endoftext|>\n"
    assert megc_vqa.submitted(doc("combined"), left) == "A <|box|> on the brow."
    assert megc_vqa.submitted(doc("combined"), COMBINED_A) == COMBINED_A
    assert megc_vqa.submitted(doc("coarse"), "I cannot tell.") == "I cannot tell."


# ---- scores ---------------------------------------------------------------------------------------------------------


def scored(answers: Sequence[tuple[str, str, str]], unit: int | None = 4) -> dict[str, list[Mapping[str, Any]]]:
    """Items by metric of (kind, expected answer, answer)."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for kind, expected, answer in answers:
        for metric, item in megc_vqa.process_results(doc(kind, expected, unit), [answer]).items():
            found.setdefault(metric, []).append(item)
    return found


def test_an_unreadable_answer_is_wrong_and_counted() -> None:
    items = scored([("unit", "yes", "Yes."), ("unit", "no", "hm"), ("side", "left", "hm"), ("units", "dimpler", "?")])
    assert megc_vqa.accuracy(items["vqa_au_shown_acc"]) == 0.5
    assert megc_vqa.majority_accuracy(items["vqa_au_shown_acc_majority"]) == 0.5
    assert megc_vqa.accuracy(items["vqa_au_side_acc"]) == 0
    assert megc_vqa.unit_f1(items["vqa_au_list_f1"]) == 0
    assert megc_vqa.parse_rate(items["vqa_parse_rate"]) == 0.25


def test_lists_of_units_by_hand() -> None:
    answers = [("units", "brow lowerer, dimpler", "dimpler, brow lowerer"), ("units", "dimpler", "brow lowerer")]
    items = scored(answers)
    # 4: one hit, one false alarm; 14: one hit, one miss
    assert megc_vqa.unit_f1(items["vqa_au_list_f1"]) == pytest.approx(2 / 3)
    assert megc_vqa.unit_f1_micro(items["vqa_au_list_f1_micro"]) == pytest.approx(4 / 6)
    assert megc_vqa.accuracy(items["vqa_au_list_exact"]) == 0.5


def test_what_is_scored_as_what() -> None:
    said = {"coarse": "negative", "fine": "disgust", "units": "brow lowerer", "unit": "yes", "side": "left"}
    said |= {"combined": COMBINED_A, "other": "It is fine."}
    items = scored([(kind, said[kind], said[kind]) for kind in KINDS])
    texts = [item["gold"] for item in items["vqa_rouge1_f1"]]
    assert texts == [said[kind] for kind in KINDS if kind not in ("coarse", "fine")], "everything but the two classes"
    assert megc_vqa.rouge1_f1(items["vqa_rouge1_f1"]) == megc_vqa.rouge1_recall(items["vqa_rouge1_recall"]) == 1
    assert megc_vqa.bleu4_corpus(items["vqa_bleu4_corpus"]) == pytest.approx(1)
    assert megc_vqa.bleu4_sentence_mean(items["vqa_bleu4_sentence_mean"]) == pytest.approx(1)
    assert len(items["vqa_coarse_uf1"]) == len(items["vqa_combined_coarse_uf1"]) == 1, "asked apart, scored apart"


def test_texts_are_scored_in_the_form_that_is_handed_in() -> None:
    items = scored([("unit", "yes", "Yes, the brow lowerer is shown."), ("units", "brow lowerer", "AU4")])
    assert megc_vqa.rouge1_f1(items["vqa_rouge1_f1"]) == 1


def test_an_expected_answer_that_cannot_be_read_is_compared_as_text_alone() -> None:
    items = scored([("side", "on the cheek", "left"), ("combined", "fear, in class negative", "fear, negative")])
    assert "vqa_au_side_acc" not in items and "vqa_combined_au_f1_micro" not in items
    assert len(items["vqa_rouge1_f1"]) == 2 and len(items["vqa_combined_fine_uf1"]) == 1


def random_questions(rng: random.Random) -> list[dict[str, dict[str, Any]]]:
    """The items of some questions of every kind on clips of a few faces, their answers right, wrong and unreadable."""
    said = {"coarse": list(COARSE), "fine": list(LABELS["casme2"]), "unit": ["yes", "no"], "side": ["left", "right"]}
    said["units"] = ["brow lowerer, lid tightener", "dimpler", "lip corner puller, brow lowerer", "none"]
    said["combined"] = [COMBINED_A, "The action unit is dimpler; fear, and the coarse class is negative."]
    said["other"] = ["It is a fine day, and the sun is out.", "It rains."]
    found = []
    for number in range(rng.randrange(1, 40)):
        kind = rng.choice(KINDS)
        subject = f"s{rng.randrange(4)}"
        asked = doc(kind, rng.choice(said[kind]), 4, subject=subject, id=f"casme2/{subject}/{number}", line=number)
        found.append(megc_vqa.process_results(asked, [rng.choice([*said[kind], *said[kind], "", "brow lowerer"])]))
    return found


def scores_of(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = Scores(QUESTIONS)([result["record"] for result in results])
    return found


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_every_metric_is_in_range_whatever_the_order_and_has_its_interval(rng: random.Random) -> None:
    results = random_questions(rng)
    found = scores_of(results)
    assert {name for name in found if not name.endswith("_majority")} <= INTERVALS.keys()
    for name, score in found.items():
        assert score["value"] is None or 0 <= score["value"] <= 1, name
        assert ("ci95" in score) == (name in INTERVALS), name
        if name in INTERVALS:
            whole = summary.interval(INTERVALS[name], [r[name] for r in results if name in r])
            assert whole.value == pytest.approx(score["value"]), name
            assert score["ci95"] == (None if whole.low is None else [whole.low, whole.high]), name
            assert score["stderr"] == whole.stderr, name
            assert score["ci95"] is None or 0 <= score["ci95"][0] <= score["ci95"][1] <= 1, name
    # as several processes hand their answers over: each its own, then those of the next
    rng.shuffle(results)
    ranks = [result for rank in range(3) for result in results[rank::3]]
    assert scores_of(ranks) == found


def test_every_metric_but_the_constant_ones_has_an_interval_and_a_run_shows_few() -> None:
    assert INTERVALS.keys() == {metric.name for metric in QUESTIONS if not metric.name.endswith("_majority")}
    rows = [one["metric"] for one in megc_vqa.metrics]
    assert rows == [*SHOWN, *(f"{name}_stderr" for name in SHOWN), "scores_stderr"] and len(SHOWN) <= 8
    test = [one["metric"] for one in getattr(megc_vqa, "metrics(test)")]
    assert test == ["vqa_submission_complete", "vqa_parse_rate", "answer_rate", "scores_stderr"]


def test_a_list_of_single_metrics_is_scored_too() -> None:
    """As task files of version 0.1 have it."""
    results = random_questions(random.Random(3))
    found = scores_of(results)
    for name, of in (("vqa_au_list_f1", "unit_f1"), ("vqa_rouge1_f1", "rouge1_f1"), ("vqa_parse_rate", "parse_rate")):
        assert getattr(megc_vqa, of)([r[name] for r in results if name in r]) == found[name]["value"]
    assert megc_vqa.ci95([r["ci95_stderr"] for r in results])["vqa_coarse_uf1"] == found["vqa_coarse_uf1"]["ci95"]


# ---- a prepared dataset ---------------------------------------------------------------------------------------------


def clip(dataset: str, subject: str, name: str, number: int) -> Sample:
    (drawn,) = synthme.clips("vqa", 1, start=number)
    return replace(synthme.sample(drawn), id=f"{dataset}/{subject}/{name}", dataset=dataset, subject=subject, clip=name)


def labelled(dataset: str, subject: str, filename: str, question: str, answer: str) -> dict[str, str]:
    return {"dataset": dataset, "subject": subject, "filename": filename, "question": question, "answer": answer}


TRAIN = [
    labelled("CASME_II", "01", "EP02_01f", COARSE_Q, "negative"),
    labelled("CASME_II", "01", "EP02_01f", FINE_Q, "disgust"),
    labelled("CASME_II", "01", "EP02_01f", UNITS_Q, "brow lowerer, lid tightener"),
    labelled("CASME_II", "01", "EP02_01f", SHOWN_Q, "yes"),
    labelled("SAMM", "6", "006_1_2", SIDE_Q, "left"),
    labelled("SAMM", "6", "006_1_2", COMBINED_Q, COMBINED_A),
    labelled("SAMM", "6", "006_1_2", FINE_Q, "helpless"),
    labelled("SAMM", "6", "006_1_2", "What is the weather like?", "It is fine."),
]
EVERY_Q = (COARSE_Q, FINE_Q, UNITS_Q, SHOWN_Q, SIDE_Q, DETAIL_Q)
ASKED = [{"video_id": v, "video": v, "question": q} for v in ("SAMM-1", "SAMM-2") for q in EVERY_Q]


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def write_frames(folder: Path, length: int = 14) -> None:
    """The frames of a drawn face whose brows are lowered and raised again."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    side, margin, half = synthme.SIZE + 32, 16, 0.44 * synthme.SIZE
    picture = synthme.Face(3).draw(rng, (side / 2, side / 2), half)
    field = synthme.displacement(["4"], [2.5], (side / 2, side / 2), half, (side, side))
    for number, share in enumerate(np.interp(np.arange(length), [2, 7, 12], [0, 1, 0])):
        frame = synthme.warp(picture, (field * share).astype(np.float32))[margin:-margin, margin:-margin]
        noisy = np.rint(frame + rng.standard_normal(frame.shape)).clip(0, 255).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"img{number}.png"), cv2.cvtColor(noisy, cv2.COLOR_RGB2BGR))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vqa")
    root = folder / "data"
    store.write("casme2", {"test": [clip("casme2", "sub01", "EP02_01f", 0)]}, {"source": "drawn"}, root=root)
    store.write("samm", {"test": [clip("samm", "006", "006_1_2", 1)]}, {"source": "drawn"}, root=root)
    for video in ("SAMM-1", "SAMM-2"):
        write_frames(folder / "videos" / video)
    files = [write_lines(folder / "train.jsonl", TRAIN), write_lines(folder / "samm_test_to_answer.jsonl", ASKED)]
    prepare(files, folder / "videos", root)
    return root


@pytest.fixture
def prepared(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MELLM_DATA", str(root))
    return root


def questions(root: Path, split: str, cache: Path) -> Any:
    import datasets

    return megc_vqa.docs(datasets.load_dataset(str(root / NAME), split=split, cache_dir=str(cache)))


def test_one_row_a_question_and_no_frame_copied(prepared: Path, tmp_path: Path, log: list[str]) -> None:
    import datasets

    clips = datasets.load_dataset(str(prepared / NAME), split=LABELLED, cache_dir=str(tmp_path))
    before = {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    rows = megc_vqa.docs(clips)
    assert rows["question"][:] == [row["question"] for row in TRAIN]
    assert rows["answer"][:] == [row["answer"] for row in TRAIN]
    assert rows["kind"][:] == ["coarse", "fine", "units", "unit", "side", "combined", "fine", "other"]
    assert rows["id"][:] == ["casme2/sub01/EP02_01f"] * 4 + ["samm/006/006_1_2"] * 4
    assert rows["unit"][:] == [None, None, None, 4, 14, None, None, None]
    assert rows[7]["apex"].tobytes() == clips[1]["apex"].tobytes() and rows[0]["onset"].size == (224, 224)
    assert rows[0]["fine_labels"] == list(LABELS["casme2"])
    assert rows[6]["fine_labels"] == [*LABELS["samm"], "helpless"], "a label that only the answers have"
    plain = rows.remove_columns(["onset", "apex"])
    assert len(plain) == 8 and plain[5]["kind"] == "combined"
    assert {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()} == before
    assert any("no known kind" in line and "weather" in line for line in log)


def test_messages_for_models_with_and_without_maps(prepared: Path, tmp_path: Path) -> None:
    rows = questions(prepared, LABELLED, tmp_path)
    ((onset, apex, asked),) = (message["content"] for message in megc_vqa.doc_to_messages(rows[0], {"prompt": "map"}))
    assert (onset["frame"], apex["frame"]) == ("onset", "apex") and onset["nose"] == pytest.approx(rows[0]["nose"])
    ending = f"{COARSE_Q} Answer with one of these alone: negative, positive, surprise."
    assert asked["text"].endswith(ending) and asked["map_text"].endswith(ending)
    assert "{legend}" in asked["map_text"] and "{legend}" not in asked["text"]
    assert megc_vqa.doc_to_text(rows[0]) == asked["text"]
    assert megc_vqa.doc_to_text(rows[0], {"prompt": "map"}) == fill_legend(asked["map_text"], resolve("robust").palette)
    ((drawn, told),) = (message["content"] for message in megc_vqa.doc_to_messages(rows[3], {"images": "map"}))
    assert drawn["url"].size == (224, 224) and "frame" not in drawn
    assert told["text"].endswith(f"{SHOWN_Q} Answer with yes or no alone.") and "{legend}" not in told["text"]
    assert megc_vqa.doc_to_text(rows[7]).endswith("What is the weather like?"), "nothing is added to what is not known"


def test_the_submission_is_the_test_file_with_answers(prepared: Path, tmp_path: Path, log: list[str]) -> None:
    rows = questions(prepared, TEST, tmp_path / "cache")
    said = ["negative", "?", "brow lowerer", "Yes.", "hm", "The brows are lowered; fear."] * 2
    items = [megc_vqa.process_results(row, [answer]) for row, answer in zip(rows, said, strict=True)]
    keys = {"record", "vqa_parse_rate", "answer_rate", "scores_stderr", "ci95_stderr", "vqa_submission_complete"}
    assert all(item.keys() == keys for item in items)
    lines = [item["vqa_submission_complete"] for item in items]
    assert megc_vqa.submission(lines[::-1], Namespace(output_path=str(tmp_path / "out"))) == 1, "in any order"
    (file,) = (tmp_path / "out").rglob("*.*")
    assert file.name == "samm_test_pred.jsonl"
    written = [json.loads(line) for line in file.read_text().splitlines()]
    answers = ["negative", "?", "brow lowerer", "yes", "hm", "The brows are lowered; fear."] * 2
    assert written == [{**row, "answer": answer} for row, answer in zip(ASKED, answers, strict=True)]
    assert not log
    never = megc_vqa.process_results(rows[0], ["[LMMS_EVAL_REQUEST_FAILED after 3 retries] Request timed out."])
    assert never.keys() == keys - {"vqa_submission_complete"}, (
        "an incomplete submission says so: it hands in no failure"
    )
    assert megc_vqa.parse_rate([never["vqa_parse_rate"]]) is None


def test_an_incomplete_submission_says_so(prepared: Path, tmp_path: Path, log: list[str]) -> None:
    row = questions(prepared, TEST, tmp_path / "cache")[1]
    item = megc_vqa.process_results(row, ["disgust"])["vqa_submission_complete"]
    assert megc_vqa.submission([item], Namespace(output_path=str(tmp_path / "out"))) == pytest.approx(1 / 12)
    (file,) = (tmp_path / "out").rglob("*.*")
    assert file.name == "samm_test_pred.incomplete.jsonl"
    answers = [json.loads(line)["answer"] for line in file.read_text().splitlines()]
    assert answers == [None, "disgust", *[None] * 10]
    assert any("INCOMPLETE" in line and "11 of 12" in line for line in log)
    megc_vqa.submission([item], Namespace(output_path=str(tmp_path / "out")))
    assert len(list((tmp_path / "out").rglob("*.jsonl"))) == 2, "no submission is overwritten"


def test_a_submission_that_cannot_be_written_where_it_should_is_not_lost(
    prepared: Path, tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    row = questions(prepared, TEST, tmp_path / "cache")[0]
    item = megc_vqa.process_results(row, ["positive"])["vqa_submission_complete"]
    (tmp_path / "file").write_text("in the way")
    megc_vqa.submission([item], Namespace(output_path=str(tmp_path / "file")))
    assert list(tmp_path.glob("megc_vqa_*/samm_test_pred.incomplete.jsonl"))
    assert any("cannot be written" in line for line in log)


def test_what_is_not_prepared_is_told_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"mellm prepare megc_vqa --questions"):
        _ = megc_vqa.data_test
    store.write("casme2", {"test": [clip("casme2", "sub01", "EP02_01f", 0)]}, {}, root=tmp_path)
    prepare([write_lines(tmp_path / "train.jsonl", TRAIN[:4])])
    assert megc_vqa.data_labelled == str(tmp_path / NAME)
    with pytest.raises(
        DataError, match=r"has no split 'test', only labelled; .*its test files.* mellm prepare megc_vqa"
    ):
        _ = megc_vqa.data_test
    assert stored_questions()[0].text == COARSE_Q


# ---- the real command -----------------------------------------------------------------------------------------------


def lmms_eval(arguments: Sequence[str], root: Path, folder: Path) -> str:
    """What the command says, for the datasets below a root; its results are in `folder`/results."""
    environment = {**os.environ, "MELLM_DATA": str(root), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    done = subprocess.run(
        [sys.executable, "-m", "lmms_eval", *arguments, "--output_path", "results", "--log_samples"],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_test_files_of_the_challenge_alone_make_a_submission(root: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "samm_test_to_answer.jsonl", ASKED)
    prepare([tmp_path / "samm_test_to_answer.jsonl"], root.parent / "videos", tmp_path / "data")
    answers = ["--model", "mellm_constant", "--model_args", "answer=yes", "--tasks", "megc_vqa_test"]
    said = lmms_eval(answers, tmp_path / "data", tmp_path)
    (submission,) = (tmp_path / "results" / "submissions").rglob("*.jsonl")
    assert submission.name == "samm_test_pred.jsonl", said[-3000:]
    assert [json.loads(line) for line in submission.read_text().splitlines()] == [
        {**row, "answer": "yes"} for row in ASKED
    ]


@pytest.mark.slow
def test_lmms_eval_scores_the_questions_and_writes_a_submission(root: Path, tmp_path: Path) -> None:
    said = lmms_eval(["--model", "mellm", "--tasks", "megc_vqa,megc_vqa_test"], root, tmp_path)
    (file,) = (tmp_path / "results").rglob("*_results.json")
    results = json.loads(file.read_text())["results"]
    scores, test = results["megc_vqa"], results["megc_vqa_test"]
    assert scores["scores_stderr,none"].keys() == {metric.name for metric in QUESTIONS}, said[-3000:]
    assert all(0 <= score["value"] <= 1 for score in scores["scores_stderr,none"].values())
    assert [name for name in SHOWN if f"{name},none" in scores] == [*SHOWN]
    assert test["vqa_submission_complete,none"] == 1
    (submission,) = (tmp_path / "results" / "submissions").rglob("*.jsonl")
    assert str(submission) in said and "INCOMPLETE" not in said
    written = [json.loads(line) for line in submission.read_text().splitlines()]
    assert [{**line, "answer": ""} for line in written] == [{**row, "answer": ""} for row in ASKED]
    assert all(line["answer"] for line in written)
    (samples,) = (tmp_path / "results").rglob("*_samples_megc_vqa.jsonl")
    assert "weather" in samples.read_text()
