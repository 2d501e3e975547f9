"""From questions to scores and a submission: the functions that the task files name, and the real command."""

from __future__ import annotations

import json
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
from user_commands import environment, evaluate, results, samples, scores

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
    ("answer", "coarse", "fine", "units"),
    [
        (COMBINED_A, "negative", "disgust", [4, 7]),
        ("The unit is dimpler, which fits fear and the negative coarse class.", "negative", "fear", [14]),
        ("The fine class is others, and the coarse class is negative.", "negative", "others", None),
        # the two contradict each other: each is said
        ("Coarse class: positive. Fine-grained class: disgust. AU12.", "positive", "disgust", [12]),
        ("Inspection: .. Conclusion: action units AU4+AU7; expression: disgust.", "negative", "disgust", [4, 7]),
        ("I cannot tell.", None, None, None),
    ],
)
def test_both_classes_of_a_combined_answer(answer: str, coarse: Any, fine: Any, units: Any) -> None:
    assert megc_vqa.reading(doc("combined"), answer) == {"coarse": coarse, "fine": fine, "units": units}


@pytest.mark.parametrize("kind", KINDS)
def test_a_thought_is_never_handed_in(kind: str) -> None:
    assert megc_vqa.submitted(doc(kind, unit=4), "<think>AU4 on the left, so negative or disgust? Yes") == ""
    assert "hm" not in megc_vqa.submitted(doc(kind, unit=4), "hm, AU12</think>It is not clear.")


@settings(max_examples=25)
@given(st.text(max_size=150), st.sampled_from(KINDS), st.sampled_from([None, 4]))
def test_any_answer_is_read_or_counted_as_unread(answer: str, kind: str, unit: int | None) -> None:
    items = megc_vqa.process_results(doc(kind, "yes, brow lowerer on the left: negative, disgust", unit), [answer])
    assert items["record"]["read"].keys() == items["record"]["gold"].keys()
    assert isinstance(megc_vqa.submitted(doc(kind, None, unit), answer), str)


@pytest.mark.parametrize(
    ("kind", "answer", "submitted"),
    [
        ("coarse", "The expression is negative (disgust).", "negative"),
        ("coarse", "I cannot tell.", "I cannot tell."),
        ("fine", "Expression: Happy!", "happiness"),
        ("unit", "action units AU1+AU2", "no"),
        ("side", "It is on the left side.", "left"),
        # in the order of the answer
        ("units", "<think>12</think> Action units: AU7+AU4+AU43.", "lid tightener, brow lowerer, eye closure"),
        ("units", "Action units: none", "none"),
        ("units", "hard to say", "hard to say"),
        ("combined", "A <|box|> on the brow.</s> <|im_end|>\n<|endoftext|>\n", "A <|box|> on the brow."),
        ("combined", COMBINED_A, COMBINED_A),
    ],
)
def test_a_submission_has_the_form_of_the_challenge(kind: str, answer: str, submitted: str) -> None:
    assert megc_vqa.submitted(doc(kind, unit=4), answer) == submitted


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
    answers = [("units", "brow lowerer, dimpler", "dimpler, brow lowerer"), ("units", "dimpler", "brow lowerer")]
    items = scored(answers)
    # 4: one hit, one false alarm; 14: one hit, one miss
    assert megc_vqa.unit_f1(items["vqa_au_list_f1"]) == pytest.approx(2 / 3)
    assert megc_vqa.unit_f1_micro(items["vqa_au_list_f1_micro"]) == pytest.approx(4 / 6)
    assert megc_vqa.accuracy(items["vqa_au_list_exact"]) == 0.5


def test_what_is_scored_as_what() -> None:
    said = {"coarse": "negative", "fine": "disgust", "units": "lid tightener, brow lowerer, eye closure", "unit": "yes"}
    said |= {"side": "left", "combined": COMBINED_A, "other": "It is fine."}
    items = scored([(kind, said[kind], said[kind]) for kind in KINDS])
    texts = [item["gold"] for item in items["vqa_rouge1_f1"]]
    assert texts == [said[kind] for kind in KINDS if kind not in ("coarse", "fine")], "everything but the two classes"
    assert [item["read"] for item in items["vqa_rouge1_f1"]] == texts, "a right answer is handed in as it is"
    for name in ("rouge1_f1", "rouge1_recall", "bleu4_corpus", "bleu4_sentence_mean"):
        assert getattr(megc_vqa, name)(items[f"vqa_{name}"]) == pytest.approx(1), name
    assert len(items["vqa_coarse_uf1"]) == len(items["vqa_combined_coarse_uf1"]) == 1, "asked apart, scored apart"
    items = scored([("unit", "yes", "Yes, the brow lowerer is shown."), ("units", "brow lowerer", "AU4")])
    assert megc_vqa.rouge1_f1(items["vqa_rouge1_f1"]) == 1, "in the form that is handed in"
    # an expected answer that cannot be read is compared as text alone
    items = scored([("side", "on the cheek", "left"), ("combined", "fear, in class negative", "fear, negative")])
    assert "vqa_au_side_acc" not in items and "vqa_combined_au_f1_micro" not in items
    assert len(items["vqa_rouge1_f1"]) == 2 and len(items["vqa_combined_fine_uf1"]) == 1


