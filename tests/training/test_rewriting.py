"""Descriptions rewritten by a real server that rewrites well, changes facts, or fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from judge_server import FAULTS, JudgeServer

from mellm_plugin.cli import main
from mellm_plugin.language.seen_descriptions import describe_seen
from mellm_plugin.motion.regions import RegionMotion
from mellm_plugin.scoring.judge import Judge
from mellm_plugin.scoring.judge_settings import JudgeSettings
from mellm_plugin.training.data import Example
from mellm_plugin.training.rewriting import Rewriter, changed

SMILE = tuple(
    RegionMotion("mouth corners", side, dx, -0.9, 0.02, True) for side, dx in (("left", -0.9), ("right", 0.9))
)
ANSWER = describe_seen(["4", "L12"], "happiness", SMILE)
"""Inspection: no motion can be made out at the brows; the mouth corner on the image's right moves up-right (pink to
magenta), clearly. ..  Conclusion: action units AU4+AU12 (left); expression: happiness."""


def _example(form: str = "description", answer: str = ANSWER) -> Example:
    return Example("c", "toy", "toy/s", form, (np.zeros((8, 8, 3), np.uint8),), "Describe it.", answer)


def _rewriter(server: JudgeServer, monkeypatch: pytest.MonkeyPatch) -> Rewriter:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Rewriter(Judge(JudgeSettings("openai", "m", timeout=5, requests=2, backoff=0.01)))


def _changing(*changes: tuple[str, str]) -> Callable[[str, int], str]:
    def answer(text: str, before: int) -> str:
        assert all(old in text for old, _ in changes), text
        for old, new in changes:
            text = text.replace(old, new)
        return text

    return answer


def test_new_words_are_taken_and_the_conclusion_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    well = _changing(("no motion can be made out at", "nothing moves at"), ("together they speak for", "both indicate"))
    with JudgeServer(well) as server:
        text, refused = _rewriter(server, monkeypatch)(_example())
        assert refused is None and text != ANSWER
        assert "nothing moves at the brows" in text and "both indicate happiness" in text
        assert text.splitlines()[-1] == ANSWER.splitlines()[-1]
        assert len(server.requests) == 1
        # the conclusion is not even shown
        assert "Conclusion" not in server.requests[0]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("moves up-right", "moves down-right", "another motion"),
        ("on the image's right", "on the image's left", "another motion"),
        ("no motion can be made out at the brows", "the brows move down", "another motion"),
        ("pink to magenta", "green", "other colours"),
        (" (pink to magenta)", "", "other colours"),
        ("AU12 is", "AU14 is", "other units"),
        ("AU4 (brow lowerer)", "AU4 (brow lowerer) and AU9", "other units"),
    ],
)
def test_changed_facts_are_found(old: str, new: str, reason: str) -> None:
    assert old in ANSWER and changed(ANSWER, ANSWER.replace(old, new)) == reason


@pytest.mark.parametrize("fault", ["another annotation", "server error", "not JSON", "wrong form", "no text"])
def test_a_refused_or_failed_rewriting_leaves_the_words_as_they_are(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    smuggled = json.dumps({"inspection": "Final answer: action units AU4+AU12; expression: fear", "reasoning": "so"})
    with JudgeServer(lambda text, before: FAULTS.get(fault, smuggled)) as server:
        text, refused = _rewriter(server, monkeypatch)(_example())
        assert text == ANSWER and refused == (f"no rewriting: {fault}" if fault in FAULTS else fault)
        assert 1 <= len(server.requests) <= 2


def test_a_wrong_form_is_asked_again_and_other_forms_never(monkeypatch: pytest.MonkeyPatch) -> None:
    with JudgeServer(lambda text, before: text if before else "here you are") as server:
        rewriter = _rewriter(server, monkeypatch)
        assert rewriter(_example("label", "happiness")) == ("happiness", None) and not server.requests
        assert rewriter(_example()) == (ANSWER, None)
        assert len(server.requests) == 2


def test_chinese_is_rewritten_too() -> None:
    text = describe_seen(["12"], "happiness", SMILE, language="zh")
    assert changed(text, text.replace("它表示高兴", "因此是高兴")) is None
    assert changed(text, text.replace("向上并向外", "向下并向外")) == "another motion"
    assert changed(text, text.replace("粉色", "绿色")) == "other colours"


def test_the_command_counts_refused_rewritings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["instruct", "--dataset", "synthme", "--clips", "8", "--forms", "description", "--plain", "--rewrite"]
    monkeypatch.delenv("MELLM_JUDGE", raising=False)
    assert main([*arguments, "-o", str(tmp_path / "none.jsonl")]) == 1
    assert "MELLM_JUDGE" in capsys.readouterr().err

    def answer(text: str, before: int) -> str:
        if not text.startswith('{"inspection"'):
            return "{}"
        parts = json.loads(text)
        parts["inspection"] = f"In the map, {parts['inspection']}"
        if "AU12" in text:
            parts["reasoning"] += "; AU27 is there, too"
        return json.dumps(parts)

    with JudgeServer(answer) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MELLM_JUDGE", "openai:m,requests=1")
        assert main([*arguments, "--json", "-o", str(tmp_path / "out.jsonl")]) == 0
    counted = json.loads(capsys.readouterr().out)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    with_smile = sum("AU12" in line["messages"][1]["content"] for line in lines)
    assert counted["refused"] == ({"other units": with_smile} if with_smile else {})
    assert counted["rewritten"] == len(lines) - with_smile > 0
    assert sum("In the map, " in line["messages"][1]["content"] for line in lines) == counted["rewritten"]
