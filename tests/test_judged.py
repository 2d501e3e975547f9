"""The real `lmms-eval` command: with a judge that misbehaves in every way, without one, with one that is not there."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from judge_server import FAULTS, GOOD, JudgeServer, Reply, verdict

from mellm_plugin.scoring.rubric import CRITERIA

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
LIMIT = 40
CLIPS = 110  # so many that every way to fail occurs


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    prefixes = ("LMMS_", "HF_", "MELLM_", "CUDA_", "OPENAI_", "AZURE_", "LLM_")
    cleared = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
    places = {name: str(home / name) for name in ("MELLM_DATA", "MELLM_CACHE", "HF_HOME")}
    device = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return {**cleared, **places, **device, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def evaluate(environment: dict[str, str], folder: Path, limit: int = LIMIT) -> subprocess.CompletedProcess[str]:
    command = ["lmms-eval", "--model", "mellm", "--tasks", "synthme_meu", "--limit", str(limit), "--log_samples"]
    command += ["--output_path", "results", "--use_cache", "answers"]
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment, "LMMS_CACHE_RUN_ID": "one", "MELLM_JUDGE_CACHE": str(folder / "verdicts")},
        capture_output=True,
        text=True,
        timeout=600,
    )


def scores(folder: Path) -> dict[str, Any]:
    files = sorted((folder / "results").rglob("*_results.json"), key=lambda file: file.stat().st_mtime)
    return dict(json.loads(files[-1].read_text())["results"]["synthme_meu"])


def samples(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "results").rglob("*_samples_*.jsonl"), key=lambda file: file.stat().st_mtime)
    return [json.loads(line) for line in files[-1].read_text().splitlines()]


def test_a_judge_that_misbehaves_in_every_way(environment: dict[str, str], tmp_path: Path) -> None:
    """Every fifth text meets one fault, always; the others have a verdict. The run ends, and says so."""
    faulty: dict[str, str] = {}
    names = [name for name in FAULTS if name != "rate limit"]  # that one for all, once

    def answer(text: str, before: int) -> Reply | str:
        if "BEGIN-" not in text:
            return "{}"
        if "nothing moves but the head" in text:  # of many clips: one fault would be many in a row
            return GOOD
        if text not in faulty:
            number = len(faulty)
            faulty[text] = names[number // 5 % len(names)] if number % 5 == 0 else ""
        if faulty[text]:
            return FAULTS[faulty[text]]
        return GOOD if before else FAULTS["rate limit"] if len(faulty) == 2 else GOOD

    with JudgeServer(answer) as server:
        judged = {**environment, **server.environment(), "MELLM_JUDGE": "openai:m,timeout=1,requests=2,backoff=0.01"}
        done = evaluate(judged, tmp_path, limit=CLIPS)
        printed = done.stdout + done.stderr
        assert done.returncode == 0 and (tmp_path / "results").is_dir(), printed[-4000:]
        found = scores(tmp_path)
        rows = [sample["description_score"] for sample in samples(tmp_path)]
        assert max(row["requests"] for row in rows) == 2, "the bound for one clip"
        kinds = {name.partition(" (")[0] for name in names[: len([f for f in faulty.values() if f])]}
        counted = Counter(row["unscored"]["kind"] for row in rows if row["unscored"])
        assert set(counted) == kinds, counted
        assert found["description_score,none"] == 75
        assert (
            found["judge_rate,none"] == pytest.approx(sum(r["points"] is not None for r in rows) / CLIPS)
            and len(rows) == CLIPS
        )
        assert found["emotion_acc,none"] > 0.5
        for kind, count in counted.items():
            assert re.search(rf"without one: [^;]*\b{kind} {count}\b", printed), kind
        assert sum(row["requests"] for row in rows) == len(server.requests) - 1, "and the probe"
        good = next(row for row in rows if row["points"] is not None)
        assert good["scores"]["movement"] == 5 and good["reasons"]["movement"] == "seen" and good["judge"] == "openai:m"

        before = len(server.requests)
        again = evaluate(judged, tmp_path, limit=CLIPS)
        assert again.returncode == 0
        second = [sample["description_score"] for sample in samples(tmp_path)]
        assert all(row["cached"] and row["requests"] == 0 for row in second if row["points"] is not None)
        texts = [b["messages"][-1]["content"] for b in server.requests[before:]]
        assert not [text for text in texts if not faulty.get(text, "the probe")], "asked twice about what has a verdict"


def test_a_reasoning_model_behind_a_name_that_does_not_tell(environment: dict[str, str], tmp_path: Path) -> None:
    """It refuses the usual parameters, thinks in the open, and has a verdict on every clip."""
    thought = f"<think>First {GOOD}? No.</think>\n<think>So: {verdict(1, 1, 1, 1, 1)}</think>\n```json {GOOD}```"

    def answer(text: str, before: int) -> str:
        return thought if len(text) % 2 else thought.removeprefix("<think>")

    with JudgeServer(answer, refuses=("OpenAI, limit", "OpenAI, value")) as server:
        done = evaluate({**environment, **server.environment(), "MELLM_JUDGE": "openai:our-judge"}, tmp_path, limit=6)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-4000:]
    found = scores(tmp_path)
    assert found["judge_rate,none"] == 1 and found["description_score,none"] == 75
    assert len(server.requests) == 3 + 6, "the probe is asked three times, each clip once"
    assert server.requests[-1]["max_completion_tokens"] == 1024 and "temperature" not in server.requests[-1]
    assert "it refuses max_tokens, temperature; requests are sent with max_completion_tokens=1024" in printed


KEYS = {
    "OPENAI_API_KEY": "nEver/to+be=seen%20here",
    "HF_TOKEN": "hf_neverseen0123456789",
    "AZURE_API_KEY": "a0b1c2d3e4f5a6b7c8d9",
    "WANDB_API_KEY": "w-a-n-d-b-0-1-2-3",
    "HTTPS_PROXY": "http://me:pass%40word1@localhost:9",
}


def test_a_server_that_echoes_and_never_ends(environment: dict[str, str], tmp_path: Path) -> None:
    """No key anywhere in what is kept and printed; and no more memory than without."""
    told = json.dumps(KEYS) + b64encode(("user:" + KEYS["OPENAI_API_KEY"]).encode()).decode() + quote(json.dumps(KEYS))
    replies = [
        Reply(text="verdict", echo=True),
        Reply(text=json.dumps({name: {"why": f"{told}", "score": 3} for name in CRITERIA})),
        Reply(text=f"{'x' * 100} {told}", echo=True),
        Reply(status=500, body=told, echo=True),
        Reply(status=400, body=f"{' ' * 280}{told}", echo=True),
        Reply(flood="text"),
    ]
    texts: list[str] = []

    def answer(text: str, before: int) -> Reply | str:
        if "BEGIN-" not in text:
            return Reply(text="{}", echo=True)
        if text not in texts:
            texts.append(text)
        return replies[texts.index(text) % len(replies)]

    judge = "openai:m,timeout=10,requests=2,backoff=0.01"
    with JudgeServer(answer) as server:
        place = server.environment(key=KEYS["OPENAI_API_KEY"])
        done = evaluate(
            {**environment, **KEYS, **place, "NO_PROXY": "127.0.0.1", "MELLM_JUDGE": judge}, tmp_path, limit=12
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        assert server.left >= 1, "the answer without an end is not waited for"
    found = scores(tmp_path)
    assert 0 < found["judge_rate,none"] < 1
    command = ["mellm", "report", "results", "-o", "page"]
    shown = subprocess.run(
        command, cwd=tmp_path, env={**environment, **KEYS}, capture_output=True, text=True, timeout=300
    )
    assert shown.returncode == 0, shown.stderr
    (tmp_path / "log.txt").write_text(done.stdout + done.stderr + shown.stdout + shown.stderr)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {".json", ".jsonl", ".html", ".db"} <= {file.suffix for file in files}, files
    shifted = [
        b64encode(before + KEYS["OPENAI_API_KEY"].encode()).decode()[4:20] for before in (b"", b"user:", b"Bearer ")
    ]
    for key in (
        *KEYS.values(),
        "pass@word1",
        "me:pass",
        KEYS["OPENAI_API_KEY"][:12],
        quote("nEver/to+", safe=""),
        *shifted,
    ):
        for file in files:
            assert key.encode() not in file.read_bytes(), f"{key} in {file}"
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2_500_000, "kB"


def test_a_judge_that_always_fails(environment: dict[str, str], tmp_path: Path) -> None:
    with JudgeServer(lambda text, before: FAULTS["server error"]) as server:
        judged = {**environment, **server.environment("local"), "MELLM_JUDGE": "local:m,requests=2,backoff=0.01"}
        done = evaluate(judged, tmp_path)
        printed = done.stdout + done.stderr
    found = scores(tmp_path)
    assert found["description_score,none"] is None and found["judge_rate,none"] == 0 and found["emotion_acc,none"] > 0.5
    assert len(server.requests) <= 2 + 10 + 1 + 3, (
        "two for the probe, ten until it is asked if it is there, three on the way"
    )
    assert "no more requests in this run" in printed and re.search(r"not asked \d+", printed)


def test_without_a_judge(environment: dict[str, str], tmp_path: Path) -> None:
    done = evaluate(environment, tmp_path, limit=2)
    printed = done.stdout + done.stderr
    found = scores(tmp_path)
    assert "description_score,none" not in found and "judge_rate,none" not in found and "emotion_acc,none" in found
    assert printed.count("description_score is absent: no judge is set") == 1


@pytest.mark.parametrize("judge", ["openai:gpt-4o-mini", "local:m", "locl:m"])
def test_a_judge_that_is_not_there_ends_the_run_at_once(
    judge: str, environment: dict[str, str], tmp_path: Path
) -> None:
    there = {"LLM_JUDGE_URL": "http://127.0.0.1:9/v1/chat/completions"}
    done = evaluate({**environment, **there, "MELLM_JUDGE": f"{judge},backoff=0.01"}, tmp_path, limit=2)
    said = {
        "openai:gpt-4o-mini": "the judge openai:gpt-4o-mini cannot be used",
        "local:m": "the judge local:m cannot be used: connection",
        "locl:m": "Did you mean 'local'?",
    }[judge]
    assert done.returncode == 1 and said in done.stderr.splitlines()[-1], done.stderr[-3000:]
    assert not list((tmp_path / "results").rglob("*.json")) and not list(tmp_path.rglob("*.audit.jsonl"))
    assert "Traceback" not in done.stderr