def test_a_run_shows_few_metrics_and_scores_all_with_their_intervals() -> None:
    rows = [one["metric"] for one in megc_vqa.metrics]
    assert rows == [*SHOWN, *(f"{name}_stderr" for name in SHOWN), "scores_stderr"] and len(SHOWN) <= 8
    test = [one["metric"] for one in getattr(megc_vqa, "metrics(test)")]
    assert test == ["vqa_submission_complete", "vqa_parse_rate", "answer_rate", "scores_stderr"]
    said = [("coarse", "negative", "negative"), ("coarse", "positive", "hm"), ("units", "dimpler", "brow lowerer")]
    said += [("fine", "fear", "fear"), ("unit", "no", "yes"), ("side", "left", "left"), ("combined", *[COMBINED_A] * 2)]
    results = [
        megc_vqa.process_results(doc(kind, gold, 4, subject=f"s{n % 3}", line=n), [answer])
        for n, (kind, gold, answer) in enumerate([*said, *said, *said])
    ]
    found: dict[str, dict[str, Any]] = Scores(QUESTIONS)([result["record"] for result in results])
    assert found.keys() == {metric.name for metric in QUESTIONS}
    for name, score in found.items():
        assert ("ci95" in score) == (name in INTERVALS) != name.endswith("_majority"), name
        if name in INTERVALS:
            whole = summary.interval(INTERVALS[name], [r[name] for r in results if name in r])
            assert whole.value == pytest.approx(score["value"]) and score["stderr"] == whole.stderr, name
            assert score["ci95"] == (None if whole.low is None else [whole.low, whole.high]), name
    # task files of version 0.1 list single metrics
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


def test_an_incomplete_submission_says_so_and_none_is_overwritten_or_lost(
    prepared: Path, tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = questions(prepared, TEST, tmp_path / "cache")[1]
    item = megc_vqa.process_results(row, ["disgust"])["vqa_submission_complete"]
    out = tmp_path / "out"
    assert megc_vqa.submission([item], Namespace(output_path=str(out))) == pytest.approx(1 / 12)
    (file,) = out.rglob("*.*")
    assert file.name == "samm_test_pred.incomplete.jsonl"
    answers = [json.loads(line)["answer"] for line in file.read_text().splitlines()]
    assert answers == [None, "disgust", *[None] * 10]
    assert any("INCOMPLETE" in line and "11 of 12" in line for line in log)
    megc_vqa.submission([item], Namespace(output_path=str(out)))
    assert len(list(out.rglob("*.jsonl"))) == 2
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    megc_vqa.submission([item], Namespace(output_path=str(file)))  # which is no folder
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
    # the test files alone are enough for a submission
    monkeypatch.setenv("MELLM_DATA", str(tmp_path / "alone"))
    prepare([write_lines(tmp_path / "samm_test_to_answer.jsonl", ASKED)], root.parent / "videos")
    assert megc_vqa.data_test == str(tmp_path / "alone" / NAME)
    assert questions(tmp_path / "alone", TEST, tmp_path / "cache")["question"][:] == [row["question"] for row in ASKED]


# ---- the real command -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_lmms_eval_scores_the_questions_and_writes_a_submission(root: Path, tmp_path: Path) -> None:
    runs = {
        "mellm": {"tasks": "megc_vqa,megc_vqa_test"},
        "yes": {"model": "mellm_constant", "model_args": "answer=yes", "tasks": "megc_vqa_test"},
    }
    done = evaluate(runs, environment(tmp_path, MELLM_DATA=str(root)), tmp_path)
    found = results(tmp_path / "mellm")["results"]
    assert scores(tmp_path / "mellm", "megc_vqa").keys() == {metric.name for metric in QUESTIONS}
    assert all(0 <= score["value"] <= 1 for score in scores(tmp_path / "mellm", "megc_vqa").values())
    assert [name for name in SHOWN if f"{name},none" in found["megc_vqa"]] == [*SHOWN]
    assert found["megc_vqa_test"]["vqa_submission_complete,none"] == 1
    for name in runs:
        (submission,) = (tmp_path / name / "submissions").rglob("*.jsonl")
        assert str(submission) in done.stdout + done.stderr and submission.name == "samm_test_pred.jsonl"
        written = [json.loads(line) for line in submission.read_text().splitlines()]
        assert [{**line, "answer": ""} for line in written] == [{**row, "answer": ""} for row in ASKED]
        assert all(line["answer"] for line in written)
        assert name != "yes" or {line["answer"] for line in written} == {"yes"}
    assert "INCOMPLETE" not in done.stdout + done.stderr
    assert samples(tmp_path / "mellm", "megc_vqa")[7]["target"] == "It is fine."
