"""`mellm read`, as a user calls it: samples files, JSON lines, bad lines between good ones."""

from __future__ import annotations

import io
import json
import random
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from mellm_plugin import meu
from mellm_plugin.cli import main
from mellm_plugin.cli.read import _ASKS, _labels_named
from mellm_plugin.errors import InputError
from mellm_plugin.language.prompts import ASKS

CORPUS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "golden" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
]
LABELS = ["disgust", "happiness", "surprise"]


def sample(answer: object, gold: dict[str, Any] | None, **item: object) -> dict[str, Any]:
    """A line of a samples file, in the form in which lmms-eval logs it."""
    return {
        "doc_id": 0,
        "filtered_resps": answer,
        "input": "Name the expression.",
        "record": {"id": "casme2/sub01/EP01", "labels": LABELS, "asks": "all", "gold": gold, **item},
    }


def written(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def rows_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("answer", "labels", "row"),
    [
        ("AU4+AU7, disgust", "casme2", {"aus": [4, 7], "fine": "disgust", "coarse": "negative", "unparsed": None}),
        ("", "samm", {"aus": None, "fine": None, "coarse": None, "unparsed": "never given: no text"}),
        (
            "AU12 (left)+AU6; happy",
            "casme2",
            {"aus": [6, 12], "fine": "happiness", "coarse": "positive", "unparsed": None, "sides": {"12": "L"}},
        ),
        ("表情：厌恶", "disgust+fear", {"aus": None, "fine": "disgust", "coarse": "negative", "unparsed": None}),
    ],
)
def test_one_json_line_an_answer_from_standard_input(
    answer: str, labels: str, row: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = io.TextIOWrapper(io.BytesIO(json.dumps({"answer": answer}).encode()))
    monkeypatch.setattr(sys, "stdin", given)
    assert main(["read", "--labels", labels, "--json", "-"]) == 0
    said = capsys.readouterr()
    assert rows_of(said.out) == [row] and said.err == ""


def test_a_samples_file_is_shown_and_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = {"aus": ["L4", "R6/12"], "label": "disgust", "emotion": "disgust", "coarse": "negative"}
    unlabelled = {"aus": ["12"], "label": None, "emotion": None, "coarse": None}
    path = written(
        tmp_path / "samples.jsonl",
        [
            sample("AU4 (left)+AU12; disgust", gold),
            sample(["AU4; happiness"], gold, id="casme2/sub02/EP02"),
            sample([["I cannot tell."]], gold),
            sample("12", unlabelled, asks="aus", labels=[]),
            sample("AU12", unlabelled),
        ],
    )
    assert main(["read", path]) == 0
    out = capsys.readouterr().out
    old = Path(path).read_text().replace('"record"', '"parse_rate"')  # the name of version 0.1
    (tmp_path / "old.jsonl").write_text(old)
    assert main(["read", str(tmp_path / "old.jsonl")]) == 0 and capsys.readouterr().out == out
    assert "casme2/sub01/EP01  AU4 (left)+AU12; disgust (negative)  [expected AU4 (left)+AU6/12; disgust]\n" in out
    assert "casme2/sub02/EP02  AU4; happiness (positive)  [expected" in out
    assert "not read: names neither an expression nor action units" in out
    assert out.split("\n\n")[1].splitlines() == [
        "5 answers",
        "  expression read: 2 of 3 (66.7%)",
        "  action units read: 4 of 5 (80.0%)",
        "  expression right: 1 of 3 (33.3%)",
        "  coarse class right: 1 of 3 (33.3%)",
        "  action units exactly right: 3 of 5 (60.0%)",
        "  sides of named action units right: 1 of 2 (50.0%)",
        "  not read, names neither an expression nor action units: 1",
        "  not read, names no expression: 1",
    ]


def test_reads_what_the_tasks_read_in_any_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = {"id": "a", "subject": "s", "dataset": "casme2", "emotion": "disgust", "coarse": "negative", "aus": ["4"]}
    rows, logged, corpus = [], [], CORPUS[::4]
    for case in corpus:
        asks = case.get("asks", "all")
        labels = _labels_named(case["labels"]) if isinstance(case["labels"], str) else case["labels"]
        doc = {**clip, "labels": labels, "scored_aus": [4], "asks": asks, "onset": b"", "apex": b""}
        record = meu.process_results(doc, [case["answer"]])["record"]
        rows.append({"resps": [[case["answer"]]], "record": record})
        read = record["read"]
        logged.append({**{key: read[key] for key in ("aus", "coarse", "unparsed", "sides")}, "fine": read["label"]})
    assert _ASKS == ASKS  # written twice: importing the prompts would make every command slower
    order = list(range(len(corpus)))
    random.Random(1).shuffle(order)
    for numbers, lines in ((sorted(order), rows), (order, corpus)):
        path = written(tmp_path / "samples.jsonl", [lines[i] for i in numbers])
        assert main(["read", "--json", path]) == 0
        shown = rows_of(capsys.readouterr().out)
        assert [{"sides": {}, **row} for row in shown] == [logged[i] for i in numbers]


def test_bad_lines_are_named_and_do_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "answers.jsonl"
    bad = [
        b"not json",
        b'{"answer": "\xff"}',
        b"[1, 2]",
        b'{"text": "AU4"}',
        b'{"answer": 4, "labels": "casme", "asks": "au"}',
        b"[" * 100_000,
        json.dumps(sample("AU4", {"aus": [4], "label": None})).encode(),
        json.dumps(sample("AU4", {"aus": ["4x"], "label": None})).encode(),
        b'{"answer": "AU4", "labels": [1]}',
    ]
    good = b'{"answer": "AU4; disgust", "labels": "casme2"}'
    path.write_bytes(b"\xef\xbb\xbf" + good + b"\r\n\n" + b"\n".join(bad) + b"\n" + good)
    assert main(["read", "--json", str(path)]) == 1
    said = capsys.readouterr()
    assert rows_of(said.out) == [{"aus": [4], "fine": "disgust", "coarse": "negative", "unparsed": None}] * 2
    reasons = ["expected JSON", "expected JSON", "'[1, 2]'", "found the fields text", "Did you mean 'casme3'"]
    reasons += ["expected JSON", "expected aus (codes)", "4x", "a list of labels"]
    for number, found in enumerate(reasons, 3):
        assert any(line.startswith(f"{path}, line {number}: ") and found in line for line in said.err.splitlines())
    assert sum(f"{path}, line 7: " in line for line in said.err.splitlines()) == 3  # all faults of a line
    assert said.err.splitlines()[-1] == "mellm: 9 of 11 lines could not be used; the reasons are above"


def test_answers_that_were_never_given_are_counted_apart_by_their_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = {"aus": ["4"], "label": "disgust", "emotion": "disgust", "coarse": "negative"}
    failed = "[LMMS_EVAL_REQUEST_FAILED after 5 retries] Error code: 429 - {'error': 'AU4; disgust'}"
    rows = [sample("AU4; disgust", gold), *(sample(text, gold) for text in (failed, "", [[None]], "[" + failed[1:]))]
    path = written(tmp_path / "20260101_000000_samples_casme2_meu.jsonl", rows)
    assert main(["read", path]) == 0
    out = capsys.readouterr().out
    assert "casme2/sub01/EP01  never given: request failed (HTTP 429)  [expected AU4; disgust]" in out
    summary = out.split("\n\n")[1].splitlines()
    assert summary[:3] == ["5 answers", "  never given, request failed (HTTP 429): 2", "  never given, no text: 2"]
    assert "  expression right: 1 of 1 (100.0%)" in summary
    results = tmp_path / "20260101_000000_results.json"
    results.write_text("{}")
    assert main(["read", str(results)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"a results file, which holds no answers; give {path}")


@pytest.mark.parametrize("row", [{"record": {"kind": "side", "read": {}}}, {"vqa_parse_rate": {}}])
def test_answers_to_questions_are_refused_once(row: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    """Not line by line, and not as clips without labels."""
    file = written(tmp_path / "vqa.jsonl", [{"filtered_resps": "left", **row}] * 9)
    assert main(["read", file, "--labels", "casme2"]) == 1
    first, more, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{file}, line 1: ") and "ME-VQA" in first and "mellm report" in first
    assert more == f"{file}: 8 more lines like line 1" and last.startswith("mellm: 9 of 9 lines")


def test_several_files_wrong_files_and_wrong_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [written(tmp_path / f"{name}.jsonl", [{"answer": f"AU{name}; fear"}]) for name in (4, 7)]
    assert main(["read", *paths, "--labels", "samm"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("line 1  AU4; fear (negative)\nline 1  AU7; fear (negative)\n\n2 answers\n")
    assert main(["read", paths[0], "--asks", "aus"]) == 0
    for given_words, found in (
        ([*paths, str(tmp_path / "absent"), "--labels", "samm"], "absent: expected a samples file"),
        ([str(tmp_path)], "found a folder"),
        ([str(tmp_path / "none.jsonl")], "found no file"),
        (["-", "--labels", "sam"], "Did you mean 'samm'"),
        ([paths[0]], "line 1: labels: none in this line; give --labels"),
    ):
        capsys.readouterr()
        assert main(["read", *given_words]) == 1
        said = capsys.readouterr()
        assert found in said.err and said.out.strip() in ("", "0 answers")
    for text in ("", "a++b", "lovely"):
        with pytest.raises(InputError, match="expected a dataset"):
            _labels_named(text)
    assert _labels_named("Happy+disgust+tense") == ("happiness", "disgust", "tense")


def test_memory_does_not_grow_with_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def peak(lines: int) -> int:
        path = written(tmp_path / "answers.jsonl", [{"answer": f"AU4; disgust {i}"} for i in range(lines)])
        with capsys.disabled(), open("/dev/null", "w") as nowhere, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", nowhere)
            tracemalloc.start()
            assert main(["read", path, "--labels", "casme2"]) == 0
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return found

    peak(200)  # fills the caches of the reader
    assert peak(900) < peak(200) + 40_000


def test_a_line_without_end_loses_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.jsonl").write_text('{"answer": "AU4, disgust"}\n')
    assert main(["read", "/dev/zero", str(tmp_path / "good.jsonl"), "--labels", "casme2"]) == 1
    printed = capsys.readouterr()
    assert "/dev/zero, line 1: expected at most 64000000 bytes" in printed.err and "1 of 2 lines" in printed.err
    assert "AU4; disgust" in printed.out
