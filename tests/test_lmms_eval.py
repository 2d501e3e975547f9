"""The real `lmms-eval` command with what the package bundles, as a newcomer runs it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fictitious
import pytest

from mellm_plugin.report import leaderboard, results

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
LIMIT = 24


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A machine that has nothing prepared or cached, and no network."""
    home = tmp_path_factory.mktemp("home")
    cleared = {k: v for k, v in os.environ.items() if not k.startswith(("LMMS_", "HF_", "MELLM_", "CUDA_"))}
    places = {
        "MELLM_DATA": str(home / "data"),
        "MELLM_CACHE": str(home / "cache"),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "1",
    }
    places["ACCELERATE_USE_CPU"] = "true"  # so that one process and two compute on the same device
    return {**cleared, **places, "OMP_NUM_THREADS": "1", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def _run(command: Sequence[str], environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done


def _evaluate(arguments: Sequence[str], environment: dict[str, str], folder: Path) -> tuple[dict[str, Any], str]:
    """Run `lmms-eval` and return its results file with what it printed."""
    command = ["lmms-eval", *arguments, "--output_path", "results", "--log_samples"]
    done = _run(command, environment, folder)
    return _results(folder), done.stdout + done.stderr


def _results(folder: Path) -> dict[str, Any]:
    (file,) = (folder / "results").rglob("*_results.json")
    return dict(json.loads(file.read_text()))


def _samples(folder: Path, task: str) -> list[dict[str, Any]]:
    (file,) = (folder / "results").rglob(f"*_samples_{task}.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def plain(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The README's first command, on some clips."""
    folder = tmp_path_factory.mktemp("plain")
    results, printed = _evaluate(
        ["--model", "mellm", "--tasks", "synthme_meu,synthme_meu_map", "--limit", str(LIMIT)], environment, folder
    )
    return folder, results, printed


def test_scores_are_far_above_constant_answers(plain: tuple[Path, dict[str, Any], str]) -> None:
    _, results, _ = plain
    scores = results["results"]["synthme_meu"]
    assert scores["au_f1_micro,none"] > 0.7 > scores["au_f1_all_present,none"] + 0.3
    assert scores["emotion_acc,none"] > 0.5 > scores["emotion_acc_majority,none"]
    assert scores["parse_rate,none"] == scores["au_parse_rate,none"] == scores["motion_plausible_rate,none"] == 1


def test_the_map_drawn_by_the_task_is_the_one_that_the_model_draws(plain: tuple[Path, dict[str, Any], str]) -> None:
    folder, _, _ = plain
    drawn, given = (_samples(folder, task) for task in ("synthme_meu", "synthme_meu_map"))
    assert [s["filtered_resps"] for s in drawn] == [s["filtered_resps"] for s in given]


def test_the_bundled_model_is_named_in_the_log_and_in_the_results(plain: tuple[Path, dict[str, Any], str]) -> None:
    _, results, printed = plain
    assert printed.count("this is the BUNDLED model") == 1
    assert '"bundled": true, "motion": {"estimator": "local"' in results["config"]["model_backend"]


def test_samples_hold_what_was_read(plain: tuple[Path, dict[str, Any], str]) -> None:
    folder, _, _ = plain
    samples = _samples(folder, "synthme_meu")
    assert len(samples) == LIMIT
    for sample in samples:
        item = sample["parse_rate"]
        assert item["id"].startswith(f"synthme/{item['subject']}/") and item["gold"]["label"] and item["read"]["label"]
        assert item["gold"]["aus"] is not None and item["read"]["aus"] is not None
        assert item["read"]["unparsed"] is None
        assert sample["motion_plausible_rate"]["doubts"] == []


def test_a_report_of_it_has_its_scores(plain: tuple[Path, dict[str, Any], str]) -> None:
    folder, found, _ = plain
    reading = results.read([folder])
    data = leaderboard.make(reading).to_dict()
    assert data["reading"]["faults"] == []
    # The task that draws the maps stands with the one that shows the frames.
    tasks = {"mellm bundled": "synthme_meu", "mellm bundled on maps": "synthme_meu_map"}
    (board,) = data["boards"]
    keys = {entry["key"]: entry["name"] for entry in data["entries"]}
    assert board["task"] == "synthme_meu" and set(keys.values()) == set(tasks)
    for row in [row for row in board["rows"] if row["kind"] == "model"]:
        assert row["marks"] == [{"kind": "limit", "text": f"{LIMIT} of 300 clips"}]
        for metric, score in row["scores"].items():
            task = tasks[keys[row["entry"]]]
            assert score["value"] == pytest.approx(found["results"][task][f"{metric},none"]), metric
        assert all(clip["motion_px"] > 0 for clip in board["clip_list"])
        for answer in board["answers"][row["entry"]]:
            said = [answer["text"][start:end] for start, end, kind in answer["read"] if kind == "unit"]
            assert {int(word.removeprefix("AU")) for word in said} == {*answer["aus"]}


def test_descriptions_are_scored_without_a_judge(plain: tuple[Path, dict[str, Any], str]) -> None:
    folder, results, printed = plain
    found = results["results"]["synthme_meu"]
    assert found["description_facts_f1,none"] > 0.7 > found["description_facts_f1_majority,none"] + 0.2
    assert found["description_contradiction_rate,none"] < 0.1 and found["description_rate,none"] > 0.7
    assert "description_facts_f1 " in printed and "(describing " in printed
    items = [sample["description_facts_f1"] for sample in _samples(folder, "synthme_meu")]
    said = [claim for item in items for claim in item["said"]]
    right = sum(claim["right"] for claim in said) / len(said)
    assert right == pytest.approx(found["description_facts_precision,none"])


def test_scores_have_their_standard_error_and_interval(plain: tuple[Path, dict[str, Any], str]) -> None:
    folder, results, printed = plain
    found = results["results"]["synthme_meu"]
    told = found["ci95_stderr,none"]
    assert {"emotion_uf1", "coarse_acc", "au_f1", "au_f1_micro", "au_exact", "parse_rate"} < told.keys()
    for name, (low, high) in told.items():
        assert 0 <= low <= found[f"{name},none"] <= high <= 1, name
        assert found[f"{name}_stderr,none"] >= 0
    samples = [sample["parse_rate"] for sample in _samples(folder, "synthme_meu")]
    right: dict[str, list[bool]] = {}
    for item in samples:
        right.setdefault(item["subject"], []).append(item["gold"]["label"] == item["read"]["label"])
    counts = [(sum(of), len(of)) for of in right.values()]
    rng = random.Random(0)
    drawn = [[rng.choice(counts) for _ in counts] for _ in range(4000)]
    values = [sum(hits for hits, _ in of) / sum(n for _, n in of) for of in drawn]
    expected = statistics.pstdev(values) * (len(counts) / (len(counts) - 1)) ** 0.5
    assert found["emotion_acc_stderr,none"] == pytest.approx(expected, rel=0.1)
    assert printed.count(f"synthme: {LIMIT} clips of {len(counts)} subjects") == 2, "once for each of two tasks"
    assert not [line for line in printed.splitlines() if line.startswith("|") and ("ci95" in line or "_stderr" in line)]


def test_samples_say_why_an_answer_was_not_read(environment: dict[str, str], tmp_path: Path) -> None:
    command = ["--model", "dummy", "--model_args", "response=I cannot tell.", "--tasks", "synthme_meu", "--limit", "6"]
    results, _ = _evaluate(command, environment, tmp_path)
    for sample in _samples(tmp_path, "synthme_meu"):
        item = sample["parse_rate"]
        assert item["id"] and item["subject"] and item["gold"]["label"]
        assert (item["read"]["label"], item["read"]["aus"]) == (None, None)
        assert item["read"]["unparsed"] == "names neither an expression nor action units"
    scores = results["results"]["synthme_meu"]
    assert (
        scores["parse_rate,none"] == scores["emotion_uf1,none"] == scores["au_f1,none"] == scores["au_exact,none"] == 0
    )


class _Server:
    """A chat server that fails a third of the requests, and says nothing in one answer, until it is `well`."""

    def __init__(self) -> None:
        self.well, self.asked = False, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                number, outer.asked = outer.asked, outer.asked + 1
                failed = number % 3 == 0 and not outer.well
                text = None if number == 1 and not outer.well else "Conclusion: action units AU4; expression: anger."
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
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "few.yaml").write_text(
        "include: mellm_plugin/tasks/synthme/synthme_meu.yaml\ntask: few_meu\nprocess_docs: !function few.docs\n"
    )
    (tmp_path / "few.py").write_text(
        "from mellm_plugin import meu\ndef docs(clips): return meu.protocol(clips.select(range(0, 300, 20)))\n"
    )
    server = _Server()
    url = f"http://127.0.0.1:{server.http.server_port}/v1"
    command = ["--model", "openai", "--tasks", "few_meu", "--include_path", ".", "--use_cache", "cache"]
    command += ["--model_args", f"model_version=m,base_url={url},api_key=k,max_retries=1,num_concurrent=1"]
    results, printed = _evaluate(command, environment, tmp_path)
    scores = results["results"]["few_meu"]
    assert server.asked == 15 and scores["answer_rate,none"] == pytest.approx(9 / 15)
    assert "6 of 15 answers were never given (request failed (HTTP 400): 5, no text: 1)" in printed
    gold = [sample["parse_rate"]["gold"]["label"] for sample in _samples(tmp_path, "few_meu")]
    given = [sample["parse_rate"]["unanswered"] is None for sample in _samples(tmp_path, "few_meu")]
    right = sum(label == "anger" for label, answered in zip(gold, given, strict=True) if answered)
    assert scores["emotion_acc,none"] == pytest.approx(right / 9) and scores["parse_rate,none"] == 1
    assert results["packages"]["lmms_eval"].startswith("0.7.")

    def row() -> dict[str, Any]:
        _run(["mellm", "report", "results", "-o", "report", "--no-page"], environment, tmp_path)
        ((found,),) = (
            [row for row in board["rows"] if row["kind"] == "model"]
            for board in json.loads((tmp_path / "report" / "report.json").read_text())["boards"]
        )
        return dict(found)

    shown = row()
    assert not shown["ranked"] and shown["scores"]["emotion_uf1"]["rank"] is None
    assert [mark["kind"] for mark in shown["marks"]] == ["unanswered"]
    # what failed is no answer that lmms-eval's cache keeps: it alone is asked anew
    server.well = True
    _run(["lmms-eval", *command, "--output_path", "results", "--log_samples"], environment, tmp_path)
    assert server.asked == 15 + 6
    shown = row()
    assert shown["ranked"] and shown["scores"]["emotion_uf1"]["rank"] == 1 and shown["marks"] == []
    server.http.shutdown()


def test_without_maps_the_model_sees_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    results, _ = _evaluate(
        ["--model", "mellm", "--model_args", "motion=off", "--tasks", "synthme_meu", "--limit", str(LIMIT)],
        environment,
        tmp_path,
    )
    assert results["results"]["synthme_meu"]["au_f1_micro,none"] < 0.35


def test_a_killed_run_goes_on_where_it_was(environment: dict[str, str], tmp_path: Path) -> None:
    environment = {**environment, "LMMS_CACHE_RUN_ID": "killed"}
    command = ["lmms-eval", "--model", "mellm", "--tasks", "synthme_meu", "--limit", str(LIMIT), "--use_cache", "cache"]
    command += ["--output_path", "results", "--log_samples"]
    saved = tmp_path / "cache" / "runs" / "killed" / "rank_0.audit.jsonl"

    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not (saved.exists() and saved.read_text().count("\n") >= LIMIT // 3):
        assert process.poll() is None and time.monotonic() < deadline, "no answer was saved before the end"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list((tmp_path / "results").rglob("*_results.json"))
    before = saved.read_text().splitlines()
    assert LIMIT // 3 <= len(before) < LIMIT
    kept = shutil.copy(saved, tmp_path / "before.jsonl")

    _run(command, environment, tmp_path)
    answered: Counter[int] = Counter()
    for file in {Path(kept), *(tmp_path / "cache").rglob("*.audit.jsonl")}:
        if file.name == "cache.audit.jsonl":
            continue  # the merged copy of the others
        lines = file.read_text().splitlines()
        fresh = lines[len(before) :] if file == saved else lines
        answered.update(json.loads(line)["doc_id"] for line in fresh)
    assert answered == Counter(range(LIMIT)), "an answer was computed twice, or lost"
    assert len(_samples(tmp_path, "synthme_meu")) == LIMIT


def test_two_processes_give_the_answers_of_one(
    plain: tuple[Path, dict[str, Any], str], environment: dict[str, str], tmp_path: Path
) -> None:
    command = ["torchrun", "--standalone", "--nproc_per_node", "2", "-m", "lmms_eval"]
    command += ["--model", "mellm", "--tasks", "synthme_meu", "--limit", str(LIMIT), "--batch_size", "4"]
    command += ["--output_path", "results", "--log_samples"]
    _run(command, environment, tmp_path)
    answers = [
        {s["doc_id"]: s["filtered_resps"] for s in _samples(folder, "synthme_meu")} for folder in (plain[0], tmp_path)
    ]
    assert len(answers[1]) == LIMIT
    # Batches are padded, so a rare answer may differ in its last bits' decision.
    assert sum(answers[0][i] == answers[1][i] for i in range(LIMIT)) >= LIMIT - 1
    one, two = (_result["results"]["synthme_meu"] for _result in (plain[1], _results(tmp_path)))
    assert abs(one["emotion_uf1,none"] - two["emotion_uf1,none"]) < 0.1
    # the bootstrap does not know of ranks: the same answers have the same intervals
    same = [name for name in one["ci95_stderr,none"] if one[f"{name},none"] == two[f"{name},none"]]
    assert {"motion_plausible_rate", "parse_rate"} <= set(same)
    assert all(one[f"{name}_stderr,none"] == pytest.approx(two[f"{name}_stderr,none"]) for name in same)


def test_a_users_own_tasks_stand_beside_ours_under_accelerate(environment: dict[str, str], tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    base = Path(subprocess.check_output([str(BIN / "mellm"), "tasks", "--path"], text=True).strip())
    (own / "mine.yaml").write_text(f"include: {base / 'synthme' / 'synthme_meu.yaml'}\ntask: my_synthme\n")
    command = ["accelerate", "launch", "--cpu", "--num_processes", "1", "-m", "lmms_eval", "--model", "mellm"]
    command += ["--tasks", "my_synthme,synthme_meu", "--include_path", str(own), "--limit", "2"]
    _run([*command, "--output_path", "results", "--log_samples"], environment, tmp_path)
    assert _results(tmp_path)["results"].keys() >= {"my_synthme", "synthme_meu"}


def test_lmms_evals_own_qwen_reads_the_maps_that_the_task_draws(environment: dict[str, str], tmp_path: Path) -> None:
    folder = subprocess.check_output(
        [sys.executable, "-c", "from mellm_plugin.models import bundled_folder; print(bundled_folder())"], text=True
    ).strip()
    # Its defaults are a GPU, and pictures of seven times the size that the bundled model was trained on.
    arguments = f"pretrained={folder},device=cpu,device_map=cpu,min_pixels={168**2},max_pixels={168**2}"
    tasks = ["synthme_meu", "synthme_meu_map"]
    command = ["--model", "qwen2_5_vl", "--model_args", arguments, "--tasks", ",".join(tasks), "--limit", str(LIMIT)]
    results, _ = _evaluate(command, environment, tmp_path)
    frames, maps = (results["results"][task]["au_f1_micro,none"] for task in tasks)
    assert maps > 0.7 > 0.35 > frames


def test_in_python(environment: dict[str, str], tmp_path: Path) -> None:
    code = (
        "from lmms_eval.evaluator import simple_evaluate\n"
        "done = simple_evaluate(model='mellm', tasks=['synthme_meu'], limit=2, batch_size=2)\n"
        "print('parse_rate', done['results']['synthme_meu']['parse_rate,none'])\n"
    )
    done = _run([sys.executable, "-c", code], environment, tmp_path)
    assert "parse_rate 1.0" in done.stdout


def test_a_wrong_model_argument_names_the_near_one(environment: dict[str, str], tmp_path: Path) -> None:
    command = ["lmms-eval", "--model", "mellm", "--model_args", "pretraned=x,motoin=off", "--tasks", "synthme_meu"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    said = done.stdout + done.stderr
    assert "pretrained" in said and "Did you mean 'motion'" in said


def test_prepared_datasets_go_from_sheet_and_frames_to_scores(environment: dict[str, str], tmp_path: Path) -> None:
    """Fictitious frames of drawn faces; docs/log.md has the figures at the published numbers of clips."""
    data = {**environment, "MELLM_DATA": str(tmp_path / "data")}
    clips = {"casme2": 14, "samm": 16, "smic": 9}
    for name, count in clips.items():
        made = fictitious.WRITERS[name](tmp_path / name, count, frames=16 if name == "smic" else 8)
        _run(["mellm", "prepare", name, *made.arguments, "--strict"], data, tmp_path)
    results, printed = _evaluate(["--model", "mellm", "--tasks", "meu,megc2019_meu"], data, tmp_path)
    scores = results["results"]
    for name, count in clips.items():
        assert results["n-samples"][f"{name}_meu"]["effective"] == count
        assert scores[f"{name}_meu"]["coarse_uf1,none"] > 2 * scores[f"{name}_meu"]["coarse_uf1_majority,none"]
    for name in ("casme2", "samm"):
        assert scores[f"{name}_meu"]["au_f1,none"] > 2 * scores[f"{name}_meu"]["au_f1_all_present,none"]
    assert scores["megc2019_meu"]["coarse_uf1,none"] > 2 * scores["megc2019_meu"]["coarse_uf1_majority,none"]
    assert "of the 442 clips of the composite are there" in printed
