"""Real lmms-eval with what the package bundles: several models, a failing server, a killed run, two processes."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fictitious
import pytest
from user_commands import SOURCE, evaluate, kill_when, records, results, run, samples, scores

from mellm_plugin.models import bundled_folder
from mellm_plugin.report import leaderboard
from mellm_plugin.report import results as report_results

pytestmark = pytest.mark.slow

LIMIT = 24
DECIDED = {"model_args": "decide=likelihood", "tasks": "synthme_emotion", "limit": 6}
ACCELERATE = ("accelerate", "launch", "--cpu", "--num_processes", "1", "-m", "lmms_eval")


# ---- evaluations in one process -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluated(machine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder with the results of several evaluations by one process under accelerate, and what it printed.

    The last one names model arguments that do not exist, which ends the process.
    """
    folder = tmp_path_factory.mktemp("evaluated")
    shutil.copytree(SOURCE / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    tasks = run(["mellm", "tasks", "--path"], machine, folder).stdout.strip()
    (folder / "own").mkdir()
    (folder / "own" / "mine.yaml").write_text(f"include: {tasks}/synthme/synthme_meu.yaml\ntask: my_synthme\n")
    pixels = f"min_pixels={168**2},max_pixels={168**2}"  # its default is seven times what the bundled model knows
    qwen = f"pretrained={bundled_folder()},device=cpu,device_map=cpu,{pixels}"
    tasks = "synthme_meu,synthme_meu_map"
    decided = {**DECIDED, "use_cache": str(folder / "answers")}
    runs: dict[str, dict[str, Any]] = {
        "decided": decided,
        "again": decided,
        "plain": {"tasks": tasks, "limit": LIMIT},
        "own": {"tasks": "my_synthme,synthme_meu", "include_path": "own", "limit": 2},
        "example": {"tasks": "mydata_meu", "include_path": "examples/mydata"},
        "unread": {"model": "dummy", "model_args": "response=I cannot tell.", "tasks": "synthme_meu", "limit": 6},
        "frames": {"model_args": "motion=off", "tasks": "synthme_meu", "limit": LIMIT},
        "qwen": {"model": "qwen2_5_vl", "model_args": qwen, "tasks": tasks, "limit": LIMIT},
        "wrong": {"model_args": "pretraned=x,motoin=off", "tasks": "synthme_meu"},
    }
    done = evaluate(runs, machine, folder, code=1, program=ACCELERATE)
    return folder, done.stdout + done.stderr


def test_the_map_drawn_by_the_task_is_the_one_that_the_model_draws(evaluated: tuple[Path, str]) -> None:
    drawn, given = (samples(evaluated[0] / "plain", task) for task in ("synthme_meu", "synthme_meu_map"))
    assert len(drawn) == LIMIT and [s["filtered_resps"] for s in drawn] == [s["filtered_resps"] for s in given]


def test_a_report_has_the_scores_of_the_run(evaluated: tuple[Path, str]) -> None:
    folder = evaluated[0] / "plain"
    data = leaderboard.make(report_results.read([folder])).to_dict()
    assert data["reading"]["faults"] == []
    # The task that draws the maps stands with the one that shows the frames.
    tasks = {"mellm bundled": "synthme_meu", "mellm bundled on maps": "synthme_meu_map"}
    (board,) = data["boards"]
    keys = {entry["key"]: entry["name"] for entry in data["entries"]}
    assert board["task"] == "synthme_meu" and set(keys.values()) == set(tasks)
    for row in [row for row in board["rows"] if row["kind"] == "model"]:
        assert row["marks"] == [{"kind": "limit", "text": f"{LIMIT} of 300 clips"}]
        found = scores(folder, tasks[keys[row["entry"]]])
        for metric, score in row["scores"].items():
            assert score["value"] == pytest.approx(found[metric]["value"]), metric
        assert all(clip["motion_px"] > 0 for clip in board["clip_list"])
        for answer in board["answers"][row["entry"]]:
            said = [answer["text"][start:end] for start, end, kind in answer["read"] if kind == "unit"]
            assert {int(word.removeprefix("AU")) for word in said} == {*answer["aus"]}


def test_a_users_own_tasks_stand_beside_ours(evaluated: tuple[Path, str]) -> None:
    assert results(evaluated[0] / "own")["results"].keys() >= {"my_synthme", "synthme_meu"}


def test_the_example_dataset_runs_without_preparation(evaluated: tuple[Path, str]) -> None:
    folder = evaluated[0] / "example"
    found = {name: score["value"] for name, score in scores(folder, "mydata_meu").items()}
    assert found["au_f1_micro"] > 0.8 > found["au_f1_all_present"] + 0.3
    assert found["emotion_acc"] >= 0.7 > found["emotion_acc_majority"]
    assert found["parse_rate"] >= 0.8 and found["au_parse_rate"] == found["motion_plausible_rate"] == 1
    version = results(folder)["configs"]["mydata_meu"]["metadata"]["data"]
    assert version["test"]["clips"] == 10 and version["skipped"] == 0
    ids = [record["id"] for record in records(folder, "mydata_meu")]
    assert sorted(ids)[0] == "clips/p1/c01" and len(ids) == 10


def test_records_say_why_an_answer_was_not_read(evaluated: tuple[Path, str]) -> None:
    for record in records(evaluated[0] / "unread", "synthme_meu"):
        assert record["id"] and record["subject"] and record["gold"]["label"]
        assert (record["read"]["label"], record["read"]["aus"]) == (None, None)
        assert record["read"]["unparsed"] == "names neither an expression nor action units"
    found = scores(evaluated[0] / "unread", "synthme_meu")
    assert {found[name]["value"] for name in ("parse_rate", "emotion_uf1", "au_f1", "au_exact")} == {0}


def test_without_maps_the_bundled_model_sees_nothing(evaluated: tuple[Path, str]) -> None:
    assert scores(evaluated[0] / "frames", "synthme_meu")["au_f1_micro"]["value"] < 0.35


def test_lmms_evals_own_qwen_reads_the_maps_that_the_task_draws(evaluated: tuple[Path, str]) -> None:
    frames, maps = (
        scores(evaluated[0] / "qwen", task)["au_f1_micro"]["value"] for task in ("synthme_meu", "synthme_meu_map")
    )
    assert maps > 0.7 > 0.35 > frames


def test_a_wrong_model_argument_names_the_near_one(evaluated: tuple[Path, str]) -> None:
    folder, printed = evaluated
    assert "pretrained" in printed.partition("pretraned")[2] and "Did you mean 'motion'" in printed
    assert not (folder / "wrong").exists()


def probabilities(folder: Path) -> dict[str, dict[str, float]]:
    return {record["id"]: record["probabilities"] for record in records(folder, "synthme_emotion")}


def test_probabilities_of_labels_are_in_the_samples_file_and_survive_the_cache(evaluated: tuple[Path, str]) -> None:
    folder, printed = evaluated
    found, again = (probabilities(folder / name) for name in ("decided", "again"))
    assert found == again and "6/6 cache hits" in printed
    for record in records(folder / "decided", "synthme_emotion"):
        of = record["probabilities"]
        assert list(of) == record["labels"] and sum(of.values()) == pytest.approx(1, abs=1e-5)
        assert record["read"]["label"] == max(of, key=of.__getitem__)
    error = scores(folder / "decided", "synthme_emotion")["emotion_ece"]["value"]
    data = leaderboard.make(report_results.read([folder / "decided"])).to_dict()
    (row,) = (row for row in data["boards"][0]["rows"] if row["kind"] == "model")
    assert data["reading"]["faults"] == [] and row["reliability"]["ece"] == pytest.approx(error)
    assert all(record["probabilities"] is None for record in records(folder / "plain", "synthme_meu"))


def test_two_processes_give_the_answers_of_one(
    evaluated: tuple[Path, str], machine: dict[str, str], tmp_path: Path
) -> None:
    plain = evaluated[0] / "plain"
    torchrun = ("torchrun", "--standalone", "--nproc_per_node", "2", "-m", "lmms_eval")
    runs = {"two": {"tasks": "synthme_meu", "limit": LIMIT, "batch_size": 4}, "decided": {**DECIDED, "batch_size": 2}}
    evaluate(runs, machine, tmp_path, program=torchrun)
    one_by_id, two_by_id = (
        {s["doc_id"]: s["filtered_resps"] for s in samples(folder, "synthme_meu")}
        for folder in (plain, tmp_path / "two")
    )
    assert len(two_by_id) == LIMIT
    # Batches are padded, so a rare answer may differ in its last bits' decision.
    assert sum(one_by_id[i] == two_by_id[i] for i in range(LIMIT)) >= LIMIT - 1
    one, two = scores(plain, "synthme_meu"), scores(tmp_path / "two", "synthme_meu")
    assert abs(one["emotion_uf1"]["value"] - two["emotion_uf1"]["value"]) < 0.1
    decided = [probabilities(folder / "decided") for folder in (evaluated[0], tmp_path)]
    assert decided[0].keys() == decided[1].keys()
    assert all(decided[1][id] == pytest.approx(of, abs=1e-4) for id, of in decided[0].items())
    # The bootstrap does not depend on ranks: the same answers have the same intervals.
    same = [name for name in one if "stderr" in one[name] and one[name]["value"] == two[name]["value"]]
    assert {"motion_plausible_rate", "parse_rate"} <= set(same)
    assert all(one[name]["stderr"] == pytest.approx(two[name]["stderr"]) for name in same)


# ---- runs that are interrupted --------------------------------------------------------------------------------------


class _Server:
    """A chat server that fails a third of its first requests and gives one answer without text; then it is well."""

    def __init__(self, unwell: int) -> None:
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                number, outer.asked = outer.asked, outer.asked + 1
                failed = number % 3 == 0 and number < unwell
                text = None if number == 1 else "Conclusion: action units AU4; expression: anger."
                choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
                used = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
                body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": used}
                raw = json.dumps({"error": {"message": "unwell"}} if failed else {**body, "choices": [choice]}).encode()
                self.send_response(400 if failed else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def test_a_server_that_fails_leaves_answers_out_of_the_scores_and_a_run_without_rank(
    machine: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "few.yaml").write_text(
        "include: mellm_plugin/tasks/synthme/synthme_meu.yaml\ntask: few_meu\nprocess_docs: !function few.docs\n"
    )
    (tmp_path / "few.py").write_text(
        "from mellm_plugin import meu\ndef docs(clips): return meu.protocol(clips.select(range(0, 300, 20)))\n"
    )
    server = _Server(unwell=15)
    url = f"http://127.0.0.1:{server.http.server_port}/v1"
    one = {
        "model": "openai",
        "model_args": f"model_version=m,base_url={url},api_key=k,max_retries=1,num_concurrent=1",
        "tasks": "few_meu",
        "include_path": str(tmp_path),
        "use_cache": str(tmp_path / "cache"),
    }
    printed = evaluate({"before": one, "later": one}, machine, tmp_path).stdout
    server.http.shutdown()
    # lmms-eval's cache does not keep what failed: the second evaluation asks for that again, and for nothing else
    assert server.asked == 15 + 6
    found = {name: score["value"] for name, score in scores(tmp_path / "before", "few_meu").items()}
    assert found["answer_rate"] == pytest.approx(9 / 15)
    assert "6 of 15 answers were never given (request failed (HTTP 400): 5, no text: 1)" in printed
    answered = [record for record in records(tmp_path / "before", "few_meu") if record["unanswered"] is None]
    right = sum(record["gold"]["label"] == "anger" for record in answered)
    assert found["emotion_acc"] == pytest.approx(right / 9) and found["parse_rate"] == 1
    assert results(tmp_path / "before")["packages"]["lmms_eval"].startswith("0.7.")

    def row(name: str) -> dict[str, Any]:
        run(["mellm", "report", name, "-o", f"report-{name}", "--no-page"], machine, tmp_path)
        (board,) = json.loads((tmp_path / f"report-{name}" / "report.json").read_text())["boards"]
        (found,) = [row for row in board["rows"] if row["kind"] == "model"]
        return dict(found)

    before, later = row("before"), row("later")
    assert not before["ranked"] and before["scores"]["emotion_uf1"]["rank"] is None
    assert [mark["kind"] for mark in before["marks"]] == ["unanswered"]
    assert later["ranked"] and later["scores"]["emotion_uf1"]["rank"] == 1 and later["marks"] == []


def test_a_killed_run_goes_on_where_it_was(machine: dict[str, str], tmp_path: Path) -> None:
    environment = {**machine, "LMMS_CACHE_RUN_ID": "killed"}
    command = ["lmms-eval", "--model", "mellm", "--tasks", "synthme_meu", "--limit", str(LIMIT), "--use_cache", "cache"]
    command += ["--output_path", "results", "--log_samples"]
    saved = tmp_path / "cache" / "runs" / "killed" / "rank_0.audit.jsonl"

    def has_a_third() -> bool:
        return saved.exists() and saved.read_text().count("\n") >= LIMIT // 3

    kill_when(has_a_third, command, environment, tmp_path)
    assert not list((tmp_path / "results").rglob("*_results.json"))
    before = saved.read_text().splitlines()
    assert LIMIT // 3 <= len(before) < LIMIT
    kept = shutil.copy(saved, tmp_path / "before.jsonl")

    run(command, environment, tmp_path)
    answered: Counter[int] = Counter()
    for file in {Path(kept), *(tmp_path / "cache").rglob("*.audit.jsonl")}:
        if file.name == "cache.audit.jsonl":
            continue  # the merged copy of the others
        lines = file.read_text().splitlines()
        fresh = lines[len(before) :] if file == saved else lines
        answered.update(json.loads(line)["doc_id"] for line in fresh)
    assert answered == Counter(range(LIMIT)), "an answer was computed twice, or lost"
    assert len(records(tmp_path, "synthme_meu")) == LIMIT


# ---- from sheets to scores ------------------------------------------------------------------------------------------


def test_prepared_datasets_go_from_sheet_and_frames_to_scores(machine: dict[str, str], tmp_path: Path) -> None:
    """Fictitious frames of drawn faces; docs/log.md has the figures at the published numbers of clips."""
    data = {**machine, "MELLM_DATA": str(tmp_path / "data")}
    clips = {"casme2": 14, "samm": 16, "smic": 9}
    for name, count in clips.items():
        made = fictitious.WRITERS[name](tmp_path / name, count, frames=16 if name == "smic" else 8)
        run(["mellm", "prepare", name, *made.arguments, "--strict"], data, tmp_path)
    done = evaluate({"all": {"tasks": "meu,megc2019_meu"}}, data, tmp_path)
    for name, count in clips.items():
        assert results(tmp_path / "all")["n-samples"][f"{name}_meu"]["effective"] == count
    found = {task: scores(tmp_path / "all", task) for task in (*(f"{name}_meu" for name in clips), "megc2019_meu")}
    for task, of_task in found.items():
        assert of_task["coarse_uf1"]["value"] > 2 * of_task["coarse_uf1_majority"]["value"], task
    for name in ("casme2", "samm"):
        units = found[f"{name}_meu"]
        assert units["au_f1"]["value"] > 2 * units["au_f1_all_present"]["value"]
    assert "of the 442 clips of the composite are prepared" in done.stdout + done.stderr
