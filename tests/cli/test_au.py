"""`mellm au`: codes explained, unread parts reported, lines of any encoding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mellm_plugin.cli import main


def test_codes_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["au", "(R6 or R12)+R15", "ref(7B)+43C", "4A/B", ""]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    blocks = said.out.replace("\n  ", "  ").splitlines()
    assert [block.split("  ")[0] for block in blocks] == ["(R6 or R12)+R15", "ref(7B)+43C", "4A/B", "(empty)"]
    assert "AU6 cheek raiser" in blocks[0] and "; or AU12 lip corner puller" in blocks[0]
    assert "the subject's right (image left" in blocks[0]
    assert "no event, 'ref(7B)'" in blocks[1] and "AU43 eyes closed" in blocks[1] and "marked intensity" in blocks[1]
    assert "trace to slight" in blocks[2] and "no code" in blocks[3]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["au", "--json", "(R6 or R12)+R15", "R14+soft focus", "?"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [[row["units"], row["unread"]] for row in rows] == [
        [[[6, 12], [15]], []],
        [[[14]], ["soft focus"]],
        [None, ["?"]],
    ]
    assert rows[0]["code"] == "(R6 or R12)+R15" and list(rows[0]) == ["code", "units", "unread", "detail"]
    assert [part["role"] for part in rows[1]["detail"]] == ["event", "unread"] and rows[1]["detail"][1]["reason"]
    reading = rows[0]["detail"][0]["units"][0]["readings"][0]
    assert reading == {"number": 6, "side": "R", "intensity": None, "kind": "AU"}


def test_lines_of_any_encoding() -> None:
    text = "\ufeff4+7\r\n\n４，１２\n".encode() + b"12+\xff\n"
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for more in (["--json"], []):
        command = [str(Path(sys.executable).parent / "mellm"), "au", "-", b"6+\xfe", *more]
        done = subprocess.run(command, input=text, capture_output=True, env=ascii_only)
        assert done.returncode == 1 and done.stderr.startswith(b"mellm: 2 of 5 codes"), done.stderr
        if more:
            rows = [json.loads(line) for line in done.stdout.splitlines()]
            assert [row["units"] for row in rows] == [[[4], [7]], None, [[4], [12]], [[12]], [[6]]]
