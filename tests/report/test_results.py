"""Reading what lmms-eval wrote: real layout, damaged files, files of others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_files import Asked, Model, changed, changed_line, rescored, write_run

from mellm_plugin.report import formats, leaderboard, results
from mellm_plugin.report.runs import Clip

ASKED = Asked(clips=12, subjects=4)
FORMS = [json.loads(line) for line in Path(__file__).with_name("both_forms.jsonl").read_text("utf-8").splitlines()]
"""Lines as version 0.1 wrote them, with items under each metric, and as later versions write them, with one record."""


def test_a_run_is_read_with_all_that_a_report_needs(tmp_path: Path) -> None:
    first, samples = write_run(tmp_path / "a" / "b", ASKED, Model(args="batch_size=4", backend={"motion": "off"}))
    reading = results.read([tmp_path])
    assert (reading.files, reading.faults, reading.notes) == (2, [], [])
    (run,) = reading.runs
    assert (run.task, run.model, run.model_args) == ("synthme_meu", "mellm", "batch_size=4")
    assert run.backend == {"motion": "off"}
    assert (run.original, run.effective, run.limited, run.damaged) == (12, 12, False, 0)
    assert (run.results, run.samples) == (first, samples)
    assert run.date is not None and run.date.isoformat() == "2026-11-22T14:53:16+00:00"  # the name has Singapore's time
    assert run.tokens == (1200, 300) and run.seconds == 38.5
    assert run.versions == {"lmms_eval": "0.7.3", "mellm_plugin": "0.1.0"}
    assert [clip.place for clip in run.clips] == list(range(12))
    docs = ASKED.docs()
    assert [clip.id for clip in run.clips] == [doc["id"] for doc in docs]
    assert [clip.record["gold"]["label"] for clip in run.clips] == [doc["emotion"] for doc in docs]
    assert [list(clip.record["gold"]["aus"]) for clip in run.clips] == [doc["aus"] for doc in docs]
    assert [clip.motion_px for clip in run.clips] == [doc["motion_px"] for doc in docs]
    assert all("conclusion" in clip.text.lower() for clip in run.clips)
    assert "emotion_uf1" in run.metrics and not any("stderr" in metric for metric in run.metrics)
    lines = samples.read_text(encoding="utf-8").splitlines(keepends=True)
    samples.write_text("".join([*lines[1::2], *lines[::2]]), encoding="utf-8")  # several processes in any order
    assert results.read([tmp_path]).runs[0] == run


def test_a_message_without_text_is_no_answer_as_lmms_eval_logs_it(tmp_path: Path) -> None:
    _, samples = write_run(tmp_path, ASKED, Model(), answers=["", "None", *Model().answers(ASKED.docs())[2:]])
    changed_line(samples, 1, lambda row: row.update(filtered_resps="None"))  # scored as the empty text that it was
    changed_line(samples, 3, lambda row: row.update(filtered_resps=None))
    found = [clip.unanswered for clip in results.read([tmp_path]).runs[0].clips[:4]]
    assert found == ["no text", None, "no text", None]


def test_a_file_brings_the_one_beside_it_and_nothing_is_read_twice(tmp_path: Path) -> None:
    first, samples = write_run(tmp_path, ASKED, Model())
    write_run(tmp_path, ASKED, Model(seed=3), date="20261122_235959")
    for asked in ([first], [samples], [first, samples, first]):
        reading = results.read(asked)
        assert len(reading.runs) == 1 and len(reading.runs[0].clips) == 12
    assert len(results.read([tmp_path, first, tmp_path / "."]).runs) == 2


def known(clip: Clip) -> Clip:
    """A clip without the texts of a question about a class, which are not scored and which version 0.1 left out."""
    if clip.kind not in ("coarse", "fine"):
        return clip
    return replace(clip, record={**clip.record, "expected": None, "submitted": None})


@pytest.mark.parametrize("task", dict.fromkeys(row["task"] for row in FORMS))
def test_lines_of_both_forms_are_the_same_clips(tmp_path: Path, task: str) -> None:
    runs = []
    for form in ("old", "new"):
        file = tmp_path / form / f"20261122_225316_samples_{task}.jsonl"
        file.parent.mkdir()
        file.write_text("".join(json.dumps(row[form]) + "\n" for row in FORMS if row["task"] == task), encoding="utf-8")
        reading = results.read([file])
        assert reading.faults == []
        runs += reading.runs
    old, new = runs
    assert len(old.clips) >= 2 and [*map(known, old.clips)] == [*map(known, new.clips)]
    assert (old.asks, old.labels, old.units) == (new.asks, new.labels, new.units)
    assert {"synthme_sensitivity": "threshold_px", "megc_vqa": "vqa_coarse_uf1"}.get(task, "au_f1") in new.metrics
    assert old.clips[0].unanswered is None and (old.clips[-1].unanswered == "no text") == (task == "synthme_meu")


def test_scores_of_both_forms_are_the_same(tmp_path: Path) -> None:
    flat = {"alias": "synthme_meu", "parse_rate,none": 1.0, "parse_rate_stderr,none": 0.0, "au_f1,none": 0.5}
    old = {**flat, "au_exact,none": 0.25, "ci95_stderr,none": {"au_f1": [0.4, 0.6], "parse_rate": None}}
    nested: dict[str, Any] = {"au_f1": {"value": 0.5, "stderr": 0.1, "ci95": [0.4, 0.6]}, "au_exact": {"value": 0.25}}
    nested["parse_rate"] = {"value": 1.0, "stderr": 0.0, "ci95": None}
    new = {**flat, "record,none": [], "scores_stderr,none": nested, "scores_stderr_stderr,none": "N/A"}
    for name, scores in (("old", old), ("new", new)):
        document = {"results": {"synthme_meu": scores}}
        (tmp_path / f"{name}_results.json").write_text(json.dumps(document), encoding="utf-8")
    first, second = results.read([tmp_path]).runs
    assert first.values == second.values == {"parse_rate": 1.0, "au_f1": 0.5, "au_exact": 0.25}
    assert first.ends["au_f1"] == second.ends["au_f1"] == (0.4, 0.6) and second.ends["parse_rate"] is None


def test_damaged_lines_are_reported_with_their_place_and_the_rest_is_kept(tmp_path: Path) -> None:
    _, samples = write_run(tmp_path, ASKED, Model())
    changed_line(samples, 2, lambda row: row["record"]["gold"].update(aus=["4", "twelve"], label=5))
    changed_line(samples, 3, lambda row: row["record"].update(subject=7))
    changed_line(samples, 4, lambda row: row.pop("filtered_resps"))
    changed_line(samples, 5, lambda row: row.update(parse_rate=[1], record=[1]))
    changed_line(samples, 6, lambda row: row.update(filtered_resps="a \ud800 b"))  # text that no file can hold
    text = samples.read_text(encoding="utf-8")
    samples.write_text(text[:-40], encoding="utf-8")
    reading = results.read([tmp_path])
    (run,) = reading.runs
    assert len(run.clips) == 7 and run.damaged == 5
    assert {fault.file for fault in reading.faults} == {str(samples)}
    assert [fault.text for fault in reading.faults][:4] == [
        "line 2: gold.aus.1: expected a canonical code of an action unit, found twelve; "
        "gold.label: expected a text, found 5",
        "line 3: subject: expected a text, found 7",
        "line 4: filtered_resps: expected the answer, found none",
        "line 5: parse_rate: expected an object with what was read of the clip, found [1]",
    ]
    assert "line 12: " in reading.faults[4].text and "ends in the middle" in reading.faults[4].text
    run.clips[1].text.encode("utf-8")
    whole = samples.read_text(encoding="utf-8").splitlines(keepends=True)
    samples.write_text("nonsense\n" * 9 + whole[0] * 2 + "".join(whole[6:11]), encoding="utf-8")
    reading = results.read([tmp_path])
    assert len(reading.runs[0].clips) == 6 and reading.runs[0].damaged == 10
    assert any("5 more lines like these" in fault.text for fault in reading.faults)
    samples.write_text(whole[0] * 2 + "".join(whole[6:11]), encoding="utf-8")
    double, fewer = results.read([tmp_path]).faults
    assert "line 2: clip " in double.text and "has an answer already; this is the same" in double.text
    assert "expected 12 clips" in fewer.text and "found 7" in fewer.text


def test_parts_of_a_results_file_that_cannot_be_used_are_faults_and_the_rest_is_kept(tmp_path: Path) -> None:
    file, _ = write_run(tmp_path, ASKED, Model())
    changed(file, lambda document: document["config"].update(model=7, offset="many"))
    changed(file, lambda document: document.update({"n-samples": {"synthme_meu": {"original": -1, "effective": 12}}}))
    reading = results.read([tmp_path])
    assert [fault.text for fault in reading.faults] == [
        "config.model: expected a text, found 7",
        "config.offset: expected a whole number, found many",
        "n-samples.synthme_meu.original: expected a whole number, found -1",
    ]
    (run,) = reading.runs
    assert (run.model, run.original, run.effective, len(run.clips)) == ("", None, 12, 12)
    assert run.backend == {"bundled": True, "motion": "off"}
    rescored(file, "au_f1", float("nan"))
    rescored(file, "emotion_uf1", "a lot")
    reading = results.read([tmp_path])
    assert reading.runs[0].values["au_f1"] is reading.runs[0].values["emotion_uf1"] is None
    assert "emotion_uf1: expected a number, found a lot" in reading.faults[-1].text and len(reading.faults) == 4


def test_broken_results_files_are_named_and_the_others_kept(tmp_path: Path) -> None:
    write_run(tmp_path, ASKED, Model())
    (tmp_path / "20261122_000000_results.json").write_text('{"results": {"synthme_meu"', encoding="utf-8")
    (tmp_path / "20261122_000001_results.json").write_text("[1, 2]", encoding="utf-8")
    (tmp_path / "20261122_000002_results.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "20261122_000003_results.json").write_text("[" * 100_000, encoding="utf-8")
    (tmp_path / "my_results.json").write_text('{"mine": 1}', encoding="utf-8")
    reading = results.read([tmp_path, tmp_path / "nowhere"])
    assert len(reading.runs) == 1 and "nowhere" in str(reading.faults.pop(0))
    assert sorted(Path(fault.file).name[14] for fault in reading.faults) == ["0", "1", "2", "3"]
    assert len(reading.notes) == 1 and "my_results.json" in reading.notes[0]


def test_other_tasks_are_counted_and_groups_are_not(tmp_path: Path) -> None:
    file, samples = write_run(tmp_path, ASKED, Model())

    more = {"mme": {"alias": "mme", "score,none": 1.0}, "meu": {"alias": "meu", "parse_rate,none": 1}}
    changed(file, lambda d: (d["results"].update(more), d["group_subtasks"].update(meu=["synthme_meu"])))
    samples.with_name(samples.name.replace("synthme_meu", "mme")).write_text('{"doc_id": 0}\n')
    (tmp_path / "20260101_000000_samples_pope.jsonl").write_text('{"doc_id": 0, "score": 1}\n')
    reading = results.read([tmp_path])
    assert dict(reading.other_tasks) == {"mme": 1, "pope": 1}
    assert [run.task for run in reading.runs] == ["synthme_meu"] and reading.faults == []


def test_a_run_may_lack_its_results_or_its_samples(tmp_path: Path) -> None:
    write_run(tmp_path / "a", ASKED, Model())[0].unlink()
    write_run(tmp_path / "b", ASKED, Model())[1].unlink()
    without_results, without_samples = sorted(results.read([tmp_path]).runs, key=lambda run: run.results is not None)
    assert without_results.results is None and len(without_results.clips) == 12
    assert without_results.values == {} and "emotion_uf1" in without_results.metrics
    assert without_samples.samples is None and without_samples.clips == ()
    assert without_samples.values["emotion_uf1"] is not None


def test_limit_and_offset(tmp_path: Path) -> None:
    (part,) = results.read([*write_run(tmp_path / "part", ASKED, Model(), limit=5)]).runs
    file, samples = write_run(tmp_path, ASKED, Model())
    changed(file, lambda document: document["config"].update(limit=500))
    assert part.limited and not results.read([file]).runs[0].limited, "all clips were asked for"
    lines = samples.read_text(encoding="utf-8").splitlines(keepends=True)
    samples.write_text("".join(lines[4:]), encoding="utf-8")
    changed(file, lambda document: document["config"].update(offset=4))  # lmms-eval writes 12 of 12 all the same
    reading = results.read([file])
    assert reading.faults == [] and (reading.runs[0].effective, reading.runs[0].limited) == (8, True)


def test_tokens_of_some_clips_are_not_those_of_all(tmp_path: Path) -> None:
    file, samples = write_run(tmp_path, ASKED, Model())
    changed_line(samples, 3, lambda row: row.update(token_counts=[None]))  # out of lmms-eval's cache
    cost = {"docs": 12.0, "docs_with_token_counts": 11.0}
    changed(file, lambda document: document["efficiency"]["by_task"]["synthme_meu"].update(cost))
    assert results.read([tmp_path]).runs[0].tokens is None


def test_results_of_others_and_a_broken_one_of_loso(tmp_path: Path) -> None:
    write_run(tmp_path, ASKED, Model())
    for name, text in (("theirs", '{"eval_loss": 1}'), ("broken", '{"results": {"syn')):
        _, samples = write_run(tmp_path / name, ASKED, Model(seed=2))
        samples.with_name("20261122_225316_results.json").unlink()
        samples.rename(samples.with_name("predictions.jsonl"))
        samples.with_name("results.json").write_text(text, encoding="utf-8")
    reading = results.read([tmp_path])
    assert len(reading.runs) == 1 and not reading.other_tasks
    assert [Path(fault.file).parent.name for fault in reading.faults] == ["broken"]
    assert len(reading.notes) == 1 and "theirs" in reading.notes[0]


def test_leave_one_subject_out(tmp_path: Path) -> None:
    """The layout of `mellm loso`: the version of the task is in the results files of the folds."""
    file, samples = write_run(tmp_path, ASKED, Model(backend={"motion": "off", "adapter_sha256": "ab"}))
    document = json.loads(file.read_text(encoding="utf-8"))
    fold = tmp_path / "folds" / "1"
    fold.mkdir(parents=True)
    held = {key: {"synthme_meu_held_out": document[key]["synthme_meu"]} for key in ("results", "configs")}
    (fold / "results.json").write_text(json.dumps({**document, **held}), encoding="utf-8")
    for key in ("configs", "higher_is_better", "efficiency", "throughput"):
        del document[key]
    document["config"] = {"model": "mellm", "model_args": "", "finetune": {"base": "bundled"}}
    document["loso"] = {"complete": False, "failed": {"2": "no memory"}, "folds": [{"name": "1", "people": {}}]}
    document["date"] = "2026-11-22T10:00:00+00:00"
    (tmp_path / "results.json").write_text(json.dumps(document), encoding="utf-8")
    file.unlink()
    samples.rename(tmp_path / "predictions.jsonl")
    reading = results.read([tmp_path])
    assert reading.faults == [] and len(reading.runs) == 1
    (run,) = reading.runs
    assert run.loso is not None and run.loso["failed"] == {"2": "no memory"}
    assert run.model_args == "base=bundled, 1 folds" and run.backend == {"motion": "off"}
    assert run.metadata["prompt_version"] == "1" and len(run.clips) == 12


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def test_null_units_to_score_are_no_units(tmp_path: Path) -> None:
    _, samples = write_run(tmp_path, Asked(clips=2, subjects=2), Model())
    rows = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["record"]["scored_aus"] = None
    samples.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    (board,) = leaderboard.make(results.read([tmp_path])).boards
    assert board["clips"] == 2


@given(data=st.data())
@settings(max_examples=25)
def test_no_value_of_any_type_breaks_the_report(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "strange"
    file, samples = write_run(folder, Asked(clips=2, subjects=2), Model())
    key = data.draw(st.sampled_from(sorted(json.loads(file.read_text(encoding="utf-8")))))
    changed(file, lambda document: document.update({key: data.draw(_JSON)}))

    def strange(line: dict[str, Any]) -> None:
        part = data.draw(st.sampled_from([line, line["record"], line["record"]["gold"], line["record"]["facts"]]))
        part[data.draw(st.sampled_from(sorted(part)))] = data.draw(_JSON)

    changed_line(samples, 1, strange)
    found = leaderboard.make(results.read([folder])).to_dict()
    formats.markdown(found), formats.comma_separated(found), formats.latex(found), formats.plain_json(found)
