"""Where an answer begins behind thoughts: the marks of public models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mellm_plugin.language.thinking import without_thinking

MARKS = [
    ("<think>", "</think>"),  # DeepSeek R1, Qwen3, Step3, GLM, Hunyuan, Phi-4, Nemotron
    ("<think>\n\n", "\n</think>\n\n"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),  # EXAONE Deep
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("<mm:think>", "</mm:think>"),  # MiniMax M3
    ("<longcat_think>", "</longcat_think>"),
    ("◁think▷", "◁/think▷"),  # Kimi-VL
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("<|channel>thought\n", "<channel|>"),  # Gemma 4
    ("<unused94>thought\n", "<unused95>"),  # MedGemma
    ("[unused16]", "[unused17]"),  # Pangu
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),  # gpt-oss
    ("<|channel|>analysis<|message|>", "<|channel|>final <|constrain|>json<|message|>"),
    ("analysis", "assistantfinal"),  # gpt-oss without its special tokens
    ("Here is my thought process:\n", "\nHere is my response:\n"),  # Granite
    ("Here are my reasoning steps:\n", "\n[BEGIN FINAL RESPONSE]\n"),  # Apriel
]


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_marks_of_public_models(opening: str, closing: str) -> None:
    assert without_thinking(f"{opening}AU4? No: AU9.{closing}AU12, Happiness.") == "AU12, Happiness."
    assert without_thinking("AU12, Happiness.") == "AU12, Happiness."


@pytest.mark.parametrize(("opening", "closing"), [pair for pair in MARKS if pair[0][0] in "<◁["])
def test_thoughts_opened_by_the_template_or_cut_off(opening: str, closing: str) -> None:
    assert without_thinking(f"AU4? No: AU9.{closing}AU12") == "AU12"
    assert without_thinking(f"{opening}AU4? No: AU9, so") == ""
    assert without_thinking(f"{opening}AU4?{closing}") == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>a</think>\n<think>b</think>\nAU12", "AU12"),
        ("<think>a</think>AU4 <think>wait</think> AU12", "AU12"),
        ("<think>a <think> b</think>AU12", "AU12"),
        ("AU12\n<think>Was that right? Yes.</think>", "AU12"),
        ("<think>a</think>AU12<think>Was that", "AU12"),
        ("AU12, happiness <think>", "AU12, happiness"),
        ("<think>a</THINKING> AU12", "AU12"),
        ("＜think＞a＜／think＞AU12", "AU12"),
        ('<think time="3 s">a</ think >AU12', "AU12"),
        ("<|think|>a<|/think|>AU12", "AU12"),
        ('<details type="reasoning" done="true">\n> AU4\n</details>\nAU12', "AU12"),
        ("analysisWe look.assistantcommentary to=tool AU4assistantfinalAU12", "AU12"),
        ("analysisWe look at AU4, so", ""),
        ("No `<think>` is needed: AU12", None),
        ('<think>I must close with "</think>" soon, AU4', ""),
        ("Here is my thought process: the brows go down. AU4, disgust.", None),
        ("analysis of the face: AU4", None),
        ("I think [thinking aloud] that AU4 is thought-provoking", None),
        ("", ""),
    ],
)
def test_several_blocks(text: str, answer: str | None) -> None:
    assert without_thinking(text) == (text if answer is None else answer)


@given(st.text(), st.lists(st.sampled_from([mark for pair in MARKS for mark in pair] + [" AU4 ", "\n"]), max_size=9))
def test_any_text(text: str, parts: list[str]) -> None:
    whole = text.join(parts)
    answer = without_thinking(whole)
    assert answer in whole and answer == answer.strip()
