"""The settings in MELLM_JUDGE."""

from __future__ import annotations

import pytest

from mellm_plugin.errors import SettingsError
from mellm_plugin.scoring.judge_settings import JudgeSettings


def test_settings_are_read() -> None:
    assert JudgeSettings.parse("openai:gpt-4o") == JudgeSettings("openai", "gpt-4o")
    read = JudgeSettings.parse(" local:llama3:8b , timeout=30,requests=2, concurrency=8,max_tokens=4000,backoff=0.5")
    assert read == JudgeSettings("local", "llama3:8b", 30.0, 2, 8, 4000, 0.5)
    read = JudgeSettings.parse("azure:judge,temperature=none,max_completion_tokens=4000")
    assert read == JudgeSettings("azure", "judge", temperature=None, max_completion_tokens=4000)


def test_all_faults_at_once() -> None:
    text = "opnai:,timout=3,requests=many,concurrency=0,timeout=nan,max_tokens=100,max_completion_tokens=4000"
    with pytest.raises(SettingsError) as error:
        JudgeSettings.parse(f"{text},temperature=3")
    said = str(error.value)
    assert len(error.value.faults) == 8
    for words in (
        "Did you mean 'openai'",
        "Did you mean 'timeout'",
        "requests: expected a whole number, found 'many'",
        "concurrency: expected 1 to 64, found 0",
        "timeout: expected 0.1 to 3600, found nan",
        "temperature: expected 0 to 2, found 3",
        "expected max_tokens or max_completion_tokens, found both",
    ):
        assert words in said
