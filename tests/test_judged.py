"""Real lmms-eval with a judge that misbehaves in every way, and with one that cannot be reached."""

from __future__ import annotations

import json
import re
import resource
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from judge_server import FAULTS, GOOD, JudgeServer, Reply
from user_commands import evaluate, records, run, scores

from mellm_plugin.scoring.rubric import CRITERIA

pytestmark = pytest.mark.slow

CLIPS = 110  # enough for every fault to occur


def judged(
    machine: Mapping[str, str], folder: Path, settings: Mapping[str, str], limit: int, name: str = "run", code: int = 0
) -> str:
    """Evaluate one task, with results below `folder`/name, and return what lmms-eval printed."""
    own = {"LMMS_CACHE_RUN_ID": "one", "MELLM_JUDGE_CACHE": str(folder / "verdicts")}
    one = {"tasks": "synthme_meu", "limit": limit, "use_cache": str(folder / "answers")}
    done = evaluate({name: one}, {**machine, **own, **settings}, folder, code)
    return done.stdout + done.stderr


def test_a_judge_that_misbehaves_in_every_way(machine: dict[str, str], tmp_path: Path) -> None:
    """Every fifth text always meets one fault, the others get a verdict. The run ends and reports what failed.

    A second process asks only about the clips without a verdict.
    """
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
        settings = {**server.environment(), "MELLM_JUDGE": "openai:m,timeout=1,requests=2,backoff=0.01"}
        printed = judged(machine, tmp_path, settings, CLIPS, "first")
        before = len(server.requests)
        judged(machine, tmp_path, settings, CLIPS, "second")
    clips = records(tmp_path / "first", "synthme_meu")
    found = {name: score["value"] for name, score in scores(tmp_path / "first", "synthme_meu").items()}
    rows = [clip["judge"] for clip in clips]
    assert max(row["requests"] for row in rows) == 2, "the bound for one clip"
    kinds = {name.partition(" (")[0] for name in names[: len([f for f in faulty.values() if f])]}
    counted = Counter(row["unscored"]["kind"] for row in rows if row["unscored"])
    assert set(counted) == kinds, counted
    assert found["description_score"] == 75 and found["emotion_acc"] > 0.5
    assert found["judge_rate"] == pytest.approx(sum(row["points"] is not None for row in rows) / CLIPS)
    assert len(rows) == CLIPS
    for kind, count in counted.items():
        assert re.search(rf"without one: [^;]*\b{kind} {count}\b", printed), kind
    assert sum(row["requests"] for row in rows) == before - 1, "all but the probe"
    good = next(row for row in rows if row["points"] is not None)
    assert good["scores"]["movement"] == 5 and good["reasons"]["movement"] == "seen" and good["judge"] == "openai:m"

    second = [clip["judge"] for clip in records(tmp_path / "second", "synthme_meu")]
    assert all(row["cached"] and row["requests"] == 0 for row in second if row["points"] is not None)
    texts = [body["messages"][-1]["content"] for body in server.requests[before:]]
    assert all(faulty.get(text, "the probe") for text in texts), "asked twice about what has a verdict"


KEYS = {
    "OPENAI_API_KEY": "nEver/to+be=seen%20here",
    "HF_TOKEN": "hf_neverseen0123456789",
    "AZURE_API_KEY": "a0b1c2d3e4f5a6b7c8d9",
    "WANDB_API_KEY": "w-a-n-d-b-0-1-2-3",
    "HTTPS_PROXY": "http://me:pass%40word1@localhost:9",
}


def test_a_server_that_echoes_and_never_ends(machine: dict[str, str], tmp_path: Path) -> None:
    """No key stands anywhere in what is kept and printed; memory stays bounded."""
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

    with JudgeServer(answer) as server:
        settings = {**KEYS, **server.environment(key=KEYS["OPENAI_API_KEY"]), "NO_PROXY": "127.0.0.1"}
        settings["MELLM_JUDGE"] = "openai:m,timeout=10,requests=2,backoff=0.01"
        printed = judged(machine, tmp_path, settings, limit=12)
        assert server.left >= 1, "the answer without an end is not waited for"
    assert 0 < scores(tmp_path / "run", "synthme_meu")["judge_rate"]["value"] < 1
    shown = run(["mellm", "report", "run", "-o", "page"], {**machine, **KEYS}, tmp_path)
    (tmp_path / "log.txt").write_text(printed + shown.stdout + shown.stderr)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {".json", ".jsonl", ".html", ".db"} <= {file.suffix for file in files}, files
    key = KEYS["OPENAI_API_KEY"]
    shifted = [b64encode(before + key.encode()).decode()[4:20] for before in (b"", b"user:", b"Bearer ")]
    for secret in (*KEYS.values(), "pass@word1", "me:pass", key[:12], quote("nEver/to+", safe=""), *shifted):
        for file in files:
            assert secret.encode() not in file.read_bytes(), f"{secret} in {file}"
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2_500_000, "kB"


def test_a_judge_that_is_not_there_ends_the_run_at_once(machine: dict[str, str], tmp_path: Path) -> None:
    """Of a missing key and a wrong name tests/scoring/test_judge.py has the messages."""
    settings = {"LLM_JUDGE_URL": "http://127.0.0.1:9/v1/chat/completions", "MELLM_JUDGE": "local:m,backoff=0.01"}
    printed = judged(machine, tmp_path, settings, limit=2, code=1)
    assert "the judge local:m cannot be used: connection" in printed.splitlines()[-1], printed[-3000:]
    assert not (tmp_path / "run").exists() and not list(tmp_path.rglob("*.audit.jsonl"))
    assert "Traceback" not in printed
